//! The engine on a recorded market: a whole daemon, its policies, and a world that becomes what was listed.
//!
//! The world is the simulated one, on which nothing moves by itself; before each tick it becomes what the timeline says was
//! listed by then. Two plays of one timeline differ only by their policies.

use super::{Listed, Listing, Timeline};
use crate::{
    engine::Lever,
    io::{clock::Clock, store::Store},
    ledger::{Record, journal::replay, record::Cause},
    model::{
        FleetName, Hostnode, MarketplaceName, Timestamp, Usd,
        offer::Supply,
        time::{elapsed, show},
    },
    policy::{Source, terms::PPM},
    settings::{Api, Settings, Vendor},
    sim::{
        Absence, Faults, Market, Scenery, Stage, Temper, World, WorldOptions,
        catalogue::{self, Machine},
        clock::VirtualClock,
        folder::POLICIES,
        host::Host,
        seed::Seed,
        stage::Ticked,
    },
};
use serde::Serialize;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// A play has at most so many ticks: over a longer time it looks less often.
pub const TICKS_MAX: u32 = 8_640;
/// Every play is of this seed: how long a VM takes to be made is drawn from it.
const SEED: Seed = Seed(1);
/// Thousandths of a request per second: pace costs nothing here.
const PACE_MILLI: u32 = 1_000_000;
/// Where VMs of the replay can be reached: an address of the documentation (RFC 5737).
const ADDRESS: &str = "198.51.100.7";

/// What one fleet came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FleetPlayed {
    /// USD, by our own accrual.
    pub cost_usd: f64,
    /// GPUs that ran, times hours.
    pub gpu_hours: f64,
    /// GPUs of the target that ran, as a share of all that was wanted; 1 where nothing was.
    pub target_met: f64,
    /// VMs that were made.
    pub deploys: u32,
    /// How often one was outbid.
    pub outbids: u32,
    /// VMs that were made to replace another.
    pub moves: u32,
    /// What kept GPUs from being there: GPU-hours by reason.
    pub limits_gpu_hours: BTreeMap<String, f64>,
}

/// What a play came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Played {
    /// By fleet.
    pub fleets: BTreeMap<String, FleetPlayed>,
    /// Seconds between two looks.
    pub scan_interval_s: u64,
    /// Looks.
    pub ticks: u32,
}

/// How often a play over so long looks.
fn interval(settings: &Settings, lasts: Duration) -> Duration {
    settings.scan_interval.max(Duration::from_secs(lasts.as_secs().div_ceil(u64::from(TICKS_MAX))))
}

/// The marketplace whose list is the market: one vendor's APIs show the same machines, and the first of them takes bids.
fn shown_by<'t>(timeline: &'t Timeline, settings: &Settings) -> Option<&'t MarketplaceName> {
    let speaks =
        |api: Api, name: &MarketplaceName| settings.marketplaces.get(name).is_some_and(|found| found.api == api);
    let apis = Api::ALL.iter().filter(|api| api.vendor() == Vendor::Tensordock);
    let mut names = apis.flat_map(|api| {
        let listings = timeline.moments.iter().flat_map(|moment| moment.markets.keys());
        listings.filter(move |name| speaks(*api, name))
    });
    names.next()
}

/// Plays these policies over a timeline, under these settings.
///
/// # Errors
/// One line: what of the timeline, the settings or the policies cannot be played.
pub async fn play(timeline: &Timeline, settings: &Settings, policies: &[Source]) -> Result<Played, String> {
    let (Some(first), Some(last)) = (timeline.moments.first(), timeline.moments.last()) else {
        return Err("nothing was recorded in that time; a daemon records while it runs".to_owned());
    };
    let shown = shown_by(timeline, settings)
        .ok_or("the recording shows no marketplace of the settings whose machines are sold by resource")?;
    let interval = interval(settings, elapsed(first.at, last.at));
    let opening = first.balances.values().copied().max().unwrap_or(Usd::ZERO);
    let mut stage = stage(settings, interval, first.at, opening, policies).await?;
    let mut moments = timeline.moments.iter().peekable();
    let mut held = opening;
    let (mut ticks, mut samples) = (0, BTreeMap::<FleetName, Sample>::new());
    while ticks < TICKS_MAX && stage.clock.now() < last.at {
        let until = crate::model::time::after(stage.clock.now(), interval);
        while let Some(moment) = moments.next_if(|moment| moment.at <= until) {
            let mut market = stage.market();
            if let Some(listing) = moment.markets.get(shown) {
                market.world.become_listed(listing);
            }
            // What it had less was spent on the fleet of then; what it had more was put in.
            if let Some(balance) = moment.balances.values().copied().max() {
                market.world.deposit(balance.minus(held).max(Usd::ZERO));
                held = balance;
            }
        }
        match stage.tick().await {
            Ticked::Whole => {}
            Ticked::PowerCut => return Err("the power went in a play, where nothing cuts it".to_owned()),
        }
        ticks += 1;
        let status = stage.status();
        for (fleet, report) in status.plan.iter().flat_map(|plan| &plan.report) {
            let sample = samples.entry(fleet.clone()).or_default();
            sample.wanted += u64::from(report.target_gpus);
            sample.met += u64::from(report.running_gpus.min(report.target_gpus));
            for unmet in &report.blocked {
                *sample.blocked.entry(unmet.reason.to_string()).or_default() += u64::from(unmet.gpus);
            }
        }
    }
    let fleets = told(&stage, settings, samples, interval)?;
    Ok(Played { fleets, scan_interval_s: interval.as_secs(), ticks })
}

/// Sums over ticks.
#[derive(Default)]
struct Sample {
    wanted: u64,
    met: u64,
    blocked: BTreeMap<String, u64>,
}

async fn stage(
    settings: &Settings,
    interval: Duration,
    opens_at: Timestamp,
    balance: Usd,
    policies: &[Source],
) -> Result<Stage, String> {
    let mut settings = Settings { policies: PathBuf::from(POLICIES), scan_interval: interval, ..settings.clone() };
    settings.marketplaces.retain(|_, marketplace| marketplace.api.vendor() == Vendor::Tensordock);
    settings.marketplaces.values_mut().for_each(|marketplace| marketplace.requests_per_second_milli = PACE_MILLI);
    let options = WorldOptions::still(balance);
    let world = World::with_machines(SEED.0, opens_at, options, &[]);
    let clock = VirtualClock::patient(opens_at);
    let market = Market::of_all_dialects(world, Faults::none(), None, None);
    let (elsewhere, role) = (BTreeMap::new(), crate::engine::Role::AsConfigured);
    let scenery = Scenery { clock, market, elsewhere, settings: "", role, policies: &[], seed: SEED };
    let context = settings.policy_context();
    let mut stage = Stage::under(settings, scenery).await?;
    for source in policies {
        let checked = crate::policy::check(source, &context);
        let Some(policy) = checked.policy else {
            let faults: Vec<String> = checked.faults.iter().map(ToString::to_string).collect();
            return Err(faults.join("\n"));
        };
        source.attachments.iter().for_each(|(path, text)| stage.folder().attach(path, text));
        stage.folder().write(policy.fleet.as_str(), &source.text);
    }
    match stage.pull(Lever::Reload).await {
        Some(Ok(_)) => Ok(stage),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the power went in a play, where nothing cuts it".to_owned()),
    }
}

/// What the journal of a play says of each fleet.
fn told(
    stage: &Stage,
    settings: &Settings,
    samples: BTreeMap<FleetName, Sample>,
    interval: Duration,
) -> Result<BTreeMap<String, FleetPlayed>, String> {
    /// Rows read at once.
    const PAGE_ROWS: usize = 1_000;
    let ledger = replay(&*stage.disk, &settings.instance_prefix).map_err(|error| error.to_string())?;
    let mut fleets = BTreeMap::new();
    for (fleet, sample) in samples {
        let hours = |gpus: u64| gpus as f64 * interval.as_secs_f64() / 3_600.0;
        let tally = ledger.spend().fleets().get(&fleet);
        let played = FleetPlayed {
            cost_usd: tally.map_or(0.0, |tally| tally.usd.to_f64()),
            gpu_hours: tally.map_or(0.0, |tally| tally.gpu_seconds() as f64 / 3_600.0),
            target_met: if sample.wanted == 0 { 1.0 } else { sample.met as f64 / sample.wanted as f64 },
            limits_gpu_hours: sample.blocked.into_iter().map(|(reason, gpus)| (reason, hours(gpus))).collect(),
            ..FleetPlayed::default()
        };
        fleets.insert(fleet.to_string(), played);
    }
    let mut from = 0;
    loop {
        let page = stage.disk.read(from, PAGE_ROWS).map_err(|error| error.to_string())?;
        for row in &page {
            let Some(played) = row.fleet.as_ref().and_then(|fleet| fleets.get_mut(fleet)) else { continue };
            match Record::decode(&row.body)? {
                Record::DeployIntended(intent) => {
                    played.deploys += 1;
                    played.moves += u32::from(intent.replaces.is_some());
                }
                Record::Standing { cause: Cause::Outbid, .. } => played.outbids += 1,
                _ => {}
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE_ROWS => from = last.sequence + 1,
            Some(_) | None => return Ok(fleets),
        }
    }
}

impl World {
    /// Becomes what was listed: machines that are new or changed, and machines that are gone.
    pub(super) fn become_listed(&mut self, listing: &Listing) {
        let Listing { changed, gone } = listing;
        for listed in changed {
            self.become_machine(listed);
        }
        for id in gone {
            // Its VMs are out of sight with it, and come back when it does.
            self.vanish(id, Absence::Hidden, Duration::MAX);
        }
    }

    fn become_machine(&mut self, listed: &Listed) {
        let Listed { hostnode, floor_ppm, outbid_ppm } = listed;
        let Supply::Resources(supply) = &hostnode.supply else { return };
        let (now, id) = (self.now, hostnode.id.clone());
        let seed = self.seed;
        let host =
            self.hosts.entry(id.clone()).or_insert_with(|| Host::new(&empty(hostnode), seed, Temper::Still, now));
        let host = host.clone();
        let used = self.usage(&host);
        let floor = floor_ppm.unwrap_or(PPM);
        if let Some(host) = self.hosts.get_mut(&id) {
            host.become_listed(hostnode, supply, ppm(floor), &used);
            let floor = match outbid_ppm {
                Some(beaten) => floor.max(beaten.saturating_add(1)),
                // Whoever stands there and is not known to have been outbid stays: the floor is no higher than its bid.
                None => {
                    let standing = self.vms.values().filter(|vm| vm.hostnode == id && vm.holds());
                    let shares = standing.filter_map(|vm| {
                        let price = host.on_demand(&vm.shape).micros();
                        (price > 0).then(|| vm.agreed.compute.micros().saturating_mul(PPM) / price)
                    });
                    shares.fold(floor, u64::min)
                }
            };
            host.floor_ppm = ppm(floor);
        }
        self.settle(&id);
    }
}

fn ppm(share: u64) -> u32 {
    u32::try_from(share).unwrap_or(u32::MAX)
}

/// A machine of the catalogue that has nothing yet, to become what was listed.
fn empty(hostnode: &Hostnode) -> Machine {
    let none = (0, crate::model::HourlyRate::ZERO);
    Machine {
        source: catalogue::Source::Recorded,
        id: hostnode.id.clone(),
        location: hostnode.location.clone(),
        address: ADDRESS.to_owned(),
        gpus: BTreeMap::new(),
        vcpus: none,
        ram_gb: none,
        storage_gb: none,
        uptime_ppm: 0,
        ports: Vec::new(),
        restrictions: BTreeMap::new(),
        floor_ppm: ppm(PPM),
        floor_swing_ppm: 0,
        price_swing_ppm: 0,
        available_for: None,
    }
}

impl std::fmt::Display for Played {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} looks, one each {}", self.ticks, show(Duration::from_secs(self.scan_interval_s)))
    }
}
