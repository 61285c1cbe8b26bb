//! The world's nouns as the vendor's JSON: the vendor's pages' shapes, with the fields that clients look for.
//!
//! What is in an answer is enough for every public client at once, as FACTS has it: a VM in a list says everything twice,
//! flat and under `attributes`; a VM by id is bare.

use super::Reply;
use crate::{
    io::net::Request,
    market::WorldVm,
    model::{
        GpuModel, Hostnode, HourlyRate, InstanceStatus,
        offer::{Location, Resources, Supply},
    },
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub use crate::market::tensordock_v0::fake::uuid_of;

/// Whose account it is.
pub const ORGANIZATION: &str = "00000000-0000-4000-8000-00000000cafe";
/// Data centres of this tier: 3 in the vendor's examples.
const TIER: u32 = 3;
/// Whether a VM can have an address of its own: a create may ask for one everywhere here, so it is said everywhere. Some
/// clients rent nowhere else (recorded, Merv).
const DEDICATED_IPS: bool = true;

/// A price as a JSON number. What a vendor shows is for reading only: binary floating point writes six decimals exactly.
fn number(rate: HourlyRate) -> Value {
    json!(rate.to_f64())
}

/// A place's own id: v0's of the same place.
pub fn place_id(location: &Location) -> String {
    uuid_of(&location.to_string())
}

fn resources(host: &Hostnode) -> Option<&Resources> {
    match &host.supply {
        Supply::Resources(resources) => Some(resources),
        Supply::Lots(_) => None,
    }
}

/// How many GPUs of a model are free on a machine.
pub fn free_gpus(host: &Hostnode, model: &GpuModel) -> u32 {
    resources(host).and_then(|own| own.gpus.get(model)).map_or(0, |stock| stock.free)
}

fn pricing(resources: &Resources) -> Value {
    json!({
        "per_vcpu_hr": number(resources.vcpus.price),
        "per_gb_ram_hr": number(resources.ram_gb.price),
        "per_gb_storage_hr": number(resources.storage_gb.price),
    })
}

/// A machine as it is listed; `None` for one this API could not sell. A machine of limits shows the narrowest.
fn hostnode(host: &Hostnode) -> Option<Value> {
    let own = resources(host)?;
    let Resources { gpus, vcpus, ram_gb, storage_gb, restrictions, rule: _ } = own;
    let gpus: Vec<Value> = gpus
        .iter()
        .map(|(model, stock)| {
            json!({"v0Name": model.as_str(), "availableCount": stock.free, "price_per_hr": number(stock.price)})
        })
        .collect();
    let mut available = json!({
        "gpus": gpus,
        "vcpu_count": vcpus.free,
        "ram_gb": ram_gb.free,
        "storage_gb": storage_gb.free,
        "max_vcpus": vcpus.free,
        "max_ram_gb": ram_gb.free,
        "max_storage_gb": storage_gb.free,
        "has_public_ip_available": DEDICATED_IPS,
    });
    let each = |most: fn(&crate::model::offer::Restriction) -> u32| {
        restrictions.iter().filter(|(count, _)| **count > 0).map(|(count, limit)| most(limit) / count).min()
    };
    if let (Some(vcpus), Some(ram_gb)) = (each(|limit| limit.vcpus.max), each(|limit| limit.ram_gb.max)) {
        available["max_vcpus_per_gpu"] = json!(vcpus);
        available["max_ram_per_gpu"] = json!(ram_gb);
    }
    let Location { country, region, city } = &host.location;
    let place = place_id(&host.location);
    Some(json!({
        "id": host.id.as_str(),
        "location_id": place,
        "engine": "Narwhal",
        "uptime_percentage": host.uptime_ppm.map(|ppm| f64::from(ppm) / 1e4),
        "available_resources": available,
        "pricing": pricing(own),
        "location": {
            "uuid": place,
            "city": city,
            "stateprovince": region,
            "country": country,
            "has_network_storage": false,
            "network_speed_gbps": 1.2,
            "network_speed_upload_gbps": 1,
            "organization": uuid_of("host organization"),
            "organizationName": "A hosting provider",
            "tier": TIER,
        },
    }))
}

/// One machine: its free ports too.
pub fn hostnode_details(host: &Hostnode) -> Option<Value> {
    let mut view = hostnode(host).filter(|_| host.online)?;
    view["available_resources"]["available_ports"] = json!(host.ports.free());
    Some(view)
}

/// The machines that can be rented from and that pass the filters: what the vendor's own do is not documented.
pub fn hostnodes(hosts: &[Hostnode], request: &Request) -> Reply {
    let said = |name: &str| request.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let least = |name: &str| said(name).and_then(|value| value.trim().parse::<u32>().ok()).unwrap_or(0);
    let passes = |host: &&Hostnode| {
        resources(host).is_some_and(|own| {
            host.online
                && said("location").is_none_or(|place| place == place_id(&host.location))
                && said("gpu").is_none_or(|model| own.gpus.keys().any(|own| own.as_str() == model))
                && own.vcpus.free >= least("minVcpu")
                && own.ram_gb.free >= least("minRamGb")
                && own.storage_gb.free >= least("minStorageGb")
        })
    };
    let list: Vec<Value> = hosts.iter().filter(passes).filter_map(hostnode).collect();
    Reply::ok(json!({"data": {"hostnodes": list}}))
}

/// The places, and what the machine with most of each model there can give one VM.
pub fn places(hosts: &[Hostnode]) -> Reply {
    let mut by_place: BTreeMap<&Location, BTreeMap<&str, (u32, Value)>> = BTreeMap::new();
    for (host, own) in hosts.iter().filter(|host| host.online).filter_map(|host| Some((host, resources(host)?))) {
        let models = by_place.entry(&host.location).or_default();
        for (model, stock) in own.gpus.iter().filter(|(_, stock)| stock.free > 0) {
            let view = json!({
                "v0Name": model.as_str(),
                "displayName": model.as_str().to_uppercase(),
                "max_count": stock.free,
                "price_per_hr": number(stock.price),
                "resources": {
                    "max_vcpus": own.vcpus.free, "max_ram_gb": own.ram_gb.free, "max_storage_gb": own.storage_gb.free,
                },
                "pricing": pricing(own),
                "network_features": {
                    "dedicated_ip_available": DEDICATED_IPS,
                    "port_forwarding_available": !host.ports.free().is_empty(),
                    "network_storage_available": false,
                },
            });
            let most = models.entry(model.as_str()).or_insert((0, Value::Null));
            if stock.free > most.0 {
                *most = (stock.free, view);
            }
        }
    }
    let view = |(location, models): (&Location, BTreeMap<&str, (u32, Value)>)| {
        let Location { country, region, city } = location;
        let gpus: Vec<Value> = models.into_values().map(|(_, view)| view).collect();
        json!({
            "id": place_id(location), "city": city, "stateprovince": region, "country": country, "tier": TIER,
            "gpus": gpus,
        })
    };
    let list: Vec<Value> = by_place.into_iter().filter(|(_, models)| !models.is_empty()).map(view).collect();
    Reply::ok(json!({"data": {"locations": list}}))
}

/// A spot VM of v0 that is outbid has lost its GPU: this API has one word for that.
fn status(status: &InstanceStatus) -> String {
    match status {
        InstanceStatus::Starting => "creating".to_owned(),
        InstanceStatus::Running => "running".to_owned(),
        InstanceStatus::StoppedKept => "stopped".to_owned(),
        InstanceStatus::StoppedReleased | InstanceStatus::Outbid => "stoppeddisassociated".to_owned(),
        InstanceStatus::Leaving => "deleted".to_owned(),
        InstanceStatus::Unknown(word) => word.to_lowercase(),
    }
}

/// A VM asked for by id: bare. While it is made it has no address (recorded).
pub fn instance(vm: &WorldVm) -> Value {
    let WorldVm { instance, shape, .. } = vm;
    let forwards: Vec<Value> = instance
        .ports
        .iter()
        .map(|(outside, inside)| json!({"protocol": "tcp", "internal_port": inside, "external_port": outside}))
        .collect();
    let mut gpus = Map::new();
    if shape.gpus > 0 {
        let model = shape.gpu_model.as_str();
        gpus.insert(model.to_owned(), json!({"count": shape.gpus, "v0Name": model}));
    }
    let address = match instance.status {
        InstanceStatus::Starting => None,
        InstanceStatus::Running
        | InstanceStatus::StoppedKept
        | InstanceStatus::StoppedReleased
        | InstanceStatus::Outbid
        | InstanceStatus::Leaving
        | InstanceStatus::Unknown(_) => instance.address.as_deref(),
    };
    json!({
        "type": "virtualmachine",
        "id": instance.id.as_str(),
        "name": instance.name.as_str(),
        "status": status(&instance.status),
        "ipAddress": address,
        "portForwards": forwards,
        "resources": {
            "vcpu_count": shape.vcpus, "ram_gb": shape.ram_gb, "storage_gb": shape.storage_gb, "gpus": gpus,
        },
        "rateHourly": number(instance.quoted.unwrap_or_default().total()),
    })
}

/// A VM in the list: flat, and with what is documented beside it.
pub fn listed(vm: &WorldVm) -> Value {
    let mut view = instance(vm);
    view["attributes"] = listed_bare(vm)["attributes"].take();
    view
}

/// A VM in the list as the vendor's page has it, and no more.
pub fn listed_bare(vm: &WorldVm) -> Value {
    let WorldVm { instance, .. } = vm;
    json!({
        "type": "VM",
        "id": instance.id.as_str(),
        "attributes": {"name": instance.name.as_str(), "status": status(&instance.status)},
    })
}

/// What a create answers: no address, no ports.
pub fn created(vm: &WorldVm) -> Value {
    json!({
        "type": "virtualmachine",
        "id": vm.instance.id.as_str(),
        "name": vm.instance.name.as_str(),
        "status": status(&vm.instance.status),
    })
}

/// What a start or a stop answers.
pub fn transition(id: &str, status: &str) -> Value {
    json!({"data": {"type": "instance", "id": id, "attributes": {"status": status}}})
}

/// A secret without its value.
pub fn secret(id: &str, kind: &str, name: &str) -> Value {
    json!({"type": kind, "id": id, "name": name})
}
