//! SpotHedge: more spot than needed, spread over zones, and on demand while it is not ready.
//!
//! After SkyServe (Mao and others, "SkyServe: Serving AI Models across Regions and Clouds with Spot Instances", EuroSys
//! 2025), not a copy. Rule: keep the target and a fifth more on spot, each VM in the zone with the fewest of ours among
//! those that have neither taken one away nor refused one since they last had one ready (when fewer than two such are
//! left, all are trusted again); keep on demand what target and surplus lack of *ready* spot, at most the target.

use super::stock::{self, Bid};
use crate::sim::trace::{Desk, Policy, VmId};
use std::collections::{BTreeMap, BTreeSet};

/// Spot beyond the target, in percent of it, rounded up (assumed: the paper leaves it to the user).
const SURPLUS: u32 = 20;
/// With fewer zones to trust, all are trusted.
const TRUSTED_MIN: usize = 2;

/// Spread over pools, some more than needed, on demand while spot is not ready.
#[derive(Default)]
pub struct SpotHedge {
    /// Pools that took a VM away or refused one, and have had none ready since.
    distrusted: BTreeSet<usize>,
    /// The pools of the spot VMs held at the end of the last step.
    held: BTreeMap<VmId, usize>,
}

impl SpotHedge {
    fn choose(&mut self, desk: &Desk<'_>, gap: u32) -> Option<Bid> {
        let open: BTreeSet<usize> = stock::open_pools(desk, gap).collect();
        let fitting: Vec<usize> = stock::fitting_pools(desk, gap).collect();
        self.distrusted.extend(fitting.iter().filter(|pool| !open.contains(pool)));
        if fitting.iter().filter(|pool| !self.distrusted.contains(pool)).count() < TRUSTED_MIN {
            self.distrusted.clear();
        }
        let trusted = open.into_iter().filter(|pool| !self.distrusted.contains(pool));
        let best = trusted.min_by_key(|pool| (stock::spot_gpus_in(desk, *pool), stock::per_gpu(desk, *pool)));
        best.map(|pool| Bid { pool, bid: stock::plain_bid(desk, pool) })
    }
}

impl Policy for SpotHedge {
    fn step(&mut self, desk: &mut Desk<'_>) {
        let target = desk.target_gpus();
        let surplus = u32::try_from((u64::from(target) * u64::from(SURPLUS)).div_ceil(100)).unwrap_or(u32::MAX);
        let wanted = target.saturating_add(surplus);
        self.distrusted.extend(desk.outbid().iter().filter_map(|vm| self.held.get(vm)));
        for pool in stock::newly_ready_pools(desk) {
            self.distrusted.remove(&pool);
        }
        stock::fill_spot(desk, wanted, |desk, gap| self.choose(desk, gap));
        let lacking = wanted.saturating_sub(stock::Stock::of(desk).spot_ready).min(target);
        stock::fill_kind_on_demand(desk, lacking);
        stock::trim_on_demand(desk, lacking);
        self.held = stock::spot_pools(desk);
    }
}

#[cfg(test)]
mod tests {
    use crate::sim::suite::{Peer, tests::check_target};

    #[test]
    fn on_demand_bridges_until_spot_is_ready_and_a_fifth_more_is_held() {
        check_target(
            4,
            Peer::SpotHedge,
            "1.00x1 1.00x1",
            "0.10 0.10 0.10|0.20 0.20 0.20",
            None,
            "spot 0 0.105 spot 1 0.21 spot 0 0.105 spot 1 0.21 spot 0 0.105 od od od od |  | kill 8 kill 7 kill 6 kill 5",
        );
    }

    #[test]
    fn a_zone_that_took_one_away_is_passed_over_while_others_are_trusted() {
        check_target(
            1,
            Peer::SpotHedge,
            "1.00x1 1.00x1 1.00x1",
            "0.10 0.90 0.10 0.10|0.20 0.20 0.20 0.20|0.30 0.30 0.30 0.30",
            None,
            "spot 0 0.105 spot 1 0.21 od | spot 2 0.315 |  | kill 2",
        );
    }

    #[test]
    fn when_no_two_zones_are_trusted_all_are_again() {
        check_target(
            1,
            Peer::SpotHedge,
            "1.00x1 1.00x1",
            "0.10 0.90 0.10|0.20 0.20 0.20",
            None,
            "spot 0 0.105 spot 1 0.21 od | spot 0 0.945 | ",
        );
    }
}
