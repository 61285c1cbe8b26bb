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
    ledger::{Intent, Standing},
    model::{PriceType, Timestamp, VmName, time},
    plan::{FleetState, Force, Order, force},
    policy::terms::{OnDemandUse, Revert},
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
                moved(found, seen, decided, intent);
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

/// What is rented in the place of something else goes from on demand back to spot, and is the only one that does.
fn moved(found: &mut Found, seen: &Seen<'_>, decided: &Decided, intent: &Intent) {
    let (Some(state), Some(replaced)) = (state(seen, decided, &intent.name), &intent.replaces) else { return };
    let was = seen.paper.intent(replaced).map(|old| old.price_type);
    let goes_back = (was, intent.price_type) == (Some(PriceType::OnDemand), PriceType::Spot);
    let may = match state.policy.on_demand.revert {
        Revert::WhenAvailable => goes_back,
        Revert::Never => false,
    };
    found.unless(may, Promise::Moves, || format!("{} was rented in the place of {replaced}", intent.name));
    let others = state.fleet.members.values().filter(|other| {
        let is_one = other.replaces.as_ref() == Some(replaced) && other.name != intent.name;
        is_one && other.standing != Standing::Leaving
    });
    let others: Vec<&VmName> = others.map(|other| &other.name).collect();
    found.unless(others.is_empty(), Promise::Moves, || {
        format!("{} was rented in the place of {replaced}, which {others:?} replaces", intent.name)
    });
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

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{again, settled, written},
        *,
    };
    use crate::{
        ledger::{Record, Scope},
        model::{FleetName, reason::Teardown},
        policy::{Policy, Terms},
        sim::{Stage, Vm},
    };
    use std::collections::BTreeSet;

    fn promises(status: &Status, stage: &Stage, paper: &super::super::Paper) -> Vec<Promise> {
        let (sighted, none) = (stage.sighted(), BTreeSet::new());
        let seen = Seen { status, sighted: &sighted, out_of_sight: &none, paper };
        let mut found = Found::default();
        look(&mut found, &seen, None);
        // Nobody told of what was only written here.
        found.0.into_iter().map(|breach| breach.promise).filter(|promise| *promise != Promise::Explained).collect()
    }

    fn first_of(stage: &Stage, fleet: &str) -> Vm {
        let (status, sighted) = (stage.status(), stage.sighted());
        super::super::alive(&sighted).find(|vm| super::super::fleet_of(&status, vm) == Some(fleet)).unwrap().clone()
    }

    /// The status, with a fleet's policy edited.
    fn under(stage: &Stage, fleet: &str, edit: impl FnOnce(&mut Terms)) -> Status {
        let mut status = (*stage.status()).clone();
        let fleet: FleetName = fleet.parse().unwrap();
        let state = status.situation.as_mut().unwrap().fleets.get_mut(&fleet).unwrap();
        let mut terms = Terms::clone(&state.policy);
        edit(&mut terms);
        state.policy = Policy::vouched(terms);
        status
    }

    #[tokio::test]
    async fn what_is_rented_and_not_wanted_is_found_out_whatever_is_wrong_with_it() {
        let stage = settled().await;
        let vm = first_of(&stage, "train");
        let intent = stage.paper().intent(&vm.name).unwrap().clone();
        let found = |edit: &dyn Fn(&mut Terms)| {
            promises(&under(&stage, "train", edit), &stage, &again(&stage, &vm.name, |_| {}))
        };
        assert_eq!(found(&|_| {}), []);
        let not_wanted = [Promise::Wanted];
        assert_eq!(found(&|terms| terms.marketplaces = Some(vec!["elsewhere".parse().unwrap()])), not_wanted);
        assert_eq!(found(&|terms| terms.models.retain(|model| model.model != intent.shape.gpu_model)), not_wanted);
        assert_eq!(found(&|terms| terms.hosts.deny = vec![intent.hostnode.clone()]), not_wanted);
        assert_eq!(found(&|terms| terms.instance.gpus.min = intent.shape.gpus + 1), not_wanted);
        assert_eq!(found(&|terms| terms.on_demand.usage = OnDemandUse::Always), not_wanted);
        let cap = |micros: u64| {
            found(&move |terms| {
                let price = crate::model::HourlyRate::from_micros(micros);
                terms.models.iter_mut().for_each(|model| model.max_price = Some(price));
            })
        };
        let per_gpu = intent.agreed.total().micros().div_ceil(u64::from(intent.shape.gpus));
        assert_eq!((cap(per_gpu), cap(per_gpu - 1)), (vec![], not_wanted.to_vec()));
    }

    #[tokio::test]
    async fn what_is_rented_where_it_is_closed_is_found_out() {
        let stage = settled().await;
        let vm = first_of(&stage, "train");
        let intent = stage.paper().intent(&vm.name).unwrap().clone();
        let found = |records: &[Record]| {
            let rent = [Record::DeployIntended(Box::new(intent.clone()))];
            let all: Vec<Record> = records.iter().chain(&rent).cloned().collect();
            let found = promises(&stage.status(), &stage, &written(&stage, &all));
            found.into_iter().filter(|promise| *promise == Promise::Closed).count()
        };
        let scope = || Scope::Marketplace(intent.marketplace.clone());
        let failed = Record::HostFailed {
            account: intent.account.clone(),
            hostnode: intent.hostnode.clone(),
            refusal: crate::model::RefusalKind::NoCapacity,
            cooldown_ms: 30_000,
        };
        assert_eq!(found(&[]), 0);
        assert_eq!(found(&[Record::Paused { scope: scope() }]), 1);
        assert_eq!(found(&[Record::Paused { scope: scope() }, Record::Resumed { scope: scope() }]), 0);
        assert_eq!(found(&[failed]), 1);
        let billed = |id: &str| Record::DeleteIntended {
            name: vm.name.clone(),
            id: id.parse().unwrap(),
            reason: Teardown::Overbilled,
            why: String::new(),
        };
        assert_eq!(found(&[billed("a"), billed("b")]), 0);
        assert_eq!(found(&[billed("a"), billed("b"), billed("c")]), 1);
    }

    #[tokio::test]
    async fn a_write_that_no_decision_names_is_found_out() {
        let stage = settled().await;
        let vm = first_of(&stage, "train");
        let (sighted, none, status) = (stage.sighted(), BTreeSet::new(), stage.status());
        let explained = |records: &[Record], troubles: &[&str]| {
            let status =
                Status { troubles: troubles.iter().map(|told| (*told).to_owned()).collect(), ..(*status).clone() };
            let paper = written(&stage, records);
            let seen = Seen { status: &status, sighted: &sighted, out_of_sight: &none, paper: &paper };
            let mut found = Found::default();
            look(&mut found, &seen, None);
            !found.0.iter().any(|breach| breach.promise == Promise::Explained)
        };
        let start = Record::StartIntended { name: vm.name.clone(), why: String::new() };
        let (name, id) = (vm.name.clone(), vm.id.clone());
        let delete = |reason| Record::DeleteIntended { name: name.clone(), id: id.clone(), reason, why: String::new() };
        let told = |of: &str| Record::Decision {
            id: "d1".to_owned(),
            fleet: None,
            cause: "schedule".to_owned(),
            report: String::new(),
            actions: format!("[{{\"instance\":\"{of}\"}}]"),
            rounds: Vec::new(),
        };
        assert!(!explained(std::slice::from_ref(&start), &[]));
        assert!(explained(&[start.clone(), told(vm.name.as_str())], &[]));
        assert!(!explained(&[start.clone(), told("another")], &[]));
        assert!(explained(&[start], &[DISK_FULL]), "it could not tell");
        assert!(!explained(&[delete(Teardown::Target)], &[]));
        assert!(explained(&[delete(Teardown::Operator)], &[]), "the lever told it");
    }

    #[tokio::test]
    async fn a_move_that_does_not_go_back_to_spot_or_that_another_makes_is_found_out() {
        let stage = settled().await;
        let (spot, on_demand) = (first_of(&stage, "train"), first_of(&stage, "serve"));
        assert_eq!(on_demand.price_type, PriceType::OnDemand);
        let of_serve = |name: &str, price_type: PriceType, replaced: &Vm| {
            again(&stage, &on_demand.name, |intent| {
                intent.name = name.parse().unwrap();
                (intent.price_type, intent.replaces) = (price_type, Some(replaced.name.clone()));
            })
        };
        let name = "spotscale-serve-k3x9-99";
        let moves = |paper: &super::super::Paper, status: &Status| {
            let found = promises(status, &stage, paper);
            found.into_iter().filter(|promise| *promise == Promise::Moves).count()
        };
        let status = stage.status();
        assert_eq!(moves(&of_serve(name, PriceType::Spot, &on_demand), &status), 0);
        assert_eq!(moves(&of_serve(name, PriceType::OnDemand, &on_demand), &status), 1);
        assert_eq!(moves(&of_serve(name, PriceType::Spot, &spot), &status), 1);
        let never = under(&stage, "serve", |terms| terms.on_demand.revert = Revert::Never);
        assert_eq!(moves(&of_serve(name, PriceType::Spot, &on_demand), &never), 1);
        let mut moving = (*status).clone();
        let serve: FleetName = "serve".parse().unwrap();
        let members = &mut moving.situation.as_mut().unwrap().fleets.get_mut(&serve).unwrap().fleet.members;
        members.values_mut().next_back().unwrap().replaces = Some(on_demand.name.clone());
        assert_eq!(moves(&of_serve(name, PriceType::Spot, &on_demand), &moving), 1);
    }
}
