//! What one tick decided, as it is kept in the history: `explain` and `history` read nothing else.
//!
//! A decision is text and figures for people and scripts, not something the daemon ever acts on again; it is pruned when
//! it is old. Money is decimal text, so that a figure reads back as it was.

use crate::{
    ledger::record::Record,
    model::{FleetName, VmName, reason::ActionKind},
    plan::{Action, FleetReport, Plan, Verdict},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Candidates kept per fleet and decision, best first.
const CANDIDATES_MAX: usize = 12;

/// What one tick decided for one fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Its id: grows with time.
    pub id: String,
    /// Whose.
    pub fleet: String,
    /// What made the tick happen.
    pub cause: String,
    /// What was done, in order.
    pub actions: Vec<Step>,
    /// What was weighed.
    pub weighed: Weighed,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// One of the plan's kinds.
    pub kind: String,
    /// Whose.
    pub fleet: String,
    /// The VM's name, where there is one.
    pub instance: Option<String>,
    /// Where.
    pub marketplace: String,
    /// On which machine.
    pub hostnode: Option<String>,
    /// What it is.
    pub gpu_model: Option<String>,
    /// How many GPUs.
    pub gpus: Option<u32>,
    /// How it is paid for.
    pub price_type: Option<String>,
    /// USD per hour, what the marketplace is told.
    pub bid: Option<String>,
    /// USD per hour, all in.
    pub rate: Option<String>,
    /// Why.
    pub reason: String,
    /// What came of it, once it was tried.
    pub outcome: Option<String>,
}

/// What was weighed for one fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weighed {
    /// GPUs wanted.
    pub target_gpus: u32,
    /// GPUs running.
    pub running_gpus: u32,
    /// GPUs once the plan is done.
    pub planned_gpus: u32,
    /// USD per hour, committed now.
    pub rate_now: String,
    /// USD per hour, once the plan is done.
    pub rate_planned: String,
    /// USD per hour.
    pub rate_limit: String,
    /// Why the target is not met: reason and figures.
    pub blocked: Vec<(u32, String, String)>,
    /// Hostnodes turned down, by reason.
    pub rejected: BTreeMap<String, u32>,
    /// The best candidates, in order.
    pub candidates: Vec<Weighing>,
    /// Marketplaces on which nothing could be rented, one line each: why, since when, and when they are asked again.
    #[serde(default)]
    pub benched: Vec<String>,
}

/// One candidate as it was weighed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weighing {
    /// Where.
    pub marketplace: String,
    /// On which machine.
    pub hostnode: String,
    /// What it is.
    pub gpu_model: String,
    /// How many GPUs.
    pub gpus: u32,
    /// How it would be paid for.
    pub price_type: String,
    /// USD per hour, all in, as far as known.
    pub rate: String,
    /// Micro-dollars per delivered GPU-hour.
    pub score: u64,
    /// What became of it.
    pub verdict: String,
}

impl Action {
    /// Its kind, as `plan --json` names it.
    pub const fn kind(&self) -> ActionKind {
        match self {
            Self::Ask { .. } | Self::Look { .. } => ActionKind::Ask,
            Self::Deploy(deploy) => match deploy.replaces {
                Some(_) => ActionKind::Replace,
                None => ActionKind::Deploy,
            },
            Self::Rebid { .. } => ActionKind::Rebid,
            Self::Start { .. } => ActionKind::Start,
            Self::Stop { .. } => ActionKind::Stop,
            Self::Delete { .. } => ActionKind::Delete,
        }
    }

    /// The VM it is about.
    pub fn instance(&self) -> Option<&VmName> {
        match self {
            Self::Ask { .. } | Self::Look { .. } => None,
            Self::Deploy(deploy) => Some(&deploy.name),
            Self::Rebid { subject, .. }
            | Self::Start { subject, .. }
            | Self::Stop { subject, .. }
            | Self::Delete { subject, .. } => Some(&subject.name),
        }
    }
}

impl Step {
    /// As planned, not tried yet.
    pub fn planned(action: &Action) -> Self {
        let mut step = Self {
            kind: action.kind().to_string(),
            fleet: String::new(),
            instance: action.instance().map(ToString::to_string),
            marketplace: String::new(),
            hostnode: None,
            gpu_model: None,
            gpus: None,
            price_type: None,
            bid: None,
            rate: None,
            reason: String::new(),
            outcome: None,
        };
        match action {
            Action::Ask { fleet, marketplace, bid } => {
                step.fleet = fleet.to_string();
                step.marketplace = marketplace.to_string();
                step.hostnode = Some(bid.hostnode.to_string());
                step.gpu_model = Some(bid.shape.gpu_model.to_string());
                step.gpus = Some(bid.shape.gpus);
                step.bid = Some(bid.price.to_string());
                step.reason = "its least accepted bid is not known".into();
            }
            Action::Look { fleet, marketplace, hostnode } => {
                step.fleet = fleet.to_string();
                step.marketplace = marketplace.to_string();
                step.hostnode = Some(hostnode.to_string());
                step.reason = "its free ports are not known".into();
            }
            Action::Deploy(deploy) => {
                step.fleet = deploy.fleet.to_string();
                step.marketplace = deploy.marketplace.to_string();
                step.hostnode = Some(deploy.hostnode.to_string());
                step.gpu_model = Some(deploy.shape.gpu_model.to_string());
                step.gpus = Some(deploy.shape.gpus);
                step.price_type = Some(deploy.price_type.to_string());
                step.bid = deploy.bid.map(|bid| bid.to_string());
                step.rate = Some(deploy.agreed.total().to_string());
                step.reason.clone_from(&deploy.why);
            }
            Action::Rebid { subject, to, why, .. } => {
                step.fleet = subject.fleet.to_string();
                step.marketplace = subject.marketplace.to_string();
                step.bid = Some(to.to_string());
                step.reason.clone_from(why);
            }
            Action::Start { subject, why } => {
                step.fleet = subject.fleet.to_string();
                step.marketplace = subject.marketplace.to_string();
                step.reason.clone_from(why);
            }
            Action::Stop { subject, reason, why } | Action::Delete { subject, reason, why } => {
                step.fleet = subject.fleet.to_string();
                step.marketplace = subject.marketplace.to_string();
                step.reason = format!("{reason}: {why}");
            }
        }
        step
    }
}

impl Weighed {
    fn of(report: &FleetReport, benched: &[String]) -> Self {
        let candidates = report.candidates.iter().take(CANDIDATES_MAX);
        Self {
            target_gpus: report.target_gpus,
            running_gpus: report.running_gpus,
            planned_gpus: report.planned_gpus,
            rate_now: report.rate_now.to_string(),
            rate_planned: report.rate_planned.to_string(),
            rate_limit: report.rate_limit.to_string(),
            blocked: report
                .blocked
                .iter()
                .map(|unmet| (unmet.gpus, unmet.reason.to_string(), unmet.detail.clone()))
                .collect(),
            rejected: report.rejected.iter().map(|(reason, count)| (reason.to_string(), *count)).collect(),
            candidates: candidates
                .map(|candidate| Weighing {
                    marketplace: candidate.offer.marketplace.to_string(),
                    hostnode: candidate.offer.hostnode.to_string(),
                    gpu_model: candidate.offer.shape.gpu_model.to_string(),
                    gpus: candidate.offer.shape.gpus,
                    price_type: candidate.price_type.to_string(),
                    rate: candidate.rate.to_string(),
                    score: candidate.score.micros_per_delivered_gpu_hour,
                    verdict: match candidate.verdict {
                        Verdict::Eligible => "eligible".to_owned(),
                        Verdict::Asking => "asking".to_owned(),
                        Verdict::Chosen => "chosen".to_owned(),
                        Verdict::Rejected(reason) => reason.to_string(),
                    },
                })
                .collect(),
            benched: benched.to_vec(),
        }
    }
}

impl Decision {
    /// What a tick decided for each fleet of the report: the steps it tried, and what was weighed.
    pub fn of(tick: &str, cause: super::Cause, steps: &[Step], plan: &Plan, benched: &[String]) -> Vec<Self> {
        let of = |(fleet, report): (&FleetName, &FleetReport)| Self {
            id: format!("{tick}-{fleet}"),
            fleet: fleet.to_string(),
            cause: cause.to_string(),
            actions: steps.iter().filter(|step| step.fleet == fleet.as_str()).cloned().collect(),
            weighed: Weighed::of(report, benched),
        };
        plan.report.iter().map(of).collect()
    }

    /// What is worth a row of its own when it changes, even if nothing was done: why the target is not met.
    pub fn blocks(&self) -> Vec<(u32, String)> {
        self.weighed.blocked.iter().map(|(gpus, reason, _)| (*gpus, reason.clone())).collect()
    }

    /// As the journal keeps it, with the rows of the recording that show what it was made on.
    pub fn record(&self, rounds: &[u64]) -> Option<Record> {
        Some(Record::Decision {
            id: self.id.clone(),
            fleet: self.fleet.parse().ok(),
            cause: self.cause.clone(),
            report: serde_json::to_string(&self.weighed).ok()?,
            actions: serde_json::to_string(&self.actions).ok()?,
            rounds: rounds.to_vec(),
        })
    }
}
