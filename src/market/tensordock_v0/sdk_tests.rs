//! The calls that no fleet needs: their fixtures as text, their requests held against the vendor's names of the fields,
//! and each against the fake and a tiny world.

use super::{
    calls::Filters,
    conformance::{HOST, ask, dialect, fake, has_fields_of, here, rate, world},
    fixtures::{self, fixture, listed},
    nouns::{
        ContainerOrder, InstantOrder, InstantVms, Modification, Month, MonthlySummary, RevenueQuery, TransactionKind,
    },
    *,
};
use crate::{
    market::{
        Fake,
        examples::{Sent, are_said_by_the_vendors_names},
    },
    model::{InstanceStatus, offer::Rates},
};
use serde_json::Value;
use std::collections::BTreeMap;

const CONTAINER: &str = "72d610f8-9279-4adc-b9a2-28a36b98e42b";

fn january() -> Month {
    "2024-01".parse().unwrap()
}

fn container() -> ContainerOrder {
    ContainerOrder {
        display_name: "My Container".into(),
        project_id: "my-container-id".into(),
        image_name: "strm/helloworld-http".into(),
        gpus: 2,
        gpu_models: vec!["v100-sxm2-16gb".parse().unwrap(), "l40-pcie-48gb".parse().unwrap()],
        replicas: 2,
        vcpus: 4,
        ram_gb: 16,
        storage_gb: 100,
        networking_port: 80,
        environment: [("MODE".to_owned(), "a \"quoted\" one".to_owned())].into(),
        volumes: vec!["/data".into()],
        arguments: vec!["--verbose".into()],
        rate_max: Some(rate("0.9")),
    }
}

fn instant(id: &str) -> InstantOrder {
    InstantOrder {
        instant: id.parse().unwrap(),
        name: "at-once".parse().unwrap(),
        password: Some("Sup3r-random".into()),
        ssh_key: Some("ssh-ed25519 AAAA me\n".into()),
        cloud_init: Some("runcmd:\n  - true\n".into()),
    }
}

fn larger() -> Modification {
    Modification { gpus: Some(4), vcpus: Some(16), ram_gb: Some(64), storage_gb: Some(400), gpu_model: None }
}

/// What a call makes of an answer, as `fixtures/GOLDEN` has it.
pub(super) fn told(call: &str, id: &str, response: &Response) -> String {
    let says = dialect();
    let made = |made: Deployed| format!("made {}", made.id);
    let done = |()| "done".to_owned();
    match call {
        "authorizations" => {
            fixtures::told(says.authorizations(), response, |scan| listed(scan, |one| format!("{one:?}")))
        }
        "modify" => fixtures::told(says.modify(&id.parse().unwrap(), &larger()), response, done),
        "instant_vms" => fixtures::told(says.instant_vms(), response, |InstantVms { sizes, offers }| {
            let (sizes, offers) = (listed(sizes, |one| format!("{one:?}")), listed(offers, |one| format!("{one:?}")));
            format!("sizes: {sizes}\n offers: {offers}")
        }),
        "deploy_instant" => fixtures::told(says.deploy_instant(&instant("an-id")), response, made),
        "deploy_container" => fixtures::told(says.deploy_container(&container()), response, done),
        "scale_container" => fixtures::told(says.scale_container(CONTAINER, -1), response, done),
        "stop_container" => fixtures::told(says.stop_container(CONTAINER), response, done),
        "container_replicas" => fixtures::told(says.container_replicas(CONTAINER).unwrap(), response, |scan| {
            listed(scan, |one| format!("{one:?}"))
        }),
        "revenue" => fixtures::told(says.revenue(&RevenueQuery::default()), response, |scan| {
            listed(scan, |one| format!("{one:?}"))
        }),
        "monthly_summary" => fixtures::told(says.monthly_summary(january()), response, |summary| {
            let MonthlySummary { from, to, previous_balance, final_balance, expenses, payouts, transactions } = summary;
            let month = |month: Option<Month>| month.map_or_else(|| "-".into(), |month| month.to_string());
            let mut text = format!(
                "{}..{} {previous_balance} -> {final_balance}, spent {expenses}, earned {payouts}",
                month(from),
                month(to)
            );
            for (kind, lines) in transactions {
                text.push_str(&format!("\n {kind}: {}", listed(lines, |line| format!("{line:?}"))));
            }
            text
        }),
        other => panic!("no call {other}"),
    }
}

/// A typed request, told by its parts.
fn sent(request: &Request) -> Sent {
    let form = form_urlencoded::parse(&request.body).into_owned();
    let names = form.chain(request.query.iter().cloned()).map(|(name, _)| name);
    let credentials = ["api_key", "api_token"];
    (request.method, request.path.clone(), names.filter(|name| !credentials.contains(&name.as_str())).collect())
}

/// Every typed call with all its fields, by the name that `spotscale api` has for it.
fn all_typed() -> Vec<(&'static str, Request)> {
    let says = dialect();
    let vm: InstanceId = "65e7edca-888a-4e66-a975-2c6cd4cd218b".parse().unwrap();
    let host: HostnodeId = HOST.parse().unwrap();
    let order = here();
    let filters = Filters {
        vcpus_min: Some(1),
        ram_gb_min: Some(20),
        storage_gb_min: Some(20),
        vram_gb_min: Some(4),
        gpus_min: Some(1),
        gpus_max: Some(8),
        requires_rtx: Some(false),
        requires_gtx: Some(false),
    };
    let bid = Bid { hostnode: host.clone(), shape: order.shape.clone(), price: rate("0.25") };
    let revenue =
        RevenueQuery { start: Some("2023-01-01T00:00:00Z".parse().unwrap()), end: None, hostnode: Some(host.clone()) };
    vec![
        ("auth-test", says.whoami().request),
        ("auth-list", says.authorizations().request),
        ("hostnodes", says.hostnodes_with(filters).request),
        ("hostnode", says.hostnode(&host).unwrap().request),
        ("deploy", says.deploy(&order).unwrap().request),
        ("validate-new", says.validate(&bid).unwrap().request),
        ("validate-existing", says.rebid(&vm, rate("0.25")).unwrap().request),
        ("list", says.instances().request),
        ("get", says.instance(&vm).unwrap().request),
        ("start", says.start(&vm).unwrap().request),
        ("stop", says.stop(&vm, Stop::ReleaseGpu).unwrap().request),
        ("modify", says.modify(&vm, &larger()).request),
        ("delete", says.terminate(&vm).request),
        ("deploy-instant", says.deploy_instant(&instant("an-id")).request),
        ("instant-vms", says.instant_vms().request),
        ("container-deploy", says.deploy_container(&container()).request),
        ("container-scale", says.scale_container(CONTAINER, 2).request),
        ("container-stop", says.stop_container(CONTAINER).request),
        ("container-replicas", says.container_replicas(CONTAINER).unwrap().request),
        ("balance", says.balance().unwrap().request),
        ("revenue", says.revenue(&revenue).request),
        ("summary", says.monthly_summary(january()).request),
    ]
}

#[test]
fn all_22_calls_are_there_typed_and_by_the_vendors_names_and_say_the_same() {
    let says = dialect();
    assert_eq!(says.raw_calls().len(), 22);
    are_said_by_the_vendors_names(&says, &all_typed(), sent, |_, field| match field {
        "hostnode" => HOST.to_owned(),
        "container_id" => CONTAINER.to_owned(),
        _ => "x".to_owned(),
    });
}

#[test]
fn a_raw_call_is_judged_by_what_was_answered_and_a_bid_that_fails_is_an_answer() {
    let judged = |name: &str, file: &str, status: u16, original: u16| {
        let call = super::raw::CALLS.iter().find(|call| call.name == name).unwrap();
        let exchange = dialect().raw(call, &[]).unwrap();
        let mut response = Response::json(status, fixture(file));
        response.headers.push((crate::market::ORIGINAL_STATUS.into(), original.to_string()));
        (exchange.read)(&exchange.request, &response)
    };
    assert_eq!(judged("validate-new", "validate_new_refused.json", 200, 500), Ok(()));
    assert_eq!(judged("validate-existing", "validate_existing_refused.json", 200, 500), Ok(()));
    assert_eq!(judged("validate-existing", "validate_existing_accepted.json", 200, 200), Ok(()));
    assert!(matches!(
        judged("validate-existing", "validate_existing_refused.json", 500, 500),
        Err(Refusal::Unreachable(_))
    ));
    // Only what reads may leave `success` out.
    assert_eq!(judged("revenue", "revenue.json", 200, 200), Ok(()));
    assert!(matches!(judged("start", "success_missing.json", 200, 200), Err(Refusal::Malformed(_))));
    assert!(matches!(judged("delete", "validate_new_refused.json", 200, 500), Err(Refusal::Unreachable(_))));
    assert!(matches!(judged("list", "html_200.html", 200, 200), Err(Refusal::Malformed(_))));
}

#[test]
fn the_documents_example_of_a_container_is_sent() {
    let request = dialect().deploy_container(&container()).request;
    let form: BTreeMap<String, String> = form_urlencoded::parse(&request.body).into_owned().collect();
    for (name, value) in [
        ("registry_type", "public"),
        ("gpu_count", "2"),
        ("gpu_models", "['v100-sxm2-16gb','l40-pcie-48gb']"),
        ("max_vm_rate_hourly", "0.90"),
        ("environment_variables", r#"{"MODE":"a \"quoted\" one"}"#),
        ("volumes", r#"["/data"]"#),
        ("arguments", r#"["--verbose"]"#),
    ] {
        assert_eq!(form[name], value, "{name}");
    }
    let bare = ContainerOrder { volumes: vec![], rate_max: None, ..container() };
    let (_, _, fields) = sent(&dialect().deploy_container(&bare).request);
    assert!(!fields.contains("volumes") && !fields.contains("max_vm_rate_hourly"));
}

#[test]
fn an_id_cannot_lead_to_another_path() {
    for id in ["..", "a/b", "a?b", ""] {
        assert!(dialect().container_replicas(id).is_none(), "{id}");
    }
}

#[test]
fn the_account_is_told() {
    let mut world = world();
    let authorizations = ask(&mut world, dialect().authorizations()).unwrap();
    assert_eq!(authorizations.items[0].name, "simulated");
    assert_eq!(authorizations.items[0].permissions.as_deref(), Some("All"));
    let created = authorizations.items[0].created_at.unwrap();
    assert_eq!(created.to_string(), "2022-12-04T02:26:01.898472Z");
    assert_eq!(ask(&mut world, dialect().revenue(&RevenueQuery::default())), Ok(Scan::default()));
    let wrong = TensordockV0::new("a-key".into(), "another".into());
    assert!(matches!(ask(&mut world, wrong.authorizations()), Err(Refusal::Unauthorized(_))));
    assert!(matches!(ask(&mut world, wrong.monthly_summary(january())), Err(Refusal::Unauthorized(_))));
}

#[test]
fn machines_can_be_asked_for_by_what_they_have() {
    let mut world = world();
    let listed = |world: &mut _, least| {
        let filters = Filters { gpus_min: Some(least), ..Filters::default() };
        ask(world, dialect().hostnodes_with(filters)).unwrap().items.len()
    };
    assert_eq!(listed(&mut world, 4), 1);
    assert_eq!(listed(&mut world, 5), 0);
}

#[test]
fn a_stopped_vm_gets_another_size_and_another_price() {
    let mut world = world();
    let id = ask(&mut world, dialect().deploy(&here()).unwrap()).unwrap().id;
    let says = dialect();
    let refused = Refusal::Refused("Machine is running, therefore it cannot be modified".into());
    assert_eq!(ask(&mut world, says.modify(&id, &larger())), Err(refused));
    ask(&mut world, says.stop(&id, Stop::ReleaseGpu).unwrap()).unwrap();
    let before = world.vms[&id].instance.quoted;
    ask(&mut world, says.modify(&id, &larger())).unwrap();
    let Ok(Lookup::Here(vm)) = ask(&mut world, says.instance(&id).unwrap()) else { panic!("it is there") };
    assert_eq!((vm.gpus, vm.status), (4, InstanceStatus::StoppedReleased));
    assert!(world.vms[&id].instance.quoted.map(Rates::total) > before.map(Rates::total));
    let shape = &world.vms[&id].shape;
    assert_eq!((shape.vcpus, shape.ram_gb, shape.storage_gb), (16, 64, 400));
    let odd = Modification { vcpus: Some(7), ..Modification::default() };
    assert!(matches!(ask(&mut world, says.modify(&id, &odd)), Err(Refusal::Refused(_))));
    let many = Modification { gpus: Some(5), ..Modification::default() };
    assert!(matches!(ask(&mut world, says.modify(&id, &many)), Err(Refusal::NoCapacity(_))));
    assert_eq!(ask(&mut world, says.modify(&"elsewhere".parse().unwrap(), &larger())), Err(Refusal::Gone));
}

#[test]
fn an_instant_vm_is_shown_and_had() {
    let mut world = world();
    let InstantVms { sizes, offers } = ask(&mut world, dialect().instant_vms()).unwrap();
    assert_eq!((sizes.items.len(), offers.items.len()), (1, 1));
    let offer = &offers.items[0];
    assert_eq!((offer.size.as_ref(), offer.gpus.as_slice()), (Some(&sizes.items[0].id), [1].as_slice()));
    assert_eq!(offer.uptime_ppm, Some(999_900));
    let made = ask(&mut world, dialect().deploy_instant(&instant(offer.id.as_str()))).unwrap();
    let vm = &world.vms[&made.id];
    assert_eq!((vm.instance.name.as_str(), vm.instance.quoted), ("at-once", Some(offer.rates)));
    assert_eq!(vm.instance.ports.get(&30_117), Some(&22));
    let gone = ask(&mut world, dialect().deploy_instant(&instant("no-such-one")));
    assert!(matches!(gone, Err(Refusal::NoCapacity(_) | Refusal::Refused(_))), "{gone:?}");
    let nobody = InstantOrder { password: None, ssh_key: None, ..instant(offer.id.as_str()) };
    assert!(matches!(ask(&mut world, dialect().deploy_instant(&nobody)), Err(Refusal::Refused(_))));
}

#[test]
fn containers_are_no_longer_supported() {
    let mut world = world();
    let says = dialect();
    let refusal = "This endpoint is deprecated. We no longer support containers.";
    for exchange in
        [says.deploy_container(&container()), says.scale_container(CONTAINER, 1), says.stop_container(CONTAINER)]
    {
        assert_eq!(ask(&mut world, exchange), Err(Refusal::Refused(refusal.into())));
    }
    let replicas = ask(&mut world, says.container_replicas(CONTAINER).unwrap());
    assert_eq!(replicas, Err(Refusal::Refused(refusal.into())));
}

#[test]
fn a_months_account_is_what_the_wallet_paid() {
    let mut world = world();
    let id = ask(&mut world, dialect().deploy(&here()).unwrap()).unwrap().id;
    let summary = ask(&mut world, dialect().monthly_summary(january())).unwrap();
    assert_eq!((summary.from, summary.to), (Some(january()), Month::new(2024, 2)));
    assert_eq!(summary.expenses, "2.04".parse().unwrap());
    assert_eq!(summary.previous_balance.minus(summary.expenses), summary.final_balance);
    let line = |kind: TransactionKind| summary.transactions[&kind].items[0].clone();
    let (vm, disk) = (line(TransactionKind::VmExpense), line(TransactionKind::StorageExpense));
    assert_eq!((vm.vm.as_ref(), vm.amount.plus(disk.amount)), (Some(&id), summary.expenses));
    assert_eq!((vm.gpus.as_deref(), disk.storage_gb), (Some("2x v100-pcie-16gb"), Some(200)));
    assert_eq!((vm.from.as_deref(), vm.to.as_deref()), (Some("01/01"), Some("02/01")));
    for period in ["2024-13", "yesterday", ""] {
        let fields = [("api_key", "a-key"), ("api_token", "a-token"), ("period", period)];
        let refused = fake().serve(&mut world, &Request::form("/api/v0/billing/summary", fields));
        assert_eq!(refused.status, 400, "{period}");
    }
}

#[test]
fn the_fakes_answers_have_every_field_of_the_documents_examples() {
    let mut world = world();
    let id = ask(&mut world, dialect().deploy(&here()).unwrap()).unwrap().id;
    ask(&mut world, dialect().stop(&id, Stop::KeepGpu).unwrap()).unwrap();
    let offers = ask(&mut world, dialect().instant_vms()).unwrap().offers;
    let says = dialect();
    let requests = [
        ("auth_list.json", says.authorizations().request),
        ("modify.json", says.modify(&id, &larger()).request),
        ("instant_vms.json", says.instant_vms().request),
        ("deploy_instant.json", says.deploy_instant(&instant(offers.items[0].id.as_str())).request),
        ("revenue.json", says.revenue(&RevenueQuery::default()).request),
        ("summary.json", says.monthly_summary(january()).request),
    ];
    for (file, request) in requests {
        let mut pattern: Value = serde_json::from_slice(&fixture(file)).unwrap();
        let answer: Value = serde_json::from_slice(&fake().serve(&mut world, &request).body).unwrap();
        if file == "auth_list.json" {
            // By name, and the names differ.
            pattern["authorizations"] = serde_json::json!({});
        }
        has_fields_of(&pattern, &answer, file);
    }
}
