//! What GitHub says, and downloads from there, against a double of it.

use github_double::{Draft, GitHub};
use serde_json::{Value, json};

use super::{Api, Device, Version, expect};
use device::config::github::Settings;

const REPOSITORY: &str = "owner/app";

fn draft(version: &str) -> Draft {
    Draft {
        tag: format!("v{version}"),
        target: String::new(),
        name: version.to_owned(),
        body: "notes".to_owned(),
        prerelease: false,
    }
}

/// A device that knows a repository without releases.
fn device() -> (GitHub, Api) {
    let github = GitHub::start().unwrap();
    github.world().add_repository(REPOSITORY);
    let device = Device::with(&Version::good("1.0.0"));
    let mut config = device.config.clone();
    config.github = Some(
        Settings::try_from(&bundle::manifest::GitHub {
            repository: REPOSITORY.parse().unwrap(),
            api: Some(github.api_url()),
        })
        .unwrap(),
    );
    (github, Api::of(Device { config, ..device }))
}

fn publish(github: &GitHub, api: &Api, version: &'static str) {
    let bytes = api.bundle(&Version::good(version));
    let name = format!("app-update-{version}.tar.gz");
    github.world().publish(REPOSITORY, draft(version), &[(&name, &bytes)]);
}

#[test]
fn the_four_answers_of_github() {
    let (github, api) = device();
    let none = api.get("/check");
    assert_eq!(
        none,
        json!({
            "current_version": "1.0.0", "latest_version": "1.0.0", "update_available": false,
            "github_latest_version": null, "github_download_url": null, "github_release_url": null, "github_error": null,
        })
    );
    publish(&github, &api, "1.0.0");
    let same = api.get("/check");
    assert_eq!(
        (&same["github_latest_version"], &same["update_available"]),
        (&json!("1.0.0"), &json!(false))
    );
    assert!(same["github_release_url"].as_str().unwrap().contains("v1.0.0"));

    publish(&github, &api, "1.1.0");
    let newer = api.get("/check");
    assert_eq!(
        (&newer["latest_version"], &newer["update_available"]),
        (&json!("1.1.0"), &json!(true))
    );
    assert!(
        newer["github_download_url"]
            .as_str()
            .unwrap()
            .ends_with("app-update-1.1.0.tar.gz")
    );
    // A caller without credentials causes no request, and learns nothing.
    github.forget_requests();
    assert_eq!(
        api.anonymous("GET", "/check").send().json()["github_latest_version"],
        Value::Null
    );
    assert!(github.requests().is_empty());

    drop(github);
    let away = api.get("/check");
    assert!(
        away["github_error"]
            .as_str()
            .unwrap()
            .contains("GitHub cannot be reached"),
        "{away}"
    );
    // What was known stays known, and the local part answers.
    assert_eq!(
        (&away["current_version"], &away["github_latest_version"]),
        (&json!("1.0.0"), &json!("1.1.0"))
    );
}

#[test]
fn a_bundle_is_downloaded_and_applied() {
    let (github, api) = device();
    publish(&github, &api, "1.1.0");
    let url = api.get("/check")["github_download_url"].clone();
    let id = api.register("1.1.0");
    let apply = |body: &Value| api.send(api.call("POST", &format!("/{id}/apply")).json(body));
    let wrong = "0".repeat(64);
    expect(
        &apply(&json!({ "download_url": url, "file_hash_sha256": wrong })),
        422,
        "file_hash_sha256 is not what GitHub says",
    );
    expect(&apply(&json!({ "file_hash_sha256": "abc" })), 422, "is not a SHA-256");
    let answer = apply(&json!({ "download_url": url }));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(api.get(&format!("/{id}"))["status"], "downloading");
    api.download();
    api.take_in();
    let update = api.get(&format!("/{id}"));
    assert_eq!(update["status"], "completed", "{update}");
    assert_eq!(api.get("")["total"], 2);
}

#[test]
fn only_assets_of_the_declared_repository_are_downloaded() {
    let (github, api) = device();
    publish(&github, &api, "1.1.0");
    let own = api.get("/check")["github_download_url"].as_str().unwrap().to_owned();
    let id = api.register("1.2.0");
    let apply = |url: &str| {
        api.send(
            api.call("POST", &format!("/{id}/apply"))
                .json(&json!({ "download_url": url })),
        )
    };
    github.forget_requests();
    for url in [
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:8450/api/v1/ota",
        "file:///etc/passwd",
        "https://github.com/owner/app/releases/download/v1.2.0/app-update-1.2.0.tar.gz",
        "",
        "nonsense",
        &own.replace("owner/app", "owner/other"),
        &own.replace("http://", "http://evil@"),
    ] {
        expect(&apply(url), 422, "not an asset of a release of the declared repository");
    }
    expect(
        &apply(&own),
        422,
        "download_url is of 1.1.0, and the update is to 1.2.0",
    );
    assert!(github.requests().is_empty());
    assert_eq!(api.get(&format!("/{id}"))["status"], "pending");
}

#[test]
fn a_device_that_knows_no_repository_says_so() {
    let api = Api::new();
    let check = api.get("/check");
    assert_eq!(check["github_error"], "this device knows no repository on GitHub");
    let id = api.register("1.1.0");
    let body = json!({ "download_url": "https://github.com/owner/app/releases/download/v1.1.0/a.tar.gz" });
    let answer = api.send(api.call("POST", &format!("/{id}/apply")).json(&body));
    expect(&answer, 422, "not an asset of a release of the declared repository");
}
