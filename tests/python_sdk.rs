//! The public Python SDK of TensorDock v0, which knows nothing of us, works against the simulated marketplace, and our
//! table of what it can do is whole.

mod python;

use serde_json::json;
use spotscale::sim::Ended;
use std::{fs, path::Path};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_the_public_python_sdk_that_v0_supports_works() {
    let (told, market) = python::driven_by("python_sdk/drive.py").await;
    let market = market.lock().unwrap();
    let truth = market.world.truth();
    let servers: Vec<&str> = truth.vms.iter().map(|vm| vm.id.as_str()).collect();
    assert_eq!(told["servers"], json!(servers));
    assert!(truth.vms.iter().all(|vm| vm.ended.is_some_and(|(_, why)| why == Ended::Deleted)));
    assert_eq!(truth.doubled(), []);
    assert_eq!(told["balance"], json!(truth.balance.to_f64()));
    assert_eq!(told["requests"].as_u64(), Some(market.handled().values().sum()));
    let free = told["free_gpus"].as_u64().unwrap();
    assert!((60..=150).contains(&free), "{free} free GPUs are listed");
    assert_eq!(market.world.impossible(), Vec::<String>::new());
    // Whatever the published package can do stands in our table, and nothing else is said of it.
    assert_eq!(told["methods"], json!(table()));
}

/// The SDK's methods in the table of the docs of `market::tensordock_v0::sdk`, which has tests of its own beside it.
fn table() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/market/tensordock_v0/sdk.rs");
    let docs = fs::read_to_string(path).expect("the sources are here");
    let cells = docs.lines().filter_map(|line| line.strip_prefix("//! | `")?.split('`').next());
    cells.map(str::to_owned).collect()
}
