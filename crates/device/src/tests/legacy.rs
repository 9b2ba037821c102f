//! Lives with bundles of the legacy release procedure.

use crate::testing::{
    bundles::{self, Version},
    device::Device,
};
use crate::{
    Error, Exit,
    engine::preflight::Permissions,
    stack::{release, trust},
    state::{Phase, Status},
};

#[test]
fn a_first_installation() {
    let device = Device::without_keys();
    device.apply(&Version::legacy("2.0.0")).unwrap();
    assert_eq!(device.expect_whole("installed"), "2.0.0");
    assert!(device.config.applied().join("app-update-2.0.0.tar.gz").exists());
    let warnings = device.update().facts.warnings;
    assert!(
        warnings.iter().any(|text| text.contains("old release procedure")),
        "{warnings:?}"
    );
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("no trusted key verifies this bundle")),
        "{warnings:?}"
    );
}

/// What the running version declares holds for a legacy bundle: the database is saved, the product is asked.
#[test]
fn what_runs_is_saved_and_asked() {
    let device = Device::without_keys().having(&Version::good("2.0.0"));
    for version in ["2.1.0", "2.2.0"] {
        device.apply(&Version::legacy(version)).unwrap();
        assert_eq!(device.expect_whole("updated"), version);
        let facts = device.update().facts;
        assert!(
            facts.backup.as_ref().is_some_and(|path| path.exists()),
            "{version}: {facts:?}"
        );
        assert!(
            !facts.warnings.iter().any(|text| text.contains("database")),
            "{facts:?}"
        );
    }
    // It answers 503, although all containers run.
    let version = Version {
        fault: "unhealthy",
        ..Version::legacy("2.3.0")
    };
    assert_eq!(device.apply(&version).unwrap_err().exit(), Exit::Undone);
    assert_eq!(device.expect_whole("undone"), "2.2.0");
    // A release that declares everything can follow.
    device.apply(&Version::good("2.4.0")).unwrap();
    assert_eq!(device.expect_whole("updated"), "2.4.0");
    let current = device.store().current().unwrap().unwrap();
    assert!(!release::manifest(&current).unwrap().unwrap().is_legacy());
}

#[test]
fn where_nothing_is_declared_a_warning_says_so() {
    let device = Device::without_keys().having(&Version::legacy("2.0.0"));
    device.apply(&Version::legacy("2.1.0")).unwrap();
    assert_eq!(device.expect_whole("updated"), "2.1.0");
    let facts = device.update().facts;
    assert_eq!(facts.backup, None);
    assert!(
        facts.warnings.iter().any(|text| text.contains("none is saved")),
        "{facts:?}"
    );
}

#[test]
fn refused_once_a_key_is_trusted() {
    let device = Device::without_keys().having(&Version::good("2.0.0"));
    trust::add(&device.config.trusted_keys(), device.key.public()).unwrap();
    let error = device.apply(&Version::legacy("2.1.0")).unwrap_err();
    assert_eq!(error.exit(), Exit::Refused, "{error}");
    assert_eq!(error.to_string(), "the bundle is not signed");
    assert_eq!(device.expect_whole("refused"), "2.0.0");
}

#[test]
fn images_for_another_processor_are_refused() {
    let device = Device::without_keys().having(&Version::good("2.0.0"));
    let images = device.world.0.borrow().images.len();
    let version = Version {
        architecture: "arm64",
        ..Version::legacy("2.1.0")
    };
    let error = device.apply(&version).unwrap_err();
    assert!(matches!(error, Error::Undone { .. }), "{error}");
    assert!(
        error.to_string().contains("is for arm64, and this device is amd64"),
        "{error}"
    );
    assert_eq!(device.update().state.phase.status(), Status::Failed);
    // Names that the load had taken were given back, and what it left is gone.
    assert_eq!(device.expect_whole("refused"), "2.0.0");
    assert_eq!(device.world.0.borrow().images.len(), images);
}

/// What a power cut left half written is not believed.
#[test]
fn images_of_an_earlier_start_are_loaded_again() {
    let device = Device::without_keys().having(&Version::good("2.0.0"));
    let id = device.drop_bundle(&Version::legacy("2.1.0")).id;
    assert!(device.run_until_point("images loaded", |updater| {
        updater.apply(id).ok();
    }));
    let digest = device.update().manifest_digest.unwrap();
    let key = format!("loading {digest}");
    assert!(device.store().setting(&key).unwrap().is_some());
    device.store().set_setting(&key, Some("another start")).unwrap();
    let before = device.world.0.borrow().effects.len();
    device.run(|updater| updater.recover()).unwrap();
    let effects = device.world.0.borrow().effects[before..].to_vec();
    let at = |name: &str| effects.iter().position(|effect| effect == name).unwrap();
    assert!(at("remove image") < at("load"), "{effects:?}");
    assert_eq!(device.expect_whole("updated"), "2.1.0");
    assert_eq!(device.store().setting(&key).unwrap(), None);
}

#[test]
fn removed_images_are_loaded_again_for_a_rollback() {
    let device = Device::without_keys().having(&Version::legacy("2.0.0"));
    device.apply(&Version::readable("2.1.0")).unwrap();
    device.remove_unused_images();
    let id = device.update().id;
    device.run(|updater| updater.roll_back(id, None)).unwrap();
    assert_eq!(device.expect_whole("rolled back"), "2.0.0");
    assert_eq!(device.update().state.phase, Phase::RolledBack);
}

#[test]
fn all_blocking_problems_are_reported_at_once() {
    let device = Device::without_keys().having(&Version::good("2.2.0"));
    let directory = tempfile::tempdir().unwrap();
    let path = bundles::write(directory.path(), &Version::legacy("2.1.0"), None);
    let plan = |downgrade| {
        device
            .run(|updater| updater.plan(&path, Permissions { downgrade }))
            .unwrap()
    };
    let problems = plan(false).problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message.contains("older than 2.2.0"), "{problems:?}");
    let plan = plan(true);
    assert!(plan.problems.is_empty() && !plan.gated, "{plan:?}");
    assert!(plan.bytes_to_send > 0 && plan.signed_by.is_none(), "{plan:?}");
    // Which images differ is unknown.
    assert_eq!(plan.restarts, ["db", "backend", "frontend"]);
}
