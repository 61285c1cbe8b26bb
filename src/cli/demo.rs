//! `demo`: everything at once on nothing.
//!
//! A simulated marketplace on loopback, the daemon on it over real HTTP, the status page and the metrics. The market's
//! and the daemon's clock run faster than life; deadlines of the network and a quote's minute stay real. So that there
//! is something to survive, a rival outbids one of our VMs, a host with one of ours dies, and one of the three
//! marketplaces answers nothing but errors for a while, early enough for a short demo to see all of it.

use super::{
    Context,
    args::DemoArguments,
    daemon::{self, Making, TICK_TIME_MAX},
    failure::{Ending, Failure},
    say::say,
    signals,
    terminal::{Column, Field},
    text,
};
use crate::{
    engine::{Reread, Role, Status},
    io::{
        clock::{Clock, SystemClock},
        entropy::{self, OsEntropy},
        store::SqliteStore,
    },
    model::{HourlyRate, MarketplaceName, PriceType, Timestamp, Usd, time},
    settings::{self, Api, Settings, Vendor},
    sim::{Absence, Fault, Faults, Market, Origin, Truth, VmState, World, WorldOptions, faults::Effected, serve},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the demo's account holds at first, in micros: 400 USD.
const OPENING_BALANCE: Usd = Usd::from_micros(400_000_000);
/// Where the window listens when that is free.
const LISTEN_DEFAULT: &str = "127.0.0.1:9746";
/// Market time after which a rival outbids one of ours.
const OUTBID_AFTER: Duration = Duration::from_secs(20 * 60);
/// Market time between that and the failure of a marketplace, half-way through the demo that the README names.
const MARKETPLACE_FAILS_AFTER: Duration = Duration::from_secs(5 * 60);
/// Market time between that and the death of a host.
const HOST_DIES_AFTER: Duration = Duration::from_secs(5 * 60);
/// Market time between that and the end of the marketplace's failure.
const MARKETPLACE_RETURNS_AFTER: Duration = Duration::from_secs(15 * 60);
/// Which marketplace fails.
const FAILING: Api = Api::Vectordash;
/// Market time that the trouble lasts.
const TROUBLE_LASTS: Duration = Duration::from_secs(2 * 3_600);
/// Letters of the marketplace's key and token, drawn anew for each demo.
const SECRET_ALPHABET: &[u8] = b"abcdefghijkmnopqrstuvwxyz23456789";

/// Where `spotscale marketplace` listens, as the demo's settings have it.
const MARKET_DEFAULT: &str = "127.0.0.1:9747";
/// The settings of the demo.
const SETTINGS: &str = include_str!("../../config/demo/spotscale.toml");
/// The policies of the demo, as `config/demo/policies` has them.
const POLICIES: [(&str, &str); 3] = [
    ("train.toml", include_str!("../../config/demo/policies/train.toml")),
    ("serve.toml", include_str!("../../config/demo/policies/serve.toml")),
    ("batch.toml", include_str!("../../config/demo/policies/batch.toml")),
];

type Shared = Arc<Mutex<Market>>;

fn cannot(what: &str) -> impl Fn(std::io::Error) -> Failure + '_ {
    move |error| Failure::failed(format!("cannot {what}")).caused_by(&error)
}

/// The settings file of the demo, with its addresses: an operator may read and edit it while the demo runs.
fn settings_text(market: SocketAddr, listen: SocketAddr) -> String {
    SETTINGS.replace(LISTEN_DEFAULT, &listen.to_string()).replace(MARKET_DEFAULT, &market.to_string())
}

fn read(file: &Path, environment: &BTreeMap<String, String>) -> Result<Settings, Vec<String>> {
    let text = std::fs::read_to_string(file).map_err(|error| vec![format!("{}: {error}", file.display())])?;
    let checked = settings::check(file, &text, environment, &mut |path: &Path| Err(format!("{}", path.display())));
    let faults: Vec<String> = checked.faults.iter().chain(&checked.unresolved).map(ToString::to_string).collect();
    checked.complete().ok_or(faults)
}

async fn listen(wanted: Option<SocketAddr>) -> Result<TcpListener, Failure> {
    if let Some(address) = wanted {
        return TcpListener::bind(address).await.map_err(cannot(&format!("listen on {address}")));
    }
    match TcpListener::bind(LISTEN_DEFAULT).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind("127.0.0.1:0").await.map_err(cannot("listen on 127.0.0.1")),
    }
}

/// Runs a simulated marketplace and the daemon on it.
///
/// # Errors
/// When it cannot listen, or the temporary folder cannot be written.
pub fn demo(context: &Context, arguments: &DemoArguments) -> Result<Ending, Failure> {
    let folder =
        tempfile::Builder::new().prefix("spotscale-demo-").tempdir().map_err(cannot("make a temporary folder"))?;
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).map_err(cannot("make the policies folder"))?;
    for (name, text) in POLICIES {
        std::fs::write(policies.join(name), text).map_err(cannot("write a policy"))?;
    }
    context.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::faster(arguments.speed));
        let secret = || entropy::text(&OsEntropy, SECRET_ALPHABET, 24);
        let environment: BTreeMap<String, String> =
            [("DEMO_KEY", secret()), ("DEMO_TOKEN", secret())].map(|(name, value)| (name.to_owned(), value)).into();
        let world = World::new(arguments.seed, clock.now(), WorldOptions::lifelike(OPENING_BALANCE));
        let of = |name: &str| environment.get(name).map(String::as_str);
        let market: Shared =
            Arc::new(Mutex::new(Market::of_all_dialects(world, Faults::none(), of("DEMO_KEY"), of("DEMO_TOKEN"))));
        let counter = TcpListener::bind("127.0.0.1:0").await.map_err(cannot("open the marketplace"))?;
        let window = listen(arguments.listen).await?;
        let addresses =
            (counter.local_addr().map_err(cannot("listen"))?, window.local_addr().map_err(cannot("listen"))?);
        let file = folder.path().join("spotscale.toml");
        std::fs::write(&file, settings_text(addresses.0, addresses.1)).map_err(cannot("write the settings"))?;
        let settings = read(&file, &environment).map_err(|faults| {
            faults.into_iter().fold(Failure::failed("the demo's settings are wrong"), Failure::because)
        })?;

        let store = SqliteStore::open(&settings.state)
            .map_err(|error| Failure::failed("cannot make the journal").caused_by(&error))?;
        let again = environment.clone();
        let (reread_file, file_shown) = (file.clone(), file.display().to_string());
        let reread: Reread = Box::new(move || read(&reread_file, &again));
        let recorder = daemon::recorder(&settings.state);
        let daemon = daemon::assemble(Making {
            settings,
            role: Role::AsConfigured,
            clock: Arc::clone(&clock),
            store: Arc::new(store),
            recorder,
            reread,
            tick_time_max: TICK_TIME_MAX,
        })
        .await?;
        say!("spotscale demo: three fleets on a simulated market, {} times faster than life", arguments.speed);
        say!("  status page   http://{}/", addresses.1);
        say!("  metrics       http://{}/metrics", addresses.1);
        say!("  ask it        spotscale --config {file_shown} status");
        say!("  policies      {} (edit one and watch)", policies.display());
        match arguments.lasting {
            Some(lasting) => say!("  ends by itself in {}\n", time::show(lasting)),
            None => say!("  ends at Ctrl-C\n"),
        }

        let stop = CancellationToken::new();
        signals::cancel_on_stop(stop.clone())?;
        let serving = tokio::spawn(serve::serve(counter, Arc::clone(&market), Arc::clone(&clock), stop.clone()));
        let trouble = tokio::spawn(make_trouble(Arc::clone(&market), Arc::clone(&clock)));
        if let Some(lasting) = arguments.lasting {
            let stop = stop.clone();
            // Real time: who says 60s looks at a watch.
            tokio::spawn(async move {
                tokio::time::sleep(lasting).await;
                stop.cancel();
            });
        }
        let handle = daemon.handle.clone();
        // The marketplace outlives the daemon: what is under way is answered.
        let ending = CancellationToken::new();
        let daemon_stop = ending.child_token();
        tokio::spawn({
            let (stop, daemon_stop) = (stop.clone(), daemon_stop.clone());
            async move {
                stop.cancelled().await;
                daemon_stop.cancel();
            }
        });
        let ran = daemon.run(window, daemon_stop).await;
        trouble.abort();
        serving.abort();
        ran?;
        let truths = {
            let mut market = market.lock().unwrap_or_else(PoisonError::into_inner);
            market.advance(clock.now());
            market.truths()
        };
        summarize(context, &handle.status(), &truths);
        Ok(Ending::Done)
    })
}

/// Outbids one of our spot VMs, lets a marketplace fail, kills a host of ours, and mends the marketplace.
async fn make_trouble(market: Shared, clock: Arc<dyn Clock>) {
    clock.sleep(OUTBID_AFTER).await;
    {
        let mut market = market.lock().unwrap_or_else(PoisonError::into_inner);
        market.world.advance(clock.now());
        let ours = running(&market.world.truth()).into_iter().find(|vm| vm.price_type == PriceType::Spot);
        if let Some(vm) = ours {
            say!("a rival outbids {} in {}", vm.name, vm.location);
            let pays = vm.on_demand.compute.times(2).max(HourlyRate::from_micros(1));
            let gpus = market.world.hostnode_ids().len();
            for _ in 0..gpus.min(8) {
                market.world.intrude(&vm.hostnode, vm.shape.clone(), pays, TROUBLE_LASTS);
            }
        }
    }
    let api = |fault: Option<Fault>| market.lock().unwrap_or_else(PoisonError::into_inner).break_api(FAILING, fault);
    clock.sleep(MARKETPLACE_FAILS_AFTER).await;
    say!("{FAILING} answers nothing but errors");
    api(Some(Fault::ServerError(Effected::No)));
    clock.sleep(HOST_DIES_AFTER).await;
    kill_a_host(&mut market.lock().unwrap_or_else(PoisonError::into_inner), clock.now());
    clock.sleep(MARKETPLACE_RETURNS_AFTER).await;
    say!("{FAILING} answers again");
    api(None);
}

fn kill_a_host(market: &mut Market, now: Timestamp) {
    market.world.advance(now);
    if let Some(vm) = running(&market.world.truth()).into_iter().next_back() {
        say!("the host of {} in {} dies", vm.name, vm.location);
        market.world.vanish(&vm.hostnode, Absence::Dead, TROUBLE_LASTS);
    }
}

fn running(truth: &Truth) -> Vec<crate::sim::Vm> {
    truth.alive().filter(|vm| vm.state == VmState::Running).cloned().collect()
}

fn summarize(context: &Context, status: &Status, truths: &BTreeMap<Vendor, Truth>) {
    let columns =
        ["FLEET", "TARGET", "RUNNING", "USD/H", "LIMIT", "GPU-HOURS", "USD SPENT", "ON DEMAND", "USD PER GPU-HOUR"];
    let columns: Vec<Column> = columns
        .iter()
        .enumerate()
        .map(|(at, name)| if at == 0 { Column::Text(name) } else { Column::Figure(name) })
        .collect();
    let mut rows = Vec::new();
    for (name, fleet) in &status.fleets {
        let report = status.plan.as_ref().and_then(|plan| plan.report.get(name));
        let totals = fleet.totals;
        let per_gpu_hour = per_gpu_hour(totals.spend, totals.gpu_seconds);
        rows.push(vec![
            Field::from(name.to_string()),
            Field::maybe(report.map(|report| report.target_gpus)),
            Field::maybe(report.map(|report| report.running_gpus)),
            Field::maybe(report.map(|report| text::rate(report.rate_now.into()))),
            Field::maybe(report.map(|report| text::rate(report.rate_limit.into()))),
            Field::from(format!("{:.1}", totals.gpu_seconds as f64 / 3_600.0)),
            Field::from(cents(totals.spend)),
            Field::from(cents(totals.on_demand_equivalent)),
            Field::maybe(per_gpu_hour.map(cents)),
        ]);
    }
    say!("\n{}", context.terminal.table(&columns, rows));
    say!("\n{}\n", marketplaces(context, status));
    // Of a vendor on whose market nothing was ever rented there is nothing to tell.
    for (vendor, truth) in truths.iter().filter(|(_, truth)| !truth.vms.is_empty()) {
        let vms = truth.vms.iter().filter(|vm| vm.origin == Origin::Api);
        let (made, ended) = vms.fold((0, 0), |(made, ended), vm| (made + 1, ended + u32::from(vm.ended.is_some())));
        let gpu_hours = truth.gpu_seconds as f64 / 3_600.0;
        let doubled = truth.doubled().len();
        say!(
            "{vendor}: {made} VMs made, {ended} ended, {} outbids, {doubled} doubled · {gpu_hours:.1} GPU-hours · {} USD spent",
            truth.outbids,
            cents(truth.spent)
        );
        if let (Some(paid), Some(on_demand)) = (truth.per_gpu_hour(), truth.on_demand_per_gpu_hour()) {
            let share = 100.0 * paid.to_f64() / on_demand.to_f64().max(f64::MIN_POSITIVE);
            let (paid, on_demand) = (cents(paid), cents(on_demand));
            say!("  a GPU-hour cost {paid} USD; on demand on the same hosts {on_demand} USD ({share:.0} %)");
        }
    }
    for (name, account) in &status.accounts {
        match &account.balance {
            Some(balance) => say!("{name} holds {} USD over a floor of {} USD", cents(balance.value), account.floor),
            None => say!("{name} tells nobody what it holds"),
        }
    }
    if let Some(truth) = truths.values().next() {
        say!("market time {}", time::show(time::elapsed(truth.opened_at, truth.at)));
    }
}

/// What runs where.
fn marketplaces(context: &Context, status: &Status) -> String {
    let mut rows: BTreeMap<&MarketplaceName, (u32, u32, HourlyRate)> =
        status.markets.keys().map(|name| (name, (0, 0, HourlyRate::ZERO))).collect();
    let fleets = status.situation.iter().flat_map(|situation| situation.fleets.values());
    for member in fleets.flat_map(|state| state.fleet.members.values()) {
        let (vms, gpus, rate) = rows.entry(&member.marketplace).or_default();
        *vms += 1;
        *gpus += member.counted_gpus();
        *rate = rate.plus(member.committed());
    }
    let columns =
        [Column::Text("MARKETPLACE"), Column::Figure("VMS"), Column::Figure("GPUS COUNTED"), Column::Figure("USD/H")];
    let rows = rows.into_iter().map(|(name, (vms, gpus, rate))| {
        vec![
            Field::from(name.to_string()),
            Field::maybe(Some(vms)),
            Field::maybe(Some(gpus)),
            Field::from(text::rate(rate.into())),
        ]
    });
    context.terminal.table(&columns, rows.collect())
}

fn per_gpu_hour(amount: Usd, gpu_seconds: u64) -> Option<Usd> {
    let micros = i128::from(amount.micros()) * 3_600 / i128::from((gpu_seconds > 0).then_some(gpu_seconds)?);
    i64::try_from(micros).ok().map(Usd::from_micros)
}

/// To a tenth of a cent, for people.
fn cents(amount: Usd) -> String {
    format!("{:.3}", amount.to_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_addresses_stand_in_its_settings() {
        let text = settings_text("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
        assert!(text.contains("listen = \"192.0.2.2:2\"\n"), "{text}");
        assert!(text.contains("base_url = \"http://192.0.2.1:1\"\n"), "{text}");
        assert!(!text.contains(LISTEN_DEFAULT) && !text.contains(MARKET_DEFAULT), "{text}");
    }
}
