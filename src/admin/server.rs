//! The listener: axum's router on hyper's connections, each bounded in number, header size and time.

use super::{Window, house::House, routes};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Connections served at one time; more wait in the listener's queue.
const CONNECTIONS_MAX: usize = 256;
/// Real time for a request's headers to arrive, and between two requests.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// A connection's headers and unsent answers are buffered up to this.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// A connection lives no longer than this.
const CONNECTION_MAX: Duration = Duration::from_secs(600);
/// How long answers under way have once we stop.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long we wait when no connection can be accepted (no file descriptor is free).
const BREATH: Duration = Duration::from_millis(100);

/// Who connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub SocketAddr);

/// Serves until told to stop; then lets answers under way finish.
pub async fn serve(listener: TcpListener, window: Window, shutdown: CancellationToken) {
    let port = listener.local_addr().map_or(0, |address| address.port());
    let house = Arc::new(House::new(window, port));
    let router = routes::router(Arc::clone(&house));
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN).max_buf_size(BUFFER_BYTES_MAX);
    connections.spawn(sample(house, shutdown.clone()));

    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        let Some((stream, peer, permit)) = accepted else {
            sleep(BREATH).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone().layer(axum::Extension(Peer(peer))));
        let connection = graceful.watch(server.serve_connection(TokioIo::new(stream), service));
        connections.spawn(async move {
            // A connection that breaks or takes too long is the other side's affair.
            let _ = timeout(CONNECTION_MAX, connection).await;
            drop(permit);
        });
    }
    drop(listener);
    let _ = timeout(FAREWELL, graceful.shutdown()).await;
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    let (stream, peer) = listener.accept().await.ok()?;
    Some((stream, peer, permit))
}

/// Takes a sample of each status, for the page's charts.
async fn sample(house: Arc<House>, shutdown: CancellationToken) {
    let mut newest = house.window.handle.watch();
    loop {
        house.sample();
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = newest.changed() => if changed.is_err() { return },
        }
    }
}
