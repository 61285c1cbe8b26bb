//! A fleet reaches and holds its target on the simulated marketplace, whatever the answers are.

#![allow(clippy::unwrap_used)] // tests may fail

mod stage;

use spotscale::{engine::Lever, ledger::Standing};
use stage::Stage;

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
    let mut stage = Stage::new(1, &[("train", TRAIN)]).await;
    let status = stage.ticks(20).await;
    let fleet = status.fleets.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(fleet, ["train"]);
    let plan = status.plan.as_ref().expect("a plan");
    let report = plan.report.values().next().expect("a report");
    eprintln!(
        "{:?} {} {} {:?} {:?}",
        report.target_gpus, report.running_gpus, report.rate_now, report.rejected, report.blocked
    );
    for action in &plan.actions {
        eprintln!("{action:?}");
    }
    assert_eq!(stage.gpus_alive("train"), 8);
    let _ = (Standing::Running, Lever::Reload);
}
