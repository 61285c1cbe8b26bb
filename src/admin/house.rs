//! What the window keeps while it is open.

use super::{Window, chart::Samples};
use crate::{io::entropy, model::Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// Letters of the token of the page's forms.
const CSRF_LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// How many: 190 bits, which nobody guesses.
const CSRF_LENGTH: usize = 32;
/// Edits planned at one time.
const PLANNING_MAX: usize = 1;

/// What a form's lever said, until the page has shown it for a while.
pub(super) type Said = Option<(Timestamp, String)>;

/// See the module.
pub(super) struct House {
    pub window: Window,
    /// The port we listen on.
    pub port: u16,
    /// What the page's forms carry.
    pub csrf: String,
    /// Edits being planned.
    pub planning: Arc<Semaphore>,
    samples: Mutex<Samples>,
    said: Mutex<Said>,
}

/// A poisoned lock only means that another request panicked between two whole values.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl House {
    pub fn new(window: Window, port: u16) -> Self {
        Self {
            csrf: entropy::text(window.entropy.as_ref(), CSRF_LETTERS, CSRF_LENGTH),
            window,
            port,
            planning: Arc::new(Semaphore::new(PLANNING_MAX)),
            samples: Mutex::default(),
            said: Mutex::default(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.window.clock.now()
    }

    /// Takes a sample of the newest status.
    pub fn sample(&self) {
        locked(&self.samples).take(&self.window.handle.status());
    }

    pub fn samples(&self) -> Samples {
        locked(&self.samples).clone()
    }

    pub fn say(&self, line: String) {
        *locked(&self.said) = Some((self.now(), line));
    }

    pub fn said(&self) -> Said {
        locked(&self.said).clone()
    }
}
