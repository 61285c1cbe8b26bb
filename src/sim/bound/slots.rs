//! The cheapest life of one GPU of the target, where room is never short.
//!
//! With room for all or for none the GPUs of a target do not compete, so each of them lives the same best life: a
//! shortest path through time. At every useful step a slot is in one *lane* (a bid in a pool), on demand, or unserved. It
//! may stay in its lane while the pool holds at that bid, or enter any other: then it also pays the steps of
//! provisioning before, through which the pool must have held. Old and new overlap; so a slot that changes pays twice
//! for a while, as a real fleet does that does not want to fall short.
//!
//! Only prices that occurred are worth bidding. They are gathered into lanes of 1 %: a lane holds as long as the price is
//! at most its highest member, and is charged at its lowest. That makes the result a lower bound, by less than 1 %.

use super::{Billing, Market};
use crate::model::HourlyRate;

/// A lane's highest member is at most its lowest times this, over [`LANE_DENOMINATOR`].
const LANE_NUMERATOR: u128 = 101;
/// See [`LANE_NUMERATOR`].
const LANE_DENOMINATOR: u128 = 100;

/// One way of holding a spot GPU, and how it stands at the present step.
struct Lane {
    pool: usize,
    /// The lane holds while the price is at most this.
    limit: HourlyRate,
    /// What it pays per step in grains, where that is the bid.
    bid_grains: Option<u64>,
    /// For so many steps it has held without a break.
    held: usize,
    /// The least cost of a slot that is in this lane now; `None` where it cannot be.
    value: Option<u64>,
}

/// The bids worth making in a pool, each with what it is charged.
fn lanes(market: &Market<'_>, billing: Billing) -> Vec<Lane> {
    let mut lanes = Vec::new();
    for (index, pool) in market.pools.iter().enumerate() {
        let mut lane = |limit, bid_grains| lanes.push(Lane { pool: index, limit, bid_grains, held: 0, value: None });
        match billing {
            // The bid is only a limit: nobody has a reason to bid less than allowed.
            Billing::Market => lane(pool.on_demand, None),
            Billing::Bid => {
                let mut prices: Vec<HourlyRate> =
                    pool.prices.iter().copied().filter(|price| *price <= pool.on_demand).collect();
                prices.sort_unstable();
                prices.dedup();
                let is_near = |lowest: &HourlyRate, price: &HourlyRate| {
                    u128::from(price.micros()) * LANE_DENOMINATOR <= u128::from(lowest.micros()) * LANE_NUMERATOR
                };
                let mut rest = prices.as_slice();
                while let Some(lowest) = rest.first() {
                    let (members, dearer) = rest.split_at(rest.partition_point(|price| is_near(lowest, price)));
                    lane(*members.last().unwrap_or(lowest), Some(market.grains(pool, *lowest)));
                    rest = dearer;
                }
            }
        }
    }
    lanes
}

/// The smaller of two costs, of which either may be impossible.
fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

/// The least penalised cost of one slot over all scored steps, in grains.
pub(super) fn cheapest_life(market: &Market<'_>, billing: Billing) -> u64 {
    let mut lanes = lanes(market, billing);
    let mut best = 0;
    let mut on_demand: Option<u64> = None;
    for step in 0..market.steps {
        let is_scored = step >= market.delay;
        let before = best;
        let mut now = before + market.missing;
        for lane in &mut lanes {
            let Some(pool) = market.pools.get(lane.pool) else { continue };
            let Some((price, _room)) = pool.open(step, lane.limit) else {
                (lane.held, lane.value) = (0, None);
                continue;
            };
            lane.held += 1;
            if !is_scored {
                continue;
            }
            let fee = lane.bid_grains.unwrap_or_else(|| market.grains(pool, price));
            let entered = (lane.held > market.delay).then(|| {
                let provisioning = match lane.bid_grains {
                    Some(bid) => bid * market.delay as u64,
                    None => {
                        let past = pool.prices.get(step - market.delay..step).unwrap_or_default();
                        past.iter().map(|price| market.grains(pool, *price)).sum()
                    }
                };
                before + provisioning
            });
            lane.value = least(lane.value, entered).map(|value| value + fee);
            now = lane.value.map_or(now, |value| now.min(value));
        }
        if is_scored {
            let entered = before + market.on_demand * market.delay as u64;
            let value = on_demand.map_or(entered, |stayed| stayed.min(entered)) + market.on_demand;
            on_demand = Some(value);
            best = now.min(value);
        }
    }
    best
}
