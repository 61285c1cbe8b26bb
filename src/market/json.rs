//! Reads vendors' JSON leniently, one level at a time, and keeps every number as the literal it came as.
//!
//! Vendors answer in several shapes: a price is a number here and a string there, an id is a key or a field, a list is an
//! object or an array. Typed structs would refuse a whole list for one odd field; a tree of values would push money
//! through binary floating point. So an [`Object`] holds its members as raw text, syntax already checked, and each is
//! read when it is asked for, with a bound and a reason when it cannot be believed.
//!
//! **Invariant:** nothing here panics or recurses, whatever the bytes are.

use crate::model::{HourlyRate, Usd};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// No text of a vendor's is kept beyond this many characters.
pub const TEXT_CHARS_MAX: usize = 200;

/// One JSON value, as text whose syntax was checked.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a>(&'a str);

/// A JSON object, one level deep.
#[derive(Debug)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Json<'a> {
    /// A body as one JSON value; `None` when it is not.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice::<&RawValue>(body).ok().map(|raw| Self(raw.get()))
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Its members, when it is an object.
    pub fn object(self) -> Option<Object<'a>> {
        if self.0.starts_with('{') { serde_json::from_str(self.0).ok() } else { None }
    }

    /// Its elements, when it is an array.
    pub fn array(self) -> Option<Vec<Self>> {
        if !self.0.starts_with('[') {
            return None;
        }
        let raws: Vec<&RawValue> = serde_json::from_str(self.0).ok()?;
        Some(raws.into_iter().map(|raw| Self(raw.get())).collect())
    }

    /// Its whole text, when it is a string.
    pub fn string(self) -> Option<Cow<'a, str>> {
        if self.0.starts_with('"') { serde_json::from_str::<Text<'a>>(self.0).ok().map(|text| text.0) } else { None }
    }

    /// Its text when it is a string, fit to be shown: bounded, without control characters.
    pub fn text(self) -> Option<String> {
        self.string().map(|text| shown(&text))
    }

    /// A number's literal, or what stands in a string.
    pub fn literal(self) -> Option<Cow<'a, str>> {
        match self.0.as_bytes().first()? {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => Some(Cow::Borrowed(self.0)),
            _ => None,
        }
    }

    /// `true` or `false`, or either word in any case in a string.
    pub fn flag(self) -> Option<bool> {
        let word = self.string().unwrap_or(Cow::Borrowed(self.0));
        if word.eq_ignore_ascii_case("true") {
            Some(true)
        } else if word.eq_ignore_ascii_case("false") {
            Some(false)
        } else {
            None
        }
    }

    /// A price: not negative, not absurd, what is finer than a micro rounds up.
    ///
    /// # Errors
    /// Why it cannot be believed.
    pub fn price(self) -> Result<HourlyRate, String> {
        let literal = self.literal().ok_or("not a price")?;
        HourlyRate::from_price_literal(literal.trim()).map_err(|error| shown(&error.to_string()))
    }

    /// An amount that may be negative; what is finer than a micro rounds down.
    ///
    /// # Errors
    /// Why it cannot be believed.
    pub fn amount(self) -> Result<Usd, String> {
        let literal = self.literal().ok_or("not an amount")?;
        Usd::from_balance_literal(literal.trim()).map_err(|error| shown(&error.to_string()))
    }

    /// A decimal number in millionths, rounded down.
    pub fn millionths(self) -> Option<i64> {
        self.amount().ok().map(Usd::micros)
    }

    /// How many: not negative, at most `max`; a fraction is cut off.
    ///
    /// # Errors
    /// Why it cannot be believed.
    pub fn count(self, max: u32) -> Result<u32, String> {
        let micros = self.millionths().ok_or("not a count")?;
        u32::try_from(micros.div_euclid(1_000_000))
            .ok()
            .filter(|count| *count <= max)
            .ok_or_else(|| format!("`{}` is not a count up to {max}", shown(self.0)))
    }
}

impl<'a> Object<'a> {
    /// A member that is there and not `null`. Of members with one name the last counts, as everywhere.
    pub fn get(&self, key: &str) -> Option<Json<'a>> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value).filter(|value| !value.is_null())
    }

    /// The first of these members that is there.
    pub fn first(&self, keys: &[&str]) -> Option<Json<'a>> {
        keys.iter().find_map(|key| self.get(key))
    }

    /// A member that is an object.
    pub fn object(&self, key: &str) -> Option<Object<'a>> {
        self.get(key)?.object()
    }

    /// A member that is a string.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key)?.text()
    }

    /// Whether there is such a member, be it `null`.
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(name, _)| name == key)
    }

    /// All members, in the order they came.
    pub fn members(&self) -> impl Iterator<Item = (&str, Json<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// A member's price; `None` when there is none.
    ///
    /// # Errors
    /// Why it cannot be believed.
    pub fn price(&self, key: &str) -> Result<Option<HourlyRate>, String> {
        self.get(key).map(|value| value.price().map_err(|why| format!("{key}: {why}"))).transpose()
    }

    /// A member's count; `None` when there is none.
    ///
    /// # Errors
    /// Why it cannot be believed.
    pub fn count(&self, key: &str, max: u32) -> Result<Option<u32>, String> {
        self.get(key).map(|value| value.count(max).map_err(|why| format!("{key}: {why}"))).transpose()
    }
}

/// A vendor's text, fit to be shown and stored.
pub fn shown(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// A string that borrows from the input where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), raw)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((name, Json(raw.get())));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(text: &str) -> Object<'_> {
        Json::read(text.as_bytes()).unwrap().object().unwrap()
    }

    #[test]
    fn numbers_and_strings_are_the_same_money_and_never_pass_through_a_float() {
        for text in [r#"{"p":5e-05}"#, r#"{"p":0.00005}"#, r#"{"p":"0.000050"}"#, r#"{ "p" : " 5E-5 " }"#] {
            assert_eq!(object(text).price("p"), Ok(Some(HourlyRate::from_micros(50))), "{text}");
        }
        assert_eq!(object(r#"{"p":0.1000001}"#).price("p"), Ok(Some(HourlyRate::from_micros(100_001))));
        assert_eq!(object(r#"{"p":null}"#).price("p"), Ok(None));
        for text in [r#"{"p":-0.1}"#, r#"{"p":1e99}"#, r#"{"p":true}"#, r#"{"p":[1]}"#, r#"{"p":"free"}"#] {
            assert!(object(text).price("p").is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_money_is_quoted_without_its_control_characters() {
        let odd = object(r#"{"p":"\u0000\u001b[31m\n"}"#);
        assert_eq!(odd.price("p"), Err("p: `  [31m` is not a decimal number".to_owned()));
        assert_eq!(odd.get("p").unwrap().amount(), Err("`  [31m` is not a decimal number".to_owned()));
    }

    #[test]
    fn counts_are_bounded() {
        assert_eq!(object(r#"{"n":"8"}"#).count("n", 8), Ok(Some(8)));
        assert_eq!(object(r#"{"n":8.9}"#).count("n", 8), Ok(Some(8)));
        assert!(object(r#"{"n":9}"#).count("n", 8).is_err());
        assert!(object(r#"{"n":-0.5}"#).count("n", 8).is_err());
        assert!(object(r#"{"n":1e300}"#).count("n", 8).is_err());
    }

    #[test]
    fn escaped_keys_and_texts_are_read_and_control_characters_are_not_kept() {
        assert_eq!(object(r#"{"ke\u0079":"Krak\u00f3w\n"}"#).text("key").as_deref(), Some("Kraków "));
        assert_eq!(object(r#"{"a":1,"a":2}"#).count("a", 9), Ok(Some(2)));
        assert!(Json::read(b"<html>").is_none());
        assert!(Json::read(b"{\"half\":").is_none());
        assert!(Json::read(b"\xff\xfe").is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200), depth in 0usize..4000) {
            if let Some(json) = Json::read(&body) {
                let _ = (json.object(), json.array(), json.text(), json.flag(), json.price(), json.count(9));
            }
            let deep = "[".repeat(depth);
            prop_assert!(Json::read(deep.as_bytes()).is_none());
        }
    }
}
