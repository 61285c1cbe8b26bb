//! Reading back what happened: for `history`, `explain` and the status page.
//!
//! The ledger is what things came to; this is how they came to it. It reads the store and nothing else, so that it works
//! beside a daemon and without one.

use super::{
    JournalError, Record,
    journal::{moment, read},
};
use crate::{
    io::store::{Query, Store},
    model::{FleetName, Timestamp},
};

/// No more entries than this are read at once.
pub const ENTRIES_MAX: usize = 10_000;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the journal.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// The fleet it is about, where it is about one.
    pub fleet: Option<String>,
    /// The VM, hostnode, file or decision it is about.
    pub subject: Option<String>,
    /// The record itself.
    pub record: Record,
}

/// Which entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of these kinds; empty: all but the counting of money.
    pub kinds: Vec<String>,
    /// Only of this fleet.
    pub fleet: Option<FleetName>,
    /// Only about this.
    pub subject: Option<String>,
    /// Only at or after this moment.
    pub since: Option<Timestamp>,
    /// Only before this place in the journal: for paging.
    pub before: Option<u64>,
}

/// All kinds but the counting of money, which would drown the others.
fn told() -> Vec<String> {
    Record::KINDS.iter().filter(|kind| **kind != "accrued").map(|kind| (*kind).to_owned()).collect()
}

/// Entries that pass a filter, newest first, at most `entries_max`.
///
/// # Errors
/// When the store cannot be read, or a record is damaged.
pub fn history(store: &dyn Store, filter: &Filter, entries_max: usize) -> Result<Vec<Entry>, JournalError> {
    let Filter { kinds, fleet, subject, since, before } = filter;
    let query = Query {
        kinds: if kinds.is_empty() { told() } else { kinds.clone() },
        fleet: fleet.as_ref().map(FleetName::to_string),
        subject: subject.clone(),
        since_ms: since.map(Timestamp::as_millisecond),
        before: *before,
    };
    let rows = store.search(&query, entries_max.min(ENTRIES_MAX))?;
    rows.into_iter()
        .map(|row| {
            let record = read(&row)?;
            Ok(Entry { sequence: row.sequence, at: moment(row.at_ms), fleet: row.fleet, subject: row.subject, record })
        })
        .collect()
}

/// A fleet's decisions, newest first.
///
/// # Errors
/// When the store cannot be read, or a record is damaged.
pub fn decisions(
    store: &dyn Store,
    fleet: Option<&FleetName>,
    since: Option<Timestamp>,
    entries_max: usize,
) -> Result<Vec<Entry>, JournalError> {
    let filter = Filter { kinds: vec!["decision".into()], fleet: fleet.cloned(), since, ..Filter::default() };
    history(store, &filter, entries_max)
}

/// One decision, by its id.
///
/// # Errors
/// When the store cannot be read, or the record is damaged.
pub fn decision(store: &dyn Store, id: &str) -> Result<Option<Entry>, JournalError> {
    let filter = Filter { kinds: vec!["decision".into()], subject: Some(id.to_owned()), ..Filter::default() };
    Ok(history(store, &filter, 1)?.pop())
}
