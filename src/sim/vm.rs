//! One VM of the account, and its whole history: the truth that tests and summaries ask for.

use super::{books::Billed, host::Millis, lies::Hiding, wallet::Grains};
use crate::model::{
    HostnodeId, HourlyRate, InstanceId, PriceType, Shape, Usd, VmName,
    offer::{Location, PriceRule, Rates},
};
use std::{collections::BTreeMap, fmt};

/// What a VM is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmState {
    /// Being made ready.
    Starting,
    /// Running.
    Running,
    /// Stopped, GPU kept.
    StoppedKept,
    /// Stopped, GPU given back.
    StoppedReleased,
    /// Its bid was beaten.
    Outbid,
}

/// As v0 spells it in its refusals: in lower case (recorded).
impl fmt::Display for VmState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting | Self::Running => "running",
            Self::StoppedKept => "stopped",
            Self::StoppedReleased => "stoppeddisassociated",
            Self::Outbid => "outbid",
        })
    }
}

/// Why a VM is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Somebody deleted it.
    Deleted,
    /// Its hostnode went for good.
    HostDied,
    /// The account was empty.
    Bankrupt,
    /// Its owner, who is somebody else, had done with it.
    Left,
    /// Somebody took it away past the API, in the vendor's own console say.
    TakenAway,
}

/// Who made a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A deploy through the API.
    Api,
    /// The marketplace made it a second time from a deploy that it had carried out already: nobody asked for it.
    Doubled,
    /// It was there: put into the world by whoever set it up.
    Foreign,
}

/// A VM with its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vm {
    /// The vendor's id.
    pub id: InstanceId,
    /// Its name; the world lets two have the same.
    pub name: VmName,
    /// Who made it.
    pub origin: Origin,
    /// On which machine.
    pub hostnode: HostnodeId,
    /// Where that stands.
    pub location: Location,
    /// What it has.
    pub shape: Shape,
    /// How it is paid for.
    pub price_type: PriceType,
    /// What it costs: the bid (spot) or the list price at its making, and storage.
    pub agreed: Rates,
    /// What the same shape cost on demand when it was made.
    pub on_demand: Rates,
    /// Operating system.
    pub image: String,
    /// Where it can be reached.
    pub address: String,
    /// Outside port to inside port.
    pub ports: BTreeMap<u16, u16>,
    /// How its price is put together.
    pub rule: PriceRule,
    /// When it was made.
    pub made_at: Millis,
    /// What it is doing, or was last.
    pub state: VmState,
    /// How often it was outbid.
    pub outbids: u32,
    /// When and why it ended.
    pub ended: Option<(Millis, Ended)>,
    /// It is there and not shown.
    pub hiding: Option<Hiding>,
    /// So much more than what was agreed is billed for it, in parts per million.
    pub surcharge_ppm: u64,
    /// How often the API was asked to start, stop, change or delete it: of somebody else's, never.
    pub touches: u32,
    /// When a starting one will be running.
    pub(super) ready_at: Millis,
    pub(super) spent: Grains,
    /// Of that, for its disk.
    pub(super) spent_on_storage: Grains,
    /// Of that, before the present month.
    pub(super) billed_before: Billed,
    pub(super) would_have_cost: Grains,
    pub(super) running_ms: u64,
}

impl Vm {
    /// Whether it holds its GPUs.
    pub const fn holds(&self) -> bool {
        match self.state {
            VmState::Starting | VmState::Running | VmState::StoppedKept => true,
            VmState::StoppedReleased | VmState::Outbid => false,
        }
    }

    /// What is billed for it now: while its host is away only the disk.
    pub(super) fn billed(&self, host_is_up: bool) -> HourlyRate {
        let asked = self.asked();
        if self.holds() && host_is_up { asked.total() } else { asked.storage }
    }

    /// What the vendor says that it costs while it runs: what was agreed, and what was put on that.
    pub fn asked(&self) -> Rates {
        if self.surcharge_ppm == 0 {
            return self.agreed;
        }
        let whole_ppm = self.surcharge_ppm.saturating_add(1_000_000);
        Rates { compute: self.agreed.compute.share_ppm(whole_ppm), storage: self.agreed.storage.share_ppm(whole_ppm) }
    }

    /// Charges it for a time, and returns what it costs.
    pub(super) fn charge(&mut self, host_is_up: bool, millis: u64) -> Grains {
        let cost = Grains::cost(self.billed(host_is_up), millis);
        self.spent = self.spent.plus(cost);
        self.spent_on_storage = self.spent_on_storage.plus(Grains::cost(self.asked().storage, millis));
        if host_is_up && self.state == VmState::Running {
            self.running_ms = self.running_ms.saturating_add(millis);
            self.would_have_cost = self.would_have_cost.plus(Grains::cost(self.on_demand.total(), millis));
        }
        cost
    }

    /// What was paid for it so far.
    pub fn spent(&self) -> Usd {
        self.spent.usd()
    }

    /// What its running time would have cost on demand.
    pub fn on_demand_equivalent(&self) -> Usd {
        self.would_have_cost.usd()
    }

    /// Seconds of GPU time it delivered: time running times GPUs.
    pub const fn gpu_seconds(&self) -> u64 {
        self.running_ms / 1_000 * self.shape.gpus as u64
    }
}
