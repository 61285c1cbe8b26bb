//! Every malformed configuration we could think of, with the exact lines it gets.
//!
//! The cases stand in `tests/malformed/*.cases`: a title, the input, and what is said of it. `+` is put behind the
//! smallest policy or settings that work. A policy's context has the marketplaces `tensordock` and `vast` (with spot) and
//! `plain` (without), and a default SSH key. Whatever does not match is written, as it is now, beside the test's other
//! output, so that a change of wording is one copy away from its review.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use proptest::prelude::*;
use spotscale::{
    model::catalogue,
    policy::{self, Context, Fault, InstanceDefaults, Source, SpotOffered},
    settings,
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example";

const SMALLEST_POLICY: &str = r#"fleet           = "train"
target_gpus     = 8
max_hourly_rate = 6.00
balance_floor   = 50.00
models          = [{ name = "h100-sxm5-80gb", max_price = 2.60 }]
"#;

const SMALLEST_SETTINGS: &str = r#"[marketplaces.tensordock]
api   = "tensordock-v0"
key   = { env = "KEY" }
token = { env = "TOKEN" }
"#;

fn context() -> Context {
    let marketplace = |name: &str, spot| (name.parse().unwrap(), spot);
    Context {
        instance_prefix: "spotscale".into(),
        default_ssh_key: Some(PUBLIC_KEY.into()),
        instance_defaults: InstanceDefaults::default(),
        marketplaces: BTreeMap::from([
            marketplace("tensordock", SpotOffered::Yes),
            marketplace("vast", SpotOffered::Yes),
            marketplace("plain", SpotOffered::No),
        ]),
        vocabularies: BTreeMap::new(),
        catalogue_edition: catalogue::EDITION,
    }
}

/// The files that the cases may name.
fn read(path: &str) -> Result<String, String> {
    match path {
        "key.pub" => Ok(PUBLIC_KEY.into()),
        "key" => Ok("-----BEGIN OPENSSH PRIVATE KEY-----\nhush\n".into()),
        "init.yaml" => Ok("#cloud-config\n".into()),
        "plain.txt" => Ok("hello\n".into()),
        "secret" => Ok("hush-hush\n".into()),
        "empty" => Ok("\n".into()),
        _ => Err("no such file".into()),
    }
}

fn policy_source(text: &str) -> Source {
    policy::gather("train.toml", text, &mut read)
}

fn check_settings(text: &str, environment: &BTreeMap<String, String>) -> settings::Checked {
    let mut read = |path: &Path| read(&path.display().to_string());
    settings::check(Path::new("spotscale.toml"), text, environment, &mut read)
}

struct Case {
    title: String,
    kind: String,
    input: String,
    environment: BTreeMap<String, String>,
    says: String,
}

/// `== title`, `-- kind`, input, `-- environment`, variables, `-- says`, lines.
fn cases(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for block in text.split("\n== ").skip(1) {
        let mut parts = block.split("\n-- ");
        let title = parts.next().unwrap().trim().to_owned();
        let mut case = Case { title, kind: "".into(), input: "".into(), environment: BTreeMap::new(), says: "".into() };
        for part in parts {
            let (head, body) = part.split_once('\n').unwrap_or((part, ""));
            let body = if body.is_empty() || body.ends_with('\n') { body.to_owned() } else { format!("{body}\n") };
            match head.trim() {
                "says" => case.says = body,
                "environment" => {
                    let variable = |line: &str| line.split_once('=').map(|(name, value)| (name.into(), value.into()));
                    case.environment = body.lines().filter_map(variable).collect();
                }
                kind => {
                    case.kind = kind.to_owned();
                    case.input = body;
                }
            }
        }
        cases.push(case);
    }
    cases
}

fn lines<'f>(faults: impl IntoIterator<Item = &'f Fault>) -> String {
    faults.into_iter().fold(String::new(), |mut lines, fault| {
        writeln!(lines, "{fault}").unwrap();
        lines
    })
}

fn answer(case: &Case) -> String {
    let base = |smallest: &str| format!("{smallest}{}", case.input);
    let policy = |text: &str| {
        let checked = policy::check(&policy_source(text), &context());
        assert_eq!(checked.policy.is_some(), checked.faults.is_empty(), "{}", case.title);
        lines(checked.faults.iter().chain(&checked.warnings))
    };
    let settings = |text: &str| {
        let mut environment = case.environment.clone();
        environment.extend([("KEY".into(), "k".into()), ("TOKEN".into(), "t".into())]);
        let checked = check_settings(text, &environment);
        assert_eq!(checked.without_secrets().is_some(), checked.faults.is_empty(), "{}", case.title);
        lines(checked.faults.iter().chain(&checked.unresolved).chain(&checked.warnings))
    };
    match case.kind.as_str() {
        "policy" => policy(&case.input),
        "policy +" => policy(&base(SMALLEST_POLICY)),
        "settings" => settings(&case.input),
        "settings +" => settings(&base(SMALLEST_SETTINGS)),
        "folder" => {
            let files = case.input.split("---\n").zip(["a.toml", "b.toml", "c.toml"]);
            let sources: Vec<Source> = files.map(|(text, file)| policy::gather(file, text, &mut read)).collect();
            let checked = policy::check_folder(&sources, &context());
            checked.iter().map(|checked| lines(checked.faults.iter().chain(&checked.warnings))).collect()
        }
        other => panic!("{}: `{other}` is no kind of case", case.title),
    }
}

/// Checks a file of cases; returns how many there are.
fn check_file(name: &str) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malformed").join(name);
    let text = format!("\n{}", std::fs::read_to_string(path).unwrap());
    let cases = cases(&text);
    let head = text.split("\n== ").next().unwrap().trim_start().to_owned();
    let mut actual_file = if head.is_empty() { head } else { format!("{head}\n") };
    let mut wrong = String::new();
    for case in &cases {
        let actual = answer(case);
        let Case { title, kind, input, environment, says } = case;
        write!(actual_file, "\n== {title}\n-- {kind}\n{input}").unwrap();
        if !environment.is_empty() {
            actual_file.push_str("-- environment\n");
            environment.iter().for_each(|(name, value)| writeln!(actual_file, "{name}={value}").unwrap());
        }
        write!(actual_file, "-- says\n{actual}").unwrap();
        if actual.trim() != says.trim() {
            write!(wrong, "\n{title}\nexpected:\n{says}\nactual:\n{actual}").unwrap();
        }
    }
    if !wrong.is_empty() {
        let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&out, actual_file.trim_start_matches('\n')).unwrap();
        panic!("{wrong}\nas it is now: {}", out.display());
    }
    cases.len()
}

#[test]
fn malformed_policies_get_these_very_lines() {
    assert!(check_file("policy.cases") > 50);
}

#[test]
fn policies_that_contradict_themselves_get_these_very_lines() {
    assert!(check_file("policy_between_keys.cases") > 20);
}

#[test]
fn keys_of_later_work_are_checked_first_and_then_refused() {
    assert!(check_file("policy_later.cases") > 0);
}

#[test]
fn malformed_settings_get_these_very_lines() {
    assert!(check_file("settings.cases") > 30);
}

#[test]
fn a_malformed_environment_gets_these_very_lines() {
    assert!(check_file("environment.cases") > 5);
}

const FILES: [&str; 5] =
    ["policy.cases", "policy_between_keys.cases", "policy_later.cases", "settings.cases", "environment.cases"];

/// Lays a case out on disk, as an operator would have it; what is named is there.
fn lay_out(folder: &Path, case: &Case) {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    std::fs::create_dir_all(folder.join("policies")).unwrap();
    for name in ["key.pub", "key", "init.yaml", "plain.txt", "secret", "empty"] {
        let text = read(name).unwrap();
        write(name, &text);
        write(&format!("policies/{name}"), &text);
    }
    let (mut settings, mut policies) = (SMALLEST_SETTINGS.to_owned(), Vec::new());
    match case.kind.as_str() {
        "policy" => policies.push(case.input.clone()),
        "policy +" => policies.push(format!("{SMALLEST_POLICY}{}", case.input)),
        "folder" => policies.extend(case.input.split("---\n").map(str::to_owned)),
        "settings" => settings = case.input.clone(),
        _ => settings.push_str(&case.input),
    }
    write("spotscale.toml", &settings);
    for (text, name) in policies.iter().zip(["a", "b", "c"]) {
        write(&format!("policies/{name}.toml"), text);
    }
}

#[test]
fn whatever_is_malformed_ends_the_command_with_2_and_never_in_a_panic() {
    let mut tried = 0;
    for file in FILES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malformed").join(file);
        let text = format!("\n{}", std::fs::read_to_string(path).unwrap());
        for case in cases(&text) {
            let is_fault = |line: &str| !line.is_empty() && !line.contains(": warning: ");
            if !case.says.lines().any(is_fault) {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            lay_out(folder.path(), &case);
            let tell = |arguments: &[&str]| {
                let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_spotscale"));
                command.env_clear().envs(&case.environment).env("KEY", "k").env("TOKEN", "t");
                let output = command.current_dir(folder.path()).args(arguments).output().unwrap();
                (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
            };
            let mut told = tell(&["check", "--config", "spotscale.toml"]);
            if told.0 == Some(0) && case.kind.starts_with("settings") {
                // Credentials that cannot be read are a warning to `check`, and a fault to whoever needs them.
                told = tell(&["plan", "--offline", "--config", "spotscale.toml"]);
            }
            assert_eq!(told.0, Some(2), "{file}: {}: {}", case.title, told.1);
            assert!(!told.1.contains("panicked"), "{file}: {}: {}", case.title, told.1);
            tried += 1;
        }
    }
    // Command lines have a table and a test of their own.
    let lines = include_str!("cli/refused.cases").lines().filter(|line| line.starts_with("$ ")).count();
    assert!(lines >= 60, "{lines} command lines");
    assert!(tried >= 60, "{tried} configurations and policies");
}

/// Texts that work, to be mutated.
fn seeds() -> Vec<String> {
    let mut seeds = vec![SMALLEST_POLICY.to_owned(), SMALLEST_SETTINGS.to_owned()];
    for file in ["config/spotscale.toml", "config/policies/train.toml", "config/demo/policies/serve.toml"] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        // What stands commented out is worth breaking too.
        seeds.push(text.replace("\n# ", "\n"));
        seeds.push(text);
    }
    seeds
}

fn survives(text: &str) {
    let source = policy_source(text);
    let checked = policy::check(&source, &context());
    assert_eq!(checked.policy.is_some(), checked.faults.is_empty());
    policy::check_folder(&[source.clone(), source], &context());
    let environment = BTreeMap::from([("SPOTSCALE__LIMITS__MODE".to_owned(), "observe".to_owned())]);
    let checked = check_settings(text, &environment);
    assert_eq!(checked.without_secrets().is_some(), checked.faults.is_empty());
    for fault in checked.faults.iter().chain(&checked.warnings) {
        assert_eq!(fault.to_string().lines().count(), 1, "{fault}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "(?s).{0,300}") {
        survives(&text);
    }

    #[test]
    fn no_likely_text_panics(text in "([a-z_.\\[\\]{}=\"#,0-9 \n-]|target_gpus|models|\\[instance\\]|\\[spot\\]|marketplaces){0,60}") {
        survives(&text);
    }

    #[test]
    fn no_mutation_of_a_valid_text_panics(
        seed in prop::sample::select(seeds()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, "(?s).{0,6}"), 1..6),
    ) {
        let mut text: Vec<char> = seed.chars().collect();
        for (at, removed, inserted) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + removed).min(text.len());
            text.splice(at..end, inserted.chars());
        }
        survives(&text.into_iter().collect::<String>());
    }

    #[test]
    fn no_environment_panics(names in prop::collection::btree_map("SPOTSCALE__([A-Z_\\[\\]0-9.]|LIMITS|HTTP|__){0,12}", "\\PC{0,20}", 0..5)) {
        check_settings(SMALLEST_SETTINGS, &names);
    }
}
