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
pub use check::{Checked, Draft, check};

use crate::{
    model::{
        AccountName, HourlyRate, MarketplaceName, Usd,
        catalogue::{self, Vocabulary},
    },
    policy::{Context, InstanceDefaults, SpotOffered, terms::Mode},
};
use secrecy::{ExposeSecret, SecretString};
use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

labels! {
    /// The APIs a marketplace can speak.
    pub enum Api {
        /// TensorDock's first API: bids and on demand.
        TensordockV0 = "tensordock-v0",
        /// TensorDock's second API: on demand only.
        TensordockV2 = "tensordock-v2",
        /// Vectordash: on demand, by GPU type.
        Vectordash = "vectordash",
        /// A market of rehearsals: our own, bids with a listed price and on demand.
        Trace = "trace",
    }
}

labels! {
    /// Whose market an API opens. APIs of one vendor show the same machines and VMs.
    pub enum Vendor {
        /// TensorDock.
        Tensordock = "tensordock",
        /// Vectordash.
        Vectordash = "vectordash",
        /// Nobody: only rehearsals speak it.
        Trace = "trace",
    }
}

impl Api {
    /// Whose market it opens.
    pub const fn vendor(self) -> Vendor {
        match self {
            Self::TensordockV0 | Self::TensordockV2 => Vendor::Tensordock,
            Self::Vectordash => Vendor::Vectordash,
            Self::Trace => Vendor::Trace,
        }
    }

    /// Whose words for GPU models and images it takes.
    pub const fn vocabulary(self) -> Vocabulary {
        match self {
            Self::TensordockV0 => Vocabulary::TensordockV0,
            Self::TensordockV2 => Vocabulary::TensordockV2,
            Self::Vectordash => Vocabulary::Vectordash,
            Self::Trace => Vocabulary::Trace,
        }
    }

    /// Whether it takes a key beside the token.
    pub const fn takes_key(self) -> bool {
        match self {
            Self::TensordockV0 => true,
            Self::TensordockV2 | Self::Vectordash | Self::Trace => false,
        }
    }

    /// Whether it tells what the account holds.
    pub const fn tells_balance(self) -> bool {
        match self {
            Self::TensordockV0 | Self::Trace => true,
            // Its balance is v0's (recorded); Vectordash has none (documented).
            Self::TensordockV2 | Self::Vectordash => false,
        }
    }

    /// The most requests that it takes of one account in a minute; more are turned away. `None`: it names no number.
    pub const fn requests_per_minute_max(self) -> Option<u32> {
        match self {
            // "We do not rate limit, but please keep API requests reasonable (e.g. 1 request per second)" (documented).
            Self::TensordockV0 => None,
            // The vendor's page getting-started (documented).
            Self::TensordockV2 => Some(100),
            Self::Vectordash | Self::Trace => None,
        }
    }

    /// Where it answers, unless said.
    pub const fn default_base_url(self) -> &'static str {
        match self {
            // The vendor's dashboard host (documented).
            Self::TensordockV0 | Self::TensordockV2 => "https://dashboard.tensordock.com",
            // "All requests … should be sent to" it (documented).
            Self::Vectordash => "https://vectordash.com",
            // `spotscale marketplace`, where it listens unless told otherwise: there is no vendor.
            Self::Trace => "http://127.0.0.1:9747",
        }
    }

    /// Whether nobody sells anything behind it: it is there for rehearsals.
    pub const fn only_rehearses(self) -> bool {
        match self {
            Self::Trace => true,
            Self::TensordockV0 | Self::TensordockV2 | Self::Vectordash => false,
        }
    }

    /// Whether it takes bids.
    pub const fn spot_offered(self) -> SpotOffered {
        match self {
            Self::TensordockV0 | Self::Trace => SpotOffered::Yes,
            Self::TensordockV2 | Self::Vectordash => SpotOffered::No,
        }
    }
}

labels! {
    /// What is done while nobody can read an account's balance.
    pub enum BalanceRule {
        /// Nothing is rented.
        Required = "required",
        /// What is left of the day's budget stands in for it.
        UnreadableOk = "unreadable-ok",
    }
}

/// `[accounts.<name>]`: what binds one account, beside the floor of `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountLimits {
    /// `UnreadableOk` only with a budget for the day.
    pub balance: BalanceRule,
    /// What our VMs may cost on one UTC day, by our own accrual; `None`: no such budget.
    pub max_spend_per_day: Option<Usd>,
    /// Likewise, in one UTC month.
    pub max_spend_per_month: Option<Usd>,
}

impl AccountLimits {
    /// Of an account about which nothing is said.
    pub const UNSAID: Self =
        Self { balance: BalanceRule::Required, max_spend_per_day: None, max_spend_per_month: None };
}

impl fmt::Display for AccountLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { balance, max_spend_per_day, max_spend_per_month } = self;
        write!(f, "balance {balance}")?;
        for (most, period) in [(max_spend_per_day, "day"), (max_spend_per_month, "month")] {
            if let Some(most) = most {
                write!(f, ", {most} USD a {period}")?;
            }
        }
        Ok(())
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
    /// `[accounts]`, where there is something to say. They are here because they come into force as `[limits]` do: an edit
    /// that would tear down too much is held.
    pub accounts: BTreeMap<AccountName, AccountLimits>,
}

impl Limits {
    /// What binds an account.
    pub fn account(&self, name: &AccountName) -> AccountLimits {
        self.accounts.get(name).copied().unwrap_or(AccountLimits::UNSAID)
    }
}

/// One configured marketplace.
#[derive(Clone)]
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

impl MarketplaceSettings {
    /// Whether both lead to the same account at the same place, whatever their pace: the same API, address and credentials.
    pub fn reaches_as(&self, other: &Self) -> bool {
        let Self { api, base_url, key, token, account, requests_per_second_milli: _ } = self;
        let text = |secret: &Option<SecretString>| secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        *api == other.api
            && *base_url == other.base_url
            && *account == other.account
            && text(key) == text(&other.key)
            && token.expose_secret() == other.token.expose_secret()
    }
}

/// Where the window listens.
#[derive(Clone)]
pub struct HttpSettings {
    /// Status page, API, metrics.
    pub listen: SocketAddr,
    /// Every change needs it once it is set.
    pub token: Option<SecretString>,
}

/// How a secret prints.
const HIDDEN: &str = "***";

impl fmt::Debug for MarketplaceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api, base_url, key, token: _, account, requests_per_second_milli } = self;
        f.debug_struct("MarketplaceSettings")
            .field("api", api)
            .field("base_url", base_url)
            .field("key", &key.as_ref().map(|_| HIDDEN))
            .field("token", &HIDDEN)
            .field("account", account)
            .field("requests_per_second_milli", requests_per_second_milli)
            .finish()
    }
}

impl fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, token } = self;
        f.debug_struct("HttpSettings").field("listen", listen).field("token", &token.as_ref().map(|_| HIDDEN)).finish()
    }
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
            vocabularies: self
                .marketplaces
                .iter()
                .map(|(name, marketplace)| (name.clone(), marketplace.api.vocabulary()))
                .collect(),
            catalogue_edition: catalogue::EDITION,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const SMALLEST: &str = r#"
        [marketplaces.tensordock]
        api = "tensordock-v0"
        key = { credential = "key" }
        token = { env = "MY_TOKEN" }
    "#;

    fn checked(text: &str, environment: &[(&str, &str)]) -> Checked {
        let mut all = BTreeMap::from([
            ("CREDENTIALS_DIRECTORY".to_owned(), "/run/credentials".to_owned()),
            ("MY_TOKEN".to_owned(), "hush-token".to_owned()),
        ]);
        all.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        check(Path::new("/etc/spotscale/spotscale.toml"), text, &all, &mut |path| match path.to_str() {
            Some("/run/credentials/key") => Ok("hush-key\n".to_owned()),
            Some("/etc/spotscale/http-token") => Ok("hush-http".to_owned()),
            _ => Err("no such file".to_owned()),
        })
    }

    #[track_caller]
    fn settings(text: &str, environment: &[(&str, &str)]) -> Settings {
        let checked = checked(text, environment);
        assert_eq!((&checked.faults, &checked.unresolved), (&vec![], &vec![]));
        checked.complete().unwrap()
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let settings = settings(SMALLEST, &[]);
        assert_eq!(settings.state, Path::new("/var/lib/spotscale/spotscale.db"));
        assert_eq!(settings.policies, Path::new("/etc/spotscale/policies"));
        assert_eq!(settings.scan_interval, Duration::from_secs(30));
        assert_eq!(settings.http.listen.to_string(), "127.0.0.1:9746");
        let marketplace = &settings.marketplaces[&"tensordock".parse().unwrap()];
        assert_eq!(marketplace.base_url, "https://dashboard.tensordock.com");
        assert_eq!(marketplace.account.as_str(), "tensordock");
        assert_eq!(marketplace.requests_per_second_milli, 1_000);
        assert_eq!(marketplace.key.as_ref().unwrap().expose_secret(), "hush-key");
    }

    #[test]
    fn tensordock_v2_needs_a_token_alone_and_its_pace_is_held_against_what_it_takes() {
        let text = SMALLEST.replace("tensordock-v0", "tensordock-v2").replace("key = { credential = \"key\" }", "");
        let settings = settings(&text, &[]);
        let marketplace = &settings.marketplaces[&"tensordock".parse().unwrap()];
        assert_eq!((marketplace.api, marketplace.key.is_none()), (Api::TensordockV2, true));
        assert_eq!(marketplace.base_url, "https://dashboard.tensordock.com");
        assert_eq!(settings.policy_context().marketplaces.values().collect::<Vec<_>>(), [&SpotOffered::No]);
        let warned = |pace: &str| {
            let checked = checked(&format!("{text}\nrequests_per_second = {pace}"), &[]);
            assert_eq!(checked.faults, vec![]);
            checked.warnings.iter().filter(|warning| warning.key.ends_with("requests_per_second")).count()
        };
        assert_eq!([warned("1.666"), warned("1.667")], [0, 1]);
    }

    #[test]
    fn the_api_of_rehearsals_is_taken_and_warned_of() {
        let text = "[marketplaces.trace]\napi = \"trace\"\ntoken = { env = \"MY_TOKEN\" }\n";
        let checked = checked(text, &[]);
        let told: Vec<String> = checked.warnings.iter().map(ToString::to_string).collect();
        let expected = "/etc/spotscale/spotscale.toml:2:7: warning: marketplaces.trace.api = \"trace\" is only for rehearsals; no \
                        vendor speaks it, and what is rented there is no machine; name the API of a marketplace";
        assert_eq!((told, checked.faults.len()), (vec![expected.to_owned()], 0));
    }

    #[test]
    fn vectordash_takes_only_a_token() {
        let text = "[marketplaces.vectordash]\napi = \"vectordash\"\ntoken = { env = \"MY_TOKEN\" }\n";
        let settings = settings(text, &[]);
        let marketplace = &settings.marketplaces[&"vectordash".parse().unwrap()];
        assert_eq!((marketplace.api, marketplace.base_url.as_str()), (Api::Vectordash, "https://vectordash.com"));
        assert!(marketplace.key.is_none());
        let context = settings.policy_context();
        assert_eq!(context.marketplaces[&"vectordash".parse().unwrap()], SpotOffered::No);
        let checked = checked(&format!("{text}key = {{ env = \"MY_TOKEN\" }}\n"), &[]);
        let faults: Vec<String> = checked.faults.iter().map(ToString::to_string).collect();
        assert!(faults.len() == 1 && faults[0].contains("vectordash takes only a token"), "{faults:?}");
    }

    #[test]
    fn secrets_do_not_print() {
        let text = format!("{SMALLEST}\n[http]\ntoken = {{ file = \"http-token\" }}");
        let settings = settings(&text, &[]);
        assert_eq!(settings.http.token.as_ref().unwrap().expose_secret(), "hush-http");
        let shown = format!("{settings:?} {settings:#?}");
        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("***"), "{shown}");
    }

    #[test]
    fn the_environment_is_over_the_file_and_its_numbers_stay_literals() {
        let text =
            format!("state = \"sqlite:here.db\"\n{SMALLEST}\n[limits]\nmax_hourly_rate = 0.3\nbalance_floor = 1");
        let settings = settings(
            &text,
            &[
                ("SPOTSCALE__LIMITS__BALANCE_FLOOR", "0.1"),
                ("SPOTSCALE__LIMITS__MODE", "observe"),
                ("SPOTSCALE__MARKETPLACES__TENSORDOCK__KEY__ENV", "MY_TOKEN"),
                ("SPOTSCALE__DEFAULTS__INSTANCE__PORTS", "22, 8888"),
            ],
        );
        assert_eq!(settings.state, Path::new("/etc/spotscale/here.db"));
        assert_eq!(settings.limits.max_hourly_rate, Some(HourlyRate::from_micros(300_000)));
        assert_eq!(settings.limits.balance_floor, Usd::from_micros(100_000));
        assert_eq!(settings.limits.mode, Mode::Observe);
        assert_eq!(settings.instance_defaults.ports, Some(vec![22, 8888]));
        let marketplace = &settings.marketplaces[&"tensordock".parse().unwrap()];
        assert_eq!(marketplace.key.as_ref().unwrap().expose_secret(), "hush-token");
    }

    #[test]
    fn what_is_said_of_an_account_binds_it_and_can_be_read_again() {
        let text =
            format!("{SMALLEST}\n[accounts.tensordock]\nbalance = \"unreadable-ok\"\nmax_spend_per_day = 20.00\n");
        let account: AccountName = "tensordock".parse().unwrap();
        let limits = |settings: &Settings| settings.limits.account(&account).to_string();
        assert_eq!(limits(&settings(SMALLEST, &[])), "balance required");
        assert_eq!(limits(&settings(&text, &[])), "balance unreadable-ok, 20.00 USD a day");
        let over = [("SPOTSCALE__ACCOUNTS__TENSORDOCK__MAX_SPEND_PER_DAY", "0.3")];
        let overlaid = settings(&text, &over);
        assert_eq!(limits(&overlaid), "balance unreadable-ok, 0.30 USD a day");
        assert_eq!(changed_needing_restart(&settings(&text, &[]), &overlaid), Vec::<String>::new());
    }

    #[test]
    fn an_unreadable_secret_is_told_apart_from_faults() {
        let checked = checked(&SMALLEST.replace("MY_TOKEN", "NOT_SET"), &[]);
        assert_eq!(checked.faults, vec![]);
        assert_eq!(checked.unresolved.len(), 1);
        assert!(checked.without_secrets().is_some() && checked.context().is_some());
        assert!(checked.complete().is_none());
    }

    #[test]
    fn some_changes_wait_for_a_restart() {
        let old = settings(SMALLEST, &[]);
        assert_eq!(changed_needing_restart(&old, &old), Vec::<String>::new());
        let pace = settings(&format!("{SMALLEST}requests_per_second = 0.5\n[limits]\nbalance_floor = 9"), &[]);
        assert_eq!(changed_needing_restart(&old, &pace), Vec::<String>::new());
        let renamed =
            format!("state = \"sqlite:x\"\ninstance_prefix = \"other\"\n{SMALLEST}[http]\nlisten = \"127.0.0.1:1\"")
                .replace("marketplaces.tensordock", "marketplaces.dock");
        assert_eq!(
            changed_needing_restart(&old, &settings(&renamed, &[])),
            ["state", "instance_prefix", "http.listen", "marketplaces.tensordock (gone)", "marketplaces.dock (new)"]
        );
    }
}
