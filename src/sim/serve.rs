//! The simulated marketplace on a socket.
//!
//! Turns HTTP into requests as data, asks the [`Market`] under its lock, and makes the reaction real: an answer that is
//! lost is a connection that closes, an answer that is cut has a promised length it never reaches. Long answers are
//! compressed for who takes that. Bodies, connections
//! and waits are bounded. What is logged has no body, no query and no header in it: those carry credentials.

use super::marketplace::{Answer, Market, Reaction};
use crate::io::{
    clock::Clock,
    net::{Method, Request, Response},
};
use flate2::{Compression, write::GzEncoder};
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
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
    io::Write as _,
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

/// A shorter answer is not worth compressing.
const COMPRESSED_BYTES_MIN: usize = 1_024;

/// How long after the first half of an answer its connection is dropped.
const CUT_PAUSE: Duration = Duration::from_millis(20);

/// The connection is to be closed instead of an answer, or in the middle of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is dropped")]
struct Dropped;

type Body = UnsyncBoxBody<Bytes, Dropped>;

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
            let service = service_fn(|request| respond(request, &market, clock.as_ref(), &shutdown));
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
    shutdown: &CancellationToken,
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
        // Who hangs does not hold up the end.
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = shutdown.cancelled() => {}
        }
    }
    match answer {
        Answer::Whole(response) if takes_gzip(&request) => whole(compressed(response)),
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
    let headers = head
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    Ok(Request {
        method,
        path: head.uri.path().to_owned(),
        query: query.into_owned().collect(),
        headers: headers.collect(),
        body: body.to_vec(),
    })
}

/// Whether the client takes gzip. A quality of zero is a no.
fn takes_gzip(request: &Request) -> bool {
    let codings = request.header("accept-encoding").unwrap_or_default().split(',');
    codings.map(|coding| coding.split_once(';').unwrap_or((coding, ""))).any(|(name, parameters)| {
        let quality = parameters.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        name.trim().eq_ignore_ascii_case("gzip") && quality.is_ok_and(|quality| quality > 0.0)
    })
}

/// A long answer, compressed; any other, or one that will not be, as it is.
fn compressed(mut response: Response) -> Response {
    if response.body.len() < COMPRESSED_BYTES_MIN {
        return response;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    if let Ok(body) = encoder.write_all(&response.body).and_then(|()| encoder.finish()) {
        response.body = body;
        let about = [("content-encoding", "gzip"), ("vary", "accept-encoding")];
        response.headers.extend(about.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    response
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
    Ok(head.map(|()| body.boxed_unsync()))
}

fn cut(response: Response) -> Result<hyper::Response<Body>, Dropped> {
    let mut head = head(&response);
    let mut body = response.body;
    head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len().max(1)));
    body.truncate(body.len() / 2);
    // Between the half and the drop there is a moment in which the half is really sent.
    let frames = futures_util::stream::unfold(Some(Bytes::from(body)), |state| async move {
        match state {
            Some(half) => Some((Ok(Frame::data(half)), None)),
            None => {
                tokio::time::sleep(CUT_PAUSE).await;
                Some((Err(Dropped), None))
            }
        }
    });
    Ok(head.map(|()| StreamBody::new(frames).boxed_unsync()))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Call, Fault, Faults, World, WorldOptions},
        *,
    };
    use crate::io::clock::SystemClock;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    /// Starts a market, sends it one request as text for each fault, and returns all that came back each time.
    async fn answers(request: &str, faults: &[Fault]) -> Vec<String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::real());
        let world = World::new(1, clock.now(), WorldOptions::lifelike("100".parse().unwrap()));
        let mut market = Market::of_all_dialects(world, Faults::none(), Some("k"), Some("t"));
        for fault in faults {
            market.faults.script(Call::Whoami, *fault);
        }
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(serve(listener, Arc::new(Mutex::new(market)), clock, shutdown.clone()));
        let mut answers = Vec::new();
        for _ in faults {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answers.push(String::from_utf8_lossy(&answer).into_owned());
        }
        shutdown.cancel();
        served.await.unwrap();
        answers
    }

    fn whoami(body: &str) -> String {
        format!(
            "POST /api/v0/auth/test HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-type: \
             application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn a_request_is_answered_over_a_real_socket() {
        let good = answers(&whoami("api_key=k&api_token=t"), &[Fault::None]).await;
        assert!(good[0].starts_with("HTTP/1.1 200 OK") && good[0].ends_with(r#"{"success":true}"#), "{good:?}");
        let bad = answers(&whoami("api_key=k&api_token=x"), &[Fault::None]).await;
        assert!(bad[0].starts_with("HTTP/1.1 401"), "{bad:?}");
        let query = "GET /api/v0/auth/test?api_key=k&api_token=t HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
        assert!(answers(query, &[Fault::None]).await[0].contains("200 OK"));
    }

    #[test]
    fn a_long_answer_is_compressed_for_who_takes_that() {
        let asked = |accepted: &str| {
            let headers = vec![("accept-encoding".to_owned(), accepted.to_owned())];
            takes_gzip(&Request { headers, ..Request::get("/") })
        };
        for yes in ["gzip", "br, GZIP", "deflate, gzip;q=0.5"] {
            assert!(asked(yes), "{yes}");
        }
        for no in ["", "br", "identity", "gzip;q=0", "gzip;q=0.0", "gzip;q=odd", "xgzip"] {
            assert!(!asked(no), "{no}");
        }
        let long = Response::json(200, "[1]".repeat(COMPRESSED_BYTES_MIN));
        let (plain, sent) = (long.body.clone(), compressed(long));
        assert_eq!(sent.header("content-encoding"), Some("gzip"));
        assert!(sent.body.len() < plain.len() / 10);
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(sent.body.as_slice()), &mut read).unwrap();
        assert_eq!(read, plain);
        let short = Response::json(200, "{}");
        assert_eq!(compressed(short.clone()), short);
    }

    #[tokio::test]
    async fn what_is_lost_is_a_connection_that_closes() {
        let all =
            answers(&whoami("api_key=k&api_token=t"), &[Fault::LostRequest, Fault::LostAnswer, Fault::CutAnswer]).await;
        assert_eq!(all[..2], ["", ""]);
        assert!(all[2].contains("content-length: 16") && all[2].ends_with("\r\n\r\n{\"succes"), "{all:?}");
    }

    #[tokio::test]
    async fn what_cannot_be_a_request_is_told_so() {
        let odd = "PATCH /api/v0/auth/test HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
        assert!(answers(odd, &[Fault::None]).await[0].starts_with("HTTP/1.1 405"));
        let large = whoami(&"x".repeat(BODY_BYTES_MAX + 1));
        assert!(answers(&large, &[Fault::None]).await[0].starts_with("HTTP/1.1 413"));
    }
}
