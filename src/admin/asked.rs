//! What was asked, read carefully: everything in here came from outside.
//!
//! **Invariant:** no request can make this panic, loop long or allocate much; whatever does not read is a
//! [`Problem`] that says what would.

use super::problem::Problem;
use crate::model::{FleetName, Timestamp, time::before};
use axum::http::{HeaderMap, Uri};
use serde::{Deserialize, de::DeserializeOwned};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

/// No lever lasts longer than this.
const LASTING_MAX: Duration = Duration::from_secs(366 * 86_400);
/// No fleet is larger than this; a target beyond it is a slip of the finger.
pub const TARGET_GPUS_MAX: u32 = 100_000;

/// One request.
#[derive(Debug)]
pub struct Asked {
    /// Who connected.
    pub peer: SocketAddr,
    /// The target.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The path's parameters, decoded.
    pub path: BTreeMap<String, String>,
    /// The query's pairs, decoded, each known to the route.
    pub query: BTreeMap<String, String>,
    /// The body, within its limit.
    pub body: Vec<u8>,
}

/// `{"gpus": 4, "for": "2h"}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetBody {
    /// How many.
    pub gpus: u32,
    /// For how long.
    #[serde(rename = "for", default)]
    pub lasting: Option<String>,
}

/// `{"marketplace": "tensordock"}`, or nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeBody {
    /// Only this one.
    #[serde(default)]
    pub marketplace: Option<String>,
}

/// `{"fleet": "train"}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdoptBody {
    /// Whose it becomes.
    pub fleet: String,
}

/// `{"for": "2h"}`, or nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtectBody {
    /// For how long.
    #[serde(rename = "for", default)]
    pub lasting: Option<String>,
}

/// `{"policy": "fleet = …"}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyBody {
    /// The text of a policy file.
    pub policy: String,
    /// What its faults call the file.
    #[serde(default = "unnamed")]
    pub file: String,
    /// The files that it names, by the path written in it.
    #[serde(default)]
    pub attachments: BTreeMap<String, String>,
}

fn unnamed() -> String {
    "policy".to_owned()
}

/// `{}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmptyBody {}

impl Asked {
    /// A parameter of the path.
    ///
    /// # Errors
    /// 400 when it is not the kind of name that the route is about.
    pub fn named<T: std::str::FromStr<Err: std::fmt::Display>>(&self, parameter: &str) -> Result<T, Problem> {
        let text = self.path.get(parameter).map(String::as_str).unwrap_or_default();
        text.parse().map_err(|error: T::Err| Problem::bad_request(error.to_string()))
    }

    /// The fleet of the query.
    ///
    /// # Errors
    /// 400 when it is not a name.
    pub fn fleet(&self) -> Result<Option<FleetName>, Problem> {
        let parse = |text: &String| {
            text.parse().map_err(|error: crate::model::name::NameError| Problem::bad_request(format!("fleet: {error}")))
        };
        self.query.get("fleet").map(parse).transpose()
    }

    /// The `limit` of the query.
    ///
    /// # Errors
    /// 400 when it is not a number.
    pub fn limit(&self, otherwise: usize, most: usize) -> Result<usize, Problem> {
        let parse = |text: &String| match text.parse::<usize>() {
            Ok(limit) if limit <= most => Ok(limit),
            Ok(_) | Err(_) => Err(Problem::bad_request(format!("limit: a whole number up to {most}"))),
        };
        self.query.get("limit").map_or(Ok(otherwise), parse)
    }

    /// The `since` of the query.
    ///
    /// # Errors
    /// 400 when it is neither a duration nor a time.
    pub fn since(&self, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
        let parse = |text: &String| {
            let at = text.parse::<Timestamp>().ok();
            at.or_else(|| duration(text).ok().map(|ago| before(now, ago))).ok_or_else(|| {
                Problem::bad_request("since: a duration such as `2h`, or a time such as `2026-11-20T18:00:00Z`")
            })
        };
        self.query.get("since").map(parse).transpose()
    }

    /// The body as JSON; no body is an empty object.
    ///
    /// # Errors
    /// 400, with what is wrong and where.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let body: &[u8] = if self.body.trim_ascii().is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("the body does not read: {error}")))
    }

    /// The body as a form's fields. The first of each name counts.
    pub fn form(&self) -> BTreeMap<String, String> {
        pairs(&self.body)
    }
}

/// The pairs of a query or form. The first of each name counts.
pub fn pairs(text: &[u8]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (key, value) in form_urlencoded::parse(text) {
        found.entry(key.into_owned()).or_insert_with(|| value.into_owned());
    }
    found
}

/// `30s`, `10m`, `6h`, `30d`, or several of them, largest first.
///
/// # Errors
/// 400, with how to write one.
pub fn duration(text: &str) -> Result<Duration, Problem> {
    let wrong = || Problem::bad_request("a duration is written like `30s`, `10m`, `6h` or `30d`, and is at most 366d");
    let (mut seconds, mut number, mut last_unit) = (0u64, None::<u64>, u64::MAX);
    for letter in text.trim().chars() {
        if let Some(digit) = letter.to_digit(10) {
            let grown = number.unwrap_or(0).checked_mul(10).and_then(|number| number.checked_add(digit.into()));
            number = Some(grown.ok_or_else(wrong)?);
            continue;
        }
        let unit = match letter {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let count = number.take().filter(|_| unit < last_unit).ok_or_else(wrong)?;
        seconds = count.checked_mul(unit).and_then(|part| seconds.checked_add(part)).ok_or_else(wrong)?;
        last_unit = unit;
    }
    let whole = Duration::from_secs(seconds);
    if number.is_none() && last_unit != u64::MAX && whole <= LASTING_MAX { Ok(whole) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_they_are_shown() {
        for (text, seconds) in [("30s", 30), ("10m", 600), ("1h30m", 5_400), ("366d", 31_622_400), ("0s", 0)] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in ["", "5", "h", "1x", "1m1h", "1h1h", "-1h", "1.5h", "367d", "99999999999999999999d", "٣h"] {
            assert_eq!(duration(text).unwrap_err().status, 400, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_duration_panic(text in "\\PC{0,40}") {
            let _ = duration(&text);
        }

        #[test]
        fn what_is_shown_reads_back_within_its_smallest_unit(seconds in 1u64..31_622_400) {
            let shown = crate::model::time::show(Duration::from_secs(seconds));
            let read = duration(&shown).unwrap().as_secs();
            prop_assert!(read <= seconds && seconds - read < 3_600, "{} {}", shown, read);
        }
    }
}
