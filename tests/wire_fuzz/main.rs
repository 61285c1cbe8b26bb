//! Arbitrary and mutated answers into every reader, arbitrary requests into every fake.
//!
//! ```text
//! fixtures, live answers --bend--> every reader of every exchange     nothing panics, nothing absurd is let in
//!                        --bend--> client -> every write              done means that an id came; no secret is told
//! raw calls, nonsense   ---------> every fake                        an answer, bounded; the world's books balance
//! ```
//!
//! Cases are few enough for every run (`bend` says which bends there are); a seed that found something is kept beside this
//! file, in `regressions`, and tried first. That no body is read beyond its bound is shown on a real socket in `socket`,
//! and for a length that is announced in `io::http`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod answers;
mod bend;
#[path = "../conformance/exchanges.rs"]
mod exchanges;
#[path = "../conformance/json.rs"]
mod json;
mod own;
mod requests;
#[path = "../conformance/sane.rs"]
mod sane;
mod socket;
#[path = "../conformance/stand.rs"]
#[allow(dead_code, reason = "the suite uses all of it")]
mod stand;

use proptest::test_runner::{Config, FileFailurePersistence};

/// So many cases, and the seeds that found something tried first.
fn cases(cases: u32) -> Config {
    let kept = Box::new(FileFailurePersistence::Direct("tests/wire_fuzz/regressions"));
    Config { cases, failure_persistence: Some(kept), ..Config::default() }
}
