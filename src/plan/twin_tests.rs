//! Two marketplaces of one account show the same machines: capacity counts once, and where both could rent one the cheaper
//! offer wins.

use super::{testkit::*, verify::Invariant, *};
use crate::{
    ledger::HostMemory,
    model::reason::Rejected,
    policy::terms::{OnDemandUse, Preference},
};

/// One machine of four GPUs at 1.00, on demand, and its twin at this share of the price, listed so long ago.
fn twins(members: &str, target: u32, twin_ppm: u64, listed_s_ago: u64) -> Town {
    let mut town = town(members);
    town.hosts("a 1.00 99% x4").policy(|terms| {
        terms.target_gpus = target;
        terms.on_demand.usage = OnDemandUse::Always;
        terms.instance.gpus.max = 2;
    });
    town.twin(listed_s_ago, |host| reprice(host, twin_ppm));
    town
}

/// Where a plan deploys, and how many GPUs.
fn deployed(town: &Town) -> String {
    let plan = plan(&town.situation);
    assert_eq!(verify::verify(&town.situation, &plan), vec![]);
    let deploys = plan.actions.iter().filter_map(|action| match action {
        Action::Deploy(deploy) => Some(format!("{} {}", deploy.marketplace, deploy.shape.gpus)),
        _ => None,
    });
    deploys.collect::<Vec<_>>().join(", ")
}

#[test]
fn the_cheaper_offer_of_a_machine_wins_with_either_preference() {
    for preference in [Preference::Strict, Preference::Value] {
        for (ppm, expected) in [(900_000, "n 2"), (1_100_000, "m 2"), (1_000_000, "m 2")] {
            let mut town = twins("", 2, ppm, 0);
            town.policy(|terms| terms.preference = preference);
            assert_eq!(deployed(&town), expected, "{preference} {ppm}");
        }
    }
}

#[test]
fn a_machine_is_sold_once_by_both_together() {
    let town = twins("", 8, 900_000, 0);
    assert_eq!(deployed(&town), "n 2, n 2");
    assert_eq!(town.blocked(), "4 no_offers");
}

#[test]
fn what_was_deployed_since_is_taken_from_the_older_list_and_from_no_newer_one() {
    // Deployed a minute ago, by `m`, whose list of now knows it: of the four listed there none is taken.
    let older = |listed_s_ago| twins("x running a 2 od", 8, 900_000, listed_s_ago);
    assert_eq!(deployed(&older(59)), "n 2, n 2");
    assert_eq!(deployed(&older(60)), "n 2, m 2", "the twin cannot know of two of its four");
    assert_eq!(deployed(&older(300)), "n 2, m 2");
}

#[test]
fn the_checker_knows_it_too() {
    let town = twins("x running a 2 od", 8, 900_000, 300);
    let mut plan = plan(&town.situation);
    let Some(Action::Deploy(deploy)) = plan.actions.first().cloned() else { panic!("no deploy") };
    assert_eq!(deploy.marketplace.as_str(), "n");
    let mut again = deploy.clone();
    again.name = "spotscale-f-e-199".parse().unwrap();
    plan.actions = vec![Action::Deploy(deploy), Action::Deploy(again)];
    let found: Vec<_> =
        verify::verify(&town.situation, &plan).iter().map(|found| (found.action, found.invariant)).collect();
    assert_eq!(found, [(1, Invariant::Resource), (1, Invariant::Resource)], "GPUs, and a port");
}

#[test]
fn what_is_known_of_a_machine_holds_for_both() {
    let mut town = twins("", 2, 900_000, 0);
    town.policy(|terms| terms.hosts.deny = vec!["a".parse().unwrap()]);
    assert_eq!(deployed(&town), "");
    let report = plan(&town.situation).report.remove(&town.fleet()).unwrap();
    assert_eq!(report.rejected[&Rejected::Denied], 2);

    let mut town = twins("", 2, 900_000, 0);
    let memory = HostMemory { quarantined: true, ..HostMemory::default() };
    town.situation.hosts.insert(("acc".parse().unwrap(), "a".parse().unwrap()), memory);
    assert_eq!(deployed(&town), "");

    let mut town = twins("x running a 2 od", 8, 900_000, 0);
    town.policy(|terms| terms.hosts.max_gpus_per_hostnode = Some(3));
    assert_eq!(deployed(&town), "n 1", "the two of `m` count");
}

#[test]
fn one_account_at_its_floor_keeps_nobody_from_renting_on_anothers_marketplace() {
    let mut town = twins("", 2, 900_000, 0);
    let rich: crate::model::AccountName = "rich".parse().unwrap();
    let paying = town.situation.accounts.values().next().unwrap().clone();
    town.situation.accounts.insert(rich.clone(), paying);
    town.situation.markets.get_mut(&"m".parse().unwrap()).unwrap().account = rich;
    assert_eq!(deployed(&town), "n 2", "the cheaper one, while both can pay");
    town.balance("10");
    assert_eq!(deployed(&town), "m 2");
    assert_eq!(town.blocked(), "");
    town.balance("12");
    town.policy(|terms| terms.target_gpus = 4);
    assert_eq!(deployed(&town), "n 2, m 2", "each as far as it can pay");
}
