//! What is promised of the journal: it comes to what the daemon remembers, and read twice to the same as read once.

use super::{Breach, Found, Promise};
use crate::{
    io::store::Store,
    ledger::{Ledger, journal},
};

/// Reads a disk from its beginning, and holds it against a memory.
pub fn replays(disk: &dyn Store, memory: &Ledger) -> Vec<Breach> {
    let mut found = Found::default();
    match (journal::replay(disk, memory.prefix()), journal::replay_twice(disk, memory.prefix())) {
        (Ok(once), Ok(twice)) => {
            found.unless(once == *memory, Promise::Replay, || {
                format!(
                    "the journal comes to record {}, the memory to {}, and they differ",
                    once.sequence(),
                    memory.sequence()
                )
            });
            found
                .unless(once == twice, Promise::Replay, || "read twice the journal comes to something else".to_owned());
        }
        (Err(error), _) | (_, Err(error)) => found.unless(false, Promise::Replay, || error.to_string()),
    }
    found.0
}

#[cfg(test)]
mod tests {
    use super::{super::tests::settled, *};
    use crate::io::store::MemoryStore;

    #[tokio::test]
    async fn a_journal_that_lacks_what_is_remembered_is_found_out() {
        let stage = settled().await;
        assert_eq!(stage.replays().await, []);
        let memory = journal::replay(&*stage.disk, "spotscale").unwrap();
        let found = super::replays(&MemoryStore::default(), &memory);
        assert_eq!(found.iter().map(|breach| breach.promise).collect::<Vec<_>>(), [Promise::Replay]);
    }
}
