//! The search for the least bid a marketplace accepts, from the answers it gave lately.
//!
//! Nothing is remembered but the quotes: each round reads them afresh, says which bid to ask about next, and ends at a
//! bid that may be deployed because that very bid was accepted a moment ago. What lies between the highest refused and
//! the lowest accepted bid is halved; a newer answer overrules an older one that contradicts it.

use super::quote_fresh_for;
use crate::{
    model::{
        Guard, HourlyRate, Timestamp,
        offer::{BidAnswer, Quote},
        time::elapsed,
    },
    policy::terms::{BidStrategy, BidTerms, PPM},
};
use std::time::Duration;

/// Answers older than this many quote lives tell nothing of the market any more.
const MEMORY_LIVES: u32 = 5;
/// The search ends when what is left between is less than this share of the bid: 2 %.
const RESOLUTION_PPM: u64 = 20_000;
/// ... or less than this. Vendors price in tenths of a cent (documented for v0).
const STEP_MICROS: u64 = 1_000;

/// For how long answers are worth remembering.
pub(crate) const fn memory(life: Duration) -> Duration {
    life.saturating_mul(MEMORY_LIVES)
}

/// What to do about an offer's bid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This very bid was accepted a moment ago.
    Ready,
    /// Ask about it.
    Ask,
    /// The most we would pay is refused.
    Refused,
}

/// What the answers so far say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The highest bid that is refused.
    pub refused: Option<HourlyRate>,
    /// The lowest bid that is accepted.
    pub accepted: Option<HourlyRate>,
    /// How many different bids were asked about.
    pub asked: u32,
}

/// Where to look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    /// Above this, where it is a bid in force that was beaten.
    pub above: Option<HourlyRate>,
    /// Where to begin.
    pub guess: HourlyRate,
    /// The guess is what another size of the same machine goes for: no need to look lower.
    pub sibling: bool,
    /// The most we would pay.
    pub cap: HourlyRate,
}

/// Reads the answers, oldest first; only those above a bid in force that was beaten, where there is one: what is accepted
/// below it is no way back up.
pub(super) fn known<'q>(
    quotes: impl IntoIterator<Item = &'q Quote>,
    above: Option<HourlyRate>,
    now: Timestamp,
    life: Duration,
) -> Known {
    let mut known = Known::default();
    let mut bids = std::collections::BTreeSet::new();
    for quote in quotes {
        let bid = quote.bid.price;
        if elapsed(quote.at, now) > memory(life) || above.is_some_and(|above| bid <= above) {
            continue;
        }
        bids.insert(bid);
        match quote.answer {
            BidAnswer::Accepted => {
                known.accepted = Some(known.accepted.map_or(bid, |lowest| lowest.min(bid)));
                known.refused = known.refused.filter(|highest| *highest < bid);
            }
            BidAnswer::Refused => {
                known.refused = Some(known.refused.map_or(bid, |highest| highest.max(bid)));
                known.accepted = known.accepted.filter(|lowest| *lowest > bid);
            }
        }
    }
    known.asked = u32::try_from(bids.len()).unwrap_or(u32::MAX);
    known
}

/// Whether this very bid was accepted a moment ago, and not refused since.
pub(super) fn is_fresh<'q>(
    quotes: impl IntoIterator<Item = &'q Quote>,
    bid: HourlyRate,
    now: Timestamp,
    life: Duration,
) -> bool {
    let newest = quotes.into_iter().filter(|quote| quote.bid.price == bid).last();
    newest.is_some_and(|quote| {
        let is_young = Guard::QuoteAge.holds(elapsed(quote.at, now) <= quote_fresh_for(life));
        quote.answer == BidAnswer::Accepted && is_young
    })
}

/// The bid to make once the least accepted one is known.
pub(super) fn with_margin(least: HourlyRate, terms: &BidTerms, cap: HourlyRate) -> HourlyRate {
    least.plus(least.share_ppm(terms.margin_ppm)).min(cap)
}

/// The next step, and the bid it is about: the one to make, to ask about, or that was refused.
pub(super) fn next(known: Known, range: Range, terms: &BidTerms) -> (Step, HourlyRate) {
    let Range { above, guess, sibling, cap } = range;
    let refused = known.refused.max(above);
    if cap.is_zero() || refused.is_some_and(|highest| highest >= cap) {
        return (Step::Refused, cap);
    }
    match terms.bid {
        BidStrategy::Cap => return (Step::Ready, cap),
        BidStrategy::Adaptive | BidStrategy::Market => {}
    }
    let floor = refused.unwrap_or_default();
    let accepted = known.accepted.filter(|lowest| *lowest <= cap);
    let last = known.asked.saturating_add(1) >= terms.asks_max;
    let Some(least) = accepted else {
        if known.asked >= terms.asks_max || last {
            return (Step::Ask, cap);
        }
        let begin = if guess > floor { guess } else { middle(floor, cap) };
        return (Step::Ask, if begin >= cap || is_close(floor, cap) { cap } else { begin });
    };
    if is_over(Known { refused, ..known }, least, terms) || (sibling && least <= guess) {
        (Step::Ready, with_margin(least, terms, cap))
    } else {
        (Step::Ask, middle(floor, least))
    }
}

/// Whether nothing more is asked: too little is left between the highest refused and the lowest accepted bid, or too much
/// was asked already.
pub(super) fn is_over(known: Known, least: HourlyRate, terms: &BidTerms) -> bool {
    known.asked >= terms.asks_max || is_close(known.refused.unwrap_or_default(), least)
}

fn middle(low: HourlyRate, high: HourlyRate) -> HourlyRate {
    let middle = low.micros().midpoint(high.micros());
    let stepped = middle.div_ceil(STEP_MICROS).saturating_mul(STEP_MICROS);
    HourlyRate::from_micros(if stepped < high.micros() { stepped } else { middle })
}

fn is_close(low: HourlyRate, high: HourlyRate) -> bool {
    let gap = high.minus(low).micros();
    gap <= STEP_MICROS || u128::from(gap) * u128::from(PPM) <= u128::from(high.micros()) * u128::from(RESOLUTION_PPM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        offer::{Bid, Shape},
        time::before,
    };
    use proptest::prelude::*;

    const LIFE: Duration = Duration::from_secs(60);

    fn rate(micros: u64) -> HourlyRate {
        HourlyRate::from_micros(micros)
    }

    fn terms(bid: BidStrategy, asks_max: u32) -> BidTerms {
        BidTerms { bid, margin_ppm: 50_000, rebid: true, asks_max }
    }

    fn quote(age_s: u64, micros: u64, answer: BidAnswer) -> Quote {
        let shape =
            Shape { gpu_model: "h100-sxm5-80gb".parse().unwrap(), gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 100 };
        let bid = Bid { hostnode: "h".parse().unwrap(), shape, price: rate(micros) };
        Quote { at: before(Timestamp::UNIX_EPOCH, Duration::from_secs(age_s)), bid, answer }
    }

    fn range(guess: u64, cap: u64) -> Range {
        Range { above: None, guess: rate(guess), sibling: false, cap: rate(cap) }
    }

    /// Asks a market with a hidden least bid until the search ends: what it ends with, and how many asks it took.
    fn search(range: Range, least: u64, terms: &BidTerms) -> (Option<HourlyRate>, u32) {
        search_after(Vec::new(), range, least, terms)
    }

    fn search_after(mut quotes: Vec<Quote>, range: Range, least: u64, terms: &BidTerms) -> (Option<HourlyRate>, u32) {
        for asks in 0..50 {
            let (step, bid) = next(known(&quotes, range.above, Timestamp::UNIX_EPOCH, LIFE), range, terms);
            let fresh = is_fresh(&quotes, bid, Timestamp::UNIX_EPOCH, LIFE);
            match step {
                Step::Refused => return (None, asks),
                Step::Ready if fresh => return (Some(bid), asks),
                Step::Ready | Step::Ask => {}
            }
            let answer = if bid.micros() >= least { BidAnswer::Accepted } else { BidAnswer::Refused };
            quotes.push(quote(0, bid.micros(), answer));
        }
        panic!("the search does not end");
    }

    #[test]
    fn the_least_bid_is_found_within_the_asks_and_a_margin_added() {
        let (bid, asks) = search(range(500_000, 1_000_000), 400_000, &terms(BidStrategy::Market, 6));
        let bid = bid.unwrap().micros();
        assert!((420_000..=440_000).contains(&bid), "{bid}");
        assert!(asks <= 7, "{asks}");
    }

    #[test]
    fn a_least_bid_above_the_guess_is_found_too() {
        let (bid, _) = search(range(500_000, 1_000_000), 900_000, &terms(BidStrategy::Market, 6));
        assert!(bid.unwrap().micros() >= 900_000);
    }

    #[test]
    fn the_margin_never_passes_the_cap() {
        assert_eq!(
            search(range(500_000, 1_000_000), 1_000_000, &terms(BidStrategy::Market, 6)).0,
            Some(rate(1_000_000))
        );
        assert_eq!(search(range(500_000, 1_000_000), 1_000_001, &terms(BidStrategy::Market, 6)).0, None);
    }

    #[test]
    fn with_cap_only_the_cap_is_asked() {
        assert_eq!(search(range(500_000, 1_000_000), 100_000, &terms(BidStrategy::Cap, 6)), (Some(rate(1_000_000)), 1));
    }

    #[test]
    fn a_cap_below_the_guess_is_asked_at_once() {
        assert_eq!(search(range(500_000, 300_000), 310_000, &terms(BidStrategy::Market, 6)), (None, 1));
    }

    #[test]
    fn one_ask_is_enough_to_know_the_cap() {
        assert_eq!(search(range(500_000, 1_000_000), 900_000, &terms(BidStrategy::Market, 1)).0, Some(rate(1_000_000)));
    }

    #[test]
    fn a_newer_answer_overrules_an_older_one() {
        let quotes = [quote(100, 500_000, BidAnswer::Accepted), quote(10, 600_000, BidAnswer::Refused)];
        let now = known(&quotes, None, Timestamp::UNIX_EPOCH, LIFE);
        assert_eq!((now.accepted, now.refused), (None, Some(rate(600_000))));
    }

    #[test]
    fn answers_are_forgotten_after_five_lives_and_rested_on_for_fifty_seconds() {
        let asked =
            |age_s| known(&[quote(age_s, 500_000, BidAnswer::Accepted)], None, Timestamp::UNIX_EPOCH, LIFE).asked;
        assert_eq!((asked(300), asked(301)), (1, 0));
        let fresh = |age_s| is_fresh(&[quote(age_s, 5, BidAnswer::Accepted)], rate(5), Timestamp::UNIX_EPOCH, LIFE);
        assert_eq!((fresh(50), fresh(51)), (true, false));
    }

    proptest! {
        #[test]
        fn no_older_answers_keep_a_search_from_its_end(
            least in 1_000u64..2_000_000, cap in 1u64..1_500_000, above in proptest::option::of(0u64..1_500_000),
            older in proptest::collection::vec((1u64..2_000_000, any::<bool>()), 0..12),
        ) {
            let answer = |yes| if yes { BidAnswer::Accepted } else { BidAnswer::Refused };
            let quotes = older.into_iter().map(|(bid, yes)| quote(70, bid, answer(yes))).collect();
            let range = Range { above: above.map(rate), guess: rate(cap / 2), sibling: false, cap: rate(cap) };
            if let (Some(bid), _) = search_after(quotes, range, least, &terms(BidStrategy::Market, 6)) {
                prop_assert!(bid.micros() >= least && bid.micros() <= cap && Some(bid) > range.above);
            }
        }

        #[test]
        fn every_search_ends_at_an_accepted_bid_or_a_refused_cap(
            least in 1_000u64..2_000_000, guess in 0u64..1_500_000, cap in 1u64..1_500_000, asks_max in 1u32..9, above in proptest::option::of(0u64..1_500_000), sibling: bool,
        ) {
            let terms = terms(BidStrategy::Market, asks_max);
            let range = Range { above: above.map(rate), guess: rate(guess), sibling, cap: rate(cap) };
            let (bid, asks) = search(range, least, &terms);
            prop_assert!(asks <= asks_max + 2, "{asks} asks");
            match bid {
                Some(bid) => prop_assert!(bid.micros() >= least && bid.micros() <= cap && Some(bid) > range.above),
                None => prop_assert!(cap < least || above.is_some_and(|above| above >= cap)),
            }
        }
    }
}
