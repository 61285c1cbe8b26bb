//! What the daemon tells the service manager, and when.

use super::stage::{Holding, Marketplace, Message, Service};
use std::time::Duration;

/// Shorter than any deadline of the network: whoever ends within it did not wait for an answer.
const AT_ONCE: Duration = Duration::from_secs(25);

fn says(message: &Message, key: &str, value: &str) -> bool {
    message.get(key).is_some_and(|said| said == value)
}

#[test]
fn the_service_manager_is_told_of_every_step_of_a_daemons_life() {
    let marketplace = Marketplace::start();
    let journal = [("JOURNAL_STREAM", "8:1")];
    let mut service = Service::start(marketplace.address, &["train"], "scan_interval = \"1s\"", &journal);

    // Ready after the first finished tick, and not before.
    let starting = service.until("READY", "1");
    assert!(starting.iter().any(|message| says(message, "WATCHDOG", "1")), "{starting:?}");
    assert!(starting.iter().all(|message| !message.contains_key("RELOADING")), "{starting:?}");

    // The status is one line for people, and every tick feeds the watchdog.
    let growing = service.until("STATUS", "train 2/2 GPUs");
    let ticks = growing.iter().filter(|message| says(message, "WATCHDOG", "1")).count();
    let lines = growing.iter().filter(|message| message.contains_key("STATUS")).count();
    assert_eq!(ticks, lines);
    assert!(growing.iter().all(|message| !message.contains_key("WATCHDOG_USEC")), "the unit has no watchdog");

    service.signal("HUP");
    let reloading = service.until("RELOADING", "1");
    let since = reloading.last().and_then(|message| message.get("MONOTONIC_USEC"));
    assert!(since.is_some_and(|since| since.parse::<u64>().is_ok_and(|since| since > 0)), "{reloading:?}");
    let reloaded = service.until("READY", "1");
    assert!(reloaded.iter().all(|message| !message.contains_key("STOPPING")), "{reloaded:?}");

    service.signal("TERM");
    service.until("STOPPING", "1");
    let status = service.ended(AT_ONCE);
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", service.log());
    assert!(service.unread().iter().all(|message| !message.contains_key("READY")));
    assert!(service.log().contains("VMs keep running"), "{}", service.log());

    // A line of the journal says how grave it is, and what it is about.
    let log = service.log();
    assert!(log.lines().all(|line| line.starts_with('<')), "{log}");
    let deploy = log.lines().find(|line| line.starts_with("<6>acted ")).unwrap_or_else(|| panic!("{log}"));
    assert!(deploy.contains("kind=deploy fleet=train instance="), "{deploy}");

    // Whoever asks the marketplace now finds them there.
    assert_eq!(service.instances(), ["train running", "train running"]);
}

#[test]
fn a_daemon_that_rests_longer_than_its_watchdog_waits_asks_for_patience() {
    let marketplace = Marketplace::start();
    // As the unit has it: ten minutes.
    let watchdog = [("WATCHDOG_USEC", "600000000")];
    let within = |settings: &str| {
        let service = Service::start(marketplace.address, &["train"], settings, &watchdog);
        let told = service.until("WATCHDOG", "1");
        told.last().and_then(|message| message.get("WATCHDOG_USEC").cloned())
    };
    assert_eq!(within("scan_interval = \"1m\""), None);
    assert_eq!(within("scan_interval = \"1h\""), Some("4140000000".to_owned()));
}

#[test]
fn a_tick_that_does_not_finish_feeds_nothing_and_a_stop_does_not_wait_for_it() {
    let marketplace = Marketplace::start();
    for path in ["/client/deploy/hostnodes", "/spot/validate/new"] {
        let holding = Holding::before(marketplace.address, path);
        let mut service = Service::start(holding.address, &["train"], "scan_interval = \"1s\"", &[]);
        let _held = holding.held();
        service.signal("TERM");
        let status = service.ended(AT_ONCE);
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{path}: {}", service.log());
        let told = service.unread();
        assert!(told.iter().any(|message| says(message, "STOPPING", "1")), "{path}: {told:?}");
        let fed = |message: &&Message| message.contains_key("WATCHDOG") || message.contains_key("READY");
        assert_eq!(told.iter().find(fed), None, "{path}: {told:?}");
    }
}
