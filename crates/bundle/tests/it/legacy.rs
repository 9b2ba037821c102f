//! Bundles of the old release procedure: accepted where no signature is needed, and as strictly as they can be.

use std::io::{Cursor, Read as _};
use std::path::Path;
use std::process::Command;

use bundle::manifest::{AnyManifest, DataRule, EnvironmentKey, EnvironmentValue, FileRole, FormatVersion};
use bundle::read::{
    Assumed, Layers, Origin, Trust, VerifiedBundle, VerifyError, read_manifest, verify, verify_with_legacy,
};
use bundle::signature::{TrustedKeys, generate};
use bundle::{Digest, hash_all};

use crate::fixture;
use crate::hostile::{Raw, endless_tar, gz, tar};

const COMPOSE: &[u8] = b"services: {}\n";

pub(crate) fn assumed() -> Assumed {
    Assumed {
        product: "app".parse().unwrap(),
        platform: "linux/arm64".parse().unwrap(),
        environment: vec![EnvironmentKey {
            name: "APP_VERSION".to_owned(),
            value: EnvironmentValue::Version,
        }],
        health: None,
        backup: None,
        data: DataRule {
            revision: 7,
            ..DataRule::default()
        },
    }
}

fn images() -> Vec<u8> {
    fixture::noise(3, 700_000)
}

fn manifest(images: &[u8]) -> Vec<u8> {
    serde_json::json!({
        "version": "2.0.0",
        "images_sha256": Digest::of(images).hex(),
        "created_at": "2025-11-02 10:00",
        "changelog": "- older",
        "images": ["app-backend:2.0.0", "postgres:17", "app-backend:2.0.0"],
    })
    .to_string()
    .into_bytes()
}

/// The files in the order in which the old procedure named them.
fn files() -> [(&'static str, Vec<u8>); 4] {
    [
        ("manifest.json", manifest(&images())),
        ("images.tar", images()),
        ("docker-compose.prod.yml", COMPOSE.to_vec()),
        ("install.sh", b"#!/bin/sh\n".to_vec()),
    ]
}

fn entries() -> Vec<Raw> {
    files().iter().map(|(name, content)| Raw::file(name, content)).collect()
}

fn open(bytes: Vec<u8>) -> Result<VerifiedBundle<Cursor<Vec<u8>>>, VerifyError> {
    verify_with_legacy(
        Cursor::new(bytes),
        &Trust::Unsigned,
        &assumed(),
        Layers::Hashed,
        &|_| {},
    )
}

#[track_caller]
fn check_good(bytes: Vec<u8>) {
    let mut bundle = open(bytes.clone()).unwrap();
    assert!(bundle.is_legacy());
    assert_eq!(*bundle.origin(), Origin::Unknown { claimed: None });
    assert_eq!(bundle.manifest_digest(), Digest::of(&manifest(&images())));
    let found = bundle.manifest().clone().into_inner();
    assert_eq!(found.version.to_string(), "2.0.0");
    assert_eq!(found.format_version, FormatVersion::LEGACY);
    assert_eq!(found.images, ["app-backend:2.0.0", "postgres:17"]);
    assert_eq!(found.images_size, 700_000);
    assert_eq!(found.platforms, [assumed().platform]);
    assert_eq!((found.product, found.data), (assumed().product, assumed().data));
    let compose: Vec<_> = found
        .files
        .iter()
        .filter(|file| file.role == FileRole::Compose)
        .collect();
    let mut content = Vec::new();
    bundle
        .open_file(&compose[0].name)
        .unwrap()
        .read_to_end(&mut content)
        .unwrap();
    assert_eq!(content, COMPOSE);
    let read = hash_all(bundle.open_images().unwrap()).unwrap();
    assert_eq!(read, (Digest::of(&images()), 700_000));
    // And once more: a load may be repeated.
    assert_eq!(hash_all(bundle.open_images().unwrap()).unwrap(), read);
    let found = read_manifest(Cursor::new(bytes)).unwrap().manifest;
    assert!(matches!(found, AnyManifest::Legacy(old) if old.version.to_string() == "2.0.0"));
}

/// Made by the crate `tar`, whose headers are GNU's, with an owner, a mode and a time.
#[test]
fn made_by_a_library_in_any_order() {
    for rotation in 0..4 {
        let mut files = files();
        files.rotate_left(rotation);
        let mut builder = ::tar::Builder::new(Vec::new());
        for (name, content) in &files {
            let mut header = ::tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o664);
            header.set_uid(1000);
            header.set_mtime(1_700_000_000);
            header.set_username("ci").unwrap();
            builder.append_data(&mut header, name, &content[..]).unwrap();
        }
        check_good(gz(&builder.into_inner().unwrap()));
    }
}

/// Packs the files with the system's `tar` and these arguments.
fn system_tar(arguments: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files() {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    let run = |at: &Path| {
        let output = Command::new("tar").args(arguments).current_dir(at).output();
        output.unwrap_or_else(|error| panic!("`tar` is needed for this test: {error}"))
    };
    let output = run(directory.path());
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn made_by_the_systems_tar() {
    let names = ["manifest.json", "images.tar", "docker-compose.prod.yml", "install.sh"];
    check_good(system_tar(&[&["-cz"][..], &names].concat()));
    // With `./` in front of every name, and an entry for the directory.
    check_good(system_tar(&["-cz", "."]));
    // With a pax header before every entry, as Python writes them, too.
    check_good(system_tar(&[&["--format=pax", "-cz"][..], &names].concat()));
}

#[test]
fn without_an_installer() {
    let mut entries = entries();
    entries.pop();
    assert!(open(gz(&tar(&entries))).unwrap().is_legacy());
}

#[test]
fn other_bundles_are_what_they_were() {
    for bytes in [fixture::tar_gz(), fixture::zip()] {
        let mut bundle = open(bytes).unwrap();
        assert!(!bundle.is_legacy());
        assert_eq!(bundle.manifest().product.as_str(), "app");
        let none = bundle.open_images().map(drop).unwrap_err();
        assert_eq!(none.kind(), std::io::ErrorKind::NotFound);
    }
}

/// Once a key is trusted, nothing else is to be said of an old bundle, with any headers.
#[test]
fn refused_as_unsigned_where_a_key_is_trusted() {
    let keys = TrustedKeys::new([generate(None).unwrap().public().clone()]);
    for bytes in [
        gz(&tar(&entries())),
        system_tar(&["-cz", "images.tar", "manifest.json", "docker-compose.prod.yml"]),
        system_tar(&["-cz", "."]),
    ] {
        let error = verify_with_legacy(
            Cursor::new(bytes),
            &Trust::Keys(&keys),
            &assumed(),
            Layers::Hashed,
            &|_| {},
        )
        .unwrap_err();
        assert!(matches!(error, VerifyError::Unsigned), "{error}");
    }
}

/// Who has not asked for old bundles gets none.
#[test]
fn refused_by_the_strict_reader() {
    let error = verify(Cursor::new(gz(&tar(&entries()))), &Trust::Unsigned, &|_| {}).unwrap_err();
    assert!(error.to_string().contains("old form"), "{error}");
}

#[track_caller]
fn check_bad(bytes: Vec<u8>, expected: &str) {
    let error = open(bytes).map(|bundle| bundle.is_legacy()).expect_err(expected);
    assert!(error.to_string().contains(expected), "{error} ({error:?})");
    assert!(!error.is_unreadable());
}

#[track_caller]
fn check_entries(spoil: impl FnOnce(&mut Vec<Raw>), expected: &str) {
    let mut entries = entries();
    spoil(&mut entries);
    check_bad(gz(&tar(&entries)), expected);
}

macro_rules! hostile {
    ($($test:ident: $spoil:expr, $expected:expr;)*) => {$(
        #[test]
        fn $test() {
            check_entries($spoil, $expected);
        }
    )*};
}

fn of_kind(name: &str, kind: u8) -> Raw {
    Raw {
        kind,
        ..Raw::file(name, b"")
    }
}

fn pax(records: &[u8]) -> Raw {
    Raw {
        kind: b'x',
        ..Raw::file("x", records)
    }
}

hostile! {
    parent_directory: |e| e.push(Raw::file("../evil", b"")), "`.` or `..` part";
    parent_directory_behind_a_dot: |e| e.push(Raw::file("./../evil", b"")), "`.` or `..` part";
    absolute_path: |e| e.push(Raw::file("/etc/evil", b"")), "it is absolute";
    unknown_file: |e| e.push(Raw::file("evil.sh", b"")), "`evil.sh` is not in the manifest";
    second_compose_file: |e| e.push(Raw::file("docker-compose.yml", b"")), "`docker-compose.yml` is not in the manifest";
    signature: |e| e.push(Raw::file("manifest.json.minisig", b"")), "is not in the manifest";
    second_manifest: |e| e.push(e[0].clone()), "`manifest.json` is there twice";
    second_manifest_behind_a_dot: |e| e.push(Raw::file("./manifest.json", b"{}")), "`manifest.json` is there twice";
    second_images: |e| e.push(e[1].clone()), "`images.tar` is there twice";
    case_twin: |e| e.push(Raw::file("Images.TAR", b"")), "`Images.TAR` is there twice";
    case_twin_first: |e| e.insert(1, Raw::file("Install.sh", b"")), "`Install.sh` is not in the manifest";
    symbolic_link: |e| e.push(of_kind("install.sh", b'2')), "is a symbolic link";
    hard_link: |e| e[3] = of_kind("install.sh", b'1'), "is a hard link";
    device: |e| e.push(of_kind("x", b'3')), "is a character device";
    gnu_long_name: |e| e.push(of_kind("x", b'L')), "is a GNU long name";
    global_pax_header: |e| e.push(of_kind("x", b'g')), "is a pax header";
    directory: |e| e.push(of_kind("bin/", b'5')), "is a directory";
    many_directories: |e| e.extend(std::iter::repeat_n(of_kind("./", b'5'), 40)), "is a directory";
    pax_header_with_a_name: |e| e.insert(3, pax(b"19 path=../../evil\n")), "is a pax header";
    pax_header_with_a_size: |e| e.insert(3, pax(b"11 size=99\n")), "is a pax header";
    pax_header_of_nonsense: |e| e.insert(3, pax(b"nonsense")), "is a pax header";
    huge_pax_header: |e| e.insert(3, pax(&vec![b'x'; 70_000])), "more than the 65536 allowed";
    huge_compose_file: |e| e[2].size = Some(1 << 40), "more than the 16777216 allowed";
    huge_images: |e| e[1].size = Some(1 << 50), "more than the 1099511627776 allowed";
    huge_manifest: |e| { e.rotate_left(1); e[3].size = Some(5 << 20); }, "more than the 4194304 allowed";
    changed_images: |e| e[1].content[1000] ^= 1, "`images.tar` is not what the manifest says";
    without_images: |e| drop(e.remove(1)), "entry `images.tar` is missing";
    without_a_compose_file: |e| drop(e.remove(2)), "entry `docker-compose.prod.yml` is missing";
    without_a_manifest: |e| drop(e.remove(0)), "entry `manifest.json` is missing";
    no_images_named: |e| e[0].content = replaced(br#"["app-backend:2.0.0","postgres:17","app-backend:2.0.0"]"#, b"[]"), "it names no images";
    image_without_a_tag: |e| e[0].content = replaced(b"postgres:17", b"postgres"), "`postgres` is not a reference";
    image_that_is_an_option: |e| e[0].content = replaced(b"postgres:17", b"--help:17"), "is not a reference";
}

fn replaced(from: &[u8], to: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(manifest(&images())).unwrap();
    let [from, to] = [from, to].map(|bytes| std::str::from_utf8(bytes).unwrap());
    assert!(text.contains(from), "{text}");
    text.replace(from, to).into_bytes()
}

/// A signed form cannot be passed off as an old one to get around its order.
#[test]
fn new_manifest_that_does_not_come_first() {
    let mut entries = crate::hostile::good_entries();
    entries.truncate(3);
    entries.rotate_left(2);
    entries.push(Raw::file("images.tar", b"x"));
    check_bad(
        gz(&tar(&entries)),
        "the first entry is `install.sh`, not `manifest.json`",
    );
}

#[test]
fn trailing_data() {
    let bytes = gz(&tar(&entries()));
    check_bad(
        [&bytes[..], b"more"].concat(),
        "after a gzip member comes something else",
    );
    check_bad([&bytes[..], &gz(b"more")].concat(), "data after the end");
}

/// A bundle that is still being copied is waited for, with any first bytes.
#[test]
fn cut_anywhere() {
    check_bad(gz(&endless_tar(&entries())), "the bundle is incomplete");
    let keys = TrustedKeys::new([generate(None).unwrap().public().clone()]);
    for bytes in [gz(&tar(&entries())), system_tar(&["-cz", "."])] {
        let step = bytes.len() / 61;
        for at in (2..2000).step_by(37).chain((2000..bytes.len()).step_by(step)) {
            let cut = bytes[..at].to_vec();
            check_bad(cut.clone(), "the bundle is incomplete");
            let error = verify_with_legacy(
                Cursor::new(cut),
                &Trust::Keys(&keys),
                &assumed(),
                Layers::Hashed,
                &|_| {},
            )
            .unwrap_err();
            assert!(
                matches!(error, VerifyError::Truncated | VerifyError::Unsigned),
                "{at}: {error}"
            );
        }
    }
}

#[test]
fn change_after_verification_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bundle");
    // Not compressed, so that one changed byte stays one.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    std::io::Write::write_all(&mut encoder, &tar(&entries())).unwrap();
    let mut bytes = encoder.finish().unwrap();
    std::fs::write(&path, &bytes).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let mut bundle = verify_with_legacy(file, &Trust::Unsigned, &assumed(), Layers::Hashed, &|_| {}).unwrap();
    let begin = &images()[..100];
    let at = bytes.windows(100).position(|window| window == begin).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = hash_all(bundle.open_images().unwrap()).unwrap_err();
    assert!(error.to_string().contains("has changed"), "{error}");
}
