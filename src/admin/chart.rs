//! Cost and GPUs over time, drawn on the server as inline SVG: no script, no picture from elsewhere.
//!
//! One sample per tick is kept in memory, of the newest status alone. When there are too many, every other old one is
//! dropped: what is far back gets coarser, and a day or a month fits. Binary floating point is for drawing only.

use crate::{
    engine::{
        Status,
        export::{effective_target, running_gpus},
    },
    model::{FleetName, HourlyRate, Timestamp},
};
use maud::{Markup, html};
use std::collections::{BTreeMap, BTreeSet};

/// Samples kept at most.
const SAMPLES_MAX: usize = 1_440;
/// Points drawn of a line at most.
const POINTS_MAX: usize = 240;
/// Fleets that have a colour of their own; the others share the last one.
pub const COLOURS: usize = 6;
/// The big chart's size, in its own units.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 240.0;
/// Room for the labels on the left, below and above.
const LEFT: f64 = 52.0;
const BELOW: f64 = 22.0;
const ABOVE: f64 = 8.0;
/// Horizontal lines at most.
const LINES_MAX: f64 = 4.0;
/// The small chart's size.
const SPARK: (f64, f64) = (240.0, 36.0);

/// One fleet at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Committed.
    pub rate: HourlyRate,
    /// Wanted.
    pub target: u32,
    /// Running.
    pub running: u32,
}

/// All fleets at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// By name.
    pub fleets: BTreeMap<FleetName, Point>,
}

/// What was sampled, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Takes a sample of a status, if it is a new one.
    pub fn take(&mut self, status: &Status) {
        let (Some(at), Some(situation)) = (status.at, &status.situation) else { return };
        if self.0.last().is_some_and(|last| last.at >= at) {
            return;
        }
        let point = |state: &crate::plan::FleetState| Point {
            rate: state.fleet.committed(),
            target: effective_target(state.order),
            running: running_gpus(state),
        };
        let fleets = situation.fleets.iter().map(|(name, state)| (name.clone(), point(state))).collect();
        self.0.push(Sample { at, fleets });
        if self.0.len() > SAMPLES_MAX {
            let mut place = 0usize;
            self.0.retain(|_| {
                place += 1;
                place.is_multiple_of(2)
            });
        }
    }

    /// Those that are drawn.
    fn drawn(&self) -> Vec<&Sample> {
        let stride = self.0.len().div_ceil(POINTS_MAX).max(1);
        // The newest is always there.
        let mut drawn: Vec<&Sample> = self.0.iter().rev().step_by(stride).collect();
        drawn.reverse();
        drawn
    }
}

/// Where a moment is between the first and the last, 0 to 1.
fn share(drawn: &[&Sample], at: Timestamp) -> f64 {
    let (Some(first), Some(last)) = (drawn.first(), drawn.last()) else { return 0.0 };
    let span = last.at.as_millisecond().saturating_sub(first.at.as_millisecond()).max(1);
    at.as_millisecond().saturating_sub(first.at.as_millisecond()) as f64 / span as f64
}

/// The next of 0.01, 0.02, 0.05, 0.1… that makes few lines of a height.
pub fn step(height: f64) -> f64 {
    let mut step = 0.01;
    let mut factors = [2.0, 2.5, 2.0].into_iter().cycle();
    while height / step > LINES_MAX && step < 1e9 {
        step *= factors.next().unwrap_or(2.0);
    }
    step
}

/// `h08:15` of the day; with the date where the chart spans more than one.
fn clock(at: Timestamp, with_date: bool) -> String {
    at.strftime(if with_date { "%b %d %H:%M" } else { "%H:%M" }).to_string()
}

/// Committed cost per hour over time, the fleets on top of each other; empty while there is nothing to draw.
pub fn cost(samples: &Samples, fleets: &BTreeSet<FleetName>) -> Markup {
    let drawn = samples.drawn();
    if drawn.len() < 2 {
        return html! { p.quiet { "The chart begins with the second look at the market." } };
    }
    let of = |sample: &Sample, fleet: &FleetName| sample.fleets.get(fleet).map_or(0.0, |point| point.rate.to_f64());
    let total = |sample: &&Sample| fleets.iter().map(|fleet| of(sample, fleet)).sum::<f64>();
    let most = drawn.iter().map(total).fold(0.01, f64::max) * 1.08;
    let x = |at: Timestamp| LEFT + share(&drawn, at) * (WIDTH - LEFT - 4.0);
    let y = |usd: f64| ABOVE + (1.0 - usd / most) * (HEIGHT - ABOVE - BELOW);
    let mut floor = vec![0.0; drawn.len()];
    let mut areas = Vec::new();
    for (place, fleet) in fleets.iter().enumerate() {
        let roof: Vec<f64> = drawn.iter().zip(&floor).map(|(sample, floor)| floor + of(sample, fleet)).collect();
        let forth = steps(&drawn, &roof, &x, &y, false);
        let back = steps(&drawn, &floor, &x, &y, true);
        areas.push((place.min(COLOURS - 1), fleet, format!("M{forth} L{back} Z")));
        floor = roof;
    }
    let gap = step(most);
    let lines = (0u32..).map(|line| f64::from(line) * gap).take_while(|usd| *usd <= most);
    let (first, last) = (drawn[0].at, drawn[drawn.len() - 1].at);
    let days = crate::model::time::elapsed(first, last).as_secs() > 72_000;
    let middle = Timestamp::from_millisecond((first.as_millisecond() + last.as_millisecond()) / 2).unwrap_or(first);
    html! {
        svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label="Committed cost per hour over time" {
            @for usd in lines {
                line.grid x1=(LEFT) x2=(WIDTH) y1=(one(y(usd))) y2=(one(y(usd))) {}
                text.axis x=(LEFT - 8.0) y=(one(y(usd) + 4.0)) text-anchor="end" { (format!("{usd:.2}")) }
            }
            @for (colour, fleet, path) in areas {
                path class=(format!("area s{colour}")) d=(path) { title { (fleet) } }
            }
            @for (at, anchor) in [(first, "start"), (middle, "middle"), (last, "end")] {
                text.axis x=(one(x(at))) y=(HEIGHT - 6.0) text-anchor=(anchor) { (clock(at, days)) }
            }
        }
    }
}

fn one(number: f64) -> String {
    format!("{number:.1}")
}

/// A line that stays until it changes, forth or back.
fn steps(
    drawn: &[&Sample],
    values: &[f64],
    x: &impl Fn(Timestamp) -> f64,
    y: &impl Fn(f64) -> f64,
    backwards: bool,
) -> String {
    let mut corners = Vec::new();
    let mut before: Option<f64> = None;
    for (sample, value) in drawn.iter().zip(values) {
        let (x, y) = (x(sample.at), y(*value));
        if let Some(before) = before
            && (before - y).abs() > 0.05
        {
            corners.push(format!("{x:.1},{before:.1}"));
        }
        corners.push(format!("{x:.1},{y:.1}"));
        before = Some(y);
    }
    if backwards {
        corners.reverse();
    }
    corners.join(" ")
}

/// GPUs of one fleet over time: what ran, and what was wanted.
pub fn gpus(samples: &Samples, fleet: &FleetName) -> Markup {
    let drawn: Vec<&Sample> = samples.drawn().into_iter().filter(|sample| sample.fleets.contains_key(fleet)).collect();
    if drawn.len() < 2 {
        return html! {};
    }
    let points = || drawn.iter().filter_map(|sample| sample.fleets.get(fleet));
    let most = points().map(|point| point.running.max(point.target)).max().unwrap_or(0).max(1);
    let (width, height) = SPARK;
    let x = |at: Timestamp| share(&drawn, at) * width;
    let y = |gpus: f64| 2.0 + (1.0 - gpus / f64::from(most)) * (height - 4.0);
    let running: Vec<f64> = points().map(|point| f64::from(point.running)).collect();
    let target: Vec<f64> = points().map(|point| f64::from(point.target)).collect();
    let area = format!("M0,{height} L{} L{width},{height} Z", steps(&drawn, &running, &x, &y, false));
    html! {
        svg.spark viewBox=(format!("0 0 {width} {height}")) preserveAspectRatio="none" role="img"
            aria-label="Running GPUs and target over time" {
            path.ran d=(area) { title { "running GPUs" } }
            polyline.wanted points=(steps(&drawn, &target, &x, &y, false)) { title { "target" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::sample::{early, name, now, status},
        model::time::after,
    };
    use std::time::Duration;

    fn samples(count: u64) -> Samples {
        let mut samples = Samples::default();
        for tick in 0..count {
            let mut status = status();
            status.at = Some(after(now(), Duration::from_secs(30 * tick)));
            samples.take(&status);
        }
        samples
    }

    #[test]
    fn a_status_is_sampled_once_and_an_early_one_never() {
        let mut samples = Samples::default();
        samples.take(&early());
        assert!(samples.0.is_empty());
        samples.take(&status());
        samples.take(&status());
        assert_eq!(samples.0.len(), 1);
        let train = samples.0[0].fleets[&name("train")];
        assert_eq!((train.target, train.running, train.rate.to_string().as_str()), (8, 3, "4.835"));
    }

    #[test]
    fn old_samples_get_coarser_and_the_newest_stays() {
        let samples = samples(5_000);
        assert!(samples.0.len() <= SAMPLES_MAX);
        assert_eq!(samples.0.last().unwrap().at, after(now(), Duration::from_secs(30 * 4_999)));
        assert!(samples.drawn().len() <= POINTS_MAX);
    }

    #[test]
    fn charts_are_drawn_from_two_samples_on() {
        let fleets = BTreeSet::from([name("train"), name("serve")]);
        assert!(cost(&samples(1), &fleets).into_string().contains("begins with the second look"));
        let drawn = cost(&samples(3), &fleets).into_string();
        assert!(drawn.contains("<svg") && drawn.contains("<title>train</title>"), "{drawn}");
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"));
        assert!(gpus(&samples(3), &name("train")).into_string().contains("polyline"));
        assert_eq!(gpus(&samples(3), &name("other")).into_string(), "");
    }

    #[test]
    fn a_chart_has_few_lines_whatever_its_height() {
        for height in [0.01, 0.3, 1.0, 7.7, 40.0, 12_345.0] {
            let lines = height / step(height);
            assert!((0.5..=LINES_MAX).contains(&lines), "{height}: {lines}");
        }
    }
}
