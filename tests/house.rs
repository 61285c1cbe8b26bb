//! The house rules that a compiler does not hold: who may use whom, how long a file may grow, what must not be in it.
//!
//! The floor plan itself stands in the crate docs (`src/lib.rs`), where a newcomer reads it; here it is read from there
//! and held against every path in the sources, so that plan and house cannot drift apart.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A file that is longer holds two nouns.
const FILE_LINES_MAX: usize = 750;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder, but for what git ignores and keeps.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && ![".git", "target", "__pycache__"].contains(&name.as_str()) {
            found.extend(files(&path));
        } else if path.is_file() && name != ".git" {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources(folder: &str) -> Vec<(String, String)> {
    files(&root().join(folder))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| (path.strip_prefix(root()).unwrap().to_string_lossy().into_owned(), read(&path)))
        .collect()
}

/// All that is written in Rust.
fn everywhere() -> Vec<(String, String)> {
    ["src", "tests", "benches"].into_iter().flat_map(sources).collect()
}

/// Where a room is: its floor counted from the cellar, and its flat on that floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot {
    floor: usize,
    flat: usize,
}

/// The floor plan of the crate docs: one line a floor, `|` between flats, `,` between the rooms of one flat.
fn floor_plan() -> BTreeMap<String, Spot> {
    const FLOORS: [&str; 7] = ["cellar", "library", "archive", "study", "workshop", "gallery", "roof"];
    let docs = read(&root().join("src/lib.rs"));
    let mut rooms = BTreeMap::new();
    for (floor, name) in FLOORS.iter().enumerate() {
        let line = docs
            .lines()
            .filter_map(|line| line.strip_prefix("//! "))
            .find(|line| line.split_whitespace().next() == Some(name))
            .unwrap_or_else(|| panic!("the crate docs show no {name}"));
        for (flat, residents) in line.trim_start_matches(name).split('|').enumerate() {
            for room in residents.split(',') {
                let room = room.split_whitespace().next().unwrap_or_else(|| panic!("{name} has an empty flat"));
                rooms.insert(room.to_owned(), Spot { floor, flat });
            }
        }
    }
    rooms
}

/// The code without comments, texts and characters: what is left is what compiles to something.
fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            text_length(rest)
        } else if let Some(hashes) = raw_text(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = 2 + hashes;
            rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len())
        } else if first == '\'' {
            character_length(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            if first.is_alphanumeric() || first == '_' {
                let word = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
                code.push_str(&rest[..word]);
                rest = &rest[word..];
            }
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

fn text_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `r"`, `r#"`, …: how many hashes.
fn raw_text(rest: &str) -> Option<usize> {
    let tail = rest.strip_prefix('r')?;
    let hashes = tail.bytes().take_while(|byte| *byte == b'#').count();
    tail[hashes..].starts_with('"').then_some(hashes)
}

/// A character, or 0 for a lifetime.
fn character_length(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    match (letters.next(), letters.next()) {
        (Some((_, '\\')), Some((after, letter))) => {
            let from = after + letter.len_utf8();
            rest[from..].find('\'').map_or(0, |end| from + end + 1)
        }
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 0,
    }
}

/// The first segments of what follows `crate::`: one, or those of a braced group.
fn first_segments(after: &str) -> Vec<String> {
    let after = after.trim_start();
    let identifier = |text: &str| -> String {
        text.trim_start().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    };
    let Some(group) = after.strip_prefix('{') else { return vec![identifier(after)] };
    let (mut depth, mut start, mut segments) = (0usize, 0usize, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                segments.push(identifier(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                segments.push(identifier(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    segments.retain(|segment| !segment.is_empty());
    segments
}

/// Every room that a source names by a path from the crate's root.
fn rooms_named(source: &str) -> Vec<String> {
    let code = code_only(source);
    let mut named = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
            named.extend(first_segments(&code[at + path.len()..]));
        }
    }
    named
}

/// How many modules deep a file is: `src/plan/mod.rs` 1, `src/plan/grow.rs` 2.
fn depth(file: &str) -> usize {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
    inner.trim_end_matches("/mod").split('/').count()
}

/// The longest chain of `super::` outside nested modules' own reach.
fn climbs(source: &str) -> usize {
    let code = code_only(source);
    let mut longest = 0;
    let mut rest = code.as_str();
    while let Some(at) = rest.find("super::") {
        rest = &rest[at..];
        let mut chain = 0;
        while let Some(tail) = rest.strip_prefix("super::") {
            (rest, chain) = (tail, chain + 1);
        }
        longest = longest.max(chain);
    }
    longest
}

fn room_of(file: &str) -> Option<&str> {
    let inner = file.strip_prefix("src/")?.trim_end_matches(".rs");
    let room = inner.split('/').next()?;
    (!["lib", "main"].contains(&room)).then_some(room)
}

fn may_use(from: Spot, to: Spot) -> bool {
    to.floor < from.floor || to == from
}

/// Where these sources use rooms that they may not, or stand in no room.
fn trespasses(sources: &[(String, String)]) -> Vec<String> {
    let plan = floor_plan();
    let mut wrong = Vec::new();
    for (file, source) in sources {
        let Some(room) = room_of(file) else { continue };
        let Some(here) = plan.get(room) else {
            wrong.push(format!("{file}: `{room}` has no place in the floor plan"));
            continue;
        };
        for named in rooms_named(source) {
            // A macro of ours lives where the crate's root shows it: in the cellar.
            if named == "labels" {
                continue;
            }
            match plan.get(&named) {
                Some(there) if may_use(*here, *there) => {}
                Some(_) => wrong.push(format!("{file}: {room} may not use {named}")),
                None => wrong.push(format!("{file}: crate::{named} is no room")),
            }
        }
        if climbs(source) > depth(file) {
            wrong.push(format!("{file}: a `super::` climbs out of {room}; say `crate::`"));
        }
    }
    wrong.dedup();
    wrong
}

#[test]
fn every_room_uses_only_rooms_on_floors_below() {
    let wrong = trespasses(&sources("src"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn whoever_uses_a_room_above_or_beside_is_found() {
    let check = |file: &str, source: &str, expected: &[&str]| {
        let wrong = trespasses(&[(file.to_owned(), source.to_owned())]);
        assert_eq!(wrong, expected, "{file}: {source}");
    };
    check("src/plan/grow.rs", "use crate::{ledger::Fleet, model::Usd, plan::Score};", &[]);
    check("src/main.rs", "use crate::plan; use crate::cli;", &[]);
    check("src/plan/grow.rs", "use crate::engine::Status;", &["src/plan/grow.rs: plan may not use engine"]);
    check("src/plan/grow.rs", "fn f(x: crate::market::Order) {}", &["src/plan/grow.rs: plan may not use market"]);
    check("src/admin/page.rs", "use crate::{model, sim::World};", &["src/admin/page.rs: admin may not use sim"]);
    check("src/metrics.rs", "use crate::io::clock;", &["src/metrics.rs: metrics may not use io"]);
    check("src/model/gpu.rs", "use crate::policy;", &["src/model/gpu.rs: model may not use policy"]);
    check("src/engine/tick.rs", "use crate::util::x;", &["src/engine/tick.rs: crate::util is no room"]);
    check("src/util.rs", "", &["src/util.rs: `util` has no place in the floor plan"]);
    let climbs = "src/plan/grow.rs: a `super::` climbs out of plan; say `crate::`";
    check("src/plan/grow.rs", "use super::super::super::engine::Status;", &[climbs]);
}

#[test]
fn the_floor_plan_separates_who_must_not_meet() {
    let plan = floor_plan();
    let may = |from: &str, to: &str| may_use(plan[from], plan[to]);
    for (one, other) in [("admin", "sim"), ("plan", "market"), ("metrics", "io"), ("policy", "io")] {
        assert!(!may(one, other) && !may(other, one), "{one} and {other}");
    }
    for (above, below) in [
        ("cli", "admin"),
        ("cli", "sim"),
        ("admin", "engine"),
        ("sim", "market"),
        ("sim", "engine"),
        ("engine", "plan"),
        ("engine", "market"),
        ("plan", "ledger"),
        ("plan", "policy"),
        ("ledger", "io"),
        ("policy", "model"),
    ] {
        assert!(may(above, below) && !may(below, above), "{above} and {below}");
    }
    for (folder, _) in plan.iter().filter(|(room, _)| *room != "metrics") {
        assert!(root().join("src").join(folder).is_dir(), "{folder} is in the floor plan and not in src");
    }
}

#[test]
fn paths_are_found_however_they_are_written() {
    let check = |source: &str, expected: &str| assert_eq!(rooms_named(source).join(" "), expected, "{source}");
    check("use crate::plan;", "plan");
    check("use crate::{\n    model::{A, b::{C, D}},\n    plan, /* no */ settings::Limits,\n};", "model plan settings");
    check("fn f(x: crate::engine::Status) -> $crate::model::Usd {}", "engine model");
    check("// crate::plan\n/// [`crate::admin`]\n/* crate::cli */", "");
    check("let text = \"crate::plan \\\" crate::cli\"; crate::io::f('\"', '\\'')", "io");
    check("let raw = r#\"crate::plan \"crate::cli\"\"#; &'a crate::io::X", "io");
    check("pub(crate) fn f() { mycrate::plan() }", "");
    assert_eq!(climbs("use super::super::x; super::y()"), 2);
    assert_eq!((depth("src/plan/mod.rs"), depth("src/plan/grow.rs"), depth("src/metrics.rs")), (1, 2, 1));
}

#[test]
fn every_source_opens_with_a_paragraph_for_a_newcomer() {
    for (file, source) in everywhere() {
        assert!(source.starts_with("//! "), "{file} has no module docs");
    }
}

#[test]
fn no_source_holds_two_nouns() {
    for (file, source) in everywhere() {
        let lines = source.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{file} has {lines} lines; split it where its two nouns meet");
    }
}

/// The code of a file that is built into the daemon: without its tests at the foot.
fn daemon_code(source: &str) -> String {
    let code = code_only(source);
    let opens_tests = |at: &usize| {
        let declared = code[*at..].lines().nth(1).unwrap_or_default();
        declared.contains("mod ") && declared.ends_with('{')
    };
    let tests = code.match_indices("#[cfg(test)]").map(|(at, _)| at).find(opens_tests).unwrap_or(code.len());
    code[..tests].to_owned()
}

/// The files that are built only for tests: their parents declare them `#[cfg(test)] mod name;`.
fn test_files() -> Vec<String> {
    let mut stems = Vec::new();
    for (_, source) in sources("src") {
        let code = code_only(&source);
        for (at, _) in code.match_indices("#[cfg(test)]") {
            let declared = code[at..].lines().nth(1).unwrap_or_default();
            let name = declared.split("mod ").nth(1).and_then(|tail| tail.strip_suffix(';'));
            stems.extend(name.map(str::to_owned));
        }
    }
    stems
}

#[test]
fn nothing_unwraps_outside_tests() {
    let tests = test_files();
    for (file, source) in sources("src") {
        let stem = Path::new(&file).file_stem().unwrap().to_string_lossy().into_owned();
        let unwraps = daemon_code(&source).contains(".unwrap()");
        assert!(!unwraps || tests.contains(&stem), "{file} unwraps; say why it cannot fail");
    }
}

#[test]
fn the_lints_forbid_ambient_time_environment_and_randomness() {
    let lints = read(&root().join("clippy.toml"));
    for banned in [
        "std::time::SystemTime::now",
        "std::time::Instant::now",
        "std::time::SystemTime::elapsed",
        "std::time::Instant::elapsed",
        "tokio::time::Instant::now",
        "jiff::Timestamp::now",
        "jiff::Zoned::now",
        "std::env::var",
        "std::env::var_os",
        "std::env::vars",
        "std::env::vars_os",
        "getrandom::fill",
    ] {
        assert!(lints.contains(&format!("path = \"{banned}\"")), "clippy.toml does not ban {banned}");
    }
    let manifest = read(&root().join("Cargo.toml"));
    for rule in ["disallowed_methods = \"deny\"", "unwrap_used = \"warn\"", "unsafe_code = \"forbid\"", "missing_docs"]
    {
        assert!(manifest.contains(rule), "Cargo.toml does not say {rule}");
    }
}

/// Whether a source lets in what the lints keep out, and is neither a door nor the roof.
fn is_wrongly_excused(file: &str, source: &str) -> bool {
    let lints = ["clippy::disallowed_methods", "clippy::style", "clippy::all", "warnings"];
    let code = code_only(source);
    let excuses = ["allow(", "expect("].iter().flat_map(|word| code.split(word).skip(1));
    let excused = excuses.filter_map(|tail| tail.split(')').next()).flat_map(|list| list.split(','));
    let is_door = matches!(room_of(file), Some("io" | "cli"));
    excused.map(str::trim).any(|lint| lints.contains(&lint)) && !is_door
}

#[test]
fn only_the_doors_and_the_roof_are_excused_from_them() {
    for (file, source) in sources("src") {
        assert!(!is_wrongly_excused(&file, &source), "{file} lets time, environment or randomness in");
    }
}

#[test]
fn an_excuse_is_found_however_it_is_written() {
    let check = |file: &str, source: &str, expected: bool| {
        assert_eq!(is_wrongly_excused(file, source), expected, "{file}: {source}");
    };
    check("src/plan/grow.rs", "#[expect(clippy::disallowed_methods, reason = \"because\")]", true);
    check("src/engine/mod.rs", "#![allow(dead_code, clippy::disallowed_methods)]", true);
    check("src/sim/mod.rs", "#![allow(clippy::all)]", true);
    check("src/io/clock.rs", "#[expect(clippy::disallowed_methods, reason = \"this is the door\")]", false);
    check("src/plan/grow.rs", "// allow(clippy::all)\nmatch x { y => z.expect(\"why\") }", false);
}

#[test]
fn nothing_in_the_repository_names_a_machine_of_its_makers() {
    let forbidden = [
        concat!("/wo", "rk/"),
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("npmjs", ".org"),
        concat!("deb.", "debian", ".org"),
        concat!("proxy.", "golang", ".org"),
    ];
    for path in files(root()) {
        // The lock file names the registry by its index; nobody writes it by hand.
        if path.ends_with("Cargo.lock") {
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        for word in forbidden {
            assert!(!text.contains(word), "{} names {word}", path.display());
        }
    }
}
