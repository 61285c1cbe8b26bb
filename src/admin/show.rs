//! From what the engine knows to what the window shows.
//!
//! Pure functions of a [`Status`], or of a [`Situation`] and its [`Plan`] where the CLI has looked by itself. Nothing is
//! decided here and nothing is looked up.

use super::{
    amount::{Money, Ratio},
    views::*,
};
use crate::{
    engine::{
        Status,
        export::{effective_target, per_gpu, running_gpus, verdict_word},
        status::{FleetStatus, Totals},
    },
    ledger::{
        Member, Period,
        fleet::{Late, Stray},
    },
    model::{FleetName, HourlyRate, PriceType, Timestamp, Usd, VmName, time::elapsed},
    plan::{Action, Candidate, Deploy, FleetReport, Plan, Situation, Unmet},
};
use std::collections::{BTreeMap, BTreeSet};

/// Candidates told of one fleet when nobody asks for another number.
pub const CANDIDATES_MAX: usize = 100;
/// Seconds in an hour.
const SECONDS_PER_HOUR: i128 = 3_600;

/// The daemon and all its fleets.
pub fn fleets(status: &Status, now: Timestamp) -> FleetsView {
    FleetsView {
        at: status.at,
        now,
        started_at: status.started_at,
        ticks: status.ticks,
        decision: status.decision.clone(),
        mode: status.mode.to_string(),
        scan_interval_s: status.scan_interval.as_secs(),
        fleets: status.fleets.keys().filter_map(|name| fleet(status, name)).collect(),
        marketplaces: marketplaces(status, now),
        settings_faults: status.settings_faults.clone(),
        troubles: status.troubles.clone(),
    }
}

/// One fleet, where there is one of that name.
pub fn fleet(status: &Status, name: &FleetName) -> Option<FleetView> {
    let known = status.fleets.get(name)?;
    let state = status.situation.as_ref().and_then(|situation| situation.fleets.get(name));
    let report = status.plan.as_ref().and_then(|plan| plan.report.get(name));
    let FleetStatus { policy, levers, totals: sums } = known;
    let mut gpus = BTreeMap::new();
    for member in state.iter().flat_map(|state| state.fleet.members.values()) {
        let counted: &mut u32 = gpus.entry(member.standing.state().to_owned()).or_default();
        *counted = counted.saturating_add(member.counted_gpus());
    }
    let members = || state.iter().flat_map(|state| state.fleet.members.values());
    Some(FleetView {
        fleet: name.to_string(),
        target_gpus: state.map(|state| effective_target(state.order)),
        running_gpus: state.map_or(0, running_gpus),
        counted_gpus: state.map_or(0, |state| state.fleet.counted_gpus()),
        gpus,
        instances: count(members()),
        strays: state.map_or(0, |state| count(state.fleet.strays.iter())),
        rate_usd_per_hour: state
            .map(|state| RateView { now: state.fleet.committed().into(), limit: state.policy.max_hourly_rate.into() }),
        mode: state.map_or(status.mode, |state| state.policy.mode.min(status.mode)).to_string(),
        paused: levers.paused,
        evacuating: levers.evacuating,
        operator_target: levers.target.map(|(gpus, until)| OperatorTargetView { gpus, until }),
        missing_since: state.and_then(|state| state.missing.since()),
        blocked: report.iter().flat_map(|report| &report.blocked).map(blocked).collect(),
        overbilled: report.iter().flat_map(|report| &report.overbilled).map(overbilled).collect(),
        totals: totals(sums),
        policy: PolicyView {
            file: policy.file.clone(),
            sha256: policy.sha256.clone(),
            faults: policy.faults.clone(),
            gone: policy.gone,
            held: policy
                .held
                .as_ref()
                .map(|(sha256, effect)| HeldView { sha256: sha256.clone(), effect: effect.clone() }),
        },
        accounts: members().map(|member| member.account.to_string()).collect::<BTreeSet<_>>().into_iter().collect(),
    })
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

fn blocked(unmet: &Unmet) -> BlockedView {
    BlockedView { gpus: unmet.gpus, reason: unmet.reason.to_string(), detail: unmet.detail.clone() }
}

fn overbilled((name, (agreed, billed)): (&VmName, &(HourlyRate, HourlyRate))) -> OverbilledView {
    OverbilledView {
        instance: name.to_string(),
        agreed_usd_per_hour: (*agreed).into(),
        billed_usd_per_hour: (*billed).into(),
    }
}

fn totals(sums: &Totals) -> TotalsView {
    let Totals { spend, gpu_seconds, on_demand_equivalent, spend_today } = *sums;
    let per_gpu_hour = |amount: Usd| {
        let micros = (i128::from(amount.micros()) * SECONDS_PER_HOUR).checked_div(i128::from(gpu_seconds))?;
        i64::try_from(micros).ok().map(|micros| Money::from(Usd::from_micros(micros)))
    };
    TotalsView {
        spend_usd: spend.into(),
        spend_today_usd: spend_today.into(),
        gpu_seconds,
        on_demand_equivalent_usd: on_demand_equivalent.into(),
        usd_per_gpu_hour: per_gpu_hour(spend),
        on_demand_usd_per_gpu_hour: per_gpu_hour(on_demand_equivalent),
    }
}

fn marketplaces(status: &Status, now: Timestamp) -> Vec<MarketplaceView> {
    let of = |(name, market): (&crate::model::MarketplaceName, &crate::engine::status::MarketStatus)| {
        let state = status.situation.as_ref().and_then(|situation| situation.markets.get(name));
        MarketplaceView {
            marketplace: name.to_string(),
            account: state.map(|state| state.account.to_string()),
            age_s: market.hostnodes_at.map(|at| elapsed(at, now).as_secs()),
            hostnodes: state.map_or(0, |state| count(state.hostnodes.iter())),
            bench: state.and_then(|state| state.bench).map(|bench| bench.to_string()),
            benched_since: market.benched_since,
            asked_again_at: market.asked_again_at,
            failed: market.failed.as_ref().map(|failed| failed.value.to_string()),
            dropped: market.dropped.clone(),
            in_doubt: market.in_doubt,
        }
    };
    status.markets.iter().map(of).collect()
}

/// Every VM that is ours or is named like ours.
pub fn instances(status: &Status, now: Timestamp) -> InstancesView {
    let mut instances = Vec::new();
    for (name, state) in status.situation.iter().flat_map(|situation| &situation.fleets) {
        let report = status.plan.as_ref().and_then(|plan| plan.report.get(name));
        let billed = |found: &Member| report?.overbilled.get(&found.name).map(|(_, billed)| *billed);
        instances.extend(state.fleet.members.values().map(|found| member(found, billed(found), now)));
        instances.extend(state.fleet.strays.iter().map(|found| stray(name, found, now)));
        instances.extend(state.fleet.late.iter().map(|found| late(name, found)));
    }
    for instance in &mut instances {
        let market = status.markets.iter().find(|(name, _)| name.as_str() == instance.marketplace);
        instance.user = market.and_then(|(_, market)| market.user).map(str::to_owned);
    }
    InstancesView { at: status.at, instances }
}

fn member(member: &Member, overbilled: Option<HourlyRate>, now: Timestamp) -> InstanceView {
    InstanceView {
        name: member.name.to_string(),
        id: member.id.as_ref().map(ToString::to_string),
        fleet: member.fleet.to_string(),
        marketplace: member.marketplace.to_string(),
        account: member.account.to_string(),
        hostnode: Some(member.hostnode.to_string()),
        location: member.location.to_string(),
        gpu_model: member.shape.gpu_model.to_string(),
        gpus: member.shape.gpus,
        vcpus: Some(member.shape.vcpus),
        ram_gb: Some(member.shape.ram_gb),
        storage_gb: Some(member.shape.storage_gb),
        price_type: Some(member.price_type.to_string()),
        standing: member.standing.to_string(),
        since: Some(member.since),
        age_s: Some(elapsed(member.intended_at, now).as_secs()),
        running_since: member.running_since,
        address: member.address.clone(),
        ports: member.ports.clone(),
        user: None,
        bid_usd_per_hour: member.bid.map(Money::from),
        rate_usd_per_hour: member.committed().into(),
        agreed_usd_per_hour: Some(member.agreed.total().into()),
        overbilled_usd_per_hour: overbilled.map(Money::from),
        on_demand_usd_per_hour: Some(member.on_demand.total().into()),
        available_until: member.available_until,
        protected: member.protected,
        write_in_doubt: member.write_in_doubt,
        replaces: member.replaces.as_ref().map(ToString::to_string),
        why: member.why.clone(),
    }
}

fn stray(fleet: &FleetName, stray: &Stray, now: Timestamp) -> InstanceView {
    let instance = &stray.instance;
    InstanceView {
        name: instance.name.to_string(),
        id: Some(instance.id.to_string()),
        fleet: fleet.to_string(),
        marketplace: stray.marketplace.to_string(),
        account: stray.account.to_string(),
        hostnode: instance.hostnode.as_ref().map(ToString::to_string),
        location: String::new(),
        gpu_model: instance.gpu_model.as_ref().map(ToString::to_string).unwrap_or_default(),
        gpus: instance.gpus,
        vcpus: None,
        ram_gb: None,
        storage_gb: None,
        price_type: instance.price_type.map(|price_type| price_type.to_string()),
        standing: "stray".into(),
        since: None,
        age_s: instance.created_at.map(|at| elapsed(at, now).as_secs()),
        running_since: None,
        address: instance.address.clone(),
        ports: instance.ports.clone(),
        user: None,
        bid_usd_per_hour: None,
        rate_usd_per_hour: stray.rate().into(),
        agreed_usd_per_hour: None,
        overbilled_usd_per_hour: None,
        on_demand_usd_per_hour: None,
        available_until: instance.available_until,
        protected: false,
        write_in_doubt: false,
        replaces: None,
        why: "named like one of ours, and not in the journal: adopt it or delete it".into(),
    }
}

fn late(fleet: &FleetName, late: &Late) -> InstanceView {
    InstanceView {
        name: late.name.to_string(),
        id: Some(late.id.to_string()),
        fleet: fleet.to_string(),
        marketplace: late.marketplace.to_string(),
        account: late.account.to_string(),
        hostnode: None,
        location: String::new(),
        gpu_model: String::new(),
        gpus: late.gpus,
        vcpus: None,
        ram_gb: None,
        storage_gb: None,
        price_type: None,
        standing: "late".into(),
        since: None,
        age_s: None,
        running_since: None,
        address: None,
        ports: BTreeMap::new(),
        user: None,
        bid_usd_per_hour: None,
        rate_usd_per_hour: late.rate.into(),
        agreed_usd_per_hour: None,
        overbilled_usd_per_hour: None,
        on_demand_usd_per_hour: None,
        available_until: None,
        protected: false,
        write_in_doubt: false,
        replaces: None,
        why: "turned up after its deploy had been given up; it is being deleted".into(),
    }
}

/// The candidates of the newest plan, of one fleet or of all, at most so many of each.
pub fn offers(plan: &Plan, at: Option<Timestamp>, only: Option<&FleetName>, candidates_max: usize) -> OffersView {
    let chosen = plan.report.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
    let of = |(name, report): (&FleetName, &FleetReport)| FleetOffersView {
        fleet: name.to_string(),
        candidates: report
            .candidates
            .iter()
            .zip(1..)
            .take(candidates_max)
            .map(|(found, rank)| offer(found, rank))
            .collect(),
        candidates_total: count(report.candidates.iter()),
        rejected: rejected(report),
        unasked_offers: report.unasked_offers,
    };
    OffersView { at, fleets: chosen.map(of).collect() }
}

fn rejected(report: &FleetReport) -> BTreeMap<String, u32> {
    report.rejected.iter().map(|(reason, count)| (reason.to_string(), *count)).collect()
}

pub(super) fn offer(candidate: &Candidate, rank: u32) -> OfferView {
    let Candidate { offer, price_type, bid, rate, score, verdict } = candidate;
    OfferView {
        rank,
        marketplace: offer.marketplace.to_string(),
        hostnode: offer.hostnode.to_string(),
        location: offer.location.to_string(),
        gpu_model: offer.shape.gpu_model.to_string(),
        gpus: offer.shape.gpus,
        vcpus: offer.shape.vcpus,
        ram_gb: offer.shape.ram_gb,
        storage_gb: offer.shape.storage_gb,
        price_type: price_type.to_string(),
        bid_usd_per_hour: bid.map(Money::from),
        rate_usd_per_hour: (*rate).into(),
        usd_per_gpu_hour: per_gpu(*rate, offer.shape.gpus).into(),
        on_demand_usd_per_hour: offer.on_demand.total().into(),
        uptime_ratio: offer.uptime_ppm.map(|ppm| Ratio::from_ppm(ppm.into())),
        available_until: offer.available_until,
        score: ScoreView {
            preference: score.preference,
            usd_per_delivered_gpu_hour: crate::model::HourlyRate::from_micros(score.micros_per_delivered_gpu_hour)
                .into(),
            crowding: score.crowding,
        },
        verdict: verdict_word(verdict).to_owned(),
    }
}

/// A plan and why, of one fleet or of all.
pub fn plan(situation: &Situation, plan: &Plan, only: Option<&FleetName>) -> PlanView {
    let chosen = plan.report.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
    let of = |(name, report): (&FleetName, &FleetReport)| FleetPlanView {
        fleet: name.to_string(),
        target_gpus: report.target_gpus,
        running_gpus: report.running_gpus,
        planned_gpus: report.planned_gpus,
        rate_usd_per_hour: PlannedRateView {
            now: report.rate_now.into(),
            planned: report.rate_planned.into(),
            limit: report.rate_limit.into(),
            lower_bound: report.lower_bound.into(),
        },
        gap_ratio: Ratio::from_ppm(report.gap_ppm),
        actions: plan
            .actions
            .iter()
            .filter(|step| fleet_of(step) == name)
            .map(|step| action(situation, step))
            .collect(),
        rejected: rejected(report),
        blocked: report.blocked.iter().map(blocked).collect(),
        unasked_offers: report.unasked_offers,
        stray_gpus: situation.fleets.get(name).map_or(0, |state| state.fleet.stray_gpus()),
    };
    PlanView { at: situation.now, fleets: chosen.map(of).collect() }
}

/// Whose step it is.
pub const fn fleet_of(action: &Action) -> &FleetName {
    match action {
        Action::Ask { fleet, .. } | Action::Look { fleet, .. } => fleet,
        Action::Deploy(deploy) => &deploy.fleet,
        Action::Rebid { subject, .. }
        | Action::Start { subject, .. }
        | Action::Stop { subject, .. }
        | Action::Delete { subject, .. } => &subject.fleet,
    }
}

fn action(situation: &Situation, action: &Action) -> ActionView {
    let kind = action.kind().to_string();
    let of_subject = |subject: &crate::plan::Subject, reason: String, detail: Option<String>| {
        let member = situation.fleets.get(&subject.fleet).and_then(|state| state.fleet.members.get(&subject.name));
        ActionView {
            kind: kind.clone(),
            marketplace: subject.marketplace.to_string(),
            hostnode: member.map(|member| member.hostnode.to_string()),
            gpu_model: member.map(|member| member.shape.gpu_model.to_string()),
            gpus: member.map(|member| member.shape.gpus),
            price_type: member.map(|member| member.price_type.to_string()),
            bid_usd_per_hour: member.and_then(|member| member.bid).map(Money::from),
            rate_usd_per_hour: member.map(|member| member.committed().into()),
            instance: Some(subject.name.to_string()),
            replaces: None,
            reason,
            detail,
        }
    };
    match action {
        Action::Ask { fleet: _, marketplace, bid } => ActionView {
            kind,
            marketplace: marketplace.to_string(),
            hostnode: Some(bid.hostnode.to_string()),
            gpu_model: Some(bid.shape.gpu_model.to_string()),
            gpus: Some(bid.shape.gpus),
            price_type: Some(PriceType::Spot.to_string()),
            bid_usd_per_hour: Some(bid.price.into()),
            rate_usd_per_hour: None,
            instance: None,
            replaces: None,
            reason: "its least accepted bid is not known".into(),
            detail: None,
        },
        Action::Look { fleet: _, marketplace, hostnode } => ActionView {
            kind,
            marketplace: marketplace.to_string(),
            hostnode: Some(hostnode.to_string()),
            gpu_model: None,
            gpus: None,
            price_type: None,
            bid_usd_per_hour: None,
            rate_usd_per_hour: None,
            instance: None,
            replaces: None,
            reason: "its free ports are not known".into(),
            detail: None,
        },
        Action::Deploy(deploy) => deployment(kind, deploy),
        Action::Rebid { subject, from: _, to, why } => {
            ActionView { bid_usd_per_hour: Some((*to).into()), ..of_subject(subject, why.clone(), None) }
        }
        Action::Start { subject, why } => of_subject(subject, why.clone(), None),
        Action::Stop { subject, reason, why } | Action::Delete { subject, reason, why } => {
            of_subject(subject, reason.to_string(), Some(why.clone()))
        }
    }
}

fn deployment(kind: String, deploy: &Deploy) -> ActionView {
    ActionView {
        kind,
        marketplace: deploy.marketplace.to_string(),
        hostnode: Some(deploy.hostnode.to_string()),
        gpu_model: Some(deploy.shape.gpu_model.to_string()),
        gpus: Some(deploy.shape.gpus),
        price_type: Some(deploy.price_type.to_string()),
        bid_usd_per_hour: deploy.bid.map(Money::from),
        rate_usd_per_hour: Some(deploy.agreed.total().into()),
        instance: Some(deploy.name.to_string()),
        replaces: deploy.replaces.as_ref().map(ToString::to_string),
        reason: deploy.why.clone(),
        detail: None,
    }
}

/// All accounts.
pub fn accounts(status: &Status, now: Timestamp) -> AccountsView {
    let of = |(name, account): (&crate::model::AccountName, &crate::engine::status::AccountStatus)| AccountView {
        account: name.to_string(),
        balance_usd: account.balance.as_ref().map(|balance| balance.value.into()),
        balance_age_s: account.balance.as_ref().map(|balance| elapsed(balance.at, now).as_secs()),
        floor_usd: account.floor.into(),
        hourly_cost_usd: account.hourly_cost.into(),
        unexplained_usd_per_hour: account.unexplained.into(),
        runway_to_floor_s: account.runway_to_floor.map(|runway| runway.as_secs()),
        runway_to_zero_s: account.runway_to_zero.map(|runway| runway.as_secs()),
        balance: account.balance_rule.to_string(),
        spent_today_usd: account.spent_today.into(),
        max_spend_per_day_usd: account.budget_of(Period::Day).map(Into::into),
        max_spend_per_month_usd: account.budget_of(Period::Month).map(Into::into),
        budget_remaining_usd: account.budget_left().map(Into::into),
    };
    AccountsView { at: status.at, accounts: status.accounts.iter().map(of).collect() }
}

/// Our running VMs as targets: one for each forwarded port, so that a relabelling can keep the port it wants.
pub fn discovered(situation: Option<&Situation>) -> Vec<DiscoveredView> {
    let mut found = Vec::new();
    let members = situation.iter().flat_map(|situation| situation.fleets.values());
    for member in members.flat_map(|state| state.fleet.members.values()) {
        let Some(address) = member.address.as_ref().filter(|_| member.standing == crate::ledger::Standing::Running)
        else {
            continue;
        };
        let host = if address.contains(':') { format!("[{address}]") } else { address.clone() };
        for (outside, inside) in &member.ports {
            let labels = [
                ("instance", member.name.to_string()),
                ("instance_id", member.id.as_ref().map(ToString::to_string).unwrap_or_default()),
                ("fleet", member.fleet.to_string()),
                ("marketplace", member.marketplace.to_string()),
                ("hostnode", member.hostnode.to_string()),
                ("gpu_model", member.shape.gpu_model.to_string()),
                ("gpus", member.shape.gpus.to_string()),
                ("price_type", member.price_type.to_string()),
                ("country", member.location.country.clone()),
                ("port", inside.to_string()),
            ];
            let label = |(key, value): (&str, String)| (format!("__meta_spotscale_{key}"), value);
            found.push(DiscoveredView {
                targets: vec![format!("{host}:{outside}")],
                labels: labels.into_iter().map(label).collect(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sample::{early, name, now, status};

    fn json<T: serde::Serialize>(view: &T) -> String {
        serde_json::to_string(view).unwrap()
    }

    #[track_caller]
    fn check(json: &str, part: &str) {
        assert!(json.contains(part), "{part}\n{json}");
    }

    #[test]
    fn a_plan_has_the_shape_that_scripts_hold_on_to() {
        let status = status();
        let view = plan(status.situation.as_ref().unwrap(), status.plan.as_ref().unwrap(), Some(&name("train")));
        let json = json(&view);
        check(&json, r#"{"at":"2026-11-20T18:00:00Z","fleets":[{"fleet":"train","target_gpus":8,"running_gpus":3,"#);
        check(&json, r#""planned_gpus":6,"rate_usd_per_hour":{"now":4.82,"planned":5.27,"limit":6.00,"#);
        check(&json, r#""lower_bound":5.27},"gap_ratio":0.0,"actions":[{"kind":"ask","marketplace":"tensordock","#);
        check(&json, r#""bid_usd_per_hour":0.85,"rate_usd_per_hour":0.855,"instance":"spotscale-train-k3x9-6","#);
        check(&json, r#""instance":"spotscale-train-k3x9-3","reason":"outbid","detail":"no bid within"#);
        check(
            &json,
            r#""rejected":{"price_above_cap":120,"uptime_below_min":5},"blocked":[{"gpus":2,"reason":"rate_limit""#,
        );
        assert_eq!(serde_json::from_str::<PlanView>(&json).unwrap(), view);
    }

    #[test]
    fn every_view_reads_back_as_it_was() {
        let status = status();
        let (situation, newest) = (status.situation.as_ref(), status.plan.as_ref().unwrap());
        let all = fleets(&status, now());
        assert_eq!(serde_json::from_str::<FleetsView>(&json(&all)).unwrap(), all);
        let all = instances(&status, now());
        assert_eq!(serde_json::from_str::<InstancesView>(&json(&all)).unwrap(), all);
        let all = offers(newest, status.at, None, CANDIDATES_MAX);
        assert_eq!(serde_json::from_str::<OffersView>(&json(&all)).unwrap(), all);
        let all = accounts(&status, now());
        assert_eq!(serde_json::from_str::<AccountsView>(&json(&all)).unwrap(), all);
        let all = super::super::why_not::why_not(situation.unwrap(), newest, &name("host-8"));
        assert_eq!(serde_json::from_str::<WhyNotView>(&json(&all)).unwrap(), all);
        let all = fleets(&early(), now());
        assert_eq!(serde_json::from_str::<FleetsView>(&json(&all)).unwrap(), all);
    }

    #[test]
    fn a_fleet_tells_what_it_has_what_it_costs_and_what_blocks_it() {
        let fleet = fleet(&status(), &name("train")).unwrap();
        assert_eq!((fleet.target_gpus, fleet.running_gpus, fleet.counted_gpus, fleet.strays), (Some(8), 3, 5, 1));
        assert_eq!(fleet.gpus, BTreeMap::from([("in_doubt".into(), 1), ("outbid".into(), 1), ("running".into(), 3)]));
        check(&json(&fleet), r#""rate_usd_per_hour":{"now":4.835,"limit":6.00}"#);
        check(&json(&fleet), r#""usd_per_gpu_hour":1.234567"#);
        assert_eq!(fleet.blocked.len(), 1);
    }

    #[test]
    fn before_anything_ran_a_gpu_hour_has_no_price() {
        assert_eq!(totals(&Totals::default()).usd_per_gpu_hour, None);
    }

    #[test]
    fn what_is_billed_beyond_what_was_agreed_is_told_of_the_fleet_and_of_the_vm() {
        let fleet = fleet(&status(), &name("train")).unwrap();
        check(
            &json(&fleet),
            r#""overbilled":[{"instance":"spotscale-train-k3x9-1","agreed_usd_per_hour":0.85,"billed_usd_per_hour":0.88}]"#,
        );
        let all = instances(&status(), now()).instances;
        let overbilled: Vec<_> = all.iter().filter(|vm| vm.overbilled_usd_per_hour.is_some()).collect();
        assert_eq!(overbilled.len(), 1);
        assert_eq!(overbilled[0].name, "spotscale-train-k3x9-1");
        assert!(all.iter().filter(|vm| vm.standing != "stray").all(|vm| vm.agreed_usd_per_hour.is_some()));
    }

    #[test]
    fn a_stray_is_among_the_instances_and_says_so() {
        let all = instances(&status(), now()).instances;
        let stray = all.iter().find(|instance| instance.standing == "stray").unwrap();
        assert_eq!((stray.fleet.as_str(), stray.rate_usd_per_hour.to_string().as_str()), ("train", "0.355"));
    }

    #[test]
    fn prometheus_discovers_each_forwarded_port_of_what_runs() {
        let found = discovered(status().situation.as_deref());
        assert_eq!(found.len(), 6, "three run, two ports each");
        assert!(found.iter().any(|target| target.targets == ["192.0.2.1:20001"]
            && target.labels.get("__meta_spotscale_port").is_some_and(|port| port == "9100")));
    }
}
