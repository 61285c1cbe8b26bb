//! `explain ID --replay`: a decision recomputed from what was recorded when it was made, and compared bit by bit.
//!
//! Nobody is asked: the journal and the recording are read where they are kept, beside a running daemon or without one.

use super::{
    Context, config,
    failure::{Ending, Failure},
    say::say,
    text,
};
use crate::{
    engine::recording::{
        self,
        replay::{Round, replay},
    },
    io::store::SqliteStore,
};
use serde::Serialize;
use std::path::Path;

/// Actions told of one round at most.
const ACTIONS_MAX: usize = 20;

/// What `explain --replay --json` prints.
#[derive(Serialize)]
struct Document<'a> {
    id: &'a str,
    /// Whether every round came out as it was recorded.
    same: bool,
    rounds: &'a [Round],
}

/// Recomputes a decision.
///
/// # Errors
/// When there is no such decision, what it saw is not kept, or it comes out differently.
pub fn explain(context: &Context, id: &str, json: bool) -> Result<Ending, Failure> {
    let checked = config::check(context)?;
    let settings = checked.without_secrets().ok_or_else(|| config::faulty(&checked.faults))?;
    let open = |path: &Path| {
        let cannot = |error| Failure::failed(format!("cannot read {}", path.display())).caused_by(&error);
        SqliteStore::open_read_only(path).map_err(cannot)
    };
    let (journal, recording) = (open(&settings.state)?, open(&recording::beside(&settings.state))?);
    let rounds = {
        let _progress = context.terminal.progress("recomputing");
        let cannot = |error| Failure::failed(format!("cannot recompute {id}")).caused_by(&error);
        replay(&journal, &recording, id).map_err(cannot)?
    };
    let different = rounds.iter().filter(|round| round.difference.is_some()).count();
    if json {
        context.print_json(&Document { id, same: different == 0, rounds: &rounds })?;
    } else {
        say!("{}", told(&rounds));
    }
    match different {
        0 => Ok(Ending::Done),
        _ => Err(Failure::failed(format!(
            "{different} of {} rounds come out differently: this release plans otherwise than the one that decided, or \
             something was at work that is not recorded",
            rounds.len()
        ))),
    }
}

fn told(rounds: &[Round]) -> String {
    rounds.iter().zip(1..).map(|(round, place)| told_round(round, place)).collect::<Vec<_>>().join("\n")
}

fn told_round(round: &Round, place: usize) -> String {
    let Round { row, at, seen, actions, difference } = round;
    let mut lines = vec![format!("{}  round {place} (row {row}): {seen}", text::moment(*at))];
    lines.extend(actions.iter().take(ACTIONS_MAX).cloned());
    match actions.len() {
        0 => lines.push("nothing to do".to_owned()),
        count if count > ACTIONS_MAX => lines.push(format!("and {} more", count - ACTIONS_MAX)),
        _ => {}
    }
    lines.push(difference.as_ref().map_or_else(|| "the same".to_owned(), |told| format!("DIFFERENT: {told}")));
    lines.join("\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_says_what_was_seen_what_is_planned_and_whether_it_is_the_same() {
        let round = |row, actions: &[&str], difference: Option<&str>| Round {
            row,
            at: "2026-11-20T18:00:00Z".parse().unwrap(),
            seen: "tensordock: 9 machines, 1 quotes".to_owned(),
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
            difference: difference.map(str::to_owned),
        };
        let expected = "\
2026-11-20T18:00:00Z  round 1 (row 7): tensordock: 9 machines, 1 quotes
    ask h1 at 0.40 USD/h: its least accepted bid is not known
    the same
2026-11-20T18:00:00Z  round 2 (row 8): tensordock: 9 machines, 1 quotes
    nothing to do
    DIFFERENT: action 1: recorded 1, recomputed nothing";
        let ask = round(7, &["ask h1 at 0.40 USD/h: its least accepted bid is not known"], None);
        let other = round(8, &[], Some("action 1: recorded 1, recomputed nothing"));
        assert_eq!(told(&[ask, other]), expected);
        assert!(told_round(&round(9, &["delete x"; 23], None), 1).contains("\n    and 3 more\n    the same"));
    }
}
