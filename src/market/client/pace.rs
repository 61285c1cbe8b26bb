//! The pace of an account: who may send the next request, and when.
//!
//! Marketplaces that one account pays for are, at the vendor's end, one organisation with one allowance: so they share a
//! pacer. Each request takes the interval of its own marketplace, and slots are given in order of arrival. As no
//! marketplace has more than one read and one write waiting here, neither of them starves the other, nor does one
//! marketplace another.
//!
//! That a marketplace wants to be left alone is its own affair: a request to it sits that out *before* it stands in line,
//! so that the account's other marketplaces go on meanwhile. The pacer outlives the clients: a reload of the settings gives
//! nobody a fresh allowance.

use crate::{
    io::{clock::Clock, net::Response},
    model::{MarketplaceName, Timestamp},
};
use std::{
    collections::BTreeMap,
    sync::{Mutex as SyncMutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Mutex;

/// The statuses with which `Retry-After` says when to come back. Source: RFC 9110, RFC 6585 (documented).
const WAIT_STATUSES: [u16; 2] = [429, 503];

/// The slots of one account.
#[derive(Debug, Default)]
pub struct Pacer {
    /// The earliest moment, by the monotonic clock, of the next request.
    next_slot: Mutex<Duration>,
    /// Not before this, because the marketplace asked us to wait.
    held_until: SyncMutex<BTreeMap<MarketplaceName, Duration>>,
}

impl Pacer {
    /// Nothing was sent yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn holds(&self) -> MutexGuard<'_, BTreeMap<MarketplaceName, Duration>> {
        self.held_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when a marketplace wants to be left alone, by the monotonic clock; zero when it never asked for that.
    pub fn held_until(&self, marketplace: &MarketplaceName) -> Duration {
        self.holds().get(marketplace).copied().unwrap_or_default()
    }

    /// A marketplace wants to be left alone. An earlier and longer wish stands.
    pub fn hold(&self, marketplace: &MarketplaceName, until: Duration) {
        let mut holds = self.holds();
        let held = holds.entry(marketplace.clone()).or_default();
        *held = until.max(*held);
    }

    /// Waits for as long as the marketplace wants to be left alone, and then for the next slot, which it takes.
    ///
    /// What asks us to wait is the answer to a request under way, and of those there are few: the loop ends.
    ///
    /// # Errors
    /// How long the marketplace still wants to be left alone, where that is longer than `hold_max`; nothing was waited for.
    pub async fn slot(
        &self,
        clock: &dyn Clock,
        marketplace: &MarketplaceName,
        interval: Duration,
        hold_max: Duration,
    ) -> Result<(), Duration> {
        loop {
            let held = self.held_until(marketplace).saturating_sub(clock.monotonic());
            if held > hold_max {
                return Err(held);
            }
            if !held.is_zero() {
                clock.sleep(held).await;
            }
            let mut next_slot = self.next_slot.lock().await;
            let now = clock.monotonic();
            let at = now.max(*next_slot);
            if at > now {
                clock.sleep(at - now).await;
            }
            // Asked to wait while it stood in line: the slot is the next one's.
            if self.held_until(marketplace) > clock.monotonic() {
                continue;
            }
            *next_slot = at + interval;
            return Ok(());
        }
    }
}

/// How long an answer asks us to wait, where its status itself says that we are to.
pub fn told_to_wait(response: &Response, now: Timestamp) -> Option<Duration> {
    if WAIT_STATUSES.contains(&response.status) { response.retry_after(Some(now)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, headers: &[(&str, &str)], expected_s: Option<u64>) {
        let mut response = Response::json(status, "{}");
        response.headers.extend(headers.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        let now = "2026-11-20T18:00:10Z".parse().unwrap();
        assert_eq!(told_to_wait(&response, now).map(|wait| wait.as_secs()), expected_s, "{status} {headers:?}");
    }

    #[test]
    fn a_wait_is_told_in_seconds_or_as_a_date() {
        check(429, &[], None);
        check(429, &[("retry-after", "7")], Some(7));
        check(503, &[("retry-after", " 7 ")], Some(7));
        check(429, &[("retry-after", "99999999999")], Some(3_600));
        for odd in ["-1", "soon", "", "7.5", "Fri, 99 Nov 2026 18:00:30 GMT"] {
            check(429, &[("retry-after", odd)], None);
        }
        // Against our own clock, and against theirs, where they tell it.
        let until = ("retry-after", "Fri, 20 Nov 2026 18:00:30 GMT");
        check(429, &[until], Some(20));
        check(429, &[until, ("date", "Fri, 20 Nov 2026 18:00:00 GMT")], Some(30));
        check(429, &[until, ("date", "no date")], Some(20));
        check(429, &[("retry-after", "Fri, 20 Nov 2026 17:00:00 GMT")], Some(0));
    }

    #[test]
    fn an_answer_that_asks_for_no_wait_is_not_taken_at_that_word() {
        check(200, &[("retry-after", "7")], None);
        check(404, &[("retry-after", "7")], None);
    }

    #[test]
    fn a_shorter_wish_does_not_end_a_longer_one_and_is_nobody_elses() {
        let pacer = Pacer::new();
        let [a, b] = ["a", "b"].map(|name| name.parse().unwrap());
        pacer.hold(&a, Duration::from_secs(30));
        pacer.hold(&a, Duration::from_secs(5));
        assert_eq!((pacer.held_until(&a), pacer.held_until(&b)), (Duration::from_secs(30), Duration::ZERO));
    }
}
