//! The window: status page, API and metrics.
//!
//! Everything shown is made from the newest [`Status`](crate::engine::Status) and the history; everything changed goes
//! through the engine's [`Handle`] as one of its levers. The window decides nothing and keeps nothing but a bounded
//! series of samples for the page's charts.
//!
//! ```text
//! connection (bounded in number, size and time)
//!   -> routes: one table of `Spec`s -> access -> Asked -> answer (reads) or levers -> views, page, metrics text
//! ```
//!
//! **Invariant:** no request can make this panic, wait for ever or grow without bound, and no change is made unless the
//! rules of [`access`] hold.

pub mod access;
pub mod amount;
pub mod asked;
pub mod chart;
pub mod history;
pub mod levers;
pub mod openapi;
pub mod page;
pub mod problem;
pub mod show;
pub mod spec;
pub mod views;
pub mod why_not;

mod answer;
mod house;
mod routes;
mod server;
#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;

pub use amount::{Money, Ratio};
pub use problem::Problem;
pub use server::serve;

use crate::{
    engine::Handle,
    io::{clock::Clock, entropy::Entropy, store::Store},
    metrics::Metrics,
    plan::{Plan, Situation},
    policy::Source,
};
use secrecy::SecretString;
use std::{fmt, sync::Arc};

/// The token that every change needs, once one is set: a reload may change it.
pub type Token = Arc<dyn Fn() -> Option<SecretString> + Send + Sync>;

/// Plans a policy's text without installing it: what would be known and done, or the text's faults, one line each. It
/// may take its time (it runs on a thread of its own) and must not change anything.
pub type WhatIf = Arc<dyn Fn(&Source) -> Result<(Situation, Plan), Vec<String>> + Send + Sync>;

/// All that the window needs.
#[derive(Clone)]
pub struct Window {
    /// What the engine knows, and its levers.
    pub handle: Handle,
    /// What `/metrics` tells.
    pub metrics: Arc<Metrics>,
    /// The history.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Draws the token of the page's forms.
    pub entropy: Arc<dyn Entropy>,
    /// Every change needs it once it is set.
    pub token: Token,
    /// Plans an edit that is not installed.
    pub what_if: WhatIf,
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").finish_non_exhaustive()
    }
}
