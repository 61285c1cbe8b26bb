//! The other side of TensorDock v2's counter.
//!
//! Judged as strictly as the real API: JSON alone, a bearer token, at least 100 GB of disk, port 22 for whatever is not
//! Windows, one of `ssh_key` and `ssh_key_id`. What the answers look like is FACTS' "one answer that satisfies the
//! documents and the clients": a list of flat VMs with their `attributes` beside, a bare VM by id, a wrapped one when it
//! is made. A lack of room comes with HTTP 200 and its status in the body, as clients met it. All decisions are the
//! world's ([`Backend`]), which v0's counter shares; only secrets are this counter's own.

mod order;
mod views;

use crate::{
    io::net::{Method, Request, Response},
    market::{Backend, Call, Fake, Stop, WorldOrder, WorldVm, raw::is_plain},
    model::{Hostnode, HostnodeId, InstanceId, InstanceStatus, PriceType, Refusal, Timestamp, time::elapsed},
};
use order::{Site, Wanted};
use serde_json::{Value, json};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What requests are counted over.
const MINUTE: Duration = Duration::from_secs(60);

/// In which shape VMs are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListShape {
    /// Everything, with what is documented beside it: what the clients in use were seen to read (recorded).
    #[default]
    Rich,
    /// `{type, id, attributes {name, status}}` and no more (documented).
    Bare,
}

/// A secret as it is kept.
#[derive(Clone)]
struct Kept {
    name: String,
    kind: String,
    value: String,
}

/// All secrets by id, and how many there ever were.
#[derive(Default)]
struct Secrets {
    by_id: BTreeMap<String, Kept>,
    made: u64,
}

/// TensorDock v2, simulated.
#[derive(Default)]
pub struct TensordockV2Fake {
    /// The token it takes; `None`: any.
    pub token: Option<String>,
    /// In which shape VMs are listed.
    pub list_shape: ListShape,
    /// So many requests are taken in any minute of the world, and further ones turned away with 429; `None`: all are. The
    /// vendor takes 100 of one organisation (documented). A world that runs faster than life cannot say it.
    pub requests_per_minute_max: Option<u32>,
    secrets: Mutex<Secrets>,
    /// When those of the last minute came.
    taken: Mutex<VecDeque<Timestamp>>,
}

/// An answer: HTTP status and JSON.
struct Reply {
    status: u16,
    body: Value,
}

impl Reply {
    fn ok(body: Value) -> Self {
        Self { status: 200, body }
    }

    fn refused(status: u16, error: impl Into<String>) -> Self {
        Self { status, body: json!({"error": error.into()}) }
    }

    /// A refusal under HTTP 200 (recorded by three clients).
    fn refused_within(error: &str) -> Self {
        Self::ok(json!({"status": 400, "error": error}))
    }

    /// A refusal of a field (recorded).
    fn wrong(field: &str, message: impl Into<String>) -> Self {
        let error = json!({"code": "custom", "message": message.into(), "path": ["data", "attributes", field]});
        Self { status: 400, body: json!([error]) }
    }

    /// Something was done (documented).
    fn done(message: &str) -> Self {
        Self::ok(json!({"data": {"type": "success", "attributes": {"message": message}}}))
    }
}

/// A request as this API tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'a> {
    Test,
    Places,
    Hostnodes,
    Hostnode(&'a str),
    Instances,
    Create,
    Instance(&'a str),
    Start(&'a str),
    Stop(&'a str),
    Modify(&'a str),
    Delete(&'a str),
    Secrets,
    CreateSecret,
    Secret(&'a str),
    DeleteSecret(&'a str),
    /// There is such a path, but not for this method.
    WrongMethod,
    Unknown,
}

impl<'a> Route<'a> {
    fn of(request: &'a Request) -> Self {
        use Method::{Delete, Get, Post, Put};
        let path = request.path.strip_prefix("/api/v2/").unwrap_or_default().trim_end_matches('/');
        let parts: Vec<&str> = path.split('/').collect();
        match (parts.as_slice(), request.method) {
            (["auth", "test"], Post) => Self::Test,
            (["locations"], Get) => Self::Places,
            (["hostnodes"], Get) => Self::Hostnodes,
            (["hostnodes", id], Get) => Self::Hostnode(id),
            (["instances"], Get) => Self::Instances,
            (["instances"], Post) => Self::Create,
            (["instances", id], Get) => Self::Instance(id),
            (["instances", id], Delete) => Self::Delete(id),
            (["instances", id, "start"], Post) => Self::Start(id),
            (["instances", id, "stop"], Post) => Self::Stop(id),
            (["instances", id, "modify"], Put) => Self::Modify(id),
            (["secrets"], Get) => Self::Secrets,
            (["secrets"], Post) => Self::CreateSecret,
            (["secrets", id], Get) => Self::Secret(id),
            (["secrets", id], Delete) => Self::DeleteSecret(id),
            (
                ["auth", "test"]
                | ["locations" | "hostnodes" | "instances" | "secrets"]
                | ["hostnodes" | "instances" | "secrets", _]
                | ["instances", _, "start" | "stop" | "modify"],
                Get | Post | Put | Delete,
            ) => Self::WrongMethod,
            (_, Get | Post | Put | Delete) => Self::Unknown,
        }
    }
}

impl Fake for TensordockV2Fake {
    fn prefix(&self) -> &'static str {
        "/api/v2/"
    }

    fn call(&self, request: &Request) -> Call {
        match Route::of(request) {
            Route::Test => Call::Whoami,
            Route::Hostnodes => Call::Hostnodes,
            Route::Hostnode(_) => Call::Hostnode,
            Route::Instances => Call::Instances,
            Route::Create => Call::Deploy,
            Route::Instance(_) => Call::Instance,
            Route::Start(_) => Call::Start,
            Route::Stop(_) => Call::Stop,
            Route::Delete(_) => Call::Terminate,
            Route::Places
            | Route::Modify(_)
            | Route::Secrets
            | Route::CreateSecret
            | Route::Secret(_)
            | Route::DeleteSecret(_)
            | Route::WrongMethod
            | Route::Unknown => Call::Other,
        }
    }

    fn serve(&self, backend: &mut dyn Backend, request: &Request) -> Response {
        let answer = if self.has_room(|| backend.now()) {
            self.answer(backend, request)
        } else {
            Err(Reply::refused(429, "Too many requests"))
        };
        let Reply { status, body } = answer.unwrap_or_else(|refused| refused);
        Response::json(status, body.to_string())
    }
}

impl TensordockV2Fake {
    /// One that takes this token; `None`: any.
    pub fn new(token: Option<String>) -> Self {
        Self { token, ..Self::default() }
    }

    /// Whether one more may be taken now. One that is turned away does not count.
    fn has_room(&self, now: impl FnOnce() -> Timestamp) -> bool {
        let Some(most) = self.requests_per_minute_max else { return true };
        let now = now();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.front().is_some_and(|at| elapsed(*at, now) >= MINUTE) {
            taken.pop_front();
        }
        let has_room = taken.len() < most as usize;
        if has_room {
            taken.push_back(now);
        }
        has_room
    }

    fn answer(&self, backend: &mut dyn Backend, request: &Request) -> Result<Reply, Reply> {
        let route = Route::of(request);
        match route {
            // Anybody may look (recorded).
            Route::Places => return Ok(views::places(&backend.hostnodes())),
            Route::Unknown => return Err(Reply::refused(404, "Not found")),
            Route::WrongMethod => return Err(Reply::refused(405, "Method not allowed")),
            _ => {}
        }
        self.authorise(request)?;
        match route {
            Route::Test => Ok(Reply::ok(json!({"success": true, "organizationId": views::ORGANIZATION}))),
            Route::Hostnodes => Ok(views::hostnodes(&backend.hostnodes(), request)),
            Route::Hostnode(id) => {
                let hosts = backend.hostnodes();
                let host = hosts.iter().find(|host| host.id.as_str() == id).and_then(views::hostnode_details);
                host.map(|host| Reply::ok(json!({"data": host})))
                    .ok_or_else(|| Reply::refused(404, "Hostnode not found"))
            }
            Route::Instances => Ok(self.list(backend)),
            Route::Create => self.create(backend, request),
            Route::Instance(id) => vm(backend, id).map(|vm| Reply::ok(views::instance(&vm))),
            Route::Start(id) => start(backend, id),
            Route::Stop(id) => stop(backend, id),
            Route::Modify(id) => modify(backend, id, request),
            Route::Delete(id) => delete(backend, id),
            Route::Secrets => Ok(self.list_secrets()),
            Route::CreateSecret => self.keep_secret(request),
            Route::Secret(id) => self.open_secret(id),
            Route::DeleteSecret(id) => self.forget_secret(id),
            Route::Places | Route::Unknown | Route::WrongMethod => Err(Reply::refused(404, "Not found")),
        }
    }

    fn authorise(&self, request: &Request) -> Result<(), Reply> {
        let given = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
        match (&self.token, given) {
            (Some(wanted), Some(given)) if wanted == given.trim() => Ok(()),
            (None, Some(_)) => Ok(()),
            (Some(_), Some(_)) | (_, None) => Err(Reply::refused(401, "Unauthorized")),
        }
    }

    fn list(&self, backend: &mut dyn Backend) -> Reply {
        let vms = backend.vms();
        let view = match self.list_shape {
            ListShape::Rich => views::listed,
            ListShape::Bare => views::listed_bare,
        };
        Reply::ok(json!({"data": {"instances": vms.iter().map(view).collect::<Vec<Value>>()}}))
    }

    fn create(&self, backend: &mut dyn Backend, request: &Request) -> Result<Reply, Reply> {
        let wanted = Wanted::read(&json_body(request)?)?;
        if let Some(id) = &wanted.ssh_key_id
            && !self.secrets().by_id.contains_key(id)
        {
            return Err(Reply::wrong("ssh_key_id", "SSH key not found"));
        }
        let hosts = backend.hostnodes();
        let (sites, short): (Vec<_>, _) = match &wanted.site {
            Site::Hostnode(id) => {
                let host = hosts.iter().find(|host| host.id == *id && host.online);
                (host.into_iter().collect(), "Hostnode unavailable")
            }
            Site::Place(place) => {
                let there = |host: &&Hostnode| views::place_id(&host.location) == *place && host.online;
                let mut sites: Vec<_> = hosts.iter().filter(there).collect();
                // The machine that the place shows is asked first: what is shown is what one gets.
                sites.sort_by_key(|host| Reverse(views::free_gpus(host, &wanted.shape.gpu_model)));
                (sites, "No available nodes found")
            }
        };
        for host in sites {
            let Some(ports) = wanted.ports_on(host) else { continue };
            match backend.deploy(wanted.order(host.id.clone(), ports)) {
                Ok(vm) => return Ok(Reply { status: 201, body: json!({"data": views::created(&vm)}) }),
                Err(Refusal::NoCapacity(_) | Refusal::BidTooLow(_)) => {}
                Err(refusal) => return Err(refused(refusal)),
            }
        }
        Err(Reply::refused_within(short))
    }

    fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list_secrets(&self) -> Reply {
        let secrets = self.secrets();
        let list: Vec<Value> =
            secrets.by_id.iter().map(|(id, kept)| views::secret(id, &kept.kind, &kept.name)).collect();
        Reply::ok(json!({"data": {"secrets": list}}))
    }

    fn keep_secret(&self, request: &Request) -> Result<Reply, Reply> {
        let body = json_body(request)?;
        let attributes = &body["data"]["attributes"];
        let text = |name: &str| {
            let text = attributes[name].as_str().filter(|text| !text.trim().is_empty());
            text.map(str::to_owned).ok_or_else(|| Reply::wrong(name, format!("{name} is required")))
        };
        let kept = Kept { name: text("name")?, kind: text("type")?, value: text("value")? };
        if !["SSHKEY", "GENERIC", "SECRET"].contains(&kept.kind.as_str()) {
            return Err(Reply::wrong("type", "type must be SSHKEY, GENERIC or SECRET"));
        }
        let mut secrets = self.secrets();
        secrets.made = secrets.made.saturating_add(1);
        let id = views::uuid_of(&format!("secret/{}", secrets.made));
        let view = views::secret(&id, &kept.kind, &kept.name);
        secrets.by_id.insert(id, kept);
        Ok(Reply { status: 201, body: json!({"data": view}) })
    }

    fn open_secret(&self, id: &str) -> Result<Reply, Reply> {
        let secrets = self.secrets();
        let kept = secrets.by_id.get(id).ok_or_else(|| Reply::refused(404, "Secret not found"))?;
        let mut view = views::secret(id, &kept.kind, &kept.name);
        if kept.kind != "SECRET" {
            view["value"] = json!(kept.value);
        }
        Ok(Reply::ok(json!({"data": view})))
    }

    fn forget_secret(&self, id: &str) -> Result<Reply, Reply> {
        let gone = || Reply::refused(404, "Secret not found");
        self.secrets().by_id.remove(id).map(|_| Reply::done("Secret deleted successfully")).ok_or_else(gone)
    }
}

/// JSON and nothing else.
fn json_body(request: &Request) -> Result<Value, Reply> {
    let kind = request.header("content-type").unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err(Reply::refused(415, "Content-Type must be application/json"));
    }
    serde_json::from_slice(&request.body).map_err(|_| Reply::refused(400, "Invalid JSON"))
}

fn vm(backend: &mut dyn Backend, id: &str) -> Result<WorldVm, Reply> {
    let id: Option<InstanceId> = if is_plain(id) { id.parse().ok() } else { None };
    id.and_then(|id| backend.vm(&id)).ok_or_else(gone)
}

fn gone() -> Reply {
    Reply::refused(404, "Instance not found")
}

fn start(backend: &mut dyn Backend, id: &str) -> Result<Reply, Reply> {
    let vm = vm(backend, id)?;
    match vm.instance.status {
        InstanceStatus::Starting | InstanceStatus::Running => {
            return Err(Reply::refused(409, "Instance is already running"));
        }
        InstanceStatus::Leaving => return Err(gone()),
        InstanceStatus::StoppedKept
        | InstanceStatus::StoppedReleased
        | InstanceStatus::Outbid
        | InstanceStatus::Unknown(_) => {}
    }
    backend.start(&vm.instance.id).map_err(refused)?;
    Ok(Reply::ok(views::transition(id, "starting")))
}

fn stop(backend: &mut dyn Backend, id: &str) -> Result<Reply, Reply> {
    let vm = vm(backend, id)?;
    match vm.instance.status {
        InstanceStatus::Starting | InstanceStatus::Running => {}
        InstanceStatus::StoppedKept
        | InstanceStatus::StoppedReleased
        | InstanceStatus::Outbid
        | InstanceStatus::Leaving
        | InstanceStatus::Unknown(_) => return Err(Reply::refused(409, "Instance must be running")),
    }
    backend.stop(&vm.instance.id, Stop::KeepGpu).map_err(refused)?;
    Ok(Reply::ok(views::transition(id, "stopping")))
}

fn modify(backend: &mut dyn Backend, id: &str, request: &Request) -> Result<Reply, Reply> {
    let vm = vm(backend, id)?;
    match vm.instance.status {
        InstanceStatus::StoppedKept | InstanceStatus::StoppedReleased => {}
        InstanceStatus::Starting
        | InstanceStatus::Running
        | InstanceStatus::Outbid
        | InstanceStatus::Leaving
        | InstanceStatus::Unknown(_) => return Err(Reply::refused(409, "Instance must be stopped")),
    }
    let shape = order::new_shape(&json_body(request)?, &vm.shape)?;
    backend.modify(&vm.instance.id, shape).map_err(refused)?;
    Ok(Reply::done("Instance modified successfully"))
}

fn delete(backend: &mut dyn Backend, id: &str) -> Result<Reply, Reply> {
    let id: InstanceId = id.parse().map_err(|_| gone())?;
    match backend.terminate(&id) {
        Ok(()) => Ok(Reply::done("Instance deleted successfully")),
        Err(Refusal::Gone) => Err(gone()),
        Err(refusal) => Err(refused(refusal)),
    }
}

/// A refusal of the world, as the vendor would say it.
fn refused(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::NoCapacity(_) | Refusal::BidTooLow(_) => {
            Reply::refused(400, "Not enough resources are available on the hostnode")
        }
        Refusal::Broke(why) => Reply::refused(400, format!("Insufficient balance: {why}")),
        Refusal::Gone => gone(),
        Refusal::Refused(why) => Reply::refused(400, why),
        Refusal::Throttled { .. } => Reply::refused(429, "Too many requests"),
        Refusal::Unauthorized(why) => Reply::refused(401, why),
        Refusal::Malformed(why) | Refusal::Unreachable(why) => Reply::refused(500, why),
    }
}

impl Wanted {
    /// As the world takes it. Nobody bids here.
    fn order(&self, hostnode: HostnodeId, ports: BTreeMap<u16, u16>) -> WorldOrder {
        WorldOrder {
            name: self.name.clone(),
            hostnode,
            shape: self.shape.clone(),
            price_type: PriceType::OnDemand,
            bid: None,
            image: self.image.clone(),
            ports,
            rule: super::wire::RULE,
        }
    }
}
