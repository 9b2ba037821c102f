//! Steps are skipped when nothing changed, and only then.

use std::{fs, path::PathBuf};

use bundle::Digest;
use pipeline::facts::vendored::{Vendor, VendoredImage};

use crate::support::{
    files::{change_a_byte, manifest, sha256, snapshot},
    layout,
    product::Product,
};

const ALL: [&str; 3] = [
    "acme-update-1.0.0.tar.gz",
    "acme-update-1.0.0-amd64.tar.gz",
    "acme-update-1.0.0-arm64.tar.gz",
];

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_second_release_repacks_nothing_and_says_so() {
    let product = Product::new();
    let first = product.release(&[]);
    assert_eq!(first.written(), ALL);
    let dist = snapshot(&product.path("dist"));
    let modified = || fs::metadata(product.bundle()).unwrap().modified().unwrap();
    let written_at = modified();
    let outcome = product.run(&["release", "1.0.0"]).expect(0);
    for name in ALL {
        assert!(
            outcome.stderr.contains(&format!("dist/{name} is up to date")),
            "{outcome}"
        );
    }
    let outcome = outcome.says("nothing changed: all bundles were up to date");
    assert!(!outcome.stderr.contains("written"), "{outcome}");
    assert_eq!(snapshot(&product.path("dist")), dist);
    assert_eq!(modified(), written_at);
    assert_eq!(product.release(&[]).digests(), first.digests());
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_changed_source_byte_is_released() {
    let product = Product::new();
    // What is not committed is not, from the beginning: neither that nor the commit changes, so only the build can tell.
    product.write("notes.txt", "to be done\n");
    let first = product.release(&["--allow-dirty"]);
    product.write("api/arm64/program", "for arm65\n");
    let second = product.release(&["--allow-dirty"]);
    assert_eq!(second.written(), [ALL[0], ALL[2]]);
    assert_eq!(
        second.bundles[1],
        crate::support::product::Released {
            unchanged: true,
            ..first.bundles[1].clone()
        }
    );
    product.write("api/arm64/program", "for arm64\n");
    assert_eq!(product.release(&["--allow-dirty"]).digests(), first.digests());
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_deleted_bundle_is_written_again_with_the_same_bytes() {
    let product = Product::new();
    let first = product.release(&[]);
    fs::remove_file(product.bundle()).unwrap();
    let second = product.release(&[]);
    assert_eq!(second.written(), [ALL[0]]);
    assert_eq!(second.digests(), first.digests());
    assert_eq!(sha256(&product.bundle()), first.bundles[0].sha256);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_changed_byte_in_a_bundle_is_noticed() {
    let product = Product::new();
    let first = product.release(&[]);
    change_a_byte(&product.bundle());
    assert_ne!(sha256(&product.bundle()), first.bundles[0].sha256);
    assert_eq!(product.release(&[]).written(), [ALL[0]]);
    assert_eq!(sha256(&product.bundle()), first.bundles[0].sha256);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn another_signing_key_signs_everything_again() {
    let product = Product::new();
    let first = product.release(&[]);
    let other = Product::new();
    let secret = other
        .command(&[])
        .get_envs()
        .find_map(|(name, value)| (name == "ACME_SIGNING_KEY").then_some(value?.to_owned()));
    let outcome = crate::support::run::run(
        product
            .command(&["release", "1.0.0"])
            .env("ACME_SIGNING_KEY", secret.unwrap()),
    );
    outcome.expect(0);
    assert_ne!(sha256(&product.bundle()), first.bundles[0].sha256);
    let key = other.public.to_string();
    product
        .run(&["bundle", "verify", "dist/acme-update-1.0.0.tar.gz", "--trust", &key])
        .expect(0);
}

/// Compressed layers and rewritten manifests, and what BuildKit exported.
fn blobs(product: &Product) -> Vec<PathBuf> {
    let files = snapshot(&product.state()).into_keys();
    let blobs: Vec<_> = files
        .filter(|path| path.parent().unwrap().ends_with("blobs/sha256"))
        .collect();
    assert!(
        blobs
            .iter()
            .any(|path| path.starts_with(product.state().join("layers")))
    );
    assert!(
        blobs
            .iter()
            .any(|path| path.starts_with(product.state().join("images")))
    );
    blobs
}

fn assert_whole(product: &Product) {
    for (path, digest) in snapshot(&product.state()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Ok(expected) = Digest::from_hex(name) {
            assert_eq!(digest, expected, "{} is damaged", path.display());
        }
    }
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn deleted_blobs_are_made_again() {
    let product = Product::new();
    let first = product.release(&[]);
    let all = blobs(&product);
    for blob in &all {
        fs::remove_file(blob).unwrap();
    }
    // Whether bundles must be packed or not.
    let second = product.release(&[]);
    assert_eq!(second.written(), [""; 0]);
    assert_eq!(blobs(&product), all);
    assert_whole(&product);
    for blob in &all {
        fs::remove_file(blob).unwrap();
    }
    fs::remove_file(product.bundle()).unwrap();
    assert_eq!(product.release(&[]).digests(), first.digests());
    assert_whole(&product);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_damaged_blob_never_gets_into_a_bundle() {
    let product = Product::new();
    let first = product.release(&[]);
    for blob in blobs(&product) {
        change_a_byte(&blob);
        for name in ALL {
            fs::remove_file(product.path("dist").join(name)).unwrap();
        }
        let again = product.release(&[]);
        assert_eq!(again.digests(), first.digests(), "after damage to {}", blob.display());
    }
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_moved_base_image_is_released() {
    let product = Product::new();
    product.edit("Dockerfile", "FROM scratch AS web", "FROM acme-base:1 AS web");
    product.write(
        "release.lock",
        "format = 1\n\n[[image]]\nreference = \"acme-base:1\"\nsource = \"substitute\"\n",
    );
    product.commit("on a base image");
    let vendor = |content: &str| {
        let directory = product.path("dist/vendor");
        let layout = directory.join(content);
        let digest = layout::write(&layout, &["amd64", "arm64"], content);
        let mut vendor = Vendor::default();
        vendor.insert(VendoredImage {
            reference: "acme-base:1".to_owned(),
            digest,
            source_digest: None,
            substitute: true,
            made_by: Some("a test".to_owned()),
            layout,
            platforms: Vec::new(),
        });
        vendor.write(&directory).unwrap();
    };
    vendor("old");
    let first = product.release(&[]);
    assert!(
        first.stderr.contains("warning: acme-base:1: a substitute is used"),
        "{}",
        first.stderr
    );
    let layers = |image: usize| manifest(&product.bundle())["image_details"][image]["platforms"][0]["layers"].clone();
    let (web, api) = (layers(0), layers(1));
    assert_eq!(product.release(&[]).written(), [""; 0]);
    vendor("new");
    assert_eq!(product.release(&[]).written(), ALL);
    assert_ne!(layers(0)[0], web[0], "the base's layer");
    assert_eq!(layers(1), api);
    vendor("old");
    assert_eq!(product.release(&[]).digests(), first.digests());
}
