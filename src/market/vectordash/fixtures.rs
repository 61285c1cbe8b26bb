//! Every fixture goes through the dialect, and what comes out is compared with `fixtures/GOLDEN`, line by line.

use super::{nouns::ListedGpu, *};
use crate::{
    market::examples::{self, Fixtures, listed, made, mangle, rates, told},
    model::{
        PriceType, Shape, Timestamp,
        offer::{Lot, Ports, Sizes, Sold, SpotTerms, Supply},
    },
};
use std::fmt::Write;

const FIXTURES: Fixtures = Fixtures("vectordash");

pub(super) fn fixture(name: &str) -> Vec<u8> {
    FIXTURES.read(name)
}

fn dialect() -> Vectordash {
    Vectordash::new("a-token".into())
}

/// One fixture under one call: the file, HTTP status, the call.
type Case = (&'static str, u16, &'static str);

const CASES: &[Case] = &[
    ("account.json", 200, "whoami"),
    ("account.json", 200, "account"),
    ("account_whole.json", 200, "whoami"),
    ("account_whole.json", 200, "account"),
    ("html_200.html", 200, "whoami"),
    ("gpus.json", 200, "whoami"),
    ("unauthorized.json", 200, "whoami"),
    ("unauthorized.json", 400, "whoami"),
    ("unauthorized_detail.json", 403, "whoami"),
    ("delete.txt", 400, "whoami"),
    ("gpus.json", 200, "hostnodes"),
    ("gpus.json", 200, "gpus"),
    ("odd_gpus.json", 200, "hostnodes"),
    ("odd_gpus.json", 200, "gpus"),
    ("success.json", 200, "hostnodes"),
    ("html_200.html", 200, "hostnodes"),
    ("instances.json", 200, "hostnodes"),
    ("instances.json", 200, "instances"),
    ("instances.json", 200, "sessions"),
    ("odd_instances.json", 200, "instances"),
    ("odd_instances.json", 200, "sessions"),
    ("bare_instances.json", 200, "instances"),
    ("create.json", 200, "instances"),
    ("html_200.html", 200, "instances"),
    ("unauthorized_detail.json", 400, "instances"),
    ("instances.json", 503, "instances"),
    ("create.json", 200, "deploy"),
    ("create.json", 201, "deploy"),
    ("create.json", 500, "deploy"),
    ("bare_create.json", 200, "deploy"),
    ("keyless_create.json", 200, "deploy"),
    ("delete.txt", 204, "deploy"),
    ("success.json", 200, "deploy"),
    ("html_200.html", 200, "deploy"),
    ("no_gpu.json", 400, "deploy"),
    ("no_gpu.json", 200, "deploy"),
    ("not_found.json", 404, "deploy"),
    ("unauthorized.json", 401, "deploy"),
    ("delete.txt", 400, "deploy"),
    ("delete.txt", 204, "terminate"),
    ("delete.txt", 200, "terminate"),
    ("success.json", 200, "terminate"),
    ("html_200.html", 200, "terminate"),
    ("not_found.json", 404, "terminate"),
    ("delete.txt", 404, "terminate"),
    ("not_found.json", 400, "terminate"),
    ("unauthorized.json", 401, "terminate"),
    ("delete.txt", 400, "terminate"),
    ("delete.txt", 500, "terminate"),
];

fn read(case: &Case) -> String {
    let (file, status, call) = *case;
    let response = Response::json(status, fixture(file));
    answered(call, &response)
}

/// What a call makes of an answer.
fn answered(call: &str, response: &Response) -> String {
    let dialect = dialect();
    match call {
        "whoami" => told(dialect.whoami(), response, |()| "done".into()),
        "account" => told(dialect.account(), response, |account| format!("{account:?}")),
        "hostnodes" => told(dialect.hostnodes(), response, |scan| listed(scan, show_hostnode)),
        "gpus" => told(dialect.gpus(), response, |scan| listed(scan, show_gpu)),
        "instances" => told(dialect.instances(), response, |scan| listed(scan, show_instance)),
        "sessions" => told(dialect.sessions(), response, |scan| {
            listed(scan, |session| {
                let nouns::Session { instance, user, cpu, ram_gb, storage_gb, image, .. } = session;
                let nouns::Session { ended_at, estimated_charge, duration_h, .. } = session;
                let charge = estimated_charge.map(|charge| charge.to_string());
                let ended = ended_at.map(|at| at.to_string());
                format!(
                    "{} | {user:?} {cpu:?} {ram_gb:?} {storage_gb:?} {image:?} | {ended:?} {charge:?} {duration_h:?}",
                    instance.id
                )
            })
        }),
        "deploy" => told(dialect.deploy(&order()).unwrap(), response, made),
        "terminate" => told(dialect.terminate(&"ffffff342".parse().unwrap()), response, |()| "done".into()),
        call => panic!("{call}"),
    }
}

fn until(end: Option<Timestamp>) -> String {
    end.map_or_else(|| "without an end".into(), |end| format!("until {end}"))
}

fn show_hostnode(host: &Hostnode) -> String {
    let Hostnode { id, location, uptime_ppm, online, supply, spot, ports, available_until } = host;
    assert!(location.to_string().is_empty() && uptime_ppm.is_none() && *online);
    assert_eq!((spot, ports), (&SpotTerms::None, &Ports::GivenForSsh));
    let Supply::Lots(lots) = supply else { panic!("GPUs are sold one by one") };
    let [Lot { id: lot, shape, sizes: Sizes::Unsaid, rates: price, sold: Sold::EitherWay }] = &lots[..] else {
        panic!("{lots:?}")
    };
    assert_eq!((lot.as_str(), shape.gpus), (id.as_str(), 1));
    format!("{id} | {} at {} | {}", shape.gpu_model, rates(Some(*price)), until(*available_until))
}

fn show_gpu(gpu: &ListedGpu) -> String {
    let ListedGpu { kind, model, teraflops_milli, vram_gb, generation, rate, available, asic } = gpu;
    let model = model.as_ref().map_or("-", |model| model.as_str());
    let asic = if *asic { " | asic" } else { "" };
    format!(
        "{kind} | {model} {teraflops_milli:?} {vram_gb:?} {generation:?} at {rate} | {}{asic}",
        until(available.end())
    )
}

fn show_instance(vm: &Instance) -> String {
    assert_eq!(vm.price_type, Some(PriceType::OnDemand));
    format!("{} | {}", examples::instance(vm, &rates(vm.quoted)), until(vm.available_until))
}

pub(super) fn order() -> Order {
    let gpu_model = "v100-pcie-16gb".parse().unwrap();
    examples::order("Tesla V100", Shape { gpu_model, gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 100 })
}

#[test]
fn every_fixture_reads_as_the_golden_file_says() {
    let mut actual = String::new();
    for case in CASES {
        let (file, status, call) = case;
        writeln!(actual, "{call} <- {file} {status}: {}", read(case)).unwrap();
    }
    FIXTURES.are_golden(&actual);
    assert!(!actual.contains("rsa-key"), "a private key is quoted");
}

#[test]
fn every_fixture_is_read_and_has_a_marked_source() {
    FIXTURES.are_read_and_marked(CASES.iter().map(|(file, ..)| *file));
}

mod mutated {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Bytes of the fixtures are replaced, removed and doubled: whatever comes out, nothing panics.
        #[test]
        fn no_mutation_of_a_fixture_panics(
            case in 0..CASES.len(),
            edits in proptest::collection::vec((any::<usize>(), 0usize..4, any::<u8>()), 0..12),
        ) {
            let (file, status, _) = CASES[case];
            let mut response = Response::json(status, fixture(file));
            mangle(&mut response.body, edits);
            for call in ["whoami", "account", "hostnodes", "gpus", "instances", "sessions", "deploy", "terminate"] {
                let _ = answered(call, &response);
            }
        }

        /// A list that lost its end, or anything else, is never taken for a shorter one.
        #[test]
        fn a_cut_list_is_unreadable(at in 0usize..4_000) {
            let mut response = Response::json(200, fixture("odd_instances.json"));
            response.body.truncate(at % (response.body.len() - 2));
            let exchange = dialect().instances();
            let read = (exchange.read)(&exchange.request, &response);
            prop_assert!(matches!(read, Err(Refusal::Malformed(_))), "{read:?}");
        }
    }
}
