//! What is wrong with a file, said so that an operator can mend it.
//!
//! A [`Fault`] has a place, quotes what stands there, and says the fact, the consequence and the remedy in one line.
//! All that is found in one file is gathered in [`Findings`] and shown together: nobody should have to mend a file
//! fault by fault.

use std::{collections::BTreeSet, fmt, sync::Arc};

/// Quoted text longer than this is shortened.
const QUOTE_CHARS_MAX: usize = 60;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, or the environment variable.
    pub file: Arc<str>,
    /// From 1; 0 for an environment variable, which has none.
    pub line: usize,
    /// In characters, from 1; 0 for an environment variable.
    pub column: usize,
}

impl Place {
    /// The beginning of a file: where what is missing is missing.
    pub fn top(file: &str) -> Self {
        Self { file: file.into(), line: 1, column: 1 }
    }

    /// An environment variable.
    pub fn variable(name: &str) -> Self {
        Self { file: name.into(), line: 0, column: 0 }
    }

    /// Set by an environment variable, not in a file.
    pub const fn is_variable(&self) -> bool {
        self.line == 0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column } = self;
        if self.is_variable() { f.write_str(file) } else { write!(f, "{file}:{line}:{column}") }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is done with this text until it is mended.
    Fault,
    /// It works, and perhaps not as meant.
    Warning,
}

/// One thing that is wrong, with its place and remedy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// The key's full path, such as `instance.gpus.min`; empty where no key can be told.
    pub key: String,
    /// The fact, quoting what stands there.
    pub what: String,
    /// What follows from it.
    pub why: String,
    /// What to do.
    pub remedy: String,
    /// How bad it is.
    pub severity: Severity,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, key: _, what, why, remedy, severity } = self;
        let kind = match severity {
            Severity::Fault => "",
            Severity::Warning => "warning: ",
        };
        write!(f, "{place}: {kind}{what}; {why}; {remedy}")
    }
}

/// Why one value is not acceptable: the same three parts, without the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Follows `key = text`, such as `is negative`.
    pub fact: String,
    /// What follows from it.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl Complaint {
    /// From its three parts.
    pub fn new(fact: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { fact: fact.into(), why: why.into(), remedy: remedy.into() }
    }
}

/// A value that was read, and where: what the checks between keys quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The key's full path.
    pub key: String,
    /// Where the value stands.
    pub place: Place,
    /// As it was written, shortened.
    pub text: String,
    /// What was read.
    pub value: T,
}

impl<T> At<T> {
    /// `key = text`.
    pub fn quoted(&self) -> String {
        quoted(&self.key, &self.text)
    }

    /// The same place, another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> At<U> {
        let Self { key, place, text, value } = self;
        At { key, place, text, value: change(value) }
    }

    /// The same place, no value.
    pub fn mark(&self) -> At<()> {
        At { key: self.key.clone(), place: self.place.clone(), text: self.text.clone(), value: () }
    }
}

/// `key = text`, or the key alone where there is no text to show.
pub fn quoted(key: &str, text: &str) -> String {
    if text.is_empty() { key.to_owned() } else { format!("{key} = {text}") }
}

/// A value as it may be quoted: short, and without the credentials of an address such as `http://user:word@host`.
pub fn quotable(text: &str) -> String {
    if text.split_once("://").is_some_and(|(_, rest)| rest.contains('@')) { "***".to_owned() } else { shortened(text) }
}

/// A text on one line, printable and short.
pub fn shortened(text: &str) -> String {
    let mut short = String::new();
    let mut chars = text.trim_end().chars();
    for letter in chars.by_ref().take(QUOTE_CHARS_MAX) {
        match letter {
            '\n' | '\r' | '\t' => short.push(' '),
            letter if letter.is_control() => short.extend(letter.escape_default()),
            letter => short.push(letter),
        }
    }
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// All that was found in one text.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
    missing: Vec<Fault>,
    known: BTreeSet<(String, String)>,
    unknown: Vec<Unknown>,
}

/// A key nobody asked for.
#[derive(Clone, Debug)]
struct Unknown {
    place: Place,
    path: String,
    section: String,
    key: String,
}

/// Where a key belongs: a table, or above all tables.
fn home(section: &str) -> String {
    if section.is_empty() { "at the top of the file, above every table".to_owned() } else { format!("in [{section}]") }
}

/// The word nearest to one that is not known, if any is near.
pub fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let lower = word.to_lowercase();
    let allowed = 1 + word.chars().count() / 5;
    let shares_start = |candidate: &str| {
        (candidate.len() >= 3 && lower.starts_with(candidate)) || (lower.len() >= 3 && candidate.starts_with(&lower))
    };
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed || shares_start(candidate))
        .min()
        .map(|(_, candidate)| candidate)
}

impl Findings {
    /// A key that may stand in a section.
    pub fn know(&mut self, section: &str, key: &str) {
        self.known.insert((section.to_owned(), key.to_owned()));
    }

    /// A key that nobody asked for; what it may have been is said once all keys are known.
    pub fn unknown(&mut self, place: &Place, path: &str, section: &str, key: &str) {
        let (path, section, key) = (path.to_owned(), section.to_owned(), key.to_owned());
        self.unknown.push(Unknown { place: place.clone(), path, section, key });
    }

    fn tell_unknown(&self, unknown: &Unknown) -> Fault {
        let Unknown { place, path, section, key } = unknown;
        let here: Vec<&str> =
            self.known.iter().filter(|(home, _)| home == section).map(|(_, key)| key.as_str()).collect();
        let homes: Vec<String> = self
            .known
            .iter()
            // What may stand in many places, such as the source of a secret, belongs to none of them.
            .filter(|(section, known)| known == key && !section.starts_with('{'))
            .map(|(section, _)| home(section))
            .collect();
        let remedy = match nearest(key, here.iter().copied()) {
            _ if !homes.is_empty() => format!("it belongs {}", homes.join(" or ")),
            Some(near) => format!("did you mean {near}?"),
            None => format!("the keys there are {}", here.join(", ")),
        };
        let complaint = Complaint::new("is not a known key", "what it asks for would not happen", remedy);
        Self::made(place, &shortened(path), "", complaint, Severity::Fault)
    }

    fn made(place: &Place, key: &str, text: &str, complaint: Complaint, severity: Severity) -> Fault {
        let Complaint { fact, why, remedy } = complaint;
        let what = format!("{} {fact}", quoted(key, text)).trim().to_owned();
        Fault { place: place.clone(), key: key.to_owned(), what, why, remedy, severity }
    }

    /// A fault of the text at a place.
    pub fn fault_at(&mut self, place: &Place, key: &str, text: &str, complaint: Complaint) {
        self.faults.push(Self::made(place, key, text, complaint, Severity::Fault));
    }

    /// A fault of a value that was read.
    pub fn fault<T>(&mut self, at: &At<T>, fact: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) {
        self.fault_at(&at.place, &at.key, &at.text, Complaint::new(fact, why, remedy));
    }

    /// A doubt about a value that was read.
    pub fn warn<T>(&mut self, at: &At<T>, fact: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) {
        let complaint = Complaint::new(fact, why, remedy);
        self.warnings.push(Self::made(&at.place, &at.key, &at.text, complaint, Severity::Warning));
    }

    /// A doubt about what is not there.
    pub fn warn_at(&mut self, place: &Place, key: &str, complaint: Complaint) {
        self.warnings.push(Self::made(place, key, "", complaint, Severity::Warning));
    }

    /// A key that must be there and is not.
    pub fn missing(&mut self, place: &Place, key: &str, why: impl Into<String>, remedy: impl Into<String>) {
        let complaint = Complaint::new("is missing", why, remedy);
        self.missing.push(Self::made(place, key, "", complaint, Severity::Fault));
    }

    /// Forgets what was missing: in a text that does not parse, it may be there and unreadable.
    pub fn forgive_missing(&mut self) {
        self.missing.clear();
    }

    /// Takes in what was found elsewhere.
    pub fn extend(&mut self, other: Self) {
        let Self { faults, warnings, missing, known, unknown } = other;
        self.faults.extend(faults);
        self.warnings.extend(warnings);
        self.missing.extend(missing);
        self.known.extend(known);
        self.unknown.extend(unknown);
    }

    /// Nothing stands against using the text.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty() && self.missing.is_empty() && self.unknown.is_empty()
    }

    /// Faults and warnings, each once, in the order of their places.
    pub fn sorted(self) -> (Vec<Fault>, Vec<Fault>) {
        let strange: Vec<Fault> = self.unknown.iter().map(|unknown| self.tell_unknown(unknown)).collect();
        let Self { mut faults, mut warnings, missing, known: _, unknown: _ } = self;
        faults.extend(missing);
        faults.extend(strange);
        for list in [&mut faults, &mut warnings] {
            list.sort();
            list.dedup();
        }
        (faults, warnings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_as_one_line() {
        let at = At { key: "a.b".into(), place: Place::top("x.toml"), text: shortened("1\n2"), value: () };
        let mut findings = Findings::default();
        findings.fault(&at, "is odd", "it cannot be halved", "double it");
        findings.missing(&Place::variable("SPOTSCALE__A"), "a.c", "nothing works", "add it");
        let (faults, _) = findings.sorted();
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "SPOTSCALE__A: a.c is missing; nothing works; add it",
                "x.toml:1:1: a.b = 1 2 is odd; it cannot be halved; double it"
            ]
        );
    }

    #[test]
    fn quotes_are_printable_and_short() {
        assert_eq!(shortened("a\n\u{1b}b"), "a \\u{1b}b");
        assert_eq!(shortened(&"x".repeat(61)), format!("{}…", "x".repeat(60)));
        assert_eq!(shortened(&"x".repeat(60)), "x".repeat(60));
    }
}
