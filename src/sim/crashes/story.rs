//! The stories: together they make the daemon write every kind of record that it writes by itself, and send every kind of
//! request of every API.

use super::{
    places,
    scene::{Act, Scene},
};
use crate::{
    market::Call,
    sim::{
        Fault, Market,
        power::Side,
        props::{self, DOCK_V2, LIMITS, SETTINGS, VECTORDASH},
        seed::Seed,
    },
};
use std::time::Duration;

/// What comes first in the settings. The late window is short, so that a case that waits for its end does not take long.
const TIMES: &str = "scan_interval = \"30s\"\nsettle_grace = \"90s\"\nlate_window = \"5m\"\n";

/// Four GPUs by bid, in VMs of two.
const BIDDING: &str = r#"target_gpus = 4
models = ["geforcertx3090-pcie-24gb", "rtxa6000-pcie-48gb"]
"#;

/// GPUs on demand, one to a VM, wherever they are cheapest.
const BUYING: &str = r#"target_gpus = 2
preference = "value"
models = ["v100-pcie-16gb", "geforcertx3090-pcie-24gb", "geforcegtx1070-pcie-8gb"]
[on_demand]
use = "always"
"#;

/// A policy that wants this, in VMs of so many GPUs.
fn policy(wants: &str, gpus: u32) -> String {
    format!(
        r#"
fleet = "train"
max_hourly_rate = 6.00
balance_floor = 50.00
{wants}[instance]
gpus = {{ min = {gpus}, max = {gpus} }}
scale_down = "delete"
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIaXnsdHVQJ8sp4Vj2p0Y3z9cQ0nXkzYXn2Qz6m0N6Y demo"
[disruption]
max_unavailable = "100%"
max_scale_down = "100%"
cooldown_down = "30s"
"#
    )
}

/// Settings of one marketplace whose account nobody can read.
fn unreadable(marketplace: &str, account: &str) -> String {
    [TIMES, LIMITS, marketplace, &props::unreadable(account, "40")].concat()
}

/// A fleet, where it is, and what happens to it.
#[derive(Clone, Debug)]
pub struct Story {
    /// What it is called.
    pub name: &'static str,
    /// Where it is set.
    pub market: fn(Seed) -> Market,
    /// `spotscale.toml`.
    pub settings: String,
    /// The policy of its one fleet, `train`.
    pub policy: String,
    /// The power goes on this side of the first deploy, before anything else can go wrong; `None`: it does not.
    pub prologue: Option<Side>,
    /// What happens, in order.
    pub scenes: Vec<Scene>,
}

/// More than any bid may be, in micros.
const TOO_MUCH: u64 = 5_000_000;
/// A little more than ours.
const A_LITTLE: u64 = 50_000;
/// Seconds after which a VM is listed that has just been given up, and that was given up long ago.
const LATE_S: u64 = 110;
const TOO_LATE_S: u64 = 300;
/// A VM that is called like one of ours.
const STRAY: &str = "spotscale-train-zzzz-1";

fn scenes(scenes: impl IntoIterator<Item = (Act, u32)>) -> Vec<Scene> {
    scenes.into_iter().map(|(act, gpus)| Scene { act, gpus }).collect()
}

/// Four GPUs by bid at TensorDock, and this.
fn bidding(name: &'static str, acts: impl IntoIterator<Item = (Act, u32)>) -> Story {
    let scenes = scenes(std::iter::once((Act::Nothing, 4)).chain(acts));
    let (settings, policy) = ([TIMES, SETTINGS].concat(), policy(BIDDING, 2));
    Story { name, market: places::dock, settings, policy, prologue: None, scenes }
}

/// Two GPUs on demand at these marketplaces, and this.
fn buying(name: &'static str, settings: String, acts: impl IntoIterator<Item = (Act, u32)>) -> Story {
    let scenes = scenes(std::iter::once((Act::Nothing, 2)).chain(acts));
    Story { name, market: places::shared, settings, policy: policy(BUYING, 1), prologue: None, scenes }
}

impl Story {
    /// The same by another policy: these words become those.
    fn with(mut self, from: &str, to: &str) -> Self {
        self.policy = self.policy.replace(from, to);
        self
    }

    /// The same, and this happens as it begins.
    fn after(mut self, act: Act) -> Self {
        if let Some(first) = self.scenes.first_mut() {
            first.act = act;
        }
        self
    }

    /// The same, and the first deploy is not answered, and its VM listed only after so many seconds.
    fn unlisted_for(mut self, seconds: u64) -> Self {
        self.prologue = Some(Side::Unlisted(Duration::from_secs(seconds)));
        self
    }
}

/// Every story.
pub fn all() -> Vec<Story> {
    let dash = || unreadable(VECTORDASH, "vectordash");
    let mut stories = vec![
        bidding("fill", []),
        bidding("outbid", [(Act::Outbid(A_LITTLE), 4)]),
        bidding("beaten", [(Act::Outbid(TOO_MUCH), 4)]),
        bidding("shrink", [(Act::Target(2), 2), (Act::ClearTarget, 4)]),
        bidding("stop", [(Act::Target(2), 2), (Act::ClearTarget, 4)])
            .with("scale_down = \"delete\"", "scale_down = \"stop\""),
        bidding("lose", [(Act::Lose, 4)]),
        bidding("die", [(Act::Die, 4)]),
        bidding("edit", [(Act::Edit("target_gpus = 4", "target_gpus = 2"), 2)]),
        bidding("held", [(Act::Edit("target_gpus = 4", "target_gpus = 0"), 4), (Act::Apply, 0)])
            .with("max_scale_down = \"100%\"", "max_scale_down = \"1%\""),
        bidding("limits", [(Act::Settle("max_hourly_rate = 40.00", "max_hourly_rate = 0.40"), 2)]),
        bidding("gone", [(Act::Remove, 4), (Act::Evacuate, 0)]),
        bidding("evacuate", [(Act::Protect, 4), (Act::Evacuate, 0), (Act::Resume, 4)]),
        bidding("pause", [(Act::Pause, 4), (Act::Target(2), 4), (Act::Resume, 2)]),
        bidding("adopt", [(Act::Stray(STRAY), 4), (Act::Target(6), 4), (Act::Adopt(STRAY), 6)]),
        bidding("delete", [(Act::Stray(STRAY), 4), (Act::Delete(STRAY), 4)]),
        bidding("tight", [(Act::Lose, 4)]).with("max_hourly_rate = 6.00", "max_hourly_rate = 0.80"),
        bidding("revert", [(Act::Edit("use = \"always\"", "use = \"fallback\""), 4)])
            .with("[instance]", "[on_demand]\nuse = \"always\"\n[instance]"),
        bidding("doubt", [(Act::Break(Call::Terminate, Fault::LostAnswer), 4), (Act::Target(2), 2)])
            .after(Act::Break(Call::Deploy, Fault::LostAnswer)),
        bidding("in vain", [(Act::Break(Call::Terminate, Fault::LostRequest), 4), (Act::Target(2), 2)])
            .after(Act::Break(Call::Deploy, Fault::LostRequest)),
        bidding("refused", []).after(Act::Break(Call::Deploy, Fault::Refused)),
        bidding("outbid in doubt", [(Act::Break(Call::Rebid, Fault::LostAnswer), 4), (Act::Outbid(A_LITTLE), 4)]),
        bidding("rebid in vain", [(Act::Break(Call::Rebid, Fault::Throttled), 4), (Act::Outbid(A_LITTLE), 4)]),
        bidding(
            "stop in doubt",
            [
                (Act::Break(Call::Stop, Fault::LostAnswer), 4),
                (Act::Target(2), 2),
                (Act::Break(Call::Start, Fault::LostRequest), 2),
                (Act::ClearTarget, 4),
            ],
        )
        .with("scale_down = \"delete\"", "scale_down = \"stop\""),
        bidding("late", []).unlisted_for(LATE_S),
        bidding("too late", [(Act::Target(2), 2)]).unlisted_for(TOO_LATE_S),
        buying(
            "span",
            [TIMES, &props::settings_of_all("40")].concat(),
            [(Act::Target(4), 4), (Act::Target(1), 1), (Act::Evacuate, 0)],
        ),
        buying("v2", unreadable(DOCK_V2, "dock-v2"), [(Act::Halt, 2), (Act::Lose, 2), (Act::Evacuate, 0)]),
        buying("dash", dash(), [(Act::Lose, 2), (Act::Target(1), 1)]),
        buying("budget", dash(), [(Act::Settle("max_spend_per_day = 40", "max_spend_per_day = 0.02"), 0)]),
    ];
    let fallback = "[on_demand]\nuse = \"fallback\"\nafter = \"1m\"\n[instance]";
    stories.push(Story { market: places::dock_without_spot, ..bidding("fallback", []).with("[instance]", fallback) });
    stories
}
