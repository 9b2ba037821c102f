//! Hostile and damaged zip bundles.

use std::io::{Cursor, Write as _};

use bundle::read::{Trust, verify};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::fixture::{self, Sample};
use crate::hostile::{Raw, check, good_entries};

fn zip_of(entries: &[Raw], images: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for entry in entries {
        let name = std::str::from_utf8(&entry.name).unwrap();
        let method = if name == "images.tar" {
            images
        } else {
            CompressionMethod::Deflated
        };
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(name, options).unwrap();
        zip.write_all(&entry.content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn written_again_by_a_tool_that_deflates_everything() {
    let sample = Sample::new();
    let bytes = zip_of(&good_entries(), CompressionMethod::Deflated);
    let mut verified = verify(Cursor::new(bytes), &Trust::Unsigned, &|_| {}).unwrap();
    let layer = sample.layer(0);
    let read = bundle::hash_all(verified.open_blob(&layer.digest).unwrap()).unwrap();
    assert_eq!(read, (layer.digest, layer.size));
}

#[track_caller]
fn check_entries(spoil: impl FnOnce(&mut Vec<Raw>), expected: &str) {
    let mut entries = good_entries();
    spoil(&mut entries);
    check(zip_of(&entries, CompressionMethod::Stored), expected);
}

#[test]
fn path_out_of_the_archive() {
    check_entries(
        |entries| entries.insert(1, Raw::file("../evil", b"x")),
        "`.` or `..` part",
    );
}

#[test]
fn extra_file() {
    check_entries(
        |entries| entries.insert(1, Raw::file("evil", b"x")),
        "not in the manifest",
    );
}

#[test]
fn missing_images() {
    check_entries(|entries| drop(entries.pop()), "entry `images.tar` is missing");
}

#[test]
fn changed_file() {
    check_entries(|entries| entries[2].content[0] ^= 1, "is not what the manifest says");
}

#[test]
fn manifest_not_first() {
    check_entries(|entries| entries.swap(0, 1), "the first entry is");
}

#[test]
fn millions_of_entries() {
    let many = (0..3000).map(|n| Raw::file(&format!("f{n}"), b""));
    check_entries(
        |entries| drop(entries.splice(1..1, many)),
        "the zip archive is refused: 3005 entries",
    );
}

#[test]
fn symbolic_link() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_symlink("manifest.json", "/etc/passwd", SimpleFileOptions::default())
        .unwrap();
    check(zip.finish().unwrap().into_inner(), "is a symbolic link");
}

#[test]
fn folder() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_directory("bin/", SimpleFileOptions::default()).unwrap();
    check(zip.finish().unwrap().into_inner(), "is a folder");
}

#[test]
fn trailing_data() {
    check(
        [fixture::zip(), b"more".to_vec()].concat(),
        "does not end where the archive does",
    );
}

#[test]
fn data_in_front() {
    let bytes = [fixture::zip(), fixture::zip()].concat();
    check(bytes, "the zip archive is refused");
}

#[test]
fn cut_off() {
    let bytes = fixture::zip();
    for at in (4..bytes.len()).step_by(bytes.len() / 50) {
        let result = verify(Cursor::new(&bytes[..at]), &Trust::Unsigned, &|_| {});
        assert!(result.is_err(), "{at}");
    }
}

/// The name in front of an entry differs from the one in the directory: two programs would see two
/// different files.
#[test]
fn two_names_for_one_entry() {
    let mut bytes = fixture::zip();
    let at = bytes.windows(10).position(|window| window == b"install.sh").unwrap();
    bytes[at] = b'x';
    check(bytes, "header inconsistency");
}

#[test]
fn changed_layer() {
    let sample = Sample::new();
    let mut bytes = sample.zip();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    check(bytes, "not what the manifest says");
}

/// Damage is a refusal, not a disk that cannot be read.
#[test]
fn damaged_deflate_stream() {
    let mut bytes = fixture::zip();
    let name = bytes.windows(13).position(|window| window == b"manifest.json").unwrap();
    let extra = usize::from(u16::from_le_bytes([bytes[name - 2], bytes[name - 1]]));
    // A deflate block of the reserved type.
    bytes[name + 13 + extra] |= 0b110;
    check(bytes, "the bundle is damaged");
}
