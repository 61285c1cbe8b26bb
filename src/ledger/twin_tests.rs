//! Two marketplaces of one account show the same VMs: each counts once, and the one that rented it speaks for it.

use super::{
    LateVm, Record, Standing,
    record::{Cause, Ending},
    stage::{Stage, instance, of},
};
use crate::model::{
    Instance, InstanceId,
    InstanceStatus::{Leaving, Outbid, Running, StoppedReleased},
    Lookup, Reading, Refusal, Scan, VmName,
};
use proptest::prelude::*;

const TWIN: &str = "tensordock-v2";

/// A marketplace that shows the same account again, and says less of each VM.
fn twins() -> Stage {
    let mut stage = Stage::new();
    let view = stage.view().clone();
    stage.inventory.markets.insert(of(TWIN), view);
    stage
}

/// What the twin shows of a VM: no bids, no price, no machine.
fn twin_of(id: &str, name: &VmName, status: crate::model::InstanceStatus) -> Instance {
    Instance { price_type: None, quoted: None, ..instance(id, name, status) }
}

/// A scan interval later both are asked; `None`: the call fails. What follows is written and returned.
#[track_caller]
fn look(stage: &mut Stage, own: Option<&[Instance]>, twin: Option<&[Instance]>) -> Vec<Record> {
    let at = stage.pass(30).now;
    for (name, list) in [("tensordock", own), (TWIN, twin)] {
        let list = list.map(|items| Scan { items: items.to_vec().into(), dropped: Vec::new() });
        let list = list.ok_or_else(|| Refusal::Unreachable("timed out".into()));
        let view = stage.inventory.markets.get_mut(&of(name)).unwrap();
        view.instances.fold(at, list);
        view.lookups.clear();
    }
    stage.look()
}

/// Whatever is wanted by id is asked for, and gone.
#[track_caller]
fn all_gone_by_id(stage: &mut Stage) -> Vec<Record> {
    let at = stage.now;
    for (market, id) in stage.evidence.lookups_wanted(stage.ledger(), &stage.inventory) {
        let view = stage.inventory.markets.get_mut(&market).unwrap();
        view.lookups.entry(id).or_insert(Reading::never()).fold(at, Ok(Lookup::Gone));
    }
    stage.look()
}

#[test]
fn the_marketplace_that_rented_a_vm_says_how_it_stands_whoever_looked_last() {
    let mut stage = twins();
    let name = stage.deploy("i1");
    let (own, twin) = ([instance("i1", &name, Running)], [twin_of("i1", &name, Running)]);
    look(&mut stage, Some(&own), Some(&twin));
    // An outbid VM is only stopped where nobody knows of bids.
    let (own, twin) = ([instance("i1", &name, Outbid)], [twin_of("i1", &name, StoppedReleased)]);
    let outbid =
        Record::Standing { name: name.clone(), from: Standing::Running, to: Standing::Outbid, cause: Cause::Outbid };
    assert_eq!(look(&mut stage, Some(&own), Some(&twin)), [outbid]);
    assert_eq!(look(&mut stage, None, Some(&twin)), [], "the twin's list is newer, and says nothing of bids");
    assert_eq!((stage.standing(&name), stage.counts()), (Standing::Outbid, (2, of("0.41"))));
}

#[test]
fn what_another_marketplace_lists_is_not_lost_and_not_gone_and_stands_as_it_stood() {
    let mut stage = twins();
    let name = stage.deploy("i1");
    let (own, twin) = ([instance("i1", &name, Running)], [twin_of("i1", &name, StoppedReleased)]);
    look(&mut stage, Some(&own), Some(&twin));
    for _ in 0..6 {
        assert_eq!(look(&mut stage, Some(&[]), Some(&twin)), []);
        assert_eq!(all_gone_by_id(&mut stage), []);
        assert_eq!(stage.standing(&name), Standing::Running);
    }
    let complete = stage.joined().complete;
    assert_eq!((complete[&of("tensordock")], complete[&of(TWIN)]), (false, true), "each list for itself");
    // It is there no more, or on its way out: then the absences count, from there on.
    let last = [twin_of("i1", &name, Leaving)];
    look(&mut stage, Some(&[]), Some(&last));
    assert_eq!((look(&mut stage, Some(&[]), None), all_gone_by_id(&mut stage)), (vec![], vec![]));
    look(&mut stage, Some(&[]), Some(&[]));
    let gone = Record::Gone { name, id: of("i1"), how: Ending::NotFound };
    assert_eq!(all_gone_by_id(&mut stage), [gone]);
}

#[test]
fn where_the_other_marketplace_does_not_answer_its_old_list_proves_nothing() {
    let mut stage = twins();
    let name = stage.deploy("i1");
    let (own, twin) = ([instance("i1", &name, Running)], [twin_of("i1", &name, Running)]);
    look(&mut stage, Some(&own), Some(&twin));
    for _ in 0..3 {
        look(&mut stage, Some(&[]), None);
    }
    let gone = Record::Gone { name, id: of("i1"), how: Ending::NotFound };
    assert_eq!(all_gone_by_id(&mut stage), [gone]);
}

#[test]
fn an_acknowledged_delete_is_proven_once_neither_lists_it() {
    let mut stage = twins();
    let name = stage.deploy("i1");
    let (own, twin) = ([instance("i1", &name, Running)], [twin_of("i1", &name, Running)]);
    look(&mut stage, Some(&own), Some(&twin));
    stage.delete(&name, "i1", true);
    assert_eq!(look(&mut stage, Some(&[]), Some(&twin)), []);
    assert!(!stage.fleet().members[&name].write_in_doubt);
    stage.pass(300);
    assert_eq!(look(&mut stage, Some(&[]), Some(&twin)), []);
    assert!(stage.fleet().members[&name].write_in_doubt, "still there a settle grace later: it is sent again");
    let gone = Record::Gone { name, id: of("i1"), how: Ending::Deleted };
    assert_eq!(look(&mut stage, Some(&[]), Some(&[])), [gone]);
}

#[test]
fn an_unanswered_deploy_is_found_by_whichever_shows_its_name_and_given_up_by_the_one_that_was_asked() {
    let mut stage = twins();
    let name = stage.intend();
    let adopted = Record::Adopted { name: name.clone(), id: of("i1") };
    assert_eq!(look(&mut stage, None, Some(&[twin_of("i1", &name, StoppedReleased)])), [adopted]);
    assert_eq!(stage.standing(&name), Standing::Pending, "how it stands is not the twin's to say");

    let mut stage = twins();
    let name = stage.intend();
    for _ in 0..20 {
        assert_eq!(look(&mut stage, None, Some(&[])), [], "the twin's lists say nothing of it");
    }
    assert_eq!(look(&mut stage, Some(&[]), Some(&[])), []);
    assert_eq!(look(&mut stage, Some(&[]), Some(&[])), [Record::Abandoned { name }]);
}

#[test]
fn strays_and_vms_of_others_count_once_by_the_sighting_that_tells_most() {
    let mut stage = twins();
    let (stray, foreign): (VmName, VmName) = (of("spotscale-train-old-1"), of("database"));
    let own = [instance("i1", &stray, Running), instance("i2", &foreign, Running)];
    let twin = [twin_of("i1", &stray, Running), twin_of("i2", &foreign, Running)];
    // Whichever name comes first.
    for (first, second) in [(&own, &twin), (&twin, &own)] {
        look(&mut stage, Some(first), Some(second));
        let joined = stage.joined();
        let strays = &joined.fleets[&of("train")].strays;
        assert_eq!(strays.iter().map(|stray| stray.rate()).collect::<Vec<_>>(), [of("0.41")]);
        assert_eq!(joined.foreign[&of("tensordock")], of("0.41"));
    }
    look(&mut stage, Some(&twin), None);
    assert_eq!(stage.fleet().strays[0].marketplace, of("tensordock"), "seen now before seen once");
}

#[test]
fn what_turns_up_late_is_reported_once_and_gone_when_nobody_lists_it() {
    let mut stage = twins();
    let name = stage.intend();
    for _ in 0..12 {
        look(&mut stage, Some(&[]), Some(&[]));
    }
    assert!(stage.ledger().past(&name).is_some(), "given up");
    let (own, twin) = ([instance("i1", &name, Running)], [twin_of("i1", &name, Running)]);
    let reported = look(&mut stage, Some(&own), Some(&twin));
    assert!(matches!(&reported[..], [Record::Late { marketplace, .. }] if marketplace.as_str() == "tensordock"));
    let id: InstanceId = of("i1");
    stage.delete(&name, "i1", true);
    let lates = |stage: &Stage| stage.ledger().late().values().cloned().collect::<Vec<LateVm>>().len();
    assert_eq!((look(&mut stage, Some(&[]), Some(&twin)), lates(&stage)), (vec![], 1));
    let gone = Record::Gone { name, id, how: Ending::Deleted };
    assert_eq!((look(&mut stage, Some(&[]), Some(&[])), lates(&stage)), (vec![gone], 0));
}

#[test]
fn one_vm_under_an_id_of_each_api_is_one_vm_and_never_deleted_as_a_second() {
    // Its own marketplace shows it first, or the other.
    for own_first in [true, false] {
        let mut stage = twins();
        let name = stage.intend();
        let (own, twin) = ([instance("i1", &name, Running)], [twin_of("other", &name, Running)]);
        if !own_first {
            let adopted = Record::Adopted { name: name.clone(), id: of("other") };
            assert_eq!(look(&mut stage, Some(&[]), Some(&twin)), [adopted]);
        }
        let told = look(&mut stage, Some(&own), Some(&twin));
        assert!(told.contains(&Record::Adopted { name: name.clone(), id: of("i1") }), "{told:?}");
        for _ in 0..8 {
            assert_eq!(look(&mut stage, Some(&own), Some(&twin)), []);
            assert_eq!((stage.standing(&name), stage.counts()), (Standing::Running, (2, of("0.41"))));
            assert!(stage.is_complete() && stage.fleet().late.is_empty() && stage.fleet().strays.is_empty());
        }
        // A second one that its own marketplace shows is a second one.
        let two = [own[0].clone(), instance("i2", &name, Running)];
        let told = look(&mut stage, Some(&two), Some(&twin));
        assert!(matches!(&told[..], [Record::Late { id, .. }] if id.as_str() == "i2"), "{told:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the twin says, hides or fails to say: while the one that rented a VM lists it, memory is the same as
    /// without the twin; and however it hides it itself, nothing that the twin lists ends.
    #[test]
    fn a_twin_changes_nothing_but_that_what_it_lists_does_not_end(
        looks in proptest::collection::vec((0u8..4, 0u8..5), 1..25),
    ) {
        let (mut alone, mut both) = (twins(), twins());
        let name = alone.deploy("i1");
        both.deploy("i1");
        for (own, twin) in looks {
            let own = match own {
                0 => Some(vec![instance("i1", &name, Outbid)]),
                1 => Some(vec![]),
                2 => None,
                _ => Some(vec![instance("i1", &name, Running)]),
            };
            let twin = match twin {
                0 => None,
                1 => Some(vec![]),
                2 => Some(vec![twin_of("i1", &name, StoppedReleased)]),
                3 => Some(vec![twin_of("i1", &name, Running)]),
                _ => Some(vec![twin_of("i1", &name, Leaving)]),
            };
            let is_shown = |list: &Option<Vec<Instance>>| {
                list.as_ref().is_some_and(|list| list.iter().any(|instance| instance.status != Leaving))
            };
            look(&mut alone, own.as_deref(), Some(&[]));
            all_gone_by_id(&mut alone);
            let before = both.ledger().past(&name).is_some();
            look(&mut both, own.as_deref(), twin.as_deref());
            all_gone_by_id(&mut both);
            let ended = !before && both.ledger().past(&name).is_some();
            prop_assert!(!ended || !is_shown(&twin), "it ended although the twin lists it");
            if both.ledger().past(&name).is_some() || alone.ledger().past(&name).is_some() {
                break;
            }
            if is_shown(&own) {
                prop_assert_eq!(both.standing(&name), alone.standing(&name));
                prop_assert_eq!(both.counts(), alone.counts());
            }
        }
    }
}
