//! Which text of each policy is in force, and what keeps the text on disk from being it.
//!
//! Files come, go, break and are renamed while VMs run. The rules (CONTRACT, "Policies come and go"): a text that does
//! not load leaves the last good one in force; a file that is gone leaves its fleet as it is, paused; renaming a fleet is
//! refused while the old one has VMs; and an edit that would tear down too much is held whole until it is applied. All
//! of it is decided here, from values: reading the folder is [`read_folder`], recording what came into force is the
//! caller's.

use super::edits::Loss;
use crate::{
    io::files::Files,
    model::{FleetName, Guard},
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
    /// What it was checked against.
    pub context: Context,
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
    /// Whether the journal knows what is in force. Until the first tick after a new file was read it does not.
    pub is_recorded: bool,
}

impl Statute {
    /// What is in force and recorded.
    pub(super) fn new(in_force: Text) -> Self {
        Self { in_force, proposed: None, held: None, faults: Vec::new(), gone: false, is_recorded: true }
    }

    /// A new fleet's: the first good text of it is its law as soon as that is recorded.
    fn unrecorded(text: Text) -> Self {
        Self { proposed: Some(text.clone()), is_recorded: false, ..Self::new(text) }
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

/// A folder of policies, as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folder {
    /// What could be read, and what came of its check.
    pub texts: Vec<(Source, Checked)>,
    /// Files that are there and could not be read, each with why: broken, not gone.
    pub unread: Vec<(String, String)>,
}

/// Reads and checks a folder of policies.
///
/// # Errors
/// One line, when the folder itself cannot be read: then nothing is known of any file, and nothing changes.
pub fn read_folder(files: &dyn Files, folder: &Path, context: &Context) -> Result<Folder, String> {
    let mut sources = Vec::new();
    let mut unread = Vec::new();
    for path in files.policies(folder)? {
        let shown = path.display().to_string();
        let home = path.parent().unwrap_or(Path::new(""));
        let mut read = |named: &str| files.read(&home.join(named));
        match files.read(&path) {
            Ok(text) => sources.push(policy::gather(&shown, &text, &mut read)),
            Err(why) => unread.push((shown, why)),
        }
    }
    let checked = policy::check_folder(&sources, context);
    Ok(Folder { texts: sources.into_iter().zip(checked).collect(), unread })
}

impl Law {
    /// What was in force when the daemon last ran, each with what it was checked against then. A text that no longer checks
    /// against the settings of now (their defaults changed, say) means what it meant: a fleet is never without its law.
    pub fn remembered(sources: impl IntoIterator<Item = (Source, Option<Context>)>, now: &Context) -> Self {
        let statutes = sources.into_iter().filter_map(|(source, then)| {
            let checked = policy::check(&source, now);
            let (policy, context, faults) = match (checked.policy, then) {
                (Some(policy), _) => (policy, now.clone(), Vec::new()),
                (None, Some(then)) => {
                    let policy = policy::check(&source, &then).policy?;
                    (policy, then, checked.faults.iter().map(ToString::to_string).collect())
                }
                (None, None) => return None,
            };
            let digest = policy::digest(&source);
            let text = Text { source, digest, context, policy };
            Some((text.policy.fleet.clone(), Statute { faults, ..Statute::new(text) }))
        });
        Self { statutes: statutes.collect(), strangers: Vec::new() }
    }

    /// Checks what is in force against new settings: defaults may have changed. What no longer checks means what it meant.
    pub fn recheck(&mut self, context: &Context) {
        for statute in self.statutes.values_mut() {
            if let Some(policy) = policy::check(&statute.in_force.source, context).policy {
                statute.in_force.policy = policy;
                statute.in_force.context.clone_from(context);
            }
        }
    }

    /// Takes in what is on disk now: proposes good texts, notes broken and missing ones. Nothing comes into force here.
    pub fn propose(&mut self, folder: Folder, context: &Context, has_vms: &dyn Fn(&FleetName) -> bool) {
        self.strangers.clear();
        let mut seen: Vec<FleetName> = Vec::new();
        for (file, why) in folder.unread {
            let fleet = self.fleet_of_file(&file);
            match fleet.and_then(|fleet| self.statutes.get_mut(&fleet).map(|statute| (fleet, statute))) {
                Some((fleet, statute)) => {
                    statute.broken(vec![why]);
                    seen.push(fleet);
                }
                None => self.strangers.push(why),
            }
        }
        for (source, checked) in folder.texts {
            let of_file = self.fleet_of_file(&source.file);
            let faults: Vec<String> = checked.faults.iter().map(ToString::to_string).collect();
            let Some(policy) = checked.policy else {
                let fleet = checked.fleet.filter(|fleet| self.statutes.contains_key(fleet)).or(of_file);
                match fleet.and_then(|fleet| self.statutes.get_mut(&fleet).map(|statute| (fleet, statute))) {
                    Some((fleet, statute)) => {
                        statute.broken(faults);
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
                        statute.broken(vec![fault]);
                    }
                    continue;
                }
                self.statutes.remove(&old);
            }
            let fleet = policy.fleet.clone();
            seen.push(fleet.clone());
            let text = Text { digest: policy::digest(&source), source, policy, context: context.clone() };
            match self.statutes.get_mut(&fleet) {
                Some(statute) => statute.offer(text),
                None => drop(self.statutes.insert(fleet, Statute::unrecorded(text))),
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

    /// Puts into force what is proposed and would not tear down too much; holds the rest. `losses` are what each proposed
    /// text would let go; `was_held` says of a text's digest whether it waits for `apply` since before this process: then it
    /// goes on waiting, however little it would let go by now. Returns the fleets whose text in force is new and must be
    /// recorded.
    pub fn enact(
        &mut self,
        losses: &BTreeMap<FleetName, Loss>,
        was_held: impl Fn(&FleetName, &str) -> bool,
    ) -> Vec<FleetName> {
        let mut enacted = Vec::new();
        for (name, statute) in &mut self.statutes {
            let Some(text) = statute.proposed.take() else { continue };
            let loss = losses.get(name).copied().unwrap_or_default();
            let is_modest = !loss.is_too_much() && !was_held(name, &text.digest);
            if !Guard::EditHeld.holds(is_modest) && statute.in_force.digest != text.digest {
                statute.held = Some(Held { text, loss });
            } else {
                statute.in_force = text;
                statute.held = None;
                statute.is_recorded = true;
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
    /// What is on disk is not good: the last good text stays in force.
    fn broken(&mut self, faults: Vec<String>) {
        self.faults = faults;
        self.gone = false;
        self.proposed = (!self.is_recorded).then(|| self.in_force.clone());
    }

    fn offer(&mut self, text: Text) {
        if !self.is_recorded {
            *self = Self::unrecorded(text);
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{InstanceDefaults, SpotOffered};

    fn context() -> Context {
        Context {
            instance_prefix: "spotscale".into(),
            default_ssh_key: Some(
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIaXnsdHVQJ8sp4Vj2p0Y3z9cQ0nXkzYXn2Qz6m0N6Y demo".into(),
            ),
            instance_defaults: InstanceDefaults::default(),
            marketplaces: BTreeMap::from([("tensordock".parse().unwrap(), SpotOffered::Yes)]),
            vocabularies: BTreeMap::new(),
            catalogue_edition: crate::model::catalogue::EDITION,
        }
    }

    fn policy(fleet: &str, target: u32) -> String {
        format!(
            "fleet = \"{fleet}\"\ntarget_gpus = {target}\nmax_hourly_rate = 6.00\nbalance_floor = 50.00\n\
             models = [\"rtxa6000-pcie-48gb\"]\n"
        )
    }

    fn folder(files: &[(&str, String)]) -> Folder {
        let gathered = files.iter().map(|(file, text)| policy::gather(file, text, &mut |_| Err("none".into())));
        let sources: Vec<Source> = gathered.collect();
        let checked = policy::check_folder(&sources, &context());
        Folder { texts: sources.into_iter().zip(checked).collect(), unread: Vec::new() }
    }

    fn fleet(name: &str) -> FleetName {
        name.parse().unwrap()
    }

    fn in_force(law: &Law, name: &str) -> u32 {
        law.statutes[&fleet(name)].in_force.policy.target_gpus
    }

    /// A law in which `train.toml` and nothing else is in force.
    fn law() -> Law {
        let mut law = Law::default();
        law.propose(folder(&[("train.toml", policy("train", 8))]), &context(), &|_| false);
        assert_eq!(law.enact(&BTreeMap::new(), |_, _| false), [fleet("train")]);
        law
    }

    fn loss(vms: u32, gpus: u32) -> BTreeMap<FleetName, Loss> {
        BTreeMap::from([(fleet("train"), Loss { vms, gpus, gpus_max: 4 })])
    }

    /// `simulate --seed 3 --faults hostile --for 4h`: three files were written back, and each time all were read.
    #[test]
    fn a_new_text_that_is_read_twice_before_it_is_recorded_is_recorded() {
        let mut law = Law::default();
        for _ in 0..2 {
            law.propose(folder(&[("train.toml", policy("train", 8))]), &context(), &|_| false);
        }
        assert_eq!(law.enact(&BTreeMap::new(), |_, _| false), [fleet("train")]);
        law.propose(folder(&[("train.toml", policy("train", 8))]), &context(), &|_| true);
        assert_eq!(law.enact(&BTreeMap::new(), |_, _| false), [], "once is enough");
    }

    /// `simulate --seed 5024 --faults hostile --for 24h`: a file was written back, and broken before the next tick.
    #[test]
    fn a_new_text_that_is_broken_or_another_before_it_is_recorded_is_recorded() {
        for (second, target) in [(policy("train", 4), 4), ("fleet = \"train\"\ntarget_gpus = many\n".to_owned(), 8)] {
            let mut law = Law::default();
            law.propose(folder(&[("train.toml", policy("train", 8))]), &context(), &|_| false);
            law.propose(folder(&[("train.toml", second)]), &context(), &|_| false);
            assert_eq!(
                law.enact(&loss(8, 8), |_, _| false),
                [fleet("train")],
                "there was nothing that it could tear down"
            );
            assert_eq!(in_force(&law, "train"), target);
        }
    }

    #[test]
    fn an_edit_that_tears_down_little_comes_into_force() {
        let mut law = law();
        law.propose(folder(&[("train.toml", policy("train", 6))]), &context(), &|_| true);
        assert_eq!(in_force(&law, "train"), 8, "nothing comes into force before it is judged");
        assert_eq!(law.enact(&loss(2, 2), |_, _| false), [fleet("train")]);
        assert_eq!(in_force(&law, "train"), 6);
    }

    #[test]
    fn an_edit_that_tears_down_more_than_half_is_held_whole_until_it_is_applied() {
        let mut law = law();
        law.propose(folder(&[("train.toml", policy("train", 0))]), &context(), &|_| true);
        assert_eq!(law.enact(&loss(8, 8), |_, _| false), []);
        assert_eq!(in_force(&law, "train"), 8);
        // Read again, it stays held, and what is started keeps to the lower of both.
        law.propose(folder(&[("train.toml", policy("train", 0))]), &context(), &|_| true);
        assert_eq!(law.enact(&loss(8, 8), |_, _| false), []);
        assert_eq!(law.statutes[&fleet("train")].start_limits().max_hourly_rate.to_string(), "6.00");
        assert!(law.apply(&fleet("train")));
        assert_eq!(in_force(&law, "train"), 0);
        assert!(!law.apply(&fleet("train")), "there is nothing left to apply");
    }

    #[test]
    fn an_edit_taken_back_is_held_no_longer() {
        let mut law = law();
        law.propose(folder(&[("train.toml", policy("train", 0))]), &context(), &|_| true);
        law.enact(&loss(8, 8), |_, _| false);
        law.propose(folder(&[("train.toml", policy("train", 8))]), &context(), &|_| true);
        assert_eq!(law.enact(&BTreeMap::new(), |_, _| false), []);
        assert_eq!(law.statutes[&fleet("train")].held, None);
    }

    #[test]
    fn one_large_vm_may_go_without_asking() {
        let mut law = law();
        law.propose(folder(&[("train.toml", policy("train", 0))]), &context(), &|_| true);
        assert_eq!(law.enact(&loss(1, 8), |_, _| false), [fleet("train")]);
    }

    #[test]
    fn what_does_not_load_leaves_the_last_good_text_and_names_the_place() {
        let mut law = law();
        law.propose(folder(&[("train.toml", policy("train", 4).replace("6.00", "\"much\""))]), &context(), &|_| true);
        law.enact(&BTreeMap::new(), |_, _| false);
        let statute = &law.statutes[&fleet("train")];
        assert_eq!(statute.in_force.policy.target_gpus, 8);
        assert!(statute.faults[0].starts_with("train.toml:3:"), "{:?}", statute.faults);
        assert!(!statute.gone);
        // Not even readable as TOML: the file is known by its name.
        law.propose(folder(&[("train.toml", "fleet = [".to_owned())]), &context(), &|_| true);
        assert!(!law.statutes[&fleet("train")].faults.is_empty());
        assert_eq!(law.strangers, Vec::<String>::new());
        // And mended.
        law.propose(folder(&[("train.toml", policy("train", 9))]), &context(), &|_| true);
        law.enact(&BTreeMap::new(), |_, _| false);
        assert_eq!((in_force(&law, "train"), law.statutes[&fleet("train")].faults.len()), (9, 0));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_broken_and_the_others_are_read() {
        let mut law = law();
        let mut folder = folder(&[("serve.toml", policy("serve", 2))]);
        folder.unread.push(("train.toml".into(), "cannot read train.toml: permission denied".into()));
        law.propose(folder, &context(), &|_| true);
        law.enact(&BTreeMap::new(), |_, _| false);
        let statute = &law.statutes[&fleet("train")];
        assert_eq!((statute.faults.len(), statute.gone, in_force(&law, "serve")), (1, false, 2));
    }

    #[test]
    fn a_broken_file_of_nobody_is_told_of_beside_the_fleets() {
        let mut law = law();
        law.propose(
            folder(&[("train.toml", policy("train", 8)), ("new.toml", "target_gpus = 1".into())]),
            &context(),
            &|_| true,
        );
        assert!(law.strangers[0].starts_with("new.toml:"), "{:?}", law.strangers);
        assert_eq!(law.statutes.len(), 1);
    }

    #[test]
    fn a_file_that_is_gone_leaves_its_fleet_until_it_returns() {
        let mut law = law();
        law.propose(Folder::default(), &context(), &|_| true);
        law.enact(&BTreeMap::new(), |_, _| false);
        assert!(law.statutes[&fleet("train")].gone);
        assert_eq!(in_force(&law, "train"), 8);
        law.propose(folder(&[("train.toml", policy("train", 8))]), &context(), &|_| true);
        assert!(!law.statutes[&fleet("train")].gone);
    }

    #[test]
    fn a_file_may_be_renamed_a_fleet_with_vms_not() {
        let mut law = law();
        law.propose(folder(&[("learn.toml", policy("train", 8))]), &context(), &|_| true);
        law.enact(&BTreeMap::new(), |_, _| false);
        let statute = &law.statutes[&fleet("train")];
        assert_eq!((statute.gone, statute.in_force.source.file.as_str()), (false, "learn.toml"));

        law.propose(folder(&[("learn.toml", policy("learn", 8))]), &context(), &|_| true);
        law.enact(&BTreeMap::new(), |_, _| false);
        let statute = &law.statutes[&fleet("train")];
        assert!(statute.faults[0].contains("renames the fleet train, which has VMs"), "{:?}", statute.faults);
        assert!(!law.statutes.contains_key(&fleet("learn")));

        law.propose(folder(&[("learn.toml", policy("learn", 8))]), &context(), &|_| false);
        assert_eq!(law.enact(&BTreeMap::new(), |_, _| false), [fleet("learn")]);
        assert!(!law.statutes.contains_key(&fleet("train")));
    }

    #[test]
    fn what_was_in_force_is_in_force_after_a_restart() {
        let law = law();
        let sources = law.statutes.values().map(|statute| (statute.in_force.source.clone(), None));
        assert_eq!(Law::remembered(sources, &context()), law);
    }

    #[test]
    fn what_no_longer_checks_after_a_restart_means_what_it_meant() {
        let law = law();
        let defaults = InstanceDefaults { gpus_min: Some(200), ..InstanceDefaults::default() };
        let stricter = Context { instance_defaults: defaults, ..context() };
        let then = Context::from_text(&context().to_text());
        assert_eq!(then, Some(context()));
        let sources = law.statutes.values().map(|statute| (statute.in_force.source.clone(), then.clone()));
        let remembered = Law::remembered(sources, &stricter);
        let statute = &remembered.statutes[&fleet("train")];
        assert_eq!(statute.in_force, law.statutes[&fleet("train")].in_force);
        assert!(!statute.faults.is_empty(), "and it is told why the text would not load now");
    }
}
