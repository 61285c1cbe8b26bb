//! The nouns.
//!
//! Everything the rest of the house talks about, as plain values: money, GPUs, hostnodes, offers, instances, what one
//! look at the world saw, why something was refused or done. Nothing here does IO, waits, reads a clock or knows a
//! vendor's JSON. Where a noun must be written down (the journal, the window), its *canonical text* is its
//! [`Display`](std::fmt::Display) and it reads back with [`FromStr`](std::str::FromStr); the records that need more
//! have serde types of their own, where they are written.

#[macro_use]
pub mod label;
pub mod catalogue;
pub mod gpu;
pub mod guard;
pub mod image;
pub mod instance;
pub mod inventory;

pub mod money;
pub mod name;
pub mod offer;
pub mod reason;
pub mod refusal;
pub mod shared;
pub mod time;
pub mod wish;

pub use gpu::GpuModel;
pub use guard::Guard;
pub use instance::{Instance, InstanceStatus};
pub use inventory::{Balance, Inventory, Lookup, MarketView, Reading, Scan};
pub use money::{HourlyRate, Usd};
pub use name::{AccountName, FleetName, HostnodeId, InstanceId, MarketplaceName, VmName};
pub use offer::{Hostnode, Offer, PriceType, Shape};
pub use refusal::{Refusal, RefusalKind};
pub use shared::Shared;
pub use time::Timestamp;
