//! The page and the proxy.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use crate::{
    backend::reading,
    eventually, http,
    postgres::Postgres,
    process::{Running, free_port, healthcheck},
};

fn frontend(backend: u16) -> Running {
    frontend_of(backend, free_port())
}

fn frontend_of(backend: u16, updater: u16) -> Running {
    let [backend, updater] = [backend, updater].map(|port| format!("http://127.0.0.1:{port}"));
    let frontend = Running::start(
        "frontend",
        free_port(),
        &[("BACKEND_URL", &backend), ("UPDATER_URL", &updater)],
    );
    eventually("the front end is alive", || {
        frontend.get("/alive").filter(|answer| answer.status == 200)
    });
    frontend
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_says_so() {
    let frontend = frontend(free_port());
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let answer = frontend.get(path).unwrap();
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some(kind)),
            "{path}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none';") && !policy.contains("unsafe"),
            "{policy}"
        );
        let foreign = answer.body.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !foreign.contains("http:") && !foreign.contains("https:") && !foreign.contains("url("),
            "{path}"
        );
    }
    let page = frontend.get("/").unwrap().body;
    for inline in [" style=", "<style", " onload=", " onclick=", "javascript:"] {
        assert!(!page.contains(inline), "the policy forbids `{inline}`");
    }
    assert_eq!(
        page.matches("<script").count(),
        page.matches("src=\"page.js\"></script>").count()
    );
    assert_eq!(frontend.get("/etc/passwd").unwrap().status, 404);
}

#[test]
fn calls_reach_the_backend_and_its_absence_is_reported() {
    let postgres = Postgres::start();
    let port = free_port();
    let frontend = frontend(port);

    let away = frontend.get("/health").unwrap();
    assert_eq!(
        (away.status, away.body.as_str()),
        (502, r#"{"error":"backend is not reachable"}"#)
    );
    assert_eq!(away.header("content-type"), Some("application/json"));
    assert_eq!(
        healthcheck("frontend", frontend.port).status.code(),
        Some(0),
        "the front end itself is well"
    );

    let backend = Running::backend(port, &postgres.url());
    assert_eq!(frontend.healthy().json()["version"], "2.1.0");
    let reading = reading(7.25);
    assert_eq!(
        http::post(frontend.port, "/api/v1/datapoints", &reading)
            .unwrap()
            .status,
        201
    );
    let page = frontend.get("/api/v1/datapoints?limit=1").unwrap().json();
    assert_eq!(
        (&page["data"][0]["id"], page["total"].as_i64()),
        (&reading["id"], Some(1))
    );
    assert_eq!(frontend.get("/api/v1/nothing").unwrap().status, 404);
    assert_eq!(frontend.get("/api/v2/datapoints").unwrap().status, 404);

    backend.kill();
    assert_eq!(frontend.get("/api/v1/datapoints").unwrap().status, 502);
}

/// A backend of one answer, which it gives when and as `serve` wants; returns the request's head.
fn fake_backend(serve: impl FnOnce(TcpStream) + Send + 'static) -> (u16, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let handle = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0].into());
        }
        serve(stream);
        head
    });
    (port, handle)
}

#[test]
fn headers_of_the_connection_stay_behind() {
    let (port, backend) = fake_backend(|mut stream| {
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\nContent-Length: 2\r\n\r\nok",
            )
            .unwrap();
    });
    let frontend = frontend(port);
    let headers = [
        ("Connection", "X-Secret"),
        ("X-Secret", "1"),
        ("TE", "trailers"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("Authorization", "Bearer key"),
    ];
    let answer = http::request(frontend.port, "GET", "/api/v1/x?y=%20z", &headers, "").unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    assert_eq!((answer.header("x-hop"), answer.header("x-end")), (None, Some("2")));

    let head = backend.join().unwrap().to_ascii_lowercase();
    assert!(head.starts_with("get /api/v1/x?y=%20z http/1.1\r\n"), "{head}");
    for expected in [
        format!("host: 127.0.0.1:{port}"),
        "x-forwarded-for: 127.0.0.1".to_owned(),
        "x-forwarded-host: device".to_owned(),
        "authorization: bearer key".to_owned(),
    ] {
        assert!(head.contains(&format!("\r\n{expected}\r\n")), "{expected}\n{head}");
    }
    for absent in ["x-secret", "te:", "6.6.6.6", "connection:"] {
        assert!(!head.contains(absent), "{absent}\n{head}");
    }
}

#[test]
fn the_updaters_page_and_calls_reach_it_and_nothing_else_does() {
    for path in [
        "/ota",
        "/ota/",
        "/ota/page.js",
        "/api/v1/ota?page=1",
        "/api/v1/ota/check",
    ] {
        let (port, updater) = fake_backend(|mut stream| {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .unwrap();
        });
        let frontend = frontend_of(free_port(), port);
        assert_eq!(http::request(frontend.port, "GET", path, &[], "").unwrap().body, "ok");
        let head = updater.join().unwrap().to_ascii_lowercase();
        assert!(head.starts_with(&format!("get {path} ")), "{head}");
        assert!(head.contains("\r\nhost: device\r\n"), "{head}");
    }
    let frontend = frontend_of(free_port(), free_port());
    let away = frontend.get("/api/v1/ota/check").unwrap();
    assert_eq!(
        (away.status, away.body.as_str()),
        (502, r#"{"error":"updater is not reachable"}"#)
    );
    let others = frontend.get("/api/v1/otas").unwrap();
    assert_eq!(others.body, r#"{"error":"backend is not reachable"}"#);
}

#[test]
fn answers_are_passed_on_while_they_come() {
    let (go_on, wait) = std::sync::mpsc::channel();
    let (port, backend) = fake_backend(move |mut stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .unwrap();
        wait.recv().unwrap();
        stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
    });
    let frontend = frontend(port);
    let mut answer = http::send(frontend.port, "GET", "/api/v1/stream", &[], "").unwrap();
    let mut text = String::new();
    while !text.ends_with("first") {
        let mut byte = [0];
        answer
            .read_exact(&mut byte)
            .expect("the first part comes before the second is sent");
        text.push(byte[0].into());
    }
    go_on.send(()).unwrap();
    let mut rest = String::new();
    answer.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "second");
    backend.join().unwrap();
}
