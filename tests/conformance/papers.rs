//! Every example of the documents goes through the dialect.
//!
//! Two files of each marketplace's folder of fixtures say what is known of them. `SOURCES`: each file's strength and where
//! it comes from. `GOLDEN`: what each reads as, which the folder's own test writes and holds; each of its cases begins
//!
//! ```text
//! call <- file status[/original]: outcome
//! ```
//!
//! But for examples of requests, `*_request.*`. Here it is asked that no file is left out of either, that each is read by a call that there is, and that what anybody
//! reads through the register is what the folder's test has seen.

use crate::{
    exchanges::{Reader, Told, examples, fixtures, verbs},
    json::Node,
    stand::{KEY, PASSWORD, TOKEN, dialect},
};
use spotscale::{
    io::net::Response,
    market::{CALLS, Dialect, ORIGINAL_STATUS, raw::is_plain},
    model::{HostnodeId, InstanceId, Refusal},
    settings::Api,
};
use std::collections::{BTreeMap, BTreeSet};

/// How far a fixture is to be trusted.
const STRENGTHS: [&str; 3] = ["recorded", "documented", "assumed"];

/// One line of `GOLDEN` that begins a case.
#[derive(Clone, Debug, PartialEq)]
struct Case {
    call: String,
    file: String,
    status: u16,
    /// Behind the proxy.
    original: u16,
    outcome: String,
}

fn case(line: &str) -> Option<Case> {
    let (call, rest) = line.split_once(" <- ")?;
    let (answer, outcome) = rest.split_once(": ")?;
    let (file, statuses) = answer.split_once(' ')?;
    let (status, original) = statuses.split_once('/').unwrap_or((statuses, statuses));
    Some(Case {
        call: call.to_owned(),
        file: file.to_owned(),
        status: status.parse().ok()?,
        original: original.parse().ok()?,
        outcome: outcome.to_owned(),
    })
}

fn golden(api: Api) -> Vec<Case> {
    let text = std::fs::read_to_string(fixtures(api).join("GOLDEN")).unwrap_or_else(|error| panic!("{api}: {error}"));
    text.lines().filter_map(case).collect()
}

/// The files that `SOURCES` marks, with their strengths.
fn sources(api: Api) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(fixtures(api).join("SOURCES")).unwrap_or_else(|error| panic!("{api}: {error}"));
    let marked = |line: &str| {
        let mut words = line.split_whitespace();
        let (file, strength) = (words.next()?, words.next()?);
        let says_where = words.next().is_some();
        // Only what is ours comes from nowhere.
        let known = file.contains('.') && STRENGTHS.contains(&strength) && (says_where || strength == "assumed");
        known.then(|| (file.to_owned(), strength.to_owned()))
    };
    text.lines().filter_map(marked).collect()
}

#[test]
fn every_example_says_where_it_comes_from_and_which_call_it_answers() {
    for api in Api::ALL {
        let files: BTreeSet<String> = examples(*api).into_iter().map(|(name, _)| name).collect();
        let marked: BTreeSet<String> = sources(*api).into_keys().collect();
        let read: BTreeSet<String> = golden(*api).into_iter().map(|case| case.file).collect();
        assert_eq!(files, marked, "{api}: files, and what SOURCES marks");
        let answers: BTreeSet<String> = files.into_iter().filter(|name| !is_request(name)).collect();
        assert_eq!(answers, read, "{api}: files, and what GOLDEN reads");
        let strengths: BTreeSet<String> = sources(*api).into_values().collect();
        assert!(strengths.contains("documented"), "{api}: no example of the documents");
    }
}

/// The reader of a case, where the call is a verb: of the machine or VM of that id.
fn verb(says: &dyn Dialect, case: &Case, id: &str) -> Option<Reader> {
    let (host, vm): (HostnodeId, InstanceId) = (id.parse().ok()?, id.parse().ok()?);
    verbs(says, &host, &vm, PASSWORD).into_iter().find(|reader| reader.call == case.call)
}

/// The ids that an answer may be about: those that stand in it, and one that does not.
fn ids(answer: &Response) -> Vec<String> {
    let texts = Node::read(&answer.body).map(|node| node.texts()).unwrap_or_default();
    let distinct: BTreeSet<String> = texts.into_iter().filter(|text| is_plain(text)).collect();
    [vec!["an-id".to_owned()], distinct.into_iter().collect()].concat()
}

/// What a case is read as: by the call about that id by which it reads as `GOLDEN` says, where there is one.
fn read(api: Api, says: &dyn Dialect, case: &Case) -> Option<Told> {
    let answer = answer(api, case);
    let read: Vec<Told> =
        ids(&answer).iter().filter_map(|id| verb(says, case, id)).map(|reader| (reader.read)(&answer)).collect();
    let refusal = |told: &Told| told.refusal.as_ref().map(ToString::to_string);
    let refused = read.iter().find(|told| refusal(told).as_deref() == Some(&case.outcome));
    refused.or_else(|| read.iter().find(|told| told.refusal.is_none())).or_else(|| read.first()).cloned()
}

/// An example of a request answers nothing: the folder's own test holds what is sent against it.
fn is_request(file: &str) -> bool {
    file.split('.').next().is_some_and(|stem| stem.ends_with("_request"))
}

/// Whether an outcome is a refusal: it begins as one tells itself.
fn is_refusal(outcome: &str) -> bool {
    let none = String::new;
    [
        Refusal::NoCapacity(none()),
        Refusal::BidTooLow(none()),
        Refusal::Throttled { retry_after: None },
        Refusal::Unauthorized(none()),
        Refusal::Gone,
        Refusal::Broke(none()),
        Refusal::Refused(none()),
        Refusal::Malformed(none()),
        Refusal::Unreachable(none()),
    ]
    .iter()
    .any(|refusal| outcome.starts_with(&refusal.to_string()))
}

fn answer(api: Api, case: &Case) -> Response {
    let body = std::fs::read(fixtures(api).join(&case.file)).unwrap();
    let mut response = Response::json(case.status, body);
    if case.original != case.status || case.status == 200 {
        response.headers.push((ORIGINAL_STATUS.to_owned(), case.original.to_string()));
    }
    response
}

#[test]
fn every_example_reads_through_the_register_as_its_folder_says_and_is_sane() {
    for api in Api::ALL {
        let says = dialect(*api, KEY, TOKEN);
        let mut succeeded = BTreeSet::new();
        for case in golden(*api) {
            // A call that is no verb is its folder's own, and so is the test of it.
            let Some(told) = read(*api, &*says, &case) else {
                assert!(!CALLS.contains(&case.call.as_str()), "{api}: it cannot say {case:?}");
                continue;
            };
            assert_eq!(told.faults, Vec::<String>::new(), "{api}: {case:?}");
            assert_eq!(told.refusal.is_some(), is_refusal(&case.outcome), "{api}: {case:?}");
            if let Some(refusal) = &told.refusal {
                assert_eq!(refusal.to_string(), case.outcome, "{api}: {case:?}");
            } else {
                succeeded.insert(case.call.clone());
            }
            if case.call == "deploy" {
                assert_eq!(told.made.is_some(), told.refusal.is_none(), "{api}: {case:?}");
            }
        }
        // Each verb that it can say has an example in which it succeeds.
        let host: HostnodeId = "an-id".parse().unwrap();
        let said: BTreeSet<String> =
            verbs(&*says, &host, &"an-id".parse().unwrap(), PASSWORD).into_iter().map(|reader| reader.call).collect();
        assert_eq!(
            said.difference(&succeeded).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "{api}: verbs without an example"
        );
    }
}

#[test]
fn a_case_is_read_from_its_line() {
    let whole = case("get <- get.json 404/500: gone: it is").unwrap();
    assert_eq!((whole.call.as_str(), whole.status, whole.original), ("get", 404, 500));
    assert_eq!((whole.file.as_str(), whole.outcome.as_str()), ("get.json", "gone: it is"));
    let short = case("list <- list.json 200: 2 items").unwrap();
    assert_eq!((short.call.as_str(), short.status, short.original), ("list", 200, 200));
    assert_eq!(case("  dropped `x`: it has no name"), None);
}
