//! What is sent by mistake or on purpose: the right status, a readable reason, and nothing changed.

use std::{io::Write as _, thread, time::Duration};

use serde_json::json;

use super::{Answer, Api, Call, Version, expect};

#[test]
fn bodies_of_the_wrong_kind() {
    let api = Api::new();
    let post = || api.call("POST", "");
    expect(&post().send(), 415, "Content-Type: application/json");
    expect(
        &post().body("text/plain", b"{}").send(),
        415,
        "Content-Type: application/json",
    );
    expect(
        &post().body("application/json", b"{").send(),
        400,
        "the body is not JSON",
    );
    expect(
        &post().body("application/json", b"\xff\xfe").send(),
        400,
        "the body is not JSON",
    );
    for body in [
        json!([]),
        json!({}),
        json!({ "version": 1 }),
        json!({ "version": null }),
        json!({ "version": "1.1.0", "changelog": 5 }),
        json!("1.1.0"),
    ] {
        expect(&post().json(&body).send(), 422, "the body is not what it should be");
    }
    let deep = format!("{{\"version\": {}", "[".repeat(100_000));
    expect(
        &post().body("application/json", deep.as_bytes()).send(),
        422,
        "invalid type: sequence",
    );
    let notes = json!({ "version": "1.1.0", "changelog": "x".repeat(100_001) });
    expect(&post().json(&notes).send(), 422, "longer than 100000 characters");
    let huge = vec![b' '; 300 << 10];
    expect(
        &post().body("application/json", &huge).send(),
        413,
        "the body is larger than 256 KiB",
    );
    let id = api.newest().public_id;
    for path in ["apply", "rollback"] {
        let call = api.call("POST", &format!("/{id}/{path}")).json(&json!([1]));
        expect(&call.send(), 422, "the body is not what it should be");
    }
    assert_eq!(api.get("")["total"], 1);
}

#[test]
fn names_that_are_none() {
    let api = Api::new();
    for id in ["x", "%00", "..%2f..%2fetc", "1%20or%201=1", "%ff", &"a".repeat(5000)] {
        let path = format!("/{id}");
        expect(&api.call("GET", &path).send(), 404, "");
        expect(&api.send(api.call("DELETE", &path)), 404, "");
        expect(&api.send(api.call("POST", &format!("{path}/apply"))), 404, "");
    }
    for path in [
        "/etc/passwd",
        "/ota/../../etc/passwd",
        "/ota/page/index.html",
        "/api/v1/otas",
        "/api/v2/ota",
    ] {
        expect(
            &Call::new(api.address, "GET", path).send(),
            404,
            "there is nothing here",
        );
    }
    expect(&api.call("PUT", "").send(), 405, "there is no such call");
    expect(&api.call("GET", "/upload/x/y").send(), 404, "there is nothing here");
}

#[test]
fn names_of_files_that_lead_elsewhere() {
    let api = Api::new();
    let bytes = api.bundle(&Version::good("1.1.0"));
    for name in [
        "../../etc/cron.d/x.tar.gz",
        "/etc/x.tar.gz",
        "..\\\\x.tar.gz",
        ".hidden.tar.gz",
    ] {
        let answer = api.send(api.call("POST", "/upload").form(name, &bytes));
        expect(&answer, 400, "the file's name is not a plain name");
        assert!(api.files().is_empty(), "{name}");
    }
    assert_eq!(api.get("")["total"], 1);
}

#[test]
fn forms_that_are_none() {
    let api = Api::new();
    let post = || api.call("POST", "/upload");
    expect(&post().send(), 415, "");
    expect(&post().json(&json!({})).send(), 415, "");
    let other = b"--edge\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nx\r\n--edge--\r\n";
    expect(
        &post().body("multipart/form-data; boundary=edge", other).send(),
        400,
        "no field `file`",
    );
    expect(
        &post().body("multipart/form-data; boundary=edge", b"nonsense").send(),
        400,
        "the form broke off",
    );
    let open = b"--edge\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n\x1f\x8b";
    expect(
        &post().body("multipart/form-data; boundary=edge", open).send(),
        400,
        "the form broke off",
    );
    assert!(api.files().is_empty());
}

#[test]
fn slow_callers_do_not_stop_others() {
    let api = Api::new();
    // Each has said only half of its head, or of its body.
    let half: Vec<_> = (0..60)
        .map(|number| {
            let call = api.call("POST", "").json(&json!({ "version": "9.9.9" }));
            let mut stream = call.connect();
            let head = call.head();
            let part = if number % 2 == 0 { &head[..40] } else { &head[..] };
            stream.write_all(part.as_bytes()).unwrap();
            stream
        })
        .collect();
    let readers: Vec<_> = (0..40)
        .map(|_| {
            let call = api.call("GET", "");
            thread::spawn(move || call.send().status)
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), 200);
    }
    drop(half);
    assert_eq!(api.get("")["total"], 1);
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let api = Api::new();
    let call = api.call("POST", "").json(&json!({ "version": "9.9.9" }));
    let mut stream = call.connect();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    stream.write_all(call.head().as_bytes()).unwrap();
    expect(&Answer::read(&mut stream), 408, "the body did not come in time");
}

#[test]
fn every_answer_protects_itself() {
    let api = Api::new();
    for call in [
        Call::new(api.address, "GET", "/ota/"),
        Call::new(api.address, "GET", "/health"),
        api.call("GET", ""),
        api.anonymous("GET", ""),
        api.call("GET", "/nothing/here/at/all"),
    ] {
        let answer = call.send();
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none';") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert!(answer.header("access-control-allow-origin").is_none());
    }
}
