//! spotscale keeps fleets of rented GPU machines at their target.
//!
//! ```text
//! roof      cli
//! gallery   admin | sim
//! workshop  engine
//! study     plan | market
//! archive   ledger
//! library   policy, settings | metrics | io
//! cellar    model
//! ```

#[macro_use]
pub mod model;
pub mod admin;
pub mod cli;
pub mod engine;
pub mod io;
pub mod ledger;
pub mod market;
pub mod metrics;
pub mod plan;
pub mod policy;
pub mod settings;
pub mod sim;
