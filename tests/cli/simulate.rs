//! `simulate --trace` and `--suite` on a folder of traces that fits on a sheet of paper.

use super::spotscale;
use serde_json::Value;
use std::{fs, io::Write as _, path::Path};
use tempfile::TempDir;

/// Two GPUs for half an hour, in two pools of one-GPU VMs at 1.00 USD/h on demand.
const TRACE: &str = r#"{"name": "NAME", "class": "bid-gpu", "t0": 600, "dt": 300, "steps": 6, "target_gpus": 2,
    "price_file": "NAME.csv.gz", "avail_file": null, "pools": [
    {"zone": "x", "instance_type": "t", "gpu_model": "M", "gpu_count": 1, "on_demand_price_per_hr": 1.00},
    {"zone": "y", "instance_type": "t", "gpu_model": "M", "gpu_count": 1, "on_demand_price_per_hr": 1.00}]}"#;
const HEADER: &str = "timestamp_s,zone,instance_type,gpu_model,gpu_count,spot_price_per_hr,on_demand_price_per_hr\n";

/// A folder with a trace of each name and its rows below the header.
fn traces(tables: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let traces: Vec<String> = tables.iter().map(|(name, _)| TRACE.replace("NAME", name)).collect();
    fs::write(folder.path().join("manifest.json"), format!(r#"{{"format": 1, "traces": [{}]}}"#, traces.join(",")))
        .unwrap();
    for (name, rows) in tables {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all((HEADER.to_owned() + rows).as_bytes()).unwrap();
        fs::write(folder.path().join(format!("{name}.csv.gz")), packer.finish().unwrap()).unwrap();
    }
    folder
}

const CALM: &str = "600,x,t,M,1,0.20,1.00\n600,y,t,M,1,0.40,1.00\n";
const ROUGH: &str = "600,x,t,M,1,0.20,1.00\n600,y,t,M,1,0.40,1.00\n1500,x,t,M,1,3.00,1.00\n1800,x,t,M,1,0.20,1.00\n";

/// What stands on stdout when all goes well.
#[track_caller]
fn said(folder: &Path, line: &str) -> String {
    let output = spotscale(folder, line).current_dir(folder).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    assert!(output.status.success(), "{line}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_trace_is_played_with_what_is_played_said_first_and_its_figures_below() {
    let folder = traces(&[("calm", CALM), ("rough", ROUGH)]);
    let said = |line: &str| said(folder.path(), line);
    let told = said("simulate --trace {dir}/calm");
    let first = "calm (bid-gpu): 30m from 1970-01-01T00:10:00Z, 6 steps of 5m, a target of 2 GPUs, from\n    \
                 x  t  1 x M  1 USD/h on demand\n    y  t  1 x M  1 USD/h on demand\n#";
    assert!(told.starts_with(first), "{told}");
    for figure in ["cost ", "useful ", "delivered ", "preemptions ", "bound ", "score ", "cpu_ratio ", "od_ratio "] {
        assert_eq!(told.lines().filter(|line| line.starts_with(figure)).count(), 1, "{figure}: {told}");
    }
    assert!(told.ends_with("a spot VM pays its bid\n"), "{told}");
    let told = said("simulate --trace {dir} --billing market");
    assert!(
        told.contains("\ncalm  ") && told.contains("\nrough  ") && told.contains("\nover 2 traces: score "),
        "{told}"
    );

    let document: Value = serde_json::from_str(&said("simulate --trace {dir} --json")).unwrap();
    assert_eq!(document["billing"], "bid");
    let calm = &document["traces"][0];
    assert_eq!((&calm["trace"], &calm["steps"], &calm["target_gpus"]), (&"calm".into(), &6.into(), &2.into()));
    // Two VMs at 0.20 for half an hour.
    assert_eq!(calm["metrics"]["bound"], 0.2);
    for figure in ["cost", "cpu", "delivered", "score", "cpu_ratio", "od_ratio", "over_cost", "at_target"] {
        assert!(calm["metrics"][figure].is_number(), "{figure}: {calm}");
    }
    assert!(document["summary"]["score"]["worst"].is_number());
}

#[test]
fn the_log_of_a_play_is_valid_and_the_picture_is_one() {
    let folder = traces(&[("rough", ROUGH)]);
    let document = said(folder.path(), "simulate --trace {dir}/rough --log {dir}/log --picture {dir}/p.svg --json");
    let document: Value = serde_json::from_str(&document).unwrap();
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    let traces = spotscale::sim::trace::load::folder(folder.path(), spotscale::sim::trace::Chosen::All).unwrap();
    let market = std::sync::Arc::new(spotscale::sim::trace::Market::new(&traces[0]));
    let rules = spotscale::sim::trace::Rules::of(spotscale::sim::trace::Billing::Bid);
    let tally = spotscale::sim::trace::log::verify(market, rules, &log).unwrap();
    let figure = |name: &str| document["traces"][0]["metrics"][name].clone();
    assert_eq!(figure("cost"), tally.cost.to_f64());
    assert_eq!(figure("launches"), tally.launches);
    assert_eq!(figure("preemptions"), tally.preemptions);
    assert!(fs::read_to_string(folder.path().join("p.svg")).unwrap().contains("rough, played by"));
}

#[test]
fn the_suite_sets_every_policy_beside_the_others() {
    let folder = traces(&[("calm", CALM), ("rough", ROUGH)]);
    let told = said(folder.path(), "simulate --suite {dir}");
    let header = told.lines().find(|line| line.starts_with("TRACE")).unwrap();
    for policy in
        ["on-demand", "lowest-price", "price-capacity", "diversified", "spothedge", "autospotting", "quantile"]
    {
        assert!(header.contains(policy), "{header}");
        let row = format!("all        2  {policy} ");
        assert!(told.lines().any(|line| line.starts_with(&row)), "{policy}: {told}");
    }
    // On demand 1.00 USD are paid where 0.20 would have done.
    let document: Value = serde_json::from_str(&said(folder.path(), "simulate --suite {dir} --json")).unwrap();
    assert_eq!(document["traces"][0]["by_policy"]["on-demand"]["score"], 5.0);
    assert_eq!(document["policies"].as_array().unwrap().len(), 8);
    assert!(document["summaries"].as_array().unwrap().iter().all(|summary| summary["over"] == "all"), "of one class");
}

#[test]
fn what_is_wrong_with_a_folder_is_said_all_at_once_and_nothing_is_played() {
    let folder = traces(&[("calm", &CALM.replace("0.20", "cheap")), ("rough", &ROUGH.replace("1500,x", "noon,x"))]);
    let check = |line: &str, code: i32, expected: &str| {
        let output = spotscale(folder.path(), line).current_dir(folder.path()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).replace(folder.path().to_str().unwrap(), "{dir}");
        assert_eq!((stderr.as_str(), output.status.code()), (expected, Some(code)), "{line}");
        assert!(output.stdout.is_empty(), "{line}");
    };
    let rows = "{dir}/calm.csv.gz:2: spot_price_per_hr: `cheap` is not a decimal number\n\
                {dir}/rough.csv.gz:4: timestamp_s: `noon` is not a whole number in range\n\
                error: 2 faults, see above\n";
    check("simulate --trace {dir}", 2, rows);
    check("simulate --suite {dir}", 2, rows);
    let none = "{dir}/manifest.json: it has no trace `calmer`, only calm, rough\nerror: 1 fault, see above\n";
    check("simulate --trace {dir}/calmer", 2, none);
    let nowhere = "error: there is no trace elsewhere: neither it nor traces has a manifest.json; name a folder of traces, \
                   or FOLDER/NAME\n";
    check("simulate --trace elsewhere", 2, nowhere);
    fs::write(folder.path().join("manifest.json"), r#"{"format": 1, "traces": [{"name": "calm"}]}"#).unwrap();
    let broken = "{dir}/manifest.json: missing field `class` at line 1 column 41\nerror: 1 fault, see above\n";
    check("simulate --suite {dir}", 2, broken);
    fs::write(folder.path().join("manifest.json"), r#"{"format": 1, "traces": []}"#).unwrap();
    check("simulate --trace {dir}", 2, "{dir}/manifest.json: it lists no trace\nerror: 1 fault, see above\n");
}

#[test]
fn a_log_and_a_picture_are_of_one_trace() {
    let folder = traces(&[("calm", CALM), ("rough", ROUGH)]);
    let output = spotscale(folder.path(), "simulate --trace {dir} --picture {dir}/p.svg").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).replace(folder.path().to_str().unwrap(), "{dir}");
    assert_eq!(stderr, "error: --log and --picture are of one trace, and {dir} has 2; name one: {dir}/NAME\n");
    assert_eq!(output.status.code(), Some(2));
}
