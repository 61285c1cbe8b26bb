//! The readers that a marketplace's folder has beside its verbs: the calls that no fleet needs.

use crate::{
    exchanges::{Reader, reader},
    sane::{AMOUNT_MICROS_MAX, GPUS_MAX, SIZE_MAX, Sane, amount, count, price, text},
    stand::{KEY, PASSWORD, TOKEN},
};
use spotscale::{
    market::{
        tensordock_v0::{
            TensordockV0,
            nouns::{
                Authorization, HostRevenue, InstantOrder, InstantSize, InstantVm, InstantVms, Modification,
                MonthlySummary, Replica, RevenueQuery, Transaction, VmRevenue,
            },
        },
        tensordock_v2::{
            TensordockV2,
            calls::Filters,
            cloud_init::CloudInit,
            nouns::{
                self as v2, Creation, Login, NewSecret, Opened, Organization, Place, PlaceGpus, Secret, SecretId,
                SecretKind, Site,
            },
        },
        vectordash::{
            Vectordash,
            nouns::{self as dash, Account, ListedGpu, Session},
        },
    },
    model::{Shape, offer::Stock},
    settings::Api,
};

/// Of a marketplace.
pub fn own(api: Api) -> Vec<Reader> {
    match api {
        Api::TensordockV0 => tensordock_v0(),
        Api::TensordockV2 => tensordock_v2(),
        Api::Vectordash => vectordash(),
        // Its verbs are all that there is.
        Api::Trace => Vec::new(),
    }
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

fn tensordock_v2() -> Vec<Reader> {
    let says = TensordockV2::new(TOKEN.into());
    let vm = "10873ec1-b418-4c14-871e-37b658bd0d42".parse().unwrap();
    let secret: SecretId = "a-secret".parse().unwrap();
    let gpu_model = "geforcertx4090-pcie-24gb".parse().unwrap();
    let new = Creation {
        name: "somewhere".parse().unwrap(),
        image: "ubuntu2404".to_owned(),
        site: Site::Place("a-place".parse().unwrap()),
        shape: Shape { gpu_model, gpus: 1, vcpus: 2, ram_gb: 4, storage_gb: 100 },
        ports: [(20_000, 22)].into(),
        dedicated_ip: false,
        login: Login::KeyId(secret.clone()),
        cloud_init: CloudInit::default(),
    };
    let larger = v2::Modification { vcpus: 4, ram_gb: 16, storage_gb: 150, gpus: None };
    let kept = NewSecret { name: "mine".to_owned(), kind: SecretKind::Generic, value: PASSWORD.into() };
    vec![
        reader(says.organization()),
        reader(says.places()),
        reader(says.hostnodes_with(&Filters { vcpus_min: Some(2), ..Filters::default() })),
        reader(says.create(&new)),
        reader(says.modify(&vm, &larger)),
        reader(says.secrets()),
        reader(says.secret(&secret)),
        reader(says.keep_secret(&kept)),
        reader(says.forget_secret(&secret)),
    ]
}

fn vectordash() -> Vec<Reader> {
    let says = Vectordash::new(TOKEN.into());
    let until = Some("2026-12-01T00:00:00Z".parse().unwrap());
    let new = dash::Creation { name: "new".parse().unwrap(), gpu: "Titan V".to_owned(), image: None, until };
    vec![reader(says.account()), reader(says.gpus()), reader(says.sessions()), reader(says.create(&new))]
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
    fn dropped(&self) -> Vec<String> {
        [self.sizes.dropped(), self.offers.dropped()].concat()
    }

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
    fn dropped(&self) -> Vec<String> {
        self.vms.dropped()
    }

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
    fn dropped(&self) -> Vec<String> {
        self.transactions.values().flat_map(Sane::dropped).collect()
    }

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

impl Sane for Organization {
    fn faults(&self) -> Vec<String> {
        texts([&self.id])
    }
}

impl Sane for Place {
    fn faults(&self) -> Vec<String> {
        let Self { id, location, tier, gpus } = self;
        let tier = count("tier", tier.unwrap_or_default(), 10);
        let named = gpus.keys().flat_map(|model| text("model", model.as_str()));
        let gpus = gpus.values().flat_map(Sane::faults).chain(named);
        [text("id", id.as_str()), location.faults(), tier].concat().into_iter().chain(gpus).collect()
    }
}

impl Sane for PlaceGpus {
    fn faults(&self) -> Vec<String> {
        let Self {
            display_name,
            gpus,
            vcpus,
            ram_gb,
            storage_gb,
            dedicated_ip: _,
            port_forwarding: _,
            network_storage: _,
        } = self;
        let stock = |what: &str, stock: &Stock, most: u32| [count(what, stock.free, most), price(what, stock.price)];
        let stocks = [
            stock("GPUs", gpus, GPUS_MAX),
            stock("vCPU", vcpus, SIZE_MAX),
            stock("RAM", ram_gb, SIZE_MAX),
            stock("disk", storage_gb, SIZE_MAX),
        ];
        [texts([display_name]), stocks.concat().concat()].concat()
    }
}

impl Sane for Secret {
    fn faults(&self) -> Vec<String> {
        let Self { id, name, kind: _ } = self;
        [text("id", id.as_str()), text("name", name)].concat()
    }
}

/// What it holds is the operator's own, whatever is in it; it never prints.
impl Sane for Opened {
    fn faults(&self) -> Vec<String> {
        self.secret.faults()
    }
}

impl Sane for SecretId {
    fn faults(&self) -> Vec<String> {
        text("id", self.as_str())
    }
}

impl Sane for Account {
    fn faults(&self) -> Vec<String> {
        let Self { email, email_confirmed: _, payment_method_added: _, vetted_host: _, wallets } = self;
        let wallets =
            wallets.iter().flat_map(|(currency, wallet)| [text("currency", currency), text("wallet", wallet)]);
        [texts([email]), wallets.flatten().collect()].concat()
    }
}

impl Sane for ListedGpu {
    fn faults(&self) -> Vec<String> {
        let Self { kind, model, teraflops_milli: _, vram_gb, generation, rate, available: _, asic: _ } = self;
        let model = model.iter().flat_map(|model| text("model", model.as_str())).collect();
        let vram = count("memory", vram_gb.unwrap_or_default(), SIZE_MAX);
        [text("type", kind), model, vram, texts([generation]), price("rate", *rate)].concat()
    }
}

impl Sane for Session {
    fn faults(&self) -> Vec<String> {
        let Self { instance, user, cpu, ram_gb, storage_gb, image, ended_at: _, estimated_charge, duration_h } = self;
        let counts = [ram_gb, storage_gb, duration_h].map(|size| count("size", size.unwrap_or_default(), SIZE_MAX));
        let charge = amount("charge", estimated_charge.unwrap_or_default());
        [instance.faults(), texts([user, cpu, image]), counts.concat(), charge].concat()
    }
}
