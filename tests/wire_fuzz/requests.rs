//! Arbitrary requests into every fake: whatever comes, there is an answer, and the world's books still balance.
//!
//! A request begins as a good one (a verb's, or a raw call's with odd fields) and is bent: another method, another path,
//! fields that are odd, missing or doubled, a form as JSON or multipart, wrong headers, plain noise.

use crate::{
    bend::{Edit, LEAVES, edits},
    cases,
    exchanges::verbs,
    json::Node,
    sane::Sane,
    stand::{KEY, PASSWORD, TOKEN, dialect},
};
use proptest::prelude::*;
use spotscale::{
    io::net::{Method, Request, Response},
    market::{Backend, Dialect, WorldOrder, raw::RawCall},
    model::{
        HostnodeId, InstanceId, PriceType, Shape, Timestamp,
        offer::{PriceRule, Supply},
    },
    settings::Api,
    sim::{Faults, Market, Temper, World, WorldOptions, marketplace::Answer},
};

/// No answer to anything is longer. A list of ten thousand hostnodes has 18 MB; these worlds have few.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What is put behind a path.
const TAILS: [&str; 9] = ["", "/", "//", "/..", "/%00", "/é", "/single", "?x=1", "/a/b/c/d"];
/// What a body says that it is.
const KINDS: [&str; 7] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "multipart/form-data",
    "text/plain; charset=\"",
    "",
    "\u{1b}[31m",
];
/// Who asks.
const ASKERS: [&str; 6] = ["Bearer", "Bearer ", "bearer x y z", "Basic eDp5", "", "\u{1b}[31m"];

/// How a body is sent.
#[derive(Clone, Copy, Debug)]
enum Body {
    AsItIs,
    Json,
    Multipart,
    Nothing,
    Noise,
}

/// One request, to be made when the world's ids are known.
#[derive(Clone, Debug)]
struct Plan {
    api: prop::sample::Index,
    call: prop::sample::Index,
    /// Of which machine or VM, or of none.
    of: prop::sample::Index,
    method: Option<Method>,
    tail: usize,
    fields: Vec<(prop::sample::Index, usize)>,
    lost: Option<prop::sample::Index>,
    edits: Vec<Edit>,
    body: Body,
    kind: Option<usize>,
    asker: Option<usize>,
    noise: Vec<u8>,
    /// Time goes on before it is sent, in seconds.
    waits_s: i64,
}

fn plans() -> impl Strategy<Value = Plan> {
    let body = prop_oneof![
        6 => Just(Body::AsItIs),
        2 => Just(Body::Json),
        2 => Just(Body::Multipart),
        1 => Just(Body::Nothing),
        1 => Just(Body::Noise),
    ];
    let index = any::<prop::sample::Index>;
    (
        (index(), index(), index()),
        prop_oneof![4 => Just(None), 1 => prop::sample::select(Method::ALL.to_vec()).prop_map(Some)],
        prop_oneof![6 => Just(0), 1 => 0..TAILS.len()],
        prop::collection::vec((index(), any::<usize>()), 0..4),
        prop_oneof![3 => Just(None), 1 => index().prop_map(Some)],
        prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(edits(), 1..4)],
        (body, prop_oneof![5 => Just(None), 1 => (0..KINDS.len()).prop_map(Some)]),
        prop_oneof![5 => Just(None), 1 => (0..ASKERS.len()).prop_map(Some)],
        prop::collection::vec(any::<u8>(), 0..200),
        0i64..100_000,
    )
        .prop_map(|((api, call, of), method, tail, fields, lost, edits, (body, kind), asker, noise, waits_s)| {
            Plan { api, call, of, method, tail, fields, lost, edits, body, kind, asker, noise, waits_s }
        })
}

/// An odd value for a field.
fn odd(choice: usize) -> String {
    let leaf = LEAVES[choice % LEAVES.len()];
    serde_json::from_str::<String>(leaf).unwrap_or_else(|_| leaf.to_owned())
}

/// A raw call with fields that begin as plausible ones.
fn raw(says: &dyn Dialect, call: &RawCall, id: &str) -> Option<Request> {
    let value = |name: &str| match name {
        name if name.contains("count") || name.contains("gpus") || name.contains("vcpu") => "2".to_owned(),
        "ram" | "storage" | "ram_gb" | "storage_gb" => "100".to_owned(),
        name if name.contains("price") => "0.5".to_owned(),
        name if name.contains("model") || name == "gpu" => "geforcertx4090-pcie-24gb".to_owned(),
        _ => id.to_owned(),
    };
    let fields: Vec<(String, String)> =
        call.fields.iter().map(|field| (field.name.to_owned(), value(field.name))).collect();
    says.raw(call, &fields).map(|exchange| exchange.request)
}

/// The pairs of a form as another kind of body.
fn as_body(request: &mut Request, pairs: &[(String, String)], body: Body) {
    let kind = match body {
        Body::AsItIs | Body::Noise => return,
        Body::Nothing => {
            request.body.clear();
            return;
        }
        Body::Json => {
            let members = pairs.iter().map(|(name, value)| (name.clone(), Node::Leaf(crate::json::quoted(value))));
            request.body = Node::Object(members.collect()).text().into_bytes();
            "application/json"
        }
        Body::Multipart => {
            let part = |(name, value): &(String, String)| {
                format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            };
            request.body = format!("{}--b--\r\n", pairs.iter().map(part).collect::<String>()).into_bytes();
            "multipart/form-data; boundary=b"
        }
    };
    request.headers.retain(|(name, _)| name != "content-type");
    request.headers.push(("content-type".to_owned(), kind.to_owned()));
}

impl Plan {
    fn request(&self, ids: &[String]) -> Request {
        let api = *self.api.get(Api::ALL);
        let says = dialect(api, KEY, TOKEN);
        let id = self.of.get(ids);
        let (host, vm): (HostnodeId, InstanceId) = (id.parse().unwrap(), id.parse().unwrap());
        let mut good: Vec<Request> = verbs(&*says, &host, &vm, PASSWORD).into_iter().map(|verb| verb.request).collect();
        good.extend(says.raw_calls().iter().filter_map(|call| raw(&*says, call, id)));
        let mut request = self.call.get(&good).clone();
        request.method = self.method.unwrap_or(request.method);
        request.path.push_str(TAILS[self.tail]);
        if let Some(mut node) = Node::read(&request.body) {
            self.edits.iter().for_each(|edit| edit.apply(&mut node, id));
            request.body = node.text().into_bytes();
        } else if !request.body.is_empty() {
            let mut pairs: Vec<(String, String)> = form_urlencoded::parse(&request.body).into_owned().collect();
            for (at, choice) in &self.fields {
                let at = at.index(pairs.len());
                pairs[at].1 = odd(*choice);
            }
            if let Some(lost) = &self.lost {
                pairs.remove(lost.index(pairs.len()));
            }
            request.body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish().into_bytes();
            as_body(&mut request, &pairs, self.body);
        }
        if matches!(self.body, Body::Noise) {
            request.body.clone_from(&self.noise);
        }
        let mut instead = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                request.headers.retain(|(known, _)| known != name);
                request.headers.push((name.to_owned(), value.to_owned()));
            }
        };
        instead("content-type", self.kind.map(|kind| KINDS[kind]));
        instead("authorization", self.asker.map(|asker| ASKERS[asker]));
        request
    }
}

/// The ids of a market's machines and VMs, and some that nothing has.
fn ids(market: &mut Market) -> Vec<String> {
    let mut ids = vec!["nothing".to_owned(), "00000000-0000-4000-8000-000000000000".to_owned()];
    for api in Api::ALL {
        let world = market.world_of(api.vendor());
        ids.extend(world.hostnode_ids().into_iter().take(3).map(|id| id.to_string()));
        ids.extend(world.truth().alive().map(|vm| vm.id.to_string()));
    }
    ids
}

/// Puts a VM into every vendor's world, so that there is something to stop, start, change and end.
fn rent(market: &mut Market) {
    for api in Api::ALL {
        let world = market.world_of(api.vendor());
        let order = world.hostnodes().iter().find_map(|host| {
            let gpu_model = match &host.supply {
                Supply::Resources(resources) => resources.gpus.keys().next()?.clone(),
                Supply::Lots(lots) => lots.first()?.shape.gpu_model.clone(),
            };
            let (shape, _) = host.price(&Shape { gpu_model, gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 100 }).ok()?;
            Some(WorldOrder {
                name: format!("of-{api}").parse().ok()?,
                hostnode: host.id.clone(),
                shape,
                price_type: PriceType::OnDemand,
                bid: None,
                image: "Ubuntu 22.04 LTS".to_owned(),
                ports: host.ports.choose(&[22]).unwrap_or_default(),
                rule: match &host.supply {
                    Supply::Resources(resources) => resources.rule,
                    Supply::Lots(_) => PriceRule { term_step_micros: 0, size_step: 1, storage_gb_min: 0 },
                },
            })
        });
        world.deploy(order.expect("something is free")).unwrap();
    }
}

fn check(request: &Request, response: &Response) -> Result<(), TestCaseError> {
    let Response { status, headers, body } = response;
    prop_assert!((200..=599).contains(status), "{:?}: {}", request, status);
    prop_assert!(body.len() <= ANSWER_BYTES_MAX, "{:?}: {} bytes", request, body.len());
    for (name, value) in headers {
        let plain = !name.is_empty() && name.to_lowercase() == *name && !value.contains(char::is_control);
        prop_assert!(plain, "{:?}: {}: {}", request, name, value);
    }
    let is_json = response.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    let reads = serde_json::from_slice::<serde_json::Value>(body).is_ok();
    prop_assert!(!is_json || body.is_empty() || reads, "{:?}: {:?}", request, String::from_utf8_lossy(body));
    let text = String::from_utf8_lossy(body);
    for secret in [KEY, TOKEN, PASSWORD] {
        prop_assert!(!text.contains(secret), "{:?} is told its secret: {}", request, text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn whatever_is_asked_there_is_an_answer_and_the_books_balance(plans in prop::collection::vec(plans(), 1..8)) {
        let opening: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let balance = "1000".parse().unwrap();
        let options = WorldOptions { hosts: Some(6), temper: Temper::Still, ..WorldOptions::lifelike(balance) };
        let mut market =
            Market::of_all_dialects(World::new(1, opening, options), Faults::none(), Some(KEY), Some(TOKEN));
        rent(&mut market);
        let mut now = opening;
        for plan in plans {
            now = now.checked_add(jiff::SignedDuration::from_secs(plan.waits_s)).unwrap();
            let request = plan.request(&ids(&mut market));
            match market.handle(now, &request).answer {
                Answer::Whole(response) => check(&request, &response)?,
                Answer::Cut(_) | Answer::Nothing => prop_assert!(false, "nothing was to go wrong"),
            }
        }
        for api in Api::ALL {
            let world = market.world_of(api.vendor());
            prop_assert_eq!(world.impossible(), Vec::<String>::new(), "{}", api);
            // Whatever was made can be read.
            let says = dialect(*api, KEY, TOKEN);
            let exchange = says.instances();
            let Answer::Whole(response) = market.handle(now, &exchange.request).answer else { panic!("it answers") };
            let scan = (exchange.read)(&exchange.request, &response);
            prop_assert_eq!(scan.faults(), Vec::<String>::new());
            prop_assert!(scan.is_ok_and(|scan| scan.dropped.is_empty()), "{}", api);
        }
    }
}
