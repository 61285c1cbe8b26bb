//! The public Python SDK of TensorDock v0, which knows nothing of us, works against the simulated marketplace.
//!
//! Dialect and fake are written in one house and could agree on a mistake; this client was written elsewhere. Its base
//! URL is an attribute of its object, so that it can be pointed at loopback. The interpreter is the one named in
//! `SPOTSCALE_TEST_PYTHON`, else that of `target/python`, which is made where it does not exist.

use serde_json::Value;
use spotscale::{
    io::{Awaited, clock::Clock},
    model::{Timestamp, time},
    sim::{Ended, Faults, Market, Temper, World, WorldOptions, serve::serve},
};
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// So far each look at the clock moves it: one look for each request.
const SECONDS_PER_REQUEST: u32 = 120;

/// A clock that moves when it is looked at, so that amounts of money are exact and nothing waits.
#[derive(Default)]
struct Looked(AtomicU32);

impl Clock for Looked {
    fn now(&self) -> Timestamp {
        time::after(Timestamp::UNIX_EPOCH, self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(u64::from(self.0.fetch_add(SECONDS_PER_REQUEST, Ordering::Relaxed)))
    }

    fn sleep(&self, _: Duration) -> Awaited<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    output
}

#[expect(clippy::disallowed_methods, reason = "which Python to test with is the caller's choice")]
fn chosen() -> Option<PathBuf> {
    std::env::var_os("SPOTSCALE_TEST_PYTHON").map(PathBuf::from)
}

/// An interpreter that has the SDK.
fn python(here: &Path) -> PathBuf {
    if let Some(python) = chosen() {
        return python;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("cargo's temporary folder is inside target");
    let venv = target.join("python");
    let python = venv.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    }
    let ready = Command::new(&python).args(["-c", "import tensordock, requests"]).output();
    if !ready.is_ok_and(|output| output.status.success()) {
        let requirements = here.join("requirements.txt");
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements));
    }
    python
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_the_public_python_sdk_that_v0_supports_works() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_sdk");
    let clock: Arc<dyn Clock> = Arc::new(Looked::default());
    let options = WorldOptions { temper: Temper::Still, ..WorldOptions::lifelike("100".parse().unwrap()) };
    let world = World::new(1, clock.now(), options);
    let market = Market::of_all_dialects(world, Faults::none(), Some("a-key"), Some("a-token"));
    let market = Arc::new(Mutex::new(market));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(serve(listener, Arc::clone(&market), clock, shutdown.clone()));

    let output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(python(&here));
        command.arg(here.join("drive.py")).args([&base_url, "a-key", "a-token"]);
        // Loopback is reached without any proxy of the surroundings.
        run(command.arg(SECONDS_PER_REQUEST.to_string()).env("NO_PROXY", "*"))
    });
    let output = output.await.unwrap();
    shutdown.cancel();
    served.await.unwrap();

    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let market = market.lock().unwrap();
    let truth = market.world.truth();
    let servers: Vec<&str> = truth.vms.iter().map(|vm| vm.id.as_str()).collect();
    assert_eq!(told["servers"], serde_json::json!(servers));
    assert!(truth.vms.iter().all(|vm| vm.ended.is_some_and(|(_, why)| why == Ended::Deleted)));
    assert_eq!(truth.doubled(), []);
    assert_eq!(told["balance"], serde_json::json!(truth.balance.to_f64()));
    assert_eq!(told["requests"].as_u64(), Some(market.handled().values().sum()));
    let free = told["free_gpus"].as_u64().unwrap();
    assert!((60..=150).contains(&free), "{free} free GPUs are listed");
    assert_eq!(market.world.impossible(), Vec::<String>::new());
}
