//! Bundles of the old release procedure, made as it made them, by the engine's own `docker save`, on real engines.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bundle::{
    Digest,
    manifest::DataRule,
    read::{Assumed, Layers, Trust, VerifiedBundle, verify_with_legacy},
};
use device::testing::sample::{self, Image, Packed};
use device::{
    containers::ContainerEngine as _,
    stack::load::{keeping, load_legacy},
};
use serde_json::json;
use tempfile::TempDir;
use xshell::{Shell, cmd};
use xtask::engines::Kind;

use crate::{
    load::{Lab, base, top},
    site::Site,
    versions::{Bundles, V2_0_0, V2_1_0, V2_5_0, Version},
};

/// Saves an image of the lab's engine under `reference`, removes it there, and packs it as the replaced procedure did.
fn old_bundle(lab: &Lab, id: &str, reference: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let images = directory.path().join("images.tar");
    let docker = || lab.device.docker();
    docker().args(["tag", id, reference]).run().unwrap();
    docker()
        .args(["save", "--output"])
        .arg(&images)
        .arg(reference)
        .run()
        .unwrap();
    docker().args(["rmi", "--force", id]).run().unwrap();
    let manifest = json!({
        "version": "1.0.0",
        "images_sha256": Digest::of(&fs::read(&images).unwrap()).hex(),
        "created_at": "2025-11-02T10:00:00+00:00",
        "changelog": "- old",
        "images": [reference],
    });
    fs::write(directory.path().join("manifest.json"), manifest.to_string()).unwrap();
    fs::write(directory.path().join("docker-compose.prod.yml"), "services: {}\n").unwrap();
    let path = pack(directory.path(), "old.tar.gz");
    (directory, path)
}

/// Packs what is in a directory as the replaced procedure did.
fn pack(directory: &Path, name: &str) -> PathBuf {
    let sh = Shell::new().unwrap();
    sh.change_dir(directory);
    cmd!(sh, "tar -czf {name} manifest.json images.tar docker-compose.prod.yml")
        .run()
        .unwrap();
    directory.join(name)
}

/// A version of the product in the old form; its images are known to this device's engine only until then.
fn old_release(site: &Site, version: &Version) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let sh = Shell::new().unwrap();
    sh.change_dir(directory.path());
    let bundle = site.bundle(version);
    cmd!(sh, "tar -xzf {bundle}").run().unwrap();
    let images = directory.path().join("images.tar");
    let images = images.to_str().unwrap();
    site.docker(&["load", "--quiet", "--input", images]);
    let manifest = site.bundles.manifest(version);
    let names: Vec<_> = manifest["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    site.docker(&[&["save", "--output", images], &names[..]].concat());
    site.docker(&[&["rmi", "--force"], &names[..]].concat());
    let manifest = json!({
        "version": version.number,
        "images_sha256": Digest::of(&fs::read(images).unwrap()).hex(),
        "created_at": "2025-11-02T10:00:00+00:00",
        "changelog": "- old",
        "images": names,
    });
    fs::write(directory.path().join("manifest.json"), manifest.to_string()).unwrap();
    let path = pack(directory.path(), &format!("webmacs-update-{}.tar.gz", version.number));
    (directory, path)
}

#[test]
#[ignore = "takes minutes, for nothing tells them to soak for less; `cargo xtask torture` runs it"]
fn torture_old_bundles_are_installed_and_updated_where_no_key_is_trusted() {
    let site = Site::new(Kind::Docker26Classic, Bundles::zstd());
    let (_first, first) = old_release(&site, &V2_0_0);
    let (_second, second) = old_release(&site, &V2_1_0);
    let apply = |bundle: &Path| site.run(&["apply", bundle.to_str().unwrap()]);
    apply(&first).expect(5);
    fs::remove_dir_all(site.path("etc/trusted-keys")).unwrap();
    // What the old installer wrote.
    let mut env = fs::read_to_string(site.env_file()).unwrap();
    env.push_str("WEBMACS_VERSION=2.0.0\nDB_PASSWORD=of-the-old-installer\nSECRET_KEY=of-the-old-installer-too\n");
    fs::write(site.env_file(), env).unwrap();

    apply(&first)
        .expect(0)
        .expect_stderr("no trusted key verifies this bundle");
    site.wait_for_health();
    site.expect_runs(&V2_0_0);
    let witness = site.witness();
    apply(&second)
        .expect(0)
        .expect_stderr("none is saved before the update");
    site.wait_for_health();
    site.expect_runs(&V2_1_0);
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
    site.run(&["rollback"]).expect(0);
    site.wait_for_health();
    site.expect_runs(&V2_0_0);
    site.expect_nothing_lost(&witness);

    // One of the new form declares the database, which is then saved.
    site.apply(&V2_5_0).expect(0);
    site.expect_runs(&V2_5_0);
    assert_eq!(site.names("opt/updates/backups").len(), 1);
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
}

fn open(lab: &Lab, path: &PathBuf) -> VerifiedBundle<fs::File> {
    let assumed = Assumed {
        product: "sample".parse().unwrap(),
        platform: lab.facts.platform.clone(),
        environment: Vec::new(),
        health: None,
        backup: None,
        data: DataRule::default(),
    };
    verify_with_legacy(
        fs::File::open(path).unwrap(),
        &Trust::Unsigned,
        &assumed,
        Layers::Hashed,
        &|_| {},
    )
    .unwrap()
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn an_old_bundle_is_loaded_as_it_is() {
    for kind in [Kind::Docker20, Kind::Docker26Classic, Kind::Docker26Containerd] {
        let lab = Lab::start(kind);
        let layers = vec![base(Packed::Gzip), top("1.0.0", Packed::Gzip)];
        let first = lab.load(&lab.bundle("1.0.0", layers)).unwrap();
        let (_directory, path) = old_bundle(&lab, &first.id.to_string(), "sample:old");
        assert_eq!(lab.docker.image("sample:old").unwrap(), None);
        // Twice, as after a crash.
        for _ in 0..2 {
            let mut bundle = open(&lab, &path);
            let store = &mut lab.store.borrow_mut();
            let loaded = load_legacy(&lab.docker, &lab.facts, store, &mut bundle, &|_| {}).unwrap();
            assert_eq!(loaded.sent_bytes, bundle.manifest().images_size);
            let id = loaded.ids["sample:old"];
            let found = lab.docker.image(&id.to_string()).unwrap().unwrap();
            let mut names = found.references.clone();
            names.sort();
            assert_eq!(
                names,
                ["sample:old", &keeping(&"sample".parse().unwrap(), &id)],
                "{kind:?}"
            );
            let said = lab
                .device
                .docker()
                .args(["run", "--rm", "--network", "none"])
                .arg(id.to_string());
            assert_eq!(said.read().unwrap(), "1.0.0", "{kind:?}");
        }
    }
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn an_old_bundle_for_another_processor_is_refused_and_removed() {
    for kind in [Kind::Docker26Classic, Kind::Docker26Containerd] {
        let lab = Lab::start(kind);
        let image = Image {
            name: "sample",
            platform: "linux/arm64",
            layers: vec![base(Packed::Gzip), top("1.0.0", Packed::Gzip)],
            config: json!({"Entrypoint": ["/tool"]}),
        };
        let released = sample::bundle(lab.directory.path(), "1.0.0", &[image]);
        let images = sample::open(&released);
        let manifest = images.manifest().clone().into_inner();
        // As on a build machine: loaded by hand.
        let unpacked = tempfile::tempdir().unwrap();
        let tar = Command::new("tar")
            .arg("-xzf")
            .arg(&released)
            .current_dir(unpacked.path())
            .status();
        assert!(tar.unwrap().success());
        let archive = unpacked.path().join("images.tar");
        lab.device
            .docker()
            .args(["load", "--input"])
            .arg(&archive)
            .run()
            .unwrap();
        let (_directory, path) = old_bundle(&lab, &manifest.images[0], "sample:old");
        lab.device
            .docker()
            .args(["rmi", "--force", &manifest.images[0]])
            .run()
            .ok();
        let mut bundle = open(&lab, &path);
        let store = &mut lab.store.borrow_mut();
        let error = load_legacy(&lab.docker, &lab.facts, store, &mut bundle, &|_| {}).unwrap_err();
        assert!(
            error.to_string().contains("is for arm64, and this device is amd64"),
            "{kind:?}: {error}"
        );
        assert_eq!(lab.docker.images().unwrap(), [], "{kind:?}");
    }
}
