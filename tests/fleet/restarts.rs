//! The power goes: between any two ticks, and between any two records of the journal, on markets that live and lie.

use super::{
    TRAIN,
    stage::{NOON, SETTINGS, Stage, name},
};
use spotscale::{
    engine::{Lever, LeverError, Role, Scope},
    io::store::memory::Mishap,
    market::Backend,
    model::offer::Supply,
    sim::{
        Call, Fault, Faults, Severity, Temper, World, WorldOptions, catalogue,
        props::PORTS_FEW,
        seed::{Dice, Seed},
    },
};
use std::time::Duration;

/// Two fleets that want what the lively market has, one of them with on demand to fall back on.
pub const LIVELY: [(&str, &str); 2] = [
    (
        "train",
        r#"
fleet = "train"
target_gpus = 6
max_hourly_rate = 5.00
balance_floor = 50.00
models = ["v100-sxm3-32gb", "geforcertx4090-pcie-24gb", "rtxa6000-pcie-48gb", "a100-pcie-80gb", "l40-pcie-48gb",
    "geforcertx3090-pcie-24gb", "rtxa4000-pcie-16gb", "v100-pcie-16gb", "v100-sxm2-16gb"]
[instance]
gpus = { min = 1, max = 4 }
"#,
    ),
    (
        "serve",
        r#"
fleet = "serve"
target_gpus = 3
max_hourly_rate = 4.00
balance_floor = 60.00
priority = 200
preference = "value"
models = ["geforcertx4090-pcie-24gb", "rtxa6000-pcie-48gb", "geforcertx3090-pcie-24gb", "l40s-pcie-48gb",
    "rtx6000ada-pcie-48gb", "rtxa4000-pcie-16gb", "v100-pcie-16gb"]
[instance]
gpus = { min = 1, max = 2 }
[on_demand]
use = "fallback"
after = "2m"
base_gpus = 1
"#,
    ),
];

pub fn lively(seed: u64, temper: Temper) -> World {
    let options = WorldOptions { temper, ..WorldOptions::lifelike("500".parse().unwrap()) };
    let machines: Vec<_> = catalogue::of_size(14).into_iter().map(|machine| machine.with_ports(PORTS_FEW)).collect();
    World::with_machines(seed, NOON, options, &machines)
}

/// Whether a fleet has all it wants, strays named after it included, or there is nothing to be had of what it lacks.
fn is_served(stage: &Stage, fleet: &str) -> bool {
    let report = stage.report(fleet);
    let strays = stage.status().situation.as_ref().unwrap().fleets[&name(fleet)].fleet.stray_gpus();
    let lacking = report.target_gpus.saturating_sub(report.planned_gpus + strays);
    let sold_out = stage.blocked(fleet).get("no_offers").is_some_and(|gpus| *gpus >= lacking);
    report.running_gpus + strays >= report.target_gpus || sold_out
}

/// An operator who cannot leave it alone.
async fn meddle(stage: &mut Stage, dice: &mut Dice) {
    let mut pick = |most: u64| usize::try_from(dice.between(0, most)).unwrap();
    let (fleet, text) = LIVELY[pick(1)];
    let scope = Scope::Fleet(name(fleet));
    let gpus = u32::try_from(pick(9)).unwrap();
    let lever = match pick(9) {
        0 | 1 => Lever::Target { fleet: name(fleet), gpus, lasting: Some(Duration::from_secs(600)) },
        2 => Lever::ClearTarget { fleet: name(fleet) },
        3 => Lever::Pause(scope),
        4 | 5 => Lever::Resume(scope),
        6 => Lever::Evacuate(Some(name(fleet))),
        7 => {
            let Some(member) = stage.members(fleet).pop() else { return };
            if pick(1) == 0 {
                Lever::Delete { instance: member.name.to_string() }
            } else {
                Lever::Protect { instance: member.name.to_string(), lasting: Some(Duration::from_secs(300)) }
            }
        }
        // The first `max_hourly_rate` of a text is lowered, or put back.
        8 => {
            return stage
                .write(fleet, &text.replace("_rate = 5.00", "_rate = 0.50").replace("_rate = 4.00", "_rate = 0.40"))
                .await;
        }
        _ => return stage.write(fleet, text).await,
    };
    if let Err(error) = stage.pull(lever).await {
        assert!(matches!(error, LeverError::Refused(_) | LeverError::NotFound(_)), "{error}");
    }
}

/// Somebody else rents on the same account, and may call it what we would.
fn intrude(stage: &Stage, dice: &mut Dice) {
    let mut pick = |most: usize| usize::try_from(dice.between(0, most as u64)).unwrap();
    let hostnodes = stage.market().world.hostnodes();
    let hostnode = &hostnodes[pick(hostnodes.len() - 1)];
    let Supply::Resources(resources) = &hostnode.supply else { return };
    let Some(model) = resources.gpus.keys().next() else { return };
    let called = ["spotscale-train-", "spotscale-serve-", "database-", "spotscale-nobody-"][pick(3)];
    // There need not be room.
    drop(stage.try_stranger(&format!("{called}{}", pick(99_999)), hostnode.id.as_str(), model.as_str(), 1, None));
}

/// A market that lies for a while, restarts and an operator at random, and then a calm in which all must come right. Returns how many
/// fleets have all they want in the end.
async fn weather(seed: u64, severity: Severity, temper: Temper, ticks: usize) -> usize {
    eprintln!("seed {seed}, {severity} faults, {temper:?} market, {ticks} ticks");
    storm(Stage::on(lively(seed, temper), &LIVELY).await, seed, severity, ticks).await
}

/// Likewise, on two APIs of one vendor: both show the same machines and VMs, one of them knows no bids.
async fn weather_of_twins(seed: u64, severity: Severity, temper: Temper, ticks: usize) -> usize {
    eprintln!("twins, seed {seed}, {severity} faults, {temper:?} market, {ticks} ticks");
    let settings = format!(
        "{SETTINGS}account = \"vendor\"\n[marketplaces.again]\napi = \"tensordock-v2\"\ntoken = {{ env = \"TOKEN\" }}\n\
         requests_per_second = 100\naccount = \"vendor\"\n\
         [defaults.instance]\nssh_key = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIaXnsdHVQJ8sp4Vj2p0Y3z9cQ0nXkzYXn2Qz6m0N6Y demo\"\n"
    );
    let stage = Stage::with(lively(seed, temper), &settings, Role::AsConfigured, &LIVELY).await;
    storm(stage, seed, severity, ticks).await
}

async fn storm(mut stage: Stage, seed: u64, severity: Severity, ticks: usize) -> usize {
    stage.story = format!("seed {seed}");
    stage.market().faults = Faults::new(seed, severity);
    let mut dice = Seed(seed).dice("restarts");
    for _ in 0..ticks {
        if dice.chance_ppm(120_000) {
            stage.restart().await;
        }
        if dice.chance_ppm(30_000) {
            intrude(&stage, &mut dice);
        }
        if dice.chance_ppm(100_000) {
            meddle(&mut stage, &mut dice).await;
        }
        stage.tick().await;
    }
    stage.market().faults.set_severity(Severity::None);
    for (fleet, text) in LIVELY {
        stage.pull(Lever::ClearTarget { fleet: name(fleet) }).await.unwrap();
        stage.write(fleet, text).await;
    }
    stage.pull(Lever::Resume(Scope::All)).await.unwrap();
    // The longest that a VM made in the storm stays out of the lists; then nothing may be in doubt for long.
    stage.ticks(30).await;
    stage.ticks_until(20, "memory and world agree", |stage| stage.disagreement().is_none()).await;
    let are_served = |stage: &Stage| LIVELY.iter().all(|(fleet, _)| is_served(stage, fleet));
    // A machine that hides with a VM of ours keeps its list incomplete, and renting shut, until it is back.
    stage.ticks_until(80, "the targets are met as far as there are offers", are_served).await;
    assert_eq!(stage.metric("spotscale_invariant_violations_total"), 0.0, "seed {seed}");
    LIVELY.iter().filter(|(fleet, _)| stage.blocked(fleet).is_empty()).count()
}

#[tokio::test]
async fn mild_weather_and_restarts_leave_memory_and_world_in_agreement() {
    let mut full = 0;
    for seed in 1..=4 {
        full += weather(seed, Severity::Mild, Temper::Lifelike, 50).await;
    }
    assert!(full >= 6, "only {full} of 8 fleets have all they want");
}

#[tokio::test]
async fn hostile_weather_and_restarts_break_no_promise_on_even_seeds() {
    let mut full = 0;
    for seed in (100..120).step_by(2) {
        full += weather(seed, Severity::Hostile, Temper::Wild, 60).await;
    }
    assert!(full >= 10, "only {full} of 20 fleets have all they want");
}

#[tokio::test]
async fn hostile_weather_and_restarts_break_no_promise_on_odd_seeds() {
    let mut full = 0;
    for seed in (101..120).step_by(2) {
        full += weather(seed, Severity::Hostile, Temper::Wild, 60).await;
    }
    assert!(full >= 10, "only {full} of 20 fleets have all they want");
}

#[tokio::test]
async fn two_apis_of_one_account_break_no_promise_in_hostile_weather() {
    let mut full = 0;
    for seed in 200..204 {
        full += weather_of_twins(seed, Severity::Hostile, Temper::Wild, 60).await;
    }
    assert!(full >= 4, "only {full} of 8 fleets have all they want");
}

#[tokio::test]
async fn a_restart_never_shortens_the_search_for_an_unanswered_deploy() {
    let mut stage = Stage::new(&[("train", TRAIN)]).await;
    stage.break_next(Call::Deploy, Fault::LostRequest, 1);
    stage.tick().await;
    let made = stage.made();
    // Far beyond the settle grace, and never two lists of one process.
    for _ in 0..20 {
        stage.restart().await;
        stage.tick().await;
        assert_eq!((stage.in_doubt(), stage.made()), (1, made));
    }
    stage.tick().await;
    assert_eq!(stage.in_doubt(), 0, "two complete lists of one process");
    assert_eq!(stage.gpus_alive("train"), 8);
    stage.agrees();
}

#[tokio::test]
async fn after_the_journal_is_lost_what_was_ours_is_stray_counted_and_left_alone() {
    let mut stage = Stage::new(&[("train", TRAIN)]).await;
    stage.ticks(6).await;
    let (vms, writes) = (stage.alive("train"), stage.writes());
    stage.watch.out_of_sight.extend(vms.iter().map(|vm| vm.id.clone()));
    stage.lose_journal().await;
    stage.ticks(6).await;
    assert_eq!((stage.gpus_alive("train"), stage.writes()), (8, writes), "they count when renting");
    assert_eq!(stage.metric("spotscale_stray_instances"), 3.0);
    stage.pull(Lever::Target { fleet: name("train"), gpus: 10, lasting: None }).await.unwrap();
    stage.ticks(4).await;
    assert_eq!((stage.gpus_alive("train"), stage.deleted()), (10, 0));
    // The operator makes them ours again.
    for vm in vms {
        stage.pull(Lever::Adopt { instance: vm.id.to_string(), fleet: name("train") }).await.unwrap();
    }
    stage.watch.out_of_sight.clear();
    stage.ticks(3).await;
    assert_eq!(stage.metric("spotscale_stray_instances"), 0.0);
    stage.agrees();
}

#[tokio::test]
async fn a_restart_between_every_two_ticks_changes_nothing_on_a_market_that_answers() {
    let mut ran = Vec::new();
    for restarts in [false, true] {
        let mut stage = Stage::on(lively(7, Temper::Lifelike), &LIVELY).await;
        stage.story = format!("restarts: {restarts}");
        for _ in 0..60 {
            if restarts {
                stage.restart().await;
            }
            stage.tick().await;
        }
        stage.agrees();
        let truth = stage.market().world.truth();
        let vms: Vec<String> = truth
            .vms
            .iter()
            .map(|vm| format!("{} {} {} {:?}", vm.name, vm.hostnode, vm.agreed.total(), vm.ended.map(|(_, why)| why)))
            .collect();
        ran.push(vms);
    }
    assert_eq!(ran[0], ran[1]);
}

/// Moves a lever, again after a restart where the disk failed or the power went meanwhile.
async fn insist(stage: &mut Stage, lever: Lever) {
    loop {
        match stage.pull_unless_cut(lever.clone()).await {
            Some(Ok(_)) => return,
            Some(Err(error)) => assert!(matches!(error, LeverError::Failed(_)), "{error}"),
            None => {}
        }
        stage.restart().await;
    }
}

/// Growth, a change of mind and an evacuation, while the power goes at one append. Returns how many appends there were.
async fn dying_at(append: usize, mishap: Mishap) -> usize {
    let mut stage = Stage::new(&[("train", TRAIN)]).await;
    stage.story = format!("{mishap:?} at append {append}");
    stage.fail_at(append, mishap);
    let mut appends = 0;
    for tick in 0..12 {
        match tick {
            3 => insist(&mut stage, Lever::Target { fleet: name("train"), gpus: 10, lasting: None }).await,
            6 => insist(&mut stage, Lever::Evacuate(None)).await,
            _ => {}
        }
        stage.tick_unwatched().await;
        appends = appends.max(stage.appends());
        if stage.is_well() {
            stage.holds();
        } else {
            stage.restart().await;
        }
    }
    stage.ticks_until(16, "all is gone", |stage| stage.members("train").is_empty()).await;
    stage.agrees();
    assert_eq!(stage.gpus_alive("train"), 0);
    appends
}

#[tokio::test]
async fn whichever_append_the_power_goes_at_nothing_is_doubled_and_nothing_lost() {
    let appends = dying_at(usize::MAX, Mishap::DiesAfter).await;
    assert!(appends > 40, "{appends}");
    for append in (1..appends).step_by(2) {
        dying_at(append, Mishap::DiesAfter).await;
        dying_at(append + 1, Mishap::DiesBefore).await;
    }
}
