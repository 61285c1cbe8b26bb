//! What an answer of Vectordash amounts to, before anybody looks for what was asked.
//!
//! The reference knows three ranges of status: 200 done, 400 "bad authentication, unauthorized request, malformed request,
//! requested object does not exist, etc.", 500 the server's own failure; the page that tells them apart is missing. So the
//! usual meaning of a status is believed where it has one, and otherwise the *text*, wherever such APIs put it, is sorted by
//! what to do next (assumed). A 400 to a request that says nothing but who asks can only be about who asks.
//! What a text quotes of our token or of an instance's private key is taken out of it where it is told ([`hush`]).
//!
//! [`hush`]: crate::market::hush

use crate::{
    io::net::{Request, Response},
    market::{
        ORIGINAL_STATUS,
        json::{Json, shown},
    },
    model::Refusal,
};
use std::time::Duration;

/// Where APIs put the text of a refusal (assumed; the reference shows none).
const ERROR_MEMBERS: [&str; 4] = ["error", "errors", "message", "detail"];

/// An answer, sorted.
#[derive(Debug)]
pub struct Answer<'a> {
    status: u16,
    original_status: Option<u16>,
    retry_after: Option<Duration>,
    /// It was sent with credentials and nothing else.
    asks_only_who: bool,
    success: Option<bool>,
    /// Its error text, fit to be shown.
    error: Option<String>,
    json: Option<Json<'a>>,
    body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Sorts an answer.
    pub fn read(request: &Request, response: &'a Response) -> Self {
        let json = Json::read(&response.body);
        let object = json.and_then(Json::object);
        let failed = response.status >= 400;
        // Of an answer that is no refusal only `error` says that it is one after all.
        let members = if failed { &ERROR_MEMBERS[..] } else { &ERROR_MEMBERS[..1] };
        let said = object.as_ref().and_then(|object| object.first(members).and_then(error_text));
        let error = said.map(|text| shown(&text));
        Self {
            status: response.status,
            original_status: response.header(ORIGINAL_STATUS).and_then(|status| status.trim().parse().ok()),
            retry_after: response.retry_after(None),
            asks_only_who: request.header("authorization").is_some()
                && request.body.is_empty()
                && request.query.is_empty()
                && matches!(request.path.as_str(), "/api/account" | "/api/instances"),
            success: object.as_ref().and_then(|object| object.get("success")).and_then(Json::flag),
            error,
            json,
            body: &response.body,
        }
    }

    /// What it says, when it is JSON and no refusal.
    ///
    /// # Errors
    /// The refusal it is; `Malformed` when it is no JSON.
    pub fn accepted(self) -> Result<Json<'a>, Refusal> {
        match self.refusal() {
            Some(refusal) => Err(refusal),
            None => self.json.ok_or_else(|| Refusal::Malformed(format!("HTTP {} without JSON", self.status))),
        }
    }

    /// Its text, when it is no refusal, JSON or not.
    ///
    /// # Errors
    /// The refusal it is; `Malformed` when it is no text.
    pub fn text(self) -> Result<&'a str, Refusal> {
        match self.refusal() {
            Some(refusal) => Err(refusal),
            None => std::str::from_utf8(self.body).map_err(|_| Refusal::Malformed("it is no text".into())),
        }
    }

    /// Whether it has the key of an instance, as what a create made.
    pub fn names_an_instance(&self) -> bool {
        let object = self.json.and_then(Json::object);
        let within = object.as_ref().and_then(|object| object.object("instance"));
        [object, within].into_iter().flatten().any(|object| object.get("key").is_some())
    }

    /// The refusal it is, if it is one.
    pub fn refusal(&self) -> Option<Refusal> {
        let status = self.status;
        let told = |status: u16| match &self.error {
            Some(text) => format!("HTTP {status}: {text}"),
            None => format!("HTTP {status}"),
        };
        if let Some(failed) = [Some(status), self.original_status].into_iter().flatten().find(|status| *status >= 500) {
            return Some(Refusal::Unreachable(told(failed)));
        }
        match status {
            429 => return Some(Refusal::Throttled { retry_after: self.retry_after }),
            401 | 403 => return Some(Refusal::Unauthorized(told(status))),
            402 => return Some(Refusal::Broke(told(status))),
            // A page of somebody else's says nothing about an instance.
            404 | 410 if self.json.is_some() || self.body.is_empty() => return Some(Refusal::Gone),
            _ => {}
        }
        if status >= 400 {
            return Some(match &self.error {
                Some(text) => self.sorted(text),
                None if self.asks_only_who => Refusal::Unauthorized(told(status)),
                // "There was an issue with the request", and not which: no word settles that nothing was made.
                None => Refusal::Malformed(format!("HTTP {status} without an error text")),
            });
        }
        if !(200..300).contains(&status) {
            return Some(Refusal::Malformed(told(status)));
        }
        match (self.success, &self.error) {
            (Some(true), Some(text)) => Some(Refusal::Malformed(format!("both success and an error: {text}"))),
            (Some(false) | None, Some(text)) => Some(self.sorted(text)),
            (Some(false), None) => Some(Refusal::Refused("it says no, and not why".into())),
            (Some(true) | None, None) => None,
        }
    }

    fn sorted(&self, text: &str) -> Refusal {
        match sorted(text) {
            Refusal::Throttled { .. } => Refusal::Throttled { retry_after: self.retry_after },
            // "Bad authentication" may come with a text that says something else.
            Refusal::Refused(text) if self.asks_only_who && self.status >= 400 => Refusal::Unauthorized(text),
            refusal => refusal,
        }
    }
}

/// An error as text: a string, or what stands in an object or in an array's first element.
fn error_text(error: Json<'_>) -> Option<String> {
    let first = error.array().and_then(|list| list.first().copied()).unwrap_or(error);
    let nested = || first.object()?.first(&["message", "error", "detail"])?.string();
    let text = first.string().or_else(nested)?;
    (!text.trim().is_empty()).then(|| text.into_owned())
}

/// The group a refusal's text belongs to. No text of this API is known: all words are assumed.
fn sorted(text: &str) -> Refusal {
    const THROTTLED: &[&str] = &["too many requests", "rate limit", "throttled"];
    const UNAUTHORIZED: &[&str] =
        &["unauthorized", "not authorized", "authentication", "credential", "token", "permission", "forbidden"];
    const GONE: &[&str] = &["instance not found", "instance does not exist", "no such instance", "already deleted"];
    const BROKE: &[&str] = &["payment", "billing", "balance", "funds", "credit card"];
    const CAPACITY: &[&str] = &[
        "not available",
        "unavailable",
        "no gpu",
        "no available",
        "none available",
        "are available",
        "capacity",
        "out of stock",
        "not enough",
        "insufficient",
        "not found",
        "does not exist",
    ];
    let lower = text.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if says(GONE) {
        Refusal::Gone
    } else if says(THROTTLED) {
        Refusal::Throttled { retry_after: None }
    } else if says(BROKE) {
        Refusal::Broke(text.to_owned())
    } else if says(UNAUTHORIZED) {
        Refusal::Unauthorized(text.to_owned())
    } else if says(CAPACITY) {
        Refusal::NoCapacity(text.to_owned())
    } else {
        Refusal::Refused(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::calls::Calls, *};
    use crate::{
        market::hush::hushed,
        model::{InstanceId, refusal::RefusalKind as K},
    };

    fn calls() -> Calls {
        Calls::new("token-of-ours".into())
    }

    fn refusal(request: &Request, status: u16, body: &str) -> Option<Refusal> {
        Answer::read(request, &Response::json(status, body)).refusal()
    }

    #[track_caller]
    fn check(status: u16, body: &str, expected: Option<K>) {
        let create = Request { body: b"{}".into(), ..calls().instances() };
        assert_eq!(refusal(&create, status, body).map(|refusal| refusal.kind()), expected, "{status} {body}");
    }

    #[test]
    fn each_range_of_status_means_what_the_reference_says() {
        check(200, r#"{"instances":[]}"#, None);
        check(204, "", None);
        check(401, "", Some(K::Unauthorized));
        check(403, r#"{"error":"no"}"#, Some(K::Unauthorized));
        check(402, "", Some(K::Broke));
        check(404, "", Some(K::Gone));
        check(429, "", Some(K::Throttled));
        check(500, "", Some(K::Unreachable));
        check(503, r#"{"error":"Payment required"}"#, Some(K::Unreachable));
        check(302, "", Some(K::Malformed));
        check(400, "", Some(K::Malformed));
        check(400, "{}", Some(K::Malformed));
        check(400, r#"{"error":""}"#, Some(K::Malformed));
        check(404, "{}", Some(K::Gone));
        check(404, "<html>", Some(K::Malformed));
    }

    #[test]
    fn a_refusal_can_hide_behind_a_200() {
        check(200, r#"{"error":"Invalid token"}"#, Some(K::Unauthorized));
        check(200, r#"{"success":false}"#, Some(K::Refused));
        check(200, r#"{"success":true,"error":"x"}"#, Some(K::Malformed));
        check(200, r#"{"error":null,"message":"hello"}"#, None);
    }

    #[test]
    fn texts_are_sorted_by_what_to_do_next() {
        for (text, expected) in [
            ("Invalid token.", K::Unauthorized),
            ("Authentication credentials were not provided.", K::Unauthorized),
            ("Please add a payment method", K::Broke),
            ("No GPUs of this type are available", K::NoCapacity),
            ("Instance not found", K::Gone),
            ("GPU type does not exist", K::NoCapacity),
            ("Too many requests", K::Throttled),
            ("date must be in the future", K::Refused),
        ] {
            for body in [
                format!(r#"{{"error":"{text}"}}"#),
                format!(r#"{{"errors":[{{"message":"{text}"}}]}}"#),
                format!(r#"{{"message":"{text}"}}"#),
                format!(r#"{{"detail":["{text}"]}}"#),
            ] {
                check(400, &body, Some(expected));
            }
        }
    }

    #[test]
    fn a_400_to_who_says_only_who_he_is_is_about_the_credentials() {
        for body in ["", "{}", r#"{"error":"Bad Request"}"#] {
            for request in [calls().account(), calls().instances()] {
                assert_eq!(refusal(&request, 400, body).unwrap().kind(), K::Unauthorized, "{body}");
            }
            assert_ne!(refusal(&calls().gpus(), 400, body).unwrap().kind(), K::Unauthorized, "{body}");
            let id: InstanceId = "ffffff342".parse().unwrap();
            assert_ne!(refusal(&calls().delete(&id), 400, body).unwrap().kind(), K::Unauthorized, "{body}");
        }
    }

    #[test]
    fn no_refusal_quotes_the_token_or_a_private_key() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\\nMIIEhush\\n";
        for body in [
            r#"{"error":"token-of-ours is not known"}"#.to_owned(),
            format!(r#"{{"error":"cannot send {key}"}}"#),
            r#"{"instance":{"pem":"MIIEhush"},"error":"cannot use MIIEhush"}"#.to_owned(),
            format!(r#"{{"pem":"MIIEhush","error":"{}MIIEhush"}}"#, "x".repeat(195)),
            r#"MIIEhush"#.to_owned(),
        ] {
            for status in [200, 302, 400, 401, 500] {
                let request = Request { body: b"{}".into(), ..calls().instances() };
                let response = Response::json(status, body.as_str());
                let refused = Answer::read(&request, &response).refusal();
                let refused = refused.map(|refused| hushed(&request, Some(&response), refused));
                let told = refused.map(|refused| refused.to_string()).unwrap_or_default();
                assert!(!told.contains("token-of-ours") && !told.contains("MIIE"), "{told}");
            }
        }
    }
}
