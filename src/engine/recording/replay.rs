//! A decision, recomputed: the planner is asked again, on what it knew then, and must say the same.
//!
//! The journal names the rows that show what a decision was made on; each is a situation and what was planned on it. The
//! planner is pure, so of the same situation the same release makes the same plan, bit by bit. Where it does not, either
//! the planner changed since, or something was at work that a situation does not show: both are worth knowing.

use super::{
    Reach, reach,
    read::{ReadError, Recorded, segment_of, walk},
};
use crate::{
    engine::scene::{Outcome, Unread},
    io::store::{Store, StoreError},
    ledger::{JournalError, Record, history},
    model::{FleetName, Timestamp},
    plan::{self, Order, Plan, Situation},
};
use serde::Serialize;
use std::{collections::BTreeSet, ops::ControlFlow};

/// Why a decision cannot be recomputed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The journal could not be read.
    #[error("the journal cannot be read")]
    Journal(#[from] JournalError),
    /// The recording could not be read.
    #[error(transparent)]
    Recording(#[from] ReadError),
    /// Nobody decided that.
    #[error("`{0}` is the id of no decision, or it was pruned; see `spotscale history --kind decision`")]
    Unknown(String),
    /// The journal names no row of a recording.
    #[error(
        "what {0} saw was not recorded: it was decided before there was a recording, or while none could be written"
    )]
    NotRecorded(String),
    /// The rows it names are not there, or are another recording's.
    #[error("what {id} saw is not kept any more: {}", reaching(*reach))]
    Gone {
        /// The decision.
        id: String,
        /// How far the recording reaches.
        reach: Option<Reach>,
    },
    /// What is kept does not say a situation.
    #[error("row {sequence} of the recording does not read; another release may have written it")]
    Unreadable {
        /// Which row.
        sequence: u64,
        /// What does not read.
        source: Unread,
    },
}

impl From<StoreError> for ReplayError {
    fn from(error: StoreError) -> Self {
        Self::Recording(ReadError::Store(error))
    }
}

fn reaching(reach: Option<Reach>) -> String {
    reach.map_or_else(
        || "the recording is empty".to_owned(),
        |reach| format!("the recording reaches back to {:.0}", reach.since),
    )
}

/// One round, recomputed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Round {
    /// The row of the recording.
    pub row: u64,
    /// The moment that the planner knew.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// What was seen, one line.
    pub seen: String,
    /// What is planned on it, one line each.
    pub actions: Vec<String>,
    /// Where the plan differs from what was recorded; `None`: it is the same.
    pub difference: Option<String>,
}

fn as_text<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

/// Recomputes all rounds of the tick in which something was decided.
///
/// # Errors
/// When there is no such decision, or what it saw is not kept.
pub fn replay(journal: &dyn Store, recording: &dyn Store, id: &str) -> Result<Vec<Round>, ReplayError> {
    let entry = history::decision(journal, id)?.ok_or_else(|| ReplayError::Unknown(id.to_owned()))?;
    let Record::Decision { rounds: named, fleet, .. } = entry.record else {
        return Err(ReplayError::Unknown(id.to_owned()));
    };
    let (Some(first), Some(last)) = (named.iter().min().copied(), named.iter().max().copied()) else {
        return Err(ReplayError::NotRecorded(id.to_owned()));
    };
    let named: BTreeSet<u64> = named.into_iter().collect();
    let mut found = Vec::new();
    if let Some(segment) = segment_of(recording, first)? {
        walk(recording, segment, &mut |row| {
            // A recording that was begun anew gives the same numbers again, to the rows of other ticks.
            if named.contains(&row.sequence) && is_of(id, row) {
                found.push(row.clone());
            }
            if row.sequence >= last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    if found.len() != named.len() {
        return Err(ReplayError::Gone { id: id.to_owned(), reach: reach(recording)? });
    }
    found.iter().map(|row| recompute(row, fleet.as_ref())).collect()
}

/// Whether a row is of the tick in which something was decided: a decision is called after its tick and its fleet.
fn is_of(id: &str, row: &Recorded) -> bool {
    id.strip_prefix(&row.tick).is_some_and(|rest| rest.starts_with('-'))
}

/// Asks the planner again. What is told is told of one fleet, or of all; what is compared is the whole plan.
///
/// # Errors
/// When the row says no situation.
pub fn recompute(row: &Recorded, fleet: Option<&FleetName>) -> Result<Round, ReplayError> {
    let unreadable = |source| ReplayError::Unreadable { sequence: row.sequence, source };
    let situation = row.scene.situation().map_err(unreadable)?;
    let planned = plan::plan(&situation);
    let now = Outcome::of(&planned);
    let difference = match &row.outcome {
        Some(then) => then.difference(&now),
        None => Some("nothing was decided on it".to_owned()),
    };
    let actions = actions(&planned, fleet);
    Ok(Round { row: row.sequence, at: situation.now, seen: seen(&situation, fleet), actions, difference })
}

fn actions(plan: &Plan, fleet: Option<&FleetName>) -> Vec<String> {
    let of_fleet = plan.actions.iter().filter(|action| fleet.is_none_or(|fleet| action.fleet() == fleet));
    let told = of_fleet.map(|action| {
        let step = crate::engine::decision::Step::planned(action);
        let what = [Some(step.kind), step.instance, step.hostnode].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let price = step.rate.or(step.bid).map(|price| format!(" at {price} USD/h")).unwrap_or_default();
        format!("{what}{price}: {}", step.reason)
    });
    told.collect()
}

fn seen(situation: &Situation, fleet: Option<&FleetName>) -> String {
    let markets = situation.markets.iter().map(|(name, market)| {
        let bench = market.bench.map(|bench| format!(", {bench}")).unwrap_or_default();
        format!("{name}: {} machines, {} quotes{bench}", market.hostnodes.len(), market.quotes.len())
    });
    let fleets = situation.fleets.iter().filter(|(name, _)| fleet.is_none_or(|fleet| *name == fleet));
    let fleets = fleets.map(|(name, state)| {
        let order = match state.order {
            Order::Evacuate => "evacuating".to_owned(),
            Order::Pause(gpus) => format!("paused, target {gpus}"),
            Order::Hold(gpus) => format!("target {gpus}"),
        };
        let (counted, rate) = (state.fleet.counted_gpus(), state.fleet.committed());
        format!("{name}: {counted} GPUs at {rate} USD/h, {order}")
    });
    markets.chain(fleets).collect::<Vec<_>>().join("; ")
}
