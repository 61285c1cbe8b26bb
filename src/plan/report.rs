//! Why a plan is what it is: by fleet, in figures.

use super::{Action, Candidate, Draft, FleetReport, Plan, Verdict, draft::Notes, eligible::counted};
use crate::{
    ledger::{Member, Standing},
    model::{FleetName, GpuModel, HostnodeId, HourlyRate, MarketplaceName, PriceType, reason::Rejected},
};
use std::collections::{BTreeMap, BTreeSet};

/// Closes a draft.
pub(super) fn finish(mut draft: Draft<'_>) -> Plan {
    let mut report = BTreeMap::new();
    let notes = std::mem::take(&mut draft.notes);
    for (name, notes) in notes {
        if let Some(fleet) = fleet(&draft, &name, notes) {
            report.insert(name, fleet);
        }
    }
    Plan { actions: draft.actions, report }
}

fn fleet(draft: &Draft<'_>, name: &FleetName, notes: Notes) -> Option<FleetReport> {
    let state = draft.situation.fleets.get(name)?;
    let Notes { candidates, mut turned_down, overbilled, blocked } = notes;
    turned_down.extend(turned_down_whole(&candidates));
    let members = state.fleet.members.values();
    let staying: Vec<&Member> = members.clone().filter(|member| !draft.is_going(member)).collect();
    let mut planned_gpus: u32 = staying.iter().map(|member| member.counted_gpus()).sum();
    let others = state.fleet.committed().minus(members.map(Member::committed).sum());
    let mut rate_kept = others.plus(staying.iter().map(|member| member.committed()).sum());
    let mut new = New::default();
    for action in draft.actions.iter().filter(|action| action.fleet() == name) {
        match action {
            Action::Deploy(deploy) => {
                planned_gpus += deploy.shape.gpus;
                new.rate = new.rate.plus(deploy.agreed.total());
                let delivered = candidates.iter().find(|candidate| {
                    candidate.verdict == Verdict::Chosen
                        && candidate.offer.hostnode == deploy.hostnode
                        && candidate.offer.marketplace == deploy.marketplace
                        && candidate.offer.shape == deploy.shape
                        && candidate.price_type == deploy.price_type
                });
                new.delivered += delivered.map_or(0, delivered_sum);
                *new.gpus.entry(deploy.shape.gpu_model.clone()).or_default() += deploy.shape.gpus;
            }
            Action::Rebid { from, to, .. } => rate_kept = rate_kept.plus(to.minus(*from)),
            Action::Start { subject, .. } => {
                if let Some(member) = state.fleet.members.get(&subject.name)
                    && member.standing == Standing::StoppedReleased
                {
                    planned_gpus += member.shape.gpus;
                    rate_kept = rate_kept.plus(member.agreed.total().minus(member.committed()));
                }
            }
            Action::Ask { .. } | Action::Look { .. } | Action::Stop { .. } | Action::Delete { .. } => {}
        }
    }
    let known: Vec<&Candidate> = candidates.iter().filter(|candidate| is_known(candidate)).collect();
    let free = |candidate: &Candidate| {
        let offer = &candidate.offer;
        let hostnode = draft.situation.hostnode(&offer.marketplace, &offer.hostnode);
        hostnode.map_or(offer.shape.gpus, |hostnode| hostnode.free_gpus(&offer.shape.gpu_model))
    };
    let rate_bound = bound(&known, &new.gpus, free, |candidate| candidate.rate.micros());
    let delivered_bound = bound(&known, &new.gpus, free, delivered_sum);
    let gap = u128::from(new.delivered.saturating_sub(delivered_bound)) * 1_000_000;
    Some(FleetReport {
        target_gpus: state.target_gpus(),
        running_gpus: staying_running(state.fleet.members.values()),
        planned_gpus,
        rate_now: state.fleet.committed(),
        rate_planned: rate_kept.plus(new.rate),
        rate_limit: state.rate_limit(),
        lower_bound: rate_kept.plus(HourlyRate::from_micros(rate_bound)),
        gap_ppm: u64::try_from(gap / u128::from(delivered_bound.max(1))).unwrap_or(u64::MAX),
        unasked_offers: u32::try_from(candidates.iter().filter(|candidate| is_unasked(candidate)).count())
            .unwrap_or(u32::MAX),
        candidates,
        rejected: counted(&turned_down),
        rejected_hostnodes: turned_down,
        overbilled,
        blocked,
    })
}

#[derive(Default)]
struct New {
    rate: HourlyRate,
    /// Rate / uptime (/ worth), summed over VMs.
    delivered: u64,
    gpus: BTreeMap<GpuModel, u32>,
}

fn delivered_sum(candidate: &Candidate) -> u64 {
    candidate.score.micros_per_delivered_gpu_hour.saturating_mul(u64::from(candidate.offer.shape.gpus))
}

fn staying_running<'m>(members: impl Iterator<Item = &'m Member>) -> u32 {
    members.filter(|member| member.standing == Standing::Running).map(Member::counted_gpus).sum()
}

fn is_known(candidate: &Candidate) -> bool {
    match candidate.verdict {
        Verdict::Chosen => true,
        Verdict::Eligible => !is_unasked(candidate),
        Verdict::Asking | Verdict::Rejected(_) => false,
    }
}

fn is_unasked(candidate: &Candidate) -> bool {
    match candidate.verdict {
        Verdict::Asking | Verdict::Eligible => candidate.price_type == PriceType::Spot && candidate.bid.is_none(),
        Verdict::Chosen | Verdict::Rejected(_) => false,
    }
}

/// Hostnodes all of whose offers were turned down in this plan, by the first one's reason.
fn turned_down_whole(candidates: &[Candidate]) -> BTreeMap<(MarketplaceName, HostnodeId), Rejected> {
    let key = |candidate: &Candidate| (candidate.offer.marketplace.clone(), candidate.offer.hostnode.clone());
    let good: BTreeSet<_> =
        candidates.iter().filter(|candidate| !matches!(candidate.verdict, Verdict::Rejected(_))).map(key).collect();
    let mut whole = BTreeMap::new();
    for candidate in candidates {
        if let Verdict::Rejected(reason) = candidate.verdict
            && !good.contains(&key(candidate))
        {
            whole.entry(key(candidate)).or_insert(reason);
        }
    }
    whole
}

/// The least that so many GPUs of each model can cost: each machine's GPUs at its least price per GPU in any size that
/// such a plan can have, the cheapest machines first. Places and limits are left out, so that no plan is below it.
fn bound(
    candidates: &[&Candidate],
    gpus: &BTreeMap<GpuModel, u32>,
    free: impl Fn(&Candidate) -> u32,
    price: impl Fn(&Candidate) -> u64,
) -> u64 {
    /// Prices per GPU are fractions of a micro.
    const FINE: u128 = 1_000_000;
    let mut total: u128 = 0;
    for (model, &wanted) in gpus {
        let fits =
            |candidate: &&&Candidate| candidate.offer.shape.gpu_model == *model && candidate.offer.shape.gpus <= wanted;
        // By machine: its free GPUs, and its least price per GPU, rounded down.
        let mut machines: BTreeMap<&HostnodeId, (u32, u128)> = BTreeMap::new();
        for candidate in candidates.iter().filter(fits) {
            let each = u128::from(price(candidate)) * FINE / u128::from(candidate.offer.shape.gpus.max(1));
            let machine = machines.entry(&candidate.offer.hostnode).or_insert((0, each));
            *machine = (machine.0.max(free(candidate)), machine.1.min(each));
        }
        let mut prices: Vec<(u128, u32)> = machines.values().map(|&(free, each)| (each, free)).collect();
        prices.sort_unstable();
        let mut left = wanted;
        for (each, free) in prices {
            let taken = left.min(free);
            total += each * u128::from(taken);
            left -= taken;
        }
    }
    u64::try_from(total.div_ceil(FINE)).unwrap_or(u64::MAX)
}
