//! The other side of TensorDock v0's counter.
//!
//! Each request is read as leniently as the real API reads its many clients, and judged as strictly: credentials may come
//! in any place, but an odd number of vCPUs is HTTP 400. What the answers look like is FACTS' "one answer that satisfies
//! the documents and the clients": refusals of a state or a bid come with HTTP 200, a wrong order with 400, a bid that
//! does not pass with 200 and the proxy's header saying 500. All decisions are the world's ([`Backend`]).

mod form;
mod more;
pub mod order;
mod views;

pub use views::uuid_of;

use crate::{
    io::net::{Method, Request, Response},
    market::{Backend, Call, Fake, ORIGINAL_STATUS, Stop, WorldVm},
    model::{
        Hostnode, InstanceId, InstanceStatus, Refusal,
        offer::{BidAnswer, Supply},
    },
};
use form::Form;
use serde_json::{Map, Value, json};

/// TensorDock v0, simulated.
#[derive(Clone, Default)]
pub struct TensordockV0Fake {
    /// The key it takes; `None`: any.
    pub key: Option<String>,
    /// The token it takes; `None`: any.
    pub token: Option<String>,
}

/// An answer: HTTP status, the status that the proxy's header tells, JSON.
struct Reply {
    status: u16,
    original_status: u16,
    body: Value,
}

impl Reply {
    fn ok(body: Value) -> Self {
        Self { status: 200, original_status: 200, body }
    }

    fn done() -> Self {
        Self::ok(json!({"success": true}))
    }

    fn refused(status: u16, error: impl Into<String>) -> Self {
        Self { status, original_status: status, body: json!({"success": false, "error": error.into()}) }
    }

    /// A bid that does not pass (documented, S1).
    fn bid_refused() -> Self {
        Self { status: 200, original_status: 500, body: json!({"success": false}) }
    }
}

impl Fake for TensordockV0Fake {
    fn prefix(&self) -> &'static str {
        "/api/v0/"
    }

    /// By its path alone, for some clients send GET where others POST.
    fn call(&self, request: &Request) -> Call {
        match request.path.trim_start_matches("/api/v0").trim_end_matches('/') {
            "/auth/test" => Call::Whoami,
            "/billing/balance" => Call::Balance,
            "/client/deploy/hostnodes" => Call::Hostnodes,
            "/client/deploy/single" => Call::Deploy,
            "/client/spot/validate/new" => Call::Validate,
            "/client/spot/validate/existing" => Call::Rebid,
            "/client/list" => Call::Instances,
            "/client/get/single" => Call::Instance,
            "/client/start/single" => Call::Start,
            "/client/stop/single" => Call::Stop,
            "/client/delete/single" => Call::Terminate,
            path if path.starts_with("/client/deploy/hostnodes/") && request.method == Method::Get => Call::Hostnode,
            _ => Call::Other,
        }
    }

    fn serve(&self, backend: &mut dyn Backend, request: &Request) -> Response {
        let form = Form::read(request);
        let Reply { status, original_status, body } =
            self.answer(backend, request, &form).unwrap_or_else(|refused| refused);
        let mut response = Response::json(status, body.to_string());
        response.headers.push((ORIGINAL_STATUS.into(), original_status.to_string()));
        response
    }
}

impl TensordockV0Fake {
    fn answer(&self, backend: &mut dyn Backend, request: &Request, form: &Form) -> Result<Reply, Reply> {
        let unknown = || Reply::refused(404, "Unknown endpoint");
        let path = request.path.strip_prefix("/api/v0/").ok_or_else(unknown)?.trim_end_matches('/');
        // These need no credentials (documented, S1; recorded by clients).
        match path {
            "client/deploy/hostnodes" => return Ok(hostnodes(backend, form)),
            "client/deploy/instantvms" => return Ok(more::instant_vms(backend)),
            "client/spot/validate/new" => return validate_new(backend, form),
            _ => {}
        }
        if let Some(id) = path.strip_prefix("client/deploy/hostnodes/") {
            return hostnode(backend, id);
        }
        let call = ROUTES.iter().find(|(route, _)| *route == path).map(|(_, call)| *call);
        let containers = path.starts_with("client/container/");
        if call.is_none() && !containers {
            return Err(unknown());
        }
        self.authorise(form)?;
        match call {
            Some(call) => call(backend, form),
            None => Err(Reply::refused(400, "This endpoint is deprecated. We no longer support containers.")),
        }
    }

    fn authorise(&self, form: &Form) -> Result<(), Reply> {
        let takes = |wanted: &Option<String>, name: &str| match wanted {
            Some(wanted) => form.all(name).any(|given| given == wanted),
            None => true,
        };
        if takes(&self.key, "api_key") && takes(&self.token, "api_token") {
            Ok(())
        } else {
            Err(Reply::refused(401, "Invalid API key or API token"))
        }
    }
}

type Answerer = fn(&mut dyn Backend, &Form) -> Result<Reply, Reply>;

/// What needs credentials. GET and POST are both taken everywhere, as clients use both (recorded).
const ROUTES: &[(&str, Answerer)] = &[
    ("auth/test", |_, _| Ok(Reply::done())),
    ("auth/list", |_, _| {
        let one =
            json!({"permissions": "All", "timestamp_creation": "2022-12-04 02:26:01.898472", "note": "simulated"});
        Ok(Reply::ok(json!({"success": true, "authorizations": {"simulated": one}})))
    }),
    ("client/deploy/single", deploy),
    ("client/spot/validate/existing", validate_existing),
    ("client/list", |backend, _| {
        let vms = backend.vms();
        let vms: Map<String, Value> = vms.iter().map(|vm| (vm.instance.id.to_string(), views::listed(vm))).collect();
        Ok(Reply::ok(json!({"success": true, "virtualmachines": vms})))
    }),
    ("client/get/single", |backend, form| {
        let vm = vm(backend, form)?;
        Ok(Reply::ok(json!({"success": true, "virtualmachine": views::details(&vm)})))
    }),
    ("client/start/single", start),
    ("client/stop/single", stop),
    ("client/delete/single", delete),
    ("client/modify/single", more::modify),
    ("client/deployinstant/single", more::deploy_instant),
    ("billing/balance", |backend, _| {
        let (balance, hourly_cost) = backend.wallet();
        let body = json!({"balance": balance.to_f64(), "hourly_cost": hourly_cost.to_f64(), "success": true});
        Ok(Reply::ok(body))
    }),
    // A customer hosts nothing.
    ("billing/revenue", |_, _| Ok(Reply::ok(json!({"data": []})))),
    ("billing/summary", more::summary),
];

/// Whether a machine passes the list's filters (documented, S1). `maxGPUCount` of 0 asks for machines on which a VM
/// without a GPU can run; what another one filters is assumed: machines with more free GPUs.
fn passes(host: &Hostnode, form: &Form) -> bool {
    let Supply::Resources(resources) = &host.supply else { return false };
    let at_least = |name: &str, free: u32| form.number(name).is_none_or(|least| free >= least);
    let gpus: u32 = resources.gpus.values().map(|stock| stock.free).sum();
    let any = |fits: &dyn Fn(&str) -> bool| resources.gpus.keys().any(|model| fits(model.as_str()));
    let vram = |least: u32| resources.gpus.keys().any(|model| model.vram_gb().is_some_and(|vram| vram >= least));
    at_least("minvCPUs", resources.vcpus.free)
        && at_least("minRAM", resources.ram_gb.free)
        && form.number("maxRAM").is_none_or(|most| resources.ram_gb.free <= most)
        && at_least("minStorage", resources.storage_gb.free)
        && form.number("minVRAM").is_none_or(vram)
        && (!form.flag("requiresRTX") || any(&|model| model.contains("rtx")))
        && (!form.flag("requiresGTX") || any(&|model| model.contains("gtx")))
        && match form.number("maxGPUCount") {
            Some(0) => resources.vcpus.free > 0,
            most => at_least("minGPUCount", gpus) && most.is_none_or(|most| gpus <= most),
        }
}

fn hostnodes(backend: &mut dyn Backend, form: &Form) -> Reply {
    let hosts = backend.hostnodes();
    let hosts = hosts.iter().filter(|host| passes(host, form));
    let hosts: Map<String, Value> =
        hosts.filter_map(|host| Some((host.id.to_string(), views::hostnode(host)?))).collect();
    Reply::ok(json!({"hostnodes": hosts, "success": true}))
}

/// Under its id (S1) and under `hostnode` (recorded by clients).
fn hostnode(backend: &mut dyn Backend, id: &str) -> Result<Reply, Reply> {
    let hosts = backend.hostnodes();
    let host = hosts.iter().find(|host| host.id.as_str() == id).and_then(views::hostnode);
    let host = host.ok_or_else(|| Reply::refused(404, "Hostnode not found"))?;
    let mut body = json!({"success": true});
    body[id] = host.clone();
    body["hostnode"] = host;
    Ok(Reply::ok(body))
}

fn vm(backend: &mut dyn Backend, form: &Form) -> Result<WorldVm, Reply> {
    let id = form.get("server").or_else(|| form.get("server_id"));
    let id = id.ok_or_else(|| Reply::refused(400, "server is required"))?;
    let found = id.trim().parse::<InstanceId>().ok().and_then(|id| backend.vm(&id));
    found.ok_or_else(|| Reply::refused(404, "Virtual machine not found"))
}

fn deploy(backend: &mut dyn Backend, form: &Form) -> Result<Reply, Reply> {
    let order = order::order(form, &backend.hostnodes()).map_err(|error| Reply::refused(400, error))?;
    let vm = backend.deploy(order).map_err(|refusal| refused("deployed", refusal))?;
    Ok(Reply::ok(views::deployed(&vm)))
}

fn validate_new(backend: &mut dyn Backend, form: &Form) -> Result<Reply, Reply> {
    let bid = order::bid(form).map_err(|error| Reply::refused(400, error))?;
    Ok(match backend.validate(&bid) {
        BidAnswer::Accepted => Reply::done(),
        BidAnswer::Refused => Reply::bid_refused(),
    })
}

fn validate_existing(backend: &mut dyn Backend, form: &Form) -> Result<Reply, Reply> {
    let vm = vm(backend, form)?;
    let price = order::new_price(form).map_err(|error| Reply::refused(400, error))?;
    match backend.rebid(&vm.instance.id, price) {
        Ok(BidAnswer::Accepted) => Ok(Reply::done()),
        Ok(BidAnswer::Refused) => Ok(Reply::bid_refused()),
        Err(refusal) => Err(refused("repriced", refusal)),
    }
}

fn start(backend: &mut dyn Backend, form: &Form) -> Result<Reply, Reply> {
    let vm = vm(backend, form)?;
    match vm.instance.status {
        InstanceStatus::StoppedKept
        | InstanceStatus::StoppedReleased
        | InstanceStatus::Outbid
        | InstanceStatus::Unknown(_) => {}
        InstanceStatus::Running | InstanceStatus::Starting | InstanceStatus::Leaving => {
            return Err(wrong_state(&vm, "started"));
        }
    }
    backend.start(&vm.instance.id).map_err(|refusal| refused("started", refusal))?;
    Ok(Reply::done())
}

fn stop(backend: &mut dyn Backend, form: &Form) -> Result<Reply, Reply> {
    let vm = vm(backend, form)?;
    let how = if form.flag("disassociate_resources") { Stop::ReleaseGpu } else { Stop::KeepGpu };
    match (&vm.instance.status, how) {
        (InstanceStatus::Running | InstanceStatus::Starting | InstanceStatus::Unknown(_), _)
        | (InstanceStatus::StoppedKept, Stop::ReleaseGpu) => {}
        (InstanceStatus::StoppedKept, Stop::KeepGpu)
        | (InstanceStatus::StoppedReleased | InstanceStatus::Outbid | InstanceStatus::Leaving, _) => {
            return Err(wrong_state(&vm, "stopped"));
        }
    }
    backend.stop(&vm.instance.id, how).map_err(|refusal| refused("stopped", refusal))?;
    Ok(Reply::done())
}

fn delete(backend: &mut dyn Backend, form: &Form) -> Result<Reply, Reply> {
    let gone = || Reply::refused(400, "Machine is already terminated");
    let id = form.get("server").ok_or_else(|| Reply::refused(400, "server is required"))?;
    let id: InstanceId = id.trim().parse().map_err(|_| gone())?;
    match backend.terminate(&id) {
        Ok(()) => Ok(Reply::done()),
        Err(Refusal::Gone) => Err(gone()),
        Err(refusal) => Err(refused("deleted", refusal)),
    }
}

/// The recorded text.
fn wrong_state(vm: &WorldVm, what: &str) -> Reply {
    Reply::refused(200, format!("Machine is {}, therefore it cannot be {what}", views::status_in_text(vm)))
}

/// A refusal of the world, as the vendor would say it.
fn refused(what: &str, refusal: Refusal) -> Reply {
    match refusal {
        Refusal::NoCapacity(why) => Reply::refused(400, format!("Not enough resources are available: {why}")),
        Refusal::BidTooLow(why) => Reply::refused(200, format!("The bid is too low: {why}")),
        Refusal::Broke(why) => Reply::refused(400, format!("Insufficient balance: {why}")),
        Refusal::Gone => Reply::refused(404, "Virtual machine not found"),
        Refusal::Refused(state) if !state.contains(' ') => {
            Reply::refused(200, format!("Machine is {}, therefore it cannot be {what}", state.to_lowercase()))
        }
        Refusal::Refused(why) => Reply::refused(200, why),
        Refusal::Throttled { .. } => Reply::refused(429, "Too many requests"),
        Refusal::Unauthorized(why) => Reply::refused(401, why),
        Refusal::Malformed(why) | Refusal::Unreachable(why) => Reply::refused(500, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_by_their_path() {
        let call = |path: &str| TensordockV0Fake::default().call(&Request::get(path)).as_str();
        assert_eq!(call("/api/v0/client/deploy/hostnodes"), "hostnodes");
        assert_eq!(call("/api/v0/client/deploy/hostnodes/02c6"), "hostnode");
        assert_eq!(call("/api/v0/client/spot/validate/existing"), "rebid");
        assert_eq!(call("/api/v0/client/delete/single"), "terminate");
        assert_eq!(call("/api/v0/auth/list"), "other");
    }
}
