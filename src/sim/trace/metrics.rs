//! The figures of a run, and of many.
//!
//! Sums become shares here, in floating point: nothing decides by them. What cannot be said (a cost per useful GPU-hour
//! where nothing was useful, a score without a bound) is `None` and not zero.

use super::{grid::Market, run::Tally};

/// A GPU-hour that is missing weighs so many on-demand GPU-hours.
pub const PENALTY: u32 = 5;
const SECONDS_PER_HOUR: f64 = 3_600.0;

/// The figures of one run. Money is in US dollars, time in GPU-hours.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Metrics {
    /// What was paid.
    pub cost: f64,
    /// GPU-hours delivered, up to the target.
    pub useful: f64,
    /// GPU-hours short of the target.
    pub missing: f64,
    /// Cost per useful GPU-hour.
    pub cpu: Option<f64>,
    /// Share of the target's GPU-hours delivered.
    pub delivered: Option<f64>,
    /// Share of scored steps with at least the target ready.
    pub at_target: Option<f64>,
    /// VMs lost.
    pub preemptions: u64,
    /// VMs launched.
    pub launches: u64,
    /// Launches refused.
    pub failed: u64,
    /// Share of the cost paid for VMs on demand.
    pub on_demand_share: Option<f64>,
    /// What was paid in proportion to GPUs beyond the target.
    pub over_cost: f64,
    /// The cost, and five times the on-demand price of what was missing.
    pub penalised: f64,
    /// The least `penalised` that anybody could have reached who knew every future price.
    pub bound: Option<f64>,
    /// `penalised` over `bound`: at least 1, lower is better.
    pub score: Option<f64>,
    /// `cpu` over the bound per target GPU-hour (useful and missing ones).
    pub cpu_ratio: Option<f64>,
    /// The cost over that of the whole target on demand, all the time.
    pub od_ratio: Option<f64>,
}

/// A quotient, if there is one.
fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

impl Metrics {
    /// The figures of a run over a market. `bound` is the clairvoyant minimum of `penalised` in US dollars, where it is
    /// known.
    pub fn new(market: &Market, tally: &Tally, bound: Option<f64>) -> Self {
        let Tally {
            steps,
            scored,
            at_target,
            cost,
            on_demand_cost,
            over_cost_usd,
            useful_gpu_s,
            missing_gpu_s,
            preemptions,
            launches,
            failed,
        } = tally;
        let cost = cost.to_f64();
        let (useful, missing) = (*useful_gpu_s as f64 / SECONDS_PER_HOUR, *missing_gpu_s as f64 / SECONDS_PER_HOUR);
        let on_demand = market.on_demand_per_gpu_usd();
        let penalised = cost + f64::from(PENALTY) * on_demand * missing;
        let cpu = share(cost, useful);
        let all_hours = *steps as f64 * f64::from(market.dt_s) / SECONDS_PER_HOUR;
        let bound_per_gpu_hour = bound.and_then(|bound| share(bound, useful + missing));
        Self {
            cost,
            useful,
            missing,
            cpu,
            delivered: share(useful, useful + missing),
            at_target: share(*at_target as f64, *scored as f64),
            preemptions: *preemptions,
            launches: *launches,
            failed: *failed,
            on_demand_share: share(on_demand_cost.to_f64(), cost),
            over_cost: *over_cost_usd,
            penalised,
            bound,
            score: bound.and_then(|bound| share(penalised, bound)),
            cpu_ratio: cpu.zip(bound_per_gpu_hour).and_then(|(cpu, bound)| share(cpu, bound)),
            od_ratio: share(cost, on_demand * f64::from(market.target_gpus) * all_hours),
        }
    }
}

/// One figure over several traces.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The mean: geometric for quotients, arithmetic for shares.
    pub mean: f64,
    /// The worst of them.
    pub worst: f64,
}

/// The figures of one policy over several traces; `None` where any trace lacks the figure.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Geometric mean of the scores, and the largest.
    pub score: Option<Spread>,
    /// Geometric mean of the cost ratios, and the largest.
    pub cpu_ratio: Option<Spread>,
    /// Arithmetic mean of the shares delivered, and the least.
    pub delivered: Option<Spread>,
    /// Arithmetic mean of the shares of cost paid for VMs on demand, and the largest.
    pub on_demand_share: Option<Spread>,
    /// VMs lost, all together.
    pub preemptions: u64,
}

impl Summary {
    /// Over these runs.
    pub fn of(runs: &[Metrics]) -> Self {
        let all = |figure: fn(&Metrics) -> Option<f64>| {
            let figures = runs.iter().map(figure).collect::<Option<Vec<f64>>>()?;
            (!figures.is_empty()).then_some(figures)
        };
        let arithmetic = |figures: &[f64]| figures.iter().sum::<f64>() / figures.len() as f64;
        let largest = |figures: &[f64]| figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let quotients = |figures: Vec<f64>| Spread {
            mean: arithmetic(&figures.iter().map(|figure| figure.ln()).collect::<Vec<_>>()).exp(),
            worst: largest(&figures),
        };
        Self {
            score: all(|run| run.score).map(quotients),
            cpu_ratio: all(|run| run.cpu_ratio).map(quotients),
            delivered: all(|run| run.delivered).map(|figures| Spread {
                mean: arithmetic(&figures),
                worst: figures.iter().copied().fold(f64::INFINITY, f64::min),
            }),
            on_demand_share: all(|run| run.on_demand_share)
                .map(|figures| Spread { mean: arithmetic(&figures), worst: largest(&figures) }),
            preemptions: runs.iter().map(|run| run.preemptions).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::trace::{
        grid::tests::market,
        run::{Billing, Desk, Policy, Rules, play},
    };
    use std::sync::Arc;

    /// Launches in the first step: so many spot VMs at 0.40 in pool 0, and one on demand.
    struct Once(u32);

    impl Policy for Once {
        fn step(&mut self, desk: &mut Desk<'_>) {
            if desk.k() == 0 {
                for _ in 0..self.0 {
                    desk.spot(0, "0.40".parse().unwrap()).unwrap();
                }
                desk.on_demand().unwrap();
                desk.spot(0, "0.01".parse().unwrap()).unwrap_err();
            }
        }
    }

    fn metrics(spot: u32, bound: Option<f64>) -> Metrics {
        // Two GPUs are wanted for six steps of half an hour: one VM has one GPU at 1.00 on demand.
        let market = Arc::new(market(2, "1.00x1", "0.30 0.30 0.30 0.30 0.50 0.30", None));
        let tally = play(market.clone(), Rules::of(Billing::Bid), &mut Once(spot));
        Metrics::new(&market, &tally, bound)
    }

    #[track_caller]
    fn close(figure: f64, expected: f64) {
        assert!((figure - expected).abs() < 1e-12, "{figure} is not {expected}");
    }

    #[test]
    fn the_figures_of_a_run_are_those_of_a_sheet_of_paper() {
        let metrics = metrics(1, Some(2.0));
        // On demand six half hours at 1.00, spot four at its bid; delivered from step 2 on: 2, 2, 1, 1 of 2 GPUs.
        close(metrics.cost, 3.0 + 0.8);
        close(metrics.useful, 3.0);
        close(metrics.missing, 1.0);
        close(metrics.cpu.unwrap(), 3.8 / 3.0);
        close(metrics.delivered.unwrap(), 0.75);
        close(metrics.at_target.unwrap(), 0.5);
        close(metrics.on_demand_share.unwrap(), 3.0 / 3.8);
        close(metrics.over_cost, 0.0);
        close(metrics.penalised, 3.8 + 5.0);
        close(metrics.score.unwrap(), 4.4);
        close(metrics.cpu_ratio.unwrap(), (3.8 / 3.0) / (2.0 / 4.0));
        close(metrics.od_ratio.unwrap(), 3.8 / 6.0);
        assert_eq!((metrics.preemptions, metrics.launches, metrics.failed), (1, 2, 1));
    }

    #[test]
    fn gpus_beyond_the_target_are_shown_as_their_share_of_the_steps_cost() {
        // Steps 2 and 3 have three ready GPUs of two, at half of 1.00 + 0.80.
        close(metrics(2, None).over_cost, 2.0 * 0.9 / 3.0);
    }

    #[test]
    fn without_a_bound_there_is_no_score() {
        let metrics = metrics(1, None);
        assert_eq!((metrics.score, metrics.cpu_ratio), (None, None));
    }

    #[test]
    fn where_nothing_was_delivered_there_is_no_cost_per_useful_hour() {
        let market = market(2, "1.00x1", "0.30 0.30 0.30", None);
        let metrics = Metrics::new(&market, &Tally { missing_gpu_s: 7_200, ..Tally::default() }, Some(1.0));
        assert_eq!((metrics.cpu, metrics.delivered, metrics.at_target), (None, Some(0.0), None));
        assert_eq!((metrics.cpu_ratio, metrics.on_demand_share), (None, None));
    }

    #[test]
    fn over_several_traces_quotients_have_a_geometric_and_shares_an_arithmetic_mean() {
        let (mut one, mut other) = (metrics(1, None), metrics(1, None));
        (one.score, one.delivered) = (Some(1.0), Some(1.0));
        (other.score, other.delivered) = (Some(4.0), Some(0.5));
        let summary = Summary::of(&[one, other]);
        let (score, delivered) = (summary.score.unwrap(), summary.delivered.unwrap());
        close(score.mean, 2.0);
        close(score.worst, 4.0);
        close(delivered.mean, 0.75);
        close(delivered.worst, 0.5);
        assert_eq!(summary.preemptions, 2);
        assert_eq!(summary.cpu_ratio, None);
        assert_eq!(Summary::of(&[]).score, None);
    }
}
