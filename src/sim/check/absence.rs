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

/// Looks at the VMs that were to be let go since the last look, whatever came of it. Excused is whose machine is away as far as
/// anybody could know, or of whom its marketplace says that it is gone.
pub fn lost(
    sighted: &[Sighted],
    seen_alive: &BTreeSet<(String, InstanceId)>,
    is_excused: impl Fn(&Sighted, &Vm) -> bool,
    paper: &Paper,
) -> Vec<Breach> {
    let mut found = Found::default();
    for one in sighted {
        let was_alive = |vm: &&Vm| seen_alive.contains(&(one.world.clone(), vm.id.clone()));
        let is_believed_lost = |vm: &&Vm| {
            paper.let_go().any(|(_, name, id, reason)| {
                reason == Teardown::Lost && *name == vm.name && id.is_none_or(|id| *id == vm.id)
            })
        };
        let meant =
            one.truth.vms.iter().filter(|vm| vm.origin == Origin::Api && was_alive(vm)).filter(is_believed_lost);
        for vm in meant.filter(|vm| vm.ended.is_none_or(|(_, how)| how == Ended::Deleted)) {
            let ran = Duration::from_secs(vm.gpu_seconds() / u64::from(vm.shape.gpus.max(1)));
            let ran_well = vm.state == VmState::Running && ran >= SEEN_RUNNING && !is_excused(one, vm);
            found.unless(!ran_well, Promise::Absence, || {
                format!("{} ({}) ran, and went because it was believed lost", vm.name, vm.id)
            });
        }
    }
    found.0
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{decided, settled},
        *,
    };

    /// What is found where the first VM is to go for this reason, and went or did not.
    async fn found(reason: Teardown, ended: Option<(i64, Ended)>) -> usize {
        let stage = settled().await;
        let mut sighted = stage.sighted();
        let one = sighted.iter_mut().find(|one| !one.truth.vms.is_empty()).unwrap();
        let seen = one.truth.vms.iter().map(|vm| (one.world.clone(), vm.id.clone())).collect();
        let vm = one.truth.vms.iter_mut().find(|vm| vm.state == VmState::Running).unwrap();
        (vm.ended, vm.running_ms) = (ended, 7_200_000);
        let paper = decided(&stage, &[(vm, reason)]);
        lost(&sighted, &seen, |_, _| false, &paper).len()
    }

    #[tokio::test]
    async fn who_runs_is_not_lost_and_is_not_meant_to_go_as_if_he_were() {
        let deleted = Some((0, Ended::Deleted));
        assert_eq!(found(Teardown::Target, deleted).await, 0);
        assert_eq!(found(Teardown::Operator, deleted).await, 0);
        assert_eq!(found(Teardown::Lost, deleted).await, 1);
        assert_eq!(found(Teardown::Lost, None).await, 1, "its delete was lost on the way");
        assert_eq!(found(Teardown::Lost, Some((0, Ended::HostDied))).await, 0);
    }
}
