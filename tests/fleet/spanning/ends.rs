//! What ends at Vectordash: machines that vanish, types that somebody else takes, dates that pass.

use super::{
    super::stage::{Stage, Weather, name},
    BUDGET, fleet, market, of_machines_of_both, settings, spread, tensordock, vectordash,
};
use spotscale::{
    engine::Lever,
    io::net::Response,
    ledger::Standing,
    market::Call,
    model::reason::Rejected,
    settings::{Api, Vendor},
    sim::{Absence, Ended, Fault, Market},
};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

const CHEAP: &str = "geforcegtx1070-pcie-8gb";
const DEAR: &str = "geforcegtx1080-pcie-8gb";

fn only_vectordash(gpus: u32, more: &str) -> String {
    format!("{}{more}", fleet(gpus, "marketplaces = [\"vectordash\"]"))
}

/// The models of a fleet's VMs that are there, as the worlds have them.
fn models(stage: &Stage) -> Vec<String> {
    let mut models: Vec<_> = stage.alive("train").iter().map(|vm| vm.shape.gpu_model.to_string()).collect();
    models.sort();
    models
}

#[tokio::test]
async fn one_that_vanished_is_gone_by_the_fifth_list_and_lists_that_failed_are_none() {
    let settings = format!("settle_grace = \"1m\"\n{}", settings(BUDGET));
    let mut stage = Stage::across(market(), &settings, &[("train", &fleet(6, ""))]).await;
    stage.ticks(6).await;
    assert_eq!(spread(&stage), [3, 2, 1], "{}", stage.told());
    let lost = stage.members("train").into_iter().find(|member| member.marketplace.as_str() == "vectordash").unwrap();
    let id = lost.id.unwrap();
    let host = {
        let mut market = stage.market();
        let world = market.world_of(Vendor::Vectordash);
        let host = world.truth().vms.into_iter().find(|vm| vm.id == id).unwrap().hostnode;
        world.vanish(&host, Absence::Dead, DAY);
        host
    };
    for (list, answers) in [true, false, true, true, false, true].into_iter().enumerate() {
        let says = Weather::Says(Response::json(500, "{}"));
        stage.weather("vectordash", (!answers).then_some(says));
        stage.tick().await;
        assert_eq!((stage.made(), spread(&stage)), (6, [3, 2, 1]), "list {list}: {}", stage.told());
    }
    stage.weather("vectordash", None);
    stage.tick().await;
    assert_eq!((stage.made(), spread(&stage)), (7, [4, 2, 0]), "{host}: {}", stage.told());
    assert_eq!(stage.metric("spotscale_interruptions_total{cause=\"vanished\""), 1.0);
    stage.ticks(4).await;
    assert_eq!(stage.gpus_standing("train", Standing::Running), 6);
    assert_eq!((stage.deleted(), stage.market().calls(Api::Vectordash, Call::Instance)), (0, 0));
    stage.agrees();
}

#[tokio::test]
async fn a_list_of_half_the_vms_proves_nothing_gone_before_its_time() {
    let mut stage = Stage::across(market(), &settings(BUDGET), &[("train", &only_vectordash(4, ""))]).await;
    stage.ticks(8).await;
    let (made, writes) = (stage.made(), stage.writes());
    assert_eq!(stage.gpus_standing("train", Standing::Running), 4, "{}", stage.told());
    for fault in [Fault::PartialList, Fault::EmptyList] {
        // Four in a row, again and again: the fifth shows that they are there.
        for _ in 0..3 {
            stage.market().break_api(Api::Vectordash, Some(fault));
            stage.ticks(4).await;
            assert_eq!((stage.made(), stage.writes(), stage.members("train").len()), (made, writes, 4), "{fault:?}");
            stage.market().break_api(Api::Vectordash, None);
            stage.tick().await;
        }
        assert_eq!(stage.gpus_standing("train", Standing::Running), 4, "{fault:?}: {}", stage.told());
    }
    stage.agrees();
}

#[tokio::test]
async fn a_type_that_somebody_took_meanwhile_cools_down_and_others_serve() {
    let policy = only_vectordash(2, "[disruption]\ncooldown_up = \"10m\"\n");
    let mut stage = Stage::across(market(), &settings(BUDGET), &[("train", &policy)]).await;
    stage.break_next(Call::Deploy, Fault::Refused, 1);
    stage.ticks(2).await;
    assert_eq!((models(&stage), stage.calls(Call::Deploy)), (vec![DEAR.to_owned(); 2], 3), "{}", stage.told());
    assert_eq!(stage.in_doubt(), 0, "a readable no settles it");
    let refused = "spotscale_deploys_total{fleet=\"train\",marketplace=\"vectordash\",result=\"no_capacity\"}";
    assert_eq!(stage.metric(refused), 1.0);
    stage.pull(Lever::Target { fleet: name("train"), gpus: 3, lasting: None }).await.unwrap();
    stage.tick().await;
    assert_eq!(models(&stage), [DEAR, DEAR, DEAR], "it still cools down");
    assert_eq!(stage.report("train").rejected.get(&Rejected::Cooldown), Some(&1));
    stage.pass(10 * MINUTE).await;
    stage.pull(Lever::Target { fleet: name("train"), gpus: 4, lasting: None }).await.unwrap();
    stage.ticks(2).await;
    assert_eq!(models(&stage), [CHEAP, DEAR, DEAR, DEAR], "{}", stage.told());
    stage.agrees();
}

/// The cheaper type can be had for so long.
fn until(lasts: Duration) -> Market {
    let mut ending = vectordash(CHEAP, 2, 220_000);
    ending.available_for = Some(lasts);
    of_machines_of_both(&[tensordock("rtxa4000-pcie-16gb", 2, 219_600)], &[ending, vectordash(DEAR, 2, 330_000)])
}

#[tokio::test]
async fn what_cannot_be_counted_on_for_an_hour_is_not_rented_however_cheap() {
    for (minutes, expected) in [(59, DEAR), (62, CHEAP)] {
        let market = until(minutes * MINUTE);
        let mut stage = Stage::across(market, &settings(BUDGET), &[("train", &only_vectordash(1, ""))]).await;
        stage.tick().await;
        assert_eq!(models(&stage), [expected], "{minutes} minutes: {}", stage.told());
        let too_soon = stage.report("train").rejected.get(&Rejected::EndsTooSoon).copied();
        assert_eq!(too_soon, (expected == DEAR).then_some(1), "{minutes} minutes");
    }
}

#[tokio::test]
async fn when_the_date_has_passed_what_stood_there_is_replaced_by_what_lasts() {
    let settings = format!("scan_interval = \"2m\"\n{}", settings(BUDGET));
    let market = until(90 * MINUTE);
    let mut stage = Stage::across(market, &settings, &[("train", &fleet(3, ""))]).await;
    stage.ticks(4).await;
    let end = stage.members("train").iter().find_map(|member| member.available_until);
    assert_eq!(end, Some("2026-11-20T13:30:00Z".parse().unwrap()), "{}", stage.told());
    assert_eq!(spread(&stage), [2, 0, 1]);
    stage.pass(80 * MINUTE).await;
    assert_eq!((stage.made(), stage.deleted()), (3, 0), "a date that is near lets nothing go");
    stage.pass(30 * MINUTE).await;
    assert_eq!((stage.ended(Ended::HostDied), stage.deleted(), stage.made()), (1, 0, 4), "{}", stage.told());
    assert_eq!(stage.gpus_standing("train", Standing::Running), 3, "{}", stage.told());
    assert!(models(&stage).contains(&DEAR.to_owned()));
    stage.agrees();
}
