//! The hands: observe, plan, verify, act, settle, and again.
//!
//! The engine is one actor. Everything that can happen to it is an [`event`](events), everything it knows is published
//! after each tick as one immutable [`Status`], and everything it changes was journalled before it was sent. It decides
//! nothing: `plan` does.

pub mod decision;
pub mod edits;
pub mod events;
pub mod export;
pub mod law;
#[cfg(test)]
pub(crate) mod sample;
pub mod status;
pub mod wake;

pub use decision::Decision;
pub use events::{Cause, Event, Handle, Lever, LeverError, Scope};
pub use status::Status;
