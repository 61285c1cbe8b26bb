//! A seeded market that lies, once or in a swarm.
//!
//! One seed is told in full: what was drawn from it first, then what it came to, and the story where a promise was broken. A
//! swarm plays many on all cores and tells those that failed, each with the line that repeats it, and what all of them lived
//! through together.

use super::{
    super::{
        say::say,
        signals,
        terminal::{Column, Field, Mood},
        text,
    },
    Context, Ending, Failure, SimulateArguments,
};
use crate::{
    io::{
        clock::{Clock, SystemClock},
        files::{Disk, Files},
    },
    policy,
    sim::{
        Plot, Verdict, rehearse,
        run::Progress,
        verdict::{Lived, Outcome},
    },
};
use clap::ValueEnum;
use serde_json::{Value, json};
use std::{
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Seeds that failed are told one by one up to so many.
const FAILED_TOLD_MAX: usize = 50;

pub fn seeded(context: &Context, arguments: &SimulateArguments) -> Result<Ending, Failure> {
    let plot = plot(arguments)?;
    match arguments.swarm {
        None => one(context, arguments, &plot),
        Some(seeds) => swarm(context, arguments, &plot, seeds),
    }
}

fn plot(arguments: &SimulateArguments) -> Result<Plot, Failure> {
    let plot = Plot::new(arguments.seed, arguments.faults.severity(), arguments.lasting);
    let Some(file) = &arguments.policy else { return Ok(plot) };
    let text = Disk.read(file).map_err(Failure::wrong)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let source = policy::gather(&file.display().to_string(), &text, &mut |path| Disk.read(&folder.join(path)));
    plot.of_policy(&source).map_err(Failure::faulty)
}

/// The command line that plays a seed again.
fn repeats(arguments: &SimulateArguments, seed: u64) -> String {
    let level = arguments.faults.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let policy = arguments.policy.as_ref().map(|file| format!(" --policy {}", file.display())).unwrap_or_default();
    format!("spotscale simulate --seed {seed} --faults {level} --for {}{policy}", in_units(arguments.lasting))
}

/// In the largest unit that says it exactly, as the command line reads it.
fn in_units(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let unit = units.into_iter().find(|(length, _)| seconds > 0 && seconds.is_multiple_of(*length));
    unit.map_or_else(|| format!("{seconds}s"), |(length, name)| format!("{}{name}", seconds / length))
}

/// Lives through one plot on this thread.
fn play(plot: &Plot, watch: &mut (dyn FnMut(Progress) -> ControlFlow<()> + Send)) -> Result<Verdict, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let played = catch_unwind(AssertUnwindSafe(|| runtime.block_on(rehearse(plot, watch))));
    played.unwrap_or_else(|_| Err("it panicked".to_owned()))
}

/// Cancelled at Ctrl-C.
fn until_interrupted(context: &Context) -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    context.block_on(async { signals::cancel_on_stop(stop.clone()) })?;
    Ok(stop)
}

fn one(context: &Context, arguments: &SimulateArguments, plot: &Plot) -> Result<Ending, Failure> {
    let again = repeats(arguments, plot.seed.0);
    if !arguments.json {
        let scan = plot.scan_interval().as_secs();
        say!("{again}\nscan_interval_s={scan}\n{}\n{}\n", plot.knobs(), plot.turns());
    }
    let stop = until_interrupted(context)?;
    let clock = SystemClock::real();
    let began = clock.monotonic();
    let verdict = {
        let bar = context.terminal.bar("virtual time", plot.lasting.as_secs());
        let mut watch = |progress: Progress| {
            bar.reached(progress.passed.as_secs());
            if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        play(plot, &mut watch).map_err(|why| Failure::failed(format!("{again}: {why}")))?
    };
    if arguments.json {
        context.print_json(&as_json(plot, &verdict, &again))?;
    } else {
        tell(context, &verdict, &again);
        say!("{}", speed(&verdict.lived, clock.monotonic().saturating_sub(began), 1));
    }
    Ok(if verdict.is_broken() { Ending::Failed } else { Ending::Done })
}

fn tell(context: &Context, verdict: &Verdict, again: &str) {
    match &verdict.outcome {
        Outcome::Kept => say!("every promise was kept"),
        Outcome::BrokenOff => say!("interrupted; until then every promise was kept"),
        Outcome::Broken { tick, at, breaches, story } => {
            for line in story {
                say!("{line}");
            }
            say!("\nbroken in tick {tick}, {}:", text::moment(*at));
            for breach in breaches {
                say!("  {breach}");
            }
            say!("again: {again}");
        }
    }
    say!("\n{}\n\njournal {}", table(context, &verdict.lived), verdict.digest);
}

/// How fast it was lived through.
fn speed(lived: &Lived, took: Duration, cores: usize) -> String {
    let core_minutes = took.as_secs_f64() * cores as f64 / 60.0;
    let per_minute = lived.ticks as f64 / core_minutes.max(f64::MIN_POSITIVE);
    let (took, cores) = (text::span(took.as_secs()), text::count(cores as u64, "core"));
    format!("{took} on {cores}: {per_minute:.0} ticks per minute and core")
}

fn figures(lived: &Lived) -> [(&'static str, u64); 10] {
    let Lived { ticks, seconds, fleet_seconds, gpu_seconds, made, lost, outbid, cost: _, kills, power_cuts, moves } =
        *lived;
    [
        ("TICKS", ticks),
        ("VIRTUAL HOURS", seconds / 3_600),
        ("FLEET-HOURS", fleet_seconds / 3_600),
        ("GPU-HOURS", gpu_seconds / 3_600),
        ("VMS", made),
        ("LOST", lost),
        ("OUTBID", outbid),
        ("KILLS", kills),
        ("POWER CUTS", power_cuts),
        ("MOVES", moves),
    ]
}

fn table(context: &Context, lived: &Lived) -> String {
    let figures = figures(lived);
    let columns: Vec<Column> =
        figures.iter().map(|(name, _)| Column::Figure(name)).chain([Column::Figure("USD")]).collect();
    let cost = Field::from(text::amount(lived.cost.into()));
    let row: Vec<Field> = figures.iter().map(|(_, value)| Field::from(value)).chain([cost]).collect();
    context.terminal.table(&columns, vec![row])
}

fn lived_as_json(lived: &Lived) -> Value {
    let figures = figures(lived).map(|(name, value)| (name.to_lowercase().replace([' ', '-'], "_"), json!(value)));
    let mut lived_in: serde_json::Map<String, Value> = figures.into_iter().collect();
    lived_in.insert("cost_usd".to_owned(), json!(lived.cost.to_f64()));
    Value::Object(lived_in)
}

fn as_json(plot: &Plot, verdict: &Verdict, again: &str) -> Value {
    let (outcome, breaches, story) = match &verdict.outcome {
        Outcome::Kept => ("kept", Vec::new(), Vec::new()),
        Outcome::BrokenOff => ("interrupted", Vec::new(), Vec::new()),
        Outcome::Broken { tick: _, at: _, breaches, story } => {
            ("broken", breaches.iter().map(ToString::to_string).collect(), story.clone())
        }
    };
    let knobs: serde_json::Map<String, Value> =
        plot.pairs().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    json!({
        "seed": verdict.seed, "repeat": again, "knobs": knobs, "outcome": outcome, "breaches": breaches, "story": story,
        "lived": lived_as_json(&verdict.lived), "journal_sha256": verdict.digest,
    })
}

/// What a swarm came to.
#[derive(Default)]
struct Swarm {
    played: u64,
    interrupted: u64,
    lived: Lived,
    /// Seeds that failed, and how.
    failed: Vec<(u64, String)>,
}

impl Swarm {
    fn add(&mut self, seed: u64, played: Result<Verdict, String>) {
        self.played += 1;
        match played {
            Ok(verdict) => {
                self.lived = self.lived.and(verdict.lived);
                match verdict.outcome {
                    Outcome::Kept => {}
                    Outcome::BrokenOff => self.interrupted += 1,
                    Outcome::Broken { tick, at: _, breaches, story: _ } => {
                        let first = breaches.first().map(ToString::to_string).unwrap_or_default();
                        self.failed.push((seed, format!("tick {tick}: {first}")));
                    }
                }
            }
            Err(why) => self.failed.push((seed, why)),
        }
    }
}

fn swarm(context: &Context, arguments: &SimulateArguments, plot: &Plot, seeds: u64) -> Result<Ending, Failure> {
    let stop = until_interrupted(context)?;
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = usize::try_from(seeds).map_or(cores, |seeds| cores.min(seeds));
    let clock = SystemClock::real();
    let began = clock.monotonic();
    let mut swarm = Swarm::default();
    {
        let lasting = plot.lasting.as_secs();
        let bar = context.terminal.bar("virtual time", lasting.saturating_mul(seeds));
        let next = AtomicU64::new(0);
        let (sender, played) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..cores {
                let (sender, next, stop, bar) = (sender.clone(), &next, &stop, &bar);
                scope.spawn(move || {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        if at >= seeds || stop.is_cancelled() {
                            return;
                        }
                        let seed = plot.seed.0.wrapping_add(at);
                        let plot = Plot { seed: crate::sim::Seed(seed), ..plot.clone() };
                        let mut shown = 0;
                        let mut watch = |progress: Progress| {
                            let passed = progress.passed.as_secs().clamp(shown, lasting);
                            bar.more(passed - shown);
                            shown = passed;
                            if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                        };
                        let came_to = play(&plot, &mut watch);
                        // A seed that broke a promise is over, however early.
                        bar.more(lasting - shown);
                        if sender.send((seed, came_to)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for (seed, came_to) in played {
                swarm.add(seed, came_to);
            }
        });
    }
    swarm.failed.sort();
    let took = clock.monotonic().saturating_sub(began);
    if arguments.json {
        context.print_json(&swarm_as_json(arguments, &swarm, seeds))?;
    } else {
        tell_swarm(context, arguments, &swarm, seeds, (cores, took));
    }
    Ok(if swarm.failed.is_empty() { Ending::Done } else { Ending::Failed })
}

fn tell_swarm(
    context: &Context,
    arguments: &SimulateArguments,
    swarm: &Swarm,
    seeds: u64,
    (cores, took): (usize, Duration),
) {
    if !swarm.failed.is_empty() {
        let columns = [Column::Text("AGAIN"), Column::Aside("BROKEN")];
        let told = swarm.failed.iter().take(FAILED_TOLD_MAX);
        let rows = told.map(|(seed, how)| vec![Field::from(repeats(arguments, *seed)), Field::moody(how, Mood::Bad)]);
        say!("{}", context.terminal.table(&columns, rows.collect()));
        if let Some(more) = swarm.failed.len().checked_sub(FAILED_TOLD_MAX).filter(|more| *more > 0) {
            say!("and {more} more");
        }
        say!("");
    }
    say!("{}", table(context, &swarm.lived));
    let kept = swarm.played - swarm.interrupted - swarm.failed.len() as u64;
    let interrupted = match swarm.interrupted + (seeds - swarm.played) {
        0 => String::new(),
        rest => format!(", {rest} not played to their end"),
    };
    say!("\n{kept} of {seeds} seeds kept every promise, {} did not{interrupted}", swarm.failed.len());
    say!("{}", speed(&swarm.lived, took, cores));
}

fn swarm_as_json(arguments: &SimulateArguments, swarm: &Swarm, seeds: u64) -> Value {
    let failed: Vec<Value> = (swarm.failed.iter())
        .map(|(seed, how)| json!({ "seed": seed, "broken": how, "repeat": repeats(arguments, *seed) }))
        .collect();
    json!({
        "seeds": seeds, "played": swarm.played - swarm.interrupted, "failed": failed, "lived": lived_as_json(&swarm.lived),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_the_largest_unit_that_says_it_exactly() {
        let said = [86_400, 90_000, 5_400, 61].map(|seconds| in_units(Duration::from_secs(seconds)));
        assert_eq!(said, ["1d", "25h", "90m", "61s"]);
    }
}
