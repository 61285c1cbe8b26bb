//! What the marketplace's API may do to the world, in nobody's dialect.
//!
//! Each answer is the strictest that the documents allow: sizes must be sold as they are ordered, ports must be free,
//! limits of the hostnode hold, a VM that is running cannot be started.

use super::{
    host::{Absence, Host, RULE},
    lies::Hiding,
    vm::{Ended, Origin, Vm, VmState},
    world::{Challenger, Who, World},
};
use crate::{
    market::{Backend, Stop, WorldMonth, WorldOrder, WorldVm},
    model::{
        Hostnode, HostnodeId, HourlyRate, Instance, InstanceId, InstanceStatus, PriceType, Refusal, Shape, Timestamp,
        Usd,
        offer::{Bid, BidAnswer, Misfit, PriceRule, Rates, Supply},
    },
};

/// "Up to 64 forwards" (vendor dashboard).
const PORTS_MAX: usize = 64;

/// Why a shape cannot be had for a price.
fn lost(price_type: PriceType, shape_could_win: bool) -> Refusal {
    match price_type {
        PriceType::Spot if shape_could_win => Refusal::BidTooLow("a higher bid is needed".to_owned()),
        PriceType::Spot | PriceType::OnDemand => {
            Refusal::NoCapacity("the hostnode does not have enough resources available".to_owned())
        }
    }
}

impl World {
    fn show(&self, vm: &Vm) -> WorldVm {
        let status = match self.hosts.get(&vm.hostnode).and_then(|host| host.absence) {
            Some(_) => InstanceStatus::Unknown("Offline".to_owned()),
            None => match vm.state {
                VmState::Starting => InstanceStatus::Starting,
                VmState::Running => InstanceStatus::Running,
                VmState::StoppedKept => InstanceStatus::StoppedKept,
                VmState::StoppedReleased => InstanceStatus::StoppedReleased,
                VmState::Outbid => InstanceStatus::Outbid,
            },
        };
        WorldVm {
            instance: Instance {
                id: vm.id.clone(),
                name: vm.name.clone(),
                status,
                hostnode: Some(vm.hostnode.clone()),
                gpu_model: Some(vm.shape.gpu_model.clone()),
                gpus: vm.shape.gpus,
                price_type: Some(vm.price_type),
                quoted: Some(vm.asked()),
                address: Some(vm.address.clone()),
                ports: vm.ports.clone(),
                created_at: Timestamp::from_millisecond(vm.made_at).ok(),
                available_until: self.hosts.get(&vm.hostnode).and_then(Host::available_until),
            },
            shape: vm.shape.clone(),
            location: vm.location.clone(),
            image: vm.image.clone(),
        }
    }

    fn host_for(&self, id: &HostnodeId) -> Result<&Host, Refusal> {
        self.hosts
            .get(id)
            .filter(|host| host.absence.is_none())
            .ok_or_else(|| Refusal::NoCapacity("hostnode unavailable".to_owned()))
    }

    /// What a shape costs on a host on demand, and whether there is disk for it. GPUs, vCPUs and memory are left to the
    /// contest.
    fn priced(&self, host: &Host, shape: &Shape, rule: PriceRule) -> Result<Rates, Refusal> {
        let mut whole = host.listed(&super::host::Usage::default());
        if let Supply::Resources(resources) = &mut whole.supply {
            resources.rule = rule;
        }
        let (sold, rates) = whole.price(shape).map_err(|misfit| match misfit {
            Misfit::Gpus | Misfit::Resources => lost(PriceType::OnDemand, false),
            Misfit::Restricted => Refusal::Refused("the resources are outside of the hostnode's limits".to_owned()),
        })?;
        if sold != *shape {
            return Err(Refusal::Refused(format!(
                "this size is not sold here: {} vCPUs, {} GB of RAM and {} GB of storage are",
                sold.vcpus, sold.ram_gb, sold.storage_gb
            )));
        }
        let used = self.usage(host).storage_gb;
        if host.storage_gb.free.saturating_sub(used) < shape.storage_gb {
            return Err(lost(PriceType::OnDemand, false));
        }
        Ok(rates)
    }

    /// The least bid that would be accepted for a new VM now, if any is. For tests: the API does not tell.
    pub fn least_bid(&self, hostnode: &HostnodeId, shape: &Shape) -> Option<HourlyRate> {
        let host = self.host_for(hostnode).ok()?;
        self.priced(host, shape, RULE).ok()?;
        let wins = |micros: u64| {
            let pays = HourlyRate::from_micros(micros);
            let challenger = Challenger { shape, price_type: PriceType::Spot, pays };
            self.contest(host, Some(&challenger), None).won(&Who::Challenger)
        };
        let (mut low, mut high) = (0, BEYOND_ALL_BIDS_MICROS);
        if !wins(high) {
            return None;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if wins(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Some(HourlyRate::from_micros(high))
    }

    /// Puts a VM into the account that nobody of ours made.
    ///
    /// # Errors
    /// As a deploy.
    pub fn deploy_foreign(&mut self, order: WorldOrder) -> Result<InstanceId, Refusal> {
        self.make(order, Origin::Foreign).map(|vm| vm.id)
    }

    /// Makes a VM a second time from an order that was carried out already, on other ports where its own are taken.
    pub(super) fn deploy_again(&mut self, order: WorldOrder) -> Result<WorldVm, Refusal> {
        let free = self.hosts.get(&order.hostnode).map(|host| {
            let used = self.usage(host).ports;
            host.ports.difference(&used).copied().collect::<Vec<_>>()
        });
        let inner = order.ports.values().copied();
        let ports = free.unwrap_or_default().into_iter().zip(inner).collect();
        let vm = self.make(WorldOrder { ports, ..order }, Origin::Doubled)?;
        Ok(self.show(&vm))
    }

    /// Whether lists show it: neither it nor its machine hides.
    pub(super) fn is_listed(&self, vm: &Vm) -> bool {
        let host = self.hosts.get(&vm.hostnode);
        vm.hiding.is_none() && !host.is_some_and(|host| matches!(host.absence, Some((Absence::Hidden, _))))
    }

    /// Notes that the API was asked to do something to a VM; refused where it denies that there is one.
    fn touch(&mut self, id: &InstanceId) -> Result<(), Refusal> {
        let vm = self.vms.get_mut(id).ok_or(Refusal::Gone)?;
        vm.touches = vm.touches.saturating_add(1);
        if vm.hiding == Some(Hiding::Altogether) { Err(Refusal::Gone) } else { Ok(()) }
    }

    fn make(&mut self, order: WorldOrder, origin: Origin) -> Result<Vm, Refusal> {
        let WorldOrder { name, hostnode, shape, price_type, bid, image, ports, rule } = order;
        let host = self.host_for(&hostnode)?;
        let on_demand = self.priced(host, &shape, rule)?;
        let free = host.ports.difference(&self.usage(host).ports).copied().collect::<std::collections::BTreeSet<_>>();
        if ports.len() > PORTS_MAX {
            return Err(Refusal::Refused(format!("at most {PORTS_MAX} ports can be forwarded")));
        }
        if let Some(taken) = ports.keys().find(|port| !free.contains(port)) {
            return Err(Refusal::Refused(format!("port {taken} is not available on this hostnode")));
        }
        let pays = match (price_type, bid) {
            (PriceType::OnDemand, _) => on_demand.compute,
            (PriceType::Spot, Some(bid)) => bid,
            (PriceType::Spot, None) => return Err(Refusal::Refused("a spot instance needs a price".to_owned())),
        };
        let agreed = Rates { compute: pays, storage: on_demand.storage };
        // Assumed of v0, observed of v2 ("need at least $X"): an hour must be paid for.
        if self.balance.usd() < Usd::from_micros(i64::try_from(agreed.total().micros()).unwrap_or(i64::MAX)) {
            return Err(Refusal::Broke(format!("need at least ${}", agreed.total())));
        }
        self.would_win(&hostnode, &shape, price_type, pays)?;
        self.made = self.made.saturating_add(1);
        let id = self.seed.uuid(&format!("vm/{}", self.made));
        let mut dice = self.seed.dice(&format!("vm/{}/provisioning", self.made));
        let (location, address) =
            self.hosts.get(&hostnode).map(|host| (host.location.clone(), host.address.clone())).unwrap_or_default();
        let vm = Vm {
            id: id.parse().map_err(|_| Refusal::Refused("no id is left".to_owned()))?,
            name,
            origin,
            hostnode,
            location,
            shape,
            price_type,
            agreed,
            on_demand,
            image,
            address,
            ports,
            rule,
            made_at: self.now,
            state: VmState::Starting,
            outbids: 0,
            ended: None,
            hiding: None,
            surcharge_ppm: 0,
            touches: 0,
            ready_at: self.now.saturating_add(self.provisioning_ms(&mut dice)),
            spent: super::wallet::Grains::default(),
            spent_on_storage: super::wallet::Grains::default(),
            billed_before: super::books::Billed::default(),
            would_have_cost: super::wallet::Grains::default(),
            running_ms: 0,
        };
        // It stands before the rivals now, so what it would win it wins; whoever it beats makes room.
        self.vms.insert(vm.id.clone(), vm.clone());
        self.settle(&vm.hostnode);
        if origin != Origin::Foreign {
            self.draw_fate(&vm.id);
        }
        Ok(vm)
    }

    /// Whether a newcomer would get a host's GPUs.
    fn would_win(
        &self,
        hostnode: &HostnodeId,
        shape: &Shape,
        price_type: PriceType,
        pays: HourlyRate,
    ) -> Result<(), Refusal> {
        let host = self.host_for(hostnode)?;
        let outcome = self.contest(host, Some(&Challenger { shape, price_type, pays }), None);
        if outcome.won(&Who::Challenger) {
            Ok(())
        } else {
            Err(lost(price_type, self.least_bid(hostnode, shape).is_some()))
        }
    }

    fn found(&self, id: &InstanceId) -> Result<&Vm, Refusal> {
        let vm = self.vms.get(id).ok_or(Refusal::Gone)?;
        if self.host_is_up(&vm.hostnode) { Ok(vm) } else { Err(Refusal::Refused("offline".to_owned())) }
    }

    pub(super) fn set_state(&mut self, id: &InstanceId, state: VmState) {
        if let Some(vm) = self.vms.get_mut(id) {
            vm.state = state;
        }
    }

    fn make_start(&mut self, id: &InstanceId) {
        let mut dice = self.seed.dice(&format!("vm/{id}/start/{}", self.now));
        let ready_at = self.now.saturating_add(self.provisioning_ms(&mut dice));
        if let Some(vm) = self.vms.get_mut(id) {
            vm.state = VmState::Starting;
            vm.ready_at = ready_at;
        }
    }
}

/// Nobody bids this: 100,000 USD per hour.
const BEYOND_ALL_BIDS_MICROS: u64 = 100_000_000_000;

impl Backend for World {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now).unwrap_or(Timestamp::MAX)
    }

    fn hostnodes(&mut self) -> Vec<Hostnode> {
        self.hosts
            .values()
            .filter(|host| match host.absence {
                None | Some((Absence::Offline, _)) => true,
                Some((Absence::Hidden | Absence::Dead, _)) => false,
            })
            .map(|host| host.listed(&self.usage(host)))
            .collect()
    }

    fn vms(&mut self) -> Vec<WorldVm> {
        self.vms.values().filter(|vm| self.is_listed(vm)).map(|vm| self.show(vm)).collect()
    }

    fn vm(&mut self, id: &InstanceId) -> Option<WorldVm> {
        self.vms.get(id).filter(|vm| vm.hiding != Some(Hiding::Altogether)).map(|vm| self.show(vm))
    }

    fn wallet(&mut self) -> (Usd, HourlyRate) {
        (self.balance.usd(), self.burn())
    }

    fn validate(&mut self, bid: &Bid) -> BidAnswer {
        let Bid { hostnode, shape, price } = bid;
        let accepted = self.host_for(hostnode).and_then(|host| {
            self.priced(host, shape, RULE)?;
            let challenger = Challenger { shape, price_type: PriceType::Spot, pays: *price };
            Ok(self.contest(host, Some(&challenger), None).won(&Who::Challenger))
        });
        if accepted == Ok(true) { BidAnswer::Accepted } else { BidAnswer::Refused }
    }

    fn rebid(&mut self, id: &InstanceId, price: HourlyRate) -> Result<BidAnswer, Refusal> {
        self.touch(id)?;
        let vm = self.vms.get(id).ok_or(Refusal::Gone)?;
        if vm.price_type != PriceType::Spot {
            return Err(Refusal::Refused("this is not a spot instance".to_owned()));
        }
        let Ok(host) = self.host_for(&vm.hostnode) else { return Ok(BidAnswer::Refused) };
        let would_win = match vm.state {
            VmState::StoppedReleased => {
                let challenger = Challenger { shape: &vm.shape, price_type: PriceType::Spot, pays: price };
                self.contest(host, Some(&challenger), None).won(&Who::Challenger)
            }
            VmState::Starting | VmState::Running | VmState::StoppedKept | VmState::Outbid => {
                self.contest(host, None, Some((id, price))).won(&Who::Ours(id.clone()))
            }
        };
        if !would_win {
            return Ok(BidAnswer::Refused);
        }
        // The bid moves at once; an outbid VM comes back when it is started, or when its host is next settled.
        if let Some(vm) = self.vms.get_mut(id) {
            vm.agreed.compute = price;
        }
        Ok(BidAnswer::Accepted)
    }

    fn deploy(&mut self, order: WorldOrder) -> Result<WorldVm, Refusal> {
        let vm = self.make(order, Origin::Api)?;
        Ok(self.show(&vm))
    }

    fn start(&mut self, id: &InstanceId) -> Result<(), Refusal> {
        self.touch(id)?;
        let vm = self.found(id)?.clone();
        match vm.state {
            VmState::Starting | VmState::Running => Err(Refusal::Refused(vm.state.to_string())),
            VmState::StoppedKept => {
                self.make_start(id);
                Ok(())
            }
            VmState::StoppedReleased => {
                self.would_win(&vm.hostnode, &vm.shape, vm.price_type, vm.agreed.compute)?;
                self.make_start(id);
                self.settle(&vm.hostnode);
                Ok(())
            }
            VmState::Outbid => {
                self.settle(&vm.hostnode);
                match self.vms.get(id).map(|vm| vm.state) {
                    Some(VmState::Outbid) => Err(lost(PriceType::Spot, true)),
                    Some(_) | None => Ok(()),
                }
            }
        }
    }

    fn stop(&mut self, id: &InstanceId, how: Stop) -> Result<(), Refusal> {
        self.touch(id)?;
        let vm = self.found(id)?.clone();
        let state = match (how, vm.state) {
            (Stop::KeepGpu, VmState::Starting | VmState::Running) => VmState::StoppedKept,
            (Stop::ReleaseGpu, VmState::Starting | VmState::Running | VmState::StoppedKept | VmState::Outbid) => {
                VmState::StoppedReleased
            }
            (Stop::KeepGpu, VmState::StoppedKept | VmState::Outbid)
            | (Stop::KeepGpu | Stop::ReleaseGpu, VmState::StoppedReleased) => {
                return Err(Refusal::Refused(vm.state.to_string()));
            }
        };
        self.set_state(id, state);
        self.settle(&vm.hostnode);
        Ok(())
    }

    fn modify(&mut self, id: &InstanceId, shape: Shape) -> Result<(), Refusal> {
        self.touch(id)?;
        let mut vm = self.found(id)?.clone();
        match vm.state {
            VmState::StoppedKept | VmState::StoppedReleased => {}
            VmState::Starting | VmState::Running | VmState::Outbid => {
                return Err(Refusal::Refused(vm.state.to_string()));
            }
        }
        if shape.storage_gb < vm.shape.storage_gb {
            return Err(Refusal::Refused("the disk cannot be made smaller".to_owned()));
        }
        // What it has itself is free for it: it is judged as a newcomer, with itself out of the way.
        self.vms.remove(id);
        let judged =
            self.host_for(&vm.hostnode).and_then(|host| self.priced(host, &shape, vm.rule)).and_then(|on_demand| {
                let compute = match vm.price_type {
                    PriceType::Spot => vm.agreed.compute,
                    PriceType::OnDemand => on_demand.compute,
                };
                if vm.holds() {
                    self.would_win(&vm.hostnode, &shape, vm.price_type, compute)?;
                }
                Ok((on_demand, Rates { compute, storage: on_demand.storage }))
            });
        let outcome = judged.map(|(on_demand, agreed)| {
            vm.on_demand = on_demand;
            vm.agreed = agreed;
            vm.shape = shape;
        });
        let host = vm.hostnode.clone();
        self.vms.insert(id.clone(), vm);
        self.settle(&host);
        outcome
    }

    fn terminate(&mut self, id: &InstanceId) -> Result<(), Refusal> {
        self.touch(id)?;
        if self.end(id, Ended::Deleted) { Ok(()) } else { Err(Refusal::Gone) }
    }

    fn month(&mut self, year: i16, month: i8) -> WorldMonth {
        self.statement(year, month)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Absence, Temper, Truth, WorldOptions},
        *,
    };
    use std::{collections::BTreeMap, time::Duration};

    /// The hostnode of the one recorded spot answer.
    const SPOT: &str = "8db2ec46-c094-4262-bc7e-6c76617f4237";

    fn rate(text: &str) -> HourlyRate {
        text.parse().unwrap()
    }

    fn later(world: &World, seconds: u64) -> Timestamp {
        crate::model::time::after(world.now(), Duration::from_secs(seconds))
    }

    fn world(temper: Temper, balance: &str) -> World {
        let options = WorldOptions { temper, ..WorldOptions::lifelike(balance.parse().unwrap()) };
        World::new(1, Timestamp::UNIX_EPOCH, options)
    }

    fn v100(gpus: u32) -> Shape {
        Shape { gpu_model: "v100-pcie-16gb".parse().unwrap(), gpus, vcpus: 8, ram_gb: 8, storage_gb: 200 }
    }

    fn order(gpus: u32, bid: Option<&str>) -> WorldOrder {
        WorldOrder {
            name: "spotscale-train-k3x9-1".parse().unwrap(),
            hostnode: SPOT.parse().unwrap(),
            shape: v100(gpus),
            price_type: if bid.is_some() { PriceType::Spot } else { PriceType::OnDemand },
            bid: bid.map(rate),
            image: "Ubuntu 22.04 LTS".to_owned(),
            ports: BTreeMap::new(),
            rule: RULE,
        }
    }

    fn status(world: &mut World, id: &InstanceId) -> InstanceStatus {
        world.vm(id).unwrap().instance.status
    }

    fn asked(world: &mut World, price: &str) -> BidAnswer {
        world.validate(&Bid { hostnode: SPOT.parse().unwrap(), shape: v100(2), price: rate(price) })
    }

    #[test]
    fn the_recorded_bids_get_their_recorded_answers_on_every_day() {
        let mut world = world(Temper::Still, "100");
        assert_eq!(asked(&mut world, "0.20"), BidAnswer::Refused);
        assert_eq!(asked(&mut world, "0.25"), BidAnswer::Accepted);
        assert_eq!(world.least_bid(&SPOT.parse().unwrap(), &v100(2)), Some(rate("0.21")));
        let mut alive = super::tests::world(Temper::Lifelike, "100");
        for _ in 0..30 {
            alive.advance(later(&alive, 86_400));
            assert_eq!(asked(&mut alive, "0.20"), BidAnswer::Refused);
        }
    }

    #[test]
    fn a_vm_starts_then_runs_and_pays_its_bid_and_its_disk() {
        let mut world = world(Temper::Still, "100");
        let made = world.deploy(order(2, Some("0.35"))).unwrap().instance;
        assert_eq!(made.quoted.unwrap().total(), rate("0.36"));
        assert_eq!(status(&mut world, &made.id), InstanceStatus::Starting);
        world.advance(later(&world, 29));
        assert_eq!(status(&mut world, &made.id), InstanceStatus::Starting);
        world.advance(later(&world, 71));
        assert_eq!(status(&mut world, &made.id), InstanceStatus::Running);
        world.advance(later(&world, 3_500));
        assert_eq!(world.wallet(), ("99.64".parse().unwrap(), rate("0.36")));
    }

    #[test]
    fn who_is_beaten_pays_for_the_disk_only_and_comes_back_when_the_gpus_do() {
        let mut world = world(Temper::Still, "100");
        let id = world.deploy(order(8, Some("1.00"))).unwrap().instance.id;
        world.advance(later(&world, 600));
        let rival = Shape { vcpus: 16, ..v100(1) };
        world.intrude(&SPOT.parse().unwrap(), rival.clone(), rate("0.99"), Duration::from_secs(1_800));
        assert_eq!(status(&mut world, &id), InstanceStatus::Running);
        world.intrude(&SPOT.parse().unwrap(), rival, rate("1.01"), Duration::from_secs(1_800));
        assert_eq!(status(&mut world, &id), InstanceStatus::Outbid);
        assert_eq!(world.wallet().1, rate("0.01"));
        assert_eq!(world.start(&id).unwrap_err().kind().as_str(), "bid_too_low");
        world.advance(later(&world, 1_900));
        assert_eq!(status(&mut world, &id), InstanceStatus::Running);
        assert_eq!(world.truth().outbids, 1);
        assert_eq!(world.impossible(), Vec::<String>::new());
    }

    #[test]
    fn a_higher_bid_moves_and_a_start_brings_the_vm_back() {
        let mut world = world(Temper::Still, "100");
        let id = world.deploy(order(8, Some("1.00"))).unwrap().instance.id;
        world.advance(later(&world, 600));
        world.intrude(&SPOT.parse().unwrap(), v100(4), rate("1.20"), Duration::from_secs(86_400));
        assert_eq!(world.rebid(&id, rate("1.20")), Ok(BidAnswer::Refused));
        assert_eq!(world.vm(&id).unwrap().instance.quoted.unwrap().compute, rate("1.00"));
        assert_eq!(world.rebid(&id, rate("1.21")), Ok(BidAnswer::Accepted));
        assert_eq!(world.vm(&id).unwrap().instance.quoted.unwrap().compute, rate("1.21"));
        assert_eq!(world.start(&id), Ok(()));
        world.advance(later(&world, 60));
        assert_eq!(status(&mut world, &id), InstanceStatus::Running);
    }

    #[test]
    fn the_list_price_for_one_gpu_does_not_push_out_a_bid_for_all_of_them_unless_together_with_others() {
        let mut world = world(Temper::Still, "100");
        let id = world.deploy(order(8, Some("1.00"))).unwrap().instance.id;
        assert_eq!(world.deploy(order(1, None)).unwrap_err().kind().as_str(), "no_capacity");
        world.intrude(&SPOT.parse().unwrap(), v100(4), rate("0.90"), Duration::from_secs(86_400));
        assert_eq!(status(&mut world, &id), InstanceStatus::Starting);
        assert!(world.deploy(order(1, None)).is_ok());
        assert_eq!(status(&mut world, &id), InstanceStatus::Outbid);
        assert_eq!(world.impossible(), Vec::<String>::new());
    }

    #[test]
    fn a_stopped_vm_keeps_or_frees_its_gpus() {
        let mut world = world(Temper::Still, "100");
        let id = world.deploy(order(8, None)).unwrap().instance.id;
        world.advance(later(&world, 100));
        assert_eq!(world.start(&id), Err(Refusal::Refused("running".to_owned())));
        assert_eq!(world.stop(&id, Stop::KeepGpu), Ok(()));
        assert_eq!(world.stop(&id, Stop::KeepGpu), Err(Refusal::Refused("stopped".to_owned())));
        let kept = world.wallet().1;
        assert_eq!(asked(&mut world, "0.25"), BidAnswer::Refused);
        assert_eq!(world.stop(&id, Stop::ReleaseGpu), Ok(()));
        assert_eq!(world.wallet().1, rate("0.01"));
        assert!(kept > rate("1.5"));
        assert_eq!(asked(&mut world, "0.25"), BidAnswer::Accepted);
        assert_eq!(world.stop(&id, Stop::ReleaseGpu), Err(Refusal::Refused("stoppeddisassociated".to_owned())));
        let other = world.deploy(order(8, Some("5"))).unwrap().instance.id;
        assert_eq!(world.start(&id).unwrap_err().kind().as_str(), "no_capacity");
        assert_eq!(world.terminate(&other), Ok(()));
        assert_eq!(world.start(&id), Ok(()));
        assert_eq!(world.terminate(&other), Err(Refusal::Gone));
    }

    #[test]
    fn what_is_not_sold_is_refused() {
        let mut world = world(Temper::Still, "1");
        let refused = |world: &mut World, order: WorldOrder| world.deploy(order).unwrap_err().to_string();
        assert_eq!(refused(&mut world, order(2, Some("0.2"))), "bid too low: a higher bid is needed");
        assert_eq!(
            refused(&mut world, order(9, Some("0.2"))),
            "no capacity: the hostnode does not have enough resources available"
        );
        let odd = WorldOrder { shape: Shape { vcpus: 7, ..v100(1) }, ..order(1, None) };
        assert_eq!(
            refused(&mut world, odd),
            "refused: this size is not sold here: 8 vCPUs, 8 GB of RAM and 200 GB of storage are"
        );
        let port = WorldOrder { ports: BTreeMap::from([(1, 22)]), ..order(1, None) };
        assert_eq!(refused(&mut world, port), "refused: port 1 is not available on this hostnode");
        let elsewhere = WorldOrder { hostnode: "nowhere".parse().unwrap(), ..order(1, None) };
        assert_eq!(refused(&mut world, elsewhere), "no capacity: hostnode unavailable");
        assert_eq!(refused(&mut world, order(8, None)), "the account cannot pay: need at least $1.57");
        assert_eq!(world.truth().vms, []);
    }

    #[test]
    fn an_empty_account_loses_everything_at_that_moment() {
        let mut world = world(Temper::Still, "2");
        let foreign = world.deploy_foreign(order(1, None)).unwrap();
        world.deploy(order(7, None)).unwrap();
        world.advance(later(&world, 7_200));
        assert!(world.vms().is_empty());
        assert_eq!(world.vm(&foreign), None);
        let Truth { balance, spent, vms, .. } = world.truth();
        assert_eq!((balance.micros(), vms.len()), (-1, 2));
        assert_eq!(spent, "2".parse().unwrap());
        let (at, why) = vms[0].ended.unwrap();
        assert!(why == Ended::Bankrupt && (4_000_000..4_600_000).contains(&at), "{at}");
        assert_eq!(world.impossible(), Vec::<String>::new());
    }

    #[test]
    fn a_vanished_host_shows_its_vms_as_nobody_documented() {
        let mut world = world(Temper::Still, "100");
        let host: crate::model::HostnodeId = SPOT.parse().unwrap();
        let id = world.deploy(order(2, Some("0.35"))).unwrap().instance.id;
        world.advance(later(&world, 600));
        world.vanish(&host, Absence::Offline, Duration::from_secs(600));
        assert_eq!(world.vms()[0].instance.status, InstanceStatus::Unknown("Offline".to_owned()));
        assert!(world.hostnodes().iter().any(|listed| listed.id == host && !listed.online));
        assert_eq!(world.wallet().1, rate("0.01"));
        world.advance(later(&world, 700));
        assert_eq!(status(&mut world, &id), InstanceStatus::Running);
        world.vanish(&host, Absence::Hidden, Duration::from_secs(600));
        assert!(world.vms().is_empty() && world.vm(&id).is_some());
        assert!(world.hostnodes().iter().all(|listed| listed.id != host));
        world.advance(later(&world, 700));
        assert_eq!(world.vms().len(), 1);
        world.vanish(&host, Absence::Dead, Duration::from_secs(600));
        assert_eq!((world.vms().len(), world.vm(&id)), (0, None));
    }

    #[test]
    fn a_doubled_name_is_seen_and_a_foreign_one_is_not_ours() {
        let mut world = world(Temper::Still, "100");
        world.deploy(order(1, None)).unwrap();
        world.deploy_foreign(order(1, None)).unwrap();
        assert_eq!(world.truth().doubled(), []);
        world.deploy(order(1, None)).unwrap();
        assert_eq!(world.truth().doubled(), ["spotscale-train-k3x9-1".parse().unwrap()]);
        assert_eq!(world.truth().alive().count(), 3);
    }

    #[test]
    fn a_hostnodes_own_limits_hold() {
        let mut world = world(Temper::Still, "1000");
        let model: crate::model::GpuModel = "h100-sxm5-80gb".parse().unwrap();
        let host = world.hostnodes().into_iter().find(|host| host.free_gpus(&model) == 8).unwrap();
        let shape = Shape { gpu_model: model, gpus: 1, vcpus: 26, ram_gb: 4, storage_gb: 20 };
        let order = WorldOrder { hostnode: host.id, shape: shape.clone(), ..order(1, None) };
        let over = WorldOrder { shape: Shape { vcpus: 28, ..shape }, ..order.clone() };
        assert_eq!(
            world.deploy(over).unwrap_err().to_string(),
            "refused: the resources are outside of the hostnode's limits"
        );
        assert!(world.deploy(order).is_ok());
    }

    #[test]
    fn the_truth_tells_a_gpu_hour_by_bid_from_one_on_demand() {
        let mut world = world(Temper::Still, "100");
        assert_eq!(world.truth().per_gpu_hour(), None);
        world.options.provisioning_s = (0, 0);
        let before = world.now();
        world.deploy(order(2, Some("0.25"))).unwrap();
        world.advance(crate::model::time::after(before, Duration::from_secs(10)));
        world.advance(crate::model::time::after(before, Duration::from_secs(3_610)));
        let truth = world.truth();
        assert_eq!(truth.gpu_seconds, 7_200);
        assert_eq!(truth.spent_on_api_vms, "0.260722".parse().unwrap());
        assert_eq!(truth.per_gpu_hour(), Some("0.130361".parse().unwrap()));
        assert_eq!(truth.on_demand_per_gpu_hour(), Some("0.215".parse().unwrap()));
    }
}
