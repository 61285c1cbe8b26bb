//! The power goes, at every step of a set of stories.
//!
//! A [`Story`] is a fleet on a small market that stands still, and a few scenes in which something happens to it. It is first
//! played without a crash: that names its steps, every append to the journal and every request. Then each step is a set of
//! [`Case`]s of its own, in which the story is played again and goes wrong there:
//!
//! ```text
//! append   dies before it is durable · dies after · the disk is full and the daemon lives on
//! request  is lost · its answer is lost · (a write) it arrives late · (a deploy) its VM is listed late
//! ```
//!
//! After the cut a new process goes on with what was durable, to the end of the story. After every tick all promises of
//! [`super::check`] must hold by the worlds' own truth, and what was given up and is listed late must be gone at the end of the
//! first tick that saw it. In the end the fleet is at rest: nothing is in doubt, and memory and worlds agree.
//!
//! It is no fuzzer: nothing is drawn but where some of the cases lose the power a second time. Random weather is
//! [`super::faults`]'s.

pub mod case;
pub mod matrix;
mod places;
mod play;
pub mod scene;
pub mod story;

pub use case::{Case, Damage};
pub use matrix::{Matrix, Outcome};
pub use scene::{Act, Scene};
pub use story::Story;
