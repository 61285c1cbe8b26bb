//! What must hold of whatever a reader lets in: no absurd price or count, no text without an end, nothing that would break
//! a terminal or a log.
//!
//! A [`Sane`] noun tells its own faults, as text; a good one has none.

use spotscale::market::Deployed;
use spotscale::model::{
    Balance, Hostnode, HourlyRate, Instance, InstanceId, InstanceStatus, Lookup, Refusal, Scan, Usd,
    inventory::{DROPPED_MAX, Dropped},
    offer::{BidAnswer, Location, Ports, Rates, SpotTerms, Supply},
};

/// "No amount above this is believed, from anyone" (`model::money`): 10^9 USD, or that per hour.
pub const AMOUNT_MICROS_MAX: u64 = 1_000_000_000_000_000;
/// No machine or VM has more GPUs.
pub const GPUS_MAX: u32 = 4_096;
/// No machine has more vCPUs, or GB of memory or disk.
pub const SIZE_MAX: u32 = 100_000_000;
/// No text of a vendor's that we keep is longer, in bytes.
pub const TEXT_BYTES_MAX: usize = 1_000;
/// Nothing has more ports than there are.
const PORTS_MAX: usize = 65_536;

/// Something whose faults can be told.
pub trait Sane {
    /// All of them.
    fn faults(&self) -> Vec<String>;
    /// The new VM that it tells of.
    fn made(&self) -> Option<InstanceId> {
        None
    }
    /// What it says of items that could not be read.
    fn dropped(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A text's faults.
pub fn text(what: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > TEXT_BYTES_MAX {
        faults.push(format!("{what} has {} bytes", text.len()));
    }
    if let Some(letter) = text.chars().find(|letter| letter.is_control()) {
        faults.push(format!("{what} has a {letter:?} in it"));
    }
    faults
}

/// A price's faults.
pub fn price(what: &str, price: HourlyRate) -> Vec<String> {
    let absurd = price.micros() > AMOUNT_MICROS_MAX;
    if absurd { vec![format!("{what} is {price} USD/h")] } else { Vec::new() }
}

/// An amount's faults; a balance may be negative.
pub fn amount(what: &str, amount: Usd) -> Vec<String> {
    let absurd = amount.micros().unsigned_abs() > AMOUNT_MICROS_MAX;
    if absurd { vec![format!("{what} is {amount} USD")] } else { Vec::new() }
}

/// A count's faults.
pub fn count(what: &str, count: u32, max: u32) -> Vec<String> {
    if count > max { vec![format!("{what} is {count}")] } else { Vec::new() }
}

fn rates(what: &str, rates: Rates) -> Vec<String> {
    [price(&format!("{what}: compute"), rates.compute), price(&format!("{what}: storage"), rates.storage)].concat()
}

impl Sane for () {
    fn faults(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Sane for BidAnswer {
    fn faults(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Sane for Balance {
    fn faults(&self) -> Vec<String> {
        let Self { amount: held, hourly_cost } = self;
        [amount("balance", *held), price("hourly cost", hourly_cost.unwrap_or_default())].concat()
    }
}

impl Sane for Deployed {
    fn made(&self) -> Option<InstanceId> {
        Some(self.id.clone())
    }

    fn faults(&self) -> Vec<String> {
        let Self { id, quoted, address, ports } = self;
        let mut faults = text("id", id.as_str());
        faults.extend(text("address", address.as_deref().unwrap_or_default()));
        faults.extend(rates("quoted", quoted.unwrap_or_default()));
        faults.extend(count("ports", u32::try_from(ports.len()).unwrap_or(u32::MAX), 65_536));
        faults
    }
}

impl Sane for Location {
    fn faults(&self) -> Vec<String> {
        let Self { country, region, city } = self;
        [text("country", country), text("region", region), text("city", city)].concat()
    }
}

impl Sane for Hostnode {
    fn faults(&self) -> Vec<String> {
        let Self { id, location, uptime_ppm, online: _, supply, spot, ports, available_until: _ } = self;
        let mut faults = text("id", id.as_str());
        faults.extend(location.faults());
        faults.extend(count("uptime", uptime_ppm.unwrap_or(0), 1_000_000));
        match supply {
            Supply::Resources(resources) => {
                for (model, stock) in &resources.gpus {
                    faults.extend(text("model", model.as_str()));
                    faults.extend(count("free GPUs", stock.free, GPUS_MAX));
                    faults.extend(price("a GPU's price", stock.price));
                }
                for (what, stock) in
                    [("vCPU", resources.vcpus), ("RAM", resources.ram_gb), ("disk", resources.storage_gb)]
                {
                    faults.extend(count(what, stock.free, SIZE_MAX));
                    faults.extend(price(what, stock.price));
                }
            }
            Supply::Lots(lots) => {
                for lot in lots {
                    faults.extend(text("lot", &lot.id));
                    faults.extend(text("model", lot.shape.gpu_model.as_str()));
                    faults.extend(count("GPUs", lot.shape.gpus, GPUS_MAX));
                    for size in [lot.shape.vcpus, lot.shape.ram_gb, lot.shape.storage_gb] {
                        faults.extend(count("size", size, SIZE_MAX));
                    }
                    faults.extend(rates("lot", lot.rates));
                }
            }
        }
        match spot {
            SpotTerms::None | SpotTerms::Asked => {}
            SpotTerms::ListedPerGpu(floor) => faults.extend(price("floor", *floor)),
        }
        match ports {
            Ports::Free(ports) if ports.len() > PORTS_MAX => faults.push(format!("{} ports", ports.len())),
            Ports::Free(_) | Ports::Unlisted | Ports::GivenForSsh => {}
        }
        faults
    }
}

impl Sane for Instance {
    fn faults(&self) -> Vec<String> {
        let Self {
            id,
            name,
            status,
            hostnode,
            gpu_model,
            gpus,
            price_type: _,
            quoted,
            address,
            ports,
            created_at: _,
            available_until: _,
        } = self;
        let mut faults = text("id", id.as_str());
        faults.extend(text("name", name.as_str()));
        if let InstanceStatus::Unknown(word) = status {
            faults.extend(text("status", word));
        }
        faults.extend(hostnode.iter().flat_map(|id| text("hostnode", id.as_str())));
        faults.extend(gpu_model.iter().flat_map(|model| text("model", model.as_str())));
        faults.extend(count("GPUs", *gpus, GPUS_MAX));
        faults.extend(rates("quoted", quoted.unwrap_or_default()));
        faults.extend(text("address", address.as_deref().unwrap_or_default()));
        if ports.len() > PORTS_MAX {
            faults.push(format!("{} ports", ports.len()));
        }
        faults
    }
}

impl<T: Sane> Sane for Lookup<T> {
    fn faults(&self) -> Vec<String> {
        match self {
            Self::Here(found) => found.faults(),
            Self::Gone => Vec::new(),
        }
    }
}

impl<T: Sane> Sane for Scan<T> {
    fn dropped(&self) -> Vec<String> {
        let Self { items, dropped } = self;
        let own = dropped.iter().map(|Dropped { what, why }| format!("{what}: {why}"));
        own.chain(items.iter().flat_map(Sane::dropped)).collect()
    }

    fn faults(&self) -> Vec<String> {
        let Self { items, dropped } = self;
        let mut faults: Vec<String> = items.iter().flat_map(Sane::faults).collect();
        if dropped.len() > DROPPED_MAX {
            faults.push(format!("{} things are dropped by name", dropped.len()));
        }
        for Dropped { what, why } in dropped {
            faults.extend(text("what was dropped", what));
            faults.extend(text("why it was dropped", why));
            if why.is_empty() {
                faults.push(format!("`{what}` was dropped for nothing"));
            }
        }
        faults
    }
}

impl Sane for Refusal {
    fn faults(&self) -> Vec<String> {
        text("the refusal", &self.to_string())
    }
}

impl<T: Sane> Sane for Result<T, Refusal> {
    fn faults(&self) -> Vec<String> {
        match self {
            Ok(value) => value.faults(),
            Err(refusal) => refusal.faults(),
        }
    }
}

#[test]
fn the_bound_is_the_one_at_which_money_is_no_longer_believed() {
    let most = HourlyRate::from_price_literal("1000000000").unwrap();
    assert_eq!((most.micros(), price("it", most)), (AMOUNT_MICROS_MAX, Vec::new()));
    assert!(HourlyRate::from_price_literal("1000000000.000001").is_err());
    assert_eq!(price("it", most.plus(HourlyRate::from_micros(1))).len(), 1);
    assert_eq!(text("it", "a\u{1b}[31m").len(), 1);
    assert_eq!(Refusal::Malformed("a\nb".into()).faults().len(), 1);
}
