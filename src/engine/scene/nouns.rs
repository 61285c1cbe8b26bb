//! The nouns of the market as trees.

use super::tree::{Tree, Unread, field, object, records, tagged, unknown, variant, words};
use crate::{
    market,
    model::{
        AccountName, Balance, FleetName, GpuModel, Hostnode, HostnodeId, Instance, InstanceId, InstanceStatus,
        MarketplaceName, PriceType, Shape, VmName,
        inventory::Dated,
        name::Namer,
        offer::{
            Bid, BidAnswer, Bounds, Location, Lot, Offer, Ports, PriceRule, Quote, Rates, Resources, Restriction,
            Sizes, Sold, SpotTerms, Stock, Supply,
        },
        reason::{Blocked, Rejected, Teardown},
        wish::Ability,
    },
};
use serde_json::Value;

words!(
    AccountName,
    FleetName,
    MarketplaceName,
    HostnodeId,
    InstanceId,
    VmName,
    GpuModel,
    PriceType,
    BidAnswer,
    Sold,
    Teardown,
    Blocked,
    Rejected
);

records! {
    Namer { prefix, epoch, next_sequence }
    Shape { gpu_model, gpus, vcpus, ram_gb, storage_gb }
    Rates { compute, storage }
    Stock { free, price }
    Bounds { min, max }
    Restriction { vcpus, ram_gb, storage_gb }
    PriceRule { term_step_micros, size_step, storage_gb_min }
    Resources { gpus, vcpus, ram_gb, storage_gb, restrictions, rule }
    Lot { id, shape, sizes, rates, sold }
    Location { country, region, city }
    Hostnode { id, location, uptime_ppm, online, supply, spot, ports, available_until }
    Offer { marketplace, hostnode, shape, on_demand, spot, uptime_ppm, location, available_until }
    Bid { hostnode, shape, price }
    Quote { at, bid, answer }
    Balance { amount, hourly_cost }
    Instance {
        id, name, status, hostnode, gpu_model, gpus, price_type, quoted, address, ports, created_at, available_until,
    }
}

impl<T: Tree> Tree for Dated<T> {
    fn tree(&self) -> Value {
        let Self { at, value } = self;
        object([("at", at.tree()), ("value", value.tree())])
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        Ok(Self { at: field(tree, "at")?, value: field(tree, "value")? })
    }
}

impl Tree for Sizes {
    fn tree(&self) -> Value {
        Value::from(match self {
            Self::Said => "said",
            Self::Unsaid => "unsaid",
        })
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        match variant(tree)? {
            ("said", _) => Ok(Self::Said),
            ("unsaid", _) => Ok(Self::Unsaid),
            (tag, _) => unknown(tag),
        }
    }
}

impl Tree for Supply {
    fn tree(&self) -> Value {
        match self {
            Self::Resources(resources) => tagged("resources", resources.tree()),
            Self::Lots(lots) => tagged("lots", lots.tree()),
        }
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        match variant(tree)? {
            ("resources", resources) => Resources::read(resources).map(Self::Resources),
            ("lots", lots) => Vec::read(lots).map(Self::Lots),
            (tag, _) => unknown(tag),
        }
    }
}

impl Tree for SpotTerms {
    fn tree(&self) -> Value {
        match self {
            Self::None => Value::from("none"),
            Self::Asked => Value::from("asked"),
            Self::ListedPerGpu(rate) => tagged("listed_per_gpu", rate.tree()),
        }
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        match variant(tree)? {
            ("none", _) => Ok(Self::None),
            ("asked", _) => Ok(Self::Asked),
            ("listed_per_gpu", rate) => Tree::read(rate).map(Self::ListedPerGpu),
            (tag, _) => unknown(tag),
        }
    }
}

impl Tree for Ports {
    fn tree(&self) -> Value {
        match self {
            Self::Free(ports) => tagged("free", Value::from(runs(ports))),
            Self::Unlisted => Value::from("unlisted"),
            Self::GivenForSsh => Value::from("given_for_ssh"),
        }
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        match variant(tree)? {
            ("free", ports) => of_runs(&String::read(ports)?).map(Self::Free),
            ("unlisted", _) => Ok(Self::Unlisted),
            ("given_for_ssh", _) => Ok(Self::GivenForSsh),
            (tag, _) => unknown(tag),
        }
    }
}

/// Ports as runs that count up or down, in the order in which they are listed: `20000-20063 20100`. Lists have hundreds.
fn runs(ports: &[u16]) -> String {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        let goes_on = |(first, last): (u16, u16)| {
            let up = first <= last && last.checked_add(1) == Some(*port);
            up || (first >= last && port.checked_add(1) == Some(last))
        };
        match runs.last_mut() {
            Some(run) if goes_on(*run) => run.1 = *port,
            Some(_) | None => runs.push((*port, *port)),
        }
    }
    let run = |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    runs.iter().map(run).collect::<Vec<_>>().join(" ")
}

fn of_runs(text: &str) -> Result<Vec<u16>, Unread> {
    let mut ports = Vec::new();
    for run in text.split_whitespace() {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        let port = |text: &str| text.parse::<u16>().map_err(|_| Unread::because(format!("`{run}` are no ports")));
        let (first, last) = (port(first)?, port(last)?);
        if first <= last {
            ports.extend(first..=last);
        } else {
            ports.extend((last..=first).rev());
        }
    }
    Ok(ports)
}

impl Tree for InstanceStatus {
    fn tree(&self) -> Value {
        Value::from(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::StoppedKept => "stopped_kept",
            Self::StoppedReleased => "stopped_released",
            Self::Outbid => "outbid",
            Self::Leaving => "leaving",
            Self::Unknown(word) => return tagged("unknown", word.tree()),
        })
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        match variant(tree)? {
            ("starting", _) => Ok(Self::Starting),
            ("running", _) => Ok(Self::Running),
            ("stopped_kept", _) => Ok(Self::StoppedKept),
            ("stopped_released", _) => Ok(Self::StoppedReleased),
            ("outbid", _) => Ok(Self::Outbid),
            ("leaving", _) => Ok(Self::Leaving),
            ("unknown", word) => String::read(word).map(Self::Unknown),
            (tag, _) => unknown(tag),
        }
    }
}

/// A function has no text: it is known by its word, and found again by it.
impl Tree for Ability {
    fn tree(&self) -> Value {
        Value::from(self.word())
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        let word = String::read(tree)?;
        market::ability(&word).map_or_else(|| unknown(&word), Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Api;
    use proptest::prelude::*;

    #[test]
    fn every_apis_ability_is_found_by_its_word() {
        for api in Api::ALL {
            let ability = market::dialect(*api, None, secrecy::SecretString::default()).ability();
            assert_eq!(Ability::read(&ability.tree()), Ok(ability), "{api}");
        }
    }

    #[test]
    fn ports_are_written_as_runs() {
        assert_eq!(runs(&[]), "");
        assert_eq!(runs(&[1, 2, 3, 9, 8, 7, 8, 65_535, 0]), "1-3 9-7 8 65535 0");
        assert_eq!(of_runs("7-x").unwrap_err().why, "`7-x` are no ports");
    }

    proptest! {
        #[test]
        fn ports_read_back_in_the_order_in_which_they_were_listed(ports: Vec<u16>, first in 0u16..60_000, count in 0u16..900) {
            let up_and_down = (first..first + count).chain((first..first + count).rev());
            let ports: Vec<u16> = ports.into_iter().chain(up_and_down).collect();
            prop_assert_eq!(of_runs(&runs(&ports)), Ok(ports));
        }
    }
}
