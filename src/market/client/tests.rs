//! The client's promises: what is asked again, what is never sent twice, who waits for whom.

use super::*;
use crate::{
    io::{Awaited, net::Request},
    market::{Deployed, tensordock_v0::TensordockV0},
    model::Timestamp,
};
use futures_util::future::join_all;
use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

/// A clock that leaps to the end of every wait.
#[derive(Default)]
struct Leaping(SyncMutex<Duration>);

impl Clock for Leaping {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }
    fn sleep(&self, duration: Duration) -> Awaited<'static, ()> {
        let mut now = self.0.lock().unwrap();
        *now += duration;
        Box::pin(tokio::task::yield_now())
    }
}

/// Answers what was scripted, then success; remembers what was sent, and when.
struct Script {
    clock: Arc<Leaping>,
    answers: SyncMutex<VecDeque<Result<Response, NetError>>>,
    sent: SyncMutex<Vec<(u64, String)>>,
    writing: AtomicUsize,
    writing_most: AtomicUsize,
}

impl Net for Script {
    fn send(&self, request: Request, _: Duration) -> Awaited<'_, Result<Response, NetError>> {
        let last = request.path.rsplit('/').nth(1).unwrap_or_default().to_owned();
        let writes = request.path.ends_with("single") && last != "get";
        self.sent.lock().unwrap().push((self.clock.monotonic().as_millis() as u64, last));
        let answer = self.answers.lock().unwrap().pop_front();
        Box::pin(async move {
            if writes {
                let now = self.writing.fetch_add(1, Ordering::SeqCst) + 1;
                self.writing_most.fetch_max(now, Ordering::SeqCst);
            }
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            if writes {
                self.writing.fetch_sub(1, Ordering::SeqCst);
            }
            answer.unwrap_or_else(|| Ok(Response::json(200, r#"{"success":true,"virtualmachines":{}}"#)))
        })
    }
}

#[derive(Default)]
struct Heard(SyncMutex<Vec<String>>);

impl Observer for Heard {
    fn called(&self, marketplace: &MarketplaceName, call: &'static str, result: &'static str, _: Duration) {
        self.0.lock().unwrap().push(format!("{marketplace} {call} {result}"));
    }
}

struct Bench {
    client: Client,
    net: Arc<Script>,
    heard: Arc<Heard>,
}

fn bench(answers: impl IntoIterator<Item = Result<Response, NetError>>) -> Bench {
    let clock = Arc::new(Leaping::default());
    let net = Arc::new(Script {
        clock: clock.clone(),
        answers: SyncMutex::new(answers.into_iter().collect()),
        sent: SyncMutex::default(),
        writing: AtomicUsize::new(0),
        writing_most: AtomicUsize::new(0),
    });
    let heard = Arc::new(Heard::default());
    let dialect = Arc::new(TensordockV0::new("a-key".into(), "a-token".into()));
    let name = "tensordock".parse().unwrap();
    let client = Client::new(name, dialect, net.clone(), clock, 1_000, heard.clone());
    Bench { client, net, heard }
}

impl Bench {
    fn sent_at_ms(&self) -> Vec<u64> {
        self.net.sent.lock().unwrap().iter().map(|(at, _)| *at).collect()
    }

    fn sent(&self) -> Vec<String> {
        self.net.sent.lock().unwrap().iter().map(|(_, path)| path.clone()).collect()
    }

    fn heard(&self) -> Vec<String> {
        self.heard.0.lock().unwrap().clone()
    }
}

fn lost() -> Result<Response, NetError> {
    Err(NetError::Lost("connection reset".into()))
}

fn said(status: u16, body: &str) -> Result<Response, NetError> {
    Ok(Response::json(status, body))
}

fn throttled(seconds: &str) -> Result<Response, NetError> {
    let mut response = Response::json(429, r#"{"error":"Too many requests"}"#);
    response.headers.push(("retry-after".into(), seconds.into()));
    Ok(response)
}

#[tokio::test]
async fn a_read_is_asked_again_while_the_failure_may_pass_and_no_longer() {
    let bench = bench([lost(), said(200, "<html>")]);
    assert!(bench.client.read(bench.client.dialect().instances()).await.is_ok());
    assert_eq!(bench.heard(), ["unreachable", "malformed", "ok"].map(|word| format!("tensordock instances {word}")));

    let given_up = bench_of_failures(9);
    let outcome = given_up.client.read(given_up.client.dialect().instances()).await;
    assert_eq!(outcome, Err(Refusal::Unreachable("connection reset".into())));
    assert_eq!(given_up.sent().len(), READ_ATTEMPTS_MAX as usize);
}

fn bench_of_failures(count: usize) -> Bench {
    bench((0..count).map(|_| lost()))
}

#[tokio::test]
async fn a_plain_refusal_is_not_asked_again() {
    let bench = bench([said(401, r#"{"success":false,"error":"Invalid API key"}"#)]);
    let outcome = bench.client.read(bench.client.dialect().whoami()).await;
    assert!(matches!(outcome, Err(Refusal::Unauthorized(_))));
    assert_eq!(bench.sent().len(), 1);
}

#[tokio::test]
async fn retries_wait_longer_each_time_within_bounds_and_the_same_in_every_run() {
    let waits = |bench: Bench| async move {
        let _ = bench.client.read(bench.client.dialect().instances()).await;
        bench.sent_at_ms()
    };
    let times = waits(bench_of_failures(9)).await;
    assert_eq!(times, waits(bench_of_failures(9)).await);
    // The pace of one a second holds beside the back-off.
    assert!(times[1] - times[0] >= 1_000 && times[2] - times[1] >= 1_000, "{times:?}");
    assert!(times[1] - times[0] <= 1_000 && times[2] - times[1] <= 2_000, "{times:?}");
    let client = bench_of_failures(0).client;
    for attempt in 1..=200 {
        assert!(client.backoff(attempt) <= BACKOFF_MAX);
    }
}

#[tokio::test]
async fn a_throttled_client_waits_as_told_but_never_more_than_a_minute() {
    let waited = bench([throttled("30")]);
    assert!(waited.client.read(waited.client.dialect().instances()).await.is_ok());
    assert_eq!(waited.sent_at_ms(), [0, 30_000]);

    let given_up = bench([throttled("300")]);
    let outcome = given_up.client.read(given_up.client.dialect().instances()).await;
    assert_eq!(outcome, Err(Refusal::Throttled { retry_after: Some(Duration::from_secs(300)) }));
    assert_eq!(given_up.client.held_for(), BACKOFF_MAX);
    assert!(given_up.client.read(given_up.client.dialect().instances()).await.is_ok());
    assert_eq!(given_up.sent_at_ms(), [0, 60_000]);
    assert_eq!(given_up.client.held_for(), Duration::ZERO);
}

#[tokio::test]
async fn requests_keep_the_pace() {
    let bench = bench([]);
    let id = "vm".parse().unwrap();
    for _ in 0..3 {
        bench.client.read(bench.client.dialect().instances()).await.unwrap();
        bench.client.write(bench.client.dialect().terminate(&id)).await;
    }
    assert_eq!(bench.sent_at_ms(), [0, 1_000, 2_000, 3_000, 4_000, 5_000]);
}

#[tokio::test]
async fn many_reads_do_not_starve_a_write_nor_many_writes_a_read() {
    let id: crate::model::InstanceId = "vm".parse().unwrap();
    let by_turns = |reads: usize, writes: usize| {
        let id = id.clone();
        async move {
            let bench = bench([]);
            {
                let client = &bench.client;
                let reads = join_all((0..reads).map(|_| client.read(client.dialect().instances())));
                let writes = join_all((0..writes).map(|_| client.write(client.dialect().terminate(&id))));
                tokio::join!(reads, writes);
            }
            let sent = bench.sent();
            assert_eq!(bench.net.writing_most.load(Ordering::SeqCst), 1);
            sent.iter().position(|path| path == if reads > writes { "delete" } else { "client" }).unwrap()
        }
    };
    assert!(by_turns(20, 1).await <= 2);
    assert!(by_turns(1, 20).await <= 2);
}

/// What a deploy that was answered so came to.
async fn deploy(answer: Result<Response, NetError>) -> WriteOutcome<Deployed> {
    let bench = bench([answer]);
    let order = crate::market::Order {
        name: "spotscale-train-k3x9-7".parse().unwrap(),
        hostnode: "h".parse().unwrap(),
        shape: crate::model::Shape {
            gpu_model: "l40-pcie-48gb".parse().unwrap(),
            gpus: 1,
            vcpus: 4,
            ram_gb: 16,
            storage_gb: 100,
        },
        price_type: crate::model::PriceType::OnDemand,
        bid: None,
        image: "Ubuntu 22.04 LTS".into(),
        ports: [].into(),
        ssh_key: None,
        cloud_init: None,
        password: "Sup3r-random".into(),
    };
    let outcome = bench.client.write(bench.client.dialect().deploy(&order).unwrap()).await;
    assert_eq!(bench.sent().len(), 1, "a write is never sent twice");
    assert_eq!(bench.heard().len(), 1);
    outcome
}

fn behind_proxy(status: &str, body: &str) -> Result<Response, NetError> {
    let mut response = Response::json(200, body);
    response.headers.push((ORIGINAL_STATUS.into(), status.into()));
    Ok(response)
}

#[tokio::test]
async fn only_a_readable_refusal_settles_a_deploy_as_not_made() {
    for settled in [
        Err(NetError::NotSent("connection refused".into())),
        said(400, r#"{"success":false,"error":"vcpus must be even"}"#),
        said(200, r#"{"success":false,"error":"No available nodes found"}"#),
        said(200, r#"{"success":"false","error":"Insufficient balance"}"#),
        said(401, r#"{"success":false,"error":"Invalid API key"}"#),
        said(429, r#"{"success":false,"error":"Too many requests"}"#),
        behind_proxy("400", r#"{"success":false,"error":"vcpus must be even"}"#),
    ] {
        let outcome = deploy(settled.clone()).await;
        assert!(matches!(outcome, WriteOutcome::Settled(Err(_))), "{settled:?} {outcome:?}");
    }
    for doubtful in [
        lost(),
        said(500, r#"{"success":false,"error":"vcpus must be even"}"#),
        said(500, r#"{"success":true,"server":"65e7edca-888a-4e66-a975-2c6cd4cd218b"}"#),
        said(502, "<html>"),
        said(200, "<html>"),
        said(200, ""),
        said(200, r#"{"success":true,"server":"65e7"#),
        said(200, r#"{"success":true}"#),
        said(200, r#"{"server":"65e7edca-888a-4e66-a975-2c6cd4cd218b"}"#),
        said(200, r#"{}"#),
        said(400, "Bad Request"),
        said(400, "{}"),
        said(401, "<html>"),
        said(429, "slow down"),
        said(302, r#"{"error":"moved"}"#),
        behind_proxy("500", r#"{"success":false}"#),
        behind_proxy("500", r#"{"success":false,"error":"No available nodes found"}"#),
        behind_proxy("500", r#"{"success":true,"server":"65e7edca-888a-4e66-a975-2c6cd4cd218b"}"#),
    ] {
        let outcome = deploy(doubtful.clone()).await;
        assert!(matches!(outcome, WriteOutcome::InDoubt(_)), "{doubtful:?} {outcome:?}");
    }
    let made = said(200, r#"{"success":true,"server":"65e7edca-888a-4e66-a975-2c6cd4cd218b"}"#);
    assert!(matches!(deploy(made).await, WriteOutcome::Settled(Ok(_))));
}

#[tokio::test]
async fn a_refused_rebid_settles_although_the_proxy_says_500_and_a_delete_of_what_is_gone_succeeds() {
    let refused = bench([behind_proxy("500", r#"{"success":false}"#)]);
    let rebid = refused.client.dialect().rebid(&"vm".parse().unwrap(), "0.2".parse().unwrap()).unwrap();
    let outcome = refused.client.write(rebid).await;
    assert_eq!(outcome, WriteOutcome::Settled(Ok(crate::model::offer::BidAnswer::Refused)));
    let gone = bench([behind_proxy("500", r#"{"success":false,"error":"Machine is already terminated"}"#)]);
    let outcome = gone.client.write(gone.client.dialect().terminate(&"vm".parse().unwrap())).await;
    assert_eq!(outcome, WriteOutcome::Settled(Ok(())));
}

#[tokio::test]
async fn a_write_offered_as_a_read_is_not_sent() {
    let bench = bench([]);
    let outcome = bench.client.read(bench.client.dialect().terminate(&"vm".parse().unwrap())).await;
    assert!(matches!(outcome, Err(Refusal::Refused(_))));
    assert!(bench.sent().is_empty());
}
