//! Every fixture goes through the dialect, and what comes out is compared with `fixtures/GOLDEN`, line by line.

use super::*;
pub(super) use crate::market::examples::listed;
use crate::{
    market::examples::{self, Fixtures, made, mangle, rates},
    model::{
        Shape,
        offer::{Ports, Resources, Stock, Supply},
    },
};
use std::fmt::Write;

const FIXTURES: Fixtures = Fixtures("tensordock_v2");

pub(super) fn fixture(name: &str) -> Vec<u8> {
    FIXTURES.read(name)
}

pub(super) fn dialect() -> TensordockV2 {
    TensordockV2::new("a-token".into())
}

/// One fixture under one call: the file, HTTP status, the call.
type Case = (&'static str, u16, &'static str);

const VM: &str = "550e8400-e29b-41d4-a716-446655440000";
/// What is sent, not answered.
const REQUESTS: &[&str] = &["create_request.json"];

const CASES: &[Case] = &[
    ("auth_test.json", 200, "whoami"),
    ("auth_test.json", 200, "organization"),
    ("empty_object.json", 200, "whoami"),
    ("unauthorized.json", 401, "whoami"),
    ("unauthorized.json", 401, "instances"),
    ("unauthorized.json", 200, "instances"),
    ("throttled.json", 429, "hostnodes"),
    ("html.html", 200, "instances"),
    ("html.html", 404, "instance"),
    ("html.html", 404, "terminate"),
    ("html.html", 502, "deploy"),
    ("html.html", 200, "deploy"),
    ("hostnodes.json", 200, "hostnodes"),
    ("recorded_hostnodes.json", 200, "hostnodes"),
    ("odd_hostnodes.json", 200, "hostnodes"),
    ("list_page.json", 200, "hostnodes"),
    ("empty_object.json", 200, "hostnodes"),
    ("hostnode.json", 200, "hostnode"),
    ("hostnode_bare.json", 200, "hostnode"),
    ("hostnode_gone.json", 404, "hostnode"),
    ("hostnode_gone.json", 200, "hostnode"),
    ("recorded_hostnodes.json", 200, "hostnode"),
    ("list_page.json", 200, "instances"),
    ("list_getting_started.json", 200, "instances"),
    ("list_flat.json", 200, "instances"),
    ("list_empty.json", 200, "instances"),
    ("odd_list.json", 200, "instances"),
    ("get.json", 200, "instances"),
    ("empty_object.json", 200, "instances"),
    ("get.json", 200, "instance"),
    ("get_wrapped.json", 200, "instance"),
    ("get_creating.json", 200, "instance"),
    ("gone.json", 404, "instance"),
    ("gone.json", 500, "instance"),
    ("list_page.json", 200, "instance"),
    ("create.json", 200, "instance"),
    ("create.json", 201, "deploy"),
    ("create.json", 500, "deploy"),
    ("create_queued.json", 200, "deploy"),
    ("get.json", 200, "deploy"),
    ("create_no_id.json", 200, "deploy"),
    ("create_no_nodes.json", 200, "deploy"),
    ("create_unavailable.json", 200, "deploy"),
    ("create_error_array.json", 400, "deploy"),
    ("create_error_array.json", 200, "deploy"),
    ("create_broke.json", 400, "deploy"),
    ("hostnode_gone.json", 404, "deploy"),
    ("gone.json", 404, "deploy"),
    ("nothing.txt", 204, "deploy"),
    ("start.json", 200, "start"),
    ("already_running.json", 409, "start"),
    ("create_unavailable.json", 400, "start"),
    ("gone.json", 404, "start"),
    ("empty_object.json", 200, "start"),
    ("stop.json", 200, "stop"),
    ("delete.json", 200, "terminate"),
    ("nothing.txt", 204, "terminate"),
    ("nothing.txt", 200, "terminate"),
    ("gone.json", 404, "terminate"),
    ("gone.json", 500, "terminate"),
    ("empty_object.json", 200, "terminate"),
    ("modify.json", 200, "modify"),
    ("must_be_stopped.json", 409, "modify"),
    ("locations.json", 200, "places"),
    ("odd_locations.json", 200, "places"),
    ("secrets.json", 200, "secrets"),
    ("secret.json", 200, "secret"),
    ("secret_attributes.json", 200, "secret"),
    ("gone.json", 404, "secret"),
    ("secret_created.json", 201, "keep_secret"),
    ("secret_attributes.json", 201, "keep_secret"),
    ("empty_object.json", 200, "keep_secret"),
    ("delete.json", 200, "forget_secret"),
    ("gone.json", 404, "forget_secret"),
];

fn found<T>(found: Lookup<T>, show: impl Fn(&T) -> String) -> String {
    match found {
        Lookup::Here(one) => format!("here\n  {}", show(&one)),
        Lookup::Gone => "gone".into(),
    }
}

fn read(call: &str, response: &Response) -> String {
    let says = dialect();
    let vm: InstanceId = VM.parse().unwrap();
    let done = |()| "done".to_owned();
    match call {
        "whoami" => told(says.whoami(), response, done),
        "hostnodes" => told(says.hostnodes(), response, |scan| listed(scan, show_hostnode)),
        "hostnode" => {
            let exchange = says.hostnode(&"hostnode-uuid".parse().unwrap()).unwrap();
            told(exchange, response, |host| found(host, show_hostnode))
        }
        "instances" => told(says.instances(), response, |scan| listed(scan, show_instance)),
        "instance" => told(says.instance(&vm).unwrap(), response, |vm| found(vm, show_instance)),
        "deploy" => told(says.deploy(&order()).unwrap(), response, made),
        "start" => told(says.start(&vm).unwrap(), response, done),
        "stop" => told(says.stop(&vm, Stop::KeepGpu).unwrap(), response, done),
        "terminate" => told(says.terminate(&vm), response, done),
        call => super::sdk_tests::told_of(call, &vm, response),
    }
}

pub(super) fn told<T>(exchange: Exchange<T>, response: &Response, show: impl Fn(T) -> String) -> String {
    let known = |call: &str| CASES.iter().any(|(_, _, known)| *known == call);
    assert!(crate::market::CALLS.contains(&exchange.call) || known(exchange.call));
    examples::told(exchange, response, show)
}

pub(super) fn show_stock(stock: &Stock) -> String {
    format!("{}x{}", stock.free, stock.price)
}

fn show_hostnode(host: &Hostnode) -> String {
    let Hostnode { id, location, uptime_ppm, online, supply, spot, ports, available_until: _ } = host;
    let Supply::Resources(Resources { gpus, vcpus, ram_gb, storage_gb, restrictions, rule }) = supply else {
        panic!("v2 sells by resource")
    };
    assert_eq!(*rule, wire::RULE);
    let gpus: Vec<String> = gpus.iter().map(|(model, each)| format!("{model} {}", show_stock(each))).collect();
    let mut text = format!(
        "{id} | {location} | {} | {} | {} | cpu {} ram {} disk {} | {} | {spot:?}",
        if *online { "online" } else { "offline" },
        uptime_ppm.map_or_else(|| "uptime unknown".into(), |ppm| format!("{ppm} ppm")),
        gpus.join(", "),
        show_stock(vcpus),
        show_stock(ram_gb),
        show_stock(storage_gb),
        match ports {
            Ports::Free(ports) => format!("{} ports", ports.len()),
            Ports::Unlisted => "ports unlisted".into(),
            Ports::GivenForSsh => panic!("v2 lets one choose"),
        },
    );
    for (gpus, limit) in restrictions {
        write!(text, " | {gpus} gpus up to {} vcpus {} ram", limit.vcpus.max, limit.ram_gb.max).unwrap();
    }
    text
}

fn show_instance(vm: &Instance) -> String {
    assert_eq!(vm.price_type, None);
    examples::instance(vm, &format!("{} billed {}", rates(vm.quoted), rates(vm.billed())))
}

pub(super) fn order() -> Order {
    let shape = Shape { gpu_model: "v100-pcie-16gb".parse().unwrap(), gpus: 2, vcpus: 8, ram_gb: 8, storage_gb: 200 };
    Order {
        ports: [(30_117, 22)].into(),
        ssh_key: Some("ssh-ed25519 AAAA me".into()),
        ..examples::order("hn-uuid-12345", shape)
    }
}

#[test]
fn every_fixture_reads_as_the_golden_file_says() {
    let mut actual = String::new();
    for (file, status, call) in CASES {
        let told = read(call, &Response::json(*status, fixture(file)));
        writeln!(actual, "{call} <- {file} {status}: {told}").unwrap();
    }
    FIXTURES.are_golden(&actual);
}

#[test]
fn every_fixture_is_read_and_has_a_marked_source() {
    FIXTURES.are_read_and_marked(CASES.iter().map(|(file, ..)| *file).chain(REQUESTS.iter().copied()));
}

mod mutated {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Bytes of the fixtures are replaced, removed and doubled, and read as the answer of every call: whatever comes
        /// out, nothing panics.
        #[test]
        fn no_mutation_of_a_fixture_panics(
            case in 0..CASES.len(),
            as_call in 0..CASES.len(),
            edits in proptest::collection::vec((any::<usize>(), 0usize..4, any::<u8>()), 0..12),
        ) {
            let (file, status, _) = CASES[case];
            let mut response = Response::json(status, fixture(file));
            mangle(&mut response.body, edits);
            let _ = read(CASES[as_call].2, &response);
        }

        /// A list that lost its end, or anything else, is never taken for a shorter one.
        #[test]
        fn a_cut_list_is_unreadable(at in 0usize..2_000) {
            let mut response = Response::json(200, fixture("list_flat.json"));
            response.body.truncate(at % (response.body.len() - 2));
            let exchange = dialect().instances();
            let read = (exchange.read)(&exchange.request, &response);
            prop_assert!(matches!(read, Err(Refusal::Malformed(_))), "{read:?}");
        }
    }
}
