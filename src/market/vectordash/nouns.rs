//! What this API says beyond the nouns of the house.
//!
//! **Invariant:** none of these holds an instance's private key.

use crate::model::{GpuModel, HourlyRate, Instance, Timestamp, Usd, VmName};
use std::collections::BTreeMap;

/// Whose token it is (documented). What the answer does not say, or not readably, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The e-mail address.
    pub email: Option<String>,
    /// Whether that was confirmed.
    pub email_confirmed: Option<bool>,
    /// Whether there is a payment method, without which no instance can be created.
    pub payment_method_added: Option<bool>,
    /// Whether the account may list GPUs of its own.
    pub vetted_host: Option<bool>,
    /// By currency.
    pub wallets: BTreeMap<String, String>,
}

/// Until when a GPU can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Availability {
    /// Until then. The documents name no zone: UTC is assumed.
    Until(Timestamp),
    /// For good.
    Unlimited,
}

impl Availability {
    /// When it ends, if ever.
    pub const fn end(self) -> Option<Timestamp> {
        match self {
            Self::Until(end) => Some(end),
            Self::Unlimited => None,
        }
    }
}

/// One line of the list of GPUs (documented).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGpu {
    /// The type as listed, to the letter: a new instance asks for it by this text.
    pub kind: String,
    /// What we call it; `None` for a text that cannot be a model.
    pub model: Option<GpuModel>,
    /// Thousandths of a teraflop per second.
    pub teraflops_milli: Option<u32>,
    /// Memory, GB.
    pub vram_gb: Option<u32>,
    /// Architecture, such as `Pascal`.
    pub generation: Option<String>,
    /// USD per hour for one, all in.
    pub rate: HourlyRate,
    /// Until when the one that is available for longest can be had.
    pub available: Availability,
    /// It mines and computes nothing else.
    pub asic: bool,
}

/// An instance, present or past, with all that this API says of it, its private key left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What the house needs to know.
    pub instance: Instance,
    /// Who one logs in as.
    pub user: Option<String>,
    /// The processor.
    pub cpu: Option<String>,
    /// Memory, GB.
    pub ram_gb: Option<u32>,
    /// Disk, GB.
    pub storage_gb: Option<u32>,
    /// What runs in it.
    pub image: Option<String>,
    /// When it was stopped for good.
    pub ended_at: Option<Timestamp>,
    /// What it would have cost if it ended now, USD.
    pub estimated_charge: Option<Usd>,
    /// How long it has been there, hours.
    pub duration_h: Option<u32>,
}

/// A new instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// Its name.
    pub name: VmName,
    /// The type of its one GPU, as listed.
    pub gpu: String,
    /// What runs in it; `None`: `deep-learning-box`.
    pub image: Option<String>,
    /// The GPU must be available until then; `None`: the one that is available for longest.
    pub until: Option<Timestamp>,
}
