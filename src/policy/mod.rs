//! The law: what a fleet's policy file says, checked.
//!
//! A [`Policy`] cannot exist unless it is coherent: it is made only by [`check()`], which reports every fault of a file at
//! once, with its place, and otherwise lets nobody change it. (One that was written down with a decision is read back as it
//! was, to recompute that decision.) Everything downstream trusts it and re-checks nothing.
//!
//! ```text
//! file, named files -> Source -> tree -> raw -> check -> Policy
//!                     (source)  (tree)  (raw,   (check,
//!                                        later)  model_name)
//! ```
//!
//! Nothing here opens a file by itself: [`gather`] is handed the reader. The settings are read by the same tree, sections
//! and values, and complain in the same words.

pub mod check;
pub mod edit;
pub mod fault;
pub mod folder;
pub mod later;
pub mod model_name;
pub mod raw;
pub mod section;
pub mod source;
pub mod terms;
pub mod tree;
pub mod value;

pub use check::{Checked, Context, InstanceDefaults, SpotOffered, check};
pub use edit::{StartLimits, changed_keys, lower_limits};
pub use fault::{Fault, Severity};
pub use folder::check_folder;
pub use source::{Source, digest, gather};
pub use terms::Terms;

use std::sync::Arc;

/// A coherent policy. Reads like its [`Terms`]; cannot be changed, so that its copies share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    terms: Arc<Terms>,
}

impl std::ops::Deref for Policy {
    type Target = Terms;
    fn deref(&self) -> &Terms {
        &self.terms
    }
}

impl Policy {
    /// Terms that were a policy's when a decision was recorded: to recompute what followed from them, whatever a check of
    /// the same text would make of it by now. Nothing else may be decided on them.
    pub(crate) fn recorded(terms: Terms) -> Self {
        Self { terms: Arc::new(terms) }
    }
}

#[cfg(test)]
impl Policy {
    /// For tests of what trusts a policy: terms that the test vouches for.
    pub(crate) fn vouched(terms: Terms) -> Self {
        Self { terms: Arc::new(terms) }
    }
}
