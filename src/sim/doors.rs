//! The network door of one process: the marketplace answers without a socket.
//!
//! The daemon's client cannot tell the difference. Nothing waits here: an answer that is slower than the deadline is a
//! lost one at once. Only where a connection hangs the deadline goes by, on the clock of the market.

use super::marketplace::{Answer, Market, Reaction};
use crate::io::{
    Awaited,
    clock::Clock,
    net::{Net, NetError, Request, Response},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

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
}
