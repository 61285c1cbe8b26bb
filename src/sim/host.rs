//! One hostnode of the world: what it has, what it asks, who else is on it, and when it changes its mind.
//!
//! All that happens to a host by itself hangs on timers whose gaps come from the host's own generators, one for each
//! kind of event. They are drawn by the passing of time alone, whatever our VMs do there, so two runs of one seed see
//! the same rivals and the same outages even where they act differently.

use super::{
    catalogue::Machine,
    contest::Capacity,
    seed::{Dice, Seed},
};
use crate::model::{
    GpuModel, Hostnode, HostnodeId, HourlyRate, PriceType, Shape, Timestamp,
    offer::{Location, Ports, PriceRule, Resources, Restriction, SpotTerms, Stock, Supply},
};
use std::collections::{BTreeMap, BTreeSet};

/// Milliseconds since the epoch.
pub type Millis = i64;
/// Milliseconds in a minute.
pub const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Each term of a v0 price is rounded to 0.001 USD (vendor dashboard); vCPUs and memory come in even sizes.
pub const RULE: PriceRule = PriceRule { term_step_micros: 1_000, size_step: 2, storage_gb_min: 0 };
/// At most so many rivals stand on or around a host; more find it too crowded.
const RIVALS_MAX: usize = 10;

/// How long an owner who takes a machine back keeps it (assumed).
const OWNERS_TIME_MS: i64 = 4 * HOUR_MS;

/// What a machine says of its uptime that lies about it.
const BOASTED_PPM: u32 = 999_900;
/// No price goes down to nothing.
const MOST_SWAY_PPM: u32 = 900_000;

/// A price that goes up and down.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sway {
    by_ppm: u32,
    way_ms: Millis,
    /// When it turns.
    next: Millis,
    up: bool,
}

/// How restless the world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    /// Nothing moves by itself: prices, minimum bids, rivals and hosts stay as they are.
    Still,
    /// As far as anybody knows, like life.
    Lifelike,
    /// Eight times as much of everything.
    Wild,
}

impl Temper {
    /// A gap between two events, drawn in its lifelike length.
    fn gap(self, dice: &mut Dice, min_ms: i64, max_ms: i64) -> Option<Millis> {
        let drawn = dice.between(min_ms.unsigned_abs(), max_ms.unsigned_abs());
        let drawn = i64::try_from(drawn).unwrap_or(i64::MAX);
        match self {
            Self::Still => None,
            Self::Lifelike => Some(drawn),
            Self::Wild => Some(drawn / 8),
        }
    }
}

/// How a host is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Listed as offline; its VMs are listed with a status nobody has documented.
    Offline,
    /// Gone from the list, and its VMs from theirs; asked for by id they are still there. It comes back.
    Hidden,
    /// Gone with all its VMs. The machine itself returns, empty.
    Dead,
}

/// Somebody else's VM, or somebody who waits for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rival {
    pub shape: Shape,
    pub price_type: PriceType,
    /// What it pays for its compute.
    pub pays: HourlyRate,
    /// When it goes.
    pub until: Millis,
    /// It has what it wants; a spot rival may wait outside.
    pub inside: bool,
    pub ports: BTreeSet<u16>,
}

/// GPUs of one model on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rack {
    pub total: u32,
    base: HourlyRate,
    pub price: HourlyRate,
}

/// When a kind of event comes next, and the generator that says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Timer {
    dice: Dice,
    next: Option<Millis>,
    min_ms: i64,
    max_ms: i64,
}

impl Timer {
    fn new(mut dice: Dice, temper: Temper, now: Millis, min_ms: i64, max_ms: i64) -> Self {
        let next = temper.gap(&mut dice, min_ms / 4, max_ms).map(|gap| now.saturating_add(gap));
        Self { dice, next, min_ms, max_ms }
    }

    /// Whether the event is due; if so the next one is set.
    fn rings(&mut self, temper: Temper, now: Millis) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.next = temper.gap(&mut self.dice, self.min_ms, self.max_ms).map(|gap| now.saturating_add(gap));
        }
        due
    }
}

/// What is in use on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub gpus: BTreeMap<GpuModel, u32>,
    pub vcpus: u32,
    pub ram_gb: u32,
    pub storage_gb: u32,
    pub ports: BTreeSet<u16>,
}

impl Usage {
    /// Counts a VM that runs.
    pub fn add_compute(&mut self, shape: &Shape) {
        let gpus = self.gpus.entry(shape.gpu_model.clone()).or_default();
        *gpus = gpus.saturating_add(shape.gpus);
        self.vcpus = self.vcpus.saturating_add(shape.vcpus);
        self.ram_gb = self.ram_gb.saturating_add(shape.ram_gb);
    }

    /// Counts what a VM has as long as it exists.
    pub fn add_disk(&mut self, shape: &Shape, ports: impl IntoIterator<Item = u16>) {
        self.storage_gb = self.storage_gb.saturating_add(shape.storage_gb);
        self.ports.extend(ports);
    }
}

/// One hostnode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub id: HostnodeId,
    pub location: Location,
    pub address: String,
    /// What it says of its uptime.
    uptime_ppm: u32,
    true_uptime_ppm: u32,
    pub racks: BTreeMap<GpuModel, Rack>,
    pub vcpus: Stock,
    pub ram_gb: Stock,
    pub storage_gb: Stock,
    pub ports: BTreeSet<u16>,
    restrictions: BTreeMap<u32, Restriction>,
    pub floor_ppm: u32,
    floor_mean_ppm: u32,
    floor_swing_ppm: u32,
    price_swing_ppm: u32,
    /// How long its owner gives it away at a time, and when that ends next. It is known beforehand: no temper changes it.
    lent_ms: Option<Millis>,
    lent_until: Option<Millis>,
    pub absence: Option<(Absence, Millis)>,
    pub rivals: Vec<Rival>,
    absences: Timer,
    floors: Timer,
    prices: Timer,
    arrivals: Timer,
    sway: Option<Sway>,
}

/// What a step did to a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stepped {
    /// Who holds what must be settled anew.
    pub unsettled: bool,
    /// All VMs on it are lost.
    pub died: bool,
}

impl Host {
    pub fn new(machine: &Machine, seed: Seed, temper: Temper, now: Millis) -> Self {
        let dice = |what: &str| seed.dice(&format!("host/{}/{what}", machine.id));
        let gpus: u32 = machine.gpus.values().map(|(total, _, _)| *total).sum();
        let between_outages = between_outages(machine.uptime_ppm);
        // A large machine has more visitors; together they hold about a third of it.
        let visits = (if gpus >= 4 { 100 } else { 160 }) * MINUTE_MS;
        let lent_ms = machine.available_for.map(|lasts| i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX));
        let mut host = Self {
            id: machine.id.clone(),
            location: machine.location.clone(),
            address: machine.address.clone(),
            uptime_ppm: machine.uptime_ppm,
            true_uptime_ppm: machine.uptime_ppm,
            racks: machine
                .gpus
                .iter()
                .map(|(model, (total, _, price))| (model.clone(), Rack { total: *total, base: *price, price: *price }))
                .collect(),
            vcpus: Stock { free: machine.vcpus.0, price: machine.vcpus.1 },
            ram_gb: Stock { free: machine.ram_gb.0, price: machine.ram_gb.1 },
            storage_gb: Stock { free: machine.storage_gb.0, price: machine.storage_gb.1 },
            ports: machine.ports.iter().copied().collect(),
            restrictions: machine.restrictions.clone(),
            floor_ppm: machine.floor_ppm,
            floor_mean_ppm: machine.floor_ppm,
            floor_swing_ppm: machine.floor_swing_ppm,
            price_swing_ppm: machine.price_swing_ppm,
            lent_ms,
            lent_until: lent_ms.map(|lasts| now.saturating_add(lasts)),
            absence: None,
            rivals: Vec::new(),
            absences: Timer::new(dice("absences"), temper, now, between_outages / 2, between_outages * 3 / 2),
            floors: Timer::new(dice("floors"), temper, now, 30 * MINUTE_MS, 4 * HOUR_MS),
            prices: Timer::new(dice("prices"), temper, now, 6 * HOUR_MS, 48 * HOUR_MS),
            arrivals: Timer::new(dice("arrivals"), temper, now, visits / 2, visits * 3 / 2),
            sway: None,
        };
        host.open(machine, &mut dice("opening"), temper, now);
        host
    }

    /// Puts those in place who hold GPUs on the first day.
    fn open(&mut self, machine: &Machine, dice: &mut Dice, temper: Temper, now: Millis) {
        for (model, (total, taken, _)) in &machine.gpus {
            if *taken == 0 {
                continue;
            }
            let share = |all: u32| (all / (*total).max(1) * taken) & !1;
            // A full machine has no vCPU left either, as the real lists show.
            let vcpus = if taken == total { self.vcpus.free } else { share(self.vcpus.free) };
            let shape = Shape {
                gpu_model: model.clone(),
                gpus: *taken,
                vcpus,
                ram_gb: share(self.ram_gb.free),
                storage_gb: share(self.storage_gb.free) / 2,
            };
            let stay = dice.between(4 * HOUR_MS.unsigned_abs(), 72 * HOUR_MS.unsigned_abs());
            let until = match temper {
                Temper::Still => Millis::MAX,
                Temper::Lifelike | Temper::Wild => now.saturating_add(i64::try_from(stay).unwrap_or(i64::MAX)),
            };
            let pays = self.on_demand(&shape);
            let ports = self.ports.iter().next_back().copied().into_iter().collect();
            self.rivals.push(Rival { shape, price_type: PriceType::OnDemand, pays, until, inside: true, ports });
        }
    }

    /// The least bid for a shape, as far as the host itself goes.
    pub fn floor(&self, shape: &Shape) -> HourlyRate {
        self.on_demand(shape).share_ppm(u64::from(self.floor_ppm))
    }

    /// What a shape's compute costs here on demand, whether or not it is free.
    pub fn on_demand(&self, shape: &Shape) -> HourlyRate {
        let gpu = self.racks.get(&shape.gpu_model).map_or(HourlyRate::ZERO, |rack| rack.price);
        [(gpu, shape.gpus), (self.vcpus.price, shape.vcpus), (self.ram_gb.price, shape.ram_gb)]
            .into_iter()
            .map(|(price, count)| price.times(count).rounded(RULE.term_step_micros))
            .sum()
    }

    /// The machine as listed, with so much in use.
    pub fn listed(&self, usage: &Usage) -> Hostnode {
        let less = |stock: Stock, used: u32| Stock { free: stock.free.saturating_sub(used), price: stock.price };
        let gpus = self
            .racks
            .iter()
            .map(|(model, rack)| {
                let used = usage.gpus.get(model).copied().unwrap_or(0);
                (model.clone(), Stock { free: rack.total.saturating_sub(used), price: rack.price })
            })
            .collect();
        Hostnode {
            id: self.id.clone(),
            location: self.location.clone(),
            uptime_ppm: Some(self.uptime_ppm),
            online: self.absence.is_none(),
            supply: Supply::Resources(Resources {
                gpus,
                vcpus: less(self.vcpus, usage.vcpus),
                ram_gb: less(self.ram_gb, usage.ram_gb),
                storage_gb: less(self.storage_gb, usage.storage_gb),
                restrictions: self.restrictions.clone(),
                rule: RULE,
            }),
            spot: SpotTerms::Asked,
            ports: Ports::Free(self.ports.iter().rev().filter(|port| !usage.ports.contains(port)).copied().collect()),
            available_until: self.available_until(),
        }
    }

    /// Becomes the machine that was listed somewhere else, with this floor. What is in use here stays: a list of another
    /// day takes nothing away from those who stand here.
    pub fn become_listed(&mut self, listed: &Hostnode, supply: &Resources, floor_ppm: u32, used: &Usage) {
        let Hostnode { id: _, location, uptime_ppm, online, supply: _, spot: _, ports, available_until } = listed;
        let Resources { gpus, vcpus, ram_gb, storage_gb, restrictions, rule: _ } = supply;
        let room = |stock: &Stock, used: u32| Stock { free: stock.free.max(used), price: stock.price };
        let rack = |price: HourlyRate, total: u32| Rack { total, base: price, price };
        let mut racks: BTreeMap<GpuModel, Rack> =
            gpus.iter().map(|(model, stock)| (model.clone(), rack(stock.price, stock.free))).collect();
        for (model, used) in &used.gpus {
            let price = self.racks.get(model).map_or(HourlyRate::ZERO, |rack| rack.price);
            let found = racks.entry(model.clone()).or_insert_with(|| rack(price, 0));
            found.total = found.total.max(*used);
        }
        self.racks = racks;
        self.location.clone_from(location);
        self.uptime_ppm = uptime_ppm.unwrap_or(0);
        self.vcpus = room(vcpus, used.vcpus);
        self.ram_gb = room(ram_gb, used.ram_gb);
        self.storage_gb = room(storage_gb, used.storage_gb);
        self.restrictions.clone_from(restrictions);
        self.ports = ports.free().iter().chain(&used.ports).copied().collect();
        self.floor_ppm = floor_ppm;
        self.lent_until = available_until.map(|end| end.as_millisecond());
        self.absence = if *online { None } else { Some((Absence::Offline, Millis::MAX)) };
    }

    /// When its owner takes it back.
    pub fn available_until(&self) -> Option<Timestamp> {
        self.lent_until.and_then(|end| Timestamp::from_millisecond(end).ok())
    }

    /// What is left for those who compete, when so much is held for good.
    pub fn capacity(&self, held: &Usage) -> Capacity {
        Capacity {
            gpus: self
                .racks
                .iter()
                .map(|(model, rack)| {
                    (model.clone(), rack.total.saturating_sub(held.gpus.get(model).copied().unwrap_or(0)))
                })
                .collect(),
            vcpus: self.vcpus.free.saturating_sub(held.vcpus),
            ram_gb: self.ram_gb.free.saturating_sub(held.ram_gb),
        }
    }

    /// Whether a step to `now` would change anything.
    pub fn is_due(&self, now: Millis) -> bool {
        let Self { absence, lent_until, absences, floors, prices, arrivals, sway, rivals, .. } = self;
        let timers = [absences, floors, prices, arrivals].map(|timer| timer.next);
        let others = [absence.map(|(_, until)| until), *lent_until, sway.as_ref().map(|sway| sway.next)];
        let all = timers.into_iter().chain(others).flatten().chain(rivals.iter().map(|rival| rival.until));
        all.into_iter().any(|next| next <= now)
    }

    /// Lets the host live up to `now`. A new rival stands outside at first; the world settles who gets in.
    pub fn step(&mut self, temper: Temper, now: Millis) -> Stepped {
        let mut stepped = Stepped::default();
        if self.absence.is_some_and(|(_, until)| until <= now) {
            self.absence = None;
            stepped.unsettled = true;
        }
        if self.absences.rings(temper, now) {
            let dice = &mut self.absences.dice;
            let (kind, lasts) = (dice.between(0, 9), dice.between(5, 55));
            let (kind, minutes) = match kind {
                0 => (Absence::Dead, lasts * 60),
                1..=4 => (Absence::Hidden, lasts),
                _ => (Absence::Offline, lasts),
            };
            let until = now.saturating_add(i64::try_from(minutes).unwrap_or(0).saturating_mul(MINUTE_MS));
            stepped.died = self.vanish(kind, until);
        }
        if let (Some(end), Some(lasts)) = (self.lent_until, self.lent_ms)
            && end <= now
        {
            let back = now.saturating_add(OWNERS_TIME_MS);
            self.lent_until = Some(back.saturating_add(lasts));
            stepped.died = self.vanish(Absence::Dead, back);
        }
        if self.floors.rings(temper, now) {
            let drawn = self.floors.dice.between(0, 2 * u64::from(self.floor_swing_ppm));
            self.floor_ppm = wander(self.floor_ppm, self.floor_mean_ppm, self.floor_swing_ppm, drawn);
            stepped.unsettled = true;
        }
        if self.prices.rings(temper, now) {
            let swing = self.price_swing_ppm;
            for rack in self.racks.values_mut() {
                let share = self.prices.dice.between(0, 2 * u64::from(swing));
                let share_ppm = 1_000_000u64.saturating_sub(u64::from(swing)).saturating_add(share);
                // The recorded prices have up to four decimals.
                rack.price = rack.base.share_ppm(share_ppm).rounded(100);
            }
            stepped.unsettled = true;
        }
        stepped.unsettled |= self.sways(now);
        let before = self.rivals.len();
        self.rivals.retain(|rival| rival.until > now);
        stepped.unsettled |= before != self.rivals.len();
        if self.arrivals.rings(temper, now) {
            let rival = self.arrive(now);
            if self.absence.is_none() && self.rivals.len() < RIVALS_MAX {
                self.rivals.extend(rival);
                stepped.unsettled = true;
            }
        }
        stepped
    }

    /// From now on its price and its minimum bid go up and down.
    pub fn sway(&mut self, by_ppm: u32, way_ms: Millis, now: Millis) {
        let way_ms = way_ms.max(MINUTE_MS);
        self.sway = Some(Sway { by_ppm: by_ppm.min(MOST_SWAY_PPM), way_ms, next: now, up: false });
    }

    fn sways(&mut self, now: Millis) -> bool {
        let Some(sway) = self.sway.as_mut().filter(|sway| sway.next <= now) else { return false };
        sway.up = !sway.up;
        sway.next = now.saturating_add(sway.way_ms);
        let by = u64::from(sway.by_ppm);
        let share_ppm = if sway.up { 1_000_000 + by } else { 1_000_000 - by };
        for rack in self.racks.values_mut() {
            rack.price = rack.base.share_ppm(share_ppm).rounded(100);
        }
        true
    }

    /// From now on it lists an uptime that is hardly ever less than all, and is away so many times as often.
    pub fn boast(&mut self, times: u64, temper: Temper, now: Millis) {
        self.uptime_ppm = BOASTED_PPM;
        let times = i64::try_from(times.max(1)).unwrap_or(i64::MAX);
        // Outages themselves last half an hour, and some far longer.
        let between = (between_outages(self.true_uptime_ppm) / times).max(2 * HOUR_MS);
        self.absences = Timer::new(self.absences.dice.clone(), temper, now, between / 2, between * 3 / 2);
    }

    /// It says of its uptime what it is, and asks what it always asked.
    pub fn be_honest(&mut self) {
        self.uptime_ppm = self.true_uptime_ppm;
        let between = between_outages(self.true_uptime_ppm);
        (self.absences.min_ms, self.absences.max_ms) = (between / 2, between * 3 / 2);
        if self.sway.take().is_some() {
            self.racks.values_mut().for_each(|rack| rack.price = rack.base);
        }
    }

    /// Takes the host away; says whether its VMs are lost.
    pub fn vanish(&mut self, kind: Absence, until: Millis) -> bool {
        self.absence = Some((kind, until));
        let died = kind == Absence::Dead;
        if died {
            self.rivals.clear();
        }
        died
    }

    /// Draws somebody who wants GPUs here. Always draws the same number of times.
    fn arrive(&mut self, now: Millis) -> Option<Rival> {
        let dice = &mut self.arrivals.dice;
        let (which, many, kind) = (dice.between(0, 63), dice.between(0, 99), dice.between(0, 99));
        let (stay, factor_ppm) = (dice.between(20, 300), dice.between(1_000_000, 1_500_000));
        let models = u64::try_from(self.racks.len()).unwrap_or(1).max(1);
        let (model, rack) = self.racks.iter().nth(usize::try_from(which % models).unwrap_or(0))?;
        let gpus = match many {
            0..50 => 1,
            50..80 => 2,
            80..95 => rack.total / 2,
            _ => rack.total,
        }
        .clamp(1, rack.total.max(1));
        let share = |all: u32, each: u32| (all / rack.total.max(1)).min(each).saturating_mul(gpus);
        let shape = Shape {
            gpu_model: model.clone(),
            gpus,
            vcpus: share(self.vcpus.free, 6) & !1,
            ram_gb: share(self.ram_gb.free, 24) & !1,
            storage_gb: share(self.storage_gb.free, 120),
        };
        let until = now.saturating_add(i64::try_from(stay).unwrap_or(0).saturating_mul(MINUTE_MS));
        let (price_type, pays) = if kind < 40 {
            (PriceType::OnDemand, self.on_demand(&shape))
        } else {
            // Most bid a little over what is asked, some far more.
            (PriceType::Spot, self.floor(&shape).share_ppm(factor_ppm))
        };
        Some(Rival { shape, price_type, pays, until, inside: false, ports: BTreeSet::new() })
    }
}

/// An outage lasts half an hour on average; how often there is one follows from the uptime, but at least every two months.
fn between_outages(uptime_ppm: u32) -> Millis {
    let down_ppm = i64::from(1_000_000u32.saturating_sub(uptime_ppm).max(350));
    30 * MINUTE_MS * 1_000_000 / down_ppm
}

/// A step half-way back to the mean, and a push of up to a half of the swing either way: stays within the swing.
fn wander(value: u32, mean: u32, swing: u32, drawn: u64) -> u32 {
    let offset = i64::from(value) - i64::from(mean);
    let push = i64::try_from(drawn).unwrap_or(0) - i64::from(swing);
    let moved = i64::from(mean) + offset / 2 + push / 2;
    u32::try_from(moved.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(temper: Temper) -> Host {
        let machines = super::super::catalogue::machines();
        let machine = machines.iter().find(|m| m.gpus.contains_key(&"l40-pcie-48gb".parse().unwrap())).unwrap();
        Host::new(machine, Seed(5), temper, 0)
    }

    #[test]
    fn a_still_host_never_changes() {
        let mut still = host(Temper::Still);
        let before = still.clone();
        for hour in 0..1_000 {
            assert_eq!(still.step(Temper::Still, hour * HOUR_MS), Stepped::default());
        }
        assert_eq!(still, before);
    }

    #[test]
    fn a_lifelike_host_sees_rivals_outages_and_other_minimum_bids() {
        let mut alive = host(Temper::Lifelike);
        let (mut away, mut crowded, mut floors) = (0, 0, BTreeSet::new());
        for step in 0..60 * 24 * 30 * 6 {
            alive.step(Temper::Lifelike, step * MINUTE_MS);
            away += u32::from(alive.absence.is_some());
            crowded += u32::from(!alive.rivals.is_empty());
            floors.insert(alive.floor_ppm);
        }
        assert!(away > 0 && crowded > 0 && floors.len() > 100, "{away} {crowded} {}", floors.len());
    }

    #[test]
    fn a_lent_machine_goes_back_to_its_owner_on_the_day_that_was_said_and_is_lent_again() {
        let machine = super::super::catalogue::machines_of(crate::settings::Vendor::Vectordash)
            .into_iter()
            .find(|machine| machine.available_for == Some(std::time::Duration::from_secs(5 * 3_600)))
            .unwrap();
        let mut lent = Host::new(&machine, Seed(5), Temper::Still, 0);
        let end = |host: &Host| host.available_until().unwrap().as_millisecond() / HOUR_MS;
        assert_eq!(end(&lent), 5);
        assert_eq!(lent.step(Temper::Still, 5 * HOUR_MS - 1), Stepped::default());
        assert!(lent.step(Temper::Still, 5 * HOUR_MS).died);
        assert_eq!((lent.absence, end(&lent)), (Some((Absence::Dead, 9 * HOUR_MS)), 14));
        lent.step(Temper::Still, 9 * HOUR_MS);
        assert_eq!((lent.absence, end(&lent)), (None, 14));
    }

    proptest! {
        #[test]
        fn a_wandering_value_stays_within_its_swing(value in 400_000u32..=600_000, drawn in 0u64..=200_000) {
            let moved = wander(value, 500_000, 100_000, drawn);
            prop_assert!((400_000..=600_000).contains(&moved), "{moved}");
        }
    }
}
