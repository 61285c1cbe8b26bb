//! What to rent: ask for prices, deploy what is best, fall back to on demand, and give fallbacks back.
//!
//! One fleet at a time, in descending priority. A candidate whose bid was accepted a moment ago is deployed; one that
//! would be chosen at its expected price is asked about first, and the next round of the same tick knows more. What is
//! being asked for takes its place in the plan: its resources and the most it may cost are held back from lower
//! priorities.

use super::{
    Action, Deploy, Draft, FleetState, Order, Situation, Verdict,
    eligible::{Listed, eligible, unwanted},
    headroom::{Need, Short},
    price::{Priced, price},
    score::standing_score,
    shrink::{base_gpus, surplus},
    solve::{Room, choose},
};
use crate::{
    ledger::{Member, Standing},
    model::{
        FleetName, Guard, HourlyRate, PriceType,
        offer::{Bid, Rates},
        reason::{Blocked, Rejected},
        time::{before, elapsed, show},
    },
    policy::terms::{OnDemandUse, Quantity, Revert},
};
use std::{collections::BTreeSet, time::Duration};

/// So many offers are asked about beside those that would be chosen, so that a refusal costs no round.
const ALTERNATIVES_MAX: usize = 2;
/// No fleet asks more than this in one round.
const ASKS_PER_ROUND_MAX: usize = 16;
/// A stopped VM whose start did not work is passed over for this long.
const RESTART_AGAIN: Duration = Duration::from_secs(600);

/// What one pass came to.
#[derive(Default)]
struct Pass {
    /// GPUs deployed or started.
    rented: u32,
    /// GPUs whose bids are being asked about.
    asking: u32,
    /// The first limit on money that was hit, and which candidate it kept out.
    short: Option<(Short, usize)>,
    /// A limit on places was hit.
    spread: bool,
}

impl Pass {
    fn and(self, later: Self) -> Self {
        Self {
            rented: self.rented + later.rented,
            asking: self.asking + later.asking,
            short: self.short.or(later.short),
            spread: self.spread || later.spread,
        }
    }

    const fn gpus(&self) -> u32 {
        self.rented.saturating_add(self.asking)
    }
}

/// Plans one fleet's growth, and says what keeps it from its target.
pub(super) fn grow(draft: &mut Draft<'_>, fleet: &FleetName) {
    let situation = draft.situation;
    let Some((fleet, state)) = situation.fleets.get_key_value(fleet) else { return };
    let listed = offers(draft, fleet, state);
    let priced = price(situation, fleet, state, &listed, &draft.headroom);
    let mut growth = Growth { draft, fleet, state, priced };
    match state.order {
        Order::Hold(target) => growth.to(target),
        Order::Pause(target) if !Guard::PausedPlan.is_kept() => growth.to(target),
        Order::Pause(target) => growth.paused(target),
        Order::Evacuate => {}
    }
    growth.note();
}

fn offers(draft: &mut Draft<'_>, fleet: &FleetName, state: &FleetState) -> Vec<Listed> {
    let closed: std::collections::BTreeMap<_, _> =
        draft.situation.markets.keys().filter_map(|name| Some((name.clone(), draft.renting(name).err()?))).collect();
    let mut notes = std::mem::take(draft.notes(fleet));
    let gpus_max = state.target_gpus();
    let closed = |marketplace: &_| closed.get(marketplace).cloned();
    let listed = eligible(draft.situation, state, &draft.stock, gpus_max, closed, &mut notes);
    *draft.notes(fleet) = notes;
    listed
}

struct Growth<'d, 'a> {
    draft: &'d mut Draft<'a>,
    fleet: &'a FleetName,
    state: &'a FleetState,
    priced: Vec<Priced>,
}

impl<'a> Growth<'_, 'a> {
    fn situation(&self) -> &'a Situation {
        self.draft.situation
    }

    fn to(&mut self, target: u32) {
        let counted = self.draft.headroom.gpus(self.fleet);
        let counts = if Guard::TargetWanted.is_kept() { counted } else { 0 };
        let want = self.state.start_gpus().saturating_sub(counts);
        let withheld = target.saturating_sub(counted).saturating_sub(want);
        let detail = format!("a held edit has a target of {} GPUs", self.state.start_gpus());
        self.draft.blocked(self.fleet, withheld, Short::new(Blocked::HeldEdit, detail));
        let in_doubt = self.gpus_standing(Standing::InDoubt).min(target);
        let detail = "deploys that were not answered may still turn up".to_owned();
        self.draft.blocked(self.fleet, in_doubt, Short::new(Blocked::InDoubt, detail));
        let started = self.restart(target, want);
        if want == 0 {
            self.revert(target);
            return;
        }
        let want = want - started;
        let base = base_gpus(self.state, target).saturating_sub(self.on_demand_gpus()).min(want);
        let mut pass = self.pass(PriceType::OnDemand, base.min(self.on_demand_left(target)), None);
        let usage = self.state.policy.on_demand.usage;
        match usage {
            OnDemandUse::Never | OnDemandUse::Fallback => {
                // What is short of the base is not filled by bid.
                let rest = want.saturating_sub(base.max(pass.gpus()));
                pass = pass.and(self.pass(PriceType::Spot, rest, None));
            }
            OnDemandUse::Always => {}
        }
        let rest = want.saturating_sub(pass.gpus());
        let bought = match usage {
            OnDemandUse::Fallback if pass.asking == 0 => rest.min(self.fallback_gpus()),
            OnDemandUse::Never | OnDemandUse::Fallback => 0,
            OnDemandUse::Always => rest,
        };
        if bought > 0 {
            let bought = bought.min(self.on_demand_left(target));
            pass = pass.and(self.pass(PriceType::OnDemand, bought, None));
        }
        self.explain(want.saturating_sub(pass.gpus()), started, &pass);
    }

    fn paused(&mut self, target: u32) {
        let missing = target.saturating_sub(self.draft.headroom.gpus(self.fleet));
        let (reason, detail) = if self.state.policy_broken {
            (Blocked::PolicyInvalid, "the policy file is gone: the fleet stays as it is")
        } else {
            (Blocked::Paused, "paused until `resume`")
        };
        self.draft.blocked(self.fleet, missing, Short::new(reason, detail));
    }

    fn gpus_standing(&self, standing: Standing) -> u32 {
        let members = self.state.fleet.members.values();
        members.filter(|member| member.standing == standing).map(Member::counted_gpus).sum()
    }

    /// GPUs rented on demand, what is planned included.
    fn on_demand_gpus(&self) -> u32 {
        let members = self.state.fleet.members.values();
        let counted = members.filter(|member| member.price_type == PriceType::OnDemand).map(Member::counted_gpus);
        counted.sum::<u32>().saturating_add(self.on_demand_planned())
    }

    /// GPUs that this plan rents or starts on demand.
    fn on_demand_planned(&self) -> u32 {
        let members = &self.state.fleet.members;
        let planned = self.draft.actions.iter().filter(|action| action.fleet() == self.fleet).filter_map(|action| {
            let (price_type, gpus) = match action {
                Action::Deploy(deploy) => (deploy.price_type, deploy.shape.gpus),
                Action::Start { subject, .. } => {
                    let member = members.get(&subject.name)?;
                    (member.price_type, member.shape.gpus.saturating_sub(member.counted_gpus()))
                }
                Action::Ask { .. }
                | Action::Look { .. }
                | Action::Rebid { .. }
                | Action::Stop { .. }
                | Action::Delete { .. } => return None,
            };
            (price_type == PriceType::OnDemand).then_some(gpus)
        });
        planned.sum()
    }

    fn on_demand_left(&self, target: u32) -> u32 {
        let most = self.state.policy.on_demand.max_gpus.filter(|_| Guard::OnDemandMost.is_kept());
        let most = most.unwrap_or(target).min(target);
        most.saturating_sub(self.on_demand_gpus())
    }

    /// GPUs that have been missing for long enough to be bought, less what this plan buys already.
    fn fallback_gpus(&self) -> u32 {
        let after = self.state.policy.on_demand.after;
        if after.is_zero() {
            return u32::MAX;
        }
        let long_enough = self.state.missing.gpus_since(before(self.situation().now, after));
        long_enough.saturating_sub(self.on_demand_planned())
    }

    /// Whether what gave its GPU back may have it again: only if it would be rented now. What kept its GPU is billed in
    /// full and counted, whatever the policy has come to say: started, it serves for it.
    fn is_wanted(&self, member: &Member, target: u32, gpus: u32) -> bool {
        let Draft { situation, headroom, stock, actions, .. } = &*self.draft;
        if gpus == 0 {
            return true;
        }
        let is_allowed = match (member.price_type, self.state.policy.on_demand.usage) {
            (PriceType::OnDemand, OnDemandUse::Never) => false,
            (PriceType::OnDemand, OnDemandUse::Fallback | OnDemandUse::Always) => gpus <= self.on_demand_left(target),
            // It bids what it bid.
            (PriceType::Spot, _) => true,
        };
        let room = Room::new(situation, self.fleet, self.state, headroom, stock, actions, 0);
        is_allowed
            && unwanted(&self.state.policy, member).is_none()
            && room.spreads(&member.account, &member.hostnode, &member.location, gpus).is_ok()
    }

    /// Starts what we stopped ourselves, before anything new is rented.
    fn restart(&mut self, target: u32, want: u32) -> u32 {
        let now = self.situation().now;
        let mut started = 0;
        for member in self.state.fleet.members.values() {
            let gpus = match member.standing {
                // Billed in full and serving nobody: its GPUs are counted already.
                Standing::StoppedKept => 0,
                Standing::StoppedReleased => member.shape.gpus,
                Standing::Pending
                | Standing::Running
                | Standing::Outbid
                | Standing::Leaving
                | Standing::InDoubt
                | Standing::Lost => continue,
            };
            let lately = member.attempts.start.is_some_and(|at| elapsed(at, now) < RESTART_AGAIN);
            if lately
                || member.write_in_doubt
                || member.protected
                || gpus > want - started
                || self.draft.is_going(member)
            {
                continue;
            }
            let full = member.quoted.map_or(member.agreed, |quoted| quoted.max(member.agreed)).total();
            let full = full.max(member.bid.unwrap_or_default().plus(member.agreed.storage));
            let rate = full.minus(member.committed());
            let cap = self.state.start_price(&member.shape.gpu_model).filter(|_| gpus > 0);
            let affordable = cap.is_none_or(|price| full <= price.times(member.shape.gpus));
            let need = Need { fleet: self.fleet, account: &member.account, gpus, rate, surge_gpus: 0 };
            if affordable
                && self.is_wanted(member, target, gpus)
                && self.draft.renting(&member.marketplace).is_ok()
                && self.draft.headroom.admits(need).is_ok()
                && self.draft.start(member, gpus, rate, "stopped, and wanted again".to_owned())
            {
                started += gpus;
            }
        }
        started
    }

    /// Rents or asks for up to `want` GPUs paid for in one way.
    fn pass(&mut self, price_type: PriceType, want: u32, replaces: Option<&Member>) -> Pass {
        let mut pass = Pass::default();
        if want == 0 {
            return pass;
        }
        let is_fit = |priced: &Priced| {
            let candidate = &priced.candidate;
            candidate.price_type == price_type && replaces.is_none_or(|member| self.is_better(priced, member))
        };
        let open: Vec<usize> =
            (0..self.priced.len()).filter(|&at| self.priced[at].is_open() && is_fit(&self.priced[at])).collect();
        let surge_gpus = if replaces.is_some() { self.state.surge_gpus() } else { 0 };
        let Draft { situation, headroom, stock, actions, .. } = &*self.draft;
        let room = Room::new(situation, self.fleet, self.state, headroom, stock, actions, surge_gpus);
        let candidates: Vec<_> = open.iter().map(|&at| &self.priced[at].candidate).collect();
        let choice = choose(&candidates, want, self.state.policy.instance.gpus, &room);
        pass.spread = !choice.spread.is_empty();
        for (at, reason) in choice.spread {
            // What an earlier pass chose is chosen, though there is no room for a second one beside it.
            let candidate = &mut self.priced[open[at]].candidate;
            if candidate.verdict != Verdict::Chosen {
                candidate.verdict = Verdict::Rejected(reason);
            }
        }
        pass.short = choice.short.map(|(at, short)| (short, open[at]));
        let mut asks = 0;
        let picks: Vec<usize> = choice.picks.iter().map(|&at| open[at]).collect();
        for &at in &picks {
            let gpus = self.priced[at].candidate.offer.shape.gpus;
            let Priced { ask, looks, .. } = self.priced[at];
            if ask.is_none() && !looks {
                if self.rent(at, replaces) {
                    pass.rented += gpus;
                }
                continue;
            }
            if asks < ASKS_PER_ROUND_MAX {
                asks += 1;
                match ask {
                    Some(bid) => self.ask(at, bid),
                    None => self.look(at),
                }
                self.hold(at);
            }
            pass.asking += gpus;
        }
        if pass.asking > 0 {
            self.ask_alternatives(&open, &picks, asks);
        }
        // Money that keeps a bid from being made at all is short too.
        if pass.short.is_none() && pass.gpus() < want {
            pass.short = self.priced.iter().enumerate().find_map(|(at, priced)| {
                let shut = priced.shut.clone().filter(|_| priced.candidate.price_type == price_type);
                shut.map(|short| (short, at))
            });
        }
        pass
    }

    fn ask(&mut self, at: usize, bid: HourlyRate) {
        let candidate = &mut self.priced[at].candidate;
        candidate.verdict = Verdict::Asking;
        let bid = Bid { hostnode: candidate.offer.hostnode.clone(), shape: candidate.offer.shape.clone(), price: bid };
        let marketplace = candidate.offer.marketplace.clone();
        self.draft.ask(self.fleet, &marketplace, bid);
    }

    /// Reads a candidate's machine, to know which ports are free.
    fn look(&mut self, at: usize) {
        let candidate = &mut self.priced[at].candidate;
        candidate.verdict = Verdict::Asking;
        let (marketplace, hostnode) = (candidate.offer.marketplace.clone(), candidate.offer.hostnode.clone());
        self.draft.look(self.fleet, marketplace, hostnode);
    }

    /// Keeps what is being asked for from fleets of lower priority.
    fn hold(&mut self, at: usize) {
        let Priced { candidate, rate_max, .. } = &self.priced[at];
        let offer = &candidate.offer;
        let Some(market) = self.situation().markets.get(&offer.marketplace) else { return };
        self.draft.headroom.hold(self.fleet, &market.account, *rate_max);
        self.draft.stock.take(&market.account, &offer.hostnode, &offer.shape, []);
    }

    fn ask_alternatives(&mut self, open: &[usize], picks: &[usize], mut asks: usize) {
        let mut machines: BTreeSet<_> =
            picks.iter().map(|&at| self.priced[at].candidate.offer.hostnode.clone()).collect();
        let mut alternatives = 0;
        for &at in open {
            if alternatives >= ALTERNATIVES_MAX || asks >= ASKS_PER_ROUND_MAX {
                return;
            }
            let Priced { candidate, ask: Some(bid), .. } = &self.priced[at] else { continue };
            let (bid, hostnode) = (*bid, candidate.offer.hostnode.clone());
            if candidate.verdict == Verdict::Eligible && machines.insert(hostnode) {
                self.ask(at, bid);
                alternatives += 1;
                asks += 1;
            }
        }
    }

    /// Rents a candidate whose price is known; whether it did.
    fn rent(&mut self, at: usize, replaces: Option<&Member>) -> bool {
        let (situation, state) = (self.situation(), self.state);
        let Priced { candidate, .. } = &self.priced[at];
        let offer = &candidate.offer;
        let Some(market) = situation.markets.get(&offer.marketplace) else { return false };
        let Some(hostnode) = situation.hostnode(&offer.marketplace, &offer.hostnode) else { return false };
        let account = &market.account;
        let inside = &state.policy.instance.ports;
        let Some(ports) = self.draft.stock.ports(&offer.marketplace, account, hostnode, inside) else { return false };
        let agreed = match (candidate.price_type, candidate.bid) {
            (PriceType::OnDemand, _) => offer.on_demand,
            (PriceType::Spot, Some(bid)) => Rates { compute: bid, storage: offer.on_demand.storage },
            (PriceType::Spot, None) => return false,
        };
        let gpus = offer.shape.gpus;
        let surge_gpus = if replaces.is_some() { state.surge_gpus() } else { 0 };
        let need = Need { fleet: self.fleet, account, gpus, rate: agreed.total(), surge_gpus };
        if self.draft.headroom.admits(need).is_err() {
            return false;
        }
        let why = format!(
            "{} of {} offers: {} {} at {}/h, {} per delivered GPU-hour",
            at + 1,
            self.priced.len(),
            candidate.price_type,
            offer.shape.gpu_model,
            agreed.total(),
            HourlyRate::from_micros(candidate.score.micros_per_delivered_gpu_hour)
        );
        let deploy = Deploy {
            name: self.draft.name(self.fleet),
            fleet: self.fleet.clone(),
            marketplace: offer.marketplace.clone(),
            account: account.clone(),
            hostnode: offer.hostnode.clone(),
            location: offer.location.clone(),
            shape: offer.shape.clone(),
            price_type: candidate.price_type,
            bid: candidate.bid,
            agreed,
            on_demand: offer.on_demand,
            image: state.policy.instance.image.clone(),
            ports,
            replaces: replaces.map(|member| member.name.clone()),
            why,
        };
        self.draft.deploy(deploy);
        self.priced[at].candidate.verdict = Verdict::Chosen;
        true
    }

    /// Gives a fallback back once its like can be had by bid: the replacement first.
    fn revert(&mut self, target: u32) {
        match (self.state.policy.on_demand.usage, self.state.policy.on_demand.revert) {
            (OnDemandUse::Fallback, Revert::WhenAvailable) => {}
            (OnDemandUse::Never | OnDemandUse::Always, _) | (_, Revert::Never) => return,
        }
        let members = &self.state.fleet.members;
        let moving = members.values().filter(|member| {
            member.replaces.as_ref().is_some_and(|replaced| members.contains_key(replaced)) && member.serves()
        });
        let mut moving = u32::try_from(moving.count()).unwrap_or(u32::MAX);
        let moves_max = match self.state.policy.disruption.max_surge {
            Quantity::Count(vms) => vms,
            Quantity::SharePpm(_) => u32::MAX,
        };
        let replaced: BTreeSet<_> = members.values().filter_map(|member| member.replaces.clone()).collect();
        let mut spare = self.on_demand_gpus().saturating_sub(base_gpus(self.state, target));
        // What may go for the target is not replaced: its replacement would be the next to go, and be rented again.
        let surplus = surplus(self.draft, self.state, target);
        for member in self.state.fleet.members.values() {
            let movable = member.price_type == PriceType::OnDemand
                && member.standing == Standing::Running
                && !member.protected
                && member.counted_gpus() <= spare
                && member.counted_gpus() > surplus
                && !replaced.contains(&member.name)
                && !self.draft.is_touched(&member.name);
            if !movable || !Guard::SurgeBound.holds(moving < moves_max) {
                continue;
            }
            let pass = self.pass(PriceType::Spot, member.shape.gpus, Some(member));
            if pass.gpus() > 0 {
                moving += 1;
                spare = spare.saturating_sub(member.counted_gpus());
            }
        }
    }

    /// Whether a candidate is as large as a member, as preferred, and cheaper.
    fn is_better(&self, priced: &Priced, member: &Member) -> bool {
        let score = &priced.candidate.score;
        let (preference, micros) = standing_score(self.situation(), self.state, member);
        priced.candidate.offer.shape.gpus == member.shape.gpus
            && score.preference <= preference
            && score.micros_per_delivered_gpu_hour < micros
    }

    /// Why GPUs are missing that nobody is even asking for.
    fn explain(&mut self, missing: u32, started: u32, pass: &Pass) {
        let (situation, state) = (self.situation(), self.state);
        if situation.is_observing(state) {
            let detail = "in observe mode nothing is changed".to_owned();
            let gpus = pass.gpus().saturating_add(started);
            self.draft.blocked(self.fleet, gpus, Short::new(Blocked::Observe, detail));
        }
        if missing == 0 {
            return;
        }
        let sizes = state.policy.instance.gpus;
        if missing < sizes.min {
            let detail =
                format!("what is left of the target, {missing}, is fewer than the smallest VM's {} GPUs", sizes.min);
            return self.draft.blocked(self.fleet, missing, Short::new(Blocked::Shape, detail));
        }
        if let Some((short, at)) = &pass.short {
            let short = short.clone();
            if short.is_shared() {
                self.hold_missing(missing, *at);
            }
            self.draft.blocked(self.fleet, missing, short);
            return;
        }
        let short = self.without_offers(pass);
        self.draft.blocked(self.fleet, missing, short);
    }

    fn without_offers(&self, pass: &Pass) -> Short {
        let state = self.state;
        let short = |reason, detail: String| Short::new(reason, detail);
        if pass.spread {
            return short(Blocked::Spread, "max_gpus_per_hostnode or max_share_per_location".to_owned());
        }
        let wanted = |name: &_| state.policy.marketplaces.as_ref().is_none_or(|wanted| wanted.contains(name));
        let closed =
            self.situation().markets.keys().filter(|name| wanted(name)).find_map(|name| self.draft.renting(name).err());
        if let Some(closed) = closed {
            return closed;
        }
        let turned_down = self.draft.notes.get(self.fleet).map(|notes| &notes.turned_down);
        let cooling = |reason: &Rejected| matches!(reason, Rejected::Cooldown | Rejected::Quarantined);
        if let Some(turned_down) = turned_down
            && self.priced.is_empty()
            && turned_down.values().any(cooling)
        {
            let hosts = turned_down.values().filter(|reason| cooling(reason)).count();
            return short(Blocked::Cooldown, format!("hostnodes that failed lately: {hosts}"));
        }
        let unanswered = self.priced.iter().filter(|priced| priced.unanswered).count();
        if unanswered > 0 {
            return short(Blocked::StaleMarket, format!("bids that were asked about and not answered: {unanswered}"));
        }
        let waits = state.policy.on_demand.usage == OnDemandUse::Fallback && self.fallback_gpus() == 0;
        let wait =
            if waits { format!("; on demand after {}", show(state.policy.on_demand.after)) } else { String::new() };
        short(Blocked::NoOffers, format!("nothing more that is eligible is offered{wait}"))
    }

    /// What a fleet still wants and money keeps from it is kept from lower priorities too.
    fn hold_missing(&mut self, missing: u32, at: usize) {
        let marketplace = &self.priced[at].candidate.offer.marketplace;
        let Some(market) = self.situation().markets.get(marketplace) else { return };
        let wanted = per_gpu(&self.priced[at]).times(missing).min(self.state.rate_limit());
        self.draft.headroom.hold(self.fleet, &market.account, wanted);
    }

    /// Hands the candidates and their verdicts to the report.
    fn note(self) {
        let Self { draft, fleet, priced, .. } = self;
        draft.notes(fleet).candidates = priced.into_iter().map(|priced| priced.candidate).collect();
    }
}

fn per_gpu(priced: &Priced) -> HourlyRate {
    let gpus = u64::from(priced.candidate.offer.shape.gpus.max(1));
    HourlyRate::from_micros(priced.candidate.rate.micros().div_ceil(gpus))
}

#[cfg(test)]
mod tests;
