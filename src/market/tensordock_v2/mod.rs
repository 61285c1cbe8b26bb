//! TensorDock v2: on demand only, machines sold by resource, JSON and a bearer token.
//!
//! ```text
//!   calls  ->  Request  ->  (client, network)  ->  Response  ->  answer  ->  wire, read  ->  our nouns
//!                                 fake  <------------------------------------------  the simulated world
//! ```
//!
//! [`calls`] says every request, [`answer`] tells refusals from answers, [`wire`] reads machines and VMs in every shape
//! that the documents and clients show, and this file puts them together as the [`Dialect`]. [`sdk`] has the calls that
//! no fleet needs and the table of all, [`raw`] the same by the vendor's own names. [`cloud_init`] takes a cloud-config
//! apart, for v2 takes it in parts. [`fake`] is the other side of the counter. What is known of the vendor is marked
//! *recorded*, *documented* or *assumed*, as the fixtures are.
//!
//! What v2 has no word for: bids, a balance (the organisation's is v0's), and a stop that gives the GPU back. That it
//! allows 100 requests a minute to an organisation is the settings' matter, who pace it.

pub mod answer;
pub mod calls;
pub mod cloud_init;
pub mod fake;
pub mod nouns;
pub mod raw;
mod read;
pub mod sdk;
pub mod wire;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod sdk_tests;

use crate::{
    io::net::{Request, Response},
    market::{
        Ability, Deployed, Dialect, Exchange, Language, Manners, Order, Stop, Wish, contradicted,
        hush::scanned,
        raw::{RawCall, Stakes},
    },
    model::{
        Balance, Hostnode, HostnodeId, HourlyRate, Instance, InstanceId, Lookup, PriceType, Refusal, Scan,
        catalogue::Vocabulary,
        image,
        offer::{Bid, BidAnswer, SSH_PORT},
    },
    settings::Api,
};
use answer::Answer;
use calls::{Calls, Filters};
use cloud_init::CloudInit;
use nouns::{Creation, Login, Site};
use secrecy::SecretString;
use std::{sync::Arc, time::Duration};

/// As v0's: lists are large, and one minute is the longest that clients wait for a create (recorded: 60 s).
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// Giving up on a write leaves it in doubt, so that it is given more.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);

/// The language of TensorDock v2.
#[derive(Debug)]
pub struct TensordockV2 {
    calls: Calls,
}

/// What the register knows of it. There is no key.
pub const LANGUAGE: Language = Language {
    dialect: |_, token| Arc::new(TensordockV2::new(token)),
    fake: |_, token| Box::new(fake::TensordockV2Fake::new(token)),
};

impl TensordockV2 {
    /// With this token.
    pub fn new(token: SecretString) -> Self {
        Self { calls: Calls::new(token) }
    }
}

/// Windows alone is logged into without a key, and without port 22 (documented).
fn is_windows(image: &str) -> bool {
    image.starts_with("windows")
}

/// What of a VM cannot be said here, whatever machine it is to stand on.
fn unsaid(image: &str, ports: impl IntoIterator<Item = u16>, key: Option<&str>, text: Option<&str>) -> Option<String> {
    let image = image::spelling(Vocabulary::TensordockV2, image);
    if !is_windows(image) && key.is_none_or(|key| key.trim().is_empty()) {
        return Some("TensorDock v2 makes no VM without an SSH key; set ssh_key".into());
    }
    if !is_windows(image) && ports.into_iter().all(|port| port != SSH_PORT) {
        return Some("TensorDock v2 makes no VM without port 22 forwarded; add it to ports".into());
    }
    CloudInit::of_cloud_config(text?).err().map(|error| error.to_string())
}

/// Why a fleet's VMs cannot be had here.
fn unable(wish: &Wish<'_>) -> Option<String> {
    let Wish { image, ports, ssh_key, cloud_init, stop } = wish;
    match stop {
        Some(Stop::ReleaseGpu) => {
            Some("TensorDock v2 has no stop that gives the GPU back; scale down by delete".into())
        }
        Some(Stop::KeepGpu) | None => unsaid(image, ports.iter().copied(), *ssh_key, *cloud_init),
    }
}

/// An order in v2's words.
fn creation(order: &Order) -> Result<Creation, Refusal> {
    let Order { name, hostnode, shape, price_type, bid: _, image, ports, ssh_key, cloud_init, password: _ } = order;
    match price_type {
        PriceType::OnDemand => {}
        PriceType::Spot => return Err(Refusal::Refused("TensorDock v2 takes no bids".into())),
    }
    if let Some(why) = unsaid(image, ports.values().copied(), ssh_key.as_deref(), cloud_init.as_deref()) {
        return Err(Refusal::Refused(why));
    }
    let parts = cloud_init.as_deref().map(CloudInit::of_cloud_config).transpose();
    Ok(Creation {
        name: name.clone(),
        image: image::spelling(Vocabulary::TensordockV2, image).to_owned(),
        site: Site::Hostnode(hostnode.clone()),
        shape: shape.clone(),
        ports: ports.clone(),
        dedicated_ip: false,
        login: ssh_key.as_ref().map_or(Login::Without, |key| Login::Key(key.trim().to_owned())),
        cloud_init: parts.map_err(|error| Refusal::Refused(error.to_string()))?.unwrap_or_default(),
    })
}

impl Dialect for TensordockV2 {
    fn manners(&self) -> Manners {
        Manners { read_deadline: READ_DEADLINE, write_deadline: WRITE_DEADLINE }
    }

    /// As in v0, which makes the same VMs (assumed).
    fn user(&self) -> &'static str {
        "user"
    }

    fn hostnodes(&self) -> Exchange<Scan<Hostnode>> {
        self.hostnodes_with(&Filters::default())
    }

    fn hostnode(&self, id: &HostnodeId) -> Option<Exchange<Lookup<Hostnode>>> {
        Some(Exchange::reads("hostnode", self.calls.hostnode(id), read_hostnode))
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
        Exchange::reads("whoami", self.calls.test(), |_, response| {
            read::organization(&Answer::read(response).accepted()?).map(|_| ())
        })
    }

    /// Its balance is v0's.
    fn balance(&self) -> Option<Exchange<Balance>> {
        None
    }

    fn validate(&self, _: &Bid) -> Option<Exchange<BidAnswer>> {
        None
    }

    fn rebid(&self, _: &InstanceId, _: HourlyRate) -> Option<Exchange<BidAnswer>> {
        None
    }

    fn ability(&self) -> Ability {
        Ability::new(Api::TensordockV2.as_str(), unable)
    }

    fn deploy(&self, order: &Order) -> Result<Exchange<Deployed>, Refusal> {
        Ok(self.create(&creation(order)?))
    }

    fn start(&self, id: &InstanceId) -> Option<Exchange<()>> {
        Some(Exchange::writes("start", self.calls.start(id), read_done))
    }

    /// The one stop there is ends in `stopped`, which keeps the GPU and is billed in full; `stoppeddisassociated` is only
    /// ever the vendor's doing (assumed: no document says what a stop does to the GPU).
    fn stop(&self, id: &InstanceId, how: Stop) -> Option<Exchange<()>> {
        match how {
            Stop::KeepGpu => Some(Exchange::writes("stop", self.calls.stop(id), read_done)),
            Stop::ReleaseGpu => None,
        }
    }

    fn terminate(&self, id: &InstanceId) -> Exchange<()> {
        Exchange::writes("terminate", self.calls.delete(id), read_gone)
    }

    fn raw_calls(&self) -> &'static [RawCall] {
        raw::CALLS
    }

    fn raw(&self, call: &RawCall, fields: &[(String, String)]) -> Option<Exchange<()>> {
        let request = self.calls.raw(call, fields)?;
        Some(match call.stakes {
            Stakes::Nothing => {
                Exchange::reads(call.name, request, |_, response| Answer::read(response).accepted().map(|_| ()))
            }
            Stakes::Money | Stakes::Loss => Exchange::writes(call.name, request, read_done),
        })
    }
}

fn read_hostnodes(request: &Request, response: &Response) -> Result<Scan<Hostnode>, Refusal> {
    Ok(scanned(request, response, wire::hostnodes(&Answer::read(response).accepted()?)?))
}

fn read_done(_: &Request, response: &Response) -> Result<(), Refusal> {
    Answer::read(response).done()
}

/// After a delete: what is not there any more is done.
fn read_gone(_: &Request, response: &Response) -> Result<(), Refusal> {
    match Answer::read(response).done() {
        Ok(()) | Err(Refusal::Gone) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

fn read_created(_: &Request, response: &Response) -> Result<Deployed, Refusal> {
    let answer = Answer::read(response);
    let names_a_vm = answer.names_a_vm();
    match answer.accepted() {
        Ok(object) => wire::deployed(object),
        Err(refusal) if names_a_vm => Err(contradicted(refusal)),
        // What is gone when one deploys is the machine.
        Err(Refusal::Gone) => Err(Refusal::NoCapacity("the hostnode is gone".into())),
        Err(refusal) => Err(refusal),
    }
}

/// What a path asks for.
fn asked(request: &Request) -> &str {
    request.path.rsplit('/').next().unwrap_or_default()
}

fn read_hostnode(request: &Request, response: &Response) -> Result<Lookup<Hostnode>, Refusal> {
    let is_missing = response.status == 404;
    match Answer::read(response).accepted() {
        Ok(object) => wire::hostnode_details(asked(request), object).map(Lookup::Here),
        Err(Refusal::Gone) => Ok(Lookup::Gone),
        // "Hostnode not found" is sorted as no capacity, which it is for whoever deploys.
        Err(Refusal::NoCapacity(_)) if is_missing => Ok(Lookup::Gone),
        Err(refusal) => Err(refusal),
    }
}

fn read_instance(request: &Request, response: &Response) -> Result<Lookup<Instance>, Refusal> {
    match Answer::read(response).accepted() {
        Ok(object) => wire::instance_details(asked(request), object).map(Lookup::Here),
        Err(Refusal::Gone) => Ok(Lookup::Gone),
        Err(refusal) => Err(refusal),
    }
}
