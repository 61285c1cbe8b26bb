//! What a rehearsal is of: a seed, a weather, a time, and the policies that are to live through it.
//!
//! A [`Plot`] is all that a run depends on. From its seed grow the market, how it lies and what its operator
//! does ([`Knobs`]), and what befalls the daemon's machine ([`Turns`]); each from a stream of its own, so that what is added later changes nothing
//! that was written down before.

use super::{
    catalogue::{self, Machine},
    clock::VirtualClock,
    faults::Severity,
    host::Temper,
    knobs::Knobs,
    marketplace::Market,
    props::{self, PORTS_FEW},
    seed::{Dice, Seed},
    stage::{self, Scenery, Stage},
    world::{World, WorldOptions},
};
use crate::{
    engine::Role,
    model::{HourlyRate, Timestamp, Usd},
    policy::{self, Source},
};
use std::{collections::BTreeMap, fmt, time::Duration};

/// When every rehearsal begins: an evening before the end of a month, so that days and a month turn soon.
const OPENING: Timestamp = Timestamp::constant(1_795_978_800, 0);
/// TensorDock's machines, at least and at most: of the catalogue's first ones.
const MACHINES: (u64, u64) = (10, 20);
/// What each account holds at first, in USD: at least and at most. The most of it lasts for days, the least for hours.
const BALANCE_USD: (u64, u64) = (120, 900);

/// Between two looks, in seconds; the default is the likeliest. The graces and windows of the settings stay: the longer the
/// interval, the fewer looks they hold.
const SCANS_S: [u64; 8] = [10, 30, 30, 30, 60, 120, 300, 600];

/// Per hour over all fleets, as the settings say at first.
pub(super) const RATE_MAX: HourlyRate = HourlyRate::from_micros(12_000_000);
/// What each account keeps, likewise.
pub(super) const FLOOR: Usd = Usd::from_micros(25_000_000);
/// What comes before the limits in the settings.
const HEAD: &str = "policies = \"/policies\"\n";
/// And after them, before the marketplaces.
const KEY: &str = r#"[defaults.instance]
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIaXnsdHVQJ8sp4Vj2p0Y3z9cQ0nXkzYXn2Qz6m0N6Y rehearsal"
"#;

/// Three marketplaces of two vendors, at a pace that costs nothing.
fn settings(scan_interval: Duration) -> String {
    settings_with(scan_interval, RATE_MAX, FLOOR)
}

/// Likewise, with other limits over all fleets: USD per hour, and USD that each account keeps.
pub(super) fn settings_with(scan_interval: Duration, max_hourly_rate: HourlyRate, balance_floor: Usd) -> String {
    let scan = scan_interval.as_secs();
    let limits = format!(
        "{HEAD}scan_interval = \"{scan}s\"\n[limits]\nmax_hourly_rate = {max_hourly_rate}\nbalance_floor = {balance_floor}\n{KEY}"
    );
    let other_api = "account = \"tensordock\"\nrequests_per_second = 100\n";
    let unreadable = props::unreadable("vectordash", "20.00");
    [&limits, props::TENSORDOCK, props::DOCK_V2, other_api, props::VECTORDASH, &unreadable].concat()
}

/// Fleets of three kinds: all on spot, spot with something to fall back on, and on demand wherever it is cheapest.
const POLICIES: [(&str, &str); 3] = [
    (
        "train",
        r#"fleet = "train"
target_gpus = 6
max_hourly_rate = 5.00
balance_floor = 50.00
marketplaces = ["tensordock"]
models = ["v100-sxm3-32gb", "geforcertx4090-pcie-24gb", "rtxa6000-pcie-48gb", "a100-pcie-80gb", "l40-pcie-48gb",
    "geforcertx3090-pcie-24gb", "rtxa4000-pcie-16gb", "v100-pcie-16gb", "v100-sxm2-16gb"]
[instance]
gpus = { min = 1, max = 4 }
[hosts]
max_share_per_location = 0.75
"#,
    ),
    (
        "serve",
        r#"fleet = "serve"
target_gpus = 3
max_hourly_rate = 4.00
balance_floor = 60.00
priority = 200
preference = "value"
marketplaces = ["tensordock", "dock-v2"]
models = ["geforcertx4090-pcie-24gb", "rtxa6000-pcie-48gb", "geforcertx3090-pcie-24gb", "l40s-pcie-48gb",
    "rtx6000ada-pcie-48gb", "rtxa4000-pcie-16gb", "v100-pcie-16gb"]
[instance]
gpus = { min = 1, max = 2 }
[hosts]
countries = ["Canada", "Poland", "United States"]
max_gpus_per_hostnode = 2
[on_demand]
use = "fallback"
after = "2m"
base_gpus = 1
max_gpus = 2
"#,
    ),
    (
        "batch",
        r#"fleet = "batch"
target_gpus = 4
max_hourly_rate = 3.00
balance_floor = 30.00
preference = "value"
models = ["v100-pcie-16gb", "rtxa4000-pcie-16gb", "geforcegtx1070-pcie-8gb", "geforcegtx1080-pcie-8gb"]
[instance]
gpus = { min = 1, max = 1 }
[on_demand]
use = "always"
"#,
    ),
];

/// All that a rehearsal depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plot {
    /// What everything is drawn from.
    pub seed: Seed,
    /// How much the market lies, and how often fortune turns.
    pub severity: Severity,
    /// How long it goes on, in virtual time, before it is let come right.
    pub lasting: Duration,
    /// Names of policy files, without `.toml`, and their texts.
    pub policies: Vec<(String, String)>,
    /// Files that the policies name, by the path as written there.
    pub attachments: BTreeMap<String, String>,
}

impl Plot {
    /// With the built-in policies.
    pub fn new(seed: u64, severity: Severity, lasting: Duration) -> Self {
        let policies = POLICIES.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        Self { seed: Seed(seed), severity, lasting, policies, attachments: BTreeMap::new() }
    }

    /// With one policy of somebody's own instead.
    ///
    /// # Errors
    /// Every fault of it, a line each.
    pub fn of_policy(self, source: &Source) -> Result<Self, Vec<String>> {
        let settings = stage::settings(&settings(self.scan_interval())).map_err(|fault| vec![fault])?;
        let checked = policy::check(source, &settings.policy_context());
        match checked.policy {
            Some(policy) if checked.faults.is_empty() => {
                let policies = vec![(policy.fleet.to_string(), source.text.clone())];
                Ok(Self { policies, attachments: source.attachments.clone(), ..self })
            }
            Some(_) | None => Err(checked.faults.iter().map(ToString::to_string).collect()),
        }
    }

    /// How much the market lies.
    pub fn knobs(&self) -> Knobs {
        Knobs::drawn(self.seed, self.severity)
    }

    /// What befalls the machine and its doors.
    pub fn turns(&self) -> Turns {
        Turns::drawn(self.seed, self.severity)
    }

    /// Between two looks.
    pub fn scan_interval(&self) -> Duration {
        let mut dice = self.seed.dice("plot/scan");
        let drawn = usize::try_from(dice.between(0, SCANS_S.len() as u64 - 1)).ok().and_then(|at| SCANS_S.get(at));
        Duration::from_secs(drawn.copied().unwrap_or(30))
    }

    /// All that is drawn as a number, by name: what is printed before a run.
    pub fn pairs(&self) -> Vec<(&'static str, u64)> {
        let scan = ("scan_interval_s", self.scan_interval().as_secs());
        [scan].into_iter().chain(self.knobs().pairs()).chain(self.turns().pairs()).collect()
    }

    fn temper(&self) -> Temper {
        match self.severity {
            Severity::None | Severity::Mild => Temper::Lifelike,
            Severity::Hostile => Temper::Wild,
        }
    }

    /// The market as it is drawn.
    fn market(&self) -> Market {
        let mut dice = self.seed.dice("plot/market");
        let machines = usize::try_from(dice.between(MACHINES.0, MACHINES.1)).unwrap_or(usize::MAX);
        let balance = i64::try_from(dice.between(BALANCE_USD.0, BALANCE_USD.1)).unwrap_or(i64::MAX);
        let balance = Usd::from_micros(balance.saturating_mul(1_000_000));
        let options = WorldOptions { temper: self.temper(), ..WorldOptions::lifelike(balance) };
        let world = |machines: Vec<Machine>| {
            let machines: Vec<Machine> = machines.into_iter().map(|machine| machine.with_ports(PORTS_FEW)).collect();
            World::with_machines(self.seed.0, OPENING, options.clone(), &machines)
        };
        let world_of_ours = world(catalogue::of_size(machines));
        let mut market = props::honest(world_of_ours);
        for (vendor, elsewhere) in &mut market.elsewhere {
            *elsewhere = world(catalogue::machines_of(*vendor));
        }
        market.lie(self.seed, &self.knobs());
        market
    }

    /// The stage, set for it.
    ///
    /// # Errors
    /// When the settings do not hold together.
    pub(super) async fn stage(&self) -> Result<Stage, String> {
        let policies: Vec<(&str, &str)> =
            self.policies.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let mut stage = Stage::new(Scenery {
            clock: VirtualClock::patient(OPENING),
            market: self.market(),
            elsewhere: BTreeMap::new(),
            settings: &settings(self.scan_interval()),
            role: Role::AsConfigured,
            policies: &policies,
            seed: self.seed,
        })
        .await?;
        for (path, text) in &self.attachments {
            stage.folder().attach(path, text);
        }
        stage.watch.balance_lag = Duration::from_secs(self.knobs().balance_lag_s);
        Ok(stage)
    }
}

macro_rules! turns {
    ($($(#[$meta:meta])* $name:ident: $mild:literal $hostile:literal,)+) => {
        /// What befalls the daemon's machine, its doors and its owner's purse: `_ppm` in a million of ticks, `_s` of time.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Turns { $($(#[$meta])* pub $name: u64,)+ }

        impl Turns {
            /// What a seed makes of a weather: each from its own dice.
            pub fn drawn(seed: Seed, severity: Severity) -> Self {
                Self { $($name: drawn(&mut seed.dice(concat!("turns/", stringify!($name))), severity, $mild, $hostile),)+ }
            }

            /// Every one by its name.
            pub fn pairs(&self) -> Vec<(&'static str, u64)> {
                let Self { $($name,)+ } = *self;
                vec![$((stringify!($name), $name),)+]
            }
        }
    };
}

turns! {
    /// The process is killed between two ticks.
    killed_ppm: 2_000 60_000,
    /// The power goes at some append or request.
    power_cut_ppm: 2_000 80_000,
    /// How long the machine then stays down.
    down_s_max: 120 3_600,
    /// An append finds the disk full.
    disk_full_ppm: 1_000 20_000,
    /// The wall clock steps, drifts, or is set right.
    wall_ppm: 1_000 20_000,
    /// How far it steps.
    wall_step_s_max: 60 90_000,
    /// How fast it drifts, in millionths.
    wall_drift_max: 200 20_000,
    /// A marketplace's door hangs or fails for a while.
    door_ppm: 1_000 20_000,
    /// How long.
    door_s_max: 300 3_600,
    /// The operator edits `[limits]`, for a while.
    limits_ppm: 1_000 10_000,
    /// The operator, who finds an account nearly empty, pays in.
    payment_ppm: 4_000 4_000,
}

fn drawn(dice: &mut Dice, severity: Severity, mild: u64, hostile: u64) -> u64 {
    let is_left_out = dice.chance_ppm(200_000);
    match severity {
        Severity::None => 0,
        Severity::Mild => dice.between(1, mild),
        Severity::Hostile if is_left_out => 0,
        Severity::Hostile => dice.between(1, hostile),
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.pairs().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        f.write_str(&words.join(" "))
    }
}
