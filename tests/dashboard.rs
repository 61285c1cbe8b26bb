//! The Grafana dashboard and the Prometheus rules: what can be said of them without a daemon. `checks` asks each of
//! their expressions of a real Prometheus.

#[path = "dashboard/checks.rs"]
#[expect(dead_code, reason = "what needs a daemon is asked where one can be had")]
mod checks;

use checks::{dashboard, panels, promtool, shipped};
use serde_json::Value;
use std::collections::BTreeSet;

/// Grafana's grid.
const COLUMNS: u64 = 24;

fn path(file: &str) -> String {
    shipped(file).display().to_string()
}

#[test]
fn promtool_finds_nothing_to_say_about_the_rules() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", &path("prometheus/spotscale.rules.yml")], None);
    promtool(&["check", "config", &path("prometheus/prometheus.yml")], None);
}

#[test]
fn the_alerts_fire_when_they_should_and_not_before() {
    promtool(&["test", "rules", &path("prometheus/spotscale.rules.test.yml")], None);
}

#[test]
fn every_alert_says_how_urgent_it_is_and_what_to_do() {
    let rules = std::fs::read_to_string(shipped("prometheus/spotscale.rules.yml")).unwrap();
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 10);
    for alert in alerts {
        let name = alert.lines().next().unwrap_or_default();
        assert!(name.starts_with("Spotscale"), "{name}");
        for part in ["severity: page", "severity: ticket"].map(|part| alert.contains(part)).chunks(2) {
            assert_ne!(part[0], part[1], "{name} has one severity");
        }
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
    for panel in panels(&dashboard).into_iter().filter(|panel| panel["type"] != "row") {
        let title = &panel["title"];
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}");
        assert!(by_variable(panel), "{title}");
        let targets = panel["targets"].as_array().expect("a panel has targets");
        assert!(!targets.is_empty() && targets.iter().all(by_variable), "{title}");
        let letters: BTreeSet<_> = targets.iter().map(|target| target["refId"].to_string()).collect();
        assert_eq!(letters.len(), targets.len(), "{title}");
    }
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    assert!(variables.iter().any(|variable| variable["name"] == "datasource" && variable["type"] == "datasource"));
    assert!(variables.iter().all(|variable| variable["type"] == "datasource" || by_variable(variable)));
}
