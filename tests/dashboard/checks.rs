//! The dashboard, the rules and the metrics, held against a real Prometheus that scrapes a real window.
//!
//! Renaming a metric or a label breaks nobody's build, only somebody's alert: so every expression that is shipped is
//! asked here, and must find its series.

use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

/// The remedy where the tools are missing.
const INSTALL: &str =
    "this test needs Prometheus: `apt-get install prometheus` (as .ci/run does); it need not be started";
/// Scrapes until rates and increases can be told.
const SCRAPES_MIN: f64 = 4.0;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Looks until it has started, and until it has scraped: a minute and a half.
const LOOKS_MAX: usize = 450;
/// Free ports may be taken by somebody else in the moment between; so many times.
const STARTS_MAX: usize = 5;

/// A file of the repository.
pub fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The dashboard.
pub fn dashboard() -> Value {
    let text = fs::read_to_string(shipped("grafana/spotscale.json")).expect("the dashboard is there");
    serde_json::from_str(&text).expect("the dashboard is JSON")
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

/// A Prometheus that ends with its value.
struct Prometheus {
    child: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Scrapes a daemon each second, with the rules that are shipped.
    fn scraping(daemon: &str) -> Self {
        let target = daemon.strip_prefix("http://").unwrap_or(daemon).trim_end_matches('/');
        for _ in 0..STARTS_MAX {
            let mut started = Self::start(target);
            for _ in 0..LOOKS_MAX {
                match started.child.try_wait().expect("a child can be asked") {
                    Some(_) => break,
                    None if get(&format!("{}/-/ready", started.url)).is_ok_and(|body| body.contains("Ready")) => {
                        return started;
                    }
                    None => thread::sleep(LOOK_EVERY),
                }
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
    fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let encoded: String = expression
            .bytes()
            .map(
                |byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") },
            )
            .collect();
        let body = get(&format!("{}/api/v1/query?query={encoded}", self.url))?;
        let answer: Value = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
        match answer["data"]["result"].as_array() {
            Some(series) if answer["status"] == "success" => Ok(series.clone()),
            Some(_) | None => Err(format!("{expression}: {answer}")),
        }
    }

    /// Waits until the daemon was scraped often enough.
    fn wait(&self) {
        let scrapes = "max(count_over_time(up{job=\"spotscale\"}[5m])) and max(up{job=\"spotscale\"}) == 1";
        for _ in 0..LOOKS_MAX {
            let found = self.query(scrapes).unwrap_or_default();
            let count = found.first().and_then(|series| series["value"][1].as_str()?.parse::<f64>().ok());
            if count.is_some_and(|count| count >= SCRAPES_MIN) {
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let targets = get(&format!("{}/api/v1/targets", self.url));
        panic!("the daemon was not scraped: {targets:?}\n{log}");
    }
}

/// An expression of the dashboard as Grafana would send it.
fn filled(expression: &str) -> String {
    expression.replace("$__rate_interval", "1m").replace("\"$fleet\"", "\".+\"")
}

/// All panels, those inside rows too.
pub fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().expect("a dashboard has panels");
    let inside = |panel: &'_ Value| panel["panels"].as_array().map(Vec::as_slice).unwrap_or_default().to_vec();
    assert!(
        panels.iter().all(|panel| inside(panel).is_empty()),
        "rows are not collapsed: their panels stand beside them"
    );
    panels.iter().collect()
}

/// The selectors of an expression: each metric of ours with the matchers beside it.
fn selectors(expression: &str) -> Vec<String> {
    let mut found = Vec::new();
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let mut rest = expression;
    while let Some(start) = rest.find(is_name) {
        let name = &rest[start..];
        let end = name.find(|letter| !is_name(letter)).unwrap_or(name.len());
        let (name, after) = name.split_at(end);
        let matchers = after.strip_prefix('{').and_then(|inner| inner.split_once('}')).map(|(inner, _)| inner);
        if name == "up" || name.starts_with("spotscale_") || name.contains(":spotscale_") {
            found.push(format!("{name}{{{}}}", matchers.unwrap_or_default()));
        }
        rest = matchers.map_or(after, |matchers| &after[matchers.len() + 2..]);
        if let Some(text) = rest.strip_prefix('"') {
            rest = text.split_once('"').map_or("", |(_, rest)| rest);
        }
    }
    found
}

/// Everything that is shipped, against the daemon at this address. `may_be_empty` are metrics that this daemon may have
/// no series of, because nothing like it has happened there.
pub fn against(daemon: &str, may_be_empty: &[&str]) {
    let metrics = get(&format!("{}/metrics", daemon.trim_end_matches('/'))).expect("the daemon tells its metrics");
    let said = promtool(&["check", "metrics"], Some(&metrics));
    assert_eq!(String::from_utf8_lossy(&said.stderr), "", "promtool finds nothing to say");

    let prometheus = Prometheus::scraping(daemon);
    prometheus.wait();
    let is_excused = |expression: &str| may_be_empty.iter().any(|metric| expression.contains(metric));
    let mut faults = Vec::new();
    let mut ask = |what: &str, expression: &str, must_find: bool| match prometheus.query(expression) {
        Err(error) => faults.push(format!("{what}: {error}")),
        Ok(series) if series.is_empty() && must_find && !is_excused(expression) => {
            faults.push(format!("{what}: no series for {expression}"));
        }
        Ok(_) => {}
    };

    let dashboard = dashboard();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = filled(target["expr"].as_str().expect("a target has an expression"));
            ask(&format!("panel {}", panel["title"]), &expression, true);
            for selector in selectors(&expression) {
                ask(&format!("panel {}", panel["title"]), &selector, true);
            }
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().into_iter().flatten() {
        if let Some(expression) = annotation["expr"].as_str() {
            ask(&format!("annotation {}", annotation["name"]), expression, false);
            for selector in selectors(expression) {
                ask(&format!("annotation {}", annotation["name"]), &selector, true);
            }
        }
    }

    let rules = get(&format!("{}/api/v1/rules", prometheus.url)).expect("Prometheus tells its rules");
    let rules: Value = serde_json::from_str(&rules).expect("as JSON");
    let groups = rules["data"]["groups"].as_array().cloned().unwrap_or_default();
    assert!(!groups.is_empty(), "{rules}");
    for rule in groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()) {
        let name = rule["name"].as_str().unwrap_or_default();
        // A rule with an offset start may not have been evaluated yet; a failed one says so.
        assert_ne!(rule["health"], "err", "{name}: {rule}");
        let expression = rule["query"].as_str().expect("a rule has a query");
        ask(name, expression, rule["type"] == "recording");
        for selector in selectors(expression) {
            ask(name, &selector, true);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_selectors_of_an_expression_are_found() {
    let found = selectors(
        r#"sum by (fleet) (rate(spotscale_a_total{reason="x"}[1h])) / on (job) spotscale_b > 0 or fleet:spotscale_c:max"#,
    );
    assert_eq!(found, [r#"spotscale_a_total{reason="x"}"#, "spotscale_b{}", "fleet:spotscale_c:max{}"]);
}
