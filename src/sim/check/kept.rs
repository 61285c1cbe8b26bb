//! Whether what should stay stays, and what should go goes.

use super::{Found, Promise, Seen, Sighted, fleet_of};
use crate::{
    engine::Status,
    ledger::{Member, Standing},
    model::{InstanceId, Timestamp, VmName, reason::Teardown},
    plan::{FleetState, Force, Order, force},
    sim::{
        Ended, Origin, Vm, VmState,
        told::{Listing, Told},
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// What should go goes within so many looks: a delete may be lost a few times.
const LOOKS_TO_GO: u32 = 10;
/// A bill above the agreed rate by more than this share of it ends a VM. Source: CONTRACT, "Billed more than agreed".
const OVERBILLED_PPM: u64 = 100_000;

/// Ids are unique only within one vendor's world, and a marketplace may give a name to two.
type Who = (VmName, InstanceId);

/// What was known at the last look.
#[derive(Debug, Default)]
pub(super) struct Kept {
    looked_at: Option<Timestamp>,
    running: BTreeSet<Who>,
    protected: BTreeSet<VmName>,
    /// For so many looks on end that showed them nobody has tried to let them go.
    late: BTreeMap<Who, u32>,
    overbilled: BTreeMap<Who, u32>,
}

impl Kept {
    pub(super) fn look(&mut self, found: &mut Found, seen: &Seen<'_>) {
        let Seen { status, sighted, .. } = *seen;
        self.let_go(found, seen);
        self.goes(found, seen);
        let vms = || sighted.iter().flat_map(|one| one.truth.alive());
        self.running = vms().filter(|vm| vm.state == VmState::Running).map(who).collect();
        // What is on its way out already is not kept by being protected.
        let stays = |member: &&Member| member.protected && member.standing != Standing::Leaving;
        self.protected = members(status).filter(stays).map(|member| member.name.clone()).collect();
        self.looked_at = sighted.iter().map(|one| one.truth.at).max();
    }

    /// A VM that ran goes for the target's sake only if enough others run; a protected one never does.
    fn let_go(&self, found: &mut Found, seen: &Seen<'_>) {
        let Seen { status, sighted, paper, .. } = *seen;
        let (Some(situation), Some(since)) = (&status.situation, self.looked_at) else { return };
        let since = since.as_millisecond();
        let deleted = |vm: &&Vm| vm.ended.is_some_and(|(at, why)| why == Ended::Deleted && at > since);
        for vm in sighted.iter().flat_map(|one| &one.truth.vms).filter(|vm| vm.origin == Origin::Api).filter(deleted) {
            let is_meant = fleet_of(status, vm).is_none() || paper.is_let_go(&vm.name, &vm.id);
            found.unless(is_meant, Promise::IntentFirst, || {
                format!("{} ({}) was deleted, and the journal knows no reason", vm.name, vm.id)
            });
        }
        // What was decided counts, whatever came of it; but not what was decided under another law than today's.
        let decided: Vec<(&VmName, Option<&InstanceId>, Teardown)> = paper
            .let_go()
            .filter(|(decided, ..)| paper.is_under_todays_law(decided))
            .map(|(_, name, id, reason)| (name, id, reason))
            .collect();
        // A target of the operator's may have ended while nobody was there.
        let of_the_dead: BTreeSet<&VmName> =
            paper.let_go().filter(|(decided, ..)| !paper.is_of_the_living(decided)).map(|(_, name, ..)| name).collect();
        for (name, state) in &situation.fleets {
            let Order::Hold(target) = state.order else { continue };
            let of_fleet = |vm: &&Vm| vm.origin == Origin::Api && fleet_of(status, vm) == Some(name.as_str());
            let vms = || sighted.iter().flat_map(|one| &one.truth.vms).filter(of_fleet);
            let reason = |vm: &Vm| {
                let is_it = |(name, id, _): &&(&VmName, Option<&InstanceId>, Teardown)| {
                    **name == vm.name && id.is_none_or(|id| *id == vm.id)
                };
                decided.iter().find(is_it).map(|(_, _, reason)| *reason)
            };
            // A protection may have ended since the last look.
            let is_protected = |vm: &&Vm| {
                let still = state.fleet.members.get(&vm.name).is_some_and(|member| member.protected);
                still && self.protected.contains(&vm.name)
            };
            for vm in
                vms().filter(|vm| reason(vm).is_some_and(|reason| force(reason) == Force::Order)).filter(is_protected)
            {
                found.unless(false, Promise::Protected, || format!("{} was protected, and let go", vm.name));
            }
            // What stopped running by itself meanwhile is not held against whoever let others go.
            let ran = |vm: &&Vm| vm.state == VmState::Running || self.running.contains(&who(vm));
            let stays = |vm: &&Vm| vm.ended.is_none() && reason(vm).is_none();
            let left: u32 = vms().filter(stays).filter(ran).map(|vm| vm.shape.gpus).sum();
            let least = target.saturating_sub(state.policy.disruption.max_unavailable.of(target));
            // Of those that are believed lost no more go at once than may be unavailable, or one.
            let is_lost = |vm: &&Vm| reason(vm) == Some(Teardown::Lost);
            let lost: Vec<&Vm> = vms().filter(is_lost).collect();
            let lost_gpus: u32 = lost.iter().map(|vm| vm.shape.gpus).sum();
            let at_once = state.policy.disruption.max_unavailable.of(target);
            found.unless(lost.len() <= 1 || lost_gpus <= at_once, Promise::Serving, || {
                format!("{lost_gpus} GPUs of {name} were given up at once, and {at_once} may be unavailable")
            });
            let is_for_target = |vm: &&Vm| reason(vm) == Some(Teardown::Target) && !of_the_dead.contains(&vm.name);
            // What its marketplace says nothing of, or what nobody understands, is not known to run.
            let is_seen = |vm: &&Vm| vm.state == VmState::Running && !paper.is_lost(&vm.name);
            let gone = vms().filter(is_seen).filter(is_for_target);
            let gone: Vec<&VmName> = gone.map(|vm| &vm.name).collect();
            found.unless(gone.is_empty() || left >= least, Promise::Serving, || {
                format!("{gone:?} went for the target's sake, and {left} GPUs of at least {least} run in {name}")
            });
        }
    }

    /// What turned up late, or is billed more than was agreed, is let go. Looks count at which a list showed it.
    fn goes(&mut self, found: &mut Found, seen: &Seen<'_>) {
        let Seen { status, sighted, paper, .. } = *seen;
        let (Some(situation), Some(since)) = (&status.situation, self.looked_at) else { return };
        let is_its = |one: &Sighted, listing: &Listing, vm: &Vm| {
            paper.marketplace(&vm.name).and_then(|name| one.marketplaces.get(name)) == Some(&listing.api)
        };
        let shown = |one: &Sighted| -> Vec<(Who, Vm)> {
            let is_shown = |vm: &&Vm| {
                let shows = |listing: &Listing| match &listing.told {
                    Told::These(ids) => listing.at > since && is_its(one, listing, vm) && ids.contains(&vm.id),
                    Told::Perhaps | Told::Nothing => false,
                };
                one.lists.iter().any(|listing| shows(listing))
            };
            one.truth.alive().filter(is_shown).map(|vm| (who(vm), vm.clone())).collect()
        };
        let shown: BTreeMap<Who, Vm> = sighted.iter().flat_map(shown).collect();
        let acts = |vm: &Vm| {
            let state = paper.intent(&vm.name).and_then(|intent| situation.fleets.get(&intent.fleet));
            state.filter(|state| !situation.is_observing(state))
        };
        let is_sent = |vm: &Vm| paper.is_sent(&vm.name, &vm.id);
        // By the journal's word a name was given up, or another has it.
        let is_late = |vm: &Vm, state: &FleetState| {
            let member = state.fleet.members.get(&vm.name).and_then(|member| member.id.as_ref());
            match member {
                Some(id) => *id != vm.id,
                None => paper.is_given_up(&vm.name),
            }
        };
        let late = shown.iter().filter(|(_, vm)| !is_sent(vm) && acts(vm).is_some_and(|state| is_late(vm, state)));
        self.late = counted(&self.late, late.map(|(who, _)| who.clone()));
        let is_overbilled = |vm: &Vm, state: &FleetState| {
            let Some(member) = state.fleet.members.get(&vm.name) else { return false };
            let bid = member.bid.unwrap_or_default().plus(member.agreed.storage);
            let agreed = member.agreed.total().max(bid).max(vm.agreed.total());
            let is_it = member.id.as_ref() == Some(&vm.id) && vm.state == VmState::Running;
            is_it && vm.asked().total() > agreed.plus(agreed.share_ppm(OVERBILLED_PPM))
        };
        let overbilled =
            shown.iter().filter(|(_, vm)| !is_sent(vm) && acts(vm).is_some_and(|state| is_overbilled(vm, state)));
        self.overbilled = counted(&self.overbilled, overbilled.map(|(who, _)| who.clone()));
        for (looks, promise) in [(&self.late, Promise::Reaped), (&self.overbilled, Promise::Overbilled)] {
            for ((name, id), looks) in looks.iter().filter(|(_, looks)| **looks > LOOKS_TO_GO) {
                let told = || format!("{name} ({id}) is there, and nobody let it go in {looks} looks");
                found.unless(false, promise, told);
            }
        }
    }
}

fn who(vm: &Vm) -> Who {
    (vm.name.clone(), vm.id.clone())
}

fn members(status: &Status) -> impl Iterator<Item = &Member> {
    let fleets = status.situation.iter().flat_map(|situation| situation.fleets.values());
    fleets.flat_map(|state| state.fleet.members.values())
}

/// One look more for each of these; the others begin anew.
fn counted(before: &BTreeMap<Who, u32>, now: impl Iterator<Item = Who>) -> BTreeMap<Who, u32> {
    now.map(|who| {
        let looks = before.get(&who).copied().unwrap_or(0).saturating_add(1);
        (who, looks)
    })
    .collect()
}
