//! The operator's levers, as the journal remembers them.
//!
//! A lever stays where it was put: through restarts, until it is put elsewhere or its own end. What a fleet is then to do
//! (CONTRACT, "Target") is decided where plans are made; here is only what was ordered.

use crate::model::{FleetName, MarketplaceName, Timestamp, name::NameError};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

/// What a pause or a resume is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Everything.
    All,
    /// One fleet.
    Fleet(FleetName),
    /// Renting on one marketplace.
    Marketplace(MarketplaceName),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Fleet(fleet) => write!(f, "fleet:{fleet}"),
            Self::Marketplace(marketplace) => write!(f, "marketplace:{marketplace}"),
        }
    }
}

impl FromStr for Scope {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once(':') {
            Some(("fleet", name)) => name.parse().map(Self::Fleet),
            Some(("marketplace", name)) => name.parse().map(Self::Marketplace),
            _ if text == "all" => Ok(Self::All),
            _ => Err(NameError::NotAName(text.chars().take(40).collect())),
        }
    }
}

/// A target the operator set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetLever {
    /// How many GPUs.
    pub gpus: u32,
    /// Until when; `None`: until it is cleared.
    pub until: Option<Timestamp>,
}

/// Where the levers stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levers {
    targets: BTreeMap<FleetName, TargetLever>,
    paused: BTreeSet<Scope>,
    evacuating: BTreeSet<FleetName>,
    applied: BTreeMap<FleetName, String>,
}

impl Levers {
    /// The operator's target, until its end.
    pub fn target(&self, fleet: &FleetName, now: Timestamp) -> Option<TargetLever> {
        self.targets.get(fleet).copied().filter(|target| target.until.is_none_or(|until| now < until))
    }

    /// Whether the operator paused this fleet, by itself or with all.
    pub fn is_paused(&self, fleet: &FleetName) -> bool {
        self.paused.contains(&Scope::All) || self.paused.contains(&Scope::Fleet(fleet.clone()))
    }

    /// Whether the operator paused renting on this marketplace.
    pub fn is_marketplace_paused(&self, marketplace: &MarketplaceName) -> bool {
        self.paused.contains(&Scope::Marketplace(marketplace.clone()))
    }

    /// Whether this fleet is evacuated, until it is resumed.
    pub fn is_evacuating(&self, fleet: &FleetName) -> bool {
        self.evacuating.contains(fleet)
    }

    /// The digest of the edit that the operator let pass last.
    pub fn applied(&self, fleet: &FleetName) -> Option<&str> {
        self.applied.get(fleet).map(String::as_str)
    }

    pub(super) fn set_target(&mut self, fleet: FleetName, target: TargetLever) {
        self.targets.insert(fleet, target);
    }

    pub(super) fn clear_target(&mut self, fleet: &FleetName) {
        self.targets.remove(fleet);
    }

    pub(super) fn pause(&mut self, scope: Scope) {
        self.paused.insert(scope);
    }

    /// Resuming all resumes every fleet; a paused marketplace waits for its own resume.
    pub(super) fn resume(&mut self, scope: &Scope) {
        match scope {
            Scope::All => {
                self.paused.retain(|paused| matches!(paused, Scope::Marketplace(_)));
                self.evacuating.clear();
            }
            Scope::Fleet(fleet) => {
                self.paused.remove(scope);
                self.evacuating.remove(fleet);
            }
            Scope::Marketplace(_) => {
                self.paused.remove(scope);
            }
        }
    }

    pub(super) fn evacuate(&mut self, fleet: FleetName) {
        self.evacuating.insert(fleet);
    }

    pub(super) fn apply(&mut self, fleet: FleetName, digest: String) {
        self.applied.insert(fleet, digest);
    }

    /// What was let pass is in force: the next edit needs a word of its own.
    pub(super) fn forget_applied(&mut self) {
        self.applied.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(name: &str) -> FleetName {
        name.parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_target_ends_at_its_end() {
        let mut levers = Levers::default();
        levers.set_target(fleet("train"), TargetLever { gpus: 4, until: Some(at(10)) });
        assert_eq!(levers.target(&fleet("train"), at(9)).map(|target| target.gpus), Some(4));
        assert_eq!(levers.target(&fleet("train"), at(10)), None);
        levers.set_target(fleet("train"), TargetLever { gpus: 0, until: None });
        assert_eq!(levers.target(&fleet("train"), at(99)).map(|target| target.gpus), Some(0));
        levers.clear_target(&fleet("train"));
        assert_eq!(levers.target(&fleet("train"), at(1)), None);
    }

    #[test]
    fn resuming_all_resumes_every_fleet_and_no_marketplace() {
        let mut levers = Levers::default();
        let market = "tensordock".parse().unwrap();
        for scope in ["all", "fleet:train", "marketplace:tensordock"] {
            levers.pause(scope.parse().unwrap());
        }
        levers.evacuate(fleet("infer"));
        assert!(levers.is_paused(&fleet("other")), "with all");
        levers.resume(&Scope::Fleet(fleet("train")));
        assert!(levers.is_paused(&fleet("train")), "all still are");
        levers.resume(&Scope::All);
        assert!(!levers.is_paused(&fleet("train")) && !levers.is_evacuating(&fleet("infer")));
        assert!(levers.is_marketplace_paused(&market));
        levers.resume(&Scope::Marketplace(market.clone()));
        assert!(!levers.is_marketplace_paused(&market));
    }

    #[test]
    fn a_scope_reads_back() {
        for text in ["all", "fleet:train", "marketplace:tensordock"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for text in ["", "fleet", "fleet:", "host:x", "ALL"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }
}
