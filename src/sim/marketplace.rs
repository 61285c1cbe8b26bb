//! The whole marketplace for one request: world, dialects and faults together.
//!
//! A [`Market`] takes a request as data and says how it reacts, as data: what is answered, how much of it arrives, and
//! after how long. It does no IO, so the same thing stands behind a real socket ([`super::serve`]) and behind the
//! daemon's own network door in one process ([`super::doors`]).

use super::{
    call::Call,
    faults::{Effected, Fault, Faults},
    veil::{Shown, Veil},
    world::World,
};
use crate::{
    io::net::{Request, Response},
    market::{Backend, Fake},
    model::{InstanceId, Timestamp},
};
use std::{collections::BTreeMap, fmt, time::Duration};

/// What older versions of the API sent instead of JSON.
const HTML: &str = "<!DOCTYPE html><html><head><title>Application Error</title></head><body><h1>Oops</h1></body></html>";

/// One dialect spoken here.
pub struct Counter {
    /// Its paths begin with this.
    pub prefix: &'static str,
    /// Tells its calls apart.
    pub call: fn(&Request) -> Call,
    /// Speaks it.
    pub fake: Box<dyn Fake>,
}

impl Counter {
    /// TensorDock v0.
    pub const fn tensordock_v0(fake: Box<dyn Fake>) -> Self {
        Self { prefix: "/api/v0/", call: Call::of_tensordock_v0, fake }
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// How much of an answer arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of it.
    Whole(Response),
    /// Its head and half of its body; then the connection drops.
    Cut(Response),
    /// Nothing; the connection drops.
    Nothing,
}

/// How the marketplace reacts to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// Which call it was.
    pub call: Call,
    /// What went wrong.
    pub fault: Fault,
    /// After so long, in real time.
    pub delay: Duration,
    /// What comes back.
    pub answer: Answer,
}

/// A marketplace: one world, the dialects it is spoken to in, and what goes wrong.
#[derive(Debug)]
pub struct Market {
    /// The world.
    pub world: World,
    /// What goes wrong.
    pub faults: Faults,
    counters: Vec<Counter>,
    late: BTreeMap<InstanceId, Timestamp>,
    handled: BTreeMap<(Call, &'static str), u64>,
}

impl Market {
    /// A marketplace that speaks these dialects.
    pub const fn new(world: World, faults: Faults, counters: Vec<Counter>) -> Self {
        Self { world, faults, counters, late: BTreeMap::new(), handled: BTreeMap::new() }
    }

    /// How many requests there were, by call and by what went wrong (`none` where nothing did).
    pub const fn handled(&self) -> &BTreeMap<(Call, &'static str), u64> {
        &self.handled
    }

    /// Takes one request at a moment.
    pub fn handle(&mut self, now: Timestamp, request: &Request) -> Reaction {
        self.world.advance(now);
        let Some(counter) = self.counters.iter().find(|counter| request.path.starts_with(counter.prefix)) else {
            let answer = Response::json(404, r#"{"success": false, "error": "no such API"}"#);
            return Reaction {
                call: Call::Other,
                fault: Fault::None,
                delay: Duration::ZERO,
                answer: Answer::Whole(answer),
            };
        };
        let call = (counter.call)(request);
        let fault = self.faults.decide(call);
        *self.handled.entry((call, fault.as_str())).or_default() += 1;
        let mut veil = Veil {
            world: &mut self.world,
            late: &mut self.late,
            shown: match fault {
                Fault::EmptyList => Shown::Nothing,
                Fault::PartialList => Shown::Half,
                Fault::None
                | Fault::LostRequest
                | Fault::LostAnswer
                | Fault::CutAnswer
                | Fault::ServerError(_)
                | Fault::Html(_)
                | Fault::HalfJson
                | Fault::Throttled
                | Fault::LateVm(_)
                | Fault::Refused
                | Fault::Slow(_) => Shown::All,
            },
            refuses: fault == Fault::Refused,
            delay: if let Fault::LateVm(delay) = fault { Some(delay) } else { None },
        };
        let delay = if let Fault::Slow(delay) = fault { delay } else { Duration::ZERO };
        let answer = spoil(fault, || counter.fake.serve(&mut veil as &mut dyn Backend, request));
        Reaction { call, fault, delay, answer }
    }
}

/// Serves a request and makes the fault happen. What had no effect is not served.
fn spoil(fault: Fault, serve: impl FnOnce() -> Response) -> Answer {
    let whole = |status, kind: &str, body: Vec<u8>| {
        Answer::Whole(Response { status, headers: vec![("content-type".to_owned(), kind.to_owned())], body })
    };
    let error = r#"{"success": false, "error": "Internal Server Error"}"#;
    match fault {
        Fault::None
        | Fault::EmptyList
        | Fault::PartialList
        | Fault::LateVm(_)
        | Fault::Refused
        | Fault::Slow(_) => Answer::Whole(serve()),
        Fault::LostRequest => Answer::Nothing,
        Fault::LostAnswer => {
            serve();
            Answer::Nothing
        }
        Fault::CutAnswer => Answer::Cut(serve()),
        Fault::ServerError(Effected::No) => whole(500, "application/json", error.into()),
        Fault::ServerError(Effected::Yes) => {
            serve();
            whole(500, "application/json", error.into())
        }
        Fault::Html(Effected::No) => whole(200, "text/html", HTML.into()),
        Fault::Html(Effected::Yes) => {
            serve();
            whole(200, "text/html", HTML.into())
        }
        Fault::HalfJson => {
            let mut answer = serve();
            answer.body.truncate(answer.body.len() / 2);
            Answer::Whole(answer)
        }
        Fault::Throttled => Answer::Whole(Response {
            status: 429,
            headers: vec![("content-type".to_owned(), "application/json".to_owned()), ("retry-after".to_owned(), "2".to_owned())],
            body: r#"{"success": false, "error": "Too Many Requests"}"#.into(),
        }),
    }
}
