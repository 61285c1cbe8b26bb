//! `api` on the real binary against a real `spotscale marketplace`: every call is sent, its JSON stands on stdout alone,
//! and no credential is seen anywhere.

use super::{Marketplace, SETTINGS, fixture, spotscale};
use serde_json::Value;
use std::{collections::BTreeSet, fs, process::Output};
use tempfile::TempDir;

/// A market, and settings that lead to it.
struct Stand {
    folder: TempDir,
    _market: Marketplace,
}

impl Stand {
    fn new() -> Self {
        let folder = fixture();
        let market = Marketplace::start(&["--key", "hush", "--token", "hush", "--hosts", "12"]);
        let base_url = format!("base_url = \"{}\"", market.url);
        let settings = SETTINGS.replace("base_url = \"http://127.0.0.1:1\"", &base_url);
        fs::write(folder.path().join("good.toml"), settings).unwrap();
        Self { folder, _market: market }
    }

    /// `api tensordock LINE`; a space within an argument is written `%20`.
    fn sent(&self, line: &str) -> Output {
        let line = format!("api tensordock {line} --config {{dir}}/good.toml");
        let mut command = spotscale(self.folder.path(), "");
        command.args(line.split_whitespace().map(|word| {
            let folder = self.folder.path().to_str().unwrap();
            word.replace("{dir}", folder).replace("%20", " ")
        }));
        let output = command.output().unwrap();
        for stream in [&output.stdout, &output.stderr] {
            assert!(!String::from_utf8_lossy(stream).contains("hush"), "{line} shows a credential");
        }
        output
    }

    /// What a call that is taken answers.
    #[track_caller]
    fn answer(&self, line: &str) -> Value {
        let output = self.sent(line);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
        assert!(output.status.success(), "{line}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What a call that is refused answers, and what is said of it.
    #[track_caller]
    fn refused(&self, line: &str) -> (Value, String) {
        let output = self.sent(line);
        assert_eq!(output.status.code(), Some(1), "{line}");
        (serde_json::from_slice(&output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn every_call_reaches_the_marketplace_and_prints_its_json() {
    const CONTAINER: &str = "--gpu_count 1 --gpu_models l40-pcie-48gb --replicas 1 --ram 8 --vcpus 4 --storage 50 \
                             --networking_port 80 --registry_type public --image_name a --project_id b";
    let stand = Stand::new();
    let help = String::from_utf8(stand.sent("").stdout).unwrap();
    let listed = help.lines().skip_while(|line| *line != "Calls:").skip(1).take_while(|line| !line.is_empty());
    let calls: BTreeSet<String> = listed.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
    assert_eq!(calls.len(), 22);

    assert_eq!(stand.answer("auth-test")["success"], true);
    assert_eq!(stand.answer("auth-list")["authorizations"]["simulated"]["permissions"], "All");
    assert_eq!(stand.answer("list")["virtualmachines"], serde_json::json!({}));
    let hosts = stand.answer("hostnodes --minGPUCount 1")["hostnodes"].clone();
    assert!(stand.answer("hostnodes")["hostnodes"].as_object().unwrap().len() >= hosts.as_object().unwrap().len());
    let host = hosts.as_object().unwrap().keys().next().unwrap().clone();
    assert_eq!(
        stand.answer(&format!("hostnode --hostnode {host}"))["hostnode"],
        stand.answer("hostnodes")["hostnodes"][&host]
    );

    let waiting = stand.answer("instant-vms")["virtual_machines"].clone();
    // One whose machine has room for another VM beside it.
    let has_room = |offer: &Value| {
        let gpus = &hosts[offer["hostnode"].as_str().unwrap()]["specs"]["gpu"];
        gpus[offer["gpu_model"][0].as_str().unwrap()]["amount"].as_u64() >= Some(2)
    };
    let (instant, offer) = waiting.as_object().unwrap().iter().find(|(_, offer)| has_room(offer)).unwrap();
    let taken = format!("deploy-instant --instance_uuid {instant} --name at-once --password Sup3r-random --yes");
    let at_once = stand.answer(&taken)["vm"].as_str().unwrap().to_owned();
    let shape = format!(
        "--hostnode {} --gpu_model {} --gpu_count 1 --vcpus 8 --ram 32 --storage 100",
        offer["hostnode"].as_str().unwrap(),
        offer["gpu_model"][0].as_str().unwrap()
    );
    // That a bid is too low is an answer, and no failure.
    assert_eq!(stand.answer(&format!("validate-new {shape} --price 0.000001"))["success"], false);
    let login = "--password Sup3r-random --operating_system Ubuntu%2022.04%20LTS";
    let deployed = stand.answer(&format!("deploy {shape} --name a-vm {login} --yes"));
    assert_eq!(stand.answer("list")["virtualmachines"][deployed["server"].as_str().unwrap()]["name"], "a-vm");
    assert_eq!(stand.answer(&format!("get --server {at_once}"))["virtualmachine"]["name"], "at-once");
    let (_, said) = stand.refused(&format!("start --server {at_once} --yes"));
    assert!(said.starts_with("error: tensordock: start: refused: Machine is "), "{said}");
    let (_, said) = stand.refused(&format!("validate-existing --server {at_once} --price 1 --yes"));
    assert!(said.starts_with("error: tensordock: validate-existing: "), "{said}");
    stand.answer(&format!("stop --server {at_once} --disassociate_resources true -y"));
    let modified = stand.answer(&format!("modify --server_id {at_once} --storage 150 --yes"));
    assert_eq!(modified["server"], at_once.as_str());
    assert_eq!(stand.answer(&format!("get --server {at_once}"))["virtualmachine"]["specs"]["storage"], 150);
    stand.answer(&format!("start --server {at_once} --yes"));
    stand.answer(&format!("delete --server {at_once} --yes"));
    let (again, said) = stand.refused(&format!("delete --server {at_once} --yes"));
    assert_eq!(
        (again["success"].clone(), said.as_str()),
        (Value::Bool(false), "error: tensordock: delete: it is gone\n")
    );

    for line in [
        format!("container-deploy --display_name c {CONTAINER} --yes"),
        "container-scale --container_id c --replicas -1 --yes".to_owned(),
        "container-stop --container_id c --yes".to_owned(),
        "container-replicas --container_id c".to_owned(),
    ] {
        let (_, said) = stand.refused(&line);
        assert!(said.ends_with("We no longer support containers.\n"), "{line}: {said}");
    }
    assert!(stand.answer("balance")["balance"].is_number());
    assert_eq!(stand.answer("revenue")["data"], serde_json::json!([]));
    assert_eq!(stand.answer("summary --period 2024-01")["bill_period"]["endM"], "02");
}

#[test]
fn every_call_explains_its_fields() {
    let stand = Stand::new();
    let told = |line: &str| String::from_utf8(stand.sent(line).stdout).unwrap();
    let deploy = told("deploy --help");
    for field in ["--name", "--gpu_count", "--price_type", "--cloudinit_script", "--yes"] {
        assert!(deploy.contains(field), "{deploy}");
    }
    assert!(!deploy.contains("api_key"), "credentials are no fields");
    assert!(told("summary -h").contains("the month, YYYY-MM"));
    let all = told("--help");
    assert!(all.contains("\n  stop --server [--disassociate_resources]\n"), "{all}");
    assert!(all.contains("\n  hostnode            One machine\n"), "{all}");
}

#[test]
fn wrong_credentials_are_refused_and_not_shown() {
    let stand = Stand::new();
    fs::write(stand.folder.path().join("key"), "hush-and-wrong").unwrap();
    let (_, said) = stand.refused("list");
    assert!(said.starts_with("error: tensordock does not take the credentials ("), "{said}");
}

#[test]
fn help_needs_no_settings() {
    let folder = fixture();
    let told = |line: &str| {
        let output = spotscale(folder.path(), line).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(told("api --help").contains("<MARKETPLACE> [CALL] [--FIELD VALUE]..."));
    assert_eq!(told("api"), told("api --help"));
    assert_eq!(told("api tensordock list --help --config {dir}/none.toml"), told("api --help"));
    assert!(told("api tensordock-v0 --help").contains("\n  balance             What the account holds"));
    assert!(told("api tensordock-v0 deploy --help").contains("--gpu_model"));
}

#[test]
fn vectordash_is_asked_by_its_own_names_and_no_private_key_is_printed() {
    let stand = Stand::new();
    let settings = fs::read_to_string(stand.folder.path().join("good.toml")).unwrap();
    let settings = settings.replace("tensordock-v0", "vectordash").replace("key      = { file = \"key\" }\n", "");
    fs::write(stand.folder.path().join("good.toml"), settings).unwrap();
    assert_eq!(stand.answer("account")["payment_method_added"], true);
    let gpus = stand.answer("gpus")["gpus"].clone();
    assert!(gpus.as_array().unwrap().iter().any(|gpu| gpu["type"] == "1080 ti"), "{gpus}");
    let unseen = |line: &str| {
        let output = stand.sent(line);
        let printed = [output.stdout, output.stderr].map(|stream| String::from_utf8(stream).unwrap());
        assert!(!printed[0].contains("simulated-key") && !printed[1].contains("simulated-key"), "{line}: {printed:?}");
        printed
    };
    let [made, _] = unseen("create --name a-vm --gpu 1080%20ti --yes");
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!((&made["instance"]["pem"], &made["instance"]["name"]), (&Value::from("***"), &Value::from("a-vm")));
    let key = made["instance"]["key"].as_str().unwrap();
    let [listed, _] = unseen("instances");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&listed["instances"][0]["pem"], &listed["instances"][0]["key"]),
        (&Value::from("***"), &Value::from(key))
    );
    let [found, _] = unseen(&format!("instance --instance {key}"));
    assert_eq!(serde_json::from_str::<Value>(&found).unwrap()["instance"]["pem"], "***");
    // Done, and there is nothing to print.
    let deleted = stand.sent(&format!("delete --instance {key} --yes"));
    assert!(deleted.status.success() && deleted.stdout.is_empty() && deleted.stderr.is_empty(), "{deleted:?}");
    let (_, said) = stand.refused(&format!("delete --instance {key} --yes"));
    assert_eq!(said, "error: tensordock: delete: it is gone\n");
    let (_, said) = stand.refused("create --name a-vm --gpu 2080 --yes");
    assert_eq!(said, "error: tensordock: create: refused: gpu is not one of the GPU types\n");
}

/// The documents' own example of the account lacks a comma, and is what a marketplace may answer.
#[test]
fn an_account_that_is_not_quite_json_is_printed_as_a_text_without_the_token() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            head.extend(byte);
        }
        let body = "{\n  \"email\": \"hush@example.org\",\n  \"vetted_host\": false\n  \"wallets\": {}\n}\n";
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(head).unwrap()
    });
    let folder = fixture();
    let settings = SETTINGS.replace("tensordock-v0", "vectordash").replace("key      = { file = \"key\" }\n", "");
    fs::write(folder.path().join("good.toml"), settings.replace("http://127.0.0.1:1", &url)).unwrap();
    let output = spotscale(folder.path(), "api tensordock account --config {dir}/good.toml").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let said: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let text = said["text"].as_str().unwrap();
    assert!(text.contains("***@example.org") && !text.contains("hush"), "{text}");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(served.join().unwrap().starts_with("GET /api/account HTTP/1.1\r\n"));
}
