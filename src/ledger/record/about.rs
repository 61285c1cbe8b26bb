//! What a record is about: the columns it is stored and searched under.

use super::Record;
use crate::{
    ledger::levers::Scope,
    model::{FleetName, VmName},
};

impl Record {
    /// Every kind's word.
    pub const KINDS: [&'static str; 46] = [
        "created",
        "deploy_intended",
        "deployed",
        "deploy_refused",
        "deploy_in_doubt",
        "adopted",
        "abandoned",
        "late",
        "delete_intended",
        "delete_settled",
        "delete_in_doubt",
        "gone",
        "rebid_intended",
        "rebid_settled",
        "rebid_not_made",
        "rebid_in_doubt",
        "start_intended",
        "start_settled",
        "start_not_made",
        "start_in_doubt",
        "stop_intended",
        "stop_settled",
        "stop_in_doubt",
        "standing",
        "target_set",
        "target_cleared",
        "paused",
        "resumed",
        "evacuating",
        "applied",
        "protected",
        "stray_adopted",
        "stray_delete_intended",
        "stray_delete_settled",
        "stray_delete_in_doubt",
        "policy_in_force",
        "policy_gone",
        "limits_in_force",
        "host_failed",
        "edit_held",
        "limits_held",
        "clock_set",
        "missing",
        "accrued",
        "decision",
        "event",
    ];

    /// Kinds that only tell a story (or a total that a newer one replaces): the ledger does without the old ones.
    pub const PRUNABLE: [&'static str; 3] = ["accrued", "decision", "event"];

    /// The word it is stored and searched under.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::DeployIntended(_) => "deploy_intended",
            Self::Deployed { .. } => "deployed",
            Self::DeployRefused { .. } => "deploy_refused",
            Self::DeployInDoubt { .. } => "deploy_in_doubt",
            Self::Adopted { .. } => "adopted",
            Self::Abandoned { .. } => "abandoned",
            Self::Late { .. } => "late",
            Self::DeleteIntended { .. } => "delete_intended",
            Self::DeleteSettled { .. } => "delete_settled",
            Self::DeleteInDoubt { .. } => "delete_in_doubt",
            Self::Gone { .. } => "gone",
            Self::RebidIntended { .. } => "rebid_intended",
            Self::RebidSettled { .. } => "rebid_settled",
            Self::RebidNotMade { .. } => "rebid_not_made",
            Self::RebidInDoubt { .. } => "rebid_in_doubt",
            Self::StartNotMade { .. } => "start_not_made",
            Self::StartIntended { .. } => "start_intended",
            Self::StartSettled { .. } => "start_settled",
            Self::StartInDoubt { .. } => "start_in_doubt",
            Self::StopIntended { .. } => "stop_intended",
            Self::StopSettled { .. } => "stop_settled",
            Self::StopInDoubt { .. } => "stop_in_doubt",
            Self::Standing { .. } => "standing",
            Self::TargetSet { .. } => "target_set",
            Self::TargetCleared { .. } => "target_cleared",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Evacuating { .. } => "evacuating",
            Self::Applied { .. } => "applied",
            Self::Protected { .. } => "protected",
            Self::StrayAdopted { .. } => "stray_adopted",
            Self::StrayDeleteIntended { .. } => "stray_delete_intended",
            Self::StrayDeleteSettled { .. } => "stray_delete_settled",
            Self::StrayDeleteInDoubt { .. } => "stray_delete_in_doubt",
            Self::PolicyInForce { .. } => "policy_in_force",
            Self::PolicyGone { .. } => "policy_gone",
            Self::LimitsInForce { .. } => "limits_in_force",
            Self::HostFailed { .. } => "host_failed",
            Self::EditHeld { .. } => "edit_held",
            Self::LimitsHeld { .. } => "limits_held",
            Self::ClockSet { .. } => "clock_set",
            Self::Missing { .. } => "missing",
            Self::Accrued { .. } => "accrued",
            Self::Decision { .. } => "decision",
            Self::Event { .. } => "event",
        }
    }

    /// The VM it is about.
    pub const fn vm(&self) -> Option<&VmName> {
        match self {
            Self::DeployIntended(intent) => Some(&intent.name),
            Self::StrayAdopted { vm, id: _ } => Some(&vm.name),
            Self::Deployed { name, .. }
            | Self::DeployRefused { name, .. }
            | Self::DeployInDoubt { name, .. }
            | Self::Adopted { name, .. }
            | Self::Abandoned { name }
            | Self::Late { name, .. }
            | Self::DeleteIntended { name, .. }
            | Self::DeleteSettled { name, .. }
            | Self::DeleteInDoubt { name, .. }
            | Self::Gone { name, .. }
            | Self::RebidIntended { name, .. }
            | Self::RebidSettled { name, .. }
            | Self::RebidNotMade { name, .. }
            | Self::RebidInDoubt { name, .. }
            | Self::StartNotMade { name, .. }
            | Self::StartIntended { name, .. }
            | Self::StartSettled { name, .. }
            | Self::StartInDoubt { name, .. }
            | Self::StopIntended { name, .. }
            | Self::StopSettled { name, .. }
            | Self::StopInDoubt { name, .. }
            | Self::Standing { name, .. }
            | Self::Protected { name, .. }
            | Self::StrayDeleteIntended { name, .. }
            | Self::StrayDeleteSettled { name, .. }
            | Self::StrayDeleteInDoubt { name, .. } => Some(name),
            Self::Created { .. }
            | Self::TargetSet { .. }
            | Self::TargetCleared { .. }
            | Self::Paused { .. }
            | Self::Resumed { .. }
            | Self::Evacuating { .. }
            | Self::Applied { .. }
            | Self::PolicyInForce { .. }
            | Self::PolicyGone { .. }
            | Self::LimitsInForce { .. }
            | Self::HostFailed { .. }
            | Self::EditHeld { .. }
            | Self::LimitsHeld { .. }
            | Self::ClockSet { .. }
            | Self::Missing { .. }
            | Self::Accrued { .. }
            | Self::Decision { .. }
            | Self::Event { .. } => None,
        }
    }

    /// The fleet it names itself; a record about a VM may leave that to the ledger.
    pub const fn fleet(&self) -> Option<&FleetName> {
        match self {
            Self::DeployIntended(intent) => Some(&intent.fleet),
            Self::StrayAdopted { vm, id: _ } => Some(&vm.fleet),
            Self::Late { fleet, .. }
            | Self::TargetSet { fleet, .. }
            | Self::TargetCleared { fleet }
            | Self::Evacuating { fleet }
            | Self::Applied { fleet, .. }
            | Self::StrayDeleteIntended { fleet, .. }
            | Self::StrayDeleteSettled { fleet, .. }
            | Self::StrayDeleteInDoubt { fleet, .. }
            | Self::PolicyInForce { fleet, .. }
            | Self::PolicyGone { fleet }
            | Self::EditHeld { fleet, .. }
            | Self::Missing { fleet, .. } => Some(fleet),
            Self::Paused { scope } | Self::Resumed { scope } => match scope {
                Scope::Fleet(fleet) => Some(fleet),
                Scope::All | Scope::Marketplace(_) => None,
            },
            Self::Decision { fleet, .. } | Self::Event { fleet, .. } => fleet.as_ref(),
            Self::Created { .. }
            | Self::ClockSet { .. }
            | Self::Deployed { .. }
            | Self::DeployRefused { .. }
            | Self::DeployInDoubt { .. }
            | Self::Adopted { .. }
            | Self::Abandoned { .. }
            | Self::DeleteIntended { .. }
            | Self::DeleteSettled { .. }
            | Self::DeleteInDoubt { .. }
            | Self::Gone { .. }
            | Self::RebidIntended { .. }
            | Self::RebidSettled { .. }
            | Self::RebidNotMade { .. }
            | Self::RebidInDoubt { .. }
            | Self::StartNotMade { .. }
            | Self::StartIntended { .. }
            | Self::StartSettled { .. }
            | Self::StartInDoubt { .. }
            | Self::StopIntended { .. }
            | Self::StopSettled { .. }
            | Self::StopInDoubt { .. }
            | Self::Standing { .. }
            | Self::Protected { .. }
            | Self::LimitsInForce { .. }
            | Self::LimitsHeld { .. }
            | Self::HostFailed { .. }
            | Self::Accrued { .. } => None,
        }
    }

    /// What one searches for it by: the VM's name, else the hostnode, file, decision or subject it is about.
    pub fn subject(&self) -> Option<String> {
        if let Some(name) = self.vm() {
            return Some(name.to_string());
        }
        match self {
            Self::HostFailed { hostnode, .. } => Some(hostnode.to_string()),
            Self::PolicyInForce { file, .. } => Some(file.clone()),
            Self::Decision { id, .. } => Some(id.clone()),
            Self::Event { subject, .. } => subject.clone(),
            Self::Paused { scope } | Self::Resumed { scope } => Some(scope.to_string()),
            // The others are about a fleet or about everything.
            _ => None,
        }
    }
}
