//! How much more may be started: money and GPUs, counted at the most they can come to.
//!
//! Everything here only ever grows while a plan is made: what the plan lets go still counts until a later list proves it
//! gone, and what it starts counts at once, for every fleet of the account. What a fleet of higher priority is still
//! asking for is held back from lower ones.

use super::{Budget, FleetState, Situation};
use crate::{
    ledger::{Fleet, Period},
    model::{AccountName, FleetName, Guard, HourlyRate, Timestamp, Usd, reason::Blocked, time::elapsed, time::show},
};
use std::{collections::BTreeMap, time::Duration};

/// A balance older than this starts nothing. Source: CONTRACT, "Floor".
pub(crate) const BALANCE_AGE_MAX: Duration = Duration::from_secs(300);
/// A start must leave the account at least this much time above the floor. Source: CONTRACT, "Floor".
pub(crate) const RUNWAY_MIN: Duration = Duration::from_secs(3_600);
const MILLIS_PER_HOUR: u128 = 3_600_000;
/// See [`Headroom::room_for_bid`].
const BID_STEP_MICROS: u64 = 10_000;

/// For how long an account lasts at its present cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runway {
    /// Until the floor; `None`: nothing burns.
    pub to_floor: Option<Duration>,
    /// Until it is empty; `None`: nothing burns.
    pub to_zero: Option<Duration>,
}

impl Situation {
    /// What an account costs per hour at most: VMs that are not ours, all of ours, and what is in doubt or reserved; or
    /// what the vendor says, where that is more.
    pub fn account_cost(&self, account: &AccountName) -> HourlyRate {
        let ours: HourlyRate = self
            .fleets
            .values()
            .flat_map(|state| {
                let fleet = &state.fleet;
                let members = fleet.members.values().map(|member| (&member.account, member.committed()));
                let strays = fleet.strays.iter().map(|stray| (&stray.account, stray.rate()));
                let late = fleet.late.iter().map(|late| (&late.account, late.rate));
                let reserved = fleet.reserved.iter().map(|reserved| (&reserved.account, reserved.rate));
                members.chain(strays).chain(late).chain(reserved)
            })
            .filter(|(payer, _)| *payer == account)
            .map(|(_, rate)| rate)
            .sum();
        let orphaned = self.orphaned.get(account).copied().unwrap_or_default();
        let state = self.accounts.get(account);
        let foreign = state.map(|state| state.foreign).unwrap_or_default();
        let told = state.and_then(|state| state.balance.as_ref()).and_then(|balance| balance.value.hourly_cost);
        ours.plus(orphaned).plus(foreign).max(told.unwrap_or_default())
    }

    /// What an account still holds: its newest balance, less what burnt since.
    pub fn account_left(&self, account: &AccountName) -> Option<(Usd, Timestamp)> {
        let balance = self.accounts.get(account)?.balance.as_ref()?;
        let burnt = self.account_cost(account).cost(elapsed(balance.at, self.now));
        Some((balance.value.amount.minus(burnt), balance.at))
    }

    /// For how long an account lasts, to a floor and to zero.
    pub fn runway(&self, account: &AccountName, floor: Usd) -> Option<Runway> {
        let (left, _) = self.account_left(account)?;
        let cost = self.account_cost(account);
        Some(Runway { to_floor: left.minus(floor).lasts(cost), to_zero: left.lasts(cost) })
    }

    /// What counts against `[limits] max_hourly_rate`.
    pub fn global_rate(&self) -> HourlyRate {
        let fleets: HourlyRate = self.fleets.values().map(|state| state.fleet.committed()).sum();
        fleets.plus(self.orphaned.values().copied().sum())
    }
}

/// What a start adds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need<'a> {
    /// Whose.
    pub fleet: &'a FleetName,
    /// Who pays.
    pub account: &'a AccountName,
    /// GPUs counted.
    pub gpus: u32,
    /// On top of what is committed.
    pub rate: HourlyRate,
    /// GPUs beyond the target that it may use.
    pub surge_gpus: u32,
}

/// Which text a limit stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// The one in force.
    InForce,
    /// A held edit, which says less than the one in force.
    Held,
}

/// Why something does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Short {
    /// Which limit binds.
    pub reason: Blocked,
    pub detail: String,
    /// Where it stands: what a held edit says blocks as `held_edit`, whichever limit it is.
    pub text: Text,
}

impl Short {
    /// By what is in force.
    pub fn new(reason: Blocked, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), text: Text::InForce }
    }

    /// By a held edit, where it says less.
    pub fn by(self, text: Text) -> Self {
        Self { text, ..self }
    }

    /// What is told.
    pub const fn blocked(&self) -> Blocked {
        match self.text {
            Text::InForce => self.reason,
            Text::Held => Blocked::HeldEdit,
        }
    }

    /// Whether the limit is over all fleets, so that what one of them takes another lacks.
    pub const fn is_shared(&self) -> bool {
        matches!(self.reason, Blocked::GlobalRateLimit | Blocked::BalanceFloor | Blocked::Runway | Blocked::Budget)
    }
}

impl Text {
    /// Held, if a held edit says less.
    pub const fn held_if(says_less: bool) -> Self {
        if says_less { Self::Held } else { Self::InForce }
    }
}

#[derive(Clone, Debug)]
struct Hold {
    priority: i64,
    account: AccountName,
    rate: HourlyRate,
}

/// Running sums of what is counted, and the limits over them.
#[derive(Clone, Debug)]
pub(super) struct Headroom<'a> {
    situation: &'a Situation,
    gpus: BTreeMap<FleetName, u32>,
    rates: BTreeMap<FleetName, HourlyRate>,
    global: HourlyRate,
    accounts: BTreeMap<AccountName, HourlyRate>,
    held: Vec<Hold>,
}

impl<'a> Headroom<'a> {
    pub fn new(situation: &'a Situation) -> Self {
        let strays = |fleet: &Fleet| if Guard::StraysCounted.is_kept() { fleet.stray_gpus() } else { 0 };
        let gpus = |state: &FleetState| state.fleet.counted_gpus().saturating_add(strays(&state.fleet));
        let accounts = situation.accounts.keys().chain(situation.markets.values().map(|market| &market.account));
        Self {
            situation,
            gpus: situation.fleets.iter().map(|(name, state)| (name.clone(), gpus(state))).collect(),
            rates: situation.fleets.iter().map(|(name, state)| (name.clone(), state.fleet.committed())).collect(),
            global: situation.global_rate(),
            accounts: accounts.map(|account| (account.clone(), situation.account_cost(account))).collect(),
            held: Vec::new(),
        }
    }

    /// GPUs counted of a fleet, strays and what is planned included.
    pub fn gpus(&self, fleet: &FleetName) -> u32 {
        self.gpus.get(fleet).copied().unwrap_or(0)
    }

    /// Counts what a plan starts.
    pub fn take(&mut self, need: Need<'_>) {
        let gpus = self.gpus.entry(need.fleet.clone()).or_default();
        *gpus = gpus.saturating_add(need.gpus);
        for sum in [
            self.rates.entry(need.fleet.clone()).or_default(),
            &mut self.global,
            self.accounts.entry(need.account.clone()).or_default(),
        ] {
            *sum = sum.plus(need.rate);
        }
    }

    /// Keeps money back from fleets of lower priority than this one.
    pub fn hold(&mut self, fleet: &FleetName, account: &AccountName, rate: HourlyRate) {
        if let Some(state) = self.situation.fleets.get(fleet)
            && !rate.is_zero()
        {
            self.held.push(Hold { priority: state.policy.priority, account: account.clone(), rate });
        }
    }

    fn held(&self, above: i64, account: Option<&AccountName>) -> HourlyRate {
        let of = |hold: &&Hold| hold.priority > above && account.is_none_or(|account| hold.account == *account);
        self.held.iter().filter(of).map(|hold| hold.rate).sum()
    }

    /// The most that a fleet may add to an account's hourly cost, and what binds it.
    pub fn room(&self, fleet: &FleetName, account: &AccountName) -> (HourlyRate, Short) {
        let Some(state) = self.situation.fleets.get(fleet) else {
            return (HourlyRate::ZERO, Short::new(Blocked::PolicyInvalid, format!("no fleet {fleet}")));
        };
        let priority = state.policy.priority;
        let committed = self.rates.get(fleet).copied().unwrap_or_default();
        let limit = state.rate_limit();
        let text = Text::held_if(limit < state.policy.max_hourly_rate);
        let by_fleet = Short::new(Blocked::RateLimit, format!("committed {committed}/h of {limit}/h")).by(text);
        let taken = if Guard::FleetCeiling.is_kept() { committed } else { HourlyRate::ZERO };
        let mut least = (limit.minus(taken), by_fleet);
        if let Some(limit) = self.situation.start_rate_limit().filter(|_| Guard::AllFleetsCeiling.is_kept()) {
            let in_force = self.situation.limits.max_hourly_rate;
            let text = Text::held_if(in_force.is_none_or(|in_force| limit < in_force));
            let held = self.held(priority, None);
            let room = limit.minus(self.global).minus(held);
            if room < least.0 {
                let detail =
                    format!("all fleets {}/h and {held}/h held for higher priority, of {limit}/h", self.global);
                least = (room, Short::new(Blocked::GlobalRateLimit, detail).by(text));
            }
        }
        let money = self.account_room(state, account);
        if money.0 < least.0 { money } else { least }
    }

    /// The same for a bid. What burns from moment to moment is rounded down to a cent: a bid goes out if that very bid was
    /// accepted a moment ago, and it would never be the same twice.
    pub fn room_for_bid(&self, fleet: &FleetName, account: &AccountName) -> (HourlyRate, Short) {
        let (room, short) = self.room(fleet, account);
        if matches!(short.reason, Blocked::Runway | Blocked::Budget) {
            return (HourlyRate::from_micros(room.micros() / BID_STEP_MICROS * BID_STEP_MICROS), short);
        }
        (room, short)
    }

    /// The most by which an account's hourly cost may grow.
    fn account_room(&self, state: &FleetState, account: &AccountName) -> (HourlyRate, Short) {
        match self.payable(state, account) {
            Ok((payable, cost, short)) => (payable.minus(cost), short),
            Err(short) => (HourlyRate::ZERO, short),
        }
    }

    /// The hourly cost that the account can pay, by its balance and by its budgets, and the hourly cost that is taken.
    fn payable(&self, state: &FleetState, account: &AccountName) -> Result<(HourlyRate, HourlyRate, Short), Short> {
        let taken = self.accounts.get(account).copied().unwrap_or_default();
        let cost = taken.plus(self.held(state.policy.priority, Some(account)));
        let by_balance = match self.by_balance(state, account, cost) {
            // The budget stands in for it.
            Err(short)
                if short.reason == Blocked::BalanceUnknown
                    && Guard::BalanceRead.holds(self.situation.is_unreadable_ok(account)) =>
            {
                None
            }
            known => Some(known?),
        };
        let by_budgets = self.situation.start_budgets(account);
        let by_budgets = by_budgets
            .iter()
            .filter(|(budget, _)| match budget.period {
                Period::Day => Guard::DayBudget.is_kept(),
                Period::Month => Guard::MonthBudget.is_kept(),
            })
            .map(|(budget, text)| by_budget(state, account, budget, *text, cost));
        let mut least = by_balance;
        for payable in by_budgets {
            let payable = payable?;
            least = Some(least.filter(|least| least.0 <= payable.0).unwrap_or(payable));
        }
        let nothing = || Short::new(Blocked::BalanceUnknown, format!("nothing bounds what {account} may pay"));
        let (payable, short) = least.ok_or_else(nothing)?;
        Ok((payable, cost, short))
    }

    /// The hourly cost that (balance − burn − floor) covers for the greater of `min_runway` and one hour.
    fn by_balance(
        &self,
        state: &FleetState,
        account: &AccountName,
        cost: HourlyRate,
    ) -> Result<(HourlyRate, Short), Short> {
        let unknown = |detail: String| Short::new(Blocked::BalanceUnknown, detail);
        let Some((left, read_at)) = self.situation.account_left(account) else {
            return Err(unknown(format!(
                "the balance of {account} could not be read, and nothing is rented without it, unless [accounts.{account}] \
                 says balance = \"unreadable-ok\" with a max_spend_per_day"
            )));
        };
        let age = elapsed(read_at, self.situation.now);
        if !Guard::BalanceAge.holds(age <= BALANCE_AGE_MAX) {
            return Err(unknown(format!("the balance of {account} is {} old", show(age))));
        }
        let floor = if Guard::BalanceFloor.is_kept() { self.situation.start_floor(state) } else { Usd::ZERO };
        let lower_floor = self.situation.floor(state);
        let span = if Guard::Runway.is_kept() { state.start_runway().max(RUNWAY_MIN) } else { Duration::ZERO };
        let above = left.minus(floor);
        if above <= Usd::ZERO {
            let detail = format!("{account} has {left} left, at or below the floor of {floor}");
            return Err(Short::new(Blocked::BalanceFloor, detail).by(Text::held_if(left > lower_floor)));
        }
        let payable = pays(above, span);
        let detail = format!(
            "{account} has {left} left over a floor of {floor}, which pays {payable}/h for {}; {cost}/h are taken",
            show(span)
        );
        let text = Text::held_if(floor > lower_floor || span > state.policy.min_runway.max(RUNWAY_MIN));
        Ok((payable, Short::new(Blocked::Runway, detail).by(text)))
    }

    /// Whether the account may start something that adds nothing to what is counted already.
    pub fn may_start(&self, fleet: &FleetName, account: &AccountName) -> Result<(), Short> {
        let Some(state) = self.situation.fleets.get(fleet) else {
            return Err(Short::new(Blocked::PolicyInvalid, format!("no fleet {fleet}")));
        };
        // What is over the target in force is let go; what is over a held one stays, and is not started again.
        let (gpus, target) = (self.gpus(fleet), state.start_gpus());
        if target < state.target_gpus() && gpus > target {
            return Err(Self::over_target(gpus, state));
        }
        let (payable, cost, short) = self.payable(state, account)?;
        if payable >= cost { Ok(()) } else { Err(short) }
    }

    fn over_target(gpus: u32, state: &FleetState) -> Short {
        let target = state.start_gpus();
        let is_held = target < state.target_gpus();
        let whose = if is_held { "a held edit has a target of" } else { "the target is" };
        let detail = format!("{whose} {target} GPUs, and {gpus} would be counted");
        Short::new(Blocked::Shape, detail).by(Text::held_if(is_held))
    }

    /// Whether it fits.
    pub fn admits(&self, need: Need<'_>) -> Result<(), Short> {
        let Some(state) = self.situation.fleets.get(need.fleet) else {
            return Err(Short::new(Blocked::PolicyInvalid, format!("no fleet {}", need.fleet)));
        };
        let gpus = self.gpus(need.fleet).saturating_add(need.gpus);
        let fits = gpus <= state.start_gpus().saturating_add(need.surge_gpus);
        if need.gpus > 0 && !Guard::TargetAdmitted.holds(fits) {
            return Err(Self::over_target(gpus, state));
        }
        if need.rate.is_zero() {
            return self.may_start(need.fleet, need.account);
        }
        let (room, short) = self.room(need.fleet, need.account);
        if need.rate <= room {
            return Ok(());
        }
        let detail = format!("{}; {}/h more would not fit", short.detail, need.rate);
        Err(Short { detail, ..short })
    }
}

/// The hourly cost that an amount covers for so long.
fn pays(amount: Usd, span: Duration) -> HourlyRate {
    let micros = u128::try_from(amount.micros()).unwrap_or(0) * MILLIS_PER_HOUR / span.as_millis().max(1);
    HourlyRate::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// The hourly cost that what is left of a budget covers for the greater of `min_runway` and one hour, and then until
/// nothing is shed for its sake.
fn by_budget(
    state: &FleetState,
    account: &AccountName,
    budget: &Budget,
    text: Text,
    cost: HourlyRate,
) -> Result<(HourlyRate, Short), Short> {
    if budget.left() <= Usd::ZERO {
        let detail = format!("{account} has {budget}");
        return Err(Short::new(Blocked::Budget, detail).by(text));
    }
    let runway = state.start_runway();
    let span = runway.max(RUNWAY_MIN).saturating_add(budget.shed_span(runway));
    let payable = pays(budget.left(), span);
    let detail = format!("{account} has {budget}, which pays {payable}/h for {}; {cost}/h are taken", show(span));
    Ok((payable, Short::new(Blocked::Budget, detail).by(text)))
}

#[cfg(test)]
mod tests {
    use crate::{plan::testkit::*, policy::terms::OnDemandUse};

    /// One VM of 1.005/h above a floor of 10: what is said and what blocks.
    #[track_caller]
    fn check(setup: impl for<'t> FnOnce(&'t mut Town) -> &'t mut Town, blocked: &str) {
        let mut town = town("");
        town.policy(|terms| terms.on_demand.usage = OnDemandUse::Always).hosts("a 1.00 99%");
        setup(&mut town);
        assert_eq!(town.blocked(), blocked);
        assert_eq!(town.said().is_empty(), !blocked.is_empty());
    }

    #[test]
    fn a_start_leaves_the_account_an_hour_above_its_floor() {
        check(|town| town.balance("11.005"), "");
        check(|town| town.balance("11.004999"), "1 runway");
        check(|town| town.balance("10"), "1 balance_floor");
    }

    #[test]
    fn a_longer_runway_is_asked_for_and_a_shorter_one_than_an_hour_is_not() {
        check(|town| town.policy(|terms| terms.min_runway = seconds(7_200)).balance("12.01"), "");
        check(|town| town.policy(|terms| terms.min_runway = seconds(7_200)).balance("12.009999"), "1 runway");
        check(|town| town.policy(|terms| terms.min_runway = seconds(60)).balance("11.004999"), "1 runway");
    }

    #[test]
    fn a_balance_older_than_five_minutes_starts_nothing() {
        check(|town| town.balance_read("100", 300), "");
        check(|town| town.balance_read("100", 301), "1 balance_unknown");
        check(
            |town| {
                town.situation.accounts.values_mut().for_each(|account| account.balance = None);
                town
            },
            "1 balance_unknown",
        );
    }

    #[test]
    fn the_whole_account_counts_with_what_burnt_since_the_balance_was_read() {
        let foreign = |town: &mut Town| {
            town.situation.accounts.values_mut().for_each(|account| account.foreign = rate("3.60"));
        };
        check(
            |town| {
                foreign(town);
                town.balance("14.605")
            },
            "",
        );
        // 3.60/h burn 0.06 in a minute.
        check(
            |town| {
                foreign(town);
                town.balance_read("14.664999", 60)
            },
            "1 runway",
        );
        check(
            |town| {
                foreign(town);
                town.balance_read("14.665", 60)
            },
            "",
        );
    }

    #[test]
    fn the_higher_of_both_floors_counts() {
        check(
            |town| {
                town.situation.limits.balance_floor = "20".parse().unwrap();
                town.balance("21.004999")
            },
            "1 runway",
        );
        check(
            |town| {
                town.situation.limits.balance_floor = "20".parse().unwrap();
                town.balance("21.005")
            },
            "",
        );
    }

    #[test]
    fn runway_is_told_to_the_floor_and_to_zero() {
        let mut town = town("m running a 1 rate=0.995");
        town.balance("12");
        let runway = town.situation.runway(&"acc".parse().unwrap(), "10".parse().unwrap()).unwrap();
        assert_eq!((runway.to_floor, runway.to_zero), (Some(seconds(7_200)), Some(seconds(43_200))));
    }
}
