//! A situation, written down: all that a plan knew, as one JSON document, from which the very same situation comes back.
//!
//! This is what makes a decision repeatable. [`plan`](crate::plan::plan()) is a pure function of one
//! [`Situation`], so whoever has that value has the decision; a [`Scene`] is that value in a form that can be kept,
//! compared place by place, and read by another process. It is no record of the journal: nothing is ever folded from it,
//! and it may be lost.
//!
//! ```text
//! Situation ── Scene::of ────▶ tree of JSON ── Scene::situation ──▶ the same Situation
//! Plan      ── Outcome::of ──▶ actions, and a digest of each fleet's report
//! ```
//!
//! **Invariant:** nothing is lost. `Scene::of(s).situation() == Ok(s)` for every situation, and a field that this module
//! does not know does not compile.

mod fleet;
mod law;
mod nouns;
mod plan;
mod tree;

pub use tree::Unread;

use crate::plan::{Plan, Situation};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use tree::Tree as _;

/// One situation as a tree of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene(Value);

impl Scene {
    /// Writes a situation down.
    pub fn of(situation: &Situation) -> Self {
        Self(situation.tree())
    }

    /// A tree that was kept. What it says is only known once it is read.
    pub const fn kept(tree: Value) -> Self {
        Self(tree)
    }

    /// The tree.
    pub const fn tree(&self) -> &Value {
        &self.0
    }

    /// The tree, for whoever changes it.
    pub fn into_tree(self) -> Value {
        self.0
    }

    /// The situation that was written down.
    ///
    /// # Errors
    /// When the tree is of another release, or was tampered with.
    pub fn situation(&self) -> Result<Situation, Unread> {
        Situation::read(&self.0)
    }
}

/// What a planner made of a situation: its actions in full, and of each fleet's report a digest. (A report lists every
/// offer; kept in full it would be most of a recording, and it follows from the situation.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The actions, in order.
    pub actions: Vec<Value>,
    /// SHA-256 in hex of each fleet's report in its canonical encoding.
    pub reports: BTreeMap<String, String>,
}

impl Outcome {
    /// Writes down what was planned.
    pub fn of(planned: &Plan) -> Self {
        let Plan { actions, report } = planned;
        let digests = report.iter().map(|(fleet, report)| (fleet.to_string(), digest(&plan::report(report))));
        Self { actions: actions.iter().map(plan::action).collect(), reports: digests.collect() }
    }

    /// The first place where another outcome differs from this recorded one, one line for people; `None`: there is none.
    pub fn difference(&self, now: &Self) -> Option<String> {
        let Self { actions, reports } = self;
        let places = actions.len().max(now.actions.len());
        let told = |action: Option<&Value>| action.map_or_else(|| "nothing".to_owned(), Value::to_string);
        for place in 0..places {
            let (then, now) = (actions.get(place), now.actions.get(place));
            if then != now {
                return Some(format!("action {}: recorded {}, recomputed {}", place + 1, told(then), told(now)));
            }
        }
        let fleets = reports.keys().chain(now.reports.keys());
        let mut different = fleets.filter(|fleet| reports.get(*fleet) != now.reports.get(*fleet));
        different.next().map(|fleet| format!("the actions are the same, and the report of {fleet} is another"))
    }
}

/// SHA-256 in hex of a tree's canonical text: its keys are in order.
fn digest(tree: &Value) -> String {
    Sha256::digest(tree.to_string().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::sample,
        ledger::fleet::Reserved,
        model::{
            InstanceStatus, Shape, Timestamp,
            offer::{Bounds, Lot, Ports, Rates, Restriction, Sizes, Sold, SpotTerms, Supply},
        },
        plan,
    };
    use proptest::prelude::*;

    #[track_caller]
    fn check(situation: &Situation) {
        let text = Scene::of(situation).tree().to_string();
        let tree: Value = serde_json::from_str(&text).unwrap();
        let read = Scene::kept(tree).situation();
        assert_eq!(read.as_ref(), Ok(situation));
        let read = read.unwrap();
        assert_eq!(Scene::of(&read).tree().to_string(), text, "equal situations have one spelling");
        assert_eq!(Outcome::of(&plan::plan(&read)), Outcome::of(&plan::plan(situation)));
    }

    fn sampled() -> Situation {
        sample::status().situation.unwrap().into_value()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn every_situation_comes_back_the_same(situation in plan::tests::situations()) {
            check(&situation);
        }
    }

    #[test]
    fn what_the_towns_do_not_have_comes_back_too() {
        let mut situation = sampled();
        let shape: Shape =
            situation.fleets.values().next().unwrap().fleet.members.values().next().unwrap().shape.clone();
        let (bounds, at) = (Bounds { min: 1, max: 9 }, Timestamp::MAX);
        let rates = Rates { compute: "0.5".parse().unwrap(), storage: "0.000001".parse().unwrap() };
        let market = situation.markets.values_mut().next().unwrap();
        let host = market.hostnodes[0].clone();
        for (place, sizes) in [Sizes::Said, Sizes::Unsaid].into_iter().enumerate() {
            let (id, sold) = (format!("lot {place}"), Sold::ALL[place]);
            let lot = Lot { id, shape: shape.clone(), sizes, rates, sold };
            let mut host = host.clone();
            host.supply = Supply::Lots(vec![lot]);
            host.spot = [SpotTerms::ListedPerGpu(rates.compute), SpotTerms::None][place];
            host.ports = [Ports::Unlisted, Ports::GivenForSsh][place].clone();
            (host.available_until, host.uptime_ppm) = (Some(at), None);
            market.hostnodes.push(host);
        }
        if let Supply::Resources(resources) = &mut market.hostnodes[0].supply {
            let restriction = Restriction { vcpus: bounds, ram_gb: bounds, storage_gb: bounds };
            resources.restrictions.insert(3, restriction);
        }
        market.unanswered.insert(host.id);
        let (account, marketplace) = (market.account.clone(), situation.markets.keys().next().unwrap().clone());
        let state = situation.fleets.values_mut().next().unwrap();
        let name: crate::model::VmName = "spotscale/odd name-1".parse().unwrap();
        let rate = rates.compute;
        state.fleet.reserved.push(Reserved {
            name,
            account,
            marketplace,
            rate,
            intended_at: at,
            until: Timestamp::MIN,
        });
        state.missing.note(3, 1, at);
        for member in state.fleet.members.values_mut() {
            member.attempts.stop = Some(at);
            member.ports.insert(20_022, 22);
        }
        let stray = InstanceStatus::Unknown("quarantined".into());
        state.fleet.strays.iter_mut().for_each(|found| found.instance.status = stray.clone());
        check(&situation);
    }

    #[test]
    fn the_first_difference_is_told() {
        let situation = sampled();
        let outcome = Outcome::of(&plan::plan(&situation));
        assert_eq!(outcome.difference(&outcome), None);
        let mut dearer = situation.clone();
        let fleet = dearer.fleets.keys().next().unwrap().clone();
        dearer.fleets.get_mut(&fleet).unwrap().policy_broken = true;
        dearer.limits.max_hourly_rate = Some("0.01".parse().unwrap());
        let told = outcome.difference(&Outcome::of(&plan::plan(&dearer))).unwrap();
        assert!(told.contains("recorded") || told.contains("report of"), "{told}");
        let more = Outcome { actions: vec![Value::from("x")], ..outcome.clone() };
        let less = Outcome { actions: vec![], ..outcome };
        assert_eq!(more.difference(&less).unwrap(), "action 1: recorded \"x\", recomputed nothing");
    }

    #[test]
    fn a_scene_of_another_release_is_refused_with_its_place() {
        let mut tree = Scene::of(&sampled()).tree().clone();
        let market = tree["markets"].as_object().unwrap().keys().next().unwrap().clone();
        tree["markets"][&market]["ability"] = Value::from("telepathy");
        let told = Scene::kept(tree).situation().unwrap_err().to_string();
        assert_eq!(told, format!("markets.{market}.ability: `telepathy` is not known here"));
    }
}
