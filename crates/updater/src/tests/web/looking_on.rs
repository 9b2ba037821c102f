//! The page's files, the course of an update, metrics, the document, encryption.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    thread,
};

use serde_json::{Value, json};

use super::{Api, Call, OTA, Version};

#[test]
fn the_page_comes_with_its_files_and_is_known_again() {
    let api = Api::new();
    let get = |path: &str| Call::new(api.address, "GET", path);
    for path in ["/", "/ota"] {
        let answer = get(path).send();
        assert_eq!((answer.status, answer.header("location")), (307, Some("/ota/")));
    }
    let page = get("/ota/").send();
    assert_eq!(page.status, 200);
    let files: Vec<_> = page
        .body
        .split('"')
        .filter(|text| [".js", ".css", ".svg"].iter().any(|ending| text.ends_with(ending)))
        .collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let path = format!("/ota/{file}");
        let answer = get(&path).send();
        assert_eq!(answer.status, 200, "{path}");
        let tag = answer.header("etag").unwrap();
        assert_eq!(get(&path).header("if-none-match", tag).send().status, 304);
        let small = get(&path).header("accept-encoding", "br, gzip;q=0.8").send();
        assert_eq!(small.header("content-encoding"), Some("gzip"));
    }
}

/// Reads events until one is what is waited for, and gives all of them.
fn events_until(api: &Api, wanted: impl Fn(&str, &Value) -> bool) -> Vec<(String, Value)> {
    let call = api.call("GET", "/events");
    let mut stream = call.connect();
    stream.write_all(call.head().as_bytes()).unwrap();
    let mut seen = Vec::new();
    let mut name = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if let Some(event) = line.strip_prefix("event: ") {
            event.clone_into(&mut name);
        }
        if let Some(data) = line.strip_prefix("data: ") {
            let data: Value = serde_json::from_str(data).unwrap();
            let is_wanted = wanted(&name, &data);
            seen.push((name.clone(), data));
            if is_wanted {
                break;
            }
        }
    }
    seen
}

#[test]
fn the_progress_of_an_update_is_sent() {
    let api = Api::new();
    let first = events_until(&api, |name, _| name == "progress");
    let (name, state) = &first[0];
    assert_eq!(name, "state");
    assert_eq!(
        (&state["current_version"], &state["total"]),
        (&json!("1.0.0"), &json!(1))
    );
    assert_eq!(
        first[1].1,
        json!({ "what": null, "done_bytes": 0, "total_bytes": null })
    );

    assert_eq!(api.upload(&api.bundle(&Version::good("1.1.0"))).status, 201);
    let seen = thread::scope(|scope| {
        let listening = scope.spawn(|| {
            let address = api.address;
            let token = api.token.clone();
            move || {
                let call = Call::new(address, "GET", &format!("{OTA}/events"))
                    .header("authorization", &format!("Bearer {token}"));
                let mut stream = call.connect();
                stream.write_all(call.head().as_bytes()).unwrap();
                BufReader::new(stream)
                    .lines()
                    .map_while(Result::ok)
                    .find(|line| line.contains("\"completed\"") && line.contains("1.1.0"))
            }
        });
        let listen = listening.join().unwrap();
        let waiting = scope.spawn(listen);
        api.take_in();
        waiting.join().unwrap()
    });
    let data = seen.unwrap();
    let state: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(state["current_version"], "1.1.0");
    assert_eq!(state["restarts"], json!(["backend", "frontend"]));
    let phases = state["phases"].as_array().unwrap();
    assert_eq!(
        (phases.first(), phases.last()),
        (Some(&json!("verifying")), Some(&json!("completed")))
    );
    let notes = state["notes"].to_string();
    let root = api.device.config.folder.display().to_string();
    assert!(!notes.contains(&root), "a path is shown: {notes}");
}

#[test]
fn too_many_listeners_are_refused() {
    let api = Api::new();
    let listen = || {
        let call = api.call("GET", "/events");
        let mut stream = call.connect();
        stream.write_all(call.head().as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap())
            .read_line(&mut line)
            .unwrap();
        (stream, line)
    };
    let all: Vec<_> = (0..256).map(|_| listen()).collect();
    assert!(all.iter().all(|(_, line)| line.contains(" 200 ")));
    assert!(listen().1.contains(" 503 "));
    // The others are answered all the same.
    assert_eq!(api.get("")["total"], 1);
}

#[test]
fn metrics_say_how_it_is() {
    let api = Api::new();
    let metrics = Call::new(api.address, "GET", "/metrics")
        .header("authorization", &format!("Bearer {}", api.token))
        .send();
    assert!(
        metrics
            .header("content-type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    for line in [
        "ota_version_info{version=\"1.0.0\"} 1",
        "ota_updates{phase=\"completed\"} 1",
        "ota_updates{phase=\"failed\"} 0",
        "ota_update_active 0",
        "ota_stuck 0",
        "# TYPE ota_http_answers_total counter",
    ] {
        assert!(metrics.body.contains(line), "{line}\n{}", metrics.body);
    }
}

#[test]
fn the_document_is_served() {
    let api = Api::new();
    let document = api.get("/openapi.json");
    assert_eq!(document["info"]["title"], "OTA updates");
    assert!(document["paths"][OTA]["get"].is_object());
}

#[test]
fn with_a_certificate_everything_is_encrypted() {
    let device = super::Device::with(&Version::good("1.0.0"));
    let mut config = device.config.clone();
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| config.etc.join(name));
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=device", "-addext", "subjectAltName=DNS:device"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    config.web.certificate = Some(certificate.clone());
    config.web.key = Some(key);
    let api = Api::of(super::Device { config, ..device });
    let curl = |arguments: &[&str]| {
        let output = std::process::Command::new("curl")
            .args(["--silent", "--show-error", "--include", "--cacert"])
            .arg(&certificate)
            .arg("--resolve")
            .arg(format!("device:{}:127.0.0.1", api.address.port()))
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let base = format!("https://device:{}", api.address.port());
    assert!(curl(&[&format!("{base}/health")]).contains("{\"status\":\"ok\"}"));
    let login = curl(&[
        "--json",
        &json!({ "password": api.password }).to_string(),
        &format!("{base}{OTA}/session"),
    ]);
    assert!(login.contains("; Secure"), "{login}");
    assert_eq!(curl(&[&format!("http://device:{}/health", api.address.port())]), "");
}
