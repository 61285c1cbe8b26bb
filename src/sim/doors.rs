//! The network door of one process: the marketplace answers without a socket.
//!
//! The daemon's client cannot tell the difference. Nothing waits here: an answer that is slower than the deadline is a
//! lost one at once.

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
