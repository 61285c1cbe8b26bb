//! CONTRACT, "Gone", "Counting" and what a list proves.

use super::{
    Record, Standing,
    fleet::{DeleteAnswer, DeleteAttempt},
    record::{Answer, Cause, Ending},
    stage::{DELETE_REASON, Stage, instance, of},
};
use crate::model::{
    HourlyRate,
    InstanceStatus::{self, Leaving, Outbid, Running, Starting, StoppedKept, StoppedReleased, Unknown},
    Lookup, Refusal, VmName,
    offer::BidAnswer,
    reason::Teardown,
    time::after,
};
use std::time::Duration;

fn gone(name: &VmName, id: &str, how: Ending) -> Record {
    Record::Gone { name: name.clone(), id: of(id), how }
}

/// Two that run and were listed.
fn two() -> (Stage, VmName, VmName) {
    let mut stage = Stage::new();
    let (a, b) = (stage.deploy("i1"), stage.deploy("i2"));
    stage.list(&[instance("i1", &a, Running), instance("i2", &b, Running)]);
    (stage, a, b)
}

#[test]
fn an_acknowledged_delete_and_the_next_complete_list_prove_it_gone() {
    let (mut stage, a, b) = two();
    stage.delete(&a, "i1", true);
    assert_eq!((stage.standing(&a), stage.counts()), (Standing::Leaving, (4, of("0.82"))));
    assert_eq!(stage.list(&[instance("i1", &a, Running), instance("i2", &b, Running)]), [], "still listed");
    assert_eq!(stage.list(&[]), [], "suddenly empty");
    assert_eq!(stage.list_with_dropped(&[instance("i2", &b, Running)]), []);
    assert_eq!(stage.list(&[instance("i2", &b, Running)]), [gone(&a, "i1", Ending::Deleted)]);
    assert_eq!(stage.counts(), (2, of("0.41")));
}

#[test]
fn the_last_one_deleted_leaves_an_empty_list_that_is_complete() {
    let mut stage = Stage::new();
    let name = stage.deploy("i1");
    stage.list(&[instance("i1", &name, Running)]);
    stage.delete(&name, "i1", true);
    assert_eq!(stage.list(&[]), [gone(&name, "i1", Ending::Deleted)]);
    assert!(stage.is_complete());
}

#[test]
fn a_delete_in_doubt_needs_the_same_proof_as_no_delete() {
    let (mut stage, a, b) = two();
    stage.delete(&a, "i1", false);
    assert!(stage.fleet().members[&a].write_in_doubt, "so that it is sent again");
    for _ in 0..2 {
        assert_eq!(stage.list(&[instance("i2", &b, Running)]), []);
        assert_eq!(stage.wanted(), [], "asked for by id only once several lists lack it");
    }
    assert_eq!(stage.list(&[instance("i2", &b, Running)]), []);
    assert!(!stage.is_complete());
    assert_eq!(stage.look_up(&Err(Refusal::Unreachable("timed out".into()))), [], "a call that failed proves nothing");
    assert_eq!(stage.wanted(), [], "and is not asked again before the next list");
    stage.list(&[instance("i2", &b, Running)]);
    assert_eq!(stage.look_up(&Ok(Lookup::Gone)), [gone(&a, "i1", Ending::NotFound)]);
    assert!(stage.is_complete());
}

#[test]
fn a_vm_that_answers_by_id_is_there_whatever_the_lists_say() {
    let (mut stage, a, b) = two();
    for _ in 0..6 {
        stage.list(&[instance("i2", &b, Running)]);
        stage.look_up(&Ok(Lookup::Here(instance("i1", &a, Running))));
        assert_eq!((stage.standing(&a), stage.counts().0), (Standing::Running, 4));
        assert!(!stage.is_complete());
    }
}

#[test]
fn lists_that_drop_something_break_the_row() {
    let (mut stage, _, b) = two();
    for _ in 0..3 {
        stage.list(&[instance("i2", &b, Running)]);
        stage.list(&[instance("i2", &b, Running)]);
        stage.list_with_dropped(&[instance("i2", &b, Running)]);
        assert_eq!(stage.wanted(), []);
    }
    stage.list(&[instance("i2", &b, Running)]);
    stage.list(&[instance("i2", &b, Running)]);
    stage.list_fails();
    assert_eq!(stage.wanted(), []);
    stage.list(&[instance("i2", &b, Running)]);
    assert_eq!(stage.wanted(), [of("i1")], "a failed call is no list and breaks nothing");
}

#[test]
fn where_nothing_can_be_asked_by_id_five_lists_over_the_grace_prove_it() {
    let (mut stage, a, b) = two();
    stage.view().answers_by_id = false;
    for _ in 0..10 {
        assert!(!stage.list(&[instance("i2", &b, Running)]).iter().any(|record| record.kind() == "gone"));
        assert!(!stage.is_complete() && stage.wanted().is_empty());
    }
    assert_eq!(stage.standing(&a), Standing::Lost);
    assert_eq!(stage.list(&[instance("i2", &b, Running)]), [gone(&a, "i1", Ending::Unlisted)], "after 300 s");

    let (mut stage, a, b) = two();
    stage.view().answers_by_id = false;
    for _ in 0..4 {
        stage.list_after(400, &[instance("i2", &b, Running)], &[]);
        assert!(stage.fleet().members.contains_key(&a), "four lists are not enough however long they took");
    }
    assert_eq!(stage.list_after(400, &[instance("i2", &b, Running)], &[]), [gone(&a, "i1", Ending::Unlisted)]);
}

#[test]
fn a_row_of_lists_begins_when_its_first_list_came_however_long_ago_it_was_asked_for() {
    let (mut stage, a, b) = two();
    stage.view().answers_by_id = false;
    stage.list_late(240, &[instance("i2", &b, Running)]);
    for _ in 0..9 {
        assert!(!stage.list(&[instance("i2", &b, Running)]).iter().any(|record| record.kind() == "gone"));
    }
    assert_eq!(stage.list(&[instance("i2", &b, Running)]), [gone(&a, "i1", Ending::Unlisted)], "300 s after it came");
}

#[test]
fn a_suddenly_empty_list_changes_no_standing() {
    let (mut stage, a, _) = two();
    for _ in 0..10 {
        assert_eq!(stage.list(&[]), []);
        assert_eq!((stage.standing(&a), stage.counts()), (Standing::Running, (4, of("0.82"))));
        assert!(!stage.is_complete());
    }
}

#[test]
fn what_several_lists_lack_is_lost_and_may_come_back() {
    let (mut stage, a, b) = two();
    let standing = |from, to, cause| Record::Standing { name: a.clone(), from, to, cause };
    for _ in 0..2 {
        assert_eq!(stage.list(&[instance("i2", &b, Running)]), []);
    }
    let lost = standing(Standing::Running, Standing::Lost, Cause::Vanished);
    assert_eq!(stage.list(&[instance("i2", &b, Running)]), [lost]);
    assert_eq!(stage.counts(), (4, of("0.82")), "it counts in full until it is proven gone");
    let back = standing(Standing::Lost, Standing::Running, Cause::CameBack);
    assert_eq!(stage.list(&[instance("i1", &a, Running), instance("i2", &b, Running)]), [back]);
    assert!(stage.is_complete());
}

#[test]
fn what_ended_without_our_doing_was_interrupted_once() {
    let (mut stage, a, b) = two();
    let vanished = Some(crate::model::reason::Interruption::Vanished);
    let found_gone = gone(&a, "i1", Ending::NotFound);
    assert_eq!(super::interruption(stage.ledger(), &found_gone), vanished);
    assert_eq!(super::interruption(stage.ledger(), &gone(&a, "i1", Ending::Deleted)), None);
    for _ in 0..2 {
        stage.list(&[instance("i2", &b, Running)]);
    }
    stage.list(&[instance("i2", &b, Running)]);
    assert_eq!((stage.standing(&a), super::interruption(stage.ledger(), &found_gone)), (Standing::Lost, None));
    stage.delete(&b, "i2", false);
    assert_eq!(super::interruption(stage.ledger(), &gone(&b, "i2", Ending::NotFound)), None);
}

#[test]
fn one_that_was_made_after_the_list_is_not_missed_by_it() {
    let mut stage = Stage::new();
    stage.list(&[]);
    let name = stage.deploy("i1");
    assert!(stage.is_complete());
    stage.list(&[]);
    assert!(!stage.is_complete(), "the next one must have it");
    stage.list(&[instance("i1", &name, Starting)]);
    assert!(stage.is_complete());
}

#[test]
fn one_that_shows_up_late_is_not_taken_for_gone_before_the_grace() {
    let mut stage = Stage::new();
    let name = stage.deploy("i1");
    for _ in 0..9 {
        stage.list(&[]);
        assert_eq!(stage.look_up(&Ok(Lookup::Gone)), []);
        assert_eq!(stage.counts(), (2, of("0.41")));
    }
    let mut seen = stage.restarted();
    assert!(seen.list(&[instance("i1", &name, Starting)]).is_empty());
    assert!(seen.is_complete());

    let records = stage.list(&[]);
    assert_eq!(records, [Record::Abandoned { name }], "its money stays reserved, for it may still turn up");
    assert_eq!(stage.counts(), (0, of("0.41")));
}

#[track_caller]
fn check_standing(status: InstanceStatus, standing: Standing, gpus: u32, rate: &str) {
    let mut stage = Stage::new();
    let name = stage.deploy("i1");
    stage.list(&[instance("i1", &name, status.clone())]);
    assert_eq!((stage.standing(&name), stage.counts()), (standing, (gpus, of(rate))), "{status}");
    stage.list_fails();
    assert_eq!(stage.standing(&name), standing, "{status}, after a failed call");
    assert_eq!(stage.restarted().standing(&name), standing, "{status}, after a restart");
}

#[test]
fn each_status_counts_as_the_contract_says() {
    check_standing(Starting, Standing::Pending, 2, "0.41");
    check_standing(Running, Standing::Running, 2, "0.41");
    check_standing(Outbid, Standing::Outbid, 2, "0.41");
    check_standing(StoppedKept, Standing::StoppedKept, 2, "0.41");
    check_standing(StoppedReleased, Standing::StoppedReleased, 0, "0.01");
    check_standing(Unknown("relocating".into()), Standing::Lost, 2, "0.41");
    check_standing(Leaving, Standing::Lost, 2, "0.41");
}

#[test]
fn what_is_started_again_counts_in_full_until_a_list_says_otherwise() {
    let mut stage = Stage::new();
    let name = stage.deploy("i1");
    let stopped = [instance("i1", &name, StoppedReleased)];
    let start = |answer| Record::StartSettled { name: name.clone(), answer, detail: String::new() };
    stage.list(&stopped);
    stage.write(Record::StartIntended { name: name.clone(), why: String::new() });
    assert_eq!((stage.standing(&name), stage.counts()), (Standing::Pending, (2, of("0.41"))));
    stage.write(start(Answer::Refused));
    assert_eq!((stage.standing(&name), stage.counts()), (Standing::StoppedReleased, (0, of("0.01"))));

    stage.write(Record::StartIntended { name: name.clone(), why: String::new() });
    stage.write(start(Answer::Done));
    assert_eq!(stage.counts(), (2, of("0.41")), "the list is older than the start");
    assert_eq!(stage.restarted().counts(), (2, of("0.41")), "a restart knows it too");
    stage.list(&stopped);
    assert_eq!(stage.counts(), (2, of("0.41")), "the list may lag");
    stage.list_after(300, &stopped, &[]);
    assert_eq!(stage.counts(), (0, of("0.01")), "it did not start");

    stage.write(Record::StartIntended { name: name.clone(), why: String::new() });
    stage.write(Record::StartInDoubt { name: name.clone(), detail: String::new() });
    stage.list(&stopped);
    assert_eq!(stage.counts(), (2, of("0.41")), "it may be made yet");
    stage.list_after(300, &stopped, &[]);
    assert_eq!(stage.counts(), (0, of("0.01")), "it was not");

    stage.write(Record::StartIntended { name: name.clone(), why: String::new() });
    stage.write(start(Answer::Done));
    stage.list(&[instance("i1", &name, Starting)]);
    stage.list(&stopped);
    assert_eq!(stage.counts(), (2, of("0.41")), "that list is an old one");
    assert_eq!(stage.restarted().counts(), (2, of("0.41")), "a restart knows it too");
    stage.list_after(300, &stopped, &[]);
    assert_eq!(stage.counts(), (0, of("0.01")), "it stopped");
}

#[test]
fn what_is_stopped_counts_as_before_and_is_on_its_way_until_a_list_shows_what_became_of_it() {
    let mut stage = Stage::new();
    let name = stage.deploy("i1");
    stage.list(&[instance("i1", &name, Running)]);
    let stop = |stage: &mut Stage, answer| {
        let (why, detail) = (String::new(), String::new());
        stage.write(Record::StopIntended { name: name.clone(), reason: Teardown::Target, why });
        stage.write(Record::StopSettled { name: name.clone(), answer, detail });
    };
    let is_stopping = |stage: &Stage| stage.fleet().members[&name].attempts.stop.is_some();
    stop(&mut stage, Answer::Refused);
    assert!(!is_stopping(&stage));
    stop(&mut stage, Answer::Done);
    assert_eq!((is_stopping(&stage), stage.counts()), (true, (2, of("0.41"))));
    let mut unmoved = stage.restarted();
    unmoved.list(&[instance("i1", &name, Running)]);
    assert!(!is_stopping(&unmoved), "it did not stop, and may be stopped again");
    stage.list(&[instance("i1", &name, StoppedReleased)]);
    assert_eq!((is_stopping(&stage), stage.counts()), (false, (0, of("0.01"))));
}

#[test]
fn the_greater_of_agreed_and_quoted_counts() {
    let mut stage = Stage::new();
    let name = stage.deploy("i1");
    let mut dear = instance("i1", &name, Running);
    dear.quoted = Some(super::stage::rates("0.50", "0.02"));
    stage.list(&[dear]);
    assert_eq!(stage.counts(), (2, of("0.52")));
}

#[test]
fn a_rebid_counts_at_the_higher_bid_until_it_is_answered() {
    let (mut stage, a, b) = two();
    let outbid = [instance("i1", &a, Outbid), instance("i2", &b, Running)];
    let records = stage.list(&outbid);
    assert!(matches!(&records[..], [Record::Standing { cause: Cause::Outbid, .. }]), "{records:?}");
    stage.write(Record::RebidIntended { name: a.clone(), from: of("0.40"), to: of("0.60"), why: String::new() });
    assert_eq!(stage.counts().1, of("1.02"));
    assert!(stage.fleet().members[&a].write_in_doubt);
    let detail = String::new();

    let mut refused = stage.restarted();
    refused.list(&outbid);
    refused.write(Record::RebidSettled { name: a.clone(), answer: BidAnswer::Refused, detail: detail.clone() });
    assert_eq!(refused.counts().1, of("0.82"));
    assert_eq!(refused.fleet().members[&a].rebid_accepted_at, None);

    let mut throttled = stage.restarted();
    throttled.list(&outbid);
    throttled.write(Record::RebidNotMade { name: a.clone(), detail: detail.clone() });
    assert_eq!(throttled.counts().1, of("0.82"));
    let attempts = throttled.fleet().members[&a].attempts.clone();
    assert_eq!(attempts.rebid_refused, None, "the bid itself was not refused");

    let mut in_doubt = stage.restarted();
    in_doubt.write(Record::RebidInDoubt { name: a.clone(), detail: detail.clone() });
    assert!(in_doubt.fleet().members[&a].write_in_doubt);
    in_doubt.list(&outbid);
    assert!(!in_doubt.fleet().members[&a].write_in_doubt, "a later list shows what became of it");
    assert_eq!(in_doubt.counts().1, of("1.02"), "but not which bid is in force");

    stage.write(Record::RebidSettled { name: a.clone(), answer: BidAnswer::Accepted, detail });
    let member = stage.fleet().members[&a].clone();
    assert_eq!((member.agreed.compute, member.rebid_accepted_at), (of("0.60"), Some(stage.now)));
    stage.list(&[instance("i1", &a, Running), instance("i2", &b, Running)]);
    assert_eq!(stage.fleet().members[&a].rebid_accepted_at, None, "read back");
}

#[test]
fn an_unanswered_rebid_is_accepted_once_a_later_list_shows_the_new_bid() {
    let (mut stage, a, b) = two();
    let list = |bid: &str| {
        let mut outbid = instance("i1", &a, Outbid);
        outbid.quoted = Some(super::stage::rates(bid, "0.01"));
        [outbid, instance("i2", &b, Running)]
    };
    stage.list(&list("0.40"));
    stage.write(Record::RebidIntended { name: a.clone(), from: of("0.40"), to: of("0.60"), why: String::new() });
    let mut stage = stage.restarted();
    assert_eq!(stage.list(&list("0.40")), [], "the old bid proves nothing");
    let records = stage.list(&list("0.60"));
    assert!(matches!(&records[..], [Record::RebidSettled { answer: BidAnswer::Accepted, .. }]), "{records:?}");
    let member = stage.fleet().members[&a].clone();
    assert_eq!((member.agreed.compute, member.rebid_accepted_at), (of("0.60"), Some(stage.now)));
}

#[test]
fn a_stop_of_ours_is_no_interruption_and_one_of_anybody_elses_is() {
    let (mut stage, a, b) = two();
    stage.write(Record::StopIntended { name: a.clone(), reason: Teardown::Target, why: String::new() });
    stage.write(Record::StopSettled { name: a.clone(), answer: Answer::Done, detail: String::new() });
    assert_eq!(stage.ledger().scaled_down_at(&of("train")), Some(stage.now));
    let records = stage.list(&[instance("i1", &a, StoppedReleased), instance("i2", &b, StoppedKept)]);
    let causes: Vec<_> = records
        .iter()
        .map(|record| match record {
            Record::Standing { name, cause, .. } => (name == &a, *cause, cause.interruption().is_some()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(causes, [(true, Cause::StoppedByUs, false), (false, Cause::Stopped, true)]);
}

#[test]
fn a_refused_delete_leaves_the_vm_as_it_was() {
    let (mut stage, a, _) = two();
    stage.delete(&a, "i1", false);
    let (id, detail) = (of("i1"), "locked".into());
    stage.write(Record::DeleteSettled { name: a.clone(), id, answer: Answer::Refused, detail });
    assert_eq!(stage.standing(&a), Standing::Running);
    assert!(!stage.fleet().members[&a].write_in_doubt);
}

#[test]
fn refusals_to_let_a_vm_go_are_counted_while_it_stands_as_it_does() {
    let (mut stage, a, b) = two();
    let refuse = |stage: &mut Stage| {
        stage.pass(7).delete(&a, "i1", false);
        let (id, answer) = (of("i1"), Answer::Refused);
        stage.write(Record::DeleteSettled { name: a.clone(), id, answer, detail: String::new() });
        stage.now
    };
    refuse(&mut stage);
    let at = refuse(&mut stage);
    let tried = |answer| Some(DeleteAttempt { at, reason: DELETE_REASON, answer });
    let attempts = |stage: &Stage| stage.fleet().members[&a].attempts.clone();
    assert_eq!(attempts(&stage).delete, tried(DeleteAnswer::Refused(2)));
    stage.pass(3);
    assert_eq!(attempts(&stage.restarted()).delete, tried(DeleteAnswer::Refused(2)), "a restart knows it too");

    let stop = |stage: &mut Stage, answer| {
        stage.write(Record::StopIntended { name: a.clone(), reason: DELETE_REASON, why: String::new() });
        stage.write(Record::StopSettled { name: a.clone(), answer, detail: String::new() });
    };
    stop(&mut stage, Answer::Refused);
    assert_eq!(attempts(&stage).stop_refused, Some((stage.now, 1)));
    let mut done = stage.restarted();
    stop(&mut done, Answer::Done);
    assert_eq!(attempts(&done).stop_refused, None);

    stage.list(&[instance("i1", &a, Outbid), instance("i2", &b, Running)]);
    assert_eq!((attempts(&stage).delete, attempts(&stage).stop_refused), (None, None));
    stage.delete(&a, "i1", true);
    let acked = DeleteAttempt { at: stage.now, reason: DELETE_REASON, answer: DeleteAnswer::Acked };
    assert_eq!(attempts(&stage).delete, Some(acked));
}

#[test]
fn a_vm_that_never_runs_is_its_hostnodes_failure_and_one_that_runs_makes_it_forgotten() {
    let memory = |stage: &Stage| {
        let hosts = stage.ledger().hosts(stage.now);
        hosts.get(&(of("tensordock"), of("h1"))).cloned().unwrap_or_default()
    };
    let mut stage = Stage::new();
    for number in 1..=3 {
        let id = format!("i{number}");
        let name = stage.deploy(&id);
        assert!(!memory(&stage).quarantined, "a good answer to a deploy makes nothing forgotten");
        stage.list_after(1_800, &[instance(&id, &name, Starting)], &[]);
        let (id, reason) = (of(&id), Teardown::Lost);
        stage.write(Record::DeleteIntended { name: name.clone(), id, reason, why: String::new() });
        let hour = Duration::from_secs(3_600) * [1, 2, 4][number - 1];
        assert_eq!(memory(&stage).cooldown_until, Some(after(stage.now, hour)));
    }
    assert!(memory(&stage).quarantined && memory(&stage.restarted()).quarantined);

    let name = stage.deploy("i9");
    stage.list(&[instance("i9", &name, Running)]);
    assert_eq!((memory(&stage).quarantined, memory(&stage).cooldown_until), (false, None));
    // One that ran and was lost is no failed deploy.
    stage.list(&[instance("i9", &name, Unknown("?".into()))]);
    let (id, reason) = (of("i9"), Teardown::Lost);
    stage.write(Record::DeleteIntended { name, id, reason, why: String::new() });
    assert_eq!(memory(&stage).cooldown_until, None);
}

#[test]
fn an_acknowledged_delete_that_does_nothing_is_in_doubt_again_after_the_grace() {
    let (mut stage, a, b) = two();
    stage.delete(&a, "i1", true);
    stage.list_after(299, &[instance("i1", &a, Running), instance("i2", &b, Running)], &[]);
    assert!(!stage.fleet().members[&a].write_in_doubt);
    stage.list_after(1, &[instance("i1", &a, Running), instance("i2", &b, Running)], &[]);
    assert!(stage.fleet().members[&a].write_in_doubt);
    stage.delete(&a, "i1", false);
    assert!(stage.fleet().members[&a].write_in_doubt, "sent again");
    assert_eq!(stage.fleet().members.len(), 2);
}

#[test]
fn two_vms_under_one_name_are_one_and_a_late_one() {
    let mut stage = Stage::new();
    let name = stage.intend();
    let records = stage.list(&[instance("i2", &name, Running), instance("i1", &name, Running)]);
    let late: Vec<_> = records.iter().filter(|record| record.kind() == "late").collect();
    assert!(matches!(&late[..], [Record::Late { id, .. }] if id.as_str() == "i2"), "{records:?}");
    let fleet = stage.fleet();
    assert_eq!((fleet.members[&name].id.clone(), fleet.late[0].id.clone()), (Some(of("i1")), of("i2")));
    assert_eq!((fleet.counted_gpus(), fleet.stray_gpus(), fleet.committed()), (2, 2, of("0.82")));
    assert!(stage.is_complete());
    stage.delete(&name, "i2", true);
    assert_eq!(stage.standing(&name), Standing::Running, "only the late one is deleted");
    assert_eq!(stage.list(&[instance("i1", &name, Running)]), [gone(&name, "i2", Ending::Deleted)]);
}

#[test]
fn the_name_is_the_key_even_where_the_id_is_another_than_was_said() {
    let mut stage = Stage::new();
    let name = stage.deploy("said");
    let records = stage.list(&[instance("listed", &name, Running)]);
    assert_eq!(records[0], Record::Adopted { name: name.clone(), id: of("listed") });
    assert_eq!((stage.standing(&name), stage.fleet().late.len()), (Standing::Running, 0));
}

#[test]
fn a_deleted_vm_that_comes_back_is_late() {
    let (mut stage, a, b) = two();
    stage.delete(&a, "i1", true);
    stage.list(&[instance("i2", &b, Running)]);
    let leaving = [instance("i1", &a, Leaving), instance("i2", &b, Running)];
    assert_eq!(stage.list(&leaving), [], "a shadow on its way out");
    let records = stage.list(&[instance("i1", &a, Running), instance("i2", &b, Running)]);
    assert!(matches!(&records[..], [Record::Late { .. }]), "{records:?}");
}

#[test]
fn a_refused_deploy_that_left_something_behind_is_late() {
    let mut stage = Stage::new();
    let name = stage.intend();
    let refusal = crate::model::refusal::RefusalKind::NoCapacity;
    stage.write(Record::DeployRefused { name: name.clone(), refusal, detail: String::new() });
    assert_eq!(stage.counts(), (0, of("0")));
    assert_eq!(stage.list(&[instance("i1", &name, Running)]).len(), 1);
    assert_eq!(stage.fleet().late.len(), 1);
}

#[test]
fn a_protection_ends_and_a_stray_elsewhere_keeps_its_own_account() {
    let (mut stage, a, b) = two();
    stage.pass(10);
    let until = Some(crate::model::time::after(stage.now, std::time::Duration::from_secs(60)));
    stage.write(Record::Protected { name: a.clone(), until });
    stage.write(Record::Protected { name: b.clone(), until: None });
    assert!(stage.fleet().members[&a].protected && stage.fleet().members[&b].protected);
    stage.pass(60);
    assert!(!stage.fleet().members[&a].protected && stage.fleet().members[&b].protected);

    let mut other = stage.inventory.markets.values().next().unwrap().clone();
    other.account = of("other");
    other.instances = crate::model::Reading::taken(
        stage.now,
        crate::model::Scan { items: vec![instance("i1", &a, Running)].into(), dropped: vec![] },
    );
    stage.inventory.markets.insert(of("other"), other);
    stage.look();
    let fleet = stage.fleet();
    assert_eq!((fleet.members.len(), fleet.late.len(), fleet.strays[0].account.clone()), (2, 0, of("other")));
}

#[test]
fn two_marketplaces_of_one_account_show_one_vm() {
    let (mut stage, a, b) = two();
    let stray: VmName = of("spotscale-train-old-1");
    let foreign: VmName = of("mine");
    let all = [("i1", &a), ("i2", &b), ("i3", &stray), ("i4", &foreign)].map(|(id, name)| instance(id, name, Running));
    stage.list(&all);
    let twin = stage.inventory.markets.values().next().unwrap().clone();
    stage.inventory.markets.insert(of("tensordock-v2"), twin);
    assert_eq!(stage.look(), []);
    let joined = stage.joined();
    let fleet = &joined.fleets[&of("train")];
    assert_eq!((fleet.members.len(), fleet.strays.len(), fleet.late.len()), (2, 1, 0));
    assert_eq!(joined.foreign[&of("tensordock")], of("0.41"));
}

#[test]
fn after_its_account_was_renamed_a_vm_is_followed_and_counted_once_and_the_new_name_pays() {
    let mut stage = Stage::new();
    let name = stage.deploy("i1");
    let open = stage.intend();
    stage.list(&[instance("i1", &name, Running)]);
    let mut stage = stage.restarted();
    stage.view().account = of("renamed");
    let adopted = Record::Adopted { name: open.clone(), id: of("i2") };
    let told = stage.list(&[instance("i1", &name, Outbid), instance("i2", &open, Running)]);
    assert!(told.contains(&adopted), "{told:?}");
    assert_eq!((stage.standing(&name), stage.standing(&open)), (Standing::Outbid, Standing::Running));
    let joined = stage.joined();
    let fleet = &joined.fleets[&of("train")];
    assert!(fleet.strays.is_empty() && fleet.members.values().all(|member| member.account == of("renamed")));
    assert_eq!(joined.foreign[&of("renamed")], HourlyRate::ZERO);
    let records = super::accrue(stage.ledger(), &joined.fleets, stage.now);
    stage.journal.append(stage.now, records).unwrap();
    stage.pass(3_600);
    let records = super::accrue(stage.ledger(), &stage.joined().fleets, stage.now);
    let accounts = |record: &Record| match record {
        Record::Accrued { accounts, .. } => accounts.keys().map(ToString::to_string).collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    assert_eq!(records.iter().flat_map(accounts).collect::<Vec<_>>(), ["renamed"]);
}
