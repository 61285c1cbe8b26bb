//! Diversified: never all in one pool.
//!
//! After EC2 Fleet's `diversified`, over as many pools as `InstancePoolsToUseCount` would name (Amazon's documentation of
//! EC2 Fleet), not a copy. Rule: of the three cheapest pools per GPU that take what is missing, launch in the one that
//! holds the fewest GPUs of ours, among equals the cheaper; what runs stays until it is lost.

use super::stock::{self, Bid};
use crate::sim::trace::{Desk, Policy};

/// Over so many pools.
const POOLS: usize = 3;

/// Spread over the cheapest pools.
pub struct Diversified;

impl Policy for Diversified {
    fn step(&mut self, desk: &mut Desk<'_>) {
        stock::hold_target(desk, |desk, gap| {
            let mut open: Vec<usize> = stock::open_pools(desk, gap).collect();
            open.sort_by_key(|pool| stock::per_gpu(desk, *pool));
            open.truncate(POOLS);
            // Of equals the first, which is the cheaper.
            let fewest = open.into_iter().min_by_key(|pool| stock::spot_gpus_in(desk, *pool));
            fewest.map(|pool| Bid { pool, bid: stock::plain_bid(desk, pool) })
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::sim::suite::{Peer, tests::check_target};

    #[test]
    fn the_target_is_spread_over_the_three_cheapest_pools() {
        check_target(
            5,
            Peer::Diversified,
            "1.00x1 1.00x1 1.00x1 1.00x1",
            "0.40|0.20|0.10|0.30",
            None,
            "spot 2 0.105 spot 1 0.21 spot 3 0.315 spot 2 0.105 spot 1 0.21",
        );
    }

    #[test]
    fn a_pool_without_room_is_passed_over() {
        check_target(
            3,
            Peer::Diversified,
            "1.00x1 1.00x1",
            "0.10|0.20",
            Some("1|9"),
            "spot 0 0.105 spot 1 0.21 spot 1 0.21",
        );
    }
}
