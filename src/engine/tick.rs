//! One tick: look once, then plan and act in rounds until nothing is left to do.

use super::{
    Cause, Engine, Role, Waiting,
    act::{self, Written},
    ask,
    brake::Brake,
    clocks::Clocks,
    decision::Step,
    details,
    lookout::Looking,
    observe,
    situate::{self, Known},
};
use crate::{
    ledger::{Journal, Ledger, Standing, accrue, interruption, join, record::Record, settle},
    market::client::BACKOFF_MAX,
    model::{FleetName, HostnodeId, MarketplaceName, PriceType, RefusalKind, Timestamp, reason::Interruption, time},
    plan::{self, Action, Bench, Order, Plan, Situation, verify},
    policy::Policy,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Rounds of planning and acting in one tick, at most. Searching a least accepted bid takes up to `asks_max` of them.
const ROUNDS_MAX: usize = 16;
/// How often what is settled may settle more: an adoption may end another's doubt. More only wait for the next round.
const SETTLINGS_MAX: usize = 4;
/// Answers about bids are kept so many times as long as they may be acted on: where the least accepted bid was found, it
/// is searched near there.
const QUOTES_KEPT: u32 = 5;

/// Instances that a list lacked are asked for by id for so long at most, in real time; the others wait for the next list.
const LOOKUPS_TIME_MAX: Duration = Duration::from_secs(30);
/// Writes go on for so long at least, in real time, however late the look was: a slow marketplace must not keep a fleet
/// from being torn down.
pub const WRITES_TIME_MIN: Duration = Duration::from_secs(20);

impl Engine {
    /// Looks, plans, acts, and publishes what it knew. `false` when it was broken off before anything was known, because
    /// the daemon stops or a lever waits.
    pub async fn tick(&mut self, cause: Cause) -> bool {
        let lookouts = Arc::clone(&self.lookouts);
        lookouts.beside(self.tick_once(cause)).await
    }

    async fn tick_once(&mut self, cause: Cause) -> bool {
        let began = self.clock.monotonic();
        self.troubles.clear();
        let stopping = self.stopping.clone();
        // One tick may be broken off for a lever, not two in a row: whoever moves levers all day must not keep the fleets
        // from being looked after. Before the first look there is nothing to move.
        self.heeds_levers = self.ticks > 0 && !self.broken_off;
        let waiting = self.waiting_levers();
        let looked = tokio::select! {
            biased;
            () = stopping.cancelled() => false,
            // A marketplace that hangs must not keep the operator waiting.
            () = waiting.some() => false,
            () = self.look() => true,
        };
        self.broken_off = !looked;
        if !looked {
            return false;
        }
        // Counting begins before anything is rented: what a first tick rents is billed from its beginning.
        let is_counted = self.book.lock().await.ledger().spend().until().is_some();
        if !is_counted {
            self.accrue().await;
        }
        let mut steps: Vec<Step> = Vec::new();
        let brake = Mutex::new(Brake::default());
        let mut unanswered = self.not_asked();
        let time_max = self.clock.of_real(self.tick_time_max);
        for round in 0..ROUNDS_MAX {
            if !self.settle().await {
                break;
            }
            let Some((situation, mut plan)) = self.think(&unanswered).await else { break };
            let forbidden = self.verified(&situation, &mut plan);
            let (asks, writes): (Vec<Action>, Vec<Action>) = plan.actions.iter().cloned().partition(Action::is_read);
            let held = brake.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let may = |action: &Action| self.may(&situation, action) && !held.stops(action);
            let writes: Vec<Action> = writes.into_iter().filter(may).collect();
            let idle = asks.is_empty() && writes.is_empty();
            let policies = situation.fleets.iter().map(|(name, fleet)| (name.clone(), fleet.policy.clone())).collect();
            self.situation = Some(situation.into());
            self.plan = Some(plan.into());
            if idle || forbidden {
                break;
            }
            let at_least = self.clock.monotonic().saturating_add(self.clock.of_real(WRITES_TIME_MIN));
            let until = began.saturating_add(time_max).max(at_least);
            let written = self.write(writes, &policies, until, &brake).await;
            let nothing_written = written.is_empty();
            steps.extend(written);
            let left = time_max.saturating_sub(self.clock.monotonic().saturating_sub(began));
            let asked = self.ask(asks, left, &mut unanswered).await;
            self.broken_off = self.waiting_levers().any();
            let late = self.clock.monotonic().saturating_sub(began) > time_max;
            let interrupted = self.broken_off || self.stopping.is_cancelled();
            if late || interrupted || (nothing_written && !asked) || round + 1 == ROUNDS_MAX {
                // The newest plan must be of what is known now, not of what was known before acting.
                self.settle().await;
                if let Some((situation, plan)) = self.think(&unanswered).await {
                    self.situation = Some(situation.into());
                    self.plan = Some(plan.into());
                }
                break;
            }
        }
        self.accrue().await;
        self.note_benches().await;
        self.decide(cause, &steps).await;
        self.metrics.ticked(self.clock.monotonic().saturating_sub(began));
        self.know();
        self.publish(true).await;
        true
    }

    /// The levers for which this tick stops what it does; none where the last one was broken off.
    fn waiting_levers(&self) -> Waiting {
        if self.heeds_levers { self.waiting.clone() } else { Waiting::default() }
    }

    /// Whether a planned write is sent.
    fn may(&self, situation: &Situation, action: &Action) -> bool {
        match self.role {
            Role::LookOnly => false,
            // Whatever the reason for which it is planned: nothing of an evacuated fleet stays.
            Role::EvacuateOnly => match action {
                Action::Delete { subject, .. } => {
                    let fleet = situation.fleets.get(&subject.fleet);
                    fleet.is_some_and(|fleet| fleet.order == Order::Evacuate) && plan::permitted(situation, action)
                }
                Action::Ask { .. }
                | Action::Look { .. }
                | Action::Deploy(_)
                | Action::Rebid { .. }
                | Action::Start { .. }
                | Action::Stop { .. } => false,
            },
            Role::AsConfigured | Role::ObserveOnly => plan::permitted(situation, action),
        }
    }

    /// One look at the world, and what it is evidence of.
    pub(super) async fn look(&mut self) {
        let clocks = Clocks { wall: self.clock.now(), monotonic: self.clock.monotonic() };
        if clocks.was_set_since(self.looked_at) {
            tracing::warn!(now = %clocks.wall, "the clock was set: what was seen before is not trusted any more");
            self.inventory = observe::nothing_seen(&self.clients, clocks.wall);
            self.lookouts.forget();
            self.evidence.forget_moments();
            let forwards = clocks.set_forwards_since(self.looked_at);
            let set = Record::ClockSet { forwards_ms: u64::try_from(forwards.as_millis()).unwrap_or(u64::MAX) };
            if let Err(error) = self.book.lock().await.append(clocks.wall, vec![set]) {
                // The next tick finds it set again; with nothing seen, nothing is done meanwhile.
                self.troubles.push(error.to_string());
                return;
            }
        }
        self.looked_at = clocks;
        let looking = Looking {
            clients: &self.clients,
            clock: &self.clock,
            scan_interval: self.settings.scan_interval,
            kept_waiting: &self.kept_waiting,
        };
        observe::observe(&self.lookouts, &looking, &mut self.inventory).await;
        self.kept_waiting.clear();
        let patience = self.patience();
        let wanted = {
            let book = self.book.lock().await;
            self.evidence.observe(book.ledger(), &self.inventory, patience);
            let mut wanted = self.evidence.lookups_wanted(book.ledger(), &self.inventory);
            let (now, ours) = (self.clock.now(), book.ledger().holdings());
            for (marketplace, view) in &self.inventory.markets {
                let bare = details::wanted(view, now, |name| ours.contains_key(name));
                wanted.extend(bare.into_iter().map(|id| (marketplace.clone(), id)));
            }
            let since = self.clock.monotonic();
            self.mute_about_vms.retain(|_, until| *until > since);
            wanted.retain(|(marketplace, _)| !self.mute_about_vms.contains_key(marketplace));
            wanted
        };
        let hung = observe::look_up(
            &self.clients,
            &*self.clock,
            &mut self.inventory,
            wanted,
            self.clock.of_real(LOOKUPS_TIME_MAX),
        )
        .await;
        let until = self.clock.monotonic().saturating_add(BACKOFF_MAX);
        self.mute_about_vms.extend(hung.into_iter().map(|marketplace| (marketplace, until)));
        let not_before = time::before(self.clock.now(), self.quote_age_max().saturating_mul(QUOTES_KEPT));
        observe::forget_stale_quotes(&mut self.inventory, not_before);
        let book = self.book.lock().await;
        self.evidence.observe(book.ledger(), &self.inventory, patience);
    }

    pub(super) fn quote_age_max(&self) -> Duration {
        self.clock.of_real(QUOTE_AGE_MAX)
    }

    /// Records what the newest look proves, and joins memory and look. `false` when it could not be recorded: then nothing
    /// must be done on top of it.
    pub(super) async fn settle(&mut self) -> bool {
        let now = self.clock.now();
        let book = self.book.clone();
        let mut book = book.lock().await;
        for _ in 0..SETTLINGS_MAX {
            let proven = settle(book.ledger(), &self.evidence, &self.inventory, self.patience());
            if proven.is_empty() {
                break;
            }
            let interrupted = self.tell(&proven, book.ledger());
            if let Err(error) = book.append(now, proven) {
                self.troubles.push(error.to_string());
                return false;
            }
            for (fleet, marketplace, by) in interrupted {
                self.metrics.interrupted(&fleet, &marketplace, by);
            }
        }
        self.join(&book, now);
        true
    }

    fn join(&mut self, book: &Journal, now: Timestamp) {
        let known: BTreeSet<FleetName> = self.law.statutes.keys().cloned().collect();
        let watched_since = self.started_at;
        let joined = join(book.ledger(), &self.evidence, &self.inventory, &known, watched_since, now, self.patience());
        self.fleets = joined.fleets;
        self.complete = joined.complete;
        self.foreign = joined.foreign;
    }

    /// Brings edits into force, then plans on all that is known.
    async fn think(
        &mut self,
        unanswered: &BTreeMap<MarketplaceName, BTreeSet<HostnodeId>>,
    ) -> Option<(Situation, Plan)> {
        if !self.enact().await {
            return None;
        }
        self.note_missing().await;
        let situation = self.situate(unanswered).await;
        let plan = plan::plan(&situation);
        if let Some(recorder) = &mut self.recorder {
            recorder.note(&situation, &plan);
        }
        Some((situation, plan))
    }

    pub(super) async fn situate(&self, unanswered: &BTreeMap<MarketplaceName, BTreeSet<HostnodeId>>) -> Situation {
        let book = self.book.lock().await;
        let limits = self.limits();
        let stale_after = self.settings.scan_interval.saturating_mul(situate::STALE_AFTER_SCANS);
        let stale_after = stale_after.max(self.clock.of_real(situate::STALE_AFTER_MIN));
        situate::situate(&Known {
            now: self.clock.now(),
            stale_after,
            quote_age_max: self.quote_age_max(),
            limits: &limits,
            limits_held: self.limits_held.as_ref().map(|(held, _)| held),
            law: &self.law,
            ledger: book.ledger(),
            fleets: &self.fleets,
            complete: &self.complete,
            foreign: &self.foreign,
            inventory: &self.inventory,
            unanswered,
            abilities: &observe::abilities(&self.clients),
        })
    }

    /// Takes out of the plan what the checker does not pass, and says so loudly. Returns whether anything was.
    fn verified(&mut self, situation: &Situation, plan: &mut Plan) -> bool {
        // What would be done if acting were allowed is not done, and no violation: it stays in the plan for whoever reads it.
        let (done, only_told): (Vec<Action>, Vec<Action>) =
            std::mem::take(&mut plan.actions).into_iter().partition(|action| plan::permitted(situation, action));
        plan.actions = done;
        let violations = verify::verify(situation, plan);
        for violation in &violations {
            self.metrics.invariant_violated(violation.invariant.as_str());
            tracing::error!(invariant = %violation.invariant, detail = %violation.detail, "a planned action was refused");
            self.troubles.push(format!("refused a planned action: {}: {}", violation.invariant, violation.detail));
        }
        let refused: BTreeSet<usize> = violations.iter().map(|violation| violation.action).collect();
        let mut index = 0;
        plan.actions.retain(|_| {
            index += 1;
            !refused.contains(&(index - 1))
        });
        let forbidden = !refused.is_empty() && plan.actions.is_empty();
        plan.actions.extend(only_told);
        forbidden
    }

    /// Hands that begin nothing after `until`, by the monotonic clock, nor while one of these levers waits.
    pub(super) fn hands<'a>(&'a self, until: Duration, waiting: Waiting, brake: &'a Mutex<Brake>) -> act::Hands<'a> {
        act::Hands {
            clients: &self.clients,
            clock: &*self.clock,
            entropy: &*self.entropy,
            book: &self.book,
            metrics: &self.metrics,
            quote_age_max: self.quote_age_max(),
            until,
            waiting,
            stopping: self.stopping.clone(),
            failing: self
                .inventory
                .markets
                .iter()
                .filter(|(_, view)| view.is_failing())
                .map(|(name, _)| name)
                .collect(),
            brake,
        }
    }

    /// Writes until the plan is done, something else must be done first, or `until` by the monotonic clock: a long lane
    /// must not keep the world from being looked at again.
    async fn write(
        &mut self,
        writes: Vec<Action>,
        policies: &BTreeMap<FleetName, Policy>,
        until: Duration,
        brake: &Mutex<Brake>,
    ) -> Vec<Step> {
        if writes.is_empty() {
            return Vec::new();
        }
        let hands = self.hands(until, self.waiting_levers(), brake);
        let Written { steps, troubles, kept_waiting } = act::write(&hands, writes, policies, &self.inventory).await;
        for step in &steps {
            tracing::info!(
                kind = %step.kind, fleet = %step.fleet, instance = step.instance, hostnode = step.hostnode,
                rate = step.rate, outcome = step.outcome, reason = %step.reason, "acted"
            );
        }
        self.troubles.extend(troubles);
        self.kept_waiting.extend(kept_waiting);
        steps
    }

    /// Machines about which nothing is asked in this tick: all of a marketplace that lately let a question wait in vain.
    fn not_asked(&mut self) -> BTreeMap<MarketplaceName, BTreeSet<HostnodeId>> {
        let now = self.clock.monotonic();
        self.mute_about_offers.retain(|_, until| *until > now);
        let mute = self.mute_about_offers.keys();
        mute.map(|marketplace| (marketplace.clone(), self.listed(marketplace))).collect()
    }

    /// The machines of a marketplace's newest list.
    fn listed(&self, marketplace: &MarketplaceName) -> BTreeSet<HostnodeId> {
        let view = self.inventory.markets.get(marketplace);
        let listed = view.and_then(|view| view.hostnodes.last.as_ref()).into_iter().flat_map(|list| &list.value.items);
        listed.map(|hostnode| hostnode.id.clone()).collect()
    }

    /// Asks, and folds the answers into the inventory. Returns whether anything was answered.
    async fn ask(
        &mut self,
        asks: Vec<Action>,
        left: Duration,
        unanswered: &mut BTreeMap<MarketplaceName, BTreeSet<HostnodeId>>,
    ) -> bool {
        if self.role == Role::EvacuateOnly {
            return false;
        }
        let brake = Mutex::default();
        let hands = self.hands(Duration::MAX, self.waiting_levers(), &brake);
        let waiting = self.waiting_levers();
        let asked = tokio::select! {
            biased;
            // Nobody waits for the answer to a question any more.
            () = self.stopping.cancelled() => return false,
            () = waiting.some() => return false,
            asked = ask::ask(&hands, asks, left) => asked,
        };
        let until = self.clock.monotonic().saturating_add(BACKOFF_MAX);
        let silent = asked.hung.iter().filter(|marketplace| !asked.has_answered(marketplace));
        let silent: Vec<_> = silent.map(|marketplace| (marketplace.clone(), until)).collect();
        for (marketplace, hostnode, refusal) in &asked.unanswered {
            tracing::debug!(%marketplace, %hostnode, %refusal, "a question was not answered");
            let hostnodes = unanswered.entry(marketplace.clone()).or_default();
            hostnodes.insert(hostnode.clone());
            // One that answers nothing at all is not asked about its other machines before the next tick either.
            if !asked.has_answered(marketplace) && refusal.kind() != RefusalKind::Refused {
                hostnodes.extend(self.listed(marketplace));
            }
        }
        let mut told: BTreeMap<(&MarketplaceName, String), u32> = BTreeMap::new();
        for (marketplace, _, refusal) in &asked.unanswered {
            *told.entry((marketplace, refusal.to_string())).or_default() += 1;
        }
        for ((marketplace, refusal), questions) in told {
            tracing::warn!(%marketplace, questions, refusal, "questions were not answered");
        }
        let any = asked.any();
        self.mute_about_offers.extend(silent);
        for (marketplace, quotes) in asked.quotes {
            if let Some(view) = self.inventory.markets.get_mut(&marketplace) {
                view.quotes.extend(quotes);
            }
        }
        for (marketplace, machines) in asked.machines {
            if let Some(view) = self.inventory.markets.get_mut(&marketplace) {
                view.machines.extend(machines);
            }
        }
        any
    }

    /// Tells what happened to us since the last look. Returns what was interrupted, and by what.
    fn tell(&self, proven: &[Record], ledger: &Ledger) -> Vec<(FleetName, MarketplaceName, Interruption)> {
        let mut interrupted = Vec::new();
        for record in proven {
            let name = match record {
                Record::Late { marketplace, name, .. } => {
                    tracing::warn!(%name, %marketplace, "a VM turned up after its deploy had been given up");
                    self.metrics.late(marketplace);
                    continue;
                }
                Record::Standing { name, cause, from, to } => {
                    tracing::info!(%name, %from, %to, %cause, "an instance stands differently");
                    name
                }
                Record::Gone { name, how, .. } => {
                    tracing::info!(%name, %how, "an instance is gone");
                    name
                }
                _ => continue,
            };
            if let (Some(by), Some(holding)) = (interruption(ledger, record), ledger.holdings().get(name)) {
                interrupted.push((holding.intent.fleet.clone(), holding.intent.marketplace.clone(), by));
            }
        }
        interrupted
    }

    /// Remembers since when which GPUs have been missing from each target.
    async fn note_missing(&mut self) {
        let now = self.clock.now();
        let mut book = self.book.lock().await;
        let mut records = Vec::new();
        for (name, statute) in &self.law.statutes {
            let wanted = match situate::order(book.ledger(), name, statute, now) {
                Order::Evacuate | Order::Pause(_) => 0,
                Order::Hold(target) => target,
            };
            let there = |price_type| -> u32 {
                let members = self.fleets.get(name).into_iter().flat_map(|fleet| fleet.members.values());
                let there = members.filter(|member| serving(member.standing) && member.price_type == price_type);
                there.map(|member| member.shape.gpus).sum()
            };
            let on_demand = there(PriceType::OnDemand);
            let missing = wanted.saturating_sub(on_demand.saturating_add(there(PriceType::Spot)));
            if !book.ledger().missing(name).is_noted(missing, on_demand) {
                records.push(Record::Missing { fleet: name.clone(), gpus: missing, on_demand });
            }
        }
        if let Err(error) = book.append(now, records) {
            self.troubles.push(error.to_string());
        }
    }

    /// Remembers since when which marketplaces have been benched, and tells when one is and when it is no more.
    async fn note_benches(&mut self) {
        let Some(situation) = &self.situation else { return };
        let now = self.clock.now();
        let mut records = Vec::new();
        let mut tell = |marketplace: &MarketplaceName, what: &str, detail: String| {
            tracing::warn!(%marketplace, what, detail);
            let (what, subject) = (what.to_owned(), Some(marketplace.to_string()));
            records.push(Record::Event { fleet: None, subject, what, detail });
        };
        for (name, market) in &situation.markets {
            match (market.bench, self.benched.get(name).copied()) {
                (Some(bench), before) if before.is_none_or(|(reason, _)| reason != bench) => {
                    self.benched.insert(name.clone(), (bench, now));
                    tell(name, "benched", format!("nothing is rented on {name}: {bench}"));
                }
                (None, Some((reason, since))) => {
                    self.benched.remove(name);
                    let lasted = time::show(time::elapsed(since, now));
                    tell(name, "unbenched", format!("{name} may be rented on again, after {lasted} of {reason}"));
                }
                (Some(_) | None, _) => {}
            }
        }
        self.benched.retain(|name, _| situation.markets.contains_key(name));
        if let Err(error) = self.book.lock().await.append(now, records) {
            self.troubles.push(error.to_string());
        }
    }

    /// When a marketplace that fails is asked for its lists again.
    pub(super) fn asked_again_at(&self, marketplace: &MarketplaceName) -> Option<Timestamp> {
        let (_, client) = self.clients.get(marketplace)?;
        self.lookouts.asked_again_at(client, &*self.clock)
    }

    /// The benches for the history: which, why, since when, and when it is asked again.
    fn benched_told(&self) -> Vec<String> {
        let told = |(name, (bench, since)): (&MarketplaceName, &(Bench, Timestamp))| {
            let again = self.asked_again_at(name);
            let again = again.map(|again| format!(", asked again at {again:.0}")).unwrap_or_default();
            format!("{name} is benched: {bench} since {since:.0}{again}")
        };
        self.benched.iter().map(told).collect()
    }

    /// What the fleets cost since they were last counted.
    async fn accrue(&mut self) {
        let now = self.clock.now();
        let mut book = self.book.lock().await;
        let accrued = accrue(book.ledger(), &self.fleets, now);
        if let Err(error) = book.append(now, accrued) {
            self.troubles.push(error.to_string());
        }
    }

    /// Keeps the tick in the history where something was done, or targets are missed for other reasons than before.
    async fn decide(&mut self, cause: Cause, steps: &[Step]) {
        let Some(plan) = &self.plan else { return };
        let now = self.clock.now();
        let tick = format!("d{}", now.as_millisecond());
        let benched = self.benched_told();
        let mut decisions = super::Decision::of(&tick, cause, steps, plan, &benched);
        let blocks = &self.blocks;
        decisions.retain(|made| !made.actions.is_empty() || blocks.get(&made.fleet) != Some(&made.blocks()));
        let recorded = self.recorder.as_mut().map(|recorder| recorder.close(now, &tick, !decisions.is_empty()));
        let rounds = match recorded {
            None => Vec::new(),
            Some(Ok(rounds)) => rounds,
            Some(Err(trouble)) => {
                self.troubles.push(trouble);
                Vec::new()
            }
        };
        let mut records = Vec::new();
        for decision in decisions {
            records.extend(decision.record(&rounds));
            self.blocks.insert(decision.fleet.clone(), decision.blocks());
            self.decision = Some(decision.id);
        }
        if let Err(error) = self.book.lock().await.append(now, records) {
            self.troubles.push(error.to_string());
        }
    }
}

/// Whether a GPU that stands so is there, or on its way, as far as a fallback is concerned.
const fn serving(standing: Standing) -> bool {
    match standing {
        Standing::Pending | Standing::Running | Standing::InDoubt => true,
        Standing::Outbid | Standing::StoppedKept | Standing::StoppedReleased | Standing::Leaving | Standing::Lost => {
            false
        }
    }
}

/// What is deployed was asked for at that very bid less than this ago, in real time (CONTRACT, "Spot").
pub const QUOTE_AGE_MAX: Duration = Duration::from_secs(60);
