//! What an edit that is not installed yet would do: a plan on what the newest tick knew, with one policy exchanged.

use crate::{
    plan::{FleetState, Order, Plan, Situation, plan},
    policy::Policy,
};

/// The same moment, with this policy in force.
pub fn what_if(situation: &Situation, policy: Policy) -> (Situation, Plan) {
    let mut edited = situation.clone();
    let name = policy.fleet.clone();
    let before = edited.fleets.remove(&name);
    let order = match &before {
        // A target of the operator's stays; one that was the policy's follows the edit.
        Some(state) => match state.order {
            Order::Hold(target) if target == state.policy.target_gpus => Order::Hold(policy.target_gpus),
            Order::Pause(target) if target == state.policy.target_gpus => Order::Pause(policy.target_gpus),
            Order::Hold(_) | Order::Pause(_) | Order::Evacuate => state.order,
        },
        None => Order::Hold(policy.target_gpus),
    };
    let state = FleetState {
        order,
        fleet: before.as_ref().map(|before| before.fleet.clone()).unwrap_or_default(),
        missing: before.as_ref().map(|before| before.missing.clone()).unwrap_or_default(),
        scaled_down_at: before.as_ref().and_then(|before| before.scaled_down_at),
        held: None,
        policy_broken: false,
        policy,
    };
    edited.fleets.insert(name, state);
    let planned = plan(&edited);
    (edited, planned)
}
