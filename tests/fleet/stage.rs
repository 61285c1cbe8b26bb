//! A whole daemon's engine on a simulated marketplace, in one process and in virtual time.

use secrecy::SecretString;
use spotscale::{
    engine::{Cause, Engine, Lever, LeverError, Parts, Role, Status},
    io::{
        clock::Clock,
        entropy::Entropy,
        files::Files,
        store::{MemoryStore, Store},
    },
    ledger::Journal,
    market::{
        self,
        client::{Client, Unobserved},
    },
    metrics::Metrics,
    settings::{self, Settings},
    sim::{Faults, InProcess, Market, World, WorldOptions, clock::VirtualClock},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// Policies that exist only here.
#[derive(Default)]
pub struct Folder(Mutex<BTreeMap<PathBuf, String>>);

impl Files for Folder {
    fn read(&self, path: &Path) -> Result<String, String> {
        self.0.lock().unwrap().get(path).cloned().ok_or_else(|| format!("cannot open {}: no such file", path.display()))
    }

    fn policies(&self, folder: &Path) -> Result<Vec<PathBuf>, String> {
        Ok(self.0.lock().unwrap().keys().filter(|path| path.starts_with(folder)).cloned().collect())
    }
}

/// Counts up: nothing here must be hard to guess.
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

pub struct Stage {
    pub clock: VirtualClock,
    pub market: Arc<Mutex<Market>>,
    pub store: Arc<MemoryStore>,
    pub folder: Arc<Folder>,
    pub settings: Settings,
    pub engine: Engine,
    pub handle: spotscale::engine::Handle,
    events: tokio::sync::mpsc::Receiver<spotscale::engine::Event>,
}

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

fn settings(text: &str) -> Settings {
    let environment = [("KEY", "k"), ("TOKEN", "t")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let checked = settings::check(Path::new("/spotscale.toml"), text, &environment, &mut |path| {
        Err(format!("no file {}", path.display()))
    });
    assert!(checked.faults.is_empty(), "{:?}", checked.faults);
    checked.complete().expect("complete settings")
}

async fn engine(
    settings: &Settings,
    clock: &VirtualClock,
    market: &Arc<Mutex<Market>>,
    store: Arc<dyn Store>,
    folder: &Arc<Folder>,
) -> (Engine, tokio::sync::mpsc::Receiver<spotscale::engine::Event>, spotscale::engine::Handle) {
    let entropy: Arc<dyn Entropy> = Arc::new(Counting(Mutex::new(3)));
    let now = clock.now();
    let net = InProcess { market: Arc::clone(market), clock: Arc::new(clock.clone()) };
    let ticking: Arc<dyn Clock> = Arc::new(clock.clone());
    let connected = Arc::clone(&ticking);
    let reread = settings.clone();
    Engine::new(Parts {
        settings: settings.clone(),
        role: Role::AsConfigured,
        clock: ticking,
        entropy: Arc::clone(&entropy),
        files: Arc::clone(folder) as Arc<dyn Files>,
        metrics: Arc::new(Metrics::new("test", now)),
        book: Journal::open(store, now, &*entropy, &settings.instance_prefix).expect("a journal"),
        reread: Box::new(move || Ok(reread.clone())),
        connect: Box::new(move |settings| {
            let client = |(name, market): (&_, &settings::MarketplaceSettings)| {
                let dialect = market::dialect(market.api, market.key.clone(), SecretString::from("t"));
                let pace = market.requests_per_second_milli;
                let name: &spotscale::model::MarketplaceName = name;
                let client = Client::new(
                    name.clone(),
                    dialect,
                    Arc::new(net.clone()),
                    Arc::clone(&connected),
                    pace,
                    Arc::new(Unobserved),
                );
                (name.clone(), (market.account.clone(), Arc::new(client)))
            };
            settings.marketplaces.iter().map(client).collect()
        }),
        tick_time_max: spotscale::engine::TICK_TIME_MAX,
    })
    .await
}

impl Stage {
    pub async fn new(seed: u64, policies: &[(&str, &str)]) -> Self {
        Self::with(seed, SETTINGS, WorldOptions::lifelike("500".parse().unwrap()), policies).await
    }

    pub async fn with(seed: u64, text: &str, options: WorldOptions, policies: &[(&str, &str)]) -> Self {
        let clock = VirtualClock::at("2026-11-20T12:00:00Z".parse().unwrap());
        let world = World::new(seed, clock.now(), options);
        let market = Arc::new(Mutex::new(Market::of_all_dialects(world, Faults::none(), Some("k"), Some("t"))));
        let store = Arc::new(MemoryStore::default());
        let folder = Arc::new(Folder::default());
        for (name, text) in policies {
            folder.0.lock().unwrap().insert(PathBuf::from(format!("/policies/{name}.toml")), (*text).to_owned());
        }
        let settings = settings(text);
        let (engine, events, handle) = engine(&settings, &clock, &market, Arc::clone(&store) as _, &folder).await;
        Self { clock, market, store, folder, settings, engine, handle, events }
    }

    /// The power goes and comes back: what was durable is there again.
    pub async fn restart(&mut self) {
        self.store = Arc::new(self.store.reopen());
        let store = Arc::clone(&self.store) as _;
        let (engine, events, handle) = engine(&self.settings, &self.clock, &self.market, store, &self.folder).await;
        (self.engine, self.events, self.handle) = (engine, events, handle);
    }

    /// One scan interval goes by, and a tick.
    pub async fn tick(&mut self) -> Arc<Status> {
        self.clock.pass(self.settings.scan_interval);
        self.engine.tick(Cause::Schedule).await;
        self.handle.status()
    }

    pub async fn ticks(&mut self, count: usize) -> Arc<Status> {
        for _ in 0..count {
            self.tick().await;
            self.holds();
        }
        self.handle.status()
    }

    pub fn market(&self) -> MutexGuard<'_, Market> {
        self.market.lock().unwrap()
    }

    pub fn write(&self, name: &str, text: &str) {
        self.folder.0.lock().unwrap().insert(PathBuf::from(format!("/policies/{name}.toml")), text.to_owned());
    }

    pub fn remove(&self, name: &str) {
        self.folder.0.lock().unwrap().remove(Path::new(&format!("/policies/{name}.toml")));
    }

    pub async fn pull(&mut self, lever: Lever) -> Result<String, LeverError> {
        self.engine.pull(lever).await
    }

    /// What must be true after every step, by the world's own truth.
    #[track_caller]
    pub fn holds(&self) {
        let status = self.handle.status();
        let market = self.market();
        let truth = market.world.truth();
        assert_eq!(truth.doubled(), [], "a name was deployed twice");
        assert_eq!(market.world.impossible(), Vec::<String>::new());
        assert_eq!(status.troubles, Vec::<String>::new());
        let Some(situation) = &status.situation else { return };
        for (name, fleet) in &situation.fleets {
            let committed = fleet.fleet.committed();
            let limit = fleet.policy.max_hourly_rate;
            assert!(committed <= limit, "{name}: {committed} USD/h is over {limit}");
        }
    }

    /// GPUs of this fleet that the world itself says are there.
    pub fn gpus_alive(&self, fleet: &str) -> u32 {
        let market = self.market();
        let prefix = format!("spotscale-{fleet}-");
        let truth = market.world.truth();
        truth.alive().filter(|vm| vm.name.as_str().starts_with(&prefix)).map(|vm| vm.shape.gpus).sum()
    }
}

/// `pull` is the engine's own; time only passes where it is let.
pub const SCAN: Duration = Duration::from_secs(30);
