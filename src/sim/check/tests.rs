//! A stage on which all is well, to be tampered with.

use super::*;
use crate::{
    io::store::{NewRow, Store},
    ledger::{Record, Standing},
    model::reason::Teardown,
    sim::{Plot, Severity, Stage},
};

/// The built-in fleets, on a market that does not lie and has given them what there is.
pub(super) async fn settled() -> Stage {
    let mut stage = Plot::new(1, Severity::None, HOUR).stage().await.unwrap();
    for _ in 0..16 {
        stage.tick().await;
        assert_eq!(stage.breaches(), []);
    }
    stage
}

/// The journal of a stage, in which these were to be let go since the last look.
pub(super) fn decided(stage: &Stage, let_go: &[(&Vm, Teardown)]) -> Paper {
    let delete = |(vm, reason): &(&Vm, Teardown)| {
        let (name, id) = (vm.name.clone(), vm.id.clone());
        Record::DeleteIntended { name, id, reason: *reason, why: String::new() }
    };
    written(stage, &let_go.iter().map(delete).collect::<Vec<_>>())
}

/// The journal of a stage, in which this was written since the last look.
pub(super) fn written(stage: &Stage, records: &[Record]) -> Paper {
    let disk = stage.disk.copied(crate::sim::power::Power::default());
    let mut paper = Paper::of(&disk, Timestamp::UNIX_EPOCH);
    let row = |record: &Record| {
        let body = record.encode().unwrap();
        NewRow { at_ms: 0, kind: record.kind(), fleet: None, subject: None, body }
    };
    disk.append(&records.iter().map(row).collect::<Vec<_>>()).unwrap();
    paper.read_on(&disk);
    paper
}

/// The journal of a stage, in which a VM that is there was to be rented since the last look, edited so.
pub(super) fn again(stage: &Stage, name: &VmName, edit: impl FnOnce(&mut crate::ledger::Intent)) -> Paper {
    let mut intent = stage.paper().intent(name).unwrap().clone();
    edit(&mut intent);
    written(stage, &[Record::DeployIntended(Box::new(intent))])
}

#[tokio::test]
async fn memory_and_world_differ_where_a_vm_has_a_double() {
    let stage = settled().await;
    assert_eq!(stage.disagreement(), None);
    let (status, mut sighted) = (stage.status(), stage.sighted());
    let vms = &mut sighted.iter_mut().find(|one| !one.truth.vms.is_empty()).unwrap().truth.vms;
    let mut double = vms.iter().find(|vm| vm.ended.is_none()).unwrap().clone();
    (double.id, double.origin) = ("a-double".parse().unwrap(), Origin::Doubled);
    vms.push(double);
    assert!(disagreement(&status, &sighted, &Paper::default()).is_some_and(|told| told.contains("a-double")));
}

/// `simulate --seed 20036 --faults hostile --for 8h`: the listed price fell before the deploy took effect.
#[tokio::test]
async fn what_was_rented_on_demand_may_count_at_what_was_listed_and_at_nothing_else_above_its_cost() {
    let stage = settled().await;
    let (status, mut sighted) = (stage.status(), stage.sighted());
    let vms = sighted.iter_mut().flat_map(|one| &mut one.truth.vms);
    let vm = vms.into_iter().find(|vm| vm.ended.is_none() && vm.price_type == PriceType::OnDemand).unwrap();
    let name = vm.name.clone();
    let listed = stage.paper().intent(&name).unwrap().agreed;
    assert_eq!(listed, vm.agreed);
    vm.agreed.compute = HourlyRate::from_micros(listed.compute.micros() - 1_000);
    assert_eq!(disagreement(&status, &sighted, stage.paper()), None);
    let at = |micros: u64| again(&stage, &name, |intent| intent.agreed.compute = HourlyRate::from_micros(micros));
    let differs = |micros: u64| disagreement(&status, &sighted, &at(micros)).is_some();
    assert!(differs(listed.compute.micros() + 1_000), "it was listed at more");
    assert!(differs(listed.compute.micros() - 1_000), "it was listed at what it costs");
}

/// `simulate --seed 60197 --faults hostile --for 12h`: the listed price rose before the deploy took effect, and its marketplace
/// answers a deploy without a price.
#[tokio::test]
async fn a_vm_may_cost_more_than_was_listed_until_it_is_told_and_no_longer() {
    let stage = settled().await;
    let sighted = stage.sighted();
    let on_demand = |vm: &&Vm| vm.price_type == PriceType::OnDemand;
    let mut vm = alive(&sighted).find(on_demand).unwrap().clone();
    let intent = stage.paper().intent(&vm.name).unwrap().clone();
    vm.agreed.compute = HourlyRate::from_micros(intent.agreed.compute.micros() + 1_000);
    let situation = stage.status().situation.clone().unwrap().into_value();
    let state = &situation.fleets[&intent.fleet];
    let found = async |in_answer: bool, in_list: bool| {
        let elsewhere = Plot::new(1, Severity::None, HOUR).stage().await.unwrap();
        let quoted = in_answer.then_some(intent.agreed);
        let (id, ports) = (vm.id.clone(), BTreeMap::new());
        let deployed = Record::Deployed { name: vm.name.clone(), id, quoted, address: None, ports };
        let paper = written(&elsewhere, &[Record::DeployIntended(Box::new(intent.clone())), deployed]);
        let mut state = state.clone();
        state.fleet.members.get_mut(&vm.name).unwrap().quoted = in_list.then_some(intent.agreed);
        let mut found = Found::default();
        counted(&mut found, (&paper, &sighted), &state, &[&vm]);
        found.0.len()
    };
    assert_eq!(found(false, false).await, 0);
    assert_eq!(found(true, false).await, 1);
    assert_eq!(found(false, true).await, 1);
}

/// `simulate --seed 70284 --faults hostile --for 12h`: a list of before it was started again.
#[tokio::test]
async fn what_runs_may_count_as_stopped_by_an_old_list_after_a_start_and_not_else() {
    let stage = settled().await;
    let status = stage.status();
    let situation = status.situation.clone().unwrap().into_value();
    let found = |told: Told, starts: bool| {
        let mut sighted = stage.sighted();
        let vm = alive(&sighted).find(|vm| fleet_of(&status, vm) == Some("train")).unwrap().clone();
        let its = sighted.iter_mut().find(|one| one.truth.vms.iter().any(|other| other.id == vm.id)).unwrap();
        let newest = its.lists.last().unwrap();
        let listing = Listing { api: newest.api, at: newest.at, told };
        its.lists.push(Arc::new(listing));
        let start = Record::StartIntended { name: vm.name.clone(), why: String::new() };
        let paper = written(&stage, if starts { std::slice::from_ref(&start) } else { &[] });
        let mut state = situation.fleets[&"train".parse::<FleetName>().unwrap()].clone();
        state.fleet.members.get_mut(&vm.name).unwrap().standing = Standing::StoppedReleased;
        let mut found = Found::default();
        counted(&mut found, (&paper, &sighted), &state, &[&vm]);
        found.0.len()
    };
    assert_eq!(found(Told::Perhaps, true), 0);
    assert_eq!(found(Told::Perhaps, false), 1);
    assert_eq!(found(Told::These(BTreeSet::new()), true), 1);
}

#[test]
fn a_day_on_which_the_wall_clock_was_wrong_is_not_judged() {
    let account: AccountName = "vectordash".parse().unwrap();
    let found = |is_judged| {
        let mut found = Found::default();
        let budget = Some(Usd::from_micros(1));
        let day = Day { began: Timestamp::UNIX_EPOCH, before: Usd::ZERO, budget, is_judged };
        within_budget(&mut found, (&account, Period::Day), day, Usd::from_micros(2));
        found.0.len()
    };
    assert_eq!((found(true), found(false)), (1, 0));
}

#[tokio::test]
async fn a_day_is_judged_until_the_wall_clock_is_off_by_more_than_a_minute() {
    let mut stage = settled().await;
    let judged = |stage: &Stage| stage.watch.days.values().all(|day| day.is_judged);
    assert!(judged(&stage));
    stage.wall.step(jiff::SignedDuration::from_secs(50));
    stage.tick().await;
    stage.breaches();
    assert!(judged(&stage));
    stage.wall.step(jiff::SignedDuration::from_secs(20));
    stage.tick().await;
    stage.breaches();
    assert!(!judged(&stage));
}

#[tokio::test]
async fn who_is_there_is_excused_only_when_it_is_proven_gone_and_not_at_one_look() {
    let mut stage = settled().await;
    let (ours, vendor) = {
        let sighted = stage.sighted();
        let one = sighted.iter().find(|one| one.vendor == Vendor::Vectordash && one.truth.alive().count() > 0).unwrap();
        (one.truth.alive().next().unwrap().id.clone(), one.vendor)
    };
    let until = time::after(crate::io::clock::Clock::now(&stage.clock), HOUR);
    stage.market().conceal(vendor, ours.clone(), until);
    let mut excused = Vec::new();
    for _ in 0..14 {
        stage.tick().await;
        assert_eq!(stage.breaches(), []);
        excused.push(stage.watch.out_of_sight.contains(&ours));
    }
    let first = excused.iter().position(|is_excused| *is_excused);
    assert!(first.is_some_and(|first| first >= 4), "at least five lists, over at least the grace: {excused:?}");
}

/// `simulate --seed 3006 --faults hostile --for 12h`: the power was away for half an hour, and the first look after it still
/// showed a VM of unknown status that the last look before it had shown so for the first time.
#[tokio::test]
async fn what_was_lost_while_nobody_looked_is_waited_for_anew() {
    let mut stage = settled().await;
    let ours = {
        let sighted = stage.sighted();
        let one = sighted.iter().find(|one| one.vendor == Vendor::Tensordock).unwrap();
        one.truth.alive().find(|vm| vm.origin == Origin::Api).unwrap().clone()
    };
    stage.market().world.vanish(&ours.hostnode, crate::sim::Absence::Offline, 3 * HOUR);
    let there = |stage: &Stage| all_vms(&stage.sighted()).any(|vm| vm.id == ours.id && vm.ended.is_none());
    stage.tick().await;
    stage.clock.pass(HOUR / 2);
    stage.restart().await.unwrap();
    for tick in 0..25 {
        stage.tick().await;
        assert_eq!(stage.breaches(), []);
        let situation = stage.status().situation.clone().unwrap();
        let member = situation.fleets.values().find_map(|state| state.fleet.members.get(&ours.name)).unwrap();
        assert!(there(&stage) && member.standing == Standing::Lost, "tick {tick}: {}", member.standing);
    }
}
