//! The roof: the command line, and everything around the daemon that a person or a script touches.
//!
//! One file per command. Each is handed a [`Context`] (the only thing here that has seen the environment) and its own
//! arguments, prints its answer on stdout, and ends in an [`Ending`] or a [`Failure`]: one line and its causes on
//! stderr, and the exit code that belongs to it. Whatever is shown came out of a view of the window, whether a running
//! daemon answered (`client`) or the state was looked at without one (`source`), so that a table, `--json` and the
//! HTTP routes can never tell different stories.

mod api;
pub mod args;
mod check;
mod client;
mod config;
mod daemon;
mod demo;
mod doctor;
pub mod environment;
mod evacuate;
mod explain;
pub mod failure;
mod history;
mod instances;
mod levers;
mod logs;
mod marketplace;
mod models;
mod offers;
mod plan;
mod probe;
mod reach;
mod replay;
mod run;
mod say;
pub mod signals;
mod simulate;
mod source;
mod status;
pub mod terminal;
mod text;

use args::{Arguments, Command};
use clap::Parser;
use environment::Environment;
use failure::{Ending, Failure};
use logs::Talk;
use std::{ffi::OsString, future::Future, path::PathBuf, process::ExitCode};
use terminal::Terminal;
use tokio::runtime::Runtime;

/// What every command is handed.
#[derive(Debug)]
pub struct Context {
    /// What the process was started with.
    pub environment: Environment,
    /// What a person sees.
    pub terminal: Terminal,
    /// The settings file, where one was named.
    pub config: Option<PathBuf>,
    runtime: Runtime,
}

impl Context {
    /// Waits for what a command has to wait for.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Says something on stderr that does not stop the command.
    pub fn warn(&self, line: &str) {
        say::err(format_args!("{line}\n"));
    }

    /// Prints a view as the one JSON document on stdout.
    ///
    /// # Errors
    /// Never, for views; an error is better than a panic.
    pub fn print_json(&self, view: &impl serde::Serialize) -> Result<(), Failure> {
        let document = serde_json::to_string_pretty(view)
            .map_err(|error| Failure::failed("cannot write the answer as JSON").caused_by(&error))?;
        say::say!("{document}");
        Ok(())
    }
}

/// Does what a command line says.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(usage) => {
            let _ = usage.print();
            return if usage.use_stderr() { Ending::Wrong.into() } else { Ending::Done.into() };
        }
    };
    // An error means that one is installed already: there is only one in the tree.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let environment = Environment::of_process();
    logs::start(&environment, talk(&arguments.command));
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return end(Err(Failure::failed("cannot start").caused_by(&error))),
    };
    let terminal = Terminal::new(&environment);
    let config = arguments.config.or_else(|| named_by(&arguments.command)).or_else(|| environment.config());
    let context = Context { environment, terminal, config, runtime };
    end(dispatch(&context, &arguments.command))
}

/// The settings file that stands among words which only the command itself reads.
fn named_by(command: &Command) -> Option<PathBuf> {
    if let Command::Api(arguments) = command { api::named_config(&arguments.words) } else { None }
}

fn end(outcome: Result<Ending, Failure>) -> ExitCode {
    let outcome = match outcome {
        Ok(_) if say::has_lost() => Err(Failure::failed("not everything could be written to stdout")),
        outcome => outcome,
    };
    match outcome {
        Ok(ending) => ending.into(),
        Err(failure) => {
            say::err(format_args!("{failure}"));
            failure.ending.into()
        }
    }
}

const fn talk(command: &Command) -> Talk {
    match command {
        Command::Run { .. } | Command::Marketplace(_) => Talk::Daemon,
        // The demo tells its own story.
        Command::Demo(_)
        | Command::Check { .. }
        | Command::Plan(_)
        | Command::Offers(_)
        | Command::Status(_)
        | Command::Instances(_)
        | Command::Explain { .. }
        | Command::WhyNot { .. }
        | Command::History(_)
        | Command::Target(_)
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::Evacuate(_)
        | Command::Apply { .. }
        | Command::Adopt { .. }
        | Command::Delete { .. }
        | Command::Protect { .. }
        | Command::Models(_)
        | Command::Simulate(_)
        | Command::Api(_)
        | Command::Doctor { .. } => Talk::Question,
    }
}

fn dispatch(context: &Context, command: &Command) -> Result<Ending, Failure> {
    match command {
        Command::Run { observe } => run::run(context, *observe),
        Command::Demo(arguments) => demo::demo(context, arguments),
        Command::Check { online } => check::check(context, *online),
        Command::Plan(arguments) => plan::plan(context, arguments),
        Command::Offers(arguments) => offers::offers(context, arguments),
        Command::Status(arguments) => status::status(context, arguments),
        Command::Instances(arguments) => instances::instances(context, arguments),
        Command::Explain { id, replay: true, asking } => replay::explain(context, id, asking.json),
        Command::Explain { id, replay: false, asking } => explain::explain(context, id, asking),
        Command::WhyNot { hostnode, fleet, asking } => explain::why_not(context, hostnode, fleet.as_ref(), asking),
        Command::History(arguments) => history::history(context, arguments),
        Command::Target(arguments) => levers::target(context, arguments),
        Command::Pause(arguments) => levers::scoped(context, "pause", arguments),
        Command::Resume(arguments) => levers::scoped(context, "resume", arguments),
        Command::Evacuate(arguments) => evacuate::evacuate(context, arguments),
        Command::Apply { fleet, reach } => levers::apply(context, reach, fleet),
        Command::Adopt { instance, fleet, reach } => levers::adopt(context, reach, instance, fleet),
        Command::Delete { instance, yes, reach } => levers::delete(context, reach, instance, *yes),
        Command::Protect { instance, lasting, reach } => levers::protect(context, reach, instance, *lasting),
        Command::Simulate(arguments) => simulate::simulate(context, arguments),
        Command::Marketplace(arguments) => marketplace::marketplace(context, arguments),
        Command::Models(arguments) => models::models(context, arguments),
        Command::Api(arguments) => api::api(context, arguments),
        Command::Doctor { reach, json } => doctor::doctor(context, reach, *json),
    }
}
