//! What a picture needs of a play, taken while it runs: for each pixel column the least and the most of every line.
//!
//! A play has tens of thousands of steps and a picture a thousand columns. A column that showed one of its steps, or their
//! mean, would hide the spike that took the VMs away; the least and the most hide nothing but the order within a column.

use crate::sim::trace::{
    Action, Billing, Market, Metrics, Rules, Run, Witness,
    run::{Tenure, Vm},
};

/// Columns at most; with fewer steps, one for each.
pub const COLUMNS_MAX: usize = 1_040;

/// The least and the most of something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The least.
    pub low: f64,
    /// The most.
    pub high: f64,
}

/// One pixel column; money is in US dollars.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    /// Price per GPU-hour of the cheapest pool.
    pub cheapest: Option<Range>,
    /// Price per GPU-hour of the pools in which spot VMs are held.
    pub held: Option<Range>,
    /// Bids per GPU-hour of the spot VMs held.
    pub bids: Option<Range>,
    /// GPUs ready.
    pub ready: Option<Range>,
    /// Of these, on demand.
    pub on_demand: Option<Range>,
    /// VMs launched.
    pub launched: u64,
    /// VMs lost.
    pub lost: u64,
    /// Paid until the column's end.
    pub cost: f64,
    /// The same with the penalty for what was missing.
    pub penalised: f64,
}

/// A play, column by column.
#[derive(Clone, Debug)]
pub struct Film {
    /// What the trace is called.
    pub name: String,
    /// When it begins, in seconds since 1970, UTC.
    pub t0_s: i64,
    /// Length of a step in seconds.
    pub dt_s: u32,
    /// How many steps.
    pub steps: usize,
    /// GPUs wanted.
    pub target_gpus: u32,
    /// A GPU-hour on demand.
    pub on_demand_usd: f64,
    /// Who pays what.
    pub billing: Billing,
    delay_steps: u32,
    /// In order of time.
    pub columns: Vec<Column>,
}

fn widen(range: &mut Option<Range>, value: f64) {
    *range = Some(range.map_or(Range { low: value, high: value }, |range| Range {
        low: range.low.min(value),
        high: range.high.max(value),
    }));
}

impl Film {
    /// Before the first step.
    pub fn new(market: &Market, rules: Rules) -> Self {
        Self {
            name: market.name.clone(),
            t0_s: market.t0_s,
            dt_s: market.dt_s,
            steps: market.steps,
            target_gpus: market.target_gpus,
            on_demand_usd: market.on_demand_per_gpu_usd(),
            billing: rules.billing,
            delay_steps: rules.delay_steps,
            columns: vec![Column::default(); market.steps.min(COLUMNS_MAX)],
        }
    }
}

impl Witness for Film {
    fn ended(&mut self, k: usize, run: &Run) {
        let at = k.saturating_mul(self.columns.len()) / self.steps.max(1);
        let Some(column) = self.columns.get_mut(at) else { return };
        let market = run.market();
        let prices = market.prices(k);
        let per_gpu = |pool: usize| {
            let gpus = market.pools().get(pool).map_or(1, |pool| pool.gpu_count);
            prices.get(pool).map(|price| price.to_f64() / f64::from(gpus))
        };
        let cheapest = (0..prices.len()).filter_map(per_gpu).fold(f64::INFINITY, f64::min);
        if cheapest.is_finite() {
            widen(&mut column.cheapest, cheapest);
        }
        let delay = self.delay_steps as usize;
        let is_ready = |vm: &Vm| vm.launched_k.saturating_add(delay) <= k;
        let (mut ready, mut on_demand) = (0.0, 0.0);
        for vm in run.vms() {
            let gpus = f64::from(vm.gpus);
            ready += if is_ready(vm) { gpus } else { 0.0 };
            match vm.tenure {
                Tenure::Spot(bid) => {
                    widen(&mut column.bids, bid.to_f64() / gpus);
                    if let Some(price) = per_gpu(vm.pool) {
                        widen(&mut column.held, price);
                    }
                }
                Tenure::OnDemand => on_demand += if is_ready(vm) { gpus } else { 0.0 },
            }
        }
        widen(&mut column.ready, ready);
        widen(&mut column.on_demand, on_demand);
        column.launched += run.actions().iter().fold(0, |launched, action| match action {
            Action::Spot { .. } | Action::OnDemand { .. } => launched + 1,
            Action::Kill { .. } => launched,
        });
        column.lost += run.outbid().len() as u64;
        let so_far = Metrics::new(market, run.tally(), None);
        (column.cost, column.penalised) = (so_far.cost, so_far.penalised);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{
        suite::Peer,
        trace::{grid::tests::market, run::play_before},
    };
    use std::sync::Arc;

    #[test]
    fn a_spike_of_one_step_is_in_its_column_however_many_steps_share_it() {
        let steps = 3 * COLUMNS_MAX;
        let mut prices = vec!["0.10"; steps];
        prices[steps / 2] = "9.00";
        let market = Arc::new(market(1, "1.00x1", &prices.join(" "), None));
        let rules = Rules::of(Billing::Bid);
        let mut film = Film::new(&market, rules);
        play_before(market, rules, Peer::LowestPrice.policy().as_mut(), &mut film);
        assert_eq!(film.columns.len(), COLUMNS_MAX);
        let high = |at: usize| film.columns[at].cheapest.unwrap();
        assert_eq!(high(COLUMNS_MAX / 2), Range { low: 0.1, high: 9.0 });
        assert_eq!(high(COLUMNS_MAX / 2 - 1), Range { low: 0.1, high: 0.1 });
        let (launched, lost) = film.columns.iter().fold((0, 0), |(up, down), it| (up + it.launched, down + it.lost));
        assert_eq!((launched, lost), (3, 1), "spot, on demand while it is dear, spot again");
        let held = film.columns[0].held.unwrap();
        assert_eq!((held.low, film.columns[0].bids.unwrap().low), (0.1, 0.105));
    }
}
