//! The one place where the process's environment is read, once, before anything else happens.

use std::{collections::BTreeMap, io::IsTerminal, path::PathBuf};

/// What the process was started with and in.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Every variable that is text.
    pub variables: BTreeMap<String, String>,
    /// Someone reads stdout as it comes.
    pub stdout_is_terminal: bool,
    /// Someone reads stderr as it comes.
    pub stderr_is_terminal: bool,
    /// Someone can answer.
    pub stdin_is_terminal: bool,
}

impl Environment {
    /// Of this process.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn of_process() -> Self {
        Self {
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
            stdin_is_terminal: std::io::stdin().is_terminal(),
        }
    }

    fn says(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The settings file, where the variable says one.
    pub fn config(&self) -> Option<PathBuf> {
        self.says("SPOTSCALE_CONFIG").map(PathBuf::from)
    }

    /// `NO_COLOR` is honoured, whatever it says.
    pub fn wants_colour(&self) -> bool {
        self.says("NO_COLOR").is_none() && self.says("TERM") != Some("dumb")
    }

    /// Stderr goes to journald.
    pub fn has_journal(&self) -> bool {
        self.says("JOURNAL_STREAM").is_some()
    }

    /// Which log lines are wanted, in `tracing`'s words.
    pub fn log_filter(&self) -> Option<&str> {
        self.says("SPOTSCALE_LOG").or_else(|| self.says("RUST_LOG"))
    }

    /// Where systemd puts the credentials of the unit.
    pub fn credentials(&self) -> Option<PathBuf> {
        self.says("CREDENTIALS_DIRECTORY").map(PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Environment {
        let variables = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Environment { variables, ..Environment::default() }
    }

    #[test]
    fn no_color_is_honoured_when_it_says_anything() {
        assert!(with(&[]).wants_colour());
        assert!(with(&[("NO_COLOR", "")]).wants_colour());
        assert!(!with(&[("NO_COLOR", "0")]).wants_colour());
        assert!(!with(&[("TERM", "dumb")]).wants_colour());
    }

    #[test]
    fn an_empty_variable_names_no_settings() {
        assert_eq!(with(&[("SPOTSCALE_CONFIG", "")]).config(), None);
        assert_eq!(with(&[("SPOTSCALE_CONFIG", "a.toml")]).config(), Some(PathBuf::from("a.toml")));
    }

    #[test]
    fn our_own_log_filter_is_over_the_customary_one() {
        assert_eq!(with(&[("RUST_LOG", "a")]).log_filter(), Some("a"));
        assert_eq!(with(&[("RUST_LOG", "a"), ("SPOTSCALE_LOG", "b")]).log_filter(), Some("b"));
    }
}
