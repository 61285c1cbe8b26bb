//! A market that really was.

use super::{Context, Ending, Failure, SimulateArguments};
use std::path::Path;

pub fn trace(_: &Context, _: &Path, _: &SimulateArguments) -> Result<Ending, Failure> {
    Err(Failure::failed("not built yet"))
}
