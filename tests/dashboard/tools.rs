//! The real tools that the shipped files are held against: promtool, a Prometheus of its own, and the demo to scrape.

use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    thread,
    time::Duration,
};

/// The remedy where the tools are missing.
const INSTALL: &str =
    "this test needs Prometheus: `apt-get install prometheus` (as .ci/setup does); it need not be started";
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Looks until something must have come about: five minutes, of which a few seconds are needed.
const LOOKS_MAX: usize = 1_200;
/// Free ports may be taken by somebody else in the moment between; so many times.
const STARTS_MAX: usize = 5;

/// A file of the repository.
pub fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Its text.
pub fn text(path: &str) -> String {
    fs::read_to_string(shipped(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Looks until something is there.
pub fn wait<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..LOOKS_MAX {
        let found = look();
        if found.is_some() {
            return found;
        }
        thread::sleep(LOOK_EVERY);
    }
    None
}

/// Runs promtool, which must find nothing to say.
#[track_caller]
pub fn promtool(arguments: &[&str], input: Option<&str>) -> Output {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("promtool: {error}; {INSTALL}"));
    child.stdin.take().expect("piped").write_all(input.unwrap_or_default().as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    output
}

/// A GET of `http://address/path`, body only. HTTP/1.0, so that the body is whole and ends with the connection.
pub fn get(url: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{url}: {error}");
    let rest = url.strip_prefix("http://").ok_or("only http:// is spoken here")?;
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(failed)?;
    stream.write_all(format!("GET /{path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).ok_or(format!("{url}: {answer}"))
}

/// `spotscale demo` in a process of its own: the real daemon on a simulated market. It ends with its value.
pub struct Demo {
    child: Child,
    /// Where the window is.
    pub url: String,
    /// The demo tells what befalls its market; somebody must listen.
    _told: BufReader<ChildStdout>,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Demo {
    /// Starts it on a port that is free.
    pub fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_spotscale"))
            .env_clear()
            .args(["demo", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the demo starts");
        let mut told = BufReader::new(child.stdout.take().expect("piped"));
        let mut url = String::new();
        while url.is_empty() {
            let mut line = String::new();
            assert_ne!(told.read_line(&mut line).expect("the demo talks"), 0, "the demo ended before it began");
            if let Some(told) = line.trim().strip_prefix("status page") {
                told.trim().trim_end_matches('/').clone_into(&mut url);
            }
        }
        Self { child, url, _told: told }
    }

    /// Moves a lever of it.
    #[track_caller]
    pub fn lever(&self, line: &str) {
        let output = Command::new(env!("CARGO_BIN_EXE_spotscale"))
            .env_clear()
            .args(line.split_whitespace())
            .args(["--url", &self.url])
            .output()
            .expect("the command starts");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// All that it exports now.
    pub fn metrics(&self) -> String {
        get(&format!("{}/metrics", self.url)).expect("the daemon tells its metrics")
    }
}

/// A Prometheus that scrapes each second, with the rules that are shipped. It ends with its value.
pub struct Prometheus {
    child: Child,
    /// Where it answers.
    pub url: String,
    folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Scrapes a daemon.
    pub fn scraping(daemon: &str) -> Self {
        let target = daemon.trim_start_matches("http://").trim_end_matches('/');
        for _ in 0..STARTS_MAX {
            let mut started = Self::start(target);
            let up = wait(|| match started.child.try_wait().expect("a child can be asked") {
                Some(_) => Some(false),
                None => {
                    get(&format!("{}/-/ready", started.url)).is_ok_and(|body| body.contains("Ready")).then_some(true)
                }
            });
            if up == Some(true) {
                return started;
            }
        }
        panic!("Prometheus did not start {STARTS_MAX} times");
    }

    fn start(target: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for Prometheus");
        let rules = shipped("prometheus/spotscale.rules.yml");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{}']\n\
             scrape_configs: [{{job_name: spotscale, static_configs: [{{targets: ['{target}']}}]}}]\n",
            rules.display()
        );
        let path = folder.path().join("prometheus.yml");
        fs::write(&path, config).expect("its configuration is written");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let log = fs::File::create(folder.path().join("log")).expect("its log is written");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus: {error}; {INSTALL}"));
        Self { child, url: format!("http://127.0.0.1:{port}"), folder }
    }

    /// The series that an expression finds now.
    ///
    /// # Errors
    /// What Prometheus has against the expression.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let encoded: String = expression
            .bytes()
            .map(
                |byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") },
            )
            .collect();
        let answer = self.api(&format!("query?query={encoded}"))?;
        match answer["data"]["result"].as_array() {
            Some(series) if answer["status"] == "success" => Ok(series.clone()),
            Some(_) | None => Err(format!("{expression}: {answer}")),
        }
    }

    /// Its rules, each with what it knows of it.
    pub fn rules(&self) -> Vec<Value> {
        let answer = self.api("rules").expect("Prometheus tells its rules");
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect()
    }

    fn api(&self, call: &str) -> Result<Value, String> {
        let body = get(&format!("{}/api/v1/{call}", self.url))?;
        serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))
    }

    /// Waits until an expression finds something.
    #[track_caller]
    pub fn wait_for(&self, expression: &str) {
        let found = wait(|| self.query(expression).is_ok_and(|series| !series.is_empty()).then_some(()));
        assert!(found.is_some(), "{expression} was never found; {}", self.log());
    }

    /// What it says of itself.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}
