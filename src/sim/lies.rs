//! The lies of the world itself: what befalls VMs, machines and the account that nobody asked for.
//!
//! Beside a world's own restlessness ([`super::Temper`]), which is a market's, stands what no market should do: VMs that
//! stop, vanish and come back, bills that grow, machines that boast, prices that go up and down only to make somebody move,
//! money that is gone and comes back, and strangers with names like ours. All of it hangs on one list of what will happen
//! and when. A test writes into it by hand ([`World::foretell`]); [`World::lie`] lets the dice do it.

use super::{
    host::{Host, Millis},
    knobs::Knobs,
    seed::{Dice, Seed},
    strangers::{self, Guise},
    twist::up_to,
    vm::{Ended, Origin, VmState},
    world::World,
};
use crate::model::{InstanceId, PriceType, Usd};
use std::{collections::BTreeMap, time::Duration};

/// The market's day, in seconds.
const DAY_S: u64 = 86_400;
/// Who sets out to outbid a VM pays so much of its bid.
const OUTBIDDING_PPM: u64 = 1_250_000;

/// Where a VM that is there is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hiding {
    /// In no list. By its id it is there.
    InLists,
    /// Nowhere: who asks by its id is told that there is none.
    Altogether,
}

/// What will happen to a VM by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stops, and keeps its GPUs.
    StopsKeeping,
    /// It stops, and gives them back.
    StopsReleasing,
    /// Somebody bids more than it does, for so long.
    Contested(Duration),
    /// It vanishes, for so long.
    Hides(Hiding, Duration),
    /// It is shown again.
    Returns,
    /// So much more than what was agreed is billed for it, in parts per million.
    Overbilled(u64),
    /// Its owner, somebody else, has done with it.
    Leaves,
}

/// Something that comes some times a day.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Visits {
    dice: Dice,
    per_day: u64,
    next: Millis,
}

impl Visits {
    /// `None`: never.
    fn new(dice: Dice, per_day: u64, now: Millis) -> Option<Self> {
        let mut visits = Self { dice, per_day: (per_day > 0).then_some(per_day)?, next: now };
        visits.draw();
        Some(visits)
    }

    fn draw(&mut self) {
        self.next = self.next.saturating_add(millis(up_to(&mut self.dice, 2 * DAY_S / self.per_day)));
    }

    /// The dice, where one is due.
    fn due(visits: &mut Option<Self>, now: Millis) -> Option<&mut Dice> {
        let visits = visits.as_mut().filter(|visits| visits.next <= now)?;
        visits.draw();
        Some(&mut visits.dice)
    }
}

/// What a world has in store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lies {
    seed: Seed,
    knobs: Knobs,
    /// What happens to which VM, and when; those of one moment in the order in which they were foretold.
    fates: BTreeMap<(Millis, u64), (InstanceId, Fate)>,
    foretold: u64,
    drops: Option<Visits>,
    /// What was spent by somebody else and will be given back.
    top_ups: BTreeMap<Millis, Usd>,
    strangers: Option<Visits>,
}

impl Lies {
    pub const fn none() -> Self {
        Self {
            seed: Seed(0),
            knobs: Knobs::none(),
            fates: BTreeMap::new(),
            foretold: 0,
            drops: None,
            top_ups: BTreeMap::new(),
            strangers: None,
        }
    }
}

fn millis(duration: Duration) -> Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl World {
    /// From now on it lies, as much as these knobs say; each lie is drawn from this seed.
    pub fn lie(&mut self, seed: Seed, knobs: &Knobs) {
        let (now, temper) = (self.now, self.options.temper);
        self.lies.seed = seed;
        self.lies.knobs = *knobs;
        self.lies.drops = Visits::new(seed.dice("lies/drops"), knobs.balance_drops_per_day, now);
        self.lies.strangers = Visits::new(seed.dice("lies/strangers"), knobs.strangers_per_day, now);
        for host in self.hosts.values_mut() {
            let dice = |lie: &str| seed.dice(&format!("lies/host/{}/{lie}", host.id));
            if dice("boasting").chance_ppm(knobs.boasting_ppm) {
                host.boast(knobs.boasting_times, temper, now);
            }
            let mut dice = seed.dice(&format!("lies/host/{}/swaying", host.id));
            if dice.chance_ppm(knobs.swaying_ppm) {
                let by_ppm = u32::try_from(dice.between(1, knobs.swaying_by_ppm_max.max(1))).unwrap_or(u32::MAX);
                let way = up_to(&mut dice, knobs.swaying_s_max);
                host.sway(by_ppm, millis(way), now);
            }
        }
    }

    /// From now on it does not lie, and who was hidden, never ready or robbed is well again. VMs of others go at their time.
    pub fn be_honest(&mut self) {
        self.hosts.values_mut().for_each(Host::be_honest);
        let fates = std::mem::take(&mut self.lies.fates);
        let leaving = fates.into_iter().filter(|(_, (_, fate))| *fate == Fate::Leaves).collect();
        let top_ups = std::mem::take(&mut self.lies.top_ups);
        self.lies = Lies { fates: leaving, foretold: self.lies.foretold, ..Lies::none() };
        top_ups.into_values().for_each(|amount| self.deposit(amount));
        for vm in self.vms.values_mut() {
            vm.hiding = None;
            if vm.ready_at == Millis::MAX {
                vm.ready_at = self.now;
            }
        }
        self.hosts.keys().cloned().collect::<Vec<_>>().iter().for_each(|host| self.settle(host));
    }

    /// Writes down what will happen to a VM after so long; at once where that is nothing, else at a step of the world.
    pub fn foretell(&mut self, vm: &InstanceId, after: Duration, fate: Fate) {
        if after.is_zero() {
            return self.fulfil(vm, fate);
        }
        self.lies.foretold = self.lies.foretold.saturating_add(1);
        let at = self.now.saturating_add(millis(after));
        self.lies.fates.insert((at, self.lies.foretold), (vm.clone(), fate));
    }

    /// A VM that is starting is never ready.
    pub fn stall(&mut self, vm: &InstanceId) {
        if let Some(vm) = self.vms.get_mut(vm) {
            vm.ready_at = Millis::MAX;
        }
    }

    /// A machine's price and minimum bid go up and down from now on, by so many parts per million, each way for so long.
    pub fn sway(&mut self, host: &crate::model::HostnodeId, by_ppm: u32, way: Duration) {
        let now = self.now;
        if let Some(host) = self.hosts.get_mut(host) {
            host.sway(by_ppm, millis(way), now);
        }
    }

    /// A machine lists an uptime from now on that it does not have, and is away so many times as often as before.
    pub fn boast(&mut self, host: &crate::model::HostnodeId, times: u64) {
        let (now, temper) = (self.now, self.options.temper);
        if let Some(host) = self.hosts.get_mut(host) {
            host.boast(times, temper, now);
        }
    }

    /// Draws what will happen to a new VM of ours.
    pub(super) fn draw_fate(&mut self, id: &InstanceId) {
        let Lies { seed, knobs, .. } = self.lies;
        if knobs == Knobs::none() {
            return;
        }
        let spot = self.vms.get(id).is_some_and(|vm| vm.price_type == PriceType::Spot);
        let dice = |lie: &str| seed.dice(&format!("lies/vm/{}/{lie}", self.made));
        let mut drawn = Vec::new();
        let mut befalls = |lie: &str, ppm: u64, fate: &dyn Fn(&mut Dice) -> Fate| {
            let mut dice = dice(lie);
            if dice.chance_ppm(ppm) {
                drawn.push((up_to(&mut dice, knobs.fate_s_max), fate(&mut dice)));
            }
        };
        let hides = |how| move |dice: &mut Dice| Fate::Hides(how, up_to(dice, knobs.hidden_s_max));
        befalls("stopping", knobs.stopping_ppm, &|dice| {
            if dice.chance_ppm(500_000) { Fate::StopsKeeping } else { Fate::StopsReleasing }
        });
        befalls("hidden", knobs.hidden_ppm, &hides(Hiding::InLists));
        befalls("denied", knobs.denied_ppm, &hides(Hiding::Altogether));
        befalls("outbid", if spot { knobs.outbid_ppm } else { 0 }, &|dice| {
            Fate::Contested(up_to(dice, knobs.outbid_s_max))
        });
        for (after, fate) in drawn {
            self.foretell(id, after, fate);
        }
    }

    /// Lets come true what is due at a step.
    pub(super) fn come_true(&mut self, now: Millis) {
        while let Some(entry) = self.lies.fates.first_entry().filter(|entry| entry.key().0 <= now) {
            let (vm, fate) = entry.remove();
            self.fulfil(&vm, fate);
        }
        while let Some(entry) = self.lies.top_ups.first_entry().filter(|entry| *entry.key() <= now) {
            let amount = entry.remove();
            self.deposit(amount);
        }
        let knobs = self.lies.knobs;
        if let Some(dice) = Visits::due(&mut self.lies.drops, now) {
            let share_ppm = dice.between(1, knobs.balance_drop_ppm_max.max(1));
            let back = now.saturating_add(millis(up_to(dice, knobs.top_up_s_max)));
            let left = u64::try_from(self.balance.usd().micros()).unwrap_or(0);
            let share = u128::from(left) * u128::from(share_ppm) / 1_000_000;
            let taken = self.withdraw(Usd::from_micros(i64::try_from(share).unwrap_or(i64::MAX)));
            let waiting = self.lies.top_ups.entry(back).or_default();
            *waiting = waiting.plus(taken);
        }
        if let Some(dice) = Visits::due(&mut self.lies.strangers, now) {
            let guise = Guise::drawn(dice);
            let stays = up_to(dice, knobs.stranger_s_max);
            let mut dice = dice.clone();
            self.admit(guise, stays, &mut dice);
        }
    }

    /// Somebody else makes a VM, if there is room where they look for it, and it goes through what VMs go through.
    fn admit(&mut self, guise: Guise, stays: Duration, dice: &mut Dice) {
        let Some(order) = strangers::order(self, guise, dice) else { return };
        let Ok(id) = self.deploy_foreign(order) else { return };
        self.foretell(&id, stays, Fate::Leaves);
        let (kind, when) = (dice.between(0, 3), up_to(dice, stays.as_secs()));
        match kind {
            0 => self.foretell(&id, when, Fate::StopsReleasing),
            1 => self.foretell(&id, when, Fate::Contested(stays)),
            _ => {}
        }
    }

    fn fulfil(&mut self, id: &InstanceId, fate: Fate) {
        let Some(vm) = self.vms.get_mut(id) else { return };
        let host = vm.hostnode.clone();
        let stoppable = match vm.state {
            VmState::Starting | VmState::Running => true,
            VmState::StoppedKept | VmState::StoppedReleased | VmState::Outbid => false,
        };
        match fate {
            Fate::StopsKeeping if stoppable => vm.state = VmState::StoppedKept,
            Fate::StopsReleasing if stoppable => {
                vm.state = VmState::StoppedReleased;
                self.settle(&host);
            }
            Fate::StopsKeeping | Fate::StopsReleasing => {}
            Fate::Contested(lasting) => {
                let (shape, pays) = (vm.shape.clone(), vm.agreed.compute.share_ppm(OUTBIDDING_PPM));
                if vm.price_type == PriceType::Spot {
                    self.intrude(&host, shape, pays, lasting);
                }
            }
            Fate::Hides(how, lasting) => {
                vm.hiding = Some(how);
                self.foretell(id, lasting, Fate::Returns);
            }
            Fate::Returns => vm.hiding = None,
            Fate::Overbilled(by_ppm) => vm.surcharge_ppm = by_ppm,
            Fate::Leaves if vm.origin == Origin::Foreign => drop(self.end(id, Ended::Left)),
            Fate::Leaves => {}
        }
    }
}
