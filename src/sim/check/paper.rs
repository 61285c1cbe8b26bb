//! The journal on disk, as far as promises rest on it.
//!
//! What a daemon decided is what it wrote down before it acted. So decisions are judged by the journal, whatever came of them:
//! a delete that was meant on a bad list is a broken promise even if its request was lost. A [`Paper`] reads on where it
//! stopped, and keeps what was decided since the last look, by whichever process, until somebody has looked.
//!
//! It reads the disk by itself, and not the daemon's memory: what is not durable was not decided.

use super::{bans::Bans, statutes::Statutes};
use crate::{
    io::store::Store,
    ledger::{
        Standing,
        record::{Answer, Intent, Record},
    },
    model::{HourlyRate, InstanceId, MarketplaceName, Timestamp, VmName, reason::Teardown},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Rows read at once.
const PAGE_ROWS: usize = 1_000;

/// Something that was decided, or that changed by what is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A VM is to be made.
    Rent(Box<Intent>),
    /// A bid is to be raised.
    Rebid {
        /// Whose.
        name: VmName,
        /// To so much.
        to: HourlyRate,
    },
    /// A VM is to be started.
    Start(VmName),
    /// A VM is to be let go: a delete that was not answered and is sent again is no new decision.
    LetGo {
        /// Which.
        name: VmName,
        /// The vendor's id; `None`: it is only to be stopped.
        id: Option<InstanceId>,
        /// Why.
        reason: Teardown,
    },
    /// A lever was moved, or a text came into force.
    Law,
}

/// A [`Deed`], and which record tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Which.
    pub sequence: u64,
    /// What.
    pub deed: Deed,
    /// Why that should not have been, by what the journal itself says before it.
    pub forbidden: Option<String>,
}

/// The deletes of one VM.
#[derive(Clone, Copy, Debug, Default)]
struct Deletes {
    /// One was sent, and was not refused since.
    is_under_way: bool,
}

/// What is on paper.
#[derive(Debug, Default)]
pub struct Paper {
    /// How long an unanswered deploy is looked for.
    pub settle_grace: Duration,
    /// Machines that were listed longer ago are none to rent on.
    pub stale_after: Duration,
    /// The newest row that was read.
    read: u64,
    /// Of each process the journal's newest row when it began, and when that was, in true time.
    processes: Vec<(u64, Timestamp)>,
    /// What was meant to be made, or made ours.
    intents: BTreeMap<VmName, Intent>,
    /// Of these a deploy was meant.
    deployed: BTreeSet<VmName>,
    /// Of these, whose deploy was answered with what it costs.
    priced: BTreeSet<VmName>,
    /// That were ever to be started again.
    started: BTreeSet<VmName>,
    given_up: BTreeMap<VmName, u64>,
    /// What was last seen of it was a status that nobody knows, or nothing.
    lost: BTreeSet<VmName>,
    deletes: BTreeMap<(VmName, InstanceId), Deletes>,
    /// Deletes that were meant since the last look, be it again.
    sent: BTreeSet<(VmName, InstanceId)>,
    /// Of these, whose delete had been sent before, and not refused.
    sent_again: BTreeSet<VmName>,
    /// How many writes to a VM of that name were meant.
    writes: BTreeMap<VmName, u32>,
    /// Whose raised bid was not answered, and whose is not answered yet.
    bids_in_doubt: BTreeSet<VmName>,
    bids_open: BTreeSet<VmName>,
    bans: Bans,
    statutes: Statutes,
    news: Vec<Decided>,
    /// What the ticks since the last look told that they did.
    told: Vec<String>,
    /// The journal was begun anew, or is an older one: it need not know everything.
    is_torn: bool,
}

impl Paper {
    /// Of a process that begins now, on a disk of which nothing is to be judged that is on it already.
    pub fn of(disk: &dyn Store, now: Timestamp) -> Self {
        let mut paper = Self::default();
        paper.read_on(disk);
        paper.looked();
        paper.processes.push((paper.read, now));
        paper
    }

    /// Likewise, of a disk that was put in the place of another.
    pub fn instead(disk: &dyn Store, now: Timestamp) -> Self {
        Self { is_torn: true, ..Self::of(disk, now) }
    }

    /// Another process begins on the same disk.
    pub fn begin(&mut self, disk: &dyn Store, now: Timestamp) {
        self.read_on(disk);
        self.processes.push((self.read, now));
    }

    /// Reads what was written since. A row that nobody can read tells nothing; that it is there is the journal's own affair.
    pub fn read_on(&mut self, disk: &dyn Store) {
        loop {
            let page = disk.read(self.read.saturating_add(1), PAGE_ROWS).unwrap_or_default();
            let is_last = page.len() < PAGE_ROWS;
            for row in page {
                self.read = row.sequence;
                if let Some(record) = tells(&row.kind).then(|| Record::decode(&row.body).ok()).flatten() {
                    self.fold(row.sequence, row.at_ms, record);
                }
            }
            if is_last {
                return;
            }
        }
    }

    /// What was decided so far has been looked at.
    pub fn looked(&mut self) {
        self.news.clear();
        self.told.clear();
        self.sent.clear();
        self.sent_again.clear();
        self.statutes.looked();
    }

    fn count(&mut self, name: &VmName) {
        let writes = self.writes.entry(name.clone()).or_default();
        *writes = writes.saturating_add(1);
    }

    fn fold(&mut self, sequence: u64, at_ms: i64, record: Record) {
        let forbidden = match &record {
            Record::DeployIntended(intent) => self.bans.forbids(at_ms, intent),
            _ => None,
        };
        self.bans.fold(at_ms, &record, &self.intents);
        self.statutes.fold(sequence, &record);
        let deed = match record {
            Record::DeployIntended(intent) => {
                self.deployed.insert(intent.name.clone());
                self.intents.insert(intent.name.clone(), (*intent).clone());
                Deed::Rent(intent)
            }
            Record::StrayAdopted { vm, id: _ } => {
                self.intents.insert(vm.name.clone(), *vm);
                return;
            }
            Record::Abandoned { name } => {
                self.given_up.insert(name, sequence);
                return;
            }
            Record::Standing { name, to, .. } => {
                if to == Standing::Lost {
                    self.lost.insert(name);
                } else {
                    self.lost.remove(&name);
                }
                return;
            }
            Record::DeleteIntended { name, id, reason, why: _ } => {
                self.count(&name);
                self.sent.insert((name.clone(), id.clone()));
                let deletes = self.deletes.entry((name.clone(), id.clone())).or_default();
                if std::mem::replace(&mut deletes.is_under_way, true) {
                    self.sent_again.insert(name);
                    return;
                }
                Deed::LetGo { name, id: Some(id), reason }
            }
            Record::StrayDeleteIntended { name, id, .. } => {
                self.count(&name);
                self.deletes.entry((name.clone(), id.clone())).or_default();
                Deed::LetGo { name, id: Some(id), reason: Teardown::Operator }
            }
            Record::DeleteSettled { name, id, answer: Answer::Refused, .. } | Record::Gone { name, id, .. } => {
                self.deletes.entry((name, id)).or_default().is_under_way = false;
                return;
            }
            Record::StopIntended { name, reason, why: _ } => {
                self.count(&name);
                Deed::LetGo { name, id: None, reason }
            }
            Record::RebidIntended { name, to, .. } => {
                self.count(&name);
                if !self.bids_open.insert(name.clone()) {
                    self.bids_in_doubt.insert(name.clone());
                }
                Deed::Rebid { name, to }
            }
            Record::RebidInDoubt { name, .. } => {
                self.bids_in_doubt.insert(name);
                return;
            }
            Record::RebidSettled { name, .. } | Record::RebidNotMade { name, .. } => {
                self.bids_open.remove(&name);
                return;
            }
            Record::StartIntended { name, why: _ } => {
                self.count(&name);
                self.started.insert(name.clone());
                Deed::Start(name)
            }
            Record::Deployed { name, quoted, .. } => {
                self.priced.extend(quoted.map(|_| name));
                return;
            }
            Record::Decision { actions, .. } => {
                self.told.push(actions);
                return;
            }
            Record::TargetSet { .. }
            | Record::TargetCleared { .. }
            | Record::Paused { .. }
            | Record::Resumed { .. }
            | Record::Evacuating { .. }
            | Record::Applied { .. }
            | Record::Protected { .. }
            | Record::PolicyInForce { .. }
            | Record::PolicyGone { .. }
            | Record::LimitsInForce { .. } => Deed::Law,
            _ => return,
        };
        self.news.push(Decided { sequence, deed, forbidden });
    }

    /// What was decided since the last look, in order.
    pub fn news(&self) -> impl Iterator<Item = &Decided> {
        self.news.iter()
    }

    /// Names that were to be rented since the last look.
    pub fn rented(&self) -> impl Iterator<Item = (&Decided, &Intent)> {
        self.news.iter().filter_map(|decided| match &decided.deed {
            Deed::Rent(intent) => Some((decided, intent.as_ref())),
            Deed::Rebid { .. } | Deed::Start(_) | Deed::LetGo { .. } | Deed::Law => None,
        })
    }

    /// VMs that were to be started, or whose bids were to be raised, since the last look.
    pub fn raised(&self) -> impl Iterator<Item = (&Decided, &VmName)> {
        self.news.iter().filter_map(|decided| match &decided.deed {
            Deed::Rebid { name, .. } | Deed::Start(name) => Some((decided, name)),
            Deed::Rent(_) | Deed::LetGo { .. } | Deed::Law => None,
        })
    }

    /// VMs that were to be let go since the last look, and why; no id where they were only to be stopped.
    pub fn let_go(&self) -> impl Iterator<Item = (&Decided, &VmName, Option<&InstanceId>, Teardown)> {
        self.news.iter().filter_map(|decided| match &decided.deed {
            Deed::LetGo { name, id, reason } => Some((decided, name, id.as_ref(), *reason)),
            Deed::Rent(_) | Deed::Rebid { .. } | Deed::Start(_) | Deed::Law => None,
        })
    }

    /// Whether the law under which something was decided is still the law: no lever was moved since, and no text came into
    /// force.
    pub fn is_under_todays_law(&self, decided: &Decided) -> bool {
        !self.news.iter().any(|later| later.deed == Deed::Law && later.sequence > decided.sequence)
    }

    /// Whether some tick since the last look told that it did something to a VM.
    pub fn is_told(&self, name: &VmName) -> bool {
        let quoted = format!("\"{name}\"");
        self.told.iter().any(|actions| actions.contains(&quoted))
    }

    /// How many writes to a VM of that name were meant; `None` where the journal need not know.
    pub fn writes(&self, name: &VmName) -> Option<u32> {
        (!self.is_torn).then(|| self.writes.get(name).copied().unwrap_or_default())
    }

    /// Whether a delete was meant since the last look, be it again.
    pub fn is_sent(&self, name: &VmName, id: &InstanceId) -> bool {
        self.sent.contains(&(name.clone(), id.clone()))
    }

    /// Whether a delete was sent again on a marketplace since the last look. Once it is acknowledged anew, a list that was
    /// complete without its VM is so no more: none since then lacked it.
    pub fn is_sent_again(&self, marketplace: &MarketplaceName) -> bool {
        self.sent_again.iter().any(|name| self.marketplace(name) == Some(marketplace))
    }

    /// Whether a raised bid of that name may still arrive, or have arrived after another.
    pub fn is_bid_in_doubt(&self, name: &VmName) -> bool {
        self.bids_in_doubt.contains(name) || self.bids_open.contains(name)
    }

    /// What was meant to be made under a name, or made ours.
    pub fn intent(&self, name: &VmName) -> Option<&Intent> {
        self.intents.get(name)
    }

    /// Whether a name was ever given up.
    pub fn is_given_up(&self, name: &VmName) -> bool {
        self.given_up.contains_key(name)
    }

    /// Whether the newest look at it, by the journal, showed that it is lost.
    pub fn is_lost(&self, name: &VmName) -> bool {
        self.lost.contains(name)
    }

    /// Whether a deploy of that name was ever meant.
    pub fn is_intended(&self, name: &VmName) -> bool {
        self.deployed.contains(name)
    }

    /// Whether it was ever to be started again.
    pub fn is_started(&self, name: &VmName) -> bool {
        self.started.contains(name)
    }

    /// Whether a deploy of that name was answered with what it costs.
    pub fn is_priced(&self, name: &VmName) -> bool {
        self.priced.contains(name)
    }

    /// Whether a VM was ever meant to go.
    pub fn is_let_go(&self, name: &VmName, id: &InstanceId) -> bool {
        self.deletes.contains_key(&(name.clone(), id.clone()))
    }

    /// Where a VM of that name was rented, or made ours.
    pub fn marketplace(&self, name: &VmName) -> Option<&MarketplaceName> {
        self.intents.get(name).map(|intent| &intent.marketplace)
    }

    /// Whether the process that wrote a record is still alive: what is known now is what it knew.
    pub fn is_of_the_living(&self, decided: &Decided) -> bool {
        self.is_living(decided.sequence)
    }

    /// Whether the process that wrote the record of this number is still alive.
    pub fn is_living(&self, sequence: u64) -> bool {
        self.processes.last().is_none_or(|(newest, _)| *newest < sequence)
    }

    /// What is in force, by its word.
    pub(super) const fn statutes(&self) -> &Statutes {
        &self.statutes
    }

    /// From when until when the process lived that wrote a record, in true time.
    pub fn lifetime(&self, sequence: u64) -> (Timestamp, Timestamp) {
        let next = self.processes.partition_point(|(newest, _)| *newest < sequence);
        let began = next.checked_sub(1).and_then(|at| self.processes.get(at));
        let ended = self.processes.get(next);
        (began.map_or(Timestamp::MIN, |(_, at)| *at), ended.map_or(Timestamp::MAX, |(_, at)| *at))
    }

    /// The lifetime of the process that gave a name up.
    pub fn gave_up(&self, name: &VmName) -> Option<(Timestamp, Timestamp)> {
        self.given_up.get(name).map(|sequence| self.lifetime(*sequence))
    }
}

/// Whether rows of this kind are worth reading: most only tell what was paid and why.
fn tells(kind: &str) -> bool {
    !matches!(kind, "accrued" | "event" | "missing")
}
