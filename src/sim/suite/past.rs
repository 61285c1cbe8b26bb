//! What a policy remembers of each pool: one thing a step, for a day.

use crate::sim::trace::Desk;
use std::collections::VecDeque;

/// How long is remembered, in seconds.
const MEMORY_S: u32 = 86_400;

/// One thing a step and pool, oldest first.
pub struct Past<T>(VecDeque<Vec<T>>);

impl<T> Default for Past<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Past<T> {
    /// Takes this step's, by pool, and forgets what is older than a day.
    pub fn push(&mut self, desk: &Desk<'_>, by_pool: Vec<T>) {
        let steps_max = (MEMORY_S / desk.dt_s().max(1)).max(1) as usize;
        self.0.push_back(by_pool);
        while self.0.len() > steps_max {
            self.0.pop_front();
        }
    }

    /// What is remembered of a pool.
    pub fn of(&self, pool: usize) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(move |by_pool| by_pool.get(pool))
    }
}
