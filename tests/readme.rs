//! The README, held against the code: its commands parse, and the files it names are there.

use std::{fs, path::Path, process::Command};

/// What stands in the README for something of the reader's, and something that it could be.
const PLACEHOLDERS: [(&str, &str); 7] = [
    ("FLEET", "train"),
    ("F", "train"),
    ("N", "4"),
    ("FILE", "train.toml"),
    ("INSTANCE", "vm-1"),
    ("HOSTNODE", "host-1"),
    ("ID", "vm-1"),
];

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("there is a README")
}

/// What stands between backticks: blocks line by line, and pieces of prose, which may go over a line's end.
fn code(readme: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    for (at, part) in readme.split("```").enumerate() {
        if at % 2 == 1 {
            pieces.extend(part.lines().map(|line| line.trim().to_owned()));
        } else {
            let prose = part.split('`').skip(1).step_by(2);
            pieces.extend(prose.map(|piece| piece.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    pieces
}

/// The arguments of each command line of ours, comments and brackets taken off.
fn command_lines(readme: &str) -> Vec<Vec<String>> {
    let arguments = |piece: &str| {
        let line = piece.strip_prefix("spotscale ").or_else(|| piece.strip_prefix("cargo run -- "))?;
        let line = line.split('#').next().unwrap_or(line).replace(['[', ']'], "");
        let word = |word: &str| {
            let meant = PLACEHOLDERS.iter().find(|(placeholder, _)| *placeholder == word);
            meant.map_or(word, |(_, something)| something).to_owned()
        };
        Some(line.split_whitespace().map(word).collect())
    };
    code(readme).iter().filter_map(|piece| arguments(piece)).collect()
}

#[test]
fn every_command_line_is_understood() {
    let lines = command_lines(&readme());
    assert!(lines.len() > 20, "{lines:?}");
    for line in lines {
        // What clap does not know it refuses before it comes to the help.
        let output = Command::new(env!("CARGO_BIN_EXE_spotscale"))
            .env_clear()
            .args(&line)
            .arg("--help")
            .output()
            .expect("the command starts");
        assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_file_and_folder_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = readme();
    let pictures = readme.split("](").skip(1).filter_map(|link| Some(link.split_once(')')?.0.to_owned()));
    let is_ours = |word: &String| {
        ["config/", "systemd/", "prometheus/", "grafana/", "src/", "docs/", ".ci/", "./.ci/", "LICENSE"]
            .iter()
            .any(|start| word.starts_with(start))
    };
    let words = code(&readme).into_iter().flat_map(|piece| {
        piece.split_whitespace().map(|word| word.trim_start_matches("SPOTSCALE_CONFIG=").to_owned()).collect::<Vec<_>>()
    });
    let named: Vec<String> = words.filter(is_ours).chain(pictures).collect();
    assert!(named.len() > 10, "{named:?}");
    for file in named {
        assert!(root.join(&file).exists(), "{file}");
    }
}

#[test]
fn commands_are_found_in_blocks_and_in_prose() {
    let text =
        "Say `spotscale evacuate\n--all` or\n```sh\nspotscale plan --policy FILE # see\nls\n```\n`target FLEET N`";
    assert_eq!(command_lines(text), [vec!["evacuate", "--all"], vec!["plan", "--policy", "train.toml"]]);
}
