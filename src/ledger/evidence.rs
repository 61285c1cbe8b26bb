//! What this process has seen of things that are not there.
//!
//! Absence is proven by repetition: by lists in a row, by asking for the id. That is kept in memory only and begins anew
//! with each process, so that a restart never shortens a wait. **Invariant:** a call that failed proves nothing, and a list
//! that dropped something breaks the row.

use super::{Holding, Ledger, record::Ending, sights::is_listed_elsewhere};
use crate::model::{
    Guard, Instance, InstanceId, Inventory, Lookup, MarketView, MarketplaceName, Scan, Timestamp, VmName,
    inventory::Dated, time::elapsed,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Lists in a row that must lack an instance before it is asked for by id, and before it counts as lost.
pub const LISTS_BEFORE_LOOKUP: u32 = 3;
/// Lists in a row that must lack an instance where nothing can be asked for by id. Source: CONTRACT, "Gone".
const LISTS_WITHOUT_LOOKUP: u32 = 5;
/// Complete lists that must lack a name before its intent is given up. Source: CONTRACT, `settle_grace`.
const LISTS_BEFORE_ABANDON: u32 = 2;
/// Instances asked for by id after one list, on one marketplace: the others wait for the next.
const LOOKUPS_MAX: usize = 20;

/// How long we wait before we believe that something is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long an unanswered deploy is looked for before its slot may be filled again.
    pub settle_grace: Duration,
    /// How much longer its money stays reserved.
    pub late_window: Duration,
}

/// Lists in a row that lacked an instance we hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Absence {
    lists: u32,
    since: Timestamp,
    last: Timestamp,
    said_gone: bool,
}

/// Complete lists of this process that lacked the name of an open intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watch {
    lists: u32,
    last: Timestamp,
}

/// What proves that a holding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It was there and is gone.
    Gone(Ending),
    /// It has an id, was in no list ever, and is not there: it may yet turn up.
    NeverSeen,
}

type InstanceKey = (MarketplaceName, InstanceId);

/// What this process has seen of things that are not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    newest: BTreeMap<MarketplaceName, Timestamp>,
    absences: BTreeMap<InstanceKey, Absence>,
    listed: BTreeSet<InstanceKey>,
    watches: BTreeMap<VmName, Watch>,
}

/// The newest list, if the newest attempt gave it.
pub(super) fn current(view: &MarketView) -> Option<&Dated<Scan<Instance>>> {
    if Guard::CurrentList.is_kept() { view.instances.current() } else { view.instances.last.as_ref() }
}

/// Nothing in it was dropped.
pub(super) fn is_intact(list: &Dated<Scan<Instance>>) -> bool {
    list.value.dropped.is_empty()
}

pub(super) fn lists_id(list: &Dated<Scan<Instance>>, id: &InstanceId) -> bool {
    list.value.items.iter().any(|instance| instance.id == *id)
}

fn lists_name(list: &Dated<Scan<Instance>>, name: &VmName) -> bool {
    list.value.items.iter().any(|instance| instance.name == *name)
}

/// Those on a marketplace that a list taken at a moment must show.
fn due<'a>(
    ledger: &'a Ledger,
    marketplace: &'a MarketplaceName,
    at: Timestamp,
) -> impl Iterator<Item = (&'a InstanceId, &'a Holding)> {
    ledger
        .holdings()
        .values()
        .filter(move |holding| {
            holding.intent.marketplace == *marketplace && holding.held_since.is_some_and(|held| held < at)
        })
        .filter_map(|holding| holding.id.as_ref().map(|id| (id, holding)))
}

/// Likewise, and the late ones there.
fn followed<'a>(
    ledger: &'a Ledger,
    marketplace: &'a MarketplaceName,
    at: Timestamp,
) -> impl Iterator<Item = &'a InstanceId> {
    let late = ledger.late().iter().filter(move |(_, late)| late.marketplace == *marketplace).map(|((_, id), _)| id);
    due(ledger, marketplace, at).map(|(id, _)| id).chain(late)
}

impl Evidence {
    /// Nothing was seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in one look at the world. The same list counts once, however often it is shown; look again once the wanted
    /// lookups were answered.
    pub fn observe(&mut self, ledger: &Ledger, inventory: &Inventory, patience: Patience) {
        for (marketplace, view) in &inventory.markets {
            let Some(list) = current(view) else { continue };
            let is_new = self.newest.get(marketplace) != Some(&list.at);
            if is_new {
                self.newest.insert(marketplace.clone(), list.at);
                self.count_absences(ledger, inventory, marketplace, list);
            }
            self.note_lookups(marketplace, view);
            if is_new && self.is_complete(ledger, inventory, marketplace, patience) {
                self.count_watches(ledger, marketplace, list);
            }
        }
        self.forget(ledger);
    }

    /// An instance that another marketplace of the account lists now is there: the row begins anew once that one lacks it
    /// too.
    fn count_absences(
        &mut self,
        ledger: &Ledger,
        inventory: &Inventory,
        marketplace: &MarketplaceName,
        list: &Dated<Scan<Instance>>,
    ) {
        for id in followed(ledger, marketplace, list.at) {
            let key = (marketplace.clone(), id.clone());
            if lists_id(list, id) {
                self.absences.remove(&key);
                self.listed.insert(key);
            } else if is_intact(list) && !is_listed_elsewhere(inventory, marketplace, id) {
                // A list that came late is dated by its asking, and may show what was when it came: when that was, the
                // inventory knows. A row never counts as longer than it was.
                let since = list.at.max(inventory.at);
                let first = Absence { lists: 0, since, last: list.at, said_gone: false };
                let absence = self.absences.entry(key).or_insert(first);
                absence.lists = absence.lists.saturating_add(1);
                absence.last = list.at;
            } else {
                self.absences.remove(&key);
            }
        }
    }

    fn note_lookups(&mut self, marketplace: &MarketplaceName, view: &MarketView) {
        for (id, reading) in &view.lookups {
            let key = (marketplace.clone(), id.clone());
            let Some(answer) = reading.current() else { continue };
            match &answer.value {
                // The list is wrong; the row begins anew.
                Lookup::Here(_) => drop(self.absences.remove(&key)),
                Lookup::Gone => {
                    if let Some(absence) = self.absences.get_mut(&key).filter(|absence| answer.at >= absence.since) {
                        absence.said_gone = true;
                    }
                }
            }
        }
    }

    fn count_watches(&mut self, ledger: &Ledger, marketplace: &MarketplaceName, list: &Dated<Scan<Instance>>) {
        let open = ledger.holdings().iter().filter(|(_, holding)| {
            !holding.is_held() && holding.intent.marketplace == *marketplace && holding.intended_at < list.at
        });
        for (name, _) in open {
            if lists_name(list, name) {
                self.watches.remove(name);
            } else {
                let watch = self.watches.entry(name.clone()).or_insert(Watch { lists: 0, last: list.at });
                watch.lists = watch.lists.saturating_add(1);
                watch.last = list.at;
            }
        }
    }

    /// Begins anew with these: what their lists lacked was asked of somebody else. Every unanswered deploy is looked for anew.
    pub fn forget_marketplaces(&mut self, marketplaces: &BTreeSet<MarketplaceName>) {
        if marketplaces.is_empty() {
            return;
        }
        self.newest.retain(|marketplace, _| !marketplaces.contains(marketplace));
        self.absences.retain(|(marketplace, _), _| !marketplaces.contains(marketplace));
        self.watches.clear();
    }

    /// Begins every row of lists anew: the clock by which they were dated was set.
    pub fn forget_moments(&mut self) {
        let Self { newest, absences, listed: _, watches } = self;
        newest.clear();
        absences.clear();
        watches.clear();
    }

    /// Keeps nothing about what the ledger no longer follows.
    fn forget(&mut self, ledger: &Ledger) {
        let held = ledger
            .holdings()
            .values()
            .filter_map(|holding| Some((holding.intent.marketplace.clone(), holding.id.clone()?)));
        let late = ledger.late().iter().map(|((_, id), late)| (late.marketplace.clone(), id.clone()));
        let followed: BTreeSet<InstanceKey> = held.chain(late).collect();
        self.absences.retain(|key, _| followed.contains(key));
        self.listed.retain(|key| followed.contains(key));
        self.watches.retain(|name, _| ledger.holdings().get(name).is_some_and(|holding| !holding.is_held()));
    }

    /// Whether a marketplace's newest list is complete: the newest attempt gave it, nothing in it was dropped, and every
    /// instance we hold there is in it, or is proven gone. Nothing is rented there while it is not.
    pub fn is_complete(
        &self,
        ledger: &Ledger,
        inventory: &Inventory,
        marketplace: &MarketplaceName,
        patience: Patience,
    ) -> bool {
        let Some(view) = inventory.markets.get(marketplace) else { return false };
        let Some(list) = current(view).filter(|list| is_intact(list)) else { return false };
        Guard::CompleteList.holds(due(ledger, marketplace, list.at).all(|(id, holding)| {
            lists_id(list, id)
                || holding.delete_acked_at().is_some_and(|acked| acked < list.at)
                || self.proof(view, holding, patience).is_some()
        }))
    }

    /// What the lists of this process and lookups prove about a holding that the newest list lacks.
    pub(super) fn proof(&self, view: &MarketView, holding: &Holding, patience: Patience) -> Option<Proof> {
        let (marketplace, id) = (&holding.intent.marketplace, holding.id.as_ref()?);
        let ending = self.ending(marketplace, view, id, patience)?;
        if holding.was_listed || self.listed.contains(&(marketplace.clone(), id.clone())) {
            return Some(Proof::Gone(ending));
        }
        let age = elapsed(holding.intended_at, current(view)?.at);
        (age >= patience.settle_grace).then_some(Proof::NeverSeen)
    }

    /// What proves that an instance is not there, if enough does. Source: CONTRACT, "Gone".
    pub(super) fn ending(
        &self,
        marketplace: &MarketplaceName,
        view: &MarketView,
        id: &InstanceId,
        patience: Patience,
    ) -> Option<Ending> {
        let absence = self.absence(marketplace, view, id)?;
        if view.answers_by_id {
            let said_gone = Guard::GoneById.holds(absence.said_gone);
            (absence.lists >= LISTS_BEFORE_LOOKUP && said_gone).then_some(Ending::NotFound)
        } else {
            let lasted = elapsed(absence.since, absence.last);
            let is_long = absence.lists >= LISTS_WITHOUT_LOOKUP && lasted >= patience.settle_grace;
            Guard::FiveLists.holds(is_long).then_some(Ending::Unlisted)
        }
    }

    /// The row of lists that lack an instance, if the newest one is in it.
    fn absence(&self, marketplace: &MarketplaceName, view: &MarketView, id: &InstanceId) -> Option<&Absence> {
        let newest = current(view)?.at;
        self.absences.get(&(marketplace.clone(), id.clone())).filter(|absence| absence.last == newest)
    }

    /// Lists in a row, up to the newest, that lack an instance.
    pub(super) fn lists_lacking(&self, marketplace: &MarketplaceName, view: &MarketView, id: &InstanceId) -> u32 {
        self.absence(marketplace, view, id).map_or(0, |absence| absence.lists)
    }

    /// Whether an open intent was looked for long enough: at least two complete lists of this process lack its name, the
    /// last at least the settle grace after it.
    pub(super) fn is_looked_for(&self, name: &VmName, holding: &Holding, patience: Patience) -> bool {
        self.watches.get(name).is_some_and(|watch| {
            Guard::TwoLists.holds(watch.lists >= LISTS_BEFORE_ABANDON)
                && Guard::SettleGrace.holds(elapsed(holding.intended_at, watch.last) >= patience.settle_grace)
        })
    }

    /// Instances to ask for by id now: several lists in a row lack them, and nobody said yet that they are gone.
    pub fn lookups_wanted(&self, ledger: &Ledger, inventory: &Inventory) -> Vec<(MarketplaceName, InstanceId)> {
        let mut wanted = Vec::new();
        for (marketplace, view) in inventory.markets.iter().filter(|(_, view)| view.answers_by_id) {
            let Some(list) = current(view) else { continue };
            let is_asked = |id: &InstanceId| {
                view.lookups.get(id).is_some_and(|reading| {
                    let answered = reading.last.as_ref().is_some_and(|answer| answer.at >= list.at);
                    answered || reading.failed.as_ref().is_some_and(|failure| failure.at >= list.at)
                })
            };
            let is_wanted = |id: &InstanceId| {
                let absence = self.absence(marketplace, view, id);
                absence.is_some_and(|absence| absence.lists >= LISTS_BEFORE_LOOKUP && !absence.said_gone)
                    && !is_asked(id)
            };
            let ids = followed(ledger, marketplace, list.at).filter(|id| is_wanted(id));
            wanted.extend(ids.map(|id| (marketplace.clone(), id.clone())).take(LOOKUPS_MAX));
        }
        wanted
    }
}
