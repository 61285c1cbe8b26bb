//! What must be true after every tick, whatever was done to the engine: asked of the world, not of the engine's memory.
//!
//! Limits are judged as invariants are (ARCHITECTURE, "An independent checker"): nothing may *raise* what is at or over
//! its limit. An edit can put a fleet over its limit, and then it must only shrink.

use spotscale::{
    engine::Status,
    ledger::fleet::Fleet,
    model::{HourlyRate, InstanceId, VmName},
    plan::{FleetState, Order, Situation},
    sim::{Ended, Origin, Truth, Vm, VmState},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A tick's calls take no longer than this; so much burns between a deploy and our look at the balance.
const TICK_AT_MOST: Duration = Duration::from_secs(180);
const HOUR: Duration = Duration::from_secs(3_600);

/// What was seen at the last look, and what a test lets pass.
#[derive(Default)]
pub struct Watch {
    /// VMs of others that the operator had deleted or adopted.
    pub operators_own: BTreeSet<InstanceId>,
    /// VMs that stayed out of sight for longer than the late window: nothing is promised about those.
    pub out_of_sight: BTreeSet<InstanceId>,
    seen: BTreeSet<InstanceId>,
    rates: BTreeMap<String, HourlyRate>,
    rate: HourlyRate,
    gpus: BTreeMap<String, u32>,
}

/// All that a VM may cost: an outbid one may come back.
fn rate(vm: &Vm) -> HourlyRate {
    match vm.state {
        VmState::StoppedReleased => vm.agreed.storage,
        VmState::Starting | VmState::Running | VmState::StoppedKept | VmState::Outbid => vm.agreed.total(),
    }
}

fn gpus(vm: &Vm) -> u32 {
    if vm.state == VmState::StoppedReleased { 0 } else { vm.shape.gpus }
}

/// The fleet that a VM is named after: the longest name wins.
fn fleet_of<'a>(status: &'a Status, vm: &Vm) -> Option<&'a str> {
    let names = status.fleets.keys().map(|name| name.as_str());
    names.filter(|name| vm.name.as_str().starts_with(&format!("spotscale-{name}-"))).max_by_key(|name| name.len())
}

/// Names that were given up: their GPUs are the one overrun that can happen.
fn given_up(fleet: &Fleet) -> BTreeSet<&VmName> {
    fleet.reserved.iter().map(|reserved| &reserved.name).chain(fleet.late.iter().map(|late| &late.name)).collect()
}

impl Watch {
    /// Looks at the world after a tick.
    pub fn look(&mut self, story: &str, status: &Status, truth: &Truth) {
        assert_eq!(truth.doubled(), [], "a name was deployed twice: {story}");
        self.touch_nobody_else(story, truth);
        let Some(situation) = &status.situation else { return };
        let new: Vec<&Vm> = truth.vms.iter().filter(|vm| !self.seen.contains(&vm.id)).collect();
        let new: Vec<&Vm> = new.into_iter().filter(|vm| vm.origin == Origin::Api).collect();
        self.fleets(story, status, situation, truth, &new);
        let ours = truth.alive().filter(|vm| vm.origin == Origin::Api && fleet_of(status, vm).is_some());
        let all: HourlyRate = ours.map(rate).sum();
        if let Some(limit) = situation.limits.max_hourly_rate {
            assert!(all <= limit.max(self.rate), "all fleets cost {all}/h of {limit}/h: {story}");
        }
        self.rate = all;
        floor(story, status, situation, truth, &new);
        self.seen = truth.vms.iter().map(|vm| vm.id.clone()).collect();
    }

    fn touch_nobody_else(&self, story: &str, truth: &Truth) {
        for vm in truth.vms.iter().filter(|vm| vm.origin == Origin::Foreign && !self.operators_own.contains(&vm.id)) {
            let deleted = vm.ended.is_some_and(|(_, why)| why == Ended::Deleted);
            let stopped = matches!(vm.state, VmState::StoppedKept | VmState::StoppedReleased);
            assert!(!deleted && !stopped, "{} is somebody else's and was touched: {story}", vm.name);
        }
    }

    fn fleets(&mut self, story: &str, status: &Status, situation: &Situation, truth: &Truth, new: &[&Vm]) {
        for (name, state) in &situation.fleets {
            let of_fleet = |vm: &&Vm| fleet_of(status, vm) == Some(name.as_str());
            let is_ours = |vm: &&Vm| vm.origin == Origin::Api && !self.out_of_sight.contains(&vm.id);
            let ours: Vec<&Vm> = truth.alive().filter(of_fleet).filter(is_ours).collect();

            let cost: HourlyRate = ours.iter().map(|vm| rate(vm)).sum();
            let limit = state.policy.max_hourly_rate;
            let before = self.rates.insert(name.to_string(), cost).unwrap_or_default();
            assert!(cost <= limit.max(before), "{name} costs {cost}/h of {limit}/h: {story}");
            let committed = state.fleet.committed();
            assert!(cost <= committed, "{name} costs {cost}/h and counts only {committed}/h: {story}");

            let given_up = given_up(&state.fleet);
            let unknown: Vec<&VmName> = ours
                .iter()
                .map(|vm| &vm.name)
                .filter(|name| !state.fleet.members.contains_key(name) && !given_up.contains(name))
                .collect();
            assert_eq!(unknown, Vec::<&VmName>::new(), "VMs of {name} that its memory lost: {story}");

            let there: u32 = ours.iter().filter(|vm| !given_up.contains(&vm.name)).map(|vm| gpus(vm)).sum();
            let before = self.gpus.insert(name.to_string(), there).unwrap_or_default();
            let most = gpus_max(state);
            assert!(there <= most.max(before), "{name} has {there} GPUs, at most {most} are wanted: {story}");

            // What is rented fits beside strays that were seen, too.
            let made = new.iter().copied().filter(|vm| of_fleet(vm)).count();
            let counted = state.fleet.counted_gpus() + state.fleet.stray_gpus();
            assert!(made == 0 || committed <= limit, "{name} rented, at {committed}/h of {limit}/h: {story}");
            assert!(made == 0 || counted <= most, "{name} rented, {counted} GPUs of {most} are counted: {story}");
            let frozen = situation.is_observing(state) || !matches!(state.order, Order::Hold(_));
            assert!(made == 0 || !frozen, "{name} is {:?} and deployed: {story}", state.order);
        }
    }
}

/// GPUs that a fleet may have by our doing: surge only while something is being replaced.
fn gpus_max(state: &FleetState) -> u32 {
    let replacing = state.fleet.members.values().any(|member| member.replaces.is_some());
    state.target_gpus() + if replacing { state.surge_gpus() } else { 0 }
}

/// What was deployed leaves the account its floor, and the greater of the runway and an hour above it.
fn floor(story: &str, status: &Status, situation: &Situation, truth: &Truth, new: &[&Vm]) {
    let renting = new.iter().filter_map(|vm| fleet_of(status, vm)?.parse().ok());
    let states: Vec<&FleetState> = renting.filter_map(|name| situation.fleets.get(&name)).collect();
    // Who deployed last is not known; what the most modest of them needs must be there in any case.
    let Some((floor, span)) =
        states.iter().map(|state| (situation.floor(state), state.policy.min_runway.max(HOUR))).min()
    else {
        return;
    };
    let balance = truth.balance.minus(floor);
    let burnt = truth.hourly_cost.cost(TICK_AT_MOST);
    let needed = truth.hourly_cost.cost(span);
    assert!(balance.plus(burnt) >= needed, "{balance} above the floor do not pay {needed}: {story}");
}

/// Whether memory and world agree about every VM of ours, and nothing is in doubt; if not, where they differ.
pub fn disagreement(status: &Status, truth: &Truth) -> Option<String> {
    let situation = status.situation.as_ref()?;
    for (name, state) in &situation.fleets {
        let of_fleet = |vm: &&Vm| vm.origin == Origin::Api && fleet_of(status, vm) == Some(name.as_str());
        let there: BTreeMap<String, String> = truth
            .alive()
            .filter(of_fleet)
            .map(|vm| (vm.name.to_string(), format!("{} {} {}", vm.id, vm.shape.gpus, rate(vm))))
            .collect();
        let members = state.fleet.members.values().map(|member| {
            let id = member.id.as_ref().map(ToString::to_string).unwrap_or_default();
            (member.name.to_string(), format!("{id} {} {}", member.shape.gpus, member.committed()))
        });
        let known: BTreeMap<String, String> = members.collect();
        if known != there {
            return Some(format!("{name} remembers {known:?}, and there are {there:?}"));
        }
        if !state.fleet.late.is_empty() {
            return Some(format!("{name} has late ones: {:?}", state.fleet.late));
        }
    }
    let in_doubt: u32 = status.markets.values().map(|market| market.in_doubt).sum();
    (in_doubt > 0).then(|| format!("{in_doubt} deploys are in doubt"))
}
