//! How much an edit would tear down, before it comes into force.
//!
//! A slip of the finger in a policy or in `[limits]` (a lost digit, a wrong limit) must not cost anybody a fleet. An edit
//! that would let more GPUs go than `max_scale_down` allows, and more than one VM, is held whole until the operator applies
//! it. This module only counts. It has no order of victims of its own: it has the same moment planned with what is in force
//! and with the edit, and what only the edit lets go is the edit's doing. That is one way for every kind of edit.
//!
//! What a plan lets go at once is not all that goes because of an edit, so each is looked at in four ways, as `Ahead`
//! says, and the worst counts. What time alone brings about is nobody's edit: what a longer `min_runway` or a smaller
//! budget lets go hours later, when the money has run down to it, is not counted. Of an account that nobody could read it is
//! supposed that it holds no more than what is in force asks for.

use crate::{
    model::{AccountName, Balance, FleetName, InstanceId, Timestamp, VmName, inventory::Dated, reason::Teardown},
    plan::{Action, FleetState, Order, Situation, permitted, plan},
    policy::{
        Policy,
        terms::{Mode, WhenLow},
    },
    settings::{BalanceRule, Limits},
};
use std::collections::{BTreeMap, BTreeSet};

/// The operator's targets, by fleet.
pub type Levers = BTreeMap<FleetName, u32>;

/// What an edit would let go of a fleet, and what it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// VMs.
    pub vms: u32,
    /// GPUs.
    pub gpus: u32,
    /// GPUs that may go without asking: `max_scale_down` of the policy in force.
    pub gpus_max: u32,
}

impl Loss {
    /// More than may go without asking, and more than one VM.
    pub fn is_too_much(&self) -> bool {
        self.vms > 1 && self.gpus > self.gpus_max
    }

    fn worse(self, other: Self) -> Self {
        let weight = |loss: &Self| (loss.is_too_much(), loss.gpus, loss.vms);
        if weight(&other) > weight(&self) { other } else { self }
    }
}

/// How far one looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ahead {
    /// What the very next plan lets go, as everything stands.
    AtOnce,
    /// Whom it comes to once what is in doubt is found and nothing is waited for any more, while every lever stays as it is.
    InTime,
    /// Likewise, once nothing is paused or protected any more, while the operator's targets last.
    UnderTargets,
    /// Likewise, once the operator's targets have ended too.
    UnderTexts,
}

impl Ahead {
    const ALL: [Self; 4] = [Self::AtOnce, Self::InTime, Self::UnderTargets, Self::UnderTexts];

    /// The target that counts then, whether or not it is held up to now.
    fn target(self, state: &FleetState, levers: &Levers) -> u32 {
        let text = state.policy.target_gpus;
        match self {
            Self::AtOnce | Self::InTime | Self::UnderTargets => {
                levers.get(&state.policy.fleet).copied().unwrap_or(text)
            }
            Self::UnderTexts => text,
        }
    }

    /// VMs that a plan lets go then.
    fn gone(self, situation: &Situation, levers: &Levers) -> BTreeSet<VmName> {
        let mut then = situation.clone();
        for state in then.fleets.values_mut() {
            let target = self.target(state, levers);
            state.order = match (self, state.order) {
                (Self::AtOnce | Self::InTime, Order::Evacuate) => Order::Evacuate,
                (Self::AtOnce | Self::InTime, Order::Pause(_)) => Order::Pause(target),
                (Self::AtOnce | Self::InTime, Order::Hold(_)) | (Self::UnderTargets | Self::UnderTexts, _) => {
                    Order::Hold(target)
                }
            };
        }
        match self {
            Self::AtOnce => {}
            Self::InTime => without_waiting(&mut then),
            Self::UnderTargets | Self::UnderTexts => {
                without_waiting(&mut then);
                without_levers(&mut then);
            }
        }
        let planned = plan(&then);
        let allowed = planned.actions.iter().filter(|action| permitted(&then, action));
        allowed.filter_map(|action| lets_go(action).cloned()).collect()
    }
}

/// Takes away what only delays that a VM goes.
fn without_waiting(situation: &mut Situation) {
    situation.markets.values_mut().for_each(|market| market.list_complete = true);
    let accounts: Vec<AccountName> = situation.accounts.keys().cloned().collect();
    for account in accounts {
        let left = situation.account_left(&account);
        let state = situation.accounts.get_mut(&account);
        if let (Some((left, _)), Some(balance)) = (left, state.and_then(|state| state.balance.as_mut())) {
            *balance = Dated { at: situation.now, value: Balance { amount: left, ..balance.value } };
        }
    }
    for state in situation.fleets.values_mut() {
        state.scaled_down_at = None;
        for member in state.fleet.members.values_mut() {
            // One in doubt is let go once it is found.
            member.id = member.id.take().or_else(|| member.name.as_str().parse::<InstanceId>().ok());
            // What was refused, or did nothing, is tried again.
            let tried = member.attempts.delete.iter_mut().map(|attempt| &mut attempt.at);
            let refused = member.attempts.stop_refused.iter_mut().map(|(at, _)| at);
            tried.chain(refused).for_each(|at| *at = Timestamp::UNIX_EPOCH);
        }
    }
}

/// Takes away what the operator keeps VMs with: that the daemon only observes is one of these.
fn without_levers(situation: &mut Situation) {
    situation.limits.mode = Mode::Act;
    let members = situation.fleets.values_mut().flat_map(|state| state.fleet.members.values_mut());
    members.for_each(|member| member.protected = false);
}

/// The member that an action lets go.
fn lets_go(action: &Action) -> Option<&VmName> {
    match action {
        // What turned up late may be called like one that stays.
        Action::Delete { reason: Teardown::Late, .. } => None,
        Action::Delete { subject, .. } | Action::Stop { subject, .. } => Some(&subject.name),
        Action::Ask { .. } | Action::Look { .. } | Action::Deploy(_) | Action::Rebid { .. } | Action::Start { .. } => {
            None
        }
    }
}

/// What the accounts hold that nobody could read, where it must be read: just what covers their cost for the longest
/// `min_runway` in force, so that nothing goes by now. It may be more, but whoever waits for `apply` then has lost nothing.
fn supposed_balances(in_force: &Situation) -> BTreeMap<AccountName, Dated<Balance>> {
    let unread = in_force.accounts.iter().filter(|(account, state)| {
        state.balance.is_none() && in_force.limits.account(account).balance == BalanceRule::Required
    });
    let suppose = |account: &AccountName| {
        let shedding = in_force.fleets.values().filter(|state| state.policy.when_low == WhenLow::Hold);
        let payers = shedding.filter(|state| state.fleet.members.values().any(|member| member.account == *account));
        let span = payers.map(|state| state.policy.min_runway).max().unwrap_or_default();
        let amount = in_force.account_cost(account).cost(span);
        Dated { at: in_force.now, value: Balance { amount, hourly_cost: None } }
    };
    unread.map(|(account, _)| (account.clone(), suppose(account))).collect()
}

/// What lies between two situations that differ by an edit, for each fleet: at its worst.
fn losses(in_force: &Situation, edited: &Situation, levers: &Levers) -> BTreeMap<FleetName, Loss> {
    let supposed = supposed_balances(in_force);
    let as_read = losses_as_read(in_force, edited, levers);
    if supposed.is_empty() {
        return as_read;
    }
    let supposing = |situation: &Situation| {
        let mut supposing = situation.clone();
        for (account, state) in &mut supposing.accounts {
            state.balance = state.balance.take().or_else(|| supposed.get(account).cloned());
        }
        supposing
    };
    let mut losses = losses_as_read(&supposing(in_force), &supposing(edited), levers);
    // For money go others than for a target: what goes now, while nobody can read it, is looked at too.
    for (fleet, loss) in as_read {
        losses.entry(fleet).and_modify(|worst| *worst = worst.worse(loss)).or_insert(loss);
    }
    losses
}

/// Likewise, by the balances that were read.
fn losses_as_read(in_force: &Situation, edited: &Situation, levers: &Levers) -> BTreeMap<FleetName, Loss> {
    let mut losses: BTreeMap<FleetName, Loss> = BTreeMap::new();
    for ahead in Ahead::ALL {
        let before = match ahead {
            // What goes in time anyway may go at once.
            Ahead::AtOnce => &ahead.gone(in_force, levers) | &Ahead::InTime.gone(in_force, levers),
            Ahead::InTime | Ahead::UnderTargets | Ahead::UnderTexts => ahead.gone(in_force, levers),
        };
        let after = ahead.gone(edited, levers);
        for (name, state) in &in_force.fleets {
            let members = state.fleet.members.values();
            let lost = members.filter(|member| after.contains(&member.name) && !before.contains(&member.name));
            let gpus_max = state.policy.disruption.max_scale_down.of(ahead.target(state, levers));
            let loss = lost.fold(Loss { gpus_max, ..Loss::default() }, |loss, member| Loss {
                vms: loss.vms.saturating_add(1),
                gpus: loss.gpus.saturating_add(member.counted_gpus()),
                gpus_max,
            });
            let worst = losses.get(name).map_or(loss, |worst| worst.worse(loss));
            losses.insert(name.clone(), worst);
        }
    }
    losses
}

/// What a new policy would let go that the one in force would not: of its own fleet, or of another one at whose cost it
/// keeps its share, whichever is worse.
pub fn loss_by_policy(situation: &Situation, new: &Policy, levers: &Levers) -> Loss {
    let (mut in_force, mut edited) = (situation.clone(), situation.clone());
    let Some(state) = edited.fleets.get_mut(&new.fleet) else { return Loss::default() };
    state.policy = new.clone();
    state.held = None;
    match new.mode {
        // Where only the edit acts, all that goes is its doing.
        Mode::Act => {}
        // Else both are judged by what they would do, or many small edits could be watched and all be done at once.
        Mode::Observe => {
            for state in [&mut in_force, &mut edited].into_iter().filter_map(|side| side.fleets.get_mut(&new.fleet)) {
                state.policy = state.policy.acting();
            }
        }
    }
    losses(&in_force, &edited, levers).into_values().fold(Loss::default(), Loss::worse)
}

/// What new limits over all fleets, and new budgets of accounts, would let go of each fleet that those in force would not.
pub fn loss_by_limits(situation: &Situation, new: &Limits, levers: &Levers) -> BTreeMap<FleetName, Loss> {
    // Where only the edit acts, all that goes is its doing; one that is only to be watched is judged as if it acted.
    let mode = match new.mode {
        Mode::Act => Mode::Act,
        Mode::Observe => situation.limits.mode,
    };
    let edited = Situation { limits: Limits { mode, ..new.clone() }, limits_held: None, ..situation.clone() };
    losses(situation, &edited, levers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::sample::{member, name, status},
        ledger::{
            Member, Standing,
            fleet::{DeleteAnswer, DeleteAttempt, Fleet},
        },
        model::{HourlyRate, Usd},
        plan::tests::situations,
        policy::terms::{Quantity, ScaleDown, Terms},
        settings::AccountLimits,
    };
    use proptest::prelude::*;
    use std::time::Duration;

    /// The sample's situation, in which `train` runs these and has a target of 8, and its policy.
    fn situation(members: &[(u32, u32, &str)]) -> (Situation, Policy) {
        let mut situation = status().situation.unwrap().into_value();
        let train: FleetName = name("train");
        let state = situation.fleets.get_mut(&train).unwrap();
        let run = |(sequence, gpus, price): &(u32, u32, &str)| {
            let mut member = member("train", *sequence, "geforcertx4090-pcie-24gb", *gpus, price, Standing::Running);
            member.protected = false;
            (member.name.clone(), member)
        };
        state.fleet = Fleet { members: members.iter().map(run).collect(), ..Fleet::default() };
        let policy = state.policy.clone();
        (situation, policy)
    }

    fn edited(policy: &Policy, edit: impl FnOnce(&mut Terms)) -> Policy {
        let mut terms = Terms::clone(policy);
        edit(&mut terms);
        Policy::vouched(terms)
    }

    /// VMs and GPUs that an edit would let go while the operator's levers are untouched.
    fn loss(situation: &Situation, new: &Policy) -> (u32, u32) {
        let loss = loss_by_policy(situation, new, &Levers::new());
        (loss.vms, loss.gpus)
    }

    fn is_held(situation: &Situation, new: &Policy, levers: &Levers) -> bool {
        loss_by_policy(situation, new, levers).is_too_much()
    }

    fn train() -> FleetName {
        name("train")
    }

    /// Puts a policy into force.
    fn enforce(situation: &mut Situation, policy: &Policy) {
        let state = situation.fleets.get_mut(&policy.fleet).unwrap();
        state.policy = policy.clone();
        state.order = Order::Hold(policy.target_gpus);
    }

    const SIX: [(u32, u32, &str); 6] =
        [(1, 1, "0.40"), (2, 1, "0.41"), (3, 1, "0.42"), (4, 1, "0.43"), (5, 1, "0.44"), (6, 1, "0.45")];

    #[test]
    fn an_edit_that_changes_no_limit_loses_nothing() {
        let (situation, policy) = situation(&SIX);
        assert_eq!(loss(&situation, &policy), (0, 0));
        assert_eq!(loss(&situation, &edited(&policy, |terms| terms.target_gpus = 20)), (0, 0));
    }

    #[test]
    fn a_lower_target_loses_what_is_over_it_and_never_goes_below() {
        let (situation, policy) = situation(&SIX);
        let lower = |target: u32| loss(&situation, &edited(&policy, |terms| terms.target_gpus = target));
        assert_eq!((lower(5), lower(0)), ((1, 1), (6, 6)));
        let (situation, policy) = self::situation(&[(1, 4, "1.60"), (2, 4, "1.64")]);
        let three = edited(&policy, |terms| terms.target_gpus = 3);
        assert_eq!(loss(&situation, &three), (1, 4));
    }

    #[test]
    fn a_lower_rate_limit_loses_the_dearest_until_it_fits() {
        let (situation, policy) = situation(&SIX);
        // 2.55 for the GPUs and 6 × 0.005 for storage are committed.
        let limit =
            |limit: &str| loss(&situation, &edited(&policy, |terms| terms.max_hourly_rate = limit.parse().unwrap()));
        assert_eq!((limit("2.58"), limit("2.57"), limit("0.50")), ((0, 0), (1, 1), (5, 5)));
    }

    #[test]
    fn a_lower_rate_limit_loses_the_lost_first_however_cheap_they_are() {
        // The dearest alone would do: 3.605 of 5.625. But what serves nobody goes first.
        let (mut situation, policy) =
            situation(&[(1, 4, "3.60"), (2, 1, "0.50"), (3, 1, "0.50"), (4, 1, "0.50"), (5, 1, "0.50")]);
        let lower = edited(&policy, |terms| terms.max_hourly_rate = "2.50".parse().unwrap());
        assert_eq!(loss(&situation, &lower), (1, 4));
        // Not for long enough to be given up anyway.
        let now = situation.now;
        let members = situation.fleets.get_mut(&train()).unwrap().fleet.members.values_mut();
        for member in members.filter(|member| member.shape.gpus == 1) {
            (member.standing, member.since) = (Standing::Lost, now);
        }
        assert_eq!(loss(&situation, &lower), (5, 8));
        assert!(is_held(&situation, &lower, &Levers::new()));
    }

    #[test]
    fn a_lower_price_cap_loses_what_is_billed_above_what_was_agreed_and_the_cap() {
        let (mut situation, policy) = situation(&SIX);
        let capped = edited(&policy, |terms| {
            for model in &mut terms.models {
                model.max_price = Some("0.43".parse().unwrap());
            }
        });
        assert_eq!(loss(&situation, &capped), (0, 0), "it steers what is rented from now on");
        let billed_more = situation.fleets.get_mut(&policy.fleet).unwrap().fleet.members.values_mut().take(2);
        for member in billed_more {
            member.quoted.as_mut().unwrap().compute = "0.44".parse().unwrap();
        }
        assert_eq!(loss(&situation, &capped), (2, 2));
    }

    #[test]
    fn a_model_that_is_taken_out_a_higher_floor_and_a_longer_wait_lose_nothing() {
        let (situation, policy) = situation(&SIX);
        let none = |edit: fn(&mut Terms)| assert_eq!(loss(&situation, &edited(&policy, edit)), (0, 0));
        none(|terms| terms.models.retain(|terms| !terms.model.as_str().contains("4090")));
        none(|terms| terms.balance_floor = Usd::from_micros(100_000_000_000));
        none(|terms| terms.hosts.min_uptime_ppm = 1_000_000);
        none(|terms| terms.instance.gpus.min = 8);
        none(|terms| terms.disruption.cooldown_down = Duration::ZERO);
        none(|terms| terms.disruption.max_scale_down = Quantity::Count(0));
    }

    #[test]
    fn what_goes_anyway_is_not_the_edits_doing() {
        let (mut situation, policy) = situation(&SIX);
        let target = |target: u32| edited(&policy, |terms| terms.target_gpus = target);
        enforce(&mut situation, &target(2));
        assert_eq!(loss(&situation, &target(2)), (0, 0));
        assert_eq!(loss(&situation, &target(1)), (1, 1));
        let hasty = edited(&target(2), |terms| terms.disruption.max_unavailable = Quantity::Count(8));
        assert_eq!(loss(&situation, &hasty), (0, 0), "nor that it goes sooner");
    }

    #[test]
    fn what_is_protected_paused_in_doubt_or_waited_for_goes_in_the_end_all_the_same() {
        let (mut situation, policy) = situation(&SIX);
        let zero = edited(&policy, |terms| terms.target_gpus = 0);
        situation.markets.values_mut().for_each(|market| market.list_complete = false);
        let now = situation.now;
        let state = situation.fleets.get_mut(&train()).unwrap();
        state.scaled_down_at = Some(now);
        for member in state.fleet.members.values_mut() {
            member.protected = true;
        }
        for member in state.fleet.members.values_mut().take(2) {
            (member.standing, member.id) = (Standing::InDoubt, None);
        }
        for order in [Order::Hold(8), Order::Pause(8), Order::Evacuate] {
            situation.fleets.get_mut(&train()).unwrap().order = order;
            assert_eq!(loss(&situation, &zero), (6, 6), "{order:?}");
        }
    }

    #[test]
    fn what_just_could_not_be_let_go_is_let_go_in_the_end_however_short_of_money_an_account_may_be() {
        let (mut situation, policy) = situation(&SIX);
        let account = situation.accounts.values_mut().next().unwrap();
        account.balance = None;
        let now = situation.now;
        let [deleted, stopped] = ["delete", "stop"].map(|by| {
            let mut refused = situation.clone();
            let members = refused.fleets.get_mut(&train()).unwrap().fleet.members.values_mut();
            for member in members.take(2) {
                match by {
                    "delete" => {
                        let answer = DeleteAnswer::Refused(1);
                        member.attempts.delete = Some(DeleteAttempt { at: now, reason: Teardown::Target, answer });
                    }
                    _ => member.attempts.stop_refused = Some((now, 1)),
                }
            }
            refused
        });
        let zero = |scale_down: ScaleDown| {
            edited(&policy, |terms| {
                (terms.target_gpus, terms.instance.scale_down) = (0, scale_down);
                terms.min_runway = Duration::from_secs(3_600 * 24);
            })
        };
        for scale_down in [ScaleDown::Delete, ScaleDown::Stop] {
            for situation in [&situation, &deleted, &stopped] {
                assert_eq!(loss(situation, &zero(scale_down)), (6, 6), "{scale_down:?}");
            }
        }
    }

    #[test]
    fn what_is_only_watched_goes_once_it_acts() {
        let (mut situation, policy) = situation(&SIX);
        let watching = |target: u32| edited(&policy, |terms| (terms.mode, terms.target_gpus) = (Mode::Observe, target));
        assert_eq!(loss(&situation, &watching(8)), (0, 0));
        assert_eq!(loss(&situation, &watching(0)), (6, 6));
        // It was watched down to 2; acting on that is what tears it down.
        enforce(&mut situation, &watching(2));
        assert_eq!(loss(&situation, &watching(1)), (1, 1));
        let acting = edited(&policy, |terms| terms.target_gpus = 2);
        assert_eq!(loss(&situation, &acting), (4, 4));
        assert!(is_held(&situation, &acting, &Levers::new()), "of 2");
    }

    #[test]
    fn an_edit_under_a_target_of_the_operators_is_judged_by_that_and_by_what_follows_it() {
        let sixteen: Vec<(u32, u32, &str)> = (1..=16).map(|sequence| (sequence, 1, "0.10")).collect();
        let (mut situation, policy) = situation(&sixteen);
        let levers = Levers::from([(train(), 16)]);
        situation.fleets.get_mut(&train()).unwrap().order = Order::Hold(16);
        let target = |target: u32| edited(&policy, |terms| terms.target_gpus = target);
        // From 8 to 3 once the lever ends: 5 of 8, though nothing goes now, and it would be little of 16.
        assert!(is_held(&situation, &target(3), &levers));
        assert!(!is_held(&situation, &target(4), &levers));
        // 16 × 0.105 are committed: 9 of 16 go now, and of those that stay once the lever ends one.
        let cheap = |most: &str| edited(&policy, |terms| terms.max_hourly_rate = most.parse().unwrap());
        assert!(is_held(&situation, &cheap("0.74"), &levers));
        assert!(!is_held(&situation, &cheap("0.84"), &levers));
    }

    #[test]
    fn while_the_operators_target_is_nothing_an_edit_is_judged_by_what_follows() {
        let (mut situation, policy) = situation(&SIX);
        let levers = Levers::from([(train(), 0)]);
        situation.fleets.get_mut(&train()).unwrap().order = Order::Hold(0);
        let target = |target: u32| edited(&policy, |terms| terms.target_gpus = target);
        assert!(is_held(&situation, &target(0), &levers), "6 of 8 that may still be there by then");
        assert!(!is_held(&situation, &target(3), &levers));
        situation.fleets.get_mut(&train()).unwrap().fleet.members.clear();
        assert!(!is_held(&situation, &target(0), &levers));
    }

    #[test]
    fn a_longer_runway_on_a_low_account_loses_what_a_plan_would_let_go() {
        let (mut situation, policy) = situation(&SIX);
        let account = situation.accounts.values_mut().next().unwrap();
        account.balance.as_mut().unwrap().value.amount = Usd::from_micros(20_000_000);
        let longer = edited(&policy, |terms| terms.min_runway = Duration::from_secs(3_600 * 24));
        assert!(loss(&situation, &longer).0 >= 5, "{:?}", loss(&situation, &longer));
        assert_eq!(loss(&situation, &policy), (0, 0));
        // A balance that is too old to act on now is read again.
        let balance = situation.accounts.values_mut().next().unwrap().balance.as_mut().unwrap();
        balance.at = crate::model::time::before(balance.at, Duration::from_secs(1_200));
        assert!(loss(&situation, &longer).0 >= 5, "{:?}", loss(&situation, &longer));
    }

    #[test]
    fn while_the_balance_was_never_read_a_longer_runway_may_lose_all_that_it_would_on_a_low_account() {
        let (mut situation, policy) = situation(&SIX);
        let account = situation.accounts.values_mut().next().unwrap();
        account.balance = None;
        let runway = |hours: u64| edited(&policy, |terms| terms.min_runway = Duration::from_secs(3_600 * hours));
        assert!(loss(&situation, &runway(24)).0 >= 5, "{:?}", loss(&situation, &runway(24)));
        assert_eq!(loss(&situation, &runway(1)), (0, 0), "it is in force");
        assert_eq!(loss(&situation, &edited(&runway(24), |terms| terms.when_low = WhenLow::Never)), (0, 0));
        assert_eq!(loss(&situation, &edited(&policy, |terms| terms.target_gpus = 5)), (1, 1), "not for money");
        let never = edited(&policy, |terms| terms.when_low = WhenLow::Never);
        enforce(&mut situation, &never);
        assert!(loss(&situation, &runway(24)).0 >= 5, "{:?}", loss(&situation, &runway(24)));
        // Where our own accrual stands in for what nobody can read, no balance lets anything go.
        let declared = AccountLimits { balance: BalanceRule::UnreadableOk, ..AccountLimits::UNSAID };
        situation.limits.accounts = BTreeMap::from([(name("tensordock"), declared)]);
        assert_eq!(loss(&situation, &runway(24)), (0, 0));
    }

    #[test]
    fn while_the_balance_was_never_read_what_goes_for_the_target_counts_though_for_money_something_smaller_would_go() {
        let (mut situation, policy) = situation(&[(1, 1, "0.30"), (2, 2, "0.10"), (3, 2, "0.10")]);
        let account = situation.accounts.values_mut().next().unwrap();
        (account.balance, account.foreign) = (None, HourlyRate::ZERO);
        situation.fleets.retain(|fleet, _| *fleet == train());
        let now = situation.now;
        let members = situation.fleets.get_mut(&train()).unwrap().fleet.members.values_mut();
        members.skip(2).for_each(|member| (member.standing, member.since) = (Standing::Lost, now));
        enforce(&mut situation, &edited(&policy, |terms| terms.target_gpus = 5));
        let lower = edited(&policy, |terms| {
            terms.target_gpus = 1;
            terms.max_hourly_rate = "0.50".parse().unwrap();
            terms.min_runway = Duration::from_secs(3_600 * 2);
        });
        assert_eq!(loss(&situation, &lower), (2, 4));
        assert!(is_held(&situation, &lower, &Levers::new()), "of 5, half");
    }

    fn by_limits(situation: &Situation, edit: impl FnOnce(&mut Limits)) -> BTreeMap<FleetName, (u32, u32)> {
        let mut limits = situation.limits.clone();
        edit(&mut limits);
        let losses = loss_by_limits(situation, &limits, &Levers::new()).into_iter();
        losses.map(|(fleet, loss)| (fleet, (loss.vms, loss.gpus))).filter(|(_, loss)| loss.0 > 0).collect()
    }

    #[test]
    fn limits_that_act_where_those_in_force_only_watch_lose_all_that_goes_and_the_other_way_round_nothing() {
        let (mut situation, policy) = situation(&SIX);
        enforce(&mut situation, &edited(&policy, |terms| terms.target_gpus = 2));
        let mode = |situation: &Situation, mode: Mode| by_limits(situation, |limits| limits.mode = mode);
        situation.limits.mode = Mode::Act;
        assert_eq!(mode(&situation, Mode::Observe), BTreeMap::new());
        situation.limits.mode = Mode::Observe;
        assert_eq!(mode(&situation, Mode::Observe), BTreeMap::new());
        assert_eq!(mode(&situation, Mode::Act), BTreeMap::from([(train(), (4, 4))]));
    }

    #[test]
    fn a_smaller_budget_loses_what_a_plan_would_let_go_at_once() {
        let (situation, _) = situation(&SIX);
        let account: AccountName = name("tensordock");
        let losses = |most: &str| {
            let limits = AccountLimits { max_spend_per_day: Some(most.parse().unwrap()), ..AccountLimits::UNSAID };
            by_limits(&situation, |edited| edited.accounts = BTreeMap::from([(account.clone(), limits)]))
        };
        // 12.345 are spent today, and what is spent on now is no reason to hold an edit.
        assert_eq!(losses("20"), BTreeMap::new());
        let loss = |losses: BTreeMap<FleetName, (u32, u32)>| losses.get(&train()).copied().unwrap_or_default().0;
        assert!((1..6).contains(&loss(losses("14"))), "{:?}", losses("14"));
        assert_eq!(loss(losses("12")), 6);
    }

    #[test]
    fn too_much_is_more_than_the_share_of_the_target_and_more_than_one_vm() {
        let is_too_much = |vms, gpus| Loss { vms, gpus, gpus_max: 4 }.is_too_much();
        assert_eq!([is_too_much(4, 4), is_too_much(5, 5), is_too_much(1, 8)], [false, true, false]);
    }

    #[test]
    fn a_lower_limit_over_all_fleets_loses_of_the_lowest_priority_first_however_cheap_it_is() {
        let (mut situation, policy) = situation(&[(1, 1, "2.495")]);
        let serve: FleetName = name("serve");
        let six = |sequence: u32| {
            let member = member("serve", sequence, "geforcertx4090-pcie-24gb", 1, "0.395", Standing::Running);
            (member.name.clone(), member)
        };
        let state = situation.fleets.get_mut(&serve).unwrap();
        let low = edited(&state.policy, |terms| {
            terms.priority = policy.priority - 1;
            terms.target_gpus = 6;
            terms.max_hourly_rate = policy.max_hourly_rate;
        });
        enforce(&mut situation, &low);
        situation.fleets.get_mut(&serve).unwrap().fleet =
            Fleet { members: (1..=6).map(six).collect(), ..Fleet::default() };
        let lost = |most: &str| by_limits(&situation, |limits| limits.max_hourly_rate = Some(most.parse().unwrap()));
        // 2.50 and 6 × 0.40 are committed.
        assert_eq!(lost("4.90"), BTreeMap::new());
        assert_eq!(lost("2.90"), BTreeMap::from([(serve.clone(), (5, 5))]));
        assert_eq!(lost("2.40"), BTreeMap::from([(serve, (6, 6)), (train(), (1, 1))]));
    }

    #[test]
    fn what_only_a_lever_keeps_is_lost_by_an_edit_that_takes_it_for_money() {
        let (mut situation, policy) = situation(&SIX);
        let target = edited(&policy, |terms| terms.target_gpus = 0);
        enforce(&mut situation, &target);
        let poor = edited(&target, |terms| terms.max_hourly_rate = "0.50".parse().unwrap());
        assert_eq!(loss(&situation, &poor), (0, 0), "they go anyway");
        for paused in [true, false] {
            let state = situation.fleets.get_mut(&train()).unwrap();
            state.order = if paused { Order::Pause(0) } else { Order::Hold(0) };
            state.fleet.members.values_mut().for_each(|member| member.protected = !paused);
            assert_eq!(loss(&situation, &poor), (5, 5), "{paused}");
        }
    }

    /// Members that a plan lets go as things stand.
    fn let_go(situation: &Situation) -> BTreeSet<VmName> {
        let actions = plan(situation).actions.into_iter().filter(|action| permitted(situation, action));
        actions.filter_map(|action| lets_go(&action).cloned()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn an_edit_that_is_not_held_lets_no_more_go_in_the_next_tick_than_it_may(
            mut in_force in situations(),
            target in 0u32..12,
            most in 1u64..60,
            runway_h in 1u64..400,
            all in 1u64..100,
            day in proptest::option::of(0i64..60),
            is_shed in any::<bool>(),
        ) {
            let names: Vec<FleetName> = in_force.fleets.keys().cloned().collect();
            for state in in_force.fleets.values_mut() {
                state.order = Order::Hold(state.policy.target_gpus);
            }
            let state = in_force.fleets[&names[0]].clone();
            let new = edited(&state.policy, |terms| {
                terms.target_gpus = target;
                terms.max_hourly_rate = HourlyRate::from_micros(most * 100_000);
                terms.min_runway = Duration::from_secs(3_600 * runway_h);
                terms.when_low = if is_shed { WhenLow::Hold } else { WhenLow::Never };
            });
            let mut by_policy = in_force.clone();
            enforce(&mut by_policy, &new);
            by_policy.fleets.get_mut(&new.fleet).unwrap().held = None;
            let mut by_limits = in_force.clone();
            by_limits.limits.max_hourly_rate = Some(HourlyRate::from_micros(all * 100_000));
            by_limits.limits_held = None;
            if let Some(day) = day {
                let most = Usd::from_micros(day * 1_000_000);
                let spend = AccountLimits { max_spend_per_day: Some(most), ..AccountLimits::UNSAID };
                by_limits.limits.accounts = in_force.accounts.keys().map(|account| (account.clone(), spend)).collect();
            }
            let held = loss_by_policy(&in_force, &new, &Levers::new()).is_too_much();
            let losses = loss_by_limits(&in_force, &by_limits.limits, &Levers::new());
            let waits = losses.values().any(Loss::is_too_much);
            let anyway = &let_go(&in_force) | &Ahead::InTime.gone(&in_force, &Levers::new());
            for (is_held, edited) in [(held, by_policy), (waits, by_limits)] {
                let gone = &let_go(&edited) - &anyway;
                for state in in_force.fleets.values() {
                    let lost = state.fleet.members.values().filter(|member| gone.contains(&member.name));
                    let lost: Vec<u32> = lost.map(Member::counted_gpus).collect();
                    let may = state.policy.disruption.max_scale_down.of(state.policy.target_gpus);
                    prop_assert!(is_held || lost.len() < 2 || lost.iter().sum::<u32>() <= may, "{lost:?} of {may}");
                }
            }
        }
    }
}
