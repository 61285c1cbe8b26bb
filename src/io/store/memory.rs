//! The journal in memory, for tests and the simulation.
//!
//! A [`MemoryStore`] is a process's handle on a disk; [`MemoryStore::reopen`] is the next process on the same disk. It can
//! be told to fail the next append the ways a disk and a power supply do ([`Mishap`]), and to lose its last append as a
//! torn write does.

use super::{Doing, NewRow, Query, Row, Store, StoreError};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What happens to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The disk is full: nothing is there, and the process goes on.
    Full,
    /// The process dies before the append is durable: nothing is there.
    DiesBefore,
    /// The process dies after the append is durable, and never learns of it.
    DiesAfter,
}

/// What is durable.
#[derive(Clone, Debug, Default)]
struct Disk {
    rows: BTreeMap<u64, Row>,
    /// The last sequence number ever given.
    last: u64,
    /// The last sequence number before each append, newest last.
    appends: Vec<u64>,
}

/// What this process does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lives,
    Meets(Mishap),
    Dead,
}

/// A process's handle on a journal in memory.
#[derive(Debug)]
pub struct MemoryStore {
    disk: Arc<Mutex<Disk>>,
    fate: Mutex<Fate>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::on(Arc::default())
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryStore {
    fn on(disk: Arc<Mutex<Disk>>) -> Self {
        Self { disk, fate: Mutex::new(Fate::Lives) }
    }

    /// The next process on the same disk.
    #[must_use]
    pub fn reopen(&self) -> Self {
        Self::on(Arc::clone(&self.disk))
    }

    /// A disk of its own with the same content: what a copy taken now would be.
    #[must_use]
    pub fn copied(&self) -> Self {
        Self::on(Arc::new(Mutex::new(held(&self.disk).clone())))
    }

    /// The kinds of record that each append wrote, in order.
    pub fn appended(&self) -> Vec<Vec<String>> {
        let disk = held(&self.disk);
        let ends = disk.appends.iter().skip(1).copied().chain([disk.last]);
        let written = disk.appends.iter().zip(ends);
        written.map(|(last, end)| disk.rows.range(last + 1..=end).map(|(_, row)| row.kind.clone()).collect()).collect()
    }

    /// The next append of this process meets with this.
    pub fn meet(&self, mishap: Mishap) {
        *held(&self.fate) = Fate::Meets(mishap);
    }

    /// Takes the newest append away, whole: it was torn, or never reached the disk.
    pub fn lose_last_append(&self) {
        let mut disk = held(&self.disk);
        if let Some(last) = disk.appends.pop() {
            disk.rows.split_off(&(last + 1));
            disk.last = last;
        }
    }

    fn alive(&self, doing: Doing) -> Result<(), StoreError> {
        match *held(&self.fate) {
            Fate::Lives | Fate::Meets(_) => Ok(()),
            Fate::Dead => Err(StoreError::Failed { doing, detail: "the power is gone".into() }),
        }
    }
}

impl Disk {
    fn append(&mut self, rows: &[NewRow]) -> u64 {
        self.appends.push(self.last);
        for NewRow { at_ms, kind, fleet, subject, body } in rows {
            self.last += 1;
            let row = Row {
                sequence: self.last,
                at_ms: *at_ms,
                kind: (*kind).to_owned(),
                fleet: fleet.clone(),
                subject: subject.clone(),
                body: body.clone(),
            };
            self.rows.insert(self.last, row);
        }
        self.last
    }
}

impl Query {
    /// Whether a row is asked for.
    fn matches(&self, row: &Row) -> bool {
        let Self { kinds, fleet, subject, since_ms, before } = self;
        (kinds.is_empty() || kinds.contains(&row.kind))
            && (fleet.is_none() || *fleet == row.fleet)
            && (subject.is_none() || *subject == row.subject)
            && since_ms.is_none_or(|since| row.at_ms >= since)
            && before.is_none_or(|before| row.sequence < before)
    }
}

impl Store for MemoryStore {
    fn append(&self, rows: &[NewRow]) -> Result<u64, StoreError> {
        self.alive(Doing::Append)?;
        let mut fate = held(&self.fate);
        let failed = |detail: &str| Err(StoreError::Failed { doing: Doing::Append, detail: detail.into() });
        let mut disk = held(&self.disk);
        match *fate {
            Fate::Lives | Fate::Dead => Ok(disk.append(rows)),
            Fate::Meets(Mishap::Full) => {
                *fate = Fate::Lives;
                failed("the disk is full; make room, nothing was written")
            }
            Fate::Meets(Mishap::DiesBefore) => {
                *fate = Fate::Dead;
                failed("the power is gone")
            }
            Fate::Meets(Mishap::DiesAfter) => {
                *fate = Fate::Dead;
                disk.append(rows);
                failed("the power is gone")
            }
        }
    }

    fn read(&self, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        self.alive(Doing::Read)?;
        Ok(held(&self.disk).rows.range(from..).take(rows_max).map(|(_, row)| row.clone()).collect())
    }

    fn search(&self, query: &Query, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        self.alive(Doing::Read)?;
        let disk = held(&self.disk);
        Ok(disk.rows.values().rev().filter(|row| query.matches(row)).take(rows_max).cloned().collect())
    }

    fn prune(&self, kinds: &[&str], before_ms: i64) -> Result<u64, StoreError> {
        self.alive(Doing::Prune)?;
        let mut disk = held(&self.disk);
        let count = disk.rows.len();
        disk.rows.retain(|_, row| row.at_ms >= before_ms || !kinds.contains(&row.kind.as_str()));
        Ok((count - disk.rows.len()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> NewRow {
        NewRow { at_ms: 1, kind: "event", fleet: None, subject: None, body: "{}".into() }
    }

    #[track_caller]
    fn check(mishap: Mishap, rows_after: usize, lives: bool) {
        let store = MemoryStore::default();
        store.append(&[row()]).unwrap();
        store.meet(mishap);
        store.append(&[row(), row()]).unwrap_err();
        assert_eq!(store.append(&[]).is_ok(), lives);
        assert_eq!(store.reopen().read(0, 9).unwrap().len(), rows_after);
    }

    #[test]
    fn a_mishap_leaves_all_of_an_append_or_nothing() {
        check(Mishap::Full, 1, true);
        check(Mishap::DiesBefore, 1, false);
        check(Mishap::DiesAfter, 3, false);
    }
}
