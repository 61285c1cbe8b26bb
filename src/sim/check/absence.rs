//! What is promised of lists that lack something: nothing is torn down because of it.
//!
//! A VM that truly runs and is not kept out of sight may go for many reasons, but never because it is believed lost. And while
//! a marketplace's list is not complete, by the daemon's own word, only money, safety and the operator take anything away.

use super::{Breach, Found, Promise, Sighted};
use crate::{
    engine::Status,
    model::{InstanceId, reason::Teardown},
    sim::{Ended, Origin, Vm, VmState},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Who ran for so long was seen running.
const SEEN_RUNNING: Duration = Duration::from_secs(3_600);

/// Looks at the VMs that were deleted since the last look. `why` is the reason that the journal has for it, where that was
/// first meant since then: a delete that was not answered is sent again on whatever list there is. Excused is whose machine
/// is away, or of whom its marketplace says that it is gone.
pub fn deleted(
    status: &Status,
    sighted: &[Sighted],
    seen_alive: &BTreeSet<(String, InstanceId)>,
    is_excused: impl Fn(&InstanceId) -> bool,
    why: impl Fn(&Vm) -> Option<Teardown>,
) -> Vec<Breach> {
    let mut found = Found::default();
    let Some(situation) = &status.situation else { return found.0 };
    // Where several marketplaces share an account, one whole list is enough.
    let mut is_complete: BTreeMap<_, bool> = BTreeMap::new();
    for market in situation.markets.values() {
        *is_complete.entry(&market.account).or_default() |= market.list_complete;
    }
    for one in sighted {
        let was_alive = |vm: &&Vm| seen_alive.contains(&(one.world.clone(), vm.id.clone()));
        let gone = one.truth.vms.iter().filter(|vm| vm.origin == Origin::Api && was_alive(vm));
        for vm in gone.filter(|vm| vm.ended.is_some_and(|(_, how)| how == Ended::Deleted)) {
            let Some(reason) = why(vm) else { continue };
            let is_known = one.account.as_ref().and_then(|account| is_complete.get(account)).copied();
            found.unless(is_known != Some(false) || is_for_safety(reason), Promise::Absence, || {
                format!("{} ({}) went for {reason} while its list was not complete", vm.name, vm.id)
            });
            let ran = Duration::from_secs(vm.gpu_seconds() / u64::from(vm.shape.gpus.max(1)));
            let ran_well = vm.state == VmState::Running && ran >= SEEN_RUNNING && !is_excused(&vm.id);
            found.unless(reason != Teardown::Lost || !ran_well, Promise::Absence, || {
                format!("{} ({}) ran, and went because it was believed lost", vm.name, vm.id)
            });
        }
    }
    found.0
}

/// Whether a reason has nothing to do with what a list shows.
const fn is_for_safety(reason: Teardown) -> bool {
    match reason {
        Teardown::Overbilled
        | Teardown::Late
        | Teardown::RateLimit
        | Teardown::GlobalRateLimit
        | Teardown::BalanceFloor
        | Teardown::Budget
        | Teardown::Evacuate
        | Teardown::Operator => true,
        Teardown::Target | Teardown::Outbid | Teardown::Lost | Teardown::Replaced | Teardown::StoppedTooLong => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::settled, *};

    /// What is found where the first VM was deleted for this reason, in the light of a list that is whole or not.
    async fn found(reason: Teardown, list_complete: bool) -> usize {
        let stage = settled().await;
        let (mut status, mut sighted) = ((*stage.status()).clone(), stage.sighted());
        let markets = status.situation.as_mut().unwrap().markets.values_mut();
        markets.for_each(|market| market.list_complete = list_complete);
        let one = sighted.iter_mut().find(|one| !one.truth.vms.is_empty()).unwrap();
        let seen = one.truth.vms.iter().map(|vm| (one.world.clone(), vm.id.clone())).collect();
        let vm = one.truth.vms.iter_mut().find(|vm| vm.state == VmState::Running).unwrap();
        (vm.ended, vm.running_ms) = (Some((0, Ended::Deleted)), 7_200_000);
        deleted(&status, &sighted, &seen, |_| false, |_| Some(reason)).len()
    }

    #[tokio::test]
    async fn who_runs_is_not_lost_and_a_list_that_lacks_something_takes_nothing_away() {
        assert_eq!(found(Teardown::Target, true).await, 0);
        assert_eq!(found(Teardown::Target, false).await, 1);
        assert_eq!(found(Teardown::Operator, false).await, 0);
        assert_eq!(found(Teardown::Lost, true).await, 1);
    }
}
