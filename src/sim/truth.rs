//! What only the one who runs the world may know: for tests, for the demo's summary, for the simulator's checks.

use super::{
    host::Usage,
    vm::{Origin, Vm},
    wallet::Grains,
    world::World,
};
use crate::model::{HostnodeId, HourlyRate, InstanceId, Timestamp, Usd, VmName};
use std::collections::{BTreeMap, BTreeSet};

/// The account's whole story so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// When the world began.
    pub opened_at: Timestamp,
    /// When this was asked.
    pub at: Timestamp,
    /// What the account began with, and was given since.
    pub opening_balance: Usd,
    /// What it holds.
    pub balance: Usd,
    /// What it pays per hour.
    pub hourly_cost: HourlyRate,
    /// What it paid.
    pub spent: Usd,
    /// GPU time delivered, by VMs made through the API: seconds running times GPUs.
    pub gpu_seconds: u64,
    /// What was paid for VMs made through the API.
    pub spent_on_api_vms: Usd,
    /// What the delivered GPU time would have cost on demand, on the same hosts at the prices of the day it was rented.
    pub on_demand_equivalent: Usd,
    /// VMs that were outbid, counted each time.
    pub outbids: u64,
    /// Of those that exist, the ones that no list shows now: hidden by themselves or with their machine.
    pub unlisted: BTreeSet<InstanceId>,
    /// Of those that exist, the ones whose machine is away, whatever they would do if it were not.
    pub away: BTreeSet<InstanceId>,
    /// All VMs there ever were, in the order in which they were made.
    pub vms: Vec<Vm>,
}

impl Truth {
    /// Names that more than one VM made through the API has had: a deploy was doubled.
    pub fn doubled(&self) -> Vec<VmName> {
        let mut counts: BTreeMap<&VmName, u32> = BTreeMap::new();
        for vm in self.vms.iter().filter(|vm| vm.origin == Origin::Api) {
            *counts.entry(&vm.name).or_default() += 1;
        }
        counts.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name.clone()).collect()
    }

    /// Those that exist.
    pub fn alive(&self) -> impl Iterator<Item = &Vm> {
        self.vms.iter().filter(|vm| vm.ended.is_none())
    }

    /// Average price of a delivered GPU-hour of VMs made through the API; `None` while nothing was delivered.
    pub fn per_gpu_hour(&self) -> Option<Usd> {
        per_gpu_hour(self.spent_on_api_vms, self.gpu_seconds)
    }

    /// The same hours on demand.
    pub fn on_demand_per_gpu_hour(&self) -> Option<Usd> {
        per_gpu_hour(self.on_demand_equivalent, self.gpu_seconds)
    }
}

fn per_gpu_hour(amount: Usd, gpu_seconds: u64) -> Option<Usd> {
    let micros = i128::from(amount.micros()) * 3_600 / i128::from((gpu_seconds > 0).then_some(gpu_seconds)?);
    i64::try_from(micros).ok().map(Usd::from_micros)
}

/// What is told of many VMs by its sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub spent: Grains,
    /// Of that, on those made through the API; what follows is of these alone.
    pub spent_on_api_vms: Grains,
    would_have_cost: Grains,
    gpu_seconds: u64,
    /// Of all of them.
    outbids: u64,
}

impl Sums {
    /// With one more.
    pub fn with(mut self, vm: &Vm) -> Self {
        self.spent = self.spent.plus(vm.spent);
        self.outbids += u64::from(vm.outbids);
        if vm.origin == Origin::Api {
            self.spent_on_api_vms = self.spent_on_api_vms.plus(vm.spent);
            self.would_have_cost = self.would_have_cost.plus(vm.would_have_cost);
            self.gpu_seconds += vm.gpu_seconds();
        }
        self
    }
}

impl World {
    /// The account's whole story so far.
    pub fn truth(&self) -> Truth {
        self.truth_since(0)
    }

    /// The same, but of the VMs that are no more only those that were not among the first so many to end.
    pub fn truth_since(&self, ended: usize) -> Truth {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX);
        let gone = self.past.get(ended..).unwrap_or_default();
        let mut vms: Vec<Vm> = gone.iter().chain(self.vms.values()).cloned().collect();
        vms.sort_by(|a, b| (a.made_at, &a.id).cmp(&(b.made_at, &b.id)));
        let sums = self.vms.values().fold(self.buried, Sums::with);
        Truth {
            opened_at: at(self.opened_at),
            at: at(self.now),
            opening_balance: self.opening_balance,
            balance: self.balance.usd(),
            hourly_cost: self.burn(),
            spent: sums.spent.usd(),
            gpu_seconds: sums.gpu_seconds,
            spent_on_api_vms: sums.spent_on_api_vms.usd(),
            on_demand_equivalent: sums.would_have_cost.usd(),
            outbids: sums.outbids,
            unlisted: self.vms.values().filter(|vm| !self.is_listed(vm)).map(|vm| vm.id.clone()).collect(),
            away: self.vms.values().filter(|vm| !self.host_is_up(&vm.hostnode)).map(|vm| vm.id.clone()).collect(),
            vms,
        }
    }

    /// How many VMs are no more.
    pub const fn ended(&self) -> usize {
        self.past.len()
    }

    /// Up to which moment it has lived.
    pub fn moment(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now).unwrap_or(Timestamp::MAX)
    }

    /// Every hostnode there is, listed or not.
    pub fn hostnode_ids(&self) -> Vec<HostnodeId> {
        self.hosts.keys().cloned().collect()
    }

    /// What cannot be: something oversold, a port given twice, money from nowhere. Empty in every world.
    pub fn impossible(&self) -> Vec<String> {
        let mut found = Vec::new();
        for host in self.hosts.values() {
            let Usage { gpus, vcpus, ram_gb, storage_gb, ports } = self.usage(host);
            for (model, used) in &gpus {
                let total = host.racks.get(model).map_or(0, |rack| rack.total);
                if *used > total {
                    found.push(format!("{}: {used} of {total} {model} are in use", host.id));
                }
            }
            let stocks = [(vcpus, host.vcpus, "vCPUs"), (ram_gb, host.ram_gb, "GB of memory")];
            for (used, stock, what) in stocks.into_iter().chain([(storage_gb, host.storage_gb, "GB of disk")]) {
                if used > stock.free {
                    found.push(format!("{}: {used} of {} {what} are in use", host.id, stock.free));
                }
            }
            let given = host.rivals.iter().map(|rival| rival.ports.len()).sum::<usize>()
                + self.vms.values().filter(|vm| vm.hostnode == host.id).map(|vm| vm.ports.len()).sum::<usize>();
            if given != ports.len() || !ports.is_subset(&host.ports) {
                found.push(format!("{}: a port is given twice or does not exist", host.id));
            }
        }
        let spent = self.vms.values().fold(self.buried, Sums::with).spent;
        if self.balance.plus(spent) != Grains::from_usd(self.opening_balance) {
            found.push("what is gone from the balance is not what was paid".to_owned());
        }
        found
    }
}
