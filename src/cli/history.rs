//! `history`: decisions and events, newest first.

use super::{
    Context,
    args::HistoryArguments,
    failure::{Ending, Failure},
    say::say,
    source::Source,
    terminal::{Column, Field, Terminal},
    text,
};
use crate::admin::views::{DecisionView, DecisionsView};

/// Asks and tells.
///
/// # Errors
/// When nobody can be asked.
pub fn history(context: &Context, arguments: &HistoryArguments) -> Result<Ending, Failure> {
    let HistoryArguments { fleet, since, kind, asking } = arguments;
    let view = {
        let _progress = context.terminal.progress("looking");
        context.block_on(async {
            Source::open(context, asking).await?.history(fleet.as_ref(), kind.as_deref(), *since).await
        })?
    };
    if asking.json {
        context.print_json(&view)?;
    } else {
        say!("{}", show(&context.terminal, &view));
    }
    Ok(Ending::Done)
}

const COLUMNS: [Column; 6] = [
    Column::Text("AT"),
    Column::Text("ID"),
    Column::Text("KIND"),
    Column::Text("FLEET"),
    Column::Aside("ABOUT"),
    Column::Aside("WHAT"),
];

fn show(terminal: &Terminal, view: &DecisionsView) -> String {
    if view.decisions.is_empty() {
        return "nothing is kept of that".to_owned();
    }
    terminal.table(&COLUMNS, view.decisions.iter().map(row).collect())
}

fn row(row: &DecisionView) -> Vec<Field> {
    vec![
        text::moment(row.at).into(),
        Field::from(&row.id),
        Field::from(&row.kind),
        Field::maybe(row.fleet.as_ref()),
        Field::maybe(row.subject.as_ref().filter(|subject| **subject != row.id)),
        Field::from(row.lines.join("\n")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_moment_and_what_was_done() {
        let json = r#"{"decisions": [{"id": "8", "sequence": 8, "at": "2026-11-20T18:04:59Z", "kind": "decision",
            "fleet": "train", "lines": ["deploy 2 x l40", "ask h7"]}]}"#;
        let expected = "\
AT                    ID  KIND      FLEET  ABOUT  WHAT
2026-11-20T18:04:59Z  8   decision  train  -      deploy 2 x l40; ask h7";
        assert_eq!(show(&Terminal::default(), &serde_json::from_str(json).unwrap()), expected);
    }
}
