//! `openapi.json`: made from the table of routes, so that it cannot lack one; and from the schemas below, which a test
//! holds against real answers, key by key.
//!
//! A schema is written in a notation of its own, a line for what would be a page of JSON: `key:type` or `key?:type`
//! where it may be left out. Types are `text`, `time`, `uint`, `money` (USD), `ratio`, `bool`, `any`, a schema's name,
//! `[type]` for a list and `{type}` for an object with free keys.

use super::spec::{Access, Answer, PATH_PARAMETERS, Parameter, ROUTES, Spec};
use serde_json::{Map, Value, json};

/// What every request can get.
const ALWAYS: [u16; 1] = [400];

const SCHEMAS: &[(&str, &str)] = &[
    (
        "FleetsView",
        "at?:time now:time started_at:time ticks:uint decision?:text mode:text scan_interval_s:uint \
         fleets:[FleetView] marketplaces:[MarketplaceView] settings_faults:[text] troubles:[text]",
    ),
    (
        "FleetView",
        "fleet:text target_gpus?:uint running_gpus:uint counted_gpus:uint gpus:{uint} instances:uint strays:uint \
         rate_usd_per_hour?:RateView mode:text paused:bool evacuating:bool operator_target?:OperatorTargetView \
         missing_since?:time blocked:[BlockedView] overbilled:[OverbilledView] totals:TotalsView policy:PolicyView accounts:[text]",
    ),
    ("RateView", "now:money limit:money"),
    ("OperatorTargetView", "gpus:uint until?:time"),
    ("BlockedView", "gpus:uint reason:text detail:text"),
    ("OverbilledView", "instance:text agreed_usd_per_hour:money billed_usd_per_hour:money"),
    (
        "TotalsView",
        "spend_usd:money spend_today_usd:money gpu_seconds:uint on_demand_equivalent_usd:money \
         usd_per_gpu_hour?:money on_demand_usd_per_gpu_hour?:money",
    ),
    ("PolicyView", "file:text sha256:text faults:[text] gone:bool held?:HeldView"),
    ("HeldView", "sha256:text effect:text"),
    (
        "MarketplaceView",
        "marketplace:text account?:text age_s?:uint hostnodes:uint bench?:text benched_since?:time asked_again_at?:time \
         failed?:text dropped:[text] in_doubt:uint",
    ),
    ("InstancesView", "at?:time instances:[InstanceView]"),
    (
        "InstanceView",
        "name:text id?:text fleet:text marketplace:text account:text hostnode?:text location:text gpu_model:text \
         gpus:uint vcpus?:uint ram_gb?:uint storage_gb?:uint price_type?:text standing:text since?:time age_s?:uint \
         running_since?:time address?:text ports:{uint} user?:text bid_usd_per_hour?:money rate_usd_per_hour:money \
         agreed_usd_per_hour?:money overbilled_usd_per_hour?:money on_demand_usd_per_hour?:money \
         available_until?:time protected:bool write_in_doubt:bool replaces?:text why:text",
    ),
    ("OffersView", "at?:time fleets:[FleetOffersView]"),
    ("FleetOffersView", "fleet:text candidates:[OfferView] candidates_total:uint rejected:{uint} unasked_offers:uint"),
    (
        "OfferView",
        "rank:uint marketplace:text hostnode:text location:text gpu_model:text gpus:uint vcpus:uint ram_gb:uint \
         storage_gb:uint price_type:text bid_usd_per_hour?:money rate_usd_per_hour:money usd_per_gpu_hour:money \
         on_demand_usd_per_hour:money uptime_ratio?:ratio available_until?:time score:ScoreView verdict:text",
    ),
    ("ScoreView", "preference:uint usd_per_delivered_gpu_hour:money crowding:uint"),
    ("PlanView", "at:time fleets:[FleetPlanView]"),
    (
        "FleetPlanView",
        "fleet:text target_gpus:uint running_gpus:uint planned_gpus:uint rate_usd_per_hour:PlannedRateView \
         gap_ratio:ratio actions:[ActionView] rejected:{uint} blocked:[BlockedView] unasked_offers:uint stray_gpus:uint",
    ),
    ("PlannedRateView", "now:money planned:money limit:money lower_bound:money"),
    (
        "ActionView",
        "kind:text marketplace:text hostnode?:text gpu_model?:text gpus?:uint price_type?:text \
         bid_usd_per_hour?:money rate_usd_per_hour?:money instance?:text replaces?:text reason:text detail?:text",
    ),
    ("WhyNotView", "hostnode:text listed_by:[text] listings:[text] fleets:[WhyNotFleetView]"),
    (
        "WhyNotFleetView",
        "fleet:text marketplace?:text verdict:text detail:text candidates:[OfferView] instances:[text]",
    ),
    ("AccountsView", "at?:time accounts:[AccountView]"),
    (
        "AccountView",
        "account:text balance_usd?:money balance_age_s?:uint floor_usd:money hourly_cost_usd:money \
         unexplained_usd_per_hour:money runway_to_floor_s?:uint runway_to_zero_s?:uint balance:text spent_today_usd:money \
         max_spend_per_day_usd?:money max_spend_per_month_usd?:money budget_remaining_usd?:money",
    ),
    ("DecisionsView", "decisions:[DecisionView]"),
    ("DecisionView", "id:text sequence:uint at:time kind:text fleet?:text subject?:text lines:[text] body?:any"),
    ("DiscoveredView", "targets:[text] labels:{text}"),
    ("DoneView", "message:text"),
    ("Problem", "title:text status:uint detail:text faults?:[text]"),
    ("EmptyBody", ""),
    ("TargetBody", "gpus:uint for?:text"),
    ("ScopeBody", "marketplace?:text"),
    ("AdoptBody", "fleet:text"),
    ("ProtectBody", "for?:text"),
    ("PolicyBody", "policy:text file?:text attachments?:{text}"),
    (
        "PageForm",
        "csrf:text access_token?:text lever:text fleet?:text marketplace?:text instance?:text gpus?:text for?:text",
    ),
];

fn kind(notation: &str) -> Value {
    if let Some(inner) = notation.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return json!({"type": "array", "items": kind(inner)});
    }
    if let Some(inner) = notation.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return json!({"type": "object", "additionalProperties": kind(inner)});
    }
    match notation {
        "text" => json!({"type": "string"}),
        "time" => json!({"type": "string", "format": "date-time"}),
        "uint" => json!({"type": "integer", "minimum": 0}),
        "money" => json!({"type": "number", "description": "US dollars, at most six decimals"}),
        "ratio" => json!({"type": "number"}),
        "bool" => json!({"type": "boolean"}),
        "any" => json!({}),
        name => json!({"$ref": format!("#/components/schemas/{name}")}),
    }
}

fn schema(notation: &str) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (key, of) in notation.split_whitespace().filter_map(|part| part.split_once(':')) {
        let name = key.trim_end_matches('?');
        if name == key {
            required.push(json!(name));
        }
        properties.insert(name.to_owned(), kind(of));
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn parameter(parameter: &Parameter, place: &str) -> Value {
    let Parameter { name, what, example } = parameter;
    json!({
        "name": name, "in": place, "required": place == "path", "description": what,
        "schema": {"type": "string"}, "example": example,
    })
}

fn content(answer: Answer) -> Value {
    match answer {
        Answer::Json(name) => json!({"application/json": {"schema": kind(name)}}),
        Answer::List(name) => json!({"application/json": {"schema": {"type": "array", "items": kind(name)}}}),
        Answer::Document => json!({"application/json": {"schema": {"type": "object"}}}),
        Answer::Text => json!({"text/plain": {"schema": {"type": "string"}}}),
        Answer::Html | Answer::SeeOther => json!({"text/html": {"schema": {"type": "string"}}}),
    }
}

fn operation(spec: &Spec) -> Value {
    let in_path = PATH_PARAMETERS.iter().filter(|known| spec.path.contains(&format!("{{{}}}", known.name)));
    let parameters: Vec<Value> = in_path
        .map(|known| parameter(known, "path"))
        .chain(spec.query.iter().map(|known| parameter(known, "query")))
        .collect();
    let good = match spec.answer {
        Answer::SeeOther => ("303", json!({"description": "Back to the page"})),
        Answer::Json(_) | Answer::List(_) | Answer::Document | Answer::Text | Answer::Html => {
            ("200", json!({"description": spec.summary, "content": content(spec.answer)}))
        }
    };
    let mut responses = Map::from_iter([(good.0.to_owned(), good.1)]);
    for status in ALWAYS.iter().chain(spec.errors) {
        let problem = json!({"application/problem+json": {"schema": kind("Problem")}});
        let title = super::Problem::new(axum::http::StatusCode::from_u16(*status).unwrap_or_default(), "").title;
        responses.insert(status.to_string(), json!({"description": title, "content": problem}));
    }
    let mut operation = json!({
        "operationId": format!("{:?}", spec.endpoint),
        "summary": spec.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(fields) = operation.as_object_mut() {
        if let Some(body) = spec.body {
            let (media, required) = match spec.access {
                Access::Form => ("application/x-www-form-urlencoded", true),
                Access::Reads | Access::Changes => ("application/json", true),
            };
            fields.insert(
                "requestBody".into(),
                json!({"required": required, "content": {media: {"schema": kind(body)}}}),
            );
        }
        match spec.access {
            Access::Changes => {
                fields.insert("security".into(), json!([{"token": []}, {}]));
            }
            Access::Reads | Access::Form => {}
        }
    }
    operation
}

/// The document.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for spec in ROUTES {
        let path = paths.entry(spec.path).or_insert_with(|| json!({}));
        if let Some(operations) = path.as_object_mut() {
            operations.insert(spec.verb.to_string(), operation(spec));
        }
    }
    let schemas: Map<String, Value> =
        SCHEMAS.iter().map(|(name, notation)| ((*name).to_owned(), schema(notation))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "spotscale",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
            "description": "What the daemon knows, and its levers. Errors are application/problem+json. A change needs \
                            the bearer token once one is set; without one it is taken only from this machine: a \
                            loopback peer and Host, no foreign Origin, no X-Forwarded-*, and a JSON body.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

/// Whether a value is what a schema of the document says, down to the last key.
#[cfg(test)]
pub(super) fn fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let found = document.pointer(reference.trim_start_matches('#')).ok_or(format!("{reference} is nowhere"))?;
        return fits(document, found, value);
    }
    let is = match schema.get("type").and_then(Value::as_str) {
        None => true,
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some(other) => return Err(format!("{other} is no type")),
    };
    if !is {
        return Err(format!("{value} is not {schema}"));
    }
    for item in value.as_array().into_iter().flatten() {
        fits(document, schema.get("items").unwrap_or(&Value::Null), item)?;
    }
    let Some(fields) = value.as_object().filter(|_| schema.get("type").is_some()) else { return Ok(()) };
    for key in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !fields.contains_key(key.as_str().unwrap_or_default()) {
            return Err(format!("{key} is missing in {value}"));
        }
    }
    for (key, field) in fields {
        let known = schema.get("properties").and_then(|properties| properties.get(key));
        match known.or(schema.get("additionalProperties")) {
            Some(Value::Bool(false)) => return Err(format!("{key} is not described")),
            Some(of) => fits(document, of, field).map_err(|error| format!("{key}: {error}"))?,
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All `$ref`s of a value.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in &found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
        for (name, _) in SCHEMAS {
            assert!(found.iter().any(|reference| reference.ends_with(&format!("/{name}"))), "{name} is not used");
        }
    }

    #[test]
    fn every_parameter_of_a_path_is_described() {
        let document = document();
        for spec in ROUTES {
            let operation = &document["paths"][spec.path][spec.verb.as_str()];
            let described = operation["parameters"].as_array().unwrap();
            let in_path = described.iter().filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(in_path, spec.path.matches('{').count(), "{}", spec.path);
        }
    }

    #[test]
    fn the_checker_of_answers_sees_what_is_missing_and_what_is_too_much() {
        let document = document();
        let said = |value: Value| fits(&document, &kind("BlockedView"), &value);
        assert_eq!(said(json!({"gpus": 2, "reason": "shape", "detail": ""})), Ok(()));
        assert!(said(json!({"gpus": 2, "reason": "shape"})).unwrap_err().contains("missing"));
        assert!(said(json!({"gpus": 2, "reason": "shape", "detail": "", "x": 1})).unwrap_err().contains("x is not"));
        assert!(said(json!({"gpus": -2, "reason": "shape", "detail": ""})).unwrap_err().contains("gpus"));
    }
}
