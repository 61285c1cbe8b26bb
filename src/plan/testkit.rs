//! A little town to test plans in: one account, one marketplace, one fleet (`f`), written in a few words.
//!
//! ```text
//! hosts:    a 1.00 99% x4 big ports2 offline nospot poland least=0.40 until=600   b 1.05 ?      (three spaces between two)
//! members:  m running a 2 rate=0.50 od protected age=600 billed=0.7 replaces=n doubt  …
//! ```
//!
//! [`Town::round`] carries a plan out on a market with a hidden least bid for each host, so that plan-apply-plan can be
//! followed to its end.

use super::{
    situation::{AccountState, FleetState, MarketState, Order, Situation},
    *,
};
use crate::model::{
    Shape,
    offer::{Location, Rates},
};
use crate::{
    ledger::{
        Member, Missing, Spent,
        fleet::{Attempts, DeleteAnswer, DeleteAttempt, Fleet, Late, Stray},
    },
    model::{
        AccountName, GpuModel, Hostnode, Instance, InstanceStatus, Shared, Timestamp,
        inventory::{Balance, Dated},
        name::Namer,
        offer::{BidAnswer, Bounds, Ports, PriceRule, Quote, Resources, SpotTerms, Stock, Supply},
        time::{after, before},
    },
    policy::{
        Policy, Terms, lower_limits,
        terms::{
            BidStrategy, BidTerms, DisruptionTerms, HostTerms, InstanceTerms, Mode, ModelTerms, OnDemandTerms,
            OnDemandUse, Preference, Quantity, Revert, ScaleDown, WhenLow,
        },
    },
    settings::{AccountLimits, BalanceRule, Limits},
};

#[derive(Clone, Debug)]
pub(super) struct Town {
    pub situation: Situation,
    /// The least bid per GPU that each host accepts, storage aside.
    pub least: BTreeMap<HostnodeId, HourlyRate>,
}

pub(super) fn rate(text: &str) -> HourlyRate {
    text.parse().unwrap()
}

pub(super) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn model(flag: Option<&str>) -> GpuModel {
    flag.unwrap_or("std-pcie-24gb").parse().unwrap()
}

fn terms(fleet: &str) -> Terms {
    let of = |name: &str| ModelTerms { model: model(Some(name)), max_price: None, worth_ppm: 1_000_000 };
    Terms {
        fleet: fleet.parse().unwrap(),
        target_gpus: 1,
        max_hourly_rate: rate("100"),
        balance_floor: "10".parse().unwrap(),
        min_runway: seconds(3_600),
        when_low: WhenLow::Hold,
        priority: 100,
        mode: Mode::Act,
        marketplaces: None,
        preference: Preference::Strict,
        models: vec![of("big-sxm-80gb"), of("std-pcie-24gb")],
        instance: InstanceTerms {
            gpus: Bounds { min: 1, max: 8 },
            vcpus_per_gpu: 4,
            ram_gb_per_gpu: 16,
            storage_gb: 100,
            image: "Ubuntu 22.04 LTS".into(),
            ssh_key: None,
            ports: vec![22],
            cloud_init: None,
            scale_down: ScaleDown::Delete,
            stopped_max_age: seconds(604_800),
        },
        hosts: HostTerms {
            min_uptime_ppm: 0,
            countries: None,
            deny: vec![],
            max_gpus_per_hostnode: None,
            max_share_per_location_ppm: None,
        },
        spot: BidTerms { bid: BidStrategy::Market, margin_ppm: 50_000, rebid: true, asks_max: 6 },
        on_demand: OnDemandTerms {
            usage: OnDemandUse::Never,
            after: seconds(600),
            base_gpus: 0,
            max_gpus: None,
            revert: Revert::WhenAvailable,
        },
        disruption: DisruptionTerms {
            max_unavailable: Quantity::SharePpm(250_000),
            max_surge: Quantity::Count(1),
            max_scale_down: Quantity::SharePpm(500_000),
            cooldown_up: seconds(30),
            cooldown_down: seconds(300),
        },
    }
}

/// A delete that was tried.
pub(super) const fn tried(at: Timestamp, answer: DeleteAnswer) -> DeleteAttempt {
    DeleteAttempt { at, reason: Teardown::Target, answer }
}

/// Makes a machine's GPUs cost this share of what they cost, in millionths.
pub(super) fn reprice(host: &mut Hostnode, ppm: u64) {
    if let Supply::Resources(resources) = &mut host.supply {
        resources.gpus.values_mut().for_each(|stock| stock.price = stock.price.share_ppm(ppm));
    }
}

fn state(terms: Terms) -> FleetState {
    FleetState {
        order: Order::Hold(terms.target_gpus),
        policy: Policy::vouched(terms),
        fleet: Fleet::default(),
        missing: Missing::default(),
        scaled_down_at: None,
        held: None,
        policy_broken: false,
    }
}

/// A town with these members in fleet `f`.
pub(super) fn town(members: &str) -> Town {
    let now = after(Timestamp::UNIX_EPOCH, seconds(1_000_000_000));
    let balance = Balance { amount: "1000".parse().unwrap(), hourly_cost: None };
    let account = AccountState {
        balance: Some(Dated { at: now, value: balance }),
        foreign: HourlyRate::ZERO,
        spent: Spent { until: Some(now), ..Spent::default() },
    };
    let market = MarketState {
        account: "acc".parse().unwrap(),
        bench: None,
        hostnodes: Shared::default(),
        hostnodes_at: Some(now),
        list_complete: true,
        quotes: vec![],
        unanswered: Default::default(),
        ability: crate::model::wish::Ability::ANY,
    };
    let situation = Situation {
        now,
        quote_age_max: seconds(60),
        limits: Limits {
            max_hourly_rate: None,
            balance_floor: "0".parse().unwrap(),
            mode: Mode::Act,
            accounts: BTreeMap::new(),
        },
        limits_held: None,
        namer: Namer { prefix: "spotscale".into(), epoch: "e".into(), next_sequence: 100 },
        fleets: BTreeMap::from([("f".parse().unwrap(), state(terms("f")))]),
        orphaned: BTreeMap::new(),
        orphaned_staying: BTreeMap::new(),
        markets: BTreeMap::from([("m".parse().unwrap(), market)]),
        accounts: BTreeMap::from([("acc".parse().unwrap(), account)]),
        hosts: BTreeMap::new(),
    };
    let mut town = Town { situation, least: BTreeMap::new() };
    town.members(members);
    town
}

impl Town {
    pub fn fleet(&self) -> FleetName {
        "f".parse().unwrap()
    }

    pub fn state(&mut self) -> &mut FleetState {
        self.state_of("f")
    }

    pub fn state_of(&mut self, fleet: &str) -> &mut FleetState {
        self.situation.fleets.get_mut(&fleet.parse().unwrap()).unwrap()
    }

    pub fn market(&mut self) -> &mut MarketState {
        self.situation.markets.values_mut().next().unwrap()
    }

    pub fn member(&mut self, name: &str) -> &mut Member {
        let name: VmName = name.parse().unwrap();
        self.situation.fleets.values_mut().find_map(|state| state.fleet.members.get_mut(&name)).unwrap()
    }

    /// Edits the policy of `f`; its target follows it.
    pub fn policy(&mut self, edit: impl FnOnce(&mut Terms)) -> &mut Self {
        self.policy_of("f", edit)
    }

    pub fn policy_of(&mut self, fleet: &str, edit: impl FnOnce(&mut Terms)) -> &mut Self {
        let state = self.state_of(fleet);
        let mut terms: Terms = (*state.policy).clone();
        edit(&mut terms);
        if let Order::Hold(_) = state.order {
            state.order = Order::Hold(terms.target_gpus);
        }
        state.policy = Policy::vouched(terms);
        self
    }

    pub fn target(&mut self, gpus: u32) -> &mut Self {
        self.policy(|terms| terms.target_gpus = gpus)
    }

    /// Holds an edit of the policy of `f`.
    pub fn hold(&mut self, edit: impl FnOnce(&mut Terms)) -> &mut Self {
        let state = self.state();
        let mut terms: Terms = (*state.policy).clone();
        edit(&mut terms);
        state.held = Some(lower_limits(&state.policy, &Policy::vouched(terms)));
        self
    }

    /// Holds an edit of `[limits]`.
    pub fn hold_limits(&mut self, edit: impl FnOnce(&mut Limits)) -> &mut Self {
        let mut limits = self.situation.limits.clone();
        edit(&mut limits);
        self.situation.limits_held = Some(limits);
        self
    }

    /// One more fleet.
    pub fn second(&mut self, name: &str, priority: i64, edit: impl FnOnce(&mut Terms)) -> &mut Self {
        self.situation.fleets.insert(name.parse().unwrap(), state(terms(name)));
        self.policy_of(name, |terms| {
            terms.priority = priority;
            edit(terms);
        })
    }

    pub fn balance(&mut self, amount: &str) -> &mut Self {
        self.balance_read(amount, 0)
    }

    pub fn balance_read(&mut self, amount: &str, age_s: u64) -> &mut Self {
        let at = before(self.situation.now, seconds(age_s));
        let value = Balance { amount: amount.parse().unwrap(), hourly_cost: None };
        self.situation.accounts.values_mut().next().unwrap().balance = Some(Dated { at, value });
        self
    }

    pub fn payer(&self) -> AccountName {
        "acc".parse().unwrap()
    }

    pub fn account(&mut self) -> &mut AccountState {
        let payer = self.payer();
        self.situation.accounts.get_mut(&payer).unwrap()
    }

    /// Moves the clock, and all that was seen just now with it.
    pub fn at(&mut self, now: &str) -> &mut Self {
        self.situation.now = now.parse().unwrap();
        let now = self.situation.now;
        self.situation.markets.values_mut().for_each(|market| market.hostnodes_at = Some(now));
        self
    }

    /// `[accounts.acc]`.
    pub fn budget(&mut self, balance: BalanceRule, day: Option<&str>, month: Option<&str>) -> &mut Self {
        let usd = |text: &str| text.parse().unwrap();
        let limits = AccountLimits { balance, max_spend_per_day: day.map(usd), max_spend_per_month: month.map(usd) };
        self.situation.limits.accounts.insert(self.payer(), limits);
        self
    }

    /// So much was spent today and this month, counted just now.
    pub fn spent(&mut self, day: &str, month: &str) -> &mut Self {
        let until = Some(self.situation.now);
        self.account().spent = Spent { day: day.parse().unwrap(), month: month.parse().unwrap(), until };
        self
    }

    pub fn hosts(&mut self, text: &str) -> &mut Self {
        for line in text.split("   ").filter(|line| !line.trim().is_empty()) {
            let host = self.host(line);
            self.market().hostnodes.push(host);
        }
        self
    }

    /// Another marketplace, `n`, of the same account: it shows the same machines as `m`, listed so long ago, on demand only.
    pub fn twin(&mut self, listed_s_ago: u64, edit: impl Fn(&mut Hostnode)) -> &mut Self {
        let mut twin = self.market().clone();
        twin.hostnodes_at = Some(before(self.situation.now, seconds(listed_s_ago)));
        twin.quotes.clear();
        for host in twin.hostnodes.iter_mut() {
            host.spot = SpotTerms::None;
            edit(host);
        }
        self.situation.markets.insert("n".parse().unwrap(), twin);
        self
    }

    fn host(&mut self, line: &str) -> Hostnode {
        let mut words = line.split_whitespace();
        let (id, price, uptime) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let price = rate(price);
        let mut resources = Resources {
            gpus: BTreeMap::new(),
            vcpus: Stock { free: 256, price: HourlyRate::ZERO },
            ram_gb: Stock { free: 1_024, price: HourlyRate::ZERO },
            storage_gb: Stock { free: 10_000, price: rate("0.00005") },
            restrictions: BTreeMap::new(),
            rule: PriceRule { term_step_micros: 1_000, size_step: 2, storage_gb_min: 0 },
        };
        let mut host = Hostnode {
            id: id.parse().unwrap(),
            location: Location { country: "Canada".into(), ..Location::default() },
            uptime_ppm: uptime.strip_suffix('%').map(|percent| percent.parse::<u32>().unwrap() * 10_000),
            online: true,
            supply: Supply::Lots(vec![]),
            spot: SpotTerms::Asked,
            ports: Ports::Free((20_000..20_064).collect()),
            available_until: None,
        };
        let (mut free, mut kind) = (8, None);
        let mut least = price.share_ppm(500_000);
        for word in words {
            match word {
                "big" => kind = Some("big-sxm-80gb"),
                "other" => kind = Some("other-pcie-8gb"),
                "offline" => host.online = false,
                "nospot" => host.spot = SpotTerms::None,
                "unlisted" => host.ports = Ports::Unlisted,
                "poland" => host.location.country = "Poland".into(),
                _ if word.starts_with("until=") => {
                    let seconds = seconds(word.strip_prefix("until=").unwrap().parse().unwrap());
                    host.available_until = Some(after(self.situation.now, seconds));
                }
                _ => match (word.strip_prefix('x'), word.strip_prefix("ports"), word.strip_prefix("least=")) {
                    (Some(count), _, _) => free = count.parse().unwrap(),
                    (_, Some(count), _) => {
                        host.ports = Ports::Free((20_000..20_000 + count.parse::<u16>().unwrap()).collect())
                    }
                    (_, _, Some(bid)) => least = rate(bid),
                    _ => panic!("`{word}` of a host"),
                },
            }
        }
        resources.gpus.insert(model(kind), Stock { free, price });
        host.supply = Supply::Resources(resources);
        self.least.insert(host.id.clone(), least);
        host
    }

    /// Members of `f`.
    pub fn members(&mut self, text: &str) -> &mut Self {
        self.members_of("f", text)
    }

    pub fn members_of(&mut self, fleet: &str, text: &str) -> &mut Self {
        for line in text.split("   ").filter(|line| !line.trim().is_empty()) {
            let member = self.make(fleet, line);
            self.state_of(fleet).fleet.members.insert(member.name.clone(), member);
        }
        self
    }

    fn make(&self, fleet: &str, line: &str) -> Member {
        let now = self.situation.now;
        let mut words = line.split_whitespace();
        let (name, standing) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
        let (host, gpus) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
        let storage = rate("0.005");
        let mut member = Member {
            name: name.parse().unwrap(),
            fleet: fleet.parse().unwrap(),
            marketplace: "m".parse().unwrap(),
            account: "acc".parse().unwrap(),
            id: (standing != Standing::InDoubt).then(|| format!("id-{name}").parse().unwrap()),
            hostnode: host.parse().unwrap(),
            location: Location { country: "Canada".into(), ..Location::default() },
            shape: Shape { gpu_model: model(None), gpus, vcpus: 4 * gpus, ram_gb: 16 * gpus, storage_gb: 100 },
            price_type: PriceType::Spot,
            bid: None,
            agreed: Rates { compute: rate("0.50").times(gpus), storage },
            on_demand: Rates { compute: rate("1.00").times(gpus), storage },
            quoted: None,
            standing,
            since: before(now, seconds(60)),
            intended_at: before(now, seconds(60)),
            running_since: None,
            replaces: None,
            write_in_doubt: false,
            rebid_accepted_at: None,
            attempts: Attempts::default(),
            protected: false,
            address: None,
            available_until: None,
            ports: BTreeMap::new(),
            why: String::new(),
        };
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let ago = || before(now, seconds(value.parse().unwrap()));
            match key {
                "rate" => member.agreed.compute = rate(value),
                "od" => member.price_type = PriceType::OnDemand,
                "big" => member.shape.gpu_model = model(Some("big-sxm-80gb")),
                "protected" => member.protected = true,
                "age" => (member.since, member.intended_at) = (ago(), ago()),
                "billed" => member.quoted = Some(Rates { compute: rate(value), storage }),
                "replaces" => member.replaces = Some(value.parse().unwrap()),
                "doubt" => member.write_in_doubt = true,
                "accepted" => member.rebid_accepted_at = Some(ago()),
                "refused" => member.attempts.rebid_refused = Some(ago()),
                "started" => member.attempts.start = Some(ago()),
                "deleted" => member.attempts.delete = Some(tried(ago(), DeleteAnswer::Acked)),
                "undeleted" => member.attempts.delete = Some(tried(ago(), DeleteAnswer::Refused(1))),
                "unstopped" => member.attempts.stop_refused = Some((ago(), 1)),
                _ => panic!("`{word}` of a member"),
            }
        }
        if let Some(attempt) = member.attempts.delete.as_mut().filter(|_| member.write_in_doubt) {
            attempt.answer = DeleteAnswer::InDoubt;
        }
        if member.price_type == PriceType::Spot {
            member.bid = Some(member.agreed.compute);
        }
        member
    }

    pub fn instance(&self, name: &str, gpus: u32, billed: &str) -> Instance {
        Instance {
            id: format!("id-{name}").parse().unwrap(),
            name: name.parse().unwrap(),
            status: InstanceStatus::Running,
            hostnode: None,
            gpu_model: None,
            gpus,
            price_type: None,
            quoted: Some(Rates { compute: rate(billed), storage: HourlyRate::ZERO }),
            address: None,
            available_until: None,
            ports: BTreeMap::new(),
            created_at: None,
        }
    }

    pub fn stray(&mut self, name: &str, gpus: u32, billed: &str) -> &mut Self {
        let instance = self.instance(name, gpus, billed);
        let stray = Stray { marketplace: "m".parse().unwrap(), account: "acc".parse().unwrap(), instance };
        self.state().fleet.strays.push(stray);
        self
    }

    pub fn late(&mut self, name: &str, gpus: u32) -> &mut Self {
        let late = Late {
            name: name.parse().unwrap(),
            marketplace: "m".parse().unwrap(),
            account: "acc".parse().unwrap(),
            id: format!("id-{name}").parse().unwrap(),
            gpus,
            rate: rate("0.50"),
            delete: None,
        };
        self.state().fleet.late.push(late);
        self
    }

    /// An answer about a new VM of this size on a host, so long ago.
    pub fn quote(&mut self, host: &str, gpus: u32, bid: &str, answer: BidAnswer, age_s: u64) -> &mut Self {
        let at = before(self.situation.now, seconds(age_s));
        let hostnode: HostnodeId = host.parse().unwrap();
        let kind =
            self.market().hostnodes.iter().find(|listed| listed.id == hostnode).map(|listed| match &listed.supply {
                Supply::Resources(resources) => resources.gpus.keys().next().unwrap().clone(),
                Supply::Lots(_) => panic!("lots"),
            });
        let gpu_model = kind.unwrap_or_else(|| model(None));
        let shape = Shape { gpu_model, gpus, vcpus: 4 * gpus, ram_gb: 16 * gpus, storage_gb: 100 };
        let quote = Quote { at, bid: Bid { hostnode, shape, price: rate(bid) }, answer };
        self.market().quotes.push(quote);
        self
    }

    /// So many more GPUs of `f` have been missing for so long.
    pub fn missing(&mut self, gpus: u32, age_s: u64) -> &mut Self {
        let since = before(self.situation.now, seconds(age_s));
        let missing = &mut self.state().missing;
        missing.note(missing.gpus() + gpus, 0, since);
        self
    }

    /// The actions of a plan, one short phrase each.
    pub fn said(&self) -> String {
        phrases(&plan(&self.situation).actions)
    }

    /// Why GPUs of `f` are missing.
    pub fn blocked(&self) -> String {
        self.blocked_of("f")
    }

    pub fn blocked_of(&self, fleet: &str) -> String {
        let report = plan(&self.situation).report.remove(&fleet.parse().unwrap()).unwrap();
        let blocked: Vec<_> = report.blocked.iter().map(|unmet| format!("{} {}", unmet.gpus, unmet.reason)).collect();
        blocked.join(", ")
    }

    /// Plans, checks, and carries the plan out; how many actions that were.
    pub fn round(&mut self) -> usize {
        let plan = plan(&self.situation);
        assert_eq!(super::verify::verify(&self.situation, &plan), vec![], "{}", phrases(&plan.actions));
        for action in
            plan.actions.iter().filter(|action| permitted(&self.situation, action)).cloned().collect::<Vec<_>>()
        {
            self.apply(action);
        }
        self.situation.now = after(self.situation.now, seconds(1));
        let now = self.situation.now;
        self.situation.markets.values_mut().for_each(|market| market.hostnodes_at = Some(now));
        self.situation.accounts.values_mut().for_each(|account| {
            account.balance.iter_mut().for_each(|balance| balance.at = now);
        });
        plan.actions.len()
    }

    /// On every list that shows the machine.
    fn free(&mut self, hostnode: &HostnodeId, shape: &Shape, freed: bool, ports: &BTreeMap<u16, u16>) {
        let listed = self.situation.markets.values_mut().flat_map(|market| market.hostnodes.iter_mut());
        for host in listed.filter(|host| host.id == *hostnode) {
            let Supply::Resources(resources) = &mut host.supply else { continue };
            let Some(stock) = resources.gpus.get_mut(&shape.gpu_model) else { continue };
            let sum = |free: u32, count: u32| if freed { free + count } else { free - count };
            stock.free = sum(stock.free, shape.gpus);
            resources.vcpus.free = sum(resources.vcpus.free, shape.vcpus);
            resources.ram_gb.free = sum(resources.ram_gb.free, shape.ram_gb);
            resources.storage_gb.free = sum(resources.storage_gb.free, shape.storage_gb);
            let mut free = host.ports.free().to_vec();
            if freed {
                free.extend(ports.keys());
            } else {
                free.retain(|port| !ports.contains_key(port));
            }
            host.ports = Ports::Free(free);
        }
    }

    fn accepts(&mut self, bid: &Bid) -> BidAnswer {
        let host = self.market().hostnodes.iter().find(|host| host.id == bid.hostnode && host.online);
        let free = host.map_or(0, |host| host.free_gpus(&bid.shape.gpu_model));
        let least = self.least.get(&bid.hostnode).copied().unwrap_or_default().times(bid.shape.gpus);
        if free >= bid.shape.gpus && bid.price >= least { BidAnswer::Accepted } else { BidAnswer::Refused }
    }

    fn apply(&mut self, action: Action) {
        let now = self.situation.now;
        match action {
            Action::Look { hostnode, .. } => {
                let host = self.market().hostnodes.iter_mut().find(|host| host.id == hostnode);
                host.expect("what is looked at is listed").ports = Ports::Free((20_000..20_064).collect());
            }
            Action::Ask { bid, .. } => {
                let answer = self.accepts(&bid);
                self.market().quotes.push(Quote { at: now, bid, answer });
            }
            Action::Deploy(deploy) => {
                let Deploy { name, fleet, marketplace, account, hostnode, location, shape, .. } = *deploy.clone();
                self.free(&hostnode, &shape, false, &deploy.ports);
                self.situation.namer.next_sequence += 1;
                let member = Member {
                    id: Some(format!("id-{name}").parse().unwrap()),
                    price_type: deploy.price_type,
                    bid: deploy.bid,
                    agreed: deploy.agreed,
                    on_demand: deploy.on_demand,
                    standing: Standing::Running,
                    since: now,
                    intended_at: before(now, seconds(1)),
                    replaces: deploy.replaces,
                    ports: deploy.ports,
                    name: name.clone(),
                    fleet: fleet.clone(),
                    marketplace,
                    account,
                    hostnode,
                    location,
                    shape,
                    ..self.make("f", "x running a 1")
                };
                self.situation.fleets.get_mut(&fleet).unwrap().fleet.members.insert(name, member);
            }
            Action::Rebid { subject, to, .. } => {
                let member = self.member(subject.name.as_str());
                member.bid = Some(to);
                member.agreed.compute = to;
                member.rebid_accepted_at = Some(now);
            }
            Action::Start { subject, .. } => {
                let member = self.member(subject.name.as_str());
                member.standing = Standing::Running;
                member.rebid_accepted_at = None;
            }
            Action::Stop { subject, .. } => {
                let member = self.member(subject.name.as_str());
                (member.standing, member.since) = (Standing::StoppedReleased, now);
            }
            Action::Delete { subject, .. } => {
                let fleet = self.situation.fleets.get_mut(&subject.fleet).unwrap();
                fleet.fleet.late.retain(|late| late.id != subject.id);
                let is_it = |member: &Member| member.id.as_ref() == Some(&subject.id);
                if fleet.fleet.members.get(&subject.name).is_some_and(is_it)
                    && let Some(member) = fleet.fleet.members.remove(&subject.name)
                {
                    let held = member.standing != Standing::StoppedReleased && member.standing != Standing::Outbid;
                    if held {
                        self.free(&member.hostnode, &member.shape, true, &member.ports);
                    }
                }
            }
        }
    }

    /// Rounds until a plan is empty; how many.
    #[track_caller]
    pub fn settle(&mut self) -> usize {
        for rounds in 0..200 {
            if self.round() == 0 {
                return rounds;
            }
        }
        panic!("no end: {}", self.said());
    }

    /// Members of a fleet: host, GPUs and how they are paid for.
    pub fn rented(&self, fleet: &str) -> String {
        let members = self.situation.fleets[&fleet.parse().unwrap()].fleet.members.values();
        let mut told: Vec<_> = members
            .map(|member| {
                format!(
                    "{}x{}{}",
                    member.hostnode,
                    member.shape.gpus,
                    match member.price_type {
                        PriceType::Spot => "",
                        PriceType::OnDemand => " od",
                    }
                )
            })
            .collect();
        told.sort();
        told.join(", ")
    }
}

fn phrases(actions: &[Action]) -> String {
    let phrase = |action: &Action| match action {
        Action::Look { hostnode, .. } => format!("look {hostnode}"),
        Action::Ask { bid, .. } => format!("ask {}x{} {}", bid.hostnode, bid.shape.gpus, bid.price),
        Action::Deploy(deploy) => {
            let replaced = deploy.replaces.as_ref().map(|name| format!(" for {name}")).unwrap_or_default();
            format!("deploy {}x{} {}{replaced}", deploy.hostnode, deploy.shape.gpus, deploy.agreed.compute)
        }
        Action::Rebid { subject, to, .. } => format!("rebid {} {to}", subject.name),
        Action::Start { subject, .. } => format!("start {}", subject.name),
        Action::Stop { subject, .. } => format!("stop {}", subject.name),
        Action::Delete { subject, reason, .. } => format!("delete {} {reason}", subject.name),
    };
    actions.iter().map(phrase).collect::<Vec<_>>().join("; ")
}
