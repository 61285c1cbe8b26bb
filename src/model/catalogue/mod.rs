//! One namespace of GPU models: what policies, plans, the journal and the metrics call them, and what each vendor does.
//!
//! The canonical name is TensorDock v0's spelling, `<model>-<interface>-<N>gb`; who spells it otherwise is in the table
//! ([`ENTRIES`]), row by row with its source. Three questions are answered here, and nothing else:
//!
//! ```text
//! a policy says   h100, h100-80gb, rtx4090, v100-sxm2   -> meant      one model, several, or one that is not in the table
//! a vendor says   Tesla V100, h100-sxm5-80gb            -> canonical  what we call it
//! we say          v100-pcie-16gb                        -> spelling   what the vendor calls it
//! ```
//!
//! **Invariant:** the table is help, not law. A model that is not in it keeps the spelling of whoever lists it, both ways,
//! and a policy may say that spelling: a new GPU needs no release. Nor does a new row change what a policy meant: each row
//! has an edition, and a text that is kept is read by the edition of its day.

mod table;

pub use table::{EDITION, ENTRIES};

use super::{GpuModel, gpu::NotAGpuModel};

labels! {
    /// Whose spellings.
    pub enum Vocabulary {
        /// TensorDock's first API.
        TensordockV0 = "tensordock-v0",
        /// TensorDock's second API, which calls the field `v0Name`.
        TensordockV2 = "tensordock-v2",
        /// Vectordash.
        Vectordash = "vectordash",
        /// Rehearsals: our own names.
        Trace = "trace",
    }
}

labels! {
    /// NVIDIA's architectures, newest first.
    pub enum Generation {
        /// 2024.
        Blackwell = "Blackwell",
        /// 2022, data centres.
        Hopper = "Hopper",
        /// 2022.
        Ada = "Ada",
        /// 2020.
        Ampere = "Ampere",
        /// 2018.
        Turing = "Turing",
        /// 2017.
        Volta = "Volta",
        /// 2016.
        Pascal = "Pascal",
    }
}

labels! {
    /// How well a spelling is known.
    pub enum Strength {
        /// The vendor's own words.
        Documented = "documented",
        /// What clients saw the API answer.
        Recorded = "recorded",
        /// Made by rule, or one of several that could be meant.
        Assumed = "assumed",
    }
}

/// Where a spelling is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The vendor's own collection of v0's calls.
    V0Collection,
    /// The vendor's page of v2.
    V2Page,
    /// Public clients of TensorDock, in whose code and logs the name was seen.
    Clients,
    /// Nobody showed this spelling: it follows from the form of the others.
    Rule,
    /// Vectordash's reference.
    VectordashReference,
    /// Vectordash's reference has the spelling; which of several models it is, is assumed.
    VectordashGuess,
}

impl Source {
    /// How well it is known.
    pub const fn strength(self) -> Strength {
        match self {
            Self::V0Collection | Self::V2Page | Self::VectordashReference => Strength::Documented,
            Self::Clients => Strength::Recorded,
            Self::Rule | Self::VectordashGuess => Strength::Assumed,
        }
    }

    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0Collection => "TensorDock's collection of v0 calls",
            Self::V2Page => "TensorDock's page of v2",
            Self::Clients => "names seen by public clients of TensorDock",
            Self::Rule => "the form of TensorDock's other names",
            Self::VectordashReference => "Vectordash's API reference",
            Self::VectordashGuess => "Vectordash's API reference, which does not say which variant it is",
        }
    }
}

/// One vendor's word for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// As the vendor writes it.
    pub text: &'static str,
    /// Where it is known from.
    pub source: Source,
}

/// One model that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The canonical name.
    pub name: &'static str,
    /// Its architecture.
    pub generation: Generation,
    /// The edition of the table that brought it.
    pub edition: u32,
    /// What TensorDock v0 calls it, where it lists it.
    pub tensordock_v0: Option<Spelling>,
    /// What TensorDock v2 calls it, where it lists it.
    pub tensordock_v2: Option<Spelling>,
    /// What Vectordash calls it, where it lists it.
    pub vectordash: Option<Spelling>,
}

/// A name taken apart: `h100-sxm5-80gb`, or as much of it as was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts<'n> {
    base: &'n str,
    interface: Option<&'n str>,
    vram_gb: Option<u32>,
}

fn is_interface(part: &str) -> bool {
    matches!(part, "pcie" | "nvlink")
        || part.strip_prefix("sxm").is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
}

fn parts(name: &str) -> Parts<'_> {
    let mut rest = name;
    let mut vram_gb = None;
    if let Some((front, last)) = rest.rsplit_once('-')
        && let Some(size) = last.strip_suffix("gb").and_then(|size| size.parse().ok())
    {
        (rest, vram_gb) = (front, Some(size));
    }
    match rest.rsplit_once('-') {
        Some((base, last)) if is_interface(last) => Parts { base, interface: Some(last), vram_gb },
        _ => Parts { base: rest, interface: None, vram_gb },
    }
}

/// What people leave out of a model's first part, the best form first: `geforcertx4090` is `rtx4090` and `4090`. A
/// workstation card's number alone says too little (`6000`), and `rtx4000` is said of two generations.
fn nicknames(base: &str) -> Vec<&str> {
    if let Some(short) = base.strip_prefix("geforce") {
        vec![short, base, short.trim_start_matches(|letter: char| letter.is_ascii_alphabetic())]
    } else if base.starts_with("rtxa") {
        vec![base.trim_start_matches("rtx"), base]
    } else if let Some(short) = base.strip_prefix("quadro") {
        vec![base, short]
    } else if let Some(short) = base.strip_suffix("ada") {
        vec![base, short]
    } else {
        vec![base]
    }
}

impl Entry {
    /// One vendor's word for it.
    pub const fn spelling(&self, vocabulary: Vocabulary) -> Option<Spelling> {
        match vocabulary {
            Vocabulary::TensordockV0 => self.tensordock_v0,
            Vocabulary::TensordockV2 => self.tensordock_v2,
            Vocabulary::Vectordash => self.vectordash,
            // They are called what we call them.
            Vocabulary::Trace => None,
        }
    }

    /// As a model.
    pub fn model(&self) -> GpuModel {
        self.name.parse().expect("the catalogue's names are well-formed, which a test says")
    }

    /// Memory per GPU, in GB.
    pub fn vram_gb(&self) -> u32 {
        parts(self.name).vram_gb.unwrap_or(0)
    }

    /// How it is connected: `pcie`, `nvlink`, `sxm4`.
    pub fn interface(&self) -> &'static str {
        parts(self.name).interface.unwrap_or_default()
    }

    /// The shortest that a policy may say for it.
    pub fn short(&self) -> String {
        let Parts { base, interface, vram_gb } = parts(self.name);
        let nickname = nicknames(base).first().copied().unwrap_or(base);
        let (interface, vram_gb) = (interface.unwrap_or_default(), vram_gb.unwrap_or(0));
        let forms = [
            nickname.to_owned(),
            format!("{nickname}-{vram_gb}gb"),
            format!("{nickname}-{interface}"),
            format!("{nickname}-{interface}-{vram_gb}gb"),
        ];
        let is_this = |form: &String| matches!(candidates(form, EDITION)[..], [one] if one.name == self.name);
        forms.into_iter().find(is_this).unwrap_or_else(|| self.name.to_owned())
    }

    fn is_called(&self, base: &str) -> bool {
        nicknames(parts(self.name).base).contains(&base)
    }
}

/// The rows that an edition had.
fn entries(edition: u32) -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter().filter(move |entry| entry.edition <= edition)
}

/// The rows that a name may mean: the one of that very name, or all that have what it says.
fn candidates(name: &str, edition: u32) -> Vec<&'static Entry> {
    if let Some(exact) = entries(edition).find(|entry| entry.name == name) {
        return vec![exact];
    }
    let said = parts(name);
    let has = |entry: &&Entry| {
        let interface = said.interface.is_none_or(|interface| {
            let own = entry.interface();
            interface == own || (interface == "sxm" && own.starts_with("sxm"))
        });
        entry.is_called(said.base) && interface && said.vram_gb.is_none_or(|vram_gb| vram_gb == entry.vram_gb())
    };
    entries(edition).filter(has).collect()
}

/// What a name in a policy means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// This model of the table.
    Known(&'static Entry),
    /// Any of these; never fewer than two.
    Ambiguous(Vec<&'static Entry>),
    /// Nothing in the table: a spelling that only the marketplace knows, or a slip.
    Unknown,
}

/// What a name means by the table of an edition: exact, or short for what only one model has.
pub fn meant(name: &GpuModel, edition: u32) -> Meant {
    let found = candidates(name.as_str(), edition);
    match found[..] {
        [] => Meant::Unknown,
        [one] => Meant::Known(one),
        _ => Meant::Ambiguous(found),
    }
}

/// The rows that share a name's first part, for a name that means none of them: `h100-40gb` has an `h100-sxm5-80gb`.
pub fn kin(name: &str) -> Vec<&'static Entry> {
    let base = parts(name).base;
    ENTRIES.iter().filter(|entry| entry.is_called(base)).collect()
}

/// What we call the model that a vendor spells so. One that is not in the table keeps the vendor's spelling, made of what
/// a [`GpuModel`] may have; where policies would take that for a short name of other models, `-<vocabulary>` follows it.
///
/// # Errors
/// When the text cannot be a model.
pub fn canonical(vocabulary: Vocabulary, spelling: &str) -> Result<GpuModel, NotAGpuModel> {
    let spelling = spelling.trim();
    let listed = |entry: &&Entry| {
        entry.spelling(vocabulary).is_some_and(|own| own.text.eq_ignore_ascii_case(spelling)) || entry.name == spelling
    };
    if let Some(entry) = ENTRIES.iter().find(listed) {
        return Ok(entry.model());
    }
    let plain: GpuModel = match vocabulary {
        Vocabulary::TensordockV0 | Vocabulary::TensordockV2 => spelling.parse()?,
        Vocabulary::Vectordash | Vocabulary::Trace => hyphenated(spelling).parse()?,
    };
    let taken = match meant(&plain, EDITION) {
        Meant::Known(entry) => entry.name != plain.as_str(),
        Meant::Ambiguous(_) => true,
        Meant::Unknown => own_spelling(vocabulary, plain.as_str()).is_some(),
    };
    if taken { format!("{plain}-{vocabulary}").parse() } else { Ok(plain) }
}

/// Every run of what a [`GpuModel`] cannot have as one `-`: `Titan RTX` is `titan-rtx`.
fn hyphenated(spelling: &str) -> String {
    let words = spelling.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

fn own_spelling(vocabulary: Vocabulary, name: &str) -> Option<&str> {
    name.strip_suffix(vocabulary.as_str())?.strip_suffix('-')
}

/// What a vendor calls a model. `None` where it cannot be told: what Vectordash lists beyond the table is rented by the
/// spelling it was listed under, which its dialect keeps.
pub fn spelling(vocabulary: Vocabulary, model: &GpuModel) -> Option<&str> {
    let entry = ENTRIES.iter().find(|entry| entry.name == model.as_str());
    if let Some(own) = entry.and_then(|entry| entry.spelling(vocabulary)) {
        return Some(own.text);
    }
    match vocabulary {
        Vocabulary::TensordockV0 | Vocabulary::TensordockV2 | Vocabulary::Trace => {
            Some(own_spelling(vocabulary, model.as_str()).unwrap_or_else(|| model.as_str()))
        }
        Vocabulary::Vectordash => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn model(name: &str) -> GpuModel {
        name.parse().unwrap()
    }

    #[track_caller]
    fn check(name: &str, expected: &[&str]) {
        let names: Vec<&str> = match meant(&model(name), EDITION) {
            Meant::Known(entry) => vec![entry.name],
            Meant::Ambiguous(entries) => entries.iter().map(|entry| entry.name).collect(),
            Meant::Unknown => Vec::new(),
        };
        assert_eq!(names, expected, "{name}");
    }

    #[test]
    fn a_short_name_means_the_one_model_that_has_all_it_says() {
        for name in ["h100", "h100-80gb", "h100-sxm", "h100-sxm5", "H100-SXM5-80GB", "h100-sxm-80gb"] {
            check(name, &["h100-sxm5-80gb"]);
        }
        for name in ["4090", "rtx4090", "geforcertx4090", "rtx4090-24gb", "4090-pcie"] {
            check(name, &["geforcertx4090-pcie-24gb"]);
        }
        check("3080", &["geforcertx3080-pcie-10gb"]);
        check("3080ti", &["geforcertx3080ti-pcie-12gb"]);
        check("a6000", &["rtxa6000-pcie-48gb"]);
        check("l40", &["l40-pcie-48gb"]);
        check("v100-32gb", &["v100-sxm3-32gb"]);
        check("v100-sxm2", &["v100-sxm2-16gb"]);
        check("gtx1080", &["geforcegtx1080-pcie-8gb"]);
        check("titanv", &["titanv-pcie-12gb"]);
    }

    #[test]
    fn a_name_of_several_models_means_them_all() {
        check("a100", &["a100-sxm4-80gb", "a100-pcie-80gb", "a100-pcie-40gb", "a100-nvlink-40gb"]);
        check("a100-80gb", &["a100-sxm4-80gb", "a100-pcie-80gb"]);
        check("a100-pcie", &["a100-pcie-80gb", "a100-pcie-40gb"]);
        check("v100-sxm", &["v100-sxm3-32gb", "v100-sxm2-16gb"]);
        check("rtx4000", &["rtx4000ada-pcie-20gb", "quadrortx4000-pcie-8gb"]);
    }

    #[test]
    fn what_the_table_does_not_have_is_unknown_and_never_something_near() {
        for name in
            ["h200", "h10", "h100-40gb", "h100-pcie-80gb", "6000", "mystery", "-", "-80gb", "pcie", "80gb", "rtx"]
        {
            check(name, &[]);
        }
        assert_eq!(kin("h100-pcie-80gb").iter().map(|entry| entry.name).collect::<Vec<_>>(), ["h100-sxm5-80gb"]);
        assert_eq!(kin("h200"), Vec::<&Entry>::new());
    }

    #[test]
    fn a_text_is_read_by_the_edition_of_its_day() {
        assert_eq!(meant(&model("h100"), 0), Meant::Unknown);
        assert_eq!(meant(&model("a100"), 0), Meant::Unknown);
        assert!(ENTRIES.iter().all(|entry| (1..=EDITION).contains(&entry.edition)));
    }

    #[test]
    fn every_row_is_well_formed_and_there_once() {
        let mut spellings = BTreeSet::new();
        for entry in ENTRIES {
            let Parts { base, interface, vram_gb } = parts(entry.name);
            assert!(!base.is_empty() && interface.is_some() && vram_gb.is_some(), "{}", entry.name);
            assert_eq!(entry.model().as_str(), entry.name);
            assert_eq!(entry.model().vram_gb(), Some(entry.vram_gb()));
            assert!(spellings.insert(("name", entry.name.to_owned())), "{}", entry.name);
            let own = Vocabulary::ALL.iter().filter_map(|vocabulary| Some((vocabulary, entry.spelling(*vocabulary)?)));
            let own: Vec<_> = own.collect();
            assert!(!own.is_empty(), "{} is listed by nobody", entry.name);
            for (vocabulary, spelling) in own {
                let lower = spelling.text.to_ascii_lowercase();
                assert!(spellings.insert((vocabulary.as_str(), lower)), "{}", spelling.text);
            }
            check(&entry.short(), &[entry.name]);
        }
        assert!(ENTRIES.is_sorted_by_key(|entry| entry.generation), "newest first");
    }

    #[test]
    fn the_shortest_name_is_the_one_people_say() {
        let short = |name: &str| ENTRIES.iter().find(|entry| entry.name == name).unwrap().short();
        assert_eq!(short("h100-sxm5-80gb"), "h100");
        assert_eq!(short("geforcertx4090-pcie-24gb"), "rtx4090");
        assert_eq!(short("rtxa6000-pcie-48gb"), "a6000");
        assert_eq!(short("a100-sxm4-80gb"), "a100-sxm4");
        assert_eq!(short("a100-pcie-40gb"), "a100-pcie-40gb");
        assert_eq!(short("v100-sxm3-32gb"), "v100-32gb");
        assert_eq!(short("quadrortx4000-pcie-8gb"), "quadrortx4000");
    }

    #[test]
    fn every_spelling_of_the_table_goes_both_ways() {
        for entry in ENTRIES {
            for vocabulary in Vocabulary::ALL.iter().copied() {
                if let Some(own) = entry.spelling(vocabulary) {
                    assert_eq!(canonical(vocabulary, own.text), Ok(entry.model()), "{vocabulary}");
                    assert_eq!(canonical(vocabulary, &own.text.to_uppercase()), Ok(entry.model()), "{vocabulary}");
                    assert_eq!(spelling(vocabulary, &entry.model()), Some(own.text), "{vocabulary}");
                }
            }
        }
        assert_eq!(canonical(Vocabulary::Vectordash, "Tesla V100"), Ok(model("v100-pcie-16gb")));
        assert_eq!(spelling(Vocabulary::Vectordash, &model("geforcegtx1080ti-pcie-11gb")), Some("1080 ti"));
        assert_eq!(spelling(Vocabulary::Vectordash, &model("h100-sxm5-80gb")), None);
    }

    /// All that the vendor's documents and its public clients show of TensorDock's names, and Vectordash's whole list.
    #[test]
    fn every_name_that_was_ever_shown_is_in_the_table() {
        for name in "h100-sxm5-80gb a100-pcie-80gb a100-pcie-40gb a100-sxm4-80gb a100-nvlink-40gb l40-pcie-48gb \
                     l40s-pcie-48gb a40-pcie-48gb v100-pcie-16gb v100-sxm2-16gb v100-nvlink-16gb v100-sxm3-32gb \
                     rtx6000ada-pcie-48gb rtx5000ada-pcie-32gb rtx4500ada-pcie-24gb rtx4000ada-pcie-20gb \
                     rtx4000sffada-pcie-20gb rtxa6000-pcie-48gb rtxa5000-pcie-24gb rtxa4000-pcie-16gb \
                     geforcertx5090-pcie-32gb geforcertx4090-pcie-24gb geforcertx3090-pcie-24gb \
                     geforcertx3080ti-pcie-12gb geforcertx3080-pcie-10gb geforcertx3070ti-pcie-8gb \
                     geforcertx3070-pcie-8gb geforcertx3060ti-pcie-8gb geforcertx3060-pcie-12gb \
                     geforcegtx1070-pcie-8gb quadrortx4000-pcie-8gb quadrortx5000-pcie-16gb"
            .split_whitespace()
        {
            let entry = ENTRIES.iter().find(|entry| entry.name == name).unwrap_or_else(|| panic!("{name}"));
            for vocabulary in [Vocabulary::TensordockV0, Vocabulary::TensordockV2] {
                assert_eq!(entry.spelling(vocabulary).map(|own| own.text), Some(name), "{vocabulary}");
            }
        }
        let reference =
            ["1060 6GB", "1070", "1070 ti", "1080", "Titan X", "1080 ti", "Titan Xp", "Titan V", "Tesla V100"];
        for name in reference {
            let model = canonical(Vocabulary::Vectordash, name).unwrap();
            assert_eq!(spelling(Vocabulary::Vectordash, &model), Some(name));
            assert!(matches!(meant(&model, EDITION), Meant::Known(_)), "{name}");
        }
    }

    #[test]
    fn a_model_that_is_not_in_the_table_keeps_its_spelling_and_can_be_said() {
        let check = |vocabulary: Vocabulary, listed: &str, expected: &str| {
            let name = canonical(vocabulary, listed).unwrap();
            assert_eq!(name.as_str(), expected, "{listed}");
            assert_eq!(meant(&name, EDITION), Meant::Unknown, "{listed}");
            if vocabulary != Vocabulary::Vectordash {
                assert_eq!(spelling(vocabulary, &name), Some(listed));
            }
        };
        check(Vocabulary::TensordockV0, "h200-sxm5-141gb", "h200-sxm5-141gb");
        check(Vocabulary::TensordockV2, "gb300", "gb300");
        check(Vocabulary::Vectordash, "Titan  RTX (24)", "titan-rtx-24");
        // A policy that says `h100` or `a100` means others.
        check(Vocabulary::TensordockV0, "h100", "h100-tensordock-v0");
        check(Vocabulary::Vectordash, "A100", "a100-vectordash");
        check(Vocabulary::TensordockV2, "x-tensordock-v2", "x-tensordock-v2-tensordock-v2");
        assert!(canonical(Vocabulary::TensordockV0, "RTX 4090").is_err());
        assert!(canonical(Vocabulary::Vectordash, " ?! ").is_err());
    }
}
