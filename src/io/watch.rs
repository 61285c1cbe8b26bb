//! The door to changes on disk: says that something in a folder changed, not what.
//!
//! The *folder* is watched, because editors write a new file and rename it over the old one.

use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer, notify};
use std::{path::Path, time::Duration};

/// Changes closer together than this are one.
const QUIET: Duration = Duration::from_millis(200);

/// A watch that ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    _debouncer: Debouncer<notify::RecommendedWatcher, RecommendedCache>,
}

/// Calls `changed` after something in the folder was written, renamed, made or removed.
///
/// # Errors
/// One line for a person: the system's watches are used up, the folder is missing. SIGHUP still reloads then.
pub fn watch(folder: &Path, mut changed: impl FnMut() + Send + 'static) -> Result<Watch, String> {
    let failed = |error: notify::Error| format!("cannot watch {} for changes: {error}", folder.display());
    let mut debouncer = new_debouncer(QUIET, None, move |result: DebounceEventResult| match result {
        Ok(events) if events.iter().all(|event| matches!(event.kind, notify::EventKind::Access(_))) => {}
        Ok(_) | Err(_) => changed(),
    })
    .map_err(failed)?;
    debouncer.watch(folder, notify::RecursiveMode::NonRecursive).map_err(failed)?;
    Ok(Watch { _debouncer: debouncer })
}
