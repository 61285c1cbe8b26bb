//! Does what a plan says, and writes down what came of it.
//!
//! One lane of writes per marketplace, in the plan's order; the lanes run side by side, and none keeps the others waiting for
//! long: a lane ends for this tick when its turn does not come in time, or an answer does not. Where lists fail, writes are
//! tried all the same, with less time for their answer. Around each write stand two
//! records: the intent, durable before the first byte is sent, and the outcome. Nothing here chooses: a step whose moment
//! has passed (a stale quote, a lever that waits, a stop) is left for the next plan.

use super::{Waiting, brake::Brake, decision::Step, observe::Clients};
use crate::{
    io::{clock::Clock, entropy::Entropy},
    ledger::{
        Journal, Phase,
        record::{Answer, Record},
    },
    market::{
        Order, Stop,
        client::{Client, Turn, WriteOutcome},
    },
    metrics::{DeployResult, Metrics},
    model::{
        Guard, Inventory, MarketView, MarketplaceName, PriceType, Refusal, RefusalKind, Timestamp,
        offer::{Bid, BidAnswer, Quote, SpotTerms},
        reason::Teardown,
        time::elapsed,
    },
    plan::{Action, Deploy, Subject},
    policy::Policy,
};
use futures_util::future::join_all;
use secrecy::SecretString;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex as SyncMutex, PoisonError},
    time::Duration,
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// Letters of a VM's password.
const PASSWORD_ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
/// Random letters of a VM's password: 48 × 5.8 bits.
const PASSWORD_LENGTH: usize = 48;

/// A turn to write is waited for so long, in real time, beside what the pace makes of it.
const TURN_TIME_MAX: Duration = Duration::from_secs(10);
/// So many requests may come before a write: one read and one write of each of an account's marketplaces.
const TURNS_AHEAD_MAX: u32 = 8;
/// Where lists fail, the answer to a delete or stop is waited for so long, in real time: clients saw deletes take more than 12 s and went to
/// 20 s (recorded, dstack). What is deleted without an answer is deleted again.
const FAILING_WRITE_TIME_MAX: Duration = Duration::from_secs(20);
/// A write or a question whose answer did not come for so long, in real time, was let wait in vain.
pub(super) const HUNG_AFTER: Duration = Duration::from_secs(15);

/// What the hands need.
pub struct Hands<'a> {
    /// The marketplaces.
    pub clients: &'a Clients,
    /// Time.
    pub clock: &'a dyn Clock,
    /// Passwords.
    pub entropy: &'a dyn Entropy,
    /// Journal and ledger.
    pub book: &'a Mutex<Journal>,
    /// Counters.
    pub metrics: &'a Metrics,
    /// How old a quote may be when its deploy is sent, by this clock.
    pub quote_age_max: Duration,
    /// No turn to write is waited for after this, by the monotonic clock: the world must be looked at again.
    pub until: Duration,
    /// Levers that wait: they come before the next write.
    pub waiting: Waiting,
    /// The daemon stops: no write is begun any more.
    pub stopping: CancellationToken,
    /// Where the newest attempt at a list failed.
    pub failing: BTreeSet<&'a MarketplaceName>,
    /// What was refused in this tick.
    pub brake: &'a SyncMutex<Brake>,
}

/// What was written.
pub struct Written {
    /// What was tried, with its outcome.
    pub steps: Vec<Step>,
    /// What could not even be recorded.
    pub troubles: Vec<String>,
    /// Where a turn did not come in time, so that something was not tried.
    pub kept_waiting: BTreeSet<MarketplaceName>,
}

/// Writes in the plan's order, a lane for each marketplace.
pub async fn write(
    hands: &Hands<'_>,
    actions: Vec<Action>,
    policies: &BTreeMap<crate::model::FleetName, Policy>,
    inventory: &Inventory,
) -> Written {
    let mut lanes: BTreeMap<MarketplaceName, Vec<Action>> = BTreeMap::new();
    for action in actions {
        let marketplace = match &action {
            Action::Ask { .. } | Action::Look { .. } => continue,
            Action::Deploy(deploy) => &deploy.marketplace,
            Action::Rebid { subject, .. }
            | Action::Start { subject, .. }
            | Action::Stop { subject, .. }
            | Action::Delete { subject, .. } => &subject.marketplace,
        };
        lanes.entry(marketplace.clone()).or_default().push(action);
    }
    let lanes = lanes.into_iter().map(|(marketplace, actions)| async move {
        let mut written = Written { steps: Vec::new(), troubles: Vec::new(), kept_waiting: BTreeSet::new() };
        let Written { steps, troubles, kept_waiting } = &mut written;
        for action in actions {
            if brake(hands).stops(&action) {
                continue;
            }
            let mut step = Step::planned(&action);
            let Some((_, client)) = hands.clients.get(&marketplace) else {
                step.outcome = Some(format!("the marketplace {marketplace} is not configured"));
                steps.push(step);
                continue;
            };
            if hands.clock.monotonic() > hands.until {
                break;
            }
            let patience = patience(hands, client);
            if client.held_for() > patience {
                kept_waiting.insert(marketplace.clone());
                brake(hands).hung(&marketplace);
                break;
            }
            // The turn may be long in coming: what the write rests on is looked at when it has come.
            let turn = tokio::select! {
                biased;
                () = hands.stopping.cancelled() => break,
                () = hands.waiting.some() => break,
                turn = client.turn() => turn,
                () = hands.clock.sleep(patience) => {
                    kept_waiting.insert(marketplace.clone());
                    brake(hands).hung(&marketplace);
                    break;
                }
            };
            let is_hurried = hands.failing.contains(&marketplace) && may_be_repeated(&action);
            let turn = if is_hurried { turn.within(FAILING_WRITE_TIME_MAX) } else { turn };
            let sent_at = hands.clock.monotonic();
            // Another lane may have been refused meanwhile.
            if brake(hands).stops(&action) {
                continue;
            }
            if let Action::Deploy(deploy) = &action
                && !Guard::QuoteAtSend.holds(is_still_quoted(hands, deploy, inventory))
            {
                continue;
            }
            match one(hands, client, turn, &action, policies).await {
                Ok(done) => {
                    match (done.is_said, done.refusal) {
                        (true, Some(kind)) => brake(hands).refused(&action, kind),
                        (true, None) => {}
                        (false, _) => brake(hands).unsaid(&action),
                    }
                    let took = hands.clock.monotonic().saturating_sub(sent_at);
                    if done.is_in_doubt && took >= hands.clock.of_real(HUNG_AFTER) {
                        brake(hands).hung(&marketplace);
                    }
                    step.outcome = Some(done.told);
                }
                Err(trouble) => {
                    step.outcome = Some("not done: it could not be recorded".into());
                    troubles.push(trouble);
                    steps.push(step);
                    break;
                }
            }
            steps.push(step);
        }
        written
    });
    let mut all = Written { steps: Vec::new(), troubles: Vec::new(), kept_waiting: BTreeSet::new() };
    for Written { steps, troubles, kept_waiting } in join_all(lanes).await {
        all.steps.extend(steps);
        all.troubles.extend(troubles);
        all.kept_waiting.extend(kept_waiting);
    }
    all
}

/// Whether nothing is lost when it is done without our knowing, and done again.
const fn may_be_repeated(action: &Action) -> bool {
    match action {
        Action::Stop { .. } | Action::Delete { .. } => true,
        Action::Ask { .. } | Action::Look { .. } | Action::Deploy(_) | Action::Rebid { .. } | Action::Start { .. } => {
            false
        }
    }
}

/// How long a turn to write is waited for: longer than the pace alone can make of it, and not for as long as a marketplace
/// may want to be left alone.
fn patience(hands: &Hands<'_>, client: &Client) -> Duration {
    hands.clock.of_real(TURN_TIME_MAX).saturating_add(client.interval().saturating_mul(TURNS_AHEAD_MAX))
}

fn brake<'a>(hands: &'a Hands<'_>) -> std::sync::MutexGuard<'a, Brake> {
    hands.brake.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether what a spot deploy rests on is still fresh: an answer to that very bid, or a list with a price that it covers.
fn is_still_quoted(hands: &Hands<'_>, deploy: &Deploy, inventory: &Inventory) -> bool {
    let now = hands.clock.now();
    let view = inventory.markets.get(&deploy.marketplace);
    is_quoted(deploy, view, |at| is_fresh(at, now, hands.quote_age_max))
}

/// Likewise, where it is known what is fresh.
fn is_quoted(deploy: &Deploy, view: Option<&MarketView>, is_fresh: impl Fn(Timestamp) -> bool) -> bool {
    let Some(bid) = deploy.bid.filter(|_| deploy.price_type == PriceType::Spot) else { return true };
    let Some(view) = view else { return false };
    let list = view.hostnodes.current().filter(|list| is_fresh(list.at));
    let hostnode = list.and_then(|list| list.value.items.iter().find(|hostnode| hostnode.id == deploy.hostnode));
    let is_listed = hostnode.is_some_and(|hostnode| match hostnode.spot {
        SpotTerms::ListedPerGpu(least) => least.times(deploy.shape.gpus) <= bid,
        SpotTerms::Asked | SpotTerms::None => false,
    });
    let bid = Bid { hostnode: deploy.hostnode.clone(), shape: deploy.shape.clone(), price: bid };
    let is_it = |quote: &Quote| is_fresh(quote.at) && quote.answer == BidAnswer::Accepted && quote.bid == bid;
    is_listed || view.quotes.iter().any(is_it)
}

/// Whether what was answered at a moment is younger than so much. One from the future is of before somebody set the clock
/// back.
fn is_fresh(at: Timestamp, now: Timestamp, age_max: Duration) -> bool {
    at <= now && elapsed(at, now) < age_max
}

/// What came of one step.
struct Done {
    told: String,
    refusal: Option<RefusalKind>,
    is_in_doubt: bool,
    /// There is a way to say it on that marketplace.
    is_said: bool,
}

impl Done {
    /// Nothing was sent.
    const fn unsaid(told: String) -> Self {
        Self { told, refusal: None, is_in_doubt: false, is_said: false }
    }

    fn of<T>(outcome: &WriteOutcome<T>) -> Self {
        match outcome {
            WriteOutcome::Settled(Ok(_)) => {
                Self { told: "done".into(), refusal: None, is_in_doubt: false, is_said: true }
            }
            WriteOutcome::Settled(Err(refusal)) => {
                Self { told: refusal.to_string(), refusal: Some(refusal.kind()), is_in_doubt: false, is_said: true }
            }
            WriteOutcome::InDoubt(refusal) => {
                Self { told: format!("in doubt: {refusal}"), refusal: None, is_in_doubt: true, is_said: true }
            }
        }
    }
}

async fn note(hands: &Hands<'_>, records: Vec<Record>) -> Result<Timestamp, String> {
    let now = hands.clock.now();
    hands.book.lock().await.append(now, records).map_err(|error| error.to_string())?;
    Ok(now)
}

async fn one(
    hands: &Hands<'_>,
    client: &Client,
    turn: Turn<'_>,
    action: &Action,
    policies: &BTreeMap<crate::model::FleetName, Policy>,
) -> Result<Done, String> {
    let marketplace = client.marketplace();
    let cannot = || Ok(Done::unsaid(format!("{marketplace} cannot do that")));
    match action {
        Action::Ask { .. } | Action::Look { .. } => cannot(),
        Action::Deploy(deploy) => {
            let Some(policy) = policies.get(&deploy.fleet) else { return cannot() };
            let exchange = match client.dialect().deploy(&order(hands.entropy, deploy, policy)) {
                Ok(exchange) => exchange,
                // Nothing is sent, so that there is nothing to intend.
                Err(refusal) => return Ok(Done::unsaid(refusal.to_string())),
            };
            if Guard::DurableIntent.is_kept() {
                note(hands, vec![Record::DeployIntended(deploy.clone())]).await?;
            }
            let outcome = turn.write(exchange).await;
            let done = Done::of(&outcome);
            let name = deploy.name.clone();
            let (records, result) = match outcome {
                WriteOutcome::Settled(Ok(made)) => {
                    let (id, quoted, address, ports) = (made.id, made.quoted, made.address, made.ports);
                    (vec![Record::Deployed { name, id, quoted, address, ports }], DeployResult::Made)
                }
                WriteOutcome::Settled(Err(refusal)) => {
                    let cooldown = policy.disruption.cooldown_up;
                    let mut records = Vec::new();
                    if blames_the_host(refusal.kind()) {
                        records.push(Record::HostFailed {
                            account: deploy.account.clone(),
                            hostnode: deploy.hostnode.clone(),
                            refusal: refusal.kind(),
                            cooldown_ms: u64::try_from(cooldown.as_millis()).unwrap_or(u64::MAX),
                        });
                    }
                    let (kind, detail) = (refusal.kind(), refusal.to_string());
                    records.push(Record::DeployRefused { name, refusal: kind, detail });
                    (records, DeployResult::from(&refusal))
                }
                WriteOutcome::InDoubt(refusal) => {
                    (vec![Record::DeployInDoubt { name, detail: refusal.to_string() }], DeployResult::InDoubt)
                }
            };
            hands.metrics.deployed(&deploy.fleet, marketplace, result);
            note(hands, records).await?;
            Ok(done)
        }
        Action::Delete { subject, reason, why } => delete(hands, client, turn, subject, *reason, why).await,
        Action::Rebid { subject, from, to, why } => {
            let Some(exchange) = client.dialect().rebid(&subject.id, *to) else { return cannot() };
            let name = subject.name.clone();
            let why = why.clone();
            if Guard::DurableRebid.is_kept() {
                note(hands, vec![Record::RebidIntended { name: name.clone(), from: *from, to: *to, why }]).await?;
            }
            let outcome = turn.write(exchange).await;
            let done = Done::of(&outcome);
            let (record, answer) = match outcome {
                WriteOutcome::Settled(Ok(answer)) => {
                    (Record::RebidSettled { name, answer, detail: String::new() }, Some(answer))
                }
                WriteOutcome::Settled(Err(refusal)) if is_about_it(refusal.kind()) => {
                    let (answer, detail) = (BidAnswer::Refused, refusal.to_string());
                    (Record::RebidSettled { name, answer, detail }, Some(answer))
                }
                WriteOutcome::Settled(Err(refusal)) => {
                    (Record::RebidNotMade { name, detail: refusal.to_string() }, None)
                }
                WriteOutcome::InDoubt(refusal) => (Record::RebidInDoubt { name, detail: refusal.to_string() }, None),
            };
            if let Some(answer) = answer {
                hands.metrics.bid_answered(marketplace, answer);
            }
            note(hands, vec![record]).await?;
            Ok(done)
        }
        Action::Start { subject, why } => {
            let Some(exchange) = client.dialect().start(&subject.id) else { return cannot() };
            let name = subject.name.clone();
            if Guard::DurableStart.is_kept() {
                note(hands, vec![Record::StartIntended { name: name.clone(), why: why.clone() }]).await?;
            }
            let outcome = turn.write(exchange).await;
            let done = Done::of(&outcome);
            let record = match outcome {
                WriteOutcome::Settled(Ok(())) => {
                    Record::StartSettled { name, answer: Answer::Done, detail: String::new() }
                }
                WriteOutcome::Settled(Err(refusal)) if !is_about_it(refusal.kind()) => {
                    Record::StartNotMade { name, detail: refusal.to_string() }
                }
                WriteOutcome::Settled(Err(refusal)) => {
                    Record::StartSettled { name, answer: Answer::Refused, detail: refusal.to_string() }
                }
                WriteOutcome::InDoubt(refusal) => Record::StartInDoubt { name, detail: refusal.to_string() },
            };
            note(hands, vec![record]).await?;
            Ok(done)
        }
        Action::Stop { subject, reason, why } => {
            let Some(exchange) = client.dialect().stop(&subject.id, Stop::ReleaseGpu) else { return cannot() };
            let name = subject.name.clone();
            let intended = Record::StopIntended { name: name.clone(), reason: *reason, why: why.clone() };
            if Guard::DurableStop.is_kept() {
                note(hands, vec![intended]).await?;
            }
            let outcome = turn.write(exchange).await;
            let done = Done::of(&outcome);
            if done.refusal.is_none() {
                hands.metrics.torn_down(&subject.fleet, *reason);
            }
            let record = match outcome {
                WriteOutcome::Settled(Ok(())) => {
                    Record::StopSettled { name, answer: Answer::Done, detail: String::new() }
                }
                WriteOutcome::Settled(Err(refusal)) => {
                    Record::StopSettled { name, answer: Answer::Refused, detail: refusal.to_string() }
                }
                WriteOutcome::InDoubt(refusal) => Record::StopInDoubt { name, detail: refusal.to_string() },
            };
            note(hands, vec![record]).await?;
            Ok(done)
        }
    }
}

async fn delete(
    hands: &Hands<'_>,
    client: &Client,
    turn: Turn<'_>,
    subject: &Subject,
    reason: Teardown,
    why: &str,
) -> Result<Done, String> {
    let (name, id) = (subject.name.clone(), subject.id.clone());
    let intended = Record::DeleteIntended { name: name.clone(), id: id.clone(), reason, why: why.to_owned() };
    let again = {
        let book = hands.book.lock().await;
        let late = book.ledger().late().get(&(name.clone(), id.clone()));
        let held = book.ledger().holdings().get(&name).filter(|holding| holding.id.as_ref() == Some(&id));
        late.is_some_and(|late| late.delete.is_some()) || held.is_some_and(|holding| holding.phase == Phase::Leaving)
    };
    if Guard::DurableDelete.is_kept() {
        note(hands, vec![intended]).await?;
    }
    let outcome = turn.write(client.dialect().terminate(&id)).await;
    let done = Done::of(&outcome);
    // One that was refused is planned anew, and is counted when it goes.
    if !again && matches!(done.refusal, None | Some(RefusalKind::Gone)) {
        hands.metrics.torn_down(&subject.fleet, reason);
    }
    let record = match outcome {
        WriteOutcome::Settled(Ok(()) | Err(Refusal::Gone)) => {
            Record::DeleteSettled { name, id, answer: Answer::Done, detail: String::new() }
        }
        // Who was turned away this time may have been heard before: what came of that is as open as it was.
        WriteOutcome::Settled(Err(refusal)) if again && !is_about_it(refusal.kind()) => {
            Record::DeleteInDoubt { name, id, detail: refusal.to_string() }
        }
        WriteOutcome::Settled(Err(refusal)) => {
            Record::DeleteSettled { name, id, answer: Answer::Refused, detail: refusal.to_string() }
        }
        WriteOutcome::InDoubt(refusal) => Record::DeleteInDoubt { name, id, detail: refusal.to_string() },
    };
    note(hands, vec![record]).await?;
    Ok(done)
}

/// Whether a refusal is about the bid and the VM, and not about who asks or when.
const fn is_about_it(kind: RefusalKind) -> bool {
    match kind {
        RefusalKind::NoCapacity | RefusalKind::BidTooLow | RefusalKind::Refused => true,
        RefusalKind::Gone
        | RefusalKind::Throttled
        | RefusalKind::Unauthorized
        | RefusalKind::Broke
        | RefusalKind::Malformed
        | RefusalKind::Unreachable => false,
    }
}

/// Whether a refused deploy says something about the machine, and not about us or the network.
const fn blames_the_host(kind: RefusalKind) -> bool {
    match kind {
        RefusalKind::NoCapacity | RefusalKind::BidTooLow | RefusalKind::Refused | RefusalKind::Gone => true,
        RefusalKind::Throttled
        | RefusalKind::Unauthorized
        | RefusalKind::Broke
        | RefusalKind::Malformed
        | RefusalKind::Unreachable => false,
    }
}

fn order(entropy: &dyn Entropy, deploy: &Deploy, policy: &Policy) -> Order {
    // An upper-case letter and a digit are demanded (documented): the ends see to that whatever was drawn.
    let drawn = crate::io::entropy::text(entropy, PASSWORD_ALPHABET, PASSWORD_LENGTH);
    Order {
        name: deploy.name.clone(),
        hostnode: deploy.hostnode.clone(),
        shape: deploy.shape.clone(),
        price_type: deploy.price_type,
        bid: deploy.bid,
        image: deploy.image.clone(),
        ports: deploy.ports.clone(),
        ssh_key: policy.instance.ssh_key.clone(),
        cloud_init: policy.instance.cloud_init.clone(),
        password: SecretString::from(format!("A{drawn}7")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::sample,
        model::{HourlyRate, Reading, Scan, time::after},
    };

    /// A spot deploy, its bid, and a market that shows its machine so since a moment.
    fn listed(spot: impl Fn(HourlyRate) -> SpotTerms) -> (Deploy, MarketView) {
        let status = sample::status();
        let situation = status.situation.unwrap();
        let spot_deploy = |action| match action {
            Action::Deploy(deploy) if deploy.price_type == PriceType::Spot => Some(deploy),
            _ => None,
        };
        let deploy = status.plan.unwrap().into_value().actions.into_iter().find_map(spot_deploy).unwrap();
        let mut hostnode = situation.markets.values().flat_map(|market| &market.hostnodes).next().unwrap().clone();
        hostnode.id = deploy.hostnode.clone();
        hostnode.spot = spot(deploy.bid.unwrap());
        let list = Scan { items: vec![hostnode].into(), dropped: vec![] };
        let view = MarketView {
            account: deploy.account.clone(),
            hostnodes: Reading::taken(sample::now(), list),
            instances: Reading::never(),
            answers_by_id: true,
            lookups: BTreeMap::new(),
            details: BTreeMap::new(),
            quotes: Vec::new(),
            machines: BTreeMap::new(),
        };
        (*deploy, view)
    }

    #[test]
    fn a_listed_price_that_a_bid_covers_need_not_be_asked_for() {
        let per_gpu = |bid: HourlyRate, more: u64| HourlyRate::from_micros(bid.micros() / 8 + more);
        for (more, expected) in [(0, true), (1, false)] {
            let (mut deploy, view) = listed(|bid| SpotTerms::ListedPerGpu(per_gpu(bid, more)));
            deploy.shape.gpus = 8;
            assert_eq!(is_quoted(&deploy, Some(&view), |_| true), expected);
            assert!(!is_quoted(&deploy, Some(&view), |_| false), "the list is too old");
            assert!(!is_quoted(&deploy, None, |_| true));
        }
        let (deploy, mut view) = listed(|_| SpotTerms::Asked);
        assert!(!is_quoted(&deploy, Some(&view), |_| true), "nobody asked");
        let Deploy { hostnode, shape, bid, .. } = &deploy;
        let bid = Bid { hostnode: hostnode.clone(), shape: shape.clone(), price: bid.unwrap() };
        view.quotes.push(Quote { at: sample::now(), bid, answer: BidAnswer::Accepted });
        assert!(is_quoted(&deploy, Some(&view), |_| true));
    }

    #[test]
    fn a_bid_is_sent_less_than_a_minute_after_it_was_accepted_and_not_a_minute_after() {
        let (at, minute) = (Timestamp::UNIX_EPOCH, Duration::from_secs(60));
        let is_fresh_at = |millis| is_fresh(at, after(at, Duration::from_millis(millis)), minute);
        assert_eq!([is_fresh_at(0), is_fresh_at(59_999), is_fresh_at(60_000)], [true, true, false]);
        assert!(!is_fresh(after(at, minute), at, minute), "it is from the future");
    }
}
