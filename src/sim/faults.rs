//! What goes wrong between a client and a marketplace.
//!
//! [`Faults`] only says *which* thing goes wrong with a call; making it go wrong is the [`Market`](super::Market)'s. Each
//! kind of call draws from a generator of its own, so that more reads do not change what happens to the deploys. A test
//! that wants a certain fault at a certain call scripts it.

use super::seed::{Dice, Seed};
use crate::market::Call;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// At most so many scripted faults wait for one kind of call.
const SCRIPT_MAX: usize = 1_000;

labels! {
    /// How bad the weather is.
    pub enum Severity {
        /// All goes well.
        None = "none",
        /// About one call in twenty has something.
        Mild = "mild",
        /// About one call in three has something.
        Hostile = "hostile",
    }
}

/// Whether a call had its effect before something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effected {
    /// It had.
    Yes,
    /// It had not.
    No,
}

/// Something that goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing does.
    None,
    /// The connection is dropped before anything happens.
    LostRequest,
    /// It happens, and the connection is dropped without an answer.
    LostAnswer,
    /// It happens, and the connection is dropped in the middle of the answer.
    CutAnswer,
    /// 500.
    ServerError(Effected),
    /// A page of HTML with 200, as the older API was seen to send.
    Html(Effected),
    /// It happens, and half of the JSON comes, as if it were whole.
    HalfJson,
    /// 429, and nothing happens.
    Throttled,
    /// A list with nothing in it.
    EmptyList,
    /// A list without half of what is there.
    PartialList,
    /// A new VM that shows up in lists only so much later, by the market's clock.
    LateVm(Duration),
    /// A deploy that is refused although its bid was accepted a moment ago.
    Refused,
    /// The answer takes so long, in real time.
    Slow(Duration),
}

impl Fault {
    /// A word for logs and counters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::LostRequest => "lost_request",
            Self::LostAnswer => "lost_answer",
            Self::CutAnswer => "cut_answer",
            Self::ServerError(_) => "server_error",
            Self::Html(_) => "html",
            Self::HalfJson => "half_json",
            Self::Throttled => "throttled",
            Self::EmptyList => "empty_list",
            Self::PartialList => "partial_list",
            Self::LateVm(_) => "late_vm",
            Self::Refused => "refused",
            Self::Slow(_) => "slow",
        }
    }
}

/// How likely each fault is, in parts per million of the calls it can befall.
struct Odds {
    lost_request: u64,
    lost_answer: u64,
    cut_answer: u64,
    server_error: u64,
    html: u64,
    half_json: u64,
    throttled: u64,
    slow: u64,
    slow_ms_max: u64,
    empty_list: u64,
    partial_list: u64,
    late_vm: u64,
    late_s_max: u64,
    refused: u64,
}

const MILD: Odds = Odds {
    lost_request: 5_000,
    lost_answer: 5_000,
    cut_answer: 2_000,
    server_error: 8_000,
    html: 2_000,
    half_json: 2_000,
    throttled: 8_000,
    slow: 10_000,
    slow_ms_max: 1_500,
    empty_list: 2_000,
    partial_list: 4_000,
    late_vm: 30_000,
    late_s_max: 120,
    refused: 20_000,
};

const HOSTILE: Odds = Odds {
    lost_request: 40_000,
    lost_answer: 50_000,
    cut_answer: 20_000,
    server_error: 60_000,
    html: 20_000,
    half_json: 20_000,
    throttled: 50_000,
    slow: 40_000,
    slow_ms_max: 4_000,
    empty_list: 20_000,
    partial_list: 40_000,
    late_vm: 150_000,
    late_s_max: 900,
    refused: 80_000,
};

/// Decides what goes wrong.
#[derive(Clone, Debug)]
pub struct Faults {
    severity: Severity,
    seed: Seed,
    dice: BTreeMap<Call, Dice>,
    script: BTreeMap<Call, VecDeque<Fault>>,
    lasting: BTreeMap<Call, Fault>,
}

impl Faults {
    /// From a seed.
    pub const fn new(seed: u64, severity: Severity) -> Self {
        Self { severity, seed: Seed(seed), dice: BTreeMap::new(), script: BTreeMap::new(), lasting: BTreeMap::new() }
    }

    /// Nothing goes wrong, unless it is scripted.
    pub const fn none() -> Self {
        Self::new(0, Severity::None)
    }

    /// Changes the weather from the next call on. What is scripted stays.
    pub const fn set_severity(&mut self, severity: Severity) {
        self.severity = severity;
    }

    /// The next call of that kind that has nothing scripted yet gets this fault; [`Fault::None`] lets one pass.
    pub fn script(&mut self, call: Call, fault: Fault) {
        let queue = self.script.entry(call).or_default();
        if queue.len() < SCRIPT_MAX {
            queue.push_back(fault);
        }
    }

    /// From now on this goes wrong with every call of that kind that has nothing scripted; `None`: no more.
    pub fn last(&mut self, call: Call, fault: Option<Fault>) {
        match fault {
            Some(fault) => drop(self.lasting.insert(call, fault)),
            None => drop(self.lasting.remove(&call)),
        }
    }

    /// What goes wrong with this call. The draws are the same whatever the severity.
    pub fn decide(&mut self, call: Call) -> Fault {
        if let Some(fault) = self.script.get_mut(&call).and_then(VecDeque::pop_front) {
            return fault;
        }
        if let Some(fault) = self.lasting.get(&call) {
            return *fault;
        }
        let seed = self.seed;
        let dice = self.dice.entry(call).or_insert_with(|| seed.dice(&format!("faults/{call}")));
        let (roll, size) = (dice.between(0, 999_999), dice.between(0, 999_999));
        let effected = if dice.chance_ppm(500_000) { Effected::Yes } else { Effected::No };
        match self.severity {
            Severity::None => Fault::None,
            Severity::Mild => MILD.pick(call, roll, size, effected),
            Severity::Hostile => HOSTILE.pick(call, roll, size, effected),
        }
    }
}

impl Odds {
    fn pick(&self, call: Call, roll: u64, size: u64, effected: Effected) -> Fault {
        let Self {
            lost_request,
            lost_answer,
            cut_answer,
            server_error,
            html,
            half_json,
            throttled,
            slow,
            slow_ms_max,
            empty_list,
            partial_list,
            late_vm,
            late_s_max,
            refused,
        } = *self;
        let list = |ppm: u64| if call.is_list() { ppm } else { 0 };
        let deploy = |ppm: u64| if call == Call::Deploy { ppm } else { 0 };
        let share = |most: u64| most * size / 1_000_000 + 1;
        let mut below = 0;
        [
            (lost_request, Fault::LostRequest),
            (lost_answer, Fault::LostAnswer),
            (cut_answer, Fault::CutAnswer),
            (server_error, Fault::ServerError(effected)),
            (html, Fault::Html(effected)),
            (half_json, Fault::HalfJson),
            (throttled, Fault::Throttled),
            (slow, Fault::Slow(Duration::from_millis(share(slow_ms_max)))),
            (list(empty_list), Fault::EmptyList),
            (list(partial_list), Fault::PartialList),
            (deploy(late_vm), Fault::LateVm(Duration::from_secs(share(late_s_max)))),
            (deploy(refused), Fault::Refused),
        ]
        .into_iter()
        .find(|(ppm, _)| {
            below += ppm;
            roll < below
        })
        .map_or(Fault::None, |(_, fault)| fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn words(severity: Severity, call: Call, calls: usize) -> (BTreeSet<&'static str>, usize) {
        let mut faults = Faults::new(3, severity);
        let drawn: Vec<Fault> = (0..calls).map(|_| faults.decide(call)).collect();
        let bad = drawn.iter().filter(|fault| **fault != Fault::None).count();
        (drawn.into_iter().map(Fault::as_str).collect(), bad)
    }

    #[test]
    fn no_weather_is_no_fault() {
        assert_eq!(words(Severity::None, Call::Deploy, 1_000), (["none"].into(), 0));
    }

    #[test]
    fn every_fault_befalls_the_calls_it_can_befall() {
        let (deploys, bad) = words(Severity::Hostile, Call::Deploy, 4_000);
        assert!(deploys.contains("late_vm") && deploys.contains("refused") && !deploys.contains("empty_list"));
        assert_eq!(deploys.len(), 11);
        assert!((1_500..2_600).contains(&bad), "{bad}");
        let (lists, _) = words(Severity::Hostile, Call::Instances, 4_000);
        assert!(lists.contains("empty_list") && lists.contains("partial_list") && !lists.contains("late_vm"));
        let (_, mild) = words(Severity::Mild, Call::Balance, 4_000);
        assert!((80..280).contains(&mild), "{mild}");
    }

    #[test]
    fn reads_do_not_change_what_happens_to_deploys() {
        let deploys = |reads: usize| -> Vec<Fault> {
            let mut faults = Faults::new(9, Severity::Hostile);
            let mut drawn = Vec::new();
            for _ in 0..50 {
                for _ in 0..reads {
                    faults.decide(Call::Instances);
                }
                drawn.push(faults.decide(Call::Deploy));
            }
            drawn
        };
        assert_eq!(deploys(0), deploys(7));
    }

    #[test]
    fn a_script_comes_first_and_in_order_and_then_what_lasts() {
        let mut faults = Faults::none();
        faults.script(Call::Deploy, Fault::None);
        faults.script(Call::Deploy, Fault::LostAnswer);
        assert_eq!(faults.decide(Call::Instances), Fault::None);
        faults.last(Call::Deploy, Some(Fault::Refused));
        let drawn = [faults.decide(Call::Deploy), faults.decide(Call::Deploy), faults.decide(Call::Deploy)];
        assert_eq!(drawn, [Fault::None, Fault::LostAnswer, Fault::Refused]);
        faults.last(Call::Deploy, None);
        assert_eq!(faults.decide(Call::Deploy), Fault::None);
    }
}
