//! Makes the [`Status`] of a tick: a pure function of what the engine holds.

use super::{
    Engine,
    situate::committed_by_account,
    status::{AccountStatus, FleetStatus, Levers, MarketStatus, PolicyStatus, Status, Totals},
};
use crate::policy::Policy;
use crate::{
    ledger::{
        Ledger,
        fleet::{Member, Standing},
        spend::Tally,
    },
    model::{AccountName, FleetName, HourlyRate, MarketView, MarketplaceName, Timestamp, Usd, inventory::Dated, time},
};
use std::collections::BTreeMap;

/// Lines about unreadable items, at most.
const DROPPED_MAX: usize = 20;

impl Engine {
    pub(super) async fn publish(&mut self, finished: bool) {
        let now = self.clock.now();
        let book = self.book.clone();
        let book = book.lock().await;
        let ledger = book.ledger();
        if finished {
            self.ticks += 1;
        }
        let names = self.law.statutes.keys().chain(self.fleets.keys());
        let status = Status {
            at: (self.ticks > 0).then_some(now),
            started_at: self.started_at,
            ticks: self.ticks,
            decision: self.decision.clone(),
            mode: self.mode(),
            scan_interval: self.settings.scan_interval,
            situation: self.situation.clone(),
            plan: self.plan.clone(),
            fleets: names.map(|name| (name.clone(), self.fleet_status(ledger, name, now))).collect(),
            markets: self.inventory.markets.iter().map(|(name, view)| self.market_status(name, view)).collect(),
            accounts: self.account_statuses(ledger, now),
            settings_faults: self
                .settings_faults
                .iter()
                .chain(&self.law.strangers)
                .cloned()
                .chain(self.limits_held_told())
                .collect(),
            troubles: self.troubles.clone(),
        };
        self.status.send_replace(std::sync::Arc::new(status));
    }

    /// That an edit of `[limits]` or `[accounts]` waits, and for whom.
    fn limits_held_told(&self) -> Option<String> {
        let (held, waits_for) = self.limits_held.as_ref()?;
        let what = if held.accounts == self.limits.accounts { "[limits]" } else { "[limits] and [accounts]" };
        let applies: Vec<String> = waits_for.iter().map(|fleet| format!("`spotscale apply {fleet}`")).collect();
        Some(format!(
            "the new {} would let go more than max_scale_down; they are held until {}",
            what,
            applies.join(" and ")
        ))
    }

    fn fleet_status(&self, ledger: &Ledger, name: &FleetName, now: Timestamp) -> FleetStatus {
        let statute = self.law.statutes.get(name);
        let gone = statute.is_none_or(|statute| statute.gone);
        let tally = ledger.spend().fleets().get(name);
        FleetStatus {
            policy: PolicyStatus {
                file: statute.map(|statute| statute.in_force.source.file.clone()).unwrap_or_default(),
                sha256: statute.map(|statute| statute.in_force.digest.clone()).unwrap_or_default(),
                faults: statute.map(|statute| statute.faults.clone()).unwrap_or_default(),
                gone,
                held: statute.and_then(|statute| statute.held.as_ref()).map(|held| {
                    let differs = statute.map(|statute| differences(&statute.in_force.policy, &held.text.policy));
                    let differs = differs.filter(|differs| !differs.is_empty()).map(|differs| format!(" ({differs})"));
                    let told = format!(
                        "it would let go {} VMs with {} GPUs{}",
                        held.loss.vms,
                        held.loss.gpus,
                        differs.unwrap_or_default()
                    );
                    (held.text.digest.clone(), told)
                }),
            },
            levers: self.levers(ledger, name, now),
            totals: Totals {
                spend: tally.map(|tally| tally.usd).unwrap_or_default(),
                gpu_seconds: tally.map_or(0, Tally::gpu_seconds),
                on_demand_equivalent: tally.map(|tally| tally.on_demand_equivalent).unwrap_or_default(),
                spend_today: ledger.spend().on_day_of(now, name),
            },
        }
    }

    fn market_status(&self, name: &MarketplaceName, view: &MarketView) -> (MarketplaceName, MarketStatus) {
        let dropped_of = |dropped: &[crate::model::inventory::Dropped], of: &str| -> Vec<String> {
            dropped.iter().map(|dropped| format!("{of} {}: {}", dropped.what, dropped.why)).collect()
        };
        let instances = view.instances.last.as_ref().map(|scan| dropped_of(&scan.value.dropped, "instance"));
        let hostnodes = view.hostnodes.last.as_ref().map(|scan| dropped_of(&scan.value.dropped, "hostnode"));
        let in_doubt = self.fleets.values().flat_map(|fleet| fleet.members.values());
        let in_doubt =
            in_doubt.filter(|member| member.marketplace == *name && member.standing == Standing::InDoubt).count();
        let status = MarketStatus {
            hostnodes_at: view.hostnodes.last.as_ref().map(|dated| dated.at),
            failed: view.instances.failed.clone().or_else(|| view.hostnodes.failed.clone()),
            dropped: self
                .lacking(name, view)
                .into_iter()
                .chain(instances.into_iter().chain(hostnodes).flatten())
                .take(DROPPED_MAX)
                .collect(),
            in_doubt: u32::try_from(in_doubt).unwrap_or(u32::MAX),
            benched_since: self.benched.get(name).map(|(_, since)| *since),
            asked_again_at: self.asked_again_at(name),
            requests_per_second_milli: self
                .settings
                .marketplaces
                .get(name)
                .map_or(0, |marketplace| marketplace.requests_per_second_milli),
            held_for: self.clients.get(name).map(|(_, client)| client.held_for()).unwrap_or_default(),
            user: self.clients.get(name).map(|(_, client)| client.dialect().user()),
        };
        (name.clone(), status)
    }

    /// VMs of ours that the newest list lacks although nothing proves them gone: why it is not complete.
    fn lacking(&self, name: &MarketplaceName, view: &MarketView) -> Vec<String> {
        let Some(list) = view.instances.current().filter(|_| self.complete.get(name) == Some(&false)) else {
            return Vec::new();
        };
        let listed = |member: &Member| list.value.items.iter().any(|item| Some(&item.id) == member.id.as_ref());
        let members = self.fleets.values().flat_map(|fleet| fleet.members.values());
        members
            .filter(|member| member.marketplace == *name && member.id.is_some() && member.intended_at < list.at)
            .filter(|member| member.standing != Standing::Leaving && !listed(member))
            .map(|member| format!("instance {}: ours, and the newest list lacks it", member.name))
            .collect()
    }

    fn account_statuses(&self, ledger: &Ledger, now: Timestamp) -> BTreeMap<AccountName, AccountStatus> {
        let mut ours: BTreeMap<AccountName, HourlyRate> = BTreeMap::new();
        for (account, rate) in self.fleets.values().flat_map(committed_by_account) {
            let sum = ours.entry(account).or_default();
            *sum = sum.plus(rate);
        }
        let limits = self.limits();
        let floor = |account: &AccountName| -> Usd {
            let rents_there = |name: &FleetName| {
                let policy = &self.law.statutes.get(name)?.in_force.policy;
                let there = |marketplace: &MarketplaceName| {
                    self.inventory.markets.get(marketplace).is_some_and(|view| view.account == *account)
                };
                let all = policy.marketplaces.is_none();
                (all || policy.marketplaces.iter().flatten().any(there)).then_some(policy.balance_floor)
            };
            let floors = self.law.statutes.keys().filter_map(rents_there);
            floors.fold(limits.balance_floor, Usd::max)
        };
        let status = |(name, reading): (&AccountName, &crate::model::Reading<crate::model::Balance>)| {
            let known = ours.get(name).copied().unwrap_or_default();
            let known = known.plus(self.foreign.get(name).copied().unwrap_or_default());
            let balance = reading.last.as_ref();
            let vendor = balance.and_then(|dated| dated.value.hourly_cost).unwrap_or_default();
            let hourly_cost = known.max(vendor);
            let floor = floor(name);
            let left = balance.map(|dated| {
                let burnt = hourly_cost.cost(time::elapsed(dated.at, now));
                dated.value.amount.minus(burnt)
            });
            let status = AccountStatus {
                balance: balance.map(|dated| Dated { at: dated.at, value: dated.value.amount }),
                floor,
                hourly_cost,
                unexplained: vendor.minus(known),
                runway_to_floor: left.and_then(|left| left.minus(floor).lasts(hourly_cost)),
                runway_to_zero: left.and_then(|left| left.lasts(hourly_cost)),
                balance_rule: limits.account(name).balance,
                spent_today: ledger.spend().of_account(now, name).day,
                budgets: self.situation.as_ref().map(|situation| situation.budgets(name)).unwrap_or_default(),
            };
            (name.clone(), status)
        };
        self.inventory.balances.iter().map(status).collect()
    }

    /// Where the levers stand shows at once; what follows from it, after the next tick.
    pub(super) async fn show_levers(&mut self) {
        let now = self.clock.now();
        let book = self.book.clone();
        let book = book.lock().await;
        let newest = self.status.borrow().clone();
        let fleet = |(name, status): (&FleetName, &FleetStatus)| {
            let levers = self.levers(book.ledger(), name, now);
            (name.clone(), FleetStatus { levers, ..status.clone() })
        };
        let fleets = newest.fleets.iter().map(fleet).collect();
        self.status.send_replace(std::sync::Arc::new(Status { fleets, ..(*newest).clone() }));
    }

    fn levers(&self, ledger: &Ledger, name: &FleetName, now: Timestamp) -> Levers {
        let gone = self.law.statutes.get(name).is_none_or(|statute| statute.gone);
        Levers {
            target: ledger.levers().target(name, now).map(|target| (target.gpus, target.until)),
            paused: gone || ledger.levers().is_paused(name),
            evacuating: ledger.levers().is_evacuating(name),
        }
    }
}

/// What an edit changes in figures, the text in force first.
fn differences(old: &Policy, new: &Policy) -> String {
    let figures = |policy: &Policy| {
        [
            ("target_gpus", policy.target_gpus.to_string()),
            ("max_hourly_rate", policy.max_hourly_rate.to_string()),
            ("balance_floor", policy.balance_floor.to_string()),
            ("models", policy.models.iter().map(|terms| terms.model.to_string()).collect::<Vec<_>>().join(" ")),
        ]
    };
    let pairs = figures(old).into_iter().zip(figures(new));
    let differing = pairs.filter(|((_, old), (_, new))| old != new);
    differing.map(|((key, old), (_, new))| format!("{key} {old} -> {new}")).collect::<Vec<_>>().join(", ")
}
