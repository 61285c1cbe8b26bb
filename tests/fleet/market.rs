//! What a market does to those who rent on it: it outbids them, takes their machines away and runs dry.

use super::{
    TRAIN,
    stage::{Stage, name, still},
};
use spotscale::{
    engine::Lever,
    ledger::Standing,
    model::HourlyRate,
    sim::{
        Absence, Call, Ended, Fault, Vm, VmState,
        faults::Effected::{No, Yes},
    },
};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

/// A settled fleet, and its VM that has a whole machine of four GPUs.
async fn settled(policy: &str) -> (Stage, Vm) {
    let mut stage = Stage::new(&[("train", policy)]).await;
    stage.ticks(6).await;
    let large = stage.alive("train").into_iter().find(|vm| vm.shape.gpus == 4).unwrap();
    assert_eq!((stage.gpus_alive("train"), large.state), (8, VmState::Running));
    (stage, large)
}

/// Somebody bids this for the machine of a VM.
fn rival(stage: &Stage, vm: &Vm, pays: HourlyRate) {
    stage.market().world.intrude(&vm.hostnode, vm.shape.clone(), pays, 100 * HOUR);
}

fn now(stage: &Stage, vm: &Vm) -> Vm {
    stage.market().world.truth().vms.into_iter().find(|other| other.id == vm.id).unwrap()
}

fn cents(cents: u64) -> HourlyRate {
    HourlyRate::from_micros(cents * 10_000)
}

#[tokio::test]
async fn an_outbid_vm_comes_back_with_a_raised_bid_within_its_cap() {
    let (mut stage, vm) = settled(TRAIN).await;
    rival(&stage, &vm, vm.agreed.compute.plus(cents(5)));
    assert_eq!(now(&stage, &vm).state, VmState::Outbid);
    stage.tick().await;
    stage.ticks_until(6, "it runs again", |stage| stage.gpus_standing("train", Standing::Running) == 8).await;
    let raised = now(&stage, &vm);
    assert!(raised.agreed.compute > vm.agreed.compute.plus(cents(5)) && raised.agreed.total() <= vm.on_demand.total());
    assert_eq!((stage.calls(Call::Rebid), stage.deleted()), (1, 0));
    assert_eq!(stage.made(), 3, "nothing was rented in its place");
    assert_eq!(stage.metric("spotscale_interruptions_total{cause=\"outbid\""), 1.0);
    stage.ticks(3).await;
    stage.agrees();
}

#[tokio::test]
async fn an_outbid_vm_for_which_no_bid_within_the_cap_is_accepted_goes_in_the_same_tick_and_is_replaced() {
    let (mut stage, vm) = settled(TRAIN).await;
    rival(&stage, &vm, vm.on_demand.total().plus(cents(1)));
    stage.tick().await;
    assert_eq!(now(&stage, &vm).ended.map(|(_, why)| why), Some(Ended::Deleted), "{}", stage.told());
    assert_eq!(stage.calls(Call::Rebid), 0, "a new VM was asked about, which is a read");
    assert_eq!(stage.metric("spotscale_teardowns_total{fleet=\"train\",reason=\"outbid\"}"), 1.0);
    stage.ticks_until(6, "it is replaced", |stage| stage.gpus_standing("train", Standing::Running) == 8).await;
    stage.agrees();
}

#[tokio::test]
async fn max_price_is_the_cap_of_a_raised_bid_too() {
    let models = TRAIN.lines().find(|line| line.starts_with("models")).unwrap();
    let capped = TRAIN.replace(models, "")
        + "[[models]]\nname = \"rtxa6000-pcie-48gb\"\nmax_price = 0.28\n[[models]]\nname = \"l40-pcie-48gb\"\n";
    let (mut stage, vm) = settled(&capped).await;
    let most = cents(28 * 4).minus(vm.agreed.storage);
    rival(&stage, &vm, most.plus(cents(1)));
    stage.tick().await;
    assert_eq!(stage.calls(Call::Rebid), 0);
    assert_eq!(now(&stage, &vm).ended.map(|(_, why)| why), Some(Ended::Deleted), "{}", stage.told());
    stage.ticks(6).await;
    assert_eq!(stage.gpus_alive("train"), 8);
}

#[tokio::test]
async fn without_rebid_an_outbid_vm_is_replaced_at_once() {
    let (mut stage, vm) = settled(&format!("{TRAIN}[spot]\nrebid = false\n")).await;
    rival(&stage, &vm, vm.agreed.compute.plus(cents(1)));
    stage.tick().await;
    assert_eq!(now(&stage, &vm).ended.map(|(_, why)| why), Some(Ended::Deleted));
    stage.ticks_until(6, "it is replaced", |stage| stage.gpus_standing("train", Standing::Running) == 8).await;
    assert_eq!(stage.calls(Call::Rebid), 0);
    stage.agrees();
}

#[tokio::test]
async fn a_rebid_or_its_start_without_a_good_answer_is_looked_at_before_anything_else() {
    for call in [Call::Rebid, Call::Start] {
        for fault in [
            Fault::LostRequest,
            Fault::LostAnswer,
            Fault::ServerError(Yes),
            Fault::ServerError(No),
            Fault::Html(Yes),
            Fault::HalfJson,
            Fault::Throttled,
        ] {
            let (mut stage, vm) = settled(TRAIN).await;
            stage.story = format!("{call} {fault:?}");
            rival(&stage, &vm, vm.agreed.compute.plus(cents(5)));
            stage.break_next(call, fault, 1);
            stage.tick().await;
            assert!(stage.calls(Call::Rebid) <= 1, "{call} {fault:?}: not sent again in the same tick");
            let is_full = |stage: &Stage| stage.gpus_standing("train", Standing::Running) == 8;
            stage.ticks_until(14, "the target is met again", is_full).await;
            stage.ticks(2).await;
            stage.agrees();
        }
    }
}

#[tokio::test]
async fn a_machine_that_dies_is_replaced_once_its_vm_is_proven_gone() {
    let (mut stage, vm) = settled(TRAIN).await;
    stage.market().world.vanish(&vm.hostnode, Absence::Dead, 10 * HOUR);
    assert_eq!(now(&stage, &vm).ended.map(|(_, why)| why), Some(Ended::HostDied));
    let made = stage.made();
    stage.tick().await;
    assert_eq!(stage.made(), made, "one list proves nothing");
    stage.ticks_until(10, "it is replaced", |stage| stage.made() > made).await;
    stage.ticks_until(4, "all run", |stage| stage.gpus_standing("train", Standing::Running) == 8).await;
    assert_eq!(stage.deleted(), 0);
    stage.agrees();
}

#[tokio::test]
async fn a_machine_that_is_away_for_a_while_costs_nobody_a_vm() {
    for absence in [Absence::Offline, Absence::Hidden] {
        let (mut stage, vm) = settled(TRAIN).await;
        stage.story = format!("{absence:?}");
        stage.market().world.vanish(&vm.hostnode, absence, Duration::from_secs(600));
        let writes = stage.writes();
        stage.pass(Duration::from_secs(570)).await;
        assert_eq!(stage.writes(), writes, "{absence:?}");
        assert_eq!(stage.gpus_standing("train", Standing::Lost), 4, "{absence:?}: it counts, in full");
        stage.pass(Duration::from_secs(120)).await;
        assert_eq!((stage.writes(), stage.gpus_standing("train", Standing::Running)), (writes, 8), "{absence:?}");
        stage.agrees();
    }
}

#[tokio::test]
async fn a_machine_that_stays_offline_is_given_up_and_replaced() {
    let (mut stage, vm) = settled(TRAIN).await;
    stage.market().world.vanish(&vm.hostnode, Absence::Offline, 10 * HOUR);
    stage.pass(Duration::from_secs(1_200)).await;
    assert_eq!(stage.metric("spotscale_teardowns_total{fleet=\"train\",reason=\"lost\"}"), 1.0);
    assert_eq!(stage.gpus_standing("train", Standing::Running), 8, "{}", stage.told());
    stage.agrees();
}

#[tokio::test]
async fn a_dry_market_is_said_to_be_dry_and_the_fleet_filled_once_it_is_not() {
    let mut world = still("500");
    for hostnode in world.hostnode_ids() {
        world.vanish(&hostnode, Absence::Hidden, Duration::from_secs(900));
    }
    let mut stage = Stage::on(world, &[("train", TRAIN)]).await;
    stage.pass(Duration::from_secs(840)).await;
    assert_eq!((stage.made(), stage.blocked("train")), (0, [("no_offers".to_owned(), 8)].into()));
    stage.pass(Duration::from_secs(180)).await;
    assert_eq!((stage.gpus_alive("train"), stage.blocked("train").len()), (8, 0));
    // More than the whole market has.
    stage.pull(Lever::Target { fleet: name("train"), gpus: 60, lasting: None }).await.unwrap();
    stage.write("train", &TRAIN.replace("max_hourly_rate = 6.00", "max_hourly_rate = 39.00")).await;
    stage.ticks(8).await;
    let alive = stage.gpus_alive("train");
    assert!(alive > 12, "{alive}");
    assert_eq!(stage.blocked("train"), [("no_offers".to_owned(), 60 - alive)].into());
    stage.agrees();
}

#[tokio::test]
async fn what_costs_more_than_max_price_is_not_rented_until_the_price_falls_or_the_cap_rises() {
    let models = TRAIN.lines().find(|line| line.starts_with("models")).unwrap();
    let capped = |cap: &str| {
        let models = models.replace("models = [", "").replace(']', "");
        let long = models.split(',').map(|model| format!("[[models]]\nname = {}\nmax_price = {cap}\n", model.trim()));
        TRAIN.replace(models.as_str(), "").replace("models = []\n", "") + &long.collect::<String>()
    };
    let mut stage = Stage::new(&[("train", &capped("0.05"))]).await;
    stage.ticks(4).await;
    assert_eq!((stage.made(), stage.blocked("train")), (0, [("no_offers".to_owned(), 8)].into()));
    stage.write("train", &capped("0.60")).await;
    stage.ticks(5).await;
    assert_eq!(stage.gpus_alive("train"), 8);
    assert!(stage.alive("train").iter().all(|vm| vm.agreed.total() <= cents(60).times(vm.shape.gpus)));
    stage.agrees();
}
