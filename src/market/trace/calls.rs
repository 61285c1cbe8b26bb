//! The calls of the market of rehearsals as requests: JSON for what is POSTed, and the token in the header `Authorization`.
//!
//! Ids become part of a path only when nothing in them could change its meaning.

use crate::{
    io::net::{Method, Request},
    market::{
        Order,
        raw::{InJson, RawCall, escaped},
    },
    model::{HourlyRate, InstanceId, offer::Bid},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Number, Value};
use std::{fmt, str::FromStr};

const VMS: &str = "/trace/v1/vms";

/// The requests, each with the token.
pub struct Calls {
    token: SecretString,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calls(***)")
    }
}

/// A price as a JSON number, to the last micro: it never passes through binary floating point.
pub(super) fn price(rate: HourlyRate) -> Value {
    Number::from_str(&rate.to_string()).map_or_else(|_| Value::from(rate.to_string()), Value::Number)
}

impl Calls {
    /// With this token.
    pub fn new(token: SecretString) -> Self {
        Self { token }
    }

    fn request(&self, method: Method, path: String, query: Vec<(String, String)>, body: Option<&Value>) -> Request {
        let mut headers = vec![("authorization".to_owned(), format!("Bearer {}", self.token.expose_secret()))];
        if body.is_some() {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        Request { method, path, query, headers, body }
    }

    fn get(&self, path: impl Into<String>) -> Request {
        self.request(Method::Get, path.into(), Vec::new(), None)
    }

    /// Whether the token is taken.
    pub fn whoami(&self) -> Request {
        self.get("/trace/v1/whoami")
    }

    /// What is left.
    pub fn account(&self) -> Request {
        self.get("/trace/v1/account")
    }

    /// What can be had.
    pub fn pools(&self) -> Request {
        self.get("/trace/v1/pools")
    }

    /// All VMs.
    pub fn vms(&self) -> Request {
        self.get(VMS)
    }

    /// One VM.
    pub fn vm(&self, id: &InstanceId) -> Request {
        self.get(format!("{VMS}/{}", escaped(id.as_str())))
    }

    /// Asks about a bid.
    pub fn validate(&self, bid: &Bid) -> Request {
        let body = serde_json::json!({"pool": bid.hostnode.as_str(), "bid_per_hr": price(bid.price)});
        self.request(Method::Post, "/trace/v1/validate".to_owned(), Vec::new(), Some(&body))
    }

    /// Makes a VM.
    pub fn create(&self, order: &Order) -> Request {
        let mut body = serde_json::json!({
            "name": order.name.as_str(),
            "pool": order.hostnode.as_str(),
            "price_type": order.price_type.as_str(),
        });
        if let (Some(bid), Some(body)) = (order.bid, body.as_object_mut()) {
            body.insert("bid_per_hr".to_owned(), price(bid));
        }
        self.request(Method::Post, VMS.to_owned(), Vec::new(), Some(&body))
    }

    /// Deletes a VM.
    pub fn delete(&self, id: &InstanceId) -> Request {
        self.request(Method::Delete, format!("{VMS}/{}", escaped(id.as_str())), Vec::new(), None)
    }

    /// Any call, with its fields as they are; `None` for a value that cannot stand in its path.
    pub fn raw(&self, call: &RawCall, fields: &[(String, String)]) -> Option<Request> {
        let InJson { path, query, body } = call.placed_in_json(fields)?;
        Some(self.request(call.method, path, query, body.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::raw::is_plain;

    fn calls() -> Calls {
        Calls::new("token-of-ours".into())
    }

    #[test]
    fn a_bid_is_said_to_the_last_micro() {
        for micros in [1, 65_000, 123_456_789, 24_480_000] {
            let rate = HourlyRate::from_micros(micros);
            let literal = price(rate).to_string();
            assert_eq!(HourlyRate::from_price_literal(&literal).unwrap(), rate, "{literal}");
        }
    }

    #[test]
    fn every_request_has_the_token_and_an_id_leads_nowhere_else() {
        let id = |text: &str| text.parse::<InstanceId>().unwrap();
        for request in [calls().account(), calls().pools(), calls().vms(), calls().delete(&id("vm-1"))] {
            assert_eq!(request.header("authorization"), Some("Bearer token-of-ours"));
        }
        assert_eq!(calls().vm(&id("vm-1")).path, "/trace/v1/vms/vm-1");
        for odd in ["..", "a/b", "a?b", "%2e%2e"] {
            let path = calls().delete(&id(odd)).path;
            assert!(is_plain(&path.strip_prefix("/trace/v1/vms/").unwrap().replace("%25", "")), "{path}");
        }
        let printed = format!("{:?} {:?}", calls(), calls().account());
        assert!(!printed.contains("token-of-ours"), "{printed}");
    }
}
