//! What a client sent, wherever it put it: in the query, in an urlencoded, multipart or JSON body.
//!
//! Clients of this API do all of these (recorded), and some put one field into several places or send a list as one
//! field several times. **Invariant:** a body that cannot be read is an empty one; nothing here panics or waits.

use crate::{io::net::Request, market::json::Json};
use futures_util::{FutureExt, stream};
use std::convert::Infallible;

/// No request has more fields than this.
const FIELDS_MAX: usize = 1_000;

/// The fields of a request, in order; a name may come more than once.
#[derive(Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the query and the body.
    pub fn read(request: &Request) -> Self {
        let kind = request.header("content-type").unwrap_or_default();
        let plain = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let mut fields = match plain.as_str() {
            "multipart/form-data" => multipart(kind, &request.body),
            "application/json" => json(&request.body),
            // Some clients send JSON under another name.
            _ if request.body.first() == Some(&b'{') => json(&request.body),
            _ => form_urlencoded::parse(&request.body).into_owned().take(FIELDS_MAX).collect(),
        };
        fields.extend(request.query.iter().take(FIELDS_MAX).cloned());
        Self(fields)
    }

    /// A field that is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Every value of a field that is not empty.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// A field as a whole number.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.get(name)?.trim().parse().ok()
    }

    /// A field as a boolean, in any case: the SDK sends `False` (recorded).
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|word| word.trim().eq_ignore_ascii_case("true") || word.trim() == "1")
    }

    /// The ports of a field: `{30118, 30117}`, `[30118, 30117]`, any spacing, or the field several times; `None` when
    /// something in it is no port.
    pub fn ports(&self, name: &str) -> Option<Vec<u16>> {
        let text = self.all(name).collect::<Vec<_>>().join(",");
        text.split(|letter: char| letter == ',' || letter.is_whitespace() || "{}[]\"'".contains(letter))
            .filter(|port| !port.is_empty())
            .map(|port| port.parse().ok())
            .collect()
    }

    /// Fields whose name starts so, with the rest of their names.
    pub fn starting_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }
}

/// The whole body is at hand, so that `multer` never has to wait: what it cannot say at once it never says.
fn multipart(content_type: &str, body: &[u8]) -> Vec<(String, String)> {
    let Ok(boundary) = multer::parse_boundary(content_type) else { return Vec::new() };
    let whole = stream::iter([Ok::<_, Infallible>(body.to_vec())]);
    let mut form = multer::Multipart::new(whole, boundary);
    let mut fields = Vec::new();
    while fields.len() < FIELDS_MAX {
        let Some(Ok(Some(field))) = form.next_field().now_or_never() else { break };
        let Some(name) = field.name().map(str::to_owned) else { continue };
        let Some(Ok(text)) = field.text().now_or_never() else { break };
        fields.push((name, text));
    }
    fields
}

fn json(body: &[u8]) -> Vec<(String, String)> {
    let Some(object) = Json::read(body).and_then(Json::object) else { return Vec::new() };
    let mut fields = Vec::new();
    for (name, value) in object.members().take(FIELDS_MAX) {
        for value in value.array().unwrap_or_else(|| vec![value]).into_iter().take(FIELDS_MAX) {
            let flag = value.flag().map(|flag| flag.to_string().into());
            if let Some(text) = value.literal().or(flag) {
                fields.push((name.to_owned(), text.into_owned()));
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::net::Method;
    use proptest::prelude::*;

    fn request(content_type: &str, body: &str) -> Request {
        Request {
            method: Method::Post,
            headers: vec![("content-type".into(), content_type.into())],
            body: body.into(),
            ..Request::get("/")
        }
    }

    #[test]
    fn fields_are_found_wherever_clients_put_them() {
        let multipart = "--x\r\nContent-Disposition: form-data; name=\"server\"\r\n\r\nvm 1\r\n\
                         --x\r\nContent-Disposition: form-data; name=\"price\"\r\n\r\n0.2\r\n--x--\r\n";
        for request in [
            Request::form("/", [("server", "vm 1"), ("price", "0.2")]),
            request("multipart/form-data; boundary=x", multipart),
            request("application/json; charset=utf-8", r#"{"server":"vm 1","price":0.2,"none":null}"#),
            request("application/x-www-form-urlencoded", r#"{"server":"vm 1","price":"0.2"}"#),
            Request {
                query: vec![("server".into(), "vm 1".into()), ("price".into(), "0.2".into())],
                ..Request::get("/")
            },
        ] {
            let form = Form::read(&request);
            assert_eq!((form.get("server"), form.get("price")), (Some("vm 1"), Some("0.2")), "{request:?}");
            assert_eq!(form.get("none"), None);
        }
    }

    #[test]
    fn ports_are_read_in_every_spelling() {
        for text in ["{22, 80}", "{22,80}", "[22, 80]", "22,80", " { 22 , 80 } ", "['22', '80']"] {
            assert_eq!(Form(vec![("p".into(), text.into())]).ports("p"), Some(vec![22, 80]), "{text}");
        }
        let twice = Form(vec![("p".into(), "22".into()), ("p".into(), "80".into())]);
        assert_eq!(twice.ports("p"), Some(vec![22, 80]));
        let listed = request("application/json", r#"{"p":[22,80]}"#);
        assert_eq!(Form::read(&listed).ports("p"), Some(vec![22, 80]));
        assert_eq!(Form::default().ports("p"), Some(vec![]));
        assert_eq!(Form(vec![("p".into(), "{22, ssh}".into())]).ports("p"), None);
        assert_eq!(Form(vec![("p".into(), "{70000}".into())]).ports("p"), None);
    }

    proptest! {
        #[test]
        fn no_body_panics(kind in 0usize..3, body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let kind = ["multipart/form-data; boundary=x", "application/json", "text/plain"][kind];
            let framed = [b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n", body.as_slice()].concat();
            for body in [body, framed] {
                let _ = Form::read(&Request { body, ..request(kind, "") }).ports("a");
            }
        }
    }
}
