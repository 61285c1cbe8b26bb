//! Whether the operator's levers are in force, by what the operator moved and not by what the daemon remembers.
//!
//! A pause that a restart forgets, or a target that outlives its end, would look to every other check like the law: they go
//! by what the daemon says is ordered. Here is kept what was moved, and held against that. What nobody knows whether it was
//! moved, because the power went meanwhile, is as the daemon says until nothing of it is left.

use super::{Found, Promise};
use crate::{
    engine::{Lever, Scope},
    model::{FleetName, Timestamp, time},
    plan::{FleetState, Order, Situation},
};
use std::collections::{BTreeMap, BTreeSet};

/// What came of moving a lever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It was moved.
    Yes,
    /// It was refused.
    No,
    /// Nobody knows.
    Perhaps,
}

/// What the operator moved.
#[derive(Debug, Default)]
pub(super) struct Levers {
    is_all_paused: bool,
    paused: BTreeSet<FleetName>,
    evacuating: BTreeSet<FleetName>,
    targets: BTreeMap<FleetName, (u32, Option<Timestamp>)>,
    /// Fleets of which nobody knows where their levers stand.
    unsure: BTreeSet<FleetName>,
    is_all_unsure: bool,
    /// Of when the situation was that was looked at last.
    looked_at: Option<Timestamp>,
}

impl Levers {
    /// Nobody knows anything: the journal was lost, or is an older one.
    pub(super) fn forget(&mut self) {
        *self = Self { is_all_unsure: true, ..Self::default() };
    }

    /// A lever was pulled; `now` is the daemon's clock.
    pub(super) fn pulled(&mut self, lever: &Lever, moved: Moved, now: Timestamp, situation: Option<&Situation>) {
        match moved {
            Moved::Yes => self.moved(lever, now, situation),
            Moved::No => {}
            Moved::Perhaps => match lever {
                Lever::Target { fleet, .. }
                | Lever::ClearTarget { fleet }
                | Lever::Pause(Scope::Fleet(fleet))
                | Lever::Resume(Scope::Fleet(fleet))
                | Lever::Evacuate(Some(fleet)) => drop(self.unsure.insert(fleet.clone())),
                Lever::Pause(Scope::All) | Lever::Resume(Scope::All) | Lever::Evacuate(None) => {
                    self.is_all_unsure = true;
                }
                Lever::Pause(Scope::Marketplace(_))
                | Lever::Resume(Scope::Marketplace(_))
                | Lever::Apply(_)
                | Lever::Adopt { .. }
                | Lever::Delete { .. }
                | Lever::Protect { .. }
                | Lever::Reload => {}
            },
        }
    }

    fn moved(&mut self, lever: &Lever, now: Timestamp, situation: Option<&Situation>) {
        match lever {
            Lever::Target { fleet, gpus, lasting } => {
                let until = lasting.map(|lasting| time::after(now, lasting));
                self.targets.insert(fleet.clone(), (*gpus, until));
            }
            Lever::ClearTarget { fleet } => drop(self.targets.remove(fleet)),
            Lever::Pause(Scope::All) => self.is_all_paused = true,
            Lever::Pause(Scope::Fleet(fleet)) => drop(self.paused.insert(fleet.clone())),
            Lever::Resume(Scope::All) => {
                self.is_all_paused = false;
                self.paused.clear();
                self.evacuating.clear();
            }
            Lever::Resume(Scope::Fleet(fleet)) => {
                self.paused.remove(fleet);
                self.evacuating.remove(fleet);
            }
            Lever::Evacuate(Some(fleet)) => drop(self.evacuating.insert(fleet.clone())),
            Lever::Evacuate(None) => match situation {
                Some(situation) => {
                    let acting = situation.fleets.iter().filter(|(_, state)| !situation.is_observing(state));
                    self.evacuating.extend(acting.map(|(name, _)| name.clone()));
                }
                // Which fleets there are this process did not tell yet.
                None => self.is_all_unsure = true,
            },
            Lever::Pause(Scope::Marketplace(_))
            | Lever::Resume(Scope::Marketplace(_))
            | Lever::Apply(_)
            | Lever::Adopt { .. }
            | Lever::Delete { .. }
            | Lever::Protect { .. }
            | Lever::Reload => {}
        }
    }

    /// Every fleet is ordered as the operator ordered it.
    pub(super) fn look(&mut self, found: &mut Found, situation: &Situation) {
        // A tick whose disk was full before it could think leaves the situation as it was: no lever can be in it yet.
        if self.looked_at.replace(situation.now) == Some(situation.now) {
            return;
        }
        let is_plain = |state: &FleetState| state.order == Order::Hold(state.policy.target_gpus);
        for (name, _) in situation.fleets.iter().filter(|(_, state)| is_plain(state)) {
            // Whatever was moved, nothing of it is in force.
            if self.unsure.remove(name) {
                self.paused.remove(name);
                self.evacuating.remove(name);
                self.targets.remove(name);
            }
        }
        if self.is_all_unsure && situation.fleets.values().all(is_plain) {
            *self = Self { looked_at: self.looked_at, ..Self::default() };
        }
        if self.is_all_unsure {
            return;
        }
        for (name, state) in situation.fleets.iter().filter(|(name, _)| !self.unsure.contains(*name)) {
            let told = || format!("{name} is ordered {:?}", state.order);
            let is_evacuating = self.evacuating.contains(name);
            let is_paused = self.is_all_paused || self.paused.contains(name);
            match state.order {
                Order::Evacuate => found.unless(is_evacuating, Promise::Levers, || format!("{}, by nobody", told())),
                // A fleet whose file is gone is paused by that.
                Order::Pause(_) => {
                    found
                        .unless(is_paused || state.policy_broken, Promise::Levers, || format!("{}, by nobody", told()));
                    found.unless(!is_evacuating, Promise::Levers, || format!("{}, and is to be evacuated", told()));
                }
                Order::Hold(_) => {
                    found.unless(!is_paused && !is_evacuating, Promise::Levers, || {
                        format!("{}, and the operator paused or evacuates it", told())
                    });
                }
            }
            if state.order == Order::Evacuate {
                continue;
            }
            let set = self.targets.get(name).filter(|(_, until)| until.is_none_or(|until| situation.now < until));
            let wanted = set.map_or(state.policy.target_gpus, |(gpus, _)| *gpus);
            found.unless(state.target_gpus() == wanted, Promise::Levers, || {
                format!("{}, and is to hold {wanted}", told())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::settled, *};
    use std::time::Duration;

    fn found(levers: &mut Levers, situation: &Situation) -> Vec<Promise> {
        let mut found = Found::default();
        levers.look(&mut found, situation);
        found.0.into_iter().map(|breach| breach.promise).collect()
    }

    #[tokio::test]
    async fn what_the_operator_moved_is_in_force_until_it_ends_and_what_nobody_moved_is_not() {
        let situation = settled().await.status().situation.clone().unwrap().into_value();
        let (now, train): (_, FleetName) = (situation.now, "train".parse().unwrap());
        let found = |levers: &mut Levers, situation: &Situation| {
            levers.looked_at = None;
            found(levers, situation)
        };
        let mut levers = Levers::default();
        assert_eq!(found(&mut levers, &situation), []);
        levers.pulled(&Lever::Pause(Scope::Fleet(train.clone())), Moved::No, now, None);
        assert_eq!(found(&mut levers, &situation), [], "it was refused");
        levers.pulled(&Lever::Pause(Scope::Fleet(train.clone())), Moved::Yes, now, None);
        assert_eq!(found(&mut levers, &situation), [Promise::Levers], "the pause was forgotten");
        let mut paused = situation.clone();
        paused.fleets.get_mut(&train).unwrap().order = Order::Pause(6);
        assert_eq!(found(&mut levers, &paused), []);
        levers.pulled(&Lever::Resume(Scope::All), Moved::Yes, now, None);
        assert_eq!(found(&mut levers, &paused), [Promise::Levers], "the pause outlives its end");
        let lasting = Some(Duration::from_secs(60));
        levers.pulled(&Lever::Target { fleet: train.clone(), gpus: 2, lasting }, Moved::Yes, now, None);
        assert_eq!(found(&mut levers, &situation), [Promise::Levers], "the target was forgotten");
        let later = Situation { now: time::after(now, Duration::from_secs(60)), ..situation };
        assert_eq!(found(&mut levers, &later), [], "the target has ended");
        levers.pulled(&Lever::Pause(Scope::Fleet(train)), Moved::Perhaps, now, None);
        assert_eq!(found(&mut levers, &paused), [], "who knows");
    }

    /// `simulate --seed 3013 --faults hostile --for 12h`: the disk was full in the tick after the lever.
    #[tokio::test]
    async fn a_situation_that_is_not_renewed_cannot_know_of_a_lever() {
        let situation = settled().await.status().situation.clone().unwrap().into_value();
        let (now, fleet) = (situation.now, "train".parse().unwrap());
        let mut levers = Levers::default();
        assert_eq!(found(&mut levers, &situation), []);
        levers.pulled(&Lever::Target { fleet, gpus: 2, lasting: None }, Moved::Yes, now, None);
        assert_eq!(found(&mut levers, &situation), [], "nobody has thought since");
        let later = Situation { now: time::after(now, Duration::from_secs(30)), ..situation };
        assert_eq!(found(&mut levers, &later), [Promise::Levers]);
    }
}
