//! What is sent: a question is a read and everything else a write, each request is understood as the call that it is, and
//! nothing that prints shows a credential.

use crate::{
    exchanges::{reader, verbs},
    stand::{KEY, PASSWORD, TOKEN, dialect},
};
use spotscale::{
    market::{self, CALLS, Call, Effect, raw::Stakes},
    settings::Api,
};
use std::collections::BTreeSet;

/// What a verb does to the world.
fn effect(call: Call) -> Effect {
    match call {
        Call::Hostnodes
        | Call::Hostnode
        | Call::Instances
        | Call::Instance
        | Call::Whoami
        | Call::Balance
        | Call::Validate
        | Call::Other => Effect::Reads,
        Call::Rebid | Call::Deploy | Call::Start | Call::Stop | Call::Terminate => Effect::Writes,
    }
}

#[test]
fn each_verb_is_sent_as_what_it_is_and_understood_as_what_it_is() {
    for api in Api::ALL {
        let fake = market::fake(*api, None, None);
        let (host, vm) = ("an-id".parse().unwrap(), "an-id".parse().unwrap());
        for verb in verbs(&*dialect(*api, KEY, TOKEN), &host, &vm, PASSWORD) {
            let call = fake.call(&verb.request);
            assert!(CALLS.contains(&verb.call.as_str()), "{api}: {}", verb.call);
            assert_eq!((call.as_str(), effect(call)), (verb.call.as_str(), verb.effect), "{api}");
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
