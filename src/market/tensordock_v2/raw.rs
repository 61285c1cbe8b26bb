//! All calls of TensorDock v2 by the vendor's names of their fields (documented; what clients alone show is marked).
//!
//! What the vendor nests is flat here: each field stands alone and is put where it belongs in the body. A field whose
//! value is more than a text, number or flag is JSON.

use crate::{
    io::net::Method::{self, Delete, Get, Post, Put},
    market::raw::{
        Need::{Needed, Optional},
        RawCall, RawField, Stakes,
    },
};
use serde_json::{Map, Value, json};

const fn needed(name: &'static str, about: &'static str) -> RawField {
    RawField { name, need: Needed, about }
}

const fn optional(name: &'static str, about: &'static str) -> RawField {
    RawField { name, need: Optional, about }
}

const fn call(
    name: &'static str,
    method: Method,
    path: &'static str,
    stakes: Stakes,
    about: &'static str,
    fields: &'static [RawField],
) -> RawCall {
    RawCall { name, method, path, stakes, about, fields }
}

const VM: RawField = needed("id", "the VM's id");
const SECRET: RawField = needed("id", "the secret's id");

/// The calls, as the vendor's pages order them.
pub const CALLS: &[RawCall] = &[
    call("auth-test", Post, "/api/v2/auth/test", Stakes::Nothing, "Whether the token is taken", &[]),
    call("locations", Get, "/api/v2/locations", Stakes::Nothing, "The places, and what can be had in each", &[]),
    call(
        "hostnodes",
        Get,
        "/api/v2/hostnodes",
        Stakes::Nothing,
        "The machines, what is free on them and what it costs",
        &[
            optional("location", "of one place, by its id (recorded)"),
            optional("gpu", "with this model, by its v0Name (recorded)"),
            optional("minVcpu", "at least so many free vCPUs (recorded)"),
            optional("minRamGb", "at least so much free memory, GB (recorded)"),
            optional("minStorageGb", "at least so much free disk, GB (recorded)"),
        ],
    ),
    call(
        "hostnode",
        Get,
        "/api/v2/hostnodes/{uuid}",
        Stakes::Nothing,
        "One machine, its free ports too",
        &[needed("uuid", "the machine's id")],
    ),
    call(
        "create",
        Post,
        "/api/v2/instances",
        Stakes::Money,
        "Makes a VM",
        &[
            needed("name", "what it is called"),
            needed("image", "ubuntu2204, ubuntu2404, ubuntu2404_ml_everything, _ml_pytorch, _ml_tensorflow, windows10"),
            optional("hostnode_id", "on which machine; this or location_id"),
            optional("location_id", "in which place; this or hostnode_id"),
            needed("vcpu_count", "even"),
            needed("ram_gb", "memory, GB"),
            needed("storage_gb", "disk, GB; at least 100"),
            optional("gpus", "JSON: {\"geforcertx4090-pcie-24gb\": {\"count\": 1}}"),
            optional("port_forwards", "JSON: [{\"internal_port\": 22, \"external_port\": 20000}]"),
            optional("useDedicatedIp", "true: an address of its own (recorded)"),
            optional("ssh_key", "OpenSSH public key; this or ssh_key_id"),
            optional("ssh_key_id", "a secret's id; this or ssh_key"),
            optional("cloud_init", "JSON: runcmd, packages, package_update, package_upgrade, write_files"),
        ],
    ),
    call("list", Get, "/api/v2/instances", Stakes::Nothing, "The organisation's VMs", &[]),
    call("get", Get, "/api/v2/instances/{id}", Stakes::Nothing, "One VM", &[VM]),
    call("start", Post, "/api/v2/instances/{id}/start", Stakes::Money, "Starts a stopped VM", &[VM]),
    call("stop", Post, "/api/v2/instances/{id}/stop", Stakes::Loss, "Stops a VM", &[VM]),
    call(
        "modify",
        Put,
        "/api/v2/instances/{id}/modify",
        Stakes::Money,
        "Gives a stopped VM another size",
        &[
            VM,
            optional("cpuCores", "vCPUs; in steps of 2"),
            optional("ramGb", "memory, GB; in steps of 8"),
            optional("diskGb", "disk, GB; in steps of 50, never smaller"),
            optional("gpus", "JSON: {\"gpuV0Name\": \"geforcertx4090-pcie-24gb\", \"count\": 1}"),
        ],
    ),
    call("delete", Delete, "/api/v2/instances/{id}", Stakes::Loss, "Deletes a VM and its disk", &[VM]),
    call("secrets", Get, "/api/v2/secrets", Stakes::Nothing, "The secrets, without their values", &[]),
    call("secret", Get, "/api/v2/secrets/{id}", Stakes::Nothing, "One secret; its value is shown", &[SECRET]),
    call(
        "secret-create",
        Post,
        "/api/v2/secrets",
        Stakes::Money,
        "Keeps a secret, such as an SSH key",
        &[
            needed("name", "what it is called"),
            needed("value", "what it holds"),
            needed("type", "SSHKEY, GENERIC or SECRET"),
        ],
    ),
    call("secret-delete", Delete, "/api/v2/secrets/{id}", Stakes::Loss, "Forgets a secret", &[SECRET]),
];

/// Fields of a VM's resources.
const RESOURCES: [&str; 4] = ["vcpu_count", "ram_gb", "storage_gb", "gpus"];
/// Fields that are texts whatever they look like.
const TEXTS: [&str; 8] = ["name", "image", "hostnode_id", "location_id", "ssh_key", "ssh_key_id", "value", "type"];

/// A field's value: JSON where it is any, and else a text. The vendor judges it.
fn value(name: &str, text: &str) -> Value {
    let parsed = if TEXTS.contains(&name) { None } else { serde_json::from_str(text).ok() };
    parsed.unwrap_or_else(|| json!(text))
}

/// The body of a call: each field where the vendor wants it.
pub fn body(call: &RawCall, fields: &[&(String, String)]) -> Value {
    let mut flat: Map<String, Value> = fields.iter().map(|(name, text)| (name.clone(), value(name, text))).collect();
    match call.name {
        "create" => {
            let resources: Map<String, Value> =
                RESOURCES.iter().filter_map(|name| Some(((*name).to_owned(), flat.remove(*name)?))).collect();
            flat.insert("type".into(), json!("virtualmachine"));
            flat.insert("resources".into(), Value::Object(resources));
            super::calls::enveloped("virtualmachine", Value::Object(flat))
        }
        "secret-create" => super::calls::enveloped("secret", Value::Object(flat)),
        _ => Value::Object(flat),
    }
}
