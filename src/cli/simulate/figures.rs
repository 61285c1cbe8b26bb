//! The figures of a play, as people read them.
//!
//! Each has one name, one way to be written and one sentence that says what it is, whether it stands in a column over many
//! plays or in a line of its own. What cannot be said is a dash.

use super::super::terminal::{Column, Field};
use crate::sim::trace::{Metrics, Summary, metrics::Spread};

/// What is written where there is no figure.
const NONE: &str = "-";
/// The columns over many plays after the first, which names the trace: heading and figure.
const OF_MANY: [(&str, &str); 16] = [
    ("SCORE", "score"),
    ("CPU RATIO", "cpu_ratio"),
    ("OD RATIO", "od_ratio"),
    ("COST", "cost"),
    ("BOUND", "bound"),
    ("PENALISED", "penalised"),
    ("USEFUL", "useful"),
    ("MISSING", "missing"),
    ("CPU", "cpu"),
    ("DELIVERED", "delivered"),
    ("AT TARGET", "at_target"),
    ("LOST", "preemptions"),
    ("LAUNCHED", "launches"),
    ("FAILED", "failed"),
    ("OD SHARE", "on_demand_share"),
    ("OVER COST", "over_cost"),
];

/// Two decimals.
fn money(usd: f64) -> String {
    format!("{usd:.2}")
}

/// Three decimals, or a dash.
pub fn quotient(figure: Option<f64>) -> String {
    figure.map_or_else(|| NONE.to_owned(), |figure| format!("{figure:.3}"))
}

/// In percent, or a dash.
pub fn share(figure: Option<f64>) -> String {
    figure.map_or_else(|| NONE.to_owned(), |figure| format!("{:.2}%", figure * 100.0))
}

/// A figure's name, the figure, and what it is.
type Figure = (&'static str, String, &'static str);

fn figures(metrics: &Metrics) -> [Figure; 16] {
    let Metrics {
        cost,
        useful,
        missing,
        cpu,
        delivered,
        at_target,
        preemptions,
        launches,
        failed,
        on_demand_share,
        over_cost,
        penalised,
        bound,
        score,
        cpu_ratio,
        od_ratio,
    } = metrics;
    let bound = bound.map_or_else(|| NONE.to_owned(), money);
    [
        ("cost", money(*cost), "USD paid"),
        ("useful", money(*useful), "GPU-hours delivered, up to the target"),
        ("missing", money(*missing), "GPU-hours short of the target"),
        ("cpu", quotient(*cpu), "USD per useful GPU-hour"),
        ("delivered", share(*delivered), "of the target's GPU-hours"),
        ("at_target", share(*at_target), "of the steps had the target ready"),
        ("preemptions", preemptions.to_string(), "VMs lost"),
        ("launches", launches.to_string(), "VMs launched"),
        ("failed", failed.to_string(), "launches refused"),
        ("on_demand_share", share(*on_demand_share), "of the cost was for VMs on demand"),
        ("over_cost", money(*over_cost), "USD paid for GPUs beyond the target"),
        ("penalised", money(*penalised), "USD: the cost, and five on-demand GPU-hours for each missing one"),
        ("bound", bound, "USD: the least penalised, had every price been known"),
        ("score", quotient(*score), "penalised over the bound"),
        ("cpu_ratio", quotient(*cpu_ratio), "cpu over the bound per target GPU-hour"),
        ("od_ratio", quotient(*od_ratio), "cost over that of the target on demand all the time"),
    ]
}

/// The columns of [`rows_of_one`].
pub const COLUMNS_OF_ONE: [Column; 3] = [Column::Text("FIGURE"), Column::Figure("VALUE"), Column::Aside("WHAT IT IS")];

/// One play, a figure to a row.
pub fn rows_of_one(metrics: &Metrics) -> Vec<Vec<Field>> {
    let row = |(name, value, what): Figure| vec![name.into(), value.into(), what.into()];
    figures(metrics).into_iter().map(row).collect()
}

/// The columns of [`row`].
pub fn columns_of_many() -> Vec<Column> {
    [Column::Text("TRACE")].into_iter().chain(OF_MANY.map(|(heading, _)| Column::Figure(heading))).collect()
}

/// One of many plays.
pub fn row(trace: &str, metrics: &Metrics) -> Vec<Field> {
    let figures = figures(metrics);
    let figure =
        |(_, name): &(&str, &str)| Field::maybe(figures.iter().find(|(it, ..)| it == name).map(|(_, it, _)| it));
    [trace.into()].into_iter().chain(OF_MANY.iter().map(figure)).collect()
}

/// The mean of many plays and the worst of them.
pub fn spread(spread: Option<Spread>, written: fn(Option<f64>) -> String) -> [String; 2] {
    [written(spread.map(|it| it.mean)), written(spread.map(|it| it.worst))]
}

/// Many plays in a sentence.
pub fn told(summary: &Summary) -> String {
    let Summary { score, cpu_ratio, delivered, on_demand_share: _, preemptions: _ } = summary;
    let told = |name: &str, [mean, worst]: [String; 2]| format!("{name} {mean}, worst {worst}");
    let figures = [
        told("score", spread(*score, quotient)),
        told("cpu ratio", spread(*cpu_ratio, quotient)),
        told("delivered", spread(*delivered, share)),
    ];
    figures.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_figure_of_a_play_has_a_column_and_one_that_cannot_be_said_is_a_dash() {
        let metrics = Metrics {
            cost: 1.0,
            useful: 2.0,
            missing: 0.5,
            cpu: None,
            delivered: Some(0.8),
            at_target: None,
            preemptions: 3,
            launches: 4,
            failed: 5,
            on_demand_share: None,
            over_cost: 0.0,
            penalised: 6.0,
            bound: None,
            score: None,
            cpu_ratio: None,
            od_ratio: Some(0.25),
        };
        let named: BTreeSet<&str> = figures(&metrics).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(named, OF_MANY.into_iter().map(|(_, name)| name).collect());
        let expected = [
            "t", "-", "-", "0.250", "1.00", "-", "6.00", "2.00", "0.50", "-", "80.00%", "-", "3", "4", "5", "-", "0.00",
        ];
        assert_eq!(row("t", &metrics), expected.map(Field::from));
        assert_eq!(columns_of_many().len(), expected.len());
    }
}
