//! The other side of the counter of the market of rehearsals, over whatever world stands behind it.
//!
//! A machine that is sold in lots is a pool as it is; one that is sold by resource is a pool of VMs with one GPU. All
//! decisions are the world's ([`Backend`]).

use super::calls::price;
use crate::{
    io::net::{Method, Request, Response},
    market::{
        Backend, Call, Fake, WorldOrder, WorldVm,
        json::{Json, Object},
    },
    model::{
        Hostnode, HostnodeId, HourlyRate, InstanceId, InstanceStatus, PriceType, Refusal, Shape, VmName,
        catalogue::{self, Vocabulary},
        offer::{Bid, BidAnswer, PriceRule, Sold, SpotTerms, Supply},
    },
};
use serde_json::{Value, json};

/// vCPUs, GB of memory and GB of disk that come with a VM where the world wants to know.
const SIZE: (u32, u32, u32) = (4, 16, 100);
/// Inside ports that lead to a new VM.
const INSIDE: [u16; 1] = [crate::model::offer::SSH_PORT];
/// No pool lists more VMs.
const LOTS_MAX: u32 = 64;
/// No name of a VM is longer, in bytes.
const NAME_BYTES_MAX: usize = 63;
/// How a lot's price is put together: it is as it is.
const AS_LISTED: PriceRule = PriceRule { term_step_micros: 0, size_step: 1, storage_gb_min: 0 };

/// The market of rehearsals.
#[derive(Clone, Default)]
pub struct TraceFake {
    /// The token it takes; `None`: any.
    pub token: Option<String>,
}

/// An answer, or a refusal with its status and word.
type Reply = Result<Response, Said>;

/// A refusal as it is said.
struct Said {
    status: u16,
    code: &'static str,
    message: String,
}

fn ok(body: &Value) -> Reply {
    Ok(Response::json(200, body.to_string()))
}

fn bad(message: impl Into<String>) -> Said {
    Said { status: 400, code: "refused", message: message.into() }
}

fn said(refusal: Refusal) -> Said {
    let (status, code, message) = match refusal {
        Refusal::NoCapacity(why) => (409, "no_capacity", why),
        Refusal::BidTooLow(why) => (409, "bid_too_low", why),
        Refusal::Throttled { .. } => (429, "throttled", "too many requests".to_owned()),
        Refusal::Unauthorized(why) => (401, "unauthorized", why),
        Refusal::Gone => (404, "gone", "there is no such VM".to_owned()),
        Refusal::Broke(why) => (402, "broke", why),
        Refusal::Refused(why) => (400, "refused", why),
        Refusal::Malformed(why) | Refusal::Unreachable(why) => (500, "failed", why),
    };
    Said { status, code, message }
}

/// The segments of a path within the API.
fn segments(request: &Request) -> Vec<&str> {
    request.path.trim_start_matches("/trace/v1/").trim_end_matches('/').split('/').collect()
}

impl Fake for TraceFake {
    fn prefix(&self) -> &'static str {
        "/trace/v1/"
    }

    fn call(&self, request: &Request) -> Call {
        match (request.method, segments(request)[..].as_ref()) {
            (Method::Get, ["whoami"]) => Call::Whoami,
            (Method::Get, ["account"]) => Call::Balance,
            (Method::Get, ["pools"]) => Call::Hostnodes,
            (Method::Get, ["vms"]) => Call::Instances,
            (Method::Get, ["vms", _]) => Call::Instance,
            (Method::Post, ["validate"]) => Call::Validate,
            (Method::Post, ["vms"]) => Call::Deploy,
            (Method::Delete, ["vms", _]) => Call::Terminate,
            _ => Call::Other,
        }
    }

    fn serve(&self, backend: &mut dyn Backend, request: &Request) -> Response {
        self.answer(backend, request).unwrap_or_else(|Said { status, code, message }| {
            Response::json(status, json!({"error": {"code": code, "message": message}}).to_string())
        })
    }
}

impl TraceFake {
    fn answer(&self, backend: &mut dyn Backend, request: &Request) -> Reply {
        self.authorise(request)?;
        let id = || segments(request).get(1).and_then(|id| id.parse::<InstanceId>().ok()).ok_or(Refusal::Gone);
        match self.call(request) {
            Call::Whoami => ok(&json!({"taken": true})),
            Call::Balance => {
                let (balance, hourly_cost) = backend.wallet();
                ok(&json!({"balance": balance.to_string(), "hourly_cost": price(hourly_cost)}))
            }
            Call::Hostnodes => {
                let hosts = backend.hostnodes();
                ok(&json!({"pools": hosts.iter().filter_map(Pool::of).map(|pool| pool.view()).collect::<Vec<_>>()}))
            }
            Call::Instances => {
                let vms = backend.vms();
                ok(&json!({"vms": vms.iter().map(view).collect::<Vec<_>>()}))
            }
            Call::Instance => {
                let found = id().ok().and_then(|id| backend.vm(&id));
                ok(&json!({"vm": view(&found.ok_or_else(|| said(Refusal::Gone))?)}))
            }
            Call::Validate => {
                let object = body(request)?;
                let pool = wanted(backend, &object)?;
                let price = bid(&object)?.ok_or_else(|| bad("bid_per_hr is required"))?;
                let answer = backend.validate(&Bid { hostnode: pool.host.id, shape: pool.shape, price });
                ok(&json!({"accepted": answer == BidAnswer::Accepted}))
            }
            Call::Deploy => create(backend, request),
            Call::Terminate => match id().and_then(|id| backend.terminate(&id)) {
                Ok(()) => ok(&json!({"deleted": true})),
                Err(refusal) => Err(said(refusal)),
            },
            Call::Hostnode | Call::Rebid | Call::Start | Call::Stop | Call::Other => {
                Err(Said { status: 404, code: "refused", message: "there is no such call".to_owned() })
            }
        }
    }

    fn authorise(&self, request: &Request) -> Result<(), Said> {
        let given = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
        match (given, &self.token) {
            (None, _) => Err(said(Refusal::Unauthorized("there is no token".into()))),
            (Some(given), Some(wanted)) if given != wanted => {
                Err(said(Refusal::Unauthorized("the token is not taken".into())))
            }
            (Some(_), _) => Ok(()),
        }
    }
}

/// A machine as it is sold here.
struct Pool<H> {
    host: H,
    shape: Shape,
    lots: u32,
    on_demand: HourlyRate,
    sold: Sold,
    rule: PriceRule,
}

impl<'h> Pool<&'h Hostnode> {
    fn of(host: &'h Hostnode) -> Option<Self> {
        if !host.online {
            return None;
        }
        match &host.supply {
            Supply::Lots(lots) => {
                let first = lots.first()?;
                Some(Self {
                    host,
                    shape: first.shape.clone(),
                    lots: u32::try_from(lots.len()).unwrap_or(LOTS_MAX).min(LOTS_MAX),
                    on_demand: first.rates.total(),
                    sold: first.sold,
                    rule: AS_LISTED,
                })
            }
            Supply::Resources(resources) => {
                let (vcpus, ram_gb, storage_gb) = SIZE;
                resources.gpus.iter().find_map(|(model, stock)| {
                    let wanted = Shape { gpu_model: model.clone(), gpus: 1, vcpus, ram_gb, storage_gb };
                    let (shape, rates) = host.price(&wanted).ok()?;
                    Some(Self {
                        host,
                        shape,
                        lots: stock.free.min(LOTS_MAX),
                        on_demand: rates.total(),
                        sold: Sold::EitherWay,
                        rule: resources.rule,
                    })
                })
            }
        }
    }

    fn view(&self) -> Value {
        let (takes_bids, least) = match self.host.spot {
            SpotTerms::None => (false, None),
            SpotTerms::Asked => (true, None),
            SpotTerms::ListedPerGpu(least) => (true, Some(least.times(self.shape.gpus))),
        };
        json!({
            "id": self.host.id.as_str(),
            "zone": self.host.location.region,
            "gpu_model": spelling(&self.shape),
            "gpu_count": self.shape.gpus,
            "lots": self.lots,
            "takes_bids": takes_bids,
            "spot_price_per_hr": least.map(price),
            "on_demand_price_per_hr": price(self.on_demand),
            "on_demand": self.sold == Sold::EitherWay,
        })
    }
}

fn spelling(shape: &Shape) -> &str {
    catalogue::spelling(Vocabulary::Trace, &shape.gpu_model).unwrap_or(shape.gpu_model.as_str())
}

fn view(vm: &WorldVm) -> Value {
    let WorldVm { instance, shape, location: _, image: _ } = vm;
    let status = match &instance.status {
        InstanceStatus::Starting => "starting",
        InstanceStatus::Running => "running",
        InstanceStatus::Outbid => "outbid",
        InstanceStatus::StoppedKept => "stopped",
        InstanceStatus::StoppedReleased => "released",
        InstanceStatus::Leaving => "leaving",
        InstanceStatus::Unknown(word) => word,
    };
    let ports: serde_json::Map<String, Value> =
        instance.ports.iter().map(|(outside, inside)| (outside.to_string(), Value::from(*inside))).collect();
    json!({
        "id": instance.id.as_str(),
        "name": instance.name.as_str(),
        "status": status,
        "pool": instance.hostnode.as_ref().map(HostnodeId::as_str),
        "gpu_model": spelling(shape),
        "gpu_count": shape.gpus,
        "price_type": instance.price_type.map(PriceType::as_str),
        "price_per_hr": instance.quoted.map(|rates| price(rates.total())),
        "address": instance.address,
        "ports": ports,
        "created_at": instance.created_at.map(|at| at.to_string()),
    })
}

fn body(request: &Request) -> Result<Object<'_>, Said> {
    Json::read(&request.body).and_then(Json::object).ok_or_else(|| bad("the body is not a JSON object"))
}

fn text<'a>(object: &Object<'a>, field: &str) -> Result<std::borrow::Cow<'a, str>, Said> {
    object.get(field).and_then(Json::string).ok_or_else(|| bad(format!("{field} is required")))
}

fn bid(object: &Object<'_>) -> Result<Option<HourlyRate>, Said> {
    object.price("bid_per_hr").map_err(|why| bad(format!("bid_per_hr: {why}")))
}

/// The pool that is asked about. What nobody lists has no room.
fn wanted(backend: &mut dyn Backend, object: &Object<'_>) -> Result<Pool<Hostnode>, Said> {
    let id = text(object, "pool")?;
    let hosts = backend.hostnodes();
    let host = hosts.into_iter().find(|host| host.id.as_str() == id);
    let full = || said(Refusal::NoCapacity("there is nothing of that pool".into()));
    let host = host.ok_or_else(full)?;
    let Pool { host: _, shape, lots, on_demand, sold, rule } = Pool::of(&host).ok_or_else(full)?;
    Ok(Pool { host, shape, lots, on_demand, sold, rule })
}

fn create(backend: &mut dyn Backend, request: &Request) -> Reply {
    let object = body(request)?;
    let name = text(&object, "name")?.parse::<VmName>().ok().filter(|name| name.as_str().len() <= NAME_BYTES_MAX);
    let name = name.ok_or_else(|| bad("name cannot be a VM's"))?;
    let bid = bid(&object)?;
    let (price_type, bid) = match (text(&object, "price_type")?.as_ref(), bid) {
        ("spot", Some(bid)) => (PriceType::Spot, Some(bid)),
        ("on_demand", None) => (PriceType::OnDemand, None),
        ("spot", None) => return Err(bad("bid_per_hr is required for spot")),
        ("on_demand", Some(_)) => return Err(bad("bid_per_hr is for spot")),
        _ => return Err(bad("price_type is spot or on_demand")),
    };
    let Pool { host, shape, lots: _, on_demand: _, sold: _, rule } = wanted(backend, &object)?;
    let ports = host.ports.choose(&INSIDE);
    let ports = ports.ok_or_else(|| said(Refusal::NoCapacity("the machine has no free port".into())))?;
    let order = WorldOrder {
        name,
        hostnode: host.id,
        shape,
        price_type,
        bid,
        // Nothing runs in it.
        image: String::new(),
        ports,
        rule,
    };
    match backend.deploy(order) {
        Ok(vm) => ok(&json!({"vm": view(&vm)})),
        Err(refusal) => Err(said(refusal)),
    }
}
