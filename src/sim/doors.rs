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
