//! One case's own world: a marketplace in its process, the daemon in its process, the proxy between them, and the operator
//! who pulls levers. Whatever happens, both processes end with the stage.

use crate::{
    proxy::{Cut, Proxy},
    vendor::{Credentials, Vendor, Vm},
};
use serde_json::Value;
use spotscale::io::{
    http::HttpNet,
    net::{Method, Net, Request},
};
use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::{Output, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
};

/// The real thing.
const SPOTSCALE: &str = env!("CARGO_BIN_EXE_spotscale");
/// How much faster than life the market is: a VM is up within a second or two.
const SPEED: &str = "60";
/// Only a failure waits so long. A start that may have been lost is given a minute by the daemon.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long a question to the daemon or the market may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Lines of the daemon's log that are told of a failure.
const LOG_LINES_TOLD: usize = 120;

const POLICY: &str = r#"fleet           = "train"
target_gpus     = 4
max_hourly_rate = 6.00
balance_floor   = 10.00
preference      = "value"
models          = [
  { name = "geforcertx4090-pcie-24gb", max_price = 0.60 },
  { name = "geforcertx3090-pcie-24gb", max_price = 0.60 },
  { name = "rtxa4000-pcie-16gb", max_price = 0.60 },
  { name = "rtxa6000-pcie-48gb", max_price = 0.60 },
]

[instance]
gpus       = { min = 1, max = 1 }
ssh_key    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example"
scale_down = "stop"

[hosts]
max_gpus_per_hostnode = 1

[spot]
bid = "market"

[on_demand]
use = "never"

[disruption]
cooldown_up   = "1s"
cooldown_down = "1s"
"#;

fn settings(market: &str) -> String {
    format!(
        r#"state         = "sqlite:state.db"
policies      = "policies"
scan_interval = "1s"
settle_grace  = "2s"
late_window   = "30s"

[http]
listen = "127.0.0.1:0"

[limits]
max_hourly_rate = 6.00
balance_floor   = 10.00

[marketplaces.tensordock]
api                 = "tensordock-v0"
base_url            = "{market}"
key                 = {{ env = "CRASH_KEY" }}
token               = {{ env = "CRASH_TOKEN" }}
requests_per_second = 100
"#
    )
}

/// Lines as they come.
#[derive(Clone)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    /// The newest address that a line named.
    address: watch::Sender<Option<String>>,
}

impl Log {
    fn new() -> Self {
        Self { lines: Arc::default(), address: watch::Sender::new(None) }
    }

    fn write(&self, line: String) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// Follows a stream to its end, and watches out for the line that names an address.
    fn follow(&self, stream: impl AsyncRead + Unpin + Send + 'static, mark: &'static str) {
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stream).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains(mark) {
                    let url = line.split_whitespace().find(|word| word.starts_with("http://"));
                    log.address.send_replace(url.map(|url| url.trim_end_matches('/').to_owned()));
                }
                log.write(line);
            }
            log.write("-- the process has ended --".to_owned());
        });
    }

    async fn address(&self) -> Result<String, String> {
        let mut address = self.address.subscribe();
        let named = tokio::time::timeout(PATIENCE, address.wait_for(Option::is_some)).await;
        let found = named.map_err(|_| "a process named no address")?.map_err(|error| error.to_string())?;
        found.clone().ok_or_else(|| "a process named no address".to_owned())
    }

    fn newest(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines[lines.len().saturating_sub(LOG_LINES_TOLD)..].join("\n")
    }
}

/// What the daemon says of itself and the market of the same moment.
#[derive(Clone, Debug)]
pub struct View {
    fleets: Value,
    instances: Value,
    market: Vec<Vm>,
}

impl View {
    /// VMs of ours, as the market has them.
    pub fn ours(&self) -> impl Iterator<Item = &Vm> {
        self.market.iter().filter(|vm| vm.is_ours())
    }

    /// What keeps this from being a fleet at rest at its target; empty when nothing does.
    pub fn unrest(&self, target: u64) -> Vec<String> {
        let mut unrest = Vec::new();
        let fleet = &self.fleets["fleets"][0];
        if fleet["target_gpus"] != target || fleet["running_gpus"] != target {
            unrest.push(format!("{} of {} GPUs run, {target} are wanted", fleet["running_gpus"], fleet["target_gpus"]));
        }
        for instance in self.instances["instances"].as_array().into_iter().flatten() {
            let standing = instance["standing"].as_str().unwrap_or_default();
            if !["running", "stopped_released"].contains(&standing) || instance["write_in_doubt"] != false {
                unrest.push(format!("{} is {standing}, or a write to it is in doubt", instance["name"]));
            }
        }
        for vm in self.ours().filter(|vm| !["Running", "StoppedDisassociated"].contains(&vm.status.as_str())) {
            unrest.push(format!("{} is {} on the market", vm.name, vm.status));
        }
        let running: u64 = self.ours().filter(|vm| vm.holds_gpus()).map(|vm| vm.gpus).sum();
        if running != target {
            unrest.push(format!("{running} GPUs run on the market, {target} are wanted"));
        }
        unrest.extend(differences(&self.market, &self.instances));
        unrest
    }
}

/// Where the market's own list and the ledger do not agree: names and ids, each once, nothing more on either side.
pub fn differences(market: &[Vm], ledger: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    for instance in ledger["instances"].as_array().into_iter().flatten() {
        let text = |key: &str| instance[key].as_str().unwrap_or_default().to_owned();
        let (name, id, standing) = (text("name"), text("id"), text("standing"));
        if ["stray", "late", "in_doubt", "lost"].contains(&standing.as_str()) {
            found.push(format!("the ledger has {name} as {standing}"));
        }
        if !known.insert((name.clone(), id)) {
            found.push(format!("the ledger has {name} twice"));
        }
    }
    let there: BTreeSet<(String, String)> =
        market.iter().filter(|vm| vm.is_ours()).map(|vm| (vm.name.clone(), vm.id.clone())).collect();
    let names: BTreeSet<&String> = there.iter().map(|(name, _)| name).collect();
    if names.len() != there.len() {
        found.push(format!("a name is on the market twice: {there:?}"));
    }
    found.extend(there.difference(&known).map(|(name, id)| format!("the ledger does not have {name} ({id})")));
    found.extend(known.difference(&there).map(|(name, id)| format!("the market does not have {name} ({id})")));
    found
}

/// A case's world.
pub struct Stage {
    /// Between daemon and market.
    pub proxy: Proxy,
    /// The market, asked directly.
    pub vendor: Vendor,
    folder: TempDir,
    credentials: Credentials,
    log: Log,
    /// How often the daemon was started.
    pub starts: usize,
    /// Names of VMs that are nobody's business but their owner's.
    pub rivals: Vec<String>,
    _market: Child,
}

impl Stage {
    /// A market in its first minute, and a daemon that was never started.
    pub async fn new(seed: u64, cuts: Vec<Cut>) -> Result<Self, String> {
        let credentials = Credentials { key: "key-of-a-test".to_owned(), token: "token-of-a-test".to_owned() };
        let seed = seed.to_string();
        let arguments = ["marketplace", "--listen", "127.0.0.1:0", "--speed", SPEED, "--seed", &seed];
        let secrets = ["--key", &credentials.key, "--token", &credentials.token];
        let mut market = Command::new(SPOTSCALE)
            .args(arguments.into_iter().chain(secrets))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("the marketplace does not start: {error}"))?;
        let announced = Log::new();
        announced.follow(market.stdout.take().ok_or("the marketplace has no stdout")?, "simulated marketplace on");
        let url = announced.address().await?;
        let proxy = Proxy::start(&url, &credentials).await?;
        proxy.arm(cuts);
        let folder =
            tempfile::Builder::new().prefix("spotscale-crash-").tempdir().map_err(|error| error.to_string())?;
        let stage = Self {
            vendor: Vendor::new(&url, &credentials)?,
            folder,
            credentials,
            log: Log::new(),
            starts: 0,
            rivals: Vec::new(),
            _market: market,
            proxy,
        };
        std::fs::create_dir(stage.path("policies")).map_err(|error| error.to_string())?;
        stage.write("spotscale.toml", &settings(&format!("http://{}", stage.proxy.address)))?;
        stage.write("policies/train.toml", POLICY)?;
        Ok(stage)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As editors do it: a new file takes the old one's place.
    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let (path, draft) = (self.path(name), self.path("draft"));
        std::fs::write(&draft, text)
            .and_then(|()| std::fs::rename(&draft, &path))
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Edits the policy.
    pub fn edit(&self, changes: &[(&str, &str)]) -> Result<(), String> {
        let text = changes.iter().fold(POLICY.to_owned(), |text, (from, to)| text.replace(from, to));
        self.write("policies/train.toml", &text)
    }

    fn spotscale(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(SPOTSCALE);
        command
            .args(arguments)
            .arg("--config")
            .arg(self.path("spotscale.toml"))
            .env_clear()
            .env("CRASH_KEY", &self.credentials.key)
            .env("CRASH_TOKEN", &self.credentials.token)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Starts the daemon, or starts it again.
    pub async fn start(&mut self) -> Result<(), String> {
        self.log.write(format!("-- start {} --", self.starts + 1));
        self.log.address.send_replace(None);
        let mut command = self.spotscale(&["run"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let log = self.log.clone();
        let plugged = self.proxy.plug_in(|| {
            let mut daemon = command.spawn()?;
            if let Some(told) = daemon.stderr.take() {
                log.follow(told, "the status page is at");
            }
            Ok::<_, std::io::Error>(daemon)
        });
        plugged.await.map_err(|error| format!("the daemon does not start: {error}"))?;
        self.starts += 1;
        Ok(())
    }

    /// Starts the daemon again if its power was cut. Ending by itself is a failure.
    async fn keep_up(&mut self) -> Result<(), String> {
        if self.proxy.is_off().await {
            return self.start().await;
        }
        match self.proxy.ended().await {
            Some(status) => Err(format!("the daemon ended by itself: {status}")),
            None => Ok(()),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value), String> {
        let address = self.log.address.borrow().clone().ok_or("the daemon is not up yet")?;
        let net = HttpNet::new(&address).map_err(|error| error.to_string())?;
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request { method, headers, body, ..Request::get(format!("/api/v1/{path}")) };
        let answer = net.send(request, ANSWER_WITHIN).await.map_err(|error| error.to_string())?;
        Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or_default()))
    }

    async fn look(&self) -> Result<View, String> {
        let (_, fleets) = self.ask(Method::Get, "fleets", None).await?;
        let (_, instances) = self.ask(Method::Get, "instances", None).await?;
        Ok(View { fleets, instances, market: self.vendor.list().await? })
    }

    /// Waits, over any number of crashes, until nothing is missing any more.
    pub async fn wait(&mut self, what: &str, missing: impl Fn(&View) -> Vec<String>) -> Result<View, String> {
        let mut last = vec!["nothing was seen".to_owned()];
        let mut bell = self.proxy.bell();
        let waiting = async {
            loop {
                bell.mark_unchanged();
                self.keep_up().await?;
                last = match self.look().await {
                    Ok(view) => match missing(&view) {
                        missing if missing.is_empty() => return Ok(view),
                        missing => missing,
                    },
                    Err(why) => vec![why],
                };
                // Every tick rings, and every cut. A daemon that died otherwise never rings: it is looked after.
                let _ = tokio::time::timeout(ANSWER_WITHIN, bell.changed()).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| Err(format!("{what} did not come: {}", last.join("; "))))
    }

    /// Waits for a fleet at rest.
    pub async fn rest(&mut self, target: u64) -> Result<View, String> {
        self.wait(&format!("rest at {target} GPUs"), |view| view.unrest(target)).await
    }

    /// Pulls a lever; where the power goes meanwhile, pulls it again.
    pub async fn lever(&mut self, method: Method, path: &str, body: Option<Value>) -> Result<(), String> {
        let mut bell = self.proxy.bell();
        let pulling = async {
            loop {
                bell.mark_unchanged();
                self.keep_up().await?;
                match self.ask(method, path, body.as_ref()).await {
                    Ok((200, _)) => return Ok(()),
                    Ok((status, said)) => return Err(format!("{method} {path}: {status} {said}")),
                    Err(_) => drop(tokio::time::timeout(ANSWER_WITHIN, bell.changed()).await),
                }
            }
        };
        let pulled = tokio::time::timeout(PATIENCE, pulling).await;
        pulled.unwrap_or_else(|_| Err(format!("{method} {path} was never answered")))
    }

    /// Stops the daemon as the service manager does, and asks the state on disk: what it says of every VM.
    pub async fn ledger_at_rest(&mut self) -> Result<Value, String> {
        let Some(mut daemon) = self.proxy.take_out().await else { return Err("the daemon is down".to_owned()) };
        let pid = daemon.id().ok_or("the daemon has ended")?.to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status().await.map_err(|error| error.to_string())?;
        let ended =
            tokio::time::timeout(PATIENCE, daemon.wait()).await.map_err(|_| "SIGTERM does not end the daemon")?;
        let ended = ended.map_err(|error| error.to_string())?;
        if !told.success() || !ended.success() {
            return Err(format!("SIGTERM ended the daemon with {ended}"));
        }
        let Output { status, stdout, stderr } = self
            .spotscale(&["instances", "--offline", "--json"])
            .output()
            .await
            .map_err(|error| format!("`spotscale instances` does not run: {error}"))?;
        if !status.success() {
            return Err(format!("`spotscale instances`: {}", String::from_utf8_lossy(&stderr)));
        }
        serde_json::from_slice(&stdout).map_err(|error| format!("`spotscale instances`: {error}"))
    }

    /// For whoever has to find out what went wrong: the journal's story, the daemon's log, the market's list.
    pub async fn story(&self) -> String {
        let history = self.spotscale(&["history", "--offline"]).output().await;
        let history =
            history.map(|output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned());
        let market = self.vendor.list().await;
        format!(
            "-- the market's list\n{market:#?}\n-- what the proxy saw\n{:#?}\n-- the history, newest first\n{}\n-- the log\n{}",
            self.proxy.seen(),
            history.unwrap_or_else(|error| error.to_string()),
            self.log.newest()
        )
    }
}
