//! The calls of Vectordash as requests.
//!
//! JSON for what is POSTed, and the token in the header `Authorization` of all but the list of GPUs, which needs none
//! (documented). `Content-Type` is sent everywhere, for the reference calls it required even where there is no body. Ids
//! become part of a path only when nothing in them could change its meaning.

use super::nouns::Creation;
use crate::{
    io::net::{Method, Request},
    market::raw::{InJson, RawCall, escaped},
    model::InstanceId,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::fmt;

/// Where the GPUs are listed, the one path that needs no token.
const GPUS: &str = "/api/gpus";
/// Where instances are listed and made.
const INSTANCES: &str = "/api/instances";
/// The images there are (documented); the first is given when none is named.
pub const IMAGES: [&str; 2] = ["deep-learning-box", "fastai"];

/// What a policy's image is here: one of the two that there are; or for a plain Ubuntu, which a policy that says nothing
/// wants, the documented default, into which one logs in as `ubuntu` (that it is one is assumed). `None`: what is wanted is
/// something else.
pub fn image(named: &str) -> Option<&'static str> {
    let named = named.trim();
    let [default, ..] = IMAGES;
    let is_ubuntu = || {
        let words = named.to_ascii_lowercase();
        words.strip_prefix("ubuntu").is_some_and(|version| !version.contains('_'))
    };
    let known = IMAGES.into_iter().find(|known| known.eq_ignore_ascii_case(named));
    known.or_else(|| is_ubuntu().then_some(default))
}

/// The requests, each with the token where it is needed.
pub struct Calls {
    token: SecretString,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calls(***)")
    }
}

impl Calls {
    /// With this token.
    pub fn new(token: SecretString) -> Self {
        Self { token }
    }

    fn request(&self, method: Method, path: String, query: Vec<(String, String)>, body: Option<&Value>) -> Request {
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if path != GPUS {
            headers.push(("authorization".to_owned(), format!("Bearer {}", self.token.expose_secret())));
        }
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        Request { method, path, query, headers, body }
    }

    fn get(&self, path: &str) -> Request {
        self.request(Method::Get, path.to_owned(), Vec::new(), None)
    }

    /// Whose token it is.
    pub fn account(&self) -> Request {
        self.get("/api/account")
    }

    /// The GPUs that can be had.
    pub fn gpus(&self) -> Request {
        self.get(GPUS)
    }

    /// All instances.
    pub fn instances(&self) -> Request {
        self.get(INSTANCES)
    }

    /// Makes an instance.
    pub fn create(&self, creation: &Creation) -> Request {
        let Creation { name, gpu, image, until } = creation;
        let fields = [
            ("name", Some(name.to_string())),
            ("gpu", Some(gpu.clone())),
            ("image", image.clone()),
            ("date", until.map(|until| until.strftime("%Y-%m-%d %H:%M:%S").to_string())),
        ];
        let body = fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), Value::from(value?))));
        self.request(Method::Post, INSTANCES.to_owned(), Vec::new(), Some(&Value::Object(body.collect())))
    }

    /// Deletes an instance.
    pub fn delete(&self, id: &InstanceId) -> Request {
        self.request(Method::Delete, format!("{INSTANCES}/{}", escaped(id.as_str())), Vec::new(), None)
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

    fn sent(request: &Request) -> String {
        let body = String::from_utf8(request.body.clone()).unwrap();
        format!("{} {} {body}", request.method, request.path).trim_end().to_owned()
    }

    #[test]
    fn a_new_instance_is_asked_for_as_the_reference_does() {
        let creation = Creation {
            name: "new_instance".parse().unwrap(),
            gpu: "Tesla V100".into(),
            image: Some("fastai".into()),
            until: Some("2019-01-01T00:00:00Z".parse().unwrap()),
        };
        let request = calls().create(&creation);
        let expected = r#"{"date":"2019-01-01 00:00:00","gpu":"Tesla V100","image":"fastai","name":"new_instance"}"#;
        assert_eq!(sent(&request), format!("POST /api/instances {expected}"));
        let least = Creation { image: None, until: None, ..creation };
        assert_eq!(sent(&calls().create(&least)), r#"POST /api/instances {"gpu":"Tesla V100","name":"new_instance"}"#);
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("authorization"), Some("Bearer token-of-ours"));
    }

    #[test]
    fn the_list_of_gpus_needs_no_token_and_all_else_does() {
        assert_eq!(calls().gpus().header("authorization"), None);
        let delete = calls().delete(&"ffffff342".parse().unwrap());
        assert_eq!(sent(&delete), "DELETE /api/instances/ffffff342");
        for request in [calls().account(), calls().instances(), delete] {
            assert_eq!(request.header("authorization"), Some("Bearer token-of-ours"));
            assert_eq!(request.header("content-type"), Some("application/json"));
        }
    }

    #[test]
    fn an_id_cannot_lead_to_another_path() {
        for id in ["..", "a/b", "a?b", "%2e%2e", "a#b", "."] {
            let path = calls().delete(&id.parse().unwrap()).path;
            let segment = path.strip_prefix("/api/instances/").unwrap();
            let plain = segment.replace("%25", "");
            assert!(is_plain(&plain), "{path}");
        }
    }

    #[test]
    fn a_plain_ubuntu_is_the_default_and_what_is_neither_that_nor_theirs_is_not_had() {
        for (named, theirs) in [("fastai", "fastai"), (" FastAI", "fastai"), (IMAGES[0], IMAGES[0])] {
            assert_eq!(image(named), Some(theirs));
        }
        for ubuntu in ["Ubuntu 22.04 LTS", "ubuntu2404", "Ubuntu 20.04 LTS"] {
            assert_eq!(image(ubuntu), Some("deep-learning-box"), "{ubuntu}");
        }
        for other in ["", "Windows 10", "TensorML 24 PyTorch", "ubuntu2404_ml_pytorch", "debian13"] {
            assert_eq!(image(other), None, "{other}");
        }
    }

    #[test]
    fn nothing_that_prints_shows_the_token() {
        let printed = format!("{:?} {:?}", calls(), calls().account());
        assert!(!printed.contains("token-of-ours"), "{printed}");
    }
}
