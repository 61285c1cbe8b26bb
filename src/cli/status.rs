//! `status`: the fleets of a running daemon, and what blocks them.

use super::{
    Context,
    args::StatusArguments,
    client::Client,
    failure::{Ending, Failure},
    reach,
    say::{self, say},
    terminal::{Column, Field, Mood, Terminal},
    text,
};
use crate::{
    admin::views::{AccountView, AccountsView, FleetView, FleetsView, MarketplaceView},
    model::{Timestamp, time},
    settings::BalanceRule,
};
use serde::Serialize;
use std::time::Duration;

/// A daemon that is there answers a view at once.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks with `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// Clears a terminal and goes to its top.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// What `status --json` prints: both views in one document.
#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    fleets: FleetsView,
    accounts: Vec<AccountView>,
}

/// Asks the daemon, once or until interrupted.
///
/// # Errors
/// When no daemon answers.
pub fn status(context: &Context, arguments: &StatusArguments) -> Result<Ending, Failure> {
    let StatusArguments { watch, reach, json } = arguments;
    let client = reach::daemon(context, reach)?;
    let clears = context.environment.stdout_is_terminal;
    loop {
        let document = match context.block_on(look(&client)) {
            Ok(document) => document,
            // Who watches wants to see it come back.
            Err(failure) if *watch && clears => {
                say::out(format_args!("{CLEAR}{failure}"));
                context.block_on(tokio::time::sleep(WATCH_INTERVAL));
                continue;
            }
            Err(failure) => return Err(failure),
        };
        match (json, watch) {
            (true, false) => context.print_json(&document)?,
            (true, true) => say!(
                "{}",
                serde_json::to_string(&document)
                    .map_err(|error| Failure::failed("cannot write the answer as JSON").caused_by(&error))?
            ),
            (false, true) if clears => say!("{CLEAR}{}", show(&context.terminal, &document)),
            (false, _) => say!("{}", show(&context.terminal, &document)),
        }
        if !watch || say::is_deaf() {
            return Ok(Ending::Done);
        }
        context.block_on(tokio::time::sleep(WATCH_INTERVAL));
    }
}

async fn look(client: &Client) -> Result<Document, Failure> {
    let fleets: FleetsView = client.view("fleets", Vec::new(), DEADLINE).await?;
    let accounts: AccountsView = client.view("accounts", Vec::new(), DEADLINE).await?;
    Ok(Document { fleets, accounts: accounts.accounts })
}

fn show(terminal: &Terminal, document: &Document) -> String {
    let Document { fleets: view, accounts } = document;
    let age = match view.at {
        Some(at) => format!("the newest {} ago", time::show(whole(time::elapsed(at, view.now)))),
        None => "none finished yet".to_owned(),
    };
    let mode = if view.mode == "observe" { "; observe mode: nothing is changed" } else { "" };
    let ticks = text::count(view.ticks, "tick");
    let up = time::show(whole(time::elapsed(view.started_at, view.now)));
    let mut parts = vec![format!("up for {up}; {ticks}, {age}{mode}")];
    if view.fleets.is_empty() && view.at.is_none() {
        parts.push("the first look at the market is not finished".to_owned());
    } else if view.fleets.is_empty() {
        parts.push("there are no fleets".to_owned());
    } else {
        parts.push(terminal.table(&FLEETS, view.fleets.iter().map(fleet_row).collect()));
    }
    if !accounts.is_empty() {
        parts.push(terminal.table(&ACCOUNTS, accounts.iter().map(account_row).collect()));
    }
    if !view.marketplaces.is_empty() {
        parts.push(terminal.table(
            &MARKETPLACES,
            view.marketplaces.iter().map(|marketplace| marketplace_row(marketplace, view.now)).collect(),
        ));
    }
    let notes = notes(view);
    if !notes.is_empty() {
        parts.push(notes.join("\n"));
    }
    parts.join("\n\n")
}

/// To the second: nobody reads milliseconds here.
const fn whole(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

const FLEETS: [Column; 9] = [
    Column::Text("FLEET"),
    Column::Figure("TARGET"),
    Column::Figure("RUNNING"),
    Column::Figure("COUNTED"),
    Column::Figure("USD/H"),
    Column::Figure("LIMIT"),
    Column::Figure("USD TODAY"),
    Column::Text("STATE"),
    Column::Aside("BLOCKED"),
];

fn fleet_row(fleet: &FleetView) -> Vec<Field> {
    let (state, mood) = match (fleet.evacuating, fleet.paused, fleet.target_gpus) {
        (true, ..) => ("evacuating", Mood::Bad),
        (_, true, _) => ("paused", Mood::Busy),
        (.., None) if fleet.policy.file.is_empty() => ("no policy", Mood::Bad),
        (.., None) => ("not looked at yet", Mood::Busy),
        (.., Some(_)) if fleet.mode == "observe" => ("observing", Mood::Plain),
        (.., Some(target)) if fleet.counted_gpus > target && fleet.running_gpus > target => {
            ("above its target", Mood::Busy)
        }
        (.., Some(target)) if fleet.running_gpus >= target => ("at its target", Mood::Plain),
        (.., Some(_)) => ("on its way", Mood::Busy),
    };
    let blocked: Vec<String> = fleet.blocked.iter().map(|unmet| format!("{} {}", unmet.gpus, unmet.reason)).collect();
    vec![
        Field::from(&fleet.fleet),
        Field::maybe(fleet.target_gpus),
        fleet.running_gpus.into(),
        fleet.counted_gpus.into(),
        Field::maybe(fleet.rate_usd_per_hour.as_ref().map(|rates| text::rate(rates.now))),
        Field::maybe(fleet.rate_usd_per_hour.as_ref().map(|rates| text::rate(rates.limit))),
        text::amount(fleet.totals.spend_today_usd).into(),
        Field::moody(state, mood),
        if blocked.is_empty() { "-".into() } else { Field::moody(blocked.join(", "), Mood::Busy) },
    ]
}

const ACCOUNTS: [Column; 9] = [
    Column::Text("ACCOUNT"),
    Column::Figure("BALANCE"),
    Column::Figure("FLOOR"),
    Column::Figure("USD/H"),
    Column::Figure("UNEXPLAINED"),
    Column::Figure("TO THE FLOOR"),
    Column::Figure("TO ZERO"),
    Column::Figure("USD TODAY"),
    Column::Figure("BUDGET LEFT"),
];

fn account_row(account: &AccountView) -> Vec<Field> {
    vec![
        Field::from(&account.account),
        match account.balance_usd {
            Some(balance) => text::amount(balance).into(),
            None if account.balance == BalanceRule::UnreadableOk.as_str() => Field::from("unreadable"),
            None => Field::moody("unread", Mood::Bad),
        },
        text::amount(account.floor_usd).into(),
        text::rate(account.hourly_cost_usd).into(),
        text::rate(account.unexplained_usd_per_hour).into(),
        Field::maybe(account.runway_to_floor_s.map(text::span)),
        Field::maybe(account.runway_to_zero_s.map(text::span)),
        text::amount(account.spent_today_usd).into(),
        Field::maybe(account.budget_remaining_usd.map(text::amount)),
    ]
}

/// A failure is told once, though it is why nothing may be rented too.
const MARKETPLACES: [Column; 5] = [
    Column::Text("MARKETPLACE"),
    Column::Figure("HOSTNODES"),
    Column::Figure("AGE"),
    Column::Figure("IN DOUBT"),
    Column::Aside("STATE"),
];

fn marketplace_row(marketplace: &MarketplaceView, now: Timestamp) -> Vec<Field> {
    let (state, mood) = match (&marketplace.bench, &marketplace.failed) {
        (Some(bench), Some(failed)) if failed.starts_with(bench.as_str()) => (failed.clone(), Mood::Bad),
        (Some(bench), Some(failed)) => (format!("{bench}: {failed}"), Mood::Bad),
        (Some(bench), None) => (bench.clone(), Mood::Bad),
        (None, Some(failed)) => (failed.clone(), Mood::Busy),
        (None, None) => ("ok".to_owned(), Mood::Plain),
    };
    let since = marketplace.benched_since.map(|at| format!("for {}", time::show(whole(time::elapsed(at, now)))));
    let again = marketplace.asked_again_at.map(|at| match whole(time::elapsed(now, at)) {
        Duration::ZERO => "asked again now".to_owned(),
        left => format!("asked again in {}", time::show(left)),
    });
    let state = [Some(state), since, again].into_iter().flatten().collect::<Vec<_>>().join(", ");
    vec![
        Field::from(&marketplace.marketplace),
        marketplace.hostnodes.into(),
        Field::maybe(marketplace.age_s.map(text::span)),
        marketplace.in_doubt.into(),
        Field::moody(state, mood),
    ]
}

/// What someone should read: why a target is missed, broken files, held edits, strays, troubles.
fn notes(view: &FleetsView) -> Vec<String> {
    let mut notes = Vec::new();
    for fleet in &view.fleets {
        let name = &fleet.fleet;
        if let Some(target) = &fleet.operator_target {
            let until = target.until.map(text::moment);
            let until = until.map_or_else(|| "until cleared".to_owned(), |until| format!("until {until}"));
            notes.push(format!(
                "{name}: the operator's target of {} holds {until}",
                text::count(u64::from(target.gpus), "GPU")
            ));
        }
        let way = text::over_or_short(fleet.counted_gpus, fleet.target_gpus.unwrap_or(u32::MAX));
        notes.extend(fleet.blocked.iter().map(|unmet| {
            let gpus = text::count(u64::from(unmet.gpus), "GPU");
            format!("{name}: {gpus} {way}: {}: {}", unmet.reason, unmet.detail)
        }));
        notes.extend(fleet.overbilled.iter().map(|vm| {
            let (billed, agreed) = (text::rate(vm.billed_usd_per_hour), text::rate(vm.agreed_usd_per_hour));
            format!(
                "{name}: {} is overbilled: {billed} USD/h, agreed {agreed}; it counts at what is billed",
                vm.instance
            )
        }));
        if fleet.strays > 0 {
            notes.push(format!(
                "{name}: {} not of this journal: adopt or delete",
                text::count(u64::from(fleet.strays), "stray")
            ));
        }
        if fleet.policy.gone {
            notes.push(format!("{name}: {} is gone; the fleet stays as it is, paused", fleet.policy.file));
        } else if !fleet.policy.faults.is_empty() {
            notes.push(format!("{name}: its policy on disk is not in force, the last good text is:"));
            notes.extend(fleet.policy.faults.iter().map(|fault| format!("  {fault}")));
        }
        if let Some(held) = &fleet.policy.held {
            notes.push(format!("{name}: an edit waits for `spotscale apply {name}`: {}", held.effect));
        }
    }
    notes.extend(view.marketplaces.iter().flat_map(|market| {
        market.dropped.iter().map(|line| format!("{}: could not be read: {line}", market.marketplace))
    }));
    notes.extend(view.settings_faults.iter().cloned());
    notes.extend(view.troubles.iter().cloned());
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEETS_JSON: &str = r#"{"at": "2026-11-20T18:00:00Z", "now": "2026-11-20T18:00:12.5Z",
        "started_at": "2026-11-20T17:00:00Z", "ticks": 42, "mode": "act", "scan_interval_s": 30,
        "fleets": [{"fleet": "train", "target_gpus": 8, "running_gpus": 5, "counted_gpus": 6, "gpus": {}, "instances": 3,
            "strays": 1, "rate_usd_per_hour": {"now": 3.1, "limit": 6}, "mode": "act", "paused": false,
            "evacuating": false, "blocked": [{"gpus": 2, "reason": "no_offers", "detail": "nothing eligible"}],
            "overbilled": [{"instance": "spotscale-train-k3x9-7", "agreed_usd_per_hour": 0.85,
                "billed_usd_per_hour": 0.88}],
            "totals": {"spend_usd": 40, "spend_today_usd": 12.345, "gpu_seconds": 5, "on_demand_equivalent_usd": 80},
            "policy": {"file": "train.toml", "sha256": "00", "faults": [], "gone": false,
                "held": {"sha256": "11", "effect": "tears down 6 GPUs"}}, "accounts": ["tensordock"]}],
        "marketplaces": [{"marketplace": "tensordock", "age_s": 12, "hostnodes": 87, "dropped": [], "in_doubt": 0}],
        "settings_faults": [], "troubles": []}"#;

    #[test]
    fn a_bench_says_why_for_how_long_and_when_it_may_end() {
        let state = |more: &str| {
            let json = format!(r#"{{"marketplace": "a", "hostnodes": 8, "dropped": [], "in_doubt": 0{more}}}"#);
            let row = marketplace_row(&serde_json::from_str(&json).unwrap(), "2026-11-20T18:00:30Z".parse().unwrap());
            let table = Terminal::default().table(&MARKETPLACES, vec![row]);
            table.lines().last().unwrap().split_once("0  ").unwrap().1.to_owned()
        };
        let bench = r#", "bench": "unauthorized", "failed": "unauthorized: HTTP 401",
            "benched_since": "2026-11-20T17:58:00Z", "asked_again_at": "2026-11-20T18:01:00Z""#;
        assert_eq!(state(bench), "unauthorized: HTTP 401, for 2m30s, asked again in 30s");
        let under_way = r#", "failed": "no answer: timed out", "asked_again_at": "2026-11-20T18:00:30Z""#;
        assert_eq!(state(under_way), "no answer: timed out, asked again now");
        assert_eq!(state(r#", "bench": "paused", "benched_since": "2026-11-20T17:00:30Z""#), "paused, for 1h");
        assert_eq!(state(""), "ok");
    }

    #[test]
    fn a_status_reads_at_a_glance_and_then_in_words() {
        let fleets = serde_json::from_str(FLEETS_JSON).unwrap();
        let account = r#"{"account": "tensordock", "balance_usd": 99.999, "floor_usd": 25, "hourly_cost_usd": 3.1,
            "unexplained_usd_per_hour": 0, "runway_to_floor_s": 87000, "balance": "required", "spent_today_usd": 12.34,
            "budget_remaining_usd": 7.66}"#;
        let unreadable = r#"{"account": "vectordash", "floor_usd": 25, "hourly_cost_usd": 0, "unexplained_usd_per_hour": 0,
            "balance": "unreadable-ok", "spent_today_usd": 0, "budget_remaining_usd": 20}"#;
        let accounts = [account, unreadable].map(|text| serde_json::from_str(text).unwrap());
        let document = Document { fleets, accounts: accounts.into() };
        let expected = "\
up for 1h12s; 42 ticks, the newest 12s ago

FLEET  TARGET  RUNNING  COUNTED  USD/H  LIMIT  USD TODAY  STATE       BLOCKED
train       8        5        6  3.100  6.000      12.34  on its way  2 no_offers

ACCOUNT        BALANCE  FLOOR  USD/H  UNEXPLAINED  TO THE FLOOR  TO ZERO  USD TODAY  BUDGET LEFT
tensordock       99.99  25.00  3.100        0.000         1d10m        -      12.34         7.66
vectordash  unreadable  25.00  0.000        0.000             -        -       0.00        20.00

MARKETPLACE  HOSTNODES  AGE  IN DOUBT  STATE
tensordock          87  12s         0  ok

train: 2 GPUs short: no_offers: nothing eligible
train: spotscale-train-k3x9-7 is overbilled: 0.880 USD/h, agreed 0.850; it counts at what is billed
train: 1 stray not of this journal: adopt or delete
train: an edit waits for `spotscale apply train`: tears down 6 GPUs";
        assert_eq!(show(&Terminal::default(), &document), expected);
    }
}
