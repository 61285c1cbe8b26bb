//! What lies between an old policy and its edit.
//!
//! An edit that would tear down too much is held until `apply`. Meanwhile the old policy stays in force, and what is
//! *started* obeys both: [`lower_limits`] gives the lower of the two for each limit on money. What already runs is judged
//! by the old one alone, or holding the edit would be no holding.

use super::{Policy, Terms};
use crate::model::{GpuModel, HourlyRate, Usd};
use std::{collections::BTreeMap, time::Duration};

/// What binds new VMs while an edit is held, beside the policy in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartLimits {
    /// The lower fleet rate.
    pub max_hourly_rate: HourlyRate,
    /// The higher floor.
    pub balance_floor: Usd,
    /// The longer runway.
    pub min_runway: Duration,
    /// The lower price per GPU-hour of each model that either bounds.
    pub max_prices: BTreeMap<GpuModel, HourlyRate>,
}

/// The lower of both policies' limits on money.
pub fn lower_limits(old: &Policy, new: &Policy) -> StartLimits {
    let mut max_prices: BTreeMap<GpuModel, HourlyRate> = BTreeMap::new();
    for terms in old.models.iter().chain(&new.models) {
        if let Some(price) = terms.max_price {
            max_prices.entry(terms.model.clone()).and_modify(|least| *least = price.min(*least)).or_insert(price);
        }
    }
    StartLimits {
        max_hourly_rate: old.max_hourly_rate.min(new.max_hourly_rate),
        balance_floor: old.balance_floor.max(new.balance_floor),
        min_runway: old.min_runway.max(new.min_runway),
        max_prices,
    }
}

/// The keys, or the tables, in which two policies differ, for people.
pub fn changed_keys(old: &Policy, new: &Policy) -> Vec<&'static str> {
    // Destructured, so that a new key cannot be forgotten.
    let Terms {
        fleet,
        target_gpus,
        max_hourly_rate,
        balance_floor,
        min_runway,
        when_low,
        priority,
        mode,
        marketplaces,
        preference,
        models,
        instance,
        hosts,
        spot,
        on_demand,
        disruption,
    } = &old.terms;
    let differs = [
        ("fleet", *fleet != new.fleet),
        ("target_gpus", *target_gpus != new.target_gpus),
        ("max_hourly_rate", *max_hourly_rate != new.max_hourly_rate),
        ("balance_floor", *balance_floor != new.balance_floor),
        ("min_runway", *min_runway != new.min_runway),
        ("when_low", *when_low != new.when_low),
        ("priority", *priority != new.priority),
        ("mode", *mode != new.mode),
        ("marketplaces", *marketplaces != new.marketplaces),
        ("preference", *preference != new.preference),
        ("models", *models != new.models),
        ("instance", *instance != new.instance),
        ("hosts", *hosts != new.hosts),
        ("spot", *spot != new.spot),
        ("on_demand", *on_demand != new.on_demand),
        ("disruption", *disruption != new.disruption),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}
