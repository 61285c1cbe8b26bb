//! The door to time.
//!
//! Two kinds of time come in. The *wall* says when something happened; it may step. The *monotonic* reading paces and
//! times things; it never steps back. The demo's clock runs faster than life by a factor; deadlines of the network stay
//! in real time and do not ask this door.

use super::Awaited;
use crate::model::Timestamp;
use std::time::{Duration, Instant};

/// What time it is, and how to wait.
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// Since this clock was made; never steps back.
    fn monotonic(&self) -> Duration;
    /// Waits so long, by this clock.
    fn sleep(&self, duration: Duration) -> Awaited<'static, ()>;
    /// How long a stretch of real time is by this clock: what a marketplace promises in real time (a quote's minute) is
    /// longer by a clock that runs faster than life.
    fn of_real(&self, duration: Duration) -> Duration {
        duration
    }
}

/// The machine's clock, or one that runs `speed` times faster from the moment it was made.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    started_at: Timestamp,
    speed: u32,
}

impl SystemClock {
    /// In real time.
    pub fn real() -> Self {
        Self::faster(1)
    }

    /// `speed` times faster than life; 0 counts as 1.
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub fn faster(speed: u32) -> Self {
        Self { started: Instant::now(), started_at: Timestamp::now(), speed: speed.max(1) }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn now(&self) -> Timestamp {
        if self.speed == 1 {
            return Timestamp::now();
        }
        crate::model::time::after(self.started_at, self.monotonic())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn monotonic(&self) -> Duration {
        self.started.elapsed().saturating_mul(self.speed)
    }

    fn sleep(&self, duration: Duration) -> Awaited<'static, ()> {
        Box::pin(tokio::time::sleep(duration / self.speed))
    }

    fn of_real(&self, duration: Duration) -> Duration {
        duration.saturating_mul(self.speed)
    }
}
