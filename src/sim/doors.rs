//! The network door of one process: the marketplace answers without a socket.
//!
//! The daemon's client cannot tell the difference. [`InProcess`] is the plain door, in which nothing waits: an answer that is
//! slower than the deadline is a lost one at once, and only where a connection hangs the deadline goes by, on the clock of the
//! market. [`Doors`] are those of a rehearsed daemon: each marketplace's leads to a market, has [`Weather`] of its own,
//! remembers what was sent, and hangs on the machine's power supply.

use super::{
    faults::Fault,
    marketplace::{Answer, Market, Reaction},
    power::{Power, Side},
};
use crate::{
    io::{
        Awaited,
        clock::Clock,
        net::{Net, NetError, Request, Response},
    },
    market::Call,
    model::{MarketplaceName, Timestamp, time},
    settings::Api,
};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
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

/// What a client hears, and how long it waits for that.
struct Answered {
    after: Duration,
    what: Result<Response, NetError>,
}

impl Answered {
    const fn at_once(what: Result<Response, NetError>) -> Self {
        Self { after: Duration::ZERO, what }
    }
}

impl InProcess {
    fn answer(&self, request: &Request, deadline: Duration) -> Answered {
        let now = self.clock.now();
        let lost = |how: &str| Err(NetError::Lost(how.to_owned()));
        let Reaction { answer, delay, call: _, fault: _ } =
            self.market.lock().unwrap_or_else(PoisonError::into_inner).handle(now, request);
        match answer {
            Answer::Nothing if delay > deadline => Answered { after: deadline, what: lost("timed out") },
            Answer::Whole(_) | Answer::Cut(_) if delay > deadline => Answered::at_once(lost("timed out")),
            Answer::Whole(response) => Answered::at_once(Ok(response)),
            Answer::Cut(_) | Answer::Nothing => Answered::at_once(lost("the connection was closed")),
        }
    }
}

impl Net for InProcess {
    fn send(&self, request: Request, deadline: Duration) -> Awaited<'_, Result<Response, NetError>> {
        let Answered { after, what } = self.answer(&request, deadline);
        Box::pin(async move {
            if !after.is_zero() {
                self.clock.sleep(after).await;
            }
            what
        })
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
    /// In which API's words, and which of its calls; `None` where nobody would understand it.
    pub call: Option<(Api, Call)>,
}

/// A request whose sender is gone before it has arrived.
#[derive(Clone)]
struct UnderWay {
    to: InProcess,
    request: Request,
    /// When it arrives, by the monotonic clock.
    due: Duration,
    /// Likewise, by the market's.
    due_at: Timestamp,
}

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnderWay").field("path", &self.request.path).field("due", &self.due).finish_non_exhaustive()
    }
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
    under_way: Arc<Mutex<Vec<UnderWay>>>,
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

    /// How long a request takes through a marketplace's door now.
    pub fn delay(&self, marketplace: &MarketplaceName) -> Duration {
        match held(&self.weather).get(marketplace) {
            Some(Weather::Slow(delay)) => *delay,
            Some(Weather::Says(_) | Weather::Hangs | Weather::HangsOn(_)) | None => Duration::ZERO,
        }
    }

    /// The newest requests, in order.
    pub fn sent(&self) -> Vec<Sent> {
        held(&self.sent).iter().cloned().collect()
    }

    /// Whether anything is to arrive by now, by the monotonic clock.
    pub fn is_due(&self, now: Duration) -> bool {
        held(&self.under_way).iter().any(|one| one.due <= now)
    }

    /// What is due by now arrives; `now` is the monotonic clock's.
    pub fn deliver(&self, now: Duration) {
        let mut due: Vec<UnderWay> = held(&self.under_way).extract_if(.., |one| one.due <= now).collect();
        due.sort_by_key(|one| one.due);
        for UnderWay { to, request, due: _, due_at } in due {
            // Nobody is there any more to whom it could be answered.
            let _ = held(&to.market).handle(due_at, &request);
        }
    }

    /// How many requests are still to arrive.
    pub fn under_way(&self) -> usize {
        held(&self.under_way).len()
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
            let call = held(&self.inner.market).recognise(&request);
            sent.push_back(Sent { marketplace, at, path: request.path.clone(), call });
        }
        match weather {
            None => self.inner.send(request, deadline).await,
            Some(Weather::Says(response)) => Ok(response),
            Some(Weather::Slow(delay)) => {
                self.inner.clock.sleep(delay).await;
                self.inner.send(request, deadline).await
            }
            Some(Weather::HangsOn(part)) if !request.path.contains(part) => self.inner.send(request, deadline).await,
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
                Some(Side::Late(delay)) => {
                    let (due, due_at) = (self.inner.clock.monotonic(), self.inner.clock.now());
                    let (due, due_at) = (due.saturating_add(delay), time::after(due_at, delay));
                    held(&self.doors.under_way).push(UnderWay { to: self.inner.clone(), request, due, due_at });
                    self.power.go();
                }
                Some(Side::Unlisted(delay)) => {
                    {
                        let mut market = held(&self.inner.market);
                        if let Some((_, call)) = market.recognise(&request) {
                            market.faults.script(call, Fault::LateVm(delay));
                        }
                    }
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
        super::{Call, Fault, Faults, World, WorldOptions, clock::VirtualClock, faults::Effected},
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
            (Fault::LateEffect(Duration::from_secs(30)), false),
            (Fault::BadGateway, true),
            (Fault::LostRequest, false),
            (Fault::CutAnswer, false),
            (Fault::Slow(Duration::from_secs(3)), true),
            (Fault::Slow(Duration::from_secs(30)), false),
        ] {
            net.market.lock().unwrap().faults.script(Call::Hostnodes, fault);
            let Answered { after, what: answered } = net.answer(&request, Duration::from_secs(10));
            assert_eq!(after, Duration::ZERO);
            assert_eq!(answered.is_ok(), arrives, "{fault:?}");
            assert!(!matches!(answered, Err(NetError::NotSent(_))));
        }
    }

    #[tokio::test]
    async fn a_hanging_connection_costs_the_whole_deadline() {
        let clock = VirtualClock::at(crate::model::Timestamp::UNIX_EPOCH);
        let world = World::new(1, clock.now(), WorldOptions::lifelike("100".parse().unwrap()));
        let market = Arc::new(Mutex::new(Market::of_all_dialects(world, Faults::none(), None, None)));
        market.lock().unwrap().faults.script(Call::Hostnodes, Fault::Hang(Effected::No));
        let net = InProcess { market, clock: Arc::new(clock.clone()) };
        let answered = net.send(Request::get("/api/v0/client/deploy/hostnodes"), Duration::from_secs(7)).await;
        assert!(matches!(answered, Err(NetError::Lost(_))), "{answered:?}");
        assert_eq!(clock.monotonic(), Duration::from_secs(7));
    }

    #[tokio::test]
    async fn what_is_under_way_when_the_power_goes_arrives_when_it_is_due_and_once() {
        let clock = super::super::clock::VirtualClock::at(Timestamp::UNIX_EPOCH);
        let world = World::new(1, Timestamp::UNIX_EPOCH, WorldOptions::lifelike("100".parse().unwrap()));
        let market = Arc::new(Mutex::new(Market::of_all_dialects(world, Faults::none(), None, None)));
        let (doors, power) = (Doors::default(), Power::default());
        power.cut_at(super::super::power::Cut::Request(1, Side::Late(Duration::from_secs(60))));
        let inner = InProcess { market: Arc::clone(&market), clock: Arc::new(clock) };
        let door = doors.of("tensordock".parse().unwrap(), inner, power.clone());
        let request = Request::get("/api/v0/client/deploy/hostnodes");
        tokio::select! {
            biased;
            _ = door.send(request, Duration::from_secs(10)) => panic!("nobody is there to be answered"),
            () = power.gone() => {}
        }
        let handled = || market.lock().unwrap().handled().values().sum::<u64>();
        doors.deliver(Duration::from_secs(59));
        assert_eq!((handled(), doors.under_way(), doors.is_due(Duration::from_secs(60))), (0, 1, true));
        doors.deliver(Duration::from_secs(60));
        doors.deliver(Duration::from_secs(61));
        assert_eq!((handled(), doors.under_way()), (1, 0));
    }
}
