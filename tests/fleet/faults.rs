//! What a marketplace does wrong, one thing at a time: nothing is doubled, nothing is torn down that need not be, and the
//! status says what is in doubt.

use super::{
    TRAIN,
    stage::{SETTINGS, Stage, name, still},
};
use spotscale::{
    engine::{Lever, Role},
    ledger::Standing,
    model::time,
    settings::Vendor,
    sim::{
        Call, Fault,
        faults::Effected::{No, Yes},
    },
};
use std::time::Duration;

/// Everything that can go wrong with an answer, whatever was asked.
const ANSWERS: [Fault; 9] = [
    Fault::LostRequest,
    Fault::LostAnswer,
    Fault::CutAnswer,
    Fault::ServerError(Yes),
    Fault::ServerError(No),
    Fault::Html(Yes),
    Fault::Html(No),
    Fault::HalfJson,
    Fault::Slow(Duration::from_secs(120)),
];

/// Whether the market did what it was asked although the answer was bad.
fn had_effect(fault: Fault) -> bool {
    match fault {
        Fault::LostAnswer
        | Fault::CutAnswer
        | Fault::ServerError(Yes)
        | Fault::Html(Yes)
        | Fault::HalfJson
        | Fault::Slow(_) => true,
        Fault::LostRequest | Fault::ServerError(No) | Fault::Html(No) => false,
        other => panic!("{other:?} is not an answer's"),
    }
}

async fn settled() -> Stage {
    let mut stage = Stage::new(&[("train", TRAIN)]).await;
    stage.ticks(6).await;
    assert_eq!(stage.gpus_alive("train"), 8);
    stage
}

#[tokio::test]
async fn a_deploy_without_a_good_answer_is_in_doubt_and_never_sent_again_under_its_name() {
    for fault in ANSWERS {
        let mut stage = Stage::new(&[("train", TRAIN)]).await;
        stage.story = format!("{fault:?}");
        stage.break_next(Call::Deploy, fault, 1);
        stage.tick().await;
        assert_eq!(stage.in_doubt(), 1, "{fault:?}");
        let doubtful = stage.gpus_standing("train", Standing::InDoubt);
        assert!(doubtful > 0);
        assert_eq!(stage.blocked("train"), [("in_doubt".to_owned(), doubtful)].into(), "{fault:?}");
        assert_eq!(stage.metric("spotscale_in_doubt_deploys"), 1.0);
        assert_eq!(
            stage.metric("spotscale_deploys_total{fleet=\"train\",marketplace=\"tensordock\",result=\"in_doubt\""),
            1.0
        );

        stage.tick().await;
        let still = if had_effect(fault) { 0 } else { 1 };
        assert_eq!(stage.in_doubt(), still, "{fault:?}: what the next list shows is adopted");
        stage.pass(Duration::from_secs(360)).await;
        stage.agrees();
        assert_eq!((stage.gpus_alive("train"), stage.deleted()), (8, 0), "{fault:?}");
    }
}

#[tokio::test]
async fn a_deploy_that_was_not_made_is_looked_for_during_the_settle_grace_and_only_then_replaced() {
    let mut stage = Stage::new(&[("train", TRAIN)]).await;
    stage.break_next(Call::Deploy, Fault::LostRequest, 1);
    stage.tick().await;
    let (made, began) = (stage.made(), stage.status().at.unwrap());
    let status = stage.ticks_until(20, "the slot is filled", |stage| stage.made() > made).await;
    let waited = time::elapsed(began, status.at.unwrap());
    assert!((Duration::from_secs(300)..Duration::from_secs(360)).contains(&waited), "{waited:?}");
    let fleet = &status.situation.as_ref().unwrap().fleets[&name("train")].fleet;
    assert_eq!(fleet.reserved.len(), 1, "its money stays reserved for the late window");
    stage.pass(Duration::from_secs(3_600)).await;
    let status = stage.status();
    assert_eq!(status.situation.as_ref().unwrap().fleets[&name("train")].fleet.reserved, []);
    stage.agrees();
}

#[tokio::test]
async fn a_refused_or_throttled_deploy_is_settled_and_another_offer_is_taken() {
    for fault in [Fault::Refused, Fault::Throttled] {
        let mut stage = Stage::new(&[("train", TRAIN)]).await;
        stage.story = format!("{fault:?}");
        stage.break_next(Call::Deploy, fault, 1);
        stage.tick().await;
        assert_eq!(stage.in_doubt(), 0, "{fault:?}");
        stage.ticks(4).await;
        assert_eq!((stage.gpus_alive("train"), stage.deleted()), (8, 0), "{fault:?}");
        stage.agrees();
    }
}

#[tokio::test]
async fn a_vm_that_is_answered_and_listed_late_is_neither_doubled_nor_deleted() {
    for seconds in [60, 240, 400, 900] {
        let mut stage = Stage::new(&[("train", TRAIN)]).await;
        stage.story = format!("late by {seconds} s");
        stage.break_next(Call::Deploy, Fault::LateVm(Duration::from_secs(seconds)), 1);
        stage.pass(Duration::from_secs(seconds + 120)).await;
        assert_eq!((stage.gpus_alive("train"), stage.deleted()), (8, 0), "late by {seconds} s");
        stage.agrees();
    }
}

/// A fleet of one VM whose deploy was not answered, and that the lists do not show for so long.
pub async fn unanswered_and_hidden(seconds: u64) -> Stage {
    let one = TRAIN.replace("target_gpus = 8", "target_gpus = 2") + "gpus = { min = 2, max = 2 }\n";
    let mut stage = Stage::new(&[("train", &one)]).await;
    stage.story = format!("hidden for {seconds} s");
    stage.break_next(Call::Deploy, Fault::LostAnswer, 1);
    stage.tick().await;
    let vm = stage.alive("train")[0].id.clone();
    let until = time::after(stage.status().at.unwrap(), Duration::from_secs(seconds));
    stage.market().conceal(Vendor::Tensordock, vm, until);
    stage
}

#[tokio::test]
async fn an_unanswered_vm_that_shows_up_within_the_settle_grace_is_adopted() {
    let mut stage = unanswered_and_hidden(270).await;
    stage.pass(Duration::from_secs(240)).await;
    assert_eq!((stage.in_doubt(), stage.made()), (1, 1));
    stage.pass(Duration::from_secs(90)).await;
    assert_eq!((stage.in_doubt(), stage.made(), stage.deleted()), (0, 1, 0));
    stage.agrees();
}

#[tokio::test]
async fn an_unanswered_vm_that_shows_up_within_the_late_window_is_deleted_at_once_and_counted() {
    let mut stage = unanswered_and_hidden(1_200).await;
    stage.pass(Duration::from_secs(1_100)).await;
    assert_eq!((stage.in_doubt(), stage.made(), stage.deleted()), (0, 2, 0), "given up, and replaced");
    assert_eq!(stage.metric("spotscale_late_instances_total"), 0.0);
    stage.pass(Duration::from_secs(120)).await;
    assert_eq!((stage.made(), stage.deleted(), stage.gpus_alive("train")), (2, 1, 2));
    assert_eq!(stage.metric("spotscale_late_instances_total"), 1.0);
    assert_eq!(stage.metric("spotscale_teardowns_total{fleet=\"train\",reason=\"late\"}"), 1.0);
    stage.ticks(3).await;
    stage.agrees();
}

#[tokio::test]
async fn an_unanswered_vm_that_shows_up_after_the_late_window_is_still_deleted_and_counted() {
    let mut stage = unanswered_and_hidden(5_000).await;
    let vm = stage.alive("train")[0].id.clone();
    stage.watch.out_of_sight.insert(vm);
    stage.pass(Duration::from_secs(5_100)).await;
    assert_eq!((stage.made(), stage.deleted(), stage.gpus_alive("train")), (2, 1, 2));
    assert_eq!(stage.metric("spotscale_late_instances_total"), 1.0);
    stage.ticks(3).await;
    stage.agrees();
}

#[tokio::test]
async fn a_list_that_lacks_vms_tears_nothing_down_and_rents_nothing_in_their_place() {
    for fault in [Fault::EmptyList, Fault::PartialList] {
        let mut stage = settled().await;
        stage.story = format!("{fault:?}");
        let writes = stage.writes();
        // More is wanted at the same time: it has to wait for a complete list.
        stage.pull(Lever::Target { fleet: name("train"), gpus: 10, lasting: None }).await.unwrap();
        for lists in 1..=8 {
            stage.break_next(Call::Instances, fault, 1);
            stage.tick().await;
            assert_eq!(stage.writes(), writes, "{fault:?}, list {lists}");
            assert_eq!(stage.blocked("train"), [("stale_market".to_owned(), 2)].into(), "{fault:?}, list {lists}");
        }
        assert_eq!(stage.gpus_alive("train"), 8);
        stage.ticks(4).await;
        assert_eq!((stage.gpus_alive("train"), stage.deleted()), (10, 0), "{fault:?}");
        stage.agrees();
    }
}

#[tokio::test]
async fn a_fleet_at_its_target_is_told_to_rest_on_an_incomplete_list() {
    let mut stage = settled().await;
    stage.break_next(Call::Instances, Fault::EmptyList, 1);
    let status = stage.tick().await;
    let market = &status.situation.as_ref().unwrap().markets[&"tensordock".parse().unwrap()];
    assert!(!market.list_complete);
    let told = &status.markets.values().next().unwrap().dropped;
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("instance spotscale-train-") && told[0].ends_with("the newest list lacks it"));
    assert_eq!(stage.report("train").running_gpus, 8, "absence is not zero");
    assert_eq!(stage.deleted(), 0);
    assert_eq!(stage.tick().await.markets.values().next().unwrap().dropped, Vec::<String>::new());
}

#[tokio::test]
async fn an_empty_or_partial_list_of_machines_costs_nobody_a_vm() {
    for fault in [Fault::EmptyList, Fault::PartialList] {
        let mut stage = settled().await;
        stage.story = format!("{fault:?}");
        let writes = stage.writes();
        for _ in 0..8 {
            stage.break_next(Call::Hostnodes, fault, 1);
            stage.tick().await;
        }
        assert_eq!((stage.writes(), stage.gpus_alive("train")), (writes, 8), "{fault:?}");
        stage.agrees();
    }
}

#[tokio::test]
async fn a_read_that_fails_is_told_and_changes_nothing() {
    for call in [Call::Instances, Call::Hostnodes, Call::Balance] {
        for fault in ANSWERS.into_iter().chain([Fault::Throttled]) {
            let mut stage = settled().await;
            stage.story = format!("{call} {fault:?}");
            let (writes, before) = (stage.writes(), stage.status());
            stage.break_read(call, fault);
            let status = stage.tick().await;
            assert_eq!((stage.writes(), stage.gpus_alive("train")), (writes, 8), "{call} {fault:?}");
            let failed = status.markets.values().next().unwrap().failed.is_some();
            let balance_at = |status: &spotscale::engine::Status| {
                status.accounts.values().next().unwrap().balance.as_ref().unwrap().at
            };
            if call == Call::Balance {
                assert_eq!(balance_at(&status), balance_at(&before), "{fault:?}: the old reading, with its date");
            } else {
                assert!(failed, "{call} {fault:?}: the status says that it failed");
            }
            stage.tick().await;
            assert!(stage.status().markets.values().next().unwrap().failed.is_none(), "{call} {fault:?}");
            stage.agrees();
        }
    }
}

#[tokio::test]
async fn nothing_is_rented_while_the_list_of_vms_cannot_be_read_and_all_is_rented_once_it_can() {
    for fault in ANSWERS.into_iter().chain([Fault::Throttled]) {
        let mut stage = Stage::new(&[("train", TRAIN)]).await;
        stage.story = format!("{fault:?}");
        stage.market().faults.last(Call::Instances, Some(fault));
        for _ in 0..3 {
            stage.tick().await;
            assert_eq!(stage.calls(Call::Deploy), 0, "{fault:?}");
            let expected = if fault == Fault::Throttled { "throttled" } else { "stale_market" };
            assert_eq!(stage.blocked("train"), [(expected.to_owned(), 8)].into(), "{fault:?}");
        }
        stage.market().faults.last(Call::Instances, None);
        stage.ticks(5).await;
        assert_eq!((stage.gpus_alive("train"), stage.deleted()), (8, 0), "{fault:?}");
    }
}

#[tokio::test]
async fn nothing_is_rented_while_the_machines_or_the_balance_cannot_be_read() {
    for (call, reason) in [(Call::Hostnodes, "stale_market"), (Call::Balance, "balance_unknown")] {
        for fault in ANSWERS {
            let mut stage = Stage::new(&[("train", TRAIN)]).await;
            stage.story = format!("{call} {fault:?}");
            stage.market().faults.last(call, Some(fault));
            for _ in 0..3 {
                stage.tick().await;
                assert_eq!(stage.calls(Call::Deploy), 0, "{call} {fault:?}");
                assert_eq!(stage.blocked("train"), [(reason.to_owned(), 8)].into(), "{call} {fault:?}");
            }
            stage.market().faults.last(call, None);
            stage.ticks(5).await;
            assert_eq!((stage.gpus_alive("train"), stage.deleted()), (8, 0), "{call} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_bid_that_nobody_answers_is_not_deployed_and_asked_again_later() {
    for fault in ANSWERS.into_iter().chain([Fault::Throttled]) {
        let mut stage = Stage::new(&[("train", TRAIN)]).await;
        stage.story = format!("{fault:?}");
        stage.break_next(Call::Validate, fault, 200);
        stage.tick().await;
        assert_eq!(stage.calls(Call::Deploy), 0, "{fault:?}");
        assert_eq!(stage.blocked("train"), [("stale_market".to_owned(), 8)].into(), "{fault:?}");
        stage.market().faults = spotscale::sim::Faults::none();
        stage.ticks(6).await;
        assert_eq!((stage.gpus_alive("train"), stage.deleted()), (8, 0), "{fault:?}");
    }
}

#[tokio::test]
async fn credentials_that_are_not_taken_shut_the_market_and_cost_no_vm() {
    let mut stage = settled().await;
    let (writes, wrong) = (stage.writes(), SETTINGS.replace("{ env = \"TOKEN\" }", "{ env = \"OLD_TOKEN\" }"));
    stage.settle_for(&wrong).await;
    stage.pull(Lever::Target { fleet: name("train"), gpus: 10, lasting: None }).await.unwrap();
    let status = stage.ticks(10).await;
    assert_eq!((stage.writes(), stage.gpus_alive("train")), (writes, 8));
    assert_eq!(stage.blocked("train"), [("unauthorized".to_owned(), 2)].into());
    assert!(status.markets.values().next().unwrap().failed.is_some());
    stage.settle_for(SETTINGS).await;
    stage.ticks(4).await;
    assert_eq!((stage.gpus_alive("train"), stage.deleted()), (10, 0));
    stage.agrees();
}

#[tokio::test]
async fn where_another_place_answers_now_nothing_is_rented_by_what_the_old_one_said() {
    let elsewhere = format!("{SETTINGS}base_url = \"https://elsewhere.example\"\n");
    let faster = SETTINGS.replace("requests_per_second = 100", "requests_per_second = 50");
    for (text, rents) in [(&faster, true), (&elsewhere, false)] {
        let mut stage = settled().await;
        stage.settle_for(text).await;
        stage.break_read(Call::Balance, Fault::ServerError(No));
        stage.pull(Lever::Target { fleet: name("train"), gpus: 10, lasting: None }).await.unwrap();
        stage.tick().await;
        let told = if rents { vec![] } else { vec![("balance_unknown".to_owned(), 2)] };
        assert_eq!(stage.blocked("train"), told.into_iter().collect(), "{text}");
        stage.ticks(4).await;
        assert_eq!((stage.gpus_alive("train"), stage.deleted()), (10, 0));
        stage.agrees();
    }
}

#[tokio::test]
async fn a_delete_without_a_good_answer_is_sent_until_it_is_proven() {
    for fault in ANSWERS.into_iter().chain([Fault::Throttled]) {
        let mut stage = settled().await;
        stage.story = format!("{fault:?}");
        stage.break_next(Call::Terminate, fault, 1);
        stage.pull(Lever::Evacuate(Some(name("train")))).await.unwrap();
        stage.tick().await;
        stage.ticks(6).await;
        assert_eq!((stage.gpus_alive("train"), stage.members("train").len()), (0, 0), "{fault:?}");
        assert_eq!(stage.metric("spotscale_teardowns_total"), 3.0, "{fault:?}: each is counted once");
        stage.agrees();
    }
}

/// `simulate --seed 7092 --faults hostile --for 1d`: the one whose delete had been made was taken for one that runs, and another
/// was let go in its stead.
#[tokio::test]
async fn a_delete_that_is_turned_away_the_second_time_may_have_been_made_the_first_time() {
    let mut stage = settled().await;
    stage.break_next(Call::Terminate, Fault::ServerError(No), 1);
    let one = stage.members("train").remove(0);
    stage.pull(Lever::Delete { instance: one.id.unwrap().to_string() }).await.unwrap();
    stage.break_next(Call::Terminate, Fault::Throttled, 1);
    for _ in 0..2 {
        stage.tick().await;
        assert_eq!(stage.gpus_standing("train", Standing::Leaving), one.shape.gpus, "{}", stage.told());
    }
    stage.ticks(6).await;
    assert_eq!(stage.deleted(), 1);
    stage.agrees();
}

#[tokio::test]
async fn a_stop_and_a_start_without_a_good_answer_end_where_they_were_meant_to() {
    let text =
        format!("{TRAIN}scale_down = \"stop\"\n[disruption]\nmax_unavailable = \"100%\"\ncooldown_down = \"1s\"\n");
    for call in [Call::Stop, Call::Start] {
        for fault in [Fault::LostRequest, Fault::LostAnswer, Fault::ServerError(No), Fault::Html(Yes), Fault::Throttled]
        {
            let mut stage = Stage::new(&[("train", &text)]).await;
            stage.story = format!("{call} {fault:?}");
            stage.ticks(6).await;
            stage.break_next(call, fault, 1);
            stage.pull(Lever::Target { fleet: name("train"), gpus: 4, lasting: None }).await.unwrap();
            stage.ticks(6).await;
            let running = stage.gpus_standing("train", Standing::Running);
            assert_eq!((running, stage.gpus_standing("train", Standing::StoppedReleased)), (4, 4), "{call} {fault:?}");
            stage.agrees();
            stage.pull(Lever::ClearTarget { fleet: name("train") }).await.unwrap();
            stage.ticks(24).await;
            assert_eq!(stage.gpus_standing("train", Standing::Running), 8, "{call} {fault:?}: {}", stage.told());
            stage.agrees();
        }
    }
}

#[tokio::test]
async fn what_was_stopped_is_not_stopped_again_while_the_list_is_still_older() {
    let text =
        format!("{TRAIN}gpus = {{ min = 1, max = 1 }}\nscale_down = \"stop\"\n[disruption]\ncooldown_down = \"1s\"\n");
    // So slow that the cooldown is over before the tick is.
    let settings = SETTINGS.replace("requests_per_second = 100", "requests_per_second = 1");
    let mut stage = Stage::with(still("500"), &settings, Role::AsConfigured, &[("train", &text)]).await;
    stage.ticks(6).await;
    stage.pull(Lever::Target { fleet: name("train"), gpus: 4, lasting: None }).await.unwrap();
    stage.ticks(8).await;
    let running = stage.gpus_standing("train", Standing::Running);
    assert_eq!((running, stage.gpus_standing("train", Standing::StoppedReleased)), (4, 4), "{}", stage.told());
    assert_eq!((stage.calls(Call::Stop), stage.deleted()), (4, 0));
    assert_eq!(stage.metric("spotscale_teardowns_total{fleet=\"train\",reason=\"target\"}"), 4.0);
    assert_eq!(stage.metric("spotscale_interruptions_total"), 0.0, "it was our own doing");
    stage.agrees();
}
