//! How a command ends other than well: one line, then causes, and an exit code.

use std::{error::Error, fmt, process::ExitCode};

labels! {
    /// How a command ended. Source: CONTRACT section 1, exit codes.
    pub enum Ending {
        /// Done.
        Done = "done",
        /// It failed.
        Failed = "failed",
        /// Usage, config or policy is wrong.
        Wrong = "wrong",
        /// `plan --detailed-exitcode`: a change is planned.
        ChangePlanned = "change planned",
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(match ending {
            Ending::Done => 0u8,
            Ending::Failed => 1,
            Ending::Wrong => 2,
            Ending::ChangePlanned => 3,
        })
    }
}

/// Why a command did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// With which code it ends.
    pub ending: Ending,
    /// What is wrong with a file, a line each, beginning with its place.
    pub faults: Vec<String>,
    /// What was tried and what came of it, one line.
    pub line: String,
    /// What led to it, nearest first.
    pub causes: Vec<String>,
}

impl Failure {
    /// It was tried, and it failed.
    pub fn failed(line: impl Into<String>) -> Self {
        Self { ending: Ending::Failed, faults: Vec::new(), line: line.into(), causes: Vec::new() }
    }

    /// What was asked makes no sense as it stands.
    pub fn wrong(line: impl Into<String>) -> Self {
        Self { ending: Ending::Wrong, faults: Vec::new(), line: line.into(), causes: Vec::new() }
    }

    /// What was read does not hold together.
    pub fn faulty(faults: Vec<String>) -> Self {
        let line = match faults.len() {
            1 => "1 fault, see above".to_owned(),
            count => format!("{count} faults, see above"),
        };
        Self { ending: Ending::Wrong, faults, line, causes: Vec::new() }
    }

    /// With one more cause.
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// With an error and all that led to it.
    pub fn caused_by(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(cause) = next {
            self.causes.push(cause.to_string());
            next = cause.source();
        }
        self
    }
}

/// As it stands on stderr.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ending: _, faults, line, causes } = self;
        for fault in faults {
            writeln!(f, "{fault}")?;
        }
        writeln!(f, "error: {line}")?;
        for cause in causes {
            writeln!(f, "  because: {cause}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::store::{Doing, StoreError};

    #[test]
    fn a_failure_is_one_line_and_then_its_causes() {
        let full = StoreError::Failed { doing: Doing::Append, detail: "disk full".into() };
        let failure = Failure::failed("cannot keep the lever").caused_by(&full).because("the disk has 0 bytes free");
        assert_eq!(
            failure.to_string(),
            "error: cannot keep the lever\n  because: failed to append to the journal: disk full\n  \
             because: the disk has 0 bytes free\n"
        );
    }
}
