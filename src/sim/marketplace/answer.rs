//! What comes back for a request: how much of the answer arrives, and when.
//!
//! A fault is decided before anything is served; here it happens, to an answer as to the effect that goes with it. What a
//! list shows is not decided here, but how much of it a fault lets be seen.

use super::super::{
    faults::{Effected, Fault},
    pages::etag,
    veil::Shown,
};
use crate::io::net::{Request, Response};
use std::time::Duration;

/// What older versions of the API sent instead of JSON.
const HTML: &str =
    "<!DOCTYPE html><html><head><title>Application Error</title></head><body><h1>Oops</h1></body></html>";

/// Bytes that are no text in any language.
const GARBAGE: &[u8] = b"\x1f\x8b\x08\x00{\"success\": \xff\xfe\x00tru";

/// An answer that never comes takes longer than any client waits, in real time.
const HANGING: Duration = Duration::from_secs(300);

/// How much of an answer arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of it.
    Whole(Response),
    /// Its head and half of its body; then the connection drops.
    Cut(Response),
    /// Nothing; the connection drops.
    Nothing,
}

/// A good answer with its `ETag`, computed where it is not known yet; 304 and no body for who has it already.
pub(super) fn unless_known(request: &Request, mut answer: Response, known_by: Option<String>) -> Response {
    if answer.status != 200 {
        return answer;
    }
    let etag = known_by.unwrap_or_else(|| etag(&answer));
    let known = request.header("if-none-match").unwrap_or_default();
    if known.split(',').any(|known| known.trim().trim_start_matches("W/") == etag) {
        answer.status = 304;
        answer.body.clear();
        answer.headers.retain(|(name, _)| name != "content-type");
    }
    answer.headers.push(("etag".to_owned(), etag));
    answer
}

/// How much a fault lets lists show, and how long it keeps the answer.
pub(super) const fn course(fault: Fault) -> (Shown, Duration) {
    match fault {
        Fault::EmptyList => (Shown::Nothing, Duration::ZERO),
        Fault::PartialList => (Shown::Half, Duration::ZERO),
        Fault::OtherWords => (Shown::InOtherWords, Duration::ZERO),
        Fault::Slow(delay) => (Shown::All, delay),
        Fault::Hang(_) => (Shown::All, HANGING),
        Fault::None
        | Fault::LostRequest
        | Fault::LostAnswer
        | Fault::CutAnswer
        | Fault::ServerError(_)
        | Fault::Html(_)
        | Fault::HalfJson
        | Fault::Throttled
        | Fault::StaleList(_)
        | Fault::LateEffect(_)
        | Fault::Garbage(_)
        | Fault::BadGateway
        | Fault::LateVm(_)
        | Fault::Refused => (Shown::All, Duration::ZERO),
    }
}

/// Serves a request and makes the fault happen. What had no effect is not served.
pub(super) fn spoil(fault: Fault, serve: impl FnOnce() -> Response) -> Answer {
    let whole = |status, kind: &str, body: Vec<u8>| {
        Answer::Whole(Response { status, headers: vec![("content-type".to_owned(), kind.to_owned())], body })
    };
    let error = r#"{"success": false, "error": "Internal Server Error"}"#;
    match fault {
        Fault::None
        | Fault::EmptyList
        | Fault::PartialList
        | Fault::OtherWords
        | Fault::StaleList(_)
        | Fault::LateVm(_)
        | Fault::Refused
        | Fault::Slow(_) => Answer::Whole(serve()),
        Fault::LostRequest | Fault::LateEffect(_) | Fault::Hang(Effected::No) => Answer::Nothing,
        Fault::LostAnswer | Fault::Hang(Effected::Yes) => {
            serve();
            Answer::Nothing
        }
        Fault::Garbage(Effected::No) => whole(200, "application/json", GARBAGE.into()),
        Fault::Garbage(Effected::Yes) => {
            serve();
            whole(200, "application/json", GARBAGE.into())
        }
        Fault::BadGateway => whole(502, "text/html", HTML.into()),
        Fault::CutAnswer => Answer::Cut(serve()),
        Fault::ServerError(Effected::No) => whole(500, "application/json", error.into()),
        Fault::ServerError(Effected::Yes) => {
            serve();
            whole(500, "application/json", error.into())
        }
        Fault::Html(Effected::No) => whole(200, "text/html", HTML.into()),
        Fault::Html(Effected::Yes) => {
            serve();
            whole(200, "text/html", HTML.into())
        }
        Fault::HalfJson => {
            let mut answer = serve();
            answer.body.truncate(answer.body.len() / 2);
            Answer::Whole(answer)
        }
        Fault::Throttled => Answer::Whole(Response {
            status: 429,
            headers: vec![
                ("content-type".to_owned(), "application/json".to_owned()),
                ("retry-after".to_owned(), "2".to_owned()),
            ],
            body: r#"{"success": false, "error": "Too Many Requests"}"#.into(),
        }),
    }
}
