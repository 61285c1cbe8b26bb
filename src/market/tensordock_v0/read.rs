//! Reads the answers of the calls that no fleet needs, in every shape that FACTS lists.
//!
//! As in [`super::wire`], one line that cannot be believed is dropped and named, and never costs the list; an answer whose
//! outer shape is not understood is unreadable, never empty. Money is read from its literal.

use super::{
    nouns::{
        Authorization, HostRevenue, InstantSize, InstantVm, InstantVms, Month, MonthlySummary, Replica, Sizes,
        Transaction, TransactionKind, VmRevenue,
    },
    wire::{GPUS_MAX, PORTS_MAX, SIZE_MAX, items, scan, timestamp, uptime},
};
use crate::{
    market::json::{Json, Object},
    model::{
        GpuModel, HostnodeId, InstanceId, Refusal, Scan, Usd,
        offer::{Location, Rates},
    },
};
use std::collections::BTreeMap;

/// No list of one VM's GPU counts or models is longer.
const CHOICES_MAX: usize = 64;
/// No data centre's tier is higher.
const TIER_MAX: u32 = 10;

fn listed<'a>(answer: &Object<'a>, key: &str) -> Result<Json<'a>, Refusal> {
    answer.get(key).ok_or_else(|| Refusal::Malformed(format!("no `{key}` in it")))
}

fn id<T: std::str::FromStr>(object: &Object<'_>, key: &str) -> Option<T> {
    object.get(key)?.string()?.parse().ok()
}

fn count(object: &Object<'_>, key: &str) -> Result<u32, String> {
    object.count(key, SIZE_MAX)?.ok_or_else(|| format!("it has no `{key}`"))
}

fn usd(object: &Object<'_>, key: &str) -> Result<Usd, String> {
    let amount = object.get(key).ok_or_else(|| format!("it has no `{key}`"))?;
    amount.amount().map_err(|why| format!("{key}: {why}"))
}

/// Money that only flows one way: a negative amount of it cannot be believed.
fn earned(object: &Object<'_>, key: &str) -> Result<Usd, String> {
    let amount = usd(object, key)?;
    if amount.is_negative() { Err(format!("{key}: it is negative")) } else { Ok(amount) }
}

/// The authorizations: an object by name, or an array (S2) of objects with a `name`.
///
/// # Errors
/// `Malformed` when it is neither.
pub fn authorizations(answer: &Object<'_>) -> Result<Scan<Authorization>, Refusal> {
    let list = listed(answer, "authorizations")?;
    let named: Vec<(Option<String>, Json<'_>)> = match list.array() {
        Some(array) => {
            let name = |one: &Json<'_>| Some(one.object()?.first(&["name", "id", "note"])?.string()?.into_owned());
            array.into_iter().map(|one| (name(&one), one)).collect()
        }
        None => items(list, "authorizations")?,
    };
    Ok(scan(named, |name, one, _| {
        let one = one.object().ok_or("it is not an object")?;
        Ok(Authorization {
            name: crate::market::json::shown(name),
            permissions: one.text("permissions"),
            created_at: one.text("timestamp_creation").and_then(|text| timestamp(text.trim())),
            note: one.text("note"),
        })
    }))
}

/// A number or a list of numbers.
fn numbers(object: &Object<'_>, key: &str) -> Result<Vec<u32>, String> {
    let Some(value) = object.get(key) else { return Ok(Vec::new()) };
    let all = value.array().unwrap_or_else(|| vec![value]);
    all.into_iter().take(CHOICES_MAX).map(|one| one.count(GPUS_MAX).map_err(|why| format!("{key}: {why}"))).collect()
}

/// A model or a list of models.
fn models(object: &Object<'_>, key: &str) -> Result<Vec<GpuModel>, String> {
    let Some(value) = object.get(key) else { return Ok(Vec::new()) };
    let all = value.array().unwrap_or_else(|| vec![value]);
    let model = |one: Json<'_>| one.string().and_then(|one| one.parse().ok());
    all.into_iter().take(CHOICES_MAX).map(|one| model(one).ok_or_else(|| format!("{key}: one is no model"))).collect()
}

fn known_id(text: &str) -> Result<InstanceId, String> {
    text.parse().map_err(|error: crate::model::name::NameError| error.to_string())
}

/// Instant VMs: an array of sizes beside an object of VMs by id; either may be in the other's form.
///
/// # Errors
/// `Malformed` when there are none of one of them.
pub fn instant_vms(answer: &Object<'_>) -> Result<InstantVms, Refusal> {
    let sizes = items(listed(answer, "preconfig_options")?, "preconfig_options")?;
    let offers = items(listed(answer, "virtual_machines")?, "virtual_machines")?;
    Ok(InstantVms {
        sizes: scan(sizes, |id, one, _| instant_size(id, &one.object().ok_or("it is not an object")?)),
        offers: scan(offers, |id, one, _| instant_vm(id, &one.object().ok_or("it is not an object")?)),
    })
}

fn instant_size(id: &str, one: &Object<'_>) -> Result<InstantSize, String> {
    Ok(InstantSize {
        id: known_id(id)?,
        gpus: numbers(one, "gpu_count")?,
        gpu_models: models(one, "gpu_model")?,
        vcpus: count(one, "cpu_count")?,
        ram_gb: count(one, "ram")?,
        storage_gb: count(one, "storage")?,
        image: one.text("operating_system"),
    })
}

fn instant_vm(said: &str, one: &Object<'_>) -> Result<InstantVm, String> {
    let text = |key: &str| one.text(key).unwrap_or_default();
    let price = one.object("price").ok_or("it has no `price`")?;
    let storage = price.price("storage_price")?.unwrap_or_default();
    let whole = price.price("price")?;
    // Where they disagree, the greater counts.
    let compute = match (price.price("compute_price")?, whole) {
        (Some(compute), Some(whole)) => compute.max(whole.minus(storage)),
        (Some(compute), None) => compute,
        (None, Some(whole)) => whole.minus(storage),
        (None, None) => return Err("it has no price".into()),
    };
    Ok(InstantVm {
        id: known_id(said)?,
        size: id(one, "preconfig_id"),
        hostnode: id(one, "hostnode"),
        location: Location { country: text("country"), region: text("stateprovince"), city: text("city") },
        data_centre: one.text("dc_name"),
        tier: one.count("dc_tier", TIER_MAX)?,
        cpu_model: one.text("cpu_model"),
        vcpus: count(one, "cpu_count")?,
        gpus: numbers(one, "gpu_count")?,
        gpu_models: models(one, "gpu_model")?,
        ram_gb: count(one, "ram")?,
        storage_gb: count(one, "storage")?,
        rates: Rates { compute, storage },
        uptime_ppm: uptime(one.get("uptime"))?,
    })
}

/// A container's replicas.
///
/// # Errors
/// `Malformed` when there is no list of them.
pub fn replicas(answer: &Object<'_>) -> Result<Scan<Replica>, Refusal> {
    let list =
        listed(answer, "result")?.array().ok_or_else(|| Refusal::Malformed("`result` is not an array".into()))?;
    let id = |one: &Json<'_>| Some(one.object()?.get("vm_uuid")?.string()?.into_owned());
    let replicas = list.into_iter().map(|one| (id(&one), one)).collect();
    Ok(scan(replicas, |id, one, _| {
        let one = one.object().ok_or("it is not an object")?;
        Ok(Replica {
            vm: known_id(id)?,
            address: one.text("ip_address"),
            ports: pairs(&one)?,
            rate: one.price("rate_hourly")?.ok_or("it has no `rate_hourly`")?,
            uptime_url: one.text("hostnode_uptime_url"),
        })
    }))
}

/// `external_ports` beside `internal_ports`, the first to the first.
fn pairs(one: &Object<'_>) -> Result<BTreeMap<u16, u16>, String> {
    let ports = |key: &str| -> Result<Vec<u16>, String> {
        let Some(list) = one.get(key) else { return Ok(Vec::new()) };
        let list = list.array().ok_or_else(|| format!("{key}: it is not an array"))?;
        let port = |one: Json<'_>| one.literal().and_then(|one| one.trim().parse().ok());
        list.into_iter().take(PORTS_MAX).map(|one| port(one).ok_or_else(|| format!("{key}: one is no port"))).collect()
    };
    let (outside, inside) = (ports("external_ports")?, ports("internal_ports")?);
    if outside.len() == inside.len() {
        Ok(outside.into_iter().zip(inside).collect())
    } else {
        Err("it has not as many inside ports as outside ones".into())
    }
}

fn sizes(object: &Object<'_>, prefix: &str) -> Result<Sizes, String> {
    let size = |what: &str| object.count(&format!("{prefix}_{what}"), SIZE_MAX).map(Option::unwrap_or_default);
    Ok(Sizes { gpus: size("gpus")?, vcpus: size("cpus")?, ram_gb: size("ram")?, storage_gb: size("storage")? })
}

/// Revenue, machine by machine.
///
/// # Errors
/// `Malformed` when there is no list of it.
pub fn revenue(answer: &Object<'_>) -> Result<Scan<HostRevenue>, Refusal> {
    let list = listed(answer, "data")?.array().ok_or_else(|| Refusal::Malformed("`data` is not an array".into()))?;
    let id = |one: &Json<'_>| Some(one.object()?.get("hostnode_id")?.string()?.into_owned());
    let hosts = list.into_iter().map(|one| (id(&one), one)).collect();
    Ok(scan(hosts, |id, one, _| {
        let one = one.object().ok_or("it is not an object")?;
        let vms = one.get("virtual_machines").map(|list| items(list, "virtual_machines")).transpose();
        let vms = vms.map_err(|refusal| refusal.to_string())?.unwrap_or_default();
        Ok(HostRevenue {
            hostnode: id.parse::<HostnodeId>().map_err(|error| error.to_string())?,
            location: one.text("location"),
            used: sizes(&one, "used")?,
            available: sizes(&one, "available")?,
            compute: earned(&one, "revenue_compute")?,
            storage: earned(&one, "revenue_storage")?,
            vms: scan(vms, |id, vm, _| {
                let vm = vm.object().ok_or("it is not an object")?;
                Ok(VmRevenue {
                    vm: known_id(id)?,
                    used: sizes(&vm, "used")?,
                    compute: earned(&vm, "revenue_compute")?,
                    storage: earned(&vm, "revenue_storage")?,
                })
            }),
        })
    }))
}

/// A month's account. Its lines may be missing as a whole; its sums may not.
///
/// # Errors
/// `Malformed` when a balance or a sum is missing or cannot be believed.
pub fn summary(answer: &Object<'_>) -> Result<MonthlySummary, Refusal> {
    let changes = answer.object("changes").ok_or_else(|| Refusal::Malformed("no `changes` in it".into()))?;
    let lines = answer.object("transactions");
    let mut transactions = BTreeMap::new();
    for kind in TransactionKind::ALL {
        let list = lines.as_ref().and_then(|lines| lines.get(kind.as_str()));
        let array = list
            .map(|list| list.array().ok_or_else(|| Refusal::Malformed(format!("`{}` is not an array", kind.as_str()))));
        transactions.insert(*kind, lines_of(array.transpose()?.unwrap_or_default()));
    }
    let read = || -> Result<MonthlySummary, String> {
        Ok(MonthlySummary {
            from: month(answer, "start"),
            to: month(answer, "end"),
            previous_balance: usd(answer, "previous_balance")?,
            final_balance: usd(answer, "final_balance")?,
            expenses: earned(&changes, "expenses")?,
            payouts: earned(&changes, "payouts")?,
            transactions,
        })
    };
    read().map_err(Refusal::Malformed)
}

fn month(answer: &Object<'_>, which: &str) -> Option<Month> {
    let period = answer.object("bill_period")?;
    let part = |letter: &str| period.get(&format!("{which}{letter}"))?.literal();
    Month::new(part("Y")?.trim().parse().ok()?, part("M")?.trim().parse().ok()?)
}

/// Lines have no ids of their own: each is named by its place.
fn lines_of(list: Vec<Json<'_>>) -> Scan<Transaction> {
    let placed = list.into_iter().enumerate().map(|(place, line)| (Some(place.to_string()), line)).collect();
    scan(placed, |_, line, _| {
        let line = line.object().ok_or("it is not an object")?;
        let amount = if line.get("total_amount").is_some() { "total_amount" } else { "amount" };
        Ok(Transaction {
            amount: earned(&line, amount)?,
            vm: id(&line, "virtual_machine_id"),
            hostnode: id(&line, "hostnode_id"),
            rate: line.price("rate_hourly")?,
            gpus: line.text("gpu_details"),
            storage_gb: line.count("storage_amount", SIZE_MAX)?,
            from: line.text("billing_period_start"),
            to: line.text("billing_period_end"),
        })
    })
}
