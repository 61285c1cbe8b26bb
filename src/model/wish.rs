//! What a fleet wants of every VM, whatever machine it stands on, and whether a marketplace can make such VMs at all.
//!
//! Prices and sizes are a machine's; how a VM is logged into, what its first boot does and how it is stopped are the
//! marketplace's own. Where those cannot be had as a policy says, nothing is rented for it: a VM that nobody can log into,
//! or that lacks its cloud-init, is worse than none. What a marketplace can is a plain function, so that a plan about a
//! policy that nobody has installed yet asks it too.

use std::fmt;

/// How a stopped VM is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// GPU kept and billed.
    KeepGpu,
    /// GPU given back; only storage is billed.
    ReleaseGpu,
}

/// What a fleet wants of every VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish<'a> {
    /// Operating system, as the policy says it.
    pub image: &'a str,
    /// Inside ports to be reached from outside.
    pub ports: &'a [u16],
    /// OpenSSH public key.
    pub ssh_key: Option<&'a str>,
    /// cloud-init, the text itself.
    pub cloud_init: Option<&'a str>,
    /// How it is to be stopped one day; `None`: it is deleted.
    pub stop: Option<Stop>,
}

/// Whether VMs can be had as a fleet wants them: a function, and the word by which it is found again where a situation was
/// written down.
#[derive(Clone, Copy)]
pub struct Ability {
    word: &'static str,
    unable: fn(&Wish<'_>) -> Option<String>,
}

impl Ability {
    /// Whatever is wanted can be had, as far as is known.
    pub const ANY: Self = Self { word: "any", unable: |_| None };

    /// Where a pure function tells why not. The word is its own: the API's, say.
    pub const fn new(word: &'static str, unable: fn(&Wish<'_>) -> Option<String>) -> Self {
        Self { word, unable }
    }

    /// What it is known by.
    pub const fn word(self) -> &'static str {
        self.word
    }

    /// Why such VMs cannot be had, for people; `None`: they can, as far as is known.
    pub fn unable(self, wish: &Wish<'_>) -> Option<String> {
        (self.unable)(wish)
    }
}

impl fmt::Debug for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ability({})", self.word)
    }
}

/// The same function is the same ability; two that answer alike may differ, which costs nothing.
impl PartialEq for Ability {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word && std::ptr::fn_addr_eq(self.unable, other.unable)
    }
}

impl Eq for Ability {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ability_is_the_function_it_was_made_of() {
        let keyless = Ability::new("keyless", |wish| wish.ssh_key.is_none().then(|| "a key is needed".to_owned()));
        let wish = Wish { image: "x", ports: &[], ssh_key: None, cloud_init: None, stop: None };
        assert_eq!(keyless.unable(&wish).as_deref(), Some("a key is needed"));
        assert_eq!(keyless.unable(&Wish { ssh_key: Some("k"), ..wish }), None);
        assert_eq!(Ability::ANY.unable(&wish), None);
        assert!(keyless == keyless && keyless != Ability::ANY);
    }
}
