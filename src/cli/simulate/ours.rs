//! Our own player of a market that really was: the daemon's engine.

use super::{super::source, Failure, SimulateArguments};
use crate::sim::trace::{
    Market, Rules,
    engine::{self, Unfit, built_in},
};
use std::sync::Arc;

/// What ours is called beside others.
pub const NAME: &str = "spotscale";

/// Our player for one market.
pub struct Ours {
    /// The settings and the policy that it follows, as they would stand in files.
    pub text: String,
    /// At the start of its life.
    pub policy: engine::Ours,
}

/// Why the engine cannot play.
fn unfit(why: &Unfit) -> Failure {
    match why {
        Unfit::Policy(faults) => Failure::faulty(faults.iter().map(ToString::to_string).collect()),
        Unfit::Field(_) | Unfit::Engine(_) => Failure::failed(why.to_string()),
    }
}

/// The player that the arguments ask for.
///
/// # Errors
/// When the policy cannot be read, or cannot be followed on this market.
pub fn ours(arguments: &SimulateArguments, market: &Arc<Market>, rules: Rules) -> Result<Ours, Failure> {
    let source = arguments.policy.as_deref().map(source::gathered).transpose()?;
    let built_in = built_in(market.target_gpus, market.pools(), arguments.delivery);
    let followed = source.as_ref().map_or(&built_in.policy, |source| &source.text);
    let text = format!("# spotscale.toml\n{}\n# the policy\n{followed}", built_in.settings);
    let policy = engine::Ours::on(market, rules, source.as_ref(), arguments.delivery).map_err(|why| unfit(&why))?;
    Ok(Ours { text, policy })
}

impl Ours {
    /// Whether it played to the end.
    ///
    /// # Errors
    /// When it had to give up.
    pub fn ended(&self) -> Result<(), Failure> {
        self.policy.failed().map_or(Ok(()), |why| Err(unfit(why)))
    }
}
