//! From the table of routes to axum's router: what is the same around every route is done here, once.

use super::{
    access::{self, Caller},
    answer,
    asked::{Asked, pairs},
    house::House,
    problem::{PROBLEM_JSON, Problem},
    server::Peer,
    spec::{Access, Endpoint, ROUTES, Spec, Verb},
};
use axum::{
    Router,
    body::Body,
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    http::{HeaderValue, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::timeout;

/// No body is larger than this.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// But for a policy's text in JSON: three times what a policy file may have.
const POLICY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Real time for a body to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Real time for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// All routes.
pub(super) fn router(house: Arc<House>) -> Router {
    let mut router = Router::new();
    for spec in ROUTES {
        let filter = match spec.verb {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Put => MethodFilter::PUT,
            Verb::Delete => MethodFilter::DELETE,
        };
        let handler = move |State(house): State<Arc<House>>, path, request: Request| async move {
            serve(&house, spec, path, request).await.unwrap_or_else(Problem::into_response)
        };
        router = router.route(spec.path, on(filter, handler));
    }
    router
        .fallback(|| async { Problem::not_found("there is no such route; /api/v1/openapi.json lists them all") })
        .method_not_allowed_fallback(|| async {
            let detail = "this route has other methods; /api/v1/openapi.json lists them";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        .layer(map_response(finished))
        .with_state(house)
}

/// What every answer has.
async fn finished(response: Response) -> Response {
    let is_problem = response.status().is_client_error() || response.status().is_server_error();
    let says_so = |value: &HeaderValue| value.as_bytes() == PROBLEM_JSON.as_bytes();
    let mut response = match is_problem && !response.headers().get(header::CONTENT_TYPE).is_some_and(says_so) {
        true => Problem::new(response.status(), "the request does not read").into_response(),
        false => response,
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn serve(
    house: &Arc<House>,
    spec: &'static Spec,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let path = path.map_err(|_| Problem::bad_request("the path is not UTF-8"))?;
    let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let asked = read(spec, path, request).await?;
    let caller = Caller { peer: asked.peer, port: house.port, uri: &asked.uri, headers: &asked.headers };
    let token = (house.window.token)();
    let token = token.as_ref();
    let has_body = match spec.verb {
        Verb::Post | Verb::Put => true,
        Verb::Get | Verb::Delete => !asked.body.is_empty(),
    };
    match (spec.access, spec.body) {
        (Access::Reads, None) => {}
        (Access::Reads, Some(_)) => access::speaks_json(&asked.headers, has_body)?,
        (Access::Changes, _) => access::may_change(caller, token, has_body)?,
        (Access::Form, _) => {
            let fields = asked.form();
            let field = |name: &str| fields.get(name).map(String::as_str);
            access::may_submit(caller, token, &house.csrf, (field("csrf"), field("access_token")))?;
        }
    }
    match timeout(ANSWER_WITHIN, answer::answer(house, spec, &asked)).await {
        Ok(answer) => answer,
        Err(_) => Err(Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "the engine is still busy; what was asked may yet be done: look at the status",
        )),
    }
}

async fn read(spec: &Spec, path: BTreeMap<String, String>, request: Request) -> Result<Asked, Problem> {
    let (parts, body) = request.into_parts();
    let unknown_peer = SocketAddr::from(([0, 0, 0, 0], 0));
    let peer = parts.extensions.get::<Peer>().map_or(unknown_peer, |peer| peer.0);
    let query = pairs(parts.uri.query().unwrap_or_default().as_bytes());
    if let Some(unknown) = query.keys().find(|key| !spec.query.iter().any(|known| known.name == key.as_str())) {
        let known: Vec<&str> = spec.query.iter().map(|parameter| parameter.name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(Problem::bad_request(format!(
            "`{}` is not a parameter here; known: {known}",
            unknown.chars().take(40).flat_map(char::escape_debug).collect::<String>()
        )));
    }
    let body = bytes(spec, body).await?;
    Ok(Asked { peer, uri: parts.uri, headers: parts.headers, path, query, body })
}

async fn bytes(spec: &Spec, body: Body) -> Result<Vec<u8>, Problem> {
    let limit = if spec.endpoint == Endpoint::WhatIf { POLICY_BYTES_MAX } else { BODY_BYTES_MAX };
    match timeout(BODY_WITHIN, axum::body::to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes.to_vec()),
        Ok(Err(_)) => {
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body broke off or has over {limit} bytes")))
        }
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}
