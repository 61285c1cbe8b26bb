//! The checker's own sums of money: rates under their limits, and what an account can pay, by its balance and by its budgets.

use super::{Check, Invariant};
use crate::{
    ledger::{Period, Standing},
    model::{AccountName, FleetName, HourlyRate, Usd, time::elapsed},
    settings::{AccountLimits, BalanceRule},
};
use std::time::Duration;

/// The age up to which a balance may start anything. Source: CONTRACT, "Floor".
const BALANCE_AGE_S_MAX: u64 = 300;
/// The least time that the account must last above its floor. Source: CONTRACT, "Floor".
const RUNWAY_S_MIN: u64 = 3_600;

/// For no shorter time than this a budget must cover what is not shed.
const SHED_S_MIN: u64 = 600;

impl Check<'_> {
    /// That `rate` more fits under every limit on money; then counts it.
    pub(super) fn pay(&mut self, fleet: &FleetName, account: &AccountName, gpus: u64, rate: HourlyRate) {
        let situation = self.situation;
        let Some(state) = situation.fleets.get(fleet) else { return };
        self.count(fleet, account, gpus, rate);
        if !rate.is_zero() {
            let committed = self.rates.get(fleet).copied().unwrap_or_default();
            let held = state.held.iter().map(|held| held.max_hourly_rate);
            let limit = held.fold(state.policy.max_hourly_rate, Ord::min);
            self.demand(committed <= limit, Invariant::FleetRate, || {
                format!("{fleet} would commit {committed}/h of {limit}/h")
            });
            let orphaned: HourlyRate = situation.orphaned.values().copied().sum();
            let all = self.rates.values().copied().sum::<HourlyRate>().plus(orphaned);
            let held = situation.limits_held.as_ref().and_then(|limits| limits.max_hourly_rate);
            for limit in situation.limits.max_hourly_rate.into_iter().chain(held) {
                self.demand(all <= limit, Invariant::GlobalRate, || {
                    format!("all fleets would commit {all}/h of {limit}/h")
                });
            }
        }
        self.floor(fleet, account);
    }

    /// (balance − burn since it was read − floor) covers the account's whole hourly cost for the greater of `min_runway`
    /// and one hour; so does what is left of each of its budgets, which stands in for a balance that need not be readable.
    fn floor(&mut self, fleet: &FleetName, account: &AccountName) {
        let situation = self.situation;
        let Some(state) = situation.fleets.get(fleet) else { return };
        let Some(paying) = situation.accounts.get(account) else {
            return self.broken(Invariant::Floor, format!("account {account} is not known"));
        };
        let orphaned = situation.orphaned.get(account).copied().unwrap_or_default();
        let ours = self.accounts.get(account).copied().unwrap_or_default();
        let cost = ours.plus(orphaned).plus(paying.foreign);
        let held = state.held.iter().map(|held| held.min_runway);
        let span = held.fold(state.policy.min_runway, Ord::max).max(Duration::from_secs(RUNWAY_S_MIN));
        let needed = cost.cost(span);
        let texts = || situation.limits_held.iter().chain([&situation.limits]).map(|limits| limits.account(account));
        for (period, most) in texts().flat_map(budgets) {
            let left = most.minus(self.spent(account, period));
            self.demand(left >= needed, Invariant::Budget, || {
                format!("{account} has {left} left of {most} a {period}, and {needed} are needed")
            });
        }
        let age_max = Duration::from_secs(BALANCE_AGE_S_MAX);
        let fresh = |at| elapsed(at, situation.now) <= age_max;
        let Some(balance) = paying.balance.as_ref().filter(|balance| fresh(balance.at)) else {
            let is_ok = |limits: AccountLimits| {
                limits.balance == BalanceRule::UnreadableOk && limits.max_spend_per_day.is_some()
            };
            return self.demand(texts().all(is_ok), Invariant::Floor, || {
                format!("the balance of {account} is not known, or too old")
            });
        };
        // What burnt was there before this plan: taking the plan's cost for it errs on the side of spending less, by less
        // than the age of a balance allows, so the planner's own sum is used: the cost before any action.
        let burnt = situation.account_cost(account).cost(elapsed(balance.at, situation.now));
        let in_force = state.policy.balance_floor.max(situation.limits.balance_floor);
        let by_policy = state.held.iter().map(|held| held.balance_floor);
        let by_limits = situation.limits_held.iter().map(|held| held.balance_floor);
        let floor = by_policy.chain(by_limits).fold(in_force, Ord::max);
        let above = balance.value.amount.minus(burnt).minus(floor);
        self.demand(!above.is_negative() && above >= needed, Invariant::Floor, || {
            format!("{account} has {above} above its floor of {floor}, and {needed} are needed")
        });
    }

    /// What an account spent of the present day or month: as counted, what burns since, and what is in doubt from its
    /// beginning, which is counted only once it is found.
    fn spent(&self, account: &AccountName, period: Period) -> Usd {
        let situation = self.situation;
        let counted = situation.accounts.get(account).map(|paying| paying.spent).unwrap_or_default();
        let began = period.began(situation.now);
        let until = counted.until.map_or(situation.now, |until| until.max(began));
        let mut spent = counted.within(period);
        spent = spent.plus(situation.account_cost(account).cost(elapsed(until, situation.now)));
        for state in situation.fleets.values() {
            let members = state.fleet.members.values().filter(|member| member.account == *account);
            for member in members.filter(|member| member.standing == Standing::InDoubt) {
                spent = spent.plus(member.committed().cost(elapsed(member.intended_at.max(began), until)));
            }
            for reserved in state.fleet.reserved.iter().filter(|reserved| reserved.account == *account) {
                spent = spent.plus(reserved.rate.cost(elapsed(reserved.intended_at.max(began), until)));
            }
        }
        spent
    }

    /// Whether one of an account's budgets would be used up within a runway, and before it is new.
    pub(super) fn is_used_up(&self, account: &AccountName, min_runway: Duration) -> bool {
        let situation = self.situation;
        let cost = situation.account_cost(account);
        budgets(situation.limits.account(account)).any(|(period, most)| {
            let until_new = elapsed(situation.now, period.ends(situation.now));
            let span = min_runway.max(Duration::from_secs(SHED_S_MIN)).min(until_new);
            most.minus(self.spent(account, period)) < cost.cost(span)
        })
    }
}

/// The budgets of an account.
fn budgets(limits: AccountLimits) -> impl Iterator<Item = (Period, Usd)> {
    let day = limits.max_spend_per_day.map(|most| (Period::Day, most));
    day.into_iter().chain(limits.max_spend_per_month.map(|most| (Period::Month, most)))
}
