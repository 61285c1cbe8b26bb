//! On demand where bids get nothing, back to bids where they do, and the cooldowns between tries.

use super::stage::{Stage, machines_with, name, of_machines};
use spotscale::{
    engine::Lever,
    model::PriceType,
    sim::{Absence, Call, Fault, World, catalogue::Machine},
};
use std::time::Duration;

const A6000: &str = "rtxa6000-pcie-48gb";
const MINUTE: Duration = Duration::from_secs(60);

/// Four GPUs in VMs of one, by bid first.
fn policy(on_demand: &str) -> String {
    format!(
        "fleet = \"train\"\ntarget_gpus = 4\nmax_hourly_rate = 6.00\nbalance_floor = 50.00\n\
         models = [\"{A6000}\", \"v100-sxm2-16gb\"]\n[instance]\ngpus = {{ min = 1, max = 1 }}\n\
         [on_demand]\n{on_demand}"
    )
}

/// A machine with so many GPUs, all of them free.
fn free(at: usize, gpus: u32) -> Machine {
    let mut machine = machines_with(&[A6000]).remove(at);
    for (total, taken, _) in machine.gpus.values_mut() {
        (*total, *taken) = (gpus, 0);
    }
    machine
}

/// A machine on which no bid below the price on demand is ever accepted.
fn without_spot() -> Machine {
    let mut machine = free(0, 6);
    machine.floor_ppm = 2_000_000;
    machine
}

/// One machine without spot; and one with, that hides at first.
fn later_spot(hides_for: Duration) -> World {
    let with_spot = free(1, 2);
    let id = with_spot.id.clone();
    let mut world = of_machines("500", &[without_spot(), with_spot]);
    world.vanish(&id, Absence::Hidden, hides_for);
    world
}

fn by(stage: &Stage, price_type: PriceType) -> u32 {
    stage.alive("train").iter().filter(|vm| vm.price_type == price_type).map(|vm| vm.shape.gpus).sum()
}

fn rented(stage: &Stage) -> (u32, u32) {
    (by(stage, PriceType::Spot), by(stage, PriceType::OnDemand))
}

#[tokio::test]
async fn a_fleet_falls_back_once_gpus_have_been_missing_long_enough() {
    let mut stage = Stage::on(of_machines("500", &[without_spot()]), &[("train", &policy("use = \"fallback\""))]).await;
    stage.pass(9 * MINUTE).await;
    assert_eq!((rented(&stage), stage.blocked("train")), ((0, 0), [("no_offers".to_owned(), 4)].into()));
    // A restart does not begin the wait anew.
    stage.restart().await;
    stage.pass(3 * MINUTE).await;
    assert_eq!((rented(&stage), stage.blocked("train").len()), ((0, 4), 0));
    stage.agrees();
}

#[tokio::test]
async fn without_leave_nothing_is_rented_on_demand_and_with_always_nothing_by_bid() {
    let mut stage = Stage::on(of_machines("500", &[without_spot()]), &[("train", &policy("use = \"never\""))]).await;
    stage.pass(30 * MINUTE).await;
    assert_eq!((rented(&stage), stage.calls(Call::Deploy)), ((0, 0), 0));
    let mut stage = Stage::on(later_spot(MINUTE), &[("train", &policy("use = \"always\""))]).await;
    stage.pass(5 * MINUTE).await;
    assert_eq!((rented(&stage), stage.calls(Call::Validate)), ((0, 4), 0));
    stage.agrees();
}

#[tokio::test]
async fn max_gpus_bounds_what_is_on_demand() {
    let text = policy("use = \"fallback\"\nafter = \"1m\"\nmax_gpus = 1");
    let mut stage = Stage::on(of_machines("500", &[without_spot()]), &[("train", &text)]).await;
    stage.pass(10 * MINUTE).await;
    assert_eq!((rented(&stage), stage.blocked("train")), ((0, 1), [("no_offers".to_owned(), 3)].into()));
}

#[tokio::test]
async fn base_gpus_are_on_demand_from_the_start_and_stay_so() {
    let text = policy("use = \"fallback\"\nbase_gpus = 2");
    let mut stage = Stage::on(of_machines("500", &[free(0, 4), free(1, 4)]), &[("train", &text)]).await;
    stage.pass(20 * MINUTE).await;
    assert_eq!((rented(&stage), stage.made()), ((2, 2), 4));
    // The base is the last to go.
    stage.pull(Lever::Target { fleet: name("train"), gpus: 2, lasting: None }).await.unwrap();
    stage.pass(15 * MINUTE).await;
    assert_eq!(rented(&stage), (0, 2));
    stage.agrees();
}

#[tokio::test]
async fn a_fallback_goes_back_to_spot_with_the_replacement_first_and_within_the_surge() {
    let text = policy("use = \"fallback\"\nafter = \"1m\"");
    let mut stage = Stage::on(later_spot(20 * MINUTE), &[("train", &text)]).await;
    stage.pass(10 * MINUTE).await;
    assert_eq!(rented(&stage), (0, 4));
    for _ in 0..100 {
        stage.tick().await;
        let (spot, on_demand) = rented(&stage);
        assert!((4..=5).contains(&(spot + on_demand)), "one VM of surge and never less than the target");
    }
    let (spot, on_demand) = rented(&stage);
    assert_eq!((spot, on_demand), (2, 2), "the other machine has two GPUs: {}", stage.told());
    assert_eq!(stage.metric("spotscale_teardowns_total{fleet=\"train\",reason=\"replaced\"}"), 2.0);
    let writes = stage.writes();
    stage.ticks(40).await;
    assert_eq!(stage.writes(), writes, "and there it rests");
    stage.agrees();
}

#[tokio::test]
async fn a_fallback_that_is_never_to_revert_stays() {
    let text = policy("use = \"fallback\"\nafter = \"1m\"\nrevert = \"never\"");
    let mut stage = Stage::on(later_spot(20 * MINUTE), &[("train", &text)]).await;
    stage.pass(60 * MINUTE).await;
    assert_eq!((rented(&stage), stage.made()), ((0, 4), 4));
}

#[tokio::test]
async fn without_room_for_the_overlap_there_is_no_move() {
    let text = policy("use = \"fallback\"\nafter = \"1m\"");
    let mut stage = Stage::on(later_spot(20 * MINUTE), &[("train", &text)]).await;
    stage.pass(10 * MINUTE).await;
    let rate = stage.report("train").rate_now;
    let tight = text.replace("max_hourly_rate = 6.00", &format!("max_hourly_rate = {rate}"));
    stage.write("train", &tight).await;
    stage.pass(40 * MINUTE).await;
    assert_eq!((rented(&stage), stage.made()), ((0, 4), 4));
}

#[tokio::test]
async fn a_machine_that_refuses_is_left_alone_for_twice_as_long_each_time_and_after_three_for_a_day() {
    let one = free(0, 4);
    let text = policy("use = \"never\"").replace("target_gpus = 4", "target_gpus = 1");
    let text = text + "\n[disruption]\ncooldown_up = \"5m\"\n";
    let mut stage = Stage::on(of_machines("500", &[one]), &[("train", &text)]).await;
    stage.break_next(Call::Deploy, Fault::Refused, 3);
    stage.tick().await;
    assert_eq!((stage.calls(Call::Deploy), stage.blocked("train")), (1, [("cooldown".to_owned(), 1)].into()));
    stage.pass(4 * MINUTE).await;
    assert_eq!(stage.calls(Call::Deploy), 1);
    stage.pass(2 * MINUTE).await;
    assert_eq!(stage.calls(Call::Deploy), 2);
    stage.restart().await;
    stage.pass(8 * MINUTE).await;
    assert_eq!(stage.calls(Call::Deploy), 2, "twice as long");
    stage.pass(4 * MINUTE).await;
    assert_eq!(stage.calls(Call::Deploy), 3);
    stage.pass(90 * MINUTE).await;
    assert_eq!((stage.calls(Call::Deploy), stage.blocked("train")), (3, [("cooldown".to_owned(), 1)].into()));
}

#[tokio::test]
async fn between_two_scale_downs_there_is_a_pause_of_cooldown_down() {
    let text = policy("use = \"never\"") + "\n[disruption]\nmax_unavailable = \"100%\"\n";
    let mut stage = Stage::on(of_machines("500", &[free(0, 4), free(1, 4)]), &[("train", &text)]).await;
    stage.ticks(5).await;
    let target = |gpus| Lever::Target { fleet: name("train"), gpus, lasting: None };
    stage.pull(target(3)).await.unwrap();
    stage.tick().await;
    assert_eq!(stage.gpus_alive("train"), 3);
    stage.pull(target(1)).await.unwrap();
    stage.pass(4 * MINUTE).await;
    assert_eq!((stage.gpus_alive("train"), stage.blocked("train")), (3, [("cooldown".to_owned(), 2)].into()));
    stage.pass(2 * MINUTE).await;
    assert_eq!(stage.gpus_alive("train"), 1);
    stage.agrees();
}
