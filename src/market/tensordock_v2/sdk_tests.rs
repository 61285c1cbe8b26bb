//! The calls that no fleet needs, against the fake; and that every call of the vendor's is there, typed and by its names.

use super::{
    conformance::{ask, ask_at, fake, here},
    fixtures::{self, dialect, listed, show_stock},
    nouns::{Modification, NewSecret, Opened, Place, PlaceGpus, PlaceId, Secret, SecretId, SecretKind},
    *,
};
use crate::{
    market::{
        examples::{Sent, are_said_by_the_vendors_names},
        tensordock_v0::conformance::{HOST, world},
    },
    model::{InstanceStatus, Shape},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn a_key() -> NewSecret {
    NewSecret { name: "laptop".into(), kind: SecretKind::SshKey, value: "ssh-ed25519 AAAA me".into() }
}

pub(super) fn smaller_ram() -> Modification {
    Modification { vcpus: 8, ram_gb: 6, storage_gb: 250, gpus: Some(("v100-pcie-16gb".parse().unwrap(), 2)) }
}

fn show_place(place: &Place) -> String {
    let Place { id, location, tier, gpus } = place;
    let mut text = format!("{id} | {location} | tier {tier:?}");
    for (model, one) in gpus {
        let PlaceGpus { display_name, gpus, vcpus, ram_gb, storage_gb, dedicated_ip, port_forwarding, network_storage } =
            one;
        let stocks = [gpus, vcpus, ram_gb, storage_gb].map(show_stock).join(" ");
        text.push_str(&format!(
            " | {model} ({}) {stocks} ip {dedicated_ip:?} ports {port_forwarding:?} net {network_storage:?}",
            display_name.as_deref().unwrap_or("-")
        ));
    }
    text
}

fn show_opened(opened: Lookup<Opened>) -> String {
    match opened {
        Lookup::Here(Opened { secret, value }) => {
            format!("{secret:?} = {}", value.map_or_else(|| "-".into(), |value| value.expose_secret().to_owned()))
        }
        Lookup::Gone => "gone".into(),
    }
}

/// What a fixture reads as under a call that no fleet needs.
pub(super) fn told_of(call: &str, vm: &InstanceId, response: &Response) -> String {
    let says = dialect();
    let secret: SecretId = "sshkey-uuid-12345".parse().unwrap();
    match call {
        "organization" => fixtures::told(says.organization(), response, |whose| format!("{whose:?}")),
        "modify" => fixtures::told(says.modify(vm, &smaller_ram()), response, |()| "done".into()),
        "places" => fixtures::told(says.places(), response, |scan| listed(scan, show_place)),
        "secrets" => fixtures::told(says.secrets(), response, |scan| {
            listed(scan, |Secret { id, name, kind }| format!("{id} | {name} | {kind:?}"))
        }),
        "secret" => fixtures::told(says.secret(&secret), response, show_opened),
        "keep_secret" => fixtures::told(says.keep_secret(&a_key()), response, |id| id.to_string()),
        "forget_secret" => fixtures::told(says.forget_secret(&secret), response, |()| "done".into()),
        other => panic!("no call {other}"),
    }
}

/// A typed request, told by its parts: the names of the fields are those of `spotscale api`.
fn sent(request: &Request) -> Sent {
    let mut names: BTreeSet<String> = request.query.iter().map(|(name, _)| name.clone()).collect();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let attributes = if body["data"].is_object() { &body["data"]["attributes"] } else { &body };
    for (name, value) in attributes.as_object().into_iter().flatten() {
        match name.as_str() {
            "resources" => names.extend(value.as_object().unwrap().keys().cloned()),
            "type" if value == "virtualmachine" => {}
            _ => drop(names.insert(name.clone())),
        }
    }
    (request.method, request.path.clone(), names)
}

fn place() -> PlaceId {
    "a-place".parse().unwrap()
}

/// Every typed call with all its fields, by the name that `spotscale api` has for it.
fn all_typed() -> Vec<(&'static str, Request)> {
    let says = dialect();
    let vm: InstanceId = "550e8400-e29b-41d4-a716-446655440000".parse().unwrap();
    let secret: SecretId = "sshkey-uuid-12345".parse().unwrap();
    let filters = Filters {
        place: Some(place()),
        gpu_model: Some(here().shape.gpu_model),
        vcpus_min: Some(1),
        ram_gb_min: Some(1),
        storage_gb_min: Some(1),
    };
    vec![
        ("auth-test", says.organization().request),
        ("locations", says.places().request),
        ("hostnodes", says.hostnodes_with(&filters).request),
        ("hostnode", says.hostnode(&HOST.parse().unwrap()).unwrap().request),
        ("create", says.deploy(&here()).unwrap().request),
        ("list", says.instances().request),
        ("get", says.instance(&vm).unwrap().request),
        ("start", says.start(&vm).unwrap().request),
        ("stop", says.stop(&vm, Stop::KeepGpu).unwrap().request),
        ("modify", says.modify(&vm, &smaller_ram()).request),
        ("delete", says.terminate(&vm).request),
        ("secrets", says.secrets().request),
        ("secret", says.secret(&secret).request),
        ("secret-create", says.keep_secret(&a_key()).request),
        ("secret-delete", says.forget_secret(&secret).request),
    ]
}

#[test]
fn all_calls_are_there_typed_and_by_the_vendors_names_and_say_the_same() {
    are_said_by_the_vendors_names(&dialect(), &all_typed(), sent, |path, field| {
        let id = path.split('/').nth(4).unwrap_or_default();
        if ["id", "uuid"].contains(&field) { id.to_owned() } else { "x".to_owned() }
    });
}

#[test]
fn a_raw_create_is_put_together_from_flat_fields_and_taken() {
    let mut world = world();
    let call = raw::CALLS.iter().find(|call| call.name == "create").unwrap();
    let fields = [
        ("name", "123"),
        ("image", "ubuntu2404"),
        ("hostnode_id", HOST),
        ("vcpu_count", "8"),
        ("ram_gb", "8"),
        ("storage_gb", "200"),
        ("gpus", r#"{"v100-pcie-16gb": {"count": 1}}"#),
        ("port_forwards", r#"[{"internal_port": 22, "external_port": 30117}]"#),
        ("ssh_key", "ssh-ed25519 AAAA me"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let exchange = dialect().raw(call, &fields).unwrap();
    let body: Value = serde_json::from_slice(&exchange.request.body).unwrap();
    assert_eq!(body["data"]["attributes"]["name"], json!("123"), "a text stays one");
    assert_eq!(ask(&mut world, exchange), Ok(()));
    assert_eq!(world.vms.len(), 1);
    // What cannot be JSON goes as it is, for the vendor to judge.
    let wrong = fields.map(|(name, value)| if name == "gpus" { (name, "one".to_owned()) } else { (name, value) });
    assert!(matches!(ask(&mut world, dialect().raw(call, &wrong).unwrap()), Err(Refusal::Refused(_))));
    let get = raw::CALLS.iter().find(|call| call.name == "get").unwrap();
    assert!(dialect().raw(get, &[("id".into(), "../secrets".into())]).is_none());
}

#[test]
fn a_vm_is_had_in_a_place_without_naming_a_machine() {
    let mut world = world();
    let places = ask(&mut world, dialect().places()).unwrap();
    let [place] = &places.items[..] else { panic!("{places:?}") };
    assert_eq!((place.location.city.as_str(), place.tier), ("Kraków", Some(3)));
    let shape = Shape { gpus: 1, ..here().shape };
    let gpus = &place.gpus[&shape.gpu_model];
    assert_eq!((gpus.gpus.free, gpus.port_forwarding), (4, Some(true)));
    let price = gpus.price(&shape).unwrap();
    assert_eq!(gpus.price(&Shape { gpus: 5, ..shape.clone() }), None);
    let new = Creation { site: Site::Place(place.id.clone()), shape, ..creation(&here()).unwrap() };
    let made = ask(&mut world, dialect().create(&new)).unwrap();
    let vm = &world.vms[&made.id].instance;
    assert_eq!((vm.hostnode.as_ref().unwrap().as_str(), vm.quoted.unwrap().total()), (HOST, price));
    let elsewhere = Creation { site: Site::Place("nowhere".parse().unwrap()), ..new };
    let none = ask(&mut world, dialect().create(&elsewhere));
    assert_eq!(none, Err(Refusal::NoCapacity("No available nodes found".into())));
}

#[test]
fn machines_can_be_asked_for_by_what_they_have() {
    let mut world = world();
    let mut count = |filters: Filters| ask(&mut world, dialect().hostnodes_with(&filters)).unwrap().items.len();
    assert_eq!(count(Filters { vcpus_min: Some(64), ram_gb_min: Some(256), ..Filters::default() }), 1);
    assert_eq!(count(Filters { vcpus_min: Some(65), ..Filters::default() }), 0);
    assert_eq!(count(Filters { ram_gb_min: Some(257), ..Filters::default() }), 0);
    assert_eq!(count(Filters { storage_gb_min: Some(5_001), ..Filters::default() }), 0);
    assert_eq!(count(Filters { place: Some(place()), ..Filters::default() }), 0);
    assert_eq!(count(Filters { gpu_model: Some("h100-sxm5-80gb".parse().unwrap()), ..Filters::default() }), 0);
    assert_eq!(count(Filters { gpu_model: Some("v100-pcie-16gb".parse().unwrap()), ..Filters::default() }), 1);
}

#[test]
fn a_stopped_vm_gets_another_size_and_another_price() {
    let mut world = world();
    let id = ask(&mut world, dialect().deploy(&here()).unwrap()).unwrap().id;
    let running = ask(&mut world, dialect().modify(&id, &smaller_ram()));
    assert_eq!(running, Err(Refusal::Refused("Instance must be stopped".into())));
    world.status(&id, InstanceStatus::StoppedReleased).unwrap();
    ask(&mut world, dialect().modify(&id, &smaller_ram())).unwrap();
    let shape = &world.vms[&id].shape;
    assert_eq!((shape.vcpus, shape.ram_gb, shape.storage_gb, shape.gpus), (8, 6, 250, 2));
    for (wrong, told) in [
        (Modification { storage_gb: 200, ..smaller_ram() }, "Storage cannot be decreased"),
        (Modification { storage_gb: 260, ..smaller_ram() }, "Storage must be in steps of 50GB"),
        (Modification { ram_gb: 12, ..smaller_ram() }, "RAM must be one of the allowed sizes"),
    ] {
        assert_eq!(ask(&mut world, dialect().modify(&id, &wrong)), Err(Refusal::Refused(told.into())));
    }
    let odd = Modification { vcpus: 7, ..smaller_ram() };
    assert!(matches!(ask(&mut world, dialect().modify(&id, &odd)), Err(Refusal::Refused(_))));
    assert_eq!(ask(&mut world, dialect().modify(&"x".parse().unwrap(), &smaller_ram())), Err(Refusal::Gone));
}

#[test]
fn a_secret_is_kept_shown_used_and_forgotten() {
    let (mut world, fake, says) = (world(), fake(), dialect());
    let id = ask_at(&fake, &mut world, says.keep_secret(&a_key())).unwrap();
    let hidden = NewSecret { name: "hidden".into(), kind: SecretKind::Secret, value: "never shown".into() };
    let hidden = ask_at(&fake, &mut world, says.keep_secret(&hidden)).unwrap();
    let all = ask_at(&fake, &mut world, says.secrets()).unwrap();
    assert_eq!((all.items.len(), all.dropped.len()), (2, 0));
    assert!(all.items.contains(&Secret { id: id.clone(), name: "laptop".into(), kind: Some(SecretKind::SshKey) }));
    let mut value = |id: &SecretId| match ask_at(&fake, &mut world, says.secret(id)).unwrap() {
        Lookup::Here(Opened { value, .. }) => value.map(|value| value.expose_secret().to_owned()),
        Lookup::Gone => panic!("{id} is gone"),
    };
    assert_eq!((value(&id).as_deref(), value(&hidden)), (Some("ssh-ed25519 AAAA me"), None));

    let by_id = |id: &SecretId| Creation { login: Login::KeyId(id.clone()), ..creation(&here()).unwrap() };
    assert!(ask_at(&fake, &mut world, says.create(&by_id(&id))).is_ok());
    ask_at(&fake, &mut world, says.forget_secret(&id)).unwrap();
    ask_at(&fake, &mut world, says.forget_secret(&id)).unwrap();
    assert!(matches!(ask_at(&fake, &mut world, says.secret(&id)), Ok(Lookup::Gone)));
    let gone = ask_at(&fake, &mut world, says.create(&by_id(&id)));
    assert_eq!(gone, Err(Refusal::Refused("SSH key not found".into())));
    assert!(!format!("{:?}", a_key()).contains("AAAA"));
}

#[test]
fn a_secret_that_cannot_be_kept_is_refused() {
    let mut world = world();
    let nameless = NewSecret { name: " ".into(), ..a_key() };
    let refused = ask(&mut world, dialect().keep_secret(&nameless));
    assert_eq!(refused, Err(Refusal::Refused("name is required".into())));
    let call = raw::CALLS.iter().find(|call| call.name == "secret-create").unwrap();
    let fields = [("name", "a"), ("value", "b"), ("type", "TOKEN")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert!(matches!(ask(&mut world, dialect().raw(call, &fields).unwrap()), Err(Refusal::Refused(_))));
}
