//! Lines for whoever reads them, on stdout and stderr.
//!
//! A reader may have read enough and gone (`| head`): that is no failure, and least of all a panic, for what the command
//! does has to be finished all the same. Anything else that keeps a line from being written (a full disk under `>`) is
//! remembered, and the command ends with 1.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
    sync::atomic::{AtomicBool, Ordering},
};

/// Nobody reads any more.
static DEAF: AtomicBool = AtomicBool::new(false);
/// Something was not written though somebody may want to read it.
static LOST: AtomicBool = AtomicBool::new(false);

fn write(mut to: impl Write, text: fmt::Arguments<'_>) {
    if let Err(error) = to.write_fmt(text).and_then(|()| to.flush()) {
        let gone = error.kind() == ErrorKind::BrokenPipe;
        if gone { &DEAF } else { &LOST }.store(true, Ordering::Relaxed);
    }
}

/// On stdout.
pub fn out(text: fmt::Arguments<'_>) {
    write(io::stdout().lock(), text);
}

/// On stderr, where nothing can be said about a failure to say.
pub fn err(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// Whether whoever read stdout has gone.
pub fn is_deaf() -> bool {
    DEAF.load(Ordering::Relaxed)
}

/// Whether a line was lost that somebody may want to read.
pub fn has_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Prints a line on stdout.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::say::out(format_args!("{}\n", format_args!($($text)*)))
    };
}
pub(super) use say;
