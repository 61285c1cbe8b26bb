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
//! A [`Stage`] puts a whole engine on such a market, in one process and in virtual time: its clock may be wrong ([`wall`]), its
//! power may go at any moment ([`power`]), and after every tick the worlds themselves say whether everything held ([`check`]).
//!
//! Beside them stand [`trace`], markets that really were and the rules to play a policy over them, and [`bound`], the least
//! that such a play could have cost whoever had known every price.

mod backend;
mod books;
pub mod bound;
pub mod catalogue;
pub mod check;
pub mod clock;
pub mod contest;
pub mod doors;
pub mod faults;
pub mod folder;
pub mod host;
pub mod marketplace;
#[cfg(test)]
mod mutation_tests;
pub mod power;
pub mod seed;
pub mod serve;
pub mod stage;
pub mod trace;
pub mod truth;
mod veil;
pub mod vm;
pub mod wall;
pub mod wallet;
pub mod world;

pub use crate::market::Call;
pub use doors::InProcess;
pub use faults::{Fault, Faults, Severity};
pub use host::{Absence, Temper};
pub use marketplace::Market;
pub use stage::{Scenery, Stage};
pub use truth::Truth;
pub use vm::{Ended, Origin, Vm, VmState};
pub use world::{World, WorldOptions};
