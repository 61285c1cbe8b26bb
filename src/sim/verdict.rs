//! What a rehearsal came to: whether every promise was kept, and how much was lived through to say so.

use super::{check::Breach, stage::Stage, vm::Origin};
use crate::{
    io::store::Store,
    model::{Timestamp, Usd},
    sim::Ended,
};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;

/// So many of the newest lines are told of a run that ended badly.
const STORY_LINES: usize = 60;
/// Rows of the journal read at once.
const PAGE_ROWS: usize = 1_000;

/// The newest of what was done, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Story(VecDeque<String>);

impl Story {
    pub fn tell(&mut self, tick: u64, at: Timestamp, line: &str) {
        if self.0.len() >= STORY_LINES {
            self.0.pop_front();
        }
        self.0.push_back(format!("tick {tick}, {at:.0}: {line}"));
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every promise was kept.
    Kept,
    /// Whoever watched had seen enough.
    BrokenOff,
    /// Some were not.
    Broken {
        /// In which tick.
        tick: u64,
        /// True time then.
        at: Timestamp,
        /// Which, and how.
        breaches: Vec<Breach>,
        /// The newest of what was done before, and of the journal, a line each.
        story: Vec<String>,
    },
}

/// How much was lived through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lived {
    /// Ticks, those that the power cut short included.
    pub ticks: u64,
    /// Virtual time, in seconds.
    pub seconds: u64,
    /// The same, summed over fleets.
    pub fleet_seconds: u64,
    /// GPU time delivered, in seconds.
    pub gpu_seconds: u64,
    /// VMs that deploys made.
    pub made: u64,
    /// Of those, lost with their machine or with an empty account.
    pub lost: u64,
    /// How often one of them was outbid.
    pub outbid: u64,
    /// What they cost.
    pub cost: Usd,
    /// Processes that were killed between two ticks.
    pub kills: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// What the operator did.
    pub moves: u64,
}

impl Lived {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let Self { ticks, seconds, fleet_seconds, gpu_seconds, made, lost, outbid, cost, kills, power_cuts, moves } =
            other;
        Self {
            ticks: self.ticks.saturating_add(ticks),
            seconds: self.seconds.saturating_add(seconds),
            fleet_seconds: self.fleet_seconds.saturating_add(fleet_seconds),
            gpu_seconds: self.gpu_seconds.saturating_add(gpu_seconds),
            made: self.made.saturating_add(made),
            lost: self.lost.saturating_add(lost),
            outbid: self.outbid.saturating_add(outbid),
            cost: self.cost.plus(cost),
            kills: self.kills.saturating_add(kills),
            power_cuts: self.power_cuts.saturating_add(power_cuts),
            moves: self.moves.saturating_add(moves),
        }
    }

    /// With what the worlds say of the VMs there were.
    pub(super) fn with_worlds(mut self, stage: &Stage) -> Self {
        for sighted in stage.sighted() {
            let truth = &sighted.truth;
            let api = || truth.vms.iter().filter(|vm| vm.origin == Origin::Api);
            let is_lost = |ended| matches!(ended, Some((_, Ended::HostDied | Ended::Bankrupt)));
            self.made += api().count() as u64;
            self.lost += api().filter(|vm| is_lost(vm.ended)).count() as u64;
            self.outbid += api().map(|vm| u64::from(vm.outbids)).sum::<u64>();
            self.gpu_seconds += truth.gpu_seconds;
            self.cost = self.cost.plus(truth.spent_on_api_vms);
        }
        self
    }
}

/// What a rehearsal came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Of which seed.
    pub seed: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// How much was lived through.
    pub lived: Lived,
    /// SHA-256 of the journal's rows, in hexadecimal: the same seed and build make the same.
    pub digest: String,
}

impl Verdict {
    /// Whether a promise was broken.
    pub const fn is_broken(&self) -> bool {
        match self.outcome {
            Outcome::Broken { .. } => true,
            Outcome::Kept | Outcome::BrokenOff => false,
        }
    }
}

impl Story {
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

/// The journal's rows in their canonical encoding, as one digest.
///
/// # Errors
/// When it cannot be read.
pub(super) fn digest(store: &dyn Store) -> Result<String, String> {
    let mut hash = Sha256::new();
    let mut from = 0;
    // Bounded by the rows there are.
    loop {
        let page = store.read(from, PAGE_ROWS).map_err(|error| error.to_string())?;
        for row in &page {
            let (fleet, subject) = (row.fleet.as_deref().unwrap_or(""), row.subject.as_deref().unwrap_or(""));
            let line = [&row.sequence.to_string(), &row.at_ms.to_string(), &row.kind, fleet, subject, &row.body];
            hash.update(line.join("\u{1f}"));
            hash.update("\n");
        }
        match page.last() {
            Some(last) if page.len() == PAGE_ROWS => from = last.sequence.saturating_add(1),
            Some(_) | None => break,
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
