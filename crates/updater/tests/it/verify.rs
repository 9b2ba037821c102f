//! `updater verify` on real bundles: output, warnings and exit codes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bundle::image::images_tar::{ImageInput, ImagesTar, Scope};
use bundle::manifest::{
    DataRule, FileRecord, FileRole, FormatVersion, ImageRecord, LayerRecord, Manifest, PlatformImage,
};
use bundle::pack::{Content, Contents, PackFile, write_tar_gz};
use bundle::signature::{NewKey, SecretKey, generate};
use bundle::{Digest, DirStore, Platform};
use tempfile::TempDir;

/// A directory with a signed bundle, its key, and another key.
pub(crate) struct Device {
    directory: TempDir,
    pub(crate) key: NewKey,
}

impl Device {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (key, other) = (generate(None).unwrap(), generate(None).unwrap());
        std::fs::write(directory.path().join("key.pub"), key.public().to_file()).unwrap();
        std::fs::write(directory.path().join("other.pub"), other.public().to_file()).unwrap();
        std::fs::write(
            directory.path().join("bundle.tar.gz"),
            bundle_bytes(directory.path(), &key),
        )
        .unwrap();
        Self { directory, key }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_updater"))
            .args(arguments)
            .current_dir(self.directory.path())
            .output()
            .unwrap()
    }

    /// Runs and compares the exit code; `stdout` and `stderr` must be part of what is printed, and
    /// an empty one says that nothing is.
    #[track_caller]
    fn check(&self, arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
        let output = self.run(arguments);
        let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert_eq!(output.status.code(), Some(code), "{said:?}");
        for (said, expected) in said.iter().zip([stdout, stderr]) {
            let fits = if expected.is_empty() {
                said.is_empty()
            } else {
                said.contains(expected)
            };
            assert!(fits, "expected {expected:?}, got {said}");
        }
    }
}

fn bundle_bytes(directory: &Path, key: &NewKey) -> Vec<u8> {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let save = |content: String| {
        let digest = Digest::of(content.as_bytes());
        std::fs::write(blobs.join(digest.hex()), &content).unwrap();
        (digest, content.len() as u64)
    };
    let platform: Platform = "linux/arm64".parse().unwrap();
    let (layer, size) = save("layer".to_owned());
    let media_type = "application/vnd.oci.image.layer.v1.tar";
    let (config, config_size) = save(format!(
        r#"{{"os":"linux","architecture":"arm64","rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
    ));
    let (manifest, manifest_size) = save(format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{config_size}}},"layers":[{{"mediaType":"{media_type}","digest":"{layer}","size":{size}}}]}}"#
    ));
    let layers = vec![LayerRecord {
        digest: layer,
        size,
        media_type: media_type.to_owned(),
        diff_id: layer,
        uncompressed_size: size,
    }];
    let image = PlatformImage {
        platform: platform.clone(),
        manifest,
        manifest_size,
        config,
        config_size,
        layers,
    };
    let input = ImageInput {
        name: "app".to_owned(),
        tag: "1.2.3".to_owned(),
        platforms: BTreeMap::from([(platform.clone(), image.clone())]),
    };
    let store = DirStore::new([directory.to_path_buf()]);
    let images = ImagesTar::plan(&[input], &store, &Scope::OnePlatform(platform.clone())).unwrap();
    let compose = b"services: {}\n";
    let manifest = Manifest {
        version: "1.2.3".parse().unwrap(),
        images_sha256: images.sha256(&store, &|_| {}).unwrap().into(),
        created_at: "2026-01-31T12:00:00Z".to_owned(),
        changelog: String::new(),
        images: vec!["app:1.2.3".to_owned()],
        format_version: FormatVersion::CURRENT,
        requires: Vec::new(),
        product: "app".parse().unwrap(),
        commit: None,
        dirty: false,
        unpinned: Vec::new(),
        platforms: vec![platform],
        images_size: images.size(),
        files: vec![FileRecord {
            name: "docker-compose.prod.yml".parse().unwrap(),
            role: FileRole::Compose,
            sha256: Digest::of(compose).into(),
            size: compose.len() as u64,
            executable: false,
        }],
        image_details: vec![ImageRecord {
            name: "app".to_owned(),
            reference: "app:1.2.3".to_owned(),
            source: None,
            substitute: false,
            platforms: vec![image],
        }],
        health: None,
        backup: None,
        data: DataRule::default(),
        environment: Vec::new(),
        minimum_updater_version: "0.1.0".parse().unwrap(),
        minimum_upgradable_version: None,
        security_epoch: 0,
        github: None,
    };
    let json = manifest.to_json().unwrap();
    let signature = SecretKey::load(key.secret_file(), None)
        .unwrap()
        .sign(&json, &manifest.product, &manifest.version);
    let files = [PackFile {
        name: "docker-compose.prod.yml".parse().unwrap(),
        executable: false,
        content: Content::Bytes(compose.to_vec()),
    }];
    let contents = Contents {
        manifest: &json,
        signature: Some(&signature),
        files: &files,
        images: &images,
        store: &store,
        mtime: 1,
    };
    let mut out = Vec::new();
    write_tar_gz(&mut out, &contents, &|_| {}).unwrap();
    out
}

#[test]
fn version() {
    let expected = concat!("updater ", env!("CARGO_PKG_VERSION"), "\n");
    Device::new().check(&["--version"], 0, expected, "");
}

#[test]
fn help_documents_exit_codes_and_examples() {
    let device = Device::new();
    device.check(&["--help"], 0, "5  the bundle is refused", "");
    device.check(
        &["verify", "--help"],
        0,
        "updater verify webmacs-update-2.1.0.tar.gz --trust",
        "",
    );
}

#[test]
fn trusted_by_key_file() {
    let device = Device::new();
    let id = device.key.public().id();
    let said = format!("signed by  {id} (trusted)");
    device.check(&["verify", "bundle.tar.gz", "--trust", "key.pub"], 0, &said, "");
}

#[test]
fn trusted_by_the_key_itself_among_others() {
    let device = Device::new();
    let key = device.key.public().to_string();
    let arguments = ["verify", "bundle.tar.gz", "--trust", "other.pub", "--trust", &key];
    device.check(&arguments, 0, "app 1.2.3 is whole", "");
}

#[test]
fn without_a_key_the_origin_is_unknown() {
    let device = Device::new();
    device.check(
        &["verify", "bundle.tar.gz"],
        0,
        "(NOT VERIFIED)",
        "warning: only the integrity was checked: nothing vouches for the origin",
    );
}

#[test]
fn key_that_did_not_sign() {
    let device = Device::new();
    let arguments = ["verify", "bundle.tar.gz", "--trust", "other.pub"];
    device.check(&arguments, 5, "", "which is not trusted");
}

#[test]
fn damaged_bundle() {
    let device = Device::new();
    let bytes = std::fs::read(device.path("bundle.tar.gz")).unwrap();
    std::fs::write(device.path("cut"), &bytes[..bytes.len() - 100]).unwrap();
    device.check(&["verify", "cut"], 5, "", "hint: copy the bundle again");
}

#[test]
fn unreadable_bundle() {
    Device::new().check(&["verify", "missing"], 1, "", "missing cannot be opened");
    // A directory can be opened, but not read.
    Device::new().check(&["verify", "."], 1, "", "the bundle cannot be read");
}

#[test]
fn invalid_keys() {
    let device = Device::new();
    let arguments = ["verify", "bundle.tar.gz", "--trust", "bundle.tar.gz"];
    device.check(&arguments, 1, "", "trusted key `bundle.tar.gz` cannot be read");
    std::fs::write(device.path("text"), "hello").unwrap();
    device.check(
        &["verify", "bundle.tar.gz", "--trust", "text"],
        2,
        "",
        "not a minisign public key",
    );
    let arguments = ["verify", "bundle.tar.gz", "--trust", "missing.pub"];
    device.check(&arguments, 1, "", "trusted key `missing.pub` cannot be read");
}

#[test]
fn usage() {
    Device::new().check(&["verify"], 2, "", "Usage:");
    Device::new().check(&["frobnicate"], 2, "", "unrecognized subcommand");
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn json_of_a_verified_bundle() {
    let device = Device::new();
    let output = device.run(&["verify", "bundle.tar.gz", "--trust", "key.pub", "--json"]);
    let report = json(&output);
    assert_eq!(report["verified"], true);
    assert_eq!(report["signed_by"], device.key.public().id().to_string());
    assert_eq!(report["version"], "1.2.3");
    assert_eq!(report["platforms"], serde_json::json!(["linux/arm64"]));
}

#[test]
fn json_of_a_refused_bundle() {
    let device = Device::new();
    let output = device.run(&["verify", "key.pub", "--json"]);
    assert_eq!(output.status.code(), Some(5));
    let report = json(&output);
    assert_eq!(report["verified"], false);
    assert_eq!(report["error"], "this is not a bundle: it is neither gzip nor zip");
}

/// As `tar -czf` makes it, of four files.
fn old_bundle() -> Vec<u8> {
    let images = b"what docker save wrote";
    let manifest = format!(
        r#"{{"version":"1.2.3","images_sha256":"{}","created_at":"2025-11-02","changelog":"","images":["app:1.2.3"]}}"#,
        Digest::of(images).hex()
    );
    let out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(out);
    for (name, content) in [
        ("./images.tar", &images[..]),
        ("./manifest.json", manifest.as_bytes()),
        ("./docker-compose.prod.yml", b"services: {}"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o664);
        tar.append_data(&mut header, name, content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

#[test]
fn bundles_of_the_old_procedure() {
    let device = Device::new();
    std::fs::write(device.path("old.tar.gz"), old_bundle()).unwrap();
    device.check(
        &["verify", "old.tar.gz"],
        0,
        "version 1.2.3 is whole, a bundle of the old release procedure: only its images have a checksum",
        "only the integrity was checked",
    );
    device.check(
        &["verify", "old.tar.gz", "--json"],
        0,
        "\"legacy\": true,\n  \"product\": null",
        "only the integrity was checked",
    );
    device.check(
        &["verify", "old.tar.gz", "--trust", "key.pub"],
        5,
        "",
        "the bundle is not signed",
    );
}

#[test]
fn bundles_in_parts() {
    let device = Device::new();
    let bytes = std::fs::read(device.path("bundle.tar.gz")).unwrap();
    bundle::parts::split(&bytes[..], "bundle.tar.gz", 1000, device.directory.path()).unwrap();
    std::fs::remove_file(device.path("bundle.tar.gz")).unwrap();
    let list = "bundle.tar.gz.parts.json";
    device.check(&["verify", list, "--trust", "key.pub"], 0, "app 1.2.3 is whole", "");
    device.check(&["verify", list, "--trust", "other.pub"], 5, "", "error: ");
    let mut part = std::fs::read(device.path("bundle.tar.gz.part-002")).unwrap();
    part[0] ^= 1;
    std::fs::write(device.path("bundle.tar.gz.part-002"), part).unwrap();
    device.check(
        &["verify", list, "--trust", "key.pub"],
        5,
        "",
        "error: bundle.tar.gz.part-002 is damaged",
    );
    std::fs::remove_file(device.path("bundle.tar.gz.part-001")).unwrap();
    device.check(
        &["verify", list],
        5,
        "",
        "error: bundle.tar.gz.part-001 is missing\nhint: copy all parts beside the list",
    );
}
