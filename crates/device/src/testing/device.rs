//! A device with directories of its own, on which updaters are started, ended and started again.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

use bundle::{
    parts::find_damage,
    signature::{NewKey, generate},
};
use tempfile::TempDir;

use super::{
    bundles::{self, Version},
    world::{Machine, World},
};
use crate::{
    Result,
    config::Config,
    containers::env_file::EnvFile,
    control::progress::Silent,
    engine::{Means, Updater, lock::Lock},
    stack::{bundle_files, release, trust},
    state::{Phase, State},
    store::{NewUpdate, Store, Update},
    system::crash,
};

/// What an updater that was ended leaves on the stack.
struct Ended;

/// A device as it was.
pub struct Snapshot {
    directory: TempDir,
    machine: Machine,
}

/// The configuration of a device whose directories are all in `root`, and made.
pub fn config_in(root: &Path) -> Config {
    let config = Config {
        folder: root.join("opt"),
        state: root.join("state"),
        etc: root.join("etc"),
        ..Config::for_product(&"app".parse().unwrap())
    };
    config.make_directories().unwrap();
    config
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let place = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&place).unwrap();
            copy_all(&path, &place);
        } else {
            fs::copy(&path, &place).unwrap();
        }
    }
}

/// A device.
pub struct Device {
    pub directory: TempDir,
    pub config: Config,
    pub world: World,
    pub key: NewKey,
}

impl Default for Device {
    fn default() -> Self {
        Self::new()
    }
}

impl Device {
    /// A device with nothing installed, which trusts one key.
    pub fn new() -> Self {
        // In memory: these tests sync thousands of times, and do not test the disk.
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        }
        .unwrap();
        let root = directory.path();
        let config = config_in(root);
        let key = generate(None).unwrap();
        trust::add(&config.trusted_keys(), key.public()).unwrap();
        Self {
            directory,
            config,
            world: World::default(),
            key,
        }
    }

    /// A device with nothing installed, which trusts no key.
    pub fn without_keys() -> Self {
        let device = Self::new();
        fs::remove_dir_all(device.config.trusted_keys()).unwrap();
        device
    }

    /// A device on which `version` was installed and has run for a while.
    pub fn with(version: &Version) -> Self {
        Self::new().having(version)
    }

    /// The same device after `version` was installed and has run for a while.
    pub fn having(self, version: &Version) -> Self {
        let device = self;
        device.apply(version).unwrap();
        device.wait(30);
        device
    }

    pub fn wait(&self, seconds: u64) {
        use crate::system::clock::Clock as _;
        self.world.sleep(std::time::Duration::from_secs(seconds));
    }

    pub fn elapsed(&self) -> std::time::Duration {
        use crate::system::clock::Clock as _;
        self.world.elapsed()
    }

    pub fn store(&self) -> Store {
        Store::open(&self.config.database()).unwrap()
    }

    pub fn run<T>(&self, act: impl FnOnce(&mut Updater<'_>) -> T) -> T {
        act(&mut Updater::as_it_is(self.means(), self.lock()).unwrap())
    }

    /// As the program does it: what was interrupted comes first, and what a person set by hand.
    pub fn run_recovered<T>(&self, act: impl FnOnce(&mut Updater<'_>) -> T) -> T {
        act(&mut Updater::recovered(self.means(), self.lock()).unwrap())
    }

    pub fn means(&self) -> Means<'_> {
        Means {
            config: &self.config,
            engine: &self.world,
            clock: &self.world,
            progress: &Silent,
        }
    }

    pub fn lock(&self) -> Lock {
        Lock::take(&self.config.lock(), "a test").unwrap()
    }

    /// Drops the bundle of `version` and records it.
    pub fn drop_bundle(&self, version: &Version) -> Update {
        let path = bundles::write(&self.config.updates(), version, Some(&self.key));
        self.add(version, path)
    }

    pub fn add(&self, version: &Version, path: PathBuf) -> Update {
        let new = NewUpdate {
            version: version.version.parse().unwrap(),
            changelog: String::new(),
            bundle: Some(path),
            manifest_digest: None,
            file_size: None,
        };
        self.store().add(&new, "2026-01-31T12:00:00Z").unwrap()
    }

    pub fn apply(&self, version: &Version) -> Result<State> {
        let id = self.drop_bundle(version).id;
        self.run(|updater| updater.apply(id))
    }

    pub fn update(&self) -> Update {
        self.store().updates().unwrap().remove(0)
    }

    /// Removes every image that no container uses, as a person would.
    pub fn remove_unused_images(&self) {
        let mut machine = self.world.0.borrow_mut();
        let used: Vec<_> = machine.containers.values().map(|container| container.image).collect();
        machine.images.retain(|id, _| used.contains(id));
    }

    /// Remembers everything as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let directory = tempfile::tempdir_in(self.directory.path().parent().unwrap()).unwrap();
        copy_all(self.directory.path(), directory.path());
        Snapshot {
            directory,
            machine: self.world.0.borrow().clone(),
        }
    }

    /// Makes everything what it was.
    pub fn restore(&self, snapshot: &Snapshot) {
        for entry in fs::read_dir(self.directory.path()).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        copy_all(snapshot.directory.path(), self.directory.path());
        *self.world.0.borrow_mut() = snapshot.machine.clone();
    }

    /// Runs `act`, ends it at the `place`-th crash point that it passes, and tells that point's name; none if it came to
    /// its end before.
    pub fn run_until(&self, place: usize, act: impl FnOnce(&mut Updater<'_>)) -> Option<String> {
        let mut passed = 0;
        let name = std::rc::Rc::new(std::cell::RefCell::new(None));
        let seen = name.clone();
        let hook = move |point: &str| {
            if passed == place {
                *seen.borrow_mut() = Some(point.to_owned());
                resume_unwind(Box::new(Ended));
            }
            passed += 1;
        };
        let ended = catch_unwind(AssertUnwindSafe(|| crash::with_hook(hook, || self.run(act))));
        match ended {
            Ok(()) => None,
            Err(payload) if payload.is::<Ended>() => name.take(),
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Runs `act` and ends it at the first crash point of that name; whether it came there.
    pub fn run_until_point(&self, name: &'static str, act: impl FnOnce(&mut Updater<'_>)) -> bool {
        let hook = move |point: &str| {
            if point == name {
                resume_unwind(Box::new(Ended));
            }
        };
        match catch_unwind(AssertUnwindSafe(|| crash::with_hook(hook, || self.run(act)))) {
            Ok(()) => false,
            Err(payload) if payload.is::<Ended>() => true,
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Every crash point that `act` passes.
    pub fn points(&self, act: impl FnOnce(&mut Updater<'_>)) -> Vec<String> {
        let names = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let seen = names.clone();
        crash::with_hook(move |point| seen.borrow_mut().push(point.to_owned()), || self.run(act));
        names.take()
    }

    /// Checks that beside each list of parts are the parts that it names, and that no other part exists.
    #[track_caller]
    pub fn expect_whole_sets(&self, what: &str) {
        for directory in [self.config.updates(), self.config.applied(), self.config.failed()] {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if let Some(list) = bundle_files::list_of_part(&path) {
                    assert!(list.exists(), "{what}: {} is left", path.display());
                }
                find_damage(&path).unwrap_or_else(|error| panic!("{what}: {}: {error}", path.display()));
            }
        }
    }

    /// The device is whole: one version, healthy, with everything that was acknowledged, and nothing under way.
    #[track_caller]
    pub fn expect_whole(&self, what: &str) -> String {
        let store = self.store();
        assert!(store.active().unwrap().is_none(), "{what}: something is under way");
        let update = self.update();
        assert_ne!(update.state.phase, Phase::Stuck, "{what}: {:?}", update.error);
        let current = store
            .current()
            .unwrap()
            .unwrap_or_else(|| panic!("{what}: nothing is installed"));
        let version = current.version.to_string();
        {
            let machine = self.world.0.borrow();
            for (service, pin) in &current.pins {
                let container = machine
                    .containers
                    .get(service)
                    .unwrap_or_else(|| panic!("{what}: no {service}"));
                assert!(container.running, "{what}: {service} does not run");
                assert_eq!(container.image, pin.id, "{what}: {service} runs another image");
                assert_eq!(
                    machine.tags.get(&pin.reference),
                    Some(&pin.id),
                    "{what}: {} is another",
                    pin.reference
                );
            }
            assert_eq!(machine.answers(), Ok(()), "{what}");
        }
        self.wait(3);
        let machine = self.world.0.borrow();
        let lost: Vec<_> = machine
            .acknowledged
            .difference(&machine.databases["app"].rows)
            .collect();
        assert!(lost.is_empty(), "{what}: lost {lost:?}");
        let env = EnvFile::parse(&std::fs::read_to_string(self.config.env()).unwrap());
        assert_eq!(env.get("APP_VERSION"), Some(version.clone()), "{what}");
        assert_eq!(
            std::fs::read(self.config.compose()).unwrap(),
            std::fs::read(current.directory.unwrap().join(&self.config.compose_file)).unwrap(),
            "{what}"
        );
        assert!(release::manifest(&store.current().unwrap().unwrap()).unwrap().is_some());
        let left: Vec<_> = std::fs::read_dir(self.config.updates())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .collect();
        assert!(left.is_empty(), "{what}: {left:?} is left and would be tried again");
        version
    }
}
