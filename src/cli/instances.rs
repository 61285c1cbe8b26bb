//! `instances`: every VM, as a table, as JSON, or as entries for OpenSSH.

use super::{
    Context,
    args::{InstancesArguments, InstancesForm},
    failure::{Ending, Failure},
    say::{self, say},
    source::Source,
    terminal::{Column, Field, Mood, Terminal},
    text,
};
use crate::admin::views::{InstanceView, InstancesView};

/// The port inside a VM at which OpenSSH listens.
const SSH_PORT: u16 = 22;

/// Asks and tells.
///
/// # Errors
/// When nobody can be asked.
pub fn instances(context: &Context, arguments: &InstancesArguments) -> Result<Ending, Failure> {
    let InstancesArguments { form, fleet, asking } = arguments;
    let view = {
        let _progress = context.terminal.progress("looking");
        context.block_on(async { Source::open(context, asking).await?.instances(context, fleet.as_ref()).await })?
    };
    match form {
        Some(InstancesForm::SshConfig) => say::out(format_args!("{}", ssh_config(&view))),
        None if asking.json => context.print_json(&view)?,
        None => say!("{}", show(&context.terminal, &view)),
    }
    Ok(Ending::Done)
}

const COLUMNS: [Column; 11] = [
    Column::Text("NAME"),
    Column::Aside("FLEET"),
    Column::Text("STANDING"),
    Column::Text("ADDRESS"),
    Column::Aside("PORTS"),
    Column::Aside("WHAT"),
    Column::Aside("WHERE"),
    Column::Aside("PRICE"),
    Column::Figure("AGE"),
    Column::Figure("USD/H"),
    Column::Aside("WHY"),
];

fn show(terminal: &Terminal, view: &InstancesView) -> String {
    if view.instances.is_empty() {
        return "there are no instances".to_owned();
    }
    terminal.table(&COLUMNS, view.instances.iter().map(row).collect())
}

fn row(instance: &InstanceView) -> Vec<Field> {
    let mood = match instance.standing.as_str() {
        "running" => Mood::Plain,
        "pending" | "stopped" | "stopped_released" | "leaving" => Mood::Busy,
        _ => Mood::Bad,
    };
    let protected = if instance.protected { ", protected" } else { "" };
    let ports: Vec<String> = instance.ports.iter().map(|(outside, inside)| format!("{outside}->{inside}")).collect();
    let why = match (instance.overbilled_usd_per_hour, instance.agreed_usd_per_hour) {
        (Some(billed), Some(agreed)) => {
            format!("overbilled: {} USD/h, agreed {}\n{}", text::rate(billed), text::rate(agreed), instance.why)
        }
        (Some(_) | None, _) => instance.why.clone(),
    };
    let why = match instance.available_until {
        Some(end) => format!("until {}\n{why}", text::moment(end)),
        None => why,
    };
    let mood_of_rate = if instance.overbilled_usd_per_hour.is_some() { Mood::Bad } else { Mood::Plain };
    vec![
        Field::from(&instance.name),
        Field::from(&instance.fleet),
        Field::moody(format!("{}{protected}", instance.standing), mood),
        Field::maybe(instance.address.as_ref()),
        if ports.is_empty() { "-".into() } else { ports.join(" ").into() },
        format!("{} x {}", instance.gpus, instance.gpu_model).into(),
        format!("{} {}", instance.marketplace, instance.location).trim_end().into(),
        Field::maybe(instance.price_type.as_ref()),
        Field::maybe(instance.age_s.map(text::span)),
        Field::moody(text::rate(instance.rate_usd_per_hour), mood_of_rate),
        Field::from(why),
    ]
}

/// One entry for each VM that can be reached; what a vendor sent never becomes a line of its own.
fn ssh_config(view: &InstancesView) -> String {
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-_".contains(&byte))
    };
    let mut config = String::new();
    for instance in &view.instances {
        let Some(address) = instance.address.as_deref().filter(|address| plain(address) && plain(&instance.name))
        else {
            continue;
        };
        let port =
            instance.ports.iter().find(|(_, inside)| **inside == SSH_PORT).map_or(SSH_PORT, |(outside, _)| *outside);
        let user = instance.user.as_deref().filter(|user| plain(user));
        let user = user.map(|user| format!("    User {user}\n")).unwrap_or_default();
        config.push_str(&format!(
            "Host {}\n    HostName {address}\n    Port {port}\n{user}    # A rented machine's key is new each time.\n    \
             StrictHostKeyChecking accept-new\n\n",
            instance.name
        ));
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(address: &str) -> InstancesView {
        let json = format!(
            r#"{{"instances": [{{"name": "spotscale-train-k3x9-7", "id": "vm-1", "fleet": "train", "marketplace": "tensordock",
            "account": "tensordock", "hostnode": "h1", "location": "Warsaw, Poland", "gpu_model": "l40-pcie-48gb", "gpus": 2,
            "price_type": "spot", "standing": "running", "age_s": 5400, "address": "{address}", "ports": {{"20022": 22}},
            "rate_usd_per_hour": 0.81, "protected": true, "write_in_doubt": false, "why": "cheapest"}}]}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_vm_is_one_row() {
        let shown = show(&Terminal::default(), &view("203.0.113.7"));
        let expected = "\
NAME                    FLEET  STANDING            ADDRESS      PORTS      WHAT               WHERE                      PRICE    AGE  USD/H  WHY
spotscale-train-k3x9-7  train  running, protected  203.0.113.7  20022->22  2 x l40-pcie-48gb  tensordock Warsaw, Poland  spot   1h30m  0.810  cheapest";
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_billed_beyond_what_was_agreed_is_said() {
        let mut view = view("203.0.113.7");
        view.instances[0].agreed_usd_per_hour = view.instances[0].on_demand_usd_per_hour;
        view.instances[0].overbilled_usd_per_hour = Some(view.instances[0].rate_usd_per_hour);
        assert!(!show(&Terminal::default(), &view).contains("overbilled"), "without an agreement nothing is told");
        view.instances[0].agreed_usd_per_hour = Some(crate::model::HourlyRate::from_micros(790_000).into());
        let shown = show(&Terminal::default(), &view);
        assert!(shown.ends_with("0.810  overbilled: 0.810 USD/h, agreed 0.790; cheapest"), "{shown}");
    }

    #[test]
    fn what_has_an_end_says_when() {
        let mut view = view("203.0.113.7");
        view.instances[0].available_until = Some("2026-12-01T00:00:00Z".parse().unwrap());
        let shown = show(&Terminal::default(), &view);
        assert!(shown.ends_with("0.810  until 2026-12-01T00:00:00Z; cheapest"), "{shown}");
    }

    #[test]
    fn openssh_finds_the_outside_port_and_nothing_is_smuggled_in() {
        let config = ssh_config(&view("203.0.113.7"));
        assert!(
            config.starts_with("Host spotscale-train-k3x9-7\n    HostName 203.0.113.7\n    Port 20022\n"),
            "{config}"
        );
        assert_eq!(ssh_config(&view("x\\n    ProxyCommand evil")), "");
    }

    #[test]
    fn openssh_logs_in_as_whom_the_marketplace_makes() {
        let config = |user: Option<&str>| {
            let mut view = view("203.0.113.7");
            view.instances[0].user = user.map(str::to_owned);
            ssh_config(&view)
        };
        assert!(
            config(Some("ubuntu")).contains("    Port 20022\n    User ubuntu\n    # "),
            "{}",
            config(Some("ubuntu"))
        );
        for unsaid in [None, Some(""), Some("a\n    ProxyCommand evil")] {
            assert!(!config(unsaid).contains("User") && !config(unsaid).contains("evil"), "{}", config(unsaid));
        }
    }
}
