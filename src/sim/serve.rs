//! The simulated marketplace on a socket.
//!
//! Turns HTTP into requests as data, asks the [`Market`] under its lock, and makes the reaction real: an answer that is
//! lost is a connection that closes, an answer that is cut has a promised length it never reaches. Bodies, connections
//! and waits are bounded. What is logged has no body, no query and no header in it: those carry credentials.

use super::marketplace::{Answer, Market, Reaction};
use crate::io::{
    clock::Clock,
    net::{Method, Request, Response},
};
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::BoxBody};
use hyper::{
    StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{CONTENT_LENGTH, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// No request's body is longer: cloud-init and keys are some kilobytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// So many clients at once.
const CONNECTIONS_MAX: usize = 256;
/// A request must arrive within this much real time.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// After a failed accept (too many open files) so long until the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connection is to be closed instead of an answer, or in the middle of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is dropped")]
struct Dropped;

type Body = BoxBody<Bytes, Dropped>;

/// Serves until `shutdown`, then finishes what is under way.
pub async fn serve(
    listener: TcpListener,
    market: Arc<Mutex<Market>>,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
        };
        let (Ok(place), Ok((stream, _))) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (market, clock, shutdown) = (Arc::clone(&market), Arc::clone(&clock), shutdown.clone());
        connections.spawn(async move {
            let service = service_fn(|request| respond(request, &market, clock.as_ref()));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_DEADLINE)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}

async fn respond(
    request: hyper::Request<Incoming>,
    market: &Mutex<Market>,
    clock: &dyn Clock,
) -> Result<hyper::Response<Body>, Dropped> {
    let request = match tokio::time::timeout(REQUEST_DEADLINE, read(request)).await {
        Ok(Ok(request)) => request,
        Ok(Err(status)) => return whole(error(status)),
        Err(_) => return whole(error(408)),
    };
    let Reaction { call, fault, delay, answer } =
        market.lock().unwrap_or_else(PoisonError::into_inner).handle(clock.now(), &request);
    let status = match &answer {
        Answer::Whole(response) | Answer::Cut(response) => response.status,
        Answer::Nothing => 0,
    };
    tracing::debug!(method = %request.method, path = request.path, %call, fault = fault.as_str(), status, "served");
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match answer {
        Answer::Whole(response) => whole(response),
        Answer::Cut(response) => cut(response),
        Answer::Nothing => Err(Dropped),
    }
}

fn error(status: u16) -> Response {
    Response::json(status, r#"{"success": false, "error": "this request cannot be read"}"#)
}

/// A request as data; where it cannot be one, the status that says why.
async fn read(request: hyper::Request<Incoming>) -> Result<Request, u16> {
    let (head, body) = request.into_parts();
    let method: Method = head.method.as_str().parse().map_err(|_| 405u16)?;
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| 413u16)?.to_bytes();
    let query = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
    let headers = head.headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    Ok(Request {
        method,
        path: head.uri.path().to_owned(),
        query: query.into_owned().collect(),
        headers: headers.collect(),
        body: body.to_vec(),
    })
}

fn head(response: &Response) -> hyper::Response<()> {
    let mut head = hyper::Response::new(());
    *head.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &response.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            head.headers_mut().append(name, value);
        }
    }
    head
}

fn whole(response: Response) -> Result<hyper::Response<Body>, Dropped> {
    let head = head(&response);
    let body = Full::new(Bytes::from(response.body)).map_err(|never: Infallible| match never {});
    Ok(head.map(|()| body.boxed()))
}

fn cut(response: Response) -> Result<hyper::Response<Body>, Dropped> {
    let mut head = head(&response);
    let mut body = response.body;
    head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len().max(1)));
    body.truncate(body.len() / 2);
    let frames = [Ok(Frame::data(Bytes::from(body))), Err(Dropped)];
    Ok(head.map(|()| BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))))
}
