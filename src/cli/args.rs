//! The command line, as types.
//!
//! What can be refused without looking at anything is refused here: a duration that is none, a fleet's name that cannot
//! be one, options that exclude each other. clap says so on stderr and exits with 2. Nothing here acts.

use crate::{
    admin,
    model::{FleetName, GpuModel, HostnodeId, MarketplaceName},
    sim::{Severity, trace::engine::Delivery},
};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Where the settings are read from when nobody says otherwise.
pub const CONFIG_DEFAULT: &str = "/etc/spotscale/spotscale.toml";
/// No fleet is larger than this, in a policy or here; a target beyond it is a slip of the finger.
const TARGET_GPUS_MAX: i64 = 10_000;

/// spotscale keeps fleets of rented GPU machines at their target, at the least cost the market allows.
#[derive(Debug, Parser)]
#[command(name = "spotscale", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done; 1 it failed; 2 usage, config or policy is wrong; \
                        3 with `plan --detailed-exitcode`: a change is planned.")]
pub struct Arguments {
    /// The settings file [default: $SPOTSCALE_CONFIG, or /etc/spotscale/spotscale.toml].
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How to reach a running daemon.
#[derive(Args, Clone, Debug)]
pub struct Reach {
    /// The running daemon, such as http://127.0.0.1:9746 [default: where the settings say that it listens].
    #[arg(long, value_name = "URL", value_parser = url)]
    pub url: Option<String>,
}

/// How to ask: the running daemon, or past it.
#[derive(Args, Clone, Debug)]
pub struct Asking {
    /// How to reach the daemon.
    #[command(flatten)]
    pub reach: Reach,
    /// Do not ask a daemon: read the state and ask the marketplaces.
    #[arg(long, conflicts_with = "url")]
    pub offline: bool,
    /// How long looking may take.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub within: Duration,
    /// One JSON document on stdout, nothing else there.
    #[arg(long)]
    pub json: bool,
}

/// Which part of the daemon a pause or resume is about.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("scope").required(true).args(["fleet", "marketplace", "all"])))]
pub struct ScopeArguments {
    /// One fleet.
    #[arg(value_name = "FLEET")]
    pub fleet: Option<FleetName>,
    /// Renting on one marketplace.
    #[arg(long, value_name = "NAME")]
    pub marketplace: Option<MarketplaceName>,
    /// Everything.
    #[arg(long)]
    pub all: bool,
    /// How to reach the daemon.
    #[command(flatten)]
    pub reach: Reach,
}

/// How hostile the simulated marketplace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FaultLevel {
    /// It answers as documented.
    None,
    /// Now and then an answer is lost, late or an error.
    Mild,
    /// Often, and in all the ways that are known.
    Hostile,
}

impl FaultLevel {
    /// The simulator's word for it.
    pub const fn severity(self) -> Severity {
        match self {
            Self::None => Severity::None,
            Self::Mild => Severity::Mild,
            Self::Hostile => Severity::Hostile,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The daemon: look, plan, act, record, until SIGTERM, which leaves every VM running.
    Run {
        /// Never change anything, whatever settings and policies say.
        #[arg(long)]
        observe: bool,
    },
    /// Everything at once on nothing: a simulated marketplace on loopback and the daemon on it.
    Demo(DemoArguments),
    /// Read the settings and all policies and report every fault at once; touches nothing.
    Check {
        /// Also try the credentials.
        #[arg(long)]
        online: bool,
    },
    /// Look once and print what `run` would do now and why; changes nothing.
    Plan(PlanArguments),
    /// Candidates in order, with the parts of their score, and how many were turned down for which reason.
    Offers(OffersArguments),
    /// The fleets of a running daemon: target, running, rate, limits, balance, runway, what blocks.
    Status(StatusArguments),
    /// Every VM: name, address, ports, model, standing, age, rate, why.
    Instances(InstancesArguments),
    /// Why an instance was rented, kept or let go, or what one decision saw and weighed.
    Explain {
        /// A VM's name or id, or a decision's id.
        #[arg(value_name = "ID", value_parser = id)]
        id: String,
        /// Plan a decision again on what was recorded when it was made, and compare; reads the state and asks nobody.
        #[arg(long, conflicts_with = "url")]
        replay: bool,
        /// How to ask.
        #[command(flatten)]
        asking: Asking,
    },
    /// Why a hostnode is not rented.
    WhyNot {
        /// The hostnode's id.
        #[arg(value_name = "HOSTNODE")]
        hostnode: HostnodeId,
        /// Only for this fleet.
        #[arg(long, value_name = "FLEET")]
        fleet: Option<FleetName>,
        /// How to ask.
        #[command(flatten)]
        asking: Asking,
    },
    /// Decisions and events, newest first.
    History(HistoryArguments),
    /// Hold a number of GPUs, or go back to what the policy says.
    #[command(override_usage = "spotscale target [OPTIONS] <FLEET> <N>\n       \
                                spotscale target [OPTIONS] <FLEET> --clear")]
    Target(TargetArguments),
    /// Freeze a fleet, or stop renting on a marketplace.
    #[command(override_usage = "spotscale pause [OPTIONS] <FLEET|--marketplace <NAME>|--all>")]
    Pause(ScopeArguments),
    /// End a pause, an evacuation, a bench.
    #[command(override_usage = "spotscale resume [OPTIONS] <FLEET|--marketplace <NAME>|--all>")]
    Resume(ScopeArguments),
    /// Tear all down, protected VMs too, then pause.
    #[command(override_usage = "spotscale evacuate [OPTIONS] <FLEET|--all>")]
    Evacuate(EvacuateArguments),
    /// Let a held edit come into force.
    Apply {
        /// Whose edit.
        #[arg(value_name = "FLEET")]
        fleet: FleetName,
        /// How to reach the daemon.
        #[command(flatten)]
        reach: Reach,
    },
    /// Take a stray into a fleet.
    Adopt {
        /// Its name or id.
        #[arg(value_name = "INSTANCE", value_parser = id)]
        instance: String,
        /// Whose it becomes.
        #[arg(long, value_name = "FLEET")]
        fleet: FleetName,
        /// How to reach the daemon.
        #[command(flatten)]
        reach: Reach,
    },
    /// Delete one VM: ours, or a stray. Asks first.
    Delete {
        /// Its name or id.
        #[arg(value_name = "INSTANCE", value_parser = id)]
        instance: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
        /// How to reach the daemon.
        #[command(flatten)]
        reach: Reach,
    },
    /// Leave one VM alone, but for money.
    Protect {
        /// Its name or id.
        #[arg(value_name = "INSTANCE", value_parser = id)]
        instance: String,
        /// For how long; without it, until the VM is gone. `0s` ends a protection.
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        lasting: Option<Duration>,
        /// How to reach the daemon.
        #[command(flatten)]
        reach: Reach,
    },
    /// The GPU models that are known, how a policy may say each, and what every API calls it.
    Models(ModelsArguments),
    /// The very same engine in virtual time: on a simulated market, on recorded history, or on somebody else's.
    Simulate(SimulateArguments),
    /// Only the simulated marketplace.
    Marketplace(MarketplaceArguments),
    /// One raw call of a marketplace's API with the configured credentials, printed as JSON.
    #[command(disable_help_flag = true)]
    #[command(override_usage = "spotscale api [OPTIONS] <MARKETPLACE> [CALL] [--FIELD VALUE]... [--yes]")]
    #[command(
        after_help = "Without a call it lists the calls; `--help` behind a call lists its fields. A call that may \
                            cost money or end something asks first, unless --yes."
    )]
    Api(ApiArguments),
    /// Clock, credentials, journal, lock, limits, reachability: one line each, ok or remedy.
    Doctor {
        /// How to reach the daemon.
        #[command(flatten)]
        reach: Reach,
        /// One JSON document on stdout, nothing else there.
        #[arg(long)]
        json: bool,
    },
}

/// What `demo` takes.
#[derive(Args, Clone, Debug)]
pub struct DemoArguments {
    /// End by itself after so long, in real time, with a summary.
    #[arg(long = "for", value_name = "DURATION", value_parser = positive_duration)]
    pub lasting: Option<Duration>,
    /// How much faster than life the market's and the daemon's clock run.
    #[arg(long, default_value_t = 60, value_name = "FACTOR", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub speed: u32,
    /// Which world: the same seed makes the same hosts, prices and rivals.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where the status page and the metrics are served [default: 127.0.0.1:9746, or a free port where that is taken].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

/// What `plan` takes.
#[derive(Args, Clone, Debug)]
pub struct PlanArguments {
    /// Only this fleet.
    #[arg(long, value_name = "FLEET")]
    pub fleet: Option<FleetName>,
    /// Plan an edit that is not installed yet, beside today's.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Exit with 3 when a change is planned.
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// How to ask.
    #[command(flatten)]
    pub asking: Asking,
}

/// What `offers` takes.
#[derive(Args, Clone, Debug)]
pub struct OffersArguments {
    /// Only this fleet's.
    #[arg(long, value_name = "FLEET")]
    pub fleet: Option<FleetName>,
    /// How many of each fleet.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// All of them.
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    /// How to ask.
    #[command(flatten)]
    pub asking: Asking,
}

/// What `status` takes.
#[derive(Args, Clone, Debug)]
pub struct StatusArguments {
    /// Keep looking, until interrupted.
    #[arg(long)]
    pub watch: bool,
    /// How to reach the daemon.
    #[command(flatten)]
    pub reach: Reach,
    /// One JSON document on stdout, nothing else there; with --watch one a line.
    #[arg(long)]
    pub json: bool,
}

/// What `instances` takes.
#[derive(Args, Clone, Debug)]
pub struct InstancesArguments {
    /// Another form than a table.
    #[command(subcommand)]
    pub form: Option<InstancesForm>,
    /// Only this fleet's.
    #[arg(long, global = true, value_name = "FLEET")]
    pub fleet: Option<FleetName>,
    /// How to ask.
    #[command(flatten)]
    pub asking: Asking,
}

/// Other forms of `instances`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum InstancesForm {
    /// Entries for OpenSSH's configuration file.
    SshConfig,
}

/// What `history` takes.
#[derive(Args, Clone, Debug)]
pub struct HistoryArguments {
    /// Only this fleet's.
    #[arg(long, value_name = "FLEET")]
    pub fleet: Option<FleetName>,
    /// Only of the last so long.
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub since: Option<Duration>,
    /// Only of this kind, such as `decision`.
    #[arg(long, value_name = "KIND", value_parser = word)]
    pub kind: Option<String>,
    /// How to ask.
    #[command(flatten)]
    pub asking: Asking,
}

/// What `target` takes.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("what").required(true).args(["gpus", "clear"])))]
pub struct TargetArguments {
    /// Whose.
    #[arg(value_name = "FLEET")]
    pub fleet: FleetName,
    /// How many GPUs.
    #[arg(value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(0..=TARGET_GPUS_MAX))]
    pub gpus: Option<u32>,
    /// For how long; without it, until cleared.
    #[arg(long = "for", value_name = "DURATION", value_parser = positive_duration, conflicts_with = "clear")]
    pub lasting: Option<Duration>,
    /// Back to what the policy says.
    #[arg(long)]
    pub clear: bool,
    /// How to reach the daemon.
    #[command(flatten)]
    pub reach: Reach,
}

/// What `evacuate` takes.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("scope").required(true).args(["fleet", "all"])))]
pub struct EvacuateArguments {
    /// One fleet.
    #[arg(value_name = "FLEET")]
    pub fleet: Option<FleetName>,
    /// Every fleet.
    #[arg(long)]
    pub all: bool,
    /// With the daemon down: by the state and the credentials.
    #[arg(long, conflicts_with = "url")]
    pub offline: bool,
    /// How to reach the daemon.
    #[command(flatten)]
    pub reach: Reach,
}

/// What `models` takes.
#[derive(Args, Clone, Debug)]
pub struct ModelsArguments {
    /// Only what this may mean, such as `h100` or `a100-80gb`.
    #[arg(value_name = "MODEL")]
    pub name: Option<GpuModel>,
    /// One JSON document on stdout, nothing else there.
    #[arg(long)]
    pub json: bool,
}

/// What `simulate` takes.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("market").args(["swarm", "crashes", "trace", "suite", "drive", "recorded"])))]
pub struct SimulateArguments {
    /// What everything is drawn from: the same seed makes the same market, faults and journal.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How much the simulated market lies.
    #[arg(long, value_enum, default_value_t = FaultLevel::Mild, value_name = "LEVEL")]
    pub faults: FaultLevel,
    /// How long it goes on, in virtual time.
    #[arg(long = "for", value_name = "DURATION", default_value = "1d", value_parser = positive_duration)]
    pub lasting: Duration,
    /// So many seeds, from --seed on, on all cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub swarm: Option<u64>,
    /// Cut the power at every store write and every request boundary of a set of stories.
    #[arg(long)]
    pub crashes: bool,
    /// Play a market that really was: a folder of traces, one of its traces (FOLDER/NAME), or a NAME in ./traces.
    #[arg(long, value_name = "NAME|DIR")]
    pub trace: Option<PathBuf>,
    /// Play every trace of a folder, by every policy side by side.
    #[arg(long, value_name = "DIR")]
    pub suite: Option<PathBuf>,
    /// Be the policy of somebody else's market: the step protocol on stdin and stdout.
    #[arg(long)]
    pub drive: bool,
    /// Compare an edited policy with today's on the market that the daemon saw.
    #[arg(long, requires = "policy")]
    pub recorded: bool,
    /// With --recorded: only of the last so long.
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = positive_duration)]
    pub since: Duration,
    /// What a spot VM of a trace pays.
    #[arg(long, value_enum, default_value_t = BillingRule::Bid, value_name = "RULE")]
    pub billing: BillingRule,
    /// The share of the target's GPU-hours that the built-in policy of a trace is to deliver.
    #[arg(long, default_value = "0.999", value_name = "SHARE")]
    pub delivery: Delivery,
    /// A policy of one's own; without it, a built-in one, printed first.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Write a picture of price, bids, GPUs and cost over time.
    #[arg(long, value_name = "SVG", requires = "trace")]
    pub picture: Option<PathBuf>,
    /// Write every action of a trace's replay, a JSON line each.
    #[arg(long, value_name = "FILE", requires = "trace")]
    pub log: Option<PathBuf>,
    /// One JSON document on stdout, nothing else there.
    #[arg(long)]
    pub json: bool,
}

/// What a spot VM of a trace pays while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BillingRule {
    /// Its own bid.
    Bid,
    /// The price of its pool.
    Market,
}

/// What `marketplace` takes.
#[derive(Args, Clone, Debug)]
pub struct MarketplaceArguments {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9747", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Which world: the same seed makes the same hosts, prices and rivals.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many hostnodes; without it, the lifelike catalogue.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub hosts: Option<u32>,
    /// How much faster than life its clock runs.
    #[arg(long, default_value_t = 1, value_name = "FACTOR", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub speed: u32,
    /// How hostile it is.
    #[arg(long, value_enum, default_value_t = FaultLevel::None, value_name = "LEVEL")]
    pub faults: FaultLevel,
    /// The key it takes; without it, any.
    #[arg(long)]
    pub key: Option<String>,
    /// The token it takes; without it, any.
    #[arg(long)]
    pub token: Option<String>,
}

/// What `api` takes. Which calls and fields there are depends on the marketplace: its words are read in two steps.
#[derive(Args, Clone, Debug)]
pub struct ApiArguments {
    /// A marketplace as the settings name it, a call, and its fields.
    #[arg(value_name = "WORD", trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

/// A vendor's or our own id, bounded.
fn id(text: &str) -> Result<String, String> {
    text.parse::<crate::model::InstanceId>().map(|id| id.to_string()).map_err(|error| error.to_string())
}

/// A word of a closed set that only the daemon knows.
fn word(text: &str) -> Result<String, String> {
    let fits = (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if fits { Ok(text.to_owned()) } else { Err("a kind is a word of lower-case letters and `_`".to_owned()) }
}

/// The address of a daemon: `http://host:port`, without anything behind it.
fn url(text: &str) -> Result<String, String> {
    let expected = "an address such as http://127.0.0.1:9746 is needed";
    let url = reqwest::Url::parse(text).map_err(|_| expected)?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if ["http", "https"].contains(&url.scheme()) && url.has_host() && bare {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err(expected.to_owned())
    }
}

/// A duration as policies write it, read as the window reads it.
fn duration(text: &str) -> Result<Duration, String> {
    admin::asked::duration(text).map_err(|problem| problem.detail)
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must last at least 1s".to_owned()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations_are_read_as_the_window_reads_them() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert!(duration("5 parsecs").is_err());
        assert!(positive_duration("0s").is_err());
    }

    #[test]
    fn a_url_is_only_an_address() {
        for good in ["http://127.0.0.1:9746", "http://[::1]:9746/", "https://fleet.example"] {
            assert!(url(good).is_ok(), "{good}");
        }
        for bad in ["127.0.0.1:9746", "ftp://x", "http://", "http://x/y", "http://a b", "http://u:p@x", "http://x:port"]
        {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_is_a_number_or_its_end_and_not_both() {
        let read = |line: &str| Arguments::try_parse_from(line.split(' '));
        assert!(read("spotscale target train 8 --for 2h").is_ok());
        assert!(read("spotscale target train 0").is_ok());
        assert!(read("spotscale target train --clear").is_ok());
        assert!(read("spotscale target train 8 --clear").is_err());
        assert!(read("spotscale target train").is_err());
        assert!(read("spotscale target train -- -1").is_err());
    }
}
