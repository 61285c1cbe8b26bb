//! ARCHITECTURE, "One tick, and what a crash can do": row by row.

use super::{
    Phase, Record, Standing,
    fleet::{DeleteAnswer, DeleteAttempt},
    stage::{Stage, instance, of},
};
use proptest::prelude::*;

use crate::{
    io::store::{MemoryStore, memory::Mishap},
    model::{InstanceStatus::Running, VmName, name::Namer},
};

fn nothing_counted() -> (u32, crate::model::HourlyRate) {
    (0, of("0"))
}

#[test]
fn before_the_intent_is_durable_nothing_was_sent_and_all_is_planned_afresh() {
    let mut stage = Stage::new();
    let store = std::sync::Arc::new(stage.store.reopen());
    stage.journal = super::Journal::open(store.clone(), stage.now, &super::stage::NoEntropy(0), "spotscale").unwrap();
    let planned = stage.ledger().namer().next_name(&of("train"));
    store.meet(Mishap::DiesBefore);
    let intent = super::stage::intent(planned.clone(), "train");
    stage.try_write(Record::DeployIntended(Box::new(intent))).unwrap_err();
    assert!(stage.ledger().holdings().is_empty(), "nothing is folded that is not durable");

    let mut next = stage.restarted();
    assert_eq!(next.counts(), nothing_counted());
    assert_eq!(next.intend(), planned);
}

#[test]
fn after_the_intent_its_deploy_counts_against_every_limit_and_is_looked_for() {
    let mut stage = Stage::new();
    let store = std::sync::Arc::new(stage.store.reopen());
    stage.journal = super::Journal::open(store.clone(), stage.now, &super::stage::NoEntropy(0), "spotscale").unwrap();
    let name = stage.ledger().namer().next_name(&of("train"));
    store.meet(Mishap::DiesAfter);
    let intent = super::stage::intent(name.clone(), "train");
    stage.try_write(Record::DeployIntended(Box::new(intent))).unwrap_err();

    let mut next = stage.restarted();
    assert_eq!(next.ledger().holdings()[&name].phase, Phase::Intended);
    assert_eq!(next.counts(), (2, of("0.41")));
    assert_eq!(next.standing(&name), Standing::InDoubt);
    assert_eq!(next.list(&[]), []);
    assert!(next.is_complete(), "a name that is looked for makes no list incomplete");
    assert_eq!(next.counts(), (2, of("0.41")));
}

#[test]
fn a_lost_answer_counts_the_same() {
    let mut stage = Stage::new();
    let name = stage.intend();
    stage.write(Record::DeployInDoubt { name: name.clone(), detail: "500".into() });
    let next = stage.restarted();
    assert_eq!(next.ledger().holdings()[&name].phase, Phase::InDoubt);
    assert_eq!((next.counts(), next.standing(&name)), ((2, of("0.41")), Standing::InDoubt));
}

#[test]
fn a_name_seen_in_a_later_list_is_adopted() {
    for answer_lost in [true, false] {
        let mut stage = Stage::new();
        let name = stage.intend();
        if answer_lost {
            stage.write(Record::DeployInDoubt { name: name.clone(), detail: "500".into() });
        }
        let mut next = stage.restarted();
        let records = next.list(&[instance("i1", &name, Running)]);
        assert_eq!(records[0], Record::Adopted { name: name.clone(), id: of("i1") });
        assert_eq!((next.counts(), next.standing(&name)), ((2, of("0.41")), Standing::Running));
        let member = next.fleet().members[&name].clone();
        assert_eq!((member.id, member.running_since), (Some(of("i1")), Some(next.now)));
        assert_eq!(member.address.as_deref(), Some("203.0.113.7"));
        assert!(next.fleet().strays.is_empty() && next.joined().foreign.values().all(|rate| rate.is_zero()));
    }
}

#[test]
fn a_name_absent_from_two_complete_lists_the_last_after_the_grace_is_abandoned() {
    let mut stage = Stage::new();
    let name = stage.intend();
    assert_eq!(stage.list_after(299, &[], &[]), []);
    let abandoned = Record::Abandoned { name: name.clone() };
    assert_eq!(stage.list_after(1, &[], &[]), [abandoned]);
    let fleet = stage.fleet();
    assert_eq!((fleet.counted_gpus(), fleet.committed()), (0, of("0.41")), "the money stays reserved");
    assert_eq!((fleet.reserved[0].name.clone(), fleet.reserved[0].until), (name.clone(), stage.pass(3_600).now));
    assert_eq!(stage.counts(), nothing_counted());

    assert_ne!(stage.ledger().namer().next_name(&of("train")), name);
    let again = Record::DeployIntended(Box::new(super::stage::intent(name.clone(), "train")));
    let refused = stage.try_write(again).unwrap_err().to_string();
    assert_eq!(refused, format!("refused to journal `deploy_intended`: the name {name} was given before"));
}

#[test]
fn one_list_after_the_grace_is_not_enough_and_a_restart_begins_anew() {
    let mut stage = Stage::new();
    let name = stage.intend();
    stage.list(&[]);
    let mut next = stage.restarted();
    assert_eq!(next.list_after(1_000, &[], &[]), [], "this process has seen one list");
    assert_eq!(next.look(), [], "and the same list counts once");
    assert_eq!(next.list(&[]), [Record::Abandoned { name }]);
}

#[test]
fn lists_that_fail_or_drop_something_or_lack_a_held_vm_abandon_nothing() {
    let mut stage = Stage::new();
    let held = stage.deploy("i1");
    stage.list(&[instance("i1", &held, Running)]);
    let name = stage.intend();
    stage.pass(600);
    for _ in 0..4 {
        assert_eq!(stage.list_fails(), []);
        assert_eq!(stage.list_with_dropped(&[instance("i1", &held, Running)]), []);
        assert_eq!(stage.list(&[]), [], "suddenly empty");
        assert!(!stage.is_complete());
    }
    stage.list(&[instance("i1", &held, Running)]);
    assert_eq!(stage.list(&[instance("i1", &held, Running)]), [Record::Abandoned { name }]);
}

#[test]
fn what_appears_even_later_is_reported_reaped_and_gone() {
    let mut stage = Stage::new();
    let name = stage.intend();
    stage.list_after(299, &[], &[]);
    stage.list(&[]);
    stage.pass(600);

    let records = stage.list(&[instance("i9", &name, Running)]);
    assert!(matches!(&records[..], [Record::Late { id, gpus: 2, .. }] if id.as_str() == "i9"), "{records:?}");
    let fleet = stage.fleet();
    assert!(fleet.members.is_empty() && fleet.strays.is_empty() && fleet.reserved.is_empty());
    assert_eq!((fleet.late.len(), fleet.stray_gpus(), fleet.committed()), (1, 2, of("0.41")));
    assert_eq!(stage.list(&[instance("i9", &name, Running)]), [], "once");

    let mut next = stage.restarted();
    assert_eq!(next.fleet().late[0].delete, None);
    next.delete(&name, "i9", true);
    let (at, reason) = (next.now, super::stage::DELETE_REASON);
    let tried = |answer| Some(DeleteAttempt { at, reason, answer });
    assert_eq!(next.fleet().late[0].delete, tried(DeleteAnswer::Acked));
    let mut refused = next.restarted();
    refused.delete(&name, "i9", false);
    assert_eq!(refused.fleet().late[0].delete, tried(DeleteAnswer::InDoubt));
    let (id, detail) = (of("i9"), String::new());
    let answer = super::record::Answer::Refused;
    refused.write(Record::DeleteSettled { name: name.clone(), id, answer, detail });
    assert_eq!(refused.fleet().late[0].delete, tried(DeleteAnswer::Refused(1)));
    assert_eq!(next.list(&[instance("i9", &name, Running)]), []);
    let gone = Record::Gone { name: name.clone(), id: of("i9"), how: super::record::Ending::Deleted };
    assert_eq!(next.list(&[]), [gone]);
    assert!(next.fleet().late.is_empty());
    assert_eq!(next.list(&[instance("i9", &name, Running)]).len(), 1, "and it is late each time it turns up");
}

#[test]
fn after_a_lost_journal_our_names_are_strays() {
    let mut stage = Stage::new();
    let name = stage.deploy("i1");
    let others: VmName = of("somebody-elses");

    let mut next = Stage::on(MemoryStore::default(), 1, stage.now);
    assert_eq!(next.list(&[instance("i1", &name, Running), instance("i2", &others, Running)]), []);
    let fleet = next.fleet();
    assert_eq!((fleet.counted_gpus(), fleet.stray_gpus(), fleet.committed()), (0, 2, of("0.41")));
    assert_eq!(fleet.strays[0].instance.id, of("i1"));
    assert_eq!(next.joined().foreign.into_values().collect::<Vec<_>>(), [of("0.41")]);
    assert_ne!(next.ledger().namer(), Namer { next_sequence: 1, ..stage.ledger().namer() }, "another epoch");

    let vm = super::stage::intent(name.clone(), "train");
    next.write(Record::StrayAdopted { id: of("i1"), vm: Box::new(vm) });
    next.look();
    assert_eq!((next.standing(&name), next.fleet().strays.len()), (Standing::Running, 0));
    assert_eq!(next.counts(), (2, of("0.41")));
}

#[test]
fn a_kill_between_any_two_records_leaves_at_most_one_vm_under_its_name() {
    // The whole life of a VM; after each record the process dies, and the world shows what was sent by then.
    let name: VmName = of("spotscale-train-aaaaaa-1");
    let id = || of("i1");
    let life = [
        Record::DeployIntended(Box::new(super::stage::intent(name.clone(), "train"))),
        Record::Deployed { name: name.clone(), id: id(), quoted: None, address: None, ports: [].into() },
        Record::DeleteIntended {
            name: name.clone(),
            id: id(),
            reason: crate::model::reason::Teardown::Target,
            why: String::new(),
        },
        Record::DeleteSettled {
            name: name.clone(),
            id: id(),
            answer: super::record::Answer::Done,
            detail: String::new(),
        },
    ];
    for died_after in 1..=life.len() {
        for is_there in [true, false] {
            let mut stage = Stage::new();
            for record in &life[..died_after] {
                stage.write(record.clone());
            }
            let mut next = stage.restarted();
            let listed: Vec<_> = is_there.then(|| instance("i1", &name, Running)).into_iter().collect();
            for _ in 0..20 {
                next.list(&listed);
                next.look_up(&Ok(crate::model::Lookup::Gone));
                let counted = next.fleet().members.len() + next.fleet().late.len() + next.fleet().strays.len();
                assert!(counted <= 1, "died after {died_after}, there: {is_there}");
            }
            let fleet = next.fleet();
            assert_eq!(fleet.members.len(), usize::from(is_there), "died after {died_after}, there: {is_there}");
            assert!(next.is_complete());
        }
    }
}

/// What one scan interval brings.
#[derive(Clone, Copy, Debug)]
enum Scan {
    Good,
    Partial,
    Failed,
    Empty,
    Restart,
}

proptest! {
    #[test]
    fn one_vm_for_each_intent_and_none_lost_whenever_it_shows_up(
        shows_up_after in 0..40usize,
        answer_came in any::<bool>(),
        scans in prop::collection::vec(
            prop_oneof![
                6 => Just(Scan::Good), 1 => Just(Scan::Partial), 1 => Just(Scan::Failed), 1 => Just(Scan::Empty),
                1 => Just(Scan::Restart),
            ],
            40,
        ),
    ) {
        let mut stage = Stage::new();
        let other = stage.deploy("i0");
        stage.list(&[instance("i0", &other, Running)]);
        let name = if answer_came { stage.deploy("i1") } else { stage.intend() };
        let full = [instance("i0", &other, Running), instance("i1", &name, Running)];
        for (number, scan) in scans.into_iter().enumerate() {
            let shown = if number >= shows_up_after { &full[..] } else { &full[..1] };
            match scan {
                Scan::Good => drop(stage.list(shown)),
                Scan::Partial => drop(stage.list_with_dropped(&shown[1..])),
                Scan::Failed => drop(stage.list_fails()),
                Scan::Empty => drop(stage.list(&[])),
                Scan::Restart => stage = stage.restarted(),
            }
            // Asked for by id, the marketplace tells the truth as it shows it: what it does not show yet, it denies.
            for id in stage.wanted() {
                let at = stage.now;
                let there = shown.iter().find(|instance| instance.id == id);
                let answer = there.map_or(crate::model::Lookup::Gone, |vm| crate::model::Lookup::Here(vm.clone()));
                stage.view().lookups.insert(id, crate::model::Reading::taken(at, answer));
            }
            stage.look();
            let fleet = stage.fleet();
            prop_assert!(fleet.members.contains_key(&other), "what runs is never given up");
            prop_assert!(fleet.strays.is_empty());
            let held = usize::from(fleet.members.contains_key(&name));
            prop_assert!(held + fleet.late.len() + fleet.reserved.len() == 1, "counted, reserved or late: {fleet:?}");
        }
        for _ in 0..3 {
            stage.list(&full);
        }
        let fleet = stage.fleet();
        prop_assert!(stage.is_complete());
        prop_assert_eq!(usize::from(fleet.members.contains_key(&name)) + fleet.late.len(), 1);
        prop_assert!(fleet.reserved.is_empty());
    }
}
