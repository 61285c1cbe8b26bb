//! Every VM that is seen, each once, whoever shows it.
//!
//! Two marketplaces of one account (two APIs of one vendor) show the same VMs, known by (account, id), and do not always
//! say the same of them: a VM that was outbid in one is only `stopped` in the other, which knows no bids. So each sighting
//! keeps who showed it, and of two the one that matters is chosen by what it is asked for:
//!
//! | asked for | answers |
//! |---|---|
//! | how a VM of ours stands, what is quoted for it | the marketplace that rented it, and nobody else |
//! | whether it is there at all | that one; where it does not show it, any other that lists it *now* |
//! | what is nobody's of ours (a stray, somebody else's) | the sighting that says most, see [`Sights::all`] |
//!
//! Who pays is the marketplace's to say, as it is configured now: where an account was renamed since a VM was rented, the
//! journal still says the old name.
//!
//! **Invariant:** nothing is gone by one marketplace's word while another of the same account lists it.

use crate::model::{
    AccountName, Instance, InstanceId, InstanceStatus, Inventory, Lookup, MarketplaceName, Timestamp, VmName,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// One VM as one marketplace's newest readable list (or its answer by id) shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting<'a> {
    pub(super) marketplace: &'a MarketplaceName,
    pub(super) account: &'a AccountName,
    pub(super) at: Timestamp,
    pub(super) instance: &'a Instance,
    /// The newest attempt gave it: what was listed before a failure may be there no more.
    is_current: bool,
}

impl Sighting<'_> {
    /// Proof enough that a VM is there, from a marketplace that did not rent it: seen now, and not on its way out.
    fn is_evidence(&self) -> bool {
        self.is_current && is_there(self.instance)
    }

    /// How much it tells that somebody may need: what it costs, how it is paid for, where it stands, what it has.
    fn facts(&self) -> usize {
        let Instance { quoted, price_type, hostnode, gpu_model, .. } = self.instance;
        [quoted.is_some(), price_type.is_some(), hostnode.is_some(), gpu_model.is_some()]
            .into_iter()
            .filter(|is_told| *is_told)
            .count()
    }
}

/// Not shown as being deleted, or deleted and still listed.
fn is_there(instance: &Instance) -> bool {
    instance.status != InstanceStatus::Leaving
}

/// Whether another marketplace of the same account lists a VM now: then its absence here proves nothing.
pub(super) fn is_listed_elsewhere(inventory: &Inventory, here: &MarketplaceName, id: &InstanceId) -> bool {
    let Some(account) = inventory.markets.get(here).map(|view| &view.account) else { return false };
    let others = inventory.markets.iter().filter(|(name, view)| *name != here && view.account == *account);
    let mut lists = others.filter_map(|(_, view)| view.instances.current());
    lists.any(|list| list.value.items.iter().any(|instance| instance.id == *id && is_there(instance)))
}

/// All VMs that are seen, by account and id, and by who shows them.
#[derive(Debug, Default)]
pub(super) struct Sights<'a> {
    payers: BTreeMap<&'a MarketplaceName, &'a AccountName>,
    by_id: BTreeMap<(&'a AccountName, &'a InstanceId), BTreeMap<&'a MarketplaceName, Sighting<'a>>>,
    by_name: BTreeMap<(&'a AccountName, &'a VmName), BTreeSet<&'a InstanceId>>,
}

impl<'a> Sights<'a> {
    pub(super) fn of(inventory: &'a Inventory) -> Self {
        let payers = inventory.markets.iter().map(|(marketplace, view)| (marketplace, &view.account)).collect();
        let mut sights = Self { payers, ..Self::default() };
        for (marketplace, view) in &inventory.markets {
            let Some(list) = &view.instances.last else { continue };
            let is_listed_now = view.instances.current().is_some();
            let listed = list.value.items.iter().map(|instance| (list.at, instance, is_listed_now));
            let looked_up = view.lookups.values().filter_map(|reading| {
                let answer = reading.current().filter(|answer| answer.at >= list.at)?;
                match &answer.value {
                    Lookup::Here(instance) => Some((answer.at, instance, true)),
                    Lookup::Gone => None,
                }
            });
            for (at, instance, is_current) in listed.chain(looked_up) {
                sights.add(Sighting { marketplace, account: &view.account, at, instance, is_current });
            }
        }
        sights
    }

    /// Of one marketplace's sightings of a VM the newest counts.
    fn add(&mut self, sighting: Sighting<'a>) {
        let Sighting { account, at, instance, marketplace, is_current: _ } = sighting;
        let shown = self.by_id.entry((account, &instance.id)).or_default();
        let known = shown.entry(marketplace).or_insert(sighting);
        if known.at < at {
            *known = sighting;
        }
        self.by_name.entry((account, &instance.name)).or_default().insert(&instance.id);
    }

    /// Who pays on a marketplace; on one that is not configured any more, who is recorded.
    pub(super) fn payer(&self, marketplace: &MarketplaceName, recorded: &'a AccountName) -> &'a AccountName {
        self.payers.get(marketplace).copied().unwrap_or(recorded)
    }

    /// A VM as the marketplace that rented it shows it: it speaks for it.
    pub(super) fn own(
        &self,
        marketplace: &'a MarketplaceName,
        recorded: &'a AccountName,
        id: &'a InstanceId,
    ) -> Option<Sighting<'a>> {
        let account = self.payer(marketplace, recorded);
        self.by_id.get(&(account, id))?.get(marketplace).copied()
    }

    /// That a VM is there: by the word of the marketplace that rented it, or else of another of the account that lists it
    /// now. The other's proves that it exists, and nothing about how it stands.
    pub(super) fn any(
        &self,
        marketplace: &'a MarketplaceName,
        recorded: &'a AccountName,
        id: &'a InstanceId,
    ) -> Option<Sighting<'a>> {
        let account = self.payer(marketplace, recorded);
        let shown = self.by_id.get(&(account, id))?;
        let own = shown.get(marketplace);
        own.or_else(|| shown.values().find(|sighting| sighting.is_evidence())).copied()
    }

    /// All VMs of this name, likewise.
    pub(super) fn named(
        &self,
        marketplace: &'a MarketplaceName,
        recorded: &'a AccountName,
        name: &'a VmName,
    ) -> impl Iterator<Item = Sighting<'a>> {
        let account = self.payer(marketplace, recorded);
        let ids = self.by_name.get(&(account, name)).into_iter().flatten();
        ids.filter_map(move |id| self.any(marketplace, account, id))
    }

    /// Every VM once: as shown now before as shown once, then by the sighting that tells most (a list that says nothing of
    /// a price would make it cost nothing), then by the marketplace's name.
    pub(super) fn all(&self) -> impl Iterator<Item = Sighting<'a>> {
        let best = |shown: &BTreeMap<&'a MarketplaceName, Sighting<'a>>| {
            let key = |sighting: &&Sighting<'a>| {
                (Reverse(sighting.is_current), Reverse(sighting.facts()), sighting.marketplace)
            };
            shown.values().min_by_key(key).copied()
        };
        self.by_id.values().filter_map(best)
    }
}
