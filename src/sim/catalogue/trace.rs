//! A few machines for the market of rehearsals where no trace is played: it is spoken on the simulated marketplace too, so
//! that it is held to the same rules as every other API. All of it is assumed.

use super::{Machine, Source, id, model};
use crate::{
    model::{HourlyRate, offer::Location},
    sim::seed::Seed,
};
use std::collections::BTreeMap;

/// GB of memory, vCPUs and GB of disk that come with a GPU; they cost nothing by themselves.
const EACH: (u32, u32, u32) = (32, 8, 250);
/// Outside ports of a machine.
const PORTS: u16 = 24;
/// The minimum bid as a share of the price on demand.
const FLOOR_PPM: u32 = 400_000;
/// How far it wanders, either way.
const FLOOR_SWING_PPM: u32 = 200_000;

/// Model, GPUs, micros per GPU and hour, zone.
const LINES: [(&str, u32, u64, &str); 4] = [
    ("v100-sxm2-16gb", 8, 900_000, "zone-a"),
    ("v100-sxm2-16gb", 4, 900_000, "zone-b"),
    ("a100-sxm4-80gb", 8, 1_800_000, "zone-a"),
    ("h100-sxm5-80gb", 8, 2_900_000, "zone-c"),
];

/// Every machine.
pub(super) fn machines() -> Vec<Machine> {
    let numbered = (0_u16..).zip(&LINES);
    let machine = |(number, (name, gpus, micros, zone)): (u16, &(&str, u32, u64, &str))| {
        let (ram_gb, vcpus, storage_gb) = EACH;
        let first = 21_000 + number * PORTS;
        Machine {
            source: Source::Assumed,
            id: id(&Seed(0).uuid(&format!("trace/{number}"))),
            location: Location { region: (*zone).to_owned(), ..Location::default() },
            // Documentation addresses (RFC 5737), of another block than the other vendors'.
            address: format!("192.0.2.{}", 200 + number),
            gpus: BTreeMap::from([(model(name), (*gpus, 0, HourlyRate::from_micros(*micros)))]),
            vcpus: (vcpus * gpus, HourlyRate::ZERO),
            ram_gb: (ram_gb * gpus, HourlyRate::ZERO),
            storage_gb: (storage_gb * gpus, HourlyRate::ZERO),
            uptime_ppm: 999_000,
            ports: (first..first + PORTS).collect(),
            restrictions: BTreeMap::new(),
            floor_ppm: FLOOR_PPM,
            floor_swing_ppm: FLOOR_SWING_PPM,
            price_swing_ppm: 0,
            available_for: None,
        }
    };
    numbered.map(machine).collect()
}
