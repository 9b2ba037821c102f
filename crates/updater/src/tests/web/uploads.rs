//! Uploaded bundles, in one request and in several: accepted, refused, interrupted, continued.

use std::{fs, io::Write as _, net::Shutdown, time::Duration};

use serde_json::json;

use super::{Answer, Api, OTA, Version, expect};
use device::state::Phase;

const BYTES: &str = "application/offset+octet-stream";

impl Api {
    /// Begins an upload in several requests, and gives its path below the base.
    fn begin(&self, length: usize) -> String {
        let answer = self
            .call("POST", "/uploads")
            .header("tus-resumable", "1.0.0")
            .header("upload-length", &length.to_string())
            .send();
        assert_eq!(answer.status, 201, "{answer:?}");
        let location = answer.header("location").unwrap();
        location.strip_prefix(OTA).unwrap().to_owned()
    }

    fn piece(&self, path: &str, offset: usize, bytes: &[u8]) -> Answer {
        self.call("PATCH", path)
            .header("tus-resumable", "1.0.0")
            .header("upload-offset", &offset.to_string())
            .body(BYTES, bytes)
            .send()
    }

    fn offset(&self, path: &str) -> usize {
        let answer = self.call("HEAD", path).header("tus-resumable", "1.0.0").send();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("upload-offset").unwrap().parse().unwrap()
    }
}

#[test]
fn a_form_with_a_bundle_is_accepted() {
    let api = Api::new();
    let bytes = api.bundle(&Version::good("1.1.0"));
    let answer = api.upload(&bytes);
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(
        answer.json(),
        json!({ "status": "success", "message": "1.1.0 was uploaded and is applied next" })
    );
    assert_eq!(api.files(), ["app-update-1.1.0-amd64.tar.gz"]);
    let path = answer.header("location").unwrap().strip_prefix(OTA).unwrap();
    let update = api.get(path);
    assert_eq!(update["file_hash_sha256"], bundle::Digest::of(&bytes).hex());
    assert_eq!(update["file_size_bytes"], bytes.len());
    assert_eq!(
        (&update["status"], &update["changelog"]),
        (&json!("pending"), &json!("- 1.1.0"))
    );

    expect(&api.upload(&bytes), 409, "1.1.0 was uploaded already, and waits");
    api.take_in();
    assert_eq!(api.get(path)["status"], "completed");
    assert_eq!(api.get("")["total"], 2, "the daemon took the record that was there");
    expect(&api.upload(&bytes), 409, "1.1.0 is installed already");
    assert!(api.files().is_empty());
}

#[test]
fn a_bundle_that_failed_is_not_uploaded_again_while_it_is_here() {
    let api = Api::new();
    let version = Version {
        fault: "unhealthy",
        ..Version::good("1.1.0")
    };
    let bytes = api.bundle(&version);
    assert_eq!(api.upload(&bytes).status, 201);
    api.take_in();
    expect(
        &api.upload(&bytes),
        409,
        "1.1.0 is on this device already; apply it in the list",
    );
    // It was removed: the same update gets it back.
    let update = api.newest();
    fs::remove_file(update.bundle.unwrap()).unwrap();
    assert_eq!(api.get(&format!("/{}", update.public_id))["has_firmware_file"], false);
    assert_eq!(api.upload(&bytes).status, 201);
    let again = api.newest();
    assert_eq!((again.public_id, again.state.phase), (update.public_id, Phase::Pending));
    api.take_in();
    assert_eq!(api.newest().state.phase, Phase::Failed);
    // A better bundle of the same version is another update.
    assert_eq!(api.upload(&api.bundle(&Version::good("1.1.0"))).status, 201);
    api.take_in();
    assert_eq!(api.device.expect_whole("in the end"), "1.1.0");
}

#[test]
fn a_registered_version_gets_its_bundle() {
    let api = Api::new();
    let id = api.register("1.1.0");
    let answer = api.upload(&api.bundle(&Version::good("1.1.0")));
    assert_eq!(answer.header("location"), Some(&*format!("{OTA}/{id}")));
    api.take_in();
    assert_eq!(api.get(&format!("/{id}"))["status"], "completed");
    expect(
        &api.upload(&api.bundle(&Version::readable("1.1.0"))),
        409,
        "from another bundle",
    );
}

#[test]
fn what_is_no_bundle_is_refused_and_leaves_nothing() {
    let api = Api::new();
    let whole = api.bundle(&Version::good("1.1.0"));
    let mut other = whole.clone();
    let last = other.len() - 5;
    other.truncate(last);
    for (bytes, status, detail) in [
        (&b"hello"[..], 400, "neither gzip nor zip"),
        (b"", 400, "neither gzip nor zip"),
        (b"\x1f\x8b", 400, "this is not a bundle"),
        (&whole[..200], 400, "this is not a bundle"),
        (b"PK\x03\x04 and nothing more", 400, "this is not a bundle"),
    ] {
        expect(&api.upload(bytes), status, detail);
        assert!(api.files().is_empty(), "{:?}", api.files());
    }
    assert_eq!(api.get("")["total"], 1);
    // One that is damaged behind its manifest is found by the daemon, and the update says so.
    assert_eq!(api.upload(&other).status, 201);
    api.take_in();
    let update = api.newest();
    assert_eq!(update.state.phase, Phase::Failed, "{update:?}");
    assert!(update.error.is_some());
    assert_eq!(api.device.expect_whole("in the end"), "1.0.0");
}

#[test]
fn a_large_file_that_is_no_bundle_is_refused_before_its_end() {
    let api = Api::new();
    // gzip, and then nothing that is a bundle's.
    let bytes = [&b"\x1f\x8b"[..], &[7; 300 << 10]].concat();
    let call = api.call("POST", "/upload").form("a.tar.gz", &bytes);
    let claimed = call.header("content-length", &(100 << 20).to_string());
    expect(&claimed.send(), 400, "this is not a bundle");
    assert!(api.files().is_empty());
}

#[test]
fn what_does_not_fit_on_the_disk_is_refused_at_once() {
    let api = Api::new();
    let more_than_any = (1_u64 << 60).to_string();
    let form = api.call("POST", "/upload").form("a.tar.gz", b"\x1f\x8b");
    expect(
        &form.header("content-length", &more_than_any).send(),
        413,
        "do not fit on the device's disk",
    );
    let begin = api
        .call("POST", "/uploads")
        .header("tus-resumable", "1.0.0")
        .header("upload-length", &more_than_any);
    expect(&begin.send(), 413, "do not fit on the device's disk");
    assert!(api.files().is_empty());
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let api = Api::new();
    let bytes = api.bundle(&Version::good("1.1.0"));
    let call = api.call("POST", "/upload").form("a.tar.gz", &bytes);
    let call = call.header("content-length", &(bytes.len() * 10).to_string());
    let mut stream = call.connect();
    stream.write_all(call.head().as_bytes()).unwrap();
    stream
        .write_all(b"--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.tar.gz\"\r\n\r\n")
        .unwrap();
    stream.write_all(&bytes).unwrap();
    eventually("it is being received", || !api.files().is_empty());
    assert!(api.files()[0].starts_with(".partial-upload-"), "{:?}", api.files());
    // The intake does not see it, however long it is there.
    api.take_in();
    stream.shutdown(Shutdown::Both).unwrap();
    eventually("it is gone", || api.files().is_empty());
    assert_eq!(api.get("")["total"], 1);
}

#[test]
fn a_broken_upload_goes_on_where_it_was() {
    let api = Api::new();
    let bytes = api.bundle(&Version::good("1.1.0"));
    let path = api.begin(bytes.len());
    assert_eq!(api.offset(&path), 0);
    let third = bytes.len() / 3;
    let answer = api.piece(&path, 0, &bytes[..third]);
    assert_eq!(
        (answer.status, answer.header("upload-offset")),
        (204, Some(&*third.to_string()))
    );
    assert_eq!(answer.header("location"), None);

    // The next piece breaks off in the middle.
    let call = api
        .call("PATCH", &path)
        .header("tus-resumable", "1.0.0")
        .header("upload-offset", &third.to_string())
        .body(BYTES, &bytes[third..]);
    let mut stream = call.connect();
    stream.write_all(call.head().as_bytes()).unwrap();
    stream.write_all(&bytes[third..third + 100]).unwrap();
    eventually("some of it is here", || {
        let hidden = api.files().into_iter().find(|name| !name.ends_with(".json")).unwrap();
        let size = fs::metadata(api.device.config.updates().join(hidden)).unwrap().len();
        size == third as u64 + 100
    });
    drop(stream);
    assert_eq!(api.offset(&path), third + 100);
    expect(
        &api.piece(&path, third, &bytes[third..]),
        409,
        &format!("continues at byte {}", third + 100),
    );

    let answer = api.piece(&path, third + 100, &bytes[third + 100..]);
    assert_eq!(answer.status, 204, "{answer:?}");
    let update = answer.header("location").unwrap().strip_prefix(OTA).unwrap();
    assert_eq!(api.get(update)["file_hash_sha256"], bundle::Digest::of(&bytes).hex());
    assert_eq!(api.files(), ["app-update-1.1.0-amd64.tar.gz"]);
    expect(&api.piece(&path, 0, b"x"), 404, "there is no such upload");
    api.take_in();
    assert_eq!(api.device.expect_whole("in the end"), "1.1.0");
}

#[test]
fn an_upload_survives_a_restart_of_the_updater() {
    let api = Api::new();
    let bytes = api.bundle(&Version::good("1.1.0"));
    let path = api.begin(bytes.len());
    assert_eq!(api.piece(&path, 0, &bytes[..500]).status, 204);
    let leftover = api.device.config.updates().join(".partial-upload-1");
    fs::write(&leftover, "of an upload in one request").unwrap();
    let api = Api::of(api.device);
    eventually("an upload that cannot continue is removed", || !leftover.exists());
    assert_eq!(api.offset(&path), 500);
    let answer = api.piece(&path, 500, &bytes[500..]);
    assert_eq!(answer.status, 204, "{answer:?}");
    let update = answer.header("location").unwrap().strip_prefix(OTA).unwrap();
    assert_eq!(api.get(update)["file_hash_sha256"], bundle::Digest::of(&bytes).hex());
}

#[test]
fn an_upload_that_is_refused_or_given_up_is_gone() {
    let api = Api::new();
    let path = api.begin(1000);
    expect(&api.piece(&path, 0, b"hello"), 400, "neither gzip nor zip");
    expect(&api.piece(&path, 0, b"hello"), 404, "there is no such upload");
    let path = api.begin(3);
    expect(
        &api.piece(&path, 0, b"\x1f\x8b and more"),
        413,
        "more came than was announced",
    );
    let path = api.begin(1000);
    assert_eq!(api.piece(&path, 0, b"\x1f\x8b").status, 204);
    let given_up = api.call("DELETE", &path).header("tus-resumable", "1.0.0").send();
    assert_eq!(given_up.status, 204);
    assert!(api.files().is_empty(), "{:?}", api.files());
}

#[test]
fn the_protocol_is_kept() {
    let api = Api::new();
    let options = api.anonymous("OPTIONS", "/uploads").send();
    assert_eq!((options.status, options.header("tus-version")), (204, Some("1.0.0")));
    let begin = || api.call("POST", "/uploads");
    expect(&begin().send(), 400, "the header Tus-Resumable is missing");
    expect(
        &begin().header("tus-resumable", "0.2.2").send(),
        412,
        "Tus-Resumable must be 1.0.0",
    );
    let begin = || begin().header("tus-resumable", "1.0.0");
    expect(&begin().send(), 400, "upload-length must be a number of bytes");
    expect(&begin().header("upload-length", "-1").send(), 400, "upload-length");
    expect(
        &begin().header("upload-length", "0").send(),
        400,
        "an empty file is not a bundle",
    );
    let path = api.begin(1000);
    let piece = api.call("PATCH", &path).header("tus-resumable", "1.0.0");
    expect(&piece.clone().body("text/plain", b"x").send(), 415, BYTES);
    expect(
        &piece.body(BYTES, b"x").send(),
        400,
        "upload-offset must be a number of bytes",
    );
    for id in ["nonsense", "../../etc/passwd", "0b7e0cdb-0000-4000-8000-000000000000"] {
        let id = id.replace('/', "%2f");
        expect(
            &api.piece(&format!("/uploads/{id}"), 0, b"x"),
            404,
            "there is no such upload",
        );
    }
}

#[test]
fn the_oldest_broken_upload_makes_room() {
    let api = Api::new();
    let paths: Vec<_> = (0..4)
        .map(|_| {
            let path = api.begin(1000);
            // Files are ordered by their times.
            std::thread::sleep(Duration::from_millis(20));
            path
        })
        .collect();
    let fifth = api.begin(1000);
    assert_eq!(api.offset(&fifth), 0);
    expect(&api.piece(&paths[0], 0, b"\x1f\x8b"), 404, "there is no such upload");
    assert_eq!(api.offset(&paths[1]), 0);
}

/// Waits until something is so.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {what}");
}
