//! Vectordash's JSON as our nouns, in every shape that its reference may mean.
//!
//! **Invariant:** one item that cannot be believed (a negative price, no key, an end that is no date) is dropped and named;
//! it never costs the list, and it is never guessed. A list whose outer shape is not understood is unreadable, never empty.
//! The member `pem` is never read.

use super::nouns::{Account, Availability, ListedGpu, Session};
use crate::{
    market::{
        Deployed,
        json::{Json, Object, shown},
        raw::is_plain,
        tensordock_v0::wire::is_host,
    },
    model::{
        GpuModel, Hostnode, HostnodeId, Instance, InstanceId, InstanceStatus, PriceType, Refusal, Scan, Shape,
        Timestamp, VmName,
        catalogue::{self, Vocabulary},
        inventory::Dropped,
        name::{ID_BYTES_MAX, NameError},
        offer::{Location, Lot, Ports, Rates, SSH_PORT, Sizes, Sold, SpotTerms, Supply},
    },
};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

/// Whose words for GPU models these are.
const WORDS: Vocabulary = Vocabulary::Vectordash;
/// A list with more items than this is not believed.
const ITEMS_MAX: usize = 100_000;
/// No instance has more GPUs than this.
const GPUS_MAX: usize = 1_024;
/// No GPU has more GB of memory, no instance more GB of memory or disk, and none lasts more hours than this.
const SIZE_MAX: u32 = 100_000_000;
/// A word for a status is not longer than this.
const STATUS_CHARS_MAX: usize = 40;
/// No account has more wallets than this.
const WALLETS_MAX: usize = 100;

/// The items of a list: under its name, as every answer is said to be, or bare, as the account's is.
fn items<'a>(answer: &Json<'a>, name: &str) -> Result<Vec<Json<'a>>, Refusal> {
    let listed = answer.array().or_else(|| answer.object()?.get(name)?.array());
    let items = listed.ok_or_else(|| Refusal::Malformed(format!("there is no list `{name}` in it")))?;
    if items.len() > ITEMS_MAX {
        return Err(Refusal::Malformed(format!("`{name}` has more than {ITEMS_MAX} items")));
    }
    Ok(items)
}

/// Reads each item and keeps what is understood; `what` names one that is not.
fn scan<'a, T: Clone>(
    items: Vec<Json<'a>>,
    what: &'static str,
    mut read: impl FnMut(&Object<'a>) -> Result<T, String>,
) -> Scan<T> {
    let mut scan = Scan::default();
    for (place, item) in items.into_iter().enumerate() {
        let object = item.object();
        match object.as_ref().ok_or_else(|| "it is not an object".to_owned()).and_then(&mut read) {
            Ok(item) => scan.items.push(item),
            Err(why) => {
                let named = object.and_then(|object| object.get(what)?.text());
                Dropped::name(named.unwrap_or_else(|| format!("#{place}")), why, &mut scan.dropped);
            }
        }
    }
    scan
}

/// A moment: with its zone, as `start_time` is shown; or `YYYY-MM-DD HH:MM:SS`, as the ends are, in UTC (assumed).
fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let civil = || {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    };
    text.parse().ok().or_else(civil)
}

fn moment_in(object: &Object<'_>, key: &str) -> Option<Timestamp> {
    object.get(key)?.string().and_then(|text| moment(&text))
}

/// `unlimited`, or an end.
fn availability(said: Option<Json<'_>>) -> Option<Availability> {
    let text = said?.string()?;
    let unlimited = text.trim().eq_ignore_ascii_case("unlimited");
    if unlimited { Some(Availability::Unlimited) } else { moment(&text).map(Availability::Until) }
}

fn model(kind: &str) -> Option<GpuModel> {
    catalogue::canonical(WORDS, kind).ok()
}

/// The list of GPUs, as it is.
///
/// # Errors
/// `Malformed` when there is none.
pub fn gpus(answer: &Json<'_>) -> Result<Scan<ListedGpu>, Refusal> {
    Ok(scan(items(answer, "gpus")?, "type", |gpu| {
        let kind = gpu.get("type").and_then(Json::string).ok_or("it has no `type`")?;
        // It is the machine's id, and what a new instance asks for.
        kind.parse::<HostnodeId>().map_err(|error| error.to_string())?;
        let teraflops = gpu.get("teraflops").and_then(Json::millionths);
        Ok(ListedGpu {
            model: model(&kind),
            teraflops_milli: teraflops.and_then(|millionths| u32::try_from(millionths / 1_000).ok()),
            vram_gb: gpu.count("vram", SIZE_MAX)?,
            generation: gpu.text("generation"),
            rate: gpu.price("hourly_price")?.ok_or("it has no `hourly_price`")?,
            available: availability(gpu.get("max_availability"))
                .ok_or("max_availability: it is neither `unlimited` nor a date")?,
            asic: match gpu.get("asic") {
                None => false,
                Some(said) => said.flag().ok_or("asic: it is neither true nor false")?,
            },
            kind: kind.into_owned(),
        })
    }))
}

/// The GPUs as machines, one for each type. What mines is left out: it is understood, and nothing for us.
///
/// Whether a type can be listed twice is not documented. If it is, it is still one thing to ask for: the GPU that is
/// available for longest is what one gets, at the dearest of the prices, which is the most that it can come to.
pub fn hostnodes(listed: Scan<ListedGpu>) -> Scan<Hostnode> {
    let Scan { items, mut dropped } = listed;
    let mut kinds: BTreeMap<HostnodeId, (ListedGpu, GpuModel)> = BTreeMap::new();
    for gpu in items.into_iter().filter(|gpu| !gpu.asic) {
        match node(&gpu) {
            Ok((id, model)) => {
                let (known, _) = kinds.entry(id).or_insert_with(|| (gpu.clone(), model));
                known.rate = known.rate.max(gpu.rate);
                known.available = known.available.max(gpu.available);
            }
            Err(why) => Dropped::name(shown(&gpu.kind), why, &mut dropped),
        }
    }
    let items = kinds.into_iter().map(|(id, (gpu, gpu_model))| {
        let shape = Shape { gpu_model, gpus: 1, vcpus: 0, ram_gb: 0, storage_gb: 0 };
        let rates = Rates { compute: gpu.rate, ..Rates::default() };
        Hostnode {
            // How many more there are nobody says: one, and the next list will tell.
            supply: Supply::Lots(vec![Lot {
                id: id.to_string(),
                shape,
                sizes: Sizes::Unsaid,
                rates,
                sold: Sold::EitherWay,
            }]),
            id,
            location: Location::default(),
            uptime_ppm: None,
            online: true,
            spot: SpotTerms::None,
            ports: Ports::GivenForSsh,
            available_until: gpu.available.end(),
        }
    });
    Scan { items: items.collect(), dropped }
}

/// What a listed GPU is called as a machine, and which model it is.
fn node(gpu: &ListedGpu) -> Result<(HostnodeId, GpuModel), String> {
    let id = gpu.kind.parse().map_err(|error: NameError| error.to_string())?;
    let model = gpu.model.clone().ok_or("it is not a GPU model")?;
    if gpu.rate.is_zero() {
        return Err("hourly_price: no GPU is free of charge".into());
    }
    if let (Some(listed), Some(known)) = (gpu.vram_gb, model.vram_gb())
        && listed < known
    {
        return Err(format!("vram: it has {listed} GB, and {model} has {known}"));
    }
    Ok((id, model))
}

/// The list of instances, as it is, each key once.
///
/// # Errors
/// `Malformed` when there is none.
pub fn sessions(answer: &Json<'_>) -> Result<Scan<Session>, Refusal> {
    let mut seen = BTreeSet::new();
    Ok(scan(items(answer, "instances")?, "key", |instance| {
        let read = session(instance)?;
        let first = seen.insert(read.instance.id.clone());
        if first { Ok(read) } else { Err("its key is listed twice".into()) }
    }))
}

/// The instances that there are. One that is `complete` and has an end by the vendor's own word is no more, even where the
/// list goes on showing it; the list is said to be of the active ones.
pub fn instances(listed: Scan<Session>) -> Scan<Instance> {
    let Scan { items, dropped } = listed;
    let is_over = |session: &Session| session.instance.status == InstanceStatus::Leaving && session.ended_at.is_some();
    let items = items.into_iter().filter(|session| !is_over(session)).map(|session| session.instance);
    Scan { items: items.collect(), dropped }
}

/// An instance's key, fit to stand in a path.
fn key(instance: &Object<'_>) -> Result<InstanceId, String> {
    let key = instance.get("key").and_then(Json::literal).ok_or("it has no `key`")?;
    if !is_plain(&key) {
        return Err("its key has more than letters, digits, `-` and `_`: it could not be deleted".into());
    }
    key.parse().map_err(|error: NameError| error.to_string())
}

/// Our own VMs are found by name, so a VM without one is not understood. One whose name we could never have given is
/// not ours: it is kept, with its name made fit to be shown.
fn name(instance: &Object<'_>) -> Result<VmName, String> {
    let name = instance.get("name").and_then(Json::string).filter(|name| !name.is_empty()).ok_or("it has no name")?;
    let fit = || {
        let fit = shown(&name);
        fit.get(..fit.floor_char_boundary(ID_BYTES_MAX)).unwrap_or_default().parse()
    };
    name.parse().or_else(|_| fit()).map_err(|error: NameError| error.to_string())
}

fn session(instance: &Object<'_>) -> Result<Session, String> {
    let (kind, gpus) = physical_gpus(instance.get("physical_gpus"))?;
    let read = Instance {
        id: key(instance)?,
        name: name(instance)?,
        status: status(instance),
        hostnode: kind.as_deref().and_then(|kind| kind.parse().ok()),
        gpu_model: kind.as_deref().and_then(model),
        gpus,
        // There are no bids here.
        price_type: Some(PriceType::OnDemand),
        quoted: quoted(instance)?,
        address: address(instance),
        ports: ports(instance),
        created_at: moment_in(instance, "start_time"),
        // For showing only: one that cannot be read is left out.
        available_until: availability(instance.get("guaranteed_availability")).and_then(Availability::end),
    };
    Ok(Session {
        instance: read,
        user: instance.text("user"),
        cpu: instance.text("cpu"),
        ram_gb: instance.count("ram", SIZE_MAX).unwrap_or_default(),
        storage_gb: instance.count("storage", SIZE_MAX).unwrap_or_default(),
        image: instance.text("image"),
        ended_at: moment_in(instance, "end_time"),
        estimated_charge: instance.get("estimated_charge").and_then(|charge| charge.amount().ok()),
        duration_h: instance.count("duration", SIZE_MAX).unwrap_or_default(),
    })
}

/// The type of all its GPUs, where it is one, and how many. A create gives one, instances show several; one that shows none
/// has at least the one that it was created with.
fn physical_gpus(said: Option<Json<'_>>) -> Result<(Option<String>, u32), String> {
    let listed = said.map(|said| said.array().unwrap_or_else(|| vec![said])).unwrap_or_default();
    if listed.len() > GPUS_MAX {
        return Err("physical_gpus: too many".into());
    }
    let kind = |gpu: &Json<'_>| match gpu.object() {
        Some(gpu) => gpu.get("type").and_then(Json::string).map(String::from),
        None => gpu.string().map(String::from),
    };
    let kinds: BTreeSet<Option<String>> = listed.iter().map(kind).collect();
    let one = if kinds.len() == 1 { kinds.into_iter().next().flatten() } else { None };
    Ok((one, u32::try_from(listed.len()).unwrap_or(u32::MAX).max(1)))
}

/// The status, whatever its case. A word that is not known, none at all, and any word beside an error count as not running.
fn status(instance: &Object<'_>) -> InstanceStatus {
    let Some(word) = instance.text("status") else { return InstanceStatus::Unknown("unsaid".into()) };
    let word = word.trim();
    let known = match word.to_ascii_lowercase().as_str() {
        "complete" | "completed" => return InstanceStatus::Leaving,
        "pending" => InstanceStatus::Starting,
        "active" => InstanceStatus::Running,
        _ => InstanceStatus::Unknown(word.chars().take(STATUS_CHARS_MAX).collect()),
    };
    match instance.get("error_occurred").map(Json::flag) {
        None | Some(Some(false)) => known,
        Some(Some(true) | None) => InstanceStatus::Unknown(format!("error occurred while {known}")),
    }
}

/// One price per hour for the whole instance, its disk included (documented).
fn quoted(instance: &Object<'_>) -> Result<Option<Rates>, String> {
    Ok(instance.price("hourly_price")?.map(|compute| Rates { compute, ..Rates::default() }))
}

/// Where it can be reached: an address, and nothing that a command line would take for more.
fn address(instance: &Object<'_>) -> Option<String> {
    instance.text("ip").map(|ip| ip.trim().to_owned()).filter(|ip| is_host(ip))
}

/// The one port there is: `port`, "for the ssh command" (documented).
fn ports(instance: &Object<'_>) -> BTreeMap<u16, u16> {
    let port = instance.get("port").and_then(Json::literal).and_then(|port| port.trim().parse::<u16>().ok());
    port.filter(|port| *port != 0).map(|port| (port, SSH_PORT)).into_iter().collect()
}

/// What a create made: under `instance`, or bare. Only the key must be there: whatever else cannot be read must not lose it.
///
/// # Errors
/// `Malformed` when there is no key.
pub fn deployed(answer: &Json<'_>) -> Result<Deployed, Refusal> {
    let answer = answer.object().ok_or_else(|| Refusal::Malformed("it is not an object".into()))?;
    let instance = answer.object("instance").unwrap_or(answer);
    Ok(Deployed {
        id: key(&instance).map_err(Refusal::Malformed)?,
        quoted: quoted(&instance).unwrap_or_default(),
        address: address(&instance),
        ports: ports(&instance),
    })
}

/// Whose token it is, from a text that need not be JSON: in the documents' own example a comma is missing. What follows a
/// member's name and a colon is read where it is a value by itself.
///
/// # Errors
/// `Malformed` when it tells of no account.
pub fn account(text: &str) -> Result<Account, Refusal> {
    // Were a whole page taken for an account, wrong credentials would be taken for good ones.
    let is_object = text.trim_start().starts_with('{') && text.trim_end().ends_with('}');
    let said = |member: &str| if is_object { value_of(text, member) } else { None };
    let read = |member: &str| {
        said(member).and_then(|raw| Json::read(raw.get().as_bytes()).map(|json| (json.text(), json.flag())))
    };
    let flag = |member: &str| read(member).and_then(|(_, flag)| flag);
    let email = read("email").and_then(|(text, _)| text);
    if email.is_none() && flag("payment_method_added").is_none() {
        return Err(Refusal::Malformed("it tells of no account".into()));
    }
    let mut wallets = BTreeMap::new();
    if let Some(raw) = said("wallets")
        && let Some(listed) = Json::read(raw.get().as_bytes()).and_then(Json::object)
    {
        let named = listed.members().filter_map(|(currency, wallet)| Some((shown(currency), wallet.text()?)));
        wallets.extend(named.take(WALLETS_MAX));
    }
    Ok(Account {
        email,
        email_confirmed: flag("email_confirmed"),
        payment_method_added: flag("payment_method_added"),
        vetted_host: flag("vetted_host"),
        wallets,
    })
}

/// The first value that follows `"member":`.
fn value_of<'a>(text: &'a str, member: &str) -> Option<&'a RawValue> {
    let (_, rest) = text.split_once(&format!("\"{member}\""))?;
    let value = rest.trim_start().strip_prefix(':')?;
    serde_json::Deserializer::from_str(value).into_iter::<&RawValue>().next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn status_of(json: &str) -> String {
        format!("{:?}", status(&Json::read(json.as_bytes()).unwrap().object().unwrap()))
    }

    #[test]
    fn a_moment_is_told_with_its_zone_or_in_utc() {
        let at = |text: &str| moment(text).map(|at| at.to_string());
        assert_eq!(at("2018-07-01T04:23:58Z").as_deref(), Some("2018-07-01T04:23:58Z"));
        assert_eq!(at("2018-07-01T04:23:58+02:00").as_deref(), Some("2018-07-01T02:23:58Z"));
        assert_eq!(at("2019-03-01 00:00:00").as_deref(), Some("2019-03-01T00:00:00Z"));
        for wrong in ["", "soon", "2019-13-01 00:00:00", "1551398400"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_a_status_that_is_known_and_without_an_error_counts() {
        assert_eq!(status_of(r#"{"status":"active","error_occurred":false}"#), "Running");
        assert_eq!(status_of(r#"{"status":"Active"}"#), "Running");
        assert_eq!(status_of(r#"{"status":"pending","error_occurred":false}"#), "Starting");
        assert_eq!(status_of(r#"{"status":"complete","error_occurred":true}"#), "Leaving");
        assert_eq!(
            status_of(r#"{"status":"active","error_occurred":true}"#),
            r#"Unknown("error occurred while running")"#
        );
        assert_eq!(
            status_of(r#"{"status":"active","error_occurred":"?"}"#),
            r#"Unknown("error occurred while running")"#
        );
        assert_eq!(status_of(r#"{"status":"resting"}"#), r#"Unknown("resting")"#);
        assert_eq!(status_of(r#"{"status":null}"#), r#"Unknown("unsaid")"#);
    }

    #[test]
    fn a_type_without_an_end_is_no_type() {
        let listed = |kind: &str| {
            let line = format!(r#"[{{"type":"{kind}","hourly_price":1,"max_availability":"unlimited"}}]"#);
            gpus(&Json::read(line.as_bytes()).unwrap()).unwrap().items.len()
        };
        assert_eq!([listed("Titan V"), listed(&"V".repeat(ID_BYTES_MAX))], [1, 1]);
        assert_eq!([listed(""), listed("Titan\\u0000V"), listed(&"V".repeat(ID_BYTES_MAX + 1))], [0, 0, 0]);
    }

    #[test]
    fn an_account_is_read_from_what_is_not_quite_json_and_from_no_page() {
        let text = "{\n \"email\": \"a@b.example\",\n \"vetted_host\": false\n \"wallets\": {\"bitcoin\": \"3H\"}\n}\n";
        let read = account(text).unwrap();
        assert_eq!(read.email.as_deref(), Some("a@b.example"));
        assert_eq!((read.vetted_host, read.email_confirmed), (Some(false), None));
        assert_eq!(read.wallets["bitcoin"], "3H");
        for wrong in ["", "{}", "[]", "<html>\"email\": \"a\"</html>", r#"{"detail":"no"}"#, r#"{"email"}"#] {
            assert!(account(wrong).is_err(), "{wrong}");
        }
    }
}
