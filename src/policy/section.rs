//! Reads one table of a file, key by key.
//!
//! A [`Section`] is asked for each key it may hold, once; what is left over at [`Section::finish`] is unknown. A key that
//! is there and wrong gives its fault and reads as `None`, as if it were not there, so that the reading goes on and all
//! faults are found at once.

use super::{
    fault::{At, Complaint, Findings, Place},
    tree::{Entry, Node, Value},
};
use std::collections::BTreeMap;

/// A table being read; or one that is not there, in which nothing is found.
#[derive(Debug)]
pub struct Section<'t> {
    path: String,
    kind: String,
    place: Place,
    entries: Option<&'t BTreeMap<String, Entry>>,
    asked: Vec<&'static str>,
}

impl<'t> Section<'t> {
    /// The whole file.
    pub fn root(node: &'t Node) -> Self {
        let entries = match &node.value {
            Value::Table(entries) => Some(entries),
            _ => None,
        };
        Self { path: String::new(), kind: String::new(), place: node.place.clone(), entries, asked: Vec::new() }
    }

    /// A table at `path`; `kind` is what all tables like it are called. A node that is no table gives its fault.
    pub fn table(path: String, kind: &str, node: &'t Node, findings: &mut Findings) -> Self {
        let entries = match &node.value {
            Value::Table(entries) => Some(entries),
            Value::Broken => None,
            other => {
                let fact = format!("is {}", other.noun());
                let remedy = format!("write [{path}] and its keys below it");
                // Its text is not quoted: it may be a credential in the wrong place.
                findings.fault_at(&node.place, &path, "", Complaint::new(fact, "a table is needed", remedy));
                None
            }
        };
        Self { path, kind: kind.to_owned(), place: node.place.clone(), entries, asked: Vec::new() }
    }

    /// Where it begins.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The full path of one of its keys.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// It is in the file.
    pub const fn is_there(&self) -> bool {
        self.entries.is_some()
    }

    /// A key of its own as it stands in the file.
    pub fn entry(&mut self, key: &'static str, findings: &mut Findings) -> Option<&'t Entry> {
        self.asked.push(key);
        findings.know(&self.kind, key);
        self.entries?.get(key)
    }

    /// All its entries, where the keys are names.
    pub fn entries(&self) -> impl Iterator<Item = (&'t String, &'t Entry)> + use<'t> {
        self.entries.into_iter().flatten()
    }

    /// The key is in the file, readable or not.
    pub fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// The key holds a list without items.
    pub fn is_empty_list(&self, key: &str) -> bool {
        let value = self.entries.and_then(|entries| entries.get(key)).map(|entry| &entry.node.value);
        matches!(value, Some(Value::List(items)) if items.is_empty())
    }

    /// The value of a key, if it is there and acceptable.
    pub fn read<T>(
        &mut self,
        key: &'static str,
        findings: &mut Findings,
        reader: impl Fn(&Node) -> Result<T, Complaint>,
    ) -> Option<At<T>> {
        let path = self.path(key);
        read_node(path, &self.entry(key, findings)?.node, findings, reader)
    }

    /// The value of a key that must be there.
    pub fn require<T>(
        &mut self,
        key: &'static str,
        findings: &mut Findings,
        why: &str,
        remedy: &str,
        reader: impl Fn(&Node) -> Result<T, Complaint>,
    ) -> Option<At<T>> {
        let read = self.read(key, findings, reader);
        if read.is_none() && !self.has(key) && self.entries.is_some() {
            findings.missing(&self.place, &self.path(key), why, remedy);
        }
        read
    }

    /// The items of a list, each read alone; `None` when there is no list.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        findings: &mut Findings,
        reader: impl Fn(&Node) -> Result<T, Complaint>,
    ) -> Option<At<Vec<At<T>>>> {
        let path = self.path(key);
        let node = &self.entry(key, findings)?.node;
        let loose;
        let items = match &node.value {
            Value::List(items) => items,
            Value::Loose(text) => {
                let part = |part: &str| Node { value: Value::Loose(part.trim().to_owned()), ..node.clone() };
                loose = text.split(',').map(part).collect::<Vec<_>>();
                &loose
            }
            Value::Broken => return None,
            other => {
                let fact = format!("is {}", other.noun());
                let complaint = Complaint::new(fact, "a list is needed", format!("write {key} = [{}]", node.text));
                findings.fault_at(&node.place, &path, &node.text, complaint);
                return None;
            }
        };
        let value = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| read_node(format!("{path}[{index}]"), item, findings, &reader))
            .collect();
        Some(At { key: path, place: node.place.clone(), text: node.text.clone(), value })
    }

    /// A table within this one.
    pub fn sub(&mut self, key: &'static str, findings: &mut Findings) -> Section<'t> {
        let path = self.path(key);
        let kind = if self.kind.is_empty() { key.to_owned() } else { format!("{}.{key}", self.kind) };
        match self.entry(key, findings) {
            Some(entry) => Section::table(path, &kind, &entry.node, findings),
            None => Section { path, kind, place: self.place.clone(), entries: None, asked: Vec::new() },
        }
    }

    /// The mark of the section itself, to complain about all of it.
    pub fn mark(&self) -> At<()> {
        At { key: self.path.clone(), place: self.place.clone(), text: String::new(), value: () }
    }

    /// Whatever was not asked for is unknown.
    pub fn finish(self, findings: &mut Findings) {
        for (key, entry) in self.entries() {
            if !self.asked.contains(&key.as_str()) {
                findings.unknown(&entry.place, &self.path(key), &self.kind, key);
            }
        }
    }
}

/// Reads one node by one reader; a refusal becomes a fault at its place.
pub fn read_node<T>(
    path: String,
    node: &Node,
    findings: &mut Findings,
    reader: impl Fn(&Node) -> Result<T, Complaint>,
) -> Option<At<T>> {
    if node.value == Value::Broken {
        return None;
    }
    match reader(node) {
        Ok(value) => Some(At { key: path, place: node.place.clone(), text: node.text.clone(), value }),
        Err(complaint) => {
            findings.fault_at(&node.place, &path, &node.text, complaint);
            None
        }
    }
}
