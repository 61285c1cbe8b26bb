//! A plan in the making: what is decided so far, and what is left to decide with.

use super::{
    Action, Bench, Candidate, Deploy, FleetState, Situation, Subject, Unmet,
    headroom::{Headroom, Need, Short},
    situation::wish,
    stock::Stock,
};
use crate::{
    ledger::{
        Member,
        fleet::{DeleteAnswer, DeleteAttempt},
    },
    model::{
        AccountName, FleetName, Guard, HostnodeId, HourlyRate, MarketplaceName, Shape, Timestamp, VmName,
        name::Namer,
        offer::Bid,
        reason::{Blocked, Rejected, Teardown},
        time::elapsed,
    },
    policy::terms::ScaleDown,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// An acknowledged delete is repeated when the VM is still there after this.
const DELETE_AGAIN: Duration = Duration::from_secs(60);
/// One whose answer was lost is repeated after this.
const DELETE_AGAIN_IN_DOUBT: Duration = Duration::from_secs(10);
/// One that was refused is repeated after this, and each time after twice as long.
const REFUSED_AGAIN_MIN: Duration = Duration::from_secs(5);
/// But not after more than this. Source: CONTRACT, "Gone".
const REFUSED_AGAIN_MAX: Duration = Duration::from_secs(60);
/// So many doublings reach that.
const REFUSED_DOUBLINGS_MAX: u32 = 4;

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
    looked: BTreeSet<(MarketplaceName, HostnodeId)>,
    namer: Namer,
}

impl<'a> Draft<'a> {
    pub fn new(situation: &'a Situation) -> Self {
        let mut namer = situation.namer.clone();
        let strays = situation.fleets.values().flat_map(|state| &state.fleet.strays);
        for stray in strays.filter(|_| Guard::NameThere.is_kept()) {
            namer.pass(&stray.instance.name);
        }
        Self {
            situation,
            actions: Vec::new(),
            headroom: Headroom::new(situation),
            stock: Stock::new(situation),
            notes: situation.fleets.keys().map(|name| (name.clone(), Notes::default())).collect(),
            going: BTreeSet::new(),
            touched: BTreeSet::new(),
            asked: BTreeSet::new(),
            looked: BTreeSet::new(),
            namer,
        }
    }

    pub fn notes(&mut self, fleet: &FleetName) -> &mut Notes {
        self.notes.entry(fleet.clone()).or_default()
    }

    pub fn blocked(&mut self, fleet: &FleetName, gpus: u32, short: Short) {
        if gpus > 0 {
            let reason = short.blocked();
            self.notes(fleet).blocked.push(Unmet { gpus, reason, detail: short.detail });
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

    /// Lets a member go. One without an id, and one that something is done to already, is left to a later plan. One whose
    /// delete was tried just now is on its way out too, and is not sent again yet: nothing else goes in its place.
    pub fn delete(&mut self, member: &Member, reason: Teardown, why: String) {
        let Some(subject) = subject(member).filter(|subject| !self.is_touched(&subject.name)) else { return };
        self.going.insert(subject.name.clone());
        if may_delete(member.attempts.delete.as_ref(), self.situation.now) {
            self.actions.push(Action::Delete { subject, reason, why });
        }
    }

    /// Deletes what is known only by its id: a member may have the same name, and stays.
    pub fn delete_late(&mut self, subject: Subject, tried: Option<&DeleteAttempt>, why: String) {
        if may_delete(tried, self.situation.now) {
            self.actions.push(Action::Delete { subject, reason: Teardown::Late, why });
        }
    }

    /// Shrinks by a member, in the policy's way: a running VM may keep its disk, where VMs can be stopped.
    pub fn release(&mut self, state: &FleetState, member: &Member, why: String) {
        let market = self.situation.markets.get(&member.marketplace);
        let can_stop = market.is_none_or(|market| market.ability.unable(&wish(&state.policy)).is_none());
        let stops = match state.policy.instance.scale_down {
            ScaleDown::Stop => can_stop && member.standing == crate::ledger::Standing::Running,
            ScaleDown::Delete => false,
        };
        if !stops {
            return self.delete(member, Teardown::Target, why);
        }
        let Some(subject) = subject(member).filter(|subject| !self.is_touched(&subject.name)) else { return };
        self.going.insert(subject.name.clone());
        let waits = |(at, times)| elapsed(at, self.situation.now) < refused_again(times);
        if !member.attempts.stop_refused.is_some_and(waits) {
            self.actions.push(Action::Stop { subject, reason: Teardown::Target, why });
        }
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

    /// Looks at a machine, unless this plan does already.
    pub fn look(&mut self, fleet: &FleetName, marketplace: MarketplaceName, hostnode: HostnodeId) {
        if self.looked.insert((marketplace.clone(), hostnode.clone())) {
            self.actions.push(Action::Look { fleet: fleet.clone(), marketplace, hostnode });
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
        let short = |reason, what: &str| Short::new(reason, format!("{marketplace}: {what}"));
        let Some(market) = self.situation.markets.get(marketplace) else {
            return Err(short(Blocked::StaleMarket, "not configured"));
        };
        match market.bench {
            Some(Bench::Stale) => Err(short(Blocked::StaleMarket, "not seen, or too long ago")),
            Some(Bench::Unauthorized) => Err(short(Blocked::Unauthorized, "the credentials are not taken")),
            Some(Bench::Throttled) => Err(short(Blocked::Throttled, "it asked us to wait")),
            Some(Bench::Paused) => Err(short(Blocked::Paused, "paused until `resume --marketplace`")),
            Some(Bench::Overbilled) => {
                let what = "three VMs were billed more than agreed within an hour: paused until `resume --marketplace`";
                Err(short(Blocked::Paused, what))
            }
            None if !Guard::RentOnComplete.holds(market.list_complete) => {
                Err(short(Blocked::StaleMarket, "the newest list of instances is not complete"))
            }
            None => Ok(&market.account),
        }
    }

    /// Whether the newest list of instances of a member's marketplace is complete.
    pub fn is_list_complete(&self, member: &Member) -> bool {
        let market = self.situation.markets.get(&member.marketplace);
        Guard::LetGoOnComplete.holds(market.is_some_and(|market| market.list_complete))
    }
}

/// Whether a delete may be sent, or sent again.
fn may_delete(tried: Option<&DeleteAttempt>, now: Timestamp) -> bool {
    tried.is_none_or(|attempt| {
        let patience = match attempt.answer {
            DeleteAnswer::Acked => DELETE_AGAIN,
            DeleteAnswer::InDoubt => DELETE_AGAIN_IN_DOUBT,
            DeleteAnswer::Refused(times) => refused_again(times),
        };
        elapsed(attempt.at, now) >= patience
    })
}

/// What was refused so many times in a row is tried again after this.
fn refused_again(times: u32) -> Duration {
    let doublings = times.saturating_sub(1).min(REFUSED_DOUBLINGS_MAX);
    REFUSED_AGAIN_MIN.saturating_mul(1 << doublings).min(REFUSED_AGAIN_MAX)
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
