//! A VM's whole life: seen, priced, rented, found, billed, stopped, started, let go. What each noun says is held against
//! what the world knows and charges.

use super::stand::{KEY, Stand, TOKEN};
use crate::sane::Sane;
use spotscale::{
    market::{Call, Stop, client::WriteOutcome},
    model::{
        HourlyRate, InstanceStatus, Lookup, PriceType, Refusal, Usd,
        offer::{Bid, BidAnswer, Rates, SpotTerms},
    },
    policy::SpotOffered,
    settings::Api,
};
use std::{collections::BTreeSet, time::Duration};

const HOUR: Duration = Duration::from_secs(3_600);

/// How a marketplace's VMs can be paid for.
fn price_types(api: Api) -> Vec<PriceType> {
    match api.spot_offered() {
        SpotOffered::Yes => vec![PriceType::OnDemand, PriceType::Spot],
        SpotOffered::No => vec![PriceType::OnDemand],
    }
}

#[tokio::test]
async fn its_lists_are_whole_and_sane() {
    for api in Api::ALL {
        let stand = Stand::new(*api);
        let hosts = stand.hostnodes().await;
        assert_eq!((hosts.faults(), hosts.dropped.clone()), (vec![], vec![]), "{api}");
        let ids: BTreeSet<_> = hosts.items.iter().map(|host| host.id.clone()).collect();
        assert!(ids.len() == hosts.items.len() && ids.len() >= 3, "{api}: {} machines", ids.len());
        assert!(hosts.items.iter().any(|host| host.online), "{api}");
        let before = stand.instances().await;
        assert!(before.items.is_empty() && before.dropped.is_empty(), "{api}: {before:?}");
        stand.deployed("one").await;
        let after = stand.instances().await;
        assert_eq!((after.items.len(), after.faults(), after.dropped), (1, vec![], vec![]), "{api}");
    }
}

#[tokio::test]
async fn what_it_cannot_say_is_what_the_settings_say_it_cannot() {
    for api in Api::ALL {
        let stand = Stand::new(*api);
        let offered = api.spot_offered() == SpotOffered::Yes;
        let order = stand.order("one", PriceType::OnDemand).await;
        let bid = Bid { hostnode: order.hostnode.clone(), shape: order.shape, price: "0.01".parse().unwrap() };
        let id = "65e7edca-888a-4e66-a975-2c6cd4cd218b".parse().unwrap();
        assert_eq!(stand.says().validate(&bid).is_some(), offered, "{api}: validate");
        // A bid that is made may be for good.
        assert!(offered || stand.says().rebid(&id, bid.price).is_none(), "{api}: rebid");
        assert_eq!(stand.says().balance().is_some(), api.tells_balance(), "{api}: balance");
        let takes_bids = |terms: SpotTerms| match terms {
            SpotTerms::None => false,
            SpotTerms::Asked | SpotTerms::ListedPerGpu(_) => true,
        };
        for host in stand.hostnodes().await.items {
            assert!(offered || !takes_bids(host.spot), "{api}: {} takes bids", host.id);
        }
        // What can be stopped can be started again.
        let stops = [Stop::KeepGpu, Stop::ReleaseGpu].iter().any(|how| stand.says().stop(&id, *how).is_some());
        assert_eq!(stand.says().start(&id).is_some(), stops, "{api}: start and stop");
    }
}

#[tokio::test]
async fn what_was_ordered_is_made_found_by_its_name_and_by_its_id() {
    for api in Api::ALL {
        for price_type in price_types(*api) {
            let stand = Stand::new(*api);
            let order = stand.order("spotscale-train-k3x9-7", price_type).await;
            let WriteOutcome::Settled(Ok(made)) = stand.deploy(&order).await else { panic!("{api}: not made") };
            assert_eq!(made.faults(), Vec::<String>::new(), "{api}");
            stand.clock.pass(HOUR);

            let truth = stand.vm(order.name.as_str()).unwrap();
            assert_eq!((&truth.shape, truth.price_type), (&order.shape, price_type), "{api}");
            assert_eq!(stand.alive(), 1, "{api}");

            let listed = stand.find(order.name.as_str()).await.unwrap();
            assert_eq!((&listed.id, &listed.name), (&made.id, &order.name), "{api}");
            let mut sightings = vec![("list", listed)];
            if let Some(found) = stand.look(&made.id).await {
                let Ok(Lookup::Here(found)) = found else { panic!("{api}: {found:?}") };
                sightings.push(("lookup", found));
            }
            let inside: BTreeSet<u16> = truth.ports.values().copied().collect();
            for (how, seen) in &sightings {
                assert_eq!((&seen.id, &seen.name), (&made.id, &order.name), "{api}: {how}");
                assert_eq!(seen.status, InstanceStatus::Running, "{api}: {how}");
                assert!(seen.price_type.is_none_or(|seen| seen == price_type), "{api}: {how} {seen:?}");
                assert!(seen.hostnode.as_ref().is_none_or(|host| *host == order.hostnode), "{api}: {how} {seen:?}");
                let ports: BTreeSet<u16> = seen.ports.values().copied().collect();
                assert!(ports.is_subset(&inside), "{api}: {how} {seen:?}");
            }
            // Some of this only one of the calls says; none says it wrongly.
            let said = |text: &str, each: Vec<Option<String>>, truly: String| {
                let each: BTreeSet<String> = each.into_iter().flatten().collect();
                assert_eq!(each, BTreeSet::from([truly]), "{api}: {text}");
            };
            let all = || sightings.iter().map(|(_, seen)| seen);
            let gpus = |seen: &spotscale::model::Instance| seen.gpu_model.is_some().then(|| seen.gpus.to_string());
            said("GPUs", all().map(gpus).collect(), order.shape.gpus.to_string());
            let model = |seen: &spotscale::model::Instance| seen.gpu_model.as_ref().map(ToString::to_string);
            said("model", all().map(model).collect(), order.shape.gpu_model.to_string());
            said("address", all().map(|seen| seen.address.clone()).collect(), truth.address.clone());
            let ssh = all().find_map(|seen| seen.ports.iter().find(|(_, inside)| **inside == 22));
            assert!(ssh.is_some(), "{api}: nobody could log in");
        }
    }
}

#[tokio::test]
async fn what_is_quoted_is_what_the_world_charges() {
    for api in Api::ALL {
        for price_type in price_types(*api) {
            let stand = Stand::new(*api);
            let order = stand.order("one", price_type).await;
            let hosts = stand.hostnodes().await.items;
            let host = hosts.iter().find(|host| host.id == order.hostnode).unwrap();
            let (sold, on_demand) = host.price(&order.shape).unwrap();
            assert_eq!(sold, order.shape, "{api}");
            let agreed = Rates { compute: order.bid.unwrap_or(on_demand.compute), ..on_demand };

            let WriteOutcome::Settled(Ok(made)) = stand.deploy(&order).await else { panic!("{api}: not made") };
            stand.clock.pass(HOUR);
            let billed = stand.vm("one").unwrap().spent();
            let hourly = Usd::from_micros(i64::try_from(agreed.total().micros()).unwrap());
            assert_eq!(billed, hourly, "{api}: an hour as {price_type}");

            let mut quotes = vec![made.quoted.map(|quoted| quoted.total()), listed(&stand, "one").await];
            if let Some(Ok(Lookup::Here(seen))) = stand.look(&made.id).await {
                // Some details quote the compute alone: never more than is billed.
                let quoted = seen.billed().map(Rates::total);
                assert!(quoted.is_none_or(|quoted| quoted <= agreed.total()), "{api}: {quoted:?}");
                quotes.push(quoted.filter(|quoted| *quoted == agreed.total()));
            }
            let quotes: BTreeSet<HourlyRate> = quotes.into_iter().flatten().collect();
            assert_eq!(quotes, BTreeSet::from([agreed.total()]), "{api}: {price_type}");

            if let Some(asked) = stand.says().balance() {
                let read = stand.client.read(asked).await.unwrap();
                assert_eq!(read.faults(), Vec::<String>::new(), "{api}");
                assert_eq!(read.amount, stand.truth().balance, "{api}: the balance");
                assert!(read.hourly_cost.is_none_or(|cost| cost == agreed.total()), "{api}: {read:?}");
            }
        }
    }
}

async fn listed(stand: &Stand, name: &str) -> Option<HourlyRate> {
    stand.find(name).await.unwrap().billed().map(Rates::total)
}

#[tokio::test]
async fn a_bid_is_answered_as_a_deploy_at_it_would_be() {
    for api in Api::ALL.iter().filter(|api| api.spot_offered() == SpotOffered::Yes) {
        let stand = Stand::new(*api);
        let order = stand.order("one", PriceType::Spot).await;
        let bid = |price| Bid { hostnode: order.hostnode.clone(), shape: order.shape.clone(), price };
        let vendor = api.vendor();
        let least = stand.market().world_of(vendor).least_bid(&order.hostnode, &order.shape).unwrap();
        let below = HourlyRate::from_micros(least.micros() - 1);
        for (price, expected) in [
            (HourlyRate::from_micros(1), BidAnswer::Refused),
            (below, BidAnswer::Refused),
            (least, BidAnswer::Accepted),
            (order.bid.unwrap(), BidAnswer::Accepted),
        ] {
            let answer = stand.client.read(stand.says().validate(&bid(price)).unwrap()).await;
            assert_eq!(answer, Ok(expected), "{api}: {price}");
        }
        assert_eq!((stand.alive(), stand.sent(Call::Deploy)), (0, 0), "{api}: asking is no renting");
        let low = spotscale::market::Order { bid: Some(below), ..order.clone() };
        let refused = stand.deploy(&low).await;
        assert!(matches!(refused, WriteOutcome::Settled(Err(Refusal::BidTooLow(_)))), "{api}: {refused:?}");
        let enough = spotscale::market::Order { bid: Some(least), ..order.clone() };
        let made = stand.deploy(&enough).await;
        let WriteOutcome::Settled(Ok(made)) = made else { panic!("{api}: {made:?}") };
        for (price, expected) in [(below, BidAnswer::Refused), (order.bid.unwrap(), BidAnswer::Accepted)] {
            let Some(rebid) = stand.says().rebid(&made.id, price) else { continue };
            assert_eq!(stand.client.write(rebid).await, WriteOutcome::Settled(Ok(expected)), "{api}: {price}");
        }
    }
}

#[tokio::test]
async fn what_can_be_stopped_stops_and_starts_again() {
    for api in Api::ALL {
        for how in [Stop::KeepGpu, Stop::ReleaseGpu] {
            let stand = Stand::new(*api);
            let id = stand.deployed("one").await;
            stand.clock.pass(HOUR);
            let (Some(stop), Some(start)) = (stand.says().stop(&id, how), stand.says().start(&id)) else { continue };
            assert_eq!(stand.client.write(stop).await, WriteOutcome::Settled(Ok(())), "{api}: {how:?}");
            let expected = match how {
                Stop::KeepGpu => InstanceStatus::StoppedKept,
                Stop::ReleaseGpu => InstanceStatus::StoppedReleased,
            };
            let seen = stand.find("one").await.unwrap();
            assert_eq!((seen.status, seen.id), (expected, id.clone()), "{api}");
            assert_eq!(stand.client.write(start).await, WriteOutcome::Settled(Ok(())), "{api}: {how:?}");
            stand.clock.pass(HOUR);
            assert_eq!(stand.find("one").await.unwrap().status, InstanceStatus::Running, "{api}");
            // A second start is told so, or done already; it is no failure of the server's.
            let again = stand.client.write(stand.says().start(&id).expect("it was there before")).await;
            assert!(matches!(again, WriteOutcome::Settled(Ok(()) | Err(Refusal::Refused(_)))), "{api}: {again:?}");
        }
    }
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_deleting_it_again_is_done() {
    for api in Api::ALL {
        let stand = Stand::new(*api);
        let (one, other) = (stand.deployed("one").await, stand.deployed("other").await);
        assert_eq!(stand.terminate(&one).await, WriteOutcome::Settled(Ok(())), "{api}");
        assert_eq!(stand.alive(), 1, "{api}");
        assert!(stand.find("one").await.is_none(), "{api}");
        assert!(stand.find("other").await.is_some_and(|vm| vm.id == other), "{api}");
        if let Some(found) = stand.look(&one).await {
            assert_eq!(found, Ok(Lookup::Gone), "{api}");
        }
        assert_eq!(stand.terminate(&one).await, WriteOutcome::Settled(Ok(())), "{api}: again");
        let never = "00000000-0000-4000-8000-00000000beef".parse().unwrap();
        assert_eq!(stand.terminate(&never).await, WriteOutcome::Settled(Ok(())), "{api}: of none");
        if let Some(found) = stand.look(&never).await {
            assert_eq!(found, Ok(Lookup::Gone), "{api}");
        }
        if let Some(start) = stand.says().start(&one) {
            let started = stand.client.write(start).await;
            assert!(matches!(started, WriteOutcome::Settled(Err(Refusal::Gone))), "{api}: {started:?}");
        }
        assert_eq!(stand.alive(), 1, "{api}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_told_and_do_nothing() {
    for api in Api::ALL {
        assert_eq!(Stand::new(*api).client.read(Stand::new(*api).says().whoami()).await, Ok(()), "{api}");
        let right = Stand::new(*api);
        let order = right.order("one", PriceType::OnDemand).await;
        for (key, token) in [(KEY, "another-token"), (KEY, "")] {
            let stand = Stand::with_credentials(*api, key, token);
            let whoami = stand.client.read(stand.says().whoami()).await;
            assert!(matches!(whoami, Err(Refusal::Unauthorized(_))), "{api}: {whoami:?}");
            assert_eq!(stand.sent(Call::Whoami), 1, "{api}: it is not asked again");
            let listed = stand.client.read(stand.says().instances()).await;
            assert!(matches!(listed, Err(Refusal::Unauthorized(_))), "{api}: {listed:?}");
            let made = stand.deploy(&order).await;
            assert!(matches!(made, WriteOutcome::Settled(Err(Refusal::Unauthorized(_)))), "{api}: {made:?}");
            assert_eq!(stand.vms().len(), 0, "{api}");
        }
        assert_ne!(KEY, TOKEN);
    }
}
