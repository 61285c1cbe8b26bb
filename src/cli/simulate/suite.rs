//! Every market that really was, played by every policy side by side.
//!
//! A score is what was paid and penalised over what somebody who had known every price would have paid; so scores of
//! different markets can be set beside each other. The rows' order is the manifest's, whichever core is ready first.

use super::{
    Context, Ending, Failure, SimulateArguments,
    cores::side_by_side,
    figures::{quotient, share, spread},
    ours::{self, ours},
    past::{billing, bound_usd, markets},
};
use crate::{
    cli::{
        say::say,
        terminal::{Column, Field},
    },
    sim::{
        suite::Peer,
        trace::{Chosen, Class, Market, Metrics, Rules, Summary, Tally, run::play},
    },
};
use serde::Serialize;
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// All of `--json`.
#[derive(Serialize)]
struct SuiteView {
    billing: &'static str,
    policies: Vec<&'static str>,
    traces: Vec<TraceView>,
    summaries: Vec<SummaryView>,
}

/// One market and how each policy fared.
#[derive(Serialize)]
struct TraceView {
    trace: String,
    class: &'static str,
    bound: f64,
    by_policy: BTreeMap<&'static str, Metrics>,
}

/// One policy over all markets, or those of a class.
#[derive(Serialize)]
struct SummaryView {
    over: &'static str,
    traces: usize,
    policy: &'static str,
    #[serde(flatten)]
    summary: Summary,
}

/// What `over` says of all markets.
const ALL: &str = "all";

/// Who plays.
#[derive(Clone, Copy)]
enum Player {
    Ours,
    Peer(Peer),
}

impl Player {
    fn all() -> Vec<Self> {
        [Self::Ours].into_iter().chain(Peer::ALL.iter().copied().map(Self::Peer)).collect()
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Ours => ours::NAME,
            Self::Peer(peer) => peer.as_str(),
        }
    }

    fn play(self, market: &Arc<Market>, rules: Rules, arguments: &SimulateArguments) -> Result<Tally, Failure> {
        match self {
            Self::Ours => {
                let mut ours = ours(arguments, market, rules)?;
                let tally = play(market.clone(), rules, &mut ours.policy);
                ours.ended()?;
                Ok(tally)
            }
            Self::Peer(peer) => Ok(play(market.clone(), rules, peer.policy().as_mut())),
        }
    }
}

/// What a core is given to do.
#[derive(Clone, Copy)]
enum Job {
    Bound,
    Play(Player),
}

enum Outcome {
    Bound(f64),
    Play(Player, Tally),
}

pub fn suite(context: &Context, folder: &Path, arguments: &SimulateArguments) -> Result<Ending, Failure> {
    let markets = markets(folder, Chosen::All)?;
    let rules = Rules::of(billing(arguments.billing));
    let players = Player::all();
    let of_each: Vec<Job> = [Job::Bound].into_iter().chain(players.iter().copied().map(Job::Play)).collect();
    let jobs: Vec<(&Arc<Market>, Job)> =
        markets.iter().flat_map(|market| of_each.iter().map(move |job| (market, *job))).collect();
    let progress = context.terminal.bar("playing", jobs.len() as u64);
    let work = |at: usize| -> Result<Outcome, Failure> {
        let (market, job) = jobs[at];
        match job {
            Job::Bound => bound_usd(market, rules).map(Outcome::Bound),
            Job::Play(player) => player.play(market, rules, arguments).map(|tally| Outcome::Play(player, tally)),
        }
    };
    let outcomes = side_by_side(jobs.len(), work, || progress.done());
    drop(progress);
    let outcomes = outcomes.into_iter().collect::<Result<Vec<Outcome>, Failure>>()?;
    let traces: Vec<TraceView> =
        markets.iter().zip(outcomes.chunks(of_each.len())).filter_map(|(market, of)| trace_view(market, of)).collect();
    let policies: Vec<&'static str> = players.into_iter().map(Player::name).collect();
    let summaries = summaries(&traces, &policies);
    let view = SuiteView { billing: rules.billing.as_str(), policies, traces, summaries };
    if arguments.json {
        context.print_json(&view)?;
    } else {
        view.say(context);
    }
    Ok(Ending::Done)
}

fn trace_view(market: &Market, outcomes: &[Outcome]) -> Option<TraceView> {
    let bound = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Bound(usd) => Some(*usd),
        Outcome::Play(..) => None,
    })?;
    let by_policy = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Bound(_) => None,
        Outcome::Play(player, tally) => Some((player.name(), Metrics::new(market, tally, Some(bound)))),
    });
    let by_policy = by_policy.collect();
    Some(TraceView { trace: market.name.clone(), class: market.class.as_str(), bound, by_policy })
}

/// Class by class, then over all markets, each policy.
fn summaries(traces: &[TraceView], policies: &[&'static str]) -> Vec<SummaryView> {
    let classes = Class::ALL.iter().map(|class| class.as_str()).filter(|class| {
        // A class that is all there is would say the same twice.
        let of_class = traces.iter().filter(|trace| trace.class == *class).count();
        of_class > 0 && of_class < traces.len()
    });
    let mut found = Vec::new();
    for over in classes.chain([ALL]) {
        for policy in policies {
            let of_policy = traces.iter().filter(|trace| over == ALL || trace.class == over);
            let metrics: Vec<Metrics> = of_policy.filter_map(|trace| trace.by_policy.get(policy)).cloned().collect();
            found.push(SummaryView { over, traces: metrics.len(), policy, summary: Summary::of(&metrics) });
        }
    }
    found
}

impl SuiteView {
    fn say(&self, context: &Context) {
        let Self { billing, policies, traces, summaries } = self;
        say!(
            "scores with billing by {billing}: penalised cost over the clairvoyant bound (in USD), 1.000 cannot be beaten"
        );
        let mut columns = vec![Column::Text("TRACE"), Column::Text("CLASS"), Column::Figure("BOUND")];
        columns.extend(policies.iter().map(|policy| Column::Figure(policy)));
        let row = |view: &TraceView| {
            let TraceView { trace, class, bound, by_policy } = view;
            let mut row: Vec<Field> = vec![trace.into(), class.into(), format!("{bound:.2}").into()];
            row.extend(
                policies.iter().map(|name| quotient(by_policy.get(name).and_then(|metrics| metrics.score)).into()),
            );
            row
        };
        say!("{}", context.terminal.table(&columns, traces.iter().map(row).collect()));
        say!("");
        let columns = [
            Column::Text("OVER"),
            Column::Figure("TRACES"),
            Column::Text("POLICY"),
            Column::Figure("SCORE"),
            Column::Figure("WORST"),
            Column::Figure("CPU RATIO"),
            Column::Figure("WORST"),
            Column::Figure("DELIVERED"),
            Column::Figure("WORST"),
            Column::Figure("LOST"),
            Column::Figure("OD SHARE"),
        ];
        say!("{}", context.terminal.table(&columns, summaries.iter().map(SummaryView::row).collect()));
    }
}

impl SummaryView {
    fn row(&self) -> Vec<Field> {
        let Self { over, traces, policy, summary } = self;
        let Summary { score, cpu_ratio, delivered, on_demand_share, preemptions } = summary;
        let [score, worst_score] = spread(*score, quotient);
        let [cpu_ratio, worst_cpu_ratio] = spread(*cpu_ratio, quotient);
        let [delivered, worst_delivered] = spread(*delivered, share);
        let [on_demand_share, _] = spread(*on_demand_share, share);
        vec![
            over.into(),
            traces.into(),
            policy.into(),
            score.into(),
            worst_score.into(),
            cpu_ratio.into(),
            worst_cpu_ratio.into(),
            delivered.into(),
            worst_delivered.into(),
            preemptions.into(),
            on_demand_share.into(),
        ]
    }
}
