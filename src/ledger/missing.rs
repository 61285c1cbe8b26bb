//! How long GPUs have been missing from a target: each of them, and not only the first.
//!
//! On demand is fallen back to for what has been missing long enough; that one GPU was never found must not make the next
//! one's wait shorter. GPUs have no names, so a few counts are kept, oldest first. What comes on demand was bought for those
//! that waited longest; what else comes (a bid that was accepted, an outbid VM that is back, a lower target) makes up for the
//! newest, so that what keeps failing keeps its age.

use super::moved::Moved;
use crate::model::Timestamp;
use std::collections::VecDeque;

/// GPUs that are missing from a fleet's target, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// So many since then, oldest first.
    spans: VecDeque<(u32, Timestamp)>,
    /// GPUs on demand that served when this was noted.
    on_demand: u32,
}

impl Missing {
    /// All that it is: so many since then, oldest first, and the GPUs on demand that served.
    pub fn told(&self) -> (Vec<(u32, Timestamp)>, u32) {
        let Self { spans, on_demand } = self;
        (spans.iter().copied().collect(), *on_demand)
    }

    /// What [`Missing::told`] told.
    pub fn of_told(spans: Vec<(u32, Timestamp)>, on_demand: u32) -> Self {
        Self { spans: spans.into(), on_demand }
    }

    /// How many.
    pub fn gpus(&self) -> u32 {
        self.spans.iter().map(|(gpus, _)| gpus).sum()
    }

    /// Since when any have been.
    pub fn since(&self) -> Option<Timestamp> {
        self.spans.front().map(|(_, since)| *since)
    }

    /// How many have been since a moment at least.
    pub fn gpus_since(&self, moment: Timestamp) -> u32 {
        self.spans.iter().take_while(|(_, since)| *since <= moment).map(|(gpus, _)| gpus).sum()
    }

    /// Whether there is nothing new to note: what is on demand only matters while something is missing.
    pub fn is_noted(&self, gpus: u32, on_demand: u32) -> bool {
        self.gpus() == gpus && (gpus == 0 || self.on_demand == on_demand)
    }

    pub(super) fn move_with_clock(&mut self, moved: Moved) {
        self.spans.iter_mut().for_each(|(_, since)| moved.shift(since));
    }

    /// So many are missing now, and so many serve on demand.
    pub fn note(&mut self, gpus: u32, on_demand: u32, at: Timestamp) {
        let mut bought = on_demand.saturating_sub(self.on_demand);
        while let Some((oldest, _)) = self.spans.front_mut().filter(|_| bought > 0) {
            let taken = bought.min(*oldest);
            (*oldest, bought) = (*oldest - taken, bought - taken);
            if *oldest == 0 {
                self.spans.pop_front();
            }
        }
        let mut found = self.gpus().saturating_sub(gpus);
        while let Some((newest, _)) = self.spans.back_mut().filter(|_| found > 0) {
            let taken = found.min(*newest);
            (*newest, found) = (*newest - taken, found - taken);
            if *newest == 0 {
                self.spans.pop_back();
            }
        }
        let more = gpus.saturating_sub(self.gpus());
        if more > 0 {
            self.spans.push_back((more, at));
        }
        self.on_demand = on_demand;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Notes of (second, missing, on demand), and what is missing then, as `gpus@second`.
    #[track_caller]
    fn check(notes: &[(i64, u32, u32)], expected: &str) {
        let mut missing = Missing::default();
        for (second, gpus, on_demand) in notes {
            missing.note(*gpus, *on_demand, at(*second));
            assert!(missing.is_noted(*gpus, *on_demand));
        }
        let spans = missing.spans.iter().map(|(gpus, since)| format!("{gpus}@{}", since.as_second()));
        assert_eq!(spans.collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn each_gpu_has_been_missing_since_it_was() {
        check(&[(0, 2, 0)], "2@0");
        check(&[(0, 2, 0), (9, 2, 0)], "2@0");
        check(&[(0, 1, 0), (9, 3, 0)], "1@0 2@9");
        check(&[(0, 1, 0), (9, 3, 0), (10, 0, 0)], "");
        check(&[(0, 1, 0), (9, 0, 0), (10, 1, 0)], "1@10");
    }

    #[test]
    fn what_is_bought_makes_up_for_the_oldest_and_what_is_found_for_the_newest() {
        check(&[(0, 1, 0), (9, 3, 0), (10, 2, 1)], "2@9");
        check(&[(0, 1, 0), (9, 3, 0), (10, 2, 0)], "1@0 1@9");
        check(&[(0, 2, 0), (9, 4, 0), (10, 1, 2)], "1@9");
        // One is outbid while another comes on demand.
        check(&[(0, 2, 0), (9, 2, 1)], "1@0 1@9");
    }

    #[test]
    fn one_on_demand_that_is_lost_is_missing_since_then() {
        check(&[(0, 2, 0), (9, 1, 1), (20, 2, 0)], "1@0 1@20");
    }

    #[test]
    fn what_has_been_missing_long_enough_is_counted() {
        let mut missing = Missing::default();
        missing.note(1, 0, at(0));
        missing.note(3, 0, at(9));
        let since = |second| missing.gpus_since(at(second));
        assert_eq!([since(-1), since(0), since(8), since(9)], [0, 1, 1, 3]);
        assert_eq!((missing.gpus(), missing.since()), (3, Some(at(0))));
    }

    proptest! {
        #[test]
        fn as_many_are_missing_as_were_noted_oldest_first(
            notes in proptest::collection::vec((0u32..6, 0u32..6), 0..20),
        ) {
            let mut missing = Missing::default();
            for (second, (gpus, on_demand)) in (0..).zip(notes) {
                missing.note(gpus, on_demand, at(second));
                prop_assert_eq!(missing.gpus(), gpus);
                prop_assert!(missing.spans.iter().all(|(gpus, _)| *gpus > 0));
                prop_assert!(missing.spans.iter().zip(missing.spans.iter().skip(1)).all(|(a, b)| a.1 < b.1));
            }
        }
    }
}
