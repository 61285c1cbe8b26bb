//! What the calls of TensorDock v2 speak of beyond the house's own nouns: places, new VMs, changed sizes, secrets.
//!
//! Sizes are gigabytes and prices US dollars per hour, as everywhere in this API. What an answer says is *documented*
//! (the vendor's pages) or *recorded* (clients) as each field tells. The engine uses little of this: a user of the
//! library does.

use super::cloud_init::CloudInit;
use crate::model::{
    GpuModel, HostnodeId, HourlyRate, Shape, VmName,
    offer::{Location, Stock},
};
use secrecy::SecretString;
use std::{collections::BTreeMap, fmt};

macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                if text.len() <= crate::model::name::ID_BYTES_MAX && crate::market::raw::is_plain(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NotAnId)
                }
            }
        }
    };
}

/// A place where the vendor picks the machine by itself (documented, page fetch-hostnodes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The vendor's id of it.
    pub id: PlaceId,
    /// Where it is.
    pub location: Location,
    /// 0: residential, 4: the best data centre.
    pub tier: Option<u32>,
    /// What can be had there, by model.
    pub gpus: BTreeMap<GpuModel, PlaceGpus>,
}

text_id! {
    /// The vendor's id of a place.
    PlaceId
}
text_id! {
    /// The vendor's id of a secret: an SSH key uploaded before is one.
    SecretId
}

/// What can be had of one model in a place: by one VM at most, as far as it was known when it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceGpus {
    /// For people.
    pub display_name: Option<String>,
    /// GPUs, and the price of each.
    pub gpus: Stock,
    /// vCPUs, and the price of each.
    pub vcpus: Stock,
    /// Memory, by the GB.
    pub ram_gb: Stock,
    /// Disk, by the GB.
    pub storage_gb: Stock,
    /// Whether a VM can have an address of its own.
    pub dedicated_ip: Option<bool>,
    /// Whether ports can be forwarded to a VM.
    pub port_forwarding: Option<bool>,
    /// Whether there is network storage.
    pub network_storage: Option<bool>,
}

/// Where a new VM is to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// On this machine.
    Hostnode(HostnodeId),
    /// On whichever machine of a place has room.
    Place(PlaceId),
}

/// How a new VM is logged into. The API takes one of the two, never both (documented).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// An OpenSSH public key, as text.
    Key(String),
    /// One that was uploaded before, by its id among the secrets.
    KeyId(SecretId),
    /// None: Windows alone does without (documented).
    Without,
}

/// A new VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// What it is called.
    pub name: VmName,
    /// Operating system, in v2's own word.
    pub image: String,
    /// Where.
    pub site: Site,
    /// Its size. At least 100 GB of disk (documented); by place at least one GPU (documented).
    pub shape: Shape,
    /// Outside port to inside port. The vendor may grant others outside (recorded): the VM itself tells.
    pub ports: BTreeMap<u16, u16>,
    /// An address of its own instead of forwarded ports (recorded).
    pub dedicated_ip: bool,
    /// How it is logged into.
    pub login: Login,
    /// What its first boot does.
    pub cloud_init: CloudInit,
}

/// Another size for a stopped VM (documented, page instance-management). All of it is said: what v2 takes for a part that
/// is left out is not documented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modification {
    /// vCPUs; in steps of 2.
    pub vcpus: u32,
    /// Memory, GB; in steps of 8, and from a list of the vendor's: 2, 4, 6, 8, 10, 16, 32, 48, … 256, 512.
    pub ram_gb: u32,
    /// Disk, GB; in steps of 50, at least 100, never smaller than it is.
    pub storage_gb: u32,
    /// Which GPUs, and how many.
    pub gpus: Option<(GpuModel, u32)>,
}

labels! {
    /// What a secret is for.
    pub enum SecretKind {
        /// An SSH public key: what `ssh_key_id` names.
        SshKey = "SSHKEY",
        /// Anything that may be read back.
        Generic = "GENERIC",
        /// What is never shown again.
        Secret = "SECRET",
    }
}

/// A secret without its value, as lists show it (documented, page secrets).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// The vendor's id of it.
    pub id: SecretId,
    /// What it is called.
    pub name: String,
    /// What it is for; `None` where the word is not known.
    pub kind: Option<SecretKind>,
}

/// A secret with its value.
#[derive(Clone, Debug)]
pub struct Opened {
    /// All but its value.
    pub secret: Secret,
    /// What it holds; never shown for [`SecretKind::Secret`].
    pub value: Option<SecretString>,
}

/// A secret to be kept.
#[derive(Clone, Debug)]
pub struct NewSecret {
    /// What it is to be called.
    pub name: String,
    /// What it is for.
    pub kind: SecretKind,
    /// What it holds.
    pub value: SecretString,
}

/// Whose credentials they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// The vendor's id of it, where the answer says (recorded).
    pub id: Option<String>,
}

impl PlaceGpus {
    /// What a VM of that size costs per hour: the sum of all it has, not rounded; `None` where it is more than can be had.
    pub fn price(&self, shape: &Shape) -> Option<HourlyRate> {
        let Self { gpus, vcpus, ram_gb, storage_gb, .. } = self;
        let parts = [(gpus, shape.gpus), (vcpus, shape.vcpus), (ram_gb, shape.ram_gb), (storage_gb, shape.storage_gb)];
        let fits = parts.iter().all(|(stock, wanted)| stock.free >= *wanted);
        fits.then(|| parts.iter().map(|(stock, wanted)| stock.price.times(*wanted)).sum())
    }
}

/// A text that could not stand in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id has only letters, digits, `-` and `_`")]
pub struct NotAnId;
