//! Of two marketplaces one does not take the credentials, throttles, hangs or fails: the other goes on as if it were alone,
//! nothing happens to the VMs on the one that fails, and all is well once it comes back.

use super::stage::{SETTINGS, Stage, Weather, name};
use spotscale::{
    engine::{Lever, Status, status::MarketStatus},
    io::{
        clock::Clock,
        net::Response,
        store::{Query, Store},
    },
    market::Call,
    model::{MarketplaceName, time},
    plan::{Bench, MarketState},
    sim::{Absence, Ended, Fault, Origin, Vm},
};
use std::{sync::Arc, time::Duration};

const SCAN: Duration = Duration::from_secs(30);
/// The first look that is let wait in vain takes no longer, pace and all.
const FIRST_TICK_MAX: Duration = Duration::from_secs(17);
/// Nor the later ones.
const TICK_MAX: Duration = Duration::from_secs(5);

fn settings() -> String {
    format!(
        "{SETTINGS}[marketplaces.other]\napi = \"tensordock-v0\"\nkey = {{ env = \"KEY\" }}\ntoken = {{ env = \"TOKEN\" }}\n\
         requests_per_second = 100\n"
    )
}

/// A fleet of VMs of one GPU each, which may rent where it says.
fn fleet(name: &str, gpus: u32, marketplaces: &str) -> String {
    format!(
        "fleet = \"{name}\"\ntarget_gpus = {gpus}\nmax_hourly_rate = 12.00\nbalance_floor = 50.00\n{marketplaces}\n\
         models = [\"v100-sxm2-16gb\", \"rtxa4000-pcie-16gb\", \"rtxa6000-pcie-48gb\"]\n\
         [instance]\ngpus = {{ min = 1, max = 1 }}\n"
    )
}

/// `train` on `tensordock` and `serve` on `other`, both at their targets.
async fn settled() -> Stage {
    let train = fleet("train", 4, "marketplaces = [\"tensordock\"]");
    let serve = fleet("serve", 3, "marketplaces = [\"other\"]");
    let mut stage = Stage::of_two(&settings(), &[("train", &train), ("serve", &serve)]).await;
    stage.ticks(6).await;
    assert_eq!((stage.gpus_alive("train"), elsewhere(&stage).len()), (4, 3), "{}", stage.told());
    stage
}

/// Ours in the other world, those that are there.
fn elsewhere(stage: &Stage) -> Vec<Vm> {
    let truth = stage.elsewhere("other").world.truth();
    truth.alive().filter(|vm| vm.origin == Origin::Api).cloned().collect()
}

/// How many VMs were ever made and deleted in the other world.
fn moved(stage: &Stage) -> (usize, usize) {
    let truth = stage.elsewhere("other").world.truth();
    let ours = || truth.vms.iter().filter(|vm| vm.origin == Origin::Api);
    (ours().count(), ours().filter(|vm| vm.ended.is_some_and(|(_, how)| how == Ended::Deleted)).count())
}

fn says(status: u16, headers: &[(&str, &str)], body: &str) -> Weather {
    let mut response = Response::json(status, body);
    response.headers.extend(headers.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    Weather::Says(response)
}

fn weathers() -> [(Weather, Bench); 5] {
    let error = |text: &str| format!(r#"{{"success": false, "error": "{text}"}}"#);
    [
        (says(401, &[], &error("Invalid API key")), Bench::Unauthorized),
        (says(429, &[("retry-after", "120")], &error("Too many requests")), Bench::Throttled),
        (says(429, &[], &error("Too many requests")), Bench::Throttled),
        (says(500, &[], &error("Internal Server Error")), Bench::Stale),
        (Weather::Hangs, Bench::Stale),
    ]
}

fn other(status: &Status) -> (MarketState, MarketStatus) {
    let name: MarketplaceName = "other".parse().unwrap();
    (status.situation.as_ref().unwrap().markets[&name].clone(), status.markets[&name].clone())
}

/// A tick, and how long it took by the clock.
async fn timed(stage: &mut Stage) -> (Arc<Status>, Duration) {
    let began = stage.clock.monotonic() + SCAN;
    let status = stage.tick().await;
    (status, stage.clock.monotonic() - began)
}

#[tokio::test]
async fn the_other_goes_on_nothing_is_torn_down_or_replaced_and_all_recovers() {
    for (weather, bench) in weathers() {
        let mut stage = settled().await;
        stage.story = format!("{weather:?}");
        let before = moved(&stage);
        stage.weather("other", Some(weather.clone()));
        stage.pull(Lever::Target { fleet: name("train"), gpus: 7, lasting: None }).await.unwrap();
        stage.pull(Lever::Target { fleet: name("serve"), gpus: 5, lasting: None }).await.unwrap();
        let began = stage.clock.monotonic();

        let (_, took) = timed(&mut stage).await;
        assert!(took <= FIRST_TICK_MAX, "{weather:?}: {took:?}");
        for _ in 0..30 {
            let (status, took) = timed(&mut stage).await;
            assert!(took <= TICK_MAX, "{weather:?}: {took:?}");
            let (state, market) = other(&status);
            assert_eq!(state.bench, Some(bench), "{weather:?}");
            assert!(market.failed.is_some() && market.benched_since.is_some(), "{weather:?}");
            let again = market.asked_again_at.expect("it is asked again");
            assert!(time::elapsed(status.at.unwrap(), again) <= Duration::from_secs(60), "{weather:?}");
        }
        assert_eq!(stage.gpus_alive("train"), 7, "{weather:?}: {}", stage.told());
        assert_eq!((moved(&stage), elsewhere(&stage).len()), (before, 3), "{weather:?}");
        assert_eq!(stage.report("serve").running_gpus, 3, "{weather:?}: absence is not zero");
        let blocked: Vec<String> = stage.blocked("serve").into_keys().collect();
        assert_eq!(blocked, [bench.to_string()], "{weather:?}");
        let series = format!("spotscale_marketplace_benched{{marketplace=\"other\",reason=\"{bench}\"}}");
        assert_eq!(stage.metric(&series), 1.0, "{weather:?}");
        assert_eq!(stage.metric("spotscale_marketplace_benched{marketplace=\"tensordock\""), 0.0);

        let asked: Vec<_> = stage.sent("other", "").into_iter().filter(|at| *at > began).collect();
        let healthy = stage.sent("tensordock", "/client/list").into_iter().filter(|at| *at > began).count();
        assert_eq!(healthy, 31, "{weather:?}: one list a tick");
        // Three lists, the first time thrice each, and then each other tick; where it asked us to wait, one of
        // them after a minute, at the next tick.
        assert!((10..=60).contains(&asked.len()), "{weather:?}: asked {} times", asked.len());
        let apart = asked.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(apart <= Duration::from_secs(95), "{weather:?}: {apart:?}");

        stage.weather("other", None);
        let mut ticks = 0;
        while elsewhere(&stage).len() < 5 && ticks < 8 {
            stage.tick().await;
            ticks += 1;
        }
        let status = stage.ticks(2).await;
        let (state, market) = other(&status);
        assert_eq!((state.bench, market.failed, market.benched_since), (None, None, None), "{weather:?}");
        assert_eq!(elsewhere(&stage).len(), 5, "{weather:?}: {}", stage.told());
        assert_eq!(moved(&stage), (before.0 + 2, before.1), "{weather:?}");

        let query = Query { kinds: vec!["event".into()], subject: Some("other".into()), ..Query::default() };
        let told = stage.disk.search(&query, 10).unwrap();
        let of = |word: &str| told.iter().filter(|row| row.body.contains(&format!("\"{word}\""))).count();
        assert!(of("benched") >= 1 && of("unbenched") == 1, "{weather:?}: {told:?}");
        let query = Query { kinds: vec!["decision".into()], ..Query::default() };
        let decisions = stage.disk.search(&query, 100).unwrap();
        let word = format!("other is benched: {bench} since 2026-11-20T12:");
        assert!(decisions.iter().any(|row| row.body.contains(&word)), "{weather:?}: {word}");
    }
}

#[tokio::test]
async fn a_fleet_across_both_keeps_its_vms_where_nobody_answers_and_rents_nothing_in_their_place() {
    let both = fleet("both", 12, "");
    for (weather, bench) in weathers() {
        let mut stage = Stage::of_two(&settings(), &[("both", &both)]).await;
        stage.story = format!("{weather:?}");
        stage.ticks(8).await;
        let (here, there) = (stage.gpus_alive("both"), elsewhere(&stage).len());
        assert!(here > 0 && there > 0 && here as usize + there == 12, "{here} and {there}: {}", stage.told());
        let (made, before) = (stage.made(), moved(&stage));
        stage.weather("other", Some(weather.clone()));
        stage.ticks(40).await;
        assert_eq!((stage.made(), stage.deleted(), moved(&stage)), (made, 0, before), "{weather:?}");
        // More is wanted: it comes from the one that answers.
        stage.pull(Lever::Target { fleet: name("both"), gpus: 14, lasting: None }).await.unwrap();
        stage.ticks(4).await;
        assert_eq!((stage.made(), moved(&stage)), (made + 2, before), "{weather:?} {bench}: {}", stage.told());
        stage.weather("other", None);
        stage.ticks(8).await;
        assert_eq!((stage.made(), stage.deleted(), moved(&stage)), (made + 2, 0, before), "{weather:?}");
        assert_eq!(stage.report("both").running_gpus, 14);
    }
}

#[tokio::test]
async fn deletes_go_on_where_the_machines_cannot_be_listed_and_are_proven() {
    for fault in [Fault::Throttled, Fault::HalfJson, Fault::LostRequest] {
        let mut stage = settled().await;
        stage.elsewhere("other").faults.last(Call::Hostnodes, Some(fault));
        stage.ticks(6).await;
        stage.pull(Lever::Evacuate(Some(name("serve")))).await.unwrap();
        stage.ticks(4).await;
        assert_eq!((elsewhere(&stage).len(), stage.members("serve").len()), (0, 0), "{fault:?}");
        assert_eq!(stage.gpus_alive("train"), 4);
    }
}

#[tokio::test]
async fn deletes_are_tried_where_no_list_is_answered_and_delay_nobody_for_long() {
    for (weather, _) in weathers() {
        let mut stage = settled().await;
        stage.story = format!("{weather:?}");
        stage.weather("other", Some(weather.clone()));
        stage.ticks(4).await;
        stage.pull(Lever::Evacuate(Some(name("serve")))).await.unwrap();
        stage.pull(Lever::Target { fleet: name("train"), gpus: 6, lasting: None }).await.unwrap();
        for _ in 0..30 {
            let (_, took) = timed(&mut stage).await;
            assert!(took <= Duration::from_secs(25), "{weather:?}: {took:?}");
        }
        let tried = stage.sent("other", "/client/delete/single").len();
        assert!(tried >= 5, "{weather:?}: {tried} deletes");
        assert_eq!((stage.gpus_alive("train"), elsewhere(&stage).len()), (6, 3), "{weather:?}");
        stage.weather("other", None);
        stage.ticks(8).await;
        assert_eq!((elsewhere(&stage).len(), stage.members("serve").len()), (0, 0), "{weather:?}: {}", stage.told());
    }
}

#[tokio::test]
async fn a_list_that_came_too_late_for_its_look_is_read_all_the_same_and_is_no_proof_of_what_was_done_since() {
    let mut stage = settled().await;
    stage.weather("other", Some(Weather::Slow(Duration::from_secs(20))));
    let (status, took) = timed(&mut stage).await;
    assert!(took <= FIRST_TICK_MAX, "{took:?}");
    let (state, market) = other(&status);
    assert_eq!((state.bench, state.list_complete), (Some(Bench::Stale), false));
    assert!(market.failed.unwrap().value.to_string().contains("no answer yet after 15s"));
    // It answers each time, always too late for its look: what it says is taken in by the next one.
    let mut read = 0;
    for _ in 0..10 {
        let (status, took) = timed(&mut stage).await;
        assert!(took <= FIRST_TICK_MAX, "{took:?}");
        read += u32::from(other(&status).0.bench.is_none());
    }
    assert!(read > 0, "it is never read");
    assert_eq!((elsewhere(&stage).len(), stage.report("serve").running_gpus), (3, 3));
    stage.weather("other", None);
    stage.ticks(3).await;
    assert_eq!(other(&stage.status()).0.bench, None);
}

#[tokio::test]
async fn of_two_marketplaces_of_one_account_the_one_that_answers_tells_the_balance() {
    let shared =
        settings().replace("[marketplaces.other]", "account = \"vendor\"\n[marketplaces.other]\naccount = \"vendor\"");
    let mut stage = Stage::of_two(&shared, &[("train", &fleet("train", 4, "marketplaces = [\"tensordock\"]"))]).await;
    stage.ticks(4).await;
    assert!(!stage.sent("other", "/billing/balance").is_empty(), "the first by name is asked");
    stage.weather("other", Some(Weather::Hangs));
    stage.pass(Duration::from_secs(600)).await;
    let status = stage.status();
    let read_at = status.accounts.values().next().unwrap().balance.as_ref().unwrap().at;
    assert!(time::elapsed(read_at, status.at.unwrap()) < Duration::from_secs(20));
    assert!(stage.sent("tensordock", "/billing/balance").len() > 15);
}

#[tokio::test]
async fn questions_that_are_never_answered_delay_the_others_once_in_a_while_and_no_more() {
    let mut stage = settled().await;
    stage.weather("other", Some(Weather::HangsOn("validate")));
    stage.pull(Lever::Target { fleet: name("train"), gpus: 7, lasting: None }).await.unwrap();
    stage.pull(Lever::Target { fleet: name("serve"), gpus: 5, lasting: None }).await.unwrap();
    let mut late = 0;
    for _ in 0..20 {
        let (_, took) = timed(&mut stage).await;
        late += u32::from(took > TICK_MAX);
    }
    // Not in the tick that begins within a minute of the last one that did.
    assert!((1..=10).contains(&late), "{late} of 20 ticks waited for it");
    assert!(stage.sent("other", "/spot/validate/new").len() >= 4, "it is asked again");
    assert_eq!((stage.gpus_alive("train"), elsewhere(&stage).len()), (7, 3), "{}", stage.told());
    assert_eq!(stage.blocked("serve"), [("stale_market".to_owned(), 2)].into());
    stage.weather("other", None);
    stage.ticks(6).await;
    assert_eq!(elsewhere(&stage).len(), 5, "{}", stage.told());
}

#[tokio::test]
async fn vms_that_cannot_be_asked_for_by_id_delay_the_others_once_in_a_while_and_are_not_gone() {
    let mut stage = settled().await;
    let hostnode = elsewhere(&stage)[0].hostnode.clone();
    stage.elsewhere("other").world.vanish(&hostnode, Absence::Hidden, Duration::from_secs(36_000));
    stage.weather("other", Some(Weather::HangsOn("/get/single")));
    let (mut late, before) = (0, moved(&stage));
    for _ in 0..20 {
        let (_, took) = timed(&mut stage).await;
        late += u32::from(took > TICK_MAX);
    }
    assert!((1..=10).contains(&late), "{late} of 20 ticks waited for it");
    assert!(stage.sent("other", "/get/single").len() >= 4, "it is asked again");
    assert_eq!((stage.gpus_alive("train"), moved(&stage)), (4, before), "{}", stage.told());
}
