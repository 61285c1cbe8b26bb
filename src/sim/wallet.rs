//! What the account holds, to the last fraction.
//!
//! A VM that costs 0.333333 USD/h costs no whole number of micros per second. So the wallet counts in *grains*: what a
//! rate of one micro per hour costs in one millisecond. Every charge is then a plain product of a rate and a time, the
//! sum over any way to cut a time into pieces is the same, and money is conserved exactly: what is gone from the
//! balance is the integral of the rates, which a property states.

use crate::model::{HourlyRate, Usd, money::MICROS_PER_USD};

/// Grains in one micro of a dollar: milliseconds in an hour.
const GRAINS_PER_MICRO: i128 = 3_600_000;

/// An amount of money in grains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grains(i128);

impl Grains {
    /// What a rate costs in so many milliseconds.
    pub const fn cost(rate: HourlyRate, millis: u64) -> Self {
        Self(rate.micros() as i128 * millis as i128)
    }

    /// The same amount.
    pub const fn from_usd(amount: Usd) -> Self {
        Self(amount.micros() as i128 * GRAINS_PER_MICRO)
    }

    /// In whole micros, rounded down, as a vendor shows a balance.
    pub fn usd(self) -> Usd {
        let micros = self.0.div_euclid(GRAINS_PER_MICRO);
        Usd::from_micros(i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX }))
    }

    /// In US dollars. For display and metrics only; never on the way to a decision.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / GRAINS_PER_MICRO as f64 / MICROS_PER_USD as f64
    }

    /// The sum.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// In how many milliseconds a rate has eaten all of this up; `None` when it never does.
    pub fn lasts_ms(self, rate: HourlyRate) -> Option<u64> {
        let rate = i128::from(rate.micros());
        if rate == 0 {
            return None;
        }
        let left = self.0.max(0);
        Some(u64::try_from((left + rate - 1) / rate).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_hour_costs_its_rate_and_a_balance_is_shown_rounded_down() {
        let rate: HourlyRate = "0.333333".parse().unwrap();
        let left = Grains::from_usd("1".parse().unwrap()).minus(Grains::cost(rate, 3_600_000));
        assert_eq!(left.usd(), "0.666667".parse().unwrap());
        assert_eq!(left.minus(Grains(1)).usd(), "0.666666".parse().unwrap());
        assert_eq!(Grains(-1).usd(), Usd::from_micros(-1));
    }

    #[test]
    fn it_is_known_when_nothing_will_be_left() {
        let ten = Grains::from_usd("10".parse().unwrap());
        assert_eq!(ten.lasts_ms("5".parse().unwrap()), Some(7_200_000));
        assert_eq!(ten.lasts_ms(HourlyRate::ZERO), None);
        assert_eq!(Grains(-5).lasts_ms("5".parse().unwrap()), Some(0));
    }

    proptest! {
        #[test]
        fn however_a_time_is_cut_it_costs_the_same(rate in 0u64..50_000_000, pieces in proptest::collection::vec(0u64..100_000, 0..20)) {
            let rate = HourlyRate::from_micros(rate);
            let apart = pieces.iter().map(|millis| Grains::cost(rate, *millis)).fold(Grains::default(), Grains::plus);
            prop_assert_eq!(apart, Grains::cost(rate, pieces.iter().sum()));
        }
    }
}
