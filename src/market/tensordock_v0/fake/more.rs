//! The calls that no fleet needs, from the other side: another size, instant VMs, a month's account.
//!
//! Instant VMs are not machines of their own here: one waits on each hostnode that has a GPU free, in one fixed size, and
//! taking it is a deploy on demand. The account is a customer's: it earns nothing, and its bills are what the world's
//! wallet paid.

use super::{
    Reply,
    form::Form,
    order::{self, IMAGES},
    refused, views, vm,
};
use crate::{
    market::{Backend, WorldBill, WorldMonth, WorldOrder, tensordock_v0::nouns::Month},
    model::{
        Hostnode, InstanceStatus, PriceType, Shape, Usd,
        offer::{Location, Rates, Resources, Supply},
    },
};
use serde_json::{Map, Value, json};

/// Of each instant VM. Source: ours; the documents' examples are of H100s, whole machines of them.
const INSTANT_VCPUS: u32 = 8;
/// GB.
const INSTANT_RAM_GB: u32 = 32;
/// GB.
const INSTANT_STORAGE_GB: u32 = 100;
/// The first operating system that needs no more disk.
const INSTANT_IMAGE: &str = IMAGES[1].0;

/// Another size: what is not said stays. All VMs here count as "network storage".
pub fn modify(backend: &mut dyn Backend, form: &Form) -> Result<Reply, Reply> {
    let vm = vm(backend, form)?;
    match vm.instance.status {
        InstanceStatus::StoppedKept | InstanceStatus::StoppedReleased => {}
        InstanceStatus::Starting
        | InstanceStatus::Running
        | InstanceStatus::Outbid
        | InstanceStatus::Leaving
        | InstanceStatus::Unknown(_) => return Err(super::wrong_state(&vm, "modified")),
    }
    let shape = order::new_shape(form, &vm.shape).map_err(|error| Reply::refused(400, error))?;
    backend.modify(&vm.instance.id, shape).map_err(|refusal| refused("modified", refusal))?;
    Ok(Reply::ok(json!({"server": vm.instance.id.as_str(), "success": true})))
}

/// What waits on a machine, if anything does.
struct Instant<'a> {
    host: &'a Hostnode,
    resources: &'a Resources,
    shape: Shape,
    rates: Rates,
}

impl<'a> Instant<'a> {
    fn on(host: &'a Hostnode) -> Option<Self> {
        let Supply::Resources(resources) = &host.supply else { return None };
        let (model, _) = resources.gpus.iter().find(|(_, stock)| stock.free > 0)?;
        let shape = Shape {
            gpu_model: model.clone(),
            gpus: 1,
            vcpus: INSTANT_VCPUS,
            ram_gb: INSTANT_RAM_GB,
            storage_gb: INSTANT_STORAGE_GB,
        };
        let (sold, rates) = host.price(&shape).ok()?;
        (host.online && sold == shape).then_some(Self { host, resources, shape, rates })
    }

    fn id(&self) -> String {
        views::uuid_of(&format!("instant/{}", self.host.id))
    }

    fn size_id(&self) -> String {
        views::uuid_of(&format!("instant-size/{}", self.shape.gpu_model))
    }

    fn size(&self) -> Value {
        let Shape { gpu_model, gpus, vcpus, ram_gb, storage_gb } = &self.shape;
        json!({
            "cpu_count": vcpus, "gpu_count": [gpus], "gpu_model": [gpu_model.as_str()],
            "operating_system": INSTANT_IMAGE, "ram": ram_gb, "storage": storage_gb, "uuid": self.size_id(),
        })
    }

    fn view(&self) -> Value {
        let Shape { gpu_model, gpus, vcpus, ram_gb, storage_gb } = &self.shape;
        let Location { country, region, city } = &self.host.location;
        let Rates { compute, storage } = self.rates;
        let gpu_price = self.resources.gpus.get(gpu_model).map(|stock| stock.price.times(*gpus)).unwrap_or_default();
        json!({
            "city": city, "country": country, "cpu_count": vcpus, "cpu_model": "AMD EPYC 7543",
            "dc_name": null, "dc_tier": 0, "gpu_count": [gpus], "gpu_model": [gpu_model.as_str()],
            "hostnode": self.host.id.as_str(), "location": views::location_id(&self.host.location),
            "preconfig_id": self.size_id(),
            "price": {
                "compute_price": views::string(compute),
                "gpu_price": views::string(gpu_price),
                "price": views::string(self.rates.total()),
                "ram_price": views::string(self.resources.ram_gb.price.times(*ram_gb)),
                "storage_price": views::string(storage),
                "vcpus_price": views::string(self.resources.vcpus.price.times(*vcpus)),
            },
            "ram": ram_gb, "stateprovince": region, "storage": storage_gb,
            "uptime": self.host.uptime_ppm.map(|ppm| format!("{:.4}", f64::from(ppm) / 1e6)),
            "uuid": self.id(),
        })
    }
}

/// All that wait, and their sizes.
pub fn instant_vms(backend: &mut dyn Backend) -> Reply {
    let hosts = backend.hostnodes();
    let waiting: Vec<Instant<'_>> = hosts.iter().filter_map(Instant::on).collect();
    let sizes: std::collections::BTreeMap<String, Value> =
        waiting.iter().map(|instant| (instant.size_id(), instant.size())).collect();
    let vms: Map<String, Value> = waiting.iter().map(|instant| (instant.id(), instant.view())).collect();
    let sizes: Vec<Value> = sizes.into_values().collect();
    Reply::ok(json!({"preconfig_options": sizes, "success": true, "virtual_machines": vms}))
}

/// Takes one that waits.
pub fn deploy_instant(backend: &mut dyn Backend, form: &Form) -> Result<Reply, Reply> {
    let wrong = |error: String| Reply::refused(400, error);
    let id = form.get("instance_uuid").or_else(|| form.get("instant_vm"));
    let id = id.ok_or_else(|| wrong("instance_uuid is required".into()))?.trim();
    let name = order::name(form).map_err(wrong)?;
    order::password(form).map_err(wrong)?;
    let hosts = backend.hostnodes();
    let found = hosts.iter().filter_map(Instant::on).find(|instant| instant.id() == id);
    let Instant { host, shape, .. } =
        found.ok_or_else(|| Reply::refused(200, "This Instant VM is no longer available"))?;
    let order = WorldOrder {
        name,
        hostnode: host.id.clone(),
        shape,
        price_type: PriceType::OnDemand,
        bid: None,
        image: INSTANT_IMAGE.to_owned(),
        ports: order::default_ports(host),
        rule: super::super::wire::RULE,
    };
    let vm = backend.deploy(order).map_err(|refusal| refused("deployed", refusal))?;
    Ok(Reply::ok(json!({"success": true, "vm": vm.instance.id.as_str()})))
}

fn amount(amount: Usd) -> Value {
    json!(amount.to_f64())
}

/// One VM's line about its compute or its disk, as the documents' lines of payouts are.
fn line(bill: &WorldBill, paid: Usd, from: Month, to: Month, own: [(&str, Value); 2]) -> Value {
    let mut line = json!({
        "billing_period_end": format!("{:02}/01", to.month()),
        "billing_period_start": format!("{:02}/01", from.month()),
        "hostnode_id": bill.hostnode.as_str(),
        "total_amount": amount(paid),
        "virtual_machine_id": bill.vm.as_str(),
    });
    for (key, value) in own {
        line[key] = value;
    }
    line
}

/// `1x L40 48 GB`, as far as our names tell.
fn gpu_details(shape: &Shape) -> String {
    format!("{}x {}", shape.gpus, shape.gpu_model)
}

/// A month's account: sums are strings, lines are numbers (documented, S1).
pub fn summary(backend: &mut dyn Backend, form: &Form) -> Result<Reply, Reply> {
    let wrong = || Reply::refused(400, "period must be a month as YYYY-MM");
    let from: Month = form.get("period").and_then(|period| period.trim().parse().ok()).ok_or_else(wrong)?;
    let to = match from.month() {
        12 => Month::new(from.year() + 1, 1),
        month => Month::new(from.year(), month + 1),
    };
    let to = to.ok_or_else(wrong)?;
    let year = i16::try_from(from.year()).map_err(|_| wrong())?;
    let month = i8::try_from(from.month()).map_err(|_| wrong())?;
    let WorldMonth { opening, closing, deposited, bills } = backend.month(year, month);
    let vm_expenses: Vec<Value> = bills
        .iter()
        .filter(|bill| bill.compute > Usd::ZERO)
        .map(|bill| {
            let own =
                [("gpu_details", json!(gpu_details(&bill.shape))), ("rate_hourly", views::number(bill.rates.compute))];
            line(bill, bill.compute, from, to, own)
        })
        .collect();
    let storage_expenses: Vec<Value> = bills
        .iter()
        .filter(|bill| bill.storage > Usd::ZERO)
        .map(|bill| {
            let own =
                [("storage_amount", json!(bill.shape.storage_gb)), ("rate_hourly", views::number(bill.rates.storage))];
            line(bill, bill.storage, from, to, own)
        })
        .collect();
    let deposits: Vec<Value> =
        if deposited > Usd::ZERO { vec![json!({"total_amount": amount(deposited)})] } else { Vec::new() };
    let expenses = opening.plus(deposited).minus(closing);
    Ok(Reply::ok(json!({
        "bill_period": {
            "endM": format!("{:02}", to.month()), "endY": format!("{:04}", to.year()),
            "startM": format!("{:02}", from.month()), "startY": format!("{:04}", from.year()),
        },
        "changes": {"expenses": expenses.to_string(), "payouts": "0.00"},
        "final_balance": closing.to_string(),
        "organization_billing_address": null,
        "organization_tax_id": null,
        "previous_balance": opening.to_string(),
        "transactions": {
            "deposits": deposits, "storage_expenses": storage_expenses, "storage_payouts": [],
            "vm_expenses": vm_expenses, "vm_payouts": [], "withdrawals": [],
        },
    })))
}
