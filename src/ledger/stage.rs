//! A small stage for tests: one journal in memory, one marketplace, a clock that the test moves.

use super::{Evidence, Fleet, Intent, Joined, Journal, JournalError, Ledger, Patience, Record, join, settle};
use crate::{
    io::{entropy::Entropy, store::MemoryStore},
    model::{
        FleetName, HourlyRate, Instance, InstanceId, InstanceStatus, Inventory, Lookup, MarketView, PriceType, Reading,
        Refusal, Scan, Shape, Timestamp, VmName,
        inventory::Dropped,
        offer::{Location, Rates},
        reason::Teardown,
        time::after,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Why a stage deletes.
pub(crate) const DELETE_REASON: Teardown = Teardown::Target;

pub(crate) const PATIENCE: Patience =
    Patience { settle_grace: Duration::from_secs(300), late_window: Duration::from_secs(3_600) };

/// Always the same.
pub(crate) struct NoEntropy(pub(crate) u8);

impl Entropy for NoEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(self.0);
    }
}

/// Anything that reads from text.
#[track_caller]
pub(crate) fn of<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn rates(compute: &str, storage: &str) -> Rates {
    Rates { compute: of(compute), storage: of(storage) }
}

/// Two GPUs by bid: 0.40 + 0.01 per hour; 1.00 + 0.01 on demand.
pub(crate) fn intent(name: VmName, fleet: &str) -> Intent {
    Intent {
        name,
        fleet: of(fleet),
        marketplace: of("tensordock"),
        account: of("tensordock"),
        hostnode: of("h1"),
        location: Location { country: "Poland".into(), region: String::new(), city: "Kraków".into() },
        shape: Shape { gpu_model: of("geforcertx4090-pcie-24gb"), gpus: 2, vcpus: 8, ram_gb: 32, storage_gb: 100 },
        price_type: PriceType::Spot,
        bid: Some(of("0.40")),
        agreed: rates("0.40", "0.01"),
        on_demand: rates("1.00", "0.01"),
        image: "Ubuntu 22.04 LTS".into(),
        ports: BTreeMap::from([(20_022, 22)]),
        replaces: None,
        why: "the cheapest".into(),
    }
}

pub(crate) fn instance(id: &str, name: &VmName, status: InstanceStatus) -> Instance {
    Instance {
        id: of(id),
        name: name.clone(),
        status,
        hostnode: None,
        gpu_model: None,
        gpus: 2,
        price_type: Some(PriceType::Spot),
        quoted: Some(rates("0.40", "0.01")),
        address: Some("203.0.113.7".into()),
        ports: BTreeMap::new(),
        created_at: None,
        available_until: None,
    }
}

pub(crate) struct Stage {
    pub(crate) store: MemoryStore,
    pub(crate) journal: Journal,
    pub(crate) evidence: Evidence,
    pub(crate) inventory: Inventory,
    pub(crate) now: Timestamp,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::on(MemoryStore::default(), 0, of("2026-11-20T12:00:00Z"))
    }

    /// The next process, on what is durable there; the last look at the world is lost with the old one.
    pub(crate) fn on(store: MemoryStore, entropy: u8, now: Timestamp) -> Self {
        let journal = Journal::open(Arc::new(store.reopen()), now, &NoEntropy(entropy), "spotscale").unwrap();
        let view = MarketView {
            account: of("tensordock"),
            hostnodes: Reading::never(),
            instances: Reading::never(),
            answers_by_id: true,
            lookups: BTreeMap::new(),
            details: BTreeMap::new(),
            quotes: Vec::new(),
            machines: BTreeMap::new(),
        };
        let markets = BTreeMap::from([(of("tensordock"), view)]);
        let inventory = Inventory { at: now, markets, balances: BTreeMap::new() };
        Self { store, journal, evidence: Evidence::new(), inventory, now }
    }

    /// The next process, on a copy of what is durable now.
    pub(crate) fn restarted(&self) -> Self {
        let mut next = Self::on(self.store.copied(), 0, self.now);
        next.view().answers_by_id = self.inventory.markets.values().all(|view| view.answers_by_id);
        next
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        self.journal.ledger()
    }

    pub(crate) fn view(&mut self) -> &mut MarketView {
        self.inventory.markets.values_mut().next().unwrap()
    }

    pub(crate) fn pass(&mut self, seconds: u64) -> &mut Self {
        self.now = after(self.now, Duration::from_secs(seconds));
        self
    }

    #[track_caller]
    pub(crate) fn write(&mut self, record: Record) {
        self.try_write(record).unwrap();
    }

    pub(crate) fn try_write(&mut self, record: Record) -> Result<(), JournalError> {
        self.journal.append(self.now, vec![record])
    }

    /// The next VM of fleet `train`: intended, nothing sent.
    #[track_caller]
    pub(crate) fn intend(&mut self) -> VmName {
        let name = self.ledger().namer().next_name(&of("train"));
        self.write(Record::DeployIntended(Box::new(intent(name.clone(), "train"))));
        name
    }

    /// Likewise, and it was made.
    #[track_caller]
    pub(crate) fn deploy(&mut self, id: &str) -> VmName {
        let name = self.intend();
        let id = of(id);
        self.write(Record::Deployed { name: name.clone(), id, quoted: None, address: None, ports: BTreeMap::new() });
        name
    }

    #[track_caller]
    pub(crate) fn delete(&mut self, name: &VmName, id: &str, acked: bool) {
        let (name, id): (VmName, InstanceId) = (name.clone(), of(id));
        let reason = DELETE_REASON;
        self.write(Record::DeleteIntended { name: name.clone(), id: id.clone(), reason, why: String::new() });
        let detail = String::new();
        if acked {
            let answer = super::record::Answer::Done;
            self.write(Record::DeleteSettled { name, id, answer, detail });
        } else {
            self.write(Record::DeleteInDoubt { name, id, detail });
        }
    }

    /// A scan interval later a list arrives; what follows from it is written and returned.
    #[track_caller]
    pub(crate) fn list(&mut self, instances: &[Instance]) -> Vec<Record> {
        self.list_after(30, instances, &[])
    }

    /// Likewise, and a row of it was not readable.
    #[track_caller]
    pub(crate) fn list_with_dropped(&mut self, instances: &[Instance]) -> Vec<Record> {
        let dropped = Dropped { what: "row 7".into(), why: "no id".into() };
        self.list_after(30, instances, &[dropped])
    }

    #[track_caller]
    pub(crate) fn list_after(&mut self, seconds: u64, instances: &[Instance], dropped: &[Dropped]) -> Vec<Record> {
        self.pass(seconds);
        let (at, scan) = (self.now, Scan { items: instances.to_vec().into(), dropped: dropped.to_vec() });
        self.view().instances.fold(at, Ok(scan));
        self.look()
    }

    /// A list that was asked for in time and comes so late.
    #[track_caller]
    pub(crate) fn list_late(&mut self, seconds: u64, instances: &[Instance]) -> Vec<Record> {
        let asked_at = self.pass(30).now;
        self.view().instances.fold(asked_at, Ok(Scan { items: instances.to_vec().into(), dropped: Vec::new() }));
        self.pass(seconds).look()
    }

    /// The call for the list fails.
    #[track_caller]
    pub(crate) fn list_fails(&mut self) -> Vec<Record> {
        let now = self.pass(30).now;
        self.view().instances.fold(now, Err(Refusal::Unreachable("timed out".into())));
        self.look()
    }

    pub(crate) fn wanted(&self) -> Vec<InstanceId> {
        self.evidence.lookups_wanted(self.ledger(), &self.inventory).into_iter().map(|(_, id)| id).collect()
    }

    /// Asks for what is wanted by id: everything is gone.
    #[track_caller]
    pub(crate) fn look_up(&mut self, answer: &Result<Lookup<Instance>, Refusal>) -> Vec<Record> {
        let (at, wanted) = (self.now, self.wanted());
        for id in wanted {
            self.view().lookups.entry(id).or_insert(Reading::never()).fold(at, answer.clone());
        }
        self.look()
    }

    #[track_caller]
    pub(crate) fn look(&mut self) -> Vec<Record> {
        self.inventory.at = self.now;
        self.evidence.observe(self.journal.ledger(), &self.inventory, PATIENCE);
        let mut all = Vec::new();
        for _ in 0..4 {
            let records = settle(self.journal.ledger(), &self.evidence, &self.inventory, PATIENCE);
            if records.is_empty() {
                assert_eq!(self.ledger().incoherence(), None);
                return all;
            }
            self.journal.append(self.now, records.clone()).unwrap();
            all.extend(records);
        }
        panic!("what settles does not come to an end: {all:?}");
    }

    pub(crate) fn joined(&self) -> Joined {
        self.joined_at(Timestamp::MIN, self.now)
    }

    /// By somebody who looks since `watched_since`.
    pub(crate) fn joined_at(&self, watched_since: Timestamp, now: Timestamp) -> Joined {
        let known = BTreeSet::from([of::<FleetName>("train")]);
        join(self.ledger(), &self.evidence, &self.inventory, &known, watched_since, now, PATIENCE)
    }

    pub(crate) fn fleet(&self) -> Fleet {
        self.joined().fleets[&of::<FleetName>("train")].clone()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.joined().complete.values().all(|complete| *complete)
    }

    /// GPUs and rate that the fleet counts as.
    pub(crate) fn counts(&self) -> (u32, HourlyRate) {
        let fleet = self.fleet();
        (fleet.counted_gpus(), fleet.committed())
    }

    #[track_caller]
    pub(crate) fn standing(&self, name: &VmName) -> super::Standing {
        self.fleet().members[name].standing
    }
}

impl Ledger {
    /// What is wrong with it, if something is: for tests of the fold.
    pub(crate) fn incoherence(&self) -> Option<String> {
        for (name, holding) in &self.holdings {
            let is_held = matches!(holding.phase, super::Phase::Live | super::Phase::Leaving);
            if self.past.contains_key(name) {
                return Some(format!("{name} is open and past"));
            }
            if holding.intent.name != *name
                || is_held != holding.id.is_some()
                || is_held != holding.held_since.is_some()
            {
                return Some(format!("{name} is half held"));
            }
            if holding.delete.is_some() != (holding.phase == super::Phase::Leaving) {
                return Some(format!("{name} is half leaving"));
            }
            if holding.bid < holding.intent.bid.filter(|_| holding.rebid.is_some()) {
                return Some(format!("{name} counts less than may be bid"));
            }
            if holding.id.as_ref().is_some_and(|id| self.late.contains_key(&(name.clone(), id.clone()))) {
                return Some(format!("{name} is late beside itself"));
            }
        }
        let closed: BTreeSet<_> = self.past.iter().map(|(name, past)| (past.at, name.clone())).collect();
        (closed != self.closed).then(|| "the past has two indices".into())
    }
}
