//! What happens to the fleet, scene by scene, so that the daemon makes every kind of call that it can make.
//!
//! | scene   | what happens                                                       | what it needs of the API       |
//! |---------|--------------------------------------------------------------------|--------------------------------|
//! | fill    | a new daemon, a target of four GPUs                                | lists, balance, asking, deploy |
//! | outbid  | somebody bids more for the machines of two of ours                 | rebid, start                   |
//! | shrink  | the operator wants two GPUs; the policy stops what is over         | stop                           |
//! | regrow  | and four again                                                     | start                          |
//! | lose    | two of ours are deleted behind the daemon's back                   | asking by id, deploy           |
//! | edit    | an edit of the policy: two GPUs, and what is over is deleted       | delete                         |
//!
//! Each scene ends when the fleet is at rest again, by the daemon's word and by the market's own, however often the power
//! went meanwhile.

use crate::{stage::Stage, vendor::Vm};
use serde_json::json;
use spotscale::io::net::Method;

/// GPUs of the policy, one to each VM.
const TARGET: u64 = 4;
/// GPUs of the operator's target and of the edited policy.
const SMALLER: u64 = 2;
/// VMs that are outbid, and VMs that are lost: two, so that each call they need is made at least twice.
const VICTIMS: usize = 2;

/// One scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// See the module.
    Fill,
    /// See the module.
    Outbid,
    /// See the module.
    Shrink,
    /// See the module.
    Regrow,
    /// See the module.
    Lose,
    /// See the module.
    Edit,
}

impl Scene {
    /// The whole story.
    pub const ALL: [Self; 6] = [Self::Fill, Self::Outbid, Self::Shrink, Self::Regrow, Self::Lose, Self::Edit];

    /// GPUs that run at its end.
    pub const fn gpus(self) -> u64 {
        match self {
            Self::Fill | Self::Outbid | Self::Regrow | Self::Lose => TARGET,
            Self::Shrink | Self::Edit => SMALLER,
        }
    }

    /// Plays it until the fleet is at rest.
    pub async fn play(self, stage: &mut Stage) -> Result<(), String> {
        let played = match self {
            Self::Fill => stage.rest(TARGET).await.map(drop),
            Self::Outbid => outbid(stage).await,
            Self::Shrink => {
                stage.lever(Method::Put, "fleets/train/target", Some(json!({"gpus": SMALLER}))).await?;
                stage.rest(SMALLER).await.map(drop)
            }
            Self::Regrow => {
                stage.lever(Method::Delete, "fleets/train/target", None).await?;
                stage.rest(TARGET).await.map(drop)
            }
            Self::Lose => lose(stage).await,
            Self::Edit => {
                let target = format!("target_gpus     = {SMALLER}");
                stage.edit(&[("target_gpus     = 4", &target), ("\"stop\"", "\"delete\"")])?;
                stage.rest(SMALLER).await.map(drop)
            }
        };
        played.map_err(|why| format!("{self:?}: {why}"))
    }
}

/// Ours that run, at rest.
async fn running(stage: &mut Stage) -> Result<Vec<Vm>, String> {
    let view = stage.rest(TARGET).await?;
    Ok(view.ours().filter(|vm| vm.holds_gpus()).cloned().collect())
}

async fn outbid(stage: &mut Stage) -> Result<(), String> {
    let mut outbid = 0;
    for (number, vm) in running(stage).await?.iter().enumerate() {
        let rival = format!("rival-{number}");
        if outbid < VICTIMS && stage.vendor.outbid(vm, &rival).await? {
            outbid += 1;
            stage.rivals.push(rival);
        }
    }
    if outbid < VICTIMS {
        return Err(format!("only {outbid} of ours could be outbid"));
    }
    stage.rest(TARGET).await.map(drop)
}

async fn lose(stage: &mut Stage) -> Result<(), String> {
    for vm in running(stage).await?.iter().take(VICTIMS) {
        stage.vendor.delete(vm).await?;
    }
    stage.rest(TARGET).await.map(drop)
}
