//! The calls of TensorDock v2, as requests.
//!
//! JSON bodies, and the credential as a bearer token in a header (documented). Ids stand in paths, and only as what cannot
//! change a path's meaning.

use super::nouns::{Creation, Login, Modification, NewSecret, PlaceId, SecretId, Site};
use crate::{
    io::net::{Method, Request},
    market::raw::{RawCall, is_plain},
    model::{
        GpuModel, HostnodeId, InstanceId,
        catalogue::{self, Vocabulary},
    },
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, fmt};

/// What all paths begin with.
pub const BASE: &str = "/api/v2";

/// The filters of the list of hostnodes, as clients send them (recorded; none is documented): whoever relies on them
/// filters again. `None` is not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// `location`: of one place.
    pub place: Option<PlaceId>,
    /// `gpu`: with this model.
    pub gpu_model: Option<GpuModel>,
    /// `minVcpu`.
    pub vcpus_min: Option<u32>,
    /// `minRamGb`.
    pub ram_gb_min: Option<u32>,
    /// `minStorageGb`.
    pub storage_gb_min: Option<u32>,
}

/// As the vendor spells it.
fn spelt(model: &GpuModel) -> &str {
    catalogue::spelling(Vocabulary::TensordockV2, model).unwrap_or(model.as_str())
}

/// An id as one segment of a path, whatever is in it.
fn segment(id: &str) -> String {
    if is_plain(id) {
        return id.to_owned();
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    // Segments of dots alone lead elsewhere, however they are written; no id is one.
    if id.bytes().all(|byte| byte == b'.') {
        return "_".to_owned();
    }
    id.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The requests, each with the credential.
pub struct Calls {
    token: SecretString,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calls(***)")
    }
}

impl Calls {
    /// With this token.
    pub fn new(token: SecretString) -> Self {
        Self { token }
    }

    fn request(&self, method: Method, path: String, body: Option<&Value>) -> Request {
        let mut headers = vec![
            ("accept".to_owned(), "application/json".to_owned()),
            ("authorization".to_owned(), format!("Bearer {}", self.token.expose_secret())),
        ];
        if body.is_some() {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        Request { method, path, query: Vec::new(), headers, body }
    }

    fn get(&self, path: String) -> Request {
        self.request(Method::Get, path, None)
    }

    fn post(&self, path: String, body: &Value) -> Request {
        self.request(Method::Post, path, Some(body))
    }

    /// Whether the credential is taken.
    pub fn test(&self) -> Request {
        self.post(format!("{BASE}/auth/test"), &json!({}))
    }

    /// The places.
    pub fn places(&self) -> Request {
        self.get(format!("{BASE}/locations"))
    }

    /// The machines.
    pub fn hostnodes(&self, filters: &Filters) -> Request {
        let Filters { place, gpu_model, vcpus_min, ram_gb_min, storage_gb_min } = filters;
        let number = |number: &Option<u32>| number.map(|number| number.to_string());
        let query = [
            ("location", place.as_ref().map(ToString::to_string)),
            ("gpu", gpu_model.as_ref().map(|model| spelt(model).to_owned())),
            ("minVcpu", number(vcpus_min)),
            ("minRamGb", number(ram_gb_min)),
            ("minStorageGb", number(storage_gb_min)),
        ];
        let query = query.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        Request { query, ..self.get(format!("{BASE}/hostnodes")) }
    }

    /// One machine.
    pub fn hostnode(&self, id: &HostnodeId) -> Request {
        self.get(format!("{BASE}/hostnodes/{}", segment(id.as_str())))
    }

    /// All VMs.
    pub fn list(&self) -> Request {
        self.get(format!("{BASE}/instances"))
    }

    fn vm(id: &InstanceId, what: &str) -> String {
        format!("{BASE}/instances/{}{what}", segment(id.as_str()))
    }

    /// One VM.
    pub fn details(&self, id: &InstanceId) -> Request {
        self.get(Self::vm(id, ""))
    }

    /// Starts a VM. An empty object is sent, for some servers want a body where the type is JSON.
    pub fn start(&self, id: &InstanceId) -> Request {
        self.post(Self::vm(id, "/start"), &json!({}))
    }

    /// Stops a VM.
    pub fn stop(&self, id: &InstanceId) -> Request {
        self.post(Self::vm(id, "/stop"), &json!({}))
    }

    /// Deletes a VM.
    pub fn delete(&self, id: &InstanceId) -> Request {
        self.request(Method::Delete, Self::vm(id, ""), None)
    }

    /// Gives a stopped VM another size.
    pub fn modify(&self, id: &InstanceId, to: &Modification) -> Request {
        let Modification { vcpus, ram_gb, storage_gb, gpus } = to;
        let mut body = json!({"cpuCores": vcpus, "ramGb": ram_gb, "diskGb": storage_gb});
        if let Some((model, count)) = gpus {
            body["gpus"] = json!({"gpuV0Name": spelt(model), "count": count});
        }
        self.request(Method::Put, Self::vm(id, "/modify"), Some(&body))
    }

    /// Makes a VM.
    pub fn create(&self, new: &Creation) -> Request {
        self.post(format!("{BASE}/instances"), &enveloped("virtualmachine", attributes(new)))
    }

    /// The secrets.
    pub fn secrets(&self) -> Request {
        self.get(format!("{BASE}/secrets"))
    }

    /// One secret, its value too.
    pub fn secret(&self, id: &SecretId) -> Request {
        self.get(format!("{BASE}/secrets/{id}"))
    }

    /// Keeps a secret.
    pub fn create_secret(&self, new: &NewSecret) -> Request {
        let NewSecret { name, kind, value } = new;
        let attributes = json!({"name": name, "value": value.expose_secret(), "type": kind.as_str()});
        self.post(format!("{BASE}/secrets"), &enveloped("secret", attributes))
    }

    /// Forgets a secret.
    pub fn delete_secret(&self, id: &SecretId) -> Request {
        self.request(Method::Delete, format!("{BASE}/secrets/{id}"), None)
    }

    /// Any call, with its fields as they are; `None` for a value that cannot stand in its path.
    pub fn raw(&self, call: &RawCall, fields: &[(String, String)]) -> Option<Request> {
        let (path, fields) = call.placed(fields)?;
        Some(match call.method {
            Method::Get => Request { query: fields.into_iter().cloned().collect(), ..self.get(path) },
            Method::Delete => self.request(call.method, path, None),
            Method::Post | Method::Put => self.request(call.method, path, Some(&super::raw::body(call, &fields))),
        })
    }
}

/// What is sent looks like JSON:API (documented).
pub(super) fn enveloped(kind: &str, attributes: Value) -> Value {
    json!({"data": {"type": kind, "attributes": attributes}})
}

fn attributes(new: &Creation) -> Value {
    let Creation { name, image, site, shape, ports, dedicated_ip, login, cloud_init } = new;
    let mut gpus = Map::new();
    if shape.gpus > 0 {
        gpus.insert(spelt(&shape.gpu_model).to_owned(), json!({"count": shape.gpus}));
    }
    let mut attributes = json!({
        "name": name.as_str(),
        "type": "virtualmachine",
        "image": image,
        "resources": {
            "vcpu_count": shape.vcpus,
            "ram_gb": shape.ram_gb,
            "storage_gb": shape.storage_gb,
            "gpus": gpus,
        },
    });
    match site {
        Site::Hostnode(id) => attributes["hostnode_id"] = json!(id.as_str()),
        Site::Place(id) => attributes["location_id"] = json!(id.as_str()),
    }
    if *dedicated_ip {
        attributes["useDedicatedIp"] = json!(true);
    }
    if !ports.is_empty() {
        attributes["port_forwards"] = forwards(ports);
    }
    match login {
        Login::Key(key) => attributes["ssh_key"] = json!(key.trim()),
        Login::KeyId(id) => attributes["ssh_key_id"] = json!(id.as_str()),
        Login::Without => {}
    }
    if !cloud_init.is_empty() {
        attributes["cloud_init"] = cloud_init.to_json();
    }
    attributes
}

fn forwards(ports: &BTreeMap<u16, u16>) -> Value {
    ports.iter().map(|(outside, inside)| json!({"internal_port": inside, "external_port": outside})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{market::tensordock_v2::cloud_init::CloudInit, model::Shape};

    fn calls() -> Calls {
        Calls::new("token-of-ours".into())
    }

    fn body(request: &Request) -> Value {
        serde_json::from_slice(&request.body).unwrap()
    }

    /// The vendor's own example.
    fn documented() -> Creation {
        let text = "runcmd: [\"echo 'Hello World'\", apt-get install -y nginx]\npackages: [curl, git]\n\
                    package_update: true\npackage_upgrade: false\n";
        let gpu_model = "geforcertx4090-pcie-24gb".parse().unwrap();
        Creation {
            name: "my-port-forward-instance".parse().unwrap(),
            image: "ubuntu2404".into(),
            site: Site::Hostnode("hn-uuid-12345".parse().unwrap()),
            shape: Shape { gpu_model, gpus: 1, vcpus: 2, ram_gb: 4, storage_gb: 300 },
            ports: [(20_000, 22), (20_001, 80)].into(),
            dedicated_ip: false,
            login: Login::KeyId("sshkey-uuid-12345".parse().unwrap()),
            cloud_init: CloudInit::of_cloud_config(text).unwrap(),
        }
    }

    #[test]
    fn a_create_is_to_the_letter_what_the_vendor_shows() {
        let request = calls().create(&documented());
        assert_eq!((request.method, request.path.as_str()), (Method::Post, "/api/v2/instances"));
        let expected: Value = serde_json::from_str(include_str!("fixtures/create_request.json")).unwrap();
        assert_eq!(body(&request), expected);
    }

    #[test]
    fn a_key_or_its_id_is_said_and_never_both() {
        let said = |login: Login| {
            let attributes = body(&calls().create(&Creation { login, ..documented() }))["data"]["attributes"].clone();
            (attributes.get("ssh_key").cloned(), attributes.get("ssh_key_id").cloned())
        };
        assert_eq!(said(Login::Key("ssh-ed25519 AAAA me\n".into())), (Some(json!("ssh-ed25519 AAAA me")), None));
        assert_eq!(said(Login::KeyId("k-1".parse().unwrap())), (None, Some(json!("k-1"))));
        assert_eq!(said(Login::Without), (None, None));
    }

    #[test]
    fn a_vm_in_a_place_names_no_machine() {
        let new = Creation { site: Site::Place("loc-1".parse().unwrap()), dedicated_ip: true, ..documented() };
        let attributes = body(&calls().create(&new))["data"]["attributes"].clone();
        assert_eq!(attributes["location_id"], json!("loc-1"));
        assert_eq!(attributes["useDedicatedIp"], json!(true));
        assert!(attributes.get("hostnode_id").is_none());
    }

    #[test]
    fn an_id_cannot_lead_to_another_path() {
        let path = |id: &str| calls().delete(&id.parse().unwrap()).path;
        assert_eq!(path("02c65d45-6da5-4232-a8db-ee0e5bc76110").len(), "/api/v2/instances/".len() + 36);
        assert_eq!(path("a/b?c#d"), "/api/v2/instances/a%2Fb%3Fc%23d");
        assert_eq!(path(".."), "/api/v2/instances/_");
        assert!("..".parse::<SecretId>().is_err() && "a/b".parse::<PlaceId>().is_err());
    }

    #[test]
    fn nothing_that_prints_shows_the_token_and_every_call_bears_it() {
        let requests = [calls().test(), calls().list(), calls().create(&documented()), calls().places()];
        assert!(requests.iter().all(|request| request.header("authorization") == Some("Bearer token-of-ours")));
        assert!(!format!("{:?} {requests:?}", calls()).contains("token-of-ours"));
    }
}
