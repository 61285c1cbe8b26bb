//! Keys whose work is not built yet: read and checked in full, and only then refused.
//!
//! A key that is silently ignored is a promise broken. What is written here must be right by itself, so that nobody
//! learns of a slip only on the day the work lands; then it is a fault wherever ignoring it could spend or destroy more
//! than the operator meant, and a warning elsewhere.

use super::{
    fault::{At, Complaint, Findings},
    raw::{GPUS_MAX, any_duration, gpus},
    section::Section,
    terms::PPM,
    tree::{Node, Value},
    value,
};
use crate::model::Usd;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use std::time::Duration;

/// A cron expression longer than this is not looked at, in bytes.
const CRON_BYTES_MAX: usize = 200;
/// No command has more arguments.
const ARGUMENTS_MAX: usize = 100;

/// `[demand]`, as far as other keys look at it.
#[derive(Clone, Debug)]
pub struct Demand {
    /// The table.
    pub at: At<()>,
    /// The least target.
    pub min_gpus: Option<At<u32>>,
}

/// All that was said of what is not built yet.
#[derive(Clone, Debug, Default)]
pub struct Later {
    /// `max_spend_per_day`: USD, UTC day.
    pub max_spend_per_day: Option<At<Usd>>,
    /// `max_spend_per_month`: USD, UTC month.
    pub max_spend_per_month: Option<At<Usd>>,
    /// `spot.delivery`: share of the target's GPU-hours. Default 0.99.
    pub delivery: Option<At<u64>>,
    /// `spot.hedge_gpus`: count. Default 0.
    pub hedge_gpus: Option<At<u32>>,
    /// The `target_gpus` of every `[[schedule]]`.
    pub schedules: Vec<At<u32>>,
    /// `[demand]`.
    pub demand: Option<Demand>,
    /// `hooks.before_teardown`.
    pub before_teardown: Option<At<()>>,
    /// `hooks.after_running`.
    pub after_running: Option<At<()>>,
    /// `[health]`.
    pub health: Option<At<()>>,
    /// The inside ports a health check looks at.
    pub health_ports: Vec<At<u16>>,
    /// `[replace]`.
    pub replace: Option<At<()>>,
}

/// A cron expression of 5 or 6 fields that happens at least once.
///
/// # Errors
/// When it is none.
pub fn cron(node: &Node) -> Result<Cron, Complaint> {
    const EXAMPLE: &str = "write it like \"0 8 * * Mon-Fri\"";
    let text = value::line(node)?;
    let fields = text.split_whitespace().count();
    let named = text.trim().starts_with('@');
    if text.len() > CRON_BYTES_MAX || !(named || (5..=6).contains(&fields)) {
        let fact = format!("has {fields} {}", if fields == 1 { "field" } else { "fields" });
        return Err(Complaint::new(fact, "a cron expression has 5 or 6", EXAMPLE));
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    let cron = parser.parse(&text).map_err(|error| {
        let why = error.to_string().trim_end_matches('.').to_owned();
        Complaint::new("is not a cron expression", why, EXAMPLE)
    })?;
    // From a leap year on, whatever can happen happens within what the search looks at.
    let from = jiff::civil::date(2024, 1, 1).at(0, 0, 0, 0);
    if cron.find_next_occurrence(&from, true).is_err() {
        return Err(Complaint::new("never happens", "no day is like that", EXAMPLE));
    }
    Ok(cron)
}

/// A time zone of the system's database.
fn timezone(node: &Node) -> Result<String, Complaint> {
    let name = value::line(node)?;
    match jiff::tz::TimeZone::get(&name) {
        Ok(_) => Ok(name),
        Err(_) => Err(Complaint::new(
            "is not a known time zone",
            "this system's time zone database does not have it",
            "write it like \"Europe/Warsaw\", or install the database",
        )),
    }
}

/// An `http` or `https` address without credentials.
pub fn url(node: &Node) -> Result<String, Complaint> {
    let text = value::line(node)?;
    is_url(&text).map(|()| text)
}

fn is_url(text: &str) -> Result<(), Complaint> {
    const EXAMPLE: &str = "write it like \"http://127.0.0.1:8080/path\"";
    let parsed =
        reqwest::Url::parse(text).map_err(|error| Complaint::new("is not a URL", error.to_string(), EXAMPLE))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host().is_none() {
        return Err(Complaint::new("is not a web address", "only http and https are spoken", EXAMPLE));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(Complaint::new("holds credentials", "this file is not the place for a secret", "remove them"));
    }
    Ok(())
}

/// `http://{ip}:{port:8888}/healthz`: the inside ports it names.
fn health_url(node: &Node) -> Result<Vec<u16>, Complaint> {
    let text = value::line(node)?;
    let mut ports = Vec::new();
    let mut filled = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, tail)) = after.split_once('}') else { break };
        filled.push_str(before);
        match (name, name.strip_prefix("port:").map(str::parse::<u16>)) {
            ("ip", _) => filled.push_str("127.0.0.1"),
            (_, Some(Ok(port))) if port > 0 => {
                ports.push(port);
                filled.push_str(&port.to_string());
            }
            _ => {
                let why = format!("{{{name}}} is not something to fill in");
                return Err(Complaint::new(
                    "is not acceptable",
                    why,
                    "only {ip} and {port:<inside port>} are filled in",
                ));
            }
        }
        rest = tail;
    }
    filled.push_str(rest);
    is_url(&filled).map(|()| ports)
}

fn schedules(top: &mut Section<'_>, findings: &mut Findings) -> Vec<At<u32>> {
    const KEY: &str = "schedule";
    let Some(entry) = top.entry(KEY, findings) else { return Vec::new() };
    let items = match &entry.node.value {
        Value::Broken => return Vec::new(),
        Value::List(items) => items,
        other => {
            let fact = format!("is {}", other.noun());
            let complaint = Complaint::new(fact, "there can be several schedules", "write [[schedule]]");
            findings.fault_at(&entry.node.place, KEY, &entry.node.text, complaint);
            return Vec::new();
        }
    };
    let mut targets = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let mut section = Section::table(format!("{KEY}[{index}]"), KEY, item, findings);
        let why = "nobody can tell when it starts";
        section.require("cron", findings, why, "add it, such as cron = \"0 8 * * Mon-Fri\"", cron);
        section.read("timezone", findings, timezone);
        let lasting = value::duration(Duration::from_secs(1), "a schedule that lasts no time does nothing");
        section.require("for", findings, "nobody can tell when it ends", "add it, such as for = \"10h\"", lasting);
        let why = "nobody can tell what it asks for";
        targets.extend(section.require("target_gpus", findings, why, "add it, such as target_gpus = 16", gpus));
        section.finish(findings);
    }
    targets
}

fn on_missing(node: &Node) -> Result<Option<u32>, Complaint> {
    match &node.value {
        Value::Text(text) if text == "hold" => Ok(None),
        Value::Whole(_) => gpus(node).map(Some),
        _ => Err(Complaint::new("is not known", "it is \"hold\" or a number of GPUs", "write \"hold\"")),
    }
}

fn demand(top: &mut Section<'_>, findings: &mut Findings) -> Option<Demand> {
    let mut section = top.sub("demand", findings);
    let why = "there is nobody to ask";
    section.require("prometheus", findings, why, "add it, such as prometheus = \"http://127.0.0.1:9090\"", url);
    let why = "there is nothing to ask";
    section.require("query", findings, why, "add a PromQL expression that gives a number of GPUs", value::text);
    let min_gpus = section.read("min_gpus", findings, gpus);
    let why = "nothing would bound what is asked for";
    let max_gpus = section.require("max_gpus", findings, why, "add it, such as max_gpus = 32", gpus);
    let on_missing = section.read("on_missing", findings, on_missing);
    let least = min_gpus.as_ref().map_or(0, |min| min.value);
    if let Some(max) = max_gpus.as_ref().filter(|max| max.value < least) {
        let fact = format!("is below demand.min_gpus = {least}");
        findings.fault(max, fact, "no target is within both", "raise one or lower the other");
    }
    let most = max_gpus.as_ref().map_or(GPUS_MAX, |max| max.value);
    if let Some(on_missing) = on_missing.filter(|at| at.value.is_some_and(|count| !(least..=most).contains(&count))) {
        let why = format!("demand is kept from {least} to {most}");
        findings.fault(&on_missing, "is out of bounds", why, "choose a number within, or \"hold\"");
    }
    let found = section.is_there().then(|| Demand { at: section.mark(), min_gpus });
    section.finish(findings);
    found
}

/// A hook: exactly one of a URL and a command.
fn hook(hooks: &mut Section<'_>, key: &'static str, findings: &mut Findings) -> Option<At<()>> {
    let mut section = hooks.sub(key, findings);
    section.read("url", findings, url);
    if let Some(command) = section.list("command", findings, value::line) {
        let why = "there is nothing to run";
        if section.is_empty_list("command") {
            findings.fault(&command, "is empty", why, "write it like [\"/usr/local/bin/drain\"]");
        } else if command.value.len() > ARGUMENTS_MAX {
            findings.fault(&command, "is too long", format!("at most {ARGUMENTS_MAX} words are run"), "call a script");
        }
    }
    section.read("timeout", findings, value::duration(Duration::from_secs(1), "nothing answers in no time"));
    let mark = section.mark();
    match (section.has("url"), section.has("command")) {
        (true, true) => findings.fault(&mark, "has a url and a command", "only one is called", "remove one"),
        (false, false) if section.is_there() => {
            findings.fault(&mark, "has neither url nor command", "there is nothing to call", "add one of them");
        }
        (true | false, true | false) => {}
    }
    let found = section.is_there().then_some(mark);
    section.finish(findings);
    found
}

fn health(top: &mut Section<'_>, findings: &mut Findings) -> (Option<At<()>>, Vec<At<u16>>) {
    let mut section = top.sub("health", findings);
    let mark = section.mark();
    let mut ready = section.sub("ready", findings);
    let mut ports = Vec::new();
    ports.extend(ready.read("tcp", findings, value::whole(1..=u16::MAX, "a port is a number from 1 to 65535")));
    if let Some(http) = ready.read("http", findings, health_url) {
        ports.extend(http.value.iter().map(|port| At { value: *port, ..http.clone().map(|_| 0) }));
    }
    match (ready.has("tcp"), ready.has("http")) {
        (true, true) => findings.fault(&ready.mark(), "has tcp and http", "only one is asked", "remove one"),
        (false, false) if ready.is_there() || (section.is_there() && !section.has("ready")) => {
            let remedy = "add ready = { tcp = 22 } or { http = \"http://{ip}:{port:8888}/healthz\" }";
            findings.fault(&mark, "says nothing of ready", "nobody can tell what ready means", remedy);
        }
        (true | false, true | false) => {}
    }
    ready.finish(findings);
    let positive = || value::duration(Duration::from_secs(1), "no VM would ever be ready in time");
    section.read("within", findings, positive());
    section.read("failing_for", findings, positive());
    let found = section.is_there().then_some(mark);
    section.finish(findings);
    (found, ports)
}

fn replace(top: &mut Section<'_>, findings: &mut Findings) -> Option<At<()>> {
    let mut section = top.sub("replace", findings);
    let why = "nobody can tell what makes a move worth it";
    let share = value::ppm(1, PPM - 1, "it is a share of the price, above 0 and below 1", "0.20");
    section.require("when_cheaper_by", findings, why, "add it, such as when_cheaper_by = 0.20", share);
    section.read("after", findings, any_duration);
    section.read("min_lifetime", findings, any_duration);
    section.read("max_per_day", findings, value::whole(1..=1_000u32, "leave [replace] out to never move"));
    let found = section.is_there().then(|| section.mark());
    section.finish(findings);
    found
}

/// Reads what stands at the top of the file or in tables of its own.
pub fn read(top: &mut Section<'_>, findings: &mut Findings) -> Later {
    let max_spend_per_day = top.read("max_spend_per_day", findings, value::amount);
    let max_spend_per_month = top.read("max_spend_per_month", findings, value::amount);
    let schedules = schedules(top, findings);
    let demand = demand(top, findings);
    let mut hooks = top.sub("hooks", findings);
    let before_teardown = hook(&mut hooks, "before_teardown", findings);
    let after_running = hook(&mut hooks, "after_running", findings);
    hooks.finish(findings);
    let (health, health_ports) = health(top, findings);
    Later {
        max_spend_per_day,
        max_spend_per_month,
        delivery: None,
        hedge_gpus: None,
        schedules,
        demand,
        before_teardown,
        after_running,
        health,
        health_ports,
        replace: replace(top, findings),
    }
}

/// Reads what stands in `[spot]`: `delivery` and `hedge_gpus`.
pub fn read_spot(section: &mut Section<'_>, findings: &mut Findings) -> (Option<At<u64>>, Option<At<u32>>) {
    let share = value::ppm(1, PPM, "it is a share of the target's GPU-hours, above 0 and at most 1", "0.99");
    (section.read("delivery", findings, share), section.read("hedge_gpus", findings, gpus))
}

const NOT_YET: &str = "is not supported yet";

/// Says of everything that is not built yet what follows from that.
pub fn refuse(later: &Later, target_gpus: Option<u32>, findings: &mut Findings) {
    let Later {
        max_spend_per_day,
        max_spend_per_month,
        delivery,
        hedge_gpus,
        schedules,
        demand,
        before_teardown,
        after_running,
        health,
        health_ports: _,
        replace,
    } = later;
    for budget in [max_spend_per_day, max_spend_per_month].into_iter().flatten() {
        findings.fault(budget, NOT_YET, "the fleet could spend more than this", "remove it; max_hourly_rate is kept");
    }
    if let Some(delivery) = delivery {
        findings.warn(delivery, NOT_YET, "bids follow the market without it", "nothing needs to be done");
    }
    if let Some(hedge) = hedge_gpus.as_ref().filter(|hedge| hedge.value > 0) {
        findings.warn(hedge, NOT_YET, "no GPU beyond the target is rented", "nothing needs to be done");
    }
    let target = target_gpus.unwrap_or(GPUS_MAX);
    for schedule in schedules {
        if schedule.value < target {
            let why = "the fleet would stay at its larger target_gpus meanwhile";
            findings.fault(schedule, NOT_YET, why, "remove the schedule, or lower target_gpus by hand");
        } else {
            findings.warn(schedule, NOT_YET, "the fleet stays at target_gpus", "raise target_gpus by hand meanwhile");
        }
    }
    if let Some(Demand { at, min_gpus }) = demand {
        if min_gpus.as_ref().map_or(0, |min| min.value) < target {
            let why = "the fleet would stay at target_gpus however little is asked for";
            findings.fault(at, NOT_YET, why, "remove the table");
        } else {
            findings.warn(at, NOT_YET, "the fleet stays at target_gpus", "nothing needs to be done");
        }
    }
    if let Some(hook) = before_teardown {
        findings.fault(hook, NOT_YET, "VMs would be torn down without it being called", "remove it");
    }
    if let Some(hook) = after_running {
        findings.warn(hook, NOT_YET, "it is never called", "call it from cloud_init meanwhile");
    }
    if let Some(health) = health {
        findings.warn(
            health,
            NOT_YET,
            "the marketplace's word \"running\" counts as ready",
            "nothing needs to be done",
        );
    }
    if let Some(replace) = replace {
        findings.fault(replace, NOT_YET, "the fleet would stay on hosts that became dearer", "remove the table");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fault::Place;

    fn cron_of(text: &str) -> Result<(), Complaint> {
        cron(&Node { place: Place::top("f"), text: String::new(), value: Value::Text(text.to_owned()) }).map(|_| ())
    }

    #[test]
    fn cron_has_five_or_six_fields_and_happens() {
        for good in ["0 8 * * Mon-Fri", "30 0 8 * * *", "*/5 * * * *", "@daily", "0 0 29 2 *", "0 0 L * *"] {
            assert_eq!(cron_of(good), Ok(()), "{good}");
        }
        for bad in ["", "* * * *", "0 8 * * * * 2026", "61 * * * *", "0 0 31 2 *", "0 8 * * Funday", "@sometimes"] {
            assert!(cron_of(bad).is_err(), "{bad}");
        }
    }
}
