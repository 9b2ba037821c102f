//! Bundles that were damaged or built with intent, one named test each. All are refused, with
//! the reason.

use std::io::{Cursor, Write as _};

use bundle::manifest::Manifest;
use bundle::read::{Layers, Trust, VerifiedBundle, VerifyError, verify, verify_with_legacy};

use crate::fixture::{self, Sample};

/// One entry of a tar that no honest tool would write.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: u8,
    /// What the header says, where that is not the content's length.
    pub(crate) size: Option<u64>,
    pub(crate) content: Vec<u8>,
}

impl Raw {
    pub(crate) fn file(name: &str, content: &[u8]) -> Self {
        Self {
            name: name.into(),
            kind: b'0',
            size: None,
            content: content.to_vec(),
        }
    }

    fn of_kind(name: &str, kind: u8) -> Self {
        Self {
            kind,
            ..Self::file(name, b"")
        }
    }
}

/// The entries of a good tar.
pub(crate) fn entries(tar: impl std::io::Read) -> Vec<Raw> {
    let mut archive = tar::Archive::new(tar);
    archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            Raw {
                name: entry.path_bytes().to_vec(),
                kind: b'0',
                size: None,
                content,
            }
        })
        .collect()
}

/// A tar of these entries, without its end.
pub(crate) fn endless_tar(entries: &[Raw]) -> Vec<u8> {
    let mut tar = Vec::new();
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..entry.name.len()].copy_from_slice(&entry.name);
        header.set_entry_type(tar::EntryType::new(entry.kind));
        header.set_size(entry.size.unwrap_or(entry.content.len() as u64));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(&entry.content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar
}

pub(crate) fn tar(entries: &[Raw]) -> Vec<u8> {
    [endless_tar(entries), vec![0; 1024]].concat()
}

pub(crate) fn gz(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn good_entries() -> Vec<Raw> {
    entries(flate2::read::MultiGzDecoder::new(&fixture::tar_gz()[..]))
}

#[track_caller]
pub(crate) fn check(bytes: Vec<u8>, expected: &str) {
    check_thoroughly(bytes.clone(), expected);
    let error = on_a_device(bytes).expect_err(expected);
    assert!(!error.is_unreadable());
}

/// Checks what only [`Layers::Hashed`] finds during the verification.
#[track_caller]
pub(crate) fn check_thoroughly(bytes: Vec<u8>, expected: &str) {
    let error = verify(Cursor::new(bytes), &Trust::Unsigned, &|_| {}).expect_err(expected);
    assert!(error.to_string().contains(expected), "{error} ({error:?})");
    assert!(!error.is_unreadable());
}

/// Verifies as a device does that trusts no key.
pub(crate) fn on_a_device(bytes: Vec<u8>) -> Result<VerifiedBundle<Cursor<Vec<u8>>>, VerifyError> {
    let (trust, assumed) = (Trust::Unsigned, crate::legacy::assumed());
    verify_with_legacy(Cursor::new(bytes), &trust, &assumed, Layers::WhenRead, &|_| {})
}

/// Checks the good entries after `spoil`.
#[track_caller]
fn check_entries(spoil: impl FnOnce(&mut Vec<Raw>), expected: &str) {
    let mut entries = good_entries();
    spoil(&mut entries);
    check(gz(&tar(&entries)), expected);
}

/// The control: what the hostile fixtures are made of is accepted.
#[test]
fn untouched_entries_are_accepted() {
    let bytes = gz(&tar(&good_entries()));
    verify(Cursor::new(bytes), &Trust::Unsigned, &|_| {}).unwrap();
}

macro_rules! hostile_names {
    ($($test:ident: $name:expr, $reason:expr;)*) => {$(
        #[test]
        fn $test() {
            check_entries(|entries| entries.insert(1, Raw::file($name, b"x")), $reason);
        }
    )*};
}

hostile_names! {
    parent_directory: "../evil", "`.` or `..` part";
    parent_directory_inside: "bin/../../evil", "`.` or `..` part";
    absolute_path: "/etc/cron.d/evil", "it is absolute";
    backslash: "bin\\evil", "backslash";
    drive_letter: "C:evil", "Windows does not allow";
    control_character: "a\nb", "not printable ASCII";
    leading_dash: "-rf", "begins with `-`";
    file_not_in_manifest: "evil.sh", "`evil.sh` is not in the manifest";
    second_manifest: "manifest.json", "`manifest.json` is there twice";
    second_manifest_in_other_case: "Manifest.JSON", "`Manifest.JSON` is there twice";
}

#[test]
fn name_that_is_not_utf8() {
    let entry = Raw {
        name: b"a\xff".to_vec(),
        ..Raw::file("", b"x")
    };
    check_entries(|entries| entries.insert(1, entry), "not printable ASCII");
}

#[test]
fn second_manifest_at_the_end() {
    check_entries(
        |entries| entries.push(entries[0].clone()),
        "`manifest.json` is there twice",
    );
}

#[test]
fn second_images_tar() {
    check_entries(
        |entries| entries.push(entries[4].clone()),
        "`images.tar` is there twice",
    );
}

#[test]
fn duplicate_file() {
    check_entries(|entries| entries.insert(2, entries[1].clone()), "is there twice");
}

#[test]
fn case_twin() {
    check_entries(
        |entries| entries.insert(3, Raw::file("INSTALL.sh", b"x")),
        "`INSTALL.sh` is there twice",
    );
}

macro_rules! hostile_kinds {
    ($($test:ident: $kind:expr, $reason:expr;)*) => {$(
        #[test]
        fn $test() {
            check_entries(|entries| entries.insert(1, Raw::of_kind("install.sh", $kind)), $reason);
        }
    )*};
}

hostile_kinds! {
    hard_link: b'1', "is a hard link";
    symbolic_link: b'2', "is a symbolic link";
    character_device: b'3', "is a character device";
    block_device: b'4', "is a block device";
    directory: b'5', "is a directory";
    named_pipe: b'6', "is a named pipe";
    pax_header: b'x', "is a pax header";
    global_pax_header: b'g', "is a pax header";
    gnu_long_name: b'L', "is a GNU long name";
    sparse_file: b'S', "is a sparse file";
    unknown_kind: b'Z', "of an unknown kind";
}

#[test]
fn huge_size_in_a_header() {
    check_entries(|entries| entries[1].size = Some(1 << 60), "but the manifest says 13");
}

#[test]
fn huge_manifest() {
    check_entries(
        |entries| entries[0].size = Some(5 << 20),
        "more than the 4194304 allowed",
    );
}

#[test]
fn huge_signature() {
    let signature = Raw::file("manifest.json.minisig", &[b'x'; 5000]);
    check_entries(|entries| entries.insert(1, signature), "more than the 4096 allowed");
}

/// 4 GiB of zeros in 4 MiB: refused at the header, so that nothing is uncompressed.
#[test]
fn compression_bomb() {
    let mut entries = good_entries();
    entries.truncate(1);
    let mut bytes = gz(&endless_tar(&entries));
    let bomb = Raw {
        size: Some(4 << 30),
        ..Raw::file("install.sh", b"")
    };
    bytes.extend(gz(&endless_tar(&[bomb])));
    let zeros = gz(&vec![0; 64 << 20]);
    (0..64).for_each(|_| bytes.extend_from_slice(&zeros));
    check(bytes, "comes where `docker-compose.prod.yml` should be");
}

#[test]
fn millions_of_entries() {
    let many = vec![Raw::file("a", b""); 100_000];
    check_entries(|entries| drop(entries.splice(1..1, many)), "`a` is not in the manifest");
}

#[test]
fn millions_of_empty_members() {
    let mut bytes = fixture::tar_gz();
    let empty = gz(b"");
    (0..100_000).for_each(|_| bytes.extend_from_slice(&empty));
    bytes.extend(gz(b"x"));
    check(bytes, "data after the end");
}

#[test]
fn manifest_not_first() {
    check_entries(
        |entries| entries.swap(0, 1),
        "the first entry is `docker-compose.prod.yml`",
    );
}

#[test]
fn images_before_files() {
    check_entries(|entries| entries.swap(1, 4), "`images.tar` comes where");
}

#[test]
fn missing_file() {
    check_entries(
        |entries| drop(entries.remove(1)),
        "comes where `docker-compose.prod.yml` should",
    );
}

#[test]
fn missing_images() {
    check_entries(|entries| drop(entries.pop()), "entry `images.tar` is missing");
}

#[test]
fn only_a_manifest() {
    check_entries(|entries| entries.truncate(1), "`docker-compose.prod.yml` is missing");
}

#[test]
fn empty_archive() {
    check(gz(&[0; 1024]), "entry `manifest.json` is missing");
}

#[test]
fn changed_file() {
    check_entries(
        |entries| entries[2].content[3] ^= 1,
        "`install.sh` is not what the manifest says",
    );
}

#[test]
fn longer_file() {
    check_entries(|entries| entries[2].content.push(b'x'), "but the manifest says 17");
}

#[test]
fn changed_layer() {
    check_entries(
        |entries| {
            let middle = entries[4].content.len() / 2;
            entries[4].content[middle] ^= 1;
        },
        "images.tar/blobs/sha256/",
    );
}

#[test]
fn trailing_garbage() {
    check(
        [fixture::tar_gz(), b"garbage".to_vec()].concat(),
        "after a gzip member comes something else",
    );
}

#[test]
fn trailing_member() {
    check([fixture::tar_gz(), gz(b"more")].concat(), "data after the end");
}

#[test]
fn second_archive_after_the_end() {
    check([fixture::tar_gz(), fixture::tar_gz()].concat(), "data after the end");
}

#[test]
fn endless_zeros_after_the_end() {
    check(
        [fixture::tar_gz(), gz(&vec![0; 1 << 20])].concat(),
        "data after the end",
    );
}

/// Tar programs fill up their last record with zeros, so a few are no reason to refuse.
#[test]
fn some_zeros_after_the_end_are_accepted() {
    let bytes = [fixture::tar_gz(), gz(&[0; 9216])].concat();
    verify(Cursor::new(bytes), &Trust::Unsigned, &|_| {}).unwrap();
}

#[test]
fn archive_without_an_end() {
    check(gz(&endless_tar(&good_entries())), "the bundle is incomplete");
}

#[test]
fn half_an_end() {
    let tar = tar(&good_entries());
    check(gz(&tar[..tar.len() - 512]), "the bundle is incomplete");
}

/// Where the members of a good bundle begin.
fn members(bytes: &[u8]) -> Vec<usize> {
    let mut begins = vec![];
    let mut at = 0;
    while at < bytes.len() {
        begins.push(at);
        let mut member = flate2::bufread::GzDecoder::new(&bytes[at..]);
        std::io::copy(&mut member, &mut std::io::sink()).unwrap();
        at = bytes.len() - member.into_inner().len();
    }
    begins
}

/// `gzip -t` and `tar tzf` accept some of these files.
#[test]
fn cut_exactly_between_members() {
    let bytes = fixture::tar_gz();
    let begins = members(&bytes);
    assert!(begins.len() > 8, "{begins:?}");
    for at in &begins[1..] {
        check(bytes[..*at].to_vec(), "the bundle is incomplete");
    }
}

#[test]
fn cut_anywhere() {
    let bytes = fixture::tar_gz();
    for at in (2..bytes.len())
        .step_by(bytes.len() / 97)
        .chain(bytes.len() - 20..bytes.len())
    {
        check(bytes[..at].to_vec(), "the bundle is incomplete");
    }
}

/// What comes next is taken for the rest of the member: it does not fit, one way or the other.
#[test]
fn truncated_member_in_the_middle() {
    let bytes = fixture::tar_gz();
    let at = members(&bytes)[3];
    check([&bytes[..at - 30], &bytes[at..]].concat(), "damaged");
}

#[test]
fn wrong_checksum_of_a_member() {
    let mut bytes = fixture::tar_gz();
    let at = members(&bytes)[1] - 6;
    bytes[at] ^= 1;
    check(bytes, "the bundle is damaged");
}

#[test]
fn swapped_members() {
    let bytes = fixture::tar_gz();
    let begins = members(&bytes);
    let (a, b, c) = (begins[1], begins[2], begins[3]);
    check([&bytes[..a], &bytes[b..c], &bytes[a..b], &bytes[c..]].concat(), "");
}

#[test]
fn damaged_tar_header() {
    let mut tar = tar(&good_entries());
    tar[100] ^= 1;
    check(gz(&tar), "a tar header is damaged (wrong checksum)");
}

#[test]
fn something_in_the_padding() {
    let entries = good_entries();
    let manifest = entries[0].content.len();
    let mut tar = tar(&entries);
    tar[512 + manifest] = b'x';
    check(gz(&tar), "something where zeros must be");
}

#[test]
fn not_an_archive() {
    for bytes in [&b""[..], b"\x1f", b"hello", b"{}", b"\x28\xb5\x2f\xfd", &[0; 1024]] {
        check(bytes.to_vec(), "neither gzip nor zip");
    }
}

#[test]
fn gzip_of_something_else() {
    check(gz(b"hello"), "the bundle is incomplete");
    check(gz(&[b'x'; 2000]), "a tar header is damaged");
}

/// A manifest that says something else about a file than another one signed would.
#[test]
fn manifest_of_another_bundle() {
    let mut other: Manifest = Sample::new().manifest;
    other.files[0].sha256 = bundle::Digest::of(b"other").into();
    let json = other.to_json().unwrap();
    check_entries(|entries| entries[0].content = json, "is not what the manifest says");
}

/// Errors are shown at terminals: what they quote of an unverified bundle must not steer one.
#[test]
fn control_characters_in_the_manifest() {
    let mut entries = good_entries();
    let json = String::from_utf8(entries[0].content.clone()).unwrap();
    let title = format!(r"\u001b]0;owned\u0007{}", "x".repeat(10_000));
    entries[0].content = json
        .replacen(r#""role": "installer""#, &format!(r#""role": "{title}""#), 1)
        .into();
    let error = verify(Cursor::new(gz(&tar(&entries))), &Trust::Unsigned, &|_| {}).expect_err("unknown role");
    let text = error.to_string();
    assert!(
        text.starts_with(r"the manifest cannot be read: unknown variant `\u{1b}]0;owned\u{7}xxx"),
        "{text}"
    );
    assert!(text.contains(" at line ") && text.len() < 400, "{text}");
}

/// The file cannot be read: that is no judgement about the bundle.
#[test]
fn failing_disk_is_not_a_refusal() {
    #[derive(Debug)]
    struct Failing(Cursor<Vec<u8>>);
    impl std::io::Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.position() {
                ..1_000_000 => self.0.read(buffer),
                _ => Err(std::io::Error::other("input/output error")),
            }
        }
    }
    impl std::io::Seek for Failing {
        fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
            self.0.seek(to)
        }
    }
    let bytes = Cursor::new(fixture::tar_gz());
    let error = verify(Failing(bytes), &Trust::Unsigned, &|_| {}).expect_err("failing disk");
    assert!(error.is_unreadable(), "{error:?}");
}
