//! The closed set of things that can happen to the engine, and the handle by which others make them happen.

use super::Status;
pub use crate::ledger::levers::Scope;
use crate::model::FleetName;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Events waiting for the engine at most; more are refused, and the operator told.
pub const EVENTS_MAX: usize = 64;

labels! {
    /// What made a tick happen.
    pub enum Cause {
        /// The first one.
        Startup = "startup",
        /// The scan interval, or a scheduled wake-up.
        Schedule = "schedule",
        /// A lever.
        Operator = "operator",
        /// A policy or setting changed.
        Reload = "reload",
    }
}

/// The operator's levers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lever {
    /// Hold so many GPUs, until cleared or for so long.
    Target {
        /// Which.
        fleet: FleetName,
        /// How many.
        gpus: u32,
        /// For how long; `None`: until cleared.
        lasting: Option<Duration>,
    },
    /// Back to what the policy says.
    ClearTarget {
        /// Which.
        fleet: FleetName,
    },
    /// Freeze.
    Pause(Scope),
    /// End a pause, an evacuation, a bench.
    Resume(Scope),
    /// Tear all down, protected ones too, then pause. `None`: all fleets.
    Evacuate(Option<FleetName>),
    /// Let a held edit come into force.
    Apply(FleetName),
    /// Take a stray into a fleet.
    Adopt {
        /// Name or id.
        instance: String,
        /// Whose it becomes.
        fleet: FleetName,
    },
    /// Delete one VM: ours, or a stray.
    Delete {
        /// Name or id.
        instance: String,
    },
    /// Leave one alone, but for money.
    Protect {
        /// Name or id.
        instance: String,
        /// For how long; `None`: until it is gone. Zero ends a protection.
        lasting: Option<Duration>,
    },
    /// Read settings and policies again.
    Reload,
}

/// Why a lever did not move.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeverError {
    /// There is no such fleet, instance or marketplace: 404.
    #[error("{0}")]
    NotFound(String),
    /// It makes no sense now, and why: 409.
    #[error("{0}")]
    Refused(String),
    /// It could not be recorded, so it was not done: 503.
    #[error("{0}")]
    Failed(String),
}

/// What can happen.
#[derive(Debug)]
pub enum Event {
    /// Look and act now.
    Wake(Cause),
    /// An operator moves a lever; the answer is one line for a person.
    Lever(Lever, oneshot::Sender<Result<String, LeverError>>),
    /// Prune what is old.
    Housekeeping,
    /// Finish what is under way and stop; VMs keep running.
    Stop,
}

/// What waits for the engine, beside the events themselves. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    levers: Arc<watch::Sender<usize>>,
    reload: Arc<AtomicBool>,
}

impl Waiting {
    /// Settings and policies are to be read again. Whether nobody had said so yet.
    fn want_reload(&self) -> bool {
        !self.reload.swap(true, Ordering::Relaxed)
    }

    /// Whether settings and policies are to be read again; whoever asks reads them.
    pub fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::Relaxed)
    }

    /// One more lever waits.
    fn begin(&self) {
        self.levers.send_modify(|levers| *levers += 1);
    }

    /// A lever is taken up.
    pub fn end(&self) {
        self.levers.send_modify(|levers| *levers = levers.saturating_sub(1));
    }

    /// Whether any lever waits.
    pub fn any(&self) -> bool {
        *self.levers.borrow() > 0
    }

    /// Waits until a lever waits.
    pub async fn some(&self) {
        // The sender is this one's own: it cannot be gone.
        let _ = self.levers.subscribe().wait_for(|levers| *levers > 0).await;
    }
}

/// How the rest of the house talks to the engine.
#[derive(Clone, Debug)]
pub struct Handle {
    events: mpsc::Sender<Event>,
    status: watch::Receiver<Arc<Status>>,
    waiting: Waiting,
    stopping: CancellationToken,
}

impl Handle {
    /// From all ends. Levers in `waiting`, and `stopping`, make a tick end after the write that is under way.
    pub const fn new(
        events: mpsc::Sender<Event>,
        status: watch::Receiver<Arc<Status>>,
        waiting: Waiting,
        stopping: CancellationToken,
    ) -> Self {
        Self { events, status, waiting, stopping }
    }

    /// What was known after the newest tick.
    pub fn status(&self) -> Arc<Status> {
        self.status.borrow().clone()
    }

    /// To wait for the next status.
    pub fn watch(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// Wakes the loop; a lost wake costs at most one scan interval.
    pub fn wake(&self, event: Event) {
        let _ = self.events.try_send(event);
    }

    /// Has settings and policies read again before the next tick. It is never lost, however much happens.
    pub fn reload(&self) {
        if self.waiting.want_reload() {
            self.wake(Event::Wake(Cause::Reload));
        }
    }

    /// Stops the engine: the write that is under way is finished, nothing else is begun.
    pub fn stop(&self) {
        self.stopping.cancel();
        let _ = self.events.try_send(Event::Stop);
    }

    /// Moves a lever and waits for what came of it.
    ///
    /// # Errors
    /// See [`LeverError`].
    pub async fn pull(&self, lever: Lever) -> Result<String, LeverError> {
        let (reply, answer) = oneshot::channel();
        self.waiting.begin();
        if self.events.try_send(Event::Lever(lever, reply)).is_err() {
            self.waiting.end();
            return Err(LeverError::Failed("the engine is busy or stopping; try again".into()));
        }
        answer.await.map_err(|_| LeverError::Failed("the engine stopped before it answered".into()))?
    }
}
