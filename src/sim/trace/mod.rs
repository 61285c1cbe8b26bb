//! Recorded history: what a policy would have paid and delivered on a market that really was.
//!
//! A folder of traces holds prices and capacities of spot pools as change events, beside a manifest. Here they are read
//! ([`load`]), laid on a grid of steps at the worst value inside each ([`grid`]), and played one step at a time by fixed
//! rules ([`run`]), so that any two programs that follow the rules print the same figures ([`metrics`]) for the same
//! actions. What was done can be kept and verified by others ([`log`]).
//!
//! ```text
//! manifest, csv ─ load ─> Trace ─ grid ─> Market ─ run ─> Tally ─ metrics ─> Metrics
//!                                           ^ asks and actions of a Policy, which sees only the step at hand
//!                                           |
//!                        the daemon's engine, behind a marketplace (engine) ─ or on somebody else's steps (drive)
//! ```
//!
//! Only [`engine`] knows a clock and a marketplace's dialect, for it brings the whole daemon along; there is no randomness in
//! here, and only `load` touches files. What the market would have done because of our own demand nobody recorded, so it is
//! not played.

mod csv;
pub mod drive;
pub mod engine;
pub mod grid;
pub mod load;
pub mod log;
pub mod metrics;
pub mod run;

pub use grid::Market;
pub use load::{Chosen, Class, LoadError, LoadFaults, Pool, Trace};
pub use metrics::{Metrics, Summary};
pub use run::{Action, Billing, Desk, Policy, Refusal, Rules, Run, Tally, VmId, Witness};
