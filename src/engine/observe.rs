//! One look at the world: all marketplaces at once, each part dated, what failed named.
//!
//! Looking never changes anything and never gives up half-way: a marketplace that does not answer leaves its last
//! readings where they are, marked as failed, and the others go on. Who is asked, and for how long they are waited for, is
//! the [`lookout`](super::lookout)'s to say.

use super::{
    act::HUNG_AFTER,
    details,
    lookout::{Found, Looking, Lookouts, Sight},
};
use crate::{
    io::clock::Clock,
    market::client::Client,
    model::{
        AccountName, InstanceId, Inventory, MarketView, MarketplaceName, Reading, Refusal, Timestamp,
        inventory::Balance, wish::Ability,
    },
};
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Quotes kept per marketplace at most; older ones are stale long before.
const QUOTES_MAX: usize = 2_000;

/// The marketplaces of a daemon, each with who pays there.
pub type Clients = BTreeMap<MarketplaceName, (AccountName, Arc<Client>)>;

/// What VMs each marketplace can make.
pub fn abilities(clients: &Clients) -> BTreeMap<MarketplaceName, Ability> {
    clients.iter().map(|(name, (_, client))| (name.clone(), client.dialect().ability())).collect()
}

/// An inventory in which nothing was looked at yet.
pub fn nothing_seen(clients: &Clients, now: Timestamp) -> Inventory {
    // Whether anything can be asked for by id is known by trying to say it.
    let probe: Option<InstanceId> = "probe".parse().ok();
    let answers_by_id = |client: &Client| probe.as_ref().is_some_and(|id| client.dialect().instance(id).is_some());
    let view = |account: &AccountName, client: &Client| MarketView {
        account: account.clone(),
        hostnodes: Reading::never(),
        instances: Reading::never(),
        answers_by_id: answers_by_id(client),
        lookups: BTreeMap::new(),
        details: BTreeMap::new(),
        quotes: Vec::new(),
        machines: BTreeMap::new(),
    };
    Inventory {
        at: now,
        markets: clients.iter().map(|(name, (account, client))| (name.clone(), view(account, client))).collect(),
        balances: clients.values().map(|(account, _)| (account.clone(), Reading::never())).collect(),
    }
}

/// Looks at everything that is due and folds what was seen into the inventory.
pub async fn observe(lookouts: &Lookouts, looking: &Looking<'_>, inventory: &mut Inventory) {
    inventory.markets.values_mut().for_each(|view| view.machines.clear());
    for Sight { marketplace, at, found } in lookouts.look(looking).await {
        let Some((account, _)) = looking.clients.get(&marketplace) else { continue };
        let view = inventory.markets.get_mut(&marketplace);
        match (found, view) {
            (Found::Instances(instances), Some(view)) => {
                note(&marketplace, "instances", &view.instances, &instances);
                view.instances.fold(at, instances);
                view.lookups.clear();
                details::fill(view);
            }
            (Found::Hostnodes(hostnodes), Some(view)) => {
                note(&marketplace, "hostnodes", &view.hostnodes, &hostnodes);
                view.hostnodes.fold(at, hostnodes);
            }
            (Found::Balance(balance), _) => {
                let reading: &mut Reading<Balance> =
                    inventory.balances.entry(account.clone()).or_insert_with(Reading::never);
                note(&marketplace, "balance", reading, &balance);
                reading.fold(at, balance);
            }
            (Found::Instances(_) | Found::Hostnodes(_), None) => {}
        }
    }
    inventory.at = looking.clock.now();
}

/// Says when a marketplace begins to fail, fails in another way, and answers again; not what it says each time.
fn note<T>(marketplace: &MarketplaceName, what: &'static str, before: &Reading<T>, now: &Result<T, Refusal>) {
    let failed = before.failed.as_ref().map(|failed| failed.value.kind());
    match (failed, now) {
        (None, Err(refusal)) => tracing::warn!(%marketplace, what, %refusal, "could not be read"),
        (Some(kind), Err(refusal)) if kind != refusal.kind() => {
            tracing::warn!(%marketplace, what, %refusal, "could not be read");
        }
        (Some(_), Ok(_)) => tracing::info!(%marketplace, what, "can be read again"),
        (Some(_), Err(_)) | (None, Ok(_)) => {}
    }
}

/// Asks for instances by id that a list lacked, for at most `within` by the clock: what is not answered by then was not
/// asked. Returns who let that wait in vain.
pub async fn look_up(
    clients: &Clients,
    clock: &dyn Clock,
    inventory: &mut Inventory,
    wanted: Vec<(MarketplaceName, InstanceId)>,
    within: Duration,
) -> BTreeSet<MarketplaceName> {
    let (asked_at, hung_after) = (clock.monotonic(), clock.of_real(HUNG_AFTER));
    let asked = wanted.into_iter().filter_map(|(name, id)| {
        let (_, client) = clients.get(&name)?;
        let exchange = client.dialect().instance(&id)?;
        Some(async move {
            tokio::select! {
                biased;
                found = client.read(exchange) => (name, id, Some((found, clock.now())), clock.monotonic()),
                () = clock.sleep(within) => (name, id, None, clock.monotonic()),
            }
        })
    });
    let mut hung = BTreeSet::new();
    for (name, id, answer, answered_at) in join_all(asked).await {
        let was_long = answered_at.saturating_sub(asked_at) >= hung_after;
        if was_long && answer.as_ref().is_none_or(|(found, _)| found.is_err()) {
            hung.insert(name.clone());
        }
        let Some((found, at)) = answer else { continue };
        if let Some(view) = inventory.markets.get_mut(&name) {
            view.lookups.entry(id).or_insert_with(Reading::never).fold(at, found);
        }
    }
    inventory.markets.values_mut().for_each(details::remember);
    hung
}

/// Forgets quotes that are stale, so that the list stays short.
pub fn forget_stale_quotes(inventory: &mut Inventory, not_before: Timestamp) {
    for view in inventory.markets.values_mut() {
        view.quotes.retain(|quote| quote.at >= not_before);
        let surplus = view.quotes.len().saturating_sub(QUOTES_MAX);
        view.quotes.drain(..surplus);
    }
}
