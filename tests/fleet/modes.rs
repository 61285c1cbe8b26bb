//! Observe: plans and records, and never changes anything.

use super::{
    TRAIN,
    stage::{SETTINGS, Stage, machines_with, name, still},
};
use spotscale::{
    engine::{Lever, LeverError, Role, Scope},
    model::HourlyRate,
    plan::Action,
    sim::Call,
};
use std::time::Duration;

fn observing() -> String {
    SETTINGS.replace("[limits]", "[limits]\nmode = \"observe\"")
}

fn policy_observing() -> String {
    TRAIN.replace("target_gpus", "mode = \"observe\"\ntarget_gpus")
}

/// A fleet that only watches, for each reason there is to.
async fn watchers() -> Vec<Stage> {
    let mut stages = Vec::new();
    for (story, settings, role, policy) in [
        ("[limits] mode", observing(), Role::AsConfigured, TRAIN.to_owned()),
        ("mode of the policy", SETTINGS.to_owned(), Role::AsConfigured, policy_observing()),
        ("--observe", SETTINGS.to_owned(), Role::ObserveOnly, TRAIN.to_owned()),
        ("a look from outside", SETTINGS.to_owned(), Role::LookOnly, TRAIN.to_owned()),
    ] {
        let mut stage = Stage::with(still("500"), &settings, role, &[("train", &policy)]).await;
        stage.story = story.to_owned();
        stages.push(stage);
    }
    stages
}

#[tokio::test]
async fn nothing_is_ever_written_to_the_market_and_the_plan_says_what_would_be() {
    for mut stage in watchers().await {
        stage.ticks(10).await;
        assert_eq!(stage.writes(), 0, "{}", stage.story);
        assert!(stage.calls(Call::Validate) > 0, "{}: asking about a new VM is a read", stage.story);
        assert_eq!(stage.report("train").planned_gpus, 8, "{}", stage.story);
        let plan = stage.status().plan.clone().unwrap();
        assert!(plan.actions.iter().any(|action| matches!(action, Action::Deploy(_))), "{}", stage.story);
        if stage.story != "a look from outside" {
            assert_eq!(stage.blocked("train"), [("observe".to_owned(), 8)].into(), "{}", stage.story);
        }
    }
}

#[tokio::test]
async fn levers_that_only_say_what_is_wanted_are_recorded_and_those_that_change_the_market_are_refused() {
    for mut stage in watchers().await.into_iter().take(3) {
        stage.ticks(2).await;
        let scope = Scope::Fleet(name("train"));
        for lever in [
            Lever::Target { fleet: name("train"), gpus: 2, lasting: None },
            Lever::Pause(scope.clone()),
            Lever::Resume(scope),
        ] {
            stage.pull(lever).await.unwrap();
        }
        let machine = machines_with(&["rtxa4000-pcie-16gb"])[0].id.to_string();
        let stray = stage.stranger("spotscale-train-old-7", &machine, "rtxa4000-pcie-16gb", 1, None);
        stage.ticks(2).await;
        assert_eq!(stage.report("train").target_gpus, 2);
        for lever in [
            Lever::Evacuate(Some(name("train"))),
            Lever::Adopt { instance: stray.to_string(), fleet: name("train") },
            Lever::Delete { instance: stray.to_string() },
        ] {
            let answer = stage.pull(lever.clone()).await;
            assert!(matches!(answer, Err(LeverError::Refused(_))), "{}: {lever:?} {answer:?}", stage.story);
        }
        stage.ticks(2).await;
        assert_eq!(stage.writes(), 0, "{}", stage.story);
    }
}

#[tokio::test]
async fn a_fleet_that_ran_is_left_as_it_is_while_it_is_watched_whatever_happens_to_it() {
    let mut stage = Stage::new(&[("train", TRAIN)]).await;
    stage.ticks(6).await;
    let vm = stage.alive("train").into_iter().find(|vm| vm.shape.gpus == 4).unwrap();
    stage.settle_for(&observing()).await;
    stage.tick().await;
    let writes = stage.writes();
    let pays = vm.agreed.compute.plus(HourlyRate::from_micros(10_000));
    stage.market().world.intrude(&vm.hostnode, vm.shape.clone(), pays, Duration::from_secs(36_000));
    stage.pull(Lever::Target { fleet: name("train"), gpus: 1, lasting: None }).await.unwrap();
    stage.ticks(6).await;
    stage.write("train", &TRAIN.replace("max_hourly_rate = 6.00", "max_hourly_rate = 1.50")).await;
    stage.ticks(6).await;
    assert_eq!((stage.writes(), stage.alive("train").len()), (writes, 3));
    // What the lower target would let go at once would have to wait for the operator's word.
    stage.pull(Lever::ClearTarget { fleet: name("train") }).await.unwrap();
    stage.write("train", TRAIN).await;
    stage.settle_for(SETTINGS).await;
    stage.ticks(8).await;
    assert!(stage.writes() > writes);
    assert_eq!((stage.gpus_alive("train"), stage.report("train").running_gpus), (8, 8));
    stage.agrees();
}

#[tokio::test]
async fn one_fleet_watches_while_another_acts() {
    let serve = TRAIN.replace("fleet = \"train\"", "fleet = \"serve\"").replace("target_gpus = 8", "target_gpus = 2");
    let mut stage = Stage::new(&[("train", &policy_observing()), ("serve", &serve)]).await;
    stage.ticks(6).await;
    assert_eq!((stage.gpus_alive("train"), stage.gpus_alive("serve")), (0, 2));
    stage.write("train", TRAIN).await;
    stage.ticks(6).await;
    assert_eq!((stage.gpus_alive("train"), stage.gpus_alive("serve")), (8, 2));
    stage.agrees();
}
