//! A wall clock that is wrong: it jumps, it drifts, and it is set.
//!
//! True time is a [`VirtualClock`], by which the market lives. A [`Wall`] is what a daemon's machine takes it to be: off by
//! some seconds, and by more the longer a drift goes on. Its monotonic reading and its waits are those of true time: they
//! never step (CLOCK_MONOTONIC, documented).

use super::clock::VirtualClock;
use crate::{
    io::{Awaited, clock::Clock},
    model::Timestamp,
};
use jiff::SignedDuration;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// No clock drifts faster than this, in parts per million: a machine would be told.
const DRIFT_PPM_MAX: i64 = 100_000;

/// What a wall clock shows, against true time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Error {
    /// So far off it was when the drift was last set.
    offset: SignedDuration,
    /// Microseconds per second that it runs too fast.
    drift_ppm: i64,
    /// When the drift was last set, by the monotonic clock.
    since: Duration,
}

impl Error {
    fn at(self, monotonic: Duration) -> SignedDuration {
        let passed = i64::try_from(monotonic.saturating_sub(self.since).as_millis()).unwrap_or(i64::MAX);
        let drifted = SignedDuration::from_millis(passed.saturating_mul(self.drift_ppm) / 1_000_000);
        self.offset.saturating_add(drifted)
    }
}

/// A machine's clock. Clones share it.
#[derive(Clone, Debug)]
pub struct Wall {
    time: VirtualClock,
    error: Arc<Mutex<Error>>,
}

impl Wall {
    /// One that is right.
    pub fn of(time: VirtualClock) -> Self {
        Self { time, error: Arc::default() }
    }

    /// True time.
    pub const fn true_time(&self) -> &VirtualClock {
        &self.time
    }

    fn error(&self) -> MutexGuard<'_, Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it is off now.
    pub fn off_by(&self) -> SignedDuration {
        self.error().at(self.time.monotonic())
    }

    /// It steps, forwards or back.
    pub fn step(&self, by: SignedDuration) {
        let mut error = self.error();
        error.offset = error.offset.saturating_add(by);
    }

    /// From now on it runs so many millionths too fast; less than nothing: too slow. At most a tenth.
    pub fn drift(&self, ppm: i64) {
        let now = self.time.monotonic();
        let mut error = self.error();
        *error = Error { offset: error.at(now), drift_ppm: ppm.clamp(-DRIFT_PPM_MAX, DRIFT_PPM_MAX), since: now };
    }

    /// It is right again, and stays so.
    pub fn set_right(&self) {
        *self.error() = Error::default();
    }
}

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let off = self.off_by();
        self.time.now().checked_add(off).unwrap_or_else(|_| self.time.now())
    }

    fn monotonic(&self) -> Duration {
        self.time.monotonic()
    }

    fn sleep(&self, duration: Duration) -> Awaited<'static, ()> {
        self.time.sleep(duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_steps_and_drifts_and_its_monotonic_reading_does_neither() {
        let time = VirtualClock::at(Timestamp::UNIX_EPOCH);
        let wall = Wall::of(time.clone());
        let pass = |seconds| time.pass(Duration::from_secs(seconds));
        pass(100);
        wall.step(SignedDuration::from_secs(-40));
        assert_eq!((wall.now().as_second(), wall.monotonic().as_secs()), (60, 100));
        wall.drift(10_000);
        pass(100);
        assert_eq!((wall.now().as_second(), wall.monotonic().as_secs()), (161, 200));
        wall.drift(-10_000);
        pass(100);
        assert_eq!(wall.now().as_second(), 260);
        wall.set_right();
        assert_eq!((wall.now().as_second(), wall.off_by()), (300, SignedDuration::ZERO));
    }
}
