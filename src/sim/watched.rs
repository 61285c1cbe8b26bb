//! Something that knows whether it may have changed.
//!
//! What a marketplace lists of a quiet world is the same as a moment ago, and making it costs more than all else that the
//! world does. A [`Watched`] value has a [`Version`], which is another one after each time that somebody could change it:
//! whoever keeps something that was made of it keeps the version too. Who changes what cannot be seen from there says so
//! ([`Watched::quietly`]).

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, OnceLock},
};

/// A value as it is until somebody could change it. Two are the same where nobody could meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Version(Arc<()>);

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Version {}

/// A value and its version.
#[derive(Clone, Debug)]
pub(super) struct Watched<T> {
    value: T,
    version: OnceLock<Version>,
}

impl<T> Watched<T> {
    /// The version that it has now.
    pub fn version(&self) -> Version {
        self.version.get_or_init(|| Version(Arc::new(()))).clone()
    }

    /// The value, for a change that nothing which was made of it shows.
    pub fn quietly(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> From<T> for Watched<T> {
    fn from(value: T) -> Self {
        Self { value, version: OnceLock::new() }
    }
}

/// What it is counts, not which version that is.
impl<T: PartialEq> PartialEq for Watched<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Watched<T> {}

impl<T> Deref for Watched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Watched<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.version.take();
        &mut self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_could_change_it_makes_another_version_of_it_unless_quietly() {
        let mut list: Watched<Vec<u32>> = vec![1].into();
        let first = list.version();
        assert_eq!((list.first().copied(), list.version() == first), (Some(1), true));
        list.quietly().push(2);
        assert_eq!((list.len(), list.version() == first), (2, true));
        list.reserve(0);
        assert!(list.version() != first);
    }

    #[test]
    fn a_copy_is_the_same_version_until_one_of_both_changes_and_no_other_value_is() {
        let one: Watched<Vec<u32>> = vec![1].into();
        let version = one.version();
        let (mut copy, other) = (one.clone(), Watched::from(vec![1]));
        assert!(copy.version() == version && other.version() != version && other == one);
        copy.push(2);
        assert!(copy.version() != version && one.version() == version && copy != one);
    }
}
