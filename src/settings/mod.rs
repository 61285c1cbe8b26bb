//! The daemon's own settings: `spotscale.toml` and the environment over it, as checked types.
//!
//! Nothing here reads the environment or a file by itself: both are passed in. Secrets are resolved once and never
//! print.
//!
//! ```text
//! spotscale.toml -> tree -\
//!                          overlay -> raw -> check -> Settings
//! SPOTSCALE__…   -> tree -/                    ^
//!            credentials, variables, files ----'
//! ```
//!
//! The file's tree, its readers and its faults are the policy's own: both complain in the same words.

pub mod change;
pub mod check;
mod environment;
pub mod raw;
pub mod secret;

pub use change::changed_needing_restart;
pub use check::{Checked, check};

use crate::{
    model::{AccountName, HourlyRate, MarketplaceName, Usd},
    policy::{Context, InstanceDefaults, SpotOffered, terms::Mode},
};
use secrecy::SecretString;
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

labels! {
    /// The APIs a marketplace can speak.
    pub enum Api {
        /// TensorDock's first API: bids and on demand.
        TensordockV0 = "tensordock-v0",
    }
}

impl Api {
    /// Where it answers, unless said.
    pub const fn default_base_url(self) -> &'static str {
        match self {
            // The vendor's dashboard host (documented).
            Self::TensordockV0 => "https://dashboard.tensordock.com",
        }
    }

    /// Whether it takes bids.
    pub const fn spot_offered(self) -> SpotOffered {
        match self {
            Self::TensordockV0 => SpotOffered::Yes,
        }
    }
}

/// Over all fleets, whatever the policies say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `None`: only the policies limit.
    pub max_hourly_rate: Option<HourlyRate>,
    /// Per account.
    pub balance_floor: Usd,
    /// `Observe` is over every policy's own.
    pub mode: Mode,
}

/// One configured marketplace.
#[derive(Clone, Debug)]
pub struct MarketplaceSettings {
    /// What it speaks.
    pub api: Api,
    /// Where it answers, without a trailing slash.
    pub base_url: String,
    /// First credential, where the API has two.
    pub key: Option<SecretString>,
    /// The other.
    pub token: SecretString,
    /// Who pays there.
    pub account: AccountName,
    /// Thousandths of a request per second.
    pub requests_per_second_milli: u32,
}

/// Where the window listens.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Status page, API, metrics.
    pub listen: SocketAddr,
    /// Every change needs it once it is set.
    pub token: Option<SecretString>,
}

/// `spotscale.toml`, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The SQLite file.
    pub state: PathBuf,
    /// Folder of policy files.
    pub policies: PathBuf,
    /// Between two looks at the market.
    pub scan_interval: Duration,
    /// Every VM of ours is named `<prefix>-<fleet>-…`.
    pub instance_prefix: String,
    /// How long an unanswered deploy is looked for before its slot may be filled again.
    pub settle_grace: Duration,
    /// How much longer its money stays reserved.
    pub late_window: Duration,
    /// The window.
    pub http: HttpSettings,
    /// Over all fleets.
    pub limits: Limits,
    /// The text of `[defaults.instance] ssh_key`, where there is one.
    pub default_ssh_key: Option<String>,
    /// The rest of `[defaults.instance]`.
    pub instance_defaults: InstanceDefaults,
    /// By name; at least one.
    pub marketplaces: BTreeMap<MarketplaceName, MarketplaceSettings>,
}

impl Settings {
    /// What policies are checked against.
    pub fn policy_context(&self) -> Context {
        Context {
            instance_prefix: self.instance_prefix.clone(),
            default_ssh_key: self.default_ssh_key.clone(),
            instance_defaults: self.instance_defaults.clone(),
            marketplaces: self
                .marketplaces
                .iter()
                .map(|(name, marketplace)| (name.clone(), marketplace.api.spot_offered()))
                .collect(),
        }
    }
}
