//! What the keys of a policy say together, and to the settings: the second half of a check.
//!
//! Each step looks at one contradiction and says it where the reader can mend it. Only when nothing was found, neither
//! here nor while reading, is there a [`Policy`].

use super::{
    Policy, Source, Terms,
    fault::{At, Complaint, Fault, Findings, nearest},
    later, model_name,
    raw::{self, Raw, RawModel, Said},
    source::{Attached, read_raw},
    terms::{
        BidStrategy, BidTerms, DisruptionTerms, HostTerms, InstanceTerms, ModelTerms, OnDemandTerms, OnDemandUse,
        Preference, Quantity, ScaleDown, WhenLow,
    },
    value::listed,
};
use crate::model::{FleetName, MarketplaceName, catalogue::Vocabulary, image, name::VM_NAME_BYTES_MAX, offer::Bounds};
use serde::{Deserialize, Serialize};
use serde_with::{DisplayFromStr, serde_as};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Room kept in a VM's name for the journal's epoch, in bytes.
pub const EPOCH_BYTES_MAX: usize = 8;
/// Room kept in a VM's name for its sequence number, in digits.
pub const SEQUENCE_DIGITS_MAX: usize = 10;
/// Longest prefix and fleet name together: three dashes, an epoch and a sequence number follow or part them.
pub const PREFIX_AND_FLEET_BYTES_MAX: usize = VM_NAME_BYTES_MAX - 3 - EPOCH_BYTES_MAX - SEQUENCE_DIGITS_MAX;

/// Whether a marketplace takes bids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpotOffered {
    /// It does.
    Yes,
    /// Only on demand.
    No,
}

/// `[defaults.instance]`: what every policy's `[instance]` starts from, less the SSH key. `None`: the built-in default.
#[serde_as]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceDefaults {
    /// GPUs per VM, at least.
    pub gpus_min: Option<u32>,
    /// GPUs per VM, at most.
    pub gpus_max: Option<u32>,
    /// Virtual CPUs for each GPU.
    pub vcpus_per_gpu: Option<u32>,
    /// Memory for each GPU, in GB.
    pub ram_gb_per_gpu: Option<u32>,
    /// Disk of the whole VM, in GB.
    pub storage_gb: Option<u32>,
    /// Operating system, as the marketplace names it.
    pub image: Option<String>,
    /// Inside ports to forward.
    pub ports: Option<Vec<u16>>,
    /// cloud-init, the text itself.
    pub cloud_init: Option<String>,
    /// How fleets shrink.
    #[serde_as(as = "Option<DisplayFromStr>")]
    pub scale_down: Option<ScaleDown>,
    /// How long a stopped VM is kept.
    pub stopped_max_age: Option<Duration>,
}

/// What a policy is checked against: the settings, as far as they matter to it.
#[serde_as]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// What our VMs' names begin with.
    pub instance_prefix: String,
    /// `[defaults.instance] ssh_key`, the text itself.
    pub default_ssh_key: Option<String>,
    /// The rest of `[defaults.instance]`.
    pub instance_defaults: InstanceDefaults,
    /// All that are configured.
    #[serde_as(as = "BTreeMap<DisplayFromStr, _>")]
    pub marketplaces: BTreeMap<MarketplaceName, SpotOffered>,
    /// Whose words for images each of them takes; one that is not here, as in texts kept before it was asked, takes any.
    #[serde_as(as = "BTreeMap<DisplayFromStr, DisplayFromStr>")]
    #[serde(default)]
    pub vocabularies: BTreeMap<MarketplaceName, Vocabulary>,
    /// Which edition of the catalogue tells what a short name of a model means; 0 is that of texts kept before there was
    /// one: every name means itself.
    #[serde(default)]
    pub catalogue_edition: u32,
}

impl Context {
    /// As it is kept beside a policy's text, so that the text goes on meaning what it meant when it was checked.
    pub fn to_text(&self) -> String {
        // Text, numbers and maps by name: there is nothing in it that JSON cannot say.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What [`Context::to_text`] told; `None` where it is not readable.
    pub fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Whose policy it is, where that much can be read.
    pub fleet: Option<FleetName>,
    /// There is one exactly when there is no fault.
    pub policy: Option<Policy>,
    /// All that stands against it, in the order of their places.
    pub faults: Vec<Fault>,
    /// All that may not be meant.
    pub warnings: Vec<Fault>,
}

/// Checks one policy: all of its faults at once.
pub fn check(source: &Source, context: &Context) -> Checked {
    let (raw, findings) = read_raw(source);
    finish(source, context, &raw, findings)
}

/// The second half, on top of what was found while reading.
pub(super) fn finish(source: &Source, context: &Context, raw: &Raw, mut findings: Findings) -> Checked {
    let terms = terms(source, context, raw, &mut findings);
    let policy = terms.filter(|_| findings.is_clean()).map(|terms| Policy { terms: Arc::new(terms) });
    let (faults, warnings) = findings.sorted();
    Checked { fleet: raw.fleet.as_ref().map(|fleet| fleet.value.clone()), policy, faults, warnings }
}

fn or<T: Clone>(said: &Option<At<T>>, default: T) -> T {
    said.as_ref().map_or(default, |at| at.value.clone())
}

fn terms(source: &Source, context: &Context, raw: &Raw, findings: &mut Findings) -> Option<Terms> {
    name_fits(raw, context, findings);
    marketplaces_exist(raw, context, findings);
    let models = models(raw, context, findings);
    let instance = instance(source, context, raw, findings);
    sizes_can_be_filled(raw, instance.gpus, findings);
    money_can_be_spent(raw, findings);
    bids_make_sense(raw, findings);
    let on_demand = on_demand(raw, instance.gpus, context, findings);
    disruption_leaves_a_way(raw, findings);
    health_can_be_reached(raw, &instance.ports, findings);
    refuse_what_is_later(raw, findings);
    Some(Terms {
        fleet: raw.fleet.as_ref()?.value.clone(),
        target_gpus: raw.target_gpus.as_ref()?.value,
        max_hourly_rate: raw.max_hourly_rate.as_ref()?.value,
        balance_floor: raw.balance_floor.as_ref()?.value,
        min_runway: or(&raw.min_runway, raw::MIN_RUNWAY),
        when_low: match or(&raw.when_low, Said::Now(raw::WHEN_LOW)) {
            Said::Now(when_low) => when_low,
            Said::Later => return None,
        },
        priority: or(&raw.priority, raw::PRIORITY),
        mode: or(&raw.mode, raw::MODE),
        marketplaces: raw.marketplaces.as_ref().map(values),
        preference: or(&raw.preference, raw::PREFERENCE),
        models: models?,
        instance,
        hosts: HostTerms {
            min_uptime_ppm: ppm_u32(or(&raw.hosts.min_uptime_ppm, 0)),
            countries: raw.hosts.countries.as_ref().map(values),
            deny: raw.hosts.deny.as_ref().map(values).unwrap_or_default(),
            max_gpus_per_hostnode: raw.hosts.max_gpus_per_hostnode.as_ref().map(|at| at.value),
            max_share_per_location_ppm: raw.hosts.max_share_per_location_ppm.as_ref().map(|at| ppm_u32(at.value)),
        },
        spot: BidTerms {
            bid: or(&raw.spot.bid, raw::BID),
            margin_ppm: or(&raw.spot.margin_ppm, raw::MARGIN_PPM),
            rebid: or(&raw.spot.rebid, raw::REBID),
            asks_max: or(&raw.spot.asks_max, raw::ASKS_MAX),
        },
        on_demand: on_demand?,
        disruption: DisruptionTerms {
            max_unavailable: or(&raw.disruption.max_unavailable, raw::MAX_UNAVAILABLE),
            max_surge: or(&raw.disruption.max_surge, raw::MAX_SURGE),
            max_scale_down: or(&raw.disruption.max_scale_down, raw::MAX_SCALE_DOWN),
            cooldown_up: or(&raw.disruption.cooldown_up, raw::COOLDOWN_UP),
            cooldown_down: or(&raw.disruption.cooldown_down, raw::COOLDOWN_DOWN),
        },
    })
}

/// Readers bound shares to at most one.
fn ppm_u32(ppm: u64) -> u32 {
    u32::try_from(ppm).unwrap_or(u32::MAX)
}

fn values<T: Clone>(list: &At<Vec<At<T>>>) -> Vec<T> {
    list.value.iter().map(|item| item.value.clone()).collect()
}

fn name_fits(raw: &Raw, context: &Context, findings: &mut Findings) {
    let Some(fleet) = &raw.fleet else { return };
    let room = PREFIX_AND_FLEET_BYTES_MAX.saturating_sub(context.instance_prefix.len());
    if fleet.value.as_str().len() > room {
        let why = format!("a VM's whole name has at most {VM_NAME_BYTES_MAX} characters");
        let remedy = format!("use at most {room} characters, or a shorter instance_prefix");
        let fact = format!("is too long behind the prefix \"{}\"", context.instance_prefix);
        findings.fault(fleet, fact, why, remedy);
    }
}

fn marketplaces_exist(raw: &Raw, context: &Context, findings: &mut Findings) {
    let Some(named) = &raw.marketplaces else { return };
    let known: Vec<&str> = context.marketplaces.keys().map(MarketplaceName::as_str).collect();
    for name in named.value.iter().filter(|name| !context.marketplaces.contains_key(&name.value)) {
        let remedy = match nearest(name.value.as_str(), known.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if known.is_empty() => "configure [marketplaces] first".to_owned(),
            None => format!("the configured ones are {}", listed(known.iter().copied())),
        };
        findings.fault(name, "is not configured", "nothing is known of it", remedy);
    }
}

fn models(raw: &Raw, context: &Context, findings: &mut Findings) -> Option<Vec<ModelTerms>> {
    let said = raw.models.as_ref()?;
    let models = At { value: model_name::resolve(&said.value, context.catalogue_edition, findings), ..said.clone() };
    let names: Vec<At<_>> = models.value.iter().map(|model| model.name.clone()).collect();
    raw::no_twice(&names, "model", findings);
    let preference = or(&raw.preference, raw::PREFERENCE);
    for worth in models.value.iter().filter_map(|model| model.worth_ppm.as_ref()) {
        match preference {
            Preference::Strict if worth.value != raw::WORTH_PPM => {
                let why = "with preference = \"strict\" only the order of the models counts";
                findings.fault(worth, "has no effect", why, "set preference = \"value\", or remove worth");
            }
            Preference::Strict | Preference::Value => {}
        }
    }
    let unpriced: Vec<&str> =
        models.value.iter().filter(|model| !model.has_max_price).map(|model| model.name.value.as_str()).collect();
    if !unpriced.is_empty() {
        let fact = format!("has no max_price for {}", unpriced.join(", "));
        let why = "only the on-demand rate and max_hourly_rate bound what a GPU-hour costs";
        let complaint = Complaint::new(fact, why, "add max_price to each of [[models]]");
        findings.warn_at(&models.place, "models", complaint);
    }
    if let Some(rate) = &raw.max_hourly_rate {
        let dearest = models
            .value
            .iter()
            .filter_map(|model| model.max_price.as_ref())
            .filter(|price| !rate.value.is_zero() && price.value > rate.value);
        for price in dearest {
            let fact = format!("is above {}", rate.quoted());
            let why = "no GPU is ever rented at such a price";
            findings.warn(price, fact, why, "lower it or raise max_hourly_rate");
        }
    }
    let term = |RawModel { name, max_price, has_max_price: _, worth_ppm }: &RawModel| ModelTerms {
        model: name.value.clone(),
        max_price: max_price.as_ref().map(|price| price.value),
        worth_ppm: or(worth_ppm, raw::WORTH_PPM),
    };
    Some(models.value.iter().map(term).collect())
}

fn instance(source: &Source, context: &Context, raw: &Raw, findings: &mut Findings) -> InstanceTerms {
    let said = &raw.instance;
    let defaults = &context.instance_defaults;
    let gpus = size_bounds(&said.gpus_min, &said.gpus_max, defaults, findings);
    let attached = Attached { attachments: &source.attachments, unread: &source.unread };
    let ssh_key = match &said.ssh_key {
        Some(key) => attached.ssh_key(key, findings),
        None => context.default_ssh_key.clone(),
    };
    let cloud_init = match &said.cloud_init {
        Some(path) => attached.cloud_init(path, findings),
        None => defaults.cloud_init.clone(),
    };
    if said.ssh_key.is_none() && ssh_key.is_none() && said.cloud_init.is_none() && cloud_init.is_none() {
        let why = "nobody could log in to the VMs of this fleet";
        let remedy = "add it to [instance], or to [defaults.instance] of the settings for all fleets";
        findings.warn_at(&raw.top, "instance.ssh_key", Complaint::new("is missing", why, remedy));
    }
    if let Some(ports) = said.ports.as_ref().filter(|ports| ports.value.is_empty()) {
        findings.warn(ports, "forwards no port", "nothing could reach the VMs", "add 22, or leave the key out");
    }
    let scale_down = or(&said.scale_down, defaults.scale_down.unwrap_or(raw::SCALE_DOWN));
    let stopped_max_age = or(&said.stopped_max_age, defaults.stopped_max_age.unwrap_or(raw::STOPPED_MAX_AGE));
    if let (ScaleDown::Delete, Some(age)) = (scale_down, &said.stopped_max_age)
        && age.value != raw::STOPPED_MAX_AGE
    {
        let why = "with scale_down = \"delete\" no VM is kept stopped";
        findings.warn(age, "has no effect", why, "set scale_down = \"stop\", or remove it");
    }
    let image = or(&said.image, defaults.image.clone().unwrap_or_else(|| raw::IMAGE.to_owned()));
    image_is_spelt(raw, context, &image, findings);
    InstanceTerms {
        gpus,
        vcpus_per_gpu: or(&said.vcpus_per_gpu, defaults.vcpus_per_gpu.unwrap_or(raw::VCPUS_PER_GPU)),
        ram_gb_per_gpu: or(&said.ram_gb_per_gpu, defaults.ram_gb_per_gpu.unwrap_or(raw::RAM_GB_PER_GPU)),
        storage_gb: or(&said.storage_gb, defaults.storage_gb.unwrap_or(raw::STORAGE_GB)),
        image,
        ssh_key,
        ports: or(&said.ports, defaults.ports.clone().unwrap_or_else(|| raw::PORTS.to_vec())),
        cloud_init,
        scale_down,
        stopped_max_age,
    }
}

/// The least and most GPUs of one VM; a contradiction is said at the policy's key.
pub(crate) fn size_bounds(
    min: &Option<At<u32>>,
    max: &Option<At<u32>>,
    defaults: &InstanceDefaults,
    findings: &mut Findings,
) -> Bounds {
    let bounds = Bounds {
        min: or(min, defaults.gpus_min.unwrap_or(raw::GPUS_MIN_PER_VM)),
        max: or(max, defaults.gpus_max.unwrap_or(raw::GPUS_MAX_PER_VM)),
    };
    const WHY: &str = "no VM could have any size";
    match (min, max) {
        (Some(min), Some(max)) if bounds.min > bounds.max => {
            findings.fault(min, format!("is above {}", max.quoted()), WHY, "lower min or raise max");
        }
        (Some(min), None) if bounds.min > bounds.max => {
            let fact = format!("is above the default max = {}", bounds.max);
            findings.fault(min, fact, WHY, format!("lower it or add max = {}", bounds.min));
        }
        (None, Some(max)) if bounds.min > bounds.max => {
            let fact = format!("is below the default min = {}", bounds.min);
            findings.fault(max, fact, WHY, format!("raise it or add min = {}", bounds.max));
        }
        (_, _) => {}
    }
    bounds
}

fn sizes_can_be_filled(raw: &Raw, gpus: Bounds, findings: &mut Findings) {
    if let Some(target) = raw.target_gpus.as_ref().filter(|target| (1..gpus.min).contains(&target.value)) {
        let fact = format!("is below instance.gpus.min = {}", gpus.min);
        findings.fault(target, fact, "no VM is that small, nothing would ever be rented", "raise it or lower gpus.min");
    }
    if let Some(per_node) = raw.hosts.max_gpus_per_hostnode.as_ref().filter(|most| most.value < gpus.min) {
        let fact = format!("is below instance.gpus.min = {}", gpus.min);
        findings.fault(
            per_node,
            fact,
            "not even one VM fits, nothing would ever be rented",
            "raise it or lower gpus.min",
        );
    }
}

fn money_can_be_spent(raw: &Raw, findings: &mut Findings) {
    let wanted = raw.target_gpus.as_ref().is_none_or(|target| target.value > 0);
    if let Some(rate) = raw.max_hourly_rate.as_ref().filter(|rate| wanted && rate.value.is_zero()) {
        let remedy = "raise it, or set target_gpus = 0";
        findings.fault(rate, "is zero", "no GPU costs nothing, nothing would ever be rented", remedy);
    }
    if let (Some(day), Some(month)) = (&raw.later.max_spend_per_day, &raw.later.max_spend_per_month)
        && day.value > month.value
    {
        let fact = format!("is above {}", month.quoted());
        findings.fault(day, fact, "the day's budget could never be used", "lower it or raise the month's");
    }
    let hold = or(&raw.when_low, Said::Now(raw::WHEN_LOW)) == Said::Now(WhenLow::Hold);
    if let Some(runway) = raw.min_runway.as_ref().filter(|runway| hold && runway.value.is_zero()) {
        let why =
            "with when_low = \"hold\" nothing is shed before the account is empty, and then the vendor deletes all";
        findings.warn(runway, "leaves no warning time", why, "make it at least \"1h\"");
    }
}

fn bids_make_sense(raw: &Raw, findings: &mut Findings) {
    if let Some(bid) = &raw.spot.bid {
        match bid.value {
            BidStrategy::Adaptive => {
                let remedy = "nothing needs to be done, or write \"market\" to say what is done";
                findings.warn(
                    bid,
                    "behaves as \"market\" for now",
                    "what being outbid costs is not weighed yet",
                    remedy,
                );
            }
            BidStrategy::Cap => {
                if let Some(margin) = &raw.spot.margin_ppm {
                    let why = "with bid = \"cap\" the most we would pay is bid";
                    findings.warn(margin, "has no effect", why, "remove it, or set bid = \"market\"");
                }
                let unpriced = raw.models.iter().flat_map(|models| &models.value).any(|model| !model.has_max_price);
                if unpriced {
                    let why = "a VM pays its bid, and without max_price the cap is the on-demand rate";
                    findings.warn(bid, "has no cap", why, "add max_price to every model, or set bid = \"market\"");
                }
            }
            BidStrategy::Market => {}
        }
        if let (BidStrategy::Market | BidStrategy::Cap, Some(delivery)) = (bid.value, &raw.later.delivery) {
            let why = "only bid = \"adaptive\" aims for a share of the GPU-hours";
            findings.warn(delivery, "has no effect", why, "remove it");
        }
    }
    let always = or(&raw.on_demand.usage, raw::ON_DEMAND_USE) == OnDemandUse::Always;
    if let Some(hedge) = raw.later.hedge_gpus.as_ref().filter(|hedge| always && hedge.value > 0) {
        let why = "with on_demand.use = \"always\" nothing is bid for and nothing is outbid";
        findings.fault(hedge, "contradicts on_demand.use", why, "remove one of them");
    }
}

fn on_demand(raw: &Raw, gpus: Bounds, context: &Context, findings: &mut Findings) -> Option<OnDemandTerms> {
    let said = &raw.on_demand;
    let usage = or(&said.usage, raw::ON_DEMAND_USE);
    let base_gpus = or(&said.base_gpus, raw::BASE_GPUS);
    let target = raw.target_gpus.as_ref().map(|target| target.value);
    if let Some(base) = said.base_gpus.as_ref().filter(|base| base.value > 0) {
        if usage == OnDemandUse::Never {
            let why = "with on_demand.use = \"never\" nothing is rented on demand";
            findings.fault(base, "contradicts on_demand.use", why, "set use = \"fallback\", or remove base_gpus");
        }
        if let Some(target) = target.filter(|target| base.value > *target) {
            let fact = format!("is above target_gpus = {target}");
            findings.fault(base, fact, "it is a part of the target", "lower it or raise target_gpus");
        }
        if base.value < gpus.min {
            let fact = format!("is below instance.gpus.min = {}", gpus.min);
            findings.fault(base, fact, "no VM is that small, the base would stay empty", "raise it or lower gpus.min");
        }
    }
    if let Some(most) = &said.max_gpus {
        match usage {
            OnDemandUse::Never if most.value > 0 => {
                let why = "with on_demand.use = \"never\" nothing is rented on demand";
                findings.warn(most, "has no effect", why, "set use = \"fallback\", or remove it");
            }
            OnDemandUse::Fallback | OnDemandUse::Always if most.value < gpus.min => {
                let fact = if most.value == 0 {
                    format!("contradicts on_demand.use = \"{usage}\"")
                } else {
                    format!("is below instance.gpus.min = {}", gpus.min)
                };
                findings.fault(
                    most,
                    fact,
                    "nothing would ever be rented on demand",
                    "raise it, or set use = \"never\"",
                );
            }
            OnDemandUse::Always if target.is_some_and(|target| most.value < target) => {
                let why = "with on_demand.use = \"always\" the rest of the target would never be rented";
                findings.fault(most, "is below target_gpus", why, "raise it, or set use = \"fallback\"");
            }
            OnDemandUse::Never | OnDemandUse::Fallback | OnDemandUse::Always => {}
        }
        if most.value < base_gpus {
            let fact = format!("is below on_demand.base_gpus = {base_gpus}");
            findings.fault(most, fact, "the base could never be filled", "raise it or lower base_gpus");
        }
    }
    if usage == OnDemandUse::Never {
        spot_is_offered(raw, context, findings);
    }
    let revert = match or(&said.revert, Said::Now(raw::REVERT)) {
        Said::Now(revert) => revert,
        Said::Later => return None,
    };
    Some(OnDemandTerms {
        usage,
        after: or(&said.after, raw::ON_DEMAND_AFTER),
        base_gpus,
        max_gpus: said.max_gpus.as_ref().map(|most| most.value),
        revert,
    })
}

/// Spot only, on marketplaces that have none.
fn spot_is_offered(raw: &Raw, context: &Context, findings: &mut Findings) {
    const REMEDY: &str = "set on_demand.use = \"fallback\" or \"always\", or name a marketplace with spot";
    let offered = |name: &MarketplaceName| context.marketplaces.get(name).copied().unwrap_or(SpotOffered::Yes);
    match &raw.marketplaces {
        Some(named) => {
            let none = named.value.iter().filter(|name| offered(&name.value) == SpotOffered::No).collect::<Vec<_>>();
            if none.len() == named.value.len() && !none.is_empty() {
                let why = "with on_demand.use = \"never\" nothing would ever be rented";
                findings.fault(named, "has no marketplace with spot", why, REMEDY);
            } else {
                for name in none {
                    let why = "with on_demand.use = \"never\" nothing is rented there";
                    findings.warn(name, "has no spot", why, "remove it, or set on_demand.use = \"fallback\"");
                }
            }
        }
        None => {
            if !context.marketplaces.is_empty()
                && context.marketplaces.keys().all(|name| offered(name) == SpotOffered::No)
            {
                let why = "no configured marketplace has spot, nothing would ever be rented";
                let complaint = Complaint::new("is \"never\"", why, REMEDY);
                findings.fault_at(&raw.top, "on_demand.use", "", complaint);
            }
        }
    }
}

/// Marketplaces of the policy that are not known to have the image.
fn image_is_spelt(raw: &Raw, context: &Context, image: &str, findings: &mut Findings) {
    let is_ours = |name: &MarketplaceName| match &raw.marketplaces {
        Some(named) => named.value.iter().any(|one| one.value == *name),
        None => true,
    };
    let without = context.vocabularies.iter().filter(|(name, words)| is_ours(name) && !image::is_spelt(**words, image));
    let without: Vec<&str> = without.map(|(name, _)| name.as_str()).collect();
    if without.is_empty() {
        return;
    }
    let fact = match &raw.instance.image {
        Some(_) => format!("is not known to be offered by {}", without.join(", ")),
        None => format!("is \"{image}\", which is not known to be offered by {}", without.join(", ")),
    };
    let why = "it becomes the marketplace's own of that kind, or nothing is rented there, or a deploy may be refused";
    let remedy = "name an image that all of them have, or leave them out of marketplaces";
    match &raw.instance.image {
        Some(at) => findings.warn(at, fact, why, remedy),
        None => findings.warn_at(&raw.top, "instance.image", Complaint::new(fact, why, remedy)),
    }
}

fn disruption_leaves_a_way(raw: &Raw, findings: &mut Findings) {
    let nothing = |quantity: &At<Quantity>| matches!(quantity.value, Quantity::Count(0) | Quantity::SharePpm(0));
    let stuck = raw.disruption.max_unavailable.as_ref().filter(|most| nothing(most));
    if let (Some(unavailable), Some(surge)) = (stuck, raw.disruption.max_surge.as_ref().filter(|most| nothing(most))) {
        let fact = format!("leaves no way beside {}", surge.quoted());
        findings.fault(unavailable, fact, "no VM could ever be replaced by our own doing", "raise one of them");
    }
}

fn health_can_be_reached(raw: &Raw, ports: &[u16], findings: &mut Findings) {
    for port in raw.later.health_ports.iter().filter(|port| !ports.contains(&port.value)) {
        let fact = format!("looks at inside port {}", port.value);
        findings.fault(port, fact, "that port is not forwarded, no VM would ever be ready", "add it to instance.ports");
    }
}

fn refuse_what_is_later(raw: &Raw, findings: &mut Findings) {
    const NOT_YET: &str = "is not supported yet";
    later::refuse(&raw.later, raw.target_gpus.as_ref().map(|target| target.value), findings);
    if let Some(when_low) = raw.when_low.as_ref().filter(|when_low| when_low.value == Said::Later) {
        let why = "the fleet would spend below its floor";
        findings.fault(when_low, NOT_YET, why, "use \"hold\" meanwhile");
    }
    if let Some(revert) = raw.on_demand.revert.as_ref().filter(|revert| revert.value == Said::Later) {
        let why = "the fleet would stay on demand outside the window";
        findings.fault(revert, NOT_YET, why, "use \"when-available\" or \"never\" meanwhile");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{HourlyRate, catalogue},
        policy::{
            gather,
            terms::{Mode, Revert},
        },
    };

    const SMALLEST: &str = r#"
fleet           = "train"
target_gpus     = 8
max_hourly_rate = 6.00
balance_floor   = 50.00
models          = ["h100-sxm5-80gb", "a100-sxm4-80gb", "geforcertx4090-pcie-24gb"]
"#;

    fn context(prefix: &str) -> Context {
        Context {
            instance_prefix: prefix.into(),
            default_ssh_key: None,
            instance_defaults: InstanceDefaults::default(),
            marketplaces: BTreeMap::from([("tensordock".parse().unwrap(), SpotOffered::Yes)]),
            vocabularies: BTreeMap::new(),
            catalogue_edition: catalogue::EDITION,
        }
    }

    fn checked(text: &str, context: &Context) -> Checked {
        check(&gather("train.toml", text, &mut |_| Err("no such file".into())), context)
    }

    #[test]
    fn an_image_that_a_marketplace_has_no_word_for_is_warned_of_where_it_matters() {
        let both = |vocabulary: Vocabulary| {
            let names = ["tensordock", "other"].map(|name| name.parse().unwrap());
            let [first, second] = names;
            Context {
                vocabularies: [(first, Vocabulary::TensordockV0), (second, vocabulary)].into(),
                ..context("spotscale")
            }
        };
        let warned = |text: &str, context: &Context| {
            let found = checked(text, context).warnings;
            found
                .into_iter()
                .filter(|warning| warning.key == "instance.image")
                .map(|warning| warning.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(warned(SMALLEST, &both(Vocabulary::TensordockV2)), Vec::<String>::new());
        let told = warned(SMALLEST, &both(Vocabulary::Vectordash));
        assert!(told.len() == 1 && told[0].contains("offered by other;"), "{told:?}");
        let said = format!("{SMALLEST}[instance]\nimage = \"debian13\"\n");
        let told = warned(&said, &both(Vocabulary::TensordockV2));
        assert!(
            told.len() == 1 && told[0].contains("\"debian13\" is not known to be offered by other, tensordock;"),
            "{told:?}"
        );
        let named = format!("marketplaces = [\"tensordock\"]\n{SMALLEST}");
        assert_eq!(warned(&named, &both(Vocabulary::Vectordash)), Vec::<String>::new());
    }

    #[test]
    fn the_smallest_policy_works_and_the_rest_has_its_default() {
        let checked = checked(SMALLEST, &context("spotscale"));
        assert_eq!(checked.faults, vec![]);
        let warned: Vec<&str> = checked.warnings.iter().map(|warning| warning.key.as_str()).collect();
        assert_eq!(warned, ["instance.ssh_key", "models"]);
        let policy = checked.policy.unwrap();
        assert_eq!(policy.max_hourly_rate, HourlyRate::from_micros(6_000_000));
        assert_eq!((policy.mode, policy.priority, policy.min_runway), (Mode::Act, 100, Duration::from_secs(3_600)));
        assert_eq!(policy.instance.gpus, Bounds { min: 1, max: 8 });
        assert_eq!((policy.instance.storage_gb, policy.instance.ports.as_slice()), (100, [22].as_slice()));
        assert_eq!((policy.spot.margin_ppm, policy.spot.asks_max, policy.spot.rebid), (50_000, 6, true));
        assert_eq!((policy.on_demand.usage, policy.on_demand.revert), (OnDemandUse::Never, Revert::WhenAvailable));
        assert_eq!(policy.disruption.max_unavailable, Quantity::SharePpm(250_000));
        assert_eq!(policy.disruption.max_surge, Quantity::Count(1));
        assert_eq!(policy.models.iter().map(|model| model.worth_ppm).collect::<Vec<_>>(), [1_000_000; 3]);
    }

    #[test]
    fn the_defaults_of_the_settings_stand_below_a_policys_own_words() {
        let instance_defaults = InstanceDefaults {
            storage_gb: Some(40),
            gpus_max: Some(4),
            image: Some("other".into()),
            ..Default::default()
        };
        let context = Context { default_ssh_key: Some("key".into()), instance_defaults, ..context("spotscale") };
        let text = format!("{SMALLEST}\n[instance]\nstorage_gb = 60");
        let policy = checked(&text, &context).policy.unwrap();
        assert_eq!((policy.instance.storage_gb, policy.instance.gpus.max), (60, 4));
        assert_eq!((policy.instance.image.as_str(), policy.instance.ssh_key.as_deref()), ("other", Some("key")));
        let text = format!("{SMALLEST}\n[instance]\ngpus = {{ min = 5 }}");
        let faults = checked(&text, &context).faults;
        assert!(faults[0].to_string().contains("gpus.min = 5 is above the default max = 4"), "{faults:?}");
    }

    #[test]
    fn a_short_name_is_the_canonical_one_from_here_on_and_a_kept_text_goes_on_meaning_what_it_meant() {
        let text = SMALLEST.replace("h100-sxm5-80gb", "h100").replace("a100-sxm4-80gb", "h300");
        let models = |context: &Context| {
            let policy = checked(&text, context).policy.unwrap();
            policy.models.iter().map(|terms| terms.model.to_string()).collect::<Vec<_>>()
        };
        let now = context("spotscale");
        assert_eq!(models(&now), ["h100-sxm5-80gb", "h300", "geforcertx4090-pcie-24gb"]);
        assert_eq!(Context::from_text(&now.to_text()), Some(now.clone()));
        // As it was kept before there was a catalogue.
        let then = now.to_text().replace(&format!(",\"catalogue_edition\":{}", catalogue::EDITION), "");
        let then = Context::from_text(&then).unwrap();
        assert_eq!(then, Context { catalogue_edition: 0, ..now });
        assert_eq!(models(&then), ["h100", "h300", "geforcertx4090-pcie-24gb"]);
    }

    #[test]
    fn a_vms_whole_name_has_to_fit() {
        let fleet = "a23456789012345678901234";
        let text = SMALLEST.replace("train", fleet);
        let room = PREFIX_AND_FLEET_BYTES_MAX - fleet.len();
        assert_eq!(checked(&text, &context(&"p".repeat(room))).faults, vec![]);
        let faults = checked(&text, &context(&"p".repeat(room + 1))).faults;
        assert_eq!(
            faults[0].to_string(),
            format!(
                "train.toml:2:19: fleet = \"{fleet}\" is too long behind the prefix \"{}\"; a VM's whole name has at most 60 \
                 characters; use at most 23 characters, or a shorter instance_prefix",
                "p".repeat(room + 1)
            )
        );
    }

    #[test]
    fn a_broken_file_still_tells_whose_it_is() {
        let checked = checked(&SMALLEST.replace("= 8", "= eight"), &context("spotscale"));
        assert_eq!(checked.fleet.map(|fleet| fleet.to_string()).as_deref(), Some("train"));
        assert_eq!((checked.policy, checked.faults.len()), (None, 1));
    }

    #[test]
    fn what_was_good_stays_good_without_its_files() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample me";
        let text = format!("{SMALLEST}\n[instance]\nssh_key = {{ file = \"k.pub\" }}\ncloud_init = \"init.yaml\"");
        let source = gather("train.toml", &text, &mut |path| {
            Ok(if path == "k.pub" { format!("{key}\n") } else { "#cloud-config\n".into() })
        });
        let policy = check(&source.clone(), &context("spotscale")).policy.unwrap();
        assert_eq!(policy.instance.ssh_key.as_deref(), Some(key));
        assert_eq!(policy.instance.cloud_init.as_deref(), Some("#cloud-config\n"));
    }
}
