//! A daemon as the service manager starts it, on a marketplace of its own, and the socket that it talks to.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// Nothing here takes a fraction of this; it only ends a test that hangs.
const HANGS: Duration = Duration::from_secs(120);
/// Between two looks at a process that is to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

const POLICY: &str = r#"fleet           = "FLEET"
target_gpus     = 2
max_hourly_rate = 6.00
balance_floor   = 50.00
models          = [
    { name = "rtxa6000-pcie-48gb", max_price = 1.00 },
    { name = "geforcertx4090-pcie-24gb", max_price = 1.00 },
    { name = "v100-sxm2-16gb", max_price = 1.00 },
]

[instance]
gpus    = { min = 1, max = 1 }
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example"

[spot]
bid = "market"

[disruption]
cooldown_up = "1s"
"#;

/// A process that ends with its value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `spotscale marketplace`, its clock running as fast as a test wants it.
pub struct Marketplace {
    _process: Process,
    pub address: SocketAddr,
}

impl Marketplace {
    pub fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_spotscale"))
            .env_clear()
            .args(["marketplace", "--listen", "127.0.0.1:0", "--key", "hush", "--token", "hush", "--speed", "60"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find_map(|word| word.strip_prefix("http://")).unwrap();
        Self { _process: Process(child), address: url.parse().unwrap() }
    }
}

/// Stands before a marketplace and never answers what is asked at one path; all else passes.
pub struct Holding {
    pub address: SocketAddr,
    held: Receiver<TcpStream>,
}

impl Holding {
    pub fn before(marketplace: SocketAddr, path: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, held) = channel();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let sender = sender.clone();
                thread::spawn(move || relay(client, marketplace, path, &sender));
            }
        });
        Self { address, held }
    }

    /// Waits until a request is held.
    pub fn held(&self) -> TcpStream {
        self.held.recv_timeout(HANGS).expect("a request comes to be held")
    }
}

/// One request, and the connection is over: so no answer can be taken for another's.
fn relay(mut client: TcpStream, marketplace: SocketAddr, path: &str, held: &Sender<TcpStream>) -> Option<()> {
    let request = read_request(&mut client)?;
    let (line, rest) = request.split_once("\r\n")?;
    if line.contains(path) {
        return held.send(client).ok();
    }
    let mut server = TcpStream::connect(marketplace).ok()?;
    server.write_all(format!("{line}\r\nconnection: close\r\n{rest}").as_bytes()).ok()?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).ok()?;
    client.write_all(&answer).ok()
}

/// Head and body, both text.
fn read_request(client: &mut TcpStream) -> Option<String> {
    let mut reader = BufReader::new(client);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if reader.read_line(&mut request).ok()? == 0 {
            return None;
        }
    }
    let length = request.to_ascii_lowercase().lines().find_map(|line| {
        let length = line.strip_prefix("content-length:")?;
        length.trim().parse::<usize>().ok()
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    request.push_str(&String::from_utf8(body).ok()?);
    Some(request)
}

/// One message to the service manager: its assignments.
pub type Message = BTreeMap<String, String>;

/// `spotscale run` with a service manager that listens.
pub struct Service {
    process: Process,
    socket: UnixDatagram,
    folder: TempDir,
}

impl Service {
    /// Starts it with fleets of two GPUs each on a marketplace, with more lines at the top of its settings and more of an
    /// environment.
    pub fn start(marketplace: SocketAddr, fleets: &[&str], settings: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("policies")).unwrap();
        for fleet in fleets {
            fs::write(path(&format!("policies/{fleet}.toml")), POLICY.replace("FLEET", fleet)).unwrap();
        }
        let text = format!(
            "state = \"sqlite:state.db\"\n{settings}\n[http]\nlisten = \"127.0.0.1:0\"\n\n[marketplaces.tensordock]\n\
             api = \"tensordock-v0\"\nbase_url = \"http://{marketplace}\"\nkey = {{ env = \"KEY\" }}\n\
             token = {{ env = \"KEY\" }}\nrequests_per_second = 100\n"
        );
        fs::write(path("spotscale.toml"), text).unwrap();
        let socket = UnixDatagram::bind(path("notify")).unwrap();
        socket.set_read_timeout(Some(HANGS)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_spotscale"))
            .env_clear()
            .env("KEY", "hush")
            .env("NOTIFY_SOCKET", path("notify"))
            .envs(environment.iter().copied())
            .arg("run")
            .arg("--config")
            .arg(path("spotscale.toml"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(path("log")).unwrap())
            .spawn()
            .unwrap();
        Self { process: Process(child), socket, folder }
    }

    /// The next message.
    #[track_caller]
    pub fn message(&self) -> Message {
        let mut buffer = [0; 4_096];
        let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}; {}", self.log()));
        let text = String::from_utf8_lossy(&buffer[..length]);
        let pair = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        text.lines().filter_map(pair).collect()
    }

    /// All messages up to the first that says so, that one included.
    #[track_caller]
    pub fn until(&self, key: &str, value: &str) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let message = self.message();
            let found = message.get(key).is_some_and(|said| said.contains(value));
            messages.push(message);
            if found {
                return messages;
            }
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.process.0.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits until it has ended; `None` when it has not after so long.
    pub fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        for _ in 0..within.as_millis() / LOOK_EVERY.as_millis() {
            if let Some(status) = self.process.0.try_wait().unwrap() {
                return Some(status);
            }
            thread::sleep(LOOK_EVERY);
        }
        None
    }

    /// What it said and nobody has read yet.
    pub fn unread(&self) -> Vec<Message> {
        self.socket.set_nonblocking(true).unwrap();
        let mut messages = Vec::new();
        let mut buffer = [0; 4_096];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    let pair = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
                    messages.push(text.lines().filter_map(pair).collect());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return messages,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A command that asks past the daemon.
    pub fn offline(&self, command: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_spotscale"))
            .env_clear()
            .env("KEY", "hush")
            .args(command.split_whitespace())
            .args(["--offline", "--config"])
            .arg(self.folder.path().join("spotscale.toml"))
            .output()
            .unwrap()
    }

    /// The instances as the marketplace shows them now: fleet and standing of each.
    #[track_caller]
    pub fn instances(&self) -> Vec<String> {
        let output = self.offline("instances --json");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let view: Value = serde_json::from_slice(&output.stdout).unwrap();
        let word = |vm: &Value, key: &str| vm[key].as_str().unwrap_or_default().to_owned();
        let vms = view["instances"].as_array().unwrap().iter();
        vms.map(|vm| format!("{} {}", word(vm, "fleet"), word(vm, "standing"))).collect()
    }

    /// Its own words.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}
