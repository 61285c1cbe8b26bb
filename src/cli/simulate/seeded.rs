//! A seeded market that lies, once or in a swarm.

use super::{Context, Ending, Failure, SimulateArguments};

pub fn seeded(_: &Context, _: &SimulateArguments) -> Result<Ending, Failure> {
    Err(Failure::failed("not built yet"))
}
