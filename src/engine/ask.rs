//! Asks what a plan wants to know before it can decide: about bids for new VMs, and about machines whose list leaves out
//! which ports are free.
//!
//! All of it is reading: nothing is journalled, nothing is written, and the answers belong to the next observation. What
//! could not be answered is named, so that it is not asked again in the same tick; and who let a question wait in vain is
//! named too, so that it is asked nothing for a while: the others would wait with it.

use super::act::{HUNG_AFTER, Hands};
use crate::{
    model::{
        Hostnode, HostnodeId, Lookup, MarketplaceName, Refusal,
        inventory::Dated,
        offer::{Bid, BidAnswer, Quote},
    },
    plan::Action,
};
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What was asked and answered.
#[derive(Default)]
pub struct Asked {
    /// Bids, by marketplace.
    pub quotes: BTreeMap<MarketplaceName, Vec<Quote>>,
    /// Machines, by marketplace.
    pub machines: BTreeMap<MarketplaceName, BTreeMap<HostnodeId, Dated<Lookup<Hostnode>>>>,
    /// Machines about which an answer could not be had.
    pub unanswered: Vec<(MarketplaceName, HostnodeId, Refusal)>,
    /// Marketplaces that let a question wait in vain.
    pub hung: BTreeSet<MarketplaceName>,
}

impl Asked {
    /// Whether anything is known now that was not.
    pub fn any(&self) -> bool {
        !self.quotes.is_empty() || !self.machines.is_empty()
    }

    /// Whether a marketplace answered anything.
    pub fn has_answered(&self, marketplace: &MarketplaceName) -> bool {
        self.quotes.contains_key(marketplace) || self.machines.contains_key(marketplace)
    }
}

enum Answered {
    Bid(Bid, Result<BidAnswer, Refusal>),
    Machine(HostnodeId, Result<Box<Lookup<Hostnode>>, Refusal>),
}

/// Asks side by side as the pace allows, for at most `within` by the clock.
pub async fn ask(hands: &Hands<'_>, asks: Vec<Action>, within: Duration) -> Asked {
    let answers = asks.into_iter().map(|action| async move {
        let asked_at = hands.clock.monotonic();
        let (marketplace, answered) = match action {
            Action::Ask { marketplace, bid, .. } => {
                let answer = about_bid(hands, &marketplace, &bid, within).await;
                (marketplace, Answered::Bid(bid, answer))
            }
            Action::Look { marketplace, hostnode, .. } => {
                let answer = about_machine(hands, &marketplace, &hostnode, within).await;
                (marketplace, Answered::Machine(hostnode, answer.map(Box::new)))
            }
            Action::Deploy(_)
            | Action::Rebid { .. }
            | Action::Start { .. }
            | Action::Stop { .. }
            | Action::Delete { .. } => return None,
        };
        let took = hands.clock.monotonic().saturating_sub(asked_at);
        Some((marketplace, answered, hands.clock.now(), took >= hands.clock.of_real(HUNG_AFTER)))
    });
    let mut asked = Asked::default();
    for (marketplace, answered, at, was_long) in join_all(answers).await.into_iter().flatten() {
        match answered {
            Answered::Bid(bid, Ok(answer)) => {
                hands.metrics.bid_answered(&marketplace, answer);
                asked.quotes.entry(marketplace).or_default().push(Quote { at, bid, answer });
            }
            Answered::Machine(hostnode, Ok(value)) => {
                asked.machines.entry(marketplace).or_default().insert(hostnode, Dated { at, value: *value });
            }
            Answered::Bid(Bid { hostnode, .. }, Err(refusal)) | Answered::Machine(hostnode, Err(refusal)) => {
                if was_long {
                    asked.hung.insert(marketplace.clone());
                }
                asked.unanswered.push((marketplace, hostnode, refusal));
            }
        }
    }
    asked
}

async fn about_bid(
    hands: &Hands<'_>,
    marketplace: &MarketplaceName,
    bid: &Bid,
    within: Duration,
) -> Result<BidAnswer, Refusal> {
    let exchange =
        hands.clients.get(marketplace).and_then(|(_, client)| Some((client, client.dialect().validate(bid)?)));
    let Some((client, exchange)) = exchange else {
        return Err(Refusal::Refused("bids cannot be asked about there".into()));
    };
    let answer = tokio::select! {
        biased;
        answer = client.read(exchange) => answer,
        () = hands.clock.sleep(within) => Err(out_of_time()),
    };
    match answer {
        // Both say no to this very bid.
        Err(Refusal::BidTooLow(_) | Refusal::NoCapacity(_)) => Ok(BidAnswer::Refused),
        answer => answer,
    }
}

async fn about_machine(
    hands: &Hands<'_>,
    marketplace: &MarketplaceName,
    hostnode: &HostnodeId,
    within: Duration,
) -> Result<Lookup<Hostnode>, Refusal> {
    let exchange =
        hands.clients.get(marketplace).and_then(|(_, client)| Some((client, client.dialect().hostnode(hostnode)?)));
    let Some((client, exchange)) = exchange else {
        return Err(Refusal::Refused("one machine cannot be asked about there".into()));
    };
    tokio::select! {
        biased;
        answer = client.read(exchange) => answer,
        () = hands.clock.sleep(within) => Err(out_of_time()),
    }
}

fn out_of_time() -> Refusal {
    Refusal::Unreachable("there was no time left to ask".into())
}
