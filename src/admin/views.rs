//! What the window shows, as types of its own.
//!
//! These are the JSON of `/api/v1` and of the CLI's `--json`: scripts hold on to their keys, so they are declared here
//! and not derived from the nouns inside, which may change. They are made in `show`, read back by the CLI, and described
//! in `openapi`. What is not known is left out, not null. Names and ids are text; money is a number, see
//! [`Money`]; a key ends in its unit.

use super::amount::{Money, Ratio};
use crate::model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_with::{DisplayFromStr, serde_as};
use std::collections::BTreeMap;

/// Declares views: structs which are written and read as JSON, where what is not known is left out.
macro_rules! views {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* $field:ident: $kind:ty,)+ })+) => {
        $(
            $(#[$meta])*
            #[serde_as]
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            pub struct $name { $($(#[$fmeta])* pub $field: $kind,)+ }
        )+
    };
}

views! {
    /// `GET /api/v1/fleets`: the daemon and all its fleets.
    pub struct FleetsView {
        /// When the newest tick was finished.
        #[serde_as(as = "Option<DisplayFromStr>")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
        /// When this was asked.
        #[serde_as(as = "DisplayFromStr")]
        now: Timestamp,
        /// When the daemon started.
        #[serde_as(as = "DisplayFromStr")]
        started_at: Timestamp,
        /// Ticks finished.
        ticks: u64,
        /// The newest tick's decision.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decision: Option<String>,
        /// `observe` when that is over every policy's own.
        mode: String,
        /// Between two looks.
        scan_interval_s: u64,
        /// By name.
        fleets: Vec<FleetView>,
        /// By name.
        marketplaces: Vec<MarketplaceView>,
        /// Why the newest settings on disk are not in force.
        settings_faults: Vec<String>,
        /// What could not be done in the newest tick.
        troubles: Vec<String>,
    }

    /// One fleet.
    pub struct FleetView {
        /// Its name.
        fleet: String,
        /// The effective target; while paused, the one that resume would bring back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target_gpus: Option<u32>,
        /// GPUs that run.
        running_gpus: u32,
        /// GPUs that count, whatever their standing.
        counted_gpus: u32,
        /// GPUs that count, by standing.
        gpus: BTreeMap<String, u32>,
        /// Its VMs, strays not included.
        instances: u32,
        /// VMs named like its own that are not in the journal.
        strays: u32,
        /// What it costs and may cost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate_usd_per_hour: Option<RateView>,
        /// Whether it acts or only observes.
        mode: String,
        /// Frozen.
        paused: bool,
        /// Being torn down.
        evacuating: bool,
        /// The operator's target.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operator_target: Option<OperatorTargetView>,
        /// Since when GPUs have been missing.
        #[serde_as(as = "Option<DisplayFromStr>")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missing_since: Option<Timestamp>,
        /// Why the target is not met.
        blocked: Vec<BlockedView>,
        /// VMs that are billed more than was agreed, beyond the vendor's rounding.
        #[serde(default)]
        overbilled: Vec<OverbilledView>,
        /// Since its journal began.
        totals: TotalsView,
        /// Its policy.
        policy: PolicyView,
        /// The accounts that pay for it.
        accounts: Vec<String>,
    }

    /// What a fleet costs now and may cost.
    pub struct RateView {
        /// Committed now.
        now: Money,
        /// The limit in force.
        limit: Money,
    }

    /// The operator's target.
    pub struct OperatorTargetView {
        /// How many.
        gpus: u32,
        /// Until when; without: until cleared.
        #[serde_as(as = "Option<DisplayFromStr>")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    }

    /// GPUs of a target that are not met, and why.
    pub struct BlockedView {
        /// How many.
        gpus: u32,
        /// Why, a word.
        reason: String,
        /// The figures, one line.
        detail: String,
    }

    /// A VM that is billed more than was agreed; it counts at what is billed.
    pub struct OverbilledView {
        /// Its name.
        instance: String,
        /// All in.
        agreed_usd_per_hour: Money,
        /// All in.
        billed_usd_per_hour: Money,
    }

    /// A fleet's totals since its journal began.
    pub struct TotalsView {
        /// Our own accrual.
        spend_usd: Money,
        /// Of the UTC day.
        spend_today_usd: Money,
        /// GPU-seconds that ran.
        gpu_seconds: u64,
        /// What they would have cost on demand where they ran.
        on_demand_equivalent_usd: Money,
        /// What a GPU-hour cost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usd_per_gpu_hour: Option<Money>,
        /// What a GPU-hour would have cost on demand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_demand_usd_per_gpu_hour: Option<Money>,
    }

    /// The text of a policy, and how it stands with the file on disk.
    pub struct PolicyView {
        /// The file.
        file: String,
        /// Digest of the text in force.
        sha256: String,
        /// Why the file on disk is not in force.
        faults: Vec<String>,
        /// The file is gone.
        gone: bool,
        /// An edit that waits for `apply`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held: Option<HeldView>,
    }

    /// An edit that waits for `apply`.
    pub struct HeldView {
        /// Its digest.
        sha256: String,
        /// What it would do.
        effect: String,
    }

    /// One marketplace.
    pub struct MarketplaceView {
        /// Its name.
        marketplace: String,
        /// Who pays there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// Since its hostnodes were last read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        age_s: Option<u64>,
        /// Hostnodes it lists.
        hostnodes: u32,
        /// Why nothing may be rented there now, a word.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bench: Option<String>,
        /// Since when.
        #[serde_as(as = "Option<DisplayFromStr>")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        benched_since: Option<Timestamp>,
        /// When it is asked for its lists again, while one of them fails.
        #[serde_as(as = "Option<DisplayFromStr>")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked_again_at: Option<Timestamp>,
        /// The newest failure, while it lasts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<String>,
        /// Items of the newest lists that could not be read.
        dropped: Vec<String>,
        /// Deploys in doubt.
        in_doubt: u32,
    }

    /// `GET /api/v1/instances`.
    pub struct InstancesView {
        /// When the newest tick was finished.
        #[serde_as(as = "Option<DisplayFromStr>")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
        /// By fleet and name.
        instances: Vec<InstanceView>,
    }

    /// One VM: ours, or one that is named like ours.
    pub struct InstanceView {
        /// Its name.
        name: String,
        /// The vendor's id, once known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The fleet it is of, or is named after.
        fleet: String,
        /// Where it was rented.
        marketplace: String,
        /// Who pays.
        account: String,
        /// On which machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hostnode: Option<String>,
        /// Its place.
        location: String,
        /// Its GPUs.
        gpu_model: String,
        /// How many.
        gpus: u32,
        /// Virtual CPUs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vcpus: Option<u32>,
        /// Memory.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ram_gb: Option<u32>,
        /// Disk.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        storage_gb: Option<u32>,
        /// How it is paid for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        price_type: Option<String>,
        /// What it counts as: one of the ledger's standings, or `stray` or `late`.
        standing: String,
        /// Since when.
        #[serde_as(as = "Option<DisplayFromStr>")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
        /// Since its deploy was intended, or since it was made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        age_s: Option<u64>,
        /// When it first ran.
        #[serde_as(as = "Option<DisplayFromStr>")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        running_since: Option<Timestamp>,
        /// Where it can be reached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        /// Outside port to inside port.
        ports: BTreeMap<u16, u16>,
        /// Who one logs in as.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// The bid in force.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bid_usd_per_hour: Option<Money>,
        /// What it counts as, all in.
        rate_usd_per_hour: Money,
        /// What was agreed, all in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agreed_usd_per_hour: Option<Money>,
        /// What it is billed, where that is more than was agreed, beyond the vendor's rounding.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        overbilled_usd_per_hour: Option<Money>,
        /// What the same VM costs on demand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_demand_usd_per_hour: Option<Money>,
        /// Until when the marketplace lets it count on its GPUs, where there is an end.
        #[serde_as(as = "Option<DisplayFromStr>")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        available_until: Option<Timestamp>,
        /// Left alone, but for money.
        protected: bool,
        /// A write to it is not answered for sure.
        write_in_doubt: bool,
        /// The VM it was deployed to replace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<String>,
        /// Why it was rented.
        why: String,
    }

    /// `GET /api/v1/offers`.
    pub struct OffersView {
        /// When the plan was made.
        #[serde_as(as = "Option<DisplayFromStr>")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
        /// By name.
        fleets: Vec<FleetOffersView>,
    }

    /// One fleet's candidates.
    pub struct FleetOffersView {
        /// Which.
        fleet: String,
        /// In order, best first; as many as were asked for.
        candidates: Vec<OfferView>,
        /// How many there are in all.
        #[serde(default)]
        candidates_total: u32,
        /// Hostnodes turned down, by reason.
        rejected: BTreeMap<String, u32>,
        /// Offers whose least accepted bid is not known yet.
        unasked_offers: u32,
    }

    /// One candidate.
    pub struct OfferView {
        /// Its place in the order, from 1.
        rank: u32,
        /// Where.
        marketplace: String,
        /// On which machine.
        hostnode: String,
        /// Its place.
        location: String,
        /// Its GPUs.
        gpu_model: String,
        /// How many.
        gpus: u32,
        /// Virtual CPUs.
        vcpus: u32,
        /// Memory.
        ram_gb: u32,
        /// Disk.
        storage_gb: u32,
        /// How it would be paid for.
        price_type: String,
        /// The bid; without, and spot: not known yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bid_usd_per_hour: Option<Money>,
        /// All that it would cost, as far as it is known.
        rate_usd_per_hour: Money,
        /// The same per GPU.
        usd_per_gpu_hour: Money,
        /// What it would cost on demand.
        on_demand_usd_per_hour: Money,
        /// As listed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uptime_ratio: Option<Ratio>,
        /// Until when it could be counted on, where there is an end.
        #[serde_as(as = "Option<DisplayFromStr>")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        available_until: Option<Timestamp>,
        /// The parts of its place in the order.
        score: ScoreView,
        /// `eligible`, `asking`, `chosen`, or why it was turned down.
        verdict: String,
    }

    /// The parts of a score, in the order in which they are compared; less is better.
    pub struct ScoreView {
        /// The model's rank.
        preference: u32,
        /// Per delivered GPU-hour, by worth where the policy says so.
        usd_per_delivered_gpu_hour: Money,
        /// GPUs of ours on that machine already.
        crowding: u32,
    }

    /// `GET /api/v1/plan`, `POST /api/v1/plan` and `plan --json`.
    pub struct PlanView {
        /// When the plan was made.
        #[serde_as(as = "DisplayFromStr")]
        at: Timestamp,
        /// By name.
        fleets: Vec<FleetPlanView>,
    }

    /// One fleet's part of a plan.
    pub struct FleetPlanView {
        /// Which.
        fleet: String,
        /// The effective target.
        target_gpus: u32,
        /// GPUs running now.
        running_gpus: u32,
        /// GPUs counted once the plan is done.
        planned_gpus: u32,
        /// What it costs, would cost and may cost.
        rate_usd_per_hour: PlannedRateView,
        /// How far the plan may be from the best one.
        gap_ratio: Ratio,
        /// What would be done, in order.
        actions: Vec<ActionView>,
        /// Hostnodes turned down, by reason.
        rejected: BTreeMap<String, u32>,
        /// Why the target is not met.
        blocked: Vec<BlockedView>,
        /// Offers whose least accepted bid is not known yet.
        unasked_offers: u32,
        /// GPUs of strays, which count towards the target too.
        #[serde(default)]
        stray_gpus: u32,
    }

    /// What a fleet costs, would cost and may cost.
    pub struct PlannedRateView {
        /// Committed now.
        now: Money,
        /// Committed once the plan is done.
        planned: Money,
        /// The limit in force.
        limit: Money,
        /// No plan with the same count of each model costs less.
        lower_bound: Money,
    }

    /// One step of a plan.
    pub struct ActionView {
        /// Its kind.
        kind: String,
        /// Where.
        marketplace: String,
        /// On which machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hostnode: Option<String>,
        /// The VM's GPUs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gpu_model: Option<String>,
        /// How many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gpus: Option<u32>,
        /// How it is paid for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        price_type: Option<String>,
        /// What the marketplace is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bid_usd_per_hour: Option<Money>,
        /// All that the whole VM costs, storage included.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate_usd_per_hour: Option<Money>,
        /// The VM's name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// The VM that it replaces.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<String>,
        /// Why: for a teardown its word, else one line.
        reason: String,
        /// For a teardown: the figures, one line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    }

    /// `GET /api/v1/why-not/{hostnode}`.
    pub struct WhyNotView {
        /// Which hostnode.
        hostnode: String,
        /// The marketplaces that list it now.
        listed_by: Vec<String>,
        /// What each of them says of it, one line.
        #[serde(default)]
        listings: Vec<String>,
        /// For each fleet.
        fleets: Vec<WhyNotFleetView>,
    }

    /// What a fleet's newest plan made of a hostnode.
    pub struct WhyNotFleetView {
        /// Which fleet.
        fleet: String,
        /// Where it is listed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        marketplace: Option<String>,
        /// `eligible`, `asking`, `chosen`, `not_listed`, `not_weighed`, or why it was turned down.
        verdict: String,
        /// The same for people, one line.
        detail: String,
        /// What it was weighed as, best first.
        candidates: Vec<OfferView>,
        /// The fleet's VMs that stand there.
        instances: Vec<String>,
    }

    /// `GET /api/v1/accounts`.
    pub struct AccountsView {
        /// When the newest tick was finished.
        #[serde_as(as = "Option<DisplayFromStr>")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
        /// By name.
        accounts: Vec<AccountView>,
    }

    /// One account.
    pub struct AccountView {
        /// Its name.
        account: String,
        /// The newest balance.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        balance_usd: Option<Money>,
        /// Since it was read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        balance_age_s: Option<u64>,
        /// The highest floor in force.
        floor_usd: Money,
        /// All that it costs.
        hourly_cost_usd: Money,
        /// What the vendor says beyond what can be explained.
        unexplained_usd_per_hour: Money,
        /// Until the floor is reached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        runway_to_floor_s: Option<u64>,
        /// Until nothing is left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        runway_to_zero_s: Option<u64>,
        /// `required`, or `unreadable-ok`: then the budget of the day stands in for a balance that nobody can read.
        balance: String,
        /// What our VMs cost on the present UTC day, by our own accrual.
        spent_today_usd: Money,
        /// The budget of a UTC day.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_spend_per_day_usd: Option<Money>,
        /// The budget of a UTC month.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_spend_per_month_usd: Option<Money>,
        /// What is left of the budget of which least is left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        budget_remaining_usd: Option<Money>,
    }

    /// `GET /api/v1/decisions` and `GET /api/v1/decisions/{id}`: the history, newest first.
    pub struct DecisionsView {
        /// Newest first.
        decisions: Vec<DecisionView>,
    }

    /// One row of the history.
    pub struct DecisionView {
        /// What `explain` calls it.
        id: String,
        /// Its place in the journal.
        sequence: u64,
        /// When.
        #[serde_as(as = "DisplayFromStr")]
        at: Timestamp,
        /// `decision`, `event`, or for a VM's own story the journal's word.
        kind: String,
        /// Whose.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fleet: Option<String>,
        /// The VM, hostnode or file it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        /// For people, a line for each thing it says.
        lines: Vec<String>,
        /// All that was kept of a decision or event.
        #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
        body: serde_json::Value,
    }

    /// One entry of `GET /api/v1/sd`, as Prometheus' HTTP service discovery wants it.
    pub struct DiscoveredView {
        /// `address:port`.
        targets: Vec<String>,
        /// `__meta_spotscale_…`.
        labels: BTreeMap<String, String>,
    }

    /// What came of a lever: one line for a person.
    pub struct DoneView {
        /// The line.
        message: String,
    }
}
