//! Lowest price: whatever is cheapest at the moment.
//!
//! After EC2 Fleet's allocation strategy `lowest-price` (Amazon's documentation of EC2 Fleet), not a copy. Rule: launch what
//! is missing in the pool with the least price per GPU that takes it; what runs stays until it is lost.

use super::stock::{self, Bid};
use crate::sim::trace::{Desk, Policy};

/// The cheapest pool.
pub struct LowestPrice;

impl Policy for LowestPrice {
    fn step(&mut self, desk: &mut Desk<'_>) {
        stock::hold_target(desk, |desk, gap| {
            let cheapest = stock::open_pools(desk, gap).min_by_key(|pool| stock::per_gpu(desk, *pool));
            cheapest.map(|pool| Bid { pool, bid: stock::plain_bid(desk, pool) })
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::sim::suite::{
        Peer,
        tests::{check, check_market},
    };

    #[test]
    fn the_cheapest_pool_per_gpu_is_taken_and_kept_while_it_lasts() {
        check(Peer::LowestPrice, "1.00x1 2.00x2", "0.30 0.20 0.30|0.50 0.50 0.50", None, "spot 1 0.525");
    }

    #[test]
    fn what_is_lost_is_launched_where_it_is_cheapest_now() {
        check(
            Peer::LowestPrice,
            "1.00x1 1.00x1",
            "0.10 0.40 0.10|0.20 0.20 0.20",
            None,
            "spot 0 0.105 spot 0 0.105 | spot 1 0.21 spot 1 0.21",
        );
    }

    #[test]
    fn what_no_pool_takes_is_on_demand_until_a_replacement_is_ready() {
        check(
            Peer::LowestPrice,
            "1.00x1",
            "0.10 0.10 0.10 0.10 0.10",
            Some("1 2 2 2 2"),
            "spot 0 0.105 od | spot 0 0.105 |  | kill 1",
        );
    }

    #[test]
    fn where_the_market_is_paid_the_bid_is_the_cap() {
        check_market(Peer::LowestPrice, "1.00x1", "0.10 0.90", None, "spot 0 1.00 spot 0 1.00");
    }
}
