//! The policy file, key by key: unit, default, bounds.
//!
//! This is the reference of what may be written. Every key is read alone here; what two keys say together is for
//! `check.rs`. A default stands beside its key, once. Keys whose work is not built yet are in `later.rs`.

use super::{
    fault::{At, Complaint, Findings, Place},
    later::{self, Later},
    model_name,
    section::{Section, read_node},
    terms::{BidStrategy, Mode, OnDemandUse, PPM, Preference, Quantity, Revert, ScaleDown, WhenLow},
    tree::{Node, Value},
    value::{self, unknown_word},
};
use crate::model::{FleetName, GpuModel, HostnodeId, HourlyRate, MarketplaceName, Usd};
use std::time::Duration;

/// No fleet has more GPUs: far above any market seen (60 to 150 GPUs, recorded), low enough to catch a slipped digit.
pub const GPUS_MAX: u32 = 10_000;
/// No VM has more GPUs.
pub const GPUS_PER_VM_MAX: u32 = 64;
/// Forwards one VM may have. Source: FACTS, "up to 64 forwards".
pub const PORTS_MAX: usize = 64;
/// No list in a policy is longer.
pub const LIST_MAX: usize = 1_000;

/// `min_runway`, unless said.
pub const MIN_RUNWAY: Duration = Duration::from_secs(3_600);
/// `when_low`, unless said.
pub const WHEN_LOW: WhenLow = WhenLow::Hold;
/// `priority`, unless said.
pub const PRIORITY: i64 = 100;
/// `mode`, unless said.
pub const MODE: Mode = Mode::Act;
/// `preference`, unless said.
pub const PREFERENCE: Preference = Preference::Strict;
/// `models.worth`, unless said: 1.
pub const WORTH_PPM: u64 = PPM;
/// `instance.gpus.min`, unless said.
pub const GPUS_MIN_PER_VM: u32 = 1;
/// `instance.gpus.max`, unless said.
pub const GPUS_MAX_PER_VM: u32 = 8;
/// `instance.vcpus_per_gpu`, unless said.
pub const VCPUS_PER_GPU: u32 = 4;
/// `instance.ram_gb_per_gpu`, unless said.
pub const RAM_GB_PER_GPU: u32 = 16;
/// `instance.storage_gb`, unless said.
pub const STORAGE_GB: u32 = 100;
/// `instance.image`, unless said.
pub const IMAGE: &str = "Ubuntu 22.04 LTS";
/// `instance.ports`, unless said.
pub const PORTS: [u16; 1] = [22];
/// `instance.scale_down`, unless said.
pub const SCALE_DOWN: ScaleDown = ScaleDown::Delete;
/// `instance.stopped_max_age`, unless said: a week.
pub const STOPPED_MAX_AGE: Duration = Duration::from_secs(7 * 86_400);
/// `spot.bid`, unless said.
pub const BID: BidStrategy = BidStrategy::Adaptive;
/// `spot.margin`, unless said: 0.05.
pub const MARGIN_PPM: u64 = 50_000;
/// `spot.rebid`, unless said.
pub const REBID: bool = true;
/// `spot.asks_max`, unless said.
pub const ASKS_MAX: u32 = 6;
/// `on_demand.use`, unless said.
pub const ON_DEMAND_USE: OnDemandUse = OnDemandUse::Never;
/// `on_demand.after`, unless said: ten minutes.
pub const ON_DEMAND_AFTER: Duration = Duration::from_secs(600);
/// `on_demand.base_gpus`, unless said.
pub const BASE_GPUS: u32 = 0;
/// `on_demand.revert`, unless said.
pub const REVERT: Revert = Revert::WhenAvailable;
/// `disruption.max_unavailable`, unless said: 25 %.
pub const MAX_UNAVAILABLE: Quantity = Quantity::SharePpm(250_000);
/// `disruption.max_surge`, unless said.
pub const MAX_SURGE: Quantity = Quantity::Count(1);
/// `disruption.max_scale_down`, unless said: 50 %.
pub const MAX_SCALE_DOWN: Quantity = Quantity::SharePpm(500_000);
/// `disruption.cooldown_up`, unless said.
pub const COOLDOWN_UP: Duration = Duration::from_secs(30);
/// `disruption.cooldown_down`, unless said: five minutes.
pub const COOLDOWN_DOWN: Duration = Duration::from_secs(300);

/// What is done now, or asked for and not built yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<T> {
    /// Done.
    Now(T),
    /// Not supported yet.
    Later,
}

/// One entry of `models`.
#[derive(Clone, Debug)]
pub struct RawModel {
    /// `name`: the GPU model, exact or short for the only one that it can mean; as it was written. Required.
    pub name: At<GpuModel>,
    /// `max_price`: USD per GPU-hour, all in. Unset: only the on-demand price and the fleet's rate bound it.
    pub max_price: Option<At<HourlyRate>>,
    /// `max_price` is there, readable or not.
    pub has_max_price: bool,
    /// `worth`: useful work per GPU-hour, in any unit, above 0. Default 1.
    pub worth_ppm: Option<At<u64>>,
}

/// Where the SSH key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshKey {
    /// The key itself.
    Text(String),
    /// A file, relative to the file that names it.
    File(String),
}

/// `[instance]`: the shape of one VM; also `[defaults.instance]` of the settings.
#[derive(Clone, Debug, Default)]
pub struct RawInstance {
    /// `gpus.min`: GPUs per VM, at least. Default 1.
    pub gpus_min: Option<At<u32>>,
    /// `gpus.max`: GPUs per VM, at most. Default 8.
    pub gpus_max: Option<At<u32>>,
    /// `vcpus_per_gpu`: count. Default 4.
    pub vcpus_per_gpu: Option<At<u32>>,
    /// `ram_gb_per_gpu`: GB. Default 16.
    pub ram_gb_per_gpu: Option<At<u32>>,
    /// `storage_gb`: GB for the whole VM. Default 100.
    pub storage_gb: Option<At<u32>>,
    /// `image`: as the marketplace names it. Default `Ubuntu 22.04 LTS`.
    pub image: Option<At<String>>,
    /// `ssh_key`: an OpenSSH public key, or `{ file = "…" }`. Unset: `[defaults.instance]`, or nobody can log in.
    pub ssh_key: Option<At<SshKey>>,
    /// `ports`: inside ports to forward. Default 22.
    pub ports: Option<At<Vec<u16>>>,
    /// `cloud_init`: a file, relative to the one that names it. Unset: none.
    pub cloud_init: Option<At<String>>,
    /// `scale_down`: `delete` or `stop`. Default `delete`.
    pub scale_down: Option<At<ScaleDown>>,
    /// `stopped_max_age`: how long a stopped VM's disk is kept and paid for. Default `7d`.
    pub stopped_max_age: Option<At<Duration>>,
}

/// `[hosts]`: which hostnodes will do.
#[derive(Clone, Debug)]
pub struct RawHosts {
    /// `min_uptime`: share of the time, 0 to 1. Default 0: any.
    pub min_uptime_ppm: Option<At<u64>>,
    /// `countries`: as the marketplace spells them. Unset: any.
    pub countries: Option<At<Vec<At<String>>>>,
    /// `deny`: hostnode ids never to rent on. Default none.
    pub deny: Option<At<Vec<At<HostnodeId>>>>,
    /// `max_gpus_per_hostnode`: count. Unset: any.
    pub max_gpus_per_hostnode: Option<At<u32>>,
    /// `max_share_per_location`: of the target, above 0, at most 1. Unset: any.
    pub max_share_per_location_ppm: Option<At<u64>>,
}

/// `[spot]`: how bids are made.
#[derive(Clone, Debug)]
pub struct RawSpot {
    /// `bid`: `adaptive`, `market` or `cap`. Default `adaptive`.
    pub bid: Option<At<BidStrategy>>,
    /// `margin`: share of the price, 0 to 1, with `market`. Default 0.05.
    pub margin_ppm: Option<At<u64>>,
    /// `rebid`: raise an outbid VM's bid before replacing it. Default true.
    pub rebid: Option<At<bool>>,
    /// `asks_max`: bids asked per offer. Default 6.
    pub asks_max: Option<At<u32>>,
}

/// `[on_demand]`: when VMs are rented at the listed price.
#[derive(Clone, Debug)]
pub struct RawOnDemand {
    /// `use`: `never`, `fallback` or `always`. Default `never`.
    pub usage: Option<At<OnDemandUse>>,
    /// `after`: how long GPUs must be missing before a fallback. Default `10m`.
    pub after: Option<At<Duration>>,
    /// `base_gpus`: of the target, always on demand. Default 0.
    pub base_gpus: Option<At<u32>>,
    /// `max_gpus`: at most so many on demand. Unset: the target.
    pub max_gpus: Option<At<u32>>,
    /// `revert`: `when-available`, `never` or a cron window. Default `when-available`.
    pub revert: Option<At<Said<Revert>>>,
}

/// `[disruption]`: how much we may disturb.
#[derive(Clone, Debug)]
pub struct RawDisruption {
    /// `max_unavailable`: GPUs of the target, a count or a share. Default `25%`.
    pub max_unavailable: Option<At<Quantity>>,
    /// `max_surge`: VMs beyond the target while one is replaced, a count or a share. Default `1`.
    pub max_surge: Option<At<Quantity>>,
    /// `max_scale_down`: what one edit may tear down unasked, a count or a share. Default `50%`.
    pub max_scale_down: Option<At<Quantity>>,
    /// `cooldown_up`: per hostnode after a failed deploy; doubles. Default `30s`.
    pub cooldown_up: Option<At<Duration>>,
    /// `cooldown_down`: between scale-downs. Default `5m`.
    pub cooldown_down: Option<At<Duration>>,
}

/// The whole file, read and not yet checked.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The beginning of the file.
    pub top: Place,
    /// `fleet`: its name. Required.
    pub fleet: Option<At<FleetName>>,
    /// `target_gpus`: count. Required.
    pub target_gpus: Option<At<u32>>,
    /// `max_hourly_rate`: USD per hour for the whole fleet. Required.
    pub max_hourly_rate: Option<At<HourlyRate>>,
    /// `balance_floor`: USD the account keeps. Required.
    pub balance_floor: Option<At<Usd>>,
    /// `min_runway`: start nothing that leaves the account less than this above its floor. Default `1h`.
    pub min_runway: Option<At<Duration>>,
    /// `when_low`: `hold`, `shed` or `never`. Default `hold`.
    pub when_low: Option<At<Said<WhenLow>>>,
    /// `priority`: higher keeps its share when money is short. Default 100.
    pub priority: Option<At<i64>>,
    /// `mode`: `act` or `observe`. Default `act`.
    pub mode: Option<At<Mode>>,
    /// `marketplaces`: names from the settings. Unset: all.
    pub marketplaces: Option<At<Vec<At<MarketplaceName>>>>,
    /// `preference`: `strict` or `value`. Default `strict`.
    pub preference: Option<At<Preference>>,
    /// `models`: names, or `[[models]]` tables; first is best. Required.
    pub models: Option<At<Vec<RawModel>>>,
    /// `[instance]`.
    pub instance: RawInstance,
    /// `[hosts]`.
    pub hosts: RawHosts,
    /// `[spot]`.
    pub spot: RawSpot,
    /// `[on_demand]`.
    pub on_demand: RawOnDemand,
    /// `[disruption]`.
    pub disruption: RawDisruption,
    /// What is not built yet.
    pub later: Later,
}

const NAME_GRAMMAR: &str = "a name is a lower-case letter, then letters, digits and -, at most 24 characters in all";
const COUNT_BOUNDS: &str = "no fleet has so many or so few GPUs";
/// Between tries on one thing, at least.
const COOLDOWN_MIN: Duration = Duration::from_secs(1);

/// Any duration, 0 too.
pub(super) fn any_duration(node: &Node) -> Result<Duration, Complaint> {
    value::duration(Duration::ZERO, "")(node)
}

/// A number of GPUs, 0 too.
pub(super) fn gpus(node: &Node) -> Result<u32, Complaint> {
    value::whole(0..=GPUS_MAX, COUNT_BOUNDS)(node)
}

fn share_of_one(node: &Node) -> Result<u64, Complaint> {
    value::ppm(0, PPM, "it is a share, from 0 to 1", "0.99")(node)
}

fn model_table(section: &mut Section<'_>, findings: &mut Findings) -> Option<RawModel> {
    let name = section.require(
        "name",
        findings,
        "nobody can tell which model is meant",
        "add it, such as name = \"h100-sxm5-80gb\"",
        model_name::read,
    );
    let max_price = section.read("max_price", findings, value::price);
    let worth = value::ppm(1, 1_000_000 * PPM, "worth is above 0 and at most a million", "1.0");
    let worth_ppm = section.read("worth", findings, worth);
    Some(RawModel { name: name?, max_price, has_max_price: section.has("max_price"), worth_ppm })
}

fn models(root: &mut Section<'_>, findings: &mut Findings) -> Option<At<Vec<RawModel>>> {
    const KEY: &str = "models";
    let top = root.place().clone();
    let Some(entry) = root.entry(KEY, findings) else {
        if root.is_there() {
            let remedy = "add the acceptable GPU models, best first, such as models = [\"h100-sxm5-80gb\"]";
            findings.missing(&top, KEY, "nothing could be rented", remedy);
        }
        return None;
    };
    let node = &entry.node;
    let at = |value| At { key: KEY.to_owned(), place: node.place.clone(), text: node.text.clone(), value };
    let items = match &node.value {
        Value::Broken => return None,
        Value::List(items) => items,
        other => {
            let fact = format!("is {}", other.noun());
            findings.fault(&at(Vec::new()), fact, "a list is needed", "write models = [\"h100-sxm5-80gb\"]");
            return None;
        }
    };
    if items.is_empty() {
        findings.fault(&at(Vec::new()), "is empty", "nothing could be rented", "name at least one GPU model");
        return None;
    }
    if items.len() > LIST_MAX {
        let fact = format!("has {} entries", items.len());
        findings.fault(&at(Vec::new()), fact, format!("at most {LIST_MAX} are read"), "shorten it");
        return None;
    }
    let mut read = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{KEY}[{index}]");
        if matches!(item.value, Value::Table(_)) {
            let mut section = Section::table(path, KEY, item, findings);
            read.extend(model_table(&mut section, findings));
            section.finish(findings);
        } else {
            let name = read_node(path, item, findings, model_name::read);
            read.extend(name.map(|name| RawModel { name, max_price: None, has_max_price: false, worth_ppm: None }));
        }
    }
    Some(at(read))
}

fn ssh_key(section: &mut Section<'_>, findings: &mut Findings) -> Option<At<SshKey>> {
    const KEY: &str = "ssh_key";
    let path = section.path(KEY);
    let node = &section.entry(KEY, findings)?.node;
    if matches!(node.value, Value::Table(_)) {
        let mut table = Section::table(path, "instance.ssh_key", node, findings);
        let why = "the key has to come from somewhere";
        let file = table.require("file", findings, why, "write { file = \"id_ed25519.pub\" }", value::line);
        table.finish(findings);
        return file.map(|file| file.map(SshKey::File));
    }
    // The text of a key that is not acceptable may be a private one: it is never quoted.
    let mut hidden = node.clone();
    hidden.text = String::new();
    read_node(path, &hidden, findings, |node| value::text(node).and_then(|text| public_key(&text)).map(SshKey::Text))
}

/// One OpenSSH public key, trimmed.
///
/// # Errors
/// When it is none; the complaint never quotes it.
pub fn public_key(text: &str) -> Result<String, Complaint> {
    let text = text.trim();
    if text.contains("PRIVATE KEY") {
        let why = "it would be handed to every rented machine";
        return Err(Complaint::new(
            "is a private key",
            why,
            "name the public one, which ends in .pub, and replace this key",
        ));
    }
    let mut words = text.split_ascii_whitespace();
    let (kind, body) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let known = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| kind.starts_with(start));
    let coded = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    if !known || text.lines().count() != 1 || !body.starts_with("AAAA") || !body.bytes().all(coded) {
        let why = "nobody could log in with it";
        let remedy = "write one line as in id_ed25519.pub, \"ssh-ed25519 AAAA…\", or { file = \"id_ed25519.pub\" }";
        return Err(Complaint::new("is not an OpenSSH public key", why, remedy));
    }
    Ok(text.to_owned())
}

fn ports(section: &mut Section<'_>, findings: &mut Findings) -> Option<At<Vec<u16>>> {
    let ports = section.list("ports", findings, value::whole(1..=u16::MAX, "a port is a number from 1 to 65535"))?;
    if ports.value.len() > PORTS_MAX {
        let remedy = format!("forward at most {PORTS_MAX}");
        findings.fault(&ports, "is too long", "marketplaces do not forward so many ports", remedy);
        return None;
    }
    no_twice(&ports.value, "port", findings);
    Some(ports.map(|ports| ports.into_iter().map(|port| port.value).collect()))
}

/// Every item that was there before is a fault.
pub fn no_twice<T: PartialEq>(items: &[At<T>], noun: &str, findings: &mut Findings) {
    for (index, item) in items.iter().enumerate() {
        if let Some(first) = items.iter().take(index).find(|first| first.value == item.value) {
            let why = format!("it is the same {noun} as {} at {}", first.key, first.place);
            findings.fault(item, "is there twice", why, "remove one");
        }
    }
}

/// Reads `[instance]`, of a policy or of the defaults.
pub fn instance(section: &mut Section<'_>, findings: &mut Findings) -> RawInstance {
    let per_vm = || value::whole(1..=GPUS_PER_VM_MAX, "no VM has so many or so few GPUs");
    let size = |most| value::whole(1..=most, "no VM has such a size");
    let mut gpus = section.sub("gpus", findings);
    let gpus_min = gpus.read("min", findings, per_vm());
    let gpus_max = gpus.read("max", findings, per_vm());
    gpus.finish(findings);
    RawInstance {
        gpus_min,
        gpus_max,
        vcpus_per_gpu: section.read("vcpus_per_gpu", findings, size(256)),
        ram_gb_per_gpu: section.read("ram_gb_per_gpu", findings, size(4_096)),
        storage_gb: section.read("storage_gb", findings, size(100_000)),
        image: section.read("image", findings, value::line),
        ssh_key: ssh_key(section, findings),
        ports: ports(section, findings),
        cloud_init: section.read("cloud_init", findings, value::line),
        scale_down: section.read("scale_down", findings, value::word(ScaleDown::ALL, ScaleDown::as_str)),
        stopped_max_age: section.read("stopped_max_age", findings, any_duration),
    }
}

fn bounded<T>(list: Option<At<Vec<T>>>, findings: &mut Findings) -> Option<At<Vec<T>>> {
    let list = list?;
    if list.value.len() > LIST_MAX {
        findings.fault(&list, "is too long", format!("at most {LIST_MAX} entries are read"), "shorten it");
        return None;
    }
    Some(list)
}

/// An empty list where leaving the key out means any.
fn not_empty<T>(
    section: &mut Section<'_>,
    key: &'static str,
    any: &str,
    findings: &mut Findings,
    reader: impl Fn(&Node) -> Result<T, Complaint>,
) -> Option<At<Vec<At<T>>>> {
    let list = section.list(key, findings, reader);
    let list = bounded(list, findings)?;
    if section.is_empty_list(key) {
        findings.fault(&list, "is empty", "nothing would ever do", format!("leave the key out for {any}"));
        return None;
    }
    Some(list)
}

fn hosts(section: &mut Section<'_>, findings: &mut Findings) -> RawHosts {
    let deny =
        section.list("deny", findings, value::parsed("an id is 1 to 128 printable characters", "\"<hostnode id>\""));
    let raw = RawHosts {
        min_uptime_ppm: section.read("min_uptime", findings, share_of_one),
        countries: not_empty(section, "countries", "any country", findings, value::line),
        deny: bounded(deny, findings),
        max_gpus_per_hostnode: section.read(
            "max_gpus_per_hostnode",
            findings,
            value::whole(1..=GPUS_MAX, "no hostnode could be rented on, or none is so large"),
        ),
        max_share_per_location_ppm: section.read(
            "max_share_per_location",
            findings,
            value::ppm(1, PPM, "it is a share of the target, above 0 and at most 1", "0.5"),
        ),
    };
    for list in raw.countries.iter() {
        no_twice(&list.value, "country", findings);
    }
    for list in raw.deny.iter() {
        no_twice(&list.value, "hostnode", findings);
    }
    raw
}

fn spot(section: &mut Section<'_>, findings: &mut Findings) -> RawSpot {
    RawSpot {
        bid: section.read("bid", findings, value::word(BidStrategy::ALL, BidStrategy::as_str)),
        margin_ppm: section.read(
            "margin",
            findings,
            value::ppm(0, PPM, "it is a share of the price, from 0 to 1", "0.05"),
        ),
        rebid: section.read("rebid", findings, value::truth),
        asks_max: section.read(
            "asks_max",
            findings,
            value::whole(1..=100, "a search needs at least one ask, and every ask is a request"),
        ),
    }
}

fn revert(node: &Node) -> Result<Said<Revert>, Complaint> {
    let text = value::line(node)?;
    match text.parse() {
        Ok(revert) => Ok(Said::Now(revert)),
        Err(_) if text.split_whitespace().count() < 2 => {
            let mut complaint = unknown_word(&text, &[Revert::WhenAvailable.as_str(), Revert::Never.as_str()]);
            complaint.why.push_str(", or a cron window");
            Err(complaint)
        }
        Err(_) => later::cron(node).map(|_| Said::Later),
    }
}

fn when_low(node: &Node) -> Result<Said<WhenLow>, Complaint> {
    let text = value::line(node)?;
    match text.parse() {
        Ok(when_low) => Ok(Said::Now(when_low)),
        Err(_) if text == "shed" => Ok(Said::Later),
        Err(_) => Err(unknown_word(&text, &[WhenLow::Hold.as_str(), "shed", WhenLow::Never.as_str()])),
    }
}

fn on_demand(section: &mut Section<'_>, findings: &mut Findings) -> RawOnDemand {
    RawOnDemand {
        usage: section.read("use", findings, value::word(OnDemandUse::ALL, OnDemandUse::as_str)),
        after: section.read("after", findings, any_duration),
        base_gpus: section.read("base_gpus", findings, gpus),
        max_gpus: section.read("max_gpus", findings, gpus),
        revert: section.read("revert", findings, revert),
    }
}

fn disruption(section: &mut Section<'_>, findings: &mut Findings) -> RawDisruption {
    RawDisruption {
        max_unavailable: section.read("max_unavailable", findings, value::quantity(GPUS_MAX)),
        max_surge: section.read("max_surge", findings, value::quantity(GPUS_MAX)),
        max_scale_down: section.read("max_scale_down", findings, value::quantity(GPUS_MAX)),
        cooldown_up: section.read(
            "cooldown_up",
            findings,
            value::duration(COOLDOWN_MIN, "a hostnode that fails would be tried without pause"),
        ),
        cooldown_down: section.read(
            "cooldown_down",
            findings,
            value::duration(COOLDOWN_MIN, "the fleet would shrink at every flicker"),
        ),
    }
}

fn in_section<T>(
    root: &mut Section<'_>,
    key: &'static str,
    findings: &mut Findings,
    read: impl FnOnce(&mut Section<'_>, &mut Findings) -> T,
) -> T {
    let mut section = root.sub(key, findings);
    let raw = read(&mut section, findings);
    section.finish(findings);
    raw
}

/// Reads the whole file.
pub fn read(root: &Node, findings: &mut Findings) -> Raw {
    let mut top = Section::root(root);
    let name = value::parsed(NAME_GRAMMAR, "\"tensordock\"");
    let marketplaces = not_empty(&mut top, "marketplaces", "all that are configured", findings, name);
    for list in marketplaces.iter() {
        no_twice(&list.value, "marketplace", findings);
    }
    let mut later = later::read(&mut top, findings);
    let spot = in_section(&mut top, "spot", findings, |section, findings| {
        (later.delivery, later.hedge_gpus) = later::read_spot(section, findings);
        spot(section, findings)
    });
    let raw = Raw {
        top: root.place.clone(),
        fleet: top.require(
            "fleet",
            findings,
            "a fleet is known by its name",
            "add it, such as fleet = \"train\"",
            value::parsed(NAME_GRAMMAR, "\"train\""),
        ),
        target_gpus: top.require(
            "target_gpus",
            findings,
            "nobody can tell how many GPUs are wanted",
            "add it, such as target_gpus = 8",
            gpus,
        ),
        max_hourly_rate: top.require(
            "max_hourly_rate",
            findings,
            "nothing would bound what the fleet costs",
            "add it in USD per hour, such as max_hourly_rate = 6.00",
            value::rate,
        ),
        balance_floor: top.require(
            "balance_floor",
            findings,
            "nothing would be kept in the account",
            "add it in USD, such as balance_floor = 50.00",
            value::amount,
        ),
        min_runway: top.read("min_runway", findings, any_duration),
        when_low: top.read("when_low", findings, when_low),
        priority: top.read(
            "priority",
            findings,
            value::whole(-1_000_000i64..=1_000_000, "an order needs no larger numbers"),
        ),
        mode: top.read("mode", findings, value::word(Mode::ALL, Mode::as_str)),
        marketplaces,
        preference: top.read("preference", findings, value::word(Preference::ALL, Preference::as_str)),
        models: models(&mut top, findings),
        instance: in_section(&mut top, "instance", findings, instance),
        hosts: in_section(&mut top, "hosts", findings, hosts),
        spot,
        on_demand: in_section(&mut top, "on_demand", findings, on_demand),
        disruption: in_section(&mut top, "disruption", findings, disruption),
        later,
    };
    top.finish(findings);
    raw
}
