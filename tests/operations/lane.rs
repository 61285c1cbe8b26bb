//! How long one tick writes: a lane that is longer than the tick waits for the next, and a late look is no excuse.

use super::rehearsal::Rehearsal;
use spotscale::engine::{Role, Status};
use std::sync::Arc;

const POLICY: &str = r#"fleet           = "train"
target_gpus     = 8
max_hourly_rate = 40.00
balance_floor   = 0
models          = ["rtxa6000-pcie-48gb", "geforcertx4090-pcie-24gb", "v100-sxm2-16gb", "l40-pcie-48gb"]

[instance]
gpus    = { min = 1, max = 1 }
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example"

[on_demand]
use = "always"
"#;

fn vms(status: &Arc<Status>) -> usize {
    let fleets = status.situation.iter().flat_map(|situation| situation.fleets.values());
    fleets.map(|fleet| fleet.fleet.members.len()).sum()
}

#[tokio::test]
async fn a_tick_looks_again_before_a_long_lane_is_through() {
    // At 20 s a request the look is over after a minute; at 50 s not before the tick's time is.
    for pace in ["0.05", "0.02"] {
        let mut rehearsal = Rehearsal::new(None, pace, Role::AsConfigured, &[("train", POLICY)]).await;
        let first = vms(&rehearsal.tick().await);
        assert!((1..=4).contains(&first), "{pace}: {first} VMs are asked for in one tick");
        let mut last = first;
        for _ in 0..7 {
            last = vms(&rehearsal.tick().await);
        }
        assert_eq!(last, 8, "{pace}: the next ticks ask for the others");
    }
}
