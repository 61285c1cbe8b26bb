//! The crash matrix: the daemon is killed at every request boundary, started again, and held against the market's word.
//!
//! `spotscale run` on `spotscale marketplace`, each in its own process, over real HTTP, with a proxy between them that
//! kills the daemon (SIGKILL) before a request is sent, after its effect or after its answer. It is started again on the
//! same state, the story goes on, and at its end no VM may be doubled, none lost, and the market's own list must be the
//! ledger's.
//!
//! ```text
//! cargo test --test crash                        one of each kind of call, and 5 points
//! cargo test --test crash -- whole               everything
//! cargo test --test crash -- whole deploy        of everything, the cases whose name has that word
//! cargo test --test crash -- --seed 7 whole      in another market, at other points
//! cargo test --test crash -- --story deploy      and the whole story of each, failed or not
//! ```
//!
//! It has a `main` of its own, for the sake of the table and of cases that run side by side.

mod case;
mod proxy;
mod stage;
mod story;
mod vendor;

use case::{Case, Outcome};
use proxy::KINDS;
use spotscale::io::clock::{Clock, SystemClock};
use std::{collections::BTreeSet, process::ExitCode, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet};

/// Cases at a time: most of their time they wait for the next tick.
const CASES_AT_A_TIME: usize = 6;
/// A seed like any other.
const SEED: u64 = 1;

/// What was asked for.
struct Asked {
    cases: Vec<Case>,
    /// No case was asked for by name.
    is_all: bool,
    /// Only their names are wanted.
    lists: bool,
    /// Stories are wanted of what went well too.
    tells: bool,
}

/// `whole`, `--seed N`, words of cases' names; what else a test runner is told does not matter here.
fn asked(arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let (mut is_whole, mut lists, mut tells, mut seed, mut words) = (false, false, false, SEED, Vec::new());
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "whole" => is_whole = true,
            "--list" => lists = true,
            "--story" => tells = true,
            "--seed" => {
                let number = arguments.next().and_then(|number| number.parse().ok());
                seed = number.ok_or("--seed needs a number")?;
            }
            "--test-threads" | "--skip" | "--format" | "--color" => drop(arguments.next()),
            option if option.starts_with('-') => {}
            _ => words.push(argument),
        }
    }
    let mut cases = if is_whole { case::whole(seed) } else { case::small(seed) };
    cases.retain(|case| words.iter().all(|word| case.name.contains(word.as_str())));
    // A runner's filter may well be for other tests than these; who asks for the whole means these.
    if is_whole && cases.is_empty() {
        return Err(format!("no case has `{}` in its name; `--list` names them", words.join(" ")));
    }
    println!("crash matrix: {} cases, seed {seed}, {CASES_AT_A_TIME} at a time", cases.len());
    Ok(Asked { cases, is_all: words.is_empty(), lists, tells })
}

/// Plays all of them, a few at a time, and prints each as it ends.
async fn play(cases: Vec<Case>, tells: bool, clock: &dyn Clock) -> Vec<(String, Outcome)> {
    let places = Arc::new(Semaphore::new(CASES_AT_A_TIME));
    let mut playing = JoinSet::new();
    let mut outcomes = Vec::new();
    for case in cases {
        let places = Arc::clone(&places);
        playing.spawn(async move {
            let _place = places.acquire().await;
            let clock = SystemClock::real();
            let outcome = case.play().await;
            (case, outcome, clock.monotonic())
        });
    }
    while let Some(played) = playing.join_next().await {
        match played {
            Ok((case, outcome, took)) => {
                println!("{}", row(&case, &outcome, took));
                if tells || outcome.told.is_err() {
                    println!("{}", outcome.story);
                }
                outcomes.push((case.name, outcome));
            }
            Err(panicked) => {
                let outcome = Outcome::failed(panicked.to_string());
                println!("FAIL  a case: {panicked}");
                outcomes.push(("a case".to_owned(), outcome));
            }
        }
    }
    println!("{} cases in {:.0} s", outcomes.len(), clock.monotonic().as_secs_f64());
    outcomes
}

fn row(case: &Case, outcome: &Outcome, took: Duration) -> String {
    let (verdict, told) = match &outcome.told {
        Ok(told) => ("ok  ", told.as_str()),
        Err(why) => ("FAIL", why.as_str()),
    };
    let (name, requests) = (&case.name, outcome.requests);
    format!("{verdict}  {name:<38} {:>5.1} s {requests:>4} requests  {told}", took.as_secs_f64())
}

fn main() -> ExitCode {
    let Asked { cases, is_all, lists, tells } = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    if lists {
        cases.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let outcomes = runtime.block_on(play(cases, tells, &SystemClock::real()));
    let failed: Vec<&str> =
        outcomes.iter().filter(|(_, outcome)| outcome.told.is_err()).map(|(name, _)| name.as_str()).collect();
    let made: BTreeSet<&String> = outcomes.iter().flat_map(|(_, outcome)| &outcome.paths).collect();
    let unmade = KINDS.iter().filter(|kind| is_all && !made.contains(&kind.path.to_owned()));
    let unmade: Vec<&str> = unmade.map(|kind| kind.name).collect();
    if failed.is_empty() && unmade.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {}; calls never made: {}", failed.join(", "), unmade.join(", "));
    ExitCode::FAILURE
}
