//! On demand only: never interrupted, never cheap.
//!
//! After nobody: it is what one pays who trusts no spot market, and what `od_ratio` divides by. Rule: launch on demand what
//! is missing; never let go.

use super::stock;
use crate::sim::trace::{Desk, Policy};

/// All of it on demand, all the time.
pub struct OnDemand;

impl Policy for OnDemand {
    fn step(&mut self, desk: &mut Desk<'_>) {
        stock::fill_on_demand(desk, desk.target_gpus());
    }
}

#[cfg(test)]
mod tests {
    use crate::sim::suite::{Peer, tests::check};

    #[test]
    fn the_target_is_launched_once_whatever_spot_costs() {
        check(Peer::OnDemand, "1.00x1 1.00x1", "0.10 0.10 0.10|0.10 0.10 0.10", None, "od od");
    }

    #[test]
    fn a_vm_that_is_larger_than_the_target_is_not_launched() {
        check(Peer::OnDemand, "4.00x4", "0.10 0.10 0.10", None, "");
    }
}
