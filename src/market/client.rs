//! Sends what the dialects say: pacing, deadlines, retries, spans and metrics, once for all marketplaces.
//!
//! ```text
//!   read  --> [turn] --\                     answered: Ok | Err(refusal); a passing failure is asked again
//!                       >-- [pacer] --> net
//!   write --> [lane] --/                     answered: Settled | InDoubt; never sent twice
//! ```
//!
//! Reads take turns at the pacer and writes stand in a lane, so that at any time at most one of each waits for the next
//! slot; the pacer serves in order of arrival, so that they alternate and neither starves the other. A write holds its
//! lane until it is answered, a read gives its turn back once it has its slot.
//!
//! **Invariant:** a write is sent at most once. What it did is in doubt after any failure that came once its first byte
//! was sent, any 5xx (a proxy's header included), any answer that cannot be read, and any 200 that does not say success:
//! only a readable refusal settles it as not made.

use super::{Dialect, Effect, Exchange, ORIGINAL_STATUS, hush::hushed};
use crate::{
    io::{
        clock::Clock,
        net::{Net, NetError, Response},
    },
    market::json::Json,
    model::{MarketplaceName, Refusal},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use std::{
    fmt,
    sync::{Arc, Mutex as SyncMutex},
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

/// Told of every request that was sent: metrics.
pub trait Observer: Send + Sync {
    /// `result` is `ok` or a refusal's group; `took` is by the client's clock, waiting for a slot not included.
    fn called(&self, marketplace: &MarketplaceName, call: &'static str, result: &'static str, took: Duration);
}

/// Leave to send one write now.
#[derive(Debug)]
pub struct Turn<'a> {
    client: &'a Client,
    _lane: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// Sends once, and says what is known of it afterwards.
    pub async fn write<T>(self, exchange: Exchange<T>) -> WriteOutcome<T> {
        let deadline = self.client.dialect.manners().write_deadline;
        let (answered, outcome) = self.client.exchange(&exchange, deadline).await;
        match (outcome, answered) {
            (Ok(value), _) => WriteOutcome::Settled(Ok(value)),
            (Err(refusal), Answered::NotSent) => WriteOutcome::Settled(Err(refusal)),
            (Err(refusal), Answered::Readably) if settles(&refusal) => WriteOutcome::Settled(Err(refusal)),
            (Err(refusal), Answered::Readably | Answered::Doubtfully | Answered::Lost) => {
                WriteOutcome::InDoubt(refusal)
            }
        }
    }
}

/// Tells nobody.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn called(&self, _: &MarketplaceName, _: &'static str, _: &'static str, _: Duration) {}
}

/// One marketplace, ready to be asked.
pub struct Client {
    marketplace: MarketplaceName,
    dialect: Arc<dyn Dialect>,
    net: Arc<dyn Net>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    interval: Duration,
    /// The earliest moment, by the monotonic clock, of the next request.
    next_slot: Mutex<Duration>,
    /// Not before this, because the marketplace asked us to wait.
    held_until: SyncMutex<Duration>,
    reading: Mutex<()>,
    lane: Mutex<()>,
    jitter: SyncMutex<ChaCha8Rng>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.marketplace)
    }
}

impl Client {
    /// A client that sends at most `requests_per_second_milli` thousandths of a request per second.
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
            next_slot: Mutex::new(Duration::ZERO),
            held_until: SyncMutex::new(Duration::ZERO),
            reading: Mutex::new(()),
            lane: Mutex::new(()),
            jitter: SyncMutex::new(ChaCha8Rng::seed_from_u64(seed)),
        }
    }

    /// Which marketplace.
    pub fn marketplace(&self) -> &MarketplaceName {
        &self.marketplace
    }

    /// Its language, to make exchanges with.
    pub fn dialect(&self) -> &dyn Dialect {
        &*self.dialect
    }

    /// How long this marketplace still wants to be left alone, never more than a minute; zero when it does not. Requests
    /// that are sent meanwhile wait by themselves.
    pub fn held_for(&self) -> Duration {
        let until = *self.held_until.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        until.saturating_sub(self.clock.monotonic())
    }

    /// Asks, and asks again when the failure may pass: at most [`READ_ATTEMPTS_MAX`] times. A marketplace that wants to
    /// be left alone for more than a minute is not asked again.
    ///
    /// # Errors
    /// The last refusal.
    pub async fn read<T>(&self, exchange: Exchange<T>) -> Result<T, Refusal> {
        match exchange.effect {
            Effect::Reads => {}
            Effect::Writes => return Err(Refusal::Refused(format!("{} is a write; it was not sent", exchange.call))),
        }
        let mut attempt = 1;
        loop {
            {
                let _turn = self.reading.lock().await;
                self.slot().await;
            }
            let (_, outcome) = self.exchange(&exchange, self.dialect.manners().read_deadline).await;
            let refusal = match outcome {
                Ok(value) => return Ok(value),
                Err(refusal) if !refusal.is_passing() || attempt >= READ_ATTEMPTS_MAX => return Err(refusal),
                Err(refusal) => refusal,
            };
            match refusal {
                Refusal::Throttled { retry_after: Some(wait) } if wait > BACKOFF_MAX => return Err(refusal),
                // The pacer waits as long as we were told to.
                Refusal::Throttled { retry_after: Some(_) } => {}
                Refusal::Throttled { retry_after: None }
                | Refusal::Malformed(_)
                | Refusal::Unreachable(_)
                | Refusal::NoCapacity(_)
                | Refusal::BidTooLow(_)
                | Refusal::Unauthorized(_)
                | Refusal::Gone
                | Refusal::Broke(_)
                | Refusal::Refused(_) => self.clock.sleep(self.backoff(attempt)).await,
            }
            attempt += 1;
        }
    }

    /// Waits until a write may be sent: alone in the lane, at the pace, and not before the marketplace wants to hear of us
    /// again. What the write rests on is looked at once more by its caller when the turn has come.
    pub async fn turn(&self) -> Turn<'_> {
        let lane = self.lane.lock().await;
        self.slot().await;
        Turn { client: self, _lane: lane }
    }

    /// Waits for a turn and takes it.
    pub async fn write<T>(&self, exchange: Exchange<T>) -> WriteOutcome<T> {
        self.turn().await.write(exchange).await
    }

    /// Waits for the next slot of the pace, and for as long as the marketplace asked to be left alone.
    async fn slot(&self) {
        let mut next_slot = self.next_slot.lock().await;
        let held_until = *self.held_until.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let now = self.clock.monotonic();
        let at = now.max(*next_slot).max(held_until);
        if at > now {
            self.clock.sleep(at - now).await;
        }
        *next_slot = at + self.interval;
    }

    /// At most a second before the first retry, two before the second, …; at least half of that.
    fn backoff(&self, attempt: u32) -> Duration {
        let most = BACKOFF_FIRST.saturating_mul(1 << (attempt - 1).min(6)).min(BACKOFF_MAX);
        let draw = self.jitter.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next_u32();
        let half_ms = u32::try_from(most.as_millis() / 2).unwrap_or(u32::MAX);
        most / 2 + Duration::from_millis(u64::from(draw % half_ms.max(1)))
    }

    async fn exchange<T>(&self, exchange: &Exchange<T>, deadline: Duration) -> (Answered, Result<T, Refusal>) {
        let span = tracing::debug_span!("call", marketplace = %self.marketplace, call = exchange.call);
        let sent_at = self.clock.monotonic();
        let sent = self.net.send(exchange.request.clone(), deadline).instrument(span.clone()).await;
        let (answered, outcome) = match sent {
            Ok(response) => (Answered::of(&response), (exchange.read)(&exchange.request, &response)),
            Err(NetError::NotSent(why)) => (Answered::NotSent, Err(Refusal::Unreachable(format!("not sent: {why}")))),
            Err(NetError::Lost(why)) => (Answered::Lost, Err(Refusal::Unreachable(why))),
        };
        let outcome = outcome.map_err(|refusal| hushed(&exchange.request, refusal));
        let took = self.clock.monotonic().saturating_sub(sent_at);
        let result = match &outcome {
            Ok(_) => "ok",
            Err(refusal) => refusal.kind().as_str(),
        };
        if let Err(Refusal::Throttled { retry_after: Some(wait) }) = &outcome {
            let until = self.clock.monotonic() + (*wait).min(BACKOFF_MAX);
            let mut held = self.held_until.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            *held = until.max(*held);
        }
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        span.in_scope(|| match &outcome {
            Ok(_) => tracing::debug!(result, took_ms, "answered"),
            Err(refusal) => tracing::debug!(result, took_ms, %refusal, "refused"),
        });
        self.observer.called(&self.marketplace, exchange.call, result, took);
        (answered, outcome)
    }
}

/// How an answer came, as far as a write is concerned.
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
    fn of(response: &Response) -> Self {
        let original = response.header(ORIGINAL_STATUS).and_then(|status| status.trim().parse::<u16>().ok());
        let failed = response.status >= 500 || original.is_some_and(|status| status >= 500);
        let readable = Json::read(&response.body).is_some_and(|json| json.object().is_some() || json.array().is_some());
        if failed || !readable { Self::Doubtfully } else { Self::Readably }
    }
}

/// Whether a refusal that could be read proves that nothing was done.
const fn settles(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::NoCapacity(_)
        | Refusal::BidTooLow(_)
        | Refusal::Throttled { .. }
        | Refusal::Unauthorized(_)
        | Refusal::Gone
        | Refusal::Broke(_)
        | Refusal::Refused(_) => true,
        Refusal::Malformed(_) | Refusal::Unreachable(_) => false,
    }
}

#[cfg(test)]
mod tests;
