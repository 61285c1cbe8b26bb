//! The simulated marketplace, and programs in Python that drive it through clients which others wrote.
//!
//! Dialect and fake are written in one house and could agree on a mistake; these clients were written elsewhere and know
//! nothing of us. Their code stays as it was published: a driver script sets what each lets be set from outside (the base
//! URL, mostly), calls it, holds its answers against what the documents promise, and prints what it saw as one JSON
//! document, which the test then holds against the world's own truth. The interpreter is the one named in
//! `SPOTSCALE_TEST_PYTHON`, else that of `target/python`, which `install.py` makes where it does not exist.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use serde_json::Value;
use spotscale::{
    io::{Awaited, clock::Clock},
    model::{Timestamp, time},
    sim::{Faults, Market, Temper, World, WorldOptions, serve::serve},
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

/// What the market takes as credentials.
const KEY: &str = "a-key";
/// Of v2 this is all.
const TOKEN: &str = "a-token";

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

/// An interpreter that has the clients.
fn interpreter(tests: &Path) -> PathBuf {
    chosen().unwrap_or_else(|| {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = scratch.parent().expect("cargo's temporary folder is inside target").join("python");
        let output = run(Command::new("python3").arg(tests.join("python/install.py")).arg(folder));
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    })
}

/// A market on a real socket, with a hundred dollars in the wallet and nothing that goes wrong, driven by a script of
/// `tests/`: what it printed, and the market afterwards.
///
/// The script gets the market's URL, key and token, and the seconds that each request takes; its home is an empty folder.
pub async fn driven_by(script: &'static str) -> (Value, Arc<Mutex<Market>>) {
    let clock: Arc<dyn Clock> = Arc::new(Looked::default());
    let options = WorldOptions { temper: Temper::Still, ..WorldOptions::lifelike("100".parse().unwrap()) };
    let world = World::new(1, clock.now(), options);
    let market = Arc::new(Mutex::new(Market::of_all_dialects(world, Faults::none(), Some(KEY), Some(TOKEN))));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(serve(listener, Arc::clone(&market), clock, shutdown.clone()));

    let output = tokio::task::spawn_blocking(move || {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("home").join(script);
        if home.exists() {
            std::fs::remove_dir_all(&home).unwrap();
        }
        std::fs::create_dir_all(&home).unwrap();
        let mut command = Command::new(interpreter(&tests));
        // Nothing is written beside the scripts.
        command.arg("-B").arg(tests.join(script)).args([&base_url, KEY, TOKEN]);
        // Loopback is reached without any proxy of the surroundings.
        run(command.arg(SECONDS_PER_REQUEST.to_string()).env("HOME", &home).env("NO_PROXY", "*"))
    });
    let output = output.await.unwrap();
    shutdown.cancel();
    served.await.unwrap();
    (serde_json::from_slice(&output.stdout).unwrap(), market)
}
