//! The door to the service manager: ready, status, reloading, stopping and the watchdog.
//!
//! Without systemd (no `$NOTIFY_SOCKET`) every word goes nowhere, and nothing else changes.

use sd_notify::NotifyState;
use std::time::Duration;

/// What the service manager is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The first tick is done: the service is up.
    Ready,
    /// Settings and policies are being read again.
    Reloading,
    /// SIGTERM arrived; what is under way is being finished.
    Stopping,
    /// One line for `systemctl status`.
    Status(String),
    /// A tick was finished, and another one will be within this time, unless something is stuck.
    Alive {
        /// Where the unit's own watchdog is less patient, it is made so patient.
        again_within: Duration,
    },
}

/// Tells the service manager; that it cannot be told is worth a line in the log and nothing more.
pub fn tell(notice: &Notice) {
    let told = match notice {
        Notice::Ready => sd_notify::notify(&[NotifyState::Ready]),
        Notice::Reloading => match NotifyState::monotonic_usec_now() {
            Ok(now) => sd_notify::notify(&[NotifyState::Reloading, now]),
            Err(_) => sd_notify::notify(&[NotifyState::Reloading]),
        },
        Notice::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        Notice::Status(line) => sd_notify::notify(&[NotifyState::Status(line)]),
        Notice::Alive { again_within } => match sd_notify::watchdog_enabled() {
            Some(patience) if *again_within > patience => {
                let patience = format!("WATCHDOG_USEC={}", again_within.as_micros());
                sd_notify::notify(&[NotifyState::Watchdog, NotifyState::Custom(&patience)])
            }
            Some(_) | None => sd_notify::notify(&[NotifyState::Watchdog]),
        },
    };
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
