//! Where a call comes from. Forwarding headers are trusted from declared proxies only.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header, request::Parts};

use device::config::network::Network;

/// The other end of the connection, and whether it is encrypted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
}

/// Where a call comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address; none in a call that came over no connection.
    pub(crate) address: Option<IpAddr>,
    /// Whether its connection is encrypted.
    pub(crate) tls: bool,
    /// The requested host, with the port unless it is the default.
    pub(crate) host: Option<String>,
}

impl Client {
    pub(crate) fn of(parts: &Parts, proxies: &[Network]) -> Self {
        let headers = &parts.headers;
        let peer = parts.extensions.get::<Peer>();
        let address = peer.map(|peer| peer.address.ip().to_canonical());
        let own = Self {
            address,
            tls: peer.is_some_and(|peer| peer.tls),
            host: text(headers, header::HOST.as_str()),
        };
        let is_proxy = |address: IpAddr| proxies.iter().any(|network| network.contains(address));
        if !address.is_some_and(is_proxy) {
            return own;
        }
        // Each proxy appends the address of its peer: the last one that is not a declared proxy is the client.
        let forwarded = headers.get_all("x-forwarded-for").iter();
        let forwarded: Vec<IpAddr> = forwarded
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|address| address.trim().parse::<IpAddr>().ok())
            .map(|address| address.to_canonical())
            .collect();
        let client = forwarded.iter().rev().copied().find(|address| !is_proxy(*address));
        Self {
            address: client.or(address),
            tls: own.tls
                || text(headers, "x-forwarded-proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: text(headers, "x-forwarded-host").or(own.host),
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn client(peer: &str, forwarded: &str) -> Client {
        let request = Request::builder()
            .header("host", "inner:8450")
            .header("x-forwarded-for", forwarded)
            .header("x-forwarded-host", "device")
            .header("x-forwarded-proto", "https");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(Peer {
            address: SocketAddr::new(peer.parse().unwrap(), 1),
            tls: false,
        });
        Client::of(&parts, &["172.16.0.0/12".parse().unwrap()])
    }

    #[test]
    fn only_declared_proxies_are_believed() {
        let direct = client("10.0.0.9", "1.2.3.4");
        assert_eq!(direct.address, Some("10.0.0.9".parse().unwrap()));
        assert_eq!((direct.tls, direct.host.as_deref()), (false, Some("inner:8450")));

        let behind = client("::ffff:172.18.0.5", "6.6.6.6, 10.0.0.9, 172.18.0.4");
        assert_eq!(behind.address, Some("10.0.0.9".parse().unwrap()));
        assert_eq!((behind.tls, behind.host.as_deref()), (true, Some("device")));

        assert_eq!(
            client("172.18.0.5", "nonsense").address,
            Some("172.18.0.5".parse().unwrap())
        );
    }
}
