//! `run`: the daemon.

use super::{
    Context, config,
    daemon::{self, Making, TICK_TIME_MAX},
    failure::{Ending, Failure},
    signals,
};
use crate::{
    engine::{Reread, Role},
    io::{
        clock::SystemClock,
        files::{Disk, Files},
        store::SqliteStore,
    },
    settings,
};
use std::{path::Path, sync::Arc};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Reads the settings file again, with the environment the process was started with.
pub(super) fn reread(context: &Context) -> Reread {
    let (file, variables) = (config::path(context), context.environment.variables.clone());
    Box::new(move || {
        let text = Disk.read(&file).map_err(|why| vec![why])?;
        let checked = settings::check(&file, &text, &variables, &mut |path: &Path| Disk.read(path));
        let faults: Vec<String> = checked.faults.iter().chain(&checked.unresolved).map(ToString::to_string).collect();
        checked.complete().ok_or(faults)
    })
}

/// Runs until SIGTERM, which leaves every VM running.
///
/// # Errors
/// When the settings are wrong, or the daemon cannot start.
pub fn run(context: &Context, observe: bool) -> Result<Ending, Failure> {
    let settings = config::complete(context)?;
    context.block_on(async {
        let store = SqliteStore::open(&settings.state)
            .map_err(|error| Failure::failed(format!("cannot use {}", settings.state.display())).caused_by(&error))?;
        let listen = settings.http.listen;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            let line = format!("cannot listen on {listen}; free it, or say another address with [http] listen");
            Failure::failed(line).caused_by(&error)
        })?;
        let daemon = daemon::assemble(Making {
            role: if observe { Role::ObserveOnly } else { Role::AsConfigured },
            clock: Arc::new(SystemClock::real()),
            store: Arc::new(store),
            recorder: daemon::recorder(&settings.state),
            reread: reread(context),
            tick_time_max: TICK_TIME_MAX,
            settings,
        })
        .await?;
        let address = listener.local_addr().unwrap_or(listen);
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "the status page is at http://{address}/");
        let stop = CancellationToken::new();
        signals::cancel_on_stop(stop.clone())?;
        daemon.run(listener, stop).await?;
        tracing::info!("stopped; VMs keep running");
        Ok(Ending::Done)
    })
}
