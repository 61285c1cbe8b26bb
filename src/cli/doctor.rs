//! `doctor`: clock, credentials, journal, lock, limits, reachability: one line each, ok or remedy. Touches nothing.

use super::{
    Context,
    args::Reach,
    config,
    failure::{Ending, Failure},
    probe::{self, Probed},
    reach,
    say::say,
    text,
};
use crate::{
    engine::{law, recording},
    io::{
        clock::{Clock, SystemClock},
        files::Disk,
        store::{Store, sqlite::SqliteStore},
    },
    model::{HourlyRate, MarketplaceName, Timestamp, time},
    policy::Policy,
    settings::Settings,
};
use serde::Serialize;
use std::{path::Path, time::Duration};

/// A clock that is further off than this misjudges how old an answer is.
const SKEW_MAX: Duration = Duration::from_secs(30);
/// No clock that was ever set stands before this: 2026-01-01.
const CLOCK_MIN_S: i64 = 1_767_225_600;

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    /// As it should be.
    Ok(String),
    /// The fact, and what to do.
    Remedy(String),
}

/// The report, as it is printed.
#[derive(Debug, Default)]
struct Report(Vec<(&'static str, Finding)>);

impl Report {
    fn ok(&mut self, what: &'static str, line: impl Into<String>) {
        self.0.push((what, Finding::Ok(line.into())));
    }

    fn remedy(&mut self, what: &'static str, line: impl Into<String>) {
        self.0.push((what, Finding::Remedy(line.into())));
    }

    fn lines(&self) -> Vec<String> {
        let line = |(what, finding): &(&'static str, Finding)| match finding {
            Finding::Ok(line) => format!("ok      {what:<12}  {line}"),
            Finding::Remedy(line) => format!("remedy  {what:<12}  {line}"),
        };
        self.0.iter().map(line).collect()
    }

    fn document(&self) -> Document<'_> {
        let findings = self.0.iter().map(|(what, finding)| {
            let (Finding::Ok(detail) | Finding::Remedy(detail)) = finding;
            FindingView { what, ok: matches!(finding, Finding::Ok(_)), detail }
        });
        Document { findings: findings.collect() }
    }

    fn is_well(&self) -> bool {
        self.0.iter().all(|(_, finding)| matches!(finding, Finding::Ok(_)))
    }
}

/// What `doctor --json` prints.
#[derive(Serialize)]
struct Document<'a> {
    findings: Vec<FindingView<'a>>,
}

/// One finding of it.
#[derive(Serialize)]
struct FindingView<'a> {
    what: &'a str,
    ok: bool,
    /// The fact, and where it is not well what to do.
    detail: &'a str,
}

/// Examines everything that can be examined, even when something earlier is ill.
///
/// # Errors
/// When the settings cannot be read at all, or something needs a remedy.
pub fn doctor(context: &Context, reach: &Reach, json: bool) -> Result<Ending, Failure> {
    let mut report = Report::default();
    let checked = config::check(context)?;
    let path = config::path(context);
    match checked.faults.as_slice() {
        [] => report.ok("settings", path.display().to_string()),
        [first] => report.remedy("settings", first.to_string()),
        [first, rest @ ..] => report.remedy("settings", format!("{first}; {} more, see `spotscale check`", rest.len())),
    }
    for fault in &checked.unresolved {
        report.remedy("credentials", fault.to_string());
    }
    if let Some(settings) = checked.without_secrets() {
        let policies = policies(settings, &mut report);
        limits(settings, &policies, &mut report);
        let answers = reach::daemon(context, reach).map(|client| {
            let answers = context.block_on(client.answers());
            (client.url().to_owned(), answers)
        });
        journal(settings, &mut report);
        match answers {
            Ok((url, answers)) => daemon(settings, &url, answers, &mut report),
            Err(failure) => report.remedy("daemon", failure.line),
        }
        let now = SystemClock::real().now();
        if checked.unresolved.is_empty() {
            let _progress = context.terminal.progress("asking the marketplaces");
            let probed = context.block_on(probe::credentials(settings))?;
            marketplaces(&probed, &mut report);
            clock(now, &probed, &mut report);
        } else {
            clock(now, &[], &mut report);
        }
    }
    if json {
        context.print_json(&report.document())?;
    } else {
        report.lines().iter().for_each(|line| say!("{line}"));
    }
    if report.is_well() { Ok(Ending::Done) } else { Err(Failure::failed("something needs a remedy, see above")) }
}

fn policies(settings: &Settings, report: &mut Report) -> Vec<Policy> {
    let folder = settings.policies.display();
    match law::read_folder(&Disk, &settings.policies, &settings.policy_context()) {
        Err(reason) => {
            report.remedy("policies", format!("{reason}; make the folder, or mend `policies`"));
            Vec::new()
        }
        Ok(read) => {
            let faults: usize =
                read.unread.len() + read.texts.iter().map(|(_, checked)| checked.faults.len()).sum::<usize>();
            let good: Vec<Policy> = read.texts.into_iter().filter_map(|(_, checked)| checked.policy).collect();
            match (faults, good.len()) {
                (0, 0) => report.remedy("policies", format!("{folder} is empty: nothing is held; put a policy there")),
                (0, count) => report.ok("policies", format!("{count} in {folder}")),
                (faults, _) => report.remedy("policies", format!("{faults} faults in {folder}; see `spotscale check`")),
            }
            good
        }
    }
}

fn limits(settings: &Settings, policies: &[Policy], report: &mut Report) {
    let wanted: HourlyRate = policies.iter().map(|policy| policy.max_hourly_rate).sum();
    let floor = settings.limits.balance_floor;
    let over_all = match settings.limits.max_hourly_rate {
        Some(limit) => format!("{limit} USD/h over all, policies may ask for {wanted}"),
        None => format!("none over all; policies may ask for {wanted} USD/h"),
    };
    let accounts: String =
        settings.limits.accounts.iter().map(|(name, limits)| format!("; {name}: {limits}")).collect();
    report.ok("limits", format!("{over_all}; the floor is {floor} USD{accounts}"));
}

fn journal(settings: &Settings, report: &mut Report) {
    let path = settings.state.display();
    if !settings.state.exists() {
        // Of a bare name the folder is the present one.
        let folder = settings.state.parent().unwrap_or(Path::new(""));
        if folder.as_os_str().is_empty() || folder.is_dir() {
            report.ok("journal", format!("{path} does not exist yet; the first run makes it"));
        } else {
            report.remedy("journal", format!("the folder of {path} does not exist; make it, or mend `state`"));
        }
        return;
    }
    let newest = SqliteStore::open_read_only(&settings.state).and_then(|store| store.read(0, 1).map(|rows| rows.len()));
    match newest {
        Ok(_) => report.ok("journal", format!("{path} opens; {}", recorded(settings))),
        Err(error) => report.remedy("journal", error.to_string()),
    }
}

/// How far back decisions can be recomputed. That they cannot be hurts nobody's fleet.
fn recorded(settings: &Settings) -> String {
    let store = SqliteStore::open_read_only(&recording::beside(&settings.state));
    match store.and_then(|store| recording::reach(&store)) {
        Ok(Some(reach)) => reach.to_string(),
        Ok(None) => "what is seen is not recorded yet".to_owned(),
        Err(error) => format!("what was seen cannot be read: {error}"),
    }
}

fn daemon(settings: &Settings, url: &str, answers: bool, report: &mut Report) {
    let locked = SqliteStore::is_in_use(&settings.state);
    match (answers, locked) {
        (true, _) => report.ok("daemon", format!("answers at {url} and holds the lock")),
        (false, Ok(false)) => report.ok("daemon", format!("none runs: nobody answers at {url}, and the lock is free")),
        (false, Ok(true)) => report.remedy(
            "daemon",
            format!(
                "the lock of {} is held and nobody answers at {url}: it is starting, stuck, or listens elsewhere",
                settings.state.display()
            ),
        ),
        (false, Err(error)) => report.remedy("daemon", error.to_string()),
    }
}

fn marketplaces(probed: &[(MarketplaceName, Probed)], report: &mut Report) {
    for (marketplace, Probed { taken, date: _ }) in probed {
        match taken {
            Ok(()) => report.ok("marketplace", format!("{marketplace} answers and takes the credentials")),
            Err(refusal) => report.remedy("marketplace", probe::remedy(marketplace, refusal)),
        }
    }
}

fn clock(now: Timestamp, probed: &[(MarketplaceName, Probed)], report: &mut Report) {
    if now.as_second() < CLOCK_MIN_S {
        report.remedy("clock", format!("it is not {now}; set the clock"));
        return;
    }
    let off = |date: Timestamp| time::elapsed(date, now).max(time::elapsed(now, date));
    let dated = probed.iter().filter_map(|(marketplace, probed)| Some((marketplace, off(probed.date?))));
    match dated.max_by_key(|(_, off)| *off) {
        Some((marketplace, off)) if off > SKEW_MAX => report.remedy(
            "clock",
            format!("{} off from {marketplace}'s; let the machine follow a time server", time::show(off)),
        ),
        Some((marketplace, _)) => report.ok("clock", format!("agrees with {marketplace}'s")),
        None => report.ok("clock", format!("{}; no marketplace said what it has", text::moment(now))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probed(date: &str) -> Vec<(MarketplaceName, Probed)> {
        vec![("tensordock".parse().unwrap(), Probed { taken: Ok(()), date: Some(date.parse().unwrap()) })]
    }

    #[track_caller]
    fn check_clock(now: &str, there: &str, expected: &str) {
        let mut report = Report::default();
        clock(now.parse().unwrap(), &probed(there), &mut report);
        assert_eq!(report.lines(), [expected]);
    }

    #[test]
    fn a_clock_may_be_half_a_minute_off_and_no_more() {
        let there = "2026-11-20T18:00:00Z";
        check_clock("2026-11-20T18:00:30Z", there, "ok      clock         agrees with tensordock's");
        let off = "remedy  clock         31s off from tensordock's; let the machine follow a time server";
        check_clock("2026-11-20T18:00:31Z", there, off);
        check_clock("2026-11-20T17:59:29Z", there, off);
        check_clock(
            "1970-01-01T00:00:09Z",
            there,
            "remedy  clock         it is not 1970-01-01T00:00:09Z; set the clock",
        );
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let mut report = Report::default();
        let refused = Probed { taken: Err(crate::model::Refusal::Unauthorized("invalid token".into())), date: None };
        marketplaces(&[("tensordock".parse().unwrap(), refused)], &mut report);
        assert!(!report.is_well());
        let line = "remedy  marketplace   tensordock does not take the credentials (invalid token); renew them";
        assert_eq!(report.lines(), [line]);
        let document = serde_json::to_string(&report.document()).unwrap();
        assert!(document.starts_with(r#"{"findings":[{"what":"marketplace","ok":false,"detail":"tensordock does"#));
    }
}
