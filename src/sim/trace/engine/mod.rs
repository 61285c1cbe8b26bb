//! The daemon's own engine as a player of markets that really were.
//!
//! Nothing of the daemon is left out or replaced but its doors: the same engine reads lists, journals intents, deploys and
//! deletes through the same dialects, in virtual time, on the marketplace of rehearsals (`market::trace`), behind which
//! stands the step that is open.
//!
//! ```text
//!   step k:  the clock leaps to t0 + k·dt
//!            one chain of ticks: the engine looks, plans and acts, and looks again while it finds something to do
//!            the step ends
//! ```
//!
//! A chain and not a single tick, because a daemon looks every half minute and a step lasts five: that what was outbid is
//! gone, so that its slot may be filled, is proven by the look that follows the delete. The chain ends with the first look
//! after which nothing was sent.
//!
//! **Invariant:** nothing but what a step shows gets past the counter, so that no later step can be known; and a play is the
//! same every time.

mod counter;
mod mail;
mod terms;

pub use counter::{Field, Hand, Opening};
pub use mail::Stuck;
pub use terms::{Delivery, NotDelivery, Texts, built_in};

use super::{
    grid::Market,
    run::{Desk, Policy, Rules, VmId},
};
use crate::{
    engine::{Cause, Engine, Event, Handle, Parts, Role, TICK_TIME_MAX},
    io::{clock::Clock, entropy::Entropy, net::Net, store::MemoryStore},
    ledger::Journal,
    market::{
        self, Fake,
        client::{Client, Pacer, Unobserved},
    },
    metrics::Metrics,
    model::{HourlyRate, Timestamp},
    policy::{self, Fault, Source},
    settings::{self, Api, Settings},
    sim::{clock::VirtualClock, folder::Folder, power::SeededEntropy, seed::Seed},
};
use counter::{At, Counter};
use mail::Mail;
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::sync::mpsc::Receiver;

/// A chain has no more ticks. Filling a pool whose room is not known takes one for each VM.
const TICKS_MAX: u32 = 64;
/// Between two ticks of a chain. A list is newer than what was written before it.
const TICKS_APART: Duration = Duration::from_secs(1);
/// The one policy's file, for the engine.
const POLICY: &str = "rehearsal";
/// What passwords that open nothing are drawn from, the same in every play.
const SEED: Seed = Seed(1);
/// The settings, for people.
const SETTINGS: &str = "spotscale.toml";
/// No market that is played has a token that anybody must not know.
const TOKEN: &str = "rehearsal";

/// Why the engine cannot play.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The policy has faults. The remedy stands in each.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Policy(Vec<Fault>),
    /// The market cannot be played on: no pools, or a day that no clock has.
    #[error("the market cannot be played on: {0}")]
    Field(String),
    /// The engine could not be set up, or did not end its tick.
    #[error("the engine cannot play: {0}")]
    Engine(String),
}

/// The engine, with everything that it stands on.
pub struct Ours {
    engine: Engine,
    /// Whoever holds none of these is told that the daemon ends.
    _handles: (Receiver<Event>, Handle),
    clock: VirtualClock,
    mail: Mail,
    fake: Box<dyn Fake>,
    counter: Counter,
    failed: Option<Unfit>,
    ticks: u64,
}

fn checked_settings(text: &str) -> Result<Settings, Unfit> {
    let environment = BTreeMap::from([(terms::TOKEN_VARIABLE.to_owned(), TOKEN.to_owned())]);
    let mut nothing = |path: &Path| Err(format!("no file {}", path.display()));
    let checked = settings::check(Path::new(SETTINGS), text, &environment, &mut nothing);
    let faults: Vec<String> = checked.faults.iter().map(ToString::to_string).collect();
    checked.complete().filter(|_| faults.is_empty()).ok_or_else(|| Unfit::Engine(faults.join("\n")))
}

impl Ours {
    /// Before the first step of a market, with a policy; `None`: the built-in one, that is to deliver this share of the
    /// target's GPU-hours.
    ///
    /// # Errors
    /// When the policy has faults, or the market cannot be played on.
    pub fn new(field: Field, policy: Option<&Source>, delivery: Delivery) -> Result<Self, Unfit> {
        let Texts { settings, policy: own } = built_in(field.target_gpus, &field.pools, delivery);
        let settings = checked_settings(&settings)?;
        let mut without = |path: &str| Err(format!("no file {path}"));
        let source = policy.cloned().unwrap_or_else(|| policy::gather("rehearsal.toml", &own, &mut without));
        let checked = policy::check(&source, &settings.policy_context());
        if checked.policy.is_none() || !checked.faults.is_empty() {
            return Err(Unfit::Policy(checked.faults));
        }
        let began = field.began(0);
        if field.pools.is_empty() {
            return Err(Unfit::Field("it has no pools".into()));
        }
        let counter = Counter::new(field);
        let counter = counter.ok_or_else(|| Unfit::Field("its on-demand pool is none of its pools".into()))?;
        let (clock, mail) = (VirtualClock::patient(began), Mail::default());
        let parts = parts(settings, &source, &clock, &mail, began)?;
        let made = mail.while_answering(&clock, Engine::new(parts), |_| unreachable_market());
        let (engine, events, handle) = made.map_err(|stuck| Unfit::Engine(stuck.to_string()))?;
        Ok(Self {
            engine,
            _handles: (events, handle),
            clock,
            mail,
            fake: market::fake(Api::Trace, None, None),
            counter,
            failed: None,
            ticks: 0,
        })
    }

    /// Before the first step of a recorded market, with a policy or the built-in one.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn on(market: &Market, rules: Rules, policy: Option<&Source>, delivery: Delivery) -> Result<Self, Unfit> {
        let field = Field {
            pools: market.pools().to_vec(),
            on_demand_pool: market.on_demand_pool(),
            target_gpus: market.target_gpus,
            rules,
            dt_s: market.dt_s,
            t0_s: market.t0_s,
        };
        Self::new(field, policy, delivery)
    }

    /// Plays one step: one chain of ticks.
    pub fn play(&mut self, opening: Opening, hand: &mut dyn Hand) {
        let began = self.counter.field().began(opening.k);
        self.counter.open(opening);
        self.clock.pass(crate::model::time::elapsed(self.clock.now(), began));
        for _ in 0..TICKS_MAX {
            let before = self.counter.writes();
            if let Err(stuck) = self.tick(hand) {
                self.failed = Some(Unfit::Engine(stuck.to_string()));
                return;
            }
            if self.counter.writes() == before {
                return;
            }
            self.clock.pass(TICKS_APART);
        }
    }

    fn tick(&mut self, hand: &mut dyn Hand) -> Result<(), Stuck> {
        let Self { engine, clock, mail, fake, counter, ticks, .. } = self;
        *ticks += 1;
        let mut at = At { counter, hand };
        mail.while_answering(clock, engine.tick(Cause::Schedule), |request| fake.serve(&mut at, request))?;
        Ok(())
    }

    /// Ticks so far.
    pub const fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Why it does not play any more, if it does not.
    pub const fn failed(&self) -> Option<&Unfit> {
        self.failed.as_ref()
    }
}

/// What the engine is made of.
fn parts(
    settings: Settings,
    source: &Source,
    clock: &VirtualClock,
    mail: &Mail,
    began: Timestamp,
) -> Result<Parts, Unfit> {
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::of(SEED, 1));
    let book = Journal::open(Arc::new(MemoryStore::default()), began, &*entropy, &settings.instance_prefix)
        .map_err(|error| Unfit::Engine(error.to_string()))?;
    let ticking: Arc<dyn Clock> = Arc::new(clock.clone());
    let (connected, net) = (Arc::clone(&ticking), mail.clone());
    let folder = Folder::of([(POLICY, source.text.as_str())]);
    source.attachments.iter().for_each(|(named, text)| folder.attach(named, text));
    let same = settings.clone();
    Ok(Parts {
        role: Role::AsConfigured,
        clock: ticking,
        entropy,
        files: Arc::new(folder),
        metrics: Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), began)),
        book,
        reread: Box::new(move || Ok(same.clone())),
        connect: Box::new(move |settings| {
            let clients = settings.marketplaces.iter().map(|(name, marketplace)| {
                let dialect = market::dialect(marketplace.api, marketplace.key.clone(), marketplace.token.clone());
                let net: Arc<dyn Net> = Arc::new(net.clone());
                let (clock, pace) = (Arc::clone(&connected), marketplace.requests_per_second_milli);
                let client = Client::new(name.clone(), dialect, net, clock, pace, Arc::new(Unobserved));
                let client = client.paced_by(Arc::new(Pacer::new()));
                (name.clone(), (marketplace.account.clone(), Arc::new(client)))
            });
            clients.collect()
        }),
        recorder: None,
        tick_time_max: TICK_TIME_MAX,
        settings,
    })
}

/// What is answered while no step is open.
fn unreachable_market() -> crate::io::net::Response {
    crate::io::net::Response::json(503, "{}")
}

impl Hand for Desk<'_> {
    fn validate(&mut self, pool: usize, bid: HourlyRate) -> bool {
        Desk::validate(self, pool, bid).is_ok()
    }

    fn spot(&mut self, pool: usize, bid: HourlyRate) -> Option<u64> {
        Desk::spot(self, pool, bid).ok().map(|VmId(id)| id)
    }

    fn on_demand(&mut self) -> Option<u64> {
        Desk::on_demand(self).ok().map(|VmId(id)| id)
    }

    fn kill(&mut self, id: u64) -> bool {
        Desk::kill(self, VmId(id)).is_some()
    }
}

/// A play that failed does nothing any more: [`Ours::failed`] says why.
impl Policy for Ours {
    fn step(&mut self, desk: &mut Desk<'_>) {
        if self.failed.is_some() {
            return;
        }
        let opening = Opening {
            k: desk.k(),
            prices: desk.prices().to_vec(),
            launchable: desk.launchable().to_vec(),
            outbid: desk.outbid().iter().map(|VmId(id)| *id).collect(),
        };
        self.play(opening, desk);
    }
}

#[cfg(test)]
pub(super) mod tests;
