//! Settings and policies, read again: at start, on SIGHUP, on a change in the folder, and when the operator says so.
//!
//! Whatever does not load changes nothing, and says so. What loads is proposed to the [`super::law`], and comes into
//! force in the next tick, when it is known what it would tear down.

use super::{
    Engine, LeverError, Waiting,
    act::{self, Written},
    edits::{Levers, Loss, loss_by_limits, loss_by_policy},
    law::{self, Law},
    observe,
};
use crate::{
    io::systemd,
    ledger::{
        Ledger, LimitsText,
        fleet::Stray,
        has_anything,
        record::{Answer, Record},
    },
    market::client::WriteOutcome,
    metrics::PolicyReload,
    model::{AccountName, FleetName, Guard, MarketplaceName, Refusal, Timestamp, VmName, reason::Teardown},
    plan::{Action, Situation, Subject},
    settings::{self, Limits},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

impl Engine {
    /// Reads settings and policies again.
    pub(super) async fn reload(&mut self) {
        systemd::tell(&systemd::Notice::Reloading);
        match (self.reread)() {
            Ok(new) => {
                self.settings_faults = settings::changed_needing_restart(&self.settings, &new);
                if self.settings_faults.is_empty() {
                    self.take_settings(new);
                } else {
                    for fault in &self.settings_faults {
                        tracing::warn!(%fault, "the new settings wait for a restart");
                    }
                }
            }
            Err(faults) => {
                for fault in &faults {
                    tracing::error!(%fault, "the settings on disk are not in force");
                }
                self.settings_faults = faults;
            }
        }
        self.read_policies().await;
        // Before anything was seen, nobody knows what they would tear down: then the first tick judges them.
        if self.situation.is_some() {
            self.judge_limits().await;
        }
        systemd::tell(&systemd::Notice::Ready);
    }

    fn take_settings(&mut self, new: settings::Settings) {
        let clients = (self.connect)(&new);
        let mut inventory = observe::nothing_seen(&clients, self.clock.now());
        let is_moved = |name: &MarketplaceName| {
            let [old, new] = [&self.settings, &new].map(|settings| settings.marketplaces.get(name));
            old.zip(new).is_none_or(|(old, new)| !old.reaches_as(new))
        };
        let moved: BTreeSet<MarketplaceName> = clients.keys().filter(|name| is_moved(name)).cloned().collect();
        let payers: BTreeSet<AccountName> =
            moved.iter().filter_map(|name| clients.get(name)).map(|(account, _)| account.clone()).collect();
        // What was seen of a marketplace that stays is still what was seen. Where others answer now, or the same to somebody
        // else, nothing was: neither a balance, nor the lists that lacked a VM.
        for (name, view) in inventory.markets.iter_mut().filter(|(name, _)| !moved.contains(*name)) {
            if let Some(seen) = self.inventory.markets.remove(name) {
                *view = seen;
            }
        }
        for (name, reading) in inventory.balances.iter_mut().filter(|(name, _)| !payers.contains(*name)) {
            if let Some(seen) = self.inventory.balances.remove(name) {
                *reading = seen;
            }
        }
        self.evidence.forget_marketplaces(&moved);
        self.inventory = inventory;
        self.mute_about_offers.clear();
        self.mute_about_vms.clear();
        self.clients = clients;
        self.lookouts.forget();
        self.law.recheck(&new.policy_context());
        self.settings_in_force.send_replace(std::sync::Arc::new(new.clone()));
        self.settings = new;
    }

    /// Reads the folder of policies and proposes what is there.
    pub(super) async fn read_policies(&mut self) {
        let context = self.settings.policy_context();
        let folder = match law::read_folder(&*self.files, &self.settings.policies, &context) {
            Ok(folder) => folder,
            Err(why) => {
                tracing::error!(%why, "the policies could not be read; what was in force stays in force");
                self.settings_faults.push(format!("{why}; what was in force stays in force"));
                return;
            }
        };
        for (_, why) in &folder.unread {
            tracing::warn!("{why}");
            self.metrics.policy_reloaded(PolicyReload::Invalid);
        }
        for (_, checked) in &folder.texts {
            for fault in checked.faults.iter().chain(&checked.warnings) {
                tracing::warn!("{fault}");
            }
            if checked.policy.is_none() {
                self.metrics.policy_reloaded(PolicyReload::Invalid);
            }
        }
        let book = self.book.lock().await;
        let before: BTreeSet<FleetName> = gone(&self.law);
        let (now, patience) = (self.clock.now(), self.patience());
        self.law.propose(folder, &context, &|fleet| has_anything(book.ledger(), fleet, now, patience));
        for fleet in gone(&self.law).difference(&before) {
            tracing::warn!(%fleet, "its policy file is gone: the fleet is left as it is, paused");
        }
    }

    /// Puts proposed texts into force and records them. `false` when that could not be recorded.
    pub(super) async fn enact(&mut self) -> bool {
        let now = self.clock.now();
        let situation = match self.law.statutes.values().any(|statute| statute.proposed.is_some()) {
            true => Some(self.situate(&BTreeMap::new()).await),
            false => None,
        };
        let book = self.book.clone();
        let mut book = book.lock().await;
        let levers = self.targets(book.ledger(), now);
        let held_before: BTreeSet<FleetName> = held(&self.law);
        let proposed = self.law.statutes.iter().filter_map(|(name, statute)| {
            let text = statute.proposed.as_ref().filter(|text| text.digest != statute.in_force.digest)?;
            Some((name.clone(), loss_by_policy(situation.as_ref()?, &text.policy, &levers)))
        });
        let losses: BTreeMap<FleetName, Loss> = proposed.collect();
        let before = self.law.clone();
        let enacted = self.law.enact(&losses, |fleet, digest| book.ledger().held_edit(fleet) == Some(digest));
        for fleet in held(&self.law).difference(&held_before) {
            tracing::warn!(%fleet, "an edit would tear down more than max_scale_down; it is held until it is applied");
            self.metrics.policy_reloaded(PolicyReload::Held);
        }
        let holding = self.law.statutes.iter().filter_map(|(fleet, statute)| {
            let digest = statute.held.as_ref().map(|held| held.text.digest.clone());
            // What is not there, or cannot be read, takes no edit back.
            let is_known = digest.is_some() || (statute.faults.is_empty() && !statute.gone);
            let is_news = book.ledger().held_edit(fleet) != digest.as_deref() && !enacted.contains(fleet);
            (is_known && is_news).then(|| Record::EditHeld { fleet: fleet.clone(), digest })
        });
        let holding: Vec<Record> = holding.collect();
        let records: Vec<Record> = enacted.iter().filter_map(|fleet| in_force(&self.law, fleet)).collect();
        for fleet in &enacted {
            tracing::info!(%fleet, "its policy is in force");
            self.metrics.policy_reloaded(PolicyReload::Applied);
        }
        let patience = self.patience();
        let forgotten: Vec<FleetName> = self
            .law
            .statutes
            .iter()
            .filter(|(name, statute)| statute.gone && !has_anything(book.ledger(), name, now, patience))
            .map(|(name, _)| name.clone())
            .collect();
        let gone = forgotten.iter().map(|fleet| Record::PolicyGone { fleet: fleet.clone() });
        if let Err(error) = book.append(now, records.into_iter().chain(holding).chain(gone).collect()) {
            // What is not recorded is not in force. What is held needs no record to be, and is recorded by a later tick.
            let after = std::mem::replace(&mut self.law, before);
            self.law.statutes.extend(after.statutes.into_iter().filter(|(_, statute)| statute.held.is_some()));
            self.troubles.push(error.to_string());
            return false;
        }
        for fleet in &forgotten {
            self.law.forget(fleet);
        }
        drop(book);
        self.enact_limits().await
    }

    /// `[limits]` and `[accounts]` on disk come into force unless they would tear down too much.
    pub(super) async fn judge_limits(&mut self) {
        let new = self.settings.limits.clone();
        let waits_for = match new == self.limits {
            true => BTreeSet::new(),
            false => self.limits_wait_for(&new).await,
        };
        if waits_for.is_empty() {
            self.limits = new;
            self.limits_held = None;
            return;
        }
        let digest = limits_digest(&new);
        if self.limits_held.as_ref().is_none_or(|(held, _)| limits_digest(held) != digest) {
            let fleets: Vec<&str> = waits_for.iter().map(FleetName::as_str).collect();
            tracing::warn!(
                fleets = fleets.join(", "),
                "an edit of [limits] or [accounts] is held until it is applied for these fleets"
            );
        }
        self.limits_held = Some((new, waits_for));
    }

    /// The fleets for which an edit of `[limits]` waits for the operator's word: those for which it waits already, however
    /// little it would let go by now; else those of which it would let too much go.
    async fn limits_wait_for(&self, new: &Limits) -> BTreeSet<FleetName> {
        let digest = limits_digest(new);
        if let Some((_, waits_for)) = self.limits_held.as_ref().filter(|(held, _)| limits_digest(held) == digest) {
            return waits_for.clone();
        }
        let remembered = {
            let book = self.book.lock().await;
            let held = book.ledger().held_limits().filter(|held| held.digest == digest);
            held.map(|held| held.fleets.clone())
        };
        let fleets = match remembered {
            Some(fleets) => fleets,
            None => {
                // Whether this process only watches is not the text's doing.
                let situation = Situation { limits: self.limits.clone(), ..self.situate(&BTreeMap::new()).await };
                let levers = self.targets(self.book.lock().await.ledger(), self.clock.now());
                let losses = loss_by_limits(&situation, new, &levers).into_iter();
                losses
                    .filter(|(_, loss)| !Guard::LimitsHeld.holds(!loss.is_too_much()))
                    .map(|(fleet, _)| fleet)
                    .collect()
            }
        };
        // The operator's word for one fleet is kept while that for another is waited for.
        let book = self.book.lock().await;
        fleets.into_iter().filter(|fleet| book.ledger().levers().applied(fleet) != Some(&digest)).collect()
    }

    /// The operator's targets.
    fn targets(&self, ledger: &Ledger, now: Timestamp) -> Levers {
        let fleets = self.law.statutes.keys();
        let targets = fleets.map(|fleet| Some((fleet.clone(), ledger.levers().target(fleet, now)?.gpus)));
        targets.flatten().collect()
    }

    async fn enact_limits(&mut self) -> bool {
        // At start the fleets are known only now: what was last in force is compared with what is on disk.
        if self.limits != self.settings.limits && self.limits_held.is_none() {
            self.judge_limits().await;
        }
        // Nobody could give the word for a fleet that is forgotten.
        if let Some((held, waits_for)) = &mut self.limits_held {
            waits_for.retain(|fleet| self.law.statutes.contains_key(fleet));
            if waits_for.is_empty() {
                self.limits = held.clone();
                self.limits_held = None;
            }
        }
        let now = self.clock.now();
        let mut book = self.book.lock().await;
        let limits = &self.limits;
        let is_recorded = book.ledger().limits().is_some_and(|text| {
            let LimitsText { max_hourly_rate, balance_floor, mode, accounts } = text;
            *max_hourly_rate == limits.max_hourly_rate
                && *balance_floor == limits.balance_floor
                && *mode == limits.mode
                && *accounts == limits.accounts
        });
        let was_held = book.ledger().held_limits();
        let (is_taken_back, holding) = match &self.limits_held {
            // Of an edit that was taken back neither that it was held is left nor any word: the same one is judged anew, and
            // waited for again.
            None => {
                let has_word = self.law.statutes.keys().any(|fleet| book.ledger().levers().applied(fleet).is_some());
                (was_held.is_some() || has_word, None)
            }
            Some((held, waits_for)) => {
                let digest = limits_digest(held);
                let is_news = was_held.is_none_or(|was| was.digest != digest);
                (false, is_news.then(|| Record::LimitsHeld { digest, fleets: waits_for.clone() }))
            }
        };
        let in_force = (!is_recorded || is_taken_back).then(|| limits_in_force(limits));
        let records: Vec<Record> = in_force.into_iter().chain(holding).collect();
        match book.append(now, records) {
            Ok(()) => true,
            Err(error) => {
                self.troubles.push(error.to_string());
                false
            }
        }
    }

    /// The operator lets a held edit pass.
    pub(super) async fn apply(&mut self, fleet: &FleetName) -> Result<String, LeverError> {
        let before = (self.limits.clone(), self.limits_held.clone(), self.law.clone());
        let of_limits = match &mut self.limits_held {
            Some((limits, waits_for)) => waits_for.remove(fleet).then(|| limits_digest(limits)),
            None => None,
        };
        if self.limits_held.as_ref().is_some_and(|(_, waits_for)| waits_for.is_empty())
            && let Some((limits, _)) = self.limits_held.take()
        {
            self.limits = limits;
        }
        let of_policy = self.law.apply(fleet);
        if !of_policy && of_limits.is_none() {
            return Err(LeverError::Refused(format!("{fleet}: no edit is held")));
        }
        let now = self.clock.now();
        let mut records: Vec<Record> = Vec::new();
        if let Some(digest) = of_limits {
            records.push(Record::Applied { fleet: fleet.clone(), digest });
            if self.limits_held.is_none() {
                records.push(limits_in_force(&self.limits));
            }
        }
        if of_policy {
            records.extend(in_force(&self.law, fleet));
        }
        let detail = "the operator let a held edit pass".to_owned();
        records.push(Record::Event { fleet: Some(fleet.clone()), subject: None, what: "applied".into(), detail });
        if let Err(error) = self.book.lock().await.append(now, records) {
            // What is not recorded is not in force.
            (self.limits, self.limits_held, self.law) = before;
            return Err(LeverError::Failed(error.to_string()));
        }
        self.metrics.policy_reloaded(PolicyReload::Applied);
        Ok(format!("{fleet}: the held edit is in force"))
    }

    /// The operator deletes one of ours.
    pub(super) async fn delete_member(&mut self, name: &VmName) -> Result<String, LeverError> {
        let member = self.fleets.values().find_map(|fleet| fleet.members.get(name)).cloned();
        let Some(member) = member else {
            return Err(LeverError::NotFound(format!("{name} is not an instance of ours")));
        };
        let Some(id) = member.id.clone() else {
            return Err(LeverError::Refused(format!(
                "{name} is in doubt: the marketplace has not shown it yet, so there is nothing to delete"
            )));
        };
        let subject = Subject { name: name.clone(), fleet: member.fleet.clone(), marketplace: member.marketplace, id };
        let why = "the operator said so".to_owned();
        let action = Action::Delete { subject, reason: Teardown::Operator, why };
        let brake = std::sync::Mutex::default();
        let hands = self.hands(Duration::MAX, Waiting::default(), &brake);
        let Written { steps, troubles, kept_waiting } =
            act::write(&hands, vec![action], &BTreeMap::new(), &self.inventory).await;
        if let Some(marketplace) = kept_waiting.into_iter().next() {
            return Err(LeverError::Failed(format!(
                "{name} was not deleted: {marketplace} asked us to wait; try again in a minute"
            )));
        }
        if let Some(trouble) = troubles.into_iter().next() {
            return Err(LeverError::Failed(trouble));
        }
        match steps.into_iter().next().and_then(|step| step.outcome) {
            Some(outcome) => Ok(format!("{name}: delete {outcome}")),
            None => Err(LeverError::Failed(format!("{name} was not deleted: the daemon stops"))),
        }
    }

    /// The operator deletes a VM that is only named like one of ours.
    pub(super) async fn delete_stray(&mut self, stray: &Stray, fleet: FleetName) -> Result<String, LeverError> {
        let Some((_, client)) = self.clients.get(&stray.marketplace) else {
            return Err(LeverError::NotFound(format!("the marketplace {} is not configured", stray.marketplace)));
        };
        let (name, id) = (stray.instance.name.clone(), stray.instance.id.clone());
        let intended = Record::StrayDeleteIntended {
            fleet: fleet.clone(),
            marketplace: stray.marketplace.clone(),
            name: name.clone(),
            id: id.clone(),
        };
        let failed = |error: String| LeverError::Failed(error);
        let append = |records| async {
            let now = self.clock.now();
            self.book.lock().await.append(now, records).map_err(|error| failed(error.to_string()))
        };
        let turn = tokio::select! {
            biased;
            () = self.stopping.cancelled() => {
                return Err(LeverError::Failed(format!("{name} was not deleted: the daemon stops")));
            }
            turn = client.turn() => turn,
        };
        append(vec![intended]).await?;
        let outcome = turn.write(client.dialect().terminate(&id)).await;
        let shown = name.clone();
        let (record, told) = match outcome {
            WriteOutcome::Settled(Ok(()) | Err(Refusal::Gone)) => {
                let answer = Answer::Done;
                (Record::StrayDeleteSettled { fleet, name, id, answer, detail: String::new() }, "deleted".to_owned())
            }
            WriteOutcome::Settled(Err(refusal)) => {
                let (answer, detail) = (Answer::Refused, refusal.to_string());
                let told = format!("not deleted: {detail}");
                (Record::StrayDeleteSettled { fleet, name, id, answer, detail }, told)
            }
            WriteOutcome::InDoubt(refusal) => {
                let detail = refusal.to_string();
                let told = format!("in doubt: {detail}");
                (Record::StrayDeleteInDoubt { fleet, name, id, detail }, told)
            }
        };
        append(vec![record]).await?;
        Ok(format!("{shown}: {told}"))
    }
}

fn gone(law: &Law) -> BTreeSet<FleetName> {
    law.statutes.iter().filter(|(_, statute)| statute.gone).map(|(name, _)| name.clone()).collect()
}

fn held(law: &Law) -> BTreeSet<FleetName> {
    law.statutes.iter().filter(|(_, statute)| statute.held.is_some()).map(|(name, _)| name.clone()).collect()
}

/// What an edit of `[limits]` is known by.
fn limits_digest(limits: &Limits) -> String {
    let Limits { max_hourly_rate, balance_floor, mode, accounts } = limits;
    let most = max_hourly_rate.map_or_else(|| "none".to_owned(), |most| most.to_string());
    let accounts: String = accounts.iter().map(|(name, limits)| format!(", {name}: {limits}")).collect();
    format!("limits: max_hourly_rate {most}, balance_floor {balance_floor}, mode {mode}{accounts}")
}

fn limits_in_force(limits: &Limits) -> Record {
    let Limits { max_hourly_rate, balance_floor, mode, accounts } = limits.clone();
    Record::LimitsInForce { max_hourly_rate, balance_floor, mode, accounts }
}

fn in_force(law: &Law, fleet: &FleetName) -> Option<Record> {
    let text = &law.statutes.get(fleet)?.in_force;
    Some(Record::PolicyInForce {
        fleet: fleet.clone(),
        file: text.source.file.clone(),
        digest: text.digest.clone(),
        text: text.source.text.clone(),
        attachments: text.source.attachments.clone(),
        context: text.context.to_text(),
    })
}
