//! Joins what we meant with what we saw.
//!
//! The ledger knows what we asked for; the inventory knows what is there. Neither is the fleet. This module puts them
//! side by side and gives each member a [`Standing`], and with it what it counts as (CONTRACT, "Counting").
//!
//! **Invariant:** absence counts only in a *complete* list taken after the intent. A half-read list must never cost
//! anyone a fleet.

use crate::model::{
    AccountName, FleetName, Guard, HostnodeId, HourlyRate, Instance, InstanceId, MarketplaceName, PriceType, Shape,
    Timestamp, VmName, offer::Rates, reason::Teardown,
};
use std::collections::BTreeMap;

labels! {
    /// What a member counts as. The words are the metric states; both kinds of stopped share one there.
    pub enum Standing {
        /// Deployed, or starting: not running yet.
        Pending = "pending",
        /// Running.
        Running = "running",
        /// Outbid.
        Outbid = "outbid",
        /// Stopped, its GPU kept.
        StoppedKept = "stopped",
        /// Stopped, its GPU given back.
        StoppedReleased = "stopped_released",
        /// A delete was intended and it is not proven gone.
        Leaving = "leaving",
        /// Its deploy was not answered and it has not been seen.
        InDoubt = "in_doubt",
        /// Not where it was, or of unknown status, and not proven gone.
        Lost = "lost",
    }
}

impl Standing {
    /// The metric state: one of the seven words of the CONTRACT.
    pub const fn state(self) -> &'static str {
        match self {
            Self::StoppedReleased => Self::StoppedKept.as_str(),
            Self::Pending
            | Self::Running
            | Self::Outbid
            | Self::StoppedKept
            | Self::Leaving
            | Self::InDoubt
            | Self::Lost => self.as_str(),
        }
    }
}

/// What came of a delete, as far as the journal knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteAnswer {
    /// It was acknowledged.
    Acked,
    /// It was not answered; or it was acknowledged, and the VM is still listed a settle grace later.
    InDoubt,
    /// A readable no, so many times in a row.
    Refused(u32),
}

/// A delete that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteAttempt {
    /// When it was last intended.
    pub at: Timestamp,
    /// Why.
    pub reason: Teardown,
    /// What came of it.
    pub answer: DeleteAnswer,
}

/// What was last tried with a member, so that a write is repeated only with reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Its newest delete, if it stands as it did since.
    pub delete: Option<DeleteAttempt>,
    /// When its newest stop was intended and how many in a row were refused, if it stands as it did since.
    pub stop_refused: Option<(Timestamp, u32)>,
    /// When its newest start was intended.
    pub start: Option<Timestamp>,
    /// When it was stopped, while no list can show it yet: it counts as it did, and is on its way out.
    pub stop: Option<Timestamp>,
    /// When a rebid was refused, since it was outbid.
    pub rebid_refused: Option<Timestamp>,
}

/// One VM of ours, as far as it may still cost or serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name: the key.
    pub name: VmName,
    /// Whose it is.
    pub fleet: FleetName,
    /// Where it was rented.
    pub marketplace: MarketplaceName,
    /// Who pays.
    pub account: AccountName,
    /// The vendor's id, once known.
    pub id: Option<InstanceId>,
    /// On which machine.
    pub hostnode: HostnodeId,
    /// Its place, as listed when it was rented.
    pub location: crate::model::offer::Location,
    /// Its size.
    pub shape: Shape,
    /// How it is paid for.
    pub price_type: PriceType,
    /// The highest bid that may be in force: while a rebid is not read back, the higher of both.
    pub bid: Option<HourlyRate>,
    /// What was agreed when it was deployed (or last rebid).
    pub agreed: Rates,
    /// What the same VM costs on demand, as listed when it was rented.
    pub on_demand: Rates,
    /// What the marketplace quotes for it in full, where it was seen.
    pub quoted: Option<Rates>,
    /// What it counts as.
    pub standing: Standing,
    /// Since when.
    pub since: Timestamp,
    /// When its deploy was intended.
    pub intended_at: Timestamp,
    /// When it first ran.
    pub running_since: Option<Timestamp>,
    /// The member that it was deployed to replace.
    pub replaces: Option<VmName>,
    /// A delete, start or rebid of it is not answered for sure.
    pub write_in_doubt: bool,
    /// When its newest rebid was accepted, and not read back as running since.
    pub rebid_accepted_at: Option<Timestamp>,
    /// What was last tried with it.
    pub attempts: Attempts,
    /// The operator wants it left alone, but for money.
    pub protected: bool,
    /// Where it can be reached.
    pub address: Option<String>,
    /// Outside port to inside port.
    pub ports: BTreeMap<u16, u16>,
    /// Until when the marketplace lets it count on its GPUs, where a list says so.
    pub available_until: Option<Timestamp>,
    /// Why it was rented, one line.
    pub why: String,
}

impl Member {
    /// GPUs that it counts as. Source: CONTRACT, "Counting".
    pub fn counted_gpus(&self) -> u32 {
        let counts = match self.standing {
            Standing::StoppedReleased => false,
            Standing::Pending | Standing::Running | Standing::StoppedKept | Standing::Lost => true,
            Standing::InDoubt => Guard::InDoubtGpus.is_kept(),
            Standing::Outbid => Guard::OutbidGpus.is_kept(),
            Standing::Leaving => Guard::LeavingGpus.is_kept(),
        };
        if counts { self.shape.gpus } else { 0 }
    }

    /// The hourly rate that it counts as. Source: CONTRACT, "Counting".
    pub fn committed(&self) -> HourlyRate {
        let full = self.quoted.map_or(self.agreed, |quoted| quoted.max(self.agreed));
        match self.standing {
            Standing::InDoubt if !Guard::InDoubtMoney.is_kept() => HourlyRate::ZERO,
            Standing::Pending
            | Standing::Running
            | Standing::InDoubt
            | Standing::Leaving
            | Standing::StoppedKept
            | Standing::Lost => full.total().max(self.bid.unwrap_or_default().plus(full.storage)),
            Standing::Outbid => self.bid.unwrap_or(full.compute).plus(full.storage),
            Standing::StoppedReleased => full.storage,
        }
    }

    /// Whether it is meant to serve: not on its way out, and not given back.
    pub const fn serves(&self) -> bool {
        match self.standing {
            Standing::Pending | Standing::Running | Standing::InDoubt | Standing::Outbid | Standing::StoppedKept => {
                true
            }
            Standing::Leaving | Standing::StoppedReleased | Standing::Lost => false,
        }
    }
}

/// A VM that is named like one of a known fleet's, and not in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Where it was seen.
    pub marketplace: MarketplaceName,
    /// Who pays.
    pub account: AccountName,
    /// As listed.
    pub instance: Instance,
}

impl Stray {
    /// What it is billed, per hour; nothing where the marketplace does not say.
    pub fn rate(&self) -> HourlyRate {
        self.instance.billed().unwrap_or_default().total()
    }
}

/// Money kept back for a deploy that was given up and may still turn up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The name that must not be used again.
    pub name: VmName,
    /// Who would pay.
    pub account: AccountName,
    /// Where it would turn up.
    pub marketplace: MarketplaceName,
    /// At the most it can cost.
    pub rate: HourlyRate,
    /// When its deploy was intended.
    pub intended_at: Timestamp,
    /// Until the late window is over.
    pub until: Timestamp,
}

/// A VM that turned up after its intent had been given up: reaped in the same tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// Its name.
    pub name: VmName,
    /// Where it turned up.
    pub marketplace: MarketplaceName,
    /// Who pays.
    pub account: AccountName,
    /// The vendor's id.
    pub id: InstanceId,
    /// How many GPUs it has.
    pub gpus: u32,
    /// What it is billed or was to cost at most, whichever is more.
    pub rate: HourlyRate,
    /// Its newest delete.
    pub delete: Option<DeleteAttempt>,
}

/// The ledger of one fleet, joined with an inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Ours, by name.
    pub members: BTreeMap<VmName, Member>,
    /// Named like ours, not in the journal.
    pub strays: Vec<Stray>,
    /// Given up, money still kept back.
    pub reserved: Vec<Reserved>,
    /// Given up, and there after all.
    pub late: Vec<Late>,
}

impl Fleet {
    /// GPUs of the members by CONTRACT's table, without strays.
    pub fn counted_gpus(&self) -> u32 {
        self.members.values().map(Member::counted_gpus).sum()
    }

    /// GPUs of strays and late VMs: counted when renting, never a reason to let one of ours go.
    pub fn stray_gpus(&self) -> u32 {
        let strays: u32 = self.strays.iter().map(|stray| stray.instance.gpus).sum();
        strays.saturating_add(self.late.iter().map(|late| late.gpus).sum())
    }

    /// The committed hourly rate: members, strays, late VMs and reserved money.
    pub fn committed(&self) -> HourlyRate {
        let members: HourlyRate = self.members.values().map(Member::committed).sum();
        let strays: HourlyRate = self.strays.iter().map(Stray::rate).sum();
        let late: HourlyRate = self.late.iter().map(|late| late.rate).sum();
        let reserved: HourlyRate = self.reserved.iter().map(|reserved| reserved.rate).sum();
        members.plus(strays).plus(late).plus(reserved)
    }
}
