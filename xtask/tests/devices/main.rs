//! This repository's own product on real engines: released from a fresh clone, looked at with tools that are not ours,
//! loaded as a person would by hand, and run.
//!
//! `cargo xtask ci` runs it, one test at a time. The clone is released once and shared by all tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends with a panic")]

mod browser;
mod clone;
mod compose;
mod crash;
mod device;
mod github;
mod install;
mod legacy;
mod load;
mod page;
mod refused;
mod self_update;
mod site;
mod updates;
mod versions;
mod witness;

use std::fs;

use serde_json::Value;
use xshell::{Shell, cmd};
use xtask::engines::Kind;

use crate::{
    clone::{Clone, VERSION},
    device::Device,
};

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn tools_that_are_not_ours_accept_the_bundle() {
    let release = Clone::released();
    let sh = Shell::new().unwrap();
    sh.change_dir(release.dist());
    cmd!(sh, "sha256sum --check --quiet SHA256SUMS").run().unwrap();
    let names = cmd!(sh, "tar tzf webmacs-update-2.1.0.tar.gz").read().unwrap();
    let expected = [
        "manifest.json",
        "manifest.json.minisig",
        "docker-compose.prod.yml",
        "install.sh",
        "bin/updater-linux-amd64",
        "bin/updater-linux-arm64",
        "images.tar",
    ];
    assert_eq!(names.lines().collect::<Vec<_>>(), expected);

    let unpacked = release.unpack("webmacs-update-2.1.0.tar.gz");
    sh.change_dir(unpacked.path());
    let key = release.public_key();
    cmd!(sh, "minisign -V -q -P {key} -m manifest.json").run().unwrap();
    let manifest: Value = serde_json::from_str(&sh.read_file("manifest.json").unwrap()).unwrap();
    let sum = cmd!(sh, "sha256sum images.tar").read().unwrap();
    assert_eq!(sum.split_whitespace().next(), manifest["images_sha256"].as_str());

    for image in ["webmacs-backend", "webmacs-controller", "webmacs-frontend"] {
        for architecture in ["amd64", "arm64"] {
            let reference = format!("docker-archive:images.tar:{image}:{VERSION}-{architecture}");
            let found: Value = serde_json::from_str(&cmd!(sh, "skopeo inspect {reference}").read().unwrap()).unwrap();
            assert_eq!(found["Architecture"], architecture, "{reference}");
        }
    }
    fs::create_dir(unpacked.path().join("layout")).unwrap();
    cmd!(sh, "tar xf images.tar -C layout").run().unwrap();
    for architecture in ["amd64", "arm64"] {
        // The tag alone names the first of the images.
        let text = cmd!(sh, "skopeo inspect --override-arch {architecture} oci:layout:{VERSION}").read();
        let found: Value = serde_json::from_str(&text.unwrap()).unwrap();
        assert_eq!(found["Architecture"], architecture);
    }
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn the_installer_checks_before_it_executes() {
    let release = Clone::released();
    let sh = Shell::new().unwrap();
    sh.change_dir(release.dist());
    let bundle = "webmacs-update-2.1.0-amd64.tar.gz";
    cmd!(sh, "sh install.sh --verify-only {bundle}").run().unwrap();

    let unpacked = release.unpack(bundle);
    fs::write(
        unpacked.path().join("bin/updater-linux-amd64"),
        "#!/bin/sh\ntouch executed\n",
    )
    .unwrap();
    sh.change_dir(unpacked.path());
    cmd!(
        sh,
        "tar czf tampered.tar.gz manifest.json manifest.json.minisig docker-compose.prod.yml install.sh bin images.tar"
    )
    .run()
    .unwrap();
    let installer = release.dist().join("install.sh");
    let output = cmd!(sh, "sh {installer} --verify-only tampered.tar.gz")
        .ignore_status()
        .output()
        .unwrap();
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("is not the one of version 2.1.0"), "{stderr}");
    assert!(!unpacked.path().join("executed").exists());
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn the_updaters_of_both_platforms_run_and_verify() {
    let release = Clone::released();
    let unpacked = release.unpack("webmacs-update-2.1.0.tar.gz");
    let sh = Shell::new().unwrap();
    let (bundle, key) = (release.dist().join("webmacs-update-2.1.0.tar.gz"), release.public_key());
    for architecture in ["amd64", "arm64"] {
        let updater = unpacked.path().join(format!("bin/updater-linux-{architecture}"));
        let kind = cmd!(sh, "file {updater}").read().unwrap();
        assert!(
            kind.contains("statically linked") || kind.contains("static-pie linked"),
            "{kind}"
        );
        assert!(cmd!(sh, "{updater} --version").read().unwrap().starts_with("updater "));
        cmd!(sh, "{updater} verify {bundle} --trust {key}").run().unwrap();
        let other = bundle::signature::generate(None).unwrap().public().to_string();
        let refused = cmd!(sh, "{updater} verify {bundle} --trust {other}")
            .ignore_status()
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(5));
    }
}

/// `docker load -i images.tar` by hand, as features.md's U4 has it, then the product runs.
#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_one_platform_bundle_runs_on_every_store() {
    let release = Clone::released();
    for kind in [Kind::Docker26Classic, Kind::Docker26Containerd] {
        let device = Device::start(kind);
        device.load(&release.unpack("webmacs-update-2.1.0-amd64.tar.gz"));
        device.expect_images(release, "linux/amd64");
        device.expect_healthy(release, "linux/amd64");
    }
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_gzip_bundle_runs_on_engine_20() {
    let release = Clone::released_with_gzip();
    let device = Device::start(Kind::Docker20);
    device.load(&release.unpack("webmacs-update-2.1.0-amd64.tar.gz"));
    device.expect_images(&release, "linux/amd64");
    device.expect_healthy(&release, "linux/amd64");
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn the_bundle_of_all_platforms_runs_on_the_containerd_store_for_both() {
    let release = Clone::released();
    let device = Device::start(Kind::Docker26Containerd);
    device.load(&release.unpack("webmacs-update-2.1.0.tar.gz"));
    device.expect_healthy(release, "linux/amd64");
    device.expect_healthy(release, "linux/arm64");
}

#[test]
#[ignore = "compiles the product again for both platforms; `cargo xtask torture` runs it"]
fn torture_a_clone_built_without_cache_gives_the_same_bundles() {
    let second = Clone::released_without_cache();
    assert_eq!(Clone::released().sums(), second.sums());
}

#[test]
#[ignore = "compiles the product again for both platforms; `cargo xtask torture` runs it"]
fn torture_a_clone_built_without_a_network_gives_the_same_bundles() {
    let offline = Clone::vendored_and_released_offline();
    let list = fs::read_to_string(offline.dist().join("vendor/vendor.json")).unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["stages"][0]["stage"], "toolchain", "{list}");
    assert_eq!(Clone::released().sums(), offline.sums());
}
