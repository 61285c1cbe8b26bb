//! The configuration that is shipped: all of it is without fault, and so is what stands commented out, apart from not
//! being supported yet.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use spotscale::{
    policy::{self, Checked, Context, Fault, terms::Mode},
    settings,
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampl me@example";

fn config(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(path)
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn check_settings(text: &str) -> settings::Checked {
    let environment = [("CREDENTIALS_DIRECTORY", "/credentials"), ("DEMO_KEY", "hush"), ("DEMO_TOKEN", "hush")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    settings::check(Path::new("spotscale.toml"), text, &environment, &mut |path| match path.to_str() {
        Some("id_ed25519.pub") => Ok(PUBLIC_KEY.to_owned()),
        Some(path) if path.starts_with("/credentials/") => Ok("hush".to_owned()),
        _ => Err("no such file".to_owned()),
    })
}

fn check_policy(text: &str, context: &Context) -> Checked {
    let source = policy::gather("policy.toml", text, &mut |path| match path {
        "id_ed25519.pub" => Ok(PUBLIC_KEY.to_owned()),
        "cloud-init.yaml" => Ok("#cloud-config\n".to_owned()),
        _ => Err("no such file".to_owned()),
    });
    policy::check(&source, context)
}

/// A sample's text with its commented-out keys and tables in force.
fn uncommented(text: &str) -> String {
    let key_or_table = |line: &str| {
        let key: String = line.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '_').collect();
        let is_key = !key.is_empty() && line[key.len()..].trim_start().starts_with("= ");
        let is_table = line.starts_with('[') && line.split_whitespace().next().is_some_and(|word| word.ends_with(']'));
        is_key || is_table
    };
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if key_or_table(rest) => rest.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Every file below a folder of `config`.
fn shipped(folder: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(config(folder)).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.append(&mut shipped(path.to_str().unwrap())),
            false => found.extend([path]),
        }
    }
    found
}

#[test]
fn every_sample_is_without_fault() {
    let mut checked_files = BTreeSet::new();
    for (settings_file, folder, mode) in [
        ("spotscale.toml", "policies", Some(Mode::Observe)),
        ("minimal/spotscale.toml", "minimal/policies", None),
        ("demo/spotscale.toml", "demo/policies", Some(Mode::Act)),
    ] {
        checked_files.insert(config(settings_file));
        let checked = check_settings(&text(&config(settings_file)));
        assert_eq!((&checked.faults, &checked.unresolved, &checked.warnings), (&vec![], &vec![], &vec![]));
        let context = checked.context().unwrap();
        let mut files = shipped(folder);
        assert!(!files.is_empty());
        for file in &files {
            let checked = check_policy(&text(file), &context);
            assert_eq!(checked.faults, vec![], "{}", file.display());
            let policy = checked.policy.unwrap();
            assert!(mode.is_none_or(|mode| policy.mode == mode), "{}", file.display());
            if folder.starts_with("demo") {
                // One of them spans a marketplace that has no image of that name.
                let spans = policy.marketplaces.is_none();
                let known = |warning: &Fault| spans && warning.key == "instance.image";
                assert!(checked.warnings.iter().all(known), "{}: {:?}", file.display(), checked.warnings);
                assert_eq!(file.file_stem().unwrap().to_str(), Some(policy.fleet.as_str()));
            }
        }
        checked_files.append(&mut files);
    }
    assert_eq!(checked_files, shipped(""), "every file of config/ is checked");
}

#[test]
fn what_stands_commented_out_is_only_not_supported_yet() {
    // The state is there once already.
    let settings = uncommented(&text(&config("spotscale.toml")).replace("# state", "# State"));
    let checked = check_settings(&settings);
    let context = check_settings(&text(&config("spotscale.toml"))).context().unwrap();
    let policy = check_policy(&uncommented(&text(&config("policies/train.toml"))), &context);
    for faults in [&checked.faults, &policy.faults] {
        assert!(faults.len() >= 2);
        for fault in faults {
            assert!(fault.what.ends_with("is not supported yet"), "{fault}");
        }
    }
}

#[test]
fn the_samples_name_every_key() {
    let said = |file: &str| uncommented(&text(&config(file)));
    // A key that nobody knows lists all that are known there.
    let known = |file: &str, head: &str| -> Vec<String> {
        let mut lines = vec![head.to_owned(), "zzzzzzzz = 1".to_owned()];
        lines.dedup();
        let text = lines.join("\n");
        let context = check_settings(&said("minimal/spotscale.toml")).context().unwrap();
        let faults =
            if file == "spotscale.toml" { check_settings(&text).faults } else { check_policy(&text, &context).faults };
        let fault = faults.iter().find(|fault| fault.key.ends_with("zzzzzzzz")).unwrap();
        let (_, keys) = fault.remedy.split_once(" are ").unwrap();
        keys.split(", ").map(str::to_owned).collect()
    };
    for (file, heads) in [
        ("spotscale.toml", vec!["", "[http]", "[limits]", "[marketplaces.x]", "[accounts.x]"]),
        (
            "policies/train.toml",
            vec![
                "",
                "[[models]]",
                "[instance]",
                "[hosts]",
                "[spot]",
                "[on_demand]",
                "[replace]",
                "[health]",
                "[disruption]",
                "[hooks]",
                "[[schedule]]",
                "[demand]",
            ],
        ),
    ] {
        for head in heads {
            for key in known(file, head) {
                let table =
                    |start: &str| said(file).lines().any(|line| line.trim_start_matches('[').starts_with(start));
                assert!(table(&key), "{file} {head} lacks {key}");
            }
        }
    }
}
