//! A clock that moves only when somebody waits: the door to time in tests and simulations.
//!
//! In a hurry ([`VirtualClock::at`]), a wait is over as soon as it begins, and those that wait side by side wait one after
//! another. A patient clock ([`VirtualClock::patient`]) lets them wait side by side: whatever runs under
//! [`VirtualClock::run`] goes on for as long as it can without waiting, and then time leaps to the end of the shortest wait.

use crate::{
    io::{Awaited, clock::Clock},
    model::{Timestamp, time},
};
use std::{
    collections::BTreeMap,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};
use tokio::sync::Notify;

/// Time that passes at once when it is waited for. Clones share it.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    began_at: Timestamp,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    passed: Duration,
    patience: Patience,
    /// Who waits until when, in the order in which they began to.
    waiting: BTreeMap<(Duration, u64), Waker>,
    waits: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    Hurried,
    Patient,
}

/// Somebody under [`VirtualClock::run`] can go on.
#[derive(Default)]
struct Nudge {
    is_given: AtomicBool,
    given: Notify,
}

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.is_given.store(true, Ordering::Release);
        self.given.notify_one();
    }
}

impl Nudge {
    fn taken(&self) -> bool {
        self.is_given.swap(false, Ordering::AcqRel)
    }
}

impl VirtualClock {
    /// Standing still at a moment, and in a hurry.
    pub fn at(began_at: Timestamp) -> Self {
        Self::with(began_at, Patience::Hurried)
    }

    /// Standing still at a moment. Nobody may wait but under [`VirtualClock::run`].
    pub fn patient(began_at: Timestamp) -> Self {
        Self::with(began_at, Patience::Patient)
    }

    fn with(began_at: Timestamp, patience: Patience) -> Self {
        let state = State { passed: Duration::ZERO, patience, waiting: BTreeMap::new(), waits: 0 };
        Self { began_at, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass.
    pub fn pass(&self, duration: Duration) {
        let mut state = self.state();
        state.passed = state.passed.saturating_add(duration);
    }

    /// Runs something to its end, letting time pass whenever it can only wait.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let nudge = Arc::new(Nudge::default());
        let waker = Waker::from(Arc::clone(&nudge));
        loop {
            if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
                return done;
            }
            if nudge.taken() {
                continue;
            }
            // Who only let others go first is woken by the runtime, and not at once.
            tokio::task::yield_now().await;
            if !nudge.taken() && !self.leap() {
                nudge.given.notified().await;
            }
        }
    }

    /// To the end of the shortest wait; `false` when nobody waits.
    fn leap(&self) -> bool {
        let mut state = self.state();
        let Some(((until, _), waker)) = state.waiting.pop_first() else { return false };
        state.passed = state.passed.max(until);
        drop(state);
        waker.wake();
        true
    }
}

/// Somebody waits.
struct Wait {
    clock: VirtualClock,
    until: (Duration, u64),
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.state();
        if state.passed >= self.until.0 {
            return Poll::Ready(());
        }
        state.waiting.insert(self.until, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.clock.state().waiting.remove(&self.until);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        time::after(self.began_at, self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.state().passed
    }

    fn sleep(&self, duration: Duration) -> Awaited<'static, ()> {
        let clock = self.clone();
        let mut state = self.state();
        match state.patience {
            Patience::Hurried => Box::pin(async move { clock.pass(duration) }),
            Patience::Patient => {
                state.waits += 1;
                let until = (state.passed.saturating_add(duration), state.waits);
                drop(state);
                Box::pin(Wait { clock, until })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[tokio::test]
    async fn in_a_hurry_waits_add_up_and_with_patience_they_go_side_by_side() {
        for (clock, lasted) in
            [(VirtualClock::at(Timestamp::UNIX_EPOCH), 15), (VirtualClock::patient(Timestamp::UNIX_EPOCH), 10)]
        {
            let both = async { tokio::join!(clock.sleep(seconds(10)), clock.sleep(seconds(5))) };
            clock.run(both).await;
            assert_eq!(clock.monotonic(), seconds(lasted), "{clock:?}");
            assert_eq!(clock.now().as_second() as u64, lasted);
        }
    }

    #[tokio::test]
    async fn a_patient_clock_ends_the_shortest_wait_first_and_stands_still_while_anybody_can_go_on() {
        let clock = VirtualClock::patient(Timestamp::UNIX_EPOCH);
        let told = Mutex::new(Vec::new());
        let tell = |what: &'static str| told.lock().unwrap().push((what, clock.monotonic().as_secs()));
        clock
            .run(async {
                let slow = async {
                    clock.sleep(seconds(9)).await;
                    tell("slow");
                };
                let busy = async {
                    for _ in 0..5 {
                        tokio::task::yield_now().await;
                    }
                    tell("busy");
                    clock.sleep(seconds(2)).await;
                    tell("quick");
                };
                tokio::join!(slow, busy)
            })
            .await;
        assert_eq!(told.into_inner().unwrap(), [("busy", 0), ("quick", 2), ("slow", 9)]);
    }

    #[tokio::test]
    async fn a_wait_that_nobody_waits_for_any_more_ends_nothing() {
        let clock = VirtualClock::patient(Timestamp::UNIX_EPOCH);
        let first = clock.run(async {
            let first = tokio::select! {
                () = clock.sleep(seconds(60)) => "long",
                () = clock.sleep(seconds(1)) => "short",
            };
            clock.sleep(seconds(2)).await;
            first
        });
        assert_eq!((first.await, clock.monotonic()), ("short", seconds(3)));
    }
}
