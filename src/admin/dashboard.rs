//! The shipped dashboard and rules, against a window that shows a status made by hand.

#[path = "../../tests/dashboard/checks.rs"]
mod checks;

use super::testkit::Open;
use crate::{
    engine::sample::{name, status},
    metrics::DeployResult,
    model::{
        Usd,
        offer::BidAnswer,
        reason::{Interruption, Teardown},
    },
};
use std::{sync::Arc, time::Duration};

/// Things happen: totals grow, events are counted.
async fn live(window: &Open) {
    let mut next = status();
    loop {
        let totals = next.fleets.values_mut().map(|fleet| &mut fleet.totals);
        for totals in totals {
            totals.gpu_seconds += 60;
            totals.spend = totals.spend.plus(Usd::from_micros(10_000));
            totals.on_demand_equivalent = totals.on_demand_equivalent.plus(Usd::from_micros(30_000));
        }
        let metrics = &window.metrics;
        metrics.ticked(Duration::from_millis(120));
        metrics.api_called("tensordock", "deploy", "ok", Duration::from_millis(700));
        metrics.bid_answered(&name("tensordock"), BidAnswer::Accepted);
        metrics.deployed(&name("train"), &name("tensordock"), DeployResult::Made);
        metrics.torn_down(&name("train"), Teardown::Outbid);
        metrics.interrupted(&name("train"), &name("tensordock"), Interruption::Outbid);
        window.status.send_replace(Arc::new(next.clone()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shipped_expression_finds_its_series_on_a_real_prometheus() {
    let window = Open::new(status(), None).await;
    window.metrics.know_invariants(&["rate_limit"]);
    let url = format!("http://{}", window.address);
    let checked = tokio::task::spawn_blocking(move || checks::against(&url, &[]));
    tokio::select! {
        () = live(&window) => {}
        outcome = checked => outcome.unwrap(),
    }
}
