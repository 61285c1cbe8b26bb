//! `models`: the GPU models that are known, how each may be said in a policy, and what every API calls it.
//!
//! Asks nobody and reads no settings: the catalogue is part of the program. What a marketplace lists beyond it can be
//! rented too, by the spelling that `offers` and `why-not` show.

use super::{
    Context,
    args::ModelsArguments,
    failure::{Ending, Failure},
    say::say,
    terminal::{Column, Field, Terminal},
    text,
};
use crate::{
    model::catalogue::{self, ENTRIES, Entry, Meant, Vocabulary},
    policy::model_name,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// All of `--json`.
#[derive(Debug, Serialize)]
struct ModelsView {
    models: Vec<ModelView>,
}

/// One model.
#[derive(Debug, Serialize)]
struct ModelView {
    name: &'static str,
    short: String,
    vram_gb: u32,
    generation: &'static str,
    interface: &'static str,
    /// By API; only those that list it.
    spellings: BTreeMap<&'static str, SpellingView>,
}

/// What one API calls it.
#[derive(Debug, Serialize)]
struct SpellingView {
    spelling: &'static str,
    strength: &'static str,
    source: &'static str,
}

fn view(entry: &Entry) -> ModelView {
    let spelling = |vocabulary: &Vocabulary| {
        let spelling = entry.spelling(*vocabulary)?;
        let (strength, source) = (spelling.source.strength().as_str(), spelling.source.as_str());
        Some((vocabulary.as_str(), SpellingView { spelling: spelling.text, strength, source }))
    };
    ModelView {
        name: entry.name,
        short: entry.short(),
        vram_gb: entry.vram_gb(),
        generation: entry.generation.as_str(),
        interface: entry.interface(),
        spellings: Vocabulary::ALL.iter().filter_map(spelling).collect(),
    }
}

/// Lists them.
///
/// # Errors
/// When a name is asked for that the catalogue does not have.
pub fn models(context: &Context, arguments: &ModelsArguments) -> Result<Ending, Failure> {
    let ModelsArguments { name, json } = arguments;
    let entries: Vec<&Entry> = match name {
        None => ENTRIES.iter().collect(),
        Some(name) => match catalogue::meant(name, catalogue::EDITION) {
            Meant::Known(entry) => vec![entry],
            Meant::Ambiguous(entries) => entries,
            Meant::Unknown => {
                let near = model_name::suggestion(name.as_str());
                return Err(Failure::failed(format!("`{name}` is not a model of the catalogue; {near}")));
            }
        },
    };
    if *json {
        context.print_json(&ModelsView { models: entries.into_iter().map(view).collect() })?;
    } else {
        say!("{}", show(&context.terminal, &entries));
    }
    Ok(Ending::Done)
}

/// What stands for a spelling that is the name itself.
const SAME: &str = "same";

fn show(terminal: &Terminal, entries: &[&Entry]) -> String {
    let columns = [
        Column::Text("NAME"),
        Column::Text("SHORT"),
        Column::Figure("GB"),
        Column::Text("GENERATION"),
        Column::Text("INTERFACE"),
        Column::Text("TENSORDOCK-V0"),
        Column::Text("TENSORDOCK-V2"),
        Column::Text("VECTORDASH"),
    ];
    let row = |entry: &&Entry| {
        let spelling = |vocabulary: &Vocabulary| {
            let spelling = entry.spelling(*vocabulary).map(|spelling| spelling.text);
            Field::maybe(spelling.map(|spelling| if spelling == entry.name { SAME } else { spelling }))
        };
        let mut row: Vec<Field> = vec![
            entry.name.into(),
            entry.short().into(),
            entry.vram_gb().into(),
            entry.generation.into(),
            entry.interface().into(),
        ];
        row.extend(Vocabulary::ALL.iter().map(spelling));
        row
    };
    let table = terminal.table(&columns, entries.iter().map(row).collect());
    let count = text::count(entries.len() as u64, "model");
    format!("{count}; a policy may say NAME, SHORT, or as much as tells one from all others\n{table}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(name: &str) -> Vec<&'static Entry> {
        match catalogue::meant(&name.parse().unwrap(), catalogue::EDITION) {
            Meant::Known(entry) => vec![entry],
            Meant::Ambiguous(entries) => entries,
            Meant::Unknown => Vec::new(),
        }
    }

    #[test]
    fn a_table_says_how_a_model_may_be_said_and_what_others_call_it() {
        let shown = show(&Terminal::default(), &[entries("v100"), entries("titanv")].concat());
        let expected = "\
5 models; a policy may say NAME, SHORT, or as much as tells one from all others
NAME              SHORT        GB  GENERATION  INTERFACE  TENSORDOCK-V0  TENSORDOCK-V2  VECTORDASH
v100-sxm3-32gb    v100-32gb    32  Volta       sxm3       same           same           -
v100-sxm2-16gb    v100-sxm2    16  Volta       sxm2       same           same           -
v100-nvlink-16gb  v100-nvlink  16  Volta       nvlink     same           same           -
v100-pcie-16gb    v100-pcie    16  Volta       pcie       same           same           Tesla V100
titanv-pcie-12gb  titanv       12  Volta       pcie       -              -              Titan V";
        assert_eq!(shown, expected);
    }

    #[test]
    fn json_has_every_spelling_with_its_source() {
        let entries = entries("titanv");
        let json = serde_json::to_value(view(entries[0])).unwrap();
        let expected = serde_json::json!({
            "name": "titanv-pcie-12gb", "short": "titanv", "vram_gb": 12, "generation": "Volta", "interface": "pcie",
            "spellings": {"vectordash":
                {"spelling": "Titan V", "strength": "documented", "source": "Vectordash's API reference"}},
        });
        assert_eq!(json, expected);
    }
}
