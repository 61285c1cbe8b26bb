//! Which text of each policy is in force, and what keeps the text on disk from being it.
//!
//! Files come, go, break and are renamed while VMs run. The rules (CONTRACT, "Policies come and go"): a text that does
//! not load leaves the last good one in force; a file that is gone leaves its fleet as it is, paused; renaming a fleet is
//! refused while the old one has VMs; and an edit that would tear down too much is held whole until it is applied. All
//! of it is decided here, from values: reading the folder is [`read_folder`], recording what came into force is the
//! caller's.

use super::edits::{Loss, loss_by_policy};
use crate::{
    io::files::Files,
    ledger::fleet::Fleet,
    model::FleetName,
    policy::{self, Checked, Context, Policy, Source, StartLimits},
};
use std::{collections::BTreeMap, path::Path};

/// A text that is, or may come, in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// As read.
    pub source: Source,
    /// As checked.
    pub policy: Policy,
    /// What it is known by.
    pub digest: String,
}

/// An edit that waits for `apply`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it says.
    pub text: Text,
    /// What it would let go.
    pub loss: Loss,
}

/// One fleet's law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statute {
    /// What is in force.
    pub in_force: Text,
    /// What is on disk and good, while it is another text and not judged yet.
    pub proposed: Option<Text>,
    /// What is on disk and good, and held.
    pub held: Option<Held>,
    /// Why what is on disk is not good, one fault per line.
    pub faults: Vec<String>,
    /// Its file is gone.
    pub gone: bool,
}

impl Statute {
    fn new(in_force: Text) -> Self {
        Self { in_force, proposed: None, held: None, faults: Vec::new(), gone: false }
    }

    /// What binds new VMs: while an edit is held, the lower of old and new.
    pub fn start_limits(&self) -> StartLimits {
        let old = &self.in_force.policy;
        policy::lower_limits(old, self.held.as_ref().map_or(old, |held| &held.text.policy))
    }
}

/// All fleets' law.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Law {
    /// By fleet.
    pub statutes: BTreeMap<FleetName, Statute>,
    /// Faults of files that are no known fleet's.
    pub strangers: Vec<String>,
}

/// Reads and checks a folder of policies.
///
/// # Errors
/// One line, when the folder itself cannot be read: then nothing is known of any file, and nothing changes.
pub fn read_folder(files: &dyn Files, folder: &Path, context: &Context) -> Result<Vec<(Source, Checked)>, String> {
    let mut sources = Vec::new();
    for path in files.policies(folder)? {
        let shown = path.display().to_string();
        let home = path.parent().unwrap_or(Path::new(""));
        let mut read = |named: &str| files.read(&home.join(named));
        match files.read(&path) {
            Ok(text) => sources.push(policy::gather(&shown, &text, &mut read)),
            // A file that is listed and cannot be read is broken, not gone.
            Err(why) => return Err(why),
        }
    }
    let checked = policy::check_folder(&sources, context);
    Ok(sources.into_iter().zip(checked).collect())
}

impl Law {
    /// What was in force when the daemon last ran. A text that no longer checks (a marketplace was renamed, say) is left
    /// out: its fleet is known from the journal alone until a good text is there.
    pub fn remembered(sources: impl IntoIterator<Item = Source>, context: &Context) -> Self {
        let statutes = sources.into_iter().filter_map(|source| {
            let policy = policy::check(&source, context).policy?;
            let digest = policy::digest(&source);
            Some((policy.fleet.clone(), Statute::new(Text { source, policy, digest })))
        });
        Self { statutes: statutes.collect(), strangers: Vec::new() }
    }

    /// Checks what is in force against new settings: defaults may have changed.
    pub fn recheck(&mut self, context: &Context) {
        for statute in self.statutes.values_mut() {
            if let Some(policy) = policy::check(&statute.in_force.source, context).policy {
                statute.in_force.policy = policy;
            }
        }
    }

    /// Takes in what is on disk now: proposes good texts, notes broken and missing ones. Nothing comes into force here.
    pub fn propose(&mut self, folder: Vec<(Source, Checked)>, has_vms: &dyn Fn(&FleetName) -> bool) {
        self.strangers.clear();
        let mut seen: Vec<FleetName> = Vec::new();
        for (source, checked) in folder {
            let of_file = self.fleet_of_file(&source.file);
            let faults: Vec<String> = checked.faults.iter().map(ToString::to_string).collect();
            let Some(policy) = checked.policy else {
                let fleet = checked.fleet.filter(|fleet| self.statutes.contains_key(fleet)).or(of_file);
                match fleet.and_then(|fleet| self.statutes.get_mut(&fleet).map(|statute| (fleet, statute))) {
                    Some((fleet, statute)) => {
                        statute.faults = faults;
                        statute.gone = false;
                        statute.proposed = None;
                        seen.push(fleet);
                    }
                    None => self.strangers.extend(faults),
                }
                continue;
            };
            if let Some(old) = of_file.filter(|old| *old != policy.fleet) {
                if has_vms(&old) {
                    let fault = format!(
                        "{}: fleet = \"{}\" renames the fleet {old}, which has VMs; the last good text stays in force; \
                         rename it back, or evacuate {old} first",
                        source.file, policy.fleet
                    );
                    seen.push(old.clone());
                    if let Some(statute) = self.statutes.get_mut(&old) {
                        statute.faults = vec![fault];
                        statute.gone = false;
                        statute.proposed = None;
                    }
                    continue;
                }
                self.statutes.remove(&old);
            }
            let fleet = policy.fleet.clone();
            seen.push(fleet.clone());
            let text = Text { digest: policy::digest(&source), source, policy };
            match self.statutes.get_mut(&fleet) {
                Some(statute) => statute.offer(text),
                None => {
                    let mut statute = Statute::new(text.clone());
                    statute.proposed = Some(text);
                    self.statutes.insert(fleet, statute);
                }
            }
        }
        for (fleet, statute) in &mut self.statutes {
            if !seen.contains(fleet) {
                statute.gone = true;
                statute.proposed = None;
                statute.held = None;
            }
        }
    }

    /// Puts into force what is proposed and would not tear down too much; holds the rest. Returns the fleets whose text in
    /// force is new and must be recorded.
    pub fn enact(
        &mut self,
        fleets: &BTreeMap<FleetName, Fleet>,
        targets: &dyn Fn(&FleetName, &Policy) -> u32,
    ) -> Vec<FleetName> {
        let mut enacted = Vec::new();
        let nothing = Fleet::default();
        for (name, statute) in &mut self.statutes {
            let Some(text) = statute.proposed.take() else { continue };
            let fleet = fleets.get(name).unwrap_or(&nothing);
            let loss = loss_by_policy(fleet, &text.policy, targets(name, &text.policy));
            let in_force = &statute.in_force.policy;
            if loss.is_too_much(in_force, targets(name, in_force)) && statute.in_force.digest != text.digest {
                statute.held = Some(Held { text, loss });
            } else {
                statute.in_force = text;
                statute.held = None;
                enacted.push(name.clone());
            }
        }
        enacted
    }

    /// The operator applies a held edit. Says whether there was one.
    pub fn apply(&mut self, fleet: &FleetName) -> bool {
        let Some(statute) = self.statutes.get_mut(fleet) else { return false };
        match statute.held.take() {
            Some(held) => {
                statute.in_force = held.text;
                true
            }
            None => false,
        }
    }

    /// Forgets a fleet whose file is gone and that has nothing left.
    pub fn forget(&mut self, fleet: &FleetName) {
        self.statutes.remove(fleet);
    }

    fn fleet_of_file(&self, file: &str) -> Option<FleetName> {
        let of =
            |(fleet, statute): (&FleetName, &Statute)| (statute.in_force.source.file == file).then(|| fleet.clone());
        self.statutes.iter().find_map(of)
    }
}

impl Statute {
    fn offer(&mut self, text: Text) {
        self.faults.clear();
        self.gone = false;
        if text.digest == self.in_force.digest {
            // The same text; under another file name it is recorded anew, so that a restart knows the file by it.
            let moved = text.source.file != self.in_force.source.file;
            self.proposed = moved.then_some(text);
            self.held = None;
        } else if self.held.as_ref().is_none_or(|held| held.text.digest != text.digest) {
            self.held = None;
            self.proposed = Some(text);
        }
    }
}
