//! The operator's levers, each through a restart.

use super::{
    TRAIN,
    stage::{Stage, machines_with, name},
};
use spotscale::{
    engine::{Lever, LeverError, Scope},
    ledger::Standing,
};
use std::time::Duration;

const A4000: &str = "rtxa4000-pcie-16gb";

/// [`TRAIN`] in VMs of one GPU each, with short pauses between scale-downs.
fn small() -> String {
    format!("{TRAIN}gpus = {{ min = 1, max = 1 }}\n[disruption]\ncooldown_down = \"30s\"\n")
}

async fn eight_small() -> Stage {
    let mut stage = Stage::new(&[("train", &small())]).await;
    stage.ticks(6).await;
    assert_eq!((stage.gpus_alive("train"), stage.made()), (8, 8));
    stage
}

fn target(gpus: u32, lasting: Option<Duration>) -> Lever {
    Lever::Target { fleet: name("train"), gpus, lasting }
}

fn fleet() -> Scope {
    Scope::Fleet(name("train"))
}

async fn move_it(stage: &mut Stage, lever: Lever) {
    stage.pull(lever).await.unwrap();
    stage.restart().await;
}

#[tokio::test]
async fn a_target_of_the_operators_stays_until_it_is_cleared() {
    let mut stage = eight_small().await;
    move_it(&mut stage, target(10, None)).await;
    stage.ticks(5).await;
    assert_eq!((stage.gpus_alive("train"), stage.metric("spotscale_fleet_target_gpus")), (10, 10.0));
    assert_eq!(stage.status().fleets[&name("train")].levers.target, Some((10, None)));
    move_it(&mut stage, Lever::ClearTarget { fleet: name("train") }).await;
    stage.ticks(10).await;
    assert_eq!((stage.gpus_alive("train"), stage.status().fleets[&name("train")].levers.target), (8, None));
    stage.agrees();
}

#[tokio::test]
async fn a_target_ends_by_itself_and_is_no_edit_that_could_be_held() {
    let mut stage = eight_small().await;
    move_it(&mut stage, target(1, Some(Duration::from_secs(1_800)))).await;
    stage.pass(Duration::from_secs(1_200)).await;
    assert_eq!(stage.gpus_alive("train"), 1);
    stage.pass(Duration::from_secs(900)).await;
    assert_eq!((stage.gpus_alive("train"), stage.metric("spotscale_fleet_target_gpus")), (8, 8.0));
    stage.agrees();
}

fn policy(gpus: u32) -> String {
    small().replace("target_gpus = 8", &format!("target_gpus = {gpus}"))
}

fn is_held(stage: &Stage) -> bool {
    stage.status().fleets[&name("train")].policy.held.is_some()
}

#[tokio::test]
async fn an_edit_under_a_target_of_the_operators_is_held_for_what_it_would_do_once_that_ends() {
    let mut stage = eight_small().await;
    move_it(&mut stage, target(12, Some(Duration::from_secs(1_800)))).await;
    stage.ticks(6).await;
    assert_eq!(stage.gpus_alive("train"), 12);
    let deleted = stage.deleted();
    stage.write("train", &policy(3)).await;
    stage.tick().await;
    assert!(is_held(&stage), "5 of 8 would go when the target ends: {}", stage.told());
    stage.restart().await;
    stage.pass(Duration::from_secs(3_600)).await;
    assert!(is_held(&stage));
    assert_eq!((stage.gpus_alive("train"), stage.deleted()), (8, deleted + 4), "back to the text in force");
    stage.agrees();
}

#[tokio::test]
async fn an_edit_while_the_operators_target_is_nothing_is_held_for_what_is_still_there() {
    let mut stage = eight_small().await;
    move_it(&mut stage, target(0, Some(Duration::from_secs(1_800)))).await;
    stage.write("train", &policy(0)).await;
    stage.tick().await;
    assert!(is_held(&stage));
    // Once nothing is there, an edit takes nothing away; and what ends is no edit.
    stage.pass(Duration::from_secs(1_200)).await;
    assert_eq!(stage.gpus_alive("train"), 0);
    stage.write("train", &policy(3)).await;
    stage.tick().await;
    assert!(!is_held(&stage));
    stage.pass(Duration::from_secs(900)).await;
    assert_eq!(stage.gpus_alive("train"), 3);
    stage.agrees();
}

#[tokio::test]
async fn a_paused_fleet_is_left_as_it_is_and_says_what_resume_would_bring_back() {
    for scope in [fleet(), Scope::All] {
        let mut stage = eight_small().await;
        stage.story = scope.to_string();
        move_it(&mut stage, Lever::Pause(scope.clone())).await;
        for gpus in [10, 2] {
            stage.pull(target(gpus, None)).await.unwrap();
            let writes = stage.writes();
            stage.ticks(4).await;
            assert_eq!((stage.gpus_alive("train"), stage.writes()), (8, writes), "{scope}, target {gpus}");
            assert_eq!(stage.metric("spotscale_fleet_target_gpus"), f64::from(gpus));
            let missing = if gpus == 10 { [("paused".to_owned(), 2)].into() } else { [].into() };
            assert_eq!(stage.blocked("train"), missing, "{scope}");
            assert_eq!(stage.metric("spotscale_fleet_paused"), 1.0);
        }
        stage.pull(Lever::ClearTarget { fleet: name("train") }).await.unwrap();
        // What is deleted meanwhile is not replaced before the resume.
        let victim = stage.members("train")[0].name.to_string();
        stage.pull(Lever::Delete { instance: victim }).await.unwrap();
        stage.ticks(4).await;
        assert_eq!(stage.gpus_alive("train"), 7);
        move_it(&mut stage, Lever::Resume(scope)).await;
        stage.ticks(4).await;
        assert_eq!((stage.gpus_alive("train"), stage.metric("spotscale_fleet_paused")), (8, 0.0));
        stage.agrees();
    }
}

#[tokio::test]
async fn on_a_paused_marketplace_nothing_is_rented_and_deletes_go_on() {
    let mut stage = eight_small().await;
    let scope = Scope::Marketplace("tensordock".parse().unwrap());
    move_it(&mut stage, Lever::Pause(scope.clone())).await;
    stage.pull(target(9, None)).await.unwrap();
    stage.ticks(4).await;
    assert_eq!((stage.gpus_alive("train"), stage.blocked("train")), (8, [("paused".to_owned(), 1)].into()));
    stage.pull(target(6, None)).await.unwrap();
    stage.ticks(4).await;
    assert_eq!(stage.gpus_alive("train"), 6);
    stage.pull(Lever::ClearTarget { fleet: name("train") }).await.unwrap();
    move_it(&mut stage, Lever::Resume(scope)).await;
    stage.ticks(4).await;
    assert_eq!(stage.gpus_alive("train"), 8);
}

#[tokio::test]
async fn an_evacuated_fleet_is_torn_down_protected_vms_too_and_stays_so_until_it_is_resumed() {
    for which in [Some(name("train")), None] {
        let mut stage = eight_small().await;
        let instance = stage.members("train")[3].name.to_string();
        stage.pull(Lever::Protect { instance, lasting: None }).await.unwrap();
        move_it(&mut stage, Lever::Evacuate(which.clone())).await;
        stage.ticks(3).await;
        assert_eq!((stage.gpus_alive("train"), stage.metric("spotscale_fleet_target_gpus")), (0, 0.0));
        let made = stage.made();
        stage.restart().await;
        stage.ticks(6).await;
        assert_eq!(stage.made(), made, "it stays down");
        assert_eq!(stage.metric("spotscale_fleet_paused"), 1.0);
        stage.agrees();
        let scope = which.map_or(Scope::All, Scope::Fleet);
        move_it(&mut stage, Lever::Resume(scope)).await;
        stage.ticks(4).await;
        assert_eq!(stage.gpus_alive("train"), 8);
    }
}

#[tokio::test]
async fn a_protected_vm_is_no_victim_of_the_target_and_is_one_of_money() {
    let mut stage = eight_small().await;
    // The youngest go first: the youngest is protected.
    let youngest = stage.members("train").into_iter().max_by_key(|vm| (vm.intended_at, vm.name.clone())).unwrap();
    let instance = youngest.name.to_string();
    move_it(&mut stage, Lever::Protect { instance: instance.clone(), lasting: None }).await;
    stage.pull(target(1, None)).await.unwrap();
    stage.ticks(20).await;
    let left = stage.alive("train");
    assert_eq!(left.iter().map(|vm| &vm.name).collect::<Vec<_>>(), [&youngest.name]);

    // Zero ends a protection; a short one ends by itself.
    stage.pull(Lever::Protect { instance: instance.clone(), lasting: Some(Duration::ZERO) }).await.unwrap();
    stage.pull(Lever::Protect { instance: instance.clone(), lasting: Some(Duration::from_secs(120)) }).await.unwrap();
    stage.pull(target(0, None)).await.unwrap();
    stage.ticks(3).await;
    assert_eq!(stage.gpus_alive("train"), 1);
    stage.ticks(4).await;
    assert_eq!(stage.gpus_alive("train"), 0);

    // For money it goes.
    stage.pull(target(1, None)).await.unwrap();
    stage.ticks(3).await;
    let instance = stage.members("train")[0].name.to_string();
    stage.pull(Lever::Protect { instance, lasting: None }).await.unwrap();
    let poor = small().replace("max_hourly_rate = 6.00", "max_hourly_rate = 0.05");
    stage.write("train", &poor).await;
    stage.ticks(2).await;
    assert_eq!(stage.gpus_alive("train"), 0);
    assert_eq!(stage.metric("spotscale_teardowns_total{fleet=\"train\",reason=\"rate_limit\"}"), 1.0);
}

#[tokio::test]
async fn a_stray_counts_when_renting_costs_no_vm_its_place_and_is_deleted_only_by_the_operator() {
    let mut stage = eight_small().await;
    let machine = machines_with(&[A4000])[0].id.to_string();
    let stray = stage.stranger("spotscale-train-old-7", &machine, A4000, 1, None);
    let (made, writes) = (stage.made(), stage.writes());
    let rate = stage.report("train").rate_now;
    stage.ticks(4).await;
    assert_eq!((stage.gpus_alive("train"), stage.writes()), (9, writes), "nobody is let go for it");
    assert_eq!(stage.metric("spotscale_stray_instances"), 1.0);
    assert!(stage.report("train").rate_now > rate, "it is billed");
    stage.pull(target(9, None)).await.unwrap();
    stage.ticks(4).await;
    assert_eq!(stage.made(), made, "it counts when renting");

    stage.watch.operators_own.insert(stray.clone());
    let told = stage.pull(Lever::Delete { instance: stray.to_string() }).await.unwrap();
    assert_eq!(told, "spotscale-train-old-7: deleted");
    stage.restart().await;
    stage.ticks(4).await;
    assert_eq!(
        (stage.made(), stage.gpus_alive("train"), stage.metric("spotscale_stray_instances")),
        (made + 1, 9, 0.0)
    );
    stage.agrees();
}

#[tokio::test]
async fn an_adopted_stray_is_a_member_like_any_other() {
    let mut stage = eight_small().await;
    let machine = machines_with(&[A4000])[0].id.to_string();
    let stray = stage.stranger("spotscale-train-old-7", &machine, A4000, 1, None);
    stage.tick().await;
    let unknown = stage.pull(Lever::Adopt { instance: "nobody".to_owned(), fleet: name("train") }).await;
    assert!(matches!(unknown, Err(LeverError::NotFound(_))), "{unknown:?}");
    stage.watch.operators_own.insert(stray.clone());
    move_it(&mut stage, Lever::Adopt { instance: stray.to_string(), fleet: name("train") }).await;
    stage.ticks(6).await;
    assert_eq!((stage.gpus_alive("train"), stage.metric("spotscale_stray_instances")), (8, 0.0), "one too many goes");
    stage.pull(Lever::Evacuate(None)).await.unwrap();
    stage.ticks(4).await;
    assert_eq!((stage.gpus_alive("train"), stage.members("train").len()), (0, 0));
}

#[tokio::test]
async fn a_deleted_member_is_replaced_and_a_vm_of_somebody_else_cannot_be_named() {
    let mut stage = eight_small().await;
    let machine = machines_with(&[A4000])[0].id.to_string();
    let theirs = stage.stranger("database", &machine, A4000, 1, None);
    stage.tick().await;
    for lever in [
        Lever::Delete { instance: theirs.to_string() },
        Lever::Delete { instance: "database".to_owned() },
        Lever::Adopt { instance: "database".to_owned(), fleet: name("train") },
        Lever::Protect { instance: "database".to_owned(), lasting: None },
    ] {
        let answer = stage.pull(lever).await;
        assert!(matches!(answer, Err(LeverError::NotFound(_))), "{answer:?}");
    }
    let victim = stage.members("train")[0].clone();
    move_it(&mut stage, Lever::Delete { instance: victim.id.unwrap().to_string() }).await;
    stage.ticks(4).await;
    assert_eq!((stage.gpus_standing("train", Standing::Running), stage.made()), (8, 9));
    assert!(!stage.members("train").iter().any(|member| member.name == victim.name));
    stage.agrees();
}

#[tokio::test]
async fn a_lever_on_a_fleet_that_is_not_there_names_those_that_are() {
    let mut stage = eight_small().await;
    for lever in [
        Lever::Target { fleet: name("nobody"), gpus: 1, lasting: None },
        Lever::Pause(Scope::Fleet(name("nobody"))),
        Lever::Evacuate(Some(name("nobody"))),
        Lever::Apply(name("nobody")),
    ] {
        let answer = stage.pull(lever).await;
        assert_eq!(answer, Err(LeverError::NotFound("there is no fleet nobody; there are: train".to_owned())));
    }
}
