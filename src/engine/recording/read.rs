//! Reading a recording: the scenes of its rows, one after the other.
//!
//! A row means something only together with those before it in its segment, so a reader walks: it holds one tree and
//! brings it up to date with each row. Where a row is missing the walk goes on with the next segment.

use super::{Body, LOOK, PAGE_ROWS, ROUND, SEGMENT, Seen, delta};
use crate::{
    engine::scene::{Outcome, Scene},
    io::store::{Query, Row, Store, StoreError},
    model::Timestamp,
};
use serde_json::Value;
use std::ops::ControlFlow;

/// Why a recording is not read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The store could not be read. Trying again may help.
    #[error("the recording cannot be read")]
    Store(#[from] StoreError),
    /// A row does not read. Trying again will not help; decisions in other segments are read all the same.
    #[error("the recording is damaged at row {sequence}: {detail}")]
    Damaged {
        /// Which.
        sequence: u64,
        /// What does not read.
        detail: String,
    },
}

/// One row, with the scene that it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its number.
    pub sequence: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The tick it is of.
    pub tick: String,
    /// What was known.
    pub scene: Scene,
    /// What was planned on it; `None` for a tick that decided nothing.
    pub outcome: Option<Outcome>,
}

/// The segment that a row is in, by the number of the segment's own row; `None` where that was let go.
pub(super) fn segment_of(store: &dyn Store, sequence: u64) -> Result<Option<u64>, StoreError> {
    let query = Query { kinds: vec![SEGMENT.to_owned()], before: Some(sequence), ..Query::default() };
    Ok(store.search(&query, 1)?.pop().map(|row| row.sequence))
}

/// Walks the rows from a number on, in order, until the visitor has seen enough. Rows whose segment did not begin since
/// then are passed over; begin at a segment to miss none.
///
/// # Errors
/// When the store cannot be read, or a row is damaged.
pub fn walk(
    store: &dyn Store,
    from: u64,
    visit: &mut dyn FnMut(&Recorded) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    // The newest row, while it and all before it in its segment were read.
    let mut newest: Option<Recorded> = None;
    let (mut next, mut expected) = (from, None);
    loop {
        let page = store.read(next, PAGE_ROWS)?;
        for row in &page {
            let is_whole = expected == Some(row.sequence);
            expected = None;
            if row.kind == SEGMENT {
                newest = None;
                expected = Some(row.sequence + 1);
            } else if is_whole && (row.kind == ROUND || row.kind == LOOK) {
                let recorded = read(newest.take(), row)?;
                if visit(&recorded).is_break() {
                    return Ok(());
                }
                newest = Some(recorded);
                expected = Some(row.sequence + 1);
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE_ROWS => next = last.sequence + 1,
            Some(_) | None => return Ok(()),
        }
    }
}

fn read(before: Option<Recorded>, row: &Row) -> Result<Recorded, ReadError> {
    let damaged = |detail: String| ReadError::Damaged { sequence: row.sequence, detail };
    let Body { seen, outcome } = serde_json::from_str(&row.body).map_err(|error| damaged(error.to_string()))?;
    let tree: Value = match (seen, before) {
        (Seen::Whole(tree), _) => tree,
        (Seen::Since(change), Some(before)) => {
            let mut tree = before.scene.into_tree();
            delta::apply(&mut tree, &change).map_err(damaged)?;
            tree
        }
        (Seen::Same, Some(before)) => before.scene.into_tree(),
        (Seen::Since(_) | Seen::Same, None) => {
            return Err(damaged("it is a change of a row that is not there".to_owned()));
        }
    };
    Ok(Recorded {
        sequence: row.sequence,
        at: Timestamp::from_millisecond(row.at_ms).unwrap_or(Timestamp::UNIX_EPOCH),
        tick: row.subject.clone().unwrap_or_default(),
        scene: Scene::kept(tree),
        outcome,
    })
}
