//! JSON as a tree that can say what no honest server says: a member twice, members in any order, words that are no JSON.
//!
//! The suite takes answers apart with it, changes one thing and puts them together again.

use serde_json::Value;

/// One JSON value, or what stands where one should.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Written as it is: a number, a word, a string with its quotes, or nonsense.
    Leaf(String),
    /// Elements.
    Array(Vec<Node>),
    /// Members, in order; a name may come more than once.
    Object(Vec<(String, Node)>),
}

/// The way to a value: the place of each member or element.
pub type Way = Vec<usize>;

/// A text as JSON writes it.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

impl Node {
    /// A body that is JSON.
    pub fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Value>(body).ok().map(Self::of)
    }

    /// As a tree.
    pub fn of(value: Value) -> Self {
        match value {
            Value::Array(elements) => Self::Array(elements.into_iter().map(Self::of).collect()),
            Value::Object(members) => {
                Self::Object(members.into_iter().map(|(name, value)| (name, Self::of(value))).collect())
            }
            leaf => Self::Leaf(leaf.to_string()),
        }
    }

    /// As text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Leaf(leaf) => text.push_str(leaf),
            Self::Array(elements) => {
                text.push('[');
                for (place, element) in elements.iter().enumerate() {
                    if place > 0 {
                        text.push(',');
                    }
                    element.write(text);
                }
                text.push(']');
            }
            Self::Object(members) => {
                text.push('{');
                for (place, (name, value)) in members.iter().enumerate() {
                    if place > 0 {
                        text.push(',');
                    }
                    text.push_str(&quoted(name));
                    text.push(':');
                    value.write(text);
                }
                text.push('}');
            }
        }
    }

    /// Its elements or its members' values.
    pub fn children(&self) -> Vec<&Self> {
        match self {
            Self::Leaf(_) => Vec::new(),
            Self::Array(elements) => elements.iter().collect(),
            Self::Object(members) => members.iter().map(|(_, value)| value).collect(),
        }
    }

    fn child_mut(&mut self, place: usize) -> Option<&mut Self> {
        match self {
            Self::Leaf(_) => None,
            Self::Array(elements) => elements.get_mut(place),
            Self::Object(members) => members.get_mut(place).map(|(_, value)| value),
        }
    }

    /// What stands at the end of a way.
    pub fn at(&self, way: &[usize]) -> Option<&Self> {
        match way.split_first() {
            None => Some(self),
            Some((first, rest)) => self.children().get(*first).and_then(|child| child.at(rest)),
        }
    }

    /// What stands at the end of a way, to be changed.
    pub fn at_mut(&mut self, way: &[usize]) -> Option<&mut Self> {
        way.iter().try_fold(self, |node, place| node.child_mut(*place))
    }

    /// The way to everything in it, itself first.
    pub fn ways(&self) -> Vec<Way> {
        let mut ways = vec![Vec::new()];
        for (place, child) in self.children().into_iter().enumerate() {
            ways.extend(child.ways().into_iter().map(|way| [vec![place], way].concat()));
        }
        ways
    }

    /// The same without what stands at the end of a way; `None` for the way to all of it.
    pub fn without(&self, way: &[usize]) -> Option<Self> {
        let (last, parent) = way.split_last()?;
        let mut node = self.clone();
        match node.at_mut(parent)? {
            Self::Leaf(_) => return None,
            Self::Array(elements) => {
                elements.remove(*last);
            }
            Self::Object(members) => {
                members.remove(*last);
            }
        }
        Some(node)
    }

    /// The same with something else at the end of a way.
    pub fn with(&self, way: &[usize], other: Self) -> Self {
        let mut node = self.clone();
        if let Some(place) = node.at_mut(way) {
            *place = other;
        }
        node
    }

    /// The same with what stands at the end of a way there twice.
    pub fn doubled(&self, way: &[usize]) -> Option<Self> {
        let (last, parent) = way.split_last()?;
        let mut node = self.clone();
        match node.at_mut(parent)? {
            Self::Leaf(_) => return None,
            Self::Array(elements) => elements.push(elements.get(*last)?.clone()),
            Self::Object(members) => members.push(members.get(*last)?.clone()),
        }
        Some(node)
    }

    /// Everything the other way round.
    pub fn reversed(&self) -> Self {
        match self {
            Self::Leaf(leaf) => Self::Leaf(leaf.clone()),
            Self::Array(elements) => Self::Array(elements.iter().rev().map(Self::reversed).collect()),
            Self::Object(members) => {
                Self::Object(members.iter().rev().map(|(name, value)| (name.clone(), value.reversed())).collect())
            }
        }
    }

    /// All texts in it, names of members too, as they are meant.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::Leaf(leaf) => serde_json::from_str::<String>(leaf).into_iter().collect(),
            Self::Array(elements) => elements.iter().flat_map(Self::texts).collect(),
            Self::Object(members) => {
                members.iter().flat_map(|(name, value)| [vec![name.clone()], value.texts()].concat()).collect()
            }
        }
    }

    /// The way to the list whose items have these ids, one each: what has as many children as there are ids, each with one
    /// of them in its name or in it.
    pub fn list_of(&self, ids: &[String]) -> Option<Way> {
        let has = |child: &Self, name: Option<&String>, id: &String| name == Some(id) || child.texts().contains(id);
        let names: Vec<Option<&String>> = match self {
            Self::Leaf(_) => return None,
            Self::Array(elements) => vec![None; elements.len()],
            Self::Object(members) => members.iter().map(|(name, _)| Some(name)).collect(),
        };
        let children = self.children();
        for (place, child) in children.iter().enumerate() {
            if let Some(way) = child.list_of(ids) {
                return Some([vec![place], way].concat());
            }
        }
        let each = children.iter().zip(&names).all(|(child, name)| ids.iter().any(|id| has(child, *name, id)));
        let all = ids.iter().all(|id| children.iter().zip(&names).any(|(child, name)| has(child, *name, id)));
        (!ids.is_empty() && children.len() == ids.len() && each && all).then(Vec::new)
    }
}

#[test]
fn a_tree_is_written_as_it_was_read_and_changed_in_one_place() {
    let node = Node::read(br#"{"a":[1,{"b":"x\n"}],"c":null}"#).unwrap();
    assert_eq!(node.text(), r#"{"a":[1,{"b":"x\n"}],"c":null}"#);
    assert_eq!(node.ways().len(), 6);
    assert_eq!(node.reversed().text(), r#"{"c":null,"a":[{"b":"x\n"},1]}"#);
    assert_eq!(node.without(&[0, 1, 0]).unwrap().text(), r#"{"a":[1,{}],"c":null}"#);
    assert_eq!(node.doubled(&[1]).unwrap().text(), r#"{"a":[1,{"b":"x\n"}],"c":null,"c":null}"#);
    assert_eq!(node.with(&[1], Node::Leaf("NaN".into())).text(), r#"{"a":[1,{"b":"x\n"}],"c":NaN}"#);
    assert_eq!(node.texts(), ["a", "b", "x\n", "c"]);
}

#[test]
fn a_list_is_found_by_the_ids_in_it() {
    let found = |text: &str| Node::read(text.as_bytes()).unwrap().list_of(&["x".to_owned(), "y".to_owned()]);
    assert_eq!(found(r#"{"data":{"instances":[{"id":"y"},{"id":"x","z":1}]}}"#), Some(vec![0, 0]));
    assert_eq!(found(r#"{"success":true,"vms":{"x":{},"y":{}}}"#), Some(vec![1]));
    assert_eq!(found(r#"[{"id":"x"}]"#), None);
}
