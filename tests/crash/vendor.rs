//! The marketplace asked directly, past the daemon and past our own dialect: raw forms and raw JSON.
//!
//! It is the vendor's own word on which VMs exist, and the hand of somebody else on the same account: a VM of a higher
//! bid, a VM deleted behind the daemon's back.

use serde_json::Value;
use spotscale::io::{
    http::HttpNet,
    net::{Net, Request},
};
use std::time::Duration;

/// What names of ours begin with.
pub const OURS: &str = "spotscale-";
/// The marketplace is in this machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// How much a rival raises its bid from try to try, and how often: it ends well below what our policy would pay.
const RAISE_PERCENT: u64 = 4;
const RAISES_MAX: usize = 9;

/// What the marketplace takes.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// `api_key`.
    pub key: String,
    /// `api_token`.
    pub token: String,
}

/// A VM as the market's own list has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vm {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// The vendor's word.
    pub status: String,
    /// On which machine.
    pub hostnode: String,
    /// Its model.
    pub gpu_model: String,
    /// How many GPUs.
    pub gpus: u64,
    /// How many vCPUs.
    pub vcpus: u64,
    /// What its compute costs, in micros per hour.
    pub micros: u64,
}

impl Vm {
    /// The daemon made it, or somebody who uses its names.
    pub fn is_ours(&self) -> bool {
        self.name.starts_with(OURS)
    }

    /// It has its GPUs, or may have them again without being asked.
    pub fn holds_gpus(&self) -> bool {
        self.status != "StoppedDisassociated"
    }
}

/// The marketplace.
#[derive(Debug)]
pub struct Vendor {
    net: HttpNet,
    credentials: Credentials,
}

impl Vendor {
    /// At a base URL.
    pub fn new(market: &str, credentials: &Credentials) -> Result<Self, String> {
        let net = HttpNet::new(market).map_err(|error| error.to_string())?;
        Ok(Self { net, credentials: credentials.clone() })
    }

    async fn call(&self, path: &str, fields: &[(&str, &str)]) -> Result<Value, String> {
        let Credentials { key, token } = &self.credentials;
        let credentials = [("api_key", key.as_str()), ("api_token", token.as_str())];
        let request = Request::form(format!("/api/v0/{path}"), credentials.into_iter().chain(fields.iter().copied()));
        let answer = self.net.send(request, DEADLINE).await.map_err(|error| format!("{path}: {error}"))?;
        serde_json::from_slice(&answer.body).map_err(|error| format!("{path}: {error}"))
    }

    /// Every VM of the account.
    pub async fn list(&self) -> Result<Vec<Vm>, String> {
        let answer = self.call("client/list", &[]).await?;
        let vms = answer["virtualmachines"].as_object().ok_or_else(|| format!("the market's list is odd: {answer}"))?;
        let mut vms: Vec<Vm> = vms.iter().map(|(id, vm)| read(id, vm)).collect();
        vms.sort();
        Ok(vms)
    }

    /// Deletes a VM.
    pub async fn delete(&self, vm: &Vm) -> Result<(), String> {
        let answer = self.call("client/delete/single", &[("server", vm.id.as_str())]).await?;
        if answer["success"] == true { Ok(()) } else { Err(format!("{} was not deleted: {answer}", vm.name)) }
    }

    /// Outbids a VM: takes all that is left of its machine's vCPUs, and so many that it has to give way. `false` where
    /// that would cost more than a little.
    pub async fn outbid(&self, vm: &Vm, rival: &str) -> Result<bool, String> {
        let hosts = self.call("client/deploy/hostnodes", &[]).await?;
        let host = &hosts["hostnodes"][&vm.hostnode];
        let free = host["specs"]["cpu"]["amount"].as_u64().unwrap_or_default();
        let Some(port) = host["networking"]["ports"][0].as_u64() else { return Ok(false) };
        let (vcpus, port) = ((vm.vcpus + free).min(254) & !1, format!("{{{port}}}"));
        let mut micros = vm.micros;
        for _ in 0..RAISES_MAX {
            micros += micros * RAISE_PERCENT / 100;
            let (vcpus, price) = (vcpus.to_string(), format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000));
            let order = [
                ("hostnode", vm.hostnode.as_str()),
                ("gpu_model", vm.gpu_model.as_str()),
                ("gpu_count", "1"),
                ("vcpus", vcpus.as_str()),
                ("ram", "4"),
                ("storage", "20"),
                ("price", price.as_str()),
            ];
            if self.call("client/spot/validate/new", &order).await?["success"] != true {
                continue;
            }
            let more = [
                ("name", rival),
                ("operating_system", "Ubuntu 22.04 LTS"),
                ("password", "Passw0rd-of-a-rival"),
                ("external_ports", port.as_str()),
                ("internal_ports", "{22}"),
                ("price_type", "spot"),
            ];
            let answer = self.call("client/deploy/single", &[&order[..], &more[..]].concat()).await?;
            return Ok(answer["success"] == true);
        }
        Ok(false)
    }
}

/// Urlencoded pairs.
pub fn fields(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
}

fn read(id: &str, vm: &Value) -> Vm {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let specs = &vm["specs"];
    Vm {
        name: text(&vm["name"]),
        id: id.to_owned(),
        status: text(&vm["status"]),
        hostnode: text(&vm["hostnode"]),
        gpu_model: text(&specs["gpu"]["type"]),
        gpus: specs["gpu"]["amount"].as_u64().unwrap_or_default(),
        vcpus: specs["vcpus"].as_u64().unwrap_or_default(),
        micros: text(&vm["compute_price"]).replace('.', "").parse().unwrap_or_default(),
    }
}
