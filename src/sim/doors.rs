//! The network door of one process: the marketplace answers without a socket.
//!
//! The daemon's client cannot tell the difference. [`InProcess`] is the plain door, in which nothing waits: an answer that is
//! slower than the deadline is a lost one at once. [`Doors`] are those of a rehearsed daemon: each marketplace's leads to a
//! market, has [`Weather`] of its own, remembers what was sent, and hangs on the machine's power supply.

use super::{
    marketplace::{Answer, Market, Reaction},
    power::{Power, Side},
};
use crate::{
    io::{
        Awaited,
        clock::Clock,
        net::{Net, NetError, Request, Response},
    },
    model::MarketplaceName,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Of so many requests it is remembered that they were sent, the newest.
const SENT_KEPT: usize = 10_000;

/// A network with one marketplace at its other end.
#[derive(Clone)]
pub struct InProcess {
    /// The marketplace.
    pub market: Arc<Mutex<Market>>,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
}

impl InProcess {
    fn answer(&self, request: &Request, deadline: Duration) -> Result<Response, NetError> {
        let now = self.clock.now();
        let Reaction { answer, delay, call: _, fault: _ } =
            self.market.lock().unwrap_or_else(PoisonError::into_inner).handle(now, request);
        match answer {
            Answer::Whole(_) | Answer::Cut(_) if delay > deadline => Err(NetError::Lost("timed out".to_owned())),
            Answer::Whole(response) => Ok(response),
            Answer::Cut(_) | Answer::Nothing => Err(NetError::Lost("the connection was closed".to_owned())),
        }
    }
}

impl Net for InProcess {
    fn send(&self, request: Request, deadline: Duration) -> Awaited<'_, Result<Response, NetError>> {
        Box::pin(std::future::ready(self.answer(&request, deadline)))
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

/// One request that went through a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Through whose.
    pub marketplace: MarketplaceName,
    /// When, by the monotonic clock.
    pub at: Duration,
    /// What for.
    pub path: String,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The doors of a rehearsed daemon. Clones are the same doors.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    /// Marketplaces with a market of their own; all others lead to the one.
    pub elsewhere: BTreeMap<MarketplaceName, Arc<Mutex<Market>>>,
    weather: Arc<Mutex<BTreeMap<MarketplaceName, Weather>>>,
    sent: Arc<Mutex<VecDeque<Sent>>>,
}

impl Doors {
    /// With these markets of marketplaces' own.
    pub fn to(elsewhere: impl IntoIterator<Item = (MarketplaceName, Market)>) -> Self {
        let elsewhere = elsewhere.into_iter().map(|(name, market)| (name, Arc::new(Mutex::new(market)))).collect();
        Self { elsewhere, ..Self::default() }
    }

    /// From now on it is so at a marketplace's door; `None`: all is well.
    pub fn turn(&self, marketplace: MarketplaceName, weather: Option<Weather>) {
        match weather {
            Some(weather) => drop(held(&self.weather).insert(marketplace, weather)),
            None => drop(held(&self.weather).remove(&marketplace)),
        }
    }

    /// The newest requests, in order.
    pub fn sent(&self) -> Vec<Sent> {
        held(&self.sent).iter().cloned().collect()
    }

    /// The door of one marketplace, for a daemon on this supply.
    pub fn of(&self, name: MarketplaceName, inner: InProcess, power: Power) -> Door {
        Door { name, doors: self.clone(), inner, power }
    }
}

/// The door of one marketplace.
#[derive(Clone)]
pub struct Door {
    name: MarketplaceName,
    doors: Doors,
    inner: InProcess,
    power: Power,
}

impl Door {
    async fn pass(&self, request: Request, deadline: Duration) -> Result<Response, NetError> {
        let weather = held(&self.doors.weather).get(&self.name).cloned();
        {
            let mut sent = held(&self.doors.sent);
            if sent.len() >= SENT_KEPT {
                sent.pop_front();
            }
            let (marketplace, at) = (self.name.clone(), self.inner.clock.monotonic());
            sent.push_back(Sent { marketplace, at, path: request.path.clone() });
        }
        match weather {
            None => self.inner.answer(&request, deadline),
            Some(Weather::Says(response)) => Ok(response),
            Some(Weather::Slow(delay)) => {
                self.inner.clock.sleep(delay).await;
                self.inner.answer(&request, deadline)
            }
            Some(Weather::HangsOn(part)) if !request.path.contains(part) => self.inner.answer(&request, deadline),
            Some(Weather::Hangs | Weather::HangsOn(_)) => {
                self.inner.clock.sleep(deadline).await;
                Err(NetError::Lost("timed out".to_owned()))
            }
        }
    }
}

impl Net for Door {
    fn send(&self, request: Request, deadline: Duration) -> Awaited<'_, Result<Response, NetError>> {
        Box::pin(async move {
            let side = if self.power.is_off() { Some(Side::Before) } else { self.power.request() };
            match side {
                None => return self.pass(request, deadline).await,
                Some(Side::Before) => self.power.go(),
                Some(Side::After) => {
                    let _ = self.pass(request, deadline).await;
                    self.power.go();
                }
            }
            // Nobody is there any more to whom it could be answered.
            std::future::pending().await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Call, Fault, Faults, World, WorldOptions},
        *,
    };
    use crate::io::clock::SystemClock;

    #[test]
    fn what_is_lost_or_too_slow_is_a_lost_answer() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::real());
        let world = World::new(1, clock.now(), WorldOptions::lifelike("100".parse().unwrap()));
        let market = Market::of_all_dialects(world, Faults::none(), None, None);
        let net = InProcess { market: Arc::new(Mutex::new(market)), clock };
        let request = Request::get("/api/v0/client/deploy/hostnodes");
        for (fault, arrives) in [
            (Fault::None, true),
            (Fault::LostRequest, false),
            (Fault::CutAnswer, false),
            (Fault::Slow(Duration::from_secs(3)), true),
            (Fault::Slow(Duration::from_secs(30)), false),
        ] {
            net.market.lock().unwrap().faults.script(Call::Hostnodes, fault);
            let answered = net.answer(&request, Duration::from_secs(10));
            assert_eq!(answered.is_ok(), arrives, "{fault:?}");
            assert!(!matches!(answered, Err(NetError::NotSent(_))));
        }
    }
}
