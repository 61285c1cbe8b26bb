//! The whole market for one request: worlds, dialects and faults together.
//!
//! A [`Market`] takes a request as data and says how it reacts, as data: what is answered, how much of it arrives, and
//! after how long. It does no IO, so the same thing stands behind a real socket ([`super::serve`]) and behind the
//! daemon's own network door in one process ([`super::doors`]).
//!
//! Lists that are asked for with GET carry an `ETag`, and who names it again is told whether anything has changed.

mod answer;

pub use answer::Answer;

use super::{
    faults::{Fault, Faults},
    knobs::Knobs,
    memories::Memories,
    pages::Pages,
    seed::Seed,
    storms::Storms,
    told::{Accepted, Answers, Listing, Noted},
    truth::Truth,
    veil::{Appearances, Veil},
    world::World,
};
use crate::{
    io::net::{Method, Request, Response},
    market::{Backend, Call, Fake, fake},
    model::{InstanceId, Timestamp, time},
    settings::{Api, Vendor},
};
use answer::{course, spoil, unless_known};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

/// One dialect spoken here.
struct Counter {
    api: Api,
    fake: Box<dyn Fake>,
    /// What goes wrong with every call, until it is mended.
    broken: Option<Fault>,
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("api", &self.api).field("broken", &self.broken).finish_non_exhaustive()
    }
}

/// How the marketplace reacts to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// Which call it was.
    pub call: Call,
    /// What went wrong.
    pub fault: Fault,
    /// After so long, in real time.
    pub delay: Duration,
    /// What comes back.
    pub answer: Answer,
}

/// Marketplaces on one port: each vendor's world, the dialects it is spoken to in, and what goes wrong.
#[derive(Debug)]
pub struct Market {
    /// TensorDock's world, which its APIs share: hosts, VMs and wallet.
    pub world: World,
    /// Every other vendor's.
    pub elsewhere: BTreeMap<Vendor, World>,
    /// What goes wrong.
    pub faults: Faults,
    counters: Vec<Counter>,
    /// What answers show that is not so. Ids are unique only within a vendor's world.
    appearances: BTreeMap<Vendor, Appearances>,
    storms: Storms,
    /// Lists as they were shown, where they may be shown again.
    memories: Memories,
    /// Lists as they were made, where they need not be made again.
    pages: Pages,
    /// Requests that were never answered and arrive only then, in the order in which they were sent.
    under_way: BTreeMap<(Timestamp, u64), (Api, Request)>,
    sent: u64,
    handled: BTreeMap<(Api, Call, &'static str), u64>,
    twisted: BTreeMap<(Api, &'static str), u64>,
    answers: Answers,
}

impl Market {
    /// A market that speaks these dialects. The worlds of the other vendors are of the same seed, temper and moment as this
    /// one, TensorDock's.
    pub fn new(world: World, faults: Faults, fakes: Vec<(Api, Box<dyn Fake>)>) -> Self {
        let others = fakes.iter().map(|(api, _)| api.vendor()).filter(|vendor| *vendor != Vendor::Tensordock);
        let elsewhere = others.map(|vendor| (vendor, world.of_another(vendor))).collect();
        let counters = fakes.into_iter().map(|(api, fake)| Counter { api, fake, broken: None }).collect();
        let storms = Storms::new(Seed(0), Knobs::none(), world.now());
        Self {
            world,
            elsewhere,
            faults,
            counters,
            appearances: BTreeMap::new(),
            storms,
            memories: Memories::default(),
            pages: Pages::default(),
            under_way: BTreeMap::new(),
            sent: 0,
            handled: BTreeMap::new(),
            twisted: BTreeMap::new(),
            answers: Answers::default(),
        }
    }

    /// A market that speaks every dialect there is, and takes these credentials; `None`: any.
    pub fn of_all_dialects(world: World, faults: Faults, key: Option<&str>, token: Option<&str>) -> Self {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let fakes = Api::ALL.iter().map(|api| (*api, fake(*api, own(key), own(token))));
        Self::new(world, faults, fakes.collect())
    }

    /// From now on it lies, all of it and as much as these knobs say; each lie is drawn from this seed.
    pub fn lie(&mut self, seed: Seed, knobs: &Knobs) {
        self.faults = Faults::of(seed.0, *knobs);
        self.storms = Storms::new(seed, *knobs, self.world.now());
        self.worlds().for_each(|world| world.lie(seed, knobs));
    }

    /// From now on nothing lies, and of the lies nothing is still under way but what has happened already: storms end, lists
    /// and balances are as they should be, who was hidden is there, who was never ready is, and what was spent of the account
    /// is given back. What was sent and has not arrived arrives at its time, who is billed too much still is, and VMs of
    /// others go when they would have gone. What a test scripted or broke is well again too.
    pub fn be_honest(&mut self) {
        self.faults.cease();
        self.storms = Storms::new(Seed(0), Knobs::none(), self.world.now());
        self.memories = Memories::default();
        self.appearances.clear();
        self.counters.iter_mut().for_each(|counter| counter.broken = None);
        self.worlds().for_each(World::be_honest);
    }

    fn worlds(&mut self) -> impl Iterator<Item = &mut World> {
        std::iter::once(&mut self.world).chain(self.elsewhere.values_mut())
    }

    /// For so long from now on, this goes wrong with every call of an API. For tests that cannot wait for a storm.
    pub fn storm(&mut self, api: Api, fault: Fault, lasting: Duration) {
        self.storms.call(api, fault, lasting, self.world.now());
    }

    /// How often the effect of a call was odd, by API and by what was odd about it.
    pub const fn twisted(&self) -> &BTreeMap<(Api, &'static str), u64> {
        &self.twisted
    }

    /// From now on this goes wrong with every call of an API; `None`: nothing any more.
    pub fn break_api(&mut self, api: Api, fault: Option<Fault>) {
        for counter in self.counters.iter_mut().filter(|counter| counter.api == api) {
            counter.broken = fault;
        }
    }

    /// A vendor's world.
    pub fn world_of(&mut self, vendor: Vendor) -> &mut World {
        self.elsewhere.get_mut(&vendor).unwrap_or(&mut self.world)
    }

    /// The counter at which a request is served. Of those whose prefix it has, the longest: `/api/v0/` is within `/api/`.
    fn counter(counters: &[Counter], request: &Request) -> Option<usize> {
        let of_it = counters.iter().enumerate().filter(|(_, counter)| request.path.starts_with(counter.fake.prefix()));
        of_it.max_by_key(|(_, counter)| counter.fake.prefix().len()).map(|(at, _)| at)
    }

    /// Which API a request speaks, and what kind of call it is; `None` where nobody would understand it.
    pub fn recognise(&self, request: &Request) -> Option<(Api, Call)> {
        let counter = self.counters.get(Self::counter(&self.counters, request)?)?;
        Some((counter.api, counter.fake.call(request)))
    }

    /// How often an API was called so.
    pub fn calls(&self, api: Api, call: Call) -> u64 {
        self.handled.iter().filter(|((by, of, _), _)| *by == api && *of == call).map(|(_, count)| count).sum()
    }

    /// The newest attempts to list a vendor's VMs, in order.
    pub fn listings(&self, vendor: Vendor) -> Vec<Arc<Listing>> {
        self.answers.lists(vendor)
    }

    /// When a vendor's machines were listed so that it could be read, and in which API, in order.
    pub fn machines(&self, vendor: Vendor) -> Vec<(Api, Timestamp)> {
        self.answers.machines(vendor)
    }

    /// The newest bids that a vendor was asked about and accepted, in order.
    pub fn accepted(&self, vendor: Vendor) -> Vec<Arc<Accepted>> {
        self.answers.bids(vendor)
    }

    /// A vendor's VMs that were made by requests that nobody waited for any more.
    pub fn came_late(&self, vendor: Vendor) -> Arc<BTreeSet<InstanceId>> {
        self.answers.late(vendor)
    }

    /// Each vendor's whole story so far, by vendor.
    pub fn truths(&self) -> BTreeMap<Vendor, Truth> {
        let others = self.elsewhere.iter().map(|(vendor, world)| (*vendor, world.truth()));
        std::iter::once((Vendor::Tensordock, self.world.truth())).chain(others).collect()
    }

    /// Lets all worlds live up to a moment.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((due, _), (api, request)) = entry.remove_entry();
            self.worlds().for_each(|world| world.advance(due));
            self.arrive(api, &request);
        }
        self.worlds().for_each(|world| world.advance(now));
    }

    /// A request of which nobody hears any more has its effect.
    fn arrive(&mut self, api: Api, request: &Request) {
        let Some(counter) = self.counters.iter().find(|counter| counter.api == api) else { return };
        let world = self.elsewhere.get_mut(&api.vendor()).unwrap_or(&mut self.world);
        let mut veil = Veil::lifted(world, self.appearances.entry(api.vendor()).or_default());
        counter.fake.serve(&mut veil as &mut dyn Backend, request);
        self.answers.came_late(api.vendor(), veil.noted.made);
    }

    /// Keeps a VM out of the lists until a moment, as [`Fault::LateVm`] does with a new one. For tests of a VM whose deploy
    /// was not answered *and* that shows up late.
    pub fn conceal(&mut self, vendor: Vendor, vm: InstanceId, until: Timestamp) {
        self.appearances.entry(vendor).or_default().late.insert(vm, until);
    }

    /// Whether lists show a VM, if it is there.
    pub fn lists(&self, vendor: Vendor, vm: &InstanceId) -> bool {
        let until = self.appearances.get(&vendor).and_then(|shown| shown.late.get(vm));
        let now = self.elsewhere.get(&vendor).unwrap_or(&self.world).moment();
        until.is_none_or(|until| *until <= now)
    }

    /// How many requests there were, by API, by call and by what went wrong (`none` where nothing did).
    pub const fn handled(&self) -> &BTreeMap<(Api, Call, &'static str), u64> {
        &self.handled
    }

    /// Takes one request at a moment.
    pub fn handle(&mut self, now: Timestamp, request: &Request) -> Reaction {
        self.advance(now);
        let Some(counter) = Self::counter(&self.counters, request).and_then(|at| self.counters.get(at)) else {
            let answer = Response::json(404, r#"{"success": false, "error": "no such API"}"#);
            return Reaction {
                call: Call::Other,
                fault: Fault::None,
                delay: Duration::ZERO,
                answer: Answer::Whole(answer),
            };
        };
        let call = counter.fake.call(request);
        let (drawn, twists) = (self.faults.decide(call), self.faults.twists(call));
        let storm = self.storms.over(counter.api, now);
        let fault = counter.broken.or(storm).unwrap_or(drawn);
        *self.handled.entry((counter.api, call, fault.as_str())).or_default() += 1;
        if let Fault::LateEffect(delay) = fault {
            self.sent += 1;
            self.under_way.insert((time::after(now, delay), self.sent), (counter.api, request.clone()));
        }
        let (shown, delay) = course(fault);
        let mut veil = Veil {
            shown,
            refuses: fault == Fault::Refused,
            delay: if let Fault::LateVm(delay) = fault { Some(delay) } else { None },
            twists: &twists,
            balance_lag: Duration::from_secs(self.faults.knobs().balance_lag_s),
            ..Veil::lifted(
                self.elsewhere.get_mut(&counter.api.vendor()).unwrap_or(&mut self.world),
                self.appearances.entry(counter.api.vendor()).or_default(),
            )
        };
        let (memories, pages, api) = (&mut self.memories, &mut self.pages, counter.api);
        let keeps = self.faults.shows_the_past(call) && call.is_list() && matches!(fault, Fault::None | Fault::Slow(_));
        let answer = spoil(fault, || {
            let (answer, known_by) = match pages.again(api, call, request, &mut veil) {
                Some(page) => {
                    veil.noted.listed.clone_from(&page.listed);
                    (page.answer.clone(), Some(page.etag.clone()))
                }
                None => {
                    let answer = counter.fake.serve(&mut veil as &mut dyn Backend, request);
                    pages.keep(api, call, request, &mut veil, &answer);
                    (answer, None)
                }
            };
            for twist in &twists {
                *self.twisted.entry((api, twist.as_str())).or_default() += 1;
            }
            let (answer, known_by) = if let Fault::StaleList(age) = fault {
                let recalled = memories.recall(api, request, time::before(now, age));
                recalled.map_or((answer, known_by), |recalled| (recalled, None))
            } else {
                if keeps {
                    memories.keep(api, request, now, &answer);
                }
                (answer, known_by)
            };
            // An answer that arrives in part has parts.
            let arrives = !matches!(fault, Fault::HalfJson | Fault::CutAnswer);
            if call.is_list() && request.method == Method::Get && arrives {
                unless_known(request, answer, known_by)
            } else {
                answer
            }
        });
        let Noted { listed, accepted, made: _ } = veil.noted;
        if call == Call::Instances {
            self.answers.listed(api, now, fault, listed);
        }
        if call == Call::Hostnodes {
            self.answers.machines_listed(api, now, fault);
        }
        if let Some(bid) = accepted {
            self.answers.accepted(api.vendor(), now, bid);
        }
        Reaction { call, fault, delay, answer }
    }
}

#[cfg(test)]
mod lies;
#[cfg(test)]
mod stand;

#[cfg(test)]
mod tests {
    use super::{
        super::faults::Effected,
        stand::{SPOT, Stand, at, shape},
        *,
    };
    use crate::{
        market::{Order, dialect},
        model::{Balance, InstanceStatus, Lookup, PriceType, Shape, offer::Bid},
    };

    #[test]
    fn a_list_of_a_quiet_world_is_not_made_again_and_one_of_a_world_that_changed_is() {
        let mut stand = Stand::new();
        let request = stand.dialect.instances().request;
        let shown = |stand: &mut Stand| {
            stand.second += 30;
            let reaction = stand.market.handle(at(stand.second), &request);
            let Answer::Whole(answer) = reaction.answer else { panic!("{reaction:?}") };
            let listed = stand.market.listings(Vendor::Tensordock).last().map(|listing| listing.told.clone());
            (answer, listed)
        };
        let empty = shown(&mut stand);
        let vm = stand.deploy("spotscale-train-k3x9-1").unwrap();
        assert_ne!(shown(&mut stand), empty);
        stand.second += 120;
        let running = shown(&mut stand);
        assert_eq!(shown(&mut stand), running, "nothing happened");
        stand.market.conceal(Vendor::Tensordock, vm, at(stand.second + 100));
        assert_eq!(shown(&mut stand), empty, "nothing changed, and it is not shown");
        stand.second += 100;
        assert_eq!(shown(&mut stand), running);
    }

    #[test]
    fn our_own_dialect_is_understood() {
        let mut stand = Stand::new();
        assert_eq!(stand.ask(&stand.dialect.whoami()), Ok(()));
        let hosts = stand.ask(&stand.dialect.hostnodes()).unwrap();
        assert_eq!((hosts.items.len(), hosts.dropped.len()), (stand.market.world.hostnode_ids().len(), 0));
        let truly = stand.market.world.hostnodes();
        for host in &hosts.items {
            assert!(
                truly.iter().any(|true_one| true_one.ports == host.ports
                    && true_one.supply == host.supply
                    && true_one.id == host.id),
                "{host:?}"
            );
        }
        let bid = |price: &str| Bid { hostnode: SPOT.parse().unwrap(), shape: shape(), price: price.parse().unwrap() };
        let ask = |stand: &mut Stand, price| {
            let exchange = stand.dialect.validate(&bid(price)).unwrap();
            stand.ask(&exchange).unwrap().as_str()
        };
        assert_eq!((ask(&mut stand, "0.20"), ask(&mut stand, "0.25")), ("refused", "accepted"));
        let id = stand.deploy("a").unwrap();
        stand.second = 3_600;
        assert_eq!(stand.listed().unwrap(), ["a".parse().unwrap()]);
        let exchange = stand.dialect.balance().unwrap();
        let expected = Balance { amount: "99.74".parse().unwrap(), hourly_cost: Some("0.26".parse().unwrap()) };
        assert_eq!(stand.ask(&exchange), Ok(expected));
        assert_eq!(stand.ask(&stand.dialect.terminate(&id)), Ok(()));
        let exchange = stand.dialect.instance(&id).unwrap();
        assert_eq!(stand.ask(&exchange), Ok(Lookup::Gone));
    }

    #[test]
    fn vectordash_is_spoken_on_the_same_port_over_a_world_of_its_own() {
        let mut stand = Stand::new();
        stand.dialect = dialect(Api::Vectordash, None, "t".into());
        assert_eq!(stand.ask(&stand.dialect.whoami()), Ok(()));
        let hosts = stand.ask(&stand.dialect.hostnodes()).unwrap();
        assert_eq!(hosts.dropped, []);
        let kinds: Vec<&str> = hosts.items.iter().map(|host| host.id.as_str()).collect();
        assert_eq!(
            kinds,
            ["1060 6GB", "1070", "1070 ti", "1080", "1080 ti", "Tesla V100", "Titan V", "Titan X", "Titan Xp"]
        );
        let host = hosts.items.iter().find(|host| host.id.as_str() == "1080 ti").unwrap();
        assert_eq!(host.available_until, Some(at(30 * 86_400)));
        let wanted = Shape {
            gpu_model: "geforcegtx1080ti-pcie-11gb".parse().unwrap(),
            gpus: 1,
            vcpus: 8,
            ram_gb: 32,
            storage_gb: 200,
        };
        let (shape, rates) = host.price(&wanted).unwrap();
        let order = Order {
            name: "spotscale-train-k3x9-7".parse().unwrap(),
            hostnode: host.id.clone(),
            shape,
            price_type: PriceType::OnDemand,
            bid: None,
            image: "Ubuntu 22.04 LTS".to_owned(),
            ports: BTreeMap::new(),
            ssh_key: None,
            cloud_init: None,
            password: "Passw0rd-of-a-test".into(),
        };
        let made = stand.ask(&stand.dialect.deploy(&order).unwrap()).unwrap();
        assert_eq!(made.quoted, Some(rates));
        stand.second = 120;
        let listed = stand.ask(&stand.dialect.instances()).unwrap();
        let [vm] = &listed.items[..] else { panic!("{listed:?}") };
        assert_eq!((&vm.id, &vm.name, &vm.status), (&made.id, &order.name, &InstanceStatus::Running));
        assert_eq!((vm.quoted, vm.available_until), (Some(rates), Some(at(30 * 86_400))));
        assert_eq!(stand.ask(&stand.dialect.terminate(&made.id)), Ok(()));
        assert_eq!(*stand.ask(&stand.dialect.instances()).unwrap().items, []);
        assert_eq!(stand.made(), 0, "TensorDock has no part in it");
        assert_eq!(stand.market.calls(Api::Vectordash, Call::Deploy), 1);
        assert_eq!(stand.market.world_of(Vendor::Vectordash).truth().vms.len(), 1);
    }

    #[test]
    fn a_lost_request_makes_no_vm_and_a_lost_answer_makes_one() {
        for (fault, vms) in [
            (Fault::LostRequest, 0),
            (Fault::Throttled, 0),
            (Fault::ServerError(Effected::No), 0),
            (Fault::Html(Effected::No), 0),
            (Fault::Refused, 0),
            (Fault::LostAnswer, 1),
            (Fault::CutAnswer, 1),
            (Fault::ServerError(Effected::Yes), 1),
            (Fault::Html(Effected::Yes), 1),
            (Fault::HalfJson, 1),
        ] {
            let mut stand = Stand::new();
            stand.market.faults.script(Call::Deploy, fault);
            assert!(stand.deploy("a").is_err(), "{fault:?}");
            assert_eq!(stand.made(), vms, "{fault:?}");
            assert_eq!(
                stand.market.handled(),
                &BTreeMap::from([((Api::TensordockV0, Call::Deploy, fault.as_str()), 1)])
            );
        }
    }

    #[test]
    fn a_late_vm_is_in_no_list_until_it_is_late_enough_and_by_id_at_once() {
        let mut stand = Stand::new();
        stand.market.faults.script(Call::Deploy, Fault::LateVm(Duration::from_secs(300)));
        let id = stand.deploy("a").unwrap();
        stand.second = 299;
        assert_eq!(stand.listed().unwrap(), []);
        let exchange = stand.dialect.instance(&id).unwrap();
        assert!(matches!(stand.ask(&exchange), Ok(Lookup::Here(_))));
        stand.second = 300;
        assert_eq!(stand.listed().unwrap().len(), 1);
    }

    #[test]
    fn lists_come_back_empty_or_in_part_without_anything_being_gone() {
        let mut stand = Stand::new();
        for name in ["a", "b", "c"] {
            stand.deploy(name).unwrap();
        }
        for (fault, shown) in [(Fault::EmptyList, 0), (Fault::PartialList, 2), (Fault::None, 3)] {
            stand.market.faults.script(Call::Instances, fault);
            assert_eq!(stand.listed().unwrap().len(), shown);
        }
    }

    #[test]
    fn a_list_that_has_not_changed_is_not_told_again() {
        let mut stand = Stand::new();
        let mut request = stand.dialect.hostnodes().request;
        let mut ask = |request: &Request| match stand.market.handle(at(0), request).answer {
            Answer::Whole(response) => response,
            other => panic!("{other:?}"),
        };
        let first = ask(&request);
        let etag = first.header("etag").unwrap().to_owned();
        request.headers.push(("if-none-match".to_owned(), format!("\"other\", W/{etag}")));
        let again = ask(&request);
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(etag.as_str())));
        let id = stand.deploy("a").unwrap();
        let mut ask = |request: &Request| match stand.market.handle(at(0), request).answer {
            Answer::Whole(response) => response,
            other => panic!("{other:?}"),
        };
        let changed = ask(&request);
        assert!(changed.status == 200 && changed.header("etag") != Some(etag.as_str()), "{id} took of a machine");
        // What is POSTed has none.
        assert_eq!(
            ask(&dialect(Api::TensordockV0, Some("k".into()), "t".into()).instances().request).header("etag"),
            None
        );
    }

    #[test]
    fn an_unknown_api_and_wrong_credentials_are_told_so() {
        let mut stand = Stand::new();
        let Answer::Whole(answer) = stand.market.handle(at(0), &Request::get("/api/v9/list")).answer else { panic!() };
        assert_eq!(answer.status, 404);
        stand.dialect = dialect(Api::TensordockV0, Some("k".into()), "wrong".into());
        assert_eq!(stand.ask(&stand.dialect.whoami()).unwrap_err().kind().as_str(), "unauthorized");
    }
}
