//! What a release writes: limited to a platform, as zip, with checksums.

use std::fs;

use serde_json::json;

use crate::support::{files::manifest, product::Product, run::tool};

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_limited_release_says_so_in_its_name_and_manifest() {
    let product = Product::new();
    let release = product.release(&["--platform", "linux/arm64"]);
    let names: Vec<_> = release.digests().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["acme-update-1.0.0-arm64.tar.gz"]);
    let manifest = manifest(&product.path("dist").join(names[0]));
    assert_eq!(manifest["platforms"], json!(["linux/arm64"]));
    for image in manifest["image_details"].as_array().unwrap() {
        let platforms: Vec<_> = image["platforms"]
            .as_array()
            .unwrap()
            .iter()
            .map(|on| &on["platform"])
            .collect();
        assert_eq!(platforms, ["linux/arm64"]);
    }
    assert!(
        !product.bundle().exists(),
        "a limited release must not look like a whole one"
    );
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_zip_is_read_by_unzip_and_verifies() {
    let product = Product::new();
    product.release(&["--zip", "--platform", "linux/amd64"]);
    let dist = product.path("dist");
    let zip = "acme-update-1.0.0-amd64.zip";
    assert!(tool(&dist, "unzip", &["-t", zip]).contains("No errors detected"));
    assert_eq!(
        tool(&dist, "unzip", &["-Z1", zip]).lines().collect::<Vec<_>>(),
        [
            "manifest.json",
            "manifest.json.minisig",
            "docker-compose.prod.yml",
            "images.tar"
        ]
    );
    let key = product.public.to_string();
    product
        .run(&["bundle", "verify", &format!("dist/{zip}"), "--trust", &key])
        .expect(0)
        .prints("acme 1.0.0 is whole: 2 images, signed by");
    // Both forms carry the same manifest.
    let arguments = ["-p", zip, "manifest.json"];
    let in_zip: serde_json::Value = serde_json::from_str(&tool(&dist, "unzip", &arguments)).unwrap();
    assert_eq!(in_zip, manifest(&dist.join("acme-update-1.0.0-amd64.tar.gz")));
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn checksums_name_every_bundle() {
    let product = Product::new();
    product.release(&["--zip"]);
    let dist = product.path("dist");
    let checked = tool(&dist, "sha256sum", &["--check", "--strict", "SHA256SUMS"]);
    let mut names: Vec<_> = fs::read_dir(&dist)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name != "SHA256SUMS");
    names.sort();
    assert_eq!(names.len(), 6);
    assert_eq!(
        checked,
        names.iter().map(|name| format!("{name}: OK\n")).collect::<String>()
    );
}
