//! `evacuate`: tears all of a fleet down, protected VMs too.
//!
//! Where a daemon runs it is told, and does it. With `--offline` there is none: then the same engine is put on the state
//! and the credentials in a role in which it deletes what is evacuated and sends nothing else that changes anything, and
//! ticks until the last VM is proven gone. The order stands in the journal before the first delete, so that whoever is
//! interrupted, or crashes, may go on with the same command or with the daemon.

use super::{
    Context,
    args::EvacuateArguments,
    config,
    daemon::{self, Daemon, Making, TICK_TIME_MAX},
    failure::{Ending, Failure},
    levers, run,
    say::say,
    signals,
};
use crate::{
    engine::{Cause, Lever, Role, Status},
    io::{
        clock::{Clock, SystemClock},
        store::SqliteStore,
    },
    model::FleetName,
    plan::Order,
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Between two looks: a delete is proven by the next list.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// `evacuate`.
///
/// # Errors
/// When the daemon cannot be asked or says no; offline, when the state is in use or something is left at an interruption.
pub fn evacuate(context: &Context, arguments: &EvacuateArguments) -> Result<Ending, Failure> {
    let EvacuateArguments { fleet, all: _, offline, reach } = arguments;
    if *offline { without_daemon(context, fleet.as_ref()) } else { levers::evacuate(context, reach, fleet.as_ref()) }
}

fn without_daemon(context: &Context, fleet: Option<&FleetName>) -> Result<Ending, Failure> {
    let settings = config::complete(context)?;
    context.block_on(async {
        let store = SqliteStore::open(&settings.state)
            .map_err(|error| Failure::failed(format!("cannot use {}", settings.state.display())).caused_by(&error))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::real());
        let recorder = daemon::recorder(&settings.state);
        let Daemon { mut engine, handle, .. } = daemon::assemble(Making {
            settings,
            role: Role::EvacuateOnly,
            clock: Arc::clone(&clock),
            store: Arc::new(store),
            recorder,
            reread: run::reread(context),
            tick_time_max: TICK_TIME_MAX,
        })
        .await?;
        // Before the first tick: nothing must be done for these fleets but this.
        let refused = |error: crate::engine::LeverError| Failure::failed(error.to_string());
        say!("{}", engine.pull(Lever::Evacuate(fleet.cloned())).await.map_err(refused)?);

        let stop = CancellationToken::new();
        signals::cancel_on_stop(stop.clone())?;
        let stopper = tokio::spawn({
            let (stop, handle) = (stop.clone(), handle.clone());
            async move {
                stop.cancelled().await;
                handle.stop();
            }
        });
        let progress = context.terminal.progress("tearing down");
        let mut told = Vec::new();
        let outcome = loop {
            engine.tick(Cause::Operator).await;
            let status = handle.status();
            let troubles = troubles(&status);
            if troubles != told {
                troubles.iter().for_each(|trouble| context.warn(trouble));
                told = troubles;
            }
            match left(&status, fleet) {
                Some(0) => {
                    say!("nothing is left");
                    break Ok(Ending::Done);
                }
                Some(_) | None if stop.is_cancelled() => break Err(interrupted(&status, fleet)),
                Some(_) | None => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = clock.sleep(LOOK_EVERY) => {}
            }
        };
        drop(progress);
        stopper.abort();
        outcome
    })
}

/// What keeps it from going on.
fn troubles(status: &Status) -> Vec<String> {
    let failed = status.markets.iter().filter_map(|(name, market)| Some((name, market.failed.as_ref()?)));
    let failed = failed.map(|(name, failed)| format!("{name}: {}", failed.value));
    status.troubles.iter().cloned().chain(failed).collect()
}

/// VMs of evacuated fleets that are not proven gone, ones in doubt and late ones included; `None` while nobody has looked.
fn left(status: &Status, fleet: Option<&FleetName>) -> Option<usize> {
    let fleets = &status.situation.as_ref()?.fleets;
    let meant = fleets.iter().filter(|(name, _)| fleet.is_none_or(|fleet| fleet == *name));
    let evacuated = meant.filter(|(_, state)| state.order == Order::Evacuate);
    Some(evacuated.map(|(_, state)| state.fleet.members.len() + state.fleet.late.len()).sum())
}

fn interrupted(status: &Status, fleet: Option<&FleetName>) -> Failure {
    let left = left(status, fleet).map_or("nobody knows how many".to_owned(), |left| left.to_string());
    Failure::failed(format!("interrupted; VMs left: {left}"))
        .because("the order is in the journal: the same command goes on with it, and so does the daemon".to_owned())
}
