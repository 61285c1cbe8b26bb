//! Bad times: minutes in which an API answers nobody, as of an outage or a limit that everybody runs into.
//!
//! Each API has storms of its own, from its own dice. When they come is a matter of time and not of calls, so that who asks
//! less often meets no other ones.

use super::{
    faults::Fault,
    knobs::Knobs,
    seed::{Dice, Seed},
    twist::up_to,
};
use crate::{
    model::{Timestamp, time},
    settings::Api,
};
use std::{collections::BTreeMap, time::Duration};

/// The market's day, in seconds.
const DAY_S: u64 = 86_400;
/// So many storms are passed over at once, in a market that nobody asked for long.
const PASSED_MAX: usize = 100_000;

/// One, and the dice of those to come.
#[derive(Clone, Debug)]
struct Storm {
    dice: Dice,
    from: Timestamp,
    until: Timestamp,
    fault: Fault,
}

impl Storm {
    /// The next one after a moment.
    fn after(mut dice: Dice, moment: Timestamp, knobs: &Knobs) -> Self {
        let apart = up_to(&mut dice, 2 * DAY_S / knobs.storms_per_day.max(1));
        let lasting = up_to(&mut dice, knobs.storm_s_max);
        let fault = if dice.chance_ppm(500_000) { Fault::Throttled } else { Fault::BadGateway };
        let from = time::after(moment, apart);
        Self { dice, from, until: time::after(from, lasting), fault }
    }
}

/// The storms over a market.
#[derive(Clone, Debug)]
pub(super) struct Storms {
    seed: Seed,
    knobs: Knobs,
    began_at: Timestamp,
    drawn: BTreeMap<Api, Storm>,
    called: BTreeMap<Api, (Fault, Timestamp)>,
}

impl Storms {
    pub const fn new(seed: Seed, knobs: Knobs, began_at: Timestamp) -> Self {
        Self { seed, knobs, began_at, drawn: BTreeMap::new(), called: BTreeMap::new() }
    }

    /// Brings one about, now and until a moment.
    pub fn call(&mut self, api: Api, fault: Fault, lasting: Duration, now: Timestamp) {
        self.called.insert(api, (fault, time::after(now, lasting)));
    }

    /// What goes wrong with every call of an API now, if it storms there.
    pub fn over(&mut self, api: Api, now: Timestamp) -> Option<Fault> {
        if let Some((fault, _)) = self.called.get(&api).filter(|(_, until)| now < *until) {
            return Some(*fault);
        }
        if self.knobs.storms_per_day == 0 {
            return None;
        }
        let Self { seed, knobs, began_at, drawn, called: _ } = self;
        let dice = || seed.dice(&format!("lies/storms/{api}"));
        let storm = drawn.entry(api).or_insert_with(|| Storm::after(dice(), *began_at, knobs));
        for _ in 0..PASSED_MAX {
            if now < storm.until {
                break;
            }
            *storm = Storm::after(storm.dice.clone(), storm.until, knobs);
        }
        (storm.from <= now && now < storm.until).then_some(storm.fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        time::after(Timestamp::UNIX_EPOCH, Duration::from_secs(second))
    }

    fn storms(per_day: u64) -> Storms {
        let knobs = Knobs { storms_per_day: per_day, storm_s_max: 600, ..Knobs::none() };
        Storms::new(Seed(2), knobs, at(0))
    }

    #[test]
    fn storms_come_some_times_a_day_last_minutes_and_are_of_both_kinds() {
        let mut sky = storms(12);
        let seen: Vec<Option<Fault>> = (0..10 * DAY_S / 10).map(|i| sky.over(Api::TensordockV0, at(10 * i))).collect();
        let began = seen.windows(2).filter(|pair| pair[0].is_none() && pair[1].is_some()).count();
        assert!((80..160).contains(&began), "{began}");
        let stormy = seen.iter().flatten().count();
        assert!((1_500..6_500).contains(&stormy), "{stormy} of {}", seen.len());
        assert!(seen.contains(&Some(Fault::Throttled)) && seen.contains(&Some(Fault::BadGateway)));
        assert!((0..DAY_S).all(|second| storms(0).over(Api::TensordockV0, at(second)).is_none()));
    }

    #[test]
    fn who_asks_less_often_meets_the_same_storms() {
        let (mut often, mut seldom) = (storms(48), storms(48));
        for second in 0..DAY_S {
            let met = often.over(Api::TensordockV2, at(second));
            if second % 97 == 0 {
                assert_eq!(seldom.over(Api::TensordockV2, at(second)), met);
            }
        }
    }

    #[test]
    fn one_that_is_called_comes_at_once_over_one_api_and_goes() {
        let mut sky = storms(0);
        sky.call(Api::TensordockV0, Fault::Throttled, Duration::from_secs(60), at(5));
        assert_eq!(sky.over(Api::TensordockV0, at(64)), Some(Fault::Throttled));
        assert_eq!(sky.over(Api::TensordockV2, at(64)), None);
        assert_eq!(sky.over(Api::TensordockV0, at(65)), None);
    }
}
