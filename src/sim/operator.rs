//! An operator who moves at the worst time.
//!
//! Edits a policy right after a deploy, removes it while something is in doubt, pauses, evacuates and changes their mind.
//! What they do is data: a [`Move`] is a file written or removed, or a lever of the engine's; playing it is the business of
//! whoever runs the stage. When they move is drawn from a seed: once the time of a move has come, they wait for trouble, as
//! [`Scene`] tells it, but not for ever.
//!
//! They leave nothing undone by themselves for long, and [`Operator::amends`] restores everything at once, so that what
//! comes after can be judged by the policies as they were.

use super::{
    knobs::Knobs,
    seed::{Dice, Seed},
    twist::up_to,
};
use crate::{
    engine::{Lever, Scope},
    model::{FleetName, HourlyRate, InstanceId, MarketplaceName, Timestamp, Usd, VmName, time},
};
use std::{collections::BTreeMap, time::Duration};
use toml::{Table, Value};

/// The market's day, in seconds.
const DAY_S: u64 = 86_400;
/// So long they wait for trouble, in seconds.
const PATIENCE_S: u64 = 1_800;
/// What they did for a while is undone within so long, in seconds.
const WHILE_S: u64 = 7_200;
/// What is plainly broken is mended within so long, in seconds.
const MENDED_S: u64 = 1_200;
/// One time in so many percent, trouble makes them move twice.
const TWICE_PERCENT: u64 = 40;
/// No policy of theirs wants more GPUs.
const TARGET_GPUS_MAX: u64 = 64;

/// What an operator can see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// VMs that were deployed since the last look.
    pub deployed: usize,
    /// Deploys, deletes and bids whose outcome nobody knows.
    pub in_doubt: usize,
    /// Fleets with an edit that is held.
    pub held: Vec<FleetName>,
    /// VMs of the fleets.
    pub members: Vec<VmName>,
    /// VMs that are named like a fleet's and are not in the journal.
    pub strays: Vec<(InstanceId, FleetName)>,
}

impl Scene {
    /// Whether this is a bad time to touch anything.
    pub const fn is_trouble(&self) -> bool {
        self.deployed > 0 || self.in_doubt > 0 || !self.held.is_empty()
    }
}

/// Something an operator does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// A policy file, by its name without the ending, has this text from now on.
    Write {
        /// Which.
        file: String,
        /// All of it.
        text: String,
    },
    /// A policy file is removed.
    Remove {
        /// Which.
        file: String,
    },
    /// A lever is pulled. The engine may refuse it.
    Pull(Lever),
}

/// Why there is no operator for these policies.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// It is not TOML.
    #[error("the policy {file} does not read, so nobody could edit it")]
    Unreadable {
        /// Which.
        file: String,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// Nobody says whose it is.
    #[error("the policy {file} names no fleet; set fleet = \"…\"")]
    Nameless {
        /// Which.
        file: String,
    },
}

/// A policy that they look after.
#[derive(Clone, Debug)]
struct Kept {
    file: String,
    fleet: FleetName,
    text: String,
    table: Table,
}

/// The operator.
#[derive(Clone, Debug)]
pub struct Operator {
    kept: Vec<Kept>,
    marketplaces: Vec<MarketplaceName>,
    per_day: u64,
    when: Dice,
    what: Dice,
    /// When they want to move next, and until when they wait for trouble. `None` before their first look.
    next: Option<(Timestamp, Timestamp)>,
    /// What they will do then, whatever happens.
    later: BTreeMap<(Timestamp, u64), Move>,
    put_off: u64,
    /// VMs that they protected.
    protected: Vec<VmName>,
}

impl Operator {
    /// Somebody who looks after these policies, each a file's name and its text, and the marketplaces of these names.
    ///
    /// # Errors
    /// When a text is not TOML, or names no fleet.
    pub fn new(
        seed: Seed,
        knobs: &Knobs,
        policies: &[(&str, &str)],
        marketplaces: &[MarketplaceName],
    ) -> Result<Self, OperatorError> {
        let kept = policies.iter().map(|(file, text)| keep(file, text)).collect::<Result<_, _>>()?;
        Ok(Self {
            kept,
            marketplaces: marketplaces.to_vec(),
            per_day: knobs.operator_moves_per_day,
            when: seed.dice("operator/when"),
            what: seed.dice("operator/what"),
            next: None,
            later: BTreeMap::new(),
            put_off: 0,
            protected: Vec::new(),
        })
    }

    /// What they do now, in this order.
    pub fn moves(&mut self, now: Timestamp, scene: &Scene) -> Vec<Move> {
        let mut moves = Vec::new();
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now) {
            moves.push(entry.remove());
        }
        if self.per_day == 0 {
            return moves;
        }
        let (from, until) = match self.next {
            Some(next) => next,
            None => self.think(now),
        };
        if now < from || (now < until && !scene.is_trouble()) {
            return moves;
        }
        let twice = self.when.between(0, 99) < TWICE_PERCENT;
        self.think(now);
        for _ in 0..if twice && scene.is_trouble() { 2 } else { 1 } {
            moves.extend(self.act(now, scene));
        }
        moves
    }

    /// What restores the policies, and resumes all. Some of the levers may be refused, where there is nothing to end.
    pub fn amends(&mut self) -> Vec<Move> {
        self.later.clear();
        let mut moves: Vec<Move> = self.kept.iter().map(restored).collect();
        let mut pull = |lever| moves.push(Move::Pull(lever));
        pull(Lever::Resume(Scope::All));
        for marketplace in &self.marketplaces {
            pull(Lever::Resume(Scope::Marketplace(marketplace.clone())));
        }
        for Kept { fleet, .. } in &self.kept {
            pull(Lever::ClearTarget { fleet: fleet.clone() });
            pull(Lever::Resume(Scope::Fleet(fleet.clone())));
        }
        for name in self.protected.drain(..) {
            pull(Lever::Protect { instance: name.to_string(), lasting: Some(Duration::ZERO) });
        }
        moves
    }

    /// When to move next.
    fn think(&mut self, now: Timestamp) -> (Timestamp, Timestamp) {
        let from = time::after(now, up_to(&mut self.when, 2 * DAY_S / self.per_day.max(1)));
        let next = (from, time::after(from, up_to(&mut self.when, PATIENCE_S)));
        self.next = Some(next);
        next
    }

    /// One of them, at random.
    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let last = u64::try_from(of.len()).ok()?.checked_sub(1)?;
        of.get(usize::try_from(self.what.between(0, last)).ok()?).cloned()
    }

    fn put_off(&mut self, now: Timestamp, seconds_max: u64, undoing: Move) {
        self.put_off = self.put_off.saturating_add(1);
        let then = time::after(now, up_to(&mut self.what, seconds_max));
        self.later.insert((then, self.put_off), undoing);
    }

    /// One move; what ends it is put off.
    fn act(&mut self, now: Timestamp, scene: &Scene) -> Option<Move> {
        let kept = self.pick(&self.kept.clone())?;
        let (file, fleet) = (kept.file.clone(), kept.fleet.clone());
        Some(match self.what.between(0, 19) {
            0..=6 => {
                self.put_off(now, WHILE_S, restored(&kept));
                Move::Write { file, text: self.edited(kept.table) }
            }
            7 => {
                self.put_off(now, MENDED_S, restored(&kept));
                Move::Write { file, text: format!("{}\nmax_hourly_rate = = 1", kept.text) }
            }
            8 => {
                self.put_off(now, MENDED_S, restored(&kept));
                Move::Remove { file }
            }
            9..=11 => {
                let gpus = u32::try_from(self.what.between(0, 2 * target_of(&kept.table))).unwrap_or(0);
                let lasting = up_to(&mut self.what, WHILE_S);
                self.put_off(now, WHILE_S, Move::Pull(Lever::ClearTarget { fleet: fleet.clone() }));
                Move::Pull(Lever::Target { fleet, gpus, lasting: Some(lasting) })
            }
            12..=13 => {
                let scopes = [Scope::All, Scope::Fleet(fleet)].into_iter();
                let scopes = scopes.chain(self.marketplaces.iter().cloned().map(Scope::Marketplace));
                let scope = self.pick(&scopes.collect::<Vec<_>>())?;
                self.put_off(now, WHILE_S, Move::Pull(Lever::Resume(scope.clone())));
                Move::Pull(Lever::Pause(scope))
            }
            14 => {
                self.put_off(now, WHILE_S, Move::Pull(Lever::Resume(Scope::Fleet(fleet.clone()))));
                Move::Pull(Lever::Evacuate(Some(fleet)))
            }
            15..=16 => {
                let name = self.pick(&scene.members)?;
                self.protected.push(name.clone());
                let lasting = up_to(&mut self.what, WHILE_S);
                Move::Pull(Lever::Protect { instance: name.to_string(), lasting: Some(lasting) })
            }
            17 => Move::Pull(Lever::Apply(self.pick(&scene.held)?)),
            18 => {
                let (id, fleet) = self.pick(&scene.strays)?;
                Move::Pull(Lever::Adopt { instance: id.to_string(), fleet })
            }
            _ => {
                let (id, _) = self.pick(&scene.strays)?;
                Move::Pull(Lever::Delete { instance: id.to_string() })
            }
        })
    }

    /// The text with one to three of its numbers changed. It still is a policy.
    fn edited(&mut self, mut table: Table) -> String {
        for _ in 0..self.what.between(1, 3) {
            let percent = self.what.between(20, 200);
            let (section, key, value) = match self.what.between(0, 7) {
                0 => {
                    let most = TARGET_GPUS_MAX.min(2 * target_of(&table));
                    let gpus = i64::try_from(self.what.between(least_target(&table), most)).unwrap_or(1);
                    (None, "target_gpus", Some(Value::Integer(gpus)))
                }
                1 => (None, "max_hourly_rate", scaled_rate(&table, percent)),
                2 => (None, "balance_floor", scaled_floor(&table, percent)),
                3 => (None, "models", self.other_models(&table)),
                4 => (None, "min_runway", self.word(&["30m", "1h", "4h"])),
                5 => (Some("disruption"), "max_surge", self.word(&["1", "2", "50%"])),
                6 => (Some("disruption"), "max_scale_down", self.word(&["10%", "50%", "100%"])),
                _ => (Some("spot"), "bid", self.word(&["adaptive", "market", "cap"])),
            };
            let Some(value) = value else { continue };
            let place = match section {
                None => Some(&mut table),
                Some(section) => {
                    let place = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
                    place.as_table_mut()
                }
            };
            place.and_then(|place| place.insert(key.to_owned(), value));
        }
        table.to_string()
    }

    fn word(&mut self, words: &[&str]) -> Option<Value> {
        self.pick(words).map(|word| Value::String(word.to_owned()))
    }

    /// Fewer models, or the same in another order; those with a table of their own stay as they are.
    fn other_models(&mut self, table: &Table) -> Option<Value> {
        let mut models = table.get("models")?.as_array()?.clone();
        let last = u64::try_from(models.len()).ok()?.checked_sub(1)?;
        models.rotate_left(usize::try_from(self.what.between(0, last)).ok()?);
        models.truncate(usize::try_from(self.what.between(1, last.saturating_add(1))).ok()?);
        Some(Value::Array(models))
    }
}

fn keep(file: &str, text: &str) -> Result<Kept, OperatorError> {
    let table: Table =
        text.parse().map_err(|source| OperatorError::Unreadable { file: file.to_owned(), source: Box::new(source) })?;
    let fleet = table.get("fleet").and_then(Value::as_str).and_then(|name| name.parse().ok());
    let fleet = fleet.ok_or_else(|| OperatorError::Nameless { file: file.to_owned() })?;
    Ok(Kept { file: file.to_owned(), fleet, text: text.to_owned(), table })
}

fn restored(kept: &Kept) -> Move {
    Move::Write { file: kept.file.clone(), text: kept.text.clone() }
}

fn target_of(table: &Table) -> u64 {
    let target = table.get("target_gpus").and_then(Value::as_integer).and_then(|gpus| u64::try_from(gpus).ok());
    target.unwrap_or(1).clamp(1, TARGET_GPUS_MAX)
}

/// A target below what must be on demand is no policy.
fn least_target(table: &Table) -> u64 {
    let base = table.get("on_demand").and_then(|section| section.get("base_gpus")).and_then(Value::as_integer);
    base.and_then(|gpus| u64::try_from(gpus).ok()).unwrap_or(0)
}

/// An amount as it stands in a policy.
fn number(text: &str) -> Option<Value> {
    text.parse().ok().map(Value::Float)
}

fn scaled_rate(table: &Table, percent: u64) -> Option<Value> {
    let rate: HourlyRate = table.get("max_hourly_rate")?.to_string().parse().ok()?;
    number(&rate.share_ppm(percent * 10_000).rounded(10_000).to_string())
}

fn scaled_floor(table: &Table, percent: u64) -> Option<Value> {
    let floor: Usd = table.get("balance_floor")?.to_string().parse().ok()?;
    let micros = floor.micros().checked_mul(i64::try_from(percent).ok()?)? / 100;
    number(&Usd::from_micros(micros).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{self, Context, Source};
    use std::collections::BTreeSet;

    const TRAIN: &str = r#"
fleet = "train"
target_gpus = 6
max_hourly_rate = 5.00
balance_floor = 50
models = ["v100-sxm3-32gb", "geforcertx4090-pcie-24gb", "rtxa6000-pcie-48gb"]
[on_demand]
use = "fallback"
base_gpus = 1
"#;
    const SERVE: &str = "fleet = \"serve\"\ntarget_gpus = 1\nmax_hourly_rate = 1\nbalance_floor = 0\n\
                         [[models]]\nname = \"l40-pcie-48gb\"\nmax_price = 1.0\n";

    fn operator(seed: u64) -> Operator {
        let knobs = Knobs { operator_moves_per_day: 96, ..Knobs::none() };
        Operator::new(Seed(seed), &knobs, &[("a", TRAIN), ("b", SERVE)], &["tensordock".parse().unwrap()]).unwrap()
    }

    fn at(second: u64) -> Timestamp {
        time::after(Timestamp::UNIX_EPOCH, Duration::from_secs(second))
    }

    fn trouble() -> Scene {
        Scene {
            deployed: 1,
            in_doubt: 0,
            held: vec!["train".parse().unwrap()],
            members: vec!["spotscale-train-k3x9-1".parse().unwrap()],
            strays: vec![("s-1".parse().unwrap(), "serve".parse().unwrap())],
        }
    }

    fn week(seed: u64) -> Vec<Move> {
        let mut operator = operator(seed);
        (0..7 * 1_440).flat_map(|minute| operator.moves(at(60 * minute), &trouble())).collect()
    }

    fn kind(one: &Move) -> &'static str {
        match one {
            Move::Write { .. } => "write",
            Move::Remove { .. } => "remove",
            Move::Pull(lever) => match lever {
                Lever::Target { .. } => "target",
                Lever::ClearTarget { .. } => "clear",
                Lever::Pause(_) => "pause",
                Lever::Resume(_) => "resume",
                Lever::Evacuate(_) => "evacuate",
                Lever::Apply(_) => "apply",
                Lever::Adopt { .. } => "adopt",
                Lever::Delete { .. } => "delete",
                Lever::Protect { .. } => "protect",
                Lever::Reload => "reload",
            },
        }
    }

    /// Whether a text would come into force.
    fn faults(text: &str) -> Vec<String> {
        let context = Context {
            instance_prefix: "spotscale".to_owned(),
            default_ssh_key: None,
            instance_defaults: policy::InstanceDefaults::default(),
            marketplaces: [("tensordock".parse().unwrap(), policy::SpotOffered::Yes)].into(),
            vocabularies: BTreeMap::new(),
            catalogue_edition: 0,
        };
        let (file, text) = ("a.toml".to_owned(), text.to_owned());
        let source = Source { file, text, attachments: BTreeMap::new(), unread: BTreeMap::new() };
        policy::check(&source, &context).faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_week_has_every_kind_of_move_and_the_same_seed_the_same_week() {
        let moves = week(1);
        assert_eq!(moves, week(1));
        assert_ne!(moves, week(2));
        let kinds: BTreeSet<&str> = moves.iter().map(kind).collect();
        let all = [
            "adopt", "apply", "clear", "delete", "evacuate", "pause", "protect", "remove", "resume", "target", "write",
        ];
        assert_eq!(kinds, all.into());
    }

    #[test]
    fn an_edit_is_a_policy_that_would_come_into_force_and_a_broken_text_is_none() {
        let (mut other, mut broken) = (BTreeSet::new(), 0);
        for text in (0..5).flat_map(week).filter_map(|one| match one {
            Move::Write { text, .. } => Some(text),
            Move::Remove { .. } | Move::Pull(_) => None,
        }) {
            if text.contains("= =") {
                broken += 1;
                assert!(!faults(&text).is_empty());
            } else {
                assert_eq!(faults(&text), Vec::<String>::new(), "{text}");
                other.insert(text);
            }
        }
        assert!(broken > 5 && other.len() > 150, "{broken} {}", other.len());
    }

    #[test]
    fn they_wait_for_trouble_but_not_for_ever() {
        let first = |scene: &Scene| {
            let mut operator = operator(3);
            operator.moves(at(0), scene);
            let (from, until) = operator.next.unwrap();
            let minutes = (0..1_440).map(|minute| at(60 * minute));
            let mut moved = minutes.filter(|now| !operator.moves(*now, scene).is_empty());
            (moved.next().unwrap(), from, until)
        };
        let (moved, from, _) = first(&trouble());
        assert!(from <= moved && moved < time::after(from, Duration::from_secs(60)));
        let (moved, _, until) = first(&Scene::default());
        assert!(until <= moved && moved < time::after(until, Duration::from_secs(60)));
    }

    #[test]
    fn what_is_done_for_a_while_is_undone_and_amends_restore_all() {
        let mut operator = operator(5);
        for minute in 0..1_440 {
            operator.moves(at(60 * minute), &trouble());
        }
        let amends = operator.amends();
        assert!(amends.contains(&Move::Write { file: "a".into(), text: TRAIN.into() }));
        assert!(amends.contains(&Move::Pull(Lever::Resume(Scope::All))));
        assert!(amends.contains(&Move::Pull(Lever::ClearTarget { fleet: "serve".parse().unwrap() })));
        operator.per_day = 0;
        assert_eq!(operator.moves(at(7 * DAY_S), &trouble()), [], "nothing is left undone");
        let mut moves = week(6);
        let last = moves.iter().rposition(|one| kind(one) == "pause").unwrap();
        assert!(moves.drain(last..).any(|one| kind(&one) == "resume"));
    }

    #[test]
    fn a_policy_that_nobody_could_edit_is_refused_aloud() {
        let refused = |text| {
            let refused = Operator::new(Seed(1), &Knobs::none(), &[("a", text)], &[]);
            refused.unwrap_err().to_string()
        };
        assert_eq!(refused("= 1"), "the policy a does not read, so nobody could edit it");
        assert_eq!(refused("target_gpus = 1"), "the policy a names no fleet; set fleet = \"…\"");
    }
}
