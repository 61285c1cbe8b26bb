//! `offers`: candidates in order, with the parts of their score, and how many were turned down for which reason.

use super::{
    Context,
    args::OffersArguments,
    failure::{Ending, Failure},
    say::say,
    source::Source,
    terminal::{Column, Field, Mood, Terminal},
    text,
};
use crate::admin::views::{FleetOffersView, OfferView};

/// `--all`: more than any market has.
const ALL: usize = 100_000;

/// Looks once and tells.
///
/// # Errors
/// When nobody can be asked.
pub fn offers(context: &Context, arguments: &OffersArguments) -> Result<Ending, Failure> {
    let OffersArguments { fleet, limit, all, asking } = arguments;
    let shown_max = if *all { ALL } else { *limit as usize };
    let view = {
        let _progress = context.terminal.progress("looking at the market");
        context
            .block_on(async { Source::open(context, asking).await?.offers(context, fleet.as_ref(), shown_max).await })?
    };
    if asking.json {
        context.print_json(&view)?;
        return Ok(Ending::Done);
    }
    let told: Vec<String> = view.fleets.iter().map(|fleet| show(&context.terminal, fleet)).collect();
    say!("{}", if told.is_empty() { "there are no fleets".to_owned() } else { told.join("\n\n") });
    Ok(Ending::Done)
}

/// The columns in which candidates are shown.
pub const COLUMNS: [Column; 11] = [
    Column::Figure("#"),
    Column::Aside("HOSTNODE"),
    Column::Aside("MARKETPLACE"),
    Column::Aside("WHERE"),
    Column::Text("WHAT"),
    Column::Text("PRICE"),
    Column::Figure("BID"),
    Column::Figure("USD/H"),
    Column::Figure("USD/GPU-H"),
    Column::Figure("UPTIME"),
    Column::Text("VERDICT"),
];

/// One candidate in those columns.
pub fn row(offer: &OfferView) -> Vec<Field> {
    vec![
        offer.rank.into(),
        Field::from(&offer.hostnode),
        Field::from(&offer.marketplace),
        Field::from(&offer.location),
        format!("{} x {}", offer.gpus, offer.gpu_model).into(),
        Field::from(&offer.price_type),
        Field::maybe(offer.bid_usd_per_hour.map(text::rate)),
        text::rate(offer.rate_usd_per_hour).into(),
        text::rate(offer.score.usd_per_delivered_gpu_hour).into(),
        Field::maybe(offer.uptime_ratio.map(text::percent)),
        Field::moody(verdict(offer), if offer.verdict == "chosen" { Mood::Busy } else { Mood::Plain }),
    ]
}

/// The verdict, and when it would end.
fn verdict(offer: &OfferView) -> String {
    match offer.available_until {
        Some(end) => format!("{}, until {}", offer.verdict, text::moment(end)),
        None => offer.verdict.clone(),
    }
}

fn show(terminal: &Terminal, offers: &FleetOffersView) -> String {
    let FleetOffersView { fleet, candidates, candidates_total, rejected, unasked_offers } = offers;
    let shown = candidates.len() as u64;
    let total = u64::from(*candidates_total).max(shown);
    let order = "best first; USD/GPU-H is per delivered GPU-hour";
    let mut lines = vec![match (shown, total) {
        (0, _) => format!("{fleet}: nothing is eligible"),
        (shown, total) if shown < total => format!("{fleet}: {shown} of {total} candidates (--all shows all), {order}"),
        (shown, _) => format!("{fleet}: {}, {order}", text::count(shown, "candidate")),
    }];
    if !candidates.is_empty() {
        lines.push(terminal.table(&COLUMNS, candidates.iter().map(row).collect()));
    }
    if !rejected.is_empty() {
        lines.push(format!("  hostnodes turned down: {}", text::tally(rejected)));
    }
    if *unasked_offers > 0 {
        lines.push(format!("  {} not asked about yet", text::count(u64::from(*unasked_offers), "offer")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_one_row_and_what_was_turned_down_is_counted() {
        let offer = |rank: u32| {
            format!(
                r#"{{"rank": {rank}, "marketplace": "tensordock", "hostnode": "h{rank}", "location": "Warsaw, Poland",
                "gpu_model": "l40-pcie-48gb", "gpus": 1, "vcpus": 4, "ram_gb": 16, "storage_gb": 100, "price_type": "spot",
                "bid_usd_per_hour": 0.4, "rate_usd_per_hour": 0.405, "usd_per_gpu_hour": 0.405,
                "on_demand_usd_per_hour": 1.099, "uptime_ratio": 0.9999, "verdict": "eligible",
                "score": {{"preference": 0, "usd_per_delivered_gpu_hour": 0.405041, "crowding": 0}}}}"#
            )
        };
        let json = format!(
            r#"{{"fleet": "train", "candidates": [{}], "candidates_total": 1, "rejected": {{"denied": 2}}, "unasked_offers": 0}}"#,
            offer(1)
        );
        let shown = show(&Terminal::default(), &serde_json::from_str(&json).unwrap());
        let expected = "\
train: 1 candidate, best first; USD/GPU-H is per delivered GPU-hour
#  HOSTNODE  MARKETPLACE  WHERE           WHAT               PRICE    BID  USD/H  USD/GPU-H  UPTIME  VERDICT
1  h1        tensordock   Warsaw, Poland  1 x l40-pcie-48gb  spot   0.400  0.405      0.406  99.99%  eligible
  hostnodes turned down: 2 denied";
        assert_eq!(shown, expected);
        let ending = json.replace("\"verdict\":", "\"available_until\": \"2026-12-01T00:00:00Z\", \"verdict\":");
        let shown = show(&Terminal::default(), &serde_json::from_str(&ending).unwrap());
        assert!(shown.contains("  eligible, until 2026-12-01T00:00:00Z\n"), "{shown}");
        let some = json.replace("\"candidates_total\": 1", "\"candidates_total\": 62");
        let shown = show(&Terminal::default(), &serde_json::from_str(&some).unwrap());
        assert!(shown.starts_with("train: 1 of 62 candidates (--all shows all), best first;"), "{shown}");
    }
}
