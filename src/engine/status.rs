//! What the engine knew after a tick, as one immutable value: the window, the CLI and the metrics read only this.

use crate::{
    ledger::Period,
    model::{AccountName, FleetName, HourlyRate, MarketplaceName, Refusal, Shared, Timestamp, Usd, inventory::Dated},
    plan::{Budget, Plan, Situation},
    policy::terms::Mode,
    settings::BalanceRule,
};
use std::{collections::BTreeMap, time::Duration};

/// The text of a policy, and how it stands with the file on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyStatus {
    /// The file, as configured.
    pub file: String,
    /// Digest of the text in force.
    pub sha256: String,
    /// Why the file on disk is not in force: its faults, one per line; empty when it is.
    pub faults: Vec<String>,
    /// The file is gone: the fleet is as it was, paused.
    pub gone: bool,
    /// The digest of an edit that waits for `apply`, and what it would do, one line.
    pub held: Option<(String, String)>,
}

/// What a fleet's levers are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levers {
    /// The operator's target, and until when.
    pub target: Option<(u32, Option<Timestamp>)>,
    /// Paused: by its own lever, by `--all`, or because its file is gone.
    pub paused: bool,
    /// Being torn down.
    pub evacuating: bool,
}

/// Totals of one fleet since its journal began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Our own accrual.
    pub spend: Usd,
    /// GPU-seconds that ran.
    pub gpu_seconds: u64,
    /// What the same GPU-seconds would have cost on demand where they ran.
    pub on_demand_equivalent: Usd,
    /// Of the UTC day.
    pub spend_today: Usd,
}

/// One fleet, beside what the situation and the report say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetStatus {
    /// Its policy.
    pub policy: PolicyStatus,
    /// Its levers.
    pub levers: Levers,
    /// Its totals.
    pub totals: Totals,
}

/// One marketplace, beside what the situation says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketStatus {
    /// When its hostnodes were last read.
    pub hostnodes_at: Option<Timestamp>,
    /// The newest failure, while it lasts.
    pub failed: Option<Dated<Refusal>>,
    /// VMs of ours that the newest list lacks, and items of the newest lists that could not be read: one line each, bounded.
    pub dropped: Vec<String>,
    /// Deploys in doubt.
    pub in_doubt: u32,
    /// Since when nothing may be rented there, for the reason that the situation says.
    pub benched_since: Option<Timestamp>,
    /// When it is asked for its lists again, while one of them fails.
    pub asked_again_at: Option<Timestamp>,
    /// Thousandths of a request per second that it is sent at most.
    pub requests_per_second_milli: u32,
    /// For how long it still wants to be left alone.
    pub held_for: Duration,
    /// Who one logs into its VMs as, where its language is spoken.
    pub user: Option<&'static str>,
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountStatus {
    /// The newest balance, and when it was read.
    pub balance: Option<Dated<Usd>>,
    /// The highest floor of its fleets and `[limits]`.
    pub floor: Usd,
    /// All that it costs per hour: ours at their commitment, others' as billed; at least what the vendor says.
    pub hourly_cost: HourlyRate,
    /// What the vendor says beyond what we can explain, per hour.
    pub unexplained: HourlyRate,
    /// Until the floor is reached.
    pub runway_to_floor: Option<Duration>,
    /// Until nothing is left.
    pub runway_to_zero: Option<Duration>,
    /// What is done while nobody can read the balance.
    pub balance_rule: BalanceRule,
    /// What our VMs cost on the present UTC day, by our own accrual.
    pub spent_today: Usd,
    /// The budgets in force, and what is left of them.
    pub budgets: Vec<Budget>,
}

impl AccountStatus {
    /// What is left of the budget of which least is left.
    pub fn budget_left(&self) -> Option<Usd> {
        self.budgets.iter().map(Budget::left).min()
    }

    /// All of the budget for a period.
    pub fn budget_of(&self, period: Period) -> Option<Usd> {
        self.budgets.iter().find(|budget| budget.period == period).map(|budget| budget.most)
    }

    /// Whether a floor means anything: of a balance that nobody reads and nobody needs there is none.
    pub const fn has_floor(&self) -> bool {
        match self.balance_rule {
            BalanceRule::Required => true,
            BalanceRule::UnreadableOk => self.balance.is_some(),
        }
    }
}

/// What was known after a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// When the tick was finished; `None` before the first.
    pub at: Option<Timestamp>,
    /// When the daemon started.
    pub started_at: Timestamp,
    /// Ticks finished.
    pub ticks: u64,
    /// The newest tick's id in the history.
    pub decision: Option<String>,
    /// `Observe` when it is over every policy's own.
    pub mode: Mode,
    /// Between two looks.
    pub scan_interval: Duration,
    /// All that the newest plan knew.
    pub situation: Option<Shared<Situation>>,
    /// The newest plan that was not only asking, and why.
    pub plan: Option<Shared<Plan>>,
    /// Fleets, known from a policy or only from the journal.
    pub fleets: BTreeMap<FleetName, FleetStatus>,
    /// Marketplaces.
    pub markets: BTreeMap<MarketplaceName, MarketStatus>,
    /// Accounts.
    pub accounts: BTreeMap<AccountName, AccountStatus>,
    /// Why the newest settings on disk are not in force, one line each.
    pub settings_faults: Vec<String>,
    /// What could not be done in the newest tick, one line each.
    pub troubles: Vec<String>,
}
