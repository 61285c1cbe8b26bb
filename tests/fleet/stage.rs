//! A whole daemon's engine on a simulated marketplace, in one process and in virtual time.
//!
//! A [`Stage`] has the market on one side and the engine on the other, and nothing between them but the doors. Each
//! [`Stage::tick`] lets one scan interval pass, ticks the engine, and then asks the worlds themselves whether everything
//! that must be true is ([`super::truth`]). A test moves levers, edits files, breaks answers and pulls the plug in between.

use super::truth::{Sighted, Watch};
use spotscale::{
    engine::{Cause, Engine, Event, Handle, Lever, LeverError, Parts, Role, Status, recording::Recorder},
    io::{
        Awaited,
        clock::Clock,
        entropy::Entropy,
        files::Files,
        net::{Net, NetError, Request, Response},
        store::{MemoryStore, NewRow, Query, Row, Store, StoreError, memory::Mishap},
    },
    ledger::{Journal, Period, Standing, fleet::Member},
    market::{
        self, WorldOrder,
        client::{Client, Pacer, Unobserved},
    },
    metrics::Metrics,
    model::{AccountName, FleetName, InstanceId, MarketplaceName, PriceType, Refusal, Shape, Timestamp},
    plan::{Action, FleetReport},
    settings::{self, MarketplaceSettings, Settings, Vendor},
    sim::{
        Call, Ended, Fault, Faults, InProcess, Market, Origin, Temper, Vm, World, WorldOptions,
        catalogue::{self, Machine},
        clock::VirtualClock,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc::Receiver;

/// What a read is asked at most before it counts as failed (`market::client`).
const READ_ATTEMPTS: usize = 3;

/// Settings of one marketplace whose pace costs nothing.
pub const SETTINGS: &str = r#"
policies = "/policies"
[limits]
max_hourly_rate = 40.00
[marketplaces.tensordock]
api = "tensordock-v0"
key = { env = "KEY" }
token = { env = "TOKEN" }
requests_per_second = 100
"#;

/// When every world begins.
pub fn opening() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

/// The machines of the catalogue that have one of these models.
pub fn machines_with(models: &[&str]) -> Vec<Machine> {
    let has = |machine: &Machine| machine.gpus.keys().any(|model| models.contains(&model.as_str()));
    catalogue::machines().into_iter().filter(has).map(with_few_ports).collect()
}

/// Every tick reads them all, so a short list is a fast test.
pub fn with_few_ports(mut machine: Machine) -> Machine {
    machine.ports.truncate(10);
    machine
}

/// A market on which nothing moves by itself: the machines that [`super::TRAIN`] may rent on, and some of another model.
pub fn still(balance: &str) -> World {
    of_machines(
        balance,
        &machines_with(&["rtxa6000-pcie-48gb", "v100-sxm2-16gb", "l40-pcie-48gb", "rtxa4000-pcie-16gb"]),
    )
}

/// A market on which nothing moves by itself, of these machines.
pub fn of_machines(balance: &str, machines: &[Machine]) -> World {
    let options = WorldOptions { temper: Temper::Still, ..WorldOptions::lifelike(balance.parse().unwrap()) };
    World::with_machines(1, opening(), options, machines)
}

/// A market around this world that speaks every dialect and answers as it should.
pub fn of_all(world: World) -> Market {
    Market::of_all_dialects(world, Faults::none(), Some("k"), Some("t"))
}

/// Policies that exist only here.
#[derive(Default)]
struct Folder(Mutex<BTreeMap<PathBuf, String>>);

impl Files for Folder {
    fn read(&self, path: &Path) -> Result<String, String> {
        self.0.lock().unwrap().get(path).cloned().ok_or_else(|| format!("cannot open {}: no such file", path.display()))
    }

    fn policies(&self, folder: &Path) -> Result<Vec<PathBuf>, String> {
        Ok(self.0.lock().unwrap().keys().filter(|path| path.starts_with(folder)).cloned().collect())
    }
}

/// Counts up, from elsewhere in every process: nothing here must be hard to guess, and no journal be named like another.
struct Counting(Mutex<u8>);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        let mut next = self.0.lock().unwrap();
        for byte in buffer {
            *next = next.wrapping_add(7);
            *byte = *next;
        }
    }
}

/// A disk whose power can go at a chosen append.
pub struct Disk {
    store: MemoryStore,
    /// Of which process this is the disk.
    life: u8,
    appends: AtomicUsize,
    failing: Mutex<Option<(usize, Mishap)>>,
}

impl Disk {
    fn on(store: MemoryStore, life: u8) -> Arc<Self> {
        Arc::new(Self { store, life, appends: AtomicUsize::new(0), failing: Mutex::new(None) })
    }

    /// This append of the present process, counted from 1, meets with this.
    pub fn fail_at(&self, append: usize, mishap: Mishap) {
        *self.failing.lock().unwrap() = Some((append, mishap));
    }

    /// How many appends there were since the process began.
    pub fn appends(&self) -> usize {
        self.appends.load(Ordering::Relaxed)
    }
}

impl Store for Disk {
    fn append(&self, rows: &[NewRow]) -> Result<u64, StoreError> {
        let append = self.appends.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some((_, mishap)) = self.failing.lock().unwrap().take_if(|(at, _)| *at <= append) {
            self.store.meet(mishap);
        }
        self.store.append(rows)
    }

    fn read(&self, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        self.store.read(from, rows_max)
    }

    fn search(&self, query: &Query, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        self.store.search(query, rows_max)
    }

    fn prune(&self, kinds: &[&str], before_ms: i64) -> Result<u64, StoreError> {
        self.store.prune(kinds, before_ms)
    }
}

/// What it is like at a marketplace's door, whatever stands behind it.
#[derive(Clone, Debug)]
pub enum Weather {
    /// Every request is answered so.
    Says(Response),
    /// No request is ever answered.
    Hangs,
    /// No request is ever answered whose path has this in it.
    HangsOn(&'static str),
    /// Every answer takes so long.
    Slow(Duration),
}

/// Marketplaces with a market of their own, and what it is like there.
#[derive(Clone, Default)]
pub struct Doors {
    /// All others are doors to the stage's one market.
    pub elsewhere: BTreeMap<MarketplaceName, Arc<Mutex<Market>>>,
    weather: Arc<Mutex<BTreeMap<MarketplaceName, Weather>>>,
    /// What was sent to which, and how it was asked for.
    sent: Arc<Mutex<Vec<(MarketplaceName, Duration, String)>>>,
}

/// The door of one marketplace.
struct Door {
    name: MarketplaceName,
    doors: Doors,
    inner: InProcess,
}

impl Net for Door {
    fn send(&self, request: Request, deadline: Duration) -> Awaited<'_, Result<Response, NetError>> {
        let weather = self.doors.weather.lock().unwrap().get(&self.name).cloned();
        let sent = (self.name.clone(), self.inner.clock.monotonic(), request.path.clone());
        self.doors.sent.lock().unwrap().push(sent);
        match weather {
            None => self.inner.send(request, deadline),
            Some(Weather::Says(response)) => Box::pin(std::future::ready(Ok(response))),
            Some(Weather::Slow(delay)) => Box::pin(async move {
                self.inner.clock.sleep(delay).await;
                self.inner.send(request, deadline).await
            }),
            Some(Weather::HangsOn(part)) if !request.path.contains(part) => self.inner.send(request, deadline),
            Some(Weather::Hangs | Weather::HangsOn(_)) => Box::pin(async move {
                self.inner.clock.sleep(deadline).await;
                Err(NetError::Lost("timed out".to_owned()))
            }),
        }
    }
}

/// An engine, and what it is told through.
struct Daemon {
    engine: Engine,
    handle: Handle,
    /// What comes through the handle, for whoever runs it.
    events: Receiver<Event>,
    metrics: Arc<Metrics>,
}

/// The engine on its market.
pub struct Stage {
    pub clock: VirtualClock,
    pub disk: Arc<Disk>,
    pub watch: Watch,
    market: Arc<Mutex<Market>>,
    doors: Doors,
    folder: Arc<Folder>,
    settings: Arc<Mutex<Settings>>,
    role: Role,
    /// Where what is seen is recorded, if it is.
    recording: Option<Arc<dyn Store>>,
    daemon: Daemon,
    /// Said when something does not hold.
    pub story: String,
    ticks: u32,
}

fn checked(text: &str) -> Settings {
    let environment = [("KEY", "k"), ("TOKEN", "t"), ("OLD_TOKEN", "o")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let checked = settings::check(Path::new("/spotscale.toml"), text, &environment, &mut |path| {
        Err(format!("no file {}", path.display()))
    });
    assert!(checked.faults.is_empty(), "{:?}", checked.faults);
    checked.complete().expect("complete settings")
}

async fn daemon(
    settings: &Arc<Mutex<Settings>>,
    role: Role,
    clock: &VirtualClock,
    (market, doors): (&Arc<Mutex<Market>>, &Doors),
    disk: &Arc<Disk>,
    folder: &Arc<Folder>,
    recording: Option<Arc<dyn Store>>,
) -> Daemon {
    let store = Arc::clone(disk) as Arc<dyn Store>;
    let entropy: Arc<dyn Entropy> = Arc::new(Counting(Mutex::new(disk.life)));
    let now = clock.now();
    let inner = InProcess { market: Arc::clone(market), clock: Arc::new(clock.clone()) };
    let (doors, pacers) = (doors.clone(), Mutex::new(BTreeMap::<AccountName, Arc<Pacer>>::new()));
    let ticking: Arc<dyn Clock> = Arc::new(clock.clone());
    let connected = Arc::clone(&ticking);
    let (on_disk, first) = (Arc::clone(settings), settings.lock().unwrap().clone());
    let metrics = Arc::new(Metrics::new("test", now));
    let parts = Parts {
        role,
        clock: ticking,
        entropy: Arc::clone(&entropy),
        files: Arc::clone(folder) as Arc<dyn Files>,
        metrics: Arc::clone(&metrics),
        book: Journal::open(store, now, &*entropy, &first.instance_prefix).expect("a journal"),
        reread: Box::new(move || Ok(on_disk.lock().unwrap().clone())),
        connect: Box::new(move |settings| {
            let clients = settings.marketplaces.iter().map(|(name, market)| {
                let dialect = market::dialect(market.api, market.key.clone(), market.token.clone());
                let behind = doors.elsewhere.get(name).unwrap_or(&inner.market);
                let inner = InProcess { market: Arc::clone(behind), clock: Arc::clone(&inner.clock) };
                let net = Arc::new(Door { name: name.clone(), doors: doors.clone(), inner });
                let (clock, pace) = (Arc::clone(&connected), market.requests_per_second_milli);
                let pacer = Arc::clone(pacers.lock().unwrap().entry(market.account.clone()).or_default());
                let client = Client::new(name.clone(), dialect, net, clock, pace, Arc::new(Unobserved));
                let client = client.paced_by(pacer);
                (name.clone(), (market.account.clone(), Arc::new(client)))
            });
            clients.collect()
        }),
        recorder: recording.map(|store| Recorder::open(store).expect("a recording")),
        tick_time_max: spotscale::engine::TICK_TIME_MAX,
        settings: first,
    };
    let (engine, events, handle) = Engine::new(parts).await;
    Daemon { engine, handle, events, metrics }
}

impl Stage {
    /// These policies on a still market, with plenty of money.
    pub async fn new(policies: &[(&str, &str)]) -> Self {
        Self::on(still("500"), policies).await
    }

    /// These policies in this world.
    pub async fn on(world: World, policies: &[(&str, &str)]) -> Self {
        Self::with(world, SETTINGS, Role::AsConfigured, policies).await
    }

    /// These policies in this world, under these settings, in this role.
    pub async fn with(world: World, text: &str, role: Role, policies: &[(&str, &str)]) -> Self {
        Self::behind(VirtualClock::at(opening()), Doors::default(), of_all(world), text, role, policies).await
    }

    /// Two marketplaces, `tensordock` in this world and `other` in another that is just like it, by a clock on which
    /// several can wait at the same time.
    pub async fn of_two(text: &str, policies: &[(&str, &str)]) -> Self {
        let clock = VirtualClock::patient(opening());
        let elsewhere = [("other".parse().unwrap(), Arc::new(Mutex::new(of_all(still("500")))))].into();
        let doors = Doors { elsewhere, ..Doors::default() };
        Self::behind(clock, doors, of_all(still("500")), text, Role::AsConfigured, policies).await
    }

    /// All marketplaces of these settings in one market, by a clock on which several can wait at the same time.
    pub async fn across(market: Market, text: &str, policies: &[(&str, &str)]) -> Self {
        let clock = VirtualClock::patient(opening());
        Self::behind(clock, Doors::default(), market, text, Role::AsConfigured, policies).await
    }

    async fn behind(
        clock: VirtualClock,
        doors: Doors,
        market: Market,
        text: &str,
        role: Role,
        policies: &[(&str, &str)],
    ) -> Self {
        let market = Arc::new(Mutex::new(market));
        let disk = Disk::on(MemoryStore::default(), 3);
        let folder = Arc::new(Folder::default());
        for (name, text) in policies {
            folder.0.lock().unwrap().insert(file(name), (*text).to_owned());
        }
        let settings = Arc::new(Mutex::new(checked(text)));
        let daemon = daemon(&settings, role, &clock, (&market, &doors), &disk, &folder, None).await;
        let (watch, story) = (Watch::default(), String::new());
        Self { clock, disk, watch, market, doors, folder, settings, role, recording: None, daemon, story, ticks: 0 }
    }

    /// Lets the engine run by itself. What is left to hold is the market, the door, and the engine's end.
    pub fn run(self) -> (Arc<Mutex<Market>>, spotscale::engine::Handle, tokio::task::JoinHandle<()>) {
        let Daemon { engine, handle, events, metrics: _ } = self.daemon;
        (self.market, handle, tokio::spawn(engine.run(events)))
    }

    /// The power goes and comes back: what was durable is there again, and nothing else.
    pub async fn restart(&mut self) {
        self.start_on(self.disk.store.reopen()).await;
    }

    /// Likewise, and from then on what is seen is recorded there.
    pub async fn restart_recording(&mut self, store: Arc<dyn Store>) {
        self.recording = Some(store);
        self.restart().await;
    }

    /// The power goes and comes back, and the journal is gone.
    pub async fn lose_journal(&mut self) {
        self.start_on(MemoryStore::default()).await;
    }

    async fn start_on(&mut self, store: MemoryStore) {
        self.disk = Disk::on(store, self.disk.life.wrapping_add(50));
        let (market, doors) = (&self.market, &self.doors);
        let recording = self.recording.clone();
        self.daemon =
            daemon(&self.settings, self.role, &self.clock, (market, doors), &self.disk, &self.folder, recording).await;
    }

    /// One scan interval goes by, and a tick; then everything must hold.
    pub async fn tick(&mut self) -> Arc<Status> {
        self.tick_unwatched().await;
        let status = self.status();
        assert_eq!(status.troubles, Vec::<String>::new(), "{} tick {}", self.story, self.ticks);
        self.holds();
        status
    }

    /// A tick that may have troubles to tell, its disk's for one.
    pub async fn tick_unwatched(&mut self) {
        let interval = self.settings.lock().unwrap().scan_interval;
        let midnight = Period::Day.ends(self.clock.now());
        self.clock.pass(interval);
        if midnight <= self.clock.now() {
            self.markets().for_each(|(_, market)| market.lock().unwrap().advance(midnight));
            let (story, sighted) = (self.story.clone(), self.sighted());
            self.watch.midnight(&story, midnight, &sighted);
        }
        self.ticks += 1;
        // A task's turn ends after so many awaits, which in virtual time would look like waiting.
        tokio::task::unconstrained(self.clock.run(self.daemon.engine.tick(Cause::Schedule))).await;
    }

    pub async fn ticks(&mut self, count: usize) -> Arc<Status> {
        for _ in 0..count {
            self.tick().await;
        }
        self.status()
    }

    /// Ticks until it is so: at least once, at most so often.
    pub async fn ticks_until(&mut self, most: usize, what: &str, is_so: impl Fn(&Self) -> bool) -> Arc<Status> {
        for _ in 0..most {
            let status = self.tick().await;
            if is_so(self) {
                return status;
            }
        }
        panic!("{} not within {most} ticks: {what}: {}", self.story, self.told());
    }

    /// Ticks for so long, by the clock.
    pub async fn pass(&mut self, duration: Duration) -> Arc<Status> {
        let until = self.clock.monotonic() + duration;
        while self.clock.monotonic() < until {
            self.tick().await;
        }
        self.status()
    }

    /// What an operator would read.
    pub fn status(&self) -> Arc<Status> {
        self.daemon.handle.status()
    }

    pub fn market(&self) -> MutexGuard<'_, Market> {
        self.market.lock().unwrap()
    }

    /// The next so many calls of that kind go wrong.
    pub fn break_next(&self, call: Call, fault: Fault, times: usize) {
        for _ in 0..times {
            self.market().faults.script(call, fault);
        }
    }

    /// The next read of that kind goes wrong, however often it is tried again.
    pub fn break_read(&self, call: Call, fault: Fault) {
        self.break_next(call, fault, READ_ATTEMPTS);
    }

    /// How often the market was called so.
    pub fn calls(&self, call: Call) -> u64 {
        self.market().handled().iter().filter(|((_, handled, _), _)| *handled == call).map(|(_, count)| count).sum()
    }

    /// How often the market was asked to change something.
    pub fn writes(&self) -> u64 {
        [Call::Deploy, Call::Terminate, Call::Start, Call::Stop, Call::Rebid].map(|call| self.calls(call)).iter().sum()
    }

    /// A policy file is written, and noticed.
    pub async fn write(&mut self, name: &str, text: &str) {
        self.write_unnoticed(name, text);
        self.reload().await;
    }

    /// A policy file is written while nobody looks.
    pub fn write_unnoticed(&self, name: &str, text: &str) {
        self.folder.0.lock().unwrap().insert(file(name), text.to_owned());
    }

    /// A policy file is removed, and that is noticed.
    pub async fn remove(&mut self, name: &str) {
        self.remove_unnoticed(name);
        self.reload().await;
    }

    /// A policy file is removed while nobody looks.
    pub fn remove_unnoticed(&self, name: &str) {
        self.folder.0.lock().unwrap().remove(&file(name));
    }

    /// `spotscale.toml` is edited, and that is noticed.
    pub async fn settle_for(&mut self, text: &str) {
        *self.settings.lock().unwrap() = checked(text);
        self.reload().await;
    }

    async fn reload(&mut self) {
        self.pull(Lever::Reload).await.expect("a reload is never refused");
    }

    /// A lever is pulled; the tick that follows is the caller's.
    pub async fn pull(&mut self, lever: Lever) -> Result<String, LeverError> {
        self.clock.run(self.daemon.engine.pull(lever)).await
    }

    /// From now on it is so at a marketplace's door; `None`: all is well.
    pub fn weather(&self, marketplace: &str, weather: Option<Weather>) {
        let (name, mut all) = (marketplace.parse().unwrap(), self.doors.weather.lock().unwrap());
        match weather {
            Some(weather) => drop(all.insert(name, weather)),
            None => drop(all.remove(&name)),
        }
    }

    /// When a marketplace was sent requests whose path ends so.
    pub fn sent(&self, marketplace: &str, path: &str) -> Vec<Duration> {
        let sent = self.doors.sent.lock().unwrap();
        let of_it = sent.iter().filter(|(name, _, to)| name.as_str() == marketplace && to.ends_with(path));
        of_it.map(|(_, at, _)| *at).collect()
    }

    /// The market of a marketplace that has one of its own.
    pub fn elsewhere(&self, marketplace: &str) -> MutexGuard<'_, Market> {
        self.doors.elsewhere[&marketplace.parse::<MarketplaceName>().unwrap()].lock().unwrap()
    }

    /// What must be true after every step, by the worlds' own truth.
    pub fn holds(&mut self) {
        let (status, sighted) = (self.status(), self.sighted());
        let story = format!("{} tick {}: {}", self.story, self.ticks, self.told());
        for (_, market) in self.markets() {
            let market = market.lock().unwrap();
            for world in market.elsewhere.values().chain([&market.world]) {
                assert_eq!(world.impossible(), Vec::<String>::new(), "{story}");
            }
        }
        self.watch.look(&story, &status, &sighted);
    }

    /// Every market there is: the one, and those that some marketplaces have of their own.
    fn markets(&self) -> impl Iterator<Item = (&str, &Arc<Mutex<Market>>)> {
        let others = self.doors.elsewhere.iter().map(|(name, market)| (name.as_str(), market));
        others.chain([("", &self.market)])
    }

    /// Every world, as it truly is.
    fn sighted(&self) -> Vec<Sighted> {
        let settings = self.settings.lock().unwrap();
        let mut sighted = Vec::new();
        for (market_name, market) in self.markets() {
            let market = market.lock().unwrap();
            let elsewhere = market.elsewhere.iter().map(|(vendor, world)| (*vendor, world));
            for (vendor, world) in elsewhere.chain([(Vendor::Tensordock, &market.world)]) {
                let leads_here = |(name, marketplace): &(&MarketplaceName, &MarketplaceSettings)| {
                    let behind = self.doors.elsewhere.get_key_value(*name).map_or("", |(name, _)| name.as_str());
                    marketplace.api.vendor() == vendor && behind == market_name
                };
                let account = settings.marketplaces.iter().find(leads_here).map(|(_, found)| found.account.clone());
                sighted.push(Sighted { world: format!("{market_name} {vendor:?}"), account, truth: world.truth() });
            }
        }
        sighted
    }

    /// Nothing is in doubt any more: memory and world agree about every VM, and the checker refused nothing.
    pub fn agrees(&self) {
        assert_eq!(self.disagreement(), None, "{} tick {}", self.story, self.ticks);
        assert_eq!(self.metric("spotscale_invariant_violations_total"), 0.0, "{}", self.story);
    }

    /// Where memory and world differ.
    pub fn disagreement(&self) -> Option<String> {
        super::truth::disagreement(&self.status(), &self.sighted())
    }

    /// The sum of all series of a metric whose line begins so.
    pub fn metric(&self, beginning: &str) -> f64 {
        let text = self.daemon.metrics.text();
        let lines = text.lines().filter(|line| line.starts_with(beginning));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// The report of a fleet's newest plan.
    pub fn report(&self, fleet: &str) -> FleetReport {
        self.status().plan.as_ref().expect("a plan").report[&name(fleet)].clone()
    }

    /// Why a fleet's target is not met: reasons and GPUs.
    pub fn blocked(&self, fleet: &str) -> BTreeMap<String, u32> {
        let mut blocked = BTreeMap::new();
        for unmet in self.report(fleet).blocked {
            *blocked.entry(unmet.reason.to_string()).or_default() += unmet.gpus;
        }
        blocked
    }

    /// Deploys in doubt, as the status says.
    pub fn in_doubt(&self) -> u32 {
        self.status().markets.values().map(|market| market.in_doubt).sum()
    }

    /// A fleet's members, as the newest plan knew them.
    pub fn members(&self, fleet: &str) -> Vec<Member> {
        let status = self.status();
        let Some(situation) = &status.situation else { return Vec::new() };
        situation.fleets[&name(fleet)].fleet.members.values().cloned().collect()
    }

    /// GPUs of a fleet that stand so.
    pub fn gpus_standing(&self, fleet: &str, standing: Standing) -> u32 {
        self.members(fleet).iter().filter(|member| member.standing == standing).map(|member| member.shape.gpus).sum()
    }

    /// All VMs there ever were in the stage's one market, whichever vendor's.
    pub fn vms(&self) -> Vec<Vm> {
        let market = self.market();
        let worlds = market.elsewhere.values().chain([&market.world]);
        worlds.flat_map(|world| world.truth().vms).collect()
    }

    /// VMs that were ever made by a deploy.
    pub fn made(&self) -> usize {
        self.vms().iter().filter(|vm| vm.origin == Origin::Api).count()
    }

    /// VMs that were deleted through the API.
    pub fn deleted(&self) -> usize {
        self.ended(Ended::Deleted)
    }

    /// VMs that ended so.
    pub fn ended(&self, how: Ended) -> usize {
        self.vms().iter().filter(|vm| vm.ended.is_some_and(|(_, why)| why == how)).count()
    }

    /// VMs of a fleet that the worlds themselves say are there.
    pub fn alive(&self, fleet: &str) -> Vec<Vm> {
        let prefix = format!("spotscale-{fleet}-");
        self.vms().into_iter().filter(|vm| vm.ended.is_none() && vm.name.as_str().starts_with(&prefix)).collect()
    }

    /// GPUs of a fleet that the worlds themselves say are there.
    pub fn gpus_alive(&self, fleet: &str) -> u32 {
        self.alive(fleet).iter().map(|vm| vm.shape.gpus).sum()
    }

    /// Somebody else puts a VM into the account.
    pub fn stranger(&self, called: &str, machine: &str, gpu_model: &str, gpus: u32, bid: Option<&str>) -> InstanceId {
        let made = self.try_stranger(called, machine, gpu_model, gpus, bid);
        made.expect("a stranger's VM")
    }

    /// Likewise, if there is room.
    pub fn try_stranger(
        &self,
        called: &str,
        machine: &str,
        gpu_model: &str,
        gpus: u32,
        bid: Option<&str>,
    ) -> Result<InstanceId, Refusal> {
        let shape = Shape { gpu_model: gpu_model.parse().unwrap(), gpus, vcpus: 4, ram_gb: 16, storage_gb: 100 };
        let order = WorldOrder {
            name: called.parse().unwrap(),
            hostnode: machine.parse().unwrap(),
            shape,
            price_type: if bid.is_some() { PriceType::Spot } else { PriceType::OnDemand },
            bid: bid.map(|bid| bid.parse().unwrap()),
            image: "Ubuntu 22.04 LTS".to_owned(),
            ports: BTreeMap::new(),
            rule: spotscale::market::tensordock_v0::wire::RULE,
        };
        self.market().world.deploy_foreign(order)
    }

    /// The story of the newest tick, for whoever reads a failure.
    pub fn told(&self) -> String {
        let status = self.status();
        let Some(plan) = &status.plan else { return "no plan yet".into() };
        let mut told = Vec::new();
        for (name, report) in &plan.report {
            let members: Vec<String> = self
                .members(name.as_str())
                .iter()
                .map(|member| format!("{} {} {}x", member.name, member.standing, member.shape.gpus))
                .collect();
            let blocked: Vec<String> = report
                .blocked
                .iter()
                .map(|unmet| format!("{} {} ({})", unmet.gpus, unmet.reason, unmet.detail))
                .collect();
            told.push(format!(
                "{name}: {}/{} GPUs, {}/h of {}/h; [{}]; blocked [{}]; rejected {:?}",
                report.running_gpus,
                report.target_gpus,
                report.rate_now,
                report.rate_limit,
                members.join(", "),
                blocked.join(", "),
                report.rejected
            ));
        }
        let kinds: BTreeSet<String> = plan.actions.iter().map(kind).collect();
        format!("{} | actions {kinds:?}", told.join(" || "))
    }
}

fn kind(action: &Action) -> String {
    match action {
        Action::Ask { .. } => "ask".to_owned(),
        Action::Look { hostnode, .. } => format!("look {hostnode}"),
        Action::Deploy(deploy) => format!("deploy {}", deploy.name),
        Action::Rebid { subject, .. } => format!("rebid {}", subject.name),
        Action::Start { subject, .. } => format!("start {}", subject.name),
        Action::Stop { subject, .. } => format!("stop {}", subject.name),
        Action::Delete { subject, reason, .. } => format!("delete {} {reason}", subject.name),
    }
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(format!("/policies/{name}.toml"))
}

/// A fleet's name.
pub fn name(fleet: &str) -> FleetName {
    fleet.parse().unwrap()
}
