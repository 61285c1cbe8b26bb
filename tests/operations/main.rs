//! What operators run spotscale with: the unit as systemd reads it, and the daemon as the service manager meets it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod evacuate;
mod lane;
mod notify;
#[path = "../../benches/plan/rehearsal.rs"]
mod rehearsal;
mod stage;
mod unit;
