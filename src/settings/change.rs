//! What of new settings cannot be taken up while the daemon runs.

use super::Settings;

/// The keys whose change waits for a restart, for people; empty when all of it can be taken up.
///
/// The state, the listener, the prefix and the marketplaces' names are what the contract names. A marketplace's API and
/// account are what its instances are known by in the journal, and the policies folder is what is being watched: they wait
/// as well.
pub fn changed_needing_restart(old: &Settings, new: &Settings) -> Vec<String> {
    let mut changed: Vec<String> = [
        ("state", old.state != new.state),
        ("policies", old.policies != new.policies),
        ("instance_prefix", old.instance_prefix != new.instance_prefix),
        ("http.listen", old.http.listen != new.http.listen),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(key, _)| key.to_owned())
    .collect();
    for name in old.marketplaces.keys().filter(|name| !new.marketplaces.contains_key(*name)) {
        changed.push(format!("marketplaces.{name} (gone)"));
    }
    for (name, marketplace) in &new.marketplaces {
        match old.marketplaces.get(name) {
            None => changed.push(format!("marketplaces.{name} (new)")),
            Some(before) => {
                if before.api != marketplace.api {
                    changed.push(format!("marketplaces.{name}.api"));
                }
                if before.account != marketplace.account {
                    changed.push(format!("marketplaces.{name}.account"));
                }
            }
        }
    }
    changed
}
