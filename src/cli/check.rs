//! `check`: every fault of the settings and of all policies at once. Touches nothing; `--online` asks each marketplace
//! whether it takes the credentials.

use super::{
    Context, config,
    failure::{Ending, Failure},
    probe,
    say::say,
};
use crate::{engine::law, io::files::Disk, model::RefusalKind, policy::Fault};

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
                    fleets.extend(policy.policy.map(|policy| policy.fleet.to_string()));
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
    match fleets.as_slice() {
        [] => say!("the settings are good; there are no policies yet{credentials}"),
        [fleet] => say!("the settings and the policy of {fleet} are good{credentials}"),
        fleets => say!("the settings and the policies of {} are good{credentials}", fleets.join(", ")),
    }
    Ok(Ending::Done)
}

/// The same, as something that need not be wrong.
fn doubtful(fault: &Fault) -> Fault {
    Fault { severity: crate::policy::Severity::Warning, ..fault.clone() }
}
