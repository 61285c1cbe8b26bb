//! A TOML text as a tree in which everything knows its place.
//!
//! Policies, settings and the environment become the same tree, so that one reader serves all three. Numbers stay the
//! literals they were written as: money must never pass through binary floating point. What the TOML parser could not
//! read is [`Value::Broken`]: it has its syntax fault already, and nothing more is said of it.

use super::fault::{Complaint, Findings, Place, quotable, shortened};
use std::{collections::BTreeMap, ops::Range, sync::Arc};
use toml::de::{DeTable, DeValue};

/// No file of ours is larger, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Whether faults may quote what stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quote {
    /// The text is nobody's secret.
    Freely,
    /// A line that does not parse may hold a credential.
    Sparingly,
}

/// A value, as far as TOML tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number's decimal literal.
    Whole(String),
    /// A decimal number's literal.
    Decimal(String),
    /// True or false.
    Truth(bool),
    /// A date or time.
    Moment,
    /// Of the environment, which has only text: read as whatever is needed.
    Loose(String),
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(BTreeMap<String, Entry>),
    /// It does not parse.
    Broken,
}

impl Value {
    /// What it is, for people.
    pub const fn noun(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Loose(_) => "text",
            Self::Whole(_) => "a whole number",
            Self::Decimal(_) => "a decimal number",
            Self::Truth(_) => "a boolean",
            Self::Moment => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Broken => "unreadable",
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where.
    pub place: Place,
    /// As written, shortened.
    pub text: String,
    /// What.
    pub value: Value,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub node: Node,
}

/// Turns byte offsets into places.
struct Map<'t> {
    file: Arc<str>,
    text: &'t str,
    line_starts: Vec<usize>,
    errors: Vec<usize>,
}

impl Map<'_> {
    fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    fn place(&self, offset: usize) -> Place {
        let offset = offset.min(self.text.len());
        let line = self.line(offset);
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        Place { file: Arc::clone(&self.file), line, column }
    }

    /// A syntax fault lies in it or on one of its lines.
    fn is_broken(&self, key: &Range<usize>, value: &Range<usize>) -> bool {
        let (first, last) = (self.line(key.start.min(value.start)), self.line(value.end));
        let own_line = self.line(value.start);
        self.errors.iter().any(|at| {
            let line = self.line(*at);
            (value.start <= *at && *at <= value.end) || line == own_line || (first <= line && line <= last)
        })
    }

    fn node(&self, span: Range<usize>, value: &DeValue<'_>) -> Node {
        let written = self.text.get(span.clone()).unwrap_or_default();
        // The span of a table is that of its header, which says no more than the key does.
        let has_header = matches!(value, DeValue::Table(_)) && written.starts_with('[');
        let text = if has_header { String::new() } else { quotable(written) };
        let value = match value {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Integer(whole) => Value::Whole(match i128::from_str_radix(whole.as_str(), whole.radix()) {
                Ok(number) => number.to_string(),
                Err(_) => whole.to_string(),
            }),
            DeValue::Float(decimal) => Value::Decimal(decimal.as_str().to_owned()),
            DeValue::Boolean(truth) => Value::Truth(*truth),
            DeValue::Datetime(_) => Value::Moment,
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| self.node(item.span(), item.get_ref())).collect())
            }
            DeValue::Table(table) => Value::Table(self.entries(table)),
        };
        Node { place: self.place(span.start), text, value }
    }

    fn entries(&self, table: &DeTable<'_>) -> BTreeMap<String, Entry> {
        table
            .iter()
            .map(|(key, value)| {
                let mut node = self.node(value.span(), value.get_ref());
                if self.is_broken(&key.span(), &value.span()) {
                    node.value = Value::Broken;
                }
                (key.get_ref().clone().into_owned(), Entry { place: self.place(key.span().start), node })
            })
            .collect()
    }
}

/// Reads a TOML text, as much of it as parses; the syntax faults, at most one a line, go to `findings`.
pub fn parse(file: &str, text: &str, quote: Quote, findings: &mut Findings) -> (Node, Syntax) {
    let top = Place::top(file);
    if text.len() > FILE_BYTES_MAX {
        let fact = format!("has {} bytes", text.len());
        let why = format!("a file of more than {FILE_BYTES_MAX} bytes is not read");
        findings.fault_at(&top, "the file", "", Complaint::new(fact, why, "is it the right file?"));
        return (Node { place: top, text: String::new(), value: Value::Broken }, Syntax::Broken);
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let at = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    let map = Map { file: file.into(), text, line_starts, errors: errors.iter().map(at).collect() };
    let mut last_line = 0;
    for error in &errors {
        let place = map.place(at(error));
        if place.line == last_line {
            continue;
        }
        last_line = place.line;
        let found = error.span().and_then(|span| text.get(span)).map(shortened).unwrap_or_default();
        let near = match quote {
            Quote::Freely if !found.is_empty() => format!("`{found}`: "),
            Quote::Freely | Quote::Sparingly => String::new(),
        };
        let unquoted =
            ["invalid boolean", "string values must be quoted"].iter().any(|say| error.message().starts_with(say));
        let (fact, remedy) = match (unquoted, found.as_str()) {
            (true, "") => ("there is no value".to_owned(), "write one, or remove the key"),
            (true, _) => (format!("{near}text without quotes"), "put quotes around it"),
            (false, _) => (format!("{near}{}", error.message()), "mend it; what else the line says was not looked at"),
        };
        findings.fault_at(&place, "", "", Complaint::new(fact, "this is not TOML", remedy));
    }
    let syntax = if errors.is_empty() { Syntax::Sound } else { Syntax::Broken };
    // Below a broken header nobody can tell which table a key belongs to.
    let header = |at: &usize| {
        let start = map.line_starts.get(map.line(*at).saturating_sub(1)).copied().unwrap_or(0);
        text.get(start..).is_some_and(|line| line.trim_start_matches([' ', '\t']).starts_with('['))
    };
    let value = match map.errors.iter().any(header) {
        true => Value::Broken,
        false => Value::Table(map.entries(table.get_ref())),
    };
    (Node { place: top, text: String::new(), value }, syntax)
}

/// Whether a text parses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// All of it.
    Sound,
    /// Parts of it are missing from the tree.
    Broken,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'n>(node: &'n Node, key: &str) -> &'n Entry {
        match &node.value {
            Value::Table(entries) => &entries[key],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn literals_and_places_are_kept() {
        let mut findings = Findings::default();
        let (root, syntax) = parse("f", "a = 1\n[b]\n\"ö\" = 0.10 # x\nh = 0x10\n", Quote::Freely, &mut findings);
        assert_eq!(syntax, Syntax::Sound);
        let decimal = entry(&entry(&root, "b").node, "ö");
        assert_eq!(decimal.node.value, Value::Decimal("0.10".into()));
        assert_eq!((decimal.node.place.line, decimal.node.place.column, decimal.node.text.as_str()), (3, 7, "0.10"));
        assert_eq!(entry(&entry(&root, "b").node, "h").node.value, Value::Whole("16".into()));
    }

    #[test]
    fn what_does_not_parse_is_broken_and_the_rest_is_read() {
        let mut findings = Findings::default();
        let (root, syntax) = parse("f", "a = eight\nb = 2\n", Quote::Freely, &mut findings);
        assert_eq!(syntax, Syntax::Broken);
        assert_eq!(entry(&root, "a").node.value, Value::Broken);
        assert_eq!(entry(&root, "b").node.value, Value::Whole("2".into()));
        assert_eq!(findings.sorted().0.len(), 1);
    }
}
