//! The recording: what the daemon saw when it decided, kept beside the journal.
//!
//! The journal says what was meant and done, and lives for ever; the recording says what was *known*, is large, and may be
//! lost without harm: nothing is folded from it, and no decision waits for it or fails with it. It serves two ends. Any
//! decision can be recomputed from it bit by bit ([`replay`]), and the market of the last weeks can be played again under
//! another policy.
//!
//! ```text
//! segment · round · round · look · round · …  · segment · round · …
//!            whole   delta   delta  delta                  whole
//! ```
//!
//! A tick that decided something leaves a `round` for each of its rounds: the [`Scene`] and the planner's [`Outcome`]. A
//! tick that decided nothing leaves one `look` where a list of the market or a fleet changed, and otherwise nothing. Each
//! row keeps only what changed since the row before it (`delta`); a segment begins with a whole scene, whenever the
//! daemon starts, after a thousand rows, and after a row that could not be written. Housekeeping lets whole
//! segments go, so that a delta never outlives what it is a delta of: those that began more than [`KEPT`] ago, and the
//! oldest while all together have more than [`BYTES_MAX`].
//!
//! **Invariant:** rows of a segment have sequence numbers without a gap. Where there is one, something was lost, and what
//! follows in that segment is not read.

mod delta;
pub mod read;
pub mod replay;

#[cfg(test)]
mod tests;

use super::scene::{Outcome, Scene};
use crate::{
    io::store::{NewRow, Query, Store, StoreError},
    model::{
        Timestamp,
        time::{before, show},
    },
    plan::{FleetState, MarketState, Plan, Situation},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// A segment has no more rows; whoever looks for one row reads at most so many before it.
const SEGMENT_ROWS_MAX: u64 = 1_000;
/// Segments that began longer ago are let go: as long as the history of decisions is kept.
pub const KEPT: Duration = Duration::from_secs(90 * 86_400);
/// The oldest segments are let go while the bodies of all rows have more bytes together. Housekeeping looks once a day.
pub const BYTES_MAX: u64 = 256 * 1_024 * 1_024;
/// More segments than this are not looked at: with a thousand rows each they are far more than is kept.
const SEGMENTS_MAX: usize = 100_000;
/// Rows read at once.
const PAGE_ROWS: usize = 200;

/// The beginning of a segment.
const SEGMENT: &str = "segment";
/// One round of a tick that decided something.
const ROUND: &str = "round";
/// A tick that decided nothing.
const LOOK: &str = "look";
/// All that a recording is made of.
const KINDS: [&str; 3] = [SEGMENT, ROUND, LOOK];

/// Where the recording of a state is kept: `spotscale.recording.db` beside `spotscale.db`.
pub fn beside(state: &Path) -> PathBuf {
    state.with_extension("recording.db")
}

/// How a segment begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Segment {
    /// Whose planner decided: another release may decide otherwise.
    release: String,
    /// Bytes of all bodies before it, since the recording began; what was let go is counted too.
    bytes_before: u64,
}

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    seen: Seen,
    /// What was planned on it; a look has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
}

/// A scene, by the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Seen {
    /// All of it.
    Whole(Value),
    /// What changed.
    Since(Value),
    /// Nothing changed.
    Same,
}

/// Writes the recording.
pub struct Recorder {
    store: Arc<dyn Store>,
    /// Bytes of all bodies since the recording began.
    bytes: u64,
    /// What the newest row of the present segment shows, and its tree; `None`: the next row begins a segment.
    newest: Option<(Situation, Value)>,
    /// Rows of the present segment.
    rows: u64,
    /// The rounds of the tick that is under way.
    rounds: Vec<(Situation, Plan)>,
    /// The newest row could not be written.
    failing: bool,
}

impl Recorder {
    /// Goes on with what a store holds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let bytes = bytes(&*store)?;
        Ok(Self { store, bytes, newest: None, rows: 0, rounds: Vec::new(), failing: false })
    }

    /// One round: what was known, and what the planner made of it, before the checker reads it.
    pub(super) fn note(&mut self, situation: &Situation, plan: &Plan) {
        self.rounds.push((situation.clone(), plan.clone()));
    }

    /// The tick is over. Where it decided something, all of its rounds are kept, and named by the numbers that this returns;
    /// else one look, if there is anything new in it.
    ///
    /// # Errors
    /// One line for people, the first time that it cannot be written: nothing is named, and the daemon goes on.
    pub(super) fn close(&mut self, at: Timestamp, tick: &str, decided: bool) -> Result<Vec<u64>, String> {
        let mut rounds = std::mem::take(&mut self.rounds);
        if !decided {
            let newest = self.newest.as_ref().map(|(situation, _)| situation);
            let is_news =
                |(situation, _): &(Situation, Plan)| newest.is_none_or(|newest| shows_more(newest, situation));
            rounds = rounds.pop().filter(is_news).into_iter().collect();
        }
        if rounds.is_empty() {
            return Ok(Vec::new());
        }
        match self.append(at, tick, decided, rounds) {
            Ok(rows) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("what is seen is recorded again");
                }
                Ok(if decided { rows } else { Vec::new() })
            }
            Err(error) => {
                // It may be there after all: what comes next must not be a change of what may or may not be.
                self.newest = None;
                if std::mem::replace(&mut self.failing, true) {
                    return Ok(Vec::new());
                }
                tracing::warn!(%error, "what is seen is not recorded");
                Err(format!("what is seen is not recorded, and its decisions cannot be recomputed: {error}"))
            }
        }
    }

    fn append(
        &mut self,
        at: Timestamp,
        tick: &str,
        decided: bool,
        rounds: Vec<(Situation, Plan)>,
    ) -> Result<Vec<u64>, String> {
        let at_ms = at.as_millisecond();
        let row = |kind, subject, body| NewRow { at_ms, kind, fleet: None, subject, body };
        let text = |error: serde_json::Error| error.to_string();
        let mut rows = Vec::new();
        if self.rows >= SEGMENT_ROWS_MAX {
            self.newest = None;
        }
        if self.newest.is_none() {
            let segment = Segment { release: env!("CARGO_PKG_VERSION").to_owned(), bytes_before: self.bytes };
            rows.push(row(SEGMENT, None, serde_json::to_string(&segment).map_err(text)?));
            self.rows = 0;
        }
        let heads = rows.len();
        for (situation, plan) in rounds {
            let tree = Scene::of(&situation).into_tree();
            let seen = match &self.newest {
                None => Seen::Whole(tree.clone()),
                Some((_, before)) => delta::between(before, &tree).map_or(Seen::Same, Seen::Since),
            };
            let outcome = decided.then(|| Outcome::of(&plan));
            let body = serde_json::to_string(&Body { seen, outcome }).map_err(text)?;
            rows.push(row(if decided { ROUND } else { LOOK }, Some(tick.to_owned()), body));
            self.newest = Some((situation, tree));
        }
        let last = self.store.append(&rows).map_err(|error| error.to_string())?;
        self.rows += rows.len() as u64;
        self.bytes += rows.iter().map(|row| row.body.len() as u64).sum::<u64>();
        let first = last.saturating_sub((rows.len() - heads) as u64).saturating_add(1);
        Ok((first..=last).collect())
    }

    /// Lets go what is too old or too much, whole segments at a time; says how many rows.
    ///
    /// # Errors
    /// Then nothing was let go.
    pub(super) fn prune(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        let old = before(now, KEPT).as_millisecond();
        // Newest first: what is kept is a run from the newest on, and the newest itself always.
        let segments = segments(&*self.store, SEGMENTS_MAX)?;
        let kept =
            |(at_ms, begins_at): &(i64, u64)| *at_ms >= old && self.bytes.saturating_sub(*begins_at) <= BYTES_MAX;
        let oldest = segments.iter().take_while(|segment| kept(segment)).last().or(segments.first());
        oldest.map_or(Ok(0), |(at_ms, _)| self.store.prune(&KINDS, *at_ms))
    }
}

/// Whether a situation shows more of the market or of the fleets than another: a moment that went by, and money that was
/// spent, are no news.
fn shows_more(before: &Situation, now: &Situation) -> bool {
    let markets = before.markets.keys().ne(now.markets.keys())
        || before.markets.values().zip(now.markets.values()).any(|(before, now)| lists_more(before, now));
    let fleets = before.fleets.keys().ne(now.fleets.keys())
        || before.fleets.values().zip(now.fleets.values()).any(|(before, now)| stands_otherwise(before, now));
    markets || fleets
}

fn lists_more(before: &MarketState, now: &MarketState) -> bool {
    let MarketState { account, bench, hostnodes, hostnodes_at: _, list_complete, quotes, unanswered: _, ability } = now;
    before.account != *account
        || before.bench != *bench
        || before.list_complete != *list_complete
        || before.ability != *ability
        || before.hostnodes != *hostnodes
        || quotes.iter().any(|quote| !before.quotes.contains(quote))
}

fn stands_otherwise(before: &FleetState, now: &FleetState) -> bool {
    let FleetState { policy, order, fleet, missing: _, scaled_down_at: _, held: _, policy_broken: _ } = now;
    before.policy != *policy || before.order != *order || before.fleet != *fleet
}

/// When each segment began and how many bytes were before it, newest first.
fn segments(store: &dyn Store, rows_max: usize) -> Result<Vec<(i64, u64)>, StoreError> {
    let query = Query { kinds: vec![SEGMENT.to_owned()], ..Query::default() };
    let read = |row: crate::io::store::Row| {
        let segment: Option<Segment> = serde_json::from_str(&row.body).ok();
        (row.at_ms, segment.map_or(0, |segment| segment.bytes_before))
    };
    Ok(store.search(&query, rows_max)?.into_iter().map(read).collect())
}

/// Bytes of all bodies since a recording began: what the newest segment says, and what is in it.
fn bytes(store: &dyn Store) -> Result<u64, StoreError> {
    let query = Query { kinds: vec![SEGMENT.to_owned()], ..Query::default() };
    let Some(newest) = store.search(&query, 1)?.pop() else { return Ok(0) };
    let begins_at = serde_json::from_str(&newest.body).map_or(0, |segment: Segment| segment.bytes_before);
    let (mut bytes, mut from) = (begins_at, newest.sequence);
    loop {
        let page = store.read(from, PAGE_ROWS)?;
        bytes += page.iter().map(|row| row.body.len() as u64).sum::<u64>();
        match page.last() {
            Some(last) if page.len() == PAGE_ROWS => from = last.sequence + 1,
            Some(_) | None => return Ok(bytes),
        }
    }
}

/// How far a recording reaches, and how much it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// When its oldest row was written.
    pub since: Timestamp,
    /// Bytes of the bodies of its rows.
    pub bytes: u64,
}

/// How far a recording reaches; `None` while there is nothing in it.
///
/// # Errors
/// When it cannot be read.
pub fn reach(store: &dyn Store) -> Result<Option<Reach>, StoreError> {
    let oldest = segments(store, SEGMENTS_MAX)?.pop();
    let Some((at_ms, begins_at)) = oldest else { return Ok(None) };
    let since = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Some(Reach { since, bytes: bytes(store)?.saturating_sub(begins_at) }))
}

impl std::fmt::Display for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { since, bytes } = self;
        write!(f, "recorded since {since:.0}, {} KiB of at most {} MiB", bytes / 1_024, BYTES_MAX / 1_024 / 1_024)?;
        write!(f, " and {}", show(KEPT))
    }
}
