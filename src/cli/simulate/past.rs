//! A market that really was, played by our own engine.
//!
//! What is played and by which policy is printed first, then the figures, whose meaning is that of the traces' rules; with
//! `--json` every figure is unrounded. A folder of traces is played trace by trace, side by side.

use super::{
    Context, Ending, Failure, SimulateArguments,
    cores::side_by_side,
    figures,
    ours::{NAME, ours},
    picture::{self, Film, Told},
};
use crate::{
    cli::{args::BillingRule, say::say, text},
    model::Timestamp,
    sim::{
        bound,
        trace::{
            Billing, Chosen, Market, Metrics, Rules, Run, Summary, Witness,
            load::{self, LoadFaults},
            log::Log,
            run::play_before,
        },
    },
};
use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where a bare name is looked for.
const DEFAULT_FOLDER: &str = "traces";

/// All of `--json`.
#[derive(Serialize)]
struct PastView {
    billing: &'static str,
    traces: Vec<PlayView>,
    summary: Summary,
}

/// One trace and how it went.
#[derive(Serialize)]
struct PlayView {
    #[serde(flatten)]
    market: MarketView,
    policy: String,
    metrics: Metrics,
}

/// What is played.
#[derive(Serialize)]
struct MarketView {
    trace: String,
    class: &'static str,
    from: Option<String>,
    step_s: u32,
    steps: usize,
    target_gpus: u32,
    pools: Vec<PoolView>,
}

#[derive(Serialize)]
struct PoolView {
    zone: String,
    instance_type: String,
    gpu_model: String,
    gpus: u32,
    on_demand_usd_per_hour: f64,
}

impl MarketView {
    fn new(market: &Market) -> Self {
        let pool = |pool: &load::Pool| PoolView {
            zone: pool.zone.clone(),
            instance_type: pool.instance_type.clone(),
            gpu_model: pool.gpu_model.clone(),
            gpus: pool.gpu_count,
            on_demand_usd_per_hour: pool.on_demand.to_f64(),
        };
        Self {
            trace: market.name.clone(),
            class: market.class.as_str(),
            from: Timestamp::from_second(market.t0_s).ok().map(text::moment),
            step_s: market.dt_s,
            steps: market.steps,
            target_gpus: market.target_gpus,
            pools: market.pools().iter().map(pool).collect(),
        }
    }

    fn say(&self) {
        let Self { trace, class, from, step_s, steps, target_gpus, pools } = self;
        let lasting = text::span(u64::from(*step_s).saturating_mul(*steps as u64));
        let from = from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
        let steps_of = text::span(u64::from(*step_s));
        let gpus = text::count(u64::from(*target_gpus), "GPU");
        say!("{trace} ({class}): {lasting}{from}, {steps} steps of {steps_of}, a target of {gpus}, from");
        for PoolView { zone, instance_type, gpu_model, gpus, on_demand_usd_per_hour } in pools {
            say!("    {zone}  {instance_type}  {gpus} x {gpu_model}  {on_demand_usd_per_hour} USD/h on demand");
        }
    }
}

/// How the arguments say who pays what.
pub const fn billing(rule: BillingRule) -> Billing {
    match rule {
        BillingRule::Bid => Billing::Bid,
        BillingRule::Market => Billing::Market,
    }
}

/// The markets of a folder, or one of them.
///
/// # Errors
/// All that is amiss with their files, each with its place.
pub fn markets(folder: &Path, chosen: Chosen<'_>) -> Result<Vec<Arc<Market>>, Failure> {
    let place = |faults: LoadFaults| {
        Failure::faulty(faults.iter().map(|fault| format!("{}/{fault}", folder.display())).collect())
    };
    let traces = load::folder(folder, chosen).map_err(place)?;
    Ok(traces.iter().map(|trace| Arc::new(Market::new(trace))).collect())
}

/// The folder, and the name of one trace in it where the path ends in one.
fn find(path: &Path) -> Result<(PathBuf, Option<String>), Failure> {
    if load::is_folder(path) {
        return Ok((path.to_owned(), None));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new(DEFAULT_FOLDER));
    match path.file_name().and_then(|name| name.to_str()) {
        Some(name) if load::is_folder(folder) => Ok((folder.to_owned(), Some(name.to_owned()))),
        Some(_) | None => Err(Failure::wrong(format!(
            "there is no trace {}: neither it nor {} has a manifest.json; name a folder of traces, or FOLDER/NAME",
            path.display(),
            folder.display(),
        ))),
    }
}

/// Keeps the log and what the picture shows.
struct Kept {
    log: Option<Log>,
    film: Option<Film>,
}

impl Witness for Kept {
    fn ended(&mut self, k: usize, run: &Run) {
        if let Some(log) = &mut self.log {
            log.ended(k, run);
        }
        if let Some(film) = &mut self.film {
            film.ended(k, run);
        }
    }
}

/// The clairvoyant minimum of a market in US dollars.
pub fn bound_usd(market: &Market, rules: Rules) -> Result<f64, Failure> {
    let bound = bound::of(market, rules)
        .map_err(|error| Failure::failed(format!("cannot bound {}", market.name)).caused_by(&error))?;
    Ok(bound.penalised.to_f64())
}

pub fn trace(context: &Context, path: &Path, arguments: &SimulateArguments) -> Result<Ending, Failure> {
    let (folder, name) = find(path)?;
    let markets = markets(&folder, name.as_deref().map_or(Chosen::All, Chosen::One))?;
    let wants_files = arguments.log.is_some() || arguments.picture.is_some();
    if wants_files && markets.len() > 1 {
        let what = format!("--log and --picture are of one trace, and {} has {}", folder.display(), markets.len());
        return Err(Failure::wrong(format!("{what}; name one: {}/NAME", folder.display())));
    }
    let rules = Rules::of(billing(arguments.billing));
    let players = markets.iter().map(|market| ours(arguments, market, rules).map(|ours| ours.text));
    let texts = players.collect::<Result<Vec<String>, Failure>>()?;
    if !arguments.json {
        for (market, text) in markets.iter().zip(&texts) {
            MarketView::new(market).say();
            if !text.is_empty() {
                say!("{}", text.trim_end());
            }
        }
        say!("");
    }
    let progress = context.terminal.bar("playing", markets.len() as u64);
    let play = |market: &Arc<Market>| -> Result<(Metrics, Kept), Failure> {
        let mut ours = ours(arguments, market, rules)?;
        let mut kept = Kept {
            log: arguments.log.is_some().then(Log::default),
            film: arguments.picture.is_some().then(|| Film::new(market, rules)),
        };
        let tally = play_before(market.clone(), rules, &mut ours.policy, &mut kept);
        ours.ended()?;
        let metrics = Metrics::new(market, &tally, Some(bound_usd(market, rules)?));
        Ok((metrics, kept))
    };
    let played = side_by_side(markets.len(), |at| play(&markets[at]), || progress.done());
    drop(progress);
    let (mut plays, mut all) = (Vec::new(), Vec::new());
    for ((market, policy), played) in markets.iter().zip(texts).zip(played) {
        let (metrics, kept) = played?;
        if let (Some(file), Some(log)) = (&arguments.log, &kept.log) {
            write(file, log.text())?;
        }
        if let (Some(file), Some(film)) = (&arguments.picture, &kept.film) {
            write(file, &picture::draw(film, &told(&metrics)))?;
        }
        all.push(metrics.clone());
        plays.push(PlayView { market: MarketView::new(market), policy, metrics });
    }
    let view = PastView { billing: rules.billing.as_str(), traces: plays, summary: Summary::of(&all) };
    if arguments.json {
        context.print_json(&view)?;
    } else {
        view.say(context);
    }
    Ok(Ending::Done)
}

/// What stands above a picture.
fn told(metrics: &Metrics) -> Told {
    let percent = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{:.2} %", figure * 100.0));
    let score = figures::quotient(metrics.score);
    let (cost, delivered, on_demand) = (metrics.cost, percent(metrics.delivered), percent(metrics.on_demand_share));
    let lost = text::count(metrics.preemptions, "VM");
    Told {
        player: NAME.to_owned(),
        figures: format!(
            "score {score}: {cost:.2} USD paid ({on_demand} of it on demand), {delivered} of the target delivered, {lost} lost"
        ),
        bound_usd: metrics.bound.unwrap_or(0.0),
    }
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|error| Failure::failed(format!("cannot write {}", file.display())).caused_by(&error))
}

impl PastView {
    fn say(&self, context: &Context) {
        let Self { billing, traces, summary } = self;
        match traces.as_slice() {
            [play] => say!("{}", context.terminal.table(&figures::COLUMNS_OF_ONE, figures::rows_of_one(&play.metrics))),
            traces => {
                let rows = traces.iter().map(|play| figures::row(&play.market.trace, &play.metrics)).collect();
                say!("{}", context.terminal.table(&figures::columns_of_many(), rows));
                say!("over {} traces: {}", traces.len(), figures::told(summary));
            }
        }
        say!("a spot VM pays {}", if *billing == Billing::Bid.as_str() { "its bid" } else { "the market's price" });
    }
}
