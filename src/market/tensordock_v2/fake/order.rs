//! What a create asks for, held against everything the real API is strict about.
//!
//! The limits are the vendor's pages' (documented) and what clients were refused for (recorded); the texts that FACTS
//! quotes are the vendor's, the others ours. The world decides what is free.

use super::Reply;
use crate::{
    market::tensordock_v2::wire::STORAGE_GB_MIN,
    model::{GpuModel, Hostnode, HostnodeId, Shape, VmName, name::VM_NAME_BYTES_MAX, offer::SSH_PORT},
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Operating systems (recorded 2026-04).
pub const IMAGES: [&str; 6] = [
    "ubuntu2204",
    "ubuntu2404",
    "ubuntu2404_ml_everything",
    "ubuntu2404_ml_pytorch",
    "ubuntu2404_ml_tensorflow",
    "windows10",
];
/// Members of `cloud_init` (documented; the files recorded).
const CLOUD_INIT: [&str; 5] = ["runcmd", "packages", "package_update", "package_upgrade", "write_files"];
/// The memory sizes that a VM can be changed to, in GB (recorded): these, and every multiple of 16 up to 256, and 512.
const RAM_GB: [u32; 6] = [2, 4, 6, 8, 10, 512];

/// Where it is to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// On this machine.
    Hostnode(HostnodeId),
    /// Anywhere in this place.
    Place(String),
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What it is called.
    pub name: VmName,
    /// Operating system.
    pub image: String,
    /// Where.
    pub site: Site,
    /// Its size.
    pub shape: Shape,
    /// Outside port wished for, inside port.
    pub ports: Vec<(Option<u16>, u16)>,
    /// The secret that is its key.
    pub ssh_key_id: Option<String>,
}

fn text<'v>(attributes: &'v Value, name: &str) -> Option<&'v str> {
    attributes[name].as_str().map(str::trim).filter(|text| !text.is_empty())
}

fn number(value: &Value, name: &str) -> Result<u32, Reply> {
    let number = value[name].as_u64().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| Reply::wrong(name, format!("{name} must be an integer")))
}

impl Wanted {
    /// Reads a create.
    pub fn read(body: &Value) -> Result<Self, Reply> {
        let attributes = &body["data"]["attributes"];
        if body["data"]["type"] != "virtualmachine" || !attributes.is_object() {
            return Err(Reply::wrong("type", "data must be a virtualmachine with attributes"));
        }
        let name = text(attributes, "name").ok_or_else(|| Reply::wrong("name", "name is required"))?;
        if name.len() > VM_NAME_BYTES_MAX {
            return Err(Reply::wrong("name", format!("name must have at most {VM_NAME_BYTES_MAX} characters")));
        }
        let image = text(attributes, "image").filter(|image| IMAGES.contains(image));
        let image = image.ok_or_else(|| Reply::wrong("image", "image is not supported"))?;
        let site = site(attributes)?;
        let shape = shape(&attributes["resources"], &site)?;
        let is_windows = image.starts_with("windows");
        let (key, ssh_key_id) = (text(attributes, "ssh_key"), text(attributes, "ssh_key_id"));
        match (key, ssh_key_id) {
            (Some(_), Some(_)) => {
                return Err(Reply::wrong("ssh_key", "Provide either ssh_key or ssh_key_id, not both"));
            }
            (None, None) if !is_windows => return Err(Reply::wrong("ssh_key", "An SSH key is required")),
            (Some(_), None) | (None, Some(_)) | (None, None) => {}
        }
        let ports = ports(&attributes["port_forwards"])?;
        let dedicated = attributes["useDedicatedIp"].as_bool().unwrap_or_default();
        if !is_windows && !dedicated && ports.iter().all(|(_, inside)| *inside != SSH_PORT) {
            return Err(Reply::wrong("port_forwards", "SSH port (22) must be forwarded for Ubuntu VMs"));
        }
        cloud_init(&attributes["cloud_init"])?;
        Ok(Self {
            name: name.parse().map_err(|_| Reply::wrong("name", "name has characters that are not allowed"))?,
            image: image.to_owned(),
            site,
            shape,
            ports,
            ssh_key_id: ssh_key_id.map(str::to_owned),
        })
    }

    /// The forwards as a machine grants them: the outside ports that were wished for where they are free, and others where
    /// they are not (recorded); `None` when it has too few.
    pub fn ports_on(&self, host: &Hostnode) -> Option<BTreeMap<u16, u16>> {
        let wished: BTreeSet<u16> = self.ports.iter().filter_map(|(outside, _)| *outside).collect();
        let mut spare = host.ports.free().iter().copied().filter(|port| !wished.contains(port));
        let mut granted = BTreeMap::new();
        for (outside, inside) in &self.ports {
            let outside = match outside {
                Some(port) if host.ports.free().contains(port) && !granted.contains_key(port) => *port,
                Some(_) | None => spare.next()?,
            };
            granted.insert(outside, *inside);
        }
        Some(granted)
    }
}

fn site(attributes: &Value) -> Result<Site, Reply> {
    match (text(attributes, "hostnode_id"), text(attributes, "location_id")) {
        (Some(id), None) => {
            let id = id.parse().map_err(|_| Reply::wrong("hostnode_id", "hostnode_id is not valid"))?;
            Ok(Site::Hostnode(id))
        }
        (None, Some(id)) => Ok(Site::Place(id.to_owned())),
        (Some(_), Some(_)) => Err(Reply::wrong("location_id", "Provide either hostnode_id or location_id, not both")),
        (None, None) => Err(Reply::wrong("location_id", "Either hostnode_id or location_id is required")),
    }
}

fn shape(resources: &Value, site: &Site) -> Result<Shape, Reply> {
    let mut gpus = resources["gpus"].as_object().into_iter().flatten();
    let (gpu_model, count) = match gpus.next() {
        Some((name, gpu)) => (name.as_str(), number(gpu, "count")?),
        None => ("", 0),
    };
    if gpus.next().is_some() {
        return Err(Reply::wrong("resources", "Only one GPU model can be used"));
    }
    if count == 0 {
        return Err(match site {
            Site::Place(_) => Reply::wrong("resources", "At least one GPU is required for location-based deployment"),
            Site::Hostnode(_) => Reply::wrong("resources", "At least one GPU is required"),
        });
    }
    let model: GpuModel = gpu_model.parse().map_err(|_| Reply::wrong("resources", "GPU model is not known"))?;
    sized(Shape {
        gpu_model: model,
        gpus: count,
        vcpus: number(resources, "vcpu_count")?,
        ram_gb: number(resources, "ram_gb")?,
        storage_gb: number(resources, "storage_gb")?,
    })
}

fn sized(shape: Shape) -> Result<Shape, Reply> {
    if shape.vcpus == 0 || !shape.vcpus.is_multiple_of(2) {
        return Err(Reply::wrong("resources", "vCPUs must be in steps of 2"));
    }
    if shape.ram_gb == 0 || !shape.ram_gb.is_multiple_of(2) {
        return Err(Reply::wrong("resources", "RAM must be in steps of 2"));
    }
    if shape.storage_gb < STORAGE_GB_MIN {
        return Err(Reply::wrong("resources", format!("Storage must be at least {STORAGE_GB_MIN}GB")));
    }
    Ok(shape)
}

/// Another size: what is not said stays.
pub fn new_shape(body: &Value, old: &Shape) -> Result<Shape, Reply> {
    let or = |name: &str, old: u32| if body[name].is_null() { Ok(old) } else { number(body, name) };
    let gpus = &body["gpus"];
    let (gpu_model, count) = if gpus.is_null() {
        (old.gpu_model.clone(), old.gpus)
    } else {
        let model = gpus["gpuV0Name"].as_str().and_then(|model| model.parse().ok());
        (model.ok_or_else(|| Reply::wrong("gpus", "gpuV0Name is not known"))?, number(gpus, "count")?)
    };
    let shape = Shape {
        gpu_model,
        gpus: count,
        vcpus: or("cpuCores", old.vcpus)?,
        ram_gb: or("ramGb", old.ram_gb)?,
        storage_gb: or("diskGb", old.storage_gb)?,
    };
    let is_sold = RAM_GB.contains(&shape.ram_gb) || (shape.ram_gb.is_multiple_of(16) && shape.ram_gb <= 256);
    if shape.ram_gb != old.ram_gb && !is_sold {
        return Err(Reply::refused(400, "RAM must be one of the allowed sizes"));
    }
    if shape.storage_gb != old.storage_gb && !shape.storage_gb.is_multiple_of(50) {
        return Err(Reply::refused(400, "Storage must be in steps of 50GB"));
    }
    if shape.storage_gb < old.storage_gb {
        return Err(Reply::refused(400, "Storage cannot be decreased"));
    }
    sized(shape)
}

fn port(value: &Value) -> Option<u16> {
    u16::try_from(value.as_u64()?).ok().filter(|port| *port != 0)
}

fn ports(forwards: &Value) -> Result<Vec<(Option<u16>, u16)>, Reply> {
    const WRONG: &str = "port_forwards must be pairs of internal_port and external_port";
    if forwards.is_null() {
        return Ok(Vec::new());
    }
    let pairs = forwards.as_array().ok_or_else(|| Reply::wrong("port_forwards", WRONG))?;
    let pair = |pair: &Value| {
        let outside = &pair["external_port"];
        // 0 and nothing both leave it to the marketplace (recorded, skyward sends 0).
        let any = outside.is_null() || outside.as_u64() == Some(0);
        let wished = if any { Some(None) } else { port(outside).map(Some) };
        Some((wished?, port(&pair["internal_port"])?))
    };
    let ports: Option<Vec<_>> = pairs.iter().map(pair).collect();
    let ports = ports.ok_or_else(|| Reply::wrong("port_forwards", WRONG))?;
    let wished: Vec<u16> = ports.iter().filter_map(|(outside, _)| *outside).collect();
    if wished.iter().collect::<BTreeSet<_>>().len() == wished.len() {
        Ok(ports)
    } else {
        Err(Reply::wrong("port_forwards", "external_port must be unique"))
    }
}

fn cloud_init(parts: &Value) -> Result<(), Reply> {
    if parts.is_null() {
        return Ok(());
    }
    let wrong = |what: &str| Reply::wrong("cloud_init", format!("cloud_init: {what}"));
    let parts = parts.as_object().ok_or_else(|| wrong("it must be an object"))?;
    let texts = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    let files = |value: &Value| {
        let file = |file: &Value| file["path"].is_string() && file["content"].is_string();
        value.as_array().is_some_and(|list| list.iter().all(file))
    };
    for (name, value) in parts {
        let is_right = match name.as_str() {
            "runcmd" | "packages" => texts(value),
            "package_update" | "package_upgrade" => value.is_boolean(),
            "write_files" => files(value),
            _ => return Err(wrong(&format!("{name} is none of {}", CLOUD_INIT.join(", ")))),
        };
        if !is_right {
            return Err(wrong(&format!("{name} is not valid")));
        }
    }
    Ok(())
}
