//! The power supply of a rehearsed machine, and the disk that hangs on it.
//!
//! A [`Power`] counts what a daemon does that the world or the disk can tell: every append to the journal and every request.
//! A [`Cut`] names one of them, and which half of it still happens. Once the power is off nothing is done any more: the
//! disk keeps what was durable, requests are neither sent nor answered, and whoever runs the daemon drops it.
//!
//! One supply serves one process; the next one gets a new supply on the same disk ([`Disk::reopened`]).

use crate::{
    io::store::{MemoryStore, NewRow, Query, Row, Store, StoreError, memory::Mishap},
    sim::seed::{Dice, Seed},
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// On which side of a request the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before it is sent.
    Before,
    /// When it has done what it does and its answer is on the way.
    After,
    /// When it is on the way: it arrives so much later, and nobody waits for its answer any more.
    Late(Duration),
    /// When it has done what it does; a VM that it made shows up in lists only so much later.
    Unlisted(Duration),
}

/// Where the power goes. Both are counted from 1, since the process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// At this append to the journal.
    Append(usize, Mishap),
    /// At this request.
    Request(usize, Side),
}

/// A power supply.
#[derive(Clone, Debug, Default)]
pub struct Power {
    cut: Arc<Mutex<Option<Cut>>>,
    appends: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    off: CancellationToken,
}

impl Power {
    fn cut(&self) -> MutexGuard<'_, Option<Cut>> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power goes there, unless that has passed.
    pub fn cut_at(&self, cut: Cut) {
        *self.cut() = Some(cut);
    }

    /// Appends to the journal so far.
    pub fn appends(&self) -> usize {
        self.appends.load(Ordering::Relaxed)
    }

    /// Requests so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether it is gone.
    pub fn is_off(&self) -> bool {
        self.off.is_cancelled()
    }

    /// Waits until it is gone.
    pub async fn gone(&self) {
        self.off.cancelled().await;
    }

    /// It goes now.
    pub fn go(&self) {
        self.off.cancel();
    }

    /// One more request is to be sent; on which side of it the power goes, if at all.
    pub fn request(&self) -> Option<Side> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let cut = self.cut().take_if(|cut| matches!(cut, Cut::Request(at, _) if *at <= number));
        match cut? {
            Cut::Request(_, side) => Some(side),
            Cut::Append(..) => None,
        }
    }

    /// One more append begins; what happens to it, if anything.
    fn append(&self) -> Option<Mishap> {
        let number = self.appends.fetch_add(1, Ordering::Relaxed) + 1;
        let cut = self.cut().take_if(|cut| matches!(cut, Cut::Append(at, _) if *at <= number));
        match cut? {
            Cut::Append(_, mishap) => Some(mishap),
            Cut::Request(..) => None,
        }
    }
}

/// A journal in memory that hangs on a power supply.
#[derive(Debug)]
pub struct Disk {
    store: MemoryStore,
    power: Power,
}

impl Disk {
    /// An empty one.
    pub fn new(power: Power) -> Self {
        Self { store: MemoryStore::default(), power }
    }

    /// What was durable, on another supply.
    #[must_use]
    pub fn reopened(&self, power: Power) -> Self {
        Self { store: self.store.reopen(), power }
    }

    /// What kinds of record each append wrote that is durable, in order, whichever process made it.
    pub fn appended(&self) -> Vec<Vec<String>> {
        self.store.appended()
    }

    /// A copy of what is on it now, on a disk and a supply of its own.
    #[must_use]
    pub fn copied(&self, power: Power) -> Self {
        Self { store: self.store.copied(), power }
    }

    /// The supply.
    pub const fn power(&self) -> &Power {
        &self.power
    }
}

impl Store for Disk {
    fn append(&self, rows: &[NewRow]) -> Result<u64, StoreError> {
        let mishap = self.power.append();
        if let Some(mishap) = mishap {
            self.store.meet(mishap);
        }
        let appended = self.store.append(rows);
        match mishap {
            Some(Mishap::DiesBefore | Mishap::DiesAfter) => self.power.go(),
            Some(Mishap::Full) | None => {}
        }
        appended
    }

    fn read(&self, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        self.store.read(from, rows_max)
    }

    fn search(&self, query: &Query, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        self.store.search(query, rows_max)
    }

    fn prune(&self, kinds: &[&str], before_ms: i64) -> Result<u64, StoreError> {
        self.store.prune(kinds, before_ms)
    }
}

/// The door to entropy in a rehearsal: passwords and epochs of a seed's own stream, another one for each process.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<Dice>);

impl SeededEntropy {
    /// Of the so-many-th process.
    pub fn of(seed: Seed, process: u32) -> Self {
        Self(Mutex::new(seed.dice(&format!("entropy of process {process}"))))
    }
}

impl crate::io::entropy::Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        let mut dice = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in buffer {
            *byte = u8::try_from(dice.between(0, 255)).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> NewRow {
        NewRow { at_ms: 1, kind: "event", fleet: None, subject: None, body: "{}".into() }
    }

    #[test]
    fn the_power_goes_at_the_append_that_was_named_and_what_was_durable_stays() {
        for (mishap, rows, is_off) in
            [(Mishap::DiesBefore, 1, true), (Mishap::DiesAfter, 2, true), (Mishap::Full, 1, false)]
        {
            let disk = Disk::new(Power::default());
            disk.power().cut_at(Cut::Append(2, mishap));
            disk.append(&[row()]).unwrap();
            disk.append(&[row()]).unwrap_err();
            assert_eq!((disk.power().is_off(), disk.power().appends()), (is_off, 2), "{mishap:?}");
            let reopened = disk.reopened(Power::default());
            assert_eq!(reopened.read(0, 9).unwrap().len(), rows, "{mishap:?}");
            assert_eq!(reopened.appended(), vec![["event"]; rows], "{mishap:?}");
            assert!(!reopened.power().is_off());
        }
    }

    #[test]
    fn a_request_is_cut_once_on_the_side_that_was_named() {
        let power = Power::default();
        power.cut_at(Cut::Request(2, Side::After));
        assert_eq!([power.request(), power.request(), power.request()], [None, Some(Side::After), None]);
        assert_eq!(power.requests(), 3);
    }
}
