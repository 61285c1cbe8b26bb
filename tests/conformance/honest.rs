//! What a reader may make of an answer in which one thing is missing or nonsense: less than before, never anything else.
//!
//! An item may be dropped, by name. What is left of it may be *unknown* where it was known; a price may rise and a stock
//! may shrink. Whatever is cheaper, larger, freer or livelier than before was guessed, and each such guess is a [`lie`].

use spotscale::model::{
    GpuModel, Hostnode, HourlyRate, Instance, InstanceStatus, Scan, Timestamp,
    offer::{Location, Ports, Rates, SpotTerms, Stock, Supply},
};

/// A noun that knows its id and can be held against an older sighting of itself.
pub trait Honest {
    /// What it is known by.
    fn id(&self) -> String;
    /// What it says that the older sighting does not bear out; `word` is what was written into the answer since.
    fn lies(&self, before: &Self, word: &str) -> Vec<String>;
}

/// A lie, unless it is none.
fn lie(what: &str, honest: bool) -> Vec<String> {
    if honest { Vec::new() } else { vec![what.to_owned()] }
}

/// A text is what it was, nothing, or the new word.
fn told(after: &str, before: &str, word: &str) -> bool {
    after == before || after.is_empty() || after == word
}

/// A model is what it was, none, or one that is made of the new word.
fn model(after: Option<&GpuModel>, before: Option<&GpuModel>, word: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
    };
    after.is_none() || after == before || after.is_some_and(|model| plain(model.as_str()).contains(&plain(word)))
}

/// An end that was known is not forgotten, and moves only nearer.
fn end(after: Option<Timestamp>, before: Option<Timestamp>) -> bool {
    before.is_none_or(|before| after.is_some_and(|after| after <= before))
}

fn dearer(after: HourlyRate, before: HourlyRate) -> bool {
    after >= before
}

fn stock(after: Stock, before: Stock) -> bool {
    after.free <= before.free && (after.free == 0 || dearer(after.price, before.price))
}

impl Honest for Instance {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn lies(&self, before: &Self, word: &str) -> Vec<String> {
        let Self {
            id: _,
            name,
            status,
            hostnode,
            gpu_model,
            gpus,
            price_type,
            quoted,
            address,
            ports,
            created_at,
            available_until,
        } = self;
        let text = |id: &Option<spotscale::model::HostnodeId>| id.as_ref().map(ToString::to_string).unwrap_or_default();
        let unknown = matches!(status, InstanceStatus::Unknown(_));
        let total = |rates: Rates| rates.total();
        [
            lie("name", told(name.as_str(), before.name.as_str(), word)),
            lie("status", *status == before.status || unknown),
            lie("hostnode", told(&text(hostnode), &text(&before.hostnode), word)),
            lie("model", model(gpu_model.as_ref(), before.gpu_model.as_ref(), word)),
            lie("GPUs", *gpus == before.gpus || gpu_model.is_none()),
            lie("price type", price_type.is_none() || *price_type == before.price_type),
            lie("quote", quoted.is_none_or(|after| before.quoted.is_some_and(|old| dearer(total(after), total(old))))),
            lie(
                "address",
                told(address.as_deref().unwrap_or_default(), before.address.as_deref().unwrap_or_default(), word),
            ),
            lie("ports", ports.iter().all(|(outside, inside)| before.ports.get(outside) == Some(inside))),
            lie("creation", created_at.is_none() || *created_at == before.created_at),
            lie("end of availability", end(*available_until, before.available_until)),
        ]
        .concat()
    }
}

impl Honest for Hostnode {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn lies(&self, before: &Self, word: &str) -> Vec<String> {
        let Self { id: _, location, uptime_ppm, online, supply, spot, ports, available_until } = self;
        let Location { country, region, city } = location;
        let place = told(country, &before.location.country, word)
            && told(region, &before.location.region, word)
            && told(city, &before.location.city, word);
        let sold = match (supply, &before.supply) {
            (Supply::Resources(after), Supply::Resources(before)) => {
                let gpus = after.gpus.iter().all(|(model, after)| match before.gpus.get(model) {
                    Some(before) => stock(*after, *before),
                    None => self::model(Some(model), None, word),
                });
                gpus && stock(after.vcpus, before.vcpus)
                    && stock(after.ram_gb, before.ram_gb)
                    && stock(after.storage_gb, before.storage_gb)
                    && after.rule == before.rule
            }
            (Supply::Lots(after), Supply::Lots(before)) => after.iter().all(|after| {
                before.iter().any(|before| {
                    model(Some(&after.shape.gpu_model), Some(&before.shape.gpu_model), word)
                        && after.shape.gpus <= before.shape.gpus
                        && dearer(after.rates.total(), before.rates.total())
                })
            }),
            (Supply::Resources(_), Supply::Lots(_)) | (Supply::Lots(_), Supply::Resources(_)) => false,
        };
        let free = match (ports, &before.ports) {
            (Ports::Free(after), Ports::Free(before)) => after.iter().all(|port| before.contains(port)),
            // Nothing is rented where nobody knows which are free.
            (Ports::Unlisted, _) => true,
            (Ports::GivenForSsh, before) => ports == before,
            (Ports::Free(_), Ports::Unlisted | Ports::GivenForSsh) => false,
        };
        [
            lie("place", place),
            lie("uptime", uptime_ppm.is_none() || *uptime_ppm == before.uptime_ppm),
            lie("online", !online || before.online),
            lie("what is sold", sold),
            lie("spot", *spot == before.spot || *spot == SpotTerms::None),
            lie("ports", free),
            lie("end of availability", end(*available_until, before.available_until)),
        ]
        .concat()
    }
}

/// What a whole list says that the older one does not bear out: items are as they were or less, and one that is missing is
/// named.
pub fn lies<T: Honest>(after: &Scan<T>, before: &Scan<T>, word: &str) -> Vec<String> {
    let mut lies = Vec::new();
    let mut known = 0;
    for item in &after.items {
        match before.items.iter().find(|old| old.id() == item.id()) {
            Some(old) => {
                known += 1;
                lies.extend(item.lies(old, word).into_iter().map(|lie| format!("{}: {lie}", item.id())));
            }
            // Its id is what was changed.
            None if item.id().to_lowercase().contains(&word.to_lowercase()) => known += 1,
            None => lies.push(format!("{} was never there", item.id())),
        }
    }
    let missing = before.items.len().saturating_sub(known);
    let named = after.dropped.len().saturating_sub(before.dropped.len());
    if missing > named {
        lies.push(format!("{missing} items are missing and {named} are named"));
    }
    lies
}
