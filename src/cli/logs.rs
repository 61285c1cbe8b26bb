//! Where log lines go: to journald under systemd, else to stderr. Never to stdout, which is for answers.

use super::environment::Environment;
use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt, util::SubscriberInitExt};

/// How much a command has to say when nobody asked for more or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// A daemon: what it does.
    Daemon,
    /// A question: nothing but its answer, which says itself what is wrong.
    Question,
}

/// Starts the log. A second start in one process changes nothing.
pub fn start(environment: &Environment, talk: Talk) {
    let usual = match talk {
        // The scheduler tells of itself at this level.
        Talk::Daemon => "info,tokio_cron_scheduler=warn",
        Talk::Question => "error",
    };
    let filter = EnvFilter::builder().parse_lossy(environment.log_filter().unwrap_or(usual));
    let journal = if environment.has_journal() { tracing_journald::layer().ok() } else { None };
    let sink: Box<dyn Layer<Registry> + Send + Sync> = match journal {
        Some(journal) => journal.boxed(),
        None => tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(environment.stderr_is_terminal && environment.wants_colour())
            .with_target(false)
            .boxed(),
    };
    let _ = tracing_subscriber::registry().with(sink.with_filter(filter)).try_init();
}
