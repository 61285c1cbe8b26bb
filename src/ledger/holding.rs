//! One VM of ours, as the journal tells it.
//!
//! ```text
//!   intended ──answered──▶ live ──delete intended──▶ leaving ──proven gone──▶ past
//!      │  └──in doubt──seen─▲                           │
//!      │        └───never seen──▶ past (abandoned)      └──refused──▶ live again
//!      └──refused──▶ past
//! ```
//!
//! A holding knows what was asked and answered, not what is there: that is the inventory's, and [`join`](super::join()) puts
//! them side by side.

use super::{
    fleet::Standing,
    record::{Ending, Intent},
};
use crate::model::{Guard, HourlyRate, InstanceId, Timestamp, offer::Rates, reason::Teardown};
use std::collections::BTreeMap;

labels! {
    /// Where a holding is on its way.
    pub enum Phase {
        /// Its deploy is or was under way; the journal knows no answer.
        Intended = "intended",
        /// Its deploy's outcome is unknown.
        InDoubt = "in_doubt",
        /// It has an id.
        Live = "live",
        /// A delete was intended, and it is not proven gone.
        Leaving = "leaving",
    }
}

/// How a holding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Its deploy was refused.
    Refused,
    /// It was looked for and never seen.
    Abandoned,
    /// It was there and is gone.
    Gone(Ending),
}

/// A delete that was intended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Why.
    pub reason: Teardown,
    /// When it was first intended.
    pub at: Timestamp,
    /// When it was sent last.
    pub sent_at: Timestamp,
    /// When it was acknowledged.
    pub acked_at: Option<Timestamp>,
    /// What the VM counted as before.
    pub before: Standing,
}

/// Deletes that were refused: the next one waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why it was to go.
    pub reason: Teardown,
    /// When the newest try was intended.
    pub at: Timestamp,
    /// How many in a row were refused.
    pub times: u32,
}

impl Refused {
    /// One more.
    pub(super) fn after(earlier: Option<Self>, reason: Teardown, at: Timestamp) -> Self {
        Self { reason, at, times: earlier.map_or(0, |earlier| earlier.times).saturating_add(1) }
    }
}

/// A protection by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Until a moment.
    Until(Timestamp),
    /// For good.
    Lasting,
}

/// One VM of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// What was asked for.
    pub intent: Intent,
    /// When.
    pub intended_at: Timestamp,
    /// Where it is on its way.
    pub phase: Phase,
    /// The vendor's id, once known.
    pub id: Option<InstanceId>,
    /// When the id became known.
    pub held_since: Option<Timestamp>,
    /// It was in a list at least once, as far as the journal knows.
    pub was_listed: bool,
    /// What the deploy's answer said that it costs.
    pub quoted: Option<Rates>,
    /// What the deploy's answer said of where it can be reached.
    pub address: Option<String>,
    /// Outside port to inside port, as asked or granted.
    pub ports: BTreeMap<u16, u16>,
    /// The highest bid that may be in force.
    pub bid: Option<HourlyRate>,
    /// What is agreed: as deployed, or as last rebid.
    pub agreed: Rates,
    /// What it was last seen to count as.
    pub standing: Standing,
    /// Since when.
    pub since: Timestamp,
    /// When it first ran.
    pub running_since: Option<Timestamp>,
    /// The newest start, stop or rebid, while no readable answer to it is known: when it was intended.
    pub unanswered_write_at: Option<Timestamp>,
    /// The bids between which a rebid moves, while it is not settled.
    pub rebid: Option<(HourlyRate, HourlyRate)>,
    /// When its newest rebid was accepted, if it has not run since.
    pub rebid_accepted_at: Option<Timestamp>,
    /// When its newest start was intended.
    pub start_intended_at: Option<Timestamp>,
    /// The same, unless it was refused or stopped by us since: for a settle grace a list that shows it stopped may lag, or be
    /// older than it says.
    pub starting_since: Option<Timestamp>,
    /// When a rebid was refused, since it stands as it does.
    pub rebid_refused_at: Option<Timestamp>,
    /// When we stopped it, if we did.
    pub stopped_at: Option<Timestamp>,
    /// When the newest stop was intended and how many in a row were refused, since it stands as it does.
    pub stop_refused: Option<(Timestamp, u32)>,
    /// The delete, once intended.
    pub delete: Option<Delete>,
    /// That the newest deletes were refused, since it stands as it does.
    pub delete_refused: Option<Refused>,
    /// The operator wants it left alone.
    pub protection: Option<Protection>,
}

impl Holding {
    /// A deploy that is about to be sent.
    pub(super) fn intended(intent: Intent, at: Timestamp) -> Self {
        Self {
            intended_at: at,
            phase: Phase::Intended,
            id: None,
            held_since: None,
            was_listed: false,
            quoted: None,
            address: None,
            ports: intent.ports.clone(),
            bid: intent.bid,
            agreed: intent.agreed,
            standing: Standing::InDoubt,
            since: at,
            running_since: None,
            unanswered_write_at: None,
            rebid: None,
            rebid_accepted_at: None,
            start_intended_at: None,
            starting_since: None,
            rebid_refused_at: None,
            stopped_at: None,
            stop_refused: None,
            delete: None,
            delete_refused: None,
            protection: None,
            intent,
        }
    }

    /// Its id became known.
    pub(super) fn hold(&mut self, id: InstanceId, at: Timestamp) {
        self.id = Some(id);
        self.held_since = Some(at);
        if self.phase != Phase::Live {
            self.phase = Phase::Live;
            self.standing = Standing::Pending;
            self.since = at;
        }
    }

    /// Whether it has an id, and so must be in every complete list.
    pub const fn is_held(&self) -> bool {
        match self.phase {
            Phase::Live | Phase::Leaving => true,
            Phase::Intended | Phase::InDoubt => false,
        }
    }

    /// When its delete was acknowledged.
    pub fn delete_acked_at(&self) -> Option<Timestamp> {
        self.delete.as_ref().and_then(|delete| delete.acked_at)
    }

    /// The operator wants it left alone now.
    pub fn is_protected(&self, now: Timestamp) -> bool {
        match self.protection {
            Some(Protection::Until(until)) => now < until,
            Some(Protection::Lasting) => true,
            None => false,
        }
    }

    /// The most that it can cost per hour.
    pub fn rate_max(&self) -> HourlyRate {
        let full = self.quoted.map_or(self.agreed, |quoted| quoted.max(self.agreed));
        full.total().max(self.bid.unwrap_or_default().plus(full.storage))
    }

    /// What is billed for it in this standing, per hour, where it is quoted so. Nothing while it is in doubt: should it be
    /// found, it is counted from its beginning.
    pub fn billed(&self, standing: Standing, quoted: Option<Rates>) -> HourlyRate {
        let full = quoted.or(self.quoted).unwrap_or(self.agreed);
        match standing {
            Standing::Pending | Standing::Running | Standing::StoppedKept | Standing::Lost | Standing::Leaving => {
                full.total()
            }
            Standing::Outbid | Standing::StoppedReleased => full.storage,
            Standing::InDoubt => HourlyRate::ZERO,
        }
    }

    pub(super) fn delete_intended(&mut self, reason: Teardown, at: Timestamp) {
        match &mut self.delete {
            Some(delete) => {
                delete.sent_at = at;
                delete.acked_at = None;
            }
            None => {
                let before = self.standing;
                self.delete = Some(Delete { reason, at, sent_at: at, acked_at: None, before });
                self.phase = Phase::Leaving;
                self.standing = Standing::Leaving;
                self.since = at;
            }
        }
    }

    pub(super) fn delete_acked(&mut self, at: Timestamp) {
        self.delete_refused = None;
        if let Some(delete) = &mut self.delete {
            delete.acked_at = Some(at);
        }
    }

    /// A readable no: nothing was deleted, and the next plan decides again.
    pub(super) fn delete_refused(&mut self, at: Timestamp) {
        if let Some(delete) = self.delete.take() {
            self.delete_refused = Some(Refused::after(self.delete_refused, delete.reason, delete.sent_at));
            self.phase = Phase::Live;
            self.standing = delete.before;
            self.since = at;
        }
    }

    /// A readable no: it runs on.
    pub(super) fn stop_refused(&mut self) {
        if let Some(at) = self.stopped_at.take() {
            let times = self.stop_refused.map_or(0, |(_, times)| times).saturating_add(1);
            self.stop_refused = Some((at, times));
        }
    }

    pub(super) fn rebid_intended(&mut self, from: HourlyRate, to: HourlyRate, at: Timestamp) {
        self.rebid = Some((from, to));
        let higher = if Guard::HigherBid.is_kept() { from.max(to) } else { from };
        self.bid = Some(self.bid.unwrap_or_default().max(higher));
        self.unanswered_write_at = Some(at);
    }

    pub(super) fn rebid_accepted(&mut self, at: Timestamp) {
        self.unanswered_write_at = None;
        if let Some((_, to)) = self.rebid.take() {
            self.agreed.compute = to;
            self.rebid_accepted_at = Some(at);
        }
    }

    /// A readable no leaves the bid where it was.
    pub(super) fn rebid_refused(&mut self, at: Timestamp) {
        self.rebid_refused_at = Some(at);
        self.rebid_not_made();
    }

    /// It was not even considered: the bid is where it was.
    pub(super) fn rebid_not_made(&mut self) {
        self.unanswered_write_at = None;
        if let Some((from, _)) = self.rebid.take() {
            self.bid = Some(from.max(self.agreed.compute));
        }
    }

    /// As if it had never been tried.
    pub(super) fn start_not_made(&mut self) {
        self.unanswered_write_at = None;
        self.start_intended_at = None;
        self.starting_since = None;
    }

    /// It was seen to stand so.
    pub(super) fn stand(&mut self, standing: Standing, at: Timestamp) {
        self.was_listed |= standing != Standing::Lost;
        self.standing = standing;
        self.since = at;
        self.rebid_refused_at = None;
        (self.delete_refused, self.stop_refused) = (None, None);
        if standing == Standing::Running {
            self.running_since = self.running_since.or(Some(at));
            self.rebid_accepted_at = None;
            self.rebid = None;
            self.stopped_at = None;
        }
    }
}

/// A VM that was ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// What was known of it.
    pub holding: Holding,
    /// How it ended.
    pub closed: Closed,
    /// When.
    pub at: Timestamp,
    /// It turned up after all, at least once.
    pub turned_up: bool,
}

/// A VM that turned up under a name that was given up, or beside the one that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateVm {
    /// Whose name it has.
    pub fleet: crate::model::FleetName,
    /// Where it turned up.
    pub marketplace: crate::model::MarketplaceName,
    /// Who pays.
    pub account: crate::model::AccountName,
    /// How many GPUs it has.
    pub gpus: u32,
    /// The most that it can cost per hour.
    pub rate: HourlyRate,
    /// When it was reported.
    pub at: Timestamp,
    /// The delete, once intended.
    pub delete: Option<Delete>,
    /// That the newest deletes were refused.
    pub delete_refused: Option<Refused>,
}
