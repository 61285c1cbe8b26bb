//! The JSON of the market of rehearsals as our nouns.
//!
//! **Invariant:** one item that cannot be believed is dropped and named; it never costs the list, and it is never guessed. A
//! list whose outer shape is not understood is unreadable, never empty.

use crate::{
    market::{
        Deployed,
        json::{Json, Object, shown},
        raw::is_plain,
        tensordock_v0::wire::is_host,
    },
    model::{
        Balance, GpuModel, Hostnode, HostnodeId, HourlyRate, Instance, InstanceId, InstanceStatus, PriceType, Refusal,
        Scan, Shape, Timestamp, VmName,
        catalogue::{self, Vocabulary},
        inventory::Dropped,
        name::NameError,
        offer::{BidAnswer, Location, Lot, Ports, Rates, Sizes, Sold, SpotTerms, Supply},
    },
};
use std::collections::BTreeMap;

/// A list with more items than this is not believed.
const ITEMS_MAX: usize = 100_000;
/// No VM has more GPUs than this, and no pool lists more VMs.
const COUNT_MAX: u32 = 1_024;
/// No VM has more ports.
const PORTS_MAX: usize = 64;
/// A word for a status is not longer than this.
const STATUS_CHARS_MAX: usize = 40;

fn object<'a>(answer: &Json<'a>) -> Result<Object<'a>, Refusal> {
    answer.object().ok_or_else(|| Refusal::Malformed("it is not an object".into()))
}

fn scan<'a, T: Clone>(
    answer: &Json<'a>,
    list: &str,
    mut read: impl FnMut(&Object<'a>) -> Result<T, String>,
) -> Result<Scan<T>, Refusal> {
    let items = object(answer)?.get(list).and_then(Json::array);
    let items = items.ok_or_else(|| Refusal::Malformed(format!("there is no list `{list}` in it")))?;
    if items.len() > ITEMS_MAX {
        return Err(Refusal::Malformed(format!("`{list}` has more than {ITEMS_MAX} items")));
    }
    let mut scan = Scan::default();
    let mut seen = std::collections::BTreeSet::new();
    for (place, item) in items.into_iter().enumerate() {
        let object = item.object();
        let id = object.as_ref().and_then(|object| object.get("id")?.text());
        let first = id.clone().is_none_or(|id| seen.insert(id));
        let read = match &object {
            None => Err("it is not an object".to_owned()),
            Some(_) if !first => Err("its id is listed twice".to_owned()),
            Some(object) => read(object),
        };
        match read {
            Ok(item) => scan.items.push(item),
            Err(why) => Dropped::name(id.unwrap_or_else(|| format!("#{place}")), why, &mut scan.dropped),
        }
    }
    Ok(scan)
}

/// An id, fit to stand in a path.
fn plain<'a>(object: &Object<'a>, key: &str) -> Result<std::borrow::Cow<'a, str>, String> {
    let id = object.get(key).and_then(Json::string).ok_or_else(|| format!("it has no `{key}`"))?;
    if is_plain(&id) { Ok(id) } else { Err(format!("its {key} has more than letters, digits, `-` and `_`")) }
}

fn named(error: NameError) -> String {
    error.to_string()
}

fn model(object: &Object<'_>) -> Result<GpuModel, String> {
    let said = object.get("gpu_model").and_then(Json::string).ok_or("it has no `gpu_model`")?;
    catalogue::canonical(Vocabulary::Trace, &said).map_err(|error| shown(&error.to_string()))
}

fn gpus(object: &Object<'_>) -> Result<u32, String> {
    object.count("gpu_count", COUNT_MAX)?.filter(|gpus| *gpus > 0).ok_or_else(|| "it has no GPUs".to_owned())
}

/// Whether something is true by its own word: anything else is not.
fn is_said(object: &Object<'_>, key: &str) -> bool {
    object.get(key).and_then(Json::flag) == Some(true)
}

/// The pools, as machines that are sold in lots.
///
/// # Errors
/// `Malformed` when there is no list.
pub fn pools(answer: &Json<'_>) -> Result<Scan<Hostnode>, Refusal> {
    scan(answer, "pools", |pool| {
        let id: HostnodeId = plain(pool, "id")?.parse().map_err(named)?;
        let (gpu_model, gpus) = (model(pool)?, gpus(pool)?);
        let price = pool.price("on_demand_price_per_hr")?.ok_or("it has no `on_demand_price_per_hr`")?;
        if price.is_zero() {
            return Err("on_demand_price_per_hr: no GPU is free of charge".into());
        }
        let listed = pool.price("spot_price_per_hr")?;
        let spot = match (is_said(pool, "takes_bids"), listed) {
            (false, _) => SpotTerms::None,
            (true, None) => SpotTerms::Asked,
            (true, Some(least)) => {
                SpotTerms::ListedPerGpu(HourlyRate::from_micros(least.micros().div_ceil(u64::from(gpus))))
            }
        };
        let sold = if is_said(pool, "on_demand") { Sold::EitherWay } else { Sold::ByBid };
        let lots = pool.count("lots", COUNT_MAX)?.unwrap_or(0);
        let shape = Shape { gpu_model, gpus, vcpus: 0, ram_gb: 0, storage_gb: 0 };
        let lot = |number| Lot {
            id: format!("{id}-{number}"),
            shape: shape.clone(),
            sizes: Sizes::Unsaid,
            rates: Rates { compute: price, ..Rates::default() },
            sold,
        };
        Ok(Hostnode {
            supply: Supply::Lots((0..lots).map(lot).collect()),
            location: Location { region: pool.text("zone").unwrap_or_default(), ..Location::default() },
            uptime_ppm: None,
            online: true,
            spot,
            ports: Ports::GivenForSsh,
            available_until: None,
            id,
        })
    })
}

/// The VMs.
///
/// # Errors
/// `Malformed` when there is no list.
pub fn vms(answer: &Json<'_>) -> Result<Scan<Instance>, Refusal> {
    scan(answer, "vms", instance)
}

/// One VM.
///
/// # Errors
/// `Malformed` when it cannot be read.
pub fn vm(answer: &Json<'_>) -> Result<Instance, Refusal> {
    let vm = object(answer)?.object("vm").ok_or_else(|| Refusal::Malformed("there is no `vm` in it".into()))?;
    instance(&vm).map_err(Refusal::Malformed)
}

fn instance(vm: &Object<'_>) -> Result<Instance, String> {
    let name = vm.get("name").and_then(Json::string).ok_or("it has no name")?;
    let name: VmName = name.parse().or_else(|_| shown(&name).parse()).map_err(named)?;
    let price_type = match vm.text("price_type").as_deref() {
        Some("spot") => Some(PriceType::Spot),
        Some("on_demand") => Some(PriceType::OnDemand),
        Some(_) | None => None,
    };
    Ok(Instance {
        id: plain(vm, "id")?.parse().map_err(named)?,
        name,
        status: status(vm),
        hostnode: plain(vm, "pool").ok().and_then(|pool| pool.parse().ok()),
        gpu_model: Some(model(vm)?),
        gpus: gpus(vm)?,
        price_type,
        quoted: quoted(vm)?,
        address: address(vm),
        ports: ports(vm),
        created_at: vm.text("created_at").and_then(|at| at.parse::<Timestamp>().ok()),
        available_until: None,
    })
}

fn status(vm: &Object<'_>) -> InstanceStatus {
    let Some(word) = vm.text("status") else { return InstanceStatus::Unknown("unsaid".into()) };
    match word.as_str() {
        "starting" => InstanceStatus::Starting,
        "running" => InstanceStatus::Running,
        "outbid" => InstanceStatus::Outbid,
        "stopped" => InstanceStatus::StoppedKept,
        "released" => InstanceStatus::StoppedReleased,
        "leaving" => InstanceStatus::Leaving,
        other => InstanceStatus::Unknown(other.chars().take(STATUS_CHARS_MAX).collect()),
    }
}

fn quoted(vm: &Object<'_>) -> Result<Option<Rates>, String> {
    Ok(vm.price("price_per_hr")?.map(|compute| Rates { compute, ..Rates::default() }))
}

fn address(vm: &Object<'_>) -> Option<String> {
    vm.text("address").filter(|address| is_host(address))
}

fn ports(vm: &Object<'_>) -> BTreeMap<u16, u16> {
    let Some(said) = vm.object("ports") else { return BTreeMap::new() };
    let port = |(outside, inside): (&str, Json<'_>)| Some((outside.parse().ok()?, inside.literal()?.parse().ok()?));
    said.members().filter_map(port).take(PORTS_MAX).collect()
}

/// What a create made. Only the id must be there: whatever else cannot be read must not lose it.
///
/// # Errors
/// `Malformed` when there is no id.
pub fn deployed(answer: &Json<'_>) -> Result<Deployed, Refusal> {
    let vm = object(answer)?.object("vm").ok_or_else(|| Refusal::Malformed("there is no `vm` in it".into()))?;
    let id: InstanceId = plain(&vm, "id").and_then(|id| id.parse().map_err(named)).map_err(Refusal::Malformed)?;
    Ok(Deployed { id, quoted: quoted(&vm).unwrap_or_default(), address: address(&vm), ports: ports(&vm) })
}

/// Whether a bid was accepted.
///
/// # Errors
/// `Malformed` when it does not say.
pub fn accepted(answer: &Json<'_>) -> Result<BidAnswer, Refusal> {
    match object(answer)?.get("accepted").and_then(Json::flag) {
        Some(true) => Ok(BidAnswer::Accepted),
        Some(false) => Ok(BidAnswer::Refused),
        None => Err(Refusal::Malformed("it does not say `accepted`".into())),
    }
}

/// That the token is taken.
///
/// # Errors
/// `Malformed` when it does not say so.
pub fn taken(answer: &Json<'_>) -> Result<(), Refusal> {
    if is_said(&object(answer)?, "taken") { Ok(()) } else { Err(Refusal::Malformed("it does not say `taken`".into())) }
}

/// That a VM was deleted.
///
/// # Errors
/// `Malformed` when it does not say so.
pub fn deleted(answer: &Json<'_>) -> Result<(), Refusal> {
    if is_said(&object(answer)?, "deleted") {
        Ok(())
    } else {
        Err(Refusal::Malformed("it does not say `deleted`".into()))
    }
}

/// What the account holds.
///
/// # Errors
/// `Malformed` when it does not say.
pub fn balance(answer: &Json<'_>) -> Result<Balance, Refusal> {
    let account = object(answer)?;
    let said = account.get("balance").ok_or_else(|| Refusal::Malformed("it does not say `balance`".into()))?;
    let amount = said.amount().map_err(|why| Refusal::Malformed(format!("balance: {why}")))?;
    let hourly_cost = account.price("hourly_cost").map_err(|why| Refusal::Malformed(format!("hourly_cost: {why}")))?;
    Ok(Balance { amount, hourly_cost })
}
