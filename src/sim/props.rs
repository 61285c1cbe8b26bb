//! What rehearsals are commonly set with: a noon, settings, a few still machines, somebody else's VM.
//!
//! Settings are texts and not values, for a rehearsed daemon reads them like any other; whoever wants something else puts keys
//! in front of them or tables behind, or other words in the place of some. Nothing here is drawn, and nothing is decided: a
//! [`super::Plot`] has its own weather, and every scene and story its own policy.

use super::{
    catalogue::{self, Machine},
    faults::Faults,
    host::RULE,
    marketplace::Market,
    world::{World, WorldOptions},
};
use crate::{
    market::WorldOrder,
    model::{GpuModel, HostnodeId, PriceType, Shape, Timestamp, Usd, VmName},
};
use std::collections::BTreeMap;

/// 2026-11-20T12:00:00Z: far from midnight.
pub const NOON: Timestamp = Timestamp::constant(1_795_176_000, 0);
/// Ports of a machine that has few: every tick reads them all.
pub const PORTS_FEW: usize = 10;

macro_rules! limits {
    () => {
        "policies = \"/policies\"\n[limits]\nmax_hourly_rate = 40.00\n"
    };
}
macro_rules! tensordock {
    () => {
        r#"[marketplaces.tensordock]
api = "tensordock-v0"
key = { env = "KEY" }
token = { env = "TOKEN" }
requests_per_second = 100
"#
    };
}

/// Settings without a marketplace.
pub const LIMITS: &str = limits!();
/// A marketplace whose pace costs nothing, for settings; keys of its own may follow.
pub const TENSORDOCK: &str = tensordock!();
/// The same vendor's other API, at its own pace; likewise.
pub const DOCK_V2: &str = r#"[marketplaces.dock-v2]
api = "tensordock-v2"
token = { env = "TOKEN" }
"#;
/// The other vendor, at a pace that costs nothing; likewise.
pub const VECTORDASH: &str = r#"[marketplaces.vectordash]
api = "vectordash"
token = { env = "TOKEN" }
requests_per_second = 100
"#;
/// Settings of one marketplace.
pub const SETTINGS: &str = concat!(limits!(), tensordock!());

/// An account whose balance nobody can read, with what it may spend in a day, for settings.
pub fn unreadable(account: &str, usd_per_day: &str) -> String {
    format!("[accounts.{account}]\nbalance = \"unreadable-ok\"\nmax_spend_per_day = {usd_per_day}\n")
}

/// Settings of all three marketplaces, two of which share an account; what the third may spend in a day.
pub fn settings_of_all(usd_per_day: &str) -> String {
    let shared = "account = \"tensordock\"\n";
    [LIMITS, TENSORDOCK, DOCK_V2, shared, VECTORDASH, &unreadable("vectordash", usd_per_day)].concat()
}

/// The machines of the catalogue that have one of these models, with few ports.
pub fn machines_with(models: &[&str]) -> Vec<Machine> {
    let machines = catalogue::machines().into_iter();
    let found = machines.filter(|machine| models.iter().any(|model| machine.has(model)));
    found.map(|machine| machine.with_ports(PORTS_FEW)).collect()
}

/// A world of these machines, at noon, on which nothing moves by itself.
pub fn still(balance: Usd, machines: &[Machine]) -> World {
    World::with_machines(1, NOON, WorldOptions::still(balance), machines)
}

/// A market around a world that speaks every dialect and answers as it should.
pub fn honest(world: World) -> Market {
    Market::of_all_dialects(world, Faults::none(), Some("k"), Some("t"))
}

/// What somebody else has on a machine, on demand.
pub fn anothers(name: VmName, hostnode: HostnodeId, gpu_model: GpuModel, gpus: u32) -> WorldOrder {
    WorldOrder {
        name,
        hostnode,
        shape: Shape { gpu_model, gpus, vcpus: 4, ram_gb: 16, storage_gb: 100 },
        price_type: PriceType::OnDemand,
        bid: None,
        image: "Ubuntu 22.04 LTS".to_owned(),
        ports: BTreeMap::new(),
        rule: RULE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::stage;

    #[test]
    fn the_settings_hold_together() {
        assert_eq!(stage::settings(SETTINGS).map(|settings| settings.marketplaces.len()), Ok(1));
        assert_eq!(stage::settings(&settings_of_all("40")).map(|settings| settings.marketplaces.len()), Ok(3));
        assert_eq!(NOON.to_string(), "2026-11-20T12:00:00Z");
    }
}
