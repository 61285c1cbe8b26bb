//! All that a plan may know, `now` included.

use crate::{
    ledger::{HostMemory, Missing, Spent, fleet::Fleet},
    model::{
        AccountName, FleetName, GpuModel, Hostnode, HostnodeId, HourlyRate, MarketplaceName, Shared, Timestamp, Usd,
        inventory::{Balance, Dated},
        name::Namer,
        offer::Quote,
        wish::{Ability, Stop, Wish},
    },
    policy::{
        Policy, StartLimits,
        terms::{Mode, Quantity, ScaleDown},
    },
    settings::Limits,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What the operator's levers make of a fleet, first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Tear all down, then pause.
    Evacuate,
    /// Freeze what is there. The number is the target that `resume` would bring back.
    Pause(u32),
    /// Hold this many GPUs.
    Hold(u32),
}

/// One fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetState {
    /// The law in force.
    pub policy: Policy,
    /// The levers.
    pub order: Order,
    /// What is there.
    pub fleet: Fleet,
    /// Which GPUs have been missing from the target since when; outbid ones are missing.
    pub missing: Missing,
    /// The newest scale-down by target or price.
    pub scaled_down_at: Option<Timestamp>,
    /// While an edit waits for `apply`: the lower of both texts' limits, which binds what is started meanwhile.
    pub held: Option<StartLimits>,
    /// The file on disk does not load, or is gone.
    pub policy_broken: bool,
}

labels! {
    /// Why nothing may be rented on a marketplace now.
    pub enum Bench {
        /// Not seen, not completely, or too long ago.
        Stale = "stale_market",
        /// It does not take the credentials.
        Unauthorized = "unauthorized",
        /// It asked us to wait.
        Throttled = "throttled",
        /// The operator paused it until `resume --marketplace`.
        Paused = "paused",
        /// Three VMs went in an hour for being billed more than agreed: until `resume --marketplace`.
        Overbilled = "overbilled",
    }
}

/// One marketplace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketState {
    /// Who pays there.
    pub account: AccountName,
    /// Why nothing may be rented there now. Deletes go on.
    pub bench: Option<Bench>,
    /// The machines, as last listed.
    pub hostnodes: Shared<Vec<Hostnode>>,
    /// When they were listed.
    pub hostnodes_at: Option<Timestamp>,
    /// Whether the newest list of instances is complete: nothing is rented while it is not.
    pub list_complete: bool,
    /// Bids asked about lately, newest last.
    pub quotes: Vec<Quote>,
    /// Bids whose answer could not be had in this tick: not asked again before the next.
    pub unanswered: BTreeSet<HostnodeId>,
    /// Whether VMs can be had there as a policy wants them.
    pub ability: Ability,
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// The newest balance; `None` while nobody could read one.
    pub balance: Option<Dated<Balance>>,
    /// What VMs that are not ours cost per hour.
    pub foreign: HourlyRate,
    /// What ours cost today and this month, by our own accrual.
    pub spent: Spent,
}

/// All that a plan may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Situation {
    /// The moment.
    pub now: Timestamp,
    /// A quote older than this is stale: a minute of real time, whatever the clock.
    pub quote_age_max: Duration,
    /// Over all fleets.
    pub limits: Limits,
    /// An edit of them that waits for `apply`: where it is lower, it binds what is started.
    pub limits_held: Option<Limits>,
    /// Makes the names of what is deployed.
    pub namer: Namer,
    /// By name.
    pub fleets: BTreeMap<FleetName, FleetState>,
    /// Committed by fleets that are known only from the journal (their policy is nowhere): counts against all limits.
    pub orphaned: BTreeMap<AccountName, HourlyRate>,
    /// Of that, what VMs of ours cost that stay: strays and reserved money are no reason to let one of ours go.
    pub orphaned_staying: BTreeMap<AccountName, HourlyRate>,
    /// By name.
    pub markets: BTreeMap<MarketplaceName, MarketState>,
    /// By name.
    pub accounts: BTreeMap<AccountName, AccountState>,
    /// By account and id.
    pub hosts: BTreeMap<(AccountName, HostnodeId), HostMemory>,
}

/// What a policy wants of every VM.
pub fn wish(policy: &Policy) -> Wish<'_> {
    let instance = &policy.instance;
    Wish {
        image: &instance.image,
        ports: &instance.ports,
        ssh_key: instance.ssh_key.as_deref(),
        cloud_init: instance.cloud_init.as_deref(),
        stop: match instance.scale_down {
            ScaleDown::Stop => Some(Stop::ReleaseGpu),
            ScaleDown::Delete => None,
        },
    }
}

impl FleetState {
    /// What is started stays within this.
    pub fn rate_limit(&self) -> HourlyRate {
        let in_force = self.policy.max_hourly_rate;
        self.held.as_ref().map_or(in_force, |held| held.max_hourly_rate.min(in_force))
    }

    /// The runway that a start must leave.
    pub fn start_runway(&self) -> Duration {
        let in_force = self.policy.min_runway;
        self.held.as_ref().map_or(in_force, |held| held.min_runway.max(in_force))
    }

    /// The most per GPU-hour by the policy in force.
    pub fn max_price(&self, model: &GpuModel) -> Option<HourlyRate> {
        self.policy.model(model).and_then(|(_, terms)| terms.max_price)
    }

    /// The most per GPU-hour at which a model may be started.
    pub fn start_price(&self, model: &GpuModel) -> Option<HourlyRate> {
        let held = self.held.as_ref().and_then(|held| held.max_prices.get(model).copied());
        self.max_price(model).into_iter().chain(held).min()
    }

    /// GPUs up to which is started.
    pub fn start_gpus(&self) -> u32 {
        let target = self.target_gpus();
        self.held.as_ref().map_or(target, |held| held.target_gpus.min(target))
    }

    /// The effective target; a paused fleet's is the one that `resume` would bring back.
    pub const fn target_gpus(&self) -> u32 {
        match self.order {
            Order::Evacuate => 0,
            Order::Pause(gpus) | Order::Hold(gpus) => gpus,
        }
    }

    /// GPUs beyond the target that may stand while a replacement stands beside what it replaces.
    pub fn surge_gpus(&self) -> u32 {
        match self.policy.disruption.max_surge {
            Quantity::Count(vms) => vms.saturating_mul(self.policy.instance.gpus.max),
            Quantity::SharePpm(_) => self.policy.disruption.max_surge.of(self.target_gpus()),
        }
    }
}

impl Situation {
    /// Whether a fleet only watches.
    pub fn is_observing(&self, state: &FleetState) -> bool {
        match (self.limits.mode, state.policy.mode) {
            (Mode::Act, Mode::Act) => false,
            (Mode::Observe, Mode::Act | Mode::Observe) | (Mode::Act, Mode::Observe) => true,
        }
    }

    /// The floor in force under a fleet.
    pub fn floor(&self, state: &FleetState) -> Usd {
        state.policy.balance_floor.max(self.limits.balance_floor)
    }

    /// The floor under what a fleet may start.
    pub fn start_floor(&self, state: &FleetState) -> Usd {
        let by_policy = state.held.iter().map(|held| held.balance_floor);
        let by_limits = self.limits_held.iter().map(|held| held.balance_floor);
        by_policy.chain(by_limits).fold(self.floor(state), Ord::max)
    }

    /// The rate of all fleets beyond which nothing is started.
    pub fn start_rate_limit(&self) -> Option<HourlyRate> {
        let held = self.limits_held.as_ref().and_then(|limits| limits.max_hourly_rate);
        self.limits.max_hourly_rate.into_iter().chain(held).min()
    }

    /// A machine as listed.
    pub fn hostnode(&self, marketplace: &MarketplaceName, id: &HostnodeId) -> Option<&Hostnode> {
        self.markets.get(marketplace)?.hostnodes.iter().find(|hostnode| hostnode.id == *id)
    }

    /// Fleets in the order in which they are served: those that act before those that only watch (where not all do), so
    /// that watching takes nothing from anyone; then by descending priority; then by name.
    pub fn order(&self) -> Vec<&FleetName> {
        let mut names: Vec<_> = self.fleets.iter().collect();
        names.sort_by_key(|(name, state)| {
            let watching = self.limits.mode == Mode::Act && self.is_observing(state);
            (watching, std::cmp::Reverse(state.policy.priority), *name)
        });
        names.into_iter().map(|(name, _)| name).collect()
    }
}
