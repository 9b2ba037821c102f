//! Bundles in parts: split, joined while they are read, and refused where anything is not as listed.

use std::fs;
use std::io::{Cursor, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use bundle::parts::{Joined, PartsError, PartsList, Source, SplitError, find_damage, list_name, split};
use bundle::read::{Trust, VerifyError, verify};
use bundle::{Digest, hash_all};
use tempfile::TempDir;

use crate::fixture::{self, Sample};

const NAME: &str = "app-update-2.1.0.tar.gz";

/// A directory with a bundle in parts of `size` bytes.
fn directory_with(bytes: &[u8], size: u64) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    split(bytes, NAME, size, directory.path()).unwrap();
    let list = directory.path().join(list_name(NAME));
    (directory, list)
}

fn part(list: &Path, number: usize) -> PathBuf {
    list.with_file_name(format!("{NAME}.part-{number:03}"))
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn split_and_verified_in_place() {
    let sample = Sample::new();
    for (bytes, size) in [
        (sample.tar_gz(), 100_003),
        (sample.zip(), 65_536),
        (sample.tar_gz(), 7001),
    ] {
        let (_directory, list) = directory_with(&bytes, size);
        assert!(part(&list, 2).exists());
        let source = Source::open(&list).unwrap();
        assert_eq!(source.size().unwrap(), bytes.len() as u64);
        let mut bundle = verify(source, &Trust::Unsigned, &|_| {}).unwrap();
        assert_eq!(**bundle.manifest(), sample.manifest);
        for (digest, size) in sample
            .inputs
            .iter()
            .flat_map(|input| input.platforms.values())
            .flat_map(|i| i.blobs())
        {
            assert_eq!(hash_all(bundle.open_blob(&digest).unwrap()).unwrap(), (digest, size));
        }
        find_damage(&list).unwrap();
    }
}

#[test]
fn parts_are_the_bundle_in_order() {
    let bytes = fixture::noise(5, 10_000);
    for (size, count) in [(10_000, 1), (9_999, 2), (5_000, 2), (3_000, 4), (20_000, 1)] {
        let (directory, list) = directory_with(&bytes, size);
        let found = PartsList::from_json(&fs::read(&list).unwrap()).unwrap();
        assert_eq!((found.parts.len(), found.size), (count, 10_000));
        assert_eq!(found.sha256.0, Digest::of(&bytes));
        assert_eq!(found.bundle.as_str(), NAME);
        let mut joined = Vec::new();
        for part in &found.parts {
            let content = fs::read(directory.path().join(&part.name)).unwrap();
            assert_eq!((content.len() as u64, Digest::of(&content)), (part.size, part.sha256.0));
            joined.extend(content);
        }
        assert_eq!(joined, bytes);
        assert_eq!(names(directory.path()).len(), count + 1);
    }
}

#[test]
fn seeking_and_reading_anywhere() {
    let bytes = fixture::noise(6, 1000);
    let pieces = bytes
        .chunks(7)
        .map(|chunk| (Cursor::new(chunk.to_vec()), chunk.len() as u64));
    let mut joined = Joined::new(pieces);
    for at in [0, 6, 7, 8, 500, 993, 994, 999, 1000, 2000] {
        joined.seek(SeekFrom::Start(at)).unwrap();
        let mut rest = Vec::new();
        joined.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, bytes[1000.min(at as usize)..], "{at}");
    }
    assert_eq!(joined.seek(SeekFrom::End(-10)).unwrap(), 990);
    assert_eq!(joined.seek(SeekFrom::Current(-90)).unwrap(), 900);
    let mut ten = [0; 10];
    joined.read_exact(&mut ten).unwrap();
    assert_eq!(ten, bytes[900..910]);
    assert!(joined.seek(SeekFrom::Current(-911)).is_err());
    assert_eq!(joined.stream_position().unwrap(), 910);
}

/// What an earlier cut left is neither joined nor kept.
#[test]
fn split_again_into_fewer() {
    let bytes = fixture::noise(5, 10_000);
    let (directory, _) = directory_with(&bytes, 1_000);
    fs::write(directory.path().join("other.tar.gz.part-004"), "kept").unwrap();
    split(&bytes[..], NAME, 4_000, directory.path()).unwrap();
    let part = |number| format!("{NAME}.part-{number:03}");
    assert_eq!(
        names(directory.path()),
        [
            part(1),
            part(2),
            part(3),
            list_name(NAME),
            "other.tar.gz.part-004".to_owned()
        ]
    );
}

#[test]
fn what_cannot_be_split() {
    let directory = tempfile::tempdir().unwrap();
    let error = |bytes: &[u8], name: &str, size| split(bytes, name, size, directory.path()).unwrap_err();
    assert!(matches!(error(b"x", NAME, 0), SplitError::NoSize));
    assert!(matches!(error(b"", NAME, 9), SplitError::List(PartsError::Count(0))));
    for name in ["", "../x.tar.gz", "a/b.tar.gz", ".hidden.tar.gz", &"x".repeat(81)] {
        assert!(
            matches!(error(b"x", name, 9), SplitError::List(PartsError::Bundle(_))),
            "{name}"
        );
    }
    assert_eq!(names(directory.path()), [""; 0]);
    let many = error(&[0; 1000], NAME, 1);
    assert!(matches!(many, SplitError::List(PartsError::Count(1000))), "{many}");
    assert!(!directory.path().join(list_name(NAME)).exists());
    split(&[0; 999][..], NAME, 1, directory.path()).unwrap();
}

#[test]
fn a_reader_that_fails_leaves_no_list() {
    let (directory, list) = directory_with(b"before", 3);
    let failing = Cursor::new([0; 10]).chain(FailingReader);
    let error = split(failing, NAME, 4, directory.path()).unwrap_err();
    assert!(matches!(error, SplitError::Read(_)), "{error}");
    assert!(!list.exists());
    assert!(names(directory.path()).iter().all(|name| !name.starts_with('.')));
}

struct FailingReader;

impl std::io::Read for FailingReader {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("input/output error"))
    }
}

/// What opening gives, or else why verification refuses it and what is then found.
fn refusal(list: &Path) -> PartsError {
    match Source::open(list) {
        Err(error) => error,
        Ok(source) => {
            verify(source, &Trust::Unsigned, &|_| {}).unwrap_err();
            find_damage(list).unwrap_err()
        }
    }
}

#[track_caller]
fn check(spoil: impl FnOnce(&Path), expected: &str) {
    let (_directory, list) = directory_with(&fixture::tar_gz(), 100_003);
    spoil(&list);
    let error = refusal(&list);
    assert!(error.to_string().contains(expected), "{error}");
    assert!(!error.is_unreadable());
}

macro_rules! hostile_parts {
    ($($test:ident: $spoil:expr, $expected:expr;)*) => {$(
        #[test]
        fn $test() {
            check($spoil, $expected);
        }
    )*};
}

hostile_parts! {
    missing_part: |list| fs::remove_file(part(list, 2)).unwrap(), "part-002 is missing";
    truncated_part: |list| fs::write(part(list, 2), "short").unwrap(), "part-002 has 5 bytes, but must have 100003";
    longer_part: |list| append(&part(list, 3)), "part-003 has 100004 bytes";
    changed_part: |list| change(&part(list, 3)), "part-003 is damaged";
    reordered_parts: |list| swap(&part(list, 2), &part(list, 3)), "part-002 is damaged";
    part_of_another_bundle: |list| fs::write(part(list, 2), fixture::noise(1, 100_003)).unwrap(), "part-002 is damaged, or of another bundle";
    part_that_is_a_directory: |list| { fs::remove_file(part(list, 2)).unwrap(); fs::create_dir(part(list, 2)).unwrap(); }, "part-002 has";
}

fn append(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes.push(0);
    fs::write(path, bytes).unwrap();
}

fn change(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[1000] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn swap(a: &Path, b: &Path) {
    let bytes = [a, b].map(|path| fs::read(path).unwrap());
    fs::write(a, &bytes[1]).unwrap();
    fs::write(b, &bytes[0]).unwrap();
}

/// A part with a number that the list does not name is not read.
#[test]
fn an_extra_part_is_not_joined() {
    let sample = Sample::new();
    let (_directory, list) = directory_with(&sample.tar_gz(), 100_003);
    fs::write(part(&list, 998), "stale").unwrap();
    let bundle = verify(Source::open(&list).unwrap(), &Trust::Unsigned, &|_| {}).unwrap();
    assert_eq!(**bundle.manifest(), sample.manifest);
}

/// A list that agrees with its parts does not make a bundle of them.
#[test]
fn a_list_vouches_for_nothing() {
    let mut bytes = fixture::tar_gz();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let (_directory, list) = directory_with(&bytes, 100_003);
    find_damage(&list).unwrap();
    let error = verify(Source::open(&list).unwrap(), &Trust::Unsigned, &|_| {}).unwrap_err();
    assert!(!error.is_unreadable(), "{error}");
}

/// A part that is cut off after it was opened is a bundle that ends too early.
#[test]
fn cut_off_after_opening() {
    let (_directory, list) = directory_with(&fixture::tar_gz(), 100_003);
    let source = Source::open(&list).unwrap();
    fs::write(part(&list, 2), "").unwrap();
    let error = verify(source, &Trust::Unsigned, &|_| {}).unwrap_err();
    assert!(matches!(error, VerifyError::Truncated), "{error}");
}

fn good_list() -> serde_json::Value {
    let (_directory, list) = directory_with(&fixture::noise(5, 10_000), 4_000);
    serde_json::from_slice(&fs::read(list).unwrap()).unwrap()
}

#[track_caller]
fn check_list(spoil: impl FnOnce(&mut serde_json::Value), expected: &str) {
    let mut list = good_list();
    spoil(&mut list);
    let error = PartsList::from_json(list.to_string().as_bytes()).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn lists_that_contradict_themselves() {
    PartsList::from_json(good_list().to_string().as_bytes()).unwrap();
    let parts = |list: &mut serde_json::Value| list["parts"].as_array_mut().unwrap().clone();
    check_list(
        |list| list["parts"][1]["name"] = "../../etc/shadow".into(),
        "where `app-update-2.1.0.tar.gz.part-002` must be",
    );
    check_list(
        |list| list["parts"][0]["name"] = format!("{NAME}.part-1").into(),
        "part-001` must be",
    );
    check_list(
        |list| {
            let mut changed = parts(list);
            changed.swap(0, 1);
            list["parts"] = changed.into();
        },
        "where `app-update-2.1.0.tar.gz.part-001` must be",
    );
    check_list(
        |list| list["parts"][1]["size"] = 0.into(),
        "part-002 cannot have 0 bytes",
    );
    check_list(
        |list| list["parts"][1]["size"] = u64::MAX.into(),
        "part-002 cannot have",
    );
    check_list(|list| list["parts"][1]["size"] = (-1).into(), "cannot be read");
    check_list(
        |list| list["size"] = 9_999.into(),
        "the parts have 10000 bytes, but the bundle has 9999",
    );
    check_list(|list| list["parts"] = serde_json::json!([]), "0 parts");
    check_list(
        |list| {
            let first = list["parts"][0].clone();
            list["parts"] = vec![first; 1000].into();
        },
        "1000 parts",
    );
    for name in ["../x", "/x", ".x", "a/b", "a\u{1b}[31m"] {
        check_list(|list| list["bundle"] = name.into(), "");
    }
    check_list(
        |list| list["format_version"] = "2.0".into(),
        "the list of parts has format 2.0",
    );
    check_list(
        |list| drop(list.as_object_mut().unwrap().remove("sha256")),
        "missing field `sha256`",
    );
    let twice = good_list().to_string().replacen('{', "{\"size\":1,", 1);
    assert!(
        PartsList::from_json(twice.as_bytes())
            .unwrap_err()
            .to_string()
            .contains("duplicate field")
    );
    assert!(matches!(
        PartsList::from_json(&vec![b' '; 2 << 20]),
        Err(PartsError::TooLarge)
    ));
    // A minor version only adds keys that may be left unread.
    let mut newer = good_list();
    newer["format_version"] = "1.7".into();
    newer["more"] = true.into();
    PartsList::from_json(newer.to_string().as_bytes()).unwrap();
}

#[test]
fn a_list_under_another_name() {
    let (_directory, list) = directory_with(&fixture::tar_gz(), 100_003);
    let renamed = list.with_file_name("app-update-3.0.0.tar.gz.parts.json");
    fs::rename(&list, &renamed).unwrap();
    let error = Source::open(&renamed).unwrap_err();
    assert!(
        error.to_string().contains("list of `app-update-2.1.0.tar.gz`"),
        "{error}"
    );
}
