//! What is decided is recorded with all that was known, and made again from it, bit by bit.

use super::{
    TRAIN,
    restarts::{LIVELY, lively},
    stage::{NOON, SETTINGS, Stage, still},
};
use spotscale::{
    engine::{
        Role,
        recording::{
            reach,
            read::walk,
            replay::{ReplayError, Round, recompute, replay},
        },
        scene::Scene,
    },
    io::store::{MemoryStore, NewRow, Store, memory::Mishap},
    ledger::{Record, history},
    policy,
    sim::{
        Faults, Severity, Temper,
        recorded::{play::play, timeline},
        stage as rehearsed,
    },
};
use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc, time::Duration};

/// Every decision of a journal, oldest first, and the rows that it names.
fn decisions(stage: &Stage) -> Vec<(String, Vec<u64>)> {
    let entries = history::decisions(&*stage.disk, None, None, history::ENTRIES_MAX).unwrap();
    let named = entries.into_iter().rev().filter_map(|entry| match entry.record {
        Record::Decision { id, rounds, .. } => Some((id, rounds)),
        _ => None,
    });
    named.collect()
}

/// All rounds of a recording, recomputed.
fn recomputed(recording: &MemoryStore) -> BTreeMap<u64, Round> {
    let mut rounds = BTreeMap::new();
    walk(recording, 0, &mut |row| {
        if row.outcome.is_some() {
            rounds.insert(row.sequence, recompute(row, None).unwrap());
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    rounds
}

async fn recording(mut stage: Stage) -> (Stage, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::default());
    stage.restart_recording(Arc::clone(&store) as Arc<dyn Store>).await;
    (stage, store)
}

/// The same recording, with one text in its rounds replaced by another.
fn forged(recording: &MemoryStore, from: &str, to: &str) -> MemoryStore {
    let forged = MemoryStore::default();
    for row in recording.read(0, usize::MAX).unwrap() {
        let kind = ["segment", "round", "look"].into_iter().find(|kind| *kind == row.kind).unwrap();
        let body = row.body.replace(from, to);
        forged.append(&[NewRow { at_ms: row.at_ms, kind, fleet: row.fleet, subject: row.subject, body }]).unwrap();
    }
    forged
}

#[tokio::test]
async fn every_decision_of_a_simulated_month_is_made_again_bit_by_bit() {
    let settings = format!("scan_interval = \"30m\"\n{SETTINGS}");
    let stage = Stage::with(lively(11, Temper::Lifelike), &settings, Role::AsConfigured, &LIVELY).await;
    let (mut stage, store) = recording(stage).await;
    stage.market().faults = Faults::new(11, Severity::Mild);
    for tick in 0..30 * 48 {
        // A restart begins a segment; what was recorded before it is read all the same.
        if tick % 400 == 399 {
            stage.restart().await;
        }
        stage.tick_unwatched().await;
        if tick % 20 == 0 {
            let situation = stage.status().situation.clone().unwrap().into_value();
            assert_eq!(Scene::of(&situation).situation().as_ref(), Ok(&situation), "tick {tick}");
        }
    }
    let rounds = recomputed(&store);
    let different: Vec<_> = rounds.values().filter(|round| round.difference.is_some()).collect();
    assert!(different.is_empty(), "{} of {}, the first: {:?}", different.len(), rounds.len(), different.first());
    let decisions = decisions(&stage);
    for (id, named) in &decisions {
        assert!(!named.is_empty() && named.iter().all(|row| rounds.contains_key(row)), "{id} {named:?}");
    }
    for (id, named) in decisions.iter().step_by(40) {
        let rounds = replay(&*stage.disk, &*store, id).unwrap();
        assert_eq!(rounds.iter().map(|round| round.row).collect::<Vec<_>>(), *named);
        assert!(rounds.iter().all(|round| round.difference.is_none()), "{id}");
    }
    assert!(decisions.len() > 60 && rounds.len() > 200, "{} decisions, {} rounds", decisions.len(), rounds.len());
}

#[tokio::test]
async fn a_situation_or_a_plan_that_is_another_is_told() {
    let (mut stage, store) = recording(Stage::new(&[("train", TRAIN)]).await).await;
    stage.ticks(4).await;
    let (id, _) = decisions(&stage).remove(0);
    let told = |recording: &MemoryStore| {
        let rounds = replay(&*stage.disk, recording, &id).unwrap();
        rounds.into_iter().filter_map(|round| round.difference).collect::<Vec<_>>()
    };
    assert_eq!(told(&store), Vec::<String>::new());
    // Were the fleet's limit another one, so would be the plan.
    let other_law = told(&forged(&store, "\"max_hourly_rate\":6000000", "\"max_hourly_rate\":100000"));
    assert!(other_law.iter().any(|difference| difference.contains("recomputed")), "{other_law:?}");
    // Had another planner decided, it would have said something else.
    let other_planner = told(&forged(&store, "\"deploy\":{", "\"rent\":{"));
    assert!(other_planner[0].starts_with("action 1: recorded {\"rent\""), "{other_planner:?}");
}

#[tokio::test]
async fn a_quiet_fleet_on_a_quiet_market_records_nothing() {
    let (mut stage, store) = recording(Stage::new(&[("train", TRAIN)]).await).await;
    stage.ticks(10).await;
    let rows = store.read(0, usize::MAX).unwrap().len();
    stage.ticks(50).await;
    assert_eq!(store.read(0, usize::MAX).unwrap().len(), rows);
}

#[tokio::test]
async fn a_recording_that_cannot_be_written_is_told_once_and_stops_nothing() {
    let (mut stage, store) = recording(Stage::on(still("500"), &[("train", TRAIN)]).await).await;
    store.meet(Mishap::DiesBefore);
    stage.tick_unwatched().await;
    let troubles = stage.status().troubles.clone();
    assert!(troubles.len() == 1 && troubles[0].starts_with("what is seen is not recorded"), "{troubles:?}");
    stage.ticks(6).await;
    assert_eq!((stage.gpus_alive("train"), store.reopen().read(0, 9).unwrap().len()), (8, 0));
    let (id, named) = decisions(&stage).remove(0);
    assert_eq!(named, Vec::<u64>::new());
    let told = replay(&*stage.disk, &store.reopen(), &id).unwrap_err();
    assert!(matches!(&told, ReplayError::NotRecorded(_)), "{told}");
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_told_with_how_far_the_recording_reaches() {
    let (mut stage, store) = recording(Stage::new(&[("train", TRAIN)]).await).await;
    stage.ticks(3).await;
    let (id, _) = decisions(&stage).remove(0);
    // The recording was lost and begun anew: it gives the same numbers again, and they are not taken for the old ones.
    let (mut stage, anew) = recording(stage).await;
    stage.pass(Duration::from_secs(600)).await;
    stage.tick().await;
    let told = replay(&*stage.disk, &*anew, &id).unwrap_err().to_string();
    let since = reach(&*anew).unwrap().unwrap().since;
    assert_eq!(told, format!("what {id} saw is not kept any more: the recording reaches back to {since:.0}"));
    assert!(replay(&*stage.disk, &*store, &id).is_ok());
    let told = replay(&*stage.disk, &*store, "d1-nobody").unwrap_err().to_string();
    assert!(told.starts_with("`d1-nobody` is the id of no decision"), "{told}");
}

/// A policy's text as it was read.
fn source((file, text): (&str, String)) -> policy::Source {
    policy::gather(file, &text, &mut |path| Err(format!("no file {path}")))
}

#[tokio::test]
async fn an_edit_is_compared_with_todays_on_the_market_that_was_seen() {
    let text = format!("scan_interval = \"5m\"\n{SETTINGS}");
    let stage = Stage::with(lively(5, Temper::Lifelike), &text, Role::AsConfigured, &LIVELY).await;
    let (mut stage, store) = recording(stage).await;
    stage.pass(Duration::from_secs(8 * 3_600)).await;
    let seen = timeline(&*store, NOON).unwrap();
    assert!(seen.moments.len() > 40, "{} moments", seen.moments.len());
    let settings = rehearsed::settings(&text).unwrap();
    let today: Vec<_> = LIVELY.map(|(file, text)| source((file, text.to_owned()))).into();
    let fewer = LIVELY.map(|(file, text)| source((file, text.replace("target_gpus = 6", "target_gpus = 2"))));
    let played = tokio::task::unconstrained(play(&seen, &settings, &today)).await.unwrap();
    assert_eq!(
        tokio::task::unconstrained(play(&seen, &settings, &today)).await.unwrap(),
        played,
        "it is the same twice"
    );
    let edited = tokio::task::unconstrained(play(&seen, &settings, &fewer)).await.unwrap();
    let (train, serve) = (&played.fleets["train"], &played.fleets["serve"]);
    assert!(train.target_met > 0.5 && train.gpu_hours > 20.0 && train.cost_usd > 1.0, "{played:?}");
    assert!(edited.fleets["train"].cost_usd < train.cost_usd / 2.0, "{edited:?} {played:?}");
    assert!(edited.fleets["serve"].gpu_hours > serve.gpu_hours * 0.8, "{edited:?} {played:?}");
    let truly = stage.status().fleets.len();
    assert_eq!((truly, played.fleets.len(), edited.fleets.len()), (2, 2, 2));

    let broken = [source(("train.toml", "fleet = \"train\"".to_owned()))];
    let told = play(&seen, &settings, &broken).await.unwrap_err();
    assert!(told.starts_with("train.toml:"), "{told}");
    let told = play(&timeline(&MemoryStore::default(), NOON).unwrap(), &settings, &today).await.unwrap_err();
    assert_eq!(told, "nothing was recorded in that time; a daemon records while it runs");
}
