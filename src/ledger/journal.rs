//! The record of everything: durable first, then folded.
//!
//! [`Journal::append`] makes records durable in one step, all or none, and only then folds them into the [`Ledger`]. What
//! it folds is what it wrote, read back: a replay comes to the very same ledger by construction.

use super::{Ledger, Record};
use crate::{
    io::{
        entropy::{self, Entropy},
        store::{NewRow, Row, Store, StoreError},
    },
    model::{FleetName, Guard, Timestamp, VmName},
};
use std::{collections::BTreeSet, sync::Arc};

/// Rows read at once.
const PAGE_ROWS: usize = 1_000;
/// What epochs are made of.
const EPOCH_LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// Letters of an epoch: one of two thousand million.
const EPOCH_LENGTH: usize = 6;
/// The epoch of names that are only thought of, where there is no journal.
const NO_EPOCH: &str = "none";

/// Why the journal does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The store could not be reached, read or written. Retrying may help.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record does not read. Retrying will not help: an operator decides.
    #[error("the journal is damaged at record {sequence}: {detail}")]
    Damaged {
        /// Which.
        sequence: u64,
        /// What does not read.
        detail: String,
    },
    /// A record that was about to be appended is not one. Nothing was written.
    #[error("refused to journal `{kind}`: {detail}")]
    Unfit {
        /// Its kind.
        kind: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

/// Reads one row's record.
pub(super) fn read(row: &Row) -> Result<Record, JournalError> {
    let damaged = |detail| JournalError::Damaged { sequence: row.sequence, detail };
    let record = Record::decode(&row.body).map_err(damaged)?;
    if record.kind() == row.kind {
        Ok(record)
    } else {
        Err(damaged(format!("it is stored as `{}` and says `{}`", row.kind, record.kind())))
    }
}

/// A moment as a row keeps it.
pub(super) fn moment(at_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(at_ms).unwrap_or(if at_ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// Folds in all rows that the ledger does not have yet, page by page.
fn catch_up(store: &dyn Store, ledger: &mut Ledger) -> Result<(), JournalError> {
    loop {
        let page = store.read(ledger.sequence().saturating_add(1), PAGE_ROWS)?;
        for row in &page {
            ledger.fold(row.sequence, moment(row.at_ms), read(row)?);
        }
        if page.len() < PAGE_ROWS {
            return Ok(());
        }
    }
}

/// The ledger of a journal that is only looked at. One that does not exist yet is empty.
///
/// # Errors
/// When it cannot be read, or is damaged.
pub fn replay(store: &dyn Store, prefix: &str) -> Result<Ledger, JournalError> {
    let mut ledger = Ledger::empty();
    catch_up(store, &mut ledger)?;
    prefix.clone_into(&mut ledger.prefix);
    if ledger.epoch.is_empty() {
        NO_EPOCH.clone_into(&mut ledger.epoch);
    }
    Ok(ledger)
}

/// Likewise, of a journal all of whose rows are folded in a second time. It is the same one: whoever doubts it compares.
///
/// # Errors
/// See [`replay`].
pub fn replay_twice(store: &dyn Store, prefix: &str) -> Result<Ledger, JournalError> {
    let mut ledger = replay(store, prefix)?;
    let mut from = 0;
    loop {
        let page = store.read(from, PAGE_ROWS)?;
        for row in &page {
            ledger.fold(row.sequence, moment(row.at_ms), read(row)?);
        }
        match page.last() {
            Some(last) if page.len() == PAGE_ROWS => from = last.sequence.saturating_add(1),
            Some(_) | None => return Ok(ledger),
        }
    }
}

/// The journal and its fold.
pub struct Journal {
    store: Arc<dyn Store>,
    ledger: Ledger,
}

impl Journal {
    /// Replays the journal; draws its epoch if it is new, notes a prefix that changed, and that the clock was set back to
    /// before its newest record.
    ///
    /// # Errors
    /// When it cannot be read or written, or is damaged.
    pub fn open(
        store: Arc<dyn Store>,
        now: Timestamp,
        entropy: &dyn Entropy,
        prefix: &str,
    ) -> Result<Self, JournalError> {
        let mut ledger = Ledger::empty();
        catch_up(&*store, &mut ledger)?;
        let is_new = ledger.epoch.is_empty();
        let was_ahead = ledger.newest_at().is_some_and(|newest| newest > now);
        let mut journal = Self { store, ledger };
        if is_new || journal.ledger.prefix != prefix {
            let epoch =
                if is_new { entropy::text(entropy, EPOCH_LETTERS, EPOCH_LENGTH) } else { journal.ledger.epoch.clone() };
            journal.append(now, vec![Record::Created { prefix: prefix.to_owned(), epoch }])?;
        }
        if was_ahead {
            journal.append(now, vec![Record::ClockSet { forwards_ms: 0 }])?;
        }
        Ok(journal)
    }

    /// What the journal comes to.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Where it is kept, for reading history.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Makes records durable, all or none, and folds them in.
    ///
    /// # Errors
    /// Then nothing was folded in. Where the store failed while it wrote, it may still be that the records are there: the
    /// next append, or the next process, finds out.
    pub fn append(&mut self, at: Timestamp, records: Vec<Record>) -> Result<(), JournalError> {
        if records.is_empty() {
            return Ok(());
        }
        let at_ms = at.as_millisecond();
        let mut rows = Vec::with_capacity(records.len());
        let mut reread = Vec::with_capacity(records.len());
        let mut names = BTreeSet::<VmName>::new();
        for record in records {
            let kind = record.kind();
            let unfit = |detail| JournalError::Unfit { kind, detail };
            if let Record::DeployIntended(intent) = &record
                && !Guard::NameOnce.holds(!self.ledger.knows(&intent.name) && names.insert(intent.name.clone()))
            {
                return Err(unfit(format!("the name {} was given before", intent.name)));
            }
            let body = record.encode().map_err(unfit)?;
            let record = Record::decode(&body).map_err(unfit)?;
            let fleet = record.fleet().or_else(|| record.vm().and_then(|name| self.ledger.fleet_of(name)));
            let fleet = fleet.map(FleetName::to_string);
            rows.push(NewRow { at_ms, kind, fleet, subject: record.subject(), body });
            reread.push(record);
        }
        let last = self.store.append(&rows)?;
        let first = last.saturating_sub(rows.len() as u64).saturating_add(1);
        if first != self.ledger.sequence().saturating_add(1) {
            // An append that failed was durable after all, or pruned rows ended the journal.
            return catch_up(&*self.store, &mut self.ledger);
        }
        for (sequence, record) in (first..).zip(reread) {
            self.ledger.fold(sequence, moment(at_ms), record);
        }
        Ok(())
    }

    /// Removes what only tells a story and is older than a moment; what was spent is never forgotten.
    ///
    /// # Errors
    /// Then nothing was removed.
    pub fn prune(&self, before: Timestamp) -> Result<u64, JournalError> {
        // The newest `accrued` holds the totals, and was appended no earlier than it counts to.
        let before = self.ledger.spend().until().map_or(before, |until| until.min(before));
        Ok(self.store.prune(&Record::PRUNABLE, before.as_millisecond())?)
    }
}
