//! What lies between an old policy and its edit.
//!
//! An edit that would tear down too much is held until `apply`. Meanwhile the old policy stays in force, and what is
//! *started* obeys both: [`lower_limits`] gives the lower of the two for each limit on money. What already runs is judged
//! by the old one alone, or holding the edit would be no holding.

use super::{Policy, Terms, terms::Mode};
use crate::model::{GpuModel, HourlyRate, Usd};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

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
    /// The lower target.
    pub target_gpus: u32,
}

/// The lower of both policies' limits on money, and of their targets.
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
        target_gpus: old.target_gpus.min(new.target_gpus),
    }
}

impl Policy {
    /// The same, as if it acted: what it would do the day on which it does more than watch.
    pub fn acting(&self) -> Self {
        let mut terms = Arc::clone(&self.terms);
        Arc::make_mut(&mut terms).mode = Mode::Act;
        Self { terms }
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
    } = &**old;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::catalogue;
    use crate::policy::{Context, InstanceDefaults, check, gather};

    fn policy(text: &str) -> Policy {
        let context = Context {
            instance_prefix: "spotscale".into(),
            default_ssh_key: None,
            instance_defaults: InstanceDefaults::default(),
            marketplaces: BTreeMap::new(),
            vocabularies: BTreeMap::new(),
            catalogue_edition: catalogue::EDITION,
        };
        check(&gather("f", &format!("fleet = \"train\"\n{text}"), &mut |_| Err("none".into())), &context)
            .policy
            .unwrap()
    }

    #[test]
    fn the_lower_of_both_limits_binds_what_is_started() {
        let old = policy(
            "target_gpus = 8\nmax_hourly_rate = 6\nbalance_floor = 50\n\
             models = [{ name = \"a\", max_price = 2 }, { name = \"b\" }, { name = \"c\", max_price = 1 }]",
        );
        let new = policy(
            "target_gpus = 2\nmax_hourly_rate = 9\nbalance_floor = 60\nmin_runway = \"30m\"\n\
             models = [{ name = \"a\", max_price = 3 }, { name = \"b\", max_price = 0.5 }]",
        );
        let limits = lower_limits(&old, &new);
        assert_eq!(limits.max_hourly_rate, "6".parse().unwrap());
        assert_eq!(limits.balance_floor, "60".parse().unwrap());
        assert_eq!(limits.min_runway, Duration::from_secs(3_600));
        assert_eq!(limits.target_gpus, 2);
        let prices: Vec<_> = limits.max_prices.iter().map(|(model, price)| format!("{model} {price}")).collect();
        assert_eq!(prices, ["a 2.00", "b 0.50", "c 1.00"]);
        assert_eq!(
            changed_keys(&old, &new),
            ["target_gpus", "max_hourly_rate", "balance_floor", "min_runway", "models"]
        );
        assert_eq!(changed_keys(&old, &old), Vec::<&str>::new());
    }
}
