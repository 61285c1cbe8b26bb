//! What a peer holds, and the moves that several of them have in common.
//!
//! A peer only says which pool and bid comes next ([`Bid`]); filling up to the target, falling back to on demand and going
//! back with the replacement first are here, once.

use crate::{
    model::HourlyRate,
    sim::trace::{Billing, Desk, VmId, run::Tenure, run::Vm},
};
use std::collections::BTreeMap;

/// What is bid beyond the price where one pays the bid, in parts per million: as the daemon's own `spot.margin`.
pub const MARGIN_PPM: u64 = 50_000;
const PPM: u64 = 1_000_000;

/// A spot VM to be launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bid {
    /// The index of its pool.
    pub pool: usize,
    /// Per VM-hour.
    pub bid: HourlyRate,
}

/// GPUs alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// On spot.
    pub spot: u32,
    /// Of these, ready.
    pub spot_ready: u32,
    /// On demand.
    pub on_demand: u32,
    /// Of these, ready.
    pub on_demand_ready: u32,
}

impl Stock {
    /// Now.
    pub fn of(desk: &Desk<'_>) -> Self {
        let mut stock = Self::default();
        for vm in desk.vms() {
            let ready = if is_ready(desk, vm) { vm.gpus } else { 0 };
            let (all, of_these) = match vm.tenure {
                Tenure::Spot(_) => (&mut stock.spot, &mut stock.spot_ready),
                Tenure::OnDemand => (&mut stock.on_demand, &mut stock.on_demand_ready),
            };
            *all = all.saturating_add(vm.gpus);
            *of_these = of_these.saturating_add(ready);
        }
        stock
    }
}

fn is_ready(desk: &Desk<'_>, vm: &Vm) -> bool {
    vm.launched_k.saturating_add(desk.rules().delay_steps as usize) <= desk.k()
}

/// Launches spot up to so many GPUs, each VM as `choose` says for what is missing, until it has no choice.
pub fn fill_spot(desk: &mut Desk<'_>, gpus: u32, mut choose: impl FnMut(&Desk<'_>, u32) -> Option<Bid>) {
    // Every turn launches at least one GPU or is the last.
    loop {
        let gap = gpus.saturating_sub(Stock::of(desk).spot);
        let Some(Bid { pool, bid }) = (if gap == 0 { None } else { choose(desk, gap) }) else { return };
        if desk.spot(pool, bid).is_err() {
            return;
        }
    }
}

/// Launches on demand until this many GPUs are alive in all, as long as a VM fits.
pub fn fill_on_demand(desk: &mut Desk<'_>, gpus: u32) {
    let spot = Stock::of(desk).spot;
    fill_kind_on_demand(desk, gpus.saturating_sub(spot));
}

/// Launches on demand until this many GPUs are on demand, as long as a VM fits.
pub fn fill_kind_on_demand(desk: &mut Desk<'_>, gpus: u32) {
    let size = desk.pools().get(desk.on_demand_pool()).map_or(0, |pool| pool.gpu_count).max(1);
    let vms = gpus.saturating_sub(Stock::of(desk).on_demand) / size;
    for _ in 0..vms {
        if desk.on_demand().is_err() {
            return;
        }
    }
}

/// Ends on-demand VMs, the youngest first, as long as no fewer GPUs than these stay on demand.
pub fn trim_on_demand(desk: &mut Desk<'_>, gpus: u32) {
    let mut left = Stock::of(desk).on_demand;
    for vm in on_demand_youngest_first(desk) {
        if left.saturating_sub(vm.gpus) >= gpus {
            left -= vm.gpus;
            desk.kill(vm.id);
        }
    }
}

/// Ends on-demand VMs, the youngest first, as long as what is ready without them is at least this.
pub fn let_go(desk: &mut Desk<'_>, gpus: u32) {
    let Stock { spot_ready, on_demand_ready, .. } = Stock::of(desk);
    let mut ready = spot_ready.saturating_add(on_demand_ready);
    for vm in on_demand_youngest_first(desk) {
        let without = if is_ready(desk, &vm) { ready.saturating_sub(vm.gpus) } else { ready };
        if without >= gpus {
            ready = without;
            desk.kill(vm.id);
        }
    }
}

fn on_demand_youngest_first(desk: &Desk<'_>) -> Vec<Vm> {
    let mut vms: Vec<Vm> = desk.vms().filter(|vm| vm.tenure == Tenure::OnDemand).copied().collect();
    vms.reverse();
    vms
}

/// Fills the target with spot as `choose` says, what no pool takes with on demand, and lets on demand go when enough is
/// ready without it.
pub fn hold_target(desk: &mut Desk<'_>, choose: impl FnMut(&Desk<'_>, u32) -> Option<Bid>) {
    let target = desk.target_gpus();
    fill_spot(desk, target, choose);
    fill_on_demand(desk, target);
    let_go(desk, target);
}

/// Pools whose VM fits into so many GPUs, by index.
pub fn fitting_pools(desk: &Desk<'_>, gpus: u32) -> impl Iterator<Item = usize> {
    desk.pools().iter().enumerate().filter(move |(_, pool)| pool.gpu_count <= gpus).map(|(at, _)| at)
}

/// Of these, pools that would take one more VM at their price now.
pub fn open_pools(desk: &Desk<'_>, gpus: u32) -> impl Iterator<Item = usize> {
    let takes = |pool: usize| desk.prices().get(pool).is_some_and(|price| desk.validate(pool, *price).is_ok());
    fitting_pools(desk, gpus).filter(move |pool| takes(*pool))
}

/// The price of a pool per GPU, to be compared.
pub fn per_gpu(desk: &Desk<'_>, pool: usize) -> u128 {
    desk.prices().get(pool).map_or(u128::MAX, |price| rate_per_gpu(desk, pool, *price))
}

/// A rate for a VM of a pool per GPU, in millionths of a micro, to be compared.
pub fn rate_per_gpu(desk: &Desk<'_>, pool: usize, rate: HourlyRate) -> u128 {
    let gpus = desk.pools().get(pool).map_or(1, |pool| pool.gpu_count.max(1));
    u128::from(rate.micros()) * u128::from(PPM) / u128::from(gpus)
}

/// The cap where one pays the market, else the price and the margin within the cap.
pub fn plain_bid(desk: &Desk<'_>, pool: usize) -> HourlyRate {
    let cap = desk.pools().get(pool).map_or(HourlyRate::ZERO, |pool| pool.on_demand);
    let price = desk.prices().get(pool).copied().unwrap_or(cap);
    match desk.rules().billing {
        Billing::Market => cap,
        Billing::Bid => price.share_ppm(PPM + MARGIN_PPM).min(cap),
    }
}

/// GPUs on spot in a pool.
pub fn spot_gpus_in(desk: &Desk<'_>, pool: usize) -> u32 {
    spot(desk).filter(|vm| vm.pool == pool).fold(0, |gpus, vm| gpus.saturating_add(vm.gpus))
}

/// Where each spot VM is.
pub fn spot_pools(desk: &Desk<'_>) -> BTreeMap<VmId, usize> {
    spot(desk).map(|vm| (vm.id, vm.pool)).collect()
}

/// The pools of spot VMs that became ready in this step.
pub fn newly_ready_pools(desk: &Desk<'_>) -> Vec<usize> {
    let delay = desk.rules().delay_steps as usize;
    spot(desk).filter(|vm| vm.launched_k.saturating_add(delay) == desk.k()).map(|vm| vm.pool).collect()
}

fn spot<'a>(desk: &'a Desk<'_>) -> impl Iterator<Item = &'a Vm> {
    desk.vms().filter(|vm| match vm.tenure {
        Tenure::Spot(_) => true,
        Tenure::OnDemand => false,
    })
}
