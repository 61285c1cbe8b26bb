//! One record of each kind, for the golden encoding and for random journals.

use super::{
    Record, Scope, Standing,
    record::{Answer, Cause, Ending},
    spend::Tally,
    stage::{intent, of, rates},
};
use crate::{
    model::{Timestamp, VmName, offer::BidAnswer, reason::Teardown, refusal::RefusalKind},
    policy::terms::Mode,
    settings::{AccountLimits, BalanceRule},
};
use std::collections::BTreeMap;

/// One of each kind, about this name and id, in the order of a life.
pub(super) fn of_each_kind(name: &VmName, id: &str, at: Timestamp) -> Vec<Record> {
    let (n, detail, why) = (|| name.clone(), || "a \"detail\"".to_owned(), || "why".to_owned());
    let (fleet, market) = (|| of("train"), || of("tensordock"));
    let mut asked = intent(name.clone(), "train");
    asked.replaces = Some(of("spotscale-train-aaaaaa-0"));
    let tally = Tally {
        usd: of("1.5"),
        gpu_ms: 7_200_000,
        on_demand_equivalent: of("4"),
        day: of("2026-11-20"),
        day_usd: of("0.5"),
        month_usd: of("1.25"),
    };
    vec![
        Record::Created { prefix: "spotscale".into(), epoch: "aaaaaa".into() },
        Record::DeployIntended(Box::new(asked)),
        Record::Deployed {
            name: n(),
            id: of(id),
            quoted: Some(rates("0.4", "0.01")),
            address: Some("203.0.113.7".into()),
            ports: BTreeMap::from([(20_022, 22)]),
        },
        Record::DeployRefused { name: n(), refusal: RefusalKind::NoCapacity, detail: detail() },
        Record::DeployInDoubt { name: n(), detail: detail() },
        Record::Adopted { name: n(), id: of(id) },
        Record::Abandoned { name: n() },
        Record::Late {
            name: n(),
            fleet: fleet(),
            marketplace: market(),
            account: of("tensordock"),
            id: of(id),
            gpus: 2,
            rate: of("0.41"),
        },
        Record::DeleteIntended { name: n(), id: of(id), reason: Teardown::Overbilled, why: why() },
        Record::DeleteSettled { name: n(), id: of(id), answer: Answer::Done, detail: detail() },
        Record::DeleteInDoubt { name: n(), id: of(id), detail: detail() },
        Record::Gone { name: n(), id: of(id), how: Ending::NotFound },
        Record::RebidIntended { name: n(), from: of("0.4"), to: of("0.6"), why: why() },
        Record::RebidSettled { name: n(), answer: BidAnswer::Accepted, detail: detail() },
        Record::RebidNotMade { name: n(), detail: detail() },
        Record::RebidInDoubt { name: n(), detail: detail() },
        Record::StartIntended { name: n(), why: why() },
        Record::StartSettled { name: n(), answer: Answer::Refused, detail: detail() },
        Record::StartNotMade { name: n(), detail: detail() },
        Record::StartInDoubt { name: n(), detail: detail() },
        Record::StopIntended { name: n(), reason: Teardown::Target, why: why() },
        Record::StopSettled { name: n(), answer: Answer::Done, detail: detail() },
        Record::StopInDoubt { name: n(), detail: detail() },
        Record::Standing { name: n(), from: Standing::Pending, to: Standing::Running, cause: Cause::Started },
        Record::TargetSet { fleet: fleet(), gpus: 4, until: Some(at) },
        Record::TargetCleared { fleet: fleet() },
        Record::Paused { scope: Scope::Marketplace(market()) },
        Record::Resumed { scope: Scope::All },
        Record::Evacuating { fleet: fleet() },
        Record::Applied { fleet: fleet(), digest: "d1".into() },
        Record::Protected { name: n(), until: None },
        Record::StrayAdopted { id: of(id), vm: Box::new(intent(name.clone(), "train")) },
        Record::StrayDeleteIntended { fleet: fleet(), marketplace: market(), name: n(), id: of(id) },
        Record::StrayDeleteSettled { fleet: fleet(), name: n(), id: of(id), answer: Answer::Done, detail: detail() },
        Record::StrayDeleteInDoubt { fleet: fleet(), name: n(), id: of(id), detail: detail() },
        Record::PolicyInForce {
            fleet: fleet(),
            file: "policies/train.toml".into(),
            digest: "d1".into(),
            text: "fleet = \"train\"\n".into(),
            attachments: BTreeMap::from([("id.pub".into(), "ssh-ed25519 A".into())]),
            context: "{}".into(),
        },
        Record::PolicyGone { fleet: fleet() },
        Record::LimitsInForce {
            max_hourly_rate: None,
            balance_floor: of("25"),
            mode: Mode::Act,
            accounts: BTreeMap::from([(
                of("tensordock"),
                AccountLimits {
                    balance: BalanceRule::UnreadableOk,
                    max_spend_per_day: Some(of("20")),
                    max_spend_per_month: None,
                },
            )]),
        },
        Record::HostFailed {
            account: of("tensordock"),
            hostnode: of("h1"),
            refusal: RefusalKind::NoCapacity,
            cooldown_ms: 30_000,
        },
        Record::EditHeld { fleet: fleet(), digest: Some("d2".into()) },
        Record::LimitsHeld { digest: "limits: max_hourly_rate 1.00".into(), fleets: [fleet()].into() },
        Record::ClockSet { forwards_ms: 3_600_000 },
        Record::Missing { fleet: fleet(), gpus: 2, on_demand: 1 },
        Record::Accrued {
            until: at,
            fleets: BTreeMap::from([(fleet(), tally.clone())]),
            accounts: BTreeMap::from([(of("tensordock"), tally)]),
        },
        Record::Decision {
            id: "d-1".into(),
            fleet: Some(fleet()),
            cause: "schedule".into(),
            report: "{}".into(),
            actions: "[]".into(),
            rounds: vec![7, 8],
        },
        Record::Event { fleet: None, subject: Some("h1".into()), what: "late".into(), detail: detail() },
    ]
}
