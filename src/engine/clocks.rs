//! Whether somebody set the wall clock while we ran.
//!
//! Everything that was seen is dated by the wall clock: answers about bids, balances, lists. When that clock is set back,
//! what is old looks fresh until the clock has caught up, and money would be spent on it. So a tick compares the wall clock
//! with the monotonic one, and after a step begins with nothing seen, once the journal says that the clock was set: what it
//! remembers moves with the clock (`ledger::moved`).

use crate::model::{Guard, Timestamp, time};
use std::time::Duration;

/// A clock that is only corrected runs at most this much off in one tick.
const SLACK: Duration = Duration::from_secs(5);
/// And this share of the time that went by, for clocks that are slewed.
const SLACK_SHARE: u32 = 20;

/// Both clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// What the calendar says.
    pub wall: Timestamp,
    /// Never set by anybody.
    pub monotonic: Duration,
}

impl Clocks {
    /// Whether the wall clock was set between an earlier reading and this one.
    pub fn was_set_since(self, earlier: Self) -> bool {
        let passed = self.monotonic.saturating_sub(earlier.monotonic);
        // One of both is zero.
        let forwards = time::elapsed(earlier.wall, self.wall);
        let backwards = time::elapsed(self.wall, earlier.wall);
        let off = forwards.abs_diff(passed).saturating_add(backwards);
        !Guard::ClockStep.holds(off <= SLACK.max(passed / SLACK_SHARE))
    }

    /// By how much more the wall clock advanced since an earlier reading than time went by; zero where it was set back.
    pub fn set_forwards_since(self, earlier: Self) -> Duration {
        let passed = self.monotonic.saturating_sub(earlier.monotonic);
        time::elapsed(earlier.wall, self.wall).saturating_sub(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wall: &str, monotonic: u64, was_set: bool) {
        let earlier = Clocks { wall: "2026-11-20T12:00:00Z".parse().unwrap(), monotonic: Duration::from_secs(1_000) };
        let later = Clocks { wall: wall.parse().unwrap(), monotonic: Duration::from_secs(1_000 + monotonic) };
        assert_eq!(later.was_set_since(earlier), was_set, "{wall} after {monotonic} s");
    }

    #[test]
    fn time_that_goes_by_is_no_step() {
        check("2026-11-20T12:00:00Z", 0, false);
        check("2026-11-20T12:00:30Z", 30, false);
        check("2026-11-20T12:00:33Z", 30, false);
        check("2026-11-20T13:02:00Z", 3_600, false);
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_in_both_directions() {
        check("2026-11-20T11:00:00Z", 30, true);
        check("2026-11-20T11:59:50Z", 0, true);
        check("2026-11-20T12:00:10Z", 30, true);
        check("2026-11-20T13:00:30Z", 30, true);
    }
}
