//! What changed between two trees of JSON, as a tree of its own.
//!
//! | delta | means |
//! |---|---|
//! | `[v]` | it is `v` now |
//! | `0` | it is gone (a field of an object) |
//! | `{"a": d, …}` | an object of which these fields changed |
//! | `[0, [op, …]]` | a list, made from the old one in order |
//!
//! An `op` is a number (so many items stay, or below zero are left out), `{"~": d}` (the next item, changed) or `{"+":
//! [v, …]}` (new ones); what is left at the end is gone. Items that have an `id` are known by it, so that a machine whose
//! price moved costs its price and not the machine.
//!
//! **Invariant:** `apply(old, between(old, new)) == new` for any two trees.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};

/// The field by which an item of a list is known.
const ID: &str = "id";

/// What makes `new` of `old`; `None` where they are equal.
pub(super) fn between(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    Some(match (old, new) {
        (Value::Object(old), Value::Object(new)) => fields(old, new),
        (Value::Array(old), Value::Array(new)) => items(old, new),
        (_, new) => json!([new]),
    })
}

fn fields(old: &Map<String, Value>, new: &Map<String, Value>) -> Value {
    let gone = old.keys().filter(|name| !new.contains_key(*name)).map(|name| (name.clone(), Value::from(0)));
    let changed = new.iter().filter_map(|(name, value)| {
        let delta = old.get(name).map_or_else(|| Some(json!([value])), |old| between(old, value))?;
        Some((name.clone(), delta))
    });
    Value::Object(gone.chain(changed).collect())
}

/// What an item is known by: its id, else all of it.
fn identity(item: &Value) -> String {
    item.get(ID).map_or_else(|| item.to_string(), Value::to_string)
}

fn items(old: &[Value], new: &[Value]) -> Value {
    let mut places: BTreeMap<String, VecDeque<usize>> = BTreeMap::new();
    for (place, item) in old.iter().enumerate() {
        places.entry(identity(item)).or_default().push_back(place);
    }
    let (mut next, mut kept, mut script) = (0, 0, Script::default());
    for item in new {
        let there = places.get_mut(&identity(item));
        let place = there.and_then(|places| {
            // What was passed over cannot come again: the script only goes forward.
            while places.front().is_some_and(|place| *place < next) {
                places.pop_front();
            }
            places.pop_front()
        });
        match place.and_then(|place| Some((place, old.get(place)?))) {
            Some((place, before)) => {
                script.step(-signed(place - next));
                match between(before, item) {
                    None => script.step(1),
                    Some(delta) => script.op(json!({ "~": delta })),
                }
                (next, kept) = (place + 1, kept + 1);
            }
            None => script.insert(item.clone()),
        }
    }
    if kept == 0 { json!([new]) } else { json!([0, script.done()]) }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The ops of a list as they grow, runs of one kind together.
#[derive(Default)]
struct Script {
    ops: Vec<Value>,
    run: i64,
    new: Vec<Value>,
}

impl Script {
    fn flush(&mut self) {
        if self.run != 0 {
            self.ops.push(Value::from(std::mem::take(&mut self.run)));
        }
        if !self.new.is_empty() {
            self.ops.push(json!({ "+": std::mem::take(&mut self.new) }));
        }
    }

    fn step(&mut self, count: i64) {
        if count == 0 {
            return;
        }
        if self.run.signum() != count.signum() || !self.new.is_empty() {
            self.flush();
        }
        self.run += count;
    }

    fn insert(&mut self, item: Value) {
        if self.run != 0 {
            self.flush();
        }
        self.new.push(item);
    }

    fn op(&mut self, op: Value) {
        self.flush();
        self.ops.push(op);
    }

    fn done(mut self) -> Vec<Value> {
        self.flush();
        self.ops
    }
}

/// Makes the new tree of the old one.
///
/// # Errors
/// One line, where this is no delta of that tree.
pub(super) fn apply(old: &mut Value, delta: &Value) -> Result<(), String> {
    match (delta, old) {
        (Value::Array(parts), old) => match (parts.as_slice(), old) {
            ([value], old) => old.clone_from(value),
            ([Value::Number(_), Value::Array(ops)], Value::Array(items)) => {
                *items = rebuilt(std::mem::take(items), ops)?
            }
            _ => return Err("a list of changes that fits no list".to_owned()),
        },
        (Value::Object(changes), Value::Object(fields)) => {
            for (name, change) in changes {
                if change.is_number() {
                    fields.remove(name).ok_or_else(|| format!("there is no `{name}` to remove"))?;
                } else {
                    apply(fields.entry(name.clone()).or_insert(Value::Null), change)?;
                }
            }
        }
        (_, _) => return Err("changes of fields for what has none".to_owned()),
    }
    Ok(())
}

fn rebuilt(old: Vec<Value>, ops: &[Value]) -> Result<Vec<Value>, String> {
    let mut old = old.into_iter();
    let mut new = Vec::new();
    for op in ops {
        match op {
            Value::Number(_) => {
                let count = op.as_i64().unwrap_or(0);
                for _ in 0..count.unsigned_abs() {
                    let item = old.next().ok_or("a list is shorter than its changes say")?;
                    if count > 0 {
                        new.push(item);
                    }
                }
            }
            _ => match (op.get("~"), op.get("+")) {
                (Some(delta), _) => {
                    let mut item = old.next().ok_or("a list is shorter than its changes say")?;
                    apply(&mut item, delta)?;
                    new.push(item);
                }
                (None, Some(Value::Array(items))) => new.extend(items.iter().cloned()),
                (None, _) => return Err("a change of a list that nobody knows".to_owned()),
            },
        }
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(old: Value, new: Value, delta: Value) {
        assert_eq!(between(&old, &new), Some(delta.clone()));
        let mut made = old;
        apply(&mut made, &delta).unwrap();
        assert_eq!(made, new);
    }

    #[test]
    fn what_did_not_change_costs_nothing() {
        let tree = json!({"a": [1, {"id": "x", "b": null}]});
        assert_eq!(between(&tree, &tree), None);
        check(
            json!({"a": 1, "b": 2, "c": 3}),
            json!({"a": 1, "b": 4, "d": [5]}),
            json!({"b": [4], "c": 0, "d": [[5]]}),
        );
    }

    #[test]
    fn a_machine_whose_price_moved_costs_its_price() {
        let host = |id: &str, price: u32| json!({"id": id, "price": price, "ports": "20000-29999"});
        let old = json!([host("a", 1), host("b", 1), host("c", 1), host("d", 1)]);
        let new = json!([host("a", 1), host("b", 2), host("e", 1), host("d", 1)]);
        check(old, new, json!([0, [1, {"~": {"price": [2]}}, {"+": [host("e", 1)]}, -1, 1]]));
    }

    #[test]
    fn a_list_may_be_turned_around_emptied_or_become_something_else() {
        check(json!([1, 2, 3]), json!([3, 2, 1]), json!([0, [-2, 1, {"+": [2, 1]}]]));
        check(json!([1, 2]), json!([]), json!([[]]));
        check(json!([1, 2]), json!([7]), json!([[7]]));
        check(json!({"a": []}), json!({"a": {}}), json!({"a": [{}]}));
        check(json!([1, 1, 1]), json!([1]), json!([0, [1]]));
        check(json!(null), json!([0]), json!([[0]]));
    }

    #[test]
    fn a_delta_of_another_tree_is_refused() {
        for (old, delta) in [
            (json!(1), json!({"a": [1]})),
            (json!({}), json!({"a": 0})),
            (json!([1]), json!([0, [2]])),
            (json!({}), json!([0, [2]])),
            (json!([1]), json!([0, ["x"]])),
            (json!([1]), json!(7)),
        ] {
            assert!(apply(&mut old.clone(), &delta).is_err(), "{old} {delta}");
        }
    }

    fn trees() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0u8..4).prop_map(Value::from)];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map("id|[a-c]", inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_tree_is_made_of_any_other(old in trees(), new in trees()) {
            let mut made = old.clone();
            if let Some(delta) = between(&old, &new) {
                apply(&mut made, &delta).unwrap();
            }
            prop_assert_eq!(made, new);
        }
    }
}
