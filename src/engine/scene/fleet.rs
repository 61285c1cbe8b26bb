//! What the memory comes to, as trees: fleets and their members, what was spent, what was learned of hostnodes.

use super::tree::{Tree, Unread, field, object, records, tagged, unknown, variant, words};
use crate::ledger::{
    Fleet, HostMemory, Intent, Member, Missing, Spent, Standing,
    fleet::{Attempts, DeleteAnswer, DeleteAttempt, Late, Reserved, Stray},
};
use serde_json::Value;

words!(Standing);

records! {
    Fleet { members, strays, reserved, late }
    Member {
        name, fleet, marketplace, account, id, hostnode, location, shape, price_type, bid, agreed, on_demand, quoted,
        standing, since, intended_at, running_since, replaces, write_in_doubt, rebid_accepted_at, attempts, protected,
        address, ports, available_until, why,
    }
    Attempts { delete, stop_refused, start, stop, rebid_refused }
    DeleteAttempt { at, reason, answer }
    Stray { marketplace, account, instance }
    Reserved { name, account, marketplace, rate, intended_at, until }
    Late { name, marketplace, account, id, gpus, rate, delete }
    HostMemory { cooldown_until, quarantined, uptime_ppm }
    Spent { day, month, until }
    Intent {
        name, fleet, marketplace, account, hostnode, location, shape, price_type, bid, agreed, on_demand, image, ports,
        replaces, why,
    }
}

impl Tree for DeleteAnswer {
    fn tree(&self) -> Value {
        match self {
            Self::Acked => Value::from("acked"),
            Self::InDoubt => Value::from("in_doubt"),
            Self::Refused(times) => tagged("refused", times.tree()),
        }
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        match variant(tree)? {
            ("acked", _) => Ok(Self::Acked),
            ("in_doubt", _) => Ok(Self::InDoubt),
            ("refused", times) => u32::read(times).map(Self::Refused),
            (tag, _) => unknown(tag),
        }
    }
}

impl Tree for Missing {
    fn tree(&self) -> Value {
        let (spans, on_demand) = self.told();
        object([("spans", spans.tree()), ("on_demand", on_demand.tree())])
    }

    fn read(tree: &Value) -> Result<Self, Unread> {
        Ok(Self::of_told(field(tree, "spans")?, field(tree, "on_demand")?))
    }
}
