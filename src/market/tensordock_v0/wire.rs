//! TensorDock v0's JSON as our nouns, in every shape that FACTS lists.
//!
//! **Invariant:** one item that cannot be believed (a negative price, an absurd count, no id) is dropped and named; it
//! never costs the list, and it is never guessed. A list whose outer shape is not understood is unreadable, never empty.

use crate::{
    market::{
        Deployed,
        json::{Json, Object, shown},
    },
    model::{
        GpuModel, Hostnode, HostnodeId, HourlyRate, Instance, InstanceId, InstanceStatus, PriceType, Refusal, Scan,
        Timestamp, VmName,
        catalogue::{self, Vocabulary},
        inventory::{Balance, Dropped},
        name::ID_BYTES_MAX,
        offer::{Bounds, Location, Ports, PriceRule, Rates, Resources, Restriction, SpotTerms, Stock, Supply},
    },
};
use std::collections::BTreeMap;

/// "Each term rounded to 0.001", sizes even (documented by the vendor's dashboard; S1).
pub const RULE: PriceRule = PriceRule { term_step_micros: 1_000, size_step: 2, storage_gb_min: 0 };
/// Whose words for GPU models these are.
const WORDS: Vocabulary = Vocabulary::TensordockV0;
/// A list with more items than this is not believed.
const ITEMS_MAX: usize = 100_000;
/// No machine has more GPUs than this.
pub(in crate::market) const GPUS_MAX: u32 = 1_024;
/// No machine has more vCPUs, or GB of memory or disk, than this.
pub(in crate::market) const SIZE_MAX: u32 = 100_000_000;
/// No VM has more forwards than this; up to 64 are documented.
const FORWARDS_MAX: usize = 1_000;
/// No machine lists more free ports than there are.
pub(in crate::market) const PORTS_MAX: usize = 65_536;
/// A word for a status is not longer than this.
const STATUS_CHARS_MAX: usize = 40;

/// `8-4-4-4-12` hexadecimal digits, as every id of this API is.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A list's items with their ids: an object by id, or an array of items that carry it.
pub(super) fn items<'a>(list: Json<'a>, what: &str) -> Result<Vec<(Option<String>, Json<'a>)>, Refusal> {
    let items: Vec<_> = if let Some(object) = list.object() {
        object.members().map(|(key, value)| (Some(key.to_owned()), value)).collect()
    } else if let Some(array) = list.array() {
        let id = |item: &Json<'a>| item.object()?.first(&["id", "uuid", "server"])?.string().map(String::from);
        array.into_iter().map(|item| (id(&item), item)).collect()
    } else {
        return Err(Refusal::Malformed(format!("`{what}` is neither an object nor an array")));
    };
    if items.len() > ITEMS_MAX {
        return Err(Refusal::Malformed(format!("`{what}` has more than {ITEMS_MAX} items")));
    }
    Ok(items)
}

/// Reads each item and keeps what is understood, once per id.
pub(in crate::market) fn scan<'a, T: Clone>(
    items: Vec<(Option<String>, Json<'a>)>,
    read: impl Fn(&str, Json<'a>, &mut Vec<Dropped>) -> Result<T, String>,
) -> Scan<T> {
    let mut scan = Scan::default();
    let mut seen = std::collections::BTreeSet::new();
    for (place, (id, item)) in items.into_iter().enumerate() {
        let outcome = match &id {
            None => Err("it has no id".to_owned()),
            Some(id) if !seen.insert(id.clone()) => Err("its id is listed twice".to_owned()),
            Some(id) => read(id, item, &mut scan.dropped),
        };
        match outcome {
            Ok(item) => scan.items.push(item),
            Err(why) => {
                let what = id.map_or_else(|| format!("#{place}"), |id| shown(&id));
                Dropped::name(what, why, &mut scan.dropped);
            }
        }
    }
    scan
}

/// The list of hostnodes: `{hostnodes: …}`, or bare ids with their nodes.
///
/// # Errors
/// `Malformed` when it is neither.
pub fn hostnodes(answer: &Object<'_>) -> Result<Scan<Hostnode>, Refusal> {
    let listed = match answer.get("hostnodes") {
        Some(list) => items(list, "hostnodes")?,
        None if answer.has("hostnodes") => return Err(Refusal::Malformed("`hostnodes` is null".into())),
        None => answer
            .members()
            .filter(|(key, _)| is_uuid(key))
            .take(ITEMS_MAX)
            .map(|(key, node)| (Some(key.to_owned()), node))
            .collect(),
    };
    if listed.is_empty() && answer.get("hostnodes").is_none() {
        return Err(Refusal::Malformed("there is no list of hostnodes in it".into()));
    }
    Ok(scan(listed, hostnode))
}

/// One hostnode's details: under `hostnode`, under its id, or bare.
///
/// # Errors
/// `Malformed` when there is none, or it cannot be believed.
pub fn hostnode_details(id: &str, answer: &Object<'_>) -> Result<Hostnode, Refusal> {
    let mut dropped = Vec::new();
    let found = answer.object("hostnode").or_else(|| answer.object(id));
    let node = match &found {
        Some(node) => node,
        None if answer.get("specs").is_some() => answer,
        None => return Err(Refusal::Malformed("there is no hostnode in it".into())),
    };
    if node.get("uuid").and_then(Json::string).is_some_and(|said| said != id) {
        return Err(Refusal::Malformed("it is about another hostnode".into()));
    }
    hostnode_of(id, node, &mut dropped).map_err(Refusal::Malformed)
}

fn hostnode(id: &str, node: Json<'_>, dropped: &mut Vec<Dropped>) -> Result<Hostnode, String> {
    hostnode_of(id, &node.object().ok_or("it is not an object")?, dropped)
}

fn hostnode_of(id: &str, node: &Object<'_>, dropped: &mut Vec<Dropped>) -> Result<Hostnode, String> {
    let id: HostnodeId = id.parse().map_err(|error: crate::model::name::NameError| error.to_string())?;
    let specs = node.object("specs").ok_or("it has no `specs`")?;
    let pricing = node.object("pricing");
    let (online, uptime_ppm) = status(node.get("status"))?;
    let stock = |keys: [&str; 2]| stock(keys, &specs, pricing.as_ref());
    let (vcpus, ram_gb, storage_gb) = (stock(["cpu", "vcpu"])?, stock(["ram", "memory"])?, stock(["storage", "disk"])?);
    let supply = Supply::Resources(Resources {
        gpus: gpus(&id, &specs, pricing.as_ref(), dropped)?,
        vcpus,
        ram_gb,
        storage_gb,
        restrictions: restrictions(&specs)?,
        rule: RULE,
    });
    Ok(Hostnode {
        id,
        location: node.object("location").map(|place| location(&place, "region")).unwrap_or_default(),
        uptime_ppm,
        online,
        supply,
        spot: SpotTerms::Asked,
        ports: Ports::Free(free_ports(node.object("networking").as_ref())),
        available_until: None,
    })
}

pub(in crate::market) fn location(place: &Object<'_>, region: &str) -> Location {
    let text = |key: &str| place.text(key).map(|text| text.trim().to_owned()).unwrap_or_default();
    Location { country: text("country"), region: text(region), city: text("city") }
}

/// Whether it can be rented, and its uptime: of an object, or of a word.
fn status(status: Option<Json<'_>>) -> Result<(bool, Option<u32>), String> {
    let Some(status) = status else { return Ok((false, None)) };
    if let Some(word) = status.text() {
        return Ok((word.trim().eq_ignore_ascii_case("online"), None));
    }
    let status = status.object().ok_or("its `status` is neither an object nor a word")?;
    let flag = |key: &str| status.get(key).and_then(Json::flag);
    let online = flag("online") == Some(true) && flag("listed") != Some(false);
    let uptime_ppm = uptime(status.get("uptime"))?;
    Ok((online, uptime_ppm))
}

/// Uptime, parts per million, given as a share or as a percentage.
pub(super) fn uptime(said: Option<Json<'_>>) -> Result<Option<u32>, String> {
    match said.and_then(Json::millionths) {
        None => Ok(None),
        // A share of one, as S0 and S1 show it.
        Some(share @ 0..=1_000_000) => Ok(Some(share as u32)),
        // A percentage, as v2 shows it.
        Some(percent @ 1_000_001..=100_000_000) => Ok(Some((percent / 100) as u32)),
        Some(_) => Err("uptime: it is neither a share nor a percentage".into()),
    }
}

/// A price given as a number, or as an object's `price`.
fn price_in(value: Json<'_>) -> Result<Option<HourlyRate>, String> {
    match value.object() {
        Some(object) => object.price("price"),
        None => value.price().map(Some),
    }
}

fn stock(keys: [&str; 2], specs: &Object<'_>, pricing: Option<&Object<'_>>) -> Result<Stock, String> {
    let [key, _] = keys;
    let named = |why: String| format!("{key}: {why}");
    let part = specs.first(&keys).and_then(Json::object).ok_or_else(|| named("missing".into()))?;
    let free = part.count("amount", SIZE_MAX).map_err(named)?.ok_or_else(|| named("no amount".into()))?;
    let listed = part.price("price").map_err(named)?;
    let beside = || pricing.and_then(|pricing| pricing.first(&keys)).map_or(Ok(None), price_in);
    let price = match listed {
        Some(price) => Some(price),
        None => beside().map_err(named)?,
    };
    Ok(Stock { free, price: price.ok_or_else(|| named("no price".into()))? })
}

fn gpus(
    id: &HostnodeId,
    specs: &Object<'_>,
    pricing: Option<&Object<'_>>,
    dropped: &mut Vec<Dropped>,
) -> Result<BTreeMap<GpuModel, Stock>, String> {
    let mut gpus = BTreeMap::new();
    let Some(listed) = specs.get("gpu") else { return Ok(gpus) };
    let listed = listed.object().ok_or("gpu: it is not an object by model")?;
    for (name, stock) in listed.members() {
        let Ok(model) = catalogue::canonical(WORDS, name) else {
            Dropped::name(format!("{id} gpu {}", shown(name)), "it is not a GPU model", dropped);
            continue;
        };
        let named = |why: String| format!("gpu {model}: {why}");
        let stock = stock.object().ok_or_else(|| named("it is not an object".into()))?;
        let free = stock.count("amount", GPUS_MAX).map_err(named)?.ok_or_else(|| named("no amount".into()))?;
        let beside = || {
            let all = pricing.and_then(|pricing| pricing.get("gpu"));
            let own = all.and_then(Json::object).and_then(|models| models.get(name));
            own.or(all).map_or(Ok(None), price_in)
        };
        let price = match stock.price("price").map_err(named)? {
            Some(price) => Some(price),
            None => beside().map_err(named)?,
        };
        let price = price.or((free == 0).then_some(HourlyRate::ZERO)).ok_or_else(|| named("no price".into()))?;
        gpus.insert(model, Stock { free, price });
    }
    Ok(gpus)
}

/// `{"<gpu count>": {cpu{min,max}, ram{min,max}, storage{min,max}}}` (documented by the vendor's dashboard).
fn restrictions(specs: &Object<'_>) -> Result<BTreeMap<u32, Restriction>, String> {
    let mut restrictions = BTreeMap::new();
    let Some(listed) = specs.object("restrictions") else { return Ok(restrictions) };
    for (count, limits) in listed.members() {
        if limits.is_null() {
            continue;
        }
        let gpus: u32 = count.trim().parse().map_err(|_| "restrictions: a key is not a number of GPUs")?;
        let limits = limits.object().ok_or("restrictions: one is not an object")?;
        let bounds = |key: &str| -> Result<Bounds, String> {
            let Some(part) = limits.object(key) else { return Ok(Bounds { min: 0, max: u32::MAX }) };
            let named = |why: String| format!("restrictions: {key}: {why}");
            let min = part.count("min", SIZE_MAX).map_err(named)?.unwrap_or(0);
            Ok(Bounds { min, max: part.count("max", SIZE_MAX).map_err(named)?.unwrap_or(u32::MAX) })
        };
        restrictions.insert(
            gpus,
            Restriction { vcpus: bounds("cpu")?, ram_gb: bounds("ram")?, storage_gb: bounds("storage")? },
        );
    }
    Ok(restrictions)
}

pub(in crate::market) fn port(port: Json<'_>) -> Option<u16> {
    port.literal()?.trim().parse().ok().filter(|port| *port != 0)
}

fn free_ports(networking: Option<&Object<'_>>) -> Vec<u16> {
    distinct_ports(networking.and_then(|networking| networking.get("ports")).and_then(Json::array).unwrap_or_default())
}

/// Those that are ports, each once.
pub(in crate::market) fn distinct_ports(listed: Vec<Json<'_>>) -> Vec<u16> {
    let mut seen = std::collections::BTreeSet::new();
    listed.into_iter().take(PORTS_MAX).filter_map(port).filter(|port| seen.insert(*port)).collect()
}

/// The list of VMs: an object by id, or an array.
///
/// # Errors
/// `Malformed` when it is neither.
pub fn instances(answer: &Object<'_>) -> Result<Scan<Instance>, Refusal> {
    let list = answer.get("virtualmachines").ok_or_else(|| Refusal::Malformed("no `virtualmachines` in it".into()))?;
    let read = |id: &str, vm: Json<'_>, _: &mut Vec<Dropped>| instance(id, &vm.object().ok_or("it is not an object")?);
    Ok(scan(items(list, "virtualmachines")?, read))
}

/// One VM's details: under `virtualmachine`, or bare.
///
/// # Errors
/// `Malformed` when there is none, or it cannot be believed.
pub fn instance_details(id: &str, answer: &Object<'_>) -> Result<Instance, Refusal> {
    let found = answer.object("virtualmachine");
    let vm = match &found {
        Some(vm) => vm,
        None if answer.first(&["specs", "resources"]).is_some() => answer,
        None => return Err(Refusal::Malformed("there is no VM in it".into())),
    };
    if vm.first(&["id", "uuid"]).and_then(Json::string).is_some_and(|said| said != id) {
        return Err(Refusal::Malformed("it is about another VM".into()));
    }
    instance(id, vm).map_err(Refusal::Malformed)
}

fn instance(id: &str, vm: &Object<'_>) -> Result<Instance, String> {
    let id: InstanceId = id.parse().map_err(|error: crate::model::name::NameError| error.to_string())?;
    let (gpu_model, gpus) = vm_gpus(vm)?;
    Ok(Instance {
        name: vm_name(vm)?,
        status: vm_status(vm.get("status")),
        hostnode: vm.get("hostnode").and_then(Json::string).and_then(|id| id.parse().ok()),
        gpu_model,
        gpus,
        price_type: vm.text("type").and_then(|word| match word.to_ascii_lowercase().as_str() {
            "spot" => Some(PriceType::Spot),
            "ondem" | "ondemand" | "on_demand" => Some(PriceType::OnDemand),
            _ => None,
        }),
        quoted: quoted(vm)?,
        address: address(id.as_str(), vm),
        ports: forwards(vm.get("port_forwards")),
        created_at: vm.text("timestamp_creation").and_then(|text| timestamp(text.trim())),
        available_until: None,
        id,
    })
}

/// Our own VMs are found by name, so a VM without one is not understood. One whose name we could never have given is
/// not ours: it is kept, with its name made fit to be shown.
pub(in crate::market) fn vm_name(vm: &Object<'_>) -> Result<VmName, String> {
    let name = vm.get("name").and_then(Json::string).filter(|name| !name.is_empty()).ok_or("it has no name")?;
    if let Ok(name) = name.parse() {
        return Ok(name);
    }
    let mut fit: String = name.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    while fit.len() > ID_BYTES_MAX {
        fit.pop();
    }
    fit.parse().map_err(|error: crate::model::name::NameError| error.to_string())
}

/// The status, whatever its case. A word that is not known, and none at all, count as not running.
pub(in crate::market) fn vm_status(status: Option<Json<'_>>) -> InstanceStatus {
    let Some(word) = status.and_then(Json::text) else { return InstanceStatus::Unknown("unsaid".into()) };
    let plain: String = word.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
    match plain.as_str() {
        "running" => InstanceStatus::Running,
        "stopped" => InstanceStatus::StoppedKept,
        "stoppeddisassociated" => InstanceStatus::StoppedReleased,
        "outbid" => InstanceStatus::Outbid,
        "terminated" | "terminating" | "deleted" | "deleting" => InstanceStatus::Leaving,
        "starting" | "creating" | "queued" | "provisioning" | "deploying" => InstanceStatus::Starting,
        _ => InstanceStatus::Unknown(word.trim().chars().take(STATUS_CHARS_MAX).collect()),
    }
}

/// `specs.gpu {amount, type}`, or S2's `resources.gpus[]`. A VM that says nothing of its size is not understood; one
/// that says its size and no GPU has none.
fn vm_gpus(vm: &Object<'_>) -> Result<(Option<GpuModel>, u32), String> {
    if let Some(specs) = vm.object("specs") {
        let Some(gpu) = specs.get("gpu") else { return Ok((None, 0)) };
        let gpu = gpu.object().ok_or("specs.gpu is not an object")?;
        let model = gpu.text("type").and_then(|model| catalogue::canonical(WORDS, &model).ok());
        let amount = gpu.count("amount", GPUS_MAX).map_err(|why| format!("specs.gpu: {why}"))?;
        return match (amount, &model) {
            (Some(amount), _) => Ok((model, amount)),
            (None, None) => Ok((None, 0)),
            (None, Some(_)) => Err("specs.gpu has a type and no amount".into()),
        };
    }
    let resources = vm.object("resources").ok_or("it has neither `specs` nor `resources`")?;
    let Some(listed) = resources.get("gpus") else { return Ok((None, 0)) };
    let listed = listed.array().ok_or("resources.gpus is not an array")?;
    let (mut model, mut gpus) = (None, 0_u32);
    for gpu in listed {
        // Which fields these have is not documented: S2 says "object". One element counts as one GPU unless it says.
        let (name, count) = match gpu.object() {
            Some(gpu) => {
                let name = gpu.first(&["v0Name", "type", "model", "gpu_model", "name"]).and_then(Json::text);
                let count = gpu.first(&["amount", "count", "gpu_count"]).map(|count| count.count(GPUS_MAX));
                (name, count.transpose().map_err(|why| format!("resources.gpus: {why}"))?.unwrap_or(1))
            }
            None => (Some(gpu.text().ok_or("resources.gpus: one is neither an object nor a name")?), 1),
        };
        gpus = gpus.saturating_add(count);
        model = model.or_else(|| name.and_then(|name| catalogue::canonical(WORDS, &name).ok()));
    }
    if gpus > GPUS_MAX { Err("resources.gpus: too many".into()) } else { Ok((model, gpus)) }
}

/// What the VM is said to cost: `cost` (compute only) or `compute_price`, `storage_price`, and `total_price` or
/// `rate_hourly` for both. Where they disagree, the greater counts.
fn quoted(vm: &Object<'_>) -> Result<Option<Rates>, String> {
    let inner = vm.object("cost");
    let parts = inner.as_ref().unwrap_or(vm);
    let price = |keys: &[&str]| match keys.iter().find(|key| parts.get(key).is_some()) {
        Some(key) => parts.price(key),
        None => Ok(None),
    };
    let compute = price(&["compute_price", "cost"])?;
    let storage = price(&["storage_price"])?;
    let total = price(&["total_price", "rate_hourly"])?;
    let (compute, storage) = match (compute, storage, total) {
        (None, None, None) => return Ok(None),
        (Some(compute), None, Some(total)) => (compute, total.minus(compute)),
        (compute, storage, None) => (compute.unwrap_or_default(), storage.unwrap_or_default()),
        (compute, storage, Some(total)) => {
            let storage = storage.unwrap_or_default();
            (compute.unwrap_or_default().max(total.minus(storage)), storage)
        }
    };
    Ok(Some(Rates { compute, storage }))
}

/// Whether a text can be an address or a host's name, and nothing that a command line would take for more.
pub(in crate::market) fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && !text.starts_with('-')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'_'))
}

/// The first of its addresses that is not its id: lists show the id as `hostname` (documented, S1).
fn address(id: &str, vm: &Object<'_>) -> Option<String> {
    ["ip", "ip_address", "hostname", "dedicated_ip_address"]
        .into_iter()
        .filter_map(|key| vm.text(key))
        .map(|text| text.trim().to_owned())
        .find(|text| text != id && is_host(text))
}

/// `{"30118": "22"}` or `{"30118": 22}`, outside to inside; or v2's array of pairs.
pub(in crate::market) fn forwards(forwards: Option<Json<'_>>) -> BTreeMap<u16, u16> {
    let Some(forwards) = forwards else { return BTreeMap::new() };
    if let Some(object) = forwards.object() {
        let pair = |(outside, inside): (&str, Json<'_>)| {
            Some((outside.trim().parse::<u16>().ok()?, inside.literal()?.trim().parse::<u16>().ok()?))
        };
        return object.members().take(FORWARDS_MAX).filter_map(pair).collect();
    }
    let pair = |pair: Json<'_>| {
        let pair = pair.object()?;
        Some((port(pair.get("external_port")?)?, port(pair.get("internal_port")?)?))
    };
    forwards.array().unwrap_or_default().into_iter().take(FORWARDS_MAX).filter_map(pair).collect()
}

/// `Sat, 10 Dec 2022 21:38:19 GMT`, or RFC 3339, or a date and time in UTC.
pub(in crate::market) fn timestamp(text: &str) -> Option<Timestamp> {
    let rfc2822 = || jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    let civil = || {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    };
    rfc2822().or_else(|| text.parse().ok()).or_else(civil)
}

/// What a deploy made. Only the id must be there: whatever else cannot be read must not lose it.
///
/// # Errors
/// `Malformed` when there is no id.
pub fn deployed(answer: &Object<'_>) -> Result<Deployed, Refusal> {
    let id = answer.first(&["server", "vm"]).and_then(Json::string);
    let id: Option<InstanceId> = id.and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| Refusal::Malformed("it says success and no server's id".into()))?;
    Ok(Deployed {
        quoted: if answer.object("cost").is_some() { quoted(answer).unwrap_or_default() } else { None },
        address: address(id.as_str(), answer),
        ports: forwards(answer.get("port_forwards")),
        id,
    })
}

/// The account.
///
/// # Errors
/// `Malformed` when there is no balance, it is not in dollars, or an amount cannot be believed.
pub fn balance(answer: &Object<'_>) -> Result<Balance, Refusal> {
    if answer.text("currency").is_some_and(|currency| !matches!(currency.trim(), "USD" | "usd" | "$" | "")) {
        return Err(Refusal::Malformed("the balance is not in US dollars".into()));
    }
    let amount = answer.get("balance").ok_or_else(|| Refusal::Malformed("there is no balance in it".into()))?;
    Ok(Balance {
        amount: amount.amount().map_err(|why| Refusal::Malformed(format!("balance: {why}")))?,
        hourly_cost: answer.price("hourly_cost").map_err(Refusal::Malformed)?,
    })
}
