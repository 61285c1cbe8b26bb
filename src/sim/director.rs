//! What happens between two ticks of a rehearsal: to the machine, to the doors, and by the operator's hand.
//!
//! A [`Director`] throws the dice for each kind of trouble, every kind its own, and does what they say to a [`Stage`]. It
//! tells what it did, one line each, and judges nothing. After the power went it does nothing until a tick came to its end:
//! what was done in the dark is judged by the law under which it was done.

use super::{
    doors::Weather,
    faults::Severity,
    plot::{Plot, Turns},
    power::{Cut, Side},
    seed::Dice,
    stage::Stage,
};
use crate::{
    engine::{Lever, LeverError, Scope},
    io::{clock::Clock, net::Response, store::memory::Mishap},
    model::{FleetName, MarketplaceName, Usd},
};
use jiff::SignedDuration;
use std::{collections::BTreeMap, time::Duration};

/// A cut falls on one of the next so many appends or requests.
const AHEAD_MAX: u64 = 40;
/// The most GPUs that an operator asks for.
const TARGET_MAX: u64 = 9;
/// How long a target or a protection lasts: at least so long, so that it outlasts the tick that saw it.
const LEVER_S: (u64, u64) = (600, 7_200);
/// The operator pays in when an account holds less than this.
const POOR: Usd = Usd::from_micros(90_000_000);
/// So much.
const PAID_IN: Usd = Usd::from_micros(400_000_000);
/// In how many of a million ticks a poor operator finds the time to.
const PAY_PPM: u64 = 4_000;

/// What is done, and to whom it is told.
pub(super) struct Director<'p> {
    plot: &'p Plot,
    turns: Turns,
    machine: Dice,
    wall: Dice,
    door: Dice,
    operator: Dice,
    /// Until when a marketplace's door is as it was made, by the monotonic clock.
    doors: BTreeMap<MarketplaceName, Duration>,
    /// How often the operator did something.
    pub moves: u64,
    /// How often the process was killed between two ticks.
    pub kills: u64,
}

fn one_of<'a, T>(dice: &mut Dice, all: &'a [T]) -> Option<&'a T> {
    let last = u64::try_from(all.len()).ok()?.checked_sub(1)?;
    all.get(usize::try_from(dice.between(0, last)).ok()?)
}

fn seconds(dice: &mut Dice, least: u64, most: u64) -> Duration {
    Duration::from_secs(dice.between(least, most.max(least)))
}

impl<'p> Director<'p> {
    pub fn new(plot: &'p Plot) -> Self {
        let dice = |name: &str| plot.seed.dice(&format!("director/{name}"));
        Self {
            plot,
            turns: plot.turns(),
            machine: dice("machine"),
            wall: dice("wall"),
            door: dice("door"),
            operator: dice("operator"),
            doors: BTreeMap::new(),
            moves: 0,
            kills: 0,
        }
    }

    /// Does what happens before the next tick; what it was, a line each.
    ///
    /// # Errors
    /// When a killed daemon does not come up again.
    pub async fn turn(&mut self, stage: &mut Stage) -> Result<Vec<String>, String> {
        let mut told = Vec::new();
        if self.machine.chance_ppm(self.turns.killed_ppm) {
            stage.restart().await?;
            self.kills += 1;
            told.push("the process is killed and starts again".to_owned());
        }
        told.extend(self.cut(stage));
        told.extend(self.set_wall(stage));
        told.extend(self.turn_doors(stage));
        told.extend(self.pay_in(stage));
        if self.operator.chance_ppm(self.turns.lever_ppm) {
            told.extend(self.lever(stage).await);
        }
        if self.operator.chance_ppm(self.turns.edit_ppm) {
            told.extend(self.edit(stage).await);
        }
        Ok(told)
    }

    /// Where the power will go.
    fn cut(&mut self, stage: &Stage) -> Option<String> {
        let power = stage.disk.power();
        let dice = &mut self.machine;
        let ahead = usize::try_from(dice.between(1, AHEAD_MAX)).unwrap_or(1);
        if dice.chance_ppm(self.turns.power_cut_ppm) {
            let cut = match dice.between(0, 3) {
                0 => Cut::Append(power.appends() + ahead, Mishap::DiesBefore),
                1 => Cut::Append(power.appends() + ahead, Mishap::DiesAfter),
                2 => Cut::Request(power.requests() + ahead, Side::Before),
                _ => Cut::Request(power.requests() + ahead, Side::After),
            };
            power.cut_at(cut);
            return Some(format!("the power will go: {cut:?}"));
        }
        if dice.chance_ppm(self.turns.disk_full_ppm) {
            let cut = Cut::Append(power.appends() + ahead, Mishap::Full);
            power.cut_at(cut);
            return Some(format!("the disk will be full: {cut:?}"));
        }
        None
    }

    /// The machine is down for a while, and starts again.
    ///
    /// # Errors
    /// When the daemon does not come up again.
    pub async fn recover(&mut self, stage: &mut Stage) -> Result<String, String> {
        let down = seconds(&mut self.machine, 0, self.turns.down_s_max);
        stage.clock.pass(down);
        stage.restart().await?;
        Ok(format!("the power went, and is back after {} s", down.as_secs()))
    }

    fn set_wall(&mut self, stage: &Stage) -> Option<String> {
        let Turns { wall_ppm, wall_step_s_max, wall_drift_max, .. } = self.turns;
        let dice = &mut self.wall;
        if !dice.chance_ppm(wall_ppm) {
            return None;
        }
        let signed = |dice: &mut Dice, most: u64| {
            let much = i64::try_from(dice.between(1, most.max(1))).unwrap_or(i64::MAX);
            if dice.chance_ppm(500_000) { much } else { -much }
        };
        match dice.between(0, 3) {
            0 => {
                let by = SignedDuration::from_secs(signed(dice, wall_step_s_max));
                stage.wall.step(by);
            }
            1 => stage.wall.drift(signed(dice, wall_drift_max)),
            _ => stage.wall.set_right(),
        }
        Some(format!("the wall clock is set: it is off by {:#}", stage.wall.off_by()))
    }

    fn turn_doors(&mut self, stage: &Stage) -> Vec<String> {
        let mut told = Vec::new();
        let now = stage.clock.monotonic();
        let well: Vec<MarketplaceName> =
            self.doors.iter().filter(|(_, until)| **until <= now).map(|(name, _)| name.clone()).collect();
        for marketplace in well {
            self.doors.remove(&marketplace);
            told.push(format!("{marketplace} answers again"));
            stage.weather(marketplace, None);
        }
        if !self.door.chance_ppm(self.turns.door_ppm) {
            return told;
        }
        let marketplaces: Vec<MarketplaceName> = stage.settings().marketplaces.keys().cloned().collect();
        let dice = &mut self.door;
        let Some(marketplace) = one_of(dice, &marketplaces) else { return told };
        let weather = match dice.between(0, 4) {
            0 => Weather::Hangs,
            1 => Weather::Slow(seconds(dice, 1, 20)),
            2 => Weather::Says(Response::json(500, r#"{"success": false, "error": "Internal Server Error"}"#)),
            3 => Weather::Says(Response::json(401, r#"{"success": false, "error": "Unauthorized"}"#)),
            _ => Weather::Says(Response::json(200, "")),
        };
        let lasting = seconds(dice, 1, self.turns.door_s_max);
        told.push(format!("for {} s at the door of {marketplace}: {weather:?}", lasting.as_secs()));
        self.doors.insert(marketplace.clone(), now.saturating_add(lasting));
        stage.weather(marketplace.clone(), Some(weather));
        told
    }

    /// An account that is nearly empty is filled, sooner or later.
    fn pay_in(&mut self, stage: &Stage) -> Option<String> {
        let mut told = None;
        for (_, market) in stage.markets() {
            let mut market = market.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let market = &mut *market;
            for world in market.elsewhere.values_mut().chain([&mut market.world]) {
                if world.balance() < POOR && self.operator.chance_ppm(PAY_PPM) {
                    world.deposit(PAID_IN);
                    told = Some(format!("the operator pays in {PAID_IN}"));
                }
            }
        }
        told
    }

    /// A lever at the worst time.
    async fn lever(&mut self, stage: &mut Stage) -> Option<String> {
        let status = stage.status();
        let fleets: Vec<FleetName> = status.fleets.keys().cloned().collect();
        let dice = &mut self.operator;
        let fleet = one_of(dice, &fleets)?.clone();
        let scope = match dice.between(0, 5) {
            0 => Scope::All,
            1 => Scope::Marketplace(one_of(dice, &status.markets.keys().cloned().collect::<Vec<_>>())?.clone()),
            _ => Scope::Fleet(fleet.clone()),
        };
        let gpus = u32::try_from(dice.between(0, TARGET_MAX)).unwrap_or_default();
        let lasting = Some(seconds(dice, LEVER_S.0, LEVER_S.1));
        let kind = dice.between(0, 11);
        let member = || -> Option<String> {
            let state = status.situation.as_ref()?.fleets.get(&fleet)?;
            state.fleet.members.keys().next_back().map(ToString::to_string)
        };
        let lever = match kind {
            0 | 1 => Lever::Target { fleet, gpus, lasting },
            2 | 3 => Lever::ClearTarget { fleet },
            4 => Lever::Pause(scope),
            5..=7 => Lever::Resume(scope),
            8 => Lever::Evacuate(Some(fleet)),
            9 => Lever::Delete { instance: member()? },
            10 => Lever::Protect { instance: member()?, lasting },
            _ => Lever::Apply(fleet),
        };
        Some(self.pull(stage, lever).await)
    }

    /// Moves a lever; what came of it.
    pub async fn pull(&mut self, stage: &mut Stage, lever: Lever) -> String {
        self.moves += 1;
        let told = format!("{lever:?}");
        match stage.pull(lever).await {
            Some(Ok(said)) => format!("{told}: {said}"),
            Some(Err(error @ (LeverError::NotFound(_) | LeverError::Refused(_) | LeverError::Failed(_)))) => {
                format!("{told}: not moved: {error}")
            }
            None => format!("{told}: the power went"),
        }
    }

    /// An edit of a policy, noticed at once or only at the next reload.
    async fn edit(&mut self, stage: &mut Stage) -> Vec<String> {
        let dice = &mut self.operator;
        let Some((name, text)) = one_of(dice, &self.plot.policies) else { return Vec::new() };
        let target = dice.between(1, TARGET_MAX);
        let edited = match dice.between(0, 5) {
            0 => Some(with_line(text, "max_hourly_rate", "max_hourly_rate = 0.45")),
            1 => Some(with_line(text, "target_gpus", &format!("target_gpus = {target}"))),
            2 => Some(format!("{text}\nnonsense =")),
            3 => None,
            _ => Some(text.clone()),
        };
        let what = match &edited {
            Some(edited) => {
                stage.folder().write(name, edited);
                let line = edited.lines().find(|line| !text.lines().any(|old| old == *line));
                format!("{name}.toml is written: {}", line.unwrap_or("as it was"))
            }
            None => {
                stage.folder().remove(name);
                format!("{name}.toml is removed")
            }
        };
        let is_noticed = dice.chance_ppm(700_000);
        let mut told = vec![what];
        if is_noticed {
            told.push(self.pull(stage, Lever::Reload).await);
        }
        self.moves += 1;
        told
    }

    /// Everything is as the operator once meant it: doors, clock, files, levers.
    ///
    /// # Errors
    /// When a daemon does not come up.
    pub async fn make_amends(&mut self, stage: &mut Stage) -> Result<Vec<String>, String> {
        let mut told = Vec::new();
        if stage.disk.power().is_off() {
            told.push(self.recover(stage).await?);
        } else {
            // What was to be cut is not cut any more.
            stage.restart().await?;
        }
        for marketplace in std::mem::take(&mut self.doors).into_keys() {
            stage.weather(marketplace, None);
        }
        stage.wall.set_right();
        for (_, market) in stage.markets() {
            let mut market = market.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            market.faults.set_severity(Severity::None);
            let market = &mut *market;
            for world in market.elsewhere.values_mut().chain([&mut market.world]) {
                if world.balance() < PAID_IN {
                    world.deposit(PAID_IN);
                }
            }
        }
        for (name, text) in &self.plot.policies {
            stage.folder().write(name, text);
        }
        told.push(self.pull(stage, Lever::Reload).await);
        let fleets: Vec<FleetName> = stage.status().fleets.keys().cloned().collect();
        for fleet in fleets {
            told.push(self.pull(stage, Lever::ClearTarget { fleet: fleet.clone() }).await);
            told.push(self.pull(stage, Lever::Resume(Scope::Fleet(fleet.clone()))).await);
            told.push(self.pull(stage, Lever::Apply(fleet)).await);
        }
        let marketplaces: Vec<MarketplaceName> = stage.settings().marketplaces.keys().cloned().collect();
        for marketplace in marketplaces {
            told.push(self.pull(stage, Lever::Resume(Scope::Marketplace(marketplace))).await);
        }
        told.push(self.pull(stage, Lever::Resume(Scope::All)).await);
        Ok(told)
    }
}

/// A policy's text with its first line of that key replaced.
fn with_line(text: &str, key: &str, line: &str) -> String {
    let mut is_done = false;
    let lines = text.lines().map(|old| {
        let is_it = !is_done && old.split('=').next().is_some_and(|word| word.trim() == key);
        is_done |= is_it;
        if is_it { line } else { old }
    });
    let mut written: String = lines.collect::<Vec<_>>().join("\n");
    written.push('\n');
    written
}
