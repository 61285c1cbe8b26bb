//! Asks a running daemon, over the same HTTP routes that scripts use.
//!
//! A change is sent as JSON and with the token, so that it passes the window's access rules; what the daemon says no to
//! comes back in its own words. Everything is bounded: the wait by a deadline, the answer by the network door.

use super::failure::Failure;
use crate::{
    admin::views::DoneView,
    io::net::{Method, Net, NetError, Request, Response},
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{fmt, time::Duration};

/// A lever is answered once it is recorded; an engine that takes longer is stuck.
const LEVER_DEADLINE: Duration = Duration::from_secs(30);
/// A daemon that is there says so at once.
const PRESENCE_DEADLINE: Duration = Duration::from_secs(2);
/// No word of a daemon's is shown longer.
const SHOWN_CHARS_MAX: usize = 300;

/// Why a daemon's answer is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DaemonError {
    /// Nobody is there, or nobody answers.
    #[error("no daemon answers at {url}: {source}")]
    Absent {
        /// Where.
        url: String,
        /// What the network said.
        source: NetError,
    },
    /// It understood, and said no.
    #[error("{detail}")]
    Refused {
        /// Its status.
        status: u16,
        /// Its words.
        detail: String,
        /// What is wrong with what was sent, one line each.
        faults: Vec<String>,
    },
    /// Something answers there, and it is no spotscale.
    #[error("what answers at {url} is not a spotscale daemon (HTTP {status})")]
    Stranger {
        /// Where.
        url: String,
        /// Its status.
        status: u16,
    },
    /// It is another version's.
    #[error("the daemon at {url} does not answer as this version expects: {detail}")]
    Unreadable {
        /// Where.
        url: String,
        /// What was not expected.
        detail: String,
    },
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        match &error {
            DaemonError::Absent { url, source: source @ NetError::NotSent(_) } => {
                Self::failed(format!("no daemon answers at {url}; start it, or say where it listens with --url"))
                    .because(source.to_string())
            }
            // It may have been understood: an engine that waits for a slow marketplace comes to it later.
            DaemonError::Absent { url, source: source @ NetError::Lost(_) } => Self::failed(format!(
                "the daemon at {url} did not answer in time; what was asked of it may still be done, see `spotscale status`"
            ))
            .because(source.to_string()),
            DaemonError::Refused { faults, .. } if !faults.is_empty() => Self::faulty(faults.clone()),
            DaemonError::Refused { status: 401, detail, .. } => Self::failed(detail.clone())
                .because("the token is read from [http] token of the settings; are they, or --config, the daemon's own?"),
            DaemonError::Refused { .. } | DaemonError::Stranger { .. } | DaemonError::Unreadable { .. } => {
                Self::failed(error.to_string())
            }
        }
    }
}

/// A running daemon.
pub struct Client {
    net: Box<dyn Net>,
    url: String,
    token: Option<SecretString>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Client {
    /// At an address, through a door that sends there.
    pub fn new(net: Box<dyn Net>, url: String, token: Option<SecretString>) -> Self {
        Self { net, url, token }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether a daemon answers there now.
    pub async fn answers(&self) -> bool {
        matches!(self.net.send(Request::get("/livez"), PRESENCE_DEADLINE).await, Ok(answer) if answer.status == 200)
    }

    /// One of the views.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn view<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Vec<(String, String)>,
        deadline: Duration,
    ) -> Result<T, DaemonError> {
        let mut request = Request::get(format!("/api/v1/{path}"));
        request.query = query;
        self.send(request, deadline).await
    }

    /// A read that carries a body: the plan of a policy that is not installed.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        deadline: Duration,
    ) -> Result<T, DaemonError> {
        self.send(with_body(Method::Post, path, body), deadline).await
    }

    /// Moves a lever; the daemon's one line.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn pull(&self, method: Method, path: &str, body: &Value) -> Result<String, DaemonError> {
        let done: DoneView = self.send(with_body(method, path, body), LEVER_DEADLINE).await?;
        Ok(shown(&done.message))
    }

    async fn send<T: DeserializeOwned>(&self, mut request: Request, deadline: Duration) -> Result<T, DaemonError> {
        request.headers.push(("accept".into(), "application/json".into()));
        if let Some(token) = &self.token {
            request.headers.push(("authorization".into(), format!("Bearer {}", token.expose_secret())));
        }
        let answer = self.net.send(request, deadline).await;
        self.read(&answer.map_err(|source| DaemonError::Absent { url: self.url.clone(), source })?)
    }

    fn read<T: DeserializeOwned>(&self, answer: &Response) -> Result<T, DaemonError> {
        let Response { status, headers: _, body } = answer;
        let stranger = || DaemonError::Stranger { url: self.url.clone(), status: *status };
        if !answer.header("content-type").is_some_and(|kind| kind.contains("json")) {
            return Err(stranger());
        }
        if (200..=299).contains(status) {
            return serde_json::from_slice(body)
                .map_err(|error| DaemonError::Unreadable { url: self.url.clone(), detail: error.to_string() });
        }
        let problem: Value = serde_json::from_slice(body).map_err(|_| stranger())?;
        let word = |key: &str| problem.get(key).and_then(Value::as_str).map(shown);
        let detail = word("detail").or_else(|| word("title")).ok_or_else(stranger)?;
        let faults = problem.get("faults").and_then(Value::as_array).into_iter().flatten();
        let faults = faults.filter_map(Value::as_str).map(shown).collect();
        Err(DaemonError::Refused { status: *status, detail, faults })
    }
}

fn with_body(method: Method, path: &str, body: &Value) -> Request {
    Request {
        method,
        path: format!("/api/v1/{path}"),
        query: Vec::new(),
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.to_string().into_bytes(),
    }
}

/// One line of bounded length, whatever was sent.
fn shown(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(SHOWN_CHARS_MAX).collect()
}

/// An id as one segment of a path.
pub fn segment(id: &str) -> String {
    let mut encoded = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Awaited;
    use serde_json::json;
    use std::sync::{Arc, Mutex};

    /// Answers everything alike and keeps what it was sent.
    struct Canned(Result<Response, NetError>, Arc<Mutex<Vec<Request>>>);

    impl Net for Canned {
        fn send(&self, request: Request, _deadline: Duration) -> Awaited<'_, Result<Response, NetError>> {
            self.1.lock().unwrap().push(request);
            let answer = self.0.clone();
            Box::pin(async move { answer })
        }
    }

    #[track_caller]
    fn pull(answer: Result<Response, NetError>) -> (Result<String, DaemonError>, Request) {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let net = Box::new(Canned(answer, Arc::clone(&sent)));
        let client = Client::new(net, "http://d".into(), Some("s3cret".to_owned().into()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let pulled = runtime.block_on(client.pull(Method::Post, "fleets/train/pause", &json!({})));
        let request = sent.lock().unwrap().pop().unwrap();
        (pulled, request)
    }

    #[test]
    fn a_change_is_json_and_carries_the_token() {
        let (answer, request) = pull(Ok(Response::json(200, r#"{"message":"train is paused"}"#)));
        assert_eq!(answer.unwrap(), "train is paused");
        assert_eq!(request.path, "/api/v1/fleets/train/pause");
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("authorization"), Some("Bearer s3cret"));
        assert_eq!(request.body, b"{}");
    }

    #[test]
    fn a_no_comes_back_in_the_daemons_words() {
        let problem = r#"{"title":"Conflict","detail":"train is in observe mode"}"#;
        let (answer, _) = pull(Ok(Response::json(409, problem)));
        assert_eq!(answer.unwrap_err().to_string(), "train is in observe mode");
    }

    #[test]
    fn a_stranger_is_told_from_a_daemon() {
        let html =
            Response { status: 200, headers: vec![("content-type".into(), "text/html".into())], body: b"<p>".to_vec() };
        let told = "what answers at http://d is not a spotscale daemon (HTTP 200)";
        assert_eq!(pull(Ok(html)).0.unwrap_err().to_string(), told);
        let lost = pull(Err(NetError::NotSent("connection refused".into()))).0.unwrap_err();
        assert_eq!(
            Failure::from(lost).to_string(),
            "error: no daemon answers at http://d; start it, or say where it listens with --url\n  \
             because: not sent: connection refused\n"
        );
    }

    #[test]
    fn an_id_stays_one_segment() {
        assert_eq!(segment("a-b_c.1~"), "a-b_c.1~");
        assert_eq!(segment("a/../b ?"), "a%2F..%2Fb%20%3F");
    }
}
