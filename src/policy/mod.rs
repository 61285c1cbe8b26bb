//! The law: what a fleet's policy file says, checked.
//!
//! A [`Policy`] cannot exist unless it is coherent: it is made only by [`check`], which reports every fault of a file at
//! once, with its place, and otherwise lets nobody change it. Everything downstream trusts it and re-checks nothing.

pub mod terms;

pub use terms::Terms;

/// A coherent policy. Reads like its [`Terms`]; cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    terms: Terms,
}

impl std::ops::Deref for Policy {
    type Target = Terms;
    fn deref(&self) -> &Terms {
        &self.terms
    }
}

#[cfg(test)]
impl Policy {
    /// For tests of what trusts a policy: terms that the test vouches for.
    pub(crate) fn vouched(terms: Terms) -> Self {
        Self { terms }
    }
}
