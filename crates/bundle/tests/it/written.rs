//! What is written: exact bytes, with any number of threads, and never something else than the
//! manifest says.

use std::num::NonZeroUsize;

use bundle::image::images_tar::{ImagesTar, Scope};
use bundle::pack::{Content, write_tar_gz, write_tar_gz_on};
use bundle::{BlobStore as _, Digest, PackError};

use crate::fixture::{Sample, platform};

/// If this fails, the format's bytes have changed: every release would differ from the same release
/// made before. `flate2` or `zlib-rs` may be the reason; then the tar's digest below still holds.
#[test]
fn golden_bytes() {
    let sample = Sample::new();
    let bytes = sample.tar_gz();
    let mut tar = flate2::read::MultiGzDecoder::new(&bytes[..]);
    let tar = bundle::hash_all(&mut tar).unwrap();
    assert_eq!(
        (
            tar.0.hex().as_str(),
            tar.1,
            Digest::of(&bytes).hex().as_str(),
            bytes.len()
        ),
        GOLDEN,
    );
}

const GOLDEN: (&str, u64, &str, usize) = (
    "3f8ac5234d25365bba8a425bc595dafcba5d82b338087b09624d9629a261ec31",
    2_842_624,
    "5864c5b568cab3d16a6e04e5597769d168a3cdb803e17b385f58a671ba385ffa",
    2_816_702,
);

#[test]
fn entries_in_order() {
    let bytes = Sample::new().tar_gz();
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(&bytes[..]));
    let listing: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let (mode, mtime) = (header.mode().unwrap(), header.mtime().unwrap());
            format!("{mode:o} {mtime} {}", entry.path().unwrap().display())
        })
        .collect();
    assert_eq!(
        listing,
        [
            "644 1769860800 manifest.json",
            "644 1769860800 docker-compose.prod.yml",
            "755 1769860800 install.sh",
            "755 1769860800 bin/updater-linux-arm64",
            "644 1769860800 images.tar",
        ]
    );
}

#[test]
fn threads_do_not_change_a_byte() {
    let sample = Sample::new();
    let manifest = sample.manifest.to_json().unwrap();
    let contents = sample.contents(&manifest, None);
    let pack = |threads: usize| {
        let mut out = Vec::new();
        let threads = NonZeroUsize::new(threads).unwrap();
        let digest = write_tar_gz_on(threads, &mut out, &contents, &|_| {}).unwrap();
        assert_eq!(digest, Digest::of(&out));
        digest
    };
    let one = pack(1);
    for threads in [2, 3, 8] {
        assert_eq!(pack(threads), one, "{threads} threads");
    }
}

#[test]
fn order_of_images_does_not_matter() {
    let sample = Sample::new();
    let mut inputs = sample.inputs.clone();
    inputs.reverse();
    let other = ImagesTar::plan(&inputs, &sample.store, &Scope::AllPlatforms).unwrap();
    let digest = |images: &ImagesTar| images.sha256(&sample.store, &|_| {}).unwrap();
    assert_eq!(digest(&other), digest(&sample.images));
}

#[test]
fn progress_adds_up_to_the_archive() {
    let sample = Sample::new();
    let manifest = sample.manifest.to_json().unwrap();
    let total = std::cell::Cell::new(0);
    let mut out = Vec::new();
    let progress = |bytes| total.set(total.get() + bytes);
    write_tar_gz(&mut out, &sample.contents(&manifest, None), &progress).unwrap();
    let tar = bundle::hash_all(flate2::read::MultiGzDecoder::new(&out[..])).unwrap();
    assert_eq!(total.get(), tar.1);
}

#[test]
fn one_platform_archive_has_only_its_blobs() {
    let arm64 = Scope::OnePlatform(platform("linux/arm64"));
    let sample = Sample::with(arm64, &[(1000, "+gzip")]);
    let all = Sample::with(Scope::AllPlatforms, &[(1000, "+gzip")]);
    assert!(sample.images.size() < all.images.size());
    assert!(all.images.size() < 2 * sample.images.size());
}

/// Packs after `spoil`, and expects an error.
fn check_refused(spoil: impl FnOnce(&mut Sample), expected: &str) {
    let mut sample = Sample::new();
    spoil(&mut sample);
    let manifest = sample.manifest.to_json().unwrap();
    let result = write_tar_gz(std::io::sink(), &sample.contents(&manifest, None), &|_| {});
    let error = result.expect_err(expected).to_string();
    assert!(error.contains(expected), "{error}");
}

fn blob_path(sample: &Sample, digest: &Digest) -> std::path::PathBuf {
    sample.directory().join("blobs/sha256").join(digest.hex())
}

#[test]
fn blob_changed_after_planning() {
    check_refused(
        |sample| {
            let path = blob_path(sample, &sample.layer(0).digest);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[100_000] ^= 1;
            std::fs::write(path, bytes).unwrap();
        },
        "has changed: its content is now",
    );
}

#[test]
fn blob_cut_off_after_planning() {
    check_refused(
        |sample| {
            let path = blob_path(sample, &sample.layer(0).digest);
            std::fs::OpenOptions::new()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(70_000)
                .unwrap();
        },
        "has 70000 bytes, but 200000 are recorded",
    );
}

#[test]
fn blob_gone_after_planning() {
    check_refused(
        |sample| std::fs::remove_file(blob_path(sample, &sample.layer(1).digest)).unwrap(),
        "cannot be read: no image layout has this blob",
    );
}

#[test]
fn file_changed_after_its_record() {
    let changed = |sample: &mut Sample| {
        sample.files[1].content = Content::Bytes(b"#!/bin/sh\nexit 1\n".to_vec());
    };
    check_refused(changed, "file `install.sh` differs");
    let changed = |sample: &mut Sample| {
        let path = sample.directory().join("install.sh");
        std::fs::write(&path, "#!/bin/sh\nexit 1\n").unwrap();
        sample.files[1].content = Content::Path(path);
    };
    check_refused(changed, "install.sh differs");
}

#[test]
fn manifest_of_other_images() {
    check_refused(
        |sample| sample.manifest.images_sha256 = Digest::of(b"other").into(),
        "images.tar is another one",
    );
}

#[test]
fn full_disk() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let sample = Sample::new();
    let manifest = sample.manifest.to_json().unwrap();
    let result = write_tar_gz(Full, &sample.contents(&manifest, None), &|_| {});
    match result {
        Err(PackError::Write(error)) => assert_eq!(error.kind(), std::io::ErrorKind::StorageFull),
        other => panic!("{other:?}"),
    }
}

#[test]
fn planning_compares_records_with_documents() {
    let check = |spoil: fn(&mut bundle::manifest::PlatformImage), expected: &str| {
        let mut sample = Sample::new();
        let image = sample.inputs[0].platforms.get_mut(&platform("linux/arm64")).unwrap();
        spoil(image);
        let result = ImagesTar::plan(&sample.inputs, &sample.store, &Scope::AllPlatforms);
        let error = result.expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(|image| image.layers.swap(0, 1), "other layers");
    check(|image| image.layers[0].diff_id = Digest::of(b"x"), "other diff ids");
    check(|image| image.config = image.manifest, "another configuration");
    check(
        |image| image.platform = platform("linux/amd64"),
        "linux/amd64, not for linux/arm64",
    );
    check(|image| image.manifest_size += 1, "bytes, but");
    check(
        |image| image.manifest = Digest::of(b"x"),
        "no image layout has this blob",
    );
}

#[test]
fn planning_compares_platforms_with_configurations() {
    let mut sample = Sample::new();
    let platforms = &mut sample.inputs[0].platforms;
    let mut wrong = platforms[&platform("linux/amd64")].clone();
    wrong.platform = platform("linux/arm64");
    platforms.insert(wrong.platform.clone(), wrong);
    let result = ImagesTar::plan(&sample.inputs, &sample.store, &Scope::AllPlatforms);
    let error = result.expect_err("wrong platform").to_string();
    assert!(error.contains("is for linux/amd64, not for linux/arm64"), "{error}");
}

#[test]
fn image_lacks_the_platform() {
    let sample = Sample::new();
    let scope = Scope::OnePlatform(platform("linux/arm/v7"));
    let result = ImagesTar::plan(&sample.inputs, &sample.store, &scope);
    assert!(matches!(result, Err(PackError::NoPlatform { .. })), "{result:?}");
}

#[test]
fn shared_blobs_are_there_once() {
    let sample = Sample::new();
    let mut inner = Vec::new();
    let bytes = sample.tar_gz();
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(&bytes[..]));
    let images = archive.entries().unwrap().map(Result::unwrap).nth(4).unwrap();
    for entry in tar::Archive::new(images).entries().unwrap() {
        inner.push(entry.unwrap().path().unwrap().display().to_string());
    }
    assert_eq!(inner[..3], ["oci-layout", "index.json", "manifest.json"]);
    // Two images on two platforms: 4 manifests, 4 configurations, 2 indexes; 3 layers each platform.
    assert_eq!(inner.len(), 3 + 4 + 4 + 2 + 6);
    let unique: std::collections::BTreeSet<&String> = inner.iter().collect();
    assert_eq!(unique.len(), inner.len());
    assert_eq!(sample.store.size(&sample.layer(0).digest).unwrap(), 200_000);
}
