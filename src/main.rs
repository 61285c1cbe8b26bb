//! The binary: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    spotscale::cli::run(std::env::args_os())
}
