//! `run`: the daemon.

use super::{
    Context, config,
    failure::{Ending, Failure},
};
use crate::policy::terms::Mode;

/// Runs until SIGTERM, which leaves every VM running.
///
/// # Errors
/// When the settings or policies are wrong, or the daemon cannot start.
pub fn run(context: &Context, observe: bool) -> Result<Ending, Failure> {
    let mut settings = config::complete(context)?;
    if observe {
        settings.limits.mode = Mode::Observe;
    }
    Err(Failure::failed(format!("there is no engine to run on {} yet", settings.state.display())))
}
