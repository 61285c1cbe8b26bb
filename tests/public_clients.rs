//! Clients of TensorDock's APIs which others published, each pointed at the simulated marketplace and otherwise unchanged:
//! they list, rent, stop, start and delete by their own code, and the world is asked afterwards what came of it.

mod python;

use serde_json::{Value, json};
use spotscale::sim::{Ended, Market};

/// Whatever a client did: no slot was rented twice, all its VMs are deleted, and the world is still possible.
#[track_caller]
fn left_clean(market: &Market) {
    let truth = market.world.truth();
    assert!(!truth.vms.is_empty());
    assert!(truth.vms.iter().all(|vm| vm.ended.is_some_and(|(_, why)| why == Ended::Deleted)), "{:?}", truth.vms);
    assert_eq!(truth.doubled(), []);
    assert_eq!(market.world.impossible(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_of_another_wrapper_of_v0_works() {
    let (told, market) = python::driven_by("public_clients/v0_pytensordock.py").await;
    let market = market.lock().unwrap();
    left_clean(&market);
    let truth = market.world.truth();
    let servers: Vec<&str> = truth.vms.iter().map(|vm| vm.id.as_str()).collect();
    assert_eq!(told["servers"], json!(servers));
    assert_eq!(told["balance"], json!(truth.balance.to_f64()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orchestrator_finds_machines_of_v0_and_rents_what_it_found() {
    let (told, market) = python::driven_by("public_clients/v0_dstack.py").await;
    let market = market.lock().unwrap();
    left_clean(&market);
    let truth = market.world.truth();
    let rented: Vec<Value> = truth
        .vms
        .iter()
        .map(|vm| json!({"server": vm.id.as_str(), "name": vm.name.as_str(), "hostnode": vm.hostnode.as_str(), "gpus": vm.shape.gpus}))
        .collect();
    assert_eq!(told["rented"], json!(rented));
    let free = told["free_gpus"].as_u64().unwrap();
    assert!((60..=150).contains(&free), "{free} free GPUs are in the catalogue");
}
