//! The signals that end a daemon, and the one that makes it read its settings again.

use super::failure::Failure;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn listen(kind: SignalKind, name: &str) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::failed(format!("cannot listen for {name}")).caused_by(&error))
}

/// Cancels at the first SIGTERM or SIGINT.
///
/// # Errors
/// When the process may not listen for signals.
pub fn cancel_on_stop(stop: CancellationToken) -> Result<(), Failure> {
    let mut terminate = listen(SignalKind::terminate(), "SIGTERM")?;
    let mut interrupt = listen(SignalKind::interrupt(), "SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}

/// Calls `reload` at every SIGHUP, for as long as the runtime lives.
///
/// # Errors
/// When the process may not listen for signals.
pub fn on_reload(reload: impl Fn() + Send + 'static) -> Result<(), Failure> {
    let mut hang_up = listen(SignalKind::hangup(), "SIGHUP")?;
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            reload();
        }
    });
    Ok(())
}
