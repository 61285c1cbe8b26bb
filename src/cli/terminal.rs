//! What a person sees: tables, a spinner while something takes long, a question before something irrevocable.

use super::{environment::Environment, failure::Failure};
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{BufRead, Write},
    time::Duration,
};

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Words.
    Text(&'static str),
    /// Figures: money, counts, ages; their ends stand below each other.
    Figure(&'static str),
}

/// What a cell's content means for the fleet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// As it should be.
    #[default]
    Plain,
    /// On its way.
    Busy,
    /// Someone should look.
    Bad,
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    text: String,
    mood: Mood,
}

impl<T: ToString> From<T> for Field {
    fn from(value: T) -> Self {
        Self { text: value.to_string(), mood: Mood::Plain }
    }
}

impl Field {
    /// With a mood.
    pub fn moody(text: impl ToString, mood: Mood) -> Self {
        Self { text: text.to_string(), mood }
    }

    /// A value, or a dash where there is none.
    pub fn maybe<T: ToString>(value: Option<T>) -> Self {
        value.map_or_else(|| "-".into(), Self::from)
    }
}

/// Where answers, progress and questions go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal {
    /// Tables are fitted to the window.
    fits_window: bool,
    /// Stdout takes colours.
    colour: bool,
    /// Progress may be shown on stderr.
    progress: bool,
    /// Somebody can be asked.
    answers: bool,
}

impl Terminal {
    /// Of this process.
    pub fn new(environment: &Environment) -> Self {
        Self {
            fits_window: environment.stdout_is_terminal,
            colour: environment.stdout_is_terminal && environment.wants_colour(),
            progress: environment.stderr_is_terminal,
            answers: environment.stdin_is_terminal && environment.stderr_is_terminal,
        }
    }

    /// A table, each row as long as the columns; empty columns stay.
    pub fn table(&self, columns: &[Column], rows: Vec<Vec<Field>>) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(if self.fits_window {
            ContentArrangement::Dynamic
        } else {
            ContentArrangement::Disabled
        });
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(columns.iter().map(|column| match column {
            Column::Text(name) => Cell::new(name).add_attribute(Attribute::Bold),
            Column::Figure(name) => Cell::new(name).add_attribute(Attribute::Bold).set_alignment(CellAlignment::Right),
        }));
        for row in rows {
            table.add_row(row.into_iter().zip(columns).map(|(Field { text, mood }, column)| {
                let cell = match column {
                    Column::Text(_) => Cell::new(text),
                    Column::Figure(_) => Cell::new(text).set_alignment(CellAlignment::Right),
                };
                match mood {
                    Mood::Plain => cell,
                    Mood::Busy => cell.fg(Color::Yellow),
                    Mood::Bad => cell.fg(Color::Red),
                }
            }));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.trim_fmt()
    }

    /// Shows that something takes its time, on a terminal; gone when dropped.
    pub fn progress(&self, doing: &'static str) -> Progress {
        let bar = self.progress.then(|| {
            let bar = ProgressBar::new_spinner().with_message(doing);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Progress { bar }
    }

    /// Asks before something that cannot be undone.
    ///
    /// # Errors
    /// When the answer is no, or there is nobody to ask and `--yes` was not said.
    pub fn confirm(&self, question: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !self.answers {
            return Err(Failure::wrong(format!("{question} Without a terminal to ask on, say --yes")));
        }
        eprint!("{question} [y/N] ");
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        if read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            Ok(())
        } else {
            Err(Failure::failed("nothing was done"))
        }
    }
}

/// A spinner, while it lives.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_end_below_each_other_and_nothing_is_coloured_off_a_terminal() {
        let rows = vec![
            vec!["train".into(), "8.50".into()],
            vec![Field::moody("a", Mood::Bad), Field::maybe::<String>(None)],
            vec!["batch".into(), "12.25".into()],
        ];
        let table = Terminal::default().table(&[Column::Text("FLEET"), Column::Figure("USD/H")], rows);
        assert_eq!(table, "FLEET  USD/H\ntrain   8.50\na          -\nbatch  12.25");
    }

    #[test]
    fn nobody_is_asked_where_nobody_can_answer() {
        let terminal = Terminal::default();
        assert!(terminal.confirm("Delete it?", true).is_ok());
        let refused = terminal.confirm("Delete it?", false).unwrap_err();
        assert_eq!(refused.to_string(), "error: Delete it? Without a terminal to ask on, say --yes\n");
    }
}
