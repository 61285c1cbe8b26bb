//! The ways in which an answer is bent: in its JSON, in its bytes, in its status and headers.

use crate::json::{Node, Way, quoted};
use proptest::prelude::*;
use spotscale::{io::net::Response, market::ORIGINAL_STATUS};

/// What a value becomes; `ECHO` becomes a secret of the request.
pub const LEAVES: [&str; 34] = [
    "-1",
    "-0.0001",
    "0",
    "1e999",
    "1e-400",
    "1000000001",
    "4294967296",
    "18446744073709551616",
    "99999999999999999999999999999999999999999999999999999999999999999999999",
    "0.1234567890123456789",
    "NaN",
    "Infinity",
    "-Infinity",
    "0x10",
    "01",
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "[[[[[[]]]]]]",
    "\"\"",
    "\"NaN\"",
    "\"-1\"",
    "\"1e9\"",
    "\"1e2147483647\"",
    "\"Infinity\"",
    "\"\\u0000\\u001b[31m\\n\"",
    "\"../../../etc/passwd\"",
    "\"9999-12-31 23:59:59\"",
    "\"\\ud800\"",
    "\"\u{202e}\u{feff}\"",
    "\"<script>alert(1)</script>\"",
    "ECHO",
];
/// What a member is called instead.
const NAMES: [&str; 10] =
    ["", "error", "success", "data", "status", "id", "ECHO", "\u{0}\n", "geforcertx4090-pcie-24gb", "99999999999"];
/// Statuses, those of good answers more often.
const STATUSES: [u16; 20] =
    [200, 200, 200, 200, 200, 200, 201, 204, 301, 400, 400, 401, 403, 404, 409, 418, 429, 500, 503, 999];
/// Headers.
const HEADERS: [(&str, &str); 16] = [
    (ORIGINAL_STATUS, "500"),
    (ORIGINAL_STATUS, "banana"),
    (ORIGINAL_STATUS, "-200"),
    (ORIGINAL_STATUS, "99999999999999999999"),
    ("retry-after", "-5"),
    ("retry-after", "1e9"),
    ("retry-after", "99999999999999999999999"),
    ("retry-after", "18446744073709551615"),
    ("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT"),
    ("retry-after", "\u{1b}[31m"),
    ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("date", "yesterday"),
    ("content-type", "text/html"),
    ("content-type", "application/octet-stream"),
    ("content-type", ""),
    ("content-length", "0"),
];
/// How long a long text is, in bytes.
const LONG_BYTES: usize = 1_000_000;

/// One change of a tree. Places and choices are taken as remainders, so that every number is one.
#[derive(Clone, Debug)]
pub enum Edit {
    /// A value becomes another.
    Leaf(usize, usize),
    /// It is not there.
    Remove(usize),
    /// It is there twice.
    Double(usize),
    /// It is there twice, and the second time another.
    DoubleAs(usize, usize),
    /// Two change places.
    Swap(usize, usize),
    /// A member has another name.
    Rename(usize, usize),
    /// It stands in an array.
    Wrap(usize),
    /// A number becomes a text, a text what stands in it.
    Unquote(usize),
    /// It becomes so many arrays in each other.
    Deep(usize, usize),
    /// It becomes a long text.
    Long(usize),
    /// It is a list of so many.
    Many(usize, usize),
}

/// One change of the bytes.
#[derive(Clone, Debug)]
pub enum Slip {
    /// One more.
    Insert(usize, u8),
    /// One less.
    Remove(usize),
    /// The end is lost.
    Cut(usize),
}

/// A whole bend.
#[derive(Clone, Debug)]
pub struct Bend {
    edits: Vec<Edit>,
    slips: Vec<Slip>,
    status: Option<usize>,
    headers: Vec<usize>,
}

/// Changes of all kinds, but for what takes long.
pub fn edits() -> impl Strategy<Value = Edit> {
    let any = || any::<usize>();
    prop_oneof![
        12 => (any(), any()).prop_map(|(at, leaf)| Edit::Leaf(at, leaf)),
        4 => any().prop_map(Edit::Remove),
        2 => any().prop_map(Edit::Double),
        3 => (any(), any()).prop_map(|(at, leaf)| Edit::DoubleAs(at, leaf)),
        4 => (any(), any()).prop_map(|(one, other)| Edit::Swap(one, other)),
        3 => (any(), any()).prop_map(|(at, name)| Edit::Rename(at, name)),
        2 => any().prop_map(Edit::Wrap),
        2 => any().prop_map(Edit::Unquote),
        1 => (any(), 0usize..3_000).prop_map(|(at, depth)| Edit::Deep(at, depth)),
        1 => (any(), 0usize..3_000).prop_map(|(at, count)| Edit::Many(at, count)),
    ]
}

/// Bends of all kinds, but for what takes long.
pub fn bends() -> impl Strategy<Value = Bend> {
    let slips = prop_oneof![
        3 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Slip::Insert(at, byte)),
        2 => any::<usize>().prop_map(Slip::Remove),
        1 => any::<usize>().prop_map(Slip::Cut),
    ];
    let slips = prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(slips, 1..4)];
    let status = prop_oneof![1 => Just(None), 1 => any::<usize>().prop_map(Some)];
    let headers = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(any::<usize>(), 1..3)];
    (prop::collection::vec(edits(), 0..5), slips, status, headers).prop_map(|(edits, slips, status, headers)| Bend {
        edits,
        slips,
        status,
        headers,
    })
}

/// One text, a megabyte long.
pub fn long() -> impl Strategy<Value = Bend> {
    any::<usize>().prop_map(|at| Bend { edits: vec![Edit::Long(at)], slips: vec![], status: None, headers: vec![] })
}

fn leaf(choice: usize, secret: &str) -> Node {
    Node::Leaf(match LEAVES[choice % LEAVES.len()] {
        "ECHO" => quoted(secret),
        leaf => leaf.to_owned(),
    })
}

impl Edit {
    /// Changes a tree.
    pub fn apply(&self, node: &mut Node, secret: &str) {
        let ways = node.ways();
        let way = |at: usize| -> &Way { &ways[at % ways.len()] };
        match self {
            Self::Leaf(at, choice) => *node = node.with(way(*at), leaf(*choice, secret)),
            Self::Remove(at) => *node = node.without(way(*at)).unwrap_or_else(|| node.clone()),
            Self::Double(at) => *node = node.doubled(way(*at)).unwrap_or_else(|| node.clone()),
            Self::DoubleAs(at, choice) => {
                let way = way(*at);
                let Some(mut doubled) = node.doubled(way) else { return };
                if let Some((_, parent)) = way.split_last()
                    && let Some(Node::Object(members)) = doubled.at_mut(parent)
                    && let Some((_, value)) = members.last_mut()
                {
                    *value = leaf(*choice, secret);
                }
                *node = doubled;
            }
            Self::Swap(one, other) => {
                let (one, other) = (way(*one), way(*other));
                let (Some(first), Some(second)) = (node.at(one).cloned(), node.at(other).cloned()) else { return };
                *node = node.with(one, second).with(other, first);
            }
            Self::Rename(at, name) => {
                let Some((last, parent)) = way(*at).split_last() else { return };
                if let Some(Node::Object(members)) = node.at_mut(parent)
                    && let Some((called, _)) = members.get_mut(*last)
                {
                    *called = NAMES[name % NAMES.len()].replace("ECHO", secret);
                }
            }
            Self::Wrap(at) => {
                let inner = node.at(way(*at)).cloned().into_iter().collect();
                *node = node.with(way(*at), Node::Array(inner));
            }
            Self::Unquote(at) => {
                if let Some(Node::Leaf(text)) = node.at(way(*at)) {
                    let other = serde_json::from_str::<String>(text).unwrap_or_else(|_| quoted(text));
                    *node = node.with(way(*at), Node::Leaf(other));
                }
            }
            Self::Deep(at, depth) => {
                let deep = format!("{}{}", "[".repeat(*depth), "]".repeat(*depth));
                *node = node.with(way(*at), Node::Leaf(deep));
            }
            Self::Long(at) => {
                *node = node.with(way(*at), Node::Leaf(quoted(&"ż".repeat(LONG_BYTES / 2))));
            }
            Self::Many(at, count) => {
                let names = (0..*count).map(|place| (format!("Zorkified {place}"), Node::Leaf("{}".into())));
                *node = node.with(way(*at), Node::Object(names.collect()));
            }
        }
    }
}

impl Bend {
    /// An answer, bent. What is no JSON is bent in its bytes alone.
    pub fn apply(&self, body: &[u8], secret: &str) -> Response {
        let mut body = match Node::read(body) {
            Some(mut node) => {
                for edit in &self.edits {
                    edit.apply(&mut node, secret);
                }
                node.text().into_bytes()
            }
            None => body.to_vec(),
        };
        for slip in &self.slips {
            let place = |at: &usize| at % body.len().max(1);
            match slip {
                Slip::Insert(at, byte) => body.insert(place(at), *byte),
                Slip::Remove(at) if !body.is_empty() => {
                    body.remove(place(at));
                }
                Slip::Remove(_) => {}
                Slip::Cut(at) => body.truncate(place(at)),
            }
        }
        let status = self.status.map_or(200, |choice| STATUSES[choice % STATUSES.len()]);
        let mut response = Response::json(status, body);
        for choice in &self.headers {
            let (name, value) = HEADERS[choice % HEADERS.len()];
            response.headers.retain(|(known, _)| known != name);
            response.headers.push((name.to_owned(), value.to_owned()));
        }
        response
    }
}
