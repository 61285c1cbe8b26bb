//! What is sent: a question is a read and everything else a write, each request is understood as the call that it is, and
//! nothing that prints shows a credential.

use crate::{
    exchanges::{reader, verbs},
    stand::{KEY, PASSWORD, TOKEN, dialect},
};
use spotscale::{
    market::{self, CALLS, Effect, raw::Stakes},
    settings::Api,
};
use std::{collections::BTreeSet, fs};

#[test]
fn each_verb_is_sent_as_what_it_is_and_understood_as_what_it_is() {
    for api in Api::ALL {
        let fake = market::fake(*api, None, None);
        let (host, vm) = ("an-id".parse().unwrap(), "an-id".parse().unwrap());
        for verb in verbs(&*dialect(*api, KEY, TOKEN), &host, &vm, PASSWORD) {
            let call = fake.call(&verb.request);
            assert!(CALLS.contains(&verb.call.as_str()), "{api}: {}", verb.call);
            let effect = if call.is_write() { Effect::Writes } else { Effect::Reads };
            assert_eq!((call.as_str(), effect), (verb.call.as_str(), verb.effect), "{api}");
            assert!(verb.request.path.starts_with(fake.prefix()), "{api}: {}", verb.request.path);
            for (name, _) in &verb.request.headers {
                assert_eq!(name.to_lowercase(), *name, "{api}: {}", verb.call);
            }
            let printed = format!("{:?}", verb.request);
            for secret in [KEY, TOKEN, PASSWORD] {
                assert!(!printed.contains(secret), "{api}: {printed}");
            }
        }
    }
}

/// The rows of the table in a folder's `sdk.rs`: the vendor's call, ours, what `api` calls it, and the test.
fn table(docs: &str) -> Vec<Vec<String>> {
    let rows = docs.lines().filter_map(|line| line.strip_prefix("//! | "));
    let cells = |row: &str| row.trim_end_matches(" |").split(" | ").map(str::to_owned).collect();
    rows.skip(1).map(cells).collect()
}

/// All that stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The crate's docs lead from their first page to these tables.
#[test]
fn the_table_of_each_marketplace_names_every_call_and_methods_and_tests_that_exist() {
    let folder = |api: &Api| crate::exchanges::fixtures(*api).parent().unwrap().to_owned();
    let read = |path: std::path::PathBuf| fs::read_to_string(path).unwrap();
    let verbs = read(folder(&Api::TensordockV0).with_file_name("mod.rs"));
    let first_page = read(folder(&Api::TensordockV0).join("../../lib.rs"));
    for api in Api::ALL {
        let folder = folder(api);
        let sources: String = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
            .map(read)
            .collect();
        let docs = read(folder.join("sdk.rs"));
        let mut named = Vec::new();
        for row in table(&docs) {
            let [theirs, ours, call, test] = &row[..] else { panic!("{api}: {row:?}") };
            assert!(!theirs.is_empty(), "{api}: {row:?}");
            named.extend(quoted(call).map(str::to_owned));
            let test = quoted(test).next().unwrap();
            assert!(sources.contains(&format!("#[test]\nfn {test}()")), "{api}: there is no test {test}");
            for method in quoted(ours) {
                let (of, method) = method.split_once("::").unwrap();
                let there = match of {
                    "Dialect" => verbs.contains(&format!("    fn {method}(&self")),
                    _ => {
                        docs.contains(&format!("impl {of} {{")) && docs.contains(&format!("    pub fn {method}(&self"))
                    }
                };
                assert!(there, "{api}: there is no {of}::{method}");
            }
        }
        named.dedup();
        let calls: Vec<&str> = dialect(*api, KEY, TOKEN).raw_calls().iter().map(|call| call.name).collect();
        assert_eq!(named, calls, "{api}");
        let module = folder.file_name().unwrap().to_string_lossy().into_owned();
        let said = format!("[`market::{module}::sdk`] | {} |", calls.len());
        assert!(first_page.contains(&said), "the crate's docs lead nowhere near `{said}`");
    }
}

#[test]
fn prefixes_tell_the_marketplaces_apart() {
    let prefixes: Vec<&str> = Api::ALL.iter().map(|api| market::fake(*api, None, None).prefix()).collect();
    for (place, prefix) in prefixes.iter().enumerate() {
        assert!(prefix.starts_with('/') && prefix.ends_with('/'), "{prefix}");
        let own = |other: usize| other == place || !prefixes[other].starts_with(prefix) || other < place;
        assert!((0..prefixes.len()).all(own), "{prefix} hides another: {prefixes:?}");
    }
}

#[test]
fn every_raw_call_can_be_told_asked_for_and_placed() {
    for api in Api::ALL {
        let says = dialect(*api, KEY, TOKEN);
        let fake = market::fake(*api, None, None);
        let names: BTreeSet<&str> = says.raw_calls().iter().map(|call| call.name).collect();
        assert_eq!(names.len(), says.raw_calls().len(), "{api}: a name twice");
        assert!(names.len() >= CALLS.len() / 2, "{api}: only {names:?}");
        for call in says.raw_calls() {
            let context = format!("{api}: {}", call.name);
            assert!(!call.about.is_empty() && call.fields.iter().all(|field| !field.about.is_empty()), "{context}");
            assert!(call.fields.iter().all(|field| !["yes", "help", "config"].contains(&field.name)), "{context}");
            let fields = |value: &str| -> Vec<(String, String)> {
                call.fields.iter().map(|field| (field.name.to_owned(), value.to_owned())).collect()
            };
            let sent = reader(says.raw(call, &fields("7")).unwrap_or_else(|| panic!("{context} cannot be placed")));
            assert_eq!(sent.request.method, call.method, "{context}");
            assert!(sent.request.path.starts_with(fake.prefix()), "{context}: {}", sent.request.path);
            assert!(!sent.request.path.contains(['{', '}', '?', '#']), "{context}: {}", sent.request.path);
            let costly = match call.stakes {
                Stakes::Nothing => Effect::Reads,
                Stakes::Money | Stakes::Loss => Effect::Writes,
            };
            assert_eq!(sent.effect, costly, "{context}");
            if call.path.contains('{') {
                for wrong in ["", "..", "a/b", "a?b", "%2e"] {
                    assert!(says.raw(call, &fields(wrong)).is_none(), "{context}: `{wrong}`");
                }
            }
        }
    }
}
