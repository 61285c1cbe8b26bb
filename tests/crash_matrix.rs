//! The power goes at steps of small stories, and nothing is doubled, lost or touched that is somebody else's.
//!
//! What runs here is a fixed part of the matrix; all of it is `spotscale simulate --crashes`.

#![allow(clippy::unwrap_used)] // tests may fail

use spotscale::sim::{crashes::Matrix, seed::Seed};
use std::{collections::BTreeSet, num::NonZeroUsize, thread};

/// One case of so many is played, beside one of each way in which each kind of step goes wrong.
const ONE_IN: NonZeroUsize = NonZeroUsize::new(60).unwrap();

/// Every kind of record that is about a VM or about what is in force.
const RECORDS: [&str; 31] = [
    "abandoned",
    "adopted",
    "delete_in_doubt",
    "delete_intended",
    "delete_settled",
    "deploy_in_doubt",
    "deploy_intended",
    "deploy_refused",
    "deployed",
    "evacuating",
    "gone",
    "late",
    "limits_in_force",
    "paused",
    "policy_gone",
    "policy_in_force",
    "protected",
    "rebid_in_doubt",
    "rebid_intended",
    "rebid_settled",
    "resumed",
    "standing",
    "start_in_doubt",
    "start_intended",
    "start_settled",
    "stop_in_doubt",
    "stop_intended",
    "stop_settled",
    "stray_adopted",
    "stray_delete_intended",
    "stray_delete_settled",
];

/// Every request that the daemon sends by itself.
const REQUESTS: [&str; 19] = [
    "tensordock-v0 balance",
    "tensordock-v0 deploy",
    "tensordock-v0 hostnodes",
    "tensordock-v0 instance",
    "tensordock-v0 instances",
    "tensordock-v0 rebid",
    "tensordock-v0 start",
    "tensordock-v0 stop",
    "tensordock-v0 terminate",
    "tensordock-v0 validate",
    "tensordock-v2 deploy",
    "tensordock-v2 hostnode",
    "tensordock-v2 hostnodes",
    "tensordock-v2 instance",
    "tensordock-v2 instances",
    "tensordock-v2 terminate",
    "vectordash deploy",
    "vectordash hostnodes",
    "vectordash terminate",
];

#[test]
fn a_fixed_part_of_the_crash_matrix_holds_and_meets_every_kind_of_step() {
    let matrix = Matrix::of(Seed(1)).unwrap_or_else(|why| panic!("{why}"));
    let part = matrix.part(ONE_IN);
    println!("seed {}, {} of {} cases", matrix.seed.0, part.len(), matrix.cases.len());
    let met = part.iter().flat_map(|case| {
        let what = &matrix.cases[*case].damage.what;
        what.split(' ').map(str::to_owned).chain([what.clone()])
    });
    let met: BTreeSet<String> = met.collect();
    let missing: Vec<_> = RECORDS.iter().chain(&REQUESTS).filter(|kind| !met.contains(**kind)).collect();
    assert!(missing.is_empty(), "no case is cut at {missing:?}");

    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let outcomes = matrix.play(&part, threads, &|| ()).unwrap();
    assert_eq!(outcomes.len(), part.len());
    let failed = outcomes.iter().filter_map(|outcome| Some((outcome.case, outcome.verdict.as_ref().err()?)));
    let failed: Vec<_> = failed.collect();
    for (case, why) in &failed {
        println!("{}: {why}", matrix.cases[*case].name);
    }
    if let Some((first, _)) = failed.first() {
        panic!("{} failed; the first:\n{}", failed.len(), matrix.tell(*first).join("\n"));
    }
}
