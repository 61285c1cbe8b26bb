//! The environment over the file: `SPOTSCALE__HTTP__LISTEN` stands for `listen` in `[http]`.
//!
//! The variables are handed in, and the `config` package gives them their shape. They are laid over the file's own tree,
//! so that one reader checks both, the file's numbers stay the literals they were, and what is wrong with a variable is
//! said of the variable.

use crate::policy::{
    fault::{Complaint, Findings, Place, quotable},
    tree::{Entry, Node, Value},
};
use config::{Source as _, ValueKind};
use std::collections::BTreeMap;

/// What our variables begin with; the separator follows.
const PREFIX: &str = "SPOTSCALE";
/// What parts a table's name from its key.
const SEPARATOR: &str = "__";
/// A secret has exactly one of these; an overlay with one replaces what the file says.
const SECRET_SOURCES: [&str; 3] = ["credential", "env", "file"];

/// The key a variable stands for: `http.listen`; `None` when it is none of ours.
fn key_of(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    let rest = lower.strip_prefix(&PREFIX.to_lowercase())?.strip_prefix(SEPARATOR)?;
    Some(rest.replace(SEPARATOR, "."))
}

/// Only names that can be keys reach the `config` package.
fn is_key(key: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_lowercase())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    key.split('.').all(part)
}

/// Our variables as a tree; what cannot be in it gives its fault.
pub fn tree(environment: &BTreeMap<String, String>, findings: &mut Findings) -> Option<Node> {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for name in environment.keys() {
        let Some(key) = key_of(name) else { continue };
        let place = Place::variable(name);
        let mut refuse = |fact: &str, why: &str, remedy: &str| {
            findings.fault_at(&place, &key, "", Complaint::new(fact, why, remedy));
        };
        if !is_key(&key) {
            refuse(
                "is not a key",
                "two underscores part a table from its key",
                "write it like SPOTSCALE__HTTP__LISTEN",
            );
        } else if let Some(other) = names.insert(key.clone(), name.clone()) {
            refuse(&format!("is also set by {other}"), "only one can be meant", "unset one of them");
        }
    }
    for (key, name) in &names {
        let within = format!("{key}.");
        if let Some((_, inner)) = names.iter().find(|(other, _)| other.starts_with(&within)) {
            let complaint = Complaint::new("is text", format!("{inner} makes it a table"), "unset one of them");
            findings.fault_at(&Place::variable(name), key, "", complaint);
            return None;
        }
    }
    if names.is_empty() {
        return None;
    }
    let ours = environment.iter().filter(|(name, _)| names.values().any(|known| known == *name));
    let source = config::Environment::with_prefix(PREFIX)
        .separator(SEPARATOR)
        .try_parsing(false)
        .source(Some(ours.map(|(name, value)| (name.clone(), value.clone())).collect()));
    let built = config::Config::builder().add_source(source).build().and_then(|config| config.collect());
    match built {
        Ok(table) => {
            let entries = table.into_iter().map(|(key, value)| entry(&key.clone(), key, value, &names)).collect();
            Some(Node { place: Place::variable(PREFIX), text: String::new(), value: Value::Table(entries) })
        }
        Err(error) => {
            let complaint = Complaint::new(error.to_string(), "the environment cannot be read", "mend the variables");
            findings.fault_at(&Place::variable(PREFIX), "", "", complaint);
            None
        }
    }
}

fn entry(path: &str, key: String, value: config::Value, names: &BTreeMap<String, String>) -> (String, Entry) {
    let place = Place::variable(names.get(path).map_or(PREFIX, String::as_str));
    let node = match value.kind {
        ValueKind::Table(table) => {
            let inner = |(key, value): (String, config::Value)| entry(&format!("{path}.{key}"), key, value, names);
            let entries: BTreeMap<String, Entry> = table.into_iter().map(inner).collect();
            let place = entries.values().next().map_or(place, |first| first.place.clone());
            Node { place, text: String::new(), value: Value::Table(entries) }
        }
        other => {
            let text = config::Value::new(None, other).into_string().unwrap_or_default();
            Node { place, text: quotable(&format!("\"{text}\"")), value: Value::Loose(text) }
        }
    };
    (key, Entry { place: node.place.clone(), node })
}

/// Lays one tree over another: tables are merged key by key, everything else is replaced.
pub fn overlay(under: &mut Node, over: Node) {
    let is_secret = |entries: &BTreeMap<String, Entry>| {
        !entries.is_empty() && entries.keys().all(|key| SECRET_SOURCES.contains(&key.as_str()))
    };
    match (&mut under.value, over.value) {
        (Value::Table(under), Value::Table(over)) if !is_secret(&over) => {
            for (key, entry) in over {
                match under.get_mut(&key) {
                    Some(old) => overlay(&mut old.node, entry.node),
                    None => {
                        under.insert(key, entry);
                    }
                }
            }
        }
        (_, value) => *under = Node { place: over.place, text: over.text, value },
    }
}
