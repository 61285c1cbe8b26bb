//! The machines of a lifelike market.
//!
//! What is recorded of the real one says its size: tens of hostnodes and about 60 to 150 free GPUs of some 15 models,
//! not thousands. Each line below says where it comes from ([`Source`]); what is *assumed* fills the gaps that the
//! policies of the documents need (H100 and A100 hosts), or shows what the documents say exists: hosts with nothing
//! free, hosts without a free port, hosts with limits of their own. The catalogue is the same for every seed, so that
//! a hostnode written into a policy's `deny` stays that hostnode.

mod trace;
mod vectordash;

use super::seed::Seed;
use crate::{
    model::{
        GpuModel, HostnodeId, HourlyRate,
        offer::{Bounds, Location, Restriction},
    },
    settings::Vendor,
};
use std::{collections::BTreeMap, time::Duration};

/// Micros per vCPU and hour. Source: every recorded v0 hostnode.
const VCPU_MICROS: u64 = 3_000;
/// Micros per GB of memory and hour. Source: every recorded v0 hostnode.
const RAM_MICROS: u64 = 2_000;
/// Micros per GB of disk and hour. Source: every recorded v0 hostnode.
const STORAGE_MICROS: u64 = 50;
/// The minimum bid as a share of the on-demand price: "typically around 50 %" (vendor documentation).
const FLOOR_PPM: u32 = 500_000;
/// How far the minimum bid may wander from there, either way (assumed).
const FLOOR_SWING_PPM: u32 = 150_000;
/// How far a listed GPU price may wander from where it began, either way (assumed).
const PRICE_SWING_PPM: u32 = 100_000;
/// Outside ports a hostnode has in all; the recorded ones list 16 to 20 free.
const PORTS: u16 = 48;

/// Where a machine of the catalogue comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The free GPUs that a client listed in January 2026, spread over hostnodes (recorded; the spread is assumed).
    List2026,
    /// One hostnode as some client or document shows it (recorded).
    Recorded,
    /// Assumed.
    Assumed,
}

/// A machine as it stands on the first day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Where it is known from.
    pub source: Source,
    /// Its id.
    pub id: HostnodeId,
    /// Where it stands.
    pub location: Location,
    /// Where its VMs can be reached.
    pub address: String,
    /// By model: how many in all, how many of them are taken at the opening, price per GPU and hour.
    pub gpus: BTreeMap<GpuModel, (u32, u32, HourlyRate)>,
    /// vCPUs in all, and price.
    pub vcpus: (u32, HourlyRate),
    /// GB of memory in all, and price.
    pub ram_gb: (u32, HourlyRate),
    /// GB of disk in all, and price.
    pub storage_gb: (u32, HourlyRate),
    /// Share of the time it is up.
    pub uptime_ppm: u32,
    /// Outside ports.
    pub ports: Vec<u16>,
    /// What it demands of a VM, by number of GPUs.
    pub restrictions: BTreeMap<u32, Restriction>,
    /// The minimum bid as a share of the on-demand price, around which it wanders.
    pub floor_ppm: u32,
    /// How far it wanders.
    pub floor_swing_ppm: u32,
    /// How far the list price wanders.
    pub price_swing_ppm: u32,
    /// How long it can be had, from the opening on, before its owner takes it back for a while; `None`: for good.
    pub available_for: Option<Duration>,
}

impl Machine {
    /// Whether it has GPUs of a model.
    pub fn has(&self, model: &str) -> bool {
        self.gpus.keys().any(|own| own.as_str() == model)
    }

    /// The same with so many outside ports at most.
    #[must_use]
    pub fn with_ports(mut self, most: usize) -> Self {
        self.ports.truncate(most);
        self
    }
}

/// One line of the table: model, GPUs in all, taken, price in micros; vCPUs, GB of memory, GB of disk; uptime; place.
type Line = (&'static str, u32, u32, u64, u32, u32, u32, u32, Place);
type Place = (&'static str, &'static str, &'static str);

const DALLAS: Place = ("Dallas", "Texas", "United States");
const AUSTIN: Place = ("Austin", "Texas", "United States");
const CHUBBUCK: Place = ("Chubbuck", "Idaho", "United States");
const CHICAGO: Place = ("Chicago", "Illinois", "United States");
const ORLANDO: Place = ("Orlando", "Florida", "United States");
const BOSTON: Place = ("Boston", "Massachusetts", "United States");
const WINNIPEG: Place = ("Winnipeg", "Manitoba", "Canada");
const MONTREAL: Place = ("Montreal", "Quebec", "Canada");
const KRAKOW: Place = ("Kraków", "Małopolska", "Poland");
const WARSAW: Place = ("Warsaw", "Mazovia", "Poland");
const FRANKFURT: Place = ("Frankfurt", "Hesse", "Germany");
const OSLO: Place = ("Oslo", "Oslo", "Norway");
const MUMBAI: Place = ("Mumbai", "Maharashtra", "India");

/// Free here: 61 GPUs of 14 models, at the recorded prices.
const LIST_2026: [Line; 23] = [
    ("v100-sxm3-32gb", 16, 1, 290_000, 96, 1_400, 20_000, 998_700, DALLAS),
    ("v100-sxm2-16gb", 8, 0, 190_000, 80, 500, 8_000, 997_100, KRAKOW),
    ("rtx6000ada-pcie-48gb", 4, 0, 700_000, 64, 500, 8_000, 999_400, FRANKFURT),
    ("rtx6000ada-pcie-48gb", 4, 2, 700_000, 64, 500, 8_000, 996_000, ORLANDO),
    ("rtxa6000-pcie-48gb", 4, 0, 390_000, 64, 256, 6_000, 999_100, BOSTON),
    ("rtxa6000-pcie-48gb", 4, 2, 390_000, 56, 250, 4_000, 995_500, MUMBAI),
    ("geforcertx4090-pcie-24gb", 2, 0, 330_000, 32, 120, 2_000, 993_000, AUSTIN),
    ("geforcertx4090-pcie-24gb", 2, 0, 330_000, 28, 124, 3_000, 998_200, WARSAW),
    ("geforcertx4090-pcie-24gb", 1, 0, 330_000, 16, 60, 1_000, 989_000, ORLANDO),
    ("geforcertx4090-pcie-24gb", 1, 0, 330_000, 14, 58, 900, 996_500, MONTREAL),
    ("geforcertx5090-pcie-32gb", 2, 0, 520_000, 32, 180, 3_500, 994_700, AUSTIN),
    ("geforcertx5090-pcie-32gb", 2, 0, 520_000, 30, 120, 2_000, 998_800, OSLO),
    ("rtxa4000-pcie-16gb", 4, 1, 220_000, 40, 240, 4_000, 997_700, BOSTON),
    ("rtxa4000-pcie-16gb", 1, 0, 220_000, 12, 60, 1_000, 985_000, MUMBAI),
    ("geforcertx3090-pcie-24gb", 2, 0, 200_000, 28, 120, 2_000, 995_000, WARSAW),
    ("geforcertx3090-pcie-24gb", 1, 0, 200_000, 16, 60, 1_000, 979_000, AUSTIN),
    ("geforcertx3090-pcie-24gb", 1, 0, 200_000, 12, 44, 700, 991_000, KRAKOW),
    ("a100-pcie-80gb", 4, 2, 750_000, 96, 480, 9_000, 999_600, CHICAGO),
    ("l40s-pcie-48gb", 2, 0, 650_000, 60, 240, 4_000, 998_900, OSLO),
    ("a100-sxm4-80gb", 8, 7, 850_000, 240, 1_900, 24_000, 999_800, FRANKFURT),
    ("a40-pcie-48gb", 2, 1, 400_000, 30, 120, 3_000, 996_200, DALLAS),
    ("rtx5000ada-pcie-32gb", 1, 0, 550_000, 16, 90, 1_500, 994_000, MONTREAL),
    ("rtxa5000-pcie-24gb", 1, 0, 210_000, 16, 60, 1_000, 992_400, CHICAGO),
];

const ASSUMED: [Line; 14] = [
    ("h100-sxm5-80gb", 8, 0, 2_250_000, 208, 1_800, 26_000, 999_900, FRANKFURT),
    ("h100-sxm5-80gb", 8, 4, 2_190_000, 192, 1_600, 20_000, 999_500, DALLAS),
    ("a100-sxm4-80gb", 8, 2, 1_050_000, 240, 1_900, 24_000, 999_700, MONTREAL),
    ("a100-pcie-80gb", 4, 0, 920_000, 96, 480, 9_000, 998_300, WARSAW),
    ("a100-pcie-40gb", 4, 0, 640_000, 64, 360, 6_000, 997_900, CHICAGO),
    ("geforcertx4090-pcie-24gb", 8, 2, 380_000, 120, 500, 9_000, 999_300, OSLO),
    ("geforcertx4090-pcie-24gb", 4, 0, 360_000, 60, 250, 5_000, 998_600, WINNIPEG),
    ("geforcertx3090-pcie-24gb", 6, 2, 230_000, 60, 250, 5_000, 996_800, KRAKOW),
    // Hosts with nothing free are listed too.
    ("geforcertx4090-pcie-24gb", 2, 2, 340_000, 24, 100, 2_000, 997_000, BOSTON),
    ("rtxa5000-pcie-24gb", 4, 4, 260_000, 32, 120, 3_000, 999_000, WINNIPEG),
    ("l40s-pcie-48gb", 4, 4, 680_000, 96, 480, 8_000, 999_400, CHICAGO),
    // These two have no free port, see `machines`.
    ("geforcertx3070-pcie-8gb", 2, 0, 90_000, 16, 60, 800, 990_000, ORLANDO),
    ("rtx4000ada-pcie-20gb", 2, 0, 240_000, 24, 120, 2_000, 995_900, MUMBAI),
    ("rtxa4000-pcie-16gb", 8, 2, 190_000, 80, 500, 8_000, 998_100, DALLAS),
];

/// Models whose hostnode of the table has no free outside port.
const PORTLESS: [&str; 2] = ["geforcertx3070-pcie-8gb", "rtx4000ada-pcie-20gb"];
/// Data-centre models: their hosts have limits of their own.
const RESTRICTED: [&str; 3] = ["h100-sxm5-80gb", "a100-sxm4-80gb", "v100-sxm3-32gb"];

fn model(name: &str) -> GpuModel {
    name.parse().expect("the catalogue's models are well-formed, which a test says")
}

fn id(text: &str) -> HostnodeId {
    text.parse().expect("the catalogue's ids are well-formed, which a test says")
}

/// The catalogue's own seed: its ids do not depend on the world's.
const IDS: Seed = Seed(0);

/// Limits as the vendor's dashboard shows them: by number of GPUs, a share of the whole machine for each.
fn restrictions(gpus: u32, vcpus: u32, ram_gb: u32, storage_gb: u32) -> BTreeMap<u32, Restriction> {
    let share = |all: u32, count: u32| all / gpus.max(1) * count;
    (1..=gpus)
        .map(|count| {
            let limits = Restriction {
                vcpus: Bounds { min: 2 * count, max: share(vcpus, count) },
                ram_gb: Bounds { min: 4 * count, max: share(ram_gb, count) },
                storage_gb: Bounds { min: 20, max: share(storage_gb, count) },
            };
            (count, limits)
        })
        .collect()
}

fn machine(source: Source, number: usize, line: &Line) -> Machine {
    let (name, gpus, taken, micros, vcpus, ram_gb, storage_gb, uptime_ppm, (city, region, country)) = *line;
    // Documentation addresses (RFC 5737): nobody is ever reached by mistake.
    let address = format!("198.51.100.{}", number % 250 + 1);
    let first = 20_000 + u16::try_from(number % 200).unwrap_or(0) * 100;
    let ports = if PORTLESS.contains(&name) { Vec::new() } else { (first..first + PORTS).collect() };
    let limited = RESTRICTED.contains(&name);
    Machine {
        source,
        id: id(&IDS.uuid(&format!("hostnode/{number}"))),
        location: Location { country: country.to_owned(), region: region.to_owned(), city: city.to_owned() },
        address,
        gpus: BTreeMap::from([(model(name), (gpus, taken, HourlyRate::from_micros(micros)))]),
        vcpus: (vcpus, HourlyRate::from_micros(VCPU_MICROS)),
        ram_gb: (ram_gb, HourlyRate::from_micros(RAM_MICROS)),
        storage_gb: (storage_gb, HourlyRate::from_micros(STORAGE_MICROS)),
        uptime_ppm,
        ports,
        restrictions: if limited { restrictions(gpus, vcpus, ram_gb, storage_gb) } else { BTreeMap::new() },
        floor_ppm: FLOOR_PPM,
        floor_swing_ppm: FLOOR_SWING_PPM,
        price_swing_ppm: PRICE_SWING_PPM,
        available_for: None,
    }
}

/// The hostnodes that the documents show one by one.
fn recorded() -> Vec<Machine> {
    let lines: [(&str, Line); 5] = [
        // The vendor's own collection of v0.
        (
            "02c65d45-6da5-4232-a8db-ee0e5bc76110",
            ("geforcertx3080-pcie-10gb", 1, 0, 150_000, 26, 100, 580, 999_900, WINNIPEG),
        ),
        (
            "e817be06-f7b7-4a14-8bb8-fe04569b25f8",
            ("geforcertx4090-pcie-24gb", 1, 0, 400_000, 12, 41, 500, 999_800, WINNIPEG),
        ),
        // The one data point of spot: 2 GPUs, 8 vCPUs, 8 GB, 200 GB of disk fail at 0.20 and pass at 0.25.
        ("8db2ec46-c094-4262-bc7e-6c76617f4237", ("v100-pcie-16gb", 8, 0, 190_000, 64, 250, 4_000, 998_000, CHICAGO)),
        // One location as a client logged it.
        ("", ("geforcertx4090-pcie-24gb", 4, 0, 396_600, 56, 331, 30_200, 999_200, CHUBBUCK)),
        // The test fixture of gpuhunt; its place is assumed.
        ("", ("l40-pcie-48gb", 8, 0, 1_050_000, 256, 1_495, 10_252, 999_900, DALLAS)),
    ];
    let mut machines = Vec::new();
    for (number, (known, line)) in lines.iter().enumerate() {
        let mut made = machine(Source::Recorded, 100 + number, line);
        if !known.is_empty() {
            made.id = id(known);
        }
        made.price_swing_ppm = 0;
        machines.push(made);
    }
    if let Some(spot) = machines.get_mut(2) {
        // 0.5 of 0.42 USD/h is 0.21; so narrow that both answers stay what was recorded, whatever the hour.
        spot.floor_swing_ppm = 20_000;
    }
    machines
}

/// Every machine of a vendor.
pub fn machines_of(vendor: Vendor) -> Vec<Machine> {
    match vendor {
        Vendor::Tensordock => machines(),
        Vendor::Vectordash => vectordash::machines(),
        Vendor::Trace => trace::machines(),
    }
}

/// Every machine of TensorDock, in an order whose beginning is as mixed as the whole.
pub fn machines() -> Vec<Machine> {
    let mut all = recorded();
    all.extend(LIST_2026.iter().enumerate().map(|(number, line)| machine(Source::List2026, number, line)));
    all.extend(ASSUMED.iter().enumerate().map(|(number, line)| machine(Source::Assumed, 50 + number, line)));
    // A stride that shares no factor with the length visits each once.
    let length = all.len();
    (0..length).filter_map(|step| all.get(step * 11 % length).cloned()).collect()
}

/// So many machines: the catalogue's first ones, and beyond its end more of the same with other ids and slightly
/// other prices.
pub fn of_size(count: usize) -> Vec<Machine> {
    let catalogue = machines();
    let mut made: Vec<Machine> = catalogue.iter().take(count).cloned().collect();
    while made.len() < count {
        let number = made.len();
        let Some(template) = catalogue.get(number % catalogue.len()) else { break };
        let mut dice = IDS.dice(&format!("more/{number}"));
        let mut copy = template.clone();
        copy.source = Source::Assumed;
        copy.id = id(&IDS.uuid(&format!("more/{number}")));
        for (_, _, price) in copy.gpus.values_mut() {
            *price = price.share_ppm(dice.between(900_000, 1_150_000)).rounded(1_000);
        }
        made.push(copy);
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::catalogue;
    use std::collections::BTreeSet;

    #[test]
    fn the_recorded_list_is_there_to_the_last_gpu() {
        let mut free: BTreeMap<String, (u32, HourlyRate)> = BTreeMap::new();
        for machine in machines().iter().filter(|machine| machine.source == Source::List2026) {
            for (model, (total, taken, price)) in &machine.gpus {
                let entry = free.entry(model.to_string()).or_insert((0, *price));
                entry.0 += total - taken;
                assert_eq!(entry.1, *price, "{model}");
            }
        }
        let shown: Vec<String> =
            free.iter().map(|(model, (count, price))| format!("{model} {count} {price}")).collect();
        assert_eq!(
            shown,
            [
                "a100-pcie-80gb 2 0.75",
                "a100-sxm4-80gb 1 0.85",
                "a40-pcie-48gb 1 0.40",
                "geforcertx3090-pcie-24gb 4 0.20",
                "geforcertx4090-pcie-24gb 6 0.33",
                "geforcertx5090-pcie-32gb 4 0.52",
                "l40s-pcie-48gb 2 0.65",
                "rtx5000ada-pcie-32gb 1 0.55",
                "rtx6000ada-pcie-48gb 6 0.70",
                "rtxa4000-pcie-16gb 4 0.22",
                "rtxa5000-pcie-24gb 1 0.21",
                "rtxa6000-pcie-48gb 6 0.39",
                "v100-sxm2-16gb 8 0.19",
                "v100-sxm3-32gb 15 0.29",
            ]
        );
        assert_eq!(free.values().map(|(count, _)| count).sum::<u32>(), 61);
    }

    #[test]
    fn every_model_of_the_market_is_one_that_is_known() {
        for name in machines().iter().flat_map(|machine| machine.gpus.keys()) {
            assert!(catalogue::ENTRIES.iter().any(|entry| entry.name == name.as_str()), "{name}");
        }
    }

    #[test]
    fn the_market_is_of_the_recorded_size() {
        let machines = machines();
        let free: u32 = machines.iter().flat_map(|m| m.gpus.values()).map(|(total, taken, _)| total - taken).sum();
        assert!((60..=150).contains(&free), "{free}");
        assert!((30..=60).contains(&machines.len()));
        let ids: BTreeSet<_> = machines.iter().map(|machine| machine.id.clone()).collect();
        assert_eq!(ids.len(), machines.len());
        assert!(machines.iter().any(|machine| machine.gpus.values().all(|(total, taken, _)| total == taken)));
        assert!(machines.iter().any(|machine| machine.ports.is_empty()));
        assert!(machines.iter().any(|machine| !machine.restrictions.is_empty()));
    }

    #[test]
    fn a_smaller_market_is_mixed_and_a_larger_one_has_no_id_twice() {
        let few: BTreeSet<String> = of_size(12)
            .iter()
            .flat_map(|machine| machine.gpus.keys().map(ToString::to_string).collect::<Vec<_>>())
            .collect();
        assert!(few.len() >= 8, "{few:?}");
        let many: BTreeSet<_> = of_size(150).iter().map(|machine| machine.id.clone()).collect();
        assert_eq!(many.len(), 150);
    }
}
