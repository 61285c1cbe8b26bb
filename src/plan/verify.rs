//! An independent checker: it knows the invariants and not the planner.
//!
//! It reads a situation and a plan and names every action that must not be carried out. It judges actions, not the state
//! of the world: no action may raise a quantity that is at or over its limit, and what only lowers it passes, so that
//! the cure is never forbidden. It shares the counting table with the planner and nothing else: every sum is made here
//! anew, action by action, in the order of the plan.

mod money;

use super::{Action, Deploy, FleetState, Order, Plan, Situation, Subject, force, permitted, wish};
use crate::{
    ledger::{Member, Standing},
    model::{
        AccountName, FleetName, Guard, HostnodeId, HourlyRate, MarketplaceName, PriceType, Shape, VmName,
        name::claimed_fleet,
        offer::{BidAnswer, Location, Ports, SSH_PORT, SpotTerms, Supply},
        reason::Teardown,
        time::elapsed,
    },
    policy::terms::{OnDemandUse, PPM, Quantity},
};
use std::collections::{BTreeMap, BTreeSet};

labels! {
    /// What an action would break.
    pub enum Invariant {
        /// Only reads in observe mode; nothing but settling, safety and shedding in a paused fleet.
        Permission = "permission",
        /// Only what is ours is ever touched, as the journal knows it.
        NotOurs = "not_ours",
        /// A name is used once.
        NameReused = "name_reused",
        /// GPUs counted stay within the target, plus surge for a replacement.
        Gpus = "gpus",
        /// The fleet's committed rate stays within its limit.
        FleetRate = "fleet_rate",
        /// All fleets' committed rate stays within the limit over all.
        GlobalRate = "global_rate",
        /// The account stays above its floor for its runway.
        Floor = "floor",
        /// What is left of an account's budgets covers what it costs for the runway.
        Budget = "budget",
        /// A bid goes out only if that very bid was accepted less than a minute ago.
        Quote = "quote",
        /// A bid and a price stay within `max_price` and the on-demand price.
        Price = "price",
        /// Nothing is rented where we may not rent now, or where the list of instances is not complete.
        Bench = "bench",
        /// A list that is not complete tears nothing down but for safety.
        Incomplete = "incomplete",
        /// A protected VM goes only for money or when the operator says so.
        Protected = "protected",
        /// What is rented is what the policy wants, where it wants it.
        Policy = "policy",
        /// Each resource once: what is rented is listed and free.
        Resource = "resource",
        /// One write for each VM and plan.
        Twice = "twice",
        /// A replacement stands for one living VM; a replaced VM goes once its replacement runs.
        Replacement = "replacement",
        /// The reason given is the true one.
        Reason = "reason",
    }
}

/// An action that must not be carried out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What it would break.
    pub invariant: Invariant,
    /// Which action, by its place in the plan.
    pub action: usize,
    /// The figures, one line.
    pub detail: String,
}

/// Every action of a plan that would break an invariant.
pub fn verify(situation: &Situation, plan: &Plan) -> Vec<Violation> {
    let mut check = Check::new(situation);
    for (at, action) in plan.actions.iter().enumerate() {
        check.at = at;
        check.action(action);
    }
    if Guard::Verified.is_kept() { check.found } else { Vec::new() }
}

/// The least time for which what is rented must be there to be counted on.
const AVAILABLE_S_MIN: i64 = 3_600;

struct Check<'a> {
    situation: &'a Situation,
    at: usize,
    found: Vec<Violation>,
    names: BTreeSet<VmName>,
    subjects: BTreeSet<(MarketplaceName, String)>,
    gpus: BTreeMap<FleetName, u64>,
    on_demand: BTreeMap<FleetName, u64>,
    rates: BTreeMap<FleetName, HourlyRate>,
    accounts: BTreeMap<AccountName, HourlyRate>,
    hosts: BTreeMap<(AccountName, HostnodeId), Vec<Shape>>,
    ports: BTreeMap<(AccountName, HostnodeId), BTreeSet<u16>>,
    on_host: BTreeMap<(FleetName, AccountName, HostnodeId), u64>,
    in_location: BTreeMap<(FleetName, Location), u64>,
    replaced: BTreeSet<VmName>,
    shrunk: BTreeMap<FleetName, u64>,
}

impl<'a> Check<'a> {
    fn new(situation: &'a Situation) -> Self {
        let mut check = Self {
            situation,
            at: 0,
            found: Vec::new(),
            names: BTreeSet::new(),
            subjects: BTreeSet::new(),
            gpus: BTreeMap::new(),
            on_demand: BTreeMap::new(),
            rates: BTreeMap::new(),
            accounts: BTreeMap::new(),
            hosts: BTreeMap::new(),
            ports: BTreeMap::new(),
            on_host: BTreeMap::new(),
            in_location: BTreeMap::new(),
            replaced: BTreeSet::new(),
            shrunk: BTreeMap::new(),
        };
        for (name, state) in &situation.fleets {
            let fleet = &state.fleet;
            for member in fleet.members.values() {
                check.names.insert(member.name.clone());
                check.count(name, &member.account, u64::from(member.counted_gpus()), member.committed());
                let gpus = u64::from(member.counted_gpus());
                check.place(name, &member.account, &member.hostnode, &member.location, gpus);
                if member.price_type == PriceType::OnDemand {
                    *check.on_demand.entry(name.clone()).or_default() += gpus;
                }
            }
            for stray in &fleet.strays {
                check.names.insert(stray.instance.name.clone());
                check.count(name, &stray.account, u64::from(stray.instance.gpus), stray.rate());
            }
            for late in &fleet.late {
                check.names.insert(late.name.clone());
                check.count(name, &late.account, u64::from(late.gpus), late.rate);
            }
            for reserved in &fleet.reserved {
                check.names.insert(reserved.name.clone());
                check.count(name, &reserved.account, 0, reserved.rate);
            }
        }
        check
    }

    fn count(&mut self, fleet: &FleetName, account: &AccountName, gpus: u64, rate: HourlyRate) {
        *self.gpus.entry(fleet.clone()).or_default() += gpus;
        let sum = self.rates.entry(fleet.clone()).or_default();
        *sum = sum.plus(rate);
        let sum = self.accounts.entry(account.clone()).or_default();
        *sum = sum.plus(rate);
    }

    fn place(&mut self, fleet: &FleetName, account: &AccountName, host: &HostnodeId, location: &Location, gpus: u64) {
        *self.on_host.entry((fleet.clone(), account.clone(), host.clone())).or_default() += gpus;
        *self.in_location.entry((fleet.clone(), location.clone())).or_default() += gpus;
    }

    fn broken(&mut self, invariant: Invariant, detail: impl Into<String>) {
        self.found.push(Violation { invariant, action: self.at, detail: detail.into() });
    }

    fn demand(&mut self, holds: bool, invariant: Invariant, detail: impl FnOnce() -> String) {
        if !holds {
            self.broken(invariant, detail());
        }
    }

    fn action(&mut self, action: &Action) {
        let situation = self.situation;
        self.demand(permitted(situation, action), Invariant::Permission, || {
            format!("{} is not allowed in fleet {} now", action.kind(), action.fleet())
        });
        match action {
            Action::Ask { .. } | Action::Look { .. } => {}
            Action::Deploy(deploy) => self.deploy(deploy),
            Action::Rebid { subject, from, to, .. } => self.rebid(subject, *from, *to),
            Action::Start { subject, .. } => self.start(subject),
            Action::Stop { subject, reason, .. } | Action::Delete { subject, reason, .. } => {
                self.let_go(subject, *reason, matches!(action, Action::Stop { .. }));
            }
        }
    }

    /// The member that a subject is, if it is one: by name, place and id.
    fn member(&mut self, subject: &Subject) -> Option<&'a Member> {
        let once = self.subjects.insert((subject.marketplace.clone(), subject.id.to_string()));
        self.demand(once, Invariant::Twice, || format!("{} is acted on twice", subject.name));
        let state = self.situation.fleets.get(&subject.fleet)?;
        state
            .fleet
            .members
            .get(&subject.name)
            .filter(|member| member.id.as_ref() == Some(&subject.id) && member.marketplace == subject.marketplace)
    }

    fn ours(&mut self, subject: &Subject) -> Option<&'a Member> {
        let member = self.member(subject);
        self.demand(member.is_some(), Invariant::NotOurs, || format!("{} is not one of ours", subject.name));
        member
    }

    fn may_rent(&mut self, marketplace: &MarketplaceName) {
        let market = self.situation.markets.get(marketplace);
        let open = market.is_some_and(|market| market.bench.is_none() && market.list_complete);
        self.demand(open, Invariant::Bench, || format!("{marketplace} is benched or its list is not complete"));
    }

    fn deploy(&mut self, deploy: &Deploy) {
        let situation = self.situation;
        let fleet = &deploy.fleet;
        self.may_rent(&deploy.marketplace);
        self.name(deploy);
        let Some(state) = situation.fleets.get(fleet) else {
            return self.broken(Invariant::NotOurs, format!("there is no fleet {fleet}"));
        };
        let payer = situation.markets.get(&deploy.marketplace).map(|market| &market.account);
        self.demand(payer == Some(&deploy.account), Invariant::NotOurs, || {
            format!("{} does not pay on {}", deploy.account, deploy.marketplace)
        });
        self.replacement(deploy);
        self.pay(fleet, &deploy.account, u64::from(deploy.shape.gpus), deploy.agreed.total());
        let target = start_target(state);
        let surge = match (&deploy.replaces, state.policy.disruption.max_surge) {
            (None, _) => 0,
            (Some(_), Quantity::Count(vms)) => u64::from(vms) * u64::from(state.policy.instance.gpus.max),
            (Some(_), share @ Quantity::SharePpm(_)) => u64::from(share.of(state.target_gpus())),
        };
        let counted = self.gpus.get(fleet).copied().unwrap_or(0);
        self.demand(counted <= target + surge, Invariant::Gpus, || {
            format!("{fleet} would count {counted} GPUs of {target} and {surge} surge")
        });
        self.price(deploy);
        let Deploy { marketplace, account, hostnode, location, shape, price_type, .. } = deploy;
        let mut wrong = self.unwanted(state, Vm { fleet, marketplace, hostnode, location, shape });
        if !state.policy.instance.gpus.hold(shape.gpus) {
            wrong.push("the size");
        }
        if *price_type == PriceType::Spot && state.policy.on_demand.usage == OnDemandUse::Always {
            wrong.push("spot");
        }
        let unable = situation.markets.get(marketplace).and_then(|market| market.ability.unable(&wish(&state.policy)));
        if unable.is_some() {
            wrong.push("a VM that the marketplace cannot make as it is wanted");
        }
        wrong.extend(self.too_much(state, Vm { fleet, marketplace, hostnode, location, shape }, account, *price_type));
        self.wanted(wrong);
        self.resources(deploy);
    }

    fn name(&mut self, deploy: &Deploy) {
        let situation = self.situation;
        let fresh = self.names.insert(deploy.name.clone());
        self.demand(fresh, Invariant::NameReused, || format!("{} was used before", deploy.name));
        let claimed = claimed_fleet(&situation.namer.prefix, situation.fleets.keys(), &deploy.name);
        let sequence = deploy.name.as_str().rsplit('-').next().and_then(|text| text.parse::<u64>().ok());
        let new = sequence.is_some_and(|sequence| sequence >= situation.namer.next_sequence);
        self.demand(claimed == Some(&deploy.fleet) && new, Invariant::NameReused, || {
            format!("{} is not a new name of {}", deploy.name, deploy.fleet)
        });
    }

    fn replacement(&mut self, deploy: &Deploy) {
        let Some(replaced) = &deploy.replaces else { return };
        let members = self.situation.fleets.get(&deploy.fleet).map(|state| &state.fleet.members);
        let living = members.and_then(|members| members.get(replaced)).is_some_and(Member::serves);
        let standing =
            members.is_some_and(|members| members.values().any(|member| member.replaces.as_ref() == Some(replaced)));
        let first = self.replaced.insert(replaced.clone()) && !standing;
        self.demand(living && first, Invariant::Replacement, || {
            format!("{replaced} does not live, or has a replacement already")
        });
    }

    fn price(&mut self, deploy: &Deploy) {
        let situation = self.situation;
        let Some(state) = situation.fleets.get(&deploy.fleet) else { return };
        let rate = deploy.agreed.total();
        self.capped(state, &deploy.shape, rate);
        let listed = situation.hostnode(&deploy.marketplace, &deploy.hostnode);
        let sold = listed.filter(|hostnode| hostnode.sells_on_demand(&deploy.shape));
        let on_demand = sold.and_then(|hostnode| hostnode.price(&deploy.shape).ok()).map(|(_, rates)| rates);
        match (deploy.price_type, deploy.bid) {
            (PriceType::Spot, Some(bid)) => {
                self.demand(bid == deploy.agreed.compute, Invariant::Price, || {
                    format!("the bid of {bid}/h is not what is counted, {}/h", deploy.agreed.compute)
                });
                self.demand(rate <= deploy.on_demand.total(), Invariant::Price, || {
                    format!("{rate}/h is above the on-demand price of {}/h", deploy.on_demand.total())
                });
                let asked = listed.is_none_or(|hostnode| match hostnode.spot {
                    SpotTerms::Asked | SpotTerms::None => true,
                    SpotTerms::ListedPerGpu(least) => bid < least.times(deploy.shape.gpus),
                });
                if asked {
                    self.quote(&deploy.marketplace, &deploy.hostnode, &deploy.shape, bid);
                }
            }
            (PriceType::OnDemand, None) => {
                let same = on_demand.is_some_and(|listed| listed == deploy.agreed);
                self.demand(same, Invariant::Price, || format!("{rate}/h is not the listed price"));
            }
            (PriceType::Spot, None) | (PriceType::OnDemand, Some(_)) => {
                self.broken(Invariant::Price, "a bid belongs to spot, and spot to a bid");
            }
        }
    }

    /// That a rate is within `max_price`, by what is in force and by a held edit.
    fn capped(&mut self, state: &FleetState, shape: &Shape, rate: HourlyRate) {
        let in_force = state.policy.model(&shape.gpu_model).and_then(|(_, terms)| terms.max_price);
        let held = state.held.iter().filter_map(|held| held.max_prices.get(&shape.gpu_model).copied());
        for cap in in_force.into_iter().chain(held).map(|price| price.times(shape.gpus)) {
            self.demand(rate <= cap, Invariant::Price, || format!("{rate}/h is above max_price, {cap}/h for the VM"));
        }
    }

    fn quote(&mut self, marketplace: &MarketplaceName, hostnode: &HostnodeId, shape: &Shape, bid: HourlyRate) {
        let situation = self.situation;
        let newest = situation.markets.get(marketplace).and_then(|market| {
            let about = |quote: &&crate::model::offer::Quote| {
                quote.bid.hostnode == *hostnode && quote.bid.shape == *shape && quote.bid.price == bid
            };
            market.quotes.iter().filter(about).max_by_key(|quote| quote.at)
        });
        let accepted = newest.is_some_and(|quote| {
            quote.answer == BidAnswer::Accepted && elapsed(quote.at, situation.now) < situation.quote_age_max
        });
        self.demand(accepted, Invariant::Quote, || format!("{bid}/h on {hostnode} was not accepted a moment ago"));
    }

    /// What a policy does not want of a VM that is to be had, or had again. Nobody knows the country of one that was adopted.
    fn unwanted(&self, state: &FleetState, vm: Vm<'_>) -> Vec<&'static str> {
        let terms = &state.policy;
        let mut wrong = Vec::new();
        if terms.model(&vm.shape.gpu_model).is_none() {
            wrong.push("the model");
        }
        if terms.marketplaces.as_ref().is_some_and(|wanted| !wanted.contains(vm.marketplace)) {
            wrong.push("the marketplace");
        }
        if terms.hosts.deny.contains(vm.hostnode) {
            wrong.push("the hostnode");
        }
        let country = &vm.location.country;
        let is_there = |allowed: &String| allowed.eq_ignore_ascii_case(country);
        let adopted = *vm.location == Location::default();
        if !adopted && terms.hosts.countries.as_ref().is_some_and(|countries| !countries.iter().any(is_there)) {
            wrong.push("the country");
        }
        wrong
    }

    /// Counts a VM's GPUs where they come to stand, and how they are paid for; of what a policy does not want so much.
    fn too_much(
        &mut self,
        state: &FleetState,
        vm: Vm<'_>,
        account: &AccountName,
        price_type: PriceType,
    ) -> Vec<&'static str> {
        let terms = &state.policy;
        let gpus = u64::from(vm.shape.gpus);
        let mut wrong = Vec::new();
        if price_type == PriceType::OnDemand {
            let on_demand = self.on_demand.entry(vm.fleet.clone()).or_default();
            *on_demand += gpus;
            let most = terms.on_demand.max_gpus.unwrap_or(u32::MAX).min(state.target_gpus());
            if terms.on_demand.usage == OnDemandUse::Never || *on_demand > u64::from(most) {
                wrong.push("on demand");
            }
        }
        self.place(vm.fleet, account, vm.hostnode, vm.location, gpus);
        let host_key = (vm.fleet.clone(), account.clone(), vm.hostnode.clone());
        let on_host = self.on_host.get(&host_key).copied().unwrap_or(0);
        if terms.hosts.max_gpus_per_hostnode.is_some_and(|most| on_host > u64::from(most)) {
            wrong.push("so much on one hostnode");
        }
        if let Some(ppm) = terms.hosts.max_share_per_location_ppm {
            let most = u64::from(state.target_gpus()) * u64::from(ppm) / PPM;
            let here = self.in_location.get(&(vm.fleet.clone(), vm.location.clone())).copied().unwrap_or(0);
            if here > most.max(u64::from(terms.instance.gpus.min)) {
                wrong.push("so much in one place");
            }
        }
        wrong
    }

    fn wanted(&mut self, wrong: Vec<&'static str>) {
        self.demand(wrong.is_empty(), Invariant::Policy, || format!("the policy does not want {}", wrong.join(", ")));
    }

    fn resources(&mut self, deploy: &Deploy) {
        let situation = self.situation;
        let key = (deploy.account.clone(), deploy.hostnode.clone());
        let shapes = self.hosts.entry(key.clone()).or_default();
        shapes.push(deploy.shape.clone());
        let mut shapes = shapes.clone();
        let since = self.deployed_since_listed(deploy);
        shapes.extend(since.iter().map(|member| member.shape.clone()));
        let mut in_use: BTreeSet<u16> = since.iter().flat_map(|member| member.ports.keys().copied()).collect();
        let Some(hostnode) = situation.hostnode(&deploy.marketplace, &deploy.hostnode).filter(|listed| listed.online)
        else {
            return self.broken(Invariant::Resource, format!("{} is not listed", deploy.hostnode));
        };
        let lasts = hostnode.available_until.is_none_or(|end| (end - situation.now).get_seconds() >= AVAILABLE_S_MIN);
        self.demand(lasts, Invariant::Resource, || format!("{} ends too soon", deploy.hostnode));
        let sum = |of: fn(&Shape) -> u32| shapes.iter().map(|shape| u64::from(of(shape))).sum::<u64>();
        let enough = match &hostnode.supply {
            Supply::Resources(resources) => {
                let gpus: u64 = shapes
                    .iter()
                    .filter(|shape| shape.gpu_model == deploy.shape.gpu_model)
                    .map(|shape| u64::from(shape.gpus))
                    .sum();
                gpus <= u64::from(hostnode.free_gpus(&deploy.shape.gpu_model))
                    && sum(|shape| shape.vcpus) <= u64::from(resources.vcpus.free)
                    && sum(|shape| shape.ram_gb) <= u64::from(resources.ram_gb.free)
                    && sum(|shape| shape.storage_gb) <= u64::from(resources.storage_gb.free)
            }
            Supply::Lots(lots) => {
                let of = |shape: &&Shape| **shape == deploy.shape;
                shapes.iter().filter(of).count()
                    <= lots.iter().filter(|lot| lot.sells(&deploy.shape).as_ref() == Some(&deploy.shape)).count()
            }
        };
        self.demand(enough, Invariant::Resource, || format!("{} has not that much free", deploy.hostnode));
        let taken = self.ports.entry(key).or_default();
        in_use.extend(taken.iter());
        taken.extend(deploy.ports.keys());
        let wanted = situation.fleets.get(&deploy.fleet);
        let wanted: Option<BTreeSet<u16>> = wanted.map(|state| state.policy.instance.ports.iter().copied().collect());
        let good = match &hostnode.ports {
            Ports::Free(free) => {
                let inside: BTreeSet<u16> = deploy.ports.values().copied().collect();
                deploy.ports.keys().all(|port| free.contains(port) && !in_use.contains(port)) && wanted == Some(inside)
            }
            // The marketplace chooses, and only for SSH.
            Ports::GivenForSsh => {
                deploy.ports.is_empty() && wanted.is_some_and(|wanted| wanted.iter().all(|port| *port == SSH_PORT))
            }
            Ports::Unlisted => deploy.ports.is_empty() && wanted.is_some_and(|wanted| wanted.is_empty()),
        };
        self.demand(good, Invariant::Resource, || {
            format!("the ports on {} are not free, or not those wanted", deploy.hostnode)
        });
    }

    /// VMs on a deploy's machine that the list which shows it as free cannot know: deployed since, by whichever marketplace
    /// of the account.
    fn deployed_since_listed(&self, deploy: &Deploy) -> Vec<&'a Member> {
        let listed_at = self.situation.markets.get(&deploy.marketplace).and_then(|market| market.hostnodes_at);
        let members = self.situation.fleets.values().flat_map(|state| state.fleet.members.values());
        let there = members.filter(|member| member.account == deploy.account && member.hostnode == deploy.hostnode);
        there.filter(|member| listed_at.is_none_or(|listed_at| member.intended_at >= listed_at)).collect()
    }

    fn rebid(&mut self, subject: &Subject, from: HourlyRate, to: HourlyRate) {
        self.may_rent(&subject.marketplace);
        let Some(member) = self.ours(subject) else { return };
        let outbid = member.standing == Standing::Outbid && !member.write_in_doubt;
        let in_force = member.bid.unwrap_or(member.agreed.compute);
        self.demand(outbid && from == in_force && to > from, Invariant::Price, || {
            format!("{} is not outbid at {from}/h, or {to}/h raises nothing", member.name)
        });
        let rate = to.plus(member.agreed.storage);
        if let Some(state) = self.situation.fleets.get(&subject.fleet) {
            self.capped(state, &member.shape, rate);
            let mut wrong = self.unwanted(state, member.into());
            if state.policy.on_demand.usage == OnDemandUse::Always {
                wrong.push("a bid");
            }
            self.wanted(wrong);
        }
        let most = member.on_demand.total();
        self.demand(rate <= most, Invariant::Price, || format!("{to}/h and storage are above {most}/h on demand"));
        self.quote(&subject.marketplace, &member.hostnode, &member.shape, to);
        self.pay(&subject.fleet, &member.account, 0, to.minus(from));
    }

    fn start(&mut self, subject: &Subject) {
        self.may_rent(&subject.marketplace);
        let Some(member) = self.ours(subject) else { return };
        let (gpus, rate) = match member.standing {
            Standing::StoppedReleased => {
                let full = member.quoted.map_or(member.agreed, |quoted| quoted.max(member.agreed)).total();
                let bid = member.bid.unwrap_or_default().plus(member.agreed.storage);
                (member.shape.gpus, full.max(bid).minus(member.committed()))
            }
            Standing::StoppedKept => (0, HourlyRate::ZERO),
            Standing::Outbid if member.rebid_accepted_at.is_some() => (0, HourlyRate::ZERO),
            Standing::Outbid
            | Standing::Pending
            | Standing::Running
            | Standing::Leaving
            | Standing::InDoubt
            | Standing::Lost => {
                let standing = member.standing;
                return self.broken(Invariant::Reason, format!("{} is {standing}: nothing to start", member.name));
            }
        };
        self.pay(&subject.fleet, &member.account, u64::from(gpus), rate);
        if gpus > 0
            && let Some(state) = self.situation.fleets.get(&subject.fleet)
        {
            let target = start_target(state);
            let counted = self.gpus.get(&subject.fleet).copied().unwrap_or(0);
            self.demand(counted <= target, Invariant::Gpus, || {
                format!("{} would count {counted} GPUs of {target}", subject.fleet)
            });
            self.capped(state, &member.shape, rate.plus(member.committed()));
            let mut wrong = self.unwanted(state, member.into());
            wrong.extend(self.too_much(state, member.into(), &member.account, member.price_type));
            self.wanted(wrong);
        }
    }

    fn let_go(&mut self, subject: &Subject, reason: Teardown, stops: bool) {
        let situation = self.situation;
        let Some(state) = situation.fleets.get(&subject.fleet) else {
            return self.broken(Invariant::NotOurs, format!("there is no fleet {}", subject.fleet));
        };
        let member = self.member(subject);
        let Some(member) = member else {
            let late = state.fleet.late.iter().any(|late| {
                late.name == subject.name && late.id == subject.id && late.marketplace == subject.marketplace
            });
            self.demand(late, Invariant::NotOurs, || format!("{} is not one of ours", subject.name));
            return self.demand(reason == Teardown::Late || !late, Invariant::Reason, || {
                format!("{} is late, not {reason}", subject.name)
            });
        };
        // Its delete was intended before: saying so again changes nothing.
        if member.standing == Standing::Leaving && !stops {
            return;
        }
        let name = &member.name;
        let strength = force(reason);
        self.demand(!member.protected || strength != super::Force::Order, Invariant::Protected, || {
            format!("{name} is protected, and {reason} is no reason")
        });
        let complete = situation.markets.get(&subject.marketplace).is_some_and(|market| market.list_complete);
        let may_be_partial = match reason {
            Teardown::BalanceFloor | Teardown::Target | Teardown::Lost | Teardown::Replaced => false,
            Teardown::StoppedTooLong | Teardown::Outbid => false,
            Teardown::Overbilled
            | Teardown::Late
            | Teardown::RateLimit
            | Teardown::GlobalRateLimit
            | Teardown::Budget
            | Teardown::Evacuate
            | Teardown::Operator => true,
        };
        self.demand(complete || may_be_partial, Invariant::Incomplete, || {
            format!("{name} would go for {reason} on a list that is not complete")
        });
        let true_reason = self.is_true(state, member, reason);
        self.demand(true_reason, Invariant::Reason, || format!("{name} would go for {reason}, which it is not"));
        self.demand(!stops || member.standing == Standing::Running, Invariant::Reason, || {
            format!("{name} does not run: nothing to stop")
        });
        if reason == Teardown::Replaced {
            let runs = state
                .fleet
                .members
                .values()
                .any(|other| other.replaces.as_ref() == Some(name) && other.standing == Standing::Running);
            self.demand(runs, Invariant::Replacement, || format!("nothing runs in the place of {name}"));
        }
    }

    /// Whether a reason is plausible at all: not whether this victim was the best one.
    fn is_true(&mut self, state: &FleetState, member: &Member, reason: Teardown) -> bool {
        let situation = self.situation;
        match reason {
            Teardown::Overbilled => member.quoted.is_some_and(|quoted| quoted.total() > member.agreed.total()),
            Teardown::Late => false,
            Teardown::RateLimit => staying(state) > state.policy.max_hourly_rate,
            Teardown::GlobalRateLimit => {
                let ours: HourlyRate = situation.fleets.values().map(staying).sum();
                let ours = ours.plus(situation.orphaned_staying.values().copied().sum());
                situation.limits.max_hourly_rate.is_some_and(|limit| ours > limit)
            }
            Teardown::BalanceFloor => situation
                .account_left(&member.account)
                .is_some_and(|(left, _)| left < situation.account_cost(&member.account).cost(state.policy.min_runway)),
            Teardown::Budget => self.is_used_up(&member.account, state.policy.min_runway),
            Teardown::Evacuate => state.order == Order::Evacuate,
            Teardown::Target => match state.order {
                Order::Hold(target) => {
                    let staying = state.fleet.members.values().filter(|member| member.standing != Standing::Leaving);
                    let staying: u64 = staying.map(|member| u64::from(member.counted_gpus())).sum();
                    let shrunk = self.shrunk.entry(member.fleet.clone()).or_default();
                    *shrunk += u64::from(member.counted_gpus());
                    staying >= u64::from(target) + *shrunk
                }
                Order::Evacuate | Order::Pause(_) => false,
            },
            Teardown::Outbid => member.standing == Standing::Outbid,
            Teardown::Lost => matches!(member.standing, Standing::Lost | Standing::Pending),
            Teardown::StoppedTooLong => member.standing == Standing::StoppedReleased,
            Teardown::Replaced | Teardown::Operator => true,
        }
    }
}

/// What a fleet's own VMs cost that stay: strays and reserved money are no reason to let one go.
fn staying(state: &FleetState) -> HourlyRate {
    let members = state.fleet.members.values().filter(|member| member.standing != Standing::Leaving);
    members.map(Member::committed).sum()
}

/// A VM that is to be had, or had again.
#[derive(Clone, Copy)]
struct Vm<'a> {
    fleet: &'a FleetName,
    marketplace: &'a MarketplaceName,
    hostnode: &'a HostnodeId,
    location: &'a Location,
    shape: &'a Shape,
}

impl<'a> From<&'a Member> for Vm<'a> {
    fn from(member: &'a Member) -> Self {
        let Member { fleet, marketplace, hostnode, location, shape, .. } = member;
        Self { fleet, marketplace, hostnode, location, shape }
    }
}

/// GPUs up to which may be started: the lower of the target in force and a held edit's.
fn start_target(state: &FleetState) -> u64 {
    let in_force = match state.order {
        Order::Hold(target) => target,
        Order::Evacuate | Order::Pause(_) => 0,
    };
    u64::from(state.held.iter().map(|held| held.target_gpus).fold(in_force, Ord::min))
}

#[cfg(test)]
mod tests;
