//! Dialect and fake talk to each other about a tiny world, call by call.

use super::{
    fake::TraceFake,
    fixtures::{bid, dialect, fixture, order},
    *,
};
use crate::{
    io::net::Request,
    market::{
        Call, Fake,
        examples::{TinyWorld, rate},
    },
    model::{
        InstanceStatus, PriceType, Shape,
        offer::{Location, Lot, Ports, Rates, Sizes, Sold, SpotTerms, Supply},
    },
};
use serde_json::Value;
use std::collections::BTreeMap;

const LEAST: &str = "0.0651";

fn host(id: &str, gpus: u32, lots: u32, spot: SpotTerms, sold: Sold) -> Hostnode {
    let shape = Shape { gpu_model: "k520".parse().unwrap(), gpus, vcpus: 0, ram_gb: 0, storage_gb: 0 };
    let rates = Rates { compute: rate("0.65").times(gpus), ..Rates::default() };
    let lot = |at| Lot { id: format!("{id}-{at}"), shape: shape.clone(), sizes: Sizes::Unsaid, rates, sold };
    Hostnode {
        id: id.parse().unwrap(),
        location: Location { region: "us-east-1a".into(), ..Location::default() },
        uptime_ppm: None,
        online: true,
        supply: Supply::Lots((0..lots).map(lot).collect()),
        spot,
        ports: Ports::GivenForSsh,
        available_until: None,
    }
}

fn world() -> TinyWorld {
    let listed = SpotTerms::ListedPerGpu(rate(LEAST));
    let hosts = vec![
        host("pool-0", 1, 2, listed, Sold::EitherWay),
        host("pool-1", 8, 1, listed, Sold::ByBid),
        host("pool-2", 1, 1, SpotTerms::Asked, Sold::ByBid),
        host("pool-3", 1, 0, SpotTerms::None, Sold::ByBid),
    ];
    TinyWorld {
        hosts,
        vms: BTreeMap::new(),
        now: "2015-03-12T00:10:00Z".parse().unwrap(),
        wallet: ("1000.25".parse().unwrap(), rate("1.30")),
        least: Some(rate(LEAST)),
        id: |number| format!("vm-{number}"),
    }
}

fn fake() -> TraceFake {
    TraceFake { token: Some("a-token".into()) }
}

fn ask<T>(world: &mut TinyWorld, exchange: &Exchange<T>) -> Result<T, Refusal> {
    (exchange.read)(&exchange.request, &fake().serve(world, &exchange.request))
}

/// What the fake answers to a call by its name: status and JSON.
fn raw(world: &mut TinyWorld, name: &str, fields: &[(&str, &str)]) -> (u16, Value) {
    let call = raw::CALLS.iter().find(|call| call.name == name).unwrap();
    let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let response = fake().serve(world, &dialect().raw(call, &fields).unwrap().request);
    (response.status, serde_json::from_slice(&response.body).unwrap())
}

#[test]
fn what_the_account_holds_is_what_the_world_says() {
    let balance = ask(&mut world(), &dialect().balance().unwrap()).unwrap();
    assert_eq!((balance.amount, balance.hourly_cost), ("1000.25".parse().unwrap(), Some(rate("1.30"))));
}

#[test]
fn a_pool_is_a_machine_that_is_sold_in_lots() {
    let mut world = world();
    let listed = ask(&mut world, &dialect().hostnodes()).unwrap();
    assert_eq!(listed.dropped, []);
    // What has nothing left is not listed.
    assert_eq!(*listed.items, world.hosts[..3]);
}

#[test]
fn a_vms_whole_life_reads_back_as_the_world_has_it() {
    let mut world = world();
    let made = ask(&mut world, &dialect().deploy(&order()).unwrap()).unwrap();
    assert_eq!(made.quoted, Some(Rates { compute: rate("0.0684"), ..Rates::default() }));
    let truly = world.vms[&made.id].instance.clone();
    assert_eq!(*ask(&mut world, &dialect().instances()).unwrap().items, std::slice::from_ref(&truly));
    for status in [InstanceStatus::Running, InstanceStatus::Outbid, InstanceStatus::Leaving] {
        world.vms.get_mut(&made.id).unwrap().instance.status = status.clone();
        let found = ask(&mut world, &dialect().instance(&made.id).unwrap()).unwrap();
        assert_eq!(found, Lookup::Here(Instance { status, ..truly.clone() }));
    }
    for _ in 0..2 {
        assert_eq!(ask(&mut world, &dialect().terminate(&made.id)), Ok(()));
    }
    assert_eq!(ask(&mut world, &dialect().instance(&made.id).unwrap()), Ok(Lookup::Gone));
    assert_eq!(*ask(&mut world, &dialect().instances()).unwrap().items, []);
}

#[test]
fn a_bid_is_asked_about_pool_by_pool() {
    let mut world = world();
    let mut answer = |bid: Bid| ask(&mut world, &dialect().validate(&bid).unwrap());
    assert_eq!(answer(bid()), Ok(BidAnswer::Accepted));
    assert_eq!(answer(Bid { price: rate("0.065"), ..bid() }), Ok(BidAnswer::Refused));
    let of_eight = Bid { hostnode: "pool-1".parse().unwrap(), ..bid() };
    assert_eq!(answer(of_eight), Ok(BidAnswer::Refused), "a bid is for the whole VM");
    let nowhere = Bid { hostnode: "pool-9".parse().unwrap(), ..bid() };
    assert!(matches!(answer(nowhere), Err(Refusal::NoCapacity(_))));
}

#[test]
fn a_create_is_judged_as_the_documentation_says() {
    let mut world = world();
    let named = ("name", "a");
    for (fields, expected) in [
        (vec![("pool", "pool-0"), ("price_type", "on_demand")], 400),
        (vec![named, ("price_type", "on_demand")], 400),
        (vec![named, ("pool", "pool-0")], 400),
        (vec![named, ("pool", "pool-0"), ("price_type", "spot")], 400),
        (vec![named, ("pool", "pool-0"), ("price_type", "barter"), ("bid_per_hr", "1")], 400),
        (vec![named, ("pool", "pool-0"), ("price_type", "on_demand"), ("bid_per_hr", "1")], 400),
        (vec![named, ("pool", "pool-0"), ("price_type", "spot"), ("bid_per_hr", "-1")], 400),
        (vec![named, ("pool", "pool-0"), ("price_type", "spot"), ("bid_per_hr", "0.01")], 409),
        (vec![named, ("pool", "pool-3"), ("price_type", "on_demand")], 409),
        (vec![named, ("pool", "pool-0"), ("price_type", "spot"), ("bid_per_hr", "0.1")], 200),
        (vec![named, ("pool", "pool-0"), ("price_type", "on_demand")], 200),
    ] {
        assert_eq!(raw(&mut world, "create", &fields).0, expected, "{fields:?}");
    }
    assert_eq!(world.vms.len(), 2);
    let order = Order { price_type: PriceType::Spot, bid: Some(rate("0.01")), ..order() };
    let refused = ask(&mut world, &dialect().deploy(&order).unwrap());
    assert!(matches!(refused, Err(Refusal::BidTooLow(_))), "{refused:?}");
}

#[test]
fn every_call_needs_the_token() {
    let mut world = world();
    assert_eq!(ask(&mut world, &dialect().whoami()), Ok(()));
    let stranger = Trace::new("another".into());
    assert!(matches!(ask(&mut world, &stranger.whoami()), Err(Refusal::Unauthorized(_))));
    for call in raw::CALLS {
        let fields: Vec<(String, String)> =
            call.fields.iter().map(|field| (field.name.to_owned(), "pool-0".to_owned())).collect();
        let request = stranger.raw(call, &fields).unwrap().request;
        assert_eq!(fake().serve(&mut world, &request).status, 401, "{}", call.name);
        let bare = Request { headers: vec![], ..request };
        assert_eq!(fake().serve(&mut world, &bare).status, 401, "{}", call.name);
    }
    use Call::{Balance, Deploy, Hostnodes, Instance, Instances, Terminate, Validate, Whoami};
    let calls = raw::CALLS
        .iter()
        .map(|call| fake().call(&Request { method: call.method, ..Request::get(call.path.replace("{vm}", "vm-1")) }));
    let expected = [Whoami, Balance, Hostnodes, Instances, Instance, Validate, Deploy, Terminate];
    assert_eq!(calls.collect::<Vec<_>>(), expected);
}

/// Every member that the example has, as deep as it goes.
fn has_all_of(example: &Value, answer: &Value, path: &str) {
    match (example, answer) {
        (Value::Object(example), Value::Object(answer)) => {
            for (name, value) in example.iter().filter(|(name, _)| *name != "ports") {
                let path = format!("{path}.{name}");
                has_all_of(value, answer.get(name).unwrap_or_else(|| panic!("{path} is missing")), &path);
            }
        }
        (Value::Array(example), Value::Array(answer)) => has_all_of(&example[0], &answer[0], path),
        (example, answer) => {
            let kind = |value: &Value| (value.is_string(), value.is_number(), value.is_boolean());
            assert_eq!(kind(example), kind(answer), "{path}");
        }
    }
}

#[test]
fn the_answers_have_every_field_of_the_examples() {
    let mut world = world();
    ask(&mut world, &dialect().deploy(&order()).unwrap()).unwrap();
    for (call, file) in [("whoami", "whoami"), ("account", "account"), ("pools", "pools"), ("vms", "vms")] {
        let example: Value = serde_json::from_slice(&fixture(&format!("{file}.json"))).unwrap();
        has_all_of(&example, &raw(&mut world, call, &[]).1, file);
    }
    let example: Value = serde_json::from_slice(&fixture("vm.json")).unwrap();
    has_all_of(&example, &raw(&mut world, "vm", &[("vm", "vm-0")]).1, "vm");
}
