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
        FleetName, HourlyRate,
        offer::{Bid, PriceRule, Supply},
        reason::{Blocked, Teardown},
        time::elapsed,
    },
    policy::terms::OnDemandUse,
};
use std::time::Duration;

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
        for late in &state.fleet.late {
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
                if let Some(why) = overbilled(draft, state, member, agreed, billed) {
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
                    draft.delete(member, Teardown::Lost, "of unknown status for too long".to_owned());
                }
                Standing::Pending if given_up || age >= PENDING_PATIENCE => {
                    draft.delete(member, Teardown::Lost, "never came to run".to_owned());
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
    let (room, short) = draft.headroom.room(&member.fleet, &member.account);
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
mod tests {
    use crate::{
        ledger::fleet::{DeleteAnswer, DeleteAttempt},
        model::{
            offer::BidAnswer::{Accepted, Refused},
            time::before,
        },
        plan::testkit::*,
        plan::*,
    };

    /// Members that fill the target, and what the plan does about them.
    #[track_caller]
    fn check(members: &str, setup: impl for<'t> FnOnce(&'t mut Town) -> &'t mut Town, expected: &str) {
        let mut town = town(members);
        let gpus = town.state().fleet.counted_gpus();
        town.hosts("a 1.00 99%").target(gpus);
        setup(&mut town);
        assert_eq!(town.said(), expected);
    }

    #[test]
    fn a_late_vm_is_reaped_whatever_the_order() {
        check("", |town| town.late("spotscale-f-e-1", 1), "delete spotscale-f-e-1 late");
        check(
            "",
            |town| {
                town.state().order = Order::Pause(0);
                town.market().list_complete = false;
                town.late("spotscale-f-e-1", 1)
            },
            "delete spotscale-f-e-1 late",
        );
    }

    #[test]
    fn a_late_vm_that_shares_a_members_name_is_reaped_beside_it() {
        let twin = |town: &mut Town| {
            town.late("m", 1);
            town.state().fleet.late[0].id = "id-twin".parse().unwrap();
            // Strays and late VMs count when renting.
            town.target(2);
        };
        let mut town = town("m running a 1");
        town.hosts("a 1.00 99%");
        twin(&mut town);
        assert_eq!(town.said(), "delete m late");
        let report = plan(&town.situation).report.remove(&town.fleet()).unwrap();
        assert_eq!((report.planned_gpus, report.rate_planned), (1, rate("1.005")));
        town.member("m").quoted = Some(crate::model::offer::Rates { compute: rate("9"), storage: rate("0.005") });
        assert_eq!(town.said(), "delete m late; delete m overbilled");
        town.round();
        assert_eq!((town.state().fleet.members.len(), town.state().fleet.late.len()), (0, 0));
    }

    #[test]
    fn a_bill_a_tenth_above_the_whole_agreed_rate_ends_a_vm() {
        // Agreed 0.505/h in all, storage 0.005 of it: a tenth above is 0.5555.
        check("m running a 1 billed=0.5505", |town| town, "");
        check("m running a 1 billed=0.550501", |town| town, "delete m overbilled");
        check("m running a 1 protected billed=0.6", |town| town, "delete m overbilled");
        check(
            "m running a 1 billed=0.6",
            |town| {
                town.state().order = Order::Pause(1);
                town
            },
            "delete m overbilled",
        );
    }

    #[test]
    fn a_bill_above_max_price_or_a_limit_ends_a_vm_beyond_rounding() {
        let capped = |town: &mut Town| {
            town.policy(|terms| terms.models[1].max_price = Some(rate("0.505")));
        };
        // The vendor rounds four terms to 0.001 each: 0.002 in all are nobody's fault.
        check(
            "m running a 1 billed=0.502",
            |town| {
                capped(town);
                town
            },
            "",
        );
        check(
            "m running a 1 billed=0.502001",
            |town| {
                capped(town);
                town
            },
            "delete m overbilled",
        );
        check(
            "m running a 1 billed=0.51",
            |town| town.policy(|terms| terms.max_hourly_rate = rate("0.514999")),
            "delete m overbilled",
        );
    }

    #[test]
    fn only_as_many_go_as_bring_the_rest_under_the_limit() {
        check(
            "m running a 1 billed=0.52   n running a 1 billed=0.52",
            |town| town.policy(|terms| terms.max_hourly_rate = rate("1.04")),
            "delete m overbilled",
        );
    }

    #[test]
    fn a_smaller_excess_is_reported_and_counted() {
        let mut town = town("m running a 1 billed=0.52");
        town.hosts("a 1.00 99%");
        let report = plan(&town.situation).report.remove(&town.fleet()).unwrap();
        assert_eq!(report.overbilled.values().collect::<Vec<_>>(), [&(rate("0.505"), rate("0.525"))]);
        assert_eq!(report.rate_now, rate("0.525"));
    }

    #[test]
    fn a_delete_is_repeated_until_it_is_proven() {
        check("m leaving a 1 deleted=59", |town| town, "");
        check("m leaving a 1 deleted=60", |town| town, "delete m target");
        check("m leaving a 1 deleted=9 doubt", |town| town, "");
        check("m leaving a 1 deleted=10 doubt", |town| town, "delete m target");
    }

    #[test]
    fn a_late_vms_delete_is_repeated_with_the_same_patience() {
        let late = |age_s: u64, answer: DeleteAnswer, expected: &str| {
            check(
                "",
                |town| {
                    let at = before(town.situation.now, seconds(age_s));
                    town.late("l", 1);
                    town.state().fleet.late[0].delete = Some(tried(at, answer));
                    town
                },
                expected,
            );
        };
        late(59, DeleteAnswer::Acked, "");
        late(60, DeleteAnswer::Acked, "delete l late");
        late(9, DeleteAnswer::InDoubt, "");
        late(10, DeleteAnswer::InDoubt, "delete l late");
        late(4, DeleteAnswer::Refused(1), "");
        late(5, DeleteAnswer::Refused(1), "delete l late");
    }

    #[test]
    fn what_was_refused_is_tried_again_after_a_growing_time_up_to_a_minute() {
        for (times, patience_s) in [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (u32::MAX, 60)] {
            for (age_s, expected) in [(patience_s - 1, ""), (patience_s, "delete m evacuate")] {
                let mut town = town("m running a 1");
                let at = before(town.situation.now, seconds(age_s));
                town.member("m").attempts.delete = Some(tried(at, DeleteAnswer::Refused(times)));
                town.state().order = Order::Evacuate;
                assert_eq!(town.said(), expected, "{times} times, {age_s} s ago");
            }
        }
    }

    #[test]
    fn while_a_refused_delete_waits_nothing_else_goes_in_its_place() {
        let lower = |town: &mut Town| {
            town.policy(|terms| terms.max_hourly_rate = rate("1.00"));
        };
        let two = |tried: &str| format!("a running a 1   b running a 1 rate=0.60{tried}");
        check(
            &two(" undeleted=4"),
            |town| {
                lower(town);
                town
            },
            "",
        );
        check(
            &two(" undeleted=5"),
            |town| {
                lower(town);
                town
            },
            "delete b rate_limit",
        );
        let stops = |tried: &str, expected: &str| {
            check(
                &format!("a running a 1 age=99   b running a 1 age=9{tried}"),
                |town| town.policy(|terms| terms.instance.scale_down = crate::policy::terms::ScaleDown::Stop).target(1),
                expected,
            );
        };
        stops(" unstopped=4", "");
        stops(" unstopped=5", "stop b");
    }

    #[test]
    fn what_was_given_up_and_not_let_go_is_not_waited_for_again() {
        let given_up = |members: &str, reason: Teardown, expected: &str| {
            check(
                members,
                |town| {
                    let at = before(town.situation.now, seconds(5));
                    let answer = DeleteAnswer::Refused(1);
                    town.member("m").attempts.delete = Some(DeleteAttempt { at, reason, answer });
                    town
                },
                expected,
            );
        };
        given_up("m pending a 1 age=5", Teardown::Lost, "delete m lost");
        given_up("m lost a 1 age=5", Teardown::Lost, "delete m lost");
        given_up("m pending a 1 age=5", Teardown::Operator, "");
        given_up("m running a 1 age=5", Teardown::Lost, "");
    }

    #[test]
    fn what_is_lost_or_never_ran_is_deleted_in_the_end_but_not_on_half_a_list() {
        check("m lost a 1 age=899", |town| town, "");
        check("m lost a 1 age=900", |town| town, "delete m lost");
        check("m lost a 1 age=900 protected", |town| town, "");
        check("m pending a 1 age=1799", |town| town, "");
        check("m pending a 1 age=1800", |town| town, "delete m lost");
        check(
            "m lost a 1 age=900",
            |town| {
                town.market().list_complete = false;
                town
            },
            "",
        );
    }

    #[test]
    fn a_stopped_vm_is_kept_for_its_time() {
        check("m stopped_released a 1 age=604799", |town| town, "");
        check("m stopped_released a 1 age=604800", |town| town, "delete m stopped_too_long");
    }

    #[test]
    fn a_replaced_vm_goes_once_its_replacement_runs() {
        check("m running a 1 od   n pending a 1 replaces=m", |town| town.target(1), "");
        check("m running a 1 od   n running a 1 replaces=m", |town| town.target(1), "delete m replaced");
    }

    #[test]
    fn an_outbid_vm_searches_above_its_bid_and_rebids_at_an_accepted_one() {
        check("m outbid a 1", |town| town, "ask ax1 0.75");
        check("m outbid a 1", |town| town.quote("a", 1, "0.75", Refused, 5), "ask ax1 0.875");
        check("m outbid a 1", |town| town.quote("a", 1, "1.00", Refused, 5), "delete m outbid");
        check("m outbid a 1", |town| town.quote("a", 1, "0.40", Accepted, 5), "ask ax1 0.75");
        check(
            "m outbid a 1",
            |town| {
                town.policy(|terms| terms.spot.asks_max = 1).quote("a", 1, "0.75", Accepted, 5);
                town.quote("a", 1, "0.7875", Accepted, 1)
            },
            "rebid m 0.7875",
        );
    }

    #[test]
    fn a_rebid_stays_within_max_price_and_headroom_with_its_own_commitment() {
        let last = |town: &mut Town| {
            town.policy(|terms| terms.spot.asks_max = 1);
        };
        check(
            "m outbid a 1",
            |town| {
                last(town);
                town.policy(|terms| terms.models[1].max_price = Some(rate("0.705")))
            },
            "ask ax1 0.70",
        );
        check(
            "m outbid a 1",
            |town| {
                last(town);
                town.policy(|terms| terms.max_hourly_rate = rate("0.605"))
            },
            "ask ax1 0.60",
        );
        check(
            "m outbid a 1",
            |town| {
                last(town);
                town.policy(|terms| terms.max_hourly_rate = rate("0.505"))
            },
            "delete m outbid",
        );
    }

    /// An outbid VM that the policy would raise, and what keeps it from it for a while.
    #[track_caller]
    fn waits(members: &str, setup: impl for<'t> FnOnce(&'t mut Town) -> &'t mut Town, blocked: &str) {
        let mut town = town(members);
        let gpus = town.state().fleet.counted_gpus();
        town.hosts("a 1.00 99%").target(gpus);
        setup(&mut town);
        assert_eq!((town.said().as_str(), town.blocked().as_str()), ("", blocked));
    }

    #[test]
    fn what_others_take_and_what_passes_gives_no_outbid_vm_up() {
        let all = |town: &mut Town| {
            town.situation.limits.max_hourly_rate = Some(rate("1.00"));
        };
        // Another fleet has all that is left.
        waits(
            "m outbid a 1",
            |town| {
                all(town);
                town.second("g", 200, |_| {}).members_of("g", "n running b 1 rate=0.49")
            },
            "1 global_rate_limit",
        );
        // The account pays no more than runs already: 0.505/h for an hour above 10.
        waits("m outbid a 1", |town| town.balance("10.505"), "1 runway");
        waits("m outbid a 1", |town| town.hold(|terms| terms.max_hourly_rate = rate("0.505")), "1 held_edit");
        waits("m outbid a 1", |town| town.hold(|terms| terms.models[1].max_price = Some(rate("0.505"))), "1 held_edit");
        // A refusal of all that there is room for is no refusal of all that the policy would pay.
        waits(
            "m outbid a 1",
            |town| {
                all(town);
                town.second("g", 200, |_| {}).members_of("g", "n running b 1 rate=0.29");
                town.quote("a", 1, "0.70", Refused, 5)
            },
            "1 global_rate_limit",
        );
        // What is on its way out or in doubt takes the fleet's own limit only for a while.
        let own = |town: &mut Town| {
            town.policy(|terms| terms.max_hourly_rate = rate("1.01"));
        };
        waits(
            "m outbid a 1   n leaving b 1 deleted=5",
            |town| {
                own(town);
                town
            },
            "1 rate_limit",
        );
        waits(
            "m outbid a 1   n in_doubt b 1",
            |town| {
                own(town);
                town
            },
            "1 rate_limit, 1 in_doubt",
        );
        check(
            "m outbid a 1   n running b 1",
            |town| {
                own(town);
                town
            },
            "delete m outbid",
        );
    }

    #[test]
    fn a_hold_by_a_higher_priority_gives_no_outbid_vm_up() {
        let mut town = town("m outbid a 1");
        town.hosts("a 1.00 99%   b 1.00 99%").policy(|terms| terms.priority = 1).second("g", 200, |_| {});
        town.situation.limits.max_hourly_rate = Some(rate("1.50"));
        assert_eq!(town.blocked(), "1 global_rate_limit");
        assert_eq!(town.said(), "ask bx1 0.50; ask ax1 0.50");
        // Once `g` has what it wants, there is room for the rest.
        town.settle();
        assert_eq!(town.rented("f"), "ax1");
        assert_eq!(town.rented("g"), "bx1");
    }

    #[test]
    fn one_that_waits_is_served_before_lower_priorities() {
        let mut town = town("m outbid a 1");
        town.hosts("a 1.00 99% nospot   b 0.10 99%").second("g", 1, |terms| {
            terms.on_demand.usage = crate::policy::terms::OnDemandUse::Always;
        });
        town.quote("a", 1, "0.70", Refused, 5).quote("a", 1, "0.75", Refused, 5);
        town.situation.limits.max_hourly_rate = Some(rate("0.715"));
        assert_eq!((town.said().as_str(), town.blocked().as_str()), ("", "1 global_rate_limit"));
        assert_eq!(town.blocked_of("g"), "1 global_rate_limit");
    }

    #[test]
    fn after_an_accepted_rebid_it_is_started_and_then_given_up() {
        check("m outbid a 1 accepted=5", |town| town, "start m");
        check("m outbid a 1 accepted=5 started=5", |town| town, "");
        check("m outbid a 1 accepted=65 started=60", |town| town, "delete m outbid");
        check("m outbid a 1 refused=1", |town| town, "delete m outbid");
        check("m outbid a 1 doubt", |town| town, "");
        check("m outbid a 1", |town| town.policy(|terms| terms.spot.rebid = false), "delete m outbid");
        check("m outbid a 1 protected refused=1", |town| town, "");
    }

    #[test]
    fn what_the_policy_would_not_bid_for_any_more_is_not_rebid() {
        let edited = |edit: fn(&mut crate::policy::Terms)| {
            check("m outbid a 1", |town| town.policy(edit), "delete m outbid");
        };
        edited(|terms| terms.models.truncate(1));
        edited(|terms| terms.hosts.deny = vec!["a".parse().unwrap()]);
        edited(|terms| terms.on_demand.usage = crate::policy::terms::OnDemandUse::Always);
    }

    #[test]
    fn without_a_known_balance_or_a_seen_market_an_outbid_vm_waits() {
        check("m outbid a 1 refused=1", |town| town.balance_read("100", 301), "delete m outbid");
        check("m outbid a 1", |town| town.balance_read("100", 301), "");
        check(
            "m outbid a 1 refused=1",
            |town| {
                town.market().bench = Some(Bench::Stale);
                town
            },
            "",
        );
    }

    #[test]
    fn an_outbid_fleet_recovers_to_its_end() {
        let mut town = town("m outbid a 1   n outbid b 1");
        town.hosts("a 1.00 99% least=0.80   b 1.00 99% least=1.20   c 1.00 99%").target(2);
        town.missing(2, 9_999);
        town.settle();
        assert_eq!(town.rented("f"), "ax1, cx1");
    }
}
