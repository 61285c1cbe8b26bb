//! The real binary as the policy of somebody else's market, over pipes.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
};

fn spawned(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_spotscale"))
        .args(["simulate", "--drive"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

fn start() -> Value {
    let pool = |zone: &str| {
        json!({"zone": zone, "instance_type": "hidden", "gpu_model": "gpu", "gpu_count": 1,
               "on_demand_price_per_hr": 1.0})
    };
    json!({"type": "start", "billing": "bid", "dt": 300, "delay_steps": 2, "target_gpus": 2, "steps": null,
           "t0": 1_700_000_000, "on_demand_pool": 0, "penalty": 5.0, "pools": [pool("z0"), pool("z1")]})
}

/// One step played to its end: every launch and question is granted. What was done, without questions.
fn step(to: &mut ChildStdin, from: &mut BufReader<ChildStdout>, ids: &mut u64, step: &Value) -> Vec<Value> {
    writeln!(to, "{step}").expect("it reads");
    let mut done = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).expect("it answers");
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: `{line}`"));
        let actions = told["actions"].as_array().cloned().unwrap_or_default();
        let results: Vec<Value> = actions
            .iter()
            .map(|action| match action["op"].as_str() {
                Some("spot" | "on_demand") => {
                    *ids += 1;
                    json!({"ok": true, "id": *ids})
                }
                _ => json!({"ok": true}),
            })
            .collect();
        done.extend(actions.into_iter().filter(|action| action["op"] != "validate"));
        if told["next"] == true {
            return done;
        }
        writeln!(to, "{}", json!({"type": "results", "results": results})).expect("it reads");
    }
}

fn ended(child: Child, to: ChildStdin) -> Output {
    drop(to);
    child.wait_with_output().expect("it ends")
}

#[test]
fn the_binary_plays_a_market_on_its_pipes() {
    let mut child = spawned(&["--delivery", "0.995"]);
    let (mut to, mut from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut ids = 0;
    writeln!(to, "{}", start()).unwrap();
    let mut play = |k: u64, prices: [f64; 2], outbid: &[u64]| {
        let launchable = prices.map(|price| price <= 1.0);
        let message = json!({"type": "step", "k": k, "t": 1_700_000_000 + 300 * k, "price": prices,
                             "launchable": launchable, "outbid": outbid});
        step(&mut to, &mut from, &mut ids, &message)
    };
    let bid = json!({"op": "spot", "pool": 0, "bid": 0.21});
    assert_eq!(play(0, [0.2, 0.3], &[]), [bid.clone(), bid]);
    assert_eq!(play(1, [0.2, 0.3], &[]), Vec::<Value>::new());
    let elsewhere = json!({"op": "spot", "pool": 1, "bid": 0.315});
    assert_eq!(play(2, [4.0, 0.3], &[2, 1]), [elsewhere.clone(), elsewhere]);
    let on_demand = json!({"op": "on_demand"});
    assert_eq!(play(3, [4.0, 4.0], &[4, 3]), [on_demand.clone(), on_demand]);
    writeln!(to, r#"{{"type":"end"}}"#).unwrap();
    let output = ended(child, to);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("target_gpus     = 2") && said.contains("delivery = 0.995"), "{said}");
}

#[test]
fn what_is_no_protocol_ends_it_with_a_line_and_a_code() {
    for (input, code, told) in [
        ("{", 2, "line 1 of the input: it is not a JSON object"),
        ("{\"type\":\"end\"}\n", 2, "line 1 of the input: a start is expected first"),
        (&format!("{}\n", start()), 2, "line 2 of the input: the input ends here"),
        (&format!("{}\n{{\"type\":\"step\",\"k\":0}}\n", start()), 2, "line 2 of the input: t: it is missing"),
    ] {
        let mut child = spawned(&[]);
        let mut to = child.stdin.take().unwrap();
        to.write_all(input.as_bytes()).unwrap();
        let output = ended(child, to);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(told) && !said.contains("panicked"), "{said}");
    }
}
