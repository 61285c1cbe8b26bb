//! spotscale keeps fleets of rented GPU machines at their target.

#[macro_use]
pub mod model;
pub mod policy;
pub mod settings;
