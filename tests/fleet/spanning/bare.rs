//! An account of TensorDock's with v2 alone: nobody can read its balance, its list may say next to nothing of a VM, and it
//! may give other ports than those that were asked for.

use super::{
    super::stage::{Stage, honest, name},
    fleet, market,
};
use spotscale::{
    engine::Lever,
    io::{
        clock::Clock as _,
        net::{Request, Response},
    },
    ledger::Standing,
    market::{
        Backend, Call, Fake,
        tensordock_v2::fake::{ListShape, TensordockV2Fake},
    },
    model::{Usd, time},
    settings::Api,
    sim::{Faults, Market, World},
};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

fn settings(account: &str) -> String {
    format!(
        "scan_interval = \"5m\"\npolicies = \"/policies\"\n[limits]\nmax_hourly_rate = 40.00\n[marketplaces.dock]\n\
         api = \"tensordock-v2\"\ntoken = {{ env = \"TOKEN\" }}\n[accounts.dock]\n{account}\n"
    )
}

const DECLARED: &str = "balance = \"unreadable-ok\"\nmax_spend_per_day = 60";

fn world() -> World {
    market().world
}

/// v2 alone, with this fake.
fn v2(fake: impl Fake + 'static) -> Market {
    Market::new(world(), Faults::none(), vec![(Api::TensordockV2, Box::new(fake))])
}

fn bare() -> TensordockV2Fake {
    let mut fake = TensordockV2Fake::new(Some("t".to_owned()));
    fake.list_shape = ListShape::Bare;
    fake
}

#[tokio::test]
async fn an_account_whose_balance_nobody_can_read_rents_nothing_and_says_what_to_do_until_it_is_declared() {
    let undeclared = settings("max_spend_per_day = 30");
    let mut stage = Stage::across(honest(world()), &undeclared, &[("train", &fleet(4, ""))]).await;
    stage.ticks(6).await;
    assert_eq!((stage.made(), stage.blocked("train")), (0, [("balance_unknown".to_owned(), 4)].into()));
    let detail = stage.report("train").blocked[0].detail.clone();
    assert!(detail.contains("[accounts.dock] says balance = \"unreadable-ok\""), "{detail}");
    stage.settle_for(&settings(DECLARED)).await;
    stage.ticks(3).await;
    assert_eq!((stage.gpus_alive("train"), stage.blocked("train").len()), (4, 0), "{}", stage.told());
    stage.agrees();
}

#[tokio::test]
async fn a_list_of_names_alone_is_enough_for_days() {
    let mut stage = Stage::across(v2(bare()), &settings(DECLARED), &[("train", &fleet(7, ""))]).await;
    stage.ticks(5).await;
    assert_eq!(stage.gpus_standing("train", Standing::Running), 7, "{}", stage.told());
    for member in stage.members("train") {
        let vm = stage.alive("train").into_iter().find(|vm| vm.name == member.name).unwrap();
        assert_eq!((member.address.as_ref(), &member.ports), (Some(&vm.address), &vm.ports), "{}", vm.name);
        assert_eq!((member.quoted, member.committed()), (Some(vm.agreed), vm.agreed.total()), "{}", vm.name);
    }
    stage.agrees();
    let writes = stage.writes();
    stage.pass(36 * HOUR).await;
    assert_eq!((stage.writes(), stage.gpus_standing("train", Standing::Running)), (writes, 7), "{}", stage.told());
    // What was counted of the second day is what the world was paid on it.
    let status = stage.status();
    let account = status.accounts.values().next().unwrap();
    let truth = stage.market().world.truth();
    let day = truth.hourly_cost.cost(time::elapsed("2026-11-22T00:00:00Z".parse().unwrap(), stage.clock.now()));
    let off = account.spent_today.minus(day);
    assert!(off >= Usd::ZERO && off < "0.01".parse().unwrap(), "{} counted, {day} spent", account.spent_today);
    assert_eq!(account.hourly_cost, truth.hourly_cost);

    stage.pull(Lever::Target { fleet: name("train"), gpus: 2, lasting: None }).await.unwrap();
    stage.ticks(16).await;
    assert_eq!((stage.gpus_alive("train"), stage.deleted()), (2, 5), "{}", stage.told());
    stage.agrees();
    stage.restart().await;
    stage.ticks(3).await;
    stage.agrees();
    stage.pull(Lever::Evacuate(None)).await.unwrap();
    stage.ticks(4).await;
    assert_eq!((stage.gpus_alive("train"), stage.members("train").len()), (0, 0));
    assert_eq!(stage.market().world.truth().hourly_cost.micros(), 0);
}

#[tokio::test]
async fn a_vm_of_a_bare_list_whose_gpu_is_taken_away_is_replaced() {
    let mut stage = Stage::across(v2(bare()), &settings(DECLARED), &[("train", &fleet(3, ""))]).await;
    stage.ticks(4).await;
    let vm = stage.alive("train").remove(0);
    stage.market().world.halt(&vm.id);
    stage.ticks(6).await;
    assert_eq!(stage.gpus_standing("train", Standing::Running), 3, "{}", stage.told());
}

/// v2 that leaves the choice of outside ports to nobody but itself, as it was seen to do.
struct Wilful(TensordockV2Fake);

impl Fake for Wilful {
    fn prefix(&self) -> &'static str {
        self.0.prefix()
    }

    fn call(&self, request: &Request) -> Call {
        self.0.call(request)
    }

    fn serve(&self, backend: &mut dyn Backend, request: &Request) -> Response {
        let mut request = request.clone();
        if self.call(&request) == Call::Deploy {
            let mut body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            for forward in body["data"]["attributes"]["port_forwards"].as_array_mut().unwrap() {
                forward["external_port"] = 0.into();
            }
            request.body = body.to_string().into_bytes();
        }
        self.0.serve(backend, &request)
    }
}

#[tokio::test]
async fn ports_are_those_that_were_granted_and_not_those_that_were_asked_for() {
    for fake in [bare(), TensordockV2Fake::new(Some("t".to_owned()))] {
        let policy = fleet(5, "") + "ports = [22, 8888]\n";
        let mut stage = Stage::across(v2(Wilful(fake)), &settings(DECLARED), &[("train", &policy)]).await;
        stage.ticks(6).await;
        let members = stage.members("train");
        assert_eq!(members.len(), 5);
        for member in members {
            let vm = stage.alive("train").into_iter().find(|vm| vm.name == member.name).unwrap();
            assert_eq!(member.ports, vm.ports);
            assert_eq!(member.ports.values().collect::<Vec<_>>().len(), 2);
        }
        stage.agrees();
    }
}
