//! A bounded swarm: the whole daemon from some seeds, in every weather, and twice the same.

#![allow(clippy::unwrap_used)] // tests may fail

use spotscale::sim::{Plot, Severity, Verdict, rehearse, verdict::Outcome};
use std::{ops::ControlFlow, time::Duration};

const HOUR: Duration = Duration::from_secs(3_600);

/// Lives through a seed; every promise must be kept.
async fn kept(seed: u64, severity: Severity, lasting: Duration) -> Verdict {
    let plot = Plot::new(seed, severity, lasting);
    eprintln!("seed {seed}, {severity}: {}\n{}", plot.turns(), plot.knobs());
    let verdict = rehearse(&plot, &mut |_| ControlFlow::Continue(())).await.unwrap();
    assert_eq!(verdict.outcome, Outcome::Kept, "seed {seed}, {severity}");
    verdict
}

#[tokio::test]
async fn a_market_that_does_not_lie_breaks_no_promise() {
    let verdict = kept(1, Severity::None, HOUR).await;
    assert!(verdict.lived.made >= 5 && verdict.lived.gpu_seconds > 0, "{:?}", verdict.lived);
}

#[tokio::test]
async fn mild_seeds_break_no_promise() {
    for seed in 1..=3 {
        kept(seed, Severity::Mild, HOUR).await;
    }
}

#[tokio::test]
async fn hostile_seeds_break_no_promise() {
    for seed in 1..=6 {
        kept(seed, Severity::Hostile, HOUR).await;
    }
}

#[tokio::test]
async fn the_same_seed_makes_the_same_journal_and_another_seed_another() {
    let mut digests = Vec::new();
    for (seed, severity) in [(11, Severity::None), (12, Severity::Mild), (13, Severity::Hostile)] {
        let (first, second) = (kept(seed, severity, HOUR / 2).await, kept(seed, severity, HOUR / 2).await);
        assert_eq!(first, second);
        digests.push(first.digest);
    }
    digests.dedup();
    assert_eq!(digests.len(), 3);
}
