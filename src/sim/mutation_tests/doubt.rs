//! Scenes about what was asked for and may be there: intents, names, answers that are lost, VMs that are shown late.

use super::play::{Play, SETTINGS, TRAIN, edited, free, one, world_of};
use crate::{
    engine::Lever,
    sim::{Call, Fault, check::Promise, power::Power},
};
use jiff::SignedDuration;
use std::time::Duration;

/// A VM is rented.
pub async fn a_vm_is_rented() -> Play {
    let mut play = Play::of(&one()).await;
    play.ticks(3).await;
    play
}

/// A fleet is rented, and grows.
pub async fn a_fleet_grows() -> Play {
    let mut play = Play::of(TRAIN).await;
    play.ticks(3).await;
    play.target(10).await;
    play.ticks(2).await;
    play
}

/// The journal is restored from a copy that was made before the newest VMs were rented.
pub async fn the_journal_is_an_older_copy() -> Play {
    let mut play = Play::of(&edited(&[("target_gpus = 8", "target_gpus = 2")])).await;
    // Nothing in the copy says that the newer ones are ours: they are strays.
    play.lets_pass = Some(Promise::NothingLost);
    play.ticks(3).await;
    let copy = play.disk.copied(Power::default());
    play.target(4).await;
    play.ticks(3).await;
    play.restore(copy).await.expect("a journal");
    play.tick().await;
    play.target(6).await;
    play.ticks(3).await;
    play
}

/// A deploy is made, and its answer is lost.
pub async fn a_deploy_is_not_answered() -> Play {
    let mut play = Play::of(&one()).await;
    play.break_next(Call::Deploy, Fault::LostAnswer, 1);
    play.ticks(3).await;
    play
}

/// Likewise, and lists do not show what was made for so many seconds.
async fn unanswered_and_hidden(seconds: u64) -> Play {
    let mut play = Play::of(&one()).await;
    play.break_next(Call::Deploy, Fault::LostAnswer, 1);
    play.tick().await;
    play.conceal_newest(seconds);
    play
}

/// What was not answered is shown before it is given up.
pub async fn it_is_shown_within_the_grace() -> Play {
    let mut play = unanswered_and_hidden(270).await;
    play.pass(360).await;
    play
}

/// Likewise, and meanwhile somebody sets the clock forwards.
pub async fn it_is_shown_within_the_grace_and_the_clock_is_set() -> Play {
    let mut play = unanswered_and_hidden(270).await;
    play.wall.step(SignedDuration::from_secs(7_200));
    play.pass(360).await;
    play
}

/// What was not answered is given up, and shown within the late window.
pub async fn it_is_shown_within_the_late_window() -> Play {
    let mut play = unanswered_and_hidden(420).await;
    play.pass(810).await;
    play
}

/// Likewise, and it cannot be deleted at first.
pub async fn what_is_late_cannot_be_deleted_at_first() -> Play {
    let mut play = unanswered_and_hidden(420).await;
    play.break_next(Call::Terminate, Fault::LostRequest, 4);
    play.pass(600).await;
    play
}

/// The daemon is started anew when the grace is over, and of two lists that follow the second shows what was made.
pub async fn a_restart_after_the_grace() -> Play {
    let mut play = unanswered_and_hidden(345).await;
    play.pass(250).await;
    play.restart().await.expect("a journal");
    play.pass(120).await;
    play
}

/// Lists show every second VM, and not the one whose deploy was not answered, until long after the grace.
pub async fn it_is_hidden_behind_lists_that_lack_others_too() -> Play {
    let mut play = Play::of(&edited(&[("target_gpus = 8", "target_gpus = 4")])).await;
    play.ticks(4).await;
    play.break_next(Call::Deploy, Fault::LostAnswer, 1);
    play.target(5).await;
    play.tick().await;
    play.conceal_newest(900);
    play.break_lastingly(Call::Instances, Fault::PartialList);
    play.pass(480).await;
    play
}

/// A VM is outbid, and its bid is raised.
pub async fn a_vm_is_outbid() -> Play {
    let mut play = about_to_be_outbid().await;
    outbid(&play);
    play.ticks(4).await;
    play
}

/// On the one of two small machines on which a VM runs there is no room for anybody else.
async fn about_to_be_outbid() -> Play {
    let mut play = Play::on(world_of("500", &[free(0, 2), free(1, 2)]), SETTINGS, &one()).await;
    play.ticks(5).await;
    play
}

/// Somebody bids a little more than we do.
fn outbid(play: &Play) {
    if let Some(vm) = play.alive().first() {
        let pays = vm.agreed.compute.plus(vm.agreed.compute.share_ppm(20_000));
        play.market().world.intrude(&vm.hostnode, vm.shape.clone(), pays, Duration::from_secs(360_000));
    }
}

/// Likewise, and the answer to the raised bid is lost.
pub async fn a_rebid_is_not_answered() -> Play {
    let mut play = about_to_be_outbid().await;
    play.break_next(Call::Rebid, Fault::LostAnswer, 1);
    outbid(&play);
    play.ticks(4).await;
    play
}

/// A VM is deleted.
pub async fn a_vm_is_deleted() -> Play {
    let mut play = Play::of(&one()).await;
    play.ticks(5).await;
    if let Some(member) = play.members().first() {
        let instance = member.name.to_string();
        play.pull(Lever::Delete { instance }).await;
    }
    play.ticks(3).await;
    play
}

/// A VM is deleted, and the request is lost.
pub async fn a_delete_is_lost() -> Play {
    let mut play = Play::of(&one()).await;
    play.ticks(5).await;
    play.break_next(Call::Terminate, Fault::LostRequest, 4);
    if let Some(member) = play.members().first() {
        let instance = member.name.to_string();
        play.pull(Lever::Delete { instance }).await;
    }
    play.ticks(6).await;
    play
}

/// A VM is deleted, the request is lost, and lists do not show it for a while.
pub async fn a_delete_is_lost_and_the_vm_hidden() -> Play {
    let mut play = Play::of(&edited(&[("target_gpus = 8", "target_gpus = 2")])).await;
    play.ticks(5).await;
    play.break_lastingly(Call::Terminate, Fault::LostRequest);
    play.conceal_newest(600);
    if let Some(newest) = play.alive().pop() {
        play.pull(Lever::Delete { instance: newest.name.to_string() }).await;
    }
    play.ticks(4).await;
    play
}

/// A VM is stopped, for its fleet keeps disks, and started again.
pub async fn a_vm_is_stopped_and_started_again() -> Play {
    let keeps = ("[instance]\n", "[instance]\nscale_down = \"stop\"\n");
    let mut play = Play::of(&edited(&[("target_gpus = 8", "target_gpus = 2"), keeps])).await;
    play.ticks(5).await;
    play.target(1).await;
    play.ticks(3).await;
    play.target(2).await;
    play.ticks(3).await;
    play
}
