//! One play of a story, with the power going where it is told to.

use super::{
    scene::{self, Scene},
    story::Story,
};
use crate::{
    engine::{Lever, LeverError, Role},
    io::store::{Query, Store},
    ledger::{
        Standing,
        fleet::{DeleteAnswer, Late},
    },
    market::Call,
    model::VmName,
    sim::{
        Origin, Scenery, Stage, VmState, check,
        clock::VirtualClock,
        power::{Cut, Power},
        props::NOON,
        seed::Seed,
        stage::Ticked,
    },
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A scene is over within so many ticks, or it never is: the settle grace, the late window, and what comes after.
const TICKS_MAX: usize = 60;
/// A fleet at rest does nothing for so many ticks.
const TICKS_AT_REST: usize = 2;
/// A lever is pulled so often at most.
const PULLS_MAX: usize = 6;
/// Of a journal, so many records are told.
const ROWS_TOLD_MAX: usize = 400;

/// One request of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// API and call.
    pub name: String,
    /// It may change something.
    pub is_write: bool,
    /// It may make a VM.
    pub makes: bool,
}

/// What a story does that can be cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// What went wrong before the process whose steps these are, if anything.
    pub prologue: Option<Cut>,
    /// So many appends are made before anything can go wrong: they open the journal.
    pub opening: usize,
    /// The records that each append writes.
    pub appends: Vec<String>,
    /// Every request.
    pub requests: Vec<Asked>,
}

/// A stage, and what is still to go wrong on it.
pub struct Play<'a> {
    story: &'a Story,
    stage: Stage,
    /// What the next processes meet with.
    cuts: VecDeque<Cut>,
    /// What this one does, and how far the power supply has to count for that.
    ahead: Option<Cut>,
    /// What went wrong so far.
    met: usize,
    opening: usize,
    told: Option<Vec<String>>,
}

impl<'a> Play<'a> {
    /// Sets the stage.
    pub async fn new(story: &'a Story, seed: Seed, cuts: impl IntoIterator<Item = Cut>) -> Result<Self, String> {
        let stage = Stage::new(Scenery {
            clock: VirtualClock::patient(NOON),
            market: (story.market)(seed),
            elsewhere: BTreeMap::new(),
            settings: &story.settings,
            role: Role::AsConfigured,
            policies: &[("train", &story.policy)],
            seed,
        })
        .await?;
        let cuts = cuts.into_iter().collect();
        let mut play = Self { story, stage, cuts, ahead: None, met: 0, opening: 0, told: None };
        play.arm();
        Ok(play)
    }

    /// From now on everything is told.
    pub fn tell(&mut self) {
        self.told = Some(Vec::new());
    }

    /// What went wrong so far, by count.
    pub const fn cuts(&self) -> usize {
        self.met
    }

    /// What the newest process did.
    pub fn steps(&self, prologue: Option<Cut>) -> Steps {
        let power = self.stage.disk.power();
        let (appended, sent) = (self.stage.disk.appended(), self.stage.doors.sent());
        let before = (appended.len().saturating_sub(power.appends()), sent.len().saturating_sub(power.requests()));
        let appends = appended.into_iter().skip(before.0).map(|kinds| {
            let distinct: BTreeSet<String> = kinds.into_iter().collect();
            distinct.into_iter().collect::<Vec<_>>().join(" ")
        });
        let requests = sent.into_iter().skip(before.1).map(|sent| match sent.call {
            Some((api, call)) => {
                Asked { name: format!("{api} {call}"), is_write: call.is_write(), makes: call == Call::Deploy }
            }
            None => Asked { name: sent.path, is_write: false, makes: false },
        });
        Steps { prologue, opening: self.opening, appends: appends.collect(), requests: requests.collect() }
    }

    /// Plays all scenes, and then until nothing is left to come.
    pub async fn finish(&mut self) -> Result<(), String> {
        let story = self.story;
        for (number, scene) in story.scenes.iter().enumerate() {
            self.note(|_| format!("scene {}: {}", number + 1, scene.act));
            let lever = scene.act.begin(&mut self.stage, &story.policy, &story.settings)?;
            if let Some(lever) = lever {
                self.pull(lever).await.map_err(|why| self.placed(&why))?;
            }
            self.until(|play| play.unsettled(scene)).await?;
        }
        let Some(last) = story.scenes.last() else { return Ok(()) };
        loop {
            self.until(|play| play.unfinished(last)).await?;
            let (writes, met) = (self.writes(), self.met);
            for _ in 0..TICKS_AT_REST {
                self.tick().await?;
            }
            // Whoever was cut while it rested has to come to rest again. There are only so many cuts.
            if self.met == met {
                let rests = self.writes() == writes;
                return if rests { Ok(()) } else { Err(self.placed("the fleet was at rest, and did something")) };
            }
        }
    }

    /// Ticks until nothing is missing any more.
    async fn until(&mut self, missing: impl Fn(&Self) -> Option<String>) -> Result<(), String> {
        for _ in 0..TICKS_MAX {
            self.tick().await?;
            if missing(self).is_none() {
                return Ok(());
            }
        }
        missing(self).map_or(Ok(()), |why| Err(format!("after {TICKS_MAX} ticks: {why}; {}", self.line(Ticked::Whole))))
    }

    /// One tick, and what must be true after it.
    async fn tick(&mut self) -> Result<(), String> {
        let ticked = self.stage.tick().await;
        let met = self.notice();
        self.note(|play| play.line(ticked));
        let troubles = self.stage.status().troubles.clone();
        if ticked == Ticked::PowerCut {
            self.restart().await?;
        } else if !met && !troubles.is_empty() {
            return Err(self.placed(&troubles.join("; ")));
        }
        let breaches = self.stage.breaches();
        if let Some(breach) = breaches.first() {
            return Err(self.placed(&breach.to_string()));
        }
        if ticked == Ticked::Whole && !met {
            self.reaped().map_err(|why| self.placed(&why))?;
        }
        Ok(())
    }

    /// A lever is pulled until it has moved, by however many processes.
    async fn pull(&mut self, lever: Lever) -> Result<(), String> {
        for pulled in 0..PULLS_MAX {
            let answer = self.stage.pull(lever.clone()).await;
            let met = self.notice();
            match answer {
                Some(Ok(_)) => return Ok(()),
                // What was durable when the power went is done, and is not done again.
                Some(Err(LeverError::Refused(_) | LeverError::NotFound(_))) if pulled > 0 => return Ok(()),
                Some(Err(LeverError::Failed(_))) if met => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => {
                    self.restart().await?;
                    // Who has not looked yet knows no VM.
                    self.tick().await?;
                }
            }
        }
        Err("the lever does not move".to_owned())
    }

    async fn restart(&mut self) -> Result<(), String> {
        self.stage.restart().await?;
        self.arm();
        Ok(())
    }

    fn arm(&mut self) {
        self.opening = self.stage.disk.power().appends();
        self.ahead = self.cuts.pop_front();
        if let Some(cut) = self.ahead {
            self.stage.disk.power().cut_at(cut);
        }
    }

    /// Whether it went wrong just now.
    fn notice(&mut self) -> bool {
        let power: &Power = self.stage.disk.power();
        let is_met = self.ahead.is_some_and(|cut| match cut {
            Cut::Append(at, _) => power.appends() >= at,
            Cut::Request(at, _) => power.requests() >= at,
        });
        if is_met {
            self.ahead = None;
            self.met += 1;
        }
        is_met
    }

    fn writes(&self) -> u64 {
        let market = self.stage.market();
        market.handled().iter().filter(|((_, call, _), _)| call.is_write()).map(|(_, count)| count).sum()
    }

    /// What the fleet still lacks at the end of a scene, as far as the daemon knows.
    fn unsettled(&self, scene: &Scene) -> Option<String> {
        let status = self.stage.status();
        let Some(situation) = &status.situation else { return Some("nothing is known yet".to_owned()) };
        let in_doubt: u32 = status.markets.values().map(|market| market.in_doubt).sum();
        if in_doubt > 0 {
            return Some(format!("{in_doubt} deploys are in doubt"));
        }
        let members = situation.fleets.values().flat_map(|state| state.fleet.members.values());
        let (mut running, mut restless) = (0, Vec::new());
        for member in members {
            match member.standing {
                Standing::Running => running += member.shape.gpus,
                Standing::StoppedReleased => {}
                Standing::Pending
                | Standing::InDoubt
                | Standing::Outbid
                | Standing::StoppedKept
                | Standing::Leaving
                | Standing::Lost => restless.push(format!("{} is {}", member.name, member.standing)),
            }
        }
        if running != scene.gpus {
            restless.push(format!("{running} of {} GPUs run", scene.gpus));
        }
        (!restless.is_empty()).then(|| restless.join(", "))
    }

    /// What is missing at the end of the story, by the worlds' own truth too.
    fn unfinished(&self, last: &Scene) -> Option<String> {
        let under_way = self.stage.doors.under_way();
        if under_way > 0 {
            return Some(format!("{under_way} requests are still to arrive"));
        }
        let ours = scene::ours(&self.stage);
        if let Some((_, vm)) = ours.iter().find(|(vendor, vm)| !self.stage.market().lists(*vendor, &vm.id)) {
            return Some(format!("{} is not listed yet", vm.name));
        }
        if let Some(why) = self.unsettled(last).or_else(|| self.disagreement()) {
            return Some(why);
        }
        let running: u32 =
            ours.iter().filter(|(_, vm)| vm.state == VmState::Running).map(|(_, vm)| vm.shape.gpus).sum();
        (running != last.gpus).then(|| format!("{running} of {} GPUs truly run", last.gpus))
    }

    /// Where memory and worlds differ; what the operator made ours is ours.
    fn disagreement(&self) -> Option<String> {
        let mut sighted = self.stage.sighted();
        let own = &self.stage.watch.operators_own;
        for vm in sighted.iter_mut().flat_map(|one| &mut one.truth.vms).filter(|vm| own.contains(&vm.id)) {
            vm.origin = Origin::Api;
        }
        check::disagreement(&self.stage.status(), &sighted, self.stage.paper())
    }

    /// What was given up, and is listed now, is gone at the end of the tick that saw it, unless its delete was lost on the way:
    /// then it is sent again.
    fn reaped(&self) -> Result<(), String> {
        let status = self.stage.status();
        let Some(situation) = &status.situation else { return Ok(()) };
        let mut given_up: BTreeSet<&VmName> = BTreeSet::new();
        for state in situation.fleets.values() {
            let is_lost = |late: &&Late| late.delete.is_some_and(|sent| sent.answer == DeleteAnswer::InDoubt);
            let (lost, late): (Vec<&Late>, Vec<&Late>) = state.fleet.late.iter().partition(is_lost);
            given_up.extend(state.fleet.reserved.iter().map(|reserved| &reserved.name));
            given_up.extend(late.into_iter().map(|late| &late.name));
            given_up.retain(|name| !lost.iter().any(|late| late.name == **name));
        }
        let is_late = |vm: &VmName| given_up.contains(vm);
        let market = self.stage.market();
        let truths = market.truths();
        let there = truths.iter().flat_map(|(vendor, truth)| truth.alive().map(move |vm| (*vendor, vm)));
        let left = there.filter(|(_, vm)| is_late(&vm.name)).find(|(vendor, vm)| market.lists(*vendor, &vm.id));
        left.map_or(Ok(()), |(_, vm)| {
            Err(format!("{} was given up, is listed, and is still there after the tick", vm.name))
        })
    }

    fn placed(&self, why: &str) -> String {
        format!("tick {}, process {}: {why}", self.stage.ticks(), self.stage.processes())
    }

    fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.told.is_some() {
            let line = line(self);
            self.told.iter_mut().for_each(|told| told.push(line.clone()));
        }
    }

    /// A tick for whoever reads a failure.
    fn line(&self, ticked: Ticked) -> String {
        let status = self.stage.status();
        let mut line = format!("tick {}", self.stage.ticks());
        if ticked == Ticked::PowerCut {
            line += ", and the power goes";
        }
        if let Some(situation) = &status.situation {
            for (name, state) in &situation.fleets {
                let members = state.fleet.members.values();
                let members: Vec<String> = members.map(|one| format!("{} {}", one.name, one.standing)).collect();
                line += &format!("; {name} wants {}: [{}]", state.target_gpus(), members.join(", "));
            }
        }
        for (name, report) in status.plan.iter().flat_map(|plan| &plan.report) {
            let blocked: Vec<String> = report
                .blocked
                .iter()
                .map(|unmet| format!("{} {} ({})", unmet.gpus, unmet.reason, unmet.detail))
                .collect();
            if !blocked.is_empty() {
                line += &format!("; {name} lacks {}; turned down: {:?}", blocked.join(", "), report.rejected);
            }
        }
        let there = scene::ours(&self.stage);
        let there: Vec<String> = there.iter().map(|(_, vm)| format!("{} {:?}", vm.name, vm.state)).collect();
        line += &format!("; there are [{}]", there.join(", "));
        if !status.troubles.is_empty() {
            line += &format!("; troubles: {}", status.troubles.join("; "));
        }
        line
    }

    /// All that was told, the journal, and how it ended.
    pub fn told(mut self, ended: Result<(), String>) -> Vec<String> {
        let mut told = self.told.take().unwrap_or_default();
        told.push("the journal:".to_owned());
        let disk = self.stage.disk.reopened(Power::default());
        let mut rows = disk.search(&Query::default(), ROWS_TOLD_MAX).unwrap_or_default();
        rows.sort_by_key(|row| row.sequence);
        told.extend(
            rows.into_iter()
                .map(|row| format!("{} {} {} {}", row.sequence, row.kind, row.subject.unwrap_or_default(), row.body)),
        );
        told.push(match ended {
            Ok(()) => "all held".to_owned(),
            Err(why) => why,
        });
        told
    }
}
