//! An engine on a simulated market, in one process and in virtual time: the least that makes one tick.

use spotscale::{
    engine::{Role, Status},
    io::clock::Clock,
    sim::{Faults, Market, Scenery, Stage, World, WorldOptions, clock::VirtualClock, seed::Seed},
};
use std::{collections::BTreeMap, sync::Arc};

/// What the account holds.
const BALANCE: &str = "100000";
/// Which world.
const SEED: u64 = 7;

/// A market, and an engine on it.
pub struct Rehearsal(Stage);

impl Rehearsal {
    /// On a market of so many hostnodes (`None`: the catalogue), asked so many times a second, with these policies.
    pub async fn new(hosts: Option<usize>, requests_per_second: &str, role: Role, policies: &[(&str, &str)]) -> Self {
        let settings = format!(
            "policies = \"/policies\"\n[marketplaces.tensordock]\napi = \"tensordock-v0\"\nkey = {{ env = \"KEY\" }}\n\
             token = {{ env = \"TOKEN\" }}\nrequests_per_second = {requests_per_second}\n"
        );
        let clock = VirtualClock::at("2026-11-20T12:00:00Z".parse().expect("a moment"));
        let options = WorldOptions { hosts, ..WorldOptions::lifelike(BALANCE.parse().expect("an amount")) };
        let world = World::new(SEED, clock.now(), options);
        let market = Market::of_all_dialects(world, Faults::none(), Some("k"), Some("t"));
        let scenery = Scenery {
            clock,
            market,
            elsewhere: BTreeMap::new(),
            settings: &settings,
            role,
            policies,
            seed: Seed(SEED),
        };
        Self(Stage::new(scenery).await.expect("a stage"))
    }

    /// A scan interval passes, and a tick is made. Returns what was known after it.
    pub async fn tick(&mut self) -> Arc<Status> {
        self.0.tick().await;
        self.0.status()
    }
}
