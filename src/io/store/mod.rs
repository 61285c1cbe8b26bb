//! The door to durable storage: an append-only journal of rows, and nothing more.
//!
//! A row's meaning is the ledger's; here it is text with a few columns to search by. [`SqliteStore`] keeps them in a file,
//! [`MemoryStore`] in memory, where it can be made to fail and to lose power; one conformance suite holds both to the
//! same behaviour. **Invariant:** when `append` returns, all its rows are durable and in order, or none is there.

pub mod memory;
pub mod overlay;
pub mod sqlite;

#[cfg(test)]
mod conformance;

pub use memory::MemoryStore;
pub use overlay::Overlay;
pub use sqlite::SqliteStore;

use std::fmt;

/// A row to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRow {
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// The record's kind, a word.
    pub kind: &'static str,
    /// The fleet it is about.
    pub fleet: Option<String>,
    /// The VM name, hostnode or file it is about.
    pub subject: Option<String>,
    /// The record in its canonical encoding.
    pub body: String,
}

/// A row as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Grows by one with each row; never reused.
    pub sequence: u64,
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// The record's kind.
    pub kind: String,
    /// The fleet it is about.
    pub fleet: Option<String>,
    /// What it is about.
    pub subject: Option<String>,
    /// The record in its canonical encoding.
    pub body: String,
}

/// Which rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only of these kinds; empty: all.
    pub kinds: Vec<String>,
    /// Only of this fleet.
    pub fleet: Option<String>,
    /// Only about this.
    pub subject: Option<String>,
    /// Only at or after this moment.
    pub since_ms: Option<i64>,
    /// Only below this sequence number.
    pub before: Option<u64>,
}

/// What was being done when the store failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Opening it.
    Open,
    /// Bringing its schema up to date.
    Migrate,
    /// Appending.
    Append,
    /// Reading.
    Read,
    /// Pruning.
    Prune,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open the state",
            Self::Migrate => "migrate the state",
            Self::Append => "append to the journal",
            Self::Read => "read the journal",
            Self::Prune => "prune the journal",
        })
    }
}

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another daemon holds it.
    #[error("another spotscale runs on this state ({0}); stop it, or use another `state`")]
    Locked(String),
    /// Written by a newer spotscale.
    #[error("the state has schema {found}, this spotscale knows {known}; install the newer spotscale again")]
    TooNew {
        /// What the file says.
        found: u32,
        /// What we know.
        known: u32,
    },
    /// Anything else.
    #[error("failed to {doing}: {detail}")]
    Failed {
        /// What was tried.
        doing: Doing,
        /// What went wrong.
        detail: String,
    },
}

/// An append-only journal.
pub trait Store: Send + Sync {
    /// Appends all rows in one durable transaction; returns the last sequence number.
    ///
    /// # Errors
    /// Then none is there.
    fn append(&self, rows: &[NewRow]) -> Result<u64, StoreError>;

    /// Rows with a sequence number of at least `from`, in order, at most `rows_max`.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError>;

    /// Rows that match, newest first, at most `rows_max`.
    ///
    /// # Errors
    /// When it cannot be read.
    fn search(&self, query: &Query, rows_max: usize) -> Result<Vec<Row>, StoreError>;

    /// Removes rows of these kinds older than a moment; returns how many.
    ///
    /// # Errors
    /// Then none is removed.
    fn prune(&self, kinds: &[&str], before_ms: i64) -> Result<u64, StoreError>;
}
