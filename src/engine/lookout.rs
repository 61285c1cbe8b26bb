//! Who looks at what, and when again: one lookout for each list of each marketplace, none of whom waits for another.
//!
//! ```text
//!   tick:  begin what is due -> wait, for so long at most -> fold in what came -> go on with that
//!                                        \__ what did not come stays under way, and is folded in by a later tick
//! ```
//!
//! *A marketplace that hangs delays nobody.* A look waits for an answer no longer than [`LOOK_TIME_MAX`], and no longer than
//! [`FAILING_TIME_MAX`] for one whose last attempt failed. What is late counts as failed until it comes: its list is not
//! current, so that nothing is rented or believed gone for it. Requests that are under way are not begun again, and not
//! dropped either, or a slow marketplace would never be read.
//!
//! *A list says what was there when it was asked for.* One that comes with its look is dated by its arrival, for nothing is
//! written between. One that comes later is dated by its asking: what was deployed meanwhile is not expected in it.
//!
//! *Who fails is asked less and less often.* After [`FAILURES_BEFORE_BACKOFF`] failures in a row the wait doubles from the
//! scan interval up to a minute, and there is one attempt, no more. Each list has a back-off of its own: a marketplace that
//! cannot show its machines is still asked for its VMs, so that what was deleted there is proven gone. Writes know nothing
//! of any of this.

use super::observe::Clients;
use crate::{
    io::{Awaited, clock::Clock},
    market::client::{BACKOFF_MAX, Client, Effort, READ_ATTEMPTS_MAX},
    model::{
        AccountName, Balance, Hostnode, Instance, MarketplaceName, Refusal, Scan, Timestamp,
        time::{self, after},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

/// A look waits for an answer for so long at most, in real time, the account's pace not included.
pub const LOOK_TIME_MAX: Duration = Duration::from_secs(15);
/// And for so long where the last attempt failed.
pub const FAILING_TIME_MAX: Duration = Duration::from_secs(3);
/// After so many failures in a row a list is asked for less often.
pub const FAILURES_BEFORE_BACKOFF: u32 = 2;
/// Lists that one look asks a marketplace for.
const LISTS: u32 = 3;
/// A wait of the back-off is between these shares of its step, in parts per million: less than all of it, so that the tick
/// that comes a minute later finds it over.
const JITTER_PPM: [u64; 2] = [700_000, 950_000];

labels! {
    /// What is looked at, in the order in which it is asked for.
    pub enum Part {
        /// The account's VMs.
        Instances = "instances",
        /// What the account holds.
        Balance = "balance",
        /// The machines.
        Hostnodes = "hostnodes",
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The account's VMs.
    Instances(Result<Scan<Instance>, Refusal>),
    /// The machines.
    Hostnodes(Result<Scan<Hostnode>, Refusal>),
    /// What the account holds.
    Balance(Result<Balance, Refusal>),
}

impl Found {
    fn failed(&self) -> bool {
        match self {
            Self::Instances(found) => found.is_err(),
            Self::Hostnodes(found) => found.is_err(),
            Self::Balance(found) => found.is_err(),
        }
    }

    fn refused(part: Part, refusal: Refusal) -> Self {
        match part {
            Part::Instances => Self::Instances(Err(refusal)),
            Part::Hostnodes => Self::Hostnodes(Err(refusal)),
            Part::Balance => Self::Balance(Err(refusal)),
        }
    }
}

/// Something found, and as of when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Where.
    pub marketplace: MarketplaceName,
    /// See [`self`]: of its arrival, or of its asking.
    pub at: Timestamp,
    /// What.
    pub found: Found,
}

/// What a look needs.
#[derive(Clone, Copy)]
pub struct Looking<'a> {
    /// The marketplaces.
    pub clients: &'a Clients,
    /// Time.
    pub clock: &'a Arc<dyn Clock>,
    /// Between two looks.
    pub scan_interval: Duration,
    /// Where a write did not get its turn in the last tick: it comes before the next look at what fails there.
    pub kept_waiting: &'a BTreeSet<MarketplaceName>,
}

type Answer = (Found, Timestamp);

/// One list of one marketplace.
#[derive(Default)]
struct Lookout {
    /// In a row.
    failures: u32,
    asked_at: Option<Asked>,
    /// Not before this, by the monotonic clock.
    next: Duration,
    under_way: Option<Awaited<'static, Answer>>,
    answer: Option<Answer>,
}

/// When the newest request began.
#[derive(Clone, Copy)]
struct Asked {
    monotonic: Duration,
    wall: Timestamp,
    /// In which look.
    look: u64,
}

#[derive(Default)]
struct Post {
    lookouts: BTreeMap<(MarketplaceName, Part), Lookout>,
    looks: u64,
}

/// All lookouts of a daemon.
#[derive(Default)]
pub struct Lookouts(Mutex<Post>);

impl fmt::Debug for Lookouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lookouts", self.post().lookouts.len())
    }
}

impl Lookouts {
    /// Nobody has looked yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn post(&self) -> MutexGuard<'_, Post> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all failures, and what is under way: the marketplaces are others now, or the clock was set.
    pub fn forget(&self) {
        self.post().lookouts.clear();
    }

    /// Does something else, and goes on with what is under way meanwhile.
    pub async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            self.post().poll(context);
            work.as_mut().poll(context)
        })
        .await
    }

    /// One look: begins what is due, waits as long as is due, and returns what came since the last look; what is late, as
    /// failed.
    pub async fn look(&self, looking: &Looking<'_>) -> Vec<Sight> {
        self.post().begin(looking);
        // Each round ends with all answered, or with the patience for one of them over: there are few.
        loop {
            let Some(wait) = self.post().patience(looking) else { break };
            let mut over = looking.clock.sleep(wait);
            poll_fn(|context| {
                let mut post = self.post();
                post.poll(context);
                if post.patience(looking).is_none() { Poll::Ready(()) } else { over.as_mut().poll(context) }
            })
            .await;
        }
        self.post().collect(looking)
    }

    /// When a marketplace that fails is asked for its lists again, by the wall clock; `None` where nothing fails.
    pub fn asked_again_at(&self, client: &Client, clock: &dyn Clock) -> Option<Timestamp> {
        let marketplace = client.marketplace();
        let (now, wall) = (clock.monotonic(), clock.now());
        let post = self.post();
        let lists = [Part::Instances, Part::Hostnodes].map(|part| post.lookouts.get(&(marketplace.clone(), part)));
        let failing = lists.into_iter().flatten().filter(|lookout| lookout.failures > 0 || lookout.under_way.is_some());
        let waits = failing.map(|lookout| match lookout.under_way {
            Some(_) => Duration::ZERO,
            None => lookout.next.saturating_sub(now).max(client.held_for()),
        });
        waits.min().map(|wait| after(wall, wait))
    }
}

/// What the pace alone makes of a look, where all are paid for by one account.
fn pace(clients: &Clients) -> Duration {
    clients.values().map(|(_, client)| client.interval().saturating_mul(LISTS)).sum()
}

impl Post {
    fn poll(&mut self, context: &mut Context<'_>) {
        for lookout in self.lookouts.values_mut() {
            if let Some(under_way) = &mut lookout.under_way
                && let Poll::Ready(answer) = under_way.as_mut().poll(context)
            {
                lookout.under_way = None;
                lookout.answer = Some(answer);
            }
        }
    }

    fn begin(&mut self, looking: &Looking<'_>) {
        self.looks += 1;
        self.lookouts.retain(|(marketplace, _), _| looking.clients.contains_key(marketplace));
        for (name, (_, client)) in looking.clients {
            for part in [Part::Instances, Part::Hostnodes] {
                self.begin_one(looking, name, client, part);
            }
        }
        for (name, client) in self.treasurers(looking.clients) {
            self.begin_one(looking, name, client, Part::Balance);
        }
    }

    /// Of the marketplaces of each account that can tell its balance, the one that failed least.
    fn treasurers<'c>(&self, clients: &'c Clients) -> Vec<(&'c MarketplaceName, &'c Arc<Client>)> {
        let mut chosen: BTreeMap<&AccountName, (u32, &MarketplaceName, &Arc<Client>)> = BTreeMap::new();
        for (name, (account, client)) in clients.iter().filter(|(_, (_, client))| client.dialect().balance().is_some())
        {
            let failures = self
                .lookouts
                .get(&(name.clone(), Part::Balance))
                .map_or(0, |lookout| lookout.failures.saturating_add(u32::from(lookout.under_way.is_some())));
            let best = chosen.entry(account).or_insert((failures, name, client));
            if failures < best.0 {
                *best = (failures, name, client);
            }
        }
        chosen.into_values().map(|(_, name, client)| (name, client)).collect()
    }

    fn begin_one(&mut self, looking: &Looking<'_>, name: &MarketplaceName, client: &Arc<Client>, part: Part) {
        let lookout = self.lookouts.entry((name.clone(), part)).or_default();
        let now = looking.clock.monotonic();
        // An answer that was not collected yet comes first.
        let is_free = lookout.under_way.is_none() && lookout.answer.is_none();
        if !is_free || lookout.gives_way(looking, name, client) || !lookout.is_due(now, looking.scan_interval) {
            return;
        }
        let is_trusted = lookout.failures == 0;
        let hold_max = looking.clock.of_real(if is_trusted { LOOK_TIME_MAX } else { FAILING_TIME_MAX });
        lookout.asked_at = Some(Asked { monotonic: now, wall: looking.clock.now(), look: self.looks });
        let attempts_max = if lookout.failures < FAILURES_BEFORE_BACKOFF { READ_ATTEMPTS_MAX } else { 1 };
        let effort = Effort { attempts_max, hold_max };
        let (client, clock) = (Arc::clone(client), Arc::clone(looking.clock));
        lookout.under_way = Some(Box::pin(async move {
            let dialect = client.dialect();
            let found = match part {
                Part::Instances => Found::Instances(client.read_with(effort, dialect.instances()).await),
                Part::Hostnodes => Found::Hostnodes(client.read_with(effort, dialect.hostnodes()).await),
                Part::Balance => Found::Balance(match dialect.balance() {
                    Some(exchange) => client.read_with(effort, exchange).await,
                    None => Err(Refusal::Refused("it tells no balance".into())),
                }),
            };
            (found, clock.now())
        }));
    }

    /// How long until the patience for one of those that are waited for is over; `None` when nobody is waited for.
    fn patience(&self, looking: &Looking<'_>) -> Option<Duration> {
        let (now, pace) = (looking.clock.monotonic(), pace(looking.clients));
        let waits = self.lookouts.values().filter(|lookout| lookout.under_way.is_some()).filter_map(|lookout| {
            let most = if lookout.failures == 0 { LOOK_TIME_MAX } else { FAILING_TIME_MAX };
            let until = lookout.asked_at?.monotonic.saturating_add(looking.clock.of_real(most)).saturating_add(pace);
            until.checked_sub(now).filter(|left| !left.is_zero())
        });
        waits.min()
    }

    fn collect(&mut self, looking: &Looking<'_>) -> Vec<Sight> {
        let (now, wall) = (looking.clock.monotonic(), looking.clock.now());
        let mut sights = Vec::new();
        for ((marketplace, part), lookout) in &mut self.lookouts {
            let Some(asked) = lookout.asked_at else { continue };
            if let Some((found, arrived_at)) = lookout.answer.take() {
                let at = if asked.look == self.looks { arrived_at } else { asked.wall };
                if found.failed() {
                    lookout.failures = lookout.failures.saturating_add(1);
                    let wait = backoff(marketplace, lookout.failures, looking.scan_interval);
                    lookout.next = asked.monotonic.saturating_add(wait);
                } else {
                    lookout.failures = 0;
                }
                sights.push(Sight { marketplace: marketplace.clone(), at, found });
            } else if lookout.under_way.is_some() {
                let held = looking.clients.get(marketplace).map(|(_, client)| client.held_for()).unwrap_or_default();
                let refusal = if held.is_zero() {
                    let waited = Duration::from_secs(now.saturating_sub(asked.monotonic).as_secs());
                    Refusal::Unreachable(format!("no answer yet after {}", time::show(waited)))
                } else {
                    Refusal::Throttled { retry_after: Some(held) }
                };
                let found = Found::refused(*part, refusal);
                sights.push(Sight { marketplace: marketplace.clone(), at: wall, found });
            }
        }
        // Who could not tell an account's balance does not undo that another could.
        sights.sort_by_key(|sight| !sight.found.failed());
        sights
    }
}

impl Lookout {
    /// Whether somebody else comes first where it fails: the marketplace's wish to be left alone, and a write that waits for
    /// the end of that, if the newest write is longer ago than the newest look.
    fn gives_way(&self, looking: &Looking<'_>, name: &MarketplaceName, client: &Client) -> bool {
        let looked_last = self.asked_at.is_some_and(|asked| asked.monotonic >= client.wrote_at());
        let is_held = client.held_for() > looking.clock.of_real(FAILING_TIME_MAX);
        self.failures > 0 && (is_held || (looked_last && looking.kept_waiting.contains(name)))
    }

    /// Whether it is asked now: not while it backs off, unless the next tick would come too late for a minute between.
    fn is_due(&self, now: Duration, scan_interval: Duration) -> bool {
        let Some(asked) = self.asked_at else { return true };
        let next_tick = now.saturating_add(scan_interval - scan_interval / 8);
        self.failures < FAILURES_BEFORE_BACKOFF
            || now >= self.next
            || next_tick > asked.monotonic.saturating_add(BACKOFF_MAX)
    }
}

/// How long after it was asked one that failed so often in a row is asked again. The jitter comes from the name: the same
/// in every run, and another for each marketplace.
fn backoff(marketplace: &MarketplaceName, failures: u32, scan_interval: Duration) -> Duration {
    if failures < FAILURES_BEFORE_BACKOFF {
        return scan_interval.min(BACKOFF_MAX);
    }
    let step = scan_interval.saturating_mul(1 << (failures - 1).min(16)).min(BACKOFF_MAX);
    let mix = |seed: u64, part: u64| (seed ^ part).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    let seed = marketplace.as_str().bytes().map(u64::from).fold(u64::from(failures), mix);
    let [least, most] = JITTER_PPM;
    let share_ppm = least + seed % (most - least);
    let micros = u64::try_from(step.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(micros / 1_000 * share_ppm / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn who_fails_is_asked_less_and_less_often_and_never_more_than_a_minute_apart() {
        let name: MarketplaceName = "tensordock".parse().unwrap();
        for scan_s in [1, 2, 5, 30, 45, 60, 300] {
            let scan = seconds(scan_s);
            let waits: Vec<Duration> = (1..40).map(|failures| backoff(&name, failures, scan)).collect();
            assert_eq!(waits[0], scan.min(BACKOFF_MAX));
            assert!(waits.iter().all(|wait| *wait <= BACKOFF_MAX), "{waits:?}");
            for (failures, wait) in (1..).zip(&waits).skip(1) {
                let step = scan.saturating_mul(1 << (failures - 1).min(16)).min(BACKOFF_MAX);
                assert!(*wait >= step * 7 / 10 && *wait < step * 95 / 100, "{failures}: {wait:?} of {step:?}");
            }
        }
        let other: MarketplaceName = "vectordash".parse().unwrap();
        assert_ne!(backoff(&name, 3, seconds(1)), backoff(&other, 3, seconds(1)));
    }

    /// When one that always fails is asked, by ticks that come a little late.
    fn asked(scan_s: u64, ticks: u32) -> Vec<u64> {
        let (name, scan) = ("tensordock".parse().unwrap(), seconds(scan_s));
        let mut lookout = Lookout::default();
        let mut told = Vec::new();
        for tick in 0..ticks {
            let now = (scan + Duration::from_millis(3)) * tick;
            if lookout.is_due(now, scan) {
                told.push(now.as_secs());
                lookout.failures += 1;
                lookout.asked_at = Some(Asked { monotonic: now, wall: Timestamp::UNIX_EPOCH, look: 0 });
                lookout.next = now + backoff(&name, lookout.failures, scan);
            }
        }
        told
    }

    #[test]
    fn of_the_default_scans_one_is_skipped_and_of_quick_ones_more_and_more() {
        assert_eq!(asked(30, 9), [0, 30, 90, 150, 210]);
        let quick = asked(1, 400);
        assert_eq!(quick[..4], [0, 1, 3, 6]);
        assert!(quick.len() < 15, "{quick:?}");
        for scan_s in [1, 5, 20, 25, 30, 40, 45, 59, 60, 90] {
            let apart = asked(scan_s, 200).windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            assert!(apart <= 62.max(scan_s + 1), "{apart} s apart with a scan each {scan_s} s");
        }
    }
}
