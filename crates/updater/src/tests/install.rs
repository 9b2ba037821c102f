//! Installing, installing again, and taking away, on a machine that is a directory.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use bundle::{
    manifest::FileRole,
    signature::{NewKey, generate},
};
use tempfile::TempDir;

use crate::install::{
    Installed, Options, System, run_on,
    uninstall::{self, uninstall_with},
};
use device::testing::{
    bundles::{self, More, Version},
    world::World,
};
use device::{
    Error, Exit, Result, config::Config, control::progress::Silent, stack::trust, state::Phase, store::Store,
};

/// A machine with an engine, on which nothing is installed.
struct Fresh {
    folder: TempDir,
    world: World,
    system: System,
    key: NewKey,
}

impl Fresh {
    fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap())
    }

    fn in_folder(folder: TempDir) -> Self {
        let system = System::in_folder(folder.path());
        Self {
            folder,
            world: World::default(),
            system,
            key: generate(None).unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn bundle(&self, version: &Version) -> PathBuf {
        bundles::write(self.folder.path(), version, Some(&self.key))
    }

    /// Options as `install.sh` gives them.
    fn options(&self, bundle: PathBuf) -> Options {
        Options {
            bundle,
            trust: vec![self.key.public().clone()],
            folder: Some(self.path("opt/app")),
            etc: Some(self.path("etc/app")),
            state: Some(self.path("var/app")),
            units: true,
            ..Options::default()
        }
    }

    fn install(&self, version: &Version) -> Result<Installed> {
        self.install_with(&self.options(self.bundle(version)))
    }

    fn install_with(&self, options: &Options) -> Result<Installed> {
        run_on(options, Some(&self.system), &self.world, &self.world, &Silent)
    }

    fn config(&self) -> Config {
        Config::read(&self.path("etc/app/updater.toml")).unwrap()
    }

    fn uninstall(&self, purge_data: bool) -> Result<uninstall::Uninstalled> {
        let options = uninstall::Options {
            purge_data,
            units: true,
        };
        uninstall_with(&self.config(), options, Some(&self.system), &self.world, &Silent)
    }

    fn env(&self) -> String {
        fs::read_to_string(self.path("opt/app/.env")).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    #[track_caller]
    fn expect_runs(&self, version: &str) {
        let current = Store::open(&self.config().database()).unwrap().current().unwrap();
        assert_eq!(current.unwrap().version.to_string(), version);
        assert_eq!(self.world.0.borrow().answers(), Ok(()));
        assert!(
            self.env().contains(&format!("APP_VERSION={version}\n")),
            "{}",
            self.env()
        );
    }
}

fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_first_installation_makes_everything() {
    let device = Fresh::new();
    let installed = device.install(&Version::good("2.0.0")).unwrap();
    device.expect_runs("2.0.0");
    assert_eq!(installed.version.to_string(), "2.0.0");
    assert_eq!(installed.from, None);
    assert_eq!(installed.trusted_keys, [device.key.public().id().to_string()]);
    let password = installed.admin_password.unwrap().to_string();
    assert!(password.len() >= 20);
    let said = format!("{:?} {:?}", installed.made, installed.notes);
    assert!(!said.contains(&password), "{said}");
    for (name, mode) in [
        ("opt/app", 0o755),
        ("opt/app/.env", 0o600),
        ("opt/app/bin/updater", 0o755),
        ("opt/app/updates", 0o1775),
        ("opt/app/updates/applied", 0o755),
        ("opt/app/updates/failed", 0o755),
        ("opt/app/updates/backups", 0o700),
        ("var/app", 0o700),
        ("etc/app", 0o755),
        ("etc/app/updater.toml", 0o644),
        ("etc/app/admin.hash", 0o600),
        ("etc/systemd/system/app.service", 0o644),
        ("etc/systemd/system/app-updater.service", 0o644),
        ("etc/systemd/system/app-updater-fallback.service", 0o644),
    ] {
        assert_eq!(device.mode(name), mode, "{name}");
    }
    assert_eq!(
        fs::read_link(device.path("usr/local/bin/updater")).unwrap(),
        device.path("opt/app/bin/updater")
    );
    let env = device.env();
    assert!(
        env.lines()
            .any(|line| line.starts_with("DB_PASSWORD=") && line.len() > 40),
        "{env}"
    );
}

#[test]
fn a_second_installation_changes_nothing() {
    let device = Fresh::new();
    device.install(&Version::good("2.0.0")).unwrap();
    let read = || {
        [
            "opt/app/.env",
            "etc/app/admin.hash",
            "etc/app/updater.toml",
            "opt/app/docker-compose.prod.yml",
        ]
        .map(|name| fs::read(device.path(name)).unwrap())
    };
    let (before, files) = (read(), tree(device.folder.path()));
    let recreated = device.world.0.borrow().recreated.clone();
    let again = device.install(&Version::good("2.0.0")).unwrap();
    assert!(again.already_installed && again.admin_password.is_none());
    assert_eq!(again.made, Vec::<String>::new());
    assert_eq!(read(), before);
    assert_eq!(tree(device.folder.path()), files);
    assert_eq!(device.world.0.borrow().recreated, recreated);
    device.expect_runs("2.0.0");
}

#[test]
fn what_was_damaged_is_mended() {
    let device = Fresh::new();
    device.install(&Version::good("2.0.0")).unwrap();
    device.world.0.borrow_mut().containers.clear();
    device.world.0.borrow_mut().images.clear();
    device.world.0.borrow_mut().tags.clear();
    for name in [
        "opt/app/docker-compose.prod.yml",
        "opt/app/bin/updater",
        "etc/systemd/system/app.service",
        "usr/local/bin/updater",
        "etc/app/admin.hash",
    ] {
        fs::remove_file(device.path(name)).unwrap();
    }
    // As a person and an installer of before made it.
    let updates = device.path("opt/app/updates");
    fs::set_permissions(updates, fs::Permissions::from_mode(0o2770)).unwrap();
    let again = device.install(&Version::good("2.0.0")).unwrap();
    assert!(again.already_installed && again.admin_password.is_some());
    device.expect_runs("2.0.0");
    assert_eq!(device.mode("opt/app/updates"), 0o3770);
    for name in [
        "opt/app/bin/updater",
        "etc/systemd/system/app.service",
        "usr/local/bin/updater",
    ] {
        assert!(device.path(name).exists(), "{name}");
    }
    let made = again.made.join("\n");
    assert!(
        made.contains("app-db:17 was loaded again") && made.contains("runs again"),
        "{made}"
    );
}

#[test]
fn another_version_is_an_update_with_a_backup() {
    let device = Fresh::new();
    device.install(&Version::good("2.0.0")).unwrap();
    let updated = device.install(&Version::good("2.1.0")).unwrap();
    assert_eq!(updated.from, Some("2.0.0".parse().unwrap()));
    assert!(updated.admin_password.is_none());
    device.expect_runs("2.1.0");
    assert_eq!(fs::read_dir(device.config().backups()).unwrap().count(), 1);
    // Backwards only if a person says so.
    let older = device.install(&Version::good("2.0.0")).unwrap_err();
    assert!(matches!(older, Error::Problems(_)), "{older}");
    device.expect_runs("2.1.0");
    let options = Options {
        allow_downgrade: true,
        ..device.options(device.bundle(&Version::good("2.0.0")))
    };
    device.install_with(&options).unwrap();
    device.expect_runs("2.0.0");
}

#[test]
fn a_failed_installation_can_be_tried_again_and_hides_no_password() {
    let device = Fresh::new();
    let bad = Version {
        fault: "unhealthy",
        ..Version::good("2.0.0")
    };
    let error = device.install(&bad).unwrap_err();
    assert!(matches!(error, Error::Undone { .. }), "{error}");
    assert!(!device.path("etc/app/admin.hash").exists());
    assert!(!device.path("etc/systemd/system/app.service").exists());
    let env = device.env();
    let installed = device.install(&Version::good("2.0.1")).unwrap();
    assert!(installed.admin_password.is_some());
    device.expect_runs("2.0.1");
    let secret = |env: &str| {
        env.lines()
            .find(|line| line.starts_with("DB_PASSWORD"))
            .map(str::to_owned)
    };
    // The database was made with the first password.
    assert_eq!(secret(&env), secret(&device.env()));
}

#[test]
fn only_trusted_bundles_are_installed() {
    let device = Fresh::new();
    let bundle = device.bundle(&Version::good("2.0.0"));
    let nobody = Options {
        trust: Vec::new(),
        ..device.options(bundle.clone())
    };
    let error = device.install_with(&nobody).unwrap_err();
    assert!(error.hint().unwrap().contains("--trust"), "{error}");
    let other = generate(None).unwrap();
    let wrong = Options {
        trust: vec![other.public().clone()],
        ..device.options(bundle)
    };
    assert_eq!(device.install_with(&wrong).unwrap_err().exit(), Exit::Refused);
    // Nothing was changed.
    assert_eq!(tree(device.folder.path()), ["app-update-2.0.0.tar.gz"]);

    device.install(&Version::good("2.0.0")).unwrap();
    // From now on only pinned keys count, not those of an installer.
    let folder = tempfile::tempdir().unwrap();
    let foreign = Options {
        trust: vec![other.public().clone()],
        trust_on_first_use: true,
        allow_unsigned: true,
        ..device.options(bundles::write(folder.path(), &Version::good("2.1.0"), Some(&other)))
    };
    assert_eq!(device.install_with(&foreign).unwrap_err().exit(), Exit::Refused);
    let unsigned = Options {
        bundle: bundles::write(folder.path(), &Version::good("2.1.0"), None),
        ..foreign
    };
    assert_eq!(device.install_with(&unsigned).unwrap_err().exit(), Exit::Refused);
    device.expect_runs("2.0.0");
    // A publisher who moves to another key signs with the old one, and brings both.
    let both = Options {
        trust: vec![device.key.public().clone(), other.public().clone()],
        ..device.options(device.bundle(&Version::good("2.1.0")))
    };
    assert_eq!(device.install_with(&both).unwrap().trusted_keys.len(), 2);
}

#[test]
fn the_key_of_the_bundle_itself_needs_to_be_asked_for() {
    let device = Fresh::new();
    let write = |key: &str| {
        let installer = More {
            name: "install.sh",
            role: FileRole::Installer,
            content: format!("#!/bin/sh\nkeys='{key}'\n"),
        };
        bundles::write_with(
            device.folder.path(),
            &Version::good("2.0.0"),
            Some(&device.key),
            &[installer],
        )
    };
    let other = generate(None).unwrap().public().to_string();
    let options = |bundle| Options {
        trust: Vec::new(),
        trust_on_first_use: true,
        ..device.options(bundle)
    };
    let error = device.install_with(&options(write(&other))).unwrap_err();
    assert!(error.to_string().contains("does not hold the key"), "{error}");
    let own = format!("{other}\n{}", device.key.public());
    device.install_with(&options(write(&own))).unwrap();
    let pinned = trust::read(&device.config().trusted_keys()).unwrap();
    assert_eq!(pinned.keys(), [device.key.public().clone()]);
}

#[test]
fn an_unsigned_bundle_needs_to_be_asked_for() {
    let device = Fresh::new();
    let options = Options {
        trust: Vec::new(),
        allow_unsigned: true,
        ..device.options(bundles::write(device.folder.path(), &Version::good("2.0.0"), None))
    };
    let installed = device.install_with(&options).unwrap();
    assert!(installed.trusted_keys.is_empty());
    assert!(
        installed
            .notes
            .iter()
            .any(|note| note.contains("no trusted key verifies this bundle")),
        "{:?}",
        installed.notes
    );
}

#[test]
fn a_native_installation_is_refused_and_one_with_compose_adopted() {
    let device = Fresh::new();
    fs::create_dir_all(device.system.units()).unwrap();
    let unit = device.system.units().join("app.service");
    fs::write(&unit, "[Service]\nExecStart=/opt/app/venv/bin/python -m app\n").unwrap();
    let error = device.install(&Version::good("2.0.0")).unwrap_err();
    assert!(error.to_string().contains("without containers"), "{error}");
    assert!(!device.path("opt").exists());

    // A foreign unit that runs Docker is kept beside ours.
    fs::write(&unit, "[Service]\nExecStart=/usr/bin/docker compose up\n").unwrap();
    let installed = device.install(&Version::good("2.0.0")).unwrap();
    assert!(
        installed.notes.iter().any(|note| note.contains("before-updater")),
        "{:?}",
        installed.notes
    );
    assert!(device.system.units().join("app.service.before-updater").exists());
    device.uninstall(false).unwrap();

    // As if a person had installed it: everything but our record.
    device.install(&Version::good("2.0.0")).unwrap();
    fs::remove_dir_all(device.path("var/app")).unwrap();
    let updated = device.install(&Version::good("2.1.0")).unwrap();
    assert_eq!(updated.from, Some("2.0.0".parse().unwrap()));
    // Nothing says what the adopted version does to its data, so the update is gated, and saves it twice.
    assert_eq!(fs::read_dir(device.config().backups()).unwrap().count(), 2);
    device.expect_runs("2.1.0");
}

#[test]
fn uninstalling_keeps_the_data_and_installing_again_finds_it() {
    let device = Fresh::new();
    device.install(&Version::good("2.0.0")).unwrap();
    device
        .world
        .0
        .borrow_mut()
        .databases
        .get_mut("app")
        .unwrap()
        .rows
        .insert("mine".to_owned());
    let env = device.env();
    let done = device.uninstall(false).unwrap();
    {
        let machine = device.world.0.borrow();
        assert!(machine.containers.is_empty() && machine.images.is_empty() && machine.tags.is_empty());
        assert!(machine.databases["app"].rows.contains("mine"));
    }
    assert_eq!(device.env(), env);
    assert!(done.kept.iter().any(|text| text.ends_with("/.env")), "{done:?}");
    for name in [
        "etc/app",
        "opt/app/bin",
        "opt/app/docker-compose.prod.yml",
        "etc/systemd/system/app.service",
        "usr/local/bin/updater",
    ] {
        assert!(fs::symlink_metadata(device.path(name)).is_err(), "{name} is left");
    }
    // Another version: the one before is started first, so that its data is saved.
    let installed = device.install(&Version::good("2.1.0")).unwrap();
    assert_eq!(installed.from, Some("2.0.0".parse().unwrap()));
    device.expect_runs("2.1.0");
    assert!(device.world.0.borrow().databases["app"].rows.contains("mine"));
    assert_eq!(fs::read_dir(device.config().backups()).unwrap().count(), 1);
}

#[test]
fn purging_leaves_what_others_put_there() {
    let device = Fresh::new();
    device.install(&Version::good("2.0.0")).unwrap();
    fs::write(device.path("opt/app/notes.txt"), "mine").unwrap();
    device.uninstall(true).unwrap();
    assert!(device.world.0.borrow().databases.is_empty());
    assert_eq!(
        tree(device.folder.path()),
        ["app-update-2.0.0.tar.gz", "opt/app/notes.txt"]
    );
    // A new device, with new credentials.
    device.install(&Version::good("2.0.0")).unwrap();
    device.expect_runs("2.0.0");
}

#[test]
fn uninstalling_twice_and_purging_later_work() {
    let device = Fresh::new();
    device.install(&Version::good("2.0.0")).unwrap();
    let config = device.config();
    device.uninstall(false).unwrap();
    let options = uninstall::Options {
        purge_data: true,
        units: true,
    };
    uninstall_with(&config, options, Some(&device.system), &device.world, &Silent).unwrap();
    assert!(device.world.0.borrow().databases.is_empty());
    assert_eq!(tree(device.folder.path()), ["app-update-2.0.0.tar.gz"]);
}

#[test]
fn nothing_is_taken_away_during_an_update() {
    let device = Fresh::new();
    device.install(&Version::good("2.0.0")).unwrap();
    let mut store = Store::open(&device.config().database()).unwrap();
    let id = store.updates().unwrap()[0].id;
    let now = "2026-01-31T12:00:00Z";
    store
        .record(
            id,
            device::state::Event::RollBack,
            &device::store::Change::default(),
            now,
        )
        .unwrap();
    assert_eq!(store.active().unwrap().unwrap().state.phase, Phase::RollingBack);
    assert!(matches!(device.uninstall(true), Err(Error::Busy { .. })));
    device.expect_runs("2.0.0");
}

#[test]
fn paths_that_units_would_misread_are_refused() {
    let device = Fresh::new();
    for folder in ["/", "/opt/my app", "/opt/app%n", "/opt/$HOME"] {
        let options = Options {
            folder: Some(folder.into()),
            ..device.options(device.bundle(&Version::good("2.0.0")))
        };
        let error = device.install_with(&options).unwrap_err();
        assert!(error.to_string().contains("no folder to install into"), "{error}");
    }
    // What is configured stays as it is.
    device.install(&Version::good("2.0.0")).unwrap();
    let options = Options {
        folder: Some(device.path("elsewhere")),
        ..device.options(device.bundle(&Version::good("2.0.0")))
    };
    assert!(device.install_with(&options).is_err());
}

/// systemd's own tools say what they think of the units, where they are installed.
#[test]
fn systemd_accepts_the_units() {
    let device = Fresh::new();
    device.install(&Version::good("2.0.0")).unwrap();
    let unit = |name: &str| device.system.units().join(name);
    let files = [
        unit("app.service"),
        unit("app-updater.service"),
        unit("app-updater-fallback.service"),
    ];
    let run = |arguments: &[&str], files: &[PathBuf]| {
        let output = Command::new("systemd-analyze").args(arguments).args(files).output();
        match output {
            Ok(output) => {
                let text = [output.stdout, output.stderr].concat();
                Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
            }
            Err(_) => {
                eprintln!("skipped: systemd-analyze is not installed");
                None
            }
        }
    };
    let Some((accepted, said)) = run(&["verify", "--man=no"], &files) else {
        return;
    };
    let ours: Vec<_> = said
        .lines()
        // Docker need not be installed here, nor a program before ours.
        .filter(|line| line.contains("app") && !line.contains("docker.service") && !line.contains("updater.previous"))
        .collect();
    assert!(ours.is_empty(), "{accepted} {said}");
    for file in &files[..2] {
        let arguments = ["security", "--offline=true", "--threshold=35", "--no-pager"];
        if let Some((fine, said)) = run(&arguments, std::slice::from_ref(file)) {
            assert!(fine, "{said}");
        }
    }
}

/// A power cut at any moment: the next run finishes, with one set of credentials.
#[test]
fn ended_at_any_point_it_is_finished_by_the_next_run() {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    struct Ended;
    let memory = Path::new("/dev/shm");
    // Every third point: those of the engine are all passed in `crash_matrix`.
    for place in (0..).step_by(3) {
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let device = Fresh::in_folder(folder.unwrap());
        let version = Version::good("2.0.0");
        let options = device.options(device.bundle(&version));
        let mut passed = 0;
        let hook = move |_: &str| {
            if passed == place {
                resume_unwind(Box::new(Ended));
            }
            passed += 1;
        };
        let install = || device::system::crash::with_hook(hook, || device.install_with(&options));
        let ended = match catch_unwind(AssertUnwindSafe(install)) {
            Ok(installed) => {
                installed.unwrap();
                false
            }
            Err(payload) if payload.is::<Ended>() => true,
            Err(payload) => resume_unwind(payload),
        };
        let password = |env: &str| {
            env.lines()
                .find(|line| line.starts_with("DB_PASSWORD="))
                .map(str::to_owned)
        };
        let before = fs::read_to_string(device.path("opt/app/.env"))
            .ok()
            .and_then(|env| password(&env));
        device
            .install_with(&options)
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        device.expect_runs("2.0.0");
        if before.is_some() {
            assert_eq!(password(&device.env()), before, "{place}");
        }
        for name in [
            "etc/app/admin.hash",
            "etc/systemd/system/app-updater.service",
            "opt/app/bin/updater",
        ] {
            assert!(device.path(name).exists(), "{place}: {name}");
        }
        if !ended {
            assert!(place > 20, "{place}");
            break;
        }
    }
}
