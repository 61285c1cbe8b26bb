//! What the fleets cost, as we count it ourselves.
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
    text::{Decimal, Text},
};
use crate::model::{
    FleetName, HourlyRate, Timestamp, Usd, VmName,
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

/// What one fleet cost so far.
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

/// What all fleets cost so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    until: Option<Timestamp>,
    fleets: BTreeMap<FleetName, Tally>,
    days: BTreeMap<Date, BTreeMap<FleetName, Usd>>,
    months: BTreeMap<Date, BTreeMap<FleetName, Usd>>,
}

/// The UTC day of a moment.
pub fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn spent(by_date: &BTreeMap<Date, BTreeMap<FleetName, Usd>>, date: Date, fleet: &FleetName) -> Usd {
    by_date.get(&date).and_then(|fleets| fleets.get(fleet)).copied().unwrap_or_default()
}

impl Spend {
    /// The moment up to which it is counted.
    pub const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// By fleet, since the journal began.
    pub const fn fleets(&self) -> &BTreeMap<FleetName, Tally> {
        &self.fleets
    }

    /// By UTC day, lately.
    pub const fn days(&self) -> &BTreeMap<Date, BTreeMap<FleetName, Usd>> {
        &self.days
    }

    /// A fleet's spend on the UTC day of a moment.
    pub fn on_day_of(&self, at: Timestamp, fleet: &FleetName) -> Usd {
        spent(&self.days, day_of(at), fleet)
    }

    /// A fleet's spend in the UTC month of a moment.
    pub fn in_month_of(&self, at: Timestamp, fleet: &FleetName) -> Usd {
        spent(&self.months, day_of(at).first_of_month(), fleet)
    }

    pub(super) fn fold(&mut self, until: Timestamp, fleets: BTreeMap<FleetName, Tally>) {
        self.until = Some(until);
        for (fleet, tally) in fleets {
            self.days.entry(tally.day).or_default().insert(fleet.clone(), tally.day_usd);
            self.months.entry(tally.day.first_of_month()).or_default().insert(fleet.clone(), tally.month_usd);
            self.fleets.insert(fleet, tally);
        }
        while self.days.len() > DAYS_MAX {
            self.days.pop_first();
        }
        while self.months.len() > MONTHS_MAX {
            self.months.pop_first();
        }
    }

    /// The fleet's totals as they stand at the beginning of more on this day.
    fn opened(&self, fleet: &FleetName, day: Date) -> Tally {
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
            day_usd: spent(&self.days, day, fleet),
            month_usd: spent(&self.months, day.first_of_month(), fleet),
            ..self.fleets.get(fleet).cloned().unwrap_or(none)
        }
    }
}

/// Something that was billed for some time.
struct Charge<'a> {
    fleet: &'a FleetName,
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
    let restart = |fleets| vec![Record::Accrued { until: now, fleets }];
    let from = match ledger.spend().until() {
        None => return restart(BTreeMap::new()),
        Some(until) if until > now => return restart(BTreeMap::new()),
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
        let mut tallies: BTreeMap<FleetName, Tally> =
            spend.fleets.keys().map(|fleet| (fleet.clone(), spend.opened(fleet, day))).collect();
        for charge in &charges {
            // What was found late is counted from its beginning, with the first day.
            let since = if begin == from { charge.from } else { charge.from.max(begin) };
            let lasted = elapsed(since, charge.until.min(end)).min(GAP_MAX);
            let tally = tallies.entry(charge.fleet.clone()).or_insert_with(|| spend.opened(charge.fleet, day));
            tally.add(charge, lasted);
        }
        spend.fold(end, tallies.clone());
        records.push(Record::Accrued { until: end, fleets: tallies });
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

fn midnight_after(day: Date) -> Option<Timestamp> {
    Some(day.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn charges<'a>(
    ledger: &'a Ledger,
    fleets: &'a BTreeMap<FleetName, Fleet>,
    from: Timestamp,
    now: Timestamp,
) -> Vec<Charge<'a>> {
    let quoted = |name: &VmName, holding: &Holding| -> Option<Rates> {
        fleets.get(&holding.intent.fleet).and_then(|fleet| fleet.members.get(name)).and_then(|member| member.quoted)
    };
    let mut charges: Vec<Charge<'a>> = ledger
        .holdings()
        .iter()
        .map(|(name, holding)| charge(holding, holding.standing, quoted(name, holding), from, now))
        .collect();
    for (_, past) in ledger.closed_since(from) {
        let standing = match (past.holding.standing, past.closed) {
            (_, super::Closed::Refused | super::Closed::Abandoned) => Standing::InDoubt,
            (standing, super::Closed::Gone(_)) => standing,
        };
        charges.push(charge(&past.holding, standing, None, from, past.at));
    }
    for late in ledger.late().values() {
        let until = late.delete.as_ref().and_then(|delete| delete.acked_at).unwrap_or(now);
        let none = HourlyRate::ZERO;
        charges.push(Charge {
            fleet: &late.fleet,
            rate: late.rate,
            gpus: 0,
            on_demand: none,
            from: from.max(late.at),
            until,
        });
    }
    for (fleet, joined) in fleets {
        for stray in &joined.strays {
            charges.push(Charge { fleet, rate: stray.rate(), gpus: 0, on_demand: HourlyRate::ZERO, from, until: now });
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
