//! Everything that goes wrong on the way: what is asked again, what is never sent twice, and what is in doubt.
//!
//! **Invariant:** a write that is settled is settled rightly: what it says was done was done, what it says was refused was
//! not. In doubt is what may have been done, and only that.

use crate::stand::Stand;
use spotscale::{
    io::net::{NetError, Response},
    market::{
        Call,
        client::{BACKOFF_MAX, READ_ATTEMPTS_MAX, WriteOutcome},
    },
    model::{InstanceId, Lookup, PriceType, Refusal},
    settings::Api,
    sim::{Fault, faults::Effected},
};
use std::{fmt::Debug, time::Duration};

/// Longer than any deadline.
const TOO_SLOW: Duration = Duration::from_secs(7_200);

/// What goes wrong with a read and may not the next time.
const PASSING: [Fault; 10] = [
    Fault::LostRequest,
    Fault::LostAnswer,
    Fault::CutAnswer,
    Fault::ServerError(Effected::No),
    Fault::ServerError(Effected::Yes),
    Fault::Html(Effected::No),
    Fault::Html(Effected::Yes),
    Fault::HalfJson,
    Fault::Throttled,
    Fault::Slow(TOO_SLOW),
];

/// A read by name, told as text; `None` where the marketplace has no such call.
async fn read(stand: &Stand, call: Call, id: &InstanceId) -> Option<Result<String, Refusal>> {
    fn told<T: Debug>(outcome: Result<T, Refusal>) -> Option<Result<String, Refusal>> {
        Some(outcome.map(|value| format!("{value:?}")))
    }
    let (client, says) = (&stand.client, stand.says());
    match call {
        Call::Hostnodes => told(client.read(says.hostnodes()).await),
        Call::Hostnode => {
            let host = stand.vms().into_iter().next().unwrap().hostnode;
            told(client.read(says.hostnode(&host)?).await)
        }
        Call::Instances => told(client.read(says.instances()).await),
        Call::Instance => told(client.read(says.instance(id)?).await),
        Call::Whoami => told(client.read(says.whoami()).await),
        // The world goes on between two of them, so that only that it is read counts.
        Call::Balance => Some(client.read(says.balance()?).await.map(|_| "read".to_owned())),
        Call::Validate => {
            let vm = stand.vms().into_iter().next().unwrap();
            let bid = spotscale::model::offer::Bid {
                hostnode: vm.hostnode,
                shape: vm.shape,
                price: "0.000001".parse().unwrap(),
            };
            told(client.read(says.validate(&bid)?).await)
        }
        Call::Rebid | Call::Deploy | Call::Start | Call::Stop | Call::Terminate | Call::Other => None,
    }
}

#[tokio::test]
async fn a_read_that_fails_once_is_asked_again_and_one_that_keeps_failing_is_given_up() {
    for api in Api::ALL {
        let stand = Stand::new(*api);
        let id = stand.deployed("one").await;
        stand.clock.pass(Duration::from_secs(3_600));
        for call in Call::ALL {
            let Some(good) = read(&stand, *call, &id).await else { continue };
            let good = good.unwrap();
            for fault in PASSING {
                let before = stand.sent(*call);
                stand.script(*call, fault);
                let again = read(&stand, *call, &id).await.unwrap();
                assert_eq!(again.as_ref(), Ok(&good), "{api}: {call} after {fault:?}");
                assert_eq!(stand.sent(*call) - before, 2, "{api}: {call} after {fault:?}");

                let before = stand.sent(*call);
                for _ in 0..READ_ATTEMPTS_MAX {
                    stand.script(*call, fault);
                }
                let never = read(&stand, *call, &id).await.unwrap();
                assert!(never.as_ref().is_err_and(Refusal::is_passing), "{api}: {call} after {fault:?}: {never:?}");
                assert_eq!(stand.sent(*call) - before, READ_ATTEMPTS_MAX as usize, "{api}: {call} after {fault:?}");
            }
        }
    }
}

/// 429 with these headers and this body.
fn throttled(headers: &[(&str, &str)], body: &str) -> Result<Response, NetError> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Ok(Response { status: 429, headers, body: body.into() })
}

#[tokio::test]
async fn a_marketplace_that_asks_for_patience_gets_it() {
    const DATE: &str = "Fri, 20 Nov 2026 12:00:00 GMT";
    const LATER: &str = "Fri, 20 Nov 2026 12:00:40 GMT";
    let bodies = [r#"{"success": false, "error": "Too Many Requests"}"#, r#"{"message":"slow down"}"#, "", "<html>"];
    for api in Api::ALL {
        for body in bodies {
            for (headers, least, most) in [
                (&[("retry-after", "30")][..], 30, 31),
                (&[("date", DATE), ("retry-after", LATER)][..], 40, 41),
                (&[][..], 0, 2),
                (&[("retry-after", "soon")][..], 0, 2),
            ] {
                let stand = Stand::new(*api);
                let before = spotscale::io::clock::Clock::monotonic(&stand.clock);
                stand.answer_instead(throttled(headers, body));
                assert!(stand.client.read(stand.says().instances()).await.is_ok(), "{api}: {headers:?} {body}");
                let waited = (spotscale::io::clock::Clock::monotonic(&stand.clock) - before).as_secs();
                assert!((least..=most).contains(&waited), "{api}: {headers:?} {body}: {waited} s");
                assert_eq!(stand.sent(Call::Instances), 2, "{api}");
            }
        }
        let stand = Stand::new(*api);
        stand.answer_instead(throttled(&[("retry-after", "86400")], bodies[0]));
        let given_up = stand.client.read(stand.says().instances()).await;
        assert!(matches!(given_up, Err(Refusal::Throttled { retry_after: Some(_) })), "{api}: {given_up:?}");
        assert_eq!((stand.sent(Call::Instances), stand.client.held_for()), (1, BACKOFF_MAX), "{api}");
    }
}

/// What a fault with a write may have done.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    /// It is told that nothing was done.
    Nothing,
    /// It is in doubt.
    Doubt,
    /// It may be in doubt; where an answer without a body says that it was done, its half says so too.
    DoubtOrDone,
}

/// What goes wrong with a write, what is known of it then, and whether it was done.
const WRITES: [(Fault, Known, bool); 10] = [
    (Fault::LostRequest, Known::Doubt, false),
    (Fault::LostAnswer, Known::Doubt, true),
    (Fault::CutAnswer, Known::Doubt, true),
    (Fault::ServerError(Effected::No), Known::Doubt, false),
    (Fault::ServerError(Effected::Yes), Known::Doubt, true),
    (Fault::Html(Effected::No), Known::Doubt, false),
    (Fault::Html(Effected::Yes), Known::Doubt, true),
    (Fault::HalfJson, Known::DoubtOrDone, true),
    (Fault::Throttled, Known::Nothing, false),
    (Fault::Slow(TOO_SLOW), Known::Doubt, true),
];

#[track_caller]
fn check<T: Debug>(context: &str, outcome: &WriteOutcome<T>, known: Known) {
    let right = match outcome {
        WriteOutcome::Settled(Err(_)) => known == Known::Nothing,
        WriteOutcome::InDoubt(_) => known == Known::Doubt || known == Known::DoubtOrDone,
        WriteOutcome::Settled(Ok(_)) => known == Known::DoubtOrDone,
    };
    assert!(right, "{context}: {outcome:?}");
}

#[tokio::test]
async fn a_deploy_is_sent_once_and_in_doubt_exactly_when_it_may_have_been_made() {
    for api in Api::ALL {
        for (fault, known, done) in WRITES {
            let context = format!("{api}: deploy and {fault:?}");
            let stand = Stand::new(*api);
            let order = stand.order("one", PriceType::OnDemand).await;
            stand.script(Call::Deploy, fault);
            let outcome = stand.deploy(&order).await;
            // A deploy always has a body to lose half of.
            check(&context, &outcome, if known == Known::DoubtOrDone { Known::Doubt } else { known });
            assert_eq!((stand.sent(Call::Deploy), stand.alive()), (1, usize::from(done)), "{context}");
            // What was lost is found by its name.
            assert_eq!(stand.find("one").await.is_some(), done, "{context}");
        }
        let stand = Stand::new(*api);
        let order = stand.order("one", PriceType::OnDemand).await;
        stand.answer_instead(Err(NetError::NotSent("cannot connect".into())));
        let outcome = stand.deploy(&order).await;
        check(&format!("{api}: no connection"), &outcome, Known::Nothing);
        stand.script(Call::Deploy, Fault::Refused);
        let outcome = stand.deploy(&order).await;
        check(&format!("{api}: taken by somebody else"), &outcome, Known::Nothing);
        assert_eq!((stand.sent(Call::Deploy), stand.alive()), (2, 0), "{api}");
    }
}

#[tokio::test]
async fn a_delete_is_sent_once_and_in_doubt_exactly_when_it_may_have_been_done() {
    for api in Api::ALL {
        for (fault, known, done) in WRITES {
            let context = format!("{api}: delete and {fault:?}");
            let stand = Stand::new(*api);
            let id = stand.deployed("one").await;
            stand.script(Call::Terminate, fault);
            check(&context, &stand.terminate(&id).await, known);
            assert_eq!((stand.sent(Call::Terminate), stand.alive()), (1, usize::from(!done)), "{context}");
            // The next one ends it, whatever the first one did.
            assert_eq!(stand.terminate(&id).await, WriteOutcome::Settled(Ok(())), "{context}");
            assert_eq!(stand.alive(), 0, "{context}");
        }
    }
}

#[tokio::test]
async fn a_start_and_a_stop_are_sent_once_and_never_settled_wrongly() {
    use spotscale::{market::Stop, sim::VmState};
    for api in Api::ALL {
        for (fault, known, done) in WRITES {
            let context = format!("{api}: {fault:?}");
            let stand = Stand::new(*api);
            let id = stand.deployed("one").await;
            stand.clock.pass(Duration::from_secs(3_600));
            let how = [Stop::ReleaseGpu, Stop::KeepGpu].into_iter().find(|how| stand.says().stop(&id, *how).is_some());
            let Some(how) = how else { continue };
            let stop = || stand.says().stop(&id, how).unwrap();
            stand.script(Call::Stop, fault);
            check(&context, &stand.client.write(stop()).await, known);
            let stopped = stand.vm("one").unwrap().state != VmState::Running;
            assert_eq!((stand.sent(Call::Stop), stopped), (1, done), "{context}");
            if !stopped {
                assert_eq!(stand.client.write(stop()).await, WriteOutcome::Settled(Ok(())), "{context}");
            }
            stand.script(Call::Start, fault);
            check(&context, &stand.client.write(stand.says().start(&id).unwrap()).await, known);
            stand.clock.pass(Duration::from_secs(3_600));
            let started = stand.vm("one").unwrap().state == VmState::Running;
            assert_eq!((stand.sent(Call::Start), started), (1, done), "{context}");
        }
    }
}

/// An answer that no honest server would give to a write.
fn doubtful() -> Vec<Response> {
    let with = |status, body: &str, header: Option<(&str, &str)>| {
        let mut response = Response::json(status, body);
        response.headers.extend(header.map(|(name, value)| (name.to_owned(), value.to_owned())));
        response
    };
    let behind = Some((spotscale::market::ORIGINAL_STATUS, "500"));
    vec![
        with(200, "", None),
        with(200, "{}", None),
        with(200, "[]", None),
        with(200, "null", None),
        with(200, "OK", None),
        with(200, r#"{"data":null}"#, None),
        with(200, r#"{"data":{}}"#, None),
        with(200, r#"{"instance":{}}"#, None),
        with(200, r#"{"success":true"#, None),
        with(200, r#"{"success":false}"#, behind),
        with(200, r#"{"success":true,"server":"a"}"#, behind),
        with(200, r#"{"success":false,"error":"Hostnode not found"}"#, behind),
        with(200, r#"{"data":{"type":"virtualmachine","id":"a","name":"one","status":"running"}}"#, behind),
        with(200, r#"{"instance":{"key":"a","name":"one","status":"pending"}}"#, behind),
        with(302, r#"{"moved":"elsewhere"}"#, None),
        with(400, "Bad Request", None),
        with(400, "{}", None),
        with(400, r#"{"success":false}"#, None),
        with(404, "<html>", None),
        with(500, "{}", None),
        with(502, "<html>", None),
        with(503, "", None),
        with(504, r#"{"success":true}"#, None),
    ]
}

#[tokio::test]
async fn a_deploy_whose_answer_has_no_id_is_never_made_and_never_refused_without_a_word() {
    for api in Api::ALL {
        for answer in doubtful() {
            let stand = Stand::new(*api);
            let order = stand.order("one", PriceType::OnDemand).await;
            stand.answer_instead(Ok(answer.clone()));
            let outcome = stand.deploy(&order).await;
            let body = String::from_utf8_lossy(&answer.body);
            assert!(matches!(outcome, WriteOutcome::InDoubt(_)), "{api}: {} {body}: {outcome:?}", answer.status);
            assert_eq!(stand.sent(Call::Deploy), 1, "{api}");
        }
    }
}

/// Where each marketplace's answer names what was made, beside words that say no.
fn contradictory(api: Api) -> &'static [&'static str] {
    match api {
        Api::TensordockV0 => &[
            r#"{"success":false,"server":"a"}"#,
            r#"{"success":false,"server":"a","error":"Not enough resources are available"}"#,
            r#"{"success":true,"server":"a","error":"Insufficient balance"}"#,
        ],
        Api::TensordockV2 => &[
            r#"{"success":false,"data":{"id":"a"}}"#,
            r#"{"status":400,"error":"No available nodes found","data":{"id":"a"}}"#,
            r#"{"error":"Insufficient balance","data":{"id":"a"}}"#,
            r#"{"error":"Insufficient balance","id":"a"}"#,
        ],
        Api::Vectordash => &[
            r#"{"success":false,"instance":{"key":"a"}}"#,
            r#"{"error":"No GPUs of this type are available","instance":{"key":"a"}}"#,
            r#"{"error":"No GPUs of this type are available","key":"a"}"#,
        ],
        Api::Trace => &[
            r#"{"error":{"code":"no_capacity","message":"full"},"vm":{"id":"a"}}"#,
            r#"{"error":{"code":"refused"},"vm":{"id":"a"}}"#,
        ],
    }
}

#[tokio::test]
async fn a_deploy_that_is_refused_and_names_a_vm_is_in_doubt() {
    for api in Api::ALL {
        for body in contradictory(*api) {
            for status in [200, 400] {
                let stand = Stand::new(*api);
                let order = stand.order("one", PriceType::OnDemand).await;
                stand.answer_instead(Ok(Response::json(status, *body)));
                let outcome = stand.deploy(&order).await;
                assert!(matches!(outcome, WriteOutcome::InDoubt(_)), "{api}: {status} {body}: {outcome:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_vm_that_shows_up_late_is_there_by_its_id_and_then_in_the_list() {
    for api in Api::ALL {
        let stand = Stand::new(*api);
        stand.script(Call::Deploy, Fault::LateVm(Duration::from_secs(300)));
        let id = stand.deployed("one").await;
        assert!(stand.find("one").await.is_none(), "{api}");
        if let Some(found) = stand.look(&id).await {
            assert!(matches!(found, Ok(Lookup::Here(_))), "{api}: {found:?}");
        }
        stand.clock.pass(Duration::from_secs(300));
        assert!(stand.find("one").await.is_some_and(|vm| vm.id == id), "{api}");
    }
}

#[tokio::test]
async fn a_list_that_comes_empty_or_in_part_is_read_as_it_comes_and_nothing_is_gone() {
    for api in Api::ALL {
        let stand = Stand::new(*api);
        for name in ["one", "two", "three"] {
            stand.deployed(name).await;
        }
        for (fault, shown) in [(Fault::EmptyList, 0), (Fault::PartialList, 2), (Fault::None, 3)] {
            stand.script(Call::Instances, fault);
            let scan = stand.instances().await;
            assert_eq!((scan.items.len(), scan.dropped.len()), (shown, 0), "{api}: {fault:?}");
        }
        // Machines may be listed together, so that half of them need not be half of the list.
        let machines = stand.hostnodes().await.items.len();
        stand.script(Call::Hostnodes, Fault::PartialList);
        let partial = stand.hostnodes().await;
        assert!((1..=machines).contains(&partial.items.len()) && partial.dropped.is_empty(), "{api}");
        stand.script(Call::Hostnodes, Fault::EmptyList);
        assert_eq!(stand.hostnodes().await.items.len(), 0, "{api}");
        assert_eq!(stand.alive(), 3, "{api}");
    }
}
