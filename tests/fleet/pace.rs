//! The pace of an account with two marketplaces, on a clock on which several can wait at the same time: who waits for whom,
//! and what is not sent twice.

use futures_util::future::join_all;
use spotscale::{
    io::{
        Awaited,
        clock::Clock,
        net::{Net, NetError, Request, Response},
    },
    market::{
        self, Dialect,
        client::{Client, Observer, Pacer, Unobserved, WriteOutcome},
    },
    model::{InstanceId, MarketplaceName, Refusal, Scan},
    settings::Api,
    sim::{Call, Fault, Faults, InProcess, Market, clock::VirtualClock},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::stage::{NOON, still};

/// Answers what is scripted, then success; an answer takes half a second.
struct Wire {
    clock: VirtualClock,
    script: Mutex<VecDeque<Response>>,
    sent: Mutex<Vec<(u64, String)>>,
}

impl Net for Wire {
    fn send(&self, request: Request, _: Duration) -> Awaited<'_, Result<Response, NetError>> {
        let what = if request.path.ends_with("delete/single") { "delete" } else { "read" };
        self.sent.lock().unwrap().push((self.clock.monotonic().as_millis() as u64, what.to_owned()));
        let answer = self.script.lock().unwrap().pop_front();
        Box::pin(async move {
            self.clock.sleep(Duration::from_millis(500)).await;
            Ok(answer.unwrap_or_else(|| Response::json(200, r#"{"success": true, "virtualmachines": {}}"#)))
        })
    }
}

/// Two marketplaces of one account: `one` a request a second, `two` a hundred a minute.
struct Account {
    clock: VirtualClock,
    wires: [Arc<Wire>; 2],
    clients: [Client; 2],
}

fn account() -> Account {
    let clock = VirtualClock::patient(NOON);
    let pacer = Arc::new(Pacer::new());
    let wire = || Arc::new(Wire { clock: clock.clone(), script: Mutex::default(), sent: Mutex::default() });
    let wires = [wire(), wire()];
    let client = |name: &str, wire: &Arc<Wire>, pace_milli| {
        let dialect = market::dialect(Api::TensordockV0, Some("k".into()), "t".into());
        let (net, ticking) = (Arc::clone(wire) as Arc<dyn Net>, Arc::new(clock.clone()));
        let client = Client::new(name.parse().unwrap(), dialect, net, ticking, pace_milli, Arc::new(Unobserved));
        client.paced_by(Arc::clone(&pacer))
    };
    let clients = [client("one", &wires[0], 1_000), client("two", &wires[1], 1_667)];
    Account { clock, wires, clients }
}

impl Account {
    fn sent(&self, which: usize) -> Vec<(u64, String)> {
        self.wires[which].sent.lock().unwrap().clone()
    }

    fn sent_ms(&self, which: usize) -> Vec<u64> {
        self.sent(which).into_iter().map(|(at, _)| at).collect()
    }
}

fn throttled(value: &str) -> Response {
    let mut response = Response::json(429, r#"{"error": "Too many requests"}"#);
    response.headers.push(("retry-after".into(), value.into()));
    response
}

async fn read(client: &Client) -> Result<Scan<spotscale::model::Instance>, Refusal> {
    client.read(client.dialect().instances()).await
}

async fn delete(client: &Client) -> WriteOutcome<()> {
    let id: InstanceId = "vm".parse().unwrap();
    client.write(client.dialect().terminate(&id)).await
}

#[tokio::test]
async fn marketplaces_of_one_account_share_its_pace_and_each_request_takes_its_own_interval() {
    let account = account();
    let [one, two] = &account.clients;
    account.clock.run(async { tokio::join!(join_all([read(one), read(one)]), join_all([read(two), read(two)])) }).await;
    // A second after each of the one's, and 0.6 s after the other's.
    assert_eq!((account.sent_ms(0), account.sent_ms(1)), (vec![0, 1_000], vec![2_000, 2_599]));
}

#[tokio::test]
async fn neither_reads_nor_writes_nor_marketplaces_of_one_account_starve_one_another() {
    for busy in 0..2 {
        let account = account();
        let (busy, idle) = (&account.clients[busy], &account.clients[1 - busy]);
        account
            .clock
            .run(async {
                let crowd = join_all((0..30).map(|_| read(busy)));
                let lane = join_all((0..10).map(|_| delete(busy)));
                let (.., idle_read, _) = tokio::join!(crowd, lane, read(idle), delete(idle));
                assert!(idle_read.is_ok());
            })
            .await;
        let which = usize::from(idle.marketplace().as_str() == "two");
        let last = account.sent_ms(which).into_iter().max().unwrap();
        assert!(last <= 6_000, "the idle one waited {last} ms behind 40 requests");
        let deletes: Vec<usize> = (0..)
            .zip(account.sent(1 - which))
            .filter(|(_, (_, what))| what == "delete")
            .map(|(place, _)| place)
            .collect();
        assert!(deletes.windows(2).all(|pair| pair[1] - pair[0] <= 3), "{deletes:?}");
    }
}

#[tokio::test]
async fn one_that_wants_to_be_left_alone_does_not_make_the_other_wait() {
    // In seconds, and as a date: the same half a minute, told half a second later.
    for wait in ["30", "Fri, 20 Nov 2026 12:00:30 GMT"] {
        let account = account();
        account.wires[0].script.lock().unwrap().push_back(throttled(wait));
        let [one, two] = &account.clients;
        account
            .clock
            .run(async {
                let crowd = async {
                    account.clock.sleep(Duration::from_secs(2)).await;
                    assert!(one.held_for() > Duration::from_secs(25) && two.held_for().is_zero());
                    join_all((0..10).map(|_| read(two))).await;
                };
                let (held_read, ..) = tokio::join!(read(one), delete(one), crowd);
                assert!(held_read.is_ok());
            })
            .await;
        let held = account.sent_ms(0);
        // What stood in line already waits as well.
        assert!(held[0] == 0 && (30_000..=30_500).contains(&held[1]) && held.len() == 3, "{wait}: {held:?}");
        let free = account.sent_ms(1);
        assert!(free[0] == 2_000 && *free.last().unwrap() < 9_000, "{wait}: {free:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_busy_may_ask_us_to_wait_as_well() {
    let account = account();
    let busy = Response { status: 503, ..throttled("20") };
    account.wires[0].script.lock().unwrap().push_back(busy);
    assert!(account.clock.run(read(&account.clients[0])).await.is_ok());
    assert_eq!(account.sent_ms(0), [0, 20_500]);
}

#[tokio::test]
async fn a_read_that_took_all_its_time_is_not_asked_again() {
    struct Silent(VirtualClock, Mutex<u32>);
    impl Net for Silent {
        fn send(&self, _: Request, deadline: Duration) -> Awaited<'_, Result<Response, NetError>> {
            *self.1.lock().unwrap() += 1;
            Box::pin(async move {
                self.0.sleep(deadline).await;
                Err(NetError::Lost("timed out".into()))
            })
        }
    }
    let clock = VirtualClock::patient(NOON);
    let net = Arc::new(Silent(clock.clone(), Mutex::default()));
    let dialect = market::dialect(Api::TensordockV0, Some("k".into()), "t".into());
    let deadline = dialect.manners().read_deadline;
    let ticking = Arc::new(clock.clone());
    let client = Client::new("one".parse().unwrap(), dialect, net.clone(), ticking, 1_000, Arc::new(Unobserved));
    assert_eq!(clock.run(read(&client)).await, Err(Refusal::Unreachable("timed out".into())));
    assert_eq!((*net.1.lock().unwrap(), clock.monotonic()), (1, deadline));
}

/// Counts the bytes that came, and what was answered by "nothing has changed".
struct Counting {
    inner: InProcess,
    bytes: Mutex<Vec<usize>>,
}

impl Net for Counting {
    fn send(&self, request: Request, deadline: Duration) -> Awaited<'_, Result<Response, NetError>> {
        Box::pin(async move {
            let answer = self.inner.send(request, deadline).await;
            self.bytes.lock().unwrap().push(answer.as_ref().map_or(0, |answer| answer.body.len()));
            answer
        })
    }
}

#[derive(Default)]
struct Unchanged(Mutex<Vec<String>>, Mutex<Vec<Duration>>);

impl Observer for Unchanged {
    fn called(&self, _: &MarketplaceName, _: &'static str, _: &'static str, _: Duration) {}
    fn waited(&self, _: &MarketplaceName, wait: Duration) {
        self.1.lock().unwrap().push(wait);
    }
    fn unchanged(&self, marketplace: &MarketplaceName, call: &'static str) {
        self.0.lock().unwrap().push(format!("{marketplace} {call}"));
    }
}

#[tokio::test]
async fn a_list_that_has_not_changed_is_not_sent_again_and_reads_the_same() {
    let clock = VirtualClock::patient(NOON);
    let market = Arc::new(Mutex::new(Market::of_all_dialects(still("500"), Faults::none(), Some("k"), Some("t"))));
    let inner = InProcess { market: Arc::clone(&market), clock: Arc::new(clock.clone()) };
    let net = Arc::new(Counting { inner, bytes: Mutex::default() });
    let told = Arc::new(Unchanged::default());
    let dialect: Arc<dyn Dialect> = market::dialect(Api::TensordockV0, Some("k".into()), "t".into());
    let ticking = Arc::new(clock.clone());
    let client = Client::new("one".parse().unwrap(), dialect, net.clone(), ticking, 1_000, told.clone());
    let look = || client.read(client.dialect().hostnodes());
    let bytes = || net.bytes.lock().unwrap().clone();

    let first = clock.run(look()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(clock.run(look()).await.as_ref(), Ok(&first));
    }
    assert!(bytes()[0] > 1_000 && bytes()[1..] == [0, 0, 0], "{:?}", bytes());
    assert_eq!(*told.0.lock().unwrap(), ["one hostnodes"; 3]);
    assert_eq!(told.1.lock().unwrap().iter().map(Duration::as_secs).collect::<Vec<_>>(), [0, 1, 1, 1]);

    // What cannot be read does not become a copy, nor undo the one there is.
    market.lock().unwrap().faults.script(Call::Hostnodes, Fault::HalfJson);
    assert_eq!(clock.run(look()).await.as_ref(), Ok(&first));
    assert_eq!(told.0.lock().unwrap().len(), 4);
    // What has changed is sent.
    market.lock().unwrap().faults.script(Call::Hostnodes, Fault::EmptyList);
    assert_eq!(*clock.run(look()).await.unwrap().items, []);
    assert_eq!(clock.run(look()).await.as_ref(), Ok(&first));
    assert_eq!(told.0.lock().unwrap().len(), 4);
    // What is posted is always sent whole.
    for _ in 0..2 {
        clock.run(read(&client)).await.unwrap();
        assert!(*bytes().last().unwrap() > 0);
    }
}

#[tokio::test]
async fn nothing_has_changed_since_nothing_is_no_list() {
    let account = account();
    let odd = || Response { status: 304, headers: Vec::new(), body: Vec::new() };
    account.wires[0].script.lock().unwrap().extend([odd(), odd(), odd()]);
    let outcome = account.clock.run(read(&account.clients[0])).await;
    assert_eq!(outcome, Err(Refusal::Malformed("HTTP 304, and nothing was read before".into())));
    // To a write it says nothing at all.
    account.wires[1].script.lock().unwrap().push_back(odd());
    let outcome = account.clock.run(delete(&account.clients[1])).await;
    assert!(matches!(outcome, WriteOutcome::InDoubt(_)), "{outcome:?}");
}
