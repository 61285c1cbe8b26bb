//! What is in force, by the journal: the text of each policy, and `[limits]`.
//!
//! It reads the texts by itself, from the records that tell of their coming into force, and keeps what they were before.
//! What the daemon plans by may be something else; then that is what is wrong.

use crate::{
    ledger::Record,
    model::FleetName,
    policy::{self, Context, Policy, Source},
    settings::Limits,
};
use std::collections::{BTreeMap, BTreeSet};

/// Something came into force in the place of something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// A policy's text.
    Policy {
        /// Which record tells of it.
        sequence: u64,
        /// What was in force.
        old: Box<Policy>,
        /// What is.
        new: Box<Policy>,
    },
    /// The limits over all fleets.
    Limits {
        /// Which record tells of it.
        sequence: u64,
        /// What was in force.
        old: Box<Limits>,
        /// What is.
        new: Box<Limits>,
        /// The fleets for which the operator let it pass.
        applied: BTreeSet<FleetName>,
    },
}

/// A policy's text, as it came into force.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    /// The file that it stood in.
    pub file: String,
    /// What it means.
    pub policy: Policy,
}

/// What is in force.
#[derive(Debug, Default)]
pub(super) struct Statutes {
    policies: BTreeMap<FleetName, InForce>,
    limits: Option<Limits>,
    /// The fleets for which an edit of the limits may pass.
    applied: BTreeSet<FleetName>,
    edits: Vec<Edit>,
}

impl Statutes {
    /// Whether a file is that of another fleet than it names now: such a text waits until that fleet has no VMs.
    pub(super) fn is_anothers(&self, file: &str, fleet: &FleetName) -> bool {
        self.policies.iter().any(|(name, text)| text.file == file && name != fleet)
    }

    pub(super) fn fold(&mut self, sequence: u64, record: &Record) {
        match record {
            Record::PolicyInForce { fleet, file, digest: _, text, attachments, context } => {
                let source = Source {
                    file: file.clone(),
                    text: text.clone(),
                    attachments: attachments.clone(),
                    unread: BTreeMap::new(),
                };
                let context = Context::from_text(context);
                let Some(policy) = context.and_then(|context| policy::check(&source, &context).policy) else { return };
                let new = InForce { file: file.clone(), policy: policy.clone() };
                if let Some(old) = self.policies.insert(fleet.clone(), new).filter(|old| old.policy != policy) {
                    let (old, new) = (Box::new(old.policy), Box::new(policy));
                    self.edits.push(Edit::Policy { sequence, old, new });
                }
            }
            Record::PolicyGone { fleet } => drop(self.policies.remove(fleet)),
            Record::Applied { fleet, digest: _ } => drop(self.applied.insert(fleet.clone())),
            Record::LimitsInForce { max_hourly_rate, balance_floor, mode, accounts } => {
                let new = Limits {
                    max_hourly_rate: *max_hourly_rate,
                    balance_floor: *balance_floor,
                    mode: *mode,
                    accounts: accounts.clone(),
                };
                let applied = std::mem::take(&mut self.applied);
                if let Some(old) = self.limits.replace(new.clone()).filter(|old| *old != new) {
                    let (old, new) = (Box::new(old), Box::new(new));
                    self.edits.push(Edit::Limits { sequence, old, new, applied });
                }
            }
            _ => {}
        }
    }

    pub(super) fn looked(&mut self) {
        self.edits.clear();
    }

    /// What came into force since the last look, in the place of something else.
    pub(super) fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// A fleet's text.
    pub(super) fn policy(&self, fleet: &FleetName) -> Option<&InForce> {
        self.policies.get(fleet)
    }
}
