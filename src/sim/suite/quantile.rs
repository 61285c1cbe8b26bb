//! Quantile bid: what would have been enough for most of the last day.
//!
//! After the literature on bidding for EC2's early spot market (Zheng and others, "How to Bid the Cloud", SIGCOMM 2015;
//! Agmon Ben-Yehuda and others, "Deconstructing Amazon EC2 Spot Instance Pricing", 2013), not a copy. Rule: bid the 95 %
//! quantile of each pool's prices of the last day, within the cap, where that is no less than the price; of the pools that
//! take it, the one that costs least per GPU (the bid where one pays the bid, else the price).

use super::{
    past::Past,
    stock::{self, Bid},
};
use crate::{
    model::HourlyRate,
    sim::trace::{Billing, Desk, Policy},
};

/// Which quantile, in percent.
const QUANTILE: usize = 95;

/// A quantile of each pool's past prices as bid.
#[derive(Default)]
pub struct Quantile {
    prices: Past<HourlyRate>,
}

impl Quantile {
    /// The quantile by the nearest rank, at most the cap.
    fn bid(&self, desk: &Desk<'_>, pool: usize) -> Option<HourlyRate> {
        let mut prices: Vec<HourlyRate> = self.prices.of(pool).copied().collect();
        prices.sort_unstable();
        let rank = (prices.len() * QUANTILE).div_ceil(100).checked_sub(1)?;
        Some(*prices.get(rank)?.min(&desk.pools().get(pool)?.on_demand))
    }
}

impl Policy for Quantile {
    fn step(&mut self, desk: &mut Desk<'_>) {
        self.prices.push(desk, desk.prices().to_vec());
        stock::hold_target(desk, |desk, gap| {
            let bids = stock::open_pools(desk, gap).filter_map(|pool| Some(Bid { pool, bid: self.bid(desk, pool)? }));
            let accepted = bids.filter(|Bid { pool, bid }| desk.validate(*pool, *bid).is_ok());
            accepted.min_by_key(|Bid { pool, bid }| match desk.rules().billing {
                Billing::Bid => stock::rate_per_gpu(desk, *pool, *bid),
                Billing::Market => stock::per_gpu(desk, *pool),
            })
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::sim::suite::{
        Peer,
        tests::{check_market, check_target},
    };

    #[test]
    fn the_bid_is_the_quantile_of_what_was_seen_and_no_more() {
        // The last of two prices is the quantile of both.
        check_target(1, Peer::Quantile, "1.00x1", "0.10 0.30 0.20", None, "spot 0 0.10 | spot 0 0.30");
    }

    #[test]
    fn a_price_above_the_quantile_is_not_followed() {
        // Twenty quiet steps and one spike: the nineteenth of twenty-one is quiet too.
        let prices = format!("{} 0.90 0.10", ["0.10"; 20].join(" "));
        let expected = format!("spot 0 0.10{} | od | spot 0 0.10", " | ".repeat(19));
        check_target(1, Peer::Quantile, "1.00x1", &prices, None, &expected);
    }

    #[test]
    fn where_one_pays_the_bid_the_calmer_pool_is_cheaper() {
        let prices = "0.90 0.10 0.10|0.95 0.30 0.30";
        let expected = "spot 0 0.90 | |";
        check_target(1, Peer::Quantile, "1.00x1 1.00x1", prices, None, expected);
        // Pool 0 is cheaper now, but its quantile is higher.
        let prices = "0.90 0.10|0.50 0.40";
        check_target(1, Peer::Quantile, "1.00x1 1.00x1", prices, Some("0 1|0 1"), "od | spot 1 0.50");
        check_market(Peer::Quantile, "1.00x1 1.00x1", prices, Some("0 2|0 2"), "od od | spot 0 0.90 spot 0 0.90");
    }
}
