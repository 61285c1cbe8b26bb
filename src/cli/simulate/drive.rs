//! The policy of somebody else's market, over the step protocol on stdin and stdout.

use super::{Context, Ending, Failure, SimulateArguments};

pub fn drive(_: &Context, _: &SimulateArguments) -> Result<Ending, Failure> {
    Err(Failure::failed("not built yet"))
}
