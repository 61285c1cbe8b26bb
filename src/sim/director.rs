//! What happens between two ticks of a rehearsal: to the machine, to the doors, and by the operator's hand.
//!
//! A [`Director`] throws the dice for each kind of trouble, every kind its own, and does what they say to a [`Stage`]. It
//! tells what it did, one line each, and judges nothing. After the power went it does nothing until a tick came to its end:
//! what was done in the dark is judged by the law under which it was done.

use super::{
    doors::Weather,
    operator::{Move, Operator, Scene},
    plot::{self, Plot, Turns},
    power::{Cut, Side},
    seed::Dice,
    stage::Stage,
};
use crate::{
    engine::{Lever, LeverError},
    io::{clock::Clock, net::Response, store::memory::Mishap},
    model::{FleetName, HourlyRate, MarketplaceName, Usd, VmName},
    plan::FleetState,
};
use jiff::SignedDuration;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A cut falls on one of the next so many appends or requests.
const AHEAD_MAX: u64 = 40;
/// The operator pays in when an account holds less than this.
const POOR: Usd = Usd::from_micros(90_000_000);
/// So much.
const PAID_IN: Usd = Usd::from_micros(400_000_000);
/// Limits that were edited are made what they were within so long, in seconds.
const LIMITED_S_MAX: u64 = 7_200;

/// Who turns fortune.
pub(super) struct Director<'p> {
    plot: &'p Plot,
    turns: Turns,
    machine: Dice,
    wall: Dice,
    door: Dice,
    purse: Dice,
    limits: Dice,
    /// Until when the limits over all fleets are not what they were, by the monotonic clock.
    limited: Option<Duration>,
    operator: Operator,
    /// Who was there when the operator last looked.
    members: BTreeSet<VmName>,
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
    /// Who directs this plot.
    ///
    /// # Errors
    /// When a policy of the plot is none that anybody could edit.
    pub fn new(plot: &'p Plot, stage: &Stage) -> Result<Self, String> {
        let policies: Vec<(&str, &str)> =
            plot.policies.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let marketplaces: Vec<MarketplaceName> = stage.settings().marketplaces.keys().cloned().collect();
        let operator = Operator::new(plot.seed, &plot.knobs(), &policies, &marketplaces);
        let operator = operator.map_err(|error| error.to_string())?;
        let dice = |name: &str| plot.seed.dice(&format!("director/{name}"));
        Ok(Self {
            plot,
            turns: plot.turns(),
            machine: dice("machine"),
            wall: dice("wall"),
            door: dice("door"),
            purse: dice("purse"),
            limits: dice("limits"),
            limited: None,
            operator,
            members: BTreeSet::new(),
            doors: BTreeMap::new(),
            moves: 0,
            kills: 0,
        })
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
        told.extend(self.limit(stage).await?);
        told.extend(self.operate(stage).await);
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
                if world.balance() < POOR && self.purse.chance_ppm(self.turns.payment_ppm) {
                    world.deposit(PAID_IN);
                    told = Some(format!("the operator pays in {PAID_IN}"));
                }
            }
        }
        told
    }

    /// The operator edits the limits over all fleets, and some time later makes them what they were.
    async fn limit(&mut self, stage: &mut Stage) -> Result<Option<String>, String> {
        let now = stage.clock.monotonic();
        if self.limited.is_some_and(|until| until <= now) {
            self.limited = None;
            return self.write_limits(stage, plot::RATE_MAX, plot::FLOOR).await.map(Some);
        }
        let dice = &mut self.limits;
        if !dice.chance_ppm(self.turns.limits_ppm) {
            return Ok(None);
        }
        let (rate, floor) = (dice.between(10, 200), dice.between(20, 400));
        self.limited = Some(now.saturating_add(seconds(dice, 1, LIMITED_S_MAX)));
        let rate = plot::RATE_MAX.share_ppm(rate * 10_000);
        let floor = Usd::from_micros(plot::FLOOR.micros() / 100 * i64::try_from(floor).unwrap_or(100));
        self.write_limits(stage, rate, floor).await.map(Some)
    }

    async fn write_limits(&mut self, stage: &mut Stage, rate: HourlyRate, floor: Usd) -> Result<String, String> {
        let scan_interval = stage.settings().scan_interval;
        stage.edit_settings(&plot::settings_with(scan_interval, rate, floor))?;
        Ok(format!("[limits] are {rate}/h and {floor}: {}", self.pull(stage, Lever::Reload).await))
    }

    /// What the operator does now.
    async fn operate(&mut self, stage: &mut Stage) -> Vec<String> {
        let mut told = Vec::new();
        let scene = self.scene(stage);
        for step in self.operator.moves(stage.clock.now(), &scene) {
            told.push(self.play(stage, step).await);
        }
        told
    }

    /// What an operator who looks at the status can see.
    fn scene(&mut self, stage: &Stage) -> Scene {
        let status = stage.status();
        let Some(situation) = &status.situation else { return Scene::default() };
        let fleets = || situation.fleets.iter();
        let members: BTreeSet<VmName> = fleets().flat_map(|(_, state)| state.fleet.members.keys().cloned()).collect();
        let in_doubt: u32 = status.markets.values().map(|market| market.in_doubt).sum();
        let strays = |(name, state): (&FleetName, &crate::plan::FleetState)| {
            let strays: Vec<_> = state.fleet.strays.iter().map(|stray| stray.instance.id.clone()).collect();
            strays.into_iter().map(|id| (id, name.clone())).collect::<Vec<_>>()
        };
        let scene = Scene {
            deployed: members.difference(&self.members).count(),
            in_doubt: usize::try_from(in_doubt).unwrap_or(usize::MAX),
            held: status
                .fleets
                .iter()
                .filter(|(_, fleet)| fleet.policy.held.is_some())
                .map(|(name, _)| name.clone())
                .collect(),
            members: members.iter().cloned().collect(),
            strays: fleets().flat_map(strays).collect(),
        };
        self.members = members;
        scene
    }

    /// Plays one move; what came of it.
    async fn play(&mut self, stage: &mut Stage, step: Move) -> String {
        match step {
            Move::Write { file, text } => {
                stage.folder().write(&file, &text);
                let kept = self.plot.policies.iter().find(|(name, _)| *name == file).map_or("", |(_, text)| text);
                let line = text.lines().find(|line| !kept.lines().any(|old| old == *line)).unwrap_or("as it was");
                format!("{file}.toml is written ({line}): {}", self.pull(stage, Lever::Reload).await)
            }
            Move::Remove { file } => {
                stage.folder().remove(&file);
                format!("{file}.toml is removed: {}", self.pull(stage, Lever::Reload).await)
            }
            Move::Pull(lever) => self.pull(stage, lever).await,
        }
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
            market.be_honest();
            let market = &mut *market;
            for world in market.elsewhere.values_mut().chain([&mut market.world]) {
                if world.balance() < PAID_IN {
                    world.deposit(PAID_IN);
                }
            }
        }
        if self.limited.take().is_some() {
            told.push(self.write_limits(stage, plot::RATE_MAX, plot::FLOOR).await?);
        }
        for step in self.operator.amends() {
            told.push(self.play(stage, step).await);
        }
        Ok(told)
    }

    /// The word for what a tick found to tear down much: whatever is held is meant.
    pub async fn apply_held(&mut self, stage: &mut Stage) -> Vec<String> {
        let status = stage.status();
        let Some(situation) = &status.situation else { return Vec::new() };
        let is_held = |state: &FleetState| state.held.is_some() || situation.limits_held.is_some();
        let held = situation.fleets.iter().filter(|(_, state)| is_held(state));
        let held: Vec<FleetName> = held.map(|(fleet, _)| fleet.clone()).collect();
        let mut told = Vec::new();
        for fleet in held {
            told.push(self.pull(stage, Lever::Apply(fleet)).await);
        }
        told
    }
}
