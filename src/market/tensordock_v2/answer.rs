//! What an answer of TensorDock v2 amounts to, before anybody looks for what was asked.
//!
//! Errors come in many shapes (recorded, FACTS): `{"error": …}`, an array of `{code, message, path}`, a page of HTML, and
//! `{"status": 400, "error": …}` under HTTP 200. So the HTTP status, a status in the body, the one that the vendor's proxy
//! tells in a header (documented of v0, and assumed of v2: it is the same vendor's) and every place of a text are read
//! together, once, here. The texts are sorted as v0's are.

use crate::{
    io::net::Response,
    market::{
        ORIGINAL_STATUS,
        json::{Json, Object, shown},
        tensordock_v0::answer::{error_text, sorted},
    },
    model::Refusal,
};
use std::time::Duration;

/// Of an array of errors, so many are told.
const ERRORS_TOLD_MAX: usize = 3;

/// What a body is.
#[derive(Debug)]
enum Body<'a> {
    /// Nothing at all.
    Empty,
    /// Members.
    Object(Object<'a>),
    /// Elements: never an answer, only errors come so.
    Array,
    /// Nothing that a program can read.
    Unreadable,
}

/// An answer, sorted.
#[derive(Debug)]
pub struct Answer<'a> {
    status: u16,
    /// A server's failure that a proxy answers for.
    failed_behind: Option<u16>,
    retry_after: Option<Duration>,
    /// What it says of itself, where that is not a success: an HTTP status in the body.
    inner_status: Option<u16>,
    says_no: bool,
    /// Its error text, fit to be shown.
    pub error: Option<String>,
    body: Body<'a>,
}

impl<'a> Answer<'a> {
    /// Sorts an answer.
    pub fn read(response: &'a Response) -> Self {
        let json = Json::read(&response.body);
        let mut error = None;
        let (mut inner_status, mut says_no) = (None, false);
        let body = match json {
            None if response.body.iter().all(u8::is_ascii_whitespace) => Body::Empty,
            None => Body::Unreadable,
            Some(json) => match (json.object(), json.array()) {
                (Some(object), _) => {
                    says_no = object.get("success").and_then(Json::flag) == Some(false);
                    inner_status = object.get("status").and_then(status_number);
                    error = error_of(&object, says_no || inner_status.is_some() || response.status >= 400);
                    Body::Object(object)
                }
                (None, Some(array)) => {
                    error = joined(array);
                    Body::Array
                }
                (None, None) => Body::Unreadable,
            },
        };
        let original = response.header(ORIGINAL_STATUS).and_then(|status| status.trim().parse().ok());
        Self {
            status: response.status,
            failed_behind: original.filter(|status: &u16| *status >= 500),
            retry_after: response.retry_after(None),
            inner_status,
            says_no,
            error,
            body,
        }
    }

    /// Its members, when it is not a refusal.
    ///
    /// # Errors
    /// The refusal it is.
    pub fn accepted(self) -> Result<Object<'a>, Refusal> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        match self.body {
            Body::Object(object) => Ok(object),
            Body::Empty | Body::Array | Body::Unreadable => {
                Err(Refusal::Malformed(format!("HTTP {} without a JSON object", self.status)))
            }
        }
    }

    /// That it says success in so many words, as a write must: an object of what was done, `success`, or 204.
    ///
    /// # Errors
    /// The refusal it is; `Malformed` when it says neither.
    pub fn done(self) -> Result<(), Refusal> {
        if self.status == 204 && self.failed_behind.is_none() && matches!(self.body, Body::Empty) {
            return Ok(());
        }
        let object = self.accepted()?;
        let data = object.object("data");
        let says = |data: &Object<'_>| data.text("type").is_some() || data.object("attributes").is_some();
        if object.get("success").and_then(Json::flag) == Some(true) || data.is_some_and(|data| says(&data)) {
            Ok(())
        } else {
            Err(Refusal::Malformed("HTTP 200 that does not say success".into()))
        }
    }

    /// Whether it has the id of a VM, as what a create made.
    pub fn names_a_vm(&self) -> bool {
        let Body::Object(object) = &self.body else { return false };
        object.get("id").is_some() || object.object("data").is_some_and(|data| data.get("id").is_some())
    }

    /// The refusal it is, if it is one.
    pub fn refusal(&self) -> Option<Refusal> {
        let is_json = match self.body {
            Body::Object(_) | Body::Array => true,
            Body::Empty | Body::Unreadable => false,
        };
        if let Some(refusal) = self.by_status(self.failed_behind.unwrap_or(self.status), is_json) {
            return Some(refusal);
        }
        if !is_json {
            return Some(Refusal::Malformed(format!("HTTP {} without JSON", self.status)));
        }
        if let Some(refusal) = self.inner_status.and_then(|status| self.by_status(status, true)) {
            return Some(refusal);
        }
        match (&self.error, &self.body) {
            (Some(text), _) if self.names_a_vm() => {
                Some(Refusal::Malformed(format!("both an answer and an error: {text}")))
            }
            (Some(text), _) => Some(self.sorted(text)),
            (None, _) if self.says_no => Some(Refusal::Refused("it says no, and not why".into())),
            (None, Body::Array) => Some(Refusal::Malformed("an array where an object is due".into())),
            (None, _) => None,
        }
    }

    /// What a status that is no success means; `None` for one that is.
    fn by_status(&self, status: u16, is_json: bool) -> Option<Refusal> {
        let with_text = || match &self.error {
            Some(text) => format!("HTTP {status}: {text}"),
            None => format!("HTTP {status}"),
        };
        match status {
            200..=299 => None,
            429 => Some(Refusal::Throttled { retry_after: self.retry_after }),
            401 | 403 => Some(Refusal::Unauthorized(with_text())),
            500.. => Some(Refusal::Unreachable(with_text())),
            400..=499 if !is_json => Some(Refusal::Malformed(format!("HTTP {status} without JSON"))),
            // A page that is not found says nothing about a VM; JSON is of the API itself.
            404 => Some(match self.error.as_deref().map(|text| self.sorted(text)) {
                Some(refusal @ (Refusal::NoCapacity(_) | Refusal::Broke(_))) => refusal,
                Some(_) | None => Refusal::Gone,
            }),
            400..=499 => Some(match &self.error {
                Some(text) => self.sorted(text),
                // A state that does not allow it (recorded: 409).
                None if status == 409 => Refusal::Refused(format!("HTTP {status}")),
                None => Refusal::Malformed(format!("HTTP {status} without an error text")),
            }),
            _ => Some(Refusal::Malformed(with_text())),
        }
    }

    /// By its text. Nobody bids here.
    fn sorted(&self, text: &str) -> Refusal {
        match sorted(text) {
            Refusal::Throttled { .. } => Refusal::Throttled { retry_after: self.retry_after },
            Refusal::BidTooLow(text) => Refusal::Refused(text),
            refusal => refusal,
        }
    }
}

/// `"status": 400`. A VM's status is a word.
fn status_number(status: Json<'_>) -> Option<u16> {
    if status.string().is_some() {
        return None;
    }
    status.literal()?.parse().ok().filter(|status| (300..600).contains(status))
}

/// The text of an error: under `error`, in an array of `errors`, or the `message` of what is an error anyway.
fn error_of(object: &Object<'_>, is_error: bool) -> Option<String> {
    let several = || joined(object.get("errors")?.array()?);
    let message = || if is_error { object.get("message").and_then(error_text) } else { None };
    object.get("error").and_then(error_text).or_else(several).or_else(message)
}

/// `[{"code", "message", "path"}]`, or what JSON:API calls `detail` and `title`.
fn joined(array: Vec<Json<'_>>) -> Option<String> {
    let text = |error: Json<'_>| {
        let named = || error.object()?.first(&["message", "detail", "title", "error"])?.text();
        error.text().or_else(named).filter(|text| !text.trim().is_empty())
    };
    let texts: Vec<String> = array.into_iter().filter_map(text).take(ERRORS_TOLD_MAX).collect();
    if texts.is_empty() { None } else { Some(shown(&texts.join("; "))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::refusal::RefusalKind as K;

    fn kind(status: u16, body: &str) -> Option<K> {
        Answer::read(&Response::json(status, body)).refusal().map(|refusal| refusal.kind())
    }

    #[test]
    fn status_200_alone_means_nothing() {
        assert_eq!(kind(200, "<!doctype html><html></html>"), Some(K::Malformed));
        assert_eq!(kind(200, ""), Some(K::Malformed));
        assert_eq!(kind(200, "[]"), Some(K::Malformed));
        assert_eq!(kind(200, "7"), Some(K::Malformed));
        assert_eq!(kind(200, r#"{"data":{}}"#), None);
        assert_eq!(kind(200, r#"{"status":400,"error":"No available nodes found"}"#), Some(K::NoCapacity));
        assert_eq!(kind(200, r#"{"status":400,"error":"Hostnode unavailable"}"#), Some(K::NoCapacity));
        assert_eq!(kind(200, r#"{"status":401,"error":"Unauthorized"}"#), Some(K::Unauthorized));
        assert_eq!(kind(200, r#"{"status":429}"#), Some(K::Throttled));
        assert_eq!(kind(200, r#"{"status":500,"message":"oops"}"#), Some(K::Unreachable));
        assert_eq!(kind(200, r#"{"success":false}"#), Some(K::Refused));
        assert_eq!(kind(200, r#"{"success":false,"message":"out of stock"}"#), Some(K::NoCapacity));
        assert_eq!(kind(200, r#"{"error":null,"data":{}}"#), None);
        // A VM says its status in a word.
        assert_eq!(kind(200, r#"{"id":"x","status":"running","message":"hello"}"#), None);
        assert_eq!(kind(200, r#"{"data":{"id":"x"},"error":"oops"}"#), Some(K::Malformed));
    }

    #[test]
    fn every_shape_of_an_error_is_read() {
        for (status, body, expected) in [
            (400, r#"{"error":"You need at least $1 in your account"}"#, K::Broke),
            (400, r#"{"error":{"message":"Insufficient capacity"}}"#, K::NoCapacity),
            (
                400,
                r#"[{"code":"custom","message":"SSH port (22) must be forwarded for Ubuntu VMs","path":["a"]}]"#,
                K::Refused,
            ),
            (400, r#"{"errors":[{"title":"Bad","detail":"This GPU is out of stock"}]}"#, K::NoCapacity),
            (400, r#"{"message":"Hostnode unavailable"}"#, K::NoCapacity),
            (400, r#"{}"#, K::Malformed),
            (400, "<html>", K::Malformed),
            (401, r#"{"error":"Unauthorized"}"#, K::Unauthorized),
            (401, "<html>", K::Unauthorized),
            (404, r#"{"error":"Instance not found"}"#, K::Gone),
            (404, r#"{"error":"nothing here"}"#, K::Gone),
            (404, "<html>", K::Malformed),
            (409, r#"{"error":"Instance is already running"}"#, K::Refused),
            (409, r#"{"error":"Instance must be stopped"}"#, K::Refused),
            (409, r#"{}"#, K::Refused),
            (429, "<html>", K::Throttled),
            (500, r#"{"data":{"id":"x"}}"#, K::Unreachable),
            (502, "<html>", K::Unreachable),
            (302, "", K::Malformed),
            (400, r#"{"error":"Your bid is too low"}"#, K::Refused),
        ] {
            assert_eq!(kind(status, body), Some(expected), "{status} {body}");
        }
    }

    #[test]
    fn a_write_is_done_when_it_says_so() {
        let done = |status: u16, body: &str| Answer::read(&Response::json(status, body)).done().is_ok();
        assert!(done(204, ""));
        assert!(done(200, r#"{"data":{"type":"success","attributes":{"message":"Instance deleted successfully"}}}"#));
        assert!(done(200, r#"{"data":{"type":"instance","id":"x","attributes":{"status":"starting"}}}"#));
        assert!(done(200, r#"{"success":true}"#));
        for body in ["", "{}", r#"{"data":[]}"#, r#"{"data":{}}"#, r#"{"data":null}"#, "<html>"] {
            assert!(!done(200, body), "{body}");
        }
    }

    #[test]
    fn a_throttle_says_how_long() {
        let mut response = Response::json(429, "{}");
        response.headers.push(("retry-after".into(), "7".into()));
        let refusal = Answer::read(&response).refusal();
        assert_eq!(refusal, Some(Refusal::Throttled { retry_after: Some(Duration::from_secs(7)) }));
    }

    #[test]
    fn a_servers_failure_behind_the_proxy_is_one_whatever_the_body_says() {
        let behind = |status: u16, original: &str, body: &str| {
            let mut response = Response::json(status, body);
            response.headers.push((ORIGINAL_STATUS.into(), original.into()));
            Answer::read(&response).done().err().map(|refusal| refusal.kind())
        };
        for body in [
            r#"{"data":{"type":"virtualmachine","id":"x","status":"running"}}"#,
            r#"{"success":true}"#,
            r#"{"status":400,"error":"No available nodes found"}"#,
            "{}",
            "",
        ] {
            for original in ["500", " 502 ", "599"] {
                assert_eq!(behind(200, original, body), Some(K::Unreachable), "{original} {body}");
            }
        }
        assert_eq!(behind(204, "500", ""), Some(K::Unreachable));
        assert_eq!(behind(404, "500", r#"{"error":"Instance not found"}"#), Some(K::Unreachable));
        for original in ["200", "201", "banana", ""] {
            assert_eq!(behind(200, original, r#"{"success":true}"#), None, "{original}");
        }
    }
}
