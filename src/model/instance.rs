//! A VM as the marketplace shows it. What we *meant* by it is the ledger's; what it *counts as* is the fleet's.

use super::{GpuModel, HostnodeId, InstanceId, PriceType, Timestamp, VmName, offer::Rates};
use std::{collections::BTreeMap, fmt};

/// The marketplace's word for what a VM is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceStatus {
    /// Made, not running yet.
    Starting,
    /// Running.
    Running,
    /// Stopped with its GPU kept: billed in full.
    StoppedKept,
    /// Stopped with its GPU given back: only storage is billed.
    StoppedReleased,
    /// Its bid was beaten: only storage is billed, and it may come back.
    Outbid,
    /// Being deleted, or deleted and still listed.
    Leaving,
    /// A word we do not know, kept as it came. Counts as not running.
    Unknown(String),
}

impl fmt::Display for InstanceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::StoppedKept => "stopped",
            Self::StoppedReleased => "stopped, GPU released",
            Self::Outbid => "outbid",
            Self::Leaving => "leaving",
            Self::Unknown(word) => word,
        })
    }
}

/// One VM of an account, ours or anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The vendor's id.
    pub id: InstanceId,
    /// Its name: ours when the journal says so.
    pub name: VmName,
    /// What it is doing.
    pub status: InstanceStatus,
    /// The machine it stands on.
    pub hostnode: Option<HostnodeId>,
    /// The model of its GPUs.
    pub gpu_model: Option<GpuModel>,
    /// How many.
    pub gpus: u32,
    /// How it is paid for, where the answer says.
    pub price_type: Option<PriceType>,
    /// What the vendor quotes for it, per hour; the compute part is not billed while outbid or released. `None` where the
    /// answer does not say.
    pub quoted: Option<Rates>,
    /// Where it can be reached.
    pub address: Option<String>,
    /// Outside port to inside port.
    pub ports: BTreeMap<u16, u16>,
    /// When it was made, by the vendor's clock.
    pub created_at: Option<Timestamp>,
    /// Until when the marketplace lets it count on its GPUs; `None`: nobody sets an end, or none that
    /// can be read.
    pub available_until: Option<Timestamp>,
}

impl Instance {
    /// What is billed for it now, per hour, as far as the answer says: storage always, compute unless it is outbid or its
    /// GPU was given back. An unknown status counts in full.
    pub fn billed(&self) -> Option<Rates> {
        let quoted = self.quoted?;
        Some(match self.status {
            InstanceStatus::Outbid | InstanceStatus::StoppedReleased => {
                Rates { compute: super::HourlyRate::ZERO, storage: quoted.storage }
            }
            InstanceStatus::Starting
            | InstanceStatus::Running
            | InstanceStatus::StoppedKept
            | InstanceStatus::Leaving
            | InstanceStatus::Unknown(_) => quoted,
        })
    }
}
