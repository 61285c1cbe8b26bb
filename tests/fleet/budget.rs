//! Budgets of accounts (CONTRACT, `[accounts]`): what the world itself says was spent, day by day of UTC.

use super::{
    TRAIN,
    stage::{SETTINGS, Stage, still},
};
use spotscale::{
    engine::Role,
    io::clock::Clock as _,
    model::{Timestamp, Usd, time},
    sim::{Call, Ended, Fault, Faults, faults::Effected},
};
use std::time::Duration;

const SCAN: Duration = Duration::from_secs(300);
/// Calls for the balance that go wrong: as many as a script may have; [`until`] goes on with it.
const FOR_GOOD: usize = 1_000;

fn usd(amount: &str) -> Usd {
    amount.parse().unwrap()
}

/// [`TRAIN`] in VMs of one GPU each, on an account with this to say of it, whose balance cannot be read.
async fn unread(account: &str) -> Stage {
    let settings = format!("scan_interval = \"5m\"\n{SETTINGS}[accounts.tensordock]\n{account}\n");
    let policy = format!("{TRAIN}gpus = {{ min = 1, max = 1 }}\n");
    let stage = Stage::with(still("500"), &settings, Role::AsConfigured, &[("train", &policy)]).await;
    hide_balance(&stage);
    stage
}

/// From now on nobody can read it.
fn hide_balance(stage: &Stage) {
    stage.break_next(Call::Balance, Fault::ServerError(Effected::No), FOR_GOOD);
}

/// What was spent so far, at exactly this moment; nothing but time passes until then.
fn spent_at(stage: &Stage, moment: Timestamp) -> Usd {
    let mut market = stage.market();
    market.world.advance(moment);
    market.world.truth().spent
}

/// Ticks until a moment, and what was spent until then beyond what was spent `before`.
async fn until(stage: &mut Stage, moment: &str, before: Usd) -> Usd {
    let moment: Timestamp = moment.parse().unwrap();
    while time::after(stage.clock.now(), SCAN) < moment {
        hide_balance(stage);
        stage.tick().await;
    }
    spent_at(stage, moment).minus(before)
}

#[tokio::test]
async fn never_more_than_the_budget_is_spent_on_any_day_and_after_midnight_it_is_rented_again() {
    let budget = usd("6");
    let mut stage = unread("balance = \"unreadable-ok\"\nmax_spend_per_day = 6").await;
    stage.ticks(6).await;
    assert_eq!((stage.gpus_alive("train"), stage.blocked("train").len()), (8, 0));
    let mut before = Usd::ZERO;
    // Half a day, a whole one, and half a day.
    for midnight in ["2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"] {
        let today = until(&mut stage, midnight, before).await;
        assert!(today <= budget && today > usd("5.5"), "{today} until {midnight}");
        let (alive, told) = (stage.gpus_alive("train"), stage.blocked("train"));
        // What little is left may be asked with for one more.
        assert!(alive < 2 && told.len() == 1 && told["budget"] >= 6, "{alive}: {}", stage.told());
        before = before.plus(today);
        stage.ticks(4).await;
        assert_eq!((stage.gpus_alive("train"), stage.blocked("train").len()), (8, 0), "{}", stage.told());
    }
    let today = until(&mut stage, "2026-11-22T12:00:00Z", before).await;
    assert!(today <= budget, "{today} until noon");
    assert_eq!(stage.ended(Ended::Bankrupt), 0);
    let shed = stage.metric("spotscale_teardowns_total{fleet=\"train\",reason=\"budget\"}");
    assert_eq!(shed, stage.deleted() as f64);
    let account = stage.status().accounts.values().next().unwrap().clone();
    let left = stage.metric("spotscale_account_budget_remaining_usd");
    assert_eq!((account.budget_left().unwrap().to_f64(), account.balance), (left, None));
    assert!(account.spent_today >= today, "we count no less than the world: {} {today}", account.spent_today);
    assert_eq!(stage.metric("spotscale_account_balance_floor_usd"), 0.0, "of what is not read there is no floor");
    stage.agrees();
}

#[tokio::test]
async fn an_account_that_is_not_declared_so_rents_nothing_and_says_how() {
    let mut stage = unread("max_spend_per_day = 6").await;
    stage.ticks(4).await;
    assert_eq!((stage.made(), stage.blocked("train")), (0, [("balance_unknown".to_owned(), 8)].into()));
    let detail = stage.report("train").blocked[0].detail.clone();
    assert!(detail.contains("[accounts.tensordock] says balance = \"unreadable-ok\""), "{detail}");
}

#[tokio::test]
async fn a_budget_outlives_a_restart_and_answers_that_are_lost() {
    let mut stage = unread("balance = \"unreadable-ok\"\nmax_spend_per_day = 3").await;
    // Each of them makes a VM that is billed before anybody knows of it.
    stage.break_next(Call::Deploy, Fault::LostAnswer, 3);
    stage.ticks(6).await;
    assert_eq!(stage.gpus_alive("train"), 8);
    for _ in 0..4 {
        stage.pass(Duration::from_secs(3_600)).await;
        stage.restart().await;
        stage.tick_unwatched().await;
    }
    let today = until(&mut stage, "2026-11-21T00:00:00Z", Usd::ZERO).await;
    assert!(today <= usd("3") && today > usd("2.5"), "{today}");
    stage.agrees();
}

#[tokio::test]
async fn a_budget_binds_an_account_whose_balance_can_be_read_and_a_smaller_one_waits_for_the_operator() {
    let mut stage = unread("max_spend_per_day = 100").await;
    stage.market().faults = Faults::none();
    stage.ticks(6).await;
    assert_eq!(stage.gpus_alive("train"), 8);
    let less = |budget: &str| {
        format!("scan_interval = \"5m\"\n{SETTINGS}[accounts.tensordock]\nmax_spend_per_day = {budget}\n")
    };
    // A slip of the finger: everything would go at once.
    stage.settle_for(&less("0.60")).await;
    stage.ticks(4).await;
    assert_eq!((stage.gpus_alive("train"), stage.deleted()), (8, 0));
    let told = stage.status().settings_faults.join(" ");
    assert!(told.contains("[limits] and [accounts]") && told.contains("`spotscale apply train`"), "{told}");
    // Across a restart, too.
    stage.restart().await;
    stage.ticks(4).await;
    assert_eq!((stage.gpus_alive("train"), stage.deleted()), (8, 0));
    let train = super::stage::name("train");
    stage.pull(spotscale::engine::Lever::Apply(train)).await.unwrap();
    stage.ticks(4).await;
    assert!(stage.deleted() >= 5, "{}", stage.told());
    assert!(stage.blocked("train").contains_key("budget"), "{}", stage.told());
    // One that lets nothing go is in force at once.
    stage.settle_for(&less("80")).await;
    stage.ticks(6).await;
    assert_eq!((stage.gpus_alive("train"), stage.status().settings_faults.len()), (8, 0), "{}", stage.told());
    stage.agrees();
}
