//! Conditional requests: what was read already is not sent again.
//!
//! Where an answer to a GET came with an `ETag` or a `Last-Modified`, the next identical request names it, and a server
//! that has nothing new says 304 and no more. What is read then is our copy of that answer: the same bytes, read as of now.
//! Copies are kept in memory, bounded in number and size, and live as long as their client.
//!
//! A `Last-Modified` names whole seconds: what changed twice within one has the same name before and after. So it is
//! repeated only where the answer's own `Date` is a minute later: until then a VM could be missing from a copy for
//! as long as nothing else changes.
//!
//! **Invariant:** only reads have copies, and only answers that could be read become one. Requests carry credentials, so
//! nothing here prints. An answer that carries private keys is not kept: whoever wants to know asks again.

use crate::{
    io::net::{BODY_BYTES_MAX, Method, Request, Response},
    market::hush,
    model::{Timestamp, time::elapsed},
};
use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

/// Copies of one client, at most: its lists, and some things asked for by id.
const COPIES_MAX: usize = 16;
/// All copies of one client together.
const BYTES_MAX: usize = BODY_BYTES_MAX;
/// Nothing has changed since. Source: RFC 9110 (documented).
pub const NOT_MODIFIED: u16 = 304;
/// A validator longer than this is not repeated.
const VALIDATOR_BYTES_MAX: usize = 1_024;
/// What was not modified for so long before it was sent has no other version of the same second. Source: RFC 7232, 2.2.2
/// (documented); RFC 9110 is content with a second.
const SETTLED_AFTER: Duration = Duration::from_secs(60);
/// The validator that is a date.
const LAST_MODIFIED: &str = "last-modified";
/// What we say, and what a server said that makes us say it.
const VALIDATORS: [(&str, &str); 2] = [("if-none-match", "etag"), ("if-modified-since", LAST_MODIFIED)];

struct Copy {
    request: Request,
    response: Arc<Response>,
}

/// Answers that may be asked for again, the one used last at the end.
#[derive(Default)]
pub struct Copies(VecDeque<Copy>);

impl fmt::Debug for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} copies", self.0.len())
    }
}

impl Copies {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The request as it is to be sent: with the validators of what we have of it.
    pub fn conditional(&self, request: &Request) -> Request {
        let mut sent = request.clone();
        if let Some(copy) = self.0.iter().find(|copy| copy.request == *request) {
            sent.headers.extend(validators(&copy.response).map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        sent
    }

    /// The answer that a 304 to this request stands for; `None` where we have none.
    pub fn again(&mut self, request: &Request) -> Option<Arc<Response>> {
        let at = self.0.iter().position(|copy| copy.request == *request)?;
        let copy = self.0.remove(at)?;
        let response = Arc::clone(&copy.response);
        self.0.push_back(copy);
        Some(response)
    }

    /// Keeps an answer that was read, where it may be kept, in place of what was kept before.
    pub fn keep(&mut self, request: &Request, response: Arc<Response>) {
        self.0.retain(|copy| copy.request != *request);
        let keeps = request.method == Method::Get
            && response.status == 200
            && response.body.len() <= BYTES_MAX
            && validators(&response).next().is_some()
            && may_be_kept(&response);
        if keeps {
            self.0.push_back(Copy { request: request.clone(), response });
        }
        while self.0.len() > COPIES_MAX || self.bytes() > BYTES_MAX {
            self.0.pop_front();
        }
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|copy| copy.response.body.len()).sum()
    }
}

fn validators(response: &Response) -> impl Iterator<Item = (&'static str, &str)> {
    let fits = |value: &&str| !value.is_empty() && value.len() <= VALIDATOR_BYTES_MAX;
    let tells = move |theirs: &str| theirs != LAST_MODIFIED || is_settled(response);
    let told =
        move |(ours, theirs)| Some((ours, response.header(theirs).filter(|value| fits(value) && tells(theirs))?));
    VALIDATORS.into_iter().filter_map(told)
}

/// Whether the date of its last change tells an answer from every other.
fn is_settled(response: &Response) -> bool {
    let date = |name| -> Option<Timestamp> {
        jiff::fmt::rfc2822::parse(response.header(name)?.trim()).ok().map(|zoned| zoned.timestamp())
    };
    let lasted = date(LAST_MODIFIED).zip(date("date")).map(|(modified, sent)| elapsed(modified, sent));
    lasted.is_some_and(|lasted| lasted >= SETTLED_AFTER)
}

/// Whether an answer may be kept at all: nobody forbids it, and there is no private key in it.
pub fn may_be_kept(response: &Response) -> bool {
    !forbids(response) && !hush::carries_keys(response)
}

fn forbids(response: &Response) -> bool {
    let said = response.header("cache-control").unwrap_or_default();
    said.split(',').any(|part| part.trim().eq_ignore_ascii_case("no-store"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(id: usize) -> Request {
        Request { query: vec![("api_key".into(), "hunter22".into())], ..Request::get(format!("/list/{id}")) }
    }

    fn answer(body: &str, headers: &[(&str, &str)]) -> Response {
        let mut response = Response::json(200, body);
        response.headers.extend(headers.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        response
    }

    /// What is said beside the plain request, after this was the answer to it.
    fn said(response: Response) -> Vec<(String, String)> {
        let mut copies = Copies::new();
        copies.keep(&asked(1), Arc::new(response));
        copies.conditional(&asked(1)).headers
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn what_a_server_calls_an_answer_is_said_with_the_next_identical_request_and_no_other() {
        let (etag, date) = ("W/\"a1\"", "Fri, 20 Nov 2026 18:00:00 GMT");
        assert_eq!(said(answer("{}", &[("etag", etag)])), [pair("if-none-match", etag)]);
        let later = ("date", "Fri, 20 Nov 2026 18:01:00 GMT");
        assert_eq!(said(answer("{}", &[("last-modified", date), later])), [pair("if-modified-since", date)]);
        assert_eq!(said(answer("{}", &[])), []);
        let mut copies = Copies::new();
        copies.keep(&asked(1), Arc::new(answer("{}", &[("etag", etag)])));
        let other_credentials = Request { query: vec![("api_key".into(), "other".into())], ..asked(1) };
        for other in [asked(2), other_credentials, Request { method: Method::Post, ..asked(1) }] {
            assert_eq!(copies.conditional(&other), other);
            assert!(copies.again(&other).is_none());
        }
    }

    #[test]
    fn what_may_have_changed_again_in_the_second_of_its_last_change_is_read_anew() {
        let (modified, etag) = (("last-modified", "Fri, 20 Nov 2026 18:00:00 GMT"), ("etag", "\"1\""));
        for date in
            ["Fri, 20 Nov 2026 18:00:00 GMT", "Fri, 20 Nov 2026 18:00:59 GMT", "Fri, 20 Nov 2026 17:00:00 GMT", ""]
        {
            assert_eq!(said(answer("{}", &[modified, ("date", date)])), [], "{date}");
            assert_eq!(
                said(answer("{}", &[etag, modified, ("date", date)])),
                [pair("if-none-match", etag.1)],
                "{date}"
            );
        }
        assert_eq!(said(answer("{}", &[modified])), []);
        assert_eq!(said(answer("{}", &[("last-modified", "soon"), ("date", modified.1)])), []);
    }

    #[test]
    fn only_a_good_answer_to_a_get_that_may_be_kept_is_kept() {
        let kept = |request: Request, response: Response| {
            let mut copies = Copies::new();
            copies.keep(&request, Arc::new(response));
            copies.again(&request).is_some()
        };
        let good = || answer("{}", &[("etag", "\"1\"")]);
        assert!(kept(asked(1), good()));
        assert!(!kept(Request { method: Method::Post, ..asked(1) }, good()));
        assert!(!kept(asked(1), Response { status: 206, ..good() }));
        assert!(!kept(asked(1), answer("{}", &[("etag", "\"1\""), ("cache-control", "private, No-Store")])));
        assert!(!kept(asked(1), answer(r#"{"instances":[{"pem":"any"}]}"#, &[("etag", "\"1\"")])));
        assert!(!kept(asked(1), answer("{}", &[("etag", &"x".repeat(VALIDATOR_BYTES_MAX + 1))])));
        assert!(kept(asked(1), answer("{}", &[("etag", &"x".repeat(VALIDATOR_BYTES_MAX))])));
    }

    #[test]
    fn a_newer_answer_takes_the_place_of_the_older_even_where_it_cannot_be_kept_itself() {
        let mut copies = Copies::new();
        copies.keep(&asked(1), Arc::new(answer("old", &[("etag", "\"1\"")])));
        copies.keep(&asked(1), Arc::new(answer("new", &[("etag", "\"2\"")])));
        assert_eq!(copies.again(&asked(1)).unwrap().body, b"new");
        copies.keep(&asked(1), Arc::new(answer("newest", &[])));
        assert!(copies.again(&asked(1)).is_none());
    }

    #[test]
    fn copies_are_few_and_small_and_the_one_used_longest_ago_goes_first() {
        let mut copies = Copies::new();
        for id in 0..COPIES_MAX {
            copies.keep(&asked(id), Arc::new(answer("{}", &[("etag", "\"1\"")])));
        }
        assert!(copies.again(&asked(0)).is_some());
        copies.keep(&asked(COPIES_MAX), Arc::new(answer("{}", &[("etag", "\"1\"")])));
        assert!(copies.again(&asked(0)).is_some() && copies.again(&asked(1)).is_none());
        let half = " ".repeat(BYTES_MAX / 2);
        copies.keep(&asked(100), Arc::new(answer(&half, &[("etag", "\"1\"")])));
        copies.keep(&asked(101), Arc::new(answer(&half, &[("etag", "\"1\"")])));
        assert!(copies.bytes() <= BYTES_MAX && copies.again(&asked(101)).is_some());
        copies.keep(&asked(102), Arc::new(answer(&half, &[("etag", "\"1\"")])));
        assert!(copies.bytes() <= BYTES_MAX && copies.again(&asked(100)).is_none());
        copies.keep(&asked(103), Arc::new(answer(&format!("{half}{half} "), &[("etag", "\"1\"")])));
        assert!(copies.again(&asked(103)).is_none() && copies.again(&asked(102)).is_some());
    }

    #[test]
    fn nothing_of_a_request_prints() {
        let mut copies = Copies::new();
        copies.keep(&asked(1), Arc::new(answer("{}", &[("etag", "\"1\"")])));
        assert_eq!(format!("{copies:?}"), "1 copies");
    }
}
