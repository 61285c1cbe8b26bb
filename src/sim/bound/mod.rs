//! The clairvoyant bound: what the best possible schedule would have paid, had it known every price beforehand.
//!
//! A replay of history ends in one number, the *penalised cost* of a run: what was paid, plus [`Question::penalty`] times
//! the on-demand price for every GPU-hour of the target that was not delivered. That number alone says nothing, since
//! some months are dear for everybody. So it is divided by the least penalised cost that anybody could have had. That
//! least cost is found here. No policy that must decide step by step can beat it; only somebody who knows the future
//! comes near.
//!
//! ```text
//!                  ┌─ slots: all GPUs of the target are alike, so the best life of one is found and counted N times
//! Question, pools ─┤
//!                  └─ flow:  there is not room for all of them, so N units flow through pools and time together
//! ```
//!
//! Which of the two applies is seen from the capacities ([`Method`]). Both are *lower* bounds, and loosen the market only
//! in ways that make it cheaper: a VM may be rented in part, what is still provisioning takes no room, a bid is charged
//! at the lowest price within 1 % below it (`slots`), and with scarce capacity the market's price is charged
//! instead of the bid (`flow`).
//!
//! All sums are whole numbers, so the same history has the same bound on every machine. Nothing is read here: whoever
//! asks brings the prices on the grid of the replay, the worst of each step.

mod flow;
#[cfg(test)]
mod naive;
mod slots;

pub use super::trace::Billing;
use super::trace::{self, Rules, grid::Capacity, metrics::PENALTY};
use crate::model::{HourlyRate, Usd};

/// Seconds in an hour.
const SECONDS_PER_HOUR: u128 = 3_600;
/// No sum may come near the end of 64 bits: what is larger is refused before anything is computed.
const SUM_MAX: u128 = 1 << 60;

/// One pool of equal VMs, with its whole history on the grid of the replay.
#[derive(Clone, Copy, Debug)]
pub struct Pool<'a> {
    /// GPUs of one VM; at least one.
    pub gpu_count: u32,
    /// Price of a VM on demand, and the most that may be bid for one.
    pub on_demand: HourlyRate,
    /// Spot price of a VM, step by step.
    pub prices: &'a [HourlyRate],
    /// How many VMs may be held, step by step; `None` where there is no limit.
    pub capacity: Option<&'a [u32]>,
}

/// What is asked of the market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// What a spot VM pays.
    pub billing: Billing,
    /// GPUs to be held all the time.
    pub target_gpus: u32,
    /// Length of a step in seconds.
    pub step_s: u32,
    /// Steps between the launch of a VM and its first useful one. So many steps at the start are not scored.
    pub delay_steps: u32,
    /// What a missing GPU-hour costs, in on-demand prices.
    pub penalty: u32,
}

/// How a bound was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Every pool has room for the whole target or for nothing: one shortest path, times the target.
    Slots,
    /// Some pool at some step has room for a part of the target: a flow of least cost.
    Flow,
}

/// The least that a run can come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Cost and penalty together, rounded down to a micro.
    pub penalised: Usd,
    /// How it was found.
    pub method: Method,
}

/// Why there is no bound. Pools and steps are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoundError {
    /// Nothing to choose from, and no on-demand price to measure by.
    #[error("a market needs at least one pool")]
    NoPools,
    /// A VM without GPUs serves nobody.
    #[error("the VMs of pool {pool} have no GPUs")]
    NoGpus {
        /// Which pool.
        pool: usize,
    },
    /// The histories are not on one grid.
    #[error("pool {pool} has {found} {what}, but pool 0 has {expected} prices")]
    Ragged {
        /// Which pool.
        pool: usize,
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// The sums would not fit. Real markets are a million times smaller.
    #[error("prices, steps and target are together too large to be summed exactly")]
    TooLarge,
}

/// A market that is coherent, with prices per GPU in whole *grains*: a micro per hour, divided by the least common
/// multiple of all VM sizes, for one step. So no share of a VM's price is ever rounded.
struct Market<'a> {
    pools: &'a [Pool<'a>],
    /// Grains in a micro per hour.
    grains_per_micro: u64,
    /// Steps of the history.
    steps: usize,
    /// Steps before a VM is useful.
    delay: usize,
    /// One GPU on demand for one step, in grains.
    on_demand: u64,
    /// One GPU missing for one step, in grains.
    missing: u64,
}

impl<'a> Market<'a> {
    fn new(pools: &'a [Pool<'a>], question: &Question) -> Result<Self, BoundError> {
        let steps = pools.first().ok_or(BoundError::NoPools)?.prices.len();
        let mut grains_per_micro = 1u64;
        for (pool, Pool { gpu_count, on_demand: _, prices, capacity }) in pools.iter().enumerate() {
            if *gpu_count == 0 {
                return Err(BoundError::NoGpus { pool });
            }
            let counts = [("prices", prices.len()), ("capacities", capacity.map_or(steps, <[u32]>::len))];
            if let Some((what, found)) = counts.into_iter().find(|(_, found)| *found != steps) {
                return Err(BoundError::Ragged { pool, what, found, expected: steps });
            }
            let size = u64::from(*gpu_count);
            grains_per_micro = (grains_per_micro / common_divisor(grains_per_micro, size))
                .checked_mul(size)
                .ok_or(BoundError::TooLarge)?;
        }
        let delay = usize::try_from(question.delay_steps).map_err(|_| BoundError::TooLarge)?;
        let dearest = pools.iter().flat_map(|pool| pool.prices.iter().chain([&pool.on_demand])).max();
        // The dearest life: every step missing, or every step entered anew with all its provisioning before it.
        let factors = [
            u128::from(dearest.map_or(0, |rate| rate.micros())),
            u128::from(grains_per_micro),
            u128::from(question.penalty.max(question.delay_steps).saturating_add(1)),
            steps as u128 + 1,
            u128::from(question.target_gpus.max(1)),
        ];
        let most = factors.iter().try_fold(1u128, |product, factor| product.checked_mul(*factor));
        if most.is_none_or(|most| most > SUM_MAX) {
            return Err(BoundError::TooLarge);
        }
        let mut market = Self { pools, grains_per_micro, steps, delay, on_demand: 0, missing: 0 };
        let per_gpu = pools.iter().map(|pool| market.grains(pool, pool.on_demand));
        market.on_demand = per_gpu.min().ok_or(BoundError::NoPools)?;
        market.missing = market.on_demand * u64::from(question.penalty);
        Ok(market)
    }

    /// One GPU of a VM at that rate for one step.
    fn grains(&self, pool: &Pool<'_>, rate: HourlyRate) -> u64 {
        rate.micros() * (self.grains_per_micro / u64::from(pool.gpu_count))
    }

    /// Whether every pool has room for the whole target or for nothing, at every step.
    fn is_all_or_nothing(&self, target_gpus: u32) -> bool {
        let is_whole = |pool: &Pool<'_>, room: u32| {
            room == 0 || u64::from(room) * u64::from(pool.gpu_count) >= u64::from(target_gpus)
        };
        self.pools.iter().all(|pool| pool.capacity.is_none_or(|rooms| rooms.iter().all(|room| is_whole(pool, *room))))
    }
}

impl Pool<'_> {
    /// Price and room at a step at which somebody who bids `limit` may run here; `None` where nobody may.
    fn open(&self, step: usize, limit: HourlyRate) -> Option<(HourlyRate, Option<u32>)> {
        let price = *self.prices.get(step)?;
        let room = match self.capacity {
            None => None,
            Some(rooms) => Some(*rooms.get(step)?),
        };
        (price <= limit && room != Some(0)).then_some((price, room))
    }
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// The least penalised cost of holding the target through the whole history of these pools.
///
/// The method follows from the capacities: [`Method::Slots`] where they are all or nothing, else [`Method::Flow`].
///
/// # Errors
/// When the pools do not make a market, or one too large to be summed exactly.
pub fn bound(pools: &[Pool<'_>], question: &Question) -> Result<Bound, BoundError> {
    let market = Market::new(pools, question)?;
    let method = if market.is_all_or_nothing(question.target_gpus) { Method::Slots } else { Method::Flow };
    bound_by(&market, question, method)
}

/// The bound of a market that really was, by the rules of its replay.
///
/// # Errors
/// When it is too large to be summed exactly.
pub fn of(market: &trace::Market, rules: Rules) -> Result<Bound, BoundError> {
    let history = |pool: usize| -> Vec<HourlyRate> {
        (0..market.steps).filter_map(|k| market.prices(k).get(pool).copied()).collect()
    };
    let rooms = |pool: usize| -> Option<Vec<u32>> {
        let room = |k| match market.capacity(pool, k) {
            Capacity::Vms(vms) => Some(vms),
            Capacity::Unlimited => None,
        };
        (0..market.steps).map(room).collect()
    };
    let histories: Vec<_> = (0..market.pools().len()).map(|pool| (history(pool), rooms(pool))).collect();
    let pools: Vec<Pool<'_>> = (market.pools().iter().zip(&histories))
        .map(|(pool, (prices, capacity))| Pool {
            gpu_count: pool.gpu_count,
            on_demand: pool.on_demand,
            prices,
            capacity: capacity.as_deref(),
        })
        .collect();
    let question = Question {
        billing: rules.billing,
        target_gpus: market.target_gpus,
        step_s: market.dt_s,
        delay_steps: rules.delay_steps,
        penalty: PENALTY,
    };
    bound(&pools, &question)
}

fn bound_by(market: &Market<'_>, question: &Question, method: Method) -> Result<Bound, BoundError> {
    let grains = match method {
        Method::Slots => u128::from(slots::cheapest_life(market, question.billing)) * u128::from(question.target_gpus),
        Method::Flow => flow::cheapest_flow(market, question.target_gpus),
    };
    let micros = grains * u128::from(question.step_s) / (SECONDS_PER_HOUR * u128::from(market.grains_per_micro));
    let penalised = Usd::from_micros(i64::try_from(micros).map_err(|_| BoundError::TooLarge)?);
    Ok(Bound { penalised, method })
}
