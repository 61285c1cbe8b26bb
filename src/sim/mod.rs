//! The rehearsal: a simulated marketplace.
//!
//! Everything the daemon does to a real marketplace it can do here, on a market that costs nothing: hosts with GPUs,
//! minimum bids that move, rivals who come and outbid, machines that vanish, an account that burns down. It grows from
//! one seed and is the same every time.
//!
//! ```text
//! request ─ serve (HTTP) ─┐
//! request ─ doors (here) ─┴─ Market ── Faults (what goes wrong) ── Fake (the dialect) ── Veil ── World
//! ```
//!
//! The layers know little of each other. [`World`] has no clock, no IO and no dialect; the dialects' fakes live in their
//! own folders under `market`; [`Faults`] only says *which* thing goes wrong with a call, and [`Market`]
//! makes it go wrong.
//!
//! Beside them stand [`trace`], markets that really were and the rules to play a policy over them, and [`bound`], the least
//! that such a play could have cost whoever had known every price. [`suite`] has the policies of others to be measured
//! beside ours.

mod backend;
mod books;
pub mod bound;
pub mod catalogue;
pub mod clock;
pub mod contest;
pub mod doors;
pub mod faults;
pub mod host;
pub mod marketplace;
pub mod seed;
pub mod serve;
pub mod suite;
pub mod trace;
pub mod truth;
mod veil;
pub mod vm;
pub mod wallet;
pub mod world;

pub use crate::market::Call;
pub use doors::InProcess;
pub use faults::{Fault, Faults, Severity};
pub use host::{Absence, Temper};
pub use marketplace::Market;
pub use truth::Truth;
pub use vm::{Ended, Origin, Vm, VmState};
pub use world::{World, WorldOptions};
