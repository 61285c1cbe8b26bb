//! Whether what was done follows from what could be seen: lists that were read and showed what is ours, bids that were
//! accepted a moment ago, names that were looked for long enough.
//!
//! It judges by what the markets themselves remember of having told, and not by what the daemon says that it was told. Where
//! nobody can know what arrived (an answer that may have come too late), it says nothing.

use super::{Found, Promise, Seen, Sighted, fleet_of, given_up, paper::Decided};
use crate::{
    engine::Status,
    ledger::{Member, Standing},
    model::{InstanceId, MarketplaceName, PriceType, Timestamp, VmName, time},
    plan::{Force, force},
    settings::Vendor,
    sim::{
        Origin, Vm,
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
    /// VMs whose ids were known.
    held: BTreeSet<(VmName, InstanceId)>,
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

/// Whether a marketplace's list is complete, by the daemon's own word.
fn is_complete_by_its_word(status: &Status, marketplace: &MarketplaceName) -> bool {
    let mut markets = status.situation.iter().filter_map(|situation| situation.markets.get(marketplace));
    markets.all(|market| market.list_complete)
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
    /// `on_time` are VMs that were made since the last look, by what was asked about a moment before.
    pub(super) fn look(&mut self, found: &mut Found, seen: &Seen<'_>, on_time: &[Vec<&Vm>]) {
        let known = std::mem::take(&mut self.held);
        for (one, new) in seen.sighted.iter().zip(on_time) {
            let held = held(seen, one);
            if let Some(since) = self.looked_at.insert(one.world.clone(), one.truth.at) {
                let hindrances = Hindrances { seen, sighted: one, held: &held, known: &known, since };
                hindrances.look(found);
            }
            asked(found, seen.status, one, new);
            self.held.extend(held.iter().map(|(_, vm)| (vm.name.clone(), vm.id.clone())));
            self.given_up(found, seen, one, &held);
        }
        let fleets = seen.status.situation.iter().flat_map(|situation| situation.fleets.values());
        self.given_up = fleets.flat_map(|state| given_up(&state.fleet).into_iter().cloned()).collect();
    }

    /// A name that is there after all was given up only after the grace, and after lists of the process that gave it up, which
    /// lacked it and showed all others. Only its own marketplace's lists count, and those show what was rented there: what
    /// another API of the same account shows or lacks proves nothing, for their ids need not agree.
    fn given_up(&self, found: &mut Found, seen: &Seen<'_>, sighted: &Sighted, held: &[(&MarketplaceName, &Vm)]) {
        let fleets = seen.status.situation.iter().flat_map(|situation| situation.fleets.values());
        let reserved = fleets.flat_map(|state| state.fleet.reserved.iter().map(|reserved| &reserved.name));
        let newly: BTreeSet<&VmName> = reserved.filter(|name| !self.given_up.contains(*name)).collect();
        let is_it = |vm: &&Vm| newly.contains(&vm.name) && !sighted.came_late.contains(&vm.id);
        for vm in sighted.truth.alive().filter(|vm| vm.origin == Origin::Api).filter(is_it) {
            let age = time::elapsed(made_at(vm), sighted.truth.at);
            found.unless(age >= seen.paper.settle_grace, Promise::GivenUp, || {
                format!("{} is there, and was given up after {}", vm.name, time::show(age))
            });
            let marketplace = seen.paper.marketplace(&vm.name);
            let Some((marketplace, api)) = marketplace.and_then(|name| sighted.marketplaces.get_key_value(name)) else {
                found.unless(false, Promise::GivenUp, || format!("{} was given up, and nobody knows where", vm.name));
                continue;
            };
            let here = of(held, marketplace);
            let (began, ended) = seen.paper.gave_up(&vm.name).unwrap_or((Timestamp::MIN, Timestamp::MAX));
            let from = made_at(vm).max(began);
            let lacks = |listing: &Listing| match &listing.told {
                Told::These(ids) => !ids.contains(&vm.id) && shows_all(listing, &here),
                Told::Perhaps => true,
                Told::Nothing => false,
            };
            let lists = sighted.lists.iter().filter(|listing| listing.api == *api);
            let lists = lists.filter(|listing| listing.at > from && listing.at <= ended && lacks(listing)).count();
            found.unless(lists >= LISTS_BEFORE_GIVEN_UP, Promise::GivenUp, || {
                format!("{} is there, and was given up after {lists} lists that lacked nothing else", vm.name)
            });
        }
    }
}

/// Those that were rented on a marketplace.
fn of<'a>(held: &[(&MarketplaceName, &'a Vm)], marketplace: &MarketplaceName) -> Vec<&'a Vm> {
    held.iter().filter(|(of, _)| *of == marketplace).map(|(_, vm)| *vm).collect()
}

/// What hindered from renting, or letting go, in a world since the last look.
struct Hindrances<'a, 's> {
    seen: &'a Seen<'s>,
    sighted: &'a Sighted,
    held: &'a [(&'a MarketplaceName, &'a Vm)],
    /// VMs whose ids were known at the last look.
    known: &'a BTreeSet<(VmName, InstanceId)>,
    since: Timestamp,
}

impl Hindrances<'_, '_> {
    /// Where every attempt of a tick to list the VMs failed, or lacked some of those of the marketplace, nothing is to be rented
    /// there, and nothing to be let go but for safety, for money, or by the operator. Nor is anything while by the daemon's own
    /// word the list is not complete. What counts is what was decided, whatever came of it.
    fn look(&self, found: &mut Found) {
        let Self { seen: Seen { status, paper, .. }, sighted, .. } = *self;
        for (decided, intent) in paper.rented() {
            if let Some(told) = self.told(decided, &intent.marketplace) {
                found.unless(false, Promise::Blind, || format!("{} was rented, and {told}", intent.name));
            }
            found.unless(self.are_machines_listed(decided, &intent.marketplace), Promise::Blind, || {
                format!("{} was rented, and nobody has listed the machines for long", intent.name)
            });
        }
        // To start, and to raise a bid, is to rent again.
        for (decided, name) in paper.raised() {
            let Some(marketplace) = paper.marketplace(name) else { continue };
            if let Some(told) = self.told(decided, marketplace) {
                found.unless(false, Promise::Blind, || format!("{name} was started or its bid raised, and {told}"));
            }
        }
        for (decided, name, id, reason) in paper.let_go().filter(|(.., reason)| force(*reason) == Force::Order) {
            let Some(marketplace) = paper.marketplace(name) else { continue };
            if !sighted.marketplaces.contains_key(marketplace) {
                continue;
            }
            let id = id.map(ToString::to_string).unwrap_or_default();
            if let Some(told) = self.told(decided, marketplace) {
                found.unless(false, Promise::Blind, || format!("{name} ({id}) was let go ({reason}), and {told}"));
            }
            let is_complete = !paper.is_of_the_living(decided)
                || is_complete_by_its_word(status, marketplace)
                || paper.is_sent_again(marketplace);
            found.unless(is_complete, Promise::Blind, || {
                format!("{name} ({id}) was let go ({reason}) while its list was not complete")
            });
        }
    }

    /// Whether the process that decided had read a list of the machines there that was young enough.
    fn are_machines_listed(&self, decided: &Decided, marketplace: &MarketplaceName) -> bool {
        let Some(api) = self.sighted.marketplaces.get(marketplace) else { return true };
        let (began, ended) = self.seen.paper.lifetime(decided.sequence);
        let its = self.sighted.machines.iter().filter(|(of, at)| of == api && *at > began && *at <= ended);
        let tick_began = self.since.max(began);
        its.map(|(_, at)| *at).max().is_some_and(|at| time::elapsed(at, tick_began) <= self.seen.paper.stale_after)
    }

    /// What hindered from a decision about a marketplace: what the fullest of the lists lacked that were asked for in its
    /// tick. Where nobody asked in that tick, the newest of its process counts.
    fn told(&self, decided: &Decided, marketplace: &MarketplaceName) -> Option<String> {
        let Self { seen: Seen { paper, .. }, sighted, held, known, since } = *self;
        let api = sighted.marketplaces.get(marketplace)?;
        let (began, ended) = paper.lifetime(decided.sequence);
        let is_its = |listing: &&Listing| listing.api == *api && listing.at > began && listing.at <= ended;
        let all: Vec<&Listing> = sighted.lists.iter().map(AsRef::as_ref).filter(is_its).collect();
        let of_tick: Vec<&Listing> = all.iter().copied().filter(|listing| listing.at > since).collect();
        let lists = if of_tick.is_empty() { all.last().copied().into_iter().collect() } else { of_tick };
        // Whose id came to be known only now, be it by the list of another API, no list of before had to show.
        let is_known = |vm: &&Vm| known.contains(&(vm.name.clone(), vm.id.clone()));
        let here: Vec<&Vm> = of(held, marketplace).into_iter().filter(is_known).collect();
        match lists.iter().filter_map(|listing| lacking(listing, &here)).min_by_key(Vec::len) {
            None => Some("no list could be read".to_owned()),
            Some(lacked) => (!lacked.is_empty()).then(|| format!("every list lacked {lacked:?}")),
        }
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
                && time::elapsed(*at, made_at) < ACCEPTED_WITHIN.saturating_add(sighted.on_its_way)
                && bid.hostnode == vm.hostnode
                && bid.shape == vm.shape
                && is_agreed(bid.price)
        };
        found.unless(sighted.accepted.iter().any(|accepted| is_it(accepted)), Promise::Asked, || {
            format!("{} was deployed at {}/h, which was not asked for a moment ago", vm.name, vm.agreed.compute)
        });
    }
}
