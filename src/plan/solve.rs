//! Which of the candidates to take: a clean function over candidate lists.
//!
//! **What it optimises** (CONTRACT, "What a plan optimises"): most GPUs within the limits; of those, most of the first
//! preference; of those, the least price per delivered GPU-hour. This answer is greedy: it takes the best that fits and
//! goes on. Only when money is short and a cheaper choice would fill more does it look ahead, taking a candidate only if
//! the cheapest of the rest still fill as much as the cheapest of all would.

use super::{
    Candidate, FleetState, Situation,
    headroom::{Headroom, Need, Short},
    stock::Stock,
};
use crate::model::{
    AccountName, FleetName, Guard, HostnodeId,
    offer::{Bounds, Location},
    reason::Rejected,
};
use std::collections::BTreeMap;

/// While looking ahead, only so many of the best and so many of the cheapest candidates are considered.
const LOOK_AHEAD_CANDIDATES: usize = 24;

/// Why a candidate cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A limit on money.
    Short(Short),
    /// A limit on places.
    Spread(Rejected),
    /// It is taken.
    Taken,
}

/// All that taking a candidate uses up.
#[derive(Clone, Debug)]
pub(super) struct Room<'a> {
    situation: &'a Situation,
    fleet: &'a FleetName,
    state: &'a FleetState,
    headroom: Headroom<'a>,
    stock: Stock,
    on_host: BTreeMap<(AccountName, HostnodeId), u32>,
    in_location: BTreeMap<Location, u32>,
    surge_gpus: u32,
}

/// The most GPUs of a fleet that one place may have: a share of the target, but never less than its smallest VM.
pub(super) fn location_gpus_max(state: &FleetState) -> Option<u32> {
    let ppm = state.policy.hosts.max_share_per_location_ppm?;
    let share = u64::from(state.target_gpus()) * u64::from(ppm) / crate::policy::terms::PPM;
    Some(u32::try_from(share).unwrap_or(u32::MAX).max(state.policy.instance.gpus.min))
}

impl<'a> Room<'a> {
    /// What is left for a fleet. `planned`: what the plan deploys for it already.
    pub fn new(
        situation: &'a Situation,
        fleet: &'a FleetName,
        state: &'a FleetState,
        headroom: &Headroom<'a>,
        stock: &Stock,
        planned: &[super::Action],
        surge_gpus: u32,
    ) -> Self {
        let mut room = Self {
            situation,
            fleet,
            state,
            headroom: headroom.clone(),
            stock: stock.clone(),
            on_host: BTreeMap::new(),
            in_location: BTreeMap::new(),
            surge_gpus,
        };
        for member in state.fleet.members.values() {
            room.settle(&member.account, &member.hostnode, &member.location, member.counted_gpus());
        }
        for action in planned.iter().filter(|action| action.fleet() == fleet) {
            match action {
                super::Action::Deploy(deploy) => {
                    room.settle(&deploy.account, &deploy.hostnode, &deploy.location, deploy.shape.gpus);
                }
                super::Action::Start { subject, .. } => {
                    if let Some(member) = state.fleet.members.get(&subject.name) {
                        let more = member.shape.gpus.saturating_sub(member.counted_gpus());
                        room.settle(&member.account, &member.hostnode, &member.location, more);
                    }
                }
                super::Action::Ask { .. }
                | super::Action::Look { .. }
                | super::Action::Rebid { .. }
                | super::Action::Stop { .. }
                | super::Action::Delete { .. } => {}
            }
        }
        room
    }

    /// Whether a place takes so many GPUs more.
    pub fn spreads(
        &self,
        account: &AccountName,
        hostnode: &HostnodeId,
        location: &Location,
        gpus: u32,
    ) -> Result<(), Rejected> {
        let here = self.on_host.get(&(account.clone(), hostnode.clone())).copied().unwrap_or(0);
        let most = self.state.policy.hosts.max_gpus_per_hostnode;
        if !Guard::HostShare.holds(most.is_none_or(|most| here.saturating_add(gpus) <= most)) {
            return Err(Rejected::HostnodeFull);
        }
        let there = self.in_location.get(location).copied().unwrap_or(0);
        if location_gpus_max(self.state).is_some_and(|most| there.saturating_add(gpus) > most) {
            return Err(Rejected::LocationFull);
        }
        Ok(())
    }

    fn settle(&mut self, account: &AccountName, hostnode: &HostnodeId, location: &Location, gpus: u32) {
        *self.on_host.entry((account.clone(), hostnode.clone())).or_default() += gpus;
        *self.in_location.entry(location.clone()).or_default() += gpus;
    }

    fn account(&self, candidate: &Candidate) -> Option<&'a AccountName> {
        self.situation.markets.get(&candidate.offer.marketplace).map(|market| &market.account)
    }

    /// Whether a candidate can be taken.
    pub fn admits(&self, candidate: &Candidate) -> Result<(), Refused> {
        let offer = &candidate.offer;
        let gpus = offer.shape.gpus;
        let account = self.account(candidate).ok_or(Refused::Taken)?;
        let hostnode = self.situation.hostnode(&offer.marketplace, &offer.hostnode).ok_or(Refused::Taken)?;
        self.spreads(account, &offer.hostnode, &offer.location, gpus).map_err(Refused::Spread)?;
        let need = Need { fleet: self.fleet, account, gpus, rate: candidate.rate, surge_gpus: self.surge_gpus };
        self.headroom.admits(need).map_err(Refused::Short)?;
        let ports = &self.state.policy.instance.ports;
        if !self.stock.has(&offer.marketplace, account, hostnode, &offer.shape, offer.on_demand, ports) {
            return Err(Refused::Taken);
        }
        Ok(())
    }

    /// Takes it.
    pub fn take(&mut self, candidate: &Candidate) {
        let offer = &candidate.offer;
        let Some(account) = self.account(candidate) else { return };
        let Some(hostnode) = self.situation.hostnode(&offer.marketplace, &offer.hostnode) else { return };
        let gpus = offer.shape.gpus;
        let inside = &self.state.policy.instance.ports;
        let ports = self.stock.ports(&offer.marketplace, account, hostnode, inside).unwrap_or_default();
        self.settle(account, &offer.hostnode, &offer.location, gpus);
        let need = Need { fleet: self.fleet, account, gpus, rate: candidate.rate, surge_gpus: 0 };
        self.headroom.take(need);
        self.stock.take(account, &offer.hostnode, &offer.shape, ports.keys().copied());
    }
}

/// What was chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// Candidates by their place in the list, one for each VM.
    pub picks: Vec<usize>,
    /// The first limit on money that kept a candidate out, and which candidate.
    pub short: Option<(usize, Short)>,
    /// Candidates that a limit on places kept out.
    pub spread: BTreeMap<usize, Rejected>,
}

/// Whether so many GPUs can be made up of VMs of these sizes.
pub(super) const fn is_fillable(gpus: u32, sizes: Bounds) -> bool {
    gpus == 0 || gpus.div_ceil(if sizes.max == 0 { 1 } else { sizes.max }).saturating_mul(sizes.min) <= gpus
}

/// Chooses up to `want` GPUs of VMs from candidates in order, best first.
pub(super) fn choose(candidates: &[&Candidate], want: u32, sizes: Bounds, room: &Room<'_>) -> Choice {
    let order: Vec<usize> = (0..candidates.len()).collect();
    let greedy = fill(candidates, &order, want, sizes, &mut room.clone());
    let filled = gpus_of(candidates, &greedy.picks);
    if greedy.short.is_none() || filled >= want {
        return greedy;
    }
    let mut cheapest = order.clone();
    cheapest.sort_by_key(|&at| (per_gpu(candidates[at]), at));
    let most = gpus_of(candidates, &fill(candidates, &cheapest, want, sizes, &mut room.clone()).picks);
    if most <= filled {
        return greedy;
    }
    let ahead = look_ahead(candidates, &order, &cheapest, want, most, sizes, room);
    if gpus_of(candidates, &ahead.picks) > filled { ahead } else { greedy }
}

fn gpus_of(candidates: &[&Candidate], picks: &[usize]) -> u32 {
    picks.iter().map(|&at| candidates[at].offer.shape.gpus).sum()
}

fn per_gpu(candidate: &Candidate) -> u64 {
    candidate.rate.micros() / u64::from(candidate.offer.shape.gpus.max(1))
}

/// The best that fits, again and again. A candidate that does not fit never does later: room and want only shrink.
fn fill(candidates: &[&Candidate], order: &[usize], want: u32, sizes: Bounds, room: &mut Room<'_>) -> Choice {
    let mut choice = Choice::default();
    let mut out = vec![false; candidates.len()];
    let mut extra: BTreeMap<&HostnodeId, u32> = BTreeMap::new();
    let mut left = want;
    // Bounded: each round takes at least one GPU or is the last.
    while left > 0 {
        let mut best: Option<(u32, usize)> = None;
        let mut level = None;
        for whole in [true, false] {
            for &at in order {
                let candidate = candidates[at];
                let key = (candidate.score.preference, candidate.score.micros_per_delivered_gpu_hour);
                if level.is_some_and(|level| level != key) {
                    break;
                }
                let gpus = candidate.offer.shape.gpus;
                if out[at] || gpus == 0 || gpus > left || (whole && !is_fillable(left - gpus, sizes)) {
                    continue;
                }
                match room.admits(candidate) {
                    Ok(()) => {
                        level = Some(key);
                        let crowd =
                            candidate.score.crowding + extra.get(&candidate.offer.hostnode).copied().unwrap_or(0);
                        if best.is_none_or(|(least, _)| crowd < least) {
                            best = Some((crowd, at));
                        }
                    }
                    Err(refused) => {
                        out[at] = true;
                        match refused {
                            Refused::Short(short) => {
                                choice.short.get_or_insert((at, short));
                            }
                            Refused::Spread(reason) => {
                                choice.spread.insert(at, reason);
                            }
                            Refused::Taken => {}
                        }
                    }
                }
            }
            if best.is_some() {
                break;
            }
        }
        let Some((_, at)) = best else { break };
        let gpus = candidates[at].offer.shape.gpus;
        room.take(candidates[at]);
        *extra.entry(&candidates[at].offer.hostnode).or_default() += gpus;
        choice.picks.push(at);
        left -= gpus;
    }
    choice
}

/// The best that fits, as long as the cheapest of the rest still bring it to `most`.
fn look_ahead(
    candidates: &[&Candidate],
    order: &[usize],
    cheapest: &[usize],
    want: u32,
    most: u32,
    sizes: Bounds,
    room: &Room<'_>,
) -> Choice {
    let mut choice = fill(candidates, order, want, sizes, &mut room.clone());
    choice.picks.clear();
    let mut near: Vec<usize> = order.iter().take(LOOK_AHEAD_CANDIDATES).copied().collect();
    near.extend(cheapest.iter().take(LOOK_AHEAD_CANDIDATES));
    near.sort_unstable();
    near.dedup();
    let mut rest = near.clone();
    rest.sort_by_key(|&at| (per_gpu(candidates[at]), at));
    let mut room = room.clone();
    let mut have = 0;
    // Bounded: each round takes at least one GPU or is the last.
    while have < most {
        let next = near.iter().copied().find_map(|at| {
            let gpus = candidates[at].offer.shape.gpus;
            if gpus == 0 || have + gpus > want || room.admits(candidates[at]).is_err() {
                return None;
            }
            let mut after = room.clone();
            after.take(candidates[at]);
            let more = fill(candidates, &rest, want - have - gpus, sizes, &mut after.clone());
            (have + gpus + gpus_of(candidates, &more.picks) >= most).then_some((at, gpus, after))
        });
        let Some((at, gpus, after)) = next else { break };
        choice.picks.push(at);
        have += gpus;
        room = after;
    }
    choice
}
