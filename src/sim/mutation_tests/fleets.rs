//! Scenes about targets and the operator: how much is rented, what is let go, who says so.

use super::play::{A6000, NOON, Play, SETTINGS, TRAIN, edited, free, machines_with, world_of};
use crate::{
    engine::{Lever, Scope},
    sim::{Absence, Call, Fault, World, WorldOptions},
};
use std::time::Duration;

/// A fleet reaches its target.
pub async fn a_target_is_reached() -> Play {
    let mut play = Play::of(TRAIN).await;
    play.ticks(3).await;
    play
}

/// What was rented on demand goes back to bids, one after another.
pub async fn fallbacks_are_replaced() -> Play {
    let mut without_spot = free(0, 6);
    without_spot.floor_ppm = 2_000_000;
    let with_spot = free(1, 4);
    let id = with_spot.id.clone();
    let mut world = world_of("500", &[without_spot, with_spot]);
    world.vanish(&id, Absence::Hidden, Duration::from_secs(360));
    let fallback = "[on_demand]\nuse = \"fallback\"\nafter = \"1m\"\n";
    let policy = edited(&[("target_gpus = 8", "target_gpus = 4")]) + fallback;
    let mut play = Play::on(world, SETTINGS, &policy).await;
    play.pass(540).await;
    play
}

/// The policy wants a country in which nothing stands.
pub async fn only_elsewhere() -> Play {
    let mut play = Play::of(&(TRAIN.to_owned() + "[hosts]\ncountries = [\"Iceland\"]\n")).await;
    play.ticks(2).await;
    play
}

/// The policy wants one GPU on a machine, and there are fewer machines than GPUs.
pub async fn few_on_one_machine() -> Play {
    let policy = TRAIN.to_owned() + "[hosts]\nmax_gpus_per_hostnode = 1\n";
    let mut play = Play::on(world_of("500", &[free(0, 8), free(1, 8)]), SETTINGS, &policy).await;
    play.ticks(3).await;
    play
}

/// Nothing is to be had by bid, and little of the rest is wanted.
pub async fn few_on_demand() -> Play {
    let mut without_spot = free(0, 6);
    without_spot.floor_ppm = 2_000_000;
    let fallback = "[on_demand]\nuse = \"fallback\"\nafter = \"1m\"\nmax_gpus = 2\n";
    let policy = edited(&[("target_gpus = 8", "target_gpus = 4")]) + fallback;
    let mut play = Play::on(world_of("500", &[without_spot]), SETTINGS, &policy).await;
    play.pass(300).await;
    play
}

/// A fleet that only watches.
pub async fn a_fleet_watches() -> Play {
    let mut play = Play::of(&edited(&[("target_gpus = 8", "mode = \"observe\"\ntarget_gpus = 8")])).await;
    play.ticks(2).await;
    play
}

/// Half of a fleet runs, the other half is protected and still being made, and then there is too much of it.
pub async fn the_ones_that_do_not_run_are_protected() -> Play {
    let still = WorldOptions::still("500".parse().expect("a good literal"));
    let options = WorldOptions { provisioning_s: (240, 240), ..still };
    let world = World::with_machines(1, NOON, options, &machines_with(&[A6000, "v100-sxm2-16gb"]));
    let mut play = Play::on(world, SETTINGS, &edited(&[("target_gpus = 8", "target_gpus = 4")])).await;
    play.pass(330).await;
    play.target(8).await;
    play.tick().await;
    for member in play.members().into_iter().skip(4) {
        play.pull(Lever::Protect { instance: member.name.to_string(), lasting: None }).await;
    }
    play.target(4).await;
    play.ticks(2).await;
    play
}

/// The youngest, which would be the first to go, is protected.
pub async fn the_youngest_is_protected() -> Play {
    let mut play = Play::of(TRAIN).await;
    play.ticks(6).await;
    if let Some(youngest) = play.members().pop() {
        play.pull(Lever::Protect { instance: youngest.name.to_string(), lasting: None }).await;
    }
    play.tick().await;
    play.target(7).await;
    play.ticks(2).await;
    play
}

/// Somebody writes a target of 0 instead of 10.
pub async fn a_slip_of_the_finger() -> Play {
    let mut play = Play::of(TRAIN).await;
    play.ticks(6).await;
    play.write(&edited(&[("target_gpus = 8", "target_gpus = 0")])).await;
    play.ticks(3).await;
    play
}

/// The policy file is gone, and then so is a VM.
pub async fn the_policy_file_is_gone() -> Play {
    let mut play = Play::of(TRAIN).await;
    play.ticks(6).await;
    play.folder().remove("train");
    play.pull(Lever::Reload).await;
    play.tick().await;
    play.lose_one();
    play.pass(600).await;
    play
}

/// More is wanted on a marketplace that the operator paused.
pub async fn a_marketplace_is_paused() -> Play {
    let mut play = Play::of(&edited(&[("target_gpus = 8", "target_gpus = 2")])).await;
    play.ticks(4).await;
    play.pull(Lever::Pause(Scope::Marketplace("tensordock".parse().expect("a good literal")))).await;
    play.target(4).await;
    play.ticks(2).await;
    play
}

/// The one machine there is refuses what it is asked for.
pub async fn a_machine_refuses() -> Play {
    let mut play = Play::on(world_of("500", &[free(0, 4)]), SETTINGS, &super::play::one()).await;
    play.break_next(Call::Deploy, Fault::Refused, 2);
    play.ticks(4).await;
    play
}

/// The machine on which half a fleet stands is offline for long.
pub async fn a_machine_is_offline() -> Play {
    let (first, second) = (free(0, 4), free(1, 4));
    let id = first.id.clone();
    let mut play = Play::on(world_of("500", &[first, second]), SETTINGS, TRAIN).await;
    play.ticks(5).await;
    play.market().world.vanish(&id, Absence::Offline, Duration::from_secs(7_200));
    play.pass(1_080).await;
    play
}
