//! A fleet reaches and holds its target on the simulated marketplace, whatever the answers are.

#![allow(clippy::unwrap_used)] // tests may fail

mod benched;
mod budget;
mod clock;
mod faults;
mod levers;
mod market;
mod modes;
mod money;
mod on_demand;
mod pace;
mod policies;
mod recorded;
mod restarts;
mod running;
mod sharing;
mod spanning;
mod stage;
mod vectordash;

use stage::Stage;

/// Eight GPUs of models that the still market has plenty of.
const TRAIN: &str = r#"
fleet = "train"
target_gpus = 8
max_hourly_rate = 6.00
balance_floor = 50.00
models = ["rtxa6000-pcie-48gb", "geforcertx4090-pcie-24gb", "v100-sxm2-16gb", "l40-pcie-48gb"]
[instance]
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIaXnsdHVQJ8sp4Vj2p0Y3z9cQ0nXkzYXn2Qz6m0N6Y demo"
"#;

#[tokio::test]
async fn a_fleet_reaches_its_target_and_holds_it() {
    let mut stage = Stage::new(&[("train", TRAIN)]).await;
    stage.ticks(6).await;
    assert_eq!(stage.gpus_alive("train"), 8);
    let (made, writes) = (stage.made(), stage.writes());
    let status = stage.ticks(20).await;
    assert_eq!(status.fleets.keys().map(ToString::to_string).collect::<Vec<_>>(), ["train"]);
    let report = stage.report("train");
    assert_eq!((report.target_gpus, report.running_gpus, report.blocked), (8, 8, Vec::new()));
    assert_eq!((stage.made(), stage.writes()), (made, writes), "it rests");
    stage.agrees();
}
