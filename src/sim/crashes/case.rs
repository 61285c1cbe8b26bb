//! One case: a story, and where in it what goes wrong.

use super::{
    play::{Play, Steps},
    story::Story,
};
use crate::{
    io::store::memory::Mishap,
    sim::{
        power::{Cut, Side},
        seed::Seed,
    },
};
use std::{fmt, time::Duration};

/// When a request that is under way when the power goes arrives: with the next list; while it is looked for; when it was given
/// up, soon and late; and with the end of the late window.
const LATE_S: [u64; 5] = [20, 80, 140, 260, 380];
/// Likewise, when lists show a VM whose deploy was not answered.
const UNLISTED_S: [u64; 5] = [50, 80, 110, 200, 380];
/// In a second a case loses the power a second time, one of so many.
const RELAPSES_ONE_IN: u64 = 5;
/// Within so many steps of the restart.
const RELAPSE_STEPS_MAX: u64 = 12;

/// What goes wrong at one step of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What the power supply is told.
    pub cut: Cut,
    /// The records of the append, or the call.
    pub what: String,
}

impl Damage {
    /// In which way it goes wrong.
    pub const fn way(&self) -> &'static str {
        match self.cut {
            Cut::Append(_, Mishap::DiesBefore) => "dies before",
            Cut::Append(_, Mishap::DiesAfter) => "dies after",
            Cut::Append(_, Mishap::Full) => "disk full",
            Cut::Request(_, Side::Before) => "lost",
            Cut::Request(_, Side::After) => "answer lost",
            Cut::Request(_, Side::Late(_)) => "late",
            Cut::Request(_, Side::Unlisted(_)) => "unlisted",
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, way) = (&self.what, self.way());
        match self.cut {
            Cut::Append(at, _) => write!(f, "append {at} ({what}) {way}"),
            Cut::Request(at, Side::Before | Side::After) => write!(f, "request {at} ({what}) {way}"),
            Cut::Request(at, Side::Late(by) | Side::Unlisted(by)) => {
                write!(f, "request {at} ({what}) {way} for {} s", by.as_secs())
            }
        }
    }
}

/// A story, and what goes wrong in it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Which of the stories.
    pub story: usize,
    /// What it is called.
    pub name: String,
    /// Where the process before it lost the power.
    pub prologue: Option<Cut>,
    /// Where it goes wrong.
    pub damage: Damage,
    /// Where the next process loses the power, counted from its own beginning.
    pub relapse: Option<Cut>,
}

/// Every case of a story that has these steps.
pub fn cases(number: usize, story: &Story, steps: &Steps, seed: Seed) -> Vec<Case> {
    let mut damages = Vec::new();
    for (at, kinds) in steps.appends.iter().enumerate().skip(steps.opening) {
        for mishap in [Mishap::DiesBefore, Mishap::DiesAfter, Mishap::Full] {
            damages.push(Damage { cut: Cut::Append(at + 1, mishap), what: kinds.clone() });
        }
    }
    for (at, call) in steps.requests.iter().enumerate() {
        let late = LATE_S.into_iter().filter(|_| call.is_write).map(|by| Side::Late(Duration::from_secs(by)));
        let unlisted = UNLISTED_S.into_iter().filter(|_| call.makes).map(|by| Side::Unlisted(Duration::from_secs(by)));
        for side in [Side::Before, Side::After].into_iter().chain(late).chain(unlisted) {
            damages.push(Damage { cut: Cut::Request(at + 1, side), what: call.name.clone() });
        }
    }
    let mut dice = seed.dice(&format!("relapses of {}", story.name));
    let mut relapse = || {
        let (drawn, step, kind) =
            (dice.between(1, RELAPSES_ONE_IN), dice.between(1, RELAPSE_STEPS_MAX), dice.between(0, 3));
        let step = usize::try_from(step).unwrap_or(1);
        (drawn == 1).then_some(match kind {
            0 => Cut::Append(step, Mishap::DiesBefore),
            1 => Cut::Append(step, Mishap::DiesAfter),
            2 => Cut::Request(step, Side::Before),
            _ => Cut::Request(step, Side::After),
        })
    };
    damages
        .into_iter()
        .map(|damage| {
            // Whom a full disk befalls lives on: there is no next process.
            let relapse = relapse().filter(|_| !matches!(damage.cut, Cut::Append(_, Mishap::Full)));
            let again = if relapse.is_some() { ", and again" } else { "" };
            Case {
                story: number,
                name: format!("{}/{damage}{again}", story.name),
                prologue: steps.prologue,
                damage,
                relapse,
            }
        })
        .collect()
}

impl Case {
    fn cuts(&self) -> impl Iterator<Item = Cut> + use<> {
        [self.prologue, Some(self.damage.cut), self.relapse].into_iter().flatten()
    }

    /// Plays it; what does not hold, if anything.
    ///
    /// # Errors
    /// With what did not hold, and when.
    pub async fn play(&self, story: &Story, seed: Seed) -> Result<(), String> {
        let mut play = Play::new(story, seed, self.cuts()).await?;
        play.finish().await?;
        if play.cuts() <= usize::from(self.prologue.is_some()) { Err("it never went wrong".to_owned()) } else { Ok(()) }
    }

    /// Plays it, and tells it tick by tick.
    pub async fn tell(&self, story: &Story, seed: Seed) -> Vec<String> {
        match Play::new(story, seed, self.cuts()).await {
            Ok(mut play) => {
                play.tell();
                let ended = play.finish().await;
                play.told(ended)
            }
            Err(why) => vec![why],
        }
    }
}
