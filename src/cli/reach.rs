//! Finds the running daemon: by `--url`, else where the settings say that it listens.

use super::{Context, args::Reach, client::Client, config, failure::Failure};
use crate::io::http::HttpNet;
use secrecy::SecretString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where a daemon on this machine answers that listens there.
fn url_of(mut listen: SocketAddr) -> String {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    format!("http://{listen}")
}

/// A client for the daemon. With `--url` the settings are needed only for their token, and only if they were named.
///
/// # Errors
/// When the settings are needed and wrong.
pub fn daemon(context: &Context, reach: &Reach) -> Result<Client, Failure> {
    let settings = match (&reach.url, &context.config) {
        (Some(_), None) if !config::path(context).exists() => None,
        (Some(_) | None, _) => Some(config::to_ask_the_daemon(context)?),
    };
    let token: Option<SecretString> = settings.as_ref().and_then(|settings| settings.http.token.clone());
    let url = match (&reach.url, &settings) {
        (Some(url), _) => url.clone(),
        (None, Some(settings)) => url_of(settings.http.listen),
        (None, None) => {
            return Err(Failure::wrong("say where the daemon is with --url, or where its settings are with --config"));
        }
    };
    let net = HttpNet::new(&url).map_err(|error| Failure::failed("cannot ask the daemon").caused_by(&error))?;
    Ok(Client::new(Box::new(net), url, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_listens_everywhere_is_asked_on_loopback() {
        let url = |listen: &str| url_of(listen.parse().unwrap());
        assert_eq!(url("0.0.0.0:9746"), "http://127.0.0.1:9746");
        assert_eq!(url("[::]:80"), "http://[::1]:80");
        assert_eq!(url("10.0.0.1:9746"), "http://10.0.0.1:9746");
    }
}
