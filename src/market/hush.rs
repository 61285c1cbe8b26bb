//! Takes secrets out of what is told of an answer: ours, and the private keys that some answers carry.
//!
//! An error may quote what was sent, in any of its fields, and an item that cannot be read is told with what is wrong in
//! it. All that is logged, stored and shown. So whatever is told of an answer passes here, once, for all dialects: the
//! client hushes every refusal, and each reader of a list what it dropped.

use crate::{
    io::net::{Request, Response},
    market::json::{Json, Object, shown},
    model::{Refusal, Scan, inventory::Dropped},
};
use std::{collections::BTreeSet, fmt};

/// The names under which secrets are sent, in forms, queries and JSON. `value` is what a kept secret holds (v2).
const SENT_NAMES: &[&str] = &["api_key", "api_token", "key", "token", "password", "value"];
/// The members of an answer that hold private keys.
pub const KEY_NAMES: &[&str] = &["pem", "private_key"];
/// What every private key in text form says of itself.
const KEY_MARK: &str = "PRIVATE KEY";
/// A credential shorter than this is not looked for: it would be found everywhere.
const SECRET_CHARS_MIN: usize = 4;
/// What is told is cut here and there, and that may be within a secret: so much of its beginning is looked for.
const BEGINNING_CHARS: usize = 16;
/// So deep secrets are looked for in JSON.
const DEPTH_MAX: usize = 8;
/// Of an answer with more secrets than this nothing is told.
const SECRETS_MAX: usize = 10_000;
/// What stands in a secret's place.
pub const HIDDEN: &str = "***";

/// What must not be told.
pub struct Secrets(BTreeSet<String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(***)")
    }
}

impl Secrets {
    /// All that are in a request, and the private keys in its answer.
    pub fn of(request: &Request, response: Option<&Response>) -> Self {
        let mut secrets = Self(BTreeSet::new());
        let bearer = request.header("authorization").and_then(|value| value.split_whitespace().next_back());
        secrets.add(bearer.unwrap_or_default());
        for (name, value) in form_urlencoded::parse(&request.body).into_owned().chain(request.query.iter().cloned()) {
            if SENT_NAMES.contains(&name.as_str()) {
                secrets.add(&value);
            }
        }
        if let Some(sent) = Json::read(&request.body) {
            secrets.add_named(sent, SENT_NAMES, DEPTH_MAX);
        }
        if let Some(answered) = response.and_then(|response| Json::read(&response.body)) {
            secrets.add_named(answered, KEY_NAMES, DEPTH_MAX);
        }
        secrets
    }

    /// One more, as it is told: line by line, and as forms write it.
    fn add(&mut self, secret: &str) {
        for line in secret.split(['\n', '\r']).flat_map(|line| line.split("\\n")).map(str::trim) {
            let form: String = form_urlencoded::byte_serialize(line.as_bytes()).collect();
            for secret in [shown(line), form] {
                if secret.chars().count() >= SECRET_CHARS_MIN && self.0.len() <= SECRETS_MAX {
                    self.0.insert(secret);
                }
            }
        }
    }

    /// Every text that stands under one of these names; of all that stands in something under one.
    fn add_named(&mut self, json: Json<'_>, names: &[&str], depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let object = json.object();
        for (name, value) in object.iter().flat_map(Object::members) {
            if names.contains(&name) { self.add_all(value, depth) } else { self.add_named(value, names, depth) }
        }
        for value in json.array().unwrap_or_default() {
            self.add_named(value, names, depth);
        }
    }

    /// Every text in it.
    fn add_all(&mut self, json: Json<'_>, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        self.add(&json.string().unwrap_or_default());
        let object = json.object();
        let members = object.iter().flat_map(Object::members).map(|(_, value)| value);
        for value in members.chain(json.array().unwrap_or_default()) {
            self.add_all(value, depth);
        }
    }

    /// A whole answer that is no JSON, without them. Where it may be that a private key stands in it, nothing is left.
    pub fn hide_in_body(&self, text: &str) -> String {
        let names_a_key = KEY_NAMES.iter().any(|name| text.contains(name));
        if names_a_key { HIDDEN.to_owned() } else { self.hide(text) }
    }

    /// A text without them.
    pub fn hide(&self, text: &str) -> String {
        if text.contains(KEY_MARK) || self.0.len() > SECRETS_MAX {
            return HIDDEN.to_owned();
        }
        self.0.iter().fold(text.to_owned(), |text, secret| without(text, secret))
    }
}

/// A text without a secret, or as much of its beginning as is in it.
fn without(text: String, secret: &str) -> String {
    let beginning = secret.char_indices().nth(BEGINNING_CHARS).map_or(secret, |(at, _)| &secret[..at]);
    let mut told = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(beginning) {
        told.push_str(&rest[..at]);
        told.push_str(HIDDEN);
        let same = rest[at..].char_indices().zip(secret.chars()).take_while(|((_, one), other)| one == other);
        let bytes: usize = same.map(|((_, letter), _)| letter.len_utf8()).sum();
        rest = &rest[at + bytes..];
    }
    told.push_str(rest);
    // At the end of what is told less of it is enough.
    let begun = secret.char_indices().skip(SECRET_CHARS_MIN).map(|(at, _)| &secret[..at]);
    if let Some(begun) = begun.filter(|begun| told.ends_with(begun)).last() {
        told.truncate(told.len() - begun.len());
        told.push_str(HIDDEN);
    }
    told
}

/// Whether an answer may carry private keys: it names one, or has one in text form.
pub fn carries_keys(response: &Response) -> bool {
    let text = String::from_utf8_lossy(&response.body);
    KEY_NAMES.iter().any(|name| text.contains(&format!("\"{name}\""))) || text.contains(KEY_MARK)
}

/// A refusal without the secrets of the request that it answers and of the answer that it is.
pub fn hushed(request: &Request, response: Option<&Response>, refusal: Refusal) -> Refusal {
    let told = |text: String| Secrets::of(request, response).hide(&text);
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

/// A list whose dropped items are told likewise.
pub fn scanned<T>(request: &Request, response: &Response, scan: Scan<T>) -> Scan<T> {
    let Scan { items, dropped } = scan;
    if dropped.is_empty() {
        return Scan { items, dropped };
    }
    let secrets = Secrets::of(request, Some(response));
    let hide = |Dropped { what, why }| Dropped { what: secrets.hide(&what), why: secrets.hide(&why) };
    Scan { items, dropped: dropped.into_iter().map(hide).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(request: &Request, said: &str, expected: &str) {
        let refusal = hushed(request, None, Refusal::Malformed(said.to_owned()));
        assert_eq!(refusal, Refusal::Malformed(expected.to_owned()));
    }

    #[test]
    fn no_secret_is_told_wherever_it_was_sent() {
        let query = vec![("api_key".to_owned(), "hunter-22".to_owned())];
        let asked = Request { query, ..Request::get("/") };
        check(&asked, "price: `hunter-22` is not a decimal number", "price: `***` is not a decimal number");
        check(&Request::form("/", [("password", "Sup3r random")]), "no Sup3r random here", "no *** here");
        check(&Request::form("/", [("password", "Sup3r random")]), "password=Sup3r+random&a=b", "password=***&a=b");
        let headers = vec![("authorization".to_owned(), "Bearer abc.def".to_owned())];
        check(&Request { headers, ..Request::get("/") }, "Bearer abc.def is unknown", "Bearer *** is unknown");
        let body = br#"{"token": "t\u006fken-1", "name": "train"}"#.to_vec();
        check(&Request { body, ..Request::get("/") }, "token-1 may not make train", "*** may not make train");
        let body = br#"{"data":{"attributes":{"name":"mine","value":"hush-hush"}}}"#.to_vec();
        check(&Request { body, ..Request::get("/") }, "mine: hush-hush is no key", "mine: *** is no key");
    }

    #[test]
    fn a_secret_that_was_cut_off_is_not_told_either_and_one_that_is_too_short_is_no_secret() {
        let long = Request::form("/", [("api_token", "0123456789")]);
        check(&long, "you sent 01234567", "you sent ***");
        check(&long, "you sent 0123", "you sent ***");
        check(&long, "you sent 012", "you sent 012");
        check(&long, "0123 is how it begins", "0123 is how it begins");
        let longer = Request::form("/", [("api_token", "0123456789abcdefghij")]);
        check(&longer, "`0123456789abcdef` and 0123456789abcdefghijk", "`***` and ***k");
        check(&longer, "0123456789abcde is not it", "0123456789abcde is not it");
        check(&Request::form("/", [("api_token", "a")]), "a cat", "a cat");
        check(&Request::form("/", [("api_token", "żółć-żółć-żółć-żółć")]), "to żółć-żółć-żółć-ż!", "to ***!");
    }

    #[test]
    fn no_private_key_that_an_answer_carries_is_told() {
        let answer =
            Response::json(200, r#"{"instances":[{"pem":"MIIEhush\nMIIEmore\n"},{"a":{"pem":["MIIEdeep"]}}]}"#);
        let scan = |why: &str| Scan::<()> {
            items: Vec::new().into(),
            dropped: vec![Dropped { what: "MIIEmore".to_owned(), why: why.to_owned() }],
        };
        for (why, expected) in [
            ("key: MIIEhush MIIEmore", "key: *** ***"),
            ("port: MIIEdeep", "port: ***"),
            ("-----BEGIN RSA PRIVATE KEY----- MIIEany", "***"),
        ] {
            let Scan { items: _, dropped } = scanned(&Request::get("/"), &answer, scan(why));
            assert_eq!(dropped, [Dropped { what: "***".into(), why: expected.into() }]);
            let told = hushed(&Request::get("/"), Some(&answer), Refusal::Refused(why.into()));
            assert_eq!(told, Refusal::Refused(expected.into()));
        }
        assert_eq!(format!("{:?}", Secrets::of(&Request::get("/"), Some(&answer))), "Secrets(***)");
    }

    #[test]
    fn of_a_body_that_is_no_json_and_may_have_a_private_key_nothing_is_told() {
        let secrets = Secrets::of(&Request::form("/", [("api_key", "hunter22")]), None);
        assert_eq!(secrets.hide_in_body("email: hunter22@example.org"), "email: ***@example.org");
        assert_eq!(secrets.hide_in_body("{\"pem\": \"any\" \"key\": 1}"), HIDDEN);
    }

    #[test]
    fn of_an_answer_with_more_secrets_than_can_be_looked_for_nothing_is_told() {
        let keys: Vec<String> = (0..=SECRETS_MAX).map(|place| format!("{{\"pem\":\"key-{place}\"}}")).collect();
        let answer = Response::json(200, format!("[{}]", keys.join(",")));
        assert_eq!(Secrets::of(&Request::get("/"), Some(&answer)).hide("no port"), HIDDEN);
        let deep = Response::json(200, format!("{}1{}", "[".repeat(100), "]".repeat(100)));
        assert_eq!(Secrets::of(&Request::get("/"), Some(&deep)).hide("no port"), "no port");
    }
}
