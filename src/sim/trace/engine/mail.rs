//! The network door of a play: what the engine sends lies here until whoever holds the step answers it.
//!
//! A step is lent to a player only while it is open, and a door is there for good; so the door keeps what is sent as a
//! letter, the play answers it between two polls of the engine's tick, and nobody waits for anything but that. Everything is
//! on one thread and in order: the same letters have the same answers.

use crate::{
    io::{
        Awaited,
        net::{Net, NetError, Request, Response},
    },
    sim::clock::VirtualClock,
};
use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::sync::oneshot;

/// So often in a row the engine may be asked to go on without a letter being sent. It lets others go first now and then; far
/// more than that means that it waits for what will never come.
const IDLE_MAX: u32 = 10_000;

/// One request, and where its answer goes.
pub(super) type Letter = (Request, oneshot::Sender<Response>);

/// Letters that nobody has answered yet. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Mail(Arc<Mutex<Vec<Letter>>>);

/// The engine waits for something that is not in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine waits for something that no rehearsal has; this is a bug")]
pub struct Stuck;

impl Mail {
    fn taken(&self) -> Vec<Letter> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes on with some work to its end, answering what it sends meanwhile, by a clock that leaps where it can only wait.
    ///
    /// # Errors
    /// When it can neither go on nor wait.
    pub fn while_answering<T>(
        &self,
        clock: &VirtualClock,
        work: impl Future<Output = T>,
        mut answer: impl FnMut(&Request) -> Response,
    ) -> Result<T, Stuck> {
        let mut work = pin!(clock.run(work));
        let mut context = Context::from_waker(Waker::noop());
        let mut idle = 0;
        while idle < IDLE_MAX {
            if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
                return Ok(done);
            }
            let letters = self.taken();
            idle = if letters.is_empty() { idle + 1 } else { 0 };
            for (request, reply) in letters {
                // Whoever does not wait for the answer any more sent it all the same.
                let _ = reply.send(answer(&request));
            }
        }
        Err(Stuck)
    }
}

impl Net for Mail {
    fn send(&self, request: Request, _: Duration) -> Awaited<'_, Result<Response, NetError>> {
        let (reply, answer) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((request, reply));
        Box::pin(async move { answer.await.map_err(|_| NetError::Lost("the rehearsal is over".to_owned())) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::clock::Clock;

    #[test]
    fn letters_are_answered_in_order_and_waits_are_over_at_once() {
        let (mail, clock) = (Mail::default(), VirtualClock::patient(crate::model::Timestamp::UNIX_EPOCH));
        let mut asked = Vec::new();
        let work = async {
            let send = |path: &str| mail.send(Request::get(path), Duration::from_secs(1));
            let both = tokio::join!(send("/a"), send("/b"));
            clock.sleep(Duration::from_secs(60)).await;
            let third = send("/c").await;
            [both.0, both.1, third].map(|answer| answer.unwrap().status)
        };
        let statuses = mail.while_answering(&clock, work, |request| {
            asked.push(request.path.clone());
            Response::json(200 + u16::try_from(asked.len()).unwrap(), "{}")
        });
        assert_eq!(statuses, Ok([201, 202, 203]));
        assert_eq!(asked, ["/a", "/b", "/c"]);
        assert_eq!(clock.monotonic(), Duration::from_secs(60));
    }

    #[test]
    fn who_waits_for_nothing_is_told_so() {
        let (mail, clock) = (Mail::default(), VirtualClock::patient(crate::model::Timestamp::UNIX_EPOCH));
        let forever = std::future::pending::<()>();
        assert_eq!(mail.while_answering(&clock, forever, |_| Response::json(200, "{}")), Err(Stuck));
    }
}
