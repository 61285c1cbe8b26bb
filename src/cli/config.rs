//! Finds and reads the settings for a command, and says what is wrong with them the same way everywhere.

use super::{Context, args::CONFIG_DEFAULT, failure::Failure};
use crate::{
    io::files::{Disk, Files},
    policy::Fault,
    settings::{self, Checked, Settings},
};
use std::path::{Path, PathBuf};

/// Which file the settings are in.
pub fn path(context: &Context) -> PathBuf {
    context.config.clone().unwrap_or_else(|| PathBuf::from(CONFIG_DEFAULT))
}

/// Reads and checks the settings; what is wrong with them is in the result.
///
/// # Errors
/// When the file itself cannot be read.
pub fn check(context: &Context) -> Result<Checked, Failure> {
    let file = path(context);
    let text = Disk.read(&file).map_err(|reason| {
        Failure::wrong(reason).because("the settings are needed; say where they are with --config or $SPOTSCALE_CONFIG")
    })?;
    let mut read = |path: &Path| Disk.read(path);
    Ok(settings::check(&file, &text, &context.environment.variables, &mut read))
}

/// Faults as an operator mends them, one line each.
pub fn lines(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

/// Faults as the failure of a command.
pub fn faulty(faults: &[Fault]) -> Failure {
    Failure::faulty(lines(faults))
}

/// The settings with every secret in its place: for a daemon, and for whoever asks marketplaces.
///
/// # Errors
/// Every fault, one line each.
pub fn complete(context: &Context) -> Result<Settings, Failure> {
    let checked = check(context)?;
    let faults: Vec<Fault> = checked.faults.iter().chain(&checked.unresolved).cloned().collect();
    checked.complete().ok_or_else(|| faulty(&faults))
}

/// The settings for whoever only asks the daemon: the credentials of marketplaces may be beyond this user's reach.
///
/// # Errors
/// Every fault, one line each.
pub fn to_ask_the_daemon(context: &Context) -> Result<Settings, Failure> {
    let checked = check(context)?;
    checked.without_secrets().cloned().ok_or_else(|| faulty(&checked.faults))
}
