//! What is better: preference, then dollars per delivered GPU-hour, then the less crowded machine, then the id.

use super::{FleetState, Score, Situation};
use crate::{
    ledger::Member,
    model::{AccountName, HostnodeId, HourlyRate, Offer},
    policy::terms::{PPM, Preference},
};

/// The uptime of a machine that nobody told us anything about. Source: CONTRACT, `hosts.min_uptime`.
const UPTIME_UNKNOWN_PPM: u32 = 950_000;
/// No machine is scored as if it were down more than this: keeps a price per delivered hour finite.
const UPTIME_MIN_PPM: u32 = 1_000;

impl Situation {
    /// Share of the time a machine is up: our own experience, else as listed, else a guess.
    pub fn uptime_ppm(&self, account: &AccountName, hostnode: &HostnodeId, listed: Option<u32>) -> u32 {
        let own = self.hosts.get(&(account.clone(), hostnode.clone())).and_then(|memory| memory.uptime_ppm);
        own.or(listed).unwrap_or(UPTIME_UNKNOWN_PPM).clamp(UPTIME_MIN_PPM, PPM as u32)
    }
}

/// Micro-dollars per delivered GPU-hour, rounded up: rate / GPUs / uptime / worth.
pub(super) fn delivered_micros(rate: HourlyRate, gpus: u32, uptime_ppm: u32, worth_ppm: u64) -> u64 {
    let ppm = u128::from(PPM);
    let divisor = u128::from(gpus.max(1)) * u128::from(uptime_ppm.max(1)) * u128::from(worth_ppm.max(1));
    let scaled = u128::from(rate.micros()).saturating_mul(ppm * ppm);
    u64::try_from(scaled.div_ceil(divisor)).unwrap_or(u64::MAX)
}

/// What the policy makes of a model: its rank, where that comes first, and its worth, where that counts.
fn weight(state: &FleetState, model: &crate::model::GpuModel) -> (u32, u64) {
    let (rank, worth_ppm) = state
        .policy
        .model(model)
        .map_or((u32::MAX, PPM), |(rank, terms)| (u32::try_from(rank).unwrap_or(u32::MAX), terms.worth_ppm));
    match state.policy.preference {
        Preference::Strict => (rank, PPM),
        Preference::Value => (0, worth_ppm),
    }
}

/// An offer's place in the order, at a rate.
pub(super) fn score(situation: &Situation, state: &FleetState, offer: &Offer, rate: HourlyRate) -> Score {
    let (preference, worth_ppm) = weight(state, &offer.shape.gpu_model);
    let market = situation.markets.get(&offer.marketplace);
    let uptime_ppm = market
        .map_or(UPTIME_UNKNOWN_PPM, |market| situation.uptime_ppm(&market.account, &offer.hostnode, offer.uptime_ppm));
    let crowd = situation.fleets.values().flat_map(|state| state.fleet.members.values()).filter(|member| {
        member.hostnode == offer.hostnode && market.is_some_and(|market| market.account == member.account)
    });
    Score {
        preference,
        micros_per_delivered_gpu_hour: delivered_micros(rate, offer.shape.gpus, uptime_ppm, worth_ppm),
        crowding: crowd.map(Member::counted_gpus).sum(),
        tie: (offer.hostnode.clone(), offer.marketplace.clone()),
    }
}

/// Where a member would stand in the same order.
pub(super) fn standing_score(situation: &Situation, state: &FleetState, member: &Member) -> (u32, u64) {
    let (preference, worth_ppm) = weight(state, &member.shape.gpu_model);
    let listed = situation.hostnode(&member.marketplace, &member.hostnode).and_then(|hostnode| hostnode.uptime_ppm);
    let uptime_ppm = situation.uptime_ppm(&member.account, &member.hostnode, listed);
    (preference, delivered_micros(member.committed(), member.shape.gpus, uptime_ppm, worth_ppm))
}

#[cfg(test)]
mod tests {
    use crate::ledger::HostMemory;
    use crate::{model::time::after, plan::testkit::*, plan::*};
    use std::time::Duration;

    /// Hosts as the testkit writes them; the order of the candidates, by hostnode.
    #[track_caller]
    fn check(setup: impl for<'t> FnOnce(&'t mut Town) -> &'t mut Town, expected: &str) {
        let mut town = town("");
        setup(&mut town);
        let plan = plan(&town.situation);
        let order: Vec<_> =
            plan.report[&town.fleet()].candidates.iter().map(|candidate| candidate.offer.hostnode.as_str()).collect();
        assert_eq!(order.join(" "), expected);
    }

    fn on_demand(terms: &mut crate::policy::Terms) {
        terms.on_demand.usage = crate::policy::terms::OnDemandUse::Always;
        terms.instance.gpus.max = 1;
    }

    #[test]
    fn uptime_can_outweigh_price() {
        check(|town| town.policy(on_demand).hosts("a 1.00 90%   b 1.05 99%"), "b a");
    }

    #[test]
    fn an_unknown_uptime_scores_as_95_percent() {
        check(|town| town.policy(on_demand).hosts("a 1.00 94%   b 1.00 ?   c 1.00 96%"), "c b a");
    }

    #[test]
    fn an_earlier_model_comes_first_whatever_it_costs() {
        check(|town| town.policy(on_demand).hosts("a 1.00 99%   b 2.00 99% big"), "b a");
    }

    #[test]
    fn with_value_a_dollar_buys_worth() {
        let value = |worth_ppm| {
            move |terms: &mut crate::policy::Terms| {
                on_demand(terms);
                terms.preference = crate::policy::terms::Preference::Value;
                terms.models[0].worth_ppm = worth_ppm;
            }
        };
        check(|town| town.policy(value(2_100_000)).hosts("a 1.00 99%   b 2.00 99% big"), "b a");
        check(|town| town.policy(value(1_900_000)).hosts("a 1.00 99%   b 2.00 99% big"), "a b");
    }

    #[test]
    fn equal_offers_go_to_the_less_crowded_machine_and_then_by_id() {
        check(|town| town.policy(on_demand).hosts("b 1.00 99%   a 1.00 99%"), "a b");
        check(|town| town.policy(on_demand).hosts("b 1.00 99%   a 1.00 99%").members("m running a 1"), "b a");
    }

    #[test]
    fn our_own_experience_is_over_the_listed_uptime() {
        check(
            |town| {
                town.policy(on_demand).hosts("a 1.00 99%   b 1.00 99%");
                let account = "acc".parse().unwrap();
                let memory = HostMemory { uptime_ppm: Some(500_000), ..HostMemory::default() };
                town.situation.hosts.insert((account, "a".parse().unwrap()), memory);
                town
            },
            "b a",
        );
    }

    #[test]
    fn a_machine_that_cools_down_is_no_candidate_until_it_has() {
        fn cooling(town: &mut Town, wait_s: u64) -> &mut Town {
            town.policy(on_demand).hosts("a 1.00 99%");
            let until = Some(after(town.situation.now, Duration::from_secs(wait_s)));
            let memory = HostMemory { cooldown_until: until, ..HostMemory::default() };
            town.situation.hosts.insert(("acc".parse().unwrap(), "a".parse().unwrap()), memory);
            town
        }
        check(|town| cooling(town, 1), "");
        check(|town| cooling(town, 0), "a");
    }
}
