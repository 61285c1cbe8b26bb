//! The engine's own loop, spoken to through its door: levers between ticks, and a stop.

use crate::{TRAIN, stage::Stage};
use spotscale::{
    engine::{Handle, Lever, LeverError, Status},
    sim::Absence,
};
use std::{sync::Arc, time::Duration};

/// Real time after which what does not happen is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a status that is so. The clock is virtual: waiting for it costs no more than the ticks do.
async fn until(handle: &Handle, what: &str, mut is_so: impl FnMut(&Status) -> bool) -> Arc<Status> {
    let mut seen = handle.watch();
    let found = tokio::time::timeout(PATIENCE, seen.wait_for(|status| is_so(status))).await;
    match found {
        Ok(Ok(status)) => Arc::clone(&status),
        Ok(Err(_)) => panic!("the engine stopped before {what}"),
        Err(_) => panic!("it never came to this: {what}"),
    }
}

fn running(status: &Status) -> u32 {
    let reports = status.plan.iter().flat_map(|plan| plan.report.values());
    reports.map(|report| report.running_gpus).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lever_that_is_refused_keeps_nothing_from_being_done() {
    let stage = Stage::new(&[("train", TRAIN)]).await;
    let (market, handle, engine) = stage.run();
    until(&handle, "the target is reached", |status| running(status) == 8).await;

    let refused = handle.pull(Lever::Delete { instance: "nosuch".into() }).await;
    assert!(matches!(refused, Err(LeverError::NotFound(_))), "{refused:?}");
    let hostnode = {
        let market = market.lock().unwrap();
        let truth = market.world.truth();
        truth.alive().next().unwrap().hostnode.clone()
    };
    market.lock().unwrap().world.vanish(&hostnode, Absence::Dead, Duration::from_secs(86_400));
    until(&handle, "the loss is seen", |status| running(status) < 8).await;
    until(&handle, "the loss is made good", |status| running(status) == 8).await;

    let cleared = handle.pull(Lever::Target { fleet: "train".parse().unwrap(), gpus: 4, lasting: None }).await;
    assert!(cleared.unwrap().starts_with("train: target 4"), "the next lever is moved too");
    until(&handle, "the new target is reached", |status| running(status) == 4).await;

    handle.stop();
    engine.await.unwrap();
    assert_eq!(market.lock().unwrap().world.truth().alive().map(|vm| vm.shape.gpus).sum::<u32>(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn levers_that_never_end_do_not_keep_the_fleet_from_being_looked_after() {
    let stage = Stage::new(&[("train", TRAIN)]).await;
    let (market, handle, engine) = stage.run();
    let levers = tokio::spawn({
        let handle = handle.clone();
        async move {
            loop {
                let _ = tokio::join!(
                    handle.pull(Lever::Target { fleet: "train".parse().unwrap(), gpus: 8, lasting: None }),
                    handle.pull(Lever::Delete { instance: "nosuch".into() }),
                );
            }
        }
    });
    until(&handle, "the target is reached", |status| running(status) == 8).await;
    let hostnode = {
        let market = market.lock().unwrap();
        let truth = market.world.truth();
        truth.alive().next().unwrap().hostnode.clone()
    };
    market.lock().unwrap().world.vanish(&hostnode, Absence::Dead, Duration::from_secs(86_400));
    until(&handle, "the loss is seen", |status| running(status) < 8).await;
    until(&handle, "the loss is made good", |status| running(status) == 8).await;
    levers.abort();
    handle.stop();
    engine.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_not_lost_however_often_it_is_asked_for() {
    let stage = Stage::new(&[("train", TRAIN)]).await;
    stage.write_unnoticed("train", &TRAIN.replace("target_gpus = 8", "target_gpus = 10"));
    let (_market, handle, engine) = stage.run();
    // More than the engine's queue holds: all but one are the same one.
    for _ in 0..1_000 {
        handle.reload();
    }
    until(&handle, "the new target is reached", |status| running(status) == 10).await;
    handle.stop();
    engine.await.unwrap();
}
