//! What the marketplace's API may do to the world, in nobody's dialect.
//!
//! Each answer is the strictest that the documents allow: sizes must be sold as they are ordered, ports must be free,
//! limits of the hostnode hold, a VM that is running cannot be started.

use super::{
    host::{Absence, Host},
    vm::{Ended, Origin, Vm, VmState},
    world::{Challenger, Who, World},
};
use crate::{
    market::{Backend, Stop, WorldOrder, WorldVm},
    model::{
        Hostnode, HostnodeId, HourlyRate, Instance, InstanceId, InstanceStatus, PriceType, Refusal, Shape, Timestamp,
        Usd,
        offer::{Bid, BidAnswer, Misfit, Rates},
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
                quoted: Some(vm.agreed),
                address: Some(vm.address.clone()),
                ports: vm.ports.clone(),
                created_at: Timestamp::from_millisecond(vm.made_at).ok(),
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
    fn priced(&self, host: &Host, shape: &Shape) -> Result<Rates, Refusal> {
        let whole = host.listed(&super::host::Usage::default());
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
        self.priced(host, shape).ok()?;
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

    fn make(&mut self, order: WorldOrder, origin: Origin) -> Result<Vm, Refusal> {
        let WorldOrder { name, hostnode, shape, price_type, bid, image, ports } = order;
        let host = self.host_for(&hostnode)?;
        let on_demand = self.priced(host, &shape)?;
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
            made_at: self.now,
            state: VmState::Starting,
            outbids: 0,
            ended: None,
            ready_at: self.now.saturating_add(self.provisioning_ms(&mut dice)),
            spent: super::wallet::Grains::default(),
            would_have_cost: super::wallet::Grains::default(),
            running_ms: 0,
        };
        // It stands before the rivals now, so what it would win it wins; whoever it beats makes room.
        self.vms.insert(vm.id.clone(), vm.clone());
        self.settle(&vm.hostnode);
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

    fn set_state(&mut self, id: &InstanceId, state: VmState) {
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
        let hidden = |vm: &Vm| {
            self.hosts.get(&vm.hostnode).is_some_and(|host| matches!(host.absence, Some((Absence::Hidden, _))))
        };
        self.vms.values().filter(|vm| !hidden(vm)).map(|vm| self.show(vm)).collect()
    }

    fn vm(&mut self, id: &InstanceId) -> Option<WorldVm> {
        self.vms.get(id).map(|vm| self.show(vm))
    }

    fn wallet(&mut self) -> (Usd, HourlyRate) {
        (self.balance.usd(), self.burn())
    }

    fn validate(&mut self, bid: &Bid) -> BidAnswer {
        let Bid { hostnode, shape, price } = bid;
        let accepted = self.host_for(hostnode).and_then(|host| {
            self.priced(host, shape)?;
            let challenger = Challenger { shape, price_type: PriceType::Spot, pays: *price };
            Ok(self.contest(host, Some(&challenger), None).won(&Who::Challenger))
        });
        if accepted == Ok(true) { BidAnswer::Accepted } else { BidAnswer::Refused }
    }

    fn rebid(&mut self, id: &InstanceId, price: HourlyRate) -> Result<BidAnswer, Refusal> {
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

    fn terminate(&mut self, id: &InstanceId) -> Result<(), Refusal> {
        if self.end(id, Ended::Deleted) { Ok(()) } else { Err(Refusal::Gone) }
    }
}
