//! Every exchange of a dialect, verbs and raw calls, behind one face: what it reads out of an answer, told as text and as
//! faults.

use crate::sane::Sane;
use spotscale::{
    io::net::{Request, Response},
    market::{
        Dialect, Effect, Exchange, Order, Stop,
        client::{Client, Says, WriteOutcome},
    },
    model::{HostnodeId, InstanceId, PriceType, Refusal, Shape, offer::Bid},
    settings::Api,
};
use std::{path::PathBuf, pin::Pin};

/// What a reader made of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The refusal, if it was one.
    pub refusal: Option<Refusal>,
    /// What is not sane of what was let in.
    pub faults: Vec<String>,
    /// What is said of items that could not be read.
    pub dropped: Vec<String>,
    /// The new VM that it tells of.
    pub made: Option<InstanceId>,
}

/// What the client makes of an exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// Whether it is known what it did.
    pub settled: bool,
    /// What was read.
    pub told: Told,
}

/// An exchange under way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Sent> + 'a>>;

/// One exchange.
pub struct Reader {
    /// Its call.
    pub call: String,
    /// What it does.
    pub effect: Effect,
    /// What is sent.
    pub request: Request,
    /// What is read.
    pub read: Box<dyn Fn(&Response) -> Told + Send + Sync>,
    /// Sends it.
    #[allow(dead_code, reason = "the suite reads, the fuzzing sends too")]
    pub send: Box<dyn for<'a> Fn(&'a Client) -> Sending<'a> + Send + Sync>,
}

fn told<T: Sane>(outcome: Result<T, Refusal>) -> Told {
    let (faults, made) = (outcome.faults(), outcome.as_ref().ok().and_then(Sane::made));
    let dropped = outcome.as_ref().map(Sane::dropped).unwrap_or_default();
    Told { refusal: outcome.err(), faults, dropped, made }
}

/// An exchange as a reader.
pub fn reader<T: Sane + Says>(exchange: Exchange<T>) -> Reader {
    let Exchange { call, request, effect, read } = exchange;
    let asked = request.clone();
    let again = request.clone();
    Reader {
        call: call.to_owned(),
        effect,
        request,
        read: Box::new(move |response| told(read(&asked, response))),
        send: Box::new(move |client| {
            let exchange = Exchange { call, request: again.clone(), effect, read };
            Box::pin(async move {
                match effect {
                    Effect::Reads => Sent { settled: true, told: told(client.read(exchange).await) },
                    Effect::Writes => match client.write(exchange).await {
                        WriteOutcome::Settled(outcome) => Sent { settled: true, told: told(outcome) },
                        WriteOutcome::InDoubt(refusal) => Sent { settled: false, told: told::<T>(Err(refusal)) },
                    },
                }
            })
        }),
    }
}

/// A bid that any dialect can say.
pub fn bid(hostnode: &HostnodeId) -> Bid {
    let gpu_model = "v100-pcie-16gb".parse().unwrap();
    let shape = Shape { gpu_model, gpus: 1, vcpus: 8, ram_gb: 16, storage_gb: 200 };
    Bid { hostnode: hostnode.clone(), shape, price: "0.25".parse().unwrap() }
}

/// An order that any dialect can say.
pub fn order(hostnode: &HostnodeId, password: &str) -> Order {
    Order {
        name: "spotscale-train-k3x9-7".parse().unwrap(),
        hostnode: hostnode.clone(),
        shape: bid(hostnode).shape,
        price_type: PriceType::OnDemand,
        bid: None,
        image: "Ubuntu 22.04 LTS".to_owned(),
        ports: [(30_117, 22)].into(),
        ssh_key: Some("ssh-ed25519 AAAA me".to_owned()),
        cloud_init: None,
        password: password.into(),
    }
}

/// The verbs, of one machine and one VM.
pub fn verbs(says: &dyn Dialect, hostnode: &HostnodeId, vm: &InstanceId, password: &str) -> Vec<Reader> {
    let (bid, order) = (bid(hostnode), order(hostnode, password));
    let always = vec![
        reader(says.hostnodes()),
        reader(says.instances()),
        reader(says.whoami()),
        reader(says.deploy(&order).unwrap()),
        reader(says.terminate(vm)),
    ];
    let sometimes = [
        says.hostnode(hostnode).map(reader),
        says.instance(vm).map(reader),
        says.balance().map(reader),
        says.validate(&bid).map(reader),
        says.rebid(vm, bid.price).map(reader),
        says.start(vm).map(reader),
        says.stop(vm, Stop::KeepGpu).map(reader),
        says.stop(vm, Stop::ReleaseGpu).map(reader),
    ];
    always.into_iter().chain(sometimes.into_iter().flatten()).collect()
}

/// A marketplace's folder is called as its API, with `_` for `-`.
pub fn fixtures(api: Api) -> PathBuf {
    let folder = api.as_str().replace('-', "_");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/market").join(folder).join("fixtures")
}

/// The examples in it: all files but the two that tell of them.
pub fn examples(api: Api) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(fixtures(api))
        .unwrap_or_else(|error| panic!("{api} has no fixtures: {error}"))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .filter(|(name, _)| name != "SOURCES" && name != "GOLDEN")
        .collect();
    files.sort();
    files
}
