//! Our engine as the policy of somebody else's market: a line of JSON in, a line of JSON out.
//!
//! ```text
//!   them: {"type":"start", …}                       what there is to play on
//!   them: {"type":"step","k":17, …}                 a step opens
//!   us:   {"actions":[{…}],"next":false}            one action, whose result we need before we go on
//!   them: {"type":"results","results":[{…}]}
//!   us:   {"next":true}                             the step is over
//!   them: {"type":"end"}
//! ```
//!
//! The engine meets the step through the same doors as everywhere in a rehearsal ([`super::engine`]): what it sends waits for
//! the result, so that nothing of a later step can be known. Names and dates may be hidden; VMs go by whatever the other side
//! calls them. What the other side says is held to the protocol, and a fault is told with the number of its line.

use super::{
    engine::{Delivery, Field, Hand, Opening, Ours, Unfit, built_in},
    load::Pool,
    run::{Billing, Rules},
};
use crate::{
    market::json::{Json, Object, shown},
    model::{HourlyRate, Usd},
    policy::Source,
};
use std::{
    collections::BTreeMap,
    io::{BufRead, Read, Write},
};

/// No line is longer.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// No market has more pools, and no VM more GPUs.
const COUNT_MAX: u32 = 1_000;
/// No step is longer: a day, in seconds.
const DT_S_MAX: u32 = 86_400;
/// No VM takes more steps until it is ready, and nobody wants more GPUs than this.
const LARGE_MAX: u32 = 1_000_000;
/// No time is later, in seconds since 1970: the year 9999.
const TIME_S_MAX: i64 = 253_402_300_799;
/// A step has no more rounds, the one that ends it included.
const ROUNDS_MAX: u32 = 1_000;

/// Why a drive ends before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriveError {
    /// The other side does not keep to the protocol.
    #[error("line {line} of the input: {what}")]
    Input {
        /// Counted from 1.
        line: u64,
        /// What is amiss, and what is expected.
        what: String,
    },
    /// A line could not be read or written.
    #[error("cannot {doing}: {why}")]
    Pipe {
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        why: String,
    },
    /// The engine cannot play what is asked.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// What is said in a line.
enum Said<'a> {
    Start(Object<'a>),
    Step(Object<'a>),
    Results(Object<'a>),
    End,
}

/// The other side.
struct Wire<'w> {
    input: &'w mut dyn BufRead,
    output: &'w mut dyn Write,
    line: u64,
    /// What they call our VMs, as JSON.
    names: BTreeMap<u64, String>,
    numbers: BTreeMap<String, u64>,
    rounds: u32,
    failed: Option<DriveError>,
}

impl Wire<'_> {
    fn wrong(&self, what: impl Into<String>) -> DriveError {
        DriveError::Input { line: self.line, what: what.into() }
    }

    fn read(&mut self) -> Result<Vec<u8>, DriveError> {
        let mut line = Vec::new();
        let read = (&mut *self.input).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
        read.map_err(|error| DriveError::Pipe { doing: "read the next line", why: error.to_string() })?;
        self.line += 1;
        if line.is_empty() {
            return Err(self.wrong("the input ends here; {\"type\":\"end\"} is expected first"));
        }
        if line.len() as u64 > LINE_BYTES_MAX {
            return Err(self.wrong(format!("it has more than {LINE_BYTES_MAX} bytes")));
        }
        Ok(line)
    }

    fn said<'a>(&self, line: &'a [u8]) -> Result<Said<'a>, DriveError> {
        let object = Json::read(line).and_then(Json::object);
        let object = object.ok_or_else(|| self.wrong("it is not a JSON object"))?;
        match object.text("type").as_deref() {
            Some("start") => Ok(Said::Start(object)),
            Some("step") => Ok(Said::Step(object)),
            Some("results") => Ok(Said::Results(object)),
            Some("end") => Ok(Said::End),
            Some(other) => Err(self.wrong(format!("unknown type `{other}`; start, step, results or end is expected"))),
            None => Err(self.wrong("it has no `type`; start, step, results or end is expected")),
        }
    }

    fn write(&mut self, line: &str) -> Result<(), DriveError> {
        let written = writeln!(self.output, "{line}").and_then(|()| self.output.flush());
        written.map_err(|error| DriveError::Pipe { doing: "write an answer", why: error.to_string() })
    }

    /// What came of one action: whether it was done, and what a VM that it made is called.
    fn asked(&mut self, action: &str) -> Result<(bool, Option<String>), DriveError> {
        self.write(&format!(r#"{{"actions":[{action}],"next":false}}"#))?;
        let line = self.read()?;
        let Said::Results(object) = self.said(&line)? else {
            return Err(self.wrong("the results of the actions are expected"));
        };
        let results = object.get("results").and_then(Json::array).unwrap_or_default();
        let [result] = results[..] else {
            return Err(self.wrong(format!("it has {} results; one for the one action is expected", results.len())));
        };
        let result = result.object();
        let ok = result.as_ref().and_then(|result| result.get("ok")?.flag());
        let ok = ok.ok_or_else(|| self.wrong("results[0]: it does not say `ok`"))?;
        Ok((ok, result.and_then(|result| name(result.get("id")?))))
    }

    /// One action, unless the drive failed before or the step has no more rounds: then nothing is done.
    fn act(&mut self, action: &str) -> (bool, Option<String>) {
        self.rounds += 1;
        if self.failed.is_some() || self.rounds >= ROUNDS_MAX {
            return (false, None);
        }
        self.asked(action).unwrap_or_else(|error| {
            self.failed = Some(error);
            (false, None)
        })
    }

    fn launched(&mut self, action: &str) -> Option<u64> {
        match self.act(action) {
            (false, _) => None,
            (true, Some(theirs)) if !self.numbers.contains_key(&theirs) => {
                let number = u64::try_from(self.numbers.len()).unwrap_or(u64::MAX);
                self.numbers.insert(theirs.clone(), number);
                self.names.insert(number, theirs);
                Some(number)
            }
            (true, Some(theirs)) => {
                self.failed = Some(self.wrong(format!("results[0]: the VM {} was launched before", shown(&theirs))));
                None
            }
            (true, None) => {
                self.failed = Some(self.wrong("results[0]: it has no `id` of the VM that was launched"));
                None
            }
        }
    }
}

impl Hand for Wire<'_> {
    fn validate(&mut self, pool: usize, bid: HourlyRate) -> bool {
        self.act(&format!(r#"{{"op":"validate","pool":{pool},"bid":{bid}}}"#)).0
    }

    fn spot(&mut self, pool: usize, bid: HourlyRate) -> Option<u64> {
        self.launched(&format!(r#"{{"op":"spot","pool":{pool},"bid":{bid}}}"#))
    }

    fn on_demand(&mut self) -> Option<u64> {
        self.launched(r#"{"op":"on_demand"}"#)
    }

    fn kill(&mut self, id: u64) -> bool {
        let Some(theirs) = self.names.get(&id).cloned() else { return false };
        self.act(&format!(r#"{{"op":"kill","id":{theirs}}}"#)).0
    }
}

/// A VM's name as JSON: a number or a text, as they have it.
fn name(said: Json<'_>) -> Option<String> {
    match said.string() {
        Some(text) => serde_json::to_string(&text).ok(),
        None => said.literal().map(|literal| literal.into_owned()),
    }
}

/// Plays whatever market is described and shown on `input`, with a policy or the built-in one. `begun` is told of the texts
/// that are played by, once it is known what there is to play on.
///
/// # Errors
/// When the other side does not keep to the protocol, goes away, or describes what cannot be played.
pub fn drive(
    input: &mut dyn BufRead,
    output: &mut dyn Write,
    policy: Option<&Source>,
    delivery: Delivery,
    begun: &mut dyn FnMut(&str),
) -> Result<(), DriveError> {
    let (names, numbers) = (BTreeMap::new(), BTreeMap::new());
    let mut wire = Wire { input, output, line: 0, names, numbers, rounds: 0, failed: None };
    let line = wire.read()?;
    let field = match wire.said(&line)? {
        Said::Start(object) => start(&object).map_err(|what| wire.wrong(what))?,
        Said::Step(_) | Said::Results(_) | Said::End => return Err(wire.wrong("a start is expected first")),
    };
    let pools = field.pools.len();
    let texts = built_in(field.target_gpus, &field.pools, delivery);
    begun(policy.map_or(texts.policy.as_str(), |policy| policy.text.as_str()));
    let mut ours = Ours::new(field, policy, delivery)?;
    let mut next_k = None;
    loop {
        let line = wire.read()?;
        let object = match wire.said(&line)? {
            Said::Step(object) => object,
            Said::End => return Ok(()),
            Said::Start(_) | Said::Results(_) => return Err(wire.wrong("a step or the end is expected")),
        };
        let opening = step(&object, pools, next_k, &wire.numbers).map_err(|what| wire.wrong(what))?;
        next_k = Some(opening.k.saturating_add(1));
        wire.rounds = 0;
        ours.play(opening, &mut wire);
        if let Some(error) = wire.failed.take() {
            return Err(error);
        }
        if let Some(unfit) = ours.failed() {
            return Err(unfit.clone().into());
        }
        wire.write(r#"{"next":true}"#)?;
    }
}

/// What is wrong with one message, each fault by its member.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn note<T>(&mut self, member: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|what| self.0.push(format!("{member}: {what}"))).ok()
    }

    fn told<T>(self, read: Option<T>) -> Result<T, String> {
        match read {
            Some(read) if self.0.is_empty() => Ok(read),
            Some(_) | None => Err(self.0.join("; ")),
        }
    }
}

fn count(object: &Object<'_>, member: &str, most: u32) -> Result<u32, String> {
    object.count(member, most)?.ok_or_else(|| "it is missing".to_owned())
}

fn at_least_one(object: &Object<'_>, member: &str, most: u32) -> Result<u32, String> {
    count(object, member, most).and_then(|count| if count > 0 { Ok(count) } else { Err("it is zero".to_owned()) })
}

/// A moment, in whole seconds: a fraction is left off.
fn seconds(object: &Object<'_>, member: &str) -> Result<i64, String> {
    let said = object.get(member).ok_or("it is missing")?;
    let seconds = said.literal().and_then(|literal| literal.parse::<f64>().ok()).filter(|seconds| seconds.is_finite());
    let seconds = seconds.ok_or("it is not a time in seconds")?;
    match seconds.abs() <= TIME_S_MAX as f64 {
        true => Ok(seconds.floor() as i64),
        false => Err("no clock shows that".to_owned()),
    }
}

fn start(object: &Object<'_>) -> Result<Field, String> {
    let mut faults = Faults::default();
    let billing = match object.text("billing").as_deref() {
        Some("bid") => Ok(Billing::Bid),
        Some("market") => Ok(Billing::Market),
        Some(_) | None => Err("it is neither `bid` nor `market`".to_owned()),
    };
    let billing = faults.note("billing", billing);
    let delay_steps = faults.note("delay_steps", count(object, "delay_steps", LARGE_MAX));
    let dt_s = faults.note("dt", at_least_one(object, "dt", DT_S_MAX));
    let target_gpus = faults.note("target_gpus", at_least_one(object, "target_gpus", LARGE_MAX));
    let t0_s = faults.note("t0", seconds(object, "t0"));
    let listed = object.get("pools").and_then(Json::array).unwrap_or_default();
    if listed.is_empty() || listed.len() > COUNT_MAX as usize {
        faults.0.push(format!("pools: it has {} pools; 1 to {COUNT_MAX} are expected", listed.len()));
    }
    let mut pools = Vec::new();
    for (at, said) in listed.iter().take(COUNT_MAX as usize).enumerate() {
        let read = said.object().ok_or_else(|| "it is not an object".to_owned()).and_then(|said| pool(&said));
        pools.extend(faults.note(&format!("pools[{at}]"), read));
    }
    let on_demand_pool = count(object, "on_demand_pool", COUNT_MAX).and_then(|at| match at as usize {
        at if at < listed.len() => Ok(at),
        at => Err(format!("there is no pool {at}")),
    });
    let on_demand_pool = faults.note("on_demand_pool", on_demand_pool);
    let field = (|| {
        let rules = Rules { billing: billing?, delay_steps: delay_steps? };
        let (on_demand_pool, target_gpus) = (on_demand_pool?, target_gpus?);
        Some(Field { pools, on_demand_pool, target_gpus, rules, dt_s: dt_s?, t0_s: t0_s? })
    })();
    faults.told(field)
}

fn pool(said: &Object<'_>) -> Result<Pool, String> {
    let mut faults = Faults::default();
    let gpu_count = faults.note("gpu_count", at_least_one(said, "gpu_count", COUNT_MAX));
    // It is the most that may be bid: what is finer than a micro is left off.
    let price = said.get("on_demand_price_per_hr").and_then(Json::literal).ok_or("it is missing".to_owned());
    let price = price.and_then(|literal| Usd::from_balance_literal(&literal).map_err(|error| error.to_string()));
    let price = price.and_then(|price| match u64::try_from(price.micros()) {
        Ok(micros) if micros > 0 => Ok(HourlyRate::from_micros(micros)),
        Ok(_) | Err(_) => Err("it is not above zero".to_owned()),
    });
    let on_demand = faults.note("on_demand_price_per_hr", price);
    let text = |member| said.text(member).unwrap_or_default();
    let pool = gpu_count.zip(on_demand).map(|(gpu_count, on_demand)| Pool {
        zone: text("zone"),
        instance_type: text("instance_type"),
        gpu_model: text("gpu_model"),
        gpu_count,
        on_demand,
    });
    faults.told(pool)
}

/// Reads a list with one value for each pool.
fn by_pool<T>(
    object: &Object<'_>,
    member: &str,
    pools: usize,
    read: impl Fn(Json<'_>) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let listed = object.get(member).and_then(Json::array).ok_or("it is not a list")?;
    if listed.len() != pools {
        return Err(format!("it has {} values; one for each of the {pools} pools is expected", listed.len()));
    }
    let one = |(at, said): (usize, Json<'_>)| read(said).map_err(|what| format!("[{at}] {what}"));
    listed.into_iter().enumerate().map(one).collect()
}

/// Reads a step. `next_k` is the one that is expected; the first may be any.
fn step(
    object: &Object<'_>,
    pools: usize,
    next_k: Option<usize>,
    numbers: &BTreeMap<String, u64>,
) -> Result<Opening, String> {
    let mut faults = Faults::default();
    let k = count(object, "k", u32::MAX - 1).map(|k| k as usize);
    let k = k.and_then(|k| match next_k {
        Some(next) if next != k => Err(format!("it is {k}; step {next} is expected")),
        Some(_) | None => Ok(k),
    });
    let k = faults.note("k", k);
    faults.note("t", seconds(object, "t"));
    let prices = faults.note("price", by_pool(object, "price", pools, |said| said.price()));
    let flag = |said: Json<'_>| said.flag().ok_or_else(|| "it is neither true nor false".to_owned());
    let launchable = faults.note("launchable", by_pool(object, "launchable", pools, flag));
    let outbid = object.get("outbid").and_then(Json::array).ok_or_else(|| "it is not a list".to_owned());
    let known = |said: Json<'_>| {
        let theirs = name(said).ok_or_else(|| "it has what is no VM's id".to_owned())?;
        numbers.get(&theirs).copied().ok_or_else(|| format!("no VM {} was launched", shown(&theirs)))
    };
    let outbid = outbid.and_then(|listed| listed.into_iter().map(known).collect::<Result<Vec<u64>, String>>());
    let outbid = faults.note("outbid", outbid);
    let opening = (|| Some(Opening { k: k?, prices: prices?, launchable: launchable?, outbid: outbid? }))();
    faults.told(opening)
}

#[cfg(test)]
mod tests;
