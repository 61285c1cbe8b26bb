//! The mind: a pure function from all that may be known to all that is to be done.
//!
//! [`plan`] is synchronous and deterministic. What it returns leaves the executor nothing to choose, and beside each
//! plan comes a typed [`Report`] of why. `run`, `plan`, `offers` and `explain` all call this one function.
//!
//! ```text
//! recover (late, overbilled, half-gone) -> shrink (evacuate, limits and floor, target)
//!   -> for each fleet, in descending priority: recover (outbid) -> grow (start, ask, deploy, revert) -> report
//! ```
//!
//! A plan is what *would* be done if acting were allowed; [`permitted`] says which of it may be, and
//! [`verify`](verify::verify) reads the whole with fresh eyes. Nothing that a plan lets go gives room to what it starts: a VM counts until
//! a later list proves it gone.

mod draft;
mod eligible;
mod grow;
mod headroom;
mod price;
mod recover;
mod report;
mod score;
mod search;
mod shrink;
pub mod situation;
mod solve;
mod stock;
#[cfg(test)]
mod testkit;
pub mod verify;

use draft::Draft;
pub use headroom::Runway;
pub use situation::{AccountState, Bench, FleetState, HostMemory, MarketState, Order, Situation};

use crate::{
    ledger::Standing,
    model::{
        AccountName, FleetName, HostnodeId, HourlyRate, InstanceId, MarketplaceName, Offer, PriceType, Shape, VmName,
        offer::{Bid, Location, Rates},
        reason::{Blocked, Rejected, Teardown},
    },
};
use std::{collections::BTreeMap, time::Duration};

/// A deploy or rebid goes out this much before its quote is a minute old: the request itself takes time.
const QUOTE_HASTE_NUM_DEN: (u32, u32) = (5, 6);

/// How old an accepted quote may be when a plan rests a bid on it.
pub(crate) const fn quote_fresh_for(life: Duration) -> Duration {
    life.saturating_mul(QUOTE_HASTE_NUM_DEN.0).checked_div(QUOTE_HASTE_NUM_DEN.1).expect("a constant above 0")
}

/// Make one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deploy {
    /// The key under which it is looked for; never used before.
    pub name: VmName,
    /// Whose it is.
    pub fleet: FleetName,
    /// Where.
    pub marketplace: MarketplaceName,
    /// Who pays.
    pub account: AccountName,
    /// On which machine.
    pub hostnode: HostnodeId,
    /// In which place.
    pub location: Location,
    /// What, in the marketplace's grain.
    pub shape: Shape,
    /// How it is paid for.
    pub price_type: PriceType,
    /// For spot: the bid that was asked for less than a minute ago.
    pub bid: Option<HourlyRate>,
    /// All that it costs per hour.
    pub agreed: Rates,
    /// What the same VM costs on demand.
    pub on_demand: Rates,
    /// Operating system.
    pub image: String,
    /// Outside port to inside port.
    pub ports: BTreeMap<u16, u16>,
    /// The member that it replaces.
    pub replaces: Option<VmName>,
    /// Why this one, one line.
    pub why: String,
}

/// A VM of ours that something is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub name: VmName,
    /// Whose it is.
    pub fleet: FleetName,
    /// Where it was rented.
    pub marketplace: MarketplaceName,
    /// The vendor's id.
    pub id: InstanceId,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask about a bid for a new VM: a read. Its answer is part of the next observation.
    Ask {
        /// Who wants to know.
        fleet: FleetName,
        /// Whom to ask.
        marketplace: MarketplaceName,
        /// What.
        bid: Bid,
    },
    /// Make a VM.
    Deploy(Box<Deploy>),
    /// Raise an outbid VM's bid (validate/existing: a write).
    Rebid {
        /// Which.
        subject: Subject,
        /// The bid in force.
        from: HourlyRate,
        /// The bid to be.
        to: HourlyRate,
        /// Why, one line.
        why: String,
    },
    /// Start a stopped VM, or an outbid one whose rebid was accepted.
    Start {
        /// Which.
        subject: Subject,
        /// Why, one line.
        why: String,
    },
    /// Stop a VM, giving its GPU back.
    Stop {
        /// Which.
        subject: Subject,
        /// Why.
        reason: Teardown,
        /// Why, one line.
        why: String,
    },
    /// Delete a VM.
    Delete {
        /// Which.
        subject: Subject,
        /// Why.
        reason: Teardown,
        /// Why, one line.
        why: String,
    },
}

/// The parts of an offer's score, in the order in which they are compared; less is better.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score {
    /// The model's rank, with `preference = "strict"`; 0 with `value`.
    pub preference: u32,
    /// Micro-dollars per delivered GPU-hour (rate / GPUs / uptime, and / worth with `value`).
    pub micros_per_delivered_gpu_hour: u64,
    /// GPUs of ours on that machine already: less crowded first.
    pub crowding: u32,
    /// Ties, and equal worlds giving equal plans.
    pub tie: (HostnodeId, MarketplaceName),
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Could be rented, was not needed.
    Eligible,
    /// Its least accepted bid is being searched.
    Asking,
    /// In the plan.
    Chosen,
    /// Turned down in this plan, and why.
    Rejected(Rejected),
}

/// An offer, its price for us and its place in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What is offered.
    pub offer: Offer,
    /// How it would be paid for.
    pub price_type: PriceType,
    /// For spot: the bid, as far as it is known.
    pub bid: Option<HourlyRate>,
    /// All that it would cost per hour, as far as it is known.
    pub rate: HourlyRate,
    /// Its place in the order.
    pub score: Score,
    /// What became of it.
    pub verdict: Verdict,
}

/// GPUs of a target that are not met, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// How many.
    pub gpus: u32,
    /// Why.
    pub reason: Blocked,
    /// The figures, one line.
    pub detail: String,
}

/// Why one fleet's part of a plan is what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetReport {
    /// The effective target.
    pub target_gpus: u32,
    /// GPUs running now.
    pub running_gpus: u32,
    /// GPUs counted once the plan is done.
    pub planned_gpus: u32,
    /// Committed now.
    pub rate_now: HourlyRate,
    /// Committed once the plan is done.
    pub rate_planned: HourlyRate,
    /// The limit in force.
    pub rate_limit: HourlyRate,
    /// No plan with the same count of each model costs less, at the rates this plan knew.
    pub lower_bound: HourlyRate,
    /// (what was compared − its bound) / its bound, in millionths.
    pub gap_ppm: u64,
    /// In order, best first.
    pub candidates: Vec<Candidate>,
    /// Hostnodes turned down, by reason.
    pub rejected: BTreeMap<Rejected, u32>,
    /// Which hostnode was turned down for which reason.
    pub rejected_hostnodes: BTreeMap<(MarketplaceName, HostnodeId), Rejected>,
    /// Billed beyond the vendor's rounding: what was agreed and what is billed.
    pub overbilled: BTreeMap<VmName, (HourlyRate, HourlyRate)>,
    /// Offers whose least accepted bid is not known yet.
    pub unasked_offers: u32,
    /// Why the target is not met.
    pub blocked: Vec<Unmet>,
}

/// What to do, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub actions: Vec<Action>,
    /// By fleet.
    pub report: Report,
}

/// Why.
pub type Report = BTreeMap<FleetName, FleetReport>;

impl Action {
    /// Whose it is.
    pub fn fleet(&self) -> &FleetName {
        match self {
            Self::Ask { fleet, .. } => fleet,
            Self::Deploy(deploy) => &deploy.fleet,
            Self::Rebid { subject, .. }
            | Self::Start { subject, .. }
            | Self::Stop { subject, .. }
            | Self::Delete { subject, .. } => &subject.fleet,
        }
    }

    /// Where it is sent.
    pub fn marketplace(&self) -> &MarketplaceName {
        match self {
            Self::Ask { marketplace, .. } => marketplace,
            Self::Deploy(deploy) => &deploy.marketplace,
            Self::Rebid { subject, .. }
            | Self::Start { subject, .. }
            | Self::Stop { subject, .. }
            | Self::Delete { subject, .. } => &subject.marketplace,
        }
    }

    /// The VM of ours that it is done to, where there is one already.
    pub const fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Ask { .. } | Self::Deploy(_) => None,
            Self::Rebid { subject, .. }
            | Self::Start { subject, .. }
            | Self::Stop { subject, .. }
            | Self::Delete { subject, .. } => Some(subject),
        }
    }
}

/// What to do now, and why. Pure: equal situations give equal plans.
pub fn plan(situation: &Situation) -> Plan {
    let mut draft = draft::Draft::new(situation);
    recover::safety(&mut draft);
    shrink::evacuate(&mut draft);
    shrink::limits(&mut draft);
    shrink::target(&mut draft);
    recover::leftovers(&mut draft);
    for fleet in situation.order() {
        recover::outbid(&mut draft, fleet);
        grow::grow(&mut draft, fleet);
    }
    report::finish(draft)
}

/// Whether an action may be carried out at all, its merits aside: in observe mode nothing but reads, and in a paused
/// fleet nothing but settling, safety and shedding.
pub fn permitted(situation: &Situation, action: &Action) -> bool {
    let Some(state) = situation.fleets.get(action.fleet()) else { return false };
    if let Action::Ask { .. } = action {
        return true;
    }
    if situation.is_observing(state) {
        return false;
    }
    match state.order {
        Order::Hold(_) => true,
        Order::Evacuate | Order::Pause(_) => match action {
            Action::Ask { .. } => true,
            Action::Deploy(_) | Action::Rebid { .. } | Action::Start { .. } | Action::Stop { .. } => false,
            Action::Delete { subject, reason, .. } => {
                state.order == Order::Evacuate
                    || matches!(force(*reason), Force::Safety | Force::Money | Force::Operator)
                    || state.fleet.members.get(&subject.name).is_some_and(|member| member.standing == Standing::Leaving)
            }
        },
    }
}

/// How strong a reason to let a VM go is. Source: CONTRACT, "Order of force".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Force {
    /// Overbilled or late: also where a list is not complete, also where it is protected.
    Safety,
    /// The operator says so.
    Operator,
    /// Over a limit, or the account would be empty.
    Money,
    /// Over the target, or of no use.
    Order,
}

pub(crate) const fn force(reason: Teardown) -> Force {
    match reason {
        Teardown::Overbilled | Teardown::Late => Force::Safety,
        Teardown::Evacuate | Teardown::Operator => Force::Operator,
        Teardown::RateLimit | Teardown::GlobalRateLimit | Teardown::BalanceFloor => Force::Money,
        Teardown::Target | Teardown::Outbid | Teardown::Lost | Teardown::Replaced | Teardown::StoppedTooLong => {
            Force::Order
        }
    }
}
