//! TensorDock v2's JSON about machines and VMs as our nouns, in every shape that FACTS lists.
//!
//! **Invariant:** one item that cannot be believed (a negative price, an absurd count, no id) is dropped and named; it
//! never costs the list, and it is never guessed. A list whose outer shape is not understood is unreadable, never empty.
//! What this API shares with v0 (words for states, forwards, texts) is read by the readers of v0's folder.

use crate::{
    market::{
        Deployed,
        json::{Json, Object, shown},
        raw::is_plain,
        tensordock_v0::wire::{
            GPUS_MAX, PORTS_MAX, SIZE_MAX, distinct_ports, forwards, is_host, location, scan, timestamp, vm_name,
            vm_status,
        },
    },
    model::{
        GpuModel, Hostnode, HostnodeId, HourlyRate, Instance, InstanceId, InstanceStatus, Refusal, Scan,
        catalogue::{self, Vocabulary},
        inventory::Dropped,
        offer::{Bounds, Ports, PriceRule, Rates, Resources, Restriction, SpotTerms, Stock, Supply},
    },
};
use std::collections::{BTreeMap, btree_map::Entry};

/// GB of disk of the smallest VM (documented).
pub const STORAGE_GB_MIN: u32 = 100;
/// Prices are sums of unit prices and not rounded: a VM was seen at 0.272999 (recorded). Sizes are even (recorded).
pub const RULE: PriceRule = PriceRule { term_step_micros: 0, size_step: 2, storage_gb_min: STORAGE_GB_MIN };
/// Micros per GB of disk and hour, on every machine that the documents and clients show (documented).
const STORAGE_MICROS: u64 = 50;
/// Whose words for GPU models these are.
const WORDS: Vocabulary = Vocabulary::TensordockV2;
/// A list with more items than this is not believed.
const ITEMS_MAX: usize = 100_000;
/// Uptime is in percent: 100 of them, in millionths.
const PERCENT_MAX_MICROS: i64 = 100_000_000;

/// The model that a GPU is of: `v0Name` (documented).
pub(super) fn gpu_model(name: &str) -> Option<GpuModel> {
    catalogue::canonical(WORDS, name).ok()
}

/// The items of a list with their ids.
pub(super) fn items<'a>(list: Vec<Json<'a>>, what: &str) -> Result<Vec<(Option<String>, Json<'a>)>, Refusal> {
    if list.len() > ITEMS_MAX {
        return Err(Refusal::Malformed(format!("`{what}` has more than {ITEMS_MAX} items")));
    }
    let id = |item: &Json<'a>| item.object()?.first(&["id", "uuid"])?.string().map(String::from);
    Ok(list.into_iter().map(|item| (id(&item), item)).collect())
}

/// The list under `data`, wherever in it: `data.<name>[]`, `data.attributes.<name>[]`, `data[]`, or `<name>[]` alone.
///
/// # Errors
/// `Malformed` when there is none.
pub(super) fn listed<'a>(answer: &Object<'a>, name: &str) -> Result<Vec<(Option<String>, Json<'a>)>, Refusal> {
    let within = || {
        let data = answer.object("data")?;
        data.get(name).or_else(|| data.object("attributes")?.get(name))
    };
    let bare = || answer.get("data").filter(|data| data.array().is_some());
    let list = within().or_else(bare).or_else(|| answer.get(name));
    let list = list.and_then(Json::array).ok_or_else(|| Refusal::Malformed(format!("no list of {name} in it")))?;
    items(list, name)
}

/// The one thing that is told: bare, or under `data`.
pub(super) fn alone<'a>(answer: Object<'a>) -> Object<'a> {
    answer.object("data").unwrap_or(answer)
}

/// A member of a thing, or of its `attributes`.
pub(super) struct Thing<'a> {
    own: &'a Object<'a>,
    attributes: Option<Object<'a>>,
}

impl<'a> Thing<'a> {
    pub(super) fn new(own: &'a Object<'a>) -> Self {
        Self { own, attributes: own.object("attributes") }
    }

    pub(super) fn get(&self, keys: &[&str]) -> Option<Json<'a>> {
        self.own.first(keys).or_else(|| self.attributes.as_ref()?.first(keys))
    }

    pub(super) fn object(&self, key: &str) -> Option<Object<'a>> {
        self.get(&[key])?.object()
    }

    pub(super) fn text(&self, keys: &[&str]) -> Option<String> {
        self.get(keys)?.text()
    }
}

/// An id is what a path can hold: everything is asked for and deleted by it.
fn id<T: std::str::FromStr>(id: &str) -> Result<T, String> {
    if is_plain(id) { id.parse().ok() } else { None }.ok_or_else(|| "its id could not stand in a path".to_owned())
}

/// The list of machines.
///
/// # Errors
/// `Malformed` when there is none.
pub fn hostnodes(answer: &Object<'_>) -> Result<Scan<Hostnode>, Refusal> {
    Ok(scan(listed(answer, "hostnodes")?, |id, node, dropped| {
        hostnode(id, &node.object().ok_or("it is not an object")?, dropped)
    }))
}

/// One machine: under `data`, or bare.
///
/// # Errors
/// `Malformed` when there is none, it is another, or it cannot be believed.
pub fn hostnode_details(id: &str, answer: Object<'_>) -> Result<Hostnode, Refusal> {
    let answer = alone(answer);
    let node = answer.object("hostnode").unwrap_or(answer);
    if node.first(&["id", "uuid"]).and_then(Json::string).is_some_and(|said| said != id) {
        return Err(Refusal::Malformed("it is about another hostnode".into()));
    }
    hostnode(id, &node, &mut Vec::new()).map_err(Refusal::Malformed)
}

fn hostnode(said: &str, node: &Object<'_>, dropped: &mut Vec<Dropped>) -> Result<Hostnode, String> {
    let id: HostnodeId = id(said)?;
    let thing = Thing::new(node);
    let free = thing.object("available_resources").ok_or("it has no `available_resources`")?;
    let pricing = thing.object("pricing").ok_or("it has no `pricing`")?;
    let (stock, price) = (|keys| least(&free, keys), |key| unit_price(&pricing, key));
    let gpus = gpus(&id, &free, dropped)?;
    let restrictions = restrictions(&free, gpus.values().map(|stock: &Stock| stock.free).sum())?;
    let ports = free.get("available_ports").map(|ports| ports.array().ok_or("available_ports: not an array"));
    Ok(Hostnode {
        location: thing.object("location").map(|place| location(&place, "stateprovince")).unwrap_or_default(),
        uptime_ppm: uptime(thing.get(&["uptime_percentage"]))?,
        online: is_online(&thing),
        supply: Supply::Resources(Resources {
            gpus,
            vcpus: Stock { free: stock(["vcpu_count", "max_vcpus"])?, price: price("per_vcpu_hr")? },
            ram_gb: Stock { free: stock(["ram_gb", "max_ram_gb"])?, price: price("per_gb_ram_hr")? },
            storage_gb: Stock { free: stock(["storage_gb", "max_storage_gb"])?, price: price("per_gb_storage_hr")? },
            restrictions,
            rule: RULE,
        }),
        spot: SpotTerms::None,
        // The list leaves them out, one machine's own answer has them (documented).
        ports: ports
            .transpose()?
            .map_or(Ports::Unlisted, |ports| Ports::Free(distinct_ports(ports.into_iter().take(PORTS_MAX).collect()))),
        available_until: None,
        id,
    })
}

/// What is listed can be rented: nothing documented says otherwise. A word or a flag that does is believed.
fn is_online(thing: &Thing<'_>) -> bool {
    let flag = |key: &str| thing.get(&[key]).and_then(Json::flag) != Some(false);
    let word = thing.text(&["status"]).is_none_or(|word| {
        ["online", "available", "active", "listed", "running"].iter().any(|good| word.trim().eq_ignore_ascii_case(good))
    });
    flag("online") && flag("listed") && word
}

/// Uptime in percent, as parts per million.
fn uptime(said: Option<Json<'_>>) -> Result<Option<u32>, String> {
    match said.and_then(Json::millionths) {
        None => Ok(None),
        Some(percent @ 0..=PERCENT_MAX_MICROS) => Ok(u32::try_from(percent / 100).ok()),
        Some(_) => Err("uptime_percentage: it is no percentage".into()),
    }
}

/// What there is (documented), and what one VM may have of it (recorded): the least of both.
fn least(free: &Object<'_>, keys: [&str; 2]) -> Result<u32, String> {
    let counts = [free.count(keys[0], SIZE_MAX)?, free.count(keys[1], SIZE_MAX)?];
    counts.into_iter().flatten().min().ok_or_else(|| format!("{}: missing", keys[0]))
}

pub(super) fn unit_price(pricing: &Object<'_>, key: &str) -> Result<HourlyRate, String> {
    pricing.price(key)?.ok_or_else(|| format!("{key}: missing"))
}

fn gpus(id: &HostnodeId, free: &Object<'_>, dropped: &mut Vec<Dropped>) -> Result<BTreeMap<GpuModel, Stock>, String> {
    let mut gpus = BTreeMap::new();
    let Some(listed) = free.get("gpus") else { return Ok(gpus) };
    for gpu in listed.array().ok_or("gpus: not an array")?.into_iter().take(GPUS_MAX as usize) {
        let gpu = gpu.object().ok_or("gpus: one is not an object")?;
        let name = gpu.text("v0Name").ok_or("gpus: one has no `v0Name`")?;
        let mut dropping = |why: &str| Dropped::name(format!("{id} gpu {}", shown(&name)), why, dropped);
        let Some(model) = gpu_model(&name) else {
            dropping("it is not a GPU model");
            continue;
        };
        let named = |why: String| format!("gpu {model}: {why}");
        let count = gpu.first(&["availableCount", "available_count"]).ok_or_else(|| named("no count".into()))?;
        let count = count.count(GPUS_MAX).map_err(named)?;
        let price = gpu.price("price_per_hr").map_err(named)?;
        let price = price.or((count == 0).then_some(HourlyRate::ZERO)).ok_or_else(|| named("no price".into()))?;
        // Two lines of one model cannot both be counted on: the first stands.
        match gpus.entry(model) {
            Entry::Vacant(place) => drop(place.insert(Stock { free: count, price })),
            Entry::Occupied(_) => dropping("it is listed twice"),
        }
    }
    Ok(gpus)
}

/// `max_vcpus_per_gpu` and `max_ram_per_gpu` (recorded): so much for each GPU of a VM, for each number of them.
fn restrictions(free: &Object<'_>, gpus: u32) -> Result<BTreeMap<u32, Restriction>, String> {
    let vcpus = free.count("max_vcpus_per_gpu", SIZE_MAX)?;
    let ram_gb = free.count("max_ram_per_gpu", SIZE_MAX)?;
    if vcpus.is_none() && ram_gb.is_none() {
        return Ok(BTreeMap::new());
    }
    let most = |each: Option<u32>, count: u32| each.map_or(u32::MAX, |each| each.saturating_mul(count));
    let restriction = |count: u32| Restriction {
        vcpus: Bounds { min: 0, max: most(vcpus, count) },
        ram_gb: Bounds { min: 0, max: most(ram_gb, count) },
        storage_gb: Bounds { min: 0, max: u32::MAX },
    };
    Ok((1..=gpus.min(GPUS_MAX)).map(|count| (count, restriction(count))).collect())
}

/// The list of VMs.
///
/// # Errors
/// `Malformed` when there is none.
pub fn instances(answer: &Object<'_>) -> Result<Scan<Instance>, Refusal> {
    Ok(scan(listed(answer, "instances")?, |id, vm, _| instance(id, &vm.object().ok_or("it is not an object")?)))
}

/// One VM: bare (documented, recorded), or under `data`.
///
/// # Errors
/// `Malformed` when there is none, it is another, or it cannot be believed.
pub fn instance_details(id: &str, answer: Object<'_>) -> Result<Instance, Refusal> {
    let vm = alone(answer);
    match vm.get("id").and_then(Json::string) {
        None => Err(Refusal::Malformed("there is no VM in it".into())),
        Some(said) if said != id => Err(Refusal::Malformed("it is about another VM".into())),
        Some(_) => instance(id, &vm).map_err(Refusal::Malformed),
    }
}

fn instance(said: &str, vm: &Object<'_>) -> Result<Instance, String> {
    let id: InstanceId = id(said)?;
    let thing = Thing::new(vm);
    let status = vm_status(thing.get(&["status"]));
    let resources = thing.object("resources");
    let (gpu_model, gpus) = resources.as_ref().map_or(Ok((None, 0)), vm_gpus)?;
    let storage_gb = resources.as_ref().map_or(Ok(None), |resources| resources.count("storage_gb", SIZE_MAX))?;
    Ok(Instance {
        name: name(vm, &thing)?,
        hostnode: thing.get(&["hostnode_id", "hostnodeId"]).and_then(Json::string).and_then(|id| id.parse().ok()),
        gpu_model,
        gpus,
        // All that is made here is on demand, but v0's spot VMs are listed too and look the same.
        price_type: None,
        quoted: quoted(&thing, &status, storage_gb)?,
        address: address(&thing),
        ports: forwards(thing.get(&["portForwards", "port_forwards"])),
        created_at: thing.text(&["createdAt", "created_at"]).and_then(|text| timestamp(text.trim())),
        available_until: None,
        status,
        id,
    })
}

fn name(vm: &Object<'_>, thing: &Thing<'_>) -> Result<crate::model::VmName, String> {
    match &thing.attributes {
        Some(attributes) if vm.get("name").is_none() => vm_name(attributes),
        Some(_) | None => vm_name(vm),
    }
}

/// `resources.gpus {"<name>": {count, v0Name}}`.
fn vm_gpus(resources: &Object<'_>) -> Result<(Option<GpuModel>, u32), String> {
    let Some(listed) = resources.get("gpus") else { return Ok((None, 0)) };
    if listed.array().is_some_and(|none| none.is_empty()) {
        return Ok((None, 0));
    }
    let listed = listed.object().ok_or("resources.gpus is not an object by name")?;
    let (mut model, mut gpus) = (None, 0_u32);
    for (name, gpu) in listed.members() {
        let gpu = gpu.object().ok_or("resources.gpus: one is not an object")?;
        let count = gpu.count("count", GPUS_MAX).map_err(|why| format!("resources.gpus: {why}"))?;
        gpus = gpus.saturating_add(count.ok_or("resources.gpus: one has no count")?);
        let name = gpu.text("v0Name").unwrap_or_else(|| name.to_owned());
        model = model.or_else(|| gpu_model(&name));
    }
    if gpus > GPUS_MAX { Err("resources.gpus: too many".into()) } else { Ok((model, gpus)) }
}

/// Only a total is told, `rateHourly`. What of it is for the disk, which goes on being billed when the GPU is taken away,
/// is worked out of the disk's size at the price that all machines show; without a size it is none, and all counts as
/// compute. Of a VM whose GPU is gone all may be for the disk, and counts so where no size is told: rather too much.
fn quoted(thing: &Thing<'_>, status: &InstanceStatus, storage_gb: Option<u32>) -> Result<Option<Rates>, String> {
    let Some(total) = thing.get(&["rateHourly", "rate_hourly"]) else { return Ok(None) };
    let total = total.price().map_err(|why| format!("rateHourly: {why}"))?;
    let storage = match (storage_gb, status) {
        (Some(storage_gb), _) => HourlyRate::from_micros(STORAGE_MICROS).times(storage_gb).min(total),
        (None, InstanceStatus::StoppedReleased | InstanceStatus::Outbid) => total,
        (
            None,
            InstanceStatus::Starting
            | InstanceStatus::Running
            | InstanceStatus::StoppedKept
            | InstanceStatus::Leaving
            | InstanceStatus::Unknown(_),
        ) => HourlyRate::ZERO,
    };
    Ok(Some(Rates { compute: total.minus(storage), storage }))
}

/// There is none at first: it appears some seconds after the VM (recorded).
fn address(thing: &Thing<'_>) -> Option<String> {
    let said = thing.text(&["ipAddress", "ip_address", "ip"])?;
    Some(said.trim().to_owned()).filter(|text| is_host(text))
}

/// What a create made: under `data` (documented), or bare. Only the id must be there: whatever else cannot be read must
/// not lose it.
///
/// # Errors
/// `Malformed` when there is no id.
pub fn deployed(answer: Object<'_>) -> Result<Deployed, Refusal> {
    let vm = alone(answer);
    let thing = Thing::new(&vm);
    let said = thing.get(&["id"]).and_then(Json::string);
    let id = said.and_then(|said| id(&said).ok());
    let id: InstanceId = id.ok_or_else(|| Refusal::Malformed("it names no VM".into()))?;
    let storage_gb = thing.object("resources").and_then(|resources| resources.count("storage_gb", SIZE_MAX).ok()?);
    Ok(Deployed {
        id,
        quoted: quoted(&thing, &InstanceStatus::Starting, storage_gb).unwrap_or_default(),
        address: address(&thing),
        ports: forwards(thing.get(&["portForwards", "port_forwards"])),
    })
}
