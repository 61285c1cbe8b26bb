//! What the fleets cost, as we count it ourselves: by fleet, and by the account that pays.
//!
//! Counted is what is billed: a VM that runs in full, one that is outbid or whose GPU was given back its storage only. What
//! is in doubt is counted once it is found, and then from its beginning. A record holds *totals*, so that the newest one
//! says all and the old ones may be pruned.
//!
//! **Invariant:** a clock that steps back adds nothing, and a gap (the daemon was down, the clock jumped) at most
//! [`GAP_MAX`]: within it our VMs ran on and were billed.

use super::{
    Ledger, Record,
    fleet::{Fleet, Standing},
    holding::{Holding, Phase},
    moved::Moved,
    text::{Decimal, Text},
};
use crate::model::{
    AccountName, FleetName, HourlyRate, Timestamp, Usd, VmName,
    offer::Rates,
    time::{before, elapsed},
};
use jiff::{civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::{collections::BTreeMap, time::Duration};

/// No longer time than this is counted at once.
pub const GAP_MAX: Duration = Duration::from_secs(24 * 3_600);
/// A span no longer than [`GAP_MAX`] touches at most so many UTC days.
const DAYS_TOUCHED_MAX: usize = 3;
/// Days that are kept in memory.
const DAYS_MAX: usize = 62;
/// Months that are kept in memory.
const MONTHS_MAX: usize = 25;

/// What one fleet, or the fleets' VMs on one account, cost so far.
#[serde_as]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Since the journal began.
    #[serde_as(as = "Decimal")]
    pub usd: Usd,
    /// GPUs × milliseconds that they ran.
    pub gpu_ms: u64,
    /// What the time that VMs ran would have cost on demand.
    #[serde_as(as = "Decimal")]
    pub on_demand_equivalent: Usd,
    /// The UTC day of its end.
    #[serde_as(as = "Text")]
    pub day: Date,
    /// On that day.
    #[serde_as(as = "Decimal")]
    pub day_usd: Usd,
    /// In that month.
    #[serde_as(as = "Decimal")]
    pub month_usd: Usd,
}

impl Tally {
    /// Whole GPU-seconds.
    pub const fn gpu_seconds(&self) -> u64 {
        self.gpu_ms / 1_000
    }
}

labels! {
    /// What a budget is for.
    pub enum Period {
        /// A UTC day.
        Day = "day",
        /// A UTC month.
        Month = "month",
    }
}

impl Period {
    /// When the one that a moment is in began.
    pub fn began(self, at: Timestamp) -> Timestamp {
        let day = day_of(at);
        let first = match self {
            Self::Day => day,
            Self::Month => day.first_of_month(),
        };
        midnight(first).unwrap_or(Timestamp::MIN)
    }

    /// When the next one begins.
    pub fn ends(self, at: Timestamp) -> Timestamp {
        let day = day_of(at);
        let last = match self {
            Self::Day => day,
            Self::Month => day.last_of_month(),
        };
        midnight_after(last).unwrap_or(Timestamp::MAX)
    }
}

/// What the fleets' VMs on one account cost in the present day and month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Since midnight UTC.
    pub day: Usd,
    /// In the UTC month.
    pub month: Usd,
    /// Up to when it is counted; `None`: nothing was counted yet.
    pub until: Option<Timestamp>,
}

impl Spent {
    /// In the present period.
    pub const fn within(&self, period: Period) -> Usd {
        match period {
            Period::Day => self.day,
            Period::Month => self.month,
        }
    }
}

/// Totals by whoever has them: fleets, or accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Totals<K> {
    tallies: BTreeMap<K, Tally>,
    days: BTreeMap<Date, BTreeMap<K, Usd>>,
    months: BTreeMap<Date, BTreeMap<K, Usd>>,
}

impl<K> Default for Totals<K> {
    fn default() -> Self {
        Self { tallies: BTreeMap::new(), days: BTreeMap::new(), months: BTreeMap::new() }
    }
}

/// What all fleets cost so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    until: Option<Timestamp>,
    fleets: Totals<FleetName>,
    accounts: Totals<AccountName>,
}

/// The UTC day of a moment.
pub fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn midnight(day: Date) -> Option<Timestamp> {
    Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn midnight_after(day: Date) -> Option<Timestamp> {
    midnight(day.tomorrow().ok()?)
}

impl<K: Ord + Clone> Totals<K> {
    fn on(&self, day: Date, of: &K) -> Usd {
        self.days.get(&day).and_then(|all| all.get(of)).copied().unwrap_or_default()
    }

    fn in_month(&self, day: Date, of: &K) -> Usd {
        self.months.get(&day.first_of_month()).and_then(|all| all.get(of)).copied().unwrap_or_default()
    }

    fn fold(&mut self, tallies: BTreeMap<K, Tally>) {
        for (of, tally) in tallies {
            self.days.entry(tally.day).or_default().insert(of.clone(), tally.day_usd);
            self.months.entry(tally.day.first_of_month()).or_default().insert(of.clone(), tally.month_usd);
            self.tallies.insert(of, tally);
        }
        while self.days.len() > DAYS_MAX {
            self.days.pop_first();
        }
        while self.months.len() > MONTHS_MAX {
            self.months.pop_first();
        }
    }

    /// The totals as they stand at the beginning of more on this day.
    fn opened(&self, of: &K, day: Date) -> Tally {
        let none = Tally {
            usd: Usd::ZERO,
            gpu_ms: 0,
            on_demand_equivalent: Usd::ZERO,
            day,
            day_usd: Usd::ZERO,
            month_usd: Usd::ZERO,
        };
        Tally {
            day,
            day_usd: self.on(day, of),
            month_usd: self.in_month(day, of),
            ..self.tallies.get(of).cloned().unwrap_or(none)
        }
    }

    /// All totals with more added on this day.
    fn with<'a>(&self, day: Date, more: impl Iterator<Item = (&'a K, &'a Charge<'a>, Duration)>) -> BTreeMap<K, Tally>
    where
        K: 'a,
    {
        let mut tallies: BTreeMap<K, Tally> =
            self.tallies.keys().map(|of| (of.clone(), self.opened(of, day))).collect();
        for (of, charge, lasted) in more {
            tallies.entry(of.clone()).or_insert_with(|| self.opened(of, day)).add(charge, lasted);
        }
        tallies
    }
}

impl Spend {
    /// The moment up to which it is counted.
    pub const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// By fleet, since the journal began.
    pub const fn fleets(&self) -> &BTreeMap<FleetName, Tally> {
        &self.fleets.tallies
    }

    /// By UTC day, lately.
    pub const fn days(&self) -> &BTreeMap<Date, BTreeMap<FleetName, Usd>> {
        &self.fleets.days
    }

    /// A fleet's spend on the UTC day of a moment.
    pub fn on_day_of(&self, at: Timestamp, fleet: &FleetName) -> Usd {
        self.fleets.on(day_of(at), fleet)
    }

    /// A fleet's spend in the UTC month of a moment.
    pub fn in_month_of(&self, at: Timestamp, fleet: &FleetName) -> Usd {
        self.fleets.in_month(day_of(at), fleet)
    }

    /// What our VMs on an account cost on the UTC day of a moment, and in its month.
    pub fn of_account(&self, at: Timestamp, account: &AccountName) -> Spent {
        let day = day_of(at);
        Spent { day: self.accounts.on(day, account), month: self.accounts.in_month(day, account), until: self.until }
    }

    pub(super) fn move_with_clock(&mut self, moved: Moved) {
        self.until = self.until.map(|until| moved.moved(until));
    }

    pub(super) fn fold(
        &mut self,
        until: Timestamp,
        fleets: BTreeMap<FleetName, Tally>,
        accounts: BTreeMap<AccountName, Tally>,
    ) {
        self.until = Some(until);
        self.fleets.fold(fleets);
        self.accounts.fold(accounts);
    }
}

/// Something that was billed for some time.
struct Charge<'a> {
    fleet: &'a FleetName,
    account: &'a AccountName,
    rate: HourlyRate,
    /// Those that ran.
    gpus: u32,
    /// What they would cost on demand.
    on_demand: HourlyRate,
    from: Timestamp,
    until: Timestamp,
}

/// Counts what was billed since it was last counted, one record for each UTC day that it touches. Settle first: then what
/// was found or is gone is counted to the moment.
pub fn accrue(ledger: &Ledger, fleets: &BTreeMap<FleetName, Fleet>, now: Timestamp) -> Vec<Record> {
    let restart = || vec![Record::Accrued { until: now, fleets: BTreeMap::new(), accounts: BTreeMap::new() }];
    let from = match ledger.spend().until() {
        None => return restart(),
        Some(until) if until > now => return restart(),
        Some(until) => until.max(before(now, GAP_MAX)),
    };
    let charges = charges(ledger, fleets, from, now);
    let mut spend = ledger.spend().clone();
    let mut records = Vec::new();
    let mut begin = from;
    for _ in 0..DAYS_TOUCHED_MAX {
        if begin >= now {
            break;
        }
        let day = day_of(begin);
        let end = midnight_after(day).filter(|midnight| *midnight < now).unwrap_or(now);
        let lasted = |charge: &Charge<'_>| {
            // What was found late is counted from its beginning, with the first day.
            let since = if begin == from { charge.from } else { charge.from.max(begin) };
            elapsed(since, charge.until.min(end)).min(GAP_MAX)
        };
        let by_fleet = charges.iter().map(|charge| (charge.fleet, charge, lasted(charge)));
        let by_account = charges.iter().map(|charge| (charge.account, charge, lasted(charge)));
        let (fleets, accounts) = (spend.fleets.with(day, by_fleet), spend.accounts.with(day, by_account));
        spend.fold(end, fleets.clone(), accounts.clone());
        records.push(Record::Accrued { until: end, fleets, accounts });
        begin = end;
    }
    records
}

impl Tally {
    fn add(&mut self, charge: &Charge<'_>, lasted: Duration) {
        let usd = charge.rate.cost(lasted);
        self.usd = self.usd.plus(usd);
        self.day_usd = self.day_usd.plus(usd);
        self.month_usd = self.month_usd.plus(usd);
        let lasted_ms = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
        self.gpu_ms = self.gpu_ms.saturating_add(lasted_ms.saturating_mul(u64::from(charge.gpus)));
        self.on_demand_equivalent = self.on_demand_equivalent.plus(charge.on_demand.cost(lasted));
    }
}

fn charges<'a>(
    ledger: &'a Ledger,
    fleets: &'a BTreeMap<FleetName, Fleet>,
    from: Timestamp,
    now: Timestamp,
) -> Vec<Charge<'a>> {
    let as_joined = |(name, holding): (&VmName, &'a Holding)| {
        let member = fleets.get(&holding.intent.fleet).and_then(|fleet| fleet.members.get(name));
        let charge = charge(holding, holding.standing, member.and_then(|member| member.quoted), from, now);
        Charge { account: member.map_or(charge.account, |member| &member.account), ..charge }
    };
    let mut charges: Vec<Charge<'a>> = ledger.holdings().iter().map(as_joined).collect();
    for (_, past) in ledger.closed_since(from) {
        let standing = match (past.holding.standing, past.closed) {
            (_, super::Closed::Refused | super::Closed::Abandoned) => Standing::InDoubt,
            (standing, super::Closed::Gone(_)) => standing,
        };
        charges.push(charge(&past.holding, standing, None, from, past.at));
    }
    for ((name, id), late) in ledger.late() {
        let mut joined = fleets.get(&late.fleet).into_iter().flat_map(|fleet| &fleet.late);
        let joined = joined.find(|joined| joined.name == *name && joined.id == *id);
        let intended = ledger.holdings().get(name).or_else(|| ledger.past(name).map(|past| &past.holding));
        // It was billed before anybody saw it, too.
        let began = intended.map_or(late.at, |holding| holding.intended_at.min(late.at));
        let until = late.delete.as_ref().and_then(|delete| delete.acked_at).unwrap_or(now);
        let none = HourlyRate::ZERO;
        charges.push(Charge {
            fleet: &late.fleet,
            account: joined.map_or(&late.account, |joined| &joined.account),
            rate: late.rate,
            gpus: 0,
            on_demand: none,
            from: if late.at > from { began } else { from },
            until,
        });
    }
    for (fleet, joined) in fleets {
        for stray in &joined.strays {
            let (account, rate, on_demand) = (&stray.account, stray.rate(), HourlyRate::ZERO);
            charges.push(Charge { fleet, account, rate, gpus: 0, on_demand, from, until: now });
        }
    }
    charges
}

fn charge(
    holding: &Holding,
    standing: Standing,
    quoted: Option<Rates>,
    from: Timestamp,
    until: Timestamp,
) -> Charge<'_> {
    let was_found = holding.held_since.is_some_and(|held| held > from);
    let (standing, until) = match &holding.delete {
        Some(delete) => (delete.before, delete.acked_at.unwrap_or(until).min(until)),
        None => (standing, until),
    };
    let is_serving = standing == Standing::Running && holding.phase == Phase::Live;
    Charge {
        fleet: &holding.intent.fleet,
        account: &holding.intent.account,
        rate: holding.billed(standing, quoted),
        gpus: if is_serving { holding.intent.shape.gpus } else { 0 },
        on_demand: if is_serving { holding.intent.on_demand.total() } else { HourlyRate::ZERO },
        from: if was_found { holding.intended_at } else { from },
        until,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::stage::{Stage, instance, of},
        model::InstanceStatus::{self, Outbid, Running, Starting, StoppedReleased},
    };

    impl Stage {
        /// Counts to the moment; how many records that took.
        fn accrue(&mut self) -> usize {
            let records = accrue(self.ledger(), &self.joined().fleets, self.now);
            let count = records.len();
            self.journal.append(self.now, records).unwrap();
            count
        }

        fn tally(&self) -> Tally {
            self.ledger().spend().fleets()[&of("train")].clone()
        }
    }

    /// A VM that stands so for an hour costs this, with this many GPU-hours and this much saved against.
    #[track_caller]
    fn check(status: InstanceStatus, usd: &str, gpu_hours: u64, on_demand: &str) {
        let mut stage = Stage::new();
        let name = stage.deploy("i1");
        stage.list_after(1, &[instance("i1", &name, status.clone())], &[]);
        stage.accrue();
        stage.pass(3_600).accrue();
        let tally = stage.tally();
        assert_eq!(tally.usd, of(usd), "{status}");
        assert_eq!((tally.gpu_seconds(), tally.on_demand_equivalent), (gpu_hours * 3_600, of(on_demand)), "{status}");
    }

    #[test]
    fn each_standing_costs_what_is_billed_for_it() {
        check(Running, "0.41", 2, "1.01");
        check(Starting, "0.41", 0, "0");
        check(Outbid, "0.01", 0, "0");
        check(StoppedReleased, "0.01", 0, "0");
        check(InstanceStatus::StoppedKept, "0.41", 0, "0");
        check(InstanceStatus::Unknown("odd".into()), "0.41", 0, "0");
    }

    #[test]
    fn what_is_quoted_is_what_is_billed() {
        let mut stage = Stage::new();
        let name = stage.deploy("i1");
        let mut cheap = instance("i1", &name, Running);
        cheap.quoted = Some(crate::ledger::stage::rates("0.30", "0.01"));
        stage.list_after(1, &[cheap], &[]);
        stage.accrue();
        stage.pass(3_600).accrue();
        assert_eq!(stage.tally().usd, of("0.31"));
    }

    #[test]
    fn what_was_in_doubt_is_counted_from_its_beginning_once_it_is_found() {
        let mut stage = Stage::new();
        stage.accrue();
        let name = stage.intend();
        stage.pass(1_800).accrue();
        assert!(stage.ledger().spend().fleets().get(&of("train")).is_none_or(|tally| tally.usd == Usd::ZERO));
        stage.list_after(1_800, &[instance("i1", &name, Running)], &[]);
        stage.accrue();
        assert_eq!(stage.tally().usd, of("0.41"));
        stage.pass(3_600).accrue();
        assert_eq!(stage.tally().usd, of("0.82"), "and once");
    }

    #[test]
    fn a_deleted_vm_costs_until_its_delete_is_acknowledged() {
        let mut stage = Stage::new();
        let name = stage.deploy("i1");
        stage.list_after(1, &[instance("i1", &name, Running)], &[]);
        stage.accrue();
        stage.pass(1_800).delete(&name, "i1", true);
        stage.list_after(1_800, &[], &[]);
        stage.accrue();
        assert_eq!(stage.tally().usd, of("0.205"));
        stage.pass(3_600).accrue();
        assert_eq!(stage.tally().usd, of("0.205"));
    }

    #[test]
    fn a_clock_that_steps_back_adds_nothing_and_counts_on_from_there() {
        let mut stage = Stage::new();
        let name = stage.deploy("i1");
        stage.list_after(1, &[instance("i1", &name, Running)], &[]);
        stage.accrue();
        stage.pass(3_600).accrue();
        stage.now = before(stage.now, Duration::from_secs(1_800));
        stage.accrue();
        assert_eq!(stage.tally().usd, of("0.41"));
        stage.pass(3_600).accrue();
        assert_eq!(stage.tally().usd, of("0.82"));
        assert_eq!(stage.accrue(), 0, "no time, no record");
    }

    #[test]
    fn a_long_gap_counts_as_a_day() {
        let mut stage = Stage::new();
        let name = stage.deploy("i1");
        stage.list_after(1, &[instance("i1", &name, Running)], &[]);
        stage.accrue();
        stage.pass(30 * 86_400).accrue();
        assert_eq!(stage.tally().usd, of("9.840001"), "each day rounds up");
    }

    #[test]
    fn days_and_months_are_utc_and_begin_at_nothing() {
        let mut stage = Stage::new();
        stage.now = of("2026-11-30T23:00:00Z");
        let name = stage.deploy("i1");
        stage.list_after(1, &[instance("i1", &name, Running)], &[]);
        stage.accrue();
        assert_eq!(stage.pass(7_200).accrue(), 2, "one for each day");
        let (fleet, spend) = (of("train"), stage.ledger().spend());
        assert_eq!(spend.on_day_of(of("2026-11-30T00:00:00Z"), &fleet), of("0.409887"));
        assert_eq!(spend.on_day_of(stage.now, &fleet), of("0.410114"));
        assert_eq!(spend.in_month_of(of("2026-11-01T00:00:00Z"), &fleet), of("0.409887"));
        assert_eq!(spend.in_month_of(stage.now, &fleet), of("0.410114"));
        assert_eq!(stage.tally().usd, of("0.820001"));
        let spent = stage.ledger().spend().clone();
        assert_eq!(*stage.restarted().ledger().spend(), spent);
    }

    /// What the account of the stage spent on the day of now, and in its month.
    fn spent(stage: &Stage) -> (Usd, Usd) {
        let spent = stage.ledger().spend().of_account(stage.now, &of("tensordock"));
        (spent.day, spent.month)
    }

    #[test]
    fn the_account_that_pays_is_charged_by_day_and_month_whatever_the_fleet() {
        let mut stage = Stage::new();
        stage.now = of("2026-11-29T23:00:00Z");
        let name = stage.deploy("i1");
        let stray: VmName = of("spotscale-train-old-1");
        let list = [instance("i1", &name, Running), instance("i9", &stray, Running)];
        stage.list_after(0, &list, &[]);
        stage.accrue();
        stage.pass(3_600).accrue();
        assert_eq!(spent(&stage), (of("0"), of("0.82")), "at midnight the day is new");
        stage.pass(3_600).accrue();
        assert_eq!(spent(&stage), (of("0.82"), of("1.64")));
        assert_eq!(stage.ledger().spend().of_account(stage.now, &of("other")).day, Usd::ZERO);
        stage.pass(24 * 3_600).accrue();
        assert_eq!(spent(&stage), (of("0.82"), of("0.82")), "and the month");
        let restarted = stage.restarted();
        assert_eq!(spent(&restarted), (of("0.82"), of("0.82")));
        assert_eq!(restarted.ledger().spend().until(), Some(stage.now));
    }

    #[test]
    fn a_journal_that_told_nothing_of_accounts_reads_and_counts_on() {
        let old = r#"{"kind":"accrued","until":"2026-11-20T12:00:00Z","fleets":{}}"#;
        let mut stage = Stage::new();
        stage.write(Record::decode(old).unwrap());
        let name = stage.deploy("i1");
        stage.list_after(3_600, &[instance("i1", &name, Running)], &[]);
        stage.accrue();
        assert_eq!(spent(&stage), (of("0.41"), of("0.41")));
        assert_eq!(Record::decode(old).unwrap().encode().as_deref(), Ok(old));
        let limits = r#"{"kind":"limits_in_force","max_hourly_rate":null,"balance_floor":"25.00","mode":"act"}"#;
        assert_eq!(Record::decode(limits).unwrap().encode().as_deref(), Ok(limits));
    }

    #[test]
    fn a_late_vm_is_charged_from_its_beginning_and_once() {
        let mut stage = Stage::new();
        stage.accrue();
        let name = stage.intend();
        stage.list_after(300, &[], &[]);
        stage.list(&[]);
        stage.accrue();
        assert_eq!(spent(&stage).0, Usd::ZERO);
        stage.list_after(3_270, &[instance("i1", &name, Running)], &[]);
        stage.accrue();
        assert_eq!(spent(&stage).0, of("0.41"), "an hour since it was asked for");
        stage.pass(3_600).accrue();
        assert_eq!(spent(&stage).0, of("0.82"));
    }

    #[test]
    fn strays_and_late_vms_cost_too() {
        let mut stage = Stage::new();
        let stray: VmName = of("spotscale-train-old-1");
        stage.list(&[instance("i9", &stray, Running)]);
        stage.accrue();
        stage.pass(3_600).accrue();
        assert_eq!(stage.tally().usd, of("0.41"));
        let name = stage.intend();
        stage.list_after(300, &[instance("i9", &stray, Running)], &[]);
        stage.list(&[instance("i9", &stray, Running)]);
        stage.list(&[instance("i9", &stray, Running), instance("i1", &name, Running)]);
        stage.accrue();
        let before_it = stage.tally().usd;
        stage.pass(3_600).accrue();
        assert_eq!(stage.tally().usd.minus(before_it), of("0.82"));
    }
}
