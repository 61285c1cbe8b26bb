//! What an answer amounts to, before anybody looks for what was asked: done, refused, unreadable.
//!
//! The API is our own and says why it refuses in a word; the status says the same once more. Where they differ the
//! status of a server that failed is believed first, then the word.

use crate::{
    io::net::Response,
    market::{
        ORIGINAL_STATUS,
        json::{Json, shown},
    },
    model::Refusal,
};
use std::time::Duration;

/// An answer, sorted.
#[derive(Debug)]
pub struct Answer<'a> {
    status: u16,
    original_status: Option<u16>,
    retry_after: Option<Duration>,
    /// The word, and the text beside it.
    error: Option<(String, String)>,
    json: Option<Json<'a>>,
    is_empty: bool,
}

impl<'a> Answer<'a> {
    /// Sorts an answer.
    pub fn read(response: &'a Response) -> Self {
        let json = Json::read(&response.body);
        let said = json.and_then(Json::object).and_then(|object| object.get("error"));
        let error = said.map(|error| {
            let object = error.object();
            let text = |name| object.as_ref().and_then(|object| object.text(name)).unwrap_or_default();
            let message = error.text().unwrap_or_else(|| text("message"));
            (text("code"), shown(&message))
        });
        Self {
            status: response.status,
            original_status: response.header(ORIGINAL_STATUS).and_then(|status| status.trim().parse().ok()),
            retry_after: response.retry_after(None),
            error,
            json,
            is_empty: response.body.is_empty(),
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

    /// Whether it has the id of a VM, as what a create made.
    pub fn names_a_vm(&self) -> bool {
        let vm = self.json.and_then(Json::object).and_then(|object| object.object("vm"));
        vm.is_some_and(|vm| vm.has("id"))
    }

    /// The refusal it is, if it is one.
    pub fn refusal(&self) -> Option<Refusal> {
        let status = self.status;
        let told = || match &self.error {
            Some((_, message)) if !message.is_empty() => format!("HTTP {status}: {message}"),
            Some(_) | None => format!("HTTP {status}"),
        };
        let failed = [Some(status), self.original_status].into_iter().flatten().find(|status| *status >= 500);
        if failed.is_some() {
            return Some(Refusal::Unreachable(told()));
        }
        if let Some(refusal) = self.error.as_ref().and_then(|(code, _)| self.meant(code, told())) {
            return Some(refusal);
        }
        match status {
            429 => Some(Refusal::Throttled { retry_after: self.retry_after }),
            401 | 403 => Some(Refusal::Unauthorized(told())),
            402 => Some(Refusal::Broke(told())),
            // A page of somebody else's says nothing about a VM.
            404 | 410 if self.json.is_some() || self.is_empty => Some(Refusal::Gone),
            200..300 if self.error.is_none() => None,
            // It says no in a word that is not known: no word settles that nothing was made.
            _ => Some(Refusal::Malformed(told())),
        }
    }

    fn meant(&self, code: &str, told: String) -> Option<Refusal> {
        Some(match code {
            "no_capacity" => Refusal::NoCapacity(told),
            "bid_too_low" => Refusal::BidTooLow(told),
            "throttled" => Refusal::Throttled { retry_after: self.retry_after },
            "unauthorized" => Refusal::Unauthorized(told),
            "gone" => Refusal::Gone,
            "broke" => Refusal::Broke(told),
            "refused" => Refusal::Refused(told),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::refusal::RefusalKind as K;

    #[track_caller]
    fn check(status: u16, body: &str, expected: Option<K>) {
        let response = Response::json(status, body);
        assert_eq!(Answer::read(&response).refusal().map(|refusal| refusal.kind()), expected, "{status} {body}");
    }

    #[test]
    fn each_word_means_what_the_documentation_says_whatever_the_status_below_500() {
        let meant = [K::NoCapacity, K::BidTooLow, K::Throttled, K::Unauthorized, K::Gone, K::Broke, K::Refused];
        let codes = ["no_capacity", "bid_too_low", "throttled", "unauthorized", "gone", "broke", "refused"];
        for (code, kind) in codes.iter().zip(meant) {
            for status in [200, 400, 409] {
                check(status, &format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#), Some(kind));
            }
            check(503, &format!(r#"{{"error":{{"code":"{code}"}}}}"#), Some(K::Unreachable));
        }
    }

    #[test]
    fn without_a_word_the_status_counts_and_an_unknown_word_settles_nothing() {
        check(200, "{}", None);
        check(401, "", Some(K::Unauthorized));
        check(402, "", Some(K::Broke));
        check(404, "{}", Some(K::Gone));
        check(404, "<html>", Some(K::Malformed));
        check(429, "", Some(K::Throttled));
        check(400, "{}", Some(K::Malformed));
        check(302, "{}", Some(K::Malformed));
        check(400, r#"{"error":{"code":"sold_out"}}"#, Some(K::Malformed));
        check(200, r#"{"error":"sold out"}"#, Some(K::Malformed));
        check(200, r#"{"error":null}"#, None);
    }
}
