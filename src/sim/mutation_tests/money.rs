//! Scenes about money: ceilings, floors, budgets, bids, and bills that are higher than what was agreed.

use super::play::{Play, SETTINGS, TRAIN, edited, one, settings, world};
use crate::{
    engine::Lever,
    sim::{Call, Fate, Fault},
};
use jiff::SignedDuration;
use std::time::Duration;

/// A fleet that costs more than its ceiling if it reaches its target.
pub async fn the_ceiling_is_too_low_for_the_target() -> Play {
    let mut play = Play::of(&edited(&[("max_hourly_rate = 6.00", "max_hourly_rate = 1.00")])).await;
    play.ticks(3).await;
    play
}

/// Likewise the ceiling of all fleets.
pub async fn the_ceiling_of_all_is_too_low() -> Play {
    let low = settings("max_hourly_rate = 40.00", "max_hourly_rate = 1.00");
    let mut play = Play::on(world("500"), &low, TRAIN).await;
    play.ticks(3).await;
    play
}

/// Little is left above the floor, and then nothing.
pub async fn little_is_left_above_the_floor() -> Play {
    let mut play = Play::on(world("50.40"), SETTINGS, TRAIN).await;
    play.ticks(3).await;
    play
}

/// Nobody can read the balance, and the account has a budget that does not stand in for it.
pub async fn nobody_can_read_the_balance() -> Play {
    let budget = format!("{SETTINGS}[accounts.tensordock]\nmax_spend_per_day = 50.00\n");
    let mut play = Play::on(world("500"), &budget, TRAIN).await;
    play.break_lastingly(Call::Balance, Fault::LostRequest);
    play.ticks(2).await;
    play
}

/// Nobody can read the balance any more, and most of it goes. More is wanted a while later.
pub async fn the_balance_goes_unseen() -> Play {
    let mut play = Play::of(&edited(&[("target_gpus = 8", "target_gpus = 2")])).await;
    play.ticks(4).await;
    play.break_lastingly(Call::Balance, Fault::LostRequest);
    play.withdraw("449");
    play.pass(600).await;
    play.target(6).await;
    play.ticks(2).await;
    play
}

/// Likewise, and the clock is set back meanwhile: what was read looks fresh for another hour. Nothing is asked about bids, so
/// that the age of a bid keeps nothing from being rented.
pub async fn the_balance_goes_unseen_and_the_clock_is_set_back() -> Play {
    let always = "[on_demand]\nuse = \"always\"\n";
    let mut play = Play::of(&(edited(&[("target_gpus = 8", "target_gpus = 2")]) + always)).await;
    play.ticks(4).await;
    play.break_lastingly(Call::Balance, Fault::LostRequest);
    play.withdraw("449");
    play.wall.step(SignedDuration::from_secs(-3_600));
    play.pass(600).await;
    play.target(6).await;
    play.ticks(2).await;
    play
}

/// A day's budget that pays a part of the target for a while.
pub async fn a_small_budget() -> Play {
    let budget = format!("scan_interval = \"4m\"\n{SETTINGS}[accounts.tensordock]\nmax_spend_per_day = 1.50\n");
    let mut play = Play::on(world("500"), &budget, TRAIN).await;
    play.pass(9_000).await;
    play
}

/// More is wanted two minutes after the last bid was asked about.
pub async fn more_is_wanted_a_while_later() -> Play {
    let mut play = Play::of(&edited(&[("target_gpus = 8", "target_gpus = 2")])).await;
    play.ticks(5).await;
    play.target(4).await;
    play.ticks(2).await;
    play
}

/// Everybody has to wait for his turn at a marketplace that takes a request every few seconds.
pub async fn turns_come_late() -> Play {
    let slow = settings("requests_per_second = 100", "requests_per_second = 0.1");
    let mut play = Play::on(world("500"), &slow, TRAIN).await;
    play.ticks(4).await;
    play
}

/// A VM is billed half as much again as was agreed.
pub async fn a_vm_is_billed_more() -> Play {
    let mut play = Play::of(&one()).await;
    play.ticks(5).await;
    if let Some(vm) = play.alive().first() {
        play.market().world.foretell(&vm.id, Duration::ZERO, Fate::Overbilled(500_000));
    }
    play.ticks(14).await;
    play
}

/// A fleet is paused before it has anything.
pub async fn a_fleet_is_paused() -> Play {
    let mut play = Play::of(TRAIN).await;
    play.tick().await;
    let fleet = crate::engine::Scope::Fleet("train".parse().expect("a good literal"));
    play.pull(Lever::Pause(fleet)).await;
    play.target(12).await;
    play.ticks(3).await;
    play
}

/// Every machine costs more than the policy ever pays.
pub async fn everything_costs_more_than_the_policy_pays() -> Play {
    let long = "[[models]]\nname = \"rtxa6000-pcie-48gb\"\nmax_price = 0.02\n";
    let plain = "models = [\"rtxa6000-pcie-48gb\", \"v100-sxm2-16gb\"]\n";
    let mut play = Play::of(&(edited(&[(plain, "")]) + long)).await;
    play.ticks(3).await;
    play
}

/// A month's budget that pays a part of the target for a while.
pub async fn a_small_budget_for_the_month() -> Play {
    let budget = format!("scan_interval = \"4m\"\n{SETTINGS}[accounts.tensordock]\nmax_spend_per_month = 1.50\n");
    let mut play = Play::on(world("500"), &budget, TRAIN).await;
    play.pass(9_000).await;
    play
}

/// Somebody writes a limit over all fleets of 0.40 instead of 40.
pub async fn a_slip_of_the_finger_in_the_limits() -> Play {
    let mut play = Play::of(TRAIN).await;
    play.ticks(6).await;
    play.edit_settings(&settings("max_hourly_rate = 40.00", "max_hourly_rate = 0.40")).expect("good settings");
    play.pull(Lever::Reload).await;
    play.ticks(3).await;
    play
}

/// An edit of the fleet's ceiling is held, and then a VM is gone.
pub async fn a_lower_ceiling_is_held() -> Play {
    let mut play = Play::of(TRAIN).await;
    play.ticks(6).await;
    play.write(&edited(&[("max_hourly_rate = 6.00", "max_hourly_rate = 0.60")])).await;
    play.tick().await;
    play.lose_one();
    play.pass(600).await;
    play
}
