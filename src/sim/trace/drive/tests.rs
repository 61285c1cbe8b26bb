//! Markets that are played through the protocol and directly, and everything that the other side can say wrongly.

use super::{
    super::{
        engine::tests::market,
        grid::Market,
        log::Log,
        run::{Desk, Run, VmId, Witness, play_before},
    },
    *,
};
use serde_json::{Value, json};
use std::{
    io::{BufReader, PipeReader, PipeWriter, pipe},
    sync::Arc,
    thread,
};

/// What the other side says first of a market.
fn described(market: &Market, rules: Rules) -> Value {
    let pool = |pool: &Pool| {
        json!({"zone": "z0", "instance_type": "hidden", "gpu_model": "gpu", "gpu_count": pool.gpu_count,
               "on_demand_price_per_hr": pool.on_demand.to_f64()})
    };
    json!({"type": "start", "billing": rules.billing.as_str(), "dt": market.dt_s, "delay_steps": rules.delay_steps,
           "target_gpus": market.target_gpus, "steps": null, "t0": market.t0_s, "on_demand_pool": market.on_demand_pool(),
           "penalty": 5.0, "pools": market.pools().iter().map(pool).collect::<Vec<_>>()})
}

/// The other side of the protocol: shows a market step by step, and does what it is told.
struct Simulator {
    to: PipeWriter,
    from: BufReader<PipeReader>,
    log: Log,
}

impl Simulator {
    fn say(&mut self, line: &Value) {
        writeln!(self.to, "{line}").unwrap();
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// VMs go by odd names there.
    fn act(desk: &mut Desk<'_>, action: &Value) -> Value {
        let bid = || HourlyRate::from_price_literal(&action["bid"].to_string()).unwrap();
        let pool = || usize::try_from(action["pool"].as_u64().unwrap()).unwrap();
        let made = |id: Result<VmId, _>| match id {
            Ok(VmId(id)) => json!({"ok": true, "id": format!("vm/{id}")}),
            Err(_) => json!({"ok": false}),
        };
        match action["op"].as_str().unwrap() {
            "validate" => json!({"ok": Desk::validate(desk, pool(), bid()).is_ok()}),
            "spot" => made(desk.spot(pool(), bid())),
            "on_demand" => made(desk.on_demand()),
            "kill" => {
                let id = action["id"].as_str().unwrap().strip_prefix("vm/").unwrap().parse().unwrap();
                json!({"ok": desk.kill(VmId(id)).is_some()})
            }
            other => panic!("{other}"),
        }
    }

    fn play(mut self, market: &Arc<Market>, rules: Rules) -> Log {
        self.say(&described(market, rules));
        let mut run = Run::new(Arc::clone(market), rules);
        while let Some(mut desk) = run.begin() {
            let prices: Vec<f64> = desk.prices().iter().map(|price| price.to_f64()).collect();
            let outbid: Vec<String> = desk.outbid().iter().map(|VmId(id)| format!("vm/{id}")).collect();
            self.say(&json!({"type": "step", "k": desk.k(), "t": desk.at_s(), "price": prices,
                             "launchable": desk.launchable(), "outbid": outbid}));
            loop {
                let told = self.hear();
                let actions = told["actions"].as_array().cloned().unwrap_or_default();
                let results: Vec<Value> = actions.iter().map(|action| Self::act(&mut desk, action)).collect();
                if told["next"] == true {
                    break;
                }
                self.say(&json!({"type": "results", "results": results}));
            }
            let k = desk.k();
            run.end();
            self.log.ended(k, &run);
        }
        self.say(&json!({"type": "end"}));
        self.log
    }
}

/// What is done to a market through the protocol.
fn driven(market: &Arc<Market>, rules: Rules) -> Log {
    let ((theirs, to), (from, ours)) = (pipe().unwrap(), pipe().unwrap());
    let simulator = Simulator { to, from: BufReader::new(from), log: Log::default() };
    thread::scope(|scope| {
        let driven = scope.spawn(move || {
            let (mut input, mut output) = (BufReader::new(theirs), ours);
            drive(&mut input, &mut output, None, "0.999".parse().unwrap(), &mut |_| {})
        });
        let log = simulator.play(market, rules);
        assert_eq!(driven.join().unwrap(), Ok(()));
        log
    })
}

#[test]
fn a_market_is_played_through_the_protocol_as_it_is_played_here() {
    for (target, pools, prices, capacities) in [
        (2, "1x1 1x1", "0.3 0.3 0.3 0.3|0.2 0.2 3 0.2", None),
        (1, "1x1", "3 3 0.2 0.2 0.2 0.2", None),
        (4, "1x1", "0.2 0.2 0.2 0.2 0.2 0.2", Some("2 2 1 3 0 4")),
        (3, "2x2 1.5x1", "0.5 0.5 0.5 0.5|0.4 0.4 3 0.4", Some("1 1 0 1|2 2 2 2")),
        (4, "8x8 2x1", "0.1 0.1|3 3", None),
    ] {
        let market = Arc::new(market(target, pools, prices, capacities));
        for billing in [Billing::Bid, Billing::Market] {
            let rules = Rules::of(billing);
            let mut ours = Ours::on(&market, rules, None, "0.999".parse().unwrap()).unwrap();
            let mut log = Log::default();
            play_before(Arc::clone(&market), rules, &mut ours, &mut log);
            assert_eq!(driven(&market, rules), log, "{pools} {prices} {capacities:?} {billing}");
        }
    }
}

/// What is told of an input of these lines.
fn told(lines: &[&str]) -> String {
    let input = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let drive = drive(&mut input.as_bytes(), &mut Vec::new(), None, "0.99".parse().unwrap(), &mut |_| {});
    drive.err().map(|error| error.to_string()).unwrap_or_default()
}

fn a_start() -> String {
    described(&market(1, "1x1 2x1", "0.2|0.3", None), Rules::of(Billing::Bid)).to_string()
}

#[track_caller]
fn check(lines: &[&str], expected: &str) {
    let told = told(lines);
    assert!(told.starts_with(expected), "{lines:?}: {told}");
}

#[test]
fn what_is_no_protocol_is_told_with_its_line() {
    let start = a_start();
    let start = start.as_str();
    check(&[start, r#"{"type":"end"}"#], "");
    check(&[], "line 1 of the input: the input ends here");
    check(&["{"], "line 1 of the input: it is not a JSON object");
    check(&["[]"], "line 1 of the input: it is not a JSON object");
    check(&["{}"], "line 1 of the input: it has no `type`");
    check(&[r#"{"type":"stop"}"#], "line 1 of the input: unknown type `stop`");
    check(&[r#"{"type":"end"}"#], "line 1 of the input: a start is expected first");
    check(&[start], "line 2 of the input: the input ends here");
    check(&[start, start], "line 2 of the input: a step or the end is expected");
    check(&[start, r#"{"type":"results","results":[]}"#], "line 2 of the input: a step or the end is expected");
}

#[test]
fn all_that_is_wrong_with_a_start_is_told_at_once() {
    let all =
        told(&[r#"{"type":"start","billing":"barter","dt":0,"delay_steps":-1,"target_gpus":0,"t0":"NaN","pools":[
        {"gpu_count":0,"on_demand_price_per_hr":1e999}],"on_demand_pool":7}"#
            .replace('\n', " ")
            .as_str()]);
    for member in
        ["billing", "dt", "delay_steps", "target_gpus", "t0", "gpu_count", "on_demand_price_per_hr", "on_demand_pool"]
    {
        assert!(all.contains(&format!("{member}: ")), "{member}: {all}");
    }
    let none = a_start().replace("\"pools\":[", "\"pools\":[],\"were\":[");
    check(&[&none], "line 1 of the input: pools: it has 0 pools");
    let most = a_start().replace("\"target_gpus\":1", "\"target_gpus\":20000");
    assert!(told(&[&most]).contains("target_gpus"), "{}", told(&[&most]));
}

#[test]
fn all_that_is_wrong_with_a_step_is_told_at_once() {
    let start = a_start();
    let step = |text: &str| told(&[start.as_str(), text]);
    let whole = r#"{"type":"step","k":0,"t":0,"price":[0.2,0.3],"launchable":[true,true],"outbid":[]}"#;
    assert!(step(whole).starts_with("line 3 of the input: the input ends here"), "{}", step(whole));
    for (was, is, told) in [
        ("[0.2,0.3]", "[0.2]", "price: it has 1 values; one for each of the 2 pools is expected"),
        ("[0.2,0.3]", "[0.2,NaN]", "it is not a JSON object"),
        ("[0.2,0.3]", "[0.2,1e400]", "price: [1] "),
        ("[0.2,0.3]", "[0.2,-1]", "price: [1] `-1` is negative"),
        ("[0.2,0.3]", "[0.2,null]", "price: [1] "),
        ("[true,true]", "[true,7]", "launchable: [1] it is neither true nor false"),
        ("[]", "[4]", "outbid: no VM 4 was launched"),
        ("\"k\":0", "\"k\":-3", "k: "),
        ("\"t\":0,", "", "t: it is missing"),
    ] {
        let said = step(&whole.replace(was, is));
        assert!(said.starts_with(&format!("line 2 of the input: {told}")), "{is}: {said}");
    }
    let many = step(r#"{"type":"step","k":0,"price":[],"launchable":[],"outbid":0}"#);
    assert!(["t: ", "price: ", "launchable: ", "outbid: "].iter().all(|member| many.contains(member)), "{many}");
}

#[test]
fn results_are_held_to_the_one_action_that_was_asked_for() {
    let start = a_start();
    let step = r#"{"type":"step","k":0,"t":0,"price":[0.2,0.3],"launchable":[true,true],"outbid":[]}"#;
    let after = |lines: &[&str]| told(&[&[start.as_str(), step], lines].concat());
    let launched = r#"{"type":"results","results":[{"ok":true,"id":9}]}"#;
    let end = r#"{"type":"end"}"#;
    // After a launch there may be room for another one or not.
    let open = r#"{"type":"results","results":[{"ok":true}]}"#;
    assert_eq!(after(&[launched, open, end]), "");
    for (line, told) in [
        (end, "the results of the actions are expected"),
        (r#"{"type":"results","results":[]}"#, "it has 0 results"),
        (r#"{"type":"results","results":[{"ok":true,"id":1},{"ok":true,"id":2}]}"#, "it has 2 results"),
        (r#"{"type":"results","results":[{}]}"#, "results[0]: it does not say `ok`"),
        (r#"{"type":"results","results":[{"ok":true}]}"#, "results[0]: it has no `id`"),
    ] {
        let said = after(&[line, end]);
        assert!(said.starts_with(&format!("line 3 of the input: {told}")), "{line}: {said}");
    }
    let next = step.replace("\"k\":0", "\"k\":5");
    assert_eq!(after(&[launched, open, &next]), "line 5 of the input: k: it is 5; step 1 is expected");
}
