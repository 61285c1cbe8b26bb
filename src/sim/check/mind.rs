//! What is promised of the mind: it is a pure function, it rests when all is well, and it moves a VM only for a reason.
//!
//! The newest situation is planned on again, apart from the engine: what comes out must be the same twice, nothing for a fleet
//! that has what it wants, and no replacement of what itself replaced something.

use super::{Breach, Found, Promise};
use crate::{
    ledger::Standing,
    model::{FleetName, PriceType, reason::Teardown},
    plan::{Action, FleetState, Order, Plan, Situation, plan},
    policy::terms::OnDemandUse,
};

/// Plans again, and returns what does not hold.
pub fn think_again(situation: &Situation) -> Vec<Breach> {
    let (first, second) = (plan(situation), plan(situation));
    let mut found = Found::default();
    same(&mut found, &first, &second);
    rests(&mut found, situation, &first);
    moves(&mut found, situation);
    found.0
}

fn same(found: &mut Found, first: &Plan, second: &Plan) {
    found.unless(first == second, Promise::Pure, || {
        format!("of one situation come {} actions and then {}", first.actions.len(), second.actions.len())
    });
}

/// A fleet that has what it wants is left as it is.
fn rests(found: &mut Found, situation: &Situation, plan: &Plan) {
    for action in &plan.actions {
        let of = situation.fleets.get(action.fleet()).filter(|state| is_satisfied(situation, state));
        found.unless(of.is_none() || is_for_another_reason(action), Promise::Rest, || {
            format!("{} has all it wants, and there is more to do: {action:?}", action.fleet())
        });
    }
}

/// All its GPUs run, where and as they should, and nothing is left over.
fn is_satisfied(situation: &Situation, state: &FleetState) -> bool {
    let Order::Hold(target) = state.order else { return false };
    let fleet = &state.fleet;
    let runs = |member: &crate::ledger::Member| {
        let as_it_should = match state.policy.on_demand.usage {
            OnDemandUse::Never | OnDemandUse::Always => true,
            OnDemandUse::Fallback => member.price_type == PriceType::Spot,
        };
        member.standing == Standing::Running && member.replaces.is_none() && !member.write_in_doubt && as_it_should
    };
    let base = state.policy.on_demand.base_gpus;
    !situation.is_observing(state)
        && base == 0
        && fleet.members.values().all(runs)
        && fleet.members.values().map(|member| member.shape.gpus).sum::<u32>() == target
        && fleet.stray_gpus() == 0
        && fleet.late.is_empty()
}

/// Money, the operator and what should not be there at all may disturb the rest of any fleet.
const fn is_for_another_reason(action: &Action) -> bool {
    match action {
        Action::Ask { .. } | Action::Look { .. } | Action::Deploy(_) | Action::Rebid { .. } | Action::Start { .. } => {
            false
        }
        Action::Stop { reason, .. } | Action::Delete { reason, .. } => match reason {
            Teardown::Overbilled
            | Teardown::Late
            | Teardown::RateLimit
            | Teardown::GlobalRateLimit
            | Teardown::BalanceFloor
            | Teardown::Budget
            | Teardown::Evacuate
            | Teardown::Operator => true,
            Teardown::Target | Teardown::Outbid | Teardown::Lost | Teardown::Replaced | Teardown::StoppedTooLong => {
                false
            }
        },
    }
}

/// The one voluntary move there is goes from on demand back to spot, once for each slot.
fn moves(found: &mut Found, situation: &Situation) {
    for (name, state) in &situation.fleets {
        let members = &state.fleet.members;
        for member in members.values() {
            let Some(replaced) = member.replaces.as_ref().and_then(|replaced| members.get(replaced)) else { continue };
            let goes_back = member.price_type == PriceType::Spot && replaced.price_type == PriceType::OnDemand;
            found.unless(goes_back, Promise::Moves, || moved(name, &member.name, &replaced.name));
        }
    }
}

fn moved(fleet: &FleetName, to: &crate::model::VmName, from: &crate::model::VmName) -> String {
    format!("{fleet} moves from {from} to {to}, which is not back to spot")
}

#[cfg(test)]
mod tests {
    use super::{super::tests::settled, *};

    fn found(look: impl FnOnce(&mut Found)) -> Vec<Promise> {
        let mut found = Found::default();
        look(&mut found);
        found.0.into_iter().map(|breach| breach.promise).collect()
    }

    #[tokio::test]
    async fn a_mind_that_rests_keeps_its_promises_and_one_that_lets_go_of_what_is_wanted_does_not() {
        let stage = settled().await;
        let situation = stage.status().situation.clone().unwrap();
        assert_eq!(think_again(&situation), []);
        let name: FleetName = "train".parse().unwrap();
        assert!(is_satisfied(&situation, &situation.fleets[&name]), "{:?}", situation.fleets[&name].fleet.members);
        let mut less = situation.clone();
        less.fleets.get_mut(&name).unwrap().order = Order::Hold(1);
        let shrinking = plan(&less);
        assert!(!shrinking.actions.is_empty());
        assert!(found(|found| rests(found, &situation, &shrinking)).contains(&Promise::Rest));
        assert_eq!(found(|found| same(found, &shrinking, &plan(&situation))), [Promise::Pure]);
    }

    #[tokio::test]
    async fn a_move_from_spot_to_spot_is_none_that_was_promised() {
        let stage = settled().await;
        let mut situation = stage.status().situation.clone().unwrap();
        let members = &mut situation.fleets.get_mut(&"train".parse::<FleetName>().unwrap()).unwrap().fleet.members;
        let first = members.keys().next().unwrap().clone();
        members.values_mut().next_back().unwrap().replaces = Some(first);
        assert_eq!(found(|found| moves(found, &situation)), [Promise::Moves]);
    }
}
