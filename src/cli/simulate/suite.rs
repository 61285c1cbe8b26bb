//! Every market that really was, beside every policy.

use super::{Context, Ending, Failure, SimulateArguments};
use std::path::Path;

pub fn suite(_: &Context, _: &Path, _: &SimulateArguments) -> Result<Ending, Failure> {
    Err(Failure::failed("not built yet"))
}
