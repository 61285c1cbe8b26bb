//! `spotscale.toml`, key by key: unit, default, bounds.
//!
//! Every key is read alone here; what they say together, and where secrets lead, is for `check.rs`.

use super::{
    Api, BalanceRule,
    secret::{self, SecretSource},
};
use crate::{
    model::{AccountName, HourlyRate, MarketplaceName, Usd},
    policy::{
        fault::{At, Complaint, Findings, Place},
        later,
        raw::{self as policy_raw, RawInstance},
        section::{Section, read_node},
        terms::{Mode, PPM},
        tree::{Node, Value},
        value,
    },
};
use std::{net::SocketAddr, time::Duration};

/// `state`, unless said.
pub const STATE: &str = "/var/lib/spotscale/spotscale.db";
/// `policies`, unless said.
pub const POLICIES: &str = "policies";
/// `scan_interval`, unless said.
pub const SCAN_INTERVAL: Duration = Duration::from_secs(30);
/// `instance_prefix`, unless said.
pub const INSTANCE_PREFIX: &str = "spotscale";
/// `settle_grace`, unless said: five minutes.
pub const SETTLE_GRACE: Duration = Duration::from_secs(300);
/// `late_window`, unless said: an hour.
pub const LATE_WINDOW: Duration = Duration::from_secs(3_600);
/// `http.listen`, unless said.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9746);
/// `limits.mode`, unless said.
pub const MODE: Mode = Mode::Act;
/// `requests_per_second`, unless said, in thousandths. Source: v0 asks for "1 request per second" (documented).
pub const REQUESTS_PER_SECOND_MILLI: u32 = 1_000;
/// Longest `instance_prefix`, in bytes: a fleet of any name must still fit into a VM's name beside it.
const PREFIX_BYTES_MAX: usize = 24;

/// Where the journal is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A SQLite file, relative to the settings.
    Sqlite(String),
    /// A PostgreSQL address: not supported yet.
    Postgres,
}

/// `[marketplaces.<name>]`.
#[derive(Clone, Debug)]
pub struct RawMarketplace {
    /// Where the table stands.
    pub at: At<()>,
    /// Its name.
    pub name: MarketplaceName,
    /// `api`: what it speaks. Required.
    pub api: Option<At<Api>>,
    /// `base_url`: where it answers. Default: the vendor's own address.
    pub base_url: Option<At<String>>,
    /// `key`: the first credential, where the API has two.
    pub key: Option<At<SecretSource>>,
    /// `key` is there, readable or not.
    pub has_key: bool,
    /// `token`: the credential. Required.
    pub token: Option<At<SecretSource>>,
    /// `account`: who pays. Default: the marketplace's own name.
    pub account: Option<At<AccountName>>,
    /// `requests_per_second`: 0.001 to 100, in thousandths. Default 1.
    pub requests_per_second_milli: Option<At<u64>>,
}

/// `[accounts.<name>]`.
#[derive(Clone, Debug)]
pub struct RawAccount {
    /// Where the table stands.
    pub at: At<()>,
    /// Its name.
    pub name: AccountName,
    /// `balance`: `required` (default) or `unreadable-ok`: whether the budget stands in for a balance that nobody can read.
    pub balance: Option<At<BalanceRule>>,
    /// `max_spend_per_day`: USD, UTC day, by our own accrual. Unset: no such budget.
    pub max_spend_per_day: Option<At<Usd>>,
    /// `max_spend_per_day` is there, readable or not.
    pub has_max_spend_per_day: bool,
    /// `max_spend_per_month`: USD, UTC month, by our own accrual. Unset: no such budget.
    pub max_spend_per_month: Option<At<Usd>>,
}

/// The whole file, read and not yet checked.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The beginning of the file.
    pub top: Place,
    /// `state`: `sqlite:<file>`. Default `sqlite:/var/lib/spotscale/spotscale.db`.
    pub state: Option<At<State>>,
    /// `policies`: a folder. Default `policies`.
    pub policies: Option<At<String>>,
    /// `scan_interval`: between two looks at the market. Default `30s`.
    pub scan_interval: Option<At<Duration>>,
    /// `instance_prefix`: what our VMs' names begin with. Default `spotscale`.
    pub instance_prefix: Option<At<String>>,
    /// `settle_grace`: how long an unanswered deploy is looked for. Default `5m`.
    pub settle_grace: Option<At<Duration>>,
    /// `late_window`: how much longer its money stays reserved. Default `1h`.
    pub late_window: Option<At<Duration>>,
    /// `http.listen`: address and port. Default `127.0.0.1:9746`.
    pub listen: Option<At<SocketAddr>>,
    /// `http.token`: what every change must show. Unset: changes only from loopback.
    pub http_token: Option<At<SecretSource>>,
    /// `http.token` is there, readable or not.
    pub has_http_token: bool,
    /// `limits.max_hourly_rate`: USD per hour over all fleets. Unset: only the policies limit.
    pub max_hourly_rate: Option<At<HourlyRate>>,
    /// `limits.balance_floor`: USD per account. Default 0.
    pub balance_floor: Option<At<Usd>>,
    /// `limits.mode`: `act` or `observe`, over every policy's own. Default `act`.
    pub mode: Option<At<Mode>>,
    /// `limits.max_spend_per_day`: USD, UTC day, all fleets.
    pub max_spend_per_day: Option<At<Usd>>,
    /// `limits.max_spend_per_month`: USD, UTC month, all fleets.
    pub max_spend_per_month: Option<At<Usd>>,
    /// `[defaults.instance]`.
    pub instance: RawInstance,
    /// `[marketplaces]`.
    pub marketplaces: Vec<RawMarketplace>,
    /// A marketplace is there, readable or not.
    pub has_marketplaces: bool,
    /// `[accounts]`.
    pub accounts: Vec<RawAccount>,
}

const NAME_GRAMMAR: &str = "a name is a lower-case letter, then letters, digits and -, at most 24 characters in all";

fn state(node: &Node) -> Result<State, Complaint> {
    const REMEDY: &str = "write it like \"sqlite:/var/lib/spotscale/spotscale.db\"";
    let text = value::line(node)?;
    if let Some(path) = text.strip_prefix("sqlite:") {
        let memory = path.starts_with(':') || path.contains("mode=memory");
        if path.trim().is_empty() || memory {
            return Err(Complaint::new("names no file", "the journal has to survive a restart", REMEDY));
        }
        return Ok(State::Sqlite(path.to_owned()));
    }
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        let good = reqwest::Url::parse(&text).is_ok_and(|url| url.host_str().is_some_and(|host| !host.is_empty()));
        let bad =
            || Complaint::new("is not an address", "a host is needed", "write it like \"postgres://host/database\"");
        return if good { Ok(State::Postgres) } else { Err(bad()) };
    }
    Err(Complaint::new("is not a known kind of state", "it is sqlite:<file> or postgres://…", REMEDY))
}

fn prefix(node: &Node) -> Result<String, Complaint> {
    let text = value::line(node)?;
    let good = text.len() <= PREFIX_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if good {
        return Ok(text);
    }
    let why =
        "a prefix is a lower-case letter, then letters, digits and -, not - at the end, at most 24 characters in all";
    Err(Complaint::new("cannot begin a VM's name", why, "write it like \"spotscale\""))
}

fn listen(node: &Node) -> Result<SocketAddr, Complaint> {
    let text = value::line(node)?;
    text.parse().map_err(|_| {
        let why = "an IP address and a port are needed";
        Complaint::new("is not an address to listen on", why, "write it like \"127.0.0.1:9746\"")
    })
}

fn api(node: &Node) -> Result<Api, Complaint> {
    let text = value::line(node)?;
    text.parse().map_err(|_| {
        // Nobody who misspells a vendor's API is sent to one that only rehearses.
        let sold = Api::ALL.iter().filter(|api| !api.only_rehearses());
        let known: Vec<&str> = sold.map(|api| api.as_str()).collect();
        value::unknown_word(&text, &known)
    })
}

/// An address without query and credentials, the trailing slash dropped.
fn base_url(node: &Node) -> Result<String, Complaint> {
    let text = later::url(node)?;
    let parsed = reqwest::Url::parse(&text);
    if parsed.is_ok_and(|url| url.query().is_some() || url.fragment().is_some()) {
        let why = "the paths of the calls are put behind it";
        return Err(Complaint::new("has a query", why, "write it like \"https://dashboard.tensordock.com\""));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The tables of a table whose keys are names.
fn named<'t, N: std::str::FromStr>(
    top: &mut Section<'t>,
    key: &'static str,
    findings: &mut Findings,
    mut read: impl FnMut(N, Section<'t>, &mut Findings),
) -> bool {
    let tables = top.sub(key, findings);
    let mut any = top.has(key) && !tables.is_there();
    for (name, entry) in tables.entries() {
        any = true;
        let path = tables.path(name);
        let text = Node { value: Value::Text(name.clone()), text: String::new(), place: entry.place.clone() };
        let parsed = value::parsed(NAME_GRAMMAR, "[marketplaces.tensordock]");
        let parsed = read_node(path.clone(), &text, findings, parsed);
        let section = Section::table(path, &format!("{key}.<name>"), &entry.node, findings);
        if let Some(name) = parsed {
            read(name.value, section, findings);
        }
    }
    any
}

fn marketplace(name: MarketplaceName, mut section: Section<'_>, findings: &mut Findings) -> RawMarketplace {
    let remedy = format!("add it, such as api = \"{}\"", Api::TensordockV0);
    let raw = RawMarketplace {
        at: section.mark(),
        name,
        api: section.require("api", findings, "nobody can tell what it speaks", &remedy, api),
        base_url: section.read("base_url", findings, base_url),
        key: secret::read(&mut section, "key", findings),
        has_key: section.has("key"),
        token: secret::read(&mut section, "token", findings),
        account: section.read("account", findings, value::parsed(NAME_GRAMMAR, "\"tensordock\"")),
        requests_per_second_milli: section
            .read(
                "requests_per_second",
                findings,
                value::ppm(1_000, 100 * PPM, "it is from 0.001 to 100 requests per second", "1"),
            )
            .map(|rate| rate.map(|ppm| ppm / 1_000)),
    };
    if section.is_there() && !section.has("token") {
        let remedy = "add it, such as token = { credential = \"tensordock-token\" }";
        findings.missing(section.place(), &section.path("token"), "nobody is let in without it", remedy);
    }
    section.finish(findings);
    raw
}

fn account(name: AccountName, mut section: Section<'_>, findings: &mut Findings) -> RawAccount {
    let raw = RawAccount {
        at: section.mark(),
        name,
        balance: section.read("balance", findings, value::word(BalanceRule::ALL, BalanceRule::as_str)),
        max_spend_per_day: section.read("max_spend_per_day", findings, value::amount),
        has_max_spend_per_day: section.has("max_spend_per_day"),
        max_spend_per_month: section.read("max_spend_per_month", findings, value::amount),
    };
    section.finish(findings);
    raw
}

/// Reads the whole file, with whatever was laid over it.
pub fn read(root: &Node, findings: &mut Findings) -> Raw {
    let second = Duration::from_secs(1);
    let mut top = Section::root(root);
    let mut http = top.sub("http", findings);
    let mut limits = top.sub("limits", findings);
    let mut defaults = top.sub("defaults", findings);
    let mut instance = defaults.sub("instance", findings);
    let mut marketplaces = Vec::new();
    let mut accounts = Vec::new();
    let has_marketplaces = named(&mut top, "marketplaces", findings, |name, section, findings| {
        marketplaces.push(marketplace(name, section, findings));
    });
    named(&mut top, "accounts", findings, |name, section, findings| accounts.push(account(name, section, findings)));
    let grace = "an answer may take longer, and its VM would be rented a second time";
    let raw = Raw {
        top: root.place.clone(),
        state: top.read("state", findings, state),
        policies: top.read("policies", findings, value::line),
        scan_interval: top.read("scan_interval", findings, value::duration(second, "marketplaces ask for patience")),
        instance_prefix: top.read("instance_prefix", findings, prefix),
        settle_grace: top.read("settle_grace", findings, value::duration(second, grace)),
        late_window: top.read("late_window", findings, value::duration(second, "what turns up late has to be paid")),
        listen: http.read("listen", findings, listen),
        http_token: secret::read(&mut http, "token", findings),
        has_http_token: http.has("token"),
        max_hourly_rate: limits.read("max_hourly_rate", findings, value::rate),
        balance_floor: limits.read("balance_floor", findings, value::amount),
        mode: limits.read("mode", findings, value::word(Mode::ALL, Mode::as_str)),
        max_spend_per_day: limits.read("max_spend_per_day", findings, value::amount),
        max_spend_per_month: limits.read("max_spend_per_month", findings, value::amount),
        instance: policy_raw::instance(&mut instance, findings),
        marketplaces,
        has_marketplaces,
        accounts,
    };
    for section in [http, limits, defaults, instance, top] {
        section.finish(findings);
    }
    raw
}
