//! Whether the law is what the operator wrote: what an edit may do at once, what binds while it is held, and what becomes of
//! a fleet whose file is gone.
//!
//! It reads the files by itself, whenever the daemon does, and holds them against the journal's word of what is in force. So
//! while a text on disk differs from the one in force, the stricter of both binds what is rented, whatever the daemon says
//! that it holds; a fleet without a file is let be; and what came into force although it would let too much go is found by
//! what there truly was.
//!
//! How much an edit lets go is counted for its good: only VMs that ran well before and after count, and of these as few as
//! its limits allow. So it never says too much of an edit, and says too little where much was amiss.

use super::{
    Found, Promise, Seen, Sighted, fleet_of,
    paper::{Decided, Deed},
    purse::Sight,
    rate,
    statutes::Edit,
};
use crate::{
    ledger::Standing,
    model::{AccountName, FleetName, HourlyRate, InstanceId, Timestamp, Usd, VmName, reason::Teardown},
    plan::{FleetState, Force, Situation, force},
    policy::{Checked, Policy, Source, terms::WhenLow},
    settings::Limits,
    sim::{Ended, Origin, Vm, VmState},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What stands on disk, as the daemon last read it.
#[derive(Clone, Debug)]
pub struct OnDisk {
    /// Of each file the policy; `None`: it does not load.
    files: BTreeMap<String, Option<Policy>>,
    limits: Limits,
}

impl OnDisk {
    /// What was read.
    pub fn new(policies: Vec<(Source, Checked)>, limits: Limits) -> Self {
        Self { files: policies.into_iter().map(|(source, checked)| (source.file, checked.policy)).collect(), limits }
    }

    fn policy(&self, fleet: &FleetName) -> Option<&Policy> {
        self.files.values().flatten().find(|policy| policy.fleet == *fleet)
    }
}

/// A VM that ran well.
#[derive(Clone, Debug)]
struct Sound {
    name: VmName,
    id: InstanceId,
    account: AccountName,
    gpus: u32,
    rate: HourlyRate,
}

/// A fleet at the last look.
#[derive(Clone, Debug)]
struct Had {
    sound: Vec<Sound>,
    /// All that counted.
    members: BTreeMap<VmName, u32>,
    /// It and all fleets together were within their limits.
    is_within: bool,
}

/// What was known at the last look.
#[derive(Debug, Default)]
pub(super) struct Texts {
    on_disk: Option<OnDisk>,
    had: BTreeMap<FleetName, Had>,
    balances: BTreeMap<String, Usd>,
    /// Of when the situation was.
    looked_at: Option<Timestamp>,
}

/// What an edit may have been passed by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passes<'a> {
    /// Fleets whose operator had an edit applied since the last look.
    pub applied: &'a BTreeSet<FleetName>,
    /// Worlds of whose accounts somebody else took so lately that no balance need show it.
    pub robbed: &'a BTreeSet<String>,
}

impl Texts {
    /// The daemon has read what stands on disk.
    pub(super) fn read(&mut self, on_disk: OnDisk) {
        self.on_disk = Some(on_disk);
    }

    /// The floor under what a fleet starts, and the runway that it leaves: the stricter of what is in force and what stands on
    /// disk.
    pub(super) fn floor(&self, situation: &Situation, state: &FleetState) -> (Usd, Duration) {
        let (floor, runway) = (situation.floor(state), state.policy.min_runway);
        let Some(disk) = &self.on_disk else { return (floor, runway) };
        let written = disk.policy(&state.policy.fleet);
        (
            written.map_or(floor, |policy| policy.balance_floor.max(floor)).max(disk.limits.balance_floor),
            written.map_or(runway, |policy| policy.min_runway.max(runway)),
        )
    }

    /// `made` are VMs that were rented since the last look; `sight` is what that could rest on.
    pub(super) fn look(
        &mut self,
        found: &mut Found,
        seen: &Seen<'_>,
        made: &[&Vm],
        sight: Option<Sight>,
        passes: Passes<'_>,
    ) {
        self.binds(found, seen, made);
        self.lets_be(found, seen);
        self.minds(found, seen);
        if let Some(sight) = sight {
            self.came(found, seen, sight, passes);
        }
        self.had = had(seen);
        self.balances = seen.sighted.iter().map(|one| (one.world.clone(), one.truth.balance)).collect();
    }

    /// What was rented is within the stricter of what is in force and what stands on disk.
    fn binds(&self, found: &mut Found, seen: &Seen<'_>, made: &[&Vm]) {
        let (Some(disk), Some(situation)) = (&self.on_disk, &seen.status.situation) else { return };
        let ours = |vm: &&Vm| vm.origin == Origin::Api && !seen.out_of_sight.contains(&vm.id);
        let there: Vec<&Vm> = super::alive(seen.sighted)
            .filter(ours)
            .filter(|vm| fleet_of(seen.status, vm).is_some() && !seen.paper.is_given_up(&vm.name))
            .collect();
        let all: HourlyRate = there.iter().map(|vm| rate(vm)).sum();
        let limit = disk.limits.max_hourly_rate;
        let is_within = made.is_empty() || limit.is_none_or(|limit| all <= limit);
        found.unless(is_within, Promise::EditHeld, || {
            format!("rented, and all fleets cost {all}/h; {}/h is written", limit.unwrap_or_default())
        });
        for (name, state) in &situation.fleets {
            let of_fleet = |vm: &&&Vm| fleet_of(seen.status, vm) == Some(name.as_str());
            let Some(policy) = disk.policy(name).filter(|_| made.iter().any(|vm| of_fleet(&vm))) else { continue };
            let cost: HourlyRate = there.iter().filter(of_fleet).map(|vm| rate(vm)).sum();
            found.unless(cost <= policy.max_hourly_rate, Promise::EditHeld, || {
                format!("{name} rented, and costs {cost}/h; {}/h is written", policy.max_hourly_rate)
            });
            // The operator's own target is over that of any text.
            if seen.status.fleets.get(name).is_some_and(|fleet| fleet.levers.target.is_some()) {
                continue;
            }
            let gpus: u32 = there.iter().filter(of_fleet).map(|vm| super::gpus(vm)).sum();
            let surge = super::gpus_max(state).saturating_sub(state.target_gpus());
            let most = policy.target_gpus.saturating_add(surge);
            found.unless(gpus <= most, Promise::EditHeld, || {
                format!("{name} rented, and has {gpus} GPUs; {} are written", policy.target_gpus)
            });
        }
        for (_, intent) in seen.paper.rented().filter(|(decided, _)| is_of_today(seen, decided)) {
            let model = disk.policy(&intent.fleet).and_then(|policy| policy.model(&intent.shape.gpu_model));
            let cap = model.and_then(|(_, terms)| terms.max_price).map(|price| price.times(intent.shape.gpus));
            found.unless(cap.is_none_or(|cap| intent.agreed.total() <= cap), Promise::EditHeld, || {
                format!(
                    "{} was rented at {}/h, above the max_price that is written",
                    intent.name,
                    intent.agreed.total()
                )
            });
        }
    }

    /// What stands on disk and loads is in force, or is held.
    fn minds(&mut self, found: &mut Found, seen: &Seen<'_>) {
        let (Some(disk), Some(situation)) = (&self.on_disk, &seen.status.situation) else { return };
        // A tick that did not come to think, or could not write down what it thought, minds nothing.
        let is_renewed = self.looked_at.replace(situation.now) != Some(situation.now);
        if !is_renewed || !seen.status.troubles.is_empty() {
            return;
        }
        let is_own = |(file, policy): &(&String, &Policy)| !seen.paper.statutes().is_anothers(file, &policy.fleet);
        let loads = disk.files.iter().filter_map(|(file, policy)| Some((file, policy.as_ref()?)));
        for (_, policy) in loads.filter(is_own) {
            let is_in_force = seen.paper.statutes().policy(&policy.fleet).is_some_and(|text| text.policy == *policy);
            let status = seen.status.fleets.get(&policy.fleet);
            let is_held = status.is_some_and(|fleet| fleet.policy.held.is_some());
            found.unless(is_in_force || is_held, Promise::EditHeld, || {
                format!("the text of {} on disk is neither in force nor held", policy.fleet)
            });
        }
        let (in_force, written) = (&situation.limits, &disk.limits);
        let is_in_force = in_force.max_hourly_rate == written.max_hourly_rate
            && in_force.balance_floor == written.balance_floor
            && in_force.accounts == written.accounts;
        found.unless(is_in_force || situation.limits_held.as_ref() == Some(written), Promise::EditHeld, || {
            "the limits on disk are neither in force nor held".to_owned()
        });
    }

    /// A fleet whose file is gone rents nothing, and loses nothing for order's sake.
    fn lets_be(&self, found: &mut Found, seen: &Seen<'_>) {
        let Some(disk) = &self.on_disk else { return };
        let is_gone = |fleet: &FleetName| {
            disk.policy(fleet).is_none()
                && seen.paper.statutes().policy(fleet).is_some_and(|text| !disk.files.contains_key(&text.file))
        };
        for decided in seen.paper.news().filter(|decided| is_of_today(seen, decided)) {
            let (name, is_let) = match &decided.deed {
                Deed::Rent(intent) => (&intent.name, false),
                Deed::Rebid { name, .. } | Deed::Start(name) => (name, false),
                Deed::LetGo { name, reason, .. } => (name, force(*reason) != Force::Order),
                Deed::Law => continue,
            };
            let Some(intent) = seen.paper.intent(name) else { continue };
            found.unless(is_let || !is_gone(&intent.fleet), Promise::Frozen, || {
                format!("the file of {} is gone, and it decided {:?}", intent.fleet, decided.deed)
            });
        }
    }

    /// What came into force since the last look let no more go than it may, unless the operator let it pass.
    fn came(&self, found: &mut Found, seen: &Seen<'_>, sight: Sight, passes: Passes<'_>) {
        let Some(situation) = &seen.status.situation else { return };
        for edit in seen.paper.statutes().edits() {
            match edit {
                Edit::Policy { sequence, old, new } => {
                    if !seen.paper.is_living(*sequence) || passes.applied.contains(&new.fleet) {
                        continue;
                    }
                    let Some(state) = situation.fleets.get(&new.fleet) else { continue };
                    let rates = |sound: &[Sound]| {
                        let by_rate = least_gone(sound, new.max_hourly_rate);
                        by_rate.max(self.gone_for_runway(seen, sight, passes, sound, new))
                    };
                    self.judge(found, seen, state, (old, new.target_gpus), rates);
                }
                Edit::Limits { sequence, old: _, new, applied } => {
                    let Some(limit) = new.max_hourly_rate.filter(|_| seen.paper.is_living(*sequence)) else { continue };
                    for (name, state) in situation.fleets.iter().filter(|(name, _)| !applied.contains(*name)) {
                        let Some(text) = seen.paper.statutes().policy(name) else { continue };
                        // A text of its own that came into force in the same moment has been looked at.
                        if text.policy == state.policy {
                            let targets = (&text.policy, text.policy.target_gpus);
                            self.judge(found, seen, state, targets, |sound| least_gone(sound, limit));
                        }
                    }
                }
            }
        }
    }

    /// Whether an edit lets too much of a fleet go: under the operator's target if there is one, and under the text's own, for
    /// that is what it comes to in the end. `gone` is how many GPUs must go at least for money.
    fn judge(
        &self,
        found: &mut Found,
        seen: &Seen<'_>,
        state: &FleetState,
        (old, new_target): (&Policy, u32),
        gone: impl Fn(&[Sound]) -> u32,
    ) {
        let name = &old.fleet;
        let Some(had) = self.had.get(name).filter(|had| had.is_within) else { return };
        let sound: Vec<Sound> = had.sound.iter().filter(|vm| is_sound_still(seen, vm)).cloned().collect();
        let (gpus, largest) = (sound.iter().map(|vm| vm.gpus).sum::<u32>(), sound.iter().map(|vm| vm.gpus).max());
        let largest = largest.unwrap_or(0);
        let members = state.fleet.members.values().map(|member| (member.name.clone(), member.shape.gpus));
        let all: BTreeMap<VmName, u32> = had.members.clone().into_iter().chain(members).collect();
        let counted: u32 = all.values().sum();
        let lever = seen.status.fleets.get(name).and_then(|fleet| fleet.levers.target).map(|(gpus, _)| gpus);
        for (before, after) in
            [(old.target_gpus, new_target), (lever.unwrap_or(old.target_gpus), lever.unwrap_or(new_target))]
        {
            // A VM goes only if the target stays met without it: at least so much would go, whichever goes first.
            let for_target = gpus.saturating_sub(after.saturating_add(largest.saturating_sub(1)));
            let loss = for_target.max(gone(&sound)).saturating_sub(counted.saturating_sub(before));
            let at_once = old.disruption.max_scale_down.of(before);
            found.unless(loss <= at_once.max(largest), Promise::EditHeld, || {
                format!("an edit that lets {loss} of {gpus} GPUs of {name} go, of which {at_once} may, was not applied")
            });
        }
    }

    /// How many GPUs must go at least for accounts to last as long as a text says.
    fn gone_for_runway(&self, seen: &Seen<'_>, sight: Sight, passes: Passes<'_>, sound: &[Sound], new: &Policy) -> u32 {
        let situation = seen.status.situation.as_ref();
        let is_read = |account: &AccountName| {
            situation
                .is_some_and(|situation| situation.accounts.get(account).is_some_and(|state| state.balance.is_some()))
        };
        let gone = |one: &Sighted| -> u32 {
            let Some(account) = one.account.as_ref().filter(|account| is_read(account)) else { return 0 };
            if new.when_low != WhenLow::Hold || passes.robbed.contains(&one.world) {
                return 0;
            }
            let burnt = one.truth.hourly_cost.cost(sight.balance_age);
            let before = self.balances.get(&one.world).copied().unwrap_or(one.truth.balance);
            let most = before.max(one.truth.balance).plus(burnt);
            let Ok(micros) = u128::try_from(most.micros().max(0)) else { return 0 };
            let span_ms = new.min_runway.as_millis().max(1);
            let pays = u64::try_from(micros.saturating_mul(3_600_000) / span_ms).unwrap_or(u64::MAX);
            let here: Vec<Sound> = sound.iter().filter(|vm| vm.account == *account).cloned().collect();
            least_gone(&here, HourlyRate::from_micros(pays.saturating_add(1)))
        };
        seen.sighted.iter().map(gone).max().unwrap_or(0)
    }
}

/// Whether something was decided by the process that lives, and under the law as it is.
pub(super) fn is_of_today(seen: &Seen<'_>, decided: &Decided) -> bool {
    seen.paper.is_of_the_living(decided) && seen.paper.is_under_todays_law(decided)
}

/// The fewest GPUs that must go for the rest to cost no more, be it parts of a VM.
fn least_gone(sound: &[Sound], limit: HourlyRate) -> u32 {
    let mut sound: Vec<&Sound> = sound.iter().collect();
    let per_gpu = |vm: &Sound| vm.rate.micros() / u64::from(vm.gpus.max(1));
    sound.sort_by_key(|vm| std::cmp::Reverse(per_gpu(vm)));
    let mut over = sound.iter().map(|vm| vm.rate).sum::<HourlyRate>().minus(limit);
    let mut gone = 0_u32;
    for vm in sound {
        if over.is_zero() {
            break;
        }
        let part = over.micros().div_ceil(per_gpu(vm).saturating_add(1).max(1));
        gone = gone.saturating_add(u32::try_from(part).unwrap_or(u32::MAX).min(vm.gpus));
        over = over.minus(vm.rate);
    }
    gone
}

/// Whether a VM that ran well does so still, or went for what an edit can be the reason of.
fn is_sound_still(seen: &Seen<'_>, sound: &Sound) -> bool {
    let is_it = |vm: &&Vm| vm.name == sound.name && vm.id == sound.id;
    let is_away = seen.sighted.iter().any(|one| one.truth.away.contains(&sound.id));
    let reasons = || seen.paper.let_go().filter(|(_, name, ..)| **name == sound.name).map(|(.., reason)| reason);
    let is_for_it = |reason| match reason {
        Teardown::Target | Teardown::RateLimit | Teardown::GlobalRateLimit | Teardown::BalanceFloor => true,
        Teardown::Outbid
        | Teardown::Lost
        | Teardown::Replaced
        | Teardown::StoppedTooLong
        | Teardown::Overbilled
        | Teardown::Late
        | Teardown::Budget
        | Teardown::Evacuate
        | Teardown::Operator => false,
    };
    let runs = |vm: &Vm| match vm.ended {
        None => vm.state == VmState::Running,
        Some((_, Ended::Deleted)) => true,
        Some(_) => false,
    };
    super::all_vms(seen.sighted).find(is_it).is_some_and(|vm| runs(vm) && vm.surcharge_ppm == 0)
        && !is_away
        && !seen.paper.is_lost(&sound.name)
        && reasons().all(is_for_it)
}

/// Every fleet as it is now.
fn had(seen: &Seen<'_>) -> BTreeMap<FleetName, Had> {
    let Some(situation) = &seen.status.situation else { return BTreeMap::new() };
    let is_global_kept = situation.limits.max_hourly_rate.is_none_or(|limit| situation.global_rate() <= limit);
    let has_no_budget = |account: &AccountName| {
        let limits = situation.limits.account(account);
        limits.max_spend_per_day.is_none() && limits.max_spend_per_month.is_none()
    };
    let fleet = |(name, state): (&FleetName, &FleetState)| {
        let is_replaced =
            |name: &VmName| state.fleet.members.values().any(|other| other.replaces.as_ref() == Some(name));
        let lasts = |one: &Sighted| {
            let span = state.policy.min_runway.saturating_add(super::HOUR);
            one.truth.balance >= one.truth.hourly_cost.cost(span)
        };
        let sound_in = |one: &Sighted| -> Vec<Sound> {
            let Some(account) = one.account.clone().filter(|account| lasts(one) && has_no_budget(account)) else {
                return Vec::new();
            };
            let is_sound = |vm: &&Vm| {
                let member = state.fleet.members.get(&vm.name).filter(|member| member.id.as_ref() == Some(&vm.id));
                member.is_some_and(|member| {
                    member.standing == Standing::Running && !member.write_in_doubt && member.replaces.is_none()
                }) && vm.origin == Origin::Api
                    && vm.state == VmState::Running
                    && vm.surcharge_ppm == 0
                    && !one.truth.away.contains(&vm.id)
                    && !seen.out_of_sight.contains(&vm.id)
                    && !is_replaced(&vm.name)
            };
            let sound = |vm: &Vm| Sound {
                name: vm.name.clone(),
                id: vm.id.clone(),
                account: account.clone(),
                gpus: vm.shape.gpus,
                rate: rate(vm),
            };
            one.truth.alive().filter(is_sound).map(sound).collect()
        };
        let members = state.fleet.members.values().map(|member| (member.name.clone(), member.shape.gpus));
        let had = Had {
            sound: seen.sighted.iter().flat_map(sound_in).collect(),
            members: members.collect(),
            is_within: is_global_kept && state.fleet.committed() <= state.policy.max_hourly_rate,
        };
        (name.clone(), had)
    };
    situation.fleets.iter().map(fleet).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{decided, settled, written},
        *,
    };
    use crate::{ledger::Record, policy::terms::Terms, sim::Stage};

    fn train() -> FleetName {
        "train".parse().unwrap()
    }

    /// What stands on disk, with the text of `train` edited.
    fn on_disk(stage: &Stage, edit: impl Fn(&mut Terms)) -> OnDisk {
        let status = stage.status();
        let edited = |policy: &Policy| {
            let mut terms = Terms::clone(policy);
            if policy.fleet == train() {
                edit(&mut terms);
            }
            Some(Policy::vouched(terms))
        };
        let states = status.situation.as_ref().unwrap().fleets.iter();
        let files = states.map(|(name, state)| (format!("/policies/{name}.toml"), edited(&state.policy)));
        OnDisk { files: files.collect(), limits: stage.settings().limits.clone() }
    }

    fn promises(look: impl FnOnce(&mut Found)) -> Vec<Promise> {
        let mut found = Found::default();
        look(&mut found);
        found.0.into_iter().map(|breach| breach.promise).collect()
    }

    /// What is found where a VM of `train` was just rented and this stands on disk.
    async fn rented_under(edit: impl Fn(&mut Terms), limit: Option<&str>) -> Vec<Promise> {
        let stage = settled().await;
        let (status, sighted, none) = (stage.status(), stage.sighted(), BTreeSet::new());
        let vm = super::super::alive(&sighted).find(|vm| fleet_of(&status, vm) == Some("train")).unwrap();
        let mut on_disk = on_disk(&stage, edit);
        if let Some(limit) = limit {
            on_disk.limits.max_hourly_rate = Some(limit.parse().unwrap());
        }
        let texts = Texts { on_disk: Some(on_disk), ..Texts::default() };
        let seen = Seen { status: &status, sighted: &sighted, out_of_sight: &none, paper: stage.paper() };
        let quiet = promises(|found| texts.binds(found, &seen, &[]));
        assert_eq!(quiet, [], "nothing was rented");
        promises(|found| texts.binds(found, &seen, &[vm]))
    }

    #[tokio::test]
    async fn what_is_written_binds_what_is_rented_though_something_else_is_in_force() {
        assert_eq!(rented_under(|_| {}, None).await, []);
        let held = [Promise::EditHeld];
        assert_eq!(rented_under(|terms| terms.max_hourly_rate = "0.10".parse().unwrap(), None).await, held);
        assert_eq!(rented_under(|terms| terms.target_gpus = 5, None).await, held);
        assert_eq!(rented_under(|terms| terms.target_gpus = 7, None).await, []);
        assert_eq!(rented_under(|_| {}, Some("0.10")).await, held);
    }

    #[tokio::test]
    async fn a_floor_and_a_runway_that_are_written_bind_though_they_are_held() {
        let stage = settled().await;
        let on_disk = on_disk(&stage, |terms| {
            terms.balance_floor = "300".parse().unwrap();
            terms.min_runway = 9 * super::super::HOUR;
        });
        let status = stage.status();
        let situation = status.situation.as_ref().unwrap();
        let floor = |texts: &Texts, limit: &str| {
            let mut texts = Texts { on_disk: texts.on_disk.clone(), ..Texts::default() };
            if let Some(disk) = &mut texts.on_disk {
                disk.limits.balance_floor = limit.parse().unwrap();
            }
            let (floor, runway) = texts.floor(situation, &situation.fleets[&train()]);
            (floor.to_string(), runway.as_secs() / 3_600)
        };
        let of = |on_disk| Texts { on_disk, ..Texts::default() };
        assert_eq!(floor(&of(None), "0"), ("50.00".to_owned(), 1));
        assert_eq!(floor(&of(Some(on_disk.clone())), "0"), ("300.00".to_owned(), 9));
        assert_eq!(floor(&of(Some(on_disk)), "400"), ("400.00".to_owned(), 9));
    }

    #[test]
    fn the_fewest_that_must_go_are_counted_from_the_dearest() {
        let sound = |gpus: u32, rate: &str| Sound {
            name: "spotscale-train-k3x9-1".parse().unwrap(),
            id: "a".parse().unwrap(),
            account: "tensordock".parse().unwrap(),
            gpus,
            rate: rate.parse().unwrap(),
        };
        let all = [sound(1, "0.50"), sound(2, "0.60"), sound(1, "0.40")];
        let gone = |limit: &str| least_gone(&all, limit.parse().unwrap());
        assert_eq!((gone("1.50"), gone("1.49"), gone("1.00"), gone("0.99")), (0, 1, 1, 2));
        assert_eq!((gone("0.31"), gone("0.000001"), gone("0")), (3, 4, 4));
    }

    /// What is found where this came into force since the last look, by nobody's leave.
    async fn came(stage: &Stage, records: &[Record]) -> Vec<Promise> {
        let (status, sighted, none) = (stage.status(), stage.sighted(), BTreeSet::new());
        let paper = written(stage, records);
        let seen = Seen { status: &status, sighted: &sighted, out_of_sight: &none, paper: &paper };
        let mut texts = Texts { had: had(&seen), ..Texts::default() };
        let since = status.situation.as_ref().unwrap().now;
        let sight = Some(Sight { since, balance_age: super::super::BALANCE_AGE_MAX });
        let passes = Passes { applied: &BTreeSet::new(), robbed: &BTreeSet::new() };
        promises(|found| texts.look(found, &seen, &[], sight, passes))
    }

    /// The text of `train` with a line said otherwise, as it comes into force.
    fn in_force(stage: &Stage, from: &str, to: &str) -> Record {
        let file = "/policies/train.toml".to_owned();
        let files: &dyn crate::io::files::Files = stage.folder();
        let text = files.read(std::path::Path::new(&file)).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        Record::PolicyInForce {
            fleet: train(),
            file,
            digest: "other".to_owned(),
            text: text.replace(from, to),
            attachments: BTreeMap::new(),
            context: stage.settings().policy_context().to_text(),
        }
    }

    #[tokio::test]
    async fn an_edit_of_money_that_lets_too_much_go_comes_into_force_by_nobodys_leave() {
        let stage = settled().await;
        let held = [Promise::EditHeld; 2];
        let rate = |to: &str| in_force(&stage, "max_hourly_rate = 5.00", &format!("max_hourly_rate = {to}"));
        assert_eq!(came(&stage, &[rate("4.99")]).await, []);
        assert_eq!(came(&stage, &[rate("0.20")]).await, held);
        let runway = |to: &str| {
            in_force(&stage, "balance_floor = 50.00", &format!("balance_floor = 50.00\nmin_runway = \"{to}\""))
        };
        assert_eq!(came(&stage, &[runway("2h")]).await, []);
        assert_eq!(came(&stage, &[runway("30d")]).await, held);
        let target = |to: &str| in_force(&stage, "target_gpus = 6", to);
        assert_eq!(came(&stage, &[target("target_gpus = 5")]).await, []);
        assert_eq!(came(&stage, &[target("target_gpus = 0")]).await, held);
    }

    #[tokio::test]
    async fn an_edit_that_takes_effect_when_the_operators_target_ends_is_judged_by_that() {
        let mut stage = settled().await;
        stage.pull(crate::engine::Lever::Target { fleet: train(), gpus: 6, lasting: None }).await;
        stage.tick().await;
        assert_eq!(stage.breaches(), []);
        let edit = in_force(&stage, "target_gpus = 6", "target_gpus = 0");
        assert_eq!(came(&stage, &[edit]).await, [Promise::EditHeld], "only by the text");
    }

    #[tokio::test]
    async fn limits_that_let_too_much_go_come_into_force_by_nobodys_leave() {
        let stage = settled().await;
        let limits = stage.settings().limits.clone();
        let limits = |most: &str| Record::LimitsInForce {
            max_hourly_rate: Some(most.parse().unwrap()),
            balance_floor: limits.balance_floor,
            mode: limits.mode,
            accounts: limits.accounts.clone(),
        };
        assert_eq!(came(&stage, &[limits("11.00")]).await, []);
        let broken = came(&stage, &[limits("0.20")]).await;
        assert!(!broken.is_empty() && broken.iter().all(|promise| *promise == Promise::EditHeld), "{broken:?}");
        let fleets = ["train", "serve", "batch"];
        let word = |fleet: &str| Record::Applied { fleet: fleet.parse().unwrap(), digest: "limits".to_owned() };
        let applied: Vec<Record> = fleets.into_iter().map(word).chain([limits("0.20")]).collect();
        assert_eq!(came(&stage, &applied).await, []);
    }

    #[tokio::test]
    async fn what_is_written_and_neither_in_force_nor_held_is_found_out() {
        let stage = settled().await;
        let (mut status, sighted, none) = ((*stage.status()).clone(), stage.sighted(), BTreeSet::new());
        let found = |status: &crate::engine::Status, on_disk| {
            let seen = Seen { status, sighted: &sighted, out_of_sight: &none, paper: stage.paper() };
            let mut texts = Texts { on_disk: Some(on_disk), ..Texts::default() };
            let first = promises(|found| texts.minds(found, &seen));
            assert_eq!(promises(|found| texts.minds(found, &seen)), [], "nobody has thought since");
            first
        };
        assert_eq!(found(&status, on_disk(&stage, |_| {})), []);
        let mut limits = on_disk(&stage, |_| {});
        limits.limits.balance_floor = "1".parse().unwrap();
        assert_eq!(found(&status, limits), [Promise::EditHeld]);
        let edited = on_disk(&stage, |terms| terms.priority = 7);
        assert_eq!(found(&status, edited.clone()), [Promise::EditHeld]);
        status.fleets.get_mut(&train()).unwrap().policy.held = Some(("other".to_owned(), "much".to_owned()));
        assert_eq!(found(&status, edited), []);
    }

    #[tokio::test]
    async fn a_fleet_whose_file_is_gone_lets_nothing_go_for_orders_sake() {
        let stage = settled().await;
        let (status, sighted, none) = (stage.status(), stage.sighted(), BTreeSet::new());
        let vm = super::super::alive(&sighted).find(|vm| fleet_of(&status, vm) == Some("train")).unwrap();
        let found = |reason, is_there: bool| {
            let paper = decided(&stage, &[(vm, reason)]);
            let mut on_disk = on_disk(&stage, |_| {});
            if !is_there {
                on_disk.files.remove("/policies/train.toml");
            }
            let texts = Texts { on_disk: Some(on_disk), ..Texts::default() };
            let seen = Seen { status: &status, sighted: &sighted, out_of_sight: &none, paper: &paper };
            promises(|found| texts.lets_be(found, &seen))
        };
        assert_eq!(found(Teardown::Lost, true), []);
        assert_eq!(found(Teardown::Lost, false), [Promise::Frozen]);
        for reason in [Teardown::Evacuate, Teardown::Overbilled, Teardown::RateLimit, Teardown::Operator] {
            assert_eq!(found(reason, false), [], "{reason}");
        }
    }
}
