//! What must be true after every tick, whatever was done to the engine: asked of the worlds, not of the engine's memory.
//!
//! There may be several worlds, one for each vendor and market, each with its own wallet. What is a fleet's is looked for in
//! all of them together; money is judged world by world, budgets account by account. A [`Watch`] remembers the last look and
//! returns what does not hold as [`Breach`]es; it asserts nothing and repairs nothing.
//!
//! Limits are judged as the plan's own checker judges them: nothing may *raise* what is at or over its limit. An edit can put
//! a fleet over its limit, and then it must only shrink.
//!
//! Two kinds of promises are looked after elsewhere: `blind`, that what is done follows from what could be seen, and
//! `kept`, that what should stay stays and what should go goes.

mod absence;
mod bans;
mod blind;
mod deeds;
mod kept;
mod levers;
mod mind;
mod paper;
mod places;
mod promise;
mod purse;
mod replays;
mod statutes;
#[cfg(test)]
mod tests;
mod texts;

pub use levers::Moved;
pub use mind::think_again;
pub use paper::Paper;
pub use promise::{Breach, Promise};
pub use replays::replays;
pub use texts::OnDisk;

use crate::{
    engine::{Lever, Status},
    ledger::{
        Member, Period, Standing,
        fleet::{Fleet, Stray},
    },
    model::{AccountName, FleetName, HourlyRate, InstanceId, MarketplaceName, PriceType, Timestamp, Usd, VmName, time},
    plan::{FleetState, Situation},
    settings::{Api, BalanceRule, Vendor},
    sim::{
        Ended, Hiding, Origin, Truth, Vm, VmState, World,
        told::{Accepted, Listing, Told},
    },
};
use blind::Blind;
use kept::Kept;
use levers::Levers;
use purse::{Purse, Sight};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use texts::{Passes, Texts};

/// A tick's calls take no longer than this; so much burns between a deploy and our look at the balance.
const TICK_AT_MOST: Duration = Duration::from_secs(180);
/// Nothing is rented on a balance older than this (CONTRACT, reasons: `balance_unknown`).
const BALANCE_AGE_MAX: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3_600);
/// Lists in a row that must lack a VM before it is asked for by id. Source: CONTRACT, "Gone" ("several").
const LISTS_BEFORE_LOOKUP: usize = 3;
/// And where nothing can be asked by id, for at least the settle grace. Source: CONTRACT, "Gone".
const LISTS_WITHOUT_LOOKUP: usize = 5;

/// What was found at one look.
#[derive(Debug, Default)]
struct Found(Vec<Breach>);

impl Found {
    fn unless(&mut self, holds: bool, promise: Promise, detail: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Breach { promise, detail: detail() });
        }
    }
}

/// One world, as it truly is.
#[derive(Clone, Debug)]
pub struct Sighted {
    /// Whose market, which vendor: ids are unique only within one.
    pub world: String,
    /// Which vendor's.
    pub vendor: Vendor,
    /// Who pays there; `None` where no marketplace of the settings leads.
    pub account: Option<AccountName>,
    /// The marketplaces that lead there, and what each speaks: what a list of one lacks says nothing of another.
    pub marketplaces: BTreeMap<MarketplaceName, Api>,
    /// Its story: of the VMs that are no more at least those that ended since the last look.
    pub truth: Truth,
    /// Attempts to list its VMs, and what was told; the newest last.
    pub lists: Vec<Arc<Listing>>,
    /// When machines were listed so that it could be read, and in which API; the newest last.
    pub machines: Vec<(Api, Timestamp)>,
    /// Bids that were asked about and accepted; the newest last.
    pub accepted: Vec<Arc<Accepted>>,
    /// VMs that were made by requests that nobody waited for any more: not by what was known then.
    pub came_late: Arc<BTreeSet<InstanceId>>,
    /// A request may have been so long on its way through a slow door: its sender could not know.
    pub on_its_way: Duration,
}

/// All that there is to look at.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    status: &'a Status,
    sighted: &'a [Sighted],
    /// VMs of which nothing is promised.
    out_of_sight: &'a BTreeSet<InstanceId>,
    paper: &'a Paper,
}

impl Sighted {
    /// Whether a marketplace leads there.
    fn leads_from(&self, marketplace: &MarketplaceName) -> bool {
        self.marketplaces.contains_key(marketplace)
    }
}

/// All VMs there ever were, in whichever world.
fn all_vms(sighted: &[Sighted]) -> impl Iterator<Item = &Vm> {
    sighted.iter().flat_map(|sighted| &sighted.truth.vms)
}

fn alive(sighted: &[Sighted]) -> impl Iterator<Item = &Vm> {
    sighted.iter().flat_map(|sighted| sighted.truth.alive())
}

/// What was paid for VMs of ours, by account.
fn spent(sighted: &[Sighted]) -> BTreeMap<AccountName, Usd> {
    let mut spent: BTreeMap<AccountName, Usd> = BTreeMap::new();
    for Sighted { account, truth, .. } in sighted {
        let Some(account) = account else { continue };
        let sum = spent.entry(account.clone()).or_default();
        *sum = sum.plus(truth.spent_on_api_vms);
    }
    spent
}

/// An account's UTC day or month so far.
#[derive(Clone, Copy, Debug)]
struct Day {
    began: Timestamp,
    /// What was spent before it.
    before: Usd,
    /// The highest budget that was in force on it, if there was one at every look.
    budget: Option<Usd>,
    /// All of it the wall clock was right, and nothing was billed beyond what was agreed: nobody keeps to a budget else.
    is_judged: bool,
}

/// Whether the wall clock of the daemon's machine shows about what it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WallClock {
    /// It does, to within a minute.
    #[default]
    Right,
    /// It does not.
    Wrong,
}

/// What was seen at the last look, and what whoever watches lets pass.
#[derive(Debug, Default)]
pub struct Watch {
    /// VMs of others that the operator had deleted or adopted.
    pub operators_own: BTreeSet<InstanceId>,
    /// VMs that were proven gone though they are there: nothing is promised about those.
    pub out_of_sight: BTreeSet<InstanceId>,
    /// As it was since the last look. Budgets are of days, and a day is what the wall clock says.
    pub wall_clock: WallClock,
    /// How old the balances may be that marketplaces show.
    pub balance_lag: Duration,
    /// VMs whose deploys were sent long before they arrived: what was asked about a moment before is not known.
    pub belated: BTreeSet<(String, InstanceId)>,
    /// Fleets whose operator had an edit applied since the last look.
    applied: BTreeSet<FleetName>,
    texts: Texts,
    blind: Blind,
    kept: Kept,
    levers: Levers,
    purse: Purse,
    /// Of whom their marketplace said at the last look that there is none.
    denied: BTreeSet<InstanceId>,
    /// All VMs there ever were.
    seen: BTreeSet<(String, InstanceId)>,
    /// Which of ours had a name first.
    names: BTreeMap<VmName, InstanceId>,
    /// Of all, who was there at the last look.
    there: BTreeSet<(String, InstanceId)>,
    /// VMs whose machine was away, and when it was last seen to be.
    away: BTreeMap<InstanceId, Timestamp>,
    days: BTreeMap<(AccountName, Period), Day>,
    rates: BTreeMap<String, HourlyRate>,
    rate: HourlyRate,
    gpus: BTreeMap<String, u32>,
    /// What each world's account was given, and when somebody else last took of it.
    given: BTreeMap<String, (Usd, Option<Timestamp>)>,
    looked_at: Option<Timestamp>,
}

/// All that a VM may cost: an outbid one may come back.
fn rate(vm: &Vm) -> HourlyRate {
    match vm.state {
        VmState::StoppedReleased => vm.agreed.storage,
        VmState::Starting | VmState::Running | VmState::StoppedKept | VmState::Outbid => vm.agreed.total(),
    }
}

fn gpus(vm: &Vm) -> u32 {
    if vm.state == VmState::StoppedReleased { 0 } else { vm.shape.gpus }
}

/// The fleet that a VM is named after: the longest name wins.
fn fleet_of<'a>(status: &'a Status, vm: &Vm) -> Option<&'a str> {
    let names = status.fleets.keys().map(|name| name.as_str());
    let rest = vm.name.as_str().strip_prefix("spotscale-")?;
    let is_of = |name: &&str| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    names.filter(is_of).max_by_key(|name| name.len())
}

/// Names that were given up: their GPUs are the one overrun that can happen.
fn given_up(fleet: &Fleet) -> BTreeSet<&VmName> {
    fleet.reserved.iter().map(|reserved| &reserved.name).chain(fleet.late.iter().map(|late| &late.name)).collect()
}

impl Watch {
    /// The operator pulled a lever; `now` is the daemon's clock.
    pub fn pulled(&mut self, lever: &Lever, moved: Moved, now: Timestamp, status: &Status) {
        self.levers.pulled(lever, moved, now, status.situation.as_deref());
        if let Lever::Apply(fleet) = lever
            && moved != Moved::No
        {
            self.applied.insert(fleet.clone());
        }
        // What the operator names is theirs to be touched, unless they were told that it is not done.
        if let Lever::Adopt { instance, .. } | Lever::Delete { instance } = lever
            && moved != Moved::No
            && let Ok(id) = instance.parse()
        {
            self.operators_own.insert(id);
        }
    }

    /// The journal was lost, or is another one: nobody knows any more where the levers stand.
    pub fn forget_levers(&mut self) {
        self.levers.forget();
    }

    /// The daemon has read what stands on disk.
    pub fn read(&mut self, on_disk: OnDisk) {
        self.texts.read(on_disk);
    }

    /// Looks at the worlds after a tick.
    pub fn look(&mut self, status: &Status, sighted: &[Sighted], paper: &Paper) -> Vec<Breach> {
        let mut found = Found::default();
        self.touch_nobody_else(&mut found, status, sighted);
        let new: Vec<Vec<&Vm>> = sighted
            .iter()
            .map(|one| {
                let is_new =
                    |vm: &&Vm| vm.origin == Origin::Api && !self.seen.contains(&(one.world.clone(), vm.id.clone()));
                one.truth.vms.iter().filter(is_new).collect()
            })
            .collect();
        for vm in new.concat() {
            let first = self.names.entry(vm.name.clone()).or_insert_with(|| vm.id.clone());
            found.unless(*first == vm.id, Promise::OneVmPerName, || format!("{} was deployed twice", vm.name));
            let of_ours = fleet_of(status, vm).is_some();
            found.unless(!of_ours || paper.is_intended(&vm.name), Promise::IntentFirst, || {
                format!("{} ({}) was made, and the journal knows no intent", vm.name, vm.id)
            });
        }
        self.excuse(sighted, paper);
        let Some(situation) = &status.situation else { return found.0 };
        // What was meant before and has its effect only now is not rented now.
        let meant: BTreeSet<&VmName> = paper.rented().map(|(_, intent)| &intent.name).collect();
        let new: Vec<Vec<&Vm>> =
            new.into_iter().map(|new| new.into_iter().filter(|vm| meant.contains(&vm.name)).collect()).collect();
        // What the last process rented was not rented by the counts of this one.
        let living: BTreeSet<&VmName> = paper
            .rented()
            .filter(|(decided, _)| paper.is_of_the_living(decided))
            .map(|(_, intent)| &intent.name)
            .collect();
        let made: Vec<&Vm> = new.concat().into_iter().filter(|vm| living.contains(&vm.name)).collect();
        self.fleets(&mut found, (status, situation, paper), sighted, &made);
        let is_ours = |vm: &&Vm| vm.origin == Origin::Api && !self.out_of_sight.contains(&vm.id);
        let ours = alive(sighted).filter(is_ours).filter(|vm| fleet_of(status, vm).is_some());
        let all: HourlyRate = ours.map(rate).sum();
        if let Some(limit) = situation.limits.max_hourly_rate {
            found.unless(all <= limit.max(self.rate), Promise::AllRates, || {
                format!("all fleets cost {all}/h of {limit}/h")
            });
            let committed = situation.global_rate();
            let rented = made.iter().any(|vm| fleet_of(status, vm).is_some());
            found.unless(!rented || committed <= limit, Promise::AllRates, || {
                format!("rented, with all fleets at {committed}/h of {limit}/h")
            });
        }
        self.rate = all;
        // To start, and to raise a bid, is to rent again.
        let raised: BTreeSet<&VmName> = paper.raised().map(|(_, name)| name).collect();
        let by_the_living = paper.raised().filter(|(decided, _)| paper.is_of_the_living(decided));
        let living: BTreeSet<&VmName> = by_the_living.map(|(_, name)| name).chain(living).collect();
        let rented = paper.rented().map(|(decided, _)| decided);
        let are_living =
            rented.chain(paper.raised().map(|(decided, _)| decided)).all(|one| paper.is_of_the_living(one));
        let mut robbed = BTreeSet::new();
        for (one, new) in sighted.iter().zip(&new) {
            let raised = one.truth.alive().filter(|vm| vm.origin == Origin::Api && raised.contains(&vm.name));
            let new: Vec<&Vm> = new.iter().copied().chain(raised).collect();
            balance_known(&mut found, situation, one, new.iter().filter(|vm| living.contains(&vm.name)).count());
            if self.was_robbed(one) {
                robbed.insert(one.world.clone());
            } else {
                // What a process that has died decided was decided by what stood on disk then.
                let texts = are_living.then_some(&self.texts);
                floor(&mut found, (status, situation, texts), one, &new, self.blind_for(one));
            }
        }
        self.budgets(&mut found, situation, sighted);
        let now = sighted.iter().map(|one| one.truth.at).max();
        let away = sighted.iter().flat_map(|one| &one.truth.away).filter_map(|id| Some((id.clone(), now?)));
        self.away.extend(away);
        let excused = |one: &Sighted, vm: &Vm| self.out_of_sight.contains(&vm.id) || self.is_still_away(one, vm, paper);
        found.0.extend(absence::lost(sighted, &self.there, excused, paper));
        let seen = Seen { status, sighted, out_of_sight: &self.out_of_sight, paper };
        let on_time = |one: &Sighted, vm: &Vm| {
            !one.came_late.contains(&vm.id) && !self.belated.contains(&(one.world.clone(), vm.id.clone()))
        };
        let on_time: Vec<Vec<&Vm>> = sighted
            .iter()
            .zip(&new)
            .map(|(one, new)| new.iter().copied().filter(|vm| on_time(one, vm)).collect())
            .collect();
        self.blind.look(&mut found, &seen, &on_time);
        deeds::look(&mut found, &seen, self.looked_at);
        places::look(&mut found, &seen, &made);
        self.levers.look(&mut found, situation);
        let balance_age = self.balance_lag.saturating_add(BALANCE_AGE_MAX).saturating_add(TICK_AT_MOST);
        let sight = self.looked_at.map(|since| Sight { since, balance_age });
        self.purse.look(&mut found, &seen, sight);
        self.kept.look(&mut found, &seen);
        let passes = Passes { applied: &std::mem::take(&mut self.applied), robbed: &robbed };
        self.texts.look(&mut found, &seen, &made, sight, passes);
        self.looked_at = now;
        let key = |one: &Sighted, vm: &Vm| (one.world.clone(), vm.id.clone());
        self.there = sighted.iter().flat_map(|one| one.truth.alive().map(move |vm| key(one, vm))).collect();
        self.seen.extend(sighted.iter().flat_map(|one| one.truth.vms.iter().map(move |vm| key(one, vm))));
        found.0
    }

    /// VMs that are proven gone by CONTRACT's own rule, though they are there: lists in a row lacked them, and their
    /// marketplace said that there is none, or cannot be asked; or it said so to our delete. Until then they are ours like all
    /// others.
    fn excuse(&mut self, sighted: &[Sighted], paper: &Paper) {
        let denied = std::mem::take(&mut self.denied);
        for one in sighted {
            let by_id = match one.vendor {
                Vendor::Tensordock | Vendor::Trace => true,
                Vendor::Vectordash => false,
            };
            for vm in one.truth.alive().filter(|vm| vm.origin == Origin::Api) {
                let is_denied = vm.hiding == Some(Hiding::Altogether);
                if is_denied {
                    self.denied.insert(vm.id.clone());
                }
                let was_denied = is_denied || denied.contains(&vm.id);
                let may_be_gone = was_denied || !by_id;
                if !may_be_gone || self.out_of_sight.contains(&vm.id) {
                    continue;
                }
                let api = paper.marketplace(&vm.name).and_then(|marketplace| one.marketplaces.get(marketplace));
                let (lists, lasted) = lacked(one, api.copied(), vm);
                // Who is to be deleted and does not exist is gone, says the answer (FACTS), and so does the next list.
                let is_deleted = was_denied && lists >= 1 && paper.is_let_go(&vm.name, &vm.id);
                let is_proven = match by_id {
                    true => lists >= LISTS_BEFORE_LOOKUP,
                    false => lists >= LISTS_WITHOUT_LOOKUP && lasted >= paper.settle_grace,
                };
                if is_deleted || is_proven {
                    self.out_of_sight.insert(vm.id.clone());
                }
            }
        }
    }

    /// Whether nobody could know that a machine is back: up to the last look no list of its marketplace has shown its VM since.
    /// One that did so after that may have shown that the machine was away once more.
    fn is_still_away(&self, one: &Sighted, vm: &Vm, paper: &Paper) -> bool {
        let (Some(away), Some(looked_at)) = (self.away.get(&vm.id), self.looked_at) else { return false };
        let api = paper.marketplace(&vm.name).and_then(|marketplace| one.marketplaces.get(marketplace));
        let shows = |listing: &Listing| match &listing.told {
            Told::These(ids) => ids.contains(&vm.id),
            Told::Perhaps | Told::Nothing => false,
        };
        let own = one.lists.iter().filter(|listing| api.is_none_or(|api| listing.api == *api));
        !own.filter(|listing| listing.at > *away && listing.at <= looked_at).any(|listing| shows(listing))
    }

    /// What is known of a world's balance may be so old: what burnt meanwhile nobody could know.
    fn blind_for(&self, one: &Sighted) -> Duration {
        let since = self.looked_at.map_or(Duration::ZERO, |looked_at| time::elapsed(looked_at, one.truth.at));
        since.max(TICK_AT_MOST).saturating_add(self.balance_lag)
    }

    /// Whether somebody else took of the account, and no balance that was read since need show it.
    fn was_robbed(&mut self, one: &Sighted) -> bool {
        let Sighted { world, truth, .. } = one;
        let (given, robbed_at) = self.given.entry(world.clone()).or_insert((truth.opening_balance, None));
        if truth.opening_balance < *given {
            *robbed_at = Some(truth.at);
        }
        *given = truth.opening_balance;
        let shown_by = self.balance_lag.saturating_add(BALANCE_AGE_MAX).saturating_add(TICK_AT_MOST);
        robbed_at.is_some_and(|robbed_at| time::elapsed(robbed_at, truth.at) < shown_by)
    }

    /// Midnight, to the moment: what was spent until now is the old day's.
    pub fn midnight(&mut self, at: Timestamp, sighted: &[Sighted]) -> Vec<Breach> {
        let mut found = Found::default();
        let spent = spent(sighted);
        for ((account, period), day) in self.days.iter_mut().filter(|((_, period), _)| period.began(at) == at) {
            let spent = spent.get(account).copied().unwrap_or_default();
            within_budget(&mut found, (account, *period), *day, spent);
            *day = Day { began: at, before: spent, budget: day.budget, is_judged: true };
        }
        found.0
    }

    /// On no UTC day and in no month is more spent on an account than the highest budget that was in force on it. Where midnight fell into a
    /// tick, what was spent between it and this look is let pass.
    fn budgets(&mut self, found: &mut Found, situation: &Situation, sighted: &[Sighted]) {
        for (account, spent) in spent(sighted) {
            let here = || sighted.iter().filter(|one| one.account.as_ref() == Some(&account));
            let Some(at) = here().map(|one| one.truth.at).max() else { continue };
            let limits = situation.limits.account(&account);
            let is_overbilled = here().any(|one| one.truth.alive().any(|vm| vm.surcharge_ppm > 0));
            for (period, budget) in
                [(Period::Day, limits.max_spend_per_day), (Period::Month, limits.max_spend_per_month)]
            {
                let began = period.began(at);
                let before = if self.seen.is_empty() { Usd::ZERO } else { spent };
                let first = Day { began, before, budget, is_judged: true };
                let day = self.days.entry((account.clone(), period)).or_insert(first);
                if day.began < began {
                    *day = Day { began, before: spent, budget, is_judged: true };
                }
                day.is_judged &= self.wall_clock == WallClock::Right && !is_overbilled;
                day.budget = day.budget.zip(budget).map(|(earlier, now)| earlier.max(now));
                within_budget(found, (&account, period), *day, spent);
            }
        }
    }

    fn touch_nobody_else(&self, found: &mut Found, status: &Status, sighted: &[Sighted]) {
        // What is not named after a fleet is nobody's to touch, whoever names it. A process that has not looked yet knows none.
        let is_named = |vm: &Vm| status.situation.is_none() || fleet_of(status, vm).is_some();
        let is_own = |vm: &Vm| self.operators_own.contains(&vm.id) && is_named(vm);
        for vm in all_vms(sighted).filter(|vm| vm.origin == Origin::Foreign && !is_own(vm)) {
            let is_deleted = vm.ended.is_some_and(|(_, why)| why == Ended::Deleted);
            found.unless(!is_deleted && vm.touches == 0, Promise::NobodyElses, || {
                format!("{} ({}) is somebody else's and was touched", vm.name, vm.id)
            });
        }
    }

    fn fleets(
        &mut self,
        found: &mut Found,
        (status, situation, paper): (&Status, &Situation, &Paper),
        sighted: &[Sighted],
        new: &[&Vm],
    ) {
        for (name, state) in &situation.fleets {
            let of_fleet = |vm: &&Vm| fleet_of(status, vm) == Some(name.as_str());
            let is_ours = |vm: &&Vm| vm.origin == Origin::Api && !self.out_of_sight.contains(&vm.id);
            let ours: Vec<&Vm> = alive(sighted).filter(of_fleet).filter(is_ours).collect();

            let cost: HourlyRate = ours.iter().map(|vm| rate(vm)).sum();
            let limit = state.policy.max_hourly_rate;
            let before = self.rates.insert(name.to_string(), cost).unwrap_or_default();
            found.unless(cost <= limit.max(before), Promise::FleetRate, || {
                format!("{name} costs {cost}/h of {limit}/h")
            });
            let committed = state.fleet.committed();
            counted(found, (paper, sighted), state, &ours);

            let given_up = given_up(&state.fleet);
            let names = ours.iter().map(|vm| &vm.name);
            for lost in names.filter(|name| !state.fleet.members.contains_key(name) && !given_up.contains(name)) {
                found.unless(false, Promise::NothingLost, || format!("{lost} is there, and {name} has forgotten it"));
            }

            let there: u32 = ours.iter().filter(|vm| !given_up.contains(&vm.name)).map(|vm| gpus(vm)).sum();
            let before = self.gpus.insert(name.to_string(), there).unwrap_or_default();
            let most = gpus_max(state);
            found.unless(there <= most.max(before), Promise::Gpus, || {
                format!("{name} has {there} GPUs, at most {most} are wanted")
            });

            // What is rented fits beside strays that were seen, too.
            let made = new.iter().copied().filter(|vm| of_fleet(vm)).count();
            let counted = state.fleet.counted_gpus() + state.fleet.stray_gpus();
            found.unless(made == 0 || committed <= limit, Promise::FleetRate, || {
                format!("{name} rented, at {committed}/h of {limit}/h")
            });
            found.unless(made == 0 || counted <= most, Promise::Gpus, || {
                format!("{name} rented, {counted} GPUs of {most} are counted")
            });
        }
    }
}

/// Each VM is counted for at least what it costs, under its own name: what one is counted for too much hides no other.
fn counted(found: &mut Found, (paper, sighted): (&Paper, &[Sighted]), state: &FleetState, ours: &[&Vm]) {
    let fleet = &state.fleet;
    for vm in ours {
        let member = fleet.members.get(&vm.name);
        // What a listed price had come to when it was rented, neither every answer nor every list tells.
        let is_told = paper.is_priced(&vm.name) || member.is_some_and(|member| member.quoted.is_some());
        let is_stopped = member.is_some_and(|member| member.standing == Standing::StoppedReleased);
        let member = member.map(Member::committed);
        let late = fleet.late.iter().filter(|late| late.name == vm.name).map(|late| late.rate);
        let reserved = fleet.reserved.iter().filter(|reserved| reserved.name == vm.name).map(|reserved| reserved.rate);
        let strays = fleet.strays.iter().filter(|stray| stray.instance.id == vm.id).map(Stray::rate);
        let counted: HourlyRate = member.into_iter().chain(late).chain(reserved).chain(strays).sum();
        let listed = listed_at(paper, &vm.name).filter(|_| !is_told);
        let cost = listed.map_or(rate(vm), |listed| rate(vm).min(listed));
        // One that was started again, an old list still shows stopped.
        let is_stopped = is_stopped && paper.is_started(&vm.name) && was_told_old(sighted, vm);
        let cost = if is_stopped { cost.min(vm.agreed.storage) } else { cost };
        found.unless(cost <= counted, Promise::Counted, || {
            format!("{} ({}) costs {cost}/h, and counts only {counted}/h", vm.name, vm.id)
        });
    }
}

/// Whether the newest list that shows or lacks a VM may have been of an earlier moment.
fn was_told_old(sighted: &[Sighted], vm: &Vm) -> bool {
    let its =
        sighted.iter().find(|one| one.truth.vms.iter().any(|other| (&other.id, &other.name) == (&vm.id, &vm.name)));
    let readable = its.and_then(|one| one.lists.iter().rev().find(|listing| listing.told != Told::Nothing));
    readable.is_some_and(|newest| newest.told == Told::Perhaps)
}

/// What a VM on demand was listed at when it was rented. A bid is what it was; a listed price may have moved before the
/// deploy took effect.
fn listed_at(paper: &Paper, name: &VmName) -> Option<HourlyRate> {
    let intent = paper.intent(name).filter(|intent| intent.price_type == PriceType::OnDemand);
    intent.map(|intent| intent.agreed.total())
}

/// How many lists in a row, up to the newest, lacked a VM, and for how long. A call that failed proves nothing; nobody knows
/// what one showed that came too late.
fn lacked(one: &Sighted, api: Option<Api>, vm: &Vm) -> (usize, Duration) {
    let lists = one.lists.iter().rev().filter(|listing| api.is_none_or(|api| listing.api == api));
    let readable = lists.filter(|listing| listing.told != Told::Nothing);
    let row: Vec<Timestamp> = readable
        .take_while(|listing| match &listing.told {
            Told::These(ids) => !ids.contains(&vm.id),
            Told::Perhaps | Told::Nothing => true,
        })
        .map(|listing| listing.at)
        .collect();
    let lasted = row.last().zip(row.first()).map(|(first, last)| time::elapsed(*first, *last));
    (row.len(), lasted.unwrap_or_default())
}

/// What cannot be in a world.
pub fn impossible(world: &World) -> Vec<Breach> {
    let found = world.impossible().into_iter();
    found.map(|detail| Breach { promise: Promise::World, detail }).collect()
}

/// GPUs that a fleet may have by our doing: surge only while something is being replaced.
fn gpus_max(state: &FleetState) -> u32 {
    let replacing = state.fleet.members.values().any(|member| member.replaces.is_some());
    state.target_gpus().saturating_add(if replacing { state.surge_gpus() } else { 0 })
}

fn within_budget(found: &mut Found, (account, period): (&AccountName, Period), day: Day, spent: Usd) {
    let (today, budget) = (spent.minus(day.before), day.budget);
    found.unless(!day.is_judged || budget.is_none_or(|budget| today <= budget), Promise::Budget, || {
        format!("{account} spent {today} of {} this {period}", budget.unwrap_or_default())
    });
}

fn is_balance_known(situation: &Situation, account: &AccountName) -> bool {
    situation.accounts.get(account).is_some_and(|state| state.balance.is_some())
}

/// The living process, which knows what it knew, rented or started nothing where it never read a balance, unless the operator
/// declared that nobody can.
fn balance_known(found: &mut Found, situation: &Situation, Sighted { account, .. }: &Sighted, new: usize) {
    let Some(account) = account.as_ref().filter(|account| !is_balance_known(situation, account)) else { return };
    let is_declared = situation.limits.account(account).balance == BalanceRule::UnreadableOk;
    found.unless(new == 0 || is_declared, Promise::Floor, || format!("{account} has no balance and rented"));
}

/// What was deployed leaves the account its floor, and the greater of the runway and an hour above it. Where nobody can read
/// the balance there is no floor.
fn floor(
    found: &mut Found,
    (status, situation, texts): (&Status, &Situation, Option<&Texts>),
    sighted: &Sighted,
    new: &[&Vm],
    blind_for: Duration,
) {
    let Sighted { world, account, truth, .. } = sighted;
    let Some(account) = account else {
        return found.unless(new.is_empty(), Promise::NobodyElses, || {
            format!("{} VMs were made in {world}, where no marketplace leads", new.len())
        });
    };
    if !is_balance_known(situation, account) {
        return;
    }
    let renting = new.iter().filter_map(|vm| fleet_of(status, vm)?.parse().ok());
    let states: Vec<&FleetState> = renting.filter_map(|name| situation.fleets.get(&name)).collect();
    // Who deployed last is not known; what the most modest of them needs must be there in any case.
    let Some((floor, span)) = states
        .iter()
        .map(|state| match texts {
            Some(texts) => texts.floor(situation, state),
            None => (situation.floor(state), state.policy.min_runway),
        })
        .map(|(floor, runway)| (floor, runway.max(HOUR)))
        .min()
    else {
        return;
    };
    let balance = truth.balance.minus(floor);
    let burnt = truth.hourly_cost.cost(blind_for);
    let needed = truth.hourly_cost.cost(span);
    found.unless(balance.plus(burnt) >= needed, Promise::Floor, || {
        format!("{balance} above the floor do not pay {needed}")
    });
}

/// Whether memory and world agree about every VM of ours, and nothing is in doubt; if not, where they differ.
pub fn disagreement(status: &Status, sighted: &[Sighted], paper: &Paper) -> Option<String> {
    let situation = status.situation.as_ref()?;
    for (name, state) in &situation.fleets {
        // A stray that the operator adopted is the fleet's, though nobody of ours made it.
        let is_adopted = |vm: &Vm| {
            let member = state.fleet.members.get(&vm.name);
            vm.origin == Origin::Foreign && member.is_some_and(|member| member.id.as_ref() == Some(&vm.id))
        };
        let is_named_so = |vm: &Vm| vm.origin != Origin::Foreign && fleet_of(status, vm) == Some(name.as_str());
        // What a marketplace bills beyond what was agreed is no disagreement about what is there.
        let known: BTreeMap<String, (u32, HourlyRate)> = (state.fleet.members.values())
            .map(|member| {
                let id = member.id.as_ref().map(ToString::to_string).unwrap_or_default();
                (format!("{} ({id})", member.name), (member.shape.gpus, member.committed()))
            })
            .collect();
        let there: BTreeMap<String, (u32, HourlyRate)> = alive(sighted)
            .filter(|vm| is_named_so(vm) || is_adopted(vm))
            .map(|vm| {
                let key = format!("{} ({})", vm.name, vm.id);
                let member = state.fleet.members.get(&vm.name);
                // A rebid that was not answered and arrives after a higher one lowers the bid again; the higher stays counted.
                let is_lowered = paper.is_bid_in_doubt(&vm.name)
                    && member.is_some_and(|member| member.bid.is_some_and(|bid| bid > vm.agreed.compute));
                // Where the price fell before a deploy took effect, the greater counts.
                let listed = listed_at(paper, &vm.name).filter(|listed| *listed > rate(vm));
                let may_count = |counted: &HourlyRate| vm.surcharge_ppm > 0 || is_lowered || listed == Some(*counted);
                let counted = known.get(&key).map(|(_, committed)| *committed).filter(may_count);
                (key, (vm.shape.gpus, counted.unwrap_or_else(|| rate(vm))))
            })
            .collect();
        if known != there {
            return Some(format!("{name} remembers {known:?}, and there are {there:?}"));
        }
        if !state.fleet.late.is_empty() {
            return Some(format!("{name} has late ones: {:?}", state.fleet.late));
        }
    }
    let in_doubt: u32 = status.markets.values().map(|market| market.in_doubt).sum();
    (in_doubt > 0).then(|| format!("{in_doubt} deploys are in doubt"))
}
