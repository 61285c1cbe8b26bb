//! A window on a port of its own, with a status made by hand and an engine that takes every lever.

use super::{Window, history::tests::pages, serve};
use crate::{
    engine::{Event, Handle, Lever, LeverError, Status, Waiting, sample},
    io::{Awaited, clock::Clock, entropy::Entropy},
    metrics::Metrics,
    model::{Timestamp, time::after},
};
use secrecy::SecretString;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

/// A clock that stands five seconds after the sample's tick.
struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        after(sample::now(), Duration::from_secs(5))
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, _: Duration) -> Awaited<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// Randomness that everybody can guess.
struct Guessable;

impl Entropy for Guessable {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(3);
    }
}

/// What `Guessable` makes of a form's token.
pub(crate) const CSRF: &str = "DDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD";

/// An open window.
pub(crate) struct Open {
    pub address: SocketAddr,
    /// What was pulled.
    pub levers: Arc<Mutex<Vec<Lever>>>,
    pub status: watch::Sender<Arc<Status>>,
    pub shutdown: CancellationToken,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Open {
    pub async fn new(status: Status, token: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, mut arrived) = mpsc::channel(8);
        let (status, seen) = watch::channel(Arc::new(status));
        let levers: Arc<Mutex<Vec<Lever>>> = Arc::default();
        let pulled = Arc::clone(&levers);
        tokio::spawn(async move {
            while let Some(event) = arrived.recv().await {
                let Event::Lever(lever, reply) = event else { continue };
                let answer = match &lever {
                    Lever::Delete { instance } => Err(LeverError::NotFound(format!("there is no instance {instance}"))),
                    Lever::Evacuate(_) => Err(LeverError::Refused("it only observes".into())),
                    Lever::Reload => Err(LeverError::Failed("the disk is full".into())),
                    Lever::Target { .. }
                    | Lever::ClearTarget { .. }
                    | Lever::Pause(_)
                    | Lever::Resume(_)
                    | Lever::Apply(_)
                    | Lever::Adopt { .. }
                    | Lever::Protect { .. } => Ok(format!("done: {lever:?}")),
                };
                pulled.lock().unwrap().push(lever);
                let _ = reply.send(answer);
            }
        });
        let window = Window {
            handle: Handle::new(events, seen, Waiting::default(), CancellationToken::new()),
            metrics: Arc::new(Metrics::new("0.1.0", sample::now())),
            store: Arc::new(pages()),
            clock: Arc::new(Standing),
            entropy: Arc::new(Guessable),
            token: {
                let token = token.map(|token| SecretString::from(token.to_owned()));
                Arc::new(move || token.clone())
            },
            what_if: Arc::new(|source| match source.text.contains("fleet") {
                true => {
                    let status = sample::status();
                    Ok((status.situation.unwrap().into_value(), status.plan.unwrap().into_value()))
                }
                false => Err(vec!["policy:1:1: `fleet` is missing".into()]),
            }),
        };
        let shutdown = CancellationToken::new();
        tokio::spawn(serve(listener, window, shutdown.clone()));
        Self { address, levers, status, shutdown }
    }

    /// Sends bytes as they are and reads the answer to its end.
    pub async fn raw(&self, bytes: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The other side may answer and hang up before it has read all.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// A request as a well-behaved client sends it, with more headers, one a line.
    pub async fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> Reply {
        let (address, length) = (self.address, body.len());
        let more: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
        let host = if headers.contains("host:") { String::new() } else { format!("host: {address}\r\n") };
        let head =
            format!("{method} {target} HTTP/1.1\r\n{host}connection: close\r\ncontent-length: {length}\r\n{more}");
        self.raw(format!("{head}\r\n{body}").as_bytes()).await
    }

    pub async fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, "", "").await
    }

    pub async fn json(&self, method: &str, target: &str, body: &str) -> Reply {
        self.ask(method, target, "content-type: application/json", body).await
    }

    pub async fn form(&self, body: &str) -> Reply {
        self.ask("POST", "/levers", "content-type: application/x-www-form-urlencoded", body).await
    }

    /// The newest lever.
    pub fn pulled(&self) -> Option<Lever> {
        self.levers.lock().unwrap().last().cloned()
    }
}
