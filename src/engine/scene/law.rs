//! The law in force as trees: a policy's terms, and the limits over all.
//!
//! A policy is written as what it *says*, and not as the text that it was read from: what a text means may change with the
//! settings, the catalogue and the release, and a decision is recomputed from what it meant then. (The text itself is in
//! the journal.)

use super::tree::{Tree, Unread, records, tagged, unknown, variant, words};
use crate::{
    policy::{
        Policy, StartLimits, Terms,
        terms::{
            BidStrategy, BidTerms, DisruptionTerms, HostTerms, InstanceTerms, Mode, ModelTerms, OnDemandTerms,
            OnDemandUse, Preference, Quantity, Revert, ScaleDown, WhenLow,
        },
    },
    settings::{AccountLimits, BalanceRule, Limits},
};
use serde_json::Value;

words!(Mode, Preference, WhenLow, BidStrategy, OnDemandUse, Revert, ScaleDown, BalanceRule);

records! {
    Terms {
        fleet, target_gpus, max_hourly_rate, balance_floor, min_runway, when_low, priority, mode, marketplaces,
        preference, models, instance, hosts, spot, on_demand, disruption,
    }
    ModelTerms { model, max_price, worth_ppm }
    InstanceTerms {
        gpus, vcpus_per_gpu, ram_gb_per_gpu, storage_gb, image, ssh_key, ports, cloud_init, scale_down, stopped_max_age,
    }
    HostTerms { min_uptime_ppm, countries, deny, max_gpus_per_hostnode, max_share_per_location_ppm }
    BidTerms { bid, margin_ppm, rebid, asks_max }
    OnDemandTerms { usage, after, base_gpus, max_gpus, revert }
    DisruptionTerms { max_unavailable, max_surge, max_scale_down, cooldown_up, cooldown_down }
    StartLimits { max_hourly_rate, balance_floor, min_runway, max_prices, target_gpus }
    Limits { max_hourly_rate, balance_floor, mode, accounts }
    AccountLimits { balance, max_spend_per_day, max_spend_per_month }
}

impl Tree for Policy {
    fn tree(&self) -> Value {
        Terms::tree(self)
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        Terms::read(tree).map(Self::recorded)
    }
}

impl Tree for Quantity {
    fn tree(&self) -> Value {
        match self {
            Self::Count(count) => tagged("count", count.tree()),
            Self::SharePpm(ppm) => tagged("share_ppm", ppm.tree()),
        }
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        match variant(tree)? {
            ("count", count) => u32::read(count).map(Self::Count),
            ("share_ppm", ppm) => u32::read(ppm).map(Self::SharePpm),
            (tag, _) => unknown(tag),
        }
    }
}
