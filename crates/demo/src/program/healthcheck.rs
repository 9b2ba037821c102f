//! `healthcheck`: one GET to this machine, without a runtime, because Docker starts it every few seconds.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// Connecting, and each read and write, may take this long.
const TIMEOUT: Duration = Duration::from_secs(3);

/// More than any answer to a health question has.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// Why the program does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unhealthy {
    #[error("port {port} does not answer: {source}")]
    Away { port: u16, source: io::Error },
    #[error("answered {status}: {body}")]
    Status { status: String, body: String },
}

/// Asks `http://127.0.0.1:<port><path>`; the answer's body when its status is 200.
pub(super) fn ask(port: u16, path: &str) -> Result<String, Unhealthy> {
    let answer = get(port, path).map_err(|source| Unhealthy::Away { port, source })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .lines()
        .next()
        .unwrap_or_default()
        .split_once(' ')
        .map_or("", |(_, status)| status);
    if status.starts_with("200 ") {
        Ok(format!("{body}\n"))
    } else {
        Err(Unhealthy::Status {
            status: status.to_owned(),
            body: body.to_owned(),
        })
    }
}

/// The whole answer as text. HTTP/1.0, so that the server neither keeps the connection nor sends chunks
/// (RFC 9112, section 6.1).
fn get(port: u16, path: &str) -> io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // In one piece: a server may look at what has come so far.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with `answer` and returns what `ask` makes of it.
    fn check(answer: &'static str) -> Result<String, Unhealthy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /health HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let outcome = ask(port, "/health");
        server.join().unwrap();
        outcome
    }

    #[test]
    fn only_200_is_healthy() {
        assert_eq!(check("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}").unwrap(), "{}\n");
        let error = check("HTTP/1.0 503 Service Unavailable\r\n\r\n{\"status\":\"starting\"}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "answered 503 Service Unavailable: {\"status\":\"starting\"}"
        );
        assert_eq!(check("").unwrap_err().to_string(), "answered : ");
    }

    #[test]
    fn no_listener_is_unhealthy() {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        assert!(matches!(ask(port, "/health"), Err(Unhealthy::Away { .. })));
    }
}
