//! The readers that a marketplace's folder has beside its verbs: the calls that no fleet needs.

use crate::{
    exchanges::{Reader, reader},
    sane::{AMOUNT_MICROS_MAX, GPUS_MAX, SIZE_MAX, Sane, amount, count, price, text},
    stand::{KEY, TOKEN},
};
use spotscale::{
    market::tensordock_v0::{
        TensordockV0,
        nouns::{
            Authorization, HostRevenue, InstantOrder, InstantSize, InstantVm, InstantVms, Modification, MonthlySummary,
            Replica, RevenueQuery, Transaction, VmRevenue,
        },
    },
    settings::Api,
};

/// Makes a folder's own readers.
type Own = fn() -> Vec<Reader>;

/// Of a marketplace; none where the verbs and raw calls are all that there is.
pub fn own(api: Api) -> Vec<Reader> {
    const OWN: [(Api, Own); 1] = [(Api::TensordockV0, tensordock_v0)];
    OWN.iter().filter(|(of, _)| *of == api).flat_map(|(_, readers)| readers()).collect()
}

fn tensordock_v0() -> Vec<Reader> {
    let says = TensordockV0::new(KEY.into(), TOKEN.into());
    let vm = "10873ec1-b418-4c14-871e-37b658bd0d42".parse().unwrap();
    let instant =
        InstantOrder { instant: vm, name: "at-once".parse().unwrap(), password: None, ssh_key: None, cloud_init: None };
    let larger = Modification { gpus: Some(4), vcpus: None, ram_gb: None, storage_gb: None, gpu_model: None };
    vec![
        reader(says.authorizations()),
        reader(says.modify(&instant.instant, &larger)),
        reader(says.instant_vms()),
        reader(says.deploy_instant(&instant)),
        reader(says.container_replicas("a-container").unwrap()),
        reader(says.revenue(&RevenueQuery::default())),
        reader(says.monthly_summary("2024-01".parse().unwrap())),
    ]
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a Option<String>>) -> Vec<String> {
    texts.into_iter().flatten().flat_map(|one| text("a text", one)).collect()
}

impl Sane for Authorization {
    fn faults(&self) -> Vec<String> {
        let Self { name, permissions, created_at: _, note } = self;
        [text("name", name), texts([permissions, note])].concat()
    }
}

impl Sane for InstantVms {
    fn faults(&self) -> Vec<String> {
        [self.sizes.faults(), self.offers.faults()].concat()
    }
}

impl Sane for InstantSize {
    fn faults(&self) -> Vec<String> {
        let Self { id, gpus, gpu_models: _, vcpus, ram_gb, storage_gb, image } = self;
        let sizes = [vcpus, ram_gb, storage_gb].into_iter().flat_map(|size| count("size", *size, SIZE_MAX));
        let gpus = gpus.iter().flat_map(|gpus| count("GPUs", *gpus, GPUS_MAX));
        text("id", id.as_str()).into_iter().chain(sizes).chain(gpus).chain(texts([image])).collect()
    }
}

impl Sane for InstantVm {
    fn faults(&self) -> Vec<String> {
        let sizes =
            [self.vcpus, self.ram_gb, self.storage_gb].into_iter().flat_map(|size| count("size", size, SIZE_MAX));
        let prices = [self.rates.compute, self.rates.storage].into_iter().flat_map(|rate| price("rate", rate));
        let told = texts([&self.data_centre, &self.cpu_model]);
        self.location.faults().into_iter().chain(sizes).chain(prices).chain(told).collect()
    }
}

impl Sane for Replica {
    fn faults(&self) -> Vec<String> {
        let Self { vm, address, ports, rate, uptime_url } = self;
        let ports = count("ports", u32::try_from(ports.len()).unwrap_or(u32::MAX), 65_536);
        [text("id", vm.as_str()), texts([address, uptime_url]), ports, price("rate", *rate)].concat()
    }
}

impl Sane for HostRevenue {
    fn faults(&self) -> Vec<String> {
        let mut faults = [texts([&self.location]), self.vms.faults()].concat();
        faults.extend(amount("compute", self.compute));
        faults.extend(amount("storage", self.storage));
        faults
    }
}

impl Sane for VmRevenue {
    fn faults(&self) -> Vec<String> {
        [amount("compute", self.compute), amount("storage", self.storage)].concat()
    }
}

impl Sane for MonthlySummary {
    fn faults(&self) -> Vec<String> {
        let sums = [self.previous_balance, self.final_balance, self.expenses, self.payouts];
        let sums = sums.into_iter().flat_map(|sum| amount("a sum", sum));
        sums.chain(self.transactions.values().flat_map(Sane::faults)).collect()
    }
}

impl Sane for Transaction {
    fn faults(&self) -> Vec<String> {
        let Self { amount: paid, vm: _, hostnode: _, rate, gpus, storage_gb, from, to } = self;
        let mut faults = texts([gpus, from, to]);
        if paid.micros() < 0 || paid.micros().unsigned_abs() > AMOUNT_MICROS_MAX {
            faults.push(format!("paid {paid}"));
        }
        faults.extend(price("rate", rate.unwrap_or_default()));
        faults.extend(count("storage", storage_gb.unwrap_or_default(), SIZE_MAX));
        faults
    }
}
