//! What happens in a story, scene by scene.

use super::places;
use crate::{
    engine::{Lever, Scope},
    market::Call,
    model::{FleetName, HourlyRate},
    settings::Vendor,
    sim::{Absence, Fault, Origin, Stage, Vm, VmState},
};
use std::{fmt, time::Duration};

/// A rival, and a machine that is away, stay for longer than any story lasts.
const FOR_GOOD: Duration = Duration::from_secs(7 * 86_400);

/// GPUs of a VM that is called like one of ours.
const STRAY_GPUS: u32 = 2;

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Nothing,
    /// The next call of this kind goes wrong in this way, and nobody loses the power.
    Break(Call, Fault),
    /// Somebody bids so many micros more for the machine of one of ours.
    Outbid(u64),
    /// One of ours is deleted behind our back.
    Lose,
    /// One of ours is stopped behind our back.
    Halt,
    /// The machine of one of ours dies.
    Die,
    /// The operator wants so many GPUs.
    Target(u32),
    /// The operator wants what the policy says.
    ClearTarget,
    /// The operator freezes the fleet.
    Pause,
    /// The operator ends that, or an evacuation.
    Resume,
    /// The operator has all torn down.
    Evacuate,
    /// The operator protects one of ours.
    Protect,
    /// Somebody puts a VM there that is called like one of ours; nothing is done about it.
    Stray(&'static str),
    /// The operator takes it into the fleet.
    Adopt(&'static str),
    /// The operator has it deleted.
    Delete(&'static str),
    /// An edit that waits comes into force.
    Apply,
    /// The policy is edited: these words become those.
    Edit(&'static str, &'static str),
    /// The policy's file is removed.
    Remove,
    /// `spotscale.toml` is edited: these words become those.
    Settle(&'static str, &'static str),
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing happens"),
            Self::Break(call, fault) => write!(f, "the next {call} goes wrong: {}", fault.as_str()),
            Self::Outbid(micros) => write!(f, "a rival bids {}/h more", HourlyRate::from_micros(*micros)),
            Self::Lose => f.write_str("a VM is deleted behind our back"),
            Self::Halt => f.write_str("a VM is stopped behind our back"),
            Self::Die => f.write_str("a machine dies"),
            Self::Target(gpus) => write!(f, "the operator wants {gpus} GPUs"),
            Self::ClearTarget => f.write_str("the operator wants what the policy says"),
            Self::Pause => f.write_str("the operator pauses the fleet"),
            Self::Resume => f.write_str("the operator resumes the fleet"),
            Self::Evacuate => f.write_str("the operator evacuates the fleet"),
            Self::Protect => f.write_str("the operator protects a VM"),
            Self::Stray(name) => write!(f, "{name} is put there by somebody else"),
            Self::Adopt(name) => write!(f, "the operator adopts {name}"),
            Self::Delete(name) => write!(f, "the operator deletes {name}"),
            Self::Apply => f.write_str("the operator applies the edit"),
            Self::Edit(from, to) => write!(f, "the policy is edited: {from} becomes {to}"),
            Self::Remove => f.write_str("the policy's file is removed"),
            Self::Settle(from, to) => write!(f, "the settings are edited: {from} becomes {to}"),
        }
    }
}

/// Something that happens, and how the fleet stands when it has come to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    /// What happens.
    pub act: Act,
    /// GPUs that run at its end.
    pub gpus: u32,
}

/// The name of the fleet of every story.
pub fn fleet() -> Option<FleetName> {
    "train".parse().ok()
}

/// All VMs of ours that are there, whichever vendor's, and those that the operator made ours.
pub fn ours(stage: &Stage) -> Vec<(Vendor, Vm)> {
    let market = stage.market();
    let truths = market.truths().into_iter();
    let all = truths.flat_map(|(vendor, truth)| truth.vms.into_iter().map(move |vm| (vendor, vm)));
    let adopted = &stage.watch.operators_own;
    let is_ours = |vm: &Vm| vm.ended.is_none() && (vm.origin == Origin::Api || adopted.contains(&vm.id));
    all.filter(|(_, vm)| is_ours(vm)).collect()
}

impl Act {
    /// Makes the world's part happen, and says what the operator does, if it is his.
    pub fn begin(&self, stage: &mut Stage, policy: &str, settings: &str) -> Result<Option<Lever>, String> {
        let fleet = fleet().ok_or("the fleet has no name")?;
        Ok(match self {
            Self::Nothing => None,
            Self::Break(call, fault) => {
                stage.market().faults.script(*call, *fault);
                None
            }
            Self::Outbid(_) | Self::Lose | Self::Halt | Self::Die => {
                self.befall(stage);
                None
            }
            Self::Stray(name) => {
                places::put_foreign(&mut stage.market().world, Vendor::Tensordock, name, STRAY_GPUS);
                None
            }
            Self::Target(gpus) => Some(Lever::Target { fleet, gpus: *gpus, lasting: None }),
            Self::ClearTarget => Some(Lever::ClearTarget { fleet }),
            Self::Pause => Some(Lever::Pause(Scope::Fleet(fleet))),
            Self::Resume => Some(Lever::Resume(Scope::Fleet(fleet))),
            Self::Evacuate => Some(Lever::Evacuate(Some(fleet))),
            Self::Protect => {
                let one = ours(stage).pop();
                one.map(|(_, vm)| Lever::Protect { instance: vm.name.to_string(), lasting: None })
            }
            Self::Adopt(name) => {
                own(stage, name);
                Some(Lever::Adopt { instance: (*name).to_owned(), fleet })
            }
            Self::Delete(name) => {
                own(stage, name);
                Some(Lever::Delete { instance: (*name).to_owned() })
            }
            Self::Apply => Some(Lever::Apply(fleet)),
            Self::Edit(from, to) => {
                stage.folder().write(fleet.as_str(), &policy.replace(from, to));
                Some(Lever::Reload)
            }
            Self::Remove => {
                stage.folder().remove(fleet.as_str());
                Some(Lever::Reload)
            }
            Self::Settle(from, to) => {
                stage.edit_settings(&settings.replace(from, to))?;
                Some(Lever::Reload)
            }
        })
    }

    /// It befalls one of ours that runs, if there is one.
    fn befall(&self, stage: &Stage) {
        let Some((vendor, vm)) = ours(stage).into_iter().find(|(_, vm)| vm.state == VmState::Running) else { return };
        let mut market = stage.market();
        let world = market.world_of(vendor);
        match self {
            Self::Outbid(micros) => {
                let pays = vm.agreed.compute.plus(HourlyRate::from_micros(*micros));
                world.intrude(&vm.hostnode, vm.shape, pays, FOR_GOOD);
            }
            Self::Lose => drop(world.take_away(&vm.id)),
            Self::Halt => world.halt(&vm.id),
            Self::Die => world.vanish(&vm.hostnode, Absence::Dead, FOR_GOOD),
            Self::Nothing
            | Self::Break(..)
            | Self::Target(_)
            | Self::ClearTarget
            | Self::Pause
            | Self::Resume
            | Self::Evacuate
            | Self::Protect
            | Self::Stray(_)
            | Self::Adopt(_)
            | Self::Delete(_)
            | Self::Apply
            | Self::Edit(..)
            | Self::Remove
            | Self::Settle(..) => {}
        }
    }
}

/// What the operator had done to somebody else's VM is no breach.
fn own(stage: &mut Stage, name: &str) {
    let of_it: Vec<_> = stage.market().world.truth().vms.into_iter().filter(|vm| vm.name.as_str() == name).collect();
    stage.watch.operators_own.extend(of_it.into_iter().map(|vm| vm.id));
}
