//! A status made by hand, for tests of what reads one: two fleets on one marketplace, one of them short of its target,
//! with an outbid VM, a doubt and a stray.

use super::{
    Status,
    status::{AccountStatus, FleetStatus, Levers, MarketStatus, PolicyStatus, Totals},
};
use crate::{
    ledger::{
        HostMemory, Member, Missing, Period, Spent, Standing,
        fleet::{Attempts, Fleet, Stray},
    },
    model::{
        Hostnode, HourlyRate, Instance, InstanceStatus, Offer, PriceType, Shape, Timestamp, Usd,
        inventory::{Balance, Dated},
        name::Namer,
        offer::{Bid, Bounds, Location, Ports, Rates, SpotTerms, Supply},
        reason::{Blocked, Rejected, Teardown},
        time::before,
    },
    plan::{
        AccountState, Action, Budget, Candidate, Deploy, FleetReport, FleetState, MarketState, Order, Plan, Score,
        Situation, Verdict, {Subject, Unmet},
    },
    policy::{
        Policy,
        terms::{
            BidStrategy, BidTerms, DisruptionTerms, HostTerms, InstanceTerms, Mode, ModelTerms, OnDemandTerms,
            OnDemandUse, Preference, Quantity, Revert, ScaleDown, Terms, WhenLow,
        },
    },
    settings::{BalanceRule, Limits},
};
use std::{collections::BTreeMap, str::FromStr, time::Duration};

/// The moment of the sample's tick.
pub(crate) fn now() -> Timestamp {
    "2026-11-20T18:00:00Z".parse().unwrap()
}

pub(crate) fn name<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn rate(text: &str) -> HourlyRate {
    text.parse().unwrap()
}

fn ago(minutes: u64) -> Timestamp {
    before(now(), Duration::from_secs(60 * minutes))
}

const RTX: &str = "geforcertx4090-pcie-24gb";
const H100: &str = "h100-sxm5-80gb";

fn terms(fleet: &str, target_gpus: u32, limit: &str, models: &[&str]) -> Policy {
    let model = |model: &&str| ModelTerms { model: name(model), max_price: Some(rate("2.60")), worth_ppm: 1_000_000 };
    Policy::vouched(Terms {
        fleet: name(fleet),
        target_gpus,
        max_hourly_rate: rate(limit),
        balance_floor: Usd::from_micros(50_000_000),
        min_runway: Duration::from_secs(3_600),
        when_low: WhenLow::Hold,
        priority: 100,
        mode: Mode::Act,
        marketplaces: None,
        preference: Preference::Strict,
        models: models.iter().map(model).collect(),
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
            stopped_max_age: Duration::from_secs(7 * 86_400),
        },
        hosts: HostTerms {
            min_uptime_ppm: 0,
            countries: None,
            deny: Vec::new(),
            max_gpus_per_hostnode: None,
            max_share_per_location_ppm: None,
        },
        spot: BidTerms { bid: BidStrategy::Market, margin_ppm: 50_000, rebid: true, asks_max: 6 },
        on_demand: OnDemandTerms {
            usage: OnDemandUse::Fallback,
            after: Duration::from_secs(600),
            base_gpus: 0,
            max_gpus: None,
            revert: Revert::WhenAvailable,
        },
        disruption: DisruptionTerms {
            max_unavailable: Quantity::SharePpm(250_000),
            max_surge: Quantity::Count(1),
            max_scale_down: Quantity::SharePpm(500_000),
            cooldown_up: Duration::from_secs(30),
            cooldown_down: Duration::from_secs(300),
        },
    })
}

fn shape(model: &str, gpus: u32) -> Shape {
    Shape { gpu_model: name(model), gpus, vcpus: 4 * gpus, ram_gb: 16 * gpus, storage_gb: 100 }
}

fn rates(compute: &str) -> Rates {
    Rates { compute: rate(compute), storage: rate("0.005") }
}

fn place(city: &str, country: &str) -> Location {
    Location { country: country.into(), region: String::new(), city: city.into() }
}

/// One member; `spot` with a bid, else on demand.
pub(crate) fn member(fleet: &str, sequence: u32, model: &str, gpus: u32, price: &str, standing: Standing) -> Member {
    let id = match standing {
        Standing::InDoubt => None,
        Standing::Pending
        | Standing::Running
        | Standing::Outbid
        | Standing::StoppedKept
        | Standing::StoppedReleased
        | Standing::Leaving
        | Standing::Lost => Some(name(&format!("vm-{fleet}-{sequence}"))),
    };
    let price_type = if fleet == "serve" { PriceType::OnDemand } else { PriceType::Spot };
    Member {
        name: name(&format!("spotscale-{fleet}-k3x9-{sequence}")),
        fleet: name(fleet),
        marketplace: name("tensordock"),
        account: name("tensordock"),
        id,
        hostnode: name(&format!("host-{sequence}")),
        location: place("Warsaw", "Poland"),
        shape: shape(model, gpus),
        price_type,
        bid: (price_type == PriceType::Spot).then(|| rate(price)),
        agreed: rates(price),
        on_demand: rates("1.90"),
        quoted: (standing == Standing::Running).then(|| rates(price)),
        standing,
        since: ago(20),
        intended_at: ago(190),
        running_since: (standing == Standing::Running).then(|| ago(185)),
        replaces: None,
        attempts: Attempts::default(),
        write_in_doubt: false,
        rebid_accepted_at: None,
        protected: sequence == 2,
        address: (standing == Standing::Running).then(|| format!("192.0.2.{sequence}")),
        ports: BTreeMap::from([(20_000, 22), (20_001, 9_100)]),
        available_until: (fleet == "serve").then(|| crate::model::time::after(now(), Duration::from_secs(86_400))),
        why: "the cheapest delivered GPU-hour of the best model".into(),
    }
}

fn candidate(host: &str, model: &str, gpus: u32, price: &str, bid: Option<&str>, verdict: Verdict) -> Candidate {
    let offer = Offer {
        marketplace: name("tensordock"),
        hostnode: name(host),
        shape: shape(model, gpus),
        on_demand: rates("1.90"),
        spot: SpotTerms::Asked,
        uptime_ppm: Some(998_000),
        location: place("Toronto", "Canada"),
        available_until: None,
    };
    let score = Score {
        preference: u32::from(model == RTX),
        micros_per_delivered_gpu_hour: rate(price).micros() / u64::from(gpus),
        crowding: 0,
        tie: (name(host), name("tensordock")),
    };
    let price_type = if verdict == Verdict::Rejected(Rejected::NoSpot) { PriceType::OnDemand } else { PriceType::Spot };
    Candidate { offer, price_type, bid: bid.map(rate), rate: rate(price), score, verdict }
}

fn members(members: Vec<Member>) -> BTreeMap<crate::model::VmName, Member> {
    members.into_iter().map(|member| (member.name.clone(), member)).collect()
}

fn state(policy: Policy, order: Order, fleet: Fleet) -> FleetState {
    FleetState {
        policy,
        order,
        fleet,
        missing: {
            let mut missing = Missing::default();
            missing.note(1, 0, ago(20));
            missing
        },
        scaled_down_at: None,
        held: None,
        policy_broken: false,
    }
}

fn situation() -> Situation {
    let stray = Instance {
        id: name("vm-stray"),
        name: name("spotscale-train-old-1"),
        status: InstanceStatus::Running,
        hostnode: Some(name("host-9")),
        gpu_model: Some(name(RTX)),
        gpus: 1,
        price_type: Some(PriceType::OnDemand),
        quoted: Some(rates("0.35")),
        address: Some("192.0.2.9".into()),
        ports: BTreeMap::new(),
        created_at: Some(ago(5_000)),
        available_until: None,
    };
    let train = Fleet {
        members: members(vec![
            member("train", 1, H100, 2, "3.20", Standing::Running),
            member("train", 2, RTX, 1, "0.42", Standing::Running),
            member("train", 3, RTX, 1, "0.40", Standing::Outbid),
            member("train", 4, RTX, 1, "0.44", Standing::InDoubt),
        ]),
        strays: vec![Stray { marketplace: name("tensordock"), account: name("tensordock"), instance: stray }],
        reserved: Vec::new(),
        late: Vec::new(),
    };
    let serve =
        Fleet { members: members(vec![member("serve", 5, RTX, 2, "0.90", Standing::Running)]), ..Fleet::default() };
    let hostnode = Hostnode {
        id: name("host-7"),
        location: place("Toronto", "Canada"),
        uptime_ppm: Some(998_000),
        online: true,
        supply: Supply::Lots(Vec::new()),
        spot: SpotTerms::Asked,
        ports: Ports::Free(vec![20_000]),
        available_until: None,
    };
    let market = MarketState {
        account: name("tensordock"),
        bench: None,
        hostnodes: vec![hostnode].into(),
        hostnodes_at: Some(ago(1)),
        list_complete: true,
        quotes: Vec::new(),
        unanswered: Default::default(),
        ability: crate::model::wish::Ability::ANY,
    };
    let balance = Balance { amount: Usd::from_micros(212_340_000), hourly_cost: Some(rate("5.40")) };
    Situation {
        now: now(),
        limits: Limits {
            max_hourly_rate: Some(rate("40")),
            balance_floor: Usd::ZERO,
            mode: Mode::Act,
            accounts: BTreeMap::new(),
        },
        limits_held: None,
        namer: Namer { prefix: "spotscale".into(), epoch: "k3x9".into(), next_sequence: 6 },
        fleets: BTreeMap::from([
            (name("train"), state(terms("train", 8, "6.00", &[H100, RTX]), Order::Hold(8), train)),
            (name("serve"), state(terms("serve", 2, "2.00", &[RTX]), Order::Pause(2), serve)),
        ]),
        quote_age_max: Duration::from_secs(60),
        orphaned: BTreeMap::new(),
        orphaned_staying: BTreeMap::new(),
        markets: BTreeMap::from([(name("tensordock"), market)]),
        accounts: BTreeMap::from([(
            name("tensordock"),
            AccountState {
                balance: Some(Dated { at: ago(1), value: balance }),
                foreign: rate("0.10"),
                spent: Spent {
                    day: Usd::from_micros(12_345_000),
                    month: Usd::from_micros(99_000_000),
                    until: Some(ago(1)),
                },
            },
        )]),
        hosts: BTreeMap::from([((name("tensordock"), name("host-8")), HostMemory::default())]),
    }
}

fn plan() -> Plan {
    let chosen = candidate("host-7", RTX, 2, "0.855", Some("0.85"), Verdict::Chosen);
    let deploy = Deploy {
        name: name("spotscale-train-k3x9-6"),
        fleet: name("train"),
        marketplace: name("tensordock"),
        account: name("tensordock"),
        hostnode: name("host-7"),
        location: place("Toronto", "Canada"),
        shape: shape(RTX, 2),
        price_type: PriceType::Spot,
        bid: Some(rate("0.85")),
        agreed: rates("0.85"),
        on_demand: rates("1.90"),
        image: "Ubuntu 22.04 LTS".into(),
        ports: BTreeMap::from([(20_000, 22)]),
        replaces: None,
        why: "0.43 USD per delivered GPU-hour, the least of 3".into(),
    };
    let subject = Subject {
        name: name("spotscale-train-k3x9-3"),
        fleet: name("train"),
        marketplace: name("tensordock"),
        id: name("vm-train-3"),
    };
    let train = FleetReport {
        target_gpus: 8,
        running_gpus: 3,
        planned_gpus: 6,
        rate_now: rate("4.82"),
        rate_planned: rate("5.27"),
        rate_limit: rate("6.00"),
        lower_bound: rate("5.27"),
        gap_ppm: 0,
        candidates: vec![
            chosen,
            candidate("host-8", RTX, 1, "0.445", Some("0.44"), Verdict::Eligible),
            candidate("host-10", RTX, 1, "0.005", None, Verdict::Asking),
            candidate("host-11", RTX, 1, "0.61", None, Verdict::Rejected(Rejected::PriceAboveCap)),
        ],
        rejected: BTreeMap::from([(Rejected::PriceAboveCap, 120), (Rejected::UptimeBelowMin, 5)]),
        rejected_hostnodes: BTreeMap::from([((name("tensordock"), name("host-12")), Rejected::UptimeBelowMin)]),
        overbilled: BTreeMap::from([(name("spotscale-train-k3x9-1"), (rate("0.85"), rate("0.88")))]),
        unasked_offers: 1,
        blocked: vec![Unmet {
            gpus: 2,
            reason: Blocked::RateLimit,
            detail: "5.27 of 6.00 USD/h are committed, the next offer costs 0.86".into(),
        }],
    };
    let serve = FleetReport {
        target_gpus: 2,
        running_gpus: 2,
        planned_gpus: 2,
        rate_now: rate("0.905"),
        rate_planned: rate("0.905"),
        rate_limit: rate("2.00"),
        lower_bound: rate("0.905"),
        gap_ppm: 12_500,
        candidates: Vec::new(),
        rejected: BTreeMap::new(),
        rejected_hostnodes: BTreeMap::new(),
        overbilled: BTreeMap::new(),
        unasked_offers: 0,
        blocked: Vec::new(),
    };
    let bid = Bid { hostnode: name("host-10"), shape: shape(RTX, 1), price: rate("0.30") };
    Plan {
        actions: vec![
            Action::Ask { fleet: name("train"), marketplace: name("tensordock"), bid },
            Action::Deploy(Box::new(deploy)),
            Action::Delete { subject, reason: Teardown::Outbid, why: "no bid within 0.42 USD/h is accepted".into() },
        ],
        report: BTreeMap::from([(name("train"), train), (name("serve"), serve)]),
    }
}

fn fleet_status(file: &str, spend_micros: i64, paused: bool) -> FleetStatus {
    FleetStatus {
        policy: PolicyStatus {
            file: file.into(),
            sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into(),
            faults: Vec::new(),
            gone: false,
            held: None,
        },
        levers: Levers { target: None, paused, evacuating: false },
        totals: Totals {
            spend: Usd::from_micros(spend_micros),
            gpu_seconds: 36_000,
            on_demand_equivalent: Usd::from_micros(spend_micros * 3),
            spend_today: Usd::from_micros(spend_micros / 2),
        },
    }
}

/// What was known after the tick.
pub(crate) fn status() -> Status {
    Status {
        at: Some(now()),
        started_at: ago(240),
        ticks: 480,
        decision: Some("12".into()),
        mode: Mode::Act,
        scan_interval: Duration::from_secs(30),
        situation: Some(situation().into()),
        plan: Some(plan().into()),
        fleets: BTreeMap::from([
            (name("train"), fleet_status("train.toml", 12_345_678, false)),
            (name("serve"), fleet_status("serve.toml", 3_000_000, true)),
        ]),
        markets: BTreeMap::from([(
            name("tensordock"),
            MarketStatus {
                hostnodes_at: Some(ago(1)),
                failed: None,
                dropped: Vec::new(),
                in_doubt: 1,
                benched_since: None,
                asked_again_at: None,
                requests_per_second_milli: 1_000,
                held_for: Duration::ZERO,
                user: Some("user"),
            },
        )]),
        accounts: BTreeMap::from([(
            name("tensordock"),
            AccountStatus {
                balance: Some(Dated { at: ago(1), value: Usd::from_micros(212_340_000) }),
                floor: Usd::from_micros(50_000_000),
                hourly_cost: rate("5.40"),
                unexplained: rate("0.01"),
                runway_to_floor: Some(Duration::from_secs(108_000)),
                runway_to_zero: Some(Duration::from_secs(141_600)),
                balance_rule: BalanceRule::Required,
                spent_today: Usd::from_micros(12_345_000),
                budgets: vec![Budget {
                    period: Period::Day,
                    most: Usd::from_micros(500_000_000),
                    spent: Usd::from_micros(12_345_678),
                    renews_in: Duration::from_secs(21_600),
                }],
            },
        )]),
        settings_faults: Vec::new(),
        troubles: vec!["tensordock: deploy spotscale-train-k3x9-4: no answer: timed out".into()],
    }
}

/// What is known before the first tick.
pub(crate) fn early() -> Status {
    let mut early = status();
    early.at = None;
    early.ticks = 0;
    early.decision = None;
    early.situation = None;
    early.plan = None;
    early.accounts.clear();
    early.troubles.clear();
    for market in early.markets.values_mut() {
        market.hostnodes_at = None;
        market.in_doubt = 0;
    }
    early
}
