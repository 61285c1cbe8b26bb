//! What operators run spotscale with, held against the real tools: systemd reads the unit and scores its sandbox.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The unit's exposure may not grow beyond this, in tenths; systemd calls anything below 20 well protected.
const EXPOSURE_MAX: &str = "15";

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
        "Type=notify",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "RestartPreventExitStatus=2",
        "StateDirectory=spotscale",
        "LoadCredential=tensordock-key:/etc/spotscale/credentials/tensordock-key",
        "LoadCredential=tensordock-token:/etc/spotscale/credentials/tensordock-token",
    ] {
        assert!(lines.contains(&promise), "{promise}");
    }
    assert!(lines.iter().any(|line| line.starts_with("WatchdogSec=")));
}
