//! PromQL as far as the tests must read it: which metrics an expression selects, which labels it goes by.

use std::collections::{BTreeMap, BTreeSet};

/// What the daemon exports: a metric's name and its labels.
pub type Series = BTreeMap<String, BTreeSet<String>>;

/// Labels that Prometheus itself puts on everything it scrapes.
const SCRAPED: [&str; 2] = ["job", "instance"];

/// Metrics that every process of this kind has, and Prometheus' own.
pub const FOREIGN: [&str; 8] = [
    "up",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

/// An expression of the dashboard as Grafana would send it.
pub fn filled(expression: &str) -> String {
    expression.replace("$__rate_interval", "1m").replace("\"$fleet\"", "\".+\"")
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'
}

/// The words of an expression, each with what follows it; what stands between quotes is not looked at.
fn words(expression: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|letter: char| is_word(letter) || letter == '"') {
        rest = &rest[start..];
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted.split_once('"').map_or("", |(_, after)| after);
            continue;
        }
        let (word, after) = rest.split_at(rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()));
        found.push((word, after));
        rest = after;
    }
    found
}

fn is_metric(word: &str) -> bool {
    word.starts_with("spotscale_") || word.contains(":spotscale_") || FOREIGN.contains(&word)
}

/// What stands between the brackets that open what follows.
fn bracketed(after: &str, open: char, close: char) -> Option<&str> {
    after.trim_start().strip_prefix(open)?.split_once(close).map(|(inner, _)| inner)
}

/// Each metric of an expression, with the matchers beside it.
pub fn selectors(expression: &str) -> Vec<(String, String)> {
    let metrics = words(expression).into_iter().filter(|(word, _)| is_metric(word));
    metrics.map(|(name, after)| (name.to_owned(), bracketed(after, '{', '}').unwrap_or_default().to_owned())).collect()
}

/// Every label that an expression matches, groups or joins by.
pub fn labels(expression: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, matchers) in selectors(expression) {
        found.extend(words(&matchers).into_iter().map(|(word, _)| word.to_owned()));
    }
    for (word, after) in words(expression) {
        if ["by", "without", "on", "ignoring", "group_left", "group_right"].contains(&word) {
            let list = bracketed(after, '(', ')').unwrap_or_default();
            found.extend(list.split(',').map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()));
        }
    }
    found
}

/// `{{label}}` of a legend or `{{ $labels.label }}` of an annotation.
pub fn shown(template: &str) -> BTreeSet<String> {
    let holes = template.split("{{").skip(1).filter_map(|hole| hole.split_once("}}"));
    let label = |hole: &str| match hole.split_once("$labels.") {
        Some((_, tail)) => tail.chars().take_while(|letter| is_word(*letter)).collect(),
        None => hole.trim().to_owned(),
    };
    holes
        .map(|(hole, _)| label(hole))
        .filter(|label| label.starts_with(|letter: char| letter.is_alphabetic()))
        .collect()
}

/// `name label label…`, one a line.
pub fn table(text: &str) -> Series {
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        Some((words.next()?, words.collect()))
    };
    text.lines().filter_map(row).collect()
}

/// What a text of `/metrics` has samples of. The parts of a histogram are the histogram.
pub fn exported(metrics: &str) -> Series {
    let kinds: BTreeMap<&str, &str> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut series = Series::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let name = &line[..line.find(['{', ' ']).unwrap_or(line.len())];
        let histogram = ["_bucket", "_sum", "_count"].iter().filter_map(|part| name.strip_suffix(part));
        let histogram = histogram.into_iter().find(|name| kinds.get(name) == Some(&"histogram"));
        let labels = bracketed(&line[name.len()..], '{', '}').unwrap_or_default();
        let labels = words(labels).into_iter().map(|(word, _)| word.to_owned());
        let labels = labels.filter(|label| histogram.is_none() || label != "le");
        series.entry(histogram.unwrap_or(name).to_owned()).or_default().extend(labels);
    }
    series
}

/// What is wrong with an expression, by the names and labels that there are.
pub fn faults(expression: &str, known: &Series, recorded: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut allowed: BTreeSet<String> = SCRAPED.map(str::to_owned).into();
    for (name, _) in selectors(expression) {
        let histogram = name.strip_suffix("_bucket").filter(|name| known.contains_key(*name));
        if let Some(labels) = known.get(histogram.unwrap_or(&name)) {
            allowed.extend(labels.iter().cloned());
            allowed.extend(histogram.map(|_| "le".to_owned()));
        } else if let Some(rule) = recorded.get(&name) {
            allowed.extend(labels(rule));
        } else if !FOREIGN.contains(&name.as_str()) {
            faults.push(format!("{expression}: there is no {name}"));
        }
    }
    let strangers = labels(expression).into_iter().filter(|label| !allowed.contains(label));
    faults.extend(strangers.map(|label| format!("{expression}: nothing there has the label {label}")));
    faults
}

#[test]
fn the_selectors_and_labels_of_an_expression_are_found() {
    let text = r#"sum by (fleet) (rate(spotscale_a_total{reason=~"x|on (y)"}[1h])) / on (job, fleet) spotscale_b > 0 or fleet:spotscale_c:max"#;
    let pair = |name: &str, matchers: &str| (name.to_owned(), matchers.to_owned());
    let found = [
        pair("spotscale_a_total", r#"reason=~"x|on (y)""#),
        pair("spotscale_b", ""),
        pair("fleet:spotscale_c:max", ""),
    ];
    assert_eq!(selectors(text), found);
    assert_eq!(labels(text), ["fleet", "job", "reason"].map(str::to_owned).into());
    assert_eq!(
        shown("{{fleet}}: {{ $labels.job }} {{ $value | humanize }}"),
        ["fleet", "job"].map(str::to_owned).into()
    );
}

#[test]
fn a_metric_or_label_that_is_not_there_is_a_fault() {
    let known = table("spotscale_a_total fleet\nspotscale_b_seconds call\nspotscale_level");
    let recorded =
        BTreeMap::from([("fleet:spotscale_a:rate".to_owned(), "sum by (fleet) (spotscale_a_total)".to_owned())]);
    let check = |expression: &str, expected: &[&str]| {
        let told = faults(expression, &known, &recorded);
        let ends: Vec<&str> = told.iter().filter_map(|fault| Some(fault.rsplit_once(": ")?.1)).collect();
        assert_eq!(ends, expected, "{expression}");
    };
    check(r#"sum by (fleet, job) (spotscale_a_total{fleet=~"x"})"#, &[]);
    check("sum by (le, call) (rate(spotscale_b_seconds_bucket[1m]))", &[]);
    check("fleet:spotscale_a:rate{fleet=\"x\"} + on (instance) up", &[]);
    check("spotscale_c", &["there is no spotscale_c"]);
    check("fleet:spotscale_c:rate", &["there is no fleet:spotscale_c:rate"]);
    check("sum by (flet) (spotscale_a_total)", &["nothing there has the label flet"]);
    check("spotscale_level{fleet=\"x\"}", &["nothing there has the label fleet"]);
    check("sum by (le) (spotscale_a_total)", &["nothing there has the label le"]);
}

#[test]
fn what_is_exported_is_read_with_its_labels() {
    let text = "# TYPE a_seconds histogram\na_seconds_bucket{call=\"x\",le=\"1\"} 2\na_seconds_sum{call=\"x\"} 1\n\
                # TYPE b_count gauge\nb_count 3\n# TYPE c gauge\nc{fleet=\"by {y}\"} 1\n";
    assert_eq!(exported(text), table("a_seconds call\nb_count\nc fleet"));
}
