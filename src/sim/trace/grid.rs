//! Lays a trace on its steps: the worst value inside each.
//!
//! Prices and capacities change at any second, a simulated step lasts minutes. Step *k* is charged the *largest* price
//! and offered the *smallest* capacity in effect at any moment of `[t0 + k·dt, t0 + (k+1)·dt)`, so that nothing a real
//! market would have taken away is counted as held.
//!
//! ```text
//! price    ──3──┐  ┌─5─┐        A change exactly at a step's start replaces the older value,
//!               └2─┘   └──2──   one exactly at its end belongs to the next step.
//! step     |  0   |  1   |  2   |
//! worst        3      5      2
//! ```

use super::load::{Class, Event, Pool, Trace};
use crate::model::HourlyRate;

/// Capacity above this counts as this in a checksum; an unlimited one too.
const CHECKSUM_CAPACITY_MAX: u32 = 1_000;

/// How many spot VMs of a pool may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capacity {
    /// So many.
    Vms(u32),
    /// As many as one likes.
    Unlimited,
}

impl Capacity {
    /// Whether a pool that holds so many VMs has room for one more.
    pub fn has_room(self, held: u32) -> bool {
        match self {
            Self::Vms(vms) => held < vms,
            Self::Unlimited => true,
        }
    }
}

/// A trace on its grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Market {
    /// What the trace is called.
    pub name: String,
    /// Its kind.
    pub class: Class,
    /// When step 0 begins, in seconds since 1970, UTC.
    pub t0_s: i64,
    /// How long a step is, in seconds.
    pub dt_s: u32,
    /// How many steps.
    pub steps: usize,
    /// GPUs to be held.
    pub target_gpus: u32,
    pools: Vec<Pool>,
    /// By step, then by pool.
    prices: Vec<Vec<HourlyRate>>,
    /// By step, then by pool; `None` is unlimited.
    capacities: Option<Vec<Vec<u32>>>,
    on_demand_pool: usize,
}

/// What a loader can be checked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Σ of all prices over the grid, in micros per hour.
    pub price_micros: u128,
    /// Σ of all capacities over the grid, each at most 1000.
    pub capacity: u64,
}

impl Market {
    /// The grid of a trace.
    pub fn new(trace: &Trace) -> Self {
        let Trace { name, class, t0_s, dt_s, steps, target_gpus, pools, prices, capacities } = trace;
        let lay = Lay { t0_s: *t0_s, dt_s: i64::from(*dt_s), steps: *steps };
        Self {
            name: name.clone(),
            class: *class,
            t0_s: *t0_s,
            dt_s: *dt_s,
            steps: *steps,
            target_gpus: *target_gpus,
            prices: lay.all(prices, HourlyRate::max),
            capacities: capacities.as_ref().map(|capacities| lay.all(capacities, u32::min)),
            on_demand_pool: on_demand_pool(pools),
            pools: pools.clone(),
        }
    }

    /// The pools, in the order of their indices.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// The largest prices of a step by pool, per VM-hour; empty past the last step.
    pub fn prices(&self, k: usize) -> &[HourlyRate] {
        self.prices.get(k).map_or(&[], Vec::as_slice)
    }

    /// The smallest capacity of a pool in a step; none of what there is not.
    pub fn capacity(&self, pool: usize, k: usize) -> Capacity {
        if pool >= self.pools.len() || k >= self.steps {
            return Capacity::Vms(0);
        }
        match &self.capacities {
            None => Capacity::Unlimited,
            Some(steps) => Capacity::Vms(steps.get(k).and_then(|pools| pools.get(pool)).copied().unwrap_or(0)),
        }
    }

    /// The pool that on-demand VMs come from: the least on-demand price per GPU, ties the smaller VM, then the lower
    /// index.
    pub const fn on_demand_pool(&self) -> usize {
        self.on_demand_pool
    }

    /// The on-demand price of one GPU for an hour, in US dollars. For metrics only.
    pub fn on_demand_per_gpu_usd(&self) -> f64 {
        self.pools.get(self.on_demand_pool).map_or(0.0, |pool| pool.on_demand.to_f64() / f64::from(pool.gpu_count))
    }

    /// Sums over the grid, to be held against those that came with the trace.
    pub fn checksum(&self) -> Checksum {
        let price_micros = self.prices.iter().flatten().map(|price| u128::from(price.micros())).sum();
        let capacity = match &self.capacities {
            None => u64::from(CHECKSUM_CAPACITY_MAX) * self.steps as u64 * self.pools.len() as u64,
            Some(steps) => steps.iter().flatten().map(|vms| u64::from(*vms.min(&CHECKSUM_CAPACITY_MAX))).sum(),
        };
        Checksum { price_micros, capacity }
    }
}

fn on_demand_pool(pools: &[Pool]) -> usize {
    let mut best = 0;
    for (at, pool) in pools.iter().enumerate().skip(1) {
        let Some(held) = pools.get(best) else { continue };
        // a/b < c/d, without a division.
        let per_gpu = u128::from(pool.on_demand.micros()) * u128::from(held.gpu_count);
        let held_per_gpu = u128::from(held.on_demand.micros()) * u128::from(pool.gpu_count);
        if (per_gpu, pool.gpu_count) < (held_per_gpu, held.gpu_count) {
            best = at;
        }
    }
    best
}

/// Where the steps are.
#[derive(Clone, Copy)]
struct Lay {
    t0_s: i64,
    dt_s: i64,
    steps: usize,
}

impl Lay {
    /// The worst values of every step, by pool.
    fn all<T: Copy>(self, pools: &[Vec<Event<T>>], worse: fn(T, T) -> T) -> Vec<Vec<T>> {
        let mut steps = vec![Vec::with_capacity(pools.len()); self.steps];
        for events in pools {
            for (step, worst) in steps.iter_mut().zip(self.one(events, worse)) {
                step.push(worst);
            }
        }
        steps
    }

    /// The worst values of one pool by step; none for a pool without events.
    fn one<T: Copy>(self, events: &[Event<T>], worse: fn(T, T) -> T) -> Vec<T> {
        let Some(first) = events.first() else { return Vec::new() };
        let mut now = first.value;
        let mut left = events.iter().peekable();
        let mut found = Vec::with_capacity(self.steps);
        let mut start_s = self.t0_s;
        for _ in 0..self.steps {
            let end_s = start_s.saturating_add(self.dt_s);
            while let Some(event) = left.next_if(|event| event.at_s <= start_s) {
                now = event.value;
            }
            let mut worst = now;
            while let Some(event) = left.next_if(|event| event.at_s < end_s) {
                now = event.value;
                worst = worse(worst, now);
            }
            found.push(worst);
            start_s = end_s;
        }
        found
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Steps of half an hour. Pools as `on-demand price x GPUs`, parted by blanks; per pool, parted by `|`, the price of
    /// every step, and likewise its capacity.
    pub(crate) fn market(target_gpus: u32, pools: &str, prices: &str, capacities: Option<&str>) -> Market {
        let pools: Vec<Pool> = pools
            .split_whitespace()
            .map(|pool| pool.split_once('x').unwrap())
            .map(|(on_demand, gpus)| pool(on_demand, gpus.parse().unwrap()))
            .collect();
        fn events<T: std::str::FromStr>(text: &str) -> Vec<Vec<Event<T>>> {
            let value = |word: &str| word.parse().unwrap_or_else(|_| panic!("{word}"));
            let event = |(at, word): (i64, &str)| Event { at_s: 1_000 + 1_800 * at, value: value(word) };
            text.split('|').map(|pool| (0..).zip(pool.split_whitespace()).map(event).collect()).collect()
        }
        let prices: Vec<Vec<Event<HourlyRate>>> = events(prices);
        assert_eq!(prices.len(), pools.len());
        Market::new(&Trace {
            name: "small".to_owned(),
            class: Class::Avail,
            t0_s: 1_000,
            dt_s: 1_800,
            steps: prices.iter().map(Vec::len).max().unwrap(),
            target_gpus,
            pools,
            prices,
            capacities: capacities.map(events),
        })
    }

    #[test]
    fn a_checksum_counts_unlimited_capacity_as_a_thousand() {
        let check = |capacities, expected| {
            let checksum = market(1, "1x1 2x1", "0.1 0.2|0.3 0.4", capacities).checksum();
            assert_eq!(checksum, Checksum { price_micros: 1_000_000, capacity: expected });
        };
        check(None, 4_000);
        check(Some("1 2|3 4000"), 1_006);
    }

    #[test]
    fn past_the_last_step_there_is_no_price_and_no_room() {
        let market = market(1, "1x1", "0.1", None);
        assert_eq!((market.prices(1).len(), market.capacity(0, 0)), (0, Capacity::Unlimited));
        assert_eq!((market.capacity(0, 1), market.capacity(1, 0)), (Capacity::Vms(0), Capacity::Vms(0)));
    }

    /// Steps of ten seconds from second 100 on, against `time:value` and the worst value of each step.
    #[track_caller]
    fn check(events: &str, largest: &[u32], smallest: &[u32]) {
        let events: Vec<Event<u32>> = events
            .split_whitespace()
            .map(|event| event.split_once(':').unwrap())
            .map(|(at_s, value)| Event { at_s: at_s.parse().unwrap(), value: value.parse().unwrap() })
            .collect();
        let lay = Lay { t0_s: 100, dt_s: 10, steps: largest.len() };
        assert_eq!(lay.one(&events, u32::max), largest, "largest");
        assert_eq!(lay.one(&events, u32::min), smallest, "smallest");
    }

    #[test]
    fn a_step_has_the_worst_value_inside_it() {
        check("100:3 108:2 112:5 115:2", &[3, 5, 2], &[2, 2, 2]);
    }

    #[test]
    fn a_change_at_the_start_replaces_the_older_value_and_one_at_the_end_is_the_next_steps() {
        check("100:9 110:1", &[9, 1], &[9, 1]);
        check("100:9 111:1", &[9, 9, 1], &[9, 1, 1]);
        check("100:9 109:1", &[9, 1], &[1, 1]);
    }

    #[test]
    fn before_the_first_event_its_value_holds() {
        check("125:4 135:6", &[4, 4, 4, 6, 6], &[4, 4, 4, 4, 6]);
    }

    #[test]
    fn what_was_before_the_first_step_counts_only_by_its_last_value() {
        check("10:9 50:1 105:2", &[2, 2], &[1, 2]);
        check("10:9", &[9, 9], &[9, 9]);
    }

    fn pool(on_demand: &str, gpu_count: u32) -> Pool {
        let text = String::new;
        Pool {
            zone: text(),
            instance_type: text(),
            gpu_model: text(),
            gpu_count,
            on_demand: on_demand.parse().unwrap(),
        }
    }

    #[test]
    fn on_demand_comes_from_the_cheapest_per_gpu_then_the_smaller_then_the_first() {
        assert_eq!(on_demand_pool(&[pool("8", 8), pool("0.9", 1)]), 1);
        assert_eq!(on_demand_pool(&[pool("8", 8), pool("1", 1), pool("1", 1)]), 1);
        assert_eq!(on_demand_pool(&[pool("1", 1), pool("7.2", 8)]), 1);
        assert_eq!(on_demand_pool(&[pool("1", 1), pool("1", 1)]), 0);
    }

    proptest! {
        /// Looks at every second.
        #[test]
        fn the_grid_is_what_a_watcher_of_every_second_sees(
            gaps in proptest::collection::vec((1i64..9, 0u32..6), 1..30), start_s in 0i64..120, dt_s in 1i64..12,
        ) {
            let mut at_s = start_s;
            let events: Vec<Event<u32>> = gaps.into_iter().map(|(gap, value)| {
                at_s += gap;
                Event { at_s, value }
            }).collect();
            let at = |second: i64| {
                events.iter().rev().find(|event| event.at_s <= second).unwrap_or(&events[0]).value
            };
            let lay = Lay { t0_s: 60, dt_s, steps: 20 };
            let seen = |k: i64| (60 + k * dt_s..60 + (k + 1) * dt_s).map(at);
            let largest: Vec<u32> = (0..20).map(|k| seen(k).max().unwrap()).collect();
            let smallest: Vec<u32> = (0..20).map(|k| seen(k).min().unwrap()).collect();
            prop_assert_eq!(lay.one(&events, u32::max), largest);
            prop_assert_eq!(lay.one(&events, u32::min), smallest);
        }
    }
}
