//! From `spotscale.toml`, the environment and the secrets they name to [`Settings`].
//!
//! First the file is read alone, so that whatever is wrong in it has its place, overridden or not. Then the environment
//! is laid over it, and what the keys say together is judged of the whole.

use super::{
    AccountLimits, Api, BalanceRule, HttpSettings, Limits, MarketplaceSettings, Settings, environment,
    raw::{self, Raw, RawAccount, RawMarketplace, State},
    secret::{self, SecretSource},
};
use crate::{
    model::{AccountName, Usd, catalogue},
    policy::{
        Context, Fault, InstanceDefaults, SpotOffered,
        check::size_bounds,
        fault::{At, Findings, nearest},
        source::{Attached, attach, named_files},
        tree::{self, Quote, Syntax},
    },
};
use secrecy::SecretString;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

const NOT_YET: &str = "is not supported yet";

/// What came of a check.
#[derive(Clone, Debug)]
pub struct Checked {
    settings: Option<Settings>,
    /// What the policies can be checked by, faults or not; `None` while the file does not parse.
    pub draft: Option<Draft>,
    /// All that stands against the text, in the order of their places.
    pub faults: Vec<Fault>,
    /// Secrets that could not be read. Where nothing is sent to a marketplace this may not matter: under systemd only the
    /// daemon itself can read its credentials.
    pub unresolved: Vec<Fault>,
    /// All that may not be meant.
    pub warnings: Vec<Fault>,
}

/// Where the policies are and what they are checked against, as far as the settings can be read: so that their faults
/// and the policies' can be told at once.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Folder of policy files.
    pub policies: PathBuf,
    /// What policies are checked against.
    pub context: Context,
}

impl Checked {
    /// The settings, with every secret in its place.
    pub fn complete(self) -> Option<Settings> {
        self.settings.filter(|_| self.unresolved.is_empty())
    }

    /// The settings, for those who talk to no marketplace and open no listener: secrets that could not be read are empty.
    pub const fn without_secrets(&self) -> Option<&Settings> {
        self.settings.as_ref()
    }

    /// What policies are checked against.
    pub fn context(&self) -> Option<Context> {
        self.settings.as_ref().map(Settings::policy_context)
    }
}

/// What a check may look at besides the text.
struct Doors<'a> {
    folder: &'a Path,
    environment: &'a BTreeMap<String, String>,
    read: &'a mut dyn FnMut(&Path) -> Result<String, String>,
    unresolved: Findings,
}

impl Doors<'_> {
    /// A secret; one that cannot be read is told apart from the faults.
    fn secret(&mut self, at: &At<SecretSource>) -> Option<SecretString> {
        match secret::resolve(&at.value, self.folder, self.environment, self.read) {
            Ok(secret) => Some(secret),
            Err(complaint) => {
                self.unresolved.fault_at(&at.place, &at.key, &at.text, complaint);
                None
            }
        }
    }
}

/// Checks the settings: all faults at once. `environment` is all of it; `read` opens a file.
pub fn check(
    file: &Path,
    text: &str,
    environment: &BTreeMap<String, String>,
    read: &mut dyn FnMut(&Path) -> Result<String, String>,
) -> Checked {
    let mut findings = Findings::default();
    let (mut root, syntax) = tree::parse(&file.display().to_string(), text, Quote::Sparingly, &mut findings);
    if let Some(over) = environment::tree(environment, &mut findings) {
        raw::read(&root, &mut findings);
        // What is missing in the file may be in the environment.
        findings.forgive_missing();
        environment::overlay(&mut root, over);
    }
    let raw = raw::read(&root, &mut findings);
    match syntax {
        Syntax::Sound => {}
        Syntax::Broken => findings.forgive_missing(),
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut doors = Doors { folder, environment, read, unresolved: Findings::default() };
    let draft = draft(&raw, &mut doors, &mut findings);
    let settings = settings(&raw, syntax, &draft, &mut doors, &mut findings).filter(|_| findings.is_clean());
    let (unresolved, _) = doors.unresolved.sorted();
    let (faults, warnings) = findings.sorted();
    let draft = Some(draft).filter(|_| syntax == Syntax::Sound);
    Checked { settings, draft, faults, unresolved, warnings }
}

fn or<T: Clone>(said: &Option<At<T>>, default: T) -> T {
    said.as_ref().map_or(default, |at| at.value.clone())
}

fn draft(raw: &Raw, doors: &mut Doors<'_>, findings: &mut Findings) -> Draft {
    let (default_ssh_key, instance_defaults) = instance_defaults(raw, doors, findings);
    let spot_offered = |said: &RawMarketplace| match said.api.as_ref().map(|api| api.value) {
        Some(api) => api.spot_offered(),
        None => SpotOffered::Yes,
    };
    Draft {
        policies: doors.folder.join(or(&raw.policies, raw::POLICIES.to_owned())),
        context: Context {
            instance_prefix: or(&raw.instance_prefix, raw::INSTANCE_PREFIX.to_owned()),
            default_ssh_key,
            instance_defaults,
            marketplaces: raw.marketplaces.iter().map(|said| (said.name.clone(), spot_offered(said))).collect(),
            vocabularies: raw
                .marketplaces
                .iter()
                .filter_map(|said| Some((said.name.clone(), said.api.as_ref()?.value.vocabulary())))
                .collect(),
            catalogue_edition: catalogue::EDITION,
        },
    }
}

fn settings(
    raw: &Raw,
    syntax: Syntax,
    draft: &Draft,
    doors: &mut Doors<'_>,
    findings: &mut Findings,
) -> Option<Settings> {
    if !raw.has_marketplaces && syntax == Syntax::Sound {
        let remedy = "add [marketplaces.tensordock] with api, key and token";
        findings.missing(&raw.top, "marketplaces", "there is nowhere to rent", remedy);
    }
    let marketplaces: Vec<_> = raw.marketplaces.iter().map(|said| marketplace(said, doors, findings)).collect();
    let accounts = accounts(raw, findings);
    limits_make_sense(raw, findings);
    let listen = or(&raw.listen, raw::LISTEN);
    if let Some(at) = raw.listen.as_ref().filter(|_| !listen.ip().is_loopback() && !raw.has_http_token) {
        let why = "anybody who reaches it could pull the levers";
        findings.fault(at, "is not loopback and there is no http.token", why, "add token = { file = \"…\" } to [http]");
    }
    let state = match or(&raw.state, State::Sqlite(raw::STATE.to_owned())) {
        State::Sqlite(path) => doors.folder.join(path),
        State::Postgres => {
            if let Some(state) = &raw.state {
                let why = "the journal would be kept nowhere";
                findings.fault(state, NOT_YET, why, "use \"sqlite:<file>\" meanwhile");
            }
            return None;
        }
    };
    Some(Settings {
        state,
        policies: draft.policies.clone(),
        scan_interval: or(&raw.scan_interval, raw::SCAN_INTERVAL),
        instance_prefix: draft.context.instance_prefix.clone(),
        settle_grace: or(&raw.settle_grace, raw::SETTLE_GRACE),
        late_window: or(&raw.late_window, raw::LATE_WINDOW),
        http: HttpSettings { listen, token: raw.http_token.as_ref().and_then(|token| doors.secret(token)) },
        limits: Limits {
            max_hourly_rate: raw.max_hourly_rate.as_ref().map(|rate| rate.value),
            balance_floor: or(&raw.balance_floor, Usd::ZERO),
            mode: or(&raw.mode, raw::MODE),
            accounts,
        },
        default_ssh_key: draft.context.default_ssh_key.clone(),
        instance_defaults: draft.context.instance_defaults.clone(),
        marketplaces: marketplaces
            .into_iter()
            .zip(&raw.marketplaces)
            .map(|(checked, said)| checked.map(|checked| (said.name.clone(), checked)))
            .collect::<Option<_>>()?,
    })
}

fn marketplace(raw: &RawMarketplace, doors: &mut Doors<'_>, findings: &mut Findings) -> Option<MarketplaceSettings> {
    let RawMarketplace { at, name, api, base_url, key, has_key, token, account, requests_per_second_milli } = raw;
    if let Some(url) = base_url.as_ref().filter(|url| sends_in_clear(&url.value)) {
        let why = "whoever is on the way could read the credentials";
        findings.warn(url, "is not encrypted", why, "use https");
    }
    let api_value = api.as_ref()?.value;
    if let Some(api) = api.as_ref().filter(|api| api.value.only_rehearses()) {
        let why = "no vendor speaks it, and what is rented there is no machine";
        findings.warn(api, "is only for rehearsals", why, "name the API of a marketplace");
    }
    if api_value.takes_key() && !has_key {
        let remedy = "add it, such as key = { credential = \"tensordock-key\" }";
        findings.missing(&at.place, &format!("{}.key", at.key), "this API takes a key and a token", remedy);
    }
    if let Some(key) = key.as_ref().filter(|_| !api_value.takes_key()) {
        findings.fault(key, "is not needed", format!("{api_value} takes only a token"), "remove it");
    }
    if let (Some(pace), Some(most)) = (requests_per_second_milli, api_value.requests_per_minute_max())
        && pace.value.saturating_mul(60) > u64::from(most) * 1_000
    {
        let fact = format!("is more than the {most} requests a minute that {api_value} takes");
        findings.warn(pace, fact, "the rest would be turned away", "lower it; 1 leaves room for others");
    }
    let empty = || SecretString::from(String::new());
    Some(MarketplaceSettings {
        api: api_value,
        base_url: or(base_url, api_value.default_base_url().to_owned()),
        key: key.as_ref().map(|key| doors.secret(key).unwrap_or_else(empty)),
        token: doors.secret(token.as_ref()?).unwrap_or_else(empty),
        account: match account {
            Some(account) => account.value.clone(),
            None => name.as_str().parse().ok()?,
        },
        requests_per_second_milli: requests_per_second_milli
            .as_ref()
            .map_or(Some(raw::REQUESTS_PER_SECOND_MILLI), |rate| u32::try_from(rate.value).ok())?,
    })
}

/// Plain http to another machine.
fn sends_in_clear(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    url.scheme() == "http" && !loopback
}

fn accounts(raw: &Raw, findings: &mut Findings) -> BTreeMap<AccountName, AccountLimits> {
    let account_of = |said: &RawMarketplace| match &said.account {
        Some(account) => Some(account.value.clone()),
        None => said.name.as_str().parse().ok(),
    };
    let known: BTreeSet<AccountName> = raw.marketplaces.iter().filter_map(account_of).collect();
    for account in &raw.accounts {
        if !known.contains(&account.name) {
            let remedy = match nearest(account.name.as_str(), known.iter().map(AccountName::as_str)) {
                Some(near) => format!("did you mean [accounts.{near}]?"),
                None => "name it in account = \"…\" of a marketplace, or remove it".to_owned(),
            };
            findings.fault(&account.at, "is no marketplace's account", "nobody pays with it", remedy);
        }
        let unreadable_ok = account.balance.as_ref().filter(|balance| balance.value == BalanceRule::UnreadableOk);
        if let Some(balance) = unreadable_ok.filter(|_| !account.has_max_spend_per_day) {
            let why = "without a readable balance only a budget bounds what is spent";
            findings.fault(balance, "has no max_spend_per_day", why, "add it, such as max_spend_per_day = 20.00");
        }
        let budgets = [&account.max_spend_per_day, &account.max_spend_per_month];
        for budget in budgets.into_iter().flatten().filter(|budget| budget.value == Usd::ZERO) {
            let why = "nothing would ever be rented, and all that runs would be shed";
            findings.fault(budget, "is zero", why, "raise it, or set mode = \"observe\" in [limits]");
        }
        day_within_month(budgets, findings);
    }
    unread_balances(raw, account_of, findings);
    let limits = raw.accounts.iter().map(|account| {
        let limits = AccountLimits {
            balance: or(&account.balance, BalanceRule::Required),
            max_spend_per_day: account.max_spend_per_day.as_ref().map(|budget| budget.value),
            max_spend_per_month: account.max_spend_per_month.as_ref().map(|budget| budget.value),
        };
        (account.name.clone(), limits)
    });
    limits.collect()
}

/// Accounts of which no marketplace tells the balance, and that are not declared so: nothing is rented there.
fn unread_balances(raw: &Raw, account_of: impl Fn(&RawMarketplace) -> Option<AccountName>, findings: &mut Findings) {
    let mut untold: BTreeMap<AccountName, Option<&At<Api>>> = BTreeMap::new();
    for said in &raw.marketplaces {
        let (Some(account), Some(api)) = (account_of(said), &said.api) else { continue };
        let first = untold.entry(account).or_insert(Some(api));
        if api.value.tells_balance() {
            *first = None;
        }
    }
    let declared = |account: &RawAccount| {
        account.balance.as_ref().is_some_and(|balance| balance.value == BalanceRule::UnreadableOk)
    };
    let declared: BTreeSet<&AccountName> =
        raw.accounts.iter().filter(|account| declared(account)).map(|account| &account.name).collect();
    for (account, api) in untold.iter().filter(|(account, _)| !declared.contains(account)) {
        let Some(api) = api else { continue };
        let fact = format!("tells no balance, and neither does another marketplace of account {account}");
        let remedy = format!("add [accounts.{account}] with balance = \"unreadable-ok\" and max_spend_per_day");
        findings.warn(api, fact, "nothing is rented while nobody can read one", remedy);
    }
}

fn day_within_month([day, month]: [&Option<At<Usd>>; 2], findings: &mut Findings) {
    if let (Some(day), Some(month)) = (day, month)
        && day.value > month.value
    {
        let fact = format!("is above {}", month.quoted());
        findings.fault(day, fact, "the day's budget could never be used", "lower it or raise the month's");
    }
}

/// Budgets over all fleets: their own faults, and then that they are not kept yet.
fn budgets_over_all(budgets: [&Option<At<Usd>>; 2], findings: &mut Findings) {
    day_within_month(budgets, findings);
    for budget in budgets.into_iter().flatten() {
        let remedy = "remove it; hourly rates and the budgets of [accounts] are kept";
        findings.fault(budget, NOT_YET, "more than this could be spent", remedy);
    }
}

fn limits_make_sense(raw: &Raw, findings: &mut Findings) {
    budgets_over_all([&raw.max_spend_per_day, &raw.max_spend_per_month], findings);
    if let Some(rate) = raw.max_hourly_rate.as_ref().filter(|rate| rate.value.is_zero()) {
        let why = "no GPU costs nothing, nothing would ever be rented";
        findings.fault(rate, "is zero", why, "raise it, or set mode = \"observe\"");
    }
}

fn instance_defaults(raw: &Raw, doors: &mut Doors<'_>, findings: &mut Findings) -> (Option<String>, InstanceDefaults) {
    let said = &raw.instance;
    let (mut attachments, mut unread) = (BTreeMap::new(), BTreeMap::new());
    let folder = doors.folder;
    for path in named_files(said) {
        attach(&path, &mut |path| (doors.read)(&folder.join(path)), &mut attachments, &mut unread);
    }
    let attached = Attached { attachments: &attachments, unread: &unread };
    let ssh_key = said.ssh_key.as_ref().and_then(|key| attached.ssh_key(key, findings));
    size_bounds(&said.gpus_min, &said.gpus_max, &InstanceDefaults::default(), findings);
    let defaults = InstanceDefaults {
        gpus_min: said.gpus_min.as_ref().map(|at| at.value),
        gpus_max: said.gpus_max.as_ref().map(|at| at.value),
        vcpus_per_gpu: said.vcpus_per_gpu.as_ref().map(|at| at.value),
        ram_gb_per_gpu: said.ram_gb_per_gpu.as_ref().map(|at| at.value),
        storage_gb: said.storage_gb.as_ref().map(|at| at.value),
        image: said.image.as_ref().map(|at| at.value.clone()),
        ports: said.ports.as_ref().map(|at| at.value.clone()),
        cloud_init: said.cloud_init.as_ref().and_then(|path| attached.cloud_init(path, findings)),
        scale_down: said.scale_down.as_ref().map(|at| at.value),
        stopped_max_age: said.stopped_max_age.as_ref().map(|at| at.value),
    };
    (ssh_key, defaults)
}
