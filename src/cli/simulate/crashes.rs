//! The power cut at every step of a set of stories: all of it, and what came of it.

use super::{Context, Ending, Failure, SimulateArguments};
use crate::{
    cli::{
        say::say,
        terminal::{Column, Field, Mood},
    },
    sim::{
        crashes::{Matrix, Outcome},
        seed::Seed,
    },
};
use serde::Serialize;
use std::{num::NonZeroUsize, thread};

/// Failing cases that are named; the others are counted.
const NAMED_MAX: usize = 40;

/// One story's line.
#[derive(Debug, Serialize)]
struct StoryView {
    story: &'static str,
    appends: usize,
    requests: usize,
    cases: usize,
    ok: usize,
}

/// One case that failed.
#[derive(Debug, Serialize)]
struct FailedView {
    case: String,
    why: String,
}

/// The whole verdict.
#[derive(Debug, Serialize)]
struct MatrixView {
    seed: u64,
    stories: Vec<StoryView>,
    cases: usize,
    ok: usize,
    failed: Vec<FailedView>,
}

/// Plays the whole matrix.
///
/// # Errors
/// When a story does not come to its end without a crash.
pub fn crashes(context: &Context, arguments: &SimulateArguments) -> Result<Ending, Failure> {
    let matrix = Matrix::of(Seed(arguments.seed)).map_err(Failure::failed)?;
    let cases: Vec<usize> = (0..matrix.cases.len()).collect();
    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    if !arguments.json {
        say!("seed {}, {} stories, {} cases", arguments.seed, matrix.stories.len(), cases.len());
    }
    let outcomes = {
        let progress = context.terminal.bar("cutting the power", cases.len() as u64);
        matrix.play(&cases, threads, &|| progress.done()).map_err(Failure::failed)?
    };
    let view = view(&matrix, &outcomes);
    if arguments.json {
        context.print_json(&view)?;
    } else {
        show(context, &view);
        if let Some(first) = outcomes.iter().find(|outcome| outcome.verdict.is_err()) {
            let name = matrix.cases.get(first.case).map(|case| case.name.as_str()).unwrap_or_default();
            say!("\n{name}, tick by tick:");
            matrix.tell(first.case).iter().for_each(|line| say!("{line}"));
        }
    }
    Ok(if view.failed.is_empty() { Ending::Done } else { Ending::Failed })
}

fn view(matrix: &Matrix, outcomes: &[Outcome]) -> MatrixView {
    let of_story = |number: usize| {
        let is_of = move |outcome: &&Outcome| matrix.cases.get(outcome.case).is_some_and(|case| case.story == number);
        outcomes.iter().filter(is_of)
    };
    let stories = matrix.stories.iter().enumerate().map(|(number, (story, steps))| StoryView {
        story: story.name,
        appends: steps.appends.len(),
        requests: steps.requests.len(),
        cases: of_story(number).count(),
        ok: of_story(number).filter(|outcome| outcome.verdict.is_ok()).count(),
    });
    let failed = outcomes.iter().filter_map(|outcome| {
        let case = matrix.cases.get(outcome.case)?.name.clone();
        Some(FailedView { case, why: outcome.verdict.clone().err()? })
    });
    let failed: Vec<FailedView> = failed.collect();
    MatrixView {
        seed: matrix.seed.0,
        stories: stories.collect(),
        cases: outcomes.len(),
        ok: outcomes.len() - failed.len(),
        failed,
    }
}

fn show(context: &Context, view: &MatrixView) {
    let columns = [
        Column::Text("STORY"),
        Column::Figure("APPENDS"),
        Column::Figure("REQUESTS"),
        Column::Figure("CASES"),
        Column::Figure("OK"),
    ];
    let row = |name: &str, appends: usize, requests: usize, cases: usize, ok: usize| {
        let mood = if ok == cases { Mood::Plain } else { Mood::Bad };
        vec![Field::from(name), appends.into(), requests.into(), cases.into(), Field::moody(ok, mood)]
    };
    let stories = view.stories.iter();
    let mut rows: Vec<Vec<Field>> =
        stories.clone().map(|one| row(one.story, one.appends, one.requests, one.cases, one.ok)).collect();
    let (appends, requests) = (stories.clone().map(|one| one.appends).sum(), stories.map(|one| one.requests).sum());
    rows.push(row("all", appends, requests, view.cases, view.ok));
    say!("{}", context.terminal.table(&columns, rows));
    for failed in view.failed.iter().take(NAMED_MAX) {
        say!("{}: {}", failed.case, failed.why);
    }
    if view.failed.len() > NAMED_MAX {
        say!("and {} more", view.failed.len() - NAMED_MAX);
    }
    if !view.failed.is_empty() {
        say!("spotscale simulate --crashes --seed {} plays them again", view.seed);
    }
}
