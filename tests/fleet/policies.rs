//! Policies come and go, settings are edited, and VMs run meanwhile (CONTRACT, "Policies come and go").

use super::{
    TRAIN,
    stage::{SETTINGS, Stage, name},
};
use spotscale::{
    engine::{Lever, LeverError, Scope},
    ledger::Standing,
    settings::Vendor,
};
use std::time::Duration;

/// [`TRAIN`] in VMs of one GPU each, so that parts of it can go.
fn small() -> String {
    format!("{TRAIN}gpus = {{ min = 1, max = 1 }}\n[disruption]\ncooldown_down = \"30s\"\n")
}

fn target(gpus: u32) -> String {
    small().replace("target_gpus = 8", &format!("target_gpus = {gpus}"))
}

async fn eight_small() -> Stage {
    let mut stage = Stage::new(&[("train", &small())]).await;
    stage.ticks(6).await;
    assert_eq!((stage.gpus_alive("train"), stage.made()), (8, 8));
    stage
}

fn faults(stage: &Stage) -> Vec<String> {
    stage.status().fleets[&name("train")].policy.faults.clone()
}

fn held(stage: &Stage) -> Option<String> {
    stage.status().fleets[&name("train")].policy.held.clone().map(|(_, told)| told)
}

/// Whether new `[limits]` wait for the word for a fleet.
fn waits(stage: &Stage, fleet: &str) -> bool {
    let apply = format!("`spotscale apply {fleet}`");
    stage.status().settings_faults.iter().any(|told| told.contains(&apply))
}

fn rests(stage: &Stage, writes: u64) {
    assert_eq!((stage.writes(), stage.gpus_alive("train")), (writes, 8), "{}", stage.told());
}

#[tokio::test]
async fn a_higher_target_is_filled() {
    let mut stage = eight_small().await;
    stage.write("train", &target(10)).await;
    stage.ticks(5).await;
    assert_eq!(
        (stage.gpus_alive("train"), stage.deleted(), stage.metric("spotscale_fleet_target_gpus")),
        (10, 0, 10.0)
    );
    stage.agrees();
}

#[tokio::test]
async fn an_edit_that_lets_half_the_target_go_is_done() {
    let mut stage = eight_small().await;
    stage.write("train", &target(4)).await;
    stage.ticks(20).await;
    assert_eq!((held(&stage), stage.gpus_alive("train"), stage.deleted()), (None, 4, 4));
    stage.agrees();
}

#[tokio::test]
async fn an_edit_that_lets_more_go_is_held_whole_until_it_is_applied_and_a_restart_changes_nothing() {
    let mut stage = eight_small().await;
    let writes = stage.writes();
    // The target is too low, and there is something harmless in the same edit: all of it waits.
    stage.write("train", &target(3).replace("max_hourly_rate = 6.00", "max_hourly_rate = 5.00")).await;
    for restarts in [false, true] {
        if restarts {
            stage.restart().await;
        }
        stage.ticks(6).await;
        rests(&stage, writes);
        assert_eq!(
            held(&stage).as_deref(),
            Some("it would let go 5 VMs with 5 GPUs (target_gpus 8 -> 3, max_hourly_rate 6.00 -> 5.00)")
        );
        assert_eq!(stage.metric("spotscale_fleet_target_gpus"), 8.0, "the one in force");
        assert_eq!(stage.metric("spotscale_fleet_hourly_rate_limit_usd"), 6.0, "the one in force");
    }
    assert!(stage.metric("spotscale_policy_reloads_total{result=\"held\"}") > 0.0);

    stage.pull(Lever::Apply(name("train"))).await.unwrap();
    // A restart right after it still knows.
    stage.restart().await;
    stage.ticks(25).await;
    assert_eq!((held(&stage), stage.gpus_alive("train")), (None, 3));
    assert_eq!(stage.metric("spotscale_fleet_hourly_rate_limit_usd"), 5.0);
    stage.agrees();
    let again = stage.pull(Lever::Apply(name("train"))).await;
    assert!(matches!(again, Err(LeverError::Refused(_))), "{again:?}");
}

#[tokio::test]
async fn an_edit_that_is_held_waits_for_apply_over_a_restart_though_it_would_let_little_go_by_now() {
    let mut stage = eight_small().await;
    stage.write("train", &target(3)).await;
    stage.ticks(2).await;
    assert!(held(&stage).is_some());
    for vm in stage.alive("train").iter().take(3) {
        assert!(stage.market().world_of(Vendor::Tensordock).take_away(&vm.id));
    }
    stage.pass(Duration::from_secs(900)).await;
    assert_eq!((stage.gpus_alive("train"), stage.deleted()), (5, 0), "the lower target binds what is started");
    stage.restart().await;
    stage.ticks(6).await;
    assert!(held(&stage).is_some());
    assert_eq!((stage.gpus_alive("train"), stage.deleted()), (5, 0));
    stage.pull(Lever::Apply(name("train"))).await.unwrap();
    stage.ticks(25).await;
    assert_eq!((held(&stage), stage.gpus_alive("train")), (None, 3));
    stage.agrees();
}

#[tokio::test]
async fn an_edit_that_was_taken_back_is_judged_anew_when_it_is_made_again() {
    for is_restarted in [false, true] {
        let mut stage = eight_small().await;
        stage.write("train", &target(3)).await;
        stage.ticks(2).await;
        for vm in stage.alive("train").iter().take(3) {
            assert!(stage.market().world_of(Vendor::Tensordock).take_away(&vm.id));
        }
        stage.pass(Duration::from_secs(900)).await;
        assert_eq!((held(&stage).is_some(), stage.gpus_alive("train")), (true, 5));
        // So that nothing is rented meanwhile.
        stage.pull(Lever::Pause(Scope::Fleet(name("train")))).await.unwrap();
        stage.write("train", &small()).await;
        stage.ticks(2).await;
        assert_eq!((held(&stage), stage.gpus_alive("train")), (None, 5));
        if is_restarted {
            stage.restart().await;
        }
        stage.write("train", &target(3)).await;
        stage.pull(Lever::Resume(Scope::Fleet(name("train")))).await.unwrap();
        stage.ticks(25).await;
        assert_eq!((held(&stage), stage.gpus_alive("train")), (None, 3), "two of five are little enough");
    }
}

#[tokio::test]
async fn an_edit_made_while_the_daemon_was_down_is_held_too_against_the_text_last_in_force() {
    let mut stage = eight_small().await;
    let writes = stage.writes();
    stage.write_unnoticed("train", &target(0));
    stage.restart().await;
    stage.ticks(6).await;
    rests(&stage, writes);
    assert!(held(&stage).unwrap().contains("8 VMs with 8 GPUs"));
    stage.write("train", &small()).await;
    stage.ticks(2).await;
    rests(&stage, writes);
    assert_eq!(held(&stage), None, "taken back");
}

#[tokio::test]
async fn while_an_edit_is_held_the_lower_of_both_limits_binds_what_is_started() {
    let mut stage = eight_small().await;
    let committed = stage.report("train").rate_now;
    // Half the rate would let more than half of them go.
    let edit = target(8).replace("max_hourly_rate = 6.00", "max_hourly_rate = 0.40");
    stage.write("train", &edit).await;
    stage.tick().await;
    assert!(held(&stage).is_some());
    // One is deleted by the operator: at the old limit it would come back.
    let victim = stage.members("train")[0].name.to_string();
    stage.pull(Lever::Delete { instance: victim }).await.unwrap();
    stage.ticks(6).await;
    assert_eq!(stage.gpus_alive("train"), 7);
    assert_eq!(stage.blocked("train"), [("held_edit".to_owned(), 1)].into());
    assert!(stage.report("train").rate_now < committed);
    assert_eq!(stage.metric("spotscale_fleet_hourly_rate_limit_usd"), 6.0, "the one in force");
}

#[tokio::test]
async fn while_an_edit_is_held_its_price_cap_runway_and_floor_bind_what_is_started() {
    let capped = |text: String| {
        let long = ["rtxa6000-pcie-48gb", "v100-sxm2-16gb", "l40-pcie-48gb", "geforcertx4090-pcie-24gb"]
            .map(|model| format!("[[models]]\nname = \"{model}\"\nmax_price = 0.01\n"));
        let short = text.lines().find(|line| line.starts_with("models")).unwrap().to_owned();
        text.replace(&short, "") + &long.concat()
    };
    for (what, edit) in [
        ("max_price", capped(target(2))),
        ("min_runway", target(2).replace("balance_floor", "min_runway = \"5000h\"\nbalance_floor")),
        ("balance_floor", target(2).replace("balance_floor = 50.00", "balance_floor = 499.00")),
    ] {
        let mut stage = eight_small().await;
        stage.story = what.to_owned();
        stage.write("train", &edit).await;
        stage.tick().await;
        assert!(held(&stage).is_some(), "{what}");
        let victim = stage.members("train")[0].name.to_string();
        stage.pull(Lever::Delete { instance: victim }).await.unwrap();
        let made = stage.made();
        stage.ticks(6).await;
        assert_eq!((stage.made(), stage.gpus_alive("train")), (made, 7), "{what}: {}", stage.told());
    }
}

#[tokio::test]
async fn a_broken_or_empty_file_leaves_the_last_good_text_in_force_through_a_restart() {
    for (what, text, told) in [
        ("broken", small().replace("6.00", "\"much\""), "/policies/train.toml:4:"),
        ("no TOML", "fleet = [".to_owned(), "/policies/train.toml:1:"),
        ("empty", String::new(), "/policies/train.toml"),
    ] {
        let mut stage = eight_small().await;
        stage.story = what.to_owned();
        let writes = stage.writes();
        stage.write("train", &text).await;
        for restarts in [false, true] {
            if restarts {
                stage.restart().await;
            }
            stage.ticks(4).await;
            rests(&stage, writes);
            assert!(faults(&stage)[0].contains(told), "{what}: {:?}", faults(&stage));
            assert_eq!(stage.metric("spotscale_policy_out_of_date"), 1.0, "{what}");
        }
        // What is in force is still held up to: a VM that goes is replaced.
        let victim = stage.members("train")[0].name.to_string();
        stage.pull(Lever::Delete { instance: victim }).await.unwrap();
        stage.ticks(6).await;
        assert_eq!(stage.gpus_standing("train", Standing::Running), 8, "{what}: {}", stage.told());
        stage.write("train", &small()).await;
        stage.tick().await;
        assert_eq!((faults(&stage), stage.metric("spotscale_policy_out_of_date")), (Vec::new(), 0.0), "{what}");
    }
}

#[tokio::test]
async fn a_file_that_is_gone_pauses_its_fleet_until_it_returns() {
    let mut stage = eight_small().await;
    let writes = stage.writes();
    stage.remove("train").await;
    for restarts in [false, true] {
        if restarts {
            stage.restart().await;
        }
        let status = stage.ticks(4).await;
        rests(&stage, writes);
        let fleet = &status.fleets[&name("train")];
        assert!(fleet.policy.gone && fleet.levers.paused);
        assert_eq!(stage.metric("spotscale_fleet_paused"), 1.0);
    }
    let resumed = stage.pull(Lever::Resume(Scope::Fleet(name("train")))).await;
    assert!(matches!(resumed, Err(LeverError::Refused(_))), "{resumed:?}");
    stage.write("train", &target(9)).await;
    stage.ticks(4).await;
    assert_eq!((stage.gpus_alive("train"), stage.metric("spotscale_fleet_paused")), (9, 0.0));
    stage.agrees();
}

#[tokio::test]
async fn a_fleet_whose_file_is_gone_can_be_evacuated_and_is_then_forgotten() {
    let mut stage = eight_small().await;
    stage.remove("train").await;
    stage.tick().await;
    stage.pull(Lever::Evacuate(Some(name("train")))).await.unwrap();
    let status = stage.ticks(6).await;
    assert_eq!((stage.gpus_alive("train"), stage.deleted()), (0, 8));
    assert_eq!(status.fleets.len(), 0, "nothing is left of it");
    assert_eq!(stage.metric("spotscale_fleet_paused"), 0.0);
    stage.restart().await;
    assert_eq!(stage.ticks(2).await.fleets.len(), 0);

    // It comes back while the daemon is down.
    stage.write_unnoticed("train", &small());
    stage.restart().await;
    assert_eq!(stage.ticks(2).await.fleets.len(), 1);
    let of_policies = stage.newest_rows(1_000).into_iter().rfind(|row| row.contains("\"kind\":\"policy_")).unwrap();
    assert!(of_policies.contains("policy_in_force"), "its file is back, and the journal knows: {of_policies}");
}

#[tokio::test]
async fn a_file_may_be_renamed_and_a_fleet_only_once_it_has_no_vms() {
    let mut stage = eight_small().await;
    let writes = stage.writes();
    stage.remove_unnoticed("train");
    stage.write("learning", &small()).await;
    let status = stage.ticks(3).await;
    rests(&stage, writes);
    let policy = &status.fleets[&name("train")].policy;
    assert_eq!((policy.file.as_str(), policy.gone), ("/policies/learning.toml", false));

    let renamed = small().replace("fleet = \"train\"", "fleet = \"learn\"");
    stage.write("learning", &renamed).await;
    for restarts in [false, true] {
        if restarts {
            stage.restart().await;
        }
        let status = stage.ticks(3).await;
        rests(&stage, writes);
        assert!(faults(&stage)[0].contains("renames the fleet train"), "{:?}", faults(&stage));
        assert!(!status.fleets.contains_key(&name("learn")));
    }
    stage.pull(Lever::Evacuate(Some(name("train")))).await.unwrap();
    stage.ticks(5).await;
    stage.write("learning", &renamed).await;
    let status = stage.ticks(6).await;
    assert_eq!((stage.gpus_alive("train"), stage.gpus_alive("learn")), (0, 8));
    assert_eq!(status.fleets.keys().map(ToString::to_string).collect::<Vec<_>>(), ["learn"]);
    stage.agrees();
}

#[tokio::test]
async fn two_files_of_one_fleet_are_a_fault_of_both_and_change_nothing() {
    let mut stage = eight_small().await;
    let writes = stage.writes();
    stage.write("another", &target(2)).await;
    stage.ticks(4).await;
    rests(&stage, writes);
    assert!(faults(&stage).iter().any(|fault| fault.contains("is also the fleet of")), "{:?}", faults(&stage));
    stage.remove("another").await;
    stage.ticks(2).await;
    rests(&stage, writes);
    assert_eq!(faults(&stage), Vec::<String>::new());
}

#[tokio::test]
async fn two_files_of_one_fleet_at_the_very_first_start_rent_nothing_and_are_told_of() {
    let mut stage = Stage::new(&[("one", &small()), ("two", &target(2))]).await;
    let status = stage.ticks(3).await;
    assert_eq!((stage.made(), status.fleets.len(), status.settings_faults.len()), (0, 0, 2));
    stage.remove("two").await;
    stage.ticks(4).await;
    assert_eq!((stage.gpus_alive("train"), stage.status().settings_faults.len()), (8, 0));
    stage.agrees();
}

#[tokio::test]
async fn limits_over_all_fleets_are_lowered_a_little_at_once_and_much_only_when_applied() {
    let mut stage = eight_small().await;
    let rate = stage.report("train").rate_now;
    let limited = |limit: &str| SETTINGS.replace("max_hourly_rate = 40.00", &format!("max_hourly_rate = {limit}"));
    let a_little = rate.minus(spotscale::model::HourlyRate::from_micros(rate.micros() / 5));
    stage.settle_for(&limited(&a_little.to_string())).await;
    stage.ticks(6).await;
    let left = stage.gpus_alive("train");
    assert!((4..8).contains(&left), "{left}");
    assert!(stage.report("train").rate_now <= a_little);
    assert_eq!(stage.blocked("train"), [("global_rate_limit".to_owned(), 8 - left)].into());

    stage.settle_for(&limited("0.10")).await;
    for restarts in [false, true] {
        if restarts {
            stage.restart().await;
        }
        stage.ticks(4).await;
        assert_eq!(stage.gpus_alive("train"), left, "held: {}", stage.told());
        assert_eq!(
            stage.status().situation.as_ref().unwrap().limits.max_hourly_rate,
            Some(a_little),
            "the one in force"
        );
    }
    stage.pull(Lever::Apply(name("train"))).await.unwrap();
    stage.restart().await;
    stage.ticks(6).await;
    assert_eq!(stage.gpus_alive("train"), 0, "one alone costs more");
    stage.settle_for(SETTINGS).await;
    stage.ticks(5).await;
    assert_eq!(stage.gpus_alive("train"), 8);
    stage.agrees();
}

#[tokio::test]
async fn limits_over_all_fleets_are_judged_by_the_fleet_that_would_give_way() {
    // One dear VM that keeps its share, and six cheap ones that do not.
    let dear = target(1).replace("models", "priority = 200\nmodels").replace("fleet = \"train\"", "fleet = \"serve\"");
    let mut stage = Stage::new(&[("train", &target(6)), ("serve", &dear)]).await;
    stage.ticks(6).await;
    assert_eq!((stage.gpus_alive("train"), stage.gpus_alive("serve")), (6, 1));
    let rate = |fleet: &str| stage.report(fleet).rate_now;
    // The dear one alone would make room enough, if it were it that goes.
    let vms = stage.members("train");
    let cheapest = vms.iter().map(spotscale::ledger::Member::committed).min().unwrap();
    let most = rate("serve").plus(cheapest).plus(cheapest);
    let limited = SETTINGS.replace("max_hourly_rate = 40.00", &format!("max_hourly_rate = {most}"));
    let writes = stage.writes();
    stage.settle_for(&limited).await;
    for restarts in [false, true] {
        if restarts {
            stage.restart().await;
        }
        stage.ticks(4).await;
        assert_eq!((stage.writes(), stage.gpus_alive("train")), (writes, 6), "held: {}", stage.told());
    }
    let told = stage.status().settings_faults.join("; ");
    assert!(told.contains("`spotscale apply train`") && !told.contains("apply serve"), "{told}");
    stage.pull(Lever::Apply(name("train"))).await.unwrap();
    stage.ticks(6).await;
    assert!(stage.gpus_alive("train") <= 2, "{}", stage.told());
    assert_eq!(stage.gpus_alive("serve"), 1);
    stage.agrees();
}

#[tokio::test]
async fn while_limits_are_held_the_lower_ones_bind_what_is_started_by_all_fleets_together() {
    let half = target(4) + "max_scale_down = 1\n";
    let other = half.replace("fleet = \"train\"", "fleet = \"serve\"");
    let mut stage = Stage::new(&[("train", &half), ("serve", &other)]).await;
    stage.ticks(6).await;
    let rate = |stage: &Stage| stage.report("train").rate_now.plus(stage.report("serve").rate_now);
    let all = rate(&stage);
    // Half of what both cost: each alone is within it.
    let new = stage.report("train").rate_now;
    let text = format!("max_hourly_rate = {new}\nbalance_floor = 60.00");
    stage.settle_for(&SETTINGS.replace("max_hourly_rate = 40.00", &text)).await;
    stage.tick().await;
    let status = stage.status();
    let told = &status.settings_faults;
    assert!(told.iter().any(|told| told.contains("apply")), "the status says that limits are held: {told:?}");
    let victim = stage.members("train")[0].name.to_string();
    stage.pull(Lever::Delete { instance: victim }).await.unwrap();
    let made = stage.made();
    stage.ticks(5).await;
    assert_eq!((stage.made(), stage.gpus_alive("train")), (made, 3), "{}", stage.told());
    assert!(rate(&stage) < all);
    assert_eq!(stage.blocked("train"), [("held_edit".to_owned(), 1)].into());
}

#[tokio::test]
async fn the_word_for_one_fleet_is_kept_while_that_for_another_is_waited_for() {
    let half = target(4) + "max_scale_down = 1\n";
    let other = half.replace("fleet = \"train\"", "fleet = \"serve\"");
    let mut stage = Stage::new(&[("train", &half), ("serve", &other)]).await;
    stage.ticks(6).await;
    stage.settle_for(&SETTINGS.replace("max_hourly_rate = 40.00", "max_hourly_rate = 0.10")).await;
    stage.ticks(2).await;
    assert_eq!((waits(&stage, "train"), waits(&stage, "serve")), (true, true), "{}", stage.told());
    stage.pull(Lever::Apply(name("train"))).await.unwrap();
    stage.restart().await;
    stage.ticks(2).await;
    assert_eq!((waits(&stage, "train"), waits(&stage, "serve")), (false, true), "{}", stage.told());
    assert_eq!(stage.gpus_alive("train") + stage.gpus_alive("serve"), 8, "nothing goes before all have a word");
    stage.pull(Lever::Apply(name("serve"))).await.unwrap();
    stage.ticks(8).await;
    assert_eq!(stage.gpus_alive("train") + stage.gpus_alive("serve"), 0);
    stage.agrees();
}

#[tokio::test]
async fn the_word_for_an_edit_of_limits_is_forgotten_when_the_edit_is_taken_back() {
    let half = target(4) + "max_scale_down = 1\n";
    let other = half.replace("fleet = \"train\"", "fleet = \"serve\"");
    let mut stage = Stage::new(&[("train", &half), ("serve", &other)]).await;
    stage.ticks(6).await;
    let slip = SETTINGS.replace("max_hourly_rate = 40.00", "max_hourly_rate = 0.10");
    stage.settle_for(&slip).await;
    stage.tick().await;
    stage.pull(Lever::Apply(name("train"))).await.unwrap();
    stage.settle_for(SETTINGS).await;
    stage.ticks(2).await;
    assert_eq!(stage.status().settings_faults, Vec::<String>::new());
    stage.settle_for(&slip).await;
    stage.tick().await;
    let told = stage.status().settings_faults.join("; ");
    assert!(told.contains("`spotscale apply train`"), "{told}");
    assert_eq!(stage.gpus_alive("train") + stage.gpus_alive("serve"), 8);
}

/// `[limits]` of less than half of what the fleet costs.
fn less_than_half(stage: &Stage) -> String {
    let most = stage.report("train").rate_now.micros() * 3 / 8;
    let most = spotscale::model::HourlyRate::from_micros(most);
    SETTINGS.replace("max_hourly_rate = 40.00", &format!("max_hourly_rate = {most}"))
}

/// Eight, of which lower `[limits]` would let more than half go and are held; three went by themselves since.
async fn five_under_held_limits() -> (Stage, String) {
    let mut stage = eight_small().await;
    let lower = less_than_half(&stage);
    stage.settle_for(&lower).await;
    stage.ticks(2).await;
    assert!(waits(&stage, "train"));
    for vm in stage.alive("train").iter().take(3) {
        assert!(stage.market().world_of(Vendor::Tensordock).take_away(&vm.id));
    }
    stage.pass(Duration::from_secs(900)).await;
    assert_eq!((stage.gpus_alive("train"), stage.deleted()), (5, 0), "the lower limit binds what is started");
    (stage, lower)
}

#[tokio::test]
async fn limits_that_are_held_wait_for_apply_over_restarts_and_reloads_though_they_would_let_little_go_by_now() {
    for is_restarted in [false, true] {
        let (mut stage, lower) = five_under_held_limits().await;
        match is_restarted {
            true => stage.restart().await,
            false => stage.settle_for(&lower).await,
        }
        stage.ticks(6).await;
        assert!(waits(&stage, "train"), "{}", stage.told());
        assert_eq!((stage.gpus_alive("train"), stage.deleted()), (5, 0));
        stage.pull(Lever::Apply(name("train"))).await.unwrap();
        stage.restart().await;
        stage.ticks(25).await;
        assert!(!waits(&stage, "train") && stage.gpus_alive("train") < 5, "{}", stage.told());
        stage.agrees();
    }
}

#[tokio::test]
async fn limits_that_were_taken_back_are_judged_anew_when_they_are_made_again() {
    for is_restarted in [false, true] {
        let (mut stage, lower) = five_under_held_limits().await;
        // So that nothing is rented meanwhile.
        stage.pull(Lever::Pause(Scope::Fleet(name("train")))).await.unwrap();
        stage.settle_for(SETTINGS).await;
        stage.ticks(2).await;
        assert_eq!((waits(&stage, "train"), stage.gpus_alive("train")), (false, 5));
        if is_restarted {
            stage.restart().await;
        }
        stage.settle_for(&lower).await;
        stage.pull(Lever::Resume(Scope::Fleet(name("train")))).await.unwrap();
        stage.ticks(25).await;
        assert!(!waits(&stage, "train") && stage.gpus_alive("train") < 5, "one or two of five are little enough");
    }
}

#[tokio::test]
async fn limits_wait_no_longer_for_a_fleet_that_is_forgotten() {
    let mut stage = eight_small().await;
    let lower = less_than_half(&stage);
    stage.settle_for(&lower).await;
    stage.ticks(2).await;
    assert!(waits(&stage, "train"));
    stage.remove("train").await;
    stage.pull(Lever::Evacuate(Some(name("train")))).await.unwrap();
    let status = stage.ticks(6).await;
    assert_eq!((status.fleets.len(), stage.gpus_alive("train")), (0, 0));
    assert_eq!(status.settings_faults, Vec::<String>::new(), "nobody could apply them");
    stage.restart().await;
    assert_eq!(stage.ticks(2).await.settings_faults, Vec::<String>::new());
}

#[tokio::test]
async fn a_file_that_returns_with_another_text_is_held_against_the_one_last_in_force() {
    let mut stage = eight_small().await;
    let writes = stage.writes();
    stage.remove("train").await;
    stage.ticks(2).await;
    stage.restart().await;
    stage.ticks(2).await;
    // Under another name, too.
    stage.write("learning", &target(3)).await;
    stage.ticks(4).await;
    rests(&stage, writes);
    assert!(held(&stage).unwrap().contains("5 VMs with 5 GPUs"));
}

#[tokio::test]
async fn each_of_two_edits_in_a_row_is_judged_by_itself() {
    let mut stage = eight_small().await;
    stage.write("train", &target(4)).await;
    stage.tick().await;
    // Most of the eight are still there; of those that are to stay, two go.
    stage.write("train", &target(2)).await;
    stage.tick().await;
    assert_eq!(held(&stage), None);
    stage.write("train", &target(0)).await;
    stage.tick().await;
    assert!(held(&stage).unwrap().contains("2 VMs with 2 GPUs"), "{:?}", held(&stage));
    stage.ticks(20).await;
    assert_eq!(stage.gpus_alive("train"), 2);
    stage.agrees();
}

#[tokio::test]
async fn what_a_paused_or_a_watched_fleet_would_lose_is_held_before_it_is_resumed_or_acts() {
    let watching = |gpus: u32| target(gpus).replace("models", "mode = \"observe\"\nmodels");
    let mut stage = eight_small().await;
    let writes = stage.writes();
    stage.pull(Lever::Pause(Scope::All)).await.unwrap();
    stage.write("train", &target(3)).await;
    stage.tick().await;
    assert!(held(&stage).unwrap().contains("5 VMs with 5 GPUs"));
    stage.pull(Lever::Resume(Scope::All)).await.unwrap();
    stage.ticks(4).await;
    rests(&stage, writes);
    // One small step after the other while it only watches; then all at once.
    for gpus in [8, 4, 2] {
        stage.write("train", &watching(gpus)).await;
        stage.ticks(2).await;
        assert_eq!(held(&stage), None, "{gpus}");
    }
    stage.write("train", &target(2)).await;
    stage.ticks(4).await;
    rests(&stage, writes);
    assert!(held(&stage).unwrap().contains("6 VMs with 6 GPUs"));
}

#[tokio::test]
async fn what_was_watched_for_long_is_held_before_limits_act_again_and_watching_begins_at_once() {
    let watching = SETTINGS.replace("[limits]", "[limits]\nmode = \"observe\"");
    let mut stage = eight_small().await;
    stage.settle_for(&watching).await;
    let writes = stage.writes();
    for gpus in [4, 2] {
        stage.write("train", &target(gpus)).await;
        stage.ticks(2).await;
        assert_eq!(held(&stage), None, "{gpus}");
    }
    stage.settle_for(SETTINGS).await;
    for restarts in [false, true] {
        if restarts {
            stage.restart().await;
        }
        let status = stage.ticks(4).await;
        rests(&stage, writes);
        assert!(waits(&stage, "train"));
        assert_eq!(status.mode, spotscale::policy::terms::Mode::Observe, "the one in force");
    }
    stage.pull(Lever::Apply(name("train"))).await.unwrap();
    stage.restart().await;
    stage.ticks(1).await;
    let left = stage.gpus_alive("train");
    assert!(left < 8);
    stage.settle_for(&watching).await;
    stage.ticks(4).await;
    assert_eq!((stage.gpus_alive("train"), waits(&stage, "train")), (left, false));
    stage.agrees();
}

#[tokio::test]
async fn a_change_that_needs_a_restart_is_refused_and_said() {
    let mut stage = eight_small().await;
    let writes = stage.writes();
    stage.settle_for(&format!("instance_prefix = \"other\"\n{SETTINGS}")).await;
    let status = stage.ticks(2).await;
    rests(&stage, writes);
    assert!(status.settings_faults[0].contains("instance_prefix"), "{:?}", status.settings_faults);
    stage.settle_for(SETTINGS).await;
    assert_eq!(stage.tick().await.settings_faults, Vec::<String>::new());
}
