//! Operating systems: what a policy says, and what each marketplace calls it.
//!
//! Policies say TensorDock v0's words (`Ubuntu 22.04 LTS`), the default among them. A marketplace with words of its own
//! has a column here; any column's word may be said, and each is put into the other marketplaces' words where they have
//! one. The table is help and not law: a name that no row has is sent as it is, for a vendor may offer what nobody wrote
//! down, and [`is_spelt`] lets a check warn of it.

use super::catalogue::Vocabulary;

/// One operating system, and who calls it what; `None`: not offered there, as far as anybody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// TensorDock v0's word (documented, the vendor's dashboard).
    pub tensordock_v0: Option<&'static str>,
    /// TensorDock v2's word (recorded 2026-04).
    pub tensordock_v2: Option<&'static str>,
    /// Vectordash's word (documented, its reference).
    pub vectordash: Option<&'static str>,
}

impl Image {
    /// What a marketplace calls it.
    pub const fn spelling(&self, vocabulary: Vocabulary) -> Option<&'static str> {
        match vocabulary {
            Vocabulary::TensordockV0 => self.tensordock_v0,
            Vocabulary::TensordockV2 => self.tensordock_v2,
            Vocabulary::Vectordash => self.vectordash,
            // Nothing runs in its VMs.
            Vocabulary::Trace => None,
        }
    }
}

const fn both(v0: &'static str, v2: &'static str) -> Image {
    Image { tensordock_v0: Some(v0), tensordock_v2: Some(v2), vectordash: None }
}

const fn of_v0(v0: &'static str) -> Image {
    Image { tensordock_v0: Some(v0), tensordock_v2: None, vectordash: None }
}

const fn of_vectordash(name: &'static str) -> Image {
    Image { tensordock_v0: None, tensordock_v2: None, vectordash: Some(name) }
}

/// All that are known. That v2's `_ml_` images are v0's `TensorML 24` ones is assumed: both are Ubuntu 24.04 with the same
/// three choices.
pub const IMAGES: &[Image] = &[
    of_v0("Ubuntu 20.04 LTS"),
    both("Ubuntu 22.04 LTS", "ubuntu2204"),
    both("Ubuntu 24.04 LTS", "ubuntu2404"),
    of_v0("TensorML 20 TensorFlow"),
    of_v0("TensorML 20 PyTorch"),
    of_v0("TensorML 20 Everything"),
    of_v0("TensorML 20 RAPIDS"),
    both("TensorML 24 TensorFlow", "ubuntu2404_ml_tensorflow"),
    both("TensorML 24 PyTorch", "ubuntu2404_ml_pytorch"),
    both("TensorML 24 Everything", "ubuntu2404_ml_everything"),
    both("Windows 10", "windows10"),
    of_vectordash("deep-learning-box"),
    of_vectordash("fastai"),
];

fn known(vocabulary: Vocabulary, name: &str) -> Option<&'static str> {
    let called = |image: &&Image| {
        Vocabulary::ALL
            .iter()
            .filter_map(|vocabulary| image.spelling(*vocabulary))
            .any(|spelling| spelling.eq_ignore_ascii_case(name.trim()))
    };
    IMAGES.iter().find(called)?.spelling(vocabulary)
}

/// What a marketplace calls the image that a policy calls so; the name itself where nobody knows better.
pub fn spelling(vocabulary: Vocabulary, name: &str) -> &str {
    known(vocabulary, name).unwrap_or(name)
}

/// Whether it is known what a marketplace calls it.
pub fn is_spelt(vocabulary: Vocabulary, name: &str) -> bool {
    known(vocabulary, name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(vocabulary: Vocabulary, name: &str, expected: &str, is_known: bool) {
        assert_eq!((spelling(vocabulary, name), is_spelt(vocabulary, name)), (expected, is_known), "{name}");
    }

    #[test]
    fn a_policys_word_becomes_each_marketplaces_own() {
        check(Vocabulary::TensordockV2, "Ubuntu 22.04 LTS", "ubuntu2204", true);
        check(Vocabulary::TensordockV2, "tensorml 24 everything", "ubuntu2404_ml_everything", true);
        check(Vocabulary::TensordockV0, "ubuntu2404", "Ubuntu 24.04 LTS", true);
        check(Vocabulary::TensordockV2, "windows10", "windows10", true);
        check(Vocabulary::Vectordash, "fastai", "fastai", true);
    }

    #[test]
    fn what_a_marketplace_has_no_word_for_is_sent_as_it_is() {
        check(Vocabulary::TensordockV2, "Ubuntu 20.04 LTS", "Ubuntu 20.04 LTS", false);
        check(Vocabulary::Vectordash, "Ubuntu 22.04 LTS", "Ubuntu 22.04 LTS", false);
        check(Vocabulary::TensordockV2, "debian13", "debian13", false);
    }

    #[test]
    fn no_word_is_in_two_rows() {
        let mut words: Vec<String> = IMAGES
            .iter()
            .flat_map(|image| Vocabulary::ALL.iter().filter_map(|vocabulary| image.spelling(*vocabulary)))
            .map(str::to_ascii_lowercase)
            .collect();
        let all = words.len();
        words.sort();
        words.dedup();
        assert_eq!(words.len(), all);
    }
}
