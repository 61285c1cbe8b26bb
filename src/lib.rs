//! spotscale keeps fleets of rented GPU machines at their target.

#[macro_use]
pub mod model;
pub mod io;
pub mod market;
pub mod policy;
pub mod settings;
