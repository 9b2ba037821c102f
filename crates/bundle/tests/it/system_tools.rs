//! Programs that are not ours read what is written: tar, gzip, sha256sum, unzip, minisign.
//!
//! They are part of the test: where one is missing, the test fails and says which.

use std::path::Path;
use std::process::Command;

use bundle::pack::write_tar_gz;
use bundle::signature::{SecretKey, generate};

use crate::fixture::Sample;

#[track_caller]
fn run(directory: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| panic!("`{program}` is needed for this test: {error}"));
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

#[test]
fn tar_and_sha256sum() {
    let sample = Sample::new();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("bundle.tar.gz"), sample.tar_gz()).unwrap();
    run(directory.path(), "gzip", &["-t", "bundle.tar.gz"]);
    let said = run(directory.path(), "tar", &["-xzf", "bundle.tar.gz"]);
    assert_eq!(said, "", "tar has nothing to complain about");
    let mut sums = format!("{}  images.tar\n", sample.manifest.images_sha256);
    for file in &sample.manifest.files {
        sums.push_str(&format!("{}  {}\n", file.sha256, file.name));
    }
    std::fs::write(directory.path().join("sums"), sums).unwrap();
    run(directory.path(), "sha256sum", &["-c", "--strict", "sums"]);
    run(directory.path(), "test", &["-x", "install.sh"]);
    let said = run(directory.path(), "tar", &["-xvf", "images.tar"]);
    assert_eq!(said.lines().count(), 19, "{said}");
    let layer = format!("blobs/sha256/{}", sample.layer(1).digest.hex());
    let sum = run(directory.path(), "sha256sum", &[&layer]);
    assert!(sum.starts_with(&sample.layer(1).digest.hex()), "{sum}");
}

#[test]
fn unzip() {
    let sample = Sample::new();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("bundle.zip"), sample.zip()).unwrap();
    run(directory.path(), "unzip", &["-tq", "bundle.zip"]);
    run(directory.path(), "unzip", &["-q", "bundle.zip"]);
    run(directory.path(), "test", &["-x", "install.sh"]);
    let sum = run(directory.path(), "sha256sum", &["images.tar"]);
    assert!(sum.starts_with(&sample.manifest.images_sha256.to_string()), "{sum}");
}

#[test]
fn minisign_verifies_an_extracted_manifest() {
    let sample = Sample::new();
    let key = generate(None).unwrap();
    let manifest = sample.manifest.to_json().unwrap();
    let signature = SecretKey::load(key.secret_file(), None).unwrap().sign(
        &manifest,
        &sample.manifest.product,
        &sample.manifest.version,
    );
    let directory = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    write_tar_gz(&mut out, &sample.contents(&manifest, Some(&signature)), &|_| {}).unwrap();
    std::fs::write(directory.path().join("bundle.tar.gz"), out).unwrap();
    std::fs::write(directory.path().join("key.pub"), key.public().to_file()).unwrap();
    run(directory.path(), "tar", &["-xzf", "bundle.tar.gz"]);
    let said = run(
        directory.path(),
        "minisign",
        &["-V", "-p", "key.pub", "-m", "manifest.json"],
    );
    assert!(said.contains("Trusted comment: app 2.1.0 sha256:"), "{said}");
    let base64 = key.public().to_string();
    run(
        directory.path(),
        "minisign",
        &["-V", "-P", &base64, "-m", "manifest.json"],
    );
}

/// A key that the stock program made signs, and our unencrypted keys work in the stock program.
#[test]
fn keys_of_either_program() {
    let directory = tempfile::tempdir().unwrap();
    let in_directory = |name: &str| directory.path().join(name);
    std::fs::write(in_directory("m"), "manifest").unwrap();
    run(
        directory.path(),
        "minisign",
        &["-G", "-W", "-p", "stock.pub", "-s", "stock.key"],
    );
    let stock = std::fs::read_to_string(in_directory("stock.key")).unwrap();
    let product = "app".parse().unwrap();
    let signature = SecretKey::load(&stock, None)
        .unwrap()
        .sign(b"manifest", &product, &"1.0.0".parse().unwrap());
    std::fs::write(in_directory("m.minisig"), signature).unwrap();
    run(directory.path(), "minisign", &["-V", "-p", "stock.pub", "-m", "m"]);

    let ours = generate(None).unwrap();
    std::fs::write(in_directory("ours.key"), ours.secret_file()).unwrap();
    run(
        directory.path(),
        "minisign",
        &["-S", "-W", "-s", "ours.key", "-m", "m", "-x", "ours.sig"],
    );
    let signature = std::fs::read_to_string(in_directory("ours.sig")).unwrap();
    let keys = bundle::signature::TrustedKeys::new([ours.public().clone()]);
    keys.verify(b"manifest", &signature).unwrap();
}
