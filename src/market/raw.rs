//! Every call of an API by the vendor's own names, for whoever wants exactly that call: `spotscale api`.
//!
//! A dialect says the verbs that the engine needs; its API has more. A [`RawCall`] names one, its fields as the vendor
//! spells them and what is at stake, and [`RawCall::placed`] puts values where they belong. Values are not looked into:
//! the vendor judges them. Credentials are no fields: the dialect adds its own.

use crate::io::net::Method;
use serde_json::Value;
use std::fmt::Write as _;

/// What a call may do, as far as somebody should be asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stakes {
    /// It only reads.
    Nothing,
    /// Money: more may be billed afterwards.
    Money,
    /// Something is ended that cannot be had back as it was.
    Loss,
}

/// Whether a field may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It may not.
    Needed,
    /// It may.
    Optional,
}

/// A field of a call.
#[derive(Clone, Copy, Debug)]
pub struct RawField {
    /// As the vendor spells it.
    pub name: &'static str,
    /// Whether it may be left out.
    pub need: Need,
    /// What it means, its unit included.
    pub about: &'static str,
}

/// One call of an API.
#[derive(Clone, Copy, Debug)]
pub struct RawCall {
    /// What it is called here.
    pub name: &'static str,
    /// How it is sent.
    pub method: Method,
    /// Where to; `{field}` stands for a field's value.
    pub path: &'static str,
    /// What it is at risk of.
    pub stakes: Stakes,
    /// What it does, one line.
    pub about: &'static str,
    /// All its fields.
    pub fields: &'static [RawField],
}

/// A call with its values where an API that takes JSON wants them.
#[derive(Clone, Debug, PartialEq)]
pub struct InJson {
    /// With the values that belong there.
    pub path: String,
    /// The other values, of what is got or deleted.
    pub query: Vec<(String, String)>,
    /// The other values, of what is not.
    pub body: Option<Value>,
}

impl RawCall {
    /// The path with its fields' values in it, and the fields that are left; `None` when a value could change the meaning
    /// of the path, or one of the path's is missing.
    pub fn placed<'f>(&self, fields: &'f [(String, String)]) -> Option<(String, Vec<&'f (String, String)>)> {
        let mut path = self.path.to_owned();
        let mut left = Vec::new();
        for field in fields {
            let place = format!("{{{}}}", field.0);
            if !path.contains(&place) {
                left.push(field);
            } else if is_plain(&field.1) {
                path = path.replace(&place, &field.1);
            } else {
                return None;
            }
        }
        (!path.contains('{')).then_some((path, left))
    }

    /// Likewise for an API that takes JSON.
    pub fn placed_in_json(&self, fields: &[(String, String)]) -> Option<InJson> {
        let (path, left) = self.placed(fields)?;
        let left = left.into_iter().cloned();
        Some(match self.method {
            Method::Get | Method::Delete => InJson { path, query: left.collect(), body: None },
            Method::Post | Method::Put => {
                let body = left.map(|(name, value)| (name, value.into())).collect();
                InJson { path, query: Vec::new(), body: Some(Value::Object(body)) }
            }
        })
    }
}

/// An id within a path: one that is not plain, from wherever it came, stays one segment.
pub fn escaped(id: &str) -> String {
    if is_plain(id) {
        return id.to_owned();
    }
    id.bytes().fold(String::from("_"), |mut path, byte| {
        // The escape of an escape: some URL parsers take `%2e%2e` for the folder above.
        let _ = write!(path, "%25{byte:02X}");
        path
    })
}

/// Whether a text may stand in a path without changing its meaning.
pub fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(id: &[(&str, &str)], expected: Option<(&str, usize)>) {
        const ID: RawField = RawField { name: "id", need: Need::Needed, about: "" };
        let call = RawCall {
            name: "look",
            method: Method::Get,
            path: "/things/{id}/parts",
            stakes: Stakes::Nothing,
            about: "",
            fields: &[ID],
        };
        let fields: Vec<(String, String)> = id.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let placed = call.placed(&fields);
        assert_eq!(placed.as_ref().map(|(path, left)| (path.as_str(), left.len())), expected);
    }

    #[test]
    fn a_value_in_a_path_cannot_lead_elsewhere() {
        check(&[("id", "02c6-d_45"), ("since", "a/b")], Some(("/things/02c6-d_45/parts", 1)));
        for wrong in ["", "..", "a/b", "a?b", "%2e", "{id}"] {
            check(&[("id", wrong)], None);
        }
        check(&[], None);
    }
}
