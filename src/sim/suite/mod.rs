//! How others hold a fleet at its target, so that anybody can see where we stand.
//!
//! Each [`Peer`] is a policy over the same desk as ours, written plainly after a paper or a product. None is a copy: the
//! originals have parts that a trace cannot show (grace notices, sizes of their own, learned models). What they decide
//! with is all that a desk shows, and nothing here reads a later step.
//!
//! | file | after |
//! |---|---|
//! | `on_demand` | nobody: what everything else is measured by |
//! | `lowest_price` | EC2 Fleet's `lowest-price` |
//! | `price_capacity` | EC2 Fleet's `price-capacity-optimized` |
//! | `diversified` | EC2 Fleet's `diversified` over its cheapest pools |
//! | `spothedge` | SkyServe's SpotHedge |
//! | `autospotting` | AutoSpotting |
//! | `quantile` | the bidding literature's quantile of past prices |
//!
//! **In common.** A VM that does not fit into what is missing is not launched, spot or on demand. Where the product leaves
//! to its user what happens while no pool takes a VM, the peer falls back to on demand at once and goes back to spot, the
//! replacement first ([`stock`]): the table is to compare the choice of pools and bids, not the want of a fallback. Where
//! the product bids its cap, because one pays the market's price there, it does so here too; but where one pays the bid
//! it bids the price and [`stock::MARGIN_PPM`].

mod autospotting;
mod diversified;
mod lowest_price;
mod on_demand;
mod past;
mod price_capacity;
mod quantile;
mod spothedge;
pub mod stock;

use super::trace::Policy;

labels! {
    /// Somebody else's way to hold a fleet at its target.
    pub enum Peer {
        /// All of it on demand, all the time.
        OnDemand = "on-demand",
        /// The cheapest pool.
        LowestPrice = "lowest-price",
        /// The cheapest pool for how often it had room.
        PriceCapacity = "price-capacity",
        /// Spread over the cheapest pools.
        Diversified = "diversified",
        /// Spread over pools, some more than needed, on demand while spot is not ready.
        SpotHedge = "spothedge",
        /// On demand, then replaced by spot one by one, with the on-demand price as bid.
        AutoSpotting = "autospotting",
        /// A quantile of each pool's past prices as bid.
        Quantile = "quantile",
    }
}

impl Peer {
    /// A policy at the start of its life.
    pub fn policy(self) -> Box<dyn Policy> {
        match self {
            Self::OnDemand => Box::new(on_demand::OnDemand),
            Self::LowestPrice => Box::new(lowest_price::LowestPrice),
            Self::PriceCapacity => Box::<price_capacity::PriceCapacity>::default(),
            Self::Diversified => Box::new(diversified::Diversified),
            Self::SpotHedge => Box::<spothedge::SpotHedge>::default(),
            Self::AutoSpotting => Box::new(autospotting::AutoSpotting),
            Self::Quantile => Box::<quantile::Quantile>::default(),
        }
    }
}

#[cfg(test)]
mod tests;
