//! Whole lives of updates: what runs, what is kept, and what is reported.

use crate::testing::{
    bundles::{self, Version},
    device::Device,
};
use crate::{
    Error, Exit,
    engine::preflight::Permissions,
    state::{Phase, Status},
};

#[test]
fn a_first_installation() {
    let device = Device::with(&Version::good("2.0.0"));
    assert_eq!(device.expect_whole("installed"), "2.0.0");
    let update = device.update();
    assert_eq!(update.state.phase.status(), Status::Completed);
    assert!(device.config.applied().join("app-update-2.0.0.tar.gz").exists());
    let env = std::fs::read_to_string(device.config.env()).unwrap();
    assert!(env.contains("DB_PASSWORD="), "{env}");
}

#[test]
fn a_first_installation_that_fails_leaves_nothing_running() {
    let device = Device::new();
    let version = Version {
        fault: "unhealthy",
        ..Version::good("2.0.0")
    };
    let error = device.apply(&version).unwrap_err();
    assert!(matches!(error, Error::Undone { .. }), "{error}");
    assert!(device.world.0.borrow().containers.is_empty());
    // What it has left was not set by hand.
    assert!(!device.run(|updater| updater.adopt()).unwrap());
    // The right bundle is accepted afterwards.
    device.apply(&Version::good("2.0.1")).unwrap();
    assert_eq!(device.expect_whole("installed"), "2.0.1");
}

#[test]
fn an_update_recreates_only_what_changed() {
    let device = Device::with(&Version::good("2.0.0"));
    device.apply(&Version::good("2.1.0")).unwrap();
    assert_eq!(device.expect_whole("updated"), "2.1.0");
    let machine = device.world.0.borrow();
    assert_eq!(machine.recreated["db"], 1);
    assert_eq!(machine.recreated["backend"], 2);
}

#[test]
fn a_clock_that_is_wrong_changes_nothing() {
    let device = Device::with(&Version::good("2.0.0"));
    // Without a clock of its own a device begins in 1970 at each boot, until it gets the time.
    let in_1970 = -1_770_000_000;
    device.world.0.borrow_mut().clock_error = in_1970;
    device.apply(&Version::migrating("2.1.0")).unwrap();
    assert_eq!(device.expect_whole("updated in 1970"), "2.1.0");
    let id = device.update().id;
    for number in 2..14 {
        device.world.0.borrow_mut().clock_error = if number % 2 == 0 { 0 } else { in_1970 };
        device
            .apply(&Version {
                fault: "unhealthy",
                ..Version::good("2.9.0")
            })
            .unwrap_err();
        assert_eq!(device.expect_whole("undone"), "2.1.0");
    }
    device.world.0.borrow_mut().clock_error = in_1970;
    device.apply(&Version::migrating("2.2.0")).unwrap();
    assert_eq!(device.expect_whole("updated again"), "2.2.0");
    assert!(device.update().id > id);
    // Backups are kept by the order in which they were made.
    let backups: Vec<_> = device
        .store()
        .updates()
        .unwrap()
        .into_iter()
        .flat_map(|update| [update.facts.gated_backup, update.facts.backup])
        .flatten()
        .collect();
    let (kept, removed) = backups.split_at(device.config.keep.backups);
    assert!(!removed.is_empty());
    assert!(kept.iter().all(|path| path.exists()), "{backups:?}");
    assert!(!removed.iter().any(|path| path.exists()), "{backups:?}");
}

#[test]
fn versions_may_be_skipped() {
    let device = Device::with(&Version::good("2.0.0"));
    device.apply(&Version::good("2.5.0")).unwrap();
    assert_eq!(device.expect_whole("updated"), "2.5.0");
}

#[test]
fn what_fails_is_undone() {
    for fault in ["unhealthy", "crash-loop", "bad-migration"] {
        for base in [Version::good("2.1.0"), Version::migrating("2.1.0")] {
            let device = Device::with(&Version::good("2.0.0"));
            let version = Version { fault, ..base };
            let error = device.apply(&version).unwrap_err();
            assert_eq!(error.exit(), Exit::Undone, "{fault}: {error}");
            assert_eq!(device.expect_whole(fault), "2.0.0");
            assert_eq!(device.update().state.phase, Phase::Failed);
            let failed = device.config.failed().join("app-update-2.1.0.tar.gz");
            assert!(failed.exists(), "{fault}");
            let diagnostic = std::fs::read_to_string(failed.with_file_name("app-update-2.1.0.tar.gz.diagnostic.txt"));
            let diagnostic = diagnostic.unwrap();
            assert!(diagnostic.contains("Journal"), "{diagnostic}");
            assert!(diagnostic.contains("connecting with ***"), "{diagnostic}");
        }
    }
}

#[test]
fn what_a_person_keeps_among_failed_bundles_stays() {
    use std::fs;
    let mut device = Device::with(&Version::good("2.0.0"));
    device.config.keep.failed = 1;
    let failed = device.config.failed();
    for directory in ["investigation", "unpacked.tar.gz"] {
        fs::create_dir(failed.join(directory)).unwrap();
        fs::write(failed.join(directory).join("file"), "").unwrap();
    }
    fs::write(failed.join("notes"), "").unwrap();
    std::os::unix::fs::symlink("/nowhere", failed.join("link.tar.gz")).unwrap();
    for version in ["2.1.0", "2.2.0"] {
        let fault = "unhealthy";
        let version = Version::good(version);
        device.apply(&Version { fault, ..version }).unwrap_err();
    }
    let mut names: Vec<_> = fs::read_dir(&failed)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "app-update-2.2.0.tar.gz",
            "app-update-2.2.0.tar.gz.diagnostic.txt",
            "investigation",
            "link.tar.gz",
            "notes",
            "unpacked.tar.gz"
        ]
    );
    assert!(failed.join("unpacked.tar.gz/file").exists());
}

#[test]
fn a_migrated_database_of_a_failed_update_is_replaced_and_kept() {
    let device = Device::with(&Version::good("2.0.0"));
    let version = Version {
        fault: "crash-loop",
        ..Version::migrating("2.1.0")
    };
    device.apply(&version).unwrap_err();
    assert_eq!(device.expect_whole("undone"), "2.0.0");
    let machine = device.world.0.borrow();
    assert_eq!(machine.databases["app"].revision, 1);
    let kept: Vec<_> = machine
        .databases
        .keys()
        .filter(|name| name.starts_with("app_failed_"))
        .collect();
    assert_eq!(kept.len(), 1, "{:?}", machine.databases.keys());
    assert_eq!(machine.databases[kept[0]].revision, 2);
}

#[test]
fn nothing_can_be_written_before_a_gated_update_is_sure() {
    let device = Device::with(&Version::good("2.0.0"));
    let before = device.world.0.borrow().acknowledged.len();
    let id = device.drop_bundle(&Version::migrating("2.1.0")).id;
    device.run(|updater| updater.apply(id)).unwrap();
    assert_eq!(device.expect_whole("updated"), "2.1.0");
    let facts = device.update().facts;
    assert!(facts.downtime_ms.is_some(), "{facts:?}");
    assert!(facts.gated_backup.unwrap().exists());
    // Only the seconds of waiting for health afterwards and of `expect_whole` were written in.
    assert!(device.world.0.borrow().acknowledged.len() <= before + 6);
}

#[test]
fn rolling_back_keeps_data_where_the_previous_version_reads_it() {
    let device = Device::with(&Version::good("2.0.0"));
    device.apply(&Version::good("2.1.0")).unwrap();
    device.wait(60);
    let id = device.update().id;
    device.run(|updater| updater.roll_back(id, None)).unwrap();
    assert_eq!(device.expect_whole("rolled back"), "2.0.0");
    assert_eq!(device.update().state.phase, Phase::RolledBack);
}

#[test]
fn removed_images_are_loaded_again_for_a_rollback() {
    let device = Device::with(&Version::good("2.0.0"));
    device.apply(&Version::good("2.1.0")).unwrap();
    device.remove_unused_images();
    let id = device.update().id;
    device.run(|updater| updater.roll_back(id, None)).unwrap();
    assert_eq!(device.expect_whole("rolled back"), "2.0.0");
}

#[test]
fn a_rollback_that_would_lose_data_needs_the_time_it_loses_data_since() {
    let device = Device::with(&Version::good("2.0.0"));
    device.apply(&Version::migrating("2.1.0")).unwrap();
    device.wait(60);
    let update = device.update();
    let error = device.run(|updater| updater.roll_back(update.id, None)).unwrap_err();
    let since = update.facts.stopped_at.unwrap();
    assert!(error.hint().unwrap().contains(&since), "{error}");
    let wrong = device.run(|updater| updater.roll_back(update.id, Some("2020-01-01T00:00:00Z")));
    assert_eq!(wrong.unwrap_err().exit(), Exit::Problems);
    assert_eq!(device.expect_whole("refused"), "2.1.0");

    device
        .run(|updater| updater.roll_back(update.id, Some(&since)))
        .unwrap();
    {
        let mut machine = device.world.0.borrow_mut();
        let name = machine
            .databases
            .keys()
            .find(|name| name.starts_with("app_discarded_"))
            .cloned();
        let discarded = machine.databases[&name.expect("the discarded database is kept")].clone();
        assert_eq!(discarded.revision, 2);
        // A person discarded these.
        let kept = machine.databases["app"].rows.clone();
        machine
            .acknowledged
            .retain(|row| kept.contains(row) || !discarded.rows.contains(row));
    }
    assert_eq!(device.expect_whole("rolled back"), "2.0.0");
}

#[test]
fn a_rollback_that_fails_returns_to_the_newer_version() {
    let device = Device::with(&Version::good("2.0.0"));
    device.apply(&Version::good("2.1.0")).unwrap();
    let id = device.update().id;
    device.world.fail("up", 1);
    let error = device.run(|updater| updater.roll_back(id, None)).unwrap_err();
    assert_eq!(error.exit(), Exit::Undone, "{error}");
    assert_eq!(device.expect_whole("returned"), "2.1.0");
    assert_eq!(device.update().state.phase, Phase::Completed);
}

#[test]
fn an_undoing_that_fails_is_stuck_until_a_person_retries() {
    let device = Device::with(&Version::good("2.0.0"));
    device.world.fail("up", 100);
    let error = device.apply(&Version::good("2.1.0")).unwrap_err();
    assert_eq!(error.exit(), Exit::Stuck, "{error}");
    // Nothing else is begun meanwhile, and a start does not try by itself.
    let id = device.drop_bundle(&Version::good("2.2.0")).id;
    assert_eq!(device.run(|updater| updater.apply(id)).unwrap_err().exit(), Exit::Stuck);
    assert_eq!(device.run(|updater| updater.recover()).unwrap(), None);
    device.world.heal();
    let undone = device.run(|updater| updater.retry()).unwrap_err();
    assert_eq!(undone.exit(), Exit::Undone, "{undone}");
    device.run(|updater| updater.apply(id)).unwrap();
    assert_eq!(device.expect_whole("mended"), "2.2.0");
}

#[test]
fn all_blocking_problems_are_reported_at_once() {
    let device = Device::with(&Version::good("2.1.0"));
    let version = Version {
        postgres: 18,
        ..Version::good("2.0.0")
    };
    let error = device.apply(&version).unwrap_err();
    assert_eq!(error.exit(), Exit::Problems);
    let text = error.to_string();
    assert!(text.contains("older than 2.1.0"), "{text}");
    assert!(text.contains("PostgreSQL 17's"), "{text}");
    assert_eq!(device.expect_whole("refused"), "2.1.0");
}

#[test]
fn a_project_keeps_its_name() {
    let device = Device::with(&Version::good("2.0.0"));
    device.world.0.borrow_mut().project = "other".to_owned();
    let error = device.apply(&Version::good("2.1.0")).unwrap_err().to_string();
    assert!(error.contains("both would run side by side"), "{error}");
    assert_eq!(device.expect_whole("refused"), "2.0.0");
}

#[test]
fn a_plan_changes_nothing() {
    let device = Device::with(&Version::good("2.0.0"));
    let directory = tempfile::tempdir().unwrap();
    let path = bundles::write(directory.path(), &Version::migrating("2.1.0"), Some(&device.key));
    let before = device.world.0.borrow().effects.len();
    let plan = device
        .run(|updater| updater.plan(&path, Permissions::default()))
        .unwrap();
    assert!(plan.problems.is_empty(), "{:?}", plan.problems);
    assert!(plan.gated);
    assert_eq!(plan.restarts, ["backend", "frontend"]);
    assert_eq!(device.world.0.borrow().effects.len(), before);
    assert_eq!(std::fs::read_dir(device.config.work()).unwrap().count(), 0);
}

#[test]
fn a_compose_file_that_was_changed_by_hand_stays_with_its_version() {
    let device = Device::with(&Version::good("2.0.0"));
    let compose = device.config.compose();
    let changed = std::fs::read_to_string(&compose).unwrap() + "cache app-db:17\n";
    std::fs::write(&compose, &changed).unwrap();
    device
        .apply(&Version {
            fault: "unhealthy",
            ..Version::good("2.1.0")
        })
        .unwrap_err();
    assert!(device.update().facts.warnings[0].contains("was changed by hand"));
    assert_eq!(device.expect_whole("undone"), "2.0.0");
    assert_eq!(std::fs::read_to_string(&compose).unwrap(), changed);
    device.apply(&Version::good("2.2.0")).unwrap();
    assert_ne!(std::fs::read_to_string(&compose).unwrap(), changed);
    let id = device.update().id;
    device.run(|updater| updater.roll_back(id, None)).unwrap();
    assert_eq!(std::fs::read_to_string(&compose).unwrap(), changed);
}

#[test]
fn a_security_epoch_forbids_everything_older() {
    let device = Device::with(&Version {
        epoch: 1,
        ..Version::good("2.0.0")
    });
    let error = device.apply(&Version::good("2.1.0")).unwrap_err();
    assert!(error.to_string().contains("security epoch"), "{error}");
    assert_eq!(device.expect_whole("refused"), "2.0.0");
}

#[test]
fn what_no_rollback_needs_is_removed() {
    let device = Device::with(&Version::good("2.0.0"));
    std::fs::write(device.config.applied().join("again.tar.gz"), "a copy").unwrap();
    for version in ["2.1.0", "2.2.0", "2.3.0"] {
        device.apply(&Version::good(version)).unwrap();
        device.wait(5);
    }
    let applied: Vec<_> = std::fs::read_dir(device.config.applied()).unwrap().collect();
    assert_eq!(applied.len(), 2);
    // The database's image, and two versions of two others.
    assert_eq!(device.world.0.borrow().images.len(), 5);
    let id = device.update().id;
    device.run(|updater| updater.roll_back(id, None)).unwrap();
    assert_eq!(device.expect_whole("rolled back"), "2.2.0");
}
