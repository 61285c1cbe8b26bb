//! The status page: one page, made on the server, that needs neither JavaScript nor the internet.
//!
//! It refreshes by itself; with `?levers` it shows the levers instead and stands still, so that nobody's typing is lost.
//! What it shows comes from the same views as the API. All text is escaped by `maud`; figures are
//! rounded for reading, and exact in JSON.

use super::{
    amount::{self, Money, amount},
    chart::{self, COLOURS, Samples},
    house::Said,
    show,
    views::*,
};
use crate::{
    engine::Status,
    model::{FleetName, Timestamp, time::elapsed},
    plan::Situation,
    settings::BalanceRule,
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::{collections::BTreeSet, time::Duration};

/// Rows of the history that are shown.
pub const DECISIONS: usize = 25;
/// Candidates shown of each fleet.
const CANDIDATES: usize = 8;
/// Instances shown.
const INSTANCES: usize = 200;
/// The page refreshes as often as the market is looked at, within these bounds.
const REFRESH_S: (u64, u64) = (5, 60);
/// What a lever said is shown for so long.
const SAID_FOR: Duration = Duration::from_secs(120);
/// All the page's looks.
const STYLE: &str = include_str!("style.css");
/// One in millionths.
const PPM: u64 = 1_000_000;

/// What the page's forms need.
#[derive(Clone, Copy, Debug)]
pub struct Levers<'a> {
    /// Proves that a form is ours.
    pub csrf: &'a str,
    /// Whether a change needs the bearer token.
    pub needs_token: bool,
}

/// All that the page is made from.
#[derive(Debug)]
pub struct Scene<'a> {
    /// What was known after the newest tick.
    pub status: &'a Status,
    /// The moment.
    pub now: Timestamp,
    /// The newest decisions, or why they cannot be read.
    pub history: Result<Vec<DecisionView>, String>,
    /// Over time.
    pub samples: &'a Samples,
    /// Whether to show the levers.
    pub levers: Option<Levers<'a>>,
    /// What the last form's lever said.
    pub said: Said,
}

/// The page.
pub fn page(scene: &Scene<'_>) -> Markup {
    let Scene { status, now, levers, said, .. } = scene;
    let all = show::fleets(status, *now);
    let accounts = show::accounts(status, *now);
    let refresh_s = all.scan_interval_s.clamp(REFRESH_S.0, REFRESH_S.1);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if levers.is_none() { meta http-equiv="refresh" content=(refresh_s); }
                meta name="color-scheme" content="light dark";
                title { (headline(&all)) " · spotscale" }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                (top(&all, *now, levers.is_some()))
                main {
                    @if let Some((at, line)) = said && elapsed(*at, *now) < SAID_FOR {
                        p.notice role="status" { (line) }
                    }
                    (alarms(&all))
                    section.cards aria-label="Fleets" {
                        @for (place, fleet) in all.fleets.iter().enumerate() { (card(scene, fleet, place)) }
                        @if all.fleets.is_empty() { p.quiet { "There is no fleet: no policy file was found." } }
                    }
                    (money(&accounts))
                    (cost(scene, &all))
                    (instances(scene))
                    (offers(scene))
                    (decisions(scene))
                    (markets(&all))
                    @if let Some(levers) = levers { (everything(levers, &all)) }
                }
                footer {
                    "spotscale " (env!("CARGO_PKG_VERSION")) " · "
                    a href="/api/v1/openapi.json" { "API" } " · " a href="/metrics" { "metrics" } " · "
                    a href="/api/v1/fleets" { "JSON" }
                }
            }
        }
    }
}

fn headline(all: &FleetsView) -> String {
    let running: u32 = all.fleets.iter().map(|fleet| fleet.running_gpus).sum();
    let target: u32 = all.fleets.iter().filter_map(|fleet| fleet.target_gpus).sum();
    format!("{running} of {target} GPUs")
}

/// A duration for people: the longer, the coarser.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let grain = if seconds >= 86_400 {
        3_600
    } else if seconds >= 3_600 {
        60
    } else {
        1
    };
    crate::model::time::show(Duration::from_secs(seconds / grain * grain))
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", span(elapsed(at, now)))
}

fn lasts(seconds: Option<u64>) -> String {
    seconds.map_or("no end".to_owned(), |seconds| span(Duration::from_secs(seconds)))
}

fn top(all: &FleetsView, now: Timestamp, has_levers: bool) -> Markup {
    html! {
        header {
            h1 { "spotscale" }
            p.summary {
                strong { (headline(all)) }
                @if all.mode == "observe" { " · " span.badge.info { "observing only" } }
                " · "
                @match all.at {
                    Some(at) => { "looked " time datetime=(at.to_string()) { (ago(at, now)) } },
                    None => "looking for the first time",
                }
                " · up " (span(elapsed(all.started_at, now)))
            }
            nav {
                @if has_levers { a.button href="/" { "Back to the status" } }
                @else { a.button href="/?levers=1" { "Levers" } }
            }
        }
    }
}

fn alarms(all: &FleetsView) -> Markup {
    let faults = all.settings_faults.iter().map(|line| ("Settings on disk are not in force", line));
    let troubles = all.troubles.iter().map(|line| ("Could not be done", line));
    html! {
        @for (what, line) in faults.chain(troubles) { p.alarm { strong { (what) ": " } (line) } }
        @for fleet in &all.fleets {
            @for line in &fleet.policy.faults {
                p.alarm { strong { "The policy of " (fleet.fleet) " on disk is not in force: " } (line) }
            }
            @if fleet.policy.gone {
                p.alarm { strong { (fleet.policy.file) " is gone: " } "fleet " (fleet.fleet) " stays as it is, paused" }
            }
            @if let Some(held) = &fleet.policy.held {
                p.alarm { strong { "An edit of " (fleet.policy.file) " waits for `spotscale apply " (fleet.fleet) "`: " }
                    (held.effect) }
            }
        }
    }
}

/// A fleet's state in a word, and the word's colour.
fn state(fleet: &FleetView) -> (&'static str, &'static str) {
    match fleet.target_gpus {
        _ if fleet.evacuating => ("bad", "evacuating"),
        _ if fleet.paused => ("info", "paused"),
        None => ("info", "not looked at yet"),
        Some(target) if fleet.running_gpus >= target => ("good", "on target"),
        Some(_) if !fleet.blocked.is_empty() => ("bad", "blocked"),
        Some(_) => ("warn", "growing"),
    }
}

fn card(scene: &Scene<'_>, fleet: &FleetView, place: usize) -> Markup {
    let (colour, word) = state(fleet);
    let target = fleet.target_gpus.unwrap_or(0);
    html! {
        article.card {
            h2 {
                span class=(format!("dot s{}", place.min(COLOURS - 1))) {} (fleet.fleet)
                span class=(format!("badge {colour}")) { (word) }
                @if fleet.mode == "observe" { span.badge.info { "observe" } }
            }
            p.big { (fleet.running_gpus) span.of { " of " (target) " GPUs" } }
            (bar(fleet))
            @if let Ok(name) = fleet.fleet.parse::<FleetName>() { (chart::gpus(scene.samples, &name)) }
            dl {
                @if let Some(rate) = &fleet.rate_usd_per_hour {
                    dt { "cost" }
                    dd { (amount::rate(rate.now)) " of " (rate.limit) " USD/h" (meter(rate)) }
                }
                dt { "spent" }
                dd { (amount(fleet.totals.spend_usd)) " USD, " (amount(fleet.totals.spend_today_usd)) " today" }
                @if let (Some(price), Some(list)) =
                    (fleet.totals.usd_per_gpu_hour, fleet.totals.on_demand_usd_per_gpu_hour) {
                    dt { "GPU-hour" }
                    dd { (amount::rate(price)) " USD" @if let Some(saved) = saved(price, list) { ", " (saved) " on demand" } }
                }
                @if let Some(operator) = &fleet.operator_target {
                    dt { "operator" }
                    dd { (operator.gpus) " GPUs " @if let Some(until) = operator.until { "until " (until) } }
                }
            }
            @for vm in &fleet.overbilled {
                p.blocked { strong { (vm.instance) " is overbilled: " }
                    (vm.billed_usd_per_hour) " USD/h billed, " (vm.agreed_usd_per_hour) " agreed" }
            }
            @for unmet in &fleet.blocked {
                p.blocked { strong { (unmet.gpus) " GPUs: " (unmet.reason.replace('_', " ")) } " " (unmet.detail) }
            }
            @if let Some(levers) = &scene.levers { (fleet_levers(levers, fleet)) }
        }
    }
}

/// `62 % below`.
fn saved(price: Money, list: Money) -> Option<String> {
    let (price, list) = (price.hourly().micros(), list.hourly().micros());
    let ppm = price.saturating_mul(PPM).checked_div(list)?;
    Some(match PPM.checked_sub(ppm) {
        Some(below) => format!("{} % below", below / 10_000),
        None => format!("{} % above", (ppm - PPM) / 10_000),
    })
}

/// The fleet's GPUs by standing, as parts of the target.
fn bar(fleet: &FleetView) -> Markup {
    let whole = fleet.target_gpus.unwrap_or(0).max(fleet.counted_gpus).max(1);
    const ORDER: [&str; 7] = ["running", "pending", "in_doubt", "outbid", "stopped", "lost", "leaving"];
    let parts =
        || ORDER.iter().filter_map(|state| Some((*state, *fleet.gpus.get(*state)?))).filter(|(_, gpus)| *gpus > 0);
    let mut from = 0;
    let segments: Vec<(&str, u32, u32)> = parts()
        .map(|(state, gpus)| {
            let start = from;
            from += gpus;
            (state, start, gpus)
        })
        .collect();
    html! {
        svg.bar viewBox=(format!("0 0 {whole} 1")) preserveAspectRatio="none" aria-hidden="true" {
            @for (state, start, gpus) in segments {
                rect class=(format!("st-{state}")) x=(start) y="0" width=(gpus) height="1" {}
            }
        }
        p.legend {
            @for (state, gpus) in parts() {
                span { span class=(format!("dot st-{state}")) {} (gpus) " " (state.replace('_', " ")) }
            }
            @if fleet.strays > 0 { span { span.dot.st-lost {} (fleet.strays) @if fleet.strays == 1 { " stray" } @else { " strays" } } }
        }
    }
}

fn meter(rate: &RateView) -> Markup {
    let (now, limit) = (rate.now.hourly().micros(), rate.limit.hourly().micros());
    let per_mille = now.saturating_mul(1_000).checked_div(limit).unwrap_or(1_000).min(1_000);
    html! {
        svg.meter viewBox="0 0 1000 1" preserveAspectRatio="none" aria-hidden="true" {
            rect class=(if now > limit { "over" } else { "within" }) x="0" y="0" width=(per_mille) height="1" {}
        }
    }
}

fn money(accounts: &AccountsView) -> Markup {
    html! {
        @if !accounts.accounts.is_empty() {
            section {
                h2 { "Accounts" }
                div.scroll { table {
                    thead { tr {
                        th { "account" } th.n { "balance" } th.n { "floor" } th.n { "cost, USD/h" }
                        th.n { "to the floor" } th.n { "to zero" } th.n { "unexplained, USD/h" }
                        th.n { "today" } th.n { "left of the budget" }
                    } }
                    tbody { @for account in &accounts.accounts { tr {
                        td { (account.account) }
                        td.n { @match account.balance_usd {
                            Some(balance) => (amount(balance)),
                            None if account.balance == BalanceRule::UnreadableOk.as_str() => "unreadable",
                            None => span.warn { "unknown" }
                        } }
                        td.n { (account.floor_usd) } td.n { (amount::rate(account.hourly_cost_usd)) }
                        td.n { (lasts(account.runway_to_floor_s)) } td.n { (lasts(account.runway_to_zero_s)) }
                        td.n { (amount::rate(account.unexplained_usd_per_hour)) }
                        td.n { (amount(account.spent_today_usd)) }
                        td.n { @if let Some(left) = account.budget_remaining_usd { (amount(left)) } @else { "–" } }
                    } } }
                } }
            }
        }
    }
}

fn cost(scene: &Scene<'_>, all: &FleetsView) -> Markup {
    let fleets: BTreeSet<FleetName> = all.fleets.iter().filter_map(|fleet| fleet.fleet.parse().ok()).collect();
    html! {
        section {
            h2 { "Cost over time" small { "committed, USD/h" } }
            div.scroll { (chart::cost(scene.samples, &fleets)) }
            p.legend {
                @for (place, fleet) in fleets.iter().enumerate() {
                    span { span class=(format!("dot s{}", place.min(COLOURS - 1))) {} (fleet) }
                }
            }
        }
    }
}

fn instances(scene: &Scene<'_>) -> Markup {
    let all = show::instances(scene.status, scene.now).instances;
    html! {
        section {
            h2 { "Instances" small { (all.len()) } }
            @if all.is_empty() { p.quiet { "None." } } @else {
                div.scroll { table {
                    thead { tr {
                        th { "name" } th { "standing" } th { "GPUs" } th { "paid" } th.n { "USD/h" } th { "age" }
                        th { "where" } th { "address" }
                    } }
                    tbody { @for vm in all.iter().take(INSTANCES) {
                    tr.vm {
                        td.mono { (vm.name) @if vm.protected { " " span.badge.info { "protected" } }
                            @if vm.overbilled_usd_per_hour.is_some() { " " span.badge.bad { "overbilled" } } }
                        td { span class=(format!("dot st-{}", vm.standing)) {} (vm.standing.replace('_', " ")) }
                        td { (vm.gpus) " × " (vm.gpu_model) }
                        td { (vm.price_type.as_deref().unwrap_or("").replace('_', " ")) }
                        td.n { (amount::rate(vm.rate_usd_per_hour)) }
                        td { (vm.age_s.map(|age| span(Duration::from_secs(age))).unwrap_or_default()) }
                        td.where { (place(&vm.marketplace, &vm.location)) }
                        td.mono { (vm.address.as_deref().unwrap_or("")) (ssh(vm)) }
                    }
                    tr.why { td colspan="8" {
                        (vm.why) @if let Some(levers) = &scene.levers { (instance_levers(levers, vm)) }
                    } }
                    } }
                } }
                @if all.len() > INSTANCES { p.quiet { "…and " (all.len() - INSTANCES) " more: /api/v1/instances" } }
            }
        }
    }
}

/// Where something is: the marketplace, and the place where one is told.
fn place(marketplace: &str, location: &str) -> Markup {
    html! { (marketplace) @if !location.is_empty() { ", " (location) } }
}

/// The outside port of SSH, as `:20000`.
fn ssh(vm: &InstanceView) -> String {
    let port = vm.ports.iter().find(|(_, inside)| **inside == 22);
    port.filter(|_| vm.address.is_some()).map(|(outside, _)| format!(":{outside}")).unwrap_or_default()
}

fn offers(scene: &Scene<'_>) -> Markup {
    let Some((situation, plan)) = scene.status.situation.as_ref().zip(scene.status.plan.as_ref()) else {
        return html! {};
    };
    let planned = show::plan(situation, plan, None).fleets;
    let all = show::offers(plan, None, None, CANDIDATES).fleets;
    html! {
        section {
            h2 { "Offers" small { (listed(situation)) " hostnodes listed" } }
            @for (fleet, plan) in all.iter().zip(&planned) {
                h3 { (fleet.fleet) }
                @for step in &plan.actions { p.step { strong { (step.kind) } " " (action(step)) } }
                @if fleet.candidates.is_empty() { p.quiet { "No candidate was needed or found." } } @else {
                    div.scroll { table {
                        thead { tr {
                            th.n { "#" } th { "GPUs" } th { "paid" } th.n { "USD/h" } th.n { "per GPU" }
                            th.n { "on demand" } th.n { "uptime" } th { "where" } th { "hostnode" } th { "verdict" }
                        } }
                        tbody { @for offer in &fleet.candidates { tr {
                            td.n { (offer.rank) } td { (offer.gpus) " × " (offer.gpu_model) }
                            td { (offer.price_type.replace('_', " ")) }
                            @if is_priced(offer) { td.n { (amount::rate(offer.rate_usd_per_hour)) } td.n { (amount::rate(offer.usd_per_gpu_hour)) } }
                            @else { td.n { "?" } td.n { "?" } }
                            td.n { (amount::rate(offer.on_demand_usd_per_hour)) }
                            td.n { @if let Some(uptime) = offer.uptime_ratio { (percent(uptime.ppm())) } }
                            td.where { (place(&offer.marketplace, &offer.location)) } td.mono.id { (offer.hostnode) }
                            td class=(format!("v-{}", offer.verdict)) { (offer.verdict.replace('_', " ")) }
                        } } }
                    } }
                }
                @if !fleet.rejected.is_empty() {
                    p.chips { "Turned down: " @for (reason, count) in &fleet.rejected {
                        span.chip { (reason.replace('_', " ")) " " b { (count) } }
                    } }
                }
            }
        }
    }
}

fn listed(situation: &Situation) -> usize {
    situation.markets.values().map(|market| market.hostnodes.len()).sum()
}

fn is_priced(offer: &OfferView) -> bool {
    offer.bid_usd_per_hour.is_some() || offer.price_type != "spot"
}

fn percent(ppm: u64) -> String {
    format!("{}.{} %", ppm / 10_000, ppm % 10_000 / 1_000)
}

fn action(step: &ActionView) -> Markup {
    html! {
        @if let Some(instance) = &step.instance { span.mono { (instance) } " " }
        @else if let Some(hostnode) = &step.hostnode { "on " span.mono { (hostnode) } " " }
        @if let (Some(gpus), Some(model)) = (step.gpus, &step.gpu_model) { (gpus) " × " (model) " " }
        @if let Some(rate) = step.rate_usd_per_hour.or(step.bid_usd_per_hour) { "at " (rate) " USD/h " }
        "— " (step.reason.replace('_', " ")) @if let Some(detail) = &step.detail { ": " (detail) }
    }
}

fn decisions(scene: &Scene<'_>) -> Markup {
    html! {
        section {
            h2 { "Decisions" }
            @match &scene.history {
                Err(problem) => p.alarm { (problem) },
                Ok(rows) if rows.is_empty() => p.quiet { "Nothing was decided yet." },
                Ok(rows) => ol.story { @for row in rows { li {
                    time datetime=(row.at.to_string()) title=(row.at.to_string()) { (ago(row.at, scene.now)) }
                    @if let Some(fleet) = &row.fleet { " " span.chip { (fleet) } }
                    @if row.kind == "decision" { " " a href=(format!("/api/v1/decisions/{}", path_part(&row.id))) { (row.id) } }
                    @for line in &row.lines { div { (line) } }
                } } },
            }
        }
    }
}

/// A text as one part of a path.
fn path_part(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

fn markets(all: &FleetsView) -> Markup {
    html! {
        section {
            h2 { "Marketplaces" }
            div.scroll { table {
                thead { tr { th { "name" } th { "account" } th { "last read" } th.n { "hostnodes" } th.n { "in doubt" } th { "state" } } }
                tbody { @for market in &all.marketplaces { tr {
                    td { (market.marketplace) } td { (market.account.as_deref().unwrap_or("")) }
                    td { @match market.age_s { Some(age) => { (span(Duration::from_secs(age))) " ago" }, None => "never" } }
                    td.n { (market.hostnodes) } td.n { (market.in_doubt) }
                    td {
                        @if let Some(bench) = &market.bench { span.badge.bad { (bench.replace('_', " ")) } " " }
                        @if let Some(failed) = &market.failed { span.warn { (failed) } }
                        @else if market.bench.is_none() { span.good { "ok" } }
                        @if let Some(since) = market.benched_since { div.quiet { "benched " (ago(since, all.now)) } }
                        @if let Some(again) = market.asked_again_at { div.quiet { "asked again " (ahead(again, all.now)) } }
                        @for line in market.dropped.iter().take(3) { div.quiet { "dropped: " (line) } }
                    }
                } } }
            } }
        }
    }
}

/// When something is due, as seen from now.
fn ahead(at: Timestamp, now: Timestamp) -> String {
    match elapsed(now, at) {
        left if left < Duration::from_secs(1) => "now".to_owned(),
        left => format!("in {}", span(left)),
    }
}

fn proofs(levers: &Levers<'_>) -> Markup {
    html! {
        input type="hidden" name="csrf" value=(levers.csrf);
        @if levers.needs_token {
            input.short type="password" name="access_token" placeholder="token" required autocomplete="off" aria-label="token";
        }
    }
}

fn fleet_levers(levers: &Levers<'_>, fleet: &FleetView) -> Markup {
    html! {
        div.levers {
            form method="post" action="/levers" {
                (proofs(levers)) input type="hidden" name="fleet" value=(fleet.fleet);
                label { "GPUs " input.short type="number" min="0" max="100000" name="gpus" required value=(fleet.target_gpus.unwrap_or(0)); }
                label { " for " input.short type="text" name="for" placeholder="ever" pattern="[0-9]+[smhd]"; }
                button name="lever" value="target" { "Set target" }
            }
            form method="post" action="/levers" {
                (proofs(levers)) input type="hidden" name="fleet" value=(fleet.fleet);
                @if fleet.operator_target.is_some() { button name="lever" value="clear_target" { "Clear target" } }
                @if fleet.paused || fleet.evacuating { button name="lever" value="resume" { "Resume" } }
                @else { button name="lever" value="pause" { "Pause" } }
                @if fleet.policy.held.is_some() { button name="lever" value="apply" { "Apply the held edit" } }
            }
            form method="post" action="/levers" {
                (proofs(levers)) input type="hidden" name="fleet" value=(fleet.fleet);
                label { input type="checkbox" required; " tear all of it down " }
                button.danger name="lever" value="evacuate" { "Evacuate" }
            }
        }
    }
}

fn instance_levers(levers: &Levers<'_>, vm: &InstanceView) -> Markup {
    let lever = if vm.protected { "unprotect" } else { "protect" };
    html! {
        form.levers method="post" action="/levers" {
            (proofs(levers)) input type="hidden" name="instance" value=(vm.name);
            @if vm.standing == "stray" {
                input type="hidden" name="fleet" value=(vm.fleet);
                button name="lever" value="adopt" { "Adopt" }
            } @else {
                button name="lever" value=(lever) { (lever) }
            }
            label { input type="checkbox" required; " sure " }
            button.danger name="lever" value="delete" { "Delete" }
        }
    }
}

fn everything(levers: &Levers<'_>, all: &FleetsView) -> Markup {
    html! {
        section.levers {
            h2 { "Everything" }
            form method="post" action="/levers" {
                (proofs(levers))
                button name="lever" value="pause" { "Pause all" }
                button name="lever" value="resume" { "Resume all" }
                button name="lever" value="reload" { "Reload settings and policies" }
            }
            @for market in &all.marketplaces {
                form method="post" action="/levers" {
                    (proofs(levers)) input type="hidden" name="marketplace" value=(market.marketplace);
                    "Renting on " strong { (market.marketplace) } ": "
                    button name="lever" value="pause" { "Pause" }
                    button name="lever" value="resume" { "Resume" }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        admin::history::{self, Wanted},
        engine::sample::{early, now, status},
        model::time::after,
    };

    fn samples() -> Samples {
        let mut samples = Samples::default();
        for tick in 0..10u64 {
            let mut status = status();
            status.at = Some(after(now(), Duration::from_secs(30 * tick)));
            samples.take(&status);
        }
        samples
    }

    fn shown(status: &Status, levers: Option<Levers<'_>>) -> String {
        let wanted = Wanted { rows_max: DECISIONS, ..Wanted::default() };
        let history = history::search(&history::tests::pages(), &wanted).map_err(|problem| problem.detail);
        let said = Some((now(), "train: paused".to_owned()));
        page(&Scene { status, now: now(), history, samples: &samples(), levers, said }).into_string()
    }

    #[test]
    fn the_page_shows_fleets_instances_offers_decisions_and_cost() {
        let page = shown(&status(), None);
        for part in [
            "5 of 10 GPUs · spotscale",
            "is overbilled: ",
            "0.88 USD/h billed, 0.85 agreed",
            "4.835 of 6.00 USD/h",
            "2 GPUs: rate limit",
            "66 % below on demand",
            "spotscale-train-k3x9-1",
            "192.0.2.1:20000",
            "</span>1 stray</span>",
            "price above cap <b>120</b>",
            "somebody pays more",
            "Committed cost per hour over time",
            "http-equiv=\"refresh\"",
            "train: paused",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
    }

    #[test]
    fn the_page_needs_no_script_and_nothing_from_elsewhere() {
        let page = shown(&status(), Some(Levers { csrf: "x", needs_token: true }));
        for part in ["<script", "javascript:", "http://", "https://", "@import", "url(", "onclick"] {
            assert!(!page.contains(part), "{part}");
        }
    }

    #[test]
    fn text_of_others_is_escaped() {
        let page = shown(&status(), None);
        assert!(page.contains("&lt;b&gt;delivered&lt;/b&gt;") && !page.contains("<b>delivered"));
    }

    #[test]
    fn levers_carry_the_pages_token_and_stand_still() {
        assert!(!shown(&status(), None).contains("<form"));
        let page = shown(&status(), Some(Levers { csrf: "s3cret", needs_token: false }));
        assert_eq!(page.matches("<form").count(), page.matches("name=\"csrf\" value=\"s3cret\"").count());
        assert!(!page.contains("http-equiv=\"refresh\"") && !page.contains("access_token"));
    }

    #[test]
    fn before_the_first_look_there_is_a_page_too() {
        let page = shown(&early(), None);
        assert!(page.contains("looking for the first time") && page.contains("not looked at yet"), "{page}");
    }
}
