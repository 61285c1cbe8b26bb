//! All 22 calls of TensorDock v0 by the vendor's names of their fields (documented, S1; what S2 alone shows is marked).

use crate::{
    io::net::Method::{Get, Post},
    market::raw::{
        Need::{Needed, Optional},
        RawCall, RawField, Stakes,
    },
};

const fn needed(name: &'static str, about: &'static str) -> RawField {
    RawField { name, need: Needed, about }
}

const fn optional(name: &'static str, about: &'static str) -> RawField {
    RawField { name, need: Optional, about }
}

const fn reads(name: &'static str, path: &'static str, about: &'static str, fields: &'static [RawField]) -> RawCall {
    RawCall { name, method: Post, path, stakes: Stakes::Nothing, about, fields }
}

const fn gets(name: &'static str, path: &'static str, about: &'static str, fields: &'static [RawField]) -> RawCall {
    RawCall { name, method: Get, path, stakes: Stakes::Nothing, about, fields }
}

const fn costs(name: &'static str, path: &'static str, about: &'static str, fields: &'static [RawField]) -> RawCall {
    RawCall { name, method: Post, path, stakes: Stakes::Money, about, fields }
}

const fn ends(name: &'static str, path: &'static str, about: &'static str, fields: &'static [RawField]) -> RawCall {
    RawCall { name, method: Post, path, stakes: Stakes::Loss, about, fields }
}

const SERVER: RawField = needed("server", "the VM's id");
const PASSWORD: RawField = optional("password", "the VM's password; not needed with a key");
const SSH_KEY: RawField = optional("ssh_key", "OpenSSH public key");
const CLOUD_INIT: RawField = optional("cloudinit_script", "cloud-init, each newline as \\n");
const CONTAINER: RawField = needed("container_id", "the container's id");

/// The calls, as the vendor orders them.
pub const CALLS: &[RawCall] = &[
    reads("auth-test", "/api/v0/auth/test", "Whether the credentials are taken", &[]),
    reads("auth-list", "/api/v0/auth/list", "The organisation's authorizations", &[]),
    gets(
        "hostnodes",
        "/api/v0/client/deploy/hostnodes",
        "The machines, what is free on them and what it costs",
        &[
            optional("minvCPUs", "at least so many free vCPUs"),
            optional("minRAM", "at least so much free memory, GB"),
            optional("maxRAM", "at most so much free memory, GB (S2)"),
            optional("minStorage", "at least so much free disk, GB"),
            optional("minVRAM", "at least so much memory per GPU, GB"),
            optional("minGPUCount", "at least so many free GPUs"),
            optional("maxGPUCount", "at most so many GPUs; 0: machines for VMs without any"),
            optional("requiresRTX", "true: with RTX GPUs"),
            optional("requiresGTX", "true: with GTX GPUs"),
        ],
    ),
    gets(
        "hostnode",
        "/api/v0/client/deploy/hostnodes/{hostnode}",
        "One machine",
        &[needed("hostnode", "the machine's id")],
    ),
    costs(
        "deploy",
        "/api/v0/client/deploy/single",
        "Makes a VM",
        &[
            needed("name", "what it is called, at most 60 characters"),
            needed("hostnode", "the machine's id"),
            needed("gpu_model", "such as geforcertx4090-pcie-24gb"),
            needed("gpu_count", "how many GPUs"),
            needed("vcpus", "even"),
            needed("ram", "memory, GB, even"),
            needed("storage", "disk, GB"),
            needed("operating_system", "such as \"Ubuntu 22.04 LTS\""),
            PASSWORD,
            SSH_KEY,
            optional("external_ports", "free ports of the machine: \"{30118, 30117}\""),
            optional("internal_ports", "the VM's ports, in the same order: \"{22, 80}\""),
            CLOUD_INIT,
            optional("price_type", "spot: by bid; left out: on demand"),
            optional("price", "the bid, USD per hour for the whole VM, its disk on top"),
        ],
    ),
    reads(
        "validate-new",
        "/api/v0/client/spot/validate/new",
        "Whether a bid for a new VM would succeed",
        &[
            needed("hostnode", "the machine's id"),
            needed("gpu_model", "such as v100-pcie-16gb"),
            needed("gpu_count", "how many GPUs"),
            needed("vcpus", "even"),
            needed("ram", "memory, GB, even"),
            needed("storage", "disk, GB"),
            needed("price", "the bid, USD per hour for the whole VM, its disk on top"),
        ],
    ),
    costs(
        "validate-existing",
        "/api/v0/client/spot/validate/existing",
        "Whether a new bid for a VM would succeed; moves the bid if it would",
        &[SERVER, needed("price", "the bid, USD per hour for the whole VM, its disk on top")],
    ),
    reads("list", "/api/v0/client/list", "All VMs", &[]),
    reads("get", "/api/v0/client/get/single", "One VM", &[SERVER]),
    costs("start", "/api/v0/client/start/single", "Starts a VM", &[SERVER]),
    ends(
        "stop",
        "/api/v0/client/stop/single",
        "Stops a VM; its GPU stays billed unless it is given back",
        &[SERVER, optional("disassociate_resources", "true: give the GPU back, only the disk is billed")],
    ),
    costs(
        "modify",
        "/api/v0/client/modify/single",
        "Gives a stopped VM another size",
        &[
            needed("server_id", "the VM's id"),
            optional("gpu_model", "another model"),
            optional("gpu_count", "how many GPUs"),
            optional("ram", "memory, GB, even"),
            optional("vcpus", "even"),
            optional("storage", "disk, GB"),
        ],
    ),
    ends("delete", "/api/v0/client/delete/single", "Deletes a VM and its disk", &[SERVER]),
    costs(
        "deploy-instant",
        "/api/v0/client/deployinstant/single",
        "Takes an instant VM",
        &[
            needed("instance_uuid", "which: an id that `instant-vms` shows"),
            needed("name", "what it is called"),
            PASSWORD,
            SSH_KEY,
            CLOUD_INIT,
        ],
    ),
    gets("instant-vms", "/api/v0/client/deploy/instantvms", "The VMs that can be had at once", &[]),
    costs(
        "container-deploy",
        "/api/v0/client/container/deploy",
        "Deploys a container (deprecated by the vendor)",
        &[
            needed("display_name", "what it is called"),
            needed("project_id", "how it is known on each VM"),
            needed("image_name", "on Docker Hub"),
            needed("registry_type", "public"),
            needed("gpu_count", "GPUs of each replica"),
            needed("gpu_models", "the preferred first: \"['l40-pcie-48gb']\""),
            needed("replicas", "how many"),
            needed("ram", "memory of each replica, GB"),
            needed("vcpus", "of each replica"),
            needed("storage", "disk of each replica, GB"),
            needed("networking_port", "the port that the image exposes"),
            optional("environment_variables", "JSON object"),
            optional("volumes", "JSON array"),
            optional("arguments", "JSON array"),
            optional("max_vm_rate_hourly", "the most that a replica may cost, USD per hour"),
        ],
    ),
    costs(
        "container-scale",
        "/api/v0/client/container/scale",
        "Adds replicas to a container, or takes some away (deprecated by the vendor)",
        &[CONTAINER, needed("replicas", "how many more; negative: fewer")],
    ),
    ends(
        "container-stop",
        "/api/v0/client/container/stop",
        "Ends a container (deprecated by the vendor)",
        &[CONTAINER],
    ),
    gets(
        "container-replicas",
        "/api/v0/client/container/{container_id}/replicas",
        "A container's replicas (deprecated by the vendor)",
        &[CONTAINER],
    ),
    reads("balance", "/api/v0/billing/balance", "What the account holds and costs, USD and USD per hour", &[]),
    reads(
        "revenue",
        "/api/v0/billing/revenue",
        "What a hosting provider's machines earn",
        &[
            optional("start_timestamp", "from when on"),
            optional("end_timestamp", "until when"),
            optional("hostnode_id", "of one machine alone"),
        ],
    ),
    reads(
        "summary",
        "/api/v0/billing/summary",
        "A month's account, line by line",
        &[needed("period", "the month, YYYY-MM")],
    ),
];
