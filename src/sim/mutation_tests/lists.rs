//! Scenes about lists that lack what is there, and about VMs that are not ours.

use super::play::{Play, SETTINGS, TRAIN, edited, one, settings, stranger, world};
use crate::{
    engine::Lever,
    sim::{Call, Fault, check::Promise, faults::Effected},
};

async fn settled(policy: &str) -> Play {
    let mut play = Play::of(policy).await;
    play.ticks(6).await;
    play
}

/// Lists show every second VM for a while, and nobody answers when the others are asked for by their ids.
pub async fn lists_show_half() -> Play {
    let mut play = settled(TRAIN).await;
    play.break_lastingly(Call::Instances, Fault::PartialList);
    play.break_lastingly(Call::Instance, Fault::LostRequest);
    play.ticks(6).await;
    play
}

/// Everything has run for an hour, and then nobody knows the words any more in which its marketplace says how VMs stand.
pub async fn a_marketplace_speaks_otherwise() -> Play {
    let mut play = settled(TRAIN).await;
    play.pass(3_600).await;
    play.break_lastingly(Call::Instances, Fault::OtherWords);
    play.break_lastingly(Call::Instance, Fault::OtherWords);
    play.pass(1_080).await;
    play
}

/// Lists are empty for twenty minutes, and nobody answers when a VM is asked for by its id.
pub async fn lists_are_empty() -> Play {
    let mut play = settled(&one()).await;
    play.break_lastingly(Call::Instances, Fault::EmptyList);
    play.break_lastingly(Call::Instance, Fault::LostRequest);
    play.pass(1_260).await;
    play
}

/// More is wanted while VMs cannot be listed.
pub async fn more_is_wanted_while_lists_fail() -> Play {
    let mut play = settled(&edited(&[("target_gpus = 8", "target_gpus = 4")])).await;
    play.break_lastingly(Call::Instances, Fault::ServerError(Effected::No));
    play.target(6).await;
    play.ticks(2).await;
    play
}

/// More is wanted while lists show every second VM.
pub async fn more_is_wanted_while_lists_show_half() -> Play {
    let mut play = settled(&edited(&[("target_gpus = 8", "target_gpus = 4")])).await;
    play.break_lastingly(Call::Instances, Fault::PartialList);
    play.target(6).await;
    play.ticks(2).await;
    play
}

/// Less is wanted while lists show every second VM.
pub async fn less_is_wanted_while_lists_show_half() -> Play {
    let mut play = settled(TRAIN).await;
    play.break_lastingly(Call::Instances, Fault::PartialList);
    play.target(5).await;
    play.ticks(2).await;
    play
}

/// The operator wants somebody else's VM deleted whose name begins like ours.
pub async fn the_operator_names_a_look_alike() -> Play {
    let mut world = world("500");
    let theirs = stranger(&mut world, "spotscale-trainer").expect("a stranger's VM");
    let mut play = Play::on(world, SETTINGS, &one()).await;
    play.ticks(3).await;
    play.pull(Lever::Delete { instance: theirs.to_string() }).await;
    play.ticks(2).await;
    play
}

/// In another account somebody has a VM that is called as one of ours was.
pub async fn a_namesake_in_another_account() -> Play {
    let another = "[marketplaces.other]\napi = \"tensordock-v0\"\nkey = { env = \"KEY\" }\ntoken = { env = \"TOKEN\" }\n\
                   requests_per_second = 100\n[marketplaces.tensordock]";
    let two = settings("[marketplaces.tensordock]", another);
    let policy = one().replace("balance_floor", "marketplaces = [\"tensordock\"]\nbalance_floor");
    let mut play = Play::beside_another(world("500"), world("500"), &two, &policy).await;
    play.ticks(5).await;
    if let Some(member) = play.members().first() {
        let name = member.name.to_string();
        play.pull(Lever::Delete { instance: name.clone() }).await;
        play.ticks(3).await;
        let elsewhere = play.doors.elsewhere.values().next().expect("another market");
        let mut elsewhere = elsewhere.lock().expect("nobody panicked");
        stranger(&mut elsewhere.world, &name).expect("a stranger's VM");
    }
    play.ticks(3).await;
    play
}

/// The journal is lost, and what it knew is there.
pub async fn the_journal_is_lost() -> Play {
    let mut play = settled(TRAIN).await;
    // Nothing says any more that they are ours: they are strays.
    play.lets_pass = Some(Promise::NothingLost);
    play.lose_journal().await.expect("a journal");
    play.ticks(3).await;
    play
}

/// On a marketplace where nothing can be asked by id, lists do not show a VM for a while.
pub async fn a_vm_that_nobody_can_ask_about_is_hidden() -> Play {
    let another = "[marketplaces.vectordash]\napi = \"vectordash\"\ntoken = { env = \"TOKEN\" }\n\
                   requests_per_second = 100\n[accounts.vectordash]\nbalance = \"unreadable-ok\"\n\
                   max_spend_per_day = 20.00\n[marketplaces.tensordock]";
    let two = settings("[marketplaces.tensordock]", another);
    let policy = edited(&[
        ("target_gpus = 8", "target_gpus = 2"),
        ("\"rtxa6000-pcie-48gb\", \"v100-sxm2-16gb\"", "\"geforcegtx1070-pcie-8gb\", \"geforcegtx1080-pcie-8gb\""),
    ]);
    let always = "marketplaces = [\"vectordash\"]\nbalance_floor";
    let policy = policy.replace("balance_floor", always) + "[on_demand]\nuse = \"always\"\n";
    let mut play = Play::on(world("500"), &two, &policy).await;
    play.ticks(8).await;
    let vendor = crate::settings::Vendor::Vectordash;
    let there = play.market().world_of(vendor).truth();
    let newest = there.alive().last().map(|vm| vm.id.clone());
    let until = crate::model::time::after(there.at, std::time::Duration::from_secs(100));
    if let Some(id) = newest {
        play.market().conceal(vendor, id, until);
    }
    play.ticks(6).await;
    play
}

/// More is wanted, and nobody has listed the machines for minutes.
pub async fn more_is_wanted_while_machines_are_not_listed() -> Play {
    let mut play = settled(&edited(&[("target_gpus = 8", "target_gpus = 4")])).await;
    play.break_lastingly(Call::Hostnodes, Fault::LostRequest);
    play.ticks(8).await;
    play.target(6).await;
    play.ticks(3).await;
    play
}

/// More is wanted through one API of an account while it fails, and the account's other API lists all there is.
pub async fn one_of_two_apis_does_not_list() -> Play {
    let another = "[marketplaces.other]\napi = \"tensordock-v2\"\ntoken = { env = \"TOKEN\" }\naccount = \"tensordock\"\n\
                   requests_per_second = 100\n[marketplaces.tensordock]";
    let two = settings("[marketplaces.tensordock]", another);
    let policy = edited(&[
        ("target_gpus = 8", "target_gpus = 4"),
        ("balance_floor", "marketplaces = [\"tensordock\"]\nbalance_floor"),
    ]);
    let mut play = Play::on(world("500"), &two, &(policy + "[on_demand]\nuse = \"always\"\n")).await;
    play.ticks(5).await;
    play.market().break_api(crate::settings::Api::TensordockV0, Some(Fault::BadGateway));
    play.target(6).await;
    play.ticks(2).await;
    play
}
