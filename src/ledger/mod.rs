//! The memory: what we meant, what came of it, and what it counts as.
//!
//! ```text
//!   records ──append──▶ journal ──fold──▶ Ledger ─┐
//!                                                 ├─▶ settle ──▶ records (adopted, gone, abandoned, late, …)
//!   inventory ──observe──▶ Evidence ──────────────┤
//!      └──────────────────────────────────────────┴─▶ join ──▶ Fleet: each member's Standing
//! ```
//!
//! The journal is the record, the [`Ledger`] its fold in memory, [`Evidence`] what this process has seen of absences, and a
//! fleet is all of them joined with an inventory. Nothing here decides anything: a member whose machine has vanished is
//! `Lost` here, and `plan` says what follows.
//!
//! **Invariant:** the fold takes every sequence of records to a coherent ledger, and a record that it has folded already
//! changes nothing: replaying any prefix is valid, replaying twice equals once.

pub mod evidence;
pub mod fleet;
pub mod history;
pub mod holding;
pub mod hosts;
pub mod join;
pub mod journal;
pub mod levers;
pub mod missing;
mod moved;
pub mod record;
pub mod settle;
mod sights;
pub mod spend;
pub mod text;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fold_tests;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod sight_tests;
#[cfg(test)]
pub(crate) mod stage;
#[cfg(test)]
mod twin_tests;

pub use evidence::{Evidence, Patience};
pub use fleet::{Fleet, Member, Standing};
pub use holding::{Closed, Holding, LateVm, Past, Phase};
pub use hosts::HostMemory;
pub use join::{Joined, has_anything, join};
pub use journal::{Journal, JournalError};
pub use levers::{Levers, Scope};
pub use missing::Missing;
pub use record::{Intent, Record};
pub use settle::{interruption, settle};
pub use spend::{Period, Spend, Spent, accrue};

use crate::{
    model::{
        AccountName, FleetName, Guard, HourlyRate, InstanceId, MarketplaceName, Timestamp, Usd, VmName,
        name::{Namer, sequence_in},
        offer::BidAnswer,
        reason::Teardown,
        time::{self, elapsed},
    },
    policy::terms::Mode,
    settings::AccountLimits,
};
use holding::{Delete, Protection, Refused};
use hosts::{HostKey, Hosts};
use levers::TargetLever;
use moved::Moved;
use record::{Answer, Ending};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Overbilled teardowns within [`OVERBILLED_WINDOW`] that bench a marketplace. Source: CONTRACT, "Billed more than agreed".
const OVERBILLED_MAX: usize = 3;
/// See [`OVERBILLED_MAX`].
const OVERBILLED_WINDOW: Duration = Duration::from_secs(3_600);
/// The first cooldown of a hostnode on which a VM never came to run: it was billed for longer than a refused deploy takes.
const NEVER_RAN_COOLDOWN: Duration = Duration::from_secs(3_600);

/// A policy's text that is or was last in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyText {
    /// The file.
    pub file: String,
    /// Of the text and what it refers to.
    pub digest: String,
    /// The text itself.
    pub text: String,
    /// The files it refers to, by the path written in it.
    pub attachments: BTreeMap<String, String>,
    /// What it was checked against.
    pub context: String,
    /// Since when.
    pub since: Timestamp,
    /// Since when the file is gone, if it is.
    pub gone_since: Option<Timestamp>,
}

/// The limits over all fleets that are or were last in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsText {
    /// Per hour.
    pub max_hourly_rate: Option<HourlyRate>,
    /// Per account.
    pub balance_floor: Usd,
    /// Over every policy's own.
    pub mode: Mode,
    /// What binds each account, where something was said.
    pub accounts: BTreeMap<AccountName, AccountLimits>,
}

/// An edit of the limits over all fleets that waits for `apply`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLimits {
    /// What it is known by.
    pub digest: String,
    /// The fleets for which it was to be applied when it was held.
    pub fleets: BTreeSet<FleetName>,
}

/// The fold of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    sequence: u64,
    newest_at: Option<Timestamp>,
    prefix: String,
    epoch: String,
    names_given: u64,
    fleets: BTreeSet<FleetName>,
    holdings: BTreeMap<VmName, Holding>,
    past: BTreeMap<VmName, Past>,
    /// The past by its end.
    closed: BTreeSet<(Timestamp, VmName)>,
    late: BTreeMap<(VmName, InstanceId), LateVm>,
    levers: Levers,
    policies: BTreeMap<FleetName, PolicyText>,
    held_edits: BTreeMap<FleetName, String>,
    limits: Option<LimitsText>,
    held_limits: Option<HeldLimits>,
    hosts: Hosts,
    spend: Spend,
    overbilled: BTreeMap<MarketplaceName, Vec<Timestamp>>,
    benched: BTreeSet<MarketplaceName>,
    scaled_down_at: BTreeMap<FleetName, Timestamp>,
    missing: BTreeMap<FleetName, Missing>,
}

impl Ledger {
    /// Of a journal without records.
    pub(crate) fn empty() -> Self {
        Self {
            sequence: 0,
            newest_at: None,
            prefix: String::new(),
            epoch: String::new(),
            names_given: 0,
            fleets: BTreeSet::new(),
            holdings: BTreeMap::new(),
            past: BTreeMap::new(),
            closed: BTreeSet::new(),
            late: BTreeMap::new(),
            levers: Levers::default(),
            policies: BTreeMap::new(),
            held_edits: BTreeMap::new(),
            limits: None,
            held_limits: None,
            hosts: Hosts::default(),
            spend: Spend::default(),
            overbilled: BTreeMap::new(),
            benched: BTreeSet::new(),
            scaled_down_at: BTreeMap::new(),
            missing: BTreeMap::new(),
        }
    }

    /// The sequence number of the newest record that is folded in.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When the newest record that is folded in was made, by the clock of then.
    pub const fn newest_at(&self) -> Option<Timestamp> {
        self.newest_at
    }

    /// What makes the next VM names. Without a journal's `Created` the epoch is empty.
    pub fn namer(&self) -> Namer {
        let given = if Guard::FreshName.is_kept() { self.names_given } else { 0 };
        Namer { prefix: self.prefix.clone(), epoch: self.epoch.clone(), next_sequence: given + 1 }
    }

    /// The prefix of VM names.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Every fleet that ever had a policy or a VM.
    pub const fn fleets(&self) -> &BTreeSet<FleetName> {
        &self.fleets
    }

    /// VMs that may exist, by name.
    pub const fn holdings(&self) -> &BTreeMap<VmName, Holding> {
        &self.holdings
    }

    /// A VM that was ours.
    pub fn past(&self, name: &VmName) -> Option<&Past> {
        self.past.get(name)
    }

    /// VMs that ended after a moment, oldest first.
    pub fn closed_since(&self, moment: Timestamp) -> impl Iterator<Item = (&VmName, &Past)> {
        let from = self.closed.iter().rev().take_while(move |(at, _)| *at > moment).count();
        let skipped = self.closed.len() - from;
        self.closed.iter().skip(skipped).filter_map(|(_, name)| self.past.get_key_value(name))
    }

    /// VMs that turned up where they should not, by name and id.
    pub const fn late(&self) -> &BTreeMap<(VmName, InstanceId), LateVm> {
        &self.late
    }

    /// The fleet of a VM by the journal, past ones included.
    pub fn fleet_of(&self, name: &VmName) -> Option<&FleetName> {
        let held = self.holdings.get(name).or_else(|| self.past.get(name).map(|past| &past.holding));
        held.map(|holding| &holding.intent.fleet)
    }

    /// Where the operator's levers stand.
    pub const fn levers(&self) -> &Levers {
        &self.levers
    }

    /// The policies last in force, those whose file is gone included.
    pub const fn policies(&self) -> &BTreeMap<FleetName, PolicyText> {
        &self.policies
    }

    /// The digest of the newest text of a fleet that was held, unless it was taken back or a text came into force since.
    pub fn held_edit(&self, fleet: &FleetName) -> Option<&str> {
        self.held_edits.get(fleet).map(String::as_str)
    }

    /// The limits last in force.
    pub const fn limits(&self) -> Option<&LimitsText> {
        self.limits.as_ref()
    }

    /// The newest edit of them that was held, unless limits came into force since.
    pub const fn held_limits(&self) -> Option<&HeldLimits> {
        self.held_limits.as_ref()
    }

    /// What all fleets cost so far.
    pub const fn spend(&self) -> &Spend {
        &self.spend
    }

    /// Nothing is rented there until `resume --marketplace`: the operator paused it, or three overbilled teardowns within an
    /// hour did.
    pub fn is_benched(&self, marketplace: &MarketplaceName) -> bool {
        self.benched.contains(marketplace) || self.levers.is_marketplace_paused(marketplace)
    }

    /// Three overbilled teardowns within an hour benched it: that alerts.
    pub fn is_benched_for_overbilling(&self, marketplace: &MarketplaceName) -> bool {
        self.benched.contains(marketplace)
    }

    /// A fleet's newest scale-down by its target.
    pub fn scaled_down_at(&self, fleet: &FleetName) -> Option<Timestamp> {
        self.scaled_down_at.get(fleet).copied()
    }

    /// Which GPUs have been missing from a fleet's target since when, as recorded.
    pub fn missing(&self, fleet: &FleetName) -> Missing {
        self.missing.get(fleet).cloned().unwrap_or_default()
    }

    /// What we learned of each hostnode.
    pub fn hosts(&self, now: Timestamp) -> BTreeMap<HostKey, HostMemory> {
        let mut running = BTreeMap::<HostKey, Duration>::new();
        for holding in self.holdings.values().filter(|holding| holding.standing == Standing::Running) {
            let up = running.entry(host_of(holding)).or_default();
            *up = up.saturating_add(elapsed(holding.since, now));
        }
        self.hosts.remembered(&running, now)
    }

    /// Folds one record in. One that is folded already changes nothing.
    pub(crate) fn fold(&mut self, sequence: u64, at: Timestamp, record: Record) {
        if sequence <= self.sequence {
            return;
        }
        self.sequence = sequence;
        self.newest_at = Some(at);
        match record {
            Record::Created { prefix, epoch } => {
                self.prefix = prefix;
                if self.epoch.is_empty() {
                    self.epoch = epoch;
                }
            }

            Record::DeployIntended(intent) => self.intend(*intent, at),
            Record::Deployed { name, id, quoted, address, ports } => self.deployed(&name, id, at, |holding| {
                holding.quoted = quoted;
                holding.address = address;
                if !ports.is_empty() {
                    holding.ports = ports;
                }
            }),
            Record::DeployRefused { name, refusal: _, detail: _ } => {
                self.close_if(&name, Closed::Refused, at, |holding| !holding.is_held());
            }
            Record::DeployInDoubt { name, detail: _ } => self.change(&name, |holding| {
                if holding.phase == Phase::Intended {
                    holding.phase = Phase::InDoubt;
                }
            }),
            Record::Adopted { name, id } => self.adopt(&name, id, at),
            Record::Abandoned { name } => {
                self.close_if(&name, Closed::Abandoned, at, |holding| holding.phase != Phase::Leaving);
            }
            Record::Late { name, fleet, marketplace, account, id, gpus, rate } => {
                let late = LateVm { fleet, marketplace, account, gpus, rate, at, delete: None, delete_refused: None };
                self.turn_up(name, id, late);
            }

            Record::DeleteIntended { name, id, reason, why: _ } => self.delete_intended(&name, &id, reason, at),
            Record::DeleteSettled { name, id, answer, detail: _ } => self.delete_settled(name, id, answer, at),
            Record::DeleteInDoubt { .. } => {}
            Record::Gone { name, id, how } => self.gone(name, id, how, at),

            Record::RebidIntended { name, from, to, why: _ } => {
                self.change(&name, |holding| holding.rebid_intended(from, to, at));
            }
            Record::RebidSettled { name, answer, detail: _ } => self.change(&name, |holding| match answer {
                BidAnswer::Accepted => holding.rebid_accepted(at),
                BidAnswer::Refused => holding.rebid_refused(at),
            }),
            Record::RebidNotMade { name, detail: _ } => self.change(&name, Holding::rebid_not_made),
            Record::StartIntended { name, why: _ } => self.change(&name, |holding| {
                holding.unanswered_write_at = Some(at);
                holding.start_intended_at = Some(at);
                holding.starting_since = Some(at);
                holding.stopped_at = None;
            }),
            Record::StartNotMade { name, detail: _ } => self.change(&name, Holding::start_not_made),
            Record::StopIntended { name, reason, why: _ } => {
                self.note_scale_down(&name, reason, at);
                self.change(&name, |holding| {
                    holding.unanswered_write_at = Some(at);
                    holding.starting_since = None;
                    holding.stopped_at = Some(at);
                });
            }
            Record::StartSettled { name, answer, detail: _ } => self.change(&name, |holding| {
                holding.unanswered_write_at = None;
                if answer == Answer::Refused {
                    holding.starting_since = None;
                }
            }),
            Record::StopSettled { name, answer, detail: _ } => self.change(&name, |holding| {
                holding.unanswered_write_at = None;
                match answer {
                    Answer::Done => holding.stop_refused = None,
                    Answer::Refused => holding.stop_refused(),
                }
            }),
            Record::RebidInDoubt { .. } | Record::StartInDoubt { .. } | Record::StopInDoubt { .. } => {}

            Record::Standing { name, from: _, to, cause: _ } => self.stand(&name, to, at),

            Record::TargetSet { fleet, gpus, until } => self.levers.set_target(fleet, TargetLever { gpus, until }),
            Record::TargetCleared { fleet } => self.levers.clear_target(&fleet),
            Record::Paused { scope } => self.levers.pause(scope),
            Record::Resumed { scope } => {
                if let Scope::Marketplace(marketplace) = &scope {
                    self.benched.remove(marketplace);
                    self.overbilled.remove(marketplace);
                }
                self.levers.resume(&scope);
            }
            Record::Evacuating { fleet } => self.levers.evacuate(fleet),
            Record::Applied { fleet, digest } => self.levers.apply(fleet, digest),
            Record::Protected { name, until } => self.change(&name, |holding| {
                holding.protection = Some(until.map_or(Protection::Lasting, Protection::Until));
            }),

            Record::StrayAdopted { id, vm } => self.adopt_stray(*vm, id, at),
            // A stray is not ours: while it is listed, it is there.
            Record::StrayDeleteIntended { .. }
            | Record::StrayDeleteSettled { .. }
            | Record::StrayDeleteInDoubt { .. } => {}

            Record::PolicyInForce { fleet, file, digest, text, attachments, context } => {
                self.fleets.insert(fleet.clone());
                self.held_edits.remove(&fleet);
                let policy = PolicyText { file, digest, text, attachments, context, since: at, gone_since: None };
                self.policies.insert(fleet, policy);
            }
            Record::PolicyGone { fleet } => {
                if let Some(policy) = self.policies.get_mut(&fleet) {
                    policy.gone_since = policy.gone_since.or(Some(at));
                }
            }
            Record::LimitsInForce { max_hourly_rate, balance_floor, mode, accounts } => {
                self.limits = Some(LimitsText { max_hourly_rate, balance_floor, mode, accounts });
                self.held_limits = None;
                self.levers.forget_applied();
            }

            Record::HostFailed { account, hostnode, refusal: _, cooldown_ms } => {
                self.hosts.failed((account, hostnode), Duration::from_millis(cooldown_ms), at);
            }
            Record::EditHeld { fleet, digest: Some(digest) } => drop(self.held_edits.insert(fleet, digest)),
            Record::EditHeld { fleet, digest: None } => drop(self.held_edits.remove(&fleet)),
            Record::LimitsHeld { digest, fleets } => self.held_limits = Some(HeldLimits { digest, fleets }),
            Record::ClockSet { forwards_ms } => self.move_with_clock(Duration::from_millis(forwards_ms), at),
            Record::Missing { fleet, gpus, on_demand } => {
                self.missing.entry(fleet).or_default().note(gpus, on_demand, at);
            }
            Record::Accrued { until, fleets, accounts } => self.spend.fold(until, fleets, accounts),
            Record::Decision { .. } | Record::Event { .. } => {}
        }
    }

    /// What is not over moves with the clock.
    fn move_with_clock(&mut self, forwards: Duration, now: Timestamp) {
        if !Guard::MomentsMove.is_kept() {
            return;
        }
        let moved = Moved::new(forwards, now);
        self.holdings.values_mut().for_each(|holding| moved.shift_holding(holding));
        self.past.values_mut().for_each(|past| moved.shift_past(past));
        self.closed = self.past.iter().map(|(name, past)| (past.at, name.clone())).collect();
        self.late.values_mut().for_each(|late| moved.shift_late(late));
        self.hosts.move_with_clock(moved);
        self.spend.move_with_clock(moved);
        self.missing.values_mut().for_each(|missing| missing.move_with_clock(moved));
        let gone = self.policies.values_mut().filter_map(|policy| policy.gone_since.as_mut());
        let benched = self.overbilled.values_mut().flatten();
        let scaled = self.scaled_down_at.values_mut();
        gone.chain(benched).chain(scaled).for_each(|moment| moved.shift(moment));
    }

    fn knows(&self, name: &VmName) -> bool {
        self.holdings.contains_key(name) || self.past.contains_key(name)
    }

    fn intend(&mut self, intent: Intent, at: Timestamp) {
        self.note_name(&intent.name);
        if self.knows(&intent.name) {
            return;
        }
        self.fleets.insert(intent.fleet.clone());
        self.holdings.insert(intent.name.clone(), Holding::intended(intent, at));
    }

    fn adopt(&mut self, name: &VmName, id: InstanceId, at: Timestamp) {
        if let Some(holding) = self.holdings.get_mut(name).filter(|holding| holding.phase != Phase::Leaving) {
            self.late.remove(&(name.clone(), id.clone()));
            holding.hold(id, at);
            holding.was_listed = true;
        }
    }

    fn note_name(&mut self, name: &VmName) {
        self.names_given = self.names_given.max(sequence_in(&self.epoch, name).unwrap_or(0));
    }

    fn adopt_stray(&mut self, vm: Intent, id: InstanceId, at: Timestamp) {
        // It may be one that this journal gave and has forgotten, restored from a copy.
        self.note_name(&vm.name);
        if self.knows(&vm.name) {
            return;
        }
        self.fleets.insert(vm.fleet.clone());
        self.late.remove(&(vm.name.clone(), id.clone()));
        let mut holding = Holding::intended(vm, at);
        holding.hold(id, at);
        holding.was_listed = true;
        self.holdings.insert(holding.intent.name.clone(), holding);
    }

    fn change(&mut self, name: &VmName, change: impl FnOnce(&mut Holding)) {
        if let Some(holding) = self.holdings.get_mut(name) {
            change(holding);
        }
    }

    fn deployed(&mut self, name: &VmName, id: InstanceId, at: Timestamp, granted: impl FnOnce(&mut Holding)) {
        if let Some(holding) = self.holdings.get_mut(name) {
            if holding.id.is_none() {
                self.late.remove(&(name.clone(), id.clone()));
                holding.hold(id, at);
            } else if holding.id.as_ref() != Some(&id) {
                let late = late_of(holding, at);
                return self.turn_up(name.clone(), id, late);
            }
            return granted(holding);
        }
        // Its answer came after it had been given up.
        if let Some(late) = self.past.get(name).map(|past| late_of(&past.holding, at)) {
            self.turn_up(name.clone(), id, late);
        }
    }

    fn turn_up(&mut self, name: VmName, id: InstanceId, late: LateVm) {
        if self.holdings.get(&name).is_some_and(|holding| holding.id.as_ref() == Some(&id)) {
            return;
        }
        if let Some(past) = self.past.get_mut(&name) {
            past.turned_up = true;
        }
        self.late.entry((name, id)).or_insert(late);
    }

    fn note_scale_down(&mut self, name: &VmName, reason: Teardown, at: Timestamp) {
        if let (Teardown::Target, Some(fleet)) = (reason, self.fleet_of(name).cloned()) {
            self.scaled_down_at.insert(fleet, at);
        }
    }

    fn delete_intended(&mut self, name: &VmName, id: &InstanceId, reason: Teardown, at: Timestamp) {
        if let Some(late) = self.late.get_mut(&(name.clone(), id.clone())) {
            match &mut late.delete {
                Some(delete) => (delete.sent_at, delete.acked_at) = (at, None),
                none => *none = Some(Delete { reason, at, sent_at: at, acked_at: None, before: Standing::Lost }),
            }
            return;
        }
        let Some(holding) = self.holdings.get(name).filter(|holding| holding.id.as_ref() == Some(id)) else { return };
        let stands = holding.delete.is_none();
        // One that was refused before is the same teardown, tried again.
        let is_first = stands && holding.delete_refused.is_none_or(|refused| refused.reason != reason);
        let never_ran = reason == Teardown::Lost && holding.running_since.is_none();
        let (marketplace, host) = (holding.intent.marketplace.clone(), host_of(holding));
        if stands {
            self.end_span(name, at);
        }
        if is_first {
            self.note_scale_down(name, reason, at);
            if reason == Teardown::Overbilled {
                self.note_overbilled(marketplace, at);
            }
            if never_ran {
                self.hosts.failed(host, NEVER_RAN_COOLDOWN, at);
            }
        }
        self.change(name, |holding| holding.delete_intended(reason, at));
    }

    fn note_overbilled(&mut self, marketplace: MarketplaceName, at: Timestamp) {
        let times = self.overbilled.entry(marketplace.clone()).or_default();
        times.retain(|time| *time > time::before(at, OVERBILLED_WINDOW));
        times.push(at);
        if times.len() >= OVERBILLED_MAX {
            self.benched.insert(marketplace);
        }
    }

    fn delete_settled(&mut self, name: VmName, id: InstanceId, answer: Answer, at: Timestamp) {
        if let Some(holding) = self.holdings.get_mut(&name).filter(|holding| holding.id.as_ref() == Some(&id)) {
            match answer {
                Answer::Done => holding.delete_acked(at),
                Answer::Refused => holding.delete_refused(at),
            }
        } else if let Some(late) = self.late.get_mut(&(name, id)) {
            match (answer, late.delete.take()) {
                (Answer::Done, Some(delete)) => {
                    late.delete = Some(Delete { acked_at: Some(at), ..delete });
                    late.delete_refused = None;
                }
                (Answer::Refused, Some(delete)) => {
                    late.delete_refused = Some(Refused::after(late.delete_refused, delete.reason, delete.sent_at));
                }
                (Answer::Done | Answer::Refused, None) => {}
            }
        }
    }

    fn gone(&mut self, name: VmName, id: InstanceId, how: Ending, at: Timestamp) {
        let is_the_one = self.holdings.get(&name).is_some_and(|holding| holding.id.as_ref() == Some(&id));
        if is_the_one {
            self.close_if(&name, Closed::Gone(how), at, |_| true);
        } else {
            self.late.remove(&(name, id));
        }
    }

    /// Ends a holding, if it is such a one.
    fn close_if(&mut self, name: &VmName, closed: Closed, at: Timestamp, is_such: impl FnOnce(&Holding) -> bool) {
        if !self.holdings.get(name).is_some_and(is_such) {
            return;
        }
        self.end_span(name, at);
        if let Some((name, holding)) = self.holdings.remove_entry(name) {
            let vanished = match closed {
                Closed::Gone(Ending::NotFound | Ending::Unlisted) => holding.phase == Phase::Live,
                Closed::Gone(Ending::Deleted) | Closed::Refused | Closed::Abandoned => false,
            };
            if vanished {
                self.hosts.vanished(host_of(&holding));
            }
            self.closed.insert((at, name.clone()));
            self.past.insert(name, Past { holding, closed, at, turned_up: false });
        }
    }

    fn stand(&mut self, name: &VmName, to: Standing, at: Timestamp) {
        let is_live = self.holdings.get(name).is_some_and(|holding| holding.phase == Phase::Live);
        // What else a VM counts as follows from its phase, and is not seen.
        let is_seen = !matches!(to, Standing::Leaving | Standing::InDoubt);
        if is_live && is_seen {
            self.end_span(name, at);
            let first_runs = |holding: &&Holding| to == Standing::Running && holding.running_since.is_none();
            if let Some(holding) = self.holdings.get(name).filter(first_runs) {
                self.hosts.served(host_of(holding));
            }
            self.change(name, |holding| holding.stand(to, at));
        }
    }

    /// Counts how long a VM stood as it stands, for its hostnode's sake.
    fn end_span(&mut self, name: &VmName, at: Timestamp) {
        let Some(holding) = self.holdings.get(name) else { return };
        let lasted = elapsed(holding.since, at);
        match holding.standing {
            Standing::Running => self.hosts.was_up(host_of(holding), lasted),
            Standing::Lost => self.hosts.was_down(host_of(holding), lasted),
            Standing::Pending
            | Standing::Outbid
            | Standing::StoppedKept
            | Standing::StoppedReleased
            | Standing::Leaving
            | Standing::InDoubt => {}
        }
    }
}

fn host_of(holding: &Holding) -> HostKey {
    (holding.intent.account.clone(), holding.intent.hostnode.clone())
}

fn late_of(holding: &Holding, at: Timestamp) -> LateVm {
    LateVm {
        fleet: holding.intent.fleet.clone(),
        marketplace: holding.intent.marketplace.clone(),
        account: holding.intent.account.clone(),
        gpus: holding.intent.shape.gpus,
        rate: holding.rate_max(),
        at,
        delete: None,
        delete_refused: None,
    }
}
