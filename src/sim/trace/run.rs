//! Plays a market one step at a time, by fixed rules.
//!
//! ```text
//! begin   1 market     this step's prices and capacities hold
//!         2 outbid     spot VMs above whose bid the price rose are lost, then those that a pool has no room for
//! desk    3 policy     asks and acts, in any order and number
//! end     4 billing    every VM alive pays for the whole step
//!         5 delivery   VMs launched long enough ago deliver
//! ```
//!
//! A [`Run`] is a value without IO; whoever drives it calls [`Run::begin`], acts and calls [`Run::end`]. A [`Policy`] gets
//! a [`Desk`] instead.
//!
//! **Invariant:** nothing at a desk shows a capacity, a later step or how many steps there are.

use super::{grid::Market, load::Pool};
use crate::{model::HourlyRate, sim::wallet::Grains};
use std::{collections::BTreeMap, sync::Arc};

/// Nobody launches more VMs in one step. Keeps a policy that runs wild from filling the memory.
const LAUNCHES_PER_STEP_MAX: u32 = 10_000;

labels! {
    /// What a spot VM pays while it runs.
    pub enum Billing {
        /// Its own bid, as TensorDock's documentation of spot instances has it (documented).
        Bid = "bid",
        /// The price of its pool, whatever was bid, as on EC2 (documented).
        Market = "market",
    }
}

labels! {
    /// Why a VM is not launched.
    pub enum Refusal {
        /// There is no such pool.
        UnknownPool = "unknown_pool",
        /// The bid is less than the price.
        BelowPrice = "below_price",
        /// The bid is more than the pool's on-demand price.
        AboveCap = "above_cap",
        /// The pool holds as many VMs as it may.
        NoRoom = "no_room",
        /// More launches than anybody could mean.
        TooMany = "too_many",
    }
}

/// What may differ between runs over one market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What a spot VM pays.
    pub billing: Billing,
    /// A VM launched at step k delivers from step k + this on.
    pub delay_steps: u32,
}

impl Rules {
    /// The rules for a way of billing; a VM is ready after two steps.
    pub const fn of(billing: Billing) -> Self {
        Self { billing, delay_steps: 2 }
    }
}

/// A VM of a run. In the order of launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VmId(pub u64);

/// How a VM is rented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// Until the price rises above this bid per VM-hour, or the pool has no room for it.
    Spot(HourlyRate),
    /// Until it is killed.
    OnDemand,
}

/// A VM that is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vm {
    /// Which.
    pub id: VmId,
    /// The index of its pool.
    pub pool: usize,
    /// How it is rented.
    pub tenure: Tenure,
    /// Its GPUs.
    pub gpus: u32,
    /// The step in which it was launched.
    pub launched_k: usize,
}

/// Something done at a desk that changed who is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A spot VM was launched.
    Spot {
        /// Which.
        vm: VmId,
        /// The index of its pool.
        pool: usize,
        /// Per VM-hour.
        bid: HourlyRate,
    },
    /// An on-demand VM was launched.
    OnDemand {
        /// Which.
        vm: VmId,
    },
    /// A VM was ended by us.
    Kill {
        /// Which.
        vm: VmId,
    },
}

/// What a run has come to: sums over its ended steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Steps ended.
    pub steps: u64,
    /// Of these, steps in which anything could be delivered.
    pub scored: u64,
    /// Of these, steps with at least the target ready.
    pub at_target: u64,
    /// What was paid, exactly.
    pub cost: Grains,
    /// Of this, for VMs on demand.
    pub on_demand_cost: Grains,
    /// What was paid in proportion to GPUs beyond the target, in US dollars.
    pub over_cost_usd: f64,
    /// GPU-seconds delivered, up to the target.
    pub useful_gpu_s: u64,
    /// GPU-seconds short of the target.
    pub missing_gpu_s: u64,
    /// VMs lost.
    pub preemptions: u64,
    /// VMs launched.
    pub launches: u64,
    /// Launches refused.
    pub failed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Between,
    Open,
}

/// A market being played.
#[derive(Clone, Debug)]
pub struct Run {
    market: Arc<Market>,
    rules: Rules,
    phase: Phase,
    /// The step that is open or comes next.
    k: usize,
    vms: BTreeMap<VmId, Vm>,
    /// Spot VMs alive, by pool.
    held: Vec<u32>,
    outbid: Vec<VmId>,
    launchable: Vec<bool>,
    launches_now: u32,
    /// Done in the step that is open or ended last, in order.
    actions: Vec<Action>,
    next_id: u64,
    tally: Tally,
}

impl Run {
    /// Before its first step, with no VMs.
    pub fn new(market: Arc<Market>, rules: Rules) -> Self {
        let pools = market.pools().len();
        Self {
            market,
            rules,
            phase: Phase::Between,
            k: 0,
            vms: BTreeMap::new(),
            held: vec![0; pools],
            outbid: Vec::new(),
            launchable: vec![false; pools],
            launches_now: 0,
            actions: Vec::new(),
            next_id: 0,
            tally: Tally::default(),
        }
    }

    /// Opens the next step, and ends one that is open; `None` when there are no more.
    pub fn begin(&mut self) -> Option<Desk<'_>> {
        self.end();
        if self.k >= self.market.steps {
            return None;
        }
        self.phase = Phase::Open;
        self.launches_now = 0;
        self.actions.clear();
        self.outbid = self.lose();
        self.launchable = (0..self.held.len())
            .map(|pool| self.price(pool).is_some_and(|price| self.test(pool, price).is_ok()))
            .collect();
        Some(Desk(self))
    }

    /// The step that is open, to ask and act in; `None` between steps.
    pub fn desk(&mut self) -> Option<Desk<'_>> {
        match self.phase {
            Phase::Between => None,
            Phase::Open => Some(Desk(self)),
        }
    }

    /// Ends the step that is open: VMs pay and deliver. Between steps it does nothing.
    pub fn end(&mut self) {
        match self.phase {
            Phase::Between => return,
            Phase::Open => self.phase = Phase::Between,
        }
        let step_cost = self.bill();
        self.deliver(step_cost);
        self.k += 1;
    }

    /// What the ended steps have come to.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The market being played; it knows every later step, so this is not for policies.
    pub fn market(&self) -> &Arc<Market> {
        &self.market
    }

    /// The VMs alive, in the order of launch.
    pub fn vms(&self) -> impl Iterator<Item = &Vm> {
        self.vms.values()
    }

    /// The VMs lost in the step that is open or ended last, in the order of loss.
    pub fn outbid(&self) -> &[VmId] {
        &self.outbid
    }

    /// What was done in the step that is open or ended last, in order; refused launches are not there.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    fn price(&self, pool: usize) -> Option<HourlyRate> {
        self.market.prices(self.k).get(pool).copied()
    }

    /// Takes away whom the market does not let be, in the order of loss.
    fn lose(&mut self) -> Vec<VmId> {
        let mut spot: Vec<(usize, HourlyRate, VmId)> = self
            .vms
            .values()
            .filter_map(|vm| match vm.tenure {
                Tenure::Spot(bid) => Some((vm.pool, bid, vm.id)),
                Tenure::OnDemand => None,
            })
            .collect();
        let prices = self.market.prices(self.k);
        let is_outbid = |pool: usize, bid| prices.get(pool).is_none_or(|price| *price > bid);
        let mut lost: Vec<VmId> =
            spot.iter().filter(|(pool, bid, _)| is_outbid(*pool, *bid)).map(|(_, _, id)| *id).collect();
        spot.retain(|(pool, bid, _)| !is_outbid(*pool, *bid));
        // The last to lose first: the highest bid, among equals the first launched.
        spot.sort_by_key(|(pool, bid, id)| (*pool, std::cmp::Reverse(*bid), *id));
        let mut kept = vec![0; self.held.len()];
        let mut squeezed = Vec::new();
        for (pool, _, id) in spot {
            let Some(kept) = kept.get_mut(pool) else { continue };
            if self.market.capacity(pool, self.k).has_room(*kept) {
                *kept += 1;
            } else {
                squeezed.push((pool, id));
            }
        }
        self.held = kept;
        // Found highest bid first in each pool; they are lost lowest first.
        squeezed.reverse();
        squeezed.sort_by_key(|(pool, _)| *pool);
        lost.extend(squeezed.into_iter().map(|(_, id)| id));
        for id in &lost {
            self.vms.remove(id);
        }
        self.tally.preemptions += lost.len() as u64;
        lost
    }

    fn test(&self, pool: usize, bid: HourlyRate) -> Result<(), Refusal> {
        let (Some(price), Some(cap), Some(held)) =
            (self.price(pool), self.market.pools().get(pool).map(|pool| pool.on_demand), self.held.get(pool))
        else {
            return Err(Refusal::UnknownPool);
        };
        if bid < price {
            return Err(Refusal::BelowPrice);
        }
        if bid > cap {
            return Err(Refusal::AboveCap);
        }
        if !self.market.capacity(pool, self.k).has_room(*held) {
            return Err(Refusal::NoRoom);
        }
        Ok(())
    }

    fn launch(&mut self, pool: usize, tenure: Tenure) -> Result<VmId, Refusal> {
        let gpus = self.market.pools().get(pool).map(|pool| pool.gpu_count).ok_or(Refusal::UnknownPool)?;
        if self.launches_now >= LAUNCHES_PER_STEP_MAX {
            return Err(Refusal::TooMany);
        }
        match tenure {
            Tenure::Spot(bid) => {
                self.test(pool, bid)?;
                if let Some(held) = self.held.get_mut(pool) {
                    *held += 1;
                }
            }
            Tenure::OnDemand => {}
        }
        let id = VmId(self.next_id);
        self.next_id += 1;
        self.launches_now += 1;
        self.tally.launches += 1;
        self.vms.insert(id, Vm { id, pool, tenure, gpus, launched_k: self.k });
        self.actions.push(match tenure {
            Tenure::Spot(bid) => Action::Spot { vm: id, pool, bid },
            Tenure::OnDemand => Action::OnDemand { vm: id },
        });
        Ok(id)
    }

    fn bill(&mut self) -> Grains {
        let step_ms = u64::from(self.market.dt_s) * 1_000;
        let (mut spot, mut on_demand) = (Grains::default(), Grains::default());
        for vm in self.vms.values() {
            let pool = self.market.pools().get(vm.pool);
            match (vm.tenure, self.rules.billing) {
                (Tenure::Spot(bid), Billing::Bid) => spot = spot.plus(Grains::cost(bid, step_ms)),
                (Tenure::Spot(_), Billing::Market) => {
                    let price = self.price(vm.pool).unwrap_or(HourlyRate::ZERO);
                    spot = spot.plus(Grains::cost(price, step_ms));
                }
                (Tenure::OnDemand, Billing::Bid | Billing::Market) => {
                    let price = pool.map_or(HourlyRate::ZERO, |pool| pool.on_demand);
                    on_demand = on_demand.plus(Grains::cost(price, step_ms));
                }
            }
        }
        self.tally.cost = self.tally.cost.plus(spot).plus(on_demand);
        self.tally.on_demand_cost = self.tally.on_demand_cost.plus(on_demand);
        spot.plus(on_demand)
    }

    fn deliver(&mut self, step_cost: Grains) {
        let delay = self.rules.delay_steps as usize;
        let (k, target, dt_s) = (self.k, u64::from(self.market.target_gpus), u64::from(self.market.dt_s));
        let is_ready = |vm: &&Vm| vm.launched_k.saturating_add(delay) <= k;
        let ready: u64 = self.vms.values().filter(is_ready).map(|vm| u64::from(vm.gpus)).sum();
        let tally = &mut self.tally;
        tally.steps += 1;
        if ready > target {
            tally.over_cost_usd += step_cost.to_f64() * (ready - target) as f64 / ready as f64;
        }
        if k < delay {
            return;
        }
        let useful = ready.min(target);
        tally.scored += 1;
        tally.at_target += u64::from(ready >= target);
        tally.useful_gpu_s += useful * dt_s;
        tally.missing_gpu_s += (target - useful) * dt_s;
    }
}

/// What a policy may see and do in one step, and nothing else.
#[derive(Debug)]
pub struct Desk<'a>(&'a mut Run);

impl Desk<'_> {
    /// The pools, in the order of their indices.
    pub fn pools(&self) -> &[Pool] {
        self.0.market.pools()
    }

    /// GPUs to be held.
    pub fn target_gpus(&self) -> u32 {
        self.0.market.target_gpus
    }

    /// The rules of this run.
    pub const fn rules(&self) -> Rules {
        self.0.rules
    }

    /// The pool that on-demand VMs come from.
    pub fn on_demand_pool(&self) -> usize {
        self.0.market.on_demand_pool()
    }

    /// Which step this is.
    pub const fn k(&self) -> usize {
        self.0.k
    }

    /// How long a step is, in seconds.
    pub fn dt_s(&self) -> u32 {
        self.0.market.dt_s
    }

    /// When this step began, in seconds since 1970, UTC.
    pub fn at_s(&self) -> i64 {
        let passed = i64::try_from(self.0.k).unwrap_or(i64::MAX).saturating_mul(i64::from(self.0.market.dt_s));
        self.0.market.t0_s.saturating_add(passed)
    }

    /// This step's prices by pool, per VM-hour.
    pub fn prices(&self) -> &[HourlyRate] {
        self.0.market.prices(self.0.k)
    }

    /// By pool, whether one more VM would have been accepted at its price when the step began.
    pub fn launchable(&self) -> &[bool] {
        &self.0.launchable
    }

    /// The VMs lost in this step, in the order of loss.
    pub fn outbid(&self) -> &[VmId] {
        &self.0.outbid
    }

    /// The VMs alive, in the order of launch.
    pub fn vms(&self) -> impl Iterator<Item = &Vm> {
        self.0.vms()
    }

    /// Whether a bid per VM-hour would be accepted now. Free.
    ///
    /// # Errors
    /// Why it would not.
    pub fn validate(&self, pool: usize, bid: HourlyRate) -> Result<(), Refusal> {
        self.0.test(pool, bid)
    }

    /// Launches a spot VM at a bid per VM-hour.
    ///
    /// # Errors
    /// Why it is refused, which is free and counted.
    pub fn spot(&mut self, pool: usize, bid: HourlyRate) -> Result<VmId, Refusal> {
        self.0.launch(pool, Tenure::Spot(bid)).inspect_err(|_| self.0.tally.failed += 1)
    }

    /// Launches an on-demand VM.
    ///
    /// # Errors
    /// Only when a policy launches more in one step than anybody could mean, or there are no pools.
    pub fn on_demand(&mut self) -> Result<VmId, Refusal> {
        let pool = self.0.market.on_demand_pool();
        self.0.launch(pool, Tenure::OnDemand).inspect_err(|_| self.0.tally.failed += 1)
    }

    /// Ends a VM at once, so that this step costs nothing; `None` when it is not alive.
    pub fn kill(&mut self, id: VmId) -> Option<Vm> {
        let vm = self.0.vms.remove(&id)?;
        self.0.actions.push(Action::Kill { vm: id });
        match vm.tenure {
            Tenure::Spot(_) => {
                if let Some(held) = self.0.held.get_mut(vm.pool) {
                    *held = held.saturating_sub(1);
                }
            }
            Tenure::OnDemand => {}
        }
        Some(vm)
    }
}

/// Who decides what to rent.
pub trait Policy {
    /// Asks and acts in one step.
    fn step(&mut self, desk: &mut Desk<'_>);
}

/// Who watches a play, with no hand in it.
pub trait Witness {
    /// A step has ended: its actions and losses, the VMs that paid for it and the tally can be seen.
    fn ended(&mut self, k: usize, run: &Run);
}

/// Nobody watches.
impl Witness for () {
    fn ended(&mut self, _: usize, _: &Run) {}
}

/// Plays a whole market with a policy.
pub fn play(market: Arc<Market>, rules: Rules, policy: &mut dyn Policy) -> Tally {
    play_before(market, rules, policy, &mut ())
}

/// The same before somebody who watches.
pub fn play_before(market: Arc<Market>, rules: Rules, policy: &mut dyn Policy, witness: &mut dyn Witness) -> Tally {
    let mut run = Run::new(market, rules);
    let mut k = 0;
    while let Some(mut desk) = run.begin() {
        policy.step(&mut desk);
        run.end();
        witness.ended(k, &run);
        k += 1;
    }
    run.tally
}

#[cfg(test)]
mod tests;
