//! Time, as values: a [`Timestamp`] is always handed in, never read here.

use std::time::Duration;

pub use jiff::Timestamp;

/// How long after `earlier` the moment `later` is; zero when it is not later. Clocks may step backwards: an age is never
/// negative.
pub fn elapsed(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

/// `at` plus `duration`, at most the end of time.
pub fn after(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// `at` minus `duration`, at least the beginning of time.
pub fn before(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_sub(duration).unwrap_or(Timestamp::MIN)
}

/// A duration as operators write it: `30s`, `10m`, `6h`, `30d`; the largest unit that divides it, or two units.
pub fn show(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut left = duration.as_secs();
    if left == 0 {
        return if duration.is_zero() { "0s".to_owned() } else { format!("{}ms", duration.as_millis()) };
    }
    let mut parts = Vec::new();
    for (size, unit) in UNITS {
        if left >= size && parts.len() < 2 {
            parts.push(format!("{}{unit}", left / size));
            left %= size;
        }
    }
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_as_they_are_written() {
        for (seconds, text) in [(30, "30s"), (600, "10m"), (21_600, "6h"), (2_592_000, "30d"), (90, "1m30s")] {
            assert_eq!(show(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_clock_that_steps_back_gives_no_negative_age() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(elapsed(after(now, Duration::from_secs(5)), now), Duration::ZERO);
        assert_eq!(elapsed(now, after(now, Duration::from_secs(5))), Duration::from_secs(5));
    }
}
