//! The world's nouns as the vendor's JSON: S1's shapes, with the fields that other documents and clients look for.
//!
//! Prices are numbers in one place and strings in another, an address is the id in one call and the address in the next,
//! as the vendor has it.

use crate::{
    market::WorldVm,
    model::{
        Hostnode, HourlyRate, InstanceStatus, PriceType, Timestamp,
        offer::{Location, Resources, Stock, Supply},
    },
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Any text's own uuid, always the same.
pub fn uuid_of(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// A price as a JSON number. What a vendor shows is for reading only: binary floating point writes six decimals exactly.
pub fn number(rate: HourlyRate) -> Value {
    json!(rate.to_f64())
}

/// A price as the list of VMs shows it: a string with six decimals.
pub fn string(rate: HourlyRate) -> Value {
    json!(format!("{}.{:06}", rate.micros() / 1_000_000, rate.micros() % 1_000_000))
}

/// A hostnode; `None` for a machine this API could not sell.
pub fn hostnode(host: &Hostnode) -> Option<Value> {
    let Supply::Resources(resources) = &host.supply else { return None };
    let Resources { gpus, vcpus, ram_gb, storage_gb, restrictions, rule: _ } = resources;
    let stock = |stock: &Stock| json!({"amount": stock.free, "price": number(stock.price)});
    let gpus: Map<String, Value> = gpus
        .iter()
        .map(|(model, stock)| {
            let name = model.as_str();
            let gpu = json!({
                "amount": stock.free,
                "price": number(stock.price),
                "vram": model.vram_gb().unwrap_or(0),
                "pcie": name.contains("pcie"),
                "gtx": name.contains("gtx"),
                "rtx": name.contains("rtx"),
            });
            (name.to_owned(), gpu)
        })
        .collect();
    let mut specs = json!({
        "cpu": {"amount": vcpus.free, "price": number(vcpus.price), "type": "AMD EPYC 7543"},
        "gpu": gpus,
        "ram": stock(ram_gb),
        "storage": stock(storage_gb),
    });
    if !restrictions.is_empty() {
        let limits: Map<String, Value> = restrictions
            .iter()
            .map(|(gpus, limit)| {
                let bounds = |bounds: crate::model::offer::Bounds| json!({"min": bounds.min, "max": bounds.max});
                let limit = json!({
                    "cpu": bounds(limit.vcpus), "ram": bounds(limit.ram_gb), "storage": bounds(limit.storage_gb),
                });
                (gpus.to_string(), limit)
            })
            .collect();
        specs["restrictions"] = Value::Object(limits);
    }
    let Location { country, region, city } = &host.location;
    Some(json!({
        "location": {
            "city": city, "country": country, "dc": null, "id": location_id(&host.location), "region": region,
        },
        "networking": {"ports": host.ports.free(), "receive": 1_000, "send": 1_000},
        "specs": specs,
        "status": {
            "listed": true,
            "online": host.online,
            "report": format!("https://monitor.example/report/uptime/{}/", host.id),
            "reserved": false,
            "uptime": host.uptime_ppm.map(|ppm| f64::from(ppm) / 1e6),
        },
    }))
}

/// A place's own id.
pub fn location_id(location: &Location) -> String {
    uuid_of(&location.to_string())
}

fn status(status: &InstanceStatus) -> &str {
    match status {
        InstanceStatus::Starting => "Creating",
        InstanceStatus::Running => "Running",
        InstanceStatus::StoppedKept => "Stopped",
        InstanceStatus::StoppedReleased => "StoppedDisassociated",
        InstanceStatus::Outbid => "Outbid",
        InstanceStatus::Leaving => "Terminated",
        InstanceStatus::Unknown(word) => word,
    }
}

/// A VM's status inside an error text: in lower case (recorded).
pub fn status_in_text(vm: &WorldVm) -> String {
    status(&vm.instance.status).to_lowercase()
}

fn created(at: Option<Timestamp>) -> Value {
    let text = at.and_then(|at| jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok());
    json!(text)
}

/// The fields that the list and the details share.
fn common(vm: &WorldVm) -> Value {
    let WorldVm { instance, shape, location, image } = vm;
    let quoted = instance.quoted.unwrap_or_default();
    let forwards: Map<String, Value> =
        instance.ports.iter().map(|(outside, inside)| (outside.to_string(), json!(inside))).collect();
    json!({
        "cost": number(quoted.compute),
        "hostnode": instance.hostnode.as_ref().map(|id| id.as_str()),
        "location": location_id(location),
        "name": instance.name.as_str(),
        "operating_system": image,
        "port_forwards": forwards,
        "specs": {
            "gpu": {"amount": shape.gpus, "type": shape.gpu_model.as_str()},
            "ram": shape.ram_gb,
            "storage": shape.storage_gb,
            "vcpus": shape.vcpus,
        },
        "status": status(&instance.status),
        "timestamp_creation": created(instance.created_at),
        "type": match instance.price_type {
            Some(PriceType::Spot) => "spot",
            Some(PriceType::OnDemand) | None => "ondem",
        },
    })
}

/// A VM in the list: `hostname` is its id, prices are strings beside `cost`.
pub fn listed(vm: &WorldVm) -> Value {
    let quoted = vm.instance.quoted.unwrap_or_default();
    let mut view = common(vm);
    view["city"] = json!(vm.location.city);
    view["state"] = json!(vm.location.region);
    view["country"] = json!(vm.location.country);
    view["compute_price"] = string(quoted.compute);
    view["storage_price"] = string(quoted.storage);
    view["total_price"] = string(quoted.total());
    view["cpu_threadscount"] = json!(vm.shape.vcpus);
    view["dedicated_ip_address"] = Value::Null;
    view["default_user"] = json!("user");
    view["hostname"] = json!(vm.instance.id.as_str());
    view["ip_address"] = json!(vm.instance.address);
    view
}

/// A VM asked for by id: `hostname` is its address.
pub fn details(vm: &WorldVm) -> Value {
    let mut view = common(vm);
    view["hostname"] = json!(vm.instance.address);
    view
}

/// What a deploy answers.
pub fn deployed(vm: &WorldVm) -> Value {
    let quoted = vm.instance.quoted.unwrap_or_default();
    let forwards: Map<String, Value> =
        vm.instance.ports.iter().map(|(outside, inside)| (outside.to_string(), json!(inside.to_string()))).collect();
    json!({
        "success": true,
        "cost": {
            "compute_price": number(quoted.compute),
            "storage_price": number(quoted.storage),
            "total_price": number(quoted.total()),
        },
        "execution_id": 1,
        "ip": vm.instance.address,
        "port_forwards": forwards,
        "server": vm.instance.id.as_str(),
    })
}
