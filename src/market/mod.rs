//! The languages: how each marketplace says the verbs the engine needs.
//!
//! A marketplace's folder holds no IO and no `async`: every call is a request as data plus a pure reader of its answer
//! ([`Exchange`]). Pacing, deadlines, retries, spans and metrics are written once, around all of them, in the client.
//! The other side of the counter ([`Fake`]) lives in the same folder: it reads our request, asks a simulated world
//! ([`Backend`]), and answers in kind.
//!
//! A marketplace more is one folder with its dialect, fake and fixtures, and one line in [`language`]: see [`adding`].

pub mod adding;
mod call;
pub mod client;
#[cfg(test)]
mod examples;
pub mod hush;
pub mod json;
pub mod raw;
pub mod tensordock_v0;
pub mod tensordock_v2;
pub mod trace;
pub mod vectordash;

pub use crate::model::wish::{Ability, Stop, Wish};
pub use call::Call;

use crate::{
    io::net::{Request, Response},
    model::{
        Hostnode, HostnodeId, HourlyRate, Instance, InstanceId, Lookup, PriceType, Refusal, Scan, Shape, Usd, VmName,
        inventory::Balance,
        offer::{Bid, BidAnswer, PriceRule, Rates},
    },
    settings::Api,
};
use secrecy::SecretString;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A proxy in front of an API may answer 200 and say the server's true status in this header (documented, TensorDock).
pub const ORIGINAL_STATUS: &str = "x-do-orig-status";

/// The name of every call that the engine makes, a label: counters exist from the start.
pub const CALLS: &[&str] = &[
    "balance",
    "deploy",
    "hostnode",
    "hostnodes",
    "instance",
    "instances",
    "rebid",
    "start",
    "stop",
    "terminate",
    "validate",
    "whoami",
];

/// What each marketplace's folder gives to the house.
#[derive(Clone, Copy, Debug)]
pub struct Language {
    /// Speaks it, with these credentials: the key, for APIs that have two, and the token.
    pub dialect: fn(Option<SecretString>, SecretString) -> Arc<dyn Dialect>,
    /// The other side of the counter, which takes these credentials; `None` takes any.
    pub fake: fn(Option<String>, Option<String>) -> Box<dyn Fake>,
}

/// The register: where each API's folder is found.
pub const fn language(api: Api) -> &'static Language {
    match api {
        Api::TensordockV0 => &tensordock_v0::LANGUAGE,
        Api::TensordockV2 => &tensordock_v2::LANGUAGE,
        Api::Vectordash => &vectordash::LANGUAGE,
        Api::Trace => &trace::LANGUAGE,
    }
}

/// The language of an API, with these credentials. An API with one credential takes only the token.
pub fn dialect(api: Api, key: Option<SecretString>, token: SecretString) -> Arc<dyn Dialect> {
    (language(api).dialect)(key, token)
}

/// The ability that is known by a word; `None` where no API has such a one.
pub fn ability(word: &str) -> Option<Ability> {
    let able = |api: &Api| dialect(*api, None, SecretString::default()).ability();
    std::iter::once(Ability::ANY).chain(Api::ALL.iter().map(able)).find(|ability| ability.word() == word)
}

/// The other side of an API's counter; `None` takes any credentials.
pub fn fake(api: Api, key: Option<String>, token: Option<String>) -> Box<dyn Fake> {
    (language(api).fake)(key, token)
}

/// What a request does to the world. Only reads are ever sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Reads,
    /// Something, perhaps even when no answer comes.
    Writes,
}

/// Reads the answer to a request. A plain fn of both: it can hide nothing.
pub type Read<T> = fn(&Request, &Response) -> Result<T, Refusal>;

/// One request, and the pure function that reads its answer.
pub struct Exchange<T> {
    /// The call's name, a label: `hostnodes`, `deploy`, …
    pub call: &'static str,
    /// What to send.
    pub request: Request,
    /// What it does.
    pub effect: Effect,
    /// How its answer is read.
    pub read: Read<T>,
}

impl<T> Exchange<T> {
    /// A call that changes nothing.
    pub const fn reads(call: &'static str, request: Request, read: Read<T>) -> Self {
        Self { call, request, effect: Effect::Reads, read }
    }

    /// A call that may change something.
    pub const fn writes(call: &'static str, request: Request, read: Read<T>) -> Self {
        Self { call, request, effect: Effect::Writes, read }
    }

    /// What an answer says; a refusal without what must not be told ([`hush`]).
    ///
    /// # Errors
    /// The refusal that it is.
    pub fn understood(&self, response: &Response) -> Result<T, Refusal> {
        (self.read)(&self.request, response).map_err(|refusal| hush::hushed(&self.request, Some(response), refusal))
    }
}

/// A refusal to make something, in an answer that names what was made all the same: neither is believed.
fn contradicted(refusal: Refusal) -> Refusal {
    if refusal.settles() { Refusal::Malformed(format!("it names a VM, and says: {refusal}")) } else { refusal }
}

/// How politely a marketplace wants to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    /// Real time a read may take.
    pub read_deadline: Duration,
    /// Real time a write may take.
    pub write_deadline: Duration,
}

/// All that a deploy says. Everything in it was decided by the plan, but for the password.
#[derive(Clone, Debug)]
pub struct Order {
    /// The key under which it is looked for.
    pub name: VmName,
    /// On which machine.
    pub hostnode: HostnodeId,
    /// What.
    pub shape: Shape,
    /// How it is paid for.
    pub price_type: PriceType,
    /// The bid, for spot: per VM and hour, without storage.
    pub bid: Option<HourlyRate>,
    /// Operating system.
    pub image: String,
    /// Outside port to inside port.
    pub ports: BTreeMap<u16, u16>,
    /// OpenSSH public key.
    pub ssh_key: Option<String>,
    /// cloud-init, the text itself.
    pub cloud_init: Option<String>,
    /// Random, never stored, never shown.
    pub password: SecretString,
}

/// What a deploy that succeeded says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The vendor's id of the new VM.
    pub id: InstanceId,
    /// What it says it costs.
    pub quoted: Option<Rates>,
    /// Where it can be reached.
    pub address: Option<String>,
    /// Outside port to inside port, as granted.
    pub ports: BTreeMap<u16, u16>,
}

/// How one marketplace says the verbs the engine needs. What it cannot say it answers with `None`.
pub trait Dialect: Send + Sync {
    /// Deadlines.
    fn manners(&self) -> Manners;
    /// Who one logs into its VMs as.
    fn user(&self) -> &'static str;
    /// All hostnodes.
    fn hostnodes(&self) -> Exchange<Scan<Hostnode>>;
    /// One hostnode.
    fn hostnode(&self, id: &HostnodeId) -> Option<Exchange<Lookup<Hostnode>>>;
    /// All VMs of the account.
    fn instances(&self) -> Exchange<Scan<Instance>>;
    /// One VM by id.
    fn instance(&self, id: &InstanceId) -> Option<Exchange<Lookup<Instance>>>;
    /// Whether the credentials are taken.
    fn whoami(&self) -> Exchange<()>;
    /// What the account holds.
    fn balance(&self) -> Option<Exchange<Balance>>;
    /// Asks about a bid for a *new* VM: a read.
    fn validate(&self, bid: &Bid) -> Option<Exchange<BidAnswer>>;
    /// Asks about a bid for an *existing* VM: a **write**, for it may move the bid.
    fn rebid(&self, id: &InstanceId, price: HourlyRate) -> Option<Exchange<BidAnswer>>;
    /// Whether VMs can be had here as a fleet wants them. Where they cannot, nothing is rented here for that fleet.
    fn ability(&self) -> Ability {
        Ability::ANY
    }
    /// Makes a VM.
    ///
    /// # Errors
    /// What of the order cannot be said in this language. Then nothing is sent: a VM that lacks what was ordered is worse
    /// than none.
    fn deploy(&self, order: &Order) -> Result<Exchange<Deployed>, Refusal>;
    /// Starts a stopped or outbid VM.
    fn start(&self, id: &InstanceId) -> Option<Exchange<()>>;
    /// Stops a VM.
    fn stop(&self, id: &InstanceId, how: Stop) -> Option<Exchange<()>>;
    /// Deletes a VM. That it is gone already reads as success.
    fn terminate(&self, id: &InstanceId) -> Exchange<()>;
    /// Every call of the API, by the vendor's names.
    fn raw_calls(&self) -> &'static [raw::RawCall];
    /// One of them; `None` for a value that cannot stand in its path. What it reads is only whether it was refused.
    fn raw(&self, call: &raw::RawCall, fields: &[(String, String)]) -> Option<Exchange<()>>;
}

/// A VM as the simulated world keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldVm {
    /// What the vendor would show.
    pub instance: Instance,
    /// Its size.
    pub shape: Shape,
    /// Where it stands.
    pub location: crate::model::offer::Location,
    /// Operating system.
    pub image: String,
}

/// What a fake's deploy asks of the world.
#[derive(Clone, Debug)]
pub struct WorldOrder {
    /// The name it is to have; any text.
    pub name: VmName,
    /// On which machine.
    pub hostnode: HostnodeId,
    /// What.
    pub shape: Shape,
    /// How it is paid for.
    pub price_type: PriceType,
    /// The bid, for spot.
    pub bid: Option<HourlyRate>,
    /// Operating system.
    pub image: String,
    /// Outside port to inside port.
    pub ports: BTreeMap<u16, u16>,
    /// How its price is put together: each API of a vendor has its own rounding.
    pub rule: PriceRule,
}

/// What the account of the simulated world paid and got in one month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorldMonth {
    /// What it held when the month began.
    pub opening: Usd,
    /// What it held when the month ended, or holds now.
    pub closing: Usd,
    /// What was put into it.
    pub deposited: Usd,
    /// VM by VM; those that cost nothing are left out.
    pub bills: Vec<WorldBill>,
}

/// What one VM cost in a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldBill {
    /// Which.
    pub vm: InstanceId,
    /// On which machine.
    pub hostnode: HostnodeId,
    /// Its size, last.
    pub shape: Shape,
    /// Its rates, last.
    pub rates: Rates,
    /// Paid for its GPUs, vCPUs and memory.
    pub compute: Usd,
    /// Paid for its disk.
    pub storage: Usd,
}

/// The simulated world as a fake sees it. Each call happens at the world's present moment.
pub trait Backend {
    /// The world's wall clock.
    fn now(&self) -> crate::model::Timestamp;
    /// The machines listed now.
    fn hostnodes(&mut self) -> Vec<Hostnode>;
    /// The account's VMs as listed now.
    fn vms(&mut self) -> Vec<WorldVm>;
    /// One VM.
    fn vm(&mut self, id: &InstanceId) -> Option<WorldVm>;
    /// What the account holds, and what it costs per hour.
    fn wallet(&mut self) -> (Usd, HourlyRate);
    /// Whether a bid for a new VM would succeed.
    fn validate(&mut self, bid: &Bid) -> BidAnswer;
    /// Moves an existing VM's bid if it would succeed; says whether it did.
    ///
    /// # Errors
    /// When there is no such VM or it is not spot.
    fn rebid(&mut self, id: &InstanceId, price: HourlyRate) -> Result<BidAnswer, Refusal>;
    /// Makes a VM.
    ///
    /// # Errors
    /// When the world says no.
    fn deploy(&mut self, order: WorldOrder) -> Result<WorldVm, Refusal>;
    /// Starts a VM.
    ///
    /// # Errors
    /// `Gone`, or `Refused` with the state it is in.
    fn start(&mut self, id: &InstanceId) -> Result<(), Refusal>;
    /// Stops a VM.
    ///
    /// # Errors
    /// `Gone`, or `Refused` with the state it is in.
    fn stop(&mut self, id: &InstanceId, how: Stop) -> Result<(), Refusal>;
    /// Gives a stopped VM another size, and with it another price.
    ///
    /// # Errors
    /// `Gone`, `Refused` with the state it is in, or what a deploy of that size would be refused for.
    fn modify(&mut self, id: &InstanceId, shape: Shape) -> Result<(), Refusal>;
    /// Deletes a VM.
    ///
    /// # Errors
    /// `Gone` when there is none.
    fn terminate(&mut self, id: &InstanceId) -> Result<(), Refusal>;
    /// What was paid in a month of UTC: the year, and the month from 1 to 12.
    fn month(&mut self, year: i16, month: i8) -> WorldMonth;
}

/// The other side of the counter: reads our request, asks the simulated world, answers in kind.
pub trait Fake: Send + Sync {
    /// What the paths of the API begin with, its slash at the end included: several are spoken on one port.
    fn prefix(&self) -> &'static str;
    /// Tells the calls apart.
    fn call(&self, request: &Request) -> Call;
    /// Answers one request.
    fn serve(&self, backend: &mut dyn Backend, request: &Request) -> Response;
}
