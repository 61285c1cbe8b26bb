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
//! makes it go wrong. How much the market lies is a value, [`Knobs`], and each lie has its layer:
//!
//! | what lies | where |
//! |---|---|
//! | the wire: requests and answers that are lost, late, cut, garbage or a storm of refusals | [`Fault`], [`Market::storm`] |
//! | what a call does: twice, never ready, dearer than agreed, unseen in the lists for a while | [`Twist`] |
//! | the world: VMs that stop, vanish and return, machines, prices, money, strangers | [`lies`], [`strangers`] |
//! | nobody; it only hurts as much: an operator who moves at the worst time | [`operator`] |
//!
//! A [`Stage`] puts a whole engine on such a market, in one process and in virtual time: its clock may be wrong ([`wall`]), its
//! power may go at any moment ([`power`]), and after every tick the worlds themselves say whether everything held ([`check`]).
//!
//! [`props`] are what scenes, stories and tests are commonly set with: settings, still machines, somebody else's VM.
//!
//! [`recorded`] is the market that a daemon saw, for another policy to be played on it.
//!
//! Beside them stand [`trace`], markets that really were and the rules to play a policy over them, and [`bound`], the least
//! that such a play could have cost whoever had known every price. [`suite`] has the policies of others to be measured
//! beside ours.

mod backend;
mod books;
pub mod bound;
pub mod catalogue;
pub mod check;
pub mod clock;
pub mod contest;
pub mod crashes;
mod director;
pub mod doors;
pub mod faults;
pub mod folder;
pub mod host;
pub mod knobs;
pub mod lies;
pub mod marketplace;
mod memories;
#[cfg(test)]
mod mutation_tests;
pub mod operator;
mod pages;
pub mod plot;
pub mod power;
pub mod props;
pub mod recorded;
pub mod run;
pub mod seed;
pub mod serve;
pub mod stage;
mod storms;
pub mod strangers;
pub mod suite;
pub mod told;
pub mod trace;
pub mod truth;
pub mod twist;
mod veil;
pub mod verdict;
pub mod vm;
pub mod wall;
pub mod wallet;
mod watched;
pub mod world;

pub use crate::market::Call;
pub use doors::InProcess;
pub use faults::{Fault, Faults, Severity};
pub use host::{Absence, Temper};
pub use knobs::Knobs;
pub use lies::{Fate, Hiding};
pub use marketplace::Market;
pub use plot::Plot;
pub use run::rehearse;
pub use seed::Seed;
pub use stage::{Scenery, Stage};
pub use truth::Truth;
pub use twist::Twist;
pub use verdict::Verdict;
pub use vm::{Ended, Origin, Vm, VmState};
pub use world::{World, WorldOptions};
