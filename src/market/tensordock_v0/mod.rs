//! TensorDock v0: bids and on demand, machines sold by resource.
//!
//! ```text
//!   calls  ->  Request  ->  (client, network)  ->  Response  ->  answer  ->  wire  ->  our nouns
//!                                 fake  <----------------------------------  the simulated world
//! ```
//!
//! [`calls`] says every request, [`answer`] tells refusals from answers, [`wire`] reads the JSON in every shape that the
//! documents and clients show, and this file puts them together as the [`Dialect`]. [`sdk`] has the calls that no fleet
//! needs and the table of all 22, [`raw`] the same by the vendor's own names. [`fake`] is the other side of the counter. What is known of the vendor is marked *recorded*, *documented* or *assumed*, as the fixtures are.

pub mod answer;
pub mod calls;
pub mod fake;
pub mod nouns;
pub mod raw;
mod read;
pub mod sdk;
pub mod wire;

#[cfg(test)]
pub(in crate::market) mod conformance;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod sdk_tests;

use crate::{
    io::net::{Request, Response},
    market::{
        Deployed, Dialect, Exchange, Language, Manners, Order, Stop, contradicted,
        hush::scanned,
        raw::{RawCall, Stakes},
    },
    model::{
        Balance, Hostnode, HostnodeId, HourlyRate, Instance, InstanceId, Lookup, Refusal, Scan,
        offer::{Bid, BidAnswer},
    },
};
use answer::{Answer, Success};
use calls::{Calls, Filters};
use secrecy::SecretString;
use std::{sync::Arc, time::Duration};

/// Clients waited 12 s for answers, found it too short and went to 20 s (recorded, dstack); a list is larger.
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// Giving up on a write leaves it in doubt, so that it is given more.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);

/// The language of TensorDock v0.
#[derive(Debug)]
pub struct TensordockV0 {
    calls: Calls,
}

/// What the register knows of it.
pub const LANGUAGE: Language = Language {
    dialect: |key, token| Arc::new(TensordockV0::new(key.unwrap_or_default(), token)),
    fake: |key, token| Box::new(fake::TensordockV0Fake { key, token }),
};

impl TensordockV0 {
    /// With these credentials.
    pub fn new(key: SecretString, token: SecretString) -> Self {
        Self { calls: Calls::new(key, token) }
    }
}

impl Dialect for TensordockV0 {
    fn manners(&self) -> Manners {
        Manners { read_deadline: READ_DEADLINE, write_deadline: WRITE_DEADLINE }
    }

    /// "User name always `user`" (documented, the vendor's dashboard; S1's `default_user`).
    fn user(&self) -> &'static str {
        "user"
    }

    fn hostnodes(&self) -> Exchange<Scan<Hostnode>> {
        self.hostnodes_with(Filters::default())
    }

    fn hostnode(&self, id: &HostnodeId) -> Option<Exchange<Lookup<Hostnode>>> {
        Some(Exchange::reads("hostnode", self.calls.hostnode(id)?, read_hostnode))
    }

    fn instances(&self) -> Exchange<Scan<Instance>> {
        Exchange::reads("instances", self.calls.list(), |request, response| {
            Ok(scanned(request, response, wire::instances(&Answer::read(response).accepted()?)?))
        })
    }

    fn instance(&self, id: &InstanceId) -> Option<Exchange<Lookup<Instance>>> {
        Some(Exchange::reads("instance", self.calls.details(id), read_instance))
    }

    fn whoami(&self) -> Exchange<()> {
        Exchange::reads("whoami", self.calls.test(), read_done)
    }

    fn balance(&self) -> Option<Exchange<Balance>> {
        Some(Exchange::reads("balance", self.calls.balance(), |_, response| {
            wire::balance(&Answer::read(response).accepted()?)
        }))
    }

    fn validate(&self, bid: &Bid) -> Option<Exchange<BidAnswer>> {
        Some(Exchange::reads("validate", self.calls.validate_new(bid), read_bid))
    }

    fn rebid(&self, id: &InstanceId, price: HourlyRate) -> Option<Exchange<BidAnswer>> {
        Some(Exchange::writes("rebid", self.calls.validate_existing(id, price), read_bid))
    }

    fn deploy(&self, order: &Order) -> Result<Exchange<Deployed>, Refusal> {
        Ok(Exchange::writes("deploy", self.calls.deploy(order), read_made))
    }

    fn start(&self, id: &InstanceId) -> Option<Exchange<()>> {
        Some(Exchange::writes("start", self.calls.start(id), read_done))
    }

    fn stop(&self, id: &InstanceId, how: Stop) -> Option<Exchange<()>> {
        Some(Exchange::writes("stop", self.calls.stop(id, how), read_done))
    }

    fn terminate(&self, id: &InstanceId) -> Exchange<()> {
        Exchange::writes("terminate", self.calls.delete(id), |_, response| {
            let answer = Answer::read(response);
            if answer.says_already_terminated() {
                return Ok(());
            }
            match answer.done() {
                Ok(_) | Err(Refusal::Gone) => Ok(()),
                Err(refusal) => Err(refusal),
            }
        })
    }

    fn raw_calls(&self) -> &'static [RawCall] {
        raw::CALLS
    }

    fn raw(&self, call: &RawCall, fields: &[(String, String)]) -> Option<Exchange<()>> {
        let request = self.calls.raw(call, fields)?;
        Some(match call.stakes {
            Stakes::Nothing => Exchange::reads(call.name, request, read_said),
            Stakes::Money | Stakes::Loss => Exchange::writes(call.name, request, read_told),
        })
    }
}

fn read_hostnodes(request: &Request, response: &Response) -> Result<Scan<Hostnode>, Refusal> {
    Ok(scanned(request, response, wire::hostnodes(&Answer::read(response).accepted()?)?))
}

fn read_done(_: &Request, response: &Response) -> Result<(), Refusal> {
    Answer::read(response).done().map(|_| ())
}

fn read_made(_: &Request, response: &Response) -> Result<Deployed, Refusal> {
    let answer = Answer::read(response);
    let names_a_vm = answer.names_a_vm();
    match answer.done() {
        Ok(object) => wire::deployed(&object),
        Err(refusal) if names_a_vm => Err(contradicted(refusal)),
        // What is gone when one deploys is the machine.
        Err(Refusal::Gone) => Err(Refusal::NoCapacity("the hostnode is gone".into())),
        Err(refusal) => Err(refusal),
    }
}

/// That a bid would fail is an answer too.
fn answers_a_bid(request: &Request, answer: &Answer<'_>) -> bool {
    answer.refuses_a_bid() && request.path.contains("/spot/validate/")
}

/// A raw call that reads.
fn read_said(request: &Request, response: &Response) -> Result<(), Refusal> {
    let answer = Answer::read(response);
    if answers_a_bid(request, &answer) { Ok(()) } else { answer.accepted().map(|_| ()) }
}

/// A raw call that writes.
fn read_told(request: &Request, response: &Response) -> Result<(), Refusal> {
    let answer = Answer::read(response);
    if answers_a_bid(request, &answer) { Ok(()) } else { answer.done().map(|_| ()) }
}

/// A bid passes if and only if `success`, and `will_succeed` (S2) is not false.
fn read_bid(_: &Request, response: &Response) -> Result<BidAnswer, Refusal> {
    let answer = Answer::read(response);
    if answer.refuses_a_bid() {
        return Ok(BidAnswer::Refused);
    }
    let success = answer.success;
    let object = answer.accepted()?;
    match (success, object.get("will_succeed").map(|said| said.flag())) {
        (Success::Yes, None | Some(Some(true))) => Ok(BidAnswer::Accepted),
        (Success::Yes, Some(Some(false))) => Ok(BidAnswer::Refused),
        (Success::Yes | Success::No | Success::Unsaid | Success::Odd, _) => {
            Err(Refusal::Malformed("it neither takes nor refuses the bid".into()))
        }
    }
}

fn read_hostnode(request: &Request, response: &Response) -> Result<Lookup<Hostnode>, Refusal> {
    let answer = Answer::read(response);
    let missing = answer.error.as_deref().is_some_and(|text| {
        let text = text.to_ascii_lowercase();
        text.contains("hostnode") && (text.contains("not found") || text.contains("does not exist"))
    });
    match answer.accepted() {
        Ok(object) => {
            let id = request.path.rsplit('/').next().unwrap_or_default();
            wire::hostnode_details(id, &object).map(Lookup::Here)
        }
        Err(Refusal::Gone) => Ok(Lookup::Gone),
        Err(Refusal::NoCapacity(_)) if missing => Ok(Lookup::Gone),
        Err(refusal) => Err(refusal),
    }
}

fn read_instance(request: &Request, response: &Response) -> Result<Lookup<Instance>, Refusal> {
    match Answer::read(response).accepted() {
        Ok(object) => {
            let mut fields = form_urlencoded::parse(&request.body);
            let id = fields.find(|(name, _)| name == "server").map(|(_, id)| id.into_owned()).unwrap_or_default();
            wire::instance_details(&id, &object).map(Lookup::Here)
        }
        Err(Refusal::Gone) => Ok(Lookup::Gone),
        Err(refusal) => Err(refusal),
    }
}
