//! The small markets on which the stories are set: a handful of machines with few ports, where nothing moves by itself, and
//! on each a VM of somebody else's whose name is nearly one of ours.

use crate::{
    model::{HourlyRate, InstanceId, Usd},
    settings::Vendor,
    sim::{
        Market, World, WorldOptions,
        catalogue::{self, Machine},
        props::{NOON, anothers, honest},
        seed::Seed,
    },
};

/// What an account holds at the opening, in micros of a US dollar.
const BALANCE_MICROS: i64 = 500_000_000;
/// Ports of a machine: every tick reads them all.
const PORTS: usize = 6;
/// Who is there too. The fleets are called `train`, and none is called `trainer`.
const LOOK_ALIKE: &str = "spotscale-trainer-a1b2-1";
/// The model of the machine on which TensorDock's look-alike stands; no story wants it.
const ELSEWHERE_AT_DOCK: &str = "rtxa4000-pcie-16gb";
/// Likewise at Vectordash.
const ELSEWHERE_AT_DASH: &str = "titanv-pcie-12gb";

/// Machines of TensorDock's that have a model: which of the catalogue's, GPUs, micros per GPU.
type Wanted = (&'static str, usize, u32, u64);

/// Cheap, and then two that are dearer: two GPUs each, which is one VM each.
const DOCK: [Wanted; 4] = [
    ("geforcertx3090-pcie-24gb", 0, 2, 200_000),
    ("rtxa6000-pcie-48gb", 0, 2, 390_000),
    ("rtxa6000-pcie-48gb", 1, 2, 400_000),
    (ELSEWHERE_AT_DOCK, 0, 4, 220_000),
];

/// Where v0 rounds one price down and the other up, and v2 does not round: each is the cheaper one somewhere.
const SHARED: [Wanted; 3] = [
    ("v100-pcie-16gb", 0, 1, 190_400),
    ("geforcertx3090-pcie-24gb", 0, 2, 219_600),
    (ELSEWHERE_AT_DOCK, 0, 4, 900_000),
];

/// One type, and another on which nobody of ours stands.
const DASH: [Wanted; 2] = [("geforcegtx1070-pcie-8gb", 0, 2, 220_000), (ELSEWHERE_AT_DASH, 0, 2, 850_000)];

fn machine(vendor: Vendor, (model, which, gpus, micros): Wanted) -> Option<Machine> {
    let has = |machine: &Machine| machine.has(model) && machine.available_for.is_none();
    let mut machine = catalogue::machines_of(vendor).into_iter().filter(has).nth(which)?.with_ports(PORTS);
    for (total, taken, price) in machine.gpus.values_mut() {
        (*total, *taken, *price) = (gpus, 0, HourlyRate::from_micros(micros));
    }
    Some(machine)
}

/// A still world of these machines.
fn world(seed: Seed, machines: &[Machine]) -> World {
    World::with_machines(seed.0, NOON, WorldOptions::still(Usd::from_micros(BALANCE_MICROS)), machines)
}

/// Somebody else puts a VM of so many GPUs on the machine that no story wants.
pub fn put_foreign(world: &mut World, vendor: Vendor, called: &str, gpus: u32) -> Option<InstanceId> {
    let model = match vendor {
        Vendor::Tensordock => ELSEWHERE_AT_DOCK,
        Vendor::Vectordash => ELSEWHERE_AT_DASH,
        Vendor::Trace => return None,
    };
    let hostnode = catalogue::machines_of(vendor).into_iter().find(|machine| machine.has(model))?.id;
    let order = anothers(called.parse().ok()?, hostnode, model.parse().ok()?, gpus);
    world.deploy_foreign(order).ok()
}

fn market(dock: World, dash: World) -> Market {
    let mut market = honest(dock);
    market.elsewhere.insert(Vendor::Vectordash, dash);
    for vendor in [Vendor::Tensordock, Vendor::Vectordash] {
        put_foreign(market.world_of(vendor), vendor, LOOK_ALIKE, 1);
    }
    market
}

/// Three machines for a fleet that bids.
pub fn dock(seed: Seed) -> Market {
    market(world(seed, &machines(&DOCK)), dash(seed))
}

/// The same, and no bid below the price on demand is ever accepted.
pub fn dock_without_spot(seed: Seed) -> Market {
    let mut machines = machines(&DOCK);
    machines.iter_mut().for_each(|machine| machine.floor_ppm = 2_000_000);
    market(world(seed, &machines), dash(seed))
}

/// Two machines that two APIs sell, and another vendor's.
pub fn shared(seed: Seed) -> Market {
    market(world(seed, &machines(&SHARED)), dash(seed))
}

fn dash(seed: Seed) -> World {
    let machines: Vec<Machine> = DASH.into_iter().filter_map(|wanted| machine(Vendor::Vectordash, wanted)).collect();
    world(seed, &machines)
}

fn machines(wanted: &[Wanted]) -> Vec<Machine> {
    wanted.iter().filter_map(|wanted| machine(Vendor::Tensordock, *wanted)).collect()
}
