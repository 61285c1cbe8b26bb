//! From a seed to a verdict: the whole daemon lives through a [`Plot`].
//!
//! ```text
//! until the plot is over:  director (machine, clock, doors, operator) -> tick -> what must hold, by the worlds' own truth
//! then:                    nothing goes wrong any more -> ticks -> memory and worlds agree, and targets are met
//! ```
//!
//! The first promise that is broken ends the run, with the story that led to it. Everything is drawn from the plot's seed, and
//! nothing here or below looks at real time, at an address or at the order of a hash: the same plot makes the same journal.

use super::{
    check::{Breach, Promise},
    director::Director,
    plot::Plot,
    stage::{Stage, Ticked},
    verdict::{Lived, Outcome, Story, Verdict, digest},
};
use crate::{
    engine::Status,
    io::clock::Clock,
    model::{FleetName, Timestamp, reason::Blocked},
    plan::Situation,
};
use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};

/// How often whoever watches is told, in ticks.
const TOLD_EVERY: u64 = 50;
/// So many of the journal's newest rows belong to the story of a run that ended badly.
const ROWS_TOLD: usize = 40;
/// The mind is asked to think again so often, in ticks.
const THOUGHT_AGAIN_EVERY: u64 = 32;
/// The calm at the end lasts at least so long, and so many ticks: what was made in the storm must have come out of hiding.
const CALM_MIN: (Duration, u64) = (Duration::from_secs(1_200), 12);
/// By then everything must have come right: the late window, and what a machine that failed is left alone for.
const CALM_MAX: (Duration, u64) = (Duration::from_secs(27_000), 90);

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Virtual time that has passed.
    pub passed: Duration,
    /// Of so much.
    pub of: Duration,
    /// Ticks so far.
    pub ticks: u64,
}

/// A run under way.
struct Run<'p> {
    plot: &'p Plot,
    stage: Stage,
    director: Director<'p>,
    story: Story,
    began: Timestamp,
    lived: Lived,
    /// The newest tick did not come to its end.
    is_dark: bool,
}

/// Lives through a plot. `watch` is told how far it is every now and then, and may break it off.
///
/// # Errors
/// When the stage cannot be set, or a daemon does not come up again: that is no promise broken but a plot that makes no sense.
pub async fn rehearse(
    plot: &Plot,
    watch: &mut (dyn FnMut(Progress) -> ControlFlow<()> + Send),
) -> Result<Verdict, String> {
    let stage = plot.stage().await?;
    let began = stage.clock.now();
    let director = Director::new(plot, &stage)?;
    let (story, lived) = (Story::default(), Lived::default());
    let mut run = Run { plot, stage, director, story, began, lived, is_dark: false };
    let outcome = run.live(watch).await?;
    run.verdict(outcome)
}

impl Run<'_> {
    fn passed(&self) -> Duration {
        crate::model::time::elapsed(self.began, self.stage.clock.now())
    }

    fn tell(&mut self, line: &str) {
        self.story.tell(self.stage.ticks(), self.stage.clock.now(), line);
    }

    async fn live(&mut self, watch: &mut (dyn FnMut(Progress) -> ControlFlow<()> + Send)) -> Result<Outcome, String> {
        while self.passed() < self.plot.lasting {
            if self.is_dark {
                let told = self.director.recover(&mut self.stage).await?;
                self.tell(&told);
            } else {
                for line in self.director.turn(&mut self.stage).await? {
                    self.tell(&line);
                }
            }
            if let Some(broken) = self.step().await {
                return Ok(broken);
            }
            if self.lived.ticks.is_multiple_of(TOLD_EVERY) {
                let progress = Progress { passed: self.passed(), of: self.plot.lasting, ticks: self.lived.ticks };
                if watch(progress).is_break() {
                    return Ok(Outcome::BrokenOff);
                }
            }
        }
        self.calm().await
    }

    /// A tick, and what must hold after it.
    async fn step(&mut self) -> Option<Outcome> {
        let before = self.stage.clock.now();
        // A lever may have met the power cut.
        let is_off = self.stage.disk.power().is_off();
        let ticked = if is_off { Ticked::PowerCut } else { self.stage.tick().await };
        let status = self.stage.status();
        let passed = crate::model::time::elapsed(before, self.stage.clock.now()).as_secs();
        self.lived.ticks += u64::from(!is_off);
        self.lived.fleet_seconds += passed.saturating_mul(status.fleets.len() as u64);
        self.is_dark = match ticked {
            Ticked::Whole => false,
            Ticked::PowerCut => {
                self.lived.power_cuts += 1;
                self.tell("the power goes");
                true
            }
        };
        if self.is_dark {
            return None;
        }
        for line in told(&status) {
            self.tell(&line);
        }
        let mut breaches = self.stage.breaches();
        if self.stage.ticks().is_multiple_of(THOUGHT_AGAIN_EVERY) {
            breaches.extend(self.stage.second_thoughts());
        }
        // All of a journal that grows is read: at each doubling.
        if self.stage.ticks().is_power_of_two() {
            breaches.extend(self.stage.replays().await);
        }
        if breaches.is_empty() { None } else { Some(self.broken(breaches)) }
    }

    fn broken(&self, breaches: Vec<Breach>) -> Outcome {
        let (tick, at) = (self.stage.ticks(), self.stage.clock.now());
        let story = self.story.lines().into_iter().chain(self.stage.newest_rows(ROWS_TOLD)).collect();
        Outcome::Broken { tick, at, breaches, story }
    }

    /// Nothing goes wrong any more, and everything must come right.
    async fn calm(&mut self) -> Result<Outcome, String> {
        for line in self.director.make_amends(&mut self.stage).await? {
            self.tell(&line);
        }
        self.is_dark = false;
        let (began, ticks) = (self.passed(), self.lived.ticks);
        // What was wrong whenever one looked.
        let mut lasting: Option<BTreeMap<(Promise, Option<FleetName>), String>> = None;
        loop {
            if let Some(broken) = self.step().await {
                return Ok(broken);
            }
            for line in self.director.apply_held(&mut self.stage).await {
                self.tell(&line);
            }
            let is_over = |(least, ticks_min): (Duration, u64)| {
                self.passed().saturating_sub(began) >= least && self.lived.ticks - ticks >= ticks_min
            };
            if !is_over(CALM_MIN) {
                continue;
            }
            let disagreement = self.stage.disagreement().map(|told| ((Promise::Agreement, None), told));
            let unserved = unserved(&self.stage.status()).into_iter();
            let unserved = unserved.map(|(fleet, told)| ((Promise::Liveness, fleet), told));
            let wrong: BTreeMap<_, _> = disagreement.into_iter().chain(unserved).collect();
            // A market that goes on outbidding may never leave everything at rest at once.
            let is_at_rest = wrong.is_empty();
            let lasting = lasting.get_or_insert_with(|| wrong.clone());
            lasting.retain(|what, _| wrong.contains_key(what));
            if !is_at_rest && !is_over(CALM_MAX) {
                continue;
            }
            let lasting = std::mem::take(lasting).into_iter();
            let mut breaches: Vec<Breach> = lasting.map(|((promise, _), detail)| Breach { promise, detail }).collect();
            breaches.extend(self.stage.replays().await);
            breaches.extend(self.stage.second_thoughts());
            return Ok(if breaches.is_empty() { Outcome::Kept } else { self.broken(breaches) });
        }
    }

    fn verdict(self, outcome: Outcome) -> Result<Verdict, String> {
        let seconds = self.passed().as_secs();
        let lived = Lived { seconds, kills: self.director.kills, moves: self.director.moves, ..self.lived };
        // A disk whose power went does not answer; what is on it does.
        let digest = digest(&self.stage.disk.reopened(super::power::Power::default()))?;
        Ok(Verdict { seed: self.plot.seed.0, outcome, lived: lived.with_worlds(&self.stage), digest })
    }
}

/// What a tick did and could not do, a line each.
fn told(status: &Status) -> Vec<String> {
    let troubles = status.troubles.iter().map(|trouble| format!("trouble: {trouble}"));
    let reports = status.plan.iter().flat_map(|plan| &plan.report);
    let fleets = reports.filter(|(_, report)| report.running_gpus != report.target_gpus).map(|(name, report)| {
        let why: Vec<String> = report.blocked.iter().map(|unmet| format!("{} {}", unmet.gpus, unmet.reason)).collect();
        format!("{name}: {} of {} GPUs run; {}", report.running_gpus, report.target_gpus, why.join(", "))
    });
    troubles.chain(fleets).collect()
}

/// The fleets that have not all they want though nothing stands in its way but us.
fn unserved(status: &Status) -> BTreeMap<Option<FleetName>, String> {
    let (Some(situation), Some(plan)) = (&status.situation, &status.plan) else {
        return BTreeMap::from([(None, "nothing was planned yet".to_owned())]);
    };
    let lacking = plan.report.iter().filter_map(|(name, report)| {
        let strays = strays(situation, name);
        let short = report.target_gpus.saturating_sub(report.running_gpus.saturating_add(strays));
        let excused: u32 =
            report.blocked.iter().filter(|unmet| is_the_markets(unmet.reason)).map(|unmet| unmet.gpus).sum();
        (short > excused).then(|| {
            let why: Vec<String> = report
                .blocked
                .iter()
                .map(|unmet| format!("{} {} ({})", unmet.gpus, unmet.reason, unmet.detail))
                .collect();
            (Some(name.clone()), format!("{name} lacks {short} of {} GPUs: {}", report.target_gpus, why.join(", ")))
        })
    });
    lacking.collect()
}

fn strays(situation: &Situation, name: &FleetName) -> u32 {
    situation.fleets.get(name).map_or(0, |state| state.fleet.stray_gpus())
}

/// Whether what keeps a fleet from its target is the market or money, and not us.
const fn is_the_markets(reason: Blocked) -> bool {
    match reason {
        Blocked::RateLimit
        | Blocked::GlobalRateLimit
        | Blocked::BalanceFloor
        | Blocked::Runway
        | Blocked::Budget
        | Blocked::NoOffers
        | Blocked::Spread
        | Blocked::Shape
        // Machines that failed in the storm are left alone for up to a day (CONTRACT): longer than a calm.
        | Blocked::Cooldown => true,
        Blocked::BalanceUnknown
        | Blocked::Paused
        | Blocked::Observe
        | Blocked::StaleMarket
        | Blocked::Unauthorized
        | Blocked::Throttled
        | Blocked::InDoubt
        | Blocked::PolicyInvalid
        | Blocked::HeldEdit => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Severity;

    #[tokio::test]
    async fn a_fleet_that_has_nothing_for_no_reason_but_us_is_not_served() {
        let plot = Plot::new(1, Severity::None, Duration::from_secs(600));
        let mut stage = plot.stage().await.unwrap();
        assert_eq!(unserved(&stage.status()).into_keys().collect::<Vec<_>>(), [None], "nothing was looked at yet");
        for _ in 0..16 {
            stage.tick().await;
        }
        let mut status = (*stage.status()).clone();
        assert_eq!(unserved(&status), BTreeMap::new());
        let train: FleetName = "train".parse().unwrap();
        let report = status.plan.as_mut().unwrap().report.get_mut(&train).unwrap();
        (report.running_gpus, report.blocked) = (0, Vec::new());
        let unserved = unserved(&status);
        assert_eq!(unserved.keys().collect::<Vec<_>>(), [&Some(train.clone())]);
        assert!(unserved[&Some(train)].starts_with("train lacks 6 of 6 GPUs"));
    }

    #[tokio::test]
    async fn whoever_watches_may_break_a_run_off() {
        let plot = Plot::new(1, Severity::None, Duration::from_secs(86_400));
        let verdict = rehearse(&plot, &mut |_| ControlFlow::Break(())).await.unwrap();
        assert_eq!((verdict.outcome.clone(), verdict.lived.ticks), (Outcome::BrokenOff, TOLD_EVERY));
    }
}
