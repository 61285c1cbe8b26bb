//! Money: amounts and hourly rates, in whole millionths of a US dollar.
//!
//! Integers, because money is compared for equality and summed thousands of times. Literals are read digit by digit
//! (exponents too) and never pass through binary floating point. Prices read from a vendor round *up*, balances round
//! *down*: every rounding error is on the side of spending less.

use std::{fmt, iter::Sum, str::FromStr, time::Duration};

/// Micros in one dollar.
pub const MICROS_PER_USD: i64 = 1_000_000;
/// Seconds in an hour, for accruals.
const SECONDS_PER_HOUR: u64 = 3_600;
/// No amount above this is believed, from anyone: 10^9 USD. Keeps all sums far from overflow.
const MICROS_MAX: i64 = 1_000_000_000 * MICROS_PER_USD;
/// A literal longer than this is refused before it is looked at.
const LITERAL_BYTES_MAX: usize = 64;

/// An amount in US dollars; may be negative (a balance can be overdrawn).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(i64);

/// US dollars per hour, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HourlyRate(u64);

/// Why a text is not money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a decimal number at all.
    #[error("`{0}` is not a decimal number")]
    NotANumber(String),
    /// Finer than a millionth, where that is not allowed.
    #[error("`{0}` has more than six decimals")]
    TooFine(String),
    /// Negative, where only a price makes sense.
    #[error("`{0}` is negative")]
    Negative(String),
    /// Larger than anybody's account.
    #[error("`{0}` is absurdly large")]
    TooLarge(String),
}

/// Which way a literal finer than a micro goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finer {
    Up,
    Down,
    Refused,
}

/// Reads a decimal literal (`12`, `-0.5`, `5e-05`, `1E3`) into micros.
fn micros(literal: &str, finer: Finer) -> Result<i64, MoneyError> {
    let shown = || literal.chars().take(LITERAL_BYTES_MAX).collect::<String>();
    let not_a_number = || MoneyError::NotANumber(shown());
    if literal.is_empty() || literal.len() > LITERAL_BYTES_MAX {
        return Err(not_a_number());
    }
    let (negative, unsigned) = match literal.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, literal.strip_prefix('+').unwrap_or(literal)),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => {
            let (mantissa, tail) = unsigned.split_at(at);
            (mantissa, tail[1..].parse::<i32>().map_err(|_| not_a_number())?)
        }
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty()
        || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
        || mantissa.ends_with('.')
    {
        return Err(not_a_number());
    }
    let digits: String = whole.chars().chain(fraction.chars()).collect();
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    // value = digits * 10^scale micros
    let scale = i64::from(exponent) - fraction.len() as i64 + 6;
    let mut total: i64 = 0;
    let mut dropped = false;
    let kept = digits.len() as i64 + scale.min(0);
    for (place, digit) in digits.bytes().enumerate() {
        if (place as i64) < kept {
            total = total
                .checked_mul(10)
                .and_then(|total| total.checked_add(i64::from(digit - b'0')))
                .filter(|total| *total <= MICROS_MAX)
                .ok_or_else(|| MoneyError::TooLarge(shown()))?;
        } else if digit != b'0' {
            dropped = true;
        }
    }
    for _ in 0..scale.max(0) {
        total =
            total.checked_mul(10).filter(|total| *total <= MICROS_MAX).ok_or_else(|| MoneyError::TooLarge(shown()))?;
    }
    if dropped {
        match (finer, negative) {
            (Finer::Refused, _) => return Err(MoneyError::TooFine(shown())),
            (Finer::Up, false) | (Finer::Down, true) => total += 1,
            (Finer::Up, true) | (Finer::Down, false) => {}
        }
    }
    Ok(if negative { -total } else { total })
}

fn show(micros: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let sign = if micros < 0 { "-" } else { "" };
    let size = micros.unsigned_abs();
    let mut fraction = format!("{:06}", size % MICROS_PER_USD as u64);
    while fraction.len() > 2 && fraction.ends_with('0') {
        fraction.pop();
    }
    f.pad(&format!("{sign}{}.{fraction}", size / MICROS_PER_USD as u64))
}

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From whole micros.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// In whole micros.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// A balance as a vendor wrote it: what is finer than a micro rounds down.
    ///
    /// # Errors
    /// When the text is no number or absurdly large.
    pub fn from_balance_literal(literal: &str) -> Result<Self, MoneyError> {
        micros(literal, Finer::Down).map(Self)
    }

    /// Sum, never wrapping.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Difference, never wrapping; may be negative.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// For how long this amount pays for `rate`; `None` when nothing burns or nothing is left, see [`Usd::is_negative`].
    pub fn lasts(self, rate: HourlyRate) -> Option<Duration> {
        if rate.is_zero() {
            return None;
        }
        let left = u128::from(self.0.max(0) as u64) * u128::from(SECONDS_PER_HOUR) / u128::from(rate.0);
        Some(Duration::from_secs(u64::try_from(left).unwrap_or(u64::MAX)))
    }

    /// Below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// For display and metrics only; never on the way to a decision.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / MICROS_PER_USD as f64
    }
}

impl HourlyRate {
    /// Free.
    pub const ZERO: Self = Self(0);

    /// From whole micros per hour.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// In whole micros per hour.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// A price as a vendor wrote it: what is finer than a micro rounds up.
    ///
    /// # Errors
    /// When the text is no number, negative or absurdly large.
    pub fn from_price_literal(literal: &str) -> Result<Self, MoneyError> {
        Self::from_signed(micros(literal, Finer::Up)?, literal)
    }

    fn from_signed(micros: i64, literal: &str) -> Result<Self, MoneyError> {
        u64::try_from(micros).map(Self).map_err(|_| MoneyError::Negative(literal.to_owned()))
    }

    /// Nothing per hour.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Sum, never wrapping.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Difference, or zero where `other` is more.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// So many times this.
    #[must_use]
    pub const fn times(self, count: u32) -> Self {
        Self(self.0.saturating_mul(count as u64))
    }

    /// This many parts per million, rounded up.
    #[must_use]
    pub fn share_ppm(self, ppm: u64) -> Self {
        let micros = (u128::from(self.0) * u128::from(ppm)).div_ceil(1_000_000);
        Self(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// To the nearest multiple of `step_micros`, half up. A step of 0 changes nothing.
    #[must_use]
    pub const fn rounded(self, step_micros: u64) -> Self {
        if step_micros == 0 {
            return self;
        }
        Self(self.0.saturating_add(step_micros / 2) / step_micros * step_micros)
    }

    /// What `duration` at this rate costs, rounded up.
    pub fn cost(self, duration: Duration) -> Usd {
        let micros = (u128::from(self.0) * duration.as_millis()).div_ceil(u128::from(SECONDS_PER_HOUR) * 1_000);
        Usd(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// For display and metrics only; never on the way to a decision.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / MICROS_PER_USD as f64
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, f)
    }
}

impl fmt::Display for HourlyRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(i64::try_from(self.0).unwrap_or(i64::MAX), f)
    }
}

/// As operators write it: at most six decimals.
impl FromStr for Usd {
    type Err = MoneyError;
    fn from_str(literal: &str) -> Result<Self, MoneyError> {
        micros(literal, Finer::Refused).map(Self)
    }
}

/// As operators write it: at most six decimals, not negative.
impl FromStr for HourlyRate {
    type Err = MoneyError;
    fn from_str(literal: &str) -> Result<Self, MoneyError> {
        Self::from_signed(micros(literal, Finer::Refused)?, literal)
    }
}

impl Sum for HourlyRate {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        rates.fold(Self::ZERO, Self::plus)
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::plus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn price(literal: &str, micros: u64) {
        assert_eq!(HourlyRate::from_price_literal(literal), Ok(HourlyRate::from_micros(micros)), "{literal}");
    }

    #[test]
    fn literals_are_read_exactly_with_and_without_exponents() {
        price("0.00005", 50);
        price("5e-05", 50);
        price("5E-5", 50);
        price("1.5e3", 1_500_000_000);
        price("0.272999", 272_999);
        price("2", 2_000_000);
        price("0", 0);
        price("0e999999", 0);
    }

    #[test]
    fn finer_than_a_micro_rounds_up_for_prices_and_down_for_balances() {
        price("0.0000001", 1);
        price("1e-30", 1);
        assert_eq!(Usd::from_balance_literal("0.9999999"), Ok(Usd::from_micros(999_999)));
        assert_eq!(Usd::from_balance_literal("-0.0000001"), Ok(Usd::from_micros(-1)));
        assert_eq!("0.0000001".parse::<Usd>(), Err(MoneyError::TooFine("0.0000001".into())));
    }

    #[test]
    fn what_is_no_money_is_refused() {
        for text in ["", ".", "1.", "x", "1e", "--1", "1e+", "0x10", "NaN", "inf", "1_000", "1,5"] {
            assert!(matches!(HourlyRate::from_price_literal(text), Err(MoneyError::NotANumber(_))), "{text}");
        }
        assert!(matches!(HourlyRate::from_price_literal("-0.1"), Err(MoneyError::Negative(_))));
        assert!(matches!(HourlyRate::from_price_literal("1e300"), Err(MoneyError::TooLarge(_))));
        assert!(matches!(HourlyRate::from_price_literal("1e2147483648"), Err(MoneyError::NotANumber(_))));
    }

    #[test]
    fn an_accrual_rounds_up() {
        let rate: HourlyRate = "0.36".parse().unwrap();
        assert_eq!(rate.cost(Duration::from_secs(3_600)), "0.36".parse().unwrap());
        assert_eq!(rate.cost(Duration::from_millis(1)), Usd::from_micros(1));
        assert_eq!("1".parse::<Usd>().unwrap().lasts("2".parse().unwrap()), Some(Duration::from_secs(1_800)));
    }

    #[test]
    fn a_term_rounds_to_the_vendors_step_half_up() {
        assert_eq!(HourlyRate::from_micros(1_499).rounded(1_000), HourlyRate::from_micros(1_000));
        assert_eq!(HourlyRate::from_micros(1_500).rounded(1_000), HourlyRate::from_micros(2_000));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(micros in -1_000_000_000_000i64..1_000_000_000_000) {
            let amount = Usd::from_micros(micros);
            prop_assert_eq!(amount.to_string().parse::<Usd>(), Ok(amount));
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = HourlyRate::from_price_literal(&text);
            let _ = Usd::from_balance_literal(&text);
        }
    }
}
