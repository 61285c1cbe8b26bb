//! What the scenes are played with: a stage, and all that was found on it, with the tick at which it was.

use crate::{
    engine::{Lever, Role},
    ledger::fleet::Member,
    model::{InstanceId, Usd},
    sim::{
        Call, Fault, Market, Scenery, Stage, Vm, World,
        catalogue::Machine,
        check::{Breach, Promise},
        clock::VirtualClock,
        props::{anothers, honest, still},
        seed::Seed,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Deref, DerefMut},
    time::Duration,
};

pub use crate::sim::props::{NOON, SETTINGS, machines_with};

/// Eight GPUs in VMs of one.
pub const TRAIN: &str = r#"
fleet = "train"
target_gpus = 8
max_hourly_rate = 6.00
balance_floor = 50.00
models = ["rtxa6000-pcie-48gb", "v100-sxm2-16gb"]
[instance]
gpus = { min = 1, max = 1 }
ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIaXnsdHVQJ8sp4Vj2p0Y3z9cQ0nXkzYXn2Qz6m0N6Y demo"
"#;

pub const A6000: &str = "rtxa6000-pcie-48gb";

/// A VM of two GPUs, and no more.
pub fn one() -> String {
    edited(&[("target_gpus = 8", "target_gpus = 2"), ("min = 1, max = 1", "min = 2, max = 2")])
}

/// [`TRAIN`] with parts of it said otherwise.
pub fn edited(edits: &[(&str, &str)]) -> String {
    let edit = |text: String, (from, to): &(&str, &str)| {
        assert!(text.contains(from), "{from} is not in {text}");
        text.replace(from, to)
    };
    edits.iter().fold(TRAIN.to_owned(), edit)
}

/// [`SETTINGS`] with a part said otherwise.
pub fn settings(from: &str, to: &str) -> String {
    assert!(SETTINGS.contains(from), "{from} is not in the settings");
    SETTINGS.replace(from, to)
}

/// A machine with so many GPUs, all of them free.
pub fn free(at: usize, gpus: u32) -> Machine {
    let mut machine = machines_with(&[A6000]).remove(at);
    for (total, taken, _) in machine.gpus.values_mut() {
        (*total, *taken) = (gpus, 0);
    }
    machine
}

/// A world of these machines in which nothing moves by itself.
pub fn world_of(balance: &str, machines: &[Machine]) -> World {
    still(balance.parse().expect("a good literal"), machines)
}

/// A world that [`TRAIN`] can be rented in.
pub fn world(balance: &str) -> World {
    world_of(balance, &machines_with(&[A6000, "v100-sxm2-16gb"]))
}

/// A stage, and what was found on it.
pub struct Play {
    stage: Stage,
    /// At which tick.
    pub found: Vec<(u64, Breach)>,
    /// Found too with every rule kept, because of what the scene itself does.
    pub lets_pass: Option<Promise>,
}

impl Deref for Play {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl DerefMut for Play {
    fn deref_mut(&mut self) -> &mut Stage {
        &mut self.stage
    }
}

impl Play {
    /// With plenty of money.
    pub async fn of(policy: &str) -> Self {
        Self::on(world("500"), SETTINGS, policy).await
    }

    pub async fn on(world: World, settings: &str, policy: &str) -> Self {
        Self::beside(BTreeMap::new(), world, settings, policy).await
    }

    /// With a marketplace `other` in a world of its own.
    pub async fn beside_another(world: World, other: World, settings: &str, policy: &str) -> Self {
        Self::beside([("other".parse().expect("a good literal"), honest(other))].into(), world, settings, policy).await
    }

    async fn beside(
        elsewhere: BTreeMap<crate::model::MarketplaceName, Market>,
        world: World,
        settings: &str,
        policy: &str,
    ) -> Self {
        let scenery = Scenery {
            clock: VirtualClock::at(NOON),
            market: honest(world),
            elsewhere,
            settings,
            role: Role::AsConfigured,
            policies: &[("train", policy)],
            seed: Seed(3),
        };
        let stage = Stage::new(scenery).await.expect("a stage");
        Self { stage, found: Vec::new(), lets_pass: None }
    }

    pub async fn tick(&mut self) {
        self.stage.tick().await;
        let (tick, lets_pass) = (self.stage.ticks(), self.lets_pass);
        let breaches = self.stage.breaches().into_iter().filter(|breach| Some(breach.promise) != lets_pass);
        self.found.extend(breaches.map(|breach| (tick, breach)));
    }

    pub async fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.tick().await;
        }
    }

    /// Ticks for so many seconds, at least.
    pub async fn pass(&mut self, seconds: u64) {
        use crate::io::clock::Clock;
        let until = self.clock.monotonic() + Duration::from_secs(seconds);
        while self.clock.monotonic() < until {
            self.tick().await;
        }
    }

    /// The operator does something; whether he may is part of the play.
    pub async fn pull(&mut self, lever: Lever) {
        drop(self.stage.pull(lever).await);
    }

    pub async fn target(&mut self, gpus: u32) {
        self.pull(Lever::Target { fleet: "train".parse().expect("a good literal"), gpus, lasting: None }).await;
    }

    /// A policy file is written, and noticed.
    pub async fn write(&mut self, text: &str) {
        self.folder().write("train", text);
        self.pull(Lever::Reload).await;
    }

    /// The next so many calls of that kind go wrong.
    pub fn break_next(&self, call: Call, fault: Fault, times: usize) {
        for _ in 0..times {
            self.market().faults.script(call, fault);
        }
    }

    /// From now on this goes wrong with every call of that kind.
    pub fn break_lastingly(&self, call: Call, fault: Fault) {
        self.market().faults.last(call, Some(fault));
    }

    /// Money goes out of the account.
    pub fn withdraw(&self, amount: &str) {
        let amount: Usd = amount.parse().expect("a good literal");
        self.market().world.deposit(Usd::ZERO.minus(amount));
    }

    /// A VM is taken away.
    pub fn lose_one(&self) {
        if let Some(first) = self.alive().into_iter().next() {
            self.market().world.take_away(&first.id);
        }
    }

    /// VMs that are there, in the order in which they were made.
    pub fn alive(&self) -> Vec<Vm> {
        self.market().world.truth().alive().cloned().collect()
    }

    /// The fleet's members, as the newest plan knew them, the oldest first.
    pub fn members(&self) -> Vec<Member> {
        let status = self.status();
        let state = status.situation.iter().flat_map(|situation| situation.fleets.values());
        let mut members: Vec<Member> = state.flat_map(|state| state.fleet.members.values().cloned()).collect();
        members.sort_by_key(|member| (member.intended_at, member.name.clone()));
        members
    }

    /// Lists do not show the newest VM for so many seconds.
    pub fn conceal_newest(&self, seconds: u64) {
        use crate::io::clock::Clock;
        let until = crate::model::time::after(self.clock.now(), Duration::from_secs(seconds));
        if let Some(newest) = self.alive().pop() {
            self.market().conceal(crate::settings::Vendor::Tensordock, newest.id, until);
        }
    }

    /// The newest plan's reasons for not doing more, for whoever reads a failure.
    pub fn blocked(&self) -> Vec<String> {
        let status = self.status();
        let reports = status.plan.iter().flat_map(|plan| plan.report.values());
        let blocked = reports.flat_map(|report| &report.blocked);
        blocked.map(|unmet| format!("{} {}: {}", unmet.gpus, unmet.reason, unmet.detail)).collect()
    }
}

/// Somebody else puts a VM of one GPU into an account.
pub fn stranger(world: &mut World, called: &str) -> Option<InstanceId> {
    let found = machines_with(&["rtxa4000-pcie-16gb", A6000]);
    let ids: BTreeSet<_> = world.hostnode_ids().into_iter().collect();
    found.into_iter().filter(|machine| ids.contains(&machine.id)).find_map(|machine| {
        let (gpu_model, _) = machine.gpus.first_key_value()?;
        let order = anothers(called.parse().ok()?, machine.id.clone(), gpu_model.clone(), 1);
        world.deploy_foreign(order).ok()
    })
}
