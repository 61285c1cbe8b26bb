//! The policy of somebody else's market, over the step protocol on stdin and stdout.
//!
//! Stdout belongs to the protocol; the policy that is played by is told on stderr before the first step.

use super::{
    super::{say, source},
    Context, Ending, Failure, SimulateArguments,
};
use crate::sim::trace::{
    drive::{self, DriveError},
    engine::Unfit,
};

/// Plays whatever market stands on stdin.
///
/// # Errors
/// When the other side does not keep to the protocol (exit code 2), goes away (1), or the policy has faults (2).
pub fn drive(_: &Context, arguments: &SimulateArguments) -> Result<Ending, Failure> {
    let policy = arguments.policy.as_deref().map(source::gathered).transpose()?;
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut begun = |text: &str| say::err(format_args!("{text}"));
    match drive::drive(&mut input, &mut output, policy.as_ref(), arguments.delivery, &mut begun) {
        Ok(()) => Ok(Ending::Done),
        Err(DriveError::Unfit(Unfit::Policy(faults))) => {
            Err(Failure::faulty(faults.iter().map(ToString::to_string).collect()))
        }
        Err(error @ DriveError::Input { .. }) => Err(Failure::wrong(error.to_string())),
        Err(error @ (DriveError::Pipe { .. } | DriveError::Unfit(_))) => Err(Failure::failed(error.to_string())),
    }
}
