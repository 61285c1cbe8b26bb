//! The account's books: what was paid for which VM, month by month of UTC.
//!
//! Each VM knows what it cost so far and what of that was before the present month; at a month's end the difference goes
//! into the books and nothing else has to be remembered. The sums are in grains, so that a month's bills are exactly what
//! the balance lost in it.

use super::{host::Millis, vm::Vm, wallet::Grains, world::World};
use crate::{
    market::{WorldBill, WorldMonth},
    model::Timestamp,
};
use std::collections::BTreeMap;

/// What a VM cost up to a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Billed {
    whole: Grains,
    storage: Grains,
}

/// A year, and a month from 1 to 12.
type Month = (i16, i8);

/// The books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Books {
    month: Month,
    /// When the present month ends; never, where the calendar does.
    pub ends_at: Millis,
    opening: Grains,
    pub deposited: Grains,
    /// The first month there was, and what was held when it began.
    first: (Month, Grains),
    closed: BTreeMap<Month, WorldMonth>,
}

/// The month of a moment, and when it ends.
fn month_of(at: Millis) -> (Month, Millis) {
    let day = Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX).to_zoned(jiff::tz::TimeZone::UTC).date();
    let next = day.last_of_month().tomorrow().ok().and_then(|first| first.to_zoned(jiff::tz::TimeZone::UTC).ok());
    ((day.year(), day.month()), next.map_or(Millis::MAX, |next| next.timestamp().as_millisecond()))
}

impl Books {
    pub fn open(now: Millis, balance: Grains) -> Self {
        let (month, ends_at) = month_of(now);
        let first = (month, balance);
        Self { month, ends_at, opening: balance, deposited: Grains::default(), first, closed: BTreeMap::new() }
    }
}

fn bill(vm: &Vm) -> Option<WorldBill> {
    let whole = vm.spent.minus(vm.billed_before.whole);
    let storage = vm.spent_on_storage.minus(vm.billed_before.storage);
    let bill = WorldBill {
        vm: vm.id.clone(),
        hostnode: vm.hostnode.clone(),
        shape: vm.shape.clone(),
        rates: vm.asked(),
        compute: whole.minus(storage).usd(),
        storage: storage.usd(),
    };
    (whole > Grains::default()).then_some(bill)
}

impl World {
    fn present_month(&self) -> WorldMonth {
        WorldMonth {
            opening: self.books.opening.usd(),
            closing: self.balance.usd(),
            deposited: self.books.deposited.usd(),
            bills: self.past.iter().chain(self.vms.values()).filter_map(bill).collect(),
        }
    }

    /// Ends the present month; the next one begins with what is held now.
    pub(super) fn close_the_month(&mut self) {
        let month = self.present_month();
        self.books.closed.insert(self.books.month, month);
        for vm in self.past.iter_mut().chain(self.vms.quietly().values_mut()) {
            vm.billed_before = Billed { whole: vm.spent, storage: vm.spent_on_storage };
        }
        (self.books.month, self.books.ends_at) = month_of(self.books.ends_at);
        self.books.opening = self.balance;
        self.books.deposited = Grains::default();
    }

    /// What was paid in a month. Before the world nothing was, and what will be is not known: nothing.
    pub(super) fn statement(&self, year: i16, month: i8) -> WorldMonth {
        let asked = (year, month);
        let still = |held: Grains| WorldMonth { opening: held.usd(), closing: held.usd(), ..WorldMonth::default() };
        if asked == self.books.month {
            self.present_month()
        } else if let Some(closed) = self.books.closed.get(&asked) {
            closed.clone()
        } else if asked < self.books.first.0 {
            still(self.books.first.1)
        } else {
            still(self.balance)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        market::{Backend, Stop, WorldOrder},
        model::{HourlyRate, InstanceId, PriceType, Refusal, Shape, Usd},
        sim::WorldOptions,
    };

    const SPOT: &str = "8db2ec46-c094-4262-bc7e-6c76617f4237";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn shape() -> Shape {
        Shape { gpu_model: "v100-pcie-16gb".parse().unwrap(), gpus: 2, vcpus: 8, ram_gb: 8, storage_gb: 200 }
    }

    fn world() -> World {
        let options = WorldOptions::still("100".parse().unwrap());
        World::new(1, at("2026-01-31T20:00:00Z"), options)
    }

    fn rent(world: &mut World, bid: Option<&str>) -> InstanceId {
        let order = WorldOrder {
            name: "a-vm".parse().unwrap(),
            hostnode: SPOT.parse().unwrap(),
            shape: shape(),
            price_type: if bid.is_some() { PriceType::Spot } else { PriceType::OnDemand },
            bid: bid.map(|bid| bid.parse().unwrap()),
            image: "Ubuntu 22.04 LTS".into(),
            ports: BTreeMap::new(),
            rule: super::super::host::RULE,
        };
        world.deploy(order).unwrap().instance.id
    }

    #[test]
    fn each_month_has_its_own_bills_and_they_are_what_the_balance_lost() {
        let mut world = world();
        let vm = rent(&mut world, Some("0.50"));
        world.advance(at("2026-02-01T06:00:00Z"));
        world.deposit("7".parse().unwrap());
        world.terminate(&vm).unwrap();
        world.advance(at("2026-04-02T00:00:00Z"));
        let usd = |text: &str| text.parse::<Usd>().unwrap();
        // 0.50 for the VM and 0.01 for its disk, four hours before midnight and six after it.
        let january = world.statement(2026, 1);
        assert_eq!((january.opening, january.closing), (usd("100"), usd("97.96")));
        assert_eq!((january.bills[0].compute, january.bills[0].storage), (usd("2"), usd("0.04")));
        let february = world.statement(2026, 2);
        assert_eq!((february.opening, february.deposited, february.closing), (usd("97.96"), usd("7"), usd("101.90")));
        assert_eq!((february.bills[0].compute, february.bills[0].storage), (usd("3"), usd("0.06")));
        let still = |held: &str| WorldMonth { opening: usd(held), closing: usd(held), ..WorldMonth::default() };
        assert_eq!(world.statement(2026, 3), still("101.90"));
        assert_eq!(world.statement(2026, 4), still("101.90"));
        assert_eq!(world.statement(2027, 1), still("101.90"));
        assert_eq!(world.statement(2025, 12), still("100"));
        assert_eq!(world.impossible(), Vec::<String>::new());
    }

    #[test]
    fn a_stopped_vm_can_be_resized_and_pays_for_its_new_size() {
        let mut world = world();
        let vm = rent(&mut world, None);
        let larger = Shape { gpus: 4, vcpus: 16, storage_gb: 400, ..shape() };
        assert_eq!(world.modify(&vm, larger.clone()), Err(Refusal::Refused("running".into())));
        world.stop(&vm, Stop::KeepGpu).unwrap();
        let before = world.wallet().1;
        world.modify(&vm, larger.clone()).unwrap();
        assert_eq!(world.vm(&vm).unwrap().shape, larger);
        let after = world.wallet().1;
        assert!(after > before, "{before} {after}");
        assert_eq!(world.vm(&vm).unwrap().instance.quoted.unwrap().storage, "0.02".parse::<HourlyRate>().unwrap());
        let smaller_disk = Shape { storage_gb: 399, ..larger.clone() };
        assert!(matches!(world.modify(&vm, smaller_disk), Err(Refusal::Refused(_))));
        let too_many = Shape { gpus: 99, ..larger.clone() };
        assert!(matches!(world.modify(&vm, too_many), Err(Refusal::NoCapacity(_))));
        assert_eq!(world.vm(&vm).unwrap().shape, larger, "a refusal changes nothing");
        world.stop(&vm, Stop::ReleaseGpu).unwrap();
        world.modify(&vm, Shape { storage_gb: 400, ..shape() }).unwrap();
        assert_eq!(world.wallet().1, "0.02".parse::<HourlyRate>().unwrap());
        assert_eq!(world.modify(&"elsewhere".parse().unwrap(), shape()), Err(Refusal::Gone));
        assert_eq!(world.impossible(), Vec::<String>::new());
    }
}
