//! What a policy calls a GPU model, and which one that is.
//!
//! A name may be exact (`h100-sxm5-80gb`) or say only as much as tells one model of the catalogue from all others (`h100`).
//! One that says too little is a fault that lists what it may mean. One that the catalogue does not have is taken as it
//! stands, with a warning: it may be a slip, or a GPU that is newer than this program.

use super::{
    fault::{Complaint, Findings, nearest},
    raw::RawModel,
    tree::Node,
    value::{self, listed},
};
use crate::model::{
    GpuModel,
    catalogue::{self, Entry, Meant},
};

const GRAMMAR: &str = "a GPU model is lower-case letters, digits and -, such as \"h100-sxm5-80gb\" or \"h100\"";
const ALL_OF_THEM: &str = "`spotscale models` lists all that are known";

/// A name, as it is written.
pub fn read(node: &Node) -> Result<GpuModel, Complaint> {
    let text = value::text(node)?;
    text.parse().map_err(|_| {
        // `RTX 4090`, `Titan V`: as people and other vendors write it.
        let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
        Complaint::new("is not acceptable", GRAMMAR, suggestion(&plain.to_lowercase()))
    })
}

fn names(entries: &[&Entry]) -> String {
    listed(entries.iter().map(|entry| entry.name))
}

/// For a name that the catalogue does not have: the models of the same first part, else the nearest name.
pub fn suggestion(name: &str) -> String {
    let kin = catalogue::kin(name);
    if !kin.is_empty() {
        return format!("did you mean {}?", names(&kin).replace(", ", " or "));
    }
    let shorts: Vec<String> = catalogue::ENTRIES.iter().map(Entry::short).collect();
    let known = catalogue::ENTRIES.iter().map(|entry| entry.name).chain(shorts.iter().map(String::as_str));
    match nearest(name, known) {
        Some(near) => format!("did you mean \"{near}\"? {ALL_OF_THEM}"),
        None => ALL_OF_THEM.to_owned(),
    }
}

/// The models that are meant, by the catalogue of an edition. One that may be several is a fault, and left out.
pub fn resolve(models: &[RawModel], edition: u32, findings: &mut Findings) -> Vec<RawModel> {
    let one = |model: &RawModel| {
        let mut model = model.clone();
        match catalogue::meant(&model.name.value, edition) {
            Meant::Known(entry) => model.name.value = entry.model(),
            Meant::Ambiguous(entries) => {
                let why = "they differ in memory, interface or price";
                let remedy = format!("write the one you mean, or each: {}", names(&entries));
                findings.fault(&model.name, format!("may mean {} models", entries.len()), why, remedy);
                return None;
            }
            Meant::Unknown => {
                let why = "only a marketplace that lists it under that very name has it";
                findings.warn(
                    &model.name,
                    "is not a model of the catalogue",
                    why,
                    suggestion(model.name.value.as_str()),
                );
            }
        }
        Some(model)
    };
    models.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_suggested_and_kin_come_first() {
        assert_eq!(suggestion("h100-pcie-80gb"), "did you mean \"h100-sxm5-80gb\"?");
        assert_eq!(suggestion("rtx4090"), "did you mean \"geforcertx4090-pcie-24gb\"?");
        assert_eq!(suggestion("rtx4000"), "did you mean \"rtx4000ada-pcie-20gb\" or \"quadrortx4000-pcie-8gb\"?");
        assert_eq!(suggestion("h1000"), "did you mean \"h100\"? `spotscale models` lists all that are known");
        assert_eq!(
            suggestion("h100-sxm5-80bg"),
            "did you mean \"h100-sxm5-80gb\"? `spotscale models` lists all that are known"
        );
        assert_eq!(suggestion("something-else"), "`spotscale models` lists all that are known");
    }
}
