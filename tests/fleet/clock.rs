//! Somebody sets the machine's clock: what is waited for is waited for as long as before, and what is gone or late is seen.

use super::{
    TRAIN,
    faults::unanswered_and_hidden,
    stage::{Stage, name},
};
use spotscale::{
    ledger::Standing,
    settings::Vendor,
    sim::{Call, Fault},
};
use std::time::Duration;

const HOUR: i64 = 3_600;

fn set_clock(stage: &Stage, seconds: i64) {
    stage.wall.step(jiff::SignedDuration::from_secs(seconds));
}

/// A fleet that was rented while the clock was hours ahead.
async fn rented_in_the_future() -> Stage {
    let mut stage = Stage::new(&[("train", TRAIN)]).await;
    set_clock(&stage, 5 * HOUR);
    stage.ticks(6).await;
    assert_eq!(stage.gpus_alive("train"), 8);
    stage
}

/// Somebody else deletes one of its VMs.
fn lose_one(stage: &Stage) {
    let vm = stage.alive("train")[0].id.clone();
    assert!(stage.market().world_of(Vendor::Tensordock).take_away(&vm));
}

#[tokio::test]
async fn what_is_gone_is_replaced_though_it_was_rented_in_what_is_the_future_now() {
    for (before, after) in [(false, false), (true, false), (false, true)] {
        let mut stage = rented_in_the_future().await;
        stage.story = format!("restarted before: {before}, after: {after}");
        if before {
            stage.restart().await;
        }
        set_clock(&stage, -5 * HOUR);
        if after {
            stage.restart().await;
        }
        stage.tick().await;
        lose_one(&stage);
        stage.pass(Duration::from_secs(900)).await;
        assert_eq!(stage.gpus_alive("train"), 8);
        stage.agrees();
    }
}

#[tokio::test]
async fn a_list_that_lacks_vms_is_not_complete_though_they_were_rented_in_what_is_the_future_now() {
    let mut stage = rented_in_the_future().await;
    let made = stage.made();
    set_clock(&stage, -5 * HOUR);
    stage.tick().await;
    stage.break_read(Call::Instances, Fault::PartialList);
    let status = stage.tick().await;
    let situation = status.situation.as_ref().unwrap();
    assert!(situation.markets.values().all(|market| !market.list_complete));
    assert_eq!((stage.made(), stage.deleted()), (made, 0));
}

#[tokio::test]
async fn a_late_vm_is_deleted_at_once_though_its_name_was_given_up_in_what_is_the_future_now() {
    let mut stage = unanswered_and_hidden(1_200).await;
    set_clock(&stage, 5 * HOUR);
    stage.pass(Duration::from_secs(900)).await;
    assert_eq!((stage.in_doubt(), stage.made()), (0, 2), "given up, and replaced");
    set_clock(&stage, -5 * HOUR);
    stage.pass(Duration::from_secs(400)).await;
    assert_eq!((stage.made(), stage.deleted(), stage.gpus_alive("train")), (2, 1, 2));
    assert_eq!(stage.metric("spotscale_late_instances_total"), 1.0);
    stage.ticks(3).await;
    stage.agrees();
}

#[tokio::test]
async fn a_clock_that_is_set_forwards_ends_no_grace() {
    let mut stage = unanswered_and_hidden(270).await;
    set_clock(&stage, 2 * HOUR);
    stage.pass(Duration::from_secs(240)).await;
    assert_eq!((stage.in_doubt(), stage.made()), (1, 1), "it is waited for");
    stage.pass(Duration::from_secs(90)).await;
    assert_eq!((stage.in_doubt(), stage.made(), stage.deleted()), (0, 1, 0));
    stage.agrees();
}

#[tokio::test]
async fn a_clock_that_is_set_forwards_spends_nothing() {
    let mut stage = Stage::new(&[("train", TRAIN)]).await;
    stage.ticks(6).await;
    let spent = |stage: &Stage| stage.metric("spotscale_fleet_spend_usd_total{fleet=\"train\"");
    let before = spent(&stage);
    set_clock(&stage, 10 * HOUR);
    stage.tick().await;
    assert!(spent(&stage) - before < 0.1, "{} after {before}", spent(&stage));
    assert_eq!(stage.gpus_standing("train", Standing::Running), 8);
    assert!(stage.status().fleets.contains_key(&name("train")));
}

#[tokio::test]
async fn that_the_clock_was_set_is_in_the_journal_once() {
    let mut stage = Stage::new(&[("train", TRAIN)]).await;
    stage.ticks(2).await;
    set_clock(&stage, 2 * HOUR);
    stage.ticks(3).await;
    let rows = stage.newest_rows(1_000);
    let set: Vec<&String> = rows.iter().filter(|row| row.contains("clock_set")).collect();
    assert_eq!(set.len(), 1, "{set:?}");
    assert!(set[0].contains("\"forwards_ms\":7200000"), "{set:?}");
}
