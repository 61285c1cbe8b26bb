//! Sends what the dialects say: pacing, deadlines, retries, spans and metrics, once for all marketplaces.
//!
//! ```text
//!   read  --> [turn] --\                     answered: Ok | Err(refusal); a passing failure is asked again
//!                       >-- [pacer] --> net
//!   write --> [lane] --/                     answered: Settled | InDoubt; never sent twice
//! ```
//!
//! Reads take turns at the pacer and writes stand in a lane, so that at any time at most one of each waits for the next
//! slot; the [`Pacer`], which the marketplaces of one account share, serves in order of arrival, so that all alternate and
//! none starves another. A write holds its lane until it is answered, a read gives its turn back once it has its slot.
//!
//! A list that has not changed since it was read is not sent again where the server offers that ([`copies`]), and not read
//! again in any case ([`readings`]).
//!
//! **Invariant:** a write is sent at most once. What it did is in doubt after any failure that came once its first byte
//! was sent, any 5xx (a proxy's header included), any answer that cannot be read, and any 200 that does not say success:
//! only a readable refusal settles it as not made.

pub mod copies;
pub mod pace;
pub mod readings;

pub use pace::Pacer;

use super::{Dialect, Effect, Exchange, ORIGINAL_STATUS, hush::hushed};
use crate::{
    io::{
        clock::Clock,
        net::{Net, NetError, Response},
    },
    market::json::Json,
    model::{Guard, MarketplaceName, Refusal},
};
use copies::{Copies, NOT_MODIFIED};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use readings::Readings;
use std::{
    fmt,
    sync::{Arc, Mutex as SyncMutex, PoisonError},
    time::Duration,
};
use tokio::sync::{Mutex, MutexGuard};
use tracing::Instrument;

/// A read is sent at most this often.
pub const READ_ATTEMPTS_MAX: u32 = 3;
/// No back-off is longer, whatever a marketplace asks for (CONTRACT: "never exceeds a minute").
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Before the first retry, at most; doubles.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The pace where the settings say nothing sensible.
const SLOWEST_INTERVAL: Duration = Duration::from_secs(60);

/// What a write came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome<T> {
    /// It is known what it did: it was made, or it was refused and did nothing.
    Settled(Result<T, Refusal>),
    /// It may have been acted upon.
    InDoubt(Refusal),
}

/// How long and how often a read is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// So often at most, and never more than [`READ_ATTEMPTS_MAX`]; once in any case.
    pub attempts_max: u32,
    /// A marketplace that wants to be left alone for longer than this, by the client's clock, is not waited for.
    pub hold_max: Duration,
}

/// All that there is.
const UTMOST: Effort = Effort { attempts_max: READ_ATTEMPTS_MAX, hold_max: Duration::MAX };

/// Told of every request that was sent: metrics.
pub trait Observer: Send + Sync {
    /// `result` is `ok` or a refusal's group; `took` is by the client's clock, waiting for a slot not included.
    fn called(&self, marketplace: &MarketplaceName, call: &'static str, result: &'static str, took: Duration);
    /// A request waited so long, by the client's clock, from when it was wanted until it might be sent.
    fn waited(&self, marketplace: &MarketplaceName, wait: Duration);
    /// A request was answered by "nothing has changed".
    fn unchanged(&self, marketplace: &MarketplaceName, call: &'static str);
}

/// What an answer may say: plain values, which can be handed out again.
pub trait Says: Clone + Send + Sync + 'static {}

impl<T: Clone + Send + Sync + 'static> Says for T {}

/// Leave to send one write now.
#[derive(Debug)]
pub struct Turn<'a> {
    client: &'a Client,
    deadline: Duration,
    _lane: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// The same, with no more than so much real time for the answer.
    pub fn within(self, most: Duration) -> Self {
        Self { deadline: self.deadline.min(most), ..self }
    }

    /// Sends once, and says what is known of it afterwards.
    pub async fn write<T: Says>(self, exchange: Exchange<T>) -> WriteOutcome<T> {
        if !Guard::SentOnce.is_kept() {
            self.client.exchange(&exchange, self.deadline).await;
        }
        let Sent { answered, outcome, told_to_wait: _ } = self.client.exchange(&exchange, self.deadline).await;
        let refusal = match outcome {
            Ok(value) => return WriteOutcome::Settled(Ok(value)),
            Err(refusal) => refusal,
        };
        let is_settled = match answered {
            Answered::NotSent => true,
            Answered::Readably => refusal.settles(),
            Answered::Doubtfully | Answered::Lost => false,
        };
        if Guard::InDoubtAnswer.holds(is_settled) {
            WriteOutcome::Settled(Err(refusal))
        } else {
            WriteOutcome::InDoubt(refusal)
        }
    }
}

/// Tells nobody.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn called(&self, _: &MarketplaceName, _: &'static str, _: &'static str, _: Duration) {}
    fn waited(&self, _: &MarketplaceName, _: Duration) {}
    fn unchanged(&self, _: &MarketplaceName, _: &'static str) {}
}

/// One marketplace, ready to be asked.
pub struct Client {
    marketplace: MarketplaceName,
    dialect: Arc<dyn Dialect>,
    net: Arc<dyn Net>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    interval: Duration,
    pacer: Arc<Pacer>,
    copies: SyncMutex<Copies>,
    readings: SyncMutex<Readings>,
    reading: Mutex<()>,
    lane: Mutex<()>,
    /// When the newest write had its turn.
    wrote_at: SyncMutex<Duration>,
    jitter: SyncMutex<ChaCha8Rng>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.marketplace)
    }
}

impl Client {
    /// A client that sends at most `requests_per_second_milli` thousandths of a request per second, at a pace of its own.
    pub fn new(
        marketplace: MarketplaceName,
        dialect: Arc<dyn Dialect>,
        net: Arc<dyn Net>,
        clock: Arc<dyn Clock>,
        requests_per_second_milli: u32,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let interval = match requests_per_second_milli {
            0 => SLOWEST_INTERVAL,
            pace => Duration::from_nanos(1_000_000_000_000 / u64::from(pace)).min(SLOWEST_INTERVAL),
        };
        // The jitter must spread, not surprise: drawn from the name, it is the same in every run.
        let seed = marketplace.as_str().bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(257) ^ u64::from(byte));
        Self {
            marketplace,
            dialect,
            net,
            clock,
            observer,
            interval,
            pacer: Arc::new(Pacer::new()),
            copies: SyncMutex::new(Copies::new()),
            readings: SyncMutex::new(Readings::new()),
            reading: Mutex::new(()),
            lane: Mutex::new(()),
            wrote_at: SyncMutex::new(Duration::ZERO),
            jitter: SyncMutex::new(ChaCha8Rng::seed_from_u64(seed)),
        }
    }

    /// The same client, at the pace of its account: all that share the pacer take its slots by turns.
    pub fn paced_by(self, pacer: Arc<Pacer>) -> Self {
        Self { pacer, ..self }
    }

    /// Which marketplace.
    pub fn marketplace(&self) -> &MarketplaceName {
        &self.marketplace
    }

    /// Its language, to make exchanges with.
    pub fn dialect(&self) -> &dyn Dialect {
        &*self.dialect
    }

    /// Between two of its requests, by the client's clock.
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// When the newest write had its turn, by the monotonic clock; zero before the first.
    pub fn wrote_at(&self) -> Duration {
        *self.wrote_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long this marketplace still wants to be left alone, never more than a minute; zero when it does not. Requests
    /// that are sent meanwhile wait by themselves.
    pub fn held_for(&self) -> Duration {
        self.pacer.held_until(&self.marketplace).saturating_sub(self.clock.monotonic())
    }

    /// Asks, and asks again when the failure may pass: at most [`READ_ATTEMPTS_MAX`] times. A marketplace that wants to
    /// be left alone for more than a minute is not asked again, nor is one that already took all the time there was.
    ///
    /// # Errors
    /// The last refusal.
    pub async fn read<T: Says>(&self, exchange: Exchange<T>) -> Result<T, Refusal> {
        self.read_with(UTMOST, exchange).await
    }

    /// Likewise, with no more than so much effort.
    ///
    /// # Errors
    /// The last refusal.
    pub async fn read_with<T: Says>(&self, effort: Effort, exchange: Exchange<T>) -> Result<T, Refusal> {
        match exchange.effect {
            Effect::Reads => {}
            Effect::Writes => return Err(Refusal::Refused(format!("{} is a write; it was not sent", exchange.call))),
        }
        let deadline = self.dialect.manners().read_deadline;
        let patience = self.clock.of_real(deadline);
        let mut taken = Duration::ZERO;
        let mut attempt = 1;
        loop {
            let wanted_at = self.clock.monotonic();
            {
                let _turn = self.reading.lock().await;
                if let Err(held) = self.slot(wanted_at, effort.hold_max).await {
                    return Err(Refusal::Throttled { retry_after: Some(held) });
                }
            }
            let sent_at = self.clock.monotonic();
            let Sent { answered: _, outcome, told_to_wait } = self.exchange(&exchange, deadline).await;
            taken = taken.saturating_add(self.clock.monotonic().saturating_sub(sent_at));
            let is_last = attempt >= effort.attempts_max.min(READ_ATTEMPTS_MAX) || taken >= patience;
            let refusal = match outcome {
                Ok(value) => return Ok(value),
                Err(refusal) if !refusal.is_passing() || is_last => return Err(refusal),
                Err(refusal) => refusal,
            };
            match (refusal, told_to_wait) {
                (refusal, Some(wait)) if wait > BACKOFF_MAX => return Err(refusal),
                // The pacer waits as long as we were told to.
                (Refusal::Throttled { retry_after: Some(_) }, _) => {}
                (
                    Refusal::Throttled { retry_after: None }
                    | Refusal::Malformed(_)
                    | Refusal::Unreachable(_)
                    | Refusal::NoCapacity(_)
                    | Refusal::BidTooLow(_)
                    | Refusal::Unauthorized(_)
                    | Refusal::Gone
                    | Refusal::Broke(_)
                    | Refusal::Refused(_),
                    _,
                ) => self.clock.sleep(self.backoff(attempt)).await,
            }
            attempt += 1;
        }
    }

    /// Waits until a write may be sent: alone in the lane, at the pace, and not before the marketplace wants to hear of us
    /// again. What the write rests on is looked at once more by its caller when the turn has come.
    pub async fn turn(&self) -> Turn<'_> {
        let wanted_at = self.clock.monotonic();
        let lane = self.lane.lock().await;
        // No hold is too long for a write: whoever does not want to wait for it drops this.
        let _ = self.slot(wanted_at, Duration::MAX).await;
        *self.wrote_at.lock().unwrap_or_else(PoisonError::into_inner) = self.clock.monotonic();
        Turn { client: self, deadline: self.dialect.manners().write_deadline, _lane: lane }
    }

    /// Waits for a turn and takes it.
    pub async fn write<T: Says>(&self, exchange: Exchange<T>) -> WriteOutcome<T> {
        self.turn().await.write(exchange).await
    }

    /// Waits for the account's next slot, and for as long as the marketplace asked to be left alone.
    async fn slot(&self, wanted_at: Duration, hold_max: Duration) -> Result<(), Duration> {
        self.pacer.slot(&*self.clock, &self.marketplace, self.interval, hold_max).await?;
        self.observer.waited(&self.marketplace, self.clock.monotonic().saturating_sub(wanted_at));
        Ok(())
    }

    /// At most a second before the first retry, two before the second, …; at least half of that.
    fn backoff(&self, attempt: u32) -> Duration {
        let most = BACKOFF_FIRST.saturating_mul(1 << (attempt - 1).min(6)).min(BACKOFF_MAX);
        let draw = self.jitter.lock().unwrap_or_else(PoisonError::into_inner).next_u32();
        let half_ms = u32::try_from(most.as_millis() / 2).unwrap_or(u32::MAX);
        most / 2 + Duration::from_millis(u64::from(draw % half_ms.max(1)))
    }

    fn copies(&self) -> std::sync::MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exchange<T: Says>(&self, exchange: &Exchange<T>, deadline: Duration) -> Sent<T> {
        let span = tracing::debug_span!("call", marketplace = %self.marketplace, call = exchange.call);
        let request = match exchange.effect {
            Effect::Reads => self.copies().conditional(&exchange.request),
            Effect::Writes => exchange.request.clone(),
        };
        let sent_at = self.clock.monotonic();
        let sent = self.net.send(request, deadline).instrument(span.clone()).await;
        let asks_to_wait = sent.as_ref().ok().and_then(|response| pace::told_to_wait(response, self.clock.now()));
        let lost = |why| Err(hushed(&exchange.request, None, Refusal::Unreachable(why)));
        let (answered, outcome) = match sent {
            Ok(response) => (Answered::of(exchange.effect, &response), self.understood(exchange, response)),
            Err(NetError::NotSent(why)) => (Answered::NotSent, lost(format!("not sent: {why}"))),
            Err(NetError::Lost(why)) => (Answered::Lost, lost(why)),
        };
        let (outcome, told_to_wait) = match outcome {
            // Not every language reads the header.
            Err(Refusal::Throttled { retry_after: None }) => {
                (Err(Refusal::Throttled { retry_after: asks_to_wait }), asks_to_wait)
            }
            Err(Refusal::Throttled { retry_after: Some(wait) }) => {
                (Err(Refusal::Throttled { retry_after: Some(wait) }), Some(wait))
            }
            outcome => (outcome, asks_to_wait),
        };
        let took = self.clock.monotonic().saturating_sub(sent_at);
        let result = match &outcome {
            Ok(_) => "ok",
            Err(refusal) => refusal.kind().as_str(),
        };
        if let Some(wait) = told_to_wait {
            self.pacer.hold(&self.marketplace, self.clock.monotonic() + wait.min(BACKOFF_MAX));
        }
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        span.in_scope(|| match &outcome {
            Ok(_) => tracing::debug!(result, took_ms, "answered"),
            Err(refusal) => tracing::debug!(result, took_ms, %refusal, "refused"),
        });
        self.observer.called(&self.marketplace, exchange.call, result, took);
        Sent { answered, outcome, told_to_wait }
    }

    /// What an answer says; of one that says that nothing has changed, what our copy says.
    fn understood<T: Says>(&self, exchange: &Exchange<T>, response: Response) -> Result<T, Refusal> {
        let Exchange { call, request, effect, read: _ } = exchange;
        match effect {
            Effect::Writes => exchange.understood(&response),
            Effect::Reads if response.status == NOT_MODIFIED => {
                let copy = self.copies().again(request);
                let copy = copy.ok_or_else(|| Refusal::Malformed("HTTP 304, and nothing was read before".into()))?;
                self.observer.unchanged(&self.marketplace, call);
                self.read_once(exchange, &copy)
            }
            Effect::Reads => {
                let response = Arc::new(response);
                let value = self.read_once(exchange, &response)?;
                self.copies().keep(request, response);
                Ok(value)
            }
        }
    }

    /// What an answer says; where it is the newest of its call once more, what that said.
    fn read_once<T: Says>(&self, exchange: &Exchange<T>, response: &Arc<Response>) -> Result<T, Refusal> {
        let Exchange { call, request, effect: _, read: _ } = exchange;
        let readings = || self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = readings().again(call, request, response) {
            return Ok(said);
        }
        let said = exchange.understood(response)?;
        readings().keep(call, request, response, &said);
        Ok(said)
    }
}

/// What came of one request.
struct Sent<T> {
    answered: Answered,
    outcome: Result<T, Refusal>,
    /// For so long the marketplace wants to be left alone.
    told_to_wait: Option<Duration>,
}

/// How an answer came, as far as a refused write is concerned. One that its reader takes for success is settled however it
/// came: a documented 204 has no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    /// Nothing can have reached the other side.
    NotSent,
    /// No answer.
    Lost,
    /// A server's failure, or nothing that a program can read.
    Doubtfully,
    /// JSON, and no server's failure.
    Readably,
}

impl Answered {
    fn of(effect: Effect, response: &Response) -> Self {
        match effect {
            Effect::Writes => {}
            // What a read did is never in doubt.
            Effect::Reads => return Self::Readably,
        }
        let original = response.header(ORIGINAL_STATUS).and_then(|status| status.trim().parse::<u16>().ok());
        let failed = response.status >= 500 || original.is_some_and(|status| status >= 500);
        let readable = Json::read(&response.body).is_some_and(|json| json.object().is_some() || json.array().is_some());
        if failed || !readable { Self::Doubtfully } else { Self::Readably }
    }
}

#[cfg(test)]
mod tests;
