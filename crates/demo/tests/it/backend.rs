//! Acknowledged writes, retries, paging, health.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    eventually, http,
    http::Answer,
    postgres::Postgres,
    process::{Running, free_port, healthcheck},
};

const DATAPOINTS: &str = "/api/v1/datapoints";

pub(crate) fn reading(value: f64) -> Value {
    json!({
        "id": Uuid::new_v4(), "source": "test", "name": "temperature", "value": value, "unit": "°C",
        "measured_at": "2026-01-02T03:04:05.5Z",
    })
}

/// Everything that is stored, by id, over as many pages as it takes.
pub(crate) fn stored(port: u16) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let mut path = format!("{DATAPOINTS}?limit=7");
    loop {
        let page = http::request(port, "GET", &path, &[], "").unwrap().json();
        for row in page["data"].as_array().unwrap() {
            let twice = all.insert(row["id"].as_str().unwrap().to_owned(), row.clone());
            assert!(twice.is_none(), "listed twice: {row}");
        }
        match page["next"].as_i64() {
            Some(after) => path = format!("{DATAPOINTS}?limit=7&after={after}"),
            None => {
                assert_eq!(page["total"], all.len(), "the total is what the pages hold");
                return all;
            }
        }
    }
}

#[test]
fn acknowledged_writes_survive_kill_and_a_database_crash() {
    let mut postgres = Postgres::start();
    let port = free_port();
    let backend = Running::backend(port, &postgres.url());

    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let acknowledged = Arc::clone(&acknowledged);
            thread::spawn(move || {
                for number in 0.. {
                    let reading = reading(f64::from(writer * 1_000_000 + number));
                    match http::post(port, DATAPOINTS, &reading) {
                        Ok(answer) => {
                            assert_eq!(answer.status, 201, "{answer:?}");
                            acknowledged.lock().unwrap().push(reading);
                        }
                        Err(_) => return,
                    }
                }
            })
        })
        .collect();
    eventually("writes", || (acknowledged.lock().unwrap().len() > 60).then_some(()));
    postgres.crash();
    backend.kill();
    for writer in writers {
        // A writer whose request the crash caught may have seen 503; what it had acknowledged is in the list.
        let _ = writer.join();
    }
    postgres.restart();
    let backend = Running::backend(port, &postgres.url());

    let stored = stored(backend.port);
    let acknowledged = acknowledged.lock().unwrap();
    for reading in &*acknowledged {
        let kept = stored
            .get(reading["id"].as_str().unwrap())
            .unwrap_or_else(|| panic!("lost: {reading}"));
        assert_eq!(kept["value"], reading["value"]);
    }
    assert!(acknowledged.len() > 60);
}

#[test]
fn every_commit_waits_for_the_disk() {
    let postgres = Postgres::start();
    let backend = Running::backend(free_port(), &postgres.url());
    // The cluster's default is `off`; what counts is what the backend's own sessions use.
    postgres.query(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             NEW.unit := current_setting('synchronous_commit'); RETURN NEW; END $$;
         CREATE TRIGGER note BEFORE INSERT ON datapoints FOR EACH ROW EXECUTE FUNCTION note()",
    );
    assert_eq!(postgres.query("SHOW synchronous_commit"), "off");
    let answer = http::post(backend.port, DATAPOINTS, &reading(1.0)).unwrap();
    assert_eq!(answer.json()["unit"], "on");
}

#[test]
fn the_same_reading_again_is_no_duplicate() {
    let postgres = Postgres::start();
    let backend = Running::backend(free_port(), &postgres.url());
    let post = |reading: &Value| http::post(backend.port, DATAPOINTS, reading).unwrap();

    let reading = reading(21.5);
    let first = post(&reading);
    let second = post(&reading);
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.json(), second.json());
    assert_eq!(first.json()["stored_by"], "2.1.0");

    let mut other = reading.clone();
    other["value"] = json!(22.5);
    let conflict = post(&other);
    assert_eq!(conflict.status, 409);
    assert!(
        conflict.json()["error"]
            .as_str()
            .unwrap()
            .contains(reading["id"].as_str().unwrap())
    );
    assert_eq!(postgres.query("SELECT value FROM datapoints"), "21.5");
}

#[test]
fn newest_come_first_page_by_page() {
    let postgres = Postgres::start();
    let backend = Running::backend(free_port(), &postgres.url());
    for number in 0..5 {
        assert_eq!(
            http::post(backend.port, DATAPOINTS, &reading(f64::from(number)))
                .unwrap()
                .status,
            201
        );
    }
    let page = |query: &str| backend.get(&format!("{DATAPOINTS}{query}")).unwrap().json();
    let values = |page: &Value| {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["value"].as_f64().unwrap())
            .collect::<Vec<_>>()
    };

    let first = page("?limit=2");
    assert_eq!(values(&first), [4.0, 3.0]);
    assert_eq!(first["total"], 5);
    let second = page(&format!("?limit=3&after={}", first["next"]));
    assert_eq!(values(&second), [2.0, 1.0, 0.0]);
    assert_eq!(
        second["next"],
        Value::Null,
        "the last page says so, even when it is full"
    );
    assert_eq!(values(&page("")).len(), 5);
}

#[test]
fn what_cannot_be_stored_is_refused_in_json() {
    let postgres = Postgres::start();
    let port = free_port();
    let variables = [("DATABASE_URL", &*postgres.url()), ("SECRET_KEY", "key")];
    let backend = Running::start("backend", port, &variables);
    backend.healthy();

    let send = |headers: &[(&str, &str)], body: &str| -> Answer {
        let answer = http::request(port, "POST", DATAPOINTS, headers, body).unwrap();
        assert!(answer.json()["error"].is_string() || answer.status < 300, "{answer:?}");
        answer
    };
    let json = ("Content-Type", "application/json");
    let key = ("Authorization", "Bearer key");
    let change = |name: &str, value: Value| {
        let mut reading = reading(1.0);
        reading[name] = value;
        reading.to_string()
    };
    let good = reading(1.0).to_string();

    assert_eq!(send(&[json], &good).status, 401);
    assert_eq!(send(&[json, ("Authorization", "Bearer kez")], &good).status, 401);
    assert_eq!(send(&[json, ("Authorization", "key")], &good).status, 401);
    assert_eq!(send(&[key], &good).status, 415);
    assert_eq!(send(&[json, key], "{").status, 400);
    assert_eq!(send(&[json, key], "{}").status, 422);
    assert_eq!(send(&[json, key], &change("id", json!("1"))).status, 422);
    assert_eq!(send(&[json, key], &change("source", json!(""))).status, 422);
    assert_eq!(send(&[json, key], &change("unit", json!("\0"))).status, 422);
    assert_eq!(send(&[json, key], &change("measured_at", json!("today"))).status, 422);
    assert_eq!(
        send(&[json, key], &change("measured_at", json!("-009999-01-03T00:00:00Z"))).status,
        422
    );
    assert_eq!(
        send(&[json, key], &change("source", json!("x".repeat(20_000)))).status,
        413
    );
    for query in ["?limit=0", "?limit=1001", "?limit=x", "?after=x"] {
        let answer = backend.get(&format!("{DATAPOINTS}{query}")).unwrap();
        assert_eq!(
            (answer.status, answer.json()["error"].is_string()),
            (400, true),
            "{query}"
        );
    }
    assert_eq!(backend.get("/nothing").unwrap().status, 404);
    assert_eq!(postgres.query("SELECT count(*) FROM datapoints"), "0");
    assert_eq!(send(&[json, key], &good).status, 201);
}

#[test]
fn health_follows_the_database() {
    let mut postgres = Postgres::start();
    postgres.crash();
    let port = free_port();
    let variables = [("DATABASE_URL", &*postgres.url()), ("WEBMACS_VERSION", "2.1.0")];
    let backend = Running::start("backend", port, &variables);

    let health = eventually("an answer", || backend.get("/health"));
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("starting")));
    assert_eq!(http::post(port, DATAPOINTS, &reading(1.0)).unwrap().status, 503);
    let check = healthcheck("backend", port);
    assert_eq!(check.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&check.stderr).starts_with("error: answered 503"));

    postgres.restart();
    let health = backend.healthy().json();
    let expected = json!({
        "status": "ok", "version": "2.1.0", "schema_revision": 3, "database": { "reachable": true },
    });
    assert_eq!(health, expected);
    assert_eq!(healthcheck("backend", port).status.code(), Some(0));

    postgres.crash();
    let health = backend.get("/health").unwrap();
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("unavailable")));
    assert_eq!(health.json()["database"]["reachable"], false);
    assert!(health.json()["database"]["error"].as_str().unwrap().len() > 10);
    assert!(!health.body.contains("pass word"), "{}", health.body);
    assert_eq!(http::post(port, DATAPOINTS, &reading(1.0)).unwrap().status, 503);

    postgres.restart();
    backend.healthy();
    assert_eq!(http::post(port, DATAPOINTS, &reading(1.0)).unwrap().status, 201);
    assert!(backend.log().contains("database is away") && backend.log().contains("database is back"));
}

#[test]
fn a_stop_signal_lets_an_open_request_end() {
    let postgres = Postgres::start();
    let backend = Running::backend(free_port(), &postgres.url());
    postgres.query(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.5); RETURN NEW; END $$;
         CREATE TRIGGER wait BEFORE INSERT ON datapoints FOR EACH ROW EXECUTE FUNCTION wait()",
    );
    let port = backend.port;
    let slow = thread::spawn(move || http::post(port, DATAPOINTS, &reading(1.0)).unwrap().status);
    thread::sleep(Duration::from_millis(500));
    let (status, log) = backend.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(slow.join().unwrap(), 201);
    assert!(log.contains("signal=\"SIGTERM\"") && log.contains("stopped"), "{log}");
    assert!(!log.contains("still open"), "{log}");
}

#[test]
fn wrong_settings_are_named() {
    let (status, log) = Running::start("backend", free_port(), &[]).ended();
    assert_eq!(status.code(), Some(1));
    assert!(
        log.contains("error: environment variable DB_PASSWORD is not set\nhint: set it to"),
        "{log}"
    );
    let wrong = crate::process::program("backend", 1, &[])
        .arg("--serve")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}
