//! The operator's levers: each a request to the running daemon, and one line back. They survive a restart, because the
//! daemon journals them before it answers.

use super::{
    Context,
    args::{Reach, ScopeArguments, TargetArguments},
    client::{Client, segment},
    failure::{Ending, Failure},
    reach,
    say::say,
};
use crate::{io::net::Method, model::FleetName};
use serde_json::{Value, json};
use std::time::Duration;

fn pull(context: &Context, reach: &Reach, method: Method, path: &str, body: &Value) -> Result<Ending, Failure> {
    let client = reach::daemon(context, reach)?;
    let line = {
        // An engine that waits for a slow marketplace comes to it afterwards.
        let _progress = context.terminal.progress("asking the daemon");
        context.block_on(client.pull(method, path, body))?
    };
    say!("{line}");
    Ok(Ending::Done)
}

/// To the second, as the daemon reads it.
fn span(lasting: Duration) -> String {
    format!("{}s", lasting.as_secs())
}

/// `target FLEET N [--for …]` and `target FLEET --clear`.
///
/// # Errors
/// When the daemon cannot be asked or says no; so for all of these.
pub fn target(context: &Context, arguments: &TargetArguments) -> Result<Ending, Failure> {
    let path = format!("fleets/{}/target", arguments.fleet);
    match arguments.gpus {
        Some(gpus) => {
            let mut body = json!({ "gpus": gpus });
            if let (Some(lasting), Some(fields)) = (arguments.lasting, body.as_object_mut()) {
                fields.insert("for".into(), span(lasting).into());
            }
            pull(context, &arguments.reach, Method::Put, &path, &body)
        }
        None => pull(context, &arguments.reach, Method::Delete, &path, &json!({})),
    }
}

/// `pause` and `resume`, of what the arguments say.
///
/// # Errors
/// See [`target`].
pub fn scoped(context: &Context, verb: &str, arguments: &ScopeArguments) -> Result<Ending, Failure> {
    let ScopeArguments { fleet, marketplace, all: _, reach } = arguments;
    let (path, body) = match (fleet, marketplace) {
        (Some(fleet), _) => (format!("fleets/{fleet}/{verb}"), json!({})),
        (None, Some(marketplace)) => (verb.to_owned(), json!({ "marketplace": marketplace.as_str() })),
        (None, None) => (verb.to_owned(), json!({})),
    };
    pull(context, reach, Method::Post, &path, &body)
}

/// `evacuate` through the running daemon: one fleet, or all.
///
/// # Errors
/// See [`target`].
pub fn evacuate(context: &Context, reach: &Reach, fleet: Option<&FleetName>) -> Result<Ending, Failure> {
    match fleet {
        Some(fleet) => pull(context, reach, Method::Post, &format!("fleets/{fleet}/evacuate"), &json!({})),
        None => pull(context, reach, Method::Post, "evacuate", &json!({})),
    }
}

/// `apply`.
///
/// # Errors
/// See [`target`].
pub fn apply(context: &Context, reach: &Reach, fleet: &FleetName) -> Result<Ending, Failure> {
    pull(context, reach, Method::Post, &format!("fleets/{fleet}/apply"), &json!({}))
}

/// `adopt`.
///
/// # Errors
/// See [`target`].
pub fn adopt(context: &Context, reach: &Reach, instance: &str, fleet: &FleetName) -> Result<Ending, Failure> {
    let path = format!("instances/{}/adopt", segment(instance));
    pull(context, reach, Method::Post, &path, &json!({ "fleet": fleet.as_str() }))
}

/// `protect`.
///
/// # Errors
/// See [`target`].
pub fn protect(context: &Context, reach: &Reach, instance: &str, lasting: Option<Duration>) -> Result<Ending, Failure> {
    let path = format!("instances/{}/protect", segment(instance));
    let body = lasting.map_or_else(|| json!({}), |lasting| json!({ "for": span(lasting) }));
    pull(context, reach, Method::Post, &path, &body)
}

/// `delete`: asks first.
///
/// # Errors
/// See [`target`]; or when the answer is no.
pub fn delete(context: &Context, reach: &Reach, instance: &str, yes: bool) -> Result<Ending, Failure> {
    let client: Client = reach::daemon(context, reach)?;
    context.terminal.confirm(&format!("Delete {instance}, and all that is on its disk?"), yes)?;
    let path = format!("instances/{}", segment(instance));
    let line = context.block_on(client.pull(Method::Delete, &path, &json!({})))?;
    say!("{line}");
    Ok(Ending::Done)
}
