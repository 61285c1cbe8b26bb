//! tokio-cron-scheduler at the edge: coarse UTC jobs that do nothing but wake the loop.
//!
//! The scheduler's jobs start late, may overlap and may stop for ever (all known), so nothing rests on them: a job
//! `try_send`s into the engine's bounded channel and is done. A lost wake costs at most one scan interval, a lost
//! housekeeping one hour of disk.

use super::{Cause, Event, Handle};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// Old decisions are pruned at seven minutes past each hour, away from everybody else's full hour.
const HOUSEKEEPING: &str = "0 7 * * * *";
/// The turn of the UTC day and month is looked at when it happens: budgets and totals begin anew then.
const TURN_OF_DAY: &str = "1 0 0 * * *";

/// Starts the jobs. They end when the returned scheduler is shut down or dropped.
///
/// # Errors
/// When the scheduler cannot be made; the daemon goes on without it.
pub async fn start(handle: Handle) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let housekeeper = handle.clone();
    scheduler.add(Job::new(HOUSEKEEPING, move |_, _| housekeeper.wake(Event::Housekeeping))?).await?;
    scheduler.add(Job::new(TURN_OF_DAY, move |_, _| handle.wake(Event::Wake(Cause::Schedule)))?).await?;
    scheduler.start().await?;
    Ok(scheduler)
}
