//! The hands: observe, plan, verify, act, settle, and again.
//!
//! The engine is one actor. Everything that can happen to it is an [`Event`], everything it knows is published after
//! each tick as one immutable [`Status`], and everything it changes was journalled before it was sent. It decides
//! nothing: `plan` does.
//!
//! ```text
//! tick:  inventory <- observe                     all marketplaces at once; nobody waits for one that hangs
//!        up to ROUNDS_MAX times:
//!          settle     what the look proves: adopted, gone, given up, late   -> journal
//!          enact      edits of policies that would not tear down too much   -> journal
//!          situate -> plan -> verify              pure
//!          write      what verify passed, each intent durable before it is sent
//!          ask        about bids; the answers belong to the next round
//! ```

pub mod act;
pub mod ask;
pub mod brake;
pub mod clocks;
pub mod decision;
pub mod details;
pub mod edits;
pub mod events;
pub mod export;
pub mod law;
pub mod levers;
pub mod lookout;
pub mod observe;
pub mod publish;
pub mod recording;
pub mod reload;
#[cfg(test)]
pub(crate) mod sample;
pub mod scene;
pub mod situate;
pub mod status;
pub mod tick;
pub mod wake;
pub mod what_if;

pub use decision::Decision;
pub use events::{Cause, Event, Handle, Lever, LeverError, Scope, Waiting};
pub use status::Status;
pub use what_if::what_if;

use crate::{
    io::{clock::Clock, entropy::Entropy, files::Files, systemd},
    ledger::{Evidence, Journal, Patience, fleet::Fleet},
    metrics::Metrics,
    model::{AccountName, FleetName, HourlyRate, Inventory, MarketplaceName, Shared, Timestamp},
    plan::{Bench, Plan, Situation, verify::Invariant},
    policy::{self, Source, terms::Mode},
    settings::{Limits, Settings},
};
use clocks::Clocks;
use law::Law;
use lookout::Lookouts;
use observe::Clients;
use recording::Recorder;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Reads the settings again; faults are lines for people.
pub type Reread = Box<dyn Fn() -> Result<Settings, Vec<String>> + Send + Sync>;
/// Makes the clients that some settings name.
pub type Connect = Box<dyn Fn(&Settings) -> Clients + Send + Sync>;

/// Whether anything is ever changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// As the settings and policies say.
    AsConfigured,
    /// `--observe`: never, whatever they say.
    ObserveOnly,
    /// A look from outside: plans as the settings and policies say, and sends nothing but reads.
    LookOnly,
    /// `evacuate --offline`: deletes what the operator evacuates, and sends nothing else but reads.
    EvacuateOnly,
}

/// What an engine is made of.
pub struct Parts {
    /// As checked.
    pub settings: Settings,
    /// Whether anything is ever changed.
    pub role: Role,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Passwords.
    pub entropy: Arc<dyn Entropy>,
    /// Policies.
    pub files: Arc<dyn Files>,
    /// Counters and gauges.
    pub metrics: Arc<Metrics>,
    /// Journal and ledger.
    pub book: Journal,
    /// Reads the settings again.
    pub reread: Reread,
    /// Makes the clients.
    pub connect: Connect,
    /// Keeps what is seen, so that decisions can be recomputed; `None`: nobody does.
    pub recorder: Option<Recorder>,
    /// No new round of a tick begins, and no bid is waited for, after so long in real time.
    pub tick_time_max: Duration,
}

/// The engine.
pub struct Engine {
    settings: Settings,
    role: Role,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    files: Arc<dyn Files>,
    metrics: Arc<Metrics>,
    book: Arc<Mutex<Journal>>,
    reread: Reread,
    connect: Connect,
    recorder: Option<Recorder>,
    tick_time_max: Duration,

    clients: Clients,
    law: Law,
    /// `[limits]` in force, and an edit of them that waits, with the fleets it waits for.
    limits: Limits,
    limits_held: Option<(Limits, BTreeSet<FleetName>)>,
    evidence: Evidence,
    inventory: Inventory,
    lookouts: Arc<Lookouts>,
    /// Where a write did not get its turn in the newest tick.
    kept_waiting: BTreeSet<MarketplaceName>,
    /// Who let questions before renting wait in vain is asked none until then, by the monotonic clock.
    mute_about_offers: BTreeMap<MarketplaceName, Duration>,
    /// Likewise, those about single VMs: the one kind may be answered where the other is not.
    mute_about_vms: BTreeMap<MarketplaceName, Duration>,
    /// Why nothing may be rented on a marketplace, and since when.
    benched: BTreeMap<MarketplaceName, (Bench, Timestamp)>,

    /// The newest join.
    fleets: BTreeMap<FleetName, Fleet>,
    complete: BTreeMap<MarketplaceName, bool>,
    foreign: BTreeMap<AccountName, HourlyRate>,
    situation: Option<Shared<Situation>>,
    plan: Option<Shared<Plan>>,

    started_at: Timestamp,
    /// The newest tick was broken off before it looked.
    broken_off: bool,
    /// Whether this tick stops for levers that wait.
    heeds_levers: bool,
    /// When the newest look began; when the process did, before the first.
    looked_at: Clocks,
    ticks: u64,
    decision: Option<String>,
    blocks: BTreeMap<String, Vec<(u32, String)>>,
    settings_faults: Vec<String>,
    troubles: Vec<String>,

    status: watch::Sender<Arc<Status>>,
    settings_in_force: watch::Sender<Arc<Settings>>,
    /// Levers that wait, for which the lane ends after the write that is under way; a reload that was asked for.
    waiting: Waiting,
    stopping: CancellationToken,
}

impl Engine {
    /// An engine at rest, and the handle by which others talk to it. The policies that were in force when the daemon last
    /// ran are in force again; what is on disk now is judged by the first tick.
    pub async fn new(parts: Parts) -> (Self, mpsc::Receiver<Event>, Handle) {
        let Parts { settings, role, clock, entropy, files, metrics, book, reread, connect, recorder, tick_time_max } =
            parts;
        let now = clock.now();
        let clients = connect(&settings);
        // A fleet that was forgotten is new when its file returns, and its text comes into force by a record.
        let there = book.ledger().policies().values().filter(|text| text.gone_since.is_none());
        let sources = there.map(|text| {
            let source = Source {
                file: text.file.clone(),
                text: text.text.clone(),
                attachments: text.attachments.clone(),
                unread: BTreeMap::new(),
            };
            (source, policy::Context::from_text(&text.context))
        });
        let law = Law::remembered(sources, &settings.policy_context());
        let limits = book.ledger().limits().map_or_else(
            || settings.limits.clone(),
            |limits| Limits {
                max_hourly_rate: limits.max_hourly_rate,
                balance_floor: limits.balance_floor,
                mode: limits.mode,
                accounts: limits.accounts.clone(),
            },
        );
        let (sender, events) = mpsc::channel(events::EVENTS_MAX);
        let (status, watcher) = watch::channel(Arc::new(Status {
            at: None,
            started_at: now,
            ticks: 0,
            decision: None,
            mode: settings.limits.mode,
            scan_interval: settings.scan_interval,
            situation: None,
            plan: None,
            fleets: BTreeMap::new(),
            markets: BTreeMap::new(),
            accounts: BTreeMap::new(),
            settings_faults: Vec::new(),
            troubles: Vec::new(),
        }));
        let waiting = Waiting::default();
        let stopping = CancellationToken::new();
        let handle = Handle::new(sender, watcher, waiting.clone(), stopping.clone());
        let mut engine = Self {
            inventory: observe::nothing_seen(&clients, now),
            clients,
            law,
            limits,
            limits_held: None,
            evidence: Evidence::new(),
            lookouts: Arc::new(Lookouts::new()),
            kept_waiting: BTreeSet::new(),
            mute_about_offers: BTreeMap::new(),
            mute_about_vms: BTreeMap::new(),
            benched: BTreeMap::new(),
            fleets: BTreeMap::new(),
            complete: BTreeMap::new(),
            foreign: BTreeMap::new(),
            situation: None,
            plan: None,
            started_at: now,
            broken_off: false,
            heeds_levers: false,
            looked_at: Clocks { wall: now, monotonic: clock.monotonic() },
            ticks: 0,
            decision: None,
            blocks: BTreeMap::new(),
            settings_faults: Vec::new(),
            troubles: Vec::new(),
            status,
            settings_in_force: watch::Sender::new(Arc::new(settings.clone())),
            waiting,
            stopping,
            settings,
            role,
            clock,
            entropy,
            files,
            metrics,
            book: Arc::new(Mutex::new(book)),
            reread,
            connect,
            recorder,
            tick_time_max,
        };
        engine.read_policies().await;
        let invariants: Vec<&str> = Invariant::ALL.iter().map(|invariant| invariant.as_str()).collect();
        engine.metrics.know_invariants(&invariants);
        engine.know();
        (engine, events, handle)
    }

    /// The settings in force, for those who work beside the engine: a reload may change them.
    pub fn settings_in_force(&self) -> watch::Receiver<Arc<Settings>> {
        self.settings_in_force.subscribe()
    }

    /// Journal and ledger, for whoever holds the one against the other.
    pub fn journal(&self) -> Arc<Mutex<Journal>> {
        Arc::clone(&self.book)
    }

    /// `Observe` when it is over every policy's own: at once when the settings say so, and until they are in force when they
    /// say so no longer.
    fn mode(&self) -> Mode {
        match (self.role, self.settings.limits.mode) {
            (Role::ObserveOnly, _) | (_, Mode::Observe) => Mode::Observe,
            (Role::EvacuateOnly, Mode::Act) => Mode::Act,
            (Role::AsConfigured | Role::LookOnly, Mode::Act) => self.limits.mode,
        }
    }

    /// `[limits]` in force, with the mode that counts.
    fn limits(&self) -> Limits {
        Limits { mode: self.mode(), ..self.limits.clone() }
    }

    /// Runs until it is told to stop. What is under way then is finished or stays journalled as in doubt; VMs keep running.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut cause = Cause::Startup;
        loop {
            let began = self.clock.monotonic();
            let finished = self.tick(cause).await;
            if self.stopping.is_cancelled() {
                return;
            }
            let mut rest = Duration::ZERO;
            if finished {
                let again_within = self.settings.scan_interval.saturating_add(TICK_LASTS_MAX);
                systemd::tell(&systemd::Notice::Alive { again_within });
                systemd::tell(&systemd::Notice::Status(self.summary()));
                if cause == Cause::Startup {
                    systemd::tell(&systemd::Notice::Ready);
                }
                rest = self.settings.scan_interval.saturating_sub(self.clock.monotonic().saturating_sub(began));
            }
            let rest = rest.max(self.clock.of_real(TICKS_APART_MIN));
            let lookouts = Arc::clone(&self.lookouts);
            match lookouts.beside(self.rest(&mut events, rest)).await {
                Some(next) => cause = next,
                None => return,
            }
        }
    }

    /// Waits for the next tick, doing what happens meanwhile; `None` when it is time to stop.
    async fn rest(&mut self, events: &mut mpsc::Receiver<Event>, rest: Duration) -> Option<Cause> {
        let mut due = self.clock.sleep(rest);
        let mut cause = None;
        for _ in 0..=events::EVENTS_MAX {
            if self.waiting.take_reload() {
                self.reload().await;
                cause = Some(Cause::Reload);
            }
            // All that waits is done before the next tick, so that levers moved together take effect together.
            let event = match cause {
                Some(cause) => match events.try_recv() {
                    Ok(event) => event,
                    Err(_) => return Some(cause),
                },
                None => tokio::select! {
                    biased;
                    event = events.recv() => event?,
                    () = &mut due => return Some(Cause::Schedule),
                },
            };
            match event {
                Event::Stop => return None,
                Event::Wake(why) => cause = Some(why),
                Event::Lever(lever, reply) => {
                    self.waiting.end();
                    let answer = self.pull(lever).await;
                    if answer.is_ok() {
                        self.show_levers().await;
                        cause = Some(Cause::Operator);
                    }
                    let _ = reply.send(answer);
                }
                Event::Housekeeping => self.keep_house().await,
            }
            if self.stopping.is_cancelled() {
                return None;
            }
        }
        // What still waits has to wait for a tick.
        Some(cause.unwrap_or(Cause::Schedule))
    }

    /// Prunes what only told a story and is old.
    async fn keep_house(&mut self) {
        let now = self.clock.now();
        match self.recorder.as_mut().map_or(Ok(0), |recorder| recorder.prune(now)) {
            Ok(rows) => tracing::info!(rows, "pruned the recording"),
            Err(error) => tracing::warn!(%error, "the recording was not pruned"),
        }
        let before = crate::model::time::before(now, HISTORY_KEPT);
        match self.book.lock().await.prune(before) {
            Ok(rows) => tracing::info!(rows, "pruned the history"),
            Err(error) => tracing::warn!(%error, "the history was not pruned"),
        }
    }

    /// One line for `systemctl status`.
    fn summary(&self) -> String {
        let fleets = self.plan.iter().flat_map(|plan| &plan.report);
        let parts: Vec<String> = fleets
            .map(|(name, report)| {
                format!("{name} {}/{} GPUs {} USD/h", report.running_gpus, report.target_gpus, report.rate_now)
            })
            .collect();
        match parts.is_empty() {
            true => "no fleet yet".into(),
            false => parts.join(" · "),
        }
    }

    fn patience(&self) -> Patience {
        Patience { settle_grace: self.settings.settle_grace, late_window: self.settings.late_window }
    }

    /// Tells the metrics which fleets and marketplaces there are.
    fn know(&self) {
        let fleets = self.law.statutes.keys().chain(self.fleets.keys()).cloned().collect();
        let marketplaces = self.clients.keys().cloned().collect();
        self.metrics.know(&fleets, &marketplaces);
    }
}

/// Decisions, events and old totals are kept so long.
const HISTORY_KEPT: Duration = Duration::from_secs(90 * 86_400);
/// In the daemon, a tick takes no longer than about this: the world must be looked at again.
pub const TICK_TIME_MAX: Duration = Duration::from_secs(90);
/// No tick lasts longer than this unless something is stuck: a look at the slowest pace, asking by id, and the write that is
/// under way when the tick's time is over.
pub const TICK_LASTS_MAX: Duration = Duration::from_secs(540);
/// Real time between two ticks at least, however short the scan interval and however long a tick took.
const TICKS_APART_MIN: Duration = Duration::from_millis(20);
