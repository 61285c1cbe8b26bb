//! A rehearsed daemon, and what every test of it asserts: the stage itself is [`spotscale::sim::Stage`].
//!
//! Each [`Stage::tick`] must leave no trouble and break no promise. A test moves levers, edits files, breaks answers and pulls
//! the plug in between.

use spotscale::{
    engine::{Handle, Lever, LeverError, Role, Status},
    io::{
        clock::Clock,
        store::{Store, memory::Mishap},
    },
    ledger::{Standing, fleet::Member},
    market::WorldOrder,
    model::{FleetName, InstanceId, MarketplaceName, PriceType, Refusal},
    plan::{Action, FleetReport},
    sim::{
        Call, Ended, Fault, Market, Origin, Scenery, Vm, World, catalogue::Machine, clock::VirtualClock, power::Cut,
        props, seed::Seed, stage as rehearsed,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

pub use spotscale::sim::{
    doors::Weather,
    props::{NOON, SETTINGS, honest, machines_with},
};

/// What a read is asked at most before it counts as failed (`market::client`).
const READ_ATTEMPTS: usize = 3;

/// A market on which nothing moves by itself: the machines that [`super::TRAIN`] may rent on, and some of another model.
pub fn still(balance: &str) -> World {
    of_machines(
        balance,
        &machines_with(&["rtxa6000-pcie-48gb", "v100-sxm2-16gb", "l40-pcie-48gb", "rtxa4000-pcie-16gb"]),
    )
}

/// A market on which nothing moves by itself, of these machines.
pub fn of_machines(balance: &str, machines: &[Machine]) -> World {
    props::still(balance.parse().unwrap(), machines)
}

/// The engine on its market, and what every test of it asserts.
pub struct Stage {
    stage: rehearsed::Stage,
    /// Said when something does not hold.
    pub story: String,
}

impl Deref for Stage {
    type Target = rehearsed::Stage;

    fn deref(&self) -> &rehearsed::Stage {
        &self.stage
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut rehearsed::Stage {
        &mut self.stage
    }
}

impl Stage {
    /// These policies on a still market, with plenty of money.
    pub async fn new(policies: &[(&str, &str)]) -> Self {
        Self::on(still("500"), policies).await
    }

    /// These policies in this world.
    pub async fn on(world: World, policies: &[(&str, &str)]) -> Self {
        Self::with(world, SETTINGS, Role::AsConfigured, policies).await
    }

    /// These policies in this world, under these settings, in this role.
    pub async fn with(world: World, text: &str, role: Role, policies: &[(&str, &str)]) -> Self {
        Self::behind(VirtualClock::at(NOON), BTreeMap::new(), honest(world), text, role, policies).await
    }

    /// Two marketplaces, `tensordock` in this world and `other` in another that is just like it, by a clock on which
    /// several can wait at the same time.
    pub async fn of_two(text: &str, policies: &[(&str, &str)]) -> Self {
        let clock = VirtualClock::patient(NOON);
        let elsewhere = [("other".parse().unwrap(), honest(still("500")))].into();
        Self::behind(clock, elsewhere, honest(still("500")), text, Role::AsConfigured, policies).await
    }

    /// All marketplaces of these settings in one market, by a clock on which several can wait at the same time.
    pub async fn across(market: Market, text: &str, policies: &[(&str, &str)]) -> Self {
        let clock = VirtualClock::patient(NOON);
        Self::behind(clock, BTreeMap::new(), market, text, Role::AsConfigured, policies).await
    }

    async fn behind(
        clock: VirtualClock,
        elsewhere: BTreeMap<MarketplaceName, Market>,
        market: Market,
        settings: &str,
        role: Role,
        policies: &[(&str, &str)],
    ) -> Self {
        let scenery = Scenery { clock, market, elsewhere, settings, role, policies, seed: Seed(3) };
        let stage = rehearsed::Stage::new(scenery).await.expect("a stage");
        Self { stage, story: String::new() }
    }

    /// Lets the engine run by itself. What is left to hold is the market, the door, and the engine's end.
    pub fn run(self) -> (Arc<Mutex<Market>>, Handle, tokio::task::JoinHandle<()>) {
        let (market, handle, engine) = self.stage.run();
        (market, handle, tokio::spawn(engine))
    }

    /// The power goes and comes back: what was durable is there again, and nothing else.
    pub async fn restart(&mut self) {
        self.stage.restart().await.expect("a journal");
    }

    /// Likewise, and from then on what is seen is recorded there.
    pub async fn restart_recording(&mut self, store: Arc<dyn Store>) {
        self.stage.restart_recording(store).await.expect("a recording");
    }

    /// The power goes and comes back, and the journal is gone.
    pub async fn lose_journal(&mut self) {
        self.stage.lose_journal().await.expect("a journal");
    }

    /// This append of the present process, counted from 1, meets with this.
    pub fn fail_at(&self, append: usize, mishap: Mishap) {
        self.disk.power().cut_at(Cut::Append(append, mishap));
    }

    /// How many appends there were since the process began.
    pub fn appends(&self) -> usize {
        self.disk.power().appends()
    }

    /// One scan interval goes by, and a tick; then everything must hold.
    pub async fn tick(&mut self) -> Arc<Status> {
        self.tick_unwatched().await;
        let status = self.status();
        assert_eq!(status.troubles, Vec::<String>::new(), "{} tick {}", self.story, self.ticks_made());
        self.holds();
        status
    }

    /// A tick that may have troubles to tell, its disk's for one.
    pub async fn tick_unwatched(&mut self) {
        self.stage.tick().await;
    }

    pub async fn ticks(&mut self, count: usize) -> Arc<Status> {
        for _ in 0..count {
            self.tick().await;
        }
        self.status()
    }

    fn ticks_made(&self) -> u64 {
        self.stage.ticks()
    }

    /// Ticks until it is so: at least once, at most so often.
    pub async fn ticks_until(&mut self, most: usize, what: &str, is_so: impl Fn(&Self) -> bool) -> Arc<Status> {
        for _ in 0..most {
            let status = self.tick().await;
            if is_so(self) {
                return status;
            }
        }
        panic!("{} not within {most} ticks: {what}: {}", self.story, self.told());
    }

    /// Ticks for so long, by the clock.
    pub async fn pass(&mut self, duration: Duration) -> Arc<Status> {
        let until = self.clock.monotonic() + duration;
        while self.clock.monotonic() < until {
            self.tick().await;
        }
        self.status()
    }

    /// The next so many calls of that kind go wrong.
    pub fn break_next(&self, call: Call, fault: Fault, times: usize) {
        for _ in 0..times {
            self.market().faults.script(call, fault);
        }
    }

    /// The next read of that kind goes wrong, however often it is tried again.
    pub fn break_read(&self, call: Call, fault: Fault) {
        self.break_next(call, fault, READ_ATTEMPTS);
    }

    /// How often the market was called so.
    pub fn calls(&self, call: Call) -> u64 {
        self.market().handled().iter().filter(|((_, handled, _), _)| *handled == call).map(|(_, count)| count).sum()
    }

    /// How often the market was asked to change something.
    pub fn writes(&self) -> u64 {
        [Call::Deploy, Call::Terminate, Call::Start, Call::Stop, Call::Rebid].map(|call| self.calls(call)).iter().sum()
    }

    /// A policy file is written, and noticed.
    pub async fn write(&mut self, name: &str, text: &str) {
        self.write_unnoticed(name, text);
        self.reload().await;
    }

    /// A policy file is written while nobody looks.
    pub fn write_unnoticed(&self, name: &str, text: &str) {
        self.folder().write(name, text);
    }

    /// A policy file is removed, and that is noticed.
    pub async fn remove(&mut self, name: &str) {
        self.remove_unnoticed(name);
        self.reload().await;
    }

    /// A policy file is removed while nobody looks.
    pub fn remove_unnoticed(&self, name: &str) {
        self.folder().remove(name);
    }

    /// `spotscale.toml` is edited, and that is noticed.
    pub async fn settle_for(&mut self, text: &str) {
        self.edit_settings(text).expect("good settings");
        self.reload().await;
    }

    async fn reload(&mut self) {
        self.pull(Lever::Reload).await.expect("a reload is never refused");
    }

    /// A lever is pulled; the tick that follows is the caller's.
    pub async fn pull(&mut self, lever: Lever) -> Result<String, LeverError> {
        self.pull_unless_cut(lever).await.expect("the power is on")
    }

    /// Likewise; `None` when the power went meanwhile.
    pub async fn pull_unless_cut(&mut self, lever: Lever) -> Option<Result<String, LeverError>> {
        self.stage.pull(lever).await
    }

    /// The power is on, and the newest tick had no troubles.
    pub fn is_well(&self) -> bool {
        !self.disk.power().is_off() && self.status().troubles.is_empty()
    }

    /// From now on it is so at a marketplace's door; `None`: all is well.
    pub fn weather(&self, marketplace: &str, weather: Option<Weather>) {
        self.stage.weather(marketplace.parse().unwrap(), weather);
    }

    /// When a marketplace was sent requests whose path ends so.
    pub fn sent(&self, marketplace: &str, path: &str) -> Vec<Duration> {
        let sent = self.doors.sent().into_iter();
        let of_it = sent.filter(|sent| sent.marketplace.as_str() == marketplace && sent.path.ends_with(path));
        of_it.map(|sent| sent.at).collect()
    }

    /// The market of a marketplace that has one of its own.
    pub fn elsewhere(&self, marketplace: &str) -> MutexGuard<'_, Market> {
        self.doors.elsewhere[&marketplace.parse::<MarketplaceName>().unwrap()].lock().unwrap()
    }

    /// What must be true after every step, by the worlds' own truth.
    pub fn holds(&mut self) {
        let broken = self.breaches();
        assert_eq!(broken, [], "{} tick {}: {}", self.story, self.ticks_made(), self.told());
    }

    /// Nothing is in doubt any more: memory and world agree about every VM, and the checker refused nothing.
    pub fn agrees(&self) {
        assert_eq!(self.disagreement(), None, "{} tick {}", self.story, self.ticks_made());
        assert_eq!(self.metric("spotscale_invariant_violations_total"), 0.0, "{}", self.story);
    }

    /// The sum of all series of a metric whose line begins so.
    pub fn metric(&self, beginning: &str) -> f64 {
        let text = self.metrics().text();
        let lines = text.lines().filter(|line| line.starts_with(beginning));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// The report of a fleet's newest plan.
    pub fn report(&self, fleet: &str) -> FleetReport {
        self.status().plan.as_ref().expect("a plan").report[&name(fleet)].clone()
    }

    /// Why a fleet's target is not met: reasons and GPUs.
    pub fn blocked(&self, fleet: &str) -> BTreeMap<String, u32> {
        let mut blocked = BTreeMap::new();
        for unmet in self.report(fleet).blocked {
            *blocked.entry(unmet.reason.to_string()).or_default() += unmet.gpus;
        }
        blocked
    }

    /// Deploys in doubt, as the status says.
    pub fn in_doubt(&self) -> u32 {
        self.status().markets.values().map(|market| market.in_doubt).sum()
    }

    /// A fleet's members, as the newest plan knew them.
    pub fn members(&self, fleet: &str) -> Vec<Member> {
        let status = self.status();
        let Some(situation) = &status.situation else { return Vec::new() };
        situation.fleets[&name(fleet)].fleet.members.values().cloned().collect()
    }

    /// GPUs of a fleet that stand so.
    pub fn gpus_standing(&self, fleet: &str, standing: Standing) -> u32 {
        self.members(fleet).iter().filter(|member| member.standing == standing).map(|member| member.shape.gpus).sum()
    }

    /// All VMs there ever were in the stage's one market, whichever vendor's.
    pub fn vms(&self) -> Vec<Vm> {
        let market = self.market();
        let worlds = market.elsewhere.values().chain([&market.world]);
        worlds.flat_map(|world| world.truth().vms).collect()
    }

    /// VMs that were ever made by a deploy.
    pub fn made(&self) -> usize {
        self.vms().iter().filter(|vm| vm.origin == Origin::Api).count()
    }

    /// VMs that were deleted through the API.
    pub fn deleted(&self) -> usize {
        self.ended(Ended::Deleted)
    }

    /// VMs that ended so.
    pub fn ended(&self, how: Ended) -> usize {
        self.vms().iter().filter(|vm| vm.ended.is_some_and(|(_, why)| why == how)).count()
    }

    /// VMs of a fleet that the worlds themselves say are there.
    pub fn alive(&self, fleet: &str) -> Vec<Vm> {
        let prefix = format!("spotscale-{fleet}-");
        self.vms().into_iter().filter(|vm| vm.ended.is_none() && vm.name.as_str().starts_with(&prefix)).collect()
    }

    /// GPUs of a fleet that the worlds themselves say are there.
    pub fn gpus_alive(&self, fleet: &str) -> u32 {
        self.alive(fleet).iter().map(|vm| vm.shape.gpus).sum()
    }

    /// Somebody else puts a VM into the account.
    pub fn stranger(&self, called: &str, machine: &str, gpu_model: &str, gpus: u32, bid: Option<&str>) -> InstanceId {
        let made = self.try_stranger(called, machine, gpu_model, gpus, bid);
        made.expect("a stranger's VM")
    }

    /// Likewise, if there is room.
    pub fn try_stranger(
        &self,
        called: &str,
        machine: &str,
        gpu_model: &str,
        gpus: u32,
        bid: Option<&str>,
    ) -> Result<InstanceId, Refusal> {
        let theirs =
            props::anothers(called.parse().unwrap(), machine.parse().unwrap(), gpu_model.parse().unwrap(), gpus);
        let order = match bid {
            Some(bid) => WorldOrder { price_type: PriceType::Spot, bid: Some(bid.parse().unwrap()), ..theirs },
            None => theirs,
        };
        self.market().world.deploy_foreign(order)
    }

    /// The story of the newest tick, for whoever reads a failure.
    pub fn told(&self) -> String {
        let status = self.status();
        let Some(plan) = &status.plan else { return "no plan yet".into() };
        let mut told = Vec::new();
        for (name, report) in &plan.report {
            let members: Vec<String> = self
                .members(name.as_str())
                .iter()
                .map(|member| format!("{} {} {}x", member.name, member.standing, member.shape.gpus))
                .collect();
            let blocked: Vec<String> = report
                .blocked
                .iter()
                .map(|unmet| format!("{} {} ({})", unmet.gpus, unmet.reason, unmet.detail))
                .collect();
            told.push(format!(
                "{name}: {}/{} GPUs, {}/h of {}/h; [{}]; blocked [{}]; rejected {:?}",
                report.running_gpus,
                report.target_gpus,
                report.rate_now,
                report.rate_limit,
                members.join(", "),
                blocked.join(", "),
                report.rejected
            ));
        }
        let kinds: BTreeSet<String> = plan.actions.iter().map(kind).collect();
        format!("{} | actions {kinds:?}", told.join(" || "))
    }
}

fn kind(action: &Action) -> String {
    match action {
        Action::Ask { .. } => "ask".to_owned(),
        Action::Look { hostnode, .. } => format!("look {hostnode}"),
        Action::Deploy(deploy) => format!("deploy {}", deploy.name),
        Action::Rebid { subject, .. } => format!("rebid {}", subject.name),
        Action::Start { subject, .. } => format!("start {}", subject.name),
        Action::Stop { subject, .. } => format!("stop {}", subject.name),
        Action::Delete { subject, reason, .. } => format!("delete {} {reason}", subject.name),
    }
}

/// A fleet's name.
pub fn name(fleet: &str) -> FleetName {
    fleet.parse().unwrap()
}
