//! `simulate`: the very same engine in virtual time, on a market of its own.
//!
//! | with | on which market |
//! |---|---|
//! | `--seed`, `--swarm` | a simulated one that lies as much as `--faults` says |
//! | `--crashes` | the same, with the power cut at every step of a set of stories |
//! | `--trace`, `--suite` | one that really was, by the rules of its replay |
//! | `--drive` | somebody else's, over a protocol on stdin and stdout |
//! | `--recorded` | the one that the daemon saw, for a policy that is to be edited |
//!
//! None of them sends a request or touches what a daemon does, and only `--recorded` needs a config file: it says where the
//! recording is.

mod cores;
mod crashes;
mod drive;
mod figures;
mod ours;
mod past;
mod picture;
mod recorded;
mod seeded;
mod suite;

use super::{
    Context,
    args::SimulateArguments,
    failure::{Ending, Failure},
};

/// Plays what the arguments say.
///
/// # Errors
/// When what was named cannot be read, or something that must hold did not.
pub fn simulate(context: &Context, arguments: &SimulateArguments) -> Result<Ending, Failure> {
    if let Some(folder) = &arguments.suite {
        suite::suite(context, folder, arguments)
    } else if let Some(trace) = &arguments.trace {
        past::trace(context, trace, arguments)
    } else if arguments.drive {
        drive::drive(context, arguments)
    } else if arguments.recorded {
        recorded::recorded(context, arguments)
    } else if arguments.crashes {
        crashes::crashes(context, arguments)
    } else {
        seeded::seeded(context, arguments)
    }
}
