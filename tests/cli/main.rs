//! Command lines that cannot work, on the real binary, with the exact words and exit code they get.
//!
//! The cases stand in `tests/cli/refused.cases`: a line `$ arguments`, the exit code, and what stands on stderr. `{dir}`
//! is a folder with settings and policies, good and bad ones (see [`fixture`]). Nothing listens on port 1. Whatever
//! differs is written, as it is now, beside the test's other output, so that a change of wording is one copy away from
//! its review.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod api;
mod daemon;
mod simulate;

use assert_cmd::Command;
use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ExitStatus, Stdio},
};
use tempfile::TempDir;

const CASES: &str = include_str!("refused.cases");

const SETTINGS: &str = r#"state    = "sqlite:state.db"
policies = "policies"

[http]
listen = "127.0.0.1:1"

[marketplaces.tensordock]
api      = "tensordock-v0"
base_url = "http://127.0.0.1:1"
key      = { file = "key" }
token    = { file = "token" }
"#;

const POLICY: &str = r#"fleet           = "train"
target_gpus     = 8
max_hourly_rate = 6.00
balance_floor   = 50.00
models          = [{ name = "h100-sxm5-80gb", max_price = 2.60 }]

[instance]
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example"
"#;

/// A folder with what the cases name.
fn fixture() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("good.toml", SETTINGS);
    write("key", "hush\n");
    write("token", "hush\n");
    write("policies/train.toml", POLICY);
    write("unkept.toml", &SETTINGS.replace("policies = \"policies\"", "policies = \"nowhere\""));
    write("broken.toml", &SETTINGS.replace("policies = \"policies\"", "policies = \"broken\""));
    write("broken/a.toml", "fleet       = \"Train\"\ntarget_gpus = -8\nmax_hourly_rat = 6.00\n");
    write("broken/b.toml", &POLICY.replace("6.00", "0.30"));
    let secret = SETTINGS.replace("{ file = \"key\" }", "\"s3cret\"").replace("state   ", "stat    ");
    write("wrong.toml", &secret.replace("policies = \"policies\"", "policies = \"broken\""));
    write("secretless.toml", &SETTINGS.replace("\"token\" }", "\"no-such-token\" }"));
    folder
}

fn spotscale(folder: &Path, line: &str) -> Command {
    let folder = folder.to_str().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_spotscale"));
    command.env_clear().args(line.split_whitespace().map(|word| word.replace("{dir}", folder)));
    command
}

/// `$ line`, the exit code and stderr, as the cases have it.
fn told(folder: &Path, line: &str) -> String {
    let output = spotscale(folder, line).output().unwrap();
    let code = output.status.code().unwrap_or(-1);
    let stderr = String::from_utf8_lossy(&output.stderr).replace(folder.to_str().unwrap(), "{dir}");
    assert!(output.stdout.is_empty(), "`{line}` prints on stdout: {}", String::from_utf8_lossy(&output.stdout));
    format!("$ {line}\n{code}\n{}\n", stderr.trim_end())
}

#[test]
fn every_command_line_that_cannot_work_gets_its_words() {
    let folder = fixture();
    let cases: Vec<String> =
        CASES.split("\n$ ").map(|case| format!("$ {}\n", case.trim_start_matches("$ ").trim_end())).collect();
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    let (mut now, mut different) = (String::new(), String::new());
    for expected in &cases {
        let line = expected.lines().next().unwrap().trim_start_matches("$ ");
        let told = told(folder.path(), line);
        if told != *expected {
            writeln!(different, "-- expected\n{expected}-- is\n{told}").unwrap();
        }
        writeln!(now, "{told}").unwrap();
    }
    if !different.is_empty() {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("refused.cases");
        fs::write(&file, now.trim_end().to_owned() + "\n").unwrap();
        panic!("{different}all as they are now: {}", file.display());
    }
}

#[test]
fn none_of_them_panics_or_leaks_a_secret() {
    for case in CASES.split("\n$ ") {
        let code = case.lines().nth(1).unwrap_or_default();
        assert!(["1", "2"].contains(&code), "{case}");
        assert!(!case.contains("panicked") && !case.contains("hush"), "{case}");
    }
    assert!(!CASES.contains("s3cret"));
}

#[test]
fn what_is_good_is_said_on_stdout_and_exits_with_0() {
    let folder = fixture();
    let check = |line: &str, expected: &str| {
        let output = spotscale(folder.path(), line).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{line}");
        assert!(output.status.success(), "{line}");
    };
    check("check --config {dir}/good.toml", "the settings and the policy of train are good\n");
    check("history --offline --config {dir}/good.toml", "nothing is kept of that\n");
    check("history --offline --json --config {dir}/good.toml", "{\n  \"decisions\": []\n}\n");
    check(
        "models h100-80gb",
        "1 model; a policy may say NAME, SHORT, or as much as tells one from all others\n\
         NAME            SHORT  GB  GENERATION  INTERFACE  TENSORDOCK-V0  TENSORDOCK-V2  VECTORDASH\n\
         h100-sxm5-80gb  h100   80  Hopper      sxm5       same           same           -\n",
    );
    check("--version", concat!("spotscale ", env!("CARGO_PKG_VERSION"), "\n"));
    assert!(!folder.path().join("state.db").exists(), "asking makes no state");
}

#[test]
fn warnings_alone_exit_with_0() {
    let folder = fixture();
    // The credentials of a unit can be read only inside it.
    let output = spotscale(folder.path(), "check --config {dir}/secretless.toml").output().unwrap();
    let warned = String::from_utf8_lossy(&output.stderr).replace(folder.path().to_str().unwrap(), "{dir}");
    assert!(warned.starts_with("{dir}/secretless.toml:11:12: warning: marketplaces.tensordock.token"), "{warned}");
    assert_eq!(warned.lines().count(), 1);
    assert!(output.status.success());
}

#[test]
fn the_environment_is_laid_over_the_file() {
    let folder = fixture();
    let mut command = spotscale(folder.path(), "status");
    command.env("SPOTSCALE_CONFIG", folder.path().join("good.toml")).env("SPOTSCALE__HTTP__LISTEN", "127.0.0.1:2");
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.starts_with("error: no daemon answers at http://127.0.0.1:2;"), "{told}");
}

#[test]
fn every_command_explains_itself() {
    let folder = fixture();
    let help = spotscale(folder.path(), "--help").output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    let commands = text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    for name in
        ["run", "demo", "check", "plan", "offers", "status", "instances", "explain", "why-not", "history", "api"]
    {
        assert!(names.contains(&name), "{name}");
    }
    for name in names.into_iter().filter(|name| !name.is_empty() && *name != "help") {
        let output = spotscale(folder.path(), &format!("{name} --help")).output().unwrap();
        if output.status.success() {
            assert!(String::from_utf8_lossy(&output.stdout).contains("--config <FILE>"), "{name}");
        }
    }
}

#[test]
fn the_doctor_has_one_line_for_each_thing_and_exits_with_1_when_one_needs_a_remedy() {
    let folder = fixture();
    let output = spotscale(folder.path(), "doctor --config {dir}/good.toml").output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    for (line, start) in report.lines().zip([
        "ok      settings ",
        "ok      policies      1 in ",
        "ok      limits        none over all; policies may ask for 6.00 USD/h; the floor is 0.00 USD",
        "ok      journal ",
        "ok      daemon        none runs: nobody answers at http://127.0.0.1:1, and the lock is free",
        "remedy  marketplace   tensordock does not answer ",
        "ok      clock ",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
    assert_eq!(report.lines().count(), 7, "{report}");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "error: something needs a remedy, see above\n");
}

#[test]
fn settings_are_found_from_their_own_folder_too() {
    let folder = fixture();
    let mut command = spotscale(folder.path(), "doctor --config good.toml");
    let output = command.current_dir(folder.path()).output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(
        report.contains("\nok      journal       state.db does not exist yet; the first run makes it\n"),
        "{report}"
    );
}

/// `spotscale marketplace` in a process of its own, ended when dropped.
struct Marketplace {
    process: Child,
    url: String,
}

impl Marketplace {
    fn start(arguments: &[&str]) -> Self {
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_spotscale"))
            .env_clear()
            .args(["marketplace", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
        Self { process, url }
    }

    /// As the service manager ends it.
    fn terminate(mut self) -> ExitStatus {
        let pid = self.process.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.process.wait().unwrap()
    }
}

impl Drop for Marketplace {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_simulated_marketplace_takes_its_credentials_and_no_others_and_stops_when_told() {
    let folder = fixture();
    let settings = folder.path().join("good.toml");
    let against = |marketplace: &Marketplace, line: &str| {
        let base_url = format!("base_url = \"{}\"", marketplace.url);
        fs::write(&settings, SETTINGS.replace("base_url = \"http://127.0.0.1:1\"", &base_url)).unwrap();
        spotscale(folder.path(), line).output().unwrap()
    };

    let right = Marketplace::start(&["--key", "hush", "--token", "hush", "--hosts", "3"]);
    let output = against(&right, "check --online --config {dir}/good.toml");
    let said = "the settings and the policy of train are good; every marketplace takes its credentials\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), said);
    assert!(output.status.success());
    let output = against(&right, "doctor --config {dir}/good.toml");
    assert!(output.status.success(), "nothing needs a remedy: {}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(right.terminate().code(), Some(0));

    let wrong = Marketplace::start(&["--key", "another", "--token", "another", "--hosts", "3"]);
    let output = against(&wrong, "check --online --config {dir}/good.toml");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.starts_with(
            "error: not every marketplace takes its credentials\n  because: tensordock does not take the credentials ("
        ),
        "{told}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_reader_who_has_gone_is_no_failure_and_a_full_disk_is_one() {
    let folder = fixture();
    let command = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_spotscale"));
        command.env_clear().current_dir(folder.path()).args(["check", "--config", "good.toml"]);
        command
    };
    // A pipe whose other end is closed before anything is written.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command().stdout(writer.try_clone().unwrap()).stderr(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0));

    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command().stdout(full).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.ends_with("error: not everything could be written to stdout\n"), "{told}");
    assert_eq!(output.status.code(), Some(1));
}
