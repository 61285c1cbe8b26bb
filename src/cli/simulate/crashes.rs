//! The power cut at every step of a set of stories.

use super::{Context, Ending, Failure, SimulateArguments};

pub fn crashes(_: &Context, _: &SimulateArguments) -> Result<Ending, Failure> {
    Err(Failure::failed("not built yet"))
}
