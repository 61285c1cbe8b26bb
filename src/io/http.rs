//! The network door's real side: HTTPS by `reqwest`, with its own trust in the system's certificates.
//!
//! One [`HttpPool`] of connections serves all marketplaces: those behind one host share them. Answers may come compressed;
//! what counts against their bound is what comes out.
//!
//! No redirects, no proxies from the environment, no retries of its own: a request goes once to the configured place or
//! it fails. **Invariant:** `NotSent` is said only when no connection was made. A pooled connection that dies before
//! anything was written is told as `Lost`, because nobody can know: that errs on the side of doubt.

use super::{
    Awaited,
    net::{BODY_BYTES_MAX, Method, Net, NetError, Request, Response},
};
use std::{error::Error, time::Duration};

/// Making a connection must not take longer; nothing was sent then.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Shorter than a scan interval and than most servers' patience, so that few requests meet a dead connection.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// Connections, to whichever places.
#[derive(Clone, Debug)]
pub struct HttpPool {
    client: reqwest::Client,
}

/// One marketplace over HTTP.
#[derive(Clone, Debug)]
pub struct HttpNet {
    client: reqwest::Client,
    base_url: String,
}

/// Why there is no HTTP client.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The base is not an `http` or `https` URL.
    #[error("`{0}` is not an http or https URL")]
    BaseUrl(String),
    /// TLS could not be set up, for example because the machine has no certificates (package `ca-certificates`).
    #[error("failed to set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

impl HttpPool {
    /// No connection is made yet.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, HttpError> {
        // An error means that one is installed already: there is only one in the tree.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("spotscale/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .gzip(true)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_DEADLINE)
            .pool_idle_timeout(IDLE_MAX)
            .build()
            .map_err(HttpError::Client)?;
        Ok(Self { client })
    }

    /// Sends to `base_url`, which each request's path is put after.
    ///
    /// # Errors
    /// When it is not the URL of a place.
    pub fn to(&self, base_url: &str) -> Result<HttpNet, HttpError> {
        let base_url = base_url.trim_end_matches('/');
        let parsed = reqwest::Url::parse(base_url).ok();
        let fits = parsed.is_some_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        if !fits {
            return Err(HttpError::BaseUrl(base_url.to_owned()));
        }
        Ok(HttpNet { client: self.client.clone(), base_url: base_url.to_owned() })
    }
}

impl HttpNet {
    /// Sends to `base_url` over connections of its own, for who talks to one place only.
    ///
    /// # Errors
    /// When the URL is none or TLS cannot be set up.
    pub fn new(base_url: &str) -> Result<Self, HttpError> {
        HttpPool::new()?.to(base_url)
    }

    fn url(&self, request: &Request) -> String {
        let Self { base_url, .. } = self;
        if request.query.is_empty() {
            return format!("{base_url}{}", request.path);
        }
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&request.query).finish();
        format!("{base_url}{}?{query}", request.path)
    }

    async fn exchange(&self, request: Request, deadline: Duration) -> Result<Response, NetError> {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut builder = self.client.request(method, self.url(&request)).timeout(deadline);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if !request.body.is_empty() {
            builder = builder.body(request.body);
        }
        let mut answer = builder.send().await.map_err(|error| {
            let before = error.is_connect() || error.is_builder();
            let why = told(error);
            if before { NetError::NotSent(why) } else { NetError::Lost(why) }
        })?;
        let headers = answer.headers().iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
        let (status, headers) = (answer.status().as_u16(), headers.collect());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| NetError::Lost(told(error)))? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(NetError::Lost(format!("the answer is larger than {BODY_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, headers, body })
    }
}

impl Net for HttpNet {
    fn send(&self, request: Request, deadline: Duration) -> Awaited<'_, Result<Response, NetError>> {
        Box::pin(async move {
            // The client's own deadline ends before this one; this one holds even where that does not.
            let guard = deadline.saturating_add(Duration::from_secs(1));
            match tokio::time::timeout(guard, self.exchange(request, deadline)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(NetError::Lost(format!("no answer within {}", crate::model::time::show(deadline)))),
            }
        })
    }
}

/// Links of a chain that say no more than that there was an error.
const EMPTY_WORDS: [&str; 4] =
    ["error sending request", "client error (Connect)", "client error (SendRequest)", "tcp connect error"];

/// The whole chain in one line, without the URL, for its query carries credentials, and without empty words.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut links = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        links.push(cause.to_string());
        source = cause.source();
    }
    let whole = links.join(": ");
    links.retain(|link| !EMPTY_WORDS.contains(&link.as_str()));
    match (links.is_empty(), error.is_connect()) {
        (true, _) => whole,
        (false, true) => format!("cannot connect: {}", links.join(": ")),
        (false, false) => links.join(": "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    const SOON: Duration = Duration::from_secs(20);

    /// Serves one connection: reads a request's head, then does what it is told; says what it read.
    async fn serve<F>(answer: impl FnOnce(TcpStream) -> F + Send + 'static) -> (String, tokio::task::JoinHandle<String>)
    where
        F: Future<Output = ()> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = vec![0; 4_096];
            let mut head = String::new();
            while !head.contains("\r\n\r\n") {
                let count = stream.read(&mut read).await.unwrap();
                head.push_str(std::str::from_utf8(&read[..count]).unwrap());
            }
            answer(stream).await;
            head
        });
        (base_url, served)
    }

    async fn write(mut stream: TcpStream, text: &str) {
        stream.write_all(text.as_bytes()).await.unwrap();
    }

    fn asked() -> Request {
        Request { query: vec![("api_key".into(), "hunter 22".into())], ..Request::get("/list") }
    }

    #[tokio::test]
    async fn an_answer_comes_whole_and_a_redirect_is_not_followed() {
        let text = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nX-Do-Orig-Status: 500\r\ncontent-length: 5\r\n\r\nhello";
        let (base_url, served) = serve(|stream| write(stream, text)).await;
        let answer = HttpNet::new(&format!("{base_url}/")).unwrap().send(asked(), SOON).await.unwrap();
        assert_eq!(
            (answer.status, answer.header("x-do-orig-status"), answer.body.as_slice()),
            (302, Some("500"), b"hello".as_slice())
        );
        assert!(served.await.unwrap().starts_with("GET /list?api_key=hunter+22 HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn a_connection_that_was_never_made_sent_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let outcome = HttpNet::new(&base_url).unwrap().send(asked(), SOON).await;
        let Err(NetError::NotSent(why)) = outcome else { panic!("{outcome:?}") };
        assert!(!why.contains("hunter"), "{why}");
    }

    #[tokio::test]
    async fn a_connection_that_breaks_later_may_have_been_acted_upon() {
        let broken: [fn(TcpStream) -> Awaited<'static, ()>; 3] = [
            |stream| Box::pin(async move { drop(stream) }),
            |stream| Box::pin(write(stream, "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"half\":")),
            |stream| Box::pin(write(stream, "this is no HTTP\r\n\r\n")),
        ];
        for answer in broken {
            let (base_url, served) = serve(answer).await;
            let outcome = HttpNet::new(&base_url).unwrap().send(asked(), SOON).await;
            let Err(NetError::Lost(why)) = outcome else { panic!("{outcome:?}") };
            assert!(!why.contains("hunter"), "{why}");
            served.await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_in_time_is_lost() {
        let (base_url, served) = serve(|stream| async move {
            std::future::pending::<()>().await;
            drop(stream);
        })
        .await;
        let outcome = HttpNet::new(&base_url).unwrap().send(asked(), Duration::from_millis(50)).await;
        assert!(matches!(outcome, Err(NetError::Lost(_))), "{outcome:?}");
        served.abort();
    }

    #[tokio::test]
    async fn an_answer_larger_than_the_bound_is_not_read_to_its_end() {
        let (base_url, served) = serve(|mut stream| async move {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", BODY_BYTES_MAX * 2);
            let _ = stream.write_all(head.as_bytes()).await;
            let part = vec![b' '; 1024 * 1024];
            for _ in 0..=BODY_BYTES_MAX / part.len() {
                if stream.write_all(&part).await.is_err() {
                    break;
                }
            }
        })
        .await;
        let outcome = HttpNet::new(&base_url).unwrap().send(asked(), SOON).await;
        let expected = format!("the answer is larger than {BODY_BYTES_MAX} bytes");
        assert_eq!(outcome, Err(NetError::Lost(expected)));
        served.await.unwrap();
    }

    fn gzipped(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, plain).unwrap();
        encoder.finish().unwrap()
    }

    async fn answered_compressed(body: Vec<u8>) -> (Result<Response, NetError>, String) {
        let (base_url, served) = serve(move |mut stream| async move {
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        })
        .await;
        let outcome = HttpNet::new(&base_url).unwrap().send(asked(), SOON).await;
        (outcome, served.await.unwrap())
    }

    #[tokio::test]
    async fn a_compressed_answer_is_asked_for_and_comes_decoded() {
        let plain = r#"{"success": true}"#.repeat(1_000);
        let (outcome, head) = answered_compressed(gzipped(plain.as_bytes())).await;
        let answer = outcome.unwrap();
        assert_eq!((answer.body.as_slice(), answer.header("content-encoding")), (plain.as_bytes(), None));
        assert!(head.to_ascii_lowercase().contains("accept-encoding: gzip"), "{head}");
    }

    #[tokio::test]
    async fn a_small_answer_that_grows_without_end_is_not_read_to_its_end() {
        let bomb = gzipped(&vec![b' '; BODY_BYTES_MAX + 1]);
        assert!(bomb.len() < BODY_BYTES_MAX / 500, "{}", bomb.len());
        let (outcome, _) = answered_compressed(bomb).await;
        assert_eq!(outcome, Err(NetError::Lost(format!("the answer is larger than {BODY_BYTES_MAX} bytes"))));
        let (outcome, _) = answered_compressed(gzipped(&vec![b' '; BODY_BYTES_MAX])).await;
        assert_eq!(outcome.unwrap().body.len(), BODY_BYTES_MAX);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_what_it_says_it_is_is_lost() {
        let (outcome, _) = answered_compressed(b"{\"plain\": true}".to_vec()).await;
        assert!(matches!(outcome, Err(NetError::Lost(_))), "{outcome:?}");
    }

    #[tokio::test]
    async fn marketplaces_behind_one_host_share_its_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        // One connection, and no other.
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = vec![0; 4_096];
            for _ in 0..2 {
                assert_ne!(stream.read(&mut read).await.unwrap(), 0);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
            }
        });
        let pool = HttpPool::new().unwrap();
        for path in ["/api/v0", "/api/v2"] {
            let net = pool.to(&format!("{base_url}{path}")).unwrap();
            assert_eq!(net.send(asked(), SOON).await.unwrap().body, b"{}");
        }
        served.await.unwrap();
    }

    #[test]
    fn a_base_that_is_no_place_is_refused() {
        for base in ["", "tensordock.com", "ftp://a.b", "http://", "https://a.b/?q=1", "file:///etc"] {
            assert!(matches!(HttpNet::new(base), Err(HttpError::BaseUrl(_))), "{base}");
        }
        assert!(HttpNet::new("https://dashboard.tensordock.com").is_ok());
    }
}
