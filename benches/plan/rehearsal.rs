//! An engine on a simulated market, in one process and in virtual time: the least that makes one tick.

use secrecy::SecretString;
use spotscale::{
    engine::{Cause, Engine, Parts, Role, Status, TICK_TIME_MAX},
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
    model::MarketplaceName,
    settings::{self, MarketplaceSettings},
    sim::{Faults, InProcess, Market, World, WorldOptions, clock::VirtualClock},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

/// What the account holds.
const BALANCE: &str = "100000";
/// Which world.
const SEED: u64 = 7;

/// Policies that exist only here.
struct Folder(BTreeMap<PathBuf, String>);

impl Files for Folder {
    fn read(&self, path: &Path) -> Result<String, String> {
        self.0.get(path).cloned().ok_or_else(|| format!("cannot open {}: no such file", path.display()))
    }

    fn policies(&self, _: &Path) -> Result<Vec<PathBuf>, String> {
        Ok(self.0.keys().cloned().collect())
    }
}

/// Nothing here must be hard to guess.
struct Guessable;

impl Entropy for Guessable {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

/// A market, and an engine on it.
pub struct Rehearsal {
    clock: VirtualClock,
    engine: Engine,
    status: Box<dyn Fn() -> Arc<Status>>,
}

impl Rehearsal {
    /// On a market of so many hostnodes (`None`: the catalogue), asked so many times a second, with these policies.
    pub async fn new(hosts: Option<usize>, requests_per_second: &str, role: Role, policies: &[(&str, &str)]) -> Self {
        let text = format!(
            "policies = \"/policies\"\n[marketplaces.tensordock]\napi = \"tensordock-v0\"\nkey = {{ env = \"KEY\" }}\n\
             token = {{ env = \"KEY\" }}\nrequests_per_second = {requests_per_second}\n"
        );
        let environment = BTreeMap::from([("KEY".to_owned(), "hush".to_owned())]);
        let checked = settings::check(Path::new("/spotscale.toml"), &text, &environment, &mut |path| {
            Err(format!("no file {}", path.display()))
        });
        let settings = checked.complete().expect("the settings are good");

        let clock = VirtualClock::at("2026-11-20T12:00:00Z".parse().expect("a moment"));
        let options = WorldOptions { hosts, ..WorldOptions::lifelike(BALANCE.parse().expect("an amount")) };
        let world = World::new(SEED, clock.now(), options);
        let market = Arc::new(Mutex::new(Market::of_all_dialects(world, Faults::none(), Some("hush"), Some("hush"))));
        let ticking: Arc<dyn Clock> = Arc::new(clock.clone());
        let net = Arc::new(InProcess { market, clock: Arc::clone(&ticking) });
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let entropy: Arc<dyn Entropy> = Arc::new(Guessable);
        let path = |name: &str| PathBuf::from(format!("/policies/{name}.toml"));
        let folder = policies.iter().map(|(name, text)| (path(name), (*text).to_owned())).collect();
        let (reread, connected) = (settings.clone(), Arc::clone(&ticking));
        let (engine, _, handle) = Engine::new(Parts {
            role,
            clock: Arc::clone(&ticking),
            files: Arc::new(Folder(folder)),
            metrics: Arc::new(Metrics::new("rehearsal", clock.now())),
            book: Journal::open(store, clock.now(), &*entropy, &settings.instance_prefix).expect("a journal"),
            entropy,
            reread: Box::new(move || Ok(reread.clone())),
            recorder: None,
            connect: Box::new(move |settings| {
                let client = |(name, market): (&MarketplaceName, &MarketplaceSettings)| {
                    let client = Client::new(
                        name.clone(),
                        market::dialect(market.api, market.key.clone(), SecretString::from("hush")),
                        net.clone(),
                        Arc::clone(&connected),
                        market.requests_per_second_milli,
                        Arc::new(Unobserved),
                    );
                    (name.clone(), (market.account.clone(), Arc::new(client)))
                };
                settings.marketplaces.iter().map(client).collect()
            }),
            tick_time_max: TICK_TIME_MAX,
            settings,
        })
        .await;
        Self { clock, engine, status: Box::new(move || handle.status()) }
    }

    /// A scan interval passes, and a tick is made. Returns what was known after it.
    pub async fn tick(&mut self) -> Arc<Status> {
        self.clock.pass(Duration::from_secs(30));
        // A task's turn ends after so many awaits, which in virtual time would look like waiting.
        tokio::task::unconstrained(self.engine.tick(Cause::Schedule)).await;
        (self.status)()
    }
}
