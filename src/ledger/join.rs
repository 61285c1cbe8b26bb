//! The ledger side by side with an inventory: every fleet as it stands.
//!
//! Settle first (see [`settle`](super::settle())): what a look at the world proves is in the ledger then, and here each
//! member only gets what it was seen to stand as. A member that a list lacks keeps the standing that it was last seen in,
//! until it is proven otherwise.

use super::{
    Closed, Evidence, Holding, LateVm, Ledger, Patience, Phase,
    fleet::{Attempts, DeleteAnswer, DeleteAttempt, Fleet, Late, Member, Reserved, Standing, Stray},
    holding::{Delete, Refused},
    settle::observed,
    sights::{Sighting, Sights},
};
use crate::model::{
    AccountName, FleetName, Guard, HourlyRate, InstanceId, Inventory, MarketplaceName, Timestamp, VmName,
    name::claimed_fleet,
    time::{after, before, elapsed},
};
use std::collections::{BTreeMap, BTreeSet};

/// Everything as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Every fleet that is known or has something left, by name.
    pub fleets: BTreeMap<FleetName, Fleet>,
    /// What VMs that are not ours cost per hour, by account, as far as the lists say.
    pub foreign: BTreeMap<AccountName, HourlyRate>,
    /// Whether each marketplace's newest list is complete: nothing is rented where it is not.
    pub complete: BTreeMap<MarketplaceName, bool>,
}

/// Whether a fleet has anything left that may cost: a VM, an intent that may have become one, money kept for one that was
/// given up.
pub fn has_anything(ledger: &Ledger, fleet: &FleetName, now: Timestamp, patience: Patience) -> bool {
    ledger.holdings().values().any(|holding| holding.intent.fleet == *fleet)
        || ledger.late().values().any(|late| late.fleet == *fleet)
        || abandoned(ledger, now, patience).any(|(_, past)| past.holding.intent.fleet == *fleet)
}

/// Intents that were given up and may still turn up.
fn abandoned(ledger: &Ledger, now: Timestamp, patience: Patience) -> impl Iterator<Item = (&VmName, &super::Past)> {
    let lately = ledger.closed_since(before(now, patience.late_window));
    lately.filter(|(_, past)| past.closed == Closed::Abandoned && !past.turned_up)
}

/// Joins the ledger with a look at the world. `known` are the fleets that have a policy: they are there even when empty,
/// and a VM named after one of them is a stray even if the journal never heard of that fleet. `watched_since` is when this
/// process began to look: nobody is waited for longer than somebody looks.
pub fn join(
    ledger: &Ledger,
    evidence: &Evidence,
    inventory: &Inventory,
    known: &BTreeSet<FleetName>,
    watched_since: Timestamp,
    now: Timestamp,
    patience: Patience,
) -> Joined {
    let sights = Sights::of(inventory);
    let mut fleets: BTreeMap<FleetName, Fleet> = known.iter().map(|fleet| (fleet.clone(), Fleet::default())).collect();

    for (name, holding) in ledger.holdings() {
        let mut member = member(name, holding, &sights, now, patience);
        if matches!(member.standing, Standing::Lost | Standing::Pending) {
            member.since = waited_for_since(member.since, watched_since, now);
        }
        fleets.entry(member.fleet.clone()).or_default().members.insert(name.clone(), member);
    }
    for ((name, id), vm) in ledger.late() {
        fleets.entry(vm.fleet.clone()).or_default().late.push(late(name, id, vm, &sights, now, patience));
    }
    for (name, past) in abandoned(ledger, now, patience) {
        let intent = &past.holding.intent;
        fleets.entry(intent.fleet.clone()).or_default().reserved.push(Reserved {
            name: name.clone(),
            account: sights.payer(&intent.marketplace, &intent.account).clone(),
            marketplace: intent.marketplace.clone(),
            rate: if Guard::ReservedMoney.is_kept() { past.holding.rate_max() } else { HourlyRate::ZERO },
            intended_at: past.holding.intended_at,
            until: after(past.at, patience.late_window),
        });
    }

    let mut foreign: BTreeMap<AccountName, HourlyRate> =
        inventory.markets.values().map(|view| (view.account.clone(), HourlyRate::ZERO)).collect();
    let claimants: BTreeSet<&FleetName> = known.iter().chain(ledger.fleets()).collect();
    for Sighting { marketplace, account, instance, .. } in sights.all() {
        if is_known(ledger, &sights, account, &instance.name) {
            continue;
        }
        match claimed_fleet(ledger.prefix(), claimants.iter().copied(), &instance.name) {
            Some(fleet) => fleets.entry(fleet.clone()).or_default().strays.push(Stray {
                marketplace: marketplace.clone(),
                account: account.clone(),
                instance: instance.clone(),
            }),
            None => {
                let rate = foreign.entry(account.clone()).or_default();
                *rate = rate.plus(instance.billed().unwrap_or_default().total());
            }
        }
    }

    let complete = |marketplace: &MarketplaceName| evidence.is_complete(ledger, inventory, marketplace, patience);
    let complete = inventory.markets.keys().map(|marketplace| (marketplace.clone(), complete(marketplace))).collect();
    Joined { fleets, foreign, complete }
}

/// How long it was lost, or did not run yet, while nobody looked proves nothing: a restart never shortens what a VM is waited
/// for. Who began in the future began before the clock was set back, and that tells nothing.
fn waited_for_since(since: Timestamp, watched_since: Timestamp, now: Timestamp) -> Timestamp {
    if watched_since < now { since.max(watched_since) } else { since }
}

/// Whether the journal gave this name to a VM of this account.
fn is_known<'a>(ledger: &'a Ledger, sights: &Sights<'a>, account: &AccountName, name: &VmName) -> bool {
    let holding = ledger.holdings().get(name).or_else(|| ledger.past(name).map(|past| &past.holding));
    holding.is_some_and(|holding| sights.payer(&holding.intent.marketplace, &holding.intent.account) == account)
}

fn member<'a>(name: &VmName, holding: &'a Holding, sights: &Sights<'a>, now: Timestamp, patience: Patience) -> Member {
    let intent = &holding.intent;
    let own = |id| sights.own(&intent.marketplace, &intent.account, id);
    let any = |id| sights.any(&intent.marketplace, &intent.account, id);
    // How it stands is for the marketplace that rented it to say; that it is there, for every one of the account.
    let (sighting, shown) = (holding.id.as_ref().and_then(own), holding.id.as_ref().and_then(any));
    let standing = match holding.phase {
        Phase::Intended | Phase::InDoubt => Standing::InDoubt,
        Phase::Leaving => Standing::Leaving,
        Phase::Live => started(holding, sighting, patience)
            .unwrap_or_else(|| sighting.map_or(holding.standing, |sighting| observed(sighting.instance, holding).0)),
    };
    let seen_at = sighting.map_or(holding.since, |sighting| sighting.at);
    let since = if standing == holding.standing { holding.since } else { seen_at };
    let runs_now = (standing == Standing::Running).then_some(seen_at);
    let instance = sighting.map(|sighting| sighting.instance);
    Member {
        name: name.clone(),
        fleet: intent.fleet.clone(),
        marketplace: intent.marketplace.clone(),
        account: sights.payer(&intent.marketplace, &intent.account).clone(),
        id: holding.id.clone(),
        hostnode: intent.hostnode.clone(),
        location: intent.location.clone(),
        shape: intent.shape.clone(),
        price_type: intent.price_type,
        bid: holding.bid,
        agreed: holding.agreed,
        on_demand: intent.on_demand,
        quoted: instance.and_then(|instance| instance.quoted).or(holding.quoted),
        standing,
        since,
        intended_at: holding.intended_at,
        running_since: holding.running_since.or(runs_now),
        replaces: intent.replaces.clone(),
        write_in_doubt: is_write_in_doubt(holding, sighting, shown, now, patience),
        rebid_accepted_at: holding.rebid_accepted_at,
        attempts: Attempts {
            delete: delete_attempt(holding.delete.as_ref(), holding.delete_refused, shown, now, patience),
            stop_refused: holding.stop_refused,
            start: holding.start_intended_at,
            stop: stopping(holding, sighting, standing),
            rebid_refused: holding.rebid_refused_at,
        },
        protected: holding.is_protected(now),
        address: instance.and_then(|instance| instance.address.clone()).or_else(|| holding.address.clone()),
        ports: instance
            .map(|instance| &instance.ports)
            .filter(|ports| !ports.is_empty())
            .unwrap_or(&holding.ports)
            .clone(),
        available_until: instance.and_then(|instance| instance.available_until),
        why: intent.why.clone(),
    }
}

/// One that gave its GPU back and was started counts as what it was started for, so that its GPUs and its full rate are not
/// given away twice: a list from before cannot show it yet, one from after may lag, and a start that nobody answered may be
/// made yet. Only when a settle grace has gone by does a list that shows it stopped prove that it did not start.
fn started(holding: &Holding, sighting: Option<Sighting<'_>>, patience: Patience) -> Option<Standing> {
    let since = holding.starting_since?;
    let (standing, seen_at) = sighting
        .map_or((holding.standing, holding.since), |sighting| (observed(sighting.instance, holding).0, sighting.at));
    let is_open =
        standing == Standing::StoppedReleased && (seen_at <= since || elapsed(since, seen_at) < patience.settle_grace);
    is_open.then_some(Standing::Pending)
}

/// When it was stopped, unless a list taken since shows what became of it.
fn stopping(holding: &Holding, sighting: Option<Sighting<'_>>, standing: Standing) -> Option<Timestamp> {
    let stops = match standing {
        Standing::Pending | Standing::Running | Standing::Outbid | Standing::Lost => true,
        Standing::StoppedKept | Standing::StoppedReleased | Standing::Leaving | Standing::InDoubt => false,
    };
    holding.stopped_at.filter(|at| stops && sighting.is_none_or(|sighting| sighting.at <= *at))
}

/// A delete is in doubt until it is acknowledged, and again when the VM is still listed a settle grace later: both are for
/// sending it again. What else was written is in doubt until a later list shows what became of it.
fn is_write_in_doubt(
    holding: &Holding,
    sighting: Option<Sighting<'_>>,
    shown: Option<Sighting<'_>>,
    now: Timestamp,
    patience: Patience,
) -> bool {
    match &holding.delete {
        Some(delete) => is_delete_in_doubt(delete, shown, now, patience),
        None => {
            holding.unanswered_write_at.is_some_and(|written| sighting.is_none_or(|sighting| sighting.at <= written))
        }
    }
}

fn is_delete_in_doubt(delete: &Delete, sighting: Option<Sighting<'_>>, now: Timestamp, patience: Patience) -> bool {
    delete.acked_at.is_none_or(|acked| {
        sighting.is_some_and(|sighting| sighting.at > acked) && elapsed(acked, now) >= patience.settle_grace
    })
}

fn delete_attempt(
    delete: Option<&Delete>,
    refused: Option<Refused>,
    sighting: Option<Sighting<'_>>,
    now: Timestamp,
    patience: Patience,
) -> Option<DeleteAttempt> {
    let Some(delete) = delete else {
        let of = |Refused { reason, at, times }| DeleteAttempt { at, reason, answer: DeleteAnswer::Refused(times) };
        return refused.map(of);
    };
    let is_in_doubt = is_delete_in_doubt(delete, sighting, now, patience);
    let answer = if is_in_doubt { DeleteAnswer::InDoubt } else { DeleteAnswer::Acked };
    Some(DeleteAttempt { at: delete.sent_at, reason: delete.reason, answer })
}

fn late<'a>(
    name: &VmName,
    id: &'a InstanceId,
    vm: &'a LateVm,
    sights: &Sights<'a>,
    now: Timestamp,
    patience: Patience,
) -> Late {
    let sighting = sights.any(&vm.marketplace, &vm.account, id);
    let billed = sighting.and_then(|sighting| sighting.instance.billed()).unwrap_or_default().total();
    Late {
        name: name.clone(),
        marketplace: vm.marketplace.clone(),
        account: sights.payer(&vm.marketplace, &vm.account).clone(),
        id: id.clone(),
        gpus: vm.gpus,
        rate: if Guard::LateMoney.is_kept() { vm.rate.max(billed) } else { HourlyRate::ZERO },
        delete: delete_attempt(vm.delete.as_ref(), vm.delete_refused, sighting, now, patience),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::stage::{Stage, instance, of},
        model::InstanceStatus::{self, Running},
    };
    use std::time::Duration;

    #[test]
    fn nobody_is_lost_for_longer_than_somebody_looks() {
        let mut stage = Stage::new();
        let (lost, there) = (stage.deploy("i1"), stage.deploy("i2"));
        let only = [instance("i2", &there, Running)];
        stage.list(&[instance("i1", &lost, Running), only[0].clone()]);
        for _ in 0..3 {
            stage.list(&only);
        }
        let vanished = stage.ledger().holdings()[&lost].since;
        let hours = |hours: u64| after(vanished, Duration::from_secs(hours * 3_600));
        let since = |name: &VmName, watched: Timestamp| {
            let joined = stage.joined_at(watched, hours(2));
            joined.fleets[&of::<FleetName>("train")].members[name].since
        };
        assert_eq!(stage.standing(&lost), Standing::Lost);
        assert_eq!(since(&lost, before(vanished, Duration::from_secs(60))), vanished, "it was looked for all along");
        assert_eq!(since(&lost, hours(1)), hours(1), "a restart begins to wait anew");
        for watched in [hours(2), hours(3)] {
            assert_eq!(since(&lost, watched), vanished, "the clock was set back since");
        }
        assert!(since(&there, hours(1)) < vanished, "what runs has run since it was seen to");
    }

    #[test]
    fn what_comes_up_while_nobody_looks_is_waited_for_anew() {
        let mut stage = Stage::new();
        let name = stage.deploy("i1");
        stage.list(&[instance("i1", &name, InstanceStatus::Starting)]);
        let began = stage.ledger().holdings()[&name].since;
        let hours = |hours: u64| after(began, Duration::from_secs(hours * 3_600));
        let member =
            |watched| stage.joined_at(watched, hours(2)).fleets[&of::<FleetName>("train")].members[&name].clone();
        assert_eq!((member(began).standing, member(began).since), (Standing::Pending, began));
        assert_eq!(member(hours(1)).since, hours(1));
    }
}
