//! What was done, a JSON line for each action, and whether it could have been done.
//!
//! A log is how somebody else checks our figures: replayed by the same rules over the same trace it gives the same cost
//! and the same delivery. It holds what was accepted; what was refused cost nothing and is not in it.
//!
//! ```text
//! {"k":17,"op":"spot","id":3,"pool":1,"bid":0.08}
//! {"k":17,"op":"on_demand","id":4}
//! {"k":40,"op":"kill","id":3}
//! ```

use super::{
    grid::Market,
    run::{Action, Rules, Run, Tally, VmId, Witness},
};
use crate::model::HourlyRate;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    collections::{
        BTreeMap,
        btree_map::{Entry, VacantEntry},
    },
    fmt::Write as _,
    sync::Arc,
};

/// No more faults of one log are told.
const FAULTS_MAX: usize = 100;

/// A log that is being written, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log(String);

impl Log {
    /// All lines so far.
    pub fn text(&self) -> &str {
        &self.0
    }

    fn write(&mut self, k: usize, action: &Action) {
        // To a text in memory nothing fails.
        let _ = match action {
            Action::Spot { vm, pool, bid } => {
                writeln!(self.0, r#"{{"k":{k},"op":"spot","id":{},"pool":{pool},"bid":{bid}}}"#, vm.0)
            }
            Action::OnDemand { vm } => writeln!(self.0, r#"{{"k":{k},"op":"on_demand","id":{}}}"#, vm.0),
            Action::Kill { vm } => writeln!(self.0, r#"{{"k":{k},"op":"kill","id":{}}}"#, vm.0),
        };
    }
}

impl Witness for Log {
    fn ended(&mut self, k: usize, run: &Run) {
        for action in run.actions() {
            self.write(k, action);
        }
    }
}

/// What is wrong with a line of a log. Who wrote it has another idea of the rules, or of the trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct LogFault {
    /// Counted from 1.
    pub line: usize,
    /// What is amiss.
    pub what: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Spot,
    OnDemand,
    Kill,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLine<'a> {
    k: usize,
    op: Op,
    id: u64,
    pool: Option<usize>,
    #[serde(borrow)]
    bid: Option<&'a RawValue>,
}

/// One line that reads: VMs go by the writer's own ids.
struct Line {
    line: usize,
    k: usize,
    action: Action,
}

fn read(line: usize, text: &str) -> Result<Line, LogFault> {
    let fault = |what: String| LogFault { line, what };
    let RawLine { k, op, id, pool, bid } = serde_json::from_str(text).map_err(|error| fault(error.to_string()))?;
    let vm = VmId(id);
    let action = match (op, pool, bid) {
        (Op::Spot, Some(pool), Some(bid)) => {
            let bid = HourlyRate::from_price_literal(bid.get()).map_err(|error| fault(format!("bid: {error}")))?;
            Action::Spot { vm, pool, bid }
        }
        (Op::Spot, _, _) => return Err(fault("a spot VM needs `pool` and `bid`".to_owned())),
        (Op::OnDemand, None, None) => Action::OnDemand { vm },
        (Op::Kill, None, None) => Action::Kill { vm },
        (Op::OnDemand | Op::Kill, _, _) => return Err(fault("only a spot VM has `pool` and `bid`".to_owned())),
    };
    Ok(Line { line, k, action })
}

/// A log that is being replayed.
struct Replay {
    run: Run,
    /// By the writer's ids, all that were ever launched.
    known: BTreeMap<VmId, VmId>,
}

impl Replay {
    /// Does what a line says in the step that is open.
    fn act(&mut self, line: &Line) -> Result<(), String> {
        let Some(mut desk) = self.run.desk() else { return Err("no step is open".to_owned()) };
        let k = line.k;
        match line.action {
            Action::Kill { vm } => match self.known.get(&vm) {
                None => Err(format!("VM {} was never launched", vm.0)),
                Some(known) => match desk.kill(*known) {
                    Some(_) => Ok(()),
                    None => Err(format!("VM {} is not alive any more at step {k}", vm.0)),
                },
            },
            Action::Spot { vm, pool, bid } => {
                let free = free(&mut self.known, vm)?;
                let refused = |refusal| format!("a VM in pool {pool} at {bid} is refused at step {k}: {refusal}");
                free.insert(desk.spot(pool, bid).map_err(refused)?);
                Ok(())
            }
            Action::OnDemand { vm } => {
                let free = free(&mut self.known, vm)?;
                free.insert(desk.on_demand().map_err(|why| format!("a VM on demand is refused at step {k}: {why}"))?);
                Ok(())
            }
        }
    }
}

/// The place of an id that was not used before.
fn free(known: &mut BTreeMap<VmId, VmId>, vm: VmId) -> Result<VacantEntry<'_, VmId, VmId>, String> {
    match known.entry(vm) {
        Entry::Vacant(free) => Ok(free),
        Entry::Occupied(_) => Err(format!("there was a VM {} before", vm.0)),
    }
}

/// Replays a log over a market. What comes out has every figure of the play but the launches refused, which no log has.
///
/// # Errors
/// Every line that does not read; when all do, every line that the rules do not accept.
pub fn verify(market: Arc<Market>, rules: Rules, text: &str) -> Result<Tally, Vec<LogFault>> {
    let (mut lines, mut faults) = (Vec::new(), Vec::new());
    let (steps, mut last_k) = (market.steps, 0);
    for (number, text) in (1..).zip(text.lines()) {
        let placed = read(number, text).and_then(|line| {
            let fault = |what: String| Err(LogFault { line: number, what });
            if line.k >= steps {
                return fault(format!("step {} of {steps}, counted from 0", line.k));
            }
            if line.k < last_k {
                return fault(format!("step {} comes after step {last_k}", line.k));
            }
            last_k = line.k;
            Ok(line)
        });
        match placed {
            Ok(line) => lines.push(line),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        let mut replay = Replay { run: Run::new(market, rules), known: BTreeMap::new() };
        let mut left = lines.iter().peekable();
        for k in 0..steps {
            replay.run.begin();
            while let Some(line) = left.next_if(|line| line.k == k) {
                if let Err(what) = replay.act(line) {
                    faults.push(LogFault { line: line.line, what });
                }
            }
        }
        replay.run.end();
        if faults.is_empty() {
            return Ok(replay.run.tally().clone());
        }
    }
    faults.truncate(FAULTS_MAX);
    Err(faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::trace::{Billing, grid::tests::market};

    /// One VM wanted for three steps; pool 0 has room for one and gets dear at the last step.
    #[track_caller]
    fn check(log: &str, expected: &str) {
        let market = Arc::new(market(1, "1.00x1", "0.30 0.30 0.50", Some("1 1 1")));
        let said = match verify(market, Rules::of(Billing::Bid), log) {
            Ok(tally) => format!("{} USD, {} launches, {} lost", tally.cost.usd(), tally.launches, tally.preemptions),
            Err(faults) => faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        };
        assert!(said.starts_with(expected), "{said}");
    }

    #[test]
    fn a_log_gives_what_the_play_gave() {
        check("", "0.00 USD, 0 launches, 0 lost");
        check("{\"k\":0,\"op\":\"spot\",\"id\":7,\"pool\":0,\"bid\":0.4}\n", "0.40 USD, 1 launches, 1 lost");
        let log = "{\"k\":0,\"op\":\"on_demand\",\"id\":3}\n{\"k\":1,\"op\":\"kill\",\"id\":3}\n";
        check(log, "0.50 USD, 1 launches, 0 lost");
    }

    #[test]
    fn what_the_rules_do_not_accept_is_said_with_its_line() {
        let spot = |k: u32, id: u32, bid: &str| {
            format!("{{\"k\":{k},\"op\":\"spot\",\"id\":{id},\"pool\":0,\"bid\":{bid}}}\n")
        };
        let kill = |k: u32, id: u32| format!("{{\"k\":{k},\"op\":\"kill\",\"id\":{id}}}\n");
        let low = "line 1: a VM in pool 0 at 0.20 is refused at step 0: below_price";
        check(&spot(0, 1, "0.2"), low);
        let full = "line 2: a VM in pool 0 at 0.40 is refused at step 0: no_room";
        check(&(spot(0, 1, "0.3") + &spot(0, 2, "0.4")), full);
        check(&(spot(0, 1, "0.3") + &kill(2, 1)), "line 2: VM 1 is not alive any more at step 2");
        check(&(spot(0, 1, "0.3") + &kill(0, 1) + &spot(0, 1, "0.3")), "line 3: there was a VM 1 before");
        let both = "line 1: VM 9 was never launched; line 2: VM 8 was never launched";
        check(&(kill(0, 9) + &kill(0, 8)), both);
    }

    #[test]
    fn what_does_not_read_is_said_with_its_line() {
        check(
            "{\"k\":0,\"op\":\"sleep\",\"id\":1}",
            "line 1: unknown variant `sleep`, expected one of `spot`, `on_demand`",
        );
        check("{\"k\":0,\"op\":\"spot\",\"id\":1}", "line 1: a spot VM needs `pool` and `bid`");
        check("{\"k\":0,\"op\":\"kill\",\"id\":1,\"pool\":0}", "line 1: only a spot VM has `pool` and `bid`");
        check("{\"k\":3,\"op\":\"on_demand\",\"id\":1}", "line 1: step 3 of 3, counted from 0");
        let back = "{\"k\":1,\"op\":\"on_demand\",\"id\":1}\n{\"k\":0,\"op\":\"on_demand\",\"id\":2}";
        check(back, "line 2: step 0 comes after step 1");
        check("{\"k\":0,\"op\":\"spot\",\"id\":1,\"pool\":0,\"bid\":-1}", "line 1: bid: `-1` is negative");
    }
}
