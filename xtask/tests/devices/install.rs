//! A device is installed by `install.sh`, as a person would: from a bundle and nothing else.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use xshell::{Shell, cmd};
use xtask::engines::Kind;

use crate::{
    clone::{Clone, VERSION},
    site::{PORT, Site},
    versions::{Bundles, V2_0_0},
};

/// `install.sh` of the release, on a device with an engine, whose directories are elsewhere.
fn install_sh(site: &Site, release: &Clone) -> String {
    let sh = Shell::new().unwrap();
    sh.change_dir(release.dist());
    let [opt, etc, state] = ["opt", "etc", "state"].map(|name| site.path(name));
    let host = site.engine().host();
    let bundle = format!("webmacs-update-{VERSION}-amd64.tar.gz");
    cmd!(
        sh,
        "sh install.sh {bundle} --folder {opt} --etc {etc} --state {state} --docker-host {host} --no-units"
    )
    .read()
    .unwrap()
}

fn password_in(said: &str) -> Option<&str> {
    said.lines()
        .find_map(|line| line.trim().strip_prefix("user admin, password: "))
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn install_sh_installs_and_again_keeps_credentials_and_data() {
    let release = Clone::released();
    let site = Site::new(Kind::Docker26Classic, Bundles::zstd());
    for name in ["etc", "state"] {
        fs::remove_dir_all(site.path(name)).ok();
    }
    let said = install_sh(&site, release);
    let password = password_in(&said).unwrap();
    assert!(password.len() >= 20, "{said}");
    let hash = fs::read_to_string(site.path("etc/admin.hash")).unwrap();
    assert!(hash.starts_with("$argon2id$"), "{hash}");
    for (name, mode) in [("opt/.env", 0o600), ("etc/admin.hash", 0o600), ("state", 0o700)] {
        let found = fs::metadata(site.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    assert_eq!(site.health().unwrap()["version"], VERSION);
    assert_eq!(site.env("WEBMACS_HTTP_PORT"), Some(PORT.to_string()));
    for (key, length) in [("SECRET_KEY", 48), ("DB_PASSWORD", 32)] {
        assert_eq!(site.env(key).unwrap().len(), length, "{key}");
    }
    // The program that was installed is the one of the bundle, and works.
    let program = site.path("opt/bin/updater");
    let sh = Shell::new().unwrap();
    let config = site.path("etc/updater.toml");
    let status = cmd!(sh, "{program} --config {config} status").read().unwrap();
    assert!(status.contains(VERSION), "{status}");

    let witness = site.witness();
    let (files, containers) = (site.files_of_record(), site.containers());
    let again = install_sh(&site, release);
    assert_eq!(password_in(&again), None, "{again}");
    assert_eq!(site.files_of_record(), files);
    assert_eq!(site.containers(), containers);
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
    drop(witness);

    // Taken away and installed again: the volume and `.env` were left.
    let rows = site.stored("webmacs");
    cmd!(sh, "{program} --config {config} uninstall --no-units")
        .run()
        .unwrap();
    assert!(site.containers().is_empty());
    assert_eq!(site.docker(&["images", "--quiet"]), "");
    assert!(!program.exists() && !config.exists());
    assert!(password_in(&install_sh(&site, release)).is_some());
    assert_eq!(site.files_of_record(), files);
    assert_eq!(site.stored("webmacs"), rows);

    cmd!(sh, "{program} --config {config} uninstall --no-units --purge-data")
        .run()
        .unwrap();
    assert_eq!(site.docker(&["volume", "ls", "--quiet"]), "");
    for name in ["opt", "etc", "state"] {
        assert!(!site.path(name).exists(), "{name} is left");
    }
}

/// The same command on a device that runs an older version is an update, and what was written stays.
#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn install_sh_updates_an_older_version() {
    let release = Clone::released();
    let site = Site::with(Kind::Docker26Classic, Bundles::zstd(), &V2_0_0);
    let witness = site.witness();
    // This release is signed with a key that the device does not know yet, and pinned keys decide.
    let sh = Shell::new().unwrap();
    sh.change_dir(release.dist());
    let config = site.path("etc/updater.toml");
    let bundle = format!("webmacs-update-{VERSION}-amd64.tar.gz");
    let refused = cmd!(sh, "sh install.sh {bundle} --etc")
        .arg(site.path("etc"))
        .arg("--no-units")
        .ignore_status()
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    site.expect_runs(&V2_0_0);

    site.run(&["trust", "add", &release.public_key()]).expect(0);
    let said = install_sh(&site, release);
    assert!(said.contains(&format!("2.0.0 → {VERSION}")), "{said}");
    assert_eq!(site.health().unwrap()["version"], VERSION);
    assert!(!site.names("opt/updates/backups").is_empty());
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
    assert!(config.exists());
}

/// Debian 12 has no package of Compose 2, and a device far away no network: the bundle brings it.
#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn compose_comes_from_the_bundle_where_there_is_none() {
    let site = Site::new(Kind::Docker26Classic, Bundles::zstd());
    let clone = Clone::new();
    let plugin = Path::new(&std::env::var("HOME").unwrap()).join(".docker/cli-plugins/docker-compose");
    let plugin = clone.bring(&plugin, "docker-compose");
    let file =
        format!("{{ {plugin}, name = \"bin/docker-compose\", executable = true, compose-plugin = \"linux/amd64\" }}");
    let bundle = clone.release_changed("2.1.0", &Bundles::zstd().secret_key(), &|text| {
        let text = text.replace(
            "interval-seconds = 5, soak-seconds = 30",
            "interval-seconds = 1, soak-seconds = 1",
        );
        let declared = format!("[workspace.metadata.release]\nfiles = [{file}]\n");
        text.replacen("[workspace.metadata.release]\n", &declared, 1)
    });
    // In a mount namespace, so that nothing is installed on this machine: there, no plugin is anywhere.
    let (opt, etc, state, updater) = (
        site.path("opt"),
        site.path("etc"),
        site.path("state"),
        site.path("updater"),
    );
    let script = format!(
        "set -e; exec 2>&1; mount -t tmpfs none /usr/local/lib; export HOME={state}; \
         if docker compose version 2>/dev/null; then exit 9; fi; \
         {updater} install {bundle} --folder {opt} --etc {etc} --state {state} --docker-host {host} --no-units; \
         docker compose version --short",
        bundle = bundle.display(),
        opt = opt.display(),
        etc = etc.display(),
        state = state.display(),
        updater = updater.display(),
        host = site.engine().host(),
    );
    let sh = Shell::new().unwrap();
    let said = cmd!(sh, "unshare --mount sh -c {script}").read().unwrap();
    assert!(said.contains("docker-compose, from the bundle"), "{said}");
    assert!(said.lines().last().unwrap().starts_with('2'), "{said}");
    assert!(!Path::new("/usr/local/lib/docker").exists());
    site.wait_for_health();
    assert_eq!(site.health().unwrap()["version"], "2.1.0");
}
