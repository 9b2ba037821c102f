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
fn directory() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_directory("bin/", SimpleFileOptions::default()).unwrap();
    check(zip.finish().unwrap().into_inner(), "is a directory");
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

/// The parts of a good zip bundle: entries, directory, end record.
fn parts() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let bytes = fixture::zip();
    let end = bytes.len() - 22;
    let directory = u32::from_le_bytes(bytes[end + 16..end + 20].try_into().unwrap()) as usize;
    (
        bytes[..directory].to_vec(),
        bytes[directory..end].to_vec(),
        bytes[end..].to_vec(),
    )
}

/// A bundle whose directory lies `by` bytes farther back than in the good one.
fn moved(before: &[u8], by: usize, after: &[u8], end: &[u8]) -> Vec<u8> {
    let (entries, directory, _) = parts();
    let mut end = end.to_vec();
    end[16..20].copy_from_slice(&u32::try_from(entries.len() + by).unwrap().to_le_bytes());
    [&entries, before, &directory, after, &end].concat()
}

#[test]
fn second_directory() {
    let (_, directory, end) = parts();
    let second = [&directory[..], &end].concat();
    check(
        moved(&second, second.len(), b"", &end),
        "something stands before its directory",
    );
    check(moved(b"", 0, &second, &end), "something stands after its directory");
}

/// Python, for one, believes a zip64 record wherever there is one.
#[test]
fn zip64_record_that_only_some_programs_read() {
    let (entries, directory, end) = parts();
    let record = |start: usize| {
        let at = (entries.len() + directory.len()) as u64;
        let mut record = b"PK\x06\x06".to_vec();
        for number in [44, 45 | 45 << 16, 5, 5, directory.len() as u64, start as u64] {
            record.extend(u64::to_le_bytes(number));
        }
        // Versions and disk numbers have 12 bytes together.
        record.splice(16..16, [0; 4]);
        record.extend(b"PK\x06\x07\0\0\0\0");
        record.extend(at.to_le_bytes());
        record.extend([1, 0, 0, 0]);
        record
    };
    let good = record(entries.len());
    check(moved(b"", 0, &good, &end), "something stands after its directory");
    let with = |record: &[u8]| {
        let mut bytes = moved(b"", 0, record, &end);
        let position = bytes.len() - 6;
        bytes[position..position + 4].fill(0xff);
        bytes
    };
    check(with(&record(entries.len() - 1)), "something stands after its directory");
    check(
        with(&[&good[..], &good].concat()),
        "its zip64 record is not where it must be",
    );
    let mut many = good.clone();
    many[32] = 0xff;
    many[39] = 0xff;
    check(with(&many), "18374686479671623935 entries");
    // The control: a record that is needed is read.
    verify(Cursor::new(with(&good)), &Trust::Unsigned, &|_| {}).unwrap();
    // As archives of more than 4 GiB are written: the end record tells neither size nor position.
    let mut bytes = with(&good);
    let size = bytes.len() - 10;
    bytes[size..size + 4].fill(0xff);
    verify(Cursor::new(bytes), &Trust::Unsigned, &|_| {}).unwrap();
}

#[test]
fn something_between_entries() {
    let bytes = fixture::zip();
    let second = bytes
        .windows(4)
        .skip(1)
        .position(|window| window == b"PK\x03\x04")
        .unwrap()
        + 1;
    let (_, mut directory, mut end) = parts();
    let mut entries = bytes[..bytes.len() - 22 - directory.len()].to_vec();
    entries.splice(second..second, *b"hidden");
    end[16..20].copy_from_slice(&u32::try_from(entries.len()).unwrap().to_le_bytes());
    let mut at = 0;
    while at < directory.len() {
        let field = |from: usize| directory[at + from..].first_chunk().map(|b| u16::from_le_bytes(*b));
        let length = 46
            + [28, 30, 32]
                .map(|from| usize::from(field(from).unwrap()))
                .iter()
                .sum::<usize>();
        let start = u32::from_le_bytes(directory[at + 42..at + 46].try_into().unwrap());
        if start > 0 {
            directory[at + 42..at + 46].copy_from_slice(&(start + 6).to_le_bytes());
        }
        at += length;
    }
    check(
        [entries, directory, end].concat(),
        "something stands between its entries",
    );
}

#[test]
fn modes_that_a_bundle_never_has() {
    for mode in [0o104_755_u32, 0o100_666, 0o020_644, 0o010_644] {
        let (_, directory, _) = parts();
        let mut bytes = fixture::zip();
        let at = bytes.len() - 22 - directory.len() + 38;
        bytes[at..at + 4].copy_from_slice(&(mode << 16).to_le_bytes());
        check(bytes, "entry `manifest.json` has a mode that a bundle never has");
    }
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
