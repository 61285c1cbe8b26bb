//! Names and ids: of what is configured, of what vendors number, and of our own VMs.
//!
//! A VM's *name* is the only key that survives a lost answer, so its grammar is strict and lives here. Vendor ids are
//! opaque: they are bounded in length, compared as text and otherwise not looked into.

use super::Guard;
use std::{fmt, str::FromStr, sync::Arc};

/// No name or id of anybody's is longer than this, in bytes.
pub const ID_BYTES_MAX: usize = 128;
/// Longest VM name, in bytes. Source: "names up to 60 characters work" (recorded, FACTS of v0).
pub const VM_NAME_BYTES_MAX: usize = 60;
/// A higher number than this is none of ours, whatever name it stands in: nobody makes so many VMs.
const SEQUENCE_MAX: u64 = 999_999_999;
/// Longest fleet name, in bytes: one letter and up to 23 more.
pub const FLEET_NAME_BYTES_MAX: usize = 24;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, too long, or with control characters.
    #[error("`{0}` is not an id: 1 to 128 printable characters are")]
    NotAnId(String),
    /// Not a configured name's grammar.
    #[error("`{0}` is not a name: a lower-case letter, then letters, digits and `-`, at most 24 characters")]
    NotAName(String),
}

fn shown(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= ID_BYTES_MAX && !text.chars().any(char::is_control)
}

/// `[a-z][a-z0-9-]{0,23}`.
fn is_name(text: &str) -> bool {
    text.len() <= FLEET_NAME_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
}

macro_rules! text_noun {
    ($(#[$meta:meta])* $name:ident, $valid:path, $error:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                if $valid(text) { Ok(Self(text.into())) } else { Err(NameError::$error(shown(text))) }
            }
        }
    };
}

text_noun!(/// A configured API we may rent from.
    MarketplaceName, is_name, NotAName);
text_noun!(/// Who pays; several marketplaces may share one.
    AccountName, is_name, NotAName);
text_noun!(/// A fleet: one policy file.
    FleetName, is_name, NotAName);
text_noun!(/// A vendor's id of a hostnode.
    HostnodeId, is_id, NotAnId);
text_noun!(/// A vendor's id of an instance.
    InstanceId, is_id, NotAnId);
text_noun!(/// A VM's name as the vendor shows it; ours or anybody's.
    VmName, is_id, NotAnId);

/// What makes our VM names: `<prefix>-<fleet>-<epoch>-<sequence>`.
///
/// The epoch is drawn once when the journal is created, so that a lost journal cannot reuse a name. The sequence only
/// ever grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namer {
    /// The configured `instance_prefix`.
    pub prefix: String,
    /// Drawn once per journal: lower-case letters and digits.
    pub epoch: String,
    /// The sequence number the next name takes.
    pub next_sequence: u64,
}

impl Namer {
    /// The next name, never given before by this journal.
    pub fn next_name(&mut self, fleet: &FleetName) -> VmName {
        let name = format!("{}-{fleet}-{}-{}", self.prefix, self.epoch, self.next_sequence);
        self.next_sequence += 1;
        debug_assert!(name.len() <= VM_NAME_BYTES_MAX, "settings bound the prefix");
        VmName(name.into())
    }

    /// Goes past a name that is there though this journal does not know it: a journal that was restored from a copy has
    /// forgotten what it gave since, and gives none of it again.
    pub fn pass(&mut self, name: &VmName) {
        if let Some(sequence) = sequence_in(&self.epoch, name) {
            self.next_sequence = self.next_sequence.max(sequence + 1);
        }
    }
}

/// The sequence number in a name of this epoch, if it is one that may have been given.
pub fn sequence_in(epoch: &str, name: &VmName) -> Option<u64> {
    let (rest, number) = name.as_str().rsplit_once('-')?;
    let (_, its) = rest.rsplit_once('-')?;
    number.parse().ok().filter(|sequence| its == epoch && *sequence <= SEQUENCE_MAX)
}

/// The fleet a VM's name claims to be of: `<prefix>-<known fleet>-…`, whatever follows; the longest fleet name wins.
pub fn claimed_fleet<'a>(
    prefix: &str,
    fleets: impl IntoIterator<Item = &'a FleetName>,
    name: &VmName,
) -> Option<&'a FleetName> {
    let rest = name.as_str().strip_prefix(prefix)?.strip_prefix('-')?;
    fleets
        .into_iter()
        .filter(|fleet| {
            rest.strip_prefix(fleet.as_str()).is_some_and(|tail| Guard::FleetInName.holds(tail.starts_with('-')))
        })
        .max_by_key(|fleet| fleet.as_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(name: &str) -> FleetName {
        name.parse().unwrap()
    }

    #[test]
    fn a_fleet_name_is_a_letter_and_up_to_23_more() {
        for good in ["a", "train", "train-2", "abcdefghijklmnopqrstuvwx"] {
            assert!(good.parse::<FleetName>().is_ok(), "{good}");
        }
        for bad in ["", "2a", "-a", "Train", "a_b", "a b", "abcdefghijklmnopqrstuvwxy", "ä"] {
            assert!(bad.parse::<FleetName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_longest_known_fleet_claims_a_name() {
        let fleets = [fleet("train"), fleet("train-big")];
        let claimed = |name: &str| claimed_fleet("spotscale", &fleets, &name.parse().unwrap()).map(FleetName::as_str);
        assert_eq!(claimed("spotscale-train-big-x-1"), Some("train-big"));
        assert_eq!(claimed("spotscale-train-abc-1"), Some("train"));
        assert_eq!(claimed("spotscale-trainer-abc-1"), None);
        assert_eq!(claimed("spotscale-train"), None);
        assert_eq!(claimed("myspotscale-train-1"), None);
        assert_eq!(claimed("spotscale-"), None);
    }

    #[test]
    fn names_grow_by_one() {
        let mut namer = Namer { prefix: "spotscale".into(), epoch: "k3x9".into(), next_sequence: 7 };
        assert_eq!(namer.next_name(&fleet("train")).as_str(), "spotscale-train-k3x9-7");
        assert_eq!(namer.next_name(&fleet("train")).as_str(), "spotscale-train-k3x9-8");
    }

    #[test]
    fn names_go_past_what_is_there_of_their_epoch() {
        let mut namer = Namer { prefix: "spotscale".into(), epoch: "k3x9".into(), next_sequence: 7 };
        let mut after = |name: &str| {
            namer.pass(&name.parse().unwrap());
            namer.next_sequence
        };
        assert_eq!(after("spotscale-train-k3x9-6"), 7);
        assert_eq!(after("spotscale-serve-k3x9-9"), 10);
        assert_eq!(after("spotscale-train-k3x8-99"), 10);
        assert_eq!(after("spotscale-train-k3x9-ninety"), 10);
        assert_eq!(after("spotscale-train-k3x9-1000000000"), 10);
        assert_eq!(after("spotscale-train-k3x9-18446744073709551615"), 10);
        assert_eq!(after("k3x9-99"), 10);
    }
}
