//! From what the engine knew after a tick to the series that say it.
//!
//! Only levels and totals: what *happens* is counted where it happens. The whole table of each family is told anew, so a
//! fleet, a model or a reason that is no longer there is not in the next scrape either. Binary floating point begins
//! here and nowhere before: no decision reads a metric.

use super::Status;
use crate::{
    ledger::Standing,
    metrics::{Limit, Metrics, Rows},
    model::{HourlyRate, MarketplaceName, PriceType, Timestamp, reason::Rejected, time::elapsed},
    plan::{Bench, Candidate, FleetReport, Order, Situation, Verdict, situation::FleetState},
};
use std::collections::BTreeMap;

/// Micros in one: millionths as a ratio.
const PPM: f64 = 1_000_000.0;
/// Thousandths in one.
const MILLI: f64 = 1_000.0;

/// The word for what became of a candidate, as it is in metrics and JSON.
pub const fn verdict_word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Eligible => "eligible",
        Verdict::Asking => "asking",
        Verdict::Chosen => "chosen",
        Verdict::Rejected(reason) => reason.as_str(),
    }
}

/// The target in force, and while a fleet is paused the one that `resume` would bring back.
pub const fn effective_target(order: Order) -> u32 {
    match order {
        Order::Evacuate => 0,
        Order::Pause(gpus) | Order::Hold(gpus) => gpus,
    }
}

/// Tells all levels and totals.
pub fn export(metrics: &Metrics, status: &Status, now: Timestamp) {
    metrics.know(&status.fleets.keys().cloned().collect(), &status.markets.keys().cloned().collect());
    metrics.last_tick_timestamp_seconds.replace(status.at.map(|at| (vec![], seconds(at))).into_iter().collect());
    fleets(metrics, status);
    accounts(metrics, status);
    markets(metrics, status, now);
    if let Some(situation) = &status.situation {
        members(metrics, situation);
        limits(metrics, status, situation);
    } else {
        metrics.fleet_gpus.replace(Rows::new());
        metrics.fleet_instances.replace(Rows::new());
        metrics.limit_exceeded.replace(Rows::new());
    }
    reports(metrics, status.plan.as_ref().map(|plan| &plan.report).unwrap_or(&BTreeMap::new()));
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1_000.0
}

/// One row for each item that has a value.
fn rows<K: ToString, T>(items: &BTreeMap<K, T>, value: impl Fn(&T) -> Option<f64>) -> Rows {
    items.iter().filter_map(|(name, item)| Some((vec![name.to_string()], value(item)?))).collect()
}

fn fleets(metrics: &Metrics, status: &Status) {
    let Status { fleets, situation, .. } = status;
    metrics.fleet_spend_usd_total.replace(rows(fleets, |fleet| Some(fleet.totals.spend.to_f64())));
    metrics.fleet_gpu_seconds_total.replace(rows(fleets, |fleet| Some(fleet.totals.gpu_seconds as f64)));
    metrics
        .fleet_on_demand_equivalent_usd_total
        .replace(rows(fleets, |fleet| Some(fleet.totals.on_demand_equivalent.to_f64())));
    metrics.fleet_paused.replace(rows(fleets, |fleet| Some(flag(fleet.levers.paused || fleet.levers.evacuating))));
    metrics.policy_out_of_date.replace(rows(fleets, |fleet| {
        let policy = &fleet.policy;
        Some(flag(policy.gone || policy.held.is_some() || !policy.faults.is_empty()))
    }));
    let info = fleets
        .iter()
        .map(|(name, fleet)| (vec![name.to_string(), fleet.policy.file.clone(), fleet.policy.sha256.clone()], 1.0));
    metrics.policy_info.replace(info.collect());

    let none = BTreeMap::new();
    let states = situation.as_ref().map_or(&none, |situation| &situation.fleets);
    metrics.fleet_target_gpus.replace(rows(states, |state| Some(f64::from(effective_target(state.order)))));
    metrics.fleet_hourly_rate_usd.replace(rows(states, |state| Some(state.fleet.committed().to_f64())));
    metrics.fleet_hourly_rate_limit_usd.replace(rows(states, |state| Some(state.policy.max_hourly_rate.to_f64())));
    metrics.fleet_ready_gpus.replace(rows(states, |state| Some(f64::from(running_gpus(state)))));
}

/// GPUs that run now.
pub fn running_gpus(state: &FleetState) -> u32 {
    let running = state.fleet.members.values().filter(|member| member.standing == Standing::Running);
    running.map(|member| member.shape.gpus).sum()
}

const fn flag(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

fn members(metrics: &Metrics, situation: &Situation) {
    let (mut gpus, mut instances) = (Rows::new(), Rows::new());
    for member in situation.fleets.values().flat_map(|state| state.fleet.members.values()) {
        let labels = vec![
            member.fleet.to_string(),
            member.marketplace.to_string(),
            member.shape.gpu_model.to_string(),
            member.price_type.to_string(),
            member.standing.state().to_owned(),
        ];
        *gpus.entry(labels.clone()).or_default() += f64::from(member.counted_gpus());
        *instances.entry(labels).or_default() += 1.0;
    }
    metrics.fleet_gpus.replace(gpus);
    metrics.fleet_instances.replace(instances);
}

fn accounts(metrics: &Metrics, status: &Status) {
    let accounts = &status.accounts;
    metrics.account_balance_usd.replace(rows(accounts, |account| Some(account.balance.as_ref()?.value.to_f64())));
    metrics
        .account_balance_floor_usd
        .replace(rows(accounts, |account| Some(account.floor.to_f64()).filter(|_| account.has_floor())));
    metrics.account_hourly_cost_usd.replace(rows(accounts, |account| Some(account.hourly_cost.to_f64())));
    metrics.account_unexplained_usd_per_hour.replace(rows(accounts, |account| Some(account.unexplained.to_f64())));
    metrics.account_runway_seconds.replace(rows(accounts, |account| Some(account.runway_to_floor?.as_secs_f64())));
    metrics.account_budget_remaining_usd.replace(rows(accounts, |account| Some(account.budget_left()?.to_f64())));
    metrics
        .account_runway_to_zero_seconds
        .replace(rows(accounts, |account| Some(account.runway_to_zero?.as_secs_f64())));
}

fn markets(metrics: &Metrics, status: &Status, now: Timestamp) {
    metrics.in_doubt_deploys.replace(rows(&status.markets, |market| Some(f64::from(market.in_doubt))));
    metrics
        .market_age_seconds
        .replace(rows(&status.markets, |market| Some(elapsed(market.hostnodes_at?, now).as_secs_f64())));
    let limit = |milli: u32| f64::from(milli) / MILLI;
    metrics
        .api_requests_per_second_limit
        .replace(rows(&status.markets, |market| Some(limit(market.requests_per_second_milli))));
    metrics.api_hold_seconds.replace(rows(&status.markets, |market| Some(market.held_for.as_secs_f64())));
    let mut strays = rows(&status.markets, |_| Some(0.0));
    let fleets = status.situation.iter().flat_map(|situation| situation.fleets.values());
    for stray in fleets.flat_map(|state| &state.fleet.strays) {
        *strays.entry(vec![stray.marketplace.to_string()]).or_default() += 1.0;
    }
    metrics.stray_instances.replace(if status.situation.is_some() { strays } else { Rows::new() });
    let states = status.situation.iter().flat_map(|situation| &situation.markets);
    let benched = states.flat_map(|(name, state)| {
        let row = |bench: &Bench| (vec![name.to_string(), bench.to_string()], flag(state.bench == Some(*bench)));
        Bench::ALL.iter().map(row)
    });
    metrics.marketplace_benched.replace(benched.collect());
}

fn limits(metrics: &Metrics, status: &Status, situation: &Situation) {
    let states = || situation.fleets.values();
    let committed: HourlyRate = states().map(|state| state.fleet.committed()).sum();
    let committed = committed.plus(situation.orphaned.values().copied().sum());
    let is_exceeded = |limit: Limit| match limit {
        Limit::RateLimit => states().any(|state| state.fleet.committed() > state.policy.max_hourly_rate),
        Limit::GlobalRateLimit => situation.limits.max_hourly_rate.is_some_and(|limit| committed > limit),
        Limit::BalanceFloor => status
            .accounts
            .values()
            .any(|account| account.balance.as_ref().is_some_and(|balance| balance.value < account.floor)),
        Limit::Budget => {
            status.accounts.values().any(|account| account.budget_left().is_some_and(|left| left.is_negative()))
        }
    };
    let rows = Limit::ALL.iter().map(|limit| (vec![limit.to_string()], flag(is_exceeded(*limit))));
    metrics.limit_exceeded.replace(rows.collect());
}

fn reports(metrics: &Metrics, report: &crate::plan::Report) {
    metrics.plan_gap_ratio.replace(rows(report, |fleet| Some(fleet.gap_ppm as f64 / PPM)));
    let (mut blocked, mut offers, mut best) = (Rows::new(), Rows::new(), Rows::new());
    for (name, fleet) in report {
        let name = name.to_string();
        for unmet in &fleet.blocked {
            *blocked.entry(vec![name.clone(), unmet.reason.to_string()]).or_default() += f64::from(unmet.gpus);
        }
        for (verdict, count) in verdicts(fleet) {
            offers.insert(vec![name.clone(), verdict.to_owned()], f64::from(count));
        }
        for (model, rate) in best_offers(fleet) {
            best.insert(vec![name.clone(), model], rate.to_f64());
        }
    }
    metrics.fleet_blocked_gpus.replace(blocked);
    metrics.offers.replace(offers);
    metrics.best_offer_usd_per_gpu_hour.replace(best);
}

/// How many candidates and hostnodes there were of each verdict, those of which there was none included.
pub fn verdicts(report: &FleetReport) -> BTreeMap<&'static str, u32> {
    let words = [Verdict::Eligible, Verdict::Asking, Verdict::Chosen].map(|verdict| verdict_word(&verdict));
    let mut counts: BTreeMap<&'static str, u32> =
        words.into_iter().chain(Rejected::ALL.iter().map(|reason| reason.as_str())).map(|word| (word, 0)).collect();
    for candidate in &report.candidates {
        *counts.entry(verdict_word(&candidate.verdict)).or_default() += 1;
    }
    for (reason, count) in &report.rejected {
        let counted = counts.entry(reason.as_str()).or_default();
        *counted = counted.saturating_add(*count);
    }
    counts
}

/// The least hourly rate per GPU of each model that could be rented, all in.
pub fn best_offers(report: &FleetReport) -> BTreeMap<String, HourlyRate> {
    let mut best: BTreeMap<String, HourlyRate> = BTreeMap::new();
    for candidate in report.candidates.iter().filter(|candidate| is_priced(candidate)) {
        let rate = per_gpu(candidate.rate, candidate.offer.shape.gpus);
        let least = best.entry(candidate.offer.shape.gpu_model.to_string()).or_insert(rate);
        *least = rate.min(*least);
    }
    best
}

/// Whether it could be rented, at a rate that is known whole.
fn is_priced(candidate: &Candidate) -> bool {
    let price_known = match candidate.price_type {
        PriceType::Spot => candidate.bid.is_some(),
        PriceType::OnDemand => true,
    };
    price_known
        && match candidate.verdict {
            Verdict::Eligible | Verdict::Chosen => true,
            Verdict::Asking | Verdict::Rejected(_) => false,
        }
}

/// A VM's hourly rate per GPU, rounded up.
pub fn per_gpu(rate: HourlyRate, gpus: u32) -> HourlyRate {
    HourlyRate::from_micros(rate.micros().div_ceil(u64::from(gpus.max(1))))
}

/// Every request is counted.
impl crate::market::client::Observer for Metrics {
    fn called(
        &self,
        marketplace: &MarketplaceName,
        call: &'static str,
        result: &'static str,
        took: std::time::Duration,
    ) {
        self.api_called(marketplace.as_str(), call, result, took);
    }

    fn waited(&self, marketplace: &MarketplaceName, wait: std::time::Duration) {
        self.api_waited(marketplace.as_str(), wait);
    }

    fn unchanged(&self, marketplace: &MarketplaceName, call: &'static str) {
        self.api_not_modified(marketplace.as_str(), call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sample::{early, name, now, status};

    fn text(status: &Status) -> String {
        let metrics = Metrics::new("0.1.0", now());
        export(&metrics, status, now());
        metrics.text()
    }

    #[track_caller]
    fn check(text: &str, line: &str) {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }

    #[test]
    fn a_status_becomes_the_series_that_say_it() {
        let text = text(&status());
        for line in [
            r#"spotscale_fleet_target_gpus{fleet="train"} 8"#,
            r#"spotscale_fleet_target_gpus{fleet="serve"} 2"#,
            r#"spotscale_fleet_paused{fleet="serve"} 1"#,
            r#"spotscale_fleet_ready_gpus{fleet="train"} 3"#,
            r#"spotscale_fleet_hourly_rate_usd{fleet="train"} 4.835"#,
            r#"spotscale_fleet_hourly_rate_limit_usd{fleet="train"} 6"#,
            r#"spotscale_fleet_spend_usd_total{fleet="train"} 12.345678"#,
            r#"spotscale_fleet_blocked_gpus{fleet="train",reason="rate_limit"} 2"#,
            r#"spotscale_offers{fleet="train",verdict="price_above_cap"} 121"#,
            r#"spotscale_offers{fleet="train",verdict="denied"} 0"#,
            r#"spotscale_best_offer_usd_per_gpu_hour{fleet="train",gpu_model="geforcertx4090-pcie-24gb"} 0.4275"#,
            r#"spotscale_account_balance_usd{account="tensordock"} 212.34"#,
            r#"spotscale_account_runway_seconds{account="tensordock"} 108000"#,
            r#"spotscale_in_doubt_deploys{marketplace="tensordock"} 1"#,
            r#"spotscale_stray_instances{marketplace="tensordock"} 1"#,
            r#"spotscale_market_age_seconds{marketplace="tensordock"} 60"#,
            r#"spotscale_marketplace_benched{marketplace="tensordock",reason="overbilled"} 0"#,
            r#"spotscale_api_requests_per_second_limit{marketplace="tensordock"} 1"#,
            r#"spotscale_api_hold_seconds{marketplace="tensordock"} 0"#,
            r#"spotscale_plan_gap_ratio{fleet="serve"} 0.0125"#,
            r#"spotscale_limit_exceeded{limit="rate_limit"} 0"#,
            r#"spotscale_last_tick_timestamp_seconds 1795197600"#,
        ] {
            check(&text, line);
        }
        let outbid = r#"gpu_model="geforcertx4090-pcie-24gb",price_type="spot",state="outbid"} 1"#;
        check(&text, &format!(r#"spotscale_fleet_gpus{{fleet="train",marketplace="tensordock",{outbid}"#));
    }

    #[test]
    fn a_bench_says_why() {
        let mut benched = status();
        for market in benched.situation.as_mut().unwrap().markets.values_mut() {
            market.bench = Some(Bench::Overbilled);
        }
        let text = text(&benched);
        for (reason, value) in [("overbilled", 1), ("paused", 0), ("stale_market", 0)] {
            let labels = format!(r#"{{marketplace="tensordock",reason="{reason}"}}"#);
            check(&text, &format!("spotscale_marketplace_benched{labels} {value}"));
        }
    }

    #[test]
    fn before_the_first_tick_there_are_counters_at_zero_and_no_invented_levels() {
        let text = text(&early());
        check(&text, r#"spotscale_teardowns_total{fleet="train",reason="target"} 0"#);
        for absent in
            ["fleet_target_gpus{", "fleet_gpus{", "last_tick", "account_balance", "market_age", "limit_exceeded"]
        {
            assert!(!text.contains(&format!("spotscale_{absent}")), "{absent}\n{text}");
        }
    }

    #[test]
    fn the_series_of_a_fleet_that_is_gone_go_too() {
        let metrics = Metrics::new("0.1.0", now());
        export(&metrics, &status(), now());
        let mut without = status();
        without.fleets.remove(&name("train"));
        without.situation.as_mut().unwrap().fleets.remove(&name("train"));
        without.plan.as_mut().unwrap().report.remove(&name("train"));
        export(&metrics, &without, now());
        let text = metrics.text();
        assert!(!text.contains("fleet=\"train\""), "{text}");
        assert!(text.contains("fleet=\"serve\""));
    }
}
