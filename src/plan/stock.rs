//! Each resource once: what a plan has taken of the machines that were listed.
//!
//! Machines are known by account and id, so that two APIs of one vendor never sell the same GPU twice. What was deployed
//! after a machine was listed is taken from it too: the list cannot know.

use super::Situation;
use crate::model::{
    AccountName, Hostnode, HostnodeId, Shape,
    offer::{Rates, Supply},
};
use std::{borrow::Cow, collections::BTreeMap};

#[derive(Clone, Debug, Default)]
struct Taken {
    shapes: Vec<Shape>,
    ports: Vec<u16>,
}

/// What is taken, by account and hostnode.
#[derive(Clone, Debug, Default)]
pub(super) struct Stock {
    taken: BTreeMap<(AccountName, HostnodeId), Taken>,
}

impl Stock {
    /// What was deployed after the machines were listed.
    pub fn new(situation: &Situation) -> Self {
        let mut stock = Self::default();
        let members = situation.fleets.values().flat_map(|state| state.fleet.members.values());
        for member in members {
            let listed_at = situation.markets.get(&member.marketplace).and_then(|market| market.hostnodes_at);
            if listed_at.is_some_and(|listed_at| member.intended_at >= listed_at) {
                stock.take(&member.account, &member.hostnode, &member.shape, member.ports.keys().copied());
            }
        }
        stock
    }

    /// Takes a VM's resources.
    pub fn take(
        &mut self,
        account: &AccountName,
        hostnode: &HostnodeId,
        shape: &Shape,
        ports: impl IntoIterator<Item = u16>,
    ) {
        let taken = self.taken.entry((account.clone(), hostnode.clone())).or_default();
        taken.shapes.push(shape.clone());
        taken.ports.extend(ports);
    }

    /// What is left of a machine.
    pub fn left<'h>(&self, account: &AccountName, hostnode: &'h Hostnode) -> Cow<'h, Hostnode> {
        let Some(taken) = self.taken.get(&(account.clone(), hostnode.id.clone())) else {
            return Cow::Borrowed(hostnode);
        };
        let mut left = hostnode.clone();
        left.ports.without(&taken.ports);
        for shape in &taken.shapes {
            match &mut left.supply {
                Supply::Resources(resources) => {
                    if let Some(stock) = resources.gpus.get_mut(&shape.gpu_model) {
                        stock.free = stock.free.saturating_sub(shape.gpus);
                    }
                    resources.vcpus.free = resources.vcpus.free.saturating_sub(shape.vcpus);
                    resources.ram_gb.free = resources.ram_gb.free.saturating_sub(shape.ram_gb);
                    resources.storage_gb.free = resources.storage_gb.free.saturating_sub(shape.storage_gb);
                }
                Supply::Lots(lots) => {
                    if let Some(at) = lots.iter().position(|lot| lot.sells(shape).as_ref() == Some(shape)) {
                        lots.remove(at);
                    }
                }
            }
        }
        Cow::Owned(left)
    }

    /// Whether a VM of this shape is still to be had there at this on-demand price, with so many ports.
    pub fn has(&self, account: &AccountName, hostnode: &Hostnode, shape: &Shape, price: Rates, ports: &[u16]) -> bool {
        let left = self.left(account, hostnode);
        left.ports.may_serve(ports) && left.price(shape).is_ok_and(|(sold, rates)| sold == *shape && rates == price)
    }

    /// An outside port for each inside one, as [`Ports::choose`](crate::model::offer::Ports::choose) says.
    pub fn ports(&self, account: &AccountName, hostnode: &Hostnode, inside: &[u16]) -> Option<BTreeMap<u16, u16>> {
        self.left(account, hostnode).ports.choose(inside)
    }
}
