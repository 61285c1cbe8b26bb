//! Whom to let go: everybody when evacuating, somebody when a limit or the floor says so, and what is over the target.
//!
//! What is on its way out already is not counted here as if it stayed, and strays and reserved money never cost one of
//! ours its place. Victims, in order: lost, outbid, not ready; then the dearest per delivered GPU-hour when it is for
//! money, else the youngest; a protected one only for money. Source: CONTRACT, "Order of force".

use super::{
    Draft, FleetState, Order, Situation,
    headroom::{BALANCE_AGE_MAX, Short},
    score::standing_score,
};
use crate::{
    ledger::{Member, Standing},
    model::{
        AccountName, FleetName, Guard, HourlyRate, Usd,
        reason::{Blocked, Teardown},
        time::{after, elapsed, show},
    },
    policy::terms::WhenLow,
};
use std::{cmp::Reverse, time::Duration};

/// Tears down all of an evacuated fleet, what is protected too.
pub(super) fn evacuate(draft: &mut Draft<'_>) {
    let situation = draft.situation;
    for state in situation.fleets.values() {
        if state.order == Order::Evacuate {
            for member in state.fleet.members.values().filter(|member| member.standing != Standing::Leaving) {
                draft.delete(member, Teardown::Evacuate, "the operator evacuates the fleet".to_owned());
            }
        }
    }
}

/// Sheds what is over the limits in force, and what would empty an account.
pub(super) fn limits(draft: &mut Draft<'_>) {
    let situation = draft.situation;
    for (name, state) in &situation.fleets {
        let limit = state.policy.max_hourly_rate;
        let over = |draft: &Draft<'_>| staying_rate(draft, state).minus(limit);
        shed(
            draft,
            state,
            Teardown::RateLimit,
            |_| true,
            over,
            |over| format!("{name} is {over}/h over its limit of {limit}/h"),
        );
    }
    let order: Vec<&FleetName> =
        situation.order().into_iter().filter(|name| gives_way(situation, name)).rev().collect();
    if let Some(limit) = situation.limits.max_hourly_rate {
        let over = |draft: &Draft<'_>| staying_global_rate(draft).minus(limit);
        for name in &order {
            shed(
                draft,
                &situation.fleets[*name],
                Teardown::GlobalRateLimit,
                |_| true,
                over,
                |over| format!("all fleets are {over}/h over their limit of {limit}/h"),
            );
        }
    }
    for account in situation.accounts.keys() {
        for name in &order {
            run_low(draft, account, &situation.fleets[*name]);
            over_budget(draft, account, &situation.fleets[*name]);
        }
    }
}

/// Whether a fleet's VMs may go for the sake of all: one that only watches keeps them, where others act.
fn gives_way(situation: &Situation, name: &FleetName) -> bool {
    let acts = |state: &FleetState| !situation.is_observing(state);
    situation.fleets.get(name).is_some_and(acts) || !situation.fleets.values().any(acts)
}

/// What a fleet's members cost that stay.
pub(super) fn staying_rate(draft: &Draft<'_>, state: &FleetState) -> HourlyRate {
    state.fleet.members.values().filter(|member| !draft.is_going(member)).map(Member::committed).sum()
}

/// What all fleets' members cost that stay.
pub(super) fn staying_global_rate(draft: &Draft<'_>) -> HourlyRate {
    let fleets: HourlyRate = draft.situation.fleets.values().map(|state| staying_rate(draft, state)).sum();
    fleets.plus(draft.situation.orphaned_staying.values().copied().sum())
}

/// With `when_low = "hold"`: sheds only while the account would be empty within `min_runway`.
fn run_low(draft: &mut Draft<'_>, account: &AccountName, state: &FleetState) {
    match state.policy.when_low {
        WhenLow::Hold => {}
        WhenLow::Never => return,
    }
    let situation = draft.situation;
    let Some((left, read_at)) = situation.account_left(account) else { return };
    if elapsed(read_at, situation.now) > BALANCE_AGE_MAX {
        return;
    }
    let span = state.policy.min_runway;
    let over = |draft: &Draft<'_>| uncovered(draft, account, left, span);
    shed(
        draft,
        state,
        Teardown::BalanceFloor,
        |member| member.account == *account,
        over,
        |cost| format!("{account} has {left} left and costs {cost}/h: empty within {}", show(span)),
    );
}

/// What an account costs with what stays, where so much does not cover it for so long; else nothing.
fn uncovered(draft: &Draft<'_>, account: &AccountName, left: Usd, span: Duration) -> HourlyRate {
    let situation = draft.situation;
    let others = situation.accounts.get(account).map(|state| state.foreign).unwrap_or_default();
    let orphaned = situation.orphaned_staying.get(account).copied().unwrap_or_default();
    let members = situation.fleets.values().flat_map(|state| state.fleet.members.values());
    let ours: HourlyRate =
        members.filter(|member| member.account == *account && !draft.is_going(member)).map(Member::committed).sum();
    let cost = ours.plus(others).plus(orphaned);
    if left < cost.cost(span) { cost } else { HourlyRate::ZERO }
}

/// A budget is not exceeded, whatever `when_low` says: what it does not cover for its span goes, on a list that is not
/// complete too, for what is spent is counted by ourselves.
fn over_budget(draft: &mut Draft<'_>, account: &AccountName, state: &FleetState) {
    for budget in draft.situation.budgets(account).into_iter().filter(|_| Guard::BudgetShed.is_kept()) {
        let span = budget.shed_span(state.policy.min_runway);
        shed(
            draft,
            state,
            Teardown::Budget,
            |member| member.account == *account,
            |draft| uncovered(draft, account, budget.left(), span),
            |cost| format!("{account} has {budget}, and costs {cost}/h: used up within {}", show(span)),
        );
    }
}

/// Lets members go, in order, until nothing is over.
fn shed(
    draft: &mut Draft<'_>,
    state: &FleetState,
    reason: Teardown,
    concerns: impl Fn(&Member) -> bool,
    over: impl Fn(&Draft<'_>) -> HourlyRate,
    why: impl Fn(HourlyRate) -> String,
) {
    for member in victims(draft.situation, state, true) {
        let excess = over(draft);
        if excess.is_zero() {
            return;
        }
        let incomplete = reason == Teardown::BalanceFloor && !draft.is_list_complete(member);
        if concerns(member) && !member.committed().is_zero() && !incomplete {
            draft.delete(member, reason, why(excess));
        }
    }
}

/// Members in the order in which they go.
fn victims<'s>(situation: &Situation, state: &'s FleetState, for_money: bool) -> Vec<&'s Member> {
    let mut members: Vec<&Member> = state.fleet.members.values().collect();
    members.sort_by_cached_key(|member| {
        let class = match member.standing {
            Standing::Lost => 0,
            Standing::Outbid => 1,
            Standing::Pending
            | Standing::InDoubt
            | Standing::StoppedKept
            | Standing::StoppedReleased
            | Standing::Leaving => 2,
            Standing::Running => 3,
        };
        let dearest = if for_money { standing_score(situation, state, member).1 } else { 0 };
        (class, Reverse(dearest), Reverse(member.intended_at), Reverse(member.name.clone()))
    });
    members
}

/// Lets go what is over the target, if the last scale-down is long enough ago.
pub(super) fn target(draft: &mut Draft<'_>) {
    let situation = draft.situation;
    for (name, state) in &situation.fleets {
        let target = match state.order {
            Order::Hold(target) => target,
            Order::Evacuate | Order::Pause(_) => continue,
        };
        let surplus = surplus(draft, state, target);
        if surplus == 0 {
            continue;
        }
        let cooldown = state.policy.disruption.cooldown_down;
        let again_at = state.scaled_down_at.map(|at| after(at, cooldown));
        if let Some(again_at) = again_at.filter(|again_at| *again_at > situation.now) {
            let wait = show(elapsed(situation.now, again_at));
            let detail = format!("over the target by {surplus}; the next scale-down is in {wait}");
            draft.blocked(name, surplus, Short::new(Blocked::Cooldown, detail));
            continue;
        }
        shrink_to(draft, state, target);
    }
}

/// GPUs over the target; a replacement beside what it replaces is not.
pub(super) fn surplus(draft: &Draft<'_>, state: &FleetState, target: u32) -> u32 {
    let staying = |member: &&Member| !draft.is_going(member);
    let counted: u32 = state.fleet.members.values().filter(staying).map(Member::counted_gpus).sum();
    let overlap: u32 = state
        .fleet
        .members
        .values()
        .filter(staying)
        .filter_map(|member| {
            let replaced = state.fleet.members.get(member.replaces.as_ref()?).filter(staying)?;
            Some(member.counted_gpus().min(replaced.counted_gpus()))
        })
        .sum();
    counted.saturating_sub(overlap).saturating_sub(target)
}

fn shrink_to(draft: &mut Draft<'_>, state: &FleetState, target: u32) {
    let situation = draft.situation;
    let unavailable = state.policy.disruption.max_unavailable.of(target);
    let base = base_gpus(state, target);
    // First without touching what is always on demand, then whatever it takes.
    for keep_base in [true, false] {
        for member in victims(situation, state, false) {
            let over = surplus(draft, state, target);
            if over == 0 {
                return;
            }
            let gpus = member.counted_gpus();
            let serving = running(draft, state);
            let lowers = member.standing == Standing::Running;
            let stays_up = !lowers || serving.saturating_sub(gpus) >= target.saturating_sub(unavailable);
            if !Guard::Protected.holds(!member.protected)
                || gpus == 0
                || gpus > over
                || draft.is_going(member)
                || !draft.is_list_complete(member)
                || (keep_base && is_base(draft, state, member, base))
                || !Guard::MaxUnavailable.holds(stays_up)
            {
                continue;
            }
            draft.release(state, member, format!("over the target of {target} GPUs by {over}"));
        }
    }
}

fn running(draft: &Draft<'_>, state: &FleetState) -> u32 {
    let members = state.fleet.members.values();
    members
        .filter(|member| member.standing == Standing::Running && !draft.is_going(member))
        .map(Member::counted_gpus)
        .sum()
}

/// GPUs of the target that are always on demand.
pub(super) fn base_gpus(state: &FleetState, target: u32) -> u32 {
    use crate::policy::terms::OnDemandUse;
    match state.policy.on_demand.usage {
        OnDemandUse::Never => 0,
        OnDemandUse::Fallback | OnDemandUse::Always => state.policy.on_demand.base_gpus.min(target),
    }
}

/// Whether a member is needed for those.
fn is_base(draft: &Draft<'_>, state: &FleetState, member: &Member, base: u32) -> bool {
    use crate::model::PriceType;
    let on_demand: u32 = state
        .fleet
        .members
        .values()
        .filter(|member| member.price_type == PriceType::OnDemand && !draft.is_going(member))
        .map(Member::counted_gpus)
        .sum();
    member.price_type == PriceType::OnDemand && on_demand.saturating_sub(member.counted_gpus()) < base
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{time::before, wish::Ability},
        plan::testkit::*,
        plan::*,
        policy::terms::*,
    };

    #[track_caller]
    fn check(members: &str, setup: impl for<'t> FnOnce(&'t mut Town) -> &'t mut Town, expected: &str) {
        let mut town = town(members);
        let gpus = town.state().fleet.counted_gpus();
        town.target(gpus);
        setup(&mut town);
        let plan = plan(&town.situation);
        assert_eq!(crate::plan::verify::verify(&town.situation, &plan), vec![]);
        let said = town.said();
        let downs: Vec<_> = said.split("; ").filter(|phrase| !phrase.starts_with("ask")).collect();
        assert_eq!(downs.join("; "), expected);
    }

    #[test]
    fn victims_are_lost_then_outbid_then_not_ready_then_the_youngest() {
        let four = "a lost a 1   b outbid a 1   c pending a 1   d running a 1 age=99   e running a 1 age=9";
        check(four, |town| town.target(4), "delete a target");
        check(four, |town| town.target(3), "delete a target; delete b target");
        check(four, |town| town.target(2), "delete a target; delete b target; delete c target");
        check(four, |town| town.target(1), "delete a target; delete b target; delete c target; delete e target");
    }

    #[test]
    fn a_protected_vm_goes_only_for_money() {
        check("a running a 1 age=99   b running a 1 age=9 protected", |town| town.target(1), "delete a target");
        check(
            "a running a 1   b running a 1 rate=0.60 protected",
            |town| town.policy(|terms| terms.max_hourly_rate = rate("1.00")),
            "delete b rate_limit",
        );
    }

    #[test]
    fn a_limit_in_force_sheds_the_dearest_per_delivered_gpu_hour() {
        let two = "a running a 2 rate=1.00   b running b 1 rate=0.60";
        // 1.61/h in all.
        check(two, |town| town.policy(|terms| terms.max_hourly_rate = rate("1.61")), "");
        check(two, |town| town.policy(|terms| terms.max_hourly_rate = rate("1.609999")), "delete b rate_limit");
        check(
            two,
            |town| {
                town.state().order = Order::Pause(3);
                town.policy(|terms| terms.max_hourly_rate = rate("1.00"))
            },
            "delete b rate_limit; delete a rate_limit",
        );
    }

    #[test]
    fn the_limit_over_all_sheds_the_lowest_priority() {
        check(
            "a running a 1",
            |town| {
                town.second("g", 1, |_| {}).members_of("g", "z running a 1 rate=0.40");
                town.situation.limits.max_hourly_rate = Some(rate("0.90"));
                town
            },
            "delete z global_rate_limit",
        );
    }

    #[test]
    fn strays_never_cost_one_of_ours_its_place() {
        check("a running a 1", |town| town.stray("spotscale-f-x-1", 3, "0.40"), "");
        check(
            "a running a 1",
            |town| town.stray("spotscale-f-x-1", 3, "0.40").policy(|terms| terms.max_hourly_rate = rate("0.505")),
            "",
        );
    }

    #[test]
    fn of_a_fleet_without_a_policy_only_its_vms_cost_one_of_ours_its_place() {
        let orphaned = |edit: fn(&mut Town), staying: &'static str, expected: &str| {
            check(
                "a running a 1",
                |town| {
                    edit(town);
                    town.situation.orphaned.insert("acc".parse().unwrap(), rate("9"));
                    town.situation.orphaned_staying.insert("acc".parse().unwrap(), rate(staying));
                    town
                },
                expected,
            );
        };
        let limit = |town: &mut Town| town.situation.limits.max_hourly_rate = Some(rate("1.00"));
        orphaned(limit, "0.495", "");
        orphaned(limit, "0.495001", "delete a global_rate_limit");
        let low = |town: &mut Town| {
            town.balance("1.00");
        };
        orphaned(low, "0.495", "");
        orphaned(low, "0.495001", "delete a balance_floor");
    }

    #[test]
    fn at_the_floor_nothing_goes_until_the_account_would_be_empty() {
        let low = |balance: &'static str, expected: &str| {
            check("a running a 1 rate=0.995   b running a 1 rate=0.495", |town| town.balance(balance), expected);
        };
        // 1.50/h for an hour.
        low("9", "");
        low("1.50", "");
        low("1.499999", "delete a balance_floor");
        check("a running a 1", |town| town.policy(|terms| terms.when_low = WhenLow::Never).balance("0.1"), "");
        check("a running a 1", |town| town.balance_read("0.1", 301), "");
    }

    #[test]
    fn an_incomplete_list_shrinks_nothing() {
        let partial = |town: &mut Town| town.market().list_complete = false;
        check(
            "a running a 1   b running a 1",
            |town| {
                partial(town);
                town.target(1)
            },
            "",
        );
        check(
            "a running a 1",
            |town| {
                partial(town);
                town.balance("0.1")
            },
            "",
        );
    }

    #[test]
    fn a_vm_larger_than_the_surplus_stays() {
        check("a running a 2 age=9   b running a 1 age=99", |town| town.target(2), "delete b target");
        check("a running a 2", |town| town.target(1), "");
    }

    #[test]
    fn scale_downs_keep_their_distance() {
        let cooling = |age_s: u64, expected: &str| {
            check(
                "a running a 1   b running a 1",
                |town| {
                    let at = before(town.situation.now, seconds(age_s));
                    town.state().scaled_down_at = Some(at);
                    town.target(1)
                },
                expected,
            );
        };
        cooling(299, "");
        cooling(300, "delete b target");
    }

    #[test]
    fn what_serves_stays_while_too_much_is_unavailable() {
        // Two of four that run: the target of 3 may lack one (25 % rounded up), and lacks one already.
        check("a running a 2   b running a 1   c in_doubt a 1", |town| town.target(3), "delete b target");
        check("a running a 2   b in_doubt a 2", |town| town.target(2), "");
    }

    #[test]
    fn evacuation_takes_all_and_stops_at_nothing() {
        check(
            "a running a 1 protected   b stopped_released a 1   c leaving a 1 deleted=9   d in_doubt a 1",
            |town| {
                town.state().order = Order::Evacuate;
                town.market().list_complete = false;
                town
            },
            "delete a evacuate; delete b evacuate",
        );
    }

    #[test]
    fn a_paused_fleet_keeps_what_it_has() {
        check(
            "a running a 1   b outbid a 1   c lost a 1 age=9999",
            |town| {
                town.state().order = Order::Pause(0);
                town
            },
            "",
        );
    }

    #[test]
    fn a_fleet_may_shrink_by_stopping() {
        check(
            "a running a 1 age=9   b running a 1 age=99   c pending a 1",
            |town| town.policy(|terms| terms.instance.scale_down = ScaleDown::Stop).target(1),
            "delete c target; stop a",
        );
    }

    #[test]
    fn where_nothing_can_be_stopped_it_is_deleted() {
        check(
            "a running a 1 age=9   b running a 1 age=99",
            |town| {
                town.market().ability = Ability::new("test", |wish| wish.stop.map(|_| "no".to_owned()));
                town.policy(|terms| terms.instance.scale_down = ScaleDown::Stop).target(1)
            },
            "delete a target",
        );
    }

    #[test]
    fn the_base_on_demand_goes_last() {
        check(
            "a running a 1 od age=9   b running a 1 age=99",
            |town| {
                town.policy(|terms| {
                    terms.on_demand.usage = OnDemandUse::Fallback;
                    terms.on_demand.base_gpus = 1;
                    terms.target_gpus = 1;
                })
            },
            "delete b target",
        );
    }
}
