//! Lives with bundles in parts: dropped, waited for, applied, kept together and removed together.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::testing::{
    bundles::{self, Version},
    device::Device,
};
use crate::{
    Exit,
    engine::{
        drop_directory::{DropDirectory, GIVEN_UP, QUIET},
        preflight::Permissions,
    },
    state::Phase,
};

const LIST: &str = "app-update-2.1.0.tar.gz.parts.json";

fn part(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("app-update-2.1.0.tar.gz.part-{number:03}"))
}

/// The names of the files in a directory, in order.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A device with 2.0.0, and the files of 2.1.0 in another directory.
fn device_and_parts() -> (Device, tempfile::TempDir) {
    let device = Device::with(&Version::good("2.0.0"));
    let directory = tempfile::tempdir().unwrap();
    bundles::write(directory.path(), &Version::split("2.1.0"), Some(&device.key));
    assert!(part(directory.path(), 3).exists());
    (device, directory)
}

/// Looks into `updates/` until nothing is new there, and gives how each bundle that was taken ended.
fn look(device: &Device, dropped: &mut DropDirectory, after: Duration) -> Vec<Result<Phase, String>> {
    device.run(|updater| assert!(updater.take_in(dropped).unwrap().is_empty()));
    device.wait(after.as_secs() + 1);
    let taken = device.run(|updater| updater.take_in(dropped)).unwrap();
    let told = taken.into_iter().map(|(_, outcome)| outcome);
    told.map(|outcome| outcome.map(|state| state.phase).map_err(|error| error.to_string()))
        .collect()
}

fn copy(name: &Path, to: &Path) {
    fs::copy(name, to.join(name.file_name().unwrap())).unwrap();
}

#[test]
fn taken_once_all_parts_are_there() {
    let (device, directory) = device_and_parts();
    let updates = device.config.updates();
    let mut dropped = DropDirectory::default();
    // The list comes first, then all parts but one, that one half, and then the other half.
    copy(&directory.path().join(LIST), &updates);
    assert_eq!(look(&device, &mut dropped, QUIET), []);
    for name in names(directory.path()) {
        if !name.ends_with("part-002") {
            copy(&directory.path().join(name), &updates);
        }
    }
    assert_eq!(look(&device, &mut dropped, QUIET), []);
    let bytes = fs::read(part(directory.path(), 2)).unwrap();
    fs::write(part(&updates, 2), &bytes[..100]).unwrap();
    assert_eq!(look(&device, &mut dropped, QUIET), []);
    fs::write(part(&updates, 2), &bytes).unwrap();
    assert_eq!(look(&device, &mut dropped, QUIET), [Ok(Phase::Completed)]);
    assert_eq!(device.expect_whole("updated"), "2.1.0");
    device.expect_whole_sets("updated");
    let applied = names(&device.config.applied());
    assert!(applied.contains(&LIST.to_owned()) && applied.len() > 4, "{applied:?}");
    let size: u64 = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|end| end != "json"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert_eq!(device.update().file_size, Some(size));
}

#[test]
fn parts_without_a_list_are_nothing() {
    let (device, directory) = device_and_parts();
    let updates = device.config.updates();
    for number in [1, 2, 3] {
        copy(&part(directory.path(), number), &updates);
    }
    let mut dropped = DropDirectory::default();
    assert_eq!(look(&device, &mut dropped, GIVEN_UP), []);
    assert_eq!(device.update().version.to_string(), "2.0.0");
}

/// A part of another bundle of the same name and size is not joined; it may still be copied over.
#[test]
fn a_stale_part_is_waited_for_and_then_refused() {
    let (device, directory) = device_and_parts();
    let updates = device.config.updates();
    for name in names(directory.path()) {
        copy(&directory.path().join(name), &updates);
    }
    let good = fs::read(part(&updates, 2)).unwrap();
    let stale = vec![7; good.len()];
    fs::write(part(&updates, 2), &stale).unwrap();
    let mut dropped = DropDirectory::default();
    assert_eq!(look(&device, &mut dropped, QUIET), []);
    // It is not read again until something changes.
    device.wait(60);
    assert!(
        dropped
            .quiet_files(&device.config, device.elapsed())
            .unwrap()
            .is_empty()
    );
    fs::write(part(&updates, 2), [&good[..], b"x"].concat()).unwrap();
    assert_eq!(look(&device, &mut dropped, QUIET), []);
    fs::write(part(&updates, 2), &stale).unwrap();
    device.run(|updater| updater.take_in(&mut dropped)).unwrap();
    let told = look(&device, &mut dropped, GIVEN_UP);
    let [Err(error)] = &told[..] else { panic!("{told:?}") };
    assert!(error.contains("part-002 is damaged, or of another bundle"), "{error}");
    assert_eq!(device.expect_whole("refused"), "2.0.0");
    // All of it is in failed/, with its diagnosis.
    let failed = names(&device.config.failed());
    assert!(
        failed.len() > 5 && failed.contains(&format!("{LIST}.diagnostic.txt")),
        "{failed:?}"
    );
    assert!(part(&device.config.failed(), 1).exists());
}

/// Of two cuts of one name in `failed/`, no mixture is left.
#[test]
fn a_set_replaces_one_of_the_same_name() {
    let device = Device::with(&Version::good("2.0.0"));
    for fault in ["unhealthy", "crash-loop"] {
        let version = Version {
            fault,
            ..Version::split("2.1.0")
        };
        assert_eq!(device.apply(&version).unwrap_err().exit(), Exit::Undone);
        assert_eq!(device.expect_whole(fault), "2.0.0");
        device.expect_whole_sets(fault);
    }
}

#[test]
fn copied_from_elsewhere_and_left_there() {
    let (device, directory) = device_and_parts();
    let before = names(directory.path());
    device
        .run(|updater| {
            let update = updater.take_by_hand(&directory.path().join(LIST), Permissions::default())?;
            updater.apply(update.id)
        })
        .unwrap();
    assert_eq!(device.expect_whole("updated"), "2.1.0");
    assert_eq!(names(directory.path()), before);
    fs::remove_file(device.config.applied().join("app-update-2.0.0.tar.gz")).unwrap();
    assert_eq!(names(&device.config.applied()), before);
}

#[test]
fn a_damaged_part_is_named_and_nothing_is_changed() {
    let (device, directory) = device_and_parts();
    let mut bytes = fs::read(part(directory.path(), 3)).unwrap();
    bytes[10] ^= 1;
    fs::write(part(directory.path(), 3), bytes).unwrap();
    let take = |updater: &mut crate::engine::Updater<'_>| {
        updater
            .take_by_hand(&directory.path().join(LIST), Permissions::default())
            .map(drop)
    };
    let error = device.run(take).unwrap_err();
    assert!(error.to_string().contains("part-003 is damaged"), "{error}");
    assert_eq!(
        (error.exit(), error.hint().as_deref()),
        (Exit::Refused, Some("copy this part again"))
    );
    fs::remove_file(part(directory.path(), 1)).unwrap();
    let error = device.run(take).unwrap_err();
    assert!(error.to_string().ends_with("part-001 is missing"), "{error}");
    assert_eq!(device.expect_whole("refused"), "2.0.0");
}

#[test]
fn removed_together_when_no_rollback_needs_them() {
    let device = Device::with(&Version::split("2.0.0"));
    device.apply(&Version::split("2.1.0")).unwrap();
    // Images of the previous version are removed: they come from its parts.
    device.remove_unused_images();
    let id = device.update().id;
    device.run(|updater| updater.roll_back(id, None)).unwrap();
    assert_eq!(device.expect_whole("rolled back"), "2.0.0");
    // A part that an interruption left goes as well.
    fs::write(device.config.applied().join("app-update-1.9.0.tar.gz.part-001"), "left").unwrap();
    for version in ["2.2.0", "2.3.0"] {
        device.apply(&Version::good(version)).unwrap();
        device.wait(5);
    }
    assert_eq!(
        names(&device.config.applied()),
        ["app-update-2.2.0.tar.gz", "app-update-2.3.0.tar.gz"]
    );
}

#[test]
fn failed_bundles_are_counted_and_not_their_parts() {
    let mut device = Device::with(&Version::good("2.0.0"));
    device.config.keep.failed = 2;
    for version in ["2.1.0", "2.2.0", "2.3.0"] {
        let version = Version {
            fault: "unhealthy",
            ..Version::split(version)
        };
        device.apply(&version).unwrap_err();
    }
    device.expect_whole_sets("failed");
    let lists: Vec<_> = names(&device.config.failed())
        .into_iter()
        .filter(|name| name.ends_with(".parts.json"))
        .collect();
    assert_eq!(
        lists,
        [
            "app-update-2.2.0.tar.gz.parts.json",
            "app-update-2.3.0.tar.gz.parts.json"
        ]
    );
}
