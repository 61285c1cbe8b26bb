//! `plan`: what `run` would do now, and why; with `--policy`, an edit that is not installed yet beside it.

use super::{
    Context,
    args::PlanArguments,
    failure::{Ending, Failure},
    say::say,
    source::Source,
    terminal::{Column, Field, Mood, Terminal},
    text,
};
use crate::{
    admin::views::{ActionView, FleetPlanView, PlanView},
    model::reason::ActionKind,
};

/// Looks once and tells.
///
/// # Errors
/// When nobody can be asked, or the policy is wrong.
pub fn plan(context: &Context, arguments: &PlanArguments) -> Result<Ending, Failure> {
    let PlanArguments { fleet, policy, detailed_exitcode, asking } = arguments;
    let (installed, edit) = {
        let _progress = context.terminal.progress("looking at the market");
        context.block_on(async {
            let source = Source::open(context, asking).await?;
            let edit = match policy {
                Some(file) => Some(source.plan_of(context, file).await?),
                None => None,
            };
            Ok::<_, Failure>((source.plan(context, fleet.as_ref()).await?, edit))
        })?
    };
    let wanted = edit.as_ref().unwrap_or(&installed);
    if asking.json {
        context.print_json(wanted)?;
    } else {
        if let Some(edit) = &edit {
            let fleets: Vec<&str> = edit.fleets.iter().map(|fleet| fleet.fleet.as_str()).collect();
            for today in installed.fleets.iter().filter(|today| fleets.contains(&today.fleet.as_str())) {
                say!("as installed\n{}\n", show(&context.terminal, today));
            }
            say!("as edited");
        }
        let told: Vec<String> = wanted.fleets.iter().map(|fleet| show(&context.terminal, fleet)).collect();
        say!("{}", if told.is_empty() { "there are no fleets".to_owned() } else { told.join("\n\n") });
    }
    Ok(if *detailed_exitcode && changes(wanted) { Ending::ChangePlanned } else { Ending::Done })
}

/// Asking is observing: only what changes the world counts.
fn changes(plan: &PlanView) -> bool {
    let mut actions = plan.fleets.iter().flat_map(|fleet| &fleet.actions);
    actions.any(|action| action.kind != ActionKind::Ask.as_str())
}

fn show(terminal: &Terminal, plan: &FleetPlanView) -> String {
    let FleetPlanView {
        fleet,
        target_gpus,
        running_gpus,
        planned_gpus,
        stray_gpus,
        rate_usd_per_hour: rates,
        gap_ratio: _,
        actions,
        rejected,
        blocked,
        unasked_offers,
    } = plan;
    let mut lines = vec![
        format!(
            "{fleet}: target {}, {running_gpus} running, {planned_gpus} once this is done",
            text::count(u64::from(*target_gpus), "GPU")
        ),
        format!(
            "  {} USD/h now, {} once this is done, {} at most; these models cost {} at least",
            text::rate(rates.now),
            text::rate(rates.planned),
            text::rate(rates.limit),
            text::rate(rates.lower_bound)
        ),
    ];
    if actions.is_empty() {
        lines.push("  nothing to do".to_owned());
    } else {
        const COLUMNS: [Column; 8] = [
            Column::Text("  DO"),
            Column::Aside("MARKETPLACE"),
            Column::Text("WHAT"),
            Column::Aside("PRICE"),
            Column::Figure("BID"),
            Column::Figure("USD/H"),
            Column::Aside("INSTANCE OR HOSTNODE"),
            Column::Aside("WHY"),
        ];
        lines.push(terminal.table(&COLUMNS, actions.iter().map(row).collect()));
    }
    for unmet in blocked {
        let gpus = text::count(u64::from(unmet.gpus), "GPU");
        let way = text::over_or_short(planned_gpus.saturating_add(*stray_gpus), *target_gpus);
        lines.push(format!("  {gpus} {way}: {}: {}", unmet.reason, unmet.detail));
    }
    if *stray_gpus > 0 {
        let gpus = text::count(u64::from(*stray_gpus), "GPU");
        lines.push(format!("  {gpus} of strays count towards the target and the rate; adopt or delete them"));
    }
    if !rejected.is_empty() {
        lines.push(format!("  hostnodes turned down: {}", text::tally(rejected)));
    }
    if *unasked_offers > 0 {
        lines.push(format!("  {} not asked about yet", text::count(u64::from(*unasked_offers), "offer")));
    }
    lines.join("\n")
}

fn row(action: &ActionView) -> Vec<Field> {
    let what = match (action.gpus, &action.gpu_model) {
        (Some(gpus), Some(model)) => Some(format!("{gpus} x {model}")),
        (None, Some(model)) => Some(model.clone()),
        (Some(gpus), None) => Some(text::count(u64::from(gpus), "GPU")),
        (None, None) => None,
    };
    let takes_away = [ActionKind::Delete, ActionKind::Stop].iter().any(|kind| kind.as_str() == action.kind);
    let why =
        action.detail.as_ref().map_or_else(|| action.reason.clone(), |detail| format!("{}: {detail}", action.reason));
    vec![
        Field::moody(format!("  {}", action.kind), if takes_away { Mood::Bad } else { Mood::Plain }),
        Field::from(&action.marketplace),
        Field::maybe(what),
        Field::maybe(action.price_type.as_ref()),
        Field::maybe(action.bid_usd_per_hour.map(text::rate)),
        Field::maybe(action.rate_usd_per_hour.map(text::rate)),
        Field::maybe(action.instance.as_ref().or(action.hostnode.as_ref())),
        Field::from(why),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(actions: &str) -> PlanView {
        let fleet = r#""fleet": "train", "target_gpus": 8, "running_gpus": 3, "planned_gpus": 5, "gap_ratio": 0.0,
            "rate_usd_per_hour": {"now": 1.2, "planned": 3.1, "limit": 6, "lower_bound": 3.1},
            "rejected": {"price_above_cap": 120, "uptime_below_min": 5}, "unasked_offers": 1,
            "blocked": [{"gpus": 3, "reason": "rate_limit", "detail": "6.20 would be over 6.00"}]"#;
        let json = format!(r#"{{"at": "2026-11-20T18:00:00Z", "fleets": [{{{fleet}, "actions": [{actions}]}}]}}"#);
        serde_json::from_str(&json).unwrap()
    }

    const DEPLOY: &str = r#"{"kind": "deploy", "marketplace": "tensordock", "hostnode": "h1", "gpu_model": "h100-sxm5-80gb",
        "gpus": 2, "price_type": "spot", "bid_usd_per_hour": 0.42, "rate_usd_per_hour": 0.425, "reason": "cheapest"}"#;

    #[test]
    fn a_plan_reads_as_what_why_and_why_not() {
        let shown = show(&Terminal::default(), &plan_of(DEPLOY).fleets[0]);
        let expected = "\
train: target 8 GPUs, 3 running, 5 once this is done
  1.200 USD/h now, 3.100 once this is done, 6.000 at most; these models cost 3.100 at least
  DO      MARKETPLACE  WHAT                PRICE    BID  USD/H  INSTANCE OR HOSTNODE  WHY
  deploy  tensordock   2 x h100-sxm5-80gb  spot   0.420  0.425  h1                    cheapest
  3 GPUs short: rate_limit: 6.20 would be over 6.00
  hostnodes turned down: 120 price_above_cap, 5 uptime_below_min
  1 offer not asked about yet";
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_over_the_target_is_not_called_short_and_strays_are_named() {
        let mut plan = plan_of("").fleets.remove(0);
        plan.stray_gpus = 4;
        plan.blocked[0].reason = "cooldown".into();
        let shown = show(&Terminal::default(), &plan);
        assert!(shown.contains("\n  3 GPUs over: cooldown: "), "{shown}");
        assert!(shown.contains("\n  4 GPUs of strays count towards the target and the rate; adopt or delete them"));
    }

    #[test]
    fn only_what_changes_the_world_is_a_change() {
        assert!(changes(&plan_of(DEPLOY)));
        assert!(!changes(&plan_of("")));
        assert!(!changes(&plan_of(&DEPLOY.replace("deploy", "ask"))));
    }
}
