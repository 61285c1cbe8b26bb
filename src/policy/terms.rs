//! What a policy can say, as values. Every share is in parts per million, so that no decision rests on binary floating
//! point; every default stands in `raw.rs`, beside the key it belongs to.

use crate::model::{FleetName, GpuModel, HostnodeId, HourlyRate, MarketplaceName, Usd, offer::Bounds};
use std::time::Duration;

/// One million: a whole, in parts per million.
pub const PPM: u64 = 1_000_000;

labels! {
    /// Whether anything may be changed.
    pub enum Mode {
        /// Plan and record, change nothing.
        Observe = "observe",
        /// Act.
        Act = "act",
    }
}

labels! {
    /// What orders the models.
    pub enum Preference {
        /// Earlier models first.
        Strict = "strict",
        /// Cheapest per unit of worth.
        Value = "value",
    }
}

labels! {
    /// What happens when the account runs low.
    pub enum WhenLow {
        /// At the floor start nothing; shed only when the account would be empty within `min_runway`.
        Hold = "hold",
        /// Never shed.
        Never = "never",
    }
}

labels! {
    /// How a bid is found.
    pub enum BidStrategy {
        /// As `market`, for now.
        Adaptive = "adaptive",
        /// The least accepted, plus margin.
        Market = "market",
        /// The most we would pay.
        Cap = "cap",
    }
}

labels! {
    /// When VMs are rented on demand.
    pub enum OnDemandUse {
        /// Spot only.
        Never = "never",
        /// Spot first.
        Fallback = "fallback",
        /// No bids.
        Always = "always",
    }
}

labels! {
    /// When a VM rented on demand as a fallback is given back for a spot one.
    pub enum Revert {
        /// As soon as one can be had, replacement first.
        WhenAvailable = "when-available",
        /// Never.
        Never = "never",
    }
}

labels! {
    /// How a fleet shrinks.
    pub enum ScaleDown {
        /// Delete.
        Delete = "delete",
        /// Give the GPU back and keep the disk.
        Stop = "stop",
    }
}

/// A count, or a share of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// So many.
    Count(u32),
    /// This share, in parts per million, rounded up.
    SharePpm(u32),
}

impl Quantity {
    /// In whole units of `whole`.
    pub fn of(self, whole: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::SharePpm(ppm) => {
                let units = (u64::from(whole) * u64::from(ppm)).div_ceil(PPM);
                u32::try_from(units).unwrap_or(u32::MAX)
            }
        }
    }
}

/// One acceptable model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelTerms {
    /// Which.
    pub model: GpuModel,
    /// USD per GPU-hour, all in (storage too), spot and on demand alike.
    pub max_price: Option<HourlyRate>,
    /// Useful work per GPU-hour, in millionths of the reader's unit; above 0.
    pub worth_ppm: u64,
}

/// The shape of one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceTerms {
    /// GPUs per VM; `min` is at least 1.
    pub gpus: Bounds,
    /// Virtual CPUs for each GPU.
    pub vcpus_per_gpu: u32,
    /// Memory for each GPU, in GB.
    pub ram_gb_per_gpu: u32,
    /// Disk of the whole VM, in GB.
    pub storage_gb: u32,
    /// Operating system, as the marketplace names it.
    pub image: String,
    /// OpenSSH public key, the text itself.
    pub ssh_key: Option<String>,
    /// Inside ports to forward.
    pub ports: Vec<u16>,
    /// cloud-init, the text itself.
    pub cloud_init: Option<String>,
    /// How the fleet shrinks.
    pub scale_down: ScaleDown,
    /// How long a stopped VM is kept.
    pub stopped_max_age: Duration,
}

/// Which hostnodes will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTerms {
    /// 0: any. An unknown uptime fails any other.
    pub min_uptime_ppm: u32,
    /// `None`: any.
    pub countries: Option<Vec<String>>,
    /// Never these.
    pub deny: Vec<HostnodeId>,
    /// Of this fleet, on one hostnode.
    pub max_gpus_per_hostnode: Option<u32>,
    /// Of the target, in one place; never less than one VM of the smallest size.
    pub max_share_per_location_ppm: Option<u32>,
}

/// How bids are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BidTerms {
    /// How a bid is found.
    pub bid: BidStrategy,
    /// On top of the least accepted bid, in millionths of it; never past the cap.
    pub margin_ppm: u64,
    /// Raise an outbid VM's bid within the cap before replacing it.
    pub rebid: bool,
    /// Bids asked per offer while searching its least accepted one; at least 1.
    pub asks_max: u32,
}

/// When VMs are rented on demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnDemandTerms {
    /// When at all.
    pub usage: OnDemandUse,
    /// GPUs must have been missing this long before a fallback.
    pub after: Duration,
    /// Of the target, always on demand.
    pub base_gpus: u32,
    /// At most so many on demand; `None`: the target.
    pub max_gpus: Option<u32>,
    /// When a fallback is given back.
    pub revert: Revert,
}

/// How much we may disturb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisruptionTerms {
    /// GPUs, of the target, that our own doing may make unavailable at one time.
    pub max_unavailable: Quantity,
    /// VMs beyond the target while a replacement stands beside what it replaces.
    pub max_surge: Quantity,
    /// An edit that would tear down more GPUs of the target than this (and more than one VM) is held until `apply`.
    pub max_scale_down: Quantity,
    /// Per hostnode after a failed deploy; doubles.
    pub cooldown_up: Duration,
    /// Between scale-downs by price or target.
    pub cooldown_down: Duration,
}

/// All that a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whose policy.
    pub fleet: FleetName,
    /// GPUs wanted.
    pub target_gpus: u32,
    /// For the whole fleet.
    pub max_hourly_rate: HourlyRate,
    /// The account keeps this.
    pub balance_floor: Usd,
    /// Start nothing that leaves the account less than this above its floor.
    pub min_runway: Duration,
    /// What happens at the floor.
    pub when_low: WhenLow,
    /// Higher keeps its share when money is short.
    pub priority: i64,
    /// Whether anything may be changed.
    pub mode: Mode,
    /// `None`: all that are configured.
    pub marketplaces: Option<Vec<MarketplaceName>>,
    /// What orders the models.
    pub preference: Preference,
    /// At least one, no model twice, first is best.
    pub models: Vec<ModelTerms>,
    /// The shape of one VM.
    pub instance: InstanceTerms,
    /// Which hostnodes will do.
    pub hosts: HostTerms,
    /// How bids are made.
    pub spot: BidTerms,
    /// When VMs are rented on demand.
    pub on_demand: OnDemandTerms,
    /// How much we may disturb.
    pub disruption: DisruptionTerms,
}

impl Terms {
    /// The terms and rank (0 is best) of a model.
    pub fn model(&self, model: &GpuModel) -> Option<(usize, &ModelTerms)> {
        self.models.iter().enumerate().find(|(_, terms)| terms.model == *model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_rounds_up() {
        assert_eq!(Quantity::SharePpm(250_000).of(8), 2);
        assert_eq!(Quantity::SharePpm(250_000).of(9), 3);
        assert_eq!(Quantity::Count(1).of(9), 1);
    }
}
