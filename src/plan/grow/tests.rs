//! Growing: what is asked, in which order, and what is deployed on a fresh quote.

use crate::{model::offer::BidAnswer::*, plan::testkit::*, plan::*, policy::terms::*};

/// A target over these hosts, followed to its end: what is rented then.
#[track_caller]
fn settled(hosts: &str, edit: impl FnOnce(&mut Terms), expected: &str) {
    let mut town = town("");
    town.policy(edit).hosts(hosts);
    town.settle();
    assert_eq!(town.rented("f"), expected, "{}", town.blocked());
}

use crate::policy::Terms;

fn target(gpus: u32) -> impl Fn(&mut Terms) {
    move |terms| terms.target_gpus = gpus
}

fn buy(gpus: u32) -> impl Fn(&mut Terms) {
    move |terms| {
        terms.target_gpus = gpus;
        terms.on_demand.usage = OnDemandUse::Always;
    }
}

#[test]
fn a_target_is_filled_from_the_cheapest_machines_in_few_vms() {
    settled("a 1.00 99%   b 0.90 99% x3   c 2.00 99%", target(5), "ax2, bx3");
    settled("a 1.00 99%   b 0.90 99% x3   c 2.00 99%", buy(5), "ax2 od, bx3 od");
}

#[test]
fn a_higher_least_bid_makes_a_cheap_machine_dear() {
    settled("a 1.00 99% least=0.40   b 0.90 99% least=0.89", target(2), "ax2");
}

#[test]
fn what_is_deployed_was_accepted_at_that_very_bid_a_moment_ago() {
    let mut town = town("");
    town.policy(|terms| terms.spot.bid = BidStrategy::Cap).hosts("a 1.00 99%");
    assert_eq!(town.said(), "ask ax1 1.00");
    town.quote("a", 1, "1.00", Accepted, 50);
    assert_eq!(town.said(), "deploy ax1 1.00");
    town.market().quotes.clear();
    town.quote("a", 1, "1.00", Accepted, 51);
    assert_eq!(town.said(), "ask ax1 1.00");
    town.quote("a", 1, "1.00", Refused, 1);
    assert_eq!(town.said(), "");
}

#[test]
fn the_cap_is_the_least_of_max_price_on_demand_and_headroom_each_less_storage() {
    let cap = |edit: fn(&mut Terms), expected: &str| {
        let mut town = town("");
        town.policy(|terms| {
            terms.spot.bid = BidStrategy::Cap;
            edit(terms);
        });
        town.hosts("a 1.00 99%");
        assert_eq!(town.said(), expected);
    };
    cap(|_| {}, "ask ax1 1.00");
    cap(|terms| terms.models[1].max_price = Some(rate("0.605")), "ask ax1 0.60");
    cap(|terms| terms.max_hourly_rate = rate("0.305"), "ask ax1 0.30");
    cap(|terms| terms.max_hourly_rate = rate("0.005"), "");
}

#[test]
fn a_refused_cap_is_a_refused_bid_and_the_next_machine_is_asked() {
    settled("a 1.00 99% least=1.20   b 1.10 99%", target(1), "bx1");
    let mut town = town("");
    town.hosts("a 1.00 99%").quote("a", 1, "1.00", Refused, 10);
    assert_eq!(town.said(), "");
    let report = plan(&town.situation).report.remove(&town.fleet()).unwrap();
    assert_eq!(report.rejected[&Rejected::BidRefused], 1);
    assert_eq!(town.blocked(), "1 no_offers");
}

#[test]
fn a_search_is_not_ended_by_its_own_answers() {
    let mut town = town("");
    town.policy(target(1)).hosts("a 1.00 99% x1");
    town.quote("a", 1, "0.25", Refused, 10).quote("a", 1, "0.50", Accepted, 5);
    assert_eq!(town.said(), "ask ax1 0.375");
}

#[test]
fn another_size_of_the_machine_tells_where_to_stop_once_its_own_search_is_over() {
    let said = |refused: &str| {
        let mut town = town("");
        town.policy(target(2)).hosts("a 1.00 99% x2");
        town.quote("a", 1, refused, Refused, 10).quote("a", 1, "0.40", Accepted, 8);
        assert_eq!(town.said(), "ask ax2 0.80");
        town.quote("a", 2, "0.80", Accepted, 5);
        town.said()
    };
    assert_eq!(said("0.395"), "ask ax2 0.84");
    assert_eq!(said("0.20"), "ask ax2 0.40");
}

#[test]
fn a_refusal_is_forgotten_after_five_minutes() {
    let mut town = town("");
    town.hosts("a 1.00 99%").quote("a", 1, "1.00", Refused, 301);
    assert_eq!(town.said(), "ask ax1 0.50");
}

#[test]
fn a_machine_whose_list_shows_no_ports_is_looked_at_before_it_is_rented() {
    let mut town = town("");
    town.policy(buy(2)).hosts("a 1.00 99% nospot unlisted   b 0.90 99% x1 nospot unlisted");
    assert_eq!(town.said(), "look b; look a");
    town.settle();
    assert_eq!(town.rented("f"), "ax1 od, bx1 od");
    // Without a port there is nothing to look for.
    let mut town = super::super::testkit::town("");
    town.policy(buy(1)).policy(|terms| terms.instance.ports.clear()).hosts("a 1.00 99% nospot unlisted");
    assert_eq!(town.said(), "deploy ax1 1.00");
    // What was not answered is not asked again in the same tick.
    let mut town = super::super::testkit::town("");
    town.policy(buy(1)).hosts("a 1.00 99% nospot unlisted");
    let host = "a".parse().unwrap();
    town.market().unanswered.insert(host);
    assert_eq!((town.said().as_str(), town.blocked().as_str()), ("", "1 stale_market"));
}

#[test]
fn an_unanswered_ask_waits_for_the_next_tick() {
    let mut town = town("");
    town.hosts("a 1.00 99%");
    town.market().unanswered.insert("a".parse().unwrap());
    assert_eq!((town.said(), town.blocked()), (String::new(), "1 stale_market".to_owned()));
}

#[test]
fn the_fleets_rate_limit_binds_to_the_micro() {
    let limit = |text: &'static str| {
        move |terms: &mut Terms| {
            buy(2)(terms);
            terms.instance.gpus.max = 1;
            terms.max_hourly_rate = rate(text);
        }
    };
    settled("a 1.00 99%", limit("2.01"), "ax1 od, ax1 od");
    settled("a 1.00 99%", limit("2.009999"), "ax1 od");
    let mut town = town("");
    town.policy(limit("2.009999")).hosts("a 1.00 99%");
    assert_eq!(town.blocked(), "1 rate_limit");
}

/// A town that would rent one VM of 1.005/h on demand, and an edit of its policy that is held.
#[track_caller]
fn held(edit: impl FnOnce(&mut Terms), said: &str, blocked: &str) {
    let mut town = town("");
    town.policy(buy(1)).hosts("a 1.00 99%").balance("111.005").hold(edit);
    assert_eq!((town.said().as_str(), town.blocked().as_str()), (said, blocked));
}

#[test]
fn each_lower_limit_of_a_held_edit_binds_what_is_started() {
    let fits = |edit: fn(&mut Terms)| held(edit, "deploy ax1 1.00", "");
    let binds = |edit: fn(&mut Terms)| held(edit, "", "1 held_edit");
    fits(|terms| terms.max_hourly_rate = rate("1.005"));
    binds(|terms| terms.max_hourly_rate = rate("1.004999"));
    fits(|terms| terms.balance_floor = "110".parse().unwrap());
    binds(|terms| terms.balance_floor = "110.000001".parse().unwrap());
    binds(|terms| terms.balance_floor = "112".parse().unwrap());
    fits(|terms| terms.min_runway = seconds(3_600 * 100));
    binds(|terms| terms.min_runway = seconds(3_600 * 101));
    fits(|terms| terms.models[1].max_price = Some(rate("1.005")));
    binds(|terms| terms.models[1].max_price = Some(rate("1.004999")));
    fits(|terms| terms.target_gpus = 9);
    binds(|terms| terms.target_gpus = 0);
}

#[test]
fn a_higher_limit_of_a_held_edit_binds_nothing_and_lifts_nothing() {
    let mut town = town("");
    town.policy(buy(2)).policy(|terms| terms.max_hourly_rate = rate("1.005")).hosts("a 1.00 99%");
    town.hold(|terms| terms.max_hourly_rate = rate("9"));
    assert_eq!((town.said(), town.blocked()), ("deploy ax1 1.00".into(), "1 rate_limit".to_owned()));
}

#[test]
fn a_held_price_is_the_cap_of_a_bid() {
    let mut town = town("");
    town.policy(|terms| terms.spot.bid = BidStrategy::Cap).hosts("a 1.00 99%");
    town.hold(|terms| terms.models[1].max_price = Some(rate("0.605")));
    assert_eq!(town.said(), "ask ax1 0.60");
    town.quote("a", 1, "0.60", Refused, 1);
    assert_eq!((town.said(), town.blocked()), (String::new(), "1 held_edit".to_owned()));
}

#[test]
fn held_limits_bind_all_fleets_together() {
    let mut town = town("m running a 1 rate=0.495");
    town.hosts("a 0.20 99%").policy(|terms| terms.priority = 200).policy(buy(2)).second("g", 1, buy(2));
    // 0.50/h run; each VM that comes costs 0.205/h.
    let total =
        |town: &Town| plan(&town.situation).report.values().map(|report| report.rate_planned).sum::<HourlyRate>();
    assert_eq!(total(&town), rate("1.11"));
    town.hold_limits(|limits| limits.max_hourly_rate = Some(rate("0.80")));
    assert_eq!((town.said().as_str(), total(&town)), ("deploy ax1 0.20", rate("0.705")));
    assert_eq!(town.blocked_of("g"), "2 held_edit");
    assert_eq!(town.settle(), 1);
}

#[test]
fn a_held_floor_of_all_fleets_binds_what_is_started() {
    let mut town = town("");
    town.policy(buy(1)).hosts("a 1.00 99%").balance("21.005");
    town.hold_limits(|limits| limits.balance_floor = "20".parse().unwrap());
    assert_eq!(town.said(), "deploy ax1 1.00");
    town.hold_limits(|limits| limits.balance_floor = "20.000001".parse().unwrap());
    assert_eq!((town.said(), town.blocked()), (String::new(), "1 held_edit".to_owned()));
}

#[test]
fn what_runs_keeps_to_the_text_in_force_while_an_edit_is_held() {
    let mut town = town("m running a 2   n running b 1");
    town.target(3).hold(|terms| {
        terms.target_gpus = 0;
        terms.max_hourly_rate = rate("0.10");
        terms.models[1].max_price = Some(rate("0.10"));
        terms.balance_floor = "5000".parse().unwrap();
    });
    town.hold_limits(|limits| limits.max_hourly_rate = Some(rate("0.10")));
    assert_eq!((town.said(), town.blocked()), (String::new(), String::new()));
}

#[test]
fn a_held_target_keeps_what_was_outbid_and_stopped_from_being_started() {
    let mut town = town("m outbid a 1   n stopped b 1   o running c 2");
    town.hosts("a 1.00 99%").target(4);
    assert_eq!(town.said(), "ask ax1 0.75; start n");
    town.hold(|terms| terms.target_gpus = 3);
    assert_eq!((town.said(), town.blocked()), (String::new(), "1 held_edit".to_owned()));
    town.hold(|terms| terms.target_gpus = 4);
    assert_eq!(town.said(), "ask ax1 0.75; start n");
}

#[test]
fn the_limit_over_all_fleets_counts_strays_and_forgotten_fleets() {
    let mut town = town("");
    town.policy(buy(1)).hosts("a 1.00 99%");
    town.situation.limits.max_hourly_rate = Some(rate("2.005"));
    town.situation.orphaned.insert("acc".parse().unwrap(), rate("1.00"));
    assert_eq!(town.said(), "deploy ax1 1.00");
    town.situation.orphaned.insert("acc".parse().unwrap(), rate("1.000001"));
    assert_eq!((town.said(), town.blocked()), (String::new(), "1 global_rate_limit".to_owned()));
}

#[test]
fn a_name_that_a_restored_journal_forgot_is_not_given_again() {
    let mut town = town("");
    town.policy(buy(4)).hosts("a 1.00 99%").stray("spotscale-f-e-100", 1, "0.10").stray("spotscale-f-e-107", 1, "0.10");
    let plan = plan(&town.situation);
    assert_eq!(crate::plan::verify::verify(&town.situation, &plan), vec![]);
    let Some(Action::Deploy(deploy)) = plan.actions.first() else { panic!("{:?}", plan.actions) };
    assert_eq!(deploy.name.as_str(), "spotscale-f-e-108");
}

#[test]
fn strays_and_late_vms_count_when_renting() {
    let mut town = town("");
    town.policy(buy(3)).hosts("a 1.00 99%").stray("spotscale-f-x-1", 2, "1.00");
    assert_eq!(town.said(), "deploy ax1 1.00");
    town.late("spotscale-f-e-7", 1);
    assert_eq!(town.said(), "delete spotscale-f-e-7 late");
}

#[test]
fn most_gpus_within_the_limit_come_before_preference() {
    settled(
        "a 2.00 99% big   b 0.50 99%",
        |terms| {
            buy(4)(terms);
            terms.instance.gpus.max = 1;
            terms.max_hourly_rate = rate("3.60");
        },
        "ax1 od, bx1 od, bx1 od, bx1 od",
    );
}

#[test]
fn what_is_left_below_the_smallest_vm_stays_unfilled() {
    let mut town = town("");
    town.hosts("a 1.00 99%").policy(|terms| {
        buy(3)(terms);
        terms.instance.gpus.min = 2;
        terms.instance.gpus.max = 2;
    });
    assert_eq!((town.said(), town.blocked()), ("deploy ax2 2.00".into(), "1 shape".to_owned()));
    // Three of `a`'s four would leave one that is never filled, but not while `b` makes up the rest.
    settled(
        "a 1.00 99% x4   b 1.10 99%",
        |terms| {
            buy(7)(terms);
            terms.instance.gpus = crate::model::offer::Bounds { min: 2, max: 3 };
        },
        "ax3 od, bx2 od, bx2 od",
    );
}

#[test]
fn a_hostnode_and_a_location_take_only_their_share() {
    settled(
        "a 1.00 99%   b 1.10 99%",
        |terms| {
            buy(6)(terms);
            terms.hosts.max_gpus_per_hostnode = Some(3);
        },
        "ax3 od, bx3 od",
    );
    settled(
        "a 1.00 99%   b 1.10 99%   c 2.00 99% poland",
        |terms| {
            buy(4)(terms);
            terms.hosts.max_share_per_location_ppm = Some(500_000);
        },
        "ax2 od, cx2 od",
    );
    let mut town = town("");
    town.hosts("a 1.00 99%").policy(|terms| {
        buy(4)(terms);
        terms.hosts.max_share_per_location_ppm = Some(100_000);
    });
    assert_eq!((town.said(), town.blocked()), ("deploy ax1 1.00".into(), "3 spread".to_owned()));
}

#[test]
fn ports_are_the_lowest_free_ones_and_given_once() {
    let mut town = town("");
    town.hosts("a 1.00 99% ports3").policy(|terms| {
        buy(2)(terms);
        terms.instance.gpus.max = 1;
        terms.instance.ports = vec![22, 80];
    });
    let actions = plan(&town.situation).actions;
    let [Action::Deploy(deploy)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(deploy.ports, std::collections::BTreeMap::from([(20_000, 22), (20_001, 80)]));
}

#[test]
fn nothing_is_rented_where_we_may_not_or_cannot_see() {
    let closed = |edit: fn(&mut MarketState), expected: &str| {
        let mut town = town("");
        town.policy(buy(1)).hosts("a 1.00 99%");
        edit(town.market());
        assert_eq!((town.said(), town.blocked()), (String::new(), expected.to_owned()));
    };
    closed(|market| market.bench = Some(Bench::Stale), "1 stale_market");
    closed(|market| market.bench = Some(Bench::Unauthorized), "1 unauthorized");
    closed(|market| market.bench = Some(Bench::Throttled), "1 throttled");
    closed(|market| market.bench = Some(Bench::Paused), "1 paused");
    closed(|market| market.bench = Some(Bench::Overbilled), "1 paused");
    closed(|market| market.list_complete = false, "1 stale_market");
}

#[test]
fn a_paused_fleet_starts_nothing_and_one_without_a_file_says_why() {
    let mut town = town("");
    town.policy(buy(2)).hosts("a 1.00 99%");
    town.state().order = Order::Pause(2);
    assert_eq!((town.said(), town.blocked()), (String::new(), "2 paused".to_owned()));
    town.state().policy_broken = true;
    assert_eq!(town.blocked(), "2 policy_invalid");
}

#[test]
fn an_observing_fleet_plans_what_it_would_do_and_may_only_ask() {
    let mut town = town("");
    town.hosts("a 1.00 99%").policy(|terms| {
        buy(1)(terms);
        terms.mode = Mode::Observe;
    });
    assert_eq!((town.said(), town.blocked()), ("deploy ax1 1.00".into(), "1 observe".to_owned()));
    let plan = plan(&town.situation);
    assert!(!permitted(&town.situation, &plan.actions[0]));
    let broken = crate::plan::verify::verify(&town.situation, &plan);
    assert_eq!(broken[0].invariant, crate::plan::verify::Invariant::Permission);
    town.policy(|terms| terms.on_demand.usage = OnDemandUse::Never);
    let asks = crate::plan::plan(&town.situation).actions;
    assert!(!asks.is_empty() && asks.iter().all(|action| permitted(&town.situation, action)));
}

#[test]
fn watching_takes_nothing_from_those_that_act() {
    let mut town = town("");
    town.policy(|terms| {
        buy(1)(terms);
        terms.mode = Mode::Observe;
        terms.priority = 900;
    });
    town.hosts("a 1.00 99% x1").second("g", 1, buy(1));
    town.situation.limits.max_hourly_rate = Some(rate("1.005"));
    assert_eq!(town.said(), "deploy ax1 1.00");
    assert_eq!(plan(&town.situation).actions[0].fleet().as_str(), "g");
}

#[test]
fn unanswered_deploys_keep_their_slots() {
    let mut town = town("x in_doubt a 2");
    town.policy(buy(2)).hosts("a 1.00 99%");
    assert_eq!((town.said(), town.blocked()), (String::new(), "2 in_doubt".to_owned()));
}

#[test]
fn fallback_waits_and_then_buys_only_what_cannot_be_had_by_bid() {
    let mut town = town("");
    town.hosts("a 1.00 99% x1   b 1.10 99% least=1.20").policy(|terms| {
        terms.target_gpus = 3;
        terms.on_demand.usage = OnDemandUse::Fallback;
        terms.on_demand.max_gpus = Some(1);
    });
    town.missing(3, 590);
    for _ in 0..8 {
        town.round();
    }
    assert_eq!(town.rented("f"), "ax1");
    town.settle();
    town.state().missing = Default::default();
    town.missing(2, 600);
    town.settle();
    assert_eq!(town.rented("f"), "ax1, bx1 od");
}

#[test]
fn each_gpu_waits_for_its_own_fallback() {
    let mut town = town("m running c 1   n running c 1 od");
    town.hosts("a 1.00 99% least=1.20").policy(|terms| {
        terms.target_gpus = 6;
        terms.on_demand.usage = OnDemandUse::Fallback;
        terms.on_demand.revert = Revert::Never;
        terms.spot.bid = BidStrategy::Cap;
    });
    town.quote("a", 1, "1.00", Refused, 1).quote("a", 2, "2.00", Refused, 1).quote("a", 4, "4.00", Refused, 1);
    // Three that wait for long do not make a fourth's wait shorter.
    town.missing(3, 600).missing(1, 599);
    assert_eq!((town.said(), town.blocked()), ("deploy ax3 3.00".into(), "1 no_offers".to_owned()));
    town.state().missing = Default::default();
    town.missing(3, 600).missing(1, 600);
    assert_eq!(town.said(), "deploy ax4 4.00");
}

#[test]
fn the_base_is_always_on_demand() {
    settled(
        "a 1.00 99%",
        |terms| {
            target(3)(terms);
            terms.on_demand.usage = OnDemandUse::Fallback;
            terms.on_demand.base_gpus = 1;
        },
        "ax1 od, ax2",
    );
}

#[test]
fn a_fallback_is_given_back_replacement_first() {
    let mut town = town("o running b 2 od rate=2.00");
    town.hosts("a 1.00 99%").policy(|terms| {
        terms.target_gpus = 2;
        terms.on_demand.usage = OnDemandUse::Fallback;
    });
    let mut most = 0;
    for _ in 0..20 {
        town.round();
        most = most.max(town.state().fleet.counted_gpus());
    }
    assert_eq!((town.rented("f").as_str(), most), ("ax2", 4));
}

/// What is in doubt cannot go, and what runs must stay: the fleet is over its target by as much as a replacement has.
#[test]
fn a_fallback_that_may_go_for_the_target_is_not_replaced() {
    let mut town = town("d in_doubt a 2 rate=0.10   o running b 1 od rate=2.00");
    town.hosts("a 1.00 99% x4").policy(|terms| terms.on_demand.usage = OnDemandUse::Fallback);
    for target in [2, 3] {
        town.target(target);
        town.settle();
        assert_eq!(town.rented("f"), if target == 2 { "ax2, bx1 od" } else { "ax1, ax2" }, "{target}");
    }
}

#[test]
fn a_fallback_stays_without_surge_or_room_for_the_overlap_or_when_told() {
    let stays = |edit: fn(&mut Terms)| {
        let mut town = town("o running b 2 od rate=2.00");
        town.hosts("a 1.00 99%").policy(|terms| {
            terms.target_gpus = 2;
            terms.on_demand.usage = OnDemandUse::Fallback;
            edit(terms);
        });
        town.settle();
        assert_eq!(town.rented("f"), "bx2 od");
    };
    stays(|terms| terms.disruption.max_surge = Quantity::Count(0));
    stays(|terms| terms.max_hourly_rate = rate("2.50"));
    stays(|terms| terms.on_demand.revert = Revert::Never);
    stays(|terms| terms.on_demand.base_gpus = 2);
}

#[test]
fn what_was_stopped_is_started_before_anything_is_rented() {
    let mut town = town("m stopped_released a 1 rate=0.40   n stopped b 1");
    town.policy(buy(3)).hosts("a 1.00 99%");
    assert_eq!(town.said(), "start m; start n; deploy ax1 1.00");
    town.member("m").attempts.start = Some(town.situation.now);
    assert_eq!(town.said(), "start n; deploy ax2 2.00");
}

/// A stopped VM that the policy may have come not to want, and a target of one.
#[track_caller]
fn stopped(member: &str, edit: impl FnOnce(&mut Terms), expected: &str) {
    let mut town = town(member);
    town.policy(edit);
    assert_eq!(town.said(), expected);
}

#[test]
fn what_gave_its_gpu_back_is_started_again_only_if_it_would_be_rented_now() {
    let spot = |edit: fn(&mut Terms), expected: &str| stopped("m stopped_released a 1", edit, expected);
    spot(|_| {}, "start m");
    spot(|terms| terms.models.truncate(1), "");
    spot(|terms| terms.marketplaces = Some(vec!["elsewhere".parse().unwrap()]), "");
    spot(|terms| terms.hosts.deny = vec!["a".parse().unwrap()], "");
    spot(|terms| terms.hosts.countries = Some(vec!["Poland".into()]), "");
    spot(|terms| terms.models[1].max_price = Some(rate("0.505")), "start m");
    spot(|terms| terms.models[1].max_price = Some(rate("0.504999")), "");
    let bought = |edit: fn(&mut Terms), expected: &str| stopped("m stopped_released a 1 od", edit, expected);
    bought(|terms| terms.on_demand.usage = OnDemandUse::Always, "start m");
    bought(|terms| terms.on_demand.usage = OnDemandUse::Fallback, "start m");
    bought(|terms| terms.on_demand.usage = OnDemandUse::Never, "");
    bought(
        |terms| {
            buy(1)(terms);
            terms.on_demand.max_gpus = Some(0);
        },
        "",
    );
}

#[test]
fn what_is_started_again_counts_against_what_may_stand_on_demand_and_in_one_place() {
    let two = |edit: fn(&mut Terms), expected: &str| {
        stopped(
            "m stopped_released a 1 od   n stopped_released a 1 od",
            |terms| {
                buy(2)(terms);
                edit(terms);
            },
            expected,
        );
    };
    two(|_| {}, "start m; start n");
    two(|terms| terms.on_demand.max_gpus = Some(1), "start m");
    two(|terms| terms.hosts.max_gpus_per_hostnode = Some(1), "start m");
    two(|terms| terms.hosts.max_share_per_location_ppm = Some(500_000), "start m");
}

#[test]
fn what_kept_its_gpu_is_paid_for_and_started_whatever_the_policy_says_now() {
    stopped("m stopped a 1 od", |terms| terms.models.truncate(1), "start m");
}

#[test]
fn what_stopped_by_itself_is_started_though_it_counts_already() {
    let mut town = town("n stopped b 1");
    assert_eq!(town.said(), "start n");
    town.member("n").protected = true;
    assert_eq!(town.said(), "");
}

#[test]
fn higher_priority_goes_first_and_what_it_asks_for_is_held_back() {
    let mut town = town("");
    town.policy(|terms| terms.priority = 1).policy(buy(1)).hosts("a 1.00 99% x2");
    town.second("g", 200, target(1));
    // `g` may come to 1.005: with room for one VM only, `f` has to wait for it.
    town.situation.limits.max_hourly_rate = Some(rate("1.50"));
    assert_eq!(town.said(), "ask ax1 0.50");
    assert_eq!(town.blocked(), "1 global_rate_limit");
    town.situation.limits.max_hourly_rate = Some(rate("2.01"));
    assert_eq!(town.said(), "ask ax1 0.50; deploy ax1 1.00");
}

#[test]
fn each_resource_is_sold_once_also_when_the_list_is_older_than_a_deploy() {
    let mut town = town("");
    town.policy(buy(2)).hosts("a 1.00 99% x2").second("g", 200, buy(1));
    assert_eq!(town.said(), "deploy ax1 1.00; deploy ax1 1.00");
    let now = town.situation.now;
    town.members_of("g", "m pending a 1 age=0");
    assert_eq!(town.member("m").intended_at, now);
    assert_eq!(town.said(), "deploy ax1 1.00");
}

#[test]
fn what_one_pass_chose_no_later_pass_turns_down() {
    let mut town = town("");
    town.policy(|terms| {
        terms.target_gpus = 4;
        terms.instance.gpus.max = 1;
        terms.hosts.max_gpus_per_hostnode = Some(1);
        terms.on_demand.usage = OnDemandUse::Fallback;
        terms.on_demand.after = std::time::Duration::ZERO;
        terms.on_demand.base_gpus = 1;
    });
    town.hosts("a 0.10 99% x1 nospot   b 0.20 99% x1 nospot");
    let report = plan(&town.situation).report.remove(&"f".parse().unwrap()).unwrap();
    let chosen = report.candidates.iter().filter(|candidate| candidate.verdict == Verdict::Chosen).count();
    assert_eq!((chosen, report.lower_bound), (2, report.rate_planned));
}
