//! Every fixture goes through the dialect, and what comes out is compared with `fixtures/GOLDEN`, line by line.
//!
//! Each case begins a line `call <- file status/original: outcome`, by which `tests/conformance` knows which call a fixture
//! answers.

use super::*;
use crate::{
    market::{
        ORIGINAL_STATUS,
        examples::{self, Fixtures, made, rates},
    },
    model::offer::{Resources, Stock, Supply},
};
use std::fmt::Write;

const FIXTURES: Fixtures = Fixtures("tensordock_v0");

pub(super) fn fixture(name: &str) -> Vec<u8> {
    FIXTURES.read(name)
}

fn dialect() -> TensordockV0 {
    TensordockV0::new("a-key".into(), "a-token".into())
}

/// One fixture under one call: the file, HTTP status, the status behind the proxy, the call, and of what id.
type Case = (&'static str, u16, u16, &'static str, &'static str);

const NODE: &str = "02c65d45-6da5-4232-a8db-ee0e5bc76110";
const VM: &str = "10873ec1-b418-4c14-871e-37b658bd0d42";

const CASES: &[Case] = &[
    ("auth_test.json", 200, 200, "whoami", ""),
    ("success_string.json", 200, 200, "whoami", ""),
    ("success_missing.json", 200, 200, "whoami", ""),
    ("success_missing.json", 200, 200, "terminate", VM),
    ("success_missing.json", 200, 200, "hostnodes", ""),
    ("success_missing.json", 200, 200, "instances", ""),
    ("success_missing.json", 200, 200, "deploy", ""),
    ("auth_test.json", 200, 200, "hostnodes", ""),
    ("auth_test.json", 200, 200, "instances", ""),
    ("auth_test.json", 200, 200, "deploy", ""),
    ("auth_test.json", 200, 200, "instance", VM),
    ("auth_test.json", 200, 500, "start", VM),
    ("unauthorized.json", 401, 401, "whoami", ""),
    ("unauthorized.json", 200, 200, "instances", ""),
    ("html_200.html", 200, 200, "instances", ""),
    ("html_200.html", 200, 200, "deploy", ""),
    ("html_200.html", 502, 502, "deploy", ""),
    ("hostnodes.json", 200, 200, "hostnodes", ""),
    ("sdk_hostnodes.json", 200, 200, "hostnodes", ""),
    ("facts_hostnodes.json", 200, 200, "hostnodes", ""),
    ("openapi_hostnodes.json", 200, 200, "hostnodes", ""),
    ("full_hostnodes_used_up.json", 200, 200, "hostnodes", ""),
    ("odd_hostnodes.json", 200, 200, "hostnodes", ""),
    ("hostnode.json", 200, 200, "hostnode", NODE),
    ("hostnode.json", 200, 200, "hostnode", "e817be06-f7b7-4a14-8bb8-fe04569b25f8"),
    ("sdk_hostnode.json", 200, 200, "hostnode", NODE),
    ("full_hostnode.json", 200, 200, "hostnode", NODE),
    ("openapi_hostnode.json", 200, 200, "hostnode", NODE),
    ("list.json", 200, 200, "instances", ""),
    ("sdk_list.json", 200, 200, "instances", ""),
    ("openapi_list.json", 200, 200, "instances", ""),
    ("odd_list.json", 200, 200, "instances", ""),
    ("get.json", 200, 200, "instance", VM),
    ("openapi_get.json", 200, 200, "instance", VM),
    ("openapi_get.json", 200, 200, "instance", NODE),
    ("get_gone.json", 404, 404, "instance", VM),
    ("get_gone.json", 200, 200, "instance", VM),
    ("get_gone.json", 500, 500, "instance", VM),
    ("validate_new_accepted.json", 200, 200, "validate", ""),
    ("validate_new_refused.json", 200, 500, "validate", ""),
    ("openapi_validate.json", 200, 200, "validate", ""),
    ("success_missing.json", 200, 200, "validate", ""),
    ("validate_existing_accepted.json", 200, 200, "rebid", VM),
    ("validate_existing_refused.json", 200, 500, "rebid", VM),
    ("validate_existing_refused.json", 500, 500, "rebid", VM),
    ("deploy.json", 200, 200, "deploy", ""),
    ("deploy.json", 500, 500, "deploy", ""),
    ("deploy.json", 200, 500, "deploy", ""),
    ("openapi_deploy.json", 200, 200, "deploy", ""),
    ("deploy_odd_vcpus.json", 400, 400, "deploy", ""),
    ("start.json", 200, 200, "start", VM),
    ("start_running.json", 200, 200, "start", VM),
    ("stop.json", 200, 200, "stop", VM),
    ("stop_released.json", 200, 200, "stop", VM),
    ("delete.json", 200, 200, "terminate", VM),
    ("delete_gone.json", 400, 400, "terminate", VM),
    ("delete_gone.json", 200, 500, "terminate", VM),
    ("delete_gone.json", 500, 500, "terminate", VM),
    ("success_string.json", 500, 500, "terminate", VM),
    ("balance.json", 200, 200, "balance", ""),
    ("openapi_balance.json", 200, 200, "balance", ""),
    ("auth_list.json", 200, 200, "authorizations", ""),
    ("openapi_auth_list.json", 200, 200, "authorizations", ""),
    ("unauthorized.json", 401, 401, "authorizations", ""),
    ("auth_test.json", 200, 200, "authorizations", ""),
    ("modify.json", 200, 200, "modify", VM),
    ("modify_running.json", 200, 200, "modify", VM),
    ("get_gone.json", 404, 404, "modify", VM),
    ("success_missing.json", 200, 200, "modify", VM),
    ("instant_vms.json", 200, 200, "instant_vms", ""),
    ("odd_instant_vms.json", 200, 200, "instant_vms", ""),
    ("auth_test.json", 200, 200, "instant_vms", ""),
    ("deploy_instant.json", 200, 200, "deploy_instant", ""),
    ("openapi_deploy.json", 200, 200, "deploy_instant", ""),
    ("auth_test.json", 200, 200, "deploy_instant", ""),
    ("container_done.json", 200, 200, "deploy_container", ""),
    ("container_deprecated.json", 400, 400, "deploy_container", ""),
    ("container_done.json", 200, 200, "scale_container", ""),
    ("container_done.json", 200, 200, "stop_container", ""),
    ("container_replicas.json", 200, 200, "container_replicas", ""),
    ("odd_container_replicas.json", 200, 200, "container_replicas", ""),
    ("auth_test.json", 200, 200, "container_replicas", ""),
    ("revenue.json", 200, 200, "revenue", ""),
    ("odd_revenue.json", 200, 200, "revenue", ""),
    ("html_200.html", 200, 200, "revenue", ""),
    ("summary.json", 200, 200, "monthly_summary", ""),
    ("odd_summary.json", 200, 200, "monthly_summary", ""),
    ("odd_summary_sums.json", 200, 200, "monthly_summary", ""),
    ("success_missing.json", 200, 200, "monthly_summary", ""),
];

fn read(case: &Case) -> String {
    let (file, status, original, call, id) = *case;
    let response = response(file, status, original);
    let dialect = dialect();
    let vm = || id.parse::<InstanceId>().unwrap();
    match call {
        "whoami" => told(dialect.whoami(), &response, |()| "done".into()),
        "hostnodes" => told(dialect.hostnodes(), &response, |scan| listed(scan, show_hostnode)),
        "hostnode" => told(dialect.hostnode(&id.parse().unwrap()).unwrap(), &response, |found| match found {
            Lookup::Here(host) => format!("here\n  {}", show_hostnode(&host)),
            Lookup::Gone => "gone".into(),
        }),
        "instances" => told(dialect.instances(), &response, |scan| listed(scan, show_instance)),
        "instance" => told(dialect.instance(&vm()).unwrap(), &response, |found| match found {
            Lookup::Here(vm) => format!("here\n  {}", show_instance(&vm)),
            Lookup::Gone => "gone".into(),
        }),
        "validate" => told(dialect.validate(&bid()).unwrap(), &response, |answer| answer.to_string()),
        "rebid" => told(dialect.rebid(&vm(), bid().price).unwrap(), &response, |answer| answer.to_string()),
        "deploy" => told(dialect.deploy(&order()).unwrap(), &response, made),
        "start" => told(dialect.start(&vm()).unwrap(), &response, |()| "done".into()),
        "stop" => told(dialect.stop(&vm(), Stop::KeepGpu).unwrap(), &response, |()| "done".into()),
        "terminate" => told(dialect.terminate(&vm()), &response, |()| "done".into()),
        "balance" => told(dialect.balance().unwrap(), &response, |balance| {
            format!(
                "{} costs {}",
                balance.amount,
                balance.hourly_cost.map_or_else(|| "unsaid".into(), |rate| rate.to_string())
            )
        }),
        call => super::sdk_tests::told(call, id, &response),
    }
}

fn response(file: &str, status: u16, original: u16) -> Response {
    let mut response = Response::json(status, fixture(file));
    response.headers.push((ORIGINAL_STATUS.into(), original.to_string()));
    response
}

pub(super) fn told<T>(exchange: Exchange<T>, response: &Response, show: impl Fn(T) -> String) -> String {
    let known = |call: &str| CASES.iter().any(|(_, _, _, known, _)| *known == call);
    assert!(crate::market::CALLS.contains(&exchange.call) || known(exchange.call));
    examples::told(exchange, response, show)
}

fn show_hostnode(host: &Hostnode) -> String {
    let Hostnode { id, location, uptime_ppm, online, supply, spot, ports, available_until: _ } = host;
    let Supply::Resources(Resources { gpus, vcpus, ram_gb, storage_gb, restrictions, rule: _ }) = supply else {
        panic!("v0 sells by resource")
    };
    let stock = |stock: &Stock| format!("{}x{}", stock.free, stock.price);
    let gpus: Vec<String> = gpus.iter().map(|(model, each)| format!("{model} {}", stock(each))).collect();
    let mut text = format!(
        "{id} | {location} | {} | {} | {} | cpu {} ram {} disk {} | {} ports | {spot:?}",
        if *online { "online" } else { "offline" },
        uptime_ppm.map_or_else(|| "uptime unknown".into(), |ppm| format!("{ppm} ppm")),
        gpus.join(", "),
        stock(vcpus),
        stock(ram_gb),
        stock(storage_gb),
        ports.free().len(),
    );
    for (gpus, limit) in restrictions {
        let bounds = [limit.vcpus, limit.ram_gb, limit.storage_gb].map(|each| format!("{}-{}", each.min, each.max));
        write!(text, " | {gpus} gpus {}", bounds.join(" ")).unwrap();
    }
    text
}

fn show_instance(vm: &Instance) -> String {
    let price_type = vm.price_type.map_or("-", PriceType::as_str);
    examples::instance(vm, &format!("{price_type} {} billed {}", rates(vm.quoted), rates(vm.billed())))
}

pub(super) use crate::{
    market::examples::listed,
    model::{PriceType, Shape},
};

pub(super) fn bid() -> Bid {
    Bid {
        hostnode: NODE.parse().unwrap(),
        shape: Shape { gpu_model: "v100-pcie-16gb".parse().unwrap(), gpus: 2, vcpus: 8, ram_gb: 8, storage_gb: 200 },
        price: "0.25".parse().unwrap(),
    }
}

pub(super) fn order() -> Order {
    Order {
        price_type: PriceType::Spot,
        bid: Some(bid().price),
        ports: [(30117, 22)].into(),
        ..examples::order(NODE, bid().shape)
    }
}

#[test]
fn every_fixture_reads_as_the_golden_file_says() {
    let mut actual = String::new();
    for case in CASES {
        let (file, status, original, call, _) = case;
        writeln!(actual, "{call} <- {file} {status}/{original}: {}", read(case)).unwrap();
    }
    FIXTURES.are_golden(&actual);
}
