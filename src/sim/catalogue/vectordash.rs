//! The machines of a lifelike Vectordash: workstations of people who lend their GPUs, some of them only until a date.
//!
//! The types are the nine of the vendor's reference, and so are the prices of three of them ([`Source::Recorded`] stands for
//! "the documents show it"); how many machines there are, the other prices and the ends are assumed. All machines of a type
//! cost about the same, for a new instance asks for a type and not for a machine.

use super::{Machine, Source, id, model};
use crate::{
    model::{HourlyRate, offer::Location},
    sim::seed::Seed,
};
use std::{collections::BTreeMap, time::Duration};

/// vCPUs that come with a GPU (assumed).
const VCPUS_EACH: u32 = 8;
/// GB of memory that come with a GPU: the documents' instances have 16.
const RAM_GB_EACH: u32 = 16;
/// GB of disk that come with a GPU: the documents' instances have 250 and 500.
const STORAGE_GB_EACH: u32 = 250;
/// How far a price may wander from where it began, either way (assumed): so little that a VM that came to stand on another
/// machine of its type is not billed a tenth more than was listed.
const PRICE_SWING_PPM: u32 = 20_000;
/// Outside ports of a machine.
const PORTS: u16 = 16;
/// The first outside port of all; the documents' instances have 25852.
const PORTS_FROM: u16 = 25_800;

/// An hour, as the ends of the table are told.
const HOUR: u64 = 3_600;
/// Nobody sets an end.
const NEVER: u64 = 0;

/// One line of the table: model, GPUs in all, taken, price in micros, seconds until its owner takes it back.
type Line = (&'static str, u32, u32, u64, u64);

const LINES: [Line; 26] = [
    // The documents: 0.85 for a Titan V without an end, 0.64 for a 1080 ti with one, 0.69 for a Tesla V100.
    ("titanv-pcie-12gb", 2, 0, 850_000, NEVER),
    ("titanv-pcie-12gb", 1, 1, 850_000, NEVER),
    ("titanv-pcie-12gb", 1, 0, 850_000, 48 * HOUR),
    ("geforcegtx1080ti-pcie-11gb", 4, 1, 640_000, 30 * 24 * HOUR),
    ("geforcegtx1080ti-pcie-11gb", 2, 0, 640_000, 14 * 24 * HOUR),
    ("geforcegtx1080ti-pcie-11gb", 2, 0, 640_000, 12 * HOUR),
    ("geforcegtx1080ti-pcie-11gb", 1, 0, 640_000, 5 * HOUR),
    ("v100-pcie-16gb", 4, 0, 690_000, NEVER),
    ("v100-pcie-16gb", 2, 2, 690_000, NEVER),
    ("v100-pcie-16gb", 1, 0, 690_000, 72 * HOUR),
    ("titanxp-pcie-12gb", 2, 0, 590_000, NEVER),
    ("titanxp-pcie-12gb", 1, 0, 590_000, 24 * HOUR),
    ("titanx-pcie-12gb", 2, 1, 420_000, 9 * HOUR),
    ("titanx-pcie-12gb", 1, 0, 420_000, 6 * HOUR),
    ("geforcegtx1080-pcie-8gb", 4, 0, 330_000, NEVER),
    ("geforcegtx1080-pcie-8gb", 2, 1, 330_000, NEVER),
    ("geforcegtx1080-pcie-8gb", 1, 0, 330_000, 10 * HOUR),
    ("geforcegtx1070ti-pcie-8gb", 4, 2, 270_000, NEVER),
    ("geforcegtx1070ti-pcie-8gb", 2, 0, 270_000, NEVER),
    ("geforcegtx1070ti-pcie-8gb", 1, 0, 270_000, 36 * HOUR),
    ("geforcegtx1070-pcie-8gb", 6, 1, 220_000, NEVER),
    ("geforcegtx1070-pcie-8gb", 2, 0, 220_000, NEVER),
    ("geforcegtx1070-pcie-8gb", 1, 1, 220_000, NEVER),
    ("geforcegtx1070-pcie-8gb", 1, 0, 220_000, 20 * HOUR),
    // Within the hour nothing can be counted on.
    ("geforcegtx1060-pcie-6gb", 2, 0, 140_000, HOUR / 2),
    ("geforcegtx1060-pcie-6gb", 1, 0, 140_000, HOUR / 2),
];

/// Models whose price the documents show.
const PRICED: [&str; 3] = ["titanv-pcie-12gb", "geforcegtx1080ti-pcie-11gb", "v100-pcie-16gb"];

fn machine(number: usize, line: &Line) -> Machine {
    let (name, gpus, taken, micros, lasts_s) = *line;
    let first = PORTS_FROM + u16::try_from(number % 100).unwrap_or(0) * PORTS;
    let free_of_charge = HourlyRate::ZERO;
    Machine {
        source: if PRICED.contains(&name) { Source::Recorded } else { Source::Assumed },
        id: id(&Seed(0).uuid(&format!("vectordash/{number}"))),
        // Nobody says where.
        location: Location::default(),
        // Documentation addresses (RFC 5737), of another block than TensorDock's.
        address: format!("203.0.113.{}", number % 250 + 1),
        gpus: BTreeMap::from([(model(name), (gpus, taken, HourlyRate::from_micros(micros)))]),
        vcpus: (VCPUS_EACH * gpus, free_of_charge),
        ram_gb: (RAM_GB_EACH * gpus, free_of_charge),
        storage_gb: (STORAGE_GB_EACH * gpus, free_of_charge),
        uptime_ppm: 985_000 + u32::try_from(number % 15).unwrap_or(0) * 1_000,
        ports: (first..first + PORTS).collect(),
        restrictions: BTreeMap::new(),
        // There are no bids: whoever else is there pays the list price at least.
        floor_ppm: 1_000_000,
        floor_swing_ppm: 0,
        price_swing_ppm: PRICE_SWING_PPM,
        available_for: (lasts_s != NEVER).then(|| Duration::from_secs(lasts_s)),
    }
}

/// Every machine.
pub(super) fn machines() -> Vec<Machine> {
    LINES.iter().enumerate().map(|(number, line)| machine(number, line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::catalogue::{self, Vocabulary};
    use std::collections::BTreeSet;

    #[test]
    fn all_types_of_the_reference_and_no_others_are_there() {
        let machines = machines();
        let models = machines.iter().flat_map(|machine| machine.gpus.keys());
        let spelt: BTreeSet<&str> =
            models.map(|model| catalogue::spelling(Vocabulary::Vectordash, model).unwrap()).collect();
        let reference =
            ["1060 6GB", "1070", "1070 ti", "1080", "Titan X", "1080 ti", "Titan Xp", "Titan V", "Tesla V100"];
        assert_eq!(spelt, reference.into());
        let ids: BTreeSet<_> = machines.iter().map(|machine| &machine.id).collect();
        assert_eq!(ids.len(), machines.len());
    }

    #[test]
    fn some_machines_have_an_end_and_their_owners_ports_do_not_meet() {
        let machines = machines();
        let ending = machines.iter().filter(|machine| machine.available_for.is_some()).count();
        assert!((8..machines.len() - 8).contains(&ending), "{ending}");
        let ports: Vec<u16> = machines.iter().flat_map(|machine| machine.ports.clone()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
    }
}
