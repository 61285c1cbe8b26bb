//! What a person sees: tables, a spinner while something takes long, a question before something irrevocable.
//!
//! A table never breaks a name or an id in two, for they are there to be copied. Where the window is too narrow for all
//! columns, those that may stand aside move to lines of their own, below their row:
//!
//! ```text
//! NAME                    STANDING  USD/H
//! spotscale-train-k3x9-7  running   0.810
//!     203.0.113.7  20022->22  2 x l40-pcie-48gb
//!     cheapest of 12 offers
//! ```
//!
//! Off a terminal nobody knows how wide the reader is, and every row is one line.

use super::{environment::Environment, failure::Failure, text};
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::{fmt, io::BufRead, time::Duration};

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Words.
    Text(&'static str),
    /// Figures: money, counts, ages; their ends stand below each other.
    Figure(&'static str),
    /// Words that may stand below the row where the window is narrow; the last such column gives way first.
    Aside(&'static str),
}

/// How far what stands aside is moved in.
const ASIDE_INDENT: &str = "    ";
/// Between two columns, and between two things that stand aside.
const GAP: &str = "  ";

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

/// One cell. A text of several lines stands below its row line by line, and in a cell as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    text: String,
    mood: Mood,
}

/// What is shown where there is nothing.
const NOTHING: &str = "-";

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
        value.map_or_else(|| NOTHING.into(), Self::from)
    }

    /// As a cell's one line.
    fn line(&self) -> String {
        self.text.replace('\n', "; ")
    }
}

/// How wide a table may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Width {
    /// As wide as it gets.
    #[default]
    Any,
    /// As the window is when the table is made.
    Window,
    /// So many columns.
    #[cfg(test)]
    Columns(usize),
}

/// Where answers, progress and questions go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal {
    /// What tables are fitted to.
    width: Width,
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
            width: if environment.stdout_is_terminal { Width::Window } else { Width::Any },
            colour: environment.stdout_is_terminal && environment.wants_colour(),
            progress: environment.stderr_is_terminal,
            answers: environment.stdin_is_terminal && environment.stderr_is_terminal,
        }
    }

    fn width(&self) -> Option<usize> {
        match self.width {
            Width::Any => None,
            Width::Window => Table::new().width().map(usize::from),
            #[cfg(test)]
            Width::Columns(columns) => Some(columns),
        }
    }

    /// A table, each row as long as the columns; empty columns stay.
    pub fn table(&self, columns: &[Column], rows: Vec<Vec<Field>>) -> String {
        let width = self.width();
        let asides = columns.iter().enumerate().filter(|(_, column)| matches!(column, Column::Aside(_)));
        let mut aside: Vec<usize> = Vec::new();
        let mut left: Vec<usize> = asides.map(|(at, _)| at).collect();
        let mut lines = self.lines(columns, &rows, &aside);
        // Bounded by the columns that may stand aside.
        while let (Some(width), Some(at)) = (width, left.pop()) {
            if natural_width(columns, &rows, &aside) <= width {
                break;
            }
            aside.insert(0, at);
            lines = self.lines(columns, &rows, &aside);
        }
        let mut told = String::new();
        for (at, line) in lines.into_iter().enumerate() {
            told.push_str(line.trim_end());
            told.push('\n');
            // The first line is the header.
            let row = at.checked_sub(1).and_then(|at| rows.get(at)).filter(|_| !aside.is_empty());
            for line in row.into_iter().flat_map(|row| below(row, &aside, width.unwrap_or(usize::MAX))) {
                told.push_str(&line);
                told.push('\n');
            }
        }
        told.truncate(told.trim_end_matches('\n').len());
        told
    }

    /// The header and one line for each row, without the columns that stand aside.
    fn lines(&self, columns: &[Column], rows: &[Vec<Field>], aside: &[usize]) -> Vec<String> {
        let stays = |at: &usize| !aside.contains(at);
        let kept: Vec<usize> = (0..columns.len()).filter(stays).collect();
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let set = |cell: Cell, column: Column| match column {
            Column::Text(_) | Column::Aside(_) => cell,
            Column::Figure(_) => cell.set_alignment(CellAlignment::Right),
        };
        table.set_header(kept.iter().map(|&at| {
            let name = columns[at].name();
            set(Cell::new(name).add_attribute(Attribute::Bold), columns[at])
        }));
        for row in rows {
            table.add_row(kept.iter().filter_map(|&at| Some((row.get(at)?, columns[at]))).map(|(field, column)| {
                let cell = set(Cell::new(field.line()), column);
                match field.mood {
                    Mood::Plain => cell,
                    Mood::Busy => cell.fg(Color::Yellow),
                    Mood::Bad => cell.fg(Color::Red),
                }
            }));
        }
        let last = kept.len().saturating_sub(1);
        for (at, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if at == last { 0 } else { GAP.len() as u16 }));
        }
        table.lines().collect()
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

    /// Shows how much of so much is done, on a terminal; gone when dropped.
    pub fn bar(&self, doing: &'static str, of: u64) -> Progress {
        let bar = self.progress.then(|| {
            let bar = ProgressBar::new(of).with_message(doing);
            if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {elapsed}{to_go}") {
                bar.set_style(style.with_key("to_go", |state: &ProgressState, line: &mut dyn fmt::Write| {
                    let left = to_go(state.elapsed(), state.pos(), state.len().unwrap_or(0));
                    // A bar that cannot be drawn is no reason to stop.
                    let _ = left.map_or(Ok(()), |left| write!(line, ", {} to go", text::span(left)));
                }));
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
        super::say::err(format_args!("{question} [y/N] "));
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        if read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            Ok(())
        } else {
            Err(Failure::failed("nothing was done"))
        }
    }
}

impl Column {
    const fn name(&self) -> &'static str {
        match self {
            Self::Text(name) | Self::Figure(name) | Self::Aside(name) => name,
        }
    }
}

/// How wide the columns that stay are together.
fn natural_width(columns: &[Column], rows: &[Vec<Field>], aside: &[usize]) -> usize {
    let widest = |(at, column): (usize, &Column)| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|field| field.line().chars().count());
        cells.chain([column.name().chars().count()]).max().unwrap_or(0)
    };
    let stay: Vec<usize> = columns.iter().enumerate().filter(|(at, _)| !aside.contains(at)).map(widest).collect();
    stay.iter().sum::<usize>() + GAP.len() * stay.len().saturating_sub(1)
}

/// The lines below a row: short things side by side, long ones and lists on lines of their own.
fn below(row: &[Field], aside: &[usize], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut open = false;
    for text in aside.iter().filter_map(|&at| row.get(at)).map(|field| field.text.as_str()) {
        if text.is_empty() || text == NOTHING {
            continue;
        }
        let mut own: Vec<String> = text.lines().flat_map(|line| wrapped(line, width)).collect();
        let fits = |line: &String| line.chars().count() + GAP.len() + text.chars().count() <= width;
        match lines.last_mut().filter(|line| open && own.len() == 1 && fits(line)) {
            Some(line) => {
                line.push_str(GAP);
                line.push_str(text);
            }
            None => {
                open = own.len() == 1;
                lines.append(&mut own);
            }
        }
    }
    lines
}

/// Words are never broken: one that is too long is a line by itself.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= width) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(format!("{ASIDE_INDENT}{word}")),
        }
    }
    lines
}

/// A spinner or a bar, while it lives.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// One more is done.
    pub fn done(&self) {
        self.more(1);
    }

    /// So much more is done.
    pub fn more(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(done);
        }
    }

    /// So much is done.
    pub fn reached(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }
}

/// Seconds until all of it is done, should it go on as it went so far; `None` while nothing is.
fn to_go(elapsed: Duration, done: u64, of: u64) -> Option<u64> {
    let left = u128::from(of.saturating_sub(done));
    let milliseconds = elapsed.as_millis().checked_mul(left)?.checked_div(u128::from(done))?;
    u64::try_from(milliseconds.div_ceil(1_000)).ok()
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
    fn what_is_to_go_takes_as_long_as_what_was_done_and_nobody_knows_before_anything_is() {
        let seconds = |elapsed: u64, done: u64, of: u64| to_go(Duration::from_secs(elapsed), done, of);
        assert_eq!(seconds(10, 0, 100), None);
        assert_eq!(seconds(10, 1, 100), Some(990));
        assert_eq!(seconds(10, 99, 100), Some(1), "the last second is not none");
        assert_eq!([seconds(10, 100, 100), seconds(10, 101, 100)], [Some(0), Some(0)]);
        assert_eq!(seconds(u64::MAX, 1, u64::MAX), None);
    }

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

    #[track_caller]
    fn check_narrow(columns: usize, expected: &str) {
        let terminal = Terminal { width: Width::Columns(columns), ..Terminal::default() };
        let head = [Column::Text("NAME"), Column::Aside("WHERE"), Column::Figure("USD/H"), Column::Aside("WHY")];
        let row = |name: &str, place: &str, why: &str| {
            vec![Field::from(name), Field::from(place), "0.810".into(), Field::from(why)]
        };
        let rows = vec![row("vm-7", "Oslo, Norway", "cheapest of all\nand near"), row("vm-8", "-", "left over")];
        assert_eq!(terminal.table(&head, rows), expected);
    }

    #[test]
    fn what_does_not_fit_the_window_stands_below_its_row_and_no_name_is_broken() {
        check_narrow(
            52,
            "NAME  WHERE         USD/H  WHY\nvm-7  Oslo, Norway  0.810  cheapest of all; and near\n\
             vm-8  -             0.810  left over",
        );
        check_narrow(
            35,
            "NAME  WHERE         USD/H\nvm-7  Oslo, Norway  0.810\n    cheapest of all\n    and near\n\
             vm-8  -             0.810\n    left over",
        );
        check_narrow(
            18,
            "NAME  USD/H\nvm-7  0.810\n    Oslo, Norway\n    cheapest of\n    all\n    and near\n\
             vm-8  0.810\n    left over",
        );
        let narrowest = Terminal { width: Width::Columns(1), ..Terminal::default() };
        let rows = vec![vec![Field::from("a-long-name")]];
        assert_eq!(narrowest.table(&[Column::Text("NAME")], rows), "NAME\na-long-name");
    }

    #[test]
    fn nobody_is_asked_where_nobody_can_answer() {
        let terminal = Terminal::default();
        assert!(terminal.confirm("Delete it?", true).is_ok());
        let refused = terminal.confirm("Delete it?", false).unwrap_err();
        assert_eq!(refused.to_string(), "error: Delete it? Without a terminal to ask on, say --yes\n");
    }
}
