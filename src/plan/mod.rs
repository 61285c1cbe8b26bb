//! The mind: a pure function from all that may be known to all that is to be done.
//!
//! [`plan`] is synchronous and deterministic. What it returns leaves the executor nothing to choose, and beside each
//! plan comes a typed [`Report`] of why. `run`, `plan`, `offers` and `explain` all call this one function.
//!
//! ```text
//! recover (late, overbilled, half-gone) -> shrink (evacuate, limits and floor, target)
//!   -> for each fleet, in descending priority: recover (outbid) -> grow (start, ask, deploy, revert) -> report
//! ```
//!
//! A plan is what *would* be done if acting were allowed; [`permitted`] says which of it may be, and
//! [`verify`](verify::verify) reads the whole with fresh eyes. Nothing that a plan lets go gives room to what it starts: a VM counts until
//! a later list proves it gone.

mod budget;
mod draft;
mod eligible;
mod grow;
mod headroom;
mod price;
mod recover;
mod report;
mod score;
mod search;
mod shrink;
pub mod situation;
mod solve;
mod stock;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod twin_tests;
pub mod verify;

pub use crate::ledger::Intent as Deploy;
pub use budget::Budget;
use draft::Draft;
pub use headroom::Runway;
pub use situation::{AccountState, Bench, FleetState, MarketState, Order, Situation, wish};

use crate::{
    ledger::Standing,
    model::{
        FleetName, Guard, HostnodeId, HourlyRate, InstanceId, MarketplaceName, Offer, PriceType, VmName,
        offer::Bid,
        reason::{Blocked, Rejected, Teardown},
    },
};
use std::{collections::BTreeMap, time::Duration};

/// A deploy or rebid goes out this much before its quote is a minute old: the request itself takes time.
const QUOTE_HASTE_NUM_DEN: (u32, u32) = (5, 6);

/// How old an accepted quote may be when a plan rests a bid on it.
pub(crate) const fn quote_fresh_for(life: Duration) -> Duration {
    life.saturating_mul(QUOTE_HASTE_NUM_DEN.0).checked_div(QUOTE_HASTE_NUM_DEN.1).expect("a constant above 0")
}

/// A VM of ours that something is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub name: VmName,
    /// Whose it is.
    pub fleet: FleetName,
    /// Where it was rented.
    pub marketplace: MarketplaceName,
    /// The vendor's id.
    pub id: InstanceId,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask about a bid for a new VM: a read. Its answer is part of the next observation.
    Ask {
        /// Who wants to know.
        fleet: FleetName,
        /// Whom to ask.
        marketplace: MarketplaceName,
        /// What.
        bid: Bid,
    },
    /// Read one machine, because its list does not show which ports are free: a read. Its answer is part of the next
    /// observation.
    Look {
        /// Who wants to know.
        fleet: FleetName,
        /// Whom to ask.
        marketplace: MarketplaceName,
        /// About which machine.
        hostnode: HostnodeId,
    },
    /// Make a VM.
    Deploy(Box<Deploy>),
    /// Raise an outbid VM's bid (validate/existing: a write).
    Rebid {
        /// Which.
        subject: Subject,
        /// The bid in force.
        from: HourlyRate,
        /// The bid to be.
        to: HourlyRate,
        /// Why, one line.
        why: String,
    },
    /// Start a stopped VM, or an outbid one whose rebid was accepted.
    Start {
        /// Which.
        subject: Subject,
        /// Why, one line.
        why: String,
    },
    /// Stop a VM, giving its GPU back.
    Stop {
        /// Which.
        subject: Subject,
        /// Why.
        reason: Teardown,
        /// Why, one line.
        why: String,
    },
    /// Delete a VM.
    Delete {
        /// Which.
        subject: Subject,
        /// Why.
        reason: Teardown,
        /// Why, one line.
        why: String,
    },
}

/// The parts of an offer's score, in the order in which they are compared; less is better.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score {
    /// The model's rank, with `preference = "strict"`; 0 with `value`.
    pub preference: u32,
    /// Micro-dollars per delivered GPU-hour (rate / GPUs / uptime, and / worth with `value`).
    pub micros_per_delivered_gpu_hour: u64,
    /// GPUs of ours on that machine already: less crowded first.
    pub crowding: u32,
    /// Ties, and equal worlds giving equal plans.
    pub tie: (HostnodeId, MarketplaceName),
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Could be rented, was not needed.
    Eligible,
    /// Its least accepted bid is being searched, or its free ports are.
    Asking,
    /// In the plan.
    Chosen,
    /// Turned down in this plan, and why.
    Rejected(Rejected),
}

/// An offer, its price for us and its place in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What is offered.
    pub offer: Offer,
    /// How it would be paid for.
    pub price_type: PriceType,
    /// For spot: the bid, as far as it is known.
    pub bid: Option<HourlyRate>,
    /// All that it would cost per hour, as far as it is known.
    pub rate: HourlyRate,
    /// Its place in the order.
    pub score: Score,
    /// What became of it.
    pub verdict: Verdict,
}

/// GPUs of a target that are not met, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// How many.
    pub gpus: u32,
    /// Why.
    pub reason: Blocked,
    /// The figures, one line.
    pub detail: String,
}

/// Why one fleet's part of a plan is what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetReport {
    /// The effective target.
    pub target_gpus: u32,
    /// GPUs running now.
    pub running_gpus: u32,
    /// GPUs counted once the plan is done.
    pub planned_gpus: u32,
    /// Committed now.
    pub rate_now: HourlyRate,
    /// Committed once the plan is done.
    pub rate_planned: HourlyRate,
    /// The limit in force.
    pub rate_limit: HourlyRate,
    /// No plan with the same count of each model costs less, at the rates this plan knew.
    pub lower_bound: HourlyRate,
    /// (what was compared − its bound) / its bound, in millionths.
    pub gap_ppm: u64,
    /// In order, best first.
    pub candidates: Vec<Candidate>,
    /// Hostnodes turned down, by reason.
    pub rejected: BTreeMap<Rejected, u32>,
    /// Which hostnode was turned down for which reason.
    pub rejected_hostnodes: BTreeMap<(MarketplaceName, HostnodeId), Rejected>,
    /// Billed beyond the vendor's rounding: what was agreed and what is billed.
    pub overbilled: BTreeMap<VmName, (HourlyRate, HourlyRate)>,
    /// Offers whose least accepted bid is not known yet.
    pub unasked_offers: u32,
    /// Why the target is not met.
    pub blocked: Vec<Unmet>,
}

/// What to do, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub actions: Vec<Action>,
    /// By fleet.
    pub report: Report,
}

/// Why.
pub type Report = BTreeMap<FleetName, FleetReport>;

impl Action {
    /// Whose it is.
    pub fn fleet(&self) -> &FleetName {
        match self {
            Self::Ask { fleet, .. } | Self::Look { fleet, .. } => fleet,
            Self::Deploy(deploy) => &deploy.fleet,
            Self::Rebid { subject, .. }
            | Self::Start { subject, .. }
            | Self::Stop { subject, .. }
            | Self::Delete { subject, .. } => &subject.fleet,
        }
    }

    /// Where it is sent.
    pub fn marketplace(&self) -> &MarketplaceName {
        match self {
            Self::Ask { marketplace, .. } | Self::Look { marketplace, .. } => marketplace,
            Self::Deploy(deploy) => &deploy.marketplace,
            Self::Rebid { subject, .. }
            | Self::Start { subject, .. }
            | Self::Stop { subject, .. }
            | Self::Delete { subject, .. } => &subject.marketplace,
        }
    }

    /// Whether it changes nothing.
    pub const fn is_read(&self) -> bool {
        match self {
            Self::Ask { .. } | Self::Look { .. } => true,
            Self::Deploy(_) | Self::Rebid { .. } | Self::Start { .. } | Self::Stop { .. } | Self::Delete { .. } => {
                false
            }
        }
    }

    /// The VM of ours that it is done to, where there is one already.
    pub const fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Ask { .. } | Self::Look { .. } | Self::Deploy(_) => None,
            Self::Rebid { subject, .. }
            | Self::Start { subject, .. }
            | Self::Stop { subject, .. }
            | Self::Delete { subject, .. } => Some(subject),
        }
    }
}

/// What to do now, and why. Pure: equal situations give equal plans.
pub fn plan(situation: &Situation) -> Plan {
    let mut draft = draft::Draft::new(situation);
    recover::safety(&mut draft);
    shrink::evacuate(&mut draft);
    shrink::limits(&mut draft);
    shrink::target(&mut draft);
    recover::leftovers(&mut draft);
    for fleet in situation.order() {
        recover::outbid(&mut draft, fleet);
        grow::grow(&mut draft, fleet);
    }
    report::finish(draft)
}

/// Whether an action may be carried out at all, its merits aside: in observe mode nothing but reads, and in a paused
/// fleet nothing but settling, safety and shedding.
pub fn permitted(situation: &Situation, action: &Action) -> bool {
    let Some(state) = situation.fleets.get(action.fleet()) else { return false };
    if action.is_read() {
        return true;
    }
    if !Guard::Observing.holds(!situation.is_observing(state)) {
        return false;
    }
    match state.order {
        Order::Hold(_) => true,
        Order::Pause(_) if !Guard::Paused.is_kept() => true,
        Order::Evacuate | Order::Pause(_) => match action {
            Action::Ask { .. } | Action::Look { .. } => true,
            Action::Deploy(_) | Action::Rebid { .. } | Action::Start { .. } | Action::Stop { .. } => false,
            Action::Delete { subject, reason, .. } => {
                state.order == Order::Evacuate
                    || matches!(force(*reason), Force::Safety | Force::Money | Force::Operator)
                    || state.fleet.members.get(&subject.name).is_some_and(|member| member.standing == Standing::Leaving)
            }
        },
    }
}

/// How strong a reason to let a VM go is. Source: CONTRACT, "Order of force".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Force {
    /// Overbilled or late: also where a list is not complete, also where it is protected.
    Safety,
    /// The operator says so.
    Operator,
    /// Over a limit, or the account would be empty.
    Money,
    /// Over the target, or of no use.
    Order,
}

/// How strong this one is.
pub const fn force(reason: Teardown) -> Force {
    match reason {
        Teardown::Overbilled | Teardown::Late => Force::Safety,
        Teardown::Evacuate | Teardown::Operator => Force::Operator,
        Teardown::RateLimit | Teardown::GlobalRateLimit | Teardown::BalanceFloor | Teardown::Budget => Force::Money,
        Teardown::Target | Teardown::Outbid | Teardown::Lost | Teardown::Replaced | Teardown::StoppedTooLong => {
            Force::Order
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{testkit::*, *};
    use crate::{
        policy::terms::{BidStrategy, Mode, OnDemandUse, Preference, Quantity, ScaleDown},
        settings::BalanceRule,
    };
    use proptest::prelude::*;

    /// A town of random hosts, members, policy, answers and money.
    fn towns() -> impl Strategy<Value = Town> {
        let host = (1u32..30, 0u32..9, 85u32..100, any::<bool>(), 0u32..130, 0u8..12);
        let member = (0usize..14, 0usize..6, 1u32..4, 1u32..12, any::<bool>(), 0u8..16);
        let policy = (0u32..20, 1u32..3, 1u32..9, 0u8..3, 0u8..16, 1u32..200, 1u32..120);
        let world = (0u32..200, 0u64..330, 0u8..12, 0u8..9, 0u32..300, any::<bool>(), 0u8..32);
        let quote = (0usize..8, 1u32..5, 1u32..30, any::<bool>(), 0u64..90);
        let account = (0u8..32, 0u32..60, 0u32..40, 0u64..99, 800_000u64..1_200_000);
        (
            proptest::collection::vec(host, 0..8),
            proptest::collection::vec(member, 0..6),
            policy,
            world,
            proptest::collection::vec(quote, 0..20),
            account,
        )
            .prop_map(|(hosts, members, policy, world, quotes, account)| {
                let mut town = build(&hosts, &members, policy, world, &quotes);
                budget_and_twin(&mut town, account);
                town
            })
    }

    /// Any situation at all, for whoever must do right by every one of them.
    pub(crate) fn situations() -> impl Strategy<Value = Situation> {
        towns().prop_map(|town| town.situation)
    }

    /// Perhaps a budget of the account, perhaps a balance that nobody can read, perhaps a second marketplace.
    fn budget_and_twin(town: &mut Town, (flags, most, spent, age_s, twin_ppm): (u8, u32, u32, u64, u64)) {
        if flags & 1 > 0 {
            let rule = if flags & 2 > 0 { BalanceRule::UnreadableOk } else { BalanceRule::Required };
            let month = (flags & 4 > 0).then_some("50");
            town.budget(rule, Some(&format!("{most}.50")), month).spent(&format!("{spent}"), "41.25");
            let counted = crate::model::time::before(town.situation.now, seconds(age_s));
            town.account().spent.until = Some(counted);
        }
        if flags & 8 > 0 {
            town.account().balance = None;
        }
        if flags & 16 > 0 {
            town.twin(age_s, |host| reprice(host, twin_ppm));
        }
    }

    type Host = (u32, u32, u32, bool, u32, u8);
    type Mate = (usize, usize, u32, u32, bool, u8);
    type Said = (usize, u32, u32, bool, u64);

    fn build(
        hosts: &[Host],
        members: &[Mate],
        (target, gpus_min, gpus_max, usage, flags, limit, cap): (u32, u32, u32, u8, u8, u32, u32),
        (balance, balance_age_s, order, bench, global, complete, held): (u32, u64, u8, u8, u32, bool, u8),
        quotes: &[Said],
    ) -> Town {
        let mut town = town("");
        for (at, (price, free, uptime, big, least, odd)) in hosts.iter().enumerate() {
            let odd = match odd {
                0 => " offline",
                1 => " nospot",
                2 => " poland",
                3 => " ports1",
                _ => "",
            };
            let big = if *big { " big" } else { "" };
            let least = rate(&format!("{}.{:02}", price * least / 1_000, price * least / 10 % 100));
            town.hosts(&format!("h{at} {}.{}0 {uptime}% x{free}{big}{odd} least={least}", price / 10, price % 10));
        }
        for (at, (standing, host, gpus, bid, on_demand, odd)) in members.iter().enumerate() {
            let standing = Standing::ALL.get(*standing).copied().unwrap_or(Standing::Running);
            let odd = match odd {
                0 => " protected",
                1 => " billed=9",
                2 => " doubt",
                3 => " age=99999",
                4 => " accepted=5",
                5 => " refused=5",
                7 => " undeleted=2",
                8 => " unstopped=2",
                6 if at > 0 => " replaces=spotscale-f-e-0",
                _ => "",
            };
            let on_demand = if *on_demand { " od" } else { "" };
            let fleet = if at % 3 == 2 { "g" } else { "f" };
            if !town.situation.fleets.contains_key(&"g".parse().unwrap()) {
                town.second("g", 50, |terms| terms.target_gpus = 2);
            }
            let line = format!(
                "spotscale-{fleet}-e-{at} {standing} h{host} {gpus} rate={}.{}0{on_demand}{odd}",
                bid / 10,
                bid % 10
            );
            town.members_of(fleet, &line);
        }
        town.policy(|terms| {
            terms.target_gpus = target;
            terms.instance.gpus.min = gpus_min;
            terms.instance.gpus.max = gpus_max.max(gpus_min);
            terms.on_demand.usage =
                [OnDemandUse::Never, OnDemandUse::Fallback, OnDemandUse::Always][usize::from(usage)];
            terms.on_demand.after = Duration::ZERO;
            terms.on_demand.base_gpus = u32::from(flags & 1);
            if flags & 2 > 0 {
                terms.hosts.max_gpus_per_hostnode = Some(gpus_max.max(gpus_min));
                terms.hosts.max_share_per_location_ppm = Some(600_000);
            }
            if flags & 4 > 0 {
                terms.preference = Preference::Value;
                terms.spot.bid = BidStrategy::Cap;
                terms.instance.scale_down = ScaleDown::Stop;
                terms.disruption.max_surge = Quantity::SharePpm(500_000);
            }
            if flags & 8 > 0 {
                terms.models[1].max_price = Some(rate(&format!("{}.{:02}", cap / 100, cap % 100)));
            }
            terms.max_hourly_rate = rate(&format!("{}.{}0", limit / 10, limit % 10));
        });
        town.balance_read(&format!("{balance}"), balance_age_s);
        town.state().order = match order {
            0 => Order::Evacuate,
            1 => Order::Pause(target),
            _ => Order::Hold(target),
        };
        town.market().bench = match bench {
            0 => Some(Bench::Throttled),
            _ => None,
        };
        town.market().list_complete = complete || bench > 2;
        if global > 0 && global < 100 {
            town.situation.limits.max_hourly_rate = Some(rate(&format!("{}.{}0", global / 10, global % 10)));
        }
        if held < 16 {
            town.hold(|terms| {
                terms.target_gpus = if held & 1 > 0 { target / 2 } else { target * 2 };
                terms.max_hourly_rate =
                    if held & 2 > 0 { terms.max_hourly_rate.share_ppm(700_000) } else { rate("90") };
                terms.models[1].max_price = (held & 4 > 0).then(|| rate("1.20"));
                terms.min_runway = seconds(if held & 8 > 0 { 9_000 } else { 60 });
            });
            town.hold_limits(|limits| {
                limits.max_hourly_rate = (held & 5 > 0).then(|| rate("4.50"));
                limits.balance_floor = if held & 10 > 0 { "15".parse().unwrap() } else { "0".parse().unwrap() };
            });
        }
        for (host, gpus, bid, accepted, age_s) in quotes {
            use crate::model::offer::BidAnswer;
            let answer = if *accepted { BidAnswer::Accepted } else { BidAnswer::Refused };
            town.quote(&format!("h{host}"), *gpus, &format!("{}.{}0", bid / 10, bid % 10), answer, *age_s);
        }
        town
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn equal_situations_give_equal_plans(town in towns()) {
            prop_assert_eq!(plan(&town.situation), plan(&town.situation.clone()));
        }

        #[test]
        fn no_plan_breaks_an_invariant(town in towns()) {
            let plan = plan(&town.situation);
            prop_assert_eq!(verify::verify(&town.situation, &plan), vec![]);
        }

        #[test]
        fn plan_and_apply_come_to_an_end_within_the_limits(town in towns()) {
            let mut town = town;
            let mut rounds = 0;
            loop {
                let before: u32 = town.situation.fleets.values().map(|state| state.fleet.counted_gpus()).sum();
                if town.round() == 0 {
                    break;
                }
                rounds += 1;
                prop_assert!(rounds < 400, "no end: {}", town.said());
                for state in town.situation.fleets.values() {
                    let counted = state.fleet.counted_gpus();
                    prop_assert!(counted <= before.max(state.target_gpus() + state.surge_gpus()));
                }
            }
        }

        #[test]
        fn no_plan_costs_less_than_its_lower_bound(town in towns()) {
            for report in plan(&town.situation).report.values() {
                prop_assert!(report.lower_bound <= report.rate_planned, "{} {}", report.lower_bound, report.rate_planned);
            }
        }

        #[test]
        fn what_is_observed_and_what_is_paused_is_never_changed(town in towns(), observes: bool) {
            let mut town = town;
            if observes {
                town.situation.limits.mode = Mode::Observe;
            }
            let plan = plan(&town.situation);
            for action in plan.actions.iter().filter(|action| permitted(&town.situation, action)) {
                let reads = action.is_read();
                prop_assert!(reads || !observes);
                if let Order::Pause(_) = town.situation.fleets[action.fleet()].order {
                    let lets_go = matches!(action, Action::Delete { .. }) || reads;
                    prop_assert!(lets_go);
                }
            }
        }

        #[test]
        fn two_marketplaces_of_one_account_sell_each_gpu_once(
            frees in proptest::collection::vec(0u32..6, 1..6), target in 0u32..24, dearer in any::<bool>(), age_s in 0u64..9,
        ) {
            let mut town = town("");
            for (at, free) in frees.iter().enumerate() {
                town.hosts(&format!("h{at} 1.{at}0 99% x{free}"));
            }
            town.policy(|terms| {
                terms.target_gpus = target;
                terms.on_demand.usage = OnDemandUse::Always;
            });
            town.twin(age_s, |host| reprice(host, if dearer { 1_100_000 } else { 900_000 }));
            town.settle();
            let counted = town.state().fleet.counted_gpus();
            prop_assert_eq!(counted, target.min(frees.iter().sum()));
            let cheaper = if dearer { "m" } else { "n" };
            prop_assert!(town.state().fleet.members.values().all(|member| member.marketplace.as_str() == cheaper));
        }

        #[test]
        fn a_fleet_that_bids_reaches_its_target_wherever_enough_is_free(
            hosts in proptest::collection::vec((0u32..6, 5u32..100), 1..6), target in 0u32..16,
        ) {
            let mut town = town("");
            for (at, (free, least)) in hosts.iter().enumerate() {
                town.hosts(&format!("h{at} 1.{at}0 99% x{free} least=0.{least:02}"));
            }
            town.target(target);
            let rounds = town.settle();
            let reached = town.state().fleet.counted_gpus();
            prop_assert_eq!(reached, target.min(hosts.iter().map(|(free, _)| free).sum()));
            prop_assert!(rounds <= 60, "{rounds} rounds");
            let asks = town.market().quotes.len();
            prop_assert!(asks <= 120, "{asks} asks");
        }

        #[test]
        fn a_naive_count_agrees_with_what_is_bought_when_money_and_room_abound(
            frees in proptest::collection::vec(0u32..6, 1..6), target in 0u32..24,
        ) {
            let mut town = town("");
            for (at, free) in frees.iter().enumerate() {
                town.hosts(&format!("h{at} 1.{at}0 99% x{free}"));
            }
            town.policy(|terms| {
                terms.target_gpus = target;
                terms.on_demand.usage = OnDemandUse::Always;
            });
            let report = plan(&town.situation).report.remove(&town.fleet()).unwrap();
            prop_assert_eq!(report.planned_gpus, target.min(frees.iter().sum()));
        }
    }

    #[test]
    fn a_satisfied_fleets_plan_is_empty() {
        let mut town = town("m running a 2   n running b 1 od");
        town.hosts("a 1.00 99%   b 0.01 99%").target(3);
        assert_eq!(town.said(), "");
    }

    #[test]
    fn a_report_tells_the_figures() {
        let mut town = town("m running a 1");
        town.hosts("a 1.00 99%   b 1.10 99%   c 1.20 99% offline").policy(|terms| {
            terms.target_gpus = 3;
            terms.max_hourly_rate = rate("6");
            terms.on_demand.usage = OnDemandUse::Always;
        });
        let report = plan(&town.situation).report.remove(&town.fleet()).unwrap();
        assert_eq!((report.target_gpus, report.running_gpus, report.planned_gpus), (3, 1, 3));
        assert_eq!((report.rate_now, report.rate_planned, report.rate_limit), (rate("0.505"), rate("2.51"), rate("6")));
        assert_eq!((report.lower_bound, report.gap_ppm), (rate("2.51"), 0));
        assert_eq!(report.rejected[&Rejected::Offline], 1);
        let chosen = |candidate: &&Candidate| candidate.verdict == Verdict::Chosen;
        assert_eq!(report.candidates.iter().filter(chosen).count(), 1);
        assert_eq!(report.unasked_offers, 0);
    }

    #[test]
    fn offers_that_were_not_asked_about_are_counted() {
        let mut town = town("");
        town.hosts("a 1.00 99%   b 1.10 99%");
        let report = plan(&town.situation).report.remove(&town.fleet()).unwrap();
        assert_eq!(report.unasked_offers, 2);
        assert!(report.candidates.iter().all(|candidate| candidate.verdict == Verdict::Asking));
    }
}
