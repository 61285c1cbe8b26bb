//! Where nothing may be rented for a while, by the journal: marketplaces that the operator paused or that billed more than
//! was agreed three times in an hour, and machines on which a deploy has just failed.
//!
//! It counts by itself. The ledger counts the same things for the plan, and one that counts wrongly would look right to
//! whoever asks it.

use crate::{
    ledger::{Intent, Record, Scope, Standing},
    model::{AccountName, HostnodeId, InstanceId, MarketplaceName, VmName, reason::Teardown},
};
use std::collections::{BTreeMap, BTreeSet};

/// Teardowns for a bill within an hour that close a marketplace. Source: CONTRACT, "Billed more than agreed".
const OVERBILLED_MAX: usize = 3;
const HOUR_MS: i64 = 3_600_000;
/// Failures in a row that close a machine for a day. Source: CONTRACT, `cooldown_up`.
const FAILURES_MAX: u32 = 3;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What failed on a machine.
#[derive(Clone, Copy, Debug, Default)]
struct Failed {
    times: u32,
    at_ms: i64,
    cooldown_ms: i64,
}

/// What is closed. Moments are the daemon's, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Bans {
    paused: BTreeSet<MarketplaceName>,
    overbilled: BTreeMap<MarketplaceName, BTreeMap<(VmName, InstanceId), i64>>,
    failed: BTreeMap<(AccountName, HostnodeId), Failed>,
}

impl Bans {
    /// `intents` are of all VMs that were ever rented.
    pub(super) fn fold(&mut self, at_ms: i64, record: &Record, intents: &BTreeMap<VmName, Intent>) {
        match record {
            Record::Paused { scope: Scope::Marketplace(marketplace) } => drop(self.paused.insert(marketplace.clone())),
            Record::Resumed { scope: Scope::Marketplace(marketplace) } => {
                self.paused.remove(marketplace);
                self.overbilled.remove(marketplace);
            }
            Record::DeleteIntended { name, id, reason: Teardown::Overbilled, why: _ } => {
                let Some(intent) = intents.get(name) else { return };
                let times = self.overbilled.entry(intent.marketplace.clone()).or_default();
                if times.len() < OVERBILLED_MAX {
                    times.retain(|_, at| at_ms - *at < HOUR_MS);
                    times.entry((name.clone(), id.clone())).or_insert(at_ms);
                }
            }
            Record::HostFailed { account, hostnode, cooldown_ms, refusal: _ } => {
                let failed = self.failed.entry((account.clone(), hostnode.clone())).or_default();
                let doublings = failed.times.min(20);
                let cooldown_ms = i64::try_from(*cooldown_ms).unwrap_or(DAY_MS).saturating_mul(1 << doublings);
                *failed = Failed { times: failed.times.saturating_add(1), at_ms, cooldown_ms: cooldown_ms.min(DAY_MS) };
            }
            Record::Standing { name, to: Standing::Running, .. } => {
                if let Some(intent) = intents.get(name) {
                    self.failed.remove(&(intent.account.clone(), intent.hostnode.clone()));
                }
            }
            _ => {}
        }
    }

    /// Why nothing may be rented there now, if something forbids it. Who set the clock back since a failure is let off.
    pub(super) fn forbids(&self, at_ms: i64, intent: &Intent) -> Option<String> {
        let Intent { marketplace, account, hostnode, .. } = intent;
        if self.paused.contains(marketplace) {
            return Some(format!("{marketplace} is paused"));
        }
        if self.overbilled.get(marketplace).is_some_and(|times| times.len() >= OVERBILLED_MAX) {
            return Some(format!("{marketplace} billed too much too often"));
        }
        let failed = self.failed.get(&(account.clone(), hostnode.clone()))?;
        let passed = at_ms - failed.at_ms;
        let closed_ms = if failed.times >= FAILURES_MAX { DAY_MS } else { failed.cooldown_ms };
        (0..closed_ms)
            .contains(&passed)
            .then(|| format!("{hostnode} failed {} times, last {passed} ms ago", failed.times))
    }
}
