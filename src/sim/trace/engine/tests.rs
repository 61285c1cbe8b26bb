//! Small markets, and what our engine does on them.

use super::{
    super::{
        Run, Tally, VmId, Witness,
        log::{Log, verify},
        run::{Action, Billing, play_before},
    },
    *,
};
use crate::sim::trace::grid::tests as grid;
use proptest::prelude::*;

/// A market in steps of five minutes, described as the grid's tests do.
pub(in crate::sim::trace) fn market(target: u32, pools: &str, prices: &str, capacities: Option<&str>) -> Market {
    let mut market = grid::market(target, pools, prices, capacities);
    market.dt_s = 300;
    market
}

/// Somebody who notes what is done.
#[derive(Default)]
struct Notes {
    log: Log,
    /// What is done in which step: `k spot pool`, `k on demand` or `k kill id`.
    told: Vec<String>,
    gpus: BTreeMap<VmId, u32>,
    /// The most GPUs there ever were.
    gpus_most: u32,
}

impl Witness for Notes {
    fn ended(&mut self, k: usize, run: &Run) {
        self.log.ended(k, run);
        self.gpus.retain(|id, _| !run.outbid().contains(id));
        for action in run.actions() {
            let (told, launched) = match *action {
                Action::Spot { vm, pool, .. } => (format!("{k} spot {pool}"), Some((vm, pool))),
                Action::OnDemand { vm } => (format!("{k} on demand"), Some((vm, run.market().on_demand_pool()))),
                Action::Kill { vm } => {
                    self.gpus.remove(&vm);
                    (format!("{k} kill {}", vm.0), None)
                }
            };
            self.told.push(told);
            self.gpus.extend(launched.map(|(vm, pool)| (vm, run.market().pools()[pool].gpu_count)));
            self.gpus_most = self.gpus_most.max(self.gpus.values().sum());
        }
    }
}

/// Plays a policy, or the built-in one.
fn noted(market: &Arc<Market>, rules: Rules, policy: Option<&Source>) -> (Tally, Notes) {
    let (mut ours, mut notes) = (Ours::on(market, rules, policy, "0.999".parse().unwrap()).unwrap(), Notes::default());
    let tally = play_before(Arc::clone(market), rules, &mut ours, &mut notes);
    assert_eq!(ours.failed(), None);
    (tally, notes)
}

/// What the built-in policy does.
fn told(market: &Arc<Market>) -> Vec<String> {
    noted(market, Rules::of(Billing::Bid), None).1.told
}

#[test]
fn the_cheapest_pool_is_bid_on_at_once_and_kept() {
    let market = Arc::new(market(2, "1x1 1x1", "0.3 0.3 0.3 0.3|0.2 0.2 0.2 0.2", None));
    assert_eq!(told(&market), ["0 spot 1", "0 spot 1"]);
    let (tally, notes) = noted(&market, Rules::of(Billing::Bid), None);
    let first = r#"{"k":0,"op":"spot","id":0,"pool":1,"bid":0.21}"#;
    assert_eq!(notes.log.text().lines().next(), Some(first));
    assert_eq!((tally.preemptions, tally.failed, tally.launches, tally.at_target), (0, 0, 2, 2));
}

#[test]
fn what_is_outbid_is_replaced_in_the_same_step_elsewhere_or_on_demand() {
    let spike = Arc::new(market(1, "1x1 1x1", "0.2 0.2 3 3|0.4 0.4 0.4 0.4", None));
    assert_eq!(told(&spike), ["0 spot 0", "2 spot 1"]);
    let both = Arc::new(market(1, "2x1 1x1", "0.2 0.2 3 3|0.4 3 3 3", None));
    assert_eq!(told(&both), ["0 spot 0", "2 on demand"]);
}

#[test]
fn on_demand_goes_back_to_spot_once_the_replacement_runs() {
    let back = Arc::new(market(1, "1x1", "3 3 0.2 0.2 0.2 0.2", None));
    assert_eq!(told(&back), ["0 on demand", "2 spot 0", "4 kill 0"]);
}

#[test]
fn a_pool_that_is_full_is_filled_up_and_the_rest_is_on_demand() {
    let small = Arc::new(market(4, "1x1", "0.2 0.2 0.2 0.2 0.2", Some("2 2 2 3 3")));
    let log = told(&small);
    assert_eq!(log[..4], ["0 spot 0", "0 spot 0", "0 on demand", "0 on demand"]);
    let (tally, _) = noted(&small, Rules::of(Billing::Bid), None);
    assert_eq!((tally.failed, tally.at_target), (0, 3));
}

#[test]
fn a_vm_that_is_larger_than_the_target_is_never_launched() {
    let large = Arc::new(market(4, "8x8 2x1", "0.1 0.1|0.3 0.3", None));
    assert_eq!(told(&large), ["0 spot 1"; 4]);
    // Per GPU on demand is cheapest in VMs of eight: where that is too much, nothing is had on demand.
    let dear = Arc::new(market(4, "8x8 2x1", "0.1 0.1|3 3", None));
    assert_eq!(told(&dear), Vec::<String>::new());
}

#[test]
fn any_name_of_a_model_will_do() {
    for name in ["K520", "none", "V100", "A100-40GB", "h100", "GPU", "?!", "H100-SXM", "a100-trace", "T4", "", "4090"] {
        let mut field = Field {
            pools: market(1, "1x1 2x1", "0.2|0.3", None).pools().to_vec(),
            on_demand_pool: 0,
            target_gpus: 1,
            rules: Rules::of(Billing::Bid),
            dt_s: 300,
            t0_s: 0,
        };
        field.pools[0].gpu_model = name.to_owned();
        let ours = Ours::new(field, None, "0.99".parse().unwrap());
        assert!(ours.is_ok(), "{name}: {:?}", ours.err());
    }
}

#[test]
fn a_policy_of_ones_own_is_held_to_its_faults_and_played() {
    let market = Arc::new(market(2, "1x1", "0.2 0.2 0.2", None));
    let source = |text: &str| policy::gather("own.toml", text, &mut |path| Err(format!("no file {path}")));
    let faulty =
        Ours::on(&market, Rules::of(Billing::Bid), Some(&source("fleet = \"own\"\n")), "0.99".parse().unwrap());
    let Err(Unfit::Policy(faults)) = faulty.map(|_| ()) else { panic!("it has faults") };
    assert!(faults.iter().any(|fault| fault.to_string().contains("own.toml")), "{faults:?}");
    let model = terms::model(&market.pools()[0]).unwrap();
    let one = format!(
        "fleet = \"own\"\ntarget_gpus = 1\nmax_hourly_rate = 0.2\nbalance_floor = 0\nmodels = [\"{model}\"]\n\
         [spot]\nbid = \"market\"\nmargin = 0\n"
    );
    let (_, notes) = noted(&market, Rules::of(Billing::Bid), Some(&source(&one)));
    assert_eq!(notes.log.text(), "{\"k\":0,\"op\":\"spot\",\"id\":0,\"pool\":0,\"bid\":0.20}\n");
}

/// Steps as prices in tenths, and capacities, of two pools.
type Steps = Vec<([u32; 2], [u32; 2])>;

fn made(target: u32, sizes: [u32; 2], steps: &Steps) -> Arc<Market> {
    let row = |at: usize| {
        let word = |(prices, _): &([u32; 2], [u32; 2])| format!("0.{}", prices[at]);
        steps.iter().map(word).collect::<Vec<_>>().join(" ")
    };
    let room = |at: usize| steps.iter().map(|(_, room)| room[at].to_string()).collect::<Vec<_>>().join(" ");
    let pools = format!("0.7x{} 0.8x{}", sizes[0], sizes[1]);
    let (prices, rooms) = (format!("{}|{}", row(0), row(1)), format!("{}|{}", room(0), room(1)));
    Arc::new(market(target, &pools, &prices, Some(&rooms)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// On any small market: what was done is valid when it is played again, at the same cost; no bid is above its cap; there
    /// are never more GPUs than the target and one VM of surge; and a play is the same every time.
    #[test]
    fn what_was_done_can_be_done_again_and_keeps_to_the_limits(
        target in 1_u32..5,
        sizes in [1_u32..3, 1_u32..3],
        steps in proptest::collection::vec(([1_u32..10, 1_u32..10], [0_u32..4, 0_u32..4]), 1..12),
        market_billing in any::<bool>(),
    ) {
        let market = made(target, sizes, &steps);
        let rules = Rules::of(if market_billing { Billing::Market } else { Billing::Bid });
        let (tally, notes) = noted(&market, rules, None);
        let largest = sizes.into_iter().filter(|size| *size <= target).max().unwrap_or(0);
        prop_assert!(notes.gpus_most <= target + largest, "{} GPUs", notes.gpus_most);
        let again = verify(Arc::clone(&market), rules, notes.log.text());
        prop_assert_eq!(again, Ok(Tally { failed: 0, ..tally }));
        prop_assert_eq!(noted(&market, rules, None).1.log, notes.log);
    }

    /// Two markets that are alike up to a step are played alike up to that step: nothing later is known.
    #[test]
    fn no_later_step_is_known(
        past in proptest::collection::vec(([1_u32..10, 1_u32..10], [0_u32..4, 0_u32..4]), 1..8),
        futures in [
            proptest::collection::vec(([1_u32..10, 1_u32..10], [0_u32..4, 0_u32..4]), 1..4),
            proptest::collection::vec(([1_u32..10, 1_u32..10], [0_u32..4, 0_u32..4]), 1..4),
        ],
    ) {
        let [one, other] = futures.map(|future| {
            let market = made(2, [1, 1], &[past.clone(), future].concat());
            let log = noted(&market, Rules::of(Billing::Bid), None).1.log;
            let lines = log.text().lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            lines.filter(|line| line["k"].as_u64() < Some(past.len() as u64)).collect::<Vec<_>>()
        });
        prop_assert_eq!(one, other);
    }
}
