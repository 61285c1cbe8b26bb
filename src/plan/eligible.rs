//! Which machines will do: each hostnode of each marketplace becomes offers in every size that fits, or is turned down
//! for one reason that is counted.

use super::{FleetState, MarketState, Situation, draft::Notes, headroom::Short, situation::wish, stock::Stock};
use crate::{
    ledger::Member,
    model::{
        AccountName, Guard, Hostnode, HostnodeId, HourlyRate, MarketplaceName, Offer, Shape,
        offer::{Location, Misfit, Ports, Rates, SpotTerms},
        reason::Rejected,
        time::elapsed,
    },
    policy::{
        Policy,
        terms::{HostTerms, ModelTerms, OnDemandUse},
    },
};
use std::{collections::BTreeMap, time::Duration};

/// What can be counted on for less than this is not rented: an hour, the shortest time for which an account must be able to
/// pay, too (CONTRACT, "Floor"). Making a VM takes minutes, and what is begun on it has to come to something.
const AVAILABLE_FOR_MIN: Duration = Duration::from_secs(3_600);

/// An offer, with what the rest of the plan needs to know about it.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub offer: Offer,
    pub account: AccountName,
    /// The most that all of the VM may cost per hour by `max_price`.
    pub price_cap: Option<HourlyRate>,
    /// Likewise, by the lower of what is in force and a held edit: the most at which it may be started.
    pub start_cap: Option<HourlyRate>,
    /// Whether it may be rented by bid, as far as the list tells.
    pub spot: bool,
    /// Whether it may be rented on demand.
    pub on_demand: bool,
    /// Whether the machine has to be looked at before it is rented: its list does not show the free ports.
    pub looks: bool,
    /// Why nothing may be rented there now.
    pub closed: Option<Short>,
}

/// All offers to a fleet in sizes up to `gpus_max`; what is turned down goes to the notes.
pub(super) fn eligible(
    situation: &Situation,
    state: &FleetState,
    stock: &Stock,
    gpus_max: u32,
    closed: impl Fn(&MarketplaceName) -> Option<Short>,
    notes: &mut Notes,
) -> Vec<Listed> {
    let mut offers = Vec::new();
    for (marketplace, market) in &situation.markets {
        let wanted = state.policy.marketplaces.as_ref().is_none_or(|wanted| wanted.contains(marketplace));
        let closed = closed(marketplace);
        let offers_instance = market.ability.unable(&wish(&state.policy)).is_none();
        for hostnode in &market.hostnodes {
            let fitting = if !wanted {
                Err(Rejected::MarketplaceNotWanted)
            } else if !offers_instance {
                Err(Rejected::InstanceNotOffered)
            } else {
                let place = Place { situation, state, marketplace, account: &market.account, closed: closed.as_ref() };
                admits(situation, state, market, hostnode)
                    .and_then(|()| place.sizes(&stock.left(marketplace, &market.account, hostnode), gpus_max))
            };
            match fitting {
                Ok(found) => offers.extend(found),
                Err(reason) => {
                    notes.turned_down.insert((marketplace.clone(), hostnode.id.clone()), reason);
                }
            }
        }
    }
    offers
}

/// What rules a machine out, whatever the size.
fn admits(
    situation: &Situation,
    state: &FleetState,
    market: &MarketState,
    hostnode: &Hostnode,
) -> Result<(), Rejected> {
    let hosts = &state.policy.hosts;
    if !hostnode.online {
        return Err(Rejected::Offline);
    }
    if hosts.deny.contains(&hostnode.id) {
        return Err(Rejected::Denied);
    }
    if hostnode.available_until.is_some_and(|end| elapsed(situation.now, end) < AVAILABLE_FOR_MIN) {
        return Err(Rejected::EndsTooSoon);
    }
    if !Guard::Country.holds(is_allowed(hosts, &hostnode.location)) {
        return Err(Rejected::CountryNotAllowed);
    }
    if hosts.min_uptime_ppm > 0 && hostnode.uptime_ppm.is_none_or(|uptime| uptime < hosts.min_uptime_ppm) {
        return Err(Rejected::UptimeBelowMin);
    }
    if let Some(memory) = situation.hosts.get(&(market.account.clone(), hostnode.id.clone())) {
        if !Guard::Cooldown.holds(!memory.quarantined) {
            return Err(Rejected::Quarantined);
        }
        if !Guard::Cooldown.holds(memory.cooldown_until.is_none_or(|until| until <= situation.now)) {
            return Err(Rejected::Cooldown);
        }
    }
    Ok(())
}

fn is_allowed(hosts: &HostTerms, location: &Location) -> bool {
    let is_there = |country: &String| country.eq_ignore_ascii_case(&location.country);
    hosts.countries.as_ref().is_none_or(|countries| countries.iter().any(is_there))
}

/// Why a VM that was rented once would not be rented now by the words of the policy, whatever it costs: then it is not
/// started again and its bid is not raised. Nobody knows the country of one that was adopted.
pub(super) fn unwanted(policy: &Policy, member: &Member) -> Option<Rejected> {
    let hosts = &policy.hosts;
    if policy.marketplaces.as_ref().is_some_and(|wanted| !wanted.contains(&member.marketplace)) {
        return Some(Rejected::MarketplaceNotWanted);
    }
    if policy.model(&member.shape.gpu_model).is_none() {
        return Some(Rejected::ModelNotWanted);
    }
    if hosts.deny.contains(&member.hostnode) {
        return Some(Rejected::Denied);
    }
    if member.location != Location::default() && !is_allowed(hosts, &member.location) {
        return Some(Rejected::CountryNotAllowed);
    }
    None
}

struct Place<'a> {
    situation: &'a Situation,
    state: &'a FleetState,
    marketplace: &'a MarketplaceName,
    account: &'a AccountName,
    closed: Option<&'a Short>,
}

impl Place<'_> {
    /// Every wanted model in every size that fits; else why the smallest size of the best model does not.
    fn sizes(&self, hostnode: &Hostnode, gpus_max: u32) -> Result<Vec<Listed>, Rejected> {
        let terms = &self.state.policy;
        let mut found = Vec::new();
        let mut why = Rejected::ModelNotWanted;
        for model in &terms.models {
            let Some(free) = listed_gpus(hostnode, model) else { continue };
            let most = free.min(terms.instance.gpus.max).min(gpus_max.max(terms.instance.gpus.min));
            let first = if why == Rejected::ModelNotWanted { &mut why } else { &mut Rejected::ModelNotWanted };
            *first = Rejected::NotEnoughGpus;
            for gpus in terms.instance.gpus.min..=most {
                match self.offer(hostnode, model, gpus) {
                    Ok(listed) => found.push(listed),
                    Err(reason) if gpus == terms.instance.gpus.min => *first = reason,
                    Err(_) => {}
                }
            }
        }
        if found.is_empty() { Err(why) } else { Ok(found) }
    }

    fn offer(&self, hostnode: &Hostnode, model: &ModelTerms, gpus: u32) -> Result<Listed, Rejected> {
        let terms = &self.state.policy;
        let wanted = Shape {
            gpu_model: model.model.clone(),
            gpus,
            vcpus: terms.instance.vcpus_per_gpu.saturating_mul(gpus),
            ram_gb: terms.instance.ram_gb_per_gpu.saturating_mul(gpus),
            storage_gb: terms.instance.storage_gb,
        };
        let (shape, on_demand) = hostnode.price(&wanted).map_err(|misfit| match misfit {
            Misfit::Gpus => Rejected::NotEnoughGpus,
            Misfit::Resources => Rejected::NotEnoughResources,
            Misfit::Restricted => Rejected::HostRestriction,
        })?;
        if !hostnode.ports.may_serve(&terms.instance.ports) {
            return Err(Rejected::NoFreePorts);
        }
        let cap =
            |price: Option<HourlyRate>| price.filter(|_| Guard::PriceCap.is_kept()).map(|price| price.times(gpus));
        let (price_cap, start_cap) = (cap(model.max_price), cap(self.state.start_price(&model.model)));
        let sold = hostnode.sells_on_demand(&wanted).then_some(on_demand);
        let (bids, buys) = self.ways(hostnode.spot, gpus, on_demand, sold, price_cap)?;
        let offer = Offer {
            marketplace: self.marketplace.clone(),
            hostnode: hostnode.id.clone(),
            shape,
            on_demand,
            spot: hostnode.spot,
            uptime_ppm: hostnode.uptime_ppm,
            location: hostnode.location.clone(),
            available_until: hostnode.available_until,
        };
        let account = self.account.clone();
        let looks = match hostnode.ports {
            Ports::Unlisted => !terms.instance.ports.is_empty(),
            Ports::Free(_) | Ports::GivenForSsh => false,
        };
        let closed = self.closed.cloned();
        Ok(Listed { offer, account, price_cap, start_cap, spot: bids, on_demand: buys, looks, closed })
    }

    /// Whether by bid, at most at the price on demand, and whether on demand, where it is sold so.
    fn ways(
        &self,
        spot: SpotTerms,
        gpus: u32,
        on_demand: Rates,
        sold: Option<Rates>,
        price_cap: Option<HourlyRate>,
    ) -> Result<(bool, bool), Rejected> {
        let within = |rate: HourlyRate| price_cap.is_none_or(|cap| rate <= cap);
        let terms = &self.state.policy.on_demand;
        let buys = match terms.usage {
            OnDemandUse::Never => false,
            OnDemandUse::Fallback | OnDemandUse::Always => sold.is_some_and(|sold| within(sold.total())),
        };
        let bids = match (terms.usage, spot) {
            (OnDemandUse::Always, _) | (_, SpotTerms::None) => false,
            // The least bid is not known: any price above the storage may do.
            (_, SpotTerms::Asked) => within(on_demand.storage.plus(HourlyRate::from_micros(1))),
            (_, SpotTerms::ListedPerGpu(bid)) => {
                bid.times(gpus) <= on_demand.compute && within(on_demand.storage.plus(bid.times(gpus)))
            }
        };
        match (bids || buys, terms.usage, spot) {
            (true, _, _) => Ok((bids, buys)),
            (false, OnDemandUse::Never, SpotTerms::None) => Err(Rejected::NoSpot),
            (false, _, _) => {
                debug_assert!(self.situation.markets.contains_key(self.marketplace));
                Err(Rejected::PriceAboveCap)
            }
        }
    }
}

/// Free GPUs of a model; `None` where the machine has no such model at all.
fn listed_gpus(hostnode: &Hostnode, model: &ModelTerms) -> Option<u32> {
    let listed = match &hostnode.supply {
        crate::model::offer::Supply::Resources(resources) => resources.gpus.contains_key(&model.model),
        crate::model::offer::Supply::Lots(lots) => lots.iter().any(|lot| lot.shape.gpu_model == model.model),
    };
    listed.then(|| hostnode.free_gpus(&model.model))
}

/// A hostnode, as a plan names it.
pub(super) type HostKey = (MarketplaceName, HostnodeId);

/// Groups what was turned down by its reason.
pub(super) fn counted(turned_down: &BTreeMap<HostKey, Rejected>) -> BTreeMap<Rejected, u32> {
    let mut counted = BTreeMap::new();
    for reason in turned_down.values() {
        *counted.entry(*reason).or_default() += 1;
    }
    counted
}

#[cfg(test)]
mod tests {
    use crate::{
        ledger::HostMemory,
        model::{
            reason::Rejected,
            wish::{Ability, Stop, Wish},
        },
        plan::{testkit::*, *},
        policy::{
            Terms,
            terms::{OnDemandUse, ScaleDown},
        },
    };

    /// One hostnode, and why it is turned down; "" when it is not.
    #[track_caller]
    fn check(host: &str, edit: impl FnOnce(&mut Terms), expected: &str) {
        let mut town = town("");
        town.policy(edit).hosts(host);
        let report = plan(&town.situation).report.remove(&town.fleet()).unwrap();
        let reasons: Vec<_> = report.rejected.keys().map(|reason| reason.as_str()).collect();
        assert_eq!(reasons.join(" "), expected, "{host}");
        assert_eq!(report.rejected.values().sum::<u32>() as usize, report.rejected_hostnodes.len());
        assert_eq!(report.candidates.is_empty(), !expected.is_empty());
    }

    fn price(text: &'static str) -> impl Fn(&mut Terms) {
        move |terms| {
            terms.on_demand.usage = OnDemandUse::Always;
            terms.models.iter_mut().for_each(|model| model.max_price = Some(text.parse().unwrap()));
        }
    }

    #[test]
    fn each_limit_of_a_policy_turns_down_what_is_just_outside() {
        let uptime = |terms: &mut Terms| terms.hosts.min_uptime_ppm = 990_000;
        check("a 1.00 99%", uptime, "");
        check("a 1.00 98%", uptime, "uptime_below_min");
        check("a 1.00 ?", uptime, "uptime_below_min");
        check("a 1.00 ?", |_| {}, "");
        // One GPU at 1.00 and 100 GB at 0.00005.
        check("a 1.00 99%", price("1.005"), "");
        check("a 1.00 99%", price("1.004999"), "price_above_cap");
        check("a 1.00 99%", |terms| terms.hosts.countries = Some(vec!["CANADA".into()]), "");
        check("a 1.00 99%", |terms| terms.hosts.countries = Some(vec!["Poland".into()]), "country_not_allowed");
        check("a 1.00 99%", |terms| terms.hosts.deny = vec!["b".parse().unwrap()], "");
        check("a 1.00 99%", |terms| terms.hosts.deny = vec!["a".parse().unwrap()], "denied");
        check("a 1.00 99% x4", |terms| terms.instance.gpus.min = 4, "");
        check("a 1.00 99% x3", |terms| terms.instance.gpus.min = 4, "not_enough_gpus");
        check("a 1.00 99%", |terms| terms.instance.storage_gb = 10_000, "");
        check("a 1.00 99%", |terms| terms.instance.storage_gb = 10_001, "not_enough_resources");
        check("a 1.00 99% ports2", |terms| terms.instance.ports = vec![22, 80], "");
        check("a 1.00 99% ports1", |terms| terms.instance.ports = vec![22, 80], "no_free_ports");
    }

    #[test]
    fn what_cannot_be_rented_at_all_says_so() {
        check("a 1.00 99% offline", |_| {}, "offline");
        check("a 1.00 99% nospot", |_| {}, "no_spot");
        check("a 1.00 99% nospot", |terms| terms.on_demand.usage = OnDemandUse::Fallback, "");
        check("a 1.00 99% other", |_| {}, "model_not_wanted");
        check(
            "a 1.00 99%",
            |terms| terms.marketplaces = Some(vec!["elsewhere".parse().unwrap()]),
            "marketplace_not_wanted",
        );
    }

    #[test]
    fn a_marketplace_that_cannot_make_such_vms_is_not_rented_from() {
        let rejected = |ssh_key: Option<&str>, scale_down: ScaleDown| {
            let mut town = town("");
            town.policy(|terms| {
                terms.instance.ssh_key = ssh_key.map(str::to_owned);
                terms.instance.scale_down = scale_down;
            });
            town.hosts("a 1.00 99%");
            let unable: fn(&Wish<'_>) -> Option<String> = |wish| {
                let is_kept = wish.stop == Some(Stop::ReleaseGpu);
                (wish.ssh_key.is_none() || is_kept).then(|| "not so".to_owned())
            };
            town.market().ability = Ability::new("test", unable);
            let report = plan(&town.situation).report.remove(&town.fleet()).unwrap();
            report.rejected.keys().map(|reason| reason.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(rejected(Some("ssh-ed25519 A"), ScaleDown::Delete), Vec::<&str>::new());
        assert_eq!(rejected(None, ScaleDown::Delete), ["instance_not_offered"]);
        assert_eq!(rejected(Some("ssh-ed25519 A"), ScaleDown::Stop), ["instance_not_offered"]);
    }

    #[test]
    fn what_can_be_counted_on_for_less_than_an_hour_is_not_rented() {
        check("a 1.00 99% until=3600", |_| {}, "");
        check("a 1.00 99% until=3599", |_| {}, "ends_too_soon");
        check("a 1.00 99% until=0", |_| {}, "ends_too_soon");
    }

    #[test]
    fn a_machine_in_quarantine_stays_out() {
        let mut town = town("");
        town.hosts("a 1.00 99%");
        let memory = HostMemory { quarantined: true, ..HostMemory::default() };
        town.situation.hosts.insert(("acc".parse().unwrap(), "a".parse().unwrap()), memory);
        let report = plan(&town.situation).report.remove(&town.fleet()).unwrap();
        assert_eq!(report.rejected[&Rejected::Quarantined], 1);
    }
}
