//! `evacuate --offline`: the way to let everything go when the daemon is down.

use super::stage::{Marketplace, Service};
use std::time::Duration;

/// Shorter than any deadline of the network.
const AT_ONCE: Duration = Duration::from_secs(25);

fn said(output: &std::process::Output) -> (Option<i32>, String) {
    (
        output.status.code(),
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat(),
    )
}

#[test]
fn with_the_daemon_down_a_fleet_is_torn_down_and_nothing_else_is_touched() {
    let marketplace = Marketplace::start();
    let mut service = Service::start(marketplace.address, &["serve", "train"], "scan_interval = \"1s\"", &[]);
    service.until("STATUS", "serve 2/2 GPUs");
    service.until("STATUS", "train 2/2 GPUs");

    // Only one at a time may have the journal.
    let (code, told) = said(&service.offline("evacuate train"));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("another spotscale runs on this state"), "{told}");

    service.signal("TERM");
    assert!(service.ended(AT_ONCE).is_some(), "{}", service.log());
    let (code, told) = said(&service.offline("evacuate train"));
    assert_eq!((code, told.as_str()), (Some(0), "train: evacuating, then paused until resumed\nnothing is left\n"));
    assert_eq!(service.instances(), ["serve running", "serve running"]);

    let (code, told) = said(&service.offline("evacuate --all"));
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(service.instances(), Vec::<String>::new());
    let (code, told) = said(&service.offline("evacuate nobody"));
    assert_eq!(code, Some(1));
    assert!(told.contains("there is no fleet nobody; there are: serve, train"), "{told}");
}
