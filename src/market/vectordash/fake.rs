//! The other side of Vectordash's counter.
//!
//! The documented shapes over a world that has machines: one line for each GPU type of which one is free, that of the machine
//! on which a create without a date would put the new instance, so that what is listed is what is billed. Errors are in the
//! 400 range with a text (the reference has no page of them: assumed); a delete that was done is 204 without a body. The
//! private key that an instance shows is no key. All decisions are the world's ([`Backend`]).

use crate::{
    io::net::{Method, Request, Response},
    market::{Backend, Call, Fake, WorldOrder, WorldVm, json::Json},
    model::{
        GpuModel, Hostnode, InstanceId, InstanceStatus, PriceType, Refusal, Shape, Timestamp, VmName,
        catalogue::{self, Entry, Vocabulary},
        offer::{PriceRule, Rates, SSH_PORT, Supply},
        time::elapsed,
    },
};
use serde_json::{Value, json};
use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

/// What an instance's `pem` shows.
pub const SIMULATED_KEY: &str = "simulated-key";
/// vCPUs, GB of memory and GB of disk that come with a GPU. The memory is that of the reference's examples.
const SIZE: (u32, u32, u32) = (4, 16, 100);
/// No name of an instance is longer, in bytes (assumed: it becomes a hostname).
const NAME_BYTES_MAX: usize = 63;

/// Vectordash, simulated.
#[derive(Clone, Default)]
pub struct VectordashFake {
    /// The token it takes; `None`: any.
    pub token: Option<String>,
}

/// An answer, or a refusal with its status.
type Reply = Result<Response, (u16, String)>;

fn ok(body: &Value) -> Reply {
    Ok(answer(200, body))
}

fn answer(status: u16, body: &Value) -> Response {
    let headers = vec![("content-type".into(), "application/json; charset=utf-8".into())];
    Response { status, headers, body: body.to_string().into_bytes() }
}

fn refused<T>(status: u16, text: impl Into<String>) -> Result<T, (u16, String)> {
    Err((status, text.into()))
}

/// The segments of a path within the API.
fn segments(request: &Request) -> Vec<&str> {
    request.path.trim_start_matches("/api/").trim_end_matches('/').split('/').collect()
}

impl Fake for VectordashFake {
    fn prefix(&self) -> &'static str {
        "/api/"
    }

    fn call(&self, request: &Request) -> Call {
        match (request.method, segments(request)[..].as_ref()) {
            (Method::Get, ["account"]) => Call::Whoami,
            (Method::Get, ["gpus"]) => Call::Hostnodes,
            (Method::Get, ["instances"]) => Call::Instances,
            (Method::Get, ["instances", _]) => Call::Instance,
            (Method::Post, ["instances"]) => Call::Deploy,
            (Method::Delete, ["instances", _]) => Call::Terminate,
            _ => Call::Other,
        }
    }

    fn serve(&self, backend: &mut dyn Backend, request: &Request) -> Response {
        self.answer(backend, request).unwrap_or_else(|(status, text)| answer(status, &json!({"error": text})))
    }
}

impl VectordashFake {
    fn answer(&self, backend: &mut dyn Backend, request: &Request) -> Reply {
        let call = self.call(request);
        // The one call that needs no token (documented).
        if call == Call::Hostnodes {
            let hosts = backend.hostnodes();
            return ok(&json!({"gpus": on_show(&hosts).values().map(Choice::view).collect::<Vec<_>>()}));
        }
        if call == Call::Other {
            return refused(404, "Not found");
        }
        self.authorise(request)?;
        let id = segments(request).get(1).and_then(|id| id.parse::<InstanceId>().ok());
        match call {
            Call::Whoami => ok(&account()),
            Call::Instances => {
                let (now, vms) = (backend.now(), backend.vms());
                ok(&json!({"instances": vms.iter().map(|vm| instance(vm, now)).collect::<Vec<_>>()}))
            }
            Call::Instance => {
                let found = id.and_then(|id| backend.vm(&id));
                let vm = found.ok_or_else(|| (404, "Instance not found".to_owned()))?;
                ok(&json!({"instance": instance(&vm, backend.now())}))
            }
            Call::Deploy => create(backend, request),
            Call::Terminate => match id.ok_or(Refusal::Gone).and_then(|id| backend.terminate(&id)) {
                Ok(()) => {
                    let headers = vec![("content-type".into(), "application/octet-stream".into())];
                    Ok(Response { status: super::NO_CONTENT, headers, body: Vec::new() })
                }
                Err(refusal) => said(refusal),
            },
            Call::Hostnodes
            | Call::Hostnode
            | Call::Balance
            | Call::Validate
            | Call::Rebid
            | Call::Start
            | Call::Stop
            | Call::Other => refused(404, "Not found"),
        }
    }

    fn authorise(&self, request: &Request) -> Result<(), (u16, String)> {
        let given = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
        match (given, &self.token) {
            (None, _) => refused(401, "Authentication credentials were not provided"),
            (Some(given), Some(wanted)) if given != wanted => refused(401, "Invalid token"),
            (Some(_), _) => Ok(()),
        }
    }
}

/// A refusal of the world, as the vendor might say it.
fn said(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::Gone => refused(404, "Instance not found"),
        Refusal::NoCapacity(why) | Refusal::BidTooLow(why) => {
            refused(400, format!("No GPUs of this type are available: {why}"))
        }
        Refusal::Broke(_) => refused(400, "Please add a payment method"),
        Refusal::Refused(why) => refused(400, why),
        Refusal::Unauthorized(why) => refused(401, why),
        Refusal::Throttled { .. } => refused(429, "Too many requests"),
        Refusal::Malformed(why) | Refusal::Unreachable(why) => refused(500, why),
    }
}

/// The documents' own account, without their names, and with the comma that they lack.
fn account() -> Value {
    json!({
        "email": "somebody@simulated.example",
        "email_confirmed": true,
        "payment_method_added": true,
        "vetted_host": false,
        "wallets": {},
    })
}

/// What one GPU of a type comes with.
fn shape(gpu_model: GpuModel) -> Shape {
    let (vcpus, ram_gb, storage_gb) = SIZE;
    Shape { gpu_model, gpus: 1, vcpus, ram_gb, storage_gb }
}

/// Where a new instance of a type would come to stand.
struct Choice<'h> {
    host: &'h Hostnode,
    entry: &'static Entry,
    shape: Shape,
    rates: Rates,
    rule: PriceRule,
}

impl Choice<'_> {
    /// Whose end is the latest, then what is cheapest, then by id.
    fn order(&self) -> impl Ord + use<> {
        let end = self.host.available_until.unwrap_or(Timestamp::MAX);
        (Reverse(end), self.rates.total(), self.host.id.clone())
    }

    fn view(&self) -> Value {
        let teraflops = TERAFLOPS.iter().find(|(name, _)| *name == self.entry.name).map(|(_, teraflops)| *teraflops);
        json!({
            "type": spelling(&self.shape.gpu_model),
            "teraflops": teraflops,
            "vram": self.entry.vram_gb(),
            "generation": self.entry.generation.as_str(),
            "hourly_price": self.rates.total().to_f64(),
            "max_availability": end(self.host.available_until),
            "asic": false,
        })
    }
}

/// The two of the reference, and common knowledge.
const TERAFLOPS: [(&str, f64); 9] = [
    ("titanv-pcie-12gb", 15.0),
    ("geforcegtx1080ti-pcie-11gb", 11.34),
    ("v100-pcie-16gb", 14.0),
    ("titanxp-pcie-12gb", 12.15),
    ("titanx-pcie-12gb", 10.97),
    ("geforcegtx1080-pcie-8gb", 8.87),
    ("geforcegtx1070ti-pcie-8gb", 8.19),
    ("geforcegtx1070-pcie-8gb", 6.46),
    ("geforcegtx1060-pcie-6gb", 4.38),
];

fn spelling(model: &GpuModel) -> &str {
    catalogue::spelling(Vocabulary::Vectordash, model).unwrap_or(model.as_str())
}

/// An end as the documents show it.
fn end(until: Option<Timestamp>) -> String {
    until.map_or_else(|| "unlimited".to_owned(), |until| until.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// What can be had, by type: one choice for each.
fn on_show(hosts: &[Hostnode]) -> BTreeMap<&'static str, Choice<'_>> {
    let mut choices: BTreeMap<&'static str, Choice<'_>> = BTreeMap::new();
    for host in hosts.iter().filter(|host| host.online) {
        let Supply::Resources(resources) = &host.supply else { continue };
        for model in resources.gpus.keys() {
            let entry = catalogue::ENTRIES.iter().find(|entry| entry.name == model.as_str());
            let Some(entry) = entry else { continue };
            let Some(kind) = entry.vectordash.map(|spelling| spelling.text) else { continue };
            let Ok((sold, rates)) = host.price(&shape(model.clone())) else { continue };
            let choice = Choice { host, entry, shape: sold, rates, rule: resources.rule };
            if choices.get(kind).is_none_or(|known| choice.order() < known.order()) {
                choices.insert(kind, choice);
            }
        }
    }
    choices
}

/// An instance, as the documents show it.
fn instance(vm: &WorldVm, now: Timestamp) -> Value {
    let WorldVm { instance, shape, location: _, image } = vm;
    let (status, error_occurred) = match &instance.status {
        InstanceStatus::Starting => ("pending", false),
        InstanceStatus::Running => ("active", false),
        InstanceStatus::Leaving => ("complete", false),
        // Nothing can be stopped or outbid here; a machine that is away is an error.
        InstanceStatus::StoppedKept | InstanceStatus::StoppedReleased | InstanceStatus::Outbid => ("stopped", true),
        InstanceStatus::Unknown(_) => ("active", true),
    };
    let kind = spelling(&shape.gpu_model);
    let gpus: Vec<Value> = (0..shape.gpus).map(|id| json!({"id": id, "type": kind})).collect();
    let price = instance.quoted.unwrap_or_default().total();
    // Every hour that was begun is one, the first from the beginning on (documents' examples).
    let hours = instance.created_at.map_or(0, |at| elapsed(at, now).as_secs()).div_ceil(3_600).max(1);
    let port = instance.ports.iter().find(|(_, inside)| **inside == SSH_PORT).map(|(outside, _)| *outside);
    json!({
        "key": instance.id.as_str(),
        "name": instance.name.as_str(),
        "ip": instance.address,
        "port": port,
        "user": "ubuntu",
        "pem": SIMULATED_KEY,
        "physical_gpus": gpus,
        "cpu": "AMD Ryzen Threadripper 1950X",
        "ram": shape.ram_gb,
        "storage": shape.storage_gb,
        "image": image,
        "start_time": instance.created_at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        "end_time": null,
        "hourly_price": price.to_f64(),
        "estimated_charge": price.cost(Duration::from_secs(hours * 3_600)).to_f64(),
        "duration": hours,
        "guaranteed_availability": end(instance.available_until),
        "status": status,
        "error_occurred": error_occurred,
    })
}

/// Makes an instance: on the machine of that type whose end is the latest, if that is late enough.
fn create(backend: &mut dyn Backend, request: &Request) -> Reply {
    let object = Json::read(&request.body).and_then(Json::object);
    let object = object.ok_or_else(|| (400, "The request body is not a JSON object".to_owned()))?;
    let text = |field: &str| match object.get(field) {
        None => Ok(None),
        Some(said) => match said.string() {
            Some(text) if !text.trim().is_empty() => Ok(Some(text.into_owned())),
            Some(_) => Ok(None),
            None => refused(400, format!("{field} must be a string")),
        },
    };
    let needed = |field: &str| text(field)?.ok_or_else(|| (400, format!("{field} is required")));
    let name: VmName = match needed("name")?.parse::<VmName>() {
        Ok(name) if name.as_str().len() <= NAME_BYTES_MAX => name,
        Ok(_) | Err(_) => return refused(400, "name is not a valid hostname"),
    };
    let kind = needed("gpu")?;
    let [default, ..] = super::calls::IMAGES;
    let image = text("image")?.unwrap_or_else(|| default.to_owned());
    if !super::calls::IMAGES.contains(&image.as_str()) {
        return refused(400, "image must be deep-learning-box or fastai");
    }
    let until = match text("date")? {
        None => None,
        Some(date) => match jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", &date) {
            Ok(civil) => civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp()),
            Err(_) => return refused(400, "date must be YYYY-MM-DD HH:MM:SS"),
        },
    };
    let known = catalogue::ENTRIES.iter().filter_map(|entry| entry.vectordash);
    if !known.into_iter().any(|spelling| spelling.text == kind) {
        return refused(400, "gpu is not one of the GPU types");
    }
    let hosts = backend.hostnodes();
    let choices = on_show(&hosts);
    let lasts =
        |choice: &&Choice<'_>| until.is_none_or(|until| choice.host.available_until.is_none_or(|end| end >= until));
    let Some(choice) = choices.get(kind.as_str()).filter(lasts) else {
        return refused(400, "No GPUs of this type are available until then");
    };
    let Some(port) = choice.host.ports.free().iter().min() else {
        return refused(400, "No GPUs of this type are available: the machine has no free port");
    };
    let order = WorldOrder {
        name,
        hostnode: choice.host.id.clone(),
        shape: choice.shape.clone(),
        price_type: PriceType::OnDemand,
        bid: None,
        image,
        ports: [(*port, SSH_PORT)].into(),
        rule: choice.rule,
    };
    match backend.deploy(order) {
        Ok(vm) => ok(&json!({"instance": instance(&vm, backend.now())})),
        Err(refusal) => said(refusal),
    }
}
