//! Every example of the documents goes through the dialect.
//!
//! Two files of each marketplace's folder of fixtures say what is known of them. `SOURCES`: each file's strength and where
//! it comes from. `GOLDEN`: what each reads as, which the folder's own test writes and holds; each of its cases begins
//!
//! ```text
//! call [id] <- file status/original: outcome
//! ```
//!
//! Here it is asked that no file is left out of either, that each is read by a call that there is, and that what anybody
//! reads through the register is what the folder's test has seen.

use crate::{
    exchanges::{Reader, examples, fixtures, verbs},
    stand::{KEY, PASSWORD, TOKEN, dialect},
};
use spotscale::{
    io::net::Response,
    market::{CALLS, Dialect, ORIGINAL_STATUS},
    model::{HostnodeId, InstanceId, refusal::RefusalKind},
    settings::Api,
};
use std::collections::{BTreeMap, BTreeSet};

/// How far a fixture is to be trusted.
const STRENGTHS: [&str; 3] = ["recorded", "documented", "assumed"];

/// One line of `GOLDEN` that begins a case.
#[derive(Clone, Debug, PartialEq)]
struct Case {
    call: String,
    /// Of a machine or a VM, where the call is of one.
    id: Option<String>,
    file: String,
    status: u16,
    /// Behind the proxy.
    original: u16,
    outcome: String,
}

fn case(line: &str) -> Option<Case> {
    let (asked, rest) = line.split_once(" <- ")?;
    let (answer, outcome) = rest.split_once(": ")?;
    let (file, statuses) = answer.split_once(' ')?;
    let (status, original) = statuses.split_once('/').unwrap_or((statuses, statuses));
    let (call, id) = asked.split_once(' ').map_or((asked, None), |(call, id)| (call, Some(id.to_owned())));
    Some(Case {
        call: call.to_owned(),
        id,
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
        let known = file.contains('.') && STRENGTHS.contains(&strength) && says_where;
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
        assert_eq!(files, read, "{api}: files, and what GOLDEN reads");
        let strengths: BTreeSet<String> = sources(*api).into_values().collect();
        assert!(strengths.contains("documented"), "{api}: no example of the documents");
    }
}

/// The reader of a case, where the call is a verb.
fn verb(says: &dyn Dialect, case: &Case) -> Option<Reader> {
    let id = case.id.as_deref().unwrap_or("an-id");
    let (host, vm): (HostnodeId, InstanceId) = (id.parse().unwrap(), id.parse().unwrap());
    verbs(says, &host, &vm, PASSWORD).into_iter().find(|reader| reader.call == case.call)
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
    let kinds: Vec<&str> = RefusalKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert!(kinds.contains(&"malformed"));
    for api in Api::ALL {
        let says = dialect(*api, KEY, TOKEN);
        let mut read = BTreeSet::new();
        for case in golden(*api) {
            // A call that is no verb is its folder's own, and so is the test of it.
            let Some(reader) = verb(&*says, &case) else {
                assert!(!CALLS.contains(&case.call.as_str()), "{api}: it cannot say {case:?}");
                continue;
            };
            let told = (reader.read)(&answer(*api, &case));
            assert_eq!(told.faults, Vec::<String>::new(), "{api}: {case:?}");
            if let Some(refusal) = &told.refusal {
                assert_eq!(refusal.to_string(), case.outcome, "{api}: {case:?}");
            } else {
                read.insert(case.call.clone());
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
            said.difference(&read).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "{api}: verbs without an example"
        );
    }
}

#[test]
fn a_case_is_read_from_its_line() {
    let whole = case("get an-id <- get.json 404/500: gone: it is").unwrap();
    assert_eq!((whole.call.as_str(), whole.id.as_deref(), whole.original), ("get", Some("an-id"), 500));
    assert_eq!((whole.file.as_str(), whole.status, whole.outcome.as_str()), ("get.json", 404, "gone: it is"));
    let short = case("list <- list.json 200: 2 items").unwrap();
    assert_eq!((short.call.as_str(), short.id, short.status, short.original), ("list", None, 200, 200));
    assert_eq!(case("  dropped `x`: it has no name"), None);
}
