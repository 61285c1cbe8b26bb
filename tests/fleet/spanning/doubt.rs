//! Deploys whose outcome is not known, where no bid is asked about and, at Vectordash, nothing can be asked for by id.

use super::{super::stage::Stage, BUDGET, fleet, market, settings, tensordock};
use spotscale::{
    io::clock::Clock as _,
    ledger::Standing,
    market::{Call, WorldOrder},
    model::{PriceType, Shape, time},
    settings::Vendor,
    sim::{
        Ended, Fault, Origin, Vm,
        faults::Effected::{No, Yes},
    },
};
use std::time::Duration;

/// Where, and whose world that is.
const BOTH: [(&str, Vendor); 2] = [("dock-v2", Vendor::Tensordock), ("vectordash", Vendor::Vectordash)];

const DONE: [Fault; 5] =
    [Fault::LostAnswer, Fault::CutAnswer, Fault::HalfJson, Fault::ServerError(Yes), Fault::Html(Yes)];
const NOT_DONE: [Fault; 3] = [Fault::LostRequest, Fault::ServerError(No), Fault::Html(No)];

/// Two GPUs there; with the next deploy something goes wrong.
async fn two_of_which_one(marketplace: &str, fault: Fault) -> Stage {
    let policy = fleet(2, &format!("marketplaces = [\"{marketplace}\"]"));
    let mut stage = Stage::across(market(), &settings(BUDGET), &[("train", &policy)]).await;
    stage.story = format!("{marketplace} {fault:?}");
    stage.break_next(Call::Deploy, fault, 1);
    stage.tick().await;
    stage
}

/// Both run, and nobody doubts it.
fn is_well(stage: &Stage) {
    stage.agrees();
    assert_eq!(stage.gpus_standing("train", Standing::Running), 2, "{}: {}", stage.story, stage.told());
    assert_eq!((stage.gpus_alive("train"), stage.in_doubt()), (2, 0), "{}", stage.story);
}

#[tokio::test]
async fn a_vm_whose_deploy_was_not_answered_well_is_adopted_by_its_name() {
    for (marketplace, _) in BOTH {
        for fault in DONE {
            let mut stage = two_of_which_one(marketplace, fault).await;
            let told = stage.story.clone();
            assert_eq!((stage.in_doubt(), stage.gpus_standing("train", Standing::InDoubt)), (1, 1), "{told}");
            let series = format!("spotscale_in_doubt_deploys{{marketplace=\"{marketplace}\"}}");
            assert_eq!(stage.metric(&series), 1.0, "{told}");
            stage.tick().await;
            assert_eq!((stage.in_doubt(), stage.blocked("train").len()), (0, 0), "{told}");
            stage.pass(Duration::from_secs(360)).await;
            assert_eq!((stage.made(), stage.deleted()), (2, 0), "{told}");
            is_well(&stage);
        }
    }
}

#[tokio::test]
async fn a_deploy_that_was_not_made_is_given_up_after_the_settle_grace_and_no_sooner() {
    for (marketplace, _) in BOTH {
        for fault in NOT_DONE {
            let mut stage = two_of_which_one(marketplace, fault).await;
            let began = stage.status().at.unwrap();
            let told = stage.story.clone();
            assert_eq!((stage.in_doubt(), stage.made()), (1, 1), "{told}");
            let status = stage.ticks_until(20, "its slot is filled", |stage| stage.made() > 1).await;
            let waited = time::elapsed(began, status.at.unwrap());
            assert!((Duration::from_secs(300)..Duration::from_secs(370)).contains(&waited), "{told}: {waited:?}");
            stage.ticks(5).await;
            assert_eq!((stage.made(), stage.deleted()), (2, 0), "{told}");
            is_well(&stage);
        }
    }
}

#[tokio::test]
async fn one_that_is_answered_and_listed_late_is_asked_for_by_id_or_given_up_and_reaped() {
    for (marketplace, vendor) in BOTH {
        for seconds in [60, 240, 900] {
            let mut stage = two_of_which_one(marketplace, Fault::LateVm(Duration::from_secs(seconds))).await;
            stage.pass(Duration::from_secs(seconds + 240)).await;
            // Where it can be asked for by id it is there, however late the list.
            let is_reaped = vendor == Vendor::Vectordash && seconds > 300;
            let expected = if is_reaped { (3, 1, 1.0) } else { (2, 0, 0.0) };
            let late = stage.metric("spotscale_late_instances_total");
            assert_eq!((stage.made(), stage.deleted(), late), expected, "{}: {}", stage.story, stage.told());
            is_well(&stage);
        }
    }
}

#[tokio::test]
async fn one_that_is_neither_answered_nor_listed_for_long_is_reaped_when_it_shows_up() {
    for (marketplace, vendor) in BOTH {
        let mut stage = two_of_which_one(marketplace, Fault::LostAnswer).await;
        let first = stage.members("train").into_iter().find(|member| member.id.is_none()).unwrap().name;
        let hidden = stage.alive("train").into_iter().find(|vm| vm.name == first).unwrap();
        let until = time::after(stage.clock.now(), Duration::from_secs(1_200));
        stage.market().conceal(vendor, hidden.id.clone(), until);
        stage.pass(Duration::from_secs(1_140)).await;
        assert_eq!((stage.made(), stage.deleted(), stage.in_doubt()), (3, 0, 0), "{}: given up", stage.story);
        stage.pass(Duration::from_secs(180)).await;
        assert_eq!((stage.made(), stage.deleted()), (3, 1), "{}: reaped", stage.story);
        assert_eq!(stage.metric("spotscale_late_instances_total"), 1.0);
        is_well(&stage);
    }
}

/// The marketplace made two of it: the second one stands where there is room.
fn double(stage: &mut Stage, vendor: Vendor, vm: &Vm) {
    let (hostnode, gpu_model) = match vendor {
        Vendor::Tensordock => (tensordock("rtxa4000-pcie-16gb", 1, 1).id, "rtxa4000-pcie-16gb".parse().unwrap()),
        Vendor::Vectordash | Vendor::Trace => (vm.hostnode.clone(), vm.shape.gpu_model.clone()),
    };
    let order = WorldOrder {
        name: vm.name.clone(),
        hostnode,
        shape: Shape { gpu_model, ..vm.shape.clone() },
        price_type: PriceType::OnDemand,
        bid: None,
        image: vm.image.clone(),
        ports: [].into(),
        rule: vm.rule,
    };
    let made = stage.market().world_of(vendor).deploy_foreign(order).unwrap();
    stage.watch.operators_own.insert(made);
}

#[tokio::test]
async fn of_two_vms_that_came_of_one_deploy_one_is_ours_and_the_other_goes() {
    for (marketplace, vendor) in BOTH {
        let mut stage = two_of_which_one(marketplace, Fault::LostAnswer).await;
        let in_doubt = stage.members("train").into_iter().find(|member| member.id.is_none()).unwrap().name;
        let vm = stage.alive("train").into_iter().find(|vm| vm.name == in_doubt).unwrap();
        double(&mut stage, vendor, &vm);
        stage.ticks(6).await;
        let of_the_name: Vec<Vm> = stage.vms().into_iter().filter(|other| other.name == vm.name).collect();
        let left: Vec<_> = of_the_name.iter().filter(|vm| vm.ended.is_none()).map(|vm| Some(vm.id.clone())).collect();
        let member = stage.members("train").into_iter().find(|member| member.name == in_doubt).unwrap();
        assert_eq!((of_the_name.len(), left), (2, vec![member.id]), "{}: {}", stage.story, stage.told());
        assert_eq!((stage.ended(Ended::Deleted), stage.gpus_alive("train")), (1, 2), "{}", stage.story);
        assert_eq!(stage.metric("spotscale_late_instances_total"), 1.0, "{}", stage.story);
        let ours = of_the_name.iter().filter(|vm| vm.origin == Origin::Api).count();
        assert_eq!((ours, stage.in_doubt()), (1, 0), "{}", stage.story);
    }
}
