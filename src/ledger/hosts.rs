//! What we learned of each hostnode: how often deploys on it failed, and how much of the time our VMs on it were up.
//!
//! After a failed deploy a hostnode cools down; the time doubles with each failure in a row. After three it is in
//! quarantine: nothing is rented there for a day, and then a single further failure quarantines it again. A deploy that was
//! answered well proves nothing yet: a VM that never comes to run is a failure too, and one that runs makes all forgotten.

use super::moved::Moved;
use crate::model::{AccountName, HostnodeId, Timestamp, time};
use std::{collections::BTreeMap, time::Duration};

/// Failures in a row that quarantine a hostnode. Source: CONTRACT, `cooldown_up`.
const FAILURES_MAX: u32 = 3;
/// How long a quarantine lasts.
const QUARANTINE: Duration = Duration::from_secs(24 * 3_600);
/// No cooldown is longer.
const COOLDOWN_MAX: Duration = QUARANTINE;
/// Less experience than this says nothing about a hostnode's uptime.
const EXPERIENCE_MIN: Duration = Duration::from_secs(3_600);
/// What a VM that vanished with its hostnode weighs, as time that it was down.
const VANISHED: Duration = Duration::from_secs(3_600);

/// By whom it is paid, and the vendor's id.
pub type HostKey = (AccountName, HostnodeId);

/// What follows from what we learned of a hostnode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostMemory {
    /// Nothing is deployed there before.
    pub cooldown_until: Option<Timestamp>,
    /// It failed three times in a row, the last time less than a day ago.
    pub quarantined: bool,
    /// Share of the time that our VMs there were up, in millionths, once there is an hour of it.
    pub uptime_ppm: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Host {
    failures: u32,
    failed_at: Option<Timestamp>,
    cooldown: Duration,
    up: Duration,
    down: Duration,
}

/// What we learned of all hostnodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    hosts: BTreeMap<HostKey, Host>,
}

impl Hosts {
    pub(super) fn failed(&mut self, key: HostKey, cooldown: Duration, at: Timestamp) {
        let host = self.hosts.entry(key).or_default();
        host.failures = host.failures.saturating_add(1);
        host.failed_at = Some(at);
        let doublings = host.failures.saturating_sub(1).min(30);
        host.cooldown = cooldown.saturating_mul(1 << doublings).min(COOLDOWN_MAX);
    }

    pub(super) fn move_with_clock(&mut self, moved: Moved) {
        self.hosts.values_mut().filter_map(|host| host.failed_at.as_mut()).for_each(|at| moved.shift(at));
    }

    pub(super) fn served(&mut self, key: HostKey) {
        let host = self.hosts.entry(key).or_default();
        (host.failures, host.failed_at) = (0, None);
    }

    pub(super) fn was_up(&mut self, key: HostKey, lasted: Duration) {
        let host = self.hosts.entry(key).or_default();
        host.up = host.up.saturating_add(lasted);
    }

    pub(super) fn was_down(&mut self, key: HostKey, lasted: Duration) {
        let host = self.hosts.entry(key).or_default();
        host.down = host.down.saturating_add(lasted);
    }

    pub(super) fn vanished(&mut self, key: HostKey) {
        self.was_down(key, VANISHED);
    }

    /// What follows from it; `running` adds the time that VMs which run now have been up.
    pub(super) fn remembered(
        &self,
        running: &BTreeMap<HostKey, Duration>,
        now: Timestamp,
    ) -> BTreeMap<HostKey, HostMemory> {
        let none = Host::default();
        let keys = self.hosts.keys().chain(running.keys().filter(|key| !self.hosts.contains_key(*key)));
        keys.map(|key| {
            let running = running.get(key).copied().unwrap_or_default();
            (key.clone(), self.hosts.get(key).unwrap_or(&none).memory(running, now))
        })
        .collect()
    }
}

impl Host {
    fn memory(&self, running: Duration, now: Timestamp) -> HostMemory {
        let quarantined =
            self.failures >= FAILURES_MAX && self.failed_at.is_some_and(|failed| now < time::after(failed, QUARANTINE));
        let cooldown_until = self.failed_at.map(|failed| time::after(failed, self.cooldown));
        let up = self.up.saturating_add(running);
        let whole = up.saturating_add(self.down);
        let uptime_ppm = (whole >= EXPERIENCE_MIN)
            .then(|| up.as_millis().saturating_mul(1_000_000) / whole.as_millis().max(1))
            .and_then(|ppm| u32::try_from(ppm).ok());
        HostMemory { cooldown_until: cooldown_until.filter(|until| now < *until), quarantined, uptime_ppm }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> HostKey {
        ("tensordock".parse().unwrap(), "h1".parse().unwrap())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn memory(hosts: &Hosts, now: i64) -> HostMemory {
        hosts.remembered(&BTreeMap::new(), at(now)).remove(&key()).unwrap()
    }

    #[test]
    fn a_cooldown_doubles_and_three_in_a_row_quarantine_for_a_day() {
        let mut hosts = Hosts::default();
        let cooldown = Duration::from_secs(30);
        hosts.failed(key(), cooldown, at(0));
        assert_eq!(memory(&hosts, 29).cooldown_until, Some(at(30)));
        assert_eq!(memory(&hosts, 30).cooldown_until, None);
        hosts.failed(key(), cooldown, at(100));
        assert_eq!(memory(&hosts, 100).cooldown_until, Some(at(160)));
        assert!(!memory(&hosts, 100).quarantined);
        hosts.failed(key(), cooldown, at(200));
        assert_eq!(memory(&hosts, 200).cooldown_until, Some(at(320)));
        assert!(memory(&hosts, 200 + 86_399).quarantined);
        assert!(!memory(&hosts, 200 + 86_400).quarantined);
        hosts.failed(key(), cooldown, at(100_000));
        assert!(memory(&hosts, 100_001).quarantined, "one more is enough");
        hosts.served(key());
        assert_eq!(memory(&hosts, 100_001), HostMemory::default());
    }

    #[test]
    fn no_cooldown_is_longer_than_a_day_however_often_it_fails() {
        let mut hosts = Hosts::default();
        for _ in 0..100 {
            hosts.failed(key(), Duration::MAX, at(0));
        }
        assert_eq!(memory(&hosts, 0).cooldown_until, Some(at(86_400)));
    }

    #[test]
    fn an_uptime_of_our_own_needs_an_hour_of_experience() {
        let mut hosts = Hosts::default();
        hosts.was_up(key(), Duration::from_secs(3_599));
        assert_eq!(memory(&hosts, 0).uptime_ppm, None);
        hosts.was_up(key(), Duration::from_secs(1));
        assert_eq!(memory(&hosts, 0).uptime_ppm, Some(1_000_000));
        hosts.vanished(key());
        assert_eq!(memory(&hosts, 0).uptime_ppm, Some(500_000));
        let running = BTreeMap::from([(key(), Duration::from_secs(2 * 3_600))]);
        assert_eq!(hosts.remembered(&running, at(0))[&key()].uptime_ppm, Some(750_000));
    }
}
