//! An `images.tar` whose digest the manifest has right, but whose inside is wrong.

use bundle::{Digest, hash_all};

use crate::fixture::Sample;
use crate::hostile::{Raw, check, check_thoroughly, endless_tar, entries, good_entries, gz, on_a_device, tar};

/// Checks a bundle whose `images.tar` is `images`, with a manifest made to fit.
#[track_caller]
fn check_images(sample: &Sample, images: Vec<u8>, expected: &str) {
    check(with_images(sample, images), expected);
}

fn with_images(sample: &Sample, images: Vec<u8>) -> Vec<u8> {
    let mut outer = good_entries();
    let mut manifest = sample.manifest.clone();
    manifest.images_sha256 = Digest::of(&images).into();
    manifest.images_size = images.len() as u64;
    outer[0].content = manifest.to_json().unwrap();
    outer.last_mut().unwrap().content = images;
    gz(&tar(&outer))
}

/// The good entries of `images.tar` after `spoil`.
fn spoiled(spoil: impl FnOnce(&mut Vec<Raw>)) -> Vec<u8> {
    let images = good_entries().pop().unwrap();
    let mut inner = entries(&images.content[..]);
    spoil(&mut inner);
    tar(&inner)
}

/// Checks the good entries of `images.tar` after `spoil`.
#[track_caller]
fn check_inside(spoil: impl FnOnce(&mut Vec<Raw>), expected: &str) {
    check_images(&Sample::new(), spoiled(spoil), expected);
}

#[test]
fn another_digest_than_the_manifest_says() {
    let sample = Sample::new();
    let mut outer = good_entries();
    let mut manifest = sample.manifest;
    manifest.images_sha256 = Digest::of(b"other").into();
    outer[0].content = manifest.to_json().unwrap();
    check(gz(&tar(&outer)), "entry `images.tar` is not what the manifest says");
}

#[test]
fn missing_blob() {
    check_inside(|inner| drop(inner.pop()), "is missing");
}

#[test]
fn extra_blob() {
    let name = format!("blobs/sha256/{}", Digest::of(b"x").hex());
    check_inside(|inner| inner.push(Raw::file(&name, b"x")), "is not in the manifest");
}

#[test]
fn duplicate_blob() {
    check_inside(|inner| inner.push(inner[9].clone()), "is there twice");
}

#[test]
fn duplicate_index() {
    check_inside(
        |inner| inner.push(inner[1].clone()),
        "`images.tar/index.json` is there twice",
    );
}

/// A device reads it up to its end before it believes it.
#[test]
fn layer_of_another_digest() {
    let sample = Sample::new();
    let layer = sample.layer(0).digest;
    let images = spoiled(|inner| inner.iter_mut().find(|raw| is(raw, layer)).unwrap().content[5] ^= 1);
    let bytes = with_images(&sample, images);
    check_thoroughly(bytes.clone(), "not what the manifest says");
    let mut bundle = on_a_device(bytes).unwrap();
    let error = hash_all(bundle.open_blob(&layer).unwrap()).unwrap_err();
    assert!(
        error.to_string().contains("not what the bundle's manifest says"),
        "{error}"
    );
}

#[test]
fn document_of_another_digest() {
    let sample = Sample::new();
    let platforms = || sample.inputs.iter().flat_map(|input| input.platforms.values());
    for digest in platforms().flat_map(|image| [image.manifest, image.config]) {
        check_inside(
            |inner| {
                let document = &mut inner.iter_mut().find(|raw| is(raw, digest)).unwrap().content;
                *document.last_mut().unwrap() = b' ';
            },
            "not what the manifest says",
        );
    }
}

fn is(raw: &Raw, digest: Digest) -> bool {
    raw.name.ends_with(digest.hex().as_bytes())
}

#[test]
fn blob_of_another_size() {
    check_inside(
        |inner| inner.last_mut().unwrap().content.truncate(9),
        "but the manifest says",
    );
}

#[test]
fn other_file() {
    check_inside(
        |inner| inner.push(Raw::file("repositories", b"{}")),
        "is not in the manifest",
    );
}

#[test]
fn name_in_capitals() {
    check_inside(
        |inner| {
            let last = inner.last_mut().unwrap();
            last.name = last.name.to_ascii_uppercase();
        },
        "is not in the manifest",
    );
}

#[test]
fn link_instead_of_a_blob() {
    check_inside(|inner| inner.last_mut().unwrap().kind = b'2', "is a symbolic link");
}

#[test]
fn path_out_of_the_archive() {
    check_inside(|inner| inner.push(Raw::file("../../evil", b"x")), "`.` or `..` part");
}

#[test]
fn blobs_before_the_index() {
    check_inside(|inner| inner.rotate_left(1), "`images.tar/index.json` comes where");
}

#[test]
fn another_layout_version() {
    let layout = br#"{"imageLayoutVersion":"9.0.0"}"#;
    check_inside(|inner| inner[0].content = layout.to_vec(), "`oci-layout`");
}

#[test]
fn index_that_is_no_json() {
    check_inside(
        |inner| inner[1].content = b"{".to_vec(),
        "`index.json` in images.tar cannot be read",
    );
}

#[test]
fn index_of_a_foreign_image() {
    let digest = Digest::of(b"x");
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
    }]});
    check_inside(
        |inner| inner[1].content = index.to_string().into(),
        "`index.json` in images.tar names",
    );
}

#[test]
fn docker_manifest_of_a_foreign_image() {
    let docker = r#"[{"Config":"../../etc/passwd","RepoTags":["a:b"],"Layers":[]}]"#;
    check_inside(
        |inner| inner[2].content = docker.into(),
        "`manifest.json` in images.tar names",
    );
}

/// Layers in another order: a classic store would build another image of the same blobs.
#[test]
fn docker_manifest_with_swapped_layers() {
    check_inside(
        |inner| {
            let mut docker: serde_json::Value = serde_json::from_slice(&inner[2].content).unwrap();
            docker[0]["Layers"].as_array_mut().unwrap().swap(0, 1);
            inner[2].content = docker.to_string().into();
        },
        "`manifest.json` in images.tar names",
    );
}

#[test]
fn image_for_another_platform_than_its_record() {
    let sample = Sample::new();
    let mut manifest = sample.manifest;
    // The arm64 images are recorded as those of another platform.
    let other: bundle::Platform = "linux/riscv64".parse().unwrap();
    manifest.platforms[1] = other.clone();
    manifest.files[2].role = bundle::manifest::FileRole::Extra;
    for image in &mut manifest.image_details {
        image.platforms[1].platform = other.clone();
    }
    let mut outer = good_entries();
    outer[0].content = manifest.to_json().unwrap();
    check(gz(&tar(&outer)), "is for linux/arm64, not for linux/riscv64");
}

#[test]
fn record_with_other_diff_ids_than_the_image() {
    let sample = Sample::new();
    let mut manifest = sample.manifest;
    manifest.image_details[0].platforms[0].layers[1].diff_id = Digest::of(b"x");
    let mut outer = good_entries();
    outer[0].content = manifest.to_json().unwrap();
    check(
        gz(&tar(&outer)),
        "image `app-backend` for linux/amd64: its configuration has other diff",
    );
}

#[test]
fn no_end() {
    let sample = Sample::new();
    let images = good_entries().pop().unwrap();
    let inner = endless_tar(&entries(&images.content[..]));
    check_images(&sample, inner, "the bundle is incomplete");
}

#[test]
fn data_after_the_end() {
    let sample = Sample::new();
    let mut images = good_entries().pop().unwrap().content;
    images.extend_from_slice(b"more");
    check_images(&sample, images, "data after the end");
}
