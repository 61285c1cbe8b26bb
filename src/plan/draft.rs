//! A plan in the making: what is decided so far, and what is left to decide with.

use super::{
    Action, Bench, Candidate, Deploy, FleetState, Situation, Subject, Unmet,
    headroom::{Headroom, Need, Short},
    stock::Stock,
};
use crate::{
    ledger::Member,
    model::{
        AccountName, FleetName, HostnodeId, HourlyRate, MarketplaceName, Shape, VmName,
        name::Namer,
        offer::Bid,
        reason::{Blocked, Rejected, Teardown},
    },
    policy::terms::ScaleDown,
};
use std::collections::{BTreeMap, BTreeSet};

/// What is told of one fleet, gathered along the way.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    pub candidates: Vec<Candidate>,
    pub turned_down: BTreeMap<(MarketplaceName, HostnodeId), Rejected>,
    pub overbilled: BTreeMap<VmName, (HourlyRate, HourlyRate)>,
    pub blocked: Vec<Unmet>,
}

/// A plan in the making.
pub(super) struct Draft<'a> {
    pub situation: &'a Situation,
    pub actions: Vec<Action>,
    pub headroom: Headroom<'a>,
    pub stock: Stock,
    pub notes: BTreeMap<FleetName, Notes>,
    /// Members that are being let go: still counted, of no more use.
    going: BTreeSet<VmName>,
    /// Members that something else is done to.
    touched: BTreeSet<VmName>,
    asked: BTreeSet<(MarketplaceName, HostnodeId, Shape, HourlyRate)>,
    namer: Namer,
}

impl<'a> Draft<'a> {
    pub fn new(situation: &'a Situation) -> Self {
        Self {
            situation,
            actions: Vec::new(),
            headroom: Headroom::new(situation),
            stock: Stock::new(situation),
            notes: situation.fleets.keys().map(|name| (name.clone(), Notes::default())).collect(),
            going: BTreeSet::new(),
            touched: BTreeSet::new(),
            asked: BTreeSet::new(),
            namer: situation.namer.clone(),
        }
    }

    pub fn notes(&mut self, fleet: &FleetName) -> &mut Notes {
        self.notes.entry(fleet.clone()).or_default()
    }

    pub fn blocked(&mut self, fleet: &FleetName, gpus: u32, short: Short) {
        if gpus > 0 {
            let Short { reason, detail } = short;
            self.notes(fleet).blocked.push(Unmet { gpus, reason, detail });
        }
    }

    /// Whether this plan lets it go, or an earlier one did.
    pub fn is_going(&self, member: &Member) -> bool {
        member.standing == crate::ledger::Standing::Leaving
            || member.attempts.stop.is_some()
            || self.going.contains(&member.name)
    }

    /// Whether this plan does anything to it already: one write for each VM and plan.
    pub fn is_touched(&self, name: &VmName) -> bool {
        self.going.contains(name) || self.touched.contains(name)
    }

    /// Lets a member go. One without an id, and one that something is done to already, is left to a later plan.
    pub fn delete(&mut self, member: &Member, reason: Teardown, why: String) -> bool {
        let Some(subject) = subject(member).filter(|subject| !self.is_touched(&subject.name)) else { return false };
        self.going.insert(subject.name.clone());
        self.actions.push(Action::Delete { subject, reason, why });
        true
    }

    /// Deletes what is known only by its id.
    pub fn delete_late(&mut self, subject: Subject, why: String) {
        self.going.insert(subject.name.clone());
        self.actions.push(Action::Delete { subject, reason: Teardown::Late, why });
    }

    /// Shrinks by a member, in the policy's way: a running VM may keep its disk.
    pub fn release(&mut self, state: &FleetState, member: &Member, why: String) -> bool {
        let stops = match state.policy.instance.scale_down {
            ScaleDown::Stop => member.standing == crate::ledger::Standing::Running,
            ScaleDown::Delete => false,
        };
        if !stops {
            return self.delete(member, Teardown::Target, why);
        }
        let Some(subject) = subject(member).filter(|subject| !self.is_touched(&subject.name)) else { return false };
        self.going.insert(subject.name.clone());
        self.actions.push(Action::Stop { subject, reason: Teardown::Target, why });
        true
    }

    /// Starts a member and counts what that adds.
    pub fn start(&mut self, member: &Member, gpus: u32, rate: HourlyRate, why: String) -> bool {
        let Some(subject) = subject(member).filter(|subject| !self.is_touched(&subject.name)) else { return false };
        self.touched.insert(subject.name.clone());
        let need = Need { fleet: &member.fleet, account: &member.account, gpus, rate, surge_gpus: 0 };
        self.headroom.take(need);
        self.actions.push(Action::Start { subject, why });
        true
    }

    /// Raises a member's bid and counts the difference.
    pub fn rebid(&mut self, member: &Member, from: HourlyRate, to: HourlyRate, why: String) {
        let Some(subject) = subject(member).filter(|subject| !self.is_touched(&subject.name)) else { return };
        self.touched.insert(subject.name.clone());
        let rate = to.minus(from);
        self.headroom.take(Need { fleet: &member.fleet, account: &member.account, gpus: 0, rate, surge_gpus: 0 });
        self.actions.push(Action::Rebid { subject, from, to, why });
    }

    /// Asks, unless this plan asks the same already.
    pub fn ask(&mut self, fleet: &FleetName, marketplace: &MarketplaceName, bid: Bid) {
        let key = (marketplace.clone(), bid.hostnode.clone(), bid.shape.clone(), bid.price);
        if self.asked.insert(key) {
            self.actions.push(Action::Ask { fleet: fleet.clone(), marketplace: marketplace.clone(), bid });
        }
    }

    /// The next name for a VM of a fleet.
    pub fn name(&mut self, fleet: &FleetName) -> VmName {
        self.namer.next_name(fleet)
    }

    /// Deploys, and counts it.
    pub fn deploy(&mut self, deploy: Deploy) {
        let Deploy { fleet, account, hostnode, shape, agreed, ports, .. } = &deploy;
        self.headroom.take(Need { fleet, account, gpus: shape.gpus, rate: agreed.total(), surge_gpus: 0 });
        self.stock.take(account, hostnode, shape, ports.keys().copied());
        self.actions.push(Action::Deploy(Box::new(deploy)));
    }

    /// Why nothing may be rented on a marketplace now.
    pub fn renting(&self, marketplace: &MarketplaceName) -> Result<&'a AccountName, Short> {
        let short = |reason, what: &str| Short { reason, detail: format!("{marketplace}: {what}") };
        let Some(market) = self.situation.markets.get(marketplace) else {
            return Err(short(Blocked::StaleMarket, "not configured"));
        };
        match market.bench {
            Some(Bench::Stale) => Err(short(Blocked::StaleMarket, "not seen, or too long ago")),
            Some(Bench::Unauthorized) => Err(short(Blocked::Unauthorized, "the credentials are not taken")),
            Some(Bench::Throttled) => Err(short(Blocked::Throttled, "it asked us to wait")),
            Some(Bench::Paused) => Err(short(Blocked::Paused, "paused until `resume --marketplace`")),
            None if !market.list_complete => {
                Err(short(Blocked::StaleMarket, "the newest list of instances is not complete"))
            }
            None => Ok(&market.account),
        }
    }

    /// Whether the newest list of instances of a member's marketplace is complete.
    pub fn is_list_complete(&self, member: &Member) -> bool {
        self.situation.markets.get(&member.marketplace).is_some_and(|market| market.list_complete)
    }
}

/// A member as something that can be acted on; `None` while its id is not known.
pub(super) fn subject(member: &Member) -> Option<Subject> {
    Some(Subject {
        name: member.name.clone(),
        fleet: member.fleet.clone(),
        marketplace: member.marketplace.clone(),
        id: member.id.clone()?,
    })
}
