//! Whether what was done follows from what could be seen: lists that were read and showed what is ours, bids that were
//! accepted a moment ago, names that were looked for long enough.
//!
//! It judges by what the markets themselves remember of having told, and not by what the daemon says that it was told. Where
//! nobody can know what arrived (an answer that may have come too late), it says nothing.

use super::{Found, Paper, Promise, Sighted, fleet_of, given_up};
use crate::{
    engine::Status,
    ledger::Standing,
    model::{InstanceId, PriceType, Timestamp, VmName, time},
    plan::{Force, force},
    sim::{
        Ended, Origin, Vm,
        marketplace::{Listing, Told},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A VM that was made so shortly before a list need not have been known when it was taken.
const KNOWN_AFTER: Duration = Duration::from_secs(180);
/// Lists that must lack a name before it is given up. Source: CONTRACT, `settle_grace`.
const LISTS_BEFORE_GIVEN_UP: usize = 2;
/// A bid that is deployed was accepted less than this ago. Source: CONTRACT, "Spot".
const ACCEPTED_WITHIN: Duration = Duration::from_secs(60);

/// What was known at the last look.
#[derive(Debug, Default)]
pub(super) struct Blind {
    /// When, by each world.
    looked_at: BTreeMap<String, Timestamp>,
    /// Names that were given up.
    given_up: BTreeSet<VmName>,
}

fn made_at(vm: &Vm) -> Timestamp {
    Timestamp::from_millisecond(vm.made_at).unwrap_or_default()
}

/// Those of ours that every list must show: their ids are known, and they are not on their way out.
fn held<'a>(status: &Status, sighted: &'a Sighted) -> Vec<&'a Vm> {
    let fleets = status.situation.iter().flat_map(|situation| situation.fleets.values());
    let members = fleets.flat_map(|state| state.fleet.members.values());
    let members = members.filter(|member| member.standing != Standing::Leaving);
    let ids: BTreeSet<&InstanceId> = members.filter_map(|member| member.id.as_ref()).collect();
    sighted.truth.alive().filter(|vm| ids.contains(&vm.id)).collect()
}

/// Whether a list shows all of these that were there for long enough when it was taken.
fn shows_all(listing: &Listing, held: &[&Vm]) -> bool {
    match &listing.told {
        Told::These(ids) => held
            .iter()
            .filter(|vm| time::elapsed(made_at(vm), listing.at) >= KNOWN_AFTER)
            .filter(|vm| vm.ended.is_none_or(|(at, _)| at > listing.at.as_millisecond()))
            .all(|vm| ids.contains(&vm.id)),
        Told::Perhaps => true,
        Told::Nothing => false,
    }
}

impl Blind {
    pub(super) fn look(
        &mut self,
        found: &mut Found,
        status: &Status,
        sighted: &[Sighted],
        new: &[Vec<&Vm>],
        paper: &Paper<'_>,
    ) {
        for (one, new) in sighted.iter().zip(new) {
            let held = held(status, one);
            if let Some(since) = self.looked_at.insert(one.world.clone(), one.truth.at) {
                self.by_lists(found, status, one, (new, &held), since, paper);
            }
            asked(found, status, one, new);
            self.given_up(found, status, one, &held, paper);
        }
        let fleets = status.situation.iter().flat_map(|situation| situation.fleets.values());
        self.given_up = fleets.flat_map(|state| given_up(&state.fleet).into_iter().cloned()).collect();
    }

    /// Where every attempt of this tick to list the VMs failed, or lacked some of ours, nothing is rented, and nothing is let
    /// go but for safety, for money, or by the operator.
    fn by_lists(
        &self,
        found: &mut Found,
        status: &Status,
        sighted: &Sighted,
        (new, held): (&[&Vm], &[&Vm]),
        since: Timestamp,
        paper: &Paper<'_>,
    ) {
        let went = |vm: &&Vm| vm.ended.is_some_and(|(at, why)| why == Ended::Deleted && at > since.as_millisecond());
        let gone: Vec<&Vm> = sighted.truth.vms.iter().filter(|vm| vm.origin == Origin::Api).filter(went).collect();
        let held: Vec<&Vm> = held.iter().chain(&gone).copied().collect();
        let lists = || sighted.lists.iter().filter(|listing| listing.at > since);
        if lists().next().is_none() || lists().any(|listing| shows_all(listing, &held)) {
            return;
        }
        for vm in new.iter().filter(|vm| fleet_of(status, vm).is_some()) {
            found.unless(false, Promise::Blind, || format!("{} was made, and no list showed what is there", vm.name));
        }
        for vm in gone {
            let reason = (paper.let_go)(&vm.name);
            found.unless(reason.is_none_or(|reason| force(reason) != Force::Order), Promise::Blind, || {
                format!("{} was let go, and no list showed what is there", vm.name)
            });
        }
    }

    /// A name that is there after all was given up only after the grace, and after lists of this process that lacked it and
    /// showed all others.
    fn given_up(&self, found: &mut Found, status: &Status, sighted: &Sighted, held: &[&Vm], paper: &Paper<'_>) {
        let fleets = status.situation.iter().flat_map(|situation| situation.fleets.values());
        let reserved = fleets.flat_map(|state| state.fleet.reserved.iter().map(|reserved| &reserved.name));
        let newly: BTreeSet<&VmName> = reserved.filter(|name| !self.given_up.contains(*name)).collect();
        for vm in sighted.truth.alive().filter(|vm| vm.origin == Origin::Api && newly.contains(&vm.name)) {
            let age = time::elapsed(made_at(vm), sighted.truth.at);
            found.unless(age >= paper.settle_grace, Promise::GivenUp, || {
                format!("{} is there, and was given up after {}", vm.name, time::show(age))
            });
            let from = made_at(vm).max(paper.process_began);
            let lacks = |listing: &Listing| match &listing.told {
                Told::These(ids) => !ids.contains(&vm.id) && shows_all(listing, held),
                Told::Perhaps => true,
                Told::Nothing => false,
            };
            let lists = sighted.lists.iter().filter(|listing| listing.at > from && lacks(listing)).count();
            found.unless(lists >= LISTS_BEFORE_GIVEN_UP, Promise::GivenUp, || {
                format!("{} is there, and was given up after {lists} lists that lacked nothing else", vm.name)
            });
        }
    }
}

/// What was deployed by bid was asked for at that very bid a moment ago, where one can ask.
fn asked(found: &mut Found, status: &Status, sighted: &Sighted, new: &[&Vm]) {
    if sighted.lists_spot_prices {
        return;
    }
    let bids = new.iter().filter(|vm| vm.price_type == PriceType::Spot && fleet_of(status, vm).is_some());
    for vm in bids {
        let made_at = made_at(vm);
        let is_it = |(at, bid): &&(Timestamp, crate::model::offer::Bid)| {
            *at <= made_at
                && time::elapsed(*at, made_at) < ACCEPTED_WITHIN
                && bid.hostnode == vm.hostnode
                && bid.shape == vm.shape
                && bid.price == vm.agreed.compute
        };
        found.unless(sighted.accepted.iter().any(|accepted| is_it(&accepted)), Promise::Asked, || {
            format!("{} was deployed at {}/h, which was not asked for a moment ago", vm.name, vm.agreed.compute)
        });
    }
}
