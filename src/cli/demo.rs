//! `demo`: everything at once on nothing.

use super::{
    Context,
    args::DemoArguments,
    failure::{Ending, Failure},
};

/// Runs a simulated marketplace and the daemon on it.
///
/// # Errors
/// When it cannot listen.
pub fn demo(_context: &Context, arguments: &DemoArguments) -> Result<Ending, Failure> {
    Err(Failure::failed(format!("there is no engine to run at {} times life's speed yet", arguments.speed)))
}
