//! Why nothing is rented on a hostnode: `explain` the other way round, from a machine to the fleets.

use super::{
    amount::Ratio,
    show::{self, CANDIDATES_MAX},
    views::*,
};
use crate::{
    engine::export::verdict_word,
    model::{
        FleetName, Hostnode, HostnodeId, MarketplaceName,
        offer::{Lot, Supply},
        reason::Rejected,
    },
    plan::{Candidate, FleetReport, FleetState, MarketState, Plan, Situation, Verdict, wish},
};

/// Why nothing is rented on a hostnode: what each fleet's newest plan made of it.
pub fn why_not(situation: &Situation, plan: &Plan, hostnode: &HostnodeId) -> WhyNotView {
    let listed =
        situation.markets.iter().filter(|(_, market)| market.hostnodes.iter().any(|node| node.id == *hostnode));
    let listed_by: Vec<String> = listed.map(|(name, _)| name.to_string()).collect();
    let listing = |(name, market): (&MarketplaceName, &MarketState)| {
        let node = market.hostnodes.iter().find(|node| node.id == *hostnode)?;
        Some(format!("{name}: {}", as_listed(node)))
    };
    let listings: Vec<String> = situation.markets.iter().filter_map(listing).collect();
    let of = |(name, report): (&FleetName, &FleetReport)| {
        let weighed: Vec<(&Candidate, u32)> =
            report.candidates.iter().zip(1..).filter(|(found, _)| found.offer.hostnode == *hostnode).collect();
        let turned_down = report.rejected_hostnodes.iter().find(|((_, id), _)| id == hostnode);
        let (marketplace, verdict, detail) = match (weighed.first(), turned_down) {
            (Some((found, rank)), _) => {
                let total = report.candidates.len();
                let place = format!("number {rank} of {total} candidates");
                let detail = match found.verdict {
                    Verdict::Chosen => format!("it is in the plan: {place}"),
                    Verdict::Eligible => format!("it could be rented and was not needed: {place}"),
                    Verdict::Asking => format!("its least accepted bid is being searched: {place}"),
                    Verdict::Rejected(reason) => format!("turned down: {reason}; {place}"),
                };
                (Some(found.offer.marketplace.to_string()), verdict_word(&found.verdict).to_owned(), detail)
            }
            (None, Some(((marketplace, _), reason))) => (
                Some(marketplace.to_string()),
                reason.to_string(),
                format!("turned down before it was priced: {}", needs(situation, name, marketplace, *reason)),
            ),
            (None, None) if listed_by.is_empty() => {
                (None, "not_listed".to_owned(), "no marketplace lists a hostnode of this id now".to_owned())
            }
            (None, None) => {
                let detail = "listed, and not weighed by the newest plan: nothing was wanted, or the fleet is frozen";
                (None, "not_weighed".to_owned(), detail.to_owned())
            }
        };
        let here = |state: &FleetState| -> Vec<String> {
            let members = state.fleet.members.values().filter(|member| member.hostnode == *hostnode);
            members.map(|member| member.name.to_string()).collect()
        };
        WhyNotFleetView {
            fleet: name.to_string(),
            marketplace,
            verdict,
            detail,
            candidates: weighed
                .into_iter()
                .take(CANDIDATES_MAX)
                .map(|(found, rank)| show::offer(found, rank))
                .collect(),
            instances: situation.fleets.get(name).map(here).unwrap_or_default(),
        }
    };
    WhyNotView { hostnode: hostnode.to_string(), fleets: plan.report.iter().map(of).collect(), listed_by, listings }
}

/// A machine as its marketplace lists it, one line.
fn as_listed(node: &Hostnode) -> String {
    let sold = match &node.supply {
        Supply::Resources(resources) => {
            let gpus =
                resources.gpus.iter().map(|(model, stock)| format!("{} x {model} at {}", stock.free, stock.price));
            let rest = [
                (&resources.vcpus, "vCPU"),
                (&resources.ram_gb, "GB of memory"),
                (&resources.storage_gb, "GB of disk"),
            ];
            let rest = rest.map(|(stock, unit)| format!("{} {unit}", stock.free));
            gpus.chain(rest).collect::<Vec<_>>().join(", ")
        }
        Supply::Lots(lots) => {
            let lot = |lot: &Lot| format!("{} x {} at {}", lot.shape.gpus, lot.shape.gpu_model, lot.rates.total());
            lots.iter().map(lot).collect::<Vec<_>>().join(", ")
        }
    };
    let up = node
        .uptime_ppm
        .map_or_else(|| "uptime unknown".to_owned(), |ppm| format!("up {}.{:02} %", ppm / 10_000, ppm / 100 % 100));
    let online = if node.online { "online" } else { "offline" };
    let place = node.location.to_string();
    let place = if place.is_empty() { "place unknown".to_owned() } else { place };
    format!("{place}; {online}, {up}; free: {sold}, {} ports", node.ports.free().len())
}

/// What the policy asks for that the machine has not.
fn needs(situation: &Situation, fleet: &FleetName, marketplace: &MarketplaceName, reason: Rejected) -> String {
    let Some(policy) = situation.fleets.get(fleet).map(|state| &state.policy) else { return reason.to_string() };
    let instance = &policy.instance;
    let asked = match reason {
        Rejected::Offline => "it is not listed as online".to_owned(),
        Rejected::ModelNotWanted => {
            let wanted: Vec<&str> = policy.models.iter().map(|terms| terms.model.as_str()).collect();
            format!("wanted are {}", wanted.join(", "))
        }
        Rejected::NotEnoughGpus => format!("a VM has at least {} GPUs", instance.gpus.min),
        Rejected::NotEnoughResources | Rejected::HostRestriction => format!(
            "a VM has {} vCPU and {} GB of memory per GPU and {} GB of disk",
            instance.vcpus_per_gpu, instance.ram_gb_per_gpu, instance.storage_gb
        ),
        Rejected::NoFreePorts => format!("a VM needs {} ports", instance.ports.len()),
        Rejected::UptimeBelowMin => format!("min_uptime is {}", Ratio::from_ppm(policy.hosts.min_uptime_ppm.into())),
        Rejected::CountryNotAllowed => {
            format!("allowed are {}", policy.hosts.countries.as_deref().unwrap_or_default().join(", "))
        }
        Rejected::Denied => "it is in hosts.deny".to_owned(),
        Rejected::PriceAboveCap => "it costs more than max_price, in each way in which it may be paid for".to_owned(),
        Rejected::NoSpot => "it takes no bids, and on_demand.use is \"never\"".to_owned(),
        Rejected::BidRefused => "no bid within the cap is accepted".to_owned(),
        Rejected::Cooldown => "a deploy failed there lately".to_owned(),
        Rejected::Quarantined => "deploys failed there three times in a row".to_owned(),
        Rejected::HostnodeFull => "max_gpus_per_hostnode are there already".to_owned(),
        Rejected::LocationFull => "max_share_per_location is there already".to_owned(),
        Rejected::MarketplaceNotWanted => "its marketplace is not one of the policy's".to_owned(),
        Rejected::InstanceNotOffered => {
            let market = situation.markets.get(marketplace);
            let why = market.and_then(|market| market.ability.unable(&wish(policy)));
            why.unwrap_or_else(|| "its marketplace makes no VMs as [instance] wants them".to_owned())
        }
    };
    format!("{reason}: {asked}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sample::{name, status};
    use std::collections::BTreeMap;

    #[test]
    fn why_not_names_the_reason_for_each_fleet() {
        let status = status();
        let verdict = |id: &str| {
            let view = why_not(status.situation.as_ref().unwrap(), status.plan.as_ref().unwrap(), &name(id));
            view.fleets.into_iter().find(|fleet| fleet.fleet == "train").unwrap().verdict
        };
        assert_eq!(verdict("host-7"), "chosen");
        assert_eq!(verdict("host-8"), "eligible");
        assert_eq!(verdict("host-11"), "price_above_cap");
        assert_eq!(verdict("host-12"), "uptime_below_min");
        assert_eq!(verdict("nowhere"), "not_listed");
    }

    #[test]
    fn why_not_shows_the_machine_as_listed_and_what_the_policy_asks_for() {
        let mut status = status();
        let situation = status.situation.as_mut().unwrap();
        let plan = status.plan.as_mut().unwrap();
        let id = situation.markets[&name("tensordock")].hostnodes[0].id.clone();
        let train = plan.report.get_mut(&name("train")).unwrap();
        train.candidates.clear();
        train.rejected_hostnodes = BTreeMap::from([((name("tensordock"), id.clone()), Rejected::NotEnoughGpus)]);
        let view = why_not(situation, plan, &id);
        assert!(view.listings[0].starts_with("tensordock: "), "{:?}", view.listings);
        let verdict = view.fleets.iter().find(|fleet| fleet.fleet == "train").unwrap();
        assert_eq!(verdict.detail, "turned down before it was priced: not_enough_gpus: a VM has at least 1 GPUs");
    }
}
