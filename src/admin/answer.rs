//! What each route answers.

use super::{
    asked::{Asked, PolicyBody},
    history::{self, ROWS, ROWS_MAX, Wanted},
    house::House,
    levers, openapi, page,
    problem::Problem,
    show,
    spec::{Answer, Endpoint, Spec},
    views::{DecisionsView, DoneView},
    why_not,
};
use crate::{
    engine::{Status, export},
    model::{FleetName, time::elapsed},
    plan::{Plan, Situation},
    policy::Source,
};
use axum::{
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The media type of the metrics.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The page loads nothing, runs nothing, is in nobody's frame, and its forms go nowhere else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; \
                           base-uri 'none'; frame-ancestors 'none'";
/// Candidates told of one fleet at most.
const CANDIDATES_MAX: usize = 10_000;
/// The daemon is not ready when no tick was finished for this many scan intervals…
const SCANS_MISSED_MAX: u32 = 3;
/// …and this much longer.
const TICK_MAX: Duration = Duration::from_secs(120);

fn json<T: Serialize>(value: &T) -> Result<Response, Problem> {
    let failed = |error: serde_json::Error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let text = serde_json::to_string(value).map_err(failed)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

fn planned(status: &Status) -> Result<(&Situation, &Plan), Problem> {
    let both = status.situation.as_deref().zip(status.plan.as_deref());
    both.ok_or_else(too_early)
}

fn too_early() -> Problem {
    Problem::unavailable("nothing was planned yet: the first look is not finished")
}

/// The fleet of the query, which must be one that there is.
fn chosen(asked: &Asked, status: &Status) -> Result<Option<FleetName>, Problem> {
    asked.fleet()?.map(|fleet| known(fleet, status)).transpose()
}

fn known(fleet: FleetName, status: &Status) -> Result<FleetName, Problem> {
    match status.fleets.contains_key(&fleet) {
        true => Ok(fleet),
        // A policy's fleet is known once the first look is finished.
        false if status.at.is_none() => Err(too_early()),
        false => Err(no_fleet(&fleet)),
    }
}

fn no_fleet(fleet: &FleetName) -> Problem {
    Problem::not_found(format!("there is no fleet {fleet}; `spotscale status` and GET /api/v1/fleets list them"))
}

/// The answer of one route; its access rules have been kept.
pub(super) async fn answer(house: &Arc<House>, spec: &Spec, asked: &Asked) -> Result<Response, Problem> {
    if let Some(lever) = levers::lever(spec.endpoint, asked)? {
        let message = house.window.handle.pull(lever).await?;
        return json(&DoneView { message });
    }
    let status = house.window.handle.status();
    let now = house.now();
    match spec.endpoint {
        Endpoint::Page => page(house, &status, asked).await,
        Endpoint::PageLevers => {
            let line = match levers::form_lever(&asked.form()) {
                Ok(lever) => match house.window.handle.pull(lever).await {
                    Ok(line) => line,
                    Err(error) => format!("not done: {error}"),
                },
                Err(problem) => format!("not done: {}", problem.detail),
            };
            house.say(line);
            Ok((StatusCode::SEE_OTHER, [(header::LOCATION, "/?levers=1")]).into_response())
        }
        Endpoint::Metrics => {
            export::export(&house.window.metrics, &status, now);
            Ok(([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], house.window.metrics.text()).into_response())
        }
        Endpoint::Live => Ok("ok\n".into_response()),
        Endpoint::Ready => {
            let at = status.at.ok_or_else(|| Problem::unavailable("the first tick is not finished"))?;
            let late = elapsed(at, now);
            let most = status.scan_interval.saturating_mul(SCANS_MISSED_MAX).saturating_add(TICK_MAX);
            if late > most {
                let ago = crate::model::time::show(late);
                return Err(Problem::unavailable(format!(
                    "the newest tick was finished {ago} ago: the engine is stuck"
                )));
            }
            Ok("ok\n".into_response())
        }
        Endpoint::Fleets => json(&show::fleets(&status, now)),
        Endpoint::Fleet => {
            let fleet: FleetName = asked.named("fleet")?;
            json(&show::fleet(&status, &fleet).ok_or_else(|| no_fleet(&fleet))?)
        }
        Endpoint::Instances => {
            let only = chosen(asked, &status)?;
            let mut all = show::instances(&status, now);
            all.instances.retain(|instance| only.as_ref().is_none_or(|only| only.as_str() == instance.fleet));
            json(&all)
        }
        Endpoint::Offers => {
            let only = chosen(asked, &status)?;
            let limit = asked.limit(show::CANDIDATES_MAX, CANDIDATES_MAX)?;
            let (situation, plan) = planned(&status)?;
            json(&show::offers(plan, Some(situation.now), only.as_ref(), limit))
        }
        Endpoint::Plan => {
            let only = chosen(asked, &status)?;
            let (situation, plan) = planned(&status)?;
            json(&show::plan(situation, plan, only.as_ref()))
        }
        Endpoint::WhatIf => what_if(house, asked).await,
        Endpoint::WhyNot => {
            let (situation, plan) = planned(&status)?;
            json(&why_not::why_not(situation, plan, &asked.named("hostnode")?))
        }
        Endpoint::Decisions => {
            let wanted = Wanted {
                fleet: asked.fleet()?.map(|fleet| fleet.to_string()),
                subject: asked.query.get("subject").cloned(),
                kind: kind(asked)?,
                since: asked.since(now)?,
                rows_max: asked.limit(ROWS, ROWS_MAX)?,
            };
            let store = Arc::clone(&house.window.store);
            let decisions = aside(move || history::search(store.as_ref(), &wanted)).await??;
            json(&DecisionsView { decisions })
        }
        Endpoint::Decision => {
            let id = asked.path.get("id").cloned().unwrap_or_default();
            let store = Arc::clone(&house.window.store);
            let decisions = aside(move || history::find(store.as_ref(), &id)).await??;
            json(&DecisionsView { decisions })
        }
        Endpoint::Accounts => json(&show::accounts(&status, now)),
        Endpoint::Discovery => json(&show::discovered(status.situation.as_deref())),
        Endpoint::Openapi => {
            debug_assert_eq!(spec.answer, Answer::Document);
            json(&openapi::document())
        }
        Endpoint::SetTarget
        | Endpoint::ClearTarget
        | Endpoint::PauseFleet
        | Endpoint::ResumeFleet
        | Endpoint::EvacuateFleet
        | Endpoint::Apply
        | Endpoint::Pause
        | Endpoint::Resume
        | Endpoint::Evacuate
        | Endpoint::Reload
        | Endpoint::Adopt
        | Endpoint::Protect
        | Endpoint::Delete => Err(Problem::not_found("this is a lever")),
    }
}

fn kind(asked: &Asked) -> Result<Option<String>, Problem> {
    match asked.query.get("kind").map(String::as_str) {
        None => Ok(None),
        Some(kind @ ("decision" | "event")) => Ok(Some(kind.to_owned())),
        Some(_) => Err(Problem::bad_request("kind: `decision` or `event`")),
    }
}

/// Runs what may block on a thread of its own.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let failed = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "it failed inside; the log says more");
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

async fn what_if(house: &Arc<House>, asked: &Asked) -> Result<Response, Problem> {
    let PolicyBody { policy, file, attachments } = asked.json()?;
    let source = Source { file, text: policy, attachments, unread: BTreeMap::new() };
    let permit = Arc::clone(&house.planning).try_acquire_owned();
    let permit = permit.map_err(|_| {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "another edit is being planned; try again in a moment")
    })?;
    let work = Arc::clone(&house.window.what_if);
    let planned = aside(move || {
        let planned = work(&source);
        drop(permit);
        planned
    });
    match planned.await? {
        Ok((situation, plan)) => json(&show::plan(&situation, &plan, None)),
        Err(faults) => {
            let detail = "this policy would not be accepted";
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_faults(faults))
        }
    }
}

async fn page(house: &Arc<House>, status: &Arc<Status>, asked: &Asked) -> Result<Response, Problem> {
    let store = Arc::clone(&house.window.store);
    let wanted = Wanted { rows_max: page::DECISIONS, ..Wanted::default() };
    let history = aside(move || history::search(store.as_ref(), &wanted)).await?;
    let scene = page::Scene {
        status,
        now: house.now(),
        history: history.map_err(|problem| problem.detail),
        samples: &house.samples(),
        levers: asked
            .query
            .contains_key("levers")
            .then(|| page::Levers { csrf: &house.csrf, needs_token: (house.window.token)().is_some() }),
        said: house.said(),
    };
    let headers = [
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    Ok((headers, Html(page::page(&scene).into_string())).into_response())
}
