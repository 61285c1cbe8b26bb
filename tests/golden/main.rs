//! The main job on real input: the documents that vendors and clients recorded flow through the dialect, the client, the
//! scores and a plan, and what comes out is compared, line by line, with the files beside this one.
//!
//! Each scene is a handful of recorded answers (`src/market/tensordock_v0/fixtures`, each with its source), the policies
//! that are held against them, and one or two looks of a whole engine in virtual time. Its golden file begins with the
//! policies and tells then what was asked, what was seen, every offer in its order with the parts of its score, what was
//! turned down, and what is to be done: all that is needed to check it with a pencil.
//!
//! Where a golden file differs, the difference is shown and nothing is written. `SPOTSCALE_BLESS=1 cargo test --test golden`
//! writes them as they are now; read `git diff` before you commit that.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod desk;
mod telling;

use desk::{Desk, Papers, S1};
use spotscale::{
    engine::{Cause, Engine, Parts, Role, TICK_TIME_MAX},
    io::{
        clock::Clock,
        entropy::Entropy,
        files::Files,
        store::{MemoryStore, Store},
    },
    ledger::Journal,
    market::{
        self,
        client::{Client, Unobserved},
    },
    metrics::Metrics,
    settings,
    sim::clock::VirtualClock,
};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The settings of all scenes; the pace leaves no trace in virtual time but in the age of quotes.
const SETTINGS: &str = r#"
policies = "/policies"

[limits]
max_hourly_rate = 8.00
balance_floor   = 10.00

[marketplaces.tensordock]
api                 = "tensordock-v0"
key                 = { env = "KEY" }
token               = { env = "TOKEN" }
requests_per_second = 10
"#;

struct Scene {
    name: &'static str,
    about: &'static str,
    papers: Papers,
    /// Looks, one scan interval apart.
    looks: usize,
    role: Role,
    policies: &'static [&'static str],
}

/// The policies of a scene as files.
struct Folder(&'static [&'static str]);

fn file(at: usize) -> PathBuf {
    PathBuf::from(format!("/policies/{at}.toml"))
}

impl Files for Folder {
    fn read(&self, path: &Path) -> Result<String, String> {
        let found = (0..self.0.len()).find(|&at| file(at) == path);
        found.map(|at| self.0[at].to_owned()).ok_or_else(|| format!("no file {}", path.display()))
    }

    fn policies(&self, _: &Path) -> Result<Vec<PathBuf>, String> {
        Ok((0..self.0.len()).map(file).collect())
    }
}

/// Always the same: names are in the golden files.
struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

async fn play(scene: &Scene) -> String {
    let Scene { name, about, papers, looks, role, policies } = scene;
    let environment = [("KEY", "k"), ("TOKEN", "t")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut nothing = |path: &Path| Err(format!("no file {}", path.display()));
    let checked = settings::check(Path::new("/spotscale.toml"), SETTINGS, &environment, &mut nothing);
    let settings = checked.complete().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::at("2026-11-20T12:00:00Z".parse().unwrap()));
    let desk = Desk::new(*papers);
    let entropy: Arc<dyn Entropy> = Arc::new(Fixed);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let (ticking, asked, again) = (Arc::clone(&clock), Arc::clone(&desk), settings.clone());
    let (mut engine, _events, handle) = Engine::new(Parts {
        settings: settings.clone(),
        role: *role,
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
        files: Arc::new(Folder(policies)),
        metrics: Arc::new(Metrics::new("test", clock.now())),
        book: Journal::open(store, clock.now(), &*entropy, &settings.instance_prefix).unwrap(),
        reread: Box::new(move || Ok(again.clone())),
        connect: Box::new(move |settings| {
            let client = |(name, market): (&_, &settings::MarketplaceSettings)| {
                let dialect = market::dialect(market.api, market.key.clone(), market.token.clone());
                let pace = market.requests_per_second_milli;
                let name: &spotscale::model::MarketplaceName = name;
                let (net, clock) = (Arc::clone(&asked) as _, Arc::clone(&ticking));
                let client = Client::new(name.clone(), dialect, net, clock, pace, Arc::new(Unobserved));
                (name.clone(), (market.account.clone(), Arc::new(client)))
            };
            settings.marketplaces.iter().map(client).collect()
        }),
        recorder: None,
        tick_time_max: TICK_TIME_MAX,
    })
    .await;
    let mut text = format!("{name}: {about}\n");
    for policy in *policies {
        write!(text, "\n{}\n", policy.trim()).unwrap();
    }
    for look in 1..=*looks {
        // A task's turn ends after so many awaits, which in virtual time would look like waiting.
        tokio::task::unconstrained(engine.tick(Cause::Schedule)).await;
        write!(text, "\n---- look {look}: asked\n").unwrap();
        for line in desk.asked.lock().unwrap().drain(..) {
            writeln!(text, "{line}").unwrap();
        }
        write!(text, "\n---- look {look}: seen and planned\n{}", telling::tell(&handle.status())).unwrap();
        clock.sleep(settings.scan_interval).await;
    }
    text
}

#[expect(clippy::disallowed_methods, reason = "whoever runs this test says whether the golden files are rewritten")]
fn blesses() -> bool {
    std::env::var_os("SPOTSCALE_BLESS").is_some_and(|said| !said.is_empty())
}

/// Lines that only one of two texts has, in their order.
fn difference(golden: &str, now: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (golden.lines().collect(), now.lines().collect());
    // The longest common subsequence, from the end.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (at, line) in old.iter().enumerate().rev() {
        for (there, other) in new.iter().enumerate().rev() {
            common[at][there] = if line == other {
                common[at + 1][there + 1] + 1
            } else {
                common[at + 1][there].max(common[at][there + 1])
            };
        }
    }
    let (mut at, mut there, mut told) = (0, 0, String::new());
    while at < old.len() || there < new.len() {
        if at < old.len() && there < new.len() && old[at] == new[there] {
            (at, there) = (at + 1, there + 1);
        } else if there == new.len() || (at < old.len() && common[at + 1][there] >= common[at][there + 1]) {
            writeln!(told, "- {}", old[at]).unwrap();
            at += 1;
        } else {
            writeln!(told, "+ {}", new[there]).unwrap();
            there += 1;
        }
    }
    told
}

async fn check(scene: Scene) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{}.txt", scene.name));
    let now = play(&scene).await;
    assert_eq!(now, play(&scene).await, "equal worlds give equal plans");
    if blesses() {
        std::fs::write(&path, &now).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == now,
        "{} differs (- as it stands there, + as it is now):\n{}",
        path.display(),
        difference(&golden, &now)
    );
}

#[test]
fn a_difference_shows_what_one_text_has_and_the_other_has_not() {
    assert_eq!(difference("a\nb\nc\n", "a\nx\nc\nd\n"), "- b\n+ x\n+ d\n");
    assert_eq!(difference("a\n", "a\n"), "");
    assert_eq!(difference("", "a\n"), "+ a\n");
}

#[tokio::test]
async fn the_vendors_own_example_is_rented_by_bid_the_first_model_first() {
    check(Scene {
        name: "spot",
        about: "S1's hostnodes, VMs and balance; each machine accepts bids from an assumed price on",
        papers: Papers { accepts_from: &[("02c65d45", "0.110"), ("e817be06", "0.20")], ..S1 },
        looks: 1,
        role: Role::LookOnly,
        policies: &[r#"
fleet           = "train"
target_gpus     = 3
max_hourly_rate = 2.00
balance_floor   = 50.00
models = [
    { name = "geforcertx4090-pcie-24gb", max_price = 0.60 },
    { name = "geforcertx3080-pcie-10gb", max_price = 0.25 },
]
[instance]
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example"
[spot]
bid = "market"
"#],
    })
    .await;
}

#[tokio::test]
async fn two_fleets_share_two_machines_by_priority_caps_and_worth() {
    check(Scene {
        name: "fallback",
        about: "S1's documents where no bid is accepted: on demand, each machine once, by priority, cap and worth",
        papers: S1,
        looks: 1,
        role: Role::LookOnly,
        policies: &[
            r#"
fleet           = "serve"
target_gpus     = 2
max_hourly_rate = 1.00
balance_floor   = 50.00
priority        = 50
preference      = "value"
models = [
    { name = "geforcertx4090-pcie-24gb", max_price = 0.60, worth = 2.0 },
    { name = "geforcertx3080-pcie-10gb", max_price = 0.25, worth = 1.0 },
]
[instance]
storage_gb = 200
ports      = [22, 8000, 8001]
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example"
[on_demand]
use   = "fallback"
after = "0s"
"#,
            r#"
fleet           = "urgent"
target_gpus     = 1
max_hourly_rate = 1.00
balance_floor   = 50.00
priority        = 200
models = [
    { name = "geforcertx4090-pcie-24gb", max_price = 0.448 },
    { name = "geforcertx3080-pcie-10gb", max_price = 0.199 },
]
[instance]
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example"
[on_demand]
use = "always"
"#,
        ],
    })
    .await;
}

#[tokio::test]
async fn money_that_must_stay_keeps_fleets_from_starting() {
    check(Scene {
        name: "money",
        about: "S1's documents and three ways in which money is short: a floor, a runway, and the fleet's own limit",
        papers: Papers { accepts_from: &[("02c65d45", "0.08"), ("e817be06", "0.20")], ..S1 },
        looks: 1,
        role: Role::LookOnly,
        policies: &[
            r#"
fleet           = "a-floor"
target_gpus     = 1
max_hourly_rate = 2.00
balance_floor   = 999.987
models = [{ name = "geforcertx3080-pcie-10gb", max_price = 0.25 }]
[instance]
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example"
"#,
            r#"
fleet           = "b-runway"
target_gpus     = 1
max_hourly_rate = 2.00
balance_floor   = 50.00
min_runway      = "45d"
models = [{ name = "geforcertx3080-pcie-10gb", max_price = 0.25 }]
[instance]
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example"
"#,
            r#"
fleet           = "c-limit"
target_gpus     = 1
max_hourly_rate = 0.15
balance_floor   = 50.00
models = [{ name = "geforcertx4090-pcie-24gb", max_price = 0.60 }]
[instance]
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example"
"#,
        ],
    })
    .await;
}

#[tokio::test]
async fn the_one_recorded_bid_is_found_between_what_fails_and_what_passes() {
    check(Scene {
        name: "bids",
        about: "recorded machines; S1's data point: 2 V100, 8 vCPU, 8 GB, 200 GB fail at 0.20 and pass at 0.25",
        papers: Papers { hostnodes: "facts_hostnodes.json", accepts_from: &[("8db2ec46", "0.125")], ..S1 },
        looks: 1,
        role: Role::LookOnly,
        policies: &[r#"
fleet           = "train"
target_gpus     = 4
max_hourly_rate = 2.00
balance_floor   = 50.00
models = [{ name = "v100-pcie-16gb", max_price = 0.30 }]
[instance]
gpus           = { min = 2, max = 2 }
ram_gb_per_gpu = 4
storage_gb     = 200
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example"
[spot]
bid      = "market"
asks_max = 9
"#],
    })
    .await;
}

#[tokio::test]
async fn recorded_machines_are_taken_in_sizes_that_fit_and_places_that_may() {
    check(Scene {
        name: "machines",
        about: "recorded machines, on demand: sizes, terms rounded to a thousandth, places, and what is turned down",
        papers: Papers { hostnodes: "facts_hostnodes.json", ..S1 },
        looks: 1,
        role: Role::LookOnly,
        policies: &[r#"
fleet           = "batch"
target_gpus     = 6
max_hourly_rate = 7.00
balance_floor   = 50.00
preference      = "value"
models = [
    { name = "l40-pcie-48gb", max_price = 1.10, worth = 2.4 },
    { name = "geforcertx4090-pcie-24gb", max_price = 0.60, worth = 1.0 },
    { name = "v100-pcie-16gb", max_price = 0.60, worth = 0.4 },
]
[instance]
gpus       = { min = 1, max = 4 }
storage_gb = 90
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example"
[hosts]
min_uptime            = 0.99
countries             = ["united states", "Canada"]
max_gpus_per_hostnode = 4
[on_demand]
use = "always"
"#],
    })
    .await;
}

#[tokio::test]
async fn the_documented_deploy_costs_what_was_agreed_and_is_found_in_the_sdks_list() {
    check(Scene {
        name: "deploy",
        about: "S1's deploy, answered as documented, and seen in the SDK's list of VMs at the next look",
        papers: Papers { hostnodes: "facts_hostnodes.json", list_after_deploy: "sdk_list.json", ..S1 },
        looks: 2,
        role: Role::AsConfigured,
        policies: &[r#"
fleet           = "dev"
target_gpus     = 1
max_hourly_rate = 0.243
balance_floor   = 50.00
models = [{ name = "rtxa4000-pcie-16gb", max_price = 0.243 }]
[instance]
vcpus_per_gpu  = 8
ram_gb_per_gpu = 32
image          = "Ubuntu 20.04 LTS"
ports          = [80, 22]
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example"
[on_demand]
use = "always"
"#],
    })
    .await;
}

#[tokio::test]
async fn a_bill_above_the_agreed_rate_is_told_and_one_far_above_ends_the_vm() {
    check(Scene {
        name: "overbilled",
        about: "the documented VM at 0.238 + 0.005, billed 0.245, then 0.25, then 0.27: rounding, reported, deleted",
        papers: Papers {
            hostnodes: "facts_hostnodes.json",
            list_after_deploy: "sdk_list.json",
            costs: &["0.245", "0.25", "0.27"],
            ..S1
        },
        looks: 4,
        role: Role::AsConfigured,
        policies: &[r#"
fleet           = "dev"
target_gpus     = 1
max_hourly_rate = 0.40
balance_floor   = 50.00
models = [{ name = "rtxa4000-pcie-16gb", max_price = 0.30 }]
[instance]
vcpus_per_gpu  = 8
ram_gb_per_gpu = 32
ports          = [80, 22]
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example"
[on_demand]
use = "always"
"#],
    })
    .await;
}

#[tokio::test]
async fn a_third_partys_shapes_come_to_the_same_plan() {
    check(Scene {
        name: "shapes",
        about: "S2's shapes of the same market: prices apart, status a word, no uptime, will_succeed",
        papers: Papers {
            hostnodes: "openapi_hostnodes.json",
            list: "openapi_list.json",
            balance: "openapi_balance.json",
            refused: ("openapi_validate.json", 200),
            accepts_from: &[("02c65d45", "0.12")],
            ..S1
        },
        looks: 1,
        role: Role::LookOnly,
        policies: &[POLICY_3080],
    })
    .await;
}

#[tokio::test]
async fn a_list_that_is_not_understood_whole_rents_nothing() {
    check(Scene {
        name: "odd",
        about: "lists with items that nobody should believe: they are named, and nothing is rented on top of them",
        papers: Papers { hostnodes: "odd_hostnodes.json", list: "odd_list.json", ..S1 },
        looks: 1,
        role: Role::AsConfigured,
        policies: &[POLICY_3080],
    })
    .await;
}

const POLICY_3080: &str = r#"
fleet           = "small"
target_gpus     = 1
max_hourly_rate = 0.50
balance_floor   = 50.00
models = [{ name = "geforcertx3080-pcie-10gb", max_price = 0.30 }]
[instance]
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example"
"#;
