//! Figures as people read them in a column: money with as many decimals as tell amounts apart, ages in two units.
//!
//! `--json` has every figure as it is; here a rate is rounded up and a balance down to what fits, as everywhere.

pub use crate::admin::amount::{amount, rate};

use crate::{
    admin::amount::Ratio,
    model::{Timestamp, time},
};
use std::time::Duration;

/// A moment, to the second.
pub fn moment(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// An age or a time to go.
pub fn span(seconds: u64) -> String {
    time::show(Duration::from_secs(seconds))
}

/// A share in percent, to a hundredth, rounded down.
pub fn percent(ratio: Ratio) -> String {
    let hundredths = ratio.ppm() / 100;
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

/// `1 GPU`, `2 GPUs`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Which way a target is missed.
pub const fn over_or_short(counted: u32, target: u32) -> &'static str {
    if counted > target { "over" } else { "short" }
}

/// `120 price_above_cap, 5 uptime_below_min`: most first.
pub fn tally<'a>(counts: impl IntoIterator<Item = (&'a String, &'a u32)>) -> String {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(word, number)| (std::cmp::Reverse(**number), (*word).clone()));
    counts.into_iter().map(|(word, number)| format!("{number} {word}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HourlyRate, Usd};

    #[test]
    fn rates_round_up_and_amounts_down() {
        let shown = |text: &str| rate(text.parse::<HourlyRate>().unwrap().into());
        assert_eq!([shown("0.425"), shown("0.4251"), shown("12"), shown("0")], ["0.425", "0.426", "12.000", "0.000"]);
        let shown = |micros: i64| amount(Usd::from_micros(micros).into());
        assert_eq!([shown(12_349_999), shown(-500_000), shown(0)], ["12.34", "-0.50", "0.00"]);
    }

    #[test]
    fn a_moment_is_told_to_the_second() {
        assert_eq!(moment("2026-11-20T18:00:00.987654321Z".parse().unwrap()), "2026-11-20T18:00:00Z");
    }

    #[test]
    fn shares_and_counts_read_as_words() {
        assert_eq!(percent(Ratio::from_ppm(999_999)), "99.99%");
        assert_eq!([count(1, "GPU"), count(0, "GPU"), count(8, "GPU")], ["1 GPU", "0 GPUs", "8 GPUs"]);
        let counts =
            std::collections::BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 120), ("c".to_owned(), 5)]);
        assert_eq!(tally(&counts), "120 b, 5 a, 5 c");
    }
}
