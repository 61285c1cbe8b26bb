//! A value that many hold and hardly anybody changes.
//!
//! What a marketplace listed goes from its answer to the inventory, from there into every situation that is planned on,
//! and with that into the status that the window reads: a hundred machines, a dozen times a minute, mostly the same ones.
//! A [`Shared`] is handed on without being copied. It is a value all the same: whoever changes his changes nobody else's,
//! and two are equal when what is in them is.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

/// Something that is copied only when one of its holders changes it.
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// Whether both are the same one. Those that are not may be equal.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: Clone> Shared<T> {
    /// The value itself, copied where somebody else has it too.
    pub fn into_value(self) -> T {
        Arc::unwrap_or_clone(self.0)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default> Default for Shared<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.0 == other.0
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> FromIterator<T> for Shared<Vec<T>> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        items.into_iter().collect::<Vec<T>>().into()
    }
}

impl<T: Clone> IntoIterator for Shared<Vec<T>> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_value().into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Shared<Vec<T>> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_changes_his_changes_nobody_elses() {
        let first: Shared<Vec<u32>> = [1, 2].into_iter().collect();
        let mut second = first.clone();
        assert!(first.is_same(&second));
        second.push(3);
        assert_eq!((first.as_slice(), second.as_slice()), ([1, 2].as_slice(), [1, 2, 3].as_slice()));
        assert!(!first.is_same(&second) && first != second);
        second.pop();
        assert!(!first.is_same(&second) && first == second);
    }

    #[test]
    fn its_items_are_had_with_it_or_without() {
        let list: Shared<Vec<u32>> = vec![4, 5].into();
        assert_eq!((&list).into_iter().sum::<u32>(), 9);
        let other = list.clone();
        assert_eq!((list.into_iter().collect::<Vec<_>>(), other.to_vec()), (vec![4, 5], vec![4, 5]));
    }
}
