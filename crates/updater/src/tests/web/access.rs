//! Who may do what: sessions, tokens, foreign pages, attempts.

use serde_json::{Value, json};

use super::{Api, Call, expect, http::Answer};
use crate::web::access::password;
use device::store::Session;

/// Every call that needs credentials.
fn guarded(api: &Api) -> Vec<Call> {
    [
        ("GET", ""),
        ("POST", ""),
        ("GET", "/x"),
        ("DELETE", "/x"),
        ("POST", "/x/apply"),
        ("GET", "/x/rollback"),
        ("POST", "/x/rollback"),
        ("POST", "/upload"),
        ("POST", "/uploads"),
        ("PATCH", "/uploads/x"),
        ("DELETE", "/uploads/x"),
        ("GET", "/events"),
        ("GET", "/audit"),
        ("GET", "/openapi.json"),
        ("DELETE", "/session"),
    ]
    .map(|(method, path)| api.anonymous(method, path))
    .into_iter()
    .chain([Call::new(api.address, "GET", "/metrics")])
    .collect()
}

#[test]
fn without_credentials_only_the_version_is_shown() {
    let api = Api::new();
    for call in guarded(&api) {
        let answer = call.send();
        expect(&answer, 401, "log in");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        expect(
            &call.clone().header("authorization", "Bearer ota_wrong").send(),
            401,
            "the token is not known",
        );
        expect(
            &call.header("cookie", "ota_session=wrong").send(),
            401,
            "the session has ended",
        );
    }
    let health = Call::new(api.address, "GET", "/health").send();
    assert_eq!((health.status, health.json()), (200, json!({ "status": "ok" })));
    let check = api.anonymous("GET", "/check").send().json();
    let fields = check.as_object().unwrap();
    assert_eq!(fields.len(), 7);
    for (field, value) in fields {
        let expected = if field == "current_version" {
            json!("1.0.0")
        } else {
            Value::Null
        };
        assert_eq!(*value, expected, "{field}");
    }
    assert_eq!(api.get("")["total"], 1);
}

#[test]
fn a_session_begins_with_the_password_and_ends() {
    let api = Api::new();
    let wrong = api
        .anonymous("POST", "/session")
        .json(&json!({ "password": "guess" }))
        .send();
    expect(&wrong, 401, "the password is wrong");
    let answer = api
        .anonymous("POST", "/session")
        .json(&json!({ "password": api.password }))
        .send();
    let cookie = answer.header("set-cookie").unwrap();
    for attribute in ["Path=/api/v1/ota", "HttpOnly", "SameSite=Strict", "Max-Age=43200"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(
        !cookie.contains("Secure"),
        "not over plain HTTP: the browser would not send it"
    );
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let session = api.of_page("GET", "/session", &cookie).send().json();
    assert_eq!(
        session,
        json!({ "user": "admin", "can_change": true, "github": false, "product": "app" })
    );
    assert_eq!(api.of_page("GET", "", &cookie).send().status, 200);

    // Its secret is not in the record.
    let record = std::fs::read(api.device.config.database()).unwrap();
    let secret = cookie.strip_prefix("ota_session=").unwrap();
    assert!(!record.windows(secret.len()).any(|window| window == secret.as_bytes()));

    let ended = api.of_page("DELETE", "/session", &cookie).send();
    assert_eq!(ended.status, 204);
    assert!(ended.header("set-cookie").unwrap().contains("Max-Age=0"));
    expect(&api.of_page("GET", "", &cookie).send(), 401, "the session has ended");
}

#[test]
fn another_password_ends_all_sessions() {
    let api = Api::new();
    let cookie = api.log_in();
    assert_eq!(api.of_page("GET", "", &cookie).send().status, 200);
    password::reset(&api.device.config).unwrap();
    expect(&api.of_page("GET", "", &cookie).send(), 401, "the session has ended");
    let old = api
        .anonymous("POST", "/session")
        .json(&json!({ "password": api.password }))
        .send();
    expect(&old, 401, "the password is wrong");
}

#[test]
fn an_old_session_has_ended() {
    let api = Api::new();
    let session = |secret: &[u8], age: i64| Session {
        secret: bundle::Digest::of(secret),
        password: password::fingerprint(&api.device.config).unwrap().unwrap(),
        created: jiff::Timestamp::now().as_second() - age,
    };
    let twelve_hours = 12 * 60 * 60;
    api.device.store().add_session(&session(b"young", 60), 0).unwrap();
    api.device
        .store()
        .add_session(&session(b"old", twelve_hours), 0)
        .unwrap();
    assert_eq!(api.of_page("GET", "", "ota_session=young").send().status, 200);
    expect(
        &api.of_page("GET", "", "ota_session=old").send(),
        401,
        "the session has ended",
    );
}

#[test]
fn a_foreign_page_cannot_use_a_session() {
    let api = Api::new();
    let cookie = api.log_in();
    let register = |headers: &[(&str, &str)]| -> Answer {
        let call = api.anonymous("POST", "").header("cookie", &cookie);
        headers
            .iter()
            .fold(call, |call, (name, value)| call.header(name, value))
            .json(&json!({ "version": "6.6.6" }))
            .send()
    };
    for headers in [
        &[("origin", "http://evil.example")][..],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "http://127.0.0.1:9")],
        // Not declared as a proxy, so not believed.
        &[("origin", "http://evil.example"), ("x-forwarded-host", "evil.example")],
    ] {
        expect(&register(headers), 403, "the call comes from another site");
    }
    expect(&register(&[]), 403, "scripts use a token");
    let login = api
        .anonymous("POST", "/session")
        .header("origin", "http://evil.example")
        .json(&json!({ "password": api.password }))
        .send();
    expect(&login, 403, "the call comes from another site");
    assert_eq!(api.get("")["total"], 1);
    let own = format!("http://{}", api.address);
    assert_eq!(register(&[("origin", &own)]).status, 201);
    // Behind a proxy, the host that the proxy was called by.
    assert_eq!(
        api.anonymous("POST", "")
            .header("cookie", &cookie)
            .header("host", "device")
            .header("origin", "http://device")
            .json(&json!({ "version": "6.6.7" }))
            .send()
            .status,
        201
    );
}

#[test]
fn a_token_that_may_read_reads() {
    let api = Api::new();
    let token = format!("Bearer {}", api.add_token("prometheus", true));
    let reader = |method, path: &str| api.anonymous(method, path).header("authorization", &token);
    assert_eq!(reader("GET", "").send().status, 200);
    let metrics = Call::new(api.address, "GET", "/metrics")
        .header("authorization", &token)
        .send();
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.body.contains("ota_version_info{version=\"1.0.0\"} 1"),
        "{}",
        metrics.body
    );
    let refused = reader("POST", "").json(&json!({ "version": "1.1.0" })).send();
    expect(&refused, 403, "the token prometheus may read only");
    assert_eq!(
        reader("GET", "/session").send().json(),
        json!({ "user": "token prometheus", "can_change": false, "github": false, "product": "app" })
    );
    api.device.store().remove_token("prometheus").unwrap();
    expect(&reader("GET", "").send(), 401, "it may have been removed");
}

#[test]
fn attempts_are_limited_and_logged() {
    let api = Api::new();
    let log_in = |password: &str| {
        api.anonymous("POST", "/session")
            .json(&json!({ "password": password }))
            .send()
    };
    for _ in 0..5 {
        expect(&log_in("guess"), 401, "the password is wrong");
    }
    let limited = log_in(&api.password);
    expect(&limited, 429, "too many attempts");
    assert!(limited.header("retry-after").unwrap().parse::<u64>().unwrap() <= 30);
    // What claims to come from elsewhere does not get more.
    let claimed = api
        .anonymous("POST", "/session")
        .header("x-forwarded-for", "9.9.9.9")
        .json(&json!({ "password": api.password }))
        .send();
    expect(&claimed, 429, "too many attempts");
    let log = api.get("/audit");
    assert_eq!(log["total"], 5);
    assert_eq!(log["data"][0]["action"], "login refused");
    assert_eq!(log["data"][0]["address"], "127.0.0.1");
}

#[test]
fn behind_a_declared_proxy_each_client_counts_for_itself() {
    let device = super::Device::with(&super::Version::good("1.0.0"));
    let mut config = device.config.clone();
    config.web.proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let api = Api::of(super::Device { config, ..device });
    let log_in = |from: &str, password: &str| {
        api.anonymous("POST", "/session")
            .header("x-forwarded-for", from)
            .header("x-forwarded-proto", "https")
            .json(&json!({ "password": password }))
            .send()
    };
    for _ in 0..5 {
        expect(&log_in("10.0.0.1", "guess"), 401, "wrong");
    }
    expect(&log_in("10.0.0.1", &api.password), 429, "too many attempts");
    let answer = log_in("10.0.0.2", &api.password);
    assert_eq!(answer.status, 204);
    assert!(answer.header("set-cookie").unwrap().ends_with("; Secure"), "{answer:?}");
}

#[test]
fn a_device_without_a_password_says_so() {
    let api = Api::new();
    std::fs::remove_file(password::hash_file(&api.device.config)).unwrap();
    let answer = api
        .anonymous("POST", "/session")
        .json(&json!({ "password": "x" }))
        .send();
    expect(&answer, 503, "updater reset-password");
}

#[test]
fn who_did_what_is_in_the_log() {
    let api = Api::new();
    let cookie = api.log_in();
    let register = api.of_page("POST", "", &cookie).json(&json!({ "version": "1.1.0" }));
    assert_eq!(register.send().status, 201);
    let id = api.newest().public_id;
    assert_eq!(api.send(api.call("POST", &format!("/{id}/apply"))).status, 409);
    let log = api.get("/audit?page_size=10");
    let lines: Vec<_> = log["data"].as_array().unwrap().iter().rev().collect();
    let line = |index: usize| {
        let line = lines[index];
        ["who", "action", "subject", "outcome"].map(|field| line[field].as_str().unwrap().to_owned())
    };
    assert_eq!(line(0), ["admin", "login", "", "accepted"]);
    assert_eq!(line(1), ["admin", "register", "1.1.0", "accepted"]);
    assert_eq!(line(2)[..3], ["token ci", "apply", "1.1.0"]);
    assert!(line(2)[3].contains("without a bundle"), "{:?}", line(2));
}
