//! Clients of TensorDock's APIs which others published, each pointed at the simulated marketplace and otherwise unchanged:
//! they list, rent, stop, start and delete by their own code, and the world is asked afterwards what came of it.

mod python;

use serde_json::{Value, json};
use spotscale::{
    model::Usd,
    sim::{Ended, Market},
};

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
    let rented = truth.vms.iter().map(|vm| {
        let (server, name, hostnode) = (vm.id.as_str(), vm.name.as_str(), vm.hostnode.as_str());
        json!({"server": server, "name": name, "hostnode": hostnode, "gpus": vm.shape.gpus})
    });
    let rented: Vec<Value> = rented.collect();
    assert_eq!(told["rented"], json!(rented));
    let free = told["free_gpus"].as_u64().unwrap();
    assert!((60..=150).contains(&free), "{free} free GPUs are in the catalogue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orchestrator_rents_on_v2_and_v0_sees_and_pays_the_same_vm() {
    let (told, market) = python::driven_by("public_clients/v2_terradev.py").await;
    let market = market.lock().unwrap();
    left_clean(&market);
    let truth = market.world.truth();
    let [vm] = truth.vms.as_slice() else { panic!("{:?}", truth.vms) };
    assert_eq!((told["server"].as_str(), told["name"].as_str()), (Some(vm.id.as_str()), Some(vm.name.as_str())));
    assert_eq!((vm.shape.gpu_model.as_str(), vm.shape.gpus), ("geforcertx4090-pcie-24gb", 1));
    assert_eq!(told["balance"], json!(truth.balance.to_f64()));
    assert!(truth.spent > Usd::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_the_shapes_of_clients_of_v2_that_cannot_be_installed_are_understood() {
    let (told, market) = python::driven_by("public_clients/v2_shapes.py").await;
    let market = market.lock().unwrap();
    left_clean(&market);
    let truth = market.world.truth();
    let servers: Vec<&str> = truth.vms.iter().map(|vm| vm.id.as_str()).collect();
    assert_eq!(told["servers"], json!(servers));
    let free = told["free_gpus"].as_u64().unwrap();
    assert!((60..=150).contains(&free), "{free} free GPUs are listed");
}
