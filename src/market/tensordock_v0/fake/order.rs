//! A deploy's fields, held against everything the real API is strict about.
//!
//! The limits are the vendor's dashboard's (documented, FACTS) and the refusal for an odd number of vCPUs is recorded;
//! the texts are ours. The world decides what is free and what a bid is worth; here it is only whether an order makes
//! sense at all and is of a size that the machine sells.

use super::{super::wire::RULE, form::Form};
use crate::{
    market::WorldOrder,
    model::{
        Hostnode, HourlyRate, PriceType, Shape, VmName,
        name::VM_NAME_BYTES_MAX,
        offer::{Bid, Misfit},
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// Up to 64 forwards (recorded, dstack).
const FORWARDS_MAX: usize = 64;
/// What is forwarded when nothing is asked for (documented, dashboard).
const DEFAULT_FORWARDS: [u16; 3] = [22, 3389, 8888];
/// The least of a password (documented, dashboard).
const PASSWORD_CHARS_MIN: usize = 8;
/// Sizes offered (documented, dashboard).
const VCPUS: std::ops::RangeInclusive<u32> = 2..=254;
/// GB.
const RAM_GB: std::ops::RangeInclusive<u32> = 4..=1_420;
/// GB.
const STORAGE_GB: std::ops::RangeInclusive<u32> = 20..=10_000;

/// Operating systems and the least disk each needs, in GB (documented, dashboard).
pub const IMAGES: &[(&str, u32)] = &[
    ("Ubuntu 20.04 LTS", 20),
    ("Ubuntu 22.04 LTS", 20),
    ("Ubuntu 24.04 LTS", 20),
    ("TensorML 20 TensorFlow", 40),
    ("TensorML 20 PyTorch", 40),
    ("TensorML 20 Everything", 60),
    ("TensorML 20 RAPIDS", 40),
    ("TensorML 24 TensorFlow", 40),
    ("TensorML 24 PyTorch", 40),
    ("TensorML 24 Everything", 60),
    ("Windows 10", 90),
];

fn number(form: &Form, name: &str) -> Result<u32, String> {
    form.number(name).ok_or_else(|| format!("{name} is required and must be an integer"))
}

/// The size that is asked for, within what is offered.
fn shape(form: &Form) -> Result<Shape, String> {
    let gpu_model = form.get("gpu_model").ok_or("gpu_model is required")?;
    let shape = Shape {
        gpu_model: gpu_model.trim().parse().map_err(|_| "gpu_model is not known")?,
        gpus: number(form, "gpu_count")?,
        vcpus: number(form, "vcpus")?,
        ram_gb: number(form, "ram")?,
        storage_gb: number(form, "storage")?,
    };
    sized(shape)
}

/// The size that a VM is to have instead: what is not said stays.
///
/// # Errors
/// The text of the refusal.
pub fn new_shape(form: &Form, old: &Shape) -> Result<Shape, String> {
    let or = |name: &str, old: u32| if form.get(name).is_some() { number(form, name) } else { Ok(old) };
    let gpu_model = match form.get("gpu_model") {
        Some(model) => model.trim().parse().map_err(|_| "gpu_model is not known")?,
        None => old.gpu_model.clone(),
    };
    sized(Shape {
        gpu_model,
        gpus: or("gpu_count", old.gpus)?,
        vcpus: or("vcpus", old.vcpus)?,
        ram_gb: or("ram", old.ram_gb)?,
        storage_gb: or("storage", old.storage_gb)?,
    })
}

/// Within what is offered.
fn sized(shape: Shape) -> Result<Shape, String> {
    if shape.gpus == 0 {
        return Err("gpu_count must be at least 1".into());
    }
    if !shape.vcpus.is_multiple_of(2) || !VCPUS.contains(&shape.vcpus) {
        return Err("vcpus must be an even number from 2 to 254".into());
    }
    if !shape.ram_gb.is_multiple_of(2) || !RAM_GB.contains(&shape.ram_gb) {
        return Err("ram must be an even number from 4 to 1420".into());
    }
    if !STORAGE_GB.contains(&shape.storage_gb) {
        return Err("storage must be from 20 to 10000".into());
    }
    Ok(shape)
}

fn price(form: &Form) -> Result<HourlyRate, String> {
    let price = form.get("price").ok_or("price is required")?;
    let price = HourlyRate::from_price_literal(price.trim()).map_err(|_| "price must be a number")?;
    if price.is_zero() { Err("price must be above 0".into()) } else { Ok(price) }
}

/// What is asked about in `spot/validate/new`.
///
/// # Errors
/// The text of the refusal.
pub fn bid(form: &Form) -> Result<Bid, String> {
    let hostnode = form.get("hostnode").ok_or("hostnode is required")?;
    Ok(Bid {
        hostnode: hostnode.trim().parse().map_err(|_| "Hostnode not found")?,
        shape: shape(form)?,
        price: price(form)?,
    })
}

/// The new price of `spot/validate/existing`.
///
/// # Errors
/// The text of the refusal.
pub fn new_price(form: &Form) -> Result<HourlyRate, String> {
    price(form)
}

/// What the VM is to be called.
///
/// # Errors
/// The text of the refusal.
pub fn name(form: &Form) -> Result<VmName, String> {
    let name = form.get("name").ok_or("name is required")?;
    if name.len() > VM_NAME_BYTES_MAX {
        return Err(format!("name must have at most {VM_NAME_BYTES_MAX} characters"));
    }
    Ok(name.parse().map_err(|_| "name has characters that are not allowed")?)
}

/// A whole deploy.
///
/// # Errors
/// The text of the refusal.
pub fn order(form: &Form, hostnodes: &[Hostnode]) -> Result<WorldOrder, String> {
    let name = name(form)?;
    let shape = shape(form)?;
    let image = form.get("operating_system").ok_or("operating_system is required")?;
    let (_, storage_gb_min) =
        IMAGES.iter().find(|(known, _)| *known == image).ok_or("operating_system is not supported")?;
    if shape.storage_gb < *storage_gb_min {
        return Err(format!("storage must be at least {storage_gb_min} for {image}"));
    }
    password(form)?;
    let id = form.get("hostnode").ok_or("hostnode is required")?.trim();
    let host = hostnodes.iter().find(|host| host.id.as_str() == id && host.online).ok_or("Hostnode not found")?;
    match host.price(&shape) {
        Ok((sold, _)) if sold == shape => {}
        // What is taken may still be won by paying more for it: the world's to decide.
        Err(Misfit::Gpus | Misfit::Resources) => {}
        Ok(_) | Err(Misfit::Restricted) => return Err("The hostnode does not sell this size for so many GPUs".into()),
    }
    let (price_type, bid) = match form.get("price_type") {
        None | Some("ondem") => (PriceType::OnDemand, None),
        Some("spot") => (PriceType::Spot, Some(price(form)?)),
        Some(_) => return Err("price_type must be spot or left out".into()),
    };
    Ok(WorldOrder {
        name,
        hostnode: host.id.clone(),
        ports: ports(form, host)?,
        shape,
        price_type,
        bid,
        image: image.to_owned(),
        rule: RULE,
    })
}

/// How the VM is logged into.
///
/// # Errors
/// The text of the refusal.
pub fn password(form: &Form) -> Result<(), String> {
    if form.get("ssh_key").is_some_and(|key| !key.trim().is_empty()) {
        return Ok(());
    }
    let password = form.get("password").ok_or("Either a password or an ssh_key is required")?;
    let strong = password.chars().any(|letter| !letter.is_ascii_lowercase());
    if password.chars().count() < PASSWORD_CHARS_MIN || !strong {
        return Err("password must have 8 characters, and an upper-case letter, digit or symbol".into());
    }
    Ok(())
}

/// What is forwarded when nothing is asked for.
pub fn default_ports(host: &Hostnode) -> BTreeMap<u16, u16> {
    host.ports.free().iter().copied().zip(DEFAULT_FORWARDS).collect()
}

/// The forwards asked for as two lists or one by one (S2); the vendor's own choice where there are none.
fn ports(form: &Form, host: &Hostnode) -> Result<BTreeMap<u16, u16>, String> {
    const WRONG: &str = "external_ports and internal_ports must be lists of ports";
    let mut outside = form.ports("external_ports").ok_or(WRONG)?;
    let mut inside = form.ports("internal_ports").ok_or(WRONG)?;
    for (suffix, port) in form.starting_with("external_port_") {
        let inner = form.get(&format!("internal_port_{suffix}")).unwrap_or(suffix);
        outside.push(port.trim().parse().map_err(|_| WRONG)?);
        inside.push(inner.trim().parse().map_err(|_| WRONG)?);
    }
    if outside.len() != inside.len() {
        return Err("external_ports and internal_ports must have the same length".into());
    }
    if outside.len() > FORWARDS_MAX {
        return Err(format!("at most {FORWARDS_MAX} ports can be forwarded"));
    }
    if outside.is_empty() {
        return Ok(default_ports(host));
    }
    let distinct: BTreeSet<u16> = outside.iter().copied().collect();
    if distinct.len() != outside.len() {
        return Err("external_ports has a port twice".into());
    }
    if let Some(taken) = distinct.iter().find(|port| !host.ports.free().contains(port)) {
        return Err(format!("Port {taken} is not available on this hostnode"));
    }
    Ok(outside.into_iter().zip(inside).collect())
}
