//! The other end of the wire: recorded and documented answers, byte for byte, and a list of what was asked for.

use spotscale::{
    io::{
        Awaited,
        net::{Net, NetError, Request, Response},
    },
    model::HourlyRate,
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

/// What a proxy in front of the API says of the server's own status (documented, S1).
const ORIGINAL_STATUS: &str = "x-do-orig-status";
/// The VM's name in the SDK's example of a list. The API shows whatever name it was given at the deploy.
const NAME_IN_THE_LIST: &str = "My RTX 4000 Server";

/// Which recorded document answers which call, and from where on bids are accepted.
#[derive(Clone, Copy, Debug)]
pub struct Papers {
    pub hostnodes: &'static str,
    pub list: &'static str,
    /// The list once a VM was deployed.
    pub list_after_deploy: &'static str,
    /// What that list says the VM costs, one look after the other; then and without, what stands in the document.
    pub costs: &'static [&'static str],
    pub balance: &'static str,
    pub accepted: &'static str,
    /// With the status of the server itself, behind the proxy.
    pub refused: (&'static str, u16),
    /// Per GPU, by the beginning of a hostnode's id: the least accepted bid. Others accept nothing.
    pub accepts_from: &'static [(&'static str, &'static str)],
}

/// What the VM costs in the SDK's example.
const COST_IN_THE_LIST: &str = "\"cost\": 0.238";

/// S1's answers as they stand.
pub const S1: Papers = Papers {
    hostnodes: "hostnodes.json",
    list: "list.json",
    list_after_deploy: "list.json",
    costs: &[],
    balance: "balance.json",
    accepted: "validate_new_accepted.json",
    refused: ("validate_new_refused.json", 500),
    accepts_from: &[],
};

/// A marketplace that answers from its papers.
pub struct Desk {
    papers: Papers,
    /// Every request, and which document answered it.
    pub asked: Mutex<Vec<String>>,
    deployed: Mutex<Option<String>>,
    /// Lists that were asked for since.
    listed: Mutex<usize>,
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/market/tensordock_v0/fixtures").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Desk {
    pub fn new(papers: Papers) -> Arc<Self> {
        Arc::new(Self { papers, asked: Mutex::default(), deployed: Mutex::default(), listed: Mutex::default() })
    }

    fn accepts(&self, form: &BTreeMap<String, String>) -> bool {
        let rate = |text: &str| text.parse::<HourlyRate>().unwrap();
        let least = self.papers.accepts_from.iter().find(|(host, _)| form["hostnode"].starts_with(host));
        let gpus = form["gpu_count"].parse().unwrap();
        least.is_some_and(|(_, least)| rate(&form["price"]) >= rate(least).times(gpus))
    }

    fn answer(&self, request: &Request) -> Response {
        let form: BTreeMap<String, String> = form_urlencoded::parse(&request.body).into_owned().collect();
        let call = request.path.trim_start_matches("/api/v0/");
        let deployed = self.deployed.lock().unwrap().clone();
        let (document, original, about) = match call {
            "client/deploy/hostnodes" => (self.papers.hostnodes, 200, String::new()),
            "client/list" if deployed.is_some() => (self.papers.list_after_deploy, 200, String::new()),
            "client/list" => (self.papers.list, 200, String::new()),
            "billing/balance" => (self.papers.balance, 200, String::new()),
            "client/spot/validate/new" => {
                let about = format!(" {} at {}", machine(&form), form["price"]);
                let answer = if self.accepts(&form) { (self.papers.accepted, 200) } else { self.papers.refused };
                (answer.0, answer.1, about)
            }
            "client/deploy/single" => {
                *self.deployed.lock().unwrap() = Some(form["name"].clone());
                let said = ["name", "price_type", "price", "external_ports", "internal_ports", "operating_system"];
                let said = said.iter().filter_map(|key| Some(format!(" {key}={}", form.get(*key)?)));
                ("deploy.json", 200, format!(" {}{}", machine(&form), said.collect::<String>()))
            }
            "client/delete/single" => ("delete.json", 200, format!(" {}", form["server"])),
            "client/get/single" => ("get_gone.json", 404, format!(" {}", form["server"])),
            other => panic!("nobody thought of {other}"),
        };
        self.asked.lock().unwrap().push(format!("{call}{about} <- {document}"));
        let body = fixture(document);
        let body = match deployed {
            Some(name) => {
                let mut body = body.replace(NAME_IN_THE_LIST, &name);
                if call == "client/list" {
                    let mut listed = self.listed.lock().unwrap();
                    if let Some(cost) = self.papers.costs.get(*listed) {
                        body = body.replace(COST_IN_THE_LIST, &format!("\"cost\": {cost}"));
                    }
                    *listed += 1;
                }
                body
            }
            None => body,
        };
        let mut response = Response::json(if original == 404 { 404 } else { 200 }, body);
        response.headers.push((ORIGINAL_STATUS.into(), original.to_string()));
        response
    }
}

fn machine(form: &BTreeMap<String, String>) -> String {
    format!(
        "{} x {}, {} vCPU, {} GB, {} GB disk on {:.8}",
        form["gpu_count"], form["gpu_model"], form["vcpus"], form["ram"], form["storage"], form["hostnode"]
    )
}

impl Net for Desk {
    fn send(&self, request: Request, _: Duration) -> Awaited<'_, Result<Response, NetError>> {
        Box::pin(std::future::ready(Ok(self.answer(&request))))
    }
}
