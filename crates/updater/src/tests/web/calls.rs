//! Registering, listing, applying, rolling back, deleting.

use serde_json::{Value, json};

use super::{Api, Device, OTA, Version, expect};
use device::engine::lock::Lock;

#[test]
fn a_version_is_registered_once() {
    let api = Api::new();
    let answer = api
        .call("POST", "")
        .json(&json!({ "version": "1.1.0", "changelog": "- *new*" }))
        .send();
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(
        answer.json(),
        json!({ "status": "success", "message": "1.1.0 is registered; upload its bundle to apply it" })
    );
    let path = answer.header("location").unwrap().strip_prefix(OTA).unwrap();
    let update = api.get(path);
    let expected = [
        "changelog",
        "completed_on",
        "created_on",
        "error_message",
        "file_hash_sha256",
        "file_size_bytes",
        "has_firmware_file",
        "phase",
        "public_id",
        "started_on",
        "status",
        "user_public_id",
        "version",
    ];
    assert_eq!(update.as_object().unwrap().keys().collect::<Vec<_>>(), expected);
    assert_eq!(update["version"], "1.1.0");
    assert_eq!(update["changelog"], "- *new*");
    assert_eq!(
        (&update["status"], &update["phase"]),
        (&json!("pending"), &json!("pending"))
    );
    assert_eq!(update["has_firmware_file"], false);
    assert_eq!(update["user_public_id"], "token ci");

    let again = api.call("POST", "").json(&json!({ "version": "1.1.0" })).send();
    expect(&again, 409, "1.1.0 is in the list already");
    for version in [
        "",
        "1",
        "1.1",
        "v1.1.0",
        "1.1.0 ",
        "latest",
        "../1.0.0",
        &"9".repeat(200),
    ] {
        if version.trim() == "1.1.0" {
            continue;
        }
        let answer = api.call("POST", "").json(&json!({ "version": version })).send();
        expect(&answer, 422, "is not a semantic version");
    }
    assert_eq!(api.get("")["total"], 2);
}

#[test]
fn the_list_comes_in_parts_the_newest_first() {
    let api = Api::new();
    for version in ["1.1.0", "1.2.0", "1.3.0"] {
        api.register(version);
    }
    let versions = |list: &Value| -> Vec<String> {
        let data = list["data"].as_array().unwrap();
        data.iter()
            .map(|update| update["version"].as_str().unwrap().to_owned())
            .collect()
    };
    let list = api.get("?page=1&page_size=3");
    assert_eq!(versions(&list), ["1.3.0", "1.2.0", "1.1.0"]);
    assert_eq!(
        (&list["total"], &list["page"], &list["page_size"]),
        (&json!(4), &json!(1), &json!(3))
    );
    assert_eq!(versions(&api.get("?page=2&page_size=3")), ["1.0.0"]);
    assert!(versions(&api.get("?page=99")).is_empty());
    for query in [
        "?page=0",
        "?page_size=0",
        "?page_size=101",
        "?page=-1",
        "?page=x",
        "?page=99999999999999999999",
    ] {
        let answer = api.call("GET", query).send();
        assert_eq!(answer.status, 422, "{query} {answer:?}");
    }
    // The largest page that there could be, and one more.
    assert!(versions(&api.get("?page=1000000&page_size=100")).is_empty());
    let beyond = api.call("GET", "?page=1000001").send();
    expect(&beyond, 422, "page is 1 to 1000000");
}

#[test]
fn what_was_uploaded_is_applied_and_rolled_back_and_applied_again() {
    let api = Api::new();
    assert_eq!(api.upload(&api.bundle(&Version::readable("1.1.0"))).status, 201);
    api.take_in();
    let id = api.newest().public_id;
    let update = api.get(&format!("/{id}"));
    assert_eq!(
        (&update["status"], &update["has_firmware_file"]),
        (&json!("completed"), &json!(true))
    );
    assert_eq!(api.get("/check")["current_version"], "1.1.0");

    let plan = api.get(&format!("/{id}/rollback"));
    assert_eq!(plan, json!({ "version": "1.0.0", "discards_data_since": null }));
    let answer = api.send(api.call("POST", &format!("/{id}/rollback")));
    assert_eq!(
        (answer.status, answer.json()["message"].as_str()),
        (200, Some("1.1.0 is being rolled back"))
    );
    assert_eq!(api.get(&format!("/{id}"))["status"], "rolled_back");
    assert_eq!(api.get("/check")["current_version"], "1.0.0");

    let again = api.send(api.call("POST", &format!("/{id}/rollback")));
    expect(&again, 409, "only a completed one can be rolled back");
    let applied = api.send(api.call("POST", &format!("/{id}/apply")).json(&json!({})));
    assert_eq!(
        (applied.status, applied.json()["message"].as_str()),
        (200, Some("1.1.0 is being applied"))
    );
    assert_eq!(api.get(&format!("/{id}"))["status"], "completed");
    assert_eq!(api.device.expect_whole("in the end"), "1.1.0");
}

#[test]
fn what_cannot_be_applied_says_why() {
    let api = Api::new();
    let installed = api.newest().public_id;
    let apply = |id: &str| api.send(api.call("POST", &format!("/{id}/apply")));
    expect(&apply(&installed), 409, "an update that is completed cannot become");
    let registered = api.register("1.1.0");
    expect(
        &apply(&registered),
        409,
        "1.1.0 was registered without a bundle; upload its bundle",
    );
    expect(
        &apply("0b7e0cdb-0000-4000-8000-000000000000"),
        404,
        "there is no such update",
    );

    // One that does not work, once and once more.
    assert_eq!(
        api.upload(&api.bundle(&Version {
            fault: "unhealthy",
            ..Version::good("1.2.0")
        }))
        .status,
        201
    );
    api.take_in();
    let failed = api.newest().public_id;
    let update = api.get(&format!("/{failed}"));
    assert_eq!(
        (&update["status"], &update["phase"]),
        (&json!("failed"), &json!("failed"))
    );
    assert!(
        update["error_message"]
            .as_str()
            .unwrap()
            .contains("backend is unhealthy"),
        "{update}"
    );
    assert_eq!(apply(&failed).status, 200, "a person may want it again");
    assert_eq!(api.get(&format!("/{failed}"))["status"], "failed");
    assert_eq!(api.device.expect_whole("in the end"), "1.0.0");
}

#[test]
fn a_rollback_that_would_lose_data_needs_the_time_from_when() {
    let api = Api::new();
    assert_eq!(api.upload(&api.bundle(&Version::migrating("2.0.0"))).status, 201);
    api.take_in();
    api.device.wait(30);
    let id = api.newest().public_id;
    let since = api.get(&format!("/{id}/rollback"))["discards_data_since"].clone();
    assert_eq!(since, json!(api.newest().facts.stopped_at.unwrap()));
    let roll_back = |body: &Value| api.send(api.call("POST", &format!("/{id}/rollback")).json(body));
    expect(
        &roll_back(&json!({})),
        409,
        "going back would lose everything written since",
    );
    expect(
        &roll_back(&json!({ "discard_data_since": "2000-01-01T00:00:00Z" })),
        409,
        "is not the one",
    );
    assert_eq!(api.get(&format!("/{id}"))["status"], "completed");
    assert_eq!(roll_back(&json!({ "discard_data_since": since })).status, 200);
    assert_eq!(api.get("/check")["current_version"], "1.0.0");
}

#[test]
fn records_are_deleted_unless_they_are_needed() {
    let api = Api::new();
    let installed = api.newest().public_id;
    let delete = |id: &str| api.send(api.call("DELETE", &format!("/{id}")));
    expect(
        &delete(&installed),
        409,
        "1.0.0 runs, and its record is what a rollback goes by",
    );
    let registered = api.register("1.1.0");
    let answer = delete(&registered);
    assert_eq!(
        (answer.status, answer.json()["message"].as_str()),
        (200, Some("the record of 1.1.0 is removed"))
    );
    expect(&delete(&registered), 404, "there is no such update");

    // A bundle that waits goes with its record, and is not applied later.
    assert_eq!(api.upload(&api.bundle(&Version::good("1.2.0"))).status, 201);
    assert_eq!(api.files(), ["app-update-1.2.0-amd64.tar.gz"]);
    assert_eq!(delete(&api.newest().public_id).status, 200);
    assert!(api.files().is_empty());
    api.take_in();
    assert_eq!(api.get("")["total"], 1);
    assert_eq!(api.device.expect_whole("in the end"), "1.0.0");
}

#[test]
fn while_an_update_is_applied_other_commands_are_refused() {
    let api = Api::new();
    assert_eq!(api.upload(&api.bundle(&Version::good("1.1.0"))).status, 201);
    let id = api.newest().public_id;
    let calls = || {
        [
            api.call("POST", &format!("/{id}/apply")),
            api.call("DELETE", &format!("/{id}")),
        ]
    };
    // A person at the console.
    let lock = Lock::take(&api.device.config.lock(), "updater apply x.tar.gz").unwrap();
    for call in calls() {
        expect(&api.send(call), 409, "`updater apply x.tar.gz`");
    }
    drop(lock);
    // The daemon itself.
    let acting = api.requests.acting("another update");
    for call in calls() {
        expect(&call.send(), 409, "another update is at work");
    }
    drop(acting);
    assert_eq!(api.get(&format!("/{id}"))["status"], "pending");
    // An update that only waits can be requested all the same.
    let _acting = api.requests.acting("another update");
    api.register("1.5.0");
}

#[test]
fn a_device_without_anything_answers_too() {
    let api = Api::of(Device::new());
    assert_eq!(api.get("")["total"], 0);
    assert_eq!(api.get("/check")["current_version"], Value::Null);
    assert_eq!(api.upload(&api.bundle(&Version::good("1.0.0"))).status, 201);
    api.take_in();
    assert_eq!(api.get("/check")["current_version"], "1.0.0");
    let id = api.newest().public_id;
    let answer = api.call("GET", &format!("/{id}/rollback")).send();
    expect(&answer, 409, "nothing was installed before 1.0.0");
}
