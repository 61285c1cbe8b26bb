//! How nouns are written in records.
//!
//! The nouns have no serde of their own (they are values, not documents), so the journal brings the spelling: a noun is
//! its canonical text, money is decimal text, and the few nouns with parts have a small twin here.

use crate::{
    model::{
        GpuModel, HourlyRate, Shape, Usd,
        money::MICROS_PER_USD,
        offer::{Location, Rates},
    },
    settings::{AccountLimits, BalanceRule},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_with::{DeserializeAs, DisplayFromStr, SerializeAs, serde_as};

/// A noun as its canonical text.
pub type Text = DisplayFromStr;

/// No free line in a record is longer, in characters: vendors' error texts may be whole pages.
pub const LINE_CHARS_MAX: usize = 1_000;

/// One line for people: cut at [`LINE_CHARS_MAX`], without control characters.
#[derive(Debug)]
pub struct Line;

impl SerializeAs<String> for Line {
    fn serialize_as<S: Serializer>(line: &String, serializer: S) -> Result<S::Ok, S::Error> {
        let letters = line.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
        serializer.serialize_str(&letters.take(LINE_CHARS_MAX).collect::<String>())
    }
}

impl<'de> DeserializeAs<'de, String> for Line {
    fn deserialize_as<D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

/// Money as exact decimal text. Reads back whatever was written: that an amount is absurd is for its reader at the border
/// to say, not for the journal, which must always open again.
#[derive(Debug)]
pub struct Decimal;

fn micros(text: &str) -> Option<i64> {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = unsigned.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
    let micros = whole.checked_mul(MICROS_PER_USD)?.checked_add(fraction)?;
    Some(if negative { -micros } else { micros })
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = String::deserialize(deserializer)?;
    micros(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not an amount")))
}

impl SerializeAs<Usd> for Decimal {
    fn serialize_as<S: Serializer>(amount: &Usd, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(amount)
    }
}

impl<'de> DeserializeAs<'de, Usd> for Decimal {
    fn deserialize_as<D: Deserializer<'de>>(deserializer: D) -> Result<Usd, D::Error> {
        read(deserializer).map(Usd::from_micros)
    }
}

impl SerializeAs<HourlyRate> for Decimal {
    fn serialize_as<S: Serializer>(rate: &HourlyRate, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(rate)
    }
}

impl<'de> DeserializeAs<'de, HourlyRate> for Decimal {
    fn deserialize_as<D: Deserializer<'de>>(deserializer: D) -> Result<HourlyRate, D::Error> {
        let micros = read(deserializer)?;
        u64::try_from(micros).map(HourlyRate::from_micros).map_err(|_| D::Error::custom("a rate is negative"))
    }
}

/// [`Rates`] as written.
#[serde_as]
#[derive(Debug, Serialize, Deserialize)]
pub struct RatesText {
    #[serde_as(as = "Decimal")]
    compute: HourlyRate,
    #[serde_as(as = "Decimal")]
    storage: HourlyRate,
}

impl From<Rates> for RatesText {
    fn from(Rates { compute, storage }: Rates) -> Self {
        Self { compute, storage }
    }
}

impl From<RatesText> for Rates {
    fn from(RatesText { compute, storage }: RatesText) -> Self {
        Self { compute, storage }
    }
}

/// [`Shape`] as written.
#[serde_as]
#[derive(Debug, Serialize, Deserialize)]
pub struct ShapeText {
    #[serde_as(as = "Text")]
    gpu_model: GpuModel,
    gpus: u32,
    vcpus: u32,
    ram_gb: u32,
    storage_gb: u32,
}

impl From<Shape> for ShapeText {
    fn from(Shape { gpu_model, gpus, vcpus, ram_gb, storage_gb }: Shape) -> Self {
        Self { gpu_model, gpus, vcpus, ram_gb, storage_gb }
    }
}

impl From<ShapeText> for Shape {
    fn from(ShapeText { gpu_model, gpus, vcpus, ram_gb, storage_gb }: ShapeText) -> Self {
        Self { gpu_model, gpus, vcpus, ram_gb, storage_gb }
    }
}

/// [`Location`] as written.
#[serde_as]
#[derive(Debug, Serialize, Deserialize)]
pub struct LocationText {
    #[serde_as(as = "Line")]
    country: String,
    #[serde_as(as = "Line")]
    region: String,
    #[serde_as(as = "Line")]
    city: String,
}

impl From<Location> for LocationText {
    fn from(Location { country, region, city }: Location) -> Self {
        Self { country, region, city }
    }
}

impl From<LocationText> for Location {
    fn from(LocationText { country, region, city }: LocationText) -> Self {
        Self { country, region, city }
    }
}

/// [`AccountLimits`], as text.
#[serde_as]
#[derive(Serialize, Deserialize)]
pub struct AccountText {
    #[serde_as(as = "Text")]
    balance: BalanceRule,
    #[serde_as(as = "Option<Decimal>")]
    max_spend_per_day: Option<Usd>,
    #[serde_as(as = "Option<Decimal>")]
    max_spend_per_month: Option<Usd>,
}

impl From<AccountLimits> for AccountText {
    fn from(limits: AccountLimits) -> Self {
        let AccountLimits { balance, max_spend_per_day, max_spend_per_month } = limits;
        Self { balance, max_spend_per_day, max_spend_per_month }
    }
}

impl From<AccountText> for AccountLimits {
    fn from(text: AccountText) -> Self {
        let AccountText { balance, max_spend_per_day, max_spend_per_month } = text;
        Self { balance, max_spend_per_day, max_spend_per_month }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "1", ".5", "1.", "1.0000001", "1e3", "--1.00", "9223372036854775807.00", "1,00"] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_amount_reads_back_however_absurd(amount in -i64::MAX..=i64::MAX) {
            prop_assert_eq!(micros(&Usd::from_micros(amount).to_string()), Some(amount));
        }
    }
}
