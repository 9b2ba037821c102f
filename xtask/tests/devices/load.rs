//! The updater loads images straight out of bundles into real engines, and into no other place.
//!
//! The images are small ones of our own: a base, a middle and a top layer, of which versions change one. What the
//! updater says is compared with what Docker's own client says, and with what the images do when they run.

use std::{
    cell::RefCell,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bundle::{Digest, manifest::PlatformImage, read::VerifiedBundle};
use device::testing::sample::{self, Image, Layer, Packed, layer, noise};
use device::{
    Error, Result,
    containers::{ContainerEngine as _, EngineFacts, ImageStore, docker::Docker},
    stack::load::{self, Loaded, load_image},
    store::Store,
};
use serde_json::json;
use tempfile::TempDir;
use xtask::engines::Kind;

use crate::device::Device;

/// Bytes of an archive besides its layers: headers, documents, the end.
const FRAME: u64 = 16 * 1024;

const MIB: usize = 1024 * 1024;

/// The one program in the images.
static TOOL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("tool");
    let source = xtask::checkout::root().unwrap().join("xtask/tests/devices/tool.c");
    let compiled = Command::new("cc")
        .args(["-static", "-O1", "-w", "-s", "-o"])
        .arg(&program)
        .arg(source)
        .status()
        .unwrap();
    assert!(compiled.success());
    fs::read(program).unwrap()
});

/// A device with an updater's record.
pub(crate) struct Lab {
    pub(crate) device: Device,
    pub(crate) docker: Docker,
    pub(crate) facts: EngineFacts,
    pub(crate) store: RefCell<Store>,
    pub(crate) directory: TempDir,
}

impl Lab {
    pub(crate) fn start(kind: Kind) -> Self {
        let device = Device::start(kind);
        let docker = Docker::new(Some(&device.host())).unwrap();
        let directory = tempfile::tempdir().unwrap();
        Self {
            facts: docker.facts().unwrap(),
            store: RefCell::new(Store::open(&directory.path().join("state/updates.sqlite")).unwrap()),
            device,
            docker,
            directory,
        }
    }

    pub(crate) fn bundle(&self, version: &str, layers: Vec<Layer>) -> PathBuf {
        let image = Image {
            name: "sample",
            platform: "linux/amd64",
            layers,
            config: json!({"Entrypoint": ["/tool"], "Volumes": {"/data": {}}, "ExposedPorts": {"8000/tcp": {}}}),
        };
        sample::bundle(self.directory.path(), version, &[image])
    }

    /// Loads the first image.
    pub(crate) fn load(&self, bundle: &Path) -> Result<Loaded> {
        self.load_with(&mut sample::open(bundle), &|_| {})
    }

    fn load_with(&self, bundle: &mut VerifiedBundle<fs::File>, progress: &dyn Fn(u64)) -> Result<Loaded> {
        let image = bundle.manifest().image_details[0].clone();
        let platform = image.platforms[0].platform.clone();
        let store = &mut self.store.borrow_mut();
        load_image(&self.docker, &self.facts, store, bundle, &image, &platform, progress)
    }

    /// Runs an image and gives what it says.
    fn run(&self, id: &Digest) -> String {
        let id = id.to_string();
        self.device
            .docker()
            .args(["run", "--rm", "--network", "none", &id])
            .read()
            .unwrap()
    }

    fn names(&self, id: &Digest) -> Vec<String> {
        self.docker.image(&id.to_string()).unwrap().unwrap().references
    }

    fn expect_no_probe(&self) {
        let left = self.device.docker().args(["ps", "--all", "--quiet"]).read().unwrap();
        assert_eq!(left, "");
        let volumes = self.device.docker().args(["volume", "ls", "--quiet"]).read().unwrap();
        assert_eq!(volumes, "");
    }
}

pub(crate) fn base(packed: Packed) -> Layer {
    layer(&[("tool", &TOOL), ("base", &noise(1, 6 * MIB))], packed)
}

pub(crate) fn middle(seed: u64, packed: Packed) -> Layer {
    layer(&[("middle", &noise(seed, 2 * MIB))], packed)
}

pub(crate) fn top(version: &str, packed: Packed) -> Layer {
    layer(&[("version", version.as_bytes()), ("top", &noise(9, MIB / 4))], packed)
}

fn image_of(bundle: &Path) -> PlatformImage {
    sample::open(bundle).manifest().image_details[0].platforms[0].clone()
}

fn size_of_layers(image: &PlatformImage, of: &[usize], facts: &EngineFacts) -> u64 {
    let as_sent = |at: &usize| {
        let layer = &image.layers[*at];
        let old = facts.store == ImageStore::Classic && facts.major() < 23;
        match layer.media_type.ends_with("zstd") && old {
            true => layer.uncompressed_size,
            false => layer.size,
        }
    };
    of.iter().map(as_sent).sum()
}

fn expect_sent(loaded: &Loaded, layers: u64) {
    assert!(
        (layers..layers + FRAME).contains(&loaded.sent_bytes),
        "{} bytes sent, {layers} are in the layers",
        loaded.sent_bytes
    );
}

/// First, again, changed, removed.
fn a_life(kind: Kind, packed: Packed) {
    let lab = Lab::start(kind);
    eprintln!("{kind:?}: {:?}", lab.facts);
    let first = lab.bundle("1.0.0", vec![base(packed), middle(2, packed), top("1.0.0", packed)]);
    let image = image_of(&first);
    let all = size_of_layers(&image, &[0, 1, 2], &lab.facts);

    let loaded = lab.load(&first).unwrap();
    assert_eq!(loaded.id, lab.facts.store.image_id(&image));
    assert!(!loaded.already_there);
    expect_sent(&loaded, all);
    assert_eq!(lab.run(&loaded.id), "1.0.0");
    let keeping = load::keeping(&"sample".parse().unwrap(), &loaded.id);
    assert_eq!(lab.names(&loaded.id), [keeping.as_str()]);
    lab.expect_no_probe();

    let again = lab.load(&first).unwrap();
    assert_eq!((again.sent_bytes, again.already_there), (0, true));

    // The top layer changes, as in most versions of a program.
    let second = lab.bundle("1.1.0", vec![base(packed), middle(2, packed), top("1.1.0", packed)]);
    let loaded = lab.load(&second).unwrap();
    expect_sent(&loaded, size_of_layers(&image_of(&second), &[2], &lab.facts));
    assert_eq!(lab.run(&loaded.id), "1.1.0");
    // What was left out can nevertheless be given away again.
    let id = loaded.id.to_string();
    let saved = lab.directory.path().join("saved.tar");
    lab.device
        .docker()
        .args(["save", "--output"])
        .arg(&saved)
        .arg(&id)
        .run()
        .unwrap();
    let size = fs::metadata(&saved).unwrap().len();
    assert!(size >= 8 * MIB as u64, "{size}");

    // A layer in the middle changes: a classic store then needs those above it, too.
    let third = lab.bundle("1.2.0", vec![base(packed), middle(3, packed), top("1.1.0", packed)]);
    let loaded = lab.load(&third).unwrap();
    let sent: &[usize] = match lab.facts.store {
        ImageStore::Classic => &[1, 2],
        ImageStore::Containerd => &[1],
    };
    expect_sent(&loaded, size_of_layers(&image_of(&third), sent, &lab.facts));
    assert_eq!(lab.run(&loaded.id), "1.1.0");

    // A person makes room.
    for clean in [
        &["rmi", "--force", &id, &loaded.id.to_string()][..],
        &["system", "prune", "--all", "--force"],
    ] {
        lab.device.docker().args(clean).ignore_stdout().run().unwrap();
        if clean[0] == "rmi" {
            assert_eq!(lab.docker.image(&id).unwrap(), None);
        }
        let loaded = lab.load(&second).unwrap();
        assert!(!loaded.already_there);
        assert_eq!(lab.run(&loaded.id), "1.1.0");
    }
    expect_sent(&lab.load(&first).unwrap(), size_of_layers(&image, &[2], &lab.facts));
    // Nothing needs the first any more.
    lab.docker.tag(&again.id, "sample:1.0.0").unwrap();
    let product = "sample".parse().unwrap();
    for _ in 0..2 {
        load::release_image(
            &lab.docker,
            &mut lab.store.borrow_mut(),
            &product,
            &again.id,
            "sample:1.0.0",
        )
        .unwrap();
        assert_eq!(lab.docker.image(&again.id.to_string()).unwrap(), None);
    }
    assert_eq!(lab.run(&lab.facts.store.image_id(&image_of(&second))), "1.1.0");
    lab.expect_no_probe();
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn loads_what_is_missing_on_engine_20() {
    a_life(Kind::Docker20, Packed::Gzip);
    a_life(Kind::Docker20, Packed::Zstd);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn loads_what_is_missing_on_the_classic_store() {
    a_life(Kind::Docker26Classic, Packed::Zstd);
    a_life(Kind::Docker26Classic, Packed::Plain);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn loads_what_is_missing_on_the_containerd_store() {
    a_life(Kind::Docker26Containerd, Packed::Zstd);
    a_life(Kind::Docker26Containerd, Packed::Gzip);
}

/// A record that is wrong makes the engine refuse what it relies on. Then everything is sent, once.
#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_refused_load_is_done_again_in_full() {
    let lab = Lab::start(Kind::Docker26Containerd);
    let other = lab.bundle("0.9.0", vec![layer(&[("other", b"other")], Packed::Zstd)]);
    let other = lab.load(&other).unwrap().id;
    let packed = Packed::Zstd;
    let bundle = lab.bundle("1.0.0", vec![base(packed), middle(2, packed), top("1.0.0", packed)]);
    let image = image_of(&bundle);
    let claimed = [0, 1].map(|at: usize| image.layers[at].digest);
    lab.store.borrow_mut().remember_loaded(&other, &claimed.into()).unwrap();

    let loaded = lab.load(&bundle).unwrap();
    let partly = size_of_layers(&image, &[2], &lab.facts);
    expect_sent(&loaded, partly + size_of_layers(&image, &[0, 1, 2], &lab.facts));
    assert_eq!(lab.run(&loaded.id), "1.0.0");
    assert_eq!(
        lab.names(&loaded.id),
        [load::keeping(&"sample".parse().unwrap(), &loaded.id)]
    );
    let recorded = lab.store.borrow().loaded().unwrap();
    assert_eq!(recorded.into_keys().collect::<Vec<_>>(), [loaded.id]);
}

/// Images that cannot run leave nothing behind.
#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn what_is_not_for_this_device_is_refused() {
    for kind in Kind::DEVICES {
        let mut lab = Lab::start(kind);
        let arm = Image {
            name: "sample",
            platform: "linux/arm64",
            layers: vec![top("1.0.0", Packed::Gzip)],
            config: json!({}),
        };
        let bundle = sample::bundle(lab.directory.path(), "1.0.0", &[arm]);
        let error = lab.load(&bundle).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");

        // The engine takes it without an error, if a client insists.
        lab.facts.platform = "linux/arm64".parse().unwrap();
        let id = lab.load(&bundle).unwrap().id;
        assert_eq!(
            lab.docker.image(&id.to_string()).unwrap().unwrap().architecture,
            "arm64"
        );
    }
}

/// The engine dies in the middle of a load.
#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn an_engine_that_dies_is_noticed_at_once_and_loads_later() {
    for kind in Kind::DEVICES {
        let mut lab = Lab::start(kind);
        let packed = Packed::Gzip;
        let big = layer(&[("big", &noise(5, 150 * MIB))], packed);
        let bundle = lab.bundle("1.0.0", vec![base(packed), big, top("1.0.0", packed)]);
        let (pid, seen) = (lab.device.pid(), AtomicU64::new(0));
        let killed = RefCell::new(None);
        let error = lab.load_with(&mut sample::open(&bundle), &|bytes| {
            if seen.fetch_add(bytes, Ordering::Relaxed) > 40 * MIB as u64 && killed.borrow().is_none() {
                assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
                killed.replace(Some(Instant::now()));
            }
        });
        let (error, killed) = (error.unwrap_err(), killed.take().unwrap());
        eprintln!("{kind:?}: after {:?}: {error}", killed.elapsed());
        assert!(killed.elapsed() < Duration::from_secs(5));
        assert!(matches!(&error, Error::Engine { .. }), "{error}");

        lab.device.restart();
        let loaded = lab.load(&bundle).unwrap();
        assert!(!loaded.already_there);
        assert_eq!(lab.run(&loaded.id), "1.0.0");
    }
}

/// What was begun before a power cut, and perhaps not written, is not believed.
#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn an_image_from_before_a_power_cut_is_loaded_again() {
    for kind in Kind::DEVICES {
        let lab = Lab::start(kind);
        let bundle = lab.bundle("1.0.0", vec![base(Packed::Gzip), top("1.0.0", Packed::Gzip)]);
        let id = lab.load(&bundle).unwrap().id;
        {
            let mut store = lab.store.borrow_mut();
            store.forget_loaded(&id).unwrap();
            store
                .set_setting(&format!("loading {id}"), Some("another boot"))
                .unwrap();
        }
        let loaded = lab.load(&bundle).unwrap();
        assert!(!loaded.already_there);
        expect_sent(&loaded, size_of_layers(&image_of(&bundle), &[0, 1], &lab.facts));
        assert!(lab.load(&bundle).unwrap().already_there);
        assert_eq!(lab.run(&id), "1.0.0");
    }
}

/// The updater keeps some buffers, not the image. Measured in a process of its own, which has made no bundle.
#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn memory_stays_flat() {
    const BUNDLE: &str = "DEVICES_MEMORY_BUNDLE";
    const HOST: &str = "DEVICES_MEMORY_HOST";
    let Ok(bundle) = env::var(BUNDLE) else {
        let lab = Lab::start(Kind::Docker26Classic);
        let bundle = lab.bundle("1.0.0", vec![layer(&[("big", &noise(5, 150 * MIB))], Packed::Zstd)]);
        let loading = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "load::memory_stays_flat"])
            .envs([(BUNDLE, bundle.as_os_str()), (HOST, lab.device.host().as_ref())])
            .status()
            .unwrap();
        assert!(loading.success());
        return;
    };
    let docker = Docker::new(Some(&env::var(HOST).unwrap())).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("updates.sqlite")).unwrap();
    let mut bundle = sample::open(Path::new(&bundle));
    let image = bundle.manifest().image_details[0].clone();
    let facts = docker.facts().unwrap();
    let platform = &facts.platform;
    let loaded = load_image(&docker, &facts, &mut store, &mut bundle, &image, platform, &|_| {}).unwrap();
    assert!(loaded.sent_bytes > 150 * MIB as u64);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let most = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let most: usize = most.split_whitespace().nth(1).unwrap().parse().unwrap();
    eprintln!("{} bytes loaded, at most {most} KiB in memory", loaded.sent_bytes);
    assert!(most < 40 * 1024, "{most} KiB");
}
