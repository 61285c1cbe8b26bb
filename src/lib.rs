//! spotscale keeps fleets of rented GPU machines at their target.

#[macro_use]
pub mod model;
pub mod admin;
pub mod engine;
pub mod io;
pub mod ledger;
pub mod market;
pub mod metrics;
pub mod plan;
pub mod policy;
pub mod settings;
pub mod sim;
