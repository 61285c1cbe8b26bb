//! What a list leaves out of a VM, remembered from having asked for that VM by its id.
//!
//! Some lists tell of a VM no more than its id, name and status (TensorDock v2, documented): no price, no address. Then
//! those are asked for by id, a few at a time, ours first, and what was told stays beside the list until the VM is asked
//! for again. The list's own words always count first: a status is never older than the list.
//!
//! This is not how a VM is proven gone: see [`Evidence`](crate::ledger::Evidence).

use crate::model::{
    Instance, InstanceId, InstanceStatus, Lookup, MarketView, Reading, Timestamp, VmName,
    inventory::{Dated, Scan},
    time::elapsed,
};
use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

/// So many VMs of one marketplace are asked for in one look, so that scans do not eat up the pace.
const ASKED_MAX: usize = 6;
/// What was told is asked again after this: what is billed may have changed.
const TOLD_FOR: Duration = Duration::from_secs(600);
/// Where a VM runs and nobody told its address yet, after this.
const ADDRESS_AFTER: Duration = Duration::from_secs(20);

/// Whether a list tells so little of a VM that it has to be asked for.
const fn is_bare(instance: &Instance) -> bool {
    instance.quoted.is_none()
}

/// Takes in what was told of single VMs since the last list.
pub fn remember(view: &mut MarketView) {
    let told = view.lookups.iter().filter_map(|(id, reading)| {
        let answer = reading.current()?;
        match &answer.value {
            Lookup::Here(instance) => Some((id.clone(), Dated { at: answer.at, value: instance.clone() })),
            Lookup::Gone => None,
        }
    });
    view.details.extend(told.collect::<Vec<_>>());
}

/// Fills up a new list with what is remembered, and forgets what the list no longer has.
pub fn fill(view: &mut MarketView) {
    let Reading { last: Some(list), failed: None } = &mut view.instances else { return };
    let Dated { value: Scan { items, .. }, .. } = list;
    let listed: BTreeSet<InstanceId> = items.iter().map(|instance| instance.id.clone()).collect();
    view.details.retain(|id, _| listed.contains(id));
    for instance in items.iter_mut().filter(|instance| is_bare(instance)) {
        if let Some(told) = view.details.get(&instance.id) {
            fill_one(instance, &told.value);
        }
    }
}

fn fill_one(instance: &mut Instance, told: &Instance) {
    let Instance {
        id: _,
        name: _,
        status: _,
        hostnode,
        gpu_model,
        gpus,
        price_type,
        quoted,
        address,
        ports,
        created_at,
        available_until,
    } = told;
    instance.quoted = *quoted;
    instance.hostnode = instance.hostnode.take().or_else(|| hostnode.clone());
    if instance.gpu_model.is_none() {
        instance.gpu_model.clone_from(gpu_model);
        instance.gpus = *gpus;
    }
    instance.price_type = instance.price_type.or(*price_type);
    instance.address = instance.address.take().or_else(|| address.clone());
    if instance.ports.is_empty() {
        instance.ports.clone_from(ports);
    }
    instance.created_at = instance.created_at.or(*created_at);
    instance.available_until = instance.available_until.or(*available_until);
}

/// VMs to ask for now: those that a new list tells too little of and that were not asked for lately. Ours come first, then
/// those that were never asked for, then those whose answer is oldest.
pub fn wanted(view: &MarketView, now: Timestamp, is_ours: impl Fn(&VmName) -> bool) -> Vec<InstanceId> {
    let Some(list) = view.instances.current().filter(|_| view.answers_by_id) else { return Vec::new() };
    let mut wanted: Vec<_> = list
        .value
        .items
        .iter()
        .filter_map(|instance| {
            let told = view.details.get(&instance.id);
            let is_wanted = match told {
                None => is_bare(instance),
                Some(told) => {
                    let nowhere = instance.address.is_none() && instance.status == InstanceStatus::Running;
                    elapsed(told.at, now) >= if nowhere { ADDRESS_AFTER } else { TOLD_FOR }
                }
            };
            let order = (Reverse(is_ours(&instance.name)), told.map(|told| told.at), instance.id.clone());
            is_wanted.then_some(order)
        })
        .collect();
    wanted.sort();
    wanted.into_iter().map(|(_, _, id)| id).take(ASKED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::stage::{Stage, instance, of},
        model::time::after,
    };

    fn bare(id: &str, name: &str) -> Instance {
        let told = instance(id, &of(name), InstanceStatus::Running);
        Instance { gpus: 0, price_type: None, quoted: None, address: None, ..told }
    }

    fn list(stage: &mut Stage, items: &[Instance]) {
        let (at, items) = (stage.now, items.to_vec().into());
        let view = stage.view();
        view.instances.fold(at, Ok(Scan { items, dropped: Vec::new() }));
        view.lookups.clear();
        fill(view);
    }

    fn tell(stage: &mut Stage, told: Instance) {
        let at = stage.now;
        let view = stage.view();
        view.lookups.insert(told.id.clone(), Reading::taken(at, Lookup::Here(told)));
        remember(view);
    }

    fn wants(stage: &mut Stage) -> Vec<String> {
        let now = stage.now;
        wanted(stage.view(), now, |name| name.as_str() == "ours").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_list_leaves_out_is_asked_for_once_and_remembered() {
        let mut stage = Stage::new();
        list(
            &mut stage,
            &[bare("i1", "theirs"), bare("i2", "ours"), instance("i3", &of("full"), InstanceStatus::Running)],
        );
        assert_eq!(wants(&mut stage), ["i2", "i1"]);
        tell(&mut stage, instance("i2", &of("ours"), InstanceStatus::Starting));
        assert_eq!(wants(&mut stage), ["i1"]);
        stage.pass(30);
        list(&mut stage, &[bare("i1", "theirs"), bare("i2", "ours")]);
        let seen = stage.view().instances.last.clone().unwrap().value.items;
        let told = instance("i2", &of("ours"), InstanceStatus::Running);
        assert_eq!(seen[1], Instance { gpus: told.gpus, gpu_model: None, ..told.clone() });
        assert_eq!(seen[1].status, InstanceStatus::Running, "a status is never older than the list");
        assert_eq!(wants(&mut stage), ["i1"]);
        stage.pass(600);
        assert_eq!(wants(&mut stage), ["i1", "i2"].map(str::to_owned).into_iter().rev().collect::<Vec<_>>());
    }

    #[test]
    fn what_runs_without_an_address_is_asked_again_soon_and_what_is_gone_is_forgotten() {
        let mut stage = Stage::new();
        list(&mut stage, &[bare("i1", "ours")]);
        tell(&mut stage, Instance { address: None, ..instance("i1", &of("ours"), InstanceStatus::Starting) });
        stage.pass(30);
        list(&mut stage, &[bare("i1", "ours")]);
        assert_eq!(wants(&mut stage), ["i1"]);
        stage.pass(30);
        list(&mut stage, &[]);
        assert!(stage.view().details.is_empty());
    }

    #[test]
    fn few_are_asked_for_at_once_and_none_where_nothing_can_be_asked() {
        let mut stage = Stage::new();
        let many: Vec<Instance> = (0..50).map(|number| bare(&format!("i{number:02}"), "theirs")).collect();
        list(&mut stage, &many);
        assert_eq!(wants(&mut stage).len(), ASKED_MAX);
        stage.view().answers_by_id = false;
        assert_eq!(wants(&mut stage), Vec::<String>::new());
        stage.view().answers_by_id = true;
        let failed = crate::model::Refusal::Unreachable("no".into());
        let at = after(stage.now, TOLD_FOR);
        stage.view().instances.fold(at, Err(failed));
        assert_eq!(wants(&mut stage), Vec::<String>::new(), "nothing is known of a list that could not be read");
    }
}
