//! The market of rehearsals: a recorded history, or somebody else's market, as one more marketplace.
//!
//! ```text
//!   calls  ->  Request  ->  (client, network)  ->  Response  ->  answer  ->  wire  ->  our nouns
//!                                 fake  <--------------------------------  a step of a trace, or the simulated world
//! ```
//!
//! No vendor speaks this API: it is our own, as small as the rules that traces are played by (`sim::trace`), so that the
//! whole engine meets a recorded market through the very doors through which it meets a real one. This page is its
//! documentation, and `fixtures/` has an example of each call.
//!
//! | call | says | answers |
//! |---|---|---|
//! | `GET /trace/v1/whoami` | – | `taken`: true, where the token is |
//! | `GET /trace/v1/account` | – | `balance` and `hourly_cost`, USD |
//! | `GET /trace/v1/pools` | – | `pools`: what can be had |
//! | `GET /trace/v1/vms` | – | `vms`: those that there are |
//! | `GET /trace/v1/vms/{vm}` | – | `vm`: one of them |
//! | `POST /trace/v1/validate` | `pool`, `bid_per_hr` | `accepted`: whether a deploy at that bid would succeed now |
//! | `POST /trace/v1/vms` | `name`, `pool`, `price_type`, `bid_per_hr` | `vm`: what was made |
//! | `DELETE /trace/v1/vms/{vm}` | – | `deleted`: true |
//!
//! A *pool* is a GPU type in a zone, in VMs of one size: `id`, `zone`, `gpu_model` in the house's own spelling, `gpu_count` of
//! one VM, `lots` (how many VMs more it may have; who asks for one more than there are is refused), `takes_bids`, where it
//! does and the price is known `spot_price_per_hr` (the least accepted bid for one VM), `on_demand_price_per_hr` (of one VM,
//! and the most that may be bid), and `on_demand`, whether it can be had at that price. A *VM* has `id`, `name`, `status`
//! (`starting`, `running`, `outbid`, `stopped`, `released`, `leaving`), `pool`, `gpu_model`, `gpu_count`, `price_type` (`spot`,
//! `on_demand`), `price_per_hr`, `address`, `ports` (outside to inside) and `created_at`. A VM that is outbid holds nothing,
//! costs nothing and never comes back; it is shown until it is deleted, so that nobody has to guess what became of it. A bid
//! is never changed. All money is USD per hour and per VM. Every call needs the token, as `Authorization: Bearer`.
//!
//! What is refused has the HTTP status and an `error` with a `code` (`no_capacity`, `bid_too_low`, `throttled`,
//! `unauthorized`, `gone`, `broke`, `refused`) and a `message`. Nothing runs in these VMs: any image, key and cloud-init is as
//! good as another, and none is sent.

pub mod answer;
pub mod calls;
pub mod fake;
pub mod raw;
pub mod sdk;
pub mod wire;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod fixtures;

use crate::{
    io::net::Response,
    market::{
        Deployed, Dialect, Exchange, Language, Manners, Order, Stop, contradicted,
        hush::scanned,
        raw::{RawCall, Stakes, escaped},
    },
    model::{
        Balance, Hostnode, HostnodeId, HourlyRate, Instance, InstanceId, Lookup, Refusal, Scan,
        offer::{Bid, BidAnswer},
    },
};
use answer::Answer;
use calls::Calls;
use secrecy::SecretString;
use std::{sync::Arc, time::Duration};

/// Real time a read may take.
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// Real time a write may take.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);

/// The language of the market of rehearsals.
#[derive(Debug)]
pub struct Trace {
    calls: Calls,
}

/// What the register knows of it.
pub const LANGUAGE: Language =
    Language { dialect: |_, token| Arc::new(Trace::new(token)), fake: |_, token| Box::new(fake::TraceFake { token }) };

impl Trace {
    /// With this token.
    pub fn new(token: SecretString) -> Self {
        Self { calls: Calls::new(token) }
    }
}

impl Dialect for Trace {
    fn manners(&self) -> Manners {
        Manners { read_deadline: READ_DEADLINE, write_deadline: WRITE_DEADLINE }
    }

    fn user(&self) -> &'static str {
        "user"
    }

    fn hostnodes(&self) -> Exchange<Scan<Hostnode>> {
        Exchange::reads("hostnodes", self.calls.pools(), |request, response| {
            Ok(scanned(request, response, wire::pools(&Answer::read(response).accepted()?)?))
        })
    }

    fn hostnode(&self, _: &HostnodeId) -> Option<Exchange<Lookup<Hostnode>>> {
        None
    }

    fn instances(&self) -> Exchange<Scan<Instance>> {
        Exchange::reads("instances", self.calls.vms(), |request, response| {
            Ok(scanned(request, response, wire::vms(&Answer::read(response).accepted()?)?))
        })
    }

    fn instance(&self, id: &InstanceId) -> Option<Exchange<Lookup<Instance>>> {
        Some(Exchange::reads("instance", self.calls.vm(id), |request, response| {
            match Answer::read(response).accepted() {
                Ok(answer) => {
                    let vm = wire::vm(&answer)?;
                    // An answer about another VM is not believed.
                    if request.path.ends_with(&format!("/{}", escaped(vm.id.as_str()))) {
                        Ok(Lookup::Here(vm))
                    } else {
                        Err(Refusal::Malformed("it is about another VM".into()))
                    }
                }
                Err(Refusal::Gone) => Ok(Lookup::Gone),
                Err(refusal) => Err(refusal),
            }
        }))
    }

    fn whoami(&self) -> Exchange<()> {
        Exchange::reads("whoami", self.calls.whoami(), |_, response| wire::taken(&Answer::read(response).accepted()?))
    }

    fn balance(&self) -> Option<Exchange<Balance>> {
        Some(Exchange::reads("balance", self.calls.account(), |_, response| {
            wire::balance(&Answer::read(response).accepted()?)
        }))
    }

    fn validate(&self, bid: &Bid) -> Option<Exchange<BidAnswer>> {
        Some(Exchange::reads("validate", self.calls.validate(bid), |_, response| {
            wire::accepted(&Answer::read(response).accepted()?)
        }))
    }

    fn rebid(&self, _: &InstanceId, _: HourlyRate) -> Option<Exchange<BidAnswer>> {
        None
    }

    fn deploy(&self, order: &Order) -> Result<Exchange<Deployed>, Refusal> {
        Ok(Exchange::writes("deploy", self.calls.create(order), |_, response| {
            let answer = Answer::read(response);
            let names_a_vm = answer.names_a_vm();
            match answer.accepted() {
                Ok(answer) => wire::deployed(&answer),
                Err(refusal) if names_a_vm => Err(contradicted(refusal)),
                // What is not found when one creates is the pool.
                Err(Refusal::Gone) => Err(Refusal::NoCapacity("there is no such pool".into())),
                Err(refusal) => Err(refusal),
            }
        }))
    }

    fn start(&self, _: &InstanceId) -> Option<Exchange<()>> {
        None
    }

    fn stop(&self, _: &InstanceId, _: Stop) -> Option<Exchange<()>> {
        None
    }

    fn terminate(&self, id: &InstanceId) -> Exchange<()> {
        Exchange::writes("terminate", self.calls.delete(id), |_, response| match read_deleted(response) {
            Err(Refusal::Gone) => Ok(()),
            told => told,
        })
    }

    fn raw_calls(&self) -> &'static [RawCall] {
        raw::CALLS
    }

    fn raw(&self, call: &RawCall, fields: &[(String, String)]) -> Option<Exchange<()>> {
        let request = self.calls.raw(call, fields)?;
        Some(match call.stakes {
            Stakes::Nothing => Exchange::reads(call.name, request, |_, response| read_told(response)),
            Stakes::Money => Exchange::writes(call.name, request, |_, response| read_told(response)),
            Stakes::Loss => Exchange::writes(call.name, request, |_, response| read_deleted(response)),
        })
    }
}

/// An answer that is JSON and no refusal.
fn read_told(response: &Response) -> Result<(), Refusal> {
    Answer::read(response).accepted().map(|_| ())
}

fn read_deleted(response: &Response) -> Result<(), Refusal> {
    wire::deleted(&Answer::read(response).accepted()?)
}
