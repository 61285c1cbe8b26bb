//! Log lines go to stderr, never to stdout, which is for answers.
//!
//! Under systemd stderr is the journal, which has the time of its own and takes the priority from the head of a line. The
//! fields stay in the line, because that is what `journalctl` and `systemctl status` show.

use super::environment::Environment;
use std::fmt;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Full, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

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
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let sink: Box<dyn Layer<Registry> + Send + Sync> = match environment.has_journal() {
        true => lines.with_ansi(false).event_format(ForJournal::new()).boxed(),
        false => {
            lines.with_ansi(environment.stderr_is_terminal && environment.wants_colour()).with_target(false).boxed()
        }
    };
    let _ = tracing_subscriber::registry().with(sink.with_filter(filter)).try_init();
}

/// Lines as journald reads them from stderr: `<6>what happened field=value`.
struct ForJournal(Format<Full, ()>);

impl ForJournal {
    fn new() -> Self {
        Self(tracing_subscriber::fmt::format().without_time().with_level(false).with_target(false))
    }
}

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(line, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, line, event)
    }
}

/// Syslog's number for a level.
const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}
