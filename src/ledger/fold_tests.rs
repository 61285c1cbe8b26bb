//! The encoding, the fold, and the journal that ties them.

use super::{
    Journal, JournalError, Ledger, Record, Scope, accrue,
    history::{Filter, decision, decisions, history},
    journal::replay,
    samples::of_each_kind,
    stage::{NoEntropy, Stage, instance, of},
};
use crate::{
    io::store::{MemoryStore, NewRow, SqliteStore, Store, memory::Mishap},
    model::{
        InstanceStatus, Timestamp, VmName,
        reason::Teardown,
        time::{self, after},
    },
};
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};

const START: &str = "2026-11-20T12:00:00Z";

fn samples() -> Vec<Record> {
    of_each_kind(&of("spotscale-train-aaaaaa-1"), "i1", of(START))
}

#[test]
fn every_record_has_its_golden_encoding_and_reads_back() {
    let golden: Vec<&str> = include_str!("records.golden.jsonl").lines().collect();
    let encoded: Vec<String> = samples().iter().map(|record| record.encode().unwrap()).collect();
    assert_eq!(encoded.join("\n"), golden.join("\n"));
    for (record, line) in samples().into_iter().zip(golden) {
        assert_eq!(Record::decode(line), Ok(record));
    }
}

#[test]
fn there_is_a_sample_of_each_kind() {
    let kinds: Vec<&str> = samples().iter().map(Record::kind).collect();
    assert_eq!(kinds, Record::KINDS);
    assert!(Record::PRUNABLE.iter().all(|kind| Record::KINDS.contains(kind)));
}

#[test]
fn long_and_broken_lines_of_vendors_are_kept_short() {
    let detail = "a\nb\u{7}c".repeat(1_000);
    let record = Record::DeployInDoubt { name: of("vm"), detail };
    let Ok(Record::DeployInDoubt { detail, .. }) = Record::decode(&record.encode().unwrap()) else { panic!() };
    assert_eq!(detail.chars().count(), 1_000);
    assert!(detail.starts_with("a b c"));
}

fn damaged(kind: &'static str, body: &str) -> String {
    let store = MemoryStore::default();
    let created = Record::Created { prefix: "spotscale".into(), epoch: "e".into() };
    let row = |kind, body: String| NewRow { at_ms: 0, kind, fleet: None, subject: None, body };
    store.append(&[row("created", created.encode().unwrap()), row(kind, body.into())]).unwrap();
    match Journal::open(Arc::new(store), of(START), &NoEntropy(0), "spotscale") {
        Err(error @ JournalError::Damaged { sequence: 2, .. }) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it opened"),
    }
}

#[test]
fn a_record_that_does_not_read_is_damage_and_says_where() {
    let said = damaged("teleported", r#"{"kind":"teleported","name":"vm"}"#);
    assert!(said.starts_with("the journal is damaged at record 2: unknown variant `teleported`"), "{said}");
    let said = damaged("abandoned", r#"{"kind":"abandoned"}"#);
    assert_eq!(said, "the journal is damaged at record 2: missing field `name`");
    let said = damaged("abandoned", r#"{"kind":"abandoned","na"#);
    assert!(said.starts_with("the journal is damaged at record 2: EOF"), "{said}");
    let said = damaged("gone", r#"{"kind":"abandoned","name":"vm"}"#);
    assert_eq!(said, "the journal is damaged at record 2: it is stored as `gone` and says `abandoned`");
}

#[test]
fn the_epoch_is_drawn_once_and_the_prefix_may_change() {
    let store = Arc::new(MemoryStore::default());
    let open = |entropy, prefix| Journal::open(store.clone(), of(START), &NoEntropy(entropy), prefix).unwrap();
    let first = open(0, "spotscale").ledger().namer();
    assert_eq!((first.epoch.as_str(), first.next_sequence), ("aaaaaa", 1));
    assert_eq!(open(1, "spotscale").ledger().namer(), first);
    let renamed = open(2, "gpu").ledger().namer();
    assert_eq!((renamed.prefix.as_str(), renamed.epoch.as_str()), ("gpu", "aaaaaa"));
    assert_eq!(open(3, "gpu").ledger().sequence(), 2, "noted once");
}

#[test]
fn names_go_on_after_a_restart_and_only_ours_count() {
    let mut stage = Stage::new();
    assert_eq!(stage.intend().as_str(), "spotscale-train-aaaaaa-1");
    assert_eq!(stage.intend().as_str(), "spotscale-train-aaaaaa-2");
    let mut stage = stage.restarted();
    assert_eq!(stage.intend().as_str(), "spotscale-train-aaaaaa-3");
    let stray = super::stage::intent(of("spotscale-train-zzzzzz-999"), "train");
    stage.write(Record::StrayAdopted { id: of("i9"), vm: Box::new(stray) });
    assert_eq!(stage.intend().as_str(), "spotscale-train-aaaaaa-4");
    // One of ours that a journal restored from a copy has forgotten.
    let forgotten = super::stage::intent(of("spotscale-train-aaaaaa-9"), "train");
    stage.write(Record::StrayAdopted { id: of("i10"), vm: Box::new(forgotten) });
    assert_eq!(stage.intend().as_str(), "spotscale-train-aaaaaa-10");
}

#[test]
fn an_append_that_failed_after_it_was_durable_is_found_by_the_next_one() {
    let store = Arc::new(MemoryStore::default());
    let mut journal = Journal::open(store.clone(), of(START), &NoEntropy(0), "spotscale").unwrap();
    let elsewhere = store.reopen();
    let abandoned = Record::Paused { scope: Scope::All };
    let row = NewRow { at_ms: 0, kind: "paused", fleet: None, subject: None, body: abandoned.encode().unwrap() };
    elsewhere.append(&[row]).unwrap();
    journal.append(of(START), vec![Record::TargetCleared { fleet: of("train") }]).unwrap();
    assert!(journal.ledger().levers().is_paused(&of("train")));
    assert_eq!(journal.ledger().sequence(), 3);
    assert_eq!(replay(&*store, "spotscale").unwrap(), *journal.ledger());
}

#[test]
fn a_full_disk_folds_nothing_in() {
    let store = Arc::new(MemoryStore::default());
    let mut journal = Journal::open(store.clone(), of(START), &NoEntropy(0), "spotscale").unwrap();
    let before = journal.ledger().clone();
    store.meet(Mishap::Full);
    let refused = journal.append(of(START), vec![Record::Paused { scope: Scope::All }]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "failed to append to the journal: the disk is full; make room, nothing was written"
    );
    assert_eq!(*journal.ledger(), before);
    journal.append(of(START), vec![Record::Paused { scope: Scope::All }]).unwrap();
    assert!(journal.ledger().levers().is_paused(&of("train")));
}

#[test]
fn the_same_records_come_to_the_same_ledger_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let open = |now| {
        let store = Arc::new(SqliteStore::open(&path).unwrap());
        Journal::open(store, now, &NoEntropy(0), "spotscale").unwrap()
    };
    let mut journal = open(of(START));
    // More than a page of rows, and a moment finer than a millisecond.
    for number in 2..1_100u64 {
        let name = of(&format!("spotscale-train-aaaaaa-{number}"));
        let at = after(of(START), Duration::from_nanos(number * 1_000_000_007));
        journal.append(at, of_each_kind(&name, "i1", at).into_iter().skip(1).take(2).collect()).unwrap();
    }
    let lived = journal.ledger().clone();
    assert_eq!(lived.holdings().len(), 1_098);
    assert_eq!(replay(&SqliteStore::open_read_only(&path).unwrap(), "spotscale").unwrap(), lived);
    drop(journal);
    let later = after(of(START), Duration::from_secs(3_600));
    assert_eq!(*open(later).ledger(), lived);
}

#[test]
fn a_state_that_is_only_looked_at_has_the_configured_prefix() {
    let ledger = replay(&MemoryStore::default(), "spotscale").unwrap();
    assert_eq!((ledger.prefix(), ledger.namer().epoch.as_str()), ("spotscale", "none"));
}

#[test]
fn three_overbilled_teardowns_within_an_hour_bench_a_marketplace_until_it_is_resumed() {
    let mut stage = Stage::new();
    let market = of("tensordock");
    let overbilled = |stage: &mut Stage, number: u32, times: u32| {
        let id = format!("i{number}");
        let name = stage.deploy(&id);
        for _ in 0..times {
            let reason = Teardown::Overbilled;
            stage.write(Record::DeleteIntended { name: name.clone(), id: of(&id), reason, why: String::new() });
        }
    };
    overbilled(&mut stage, 1, 5);
    overbilled(&mut stage, 2, 1);
    stage.pass(3_600);
    overbilled(&mut stage, 3, 1);
    assert!(!stage.ledger().is_benched(&market), "the first two are an hour old; sent again counts once");
    stage.pass(1_800);
    overbilled(&mut stage, 4, 1);
    stage.pass(1_799);
    overbilled(&mut stage, 5, 1);
    assert!(stage.ledger().is_benched_for_overbilling(&market));
    stage.pass(86_400);
    stage.write(Record::Resumed { scope: Scope::All });
    let mut stage = stage.restarted();
    assert!(stage.ledger().is_benched(&market));
    stage.write(Record::Resumed { scope: Scope::Marketplace(market.clone()) });
    assert!(!stage.ledger().is_benched(&market));
}

#[test]
fn a_teardown_that_is_refused_again_and_again_is_one_teardown() {
    let mut stage = Stage::new();
    let name = stage.deploy("i1");
    for _ in 0..5 {
        let (id, reason) = (of("i1"), Teardown::Overbilled);
        stage.write(Record::DeleteIntended { name: name.clone(), id, reason, why: String::new() });
        let (id, answer) = (of("i1"), super::record::Answer::Refused);
        stage.write(Record::DeleteSettled { name: name.clone(), id, answer, detail: String::new() });
    }
    assert!(!stage.ledger().is_benched(&of("tensordock")));
}

#[test]
fn policies_limits_and_levers_survive_a_restart() {
    let mut stage = Stage::new();
    for record in samples() {
        match record {
            Record::PolicyInForce { .. }
            | Record::LimitsInForce { .. }
            | Record::Evacuating { .. }
            | Record::Applied { .. }
            | Record::Missing { .. }
            | Record::Paused { .. } => stage.write(record),
            _ => {}
        }
    }
    let mut stage = stage.restarted();
    let (fleet, ledger) = (of("train"), stage.ledger());
    assert_eq!(ledger.policies()[&fleet].attachments["id.pub"], "ssh-ed25519 A");
    assert_eq!(ledger.policies()[&fleet].gone_since, None);
    assert_eq!(ledger.limits().unwrap().balance_floor, of("25"));
    assert!(ledger.levers().is_evacuating(&fleet) && ledger.is_benched(&of("tensordock")));
    assert_eq!(ledger.levers().applied(&fleet), None, "limits that came into force later used it up");
    stage.write(Record::Applied { fleet: fleet.clone(), digest: "d1".into() });
    let mut stage = stage.restarted();
    let ledger = stage.ledger();
    assert_eq!(ledger.levers().applied(&fleet), Some("d1"));
    assert_eq!((ledger.missing(&fleet).gpus(), ledger.missing(&fleet).since()), (2, Some(of(START))));
    stage.write(Record::PolicyGone { fleet: fleet.clone() });
    let gone_at = stage.now;
    stage.pass(60).write(Record::PolicyGone { fleet: fleet.clone() });
    assert_eq!(stage.ledger().policies()[&fleet].gone_since, Some(gone_at), "its text stays");
}

#[test]
fn a_hostnode_is_known_by_what_our_vms_lived_there() {
    let mut stage = Stage::new();
    let (a, b) = (stage.deploy("i1"), stage.deploy("i2"));
    stage.list(&[instance("i1", &a, InstanceStatus::Running), instance("i2", &b, InstanceStatus::Running)]);
    let key = (of("tensordock"), of("h1"));
    assert_eq!(stage.ledger().hosts(stage.now)[&key].uptime_ppm, None);
    stage.pass(3_600);
    assert_eq!(stage.ledger().hosts(stage.now)[&key].uptime_ppm, Some(1_000_000));
    // i1 vanishes with its hostnode: it weighs an hour, beside what the other one ran.
    for _ in 0..3 {
        stage.list(&[instance("i2", &b, InstanceStatus::Running)]);
    }
    stage.look_up(&Ok(crate::model::Lookup::Gone));
    let uptime_ppm = stage.ledger().hosts(stage.now)[&key].uptime_ppm.unwrap();
    assert!((660_000..680_000).contains(&uptime_ppm), "{uptime_ppm}");
}

#[test]
fn history_is_newest_first_by_fleet_and_without_the_counting_of_money() {
    let mut stage = Stage::new();
    let name = stage.deploy("i1");
    let last = samples().into_iter().skip(Record::KINDS.len() - 3);
    for record in last {
        stage.pass(10).write(record);
    }
    let store = stage.journal.store();
    let kinds = |filter: &Filter| -> Vec<&'static str> {
        history(store, filter, 9).unwrap().iter().map(|entry| entry.record.kind()).collect()
    };
    assert_eq!(kinds(&Filter::default()), ["event", "decision", "deployed", "deploy_intended", "created"]);
    let of_train = Filter { fleet: Some(of("train")), ..Filter::default() };
    assert_eq!(kinds(&of_train), ["decision", "deployed", "deploy_intended"], "a VM's records are its fleet's");
    let of_vm = Filter { subject: Some(name.to_string()), ..Filter::default() };
    assert_eq!(kinds(&of_vm), ["deployed", "deploy_intended"]);
    assert_eq!(decision(store, "d-1").unwrap().unwrap().record.kind(), "decision");
    assert_eq!(decision(store, "d-2").unwrap(), None);
    assert_eq!(decisions(store, Some(&of("infer")), None, 9).unwrap(), []);
}

#[test]
fn pruning_forgets_stories_and_never_what_was_spent() {
    let mut stage = Stage::new();
    let name = stage.deploy("i1");
    stage.list(&[instance("i1", &name, InstanceStatus::Running)]);
    for _ in 0..5 {
        let records = accrue(stage.ledger(), &stage.joined().fleets, stage.now);
        stage.journal.append(stage.now, records).unwrap();
        stage.write(Record::Event { fleet: None, subject: None, what: "x".into(), detail: String::new() });
        stage.pass(3_600);
    }
    let lived = stage.ledger().spend().fleets().clone();
    assert_eq!(lived[&of("train")].usd, of("1.64"));
    assert!(stage.journal.prune(Timestamp::MAX).unwrap() >= 8, "all but the newest totals and what is as old");
    let next = stage.restarted();
    assert_eq!(*next.ledger().spend().fleets(), lived);
    assert_eq!(next.ledger().holdings(), stage.ledger().holdings());
}

/// A random journal: many lives of few VMs, in any order.
fn journals() -> impl Strategy<Value = Vec<(u64, Record)>> {
    let one = (0..Record::KINDS.len(), 1..4u32, 1..4u32, 0..1_000u64).prop_map(|(kind, number, id, second)| {
        let name: VmName = of(&format!("spotscale-train-aaaaaa-{number}"));
        let record = of_each_kind(&name, &format!("i{id}"), of(START)).swap_remove(kind);
        (second, record)
    });
    prop::collection::vec(one, 0..60)
}

fn folded(records: &[(u64, Record)], ledger: &mut Ledger) {
    for (sequence, (second, record)) in (1..).zip(records) {
        ledger.fold(sequence, after(of(START), Duration::from_secs(*second)), record.clone());
    }
}

proptest! {
    #[test]
    fn every_prefix_of_every_journal_is_a_coherent_ledger(records in journals()) {
        let mut ledger = Ledger::empty();
        for (sequence, (second, record)) in (1..).zip(records) {
            ledger.fold(sequence, after(of(START), Duration::from_secs(second)), record);
            prop_assert_eq!(ledger.incoherence(), None);
        }
    }

    #[test]
    fn replaying_twice_equals_once(records in journals(), again_from in 0..60usize) {
        let mut once = Ledger::empty();
        folded(&records, &mut once);
        let mut twice = Ledger::empty();
        folded(&records[..again_from.min(records.len())], &mut twice);
        folded(&records, &mut twice);
        folded(&records, &mut twice);
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn a_vm_that_may_exist_is_never_forgotten(records in journals()) {
        let mut ledger = Ledger::empty();
        folded(&records, &mut ledger);
        for (_, record) in &records {
            if let Record::DeployIntended(intent) = record {
                let name = &intent.name;
                prop_assert!(ledger.holdings().contains_key(name) || ledger.past(name).is_some());
            }
        }
    }
}

fn intended_at(stage: &Stage, name: &VmName) -> Timestamp {
    stage.ledger().holdings()[name].intended_at
}

#[test]
fn what_is_waited_for_moves_with_a_clock_that_was_set() {
    let mut stage = Stage::new();
    let (name, began) = (stage.intend(), stage.now);
    stage.pass(60);
    stage.now = after(stage.now, Duration::from_secs(7_200));
    stage.write(Record::ClockSet { forwards_ms: 7_200_000 });
    assert_eq!(intended_at(&stage, &name), after(began, Duration::from_secs(7_200)), "it waits for as long as before");
    stage.now = began;
    stage.write(Record::ClockSet { forwards_ms: 0 });
    assert!(intended_at(&stage, &name) < began, "nothing lies in the future, nor is it older than a moment");
    assert_eq!(time::elapsed(intended_at(&stage, &name), began), Duration::from_millis(1));
    assert_eq!(stage.restarted().ledger().holdings(), stage.ledger().holdings());
}

#[test]
fn a_journal_that_was_written_in_the_future_says_so_once() {
    let mut stage = Stage::new();
    let name = stage.intend();
    stage.now = time::before(stage.now, Duration::from_secs(7_200));
    let next = stage.restarted();
    assert!(intended_at(&next, &name) < next.now);
    let sequence = next.ledger().sequence();
    assert_eq!(sequence, stage.ledger().sequence() + 1);
    assert_eq!(next.restarted().ledger().sequence(), sequence);
}
