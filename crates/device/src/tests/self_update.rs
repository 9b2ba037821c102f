//! The updater's own updates, with programs that are shell scripts, ended at every point.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

use bundle::{
    Platform,
    manifest::FileRole,
    read::{Trust, verify},
};
use tempfile::TempDir;

use crate::testing::{
    bundles::{self, More, Version},
    device::{Device, config_in},
};
use crate::{
    Result,
    config::Config,
    control::progress::Silent,
    engine::self_update::{self, Watch, pretended},
    system::crash,
};

/// A program that works, of another version than this one.
const NEW: &str = "#!/bin/sh\n[ \"$*\" = --version ] && echo 'updater 9.0.0'\nexit 0\n";
const OLD: &str = "#!/bin/sh\necho 'updater 0.1.0'\n";

struct Ended;

/// A device with an installed program, and a bundle that brings another one. Not in memory: that may forbid programs.
struct Installation {
    directory: TempDir,
    config: Config,
}

impl Installation {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = config_in(directory.path());
        install_previous(&config);
        Self { directory, config }
    }

    fn bundle(&self, program: &str) -> PathBuf {
        let more = [program_of(program)];
        bundles::write_with(self.directory.path(), &Version::good("2.0.0"), None, &more)
    }

    /// What a daemon does after a commit. Whether it moved.
    fn update(&self, bundle: &Path) -> Result<bool> {
        self.update_on(bundle, &Platform::host())
    }

    fn update_on(&self, bundle: &Path, platform: &Platform) -> Result<bool> {
        let file = crate::stack::bundle_files::open(bundle).unwrap();
        let mut bundle = verify(file, &Trust::Unsigned, &|_| {}).unwrap();
        let manifest = bundle.manifest().clone().into_inner();
        let prepared = self_update::prepare(&self.config, &mut bundle, &manifest, platform, &Silent)?;
        self_update::switch(&self.config)?;
        Ok(prepared.is_some())
    }

    /// The service manager starts what is installed.
    fn start(&self) {
        pretended::run(&self_update::program(&self.config));
    }

    fn installed(&self) -> String {
        fs::read_to_string(self_update::program(&self.config)).unwrap()
    }

    /// Ends `act` at the `place`-th point that it passes; whether it came there.
    fn end_at(&self, place: usize, act: impl FnOnce(&Self)) -> bool {
        let mut passed = 0;
        let hook = move |_: &str| {
            if passed == place {
                resume_unwind(Box::new(Ended));
            }
            passed += 1;
        };
        match catch_unwind(AssertUnwindSafe(|| crash::with_hook(hook, || act(self)))) {
            Ok(()) => false,
            Err(payload) if payload.is::<Ended>() => true,
            Err(payload) => resume_unwind(payload),
        }
    }
}

fn program_of(content: &str) -> More {
    More {
        name: "bin/updater-linux",
        role: FileRole::Updater {
            platform: Platform::host(),
        },
        content: content.to_owned(),
    }
}

fn install_previous(config: &Config) {
    let program = self_update::program(config);
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::write(&program, OLD).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    pretended::run(&program);
}

#[test]
fn a_new_program_replaces_the_previous_one_which_ends() {
    let device = Installation::new();
    let watch = Watch::start(&device.config);
    assert!(!watch.is_replaced(&device.config));
    assert!(device.update(&device.bundle(NEW)).unwrap());
    assert_eq!(device.installed(), NEW);
    assert!(watch.is_replaced(&device.config));
    // The previous program cannot confirm that the new one works.
    self_update::settle(&device.config).unwrap();
    device.start();
    assert!(!Watch::start(&device.config).is_replaced(&device.config));
    self_update::settle(&device.config).unwrap();
    // Settled: a later failure has another cause.
    assert!(!self_update::fall_back(&device.config).unwrap());
    assert_eq!(device.installed(), NEW);
    assert_eq!(fs::read_to_string(self_update::previous(&device.config)).unwrap(), OLD);
    // The same program again changes nothing.
    assert!(!device.update(&device.bundle(NEW)).unwrap());
}

#[test]
fn a_program_that_does_not_start_is_given_back_and_not_tried_again() {
    let device = Installation::new();
    let bundle = device.bundle(NEW);
    device.update(&bundle).unwrap();
    // The service manager could not keep it running.
    assert!(self_update::fall_back(&device.config).unwrap());
    assert_eq!(device.installed(), OLD);
    assert!(!self_update::fall_back(&device.config).unwrap());
    device.start();
    assert!(!device.update(&bundle).unwrap());
    assert_eq!(device.installed(), OLD);
    let other = format!("{NEW}# mended\n");
    assert!(device.update(&device.bundle(&other)).unwrap());
    assert_eq!(device.installed(), other);
}

#[test]
fn what_does_not_work_here_is_dropped() {
    for (program, why) in [
        ("#!/bin/sh\nexit 1\n", "failed"),
        ("#!/bin/sh\necho hello\n", "hello"),
        (
            "#!/bin/sh\n[ \"$*\" = --version ] && echo 'updater 9.0.0' && exit 0\necho newer record >&2; exit 1\n",
            "newer record",
        ),
        ("\x7fELF of another machine", "cannot run"),
    ] {
        let device = Installation::new();
        let error = device.update(&device.bundle(program)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(device.installed(), OLD);
        let left: Vec<_> = fs::read_dir(device.config.folder.join("bin")).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}

#[test]
fn an_older_program_and_one_for_another_machine_are_not_installed() {
    let device = Installation::new();
    let older = "#!/bin/sh\necho 'updater 0.0.9'\n";
    assert!(!device.update(&device.bundle(older)).unwrap());
    assert!(
        !device
            .update_on(&device.bundle(NEW), &"linux/s390x".parse().unwrap())
            .unwrap()
    );
    assert_eq!(device.installed(), OLD);
}

#[test]
fn two_updates_before_a_restart_keep_the_program_that_is_known_to_work() {
    let device = Installation::new();
    let newest = format!("{NEW}# newest\n");
    device.update(&device.bundle(NEW)).unwrap();
    device.update(&device.bundle(&newest)).unwrap();
    assert_eq!(device.installed(), newest);
    assert!(self_update::fall_back(&device.config).unwrap());
    assert_eq!(device.installed(), OLD);
}

#[test]
fn ended_at_any_point_there_is_a_program_and_a_way_on() {
    for place in 0.. {
        let device = Installation::new();
        let bundle = device.bundle(NEW);
        let ended = device.end_at(place, |device| {
            device.update(&bundle).unwrap();
        });
        assert!([OLD, NEW].contains(&device.installed().as_str()), "{place}");
        device.start();
        if device.installed() == OLD {
            // The previous program starts and is ready: after a later failure there is nothing to fall back to.
            self_update::settle(&device.config).unwrap();
            assert!(!self_update::fall_back(&device.config).unwrap(), "{place}");
            assert_eq!(device.installed(), OLD, "{place}");
            // The commit is done again.
            assert!(device.update(&bundle).unwrap(), "{place}");
        }
        assert_eq!(device.installed(), NEW, "{place}");
        assert!(self_update::fall_back(&device.config).unwrap(), "{place}");
        assert_eq!(device.installed(), OLD, "{place}");
        if !ended {
            assert!(place > 5, "{place}");
            break;
        }
    }
}

#[test]
fn falling_back_may_be_ended_and_done_again() {
    for place in 0.. {
        let device = Installation::new();
        device.update(&device.bundle(NEW)).unwrap();
        let ended = device.end_at(place, |device| {
            self_update::fall_back(&device.config).unwrap();
        });
        self_update::fall_back(&device.config).unwrap();
        assert_eq!(device.installed(), OLD, "{place}");
        device.start();
        assert!(!device.update(&device.bundle(NEW)).unwrap(), "{place}");
        if !ended {
            assert!(place > 2, "{place}");
            break;
        }
    }
}

#[test]
fn a_committed_update_brings_its_updater_along() {
    let mut device = Device::with(&Version::good("2.0.0"));
    // Memory may forbid programs.
    let directory = tempfile::tempdir().unwrap();
    for name in ["docker-compose.prod.yml", ".env"] {
        fs::copy(device.config.folder.join(name), directory.path().join(name)).unwrap();
    }
    device.config.folder = directory.path().to_owned();
    device.config.make_directories().unwrap();
    let apply = |device: &Device, version: &'static str, program: &str| {
        let version = Version::good(version);
        let path = bundles::write_with(
            &device.config.updates(),
            &version,
            Some(&device.key),
            &[program_of(program)],
        );
        let id = device.add(&version, path).id;
        device.run(|updater| updater.apply(id)).unwrap();
    };
    // A process that is not the installed program leaves it alone.
    apply(&device, "2.1.0", NEW);
    assert!(!self_update::program(&device.config).exists());
    install_previous(&device.config);
    apply(&device, "2.2.0", NEW);
    assert_eq!(fs::read_to_string(self_update::program(&device.config)).unwrap(), NEW);
    // A program that does not work is a warning; the update stays.
    pretended::run(&self_update::program(&device.config));
    apply(&device, "2.3.0", "#!/bin/sh\nexit 1\n");
    let update = device.update();
    assert_eq!(update.version.to_string(), "2.3.0");
    assert!(
        update
            .facts
            .warnings
            .iter()
            .any(|text| text.contains("the updater stays")),
        "{:?}",
        update.facts.warnings
    );
    assert_eq!(fs::read_to_string(self_update::program(&device.config)).unwrap(), NEW);
    // Rolling the product back leaves the updater.
    device.run(|updater| updater.roll_back(update.id, None)).unwrap();
    assert_eq!(fs::read_to_string(self_update::program(&device.config)).unwrap(), NEW);
}
