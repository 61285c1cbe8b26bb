//! The world as a faulty marketplace shows it.
//!
//! Some faults are not of the wire: a list that lacks things, a VM that shows up late, a deploy that is refused. They
//! stand between the dialect's fake and the world, so that they work for every dialect.

use super::world::World;
use crate::{
    market::{Backend, Stop, WorldMonth, WorldOrder, WorldVm},
    model::{
        Hostnode, HourlyRate, InstanceId, PriceType, Refusal, Shape, Timestamp, Usd,
        offer::{Bid, BidAnswer},
        time,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How much of a list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    All,
    /// Every second one.
    Half,
    Nothing,
}

impl Shown {
    fn of<T>(self, items: Vec<T>) -> Vec<T> {
        match self {
            Self::All => items,
            Self::Half => items.into_iter().step_by(2).collect(),
            Self::Nothing => Vec::new(),
        }
    }
}

/// A world behind a veil, for one call.
pub(super) struct Veil<'a> {
    pub world: &'a mut World,
    /// New VMs and when lists show them.
    pub late: &'a mut BTreeMap<InstanceId, Timestamp>,
    pub shown: Shown,
    pub refuses: bool,
    /// A VM made now shows up so much later.
    pub delay: Option<Duration>,
    /// The VMs that were shown, if they were listed.
    pub listed: Option<BTreeSet<InstanceId>>,
    /// The bid that was asked about and accepted.
    pub accepted: Option<Bid>,
}

impl Backend for Veil<'_> {
    fn now(&self) -> Timestamp {
        self.world.now()
    }

    fn hostnodes(&mut self) -> Vec<Hostnode> {
        self.shown.of(self.world.hostnodes())
    }

    fn vms(&mut self) -> Vec<WorldVm> {
        let now = self.world.now();
        self.late.retain(|_, from| *from > now);
        let mut vms = self.world.vms();
        vms.retain(|vm| !self.late.contains_key(&vm.instance.id));
        let vms = self.shown.of(vms);
        self.listed = Some(vms.iter().map(|vm| vm.instance.id.clone()).collect());
        vms
    }

    fn vm(&mut self, id: &InstanceId) -> Option<WorldVm> {
        self.world.vm(id)
    }

    fn wallet(&mut self) -> (Usd, HourlyRate) {
        self.world.wallet()
    }

    fn validate(&mut self, bid: &Bid) -> BidAnswer {
        let answer = self.world.validate(bid);
        self.accepted = (answer == BidAnswer::Accepted).then(|| bid.clone());
        answer
    }

    fn rebid(&mut self, id: &InstanceId, price: HourlyRate) -> Result<BidAnswer, Refusal> {
        self.world.rebid(id, price)
    }

    fn deploy(&mut self, order: WorldOrder) -> Result<WorldVm, Refusal> {
        if self.refuses {
            return Err(match order.price_type {
                PriceType::Spot => Refusal::BidTooLow("somebody else was faster".to_owned()),
                PriceType::OnDemand => Refusal::NoCapacity("somebody else was faster".to_owned()),
            });
        }
        let vm = self.world.deploy(order)?;
        if let Some(delay) = self.delay {
            self.late.insert(vm.instance.id.clone(), time::after(self.world.now(), delay));
        }
        Ok(vm)
    }

    fn start(&mut self, id: &InstanceId) -> Result<(), Refusal> {
        self.world.start(id)
    }

    fn stop(&mut self, id: &InstanceId, how: Stop) -> Result<(), Refusal> {
        self.world.stop(id, how)
    }

    fn modify(&mut self, id: &InstanceId, shape: Shape) -> Result<(), Refusal> {
        self.world.modify(id, shape)
    }

    fn terminate(&mut self, id: &InstanceId) -> Result<(), Refusal> {
        self.world.terminate(id)
    }

    fn month(&mut self, year: i16, month: i8) -> WorldMonth {
        self.world.month(year, month)
    }
}
