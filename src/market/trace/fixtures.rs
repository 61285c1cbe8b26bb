//! Every fixture goes through the dialect, and what comes out is compared with `fixtures/GOLDEN`, line by line; what is sent
//! is held against the examples of requests.

use super::*;
use crate::{
    io::net::Request,
    market::examples::{self, Fixtures, listed, made, rate, rates, told},
    model::{
        PriceType, Shape,
        offer::{Lot, Sizes, Supply},
    },
};
use serde_json::Value;
use std::fmt::Write;

const FIXTURES: Fixtures = Fixtures("trace");

pub(super) fn fixture(name: &str) -> Vec<u8> {
    FIXTURES.read(name)
}

pub(super) fn dialect() -> Trace {
    Trace::new("a-token".into())
}

/// One fixture under one call: the file, HTTP status, the call.
const CASES: &[(&str, u16, &str)] = &[
    ("whoami.json", 200, "whoami"),
    ("account.json", 200, "whoami"),
    ("unauthorized.json", 401, "whoami"),
    ("html_200.html", 200, "whoami"),
    ("account.json", 200, "balance"),
    ("whoami.json", 200, "balance"),
    ("pools.json", 200, "hostnodes"),
    ("odd_pools.json", 200, "hostnodes"),
    ("vms.json", 200, "hostnodes"),
    ("html_200.html", 200, "hostnodes"),
    ("pools.json", 503, "hostnodes"),
    ("vms.json", 200, "instances"),
    ("odd_vms.json", 200, "instances"),
    ("vm.json", 200, "instances"),
    ("vm.json", 200, "instance"),
    ("gone.json", 404, "instance"),
    ("create.json", 200, "instance"),
    ("validate_accepted.json", 200, "validate"),
    ("validate_refused.json", 200, "validate"),
    ("delete.json", 200, "validate"),
    ("create.json", 200, "deploy"),
    ("create.json", 500, "deploy"),
    ("create_no_id.json", 200, "deploy"),
    ("delete.json", 200, "deploy"),
    ("no_capacity.json", 409, "deploy"),
    ("bid_too_low.json", 409, "deploy"),
    ("gone.json", 404, "deploy"),
    ("unauthorized.json", 401, "deploy"),
    ("html_200.html", 200, "deploy"),
    ("delete.json", 200, "terminate"),
    ("gone.json", 404, "terminate"),
    ("validate_accepted.json", 200, "terminate"),
    ("html_200.html", 404, "terminate"),
];

fn answered(call: &str, response: &Response) -> String {
    let (dialect, vm) = (dialect(), "vm-1".parse().unwrap());
    match call {
        "whoami" => told(dialect.whoami(), response, |()| "done".into()),
        "balance" => told(dialect.balance().unwrap(), response, |Balance { amount, hourly_cost }| {
            format!("{amount} left, {} per hour", hourly_cost.map_or_else(|| "-".into(), |cost| cost.to_string()))
        }),
        "hostnodes" => told(dialect.hostnodes(), response, |scan| listed(scan, show_hostnode)),
        "instances" => told(dialect.instances(), response, |scan| listed(scan, show_instance)),
        "instance" => told(dialect.instance(&vm).unwrap(), response, |found| match found {
            Lookup::Here(vm) => show_instance(&vm),
            Lookup::Gone => "there is none".into(),
        }),
        "validate" => told(dialect.validate(&bid()).unwrap(), response, |answer| answer.to_string()),
        "deploy" => told(dialect.deploy(&order()).unwrap(), response, made),
        "terminate" => told(dialect.terminate(&vm), response, |()| "done".into()),
        call => panic!("{call}"),
    }
}

fn show_hostnode(host: &Hostnode) -> String {
    let Hostnode { id, location, uptime_ppm: None, online: true, supply, spot, ports, available_until: None } = host
    else {
        panic!("{host:?}")
    };
    let Supply::Lots(lots) = supply else { panic!("pools are sold in lots") };
    let lot = |lot: &Lot| {
        let Lot { id, shape, sizes: Sizes::Unsaid, rates: price, sold } = lot else { panic!("{lot:?}") };
        format!("{id}: {} x {} at {} {sold:?}", shape.gpus, shape.gpu_model, rates(Some(*price)))
    };
    let lots: Vec<String> = lots.iter().map(lot).collect();
    format!("{id} in `{location}` | [{}] | {spot:?} | {ports:?}", lots.join(", "))
}

fn show_instance(vm: &Instance) -> String {
    examples::instance(vm, &format!("{:?} {}", vm.price_type, rates(vm.quoted)))
}

pub(super) fn bid() -> Bid {
    let Order { hostnode, shape, bid, .. } = order();
    Bid { hostnode, shape, price: bid.unwrap() }
}

pub(super) fn order() -> Order {
    let gpu_model = "k520".parse().unwrap();
    Order {
        name: "spotscale-rehearsal-k3x9-10".parse().unwrap(),
        price_type: PriceType::Spot,
        bid: Some(rate("0.0684")),
        ..examples::order("pool-0", Shape { gpu_model, gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 100 })
    }
}

#[test]
fn every_fixture_reads_as_the_golden_file_says() {
    let mut actual = String::new();
    for (file, status, call) in CASES {
        let told = answered(call, &Response::json(*status, fixture(file)));
        writeln!(actual, "{call} <- {file} {status}: {told}").unwrap();
    }
    FIXTURES.are_golden(&actual);
}

#[test]
fn what_is_sent_is_what_the_examples_of_requests_say() {
    let sent = |request: &Request| serde_json::from_slice::<Value>(&request.body).unwrap();
    let example = |name: &str| serde_json::from_slice::<Value>(&fixture(name)).unwrap();
    assert_eq!(sent(&dialect().deploy(&order()).unwrap().request), example("create_request.json"));
    assert_eq!(sent(&dialect().validate(&bid()).unwrap().request), example("validate_request.json"));
}
