//! What goes wrong between a client and a marketplace.
//!
//! [`Faults`] only says *which* thing goes wrong with a call; making it go wrong is the [`Market`](super::Market)'s. Each
//! kind of call draws from a generator of its own, so that more reads do not change what happens to the deploys; how often
//! what happens stands in [`Knobs`]. A test that wants a certain fault at a certain call scripts it.
//!
//! What is odd about a call's effect, beside what becomes of its answer, is a [`Twist`].

use super::{
    knobs::Knobs,
    seed::{Dice, Seed},
    twist::{LieDice, Twist, up_to},
};
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
    /// A list as it was so long ago.
    StaleList(Duration),
    /// VMs whose states are told in words that nobody knows.
    OtherWords,
    /// No answer; it happens so much later.
    LateEffect(Duration),
    /// 200, and bytes that mean nothing.
    Garbage(Effected),
    /// 502 and a page for people, and nothing happens.
    BadGateway,
    /// No answer, and the connection stays open.
    Hang(Effected),
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
            Self::StaleList(_) => "stale_list",
            Self::OtherWords => "other_words",
            Self::LateEffect(_) => "late_effect",
            Self::Garbage(_) => "garbage",
            Self::BadGateway => "bad_gateway",
            Self::Hang(_) => "hang",
            Self::LateVm(_) => "late_vm",
            Self::Refused => "refused",
            Self::Slow(_) => "slow",
        }
    }
}

/// How often what goes wrong on the wire in such weather.
const fn usual(severity: Severity) -> Knobs {
    match severity {
        Severity::None => Knobs::none(),
        Severity::Mild => MILD,
        Severity::Hostile => HOSTILE,
    }
}

/// What [`Faults::new`] has always meant by mild.
const MILD: Knobs = Knobs {
    lost_request_ppm: 5_000,
    lost_answer_ppm: 5_000,
    cut_answer_ppm: 2_000,
    server_error_ppm: 8_000,
    html_ppm: 2_000,
    half_json_ppm: 2_000,
    throttled_ppm: 8_000,
    slow_ppm: 10_000,
    slow_ms_max: 1_500,
    empty_list_ppm: 2_000,
    partial_list_ppm: 4_000,
    late_vm_ppm: 30_000,
    late_vm_s_max: 120,
    refused_ppm: 20_000,
    ..Knobs::none()
};

/// What [`Faults::new`] has always meant by hostile.
const HOSTILE: Knobs = Knobs {
    lost_request_ppm: 40_000,
    lost_answer_ppm: 50_000,
    cut_answer_ppm: 20_000,
    server_error_ppm: 60_000,
    html_ppm: 20_000,
    half_json_ppm: 20_000,
    throttled_ppm: 50_000,
    slow_ppm: 40_000,
    slow_ms_max: 4_000,
    empty_list_ppm: 20_000,
    partial_list_ppm: 40_000,
    late_vm_ppm: 150_000,
    late_vm_s_max: 900,
    refused_ppm: 80_000,
    ..Knobs::none()
};

/// Decides what goes wrong.
#[derive(Clone, Debug)]
pub struct Faults {
    knobs: Knobs,
    seed: Seed,
    dice: BTreeMap<Call, Dice>,
    lies: LieDice,
    script: BTreeMap<Call, VecDeque<Fault>>,
    lasting: BTreeMap<Call, Fault>,
    twists: BTreeMap<Call, VecDeque<Vec<Twist>>>,
}

impl Faults {
    /// From a seed, of the wire alone and as often as is usual in such weather.
    pub const fn new(seed: u64, severity: Severity) -> Self {
        Self::of(seed, usual(severity))
    }

    /// From a seed, as often as these knobs say.
    pub const fn of(seed: u64, knobs: Knobs) -> Self {
        let seed = Seed(seed);
        Self {
            knobs,
            seed,
            dice: BTreeMap::new(),
            lies: LieDice::new(seed),
            script: BTreeMap::new(),
            lasting: BTreeMap::new(),
            twists: BTreeMap::new(),
        }
    }

    /// Nothing goes wrong, unless it is scripted.
    pub const fn none() -> Self {
        Self::new(0, Severity::None)
    }

    /// How often what goes wrong.
    pub const fn knobs(&self) -> &Knobs {
        &self.knobs
    }

    /// Changes the weather from the next call on, to what is usual. What is scripted stays.
    pub const fn set_severity(&mut self, severity: Severity) {
        self.knobs = usual(severity);
    }

    /// Nothing goes wrong any more, scripted or not.
    pub fn cease(&mut self) {
        self.knobs = Knobs::none();
        self.script.clear();
        self.lasting.clear();
        self.twists.clear();
    }

    /// What is odd about the effect of the next call of that kind for which that is not scripted yet.
    pub fn twist(&mut self, call: Call, twists: Vec<Twist>) {
        let queue = self.twists.entry(call).or_default();
        if queue.len() < SCRIPT_MAX {
            queue.push_back(twists);
        }
    }

    /// What is odd about the effect of this call.
    pub(super) fn twists(&mut self, call: Call) -> Vec<Twist> {
        let scripted = self.twists.get_mut(&call).and_then(VecDeque::pop_front);
        scripted.unwrap_or_else(|| self.lies.twists(call, &self.knobs))
    }

    /// Whether this kind of list may be shown as it once was: then what is shown must be kept.
    pub(super) fn shows_the_past(&self, call: Call) -> bool {
        let stale = |fault: &Fault| matches!(fault, Fault::StaleList(_));
        self.knobs.stale_list_ppm > 0
            || self.lasting.get(&call).is_some_and(stale)
            || self.script.get(&call).is_some_and(|queue| queue.iter().any(stale))
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
        match pick(&self.knobs, call, roll, size, effected) {
            Fault::None => self.lie(call),
            fault => fault,
        }
    }

    /// What else goes wrong: each from dice of its own.
    fn lie(&mut self, call: Call) -> Fault {
        let Self { knobs, lies, .. } = self;
        let effected = |dice: &mut Dice| if dice.chance_ppm(500_000) { Effected::Yes } else { Effected::No };
        let writes = if call.is_write() { knobs.late_effect_ppm } else { 0 };
        if let Some(dice) = lies.befallen("late_effect", call, writes) {
            return Fault::LateEffect(up_to(dice, knobs.late_effect_s_max));
        }
        let lists = if call.is_list() { knobs.stale_list_ppm } else { 0 };
        if let Some(dice) = lies.befallen("stale_list", call, lists) {
            return Fault::StaleList(up_to(dice, knobs.stale_list_s_max));
        }
        if let Some(dice) = lies.befallen("garbage", call, knobs.garbage_ppm) {
            return Fault::Garbage(effected(dice));
        }
        if let Some(dice) = lies.befallen("hang", call, knobs.hang_ppm) {
            return Fault::Hang(effected(dice));
        }
        Fault::None
    }
}

/// One fault at most, by one throw for all of them.
fn pick(knobs: &Knobs, call: Call, roll: u64, size: u64, effected: Effected) -> Fault {
    let list = |ppm: u64| if call.is_list() { ppm } else { 0 };
    let deploy = |ppm: u64| if call == Call::Deploy { ppm } else { 0 };
    let share = |most: u64| most * size / 1_000_000 + 1;
    let mut below = 0;
    [
        (knobs.lost_request_ppm, Fault::LostRequest),
        (knobs.lost_answer_ppm, Fault::LostAnswer),
        (knobs.cut_answer_ppm, Fault::CutAnswer),
        (knobs.server_error_ppm, Fault::ServerError(effected)),
        (knobs.html_ppm, Fault::Html(effected)),
        (knobs.half_json_ppm, Fault::HalfJson),
        (knobs.throttled_ppm, Fault::Throttled),
        (knobs.slow_ppm, Fault::Slow(Duration::from_millis(share(knobs.slow_ms_max)))),
        (list(knobs.empty_list_ppm), Fault::EmptyList),
        (list(knobs.partial_list_ppm), Fault::PartialList),
        (deploy(knobs.late_vm_ppm), Fault::LateVm(Duration::from_secs(share(knobs.late_vm_s_max)))),
        (deploy(knobs.refused_ppm), Fault::Refused),
    ]
    .into_iter()
    .find(|(ppm, _)| {
        below += ppm;
        roll < below
    })
    .map_or(Fault::None, |(_, fault)| fault)
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

    #[test]
    fn the_lies_of_the_wire_befall_the_calls_they_can_befall_and_leave_the_older_faults_as_they_were() {
        let lying = Knobs {
            late_effect_ppm: 200_000,
            late_effect_s_max: 60,
            stale_list_ppm: 200_000,
            stale_list_s_max: 60,
            garbage_ppm: 100_000,
            hang_ppm: 100_000,
            ..HOSTILE
        };
        for (call, expected) in
            [(Call::Deploy, ["garbage", "hang", "late_effect"]), (Call::Instances, ["garbage", "hang", "stale_list"])]
        {
            let (mut old, mut new) = (Faults::new(3, Severity::Hostile), Faults::of(3, lying));
            let mut more = BTreeSet::new();
            for _ in 0..1_000 {
                let (before, after) = (old.decide(call), new.decide(call));
                if before == Fault::None {
                    more.insert(after.as_str());
                } else {
                    assert_eq!(before, after);
                }
            }
            more.remove("none");
            assert_eq!(more, expected.into());
        }
    }

    #[test]
    fn who_ceases_forgets_the_script_too() {
        let mut faults = Faults::new(1, Severity::Hostile);
        faults.script(Call::Deploy, Fault::Refused);
        faults.last(Call::Deploy, Some(Fault::Throttled));
        faults.twist(Call::Deploy, vec![Twist::Stalled]);
        faults.cease();
        assert_eq!((faults.decide(Call::Deploy), faults.twists(Call::Deploy)), (Fault::None, Vec::new()));
    }
}
