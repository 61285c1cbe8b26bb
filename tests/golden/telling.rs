//! A situation and its plan as text that a person can check with a pencil.

use spotscale::{
    engine::Status,
    ledger::fleet::Member,
    model::{HourlyRate, offer::Rates},
    plan::{Action, Candidate, Deploy, FleetReport, Score, Situation, Subject, Unmet, Verdict},
};
use std::fmt::{self, Write as _};

/// The first eight letters tell all ids of the documents apart.
fn short(id: &impl fmt::Display) -> String {
    id.to_string().chars().take(8).collect()
}

fn rates(Rates { compute, storage }: Rates) -> String {
    format!("{compute} + {storage}")
}

fn or_dash(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// All that a plan was made of and came to.
pub fn tell(status: &Status) -> String {
    let mut text = String::new();
    let (Some(situation), Some(plan)) = (&status.situation, &status.plan) else {
        return format!("no plan: {:?}\n", status.troubles);
    };
    seen(&mut text, status, situation);
    for (name, report) in &plan.report {
        let members = situation.fleets.get(name).into_iter().flat_map(|state| state.fleet.members.values());
        fleet(&mut text, name, report, members);
    }
    text.push_str("actions\n");
    for action in &plan.actions {
        writeln!(text, "  {}", act(action)).unwrap();
    }
    for trouble in &status.troubles {
        writeln!(text, "trouble: {trouble}").unwrap();
    }
    text
}

fn seen(text: &mut String, status: &Status, situation: &Situation) {
    for (name, market) in &situation.markets {
        let list = if market.list_complete { "complete" } else { "not complete" };
        let hosts = market.hostnodes.len();
        writeln!(text, "{name}: {hosts} hostnodes, the list of VMs is {list}").unwrap();
        for dropped in status.markets.get(name).into_iter().flat_map(|market| &market.dropped) {
            writeln!(text, "  could not be read: {dropped}").unwrap();
        }
    }
    for (name, account) in &status.accounts {
        let left = situation.account_left(name).map(|(left, _)| left);
        writeln!(
            text,
            "account {name}: {} left, floor {}, costs {}/h, {}/h of it unexplained",
            or_dash(left),
            account.floor,
            account.hourly_cost,
            account.unexplained
        )
        .unwrap();
    }
}

fn fleet<'m>(
    text: &mut String,
    name: &impl fmt::Display,
    report: &FleetReport,
    members: impl Iterator<Item = &'m Member>,
) {
    let FleetReport {
        target_gpus,
        running_gpus,
        planned_gpus,
        rate_now,
        rate_planned,
        rate_limit,
        lower_bound,
        gap_ppm,
        candidates,
        rejected,
        rejected_hostnodes,
        overbilled,
        unasked_offers,
        blocked,
    } = report;
    writeln!(text, "\nfleet {name}: target {target_gpus}, running {running_gpus}, planned {planned_gpus}").unwrap();
    writeln!(
        text,
        "  {rate_now}/h now, {rate_planned}/h planned of {rate_limit}/h, {lower_bound}/h at least, gap {gap_ppm} ppm"
    )
    .unwrap();
    for member in members {
        let Member { name, standing, agreed, quoted, shape, hostnode, address, ports, .. } = member;
        writeln!(
            text,
            "  has {name}: {standing}, {} x {} on {}, agreed {}, quoted {}, counts {}/h, at {} {ports:?}",
            shape.gpus,
            shape.gpu_model,
            short(hostnode),
            rates(*agreed),
            or_dash(quoted.map(rates)),
            member.committed(),
            or_dash(address.as_ref()),
        )
        .unwrap();
    }
    for (rank, candidate) in candidates.iter().enumerate() {
        writeln!(text, "  {:>2}. {}", rank + 1, offer(candidate)).unwrap();
    }
    let counted: u32 = rejected.values().sum();
    assert_eq!(counted as usize, rejected_hostnodes.len());
    for (reason, count) in rejected {
        let hosts = rejected_hostnodes.iter().filter(|(_, why)| *why == reason).map(|((_, host), _)| short(host));
        writeln!(text, "  turned down {count} {reason}: {}", hosts.collect::<Vec<_>>().join(", ")).unwrap();
    }
    for (name, (agreed, billed)) in overbilled {
        writeln!(text, "  overbilled {name}: agreed {agreed}, billed {billed}").unwrap();
    }
    if *unasked_offers > 0 {
        writeln!(text, "  {unasked_offers} not asked about").unwrap();
    }
    for Unmet { gpus, reason, detail } in blocked {
        writeln!(text, "  short of {gpus}: {reason}: {detail}").unwrap();
    }
}

fn offer(candidate: &Candidate) -> String {
    let Candidate { offer, price_type, bid, rate, score, verdict } = candidate;
    let Score { preference, micros_per_delivered_gpu_hour, crowding, tie: _ } = score;
    let shape = &offer.shape;
    let verdict = match verdict {
        Verdict::Eligible => "eligible".to_owned(),
        Verdict::Asking => "asking".to_owned(),
        Verdict::Chosen => "CHOSEN".to_owned(),
        Verdict::Rejected(reason) => format!("turned down: {reason}"),
    };
    format!(
        "{price_type} {} x {} ({} vCPU, {} GB, {} GB disk) on {} in {:?}, up {}: on demand {}, bid {}, {rate}/h; \
         preference {preference}, {} per delivered GPU-hour, crowding {crowding}: {verdict}",
        shape.gpus,
        shape.gpu_model,
        shape.vcpus,
        shape.ram_gb,
        shape.storage_gb,
        short(&offer.hostnode),
        offer.location.to_string(),
        offer.uptime_ppm.map_or_else(|| "?".to_owned(), |ppm| format!("{ppm} ppm")),
        rates(offer.on_demand),
        or_dash(*bid),
        HourlyRate::from_micros(*micros_per_delivered_gpu_hour),
    )
}

fn act(action: &Action) -> String {
    let what = |Subject { name, .. }: &Subject| name.to_string();
    match action {
        Action::Ask { fleet, marketplace: _, bid } => {
            format!(
                "{fleet}: ask {} x {} on {} at {}",
                bid.shape.gpus,
                bid.shape.gpu_model,
                short(&bid.hostnode),
                bid.price
            )
        }
        Action::Look { fleet, hostnode, .. } => format!("{fleet}: look at {}", short(hostnode)),
        Action::Deploy(deploy) => {
            let Deploy { name, fleet, hostnode, price_type, bid, agreed, ports, image, why, .. } = &**deploy;
            format!(
                "{fleet}: deploy {name} {price_type} on {}, bid {}, agreed {}, {image:?}, ports {ports:?}: {why}",
                short(hostnode),
                or_dash(*bid),
                rates(*agreed)
            )
        }
        Action::Rebid { subject, from, to, why } => format!("rebid {} from {from} to {to}: {why}", what(subject)),
        Action::Start { subject, why } => format!("start {}: {why}", what(subject)),
        Action::Stop { subject, reason, why } => format!("stop {}: {reason}: {why}", what(subject)),
        Action::Delete { subject, reason, why } => format!("delete {}: {reason}: {why}", what(subject)),
    }
}
