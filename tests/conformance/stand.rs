//! One marketplace to be examined: its dialect and our client on this side, its fake over a world on the other, and a wire
//! between them that counts and that tests may bend. Everything is in one process and in virtual time.
//!
//! The world stands still: prices do not move and nobody comes or goes, so that what differs between two answers is what
//! the test did.

use spotscale::{
    io::{
        Awaited,
        clock::Clock,
        net::{Net, NetError, Request, Response},
    },
    market::{
        self, Call, Deployed, Dialect, Exchange, Fake, Order,
        client::{Client, Unobserved, WriteOutcome},
    },
    model::{
        Hostnode, Instance, InstanceId, Lookup, PriceType, Refusal, Scan, Shape, Timestamp,
        offer::{Bid, BidAnswer, Ports, Supply},
        time,
    },
    settings::Api,
    sim::{Fault, Faults, InProcess, Market, Temper, Truth, Vm, World, WorldOptions, clock::VirtualClock},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// What the fakes take.
pub const KEY: &str = "the-key-that-is-taken";
/// The other, or the only one.
pub const TOKEN: &str = "the-token-that-is-taken";
/// Of every VM; each answer that would echo it is told by it.
pub const PASSWORD: &str = "The-passw0rd-of-a-test";
/// A public key whose private half nobody kept.
const SSH_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIaXnsdHVQJ8sp4Vj2p0Y3z9cQ0nXkzYXn2Qz6m0N6Y demo";
/// What a policy that says no image rents: every marketplace can be asked for it.
const IMAGE: &str = "Ubuntu 22.04 LTS";
/// No test takes longer, so that a VM that can be counted on for this long is there until its end.
const LASTING: Duration = Duration::from_secs(7 * 24 * 3_600);
/// What every world's account begins with, USD.
const BALANCE: &str = "1000";
/// Requests per second in thousandths: a pace that costs no time worth mentioning.
const PACE_MILLI: u32 = 1_000_000;

/// The wire: counts what was sent, and answers in the marketplace's place where a test says so.
pub struct Wire {
    market: InProcess,
    fake: Box<dyn Fake>,
    /// The next answers, whatever is asked; nothing reaches the marketplace then.
    pub instead: Mutex<VecDeque<Result<Response, NetError>>>,
    sent: Mutex<Vec<Call>>,
}

impl Net for Wire {
    fn send(&self, request: Request, deadline: Duration) -> Awaited<'_, Result<Response, NetError>> {
        self.sent.lock().unwrap().push(self.fake.call(&request));
        match self.instead.lock().unwrap().pop_front() {
            Some(answer) => Box::pin(std::future::ready(answer)),
            None => self.market.send(request, deadline),
        }
    }
}

/// One marketplace under examination.
pub struct Stand {
    /// Which.
    pub api: Api,
    /// The other side.
    pub market: Arc<Mutex<Market>>,
    /// The time of both sides.
    pub clock: VirtualClock,
    /// What is between them.
    pub wire: Arc<Wire>,
    /// Ours.
    pub client: Client,
}

/// A dialect with these credentials.
pub fn dialect(api: Api, key: &str, token: &str) -> Arc<dyn Dialect> {
    market::dialect(api, Some(key.into()), token.into())
}

impl Stand {
    /// With credentials that are taken.
    pub fn new(api: Api) -> Self {
        Self::with_credentials(api, KEY, TOKEN)
    }

    /// With these credentials.
    pub fn with_credentials(api: Api, key: &str, token: &str) -> Self {
        let opening: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let clock = VirtualClock::at(opening);
        let options = WorldOptions { temper: Temper::Still, ..WorldOptions::lifelike(BALANCE.parse().unwrap()) };
        let world = World::new(1, opening, options);
        let market = Market::of_all_dialects(world, Faults::none(), Some(KEY), Some(TOKEN));
        let market = Arc::new(Mutex::new(market));
        let door = InProcess { market: market.clone(), clock: Arc::new(clock.clone()) };
        let fake = market::fake(api, None, None);
        let wire = Arc::new(Wire { market: door, fake, instead: Mutex::default(), sent: Mutex::default() });
        let client = Client::new(
            "examined".parse().unwrap(),
            dialect(api, key, token),
            wire.clone(),
            Arc::new(clock.clone()),
            PACE_MILLI,
            Arc::new(Unobserved),
        );
        Self { api, market, clock, wire, client }
    }

    /// Its language.
    pub fn says(&self) -> &dyn Dialect {
        self.client.dialect()
    }

    /// The other side, for a moment.
    pub fn market(&self) -> MutexGuard<'_, Market> {
        self.market.lock().unwrap()
    }

    /// The next call of that kind meets with this.
    pub fn script(&self, call: Call, fault: Fault) {
        self.market().faults.script(call, fault);
    }

    /// The next request is answered so, and does not reach the marketplace.
    pub fn answer_instead(&self, answer: Result<Response, NetError>) {
        self.wire.instead.lock().unwrap().push_back(answer);
    }

    /// How often a kind of call was sent.
    pub fn sent(&self, call: Call) -> usize {
        self.wire.sent.lock().unwrap().iter().filter(|sent| **sent == call).count()
    }

    /// What only the world knows, now.
    pub fn truth(&self) -> Truth {
        let mut market = self.market();
        market.advance(self.clock.now());
        market.world_of(self.api.vendor()).truth()
    }

    /// Every VM that the world ever had.
    pub fn vms(&self) -> Vec<Vm> {
        self.truth().vms
    }

    /// The VM of that name, as the world has it.
    pub fn vm(&self, name: &str) -> Option<Vm> {
        self.vms().into_iter().find(|vm| vm.name.as_str() == name)
    }

    /// Those that exist.
    pub fn alive(&self) -> usize {
        self.vms().iter().filter(|vm| vm.ended.is_none()).count()
    }

    /// What the marketplace answers now to an exchange's request, as it goes over the wire.
    pub fn answer<T>(&self, exchange: &Exchange<T>) -> Response {
        use spotscale::sim::marketplace::Answer;
        match self.market().handle(self.clock.now(), &exchange.request).answer {
            Answer::Whole(response) => response,
            Answer::Cut(_) | Answer::Nothing => panic!("nothing was scripted to go wrong"),
        }
    }

    /// All machines.
    pub async fn hostnodes(&self) -> Scan<Hostnode> {
        self.client.read(self.says().hostnodes()).await.unwrap()
    }

    /// All VMs.
    pub async fn instances(&self) -> Scan<Instance> {
        self.client.read(self.says().instances()).await.unwrap()
    }

    /// The one VM of that name in the list.
    pub async fn find(&self, name: &str) -> Option<Instance> {
        let mut named: Vec<Instance> = self.instances().await.items.to_vec();
        named.retain(|vm| vm.name.as_str() == name);
        assert!(named.len() <= 1, "{}: `{name}` is listed {} times", self.api, named.len());
        named.pop()
    }

    /// The outside ports for SSH on a machine; `None` where there are too few.
    async fn ports(&self, host: &Hostnode) -> Option<std::collections::BTreeMap<u16, u16>> {
        const INSIDE: [u16; 1] = [22];
        match &host.ports {
            Ports::Free(_) | Ports::GivenForSsh => host.ports.choose(&INSIDE),
            Ports::Unlisted => {
                let asked = self.says().hostnode(&host.id).expect("ports that no list shows can be asked for");
                match self.client.read(asked).await.unwrap() {
                    Lookup::Here(host) => host.ports.choose(&INSIDE),
                    Lookup::Gone => None,
                }
            }
        }
    }

    /// An order that can be had now: one GPU on the first machine that sells it so.
    pub async fn order(&self, name: &str, price_type: PriceType) -> Order {
        let lasts =
            |host: &Hostnode| host.available_until.is_none_or(|end| end > time::after(self.clock.now(), LASTING));
        for host in self.hostnodes().await.items.iter().filter(|host| host.online && lasts(host)) {
            let models: Vec<_> = match &host.supply {
                Supply::Resources(resources) => resources.gpus.keys().cloned().collect(),
                Supply::Lots(lots) => lots.iter().map(|lot| lot.shape.gpu_model.clone()).collect(),
            };
            for gpu_model in models {
                let wanted = Shape { gpu_model, gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 100 };
                let Ok((shape, rates)) = host.price(&wanted) else { continue };
                let bid = match price_type {
                    PriceType::OnDemand => None,
                    PriceType::Spot => {
                        let bid = Bid { hostnode: host.id.clone(), shape: shape.clone(), price: rates.compute };
                        let asked = self.says().validate(&bid).expect("a marketplace with spot answers a bid");
                        if self.client.read(asked).await.unwrap() != BidAnswer::Accepted {
                            continue;
                        }
                        Some(bid.price)
                    }
                };
                let Some(ports) = self.ports(host).await else { continue };
                return Order {
                    name: name.parse().unwrap(),
                    hostnode: host.id.clone(),
                    shape,
                    price_type,
                    bid,
                    image: IMAGE.to_owned(),
                    ports,
                    ssh_key: Some(SSH_KEY.to_owned()),
                    cloud_init: None,
                    password: PASSWORD.into(),
                };
            }
        }
        panic!("{}: nothing can be rented as {price_type}", self.api);
    }

    /// Sends an order.
    pub async fn deploy(&self, order: &Order) -> WriteOutcome<Deployed> {
        self.client.write(self.says().deploy(order).unwrap()).await
    }

    /// A VM that is there.
    pub async fn deployed(&self, name: &str) -> InstanceId {
        let order = self.order(name, PriceType::OnDemand).await;
        match self.deploy(&order).await {
            WriteOutcome::Settled(Ok(made)) => made.id,
            other => panic!("{}: {other:?}", self.api),
        }
    }

    /// Deletes a VM.
    pub async fn terminate(&self, id: &InstanceId) -> WriteOutcome<()> {
        self.client.write(self.says().terminate(id)).await
    }

    /// Asks for a VM by id, where that can be asked.
    pub async fn look(&self, id: &InstanceId) -> Option<Result<Lookup<Instance>, Refusal>> {
        let asked = self.says().instance(id)?;
        Some(self.client.read(asked).await)
    }
}
