//! Every series the daemon exports: one struct, each series one field whose doc comment is its HELP text.
//!
//! Three kinds of series. *Events* are counted as they happen, by whoever sees them ([`Metrics::bid_answered`] and its
//! neighbours). *Levels* (gauges) and *totals* (counters that the ledger already keeps) are told as whole tables to
//! whoever asks, of what was known after the newest tick: what is not in the newest table is not in the scrape either, so
//! that no series outlives its fleet, and a scrape never sees half a table. Each daemon has a registry of its own; nothing
//! here is global.
//!
//! Names and labels are fixed by CONTRACT section 5. Label values come from closed sets or from configured names; a
//! hostnode's or instance's id is never a label.

use crate::model::{
    FleetName, MarketplaceName, Refusal, Timestamp,
    offer::BidAnswer,
    reason::{Interruption, Teardown},
    refusal::RefusalKind,
};
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
    core::{Collector, Desc},
    process_collector::ProcessCollector,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Bounds of all duration histograms, in seconds: from a quick read on loopback to a tick that waited for everything.
const DURATION_BUCKETS_S: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The calls every marketplace is asked, so that their series exist before the first one.
const CALLS: [&str; 12] = [
    "hostnodes",
    "hostnode",
    "instances",
    "instance",
    "whoami",
    "balance",
    "validate",
    "rebid",
    "deploy",
    "start",
    "stop",
    "terminate",
];

/// The `result` of a call that succeeded.
const OK: &str = "ok";

labels! {
    /// What became of a deploy.
    pub enum DeployResult {
        /// The VM was made.
        Made = "made",
        /// Nobody knows yet whether it was made.
        InDoubt = "in_doubt",
        /// Not enough was free.
        NoCapacity = "no_capacity",
        /// The bid was no longer enough.
        BidTooLow = "bid_too_low",
        /// The marketplace asked us to wait.
        Throttled = "throttled",
        /// The credentials were not taken.
        Unauthorized = "unauthorized",
        /// The account cannot pay.
        Broke = "broke",
        /// It could not even be sent.
        Unreachable = "unreachable",
        /// Any other readable no.
        Refused = "refused",
    }
}

impl From<&Refusal> for DeployResult {
    /// What a refused deploy counts as.
    fn from(refusal: &Refusal) -> Self {
        match refusal.kind() {
            RefusalKind::NoCapacity => Self::NoCapacity,
            RefusalKind::BidTooLow => Self::BidTooLow,
            RefusalKind::Throttled => Self::Throttled,
            RefusalKind::Unauthorized => Self::Unauthorized,
            RefusalKind::Broke => Self::Broke,
            RefusalKind::Gone | RefusalKind::Refused => Self::Refused,
            RefusalKind::Unreachable => Self::Unreachable,
            RefusalKind::Malformed => Self::InDoubt,
        }
    }
}

labels! {
    /// What became of reading one policy again.
    pub enum PolicyReload {
        /// It is in force.
        Applied = "applied",
        /// It does not load; the last good text stays in force.
        Invalid = "invalid",
        /// It would tear down too much; it waits for `apply`.
        Held = "held",
    }
}

labels! {
    /// Limits that may be found exceeded, by no doing of ours: a price rose, a limit was lowered, a balance fell.
    pub enum Limit {
        /// A fleet's `max_hourly_rate`.
        RateLimit = "rate_limit",
        /// `[limits] max_hourly_rate`.
        GlobalRateLimit = "global_rate_limit",
        /// An account's floor.
        BalanceFloor = "balance_floor",
        /// A budget of an account.
        Budget = "budget",
    }
}

/// A poisoned lock only means that another thread panicked between two whole values.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The rows of a table: label values, in the order of the labels, to a value.
pub type Rows = BTreeMap<Vec<String>, f64>;

/// A family that is told as a whole.
#[derive(Clone, Debug)]
struct Table {
    desc: Arc<Desc>,
    kind: MetricType,
    rows: Arc<Mutex<Rows>>,
}

impl Table {
    fn register(registry: &Registry, name: &str, help: &str, labels: &[&str], kind: MetricType) -> Self {
        let labels = labels.iter().map(ToString::to_string).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())
            .expect("names and labels are literals, and a test registers them all");
        let table = Self { desc: Arc::new(desc), kind, rows: Arc::default() };
        registry.register(Box::new(table.clone())).expect("every name is declared once");
        table
    }

    fn fits(&self, rows: &Rows) -> bool {
        rows.keys().all(|labels| labels.len() == self.desc.variable_labels.len())
    }
}

impl Collector for Table {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(self.kind);
        let metric = |(values, value): (&Vec<String>, &f64)| {
            let mut metric = Metric::default();
            let pair = |(name, value): (&String, &String)| {
                let mut pair = LabelPair::default();
                pair.set_name(name.clone());
                pair.set_value(value.clone());
                pair
            };
            metric.set_label(self.desc.variable_labels.iter().zip(values).map(pair).collect());
            match self.kind {
                MetricType::COUNTER => {
                    let mut counter = Counter::default();
                    counter.set_value(*value);
                    metric.set_counter(counter);
                }
                MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED | MetricType::HISTOGRAM => {
                    let mut gauge = Gauge::default();
                    gauge.set_value(*value);
                    metric.set_gauge(gauge);
                }
            }
            metric
        };
        family.set_metric(locked(&self.rows).iter().map(metric).collect());
        vec![family]
    }
}

/// Levels: gauges that are told as a whole.
#[derive(Clone, Debug)]
pub struct Levels(Table);

impl Levels {
    /// These, and no others.
    pub fn replace(&self, rows: Rows) {
        debug_assert!(self.0.fits(&rows), "{} has other labels", self.0.desc.fq_name);
        *locked(&self.0.rows) = rows;
    }
}

/// Totals: counters whose truth is elsewhere, told as a whole. They never fall.
#[derive(Clone, Debug)]
pub struct Totals(Table);

impl Totals {
    /// These, and no others; a total that is less than it was stays as it was.
    pub fn replace(&self, mut rows: Rows) {
        debug_assert!(self.0.fits(&rows), "{} has other labels", self.0.desc.fq_name);
        let mut told = locked(&self.0.rows);
        for (labels, value) in &mut rows {
            if let Some(before) = told.get(labels) {
                *value = value.max(*before);
            }
        }
        *told = rows;
    }
}

/// How a series comes into being, by its kind.
trait Series {
    fn register(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Self;
}

impl Series for Levels {
    fn register(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Self {
        Self(Table::register(registry, name, help, labels, MetricType::GAUGE))
    }
}

impl Series for Totals {
    fn register(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Self {
        Self(Table::register(registry, name, help, labels, MetricType::COUNTER))
    }
}

impl Series for IntCounterVec {
    fn register(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Self {
        let counters = Self::new(Opts::new(name, help), labels).expect("names and labels are literals");
        registry.register(Box::new(counters.clone())).expect("every name is declared once");
        counters
    }
}

impl Series for HistogramVec {
    fn register(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Self {
        let options = HistogramOpts::new(name, help).buckets(DURATION_BUCKETS_S.to_vec());
        let histograms = Self::new(options, labels).expect("names, labels and buckets are literals");
        registry.register(Box::new(histograms.clone())).expect("every name is declared once");
        histograms
    }
}

/// Who there is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    fleets: BTreeSet<FleetName>,
    marketplaces: BTreeSet<MarketplaceName>,
}

impl Known {
    fn has(&self, fleet: Option<&str>, marketplace: Option<&str>) -> bool {
        let has_fleet = fleet.is_none_or(|fleet| self.fleets.iter().any(|known| known.as_str() == fleet));
        has_fleet && marketplace.is_none_or(|one| self.marketplaces.iter().any(|known| known.as_str() == one))
    }
}

/// Declares the struct of all series: a field's doc comment is its HELP text.
macro_rules! series {
    (
        $(#[$meta:meta])*
        pub struct $struct:ident {
            $(#[doc = $help:literal] $field:ident: $kind:ty = $name:literal [$($label:literal),*],)+
        }
    ) => {
        $(#[$meta])*
        pub struct $struct {
            registry: Registry,
            known: Mutex<Option<Known>>,
            $(#[doc = $help] pub(crate) $field: $kind,)+
        }

        impl $struct {
            fn register(registry: Registry) -> Self {
                Self {
                    $($field: <$kind as Series>::register(&registry, $name, $help.trim(), &[$($label),*]),)+
                    registry,
                    known: Mutex::new(None),
                }
            }
        }

        /// Name, labels and HELP of every series.
        #[cfg(test)]
        const DECLARED: &[(&str, &[&str], &str)] = &[$(($name, &[$($label),*], $help),)+];
    };
}

series! {
    /// All series of one daemon.
    #[derive(Debug)]
    pub struct Metrics {
        /// GPUs the fleet is to have: its effective target, and while it is paused the one that resume would bring back.
        fleet_target_gpus: Levels = "spotscale_fleet_target_gpus" ["fleet"],
        /// Committed hourly rate of the fleet in USD: all that it may cost now, strays, doubts and reserved money included.
        fleet_hourly_rate_usd: Levels = "spotscale_fleet_hourly_rate_usd" ["fleet"],
        /// The hourly rate limit in force for the fleet, in USD.
        fleet_hourly_rate_limit_usd: Levels = "spotscale_fleet_hourly_rate_limit_usd" ["fleet"],
        /// 1 while the fleet is paused or evacuating, else 0.
        fleet_paused: Levels = "spotscale_fleet_paused" ["fleet"],
        /// GPUs that run and count as ready.
        fleet_ready_gpus: Levels = "spotscale_fleet_ready_gpus" ["fleet"],
        /// GPUs that the fleet counts, by standing.
        fleet_gpus: Levels = "spotscale_fleet_gpus" ["fleet", "marketplace", "gpu_model", "price_type", "state"],
        /// VMs of the fleet, by standing.
        fleet_instances: Levels = "spotscale_fleet_instances" ["fleet", "marketplace", "gpu_model", "price_type", "state"],
        /// What the fleet has cost in USD by our own accrual, since its journal began.
        fleet_spend_usd_total: Totals = "spotscale_fleet_spend_usd_total" ["fleet"],
        /// GPU-seconds that ran, since the fleet's journal began.
        fleet_gpu_seconds_total: Totals = "spotscale_fleet_gpu_seconds_total" ["fleet"],
        /// What the same GPU-seconds would have cost on demand where they ran, in USD.
        fleet_on_demand_equivalent_usd_total: Totals = "spotscale_fleet_on_demand_equivalent_usd_total" ["fleet"],
        /// GPUs of the target that are not met, by reason.
        fleet_blocked_gpus: Levels = "spotscale_fleet_blocked_gpus" ["fleet", "reason"],
        /// Candidates and hostnodes of the newest plan, by what became of them.
        offers: Levels = "spotscale_offers" ["fleet", "verdict"],
        /// The least USD per GPU-hour at which the newest plan could rent the model, all in.
        best_offer_usd_per_gpu_hour: Levels = "spotscale_best_offer_usd_per_gpu_hour" ["fleet", "gpu_model"],
        /// The newest balance of the account, in USD.
        account_balance_usd: Levels = "spotscale_account_balance_usd" ["account"],
        /// The highest floor in force on the account, in USD.
        account_balance_floor_usd: Levels = "spotscale_account_balance_floor_usd" ["account"],
        /// All that the account costs per hour, in USD, VMs of others included.
        account_hourly_cost_usd: Levels = "spotscale_account_hourly_cost_usd" ["account"],
        /// Seconds until the balance reaches its floor at the present cost.
        account_runway_seconds: Levels = "spotscale_account_runway_seconds" ["account"],
        /// Seconds until nothing is left at the present cost.
        account_runway_to_zero_seconds: Levels = "spotscale_account_runway_to_zero_seconds" ["account"],
        /// What is left of the account's budget of the day or month, whichever has less, in USD; below zero when it was exceeded.
        account_budget_remaining_usd: Levels = "spotscale_account_budget_remaining_usd" ["account"],
        /// What the vendor says the account costs beyond what can be explained, in USD per hour.
        account_unexplained_usd_per_hour: Levels = "spotscale_account_unexplained_usd_per_hour" ["account"],
        /// Bids that were answered, by answer.
        bids_total: IntCounterVec = "spotscale_bids_total" ["marketplace", "answer"],
        /// Deploys that were sent, by result.
        deploys_total: IntCounterVec = "spotscale_deploys_total" ["fleet", "marketplace", "result"],
        /// VMs that were let go, by reason.
        teardowns_total: IntCounterVec = "spotscale_teardowns_total" ["fleet", "reason"],
        /// VMs that were interrupted by no doing of ours, by cause.
        interruptions_total: IntCounterVec = "spotscale_interruptions_total" ["fleet", "marketplace", "cause"],
        /// Deploys whose answer was lost and which are still being looked for.
        in_doubt_deploys: Levels = "spotscale_in_doubt_deploys" ["marketplace"],
        /// VMs named like ours that are not in the journal.
        stray_instances: Levels = "spotscale_stray_instances" ["marketplace"],
        /// VMs that turned up after their deploy had been given up.
        late_instances_total: IntCounterVec = "spotscale_late_instances_total" ["marketplace"],
        /// Calls of a marketplace's API, by result.
        api_requests_total: IntCounterVec = "spotscale_api_requests_total" ["marketplace", "call", "result"],
        /// How long calls of a marketplace's API took, in seconds.
        api_request_duration_seconds: HistogramVec = "spotscale_api_request_duration_seconds" ["marketplace", "call"],
        /// How long requests to a marketplace's API waited until they might be sent, in seconds: turns, pace and holds.
        api_request_wait_seconds: HistogramVec = "spotscale_api_request_wait_seconds" ["marketplace"],
        /// Reads that a marketplace answered by "nothing has changed" (HTTP 304).
        api_not_modified_total: IntCounterVec = "spotscale_api_not_modified_total" ["marketplace", "call"],
        /// Requests per second that a marketplace's API is sent at most, those of its account's others not included.
        api_requests_per_second_limit: Levels = "spotscale_api_requests_per_second_limit" ["marketplace"],
        /// Seconds for which the marketplace still wants to be left alone; 0 when it does not.
        api_hold_seconds: Levels = "spotscale_api_hold_seconds" ["marketplace"],
        /// Seconds since the marketplace's hostnodes were last read.
        market_age_seconds: Levels = "spotscale_market_age_seconds" ["marketplace"],
        /// 1 for the reason why nothing is rented on the marketplace now, 0 for all others.
        marketplace_benched: Levels = "spotscale_marketplace_benched" ["marketplace", "reason"],
        /// How long ticks took, in seconds.
        tick_duration_seconds: HistogramVec = "spotscale_tick_duration_seconds" [],
        /// When the newest tick was finished, in seconds since 1970.
        last_tick_timestamp_seconds: Levels = "spotscale_last_tick_timestamp_seconds" [],
        /// How far the newest plan may be from the best one: (its sum - a lower bound) / that bound.
        plan_gap_ratio: Levels = "spotscale_plan_gap_ratio" ["fleet"],
        /// 1, for the policy text in force.
        policy_info: Levels = "spotscale_policy_info" ["fleet", "file", "sha256"],
        /// 1 while the fleet's policy file on disk is not the one in force: it does not load, is gone, or is held.
        policy_out_of_date: Levels = "spotscale_policy_out_of_date" ["fleet"],
        /// Policies that were read again, by result.
        policy_reloads_total: IntCounterVec = "spotscale_policy_reloads_total" ["result"],
        /// 1 while something is over this limit, else 0.
        limit_exceeded: Levels = "spotscale_limit_exceeded" ["limit"],
        /// Actions that the independent checker refused, by invariant.
        invariant_violations_total: IntCounterVec = "spotscale_invariant_violations_total" ["invariant"],
        /// 1, for the version that runs.
        build_info: Levels = "spotscale_build_info" ["version"],
    }
}

/// The process collector, with a start time that is right where `/proc/stat` is hidden (systemd's `ProcSubset=pid`): the
/// collector then leaves it at zero.
struct Process {
    inner: ProcessCollector,
    started_at_s: f64,
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.inner.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.inner.collect();
        for family in families.iter_mut().filter(|family| family.name() == "process_start_time_seconds") {
            for metric in family.mut_metric().iter_mut().filter(|metric| metric.get_gauge().get_value() <= 0.0) {
                let mut gauge = Gauge::default();
                gauge.set_value(self.started_at_s);
                metric.set_gauge(gauge);
            }
        }
        families
    }
}

/// Removes the children of a family that carry a configured name which is known no longer.
macro_rules! forget {
    ($family:expr, $label:literal, $known:expr) => {
        for metric in $family.collect().iter().flat_map(|family| family.get_metric()) {
            let pairs: HashMap<&str, &str> =
                metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
            if pairs.get($label).is_some_and(|name| !$known.contains(*name)) {
                let _ = $family.remove(&pairs);
            }
        }
    };
}

impl Metrics {
    /// Fresh series: what is known from the start is there, at 0.
    pub fn new(version: &str, started_at: Timestamp) -> Self {
        let metrics = Self::register(Registry::new());
        let process = Process { inner: ProcessCollector::for_self(), started_at_s: started_at.as_second() as f64 };
        metrics.registry.register(Box::new(process)).expect("no series of ours is named like a process's");
        metrics.build_info.replace(Rows::from([(vec![version.to_owned()], 1.0)]));
        metrics.tick_duration_seconds.with_label_values::<&str>(&[]);
        for result in PolicyReload::ALL {
            metrics.policy_reloads_total.with_label_values(&[result.as_str()]);
        }
        metrics
    }

    /// The Prometheus text format, version 0.0.4.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            Ok(()) => text,
            Err(error) => unreachable!("every family has a name and a metric, and a String takes all: {error}"),
        }
    }

    /// Says which fleets and marketplaces there are: the events that can happen to them are there at 0, and the series of
    /// those that are gone go.
    pub fn know(&self, fleets: &BTreeSet<FleetName>, marketplaces: &BTreeSet<MarketplaceName>) {
        let now = Known { fleets: fleets.clone(), marketplaces: marketplaces.clone() };
        // Every tick says so, and hardly any has news: the series are thousands.
        if locked(&self.known).replace(now.clone()).is_some_and(|before| before == now) {
            return;
        }
        for fleet in fleets.iter().map(FleetName::as_str) {
            for reason in Teardown::ALL {
                self.teardowns_total.with_label_values(&[fleet, reason.as_str()]);
            }
            for marketplace in marketplaces.iter().map(MarketplaceName::as_str) {
                for result in DeployResult::ALL {
                    self.deploys_total.with_label_values(&[fleet, marketplace, result.as_str()]);
                }
                for cause in Interruption::ALL {
                    self.interruptions_total.with_label_values(&[fleet, marketplace, cause.as_str()]);
                }
            }
        }
        let results = || RefusalKind::ALL.iter().map(|kind| kind.as_str()).chain([OK]);
        for marketplace in marketplaces.iter().map(MarketplaceName::as_str) {
            self.late_instances_total.with_label_values(&[marketplace]);
            for answer in BidAnswer::ALL {
                self.bids_total.with_label_values(&[marketplace, answer.as_str()]);
            }
            self.api_request_wait_seconds.with_label_values(&[marketplace]);
            for call in CALLS {
                self.api_request_duration_seconds.with_label_values(&[marketplace, call]);
                self.api_not_modified_total.with_label_values(&[marketplace, call]);
                for result in results() {
                    self.api_requests_total.with_label_values(&[marketplace, call, result]);
                }
            }
        }
        self.forget(fleets, marketplaces);
    }

    fn forget(&self, fleets: &BTreeSet<FleetName>, marketplaces: &BTreeSet<MarketplaceName>) {
        let fleets: BTreeSet<&str> = fleets.iter().map(FleetName::as_str).collect();
        let marketplaces: BTreeSet<&str> = marketplaces.iter().map(MarketplaceName::as_str).collect();
        forget!(self.teardowns_total, "fleet", fleets);
        forget!(self.deploys_total, "fleet", fleets);
        forget!(self.interruptions_total, "fleet", fleets);
        forget!(self.deploys_total, "marketplace", marketplaces);
        forget!(self.interruptions_total, "marketplace", marketplaces);
        forget!(self.late_instances_total, "marketplace", marketplaces);
        forget!(self.bids_total, "marketplace", marketplaces);
        forget!(self.api_requests_total, "marketplace", marketplaces);
        forget!(self.api_request_duration_seconds, "marketplace", marketplaces);
        forget!(self.api_request_wait_seconds, "marketplace", marketplaces);
        forget!(self.api_not_modified_total, "marketplace", marketplaces);
    }

    /// Something happened to these. Where they are not known, the series that this makes go when it is next said who is.
    fn happened(&self, fleet: Option<&FleetName>, marketplace: Option<&str>) {
        let mut known = locked(&self.known);
        known.take_if(|known| !known.has(fleet.map(FleetName::as_str), marketplace));
    }

    /// Says which invariants the checker knows, so that their violations are there at 0.
    pub fn know_invariants(&self, invariants: &[&str]) {
        for invariant in invariants {
            self.invariant_violations_total.with_label_values(&[invariant]);
        }
    }

    /// A marketplace's API was called. `result` is `ok` or a refusal's kind.
    pub fn api_called(&self, marketplace: &str, call: &str, result: &str, took: Duration) {
        self.happened(None, Some(marketplace));
        self.api_requests_total.with_label_values(&[marketplace, call, result]).inc();
        self.api_request_duration_seconds.with_label_values(&[marketplace, call]).observe(took.as_secs_f64());
    }

    /// A request to a marketplace's API waited so long until it might be sent.
    pub fn api_waited(&self, marketplace: &str, wait: Duration) {
        self.happened(None, Some(marketplace));
        self.api_request_wait_seconds.with_label_values(&[marketplace]).observe(wait.as_secs_f64());
    }

    /// A marketplace answered that nothing has changed since it was last asked.
    pub fn api_not_modified(&self, marketplace: &str, call: &str) {
        self.happened(None, Some(marketplace));
        self.api_not_modified_total.with_label_values(&[marketplace, call]).inc();
    }

    /// A bid was answered.
    pub fn bid_answered(&self, marketplace: &MarketplaceName, answer: BidAnswer) {
        self.happened(None, Some(marketplace.as_str()));
        self.bids_total.with_label_values(&[marketplace.as_str(), answer.as_str()]).inc();
    }

    /// A deploy was sent.
    pub fn deployed(&self, fleet: &FleetName, marketplace: &MarketplaceName, result: DeployResult) {
        self.happened(Some(fleet), Some(marketplace.as_str()));
        self.deploys_total.with_label_values(&[fleet.as_str(), marketplace.as_str(), result.as_str()]).inc();
    }

    /// A VM was let go.
    pub fn torn_down(&self, fleet: &FleetName, reason: Teardown) {
        self.happened(Some(fleet), None);
        self.teardowns_total.with_label_values(&[fleet.as_str(), reason.as_str()]).inc();
    }

    /// A VM was interrupted, not by our doing.
    pub fn interrupted(&self, fleet: &FleetName, marketplace: &MarketplaceName, cause: Interruption) {
        self.happened(Some(fleet), Some(marketplace.as_str()));
        self.interruptions_total.with_label_values(&[fleet.as_str(), marketplace.as_str(), cause.as_str()]).inc();
    }

    /// A VM turned up after its deploy had been given up.
    pub fn late(&self, marketplace: &MarketplaceName) {
        self.happened(None, Some(marketplace.as_str()));
        self.late_instances_total.with_label_values(&[marketplace.as_str()]).inc();
    }

    /// A tick was finished.
    pub fn ticked(&self, took: Duration) {
        self.tick_duration_seconds.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
    }

    /// A policy was read again.
    pub fn policy_reloaded(&self, result: PolicyReload) {
        self.policy_reloads_total.with_label_values(&[result.as_str()]).inc();
    }

    /// The independent checker refused an action.
    pub fn invariant_violated(&self, invariant: &str) {
        self.invariant_violations_total.with_label_values(&[invariant]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        Metrics::new("0.1.0", Timestamp::UNIX_EPOCH)
    }

    fn names<T: std::str::FromStr<Err: std::fmt::Debug> + Ord>(names: &[&str]) -> BTreeSet<T> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[track_caller]
    fn check(metrics: &Metrics, line: &str, is_there: bool) {
        let text = metrics.text();
        assert_eq!(text.lines().any(|found| found == line), is_there, "{line}\n{text}");
    }

    #[test]
    fn names_follow_the_conventions_and_every_series_has_help() {
        for (name, labels, help) in DECLARED {
            assert!(name.starts_with("spotscale_"), "{name}");
            assert!(help.trim().ends_with('.') && help.trim().len() > 10, "{name}: {help}");
            assert!(!labels.iter().any(|label| ["hostnode", "instance", "id"].contains(label)), "{name}");
        }
    }

    #[test]
    fn a_doc_comment_is_the_help_text() {
        check(&metrics(), "# HELP spotscale_build_info 1, for the version that runs.", true);
        check(&metrics(), "spotscale_build_info{version=\"0.1.0\"} 1", true);
    }

    #[test]
    fn what_can_happen_is_there_at_zero_and_goes_with_its_fleet() {
        let metrics = metrics();
        metrics.know(&names(&["train", "serve"]), &names(&["tensordock"]));
        let teardown = "spotscale_teardowns_total{fleet=\"train\",reason=\"overbilled\"} 0";
        let deploy = "spotscale_deploys_total{fleet=\"serve\",marketplace=\"tensordock\",result=\"in_doubt\"} 0";
        check(&metrics, teardown, true);
        check(&metrics, deploy, true);
        check(&metrics, "spotscale_tick_duration_seconds_count 0", true);
        check(&metrics, "spotscale_policy_reloads_total{result=\"held\"} 0", true);
        metrics.know(&names(&["serve"]), &names(&["tensordock"]));
        check(&metrics, teardown, false);
        check(&metrics, deploy, true);
        metrics.know(&names(&["serve"]), &names(&["other"]));
        check(&metrics, deploy, false);
        assert!(!metrics.text().contains("marketplace=\"tensordock\""));
    }

    #[test]
    fn what_still_happens_to_who_is_gone_is_forgotten_when_it_is_next_said_who_there_is() {
        let metrics = metrics();
        let (fleets, markets) = (names(&["train"]), names(&["tensordock"]));
        metrics.know(&fleets, &markets);
        metrics.torn_down(names(&["gone"]).first().unwrap(), Teardown::Outbid);
        metrics.api_called("closed", "deploy", "unreachable", Duration::ZERO);
        let told = |what: &str| metrics.text().contains(what);
        assert!(told("fleet=\"gone\"") && told("marketplace=\"closed\""));
        metrics.know(&fleets, &markets);
        assert!(!told("fleet=\"gone\"") && !told("marketplace=\"closed\"") && told("fleet=\"train\""));
    }

    #[test]
    fn knowing_again_keeps_what_was_counted() {
        let metrics = metrics();
        let (fleets, markets) = (names(&["train"]), names(&["tensordock"]));
        metrics.know(&fleets, &markets);
        metrics.torn_down(fleets.first().unwrap(), Teardown::Outbid);
        metrics.know(&fleets, &markets);
        check(&metrics, "spotscale_teardowns_total{fleet=\"train\",reason=\"outbid\"} 1", true);
    }

    #[test]
    fn a_table_is_replaced_whole() {
        let metrics = metrics();
        let row = |fleet: &str, gpus: f64| (vec![fleet.to_owned()], gpus);
        metrics.fleet_target_gpus.replace(Rows::from([row("train", 8.0), row("serve", 2.0)]));
        check(&metrics, "spotscale_fleet_target_gpus{fleet=\"train\"} 8", true);
        metrics.fleet_target_gpus.replace(Rows::from([row("serve", 3.0)]));
        check(&metrics, "spotscale_fleet_target_gpus{fleet=\"train\"} 8", false);
        check(&metrics, "spotscale_fleet_target_gpus{fleet=\"serve\"} 3", true);
    }

    #[test]
    fn a_total_never_falls() {
        let metrics = metrics();
        let row = |usd: f64| Rows::from([(vec!["train".to_owned()], usd)]);
        metrics.fleet_spend_usd_total.replace(row(1.5));
        metrics.fleet_spend_usd_total.replace(row(1.25));
        check(&metrics, "spotscale_fleet_spend_usd_total{fleet=\"train\"} 1.5", true);
        metrics.fleet_spend_usd_total.replace(row(2.0));
        check(&metrics, "spotscale_fleet_spend_usd_total{fleet=\"train\"} 2", true);
    }

    #[test]
    fn a_call_is_counted_and_timed() {
        let metrics = metrics();
        metrics.api_called("tensordock", "deploy", "unreachable", Duration::from_millis(700));
        let labels = "call=\"deploy\",marketplace=\"tensordock\"";
        check(&metrics, &format!("spotscale_api_request_duration_seconds_sum{{{labels}}} 0.7"), true);
        let text = metrics.text();
        assert!(text.contains("call=\"deploy\",marketplace=\"tensordock\",result=\"unreachable\"} 1"), "{text}");
    }

    #[test]
    fn the_request_budget_is_told_for_each_marketplace() {
        let metrics = metrics();
        metrics.know(&names(&[]), &names(&["tensordock"]));
        check(&metrics, "spotscale_api_request_wait_seconds_count{marketplace=\"tensordock\"} 0", true);
        metrics.api_waited("tensordock", Duration::from_millis(1_500));
        metrics.api_not_modified("tensordock", "hostnodes");
        check(&metrics, "spotscale_api_request_wait_seconds_sum{marketplace=\"tensordock\"} 1.5", true);
        let unchanged = |call: &str, count: u32| {
            format!("spotscale_api_not_modified_total{{call=\"{call}\",marketplace=\"tensordock\"}} {count}")
        };
        check(&metrics, &unchanged("hostnodes", 1), true);
        check(&metrics, &unchanged("instances", 0), true);
        metrics.know(&names(&[]), &names(&["other"]));
        assert!(!metrics.text().contains("marketplace=\"tensordock\""));
    }

    #[test]
    fn the_process_says_when_it_started() {
        let text = metrics().text();
        let line = text.lines().find(|line| line.starts_with("process_start_time_seconds ")).unwrap();
        assert!(!line.ends_with(" 0"), "{line}");
    }

    #[test]
    fn two_daemons_in_one_process_do_not_meet() {
        let (one, other) = (metrics(), metrics());
        one.policy_reloaded(PolicyReload::Applied);
        check(&one, "spotscale_policy_reloads_total{result=\"applied\"} 1", true);
        check(&other, "spotscale_policy_reloads_total{result=\"applied\"} 0", true);
    }
}
