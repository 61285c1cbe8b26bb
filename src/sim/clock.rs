//! A clock that moves only when somebody waits: the door to time in tests and simulations.

use crate::{
    io::{Awaited, clock::Clock},
    model::{Timestamp, time},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Time that passes at once when it is waited for. Clones share it.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    began_at: Timestamp,
    passed: Arc<Mutex<Duration>>,
}

impl VirtualClock {
    /// Standing still at a moment.
    pub fn at(began_at: Timestamp) -> Self {
        Self { began_at, passed: Arc::new(Mutex::new(Duration::ZERO)) }
    }

    /// Lets time pass.
    pub fn pass(&self, duration: Duration) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        *passed = passed.saturating_add(duration);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        time::after(self.began_at, self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, duration: Duration) -> Awaited<'static, ()> {
        let clock = self.clone();
        Box::pin(async move { clock.pass(duration) })
    }
}
