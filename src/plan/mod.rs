//! The mind: a pure function from all that may be known to all that is to be done.
//!
//! [`plan`] is synchronous and deterministic. What it returns leaves the executor nothing to choose, and beside each
//! plan comes a typed [`Report`] of why. `run`, `plan`, `offers` and `explain` all call this one function.

pub mod situation;

pub use situation::{AccountState, Bench, FleetState, HostMemory, MarketState, Order, Situation};

use crate::model::{
    AccountName, FleetName, HostnodeId, HourlyRate, InstanceId, MarketplaceName, Offer, PriceType, Shape, VmName,
    offer::{Bid, Location, Rates},
    reason::{Blocked, Rejected, Teardown},
};
use std::collections::BTreeMap;

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
/// STUB
pub fn plan(_: &Situation) -> Plan { Plan { actions: vec![], report: BTreeMap::new() } }
/// STUB
pub fn permitted(_: &Situation, _: &Action) -> bool { true }
/// STUB
pub mod verify {
    /// x
    pub struct Violation { /// x
 pub invariant: super::Rejected, /// x
 pub action: usize, /// x
 pub detail: String }
    /// x
    pub fn verify(_: &super::Situation, _: &super::Plan) -> Vec<Violation> { vec![] }
}
