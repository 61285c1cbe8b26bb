//! One look at the world.
//!
//! Each part is dated, and what is missing says so. **Invariant:** absence is not zero. A list that failed, that dropped
//! something it could not read, or that was not taken at all is a different value from an empty one, and nothing above
//! may treat it as one.

use super::{
    AccountName, Hostnode, HostnodeId, HourlyRate, Instance, InstanceId, MarketplaceName, Refusal, Shared, Timestamp,
    Usd, offer::Quote,
};
use std::collections::BTreeMap;

/// Something read, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dated<T> {
    /// When the answer arrived.
    pub at: Timestamp,
    /// What it said.
    pub value: T,
}

/// What is known of one part of the world: the last good answer, and whether the newest attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading<T> {
    /// The newest answer that could be read.
    pub last: Option<Dated<T>>,
    /// The newest attempt, where it failed.
    pub failed: Option<Dated<Refusal>>,
}

impl<T> Reading<T> {
    /// Nothing was asked yet.
    pub const fn never() -> Self {
        Self { last: None, failed: None }
    }

    /// A good answer.
    pub const fn taken(at: Timestamp, value: T) -> Self {
        Self { last: Some(Dated { at, value }), failed: None }
    }

    /// The newest answer, only if the newest attempt gave it.
    pub fn current(&self) -> Option<&Dated<T>> {
        if self.failed.is_some() { None } else { self.last.as_ref() }
    }

    /// Folds a newer attempt in: a failure keeps the last good answer.
    pub fn fold(&mut self, at: Timestamp, attempt: Result<T, Refusal>) {
        match attempt {
            Ok(value) => *self = Self::taken(at, value),
            Err(refusal) => self.failed = Some(Dated { at, value: refusal }),
        }
    }
}

/// Something in a list that could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The id or place in the list.
    pub what: String,
    /// What was wrong with it.
    pub why: String,
}

/// No list names more that it dropped: whoever reads them has seen enough, and the list is not complete anyhow.
pub const DROPPED_MAX: usize = 1_000;

impl Dropped {
    /// Names one more thing, up to [`DROPPED_MAX`].
    pub fn name(what: impl Into<String>, why: impl Into<String>, dropped: &mut Vec<Self>) {
        if dropped.len() < DROPPED_MAX {
            dropped.push(Self { what: what.into(), why: why.into() });
        }
    }
}

/// A list as read: what was understood and what was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan<T> {
    /// What was understood.
    pub items: Shared<Vec<T>>,
    /// What was not.
    pub dropped: Vec<Dropped>,
}

impl<T> Default for Scan<T> {
    fn default() -> Self {
        Self { items: Shared::default(), dropped: Vec::new() }
    }
}

/// The answer to asking for one thing by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// It is there.
    Here(T),
    /// The marketplace says that there is no such thing.
    Gone,
}

/// What an account holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// What is left.
    pub amount: Usd,
    /// What the vendor says the whole account costs per hour, where it says.
    pub hourly_cost: Option<HourlyRate>,
}

/// What one marketplace showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketView {
    /// Who pays there.
    pub account: AccountName,
    /// The machines.
    pub hostnodes: Reading<Scan<Hostnode>>,
    /// All VMs of the account, ours and others'.
    pub instances: Reading<Scan<Instance>>,
    /// Whether an instance can be asked for by id at all; where not, only repeated lists prove that it is gone.
    pub answers_by_id: bool,
    /// Instances asked for by id since the last list, because it lacked them.
    pub lookups: BTreeMap<InstanceId, Reading<Lookup<Instance>>>,
    /// VMs of the newest list as they were told when they were last asked for, where the list tells too little of them.
    pub details: BTreeMap<InstanceId, Dated<Instance>>,
    /// Bids asked about, newest last.
    pub quotes: Vec<Quote>,
    /// Machines asked about one by one since they were listed, because the list leaves out which ports are free.
    pub machines: BTreeMap<HostnodeId, Dated<Lookup<Hostnode>>>,
}

impl MarketView {
    /// Whether the newest attempt at one of its lists failed.
    pub const fn is_failing(&self) -> bool {
        self.instances.failed.is_some() || self.hostnodes.failed.is_some()
    }
}

/// One look at the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// When the look was finished.
    pub at: Timestamp,
    /// By marketplace; one that is configured is always here.
    pub markets: BTreeMap<MarketplaceName, MarketView>,
    /// By account.
    pub balances: BTreeMap<AccountName, Reading<Balance>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_named_up_to_the_bound() {
        let mut dropped = Vec::new();
        (0..DROPPED_MAX + 5).for_each(|place| Dropped::name(format!("#{place}"), "it has no id", &mut dropped));
        assert_eq!((dropped.len(), dropped[DROPPED_MAX - 1].what.as_str()), (DROPPED_MAX, "#999"));
    }

    #[test]
    fn a_failed_attempt_keeps_the_last_answer_but_is_not_current() {
        let mut reading = Reading::taken(Timestamp::UNIX_EPOCH, 7);
        assert_eq!(reading.current().map(|dated| dated.value), Some(7));
        reading.fold(Timestamp::MAX, Err(Refusal::Unreachable("timed out".into())));
        assert_eq!(reading.current(), None);
        assert_eq!(reading.last.map(|dated| dated.value), Some(7));
    }
}
