//! The rows of the catalogue: which models are known, and who spells them how.
//!
//! Memory and interface are in the canonical name and are not said twice. Generations are common knowledge; Vectordash
//! says two of them itself (documented). A new row gets the next [`EDITION`]; rows are never taken out and never renamed,
//! for policies and journals hold their names.

use super::{Entry, Generation, Source, Spelling};

/// The edition of the newest rows. Raise it with every release that adds some.
pub const EDITION: u32 = 1;

/// A model that TensorDock lists: both of its APIs take one spelling, which is the canonical name.
const fn tensordock(name: &'static str, generation: Generation, v0: Source, v2: Source) -> Entry {
    Entry {
        name,
        generation,
        edition: EDITION,
        tensordock_v0: Some(Spelling { text: name, source: v0 }),
        tensordock_v2: Some(Spelling { text: name, source: v2 }),
        vectordash: None,
    }
}

/// A model that Vectordash lists; the canonical name is made by TensorDock's rule.
const fn vectordash(name: &'static str, generation: Generation, spelling: &'static str) -> Entry {
    Entry {
        name,
        generation,
        edition: EDITION,
        tensordock_v0: None,
        tensordock_v2: None,
        vectordash: Some(Spelling { text: spelling, source: Source::VectordashReference }),
    }
}

/// Listed by Vectordash as this, and known from there.
const fn also(entry: Entry, spelling: &'static str, source: Source) -> Entry {
    Entry { vectordash: Some(Spelling { text: spelling, source }), ..entry }
}

const COLLECTION: Source = Source::V0Collection;
const V2_PAGE: Source = Source::V2Page;
const SEEN: Source = Source::Clients;
const RULE: Source = Source::Rule;

/// All that are known, newest generation first.
pub const ENTRIES: &[Entry] = &[
    tensordock("geforcertx5090-pcie-32gb", Generation::Blackwell, SEEN, SEEN),
    tensordock("h100-sxm5-80gb", Generation::Hopper, COLLECTION, V2_PAGE),
    tensordock("l40s-pcie-48gb", Generation::Ada, SEEN, SEEN),
    tensordock("l40-pcie-48gb", Generation::Ada, COLLECTION, SEEN),
    tensordock("rtx6000ada-pcie-48gb", Generation::Ada, SEEN, SEEN),
    tensordock("rtx5000ada-pcie-32gb", Generation::Ada, SEEN, SEEN),
    tensordock("rtx4500ada-pcie-24gb", Generation::Ada, SEEN, SEEN),
    tensordock("rtx4000ada-pcie-20gb", Generation::Ada, SEEN, SEEN),
    // Seen without its memory, which is NVIDIA's.
    tensordock("rtx4000sffada-pcie-20gb", Generation::Ada, RULE, RULE),
    tensordock("geforcertx4090-pcie-24gb", Generation::Ada, COLLECTION, V2_PAGE),
    tensordock("a100-sxm4-80gb", Generation::Ampere, SEEN, SEEN),
    tensordock("a100-pcie-80gb", Generation::Ampere, SEEN, SEEN),
    tensordock("a100-pcie-40gb", Generation::Ampere, SEEN, SEEN),
    tensordock("a100-nvlink-40gb", Generation::Ampere, SEEN, SEEN),
    tensordock("a40-pcie-48gb", Generation::Ampere, SEEN, SEEN),
    tensordock("rtxa6000-pcie-48gb", Generation::Ampere, COLLECTION, SEEN),
    tensordock("rtxa5000-pcie-24gb", Generation::Ampere, SEEN, SEEN),
    tensordock("rtxa4000-pcie-16gb", Generation::Ampere, COLLECTION, SEEN),
    tensordock("geforcertx3090-pcie-24gb", Generation::Ampere, COLLECTION, SEEN),
    tensordock("geforcertx3080ti-pcie-12gb", Generation::Ampere, SEEN, SEEN),
    tensordock("geforcertx3080-pcie-10gb", Generation::Ampere, COLLECTION, SEEN),
    tensordock("geforcertx3070ti-pcie-8gb", Generation::Ampere, SEEN, SEEN),
    tensordock("geforcertx3070-pcie-8gb", Generation::Ampere, SEEN, SEEN),
    tensordock("geforcertx3060ti-pcie-8gb", Generation::Ampere, SEEN, SEEN),
    tensordock("geforcertx3060-pcie-12gb", Generation::Ampere, SEEN, SEEN),
    tensordock("quadrortx5000-pcie-16gb", Generation::Turing, SEEN, SEEN),
    tensordock("quadrortx4000-pcie-8gb", Generation::Turing, SEEN, SEEN),
    // Recorded in a price list as `V100-32 SXM3`.
    tensordock("v100-sxm3-32gb", Generation::Volta, RULE, RULE),
    tensordock("v100-sxm2-16gb", Generation::Volta, COLLECTION, SEEN),
    tensordock("v100-nvlink-16gb", Generation::Volta, SEEN, SEEN),
    // Vectordash says neither interface nor memory; its hosts are workstations, so the plainest one is meant.
    also(tensordock("v100-pcie-16gb", Generation::Volta, COLLECTION, SEEN), "Tesla V100", Source::VectordashGuess),
    vectordash("titanv-pcie-12gb", Generation::Volta, "Titan V"),
    vectordash("titanxp-pcie-12gb", Generation::Pascal, "Titan Xp"),
    // Maxwell has a card of that name too, with the same memory; every card beside it in Vectordash's list is newer.
    also(vectordash("titanx-pcie-12gb", Generation::Pascal, "Titan X"), "Titan X", Source::VectordashGuess),
    vectordash("geforcegtx1080ti-pcie-11gb", Generation::Pascal, "1080 ti"),
    vectordash("geforcegtx1080-pcie-8gb", Generation::Pascal, "1080"),
    vectordash("geforcegtx1070ti-pcie-8gb", Generation::Pascal, "1070 ti"),
    also(tensordock("geforcegtx1070-pcie-8gb", Generation::Pascal, SEEN, SEEN), "1070", Source::VectordashReference),
    vectordash("geforcegtx1060-pcie-6gb", Generation::Pascal, "1060 6GB"),
];
