//! The calls of TensorDock v0 that the engine needs, as requests; and any call by the vendor's names of its fields.
//!
//! Forms for what is POSTed, the query for what is GETted, as the vendor documents it; the credentials travel with them
//! (documented, S1). Ids become part of a path only when nothing in them could change its meaning.

use crate::{
    io::net::{Method, Request},
    market::{
        Order, Stop,
        raw::{RawCall, is_plain},
    },
    model::{
        GpuModel, HostnodeId, HourlyRate, InstanceId, PriceType,
        catalogue::{self, Vocabulary},
        offer::Bid,
    },
};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;

/// The filters of the list of hostnodes (documented, S1); `None` is not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// `minvCPUs`.
    pub vcpus_min: Option<u32>,
    /// `minRAM`, GB.
    pub ram_gb_min: Option<u32>,
    /// `minStorage`, GB.
    pub storage_gb_min: Option<u32>,
    /// `minVRAM`, GB per GPU.
    pub vram_gb_min: Option<u32>,
    /// `minGPUCount`.
    pub gpus_min: Option<u32>,
    /// `maxGPUCount`; 0 asks for machines without GPUs.
    pub gpus_max: Option<u32>,
    /// `requiresRTX`.
    pub requires_rtx: Option<bool>,
    /// `requiresGTX`.
    pub requires_gtx: Option<bool>,
}

/// As the vendor spells it.
fn model(model: &GpuModel) -> &str {
    catalogue::spelling(Vocabulary::TensordockV0, model).unwrap_or(model.as_str())
}

/// The requests, each with the credentials.
pub struct Calls {
    key: SecretString,
    token: SecretString,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calls(***)")
    }
}

impl Calls {
    /// With these credentials.
    pub fn new(key: SecretString, token: SecretString) -> Self {
        Self { key, token }
    }

    pub(super) fn form(&self, path: &str, fields: &[(&str, &str)]) -> Request {
        let credentials = [("api_key", self.key.expose_secret()), ("api_token", self.token.expose_secret())];
        Request::form(path, credentials.into_iter().chain(fields.iter().copied()))
    }

    pub(super) fn get(&self, path: String, mut query: Vec<(String, String)>) -> Request {
        query.push(("api_key".into(), self.key.expose_secret().into()));
        query.push(("api_token".into(), self.token.expose_secret().into()));
        Request { query, ..Request::get(path) }
    }

    /// Whether the credentials are taken.
    pub fn test(&self) -> Request {
        self.form("/api/v0/auth/test", &[])
    }

    /// The machines. With credentials, those reserved for the organisation show too (documented, S1).
    pub fn hostnodes(&self, filters: Filters) -> Request {
        let Filters {
            vcpus_min,
            ram_gb_min,
            storage_gb_min,
            vram_gb_min,
            gpus_min,
            gpus_max,
            requires_rtx,
            requires_gtx,
        } = filters;
        let numbers = [
            ("minvCPUs", vcpus_min),
            ("minRAM", ram_gb_min),
            ("minStorage", storage_gb_min),
            ("minVRAM", vram_gb_min),
            ("minGPUCount", gpus_min),
            ("maxGPUCount", gpus_max),
        ];
        let flags = [("requiresRTX", requires_rtx), ("requiresGTX", requires_gtx)];
        let numbers = numbers.into_iter().filter_map(|(name, value)| Some((name.into(), value?.to_string())));
        let flags = flags.into_iter().filter_map(|(name, value)| Some((name.into(), value?.to_string())));
        self.get("/api/v0/client/deploy/hostnodes".into(), numbers.chain(flags).collect())
    }

    /// One machine; `None` for an id that could not stand in a path.
    pub fn hostnode(&self, id: &HostnodeId) -> Option<Request> {
        is_plain(id.as_str()).then(|| self.get(format!("/api/v0/client/deploy/hostnodes/{id}"), Vec::new()))
    }

    /// Asks about a bid for a new VM.
    pub fn validate_new(&self, bid: &Bid) -> Request {
        let Bid { hostnode, shape, price } = bid;
        self.form(
            "/api/v0/client/spot/validate/new",
            &[
                ("gpu_count", &shape.gpus.to_string()),
                ("gpu_model", model(&shape.gpu_model)),
                ("vcpus", &shape.vcpus.to_string()),
                ("ram", &shape.ram_gb.to_string()),
                ("storage", &shape.storage_gb.to_string()),
                ("hostnode", hostnode.as_str()),
                ("price", &price.to_string()),
            ],
        )
    }

    /// Asks about a bid for an existing VM; may move it.
    pub fn validate_existing(&self, id: &InstanceId, price: HourlyRate) -> Request {
        self.form("/api/v0/client/spot/validate/existing", &[("server", id.as_str()), ("price", &price.to_string())])
    }

    /// Makes a VM. An order for spot without a bid bids nothing, rather than any price.
    pub fn deploy(&self, order: &Order) -> Request {
        let Order { name, hostnode, shape, price_type, bid, image, ports, ssh_key, cloud_init, password } = order;
        let numbers = [shape.gpus, shape.vcpus, shape.ram_gb, shape.storage_gb].map(|number| number.to_string());
        let [gpus, vcpus, ram_gb, storage_gb] = &numbers;
        let mut fields = vec![
            ("name", name.as_str()),
            ("hostnode", hostnode.as_str()),
            ("gpu_model", model(&shape.gpu_model)),
            ("gpu_count", gpus),
            ("vcpus", vcpus),
            ("ram", ram_gb),
            ("storage", storage_gb),
            ("operating_system", image.as_str()),
            ("password", password.expose_secret()),
        ];
        let (outside, inside) = (braces(ports.keys()), braces(ports.values()));
        if !ports.is_empty() {
            fields.extend([("external_ports", outside.as_str()), ("internal_ports", inside.as_str())]);
        }
        if let Some(key) = ssh_key {
            fields.push(("ssh_key", key.trim()));
        }
        let script = cloud_init.as_ref().map(|text| one_line(text));
        if let Some(script) = &script {
            fields.push(("cloudinit_script", script));
        }
        let price = bid.unwrap_or_default().to_string();
        match price_type {
            PriceType::Spot => fields.extend([("price_type", "spot"), ("price", price.as_str())]),
            PriceType::OnDemand => {}
        }
        self.form("/api/v0/client/deploy/single", &fields)
    }

    /// All VMs.
    pub fn list(&self) -> Request {
        self.form("/api/v0/client/list", &[])
    }

    /// One VM.
    pub fn details(&self, id: &InstanceId) -> Request {
        self.form("/api/v0/client/get/single", &[("server", id.as_str())])
    }

    /// Starts a VM.
    pub fn start(&self, id: &InstanceId) -> Request {
        self.form("/api/v0/client/start/single", &[("server", id.as_str())])
    }

    /// Stops a VM.
    pub fn stop(&self, id: &InstanceId, how: Stop) -> Request {
        let release = match how {
            Stop::KeepGpu => "false",
            Stop::ReleaseGpu => "true",
        };
        self.form("/api/v0/client/stop/single", &[("server", id.as_str()), ("disassociate_resources", release)])
    }

    /// Deletes a VM.
    pub fn delete(&self, id: &InstanceId) -> Request {
        self.form("/api/v0/client/delete/single", &[("server", id.as_str())])
    }

    /// Any call, with its fields as they are; `None` for a value that cannot stand in its path.
    pub fn raw(&self, call: &RawCall, fields: &[(String, String)]) -> Option<Request> {
        let (path, fields) = call.placed(fields)?;
        Some(match call.method {
            Method::Get => self.get(path, fields.into_iter().cloned().collect()),
            Method::Post | Method::Put | Method::Delete => {
                let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
                self.form(&path, &fields)
            }
        })
    }

    /// What the account holds.
    pub fn balance(&self) -> Request {
        self.form("/api/v0/billing/balance", &[])
    }
}

/// "With newlines substituted for \n" (documented, S1): a backslash and an n.
pub(super) fn one_line(script: &str) -> String {
    script.replace("\r\n", "\n").replace('\n', "\\n")
}

/// `{30118, 30117}`: "make sure to include spaces between ports" (documented, S1).
fn braces<'a>(ports: impl Iterator<Item = &'a u16>) -> String {
    let ports: Vec<String> = ports.map(u16::to_string).collect();
    format!("{{{}}}", ports.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Shape;
    use std::collections::BTreeMap;

    fn calls() -> Calls {
        Calls::new("key-of-ours".into(), "token-of-ours".into())
    }

    fn shape() -> Shape {
        Shape { gpu_model: "v100-pcie-16gb".parse().unwrap(), gpus: 2, vcpus: 8, ram_gb: 8, storage_gb: 200 }
    }

    fn order(price_type: PriceType) -> Order {
        Order {
            name: "spotscale-train-k3x9-7".parse().unwrap(),
            hostnode: "8db2ec46-c094-4262-bc7e-6c76617f4237".parse().unwrap(),
            shape: shape(),
            price_type,
            bid: Some("0.25".parse().unwrap()),
            image: "Ubuntu 22.04 LTS".into(),
            ports: BTreeMap::from([(30117, 80), (30118, 22)]),
            ssh_key: Some("ssh-ed25519 AAAA me\n".into()),
            cloud_init: Some("runcmd:\n  - true\r\n".into()),
            password: "Sup3r-random".into(),
        }
    }

    fn form(request: &Request) -> BTreeMap<String, String> {
        form_urlencoded::parse(&request.body).into_owned().collect()
    }

    #[test]
    fn a_model_is_called_what_the_vendor_calls_it() {
        let asked = |name: &str| {
            let shape = Shape { gpu_model: catalogue::canonical(Vocabulary::TensordockV0, name).unwrap(), ..shape() };
            let bid = Bid { hostnode: "h".parse().unwrap(), shape, price: "0.25".parse().unwrap() };
            form(&calls().validate_new(&bid)).remove("gpu_model").unwrap()
        };
        for name in ["v100-pcie-16gb", "h200-sxm5-141gb", "h100"] {
            assert_eq!(asked(name), name);
        }
    }

    #[test]
    fn a_spot_deploy_says_all_that_the_documents_ask_for() {
        let sent = form(&calls().deploy(&order(PriceType::Spot)));
        let expected = [
            ("api_key", "key-of-ours"),
            ("api_token", "token-of-ours"),
            ("cloudinit_script", "runcmd:\\n  - true\\n"),
            ("external_ports", "{30117, 30118}"),
            ("gpu_count", "2"),
            ("gpu_model", "v100-pcie-16gb"),
            ("hostnode", "8db2ec46-c094-4262-bc7e-6c76617f4237"),
            ("internal_ports", "{80, 22}"),
            ("name", "spotscale-train-k3x9-7"),
            ("operating_system", "Ubuntu 22.04 LTS"),
            ("password", "Sup3r-random"),
            ("price", "0.25"),
            ("price_type", "spot"),
            ("ram", "8"),
            ("ssh_key", "ssh-ed25519 AAAA me"),
            ("storage", "200"),
            ("vcpus", "8"),
        ];
        let expected: BTreeMap<String, String> = expected.map(|(name, value)| (name.into(), value.into())).into();
        assert_eq!(sent, expected);
    }

    #[test]
    fn on_demand_is_never_given_a_bid_and_spot_without_one_bids_nothing() {
        let sent = form(&calls().deploy(&order(PriceType::OnDemand)));
        assert!(!sent.contains_key("price") && !sent.contains_key("price_type"));
        let sent = form(&calls().deploy(&Order { bid: None, ..order(PriceType::Spot) }));
        assert_eq!((sent["price_type"].as_str(), sent["price"].as_str()), ("spot", "0.00"));
    }

    #[test]
    fn the_filters_have_the_vendors_names() {
        let filters = Filters {
            vcpus_min: Some(1),
            ram_gb_min: Some(20),
            storage_gb_min: Some(20),
            vram_gb_min: Some(4),
            gpus_min: Some(1),
            gpus_max: Some(8),
            requires_rtx: Some(false),
            requires_gtx: Some(false),
        };
        let query = calls().hostnodes(filters).query;
        let names: Vec<&str> = query.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[..6], ["minvCPUs", "minRAM", "minStorage", "minVRAM", "minGPUCount", "maxGPUCount"]);
        assert_eq!(names[6..], ["requiresRTX", "requiresGTX", "api_key", "api_token"]);
        assert_eq!(calls().hostnodes(Filters::default()).query.len(), 2);
    }

    #[test]
    fn an_id_cannot_lead_to_another_path() {
        for id in ["..", "a/b", "a?b", "a#b", "%2e%2e"] {
            assert!(calls().hostnode(&id.parse().unwrap()).is_none(), "{id}");
        }
        assert!(calls().hostnode(&"02c65d45-6da5-4232-a8db-ee0e5bc76110".parse().unwrap()).is_some());
    }

    #[test]
    fn nothing_that_prints_shows_a_credential() {
        let requests = [calls().deploy(&order(PriceType::Spot)), calls().hostnodes(Filters::default())];
        let printed = format!("{:?} {:?} {:?}", calls(), requests, order(PriceType::Spot));
        for secret in ["key-of-ours", "token-of-ours", "Sup3r-random"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
