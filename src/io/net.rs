//! The door to the network: requests and answers as data.
//!
//! A [`Request`] is complete (what is in it is what is sent), an answer's body is bounded, and a failure says whether
//! anything can have reached the other side: that decides whether a write is in doubt.

use super::Awaited;
use crate::model::{Timestamp, time};
use std::{fmt, time::Duration};

/// No answer is read beyond this. A scan of 10,000 hostnodes pretty-printed has 18 MB (measured, CRATES).
pub const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// No wait longer than this is believed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

labels! {
    /// The methods the marketplaces use.
    pub enum Method {
        /// Read.
        Get = "GET",
        /// Read or write.
        Post = "POST",
        /// Write.
        Put = "PUT",
        /// Write.
        Delete = "DELETE",
    }
}

/// One request, whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// How.
    pub method: Method,
    /// The path, from the root, without a query.
    pub path: String,
    /// The query's pairs, not encoded.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as sent; its type is the header `content-type`.
    pub body: Vec<u8>,
}

/// Bodies, queries and headers carry credentials and passwords: none of them prints.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} bytes)", self.method, self.path, self.body.len())
    }
}

impl Request {
    /// A plain GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::Get, path: path.into(), query: Vec::new(), headers: Vec::new(), body: Vec::new() }
    }

    /// A POST of an urlencoded form.
    pub fn form<'a>(path: impl Into<String>, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Self {
            method: Method::Post,
            path: path.into(),
            query: Vec::new(),
            headers: vec![("content-type".into(), "application/x-www-form-urlencoded".into())],
            body: body.into_bytes(),
        }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// One answer, whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Decoded of its transfer and content encoding.
    pub body: Vec<u8>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.status, self.body.len())
    }
}

impl Response {
    /// A JSON answer.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("content-type".into(), "application/json".into())], body: body.into() }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// How long it asks to be left alone, at most [`RETRY_AFTER_MAX`]: `Retry-After` in seconds, or as a date. A date is told
    /// against the answer's own `Date`, for the server's clock may be off; where it has none, against `now`, where that is
    /// known.
    pub fn retry_after(&self, now: Option<Timestamp>) -> Option<Duration> {
        let value = self.header("retry-after")?.trim();
        let wait = match value.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                let date = |text: &str| jiff::fmt::rfc2822::parse(text.trim()).ok().map(|zoned| zoned.timestamp());
                time::elapsed(self.header("date").and_then(date).or(now)?, date(value)?)
            }
        };
        Some(wait.min(RETRY_AFTER_MAX))
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// Nothing can have reached the other side.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It may have been acted upon.
    #[error("the answer was lost: {0}")]
    Lost(String),
}

/// Sending a request to one marketplace.
pub trait Net: Send + Sync {
    /// Sends once and waits for the whole answer, at most `deadline` of real time.
    fn send(&self, request: Request, deadline: Duration) -> Awaited<'_, Result<Response, NetError>>;
}
