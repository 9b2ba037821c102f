//! Repeated updates and recovery: nothing of the first attempt may mislead the second.

use crate::testing::{
    bundles::{self, Version},
    device::Device,
};
use crate::{
    engine::preflight::Permissions,
    error::Exit,
    state::Phase,
    store::{NewUpdate, Release},
};

fn failing_migration() -> Version {
    Version {
        fault: "crash-loop",
        ..Version::migrating("2.1.0")
    }
}

/// The databases that were put aside and kept.
fn kept(device: &Device, why: &str) -> Vec<u64> {
    let machine = device.world.0.borrow();
    let beside = machine.databases.iter().filter(|(name, _)| name.contains(why));
    beside.map(|(_, database)| database.revision).collect()
}

#[test]
fn a_failed_gated_update_that_is_tried_again_gives_the_data_back_again() {
    let device = Device::with(&Version::good("2.0.0"));
    device.apply(&failing_migration()).unwrap_err();
    device.wait(30);
    let id = device.update().id;
    let again = device.run(|updater| updater.apply(id));
    assert_eq!(again.unwrap_err().exit(), Exit::Undone);
    assert_eq!(device.expect_whole("undone again"), "2.0.0");
    assert_eq!(device.world.0.borrow().databases["app"].revision, 1);
    assert_eq!(kept(&device, "_failed_"), [2, 2]);
}

#[test]
fn a_rollback_that_discards_may_fail_as_often_as_it_likes() {
    let device = Device::with(&Version::good("2.0.0"));
    device.apply(&Version::migrating("2.1.0")).unwrap();
    let update = device.update();
    let since = update.facts.stopped_at.unwrap();
    for time in 1..4 {
        device.wait(30);
        // The data is restored already, then something fails.
        device.world.fail("tag", 1);
        let failed = device.run(|updater| updater.roll_back(update.id, Some(&since)));
        assert_eq!(failed.unwrap_err().exit(), Exit::Undone, "{time}");
        assert_eq!(device.expect_whole("returned"), "2.1.0");
        assert_eq!(device.world.0.borrow().databases["app"].revision, 2);
    }
    // Before the data is touched: what an earlier rollback has put aside stays aside.
    device.wait(30);
    device.remove_unused_images();
    std::fs::remove_dir_all(device.config.applied()).unwrap();
    std::fs::create_dir(device.config.applied()).unwrap();
    let failed = device.run(|updater| updater.roll_back(update.id, Some(&since)));
    assert_eq!(failed.unwrap_err().exit(), Exit::Undone);
    assert_eq!(device.expect_whole("not begun"), "2.1.0");
}

#[test]
fn nothing_writes_while_data_is_still_to_be_put_back() {
    let device = Device::with(&Version::good("2.0.0"));
    device.world.fail("restore", 1);
    assert_eq!(device.apply(&failing_migration()).unwrap_err().exit(), Exit::Stuck);
    let why = device.update().error.unwrap();
    let before = device.world.0.borrow().acknowledged.clone();
    assert_eq!(
        device.run_recovered(|updater| updater.start()).unwrap_err().exit(),
        Exit::Stuck
    );
    device.wait(30);
    assert_eq!(device.world.0.borrow().acknowledged, before, "{why}");
    device.run(|updater| updater.retry()).unwrap_err();
    assert_eq!(device.expect_whole("mended"), "2.0.0");
    let text = device.update().error.unwrap();
    assert!(
        text.starts_with("not healthy") || text.contains("did not stay up"),
        "{text}"
    );
}

#[test]
fn services_that_the_engine_starts_again_by_itself_are_stopped_again() {
    for point in ["after quiesced", "after switched", "after healthy"] {
        let device = Device::with(&Version::good("2.0.0"));
        let id = device.drop_bundle(&failing_migration()).id;
        assert!(
            device.run_until_point(point, |updater| drop(updater.apply(id))),
            "{point}"
        );
        device.world.start_everything();
        device.run(|updater| updater.recover()).unwrap();
        assert_eq!(device.expect_whole(point), "2.0.0");
    }
}

#[test]
fn services_that_had_to_wait_are_started_again_and_again_or_reported() {
    let device = Device::with(&Version::good("2.0.0"));
    let id = device.drop_bundle(&Version::migrating("2.1.0")).id;
    assert!(device.run_until_point("after stayed", |updater| drop(updater.apply(id))));
    device.world.fail("up", 2);
    device.run(|updater| updater.recover()).unwrap();
    assert_eq!(device.expect_whole("started at last"), "2.1.0");

    let id = device
        .drop_bundle(&Version {
            revision: 3,
            ..Version::migrating("2.2.0")
        })
        .id;
    assert!(device.run_until_point("after stayed", |updater| drop(updater.apply(id))));
    device.world.fail("up", 100);
    let state = device.run(|updater| updater.recover()).unwrap().unwrap();
    assert_eq!(state.phase, Phase::Completed);
    let warnings = device.update().facts.warnings;
    assert!(
        warnings.iter().any(|text| text.contains("told to fail")),
        "{warnings:?}"
    );
    // Everything else is in order, and a start repairs it.
    assert!(device.store().current().unwrap().unwrap().bundle.unwrap().exists());
    device.world.heal();
    device.run_recovered(|updater| updater.start()).unwrap();
    assert_eq!(device.expect_whole("started"), "2.2.0");
}

fn previous(device: &Device) -> Release {
    device.store().previous().unwrap().unwrap()
}

#[test]
fn applying_the_running_version_again_keeps_the_one_before() {
    let device = Device::with(&Version::good("2.0.0"));
    device.apply(&Version::good("2.1.0")).unwrap();
    let first = device.update().id;
    device.apply(&Version::good("2.1.0")).unwrap();
    assert_eq!(previous(&device).version.to_string(), "2.0.0");
    let again = device.update().id;
    let refused = device.run(|updater| updater.roll_back(again, None)).unwrap_err();
    assert!(refused.to_string().contains("was there already"), "{refused}");
    device.remove_unused_images();
    device.run(|updater| updater.roll_back(first, None)).unwrap();
    assert_eq!(device.expect_whole("rolled back"), "2.0.0");
}

#[test]
fn a_bundle_that_a_rollback_needs_stays_where_it_is() {
    let device = Device::with(&Version::good("2.0.0"));
    device.apply(&Version::good("2.1.0")).unwrap();
    // By hand, and refused.
    let path = previous(&device).bundle.unwrap();
    let refused = device.run(|updater| {
        let update = updater.take_by_hand(&path, Permissions::default())?;
        updater.apply(update.id)
    });
    assert_eq!(refused.unwrap_err().exit(), Exit::Problems);
    assert!(path.exists());
    device.remove_unused_images();
    let id = device.store().updates().unwrap()[1].id;
    device.run(|updater| updater.roll_back(id, None)).unwrap();
    assert_eq!(device.expect_whole("rolled back"), "2.0.0");
}

#[test]
fn bundles_may_all_have_the_same_name() {
    let device = Device::new();
    for version in ["2.0.0", "2.1.0", "2.2.0", "2.3.0"] {
        let written = bundles::write(
            device.config.work().as_path(),
            &Version::good(version),
            Some(&device.key),
        );
        let path = device.config.updates().join("update.tar.gz");
        std::fs::rename(written, &path).unwrap();
        let new = NewUpdate {
            version: version.parse().unwrap(),
            changelog: String::new(),
            bundle: Some(path),
            manifest_digest: None,
            file_size: None,
        };
        let id = device.run(|updater| updater.add(&new)).unwrap().id;
        device.run(|updater| updater.apply(id)).unwrap();
        device.wait(5);
    }
    let left = std::fs::read_dir(device.config.applied()).unwrap().count();
    assert_eq!(left, 2, "only two versions' bundles are kept");
    device.remove_unused_images();
    let id = device.update().id;
    device.run(|updater| updater.roll_back(id, None)).unwrap();
    assert_eq!(device.expect_whole("rolled back"), "2.2.0");
}

#[test]
fn what_the_data_is_follows_the_database() {
    let device = Device::with(&Version::good("2.0.0"));
    let revision = || device.store().data().unwrap().unwrap().revision;
    device.apply(&failing_migration()).unwrap_err();
    assert_eq!(revision(), 1);
    device.apply(&Version::migrating("2.2.0")).unwrap();
    assert_eq!(revision(), 2);
    let update = device.update();
    let since = update.facts.stopped_at;
    device.world.fail("tag", 1);
    device
        .run(|updater| updater.roll_back(update.id, since.as_deref()))
        .unwrap_err();
    assert_eq!(revision(), 2);
    device
        .run(|updater| updater.roll_back(update.id, since.as_deref()))
        .unwrap();
    assert_eq!(revision(), 1);
}

#[test]
fn a_version_whose_files_are_gone_is_not_gone_back_to() {
    let device = Device::with(&Version::good("2.0.0"));
    device.apply(&Version::good("2.1.0")).unwrap();
    let first = device.update().id;
    device.apply(&Version::good("2.2.0")).unwrap();
    let second = device.update().id;
    device.run(|updater| updater.roll_back(second, None)).unwrap();
    let effects = device.world.0.borrow().effects.len();
    let refused = device.run(|updater| updater.roll_back(first, None)).unwrap_err();
    assert!(refused.to_string().contains("the files of 2.0.0"), "{refused}");
    assert_eq!(device.world.0.borrow().effects.len(), effects);
    assert_eq!(device.expect_whole("refused"), "2.1.0");
}

#[test]
fn the_dump_that_a_rollback_needs_stays_while_another_update_waits() {
    let mut device = Device::with(&Version::good("2.0.0"));
    device.config.keep.backups = 0;
    let id = device.drop_bundle(&Version::migrating("2.1.0")).id;
    device.drop_bundle(&Version::good("2.2.0"));
    device.run(|updater| updater.apply(id)).unwrap();
    let dump = device.store().update(id).unwrap().facts.gated_backup.unwrap();
    assert!(dump.exists());
}
