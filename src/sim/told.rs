//! What whoever asked a market was told, as far as it must be known to judge what he does then.
//!
//! `super::memories` keeps answers in order to show them again; here is kept what they said: which VMs a list showed, which
//! bids were accepted, and what only came about after nobody waited for it any more. [`super::check`] judges by it, and not by
//! what the daemon says that it was told.

use super::faults::Fault;
use crate::{
    model::{InstanceId, Timestamp, offer::Bid},
    settings::{Api, Vendor},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// So many attempts at a list are remembered.
const LISTINGS_KEPT: usize = 64;
/// So many bids that were accepted are remembered.
const ACCEPTED_KEPT: usize = 256;

/// What whoever asked for the list of VMs was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing that could be read.
    Nothing,
    /// That there are these.
    These(BTreeSet<InstanceId>),
    /// Something, if it did not come too late; or what was so once.
    Perhaps,
}

/// An attempt to list the VMs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// In which API: what one cannot be asked another may show, and each marketplace speaks one.
    pub api: Api,
    /// When.
    pub at: Timestamp,
    /// What came of it.
    pub told: Told,
}

/// A bid that was asked about and accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// When.
    pub at: Timestamp,
    /// Which.
    pub bid: Bid,
}

/// What one call brought to light behind the [`super::veil`].
#[derive(Clone, Debug, Default)]
pub(super) struct Noted {
    /// The VMs that were shown, if they were listed.
    pub listed: Option<BTreeSet<InstanceId>>,
    /// The bid that was asked about and accepted.
    pub accepted: Option<Bid>,
    /// VMs that were made.
    pub made: BTreeSet<InstanceId>,
}

impl Told {
    fn of(fault: Fault, shown: Option<BTreeSet<InstanceId>>) -> Self {
        match fault {
            Fault::None
            | Fault::EmptyList
            | Fault::PartialList
            | Fault::OtherWords
            | Fault::LateVm(_)
            | Fault::Refused => shown.map_or(Self::Nothing, Self::These),
            Fault::Slow(_) | Fault::StaleList(_) => Self::Perhaps,
            Fault::LostRequest
            | Fault::LostAnswer
            | Fault::CutAnswer
            | Fault::ServerError(_)
            | Fault::Html(_)
            | Fault::HalfJson
            | Fault::LateEffect(_)
            | Fault::Garbage(_)
            | Fault::BadGateway
            | Fault::Hang(_)
            | Fault::Throttled => Self::Nothing,
        }
    }
}

/// What one vendor's market said, the newest last.
#[derive(Clone, Debug, Default)]
struct Answered {
    lists: VecDeque<Arc<Listing>>,
    machines: VecDeque<(Api, Timestamp)>,
    accepted: VecDeque<Arc<Accepted>>,
    came_late: Arc<BTreeSet<InstanceId>>,
}

/// What was answered, by vendor: ids are unique only within one.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers(BTreeMap<Vendor, Answered>);

fn keep<T>(queue: &mut VecDeque<T>, one: T, most: usize) {
    if queue.len() >= most {
        queue.pop_front();
    }
    queue.push_back(one);
}

impl Answers {
    /// Somebody asked for the list of VMs, and this befell the answer.
    pub fn listed(&mut self, api: Api, at: Timestamp, fault: Fault, shown: Option<BTreeSet<InstanceId>>) {
        let listing = Arc::new(Listing { api, at, told: Told::of(fault, shown) });
        keep(&mut self.0.entry(api.vendor()).or_default().lists, listing, LISTINGS_KEPT);
    }

    /// Somebody asked for the machines, and this befell the answer.
    pub fn machines_listed(&mut self, api: Api, at: Timestamp, fault: Fault) {
        if Told::of(fault, Some(BTreeSet::new())) != Told::Nothing {
            keep(&mut self.0.entry(api.vendor()).or_default().machines, (api, at), LISTINGS_KEPT);
        }
    }

    /// Somebody asked about a bid, and it was accepted.
    pub fn accepted(&mut self, vendor: Vendor, at: Timestamp, bid: Bid) {
        keep(&mut self.0.entry(vendor).or_default().accepted, Arc::new(Accepted { at, bid }), ACCEPTED_KEPT);
    }

    /// These were made by a request that nobody waited for any more.
    pub fn came_late(&mut self, vendor: Vendor, made: BTreeSet<InstanceId>) {
        if !made.is_empty() {
            Arc::make_mut(&mut self.0.entry(vendor).or_default().came_late).extend(made);
        }
    }

    /// The newest attempts to list a vendor's VMs, in order.
    pub fn lists(&self, vendor: Vendor) -> Vec<Arc<Listing>> {
        self.0.get(&vendor).iter().flat_map(|answered| answered.lists.iter().cloned()).collect()
    }

    /// When a vendor's machines were listed so that it could be read, and in which API, in order.
    pub fn machines(&self, vendor: Vendor) -> Vec<(Api, Timestamp)> {
        self.0.get(&vendor).iter().flat_map(|answered| answered.machines.iter().copied()).collect()
    }

    /// The newest bids that a vendor was asked about and accepted, in order.
    pub fn bids(&self, vendor: Vendor) -> Vec<Arc<Accepted>> {
        self.0.get(&vendor).iter().flat_map(|answered| answered.accepted.iter().cloned()).collect()
    }

    /// VMs that were made by requests that nobody waited for any more.
    pub fn late(&self, vendor: Vendor) -> Arc<BTreeSet<InstanceId>> {
        self.0.get(&vendor).map(|answered| Arc::clone(&answered.came_late)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::faults::Effected;
    use std::time::Duration;

    #[test]
    fn a_list_that_was_read_says_what_it_showed_one_that_was_not_says_nothing_and_an_old_one_may_say_anything() {
        let shown: BTreeSet<InstanceId> = ["a".parse().unwrap()].into();
        let told = |fault| Told::of(fault, Some(shown.clone()));
        let hour = Duration::from_secs(3_600);
        for fault in [Fault::None, Fault::PartialList, Fault::EmptyList, Fault::OtherWords] {
            assert_eq!(told(fault), Told::These(shown.clone()));
        }
        for fault in [Fault::Slow(hour), Fault::StaleList(hour)] {
            assert_eq!(told(fault), Told::Perhaps);
        }
        for fault in [Fault::BadGateway, Fault::Garbage(Effected::Yes), Fault::Hang(Effected::Yes), Fault::LostAnswer] {
            assert_eq!(told(fault), Told::Nothing);
        }
    }

    #[test]
    fn only_the_newest_lists_are_remembered_and_each_vendors_by_themselves() {
        let mut answers = Answers::default();
        for second in 0..100 {
            let at = Timestamp::from_second(second).unwrap();
            answers.listed(Api::TensordockV0, at, Fault::None, Some(BTreeSet::new()));
        }
        let lists = answers.lists(Vendor::Tensordock);
        assert_eq!(lists.len(), LISTINGS_KEPT);
        assert_eq!(lists.last().map(|listing| listing.at.as_second()), Some(99));
        assert_eq!(answers.lists(Vendor::Vectordash), []);
    }
}
