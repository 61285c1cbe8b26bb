//! The simulated world: hostnodes, rivals, our account and its VMs, and the passing of time.
//!
//! A [`World`] is a value. It has no clock: [`World::advance`] moves it to a moment somebody names, lazily, in fixed
//! steps of [`STEP_MS`] on a grid that begins with the world, so that the way there (one call or a thousand) makes no
//! difference to what happens. Between two steps only money flows.
//!
//! ```text
//! advance(now) ─┬─ each step:  wallet pays ─ hosts live (outages, prices, rivals) ─ GPUs are settled ─ VMs get ready
//!               └─ the rest:   wallet pays
//! ```
//!
//! What the API may do stands in `backend`; what only tests and summaries may know stands in `truth`.

use super::{
    books::Books,
    catalogue,
    contest::{self, Contender},
    host::{Absence, Host, Millis, Rival, Temper, Usage},
    lies::Lies,
    seed::{Dice, Seed},
    truth::Sums,
    vm::{Ended, Vm, VmState},
    wallet::Grains,
    watched::{Version, Watched},
};
use crate::{
    model::{HostnodeId, HourlyRate, InstanceId, PriceType, Shape, Timestamp, Usd},
    settings::Vendor,
};
use std::collections::BTreeMap;

/// The world moves in steps of ten seconds.
pub const STEP_MS: i64 = 10_000;
/// At most so many steps in one call, a month of them: what lies further away is bridged, and nothing but billing
/// happens there. Keeps a machine that slept for a year from computing that year.
const STEPS_MAX: i64 = 30 * 24 * 360;

/// What a world is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldOptions {
    /// How many hostnodes; `None`: the whole catalogue.
    pub hosts: Option<usize>,
    /// What the account holds at the opening.
    pub balance: Usd,
    /// How restless it is.
    pub temper: Temper,
    /// How long a new VM takes until it runs, in seconds: least and most.
    pub provisioning_s: (u32, u32),
}

impl WorldOptions {
    /// Like life: the whole catalogue, half a minute to a minute and a half until a VM runs.
    pub const fn lifelike(balance: Usd) -> Self {
        Self { hosts: None, balance, temper: Temper::Lifelike, provisioning_s: (30, 90) }
    }

    /// The same, but that nothing moves by itself.
    pub const fn still(balance: Usd) -> Self {
        Self { temper: Temper::Still, ..Self::lifelike(balance) }
    }
}

/// The simulated world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    pub(super) seed: Seed,
    pub(super) options: WorldOptions,
    pub(super) opened_at: Millis,
    pub(super) now: Millis,
    stepped_to: Millis,
    pub(super) hosts: Watched<BTreeMap<HostnodeId, Host>>,
    /// Those that exist.
    pub(super) vms: Watched<BTreeMap<InstanceId, Vm>>,
    /// Those that did, in the order in which they ended.
    pub(super) past: Vec<Vm>,
    /// The sums over those.
    pub(super) buried: Sums,
    pub(super) balance: Grains,
    pub(super) made: u64,
    pub(super) opening_balance: Usd,
    pub(super) books: Books,
    pub(super) lies: Lies,
}

/// Somebody in a contest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Ours(InstanceId),
    Rival(usize),
    Challenger,
}

/// Somebody who is not there yet and wants GPUs.
#[derive(Clone, Debug)]
pub(super) struct Challenger<'a> {
    pub shape: &'a Shape,
    pub price_type: PriceType,
    pub pays: HourlyRate,
}

/// How a contest ended.
pub(super) struct Outcome(Vec<(Who, bool)>);

impl Outcome {
    pub fn won(&self, who: &Who) -> bool {
        self.0.iter().any(|(one, won)| one == who && *won)
    }
}

impl World {
    /// A world at its first moment.
    pub fn new(seed: u64, now: Timestamp, options: WorldOptions) -> Self {
        let machines = options.hosts.map_or_else(catalogue::machines, catalogue::of_size);
        Self::with_machines(seed, now, options, &machines)
    }

    /// A world of one's own machines, whatever `options.hosts` says.
    pub fn with_machines(seed: u64, now: Timestamp, options: WorldOptions, machines: &[catalogue::Machine]) -> Self {
        let (seed, now) = (Seed(seed), now.as_millisecond());
        let hosts: BTreeMap<HostnodeId, Host> = machines
            .iter()
            .map(|machine| (machine.id.clone(), Host::new(machine, seed, options.temper, now)))
            .collect();
        let (balance, opening_balance) = (Grains::from_usd(options.balance), options.balance);
        Self {
            seed,
            options,
            opened_at: now,
            now,
            stepped_to: now,
            hosts: hosts.into(),
            vms: BTreeMap::new().into(),
            past: Vec::new(),
            buried: Sums::default(),
            balance,
            made: 0,
            opening_balance,
            books: Books::open(now, balance),
            lies: Lies::none(),
        }
    }

    /// Another vendor's world of the same seed, moment and temper, with that vendor's machines and an account of its own.
    pub(super) fn of_another(&self, vendor: Vendor) -> Self {
        let now = Timestamp::from_millisecond(self.now).unwrap_or(Timestamp::UNIX_EPOCH);
        Self::with_machines(self.seed.0, now, self.options.clone(), &catalogue::machines_of(vendor))
    }

    /// Lets the world live up to a moment. One that has passed already changes nothing.
    pub fn advance(&mut self, now: Timestamp) {
        let target = now.as_millisecond();
        if target - self.stepped_to > STEPS_MAX.saturating_mul(STEP_MS) {
            let steps_left_out = (target - self.stepped_to) / STEP_MS - STEPS_MAX;
            self.stepped_to = self.stepped_to.saturating_add(steps_left_out.saturating_mul(STEP_MS));
            self.pay_until(self.stepped_to);
        }
        while self.stepped_to.saturating_add(STEP_MS) <= target {
            self.stepped_to = self.stepped_to.saturating_add(STEP_MS);
            self.pay_until(self.stepped_to);
            self.step(self.stepped_to);
        }
        self.pay_until(target);
    }

    fn step(&mut self, now: Millis) {
        let mut unsettled = Vec::new();
        let mut died = Vec::new();
        let due = |(id, host): (&HostnodeId, &Host)| host.is_due(now).then(|| id.clone());
        for id in self.hosts.iter().filter_map(due).collect::<Vec<_>>() {
            let Some(host) = self.hosts.get_mut(&id) else { continue };
            let stepped = host.step(self.options.temper, now);
            if stepped.died {
                died.push(id.clone());
            }
            if stepped.unsettled {
                unsettled.push(id);
            }
        }
        for id in died {
            self.lose_vms(&id);
        }
        for id in unsettled {
            self.settle(&id);
        }
        let is_ready = |vm: &&Vm| vm.state == VmState::Starting && vm.ready_at <= now && self.host_is_up(&vm.hostnode);
        for id in self.vms.values().filter(is_ready).map(|vm| vm.id.clone()).collect::<Vec<_>>() {
            if let Some(vm) = self.vms.get_mut(&id) {
                vm.state = VmState::Running;
            }
        }
        self.come_true(now);
    }

    pub(super) fn lose_vms(&mut self, host: &HostnodeId) {
        let lost: Vec<InstanceId> =
            self.vms.values().filter(|vm| vm.hostnode == *host).map(|vm| vm.id.clone()).collect();
        for id in lost {
            self.end(&id, Ended::HostDied);
        }
    }

    pub(super) fn host_is_up(&self, host: &HostnodeId) -> bool {
        self.hosts.get(host).is_some_and(|host| host.absence.is_none())
    }

    /// What the account pays per hour now.
    pub(super) fn burn(&self) -> HourlyRate {
        self.vms.values().map(|vm| vm.billed(self.host_is_up(&vm.hostnode))).sum()
    }

    /// Lets money flow up to a moment, and closes the books of each month that ends on the way.
    fn pay_until(&mut self, until: Millis) {
        while self.books.ends_at <= until {
            self.pay_within(self.books.ends_at);
            self.close_the_month();
        }
        self.pay_within(until);
    }

    /// Lets money flow up to a moment. An account that runs dry on the way loses everything at that millisecond.
    fn pay_within(&mut self, until: Millis) {
        let Some(millis) = until.checked_sub(self.now).filter(|millis| *millis > 0).map(i64::unsigned_abs) else {
            return;
        };
        let lasts = self.balance.lasts_ms(self.burn());
        let paid = lasts.map_or(millis, |lasts| lasts.min(millis));
        let hosts = &self.hosts;
        // No list shows what a VM has cost.
        let cost = self
            .vms
            .quietly()
            .values_mut()
            .map(|vm| vm.charge(hosts.get(&vm.hostnode).is_some_and(|host| host.absence.is_none()), paid))
            .fold(Grains::default(), Grains::plus);
        self.balance = self.balance.minus(cost);
        self.now = self.now.saturating_add(i64::try_from(paid).unwrap_or(i64::MAX));
        if lasts.is_some_and(|lasts| lasts <= millis) {
            let all: Vec<InstanceId> = self.vms.keys().cloned().collect();
            for id in all {
                self.end(&id, Ended::Bankrupt);
            }
        }
        self.now = until;
    }

    /// Somebody takes a VM away past the API; `false` where there is none.
    pub fn take_away(&mut self, id: &InstanceId) -> bool {
        self.end(id, Ended::TakenAway)
    }

    /// Likewise, somebody stops it, and its GPUs are free.
    pub fn halt(&mut self, id: &InstanceId) {
        let Some(host) = self.vms.get(id).map(|vm| vm.hostnode.clone()) else { return };
        self.set_state(id, VmState::StoppedReleased);
        self.settle(&host);
    }

    /// Takes a VM out of the world, and lets whoever waits for its GPUs in.
    pub(super) fn end(&mut self, id: &InstanceId, why: Ended) -> bool {
        let Some(mut vm) = self.vms.remove(id) else { return false };
        vm.ended = Some((self.now, why));
        let host = vm.hostnode.clone();
        self.buried = self.buried.with(&vm);
        self.past.push(vm);
        self.settle(&host);
        true
    }

    /// What is in use on a host, by those that run now.
    pub(super) fn usage(&self, host: &Host) -> Usage {
        let mut usage = Usage::default();
        for rival in &host.rivals {
            if rival.inside {
                usage.add_compute(&rival.shape);
            }
            usage.add_disk(&rival.shape, rival.ports.iter().copied());
        }
        for vm in self.vms.values().filter(|vm| vm.hostnode == host.id) {
            if vm.holds() {
                usage.add_compute(&vm.shape);
            }
            usage.add_disk(&vm.shape, vm.ports.keys().copied());
        }
        usage
    }

    /// Who would hold a host's GPUs now, by the rule of the highest total revenue. On-demand VMs that are in place stay;
    /// everybody else competes. With `moved`, as if that VM's bid were another.
    pub(super) fn contest(
        &self,
        host: &Host,
        challenger: Option<&Challenger<'_>>,
        moved: Option<(&InstanceId, HourlyRate)>,
    ) -> Outcome {
        let mut held = Usage::default();
        let mut inside: Vec<(Who, Contender)> = Vec::new();
        let mut waiting: Vec<(Who, Contender)> = Vec::new();
        let floor_holds = |shape: &Shape, pays: HourlyRate| pays >= host.floor(shape);
        let contender = |shape: &Shape, pays: HourlyRate| Contender {
            gpu_model: shape.gpu_model.clone(),
            gpus: shape.gpus,
            vcpus: shape.vcpus,
            ram_gb: shape.ram_gb,
            revenue_micros: pays.micros(),
        };
        for vm in self.vms.values().filter(|vm| vm.hostnode == host.id) {
            let pays = moved.filter(|(id, _)| **id == vm.id).map_or(vm.agreed.compute, |(_, price)| price);
            match (vm.price_type, vm.state) {
                (_, VmState::StoppedReleased) => {}
                (PriceType::OnDemand, _) => held.add_compute(&vm.shape),
                (PriceType::Spot, _) if !floor_holds(&vm.shape, pays) => {}
                (PriceType::Spot, VmState::Outbid) => {
                    waiting.push((Who::Ours(vm.id.clone()), contender(&vm.shape, pays)));
                }
                (PriceType::Spot, VmState::Starting | VmState::Running | VmState::StoppedKept) => {
                    inside.push((Who::Ours(vm.id.clone()), contender(&vm.shape, pays)));
                }
            }
        }
        for (place, rival) in host.rivals.iter().enumerate() {
            match (rival.price_type, rival.inside) {
                (PriceType::OnDemand, true) => held.add_compute(&rival.shape),
                (PriceType::Spot, _) if !floor_holds(&rival.shape, rival.pays) => {}
                (PriceType::Spot, true) => inside.push((Who::Rival(place), contender(&rival.shape, rival.pays))),
                (PriceType::OnDemand | PriceType::Spot, false) => {
                    waiting.push((Who::Rival(place), contender(&rival.shape, rival.pays)));
                }
            }
        }
        inside.append(&mut waiting);
        if let Some(Challenger { shape, price_type, pays }) = challenger
            && (*price_type == PriceType::OnDemand || floor_holds(shape, *pays))
        {
            inside.push((Who::Challenger, contender(shape, *pays)));
        }
        let (who, contenders): (Vec<Who>, Vec<Contender>) = inside.into_iter().unzip();
        let wins = contest::winners(&host.capacity(&held), &contenders);
        Outcome(who.into_iter().zip(wins).collect())
    }

    /// Gives a host's GPUs to those who win them now.
    pub(super) fn settle(&mut self, host: &HostnodeId) {
        let disk_of_ours = self.vms.values().filter(|vm| vm.hostnode == *host).map(|vm| vm.shape.storage_gb).sum();
        let Some(found) = self.hosts.get_mut(host).filter(|host| host.absence.is_none()) else { return };
        turn_away(found, disk_of_ours);
        let Some(found) = self.hosts.get(host) else { return };
        let outcome = self.contest(found, None, None);
        self.apply(host, &outcome);
    }

    fn apply(&mut self, host: &HostnodeId, outcome: &Outcome) {
        let now = self.now;
        for vm in self.vms.values_mut().filter(|vm| vm.hostnode == *host && vm.price_type == PriceType::Spot) {
            let won = outcome.won(&Who::Ours(vm.id.clone()));
            match vm.state {
                VmState::Starting | VmState::Running if !won => {
                    vm.state = VmState::Outbid;
                    vm.outbids = vm.outbids.saturating_add(1);
                }
                VmState::StoppedKept if !won => {
                    vm.state = VmState::StoppedReleased;
                    vm.outbids = vm.outbids.saturating_add(1);
                }
                VmState::Outbid if won => {
                    vm.state = VmState::Starting;
                    vm.ready_at = now.saturating_add(RESTART_MS);
                }
                VmState::Starting
                | VmState::Running
                | VmState::StoppedKept
                | VmState::StoppedReleased
                | VmState::Outbid => {}
            }
        }
        let usage = self.hosts.get(host).map(|host| self.usage(host)).unwrap_or_default();
        let Some(found) = self.hosts.get_mut(host) else { return };
        seat_rivals(found, outcome, &usage);
    }

    /// How long a new VM takes until it runs.
    pub(super) fn provisioning_ms(&self, dice: &mut Dice) -> i64 {
        let (least, most) = self.options.provisioning_s;
        i64::try_from(dice.between(u64::from(least) * 1_000, u64::from(most) * 1_000)).unwrap_or(i64::MAX)
    }

    /// Takes a hostnode away, now. For tests and shows that cannot wait for one to vanish by itself.
    pub fn vanish(&mut self, host: &HostnodeId, kind: Absence, lasts: std::time::Duration) {
        let lasts = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
        let until = self.now.saturating_add(lasts);
        if self.hosts.get_mut(host).is_some_and(|host| host.vanish(kind, until)) {
            self.lose_vms(host);
        }
    }

    /// Lets a rival bid for a hostnode's GPUs, now. For tests and shows that cannot wait for one.
    pub fn intrude(&mut self, host: &HostnodeId, shape: Shape, pays: HourlyRate, lasts: std::time::Duration) {
        let until = self.now.saturating_add(i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX));
        if let Some(found) = self.hosts.get_mut(host) {
            let ports = std::collections::BTreeSet::new();
            found.rivals.push(Rival { shape, price_type: PriceType::Spot, pays, until, inside: false, ports });
            self.settle(host);
        }
    }

    /// Of its machines and of its VMs: all that lists are made of.
    pub(super) fn versions(&self) -> [Version; 2] {
        [self.hosts.version(), self.vms.version()]
    }

    /// What the account holds.
    pub fn balance(&self) -> Usd {
        self.balance.usd()
    }

    /// Somebody else spends of the account, at most all that is left; says how much it was.
    pub fn withdraw(&mut self, amount: Usd) -> Usd {
        let taken = Grains::from_usd(amount.min(self.balance.usd().max(Usd::ZERO)));
        self.balance = self.balance.minus(taken);
        self.opening_balance = self.opening_balance.minus(taken.usd());
        self.books.deposited = self.books.deposited.minus(taken);
        taken.usd()
    }

    /// Puts money into the account.
    pub fn deposit(&mut self, amount: Usd) {
        self.balance = self.balance.plus(Grains::from_usd(amount));
        self.opening_balance = self.opening_balance.plus(amount);
        self.books.deposited = self.books.deposited.plus(Grains::from_usd(amount));
    }
}

/// How long a VM whose bid wins again takes to come back.
const RESTART_MS: i64 = 20_000;

/// Sends newcomers away for whom there is no disk. Those who came earlier stand earlier, and keep theirs.
fn turn_away(host: &mut Host, mut disk_gb: u32) {
    let all = host.storage_gb.free;
    host.rivals.retain(|rival| {
        let fits = disk_gb.saturating_add(rival.shape.storage_gb) <= all;
        if fits {
            disk_gb = disk_gb.saturating_add(rival.shape.storage_gb);
        }
        fits
    });
}

/// Seats the rivals who won, and sends away those who will not wait.
fn seat_rivals(host: &mut Host, outcome: &Outcome, usage: &Usage) {
    let free_ports: Vec<u16> = host.ports.difference(&usage.ports).copied().collect();
    let mut free_ports = free_ports.into_iter();
    let mut place = 0;
    host.rivals.retain_mut(|rival| {
        let fixed = rival.price_type == PriceType::OnDemand && rival.inside;
        rival.inside = fixed || outcome.won(&Who::Rival(place));
        place += 1;
        if rival.inside && rival.ports.is_empty() {
            rival.ports = free_ports.next().into_iter().collect();
        }
        // Who pays the list price takes it or leaves it; a bidder waits.
        rival.inside || rival.price_type == PriceType::Spot
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        market::{Backend, Stop, WorldOrder},
        model::{VmName, time},
    };
    use proptest::prelude::*;
    use std::time::Duration;

    fn wild(seed: u64) -> World {
        let options = WorldOptions { temper: Temper::Wild, ..WorldOptions::lifelike("60".parse().unwrap()) };
        World::new(seed, Timestamp::UNIX_EPOCH, options)
    }

    fn at(seconds: u64) -> Timestamp {
        time::after(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds))
    }

    #[test]
    fn the_same_seed_is_the_same_world_however_one_gets_there() {
        let (mut at_once, mut in_pieces, mut other) = (wild(3), wild(3), wild(4));
        at_once.advance(at(50_000));
        for second in 0..=5_000 {
            in_pieces.advance(at((second * 10 + second % 7).min(50_000)));
            in_pieces.advance(at(second));
        }
        in_pieces.advance(at(50_000));
        other.advance(at(50_000));
        assert_eq!(at_once, in_pieces);
        assert_ne!(at_once.hostnodes(), other.hostnodes());
    }

    #[test]
    fn a_machine_for_which_nothing_is_due_is_what_it_was_after_a_step() {
        let mut world = wild(3);
        let (mut due, mut quiet) = (0, 0);
        for step in 1..=2_000 {
            let now = world.opened_at + step * STEP_MS;
            for host in world.hosts.values() {
                let mut stepped = host.clone();
                let told = stepped.step(Temper::Wild, now);
                if host.is_due(now) {
                    due += 1;
                } else {
                    quiet += 1;
                    assert_eq!((&stepped, told), (host, super::super::host::Stepped::default()));
                }
            }
            world.advance(Timestamp::from_millisecond(now).unwrap());
        }
        assert!(due > 100 && quiet > due, "{due} {quiet}");
    }

    #[test]
    fn a_list_that_is_another_than_before_is_of_another_version() {
        let options = WorldOptions { hosts: Some(15), ..WorldOptions::lifelike("60".parse().unwrap()) };
        let mut world = World::new(3, Timestamp::UNIX_EPOCH, options);
        let (mut same, mut others) = (0, 0);
        let mut before = (world.versions(), world.hostnodes(), Backend::vms(&mut world));
        for step in 1..=1_000 {
            if step % 50 == 1 {
                let hosts = world.hostnodes();
                hosts.iter().find(|host| act(&mut world, 1, &host.id, 1, step));
            }
            world.advance(at(step * 30));
            let after = (world.versions(), world.hostnodes(), Backend::vms(&mut world));
            if before.0 == after.0 {
                same += 1;
                assert_eq!((&before.1, &before.2), (&after.1, &after.2));
            } else {
                others += 1;
            }
            before = after;
        }
        assert!(same > 100 && others > 20, "{same} {others}");
    }

    #[test]
    fn what_we_do_changes_no_rival_and_no_outage() {
        let (mut idle, mut busy) = (wild(3), wild(3));
        let host = busy.hostnodes().into_iter().find(|host| act(&mut busy, 0, &host.id, 1, 0)).unwrap();
        idle.advance(at(40_000));
        busy.advance(at(40_000));
        let seen = |world: &World| -> Vec<_> {
            let others = world.hosts.values().filter(|other| other.id != host.id);
            others.map(|host| (host.absence, host.floor_ppm, host.rivals.clone())).collect()
        };
        assert_eq!(seen(&idle), seen(&busy));
        let own = |world: &World| world.hosts.get(&host.id).map(|host| (host.absence, host.floor_ppm));
        assert_eq!(own(&idle), own(&busy));
    }

    #[test]
    fn a_year_asleep_is_bridged_in_bounded_work() {
        let mut world = wild(5);
        world.advance(at(365 * 86_400));
        assert_eq!(world.now(), at(365 * 86_400));
        assert_eq!(world.impossible(), Vec::<String>::new());
    }

    #[test]
    fn a_lifelike_month_has_a_market() {
        let options = WorldOptions::lifelike("1000".parse().unwrap());
        let mut world = World::new(11, Timestamp::UNIX_EPOCH, options);
        let (mut free, mut away) = (Vec::new(), 0);
        for hour in 0..24 * 14 {
            world.advance(at(hour * 3_600));
            let hosts = world.hostnodes();
            away += world.hosts.len() - hosts.iter().filter(|host| host.online).count();
            let models = world.hosts.values().flat_map(|host| host.racks.keys()).cloned();
            let models: std::collections::BTreeSet<_> = models.collect();
            free.push(hosts.iter().flat_map(|host| models.iter().map(|model| host.free_gpus(model))).sum::<u32>());
        }
        let mean = free.iter().sum::<u32>() / u32::try_from(free.len()).unwrap();
        assert!((60..=150).contains(&mean), "{mean} GPUs are free on average");
        assert!(free.iter().all(|free| *free >= 40));
        assert!((20..2_000).contains(&away), "{away} host-hours of outage");
    }

    /// Does something at random; says whether the world did it.
    fn act(world: &mut World, kind: u8, host: &HostnodeId, gpus: u32, size: u64) -> bool {
        let Some(found) = world.hosts.get(host) else { return false };
        let Some(gpu_model) = found.racks.keys().next().cloned() else { return false };
        let ports = found.ports.iter().nth(usize::try_from(size % 7).unwrap()).map(|port| (*port, 22));
        let shape = Shape { gpu_model, gpus, vcpus: 4 * gpus, ram_gb: 16 * gpus, storage_gb: 100 };
        let bid = found.floor(&shape).share_ppm(900_000 + size * 10_000);
        let mine: Vec<InstanceId> = world.vms.keys().cloned().collect();
        let id = mine.get(usize::try_from(size).unwrap() % mine.len().max(1)).cloned();
        let name: VmName = format!("vm-{size}").parse().unwrap();
        match (kind, id) {
            (0..=3, _) => {
                let (price_type, bid) = match kind {
                    0 => (PriceType::OnDemand, None),
                    1..=3 => (PriceType::Spot, Some(bid)),
                    4.. => unreachable!(),
                };
                let image = "Ubuntu 22.04 LTS".to_owned();
                let ports = ports.into_iter().collect();
                let (hostnode, rule) = (host.clone(), super::super::host::RULE);
                world.deploy(WorldOrder { name, hostnode, shape, price_type, bid, image, ports, rule }).is_ok()
            }
            (4, Some(id)) => world.terminate(&id).is_ok(),
            (5, Some(id)) => world.stop(&id, Stop::KeepGpu).is_ok(),
            (6, Some(id)) => world.stop(&id, Stop::ReleaseGpu).is_ok(),
            (7, Some(id)) => world.start(&id).is_ok(),
            (8, Some(id)) => world.rebid(&id, bid).is_ok(),
            (9.., _) => {
                let absence = [Absence::Offline, Absence::Hidden, Absence::Dead][usize::from(kind) % 3];
                world.vanish(host, absence, Duration::from_secs(size * 60));
                true
            }
            (4..=8, None) => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Nothing is oversold, no port is given twice, and what is gone from the balance is what the VMs were charged,
        /// to the grain; the balance falls by the integral of the rate that the wallet names.
        #[test]
        fn whatever_is_done_the_world_stays_possible(
            seed in 0u64..1_000,
            acts in proptest::collection::vec((0u8..12, 0usize..100, 1u32..5, 0u64..60, 1u64..3_000), 1..60),
        ) {
            let mut world = wild(seed);
            let hosts = world.hostnode_ids();
            for (kind, host, gpus, size, wait) in acts {
                act(&mut world, kind, &hosts[host % hosts.len()], gpus, size);
                prop_assert_eq!(world.impossible(), Vec::<String>::new());
                let (before, rate) = (world.balance, world.burn());
                let to_the_next_step = u64::try_from(world.stepped_to + STEP_MS - world.now).unwrap() - 1;
                let mut now = u64::try_from(world.now).unwrap() + to_the_next_step;
                world.advance(Timestamp::from_millisecond(i64::try_from(now).unwrap()).unwrap());
                if before > Grains::cost(rate, to_the_next_step) {
                    prop_assert_eq!(world.balance, before.minus(Grains::cost(rate, to_the_next_step)));
                }
                now += wait * 1_000;
                world.advance(Timestamp::from_millisecond(i64::try_from(now).unwrap()).unwrap());
                prop_assert_eq!(world.impossible(), Vec::<String>::new());
            }
        }
    }
}
