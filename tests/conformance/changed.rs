//! Live answers with one thing changed: cut short, reordered, doubled, with a field more, a field less, nonsense in a
//! field. What comes out is the same, or less and says so; it is never guessed.

use crate::{
    honest::{Honest, lies},
    json::{Node, Way, quoted},
    sane::Sane,
    stand::Stand,
};
use spotscale::{
    io::net::Response,
    market::{Exchange, Stop},
    model::{Hostnode, Instance, InstanceStatus, Lookup, Refusal, Scan, offer::Ports},
    settings::Api,
};
use std::{fmt::Debug, time::Duration};

/// A word that no vendor uses.
const WORD: &str = "Zorkified";
/// Of a longer list only so many are looked into: the others are alike.
const ITEMS: usize = 3;
/// What stands where a value should.
const NONSENSE: [&str; 12] = [
    "-1",
    "-0.000001",
    "1e300",
    "99999999999999999999",
    "\"-3\"",
    "\"NaN\"",
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "[[]]",
];

/// What is nonsense in the place of a value: for a yes, a no is none.
fn nonsense_for(value: Option<&Node>) -> impl Iterator<Item = &'static str> {
    let flags = ["true", "false"];
    let is_flag = matches!(value, Some(Node::Leaf(leaf)) if flags.contains(&leaf.as_str()));
    NONSENSE.into_iter().filter(move |nonsense| !(is_flag && flags.contains(nonsense)))
}

/// The text that stands in the answer since: some read a number as one.
fn word_in(what: &str) -> String {
    let is_number = what.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let plain = || if is_number { what.to_owned() } else { WORD.to_owned() };
    serde_json::from_str::<String>(what).unwrap_or_else(|_| plain())
}

/// A live list.
struct Subject<T> {
    api: Api,
    exchange: Exchange<Scan<T>>,
    answer: Response,
    node: Node,
    /// Where its items stand.
    list: Way,
    good: Scan<T>,
}

impl<T: Honest + Sane + Clone + PartialEq + Debug> Subject<T> {
    fn new(api: Api, exchange: Exchange<Scan<T>>, answer: Response) -> Self {
        let whole = Node::read(&answer.body).unwrap();
        let all = (exchange.read)(&exchange.request, &answer).unwrap();
        let ids: Vec<String> = all.items.iter().map(Honest::id).collect();
        let list = whole.list_of(&ids).unwrap_or_else(|| panic!("{api}: the list of {} is not found", exchange.call));
        let mut node = whole.clone();
        match node.at_mut(&list) {
            Some(Node::Array(elements)) => elements.truncate(ITEMS),
            Some(Node::Object(members)) => members.truncate(ITEMS),
            Some(Node::Leaf(_)) | None => panic!("a list has items"),
        }
        let mut subject = Self { api, exchange, answer, node, list, good: Scan::default() };
        subject.good = subject.read(&subject.node).unwrap();
        assert_eq!(subject.good.items.len(), ids.len().min(ITEMS), "{api}");
        subject
    }

    fn read_bytes(&self, body: &[u8]) -> Result<Scan<T>, Refusal> {
        let answer = Response { body: body.into(), ..self.answer.clone() };
        (self.exchange.read)(&self.exchange.request, &answer)
    }

    fn read(&self, node: &Node) -> Result<Scan<T>, Refusal> {
        self.read_bytes(node.text().as_bytes())
    }

    /// The ways to what is in the items, but for the later elements of long lists of numbers.
    fn inside(&self) -> Vec<Way> {
        let below = |way: &Way| way.starts_with(&self.list) && way.len() > self.list.len() + 1;
        let short = |way: &Way| way[self.list.len() + 1..].iter().all(|place| *place < 24);
        let early = |way: &Way| {
            let (last, parent) = way.split_last().unwrap();
            !matches!(self.node.at(parent), Some(Node::Array(_))) || *last < 2
        };
        self.node.ways().into_iter().filter(|way| below(way) && short(way) && early(way)).collect()
    }

    /// `what` was changed; where it is a text in quotes, that text may be in what is read.
    #[track_caller]
    fn is_honest(&self, what: &str, node: &Node) -> Option<Scan<T>> {
        let outcome = self.read(node);
        let context = format!("{}: {}: {what}: {}", self.api, self.exchange.call, node.text());
        assert_eq!(outcome.faults(), Vec::<String>::new(), "{context}");
        match outcome {
            Ok(scan) => {
                assert_eq!(lies(&scan, &self.good, &word_in(what)), Vec::<String>::new(), "{context}\n{scan:?}");
                Some(scan)
            }
            Err(_) => None,
        }
    }

    fn cut_short(&self) {
        let body = self.node.text();
        for at in 0..body.len() {
            let outcome = self.read_bytes(&body.as_bytes()[..at]);
            assert!(matches!(outcome, Err(Refusal::Malformed(_))), "{}: cut at {at}: {outcome:?}", self.api);
        }
    }

    fn reordered(&self, normal: fn(&mut T)) {
        let sorted = |scan: Scan<T>| {
            let mut items = scan.items;
            items.iter_mut().for_each(normal);
            items.sort_by_key(Honest::id);
            (items, scan.dropped)
        };
        let again = self.read(&self.node).unwrap();
        assert_eq!(again, self.good, "{}: the same list twice", self.api);
        let reordered = self.read(&self.node.reversed()).unwrap();
        assert_eq!(sorted(reordered), sorted(self.good.clone()), "{}", self.api);
    }

    fn doubled(&self) {
        for place in 0..self.good.items.len() {
            let way = [self.list.clone(), vec![place]].concat();
            let node = self.node.doubled(&way).unwrap();
            let Some(scan) = self.is_honest("an item twice", &node) else {
                panic!("{}: one item twice costs the list", self.api)
            };
            assert_eq!(scan.items.len(), self.good.items.len(), "{}: {scan:?}", self.api);
        }
    }

    /// An object whose members' names are data: more of them are more data.
    fn is_map(&self, members: &[(String, Node)]) -> bool {
        let ids: Vec<String> = self.good.items.iter().map(Honest::id).collect();
        members.iter().any(|(name, _)| {
            name.bytes().all(|byte| byte.is_ascii_digit()) || name.ends_with("gb") || ids.contains(name)
        })
    }

    fn with_a_field_more(&self) {
        for way in self.node.ways() {
            let Some(Node::Object(members)) = self.node.at(&way) else { continue };
            let mut more = members.clone();
            let value = Node::read(br#"{"zz": [1, "x", null]}"#).unwrap();
            more.push(("zz_unexpected".to_owned(), value));
            let node = self.node.with(&way, Node::Object(more));
            let scan = self.is_honest("a field more", &node);
            if !self.is_map(members) {
                assert_eq!(scan.as_ref(), Some(&self.good), "{}: {}", self.api, node.text());
            }
        }
    }

    fn with_a_field_less(&self) {
        for way in self.inside() {
            let (_, parent) = way.split_last().unwrap();
            // An element less is another answer, not a worse one.
            if matches!(self.node.at(parent), Some(Node::Object(_))) {
                self.is_honest("a field less", &self.node.without(&way).unwrap());
            }
        }
        // Without its list an answer is unreadable, never empty.
        for end in 1..=self.list.len() {
            let node = self.node.without(&self.list[..end]).unwrap();
            let outcome = self.read(&node);
            assert!(matches!(outcome, Err(Refusal::Malformed(_))), "{}: {}: {outcome:?}", self.api, node.text());
        }
    }

    fn with_nonsense(&self) {
        for way in self.inside() {
            for nonsense in nonsense_for(self.node.at(&way)) {
                self.is_honest(nonsense, &self.node.with(&way, Node::Leaf(nonsense.to_owned())));
            }
            if matches!(self.node.at(&way), Some(Node::Leaf(_))) {
                self.is_honest(&quoted(WORD), &self.node.with(&way, Node::Leaf(quoted(WORD))));
            }
        }
        for nonsense in ["null", "true", "1", "\"none\""] {
            let outcome = self.read(&self.node.with(&self.list, Node::Leaf(nonsense.to_owned())));
            assert!(matches!(outcome, Err(Refusal::Malformed(_))), "{}: {nonsense}: {outcome:?}", self.api);
        }
    }

    fn all(&self, normal: fn(&mut T)) {
        self.cut_short();
        self.reordered(normal);
        self.doubled();
        self.with_a_field_more();
        self.with_a_field_less();
        self.with_nonsense();
    }
}

/// A stand with three VMs, one of which is stopped where that can be said.
async fn with_vms(api: Api) -> Stand {
    let stand = Stand::new(api);
    for name in ["one", "two", "three"] {
        stand.deployed(name).await;
    }
    stand.clock.pass(Duration::from_secs(3_600));
    let two = stand.find("two").await.unwrap().id;
    if let Some(stop) = stand.says().stop(&two, Stop::ReleaseGpu) {
        stand.client.write(stop).await;
    }
    stand
}

#[tokio::test]
async fn a_changed_list_of_machines_is_never_guessed() {
    for api in Api::ALL {
        let stand = Stand::new(*api);
        let exchange = stand.says().hostnodes();
        let answer = stand.answer(&exchange);
        Subject::<Hostnode>::new(*api, exchange, answer).all(|host| {
            if let Ports::Free(ports) = &mut host.ports {
                ports.sort_unstable();
            }
        });
    }
}

#[tokio::test]
async fn a_changed_list_of_vms_is_never_guessed() {
    for api in Api::ALL {
        let stand = with_vms(*api).await;
        let exchange = stand.says().instances();
        let answer = stand.answer(&exchange);
        Subject::<Instance>::new(*api, exchange, answer).all(|_| {});
    }
}

#[tokio::test]
async fn a_status_that_nobody_knows_is_kept_as_it_came_and_is_not_running() {
    for api in Api::ALL {
        let stand = with_vms(*api).await;
        let exchange = stand.says().instances();
        let answer = stand.answer(&exchange);
        let subject = Subject::<Instance>::new(*api, exchange, answer);
        let mut changed = 0;
        for way in subject.inside() {
            let Some(scan) = subject.read(&subject.node.with(&way, Node::Leaf(quoted(WORD)))).ok() else { continue };
            for (vm, before) in scan.items.iter().filter_map(|vm| {
                let before = subject.good.items.iter().find(|before| before.id == vm.id)?;
                (before.status != vm.status).then_some((vm, before))
            }) {
                assert!(matches!(vm.status, InstanceStatus::Unknown(_)), "{api}: {} was {}", vm.status, before.status);
                changed += usize::from(vm.status == InstanceStatus::Unknown(WORD.to_owned()));
            }
        }
        assert!(changed >= subject.good.items.len(), "{api}: {changed} statuses");
    }
}

/// The same for one thing asked for by id.
fn by_id<T>(api: Api, exchange: &Exchange<Lookup<T>>, answer: &Response)
where
    T: Honest + Sane + Clone + PartialEq + Debug,
{
    let node = Node::read(&answer.body).unwrap();
    let read = |node: &Node| {
        let answer = Response { body: node.text().into_bytes(), ..answer.clone() };
        (exchange.read)(&exchange.request, &answer)
    };
    let Ok(Lookup::Here(good)) = read(&node) else { panic!("{api}: {} is not there", exchange.call) };
    let good = Scan { items: vec![good].into(), dropped: Vec::new() };
    let check = |what: &str, node: &Node| {
        let outcome = read(node);
        let context = format!("{api}: {}: {what}: {}", exchange.call, node.text());
        assert_eq!(outcome.faults(), Vec::<String>::new(), "{context}");
        match outcome {
            Ok(Lookup::Here(item)) => {
                let scan = Scan { items: vec![item].into(), dropped: Vec::new() };
                assert_eq!(lies(&scan, &good, &word_in(what)), Vec::<String>::new(), "{context}");
            }
            Ok(Lookup::Gone) => panic!("{context}: nothing said that it is gone"),
            Err(_) => {}
        }
    };
    for way in node.ways().into_iter().filter(|way| !way.is_empty() && way.iter().all(|place| *place < 24)) {
        let (last, parent) = way.split_last().unwrap();
        match node.at(parent) {
            Some(Node::Object(_)) => check("a field less", &node.without(&way).unwrap()),
            Some(Node::Array(_)) if *last >= 2 => continue,
            Some(Node::Array(_) | Node::Leaf(_)) | None => {}
        }
        for nonsense in nonsense_for(node.at(&way)) {
            check(nonsense, &node.with(&way, Node::Leaf(nonsense.to_owned())));
        }
    }
}

#[tokio::test]
async fn a_changed_answer_about_one_thing_is_never_guessed_and_never_gone() {
    for api in Api::ALL {
        let stand = with_vms(*api).await;
        let vm = stand.find("one").await.unwrap();
        if let Some(exchange) = stand.says().instance(&vm.id) {
            by_id(*api, &exchange, &stand.answer(&exchange));
        }
        let host = stand.hostnodes().await.items.remove(0);
        if let Some(exchange) = stand.says().hostnode(&host.id) {
            by_id(*api, &exchange, &stand.answer(&exchange));
        }
    }
}
