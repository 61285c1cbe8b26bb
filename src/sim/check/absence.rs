//! What is promised of VMs that run: none of them goes because it is believed lost.
//!
//! A VM that truly runs and is not kept out of sight may go for many reasons, but not for that one. What else may not go while
//! lists lack something is looked after in [`super::blind`].

use super::{Breach, Found, Paper, Promise, Sighted};
use crate::{
    model::{InstanceId, reason::Teardown},
    sim::{Ended, Origin, Vm, VmState},
};
use std::{collections::BTreeSet, time::Duration};

/// Who ran for so long was seen running.
const SEEN_RUNNING: Duration = Duration::from_secs(3_600);

/// Looks at the VMs that were deleted since the last look. Excused is whose machine is away, or of whom its marketplace says
/// that it is gone.
pub fn lost(
    sighted: &[Sighted],
    seen_alive: &BTreeSet<(String, InstanceId)>,
    is_excused: impl Fn(&InstanceId) -> bool,
    paper: &Paper<'_>,
) -> Vec<Breach> {
    let mut found = Found::default();
    for one in sighted {
        let was_alive = |vm: &&Vm| seen_alive.contains(&(one.world.clone(), vm.id.clone()));
        let gone = one.truth.vms.iter().filter(|vm| vm.origin == Origin::Api && was_alive(vm));
        for vm in gone.filter(|vm| vm.ended.is_some_and(|(_, how)| how == Ended::Deleted)) {
            let ran = Duration::from_secs(vm.gpu_seconds() / u64::from(vm.shape.gpus.max(1)));
            let ran_well = vm.state == VmState::Running && ran >= SEEN_RUNNING && !is_excused(&vm.id);
            found.unless(!ran_well || (paper.let_go)(vm) != Some(Teardown::Lost), Promise::Absence, || {
                format!("{} ({}) ran, and went because it was believed lost", vm.name, vm.id)
            });
        }
    }
    found.0
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{paper, settled},
        *,
    };

    /// What is found where the first VM was deleted for this reason.
    async fn found(reason: Teardown) -> usize {
        let stage = settled().await;
        let mut sighted = stage.sighted();
        let one = sighted.iter_mut().find(|one| !one.truth.vms.is_empty()).unwrap();
        let seen = one.truth.vms.iter().map(|vm| (one.world.clone(), vm.id.clone())).collect();
        let vm = one.truth.vms.iter_mut().find(|vm| vm.state == VmState::Running).unwrap();
        (vm.ended, vm.running_ms) = (Some((0, Ended::Deleted)), 7_200_000);
        let why = |_: &Vm| Some(reason);
        lost(&sighted, &seen, |_| false, &paper(&why)).len()
    }

    #[tokio::test]
    async fn who_runs_is_not_lost() {
        assert_eq!(found(Teardown::Target).await, 0);
        assert_eq!(found(Teardown::Operator).await, 0);
        assert_eq!(found(Teardown::Lost).await, 1);
    }
}
