//! The cheapest way of all GPUs of the target together, where room is short.
//!
//! Where a pool has room for some GPUs of the target and not for all, the slots compete, and the best schedule is a flow:
//! as many units as the target has GPUs go from the first scored step to the end, along arcs that have a cost and a width.
//!
//! ```text
//!            unserved: the penalty
//! hub ───────────────────────────────────> hub
//!  │ enter: the steps of provisioning       ^ leave: free
//!  v                                        │
//! pool ──────────────────────────────────> pool
//!        held: the price; room for so many
//! ```
//!
//! To enter, the pool must have been open through the steps of provisioning; but what provisions takes no room, so any
//! number may enter at once.
//!
//! The flow of least cost is found by successive shortest paths: each pushes as much as it can along the cheapest way
//! that is left, and may take back what an earlier one did. There are at most as many paths as GPUs.

use super::Market;
use std::{cmp::Reverse, collections::BinaryHeap};

/// Wider than any flow.
const UNLIMITED: u64 = u64::MAX / 4;

/// One direction of an arc. Its partner, the way back, stands beside it: their indices differ in the last bit only.
struct Arc {
    to: usize,
    /// How much more may go along here.
    room: u64,
    /// Of one unit, in grains; the way back gives back what the way there took.
    cost: i64,
}

/// Nodes, and the arcs that leave each of them.
struct Network {
    leaving: Vec<Vec<usize>>,
    arcs: Vec<Arc>,
}

impl Network {
    fn new(nodes: usize) -> Self {
        Self { leaving: vec![Vec::new(); nodes], arcs: Vec::new() }
    }

    /// **Invariant:** both ends are nodes of the network.
    fn join(&mut self, from: usize, to: usize, room: u64, cost: u64) {
        let cost = i64::try_from(cost).expect("a market whose costs come near 64 bits was refused");
        self.leaving[from].push(self.arcs.len());
        self.arcs.push(Arc { to, room, cost });
        self.leaving[to].push(self.arcs.len());
        self.arcs.push(Arc { to: from, room: 0, cost: -cost });
    }

    /// Sends so many units from the first node to the last, and says what they paid. All costs are at least zero at the
    /// start; the potentials keep them so along the ways back too.
    fn send(&mut self, units: u64) -> u128 {
        let Some(sink) = self.leaving.len().checked_sub(1) else { return 0 };
        let mut potentials = vec![0i64; self.leaving.len()];
        let (mut left, mut paid) = (units, 0u128);
        while left > 0 {
            let (distances, arrived_by) = self.distances(&potentials);
            if distances[sink] == i64::MAX {
                break;
            }
            for (potential, distance) in potentials.iter_mut().zip(&distances) {
                *potential += (*distance).min(distances[sink]);
            }
            let mut way = Vec::new();
            let mut node = sink;
            while let Some(arc) = arrived_by[node] {
                way.push(arc);
                node = self.arcs[arc ^ 1].to;
            }
            let pushed = way.iter().map(|arc| self.arcs[*arc].room).fold(left, u64::min);
            for arc in way {
                self.arcs[arc].room -= pushed;
                self.arcs[arc ^ 1].room += pushed;
            }
            // The first node's potential stays zero, so the last one's is the length of the way.
            paid += u128::from(potentials[sink].unsigned_abs()) * u128::from(pushed);
            left -= pushed;
        }
        paid
    }

    /// How far every node is from the first, in costs reduced by the potentials, and along which arc one arrives.
    fn distances(&self, potentials: &[i64]) -> (Vec<i64>, Vec<Option<usize>>) {
        let mut distances = vec![i64::MAX; self.leaving.len()];
        let mut arrived_by = vec![None; self.leaving.len()];
        let mut waiting = BinaryHeap::from([Reverse((0i64, 0usize))]);
        distances[0] = 0;
        while let Some(Reverse((distance, node))) = waiting.pop() {
            if distance > distances[node] {
                continue;
            }
            for index in &self.leaving[node] {
                let arc = &self.arcs[*index];
                if arc.room == 0 {
                    continue;
                }
                let there = distance + arc.cost + potentials[node] - potentials[arc.to];
                if there < distances[arc.to] {
                    distances[arc.to] = there;
                    arrived_by[arc.to] = Some(*index);
                    waiting.push(Reverse((there, arc.to)));
                }
            }
        }
        (distances, arrived_by)
    }
}

/// The least penalised cost of the whole target over all scored steps, in grains, at the market's price.
pub(super) fn cheapest_flow(market: &Market<'_>, target_gpus: u32) -> u128 {
    let Some(scored) = market.steps.checked_sub(market.delay).filter(|scored| *scored > 0) else { return 0 };
    let delay = market.delay as u64;
    // One layer per step: the pools, on demand, the hub. The hub is first in the first layer and last in the last one.
    let width = market.pools.len() + 2;
    let hub = |layer: usize| if layer == 0 { 0 } else { layer * width + width - 1 };
    let on_demand = |layer: usize| layer * width + usize::from(layer == 0);
    let spot = |layer: usize, pool: usize| on_demand(layer) + 1 + pool;
    let mut network = Network::new((scored + 1) * width);
    for layer in 0..scored {
        network.join(hub(layer), hub(layer + 1), UNLIMITED, market.missing);
        network.join(hub(layer), on_demand(layer), UNLIMITED, market.on_demand * delay);
        network.join(on_demand(layer), on_demand(layer + 1), UNLIMITED, market.on_demand);
        network.join(on_demand(layer + 1), hub(layer + 1), UNLIMITED, 0);
    }
    for (index, pool) in market.pools.iter().enumerate() {
        // For so many steps the pool has been open without a break.
        let mut held = 0usize;
        for step in 0..market.steps {
            let Some((price, room)) = pool.open(step, pool.on_demand) else {
                held = 0;
                continue;
            };
            held += 1;
            let Some(layer) = step.checked_sub(market.delay) else { continue };
            if held > market.delay {
                let past = pool.prices.get(layer..step).unwrap_or_default();
                let provisioning = past.iter().map(|price| market.grains(pool, *price)).sum();
                network.join(hub(layer), spot(layer, index), UNLIMITED, provisioning);
            }
            let room = room.map_or(UNLIMITED, |room| u64::from(room) * u64::from(pool.gpu_count));
            network.join(spot(layer, index), spot(layer + 1, index), room, market.grains(pool, price));
            network.join(spot(layer + 1, index), hub(layer + 1), UNLIMITED, 0);
        }
    }
    network.send(u64::from(target_gpus))
}
