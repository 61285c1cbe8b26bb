//! Randomness that can be repeated.
//!
//! One [`Seed`] has any number of *named* children, each a generator of its own. A new consumer takes a new name, so it
//! never disturbs what the old ones draw, and a seed written down today means the same world tomorrow. Nothing here is
//! fit for secrets: those come through `io::entropy`.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use sha2::{Digest, Sha256};

/// What a whole simulated world grows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seed(pub u64);

impl Seed {
    fn child(self, name: &str) -> [u8; 32] {
        Sha256::new().chain_update(self.0.to_le_bytes()).chain_update(name.as_bytes()).finalize().into()
    }

    /// The generator of that name.
    pub fn dice(self, name: &str) -> Dice {
        Dice(ChaCha8Rng::from_seed(self.child(name)))
    }

    /// The one id of that name, in the form vendors like.
    pub fn uuid(self, name: &str) -> String {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.child(name)[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

/// A generator of whole numbers. There are no fractions in it: what is uncertain about money is drawn in parts per
/// million.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// A number from `min` to `max`, both included; `min` where there is no such number. The bias of the remainder is
    /// far below anything a market could show.
    pub fn between(&mut self, min: u64, max: u64) -> u64 {
        let drawn = self.0.next_u64();
        match max.checked_sub(min).map(|span| span.checked_add(1)) {
            None => min,
            Some(None) => drawn,
            Some(Some(span)) => min + drawn % span,
        }
    }

    /// Yes, so many times in a million.
    pub fn chance_ppm(&mut self, ppm: u64) -> bool {
        self.between(0, 999_999) < ppm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_name_always_draw_the_same() {
        let mut dice = Seed(7).dice("prices");
        let drawn: Vec<u64> = (0..4).map(|_| dice.between(0, 999)).collect();
        assert_eq!(drawn, [463, 451, 779, 563]);
        assert_ne!(Seed(7).dice("floors"), Seed(7).dice("prices"));
        assert_ne!(Seed(8).dice("prices"), Seed(7).dice("prices"));
        assert_ne!(Seed(7).uuid("a"), Seed(7).uuid("b"));
    }

    #[test]
    fn a_range_holds_both_its_ends_and_an_empty_one_its_first() {
        let mut dice = Seed(1).dice("range");
        let drawn: std::collections::BTreeSet<u64> = (0..200).map(|_| dice.between(3, 5)).collect();
        assert_eq!(drawn, [3, 4, 5].into());
        assert_eq!(dice.between(5, 3), 5);
        let _ = dice.between(0, u64::MAX);
        assert!(!dice.chance_ppm(0));
        assert!(dice.chance_ppm(1_000_000));
    }
}
