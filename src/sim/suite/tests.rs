//! What the peers do on markets that fit on a sheet of paper, and what every one of them does on any market.

use super::*;
use crate::sim::{
    bound,
    trace::{
        Action, Billing, Market, Metrics, Rules, Run, Tally, Witness,
        grid::tests::market,
        log::{self, Log},
        run::play_before,
    },
};
use proptest::prelude::*;
use std::sync::Arc;

/// What was done, step by step: `spot POOL BID`, `od`, `kill VM`.
#[derive(Default)]
struct Told(Vec<String>);

impl Witness for Told {
    fn ended(&mut self, _: usize, run: &Run) {
        let told = run.actions().iter().map(|action| match action {
            Action::Spot { pool, bid, .. } => format!("spot {pool} {bid}"),
            Action::OnDemand { .. } => "od".to_owned(),
            Action::Kill { vm } => format!("kill {}", vm.0),
        });
        self.0.push(told.collect::<Vec<_>>().join(" "));
    }
}

#[track_caller]
fn check_play(peer: Peer, market: Market, billing: Billing, expected: &str) {
    let mut told = Told::default();
    let tally = play_before(Arc::new(market), Rules::of(billing), peer.policy().as_mut(), &mut told);
    let trimmed =
        |text: &str| text.trim_end_matches([' ', '|']).split('|').map(str::trim).collect::<Vec<_>>().join(" | ");
    assert_eq!(trimmed(&told.0.join(" | ")), trimmed(expected), "{peer}");
    assert_eq!(tally.failed, 0, "nothing is tried that is refused");
}

/// Two GPUs are wanted and the bid is paid; the market is written as for `market`.
#[track_caller]
pub(super) fn check(peer: Peer, pools: &str, prices: &str, rooms: Option<&str>, expected: &str) {
    check_target(2, peer, pools, prices, rooms, expected);
}

/// The same for another target.
#[track_caller]
pub(super) fn check_target(
    target_gpus: u32,
    peer: Peer,
    pools: &str,
    prices: &str,
    rooms: Option<&str>,
    expected: &str,
) {
    check_play(peer, market(target_gpus, pools, prices, rooms), Billing::Bid, expected);
}

/// Two GPUs are wanted and the market's price is paid.
#[track_caller]
pub(super) fn check_market(peer: Peer, pools: &str, prices: &str, rooms: Option<&str>, expected: &str) {
    check_play(peer, market(2, pools, prices, rooms), Billing::Market, expected);
}

/// Steps of every market that is drawn.
const STEPS: usize = 12;
/// By pool and step: a price in hundredths, and a room.
type Course = [Vec<(u8, u8)>; 3];

fn courses() -> impl Strategy<Value = Course> {
    let course = || proptest::collection::vec((1u8..130, 0u8..4), STEPS);
    [course(), course(), course()]
}

/// Target, VM sizes, whether rooms are limited, and who pays what.
fn terms() -> impl Strategy<Value = (u32, [u32; 3], bool, Billing)> {
    let billing = prop_oneof![Just(Billing::Bid), Just(Billing::Market)];
    (1u32..6, [1u32..4, 1u32..4, 1u32..4], any::<bool>(), billing)
}

fn drawn((target_gpus, sizes, is_limited, _): (u32, [u32; 3], bool, Billing), course: &Course) -> Arc<Market> {
    let all = |show: fn(&(u8, u8)) -> String| {
        let one = |pool: &Vec<(u8, u8)>| pool.iter().map(show).collect::<Vec<_>>().join(" ");
        course.iter().map(one).collect::<Vec<_>>().join("|")
    };
    let prices = all(|(price, _)| format!("{}.{:02}", price / 100, price % 100));
    let rooms = all(|(_, room)| room.to_string());
    let sizes = sizes.map(|size| format!("{size}.00x{size}")).join(" ");
    Arc::new(market(target_gpus, &sizes, &prices, is_limited.then_some(rooms.as_str())))
}

proptest! {
    #[test]
    fn the_log_of_every_peer_is_valid_and_gives_the_very_same_figures(terms in terms(), course in courses()) {
        let market = drawn(terms, &course);
        let rules = Rules::of(terms.3);
        for peer in Peer::ALL {
            let mut log = Log::default();
            let tally = play_before(market.clone(), rules, peer.policy().as_mut(), &mut log);
            let verified = log::verify(market.clone(), rules, log.text());
            let figures = |tally: &Tally| Metrics::new(&market, tally, Some(1.0));
            prop_assert_eq!(verified.as_ref().map(figures), Ok(figures(&tally)), "{}", peer);
        }
    }

    #[test]
    fn no_peer_holds_more_than_the_target_twice_and_a_surplus(terms in terms(), course in courses()) {
        /// Spot and on demand may each be the target while one replaces the other; who hedges has a fifth more on spot.
        struct Bounded(u32);
        impl Witness for Bounded {
            fn ended(&mut self, k: usize, run: &Run) {
                let alive: u32 = run.vms().map(|vm| vm.gpus).sum();
                assert!(alive <= self.0, "{alive} GPUs at step {k}");
            }
        }
        let most = 2 * terms.0 + terms.0.div_ceil(5);
        for peer in Peer::ALL {
            play_before(drawn(terms, &course), Rules::of(terms.3), peer.policy().as_mut(), &mut Bounded(most));
        }
    }

    #[test]
    fn no_peer_beats_the_bound(terms in terms(), course in courses()) {
        let (market, rules) = (drawn(terms, &course), Rules::of(terms.3));
        let bound = bound::of(&market, rules).unwrap().penalised.to_f64();
        for peer in Peer::ALL {
            let tally = play_before(market.clone(), rules, peer.policy().as_mut(), &mut ());
            let penalised = Metrics::new(&market, &tally, None).penalised;
            // Both are sums of the same prices, one of them in floating point.
            prop_assert!(penalised >= bound - 1e-6, "{peer}: {penalised} is less than {bound}");
        }
    }

    #[test]
    fn no_peer_decides_by_a_later_step(
        terms in terms(), course in courses(), other in courses(), cut in 1..STEPS,
    ) {
        // Two markets that part ways at one step.
        let mut changed = course.clone();
        for (pool, other) in changed.iter_mut().zip(other) {
            pool.truncate(cut);
            pool.extend(&other[cut..]);
        }
        for peer in Peer::ALL {
            let told = |course: &Course| {
                let mut told = Told::default();
                play_before(drawn(terms, course), Rules::of(terms.3), peer.policy().as_mut(), &mut told);
                told.0[..cut].to_vec()
            };
            prop_assert_eq!(told(&course), told(&changed), "{}", peer);
        }
    }
}
