//! What is odd about a call's *effect*, whatever becomes of its answer.
//!
//! A [`Fault`](super::Fault) is of the wire: one befalls a call, and the answer shows it. A twist is of the marketplace: the
//! answer may be perfect. Several can befall one call, beside a fault: a deploy whose answer is lost, that a proxy sent
//! twice, and whose second VM is never ready.

use super::{
    knobs::Knobs,
    seed::{Dice, Seed},
};
use crate::market::Call;
use std::{collections::BTreeMap, time::Duration};

/// Whose answer is heard of a deploy that reached the marketplace twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The first one's.
    First,
    /// The second one's, where it made a VM.
    Second,
}

/// Something odd about what one call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// A deploy happens twice: two VMs have one name, if there is room.
    Doubled(Heard),
    /// A deleted VM stays in the lists for so long.
    Lingering(Duration),
    /// A new VM is in no list for so long.
    Unlisted(Duration),
    /// A new VM is never ready.
    Stalled,
    /// A new VM is billed so much more than was agreed, after so long.
    Overbilled(u64, Duration),
    /// The accepted bid is good for only so long.
    BriefQuote(Duration),
}

impl Twist {
    /// A word for logs and counters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Doubled(_) => "doubled",
            Self::Lingering(_) => "lingering",
            Self::Unlisted(_) => "unlisted",
            Self::Stalled => "stalled",
            Self::Overbilled(..) => "overbilled",
            Self::BriefQuote(_) => "brief_quote",
        }
    }
}

/// A generator for each lie about each kind of call.
#[derive(Clone, Debug)]
pub(super) struct LieDice {
    seed: Seed,
    dice: BTreeMap<(&'static str, Call), Dice>,
}

impl LieDice {
    pub const fn new(seed: Seed) -> Self {
        Self { seed, dice: BTreeMap::new() }
    }

    /// The dice of a lie where it happens to this call, so many times in a million.
    pub fn befallen(&mut self, lie: &'static str, call: Call, ppm: u64) -> Option<&mut Dice> {
        if ppm == 0 {
            return None;
        }
        let seed = self.seed;
        let dice = self.dice.entry((lie, call)).or_insert_with(|| seed.dice(&format!("lies/{lie}/{call}")));
        dice.chance_ppm(ppm).then_some(dice)
    }

    /// What is odd about the effect of this call.
    pub fn twists(&mut self, call: Call, knobs: &Knobs) -> Vec<Twist> {
        let mut twists = Vec::new();
        let only = |kind: Call, ppm: u64| if call == kind { ppm } else { 0 };
        if let Some(dice) = self.befallen("doubled", call, only(Call::Deploy, knobs.doubled_ppm)) {
            twists.push(Twist::Doubled(if dice.chance_ppm(500_000) { Heard::First } else { Heard::Second }));
        }
        if let Some(dice) = self.befallen("lingering", call, only(Call::Terminate, knobs.lingering_ppm)) {
            twists.push(Twist::Lingering(up_to(dice, knobs.lingering_s_max)));
        }
        if let Some(dice) = self.befallen("unlisted", call, only(Call::Deploy, knobs.unlisted_ppm)) {
            twists.push(Twist::Unlisted(up_to(dice, knobs.unlisted_s_max)));
        }
        if self.befallen("stalled", call, only(Call::Deploy, knobs.stalled_ppm)).is_some() {
            twists.push(Twist::Stalled);
        }
        if let Some(dice) = self.befallen("overbilled", call, only(Call::Deploy, knobs.overbilled_ppm)) {
            let (by_ppm, later) = (dice.between(1, knobs.overbilled_by_ppm_max.max(1)), dice.chance_ppm(500_000));
            let after = up_to(dice, knobs.overbilled_after_s_max);
            twists.push(Twist::Overbilled(by_ppm, if later { after } else { Duration::ZERO }));
        }
        if let Some(dice) = self.befallen("brief_quote", call, only(Call::Validate, knobs.brief_quote_ppm)) {
            twists.push(Twist::BriefQuote(up_to(dice, knobs.brief_quote_s_max)));
        }
        twists
    }
}

/// A time of a second up to so many.
pub(super) fn up_to(dice: &mut Dice, seconds_max: u64) -> Duration {
    Duration::from_secs(dice.between(1, seconds_max.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_twist_befalls_the_calls_it_can_befall() {
        let all = Knobs {
            doubled_ppm: 500_000,
            lingering_ppm: 500_000,
            unlisted_ppm: 500_000,
            stalled_ppm: 500_000,
            overbilled_ppm: 500_000,
            overbilled_by_ppm_max: 10,
            brief_quote_ppm: 500_000,
            ..Knobs::none()
        };
        let mut dice = LieDice::new(Seed(1));
        let mut words = |call| -> BTreeSet<&str> {
            let twists = (0..100).flat_map(|_| dice.twists(call, &all));
            twists.map(Twist::as_str).collect()
        };
        assert_eq!(words(Call::Deploy), ["doubled", "overbilled", "stalled", "unlisted"].into());
        assert_eq!(words(Call::Terminate), ["lingering"].into());
        assert_eq!(words(Call::Validate), ["brief_quote"].into());
        assert_eq!(words(Call::Instances), BTreeSet::new());
        assert_eq!(dice.twists(Call::Deploy, &Knobs::none()), []);
    }

    #[test]
    fn one_lie_more_changes_no_other() {
        let stalled = Knobs { stalled_ppm: 300_000, ..Knobs::none() };
        let both = Knobs { doubled_ppm: 400_000, ..stalled };
        let drawn = |knobs: &Knobs| -> Vec<bool> {
            let mut dice = LieDice::new(Seed(4));
            (0..60).map(|_| dice.twists(Call::Deploy, knobs).contains(&Twist::Stalled)).collect()
        };
        assert_eq!(drawn(&stalled), drawn(&both));
    }
}
