//! Balance, floor and runway, and the VMs of others on the same account (CONTRACT, "Floor").

use super::{
    TRAIN,
    stage::{SETTINGS, Stage, machines_with, name, still},
};
use spotscale::{
    engine::{Lever, Role},
    ledger::Standing,
    model::Usd,
    sim::{Call, Ended, Fault},
};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

/// [`TRAIN`] in VMs of one GPU each.
fn small(floor: &str) -> String {
    TRAIN.replace("balance_floor = 50.00", &format!("balance_floor = {floor}")) + "gpus = { min = 1, max = 1 }\n"
}

/// A look every two minutes: for tests of hours.
async fn slow(balance: &str, policy: &str) -> Stage {
    let settings = format!("scan_interval = \"2m\"\n{SETTINGS}");
    Stage::with(still(balance), &settings, Role::AsConfigured, &[("train", policy)]).await
}

fn usd(amount: &str) -> Usd {
    amount.parse().unwrap()
}

#[tokio::test]
async fn no_more_is_started_than_the_account_can_pay_for_an_hour_above_its_floor() {
    let mut stage = slow("51", &small("50.00")).await;
    stage.ticks(6).await;
    let running = stage.gpus_alive("train");
    assert!((2..8).contains(&running), "{running}");
    assert_eq!(stage.blocked("train"), [("runway".to_owned(), 8 - running)].into());
    assert!(stage.report("train").rate_now.cost(HOUR) <= usd("1"));
    // It burns down to the floor and beyond; nothing more is started, and what runs stays.
    stage.pass(Duration::from_secs(3 * 3_600)).await;
    assert_eq!((stage.gpus_alive("train"), stage.deleted()), (running, 0));
    assert_eq!(stage.blocked("train"), [("balance_floor".to_owned(), 8 - running)].into());
    let account = stage.status().accounts.values().next().unwrap().clone();
    assert_eq!((account.runway_to_floor, account.floor), (Some(Duration::ZERO), usd("50")));
    assert!(account.runway_to_zero.unwrap() > 20 * HOUR);
    stage.market().world.deposit(usd("100"));
    stage.ticks(4).await;
    assert_eq!((stage.gpus_alive("train"), stage.blocked("train").len()), (8, 0));
    stage.agrees();
}

#[tokio::test]
async fn the_higher_of_both_floors_and_the_longer_runway_hold() {
    for (settings, policy) in [
        (SETTINGS.replace("[limits]", "[limits]\nbalance_floor = 499.00"), small("50.00")),
        (SETTINGS.to_owned(), small("499.00")),
        (SETTINGS.to_owned(), small("50.00").replace("balance_floor", "min_runway = \"450h\"\nbalance_floor")),
    ] {
        let mut stage = Stage::with(still("500"), &settings, Role::AsConfigured, &[("train", &policy)]).await;
        stage.ticks(6).await;
        let running = stage.gpus_alive("train");
        assert!((2..8).contains(&running), "{running}");
        assert_eq!(stage.blocked("train"), [("runway".to_owned(), 8 - running)].into());
    }
}

#[tokio::test]
async fn with_when_low_hold_vms_are_shed_only_before_the_account_is_empty() {
    let mut stage = slow("5", &small("0.50")).await;
    stage.ticks(6).await;
    assert_eq!(stage.gpus_alive("train"), 8);
    // Below the floor, and more than an hour from empty.
    stage.ticks_until(100, "the first is shed", |stage| stage.deleted() > 0).await;
    let (balance, cost) = {
        let truth = stage.market().world.truth();
        (truth.balance, truth.hourly_cost)
    };
    assert!(balance < usd("2") && balance.lasts(cost).unwrap() > HOUR, "{balance} lasts at {cost}/h");
    stage.pass(6 * HOUR).await;
    assert_eq!(stage.ended(Ended::Bankrupt), 0, "the account never ran dry: {}", stage.told());
    assert_eq!(
        stage.metric("spotscale_teardowns_total{fleet=\"train\",reason=\"balance_floor\"}"),
        stage.deleted() as f64
    );
    stage.agrees();
}

#[tokio::test]
async fn with_when_low_never_nothing_is_shed_and_what_the_vendor_deletes_is_not_rented_again() {
    let policy = small("0.50").replace("balance_floor", "when_low = \"never\"\nbalance_floor");
    let mut stage = slow("5", &policy).await;
    stage.ticks_until(150, "the account is empty", |stage| stage.ended(Ended::Bankrupt) > 0).await;
    assert_eq!(stage.deleted(), 0);
    let made = stage.made();
    stage.ticks(10).await;
    assert_eq!((stage.made(), stage.gpus_alive("train")), (made, 0));
    assert_eq!(stage.blocked("train"), [("balance_floor".to_owned(), 8)].into());
    stage.agrees();
}

#[tokio::test]
async fn a_balance_older_than_five_minutes_starts_nothing_and_lets_nothing_go() {
    let mut stage = Stage::new(&[("train", &small("50.00"))]).await;
    stage.ticks(6).await;
    let more = |gpus| Lever::Target { fleet: name("train"), gpus, lasting: None };
    stage.break_next(Call::Balance, Fault::LostAnswer, 300);
    stage.ticks(3).await;
    stage.pull(more(9)).await.unwrap();
    stage.ticks(3).await;
    assert_eq!(stage.gpus_alive("train"), 9, "three minutes old, it still counts");
    stage.ticks(8).await;
    stage.pull(more(10)).await.unwrap();
    stage.ticks(6).await;
    assert_eq!((stage.gpus_alive("train"), stage.deleted()), (9, 0));
    assert_eq!(stage.blocked("train"), [("balance_unknown".to_owned(), 1)].into());
    stage.market().faults = spotscale::sim::Faults::none();
    stage.ticks(4).await;
    assert_eq!((stage.gpus_alive("train"), stage.blocked("train").len()), (10, 0));
}

#[tokio::test]
async fn an_old_balance_sheds_nothing_either() {
    let mut stage = slow("5", &small("0.50")).await;
    stage.ticks(6).await;
    stage.break_next(Call::Balance, Fault::ServerError(spotscale::sim::faults::Effected::No), 900);
    stage.pass(Duration::from_secs(3 * 3_600 / 2)).await;
    assert_eq!((stage.gpus_alive("train"), stage.deleted()), (8, 0), "nobody knows what is left");
}

#[tokio::test]
async fn vms_of_others_count_in_what_the_account_burns_and_are_never_touched() {
    let mut stage = Stage::on(still("52"), &[("train", &small("50.00"))]).await;
    let machines = machines_with(&["rtxa4000-pcie-16gb"]);
    for (number, machine) in machines.iter().enumerate() {
        stage.stranger(&format!("database-{number}"), machine.id.as_str(), "rtxa4000-pcie-16gb", 1, None);
    }
    // One of another owner that is named almost like ours, and one of a fleet that is not known.
    let l40 = machines_with(&["l40-pcie-48gb"])[0].id.to_string();
    stage.stranger("spotscale-trainer", &l40, "l40-pcie-48gb", 1, Some("0.60"));
    stage.stranger("spotscale-nobody-1", &l40, "l40-pcie-48gb", 1, Some("0.60"));
    stage.ticks(6).await;
    let foreign = stage.status().situation.as_ref().unwrap().accounts.values().next().unwrap().foreign;
    let truth = stage.market().world.truth();
    let theirs = truth.alive().filter(|vm| vm.name.as_str().starts_with("spotscale-train-"));
    let ours = theirs.map(|vm| vm.agreed.total()).sum();
    assert_eq!(foreign, truth.hourly_cost.minus(ours), "all that is not ours, as billed");
    assert!(foreign.cost(HOUR) > usd("1.5"));
    let running = stage.gpus_alive("train");
    assert!(running < 3, "{running}: two dollars pay for them and for little else");
    assert_eq!(stage.blocked("train"), [("runway".to_owned(), 8 - running)].into());
    // Through an evacuation of everything, and until the account is nearly empty.
    stage.pull(Lever::Evacuate(None)).await.unwrap();
    stage.ticks(4).await;
    assert_eq!(stage.gpus_standing("train", Standing::Running), 0);
    let left = stage.market().world.truth().alive().count();
    assert_eq!(left, machines.len() + 2);
}

#[tokio::test]
async fn what_the_very_first_tick_rents_is_counted_from_its_beginning() {
    // So slow that its VMs are billed for a while before it ends.
    let settings = SETTINGS.replace("requests_per_second = 100", "requests_per_second = 1");
    let mut stage = Stage::with(still("500"), &settings, Role::AsConfigured, &[("train", TRAIN)]).await;
    let status = stage.tick().await;
    let spent = stage.market().world.truth().spent;
    let counted = status.accounts.values().next().unwrap().spent_today;
    assert!(spent > Usd::ZERO && counted >= spent, "{counted} of {spent}");
}
