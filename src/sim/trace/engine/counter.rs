//! A step of a trace as the world behind the marketplace of rehearsals.
//!
//! ```text
//!   fake  ->  At { counter, hand }  ->  the hand of whoever holds the step: a desk here, or a program at the other end
//! ```
//!
//! The [`Counter`] remembers what a marketplace would: which VMs there are, under which names, and what each pool was seen to
//! hold. Everything that the rules decide is asked of the [`Hand`].
//!
//! How many VMs a pool has room for nobody is told. It lists as many as anybody may want until it refuses one; from then on
//! no more than it was seen to hold, and one where it is known to take one.
//!
//! On demand is a pool of its own, for wherever it is asked for, the VM comes from the same one.

use super::terms;
use crate::{
    market::{Backend, Stop, WorldMonth, WorldOrder, WorldVm},
    model::{
        Hostnode, HourlyRate, Instance, InstanceId, InstanceStatus, PriceType, Refusal, Shape, Timestamp, Usd,
        offer::{Bid, BidAnswer, Location, Lot, Ports, Rates, Sizes, Sold, SpotTerms, Supply},
    },
    sim::trace::{
        load::Pool,
        run::{Billing, Rules},
    },
};
use std::collections::BTreeMap;

/// What the account holds, more than anything costs: a rehearsal limits no money unless its policy does.
const BALANCE: Usd = Usd::from_micros(1_000_000_000_000_000);
/// The pool from which on-demand VMs are had.
const ON_DEMAND: &str = "on-demand";
/// No pool lists more VMs at once.
const LOTS_MAX: u32 = 64;
/// A VM counts as running after so long at the latest, in seconds, ready or not: one that takes longer would be taken for one
/// that never comes.
const STARTING_S_MAX: u64 = 1_500;

/// What can be done in a step that is open. VMs go by the numbers that the step gives them.
pub trait Hand {
    /// Whether a bid per VM-hour would be accepted now.
    fn validate(&mut self, pool: usize, bid: HourlyRate) -> bool;
    /// Launches a spot VM at a bid per VM-hour; `None` when it is refused.
    fn spot(&mut self, pool: usize, bid: HourlyRate) -> Option<u64>;
    /// Launches an on-demand VM; `None` when it is refused.
    fn on_demand(&mut self) -> Option<u64>;
    /// Ends a VM; whether it was alive.
    fn kill(&mut self, id: u64) -> bool;
}

/// What a step shows when it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Which step.
    pub k: usize,
    /// Prices by pool, per VM-hour.
    pub prices: Vec<HourlyRate>,
    /// By pool, whether one more VM would be accepted at its price.
    pub launchable: Vec<bool>,
    /// VMs lost, in the order of loss.
    pub outbid: Vec<u64>,
}

/// What there is to play on, before the first step.
#[derive(Clone, Debug)]
pub struct Field {
    /// In the order of their indices.
    pub pools: Vec<Pool>,
    /// The index of the one that on-demand VMs come from.
    pub on_demand_pool: usize,
    /// GPUs to be held.
    pub target_gpus: u32,
    /// What is billed, and when a VM delivers.
    pub rules: Rules,
    /// How long a step is, in seconds.
    pub dt_s: u32,
    /// When step 0 begins, in seconds since 1970, UTC.
    pub t0_s: i64,
}

impl Field {
    /// When a step begins.
    pub(super) fn began(&self, k: usize) -> Timestamp {
        let passed = i64::try_from(k).unwrap_or(i64::MAX).saturating_mul(i64::from(self.dt_s));
        let latest = Timestamp::MAX;
        Timestamp::from_second(self.t0_s.saturating_add(passed)).unwrap_or(latest)
    }
}

/// What is known of a pool beside its price.
#[derive(Clone, Debug)]
struct Stand {
    shape: Shape,
    /// The host as it is listed while nothing can be had there by bid.
    host: Hostnode,
    lot: Lot,
    /// Lots that anybody may want.
    wanted: u32,
    held: u32,
    /// What it was seen to hold when it refused one more.
    room: Option<u32>,
    /// Something was launched or killed there since the step began: whether there is room has to be asked.
    touched: bool,
}

/// A VM that is listed.
#[derive(Clone, Debug)]
struct Held {
    id: u64,
    vm: WorldVm,
    pool: usize,
    bid: Option<HourlyRate>,
    launched_k: usize,
    lost: bool,
}

/// What a marketplace remembers.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    field: Field,
    stands: Vec<Stand>,
    on_demand: Hostnode,
    opening: Opening,
    vms: BTreeMap<InstanceId, Held>,
    launched: u64,
    /// Launches and kills that were tried.
    writes: u64,
}

impl Counter {
    /// Before the first step. `None` when a pool's GPUs can have no name.
    pub fn new(field: Field) -> Option<Self> {
        let stands: Vec<Stand> =
            field.pools.iter().enumerate().map(|(at, pool)| stand(at, pool, &field)).collect::<Option<_>>()?;
        let from = stands.get(field.on_demand_pool)?;
        let id = ON_DEMAND.parse().ok()?;
        let lot = Lot { sold: Sold::EitherWay, ..from.lot.clone() };
        let lots = (0..from.wanted).map(|number| Lot { id: format!("{ON_DEMAND}-{number}"), ..lot.clone() });
        let on_demand = Hostnode { id, supply: Supply::Lots(lots.collect()), ..from.host.clone() };
        let opening = Opening { k: 0, prices: Vec::new(), launchable: Vec::new(), outbid: Vec::new() };
        Some(Self { field, stands, on_demand, opening, vms: BTreeMap::new(), launched: 0, writes: 0 })
    }

    pub fn field(&self) -> &Field {
        &self.field
    }

    /// A step opens.
    pub fn open(&mut self, opening: Opening) {
        for held in self.vms.values_mut().filter(|held| opening.outbid.contains(&held.id)) {
            held.lost = true;
            if let (Some(_), Some(stand)) = (held.bid, self.stands.get_mut(held.pool)) {
                stand.held = stand.held.saturating_sub(1);
            }
        }
        self.stands.iter_mut().for_each(|stand| stand.touched = false);
        self.opening = opening;
    }

    /// Launches and kills that were tried so far.
    pub const fn writes(&self) -> u64 {
        self.writes
    }

    fn price(&self, pool: usize) -> Option<HourlyRate> {
        self.opening.prices.get(pool).copied()
    }

    fn pool(&self, host: &str) -> Option<usize> {
        self.stands.iter().position(|stand| stand.host.id.as_str() == host)
    }

    fn shown(&self, held: &Held) -> WorldVm {
        let Rules { billing, delay_steps } = self.field.rules;
        let steps = u64::try_from(self.opening.k.saturating_sub(held.launched_k)).unwrap_or(u64::MAX);
        let is_late = steps.saturating_mul(u64::from(self.field.dt_s)) >= STARTING_S_MAX;
        let status = match (held.lost, steps >= u64::from(delay_steps) || is_late) {
            (true, _) => InstanceStatus::Outbid,
            (false, true) => InstanceStatus::Running,
            (false, false) => InstanceStatus::Starting,
        };
        let mut vm = held.vm.clone();
        vm.instance.status = status;
        vm.instance.quoted = match (held.bid, billing) {
            (None, _) | (Some(_), Billing::Bid) => vm.instance.quoted,
            (Some(bid), Billing::Market) => {
                Some(Rates { compute: self.price(held.pool).unwrap_or(bid).min(bid), ..Rates::default() })
            }
        };
        vm
    }
}

fn stand(at: usize, pool: &Pool, field: &Field) -> Option<Stand> {
    let shape = Shape { gpu_model: terms::model(pool)?, gpus: pool.gpu_count, vcpus: 0, ram_gb: 0, storage_gb: 0 };
    let id = format!("pool-{at:03}");
    let host = Hostnode {
        id: id.parse().ok()?,
        location: Location { region: pool.zone.clone(), ..Location::default() },
        uptime_ppm: None,
        online: true,
        supply: Supply::Lots(Vec::new()),
        spot: SpotTerms::None,
        ports: Ports::GivenForSsh,
        available_until: None,
    };
    let rates = Rates { compute: pool.on_demand, ..Rates::default() };
    let lot = Lot { id, shape: shape.clone(), sizes: Sizes::Unsaid, rates, sold: Sold::ByBid };
    let wanted = field.target_gpus.div_ceil(pool.gpu_count.max(1)).saturating_add(1).min(LOTS_MAX);
    Some(Stand { shape, host, lot, wanted, held: 0, room: None, touched: false })
}

/// A counter with the step that is open.
pub(super) struct At<'a> {
    pub counter: &'a mut Counter,
    pub hand: &'a mut dyn Hand,
}

impl At<'_> {
    fn is_open(&mut self, pool: usize) -> bool {
        let Some(price) = self.counter.price(pool) else { return false };
        let is_touched = self.counter.stands.get(pool).is_some_and(|stand| stand.touched);
        if !is_touched {
            return self.counter.opening.launchable.get(pool).copied().unwrap_or(false);
        }
        let is_open = self.hand.validate(pool, price);
        // Where the price is within the cap, only room can be wanting.
        if let Some(stand) = self.counter.stands.get_mut(pool).filter(|stand| price <= stand.lot.rates.compute) {
            stand.room = if is_open { stand.room } else { Some(stand.held) };
        }
        is_open
    }

    fn listed(&mut self, pool: usize) -> Option<Hostnode> {
        let is_open = self.is_open(pool);
        let price = self.counter.price(pool)?;
        let Stand { host, lot, shape, wanted, held, room, .. } = self.counter.stands.get(pool)?;
        let mut host = host.clone();
        if is_open {
            let lots = room.map_or(*wanted, |room| room.saturating_sub(*held).clamp(1, *wanted));
            let lots = (0..lots).map(|number| Lot { id: format!("{}-{number}", lot.id), ..lot.clone() });
            host.supply = Supply::Lots(lots.collect());
            let gpus = u64::from(shape.gpus.max(1));
            host.spot = SpotTerms::ListedPerGpu(HourlyRate::from_micros(price.micros().div_ceil(gpus)));
        }
        Some(host)
    }

    fn launch(&mut self, order: &WorldOrder) -> Result<(u64, usize), Refusal> {
        let WorldOrder { hostnode, shape, price_type, bid, .. } = order;
        self.counter.writes += 1;
        match (price_type, bid) {
            (PriceType::OnDemand, None) => {
                let pool = self.counter.field.on_demand_pool;
                if hostnode.as_str() != ON_DEMAND || self.counter.on_demand.price(shape).is_err() {
                    return Err(Refusal::NoCapacity("there is nothing on demand like that".into()));
                }
                let id = self.hand.on_demand();
                id.map(|id| (id, pool)).ok_or_else(|| Refusal::NoCapacity("on demand was refused".into()))
            }
            (PriceType::Spot, Some(bid)) => {
                let pool = self.counter.pool(hostnode.as_str());
                let pool = pool.ok_or_else(|| Refusal::NoCapacity("there is no such pool".into()))?;
                let price = self.counter.price(pool).unwrap_or_default();
                let stand = self.counter.stands.get_mut(pool);
                let stand = stand.filter(|stand| stand.shape.gpus == shape.gpus);
                let stand = stand.ok_or_else(|| Refusal::NoCapacity("the pool has no VMs of that size".into()))?;
                stand.touched = true;
                match self.hand.spot(pool, *bid) {
                    Some(id) => {
                        stand.held += 1;
                        stand.room = stand.room.map(|room| room.max(stand.held));
                        Ok((id, pool))
                    }
                    None if *bid < price => Err(Refusal::BidTooLow("the bid is less than the price".into())),
                    None if *bid > stand.lot.rates.compute => {
                        Err(Refusal::Refused("the bid is more than the price on demand".into()))
                    }
                    None => {
                        stand.room = Some(stand.held);
                        Err(Refusal::NoCapacity("the pool holds as many VMs as it may".into()))
                    }
                }
            }
            (PriceType::OnDemand, Some(_)) | (PriceType::Spot, None) => {
                Err(Refusal::Refused("a bid belongs to spot, and spot to a bid".into()))
            }
        }
    }
}

impl Backend for At<'_> {
    fn now(&self) -> Timestamp {
        self.counter.field.began(self.counter.opening.k)
    }

    fn hostnodes(&mut self) -> Vec<Hostnode> {
        let pools: Vec<Hostnode> = (0..self.counter.stands.len()).filter_map(|pool| self.listed(pool)).collect();
        std::iter::once(self.counter.on_demand.clone()).chain(pools).collect()
    }

    fn vms(&mut self) -> Vec<WorldVm> {
        self.counter.vms.values().map(|held| self.counter.shown(held)).collect()
    }

    fn vm(&mut self, id: &InstanceId) -> Option<WorldVm> {
        self.counter.vms.get(id).map(|held| self.counter.shown(held))
    }

    fn wallet(&mut self) -> (Usd, HourlyRate) {
        let alive = self.counter.vms.values().filter(|held| !held.lost);
        let rates = alive.filter_map(|held| self.counter.shown(held).instance.billed());
        (BALANCE, rates.map(Rates::total).sum())
    }

    fn validate(&mut self, bid: &Bid) -> BidAnswer {
        let pool = self.counter.pool(bid.hostnode.as_str());
        match pool.is_some_and(|pool| self.hand.validate(pool, bid.price)) {
            true => BidAnswer::Accepted,
            false => BidAnswer::Refused,
        }
    }

    fn rebid(&mut self, _: &InstanceId, _: HourlyRate) -> Result<BidAnswer, Refusal> {
        Err(Refusal::Refused("a bid is never changed".into()))
    }

    fn deploy(&mut self, order: WorldOrder) -> Result<WorldVm, Refusal> {
        let (id, pool) = self.launch(&order)?;
        let WorldOrder { name, hostnode, shape, price_type, bid, image, ports, rule: _ } = order;
        let counter = &mut *self.counter;
        let k = counter.opening.k;
        let number = counter.launched;
        counter.launched += 1;
        let on_demand = counter.field.pools.get(pool).map(|pool| pool.on_demand).unwrap_or_default();
        let vm = WorldVm {
            instance: Instance {
                id: format!("vm-{number}").parse().map_err(|_| Refusal::Gone)?,
                name,
                status: InstanceStatus::Starting,
                hostnode: Some(hostnode),
                gpu_model: Some(shape.gpu_model.clone()),
                gpus: shape.gpus,
                price_type: Some(price_type),
                quoted: Some(Rates { compute: bid.unwrap_or(on_demand), ..Rates::default() }),
                address: None,
                ports,
                created_at: Some(counter.field.began(k)),
                available_until: None,
            },
            shape,
            location: Location::default(),
            image,
        };
        let held = Held { id, vm: vm.clone(), pool, bid, launched_k: k, lost: false };
        counter.vms.insert(vm.instance.id.clone(), held);
        Ok(vm)
    }

    fn start(&mut self, _: &InstanceId) -> Result<(), Refusal> {
        Err(Refusal::Refused("nothing is started here".into()))
    }

    fn stop(&mut self, _: &InstanceId, _: Stop) -> Result<(), Refusal> {
        Err(Refusal::Refused("nothing is stopped here".into()))
    }

    fn modify(&mut self, _: &InstanceId, _: Shape) -> Result<(), Refusal> {
        Err(Refusal::Refused("nothing is resized here".into()))
    }

    /// What was lost is only struck off the list: the market took it away already.
    fn terminate(&mut self, id: &InstanceId) -> Result<(), Refusal> {
        let counter = &mut *self.counter;
        let Held { id: theirs, pool, bid, lost, .. } = counter.vms.remove(id).ok_or(Refusal::Gone)?;
        counter.writes += 1;
        if lost || !self.hand.kill(theirs) {
            return Ok(());
        }
        if let (Some(_), Some(stand)) = (bid, counter.stands.get_mut(pool)) {
            stand.held = stand.held.saturating_sub(1);
            stand.touched = true;
        }
        Ok(())
    }

    fn month(&mut self, _: i16, _: i8) -> WorldMonth {
        WorldMonth::default()
    }
}
