//! The world as a faulty marketplace shows it.
//!
//! Some faults are not of the wire: a list that lacks things, a VM that shows up late or lingers, a deploy that is refused,
//! a balance of some minutes ago. They stand between the dialect's fake and the world, so that they work for every dialect.
//!
//! A [`Veil`] is for one call; what must be remembered from call to call of a vendor's is in its [`Appearances`].

use super::{
    lies::Fate,
    pages::MadeOf,
    told::Noted,
    twist::{Heard, Twist},
    world::World,
};
use crate::{
    market::{Backend, Stop, WorldMonth, WorldOrder, WorldVm},
    model::{
        Hostnode, HourlyRate, InstanceId, InstanceStatus, PriceType, Refusal, Shape, Timestamp, Usd,
        offer::{Bid, BidAnswer},
        time,
    },
};
use std::{cell::Cell, collections::BTreeMap, time::Duration};

/// How much of a list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    All,
    /// All, and how each VM stands is said in a word that nobody knows.
    InOtherWords,
    /// Every second one.
    Half,
    Nothing,
}

impl Shown {
    fn of<T>(self, items: Vec<T>) -> Vec<T> {
        match self {
            Self::All | Self::InOtherWords => items,
            Self::Half => items.into_iter().step_by(2).collect(),
            Self::Nothing => Vec::new(),
        }
    }

    /// A VM as it is spoken of.
    fn spoken_of(self, mut vm: WorldVm) -> WorldVm {
        match self {
            Self::InOtherWords => vm.instance.status = InstanceStatus::Unknown("Provisioned".to_owned()),
            Self::All | Self::Half | Self::Nothing => {}
        }
        vm
    }
}

/// So many accepted bids that soon expire are remembered.
const QUOTES_MAX: usize = 100;

/// What a vendor's answers show that is not so, or not yet, or no more.
#[derive(Clone, Debug, Default)]
pub(super) struct Appearances {
    /// New VMs and when lists show them.
    pub late: BTreeMap<InstanceId, Timestamp>,
    /// Deleted VMs as they were, and until when lists show them.
    lingering: BTreeMap<InstanceId, (Timestamp, WorldVm)>,
    /// Accepted bids, and until when they are good.
    quotes: Vec<(Bid, Timestamp)>,
    /// The balance that is shown, and when it was so.
    wallet: Option<(Timestamp, (Usd, HourlyRate))>,
}

/// A world behind a veil, for one call.
pub(super) struct Veil<'a> {
    pub world: &'a mut World,
    pub appearances: &'a mut Appearances,
    pub shown: Shown,
    pub refuses: bool,
    /// A VM made now shows up so much later.
    pub delay: Option<Duration>,
    /// What is odd about what this call does.
    pub twists: &'a [Twist],
    /// How old a balance may be that is shown.
    pub balance_lag: Duration,
    /// What whoever called was told, as far as it is worth remembering.
    pub noted: Noted,
    /// What lists were asked for, as they were shown.
    pub made_of: MadeOf,
    /// Something was asked that another moment, or the same once more, would answer otherwise.
    pub has_its_hour: Cell<bool>,
}

impl<'a> Veil<'a> {
    /// One that hides nothing.
    pub fn lifted(world: &'a mut World, appearances: &'a mut Appearances) -> Self {
        Self {
            world,
            appearances,
            shown: Shown::All,
            refuses: false,
            delay: None,
            twists: &[],
            balance_lag: Duration::ZERO,
            noted: Noted::default(),
            made_of: MadeOf::default(),
            has_its_hour: Cell::new(false),
        }
    }

    /// Whether lists are what they are, whatever the hour.
    pub fn shows_all(&self) -> bool {
        let Appearances { late, lingering, quotes: _, wallet: _ } = &*self.appearances;
        self.shown == Shown::All && late.is_empty() && lingering.is_empty()
    }

    /// Whether all that was asked was lists, and shown as it is in the world.
    pub fn is_timeless(&self) -> bool {
        self.shows_all() && !self.has_its_hour.get()
    }

    /// Makes a VM, with what is odd about that.
    fn deploy_once(
        &mut self,
        order: WorldOrder,
        deploy: fn(&mut World, WorldOrder) -> Result<WorldVm, Refusal>,
    ) -> Result<WorldVm, Refusal> {
        let vm = deploy(self.world, order)?;
        let (id, now) = (&vm.instance.id, self.world.now());
        self.noted.made.insert(id.clone());
        if let Some(delay) = self.delay {
            self.appearances.late.insert(id.clone(), time::after(now, delay));
        }
        for twist in self.twists {
            match twist {
                Twist::Unlisted(delay) => drop(self.appearances.late.insert(id.clone(), time::after(now, *delay))),
                Twist::Stalled => self.world.stall(id),
                Twist::Overbilled(by_ppm, after) => self.world.foretell(id, *after, Fate::Overbilled(*by_ppm)),
                Twist::Doubled(_) | Twist::Lingering(_) | Twist::BriefQuote(_) => {}
            }
        }
        // What befell it at once is in the answer already.
        Ok(self.world.vm(id).unwrap_or(vm))
    }

    /// Whether this order rests on a bid that was accepted and is not good any more.
    fn came_too_late(&self, order: &WorldOrder) -> bool {
        let now = self.world.now();
        let of_it = |bid: &Bid| bid.hostnode == order.hostnode && bid.shape == order.shape;
        order.bid.is_some() && self.appearances.quotes.iter().any(|(bid, until)| of_it(bid) && *until <= now)
    }
}

impl Backend for Veil<'_> {
    fn now(&self) -> Timestamp {
        self.has_its_hour.set(true);
        self.world.now()
    }

    fn hostnodes(&mut self) -> Vec<Hostnode> {
        let shown = self.shown.of(self.world.hostnodes());
        self.made_of.hostnodes = Some(shown.clone());
        shown
    }

    fn vms(&mut self) -> Vec<WorldVm> {
        let now = self.world.now();
        let Appearances { late, lingering, .. } = &mut *self.appearances;
        late.retain(|_, from| *from > now);
        lingering.retain(|_, (until, _)| *until > now);
        let mut vms = self.world.vms();
        vms.retain(|vm| !late.contains_key(&vm.instance.id));
        if !lingering.is_empty() {
            vms.extend(lingering.values().map(|(_, vm)| vm.clone()));
            vms.sort_by(|a, b| a.instance.id.cmp(&b.instance.id));
        }
        let shown = self.shown;
        let vms: Vec<WorldVm> = shown.of(vms).into_iter().map(|vm| shown.spoken_of(vm)).collect();
        self.noted.listed = Some(vms.iter().map(|vm| vm.instance.id.clone()).collect());
        self.made_of.vms = Some(vms.clone());
        vms
    }

    fn vm(&mut self, id: &InstanceId) -> Option<WorldVm> {
        self.has_its_hour.set(true);
        self.world.vm(id).map(|vm| self.shown.spoken_of(vm))
    }

    fn wallet(&mut self) -> (Usd, HourlyRate) {
        self.has_its_hour.set(true);
        let now = self.world.now();
        match self.appearances.wallet {
            Some((at, shown)) if now < time::after(at, self.balance_lag) => shown,
            Some(_) | None => {
                let shown = self.world.wallet();
                self.appearances.wallet = Some((now, shown));
                shown
            }
        }
    }

    fn validate(&mut self, bid: &Bid) -> BidAnswer {
        self.has_its_hour.set(true);
        let answer = self.world.validate(bid);
        let quotes = &mut self.appearances.quotes;
        if answer == BidAnswer::Accepted {
            self.noted.accepted = Some(bid.clone());
            quotes.retain(|(other, _)| other.hostnode != bid.hostnode || other.shape != bid.shape);
            let brief = self.twists.iter().find_map(|twist| match twist {
                Twist::BriefQuote(lasting) => Some(*lasting),
                Twist::Doubled(_)
                | Twist::Lingering(_)
                | Twist::Unlisted(_)
                | Twist::Stalled
                | Twist::Overbilled(..) => None,
            });
            if let Some(lasting) = brief.filter(|_| quotes.len() < QUOTES_MAX) {
                quotes.push((bid.clone(), time::after(self.world.now(), lasting)));
            }
        }
        answer
    }

    fn rebid(&mut self, id: &InstanceId, price: HourlyRate) -> Result<BidAnswer, Refusal> {
        self.has_its_hour.set(true);
        self.world.rebid(id, price)
    }

    fn deploy(&mut self, order: WorldOrder) -> Result<WorldVm, Refusal> {
        self.has_its_hour.set(true);
        if self.refuses {
            return Err(match order.price_type {
                PriceType::Spot => Refusal::BidTooLow("somebody else was faster".to_owned()),
                PriceType::OnDemand => Refusal::NoCapacity("somebody else was faster".to_owned()),
            });
        }
        if self.came_too_late(&order) {
            return Err(Refusal::BidTooLow("a higher bid is needed".to_owned()));
        }
        let heard = self.twists.iter().find_map(|twist| match twist {
            Twist::Doubled(heard) => Some(*heard),
            Twist::Lingering(_)
            | Twist::Unlisted(_)
            | Twist::Stalled
            | Twist::Overbilled(..)
            | Twist::BriefQuote(_) => None,
        });
        let Some(heard) = heard else { return self.deploy_once(order, World::deploy) };
        let first = self.deploy_once(order.clone(), World::deploy)?;
        match (heard, self.deploy_once(order, World::deploy_again)) {
            (Heard::Second, Ok(second)) => Ok(second),
            (Heard::First | Heard::Second, _) => Ok(first),
        }
    }

    fn start(&mut self, id: &InstanceId) -> Result<(), Refusal> {
        self.has_its_hour.set(true);
        self.world.start(id)
    }

    fn stop(&mut self, id: &InstanceId, how: Stop) -> Result<(), Refusal> {
        self.has_its_hour.set(true);
        self.world.stop(id, how)
    }

    fn modify(&mut self, id: &InstanceId, shape: Shape) -> Result<(), Refusal> {
        self.has_its_hour.set(true);
        self.world.modify(id, shape)
    }

    fn terminate(&mut self, id: &InstanceId) -> Result<(), Refusal> {
        self.has_its_hour.set(true);
        let shown = self.world.vm(id);
        self.world.terminate(id)?;
        for twist in self.twists {
            match twist {
                Twist::Lingering(lasting) => {
                    let until = time::after(self.world.now(), *lasting);
                    let shown = shown.clone().map(|shown| (id.clone(), (until, shown)));
                    self.appearances.lingering.extend(shown);
                }
                Twist::Doubled(_)
                | Twist::Unlisted(_)
                | Twist::Stalled
                | Twist::Overbilled(..)
                | Twist::BriefQuote(_) => {}
            }
        }
        Ok(())
    }

    fn month(&mut self, year: i16, month: i8) -> WorldMonth {
        self.has_its_hour.set(true);
        self.world.month(year, month)
    }
}
