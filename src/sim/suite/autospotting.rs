//! AutoSpotting: an on-demand group whose VMs are replaced by spot, one at a time.
//!
//! After AutoSpotting (the open-source tool of that name for EC2's Auto Scaling groups), not a copy. Rule: whatever is
//! missing comes on demand at once; while no replacement is on its way, launch one in the cheapest pool whose VM is no larger
//! than what is on demand, with the on-demand price as bid; when it is ready, end what it replaces.

use super::stock::{self, Bid, Stock};
use crate::sim::trace::{Desk, Policy};

/// On demand, then replaced by spot one by one, with the on-demand price as bid.
pub struct AutoSpotting;

impl Policy for AutoSpotting {
    fn step(&mut self, desk: &mut Desk<'_>) {
        let target = desk.target_gpus();
        stock::let_go(desk, target);
        let Stock { spot, spot_ready, on_demand, .. } = Stock::of(desk);
        if spot == spot_ready && on_demand > 0 {
            let cheapest = stock::open_pools(desk, on_demand).min_by_key(|pool| stock::per_gpu(desk, *pool));
            let bid = cheapest.and_then(|pool| Some(Bid { pool, bid: desk.pools().get(pool)?.on_demand }));
            if let Some(Bid { pool, bid }) = bid {
                let _ = desk.spot(pool, bid);
            }
        }
        stock::fill_on_demand(desk, target);
    }
}

#[cfg(test)]
mod tests {
    use crate::sim::suite::{Peer, tests::check};

    #[test]
    fn on_demand_vms_are_replaced_one_at_a_time_and_the_replacement_is_ready_first() {
        check(
            Peer::AutoSpotting,
            "1.00x1 1.00x1",
            "0.30 0.30 0.30 0.30 0.30 0.30|0.20 0.20 0.20 0.20 0.20 0.20",
            None,
            "od od | spot 1 1.00 |  | kill 1 spot 1 1.00 |  | kill 0",
        );
    }

    #[test]
    fn what_is_lost_comes_back_on_demand_and_is_replaced_again() {
        check(
            Peer::AutoSpotting,
            "1.00x1",
            "0.30 0.30 0.30 0.30 1.30 0.30",
            None,
            "od od | spot 0 1.00 |  | kill 1 spot 0 1.00 | od | spot 0 1.00",
        );
    }
}
