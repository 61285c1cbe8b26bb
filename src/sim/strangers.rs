//! Other people's VMs in the same account, with names that look like ours.
//!
//! A world knows neither our prefix nor our fleets. It takes the names that were deployed through its API and makes of them
//! what a careless check would take for ours: the same prefix and fleet with another end, another epoch, a fleet whose name
//! only begins like ours, our very name in another letter case.

use super::{host::RULE, seed::Dice, vm::Origin, world::World};
use crate::{
    market::WorldOrder,
    model::{PriceType, Shape, VmName},
};
use std::collections::BTreeMap;

labels! {
    /// What a stranger's name looks like, made of one of ours, `spotscale-train-k3x9-7`.
    pub enum Guise {
        /// `spotscale-train-xyz`.
        OtherEnd = "other_end",
        /// `spotscale-train-zzzz-7`.
        OtherEpoch = "other_epoch",
        /// `spotscale-train-k3x9-8000`: an order of ours that was never given.
        Unordered = "unordered",
        /// `spotscale-trainer-k3x9-7`.
        LongerFleet = "longer_fleet",
        /// `spotscale-trai-k3x9-7`.
        ShorterFleet = "shorter_fleet",
        /// `SPOTSCALE-TRAIN-K3X9-7`.
        OtherCase = "other_case",
        /// `web-7`.
        Plain = "plain",
    }
}

/// So many times later than one that was given: orders go on from an adopted one, and none of them should come to what another
/// stranger is called.
const NEVER_GIVEN: u64 = 1_000;

impl Guise {
    /// One at random.
    pub fn drawn(dice: &mut Dice) -> Self {
        let last = u64::try_from(Self::ALL.len()).unwrap_or(1).saturating_sub(1);
        let at = usize::try_from(dice.between(0, last)).unwrap_or(0);
        Self::ALL.get(at).copied().unwrap_or(Self::Plain)
    }

    /// A name that is not ours and looks like this one of ours; `None` where ours has not the form that it should.
    pub fn of(self, ours: &VmName) -> Option<VmName> {
        let mut parts = ours.as_str().rsplitn(3, '-');
        let (sequence, epoch, fleet) = (parts.next()?, parts.next()?, parts.next()?);
        let name = match self {
            Self::OtherEnd => format!("{fleet}-xyz"),
            Self::OtherEpoch => format!("{fleet}-zzzz-{sequence}"),
            Self::Unordered => {
                let later = sequence.parse::<u64>().ok()?.saturating_add(1).saturating_mul(NEVER_GIVEN);
                format!("{fleet}-{epoch}-{later}")
            }
            Self::LongerFleet => format!("{fleet}er-{epoch}-{sequence}"),
            Self::ShorterFleet => {
                let shorter = fleet.get(..fleet.len().checked_sub(1)?)?;
                format!("{shorter}-{epoch}-{sequence}")
            }
            Self::OtherCase => ours.as_str().to_uppercase(),
            Self::Plain => format!("web-{sequence}"),
        };
        name.parse().ok().filter(|name| name != ours)
    }
}

/// What a stranger orders: a GPU or two where some are free; `None` where there is nobody to look like, or no room.
pub(super) fn order(world: &World, guise: Guise, dice: &mut Dice) -> Option<WorldOrder> {
    let ours: Vec<&VmName> =
        world.vms.values().chain(&world.past).filter(|vm| vm.origin == Origin::Api).map(|vm| &vm.name).collect();
    let pick = |dice: &mut Dice, of: usize| -> Option<usize> {
        let last = u64::try_from(of).ok()?.checked_sub(1)?;
        usize::try_from(dice.between(0, last)).ok()
    };
    let name = guise.of(ours.get(pick(dice, ours.len())?)?)?;
    let roomy: Vec<_> = world
        .hosts
        .values()
        .filter(|host| host.absence.is_none())
        .filter_map(|host| {
            let used = world.usage(host).gpus;
            let free = |model| used.get(model).copied().unwrap_or(0);
            let (gpu_model, _) = host.racks.iter().find(|(model, rack)| rack.total > free(model))?;
            Some((host, gpu_model.clone()))
        })
        .collect();
    let (host, gpu_model) = roomy.get(pick(dice, roomy.len())?)?;
    let shape = Shape { gpu_model: gpu_model.clone(), gpus: 1, vcpus: 2, ram_gb: 4, storage_gb: 20 };
    let spot = dice.chance_ppm(500_000);
    // Half-way between the least that is accepted and the list price, and up to a quarter less.
    let bid = host.on_demand(&shape).share_ppm(dice.between(550_000, 900_000));
    Some(WorldOrder {
        name,
        hostnode: host.id.clone(),
        shape,
        price_type: if spot { PriceType::Spot } else { PriceType::OnDemand },
        bid: spot.then_some(bid),
        image: "Ubuntu 22.04 LTS".to_owned(),
        ports: BTreeMap::new(),
        rule: RULE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guise_looks_like_a_name_of_ours_and_is_none() {
        let ours: VmName = "spotscale-train-k3x9-7".parse().unwrap();
        let names: Vec<String> = Guise::ALL.iter().map(|guise| guise.of(&ours).unwrap().to_string()).collect();
        assert_eq!(
            names,
            [
                "spotscale-train-xyz",
                "spotscale-train-zzzz-7",
                "spotscale-train-k3x9-8000",
                "spotscale-trainer-k3x9-7",
                "spotscale-trai-k3x9-7",
                "SPOTSCALE-TRAIN-K3X9-7",
                "web-7",
            ]
        );
        assert_eq!(Guise::OtherEnd.of(&"web-7".parse().unwrap()), None);
    }
}
