//! Takes our credentials out of what a marketplace says.
//!
//! An error may quote what was sent, in any of its fields, and what is told of an error is logged, stored and shown. So
//! the client takes every secret of a request out of the refusal that its answer became: once, for all dialects.

use crate::{
    io::net::Request,
    market::json::{Json, shown},
    model::Refusal,
};

/// The names under which secrets are sent, in forms, queries and JSON.
const SECRET_NAMES: &[&str] = &["api_key", "api_token", "key", "token", "password"];
/// A credential shorter than this is not looked for: it would be found everywhere.
const SECRET_CHARS_MIN: usize = 4;
/// What stands in a secret's place.
const HIDDEN: &str = "***";

/// All secrets in a request.
fn secrets(request: &Request) -> Vec<String> {
    let bearer = request.header("authorization").and_then(|value| value.split_whitespace().next_back());
    let form = form_urlencoded::parse(&request.body).into_owned();
    let json = Json::read(&request.body).and_then(Json::object);
    let members = json.iter().flat_map(|object| object.members());
    let members = members.filter_map(|(name, value)| Some((name.to_owned(), value.string()?.into_owned())));
    let named = form.chain(request.query.iter().cloned()).chain(members);
    named
        .filter(|(name, _)| SECRET_NAMES.contains(&name.as_str()))
        .map(|(_, value)| value)
        .chain(bearer.map(str::to_owned))
        .filter(|secret| secret.chars().count() >= SECRET_CHARS_MIN)
        .map(|secret| shown(&secret))
        .collect()
}

fn without(text: String, secrets: &[String]) -> String {
    secrets.iter().fold(text, |text, secret| {
        let mut text = text.replace(secret.as_str(), HIDDEN);
        // What is told of an error ends after some letters, and that may be within a secret.
        let begun = secret.char_indices().skip(SECRET_CHARS_MIN).map(|(at, _)| &secret[..at]);
        if let Some(begun) = begun.filter(|begun| text.ends_with(begun)).last() {
            text.truncate(text.len() - begun.len());
            text.push_str(HIDDEN);
        }
        text
    })
}

/// A refusal without the secrets of the request that it answers.
pub fn hushed(request: &Request, refusal: Refusal) -> Refusal {
    let told = |text: String| without(text, &secrets(request));
    match refusal {
        Refusal::NoCapacity(text) => Refusal::NoCapacity(told(text)),
        Refusal::BidTooLow(text) => Refusal::BidTooLow(told(text)),
        Refusal::Throttled { retry_after } => Refusal::Throttled { retry_after },
        Refusal::Unauthorized(text) => Refusal::Unauthorized(told(text)),
        Refusal::Gone => Refusal::Gone,
        Refusal::Broke(text) => Refusal::Broke(told(text)),
        Refusal::Refused(text) => Refusal::Refused(told(text)),
        Refusal::Malformed(text) => Refusal::Malformed(told(text)),
        Refusal::Unreachable(text) => Refusal::Unreachable(told(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(request: &Request, said: &str, expected: &str) {
        let refusal = hushed(request, Refusal::Malformed(said.to_owned()));
        assert_eq!(refusal, Refusal::Malformed(expected.to_owned()));
    }

    #[test]
    fn no_secret_is_told_wherever_it_was_sent() {
        let query = vec![("api_key".to_owned(), "hunter-22".to_owned())];
        let asked = Request { query, ..Request::get("/") };
        check(&asked, "price: `hunter-22` is not a decimal number", "price: `***` is not a decimal number");
        check(&Request::form("/", [("password", "Sup3r random")]), "no Sup3r random here", "no *** here");
        let headers = vec![("authorization".to_owned(), "Bearer abc.def".to_owned())];
        check(&Request { headers, ..Request::get("/") }, "Bearer abc.def is unknown", "Bearer *** is unknown");
        let body = br#"{"token": "t\u006fken-1", "name": "train"}"#.to_vec();
        check(&Request { body, ..Request::get("/") }, "token-1 may not make train", "*** may not make train");
    }

    #[test]
    fn a_secret_that_was_cut_off_is_not_told_either_and_one_that_is_too_short_is_no_secret() {
        let long = Request::form("/", [("api_token", "0123456789")]);
        check(&long, "you sent 01234567", "you sent ***");
        check(&long, "you sent 0123", "you sent ***");
        check(&long, "you sent 012", "you sent 012");
        check(&Request::form("/", [("api_token", "a")]), "a cat", "a cat");
    }
}
