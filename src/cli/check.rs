//! `check`: every fault of the settings and of all policies at once. Touches nothing; `--online` asks each marketplace
//! whether it takes the credentials.

use super::{
    Context, config,
    failure::{Ending, Failure},
    probe,
    say::say,
};
use crate::{
    engine::law,
    io::files::Disk,
    market,
    model::{MarketplaceName, RefusalKind},
    plan,
    policy::{Fault, Policy},
    settings::{MarketplaceSettings, Settings},
};
use secrecy::SecretString;

/// Reads, checks and tells.
///
/// # Errors
/// Every fault, one line each, or credentials that are not taken.
pub fn check(context: &Context, online: bool) -> Result<Ending, Failure> {
    let checked = config::check(context)?;
    let mut faults = checked.faults.clone();
    let mut warnings = checked.warnings.clone();
    // Credentials of a unit can be read only inside it: worth a warning here, a fault for whoever must use them.
    if online {
        faults.extend(checked.unresolved.iter().cloned());
    } else {
        warnings.extend(checked.unresolved.iter().map(doubtful));
    }
    let mut fleets = Vec::new();
    let mut strange = Vec::new();
    if let Some(draft) = &checked.draft {
        match law::read_folder(&Disk, &draft.policies, &draft.context) {
            Ok(policies) => {
                strange.extend(policies.unread.into_iter().map(|(_, why)| why));
                for (_, policy) in policies.texts {
                    faults.extend(policy.faults);
                    warnings.extend(policy.warnings);
                    fleets.extend(policy.policy);
                }
            }
            Err(reason) => {
                strange.push(format!("{reason}; nothing would be held; make the folder, or mend `policies`"))
            }
        }
    }
    for warning in config::lines(&warnings) {
        context.warn(&warning);
    }
    if let Some(settings) = checked.without_secrets() {
        for warning in fleets.iter().flat_map(|policy| unable(settings, policy)) {
            context.warn(&warning);
        }
    }
    if !faults.is_empty() || !strange.is_empty() {
        let mut lines = config::lines(&faults);
        lines.extend(strange);
        return Err(Failure::faulty(lines));
    }
    let settings = checked.without_secrets().cloned();
    if let (true, Some(settings)) = (online, settings) {
        let _progress = context.terminal.progress("asking the marketplaces");
        let probed = context.block_on(probe::credentials(&settings))?;
        let refused: Vec<_> =
            probed.into_iter().filter_map(|(marketplace, probed)| Some((marketplace, probed.taken.err()?))).collect();
        if !refused.is_empty() {
            let unauthorized = refused.iter().any(|(_, refusal)| refusal.kind() == RefusalKind::Unauthorized);
            let line = match unauthorized {
                true => "not every marketplace takes its credentials",
                false => "not every marketplace could be asked about its credentials",
            };
            let told = refused.iter().map(|(marketplace, refusal)| probe::remedy(marketplace, refusal));
            return Err(told.fold(Failure::failed(line), Failure::because));
        }
    }
    let credentials = if online { "; every marketplace takes its credentials" } else { "" };
    let fleets: Vec<&str> = fleets.iter().map(|policy| policy.fleet.as_str()).collect();
    match fleets.as_slice() {
        [] => say!("the settings are good; there are no policies yet{credentials}"),
        [fleet] => say!("the settings and the policy of {fleet} are good{credentials}"),
        fleets => say!("the settings and the policies of {} are good{credentials}", fleets.join(", ")),
    }
    Ok(Ending::Done)
}

/// Marketplaces that cannot make VMs as a fleet wants them, and why.
fn unable(settings: &Settings, policy: &Policy) -> Vec<String> {
    let wanted = |name: &MarketplaceName| policy.marketplaces.as_ref().is_none_or(|wanted| wanted.contains(name));
    let told = |(name, marketplace): (&MarketplaceName, &MarketplaceSettings)| {
        let dialect = market::dialect(marketplace.api, None, SecretString::default());
        let why = dialect.ability().unable(&plan::wish(policy))?;
        Some(format!("fleet {}: {why}; until then nothing is rented on {name} for it", policy.fleet))
    };
    settings.marketplaces.iter().filter(|(name, _)| wanted(name)).filter_map(told).collect()
}

/// The same, as something that need not be wrong.
fn doubtful(fault: &Fault) -> Fault {
    Fault { severity: crate::policy::Severity::Warning, ..fault.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy, settings};
    use std::{collections::BTreeMap, path::Path};

    #[test]
    fn a_fleet_whose_vms_a_marketplace_cannot_make_is_told_so() {
        let text = "[marketplaces.first]\napi = \"tensordock-v0\"\nkey = { env = \"T\" }\ntoken = { env = \"T\" }\n\
                    [marketplaces.second]\napi = \"tensordock-v2\"\ntoken = { env = \"T\" }\n";
        let environment = BTreeMap::from([("T".to_owned(), "hush".to_owned())]);
        let mut none = |_: &Path| Err("no such file".to_owned());
        let settings = settings::check(Path::new("s.toml"), text, &environment, &mut none).complete().unwrap();
        let told = |more: &str| {
            let text = format!(
                "fleet = \"train\"\ntarget_gpus = 1\nmax_hourly_rate = 1\nbalance_floor = 1\n\
                 models = [\"h100-sxm5-80gb\"]\non_demand.use = \"always\"\n{more}"
            );
            let source = policy::gather("train.toml", &text, &mut |_| Err("no such file".into()));
            unable(&settings, &policy::check(&source, &settings.policy_context()).policy.unwrap())
        };
        assert_eq!(
            told(""),
            [
                "fleet train: TensorDock v2 makes no VM without an SSH key; set ssh_key; until then nothing is rented on \
              second for it"
            ]
        );
        assert_eq!(told("marketplaces = [\"first\"]\n"), Vec::<String>::new());
    }
}
