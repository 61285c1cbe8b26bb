//! Money and ratios as JSON numbers, written digit by digit.
//!
//! A number is written from whole millionths, as [`Usd`]'s canonical text, and never passes through binary floating
//! point on its way out: 0.425 is `0.425`. Read back it does, because JSON readers differ; rounding to the nearest
//! millionth makes that exact for every amount anybody has (a test says so).

use crate::model::{HourlyRate, Usd};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Millionths in one.
const MICROS: f64 = 1_000_000.0;

/// Micros in a thousandth of a dollar.
const MICROS_PER_MILL: i64 = 1_000;
/// Micros in a cent.
const MICROS_PER_CENT: i64 = 10_000;

/// An amount of US dollars, or of US dollars per hour: the key says which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(i64);

/// A plain ratio, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(i64);

impl From<Usd> for Money {
    fn from(amount: Usd) -> Self {
        Self(amount.micros())
    }
}

impl From<HourlyRate> for Money {
    fn from(rate: HourlyRate) -> Self {
        Self(i64::try_from(rate.micros()).unwrap_or(i64::MAX))
    }
}

impl Money {
    /// As an amount.
    pub const fn usd(self) -> Usd {
        Usd::from_micros(self.0)
    }

    /// As an hourly rate; nothing when it is negative.
    pub fn hourly(self) -> HourlyRate {
        HourlyRate::from_micros(u64::try_from(self.0).unwrap_or(0))
    }
}

impl Ratio {
    /// From millionths.
    pub fn from_ppm(ppm: u64) -> Self {
        Self(i64::try_from(ppm).unwrap_or(i64::MAX))
    }

    /// In millionths.
    pub fn ppm(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.usd().fmt(f)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Usd::from_micros(self.0).to_string();
        f.pad(text.strip_suffix('0').filter(|short| !short.ends_with('.')).unwrap_or(&text))
    }
}

/// A rate for reading, to a thousandth of a dollar per hour, rounded up.
pub fn rate(rate: Money) -> String {
    let micros = rate.usd().micros();
    let mills = micros.div_euclid(MICROS_PER_MILL) + i64::from(micros.rem_euclid(MICROS_PER_MILL) != 0);
    format!("{}{}.{:03}", sign(mills), (mills / 1_000).abs(), (mills % 1_000).abs())
}

/// An amount for reading, to a cent, rounded down.
pub fn amount(amount: Money) -> String {
    let cents = amount.usd().micros().div_euclid(MICROS_PER_CENT);
    format!("{}{}.{:02}", sign(cents), (cents / 100).abs(), (cents % 100).abs())
}

const fn sign(number: i64) -> &'static str {
    if number < 0 { "-" } else { "" }
}

/// The nearest millionth.
fn micros<E: de::Error>(number: f64) -> Result<i64, E> {
    let micros = (number * MICROS).round();
    // Far inside what an i64 holds, so that the cast is exact.
    if micros.is_finite() && micros.abs() < 1e18 {
        Ok(micros as i64)
    } else {
        Err(E::custom("not an amount that anybody has"))
    }
}

macro_rules! json_number {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let literal = serde_json::value::RawValue::from_string(self.to_string());
                literal.map_err(serde::ser::Error::custom)?.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                micros(f64::deserialize(deserializer)?).map(Self)
            }
        }
    };
}

json_number!(Money);
json_number!(Ratio);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(rate: &str, json: &str) {
        let money = Money::from(rate.parse::<HourlyRate>().unwrap());
        assert_eq!(serde_json::to_string(&money).unwrap(), json);
    }

    #[test]
    fn money_is_written_as_the_decimal_that_it_is() {
        check("0.425", "0.425");
        check("1.2", "1.20");
        check("0.000001", "0.000001");
        check("6", "6.00");
        check("123456789.123457", "123456789.123457");
    }

    #[test]
    fn a_ratio_has_at_least_one_decimal() {
        let json = |ppm| serde_json::to_string(&Ratio::from_ppm(ppm)).unwrap();
        assert_eq!([json(0), json(12_500), json(1_000_000), json(100_000)], ["0.0", "0.0125", "1.0", "0.1"]);
    }

    #[test]
    fn nonsense_is_not_money() {
        for text in ["\"1\"", "1e300", "null", "[]"] {
            assert!(serde_json::from_str::<Money>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn money_reads_back_as_it_was(micros in -1_000_000_000_000_000i64..1_000_000_000_000_000) {
            let money = Money::from(Usd::from_micros(micros));
            let text = serde_json::to_string(&money).unwrap();
            prop_assert_eq!(serde_json::from_str::<Money>(&text).unwrap(), money);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::from_value::<Money>(value).unwrap(), money);
        }
    }
}
