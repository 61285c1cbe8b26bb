//! An edited policy beside today's, on the market that the daemon saw.
//!
//! Reads the settings, the journal (which policies are in force) and the recording beside it; asks nobody and changes
//! nothing. Both plays are of the same engine on the same timeline, and differ only by the edited policy.

use super::super::{
    Context, config,
    failure::{Ending, Failure},
    say::say,
    source::gathered,
    terminal::{Column, Field},
    text,
};
use super::SimulateArguments;
use crate::{
    engine::recording,
    io::{
        clock::{Clock, SystemClock},
        store::SqliteStore,
    },
    ledger::{PolicyText, journal},
    model::{FleetName, time},
    policy::{self, Source},
    sim::recorded::{
        LIMITS, Timeline,
        play::{FleetPlayed, Played, play},
        timeline,
    },
};
use serde::Serialize;
use std::{collections::BTreeMap, path::Path};

const COLUMNS: [Column; 9] = [
    Column::Text("FLEET"),
    Column::Text("POLICY"),
    Column::Figure("USD"),
    Column::Figure("GPU-HOURS"),
    Column::Figure("TARGET MET"),
    Column::Figure("OUTBID"),
    Column::Figure("MOVES"),
    Column::Figure("DEPLOYS"),
    Column::Aside("limits hit"),
];

/// What `simulate --recorded --json` prints.
#[derive(Serialize)]
struct Document<'a> {
    since: String,
    until: String,
    edited_fleet: &'a str,
    today: &'a Played,
    edited: &'a Played,
    limits: [&'static str; LIMITS.len()],
}

/// Compares an edited policy with those in force.
///
/// # Errors
/// When there is nothing to play, or a policy does not load.
pub fn recorded(context: &Context, arguments: &SimulateArguments) -> Result<Ending, Failure> {
    let checked = config::check(context)?;
    let settings = checked.without_secrets().ok_or_else(|| config::faulty(&checked.faults))?;
    let file = arguments.policy.as_deref().ok_or_else(|| Failure::wrong("say which edit with --policy FILE"))?;
    let edit = gathered(file)?;
    let judged = policy::check(&edit, &settings.policy_context());
    let Some(edited) = judged.policy else { return Err(config::faulty(&judged.faults)) };

    let open = |path: &Path| {
        let cannot = |error| Failure::failed(format!("cannot read {}", path.display())).caused_by(&error);
        SqliteStore::open_read_only(path).map_err(cannot)
    };
    let (book, kept) = (open(&settings.state)?, open(&recording::beside(&settings.state))?);
    let ledger = journal::replay(&book, &settings.instance_prefix)
        .map_err(|error| Failure::failed("cannot read the journal").caused_by(&error))?;
    // A fleet whose file is gone is paused: it would do nothing in a play.
    let there = ledger.policies().iter().filter(|(_, text)| text.gone_since.is_none());
    let today: BTreeMap<FleetName, Source> = there.map(|(fleet, text)| (fleet.clone(), in_force(text))).collect();
    let mut tomorrow = today.clone();
    tomorrow.insert(edited.fleet.clone(), edit);

    let since = time::before(SystemClock::real().now(), arguments.since);
    let seen =
        timeline(&kept, since).map_err(|error| Failure::failed("cannot read the recording").caused_by(&error))?;
    let (before, after) = {
        let _progress = context.terminal.progress("playing the recorded market twice");
        let cannot =
            |why: String| why.lines().fold(Failure::failed("cannot play the recorded market"), Failure::because);
        let one = |policies: &BTreeMap<FleetName, Source>| {
            let policies: Vec<Source> = policies.values().cloned().collect();
            // In virtual time a task's turn must not end by itself.
            context.block_on(tokio::task::unconstrained(play(&seen, settings, &policies))).map_err(cannot)
        };
        (one(&today)?, one(&tomorrow)?)
    };
    if arguments.json {
        let (since, until) = span(&seen);
        let (today, edited_fleet, edited) = (&before, edited.fleet.as_str(), &after);
        context.print_json(&Document { since, until, edited_fleet, today, edited, limits: LIMITS })?;
    } else {
        let (since, until) = span(&seen);
        say!("the market from {since} to {until}, {before}; outbid then: {}", seen.outbids.len());
        say!("{}", context.terminal.table(&COLUMNS, rows(&before, &after)));
        LIMITS.iter().for_each(|limit| say!("- {limit}"));
    }
    Ok(Ending::Done)
}

fn in_force(text: &PolicyText) -> Source {
    let PolicyText { file, digest: _, text, attachments, context: _, since: _, gone_since: _ } = text;
    Source { file: file.clone(), text: text.clone(), attachments: attachments.clone(), unread: BTreeMap::new() }
}

fn span(seen: &Timeline) -> (String, String) {
    let moment =
        |moment: Option<&crate::sim::recorded::Moment>| moment.map_or_else(String::new, |at| text::moment(at.at));
    (moment(seen.moments.first()), moment(seen.moments.last()))
}

/// Two rows for each fleet, today's first.
fn rows(today: &Played, edited: &Played) -> Vec<Vec<Field>> {
    let mut fleets: Vec<&String> = today.fleets.keys().chain(edited.fleets.keys()).collect();
    fleets.sort();
    fleets.dedup();
    let pair = |fleet: &String| {
        let row = |policy: &str, played: &Played| played.fleets.get(fleet).map(|found| row(fleet, policy, found));
        [row("today's", today), row("edited", edited)]
    };
    fleets.into_iter().flat_map(pair).flatten().collect()
}

fn row(fleet: &str, policy: &str, played: &FleetPlayed) -> Vec<Field> {
    let FleetPlayed { cost_usd, gpu_hours, target_met, deploys, outbids, moves, limits_gpu_hours } = played;
    let limits = limits_gpu_hours.iter().map(|(reason, hours)| format!("{hours:.1} GPU-hours {reason}"));
    vec![
        fleet.into(),
        policy.into(),
        format!("{cost_usd:.2}").into(),
        format!("{gpu_hours:.1}").into(),
        format!("{:.2}%", target_met * 100.0).into(),
        outbids.into(),
        moves.into(),
        deploys.into(),
        limits.collect::<Vec<_>>().join(", ").into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_has_a_row_for_each_policy() {
        let played = |cost_usd| {
            let limits_gpu_hours = BTreeMap::from([("rate_limit".to_owned(), 1.25)]);
            let fleet =
                FleetPlayed { cost_usd, gpu_hours: 10.0, target_met: 0.5, limits_gpu_hours, ..FleetPlayed::default() };
            Played { fleets: BTreeMap::from([("train".to_owned(), fleet)]), scan_interval_s: 300, ticks: 12 }
        };
        let rows = rows(&played(3.0), &played(2.5));
        let expected = |policy: &str, usd: &str| -> Vec<Field> {
            ["train", policy, usd, "10.0", "50.00%", "0", "0", "0", "1.2 GPU-hours rate_limit"]
                .map(Field::from)
                .to_vec()
        };
        assert_eq!(rows, [expected("today's", "3.00"), expected("edited", "2.50")]);
        assert_eq!(played(1.0).to_string(), "12 looks, one each 5m");
    }
}
