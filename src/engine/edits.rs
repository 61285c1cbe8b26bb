//! How much an edit would tear down, before it comes into force.
//!
//! A slip of the finger in a policy (a lost digit, a wrong limit) must not cost anybody a fleet. An edit that would let
//! more GPUs go than `max_scale_down` allows, and more than one VM, is held whole until the operator applies it. This
//! module only counts, and counts pessimistically: everything that the edit would ever let go, not what one plan would
//! let go within its disruption budget.

use crate::{
    ledger::fleet::{Fleet, Member, Standing},
    model::{FleetName, HourlyRate, VmName},
    policy::Policy,
};
use std::collections::{BTreeMap, BTreeSet};

/// What an edit would let go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// VMs.
    pub vms: u32,
    /// GPUs.
    pub gpus: u32,
}

impl Loss {
    /// More than `max_scale_down` of the law in force, and more than one VM.
    pub fn is_too_much(&self, in_force: &Policy, target_gpus: u32) -> bool {
        self.vms > 1 && self.gpus > in_force.disruption.max_scale_down.of(target_gpus)
    }
}

fn counts(member: &Member) -> bool {
    !matches!(member.standing, Standing::Leaving | Standing::StoppedReleased)
}

/// Dearest first, then youngest, then by name: an order in which money would take victims.
fn dearest_first<'a>(members: impl Iterator<Item = &'a Member>) -> Vec<&'a Member> {
    let mut ordered: Vec<&Member> = members.filter(|member| counts(member)).collect();
    ordered.sort_by(|a, b| {
        let per_gpu = |member: &Member| member.committed().micros() / u64::from(member.shape.gpus.max(1));
        per_gpu(b).cmp(&per_gpu(a)).then(b.intended_at.cmp(&a.intended_at)).then(a.name.cmp(&b.name))
    });
    ordered
}

/// What a new policy would let go of a fleet: what is above a model's new `max_price`, over the new target, over the new
/// rate limit.
pub fn loss_by_policy(fleet: &Fleet, new: &Policy, target_gpus: u32) -> Loss {
    let mut gone: BTreeSet<&VmName> = BTreeSet::new();
    let ordered = dearest_first(fleet.members.values());
    for member in &ordered {
        let cap = new.model(&member.shape.gpu_model).and_then(|(_, terms)| terms.max_price);
        if cap.is_some_and(|cap| member.committed() > cap.times(member.shape.gpus)) {
            gone.insert(&member.name);
        }
    }
    let mut gpus: u32 = ordered.iter().filter(|member| !gone.contains(&member.name)).map(|m| m.counted_gpus()).sum();
    let mut rate: HourlyRate = fleet.committed();
    for member in ordered.iter().filter(|member| gone.contains(&member.name)) {
        rate = rate.minus(member.committed());
    }
    for member in &ordered {
        // A VM goes for the target only if the target stays met without it.
        let over_target = gpus >= target_gpus.saturating_add(member.counted_gpus());
        if !gone.contains(&member.name) && (rate > new.max_hourly_rate || over_target) {
            gone.insert(&member.name);
            gpus = gpus.saturating_sub(member.counted_gpus());
            rate = rate.minus(member.committed());
        }
    }
    total(ordered.into_iter().filter(|member| gone.contains(&member.name)))
}

/// What a new rate limit over all fleets would let go of each.
pub fn loss_by_limit(fleets: &BTreeMap<FleetName, Fleet>, max_hourly_rate: HourlyRate) -> BTreeMap<FleetName, Loss> {
    let mut rate: HourlyRate = fleets.values().map(Fleet::committed).sum();
    let mut losses: BTreeMap<FleetName, Loss> = BTreeMap::new();
    for member in dearest_first(fleets.values().flat_map(|fleet| fleet.members.values())) {
        if rate <= max_hourly_rate {
            break;
        }
        rate = rate.minus(member.committed());
        let loss = losses.entry(member.fleet.clone()).or_default();
        loss.vms += 1;
        loss.gpus += member.counted_gpus();
    }
    losses
}

fn total<'a>(members: impl Iterator<Item = &'a Member>) -> Loss {
    members.fold(Loss::default(), |loss, member| Loss { vms: loss.vms + 1, gpus: loss.gpus + member.counted_gpus() })
}
