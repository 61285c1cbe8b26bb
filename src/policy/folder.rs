//! A whole folder of policies: each checked alone, and no fleet twice.

use super::{
    check::{Checked, Context, finish},
    raw::Raw,
    source::{Source, read_raw},
};
use crate::model::FleetName;
use std::collections::BTreeMap;

/// Checks all policies together, in the given order. Two files that name the same fleet are a fault of both, whatever
/// else is wrong with them: nobody can tell which is meant.
pub fn check_folder(sources: &[Source], context: &Context) -> Vec<Checked> {
    let mut read: Vec<_> = sources.iter().map(read_raw).collect();
    let mut homes: BTreeMap<FleetName, Vec<usize>> = BTreeMap::new();
    for (index, (raw, _)) in read.iter().enumerate() {
        if let Some(fleet) = &raw.fleet {
            homes.entry(fleet.value.clone()).or_default().push(index);
        }
    }
    let place = |(raw, _): &(Raw, _)| raw.fleet.as_ref().map(|fleet| fleet.place.to_string()).unwrap_or_default();
    let places: Vec<String> = read.iter().map(place).collect();
    for homes in homes.values().filter(|homes| homes.len() > 1) {
        for home in homes {
            let others: Vec<&str> = homes
                .iter()
                .filter(|other| *other != home)
                .filter_map(|other| places.get(*other))
                .map(String::as_str)
                .collect();
            let Some((raw, findings)) = read.get_mut(*home) else { continue };
            if let Some(fleet) = &raw.fleet {
                let fact = format!("is also the fleet of {}", others.join(" and "));
                findings.fault(
                    fleet,
                    fact,
                    "nobody can tell which policy is meant",
                    "rename one fleet or remove one file",
                );
            }
        }
    }
    sources.iter().zip(read).map(|(source, (raw, findings))| finish(source, context, &raw, findings)).collect()
}
