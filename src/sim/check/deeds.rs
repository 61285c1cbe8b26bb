//! Whether what was decided was allowed: by the levers, by the policy, by what failed a moment ago.
//!
//! What is judged are the intents in the journal, whatever came of their requests, and each by the law under which it was
//! written. And each must be told: a write that no decision in the history names is one that nobody can explain.

use super::{
    Found, Promise, Seen,
    paper::{Decided, Deed},
};
use crate::{
    engine::Status,
    ledger::Intent,
    model::{PriceType, Timestamp, VmName, time},
    plan::{FleetState, Force, Order, force},
    policy::terms::OnDemandUse,
    sim::Origin,
};
use std::time::Duration;

/// A bid that is raised was accepted less than this before its tick began.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(60);
/// What a daemon says when the disk took nothing: then it cannot tell what it did either.
const DISK_FULL: &str = "the disk is full";

/// Looks at all that was decided since the last look, at `since`.
pub(super) fn look(found: &mut Found, seen: &Seen<'_>, since: Option<Timestamp>) {
    let Seen { status, sighted, paper, .. } = *seen;
    let is_disk_full = status.troubles.iter().any(|trouble| trouble.contains(DISK_FULL));
    for decided in paper.news() {
        let (name, is_told) = match &decided.deed {
            Deed::Rent(intent) => {
                if let Some(why) = &decided.forbidden {
                    found.unless(false, Promise::Closed, || format!("{} was rented, and {why}", intent.name));
                }
                wanted(found, seen, decided, intent);
                (&intent.name, true)
            }
            Deed::Rebid { name, .. } | Deed::Start(name) => (name, true),
            // What the operator has deleted stands in the journal as the lever's doing.
            Deed::LetGo { name, reason, .. } => (name, force(*reason) != Force::Operator),
            Deed::Law => continue,
        };
        frozen(found, seen, decided, name);
        found.unless(
            !is_told || is_disk_full || !paper.is_of_the_living(decided) || paper.is_told(name),
            Promise::Explained,
            || format!("{name}: {:?}, and no decision names it", decided.deed),
        );
        if let Deed::Rebid { name, to } = &decided.deed {
            let intent = paper.intent(name);
            let known = sighted.iter().filter(|one| intent.is_some_and(|intent| one.leads_from(&intent.marketplace)));
            let mut accepted = known.flat_map(|one| &one.accepted);
            let is_lately = |at| since.is_none_or(|since| at > since || time::elapsed(at, since) < ACCEPTED_WITHIN);
            let was_asked = accepted.any(|accepted| {
                accepted.bid.price == *to
                    && intent.is_some_and(|intent| accepted.bid.hostnode == intent.hostnode)
                    && is_lately(accepted.at)
            });
            found.unless(was_asked, Promise::Asked, || {
                format!("{name}'s bid was raised to {to}/h, which was not asked for a moment ago")
            });
        }
    }
    for vm in super::all_vms(sighted).filter(|vm| vm.origin == Origin::Api) {
        let meant = paper.writes(&vm.name).unwrap_or(u32::MAX);
        found.unless(vm.touches <= meant, Promise::IntentFirst, || {
            format!("{} ({}) was touched {} times, and the journal meant {meant}", vm.name, vm.id, vm.touches)
        });
    }
}

/// The state of the fleet whose VM this is, if what was decided was decided under the law as it is.
fn state<'a>(seen: &Seen<'a>, decided: &Decided, name: &VmName) -> Option<&'a FleetState> {
    let Seen { status, paper, .. } = *seen;
    let situation = status.situation.as_ref().filter(|_| paper.is_under_todays_law(decided))?;
    situation.fleets.get(&paper.intent(name)?.fleet)
}

/// Who only watches does nothing; who is paused rents nothing and lets nothing go for order's sake.
fn frozen(found: &mut Found, seen: &Seen<'_>, decided: &Decided, name: &VmName) {
    let Some(state) = state(seen, decided, name) else { return };
    let is_observing = is_observing(seen.status, state);
    let is_allowed = match (&decided.deed, state.order) {
        (Deed::Law, _) => true,
        (_, Order::Hold(_)) => !is_observing,
        (Deed::Rent(_) | Deed::Rebid { .. } | Deed::Start(_), Order::Pause(_) | Order::Evacuate) => false,
        (Deed::LetGo { reason, .. }, Order::Pause(_)) => !is_observing && force(*reason) != Force::Order,
        (Deed::LetGo { .. }, Order::Evacuate) => !is_observing,
    };
    found.unless(is_allowed, Promise::Frozen, || {
        format!("{} is {:?}, and decided {:?}", state.policy.fleet, state.order, decided.deed)
    });
}

fn is_observing(status: &Status, state: &FleetState) -> bool {
    status.situation.as_ref().is_some_and(|situation| situation.is_observing(state))
}

/// What is rented is what the policy says: where, what, and for how much at most.
fn wanted(found: &mut Found, seen: &Seen<'_>, decided: &Decided, intent: &Intent) {
    let Some(state) = state(seen, decided, &intent.name) else { return };
    let Intent { name, marketplace, hostnode, shape, price_type, agreed, .. } = intent;
    let policy = &state.policy;
    let told = |what: &str| format!("{name} was rented, {what}");
    let is_there = policy.marketplaces.as_ref().is_none_or(|marketplaces| marketplaces.contains(marketplace));
    found.unless(is_there, Promise::Wanted, || told(&format!("on {marketplace}, which the policy leaves out")));
    found.unless(policy.model(&shape.gpu_model).is_some(), Promise::Wanted, || {
        told(&format!("with {}, which the policy does not name", shape.gpu_model))
    });
    found.unless(!policy.hosts.deny.contains(hostnode), Promise::Wanted, || told("on a machine that is denied"));
    let sizes = &policy.instance.gpus;
    found.unless((sizes.min..=sizes.max).contains(&shape.gpus), Promise::Wanted, || {
        told(&format!("with {} GPUs", shape.gpus))
    });
    let is_paid_so = match (price_type, policy.on_demand.usage) {
        (PriceType::Spot, OnDemandUse::Never | OnDemandUse::Fallback) => true,
        (PriceType::OnDemand, OnDemandUse::Fallback | OnDemandUse::Always) => true,
        (PriceType::OnDemand, OnDemandUse::Never) => policy.on_demand.base_gpus > 0,
        (PriceType::Spot, OnDemandUse::Always) => false,
    };
    found.unless(is_paid_so, Promise::Wanted, || told(&format!("paid {price_type}")));
    let cap = state.start_price(&shape.gpu_model).map(|price| price.times(shape.gpus));
    found.unless(cap.is_none_or(|cap| agreed.total() <= cap), Promise::Wanted, || {
        told(&format!("at {}/h, above its max_price", agreed.total()))
    });
}
