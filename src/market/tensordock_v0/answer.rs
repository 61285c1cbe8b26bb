//! What an answer of TensorDock v0 amounts to, before anybody looks for what was asked.
//!
//! HTTP 200 means little there: a page of HTML comes with it, and so does a refusal, sometimes with the true status in a
//! header; `success` is a boolean, a string or missing (recorded, FACTS). So status, header, `success` and `error` are
//! read together, once, here. Refusals carry no code: their *texts* are sorted into groups by what to do next. What
//! matches nothing is a plain refusal.

use crate::{
    io::net::Response,
    market::{
        ORIGINAL_STATUS,
        json::{Json, Object},
    },
    model::Refusal,
};
use std::time::Duration;

/// The field `success`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Success {
    /// True, or the word.
    Yes,
    /// False, or the word.
    No,
    /// Not there.
    Unsaid,
    /// There, and neither.
    Odd,
}

/// An answer, sorted.
#[derive(Debug)]
pub struct Answer<'a> {
    status: u16,
    original_status: Option<u16>,
    retry_after: Option<Duration>,
    /// What it says of itself.
    pub success: Success,
    /// Its error text, fit to be shown.
    pub error: Option<String>,
    object: Option<Object<'a>>,
}

impl<'a> Answer<'a> {
    /// Sorts an answer.
    pub fn read(response: &'a Response) -> Self {
        let object = Json::read(&response.body).and_then(Json::object);
        let success = match object.as_ref().and_then(|object| object.get("success")) {
            None => Success::Unsaid,
            Some(said) => match said.flag() {
                Some(true) => Success::Yes,
                Some(false) => Success::No,
                None => Success::Odd,
            },
        };
        let error = object.as_ref().and_then(|object| {
            let said = object.get("error").and_then(error_text);
            said.or_else(|| if success == Success::No { object.get("message").and_then(error_text) } else { None })
        });
        Self {
            status: response.status,
            original_status: response.header(ORIGINAL_STATUS).and_then(|status| status.trim().parse().ok()),
            retry_after: response.retry_after(None),
            success,
            error,
            object,
        }
    }

    /// Its members, when it is not a refusal.
    ///
    /// # Errors
    /// The refusal it is.
    pub fn accepted(self) -> Result<Object<'a>, Refusal> {
        match self.refusal() {
            Some(refusal) => Err(refusal),
            None => self.object.ok_or_else(|| Refusal::Malformed(format!("HTTP {} without JSON", self.status))),
        }
    }

    /// Its members, when it says success in so many words, as a write must.
    ///
    /// # Errors
    /// The refusal it is; `Malformed` when it says neither.
    pub fn done(self) -> Result<Object<'a>, Refusal> {
        let success = self.success;
        let object = self.accepted()?;
        match success {
            Success::Yes => Ok(object),
            Success::No | Success::Unsaid | Success::Odd => {
                Err(Refusal::Malformed("HTTP 200 that does not say success".into()))
            }
        }
    }

    /// Whether it is the recorded way to refuse a bid: a plain no, with or without a text that says so. The proxy's
    /// header then says 500 (documented, S1).
    pub fn refuses_a_bid(&self) -> bool {
        (200..300).contains(&self.status)
            && self.success == Success::No
            && match self.error.as_deref().map(sorted) {
                None | Some(Refusal::BidTooLow(_) | Refusal::NoCapacity(_)) => true,
                Some(
                    Refusal::Throttled { .. }
                    | Refusal::Unauthorized(_)
                    | Refusal::Gone
                    | Refusal::Broke(_)
                    | Refusal::Refused(_)
                    | Refusal::Malformed(_)
                    | Refusal::Unreachable(_),
                ) => false,
            }
    }

    /// Whether it has the id of a VM, as what a deploy made.
    pub fn names_a_vm(&self) -> bool {
        self.object.as_ref().is_some_and(|object| object.first(&["server", "vm"]).is_some())
    }

    /// Whether it says that the VM is gone, under whatever status. Source: "non-2xx or 200 with `error` containing
    /// `already terminated`" (recorded).
    pub fn says_already_terminated(&self) -> bool {
        self.success != Success::Yes
            && self.error.as_deref().is_some_and(|text| text.to_ascii_lowercase().contains("already terminated"))
    }

    /// The refusal it is, if it is one.
    pub fn refusal(&self) -> Option<Refusal> {
        let status = self.status;
        let with_text = |fact: String| match &self.error {
            Some(text) => format!("{fact}: {text}"),
            None => fact,
        };
        if status >= 500 {
            return Some(Refusal::Unreachable(with_text(format!("HTTP {status}"))));
        }
        if status == 429 {
            return Some(Refusal::Throttled { retry_after: self.retry_after });
        }
        if status == 401 || status == 403 {
            return Some(Refusal::Unauthorized(with_text(format!("HTTP {status}"))));
        }
        if self.object.is_none() {
            return Some(Refusal::Malformed(format!("HTTP {status} without a JSON object")));
        }
        if !(200..300).contains(&status) {
            return Some(match &self.error {
                Some(text) if status >= 400 => self.sorted(text),
                _ => Refusal::Malformed(format!("HTTP {status} without an error text")),
            });
        }
        match (self.success, &self.error) {
            (Success::Odd, _) => Some(Refusal::Malformed("`success` is neither true nor false".into())),
            (Success::Yes, Some(text)) => Some(Refusal::Malformed(format!("both success and an error: {text}"))),
            (Success::No | Success::Unsaid, Some(text)) => Some(match (self.sorted(text), self.original_status) {
                (Refusal::Refused(text), Some(original @ 500..)) => {
                    Refusal::Unreachable(format!("HTTP {original} behind the proxy: {text}"))
                }
                (refusal, _) => refusal,
            }),
            (Success::No | Success::Unsaid, None) if self.original_status.is_some_and(|original| original >= 500) => {
                Some(Refusal::Unreachable("a server's failure behind the proxy".into()))
            }
            (Success::Yes, None) if self.original_status.is_some_and(|original| original >= 500) => {
                Some(Refusal::Malformed("success, but the proxy says that the server failed".into()))
            }
            (Success::No, None) => Some(Refusal::Refused("it says no, and not why".into())),
            (Success::Yes | Success::Unsaid, None) => None,
        }
    }

    fn sorted(&self, text: &str) -> Refusal {
        match sorted(text) {
            Refusal::Throttled { .. } => Refusal::Throttled { retry_after: self.retry_after },
            refusal => refusal,
        }
    }
}

/// An error as text: a string, or what stands in an object or in an array's first element.
pub(in crate::market) fn error_text(error: Json<'_>) -> Option<String> {
    let nested = || {
        let object = error.object().or_else(|| error.array()?.first()?.object())?;
        object.text("message").or_else(|| object.text("error"))
    };
    error.text().or_else(nested).filter(|text| !text.trim().is_empty())
}

/// The group a refusal's text belongs to. Only `already terminated`, `therefore it cannot be …` and `need at least $X`
/// are recorded; the other words are assumed.
pub(in crate::market) fn sorted(text: &str) -> Refusal {
    const THROTTLED: &[&str] = &["too many requests", "rate limit"];
    const UNAUTHORIZED: &[&str] = &[
        "unauthorized",
        "not authorized",
        "invalid authorization",
        "authentication",
        "credential",
        "api key",
        "api_key",
        "api token",
        "api_token",
        "invalid token",
        "invalid key",
    ];
    const GONE: &[&str] = &[
        "already terminated",
        "already deleted",
        "machine is terminated",
        "machine is deleted",
        "machine not found",
        "server not found",
        "instance not found",
        "vm not found",
        "vm does not exist",
        "server does not exist",
        "machine does not exist",
        "instance does not exist",
    ];
    const BROKE: &[&str] = &["balance", "need at least $", "funds", "payment", "deposit"];
    const BID: &[&str] = &["bid", "price too low", "price is too low", "higher price"];
    const CAPACITY: &[&str] = &[
        "out of stock",
        "no available",
        "not available",
        "unavailable",
        "capacity",
        "not enough",
        "insufficient",
        "already in use",
        "hostnode not found",
        "hostnode does not exist",
    ];
    let lower = text.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    // A text about a VM's state names the state and nothing else that matters.
    let about_state = lower.starts_with("machine is ") && lower.contains("therefore it cannot be");
    if says(GONE) {
        Refusal::Gone
    } else if about_state {
        Refusal::Refused(text.to_owned())
    } else if says(THROTTLED) {
        Refusal::Throttled { retry_after: None }
    } else if says(UNAUTHORIZED) {
        Refusal::Unauthorized(text.to_owned())
    } else if says(BROKE) {
        Refusal::Broke(text.to_owned())
    } else if lower.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|word| word == "bid") || says(&BID[1..]) {
        Refusal::BidTooLow(text.to_owned())
    } else if says(CAPACITY) {
        Refusal::NoCapacity(text.to_owned())
    } else {
        Refusal::Refused(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::refusal::RefusalKind;

    fn kind(status: u16, headers: &[(&str, &str)], body: &str) -> Option<RefusalKind> {
        let mut response = Response::json(status, body);
        response.headers.extend(headers.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        Answer::read(&response).refusal().map(|refusal| refusal.kind())
    }

    #[test]
    fn status_200_alone_means_nothing() {
        use RefusalKind as K;
        assert_eq!(kind(200, &[], "<!doctype html><html></html>"), Some(K::Malformed));
        assert_eq!(kind(200, &[], ""), Some(K::Malformed));
        assert_eq!(kind(200, &[], "[]"), Some(K::Malformed));
        assert_eq!(kind(200, &[], r#"{"success":true}"#), None);
        assert_eq!(kind(200, &[], r#"{"success":"true"}"#), None);
        assert_eq!(kind(200, &[], r#"{"success":"True"}"#), None);
        assert_eq!(kind(200, &[], r#"{"anything":1}"#), None);
        assert_eq!(kind(200, &[], r#"{"success":1}"#), Some(K::Malformed));
        assert_eq!(kind(200, &[], r#"{"success":false}"#), Some(K::Refused));
        assert_eq!(kind(200, &[], r#"{"success":"false","error":"x"}"#), Some(K::Refused));
        assert_eq!(kind(200, &[], r#"{"success":true,"error":"x"}"#), Some(K::Malformed));
        assert_eq!(kind(200, &[], r#"{"success":true,"error":null}"#), None);
        assert_eq!(kind(200, &[], r#"{"status":400,"error":"No available nodes found"}"#), Some(K::NoCapacity));
    }

    #[test]
    fn the_proxys_header_can_turn_a_200_into_a_failure() {
        let failed = &[(ORIGINAL_STATUS, "500")];
        assert_eq!(kind(200, failed, r#"{"success":false}"#), Some(RefusalKind::Unreachable));
        assert_eq!(kind(200, failed, r#"{"success":true}"#), Some(RefusalKind::Malformed));
        assert_eq!(kind(200, failed, r#"{"success":false,"error":"oops"}"#), Some(RefusalKind::Unreachable));
        assert_eq!(
            kind(200, failed, r#"{"success":false,"error":"machine is already terminated"}"#),
            Some(RefusalKind::Gone)
        );
        assert_eq!(kind(200, &[(ORIGINAL_STATUS, "200")], r#"{"success":true}"#), None);
    }

    #[test]
    fn texts_are_sorted_by_what_to_do_next() {
        use RefusalKind as K;
        for (text, expected) in [
            ("Machine is running, therefore it cannot be started", K::Refused),
            ("Machine is stoppeddisassociated, therefore it cannot be stopped", K::Refused),
            ("Machine is terminated, therefore it cannot be stopped", K::Gone),
            ("Machine is already terminated", K::Gone),
            ("Virtual machine not found", K::Gone),
            ("Hostnode not found", K::NoCapacity),
            ("Invalid API key or token", K::Unauthorized),
            ("Invalid SSH key", K::Refused),
            ("You need at least $1 to deploy", K::Broke),
            ("Insufficient balance", K::Broke),
            ("Insufficient capacity", K::NoCapacity),
            ("This GPU is out of stock", K::NoCapacity),
            ("No available nodes found", K::NoCapacity),
            ("Your bid is too low", K::BidTooLow),
            ("It is forbidden to use this name", K::Refused),
            ("vcpus must be an even number", K::Refused),
            ("Too many requests", K::Throttled),
        ] {
            assert_eq!(sorted(text).kind(), expected, "{text}");
            let body = format!(r#"{{"success":false,"error":"{text}"}}"#);
            assert_eq!(kind(400, &[], &body), Some(expected), "{text}");
        }
    }

    #[test]
    fn statuses_have_their_own_meaning() {
        assert_eq!(kind(401, &[], "<html>"), Some(RefusalKind::Unauthorized));
        assert_eq!(kind(403, &[], r#"{"error":"no"}"#), Some(RefusalKind::Unauthorized));
        assert_eq!(kind(500, &[], r#"{"success":true}"#), Some(RefusalKind::Unreachable));
        assert_eq!(kind(502, &[], "<html>"), Some(RefusalKind::Unreachable));
        assert_eq!(kind(404, &[], "<html>"), Some(RefusalKind::Malformed));
        assert_eq!(kind(404, &[], r#"{"message":"no route"}"#), Some(RefusalKind::Malformed));
        assert_eq!(kind(302, &[], r#"{"error":"moved"}"#), Some(RefusalKind::Malformed));
        assert_eq!(kind(400, &[], r#"{"error":{"message":"odd"}}"#), Some(RefusalKind::Refused));
        assert_eq!(kind(400, &[], r#"{"error":[{"message":"odd"}]}"#), Some(RefusalKind::Refused));
    }

    #[test]
    fn a_throttle_says_how_long_in_seconds_or_as_a_date() {
        let wait = |headers: &[(&str, &str)]| {
            let mut response = Response::json(429, "slow down");
            response.headers.extend(headers.iter().map(|(name, value)| (name.to_string(), value.to_string())));
            match Answer::read(&response).refusal() {
                Some(Refusal::Throttled { retry_after }) => retry_after.map(|wait| wait.as_secs()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&[("retry-after", "7")]), Some(7));
        assert_eq!(wait(&[("retry-after", "99999999999")]), Some(3_600));
        assert_eq!(wait(&[("retry-after", "-1")]), None);
        let date = ("date", "Fri, 20 Nov 2026 18:00:00 GMT");
        assert_eq!(wait(&[date, ("retry-after", "Fri, 20 Nov 2026 18:00:30 GMT")]), Some(30));
        assert_eq!(wait(&[date, ("retry-after", "Fri, 20 Nov 2026 17:00:00 GMT")]), Some(0));
        assert_eq!(wait(&[("retry-after", "Fri, 20 Nov 2026 18:00:30 GMT")]), None);
    }
}
