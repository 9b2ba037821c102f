//! The product's health: which URL answers for it, and one request to it.
//!
//! A path is requested on the service's published port, as its users do; on the container's own address if nothing is
//! published. Proxies and redirects are not followed: the answer of another server says nothing about the product.

use std::{collections::BTreeSet, error::Error as _, net::IpAddr, time::Duration};

use bollard::models::{ContainerInspectResponse, PortBinding};
use bundle::manifest::Health;
use reqwest::{Client, redirect::Policy};

use super::api;

/// The time limit for a connection; it stays on this device.
const CONNECT: Duration = Duration::from_secs(3);

/// The time limit for the complete answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Characters of an answer that an error shows.
const SHOWN: usize = 200;

/// Whether a health URL names its host itself.
pub(super) fn is_absolute(url: &str) -> bool {
    url.contains("://")
}

/// The URL of a path at the service's container.
pub(super) fn url_of(container: Option<&ContainerInspectResponse>, health: &Health) -> Result<String, String> {
    let service = &health.service;
    let container = container.ok_or_else(|| format!("the service `{service}` has no container"))?;
    let address = address(container).map_err(|why| format!("the service `{service}` cannot be reached: {why}"))?;
    let path = health.url.trim_start_matches('/');
    Ok(format!("http://{address}/{path}"))
}

/// Requests `url`; success is an answer with status 200 to 299.
pub(super) fn get(url: &str) -> Result<(), String> {
    let runtime = api::runtime().map_err(|error| error.to_string())?;
    let answer = runtime.block_on(request(url));
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    answer
}

async fn request(url: &str) -> Result<(), String> {
    let failed = |error: reqwest::Error| format!("{url}: {}", causes(&error.without_url()));
    let mut answer = client(url).map_err(failed)?.get(url).send().await.map_err(failed)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let mut body = Vec::new();
    // What came until a failure is shown.
    while body.len() < 4 * SHOWN
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        body.extend_from_slice(&chunk[..chunk.len().min(4 * SHOWN - body.len())]);
    }
    let text = in_one_line(&String::from_utf8_lossy(&body));
    Err(if text.is_empty() {
        format!("{url}: {status}")
    } else {
        format!("{url}: {status}: {text}")
    })
}

fn client(url: &str) -> reqwest::Result<Client> {
    // Once for each process; an earlier call has set the same.
    rustls::crypto::ring::default_provider().install_default().ok();
    let builder = Client::builder()
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .redirect(Policy::none())
        .no_proxy()
        // The names of this device, as its other programs see them.
        .no_hickory_dns();
    // The system's certificates are read only where they are needed; a device may have none.
    match url.starts_with("https://") {
        true => builder.build(),
        false => builder.tls_certs_only([]).build(),
    }
}

/// An error with its causes, in one line.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn in_one_line(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|character: char| character.is_whitespace() || character.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ").chars().take(SHOWN).collect()
}

/// Host and port.
fn address(container: &ContainerInspectResponse) -> Result<String, String> {
    let settings = container.network_settings.as_ref();
    let ports = settings.and_then(|settings| settings.ports.clone()).unwrap_or_default();
    let published = ports
        .iter()
        .filter_map(|(port, bindings)| Some((tcp(port)?, published(bindings.as_deref()?)?)))
        .min();
    if let Some((_, address)) = published {
        return Ok(address);
    }
    let exposed = container
        .config
        .as_ref()
        .and_then(|config| config.exposed_ports.as_deref())
        .unwrap_or_default();
    let exposed: BTreeSet<u16> = exposed
        .iter()
        .chain(ports.keys())
        .filter_map(|port| tcp(port))
        .collect();
    let port = match Vec::from_iter(exposed)[..] {
        [port] => port,
        [] => return Err("it publishes and exposes no port".to_owned()),
        [..] => return Err("it publishes no port and exposes several".to_owned()),
    };
    let host_network = container
        .host_config
        .as_ref()
        .and_then(|config| config.network_mode.as_deref())
        == Some("host");
    if host_network {
        return Ok(format!("127.0.0.1:{port}"));
    }
    let mut own: Vec<String> = settings
        .and_then(|settings| settings.networks.clone())
        .unwrap_or_default()
        .into_values()
        .filter_map(|network| network.ip_address)
        .filter(|address| !address.is_empty())
        .collect();
    own.sort();
    let own = own.first().ok_or("it has no address; does it run?")?;
    Ok(format!("{own}:{port}"))
}

/// The number of a TCP port written `80/tcp`.
fn tcp(port: &str) -> Option<u16> {
    port.strip_suffix("/tcp")?.parse().ok()
}

/// Where a published port is reached from this device, by IPv4 if it can be.
fn published(bindings: &[PortBinding]) -> Option<String> {
    let mut addresses: Vec<(bool, String)> = bindings
        .iter()
        .filter_map(|binding| {
            let port: u16 = binding.host_port.as_deref()?.parse().ok()?;
            let host = match binding.host_ip.as_deref().unwrap_or_default() {
                "" => IpAddr::from([127, 0, 0, 1]),
                text => match text.parse::<IpAddr>().ok()? {
                    IpAddr::V4(any) if any.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
                    IpAddr::V6(any) if any.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
                    bound => bound,
                },
            };
            Some((host.is_ipv6(), std::net::SocketAddr::new(host, port).to_string()))
        })
        .collect();
    addresses.sort();
    addresses.into_iter().next().map(|(_, address)| address)
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpListener, thread};

    use serde_json::{Value, json};

    use super::*;

    fn url(container: Value) -> Result<String, String> {
        let container: ContainerInspectResponse = serde_json::from_value(container).unwrap();
        let health = Health {
            service: "web".to_owned(),
            url: "/health".to_owned(),
            attempts: 1,
            interval_seconds: 1,
            soak_seconds: 0,
        };
        url_of(Some(&container), &health)
    }

    #[test]
    fn the_lowest_published_port_is_requested() {
        for (ports, expected) in [
            (
                json!({"443/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8443"}],
                       "80/tcp": [{"HostIp": "::", "HostPort": "8081"}, {"HostIp": "0.0.0.0", "HostPort": "8080"}],
                       "9/udp": [{"HostIp": "0.0.0.0", "HostPort": "9"}], "1/tcp": null}),
                "http://127.0.0.1:8080/health",
            ),
            (
                json!({"80/tcp": [{"HostIp": "::", "HostPort": "8081"}]}),
                "http://[::1]:8081/health",
            ),
            (
                json!({"80/tcp": [{"HostIp": "192.0.2.7", "HostPort": "81"}]}),
                "http://192.0.2.7:81/health",
            ),
        ] {
            assert_eq!(url(json!({"NetworkSettings": {"Ports": ports}})).unwrap(), expected);
        }
    }

    #[test]
    fn without_published_ports_the_container_itself_is_requested() {
        let container =
            |ports: Value| json!({"NetworkSettings": {"Ports": ports, "Networks": {"a": {"IPAddress": "192.0.2.9"}}}});
        assert_eq!(
            url(container(json!({"8000/tcp": null}))).unwrap(),
            "http://192.0.2.9:8000/health"
        );
        assert!(
            url(container(json!({"1/tcp": null, "2/tcp": null})))
                .unwrap_err()
                .contains("several")
        );
        assert!(url(container(json!({}))).unwrap_err().contains("no port"));
    }

    fn answering(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = std::io::Read::read(&mut stream, &mut request);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        format!("http://{address}/health")
    }

    #[test]
    fn only_success_is_success() {
        assert_eq!(get(&answering("HTTP/1.1 204 No Content\r\n\r\n")), Ok(()));
        let error = get(&answering(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 19\r\n\r\nno\n\ndatabase \u{7}there",
        ))
        .unwrap_err();
        assert!(error.ends_with("503 Service Unavailable: no database there"), "{error}");
        let elsewhere = "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n";
        assert!(get(&answering(elsewhere)).unwrap_err().ends_with("302 Found"));
        for scheme in ["http", "https"] {
            let error = get(&format!("{scheme}://127.0.0.1:1/health")).unwrap_err();
            assert!(error.contains("refused"), "{error}");
        }
    }
}
