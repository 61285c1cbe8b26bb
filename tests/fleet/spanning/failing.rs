//! One of the three after the other fails half-way, in every way there is, and comes back.

use super::{
    super::stage::{Stage, Weather},
    THREE, settled, spread, target,
};
use spotscale::{
    engine::{Lever, Status, status::MarketStatus},
    io::net::Response,
    model::MarketplaceName,
    plan::{Bench, MarketState},
    settings::Api,
    sim::Fault,
};

/// How a marketplace fails.
#[derive(Clone, Debug)]
enum Failure {
    /// At its door.
    Door(Weather),
    /// It does what it is asked, and says nothing.
    Mute,
}

fn says(status: u16, header: (&str, &str), body: &str) -> Failure {
    let mut response = Response::json(status, body);
    response.headers.retain(|(name, _)| name != header.0);
    response.headers.push((header.0.to_owned(), header.1.to_owned()));
    Failure::Door(Weather::Says(response))
}

fn failures() -> [(Failure, Bench); 6] {
    let json = ("content-type", "application/json");
    [
        (says(500, json, r#"{"success": false, "error": "Internal Server Error"}"#), Bench::Stale),
        (says(401, json, r#"{"success": false, "error": "Invalid token"}"#), Bench::Unauthorized),
        (says(429, ("retry-after", "120"), r#"{"success": false, "error": "Too many requests"}"#), Bench::Throttled),
        (says(200, ("content-type", "text/html"), "<!DOCTYPE html><html><body>Oops</body></html>"), Bench::Stale),
        (Failure::Door(Weather::Hangs), Bench::Stale),
        (Failure::Mute, Bench::Stale),
    ]
}

fn fail(stage: &Stage, (name, api): (&str, Api), failure: Option<&Failure>) {
    match failure {
        Some(Failure::Door(weather)) => stage.weather(name, Some(weather.clone())),
        Some(Failure::Mute) => stage.market().break_api(api, Some(Fault::LostAnswer)),
        None => {
            stage.weather(name, None);
            stage.market().break_api(api, None);
        }
    }
}

fn state(status: &Status, name: &str) -> (MarketState, MarketStatus) {
    let name: MarketplaceName = name.parse().unwrap();
    (status.situation.as_ref().unwrap().markets[&name].clone(), status.markets[&name].clone())
}

/// Of six GPUs some are where nothing is answered any more, in this way. The others go on.
async fn one_fails(which: usize, failure: &Failure, bench: Bench) {
    let (name, api) = THREE[which];
    let mut stage = settled().await;
    stage.story = format!("{name} {failure:?}");
    let told = stage.story.clone();
    let (made, writes) = (stage.made(), stage.writes());
    fail(&stage, (name, api), Some(failure));
    // Longer than a balance may be old.
    let status = stage.ticks(14).await;
    assert_eq!((stage.made(), stage.writes(), spread(&stage)), (made, writes, [3, 2, 1]), "{told}");
    assert_eq!(stage.report("train").running_gpus, 6, "absence is not zero: {told}");
    for (other, _) in THREE {
        let (state, market) = state(&status, other);
        let expected = (other == name).then_some(bench);
        assert_eq!((state.bench, market.benched_since.is_some()), (expected, expected.is_some()), "{other}: {told}");
        let series = format!("spotscale_marketplace_benched{{marketplace=\"{other}\"");
        assert_eq!(stage.metric(&series), if expected.is_some() { 1.0 } else { 0.0 }, "{other}: {told}");
    }
    let (_, market) = state(&status, name);
    assert!(market.failed.is_some() && market.asked_again_at.is_some(), "{told}");

    // More is wanted. Without v0 nobody can read what v2 would spend.
    let able = |index: usize| index != which && !(name == "tensordock" && THREE[index].0 == "dock-v2");
    target(&mut stage, 8).await;
    stage.ticks(4).await;
    let now = spread(&stage);
    for (index, had) in [3, 2, 1].into_iter().enumerate() {
        assert!(now[index] == had || able(index) && now[index] > had, "{now:?}: {told}");
    }
    assert_eq!((now.iter().sum::<usize>(), stage.made(), stage.deleted()), (8, 8, 0), "{told}: {}", stage.told());
    assert_eq!(stage.report("train").blocked, [], "{told}");

    // And all there is: what the others do not have is missing for the right reason.
    target(&mut stage, 15).await;
    stage.ticks(6).await;
    let blocked = stage.blocked("train");
    let expected = match name {
        "dock-v2" => vec![],
        "tensordock" => vec![("balance_unknown".to_owned(), 3)],
        _ => vec![(bench.to_string(), 6)],
    };
    assert_eq!(blocked.into_iter().collect::<Vec<_>>(), expected, "{told}: {}", stage.told());
    assert_eq!((spread(&stage)[which], stage.deleted()), ([3, 2, 1][which], 0), "{told}");

    fail(&stage, (name, api), None);
    let status = stage.ticks(8).await;
    for (other, _) in THREE {
        let (state, market) = state(&status, other);
        assert_eq!((state.bench, market.failed, market.benched_since), (None, None, None), "{other}: {told}");
    }
    assert_eq!((stage.gpus_alive("train"), stage.made(), stage.deleted()), (15, 15, 0), "{told}: {}", stage.told());
    assert_eq!(stage.report("train").blocked, [], "{told}");
    stage.agrees();
}

#[tokio::test]
async fn v2_fails_and_comes_back() {
    for (failure, bench) in failures() {
        one_fails(0, &failure, bench).await;
    }
}

#[tokio::test]
async fn v0_fails_and_comes_back_and_nobody_can_read_the_balance_meanwhile() {
    for (failure, bench) in failures() {
        one_fails(1, &failure, bench).await;
    }
}

#[tokio::test]
async fn vectordash_fails_and_comes_back() {
    for (failure, bench) in failures() {
        one_fails(2, &failure, bench).await;
    }
}

#[tokio::test]
async fn evacuated_while_one_does_not_answer_the_others_are_rid_of_theirs_at_once_and_it_later() {
    for (which, (name, api)) in THREE.into_iter().enumerate() {
        for (failure, _) in failures() {
            let mut stage = settled().await;
            stage.story = format!("{name} {failure:?}");
            fail(&stage, (name, api), Some(&failure));
            stage.ticks(2).await;
            stage.pull(Lever::Evacuate(None)).await.unwrap();
            stage.ticks(6).await;
            let mut left = [0; 3];
            // What a mute one was told it did: nobody knows yet.
            left[which] = [3, 2, 1][which];
            assert_eq!(spread(&stage), left, "{}: {}", stage.story, stage.told());
            fail(&stage, (name, api), None);
            stage.ticks_until(10, "all is gone", |stage| stage.members("train").is_empty()).await;
            assert_eq!((stage.gpus_alive("train"), stage.made()), (0, 6), "{}", stage.story);
            stage.agrees();
        }
    }
}
