//! TensorDock v2 in the simulated marketplace: one world, one wallet and one set of VMs with v0, to the micro.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use spotscale::{
    io::clock::Clock,
    market::{
        Backend, Call, Dialect, Exchange, Fake, Order, Stop,
        client::{Client, Unobserved},
        dialect,
        tensordock_v2::{fake::TensordockV2Fake, wire::RULE},
    },
    model::{
        Hostnode, HourlyRate, Instance, InstanceId, InstanceStatus, Lookup, PriceType, Refusal, Shape, Timestamp,
        offer::{Bid, Ports, Supply},
    },
    settings::Api,
    sim::{
        Faults, InProcess, Temper, World, WorldOptions, clock::VirtualClock, marketplace::Answer, marketplace::Market,
    },
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// The hostnode of the one recorded spot answer.
const SPOT: &str = "8db2ec46-c094-4262-bc7e-6c76617f4237";

/// A still market and somebody who speaks both languages to it.
struct Stand {
    market: Market,
    v0: Arc<dyn Dialect>,
    v2: Arc<dyn Dialect>,
    second: i64,
}

fn rate(text: &str) -> HourlyRate {
    text.parse().unwrap()
}

fn shape(gpus: u32) -> Shape {
    Shape { gpu_model: "v100-pcie-16gb".parse().unwrap(), gpus, vcpus: 8, ram_gb: 8, storage_gb: 150 }
}

impl Stand {
    fn new() -> Self {
        let options = WorldOptions { temper: Temper::Still, ..WorldOptions::lifelike("100".parse().unwrap()) };
        let world = World::new(1, Timestamp::UNIX_EPOCH, options);
        Self {
            market: Market::of_all_dialects(world, Faults::none(), Some("k"), Some("t")),
            v0: dialect(Api::TensordockV0, Some("k".into()), "t".into()),
            v2: dialect(Api::TensordockV2, None, "t".into()),
            second: 0,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.second).unwrap()
    }

    fn ask<T>(&mut self, exchange: Exchange<T>) -> Result<T, Refusal> {
        let now = self.now();
        match self.market.handle(now, &exchange.request).answer {
            Answer::Whole(response) => (exchange.read)(&exchange.request, &response),
            Answer::Cut(_) | Answer::Nothing => Err(Refusal::Unreachable("dropped".to_owned())),
        }
    }

    fn hostnode(&mut self) -> Hostnode {
        let exchange = self.v2.hostnode(&SPOT.parse().unwrap()).unwrap();
        match self.ask(exchange).unwrap() {
            Lookup::Here(host) => host,
            Lookup::Gone => panic!("the hostnode is gone"),
        }
    }

    fn order(&mut self, name: &str, gpus: u32) -> Order {
        let host = self.hostnode();
        Order {
            name: name.parse().unwrap(),
            ports: host.ports.choose(&[22]).unwrap(),
            hostnode: host.id,
            shape: shape(gpus),
            price_type: PriceType::OnDemand,
            bid: None,
            image: "Ubuntu 22.04 LTS".to_owned(),
            ssh_key: Some("ssh-ed25519 AAAA me".to_owned()),
            cloud_init: None,
            password: "Passw0rd-of-a-test".into(),
        }
    }

    fn deploy(&mut self, name: &str, gpus: u32) -> Result<InstanceId, Refusal> {
        let order = self.order(name, gpus);
        let exchange = self.v2.deploy(&order)?;
        self.ask(exchange).map(|made| made.id)
    }

    fn bid(&mut self, name: &str, gpus: u32, bid: &str) -> Result<InstanceId, Refusal> {
        let order = Order { price_type: PriceType::Spot, bid: Some(rate(bid)), ..self.order(name, gpus) };
        let exchange = self.v0.deploy(&order)?;
        self.ask(exchange).map(|made| made.id)
    }

    fn seen(&mut self, id: &InstanceId) -> Instance {
        let exchange = self.v2.instance(id).unwrap();
        match self.ask(exchange).unwrap() {
            Lookup::Here(vm) => vm,
            Lookup::Gone => panic!("{id} is gone"),
        }
    }
}

#[test]
fn all_machines_of_v0_are_listed_with_the_same_prices_and_their_ports_one_by_one() {
    let mut stand = Stand::new();
    let exchange = stand.v2.hostnodes();
    let listed = stand.ask(exchange).unwrap();
    assert_eq!(listed.dropped, vec![]);
    let truly = stand.market.world.hostnodes();
    assert_eq!(listed.items.len(), truly.len());
    for host in &listed.items {
        let own = truly.iter().find(|own| own.id == host.id).unwrap();
        let (Supply::Resources(listed), Supply::Resources(own)) = (&host.supply, &own.supply) else { panic!() };
        assert_eq!(
            (&listed.gpus, listed.vcpus, listed.ram_gb, listed.storage_gb),
            (&own.gpus, own.vcpus, own.ram_gb, own.storage_gb)
        );
        assert_eq!((listed.rule, &host.ports), (RULE, &Ports::Unlisted));
    }
    assert!(matches!(stand.hostnode().ports, Ports::Free(ports) if ports.len() == 48));
}

#[test]
fn a_vm_costs_to_the_micro_what_the_list_said_and_the_wallet_of_v0_pays_it() {
    let mut stand = Stand::new();
    let (sold, agreed) = stand.hostnode().price(&shape(1)).unwrap();
    // 0.19 for the GPU, 8 x 0.003, 8 x 0.002, and 150 GB at 0.00005: v0 would say 0.008 for the disk.
    assert_eq!((sold, agreed.total()), (shape(1), rate("0.2375")));
    let id = stand.deploy("a", 1).unwrap();
    assert_eq!(stand.seen(&id).address, None, "no address while it is made");
    stand.second = 3_600;
    let vm = stand.seen(&id);
    assert_eq!((vm.status, vm.quoted, vm.address.is_some()), (InstanceStatus::Running, Some(agreed), true));
    let exchange = stand.v0.balance().unwrap();
    let balance = stand.ask(exchange).unwrap();
    assert_eq!((balance.amount, balance.hourly_cost), ("99.7625".parse().unwrap(), Some(agreed.total())));
}

#[test]
fn a_vm_of_either_api_is_in_both_lists_and_goes_by_either() {
    let mut stand = Stand::new();
    let (by_v2, by_v0) = (stand.deploy("a", 1).unwrap(), stand.bid("b", 1, "0.25").unwrap());
    for says in [Arc::clone(&stand.v0), Arc::clone(&stand.v2)] {
        let listed = stand.ask(says.instances()).unwrap();
        let mut ids: Vec<InstanceId> = listed.items.into_iter().map(|vm| vm.id).collect();
        ids.sort();
        let mut both = vec![by_v2.clone(), by_v0.clone()];
        both.sort();
        assert_eq!(ids, both);
    }
    let exchange = stand.v0.terminate(&by_v2);
    assert_eq!(stand.ask(exchange), Ok(()));
    let exchange = stand.v2.terminate(&by_v0);
    assert_eq!(stand.ask(exchange), Ok(()));
    let exchange = stand.v2.terminate(&by_v0);
    assert_eq!(stand.ask(exchange), Ok(()), "what is gone is done");
    let exchange = stand.v2.instances();
    assert_eq!(*stand.ask(exchange).unwrap().items, vec![]);
    assert_eq!(stand.market.calls(Api::TensordockV2, Call::Terminate), 2);
}

#[test]
fn a_spot_vm_of_v0_that_is_outbid_has_lost_its_gpu_here() {
    let mut stand = Stand::new();
    let id = stand.bid("a", 8, "1.00").unwrap();
    stand.second = 600;
    assert_eq!(stand.seen(&id).status, InstanceStatus::Running);
    let rival = Shape { vcpus: 16, ..shape(8) };
    stand.market.world.intrude(&SPOT.parse().unwrap(), rival, rate("5"), Duration::from_secs(86_400));
    let vm = stand.seen(&id);
    assert_eq!(vm.status, InstanceStatus::StoppedReleased);
    assert_eq!(vm.billed().unwrap().total(), rate("0.0075"), "only the disk is billed");
    let exchange = stand.v2.start(&id).unwrap();
    assert!(matches!(stand.ask(exchange), Err(Refusal::NoCapacity(_))));
}

#[test]
fn a_stop_keeps_the_gpu_and_no_room_is_told_as_such() {
    let mut stand = Stand::new();
    let id = stand.deploy("a", 8).unwrap();
    stand.second = 600;
    let exchange = stand.v2.stop(&id, Stop::KeepGpu).unwrap();
    assert_eq!(stand.ask(exchange), Ok(()));
    assert_eq!(stand.seen(&id).status, InstanceStatus::StoppedKept);
    assert_eq!(stand.deploy("b", 1), Err(Refusal::NoCapacity("Hostnode unavailable".into())));
    let bid = Bid { hostnode: SPOT.parse().unwrap(), shape: shape(1), price: rate("0.25") };
    assert!(stand.v2.validate(&bid).is_none());
    let exchange = stand.v2.start(&id).unwrap();
    assert_eq!(stand.ask(exchange), Ok(()));
}

/// How many of so many reads were turned away, at a pace, by a counter that takes what the vendor takes; and how long they
/// took.
async fn turned_away(pace_milli: u32, reads: usize) -> (u64, Duration) {
    let clock = VirtualClock::at(Timestamp::UNIX_EPOCH);
    let options = WorldOptions { temper: Temper::Still, ..WorldOptions::lifelike("100".parse().unwrap()) };
    let world = World::new(1, Timestamp::UNIX_EPOCH, options);
    let mut fake = TensordockV2Fake::new(None);
    fake.requests_per_minute_max = Api::TensordockV2.requests_per_minute_max();
    let market = Market::new(world, Faults::none(), vec![(Api::TensordockV2, Box::new(fake) as Box<dyn Fake>)]);
    let market = Arc::new(Mutex::new(market));
    let door = InProcess { market: Arc::clone(&market), clock: Arc::new(clock.clone()) };
    let says = dialect(Api::TensordockV2, None, "t".into());
    let name = "examined".parse().unwrap();
    let client = Client::new(name, says, Arc::new(door), Arc::new(clock.clone()), pace_milli, Arc::new(Unobserved));
    let mut answered = 0;
    for _ in 0..reads {
        match client.read(client.dialect().instances()).await {
            Ok(_) => answered += 1,
            Err(refusal) => assert_eq!(refusal, Refusal::Throttled { retry_after: None }),
        }
    }
    let sent = market.lock().unwrap().calls(Api::TensordockV2, Call::Instances);
    (sent - answered, clock.monotonic())
}

#[tokio::test]
async fn no_pace_that_is_accepted_without_a_warning_meets_the_vendors_limit_and_one_beyond_it_does() {
    // The fastest of which the settings do not warn, and the one unless said.
    let (away, took) = turned_away(1_666, 400).await;
    assert_eq!(away, 0);
    assert!(took < Duration::from_secs(241), "{took:?}");
    assert_eq!(turned_away(1_000, 200).await.0, 0);
    assert!(turned_away(1_800, 400).await.0 > 0);
}
