//! What a look at the world settles: which records follow from it.
//!
//! Pure, and it decides nothing that could be decided otherwise: a VM seen under its intent's name is ours; one that is
//! proven gone is gone; a name that was looked for long enough is given up; what turns up after that is late. Append what it
//! returns, and ask again until it returns nothing.

use super::{
    Evidence, Holding, Ledger, Patience, Phase,
    evidence::{LISTS_BEFORE_LOOKUP, Proof, current, is_intact},
    fleet::Standing,
    record::{Cause, Ending, Record},
    sights::{Sighting, Sights},
};
use crate::model::{
    Guard, Instance, InstanceId, InstanceStatus, Inventory, VmName, offer::BidAnswer, reason::Interruption,
};
use std::collections::BTreeMap;

/// What a VM's status counts as, and what changed it should that be new.
pub(super) fn observed(instance: &Instance, holding: &Holding) -> (Standing, Cause) {
    let stopped = if holding.stopped_at.is_some() { Cause::StoppedByUs } else { Cause::Stopped };
    match &instance.status {
        InstanceStatus::Starting => (Standing::Pending, Cause::Starting),
        InstanceStatus::Running if holding.running_since.is_some() => (Standing::Running, Cause::CameBack),
        InstanceStatus::Running => (Standing::Running, Cause::Started),
        InstanceStatus::StoppedKept => (Standing::StoppedKept, stopped),
        InstanceStatus::StoppedReleased => (Standing::StoppedReleased, stopped),
        InstanceStatus::Outbid => (Standing::Outbid, Cause::Outbid),
        InstanceStatus::Leaving | InstanceStatus::Unknown(_) => (Standing::Lost, Cause::UnknownStatus),
    }
}

fn restanding(name: &VmName, holding: &Holding, instance: &Instance, from: Standing) -> Option<Record> {
    let (to, cause) = observed(instance, holding);
    (to != from).then(|| Record::Standing { name: name.clone(), from, to, cause })
}

/// A rebid whose answer is not known was accepted, once a later list shows the new bid: without that it would be raised
/// above itself. The old bid in a list proves nothing: it may lag.
fn read_back(name: &VmName, holding: &Holding, sighting: Sighting<'_>) -> Option<Record> {
    let (_, to) = holding.rebid?;
    let is_later = holding.unanswered_write_at.is_some_and(|written| sighting.at > written);
    let is_it = sighting.instance.quoted.is_some_and(|quoted| quoted.compute == to);
    let detail = "read back from a list".to_owned();
    (is_later && is_it).then(|| Record::RebidSettled { name: name.clone(), answer: BidAnswer::Accepted, detail })
}

/// What interrupted a VM by the word of a record, not by our doing. Ask before the record is appended: a VM that is gone was
/// interrupted only if it was not on its way out, and not lost already.
pub fn interruption(ledger: &Ledger, record: &Record) -> Option<Interruption> {
    match record {
        Record::Standing { cause, .. } => cause.interruption(),
        Record::Gone { name, id, how: Ending::NotFound | Ending::Unlisted } => ledger
            .holdings()
            .get(name)
            .filter(|holding| holding.id.as_ref() == Some(id) && holding.phase == Phase::Live)
            .filter(|holding| holding.standing != Standing::Lost)
            .map(|_| Interruption::Vanished),
        _ => None,
    }
}

/// The records that follow from the ledger, the evidence and a look at the world.
pub fn settle(ledger: &Ledger, evidence: &Evidence, inventory: &Inventory, patience: Patience) -> Vec<Record> {
    let mut settling = Settling {
        ledger,
        evidence,
        inventory,
        patience,
        sights: Sights::of(inventory),
        adopted: BTreeMap::new(),
        records: Vec::new(),
    };
    for (name, holding) in ledger.holdings() {
        match (&holding.id, holding.phase) {
            (Some(id), Phase::Live | Phase::Leaving) => settling.follow(name, id, holding),
            (_, Phase::Intended | Phase::InDoubt) | (None, Phase::Live | Phase::Leaving) => {
                settling.look_for(name, holding);
            }
        }
    }
    settling.report_late();
    settling.follow_late();
    settling.records
}

struct Settling<'a> {
    ledger: &'a Ledger,
    evidence: &'a Evidence,
    inventory: &'a Inventory,
    patience: Patience,
    sights: Sights<'a>,
    /// Under which id a name is ours from now on.
    adopted: BTreeMap<&'a VmName, &'a InstanceId>,
    records: Vec<Record>,
}

impl<'a> Settling<'a> {
    /// Who pays for it now.
    fn payer(&self, holding: &'a Holding) -> &'a crate::model::AccountName {
        self.sights.payer(&holding.intent.marketplace, &holding.intent.account)
    }

    /// An intent without an answer: is its name there?
    fn look_for(&mut self, name: &'a VmName, holding: &'a Holding) {
        if let Some(found) = self.first_named(name, holding) {
            self.adopt(name, holding, found, Standing::Pending);
        } else if self.evidence.is_looked_for(name, holding, self.patience) {
            self.records.push(Record::Abandoned { name: name.clone() });
        }
    }

    /// A doubled one is adopted once: on its own marketplace before another of the account, then by id.
    fn first_named(&self, name: &'a VmName, holding: &'a Holding) -> Option<Sighting<'a>> {
        let named = self.sights.named(&holding.intent.marketplace, &holding.intent.account, name);
        named.min_by_key(|sighting| (*sighting.marketplace != holding.intent.marketplace, &sighting.instance.id))
    }

    fn adopt(&mut self, name: &'a VmName, holding: &'a Holding, found: Sighting<'a>, from: Standing) {
        self.adopted.insert(name, &found.instance.id);
        self.records.push(Record::Adopted { name: name.clone(), id: found.instance.id.clone() });
        if *found.marketplace == holding.intent.marketplace {
            self.records.extend(restanding(name, holding, found.instance, from));
        }
    }

    /// One whose id only another marketplace of the account shows, as the one that rented it shows it now: under an id of its
    /// own. Whether two APIs of one vendor call a VM alike no document says; of two ids that one counts.
    fn called_otherwise(&self, name: &'a VmName, holding: &'a Holding) -> Option<Sighting<'a>> {
        let own = &holding.intent.marketplace;
        let list = current(self.inventory.markets.get(own)?)?;
        let found = self.first_named(name, holding)?;
        let is_there = found.instance.status != InstanceStatus::Leaving;
        (found.marketplace == own && found.at >= list.at && is_there).then_some(found)
    }

    /// One that has an id: is it there, and how does it stand? Where only another marketplace of the account shows it, it is
    /// there, and stands as it last stood.
    fn follow(&mut self, name: &'a VmName, id: &'a InstanceId, holding: &'a Holding) {
        if let Some(sighting) = self.sights.any(&holding.intent.marketplace, &holding.intent.account, id) {
            let is_own = *sighting.marketplace == holding.intent.marketplace;
            if holding.phase == Phase::Live && is_own {
                self.records.extend(read_back(name, holding, sighting));
                self.records.extend(restanding(name, holding, sighting.instance, holding.standing));
            } else if holding.phase == Phase::Live
                && let Some(own) = self.called_otherwise(name, holding)
            {
                self.adopt(name, holding, own, holding.standing);
            }
            return;
        }
        let marketplace = &holding.intent.marketplace;
        let Some(view) = self.inventory.markets.get(marketplace) else { return };
        let Some(list) = current(view).filter(|list| holding.held_since.is_some_and(|held| held < list.at)) else {
            return;
        };
        // The name is the key: a VM of that name whose id is another is still the one we asked for.
        if let Some(found) = self.first_named(name, holding).filter(|_| holding.phase == Phase::Live && is_intact(list))
        {
            return self.adopt(name, holding, found, holding.standing);
        }
        let (name, id) = (name.clone(), id.clone());
        let is_acked = holding.delete_acked_at().is_some_and(|acked| acked < list.at);
        let is_proven = is_acked || (holding.phase == Phase::Leaving && !Guard::DeleteProven.is_kept());
        if is_proven && self.evidence.is_complete(self.ledger, self.inventory, marketplace, self.patience) {
            return self.records.push(Record::Gone { name, id, how: Ending::Deleted });
        }
        match self.evidence.proof(view, holding, self.patience) {
            Some(Proof::Gone(how)) => self.records.push(Record::Gone { name, id, how }),
            Some(Proof::NeverSeen) if holding.phase == Phase::Live => self.records.push(Record::Abandoned { name }),
            Some(Proof::NeverSeen) => self.records.push(Record::Gone { name, id, how: Ending::NotFound }),
            None => {
                let lists = self.evidence.lists_lacking(marketplace, view, &id);
                let shows_some = Guard::EmptyList.holds(!list.value.items.is_empty());
                let is_lost = lists >= LISTS_BEFORE_LOOKUP && shows_some && holding.phase == Phase::Live;
                if is_lost && holding.standing != Standing::Lost {
                    let from = holding.standing;
                    let cause = Cause::Vanished;
                    self.records.push(Record::Standing { name, from, to: Standing::Lost, cause });
                }
            }
        }
    }

    /// What is listed under a name that was given up, or beside the one that has it.
    fn report_late(&mut self) {
        for sighting in self.sights.all() {
            let Sighting { account, at, instance, .. } = sighting;
            let (name, id) = (&instance.name, &instance.id);
            // On its way out already, or reported.
            if instance.status == InstanceStatus::Leaving
                || self.ledger.late().contains_key(&(name.clone(), id.clone()))
            {
                continue;
            }
            let open = self.ledger.holdings().get(name);
            let holding = if let Some(holding) = open {
                let ours = self.adopted.get(name).copied().or(holding.id.as_ref());
                Some(holding).filter(|_| ours.is_some_and(|ours| ours != id))
            } else {
                // A list from before the end shows what was.
                self.ledger.past(name).filter(|past| past.at < at).map(|past| &past.holding)
            };
            let is_own = |holding: &&Holding| Guard::OwnAccount.holds(self.payer(holding) == account);
            let Some(holding) = holding.filter(is_own) else { continue };
            // Where the marketplace that was to rent it shows it, it is deleted there.
            let own = self.sights.own(&holding.intent.marketplace, account, id);
            // What only another one shows, beside one of ours of that name, may be the same VM under an id of that API's.
            if open.is_some() && own.is_none() {
                continue;
            }
            let Sighting { marketplace, instance, .. } = own.unwrap_or(sighting);
            let billed = instance.billed().unwrap_or_default().total();
            self.records.push(Record::Late {
                name: name.clone(),
                fleet: holding.intent.fleet.clone(),
                marketplace: marketplace.clone(),
                account: account.clone(),
                id: id.clone(),
                gpus: if instance.gpus == 0 { holding.intent.shape.gpus } else { instance.gpus },
                rate: billed.max(holding.rate_max()),
            });
        }
    }

    /// Late ones that went.
    fn follow_late(&mut self) {
        for ((name, id), late) in self.ledger.late() {
            let marketplace = &late.marketplace;
            let Some(view) = self.inventory.markets.get(marketplace) else { continue };
            let Some(list) = current(view) else { continue };
            if self.sights.any(marketplace, &late.account, id).is_some() {
                continue;
            }
            let acked_at = late.delete.as_ref().and_then(|delete| delete.acked_at);
            let is_acked = acked_at.is_some_and(|acked| acked < list.at);
            let how = if is_acked && self.evidence.is_complete(self.ledger, self.inventory, marketplace, self.patience)
            {
                Ending::Deleted
            } else if let Some(ending) = self.evidence.ending(marketplace, view, id, self.patience) {
                ending
            } else {
                continue;
            };
            self.records.push(Record::Gone { name: name.clone(), id: id.clone(), how });
        }
    }
}
