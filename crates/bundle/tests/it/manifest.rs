//! Which manifests are read, and which are refused.

use bundle::Digest;
use bundle::manifest::{AnyManifest, Manifest, ManifestError};
use serde_json::{Value, json};

use crate::fixture::Sample;

fn good() -> Value {
    serde_json::from_slice(&Sample::new().manifest.to_json().unwrap()).unwrap()
}

fn read(json: &Value) -> Result<Manifest, ManifestError> {
    Manifest::from_json(json.to_string().as_bytes())
}

#[track_caller]
fn check(spoil: impl FnOnce(&mut Value), expected: &str) {
    let mut json = good();
    spoil(&mut json);
    let error = read(&json).expect_err(expected).to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn old_devices_find_their_five_keys_first() {
    let json = String::from_utf8(Sample::new().manifest.to_json().unwrap()).unwrap();
    let keys: Vec<&str> = json
        .lines()
        .filter_map(|line| line.strip_prefix("  \"")?.split('"').next())
        .take(6)
        .collect();
    assert_eq!(
        keys,
        [
            "version",
            "images_sha256",
            "created_at",
            "changelog",
            "images",
            "format_version"
        ]
    );
    assert!(json.ends_with("}\n"));
    let good = good();
    assert_eq!(good["images"], json!(["app-backend:2.1.0", "app-web:2.1.0"]));
    assert_eq!(good["images_sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn what_keeps_a_bundle_from_being_published_is_written_only_where_it_is_so() {
    let good = good();
    assert!(good.get("dirty").is_none() && good.get("unpinned").is_none(), "{good}");
    let mut manifest = Sample::new().manifest;
    manifest.dirty = true;
    manifest.unpinned = vec!["postgres:17".to_owned()];
    let json = manifest.to_json().unwrap();
    assert_eq!(Manifest::from_json(&json).unwrap(), manifest);
}

#[test]
fn old_five_key_manifest() {
    let old = json!({
        "version": "2.0.0", "images_sha256": Digest::of(b"").hex(),
        "created_at": "2024-05-01T10:00:00.123456+02:00", "changelog": "x", "images": ["a:2.0.0"],
    });
    let bytes = old.to_string();
    match AnyManifest::from_json(bytes.as_bytes()) {
        Ok(AnyManifest::Legacy(manifest)) => assert_eq!(manifest.images, ["a:2.0.0"]),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        Manifest::from_json(bytes.as_bytes()),
        Err(ManifestError::Legacy)
    ));
}

#[test]
fn newer_minor_version_with_unknown_keys() {
    let mut json = good();
    json["format_version"] = json!("1.7");
    json["split_hint"] = json!({"parts": 3});
    json["files"][0]["compressed"] = json!(true);
    json["image_details"][0]["platforms"][0]["note"] = json!("x");
    assert_eq!(read(&json).unwrap().files, Sample::new().manifest.files);
}

#[test]
fn newer_major_version() {
    check(
        |json| {
            json["format_version"] = json!("2.0");
            // Nothing else of it needs to make sense.
            json["files"] = json!("elsewhere");
        },
        "the bundle has format 2.0, and this program reads format 1.x",
    );
}

#[test]
fn unknown_requirement() {
    check(
        |json| json["requires"] = json!(["delta"]),
        "the bundle requires `delta`, which this program does not know",
    );
}

#[test]
fn key_given_twice() {
    let json = good().to_string().replacen('{', r#"{"version":"9.9.9","#, 1);
    let error = Manifest::from_json(json.as_bytes()).expect_err("twice").to_string();
    assert!(error.contains("duplicate field `version`"), "{error}");
}

#[test]
fn too_large() {
    let error = Manifest::from_json(&vec![b' '; (4 << 20) + 1]).expect_err("large");
    assert!(matches!(error, ManifestError::TooLarge(_)));
}

#[test]
fn not_json() {
    for bytes in [&b""[..], b"[]", b"{", b"\xff", b"null", &b"[".repeat(100_000)] {
        assert!(matches!(Manifest::from_json(bytes), Err(ManifestError::Json(_))));
    }
}

macro_rules! refused {
    ($($test:ident: $spoil:expr, $reason:expr;)*) => {$(
        #[test]
        fn $test() {
            check($spoil, $reason);
        }
    )*};
}

refused! {
    version_not_semantic: |m| m["version"] = json!("2.1"), "cannot be read";
    format_version_of_one_number: |m| m["format_version"] = json!("1"), "is not a format version";
    product_in_capitals: |m| m["product"] = json!("App"), "only lower-case";
    digest_too_short: |m| m["images_sha256"] = json!("abc"), "64 lower-case hexadecimal";
    digest_of_another_kind: |m| m["image_details"][0]["platforms"][0]["config"] = json!("md5:x"), "does not begin with";
    time_without_zone: |m| m["created_at"] = json!("2026-01-31T12:00:00"), "`created_at`";
    commit_that_is_none: |m| m["commit"] = json!("main"), "`commit`";
    unknown_role: |m| m["files"][0]["role"] = json!("virus"), "unknown variant";
    file_name_with_dots: |m| m["files"][0]["name"] = json!("../x"), "`.` or `..` part";
    file_called_like_the_images: |m| m["files"][0]["name"] = json!("Images.tar"), "that the format itself uses";
    file_twice: |m| { let file = m["files"][0].clone(); push(&mut m["files"], file); }, "is there twice";
    files_that_differ_in_case: |m| m["files"][1]["name"] = json!("DOCKER-compose.prod.yml"), "is there twice";
    file_and_directory: |m| m["files"][1]["name"] = json!("bin"), "`bin` is a file and a directory";
    images_as_directory: |m| m["files"][1]["name"] = json!("images.tar/x"), "`images.tar` is a file and a directory";
    no_compose_file: |m| m["files"][0]["role"] = json!("extra"), "it names no compose file";
    two_installers: |m| { let mut file = m["files"][1].clone(); file["name"] = json!("x"); push(&mut m["files"], file); }, "more than one file is the installer";
    updater_for_another_platform: |m| m["files"][2]["platform"] = json!("linux/riscv64"), "which the bundle does not have";
    no_images: |m| { m["images"] = json!([]); m["image_details"] = json!([]); }, "it names no images";
    no_platforms: |m| m["platforms"] = json!([]), "it names no platforms";
    platforms_not_sorted: |m| m["platforms"] = json!(["linux/arm64", "linux/amd64"]), "not sorted";
    platform_twice: |m| m["platforms"] = json!(["linux/arm64", "linux/arm64/v8"]), "not sorted";
    image_lists_differ: |m| m["images"][0] = json!("other:1"), "do not name the same images";
    image_lacks_a_platform: |m| m["image_details"][0]["platforms"] = json!([]), "exactly the bundle's platforms";
    image_twice: |m| { for list in ["images", "image_details"] { let first = m[list][0].clone(); push(&mut m[list], first); } }, "image `app-backend` is there twice";
    reference_of_another_name: |m| { m["images"][0] = json!("evil:1"); m["image_details"][0]["reference"] = json!("evil:1"); }, "is not a reference";
    layer_of_two_sizes: |m| m["image_details"][0]["platforms"][0]["layers"][0]["size"] = json!(5), "is recorded in two ways";
    layer_that_is_a_manifest: |m| { let digest = m["image_details"][0]["platforms"][0]["manifest"].clone(); m["image_details"][0]["platforms"][0]["config"] = digest; }, "is recorded in two ways";
    size_beyond_measure: |m| m["images_size"] = json!(u64::MAX), "larger than 1 TiB";
    too_many_files: |m| { let file = m["files"][0].clone(); (0..2000).for_each(|_| push(&mut m["files"], file.clone())); }, "2003 files, more than the 1024 allowed";
    environment_key_with_equals: |m| m["environment"][0]["name"] = json!("A=B"), "`environment.name`";
    environment_key_twice: |m| { let key = m["environment"][0].clone(); push(&mut m["environment"], key); }, "environment key `APP_VERSION` is there twice";
    environment_value_of_two_lines: |m| m["environment"][2]["value"] = json!({"default": "a\nB=c"}), "one line of text";
    short_secret: |m| m["environment"][1]["value"] = json!({"generated": {"length": 4}}), "16 to 256";
}

fn push(list: &mut Value, item: Value) {
    list.as_array_mut().unwrap().push(item);
}

#[test]
fn a_contradictory_manifest_is_not_written() {
    let mut manifest = Sample::new().manifest;
    manifest.images.pop();
    assert!(matches!(manifest.to_json(), Err(ManifestError::Inconsistent(_))));
}
