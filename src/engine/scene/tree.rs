//! How values become a tree of JSON and come back the same.
//!
//! serde is not used here: the nouns have none of their own, and a derive that leaves a field out by mistake still
//! compiles. The macros below take each struct apart, so that a field which they do not name is an error of the compiler,
//! both when it is written and when it is read. Money is whole micros, moments are text, and what is keyed by a name is an
//! object, so that two trees can be compared place by place.

use crate::model::{HourlyRate, Shared, Timestamp, Usd};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    str::FromStr,
    time::Duration,
};

/// A tree that is not what it should be, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct Unread {
    /// The way from the root, `markets.tensordock.hostnodes.3`.
    pub place: String,
    /// What is wrong there.
    pub why: String,
}

impl Unread {
    /// Nothing is known of the place yet.
    pub(super) fn because(why: impl Into<String>) -> Self {
        Self { place: String::new(), why: why.into() }
    }

    /// As seen from one step nearer to the root.
    pub(super) fn under(self, step: impl Display) -> Self {
        let place = if self.place.is_empty() { step.to_string() } else { format!("{step}.{}", self.place) };
        Self { place, ..self }
    }
}

/// A value that can be written as a tree and read back.
pub(super) trait Tree: Sized {
    /// The tree of it: equal values have equal trees.
    fn tree(&self) -> Value;

    /// # Errors
    /// Where the tree is none of such a value.
    fn read(tree: &Value) -> Result<Self, Unread>;
}

/// A value that names an entry of an object.
pub(super) trait Key: Sized + Ord {
    /// As text.
    fn word(&self) -> String;

    /// `None` where the text is no such key.
    fn of_word(word: &str) -> Option<Self>;
}

fn expected(what: &str, found: &Value) -> Unread {
    let found: String = found.to_string().chars().take(60).collect();
    Unread::because(format!("{what} is expected, not {found}"))
}

/// A field of an object.
pub(super) fn field<T: Tree>(tree: &Value, name: &str) -> Result<T, Unread> {
    let Value::Object(fields) = tree else { return Err(expected("an object", tree)) };
    let found = fields.get(name).ok_or_else(|| Unread::because("it is missing").under(name))?;
    T::read(found).map_err(|unread| unread.under(name))
}

/// An object of these fields.
pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A variant with something in it: an object of one field.
pub(super) fn tagged(tag: &str, value: Value) -> Value {
    object([(tag, value)])
}

/// What [`tagged`] wrote, or the word of a variant with nothing in it.
pub(super) fn variant(tree: &Value) -> Result<(&str, &Value), Unread> {
    match tree {
        Value::String(word) => Ok((word, &Value::Null)),
        Value::Object(fields) if fields.len() == 1 => {
            fields.iter().next().map(|(tag, value)| (tag.as_str(), value)).ok_or_else(|| expected("a variant", tree))
        }
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err(expected("a variant", tree))
        }
    }
}

/// A variant nobody knows.
pub(super) fn unknown<T>(tag: &str) -> Result<T, Unread> {
    Err(Unread::because(format!("`{tag}` is not known here")))
}

/// Structs, field by field.
macro_rules! records {
    ($($name:path { $($field:ident),+ $(,)? })+) => { $(
        impl $crate::engine::scene::tree::Tree for $name {
            fn tree(&self) -> serde_json::Value {
                let Self { $($field),+ } = self;
                $crate::engine::scene::tree::object([$((stringify!($field), $field.tree())),+])
            }

            fn read(tree: &serde_json::Value) -> Result<Self, $crate::engine::scene::tree::Unread> {
                Ok(Self { $($field: $crate::engine::scene::tree::field(tree, stringify!($field))?),+ })
            }
        }
    )+ };
}

/// Nouns that are their text, in places and as keys.
macro_rules! words {
    ($($name:path),+ $(,)?) => { $(
        impl $crate::engine::scene::tree::Tree for $name {
            fn tree(&self) -> serde_json::Value {
                serde_json::Value::String(self.to_string())
            }

            fn read(tree: &serde_json::Value) -> Result<Self, $crate::engine::scene::tree::Unread> {
                $crate::engine::scene::tree::parsed(tree)
            }
        }

        impl $crate::engine::scene::tree::Key for $name {
            fn word(&self) -> String {
                self.to_string()
            }

            fn of_word(word: &str) -> Option<Self> {
                word.parse().ok()
            }
        }
    )+ };
}

pub(super) use {records, words};

/// A text that says a noun.
pub(super) fn parsed<T: FromStr<Err: Display>>(tree: &Value) -> Result<T, Unread> {
    let Value::String(text) = tree else { return Err(expected("text", tree)) };
    text.parse().map_err(|error: T::Err| Unread::because(error.to_string()))
}

words!(Timestamp);

macro_rules! numbers {
    ($($name:ty: $get:ident),+) => { $(
        impl Tree for $name {
            fn tree(&self) -> Value {
                Value::from(*self)
            }

            fn read(tree: &Value) -> Result<Self, Unread> {
                let number = tree.$get().and_then(|number| Self::try_from(number).ok());
                number.ok_or_else(|| expected(concat!("a number (", stringify!($name), ")"), tree))
            }
        }
    )+ };
}

numbers!(u16: as_u64, u32: as_u64, u64: as_u64, i64: as_i64);

macro_rules! number_keys {
    ($($name:ty),+) => { $(
        impl Key for $name {
            fn word(&self) -> String {
                self.to_string()
            }

            fn of_word(word: &str) -> Option<Self> {
                word.parse().ok()
            }
        }
    )+ };
}

number_keys!(u16, u32);

impl Tree for bool {
    fn tree(&self) -> Value {
        Value::Bool(*self)
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        tree.as_bool().ok_or_else(|| expected("true or false", tree))
    }
}

impl Tree for String {
    fn tree(&self) -> Value {
        Value::String(self.clone())
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        tree.as_str().map(str::to_owned).ok_or_else(|| expected("text", tree))
    }
}

impl Tree for HourlyRate {
    fn tree(&self) -> Value {
        Value::from(self.micros())
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        u64::read(tree).map(Self::from_micros)
    }
}

impl Tree for Usd {
    fn tree(&self) -> Value {
        Value::from(self.micros())
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        i64::read(tree).map(Self::from_micros)
    }
}

/// Whole seconds are a number; with a fraction it is two, seconds and nanoseconds.
impl Tree for Duration {
    fn tree(&self) -> Value {
        match self.subsec_nanos() {
            0 => Value::from(self.as_secs()),
            nanos => Value::from(vec![self.as_secs(), u64::from(nanos)]),
        }
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        match tree {
            Value::Number(_) => u64::read(tree).map(Self::from_secs),
            Value::Array(_) => {
                let (seconds, nanos) = <(u64, u32)>::read(tree)?;
                let fits = Some(nanos).filter(|nanos| *nanos < 1_000_000_000);
                fits.map(|nanos| Self::new(seconds, nanos)).ok_or_else(|| expected("a duration", tree))
            }
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_) => Err(expected("a duration", tree)),
        }
    }
}

/// Nothing is `null`; what is there is never `null` itself.
impl<T: Tree> Tree for Option<T> {
    fn tree(&self) -> Value {
        self.as_ref().map_or(Value::Null, Tree::tree)
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        if tree.is_null() { Ok(None) } else { T::read(tree).map(Some) }
    }
}

impl<T: Tree> Tree for Box<T> {
    fn tree(&self) -> Value {
        T::tree(self)
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        T::read(tree).map(Self::new)
    }
}

impl<T: Tree> Tree for Shared<T> {
    fn tree(&self) -> Value {
        T::tree(self)
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        T::read(tree).map(Self::from)
    }
}

impl<T: Tree> Tree for Vec<T> {
    fn tree(&self) -> Value {
        self.iter().map(Tree::tree).collect()
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        let Value::Array(items) = tree else { return Err(expected("a list", tree)) };
        items.iter().enumerate().map(|(at, item)| T::read(item).map_err(|unread| unread.under(at))).collect()
    }
}

impl<T: Tree + Ord> Tree for BTreeSet<T> {
    fn tree(&self) -> Value {
        self.iter().map(Tree::tree).collect()
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        Vec::read(tree).map(|items| items.into_iter().collect())
    }
}

impl<A: Tree, B: Tree> Tree for (A, B) {
    fn tree(&self) -> Value {
        Value::Array(vec![self.0.tree(), self.1.tree()])
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        match tree.as_array().map(Vec::as_slice) {
            Some([first, second]) => Ok((A::read(first)?, B::read(second)?)),
            Some(_) | None => Err(expected("a pair", tree)),
        }
    }
}

/// `a/b`. **Invariant:** the first of both has no `/` in it; the second may.
impl<A: Key, B: Key> Key for (A, B) {
    fn word(&self) -> String {
        format!("{}/{}", self.0.word(), self.1.word())
    }

    fn of_word(word: &str) -> Option<Self> {
        let (first, second) = word.split_once('/')?;
        Some((A::of_word(first)?, B::of_word(second)?))
    }
}

impl<K: Key, V: Tree> Tree for BTreeMap<K, V> {
    fn tree(&self) -> Value {
        Value::Object(self.iter().map(|(key, value)| (key.word(), value.tree())).collect::<Map<_, _>>())
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        let Value::Object(entries) = tree else { return Err(expected("an object", tree)) };
        let entry = |(word, value): (&String, &Value)| {
            let key = K::of_word(word).ok_or_else(|| Unread::because("it is no key here").under(word))?;
            Ok((key, V::read(value).map_err(|unread| unread.under(word))?))
        };
        entries.iter().map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: Tree + PartialEq + std::fmt::Debug>(value: T, tree: &str) {
        assert_eq!(value.tree().to_string(), tree);
        assert_eq!(T::read(&serde_json::from_str(tree).unwrap()), Ok(value));
    }

    #[test]
    fn values_have_one_spelling_and_read_back() {
        check(Duration::from_millis(1_500), "[1,500000000]");
        check(Duration::MAX, "[18446744073709551615,999999999]");
        check(Duration::from_secs(90), "90");
        check(HourlyRate::from_micros(u64::MAX), "18446744073709551615");
        check(Usd::from_micros(i64::MIN), "-9223372036854775808");
        check(Some(Timestamp::MAX), "\"9999-12-30T22:00:00.999999999Z\"");
        check(Timestamp::MIN, "\"-009999-01-02T01:59:59Z\"");
        check(None::<u32>, "null");
        check(BTreeMap::from([((3u16, 4u32), true)]), "{\"3/4\":true}");
    }

    #[test]
    fn what_does_not_read_tells_its_place() {
        let tree = serde_json::from_str("{\"3\": [1, \"x\"]}").unwrap();
        let told = BTreeMap::<u16, Vec<u32>>::read(&tree).unwrap_err().to_string();
        assert_eq!(told, "3.1: a number (u32) is expected, not \"x\"");
        let told = field::<u32>(&serde_json::json!({}), "gpus").unwrap_err().to_string();
        assert_eq!(told, "gpus: it is missing");
    }
}
