//! The market's rules once more, step by step and plainly, to hold the bound against.
//!
//! [`best`] tries every sequence of actions in a tiny market; [`wander`] acts at random in a larger one. Neither knows
//! anything of lanes, slots or flows: they keep a list of VMs, in the order of their launches, and apply the rules.

use super::*;
use crate::sim::seed::Seed;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Divisible by every VM size used here: costs are in micros of this many parts.
const PARTS: u64 = 12;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Vm {
    pool: usize,
    /// `None` on demand.
    bid: Option<u64>,
    /// Steps since its launch; in [`best`] no more than matter.
    age: u32,
}

/// A market of one's own, with steps of one hour.
#[derive(Clone, Debug)]
struct Small {
    question: Question,
    pools: Vec<SmallPool>,
}

#[derive(Clone, Debug)]
struct SmallPool {
    gpu_count: u32,
    on_demand: u64,
    prices: Vec<u64>,
    capacity: Option<Vec<u32>>,
}

impl Small {
    fn bound_by(&self, method: Option<Method>) -> Bound {
        let rates: Vec<Vec<HourlyRate>> =
            self.pools.iter().map(|pool| pool.prices.iter().copied().map(HourlyRate::from_micros).collect()).collect();
        let pools: Vec<Pool<'_>> = (self.pools.iter().zip(&rates))
            .map(|(pool, rates)| Pool {
                gpu_count: pool.gpu_count,
                on_demand: HourlyRate::from_micros(pool.on_demand),
                prices: rates,
                capacity: pool.capacity.as_deref(),
            })
            .collect();
        match method {
            None => bound(&pools, &self.question).unwrap(),
            Some(method) => bound_by(&Market::new(&pools, &self.question).unwrap(), &self.question, method).unwrap(),
        }
    }

    fn bound(&self) -> i64 {
        self.bound_by(None).penalised.micros()
    }

    fn steps(&self) -> usize {
        self.pools[0].prices.len()
    }

    fn on_demand_pool(&self) -> usize {
        let key = |index: &usize| {
            let pool = &self.pools[*index];
            (pool.on_demand * PARTS / u64::from(pool.gpu_count), pool.gpu_count, *index)
        };
        (0..self.pools.len()).min_by_key(key).unwrap()
    }

    /// The market moves: who is left of these.
    fn outbid(&self, step: usize, vms: &[Vm]) -> Vec<Vm> {
        let mut left: Vec<Vm> =
            vms.iter().filter(|vm| vm.bid.is_none_or(|bid| self.pools[vm.pool].prices[step] <= bid)).cloned().collect();
        for (index, pool) in self.pools.iter().enumerate() {
            let Some(capacity) = &pool.capacity else { continue };
            loop {
                let held: Vec<usize> =
                    (0..left.len()).filter(|at| left[*at].pool == index && left[*at].bid.is_some()).collect();
                if held.len() <= capacity[step] as usize {
                    break;
                }
                // The lowest bid; of equals the most recent, which stands last.
                let lost = held.into_iter().min_by_key(|at| (left[*at].bid, usize::MAX - at)).unwrap();
                left.remove(lost);
            }
        }
        left
    }

    fn accepts(&self, step: usize, vms: &[Vm], index: usize, bid: u64) -> bool {
        let pool = &self.pools[index];
        let held = vms.iter().filter(|vm| vm.pool == index && vm.bid.is_some()).count();
        let has_room = pool.capacity.as_ref().is_none_or(|capacity| held < capacity[step] as usize);
        pool.prices[step] <= bid && bid <= pool.on_demand && has_room
    }

    /// What this step costs with these VMs, in parts.
    fn bill(&self, step: usize, vms: &[Vm]) -> u64 {
        let rate = |vm: &Vm| match (vm.bid, self.question.billing) {
            (None, _) => self.pools[vm.pool].on_demand,
            (Some(bid), Billing::Bid) => bid,
            (Some(_), Billing::Market) => self.pools[vm.pool].prices[step],
        };
        let cost: u64 = vms.iter().map(|vm| rate(vm) * PARTS).sum();
        let delay = self.question.delay_steps;
        if step < delay as usize {
            return cost;
        }
        let ready: u32 = vms.iter().filter(|vm| vm.age >= delay).map(|vm| self.pools[vm.pool].gpu_count).sum();
        let dear = &self.pools[self.on_demand_pool()];
        let missing = u64::from(self.question.target_gpus.saturating_sub(ready) * self.question.penalty);
        cost + missing * dear.on_demand * PARTS / u64::from(dear.gpu_count)
    }

    fn grow_old(&self, vms: Vec<Vm>, age_max: u32) -> Vec<Vm> {
        vms.into_iter().map(|vm| Vm { age: (vm.age + 1).min(age_max), ..vm }).collect()
    }
}

/// How much [`best`] tries.
struct Effort {
    alive_max: usize,
    launches_max: usize,
}

/// The least penalised cost from `step` on over all sequences of kills and launches, in parts.
fn best(market: &Small, effort: &Effort, step: usize, vms: &[Vm], known: &mut BTreeMap<(usize, Vec<Vm>), u64>) -> u64 {
    if step == market.steps() {
        return 0;
    }
    if let Some(cost) = known.get(&(step, vms.to_vec())) {
        return *cost;
    }
    // Whom one might launch: on demand, or at any price that ever was.
    let mut kinds = vec![Vm { pool: market.on_demand_pool(), bid: None, age: 0 }];
    for (pool, small) in market.pools.iter().enumerate() {
        kinds.extend(small.prices.iter().map(|price| Vm { pool, bid: Some(*price), age: 0 }));
    }
    kinds.sort();
    kinds.dedup();
    let left = market.outbid(step, vms);
    let mut least = u64::MAX;
    for kept in 0u32..1 << left.len() {
        let kept: Vec<Vm> =
            left.iter().enumerate().filter(|(at, _)| kept >> at & 1 == 1).map(|(_, vm)| vm.clone()).collect();
        let mut fleets = vec![(0, kept)];
        for _ in 0..effort.launches_max {
            for (from, fleet) in fleets.clone() {
                for (at, vm) in kinds.iter().enumerate().skip(from) {
                    if fleet.len() < effort.alive_max
                        && vm.bid.is_none_or(|bid| market.accepts(step, &fleet, vm.pool, bid))
                    {
                        fleets.push((at, [fleet.as_slice(), std::slice::from_ref(vm)].concat()));
                    }
                }
            }
            fleets.sort();
            fleets.dedup();
        }
        for (_, fleet) in fleets {
            let cost = market.bill(step, &fleet);
            let older = market.grow_old(fleet, market.question.delay_steps);
            least = least.min(cost + best(market, effort, step + 1, &older, known));
        }
    }
    known.insert((step, vms.to_vec()), least);
    least
}

/// The cheapest flow by trying, at every step, every way of spreading the target over the pools, on demand (last)
/// and nothing (the rest): what [`Method::Flow`] claims to compute, relaxations and all. In parts.
fn spread(market: &Small) -> u64 {
    let Question { target_gpus, delay_steps, penalty, .. } = market.question;
    let delay = delay_steps as usize;
    let part = |index: usize, rate: u64| rate * PARTS / u64::from(market.pools[index].gpu_count);
    let cheap = market.on_demand_pool();
    let on_demand = part(cheap, market.pools[cheap].on_demand);
    let room = |pool: &SmallPool, step: usize| {
        let room = pool.capacity.as_ref().map_or(target_gpus, |capacity| capacity[step] * pool.gpu_count);
        if pool.prices[step] <= pool.on_demand { room } else { 0 }
    };
    let mut spreads = vec![Vec::new()];
    for _ in 0..market.pools.len() + 1 {
        spreads = spreads
            .iter()
            .flat_map(|spread: &Vec<u32>| {
                let free = target_gpus - spread.iter().sum::<u32>();
                (0..=free).map(|units| [spread.as_slice(), &[units]].concat())
            })
            .collect();
    }
    let mut costs = BTreeMap::from([(vec![0; market.pools.len() + 1], 0u64)]);
    for step in delay..market.steps() {
        let mut next = BTreeMap::new();
        for (before, spread) in costs.keys().flat_map(|before| spreads.iter().map(move |spread| (before, spread))) {
            let mut cost = Some(costs[before]);
            for (index, (had, has)) in before.iter().zip(spread).enumerate() {
                let entered = u64::from(has.saturating_sub(*had));
                let fee = match market.pools.get(index) {
                    None => Some((0..=delay).map(|ago| (ago, on_demand)).collect::<Vec<_>>()),
                    Some(pool) if *has <= room(pool, step) => {
                        let is_open = entered == 0 || (step - delay..=step).all(|at| room(pool, at) > 0);
                        is_open.then(|| (0..=delay).map(|ago| (ago, part(index, pool.prices[step - ago]))).collect())
                    }
                    Some(_) => None,
                };
                let paid = fee.map(|fees| -> u64 {
                    fees.iter().map(|(ago, fee)| fee * if *ago == 0 { u64::from(*has) } else { entered }).sum()
                });
                cost = cost.zip(paid).map(|(cost, paid)| cost + paid);
            }
            let missing = u64::from((target_gpus - spread.iter().sum::<u32>()) * penalty) * on_demand;
            if let Some(cost) = cost.map(|cost| cost + missing) {
                let least: &mut u64 = next.entry(spread.clone()).or_insert(cost);
                *least = cost.min(*least);
            }
        }
        costs = next;
    }
    costs.into_values().min().unwrap_or(0)
}

/// What a run costs that launches and kills at random, in parts.
fn wander(market: &Small, seed: u64) -> u64 {
    let mut dice = Seed(seed).dice("wander");
    let mut vms: Vec<Vm> = Vec::new();
    let mut cost = 0;
    let eagerness = dice.between(100_000, 900_000);
    let fickleness = dice.between(0, 200_000);
    for step in 0..market.steps() {
        vms = market.outbid(step, &vms);
        vms.retain(|_| !dice.chance_ppm(fickleness));
        for _ in 0..2 * market.question.target_gpus {
            let held: u32 = vms.iter().map(|vm| market.pools[vm.pool].gpu_count).sum();
            if held >= market.question.target_gpus || !dice.chance_ppm(eagerness) {
                continue;
            }
            let pool = dice.between(0, market.pools.len() as u64 - 1) as usize;
            let (price, cap) = (market.pools[pool].prices[step], market.pools[pool].on_demand);
            let bid_max = if dice.chance_ppm(500_000) { price.min(cap) } else { cap };
            let bid = dice.between(price.min(cap), bid_max);
            if dice.chance_ppm(50_000) {
                vms.push(Vm { pool: market.on_demand_pool(), bid: None, age: 0 });
            } else if market.accepts(step, &vms, pool, bid) {
                vms.push(Vm { pool, bid: Some(bid), age: 0 });
            }
        }
        cost += market.bill(step, &vms);
        vms = market.grow_old(vms, u32::MAX);
    }
    cost
}

fn billings() -> impl Strategy<Value = Billing> {
    prop_oneof![Just(Billing::Bid), Just(Billing::Market)]
}

/// Markets with these numbers of pools and steps, and with these prices, capacities, sizes and targets.
fn markets(
    shape: (std::ops::Range<usize>, std::ops::Range<usize>),
    price: impl Strategy<Value = u64> + Clone + 'static,
    capacity: impl Strategy<Value = Option<u32>> + Clone + 'static,
    size: std::ops::Range<u32>,
    target: std::ops::Range<u32>,
) -> impl Strategy<Value = Small> {
    let pools = (shape.0, shape.1).prop_flat_map(move |(pools, steps)| {
        let prices = proptest::collection::vec(price.clone(), steps);
        let capacity = proptest::collection::vec(capacity.clone(), steps)
            .prop_map(|rooms| rooms.into_iter().collect::<Option<Vec<u32>>>());
        let pool =
            (size.clone(), 1_000u64..1_200, prices, capacity).prop_map(|(gpu_count, on_demand, prices, capacity)| {
                SmallPool {
                    gpu_count,
                    on_demand: on_demand * u64::from(gpu_count),
                    prices: prices.into_iter().map(|price| price * u64::from(gpu_count)).collect(),
                    capacity,
                }
            });
        proptest::collection::vec(pool, pools)
    });
    (pools, billings(), target, 0u32..3, 0u32..6).prop_map(|(pools, billing, target_gpus, delay_steps, penalty)| {
        Small { question: Question { billing, target_gpus, step_s: 3_600, delay_steps, penalty }, pools }
    })
}

/// Prices so far apart that no two share a lane.
fn apart() -> impl Strategy<Value = u64> + Clone {
    proptest::sample::select(vec![100u64, 300, 700, 1_500])
}

/// All room or none.
fn whole() -> impl Strategy<Value = Option<u32>> + Clone {
    proptest::sample::select(vec![Some(9u32), Some(9), Some(9), Some(0)])
}

/// Room for one, mostly: enough for the units to stand in each other's way for a while.
fn scarce() -> impl Strategy<Value = Option<u32>> + Clone {
    proptest::sample::select(vec![Some(1u32), Some(1), Some(1), Some(1), Some(1), Some(1), Some(2), Some(0)])
}

/// The best there is, where a launch never has to be given up for want of room.
fn exhaustive(market: &Small, launches_max: usize, alive_max: usize) -> i64 {
    let cost = best(market, &Effort { alive_max, launches_max }, 0, &[], &mut BTreeMap::new());
    (cost / PARTS) as i64
}

/// One slot needs one launch per step, and one VM more for every step that a VM is on its way.
fn exhaustive_for_one(market: &Small) -> i64 {
    exhaustive(market, 1, market.question.delay_steps as usize + 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn with_one_slot_and_prices_apart_the_bound_is_what_an_exhaustive_search_finds(
        market in markets((1..3, 1..7), apart(), whole(), 1..2, 1..2),
    ) {
        prop_assert_eq!(market.bound_by(Some(Method::Slots)).penalised.micros(), exhaustive_for_one(&market));
    }

    #[test]
    fn with_prices_that_share_lanes_the_bound_is_at_most_a_hundredth_below(
        market in markets((1..3, 1..6), 590u64..606, whole(), 1..2, 1..2),
    ) {
        let (bound, best) = (market.bound(), exhaustive_for_one(&market));
        prop_assert!(bound <= best && best * 100 <= bound * 101 + 100, "{} of {}", bound, best);
    }

    #[test]
    fn no_sequence_of_actions_beats_the_bound_where_room_is_short(
        market in markets((1..3, 1..6), apart(), (0u32..3).prop_map(Some), 1..3, 1..3),
    ) {
        prop_assert!(market.bound() <= exhaustive(&market, 2, 3));
    }

    #[test]
    fn the_flow_is_the_cheapest_spread_of_the_target_over_the_pools(
        market in markets((1..4, 1..10), 10u64..1_100, scarce(), 1..3, 1..4),
    ) {
        let found = market.bound_by(Some(Method::Flow)).penalised.micros();
        prop_assert_eq!(found as u64, spread(&market) / PARTS);
    }

    #[test]
    fn the_flow_is_what_an_exhaustive_search_finds_where_no_unit_must_wait_for_room(
        market in markets((1..3, 1..7), apart(), (0u32..3).prop_map(Some), 1..2, 1..3),
    ) {
        // Nothing provisions beside what serves, and the market's price is what is paid: no relaxation bites.
        let mut market = market;
        (market.question.delay_steps, market.question.billing) = (0, Billing::Market);
        let found = market.bound_by(Some(Method::Flow)).penalised.micros();
        prop_assert_eq!(found, exhaustive(&market, 2, 2));
    }
}

proptest! {
    #[test]
    fn whoever_acts_at_random_does_not_beat_the_bound(
        market in markets((1..4, 1..60), 80u64..1_300, proptest::option::weighted(0.97, 0u32..5), 1..5, 1..7),
        seed: u64,
    ) {
        let cost = wander(&market, seed) / PARTS;
        prop_assert!(market.bound() as u64 <= cost);
        for method in [Method::Slots, Method::Flow] {
            prop_assert!(market.bound_by(Some(method)).penalised.micros() as u64 <= cost);
        }
    }

    #[test]
    fn with_room_for_all_the_flow_is_the_cheapest_life_of_every_slot(
        market in markets((1..4, 1..40), 80u64..1_300, whole(), 1..5, 1..8),
    ) {
        let mut market = market;
        market.question.billing = Billing::Market;
        let [slots, flow] = [Method::Slots, Method::Flow].map(|method| market.bound_by(Some(method)).penalised);
        prop_assert_eq!(slots, flow);
    }
}

/// One pool at 1.00 on demand, with a delay of two steps of an hour.
fn example(billing: Billing, target_gpus: u32, prices: &[u64], capacity: Option<&[u32]>) -> Small {
    let prices = prices.to_vec();
    let pool = SmallPool { gpu_count: 1, on_demand: 1_000, prices, capacity: capacity.map(<[u32]>::to_vec) };
    Small { question: Question { billing, target_gpus, step_s: 3_600, delay_steps: 2, penalty: 5 }, pools: vec![pool] }
}

#[test]
fn a_calm_market_costs_its_price_from_the_first_step_to_the_last() {
    assert_eq!(example(Billing::Bid, 8, &[300; 10], None).bound(), 8 * 10 * 300);
    assert_eq!(example(Billing::Market, 8, &[300; 10], None).bound(), 8 * 10 * 300);
}

#[test]
fn whoever_pays_the_bid_pays_for_the_spike_all_the_time() {
    let prices = [100, 100, 100, 100, 700, 100, 100, 100];
    assert_eq!(example(Billing::Market, 1, &prices, None).bound(), 7 * 100 + 700);
    // Low for four steps; high for five, of which the first two provision; low for the last three, of which again the
    // first two provision, since nothing that bids low lives through the spike.
    assert_eq!(example(Billing::Bid, 1, &prices, None).bound(), 4 * 100 + 5 * 700 + 3 * 100);
}

#[test]
fn a_price_above_on_demand_is_never_paid() {
    assert_eq!(example(Billing::Bid, 1, &[1_001; 6], None).bound(), 6 * 1_000);
    assert_eq!(example(Billing::Bid, 1, &[1_000; 6], None).bound(), 6 * 1_000);
    assert_eq!(example(Billing::Market, 1, &[999; 6], None).bound(), 6 * 999);
}

#[test]
fn what_is_not_scored_costs_nothing() {
    assert_eq!(example(Billing::Bid, 8, &[300; 2], None).bound(), 0);
    assert_eq!(example(Billing::Bid, 8, &[], None).bound(), 0);
    assert_eq!(example(Billing::Bid, 0, &[300; 9], None).bound(), 0);
    assert_eq!(example(Billing::Bid, 1, &[300; 3], None).bound(), 3 * 300);
}

#[test]
fn the_capacities_say_which_method_applies() {
    let method = |capacity: Option<&[u32]>| example(Billing::Bid, 2, &[300; 3], capacity).bound_by(None).method;
    assert_eq!(method(None), Method::Slots);
    assert_eq!(method(Some(&[0, 2, 9])), Method::Slots);
    assert_eq!(method(Some(&[0, 1, 9])), Method::Flow);
}

#[test]
fn where_one_of_two_has_room_the_other_is_had_on_demand() {
    assert_eq!(example(Billing::Bid, 2, &[300; 10], Some(&[1; 10])).bound(), 10 * 300 + 10 * 1_000);
}

#[test]
fn what_is_best_for_one_is_given_up_where_two_pay_less() {
    let dear_then_cheap: Vec<u64> = [[900; 6], [100; 6]].concat();
    let cheap_then_dear: Vec<u64> = dear_then_cheap.iter().rev().copied().collect();
    let mut market = example(Billing::Market, 1, &cheap_then_dear, Some(&[1; 12]));
    market.pools.push(SmallPool { prices: dear_then_cheap, ..market.pools[0].clone() });
    // One changes pools in the middle, and pays two dear steps of provisioning.
    assert_eq!(market.bound(), 12 * 100 + 2 * 900);
    // Two would be in each other's way: each stays where it is.
    market.question.target_gpus = 2;
    assert_eq!(market.bound(), 12 * 100 + 12 * 900);
}

#[test]
fn pools_that_make_no_market_are_refused_with_their_place() {
    let question = example(Billing::Bid, 1, &[], None).question;
    let rates = [HourlyRate::from_micros(1); 2];
    let pool = Pool { gpu_count: 1, on_demand: HourlyRate::from_micros(1), prices: &rates, capacity: None };
    let check = |pools: &[Pool<'_>], expected: &str| {
        assert_eq!(bound(pools, &question).unwrap_err().to_string(), expected);
    };
    check(&[], "a market needs at least one pool");
    check(&[pool, Pool { gpu_count: 0, ..pool }], "the VMs of pool 1 have no GPUs");
    check(&[pool, Pool { prices: &rates[..1], ..pool }], "pool 1 has 1 prices, but pool 0 has 2 prices");
    check(&[Pool { capacity: Some(&[1; 3]), ..pool }], "pool 0 has 3 capacities, but pool 0 has 2 prices");
    let dear = Pool { on_demand: HourlyRate::from_micros(u64::MAX), ..pool };
    check(&[dear], "prices, steps and target are together too large to be summed exactly");
    let odd: Vec<Pool<'_>> = [65_537, 65_539, 65_543, 65_551].map(|gpu_count| Pool { gpu_count, ..pool }).to_vec();
    check(&odd, "prices, steps and target are together too large to be summed exactly");
}
