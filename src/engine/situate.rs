//! Puts all that is known into one [`Situation`]: a pure function, so that `run`, `plan` and a test see the same.

use super::law::{Law, Statute};
use crate::{
    ledger::{Ledger, Standing, fleet::Fleet},
    model::{
        AccountName, FleetName, Guard, Hostnode, HostnodeId, HourlyRate, Inventory, Lookup, MarketView,
        MarketplaceName, RefusalKind, Shared, Timestamp, offer::Ports, time, wish::Ability,
    },
    plan::{AccountState, Bench, FleetState, MarketState, Order, Situation},
    policy::StartLimits,
    settings::Limits,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Hostnodes that were listed longer ago than so many scan intervals are stale.
pub const STALE_AFTER_SCANS: u32 = 3;
/// And never sooner than this, in real time, however often is scanned: so long may a look and what follows from it take.
pub const STALE_AFTER_MIN: Duration = Duration::from_secs(90);

/// All that a situation is made of.
pub struct Known<'a> {
    /// The moment.
    pub now: Timestamp,
    /// Machines that were listed longer ago than this, by this clock, are stale.
    pub stale_after: Duration,
    /// How old a quote may be, by this clock.
    pub quote_age_max: Duration,
    /// In force over all fleets, `--observe` included.
    pub limits: &'a Limits,
    /// An edit of them that is held: where it is lower, it binds new VMs.
    pub limits_held: Option<&'a Limits>,
    /// The policies in force.
    pub law: &'a Law,
    /// The memory.
    pub ledger: &'a Ledger,
    /// The memory joined with the newest look.
    pub fleets: &'a BTreeMap<FleetName, Fleet>,
    /// Marketplaces whose newest list of instances is complete.
    pub complete: &'a BTreeMap<MarketplaceName, bool>,
    /// What VMs that are not ours cost, by account.
    pub foreign: &'a BTreeMap<AccountName, HourlyRate>,
    /// The newest look.
    pub inventory: &'a Inventory,
    /// Hostnodes about which nothing could be asked in this tick.
    pub unanswered: &'a BTreeMap<MarketplaceName, BTreeSet<HostnodeId>>,
    /// What VMs each marketplace can make; one that is not here makes any.
    pub abilities: &'a BTreeMap<MarketplaceName, Ability>,
}

/// The effective order: the first that applies.
pub fn order(ledger: &Ledger, name: &FleetName, statute: &Statute, now: Timestamp) -> Order {
    let operator = ledger.levers().target(name, now).map(|target| target.gpus);
    let target = operator.unwrap_or(statute.in_force.policy.target_gpus);
    if ledger.levers().is_evacuating(name) {
        Order::Evacuate
    } else if ledger.levers().is_paused(name) || (statute.gone && Guard::FileGone.is_kept()) {
        Order::Pause(target)
    } else {
        Order::Hold(target)
    }
}

/// All that a plan may know.
pub fn situate(known: &Known<'_>) -> Situation {
    let fleets = known.law.statutes.iter().map(|(name, statute)| (name.clone(), fleet_state(known, name, statute)));
    let orphans = || known.fleets.iter().filter(|(name, _)| !known.law.statutes.contains_key(*name));
    let members = orphans().flat_map(|(_, fleet)| fleet.members.values());
    let staying = members.filter(|member| member.standing != Standing::Leaving);
    let markets = known.inventory.markets.iter().map(|(name, view)| (name.clone(), market_state(known, name, view)));
    let accounts = known.inventory.balances.iter().map(|(name, reading)| {
        let foreign = known.foreign.get(name).copied().unwrap_or_default();
        let spent = known.ledger.spend().of_account(known.now, name);
        (name.clone(), AccountState { balance: reading.last.clone(), foreign, spent })
    });
    Situation {
        now: known.now,
        quote_age_max: known.quote_age_max,
        limits: known.limits.clone(),
        limits_held: known.limits_held.filter(|_| Guard::HeldBinds.is_kept()).cloned(),
        namer: known.ledger.namer(),
        fleets: fleets.collect(),
        orphaned: by_account(orphans().flat_map(|(_, fleet)| committed_by_account(fleet))),
        orphaned_staying: by_account(staying.map(|member| (member.account.clone(), member.committed()))),
        markets: markets.collect(),
        accounts: accounts.collect(),
        hosts: known.ledger.hosts(known.now),
    }
}

fn fleet_state(known: &Known<'_>, name: &FleetName, statute: &Statute) -> FleetState {
    FleetState {
        policy: statute.in_force.policy.clone(),
        order: order(known.ledger, name, statute, known.now),
        fleet: known.fleets.get(name).cloned().unwrap_or_default(),
        missing: known.ledger.missing(name),
        scaled_down_at: known.ledger.scaled_down_at(name),
        held: start_limits(known.ledger, name, statute, known.now),
        policy_broken: !statute.faults.is_empty() || statute.gone,
    }
}

/// What binds starts while an edit is held. A target of the operator's is over both texts' own.
fn start_limits(ledger: &Ledger, name: &FleetName, statute: &Statute, now: Timestamp) -> Option<StartLimits> {
    let held = statute.held.as_ref().filter(|_| Guard::HeldBinds.is_kept());
    let start = held.map(|_| statute.start_limits())?;
    let operator = ledger.levers().target(name, now).map(|target| target.gpus);
    Some(StartLimits { target_gpus: operator.unwrap_or(start.target_gpus), ..start })
}

/// What a fleet commits, by who pays.
pub fn committed_by_account(fleet: &Fleet) -> BTreeMap<AccountName, HourlyRate> {
    let members = fleet.members.values().map(|member| (&member.account, member.committed()));
    let strays = fleet.strays.iter().map(|stray| (&stray.account, stray.rate()));
    let late = fleet.late.iter().map(|late| (&late.account, late.rate));
    let reserved = fleet.reserved.iter().map(|reserved| (&reserved.account, reserved.rate));
    by_account(members.chain(strays).chain(late).chain(reserved).map(|(account, rate)| (account.clone(), rate)))
}

fn by_account(rates: impl Iterator<Item = (AccountName, HourlyRate)>) -> BTreeMap<AccountName, HourlyRate> {
    let mut sums: BTreeMap<AccountName, HourlyRate> = BTreeMap::new();
    for (account, rate) in rates {
        let sum = sums.entry(account).or_default();
        *sum = sum.plus(rate);
    }
    sums
}

fn market_state(known: &Known<'_>, name: &MarketplaceName, view: &MarketView) -> MarketState {
    let hostnodes = view.hostnodes.last.as_ref();
    MarketState {
        account: view.account.clone(),
        bench: bench(known, name, view),
        hostnodes: machines(view),
        hostnodes_at: hostnodes.map(|dated| dated.at),
        list_complete: known.complete.get(name).copied().unwrap_or(false),
        quotes: view.quotes.clone(),
        unanswered: known.unanswered.get(name).cloned().unwrap_or_default(),
        ability: known.abilities.get(name).copied().unwrap_or(Ability::ANY),
    }
}

/// The machines as listed, and those that were asked about one by one as they were told then. What even that leaves
/// out is not asked again: a machine of which nobody tells a free port has none.
fn machines(view: &MarketView) -> Shared<Vec<Hostnode>> {
    let listed = view.hostnodes.last.as_ref().map(|list| list.value.items.clone()).unwrap_or_default();
    if view.machines.is_empty() {
        return listed;
    }
    let as_told = |hostnode: &Hostnode| match view.machines.get(&hostnode.id).map(|told| &told.value) {
        None => Some(hostnode.clone()),
        Some(Lookup::Gone) => None,
        Some(Lookup::Here(told)) => {
            let ports = match &told.ports {
                Ports::Unlisted => Ports::Free(Vec::new()),
                Ports::Free(_) | Ports::GivenForSsh => told.ports.clone(),
            };
            Some(Hostnode { id: hostnode.id.clone(), ports, ..told.clone() })
        }
    };
    listed.iter().filter_map(as_told).collect()
}

fn bench(known: &Known<'_>, name: &MarketplaceName, view: &MarketView) -> Option<Bench> {
    if !Guard::ClosedMarket.holds(!known.ledger.is_benched(name)) {
        let is_overbilled = known.ledger.is_benched_for_overbilling(name);
        return Some(if is_overbilled { Bench::Overbilled } else { Bench::Paused });
    }
    let failures = [view.instances.failed.as_ref(), view.hostnodes.failed.as_ref()];
    let kinds = failures.into_iter().flatten().map(|dated| dated.value.kind());
    for kind in kinds {
        match kind {
            RefusalKind::Unauthorized => return Some(Bench::Unauthorized),
            RefusalKind::Throttled => return Some(Bench::Throttled),
            RefusalKind::NoCapacity
            | RefusalKind::BidTooLow
            | RefusalKind::Gone
            | RefusalKind::Broke
            | RefusalKind::Refused
            | RefusalKind::Malformed
            | RefusalKind::Unreachable => {}
        }
    }
    // A list that is not current lacks whatever it lacks.
    if !Guard::StaleBench.holds(view.instances.failed.is_none()) {
        return Some(Bench::Stale);
    }
    let fresh = |dated: &crate::model::inventory::Dated<_>| time::elapsed(dated.at, known.now) <= known.stale_after;
    match &view.hostnodes.last {
        Some(dated) if Guard::StaleMachines.holds(fresh(dated)) => None,
        Some(_) | None => Some(Bench::Stale),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Context, InstanceDefaults};
    use crate::{
        engine::{
            edits::Loss,
            law::{Held, Text},
            sample,
        },
        ledger::{
            Record, Scope,
            stage::{Stage, instance, of},
        },
        model::{InstanceStatus::Running, reason::Teardown},
        policy::{Policy, Source, Terms},
    };

    /// What a stage's journal and newest look come to, with one policy in force and perhaps another held.
    fn situation(stage: &Stage, law: &Law) -> Situation {
        let joined = stage.joined();
        let limits = sample::status().situation.unwrap().into_value().limits;
        situate(&Known {
            now: stage.now,
            stale_after: STALE_AFTER_MIN,
            quote_age_max: Duration::from_secs(60),
            limits: &limits,
            limits_held: None,
            law,
            ledger: stage.ledger(),
            fleets: &joined.fleets,
            complete: &joined.complete,
            foreign: &joined.foreign,
            inventory: &stage.inventory,
            unanswered: &BTreeMap::new(),
            abilities: &BTreeMap::new(),
        })
    }

    fn text(policy: &Policy, edit: impl FnOnce(&mut Terms)) -> Text {
        let mut terms = Terms::clone(policy);
        edit(&mut terms);
        let (file, attachments, unread) = ("train.toml".into(), BTreeMap::new(), BTreeMap::new());
        let source = Source { file, text: String::new(), attachments, unread };
        let context = Context {
            instance_prefix: "spotscale".into(),
            default_ssh_key: None,
            instance_defaults: InstanceDefaults::default(),
            marketplaces: BTreeMap::new(),
            vocabularies: BTreeMap::new(),
            catalogue_edition: crate::model::catalogue::EDITION,
        };
        Text { source, policy: Policy::vouched(terms), digest: String::new(), context }
    }

    /// `train` with a target of 8, and an edit to 3 that is held.
    fn law() -> Law {
        let train: FleetName = of("train");
        let policy = sample::status().situation.unwrap().fleets[&train].policy.clone();
        let held = Held { text: text(&policy, |terms| terms.target_gpus = 3), loss: Loss::default() };
        let in_force = text(&policy, |_| {});
        let statute = Statute { held: Some(held), ..Statute::new(in_force) };
        Law { statutes: BTreeMap::from([(train, statute)]), strangers: Vec::new() }
    }

    #[test]
    fn a_held_target_binds_starts_unless_the_operator_set_another() {
        let (mut stage, train) = (Stage::new(), of("train"));
        let targets = |stage: &Stage| {
            let state = &situation(stage, &law()).fleets[&train];
            (state.target_gpus(), state.start_gpus())
        };
        assert_eq!(targets(&stage), (8, 3));
        stage.write(Record::TargetSet { fleet: train.clone(), gpus: 5, until: None });
        assert_eq!(targets(&stage), (5, 5));
    }

    #[test]
    fn a_machine_that_was_asked_about_is_as_it_was_told_then() {
        let listed = &sample::status().situation.unwrap().markets[&of("tensordock")].hostnodes[0];
        let listed = Hostnode { ports: Ports::Unlisted, ..listed.clone() };
        let mut stage = Stage::new();
        let at = stage.now;
        let scan = crate::model::Scan { items: vec![listed.clone()].into(), dropped: Vec::new() };
        stage.view().hostnodes.fold(at, Ok(scan));
        let shown = |stage: &Stage| situation(stage, &Law::default()).markets[&of("tensordock")].hostnodes.clone();
        assert_eq!(*shown(&stage), std::slice::from_ref(&listed));
        let mut told = |value| {
            stage.view().machines.insert(listed.id.clone(), crate::model::inventory::Dated { at, value });
            shown(&stage).first().map(|hostnode| hostnode.ports.clone())
        };
        let free = Ports::Free(vec![20_001]);
        assert_eq!(told(Lookup::Here(Hostnode { ports: free.clone(), ..listed.clone() })), Some(free));
        assert_eq!(told(Lookup::Here(listed.clone())), Some(Ports::Free(Vec::new())), "it is not asked again");
        assert_eq!(told(Lookup::Gone), None);
    }

    #[test]
    fn of_a_fleet_without_a_policy_all_binds_starts_and_only_its_vms_bind_what_stays() {
        let (mut stage, tensordock) = (Stage::new(), of("tensordock"));
        let (a, b, given_up) = (stage.deploy("i1"), stage.deploy("i2"), stage.intend());
        let stray = of("spotscale-train-zzzzzz-1");
        let listed = [("i1", &a), ("i2", &b), ("i3", &stray)].map(|(id, name)| instance(id, name, Running));
        stage.list(&listed);
        stage.delete(&b, "i2", false);
        stage.write(Record::Abandoned { name: given_up });
        // 0.41/h each: one stays, one is leaving, one is a stray, and one is reserved.
        let orphaned = situation(&stage, &Law::default());
        assert_eq!(orphaned.orphaned[&tensordock], of("1.64"));
        assert_eq!(orphaned.orphaned_staying[&tensordock], of("0.41"));
        let known = situation(&stage, &law());
        assert_eq!((known.orphaned.len(), known.orphaned_staying.len()), (0, 0));
    }

    #[test]
    fn three_overbilled_teardowns_bench_a_marketplace_until_it_is_resumed() {
        let (mut stage, tensordock) = (Stage::new(), of("tensordock"));
        let bench = |stage: &Stage| situation(stage, &Law::default()).markets[&tensordock].bench;
        assert_eq!(bench(&stage), Some(Bench::Stale));
        stage.write(Record::Paused { scope: Scope::Marketplace(tensordock.clone()) });
        assert_eq!(bench(&stage), Some(Bench::Paused));
        for id in ["i1", "i2", "i3"] {
            let name = stage.deploy(id);
            let (id, reason) = (of(id), Teardown::Overbilled);
            stage.write(Record::DeleteIntended { name, id, reason, why: String::new() });
        }
        assert_eq!(bench(&stage), Some(Bench::Overbilled));
        stage.write(Record::Resumed { scope: Scope::All });
        assert_eq!(bench(&stage.restarted()), Some(Bench::Overbilled));
        stage.write(Record::Resumed { scope: Scope::Marketplace(tensordock.clone()) });
        assert_eq!(bench(&stage), Some(Bench::Stale));
    }
}
