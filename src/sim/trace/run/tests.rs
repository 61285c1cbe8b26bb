//! Each rule of a step by itself, and all of them against a second, naive implementation.

use super::*;
use crate::sim::trace::grid::{Capacity, tests::market};
use proptest::prelude::*;

fn rate(text: &str) -> HourlyRate {
    text.parse().unwrap()
}

fn run(pools: &str, prices: &str, capacities: Option<&str>) -> Run {
    Run::new(Arc::new(market(2, pools, prices, capacities)), Rules::of(Billing::Bid))
}

/// Opens the next step and says whom it took.
#[track_caller]
fn lost(run: &mut Run) -> Vec<u64> {
    run.begin().unwrap().outbid().iter().map(|id| id.0).collect()
}

#[test]
fn a_vm_is_lost_when_the_price_is_above_its_bid_and_not_when_it_is_the_same() {
    let mut run = run("1x1", "0.1 0.3 0.31", None);
    let mut desk = run.begin().unwrap();
    desk.spot(0, rate("0.3")).unwrap();
    desk.spot(0, rate("0.5")).unwrap();
    assert_eq!(lost(&mut run), [0u64; 0]);
    assert_eq!(lost(&mut run), [0]);
    run.end();
    assert_eq!(run.tally().preemptions, 1);
}

#[test]
fn a_pool_without_room_loses_the_lowest_bid_first_and_among_equals_the_last_launched() {
    let mut run = run("1x1", "0.1 0.1 0.1", Some("4 3 1"));
    let mut desk = run.begin().unwrap();
    for bid in ["0.3", "0.5", "0.3", "0.4"] {
        desk.spot(0, rate(bid)).unwrap();
    }
    assert_eq!(lost(&mut run), [2]);
    assert_eq!(lost(&mut run), [0, 3]);
}

#[test]
fn a_pools_room_is_its_own_and_on_demand_takes_none() {
    let mut run = run("1x1 2x1", "0.1 0.1|0.2 0.2", Some("1 0|2 2"));
    let mut desk = run.begin().unwrap();
    desk.on_demand().unwrap();
    desk.spot(0, rate("0.5")).unwrap();
    desk.spot(1, rate("0.5")).unwrap();
    assert_eq!(desk.spot(0, rate("0.5")), Err(Refusal::NoRoom));
    assert_eq!(lost(&mut run), [1]);
}

#[test]
fn a_bid_is_accepted_from_the_price_up_to_the_cap_where_there_is_room() {
    let mut run = run("1x1", "0.3 2.0", Some("1 1"));
    let mut desk = run.begin().unwrap();
    assert_eq!(desk.validate(0, rate("0.299999")), Err(Refusal::BelowPrice));
    assert_eq!(desk.validate(0, rate("0.3")), Ok(()));
    assert_eq!(desk.validate(0, rate("1")), Ok(()));
    assert_eq!(desk.validate(0, rate("1.000001")), Err(Refusal::AboveCap));
    assert_eq!(desk.validate(1, rate("1")), Err(Refusal::UnknownPool));
    desk.spot(0, rate("1")).unwrap();
    assert_eq!(desk.validate(0, rate("1")), Err(Refusal::NoRoom));
    assert_eq!(desk.spot(0, rate("1")), Err(Refusal::NoRoom));
    // Asking is not counted, a refused launch is.
    let desk = run.begin().unwrap();
    assert_eq!(desk.launchable(), [false], "the price is above the cap");
    assert_eq!((run.tally().failed, run.tally().launches), (1, 1));
}

#[test]
fn a_killed_vm_makes_room_and_costs_nothing_in_this_step() {
    let mut run = run("1x1", "0.1 0.1", Some("1 1"));
    let mut desk = run.begin().unwrap();
    let first = desk.spot(0, rate("0.4")).unwrap();
    let mut desk = run.begin().unwrap();
    assert_eq!(desk.launchable(), [false]);
    assert!(desk.kill(first).is_some());
    assert_eq!(desk.kill(first), None, "it is not alive any more");
    desk.spot(0, rate("0.6")).unwrap();
    run.end();
    assert_eq!(run.tally().cost.usd().to_string(), "0.50");
    assert_eq!(run.tally().preemptions, 0);
}

#[test]
fn a_lost_vm_costs_nothing_in_the_step_that_takes_it() {
    let mut run = run("1x1", "0.1 0.9", None);
    run.begin().unwrap().spot(0, rate("0.4")).unwrap();
    while run.begin().is_some() {}
    assert_eq!(run.tally().cost.usd().to_string(), "0.20");
}

#[test]
fn a_spot_vm_pays_its_bid_or_the_market_and_one_on_demand_its_price() {
    let check = |billing, expected: &str| {
        let market = Arc::new(market(1, "1x1 0.9x1", "0.1 0.3|0.2 0.2", None));
        let mut run = Run::new(market, Rules::of(billing));
        let mut desk = run.begin().unwrap();
        desk.spot(0, rate("0.5")).unwrap();
        desk.on_demand().unwrap();
        while run.begin().is_some() {}
        assert_eq!(run.tally().on_demand_cost.usd().to_string(), "0.90");
        assert_eq!(run.tally().cost.usd().to_string(), expected, "{billing}");
    };
    check(Billing::Bid, "1.40");
    check(Billing::Market, "1.10");
}

#[test]
fn a_vm_is_ready_after_the_delay_and_the_first_steps_are_not_scored() {
    let mut run = run("1x1 8x8", "0.1 0.1 0.1 0.1|1 1 1 1", None);
    run.begin().unwrap().spot(0, rate("0.1")).unwrap();
    run.begin().unwrap().spot(1, rate("1")).unwrap();
    while run.begin().is_some() {}
    let tally = run.tally();
    // Step 2 has one of two GPUs, step 3 has nine.
    assert_eq!((tally.steps, tally.scored, tally.at_target), (4, 2, 1));
    assert_eq!((tally.useful_gpu_s, tally.missing_gpu_s), (3 * 1_800, 1_800));
}

#[test]
fn a_step_is_ended_by_the_next_and_after_the_last_there_is_none() {
    let mut run = run("1x1", "0.1 0.1", None);
    assert!(run.desk().is_none());
    assert_eq!(run.begin().map(|desk| (desk.k(), desk.at_s())), Some((0, 1_000)));
    assert!(run.desk().is_some());
    assert_eq!(run.begin().map(|desk| (desk.k(), desk.at_s())), Some((1, 2_800)));
    run.end();
    run.end();
    assert!(run.begin().is_none() && run.desk().is_none());
    assert_eq!(run.tally().steps, 2);
}

#[test]
fn nobody_launches_without_end() {
    let mut run = run("1x1", "0.1 0.1", None);
    let mut desk = run.begin().unwrap();
    for _ in 0..LAUNCHES_PER_STEP_MAX {
        desk.on_demand().unwrap();
    }
    assert_eq!(desk.on_demand(), Err(Refusal::TooMany));
    assert!(run.begin().unwrap().on_demand().is_ok());
}

/// What a policy drawn at random does: an op, a pool or a VM, and a bid in tenths.
type Move = (u8, u8, u8);

struct Scripted(Vec<Vec<Move>>);

impl Policy for Scripted {
    fn step(&mut self, desk: &mut Desk<'_>) {
        for (op, which, tenths) in &self.0[desk.k()] {
            match op % 4 {
                0 | 1 => {
                    let bid = HourlyRate::from_micros(u64::from(*tenths) * 100_000);
                    let pool = usize::from(*which % 3);
                    let asked = desk.validate(pool, bid);
                    assert_eq!(asked, desk.spot(pool, bid).map(drop), "what is validated is accepted");
                }
                2 => assert!(desk.on_demand().is_ok()),
                _ => assert!(desk.kill(VmId(u64::from(*which))).is_none_or(|vm| vm.id.0 == u64::from(*which))),
            }
        }
    }
}

/// A VM as the naive implementation has it: pool, bid in tenths or none on demand, launch, number.
type Plain = (usize, Option<u64>, usize, u64);

/// The rules once more, in tenths of a dollar per hour and half hours, slowly and in the order in which they are told.
fn naive(market: &Market, billing: Billing, script: &[Vec<Move>]) -> (u64, u64, u64, u64, u64, u64, u64) {
    let tenths = |rate: HourlyRate| rate.micros() / 100_000;
    let mut vms: Vec<Plain> = Vec::new();
    let (mut cost, mut useful, mut missing, mut at, mut lost, mut launched, mut failed) = (0, 0, 0, 0, 0, 0, 0);
    for (k, moves) in script.iter().enumerate() {
        let price = |pool: usize| tenths(market.prices(k)[pool]);
        let room = |pool: usize| match market.capacity(pool, k) {
            Capacity::Vms(vms) => vms as usize,
            Capacity::Unlimited => usize::MAX,
        };
        let before = vms.len();
        vms.retain(|vm| vm.1.is_none_or(|bid| bid >= price(vm.0)));
        for pool in 0..2 {
            while vms.iter().filter(|vm| vm.0 == pool && vm.1.is_some()).count() > room(pool) {
                let in_pool = vms.iter().filter(|vm| vm.0 == pool && vm.1.is_some());
                let worst = *in_pool.min_by_key(|vm| (vm.1, std::cmp::Reverse(vm.3))).unwrap();
                vms.retain(|vm| *vm != worst);
            }
        }
        lost += (before - vms.len()) as u64;
        for (op, which, bid) in moves {
            let (pool, bid) = (usize::from(*which % 3), u64::from(*bid));
            match op % 4 {
                0 | 1 => {
                    let ok = pool < 2
                        && bid >= price(pool)
                        && bid <= tenths(market.pools()[pool].on_demand)
                        && vms.iter().filter(|vm| vm.0 == pool && vm.1.is_some()).count() < room(pool);
                    if ok {
                        vms.push((pool, Some(bid), k, launched));
                        launched += 1;
                    } else {
                        failed += 1;
                    }
                }
                2 => {
                    vms.push((1, None, k, launched));
                    launched += 1;
                }
                _ => vms.retain(|vm| vm.3 != u64::from(*which)),
            }
        }
        for (pool, bid, _, _) in &vms {
            cost += match (bid, billing) {
                (Some(bid), Billing::Bid) => *bid,
                (Some(_), Billing::Market) => price(*pool),
                (None, _) => tenths(market.pools()[*pool].on_demand),
            };
        }
        if k >= 2 {
            let ready =
                vms.iter().filter(|vm| vm.2 + 2 <= k).map(|vm| u64::from(market.pools()[vm.0].gpu_count)).sum::<u64>();
            useful += ready.min(3);
            missing += 3 - ready.min(3);
            at += u64::from(ready >= 3);
        }
    }
    (cost, useful, missing, at, lost, launched, failed)
}

proptest! {
    #[test]
    fn a_run_is_what_the_rules_say_when_they_are_told_plainly(
        prices in proptest::collection::vec((0u8..10, 0u8..10), 12),
        room in proptest::option::of(proptest::collection::vec((0u8..4, 0u8..4), 12)),
        script in proptest::collection::vec(proptest::collection::vec((0u8..4, 0u8..30, 0u8..12), 0..6), 12),
        is_market in any::<bool>(),
    ) {
        let column = |of: &[(u8, u8)], show: fn(&u8) -> String| {
            let one: Vec<String> = of.iter().map(|(one, _)| show(one)).collect();
            let other: Vec<String> = of.iter().map(|(_, other)| show(other)).collect();
            format!("{}|{}", one.join(" "), other.join(" "))
        };
        let prices = column(&prices, |tenths| format!("0.{tenths}"));
        let room = room.map(|room| column(&room, u8::to_string));
        // The second pool is the cheaper one per GPU.
        let market = Arc::new(market(3, "0.8x1 1.0x2", &prices, room.as_deref()));
        let billing = if is_market { Billing::Market } else { Billing::Bid };
        let expected = naive(&market, billing, &script);
        let tally = play(market, Rules::of(billing), &mut Scripted(script));
        // Tenths of a dollar per hour, over half an hour.
        prop_assert_eq!(tally.cost, Grains::cost(HourlyRate::from_micros(100_000), 1_800_000 * expected.0));
        let found = (tally.useful_gpu_s / 1_800, tally.missing_gpu_s / 1_800, tally.at_target);
        prop_assert_eq!(found, (expected.1, expected.2, expected.3));
        prop_assert_eq!((tally.preemptions, tally.launches, tally.failed), (expected.4, expected.5, expected.6));
    }
}
