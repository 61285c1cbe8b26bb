//! Dialect and fake talk to each other about a tiny world, verb by verb; the fake's answers have every field that the
//! documents' examples have; and the fake refuses what the documents refuse.

use super::{
    fake::{SIMULATED_KEY, VectordashFake},
    fixtures::{fixture, order},
    nouns::Availability,
    *,
};
use crate::{
    io::net::Method,
    market::{
        Call, Fake,
        examples::{TinyWorld, rate},
    },
    model::{
        GpuModel, InstanceStatus, Usd,
        offer::{Location, Ports, PriceRule, Rates, Resources, SpotTerms, Stock, Supply},
    },
};
use serde_json::Value;
use std::collections::BTreeMap;

const NOW: &str = "2026-11-20T18:00:00Z";

fn host(id: &str, model: &str, price: &str, until: Option<&str>) -> Hostnode {
    let free_of_charge = |free| Stock { free, price: HourlyRate::ZERO };
    Hostnode {
        id: id.parse().unwrap(),
        location: Location::default(),
        uptime_ppm: Some(999_900),
        online: true,
        supply: Supply::Resources(Resources {
            gpus: BTreeMap::from([(model.parse().unwrap(), Stock { free: 2, price: rate(price) })]),
            vcpus: free_of_charge(16),
            ram_gb: free_of_charge(32),
            storage_gb: free_of_charge(500),
            restrictions: BTreeMap::new(),
            rule: PriceRule { term_step_micros: 1_000, size_step: 2, storage_gb_min: 0 },
        }),
        spot: SpotTerms::None,
        ports: Ports::Free(vec![25_852, 25_853]),
        available_until: until.map(|until| until.parse().unwrap()),
    }
}

fn world() -> TinyWorld {
    let hosts = vec![
        host("a", "v100-pcie-16gb", "0.69", Some("2026-11-21T00:00:00Z")),
        host("b", "v100-pcie-16gb", "0.71", Some("2026-12-01T00:00:00Z")),
        host("c", "v100-pcie-16gb", "0.70", Some("2026-12-01T00:00:00Z")),
        host("d", "titanv-pcie-12gb", "0.85", None),
        // Not in the reference: nobody there could ask for it.
        host("e", "h100-sxm5-80gb", "2.00", None),
        Hostnode { online: false, ..host("f", "geforcegtx1080ti-pcie-11gb", "0.64", None) },
    ];
    TinyWorld {
        hosts,
        vms: BTreeMap::new(),
        now: NOW.parse().unwrap(),
        wallet: (Usd::ZERO, HourlyRate::ZERO),
        least: None,
        id: |number| format!("00000000-0000-4000-8000-{number:012}"),
    }
}

fn dialect() -> Vectordash {
    Vectordash::new("token-of-ours".into())
}

fn fake() -> VectordashFake {
    VectordashFake { token: Some("token-of-ours".into()) }
}

fn ask<T>(world: &mut TinyWorld, exchange: &Exchange<T>) -> Result<T, Refusal> {
    (exchange.read)(&exchange.request, &fake().serve(world, &exchange.request))
}

/// What the fake answers to a call by the vendor's names: status and JSON.
fn raw(world: &mut TinyWorld, name: &str, fields: &[(&str, &str)]) -> (u16, Value) {
    let call = raw::CALLS.iter().find(|call| call.name == name).unwrap();
    let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let exchange = dialect().raw(call, &fields).unwrap();
    let response = fake().serve(world, &exchange.request);
    (response.status, serde_json::from_slice(&response.body).unwrap_or(Value::Null))
}

#[test]
fn a_gpu_type_is_one_machine_as_the_default_create_would_give_it() {
    let mut world = world();
    let listed = ask(&mut world, &dialect().hostnodes()).unwrap();
    assert_eq!(listed.dropped, []);
    let shown: Vec<String> = listed
        .items
        .iter()
        .map(|host| {
            let Supply::Lots(lots) = &host.supply else { panic!("{host:?}") };
            let until = host.available_until.map_or_else(|| "-".to_owned(), |until| until.to_string());
            format!("{} {} {} {until}", host.id, lots[0].shape.gpu_model, lots[0].rates.total())
        })
        .collect();
    let expected = ["Tesla V100 v100-pcie-16gb 0.70 2026-12-01T00:00:00Z", "Titan V titanv-pcie-12gb 0.85 -"];
    assert_eq!(shown, expected);
    let gpus = ask(&mut world, &dialect().gpus()).unwrap().items;
    assert_eq!(
        (gpus[0].kind.as_str(), gpus[0].vram_gb, gpus[0].teraflops_milli),
        ("Tesla V100", Some(16), Some(14_000))
    );
    assert_eq!((gpus[1].available, gpus[1].generation.as_deref()), (Availability::Unlimited, Some("Volta")));
}

#[test]
fn an_instances_whole_life_reads_back_as_the_world_has_it() {
    let mut world = world();
    assert_eq!(*ask(&mut world, &dialect().instances()).unwrap().items, []);
    let made = ask(&mut world, &dialect().deploy(&order()).unwrap()).unwrap();
    assert_eq!(made.quoted, Some(Rates { compute: rate("0.70"), ..Rates::default() }));
    assert_eq!((made.address.as_deref(), &made.ports), (Some("203.0.113.9"), &[(25_852, 22)].into()));
    assert_eq!(world.vms[&made.id].instance.hostnode, Some("c".parse().unwrap()));
    assert_eq!(world.vms[&made.id].image, "deep-learning-box");

    let listed = ask(&mut world, &dialect().instances()).unwrap();
    let [vm] = &listed.items[..] else { panic!("{listed:?}") };
    // What it is called as a machine is the type that was asked for.
    let truly = Instance { hostnode: Some(order().hostnode), ..world.vms[&made.id].instance.clone() };
    assert_eq!(*vm, truly);
    world.vms.get_mut(&made.id).unwrap().instance.status = InstanceStatus::Running;
    let sessions = ask(&mut world, &dialect().sessions()).unwrap();
    let session = &sessions.items[0];
    assert_eq!(session.instance.status, InstanceStatus::Running);
    assert_eq!((session.user.as_deref(), session.ram_gb, session.duration_h), (Some("ubuntu"), Some(16), Some(1)));
    assert_eq!(session.estimated_charge, Some("0.70".parse().unwrap()));

    let terminate = dialect().terminate(&made.id);
    let response = fake().serve(&mut world, &terminate.request);
    assert_eq!((response.status, response.header("content-type")), (204, Some("application/octet-stream")));
    assert_eq!((response.body.len(), (terminate.read)(&terminate.request, &response)), (0, Ok(())));
    assert_eq!(ask(&mut world, &terminate), Ok(()), "it is gone already");
    assert_eq!(*ask(&mut world, &dialect().instances()).unwrap().items, []);
}

#[test]
fn what_this_api_cannot_say_is_not_said() {
    let (dialect, id): (_, InstanceId) = (dialect(), "ffffff342".parse().unwrap());
    let bid = Bid { hostnode: order().hostnode, shape: order().shape, price: rate("0.5") };
    assert!(dialect.instance(&id).is_none() && dialect.hostnode(&bid.hostnode).is_none());
    assert!(dialect.balance().is_none() && dialect.validate(&bid).is_none() && dialect.rebid(&id, bid.price).is_none());
    assert!(dialect.start(&id).is_none());
    assert!([Stop::KeepGpu, Stop::ReleaseGpu].into_iter().all(|how| dialect.stop(&id, how).is_none()));
}

#[test]
fn what_no_vm_here_can_have_is_not_rented_instead() {
    let plain = Wish { image: "Ubuntu 22.04 LTS", ports: &[22], ssh_key: None, cloud_init: None, stop: None };
    let unable = |wish: &Wish<'_>| dialect().ability().unable(wish).unwrap_or_default();
    assert_eq!(unable(&plain), "");
    let told = unable(&Wish { image: "Windows 10", ..plain });
    assert_eq!(told, "Vectordash has no image \"Windows 10\"; name one of deep-learning-box, fastai");
    assert!(unable(&Wish { cloud_init: Some("#cloud-config"), ..plain }).contains("no cloud-init"));
    assert!(unable(&Wish { stop: Some(Stop::KeepGpu), ..plain }).contains("stops no VM"));
    let refused = dialect().deploy(&Order { image: "Windows 10".into(), ..order() }).map(|_| ());
    assert_eq!(refused, Err(Refusal::Refused(told)));
}

#[test]
fn credentials_are_needed_but_for_the_list_of_gpus() {
    let mut world = world();
    assert_eq!(ask(&mut world, &dialect().whoami()), Ok(()));
    let account = ask(&mut world, &dialect().account()).unwrap();
    assert_eq!((account.email_confirmed, account.payment_method_added), (Some(true), Some(true)));
    let stranger = Vectordash::new("another".into());
    let told = [
        ask(&mut world, &stranger.whoami()).unwrap_err(),
        ask(&mut world, &stranger.instances()).unwrap_err(),
        ask(&mut world, &stranger.deploy(&order()).unwrap()).unwrap_err(),
        ask(&mut world, &stranger.terminate(&"ffffff342".parse().unwrap())).unwrap_err(),
    ];
    assert!(told.iter().all(|refusal| matches!(refusal, Refusal::Unauthorized(_))), "{told:?}");
    assert!(ask(&mut world, &stranger.hostnodes()).is_ok());
    assert_eq!(world.vms.len(), 0);
    assert_eq!(fake().serve(&mut world, &Request::get("/api/account")).status, 401);
}

#[test]
fn a_create_is_judged_as_the_reference_says() {
    let mut world = world();
    let mut status = |fields: &[(&str, &str)]| raw(&mut world, "create", fields).0;
    let named = ("name", "new-instance");
    assert_eq!(status(&[named]), 400);
    assert_eq!(status(&[("gpu", "Titan V")]), 400);
    assert_eq!(status(&[named, ("gpu", "titan v")]), 400);
    assert_eq!(status(&[named, ("gpu", "1080 ti")]), 400, "its machine is away");
    assert_eq!(status(&[named, ("gpu", "Titan V"), ("image", "Ubuntu 22.04 LTS")]), 400);
    assert_eq!(status(&[named, ("gpu", "Titan V"), ("date", "tomorrow")]), 400);
    assert_eq!(status(&[named, ("gpu", "Tesla V100"), ("date", "2026-12-01 00:00:01")]), 400);
    assert_eq!(status(&[named, ("gpu", "Tesla V100"), ("date", "2026-12-01 00:00:00"), ("image", "fastai")]), 200);
    assert_eq!(status(&[named, ("gpu", "Titan V")]), 200);
    assert_eq!(world.vms.values().map(|vm| vm.image.as_str()).collect::<Vec<_>>(), ["fastai", "deep-learning-box"]);

    let gone = Order { hostnode: "1080 ti".parse().unwrap(), ..order() };
    assert!(matches!(ask(&mut world, &dialect().deploy(&gone).unwrap()), Err(Refusal::NoCapacity(_))));
    let exchange = dialect().deploy(&order()).unwrap();
    let unreadable = Request { body: b"gpu=Titan V".into(), ..exchange.request.clone() };
    assert_eq!(fake().serve(&mut world, &unreadable).status, 400);
}

#[test]
fn every_call_by_the_vendors_names_is_understood() {
    let mut world = world();
    let (status, made) = raw(&mut world, "create", &[("name", "a"), ("gpu", "Titan V")]);
    let key = made["instance"]["key"].as_str().unwrap().to_owned();
    assert_eq!(status, 200);
    let (status, found) = raw(&mut world, "instance", &[("instance", &key)]);
    assert_eq!((status, &found["instance"]["name"]), (200, &Value::from("a")));
    for call in raw::CALLS {
        let fields: Vec<(&str, &str)> = call.fields.iter().map(|field| (field.name, key.as_str())).collect();
        let (status, _) = raw(&mut world, call.name, &fields);
        assert!([200, 204, 400].contains(&status), "{}: {status}", call.name);
    }
    assert_eq!(raw(&mut world, "instance", &[("instance", &key)]).0, 404);
    let calls = raw::CALLS.iter().map(|call| {
        let path = call.path.replace("{instance}", "k");
        fake().call(&Request { method: call.method, ..Request::get(path) })
    });
    use Call::{Deploy, Hostnodes, Instance, Instances, Terminate, Whoami};
    assert_eq!(calls.collect::<Vec<_>>(), [Whoami, Hostnodes, Instances, Instance, Deploy, Terminate]);
    let put = Request { method: Method::Put, ..Request::get("/api/instances") };
    assert_eq!((fake().call(&put), fake().serve(&mut world, &put).status), (Call::Other, 404));
    let id = [("instance".to_owned(), "a/b".to_owned())];
    let delete = raw::CALLS.iter().find(|call| call.name == "delete").unwrap();
    assert!(dialect().raw(delete, &id).is_none(), "an id cannot lead elsewhere");
}

/// Every member that the example has, as deep as it goes.
fn has_all_of(example: &Value, answer: &Value, path: &str) {
    match (example, answer) {
        (Value::Object(example), Value::Object(answer)) => {
            for (name, value) in example {
                let path = format!("{path}.{name}");
                has_all_of(value, answer.get(name).unwrap_or_else(|| panic!("{path} is missing")), &path);
            }
        }
        (Value::Array(example), Value::Array(answer)) => has_all_of(&example[0], &answer[0], path),
        (Value::Null, Value::Null) => {}
        (example, answer) => {
            let kind = |value: &Value| (value.is_string(), value.is_number(), value.is_boolean());
            assert_eq!(kind(example), kind(answer), "{path}");
        }
    }
}

#[test]
fn the_answers_have_every_field_of_the_documents_examples() {
    let example = |name: &str| serde_json::from_slice::<Value>(&fixture(name)).unwrap();
    let mut world = world();
    let (_, gpus) = raw(&mut world, "gpus", &[]);
    has_all_of(&example("gpus.json"), &gpus, "gpus");
    let (_, made) = raw(&mut world, "create", &[("name", "a"), ("gpu", "Titan V")]);
    has_all_of(&example("create.json"), &made, "create");
    assert_eq!(made["instance"]["pem"], SIMULATED_KEY);
    let (_, listed) = raw(&mut world, "instances", &[]);
    has_all_of(&example("instances.json"), &listed, "instances");
    let (_, account) = raw(&mut world, "account", &[]);
    let documented = String::from_utf8(fixture("account.json")).unwrap();
    for member in ["email", "email_confirmed", "payment_method_added", "vetted_host", "wallets"] {
        assert!(documented.contains(&format!("\"{member}\"")) && account.get(member).is_some(), "{member}");
    }
}

#[test]
fn no_noun_of_ours_holds_an_instances_private_key() {
    let mut world = world();
    let made = ask(&mut world, &dialect().deploy(&order()).unwrap()).unwrap();
    let sessions = ask(&mut world, &dialect().sessions()).unwrap();
    let instances = ask(&mut world, &dialect().instances()).unwrap();
    let response = fake().serve(&mut world, &dialect().instances().request);
    assert!(String::from_utf8_lossy(&response.body).contains(SIMULATED_KEY), "the wire has it");
    let printed = format!("{made:?} {sessions:?} {instances:?} {response:?}");
    assert!(!printed.contains(SIMULATED_KEY), "{printed}");
}

#[test]
fn nothing_that_is_told_of_an_item_that_cannot_be_read_quotes_its_private_key_or_our_token() {
    let asked = dialect().sessions();
    let token = asked.request.header("authorization").unwrap().trim_start_matches("Bearer ").to_owned();
    let one = |key: &str, price: &str| {
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEhush\n-----END RSA PRIVATE KEY-----";
        serde_json::json!({"key": key, "name": "a", "pem": pem, "hourly_price": price})
    };
    let items =
        [one("MIIEhush", "no price"), one("k1", "MIIEhush"), one("k2", &token), one("-----BEGIN RSA PRIVATE KEY", "x")];
    let body = serde_json::json!({"instances": items}).to_string();
    let sessions = (asked.read)(&asked.request, &Response::json(200, body.as_str())).unwrap();
    let listed = dialect().instances();
    let instances = (listed.read)(&listed.request, &Response::json(200, body.as_str())).unwrap();
    assert_eq!((sessions.dropped.len(), &sessions.dropped), (4, &instances.dropped));
    let told: Vec<&str> = sessions.dropped.iter().flat_map(|one| [one.what.as_str(), one.why.as_str()]).collect();
    let price = "hourly_price: `***` is not a decimal number";
    assert_eq!(told[..6], ["***", "hourly_price: `no price` is not a decimal number", "k1", price, "k2", price]);
    assert_eq!(told[6], "***");
}

#[test]
fn an_address_is_nothing_that_a_command_line_would_take_for_more() {
    let address = |ip: &str| {
        let body = serde_json::json!({"instances": [{"key": "k", "name": "a", "ip": ip}]}).to_string();
        let asked = dialect().instances();
        (asked.read)(&asked.request, &Response::json(200, body)).unwrap().items.remove(0).address
    };
    assert_eq!(address(" 216.3.128.12 ").as_deref(), Some("216.3.128.12"));
    for odd in ["", " ", "-oProxyCommand=x", "a b", "203.0.113.7/x", "user@host"] {
        assert_eq!(address(odd), None, "{odd}");
    }
}

#[test]
fn types_beyond_the_reference_are_asked_for_as_they_are_listed() {
    let body = br#"{"gpus":[{"type":"Titan  RTX","hourly_price":1,"max_availability":"unlimited","asic":false}]}"#;
    let hostnodes = dialect().hostnodes();
    let listed = (hostnodes.read)(&hostnodes.request, &Response::json(200, body.to_vec())).unwrap();
    let Supply::Lots(lots) = &listed.items[0].supply else { panic!() };
    let model: GpuModel = "titan-rtx".parse().unwrap();
    assert_eq!(lots[0].shape.gpu_model, model);
    let order = Order { hostnode: listed.items[0].id.clone(), ..order() };
    let sent: Value = serde_json::from_slice(&dialect().deploy(&order).unwrap().request.body).unwrap();
    assert_eq!(sent["gpu"], "Titan  RTX");
}

mod fuzzed {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is asked, the fake answers with a status that the reference knows, and makes nothing of nonsense.
        #[test]
        fn no_request_panics(
            method in 0..Method::ALL.len(),
            path in "/api/(account|gpus|instances|[a-z]{0,4})(/[a-z0-9/.%]{0,8})?",
            body in proptest::collection::vec(any::<u8>(), 0..80),
            date in "[0-9: -]{0,20}",
        ) {
            let mut world = world();
            let wellformed = serde_json::json!({"name": "a", "gpu": "Titan V", "date": date}).to_string();
            for body in [body, wellformed.into_bytes()] {
                let headers = vec![("authorization".to_owned(), "Bearer token-of-ours".to_owned())];
                let request = Request { method: Method::ALL[method], headers, body, ..Request::get(path.clone()) };
                let response = fake().serve(&mut world, &request);
                prop_assert!([200, 204, 400, 404].contains(&response.status), "{}", response.status);
            }
            prop_assert!(world.vms.len() <= 1);
        }
    }
}
