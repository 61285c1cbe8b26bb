//! One fleet over three marketplaces: two APIs of one vendor, who share an account that can be read, and another vendor's, whose
//! account cannot and is declared so, with a budget for the day.
//!
//! The marketplaces of [`market`] have few machines at prices of which each is the least somewhere: of the two TensorDock
//! machines v0 rounds one down and the other up, and v2 does not round.

mod bare;
mod doubt;
mod ends;
mod failing;
mod weather;

use super::stage::{Stage, honest, machines_with, name, of_machines};
use spotscale::{
    engine::Lever,
    io::store::memory::Mishap,
    ledger::{Standing, fleet::Member},
    market::{Backend, Call, tensordock_v0, tensordock_v2},
    model::{HourlyRate, PriceType, Shape, Usd, offer::Supply},
    settings::{Api, Vendor},
    sim::{
        Fault, Market, Vm, VmState,
        catalogue::{self, Machine},
        props,
    },
};
use std::time::Duration;

/// The three, by name, and what each speaks.
const THREE: [(&str, Api); 3] =
    [("dock-v2", Api::TensordockV2), ("tensordock", Api::TensordockV0), ("vectordash", Api::Vectordash)];

/// Vectordash's budget, where a test has no other.
const BUDGET: &str = "40";

/// All three, at a pace that costs nothing.
fn settings(budget: &str) -> String {
    props::settings_of_all(budget)
}

/// A fleet of VMs of one GPU each, on demand, the cheapest first whatever the model.
fn fleet(gpus: u32, more: &str) -> String {
    format!(
        r#"
fleet = "train"
target_gpus = {gpus}
max_hourly_rate = 8.00
balance_floor = 50.00
preference = "value"
models = ["v100-pcie-16gb", "rtxa4000-pcie-16gb", "geforcegtx1070-pcie-8gb", "geforcegtx1080-pcie-8gb"]
{more}
[on_demand]
use = "always"
[instance]
gpus = {{ min = 1, max = 1 }}
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIaXnsdHVQJ8sp4Vj2p0Y3z9cQ0nXkzYXn2Qz6m0N6Y demo"
"#
    )
}

/// A machine with so many GPUs, all of them free, at this many micros each.
fn with_gpus(mut machine: Machine, gpus: u32, micros: u64) -> Machine {
    for (total, taken, price) in machine.gpus.values_mut() {
        let more = gpus.div_ceil(*total);
        (machine.vcpus.0, machine.ram_gb.0) = (machine.vcpus.0 * more, machine.ram_gb.0 * more);
        machine.storage_gb.0 *= more;
        (*total, *taken, *price) = (gpus, 0, HourlyRate::from_micros(micros));
    }
    machine
}

fn tensordock(model: &str, gpus: u32, micros: u64) -> Machine {
    with_gpus(machines_with(&[model]).remove(0), gpus, micros)
}

fn vectordash(model: &str, gpus: u32, micros: u64) -> Machine {
    let all = catalogue::machines_of(Vendor::Vectordash);
    with_gpus(
        all.into_iter().find(|machine| machine.has(model) && machine.available_for.is_none()).unwrap(),
        gpus,
        micros,
    )
}

/// 2 and 6 GPUs at TensorDock, 3 and 4 at Vectordash; nothing moves by itself.
fn market() -> Market {
    let dock = [tensordock("v100-pcie-16gb", 2, 190_400), tensordock("rtxa4000-pcie-16gb", 6, 219_600)];
    let dash = [vectordash("geforcegtx1070-pcie-8gb", 3, 220_000), vectordash("geforcegtx1080-pcie-8gb", 4, 330_000)];
    of_machines_of_both(&dock, &dash)
}

fn of_machines_of_both(dock: &[Machine], dash: &[Machine]) -> Market {
    let mut market = honest(of_machines("500", dock));
    market.elsewhere.insert(Vendor::Vectordash, of_machines("500", dash));
    market
}

async fn stage(gpus: u32) -> Stage {
    Stage::across(market(), &settings(BUDGET), &[("train", &fleet(gpus, ""))]).await
}

/// A fleet of six at its target: one at Vectordash, two by v0 and three by v2.
async fn settled() -> Stage {
    let mut stage = stage(6).await;
    stage.ticks(6).await;
    assert_eq!((spread(&stage), stage.gpus_standing("train", Standing::Running)), ([3, 2, 1], 6), "{}", stage.told());
    stage.agrees();
    stage
}

/// Members at each of [`THREE`].
fn spread(stage: &Stage) -> [usize; 3] {
    let members = stage.members("train");
    THREE.map(|(name, _)| members.iter().filter(|member| member.marketplace.as_str() == name).count())
}

async fn target(stage: &mut Stage, gpus: u32) {
    stage.pull(Lever::Target { fleet: name("train"), gpus, lasting: None }).await.unwrap();
}

/// Deploys that each of [`THREE`] was sent.
fn deploys(stage: &Stage) -> [u64; 3] {
    THREE.map(|(_, api)| stage.market().calls(api, Call::Deploy))
}

/// What VMs of one GPU may be rented for now, by the worlds' own prices: rate, marketplace and model, the cheapest first.
/// At TensorDock a GPU is sold once, by whoever sells it for less; at Vectordash one of each type is on show.
fn cheapest(stage: &Stage) -> Vec<(HourlyRate, String, String)> {
    let mut market = stage.market();
    let mut found = Vec::new();
    for vendor in [Vendor::Tensordock, Vendor::Vectordash] {
        for host in market.world_of(vendor).hostnodes() {
            let Supply::Resources(resources) = &host.supply else { unreachable!() };
            for (model, stock) in &resources.gpus {
                let priced = |rule| {
                    let mut host = host.clone();
                    let Supply::Resources(resources) = &mut host.supply else { unreachable!() };
                    resources.rule = rule;
                    let shape = Shape { gpu_model: model.clone(), gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 100 };
                    host.price(&shape).map(|(_, rates)| rates.total()).ok()
                };
                let (free, sold) = match vendor {
                    Vendor::Tensordock => {
                        let v0 = priced(tensordock_v0::wire::RULE).map(|rate| (rate, "tensordock"));
                        let v2 = priced(tensordock_v2::wire::RULE).map(|rate| (rate, "dock-v2"));
                        (stock.free, v0.into_iter().chain(v2).min())
                    }
                    Vendor::Vectordash => (stock.free.min(1), Some((stock.price, "vectordash"))),
                    Vendor::Trace => unreachable!("it is not looked at"),
                };
                for (rate, marketplace) in sold.into_iter().cycle().take(free as usize) {
                    found.push((rate, marketplace.to_owned(), model.to_string()));
                }
            }
        }
    }
    found.sort();
    found
}

/// The same of members.
fn rented(members: impl IntoIterator<Item = Member>) -> Vec<(HourlyRate, String, String)> {
    let one = |member: Member| (member.committed(), member.marketplace.to_string(), member.shape.gpu_model.to_string());
    let mut rented: Vec<_> = members.into_iter().map(one).collect();
    rented.sort();
    rented
}

#[tokio::test]
async fn the_cheapest_of_all_three_are_rented_first_and_of_one_machine_by_whoever_sells_it_for_less() {
    let mut stage = stage(6).await;
    let expected = cheapest(&stage);
    stage.tick().await;
    let first = rented(stage.members("train"));
    assert_eq!(first, expected[..6], "{}", stage.told());
    let told: Vec<_> = first.iter().map(|(rate, place, model)| format!("{rate} {place} {model}")).collect();
    assert_eq!(
        told,
        [
            "0.22 vectordash geforcegtx1070-pcie-8gb",
            "0.239 tensordock v100-pcie-16gb",
            "0.239 tensordock v100-pcie-16gb",
            "0.2686 dock-v2 rtxa4000-pcie-16gb",
            "0.2686 dock-v2 rtxa4000-pcie-16gb",
            "0.2686 dock-v2 rtxa4000-pcie-16gb",
        ],
        "v0 rounds 0.1904 down and 0.2196 up"
    );
    stage.ticks(6).await;
    assert_eq!((deploys(&stage), stage.deleted()), ([3, 2, 1], 0), "it rests");
    // A second one of the cheapest type is on show now; and what is left is sold once.
    let expected = cheapest(&stage);
    target(&mut stage, 9).await;
    let before = stage.members("train");
    stage.tick().await;
    let is_new = |member: &Member| before.iter().all(|old| old.name != member.name);
    let new = stage.members("train").into_iter().filter(is_new);
    assert_eq!(rented(new), expected[..3], "{}", stage.told());
    // All that there is, and no more.
    target(&mut stage, 20).await;
    stage.ticks(8).await;
    assert_eq!((stage.gpus_alive("train"), spread(&stage).iter().sum()), (15, 15), "{}", stage.told());
    assert_eq!(stage.blocked("train"), [("no_offers".to_owned(), 5)].into());
    assert!(stage.members("train").iter().all(|member| member.address.is_some() && member.ports.len() == 1));
    stage.agrees();
}

#[tokio::test]
async fn each_wallet_pays_for_its_own_vms_and_each_account_knows_what_they_cost() {
    let mut stage = settled().await;
    stage.pass(Duration::from_secs(3_600)).await;
    let status = stage.status();
    for (account, vendor) in [("tensordock", Vendor::Tensordock), ("vectordash", Vendor::Vectordash)] {
        let truth = stage.market().world_of(vendor).truth();
        let known = &status.accounts[&account.parse().unwrap()];
        assert_eq!((known.hourly_cost, known.unexplained), (truth.hourly_cost, HourlyRate::ZERO), "{account}");
        let most = truth.spent.plus(truth.hourly_cost.cost(Duration::from_secs(120)));
        let counted = known.spent_today;
        assert!((truth.spent..=most).contains(&counted), "{account}: {counted} counted, {} spent", truth.spent);
        assert_eq!(known.balance.is_some(), vendor == Vendor::Tensordock, "{account}");
    }
    let left = status.accounts[&"vectordash".parse().unwrap()].budget_left().unwrap();
    assert!(left < BUDGET.parse::<Usd>().unwrap());
    assert_eq!(status.accounts.len(), 2);
}

#[tokio::test]
async fn evacuated_everywhere_all_goes_in_every_world_and_nobody_elses() {
    let mut stage = settled().await;
    let machine = tensordock("rtxa4000-pcie-16gb", 1, 1).id;
    stage.stranger("database", machine.as_str(), "rtxa4000-pcie-16gb", 1, None);
    stage.tick().await;
    stage.pull(Lever::Evacuate(None)).await.unwrap();
    stage.ticks_until(8, "all is gone", |stage| stage.members("train").is_empty()).await;
    assert_eq!((stage.gpus_alive("train"), stage.deleted()), (0, 6));
    let terminated = THREE.map(|(_, api)| stage.market().calls(api, Call::Terminate));
    assert_eq!(terminated, [3, 2, 1], "each by the API that rented it");
    assert_eq!(stage.vms().iter().filter(|vm| vm.ended.is_none()).count(), 1, "the database");
    stage.agrees();
}

/// A fleet that bids by v0 for all of a machine that v2 shows too.
async fn bidding() -> (Stage, Vm) {
    let policy = fleet(2, "marketplaces = [\"tensordock\", \"dock-v2\"]")
        .replace("use = \"always\"", "use = \"never\"")
        .replace("min = 1, max = 1", "min = 2, max = 2");
    let mut stage = Stage::across(market(), &settings(BUDGET), &[("train", &policy)]).await;
    stage.ticks(6).await;
    let vm = stage.alive("train").remove(0);
    assert_eq!((vm.price_type, vm.state, vm.shape.gpus), (PriceType::Spot, VmState::Running, 2), "{}", stage.told());
    (stage, vm)
}

#[tokio::test]
async fn a_vm_of_v0_that_is_outbid_and_that_v2_only_calls_stopped_is_bid_for_again_and_counted_once() {
    let (mut stage, vm) = bidding().await;
    let pays = vm.agreed.compute.plus(HourlyRate::from_micros(50_000));
    stage.market().world.intrude(&vm.hostnode, vm.shape.clone(), pays, Duration::from_secs(86_400));
    let status = stage.tick().await;
    let seen = |marketplace: &str| {
        let situation = status.situation.as_ref().unwrap();
        situation.markets[&marketplace.parse().unwrap()].list_complete
    };
    assert!(seen("tensordock") && seen("dock-v2"));
    stage.ticks_until(6, "it runs again", |stage| stage.gpus_standing("train", Standing::Running) == 2).await;
    assert_eq!((stage.made(), stage.deleted(), stage.calls(Call::Rebid)), (1, 0, 1), "{}", stage.told());
    assert_eq!(stage.metric("spotscale_interruptions_total{cause=\"outbid\""), 1.0);
    assert_eq!(stage.metric("spotscale_stray_instances"), 0.0);
    stage.ticks(3).await;
    stage.agrees();
}

#[tokio::test]
async fn a_vm_of_v0_that_only_v2_lists_is_not_lost_however_long_v0_does_not() {
    for fault in [Fault::EmptyList, Fault::PartialList, Fault::LostAnswer, Fault::HalfJson] {
        let mut stage = settled().await;
        stage.story = format!("{fault:?}");
        let (made, writes) = (stage.made(), stage.writes());
        stage.market().break_api(Api::TensordockV0, Some(fault));
        stage.pass(Duration::from_secs(1_800)).await;
        assert_eq!((stage.made(), stage.writes(), spread(&stage)), (made, writes, [3, 2, 1]), "{fault:?}");
        assert_eq!(stage.gpus_standing("train", Standing::Running), 6, "{fault:?}: {}", stage.told());
        assert_eq!(stage.metric("spotscale_stray_instances"), 0.0, "{fault:?}");
        stage.market().break_api(Api::TensordockV0, None);
        stage.ticks(6).await;
        assert_eq!((stage.writes(), stage.report("train").blocked.len()), (writes, 0), "{fault:?}");
        stage.agrees();
    }
}

#[tokio::test]
async fn killed_at_any_record_of_the_journal_nothing_is_doubled_and_nothing_lost_on_any_of_them() {
    let mut whole = stage(6).await;
    whole.ticks(4).await;
    let appends = whole.appends();
    assert!(appends > 14, "{appends}");
    for append in 1..=appends {
        let mut stage = stage(6).await;
        stage.story = format!("append {append}");
        let mishap = if append % 2 == 0 { Mishap::DiesBefore } else { Mishap::DiesAfter };
        stage.fail_at(append, mishap);
        for _ in 0..4 {
            stage.tick_unwatched().await;
            if stage.is_well() {
                stage.holds();
            } else {
                stage.restart().await;
            }
        }
        let is_full = |stage: &Stage| stage.gpus_standing("train", Standing::Running) == 6;
        stage.ticks_until(20, "the target is met", is_full).await;
        stage.ticks_until(8, "memory and worlds agree", |stage| stage.disagreement().is_none()).await;
        assert_eq!((stage.gpus_alive("train"), stage.deleted()), (6, 0), "append {append}");
    }
}
