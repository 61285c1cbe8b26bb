//! Weeks on three lively marketplaces that lie: nothing is promised that is not kept after every tick, and once they stop all
//! comes right.

use super::{
    super::stage::{Stage, name, of_all, opening, with_few_ports},
    THREE, settings, spread,
};
use spotscale::{
    settings::Vendor,
    sim::{
        Faults, Market, Severity, Temper, World, WorldOptions,
        catalogue::{self, Machine},
        seed::Seed,
    },
};
use std::time::Duration;

const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// Bids first, on demand where they get nothing; whichever vendor's.
const SPANNING: &str = r#"
fleet = "train"
target_gpus = 6
max_hourly_rate = 3.00
balance_floor = 50.00
min_runway = "4h"
preference = "value"
models = ["v100-sxm3-32gb", "geforcertx4090-pcie-24gb", "geforcertx3090-pcie-24gb", "rtxa4000-pcie-16gb", "v100-pcie-16gb",
    "titanv-pcie-12gb", "geforcegtx1080ti-pcie-11gb", "titanxp-pcie-12gb", "geforcegtx1080-pcie-8gb",
    "geforcegtx1070ti-pcie-8gb"]
[instance]
gpus = { min = 1, max = 2 }
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIaXnsdHVQJ8sp4Vj2p0Y3z9cQ0nXkzYXn2Qz6m0N6Y demo"
[on_demand]
use = "fallback"
base_gpus = 4
"#;

fn lively(seed: u64, temper: Temper) -> Market {
    let options = WorldOptions { temper, ..WorldOptions::lifelike("2000".parse().unwrap()) };
    let dock: Vec<Machine> = catalogue::of_size(8).into_iter().map(with_few_ports).collect();
    let dash: Vec<Machine> = catalogue::machines_of(Vendor::Vectordash).into_iter().step_by(3).collect();
    let mut market = of_all(World::with_machines(seed, opening(), options.clone(), &dock));
    market.elsewhere.insert(Vendor::Vectordash, World::with_machines(seed, opening(), options, &dash));
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
async fn week(seed: u64, severity: Severity, temper: Temper) -> [usize; 3] {
    eprintln!("seed {seed}, {severity} faults, {temper:?} market");
    let text = format!("scan_interval = \"30m\"\n{}", settings("9"));
    let mut stage = Stage::across(lively(seed, temper), &text, &[("train", SPANNING)]).await;
    stage.story = format!("seed {seed}, {severity}");
    stage.market().faults = Faults::new(seed, severity);
    let mut dice = Seed(seed).dice("restarts");
    let mut most = [0; 3];
    let until = stage.status().at.unwrap_or(opening());
    let _ = (until, name("train"));
    let mut passed = Duration::ZERO;
    while passed < WEEK {
        if dice.chance_ppm(50_000) {
            stage.restart().await;
        }
        stage.tick().await;
        passed += Duration::from_secs(1_800);
        let now = spread(&stage);
        for index in 0..THREE.len() {
            most[index] = most[index].max(now[index]);
        }
    }
    stage.market().faults.set_severity(Severity::None);
    stage.ticks(8).await;
    stage.ticks_until(20, "memory and worlds agree", |stage| stage.disagreement().is_none()).await;
    stage.ticks_until(20, "the target is met as far as there are offers", is_served).await;
    assert_eq!(stage.metric("spotscale_invariant_violations_total"), 0.0, "seed {seed}");
    most
}

async fn weeks(seeds: impl IntoIterator<Item = u64>, severity: Severity, temper: Temper) {
    let mut most = [0; 3];
    for seed in seeds {
        for (all, one) in most.iter_mut().zip(week(seed, severity, temper).await) {
            *all = one.max(*all);
        }
    }
    assert!(most.iter().all(|members| *members > 0), "not all three were rented on: {most:?}");
}

#[tokio::test]
async fn weeks_of_mild_weather_break_no_promise() {
    weeks(1..=5, Severity::Mild, Temper::Lifelike).await;
}

#[tokio::test]
async fn weeks_of_hostile_weather_break_no_promise() {
    weeks(6..=10, Severity::Hostile, Temper::Wild).await;
}
