//! The dashboard, the rules and the metrics, held against a real Prometheus that scrapes the real daemon.
//!
//! Renaming a metric or a label breaks nobody's build, only somebody's alert. So every expression that is shipped is
//! checked against the names that were promised (`series.txt`), and asked of a Prometheus that scraped `spotscale demo`:
//! what is drawn must have something to draw, and what alerts must be quiet there, and is shown to fire by promtool's
//! unit tests.

mod expressions;
mod tools;

use expressions::{Series, exported, faults, filled, labels, selectors, shown, table};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tools::{Demo, Prometheus, promtool, shipped, text, wait};

/// Grafana's grid.
const COLUMNS: u64 = 24;
/// The names and labels that users hold on to.
const PROMISED: &str = include_str!("series.txt");
/// Makes one fleet let VMs go, and leaves another short of what it wants.
const LEVERS: [&str; 2] = ["target serve 2", "target batch 64"];

fn dashboard() -> Value {
    serde_json::from_str(&text("grafana/spotscale.json")).expect("the dashboard is JSON")
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// All panels.
fn panels(dashboard: &Value) -> &[Value] {
    let panels = items(&dashboard["panels"]);
    let collapsed = panels.iter().find(|panel| !items(&panel["panels"]).is_empty());
    assert_eq!(collapsed, None, "rows are not collapsed: their panels stand beside them");
    assert!(panels.len() > 20);
    panels
}

/// An expression of the dashboard.
#[derive(Debug)]
struct Drawn {
    /// The panel or annotation.
    place: String,
    expression: String,
    /// The labels that its legend shows.
    shown: BTreeSet<String>,
}

fn drawn(dashboard: &Value) -> Vec<Drawn> {
    let expression = |place: String, expression: &Value, legend: &Value| Drawn {
        expression: filled(expression.as_str().unwrap_or_else(|| panic!("{place} has no expression"))),
        shown: shown(legend.as_str().unwrap_or_default()),
        place,
    };
    let of_panel = |panel: &Value| -> Vec<Drawn> {
        let place = format!("panel {}", panel["title"]);
        items(&panel["targets"])
            .iter()
            .map(|target| expression(place.clone(), &target["expr"], &target["legendFormat"]))
            .collect()
    };
    let annotations = items(&dashboard["annotations"]["list"]).iter().filter(|item| item["expr"].is_string());
    let of_annotation =
        |item: &Value| expression(format!("annotation {}", item["name"]), &item["expr"], &item["titleFormat"]);
    panels(dashboard).iter().flat_map(of_panel).chain(annotations.map(of_annotation)).collect()
}

/// The rules as they are written: `alert: name` or `record: name`, and the text up to the next rule.
fn rules(kind: &str) -> Vec<(String, String)> {
    let file = text("prometheus/spotscale.rules.yml");
    let rules = file.split("\n      - ").skip(1).filter_map(|rule| rule.strip_prefix(kind)?.split_once('\n'));
    rules.map(|(name, rest)| (name.trim().to_owned(), rest.to_owned())).collect()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Whether a figure was found, and not only a division of nothing by nothing.
fn has_figure(series: &[Value]) -> bool {
    series.iter().any(|series| series["value"][1].as_str().is_some_and(|value| value != "NaN"))
}

/// What is missing from what was promised, and what nobody promised.
fn compared(promised: &Series, found: &Series) -> Vec<String> {
    let missing = promised.iter().filter(|(name, labels)| found.get(*name) != Some(labels));
    let missing = missing.map(|(name, labels)| format!("{name} {labels:?} is {:?}", found.get(name)));
    let foreign = |name: &&String| promised.contains_key(*name) || expressions::FOREIGN.contains(&name.as_str());
    let unasked = found.keys().filter(|name| !foreign(name)).map(|name| format!("{name} is not in series.txt"));
    missing.chain(unasked).collect()
}

#[test]
fn every_shipped_expression_finds_its_series_on_a_real_prometheus_that_scrapes_the_real_daemon() {
    let demo = Demo::start();
    let prometheus = Prometheus::scraping(&demo.url);
    // A counter's rise is only seen by who saw it before: nothing is let go until Prometheus has seen all at its target.
    prometheus.wait_for(r#"spotscale_fleet_ready_gpus{fleet="serve"} >= 4 and on () count_over_time(up[5m]) >= 3"#);
    for lever in LEVERS {
        demo.lever(lever);
    }

    let dashboard = dashboard();
    let mut waiting: Vec<Drawn> = drawn(&dashboard);
    // All that a rule or a panel selects is there, alerts' metrics too, whether or not anything is wrong.
    for rule in prometheus.rules() {
        let (place, query) = (format!("rule {}", rule["name"]), word(&rule["query"]));
        let selected = selectors(&query).into_iter().map(|(name, matchers)| format!("{name}{{{matchers}}}"));
        let asked: Vec<String> = match rule["type"] == "recording" {
            true => selected.chain([query.clone()]).collect(),
            false => selected.collect(),
        };
        waiting.extend(asked.into_iter().map(|expression| Drawn {
            place: place.clone(),
            expression,
            shown: [].into(),
        }));
    }
    let asked = waiting.len();
    let promised = table(PROMISED);
    let mut found = Series::new();
    let mut wrong: Vec<String> = Vec::new();
    let done = wait(|| {
        for (name, labels) in exported(&demo.metrics()) {
            found.entry(name).or_default().extend(labels);
        }
        waiting.retain(|drawn| match prometheus.query(&drawn.expression) {
            Ok(series) if has_figure(&series) => {
                let has = |label: &String| series.iter().all(|series| series["metric"][label].is_string());
                let lacks: Vec<_> = drawn.shown.iter().filter(|label| !has(label)).collect();
                if !lacks.is_empty() {
                    wrong.push(format!("{}: {} does not have {lacks:?}", drawn.place, drawn.expression));
                }
                false
            }
            Ok(_) => true,
            Err(error) => {
                wrong.push(format!("{}: {error}", drawn.place));
                false
            }
        });
        (waiting.is_empty() && compared(&promised, &found).is_empty()).then_some(())
    });
    assert!(done.is_some(), "not found: {waiting:#?} {:#?}", compared(&promised, &found));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(asked > 80, "only {asked} expressions");

    let healthy = wait(|| prometheus.rules().iter().all(|rule| rule["health"] == "ok").then_some(()));
    assert!(healthy.is_some(), "{:#?}", prometheus.rules());
    for rule in prometheus.rules().iter().filter(|rule| rule["labels"]["severity"] == "page") {
        assert_ne!(rule["state"], "firing", "nothing is wrong with the demo: {rule:#}");
    }
    let said = promtool(&["check", "metrics"], Some(&demo.metrics()));
    assert_eq!(String::from_utf8_lossy(&said.stderr), "", "promtool finds nothing to say");
}

#[test]
fn expressions_name_only_metrics_and_labels_that_were_promised() {
    let promised = table(PROMISED);
    let recorded: BTreeMap<String, String> = rules("record:").into_iter().collect();
    let mut wrong = Vec::new();
    for (name, rule) in &recorded {
        let (level, rest) = name.split_once(':').expect("level:metric:operation");
        let by = labels(rule);
        assert!(by.contains(level), "{name} goes by {by:?}");
        assert!(selectors(rule).iter().all(|(metric, _)| metric.starts_with("spotscale_")), "{rest}");
        wrong.extend(faults(rule, &promised, &recorded));
    }
    for (name, rule) in rules("alert:") {
        let expression = rule.split_once("        labels:").unwrap_or_else(|| panic!("{name} has no labels")).0;
        wrong.extend(faults(expression.trim().trim_start_matches("expr:"), &promised, &recorded));
    }
    let dashboard = dashboard();
    for drawn in drawn(&dashboard) {
        wrong.extend(faults(&drawn.expression, &promised, &recorded));
    }
    for variable in items(&dashboard["templating"]["list"]).iter().filter(|variable| variable["type"] == "query") {
        let query = word(&variable["query"]["query"]);
        assert_eq!(variable["definition"], query.as_str());
        let inner = query.strip_prefix("label_values(").and_then(|inner| inner.strip_suffix(')'));
        let (metric, label) = inner.and_then(|inner| inner.split_once(", ")).expect("label_values(metric, label)");
        assert!(promised.get(metric).is_some_and(|labels| labels.contains(label)), "{query}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_that_is_exported_is_left_out_of_the_dashboard_and_the_rules() {
    let all = [text("grafana/spotscale.json"), text("prometheus/spotscale.rules.yml")].concat();
    let unseen: Vec<String> = table(PROMISED).into_keys().filter(|name| !all.contains(name.as_str())).collect();
    assert_eq!(unseen, Vec::<String>::new());
}

#[test]
fn promtool_finds_nothing_to_say_about_the_rules() {
    let path = |file: &str| shipped(file).display().to_string();
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", &path("prometheus/spotscale.rules.yml")], None);
    promtool(&["check", "config", &path("prometheus/prometheus.yml")], None);
}

#[test]
fn every_alert_fires_when_it_should_and_not_before() {
    promtool(&["test", "rules", &shipped("prometheus/spotscale.rules.test.yml").display().to_string()], None);
    // What promtool was asked: of each alert, that it is quiet at one time and fires at another.
    let tests = text("prometheus/spotscale.rules.test.yml");
    let cases: Vec<(&str, bool)> = tests
        .split("alertname: ")
        .skip(1)
        .filter_map(|case| case.split_once('\n'))
        .map(|(name, rest)| (name.trim(), rest.lines().next().unwrap_or_default().contains("exp_alerts: []")))
        .collect();
    for (name, _) in rules("alert:") {
        for (quiet, what) in [(true, "is quiet"), (false, "fires")] {
            assert!(cases.contains(&(name.as_str(), quiet)), "no test shows when {name} {what}");
        }
    }
}

#[test]
fn every_alert_says_how_urgent_it_is_and_what_to_do() {
    let alerts = rules("alert:");
    assert!(alerts.len() > 10);
    for (name, alert) in alerts {
        assert!(name.starts_with("Spotscale"), "{name}");
        let urgency = ["severity: page", "severity: ticket"].map(|part| alert.contains(part));
        assert_ne!(urgency[0], urgency[1], "{name} has one severity");
        assert!(alert.contains("summary: ") && alert.contains("description: "), "{name}");
    }
}

#[test]
fn panels_have_ids_of_their_own_and_do_not_overlap() {
    let dashboard = dashboard();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().expect("a panel has a title");
        assert!(ids.insert(panel["id"].as_u64().expect("a panel has an id")), "{title}: its id is another's");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a place in the grid"));
        assert!(w > 0 && h > 0 && x + w <= COLUMNS, "{title}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} stands on another panel");
        }
    }
}

#[test]
fn panels_have_units_and_their_datasource_by_variable() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "spotscale");
    let by_variable = |place: &Value| place["datasource"]["uid"] == "${datasource}";
    for panel in panels(&dashboard).iter().filter(|panel| panel["type"] != "row") {
        let title = &panel["title"];
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}");
        assert!(by_variable(panel), "{title}");
        let targets = items(&panel["targets"]);
        assert!(!targets.is_empty() && targets.iter().all(by_variable), "{title}");
        let letters: BTreeSet<_> = targets.iter().map(|target| target["refId"].to_string()).collect();
        assert_eq!(letters.len(), targets.len(), "{title}");
    }
    let variables = items(&dashboard["templating"]["list"]);
    assert!(variables.iter().any(|variable| variable["name"] == "datasource" && variable["type"] == "datasource"));
    assert!(variables.iter().all(|variable| variable["type"] == "datasource" || by_variable(variable)));
}
