//! How much an edit would tear down, before it comes into force.
//!
//! A slip of the finger in a policy (a lost digit, a wrong limit) must not cost anybody a fleet. An edit that would let
//! more GPUs go than `max_scale_down` allows, and more than one VM, is held whole until the operator applies it. This
//! module only counts, and counts pessimistically: everything that the edit would ever let go by rate and target, not
//! what one plan would let go within its disruption budget, and on top of that what a plan under the new text would let go
//! at once for any other reason (a longer `min_runway` on a low account, say). What goes under the text in force too is not
//! the edit's doing.

use super::what_if;
use crate::{
    ledger::fleet::{Fleet, Member, Standing},
    model::{AccountName, FleetName, HourlyRate, VmName, reason::Teardown},
    plan::{Action, FleetState, Plan, Situation, plan},
    policy::Policy,
    settings::AccountLimits,
};
use std::collections::{BTreeMap, BTreeSet};

/// What an edit would let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// VMs.
    pub vms: u32,
    /// GPUs.
    pub gpus: u32,
}

impl Loss {
    /// More than `max_scale_down` of the law in force, and more than one VM.
    pub fn is_too_much(&self, in_force: &Policy, target_gpus: u32) -> bool {
        self.vms > 1 && self.gpus > in_force.disruption.max_scale_down.of(target_gpus)
    }

    /// What another part of the same edit would let go as well, at worst.
    pub fn add(&mut self, other: Self) {
        self.vms = self.vms.saturating_add(other.vms);
        self.gpus = self.gpus.saturating_add(other.gpus);
    }
}

fn counts(member: &Member) -> bool {
    !matches!(member.standing, Standing::Leaving | Standing::StoppedReleased)
}

/// Dearest first, then youngest, then by name: an order in which money would take victims.
fn dearest_first<'a>(members: impl Iterator<Item = &'a Member>) -> Vec<&'a Member> {
    let mut ordered: Vec<&Member> = members.filter(|member| counts(member)).collect();
    ordered.sort_by(|a, b| {
        let per_gpu = |member: &Member| member.committed().micros() / u64::from(member.shape.gpus.max(1));
        per_gpu(b).cmp(&per_gpu(a)).then(b.intended_at.cmp(&a.intended_at)).then(a.name.cmp(&b.name))
    });
    ordered
}

/// What a new policy would let go of its fleet that the one in force would not; the targets are what each makes the fleet
/// hold.
pub fn loss_by_policy(situation: &Situation, new: &Policy, target_gpus: u32, target_gpus_in_force: u32) -> Loss {
    let Some(state) = situation.fleets.get(&new.fleet) else { return Loss::default() };
    let (_, edited) = what_if(situation, new.clone());
    let mut before = let_go(&new.fleet, &plan(situation));
    by_numbers(&state.fleet, &state.policy, target_gpus_in_force, &mut before);
    let mut gone = let_go(&new.fleet, &edited);
    by_numbers(&state.fleet, new, target_gpus, &mut gone);
    gone.retain(|name| !before.contains(name));
    total(state.fleet.members.values().filter(|member| gone.contains(&member.name)))
}

/// Members that a plan lets go for reasons that [`by_numbers`] does not count.
fn let_go(fleet: &FleetName, plan: &Plan) -> BTreeSet<VmName> {
    let gone = plan.actions.iter().filter_map(|action| match action {
        Action::Delete { subject, reason, .. } | Action::Stop { subject, reason, .. } => Some((subject, *reason)),
        Action::Ask { .. } | Action::Look { .. } | Action::Deploy(_) | Action::Rebid { .. } | Action::Start { .. } => {
            None
        }
    });
    let of_fleet = gone.filter(|(subject, reason)| subject.fleet == *fleet && !is_by_numbers(*reason));
    of_fleet.map(|(subject, _)| subject.name.clone()).collect()
}

const fn is_by_numbers(reason: Teardown) -> bool {
    matches!(reason, Teardown::Target | Teardown::RateLimit | Teardown::GlobalRateLimit)
}

/// Adds what is over a target and a rate limit, now or ever, once what is in `gone` is gone.
fn by_numbers(fleet: &Fleet, policy: &Policy, target_gpus: u32, gone: &mut BTreeSet<VmName>) {
    let ordered = dearest_first(fleet.members.values());
    let staying = ordered.iter().filter(|member| !gone.contains(&member.name));
    let mut gpus: u32 = staying.clone().map(|member| member.counted_gpus()).sum();
    let mut rate: HourlyRate = staying.map(|member| member.committed()).sum();
    for member in &ordered {
        // A VM goes for the target only if the target stays met without it.
        let over_target = gpus >= target_gpus.saturating_add(member.counted_gpus());
        if !gone.contains(&member.name) && (rate > policy.max_hourly_rate || over_target) {
            gone.insert(member.name.clone());
            gpus = gpus.saturating_sub(member.counted_gpus());
            rate = rate.minus(member.committed());
        }
    }
}

/// What a new rate limit over all fleets would let go of each.
pub fn loss_by_limit(fleets: &BTreeMap<FleetName, Fleet>, max_hourly_rate: HourlyRate) -> BTreeMap<FleetName, Loss> {
    let members = fleets.values().flat_map(|fleet| fleet.members.values());
    let mut rate: HourlyRate = members.map(Member::committed).sum();
    let mut losses: BTreeMap<FleetName, Loss> = BTreeMap::new();
    for member in dearest_first(fleets.values().flat_map(|fleet| fleet.members.values())) {
        if rate <= max_hourly_rate {
            break;
        }
        rate = rate.minus(member.committed());
        let loss = losses.entry(member.fleet.clone()).or_default();
        loss.vms += 1;
        loss.gpus += member.counted_gpus();
    }
    losses
}

/// What new budgets of accounts would let go of each fleet at once that those in force do not. What a smaller budget lets
/// go by the end of the day is not counted: at midnight it is new, and that is what a budget is for.
pub fn loss_by_budgets(
    situation: &Situation,
    accounts: &BTreeMap<AccountName, AccountLimits>,
) -> BTreeMap<FleetName, Loss> {
    let mut edited = situation.clone();
    edited.limits.accounts.clone_from(accounts);
    let before = over_budget(situation);
    let gone: BTreeSet<VmName> = over_budget(&edited).into_iter().filter(|name| !before.contains(name)).collect();
    let members = |state: &FleetState| total(state.fleet.members.values().filter(|member| gone.contains(&member.name)));
    let losses = situation.fleets.iter().map(|(name, state)| (name.clone(), members(state)));
    losses.filter(|(_, loss)| loss.vms > 0).collect()
}

/// Members that a plan lets go for a budget's sake.
fn over_budget(situation: &Situation) -> BTreeSet<VmName> {
    let actions = plan(situation).actions.into_iter();
    let gone = actions.filter_map(|action| match action {
        Action::Delete { subject, reason: Teardown::Budget, .. } => Some(subject.name),
        Action::Delete { .. }
        | Action::Stop { .. }
        | Action::Ask { .. }
        | Action::Look { .. }
        | Action::Deploy(_)
        | Action::Rebid { .. }
        | Action::Start { .. } => None,
    });
    gone.collect()
}

fn total<'a>(members: impl Iterator<Item = &'a Member>) -> Loss {
    members.fold(Loss::default(), |loss, member| Loss { vms: loss.vms + 1, gpus: loss.gpus + member.counted_gpus() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::sample::{member, name, status},
        ledger::Standing,
        model::Usd,
        policy::terms::Terms,
    };
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

    fn loss(situation: &Situation, new: &Policy, target: u32) -> Loss {
        loss_by_policy(situation, new, target, 8)
    }

    fn edited(policy: &Policy, edit: impl FnOnce(&mut Terms)) -> Policy {
        let mut terms = Terms::clone(policy);
        edit(&mut terms);
        Policy::vouched(terms)
    }

    const SIX: [(u32, u32, &str); 6] =
        [(1, 1, "0.40"), (2, 1, "0.41"), (3, 1, "0.42"), (4, 1, "0.43"), (5, 1, "0.44"), (6, 1, "0.45")];

    #[test]
    fn an_edit_that_changes_no_limit_loses_nothing() {
        let (situation, policy) = situation(&SIX);
        assert_eq!(loss(&situation, &policy, 8), Loss::default());
        assert_eq!(loss(&situation, &edited(&policy, |terms| terms.target_gpus = 20), 20), Loss::default());
    }

    #[test]
    fn a_lower_target_loses_what_is_over_it_and_never_goes_below() {
        let (situation, policy) = situation(&SIX);
        let lower = |target: u32| loss(&situation, &edited(&policy, |terms| terms.target_gpus = target), target);
        assert_eq!(lower(5), Loss { vms: 1, gpus: 1 });
        assert_eq!(lower(0), Loss { vms: 6, gpus: 6 });
        let (situation, policy) = self::situation(&[(1, 4, "1.60"), (2, 4, "1.64")]);
        let three = edited(&policy, |terms| terms.target_gpus = 3);
        assert_eq!(loss(&situation, &three, 3), Loss { vms: 1, gpus: 4 });
    }

    #[test]
    fn a_lower_rate_limit_loses_the_dearest_until_it_fits() {
        let (situation, policy) = situation(&SIX);
        // 2.55 for the GPUs and 6 × 0.005 for storage are committed.
        let limit = |limit: &str| edited(&policy, |terms| terms.max_hourly_rate = limit.parse().unwrap());
        assert_eq!(loss(&situation, &limit("2.58"), 8), Loss::default());
        assert_eq!(loss(&situation, &limit("2.57"), 8), Loss { vms: 1, gpus: 1 });
        assert_eq!(loss(&situation, &limit("0.50"), 8), Loss { vms: 5, gpus: 5 });
    }

    #[test]
    fn a_lower_price_cap_loses_what_is_billed_above_what_was_agreed_and_the_cap() {
        let (mut situation, policy) = situation(&SIX);
        let capped = edited(&policy, |terms| {
            for model in &mut terms.models {
                model.max_price = Some("0.43".parse().unwrap());
            }
        });
        assert_eq!(loss(&situation, &capped, 8), Loss::default(), "it steers what is rented from now on");
        let billed_more = situation.fleets.get_mut(&policy.fleet).unwrap().fleet.members.values_mut().take(2);
        for member in billed_more {
            member.quoted.as_mut().unwrap().compute = "0.44".parse().unwrap();
        }
        assert_eq!(loss(&situation, &capped, 8), Loss { vms: 2, gpus: 2 });
    }

    #[test]
    fn what_goes_anyway_is_not_the_edits_doing() {
        let (situation, policy) = situation(&SIX);
        let lower = edited(&policy, |terms| terms.target_gpus = 2);
        assert_eq!(loss_by_policy(&situation, &lower, 2, 2), Loss::default());
        assert_eq!(loss_by_policy(&situation, &lower, 1, 2), Loss { vms: 1, gpus: 1 });
    }

    #[test]
    fn a_longer_runway_on_a_low_account_loses_what_a_plan_would_let_go() {
        let (mut situation, policy) = situation(&SIX);
        let account = situation.accounts.values_mut().next().unwrap();
        account.balance.as_mut().unwrap().value.amount = Usd::from_micros(20_000_000);
        let longer = edited(&policy, |terms| terms.min_runway = Duration::from_secs(3_600 * 24));
        let longer = loss(&situation, &longer, 8);
        assert!(longer.vms >= 5, "{longer:?}");
        assert_eq!(loss(&situation, &policy, 8), Loss::default());
    }

    #[test]
    fn a_smaller_budget_loses_what_a_plan_would_let_go_at_once() {
        let (situation, _) = situation(&SIX);
        let account: AccountName = name("tensordock");
        let losses = |most: &str| {
            let limits = AccountLimits { max_spend_per_day: Some(most.parse().unwrap()), ..AccountLimits::UNSAID };
            loss_by_budgets(&situation, &BTreeMap::from([(account.clone(), limits)]))
        };
        // 12.345 are spent today, and what is spent on now is no reason to hold an edit.
        assert_eq!(losses("20"), BTreeMap::new());
        let loss = |losses: BTreeMap<FleetName, Loss>| losses.get(&name("train")).copied().unwrap_or_default().vms;
        assert!((1..6).contains(&loss(losses("14"))), "{:?}", losses("14"));
        assert_eq!(loss(losses("12")), 6);
    }

    #[test]
    fn too_much_is_more_than_the_share_of_the_target_and_more_than_one_vm() {
        let (_, policy) = situation(&SIX);
        let is_too_much = |vms, gpus| Loss { vms, gpus }.is_too_much(&policy, 8);
        assert_eq!([is_too_much(4, 4), is_too_much(5, 5), is_too_much(1, 8)], [false, true, false]);
    }

    #[test]
    fn a_lower_limit_over_all_fleets_loses_the_dearest_of_any() {
        let fleets = status().situation.unwrap().into_value().fleets;
        let fleets: BTreeMap<FleetName, Fleet> = fleets.into_iter().map(|(name, state)| (name, state.fleet)).collect();
        let losses = |limit: &str| loss_by_limit(&fleets, limit.parse().unwrap());
        assert_eq!(losses("40"), BTreeMap::new());
        assert_eq!(losses("3.00"), BTreeMap::from([(name("train"), Loss { vms: 1, gpus: 2 })]));
        assert_eq!(losses("0").len(), 2);
    }
}
