//! Stands between the daemon and the marketplace, sees every request's boundaries, and cuts the daemon's power there.
//!
//! ```text
//!   daemon ──▶ arrived here ──▶ marketplace acts ──▶ its answer is here ──▶ the daemon has read it
//!                   ▲                                       ▲                         ▲
//!              before sent                            after effect              after answer
//! ```
//!
//! The power goes by SIGKILL, and the proxy goes on only once the process is gone. Nothing of a dead daemon is passed on.
//! Each connection serves one request, so that its end says that the answer was handed over; whether the daemon has also
//! read it, the kernel's list of sockets tells.

use crate::vendor::{Credentials, Vendor, fields};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use spotscale::io::{
    http::HttpNet,
    net::{BODY_BYTES_MAX, Net, Request},
};
use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    process::Child,
    sync::{Mutex as AsyncMutex, watch},
};

/// The marketplace is in this machine and has nothing else to do.
const UPSTREAM_DEADLINE: Duration = Duration::from_secs(60);
/// A daemon that waits for an answer reads it as soon as it gets a processor.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// Every kind of call that the engine makes, by its path. The small set cuts them at the boundaries in turn, so that the
/// order says which meets which.
pub const KINDS: [Kind; 10] = [
    Kind { name: "hostnodes", path: "/api/v0/client/deploy/hostnodes" },
    Kind { name: "deploy", path: "/api/v0/client/deploy/single" },
    Kind { name: "list", path: "/api/v0/client/list" },
    Kind { name: "stop", path: "/api/v0/client/stop/single" },
    Kind { name: "validate existing", path: "/api/v0/client/spot/validate/existing" },
    Kind { name: "balance", path: "/api/v0/billing/balance" },
    Kind { name: "delete", path: "/api/v0/client/delete/single" },
    Kind { name: "start", path: "/api/v0/client/start/single" },
    Kind { name: "validate new", path: "/api/v0/client/spot/validate/new" },
    Kind { name: "get", path: "/api/v0/client/get/single" },
];

/// One kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// What it is called here.
    pub name: &'static str,
    /// The path of its requests.
    pub path: &'static str,
}

/// Where the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// The request arrived here and goes no further.
    BeforeSent,
    /// The marketplace acted; its answer goes no further.
    AfterEffect,
    /// The daemon has read the whole answer.
    AfterAnswer,
}

impl Boundary {
    /// In the order in which a request meets them.
    pub const ALL: [Self; 3] = [Self::BeforeSent, Self::AfterEffect, Self::AfterAnswer];
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeSent => "before it is sent",
            Self::AfterEffect => "after its effect",
            Self::AfterAnswer => "after its answer",
        })
    }
}

/// Which request, counted from 1 since the power came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The n-th of all.
    Nth(usize),
    /// The n-th of a kind.
    NthOf(Kind, usize),
}

/// One cut of the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// At which request.
    pub trigger: Trigger,
    /// Where on its way.
    pub boundary: Boundary,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trigger, boundary } = self;
        match trigger {
            Trigger::Nth(n) => write!(f, "request {n} {boundary}"),
            Trigger::NthOf(kind, n) => write!(f, "{} {n} {boundary}", kind.name),
        }
    }
}

/// What went by since the proxy was made.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How many requests.
    pub requests: usize,
    /// Paths that were asked for.
    pub paths: BTreeSet<String>,
    /// Names under which a deploy was asked for, each as often as it was.
    pub deployed: Vec<String>,
    /// The most GPUs of ours that the market's own list showed right after a deploy or start.
    pub gpus_most: u64,
    /// At which requests the power was cut: what they were.
    pub cuts: Vec<String>,
    /// What went wrong in the proxy itself.
    pub troubles: Vec<String>,
}

/// A count that changes with every event, for those who wait.
type Bell = watch::Sender<u64>;

struct Script {
    cuts: VecDeque<Cut>,
    /// Paths of the requests since the power came on.
    run: Vec<String>,
    /// Requests are passed on; from the one at which the power goes, none is.
    is_lit: bool,
    seen: Seen,
}

struct Wires {
    script: Mutex<Script>,
    daemon: AsyncMutex<Option<Child>>,
    upstream: HttpNet,
    vendor: Vendor,
    bell: Bell,
}

/// The proxy's controls.
#[derive(Clone)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    wires: Arc<Wires>,
}

impl Proxy {
    /// Listens on a free port of loopback, before a marketplace.
    pub async fn start(market: &str, credentials: &Credentials) -> Result<Self, String> {
        let upstream = HttpNet::new(market).map_err(|error| error.to_string())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let script = Script { cuts: VecDeque::new(), run: Vec::new(), is_lit: false, seen: Seen::default() };
        let wires = Arc::new(Wires {
            script: Mutex::new(script),
            daemon: AsyncMutex::new(None),
            upstream,
            vendor: Vendor::new(market, credentials)?,
            bell: watch::Sender::new(0),
        });
        let accepting = Arc::clone(&wires);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                tokio::spawn(connection(stream, Ends { daemon: peer, here: address }, Arc::clone(&accepting)));
            }
        });
        Ok(Self { address, wires })
    }

    /// Cuts the power at these, one after the other.
    pub fn arm(&self, cuts: impl IntoIterator<Item = Cut>) {
        self.wires.script().cuts = cuts.into_iter().collect();
    }

    /// Cuts that have not come yet.
    pub fn cuts_left(&self) -> usize {
        self.wires.script().cuts.len()
    }

    /// The power comes on: what is started now is the daemon. A cut waits until it is there.
    pub async fn plug_in<E>(&self, start: impl FnOnce() -> Result<Child, E>) -> Result<(), E> {
        let mut plugged = self.wires.daemon.lock().await;
        {
            let mut script = self.wires.script();
            script.run.clear();
            script.is_lit = true;
        }
        *plugged = Some(start()?);
        Ok(())
    }

    /// Takes the daemon out, to be ended in another way.
    pub async fn take_out(&self) -> Option<Child> {
        self.wires.daemon.lock().await.take()
    }

    /// The power is off, and the process is gone.
    pub async fn is_off(&self) -> bool {
        self.wires.daemon.lock().await.is_none()
    }

    /// Whether the daemon ended by itself, and how.
    pub async fn ended(&self) -> Option<String> {
        let mut daemon = self.wires.daemon.lock().await;
        daemon.as_mut()?.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// What went by.
    pub fn seen(&self) -> Seen {
        self.wires.script().seen.clone()
    }

    /// Rings at every request and cut.
    pub fn bell(&self) -> watch::Receiver<u64> {
        self.wires.bell.subscribe()
    }
}

impl Wires {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        self.bell.send_modify(|count| *count += 1);
    }

    /// Counts a request, and says how far it goes.
    fn count(&self, path: &str) -> Passage {
        let mut script = self.script();
        if !script.is_lit {
            return Passage::Held;
        }
        script.run.push(path.to_owned());
        script.seen.requests += 1;
        script.seen.paths.insert(path.to_owned());
        let number = script.run.len();
        let is_due = |cut: &Cut| match cut.trigger {
            Trigger::Nth(n) => number >= n,
            Trigger::NthOf(kind, n) => path == kind.path && script.run.iter().filter(|seen| *seen == path).count() == n,
        };
        if !script.cuts.front().is_some_and(is_due) {
            return Passage::Free;
        }
        script.is_lit = false;
        let Some(Cut { boundary, .. }) = script.cuts.pop_front() else { return Passage::Free };
        let kind = KINDS.iter().find(|kind| kind.path == path).map_or(path, |kind| kind.name);
        script.seen.cuts.push(format!("request {number} ({kind}) {boundary}"));
        Passage::Last(boundary)
    }

    /// Cuts the power, and waits until the process is gone. In a task of its own: the connection of a dead daemon ends,
    /// and what serves it with it.
    async fn cut(self: &Arc<Self>) {
        let wires = Arc::clone(self);
        let cutting = tokio::spawn(async move {
            let mut daemon = wires.daemon.lock().await;
            if let Some(mut process) = daemon.take()
                && let Err(error) = process.kill().await
            {
                wires.trouble(format!("the daemon could not be killed: {error}"));
            }
            drop(daemon);
            wires.ring();
        });
        let _ = cutting.await;
    }

    fn trouble(&self, what: String) {
        self.script().seen.troubles.push(what);
    }

    /// What a deploy or start just did to the market's own list.
    async fn audit(&self) {
        match self.vendor.list().await {
            Ok(vms) => {
                let gpus = vms.iter().filter(|vm| vm.is_ours() && vm.holds_gpus()).map(|vm| vm.gpus).sum();
                let mut script = self.script();
                script.seen.gpus_most = script.seen.gpus_most.max(gpus);
            }
            Err(why) => self.trouble(why),
        }
    }
}

/// How far a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    /// To the marketplace and back.
    Free,
    /// The power goes there.
    Last(Boundary),
    /// Nowhere: the daemon is dead, or about to be.
    Held,
}

/// Both ends of a connection.
#[derive(Clone, Copy)]
struct Ends {
    daemon: SocketAddr,
    here: SocketAddr,
}

/// Serves one request, whole.
async fn connection(stream: TcpStream, ends: Ends, wires: Arc<Wires>) {
    let is_due = Mutex::new(false);
    let service = service_fn(|request| pass(request, &wires, &is_due));
    let served = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service).await;
    if *is_due.lock().unwrap_or_else(PoisonError::into_inner) {
        let read = match served {
            Ok(()) => {
                tokio::time::timeout(READ_WITHIN, read(ends)).await.unwrap_or_else(|_| Err("too late".to_owned()))
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = read {
            wires.trouble(format!("an answer was not read: {why}"));
        }
        wires.cut().await;
    }
}

/// The daemon's power is off: its connection just ends.
#[derive(Debug, thiserror::Error)]
#[error("the power is off")]
struct Dark;

async fn pass(
    request: hyper::Request<Incoming>,
    wires: &Arc<Wires>,
    after_answer: &Mutex<bool>,
) -> Result<hyper::Response<Full<Bytes>>, Dark> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| Dark)?.to_bytes();
    let path = head.uri.path().to_owned();
    let passage = wires.count(&path);
    wires.ring();
    match passage {
        Passage::Held => return std::future::pending().await,
        Passage::Last(Boundary::BeforeSent) => {
            wires.cut().await;
            return Err(Dark);
        }
        Passage::Last(Boundary::AfterEffect | Boundary::AfterAnswer) | Passage::Free => {}
    }
    let kept = |name: &str| !["host", "content-length", "accept-encoding", "connection"].contains(&name);
    let request = Request {
        method: head.method.as_str().parse().map_err(|_| Dark)?,
        path: path.clone(),
        query: fields(head.uri.query().unwrap_or_default().as_bytes()),
        headers: head
            .headers
            .iter()
            .filter(|(name, _)| kept(name.as_str()))
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect(),
        body: body.to_vec(),
    };
    if path.ends_with("/deploy/single") {
        let name = fields(&body).into_iter().find(|(key, _)| key == "name").map(|(_, name)| name);
        wires.script().seen.deployed.push(name.unwrap_or_default());
    }
    let answer = wires.upstream.send(request, UPSTREAM_DEADLINE).await.map_err(|error| {
        wires.trouble(format!("the marketplace does not answer: {error}"));
        Dark
    })?;
    if path.ends_with("/deploy/single") || path.ends_with("/start/single") {
        wires.audit().await;
    }
    match passage {
        Passage::Last(Boundary::AfterEffect) => {
            wires.cut().await;
            return Err(Dark);
        }
        Passage::Last(Boundary::AfterAnswer) => {
            *after_answer.lock().unwrap_or_else(PoisonError::into_inner) = true;
        }
        Passage::Last(Boundary::BeforeSent) | Passage::Free | Passage::Held => {}
    }
    let mut response = hyper::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        if !["transfer-encoding", "content-length", "content-encoding", "connection"].contains(&name.as_str()) {
            response = response.header(name, value);
        }
    }
    response.body(Full::new(Bytes::from(answer.body))).map_err(|_| Dark)
}

/// Waits until the daemon has read all that it was sent: the kernel holds nothing back for it.
async fn read(ends: Ends) -> Result<(), String> {
    loop {
        let sockets = std::fs::read_to_string("/proc/net/tcp").map_err(|error| format!("/proc/net/tcp: {error}"))?;
        if !is_unread(&sockets, ends) {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

/// Whether the daemon's end of a connection has bytes that it did not read; the end of the stream counts as one byte.
fn is_unread(sockets: &str, ends: Ends) -> bool {
    let hexadecimal = |address: SocketAddr| match address {
        SocketAddr::V4(address) => {
            Some(format!("{:08X}:{:04X}", u32::from_le_bytes(address.ip().octets()), address.port()))
        }
        SocketAddr::V6(_) => None,
    };
    let (Some(local), Some(remote)) = (hexadecimal(ends.daemon), hexadecimal(ends.here)) else { return false };
    sockets.lines().any(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_it = columns.get(1) == Some(&local.as_str()) && columns.get(2) == Some(&remote.as_str());
        let unread = columns.get(4).and_then(|queues| queues.split_once(':')).map(|(_, received)| received);
        is_it && unread.and_then(|bytes| u64::from_str_radix(bytes, 16).ok()).is_some_and(|bytes| bytes > 1)
    })
}
