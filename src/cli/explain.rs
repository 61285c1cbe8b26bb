//! `explain`: why an instance was rented, kept or let go, or what one decision saw and weighed. `why-not`: the other way
//! round, from a hostnode.

use super::{
    Context,
    args::Asking,
    failure::{Ending, Failure},
    offers,
    say::say,
    source::{Source, Story},
    terminal::Terminal,
    text,
};
use crate::{
    admin::views::{DecisionView, InstanceView, WhyNotView},
    model::{FleetName, HostnodeId},
};

/// Tells the story of a VM or a decision.
///
/// # Errors
/// When nobody can be asked, or nobody knows the id.
pub fn explain(context: &Context, id: &str, asking: &Asking) -> Result<Ending, Failure> {
    let story = {
        let _progress = context.terminal.progress("looking");
        context.block_on(async { Source::open(context, asking).await?.explain(id).await })?
    };
    if asking.json {
        context.print_json(&story)?;
    } else {
        say!("{}", told(&story));
    }
    Ok(Ending::Done)
}

/// What it is now, and then what happened, in the order in which it happened.
fn told(story: &Story) -> String {
    let Story { instance, decisions } = story;
    let now = instance.iter().map(|instance| {
        let InstanceView { name, fleet, standing, gpus, gpu_model, marketplace, rate_usd_per_hour, why, .. } = instance;
        let rate = text::rate(*rate_usd_per_hour);
        let ends = instance.available_until.map_or_else(String::new, |end| format!(", until {}", text::moment(end)));
        format!("{name}: {standing}, {gpus} x {gpu_model} of {fleet} on {marketplace} at {rate} USD/h{ends}\n    rented because: {why}")
    });
    now.chain(decisions.iter().rev().map(chapter)).collect::<Vec<_>>().join("\n")
}

fn chapter(row: &DecisionView) -> String {
    let at = text::moment(row.at);
    match row.lines.as_slice() {
        [line] if row.kind != "decision" => format!("{at}  {line}"),
        lines => {
            let mut heading = format!("{at}  {}", row.kind);
            for detail in [&row.fleet, &row.subject].into_iter().flatten() {
                heading.push_str("  ");
                heading.push_str(detail);
            }
            lines.iter().fold(heading, |told, line| format!("{told}\n    {line}"))
        }
    }
}

/// Tells what became of a hostnode in the newest plan.
///
/// # Errors
/// When nobody can be asked.
pub fn why_not(
    context: &Context,
    hostnode: &HostnodeId,
    fleet: Option<&FleetName>,
    asking: &Asking,
) -> Result<Ending, Failure> {
    let mut view = {
        let _progress = context.terminal.progress("looking at the market");
        context.block_on(async { Source::open(context, asking).await?.why_not(context, hostnode).await })?
    };
    if let Some(fleet) = fleet {
        view.fleets.retain(|verdict| verdict.fleet == fleet.as_str());
        if view.fleets.is_empty() {
            return Err(Failure::failed(format!("there is no fleet {fleet}; `spotscale status` lists them")));
        }
    }
    if asking.json {
        context.print_json(&view)?;
    } else {
        say!("{}", verdicts(&context.terminal, &view));
    }
    Ok(Ending::Done)
}

fn verdicts(terminal: &Terminal, view: &WhyNotView) -> String {
    let WhyNotView { hostnode, listed_by, listings, fleets } = view;
    let mut parts = vec![match listed_by.as_slice() {
        [] => format!("{hostnode} is not listed now"),
        listed => format!("{hostnode} is listed by {}", listed.join(", ")),
    }];
    parts.extend(listings.iter().map(|listing| format!("  {listing}")));
    for verdict in fleets {
        parts.push(format!("{}: {}: {}", verdict.fleet, verdict.verdict, verdict.detail));
        if !verdict.instances.is_empty() {
            parts.push(format!("  stand there: {}", verdict.instances.join(", ")));
        }
        if !verdict.candidates.is_empty() {
            parts.push(terminal.table(&offers::COLUMNS, verdict.candidates.iter().map(offers::row).collect()));
        }
    }
    parts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_told_from_its_beginning() {
        let json = r#"[
            {"id": "9", "sequence": 9, "at": "2026-11-20T18:05:00.123Z", "kind": "deployed", "fleet": "train",
             "subject": "spotscale-train-k-1", "lines": ["made as vm-1"]},
            {"id": "8", "sequence": 8, "at": "2026-11-20T18:04:59Z", "kind": "decision", "lines": []}]"#;
        let expected = "\
2026-11-20T18:04:59Z  decision
2026-11-20T18:05:00Z  made as vm-1";
        let story = Story { instance: None, decisions: serde_json::from_str(json).unwrap() };
        assert_eq!(told(&story), expected);
    }

    #[test]
    fn a_hostnode_is_told_its_verdict_for_each_fleet() {
        let json = r#"{"hostnode": "h1", "listed_by": ["tensordock"],
            "listings": ["tensordock: Warsaw, Poland; online"], "fleets": [{"fleet": "train",
            "verdict": "price_above_cap", "detail": "2.10 per GPU-hour is above 2.00", "candidates": [], "instances": []}]}"#;
        let shown = verdicts(&Terminal::default(), &serde_json::from_str(json).unwrap());
        assert_eq!(
            shown,
            "h1 is listed by tensordock\n  tensordock: Warsaw, Poland; online\n\
             train: price_above_cap: 2.10 per GPU-hour is above 2.00"
        );
    }
}
