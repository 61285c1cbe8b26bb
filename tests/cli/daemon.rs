//! The commands as an operator uses them, on a running daemon and a simulated marketplace, each in a process of its own.

use super::{Marketplace, POLICY, SETTINGS, fixture, spotscale};
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Nothing here takes a tenth of this, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// `spotscale run` on its own folder and marketplace, ended when dropped.
struct Daemon {
    process: Child,
    url: String,
    folder: TempDir,
    _market: Marketplace,
}

/// How a command ended: its code and what it said.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Daemon {
    fn start() -> Self {
        let folder = fixture();
        let market = Marketplace::start(&["--key", "hush", "--token", "hush", "--speed", "60"]);
        let settings = SETTINGS
            .replace("base_url = \"http://127.0.0.1:1\"", &format!("base_url = \"{}\"", market.url))
            .replace("listen = \"127.0.0.1:1\"", "listen = \"127.0.0.1:0\"")
            .replace("[http]", "scan_interval = \"1s\"\n\n[http]");
        fs::write(folder.path().join("good.toml"), settings + "requests_per_second = 100\n").unwrap();
        fs::write(folder.path().join("policies/train.toml"), policy(4)).unwrap();
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_spotscale"))
            .env_clear()
            .args(["run", "--config"])
            .arg(folder.path().join("good.toml"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (found, address) = mpsc::channel();
        let log = BufReader::new(process.stderr.take().unwrap());
        // The log is read to its end, so that the daemon never waits for its reader.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http://")) {
                    let _ = found.send(url.trim_end_matches('/').to_owned());
                }
            }
        });
        let url = address.recv_timeout(PATIENCE).expect("the daemon says where it listens");
        Self { process, url, folder, _market: market }
    }

    /// A command that asks this daemon.
    fn say(&self, line: &str) -> Said {
        self.say_with(&format!("{line} --url {}", self.url))
    }

    fn say_with(&self, line: &str) -> Said {
        let output = spotscale(self.folder.path(), line).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Says it again until it says this.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "how long a test waits before it fails is not what it tests")]
    fn wait_for(&self, line: &str, part: &str) -> String {
        let began = Instant::now();
        loop {
            let said = self.say(line);
            if said.stdout.contains(part) {
                return said.stdout;
            }
            assert!(began.elapsed() < PATIENCE, "`{line}` never says `{part}`: {}{}", said.stdout, said.stderr);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn policy(gpus: u32) -> String {
    let model = r#"models          = [{ name = "geforcertx4090-pcie-24gb", max_price = 0.60 }]"#;
    let lines = POLICY.lines().map(|line| match line.split_whitespace().next() {
        Some("target_gpus") => format!("target_gpus     = {gpus}"),
        Some("models") => model.to_owned(),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[track_caller]
fn refused(said: &Said, code: i32, words: &str) {
    assert_eq!((said.code, said.stdout.as_str()), (Some(code), ""), "{}", said.stderr);
    assert!(said.stderr.starts_with(words), "{}", said.stderr);
}

#[test]
fn an_operator_moves_levers_and_sees_at_once_what_they_did() {
    let daemon = Daemon::start();
    daemon.wait_for("status", "at its target");

    assert_eq!(daemon.say("pause train").stdout, "train: paused\n");
    let status = daemon.say("status").stdout;
    assert!(status.contains("  paused"), "{status}");
    assert_eq!(daemon.say("resume train").stdout, "train: resumed\n");
    assert_eq!(daemon.say("pause --marketplace tensordock").stdout, "renting on tensordock: paused\n");
    assert_eq!(daemon.say("resume --marketplace tensordock").stdout, "renting on tensordock: resumed\n");

    let said = daemon.say("target train 3 --for 2h").stdout;
    assert!(said.starts_with("train: target 3 GPUs until 2") && said.ends_with("Z\n") && !said.contains('.'), "{said}");
    let status = daemon.say("status").stdout;
    assert!(status.contains("train: the operator's target of 3 GPUs holds until 2"), "{status}");
    assert_eq!(daemon.say("target train --clear").stdout, "train: back to the target of its policy\n");

    // Too much at once is held, and both texts are told.
    fs::write(daemon.folder.path().join("policies/train.toml"), policy(0)).unwrap();
    let held = daemon.wait_for("status", "an edit waits for `spotscale apply train`");
    assert!(held.contains("GPUs (target_gpus 4 -> 0)"), "{held}");
    // One that does not load leaves what was good.
    fs::write(daemon.folder.path().join("policies/train.toml"), policy(4).replace("6.00", "lots")).unwrap();
    let broken = daemon.wait_for("status", "its policy on disk is not in force, the last good text is:");
    assert!(broken.contains("max_hourly_rate = lots") || broken.contains("`lots`"), "{broken}");
    assert!(broken.contains("train       4"), "{broken}");
}

#[test]
fn an_operator_asks_why_and_is_told() {
    let daemon = Daemon::start();
    daemon.wait_for("status", "at its target");

    let instances = daemon.say("instances --json").stdout;
    let instances: serde_json::Value = serde_json::from_str(&instances).unwrap();
    let vm = &instances["instances"][0];
    let (name, host) = (vm["name"].as_str().unwrap(), vm["hostnode"].as_str().unwrap());
    let story = daemon.wait_for(&format!("explain {name}"), "running, was pending: it runs for the first time");
    for chapter in [": running, ", "    rented because: ", "Z  to be rented: ", "Z  made as "] {
        assert!(story.contains(chapter), "{chapter}: {story}");
    }
    let history = daemon.say("history --kind event").stdout;
    assert!(history.contains("running, was pending") && history.contains("is in force, sha256"), "{history}");
    let why = daemon.say(&format!("why-not {host}")).stdout;
    assert!(why.contains("\n  tensordock: ") && why.contains(" free: ") && why.contains(name), "{why}");
    let offers = daemon.say("offers --limit 1").stdout;
    assert!(offers.starts_with("train: 1 of "), "{offers}");

    refused(&daemon.say("plan --fleet nope"), 1, "error: there is no fleet nope; `spotscale status` ");
    refused(&daemon.say("offers --fleet nope"), 1, "error: there is no fleet nope; `spotscale status` ");
    refused(&daemon.say("instances --fleet nope"), 1, "error: there is no fleet nope; `spotscale status` ");
    refused(&daemon.say("why-not h --fleet nope"), 1, "error: there is no fleet nope; `spotscale status` ");
    refused(&daemon.say("pause nope"), 1, "error: there is no fleet nope; there are: train\n");
    refused(&daemon.say("pause --marketplace nope"), 1, "error: there is no marketplace nope; there are: tensordock\n");
    refused(&daemon.say("explain nope"), 1, "error: nothing is kept of `nope`: it is the name of no VM of ours");
    refused(&daemon.say("delete nope --yes"), 1, "error: nope is neither an instance of ours nor a stray");
    refused(&daemon.say("apply train"), 1, "error: train: no edit is held\n");

    // What was decided is made again from what was recorded, beside the daemon that holds the state.
    let history = daemon.say("history --kind decision --json").stdout;
    let history: serde_json::Value = serde_json::from_str(&history).unwrap();
    let decisions = history["decisions"].as_array().unwrap();
    let id = decisions.last().unwrap()["id"].as_str().unwrap();
    let again = daemon.say_with(&format!("explain {id} --replay --config {{dir}}/good.toml"));
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(again.stdout.contains("  round 1 (row ") && again.stdout.ends_with("\n    the same\n"), "{}", again.stdout);
    let edit = daemon.say_with("simulate --recorded --policy {dir}/policies/train.toml --config {dir}/good.toml");
    assert_eq!(edit.code, Some(0), "{}", edit.stderr);
    assert!(
        edit.stdout.starts_with("the market from ") && edit.stdout.contains("\n- no market impact"),
        "{}",
        edit.stdout
    );
    let unknown = daemon.say_with("explain nope --replay --config {dir}/good.toml");
    refused(&unknown, 1, "error: cannot recompute nope\n");

    // What holds the state, and what is seen past the daemon.
    let twice = daemon.say_with("run --config {dir}/good.toml");
    refused(&twice, 1, "error: cannot use ");
    assert!(twice.stderr.contains("another spotscale runs on this state"), "{}", twice.stderr);
    let offline = daemon.say_with("plan --offline --config {dir}/good.toml --detailed-exitcode");
    assert_eq!(offline.code, Some(0), "{}", offline.stderr);
    assert!(offline.stdout.contains("nothing to do"), "{}", offline.stdout);
    let offline = daemon.say_with("instances --offline --config {dir}/good.toml");
    assert!(offline.stdout.contains(name), "{}", offline.stdout);
    refused(
        &daemon.say_with("plan --offline --fleet nope --config {dir}/good.toml"),
        1,
        "error: there is no fleet nope",
    );
}
