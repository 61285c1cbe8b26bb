//! One suite that every registered marketplace passes.
//!
//! ```text
//! Api::ALL -> dialect -> client -> wire (counted, bent) -> Market (faults) -> that API's fake -> a still world
//! ```
//!
//! Nothing here knows a marketplace: each is reached through [`spotscale::market::language`], and what it cannot say is
//! what its dialect answers `None` to. `life` is a VM from its offer to its end, held against what the world knows and
//! charges; `failures` is everything that goes wrong on the way; `changed` takes live answers apart and puts them together
//! otherwise; `papers` sends every example of the documents through the dialect.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod changed;
mod exchanges;
mod failures;
mod honest;
mod json;
mod life;
mod papers;
mod requests;
mod sane;
mod stand;
