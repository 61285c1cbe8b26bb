//! An edited policy beside today's, on the market that the daemon saw.

use super::{Context, Ending, Failure, SimulateArguments};

pub fn recorded(_: &Context, _: &SimulateArguments) -> Result<Ending, Failure> {
    Err(Failure::failed("not built yet"))
}
