//! Updates of a real device: real bundles, a real engine, real PostgreSQL, and a client that writes all the time.
//!
//! After each: which version answers, which image IDs run, and that every acknowledged reading is there.

use std::fs;

use xshell::cmd;
use xtask::engines::Kind;

use crate::{
    clone::Clone,
    site::Site,
    versions::{
        BAD_MIGRATION, Bundles, CRASH_LOOP, GATED_CRASH_LOOP, TAGS_REUSED, UNHEALTHY, V2_0_0, V2_1_0, V2_2_0, V2_5_0,
        Version,
    },
    witness::Witness,
};

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_device_is_installed_updated_and_rolled_back() {
    install_update_rollback(Kind::Docker26Classic, Bundles::zstd());
}

#[test]
#[ignore = "one engine is enough for every change; `cargo xtask torture` runs it"]
fn torture_so_is_one_with_the_containerd_store() {
    install_update_rollback(Kind::Docker26Containerd, Bundles::zstd());
}

#[test]
#[ignore = "one engine is enough for every change; `cargo xtask torture` runs it"]
fn torture_so_is_one_with_engine_20() {
    install_update_rollback(Kind::Docker20, Bundles::gzip());
}

fn install_update_rollback(kind: Kind, bundles: &'static Bundles) {
    let site = Site::with(kind, bundles, &V2_0_0);
    site.expect_runs(&V2_0_0);
    let witness = site.witness();
    let before = site.containers();

    site.apply(&V2_1_0).expect(0);
    site.expect_runs(&V2_1_0);
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
    assert_eq!(site.revision("webmacs"), "2");
    assert_eq!(
        site.names("opt/updates/applied"),
        ["webmacs-update-2.0.0-amd64.tar.gz", "webmacs-update-2.1.0-amd64.tar.gz"]
    );
    // What did not change was not restarted.
    let after = site.containers();
    assert_eq!(before["db"], after["db"]);
    assert_ne!(before["backend"].id, after["backend"].id);

    // What does not work changes nothing; nor does one that has the tags of the version that runs for other images.
    for version in [BAD_MIGRATION, TAGS_REUSED] {
        expect_failure(&site, &witness, &version, &V2_1_0);
    }
    let backend = site.docker(&["image", "inspect", "--format", "{{.Id}}", "webmacs-backend:2.1.0"]);
    assert_eq!(backend, after["backend"].image);

    site.run(&["rollback"]).expect(0);
    site.expect_runs(&V2_0_0);
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
    assert_eq!(before["db"], site.containers()["db"]);

    // Some versions are skipped.
    site.apply(&V2_5_0).expect(0);
    site.expect_runs(&V2_5_0);
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
    assert!(site.readings_of_controller() > 20);

    // Of 2.1.0 and 2.5.0 only the version differs, which only the backend knows. What depends on it runs on.
    let bundle = site.bundle(&V2_1_0);
    let older = |more: &[&str]| {
        let arguments = [&["apply", "--allow-downgrade", bundle.to_str().unwrap()], more].concat();
        site.run(&arguments).expect(0).stdout
    };
    let planned: serde_json::Value = serde_json::from_str(&older(&["--plan", "--json"])).unwrap();
    assert_eq!(planned["restarts"], serde_json::json!(["backend"]), "{planned}");
    let before = site.containers();
    older(&[]);
    site.expect_runs(&V2_1_0);
    let after = site.containers();
    for service in ["db", "controller", "frontend"] {
        assert_eq!(before[service], after[service]);
    }
    assert_ne!(before["backend"].id, after["backend"].id);
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
}

/// Applies a version that does not work: `runs` goes on.
fn expect_failure(site: &Site, witness: &Witness, version: &Version, runs: &Version) {
    let before = site.files_of_record();
    let database = site.containers()["db"].clone();
    site.apply(version).expect(4);
    site.expect_runs(runs);
    witness.expect_writes();
    site.expect_nothing_lost(witness);
    assert_eq!(site.files_of_record(), before, "{version:?}");
    assert_eq!(site.containers()["db"], database, "{version:?}");
    let name = format!("webmacs-update-{}-amd64.tar.gz.diagnostic.txt", version.number);
    let diagnosis = fs::read_to_string(site.path("opt/updates/failed").join(name)).unwrap();
    for secret in ["DB_PASSWORD", "SECRET_KEY"] {
        assert!(
            !diagnosis.contains(&site.env(secret).unwrap()),
            "{secret} in {diagnosis}"
        );
    }
}

#[test]
#[ignore = "the shorter list is enough for every change; `cargo xtask torture` runs it"]
fn torture_a_version_that_does_not_work_leaves_the_old_one() {
    let site = Site::with(Kind::Docker26Classic, Bundles::zstd(), &V2_0_0);
    let witness = site.witness();
    for version in [UNHEALTHY, CRASH_LOOP, BAD_MIGRATION] {
        expect_failure(&site, &witness, &version, &V2_0_0);
    }
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn data_that_the_old_version_cannot_read_is_put_back_or_kept() {
    let site = Site::with(Kind::Docker26Classic, Bundles::zstd(), &V2_0_0);
    let witness = site.witness();
    let before = site.files_of_record();

    // It migrates, and does not stay up.
    site.apply(&GATED_CRASH_LOOP).expect(4).expect_stderr("did not stay up");
    site.expect_runs(&V2_0_0);
    assert_eq!(site.files_of_record(), before);
    assert_eq!(site.revision("webmacs"), "1");
    let replaced = site.databases_beside();
    let [failed] = &replaced[..] else {
        panic!("{replaced:?}")
    };
    assert!(failed.starts_with("webmacs_failed_"), "{failed}");
    assert_eq!(site.revision(failed), "3");
    witness.expect_writes();
    site.expect_nothing_lost(&witness);

    // It migrates, and stays.
    site.apply(&V2_2_0).expect(0);
    site.expect_runs(&V2_2_0);
    assert_eq!(site.revision("webmacs"), "3");
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
    let status = site.status();
    assert!(
        status["update"]["facts"]["downtime_ms"].as_u64().unwrap() > 0,
        "{status}"
    );

    // Now there is no way back without a loss, and that is said.
    let refused = site.run(&["rollback"]).expect(3).expect_stderr("--discard-data-since ");
    site.expect_runs(&V2_2_0);
    site.run(&["rollback", "--discard-data-since", "2026-01-02T03:04:05Z"])
        .expect(3);
    site.expect_runs(&V2_2_0);
    site.expect_nothing_lost(&witness);

    let (_, since) = refused.stderr.split_once("--discard-data-since ").unwrap();
    let since = since.split([';', '\n', ' ']).next().unwrap();
    let at_most = witness.lists().acknowledged;
    site.run(&["rollback", "--discard-data-since", since]).expect(0);
    site.expect_runs(&V2_0_0);
    assert_eq!(site.revision("webmacs"), "1");
    witness.expect_writes();
    // What was discarded is all there, in the database of then; together with what is here now, nothing is missing.
    let discarded = site.databases_beside();
    let discarded = discarded
        .iter()
        .find(|name| name.starts_with("webmacs_discarded_"))
        .unwrap();
    let kept = site.stored(discarded);
    let lost: Vec<_> = at_most
        .iter()
        .filter(|(id, value)| kept.get(*id) != Some(value))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    let now = site.stored("webmacs");
    let lost: Vec<_> = witness
        .lists()
        .acknowledged
        .into_iter()
        .filter(|(id, value)| now.get(id) != Some(value) && kept.get(id) != Some(value))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
#[ignore = "takes minutes; `cargo xtask torture` runs it"]
fn torture_what_a_person_does_by_hand_works_as_written() {
    let site = Site::with(Kind::Docker26Classic, Bundles::zstd(), &V2_0_0);
    let witness = site.witness();
    let sh = site.shell_of_a_person();

    // features.md, U4.
    let bundle = site.bundle(&V2_1_0);
    cmd!(sh, "tar -xzf {bundle}").run().unwrap();
    cmd!(sh, "docker load -i images.tar").run().unwrap();
    cmd!(sh, "sed -i s/^WEBMACS_VERSION=.*/WEBMACS_VERSION=2.1.0/ .env")
        .run()
        .unwrap();
    cmd!(sh, "docker compose -f docker-compose.prod.yml up -d")
        .run()
        .unwrap();
    // What a boot does.
    site.run(&["start"]).expect(0).expect_stderr("2.1.0 was set by hand");
    site.expect_runs(&V2_1_0);
    assert_eq!(site.status()["current"]["version"], "2.1.0");
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
    // It is known what its data can be read by, so this one is not gated.
    site.apply(&V2_2_0).expect(0);
    site.expect_runs(&V2_2_0);
    site.run(&["rollback"]).expect(0);
    site.expect_runs(&V2_1_0);
    witness.expect_writes();
    site.expect_nothing_lost(&witness);

    // features.md, U7: the backup from before the last update, onto a database of the same revision.
    site.apply(&V2_5_0).expect(0);
    let backups = site.names("opt/updates/backups");
    let backup = format!("updates/backups/{}", backups.last().unwrap());
    let saved = fs::read_to_string(site.path("opt").join(&backup)).unwrap();
    drop(witness);
    let all = site.stored("webmacs");
    site.sql("webmacs", "DELETE FROM datapoints");
    let command =
        format!("cat {backup} | docker compose -f docker-compose.prod.yml exec -T db psql -U webmacs webmacs");
    cmd!(sh, "sh -c {command}").ignore_stdout().run().unwrap();
    // Which is what `systemctl restart webmacs` runs.
    site.run(&["stop"]).expect(0);
    site.run(&["start"]).expect(0);
    site.wait_for_health();
    site.expect_runs(&V2_5_0);
    let restored = site.stored("webmacs");
    assert!(!restored.is_empty());
    let expected = all.into_iter().filter(|(id, _)| saved.contains(id.as_str())).collect();
    assert_eq!(restored, expected);
}

#[test]
#[ignore = "takes minutes; `cargo xtask torture` runs it"]
fn torture_a_dropped_bundle_is_taken_when_its_copy_has_ended() {
    use std::{io::Write as _, thread, time::Duration};
    let site = Site::with(Kind::Docker26Classic, Bundles::zstd(), &V2_0_0);
    let witness = site.witness();
    let daemon = site.daemon();
    let bytes = fs::read(site.bundle(&V2_1_0)).unwrap();
    let place = site.path("opt/updates/webmacs-update-2.1.0-amd64.tar.gz");
    // In three pieces: the copying program holds the file open at first, then opens it again.
    let (first, rest) = bytes.split_at(bytes.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    let stalled = Duration::from_secs(12);
    let is_untouched = || site.updates_tried() == 1 && place.exists();
    {
        let mut file = fs::File::create(&place).unwrap();
        file.write_all(first).unwrap();
        thread::sleep(stalled);
        assert!(is_untouched());
        file.write_all(second).unwrap();
    }
    thread::sleep(stalled);
    assert!(is_untouched());
    let mut file = fs::File::options().append(true).open(&place).unwrap();
    file.write_all(third).unwrap();
    drop(file);
    let noticed = site.wait("the bundle is noticed", Duration::from_secs(30), &|| {
        site.updates_tried() == 2
    });
    eprintln!("  noticed {:.1} s after the copy's end", noticed.as_secs_f64());
    site.wait("2.1.0 runs", Duration::from_secs(120), &|| {
        site.status()["update"]["phase"] == "completed"
    });
    site.expect_runs(&V2_1_0);
    assert!(!place.exists());
    assert!(
        site.path("opt/updates/applied/webmacs-update-2.1.0-amd64.tar.gz")
            .exists()
    );

    // One that does not work is tried once.
    let name = "webmacs-update-2.9.1-amd64.tar.gz";
    fs::copy(site.bundle(&UNHEALTHY), site.path("opt/updates").join(name)).unwrap();
    site.wait("2.9.1 has failed", Duration::from_secs(120), &|| {
        site.status()["update"]["phase"] == "failed"
    });
    assert_eq!(site.names("opt/updates/failed"), [name]);
    fs::rename(
        site.path("opt/updates/failed").join(name),
        site.path("opt/updates").join(name),
    )
    .unwrap();
    site.wait("it is put away", Duration::from_secs(30), &|| {
        site.names("opt/updates/failed") == [name]
    });
    thread::sleep(Duration::from_secs(5));
    assert_eq!(site.updates_tried(), 3, "{}", site.run(&["history"]).stdout);
    site.expect_runs(&V2_1_0);
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
    drop(daemon);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_bundle_for_another_platform_is_refused() {
    let release = Clone::released();
    let site = Site::with(Kind::Docker26Classic, Bundles::zstd(), &V2_0_0);
    let witness = site.witness();
    let before = (site.files_of_record(), site.containers());
    site.run(&["trust", "add", &release.public_key()]).expect(0);
    let bundle = release.dist().join("webmacs-update-2.1.0-arm64.tar.gz");
    let refused = site.run(&["apply", bundle.to_str().unwrap()]);
    refused
        .expect(3)
        .expect_stderr("the bundle is for linux/arm64, and this device is linux/amd64");
    assert_eq!((site.files_of_record(), site.containers()), before);
    site.expect_runs(&V2_0_0);
    site.expect_nothing_lost(&witness);
    // The bundle that is for all platforms is for this one, too.
    let bundle = release.dist().join("webmacs-update-2.1.0.tar.gz");
    let planned = site.run(&["apply", "--plan", bundle.to_str().unwrap()]).expect(0);
    assert!(planned.stdout.contains("2.0.0 → 2.1.0"), "{}", planned.stdout);
    assert_eq!((site.files_of_record(), site.containers()), before);
}
