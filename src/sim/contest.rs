//! Who gets a hostnode's GPUs when more want them than there are.
//!
//! The vendor's rule for bids that compete for a host: *the set of VMs with the highest total revenue wins* (vendor
//! documentation of spot instances). Here that set is found exactly, under the host's GPUs of each model, its vCPUs and
//! its memory. Ties go to whoever stands earlier in the list, so that equal bids never push each other out.

use crate::model::GpuModel;
use std::collections::BTreeMap;

/// At most so many compete; who stands later in the list loses. Bounds the search.
pub const CONTENDERS_MAX: usize = 32;
/// The search stops here with the best set found so far. Never reached by hosts of up to 16 GPUs in tests.
const NODES_MAX: u32 = 100_000;
/// No revenue above this is told apart, in micros per hour.
const REVENUE_MAX: u64 = 1 << 48;

/// What there is to win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// By model.
    pub gpus: BTreeMap<GpuModel, u32>,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in GB.
    pub ram_gb: u32,
}

/// One VM that wants to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// The model of its GPUs.
    pub gpu_model: GpuModel,
    /// How many; at least one.
    pub gpus: u32,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in GB.
    pub ram_gb: u32,
    /// What it pays per hour for all of this, in micros.
    pub revenue_micros: u64,
}

/// Takes what a contender needs out of what is left, if it fits.
fn take(left: &mut Capacity, wanted: &Contender) -> bool {
    let gpus = left.gpus.get(&wanted.gpu_model).copied().unwrap_or(0);
    if gpus < wanted.gpus || left.vcpus < wanted.vcpus || left.ram_gb < wanted.ram_gb {
        return false;
    }
    left.gpus.insert(wanted.gpu_model.clone(), gpus - wanted.gpus);
    left.vcpus -= wanted.vcpus;
    left.ram_gb -= wanted.ram_gb;
    true
}

/// One contender in the order of the search.
struct Candidate<'a> {
    place: usize,
    who: &'a Contender,
    /// Revenue first; below it a weight that makes the earlier of two equals worth more.
    value: u128,
}

struct Search<'a> {
    order: Vec<Candidate<'a>>,
    best: u128,
    best_set: Vec<usize>,
    nodes: u32,
}

impl Search<'_> {
    /// No set of the candidates from `from` on can be worth more than this: as if GPUs could be cut into pieces.
    fn bound(&self, from: usize, left: &Capacity) -> u128 {
        let mut gpus = left.gpus.clone();
        let mut bound = 0;
        for candidate in self.order.iter().skip(from) {
            let free = gpus.entry(candidate.who.gpu_model.clone()).or_default();
            let taken = (*free).min(candidate.who.gpus);
            *free -= taken;
            bound += (candidate.value * u128::from(taken)).div_ceil(u128::from(candidate.who.gpus.max(1)));
        }
        bound
    }

    fn visit(&mut self, from: usize, left: &Capacity, value: u128, chosen: &mut Vec<usize>) {
        self.nodes += 1;
        if value > self.best {
            self.best = value;
            self.best_set.clone_from(chosen);
        }
        let Some(candidate) = self.order.get(from) else { return };
        if self.nodes > NODES_MAX || value + self.bound(from, left) <= self.best {
            return;
        }
        let (place, worth) = (candidate.place, candidate.value);
        let mut less = left.clone();
        if take(&mut less, candidate.who) {
            chosen.push(place);
            self.visit(from + 1, &less, value + worth, chosen);
            chosen.pop();
        }
        self.visit(from + 1, left, value, chosen);
    }
}

/// For each contender whether it is in the set that pays most.
pub fn winners(capacity: &Capacity, contenders: &[Contender]) -> Vec<bool> {
    let mut wins = vec![false; contenders.len()];
    let mut all = capacity.clone();
    if contenders.len() <= CONTENDERS_MAX && contenders.iter().all(|wanted| take(&mut all, wanted)) {
        wins.fill(true);
        return wins;
    }
    let mut order: Vec<Candidate<'_>> = contenders
        .iter()
        .take(CONTENDERS_MAX)
        .enumerate()
        .map(|(place, who)| Candidate {
            place,
            who,
            value: u128::from(who.revenue_micros.min(REVENUE_MAX)) << CONTENDERS_MAX
                | 1 << (CONTENDERS_MAX - 1 - place),
        })
        .collect();
    // The densest first: then the fractional bound is the tightest.
    order.sort_by(|a, b| {
        (b.value * u128::from(a.who.gpus)).cmp(&(a.value * u128::from(b.who.gpus))).then(a.place.cmp(&b.place))
    });
    let mut search = Search { order, best: 0, best_set: Vec::new(), nodes: 0 };
    search.visit(0, capacity, 0, &mut Vec::new());
    for place in search.best_set {
        if let Some(win) = wins.get_mut(place) {
            *win = true;
        }
    }
    wins
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn model(number: u8) -> GpuModel {
        format!("model{number}-pcie-16gb").parse().unwrap()
    }

    fn contender(number: u8, gpus: u32, vcpus: u32, ram_gb: u32, revenue_micros: u64) -> Contender {
        Contender { gpu_model: model(number), gpus, vcpus, ram_gb, revenue_micros }
    }

    fn capacity(gpus: u32, vcpus: u32, ram_gb: u32) -> Capacity {
        Capacity { gpus: BTreeMap::from([(model(0), gpus), (model(1), 1)]), vcpus, ram_gb }
    }

    /// Every set there is; of those that fit the one with the most revenue, of equals the one with the earlier members.
    fn naive(capacity: &Capacity, contenders: &[Contender]) -> Vec<bool> {
        let sets = (0u32..1 << contenders.len())
            .map(|mask| -> Vec<bool> { (0..contenders.len()).map(|place| mask >> place & 1 == 1).collect() });
        let worth = |set: &Vec<bool>| -> u64 {
            contenders.iter().zip(set).filter(|(_, member)| **member).map(|(who, _)| who.revenue_micros).sum()
        };
        sets.filter(|set| {
            let mut left = capacity.clone();
            contenders.iter().zip(set).filter(|(_, member)| **member).all(|(who, _)| take(&mut left, who))
        })
        .max_by_key(|set| (worth(set), set.clone()))
        .unwrap()
    }

    #[test]
    fn two_small_bids_together_beat_one_large_one() {
        let large = contender(0, 4, 4, 4, 1_000);
        let small = contender(0, 2, 2, 2, 501);
        assert_eq!(winners(&capacity(4, 8, 8), &[large.clone(), small.clone(), small.clone()]), [false, true, true]);
        assert_eq!(winners(&capacity(4, 8, 8), &[large, small]), [true, false]);
    }

    #[test]
    fn of_equal_bids_the_earlier_stays() {
        let bids = vec![contender(0, 1, 1, 1, 100); 24];
        let wins = winners(&capacity(16, 99, 99), &bids);
        assert!(wins.iter().take(16).all(|win| *win) && wins.iter().skip(16).all(|win| !win));
    }

    #[test]
    fn who_stands_beyond_the_bound_loses() {
        let bids = vec![contender(0, 1, 1, 1, 100); CONTENDERS_MAX + 1];
        let wins = winners(&capacity(99, 99, 99), &bids);
        assert_eq!(wins.iter().filter(|win| **win).count(), CONTENDERS_MAX);
    }

    proptest! {
        #[test]
        fn the_winners_are_those_of_an_exhaustive_search(
            gpus in 0u32..9, vcpus in 0u32..40, ram_gb in 0u32..40,
            bids in proptest::collection::vec((0u8..2, 1u32..5, 1u32..16, 1u32..16, 1u64..12), 0..9),
        ) {
            let bids: Vec<Contender> =
                bids.into_iter().map(|(number, gpus, vcpus, ram, micros)| contender(number, gpus, vcpus, ram, micros)).collect();
            let capacity = capacity(gpus, vcpus, ram_gb);
            prop_assert_eq!(winners(&capacity, &bids), naive(&capacity, &bids));
        }
    }
}
