//! Reads the answers of the calls that no fleet needs: places, secrets, whose credentials they are.
//!
//! As in [`super::wire`], one line that cannot be believed is dropped and named, and never costs the list.

use super::{
    nouns::{Opened, Organization, Place, PlaceGpus, Secret, SecretId, SecretKind},
    wire::{Thing, alone, gpu_model, listed, unit_price},
};
use crate::{
    market::{
        json::{Json, Object, shown},
        tensordock_v0::wire::{GPUS_MAX, SIZE_MAX, location, scan},
    },
    model::{GpuModel, Refusal, Scan, inventory::Dropped, offer::Stock},
};
use secrecy::SecretString;
use std::collections::BTreeMap;

/// No data centre's tier is higher.
const TIER_MAX: u32 = 10;

/// Whose credentials they are: `{success: true, organizationId?}`.
///
/// # Errors
/// `Malformed` when it does not say success.
pub fn organization(answer: &Object<'_>) -> Result<Organization, Refusal> {
    if answer.get("success").and_then(Json::flag) == Some(true) {
        Ok(Organization { id: answer.first(&["organizationId", "organization_id"]).and_then(Json::text) })
    } else {
        Err(Refusal::Malformed("it does not say success".into()))
    }
}

/// The list of places.
///
/// # Errors
/// `Malformed` when there is none.
pub fn places(answer: &Object<'_>) -> Result<Scan<Place>, Refusal> {
    Ok(scan(listed(answer, "locations")?, |id, place, dropped| {
        let place = place.object().ok_or("it is not an object")?;
        Ok(Place {
            id: id.parse().map_err(|error: super::nouns::NotAnId| error.to_string())?,
            location: location(&place, "stateprovince"),
            tier: place.count("tier", TIER_MAX)?,
            gpus: place_gpus(id, &place, dropped)?,
        })
    }))
}

fn place_gpus(
    id: &str,
    place: &Object<'_>,
    dropped: &mut Vec<Dropped>,
) -> Result<BTreeMap<GpuModel, PlaceGpus>, String> {
    let mut gpus = BTreeMap::new();
    let list = place.get("gpus").and_then(Json::array).ok_or("it has no list of `gpus`")?;
    for gpu in list.into_iter().take(GPUS_MAX as usize) {
        let gpu = gpu.object().ok_or("gpus: one is not an object")?;
        let name = gpu.text("v0Name").ok_or("gpus: one has no `v0Name`")?;
        match (gpu_model(&name), one_of_place(&gpu)) {
            // Two lines of one model cannot both be counted on: the first stands.
            (Some(model), Ok(_)) if gpus.contains_key(&model) => drop_gpu(id, &name, "it is listed twice", dropped),
            (Some(model), Ok(one)) => drop(gpus.insert(model, one)),
            (None, _) => drop_gpu(id, &name, "it is not a GPU model", dropped),
            (Some(_), Err(why)) => drop_gpu(id, &name, &why, dropped),
        }
    }
    Ok(gpus)
}

fn drop_gpu(id: &str, name: &str, why: &str, dropped: &mut Vec<Dropped>) {
    Dropped::name(format!("{} gpu {}", shown(id), shown(name)), why, dropped);
}

fn one_of_place(gpu: &Object<'_>) -> Result<PlaceGpus, String> {
    let most = gpu.object("resources").ok_or("no `resources`")?;
    let pricing = gpu.object("pricing").ok_or("no `pricing`")?;
    let network = gpu.object("network_features");
    let offered = |key: &str| network.as_ref()?.get(key)?.flag();
    let stock = |count: &str, price: &str| -> Result<Stock, String> {
        let free = most.count(count, SIZE_MAX)?.ok_or_else(|| format!("{count}: missing"))?;
        Ok(Stock { free, price: unit_price(&pricing, price)? })
    };
    Ok(PlaceGpus {
        display_name: gpu.text("displayName"),
        gpus: Stock {
            free: gpu.count("max_count", GPUS_MAX)?.ok_or("max_count: missing")?,
            price: unit_price(gpu, "price_per_hr")?,
        },
        vcpus: stock("max_vcpus", "per_vcpu_hr")?,
        ram_gb: stock("max_ram_gb", "per_gb_ram_hr")?,
        storage_gb: stock("max_storage_gb", "per_gb_storage_hr")?,
        dedicated_ip: offered("dedicated_ip_available"),
        port_forwarding: offered("port_forwarding_available"),
        network_storage: offered("network_storage_available"),
    })
}

/// The list of secrets, without their values.
///
/// # Errors
/// `Malformed` when there is none.
pub fn secrets(answer: &Object<'_>) -> Result<Scan<Secret>, Refusal> {
    Ok(scan(listed(answer, "secrets")?, |_, one, _| secret(&one.object().ok_or("it is not an object")?)))
}

fn secret(one: &Object<'_>) -> Result<Secret, String> {
    let thing = Thing::new(one);
    let id = thing.get(&["id"]).and_then(Json::string).ok_or("it has no id")?;
    // What JSON:API calls `type` may be `secret`; the kind is then among the attributes.
    let own = one.text("type").and_then(|word| kind(&word));
    let inner = one.object("attributes").and_then(|attributes| kind(&attributes.text("type")?));
    Ok(Secret {
        id: id.parse().map_err(|error: super::nouns::NotAnId| error.to_string())?,
        name: thing.text(&["name"]).unwrap_or_default(),
        kind: inner.or(own),
    })
}

fn kind(word: &str) -> Option<SecretKind> {
    SecretKind::ALL.iter().copied().find(|kind| kind.as_str().eq_ignore_ascii_case(word.trim()))
}

/// One secret, with its value where that is shown.
///
/// # Errors
/// `Malformed` when there is none.
pub fn opened(answer: Object<'_>) -> Result<Opened, Refusal> {
    let one = alone(answer);
    let secret = secret(&one).map_err(Refusal::Malformed)?;
    let value = Thing::new(&one).get(&["value"]).and_then(Json::string);
    Ok(Opened { secret, value: value.map(|value| SecretString::from(value.into_owned())) })
}

/// The id of a secret that was kept.
///
/// # Errors
/// `Malformed` when there is none.
pub fn kept(answer: Object<'_>) -> Result<SecretId, Refusal> {
    let one = alone(answer);
    let id = Thing::new(&one).get(&["id"]).and_then(Json::string);
    id.and_then(|id| id.parse().ok()).ok_or_else(|| Refusal::Malformed("it names no secret".into()))
}
