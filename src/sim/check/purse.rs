//! Whether what went for money's sake went because money was short, by what VMs truly cost and accounts truly hold.
//!
//! A balance that is misread as nothing would empty a fleet, and every other check would let it: money may take anybody. What
//! may be held against a fleet beyond what is there is what is in doubt or not proven gone, at the daemon's own word: that it
//! does not remember forever what is gone, the calm at a run's end shows.

use super::{Found, Promise, Seen, fleet_of, rate};
use crate::{
    ledger::Member,
    model::{AccountName, HourlyRate, InstanceId, Timestamp, Usd, VmName, reason::Teardown, time},
    plan::{FleetState, Situation},
    sim::{Ended, Origin, Vm},
};
use std::{collections::BTreeMap, time::Duration};

/// What accounts were given.
#[derive(Debug, Default)]
pub(super) struct Purse {
    /// By world: in all, and every gift that a balance may not show yet.
    given: BTreeMap<String, (Usd, Vec<(Timestamp, Usd)>)>,
}

/// What one look may rest on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    /// When the last one was.
    pub since: Timestamp,
    /// A balance may be so old when something is decided by it.
    pub balance_age: Duration,
}

impl Purse {
    /// Looks at all that was let go for money since the last look.
    pub(super) fn look(&mut self, found: &mut Found, seen: &Seen<'_>, sight: Option<Sight>) {
        for one in seen.sighted {
            let (given, gifts) = self.given.entry(one.world.clone()).or_insert((one.truth.opening_balance, Vec::new()));
            let gift = one.truth.opening_balance.minus(*given);
            if gift > Usd::ZERO {
                gifts.push((one.truth.at, gift));
            }
            *given = one.truth.opening_balance;
            if let Some(Sight { balance_age, .. }) = sight {
                gifts.retain(|(at, _)| time::elapsed(*at, one.truth.at) <= balance_age);
            }
        }
        let (Some(situation), Some(sight)) = (&seen.status.situation, sight) else { return };
        let here = |(decided, ..): &(&super::paper::Decided, &VmName, Option<&InstanceId>, Teardown)| {
            seen.paper.is_of_the_living(decided) && seen.paper.is_under_todays_law(decided)
        };
        for (_, name, _, reason) in seen.paper.let_go().filter(here) {
            let Some(state) = seen.paper.intent(name).and_then(|intent| situation.fleets.get(&intent.fleet)) else {
                continue;
            };
            match reason {
                Teardown::RateLimit => {
                    let (cost, limit) =
                        (at_most(seen, sight, |vm| of_fleet(seen, state, vm), &[state]), state.policy.max_hourly_rate);
                    found.unless(cost > limit, Promise::Short, || {
                        format!("{name} went for its fleet's rate, and that is at most {cost}/h of {limit}/h")
                    });
                }
                Teardown::GlobalRateLimit => {
                    let states: Vec<&FleetState> = situation.fleets.values().collect();
                    let cost = at_most(seen, sight, |vm| fleet_of(seen.status, vm).is_some(), &states);
                    let limit = situation.limits.max_hourly_rate.unwrap_or(HourlyRate::from_micros(u64::MAX));
                    found.unless(cost > limit, Promise::Short, || {
                        format!("{name} went for all fleets' rate, and that is at most {cost}/h of {limit}/h")
                    });
                }
                Teardown::BalanceFloor => {
                    if let Some(account) = seen.paper.intent(name).map(|intent| &intent.account) {
                        self.is_poor(found, seen, situation, sight, (name, account, state));
                    }
                }
                Teardown::Target
                | Teardown::Outbid
                | Teardown::Lost
                | Teardown::Replaced
                | Teardown::StoppedTooLong
                | Teardown::Overbilled
                | Teardown::Late
                | Teardown::Budget
                | Teardown::Evacuate
                | Teardown::Operator => {}
            }
        }
    }

    /// The account would be empty within the runway: by the least that any balance can have shown that was decided by.
    fn is_poor(
        &self,
        found: &mut Found,
        seen: &Seen<'_>,
        situation: &Situation,
        sight: Sight,
        (name, account, state): (&VmName, &AccountName, &FleetState),
    ) {
        let span = state.policy.min_runway.saturating_add(sight.balance_age);
        let states: Vec<&FleetState> = situation.fleets.values().collect();
        for one in seen.sighted.iter().filter(|one| one.account.as_ref() == Some(account)) {
            let ids = |vm: &Vm| one.truth.vms.iter().any(|other| other.id == vm.id && other.name == vm.name);
            let cost = at_most(seen, sight, ids, &states);
            let gifts = self.given.get(&one.world).map(|(_, gifts)| gifts.iter().map(|(_, gift)| *gift));
            let gifts = gifts.into_iter().flatten().fold(Usd::ZERO, Usd::plus);
            let least = one.truth.balance.minus(gifts);
            found.unless(least <= cost.cost(span), Promise::Short, || {
                format!("{name} went for {account}'s balance, which was at least {least} for at most {cost}/h")
            });
        }
    }
}

fn of_fleet(seen: &Seen<'_>, state: &FleetState, vm: &Vm) -> bool {
    fleet_of(seen.status, vm) == Some(state.policy.fleet.as_str())
}

/// The most that could be counted at the last look or since: all that was there, at what was agreed or is billed, and what else
/// is remembered.
fn at_most(seen: &Seen<'_>, sight: Sight, concerns: impl Fn(&Vm) -> bool, states: &[&FleetState]) -> HourlyRate {
    let was_there = |vm: &&Vm| {
        vm.ended.is_none_or(|(at, how)| at > sight.since.as_millisecond() && how != Ended::Left)
            && (vm.origin != Origin::Foreign || vm.ended.is_none())
    };
    let members = || states.iter().flat_map(|state| state.fleet.members.values());
    let doubtful = |name: &VmName| {
        members()
            .find(|member| member.name == *name && member.write_in_doubt)
            .map(Member::committed)
            .unwrap_or_default()
    };
    let there: Vec<&Vm> = super::all_vms(seen.sighted).filter(was_there).filter(|vm| concerns(vm)).collect();
    let cost: HourlyRate = there.iter().map(|vm| rate(vm).max(vm.asked().total()).max(doubtful(&vm.name))).sum();
    let is_unseen = |member: &&Member| !there.iter().any(|vm| vm.name == member.name);
    cost.plus(members().filter(is_unseen).map(Member::committed).sum())
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{decided, settled},
        *,
    };
    use crate::{
        model::FleetName,
        policy::{Policy, Terms},
    };
    use std::collections::BTreeSet;

    /// What is found where a VM of `train` goes for this reason while it is so.
    async fn found(reason: Teardown, so: impl Fn(&mut Situation, &mut super::super::Sighted)) -> Vec<Promise> {
        let stage = settled().await;
        let (mut status, mut sighted, none) = ((*stage.status()).clone(), stage.sighted(), BTreeSet::new());
        let vm = super::super::alive(&sighted).find(|vm| fleet_of(&status, vm) == Some("train")).unwrap().clone();
        let paper = decided(&stage, &[(&vm, reason)]);
        let its = sighted.iter_mut().find(|one| one.truth.vms.iter().any(|other| other.id == vm.id)).unwrap();
        so(status.situation.as_mut().unwrap(), its);
        let seen = Seen { status: &status, sighted: &sighted, out_of_sight: &none, paper: &paper };
        let since = seen.sighted.iter().map(|one| one.truth.at).max().unwrap();
        let mut found = Found::default();
        Purse::default().look(&mut found, &seen, Some(Sight { since, balance_age: super::super::BALANCE_AGE_MAX }));
        found.0.into_iter().map(|breach| breach.promise).collect()
    }

    fn little() -> HourlyRate {
        HourlyRate::from_micros(1_000)
    }

    #[tokio::test]
    async fn what_goes_for_money_that_is_not_short_is_found_out_and_what_goes_for_what_is_short_is_not() {
        let short = |reason| async move { found(reason, |_, _| {}).await };
        for reason in [Teardown::RateLimit, Teardown::GlobalRateLimit, Teardown::BalanceFloor] {
            assert_eq!(short(reason).await, [Promise::Short], "{reason}");
        }
        assert_eq!(short(Teardown::Target).await, [], "not for money");
        let low = |situation: &mut Situation, _: &mut super::super::Sighted| {
            let train: FleetName = "train".parse().unwrap();
            let state = situation.fleets.get_mut(&train).unwrap();
            let mut terms = Terms::clone(&state.policy);
            terms.max_hourly_rate = little();
            state.policy = Policy::vouched(terms);
        };
        assert_eq!(found(Teardown::RateLimit, low).await, []);
        let low = |situation: &mut Situation, _: &mut super::super::Sighted| {
            situation.limits.max_hourly_rate = Some(little());
        };
        assert_eq!(found(Teardown::GlobalRateLimit, low).await, []);
        let poor = |_: &mut Situation, one: &mut super::super::Sighted| one.truth.balance = Usd::ZERO;
        assert_eq!(found(Teardown::BalanceFloor, poor).await, []);
    }
}
