//! A whole daemon's engine on a simulated market, in one process and in virtual time.
//!
//! ```text
//! Folder ─ policies ─┐                       ┌─ Doors ─ weather ─ Market ─ World
//! settings ──────────┼─ Engine ─ Wall clock ─┤
//! Disk ─── journal ──┘     │                 └─ true time: VirtualClock
//!   └─ Power ──────────────┘  (may go at any append or request)
//! ```
//!
//! A [`Stage`] has the market on one side and the engine on the other, and nothing between them but the doors. Each
//! [`Stage::tick`] lets one scan interval pass, ticks the engine, and then asks the worlds themselves whether everything that
//! must be true is ([`super::check`]). Whoever directs moves levers, edits files, breaks answers, sets the clock and pulls the
//! plug in between. The stage judges nothing by itself: what it finds is returned.

use super::{
    check::{self, Breach, Moved, OnDisk, Paper, Promise, Sighted, WallClock, Watch},
    clock::VirtualClock,
    doors::{Doors, InProcess, Weather},
    folder::Folder,
    marketplace::Market,
    power::{Disk, Power, SeededEntropy},
    seed::Seed,
    wall::Wall,
    world::World,
};
use crate::{
    engine::{
        Cause, Engine, Event, Handle, Lever, LeverError, Parts, Role, Status, TICK_TIME_MAX, export::export, law,
        recording::Recorder,
    },
    io::{
        clock::Clock,
        entropy::Entropy,
        files::Files,
        store::{Query, Store},
    },
    ledger::{Journal, Period},
    market::{
        self,
        client::{Client, Pacer, Unobserved},
    },
    metrics::Metrics,
    model::{AccountName, InstanceId, MarketplaceName},
    settings::{self, MarketplaceSettings, Settings, Vendor},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc::Receiver;

/// A wall clock that is off by no more is right, as far as days are concerned.
const WALL_OFF_MAX: Duration = Duration::from_secs(60);

/// Machines that were listed longer ago than so many scan intervals, and than this, are none to rent on.
const STALE_AFTER_SCANS: u32 = 3;
const STALE_AFTER_MIN: Duration = Duration::from_secs(90);

/// What a stage is set with.
#[derive(Debug)]
pub struct Scenery<'a> {
    /// True time, at the opening.
    pub clock: VirtualClock,
    /// To which every marketplace leads that has none of its own in `doors`.
    pub market: Market,
    /// Marketplaces with a market of their own.
    pub elsewhere: BTreeMap<MarketplaceName, Market>,
    /// `spotscale.toml`. It reads `KEY`, `TOKEN` and `OLD_TOKEN` of an environment that says `k`, `t` and `o`; its policies
    /// lie in [`super::folder::POLICIES`].
    pub settings: &'a str,
    /// Whether anything is ever changed.
    pub role: Role,
    /// Names of files, without `.toml`, and texts.
    pub policies: &'a [(&'a str, &'a str)],
    /// Of passwords and of the journal's epoch.
    pub seed: Seed,
}

/// An engine, and what it is told through.
struct Daemon {
    engine: Engine,
    handle: Handle,
    /// What comes through the handle, for whoever runs it.
    events: Receiver<Event>,
    metrics: Arc<Metrics>,
}

/// How a tick ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticked {
    /// It came to its end.
    Whole,
    /// The power went. The daemon is gone until [`Stage::restart`].
    PowerCut,
}

/// The engine on its market.
pub struct Stage {
    /// True time.
    pub clock: VirtualClock,
    /// The daemon's idea of it.
    pub wall: Wall,
    /// The journal's disk, and with it the power supply.
    pub disk: Arc<Disk>,
    /// What must be true.
    pub watch: Watch,
    /// The way to the markets.
    pub doors: Doors,
    market: Arc<Mutex<Market>>,
    folder: Arc<Folder>,
    settings: Arc<Mutex<Settings>>,
    /// Where what the daemon sees is recorded, if it is.
    recording: Option<Arc<dyn Store>>,
    role: Role,
    seed: Seed,
    processes: u32,
    /// What the journal on disk says.
    paper: Paper,
    ticks: u64,
    daemon: Daemon,
    /// What was found and not yet told.
    found: Vec<Breach>,
    /// How many VMs of each world had ended at the last look.
    ended: BTreeMap<(String, Vendor), usize>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Settings as checked.
///
/// # Errors
/// With every fault, a line each.
pub fn settings(text: &str) -> Result<Settings, String> {
    let environment = [("KEY", "k"), ("TOKEN", "t"), ("OLD_TOKEN", "o")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let checked = settings::check(Path::new("/spotscale.toml"), text, &environment, &mut |path| {
        Err(format!("no file {}", path.display()))
    });
    let faults: Vec<String> = checked.faults.iter().chain(&checked.unresolved).map(ToString::to_string).collect();
    match checked.complete() {
        Some(settings) if faults.is_empty() => Ok(settings),
        Some(_) | None => Err(faults.join("\n")),
    }
}

impl Stage {
    /// Sets the stage; nothing has been asked or changed yet.
    ///
    /// # Errors
    /// When the settings do not hold together.
    pub async fn new(scenery: Scenery<'_>) -> Result<Self, String> {
        let settings = settings(scenery.settings)?;
        Self::under(settings, scenery).await
    }

    /// Likewise, under settings that somebody else read, whatever the text of the scenery says.
    ///
    /// # Errors
    /// When no journal can be begun.
    pub async fn under(settings: Settings, scenery: Scenery<'_>) -> Result<Self, String> {
        let Scenery { clock, market, elsewhere, settings: _, role, policies, seed } = scenery;
        let settings = Arc::new(Mutex::new(settings));
        let doors = Doors::to(elsewhere);
        let market = Arc::new(Mutex::new(market));
        let folder = Arc::new(Folder::of(policies.iter().copied()));
        let disk = Arc::new(Disk::new(Power::default()));
        let wall = Wall::of(clock.clone());
        let making = Making {
            settings: &settings,
            role,
            wall: &wall,
            market: &market,
            doors: &doors,
            disk: &disk,
            folder: &folder,
            recording: None,
            entropy: SeededEntropy::of(seed, 1),
        };
        let daemon = making.daemon().await?;
        let watch = Watch::default();
        let (processes, ticks, found) = (1, 0, Vec::new());
        let paper = Paper::of(&disk.reopened(Power::default()), clock.now());
        let mut stage = Self {
            clock,
            wall,
            disk,
            watch,
            doors,
            market,
            folder,
            settings,
            recording: None,
            role,
            seed,
            processes,
            paper,
            ticks,
            daemon,
            found,
            ended: BTreeMap::new(),
        };
        stage.texts_are_read();
        Ok(stage)
    }

    /// Lets the engine run by itself. What is left to hold is the market, the door, and what runs it to its end.
    pub fn run(self) -> (Arc<Mutex<Market>>, Handle, impl Future<Output = ()> + Send + 'static) {
        let Daemon { engine, handle, events, metrics: _ } = self.daemon;
        (self.market, handle, engine.run(events))
    }

    /// The power goes and comes back: what was durable is there again, and nothing else.
    ///
    /// # Errors
    /// When the journal does not open.
    pub async fn restart(&mut self) -> Result<(), String> {
        self.paper.begin(&self.disk.reopened(Power::default()), self.clock.now());
        self.start_on(self.disk.reopened(Power::default())).await
    }

    /// Likewise, and from then on what the daemon sees is recorded there, on a disk that never fails by itself.
    ///
    /// # Errors
    /// When the journal or the recording does not open.
    pub async fn restart_recording(&mut self, store: Arc<dyn Store>) -> Result<(), String> {
        self.recording = Some(store);
        self.restart().await
    }

    /// The power goes and comes back, and the journal is gone.
    ///
    /// # Errors
    /// When no journal can be begun.
    pub async fn lose_journal(&mut self) -> Result<(), String> {
        let disk = Disk::new(Power::default());
        self.paper = Paper::instead(&disk, self.clock.now());
        self.watch.forget_levers();
        self.start_on(disk).await
    }

    /// The power goes and comes back, and the journal is another one: an older copy of it, say.
    ///
    /// # Errors
    /// When the journal does not open.
    pub async fn restore(&mut self, copy: Disk) -> Result<(), String> {
        self.paper = Paper::instead(&copy, self.clock.now());
        self.watch.forget_levers();
        self.start_on(copy).await
    }

    async fn start_on(&mut self, disk: Disk) -> Result<(), String> {
        self.disk = Arc::new(disk);
        self.processes = self.processes.saturating_add(1);
        let making = Making {
            settings: &self.settings,
            role: self.role,
            wall: &self.wall,
            market: &self.market,
            doors: &self.doors,
            disk: &self.disk,
            folder: &self.folder,
            recording: self.recording.clone(),
            entropy: SeededEntropy::of(self.seed, self.processes),
        };
        self.daemon = making.daemon().await?;
        self.texts_are_read();
        Ok(())
    }

    /// What stands on disk now is what the daemon knows of it.
    fn texts_are_read(&mut self) {
        let settings = self.settings();
        let read = law::read_folder(&*self.folder, &settings.policies, &settings.policy_context());
        let limits = settings.limits.clone();
        drop(settings);
        if let Ok(law::Folder { texts, unread: _ }) = read {
            self.watch.read(OnDisk::new(texts, limits));
        }
    }

    /// One scan interval goes by, and a tick. What it did to the worlds is not looked at yet: [`Stage::breaches`] does.
    pub async fn tick(&mut self) -> Ticked {
        let interval = self.settings().scan_interval;
        let midnight = Period::Day.ends(self.clock.now());
        self.clock.pass(interval);
        self.deliver();
        if midnight <= self.clock.now() {
            self.markets().for_each(|(_, market)| held(market).advance(midnight));
            let sighted = self.sighted();
            self.found.extend(self.watch.midnight(midnight, &sighted));
        }
        self.ticks += 1;
        let power = self.disk.power().clone();
        let engine = &mut self.daemon.engine;
        let ticking = async {
            tokio::select! {
                biased;
                () = power.gone() => Ticked::PowerCut,
                _ = engine.tick(Cause::Schedule) => Ticked::Whole,
            }
        };
        // A task's turn ends after so many awaits, which in virtual time would look like waiting.
        let ticked = tokio::task::unconstrained(self.clock.run(ticking)).await;
        if power.is_off() { Ticked::PowerCut } else { ticked }
    }

    /// Every VM that is, or was, in any world.
    fn there(&self) -> BTreeSet<(String, InstanceId)> {
        let sighted = self.sighted().into_iter();
        sighted.flat_map(|one| one.truth.vms.into_iter().map(move |vm| (one.world.clone(), vm.id))).collect()
    }

    /// What was under way without its sender arrives.
    fn deliver(&mut self) {
        let now = self.clock.monotonic();
        if !self.doors.is_due(now) {
            return;
        }
        let before = self.there();
        self.doors.deliver(now);
        let after = self.there();
        self.watch.belated.extend(after.difference(&before).cloned());
    }

    /// What does not hold now, by the worlds' own truth, and what was found since it was last asked.
    pub fn breaches(&mut self) -> Vec<Breach> {
        let (status, sighted) = (self.status(), self.sighted_since(&self.ended));
        let off = self.wall.off_by().unsigned_abs();
        self.watch.wall_clock = if off <= WALL_OFF_MAX { WallClock::Right } else { WallClock::Wrong };
        let mut found = std::mem::take(&mut self.found);
        found.extend(self.worlds(check::impossible).into_values().flatten());
        let (settle_grace, scan_interval) = {
            let settings = self.settings();
            (settings.settle_grace, settings.scan_interval)
        };
        self.paper.settle_grace = settle_grace;
        self.paper.stale_after = scan_interval.saturating_mul(STALE_AFTER_SCANS).max(STALE_AFTER_MIN);
        // A disk whose power went does not answer; what is on it does.
        self.paper.read_on(&self.disk.reopened(Power::default()));
        found.extend(self.watch.look(&status, &sighted, &self.paper));
        // Before a process has seen anything there is nothing to hold its deeds against: they wait for the next look.
        if status.situation.is_some() {
            self.ended = self.worlds(|world| world.ended());
            self.paper.looked();
        }
        let refused = status.troubles.iter().filter(|trouble| trouble.starts_with("refused a planned action"));
        found.extend(refused.map(|trouble| Breach { promise: Promise::OwnChecker, detail: trouble.clone() }));
        found
    }

    /// What does not hold of the mind, which plans the newest situation anew. Dear to ask: whoever directs says when.
    pub fn second_thoughts(&self) -> Vec<Breach> {
        self.status().situation.as_deref().into_iter().flat_map(check::think_again).collect()
    }

    /// What does not hold of the journal, all of which is read. Dearer still.
    pub async fn replays(&self) -> Vec<Breach> {
        let journal = self.daemon.engine.journal();
        // A disk whose power went does not answer; what is on it does.
        let disk = self.disk.reopened(Power::default());
        check::replays(&disk, journal.lock().await.ledger())
    }

    /// The newest rows of the journal, a line each, oldest first.
    pub fn newest_rows(&self, rows_max: usize) -> Vec<String> {
        let disk = self.disk.reopened(Power::default());
        let mut rows = disk.search(&Query::default(), rows_max).unwrap_or_default();
        rows.reverse();
        rows.into_iter().map(|row| format!("record {}: {}", row.sequence, row.body)).collect()
    }

    /// Where memory and world differ, or what is still in doubt; `None` when all is settled.
    pub fn disagreement(&self) -> Option<String> {
        check::disagreement(&self.status(), &self.sighted(), &self.paper)
    }

    /// Ticks so far, in all processes.
    pub const fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Processes so far.
    pub const fn processes(&self) -> u32 {
        self.processes
    }

    /// What an operator would read.
    pub fn status(&self) -> Arc<Status> {
        self.daemon.handle.status()
    }

    /// Counters and gauges of the present process, as whoever asks for them is told.
    pub fn metrics(&self) -> &Metrics {
        export(&self.daemon.metrics, &self.status(), self.wall.now());
        &self.daemon.metrics
    }

    /// The market to which all marketplaces lead that have none of their own.
    pub fn market(&self) -> MutexGuard<'_, Market> {
        held(&self.market)
    }

    /// The settings file as it is.
    pub fn settings(&self) -> MutexGuard<'_, Settings> {
        held(&self.settings)
    }

    /// The policies as files.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// `spotscale.toml` is edited, and nobody has noticed yet.
    ///
    /// # Errors
    /// With every fault of the text.
    pub fn edit_settings(&self, text: &str) -> Result<(), String> {
        *self.settings() = settings(text)?;
        Ok(())
    }

    /// A lever is pulled; the tick that follows is the caller's. `None` when the power went meanwhile.
    pub async fn pull(&mut self, lever: Lever) -> Option<Result<String, LeverError>> {
        let (told, now) = (lever.clone(), self.wall.now());
        let power = self.disk.power().clone();
        let engine = &mut self.daemon.engine;
        let pulling = async {
            tokio::select! {
                biased;
                () = power.gone() => None,
                pulled = engine.pull(lever) => Some(pulled),
            }
        };
        let pulled = tokio::task::unconstrained(self.clock.run(pulling)).await;
        let pulled = if power.is_off() { None } else { pulled };
        let moved = match &pulled {
            Some(Ok(_)) => Moved::Yes,
            Some(Err(LeverError::NotFound(_) | LeverError::Refused(_))) => Moved::No,
            Some(Err(LeverError::Failed(_))) | None => Moved::Perhaps,
        };
        self.watch.pulled(&told, moved, now, &self.status());
        if told == Lever::Reload && moved == Moved::Yes {
            self.texts_are_read();
        }
        pulled
    }

    /// The journal on disk, as far as it was read.
    pub const fn paper(&self) -> &Paper {
        &self.paper
    }

    /// From now on it is so at a marketplace's door; `None`: all is well.
    pub fn weather(&self, marketplace: MarketplaceName, weather: Option<Weather>) {
        self.doors.turn(marketplace, weather);
    }

    /// Every market there is: the one, named with nothing, and those that some marketplaces have of their own.
    pub fn markets(&self) -> impl Iterator<Item = (&str, &Arc<Mutex<Market>>)> {
        let others = self.doors.elsewhere.iter().map(|(name, market)| (name.as_str(), market));
        others.chain([("", &self.market)])
    }

    /// Something of every world, by market and vendor.
    fn worlds<T>(&self, of: impl Fn(&World) -> T) -> BTreeMap<(String, Vendor), T> {
        let mut all = BTreeMap::new();
        for (name, market) in self.markets() {
            let market = held(market);
            let elsewhere = market.elsewhere.iter().map(|(vendor, world)| (*vendor, world));
            for (vendor, world) in elsewhere.chain([(Vendor::Tensordock, &market.world)]) {
                all.insert((name.to_owned(), vendor), of(world));
            }
        }
        all
    }

    /// Every world, as it truly is.
    pub fn sighted(&self) -> Vec<Sighted> {
        self.sighted_since(&BTreeMap::new())
    }

    /// Likewise, without those VMs that had ended by then.
    fn sighted_since(&self, ended: &BTreeMap<(String, Vendor), usize>) -> Vec<Sighted> {
        let settings = self.settings();
        let mut sighted = Vec::new();
        for (market_name, market) in self.markets() {
            let market = held(market);
            let elsewhere = market.elsewhere.iter().map(|(vendor, world)| (*vendor, world));
            for (vendor, world) in elsewhere.chain([(Vendor::Tensordock, &market.world)]) {
                let leads_here = |(name, marketplace): &(&MarketplaceName, &MarketplaceSettings)| {
                    let behind = self.doors.elsewhere.get_key_value(*name).map_or("", |(name, _)| name.as_str());
                    marketplace.api.vendor() == vendor && behind == market_name
                };
                let here = || settings.marketplaces.iter().filter(leads_here);
                let account = here().next().map(|(_, found)| found.account.clone());
                let marketplaces = here().map(|(name, found)| (name.clone(), found.api)).collect();
                let on_its_way = here().map(|(name, _)| self.doors.delay(name)).max().unwrap_or_default();
                let ended = ended.get(&(market_name.to_owned(), vendor)).copied().unwrap_or(0);
                sighted.push(Sighted {
                    world: format!("{market_name} {vendor:?}"),
                    vendor,
                    account,
                    marketplaces,
                    truth: world.truth_since(ended),
                    lists: market.listings(vendor),
                    machines: market.machines(vendor),
                    accepted: market.accepted(vendor),
                    came_late: market.came_late(vendor),
                    on_its_way,
                });
            }
        }
        sighted
    }
}

/// What a daemon is made of.
struct Making<'a> {
    settings: &'a Arc<Mutex<Settings>>,
    role: Role,
    wall: &'a Wall,
    market: &'a Arc<Mutex<Market>>,
    doors: &'a Doors,
    disk: &'a Arc<Disk>,
    folder: &'a Arc<Folder>,
    recording: Option<Arc<dyn Store>>,
    entropy: SeededEntropy,
}

impl Making<'_> {
    async fn daemon(self) -> Result<Daemon, String> {
        let Self { settings, role, wall, market, doors, disk, folder, recording, entropy } = self;
        let entropy: Arc<dyn Entropy> = Arc::new(entropy);
        let store = Arc::clone(disk) as Arc<dyn Store>;
        let (now, power) = (wall.now(), disk.power().clone());
        // The markets live by true time, whatever the daemon's clock says.
        let inner = InProcess { market: Arc::clone(market), clock: Arc::new(wall.true_time().clone()) };
        let (doors, pacers) = (doors.clone(), Mutex::new(BTreeMap::<AccountName, Arc<Pacer>>::new()));
        let ticking: Arc<dyn Clock> = Arc::new(wall.clone());
        let connected = Arc::clone(&ticking);
        let (on_disk, first) = (Arc::clone(settings), held(settings).clone());
        let metrics = Arc::new(Metrics::new("rehearsal", now));
        let book = Journal::open(store, now, &*entropy, &first.instance_prefix).map_err(|error| error.to_string())?;
        let recorder = recording.map(Recorder::open).transpose().map_err(|error| error.to_string())?;
        let parts = Parts {
            role,
            recorder,
            clock: ticking,
            entropy,
            files: Arc::clone(folder) as Arc<dyn Files>,
            metrics: Arc::clone(&metrics),
            book,
            reread: Box::new(move || Ok(held(&on_disk).clone())),
            connect: Box::new(move |settings| {
                let client = |(name, market): (&MarketplaceName, &MarketplaceSettings)| {
                    let dialect = market::dialect(market.api, market.key.clone(), market.token.clone());
                    let behind = doors.elsewhere.get(name).unwrap_or(&inner.market);
                    let inner = InProcess { market: Arc::clone(behind), clock: Arc::clone(&inner.clock) };
                    let net = Arc::new(doors.of(name.clone(), inner, power.clone()));
                    let (clock, pace) = (Arc::clone(&connected), market.requests_per_second_milli);
                    let pacer = Arc::clone(held(&pacers).entry(market.account.clone()).or_default());
                    let client = Client::new(name.clone(), dialect, net, clock, pace, Arc::new(Unobserved));
                    (name.clone(), (market.account.clone(), Arc::new(client.paced_by(pacer))))
                };
                settings.marketplaces.iter().map(client).collect()
            }),
            tick_time_max: TICK_TIME_MAX,
            settings: first,
        };
        let (engine, events, handle) = Engine::new(parts).await;
        Ok(Daemon { engine, handle, events, metrics })
    }
}
