//! The checker, tried with plans that break one rule each.

use super::*;
use crate::{
    model::{offer::Bounds, wish::Ability},
    plan::situation::Bench,
    plan::testkit::*,
    policy::terms::Mode,
};

/// A town whose plan is one good deploy, on demand on `a`, and room for more.
fn good() -> (Town, Deploy) {
    let mut town = town("m running a 1   s stopped_released a 1");
    town.hosts("a 1.00 99% x4").policy(|terms| {
        terms.on_demand.usage = OnDemandUse::Always;
        terms.target_gpus = 3;
        terms.instance.gpus.max = 1;
    });
    town.state().fleet.members.remove(&"s".parse().unwrap());
    let plan = super::super::plan(&town.situation);
    assert_eq!(verify(&town.situation, &plan), vec![]);
    let Some(Action::Deploy(deploy)) = plan.actions.into_iter().next() else { panic!("no deploy") };
    (town, *deploy)
}

/// The good deploy, made bad: what is found.
#[track_caller]
fn bad_deploy(edit: impl FnOnce(&mut Town, &mut Deploy), expected: &[Invariant]) {
    let (mut town, mut deploy) = good();
    edit(&mut town, &mut deploy);
    finds(&town, vec![Action::Deploy(Box::new(deploy))], expected);
}

#[track_caller]
fn finds(town: &Town, actions: Vec<Action>, expected: &[Invariant]) {
    let found = verify(&town.situation, &Plan { actions, report: BTreeMap::new() });
    let invariants: BTreeSet<Invariant> = found.iter().map(|violation| violation.invariant).collect();
    assert_eq!(invariants, expected.iter().copied().collect(), "{found:#?}");
}

fn subject(name: &str) -> Subject {
    Subject {
        name: name.parse().unwrap(),
        fleet: "f".parse().unwrap(),
        marketplace: "m".parse().unwrap(),
        id: format!("id-{name}").parse().unwrap(),
    }
}

fn delete(name: &str, reason: Teardown) -> Action {
    Action::Delete { subject: subject(name), reason, why: String::new() }
}

#[test]
fn a_good_deploy_passes() {
    bad_deploy(|_, _| {}, &[]);
}

#[test]
fn nothing_is_written_in_observe_mode_or_started_while_paused() {
    bad_deploy(|town, _| town.situation.limits.mode = Mode::Observe, &[Invariant::Permission]);
    bad_deploy(|town, _| town.state().order = Order::Pause(3), &[Invariant::Permission, Invariant::Gpus]);
    let mut town = town("m running a 1");
    town.state().order = Order::Pause(0);
    finds(&town, vec![delete("m", Teardown::Target)], &[Invariant::Permission, Invariant::Reason]);
}

#[test]
fn a_name_is_used_once_and_is_the_fleets_own() {
    bad_deploy(|_, deploy| deploy.name = "m".parse().unwrap(), &[Invariant::NameReused]);
    bad_deploy(|_, deploy| deploy.name = "spotscale-f-e-99".parse().unwrap(), &[Invariant::NameReused]);
    bad_deploy(|_, deploy| deploy.name = "spotscale-g-e-100".parse().unwrap(), &[Invariant::NameReused]);
    let (mut town, deploy) = good();
    town.target(5);
    let again = Action::Deploy(Box::new(deploy.clone()));
    finds(&town, vec![again.clone(), again], &[Invariant::NameReused, Invariant::Resource]);
    bad_deploy(
        |town, deploy| {
            let reserved = crate::ledger::fleet::Reserved {
                name: deploy.name.clone(),
                account: deploy.account.clone(),
                marketplace: deploy.marketplace.clone(),
                rate: rate("0.10"),
                intended_at: town.situation.now,
                until: town.situation.now,
            };
            town.state().fleet.reserved.push(reserved);
        },
        &[Invariant::NameReused],
    );
}

#[test]
fn gpus_stay_within_the_target_strays_included() {
    bad_deploy(
        |town, _| {
            town.target(2);
        },
        &[],
    );
    bad_deploy(
        |town, _| {
            town.target(1);
        },
        &[Invariant::Gpus],
    );
    bad_deploy(
        |town, _| {
            town.stray("spotscale-f-x-1", 2, "0.10");
        },
        &[Invariant::Gpus],
    );
}

#[test]
fn only_a_replacement_may_use_the_surge() {
    bad_deploy(
        |town, deploy| {
            town.target(1);
            deploy.replaces = Some("m".parse().unwrap());
        },
        &[],
    );
    bad_deploy(|_, deploy| deploy.replaces = Some("x".parse().unwrap()), &[Invariant::Replacement]);
}

#[test]
fn rates_stay_within_the_limits_to_the_micro() {
    // 0.505/h run, 1.005/h come on top.
    let limit = |text: &'static str| {
        move |town: &mut Town, _: &mut Deploy| {
            town.policy(|terms| terms.max_hourly_rate = rate(text));
        }
    };
    bad_deploy(limit("1.51"), &[]);
    bad_deploy(limit("1.509999"), &[Invariant::FleetRate]);
    let all = |text: &'static str| {
        move |town: &mut Town, _: &mut Deploy| {
            town.situation.limits.max_hourly_rate = Some(rate(text));
            town.situation.orphaned.insert("acc".parse().unwrap(), rate("0.10"));
        }
    };
    bad_deploy(all("1.61"), &[]);
    bad_deploy(all("1.609999"), &[Invariant::GlobalRate]);
}

#[test]
fn a_held_edit_binds_a_start_to_its_lower_limits() {
    let held = |edit: fn(&mut crate::policy::Terms)| {
        move |town: &mut Town, _: &mut Deploy| {
            town.balance("100").hold(edit);
        }
    };
    // 0.505/h run, 1.005/h come on top: 151 in 100 hours.
    bad_deploy(held(|terms| terms.max_hourly_rate = rate("1.51")), &[]);
    bad_deploy(held(|terms| terms.max_hourly_rate = rate("1.509999")), &[Invariant::FleetRate]);
    bad_deploy(held(|terms| terms.models[1].max_price = Some(rate("1.005"))), &[]);
    bad_deploy(held(|terms| terms.models[1].max_price = Some(rate("1.004999"))), &[Invariant::Price]);
    bad_deploy(held(|terms| terms.balance_floor = "98.49".parse().unwrap()), &[]);
    bad_deploy(held(|terms| terms.balance_floor = "98.490001".parse().unwrap()), &[Invariant::Floor]);
    bad_deploy(held(|terms| terms.min_runway = seconds(3_600 * 59)), &[]);
    bad_deploy(held(|terms| terms.min_runway = seconds(3_600 * 60)), &[Invariant::Floor]);
    bad_deploy(held(|terms| terms.target_gpus = 2), &[]);
    bad_deploy(held(|terms| terms.target_gpus = 1), &[Invariant::Gpus]);
    let all = |edit: fn(&mut crate::settings::Limits)| {
        move |town: &mut Town, _: &mut Deploy| {
            town.balance("100").hold_limits(edit);
        }
    };
    bad_deploy(all(|limits| limits.max_hourly_rate = Some(rate("1.51"))), &[]);
    bad_deploy(all(|limits| limits.max_hourly_rate = Some(rate("1.509999"))), &[Invariant::GlobalRate]);
    bad_deploy(all(|limits| limits.balance_floor = "98.49".parse().unwrap()), &[]);
    bad_deploy(all(|limits| limits.balance_floor = "98.490001".parse().unwrap()), &[Invariant::Floor]);
}

#[test]
fn an_account_stays_above_its_floor() {
    let balance = |text: &'static str, age_s| {
        move |town: &mut Town, _: &mut Deploy| {
            town.balance_read(text, age_s);
        }
    };
    bad_deploy(balance("11.51", 0), &[]);
    bad_deploy(balance("11.509999", 0), &[Invariant::Floor]);
    bad_deploy(balance("100", 300), &[]);
    bad_deploy(balance("100", 301), &[Invariant::Floor]);
}

#[test]
fn a_bid_goes_out_only_on_a_fresh_quote_at_that_very_bid() {
    let spot = |bid: &'static str, answer, age_s| {
        move |town: &mut Town, deploy: &mut Deploy| {
            town.policy(|terms| terms.on_demand.usage = OnDemandUse::Fallback);
            town.quote("a", 1, bid, answer, age_s);
            deploy.price_type = PriceType::Spot;
            deploy.bid = Some(rate("0.60"));
            deploy.agreed.compute = rate("0.60");
        }
    };
    bad_deploy(spot("0.60", BidAnswer::Accepted, 59), &[]);
    bad_deploy(spot("0.60", BidAnswer::Accepted, 60), &[Invariant::Quote]);
    bad_deploy(spot("0.60", BidAnswer::Refused, 1), &[Invariant::Quote]);
    bad_deploy(spot("0.59", BidAnswer::Accepted, 1), &[Invariant::Quote]);
}

#[test]
fn a_price_stays_within_max_price_and_is_the_listed_one() {
    let cap = |text: &'static str| {
        move |town: &mut Town, _: &mut Deploy| {
            town.policy(|terms| terms.models[1].max_price = Some(rate(text)));
        }
    };
    bad_deploy(cap("1.005"), &[]);
    bad_deploy(cap("1.004999"), &[Invariant::Price]);
    bad_deploy(|_, deploy| deploy.agreed.compute = rate("0.99"), &[Invariant::Price]);
    bad_deploy(|_, deploy| deploy.bid = Some(rate("0.99")), &[Invariant::Price]);
}

#[test]
fn nothing_is_rented_on_a_bench_or_a_partial_list() {
    bad_deploy(|town, _| town.market().bench = Some(Bench::Throttled), &[Invariant::Bench]);
    bad_deploy(|town, _| town.market().list_complete = false, &[Invariant::Bench]);
}

#[test]
fn what_is_rented_is_what_the_policy_wants() {
    let wants = |edit: fn(&mut crate::policy::Terms)| {
        bad_deploy(
            |town, _| {
                town.policy(edit);
            },
            &[Invariant::Policy],
        );
    };
    wants(|terms| terms.models.truncate(1));
    wants(|terms| terms.marketplaces = Some(vec!["n".parse().unwrap()]));
    wants(|terms| terms.hosts.deny = vec!["a".parse().unwrap()]);
    wants(|terms| terms.hosts.countries = Some(vec!["Poland".into()]));
    wants(|terms| terms.instance.gpus = Bounds { min: 2, max: 4 });
    wants(|terms| terms.hosts.max_gpus_per_hostnode = Some(1));
    wants(|terms| terms.hosts.max_share_per_location_ppm = Some(400_000));
    wants(|terms| terms.on_demand.usage = OnDemandUse::Never);
    wants(|terms| terms.on_demand.max_gpus = Some(0));
}

#[test]
fn each_resource_is_sold_once() {
    bad_deploy(|town, _| town.market().hostnodes[0].online = false, &[Invariant::Resource]);
    bad_deploy(|_, deploy| deploy.ports = BTreeMap::from([(1, 22)]), &[Invariant::Resource]);
    bad_deploy(|_, deploy| deploy.ports.clear(), &[Invariant::Resource]);
    bad_deploy(
        |town, _| {
            if let Supply::Resources(resources) = &mut town.market().hostnodes[0].supply {
                resources.vcpus.free = 3;
            }
        },
        &[Invariant::Resource, Invariant::Price],
    );
}

#[test]
fn another_payer_is_not_ours() {
    bad_deploy(|_, deploy| deploy.account = "other".parse().unwrap(), &[Invariant::NotOurs, Invariant::Floor]);
}

#[test]
fn only_our_own_are_touched_and_once() {
    let mut town = town("m running a 1   n running a 1");
    town.stray("spotscale-f-x-1", 1, "0.10").late("spotscale-f-e-9", 1);
    finds(&town, vec![delete("spotscale-f-x-1", Teardown::Late)], &[Invariant::NotOurs]);
    finds(&town, vec![delete("spotscale-f-e-9", Teardown::Late)], &[]);
    finds(&town, vec![delete("spotscale-f-e-9", Teardown::Target)], &[Invariant::Reason]);
    finds(&town, vec![delete("n", Teardown::Target)], &[]);
    finds(
        &town,
        vec![delete("n", Teardown::Target), delete("n", Teardown::Target)],
        &[Invariant::Twice, Invariant::Reason],
    );
    let wrong_id = Subject { id: "x".parse().unwrap(), ..subject("n") };
    let wrong = Action::Delete { subject: wrong_id, reason: Teardown::Target, why: String::new() };
    finds(&town, vec![wrong], &[Invariant::NotOurs]);
}

#[test]
fn a_partial_list_tears_nothing_down_but_for_safety() {
    let mut town = town("m running a 1 billed=9   n lost a 1");
    town.market().list_complete = false;
    finds(&town, vec![delete("m", Teardown::Overbilled)], &[]);
    finds(&town, vec![delete("n", Teardown::Lost)], &[Invariant::Incomplete]);
    finds(&town, vec![delete("n", Teardown::Target)], &[Invariant::Incomplete]);
}

#[test]
fn a_protected_vm_goes_only_for_money() {
    let mut town = town("m running a 1 protected   n running a 1");
    finds(&town, vec![delete("m", Teardown::Target)], &[Invariant::Protected]);
    town.policy(|terms| terms.max_hourly_rate = rate("1.00"));
    finds(&town, vec![delete("m", Teardown::RateLimit)], &[]);
}

#[test]
fn a_reason_has_to_be_true() {
    let town = town("m running a 1");
    for reason in [
        Teardown::Overbilled,
        Teardown::Late,
        Teardown::RateLimit,
        Teardown::GlobalRateLimit,
        Teardown::BalanceFloor,
        Teardown::Evacuate,
        Teardown::Target,
        Teardown::Outbid,
        Teardown::Lost,
        Teardown::StoppedTooLong,
    ] {
        finds(&town, vec![delete("m", reason)], &[Invariant::Reason]);
    }
    finds(&town, vec![delete("m", Teardown::Replaced)], &[Invariant::Replacement]);
    let start = Action::Start { subject: subject("m"), why: String::new() };
    finds(&town, vec![start], &[Invariant::Reason]);
}

#[test]
fn strays_are_no_reason_to_let_one_of_ours_go() {
    let mut town = town("m running a 1   l leaving b 1");
    town.policy(|terms| terms.max_hourly_rate = rate("0.505")).stray("spotscale-f-x-1", 1, "5");
    town.situation.limits.max_hourly_rate = Some(rate("1.00"));
    town.situation.orphaned.insert("acc".parse().unwrap(), rate("5"));
    town.situation.orphaned_staying.insert("acc".parse().unwrap(), rate("0.495"));
    finds(&town, vec![delete("m", Teardown::RateLimit)], &[Invariant::Reason]);
    finds(&town, vec![delete("m", Teardown::GlobalRateLimit)], &[Invariant::Reason]);
    town.situation.orphaned_staying.insert("acc".parse().unwrap(), rate("0.495001"));
    finds(&town, vec![delete("m", Teardown::GlobalRateLimit)], &[]);
    town.policy(|terms| terms.max_hourly_rate = rate("0.504999"));
    finds(&town, vec![delete("m", Teardown::RateLimit)], &[]);
}

#[test]
fn a_rebid_raises_an_outbid_vm_on_a_fresh_quote_within_limits() {
    let rebid = |from: &str, to: &str| Action::Rebid {
        subject: subject("m"),
        from: rate(from),
        to: rate(to),
        why: String::new(),
    };
    let mut town = town("m outbid a 1");
    town.hosts("a 1.00 99%").quote("a", 1, "0.60", BidAnswer::Accepted, 9);
    town.quote("a", 1, "1.01", BidAnswer::Accepted, 9).quote("a", 1, "0.40", BidAnswer::Accepted, 9);
    finds(&town, vec![rebid("0.50", "0.60")], &[]);
    finds(&town, vec![rebid("0.50", "0.61")], &[Invariant::Quote]);
    finds(&town, vec![rebid("0.50", "0.40")], &[Invariant::Price]);
    finds(&town, vec![rebid("0.50", "1.01")], &[Invariant::Price]);
    town.policy(|terms| terms.max_hourly_rate = rate("0.604999"));
    finds(&town, vec![rebid("0.50", "0.60")], &[Invariant::FleetRate]);
}

#[test]
fn starting_again_is_a_start() {
    let mut town = town("m stopped_released a 1");
    let start = || vec![Action::Start { subject: subject("m"), why: String::new() }];
    finds(&town, start(), &[]);
    town.target(0);
    finds(&town, start(), &[Invariant::Gpus]);
    town.target(1).balance("10.504999");
    finds(&town, start(), &[Invariant::Floor]);
}

#[test]
fn what_is_started_again_or_rebid_is_still_wanted_and_within_its_price() {
    let start = |member: &str, edit: fn(&mut crate::policy::Terms), expected: &[Invariant]| {
        let mut town = town(member);
        town.policy(edit);
        finds(&town, vec![Action::Start { subject: subject("m"), why: String::new() }], expected);
    };
    let spot = "m stopped_released a 1";
    start(spot, |terms| terms.models[1].max_price = Some(rate("0.505")), &[]);
    start(spot, |terms| terms.models[1].max_price = Some(rate("0.504999")), &[Invariant::Price]);
    start(spot, |terms| terms.models.truncate(1), &[Invariant::Policy]);
    start(spot, |terms| terms.hosts.deny = vec!["a".parse().unwrap()], &[Invariant::Policy]);
    start(spot, |terms| terms.hosts.max_gpus_per_hostnode = Some(0), &[Invariant::Policy]);
    let bought = "m stopped_released a 1 od";
    start(bought, |terms| terms.on_demand.usage = OnDemandUse::Always, &[]);
    start(bought, |terms| terms.on_demand.usage = OnDemandUse::Never, &[Invariant::Policy]);
    start(
        bought,
        |terms| {
            terms.on_demand.usage = OnDemandUse::Always;
            terms.on_demand.max_gpus = Some(0);
        },
        &[Invariant::Policy],
    );
    let mut town = town("m outbid a 1");
    town.hosts("a 1.00 99%").quote("a", 1, "0.60", BidAnswer::Accepted, 9).policy(|terms| terms.models.truncate(1));
    let (from, to) = (rate("0.50"), rate("0.60"));
    finds(&town, vec![Action::Rebid { subject: subject("m"), from, to, why: String::new() }], &[Invariant::Policy]);
}

#[test]
fn what_only_lowers_passes_above_every_limit() {
    let mut town = town("m running a 4   n running a 1   l leaving a 1");
    town.policy(|terms| terms.max_hourly_rate = rate("0.01")).balance("-5");
    town.situation.limits.max_hourly_rate = Some(rate("0.01"));
    finds(&town, vec![delete("m", Teardown::RateLimit), delete("l", Teardown::Target)], &[]);
}

#[test]
fn a_policy_with_cloud_init_is_not_rented_where_none_is_handed_on() {
    let with = |town: &mut Town| {
        town.policy(|terms| terms.instance.cloud_init = Some("#cloud-config".into()));
    };
    bad_deploy(|town, _| with(town), &[]);
    bad_deploy(
        |town, _| town.market().ability = Ability::new("test", |wish| wish.cloud_init.map(|_| "no".to_owned())),
        &[],
    );
    bad_deploy(
        |town, _| {
            with(town);
            town.market().ability = Ability::new("test", |wish| wish.cloud_init.map(|_| "no".to_owned()));
        },
        &[Invariant::Policy],
    );
}

#[test]
fn what_ends_within_the_hour_is_not_rented() {
    let until = |town: &mut Town, count: u64| {
        let end = crate::model::time::after(town.situation.now, seconds(count));
        town.market().hostnodes[0].available_until = Some(end);
    };
    bad_deploy(|town, _| until(town, 3_600), &[]);
    bad_deploy(|town, _| until(town, 3_599), &[Invariant::Resource]);
}
