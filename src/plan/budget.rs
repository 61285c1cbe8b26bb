//! What is left of the budgets of an account: our own accrual against `[accounts.…] max_spend_per_day` and `_per_month`.
//!
//! A budget binds whether or not the account's balance can be read, and where it cannot, and the account is declared
//! `unreadable-ok`, it stands in for the balance. Floors do not apply to it: a floor keeps money in a wallet from which
//! others pay as well and which must never run dry; of a budget nobody else takes, nothing is lost when it is used up, and
//! at midnight it is new.
//!
//! Two spans keep it from being exceeded. All that the account costs, what is in doubt at the most it can come to, must be
//! covered for [`Budget::shed_span`], or VMs go, whatever `when_low` says; and a start must leave it covered for the
//! greater of `min_runway` and an hour beyond that. So nothing is started that would be shed at once.

use super::{Situation, headroom::Text};
use crate::{
    ledger::{Period, Standing},
    model::{
        AccountName, Timestamp, Usd,
        time::{elapsed, show},
    },
    settings::{AccountLimits, BalanceRule},
};
use std::{fmt, time::Duration};

/// A budget is shed for at least this long before it is used up: a delete takes several looks to be sent, answered and
/// proven, and each of them may fail.
const SHED_SPAN_MIN: Duration = Duration::from_secs(600);

/// One budget of an account, as far as it is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// What it is for.
    pub period: Period,
    /// All of it.
    pub most: Usd,
    /// Spent of it by now, at most: as counted, what burnt since, and what deploys in doubt may have cost.
    pub spent: Usd,
    /// How long until it is new.
    pub renews_in: Duration,
}

impl Budget {
    /// What is left; below zero when it was exceeded.
    pub fn left(&self) -> Usd {
        self.most.minus(self.spent)
    }

    /// For so long it must cover what the account costs, or VMs are let go: for a fleet's `min_runway`, but never beyond
    /// the moment at which it is new.
    pub fn shed_span(&self, min_runway: Duration) -> Duration {
        min_runway.max(SHED_SPAN_MIN).min(self.renews_in)
    }
}

/// `3.20 USD left of 20.00 a day`.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { period, most, spent: _, renews_in } = self;
        write!(f, "{} USD left of {most} a {period}, new in {}", self.left(), show(*renews_in))
    }
}

impl Situation {
    /// The budgets in force on an account.
    pub fn budgets(&self, account: &AccountName) -> Vec<Budget> {
        budgets(self.limits.account(account)).map(|(period, most)| self.budget(account, period, most)).collect()
    }

    /// The budgets within which something may be started: where a held edit says less, that.
    pub(super) fn start_budgets(&self, account: &AccountName) -> Vec<(Budget, Text)> {
        let in_force = self.limits.account(account);
        let held = self.limits_held.as_ref().map_or(in_force, |held| held.account(account));
        let start = lower(in_force, held);
        let in_force: Vec<_> = budgets(in_force).collect();
        let text = |budget| Text::held_if(!in_force.contains(&budget));
        let budget = |(period, most)| (self.budget(account, period, most), text((period, most)));
        budgets(start).map(budget).collect()
    }

    /// Whether the day's budget may stand in for a balance that nobody can read.
    pub(super) fn is_unreadable_ok(&self, account: &AccountName) -> bool {
        let held = self.limits_held.iter().map(|held| held.account(account));
        let mut all = held.chain([self.limits.account(account)]);
        all.all(|limits| limits.balance == BalanceRule::UnreadableOk && limits.max_spend_per_day.is_some())
    }

    fn budget(&self, account: &AccountName, period: Period, most: Usd) -> Budget {
        let began = period.began(self.now);
        let counted = self.accounts.get(account).map(|state| state.spent).unwrap_or_default();
        let until = counted.until.unwrap_or(self.now).max(began);
        let burnt = self.account_cost(account).cost(elapsed(until, self.now));
        let doubtful = self.cost_in_doubt(account, began, until);
        let spent = counted.within(period).plus(burnt).plus(doubtful);
        Budget { period, most, spent, renews_in: elapsed(self.now, period.ends(self.now)) }
    }

    /// What deploys that were not answered, or were given up, may have cost between two moments: counted only once they are
    /// found.
    fn cost_in_doubt(&self, account: &AccountName, began: Timestamp, until: Timestamp) -> Usd {
        let fleets = || self.fleets.values().map(|state| &state.fleet);
        let members = fleets().flat_map(|fleet| fleet.members.values());
        let in_doubt = members
            .filter(|member| member.account == *account && member.standing == Standing::InDoubt)
            .map(|member| (member.committed(), member.intended_at));
        let reserved = fleets()
            .flat_map(|fleet| &fleet.reserved)
            .filter(|reserved| reserved.account == *account)
            .map(|reserved| (reserved.rate, reserved.intended_at));
        let cost = |(rate, since): (crate::model::HourlyRate, Timestamp)| rate.cost(elapsed(since.max(began), until));
        in_doubt.chain(reserved).map(cost).fold(Usd::ZERO, Usd::plus)
    }
}

fn budgets(limits: AccountLimits) -> impl Iterator<Item = (Period, Usd)> {
    let AccountLimits { balance: _, max_spend_per_day, max_spend_per_month } = limits;
    let day = max_spend_per_day.map(|most| (Period::Day, most));
    day.into_iter().chain(max_spend_per_month.map(|most| (Period::Month, most)))
}

/// The lower of both texts' budgets.
fn lower(old: AccountLimits, new: AccountLimits) -> AccountLimits {
    let least = |old: Option<Usd>, new: Option<Usd>| old.into_iter().chain(new).min();
    AccountLimits {
        balance: old.balance.min(new.balance),
        max_spend_per_day: least(old.max_spend_per_day, new.max_spend_per_day),
        max_spend_per_month: least(old.max_spend_per_month, new.max_spend_per_month),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{HourlyRate, inventory::Dated, time::before},
        plan::{testkit::*, *},
        policy::terms::{OnDemandUse, WhenLow},
    };

    /// A town at noon whose account nobody can read, with this budget a day, of which so much is spent.
    fn unread(members: &str, most: &str, spent: &str) -> Town {
        let mut town = town(members);
        town.at("2026-11-20T12:00:00Z").policy(|terms| terms.on_demand.usage = OnDemandUse::Always);
        town.account().balance = None;
        town.budget(BalanceRule::UnreadableOk, Some(most), None).spent(spent, spent);
        town
    }

    /// What is planned and what blocks.
    #[track_caller]
    fn check(town: &Town, said: &str, blocked: &str) {
        assert_eq!(verify::verify(&town.situation, &plan(&town.situation)), vec![]);
        assert_eq!((town.said().as_str(), town.blocked().as_str()), (said, blocked));
    }

    #[test]
    fn what_is_left_of_the_day_stands_in_for_a_balance_that_nobody_can_read() {
        let rents = |most: &str, spent: &str| {
            let mut town = unread("", most, spent);
            town.hosts("a 1.00 99%");
            town
        };
        // 1.005/h for an hour, and an hour more before anything would be shed.
        check(&rents("20", "17.99"), "deploy ax1 1.00", "");
        check(&rents("20", "17.990001"), "", "1 budget");
        check(&rents("20", "20"), "", "1 budget");
        check(&rents("20", "20.000001"), "", "1 budget");
        let report = plan(&rents("20", "18.50").situation).report;
        let detail = &report.values().next().unwrap().blocked[0].detail;
        assert_eq!(
            detail,
            "acc has 1.50 USD left of 20.00 a day, new in 12h, which pays 0.75/h for 2h; 0.00/h are taken; 1.005/h more \
             would not fit"
        );
    }

    #[test]
    fn without_a_balance_and_undeclared_nothing_is_rented_and_the_remedy_is_told() {
        let mut town = unread("", "20", "0");
        town.hosts("a 1.00 99%").budget(BalanceRule::Required, Some("20"), None);
        check(&town, "", "1 balance_unknown");
        let report = plan(&town.situation).report;
        let detail = &report.values().next().unwrap().blocked[0].detail;
        assert!(detail.contains("balance = \"unreadable-ok\" with a max_spend_per_day"), "{detail}");
        town.budget(BalanceRule::UnreadableOk, None, Some("20"));
        check(&town, "", "1 balance_unknown");
    }

    #[test]
    fn a_floor_is_of_a_balance_and_not_of_a_budget() {
        let mut town = unread("", "20", "0");
        town.hosts("a 1.00 99%").policy(|terms| terms.balance_floor = "500".parse().unwrap());
        check(&town, "deploy ax1 1.00", "");
        town.balance("500");
        check(&town, "", "1 balance_floor");
        town.balance_read("500", 301);
        check(&town, "deploy ax1 1.00", "");
    }

    #[test]
    fn a_budget_binds_an_account_whose_balance_can_be_read_too() {
        let mut town = unread("", "20", "19");
        town.hosts("a 1.00 99%").balance("1000").budget(BalanceRule::Required, Some("20"), None);
        check(&town, "", "1 budget");
        town.budget(BalanceRule::Required, Some("21.01"), Some("300")).spent("19", "297.989999");
        check(&town, "deploy ax1 1.00", "");
        town.budget(BalanceRule::Required, Some("21.01"), Some("300")).spent("19", "298");
        check(&town, "", "1 budget");
    }

    #[test]
    fn all_that_the_account_costs_counts_and_what_burns_since_it_was_counted() {
        let mut town = unread("m running a 1 rate=0.995", "20", "13.99");
        town.hosts("b 1.00 99%").target(2);
        // 1.00/h runs, others cost 1.00/h, and 1.005/h more are 3.005/h, for two hours.
        town.account().foreign = "1".parse().unwrap();
        check(&town, "deploy bx1 1.00", "");
        let now = town.situation.now;
        town.account().spent.until = Some(before(now, seconds(3)));
        check(&town, "", "1 budget");
    }

    #[test]
    fn what_is_in_doubt_may_have_cost_since_it_was_meant() {
        let mut town = unread("m in_doubt a 1 rate=0.995", "20", "0");
        town.member("m").intended_at = "2026-11-20T11:00:00Z".parse().unwrap();
        assert_eq!(town.situation.budgets(&town.payer())[0].spent, "1".parse().unwrap());
        // Of another day it is not this day's.
        town.at("2026-11-20T00:30:00Z").spent("0", "0");
        town.member("m").intended_at = "2026-11-19T23:00:00Z".parse().unwrap();
        assert_eq!(town.situation.budgets(&town.payer())[0].spent, "0.5".parse().unwrap());
    }

    #[test]
    fn what_would_use_a_budget_up_is_shed_whatever_when_low_says() {
        let two = "a running a 1 rate=0.995   b running a 1 rate=0.495";
        for when_low in [WhenLow::Hold, WhenLow::Never] {
            let shed = |spent: &str| {
                let mut town = unread(two, "20", spent);
                town.policy(|terms| terms.when_low = when_low).target(2);
                town
            };
            // 1.50/h for an hour.
            check(&shed("18.50"), "", "");
            check(&shed("18.500001"), "delete a budget", "");
            check(&shed("19.500001"), "delete a budget; delete b budget", "");
            let mut partial = shed("18.500001");
            partial.market().list_complete = false;
            check(&partial, "delete a budget", "");
            let mut protected = shed("18.500001");
            protected.member("a").protected = true;
            check(&protected, "delete a budget", "");
        }
    }

    #[test]
    fn nothing_is_shed_for_longer_than_until_the_budget_is_new() {
        let at = |moment: &str, spent: &str, runway_s: u64| {
            let mut town = unread("a running a 1 rate=0.995", "20", spent);
            town.at(moment).spent(spent, spent).policy(|terms| terms.min_runway = seconds(runway_s));
            town
        };
        check(&at("2026-11-20T23:30:00Z", "19.50", 3_600), "", "");
        check(&at("2026-11-20T23:30:00Z", "19.500001", 3_600), "delete a budget", "");
        check(&at("2026-11-20T23:59:59Z", "19.999", 3_600), "", "");
        check(&at("2026-11-21T00:00:00Z", "0", 3_600), "", "");
        // However short a runway is asked for, a delete takes its time.
        check(&at("2026-11-20T12:00:00Z", "19.833333", 1), "", "");
        check(&at("2026-11-20T12:00:00Z", "19.833334", 1), "delete a budget", "");
    }

    #[test]
    fn what_was_shed_is_not_rented_again_before_the_budget_is_new() {
        let mut town = unread("a running a 1 rate=0.995   b running a 1 rate=0.495", "20", "18.60");
        town.hosts("a 1.00 99%   c 0.30 99%").target(2);
        check(&town, "delete a budget", "");
        town.settle();
        assert_eq!((town.rented("f").as_str(), town.blocked().as_str()), ("ax1", "1 budget"));
        town.at("2026-11-21T00:00:00Z").spent("0", "18.60");
        town.settle();
        assert_eq!(town.rented("f"), "ax1, cx1 od");
    }

    #[test]
    fn a_bid_that_is_cut_by_what_shrinks_from_moment_to_moment_is_made_all_the_same() {
        let mut town = unread("", "20", "11.70");
        // 8.30 are left, and pay 4.15/h for two hours; others cost 3.60/h. A margin of 5 % would be above what is left.
        town.hosts("a 1.00 99% least=0.53").policy(|terms| terms.on_demand.usage = OnDemandUse::Never);
        town.account().foreign = "3.60".parse().unwrap();
        let rounds = town.settle();
        assert_eq!(town.rented("f"), "ax1");
        assert!(rounds < 12, "{rounds}");
    }

    #[test]
    fn while_an_edit_is_held_the_lower_budget_binds_what_is_started_and_the_one_in_force_what_runs() {
        let mut town = unread("a running a 1 rate=0.995", "20", "10");
        town.hosts("b 1.00 99%").target(2);
        town.hold_limits(|limits| {
            limits.accounts.values_mut().for_each(|limits| limits.max_spend_per_day = Some("11".parse().unwrap()));
        });
        check(&town, "", "1 held_edit");
        town.hold_limits(|limits| {
            limits.accounts.values_mut().for_each(|limits| limits.max_spend_per_day = Some("30".parse().unwrap()));
        });
        check(&town, "deploy bx1 1.00", "");
    }

    #[test]
    fn the_fleet_of_lowest_priority_gives_way_first() {
        let mut town = unread("a running a 1 rate=0.495", "20", "19.10");
        town.second("g", 50, |_| {}).members_of("g", "z running a 1 rate=0.495");
        assert_eq!(town.said(), "delete z budget");
    }

    #[test]
    fn one_account_without_a_budget_left_keeps_nobody_from_renting_on_anothers_marketplace() {
        let mut town = unread("", "20", "20");
        town.hosts("a 1.00 99%").twin(0, |_| {});
        let at = town.situation.now;
        let balance = crate::model::Balance { amount: "100".parse().unwrap(), hourly_cost: Some(HourlyRate::ZERO) };
        let mut rich = town.account().clone();
        rich.balance = Some(Dated { at, value: balance });
        town.situation.accounts.insert("rich".parse().unwrap(), rich);
        town.situation.markets.get_mut(&"n".parse().unwrap()).unwrap().account = "rich".parse().unwrap();
        let plan = plan(&town.situation);
        assert_eq!(verify::verify(&town.situation, &plan), vec![]);
        assert!(matches!(&plan.actions[..], [Action::Deploy(deploy)] if deploy.marketplace.as_str() == "n"));
    }

    #[test]
    fn the_checker_refuses_what_a_budget_does_not_cover_and_what_is_shed_for_no_reason() {
        let mut town = unread("m running a 1", "20", "10");
        town.hosts("b 1.00 99%").target(2);
        let good = plan(&town.situation);
        assert_eq!(verify::verify(&town.situation, &good), vec![]);
        let found = |town: &Town, plan: &Plan| -> Vec<verify::Invariant> {
            verify::verify(&town.situation, plan).iter().map(|found| found.invariant).collect()
        };
        // 0.505/h and 1.005/h for an hour.
        town.spent("18.49", "18.49");
        assert_eq!(found(&town, &good), []);
        town.spent("18.490001", "18.490001");
        assert_eq!(found(&town, &good), [verify::Invariant::Budget]);
        town.budget(BalanceRule::Required, Some("100"), None);
        assert_eq!(found(&town, &good), [verify::Invariant::Floor]);
        town.budget(BalanceRule::UnreadableOk, Some("18.99"), None);
        let member = town.member("m").clone();
        let shed = Action::Delete {
            subject: draft::subject(&member).unwrap(),
            reason: crate::model::reason::Teardown::Budget,
            why: String::new(),
        };
        let shed = Plan { actions: vec![shed], report: BTreeMap::new() };
        assert_eq!(found(&town, &shed), []);
        town.budget(BalanceRule::UnreadableOk, Some("20"), None);
        assert_eq!(found(&town, &shed), [verify::Invariant::Reason]);
    }
}
