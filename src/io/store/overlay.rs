//! A store that reads another and keeps what is appended to itself: for looking at a state without changing it.

use super::{NewRow, Query, Row, Store, StoreError};
use std::sync::{Arc, Mutex, PoisonError};

/// Another store below, and rows of one's own that are forgotten with it.
pub struct Overlay {
    under: Arc<dyn Store>,
    last_under: u64,
    own: Mutex<Vec<Row>>,
}

/// Rows read at once while the end is looked for.
const PAGE_ROWS: usize = 1_000;

impl Overlay {
    /// Over a store that nobody else changes meanwhile, as far as this one sees.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn over(under: Arc<dyn Store>) -> Result<Self, StoreError> {
        let newest = under.search(&Query::default(), 1)?;
        let last_under = newest.first().map_or(0, |row| row.sequence);
        Ok(Self { under, last_under, own: Mutex::new(Vec::new()) })
    }

    fn own(&self) -> std::sync::MutexGuard<'_, Vec<Row>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Overlay {
    fn append(&self, rows: &[NewRow]) -> Result<u64, StoreError> {
        let mut own = self.own();
        for row in rows {
            let sequence = self.last_under + own.len() as u64 + 1;
            let NewRow { at_ms, kind, fleet, subject, body } = row.clone();
            own.push(Row { sequence, at_ms, kind: kind.to_owned(), fleet, subject, body });
        }
        Ok(self.last_under + own.len() as u64)
    }

    fn read(&self, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        let mut rows = self.under.read(from, rows_max.min(PAGE_ROWS))?;
        rows.retain(|row| row.sequence <= self.last_under);
        if rows.is_empty() {
            let own = self.own();
            rows.extend(own.iter().filter(|row| row.sequence >= from).take(rows_max).cloned());
        }
        Ok(rows)
    }

    fn search(&self, query: &Query, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        self.under.search(query, rows_max)
    }

    fn prune(&self, _: &[&str], _: i64) -> Result<u64, StoreError> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::store::MemoryStore;

    fn row(at_ms: i64) -> NewRow {
        NewRow { at_ms, kind: "event", fleet: None, subject: None, body: "{}".into() }
    }

    #[test]
    fn what_is_appended_is_read_back_and_never_reaches_the_store_below() {
        let under: Arc<dyn Store> = Arc::new(MemoryStore::default());
        under.append(&[row(1), row(2)]).unwrap();
        let overlay = Overlay::over(Arc::clone(&under)).unwrap();
        assert_eq!(overlay.append(&[row(3)]).unwrap(), 3);
        let seen: Vec<_> = [overlay.read(1, 10).unwrap(), overlay.read(3, 10).unwrap()].concat();
        assert_eq!(seen.iter().map(|row| (row.sequence, row.at_ms)).collect::<Vec<_>>(), [(1, 1), (2, 2), (3, 3)]);
        assert_eq!(under.read(1, 10).unwrap().len(), 2);
    }
}
