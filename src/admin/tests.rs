//! The window over real sockets.

use super::{
    openapi::{document, fits},
    spec::{Access, Answer, Endpoint, PATH_PARAMETERS, ROUTES, Spec, Verb},
    testkit::{CSRF, Open},
    views::{DoneView, FleetsView, PlanView},
};
use crate::{
    engine::{
        Lever, Scope,
        sample::{early, name, status},
    },
    model::time::before,
};
use proptest::prelude::*;
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

/// A path with its parameters' examples in it.
fn filled(path: &str) -> String {
    let path = path.replace("instances/{id}", "instances/spotscale-train-k3x9-1");
    PATH_PARAMETERS.iter().fold(path, |path, known| path.replace(&format!("{{{}}}", known.name), known.example))
}

/// What the test's engine says no to.
const REFUSED: [Endpoint; 4] = [Endpoint::Delete, Endpoint::Evacuate, Endpoint::EvacuateFleet, Endpoint::Reload];

fn example(spec: &Spec) -> &'static str {
    match spec.body {
        Some("TargetBody") => r#"{"gpus": 4, "for": "2h"}"#,
        Some("ScopeBody") => r#"{"marketplace": "tensordock"}"#,
        Some("AdoptBody") => r#"{"fleet": "train"}"#,
        Some("PolicyBody") => r#"{"policy": "fleet = 'train'"}"#,
        Some("EmptyBody" | "ProtectBody" | "PageForm") => "{}",
        None => "",
        Some(other) => panic!("{other} has no example"),
    }
}

#[tokio::test]
async fn every_route_of_the_document_answers_as_it_is_described() {
    let window = Open::new(status(), None).await;
    let document = window.get("/api/v1/openapi.json").await.json();
    assert_eq!(document, self::document());
    for spec in ROUTES {
        let query: Vec<String> =
            spec.query.iter().map(|known| format!("{}={}", known.name, known.example.replace(':', "%3A"))).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        for target in [filled(spec.path), format!("{}{query}", filled(spec.path))] {
            let method = spec.verb.as_str().to_uppercase();
            let reply = match spec.access {
                Access::Form => window.form(&format!("csrf={CSRF}&lever=pause&fleet=train")).await,
                Access::Reads if spec.body.is_none() => window.get(&target).await,
                Access::Reads | Access::Changes => window.json(&method, &target, example(spec)).await,
            };
            let described = &document["paths"][spec.path][spec.verb.as_str()]["responses"];
            let answer = &described[reply.status.to_string()];
            assert!(answer.is_object(), "{method} {target}: {reply:?}");
            if reply.status >= 400 {
                assert!(REFUSED.contains(&spec.endpoint), "{target}: {reply:?}");
                let problem = json!({"$ref": "#/components/schemas/Problem"});
                assert!(reply.head.contains("application/problem+json"), "{target}: {reply:?}");
                fits(&document, &problem, &reply.json()).unwrap();
                continue;
            }
            match spec.answer {
                Answer::Json(_) | Answer::List(_) => {
                    let schema = &answer["content"]["application/json"]["schema"];
                    fits(&document, schema, &reply.json()).unwrap_or_else(|error| panic!("{target}: {error}"));
                }
                Answer::Document | Answer::Text | Answer::Html => assert!(!reply.body.is_empty(), "{target}"),
                Answer::SeeOther => assert!(reply.head.contains("location: /?levers=1"), "{reply:?}"),
            }
        }
    }
}

#[tokio::test]
async fn every_route_that_answers_is_in_the_document() {
    let window = Open::new(status(), None).await;
    let paths: BTreeSet<&str> = ROUTES.iter().map(|spec| spec.path).collect();
    for path in &paths {
        for verb in Verb::ALL {
            let is_there = ROUTES.iter().any(|spec| spec.path == *path && spec.verb == *verb);
            let reply = window.json(&verb.as_str().to_uppercase(), &filled(path), "{}").await;
            assert_eq!(reply.status == 405, !is_there, "{verb} {path}: {reply:?}");
        }
        assert_eq!(window.json("PATCH", &filled(path), "{}").await.status, 405, "{path}");
        let parents = filled(path);
        for other in [format!("{parents}/"), format!("{parents}x"), format!("/x{parents}")] {
            let reply = window.get(&other).await;
            let is_parameter = path.ends_with('}');
            assert!(is_parameter || [404, 405].contains(&reply.status), "{other}: {reply:?}");
        }
    }
    for path in ["/api", "/api/v1", "/api/v1/", "/api/v2/fleets", "/favicon.ico", "/index.html", "//", "/api/v1/hosts"]
    {
        let reply = window.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.head.contains("application/problem+json"));
    }
}

#[tokio::test]
async fn the_levers_reach_the_engine() {
    let window = Open::new(status(), None).await;
    let instance = "/api/v1/instances/spotscale-train-old-1";
    let two_hours = Some(Duration::from_secs(7_200));
    let (train, market) = (|| name("train"), || name("tensordock"));
    let stray = || "spotscale-train-old-1".to_owned();
    for (method, target, body, lever) in [
        (
            "PUT",
            "/api/v1/fleets/train/target",
            r#"{"gpus": 4, "for": "2h"}"#,
            Lever::Target { fleet: train(), gpus: 4, lasting: two_hours },
        ),
        ("DELETE", "/api/v1/fleets/train/target", "", Lever::ClearTarget { fleet: train() }),
        ("POST", "/api/v1/fleets/train/pause", "{}", Lever::Pause(Scope::Fleet(train()))),
        ("POST", "/api/v1/fleets/train/resume", "", Lever::Resume(Scope::Fleet(train()))),
        ("POST", "/api/v1/fleets/train/apply", "{}", Lever::Apply(train())),
        ("POST", "/api/v1/pause", "{}", Lever::Pause(Scope::All)),
        ("POST", "/api/v1/resume", r#"{"marketplace": "tensordock"}"#, Lever::Resume(Scope::Marketplace(market()))),
        (
            "POST",
            &format!("{instance}/adopt"),
            r#"{"fleet": "train"}"#,
            Lever::Adopt { instance: stray(), fleet: train() },
        ),
        (
            "POST",
            &format!("{instance}/protect"),
            r#"{"for": "2h"}"#,
            Lever::Protect { instance: stray(), lasting: two_hours },
        ),
        (
            "POST",
            "/api/v1/instances/a%20b%2Fc/protect",
            "{}",
            Lever::Protect { instance: "a b/c".into(), lasting: None },
        ),
    ] {
        let reply = window.json(method, target, body).await;
        assert_eq!(reply.status, 200, "{method} {target}: {reply:?}");
        assert!(serde_json::from_str::<DoneView>(&reply.body).unwrap().message.starts_with("done: "));
        assert_eq!(window.pulled(), Some(lever));
    }
}

#[tokio::test]
async fn a_lever_that_does_not_move_says_why_with_its_status() {
    let window = Open::new(status(), None).await;
    assert_eq!(window.json("DELETE", "/api/v1/instances/vm-9", "").await.json()["status"], 404);
    let refused = window.json("POST", "/api/v1/fleets/train/evacuate", "{}").await.json();
    assert_eq!(refused, json!({"title": "Conflict", "status": 409, "detail": "it only observes"}));
    assert_eq!(window.json("POST", "/api/v1/reload", "{}").await.status, 503);
}

#[tokio::test]
async fn a_body_that_does_not_read_is_refused_before_anything_happens() {
    let window = Open::new(status(), None).await;
    let target = "/api/v1/fleets/train/target";
    for body in [
        "{}",
        "",
        r#"{"gpus": -1}"#,
        r#"{"gpus": 1.5}"#,
        r#"{"gpus": 1, "four": "2h"}"#,
        "[",
        r#"{"gpus":1,"for":"soon"}"#,
    ] {
        assert_eq!(window.json("PUT", target, body).await.status, 400, "{body}");
    }
    assert_eq!(window.json("PUT", "/api/v1/fleets/Train/target", r#"{"gpus": 1}"#).await.status, 400);
    assert_eq!(window.json("PUT", "/api/v1/fleets/%FF/target", r#"{"gpus": 1}"#).await.status, 400);
    assert_eq!(
        window.json("POST", "/api/v1/pause", &format!("{{\"x\": \"{}\"}}", "y".repeat(70_000))).await.status,
        413
    );
    assert_eq!(window.json("POST", "/api/v1/pause", r#"{"fleet": "train"}"#).await.status, 400);
    assert_eq!(window.pulled(), None);
}

#[tokio::test]
async fn changes_keep_the_rules_of_access_and_reads_do_not_need_them() {
    let window = Open::new(status(), None).await;
    let local = window.address;
    let json = "content-type: application/json";
    for (headers, status) in [
        (json.to_owned(), 200),
        (String::new(), 415),
        ("content-type: text/plain".to_owned(), 415),
        (format!("{json}\norigin: http://{local}"), 200),
        (format!("{json}\norigin: http://evil.example"), 403),
        (format!("{json}\nx-forwarded-for: 127.0.0.1"), 403),
        (format!("{json}\nhost: evil.example:{}", local.port()), 403),
    ] {
        let reply = window.ask("POST", "/api/v1/pause", &headers, "{}").await;
        assert_eq!(reply.status, status, "{headers}: {reply:?}");
    }
    let absolute = format!("http://evil.example:{}/api/v1/pause", local.port());
    assert_eq!(window.json("POST", &absolute, "{}").await.status, 403);
    assert_eq!(window.ask("GET", "/api/v1/fleets", "x-forwarded-for: 192.0.2.1\norigin: null", "").await.status, 200);
}

#[tokio::test]
async fn once_there_is_a_token_every_change_needs_it() {
    let window = Open::new(status(), Some("s3cret")).await;
    for spec in ROUTES.iter().filter(|spec| spec.access == Access::Changes) {
        let reply = window.json(&spec.verb.as_str().to_uppercase(), &filled(spec.path), example(spec)).await;
        assert_eq!(reply.status, 401, "{}", spec.path);
        assert!(reply.head.contains("www-authenticate: bearer"));
    }
    assert_eq!(window.pulled(), None);
    assert_eq!(window.ask("POST", "/api/v1/pause", "authorization: Bearer s3cret", "").await.status, 200);
    assert_eq!(window.form(&format!("csrf={CSRF}&lever=pause&access_token=wrong")).await.status, 401);
    assert_eq!(window.form(&format!("csrf={CSRF}&lever=pause&access_token=s3cret")).await.status, 303);
    for target in ["/api/v1/fleets", "/metrics", "/?levers=1"] {
        assert!(!window.get(target).await.body.contains("s3cret"), "{target}");
    }
}

#[tokio::test]
async fn a_form_pulls_a_lever_and_the_page_says_what_came_of_it() {
    let window = Open::new(status(), None).await;
    assert!(window.get("/?levers=1").await.body.contains(CSRF));
    assert_eq!(window.form("lever=pause&fleet=train").await.status, 403);
    assert_eq!(window.form("csrf=wrong&lever=pause&fleet=train").await.status, 403);
    assert_eq!(window.pulled(), None);
    assert_eq!(window.form(&format!("csrf={CSRF}&lever=target&fleet=train&gpus=4&for=")).await.status, 303);
    assert_eq!(window.pulled(), Some(Lever::Target { fleet: name("train"), gpus: 4, lasting: None }));
    assert!(window.get("/").await.body.contains("done: Target"));
    assert_eq!(window.form(&format!("csrf={CSRF}&lever=evacuate&fleet=train")).await.status, 303);
    assert!(window.get("/").await.body.contains("not done: it only observes"));
}

#[tokio::test]
async fn ready_means_that_ticks_are_being_finished() {
    let window = Open::new(early(), None).await;
    // A fleet that nobody looked at yet is no wrong name.
    assert_eq!(window.get("/api/v1/plan?fleet=other").await.status, 503);
    assert_eq!(window.get("/livez").await.status, 200);
    assert_eq!(window.get("/readyz").await.status, 503);
    assert_eq!(window.get("/api/v1/plan").await.status, 503);
    window.status.send_replace(status().into());
    assert_eq!(window.get("/readyz").await.body, "ok\n");
    let mut stuck = status();
    stuck.at = stuck.at.map(|at| before(at, Duration::from_secs(600)));
    window.status.send_replace(stuck.into());
    assert!(window.get("/readyz").await.body.contains("the engine is stuck"));
}

#[tokio::test]
async fn what_is_asked_for_by_name_is_there_or_is_not() {
    let window = Open::new(status(), None).await;
    for target in
        ["/api/v1/fleets/other", "/api/v1/offers?fleet=other", "/api/v1/plan?fleet=other", "/api/v1/decisions/99"]
    {
        assert_eq!(window.get(target).await.status, 404, "{target}");
    }
    for target in [
        "/api/v1/plan?flet=train",
        "/api/v1/offers?limit=x",
        "/api/v1/decisions?since=soon",
        "/api/v1/decisions?kind=x",
        "/api/v1/plan?fleet=T",
    ] {
        assert_eq!(window.get(target).await.status, 400, "{target}");
    }
    assert_eq!(window.get("/api/v1/plan?fleet=train").await.json()["fleets"].as_array().unwrap().len(), 1);
    assert_eq!(window.get("/api/v1/instances?fleet=serve").await.json()["instances"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_edit_is_planned_without_being_installed_or_its_faults_are_told() {
    let window = Open::new(status(), Some("s3cret")).await;
    let planned = window.json("POST", "/api/v1/plan", r#"{"policy": "fleet = 'train'"}"#).await;
    assert_eq!(serde_json::from_str::<PlanView>(&planned.body).unwrap().fleets.len(), 2);
    let refused = window.json("POST", "/api/v1/plan", r#"{"policy": ""}"#).await.json();
    assert_eq!((&refused["status"], &refused["faults"][0]), (&json!(422), &json!("policy:1:1: `fleet` is missing")));
    assert_eq!(window.ask("POST", "/api/v1/plan", "", r#"{"policy": ""}"#).await.status, 415);
}

#[tokio::test]
async fn metrics_are_those_of_the_newest_status() {
    let window = Open::new(status(), None).await;
    let reply = window.get("/metrics").await;
    assert!(reply.head.contains("content-type: text/plain; version=0.0.4"), "{reply:?}");
    assert!(reply.body.contains("spotscale_market_age_seconds{marketplace=\"tensordock\"} 65\n"));
}

#[tokio::test]
async fn money_in_json_is_the_decimal_that_it_is() {
    let window = Open::new(status(), None).await;
    let body = window.get("/api/v1/fleets").await.body;
    assert!(body.contains(r#""rate_usd_per_hour":{"now":4.835,"limit":6.00}"#), "{body}");
    assert_eq!(serde_json::from_str::<FleetsView>(&body).unwrap().fleets.len(), 2);
}

#[tokio::test]
async fn the_page_may_not_be_framed_or_load_anything() {
    let head = Open::new(status(), None).await.get("/").await.head;
    for part in
        ["default-src 'none'", "frame-ancestors 'none'", "x-content-type-options: nosniff", "cache-control: no-store"]
    {
        assert!(head.contains(part), "{head}");
    }
}

#[tokio::test]
async fn an_open_connection_does_not_keep_the_window_from_closing() {
    let window = Open::new(status(), None).await;
    let idle = tokio::net::TcpStream::connect(window.address).await.unwrap();
    assert_eq!(window.get("/livez").await.status, 200);
    window.shutdown.cancel();
    let mut rest = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut tokio::io::BufReader::new(idle), &mut rest).await;
    assert!(rest.is_empty());
}

/// Requests that are nearly right, and some that are nothing.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let methods = prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "X"]);
    let paths = prop::sample::select(ROUTES.iter().map(|spec| spec.path).collect::<Vec<_>>());
    let part = "[a-z0-9%&=?/.:é\u{0}\u{7f}-]{0,12}";
    let bodies =
        prop_oneof![Just(String::new()), Just("{}".into()), "\\PC{0,60}", Just(r#"{"gpus":99999999999}"#.into())];
    let known = (methods, paths, part, part, bodies).prop_map(|(method, path, name, query, body)| {
        let path = PATH_PARAMETERS
            .iter()
            .fold(path.to_owned(), |path, known| path.replace(&format!("{{{}}}", known.name), &name));
        let length = body.len();
        let head =
            "host: 127.0.0.1\r\nconnection: close\r\nauthorization: Bearer s3cret\r\ncontent-type: application/json";
        format!("{method} {path}?{query} HTTP/1.1\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    });
    prop_oneof![4 => known, 1 => prop::collection::vec(any::<u8>(), 1..80).prop_map(|mut noise| {
        noise.extend(b"\r\n\r\n");
        noise
    })]
}

#[test]
fn no_request_breaks_the_window() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let window = runtime.block_on(Open::new(status(), Some("s3cret")));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 400, ..ProptestConfig::default() });
    let outcome = runner.run(&requests(), |request| {
        let reply = runtime.block_on(window.raw(&request));
        // A connection that was dropped without a word would be a panic.
        prop_assert!(reply.status >= 200, "{:?}", String::from_utf8_lossy(&request));
        prop_assert!(reply.status != 500, "{:?}", reply);
        prop_assert!(reply.status < 400 || reply.head.contains("problem+json") || reply.body.is_empty(), "{:?}", reply);
        Ok(())
    });
    outcome.unwrap();
    assert_eq!(runtime.block_on(window.get("/livez")).status, 200);
}
