//! The market that the daemon saw, as a value, to be played again.
//!
//! A recording keeps what was known at each decision and at each change of a list. Read in order it is a [`Timeline`]: what
//! each marketplace listed and when that changed, how far bids were known to be accepted, which of our VMs were outbid, and
//! what the accounts held. [`play`] sets the engine on it.
//!
//! ```text
//! rows ─ walk ─▶ Situation ─ read ─▶ Timeline: Moment, Moment, …  ─ play ─▶ the same engine, other policies
//! ```
//!
//! It is a market without the fleet that stood on it: what our own VMs held is given back to the machines, so that others
//! may be rented there in the replay.
//!
//! **What it cannot know** ([`LIMITS`]) is said with every comparison.

pub mod play;

use crate::{
    engine::recording::{
        read::{ReadError, walk},
        replay::ReplayError,
    },
    io::store::Store,
    ledger::Standing,
    model::{
        AccountName, Hostnode, HostnodeId, MarketplaceName, Shape, Timestamp, Usd, VmName,
        offer::{BidAnswer, Ports, Supply},
    },
    plan::{MarketState, Situation},
    policy::terms::PPM,
};
use std::{collections::BTreeMap, ops::ControlFlow};

/// What no replay of a recorded market can know, one line each.
pub const LIMITS: [&str; 6] = [
    "no market impact: what is rented in the replay moves no price, and what was rented then is free again",
    "nobody is outbid but where a VM of ours was outbid then: on that machine, at that time, at up to that bid",
    "a bid is accepted from the least share of the listed price that was accepted there, else from the listed price",
    "nothing is known between two scans, and a machine is as it was last listed",
    "only machines sold by resource are played: what lists GPU types or fixed lots is left out",
    "answers are never lost or late, and an account gets what it was given then",
];

/// What was seen, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Each with what changed since the one before; the first has everything.
    pub moments: Vec<Moment>,
    /// VMs of ours that were found outbid: evidence of a rival.
    pub outbids: Vec<Outbid>,
}

/// What changed at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// By marketplace.
    pub markets: BTreeMap<MarketplaceName, Listing>,
    /// What each account held, where it was known.
    pub balances: BTreeMap<AccountName, Usd>,
}

/// What changed in one marketplace's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Machines that are new, or not as they were.
    pub changed: Vec<Listed>,
    /// Machines that are not listed any more.
    pub gone: Vec<HostnodeId>,
}

/// A machine as it was listed, our own VMs given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The machine.
    pub hostnode: Hostnode,
    /// The least bid that was accepted there lately, in millionths of the listed price of the same compute; `None`: nobody
    /// asked, or nothing was accepted.
    pub floor_ppm: Option<u64>,
    /// While a VM of ours stands outbid there: its bid, likewise. So much was not enough.
    pub outbid_ppm: Option<u64>,
}

/// A VM of ours that was outbid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbid {
    /// Since when.
    pub at: Timestamp,
    /// Which.
    pub name: VmName,
    /// Where.
    pub marketplace: MarketplaceName,
    /// On which machine.
    pub hostnode: HostnodeId,
    /// Its bid, in millionths of what the same compute cost on demand when it was rented.
    pub bid_ppm: u64,
}

/// Reads the rows of a recording since a moment.
///
/// # Errors
/// When the recording cannot be read, or a row says no situation.
pub fn timeline(recording: &dyn Store, since: Timestamp) -> Result<Timeline, ReplayError> {
    let (mut reading, mut failed) = (Reading::default(), None);
    let walked: Result<(), ReadError> = walk(recording, 0, &mut |row| {
        if row.at < since {
            return ControlFlow::Continue(());
        }
        match row.scene.situation() {
            Ok(situation) => {
                reading.take(&situation);
                ControlFlow::Continue(())
            }
            Err(source) => {
                failed = Some(ReplayError::Unreadable { sequence: row.sequence, source });
                ControlFlow::Break(())
            }
        }
    });
    walked?;
    failed.map_or(Ok(reading.timeline), Err)
}

/// A machine on a marketplace.
type Place = (MarketplaceName, HostnodeId);

/// A timeline as it grows.
#[derive(Default)]
struct Reading {
    timeline: Timeline,
    /// As last shown.
    shown: BTreeMap<MarketplaceName, BTreeMap<HostnodeId, Listed>>,
    balances: BTreeMap<AccountName, Usd>,
    /// The least share that was accepted, while none above it was refused since.
    floors: BTreeMap<Place, u64>,
    /// Up to when quotes were taken in.
    quoted_until: BTreeMap<MarketplaceName, Timestamp>,
    /// Outbid VMs, each since when.
    outbid: BTreeMap<VmName, Timestamp>,
}

impl Reading {
    fn take(&mut self, situation: &Situation) {
        let beaten = self.outbids(situation);
        let mut moment = Moment { at: situation.now, markets: BTreeMap::new(), balances: BTreeMap::new() };
        for (name, market) in &situation.markets {
            let listed = self.listed(name, market, situation, &beaten);
            let before = self.shown.get(name);
            let changed = listed.values().filter(|now| before.and_then(|list| list.get(&now.hostnode.id)) != Some(now));
            let gone = before.into_iter().flat_map(BTreeMap::keys).filter(|id| !listed.contains_key(*id));
            let listing = Listing { changed: changed.cloned().collect(), gone: gone.cloned().collect() };
            if listing != Listing::default() {
                moment.markets.insert(name.clone(), listing);
            }
            self.shown.insert(name.clone(), listed);
        }
        for (name, account) in &situation.accounts {
            if let Some(balance) = &account.balance
                && self.balances.insert(name.clone(), balance.value.amount) != Some(balance.value.amount)
            {
                moment.balances.insert(name.clone(), balance.value.amount);
            }
        }
        if !moment.markets.is_empty() || !moment.balances.is_empty() {
            self.timeline.moments.push(moment);
        }
    }

    /// The highest bid of ours that stands beaten on each machine, and a line of evidence for each that is new.
    fn outbids(&mut self, situation: &Situation) -> BTreeMap<Place, u64> {
        let mut beaten: BTreeMap<Place, u64> = BTreeMap::new();
        let mut standing = BTreeMap::new();
        for member in situation.fleets.values().flat_map(|state| state.fleet.members.values()) {
            let Some(bid) = member.bid.filter(|_| member.standing == Standing::Outbid) else { continue };
            let Some(bid_ppm) = share_ppm(bid.micros(), member.on_demand.compute.micros()) else { continue };
            let (marketplace, hostnode) = (member.marketplace.clone(), member.hostnode.clone());
            if self.outbid.get(&member.name) != Some(&member.since) {
                let (name, at) = (member.name.clone(), member.since);
                let (marketplace, hostnode) = (marketplace.clone(), hostnode.clone());
                self.timeline.outbids.push(Outbid { at, name, marketplace, hostnode, bid_ppm });
            }
            standing.insert(member.name.clone(), member.since);
            let most = beaten.entry((marketplace, hostnode)).or_default();
            *most = bid_ppm.max(*most);
        }
        self.outbid = standing;
        beaten
    }

    fn listed(
        &mut self,
        name: &MarketplaceName,
        market: &MarketState,
        situation: &Situation,
        beaten: &BTreeMap<Place, u64>,
    ) -> BTreeMap<HostnodeId, Listed> {
        let mut machines: BTreeMap<HostnodeId, Hostnode> =
            market.hostnodes.iter().map(|hostnode| (hostnode.id.clone(), hostnode.clone())).collect();
        for member in situation.fleets.values().flat_map(|state| state.fleet.members.values()) {
            if member.account == market.account
                && let Some(hostnode) = machines.get_mut(&member.hostnode)
            {
                give_back(hostnode, &member.shape, member.standing, member.ports.keys().copied());
            }
        }
        self.learn(name, market, &machines);
        let listed = machines.into_iter().map(|(id, hostnode)| {
            let place = (name.clone(), id.clone());
            let (floor_ppm, outbid_ppm) = (self.floors.get(&place).copied(), beaten.get(&place).copied());
            (id, Listed { hostnode, floor_ppm, outbid_ppm })
        });
        listed.collect()
    }

    /// What the answers to our bids say that were not taken in yet.
    fn learn(&mut self, name: &MarketplaceName, market: &MarketState, machines: &BTreeMap<HostnodeId, Hostnode>) {
        let until = self.quoted_until.get(name).copied();
        for quote in market.quotes.iter().filter(|quote| until.is_none_or(|until| quote.at > until)) {
            let price = machines.get(&quote.bid.hostnode).and_then(|hostnode| hostnode.price(&quote.bid.shape).ok());
            let share = price.and_then(|(_, rates)| share_ppm(quote.bid.price.micros(), rates.compute.micros()));
            let Some(share) = share else { continue };
            let place = (name.clone(), quote.bid.hostnode.clone());
            let known = self.floors.get(&place).copied();
            match (quote.answer, known) {
                (BidAnswer::Accepted, Some(floor)) if floor <= share => {}
                (BidAnswer::Accepted, _) => drop(self.floors.insert(place, share)),
                // What was known is known no more: so much is refused by now.
                (BidAnswer::Refused, Some(floor)) if floor <= share => drop(self.floors.remove(&place)),
                (BidAnswer::Refused, _) => {}
            }
        }
        if let Some(newest) = market.quotes.iter().map(|quote| quote.at).max() {
            let until = until.map_or(newest, |until| until.max(newest));
            self.quoted_until.insert(name.clone(), until);
        }
    }
}

/// A bid as a share of a price, in millionths, rounded up; `None` of nothing.
fn share_ppm(bid_micros: u64, price_micros: u64) -> Option<u64> {
    (price_micros > 0).then(|| bid_micros.saturating_mul(PPM).div_ceil(price_micros))
}

/// What a VM of ours took from a machine's list is free again.
fn give_back(hostnode: &mut Hostnode, shape: &Shape, standing: Standing, ports: impl Iterator<Item = u16>) {
    let holds = match standing {
        Standing::Pending | Standing::Running | Standing::StoppedKept | Standing::Leaving => true,
        // What was not seen took nothing that a list would show.
        Standing::Outbid | Standing::StoppedReleased | Standing::InDoubt | Standing::Lost => false,
    };
    let Supply::Resources(resources) = &mut hostnode.supply else { return };
    if holds {
        if let Some(stock) = resources.gpus.get_mut(&shape.gpu_model) {
            stock.free = stock.free.saturating_add(shape.gpus);
        }
        resources.vcpus.free = resources.vcpus.free.saturating_add(shape.vcpus);
        resources.ram_gb.free = resources.ram_gb.free.saturating_add(shape.ram_gb);
        resources.storage_gb.free = resources.storage_gb.free.saturating_add(shape.storage_gb);
    }
    if let Ports::Free(free) = &mut hostnode.ports {
        let taken: Vec<u16> = ports.filter(|port| !free.contains(port)).collect();
        free.extend(taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::sample,
        model::{
            GpuModel,
            offer::{Bid, Quote, Resources, Stock},
            time::after,
        },
    };
    use std::time::Duration;

    /// The sampled situation, and the first machine that it lists.
    fn opening() -> (Situation, MarketplaceName, Hostnode) {
        let situation = sample::status().situation.unwrap().into_value();
        let (name, market) = situation.markets.iter().next().unwrap();
        let (name, hostnode) = (name.clone(), market.hostnodes[0].clone());
        (situation, name, hostnode)
    }

    fn later(situation: &mut Situation) {
        situation.now = after(situation.now, Duration::from_secs(60));
    }

    fn read(situations: &[Situation]) -> Timeline {
        let mut reading = Reading::default();
        situations.iter().for_each(|situation| reading.take(situation));
        reading.timeline
    }

    #[test]
    fn a_moment_says_what_changed_and_nothing_else() {
        let (mut situation, name, hostnode) = opening();
        let first = situation.clone();
        later(&mut situation);
        let quiet = situation.clone();
        later(&mut situation);
        situation.markets.get_mut(&name).unwrap().hostnodes[0].uptime_ppm = Some(1);
        let moved = situation.clone();
        later(&mut situation);
        situation.markets.get_mut(&name).unwrap().hostnodes.remove(0);
        let timeline = read(&[first.clone(), quiet, moved.clone(), situation]);
        assert_eq!(timeline.moments.len(), 3);
        assert_eq!(timeline.moments[0].markets[&name].changed.len(), first.markets[&name].hostnodes.len());
        let changed = &timeline.moments[1].markets[&name];
        assert_eq!((changed.changed.len(), changed.changed[0].hostnode.uptime_ppm), (1, Some(1)));
        assert_eq!((timeline.moments[1].at, timeline.moments[1].balances.len()), (moved.now, 0));
        assert_eq!(timeline.moments[2].markets[&name], Listing { changed: vec![], gone: vec![hostnode.id] });
    }

    #[test]
    fn a_floor_is_the_least_share_that_was_accepted_until_so_much_is_refused() {
        let (mut situation, name, mut hostnode) = opening();
        situation.fleets.clear();
        let gpu_model: GpuModel = "l40-pcie-48gb".parse().unwrap();
        let stock = |price: &str| Stock { free: 4_000, price: price.parse().unwrap() };
        hostnode.supply = Supply::Resources(Resources {
            gpus: BTreeMap::from([(gpu_model.clone(), stock("1.00"))]),
            vcpus: stock("0.003"),
            ram_gb: stock("0.002"),
            storage_gb: stock("0.00005"),
            restrictions: BTreeMap::new(),
            rule: crate::sim::host::RULE,
        });
        let shape = Shape { gpu_model, gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 100 };
        let (_, rates) = hostnode.price(&shape).unwrap();
        let market = situation.markets.get_mut(&name).unwrap();
        market.hostnodes = vec![hostnode.clone()].into();
        market.quotes.clear();
        let mut floors = Vec::new();
        let mut reading = Reading::default();
        for (ppm, answer) in [
            (400_000, BidAnswer::Refused),
            (600_000, BidAnswer::Accepted),
            (700_000, BidAnswer::Accepted),
            (500_000, BidAnswer::Accepted),
            (450_000, BidAnswer::Refused),
            (500_000, BidAnswer::Refused),
        ] {
            later(&mut situation);
            let bid = Bid { hostnode: hostnode.id.clone(), shape: shape.clone(), price: rates.compute.share_ppm(ppm) };
            let quote = Quote { at: situation.now, bid, answer };
            situation.markets.get_mut(&name).unwrap().quotes.push(quote);
            reading.take(&situation);
            floors.push(reading.shown[&name][&hostnode.id].floor_ppm.map(|floor| floor / 10_000));
        }
        assert_eq!(floors, [None, Some(60), Some(60), Some(50), Some(50), None]);
    }

    #[test]
    fn an_outbid_vm_is_evidence_once_and_its_bid_is_not_enough_while_it_stands_so() {
        let (mut situation, market, hostnode) = opening();
        let fleet = situation.fleets.keys().next().unwrap().clone();
        let members = situation.fleets.values_mut().flat_map(|state| state.fleet.members.values_mut());
        members.for_each(|member| member.standing = Standing::Running);
        let member = situation.fleets.get_mut(&fleet).unwrap().fleet.members.values_mut().next().unwrap();
        (member.standing, member.bid) = (Standing::Outbid, Some(member.on_demand.compute.share_ppm(500_000)));
        (member.marketplace, member.hostnode) = (market, hostnode.id);
        let (place, name) = ((member.marketplace.clone(), member.hostnode.clone()), member.name.clone());
        let mut reading = Reading::default();
        reading.take(&situation);
        later(&mut situation);
        reading.take(&situation);
        assert_eq!(reading.timeline.outbids.len(), 1);
        let evidence = &reading.timeline.outbids[0];
        assert_eq!((&evidence.name, &evidence.hostnode, evidence.bid_ppm / 1_000), (&name, &place.1, 500));
        let shown = |reading: &Reading| reading.shown[&place.0].get(&place.1).and_then(|listed| listed.outbid_ppm);
        assert_eq!(shown(&reading).map(|ppm| ppm / 1_000), Some(500));
        situation.fleets.get_mut(&fleet).unwrap().fleet.members.get_mut(&name).unwrap().standing = Standing::Running;
        reading.take(&situation);
        assert_eq!(shown(&reading), None);
    }
}
