//! Weeks on three lively marketplaces that lie: nothing is promised that is not kept after every tick, and once they stop all
//! comes right.

use super::{
    super::stage::{NOON, Stage, honest, machines_with, name},
    settings, spread, target,
};
use spotscale::{
    engine::Lever,
    settings::Vendor,
    sim::{
        Faults, Market, Severity, World, WorldOptions,
        catalogue::{self, Machine},
        seed::Seed,
    },
};

/// So many looks half a minute apart, while the operator cannot leave the target alone.
const QUICK: usize = 30;
/// And then a week, of looks three hours apart.
const SLOW: usize = 56;

/// Bids first, on demand where they get nothing; whichever vendor's.
const SPANNING: &str = r#"
fleet = "train"
target_gpus = 6
max_hourly_rate = 3.00
balance_floor = 50.00
min_runway = "12h"
preference = "value"
models = ["v100-pcie-16gb", "rtxa4000-pcie-16gb", "titanxp-pcie-12gb", "geforcegtx1080-pcie-8gb",
    "geforcegtx1070ti-pcie-8gb", "geforcegtx1070-pcie-8gb"]
[instance]
gpus = { min = 1, max = 2 }
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIaXnsdHVQJ8sp4Vj2p0Y3z9cQ0nXkzYXn2Qz6m0N6Y demo"
[on_demand]
use = "fallback"
base_gpus = 4
"#;

fn lively(seed: u64) -> Market {
    let options = WorldOptions::lifelike("2000".parse().unwrap());
    let dock: Vec<Machine> = machines_with(&["v100-pcie-16gb", "rtxa4000-pcie-16gb"]);
    let dash: Vec<Machine> = catalogue::machines_of(Vendor::Vectordash).into_iter().step_by(4).collect();
    let mut market = honest(World::with_machines(seed, NOON, options.clone(), &dock));
    market.elsewhere.insert(Vendor::Vectordash, World::with_machines(seed, NOON, options, &dash));
    market
}

/// Whether a fleet has all it wants, or there is nothing to be had of what it lacks.
fn is_served(stage: &Stage) -> bool {
    let report = stage.report("train");
    let lacking = report.target_gpus.saturating_sub(report.running_gpus);
    let blocked = stage.blocked("train");
    let sold_out: u32 = ["no_offers", "budget"].iter().filter_map(|reason| blocked.get(*reason)).sum();
    lacking <= sold_out
}

/// A week of it, with restarts. Returns the most members that each of the three had at one time.
async fn week(seed: u64, severity: Severity) -> [usize; 3] {
    eprintln!("seed {seed}, {severity} faults");
    let quick = settings("20");
    let mut stage = Stage::across(lively(seed), &quick, &[("train", SPANNING)]).await;
    stage.story = format!("seed {seed}, {severity}");
    stage.market().faults = Faults::new(seed, severity);
    let mut dice = Seed(seed).dice("restarts");
    let mut most = [0; 3];
    for tick in 0..QUICK + SLOW {
        if tick == QUICK {
            stage.pull(Lever::ClearTarget { fleet: name("train") }).await.unwrap();
            stage.settle_for(&format!("scan_interval = \"3h\"\n{quick}")).await;
        } else if tick < QUICK && dice.chance_ppm(250_000) {
            target(&mut stage, u32::try_from(dice.between(2, 9)).unwrap()).await;
        }
        if dice.chance_ppm(50_000) {
            stage.restart().await;
        }
        stage.tick().await;
        for (most, now) in most.iter_mut().zip(spread(&stage)) {
            *most = now.max(*most);
        }
    }
    stage.market().faults.set_severity(Severity::None);
    stage.ticks(8).await;
    stage.ticks_until(20, "memory and worlds agree", |stage| stage.disagreement().is_none()).await;
    stage.ticks_until(20, "the target is met as far as there are offers", is_served).await;
    assert_eq!(stage.metric("spotscale_invariant_violations_total"), 0.0, "seed {seed}");
    most
}

async fn weeks(seeds: impl IntoIterator<Item = u64>, severity: Severity) {
    let mut most = [0; 3];
    for seed in seeds {
        for (all, one) in most.iter_mut().zip(week(seed, severity).await) {
            *all = one.max(*all);
        }
    }
    assert!(most.iter().all(|members| *members > 0), "not all three were rented on: {most:?}");
}

#[tokio::test]
async fn weeks_of_mild_weather_break_no_promise() {
    weeks(1..=5, Severity::Mild).await;
}

#[tokio::test]
async fn weeks_of_hostile_weather_break_no_promise() {
    weeks(6..=10, Severity::Hostile).await;
}
