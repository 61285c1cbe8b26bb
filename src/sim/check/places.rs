//! Whether what was rented stands where its policy wants it, by where it truly stands: in which country, how much on one
//! machine and in one place, how much of it on demand.
//!
//! It looks at a fleet only when something was just rented for it: what stood there before may stand there by the law of
//! another day.

use super::{Found, Promise, Seen, fleet_of, texts::is_of_today};
use crate::{
    model::{HostnodeId, PriceType, VmName, offer::Location},
    plan::FleetState,
    policy::terms::PPM,
    sim::{Origin, Vm},
};
use std::collections::{BTreeMap, BTreeSet};

/// Looks at what was rented since the last look.
pub(super) fn look(found: &mut Found, seen: &Seen<'_>, made: &[&Vm]) {
    let Some(situation) = &seen.status.situation else { return };
    let of_today: BTreeSet<&VmName> = (seen.paper.rented())
        .filter(|(decided, _)| is_of_today(seen, decided))
        .map(|(_, intent)| &intent.name)
        .collect();
    for (name, state) in &situation.fleets {
        let of_fleet = |vm: &&Vm| fleet_of(seen.status, vm) == Some(name.as_str());
        let new: Vec<&Vm> = made.iter().copied().filter(of_fleet).filter(|vm| of_today.contains(&vm.name)).collect();
        let ours = |vm: &&Vm| vm.origin == Origin::Api && !seen.out_of_sight.contains(&vm.id);
        // What was given up and is there all the same is in nobody's way.
        let known = |vm: &&Vm| state.fleet.members.contains_key(&vm.name);
        let there: Vec<&Vm> = super::alive(seen.sighted).filter(of_fleet).filter(ours).filter(known).collect();
        for vm in new {
            stands(found, state, vm, &there);
        }
    }
}

fn stands(found: &mut Found, state: &FleetState, vm: &Vm, there: &[&Vm]) {
    let hosts = &state.policy.hosts;
    let told = |what: String| format!("{} was rented {what}", vm.name);
    let country = &vm.location.country;
    let is_there = |countries: &Vec<String>| countries.iter().any(|one| one.eq_ignore_ascii_case(country));
    found.unless(hosts.countries.as_ref().is_none_or(is_there), Promise::Wanted, || told(format!("in {country}")));
    let (mut on_host, mut in_place) = (BTreeMap::<&HostnodeId, u32>::new(), BTreeMap::<&Location, u32>::new());
    let mut on_demand = 0_u32;
    for other in there {
        *on_host.entry(&other.hostnode).or_default() += super::gpus(other);
        *in_place.entry(&other.location).or_default() += super::gpus(other);
        if other.price_type == PriceType::OnDemand {
            on_demand = on_demand.saturating_add(super::gpus(other));
        }
    }
    let here = on_host.get(&vm.hostnode).copied().unwrap_or(0);
    found.unless(hosts.max_gpus_per_hostnode.is_none_or(|most| here <= most), Promise::Wanted, || {
        told(format!("where {here} GPUs stand on one machine"))
    });
    if let Some(ppm) = hosts.max_share_per_location_ppm {
        let share = u64::from(state.target_gpus()).saturating_mul(u64::from(ppm)) / PPM;
        let most = share.max(u64::from(state.policy.instance.gpus.min));
        let here = in_place.get(&vm.location).copied().unwrap_or(0);
        found.unless(u64::from(here) <= most, Promise::Wanted, || {
            told(format!("where {here} GPUs stand in {}", vm.location))
        });
    }
    let most = state.policy.on_demand.max_gpus.unwrap_or(u32::MAX).min(state.target_gpus());
    found.unless(vm.price_type == PriceType::Spot || on_demand <= most, Promise::Wanted, || {
        told(format!("with {on_demand} GPUs on demand of {most}"))
    });
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{again, settled},
        *,
    };
    use crate::{
        model::FleetName,
        policy::{Policy, Terms},
    };

    /// What is found where a VM of a fleet of this name was just rented under its policy, edited so.
    async fn found(fleet: &str, edit: impl Fn(&mut Terms, &Vm)) -> usize {
        let stage = settled().await;
        let (mut status, sighted, none) = ((*stage.status()).clone(), stage.sighted(), BTreeSet::new());
        let vm = super::super::alive(&sighted).find(|vm| fleet_of(&status, vm) == Some(fleet)).unwrap();
        let name: FleetName = fleet.parse().unwrap();
        let state = status.situation.as_mut().unwrap().fleets.get_mut(&name).unwrap();
        let mut terms = Terms::clone(&state.policy);
        edit(&mut terms, vm);
        state.policy = Policy::vouched(terms);
        let paper = again(&stage, &vm.name, |_| {});
        let seen = Seen { status: &status, sighted: &sighted, out_of_sight: &none, paper: &paper };
        let mut found = Found::default();
        look(&mut found, &seen, &[vm]);
        assert!(found.0.iter().all(|breach| breach.promise == Promise::Wanted), "{:?}", found.0);
        found.0.len()
    }

    #[tokio::test]
    async fn what_stands_where_nobody_wants_it_is_found_out() {
        assert_eq!(found("train", |_, _| {}).await, 0);
        let there = |terms: &mut Terms, vm: &Vm| terms.hosts.countries = Some(vec![vm.location.country.to_uppercase()]);
        assert_eq!(found("train", there).await, 0);
        assert_eq!(found("train", |terms, _| terms.hosts.countries = Some(vec!["Nowhere".to_owned()])).await, 1);
    }

    #[tokio::test]
    async fn more_on_one_machine_in_one_place_or_on_demand_than_wanted_is_found_out() {
        assert_eq!(found("train", |terms, _| terms.hosts.max_gpus_per_hostnode = Some(64)).await, 0);
        assert_eq!(found("train", |terms, _| terms.hosts.max_gpus_per_hostnode = Some(0)).await, 1);
        let share = |ppm: u32| {
            move |terms: &mut Terms, _: &Vm| {
                (terms.hosts.max_share_per_location_ppm, terms.instance.gpus.min) = (Some(ppm), 0);
            }
        };
        assert_eq!((found("train", share(1_000_000)).await, found("train", share(1)).await), (0, 1));
        assert_eq!(found("batch", |terms, _| terms.on_demand.max_gpus = Some(4)).await, 0);
        assert_eq!(found("batch", |terms, _| terms.on_demand.max_gpus = Some(0)).await, 1);
        assert_eq!(found("train", |terms, _| terms.on_demand.max_gpus = Some(0)).await, 0, "by bid");
    }
}
