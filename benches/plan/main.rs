//! How the time of a plan grows with the market: `cargo bench`.
//!
//! Two lifelike markets, one with twice the hostnodes of the other, are looked at by a real engine until bids were asked
//! about; then what was known is planned again and again, by turns, in one process. What is told is the *ratio* of the
//! medians: it says whether planning grows faster than the market, and other work on the machine touches both sides alike.
//! No time is judged, so that nothing here depends on the machine.

mod rehearsal;

use rehearsal::Rehearsal;
use spotscale::{
    engine::Role,
    plan::{Plan, Situation, plan, verify::verify},
};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Hostnodes of the smaller market.
const HOSTNODES: usize = 400;
/// Turns.
const TURNS: usize = 41;

/// The demo's fleets, made as large as the market.
const POLICIES: [(&str, &str); 3] = [
    ("train", include_str!("../../config/demo/policies/train.toml")),
    ("serve", include_str!("../../config/demo/policies/serve.toml")),
    ("batch", include_str!("../../config/demo/policies/batch.toml")),
];

/// What an engine knew of a market after its first looks, nothing rented yet.
fn known(hostnodes: usize) -> Situation {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut rehearsal = Rehearsal::new(Some(hostnodes), "100", Role::LookOnly, &POLICIES).await;
        let status = rehearsal.tick().await;
        status.situation.clone().expect("the market was looked at").into_value()
    })
}

#[expect(clippy::disallowed_methods, reason = "time is what a bench measures, and it decides nothing")]
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let began = Instant::now();
    let done = black_box(work());
    (began.elapsed(), done)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// One market, and how long its plans took.
struct Side {
    situation: Situation,
    planned: Plan,
    planning: Vec<Duration>,
    verifying: Vec<Duration>,
}

impl Side {
    fn of(hostnodes: usize) -> Self {
        let situation = known(hostnodes);
        Self { planned: plan(&situation), situation, planning: Vec::new(), verifying: Vec::new() }
    }

    fn turn(&mut self) {
        let (took, planned) = timed(|| plan(black_box(&self.situation)));
        self.planning.push(took);
        assert_eq!(planned, self.planned, "equal worlds give equal plans");
        let (took, violations) = timed(|| verify(black_box(&self.situation), black_box(&planned)));
        self.verifying.push(took);
        assert_eq!(violations, [], "the checker passes the plan");
    }

    fn tell(&self) -> (f64, f64) {
        let listed: usize = self.situation.markets.values().map(|market| market.hostnodes.len()).sum();
        let candidates: usize = self.planned.report.values().map(|report| report.candidates.len()).sum();
        let (planning, verifying) = (median(self.planning.clone()), median(self.verifying.clone()));
        println!(
            "{listed:>9} {candidates:>10} {:>7} {:>10.3} {:>10.3}",
            self.planned.actions.len(),
            planning.as_secs_f64() * 1e3,
            verifying.as_secs_f64() * 1e3
        );
        (planning.as_secs_f64(), verifying.as_secs_f64())
    }
}

fn main() {
    let (mut small, mut large) = (Side::of(HOSTNODES), Side::of(2 * HOSTNODES));
    for _ in 0..TURNS {
        small.turn();
        large.turn();
    }
    println!("hostnodes candidates actions    plan ms  verify ms   (medians of {TURNS} turns)");
    let (before, after) = (small.tell(), large.tell());
    println!("twice the market: plan x {:.2}, verify x {:.2}", after.0 / before.0, after.1 / before.1);
}
