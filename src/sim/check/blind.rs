//! Whether what was done follows from what could be seen: lists that were read and showed what is ours, bids that were
//! accepted a moment ago, names that were looked for long enough.
//!
//! It judges by what the markets themselves remember of having told, and not by what the daemon says that it was told. Where
//! nobody can know what arrived (an answer that may have come too late), it says nothing.

use super::{Found, Promise, Seen, Sighted, fleet_of, given_up};
use crate::{
    engine::Status,
    ledger::{Member, Standing},
    model::{InstanceId, MarketplaceName, PriceType, Timestamp, VmName, time},
    plan::{Force, force},
    settings::Vendor,
    sim::{
        Ended, Origin, Vm,
        told::{Accepted, Listing, Told},
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

/// Those of ours that every list must show, by the marketplace they were rented on: their ids are known, and they are neither
/// on their way out nor out of sight.
fn held<'a>(seen: &Seen<'a>, sighted: &'a Sighted) -> Vec<(&'a MarketplaceName, &'a Vm)> {
    let there = members(seen.status).filter(|member| member.standing != Standing::Leaving);
    // Ids are unique only within one vendor's world.
    let known: BTreeMap<(&VmName, &InstanceId), &MarketplaceName> =
        there.filter_map(|member| Some(((&member.name, member.id.as_ref()?), &member.marketplace))).collect();
    let of_it = |vm: &'a Vm| Some((*known.get(&(&vm.name, &vm.id))?, vm));
    sighted.truth.alive().filter(|vm| !seen.out_of_sight.contains(&vm.id)).filter_map(of_it).collect()
}

fn members(status: &Status) -> impl Iterator<Item = &Member> {
    let fleets = status.situation.iter().flat_map(|situation| situation.fleets.values());
    fleets.flat_map(|state| state.fleet.members.values())
}

/// Whether the list of some marketplace that shares this account is complete, by the daemon's own word.
fn is_complete_by_its_word(status: &Status, sighted: &Sighted) -> bool {
    let markets = status.situation.iter().flat_map(|situation| situation.markets.values());
    let mut here = markets.filter(|market| Some(&market.account) == sighted.account.as_ref()).peekable();
    here.peek().is_none() || here.any(|market| market.list_complete)
}

/// Which of these a list lacks, of those that were there for long enough when it was taken; `None`: nobody could read it.
fn lacking<'a>(listing: &Listing, held: &[&'a Vm]) -> Option<Vec<&'a VmName>> {
    match &listing.told {
        Told::These(ids) => {
            let is_due = |vm: &&&Vm| {
                time::elapsed(made_at(vm), listing.at) >= KNOWN_AFTER
                    && vm.ended.is_none_or(|(at, _)| at > listing.at.as_millisecond())
            };
            let lacked = held.iter().filter(is_due).filter(|vm| !ids.contains(&vm.id));
            Some(lacked.map(|vm| &vm.name).collect())
        }
        Told::Perhaps => Some(Vec::new()),
        Told::Nothing => None,
    }
}

fn shows_all(listing: &Listing, held: &[&Vm]) -> bool {
    lacking(listing, held).is_some_and(|lacked| lacked.is_empty())
}

impl Blind {
    pub(super) fn look(&mut self, found: &mut Found, seen: &Seen<'_>, new: &[Vec<&Vm>]) {
        for (one, new) in seen.sighted.iter().zip(new) {
            // What came about later than anybody waited for it was not decided by what was known then.
            let new: Vec<&Vm> = new.iter().copied().filter(|vm| !one.came_late.contains(&vm.id)).collect();
            let held = held(seen, one);
            if let Some(since) = self.looked_at.insert(one.world.clone(), one.truth.at) {
                by_lists(found, seen, one, (&new, &held), since);
            }
            asked(found, seen.status, one, &new);
            let held: Vec<&Vm> = held.into_iter().map(|(_, vm)| vm).collect();
            self.given_up(found, seen, one, &held);
        }
        let fleets = seen.status.situation.iter().flat_map(|situation| situation.fleets.values());
        self.given_up = fleets.flat_map(|state| given_up(&state.fleet).into_iter().cloned()).collect();
    }

    /// A name that is there after all was given up only after the grace, and after lists of the process that gave it up, which
    /// lacked it and showed all others.
    fn given_up(&self, found: &mut Found, seen: &Seen<'_>, sighted: &Sighted, held: &[&Vm]) {
        let fleets = seen.status.situation.iter().flat_map(|situation| situation.fleets.values());
        let reserved = fleets.flat_map(|state| state.fleet.reserved.iter().map(|reserved| &reserved.name));
        let newly: BTreeSet<&VmName> = reserved.filter(|name| !self.given_up.contains(*name)).collect();
        let is_it = |vm: &&Vm| newly.contains(&vm.name) && !sighted.came_late.contains(&vm.id);
        for vm in sighted.truth.alive().filter(|vm| vm.origin == Origin::Api).filter(is_it) {
            let age = time::elapsed(made_at(vm), sighted.truth.at);
            found.unless(age >= seen.paper.settle_grace, Promise::GivenUp, || {
                format!("{} is there, and was given up after {}", vm.name, time::show(age))
            });
            let from = made_at(vm).max((seen.paper.gave_up_began)(&vm.name));
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

/// Where every attempt of this tick to list the VMs failed, or lacked some of those of the marketplace, nothing is rented there,
/// and nothing is let go but for safety, for money, or by the operator. Nor is anything while by the daemon's own word no list
/// is complete.
fn by_lists(
    found: &mut Found,
    seen: &Seen<'_>,
    sighted: &Sighted,
    (new, held): (&[&Vm], &[(&MarketplaceName, &Vm)]),
    since: Timestamp,
) {
    let Seen { status, paper, .. } = *seen;
    let went = |vm: &&Vm| vm.ended.is_some_and(|(at, why)| why == Ended::Deleted && at > since.as_millisecond());
    let on_time = |vm: &&Vm| vm.origin == Origin::Api && !sighted.came_late.contains(&vm.id);
    let gone: Vec<&Vm> = sighted.truth.vms.iter().filter(on_time).filter(went).collect();
    let lists: Vec<&Listing> = sighted.lists.iter().map(AsRef::as_ref).filter(|listing| listing.at > since).collect();
    // What hinders from doing something about a VM: what the fullest list lacked. Where nobody knows any more on which
    // marketplace it was rented, nothing is said.
    let hindrance = |vm: &Vm| -> Option<String> {
        let marketplace = &members(status).find(|member| member.name == vm.name)?.marketplace;
        let here: Vec<&Vm> = held.iter().filter(|(of, _)| *of == marketplace).map(|(_, vm)| *vm).collect();
        let fullest = lists.iter().filter_map(|listing| lacking(listing, &here)).min_by_key(Vec::len);
        match fullest {
            _ if lists.is_empty() => None,
            None => Some("no list could be read".to_owned()),
            Some(lacked) => (!lacked.is_empty()).then(|| format!("every list lacked {lacked:?}")),
        }
    };
    for vm in new.iter().filter(|vm| fleet_of(status, vm).is_some()) {
        if let Some(told) = hindrance(vm) {
            found.unless(false, Promise::Blind, || format!("{} was made, and {told}", vm.name));
        }
    }
    let is_complete = is_complete_by_its_word(status, sighted);
    for vm in gone.iter().filter(|vm| (paper.let_go)(vm).is_some_and(|reason| force(reason) == Force::Order)) {
        if let Some(told) = hindrance(vm) {
            found.unless(false, Promise::Blind, || format!("{} ({}) was let go, and {told}", vm.name, vm.id));
        }
        found.unless(is_complete, Promise::Blind, || {
            format!("{} ({}) was let go while its list was not complete", vm.name, vm.id)
        });
    }
}

/// What was deployed by bid was asked for at that very bid a moment ago, where one can ask.
fn asked(found: &mut Found, status: &Status, sighted: &Sighted, new: &[&Vm]) {
    match sighted.vendor {
        Vendor::Tensordock => {}
        // Their prices stand in their lists, and nobody asks.
        Vendor::Vectordash | Vendor::Trace => return,
    }
    let bids = new.iter().filter(|vm| vm.price_type == PriceType::Spot && fleet_of(status, vm).is_some());
    for vm in bids {
        let made_at = made_at(vm);
        // Whose bid was beaten may have a higher one by now.
        let is_agreed = |price| price == vm.agreed.compute || (vm.outbids > 0 && price < vm.agreed.compute);
        let is_it = |Accepted { at, bid }: &Accepted| {
            *at <= made_at
                && time::elapsed(*at, made_at) < ACCEPTED_WITHIN
                && bid.hostnode == vm.hostnode
                && bid.shape == vm.shape
                && is_agreed(bid.price)
        };
        found.unless(sighted.accepted.iter().any(|accepted| is_it(accepted)), Promise::Asked, || {
            format!("{} was deployed at {}/h, which was not asked for a moment ago", vm.name, vm.agreed.compute)
        });
    }
}
