//! The matrix: each kind of call × each boundary × the first and second time it is made, and points anywhere in the story.

use crate::{
    proxy::{Boundary, Cut, KINDS, Kind, Trigger},
    stage::{Stage, differences},
    story::Scene,
};
use spotscale::sim::seed::Seed;
use std::collections::BTreeSet;

/// How often each kind of call is cut at each boundary: at its first and at its second request.
const OCCURRENCES: usize = 2;
/// Points of the whole matrix.
const POINTS: usize = 50;
/// Points of the small set.
const POINTS_SMALL: usize = 5;
/// About as many requests as the story takes without a crash; a later point is met by the ticks after its end.
const STORY_REQUESTS: u64 = 140;
/// At every other point the power goes a second time, within so many requests of the restart.
const RELAPSE_REQUESTS_MAX: u64 = 12;
/// GPUs of ours that the market may ever show at once: the policy's target, without any surge.
const GPUS_MAX: u64 = 4;

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is called, and how it can be asked for alone.
    pub name: String,
    /// The market's seed.
    seed: u64,
    cuts: Vec<Cut>,
    scenes: Vec<Scene>,
}

/// How a case went.
#[derive(Debug)]
pub struct Outcome {
    /// What came of it: what was cut, or why it failed.
    pub told: Result<String, String>,
    /// Paths of all requests.
    pub paths: BTreeSet<String>,
    /// How many there were.
    pub requests: usize,
    /// The journal's story and the daemon's log.
    pub story: String,
}

impl Outcome {
    /// Of a case that came to nothing.
    pub fn failed(why: String) -> Self {
        Self { told: Err(why), paths: BTreeSet::new(), requests: 0, story: String::new() }
    }
}

/// The shortest story in which a kind of call is made twice.
fn scenes(kind: Kind) -> Vec<Scene> {
    match kind.name {
        "validate existing" => vec![Scene::Fill, Scene::Outbid],
        "stop" => vec![Scene::Fill, Scene::Shrink],
        "start" => vec![Scene::Fill, Scene::Shrink, Scene::Regrow],
        "get" => vec![Scene::Fill, Scene::Lose],
        "delete" => vec![Scene::Fill, Scene::Edit],
        _ => vec![Scene::Fill],
    }
}

fn of_kind(seed: u64, kind: Kind, boundary: Boundary, occurrence: usize) -> Case {
    let cut = Cut { trigger: Trigger::NthOf(kind, occurrence), boundary };
    Case { name: cut.to_string(), seed, cuts: vec![cut], scenes: scenes(kind) }
}

/// One point in each of as many parts of the story, so that all of it is met.
fn points(seed: u64) -> Vec<Case> {
    let mut dice = Seed(seed).dice("crash points");
    let mut point = |from: u64, to: u64| Cut {
        trigger: Trigger::Nth(usize::try_from(dice.between(from, to)).unwrap_or(1)),
        boundary: Boundary::ALL[usize::try_from(dice.between(0, 2)).unwrap_or(0)],
    };
    let part = |number: usize| STORY_REQUESTS * u64::try_from(number).unwrap_or(0) / u64::try_from(POINTS).unwrap_or(1);
    (0..POINTS)
        .map(|number| {
            let mut cuts = vec![point(part(number) + 1, part(number + 1))];
            if number % 2 == 1 {
                cuts.push(point(1, RELAPSE_REQUESTS_MAX));
            }
            Case { name: format!("point {}", number + 1), seed, cuts, scenes: Scene::ALL.to_vec() }
        })
        .collect()
}

/// Every case.
pub fn whole(seed: u64) -> Vec<Case> {
    let mut cases = vec![Case { name: "no crash".to_owned(), seed, cuts: Vec::new(), scenes: Scene::ALL.to_vec() }];
    for kind in KINDS {
        for occurrence in 1..=OCCURRENCES {
            cases.extend(Boundary::ALL.map(|boundary| of_kind(seed, kind, boundary, occurrence)));
        }
    }
    cases.extend(points(seed));
    cases
}

/// One of each kind, the boundaries in turn, and some of the points.
pub fn small(seed: u64) -> Vec<Case> {
    let kinds = KINDS.iter().enumerate();
    let mut cases: Vec<Case> = kinds.map(|(at, kind)| of_kind(seed, *kind, Boundary::ALL[at % 3], 1)).collect();
    let apart = POINTS / POINTS_SMALL;
    cases.extend(points(seed).into_iter().skip(apart / 2).step_by(apart));
    cases
}

impl Case {
    /// Plays the case in a world of its own.
    pub async fn play(&self) -> Outcome {
        let mut stage = match Stage::new(self.seed, self.cuts.clone()).await {
            Ok(stage) => stage,
            Err(why) => return Outcome::failed(why),
        };
        let verdict = self.verdict(&mut stage).await;
        let story = stage.story().await;
        let seen = stage.proxy.seen();
        let told = verdict.map(|()| match seen.cuts.is_empty() {
            true => "was never cut".to_owned(),
            false => format!("cut at {}", seen.cuts.join(", and at ")),
        });
        Outcome { told, paths: seen.paths, requests: seen.requests, story }
    }

    async fn verdict(&self, stage: &mut Stage) -> Result<(), String> {
        stage.start().await?;
        for scene in &self.scenes {
            scene.play(stage).await?;
        }
        // A point beyond the story's end comes with the next ticks; so does a second one soon after a restart.
        if stage.proxy.cuts_left() > 0 {
            let proxy = stage.proxy.clone();
            let missing = move |_: &_| match proxy.cuts_left() {
                0 => Vec::new(),
                left => vec![format!("{left} cuts are still to come")],
            };
            stage.wait("the cut", missing).await?;
            let Some(last) = self.scenes.last() else { return Err("there is no story".to_owned()) };
            stage.rest(last.gpus()).await?;
        }
        self.agree(stage).await
    }

    /// Nothing doubled, nothing lost: by the market's own list, by the ledger on disk, and by what went over the wire.
    async fn agree(&self, stage: &mut Stage) -> Result<(), String> {
        let ledger = stage.ledger_at_rest().await?;
        let market = stage.vendor.list().await?;
        let mut found = differences(&market, &ledger);
        let seen = stage.proxy.seen();
        let names: BTreeSet<&String> = seen.deployed.iter().collect();
        if names.len() != seen.deployed.len() {
            found.push(format!("a name was deployed twice: {:?}", seen.deployed));
        }
        if seen.gpus_most > GPUS_MAX {
            found.push(format!("the market once showed {} GPUs of ours", seen.gpus_most));
        }
        for rival in stage.rivals.iter().filter(|rival| !market.iter().any(|vm| vm.name == **rival)) {
            found.push(format!("{rival} is not ours, and is gone"));
        }
        if seen.cuts.len() != self.cuts.len() {
            found.push(format!("{} of {} cuts came", seen.cuts.len(), self.cuts.len()));
        }
        if stage.starts != self.cuts.len() + 1 {
            found.push(format!("the daemon was started {} times", stage.starts));
        }
        if let Some(path) = seen.paths.iter().find(|path| !KINDS.iter().any(|kind| kind.path == **path)) {
            found.push(format!("the daemon makes a call that the matrix does not know: {path}"));
        }
        found.extend(seen.troubles);
        if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
    }
}
