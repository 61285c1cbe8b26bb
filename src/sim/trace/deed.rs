//! What a player did to a market, action by action: one line of JSON each, so that anybody can play it again.
//!
//! VMs are numbered by the player who writes the log, from 0 on, in the order of their launch.

use crate::model::HourlyRate;
use std::fmt;

/// One thing that a player did and the market took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Launched a spot VM.
    Spot {
        /// In which step.
        k: usize,
        /// The VM.
        id: u64,
        /// The index of its pool.
        pool: usize,
        /// Per VM-hour.
        bid: HourlyRate,
    },
    /// Launched an on-demand VM.
    OnDemand {
        /// In which step.
        k: usize,
        /// The VM.
        id: u64,
    },
    /// Ended a VM that was alive.
    Kill {
        /// In which step.
        k: usize,
        /// The VM.
        id: u64,
    },
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spot { k, id, pool, bid } => {
                write!(f, r#"{{"k":{k},"op":"spot","id":{id},"pool":{pool},"bid":{bid}}}"#)
            }
            Self::OnDemand { k, id } => write!(f, r#"{{"k":{k},"op":"on_demand","id":{id}}}"#),
            Self::Kill { k, id } => write!(f, r#"{{"k":{k},"op":"kill","id":{id}}}"#),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deed_is_told_as_the_rules_have_it() {
        let bid = HourlyRate::from_micros(80_000);
        let deeds =
            [Deed::Spot { k: 17, id: 3, pool: 1, bid }, Deed::OnDemand { k: 17, id: 4 }, Deed::Kill { k: 40, id: 3 }];
        let told: Vec<serde_json::Value> =
            deeds.iter().map(|deed| serde_json::from_str(&deed.to_string()).unwrap()).collect();
        let expected = [
            serde_json::json!({"k": 17, "op": "spot", "id": 3, "pool": 1, "bid": 0.08}),
            serde_json::json!({"k": 17, "op": "on_demand", "id": 4}),
            serde_json::json!({"k": 40, "op": "kill", "id": 3}),
        ];
        assert_eq!(told, expected);
    }
}
