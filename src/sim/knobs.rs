//! Every knob of the lying market, by name.
//!
//! How often and how much the simulated marketplace lies is one plain value of whole numbers, so that it can be printed
//! before a run, set by hand to bring one lie alone on stage, and drawn from a seed: each from dice of its own, so that a
//! new knob changes no old one. A hostile seed leaves out some lies altogether and takes others to an extreme: a thousand of
//! them are not a thousand times the same average weather.
//!
//! This module decides nothing about a call or a moment: [`super::Faults`] and [`super::World`] take from here what is
//! theirs. A unit stands last but for a bound: `_ppm` in a million of calls, VMs or machines, or of an amount; `_s` and `_ms`
//! of time, the market's; `_per_day` of the market's days; `_max`: drawn anew each time, up to this.

use super::{
    faults::Severity,
    seed::{Dice, Seed},
};
use std::fmt;

/// How a knob is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// How often something happens: zero is never.
    Often,
    /// How much of it: not zero, for nothing would happen then.
    Much,
}

/// The most that each weather draws: mild, hostile, and hostile where it goes to an extreme.
struct Range {
    kind: Kind,
    mild: u64,
    hostile: u64,
    extreme: u64,
}

macro_rules! knobs {
    ($($(#[$meta:meta])* $name:ident: $kind:ident $mild:literal $hostile:literal $extreme:literal,)+) => {
        /// How much a market lies.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Knobs { $($(#[$meta])* pub $name: u64,)+ }

        impl Knobs {
            /// A market that never lies.
            pub const fn none() -> Self {
                Self { $($name: 0,)+ }
            }

            fn drawn_within(seed: Seed, severity: Severity) -> Self {
                let draw = |name: &str, range: Range| range.draw(&mut seed.dice(&format!("knobs/{name}")), severity);
                Self {
                    $($name: draw(stringify!($name), Range {
                        kind: Kind::$kind, mild: $mild, hostile: $hostile, extreme: $extreme,
                    }),)+
                }
            }

            /// Every knob by its name, in the order of their declaration.
            pub fn pairs(&self) -> Vec<(&'static str, u64)> {
                let Self { $($name,)+ } = *self;
                vec![$((stringify!($name), $name),)+]
            }

            fn knob(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)+
                    _ => None,
                }
            }
        }
    };
}

knobs! {
    /// Calls whose connection drops before anything happens.
    lost_request_ppm: Often 5_000 40_000 120_000,
    /// Calls that have their effect and are not answered.
    lost_answer_ppm: Often 5_000 50_000 150_000,
    /// Calls that have their effect and whose answer stops in the middle.
    cut_answer_ppm: Often 2_000 20_000 60_000,
    /// Calls answered 500, half of them after their effect.
    server_error_ppm: Often 8_000 60_000 150_000,
    /// Calls answered with a page for people, half of them after their effect.
    html_ppm: Often 2_000 20_000 60_000,
    /// Calls that have their effect and are answered with half of the JSON, as if it were whole.
    half_json_ppm: Often 2_000 20_000 60_000,
    /// Calls answered 429.
    throttled_ppm: Often 8_000 50_000 150_000,
    /// Calls whose answer takes its time, in real time.
    slow_ppm: Often 10_000 40_000 80_000,
    /// How long those take.
    slow_ms_max: Much 1_500 4_000 4_000,
    /// Lists that come back empty.
    empty_list_ppm: Often 2_000 20_000 80_000,
    /// Lists that come back with half of what there is.
    partial_list_ppm: Often 4_000 40_000 120_000,
    /// Deploys that are answered well and whose VM is in no list for a while.
    late_vm_ppm: Often 30_000 150_000 500_000,
    /// For how long.
    late_vm_s_max: Much 120 900 3_000,
    /// Deploys that are refused although the bid was accepted a moment ago.
    refused_ppm: Often 20_000 80_000 300_000,
    /// Writes that are not answered and have their effect later.
    late_effect_ppm: Often 2_000 30_000 120_000,
    /// How much later.
    late_effect_s_max: Much 30 300 1_800,
    /// Calls answered with bytes that mean nothing, half of them after their effect.
    garbage_ppm: Often 1_000 20_000 60_000,
    /// Calls that are never answered and whose connection stays open, half of them after their effect.
    hang_ppm: Often 1_000 5_000 20_000,
    /// Lists that show what was there some time ago.
    stale_list_ppm: Often 3_000 40_000 200_000,
    /// How long ago.
    stale_list_s_max: Much 60 300 900,
    /// Deploys whose VM is in no list for a while, whatever becomes of their answer.
    unlisted_ppm: Often 5_000 80_000 300_000,
    /// For how long.
    unlisted_s_max: Much 120 1_800 3_000,
    /// Deploys that reach the marketplace twice.
    doubled_ppm: Often 500 10_000 60_000,
    /// Deletes whose VM stays in the lists for a while.
    lingering_ppm: Often 30_000 150_000 500_000,
    /// For how long.
    lingering_s_max: Much 60 300 900,
    /// Deploys whose VM is never ready.
    stalled_ppm: Often 3_000 20_000 80_000,
    /// Deploys whose VM is billed more than was agreed.
    overbilled_ppm: Often 3_000 20_000 80_000,
    /// By how much of the agreed.
    overbilled_by_ppm_max: Much 150_000 500_000 1_000_000,
    /// How long after the deploy, at most; half of them at once.
    overbilled_after_s_max: Much 600 7_200 43_200,
    /// Accepted bids that are refused when they are made a little later.
    brief_quote_ppm: Often 20_000 100_000 400_000,
    /// How long those are good for.
    brief_quote_s_max: Much 30 20 5,
    /// Times in which every call of an API is answered 429 or 502, for each API.
    storms_per_day: Often 2 12 48,
    /// How long one lasts.
    storm_s_max: Much 120 600 1_800,
    /// How old the balance may be that is shown.
    balance_lag_s: Often 60 240 600,
    /// Times that somebody else spends of the account at once.
    balance_drops_per_day: Often 1 3 8,
    /// How much of what is left.
    balance_drop_ppm_max: Much 100_000 300_000 900_000,
    /// How long until it is given back.
    top_up_s_max: Much 3_600 14_400 43_200,
    /// VMs that stop by themselves.
    stopping_ppm: Often 10_000 60_000 250_000,
    /// Spot VMs that somebody sets out to outbid.
    outbid_ppm: Often 50_000 250_000 800_000,
    /// For how long they want it.
    outbid_s_max: Much 1_800 7_200 21_600,
    /// VMs that vanish from the lists and come back.
    hidden_ppm: Often 10_000 60_000 250_000,
    /// VMs that vanish even for who asks by id, and come back.
    denied_ppm: Often 0 10_000 60_000,
    /// For how long both stay away.
    hidden_s_max: Much 120 900 2_700,
    /// Within how long after a VM's making such a thing happens to it.
    fate_s_max: Much 86_400 28_800 7_200,
    /// Machines that list an uptime they do not have.
    boasting_ppm: Often 20_000 150_000 500_000,
    /// How many times as often as they say those are away.
    boasting_times: Much 4 12 40,
    /// Machines whose price and minimum bid go up and down.
    swaying_ppm: Often 50_000 250_000 1_000_000,
    /// By how much.
    swaying_by_ppm_max: Much 150_000 300_000 500_000,
    /// How long one way takes.
    swaying_s_max: Much 7_200 3_600 900,
    /// VMs of others with names like ours that come into the account.
    strangers_per_day: Often 2 8 24,
    /// How long they stay.
    stranger_s_max: Much 3_600 14_400 43_200,
    /// Moves of an operator at the worst time.
    operator_moves_per_day: Often 6 24 96,
}

/// A million: all of something.
const ALL_PPM: u64 = 1_000_000;
/// No knob of time is set higher, in seconds: a month.
const TIME_S_MAX: u64 = 31 * 86_400;
/// Nothing is set to happen more often in a day.
const PER_DAY_MAX: u64 = 8_640;
/// Nothing is set to happen so many times as often.
const TIMES_MAX: u64 = 1_000;
/// A line of [`Knobs`] is about so wide.
const LINE_LETTERS: usize = 110;

/// In a hundred hostile draws of how often something happens, so many are never…
const OFF_PERCENT: u64 = 30;
/// …and from here on they go to an extreme.
const EXTREME_PERCENT: u64 = 85;

impl Range {
    fn draw(&self, dice: &mut Dice, severity: Severity) -> u64 {
        let Self { kind, mild, hostile, extreme } = *self;
        let percent = dice.between(0, 99);
        let least = match kind {
            Kind::Often => 0,
            Kind::Much => 1,
        };
        match (severity, kind) {
            (Severity::None, _) => 0,
            (Severity::Mild, _) => dice.between(least, mild),
            (Severity::Hostile, Kind::Often) if percent < OFF_PERCENT => 0,
            (Severity::Hostile, _) if percent >= EXTREME_PERCENT => {
                dice.between(hostile.min(extreme), hostile.max(extreme))
            }
            (Severity::Hostile, _) => dice.between(least, hostile),
        }
    }
}

/// Why a knob was not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KnobError {
    /// There is none of that name.
    #[error("no knob is called {name}; there are: {}", all_names())]
    Unknown {
        /// What it was called.
        name: String,
    },
    /// No such number makes sense.
    #[error("{name} = {value} is too much: at most {most}")]
    TooMuch {
        /// Which.
        name: String,
        /// What it was to be.
        value: u64,
        /// What it may be.
        most: u64,
    },
}

fn all_names() -> String {
    let pairs = Knobs::none().pairs();
    pairs.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
}

/// The most that a knob may be set to, by the unit in its name.
fn most(name: &str) -> u64 {
    let plain = name.trim_end_matches("_max");
    if plain.ends_with("_ppm") {
        ALL_PPM
    } else if plain.ends_with("_ms") {
        TIME_S_MAX * 1_000
    } else if plain.ends_with("_per_day") {
        PER_DAY_MAX
    } else if plain.ends_with("_times") {
        TIMES_MAX
    } else {
        TIME_S_MAX
    }
}

impl Knobs {
    /// What a seed makes of a weather: each knob from its own dice, within the range that the weather allows.
    pub fn drawn(seed: Seed, severity: Severity) -> Self {
        Self::drawn_within(seed, severity)
    }

    /// Turns one knob.
    ///
    /// # Errors
    /// When there is none of that name, or no such number makes sense.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), KnobError> {
        let most = most(name);
        let knob = self.knob(name).ok_or_else(|| KnobError::Unknown { name: name.to_owned() })?;
        if value > most {
            return Err(KnobError::TooMuch { name: name.to_owned(), value, most });
        }
        *knob = value;
        Ok(())
    }
}

/// All of them as `name=value`, on a few lines.
impl fmt::Display for Knobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut width = 0;
        for (name, value) in self.pairs() {
            let word = format!("{name}={value}");
            if width == 0 {
                width = word.len();
            } else if width + word.len() >= LINE_LETTERS {
                f.write_str("\n")?;
                width = word.len();
            } else {
                f.write_str(" ")?;
                width += word.len() + 1;
            }
            f.write_str(&word)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_weather_draws_nothing_and_the_same_seed_always_the_same() {
        assert_eq!(Knobs::drawn(Seed(7), Severity::None), Knobs::none());
        for severity in [Severity::Mild, Severity::Hostile] {
            assert_eq!(Knobs::drawn(Seed(7), severity), Knobs::drawn(Seed(7), severity));
            assert_ne!(Knobs::drawn(Seed(7), severity), Knobs::drawn(Seed(8), severity));
        }
    }

    #[test]
    fn hostile_seeds_differ_in_kind() {
        let (mut off, mut extreme) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..100 {
            let knobs = Knobs::drawn(Seed(seed), Severity::Hostile);
            off.insert(knobs.lost_answer_ppm == 0);
            extreme.insert(knobs.lost_answer_ppm > 50_000);
            assert!(knobs.lost_answer_ppm <= 150_000 && knobs.late_vm_s_max >= 1);
            assert!(Knobs::drawn(Seed(seed), Severity::Mild).lost_answer_ppm <= 5_000);
        }
        assert_eq!((off.len(), extreme.len()), (2, 2));
    }

    #[test]
    fn every_knob_can_be_turned_by_its_name_and_is_told() {
        let mut knobs = Knobs::none();
        for (place, (name, _)) in Knobs::none().pairs().into_iter().enumerate() {
            knobs.set(name, u64::try_from(place).unwrap()).unwrap();
        }
        let told = knobs.to_string();
        for (place, (name, value)) in knobs.pairs().into_iter().enumerate() {
            assert_eq!(value, u64::try_from(place).unwrap());
            assert!(told.split_whitespace().any(|word| word == format!("{name}={place}")), "{told}");
        }
        assert!(told.lines().count() <= 15 && told.lines().all(|line| line.len() <= LINE_LETTERS), "{told}");
    }

    #[test]
    fn a_knob_that_is_not_there_or_goes_too_far_is_refused_aloud() {
        let mut knobs = Knobs::none();
        let refused = knobs.set("lost_anser_ppm", 1).unwrap_err().to_string();
        assert!(refused.starts_with("no knob is called lost_anser_ppm; there are: lost_request_ppm, "), "{refused}");
        assert_eq!(
            knobs.set("hang_ppm", 1_000_001).unwrap_err().to_string(),
            "hang_ppm = 1000001 is too much: at most 1000000"
        );
        assert_eq!(knobs.set("overbilled_by_ppm_max", 1_000_000), Ok(()));
        assert_eq!(knobs.overbilled_by_ppm_max, 1_000_000);
        assert!(knobs.set("storms_per_day", 8_641).is_err() && knobs.set("slow_ms_max", 90_000_000).is_ok());
    }
}
