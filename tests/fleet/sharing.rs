//! Several fleets share one rate and one market: higher priority first, nobody at another's cost, and no churn.

use super::stage::{SETTINGS, Stage, name, still};
use spotscale::{
    engine::{Lever, Role},
    model::HourlyRate,
};

/// A fleet of VMs of one GPU each.
fn fleet(name: &str, priority: i32, gpus: u32) -> String {
    format!(
        "fleet = \"{name}\"\ntarget_gpus = {gpus}\nmax_hourly_rate = 6.00\nbalance_floor = 50.00\npriority = {priority}\n\
         models = [\"v100-sxm2-16gb\", \"rtxa4000-pcie-16gb\", \"rtxa6000-pcie-48gb\"]\n\
         [instance]\ngpus = {{ min = 1, max = 1 }}\n"
    )
}

fn limited(limit: &str) -> String {
    SETTINGS.replace("max_hourly_rate = 40.00", &format!("max_hourly_rate = {limit}"))
}

async fn stage(limit: &str, fleets: &[(&str, i32, u32)]) -> Stage {
    let texts: Vec<(&str, String)> =
        fleets.iter().map(|(name, rank, gpus)| (*name, fleet(name, *rank, *gpus))).collect();
    let policies: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    Stage::with(still("500"), &limited(limit), Role::AsConfigured, &policies).await
}

/// A hundred quiet ticks in which nothing is written at all.
async fn rests(stage: &mut Stage) {
    let (writes, made) = (stage.writes(), stage.made());
    stage.ticks(100).await;
    assert_eq!((stage.writes(), stage.made()), (writes, made), "{}", stage.told());
    assert_eq!(stage.deleted(), 0);
    stage.agrees();
}

fn alive(stage: &Stage, fleets: &[&str]) -> Vec<u32> {
    fleets.iter().map(|fleet| stage.gpus_alive(fleet)).collect()
}

#[tokio::test]
async fn of_two_fleets_the_higher_priority_has_all_it_wants_and_the_lower_what_is_left() {
    for (train, serve) in [(200, 100), (100, 200)] {
        let mut stage = stage("1.00", &[("train", train, 5), ("serve", serve, 5)]).await;
        stage.ticks(8).await;
        let (high, low) = if train > serve { ("train", "serve") } else { ("serve", "train") };
        assert_eq!(stage.gpus_alive(high), 5, "{}", stage.told());
        let left = stage.gpus_alive(low);
        assert!((1..5).contains(&left), "{left}");
        assert_eq!(stage.blocked(low), [("global_rate_limit".to_owned(), 5 - left)].into());
        assert_eq!(stage.made(), usize::try_from(5 + left).unwrap());
        rests(&mut stage).await;
    }
}

#[tokio::test]
async fn three_fleets_share_in_the_order_of_their_priorities() {
    let mut stage = stage("1.20", &[("a", 10, 4), ("b", 30, 4), ("c", 20, 4)]).await;
    stage.ticks(8).await;
    let [a, b, c] = alive(&stage, &["a", "b", "c"])[..] else { unreachable!() };
    assert_eq!((b, c), (4, 4), "{}", stage.told());
    assert!(a < 4);
    assert_eq!(stage.blocked("a"), [("global_rate_limit".to_owned(), 4 - a)].into());
    rests(&mut stage).await;
}

#[tokio::test]
async fn a_fleet_of_higher_priority_that_comes_later_takes_nothing_away_and_what_becomes_free_first() {
    let mut stage = stage("0.70", &[("low", 10, 8)]).await;
    stage.ticks(8).await;
    let low = stage.gpus_alive("low");
    assert!((2..8).contains(&low), "{low}");
    stage.write("high", &fleet("high", 99, 2)).await;
    stage.ticks(20).await;
    assert_eq!((alive(&stage, &["low", "high"]), stage.deleted()), (vec![low, 0], 0), "{}", stage.told());
    assert_eq!(stage.blocked("high"), [("global_rate_limit".to_owned(), 2)].into());
    let (writes, dearest) =
        (stage.writes(), stage.members("low").into_iter().max_by_key(|member| member.committed()).unwrap());
    stage.pull(Lever::Delete { instance: dearest.name.to_string() }).await.unwrap();
    stage.ticks(8).await;
    assert_eq!(alive(&stage, &["low", "high"]), [low - 1, 1], "{}", stage.told());
    assert_eq!(stage.writes(), writes + 2, "one delete, one deploy");
}

#[tokio::test]
async fn what_a_fleet_of_higher_priority_cannot_have_is_not_eaten_by_a_lower_one() {
    // The high one wants a VM that does not fit beside what runs; the low one's would.
    let mut stage = stage("0.80", &[("low", 10, 3)]).await;
    stage.ticks(6).await;
    assert_eq!(stage.gpus_alive("low"), 3);
    let large = fleet("high", 99, 4).replace("min = 1, max = 1", "min = 4, max = 4");
    stage.write("high", &large).await;
    stage.write("low", &fleet("low", 10, 8)).await;
    stage.ticks(10).await;
    assert_eq!(alive(&stage, &["low", "high"]), [3, 0], "{}", stage.told());
    stage.pull(Lever::Evacuate(Some(name("low")))).await.unwrap();
    stage.ticks(8).await;
    assert_eq!(alive(&stage, &["low", "high"]), [0, 4], "{}", stage.told());
}

#[tokio::test]
async fn fleets_with_room_enough_rest_too() {
    let mut stage = stage("40.00", &[("a", 10, 3), ("b", 30, 4), ("c", 20, 2)]).await;
    stage.ticks(8).await;
    assert_eq!((alive(&stage, &["a", "b", "c"]), stage.made()), (vec![3, 4, 2], 9));
    let rates: HourlyRate = ["a", "b", "c"].map(|fleet| stage.report(fleet).rate_now).into_iter().sum();
    assert_eq!(rates, stage.market().world.truth().hourly_cost);
    rests(&mut stage).await;
}

#[tokio::test]
async fn two_marketplaces_of_one_account_show_the_same_vms_and_machines_and_none_is_counted_twice() {
    let settings = format!(
        "{SETTINGS}account = \"vendor\"\n[marketplaces.again]\napi = \"tensordock-v0\"\nkey = {{ env = \"KEY\" }}\n\
         token = {{ env = \"TOKEN\" }}\nrequests_per_second = 100\naccount = \"vendor\"\n"
    );
    let (a, b) = (fleet("a", 10, 5), fleet("b", 20, 4));
    let policies = [("a", a.as_str()), ("b", b.as_str())];
    let mut stage = Stage::with(still("500"), &settings, Role::AsConfigured, &policies).await;
    stage.ticks(8).await;
    assert_eq!((alive(&stage, &["a", "b"]), stage.made()), (vec![5, 4], 9), "{}", stage.told());
    let truth = stage.market().world.truth();
    let status = stage.status();
    let account = status.accounts.values().next().unwrap();
    assert_eq!((status.accounts.len(), account.hourly_cost), (1, truth.hourly_cost));
    assert_eq!(stage.metric("spotscale_stray_instances"), 0.0);
    stage.restart().await;
    rests(&mut stage).await;
    stage.pull(Lever::Evacuate(None)).await.unwrap();
    stage.ticks(5).await;
    assert_eq!(alive(&stage, &["a", "b"]), [0, 0]);
}
