//! The memory: what we meant, what came of it, and what it counts as.
//!
//! The journal is the record, the ledger its fold in memory, and a fleet is the ledger joined with an inventory. Nothing
//! here decides anything: a member whose machine has vanished is `Lost` here, and `plan` says what follows.

pub mod fleet;

pub use fleet::{Member, Standing};
