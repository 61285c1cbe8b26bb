//! What a record says to a person, in one line: the chapters of `explain` and the events of `history`.
//!
//! The journal keeps what the ledger needs; this is what somebody wants to read who asks why a VM was rented, kept or let
//! go. Nothing is told that its writer keeps to himself: of a policy only that its text came into force, never the text.

use super::{Answer, Cause, Ending, Intent, Record};
use crate::model::{FleetName, offer::BidAnswer, time};
use std::time::Duration;

/// `: detail`, where there is one.
fn and(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

fn answered(what: &str, answer: Answer, detail: &str) -> String {
    match answer {
        Answer::Done => format!("{what} was done{}", and(detail)),
        Answer::Refused => format!("{what} was refused{}", and(detail)),
    }
}

fn doubted(what: &str, detail: &str) -> String {
    format!("{what} was not answered for sure{}", and(detail))
}

fn intended(intent: &Intent) -> String {
    let Intent { hostnode, location, shape, price_type, bid, agreed, why, .. } = intent;
    let place = if location.to_string().is_empty() { String::new() } else { format!(" in {location}") };
    let bid = bid.map(|bid| format!(", bid {bid}")).unwrap_or_default();
    let paid = price_type.as_str().replace('_', " ");
    format!(
        "to be rented: {} x {} {paid} on {hostnode}{place}{bid}, all in {} USD/h{}",
        shape.gpus,
        shape.gpu_model,
        agreed.total(),
        and(why)
    )
}

const fn changed(cause: Cause) -> &'static str {
    match cause {
        Cause::Starting => "it is on its way up",
        Cause::Started => "it runs for the first time",
        Cause::CameBack => "it came back",
        Cause::Outbid => "somebody bids more",
        Cause::StoppedByUs => "we stopped it",
        Cause::Stopped => "it stopped, and not by us",
        Cause::Vanished => "lists lack it, and it is not proven gone",
        Cause::UnknownStatus => "the marketplace's word for what it does is not known, or says that it is going",
    }
}

const fn proven(how: Ending) -> &'static str {
    match how {
        Ending::Deleted => "our delete was acknowledged, and the next complete list lacks it",
        Ending::NotFound => "several lists lack it, and asked for by its id it is gone",
        Ending::Unlisted => "many lists in a row lack it",
    }
}

impl Record {
    /// One line for a person; `None` where there is nothing to tell, or an event tells it already.
    pub fn story(&self) -> Option<String> {
        Some(match self {
            Self::DeployIntended(intent) => intended(intent),
            Self::Deployed { name: _, id, quoted, address, ports: _ } => {
                let quoted = quoted.map(|quoted| format!(", quoted {} USD/h", quoted.total())).unwrap_or_default();
                let address = address.as_ref().map(|address| format!(", at {address}")).unwrap_or_default();
                format!("made as {id}{quoted}{address}")
            }
            Self::DeployRefused { name: _, refusal, detail } => {
                format!("its deploy was refused ({refusal}){}", and(detail))
            }
            Self::DeployInDoubt { name: _, detail } => {
                format!("{}; it is looked for by its name", doubted("its deploy", detail))
            }
            Self::Adopted { name: _, id } => format!("found by its name, as {id}"),
            Self::Abandoned { name: _ } => {
                "not found for long enough: given up; its money stays reserved for the late window".to_owned()
            }
            Self::Late { id, gpus, rate, .. } => {
                format!("turned up as {id} after it had been given up, {gpus} GPUs at {rate} USD/h: it is deleted")
            }
            Self::DeleteIntended { name: _, id: _, reason, why } => format!("to be deleted: {reason}{}", and(why)),
            Self::DeleteSettled { name: _, id: _, answer, detail } => answered("its delete", *answer, detail),
            Self::DeleteInDoubt { name: _, id: _, detail } => doubted("its delete", detail),
            Self::Gone { name: _, id: _, how } => format!("gone: {}", proven(*how)),
            Self::RebidIntended { name: _, from, to, why } => {
                format!("its bid to be raised from {from} to {to} USD/h{}", and(why))
            }
            Self::RebidSettled { name: _, answer, detail } => match answer {
                BidAnswer::Accepted => format!("its bid was accepted{}", and(detail)),
                BidAnswer::Refused => format!("its bid was refused{}", and(detail)),
            },
            Self::RebidNotMade { name: _, detail } => format!("its bid was not even considered{}", and(detail)),
            Self::StartNotMade { name: _, detail } => format!("its start was turned away{}", and(detail)),
            Self::RebidInDoubt { name: _, detail } => {
                format!("{}; the higher counts until it is read back", doubted("its bid", detail))
            }
            Self::StartIntended { name: _, why } => format!("to be started{}", and(why)),
            Self::StartSettled { name: _, answer, detail } => answered("its start", *answer, detail),
            Self::StartInDoubt { name: _, detail } => doubted("its start", detail),
            Self::StopIntended { name: _, reason, why } => format!("to be stopped: {reason}{}", and(why)),
            Self::StopSettled { name: _, answer, detail } => answered("its stop", *answer, detail),
            Self::StopInDoubt { name: _, detail } => doubted("its stop", detail),
            Self::Standing { name: _, from, to, cause } => format!("{to}, was {from}: {}", changed(*cause)),
            Self::StrayDeleteIntended { id, .. } => format!("a stray, {id}: to be deleted: the operator wants it"),
            Self::StrayDeleteSettled { answer, detail, .. } => answered("the stray's delete", *answer, detail),
            Self::StrayDeleteInDoubt { detail, .. } => doubted("the stray's delete", detail),
            Self::PolicyInForce { fleet: _, file, digest, text: _, attachments: _, context: _ } => {
                format!("the text of {file} is in force, sha256 {}", digest.chars().take(12).collect::<String>())
            }
            Self::PolicyGone { fleet: _ } => "its policy file is gone: the fleet stays as it is, paused".to_owned(),
            Self::LimitsInForce { max_hourly_rate, balance_floor, mode, accounts } => {
                let most =
                    max_hourly_rate.map_or_else(|| "no limit".to_owned(), |most| format!("{most} USD/h at most"));
                let accounts: String = accounts.iter().map(|(name, limits)| format!("; {name}: {limits}")).collect();
                format!("over all fleets {most}, a floor of {balance_floor} USD, mode {mode}{accounts}")
            }
            Self::HostFailed { account: _, hostnode, refusal, cooldown_ms } => {
                let wait = time::show(Duration::from_millis(*cooldown_ms));
                format!("a deploy on {hostnode} failed ({refusal}): it cools down for {wait}, twice as long each time")
            }
            Self::EditHeld { fleet: _, digest: None } => "the edit that was held is taken back".to_owned(),
            Self::EditHeld { fleet: _, digest: Some(digest) } => format!(
                "an edit would tear down more than max_scale_down: held until `apply`, sha256 {}",
                digest.chars().take(12).collect::<String>()
            ),
            Self::LimitsHeld { digest, fleets } => {
                let fleets: Vec<&str> = fleets.iter().map(FleetName::as_str).collect();
                format!(
                    "an edit would tear down more than max_scale_down of {}: held until `apply`, {digest}",
                    fleets.join(", ")
                )
            }
            Self::ClockSet { forwards_ms: 0 } => {
                "the machine's clock was set back: what was remembered by it counts as of now".to_owned()
            }
            Self::ClockSet { forwards_ms } => {
                let by = time::show(Duration::from_millis(*forwards_ms));
                format!("the machine's clock was set forwards by {by}: what was remembered by it moves with it")
            }
            Self::Created { .. }
            | Self::TargetSet { .. }
            | Self::TargetCleared { .. }
            | Self::Paused { .. }
            | Self::Resumed { .. }
            | Self::Evacuating { .. }
            | Self::Applied { .. }
            | Self::Protected { .. }
            | Self::StrayAdopted { .. }
            | Self::Missing { .. }
            | Self::Accrued { .. }
            | Self::Decision { .. }
            | Self::Event { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(record: &str, expected: &str) {
        assert_eq!(Record::decode(record).unwrap().story().as_deref(), Some(expected));
    }

    /// The records that the golden file holds still, one of each kind.
    fn records() -> impl Iterator<Item = Record> {
        include_str!("../records.golden.jsonl").lines().map(|line| Record::decode(line).unwrap())
    }

    #[test]
    fn a_vms_life_reads_as_a_story() {
        check(
            r#"{"kind":"deployed","name":"a-b-1","id":"vm-1","quoted":{"compute":"0.42","storage":"0.005"},
                "address":"203.0.113.7","ports":{"20022":22}}"#,
            "made as vm-1, quoted 0.425 USD/h, at 203.0.113.7",
        );
        check(
            r#"{"kind":"standing","name":"a-b-1","from":"running","to":"outbid","cause":"outbid"}"#,
            "outbid, was running: somebody bids more",
        );
        check(
            r#"{"kind":"rebid_intended","name":"a-b-1","from":"0.42","to":"0.5","why":"outbid at 0.42/h"}"#,
            "its bid to be raised from 0.42 to 0.50 USD/h: outbid at 0.42/h",
        );
        check(
            r#"{"kind":"delete_intended","name":"a-b-1","id":"vm-1","reason":"outbid","why":"no bid is accepted"}"#,
            "to be deleted: outbid: no bid is accepted",
        );
        check(
            r#"{"kind":"gone","name":"a-b-1","id":"vm-1","how":"deleted"}"#,
            "gone: our delete was acknowledged, and the next complete list lacks it",
        );
    }

    #[test]
    fn limits_are_told_with_the_budgets_of_accounts() {
        check(
            r#"{"kind":"limits_in_force","max_hourly_rate":"40.00","balance_floor":"25.00","mode":"act","accounts":{"v":
                {"balance":"unreadable-ok","max_spend_per_day":"20.00","max_spend_per_month":"300.00"}}}"#,
            "over all fleets 40.00 USD/h at most, a floor of 25.00 USD, mode act; v: balance unreadable-ok, \
             20.00 USD a day, 300.00 USD a month",
        );
    }

    #[test]
    fn everything_about_a_vm_is_told_and_nothing_that_its_writer_keeps_to_himself() {
        for record in records() {
            let story = record.story();
            if record.vm().is_some() {
                let told_by_an_event = matches!(record, Record::Protected { .. } | Record::StrayAdopted { .. });
                assert_ne!(story.is_some(), told_by_an_event, "{record:?}");
            }
            if let (Record::PolicyInForce { text, .. }, Some(story)) = (&record, &story) {
                assert!(!text.is_empty() && !story.contains(text.as_str()), "{story}");
            }
            assert!(story.is_none_or(|story| !story.contains('\n') && !story.ends_with(':')));
        }
    }
}
