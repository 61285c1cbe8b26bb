//! Each lie of the marketplace alone: what the daemon's client sees of it, and what is truly so.

use super::{
    super::{
        Ended, Fate, Hiding, Knobs, Origin, Seed, Severity, Twist, VmState, faults::Effected, strangers::Guise,
        twist::Heard,
    },
    stand::{SPOT, Stand, at, shape},
    *,
};
use crate::model::{
    InstanceStatus, Lookup, Refusal,
    offer::{Bid, BidAnswer},
};

const MINUTE: Duration = Duration::from_secs(60);

impl Stand {
    fn wait(&mut self, seconds: i64) {
        self.second += seconds;
        self.market.advance(at(self.second));
    }

    fn list(&mut self) -> Vec<crate::model::Instance> {
        let exchange = self.dialect.instances();
        self.ask(&exchange).unwrap().items.to_vec()
    }

    fn alive(&self) -> usize {
        self.market.world.truth().alive().count()
    }

    fn delete(&mut self, id: &InstanceId) -> Result<(), Refusal> {
        let exchange = self.dialect.terminate(id);
        self.ask(&exchange)
    }

    fn lookup(&mut self, id: &InstanceId) -> Lookup<crate::model::Instance> {
        let exchange = self.dialect.instance(id).unwrap();
        self.ask(&exchange).unwrap()
    }

    fn validate(&mut self, price: &str) -> BidAnswer {
        self.try_to_validate(price).unwrap()
    }

    fn try_to_validate(&mut self, price: &str) -> Result<BidAnswer, Refusal> {
        let bid = Bid { hostnode: SPOT.parse().unwrap(), shape: shape(), price: price.parse().unwrap() };
        let exchange = self.dialect.validate(&bid).unwrap();
        self.ask(&exchange)
    }

    fn prices(&mut self) -> Vec<crate::model::Hostnode> {
        let exchange = self.dialect.hostnodes();
        self.ask(&exchange).unwrap().items.to_vec()
    }
}

#[test]
fn a_deploy_whose_answer_is_lost_makes_its_vm_later() {
    let mut stand = Stand::new();
    stand.market.faults.script(Call::Deploy, Fault::LateEffect(Duration::from_secs(90)));
    assert!(matches!(stand.deploy("a"), Err(Refusal::Unreachable(_))));
    stand.wait(89);
    assert_eq!((stand.made(), stand.list().len()), (0, 0));
    stand.wait(1);
    assert_eq!((stand.made(), stand.list().len()), (1, 1));
    assert_eq!(stand.market.world.truth().vms[0].made_at, 90_000);
    assert_eq!(stand.market.calls(Api::TensordockV0, Call::Deploy), 1);
}

#[test]
fn a_delete_whose_answer_is_lost_deletes_later_and_honesty_does_not_call_it_back() {
    let mut stand = Stand::new();
    let id = stand.deploy("a").unwrap();
    stand.market.faults.script(Call::Terminate, Fault::LateEffect(2 * MINUTE));
    assert!(stand.delete(&id).is_err());
    stand.market.be_honest();
    stand.wait(119);
    assert_eq!(stand.alive(), 1);
    stand.wait(1);
    assert_eq!((stand.alive(), stand.lookup(&id)), (0, Lookup::Gone));
}

#[test]
fn a_doubled_deploy_makes_two_vms_of_one_name_and_either_may_be_the_one_that_is_heard_of() {
    for (heard, origin) in [(Heard::First, Origin::Api), (Heard::Second, Origin::Doubled)] {
        let mut stand = Stand::new();
        stand.market.faults.twist(Call::Deploy, vec![Twist::Doubled(heard)]);
        let id = stand.deploy("a").unwrap();
        let vms = stand.market.world.truth().vms;
        assert_eq!(vms.iter().find(|vm| vm.id == id).map(|vm| vm.origin), Some(origin));
        let mut origins: Vec<Origin> = vms.iter().map(|vm| vm.origin).collect();
        origins.sort_by_key(|origin| *origin != Origin::Api);
        assert_eq!(origins, [Origin::Api, Origin::Doubled]);
        let listed = stand.list();
        assert!(listed.len() == 2 && listed.iter().all(|vm| vm.name.as_str() == "a"), "{listed:?}");
        assert_eq!(stand.market.world.truth().doubled(), [], "nobody of ours did that");
        assert_eq!(stand.market.world.impossible(), Vec::<String>::new());
    }
}

#[test]
fn a_deploy_that_was_not_answered_may_be_in_no_list_either() {
    let mut stand = Stand::new();
    stand.market.faults.script(Call::Deploy, Fault::LostAnswer);
    stand.market.faults.twist(Call::Deploy, vec![Twist::Unlisted(30 * MINUTE)]);
    assert!(stand.deploy("a").is_err());
    stand.wait(1_799);
    assert_eq!((stand.alive(), stand.list().len()), (1, 0));
    stand.wait(1);
    assert_eq!(stand.list().len(), 1);
}

#[test]
fn faults_and_twists_come_together() {
    let mut stand = Stand::new();
    stand.market.faults.script(Call::Deploy, Fault::LostAnswer);
    stand.market.faults.twist(Call::Deploy, vec![Twist::Doubled(Heard::First), Twist::Stalled]);
    assert!(stand.deploy("a").is_err());
    stand.wait(7_200);
    let states: Vec<InstanceStatus> = stand.list().into_iter().map(|vm| vm.status).collect();
    assert_eq!(states, [InstanceStatus::Starting, InstanceStatus::Starting]);
    assert_eq!(
        stand.market.twisted(),
        &[((Api::TensordockV0, "doubled"), 1), ((Api::TensordockV0, "stalled"), 1)].into()
    );
}

#[test]
fn a_deleted_vm_lingers_in_the_lists_and_by_its_id_it_is_gone() {
    let mut stand = Stand::new();
    let id = stand.deploy("a").unwrap();
    stand.market.faults.twist(Call::Terminate, vec![Twist::Lingering(5 * MINUTE)]);
    assert_eq!(stand.delete(&id), Ok(()));
    stand.wait(299);
    assert_eq!((stand.alive(), stand.list().len(), stand.lookup(&id)), (0, 1, Lookup::Gone));
    stand.wait(1);
    assert_eq!(stand.list(), []);
}

#[test]
fn a_stale_list_shows_what_there_was() {
    let mut stand = Stand::new();
    stand.market.lie(Seed(1), &Knobs { stale_list_ppm: 1, stale_list_s_max: 600, ..Knobs::none() });
    assert_eq!(stand.list(), []);
    stand.second = 60;
    let id = stand.deploy("a").unwrap();
    assert_eq!(stand.list().len(), 1);
    stand.second = 120;
    assert_eq!(stand.delete(&id), Ok(()));
    let seen = |stand: &mut Stand, age| {
        stand.market.faults.script(Call::Instances, Fault::StaleList(Duration::from_secs(age)));
        stand.list().len()
    };
    assert_eq!(seen(&mut stand, 30), 1, "deleted, and there");
    assert_eq!(seen(&mut stand, 90), 0, "not made yet");
    assert_eq!(seen(&mut stand, 500), 0, "nobody had looked: the truth");
    assert_eq!(stand.list(), []);
}

#[test]
fn a_marketplace_whose_words_changed_shows_all_that_is_there_and_nobody_knows_how_it_stands() {
    let mut stand = Stand::new();
    let id = stand.deploy("a").unwrap();
    stand.market.faults.script(Call::Instances, Fault::OtherWords);
    stand.market.faults.script(Call::Instance, Fault::OtherWords);
    let listed: Vec<InstanceStatus> = stand.list().into_iter().map(|vm| vm.status).collect();
    assert!(matches!(listed.as_slice(), [InstanceStatus::Unknown(_)]), "{listed:?}");
    let Lookup::Here(found) = stand.lookup(&id) else { panic!("it is there") };
    assert!(matches!(found.status, InstanceStatus::Unknown(_)), "{:?}", found.status);
    assert!(stand.list().iter().all(|vm| !matches!(vm.status, InstanceStatus::Unknown(_))), "it went by");
}

#[test]
fn a_storm_is_over_one_api_and_goes_by() {
    let mut stand = Stand::new();
    let ask = stand.dialect.whoami();
    stand.market.storm(Api::TensordockV0, Fault::Throttled, 5 * MINUTE);
    assert!(matches!(stand.ask(&ask), Err(Refusal::Throttled { .. })));
    assert!(stand.deploy("a").is_err());
    stand.wait(300);
    assert_eq!(stand.ask(&ask), Ok(()));
    stand.market.storm(Api::TensordockV0, Fault::BadGateway, 5 * MINUTE);
    assert_eq!(stand.ask(&ask).unwrap_err().kind().as_str(), "unreachable");
    stand.market.be_honest();
    assert_eq!(stand.ask(&ask), Ok(()));
    assert_eq!(stand.made(), 0);
}

#[test]
fn garbage_and_silence_say_nothing_about_what_happened() {
    for (fault, vms) in [
        (Fault::Garbage(Effected::No), 0),
        (Fault::Garbage(Effected::Yes), 1),
        (Fault::Hang(Effected::No), 0),
        (Fault::Hang(Effected::Yes), 1),
        (Fault::BadGateway, 0),
    ] {
        let mut stand = Stand::new();
        stand.market.faults.script(Call::Deploy, fault);
        let refusal = stand.deploy("a").unwrap_err();
        assert!(
            !matches!(refusal, Refusal::NoCapacity(_) | Refusal::BidTooLow(_) | Refusal::Refused(_)),
            "{refusal:?}"
        );
        assert_eq!(stand.made(), vms, "{fault:?}");
    }
}

#[test]
fn an_accepted_bid_may_not_last() {
    let mut stand = Stand::new();
    stand.market.faults.twist(Call::Validate, vec![Twist::BriefQuote(Duration::from_secs(20))]);
    assert_eq!(stand.validate("0.25"), BidAnswer::Accepted);
    stand.second = 19;
    assert!(stand.deploy("in-time").is_ok());
    stand.second = 20;
    assert!(matches!(stand.deploy("too-late"), Err(Refusal::BidTooLow(_))));
    assert_eq!(stand.made(), 1);
    assert_eq!(stand.validate("0.25"), BidAnswer::Accepted);
    assert!(stand.deploy("asked-again").is_ok());
}

#[test]
fn a_vm_is_billed_more_than_agreed_at_once_or_later_and_that_is_shown_and_paid() {
    for (after, at_first) in [(Duration::ZERO, "0.39"), (30 * MINUTE, "0.26")] {
        let mut stand = Stand::new();
        stand.market.faults.twist(Call::Deploy, vec![Twist::Overbilled(500_000, after)]);
        let id = stand.deploy("a").unwrap();
        let quoted = |stand: &mut Stand| stand.list()[0].quoted.unwrap().total();
        assert_eq!(quoted(&mut stand), at_first.parse().unwrap());
        stand.wait(3_600);
        assert_eq!(quoted(&mut stand), "0.39".parse().unwrap());
        let truth = stand.market.world.truth();
        let spent = if after.is_zero() { "0.39" } else { "0.325" };
        assert_eq!(truth.spent, spent.parse().unwrap());
        assert_eq!(truth.vms[0].agreed.total(), "0.26".parse().unwrap(), "{id}");
        assert_eq!(stand.market.world.impossible(), Vec::<String>::new());
    }
}

#[test]
fn a_vm_that_is_never_ready_is_starting_for_ever_until_the_market_is_honest() {
    let mut stand = Stand::new();
    stand.market.faults.twist(Call::Deploy, vec![Twist::Stalled]);
    stand.deploy("a").unwrap();
    stand.wait(86_400 / 2);
    assert_eq!(stand.list()[0].status, InstanceStatus::Starting);
    stand.market.be_honest();
    stand.wait(20);
    assert_eq!(stand.list()[0].status, InstanceStatus::Running);
}

#[test]
fn a_vm_stops_is_outbid_vanishes_and_comes_back_by_itself() {
    let mut stand = Stand::new();
    let id = stand.deploy("a").unwrap();
    stand.wait(600);
    let world = &mut stand.market.world;
    world.foretell(&id, MINUTE, Fate::Hides(Hiding::InLists, 5 * MINUTE));
    world.foretell(&id, 10 * MINUTE, Fate::Hides(Hiding::Altogether, 5 * MINUTE));
    world.foretell(&id, 20 * MINUTE, Fate::StopsKeeping);
    stand.wait(60);
    assert!(stand.list().is_empty() && stand.lookup(&id) != Lookup::Gone);
    stand.wait(300);
    assert_eq!(stand.list().len(), 1);
    stand.wait(240);
    assert!(stand.list().is_empty() && stand.lookup(&id) == Lookup::Gone);
    assert_eq!(stand.alive(), 1, "it is there, and paid for");
    stand.wait(300);
    assert_eq!(stand.list()[0].status, InstanceStatus::Running);
    stand.wait(300);
    assert_eq!(stand.list()[0].status, InstanceStatus::StoppedKept);
    assert_eq!(stand.market.world.truth().vms[0].touches, 0, "nobody asked for that");
    let exchange = stand.dialect.start(&id).unwrap();
    assert_eq!(stand.ask(&exchange), Ok(()));
    stand.market.world.foretell(&id, Duration::ZERO, Fate::StopsReleasing);
    assert_eq!(stand.list()[0].status, InstanceStatus::StoppedReleased);
    assert_eq!(stand.market.world.truth().vms[0].touches, 1);
}

#[test]
fn somebody_sets_out_to_outbid_a_vm_and_goes_again() {
    let mut stand = Stand::new();
    let ids: Vec<InstanceId> = (0..4).map(|count| stand.deploy(&format!("vm-{count}")).unwrap()).collect();
    stand.wait(600);
    stand.market.world.foretell(&ids[2], Duration::ZERO, Fate::Contested(10 * MINUTE));
    assert_eq!(stand.market.world.truth().outbids, 1);
    stand.wait(700);
    assert!(stand.list().iter().all(|vm| vm.status == InstanceStatus::Running));
}

#[test]
fn a_machine_lists_an_uptime_that_it_has_not_and_prices_go_up_and_down() {
    let mut stand = Stand::new();
    let host: crate::model::HostnodeId = SPOT.parse().unwrap();
    let listed = |stand: &mut Stand| stand.prices().into_iter().find(|listed| listed.id == host).unwrap();
    let honest = listed(&mut stand);
    stand.market.world.boast(&host, 10);
    stand.market.world.sway(&host, 200_000, 10 * MINUTE);
    let mut asked = Vec::new();
    for _ in 0..4 {
        stand.wait(600);
        assert_eq!(listed(&mut stand).uptime_ppm, Some(999_900));
        asked.push(stand.market.world.least_bid(&host, &shape()).unwrap());
    }
    assert!(asked[0] != asked[1] && asked[0] == asked[2] && asked[1] == asked[3], "{asked:?}");
    stand.market.be_honest();
    assert_eq!(listed(&mut stand), honest);
}

#[test]
fn a_balance_lags_drops_and_is_given_back() {
    let mut stand = Stand::new();
    let balance = |stand: &mut Stand| {
        let exchange = stand.dialect.balance().unwrap();
        stand.ask(&exchange).unwrap().amount.to_string()
    };
    stand.market.lie(Seed(1), &Knobs { balance_lag_s: 300, ..Knobs::none() });
    assert_eq!(balance(&mut stand), "100.00");
    stand.market.world.withdraw("60".parse().unwrap());
    stand.wait(299);
    assert_eq!(balance(&mut stand), "100.00");
    stand.wait(1);
    assert_eq!(balance(&mut stand), "40.00");
    assert_eq!(stand.market.world.withdraw("60".parse().unwrap()), "40".parse().unwrap());
    stand.market.be_honest();
    assert_eq!(balance(&mut stand), "0.00");
    stand.market.world.deposit("100".parse().unwrap());
    let drops = Knobs { balance_drops_per_day: 8, balance_drop_ppm_max: 900_000, top_up_s_max: 3_600, ..Knobs::none() };
    stand.market.lie(Seed(3), &drops);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..48 {
        stand.wait(1_800);
        seen.insert(balance(&mut stand));
        assert_eq!(stand.market.world.impossible(), Vec::<String>::new());
    }
    assert!(seen.len() > 2 && seen.contains("100.00"), "{seen:?}");
    stand.market.be_honest();
    assert_eq!(balance(&mut stand), "100.00");
}

#[test]
fn strangers_come_with_names_like_ours_and_go_by_themselves() {
    let mut stand = Stand::new();
    stand.deploy("spotscale-train-k3x9-7").unwrap();
    stand.market.lie(Seed(5), &Knobs { strangers_per_day: 24, stranger_s_max: 14_400, ..Knobs::none() });
    stand.market.world.deposit("1000".parse().unwrap());
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..5 * 48 {
        stand.wait(1_800);
        seen.extend(stand.listed().unwrap().into_iter().map(|name| name.to_string()));
    }
    assert_eq!(seen.len(), Guise::ALL.len() + 1, "{seen:?}");
    let vms = stand.market.world.truth().vms;
    let foreign: Vec<_> = vms.iter().filter(|vm| vm.origin == Origin::Foreign).collect();
    assert!(foreign.iter().all(|vm| vm.touches == 0 && vm.ended.is_none_or(|(_, why)| why == Ended::Left)));
    assert!(foreign.iter().any(|vm| vm.state == VmState::StoppedReleased) && foreign.iter().any(|vm| vm.outbids > 0));
    stand.market.be_honest();
    stand.wait(14_400);
    assert_eq!(stand.alive(), 1, "they went when they would have gone");
}

/// Somebody rents, looks and deletes, on a market that lies so much.
fn play(seed: u64, knobs: &Knobs) -> (Stand, BTreeMap<&'static str, u64>) {
    let mut stand = Stand::new();
    stand.market.lie(Seed(seed), knobs);
    for round in 0..150 {
        stand.wait(60);
        let _ = stand.try_to_validate("0.25");
        let _ = stand.deploy(&format!("spotscale-train-k3x9-{round}"));
        let ours = |vm: &&super::super::Vm| vm.origin != Origin::Foreign;
        let some = stand.market.world.truth().alive().find(ours).map(|vm| vm.id.clone());
        if let (Ok(names), Some(id)) = (stand.listed(), some)
            && names.len() > 2
        {
            let _ = stand.delete(&id);
        }
        assert_eq!(stand.market.world.impossible(), Vec::<String>::new());
    }
    let mut told = BTreeMap::new();
    let faults = stand.market.handled().iter().map(|((_, _, fault), count)| (*fault, *count));
    for (lie, count) in faults.chain(stand.market.twisted().iter().map(|((_, twist), count)| (*twist, *count))) {
        *told.entry(lie).or_default() += count;
    }
    (stand, told)
}

#[test]
fn the_same_seed_lies_the_same_and_no_weather_not_at_all() {
    let knobs = |severity| Knobs::drawn(Seed(4), severity);
    let (first, lies) = play(4, &knobs(Severity::Hostile));
    let (second, again) = play(4, &knobs(Severity::Hostile));
    assert_eq!((&first.market.world, &lies), (&second.market.world, &again));
    assert_eq!(play(4, &knobs(Severity::None)).1.into_keys().collect::<Vec<_>>(), ["none"]);
}

#[test]
fn a_market_with_every_knob_turned_tells_every_lie() {
    let mut knobs = Knobs::none();
    for (name, _) in Knobs::none().pairs() {
        knobs.set(name, if name.contains("_ppm") { 30_000 } else { 60 }).unwrap();
    }
    knobs.brief_quote_ppm = 300_000;
    knobs.stalled_ppm = 200_000;
    let told: Vec<&str> = play(1, &knobs).1.into_keys().collect();
    let all = [
        "bad_gateway",
        "brief_quote",
        "cut_answer",
        "doubled",
        "empty_list",
        "garbage",
        "half_json",
        "hang",
        "html",
        "late_effect",
        "late_vm",
        "lingering",
        "lost_answer",
        "lost_request",
        "none",
        "overbilled",
        "partial_list",
        "refused",
        "server_error",
        "slow",
        "stale_list",
        "stalled",
        "throttled",
        "unlisted",
    ];
    assert_eq!(told, all);
}
