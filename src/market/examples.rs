//! What the tests of all marketplaces' folders have in common: their fixtures and how an answer is told in a line of `GOLDEN`,
//! an order, a tiny world for a fake, and what must be so of the calls by the vendor's names.
//!
//! What a vendor is like stands in its own folder; nothing here knows one.

use super::{Backend, Deployed, Dialect, Exchange, Order, Stop, WorldMonth, WorldOrder, WorldVm, raw::Need};
use crate::{
    io::net::{Method, Request, Response},
    model::{
        Hostnode, HourlyRate, Instance, InstanceId, InstanceStatus, PriceType, Refusal, Scan, Shape, Timestamp, Usd,
        inventory::Dropped,
        offer::{Bid, BidAnswer, Location, Rates},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::PathBuf,
};

/// The fixtures of the folder of that name.
#[derive(Clone, Copy)]
pub struct Fixtures(pub &'static str);

impl Fixtures {
    fn folder(self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/market").join(self.0).join("fixtures")
    }

    pub fn read(self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder().join(name)).unwrap()
    }

    /// What was read is what `GOLDEN` has, to the letter.
    pub fn are_golden(self, actual: &str) {
        let golden = String::from_utf8(self.read("GOLDEN")).unwrap();
        assert!(actual == golden, "fixtures/GOLDEN differs; read was:\n{actual}");
    }

    /// Every file is one of those that are read, and `SOURCES` says what is known of it.
    pub fn are_read_and_marked<'a>(self, read: impl IntoIterator<Item = &'a str>) {
        let files: BTreeSet<String> = std::fs::read_dir(self.folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "SOURCES" && name != "GOLDEN")
            .collect();
        let sources = String::from_utf8(self.read("SOURCES")).unwrap();
        let marked = sources.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let (file, mark) = (words.next()?, words.next()?);
            let known = file.contains('.') && ["recorded", "documented", "assumed"].contains(&mark);
            known.then(|| file.to_owned())
        });
        assert_eq!(files, marked.collect());
        assert_eq!(files, read.into_iter().map(str::to_owned).collect());
    }
}

/// Where a body is changed, in which of four ways, and to what.
pub type Edit = (usize, usize, u8);

/// Replaces, removes and doubles bytes of a body.
pub fn mangle(body: &mut Vec<u8>, edits: Vec<Edit>) {
    for (at, kind, byte) in edits {
        let at = at % body.len().max(1);
        let tokens: [&[u8]; 4] = [b"-1", b"1e999", b"null", b"{}"];
        match kind {
            0 => body.insert(at, byte),
            1 if at < body.len() => drop(body.remove(at)),
            2 => body.truncate(at),
            _ => drop(body.splice(at..at, tokens[usize::from(byte % 4)].iter().copied())),
        }
    }
}

/// What a call makes of an answer.
pub fn told<T>(exchange: Exchange<T>, response: &Response, show: impl Fn(T) -> String) -> String {
    (exchange.read)(&exchange.request, response).map_or_else(|refusal| refusal.to_string(), show)
}

/// A list line by line, what was dropped last.
pub fn listed<T>(scan: Scan<T>, show: impl Fn(&T) -> String) -> String {
    let mut text = format!("{} items", scan.items.len());
    for item in &scan.items {
        write!(text, "\n  {}", show(item)).unwrap();
    }
    for Dropped { what, why } in &scan.dropped {
        write!(text, "\n  dropped `{what}`: {why}").unwrap();
    }
    text
}

pub fn rates(rates: Option<Rates>) -> String {
    rates.map_or_else(|| "unquoted".into(), |Rates { compute, storage }| format!("{compute}+{storage}"))
}

pub fn made(Deployed { id, quoted, address, ports }: Deployed) -> String {
    format!("made {id} {} at {} ports {ports:?}", rates(quoted), address.as_deref().unwrap_or("-"))
}

/// A VM in a line; `paid` is how, in the folder's own words.
pub fn instance(vm: &Instance, paid: &str) -> String {
    let Instance {
        id,
        name,
        status,
        hostnode,
        gpu_model,
        gpus,
        price_type: _,
        quoted: _,
        address,
        ports,
        created_at,
        available_until: _,
    } = vm;
    format!(
        "{id} | {name} | {status:?} on {} | {gpus} x {} | {paid} | {} {ports:?} | {}",
        hostnode.as_ref().map_or("-", |id| id.as_str()),
        gpu_model.as_ref().map_or("-", |model| model.as_str()),
        address.as_deref().unwrap_or("-"),
        created_at.as_ref().map_or_else(|| "-".into(), Timestamp::to_string),
    )
}

pub fn rate(text: &str) -> HourlyRate {
    text.parse().unwrap()
}

/// An order on demand, of what can be said of a VM as little as there is.
pub fn order(hostnode: &str, shape: Shape) -> Order {
    Order {
        name: "spotscale-train-k3x9-7".parse().unwrap(),
        hostnode: hostnode.parse().unwrap(),
        shape,
        price_type: PriceType::OnDemand,
        bid: None,
        image: "Ubuntu 22.04 LTS".into(),
        ports: [].into(),
        ssh_key: None,
        cloud_init: None,
        password: "Sup3r-random".into(),
    }
}

/// The VM that was ordered, on its way.
pub fn begun(order: WorldOrder, id: &str, quoted: Rates, now: Timestamp) -> WorldVm {
    let WorldOrder { name, hostnode, shape, price_type, bid: _, image, ports, rule: _ } = order;
    let instance = Instance {
        id: id.parse().unwrap(),
        name,
        status: InstanceStatus::Starting,
        hostnode: Some(hostnode),
        gpu_model: Some(shape.gpu_model.clone()),
        gpus: shape.gpus,
        price_type: Some(price_type),
        quoted: Some(quoted),
        address: Some("203.0.113.9".into()),
        ports,
        created_at: Some(now),
        available_until: None,
    };
    WorldVm { instance, shape, location: Location::default(), image }
}

/// A world in which VMs are made and deleted, and nothing else happens.
pub struct TinyWorld {
    pub hosts: Vec<Hostnode>,
    pub vms: BTreeMap<InstanceId, WorldVm>,
    pub now: Timestamp,
    pub wallet: (Usd, HourlyRate),
    /// The least accepted bid for one GPU; `None`: no bid is.
    pub least: Option<HourlyRate>,
    /// What the so-many-th VM is called by the vendor.
    pub id: fn(usize) -> String,
}

impl Backend for TinyWorld {
    fn now(&self) -> Timestamp {
        self.now
    }
    fn hostnodes(&mut self) -> Vec<Hostnode> {
        self.hosts.clone()
    }
    fn vms(&mut self) -> Vec<WorldVm> {
        self.vms.values().cloned().collect()
    }
    fn vm(&mut self, id: &InstanceId) -> Option<WorldVm> {
        self.vms.get(id).cloned()
    }
    fn wallet(&mut self) -> (Usd, HourlyRate) {
        self.wallet
    }
    fn validate(&mut self, bid: &Bid) -> BidAnswer {
        let is_enough = self.least.is_some_and(|least| bid.price >= least.times(bid.shape.gpus));
        if is_enough { BidAnswer::Accepted } else { BidAnswer::Refused }
    }
    fn rebid(&mut self, _: &InstanceId, _: HourlyRate) -> Result<BidAnswer, Refusal> {
        Err(Refusal::Gone)
    }
    fn deploy(&mut self, order: WorldOrder) -> Result<WorldVm, Refusal> {
        if order.bid.is_some_and(|bid| self.least.is_none_or(|least| bid < least.times(order.shape.gpus))) {
            return Err(Refusal::BidTooLow("the bid is less than the price".into()));
        }
        let host = self.hosts.iter().find(|host| host.id == order.hostnode).unwrap();
        let (_, listed) = host.price(&order.shape).map_err(|_| Refusal::NoCapacity("others have it".into()))?;
        let quoted = Rates { compute: order.bid.unwrap_or(listed.compute), ..listed };
        let mut vm = begun(order, &(self.id)(self.vms.len()), quoted, self.now);
        vm.instance.available_until = host.available_until;
        self.vms.insert(vm.instance.id.clone(), vm.clone());
        Ok(vm)
    }
    fn start(&mut self, _: &InstanceId) -> Result<(), Refusal> {
        Err(Refusal::Gone)
    }
    fn stop(&mut self, _: &InstanceId, _: Stop) -> Result<(), Refusal> {
        Err(Refusal::Gone)
    }
    fn modify(&mut self, _: &InstanceId, _: Shape) -> Result<(), Refusal> {
        Err(Refusal::Gone)
    }
    fn terminate(&mut self, id: &InstanceId) -> Result<(), Refusal> {
        self.vms.remove(id).map(|_| ()).ok_or(Refusal::Gone)
    }
    fn month(&mut self, _: i16, _: i8) -> WorldMonth {
        WorldMonth::default()
    }
}

/// A request, told by its parts: the names of the fields are those of `spotscale api`.
pub type Sent = (Method, String, BTreeSet<String>);

/// The calls by the vendor's names are the typed ones, in their order; each is sent in the same way, and has all fields that
/// the typed one says. `value` is what a field has to be, given the typed call's path.
pub fn are_said_by_the_vendors_names(
    dialect: &dyn Dialect,
    typed: &[(&str, Request)],
    sent: fn(&Request) -> Sent,
    value: impl Fn(&str, &str) -> String,
) {
    assert_eq!(
        typed.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        dialect.raw_calls().iter().map(|call| call.name).collect::<Vec<_>>()
    );
    for ((name, request), call) in typed.iter().zip(dialect.raw_calls()) {
        let (method, path, fields) = sent(request);
        let given: Vec<(String, String)> =
            call.fields.iter().map(|field| (field.name.to_owned(), value(&path, field.name))).collect();
        let (raw_method, raw_path, known) = sent(&dialect.raw(call, &given).unwrap().request);
        assert_eq!((method, &path), (raw_method, &raw_path), "{name}");
        assert_eq!(fields.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "{name}");
        for field in call.fields.iter().filter(|field| field.need == Need::Needed && !call.path.contains(field.name)) {
            assert!(fields.contains(field.name), "{name} is typed without {}", field.name);
        }
        assert!(call.fields.iter().all(|field| !["yes", "help", "config"].contains(&field.name)), "{name}");
    }
}
