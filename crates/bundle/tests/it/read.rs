//! What verification finds, and reading contents in place afterwards.

use std::io::{Cursor, Read as _};

use bundle::manifest::AnyManifest;
use bundle::read::{Origin, Trust, read_manifest, verify};
use bundle::{BlobStore as _, Digest};

use crate::fixture::{self, Sample};

fn check_all_contents(bytes: Vec<u8>, sample: &Sample) {
    let mut verified = verify(Cursor::new(bytes), &Trust::Unsigned, &|_| {}).unwrap();
    assert_eq!(**verified.manifest(), sample.manifest);
    assert_eq!(*verified.origin(), Origin::Unknown { claimed: None });
    assert_eq!(
        verified.manifest_digest(),
        Digest::of(&sample.manifest.to_json().unwrap())
    );
    for input in &sample.inputs {
        for (digest, size) in input.platforms.values().flat_map(|image| image.blobs()) {
            let mut content = Vec::new();
            verified.open_blob(&digest).unwrap().read_to_end(&mut content).unwrap();
            assert_eq!((Digest::of(&content), content.len() as u64), (digest, size));
        }
    }
    for file in &sample.manifest.files {
        let read = bundle::hash_all(verified.open_file(&file.name).unwrap()).unwrap();
        assert_eq!(read, (file.sha256.0, file.size));
    }
    let missing = verified.open_blob(&Digest::of(b"missing")).map(drop).unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn tar_gz_contents_in_place() {
    let sample = Sample::new();
    check_all_contents(sample.tar_gz(), &sample);
}

#[test]
fn zip_contents_in_place() {
    let sample = Sample::new();
    check_all_contents(sample.zip(), &sample);
}

/// A bundle that was unpacked with gzip and compressed again as one member is still a bundle.
#[test]
fn single_member_contents_in_place() {
    let sample = Sample::new();
    let bytes = sample.tar_gz();
    let tar = flate2::read::MultiGzDecoder::new(&bytes[..]);
    let mut single = Vec::new();
    flate2::read::GzEncoder::new(tar, flate2::Compression::fast())
        .read_to_end(&mut single)
        .unwrap();
    check_all_contents(single, &sample);
}

/// A compressed layer begins with a member of its own, so reading it decompresses nothing else.
#[test]
fn compressed_layers_lie_as_they_are() {
    let sample = Sample::new();
    let bytes = sample.tar_gz();
    let layer = sample.layer(0);
    let mut content = Vec::new();
    sample
        .store
        .open(&layer.digest)
        .unwrap()
        .read_to_end(&mut content)
        .unwrap();
    let begin = &content[..60_000];
    let at = bytes.windows(begin.len()).position(|window| window == begin).unwrap();
    // A gzip header of 10 bytes and a stored block's header of 5 come before.
    assert_eq!(bytes[at - 15..at - 12], [0x1f, 0x8b, 8]);
}

#[test]
fn change_after_verification_is_noticed() {
    for bytes in [fixture::tar_gz(), fixture::zip()] {
        let sample = Sample::new();
        let file = sample.directory().join("bundle");
        std::fs::write(&file, &bytes).unwrap();
        let source = std::fs::File::open(&file).unwrap();
        let mut verified = verify(source, &Trust::Unsigned, &|_| {}).unwrap();
        let layer = sample.layer(0);
        let mut content = Vec::new();
        sample
            .store
            .open(&layer.digest)
            .unwrap()
            .read_to_end(&mut content)
            .unwrap();
        let begin = &content[..60_000];
        let at = bytes.windows(begin.len()).position(|window| window == begin).unwrap();
        let mut changed = bytes.clone();
        changed[at + 10] ^= 1;
        std::fs::write(&file, &changed).unwrap();
        let result = bundle::hash_all(verified.open_blob(&layer.digest).unwrap());
        assert!(result.is_err(), "{result:?}");
    }
}

#[test]
fn progress_is_told() {
    let sample = Sample::new();
    let total = std::cell::Cell::new(0);
    let progress = |bytes| total.set(total.get() + bytes);
    verify(Cursor::new(sample.tar_gz()), &Trust::Unsigned, &progress).unwrap();
    let files: u64 = sample.manifest.files.iter().map(|file| file.size).sum();
    assert_eq!(total.get(), files + sample.manifest.images_size);
}

#[test]
fn manifest_alone() {
    let sample = Sample::new();
    for bytes in [sample.tar_gz(), sample.zip()] {
        let found = read_manifest(Cursor::new(bytes)).unwrap();
        assert_eq!(found.manifest, AnyManifest::V1(Box::new(sample.manifest.clone())));
        assert_eq!(found.signature, None);
    }
}
