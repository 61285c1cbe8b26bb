//! All cases of all stories, on as many threads as one likes; what comes out is the same however many there are.

use super::{
    case::{self, Case},
    play::{Play, Steps},
    story::{self, Story},
};
use crate::sim::{power::Cut, seed::Seed};
use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// The stories, their steps, and every case.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// What the worlds, the passwords and the second cuts are drawn from.
    pub seed: Seed,
    /// Every story with its steps.
    pub stories: Vec<(Story, Steps)>,
    /// Every case, story by story.
    pub cases: Vec<Case>,
}

/// How a case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which of the matrix's cases.
    pub case: usize,
    /// What did not hold, and when.
    pub verdict: Result<(), String>,
}

/// A runtime on which one case is played after another.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().build().map_err(|error| format!("no runtime: {error}"))
}

impl Matrix {
    /// Plays every story once without a crash, and names the cases.
    ///
    /// # Errors
    /// When stories do not come to their end even so: a line each.
    pub fn of(seed: Seed) -> Result<Self, String> {
        let runtime = runtime()?;
        let (mut stories, mut cases, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for (number, story) in story::all().into_iter().enumerate() {
            match runtime.block_on(rehearsed(&story, seed)) {
                Ok(steps) => {
                    cases.extend(case::cases(number, &story, &steps, seed));
                    stories.push((story, steps));
                }
                Err(why) => faults.push(format!("{}, and nothing went wrong: {why}", story.name)),
            }
        }
        if faults.is_empty() { Ok(Self { seed, stories, cases }) } else { Err(faults.join("\n")) }
    }

    /// One of so many cases, and at least one of each way in which each kind of step goes wrong.
    pub fn part(&self, one_in: NonZeroUsize) -> Vec<usize> {
        let mut met = BTreeSet::new();
        let mut part = Vec::new();
        for (number, case) in self.cases.iter().enumerate() {
            let is_new = met.insert((case.damage.what.clone(), case.damage.way()));
            if is_new || number % one_in == 0 {
                part.push(number);
            }
        }
        part
    }

    /// Plays these cases; `played` is called once for each.
    ///
    /// # Errors
    /// When there is nothing to play them on.
    pub fn play(
        &self,
        cases: &[usize],
        threads: NonZeroUsize,
        played: &(dyn Fn() + Sync),
    ) -> Result<Vec<Outcome>, String> {
        let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(cases.len())));
        let player = || -> Result<(), String> {
            let runtime = runtime()?;
            while let Some(number) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                let Some(case) = self.cases.get(*number) else { continue };
                let Some((story, _)) = self.stories.get(case.story) else { continue };
                let verdict = runtime.block_on(case.play(story, self.seed));
                outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(Outcome { case: *number, verdict });
                played();
            }
            Ok(())
        };
        let ended: Vec<Result<(), String>> = thread::scope(|scope| {
            let players: Vec<_> = (0..threads.get()).map(|_| scope.spawn(player)).collect();
            let gone = |_| Err("a player is gone".to_owned());
            players.into_iter().map(|player| player.join().unwrap_or_else(gone)).collect()
        });
        ended.into_iter().collect::<Result<Vec<()>, String>>()?;
        let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcomes.sort_by_key(|outcome| outcome.case);
        Ok(outcomes)
    }

    /// Plays one case again, and tells it tick by tick.
    pub fn tell(&self, case: usize) -> Vec<String> {
        let Some(case) = self.cases.get(case) else { return Vec::new() };
        let Some((story, _)) = self.stories.get(case.story) else { return Vec::new() };
        match runtime() {
            Ok(runtime) => runtime.block_on(case.tell(story, self.seed)),
            Err(why) => vec![why],
        }
    }
}

/// The steps of a story in which nothing goes wrong but its prologue.
async fn rehearsed(story: &Story, seed: Seed) -> Result<Steps, String> {
    let plain = played(story, seed, None).await?;
    let Some(side) = story.prologue else { return Ok(plain) };
    let first = plain.requests.iter().position(|asked| asked.makes).ok_or("nothing is deployed")?;
    played(story, seed, Some(Cut::Request(first + 1, side))).await
}

async fn played(story: &Story, seed: Seed, prologue: Option<Cut>) -> Result<Steps, String> {
    let mut play = Play::new(story, seed, prologue).await?;
    play.finish().await?;
    Ok(play.steps(prologue))
}
