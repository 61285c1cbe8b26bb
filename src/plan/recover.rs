//! What must be put right whatever the target: VMs that should not be there, that cost more than agreed, that are half
//! gone, or that were outbid.
//!
//! An outbid VM is looked at before it is replaced: the least accepted bid is searched by asking about a *new* VM of the
//! same shape on the same machine (a read), then its bid is raised once (a write), then it is started, then it is
//! given up. Each step is one plan; the ledger remembers which was taken.

use super::{
    Draft, FleetState, Situation, Subject,
    eligible::unwanted,
    headroom::Short,
    price::{Answers, known},
    search::{self, Range, Step},
    shrink::{staying_global_rate, staying_rate},
};
use crate::{
    ledger::{Member, Standing},
    model::{
        FleetName, Guard, HostnodeId, HourlyRate,
        offer::{Bid, PriceRule, Supply},
        reason::{Blocked, Teardown},
        time::elapsed,
    },
    policy::terms::OnDemandUse,
};
use std::{collections::BTreeSet, time::Duration};

/// A start shows in the list within this, or did not work.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// A rebid that was accepted and not followed by a running VM is given up after this.
const REBID_PATIENCE: Duration = Duration::from_secs(300);
/// A VM of unknown status is deleted after this, so that its slot can be filled.
const LOST_PATIENCE: Duration = Duration::from_secs(900);
/// A VM that never ran is deleted after this.
const PENDING_PATIENCE: Duration = Duration::from_secs(1_800);
/// A bill above the agreed rate by more than this share of it ends a VM. Source: CONTRACT, "Billed more than agreed".
const OVERBILLED_PPM: u64 = 100_000;

/// Late and overbilled VMs go, whatever the fleet's order; half-gone ones are deleted again.
pub(super) fn safety(draft: &mut Draft<'_>) {
    let situation = draft.situation;
    for (name, state) in &situation.fleets {
        for late in state.fleet.late.iter().filter(|_| Guard::LateReaped.is_kept()) {
            let subject = Subject {
                name: late.name.clone(),
                fleet: name.clone(),
                marketplace: late.marketplace.clone(),
                id: late.id.clone(),
            };
            let why = format!("turned up after it had been given up; {}/h", late.rate);
            draft.delete_late(subject, late.delete.as_ref(), why);
        }
        for member in state.fleet.members.values() {
            if member.standing == Standing::Leaving {
                let reason = member.attempts.delete.map_or(Teardown::Operator, |attempt| attempt.reason);
                draft.delete(member, reason, "its delete is not proven".to_owned());
            } else if let Some((agreed, billed)) = billed_above(situation, member) {
                draft.notes(name).overbilled.insert(member.name.clone(), (agreed, billed));
                let why = overbilled(draft, state, member, agreed, billed);
                if let Some(why) = why.filter(|_| Guard::OverbilledGoes.is_kept()) {
                    draft.delete(member, Teardown::Overbilled, why);
                }
            }
        }
    }
}

/// What was agreed and what is billed, where that is more by more than the vendor's rounding.
fn billed_above(situation: &Situation, member: &Member) -> Option<(HourlyRate, HourlyRate)> {
    let quoted = member.quoted?;
    let billed = match member.standing {
        Standing::Outbid | Standing::StoppedReleased => quoted.storage,
        Standing::Pending
        | Standing::Running
        | Standing::StoppedKept
        | Standing::Leaving
        | Standing::InDoubt
        | Standing::Lost => quoted.total(),
    };
    let agreed = member.agreed.total().max(member.bid.unwrap_or_default().plus(member.agreed.storage));
    (billed > agreed.plus(tolerance(situation, member))).then_some((agreed, billed))
}

/// The vendor's rounding: by the machine's own rule, else the widest of its marketplace.
fn tolerance(situation: &Situation, member: &Member) -> HourlyRate {
    let rule = |supply: &Supply| match supply {
        Supply::Resources(resources) => Some(PriceRule::tolerance(resources.rule)),
        Supply::Lots(_) => None,
    };
    let own = situation.hostnode(&member.marketplace, &member.hostnode).and_then(|hostnode| rule(&hostnode.supply));
    let market = || situation.markets.get(&member.marketplace);
    own.or_else(|| market()?.hostnodes.iter().filter_map(|hostnode| rule(&hostnode.supply)).max()).unwrap_or_default()
}

/// Why a VM that is billed above its agreed rate has to go, if it has to.
fn overbilled(
    draft: &Draft<'_>,
    state: &FleetState,
    member: &Member,
    agreed: HourlyRate,
    billed: HourlyRate,
) -> Option<String> {
    let told = format!("billed {billed}/h, agreed {agreed}/h");
    let cap = state.policy.model(&member.shape.gpu_model).and_then(|(_, terms)| terms.max_price);
    if let Some(cap) = cap.map(|price| price.times(member.shape.gpus))
        && billed > cap
    {
        return Some(format!("{told}: above max_price, {cap}/h for the VM"));
    }
    let limit = state.policy.max_hourly_rate;
    if staying_rate(draft, state) > limit {
        return Some(format!("{told}: above the fleet's {limit}/h"));
    }
    if let Some(limit) = draft.situation.limits.max_hourly_rate
        && staying_global_rate(draft) > limit
    {
        return Some(format!("{told}: above all fleets' {limit}/h"));
    }
    (billed > agreed.plus(agreed.share_ppm(OVERBILLED_PPM))).then(|| format!("{told}: more than a tenth above"))
}

/// VMs that serve nobody any more: replaced, lost, never ready, or stopped for too long.
pub(super) fn leftovers(draft: &mut Draft<'_>) {
    let situation = draft.situation;
    for state in situation.fleets.values() {
        match state.order {
            super::Order::Hold(_) => {}
            super::Order::Evacuate | super::Order::Pause(_) => continue,
        }
        for member in state.fleet.members.values() {
            if member.protected || draft.is_going(member) || !draft.is_list_complete(member) {
                continue;
            }
            let replacement = state.fleet.members.values().find(|other| {
                other.replaces.as_ref() == Some(&member.name)
                    && other.standing == Standing::Running
                    && !draft.is_going(other)
            });
            if let Some(replacement) = replacement {
                draft.delete(member, Teardown::Replaced, format!("{} runs in its place", replacement.name));
                continue;
            }
            let age = elapsed(member.since, situation.now);
            // What was given up once, and whose delete was refused, is not waited for again.
            let given_up = member.attempts.delete.is_some_and(|attempt| attempt.reason == Teardown::Lost);
            match member.standing {
                Standing::Lost if given_up || age >= LOST_PATIENCE => {
                    give_up(draft, state, member, "of unknown status for too long");
                }
                Standing::Pending if given_up || age >= PENDING_PATIENCE => {
                    give_up(draft, state, member, "never came to run");
                }
                Standing::StoppedReleased if age >= state.policy.instance.stopped_max_age => {
                    draft.delete(
                        member,
                        Teardown::StoppedTooLong,
                        "stopped for longer than stopped_max_age".to_owned(),
                    );
                }
                Standing::Pending
                | Standing::Running
                | Standing::Outbid
                | Standing::StoppedKept
                | Standing::StoppedReleased
                | Standing::Leaving
                | Standing::InDoubt
                | Standing::Lost => {}
            }
        }
    }
}

/// Lets a VM go that serves nobody, as far as anybody can tell. Where no VM on several machines of a marketplace is seen to
/// stand in a way we know, it is rather its language that changed; of a machine that is itself listed as offline it is no
/// wonder. And no more go at once than may be unavailable.
fn give_up(draft: &mut Draft<'_>, state: &FleetState, member: &Member, why: &str) {
    let situation = draft.situation;
    let all = situation.fleets.values().flat_map(|state| state.fleet.members.values());
    let there = all.filter(|other| other.marketplace == member.marketplace && is_listed(other.standing));
    let speaking: Vec<&Member> = there.filter(|other| !is_offline(situation, other)).collect();
    let machines: BTreeSet<&HostnodeId> = speaking.iter().map(|other| &other.hostnode).collect();
    let is_language = machines.len() > 1 && speaking.iter().all(|other| other.standing == Standing::Lost);
    if !Guard::OtherLanguage.holds(!is_language || is_offline(situation, member)) {
        return;
    }
    let going: u32 = state.fleet.members.values().filter(|other| draft.is_going(other)).map(Member::counted_gpus).sum();
    let at_once = state.policy.disruption.max_unavailable.of(state.target_gpus());
    if Guard::GivenUpAtOnce.holds(going == 0 || going.saturating_add(member.counted_gpus()) <= at_once) {
        draft.delete(member, Teardown::Lost, why.to_owned());
    }
}

/// Whether some marketplace of its account lists its machine, as one that is offline.
fn is_offline(situation: &Situation, member: &Member) -> bool {
    let markets = situation.markets.values().filter(|market| market.account == member.account);
    let mut machines = markets.flat_map(|market| &market.hostnodes).filter(|machine| machine.id == member.hostnode);
    machines.any(|machine| !machine.online)
}

/// Whether it was seen, and is not on its way out.
const fn is_listed(standing: Standing) -> bool {
    match standing {
        Standing::Pending
        | Standing::Running
        | Standing::Outbid
        | Standing::StoppedKept
        | Standing::StoppedReleased
        | Standing::Lost => true,
        Standing::Leaving | Standing::InDoubt => false,
    }
}

/// Outbid VMs: raise the bid, start, or give up.
pub(super) fn outbid(draft: &mut Draft<'_>, fleet: &FleetName) {
    let situation = draft.situation;
    let Some(state) = situation.fleets.get(fleet) else { return };
    match state.order {
        super::Order::Hold(_) => {}
        super::Order::Evacuate | super::Order::Pause(_) => return,
    }
    let answers = Answers::new(situation);
    for member in state.fleet.members.values().filter(|member| member.standing == Standing::Outbid) {
        // A write that was not answered is looked at before anything else is done.
        if member.write_in_doubt || draft.is_going(member) {
            continue;
        }
        if let Err(short) = draft.renting(&member.marketplace) {
            draft.blocked(fleet, member.shape.gpus, short);
            continue;
        }
        match next(draft, state, member, &answers) {
            Next::Wait { short, more } => {
                if let Some(short) = short {
                    if short.is_shared() {
                        draft.headroom.hold(fleet, &member.account, more);
                    }
                    draft.blocked(fleet, member.shape.gpus, short);
                }
            }
            Next::Ask { price, more } => {
                draft.headroom.hold(fleet, &member.account, more);
                let bid = Bid { hostnode: member.hostnode.clone(), shape: member.shape.clone(), price };
                draft.ask(fleet, &member.marketplace, bid);
            }
            Next::Rebid { from, to } => {
                let why = format!("outbid at {from}/h; {to}/h is accepted");
                draft.rebid(member, from, to, why);
            }
            Next::Start => {
                draft.start(member, 0, HourlyRate::ZERO, "its raised bid was accepted".to_owned());
            }
            Next::GiveUp(why) => {
                if !member.protected {
                    draft.delete(member, Teardown::Outbid, why);
                }
            }
        }
    }
}

enum Next {
    /// For what, and how much more than its present bid it would take then.
    Wait {
        short: Option<Short>,
        more: HourlyRate,
    },
    /// It may come to this much more than its present bid.
    Ask {
        price: HourlyRate,
        more: HourlyRate,
    },
    Rebid {
        from: HourlyRate,
        to: HourlyRate,
    },
    Start,
    GiveUp(String),
}

impl Next {
    const fn waits(short: Option<Short>) -> Self {
        Self::Wait { short, more: HourlyRate::ZERO }
    }
}

/// The most that may be bid for an outbid VM.
struct Caps {
    /// By the policy's own word, however much of its limit is taken for a while.
    own: HourlyRate,
    /// Now.
    cap: HourlyRate,
    /// What binds where that is less.
    short: Short,
}

/// A limit that others share, a held edit, and what is in doubt or on its way out only bind for a while: a VM is not given
/// up for them. What stays of its own fleet is no passing thing.
fn caps(draft: &Draft<'_>, state: &FleetState, member: &Member, from: HourlyRate, storage: HourlyRate) -> Caps {
    let most = |price: Option<HourlyRate>| {
        let on_demand = member.on_demand.total();
        price.map_or(on_demand, |price| price.times(member.shape.gpus).min(on_demand)).minus(storage)
    };
    let model = &member.shape.gpu_model;
    let (in_force, start) = (most(state.max_price(model)), most(state.start_price(model)));
    let (room, short) = draft.headroom.room_for_bid(&member.fleet, &member.account);
    let in_doubt = state.fleet.members.values().filter(|member| member.standing == Standing::InDoubt);
    let staying = staying_rate(draft, state).minus(in_doubt.map(Member::committed).sum());
    let left = state.policy.max_hourly_rate.minus(staying);
    let by_room = from.plus(room);
    Caps {
        own: in_force.min(from.plus(left)),
        cap: start.min(by_room),
        short: if start < by_room {
            Short::new(Blocked::HeldEdit, format!("a held edit has a max_price that allows a bid of {start}/h"))
        } else {
            short
        },
    }
}

fn next(draft: &Draft<'_>, state: &FleetState, member: &Member, answers: &Answers<'_>) -> Next {
    let situation = draft.situation;
    let now = situation.now;
    if !state.policy.spot.rebid {
        return Next::GiveUp("outbid, and the policy does not rebid".to_owned());
    }
    if state.policy.on_demand.usage == OnDemandUse::Always {
        return Next::GiveUp("outbid, and the policy makes no bids any more".to_owned());
    }
    if let Some(rejected) = unwanted(&state.policy, member) {
        return Next::GiveUp(format!("outbid, and the policy does not want it any more ({rejected})"));
    }
    if member.attempts.rebid_refused.is_some() {
        return Next::GiveUp("outbid, and a raised bid was refused".to_owned());
    }
    if let Err(short) = draft.headroom.may_start(&member.fleet, &member.account) {
        return Next::waits(Some(short));
    }
    if let Some(accepted_at) = member.rebid_accepted_at {
        return match member.attempts.start.filter(|started_at| *started_at >= accepted_at) {
            Some(started_at) if elapsed(started_at, now) < START_PATIENCE => Next::waits(None),
            Some(_) => Next::GiveUp("started with a raised bid, and still outbid".to_owned()),
            None if elapsed(accepted_at, now) >= REBID_PATIENCE => {
                Next::GiveUp("its raised bid was accepted long ago, and it is still outbid".to_owned())
            }
            None => Next::Start,
        };
    }
    let from = member.bid.unwrap_or(member.agreed.compute);
    let storage = member.agreed.storage.max(member.quoted.unwrap_or_default().storage);
    let Caps { own, cap, short } = caps(draft, state, member, from, storage);
    let known = known(situation, answers, &member.marketplace, &member.hostnode, &member.shape, Some(from));
    let next = |cap| {
        let range = Range { above: Some(from), guess: from, sibling: false, cap };
        search::next(known, range, &state.policy.spot)
    };
    let (step, bid) = next(cap);
    let quotes = answers.about(&member.marketplace, &member.hostnode, &member.shape).iter().copied();
    let unanswered =
        situation.markets.get(&member.marketplace).is_some_and(|market| market.unanswered.contains(&member.hostnode));
    match step {
        Step::Refused if next(own).0 == Step::Refused => {
            Next::GiveUp(format!("outbid at {from}/h, and no bid up to {own}/h is accepted"))
        }
        Step::Refused => Next::Wait { short: Some(short), more: own.minus(from) },
        Step::Ready if search::is_fresh(quotes, bid, now, situation.quote_age_max) => Next::Rebid { from, to: bid },
        Step::Ready | Step::Ask if unanswered => {
            let detail = format!("{}: the bid for {} was not answered", member.marketplace, member.name);
            Next::waits(Some(Short::new(Blocked::StaleMarket, detail)))
        }
        Step::Ready | Step::Ask => Next::Ask { price: bid, more: cap.minus(from) },
    }
}

#[cfg(test)]
mod tests;
