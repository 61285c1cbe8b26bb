//! Who may change something.
//!
//! Once a token is set, every change needs it, from loopback too. Without one, a change is taken only from a program or
//! a person on this machine who means *this* daemon: from a loopback peer, not relayed by a proxy, with a `Host` that is
//! a loopback name and our port (a page that rebinds its name to 127.0.0.1 fails here), without a foreign `Origin`, and
//! with a JSON body (which a browser does not send to a stranger unasked). The status page's own forms carry a token
//! drawn at start, which no other page can read.

use super::problem::Problem;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use secrecy::{ExposeSecret, SecretString};
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq;

/// What a proxy leaves behind, beside everything that begins with `x-forwarded-`.
const RELAYED: [&str; 3] = ["forwarded", "via", "x-real-ip"];

/// What the rules are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Who connected.
    pub peer: SocketAddr,
    /// The port we listen on.
    pub port: u16,
    /// The request's target.
    pub uri: &'a Uri,
    /// The request's headers.
    pub headers: &'a HeaderMap,
}

/// Equal, in a time that does not tell how far.
pub fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

fn forbidden(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, detail)
}

/// Whether the caller may change something through the API.
///
/// # Errors
/// 401, 403 or 415, and the remedy.
pub fn may_change(caller: Caller<'_>, token: Option<&SecretString>, has_body: bool) -> Result<(), Problem> {
    match token {
        Some(token) => bears(caller.headers, token),
        None => {
            is_local(caller)?;
            speaks_json(caller.headers, has_body)
        }
    }
}

/// Whether the caller is a form of our own page. `offered` are the form's own tokens.
///
/// # Errors
/// 401 or 403, and the remedy.
pub fn may_submit(
    caller: Caller<'_>,
    token: Option<&SecretString>,
    csrf: &str,
    offered: (Option<&str>, Option<&str>),
) -> Result<(), Problem> {
    let (offered_csrf, offered_token) = offered;
    if !offered_csrf.is_some_and(|offered| same(offered, csrf)) {
        return Err(forbidden("this form is from another page or from before a restart: load the page again"));
    }
    match token {
        Some(token) if offered_token.is_some_and(|offered| same(offered, token.expose_secret())) => Ok(()),
        Some(_) => Err(Problem::new(StatusCode::UNAUTHORIZED, "a change needs the token of `[http] token`")),
        None => is_local(caller),
    }
}

fn bears(headers: &HeaderMap, token: &SecretString) -> Result<(), Problem> {
    let mut offered = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (offered.next(), offered.next()) else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "a change needs the bearer token of `[http] token`: send `Authorization: Bearer …`",
        ));
    };
    let text = only.to_str().unwrap_or_default();
    let bearer = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match bearer {
        Some((_, offered)) if same(offered.trim(), token.expose_secret()) => Ok(()),
        Some(_) | None => Err(Problem::new(StatusCode::UNAUTHORIZED, "that is not the token of `[http] token`")),
    }
}

fn is_local(caller: Caller<'_>) -> Result<(), Problem> {
    let Caller { peer, port, uri, headers } = caller;
    if !peer.ip().to_canonical().is_loopback() {
        return Err(forbidden("without a token changes are taken from this machine only: set `[http] token`"));
    }
    let relayed = |name: &&HeaderName| name.as_str().starts_with("x-forwarded") || RELAYED.contains(&name.as_str());
    if let Some(name) = headers.keys().find(relayed) {
        return Err(forbidden(format!(
            "without a token changes are not taken through a proxy (header {name}): set `[http] token`"
        )));
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(only), None) => only.to_str().unwrap_or_default(),
        (None | Some(_), _) => "",
    };
    let is_ours = |authority: &str| is_loopback_authority(authority, port);
    if !is_ours(host) || uri.authority().is_some_and(|authority| !is_ours(authority.as_str())) {
        return Err(forbidden(format!(
            "without a token changes need `Host: 127.0.0.1:{port}` or another loopback name with our port"
        )));
    }
    let is_our_origin = |origin: &str| origin.strip_prefix("http://").is_some_and(is_ours);
    if !headers.get_all(header::ORIGIN).iter().all(|origin| is_our_origin(origin.to_str().unwrap_or_default())) {
        return Err(forbidden("this request comes from a page of another origin"));
    }
    Ok(())
}

/// `127.0.0.1:9746`, `localhost:9746`, `[::1]:9746`; without a port only where ours is 80.
fn is_loopback_authority(authority: &str, port: u16) -> bool {
    let (host, given) = match authority.rsplit_once(':') {
        Some((host, given)) if !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, given.parse::<u16>().ok())
        }
        Some(_) | None => (authority, Some(80)),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let address: Option<IpAddr> = match inner {
        Some(inner) => inner.parse().ok().filter(IpAddr::is_ipv6),
        None => host.parse().ok().filter(IpAddr::is_ipv4),
    };
    given == Some(port)
        && (host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback()))
}

/// Whether the body, if there is one, says that it is JSON.
///
/// # Errors
/// 415, and the remedy.
pub fn speaks_json(headers: &HeaderMap, has_body: bool) -> Result<(), Problem> {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let is_json = match (kinds.next(), kinds.next()) {
        (Some(only), None) => {
            let kind = only.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        }
        (None, _) => !has_body,
        (Some(_), Some(_)) => false,
    };
    if is_json {
        Ok(())
    } else {
        let detail = "send a JSON body: `Content-Type: application/json`, such as `{}`";
        Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "127.0.0.1:50000";
    const JSON: (&str, &str) = ("content-type", "application/json");
    const HOST: (&str, &str) = ("host", "127.0.0.1:9746");

    #[track_caller]
    fn check(peer: &str, token: Option<&str>, headers: &[(&str, &str)], status: u16) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let uri = Uri::from_static("/api/v1/pause");
        let caller = Caller { peer: peer.parse().unwrap(), port: 9746, uri: &uri, headers: &map };
        let token = token.map(|token| SecretString::from(token.to_owned()));
        let said = may_change(caller, token.as_ref(), true).map_or_else(|problem| problem.status, |()| 200);
        assert_eq!(said, status, "{peer} {headers:?}");
    }

    #[test]
    fn without_a_token_only_this_machine_itself_may_change() {
        check(LOCAL, None, &[HOST, JSON], 200);
        check("[::1]:50000", None, &[("host", "[::1]:9746"), JSON], 200);
        check("[::ffff:127.0.0.1]:50000", None, &[("host", "localhost:9746"), JSON], 200);
        check("192.0.2.1:50000", None, &[HOST, JSON], 403);
        check("[2001:db8::1]:50000", None, &[HOST, JSON], 403);
    }

    #[test]
    fn without_a_token_the_host_must_be_ours() {
        for host in
            ["evil.example:9746", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:9747", "localhost.evil:9746", "", "::1:9746"]
        {
            check(LOCAL, None, &[("host", host), JSON], 403);
        }
        for host in ["127.0.0.1:", "127.0.0.1:+9746", "user@127.0.0.1:9746", "[127.0.0.1]:9746"] {
            check(LOCAL, None, &[("host", host), JSON], 403);
        }
        check(LOCAL, None, &[JSON], 403);
        check(LOCAL, None, &[HOST, ("host", "evil.example:9746"), JSON], 403);
        check(LOCAL, None, &[("host", "LOCALHOST:9746"), JSON], 200);
        check(LOCAL, None, &[("host", "127.1.2.3:9746"), JSON], 200);
    }

    #[test]
    fn without_a_token_other_origins_and_proxies_are_refused() {
        check(LOCAL, None, &[HOST, JSON, ("origin", "http://127.0.0.1:9746")], 200);
        for origin in ["http://evil.example", "null", "https://127.0.0.1:9746", "http://127.0.0.1:9747", ""] {
            check(LOCAL, None, &[HOST, JSON, ("origin", origin)], 403);
        }
        for name in ["x-forwarded-for", "X-Forwarded-Host", "x-forwarded-anything", "forwarded", "via", "x-real-ip"] {
            check(LOCAL, None, &[HOST, JSON, (name, "127.0.0.1")], 403);
        }
    }

    #[test]
    fn without_a_token_the_body_must_be_json() {
        check(LOCAL, None, &[HOST], 415);
        check(LOCAL, None, &[HOST, ("content-type", "text/plain")], 415);
        check(LOCAL, None, &[HOST, ("content-type", "application/x-www-form-urlencoded")], 415);
        check(LOCAL, None, &[HOST, JSON, ("content-type", "text/plain")], 415);
        check(LOCAL, None, &[HOST, ("content-type", "Application/JSON; charset=utf-8")], 200);
    }

    #[test]
    fn once_there_is_a_token_every_change_needs_it() {
        check(LOCAL, Some("s3cret"), &[HOST, JSON], 401);
        check(LOCAL, Some("s3cret"), &[HOST, JSON, ("authorization", "Bearer wrong")], 401);
        check(LOCAL, Some("s3cret"), &[HOST, JSON, ("authorization", "Basic s3cret")], 401);
        check(LOCAL, Some("s3cret"), &[("authorization", "Bearer s3cret"), ("authorization", "Bearer x")], 401);
        check(LOCAL, Some("s3cret"), &[HOST, JSON, ("authorization", "Bearer s3cret")], 200);
        check("192.0.2.1:50000", Some("s3cret"), &[("authorization", "bearer s3cret")], 200);
    }

    #[test]
    fn a_form_needs_the_pages_own_token() {
        let headers: HeaderMap = [(header::HOST, "127.0.0.1:9746".parse().unwrap())].into_iter().collect();
        let uri = Uri::from_static("/levers");
        let caller = Caller { peer: LOCAL.parse().unwrap(), port: 9746, uri: &uri, headers: &headers };
        let secret = SecretString::from("s3cret".to_owned());
        let said = |token, offered| may_submit(caller, token, "csrf", offered).map_or_else(|no| no.status, |()| 200);
        assert_eq!(said(None, (Some("csrf"), None)), 200);
        assert_eq!(said(None, (Some("other"), None)), 403);
        assert_eq!(said(None, (None, None)), 403);
        assert_eq!(said(Some(&secret), (Some("csrf"), None)), 401);
        assert_eq!(said(Some(&secret), (Some("csrf"), Some("s3cret"))), 200);
        assert_eq!(said(Some(&secret), (None, Some("s3cret"))), 403);
    }
}
