//! A situation and a plan as trees.

use super::tree::{Tree, Unread, object, records, tagged, unknown, variant, words};
use crate::plan::{
    AccountState, Action, Bench, Candidate, FleetReport, FleetState, MarketState, Order, Score, Situation, Subject,
    Unmet, Verdict,
};
use serde_json::Value;

words!(Bench);

records! {
    Situation {
        now, quote_age_max, limits, limits_held, namer, fleets, orphaned, orphaned_staying, markets, accounts, hosts,
    }
    FleetState { policy, order, fleet, missing, scaled_down_at, held, policy_broken }
    MarketState { account, bench, hostnodes, hostnodes_at, list_complete, quotes, unanswered, ability }
    AccountState { balance, foreign, spent }
}

impl Tree for Order {
    fn tree(&self) -> Value {
        match self {
            Self::Evacuate => Value::from("evacuate"),
            Self::Pause(gpus) => tagged("pause", gpus.tree()),
            Self::Hold(gpus) => tagged("hold", gpus.tree()),
        }
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        match variant(tree)? {
            ("evacuate", _) => Ok(Self::Evacuate),
            ("pause", gpus) => u32::read(gpus).map(Self::Pause),
            ("hold", gpus) => u32::read(gpus).map(Self::Hold),
            (tag, _) => unknown(tag),
        }
    }
}

/// One step, as it is kept beside the situation that led to it. It is never read back: it is compared.
pub(super) fn action(action: &Action) -> Value {
    match action {
        Action::Ask { fleet, marketplace, bid } => {
            let parts = [("fleet", fleet.tree()), ("marketplace", marketplace.tree()), ("bid", bid.tree())];
            tagged("ask", object(parts))
        }
        Action::Look { fleet, marketplace, hostnode } => {
            let parts = [("fleet", fleet.tree()), ("marketplace", marketplace.tree()), ("hostnode", hostnode.tree())];
            tagged("look", object(parts))
        }
        Action::Deploy(deploy) => tagged("deploy", deploy.tree()),
        Action::Rebid { subject: of, from, to, why } => {
            let parts = [("subject", subject(of)), ("from", from.tree()), ("to", to.tree()), ("why", why.tree())];
            tagged("rebid", object(parts))
        }
        Action::Start { subject: of, why } => tagged("start", object([("subject", subject(of)), ("why", why.tree())])),
        Action::Stop { subject: of, reason, why } => {
            tagged("stop", object([("subject", subject(of)), ("reason", reason.tree()), ("why", why.tree())]))
        }
        Action::Delete { subject: of, reason, why } => {
            tagged("delete", object([("subject", subject(of)), ("reason", reason.tree()), ("why", why.tree())]))
        }
    }
}

fn subject(Subject { name, fleet, marketplace, id }: &Subject) -> Value {
    object([("name", name.tree()), ("fleet", fleet.tree()), ("marketplace", marketplace.tree()), ("id", id.tree())])
}

/// Why, for one fleet.
pub(super) fn report(report: &FleetReport) -> Value {
    let FleetReport {
        target_gpus,
        running_gpus,
        planned_gpus,
        rate_now,
        rate_planned,
        rate_limit,
        lower_bound,
        gap_ppm,
        candidates,
        rejected,
        rejected_hostnodes,
        overbilled,
        unasked_offers,
        blocked,
    } = report;
    object([
        ("target_gpus", target_gpus.tree()),
        ("running_gpus", running_gpus.tree()),
        ("planned_gpus", planned_gpus.tree()),
        ("rate_now", rate_now.tree()),
        ("rate_planned", rate_planned.tree()),
        ("rate_limit", rate_limit.tree()),
        ("lower_bound", lower_bound.tree()),
        ("gap_ppm", gap_ppm.tree()),
        ("candidates", candidates.iter().map(candidate).collect()),
        ("rejected", rejected.tree()),
        ("rejected_hostnodes", rejected_hostnodes.tree()),
        ("overbilled", overbilled.tree()),
        ("unasked_offers", unasked_offers.tree()),
        ("blocked", blocked.iter().map(unmet).collect()),
    ])
}

fn candidate(Candidate { offer, price_type, bid, rate, score, verdict }: &Candidate) -> Value {
    let Score { preference, micros_per_delivered_gpu_hour, crowding, tie } = score;
    let verdict = match verdict {
        Verdict::Eligible => Value::from("eligible"),
        Verdict::Asking => Value::from("asking"),
        Verdict::Chosen => Value::from("chosen"),
        Verdict::Rejected(reason) => tagged("rejected", reason.tree()),
    };
    object([
        ("offer", offer.tree()),
        ("price_type", price_type.tree()),
        ("bid", bid.tree()),
        ("rate", rate.tree()),
        ("preference", preference.tree()),
        ("micros_per_delivered_gpu_hour", micros_per_delivered_gpu_hour.tree()),
        ("crowding", crowding.tree()),
        ("tie", tie.tree()),
        ("verdict", verdict),
    ])
}

fn unmet(Unmet { gpus, reason, detail }: &Unmet) -> Value {
    object([("gpus", gpus.tree()), ("reason", reason.tree()), ("detail", detail.tree())])
}
