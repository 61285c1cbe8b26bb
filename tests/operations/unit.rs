//! The unit, held against the real tools and against the daemon's own bounds.

use secrecy::SecretString;
use spotscale::{
    engine::{TICK_LASTS_MAX, TICK_TIME_MAX, tick::WRITES_TIME_MIN},
    market::{
        self,
        client::{BACKOFF_MAX, READ_ATTEMPTS_MAX},
    },
    settings::Api,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

/// The exposure level that the unit has and may not grow beyond, in tenths; systemd calls anything below 20 well
/// protected.
const EXPOSURE_MAX: &str = "11";
/// How often the market is looked at where the settings do not say otherwise.
const SCAN_INTERVAL: Duration = Duration::from_secs(30);
/// How long the window may take to finish its answers, the journal to close, and the process to end.
const CLOSING_MAX: Duration = Duration::from_secs(15);

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/spotscale.service")
}

#[track_caller]
fn systemd_analyze(arguments: &[&str], unit: &Path) -> Output {
    Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .env("SYSTEMD_COLORS", "0")
        .output()
        .expect("this test needs systemd-analyze: on Debian it is in the package systemd, which .ci/setup installs")
}

/// The values of a key of the unit.
fn values(key: &str) -> Vec<String> {
    let text = fs::read_to_string(unit()).unwrap();
    text.lines().filter_map(|line| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_owned())).collect()
}

/// A key of the unit that is a time, such as `90s` or `10min`.
fn lasts(key: &str) -> Duration {
    let value = values(key).pop().unwrap_or_else(|| panic!("the unit does not say {key}"));
    let (number, unit) = value.split_at(value.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(value.len()));
    let seconds = match unit {
        "s" => 1,
        "min" => 60,
        unit => panic!("{key}: {unit} is not expected"),
    };
    Duration::from_secs(number.parse::<u64>().unwrap() * seconds)
}

#[test]
fn systemd_finds_nothing_to_say_about_the_unit() {
    // `verify` exits with 0 even for unknown keys, and with 1 only for a binary that is not installed: here the binary
    // that was just built stands where the package puts it.
    let folder = tempfile::tempdir().unwrap();
    let installed = folder.path().join("spotscale.service");
    let text = fs::read_to_string(unit()).unwrap();
    let here = text.replace("/usr/bin/spotscale", env!("CARGO_BIN_EXE_spotscale"));
    assert_ne!(here, text, "the unit starts /usr/bin/spotscale");
    fs::write(&installed, here).unwrap();
    let output = systemd_analyze(&["verify"], &installed);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_sandbox_of_the_unit_stays_tight() {
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let output = systemd_analyze(&["security", "--offline=true", &threshold], &unit());
    let report = String::from_utf8_lossy(&output.stdout);
    let verdict = report.lines().rev().find(|line| !line.is_empty()).unwrap_or_default();
    assert!(output.status.success(), "{verdict}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_unit_says_what_the_daemon_promises() {
    let text = fs::read_to_string(unit()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for promise in [
        // Not notify-reload, which systemd 252 (Debian 12) does not know: the daemon says RELOADING and READY itself.
        "Type=notify",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "RestartPreventExitStatus=2",
        "StateDirectory=spotscale",
        "LoadCredential=tensordock-key:/etc/spotscale/credentials/tensordock-key",
        "LoadCredential=tensordock-token:/etc/spotscale/credentials/tensordock-token",
    ] {
        assert!(lines.contains(&promise), "{promise}");
    }
}

#[test]
fn the_unit_is_as_patient_as_the_longest_honest_tick() {
    let secret = || SecretString::from(String::new());
    for api in Api::ALL {
        let manners = market::dialect(*api, Some(secret()), secret()).manners();
        let (asked_again, waits) = (READ_ATTEMPTS_MAX, READ_ATTEMPTS_MAX - 1);
        let read = manners.read_deadline * asked_again + BACKOFF_MAX * waits;
        // The lists, then what they lacked by id, then writes, the last of them begun when the time was just not over.
        let honest = (read * 2 + WRITES_TIME_MIN).max(TICK_TIME_MAX) + manners.write_deadline;
        assert!(honest <= TICK_LASTS_MAX, "{api}: a tick may last {honest:?}");
        assert!(manners.write_deadline + CLOSING_MAX <= lasts("TimeoutStopSec"), "{api}: a stop waits for its write");
    }
    assert!(TICK_LASTS_MAX + SCAN_INTERVAL <= lasts("WatchdogSec"));
    assert!(TICK_LASTS_MAX + SCAN_INTERVAL <= lasts("TimeoutStartSec"), "the first tick comes before READY");
}
