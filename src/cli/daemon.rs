//! The daemon, put together: engine, window, wake-ups and signals around one journal.
//!
//! `run` puts it on the real doors, `demo` on a clock that runs faster and a marketplace of its own, and a look without
//! a daemon uses the engine alone, on a journal that forgets.

use super::{failure::Failure, signals};
use crate::{
    admin::{self, Window},
    engine::{
        self, Engine, Event, Handle, Parts, Reread, Role,
        observe::Clients,
        recording::{self, Recorder},
        wake, what_if,
    },
    io::{
        clock::Clock,
        entropy::{Entropy, OsEntropy},
        files::Disk,
        http::HttpPool,
        store::{SqliteStore, Store},
        systemd, watch,
    },
    ledger::Journal,
    market::{
        self,
        client::{Client, Pacer},
    },
    metrics::Metrics,
    model::AccountName,
    policy,
    settings::Settings,
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

/// How long the window may take to finish the answers it is giving.
const WINDOW_WITHIN: Duration = Duration::from_secs(5);

/// What a daemon is made of, beside the doors that are always the same.
pub struct Making {
    /// As checked.
    pub settings: Settings,
    /// Whether anything is ever changed.
    pub role: Role,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The journal's store.
    pub store: Arc<dyn Store>,
    /// Keeps what is seen; `None`: nobody does.
    pub recorder: Option<Recorder>,
    /// Reads the settings again.
    pub reread: Reread,
    /// How long a tick may take, in real time.
    pub tick_time_max: Duration,
}

/// An engine at rest, and what the window needs of it.
pub struct Daemon {
    /// The engine.
    pub engine: Engine,
    /// What happens to it.
    pub events: mpsc::Receiver<Event>,
    /// How others talk to it.
    pub handle: Handle,
    window: Window,
    settings: Settings,
}

/// What all clients share, those of a reload's settings too.
struct Links {
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    pool: HttpPool,
    /// One for each account.
    pacers: Mutex<BTreeMap<AccountName, Arc<Pacer>>>,
}

impl Links {
    fn pacer(&self, account: &AccountName) -> Arc<Pacer> {
        let mut pacers = self.pacers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pacers.entry(account.clone()).or_default())
    }

    fn connect(&self, settings: &Settings) -> Result<Clients, Failure> {
        let mut clients = Clients::new();
        for (name, marketplace) in &settings.marketplaces {
            let net = self
                .pool
                .to(&marketplace.base_url)
                .map_err(|error| Failure::failed(format!("cannot talk to {name}")).caused_by(&error))?;
            let client = Client::new(
                name.clone(),
                market::dialect(marketplace.api, marketplace.key.clone(), marketplace.token.clone()),
                Arc::new(net),
                Arc::clone(&self.clock),
                marketplace.requests_per_second_milli,
                Arc::clone(&self.metrics) as _,
            );
            let client = client.paced_by(self.pacer(&marketplace.account));
            clients.insert(name.clone(), (marketplace.account.clone(), Arc::new(client)));
        }
        Ok(clients)
    }
}

/// The recording beside a state. Where it cannot be used the daemon runs without one, and says so: what it decides then
/// cannot be recomputed.
pub fn recorder(state: &Path) -> Option<Recorder> {
    let path = recording::beside(state);
    let opened = SqliteStore::open(&path).and_then(|store| Recorder::open(Arc::new(store)));
    let told = |error| tracing::error!(path = %path.display(), %error, "what is seen will not be recorded");
    opened.map_err(told).ok()
}

/// Puts a daemon together; nothing is asked or changed yet, but that a new journal begins.
///
/// # Errors
/// When the journal cannot be opened, or no HTTP client made.
pub async fn assemble(making: Making) -> Result<Daemon, Failure> {
    let Making { settings, role, clock, store, recorder, reread, tick_time_max } = making;
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), clock.now()));
    let book = Journal::open(Arc::clone(&store), clock.now(), &*entropy, &settings.instance_prefix)
        .map_err(|error| Failure::failed("cannot use the state").caused_by(&error))?;
    // What cannot be made now is a failure to start; what cannot be made at a reload leaves that marketplace out.
    let pool = HttpPool::new().map_err(|error| Failure::failed("cannot talk to any marketplace").caused_by(&error))?;
    let (ticking, counting) = (Arc::clone(&clock), Arc::clone(&metrics));
    let links = Links { clock: ticking, metrics: counting, pool, pacers: Mutex::default() };
    links.connect(&settings)?;
    let (engine, events, handle) = Engine::new(Parts {
        settings: settings.clone(),
        role,
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
        files: Arc::new(Disk),
        metrics: Arc::clone(&metrics),
        book,
        reread,
        connect: Box::new(move |settings| {
            links.connect(settings).unwrap_or_else(|failure| {
                tracing::error!(%failure, "the marketplaces of the new settings cannot be used");
                Clients::new()
            })
        }),
        recorder,
        tick_time_max,
    })
    .await;
    let asked = handle.clone();
    let (in_force, token_in_force) = (engine.settings_in_force(), engine.settings_in_force());
    let window = Window {
        handle: handle.clone(),
        metrics,
        store,
        clock,
        entropy,
        token: Arc::new(move || token_in_force.borrow().http.token.clone()),
        what_if: Arc::new(move |source| {
            let checked = policy::check(source, &in_force.borrow().policy_context());
            let Some(policy) = checked.policy else {
                return Err(checked.faults.iter().map(ToString::to_string).collect());
            };
            match &asked.status().situation {
                Some(situation) => Ok(what_if(situation, policy)),
                None => Err(vec!["the market was not looked at yet; ask again in a moment".to_owned()]),
            }
        }),
    };
    Ok(Daemon { engine, events, handle, window, settings })
}

impl Daemon {
    /// Runs until `stop`: what is under way is finished or stays journalled as in doubt, and VMs keep running.
    ///
    /// # Errors
    /// When signals cannot be heard.
    pub async fn run(self, listener: TcpListener, stop: CancellationToken) -> Result<(), Failure> {
        let Self { engine, events, handle, window, settings } = self;
        let reloaded = handle.clone();
        signals::on_reload(move || reloaded.reload())?;
        let changed = handle.clone();
        let watching = watch::watch(&settings.policies, move || changed.reload());
        if let Err(why) = &watching {
            tracing::warn!(%why, "policies are read again on SIGHUP only");
        }
        let scheduler = wake::start(handle.clone()).await;
        if let Err(error) = &scheduler {
            tracing::warn!(%error, "no scheduled wake-ups: the scan interval does without");
        }
        let closing = CancellationToken::new();
        let serving = tokio::spawn(admin::serve(listener, window, closing.clone()));
        let stopper = tokio::spawn({
            let (stop, handle) = (stop.clone(), handle.clone());
            async move {
                stop.cancelled().await;
                systemd::tell(&systemd::Notice::Stopping);
                handle.stop();
            }
        });
        engine.run(events).await;
        stopper.abort();
        drop(watching);
        if let Ok(mut scheduler) = scheduler {
            let _ = scheduler.shutdown().await;
        }
        closing.cancel();
        let _ = tokio::time::timeout(WINDOW_WITHIN, serving).await;
        Ok(())
    }
}

/// The daemon's tick may take so long.
pub const TICK_TIME_MAX: Duration = engine::TICK_TIME_MAX;
