//! What each offer would cost us: on demand as listed, by bid as far as the marketplace's answers tell.
//!
//! A bid is at most the least of (`max_price` × GPUs, the same VM's on-demand rate, the headroom), each less its
//! storage. Where the least accepted bid is not known yet, an estimate stands in for it in the order, and asking is the
//! next step: what another size of the same machine goes for, else what that model goes for on that marketplace, else
//! half of its on-demand price ("typically around 50 %": the vendor's documentation of spot, see FACTS).

use super::{
    Candidate, FleetState, Situation, Verdict,
    eligible::Listed,
    headroom::{Headroom, Short},
    score::score,
    search::{self, Known, Range, Step},
};
use crate::model::{
    FleetName, GpuModel, HostnodeId, HourlyRate, MarketplaceName, PriceType, Shape,
    offer::{Quote, SpotTerms},
    reason::{Blocked, Rejected},
};
use crate::policy::terms::BidTerms;
use std::collections::BTreeMap;

/// Where a search begins while nothing is known of a model's market, of the on-demand price.
const TYPICAL_PPM: u64 = 500_000;

/// A candidate, and what is to be done before it can be rented.
#[derive(Clone, Debug)]
pub(super) struct Priced {
    pub candidate: Candidate,
    /// Ask about the candidate's bid first.
    pub ask: Option<HourlyRate>,
    /// Look at the candidate's machine first.
    pub looks: bool,
    /// The most it may come to.
    pub rate_max: HourlyRate,
    /// Why it cannot be rented now, where that is not its own fault.
    pub shut: Option<Short>,
    /// Its bid or its machine was asked about in this tick and no answer could be had.
    pub unanswered: bool,
}

impl Priced {
    /// Whether it can be chosen in this plan.
    pub fn is_open(&self) -> bool {
        self.shut.is_none() && !self.unanswered && !matches!(self.candidate.verdict, Verdict::Rejected(_))
    }
}

type Key<'a> = (&'a MarketplaceName, &'a HostnodeId, &'a Shape);

/// The answers by what was asked about.
pub(super) struct Answers<'a> {
    quotes: BTreeMap<Key<'a>, Vec<&'a Quote>>,
}

impl<'a> Answers<'a> {
    pub fn new(situation: &'a Situation) -> Self {
        let mut quotes: BTreeMap<Key<'a>, Vec<&'a Quote>> = BTreeMap::new();
        for (marketplace, market) in &situation.markets {
            for quote in &market.quotes {
                quotes.entry((marketplace, &quote.bid.hostnode, &quote.bid.shape)).or_default().push(quote);
            }
        }
        Self { quotes }
    }

    /// Oldest first.
    pub fn about<'q>(
        &'q self,
        marketplace: &'q MarketplaceName,
        hostnode: &'q HostnodeId,
        shape: &'q Shape,
    ) -> &'q [&'a Quote] {
        self.quotes.get(&(marketplace, hostnode, shape)).map_or(&[], Vec::as_slice)
    }
}

/// What is known of a market's bids, as shares of the on-demand price.
#[derive(Default)]
struct Shares<'a> {
    by_machine: BTreeMap<(&'a MarketplaceName, &'a HostnodeId, &'a GpuModel), u64>,
    by_model: BTreeMap<(&'a MarketplaceName, &'a GpuModel), Vec<u64>>,
}

impl<'a> Shares<'a> {
    fn new(situation: &Situation, terms: &BidTerms, listed: &'a [Listed], answers: &Answers<'_>) -> Self {
        let mut shares = Self::default();
        for Listed { offer, .. } in listed {
            let known = known(situation, answers, &offer.marketplace, &offer.hostnode, &offer.shape, None);
            let compute = offer.on_demand.compute.micros();
            let Some(accepted) = known.accepted.filter(|_| compute > 0 && (known.refused.is_some() || known.asked > 1))
            else {
                continue;
            };
            let ppm = (u128::from(accepted.micros()) * 1_000_000).div_ceil(u128::from(compute));
            let ppm = u64::try_from(ppm).unwrap_or(u64::MAX);
            let model = &offer.shape.gpu_model;
            // Only a search that is over tells other sizes where to stop; one that is not would stop itself.
            if search::is_over(known, accepted, terms) {
                let machine = shares.by_machine.entry((&offer.marketplace, &offer.hostnode, model)).or_insert(ppm);
                *machine = ppm.min(*machine);
            }
            shares.by_model.entry((&offer.marketplace, model)).or_default().push(ppm);
        }
        shares.by_model.values_mut().for_each(|shares| shares.sort_unstable());
        shares
    }

    /// The share to begin with, and whether it is that of another size of the same machine.
    fn guess(&self, listed: &Listed) -> (u64, bool) {
        let Listed { offer, .. } = listed;
        let model = &offer.shape.gpu_model;
        if let Some(ppm) = self.by_machine.get(&(&offer.marketplace, &offer.hostnode, model)) {
            return (*ppm, true);
        }
        let others = self.by_model.get(&(&offer.marketplace, model));
        (others.and_then(|shares| shares.get(shares.len() / 2)).copied().unwrap_or(TYPICAL_PPM), false)
    }
}

pub(super) fn known(
    situation: &Situation,
    answers: &Answers<'_>,
    marketplace: &MarketplaceName,
    hostnode: &HostnodeId,
    shape: &Shape,
    above: Option<HourlyRate>,
) -> Known {
    let quotes = answers.about(marketplace, hostnode, shape).iter().copied();
    search::known(quotes, above, situation.now, situation.quote_age_max)
}

/// Every offer in every way it can be paid for, best first.
pub(super) fn price(
    situation: &Situation,
    fleet: &FleetName,
    state: &FleetState,
    listed: &[Listed],
    headroom: &Headroom<'_>,
) -> Vec<Priced> {
    let answers = Answers::new(situation);
    let shares = Shares::new(situation, &state.policy.spot, listed, &answers);
    let mut rooms = BTreeMap::new();
    let mut priced = Vec::new();
    for listed in listed {
        let room = rooms.entry(&listed.account).or_insert_with(|| headroom.room_for_bid(fleet, &listed.account));
        if listed.on_demand {
            priced.push(on_demand(situation, state, listed));
        }
        if listed.spot {
            priced.push(spot(situation, state, listed, room, &answers, shares.guess(listed)));
        }
    }
    infer_refusals(&mut priced);
    priced.sort_by(|a, b| {
        let (a, b) = (&a.candidate, &b.candidate);
        let (one, other) = (&a.offer.shape, &b.offer.shape);
        let by_size = other.gpus.cmp(&one.gpus);
        let by_way = a.price_type.cmp(&b.price_type);
        a.score.cmp(&b.score).then(by_size).then(by_way).then_with(|| one.gpu_model.cmp(&other.gpu_model))
    });
    priced
}

fn on_demand(situation: &Situation, state: &FleetState, listed: &Listed) -> Priced {
    let rate = listed.offer.on_demand.total();
    let candidate = Candidate {
        offer: listed.offer.clone(),
        price_type: PriceType::OnDemand,
        bid: None,
        rate,
        score: score(situation, state, &listed.offer, rate),
        verdict: Verdict::Eligible,
    };
    let withheld = listed.start_cap.filter(|cap| rate > *cap).map(held_price);
    let (looks, unanswered) = (listed.looks, listed.looks && is_unanswered(situation, listed));
    Priced { candidate, ask: None, looks, rate_max: rate, shut: listed.closed.clone().or(withheld), unanswered }
}

fn is_unanswered(situation: &Situation, listed: &Listed) -> bool {
    let market = situation.markets.get(&listed.offer.marketplace);
    market.is_some_and(|market| market.unanswered.contains(&listed.offer.hostnode))
}

/// A price that the policy in force would pay, and a held edit would not.
fn held_price(cap: HourlyRate) -> Short {
    Short::new(Blocked::HeldEdit, format!("a held edit has a max_price of {cap}/h for the VM"))
}

fn spot(
    situation: &Situation,
    state: &FleetState,
    listed: &Listed,
    room: &(HourlyRate, Short),
    answers: &Answers<'_>,
    (guess_ppm, sibling): (u64, bool),
) -> Priced {
    let Listed { offer, price_cap, start_cap, .. } = listed;
    let terms = &state.policy.spot;
    let storage = offer.on_demand.storage;
    let within = |cap: &Option<HourlyRate>| cap.map_or(offer.on_demand.total(), |cap| cap.min(offer.on_demand.total()));
    let (ours, start) = (within(price_cap), within(start_cap));
    let cap = start.min(room.0).minus(storage);
    let short = match room.0 < start {
        true => Some(room.1.clone()),
        false => (start < ours).then(|| held_price(start)),
    };
    let quotes = answers.about(&offer.marketplace, &offer.hostnode, &offer.shape);
    let known = search::known(quotes.iter().copied(), None, situation.now, situation.quote_age_max);
    let guess = offer.on_demand.compute.share_ppm(guess_ppm);
    let (step, bid) = match offer.spot {
        SpotTerms::ListedPerGpu(least) if least.times(offer.shape.gpus) <= cap => {
            (Step::Ready, search::with_margin(least.times(offer.shape.gpus), terms, cap))
        }
        SpotTerms::ListedPerGpu(_) => (Step::Refused, cap),
        SpotTerms::Asked | SpotTerms::None => search::next(known, Range { above: None, guess, sibling, cap }, terms),
    };
    let fresh = match offer.spot {
        SpotTerms::ListedPerGpu(_) => true,
        SpotTerms::Asked | SpotTerms::None => {
            search::is_fresh(quotes.iter().copied(), bid, situation.now, situation.quote_age_max)
        }
    };
    let (ask, expected) = match step {
        Step::Ready => ((!fresh).then_some(bid), bid),
        Step::Ask => (Some(bid), search::with_margin(known.accepted.unwrap_or(bid), terms, cap)),
        Step::Refused if short.is_some() => (None, search::with_margin(guess, terms, ours.minus(storage))),
        Step::Refused => (None, cap),
    };
    let refused = step == Step::Refused;
    let rate = expected.plus(storage);
    let candidate = Candidate {
        offer: offer.clone(),
        price_type: PriceType::Spot,
        bid: (step == Step::Ready).then_some(bid),
        rate,
        score: score(situation, state, offer, rate),
        verdict: match (refused, &short) {
            (true, None) => Verdict::Rejected(Rejected::BidRefused),
            (true, Some(_)) | (false, _) => Verdict::Eligible,
        },
    };
    let unanswered = (ask.is_some() || listed.looks) && is_unanswered(situation, listed);
    let shut = listed.closed.clone().or(if refused { short } else { None });
    Priced { candidate, ask, looks: listed.looks, rate_max: cap.plus(storage), shut, unanswered }
}

/// A refused size rules out the sizes just below it: between a half of it and itself nothing is asked.
fn infer_refusals(priced: &mut [Priced]) {
    let machine = |candidate: &Candidate| {
        let offer = &candidate.offer;
        (offer.marketplace.clone(), offer.hostnode.clone(), offer.shape.gpu_model.clone())
    };
    let mut refused: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for priced in priced.iter() {
        if priced.candidate.verdict == Verdict::Rejected(Rejected::BidRefused) {
            refused.entry(machine(&priced.candidate)).or_default().push(priced.candidate.offer.shape.gpus);
        }
    }
    for priced in priced.iter_mut().filter(|priced| priced.candidate.price_type == PriceType::Spot) {
        let gpus = priced.candidate.offer.shape.gpus;
        let near = |size: &u32| gpus < *size && gpus.saturating_mul(2) > *size;
        if priced.ask.is_some()
            && priced.candidate.verdict == Verdict::Eligible
            && refused.get(&machine(&priced.candidate)).is_some_and(|sizes| sizes.iter().any(near))
        {
            priced.candidate.verdict = Verdict::Rejected(Rejected::BidRefused);
            priced.ask = None;
        }
    }
}
