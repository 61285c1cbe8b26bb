//! Dialect and fake talk to each other about a tiny world, verb by verb; the fake's answers have every field that the
//! documents' examples have; and the fake is as strict as the real API.
//!
//! What every marketplace must do is examined in `tests/conformance`; here is what is this one's own.

use super::{
    fake::{TensordockV0Fake, order::IMAGES},
    fixtures::{Shape, fixture, order},
    *,
};
use crate::{
    io::net::Method,
    market::{Backend, Fake, WorldBill, WorldMonth, WorldOrder, WorldVm, examples::begun},
    model::{
        GpuModel, InstanceStatus, PriceType, Timestamp, Usd,
        offer::{Bounds, Location, Ports, Rates, Resources, Restriction, SpotTerms, Stock, Supply},
    },
};
use serde_json::Value;
use std::collections::BTreeMap;

pub(in crate::market) use crate::market::examples::rate;

pub(in crate::market) const HOST: &str = "8db2ec46-c094-4262-bc7e-6c76617f4237";

/// The least accepted bid, by S1's one data point: 0.20 fails, 0.25 passes.
fn floor() -> HourlyRate {
    "0.25".parse().unwrap()
}

pub(in crate::market) struct TinyWorld {
    pub(in crate::market) hosts: Vec<Hostnode>,
    pub(in crate::market) vms: BTreeMap<InstanceId, WorldVm>,
    made: u32,
}

pub(in crate::market) fn world() -> TinyWorld {
    let size = Restriction {
        vcpus: Bounds { min: 2, max: 64 },
        ram_gb: Bounds { min: 4, max: 256 },
        storage_gb: Bounds { min: 20, max: 5_000 },
    };
    let host = Hostnode {
        id: HOST.parse().unwrap(),
        location: Location { country: "Poland".into(), region: "Małopolska".into(), city: "Kraków".into() },
        uptime_ppm: Some(999_900),
        online: true,
        supply: Supply::Resources(Resources {
            gpus: BTreeMap::from([("v100-pcie-16gb".parse().unwrap(), Stock { free: 4, price: rate("0.2199") })]),
            vcpus: Stock { free: 64, price: rate("0.003") },
            ram_gb: Stock { free: 256, price: rate("0.002") },
            storage_gb: Stock { free: 5_000, price: rate("0.00005") },
            restrictions: BTreeMap::from([(2, size)]),
            rule: wire::RULE,
        }),
        spot: SpotTerms::Asked,
        ports: Ports::Free(vec![30_117, 30_118, 30_119, 30_120]),
        available_until: None,
    };
    TinyWorld { hosts: vec![host], vms: BTreeMap::new(), made: 0 }
}

impl TinyWorld {
    pub(in crate::market) fn status(&mut self, id: &InstanceId, status: InstanceStatus) -> Result<(), Refusal> {
        self.vms.get_mut(id).ok_or(Refusal::Gone)?.instance.status = status;
        Ok(())
    }
}

impl Backend for TinyWorld {
    fn now(&self) -> Timestamp {
        "2026-11-20T18:00:00Z".parse().unwrap()
    }
    fn hostnodes(&mut self) -> Vec<Hostnode> {
        self.hosts.clone()
    }
    fn vms(&mut self) -> Vec<WorldVm> {
        self.vms.values().cloned().collect()
    }
    fn vm(&mut self, id: &InstanceId) -> Option<WorldVm> {
        self.vms.get(id).cloned()
    }
    fn wallet(&mut self) -> (Usd, HourlyRate) {
        ("999.987".parse().unwrap(), rate("0.856"))
    }
    fn validate(&mut self, bid: &Bid) -> BidAnswer {
        if bid.price >= floor() { BidAnswer::Accepted } else { BidAnswer::Refused }
    }
    fn rebid(&mut self, id: &InstanceId, price: HourlyRate) -> Result<BidAnswer, Refusal> {
        let vm = self.vms.get_mut(id).ok_or(Refusal::Gone)?;
        if vm.instance.price_type != Some(PriceType::Spot) {
            return Err(Refusal::Refused("Only spot instances have a bid".into()));
        }
        if price < floor() {
            return Ok(BidAnswer::Refused);
        }
        let storage = vm.instance.quoted.unwrap().storage;
        vm.instance.quoted = Some(Rates { compute: price, storage });
        Ok(BidAnswer::Accepted)
    }
    fn deploy(&mut self, order: WorldOrder) -> Result<WorldVm, Refusal> {
        if order.bid.is_some_and(|bid| bid < floor()) {
            return Err(Refusal::BidTooLow("others pay more".into()));
        }
        let mut host = self.hosts[0].clone();
        if let Supply::Resources(resources) = &mut host.supply {
            resources.rule = order.rule;
        }
        let (_, listed) = host.price(&order.shape).map_err(|_| Refusal::NoCapacity("others have it".into()))?;
        self.made += 1;
        let quoted = Rates { compute: order.bid.unwrap_or(listed.compute), ..listed };
        let begun = begun(order, &format!("00000000-0000-4000-8000-{:012}", self.made), quoted, self.now());
        let address = Some("139.28.40.249".into());
        let instance = Instance { status: InstanceStatus::Running, address, ..begun.instance };
        let vm = WorldVm { instance, location: host.location, ..begun };
        self.vms.insert(vm.instance.id.clone(), vm.clone());
        Ok(vm)
    }
    fn start(&mut self, id: &InstanceId) -> Result<(), Refusal> {
        self.status(id, InstanceStatus::Running)
    }
    fn stop(&mut self, id: &InstanceId, how: Stop) -> Result<(), Refusal> {
        self.status(
            id,
            match how {
                Stop::KeepGpu => InstanceStatus::StoppedKept,
                Stop::ReleaseGpu => InstanceStatus::StoppedReleased,
            },
        )
    }
    fn modify(&mut self, id: &InstanceId, shape: Shape) -> Result<(), Refusal> {
        let (_, listed) = self.hosts[0].price(&shape).map_err(|_| Refusal::NoCapacity("others have it".into()))?;
        let vm = self.vms.get_mut(id).ok_or(Refusal::Gone)?;
        vm.instance.quoted = Some(listed);
        vm.instance.gpus = shape.gpus;
        vm.shape = shape;
        Ok(())
    }
    fn terminate(&mut self, id: &InstanceId) -> Result<(), Refusal> {
        self.vms.remove(id).map(|_| ()).ok_or(Refusal::Gone)
    }
    fn month(&mut self, year: i16, month: i8) -> WorldMonth {
        assert_eq!((year, month), (2024, 1));
        let bill = |vm: &WorldVm| WorldBill {
            vm: vm.instance.id.clone(),
            hostnode: HOST.parse().unwrap(),
            shape: vm.shape.clone(),
            rates: vm.instance.quoted.unwrap(),
            compute: "2".parse().unwrap(),
            storage: "0.04".parse().unwrap(),
        };
        WorldMonth {
            opening: "1002.027".parse().unwrap(),
            closing: "999.987".parse().unwrap(),
            deposited: Usd::ZERO,
            bills: self.vms.values().map(bill).collect(),
        }
    }
}

pub(super) fn fake() -> TensordockV0Fake {
    TensordockV0Fake { key: Some("a-key".into()), token: Some("a-token".into()) }
}

pub(super) fn dialect() -> TensordockV0 {
    TensordockV0::new("a-key".into(), "a-token".into())
}

pub(super) fn ask<T>(world: &mut TinyWorld, exchange: Exchange<T>) -> Result<T, Refusal> {
    let response = fake().serve(world, &exchange.request);
    (exchange.read)(&exchange.request, &response)
}

pub(super) fn here() -> Order {
    Order { hostnode: HOST.parse().unwrap(), ..order() }
}

#[test]
fn a_vms_whole_life_reads_back_as_the_world_has_it() {
    let mut world = world();
    let says = dialect();
    ask(&mut world, says.whoami()).unwrap();
    let scan = ask(&mut world, says.hostnodes()).unwrap();
    assert_eq!((scan.items, scan.dropped.len()), (world.hosts.clone().into(), 0));
    let found = ask(&mut world, says.hostnode(&HOST.parse().unwrap()).unwrap());
    assert_eq!(found, Ok(Lookup::Here(world.hosts[0].clone())));
    assert_eq!(ask(&mut world, says.instances()).unwrap(), Scan::default());

    let made = ask(&mut world, says.deploy(&here()).unwrap()).unwrap();
    let vm = world.vms[&made.id].instance.clone();
    assert_eq!(made.quoted, vm.quoted);
    assert_eq!((made.address.as_deref(), &made.ports), (Some("139.28.40.249"), &here().ports));
    assert_eq!(*ask(&mut world, says.instances()).unwrap().items, vec![vm.clone()]);
    // The details quote no storage (documented, S1).
    let storage = HourlyRate::ZERO;
    let details = Instance { quoted: vm.quoted.map(|rates| Rates { storage, ..rates }), ..vm.clone() };
    assert_eq!(ask(&mut world, says.instance(&vm.id).unwrap()), Ok(Lookup::Here(details)));

    ask(&mut world, says.stop(&vm.id, Stop::KeepGpu).unwrap()).unwrap();
    assert_eq!(world.vms[&vm.id].instance.status, InstanceStatus::StoppedKept);
    ask(&mut world, says.stop(&vm.id, Stop::ReleaseGpu).unwrap()).unwrap();
    assert_eq!(world.vms[&vm.id].instance.status, InstanceStatus::StoppedReleased);
    let again = ask(&mut world, says.stop(&vm.id, Stop::ReleaseGpu).unwrap());
    let text = "Machine is stoppeddisassociated, therefore it cannot be stopped";
    assert_eq!(again, Err(Refusal::Refused(text.into())));
    ask(&mut world, says.start(&vm.id).unwrap()).unwrap();
    let again = ask(&mut world, says.start(&vm.id).unwrap());
    assert_eq!(again, Err(Refusal::Refused("Machine is running, therefore it cannot be started".into())));

    assert_eq!(ask(&mut world, says.rebid(&vm.id, rate("0.2")).unwrap()), Ok(BidAnswer::Refused));
    assert_eq!(ask(&mut world, says.rebid(&vm.id, rate("0.3")).unwrap()), Ok(BidAnswer::Accepted));
    assert_eq!(world.vms[&vm.id].instance.quoted.unwrap().compute, rate("0.3"));

    ask(&mut world, says.terminate(&vm.id)).unwrap();
    assert!(world.vms.is_empty());
    ask(&mut world, says.terminate(&vm.id)).unwrap();
    assert_eq!(ask(&mut world, says.instance(&vm.id).unwrap()), Ok(Lookup::Gone));
    assert_eq!(ask(&mut world, says.start(&vm.id).unwrap()), Err(Refusal::Gone));
    assert_eq!(ask(&mut world, says.hostnode(&"elsewhere".parse().unwrap()).unwrap()), Ok(Lookup::Gone));
}

#[test]
fn a_model_that_a_policy_could_not_say_gets_a_name_of_its_own_and_is_rented_by_the_vendors() {
    let mut world = world();
    // Ours for `h100` would be another model.
    let listed: GpuModel = "h100".parse().unwrap();
    let Supply::Resources(resources) = &mut world.hosts[0].supply else { panic!("a host of resources") };
    resources.gpus = BTreeMap::from([(listed.clone(), Stock { free: 4, price: rate("0.2199") })]);
    let seen = ask(&mut world, dialect().hostnodes()).unwrap().items.remove(0);
    let ours: GpuModel = "h100-tensordock-v0".parse().unwrap();
    assert_eq!((seen.free_gpus(&ours), seen.free_gpus(&listed)), (4, 0));
    let order = here();
    let shape = Shape { gpu_model: ours.clone(), ..order.shape.clone() };
    let made = ask(&mut world, dialect().deploy(&Order { shape, ..order }).unwrap()).unwrap();
    assert_eq!(world.vms[&made.id].shape.gpu_model, listed);
    assert_eq!(ask(&mut world, dialect().instances()).unwrap().items[0].gpu_model, Some(ours));
}

#[test]
fn every_status_survives_the_way_there_and_back() {
    let mut world = world();
    let id = ask(&mut world, dialect().deploy(&here()).unwrap()).unwrap().id;
    for status in [
        InstanceStatus::Starting,
        InstanceStatus::Running,
        InstanceStatus::StoppedKept,
        InstanceStatus::StoppedReleased,
        InstanceStatus::Outbid,
        InstanceStatus::Leaving,
        InstanceStatus::Unknown("Relocating".into()),
    ] {
        world.status(&id, status.clone()).unwrap();
        assert_eq!(ask(&mut world, dialect().instances()).unwrap().items[0].status, status);
    }
}

#[test]
fn money_and_bids_are_answered() {
    let mut world = world();
    let balance = Balance { amount: "999.987".parse().unwrap(), hourly_cost: Some(rate("0.856")) };
    assert_eq!(ask(&mut world, dialect().balance().unwrap()), Ok(balance));
    let bid = |price: &str| Bid { hostnode: HOST.parse().unwrap(), shape: here().shape, price: rate(price) };
    assert_eq!(ask(&mut world, dialect().validate(&bid("0.2")).unwrap()), Ok(BidAnswer::Refused));
    assert_eq!(ask(&mut world, dialect().validate(&bid("0.25")).unwrap()), Ok(BidAnswer::Accepted));
    let low = Order { bid: Some(rate("0.2")), ..here() };
    assert!(matches!(ask(&mut world, dialect().deploy(&low).unwrap()), Err(Refusal::BidTooLow(_))));
}

#[test]
fn credentials_are_needed_and_taken_from_anywhere() {
    let mut world = world();
    let wrong = TensordockV0::new("a-key".into(), "another".into());
    assert!(matches!(ask(&mut world, wrong.whoami()), Err(Refusal::Unauthorized(_))));
    assert!(matches!(ask(&mut world, wrong.instances()), Err(Refusal::Unauthorized(_))));
    assert!(ask(&mut world, wrong.hostnodes()).is_ok());
    let both = |pair: &str| pair.replace("K", "a-key").replace("T", "a-token");
    let bodies = [
        ("application/json", both(r#"{"api_key":"K","api_token":"T"}"#)),
        ("application/x-www-form-urlencoded", both("api_key=K&api_token=T")),
        (
            "multipart/form-data; boundary=b",
            both(
                "--b\r\ncontent-disposition: form-data; name=\"api_key\"\r\n\r\nK\r\n\
                 --b\r\ncontent-disposition: form-data; name=\"api_token\"\r\n\r\nT\r\n--b--\r\n",
            ),
        ),
    ];
    for (kind, body) in bodies {
        for method in [Method::Get, Method::Post] {
            let headers = vec![("content-type".to_owned(), kind.to_owned())];
            let request = Request { method, headers, body: body.clone().into(), ..Request::get("/api/v0/client/list") };
            assert_eq!(fake().serve(&mut world, &request).status, 200, "{kind}");
        }
    }
    let query = vec![("api_key".into(), "a-key".into()), ("api_token".into(), "a-token".into())];
    let request = Request { query, ..Request::get("/api/v0/billing/balance") };
    assert_eq!(fake().serve(&mut world, &request).status, 200);
}

/// Sends a deploy with some fields changed and says what came back.
fn deploy_with(changes: &[(&str, &str)]) -> (u16, String) {
    let mut world = world();
    let request = dialect().deploy(&here()).unwrap().request;
    let mut fields: BTreeMap<String, String> = form_urlencoded::parse(&request.body).into_owned().collect();
    for (name, value) in changes {
        fields.insert((*name).into(), (*value).into());
    }
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let response = fake().serve(&mut world, &Request::form(request.path, fields));
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(world.vms.is_empty(), body["success"] == Value::Bool(false));
    (response.status, body["error"].as_str().unwrap_or("made").to_owned())
}

#[test]
fn a_deploy_is_judged_as_strictly_as_the_real_one() {
    let just_inside: &[&[(&str, &str)]] = &[
        &[],
        &[("vcpus", "64"), ("ram", "256"), ("storage", "5000")],
        &[("vcpus", "2"), ("ram", "4"), ("storage", "20")],
        &[("name", "a-name-of-exactly-sixty-characters-0123456789-0123456789-012")],
        &[("external_ports", "[30117,30120]"), ("internal_ports", "{22,80}")],
        &[("external_ports", ""), ("internal_ports", "")],
        &[("external_ports", ""), ("internal_ports", ""), ("external_port_22", "30119")],
        &[("password", ""), ("ssh_key", "ssh-ed25519 AAAA")],
        &[("password", "lowercas3")],
        &[("gpu_count", "4")],
        &[("price_type", "ondem"), ("price", "")],
    ];
    for changes in just_inside {
        assert_eq!(deploy_with(changes), (200, "made".into()), "{changes:?}");
    }
    let just_outside: &[(&[(&str, &str)], &str)] = &[
        (&[("vcpus", "7")], "vcpus must be an even number from 2 to 254"),
        (&[("vcpus", "0")], "vcpus must be an even number from 2 to 254"),
        (&[("vcpus", "256"), ("gpu_count", "1")], "vcpus must be an even number from 2 to 254"),
        (&[("ram", "9")], "ram must be an even number from 4 to 1420"),
        (&[("ram", "2")], "ram must be an even number from 4 to 1420"),
        (&[("storage", "19")], "storage must be from 20 to 10000"),
        (&[("storage", "10001")], "storage must be from 20 to 10000"),
        (&[("operating_system", "Windows 10"), ("storage", "89")], "storage must be at least 90 for Windows 10"),
        (&[("operating_system", "Plan 9")], "operating_system is not supported"),
        (&[("gpu_count", "0")], "gpu_count must be at least 1"),
        (&[("gpu_count", "5")], "Not enough resources are available: others have it"),
        (&[("gpu_model", "h100-sxm5-80gb")], "Not enough resources are available: others have it"),
        (&[("vcpus", "66")], "The hostnode does not sell this size for so many GPUs"),
        (&[("vcpus", "66"), ("gpu_count", "1")], "Not enough resources are available: others have it"),
        (&[("hostnode", "elsewhere")], "Hostnode not found"),
        (
            &[("name", "a-name-of-one-more-than-sixty-characters-0123456789-012345678")],
            "name must have at most 60 characters",
        ),
        (&[("name", "")], "name is required"),
        (&[("password", "")], "Either a password or an ssh_key is required"),
        (&[("password", "Sup3r-x")], "password must have 8 characters, and an upper-case letter, digit or symbol"),
        (&[("password", "lowercase")], "password must have 8 characters, and an upper-case letter, digit or symbol"),
        (&[("external_ports", "{30117, 30118}")], "external_ports and internal_ports must have the same length"),
        (&[("external_ports", "{30117, 30117}"), ("internal_ports", "{22, 80}")], "external_ports has a port twice"),
        (&[("external_ports", "{22}")], "Port 22 is not available on this hostnode"),
        (&[("external_ports", "{ssh}")], "external_ports and internal_ports must be lists of ports"),
        (&[("price", "")], "price is required"),
        (&[("price", "-1")], "price must be a number"),
        (&[("price", "0")], "price must be above 0"),
        (&[("price_type", "auction")], "price_type must be spot or left out"),
    ];
    for (changes, error) in just_outside {
        assert_eq!(deploy_with(changes), (400, (*error).into()), "{changes:?}");
    }
    for (image, storage_gb) in IMAGES {
        let with = |storage_gb: u32| deploy_with(&[("operating_system", image), ("storage", &storage_gb.to_string())]);
        assert_eq!(with(*storage_gb).0, 200);
        assert_eq!(with(storage_gb - 1).0, 400);
    }
}

#[test]
fn the_lists_filters_do_what_their_names_say() {
    let listed = |filters: &[(&str, &str)]| {
        let mut world = world();
        let query = filters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let request = Request { query, ..Request::get("/api/v0/client/deploy/hostnodes") };
        let body: Value = serde_json::from_slice(&fake().serve(&mut world, &request).body).unwrap();
        body["hostnodes"].as_object().unwrap().len()
    };
    for inside in
        [("minvCPUs", "64"), ("minRAM", "256"), ("minStorage", "5000"), ("minVRAM", "16"), ("minGPUCount", "4")]
    {
        assert_eq!(listed(&[inside]), 1, "{inside:?}");
        let outside = (inside.1.parse::<u32>().unwrap() + 1).to_string();
        assert_eq!(listed(&[(inside.0, &outside)]), 0, "{inside:?}");
    }
    assert_eq!(listed(&[("maxGPUCount", "4"), ("requiresRTX", "false"), ("requiresGTX", "false")]), 1);
    assert_eq!(listed(&[("maxGPUCount", "3")]), 0);
    assert_eq!(listed(&[("maxGPUCount", "0"), ("minGPUCount", "9")]), 1);
    assert_eq!(listed(&[("requiresRTX", "true")]), 0);
    assert_eq!(listed(&[("requiresGTX", "True")]), 0);
}

/// Every field of the pattern is in the answer, and of the same kind. Objects by id are compared by their first member.
#[track_caller]
pub(super) fn has_fields_of(pattern: &Value, answer: &Value, path: &str) {
    let by_id = |value: &Value| {
        let members = value.as_object()?;
        let dynamic = |key: &str| wire::is_uuid(key) || key.parse::<u16>().is_ok() || key.ends_with("gb");
        members.iter().find(|(key, _)| dynamic(key)).map(|(_, value)| value.clone())
    };
    match (pattern, answer) {
        (Value::Object(_), Value::Object(_)) if by_id(pattern).is_some() => {
            let answered = by_id(answer).unwrap_or_else(|| panic!("{path} has no id"));
            has_fields_of(&by_id(pattern).unwrap(), &answered, &format!("{path}.*"));
        }
        (Value::Object(wanted), Value::Object(given)) => {
            for (key, value) in wanted {
                let given = given.get(key).unwrap_or_else(|| panic!("{path}.{key} is missing"));
                has_fields_of(value, given, &format!("{path}.{key}"));
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        // `port_forwards` were strings until 2024-08 and are numbers since (recorded).
        (Value::String(_), Value::Number(_)) if path.ends_with("port_forwards.*") => {}
        (wanted, given) => {
            assert_eq!(std::mem::discriminant(wanted), std::mem::discriminant(given), "{path}: {wanted} {given}");
        }
    }
}

#[test]
fn the_fakes_answers_have_every_field_of_the_documents_examples() {
    let mut world = world();
    let made = ask(&mut world, dialect().deploy(&here()).unwrap()).unwrap();
    let says = dialect();
    let requests = [
        ("auth_test.json", says.whoami().request),
        ("hostnodes.json", says.hostnodes().request),
        ("hostnode.json", says.hostnode(&HOST.parse().unwrap()).unwrap().request),
        ("full_hostnode.json", says.hostnode(&HOST.parse().unwrap()).unwrap().request),
        ("list.json", says.instances().request),
        ("sdk_list.json", says.instances().request),
        ("get.json", says.instance(&made.id).unwrap().request),
        ("balance.json", says.balance().unwrap().request),
        ("start_running.json", says.start(&made.id).unwrap().request),
        ("stop.json", says.stop(&made.id, Stop::KeepGpu).unwrap().request),
        ("start.json", says.start(&made.id).unwrap().request),
        ("validate_existing_accepted.json", says.rebid(&made.id, rate("0.3")).unwrap().request),
        ("validate_existing_refused.json", says.rebid(&made.id, rate("0.1")).unwrap().request),
        ("delete.json", says.terminate(&made.id).request),
        ("delete_gone.json", says.terminate(&made.id).request),
        ("get_gone.json", says.instance(&made.id).unwrap().request),
        ("deploy.json", says.deploy(&Order { ports: [(30_117, 22), (30_118, 80)].into(), ..here() }).unwrap().request),
    ];
    for (file, request) in requests {
        let pattern: Value = serde_json::from_slice(&fixture(file)).unwrap();
        let answer: Value = serde_json::from_slice(&fake().serve(&mut world, &request).body).unwrap();
        let (mut pattern, mut answer) = (pattern, answer);
        if file.ends_with("hostnode.json") {
            // Two shapes in one answer: each is compared alone. A word for `success` is another fixture's matter.
            let part = |value: &mut Value| value.get_mut("hostnode").map(Value::take);
            if let (Some(wanted), Some(given)) = (part(&mut pattern), part(&mut answer)) {
                let mut wanted = wanted;
                // These two are the vendor's dashboard's alone; no client reads them.
                wanted["networking"].as_object_mut().unwrap().remove("dedicated_ip");
                has_fields_of(&wanted, &given, file);
                continue;
            }
        }
        has_fields_of(&pattern, &answer, file);
    }
}

#[test]
fn what_is_not_there_says_so() {
    let mut world = world();
    let mut status = |path: &str| {
        let request = Request::form(path, [("api_key", "a-key"), ("api_token", "a-token")]);
        let response = fake().serve(&mut world, &request);
        let body: Value = serde_json::from_slice(&response.body).unwrap();
        (response.status, body.get("error").is_some())
    };
    assert_eq!(status("/api/v0/client/list/"), (200, false));
    assert_eq!(status("/api/v0/nonsense"), (404, true));
    assert_eq!(status("/"), (404, true));
}
