//! Our own player of a market that really was.

use super::{Failure, SimulateArguments};
use crate::sim::{
    suite::Peer,
    trace::{Market, Policy, Rules},
};
use std::sync::Arc;

/// What ours is called beside others. FIXME: `spotscale`, once it is the engine that plays.
pub const NAME: &str = "stand-in";

/// Our player for one market.
pub struct Ours {
    /// The policy that it follows, as it would stand in a file.
    pub text: String,
    /// At the start of its life.
    pub policy: Box<dyn Policy>,
}

/// The player that the arguments ask for. FIXME: the engine cannot play here yet; the lowest price stands in for it.
///
/// # Errors
/// When the policy cannot be read, or cannot be followed on this market.
pub fn ours(arguments: &SimulateArguments, _: &Arc<Market>, _: Rules) -> Result<Ours, Failure> {
    if arguments.policy.is_some() {
        return Err(Failure::wrong("--policy is not read with --trace yet; leave it out"));
    }
    let text = format!("# the engine cannot play here yet; {} stands in for it\n", Peer::LowestPrice);
    Ok(Ours { text, policy: Peer::LowestPrice.policy() })
}
