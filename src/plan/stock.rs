//! Each resource once: what a plan has taken of the machines that were listed.
//!
//! Machines are known by account and id, so that two APIs of one vendor never sell the same GPU twice: what a plan takes is
//! taken from what each of them listed. What was deployed after a machine was listed is taken from it too, for the list
//! cannot know; and each marketplace has its own list, of its own date.

use super::Situation;
use crate::model::{
    AccountName, Hostnode, HostnodeId, MarketplaceName, Shape,
    offer::{Rates, Supply},
};
use std::{borrow::Cow, collections::BTreeMap};

#[derive(Clone, Debug, Default)]
struct Taken {
    shapes: Vec<Shape>,
    ports: Vec<u16>,
}

impl Taken {
    fn add(&mut self, shape: &Shape, ports: impl IntoIterator<Item = u16>) {
        self.shapes.push(shape.clone());
        self.ports.extend(ports);
    }
}

/// What is taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Stock {
    /// By the plan: from every list of the machine, by account and hostnode.
    planned: BTreeMap<(AccountName, HostnodeId), Taken>,
    /// Since it was listed, from one marketplace's list.
    since: BTreeMap<(MarketplaceName, HostnodeId), Taken>,
}

impl Stock {
    /// What was deployed after the machines were listed, wherever it was deployed.
    pub fn new(situation: &Situation) -> Self {
        let mut stock = Self::default();
        for (marketplace, market) in &situation.markets {
            let Some(listed_at) = market.hostnodes_at else { continue };
            let members = situation.fleets.values().flat_map(|state| state.fleet.members.values());
            let since = members.filter(|member| member.account == market.account && member.intended_at >= listed_at);
            for member in since {
                let taken = stock.since.entry((marketplace.clone(), member.hostnode.clone())).or_default();
                taken.add(&member.shape, member.ports.keys().copied());
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
        self.planned.entry((account.clone(), hostnode.clone())).or_default().add(shape, ports);
    }

    /// What is left of a machine as a marketplace listed it.
    pub fn left<'h>(
        &self,
        marketplace: &MarketplaceName,
        account: &AccountName,
        hostnode: &'h Hostnode,
    ) -> Cow<'h, Hostnode> {
        let planned = self.planned.get(&(account.clone(), hostnode.id.clone()));
        let since = self.since.get(&(marketplace.clone(), hostnode.id.clone()));
        if planned.is_none() && since.is_none() {
            return Cow::Borrowed(hostnode);
        }
        let taken = || planned.into_iter().chain(since);
        let mut left = hostnode.clone();
        left.ports.without(&taken().flat_map(|taken| taken.ports.iter().copied()).collect::<Vec<_>>());
        for shape in taken().flat_map(|taken| &taken.shapes) {
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
    pub fn has(
        &self,
        marketplace: &MarketplaceName,
        account: &AccountName,
        hostnode: &Hostnode,
        shape: &Shape,
        price: Rates,
        ports: &[u16],
    ) -> bool {
        let left = self.left(marketplace, account, hostnode);
        left.ports.may_serve(ports) && left.price(shape).is_ok_and(|(sold, rates)| sold == *shape && rates == price)
    }

    /// An outside port for each inside one, as [`Ports::choose`](crate::model::offer::Ports::choose) says.
    pub fn ports(
        &self,
        marketplace: &MarketplaceName,
        account: &AccountName,
        hostnode: &Hostnode,
        inside: &[u16],
    ) -> Option<BTreeMap<u16, u16>> {
        self.left(marketplace, account, hostnode).ports.choose(inside)
    }
}
