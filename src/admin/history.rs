//! The history, as it is kept in the journal, told to people and scripts.
//!
//! The window does not fold records: it reads the bodies of decisions and events as the JSON they are, and tells of any
//! other record the one line that the record has for people ([`Record::story`]).

use super::{problem::Problem, views::DecisionView};
use crate::{
    io::store::{Query, Row, Store},
    ledger::record::Record,
    model::Timestamp,
};
use serde_json::Value;

/// Rows told at once when nobody asks for another number, and at most.
pub const ROWS: usize = 100;
/// See [`ROWS`].
pub const ROWS_MAX: usize = 1_000;
/// Rows looked through at most for one answer.
const LOOKED_THROUGH_MAX: usize = 5_000;
/// The kinds whose whole body is told.
const TOLD: [&str; 2] = ["decision", "event"];
/// What happened, beside what was decided: these, and nothing else, is `event` to whoever asks for one kind.
const EVENTS: [&str; 10] = [
    "event",
    "adopted",
    "abandoned",
    "deploy_in_doubt",
    "gone",
    "late",
    "limits_in_force",
    "policy_gone",
    "policy_in_force",
    "standing",
];
/// Lines told of one row at most.
const LINES_MAX: usize = 40;

/// Which rows are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this fleet, or of a decision about it.
    pub fleet: Option<String>,
    /// A VM's own story, or a decision's.
    pub subject: Option<String>,
    /// Only `decision` or only `event`.
    pub kind: Option<String>,
    /// Not older.
    pub since: Option<Timestamp>,
    /// At most so many.
    pub rows_max: usize,
}

fn unreadable(error: &crate::io::store::StoreError) -> Problem {
    Problem::unavailable(error.to_string())
}

/// The rows that are wanted, newest first.
///
/// # Errors
/// When the journal cannot be read.
pub fn search(store: &dyn Store, wanted: &Wanted) -> Result<Vec<DecisionView>, Problem> {
    let kinds = match (wanted.kind.as_deref(), &wanted.subject) {
        (Some("event"), _) => EVENTS.map(str::to_owned).to_vec(),
        (Some(kind), _) => vec![kind.to_owned()],
        (None, Some(_)) => Vec::new(),
        (None, None) => EVENTS.into_iter().chain(["decision"]).map(str::to_owned).collect(),
    };
    let since_ms = wanted.since.map(Timestamp::as_millisecond);
    let query = Query { kinds, fleet: None, subject: wanted.subject.clone(), since_ms, before: None };
    // A tick's decision is about several fleets, so its row may be of none: a fleet is looked for in the body too.
    let rows_max = if wanted.fleet.is_some() { LOOKED_THROUGH_MAX } else { wanted.rows_max.min(ROWS_MAX) };
    let rows = store.search(&query, rows_max).map_err(|error| unreadable(&error))?;
    let told = rows.into_iter().filter_map(view);
    let of_fleet = |row: &DecisionView| wanted.fleet.as_ref().is_none_or(|fleet| is_about(row, fleet));
    Ok(told.filter(of_fleet).take(wanted.rows_max.min(ROWS_MAX)).collect())
}

/// One decision by its id, or any told row by its place in the journal.
///
/// # Errors
/// 404 when there is none; when the journal cannot be read.
pub fn find(store: &dyn Store, id: &str) -> Result<Vec<DecisionView>, Problem> {
    let named = Query { kinds: vec!["decision".into()], subject: Some(id.to_owned()), ..Query::default() };
    let mut rows = store.search(&named, ROWS).map_err(|error| unreadable(&error))?;
    if rows.is_empty()
        && let Some(before) = id.parse::<u64>().ok().and_then(|sequence| sequence.checked_add(1))
    {
        let kinds = EVENTS.into_iter().chain(["decision"]).map(str::to_owned).collect();
        let numbered = Query { kinds, before: Some(before), ..Query::default() };
        rows = store.search(&numbered, 1).map_err(|error| unreadable(&error))?;
        rows.retain(|row| row.sequence + 1 == before);
    }
    if rows.is_empty() {
        return Err(Problem::not_found(format!(
            "nothing is kept of `{id}`: it is the name of no VM of ours and the id of no decision, or it was pruned; see \
             `spotscale instances` and `spotscale history`"
        )));
    }
    Ok(rows.into_iter().filter_map(view).collect())
}

fn is_about(row: &DecisionView, fleet: &str) -> bool {
    row.fleet.as_deref() == Some(fleet)
        || row.body.get("fleets").is_some_and(|fleets| fleets.get(fleet).is_some())
        || steps(&row.body).any(|step| word(step, "fleet") == fleet)
}

/// A row as it is told; `None` where there is nothing to tell.
fn view(row: Row) -> Option<DecisionView> {
    let Row { sequence, at_ms, kind, fleet, subject, body } = row;
    let (lines, body) = if TOLD.contains(&kind.as_str()) {
        let body = unfolded(serde_json::from_str(&body).unwrap_or(Value::String(body)));
        (lines(&kind, &body), body)
    } else {
        (vec![Record::decode(&body).ok()?.story()?], Value::Null)
    };
    let id = match (&subject, kind.as_str()) {
        (Some(id), "decision") => id.clone(),
        (Some(_) | None, _) => sequence.to_string(),
    };
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    Some(DecisionView { lines, id, sequence, at, kind, fleet, subject, body })
}

/// JSON that was kept as text is JSON again.
fn unfolded(mut body: Value) -> Value {
    if let Value::Object(fields) = &mut body {
        for (_, value) in fields.iter_mut() {
            if let Value::String(text) = value
                && text.starts_with(['{', '['])
                && let Ok(inner) = serde_json::from_str(text)
            {
                *value = inner;
            }
        }
    }
    body
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn steps(body: &Value) -> impl Iterator<Item = &Value> {
    body.get("actions").and_then(Value::as_array).into_iter().flatten()
}

fn lines(kind: &str, body: &Value) -> Vec<String> {
    let blocked = |(fleet, weighed): (&String, &Value)| -> Vec<String> {
        let unmet = weighed.get("blocked").and_then(Value::as_array).into_iter().flatten();
        let line = |unmet: &Value| {
            let part =
                |place: usize| unmet.get(place).map(|part| part.as_str().map_or(part.to_string(), str::to_owned));
            let [gpus, reason, detail] = [0, 1, 2].map(|place| part(place).unwrap_or_default());
            format!("{fleet}: {gpus} GPUs blocked by {reason}: {detail}")
        };
        unmet.map(line).collect()
    };
    let lines: Vec<String> = match kind {
        "decision" => {
            let weighed = body.get("fleets").and_then(Value::as_object).into_iter().flatten();
            let fleet = word(body, "fleet").to_owned();
            let own = body.get("report").map(|report| blocked((&fleet, report))).unwrap_or_default();
            let benched = body.get("report").and_then(|report| report.get("benched")).and_then(Value::as_array);
            let benched = benched.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
            let weighed = weighed.flat_map(blocked).chain(own).chain(benched);
            let told: Vec<String> = steps(body).map(step).chain(weighed).collect();
            if told.is_empty() { vec!["nothing to do, and nothing is missing".to_owned()] } else { told }
        }
        _ => vec![[word(body, "what"), word(body, "detail")].join(": ")],
    };
    lines.into_iter().filter(|line| line != ": ").take(LINES_MAX).collect()
}

/// `deploy spotscale-train-k3x9-6: 2x h100-sxm5-80gb spot at 3.21 USD/h: why (outcome)`.
fn step(step: &Value) -> String {
    let mut line = word(step, "kind").to_owned();
    for key in ["instance", "hostnode"] {
        if !word(step, key).is_empty() && line.split_whitespace().count() < 2 {
            line = format!("{line} {}", word(step, key));
        }
    }
    if let Some(gpus) = step.get("gpus").and_then(Value::as_u64) {
        line = format!("{line}, {gpus}x {} {}", word(step, "gpu_model"), word(step, "price_type").replace('_', " "));
        line.truncate(line.trim_end().len());
    }
    let price = if word(step, "rate").is_empty() { word(step, "bid") } else { word(step, "rate") };
    if !price.is_empty() {
        line = format!("{line} at {price} USD/h");
    }
    if !word(step, "reason").is_empty() {
        line = format!("{line}: {}", word(step, "reason"));
    }
    match word(step, "outcome") {
        "" => line,
        outcome => format!("{line} ({outcome})"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::io::store::{NewRow, StoreError};
    use std::sync::Mutex;

    /// A journal in memory, as simple as it can be.
    #[derive(Default)]
    pub(crate) struct Pages(Mutex<Vec<Row>>);

    impl Store for Pages {
        fn append(&self, rows: &[NewRow]) -> Result<u64, StoreError> {
            let mut kept = self.0.lock().unwrap();
            for row in rows.iter().cloned() {
                let NewRow { at_ms, kind, fleet, subject, body } = row;
                let sequence = kept.len() as u64 + 1;
                kept.push(Row { sequence, at_ms, kind: kind.into(), fleet, subject, body });
            }
            Ok(kept.len() as u64)
        }

        fn read(&self, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError> {
            let kept = self.0.lock().unwrap();
            Ok(kept.iter().filter(|row| row.sequence >= from).take(rows_max).cloned().collect())
        }

        fn search(&self, query: &Query, rows_max: usize) -> Result<Vec<Row>, StoreError> {
            let kept = self.0.lock().unwrap();
            let matches = |row: &&Row| {
                (query.kinds.is_empty() || query.kinds.contains(&row.kind))
                    && (query.fleet.is_none() || query.fleet == row.fleet)
                    && (query.subject.is_none() || query.subject == row.subject)
                    && query.since_ms.is_none_or(|since| row.at_ms >= since)
                    && query.before.is_none_or(|before| row.sequence < before)
            };
            Ok(kept.iter().rev().filter(matches).take(rows_max).cloned().collect())
        }

        fn prune(&self, _: &[&str], _: i64) -> Result<u64, StoreError> {
            Ok(0)
        }
    }

    /// Three rows: a decision about `train`, an event of `serve`, and a VM's deploy.
    pub(crate) fn pages() -> Pages {
        let pages = Pages::default();
        let decision = r#"{"id":"12","cause":"schedule","actions":[{"kind":"deploy","fleet":"train",
            "instance":"spotscale-train-k3x9-6","hostnode":"host-7","gpu_model":"geforcertx4090-pcie-24gb","gpus":2,
            "price_type":"spot","rate":"0.855","reason":"the cheapest <b>delivered</b> GPU-hour","outcome":"made"}],
            "fleets":{"train":{"blocked":[[2,"rate_limit","5.27 of 6.00 USD/h are committed"]]}}}"#;
        let row = |at_ms, kind, fleet: Option<&str>, subject: &str, body: &str| NewRow {
            at_ms,
            kind,
            fleet: fleet.map(str::to_owned),
            subject: Some(subject.to_owned()),
            body: body.to_owned(),
        };
        let rows = [
            row(1_000, "decision", None, "12", decision),
            row(2_000, "event", Some("serve"), "vm", r#"{"what":"outbid","detail":"somebody pays more"}"#),
            row(
                3_000,
                "deployed",
                Some("train"),
                "spotscale-train-k3x9-6",
                r#"{"kind":"deployed","name":"spotscale-train-k3x9-6","id":"vm-6","quoted":null,"address":null,"ports":{}}"#,
            ),
            row(3_500, "protected", Some("train"), "spotscale-train-k3x9-6", "an event tells it"),
            row(
                4_000,
                "policy_in_force",
                Some("train"),
                "train.toml",
                r#"{"kind":"policy_in_force","fleet":"train","file":"train.toml","digest":"00112233445566",
                    "text":"cloud_init","attachments":{},"context":""}"#,
            ),
        ];
        pages.append(&rows).unwrap();
        pages
    }

    fn wanted(change: impl FnOnce(&mut Wanted)) -> Vec<DecisionView> {
        let mut wanted = Wanted { rows_max: ROWS, ..Wanted::default() };
        change(&mut wanted);
        search(&pages(), &wanted).unwrap()
    }

    #[test]
    fn the_history_is_decisions_and_events_newest_first() {
        let rows = wanted(|_| {});
        let kinds: Vec<_> = rows.iter().map(|row| row.kind.as_str()).collect();
        assert_eq!(kinds, ["policy_in_force", "event", "decision"]);
        assert_eq!(rows[0].lines, ["the text of train.toml is in force, sha256 001122334455"]);
        assert_eq!(rows[1].lines, ["outbid: somebody pays more"]);
        assert_eq!(
            rows[2].lines,
            [
                "deploy spotscale-train-k3x9-6, 2x geforcertx4090-pcie-24gb spot at 0.855 USD/h: \
                 the cheapest <b>delivered</b> GPU-hour (made)",
                "train: 2 GPUs blocked by rate_limit: 5.27 of 6.00 USD/h are committed"
            ]
        );
    }

    #[test]
    fn a_decision_as_the_engine_keeps_it_says_what_blocks_and_who_is_benched() {
        let report =
            r#"{"blocked": [[2, "stale_market", "other: not seen"]], "benched": ["other is benched: stale_market"]}"#;
        let record = Record::Decision {
            id: "d1-train".into(),
            fleet: Some("train".parse().unwrap()),
            cause: "schedule".into(),
            report: report.into(),
            actions: "[]".into(),
            rounds: vec![],
        };
        let body = unfolded(serde_json::from_str(&record.encode().unwrap()).unwrap());
        let expected = ["train: 2 GPUs blocked by stale_market: other: not seen", "other is benched: stale_market"];
        assert_eq!(lines("decision", &body), expected);
    }

    #[test]
    fn a_ticks_decision_is_found_under_each_fleet_it_is_about() {
        assert_eq!(wanted(|wanted| wanted.fleet = Some("train".into())).len(), 2);
        assert_eq!(wanted(|wanted| wanted.fleet = Some("serve".into())).len(), 1);
        assert_eq!(wanted(|wanted| wanted.fleet = Some("other".into())).len(), 0);
        assert_eq!(wanted(|wanted| wanted.since = Timestamp::from_millisecond(1_500).ok()).len(), 2);
        assert_eq!(wanted(|wanted| wanted.kind = Some("decision".into())).len(), 1);
        assert_eq!(wanted(|wanted| wanted.kind = Some("event".into())).len(), 2);
    }

    #[test]
    fn a_vms_story_is_told_without_what_was_kept_of_it() {
        let story = wanted(|wanted| wanted.subject = Some("spotscale-train-k3x9-6".into()));
        assert_eq!(story.len(), 1, "what an event tells is not told twice");
        assert_eq!((story[0].lines.clone(), story[0].body.is_null()), (vec!["made as vm-6".to_owned()], true));
        let policy = wanted(|wanted| wanted.subject = Some("train.toml".into()));
        assert!(policy[0].body.is_null(), "a policy may hold what its writer keeps to himself");
    }

    #[test]
    fn a_decision_is_found_by_its_id_and_an_event_by_its_place() {
        assert_eq!(find(&pages(), "12").unwrap()[0].sequence, 1);
        assert_eq!(find(&pages(), "2").unwrap()[0].kind, "event");
        assert_eq!(find(&pages(), "3").unwrap_err().status, 404);
        assert_eq!(find(&pages(), "18446744073709551615").unwrap_err().status, 404);
    }

    #[test]
    fn json_kept_as_text_is_json_again() {
        let body = serde_json::json!({"actions": "[{\"kind\":\"stop\"}]", "cause": "[not json"});
        let body = unfolded(body);
        assert_eq!(body, serde_json::json!({"actions": [{"kind": "stop"}], "cause": "[not json"}));
    }
}
