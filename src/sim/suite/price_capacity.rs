//! Price and capacity: the cheapest pool among those that are likely to last.
//!
//! After EC2 Fleet's `price-capacity-optimized`, which is also what Karpenter asks for (Amazon's documentation of EC2
//! Fleet), not a copy: Amazon knows its free capacity, here it is guessed from what was seen. Rule: launch in the pool with
//! the least price per GPU over the square of its availability, the share of the last day's steps in which it would have
//! taken one more VM or held ours without losing any.

use super::{
    past::Past,
    stock::{self, Bid},
};
use crate::sim::trace::{Desk, Policy};
use std::collections::BTreeMap;

/// The cheapest pool for how often it had room.
#[derive(Default)]
pub struct PriceCapacity {
    was_available: Past<bool>,
    /// The pools of the spot VMs held at the end of the last step.
    held: BTreeMap<crate::sim::trace::VmId, usize>,
}

impl PriceCapacity {
    /// Whether each pool was there for us in this step.
    fn look(&self, desk: &Desk<'_>) -> Vec<bool> {
        let lost: Vec<usize> = desk.outbid().iter().filter_map(|vm| self.held.get(vm).copied()).collect();
        let is_there = |(pool, launchable): (usize, &bool)| {
            !lost.contains(&pool) && (*launchable || stock::spot_gpus_in(desk, pool) > 0)
        };
        desk.launchable().iter().enumerate().map(is_there).collect()
    }

    /// The price per GPU over the square of the availability; what was never there is last.
    fn weight(&self, desk: &Desk<'_>, pool: usize) -> u128 {
        let (mut seen, mut there) = (0u128, 0u128);
        for was_there in self.was_available.of(pool) {
            seen += 1;
            there += u128::from(*was_there);
        }
        (stock::per_gpu(desk, pool).saturating_mul(seen * seen)).checked_div(there * there).unwrap_or(u128::MAX)
    }
}

impl Policy for PriceCapacity {
    fn step(&mut self, desk: &mut Desk<'_>) {
        let look = self.look(desk);
        self.was_available.push(desk, look);
        stock::hold_target(desk, |desk, gap| {
            let best = stock::open_pools(desk, gap).min_by_key(|pool| self.weight(desk, *pool));
            best.map(|pool| Bid { pool, bid: stock::plain_bid(desk, pool) })
        });
        self.held = stock::spot_pools(desk);
    }
}

#[cfg(test)]
mod tests {
    use crate::sim::suite::{Peer, tests::check_target};

    #[test]
    fn at_first_the_price_decides() {
        check_target(1, Peer::PriceCapacity, "1.00x1 1.00x1", "0.10|0.15", None, "spot 0 0.105");
    }

    #[test]
    fn a_pool_that_took_a_vm_away_must_be_cheaper_by_far() {
        // After one loss in two steps pool 0 counts four times its price.
        let rooms = Some("1 0 1 1 1|0 0 1 1 1");
        let expected = "spot 0 0.105 | od | spot 0 0.105 |  | kill 1";
        check_target(
            1,
            Peer::PriceCapacity,
            "1.00x1 1.00x1",
            "0.10 0.10 0.10 0.10 0.10|0.45 0.45 0.45 0.45 0.45",
            rooms,
            expected,
        );
        let rooms = Some("1 0 1 1 1|1 1 1 1 1");
        let expected = "spot 0 0.105 | spot 1 0.1575 |  |  | ";
        check_target(
            1,
            Peer::PriceCapacity,
            "1.00x1 1.00x1",
            "0.10 0.10 0.10 0.10 0.10|0.15 0.15 0.15 0.15 0.15",
            rooms,
            expected,
        );
        // Lost together, both were there in two of three steps; the cheaper one it is again.
        let rooms = Some("1 0 1 1|0 1 1 0");
        let expected = "spot 0 0.105 | spot 1 0.1575 |  | spot 0 0.105";
        check_target(
            1,
            Peer::PriceCapacity,
            "1.00x1 1.00x1",
            "0.10 0.10 0.10 0.10|0.15 0.15 0.15 0.15",
            rooms,
            expected,
        );
    }
}
