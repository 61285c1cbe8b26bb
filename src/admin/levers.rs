//! The levers: from a request or a form to what the engine is asked to do.

use super::{
    asked::{AdoptBody, Asked, EmptyBody, ProtectBody, ScopeBody, TARGET_GPUS_MAX, TargetBody, duration},
    problem::Problem,
    spec::Endpoint,
};
use crate::engine::{Lever, Scope};
use std::{collections::BTreeMap, time::Duration};

/// The lever that a route pulls; `None` where the route is no lever.
///
/// # Errors
/// 400, with what does not read.
pub fn lever(endpoint: Endpoint, asked: &Asked) -> Result<Option<Lever>, Problem> {
    let empty = || asked.json::<EmptyBody>();
    let instance = || asked.named::<crate::model::VmName>("id").map(|name| name.to_string());
    Ok(Some(match endpoint {
        Endpoint::SetTarget => {
            let TargetBody { gpus, lasting } = asked.json()?;
            target(asked.named("fleet")?, gpus, lasting.as_deref())?
        }
        Endpoint::ClearTarget => Lever::ClearTarget { fleet: asked.named("fleet")? },
        Endpoint::PauseFleet => empty().and_then(|_| Ok(Lever::Pause(Scope::Fleet(asked.named("fleet")?))))?,
        Endpoint::ResumeFleet => empty().and_then(|_| Ok(Lever::Resume(Scope::Fleet(asked.named("fleet")?))))?,
        Endpoint::EvacuateFleet => empty().and_then(|_| Ok(Lever::Evacuate(Some(asked.named("fleet")?))))?,
        Endpoint::Apply => empty().and_then(|_| Ok(Lever::Apply(asked.named("fleet")?)))?,
        Endpoint::Pause => Lever::Pause(scope(asked.json()?)?),
        Endpoint::Resume => Lever::Resume(scope(asked.json()?)?),
        Endpoint::Evacuate => empty().map(|_| Lever::Evacuate(None))?,
        Endpoint::Reload => empty().map(|_| Lever::Reload)?,
        Endpoint::Adopt => {
            let AdoptBody { fleet } = asked.json()?;
            Lever::Adopt { instance: instance()?, fleet: name("fleet", &fleet)? }
        }
        Endpoint::Protect => {
            let ProtectBody { lasting } = asked.json()?;
            Lever::Protect { instance: instance()?, lasting: lasting.as_deref().map(duration).transpose()? }
        }
        Endpoint::Delete => Lever::Delete { instance: instance()? },
        Endpoint::Page
        | Endpoint::PageLevers
        | Endpoint::Metrics
        | Endpoint::Live
        | Endpoint::Ready
        | Endpoint::Fleets
        | Endpoint::Fleet
        | Endpoint::Instances
        | Endpoint::Offers
        | Endpoint::Plan
        | Endpoint::WhatIf
        | Endpoint::WhyNot
        | Endpoint::Decisions
        | Endpoint::Decision
        | Endpoint::Accounts
        | Endpoint::Discovery
        | Endpoint::Openapi => return Ok(None),
    }))
}

fn name<T: std::str::FromStr<Err: std::fmt::Display>>(what: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error: T::Err| Problem::bad_request(format!("{what}: {error}")))
}

fn scope(body: ScopeBody) -> Result<Scope, Problem> {
    let ScopeBody { marketplace } = body;
    marketplace.map_or(Ok(Scope::All), |text| name("marketplace", &text).map(Scope::Marketplace))
}

fn target(fleet: crate::model::FleetName, gpus: u32, lasting: Option<&str>) -> Result<Lever, Problem> {
    if gpus > TARGET_GPUS_MAX {
        return Err(Problem::bad_request(format!("gpus: at most {TARGET_GPUS_MAX}")));
    }
    let lasting = lasting.map(duration).transpose()?;
    if lasting.is_some_and(|lasting| lasting.is_zero()) {
        return Err(Problem::bad_request("for: a target that lasts 0s is none; DELETE clears it"));
    }
    Ok(Lever::Target { fleet, gpus, lasting })
}

/// The lever that a form of the status page pulls: field `lever` says which.
///
/// # Errors
/// 400, with what does not read.
pub fn form_lever(fields: &BTreeMap<String, String>) -> Result<Lever, Problem> {
    let field = |name: &str| fields.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    let needed = |name: &str| field(name).ok_or_else(|| Problem::bad_request(format!("{name} is missing")));
    let fleet = || needed("fleet").and_then(|text| name("fleet", text));
    let instance = || {
        let text = needed("instance")?;
        name::<crate::model::VmName>("instance", text).map(|name| name.to_string())
    };
    let scope = || match (field("fleet"), field("marketplace")) {
        (Some(text), _) => name("fleet", text).map(Scope::Fleet),
        (None, Some(text)) => name("marketplace", text).map(Scope::Marketplace),
        (None, None) => Ok(Scope::All),
    };
    Ok(match needed("lever")? {
        "target" => {
            let gpus = needed("gpus")?.parse().map_err(|_| Problem::bad_request("gpus: a whole number"))?;
            target(fleet()?, gpus, field("for"))?
        }
        "clear_target" => Lever::ClearTarget { fleet: fleet()? },
        "pause" => Lever::Pause(scope()?),
        "resume" => Lever::Resume(scope()?),
        "evacuate" => Lever::Evacuate(Some(fleet()?)),
        "apply" => Lever::Apply(fleet()?),
        "reload" => Lever::Reload,
        "adopt" => Lever::Adopt { instance: instance()?, fleet: fleet()? },
        "protect" => Lever::Protect { instance: instance()?, lasting: field("for").map(duration).transpose()? },
        "unprotect" => Lever::Protect { instance: instance()?, lasting: Some(Duration::ZERO) },
        "delete" => Lever::Delete { instance: instance()? },
        other => return Err(Problem::bad_request(format!("`{}` is not a lever", other.escape_debug()))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sample::name;

    #[track_caller]
    fn check(form: &str, expected: Result<Lever, &str>) {
        let said = form_lever(&super::super::asked::pairs(form.as_bytes()));
        match (said, expected) {
            (Ok(lever), Ok(expected)) => assert_eq!(lever, expected, "{form}"),
            (Err(problem), Err(part)) => assert!(problem.detail.contains(part), "{form}: {}", problem.detail),
            (said, _) => panic!("{form}: {said:?}"),
        }
    }

    #[test]
    fn a_form_is_a_lever() {
        let two_hours = Some(Duration::from_secs(7_200));
        check(
            "lever=target&fleet=train&gpus=4&for=2h",
            Ok(Lever::Target { fleet: name("train"), gpus: 4, lasting: two_hours }),
        );
        check(
            "lever=target&fleet=train&gpus=4&for=",
            Ok(Lever::Target { fleet: name("train"), gpus: 4, lasting: None }),
        );
        check("lever=pause", Ok(Lever::Pause(Scope::All)));
        check("lever=resume&marketplace=tensordock", Ok(Lever::Resume(Scope::Marketplace(name("tensordock")))));
        check("lever=evacuate&fleet=train", Ok(Lever::Evacuate(Some(name("train")))));
        check("lever=protect&instance=vm-1", Ok(Lever::Protect { instance: "vm-1".into(), lasting: None }));
        check(
            "lever=unprotect&instance=vm-1",
            Ok(Lever::Protect { instance: "vm-1".into(), lasting: Some(Duration::ZERO) }),
        );
    }

    #[test]
    fn a_form_that_does_not_read_says_what_would() {
        check("", Err("lever is missing"));
        check("lever=explode", Err("is not a lever"));
        check("lever=evacuate", Err("fleet is missing"));
        check("lever=target&fleet=train&gpus=-1", Err("whole number"));
        check("lever=target&fleet=train&gpus=100001", Err("at most 100000"));
        check("lever=target&fleet=train&gpus=1&for=0s", Err("DELETE clears it"));
        check("lever=target&fleet=Train&gpus=1", Err("is not a name"));
    }
}
