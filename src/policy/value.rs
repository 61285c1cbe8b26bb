//! Reads single values: numbers, money, shares, durations, words.
//!
//! Each function makes a reader: from what is acceptable to a function of one node. Numbers are read from their
//! literals, and shares through the same decimal reader as money: six decimals of a whole are parts per million.

use super::{
    fault::{Complaint, nearest},
    terms::{PPM, Quantity},
    tree::{Node, Value},
};
use crate::model::{HourlyRate, Usd, money::MoneyError, time};
use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

/// No text key is longer than this, in bytes.
const TEXT_BYTES_MAX: usize = 4_096;
/// No duration is longer than this.
pub const DURATION_MAX: Duration = Duration::from_secs(366 * 86_400);

fn wrong(node: &Node, needed: &str, example: &str) -> Complaint {
    Complaint::new(
        format!("is {}", node.value.noun()),
        format!("{needed} is needed"),
        format!("write it like {example}"),
    )
}

/// The literal of a number: whole, decimal, or text where `text` says so.
fn literal(node: &Node, text_too: bool) -> Option<&str> {
    match &node.value {
        Value::Whole(literal) | Value::Decimal(literal) | Value::Loose(literal) => Some(literal.trim()),
        Value::Text(literal) if text_too => Some(literal.trim()),
        _ => None,
    }
}

/// Text as it stands, of one line or many; not empty.
pub fn text(node: &Node) -> Result<String, Complaint> {
    match &node.value {
        Value::Text(text) | Value::Loose(text) if text.trim().is_empty() => {
            Err(Complaint::new("is empty", "an empty text says nothing", "fill it in or leave the key out"))
        }
        Value::Text(text) | Value::Loose(text) if text.len() > TEXT_BYTES_MAX => Err(Complaint::new(
            "is too long",
            format!("at most {TEXT_BYTES_MAX} bytes are read"),
            "put it into a file or shorten it",
        )),
        Value::Text(text) | Value::Loose(text) => Ok(text.clone()),
        _ => Err(wrong(node, "text", "\"…\"")),
    }
}

/// Text of one line, without control characters.
pub fn line(node: &Node) -> Result<String, Complaint> {
    let text = text(node)?;
    if text.chars().any(char::is_control) {
        return Err(Complaint::new("has control characters", "one line of plain text is needed", "remove them"));
    }
    Ok(text)
}

/// True or false.
pub fn truth(node: &Node) -> Result<bool, Complaint> {
    match &node.value {
        Value::Truth(truth) => Ok(*truth),
        Value::Loose(text) if text == "true" => Ok(true),
        Value::Loose(text) if text == "false" => Ok(false),
        _ => Err(wrong(node, "true or false", "true")),
    }
}

/// A whole number within bounds.
pub fn whole<T: TryFrom<i128> + Display + Copy>(
    range: RangeInclusive<T>,
    why_bounds: &'static str,
) -> impl Fn(&Node) -> Result<T, Complaint>
where
    i128: From<T>,
{
    move |node| {
        let (least, most) = (i128::from(*range.start()), i128::from(*range.end()));
        let example = range.start().to_string();
        let number = match &node.value {
            Value::Whole(literal) | Value::Loose(literal) => literal.trim().parse::<i128>().ok(),
            _ => return Err(wrong(node, "a whole number", &least.max(1).min(most).to_string())),
        };
        let Some(number) = number else {
            return Err(Complaint::new(
                "is not a whole number",
                "a whole number is needed",
                format!("write it like {example}"),
            ));
        };
        let kept = (least..=most).contains(&number).then(|| T::try_from(number).ok()).flatten();
        kept.ok_or_else(|| {
            let fact = if number < least { "is too small" } else { "is too large" };
            Complaint::new(fact, why_bounds, format!("choose from {least} to {most}"))
        })
    }
}

fn money_complaint(error: &MoneyError) -> Complaint {
    match error {
        MoneyError::NotANumber(_) => {
            Complaint::new("is not a decimal number", "an amount in US dollars is needed", "write it like 6.00")
        }
        MoneyError::TooFine(_) => Complaint::new(
            "has more than six decimals",
            "money is counted in millionths of a dollar",
            "round it to six decimals",
        ),
        MoneyError::Negative(_) => {
            Complaint::new("is negative", "nobody pays us for renting", "write an amount of 0 or more")
        }
        MoneyError::TooLarge(_) => Complaint::new(
            "is absurdly large",
            "amounts above 10^9 USD are not believed",
            "write what you would really pay",
        ),
    }
}

fn money<T: FromStr<Err = MoneyError>>(node: &Node) -> Result<T, Complaint> {
    let literal = literal(node, true).ok_or_else(|| wrong(node, "an amount in US dollars", "6.00"))?;
    literal.parse().map_err(|error| money_complaint(&error))
}

/// USD per hour, 0 or more.
pub fn rate(node: &Node) -> Result<HourlyRate, Complaint> {
    money(node)
}

/// USD per hour, above 0.
pub fn price(node: &Node) -> Result<HourlyRate, Complaint> {
    let price = rate(node)?;
    if price.is_zero() {
        return Err(Complaint::new("is zero", "nothing is rented for nothing", "raise it"));
    }
    Ok(price)
}

/// USD, 0 or more.
pub fn amount(node: &Node) -> Result<Usd, Complaint> {
    let amount: Usd = money(node)?;
    if amount.is_negative() {
        let why = "an amount below zero holds nothing back";
        return Err(Complaint::new("is negative", why, "write an amount of 0 or more"));
    }
    Ok(amount)
}

/// A decimal number in parts per million, within bounds given in parts per million.
pub fn ppm(
    least: u64,
    most: u64,
    bounds: &'static str,
    example: &'static str,
) -> impl Fn(&Node) -> Result<u64, Complaint> {
    move |node| {
        let literal = literal(node, false).ok_or_else(|| wrong(node, "a number", example))?;
        let micros = literal.parse::<Usd>().map(Usd::micros).map_err(|error| match error {
            MoneyError::TooFine(_) => Complaint::new(
                "has more than six decimals",
                "shares are counted in millionths",
                "round it to six decimals",
            ),
            MoneyError::NotANumber(_) => {
                Complaint::new("is not a number", "a number is needed", format!("write it like {example}"))
            }
            MoneyError::Negative(_) | MoneyError::TooLarge(_) => {
                Complaint::new("is out of bounds", bounds, format!("write it like {example}"))
            }
        })?;
        u64::try_from(micros)
            .ok()
            .filter(|micros| (least..=most).contains(micros))
            .ok_or_else(|| Complaint::new("is out of bounds", bounds, format!("write it like {example}")))
    }
}

/// Reads `30s`, `10m`, `6h`, `30d`, and several in descending order: `1h30m`.
fn seconds(text: &str) -> Option<u64> {
    const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = UNITS.as_slice();
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.chars().next()?;
        let at = units.iter().position(|(name, _)| *name == unit)?;
        let (_, size) = units.get(at)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*size)?)?;
        units = units.get(at + 1..)?;
        rest = tail.strip_prefix(unit)?;
    }
    (!text.is_empty()).then_some(total)
}

/// A duration of at least `least`.
pub fn duration(least: Duration, why_least: &'static str) -> impl Fn(&Node) -> Result<Duration, Complaint> {
    move |node| {
        let text = match &node.value {
            Value::Text(text) | Value::Loose(text) => text.trim(),
            _ => return Err(wrong(node, "a duration, which is text,", "\"30s\", \"10m\", \"6h\" or \"30d\"")),
        };
        let seconds = seconds(text).ok_or_else(|| {
            let why = "a duration is a whole number and one of s, m, h, d";
            Complaint::new("is not a duration", why, "write it like \"30s\", \"10m\", \"6h\" or \"30d\"")
        })?;
        let duration = Duration::from_secs(seconds);
        if duration < least {
            return Err(Complaint::new(
                "is too short",
                why_least,
                format!("make it at least \"{}\"", time::show(least)),
            ));
        }
        if duration > DURATION_MAX {
            let why = format!("nothing here is meant to last longer than {}", time::show(DURATION_MAX));
            return Err(Complaint::new("is too long", why, "shorten it"));
        }
        Ok(duration)
    }
}

/// Words that are all that may be said, quoted and in order.
pub fn listed<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    words.into_iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// The complaint about a word that is not one of a closed set.
pub fn unknown_word(word: &str, known: &[&str]) -> Complaint {
    let remedy = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "choose one of them".to_owned(),
    };
    Complaint::new("is not known", format!("it is one of {}", listed(known.iter().copied())), remedy)
}

/// A member of a closed set.
pub fn word<T: FromStr + Copy>(
    all: &[T],
    as_str: impl Fn(T) -> &'static str,
) -> impl Fn(&Node) -> Result<T, Complaint> {
    let known: Vec<&'static str> = all.iter().map(|member| as_str(*member)).collect();
    move |node| match &node.value {
        Value::Text(text) | Value::Loose(text) => text.parse().map_err(|_| unknown_word(text, &known)),
        _ => Err(wrong(node, "a word", &known.first().map(|word| format!("\"{word}\"")).unwrap_or_default())),
    }
}

/// A value whose grammar is its own [`FromStr`].
pub fn parsed<T: FromStr>(grammar: &'static str, example: &'static str) -> impl Fn(&Node) -> Result<T, Complaint> {
    move |node| match &node.value {
        Value::Text(text) | Value::Loose(text) => {
            text.parse().map_err(|_| Complaint::new("is not acceptable", grammar, format!("write it like {example}")))
        }
        _ => Err(wrong(node, "text", example)),
    }
}

/// A count, or a share such as `25%`; the count at least `least`.
pub fn quantity(count_max: u32) -> impl Fn(&Node) -> Result<Quantity, Complaint> {
    move |node| {
        let bad = || {
            Complaint::new("is neither a count nor a share", "one of them is needed", "write it like \"1\" or \"25%\"")
        };
        let text = literal(node, true).ok_or_else(|| wrong(node, "a count or a share", "\"1\" or \"25%\""))?;
        if let Some(percent) = text.strip_suffix('%') {
            let hundredths = percent.parse::<Usd>().map_err(|_| bad())?.micros();
            let whole = i64::try_from(PPM).unwrap_or(i64::MAX).saturating_mul(100);
            if !(0..=whole).contains(&hundredths) {
                return Err(Complaint::new(
                    "is out of bounds",
                    "a share is of the whole",
                    "choose from \"0%\" to \"100%\"",
                ));
            }
            if hundredths % 100 != 0 {
                return Err(Complaint::new(
                    "is too fine",
                    "shares are counted in millionths",
                    "round it to four decimals",
                ));
            }
            return Ok(Quantity::SharePpm(u32::try_from(hundredths / 100).map_err(|_| bad())?));
        }
        let count: u32 = text.parse().map_err(|_| bad())?;
        if count > count_max {
            let remedy = format!("choose at most {count_max}");
            return Err(Complaint::new("is too large", "no fleet is that large", remedy));
        }
        Ok(Quantity::Count(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fault::Place;

    fn node(value: Value) -> Node {
        Node { place: Place::top("f"), text: String::new(), value }
    }

    #[test]
    fn durations_are_whole_numbers_of_known_units_in_descending_order() {
        for (text, expected) in [
            ("30s", Some(30)),
            ("10m", Some(600)),
            ("6h", Some(21_600)),
            ("30d", Some(2_592_000)),
            ("1h30m", Some(5_400)),
            ("0s", Some(0)),
            ("", None),
            ("30", None),
            ("m", None),
            ("1.5h", None),
            ("30m1h", None),
            ("1h1h", None),
            ("-1s", None),
            ("1 h", None),
            ("99999999999999999999s", None),
            ("99999999999999999d", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn money_is_read_from_the_literal() {
        assert_eq!(price(&node(Value::Decimal("0.1".into()))), Ok(HourlyRate::from_micros(100_000)));
        assert_eq!(price(&node(Value::Text("0.000001".into()))), Ok(HourlyRate::from_micros(1)));
        assert_eq!(price(&node(Value::Whole("7".into()))), Ok(HourlyRate::from_micros(7_000_000)));
        assert!(price(&node(Value::Decimal("nan".into()))).is_err());
        assert!(price(&node(Value::Decimal("0.0000001".into()))).is_err());
        assert!(amount(&node(Value::Decimal("-0.01".into()))).is_err());
    }

    #[test]
    fn shares_are_parts_per_million() {
        let share = ppm(1, PPM, "above 0, at most 1", "0.5");
        assert_eq!(share(&node(Value::Decimal("0.5".into()))), Ok(500_000));
        assert_eq!(share(&node(Value::Whole("1".into()))), Ok(PPM));
        assert!(share(&node(Value::Whole("0".into()))).is_err());
        assert!(share(&node(Value::Decimal("1.000001".into()))).is_err());
        let quantity = quantity(10);
        assert_eq!(quantity(&node(Value::Text("12.5%".into()))), Ok(Quantity::SharePpm(125_000)));
        assert_eq!(quantity(&node(Value::Whole("3".into()))), Ok(Quantity::Count(3)));
        for text in ["101%", "-1%", "11", "x", "%", "1.5", "0.00001%"] {
            assert!(quantity(&node(Value::Text(text.into()))).is_err(), "{text}");
        }
    }
}
