//! The doors.
//!
//! Time, network, storage, entropy and files enter the house only here, each behind a small trait with a real
//! implementation beside it. Replace the doors and the whole daemon runs somewhere else, unchanged: in a test, in a
//! simulation, on another store.

pub mod clock;
pub mod entropy;
pub mod files;
pub mod http;
pub mod net;
pub mod store;
pub mod systemd;
pub mod watch;

use std::{future::Future, pin::Pin};

/// A future behind a door: boxed, because doors are chosen at run time.
pub type Awaited<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
