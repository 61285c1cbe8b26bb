//! Vectordash: GPUs by type, on demand, each to be had until a date.
//!
//! ```text
//!   calls  ->  Request  ->  (client, network)  ->  Response  ->  answer  ->  wire  ->  our nouns
//!                                 fake  <----------------------------------  the simulated world
//! ```
//!
//! [`calls`] says every request, [`answer`] tells refusals from answers, [`wire`] reads the JSON, and this file puts them
//! together as the [`Dialect`]; [`sdk`] has the rest of the API, typed, and the table of all of it, [`raw`] the same by the
//! vendor's own names. [`fake`] is the other side of the counter. All that is known is the vendor's reference, which
//! contradicts itself here and there: every shape that it may mean is read, and what is not in it is marked *assumed*.
//!
//! There are no hostnodes: a GPU type that is listed is the node, and its id is that type as the vendor spells it, for a new
//! instance is asked for by that spelling. Nobody says where a GPU stands. A new instance has one GPU; its vCPUs, memory and
//! disk cannot be chosen, nor can its ports, its user, its SSH key or cloud-init. There are no bids and no balance, nothing
//! can be stopped, and nothing is asked for by id (a path for it is mentioned and not described): that an instance is gone
//! rests on repeated lists.
//!
//! **Invariant:** the answers carry the private keys of instances (`pem`). No noun of ours holds one, and no text that is
//! made of an answer quotes one.

pub mod answer;
pub mod calls;
pub mod fake;
pub mod nouns;
pub mod raw;
pub mod sdk;
pub mod wire;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod fixtures;

use crate::{
    io::net::{Request, Response},
    market::{
        Ability, Deployed, Dialect, Exchange, Language, Manners, Order, Stop, Wish,
        hush::scanned,
        raw::{RawCall, Stakes},
    },
    model::{
        Balance, Hostnode, HostnodeId, HourlyRate, Instance, InstanceId, Lookup, Refusal, Scan,
        offer::{Bid, BidAnswer},
    },
    settings::Api,
};
use answer::Answer;
use calls::Calls;
use nouns::Creation;
use secrecy::SecretString;
use std::{sync::Arc, time::Duration};

/// Nothing is known of how long this API takes: as long as TensorDock's (assumed).
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// Giving up on a write leaves it in doubt, so that it is given more (assumed).
const WRITE_DEADLINE: Duration = Duration::from_secs(60);
/// The status of a delete that was done (documented).
const NO_CONTENT: u16 = 204;

/// The language of Vectordash.
#[derive(Debug)]
pub struct Vectordash {
    calls: Calls,
}

/// What the register knows of it.
pub const LANGUAGE: Language = Language {
    dialect: |_, token| Arc::new(Vectordash::new(token)),
    fake: |_, token| Box::new(fake::VectordashFake { token }),
};

impl Vectordash {
    /// With this token.
    pub fn new(token: SecretString) -> Self {
        Self { calls: Calls::new(token) }
    }
}

fn no_such_image(image: &str) -> String {
    format!("Vectordash has no image \"{image}\"; name one of {}", calls::IMAGES.join(", "))
}

/// Why a fleet's VMs cannot be had here. A create has a name, a GPU's type and an image, and nothing for what follows
/// (documented).
fn unable(wish: &Wish<'_>) -> Option<String> {
    let Wish { image, ports: _, ssh_key: _, cloud_init, stop } = wish;
    if calls::image(image).is_none() {
        return Some(no_such_image(image));
    }
    match (cloud_init, stop) {
        (Some(_), _) => Some("Vectordash hands a VM no cloud-init; leave it out of marketplaces".into()),
        (None, Some(_)) => Some("Vectordash stops no VM; scale down by delete".into()),
        (None, None) => None,
    }
}

impl Dialect for Vectordash {
    fn manners(&self) -> Manners {
        Manners { read_deadline: READ_DEADLINE, write_deadline: WRITE_DEADLINE }
    }

    /// That of all examples (documented). What an instance itself says is in [`nouns::Session::user`].
    fn user(&self) -> &'static str {
        "ubuntu"
    }

    fn hostnodes(&self) -> Exchange<Scan<Hostnode>> {
        Exchange::reads("hostnodes", self.calls.gpus(), |request, response| {
            let gpus = wire::gpus(&Answer::read(request, response).accepted()?)?;
            Ok(scanned(request, response, wire::hostnodes(gpus)))
        })
    }

    fn hostnode(&self, _: &HostnodeId) -> Option<Exchange<Lookup<Hostnode>>> {
        None
    }

    fn instances(&self) -> Exchange<Scan<Instance>> {
        Exchange::reads("instances", self.calls.instances(), |request, response| {
            let sessions = wire::sessions(&Answer::read(request, response).accepted()?)?;
            Ok(scanned(request, response, wire::instances(sessions)))
        })
    }

    fn instance(&self, _: &InstanceId) -> Option<Exchange<Lookup<Instance>>> {
        None
    }

    fn whoami(&self) -> Exchange<()> {
        Exchange::reads("whoami", self.calls.account(), read_taken)
    }

    fn balance(&self) -> Option<Exchange<Balance>> {
        None
    }

    fn validate(&self, _: &Bid) -> Option<Exchange<BidAnswer>> {
        None
    }

    fn rebid(&self, _: &InstanceId, _: HourlyRate) -> Option<Exchange<BidAnswer>> {
        None
    }

    /// Of an order only the name, the GPU's type and the image can be said. Without a date the GPU that is available for
    /// longest is given (documented): the one whose end is listed.
    fn deploy(&self, order: &Order) -> Result<Exchange<Deployed>, Refusal> {
        let image = calls::image(&order.image).ok_or_else(|| Refusal::Refused(no_such_image(&order.image)))?;
        Ok(self.create(&Creation {
            name: order.name.clone(),
            gpu: order.hostnode.to_string(),
            image: Some(image.to_owned()),
            until: None,
        }))
    }

    fn start(&self, _: &InstanceId) -> Option<Exchange<()>> {
        None
    }

    fn stop(&self, _: &InstanceId, _: Stop) -> Option<Exchange<()>> {
        None
    }

    fn terminate(&self, id: &InstanceId) -> Exchange<()> {
        Exchange::writes("terminate", self.calls.delete(id), |request, response| {
            match read_deleted(request, response) {
                Err(Refusal::Gone) => Ok(()),
                told => told,
            }
        })
    }

    fn ability(&self) -> Ability {
        Ability::new(Api::Vectordash.as_str(), unable)
    }

    fn raw_calls(&self) -> &'static [RawCall] {
        raw::CALLS
    }

    fn raw(&self, call: &RawCall, fields: &[(String, String)]) -> Option<Exchange<()>> {
        let request = self.calls.raw(call, fields)?;
        Some(match call.stakes {
            Stakes::Nothing if call.name == raw::ACCOUNT => Exchange::reads(call.name, request, read_taken),
            Stakes::Nothing => Exchange::reads(call.name, request, read_told),
            Stakes::Money => Exchange::writes(call.name, request, read_told),
            Stakes::Loss => Exchange::writes(call.name, request, read_deleted),
        })
    }
}

/// That the credentials are taken. The documents' own example of this answer is not JSON, for it lacks a comma: so it is
/// enough that it is not refused and tells whose account it is.
fn read_taken(request: &Request, response: &Response) -> Result<(), Refusal> {
    wire::account(Answer::read(request, response).text()?).map(|_| ())
}

/// An answer that is JSON and no refusal.
fn read_told(request: &Request, response: &Response) -> Result<(), Refusal> {
    Answer::read(request, response).accepted().map(|_| ())
}

/// A delete was done if and only if its answer has the documented status. Any other success is not believed: the list
/// will show.
fn read_deleted(request: &Request, response: &Response) -> Result<(), Refusal> {
    match Answer::read(request, response).refusal() {
        Some(refusal) => Err(refusal),
        None if response.status == NO_CONTENT => Ok(()),
        None => Err(Refusal::Malformed(format!("HTTP {} to a delete that answers {NO_CONTENT}", response.status))),
    }
}
