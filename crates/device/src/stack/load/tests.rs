//! Loading into a simulated engine, which reads the archive and refuses as real ones do.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::File,
    io::{SeekFrom, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use serde_json::Value;

use super::*;
use crate::{
    containers::{ContainerFacts, ImageFacts, Input, Project, Services, Stack, WriteArchive},
    system::crash,
    testing::sample,
};

use sample::{Image, Layer, Packed, layer, noise};

/// An engine: what it was sent, and what it has.
#[derive(Default)]
struct Engine {
    state: RefCell<State>,
    /// Layers that it has lost, even where it says that it has them.
    lost: BTreeSet<Digest>,
    /// What it says that its images are for.
    architecture: Option<&'static str>,
    /// How many loads end as if the engine died.
    dies: RefCell<u32>,
}

#[derive(Default)]
struct State {
    archives: Vec<BTreeMap<String, Vec<u8>>>,
    images: BTreeMap<Digest, ImageFacts>,
    blobs: BTreeSet<Digest>,
    syncs: u32,
}

impl Engine {
    fn last(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.borrow().archives.last().unwrap().clone()
    }

    fn loads(&self) -> usize {
        self.state.borrow().archives.len()
    }

    fn take(&self, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        let mut state = self.state.borrow_mut();
        for (name, bytes) in files {
            if let Some(hex) = name.strip_prefix("blobs/sha256/") {
                assert_eq!(hex.len(), 64, "{name}");
                let digest = Digest::from_hex(hex).unwrap();
                // What is sent uncompressed keeps the name that the list of layers has.
                assert!(Digest::of(bytes) == digest || bytes.len() % 512 == 0, "{name}");
                state.blobs.insert(digest);
            }
        }
        let json = |name: &str| -> Value { serde_json::from_slice(&files[name]).unwrap() };
        let (id, config, wanted, names) = if files.contains_key("index.json") {
            assert!(files.contains_key("oci-layout") && !files.contains_key("manifest.json"));
            let descriptor = json("index.json")["manifests"][0].clone();
            let path = format!("blobs/{}", descriptor["digest"].as_str().unwrap().replace(':', "/"));
            assert_eq!(descriptor["size"], files[&path].len());
            let manifest = json(&path);
            assert_eq!(manifest["mediaType"], descriptor["mediaType"]);
            let digests = manifest["layers"].as_array().unwrap().iter();
            let wanted: Vec<Digest> = digests
                .map(|layer| layer["digest"].as_str().unwrap().parse().unwrap())
                .collect();
            let name = descriptor["annotations"]["io.containerd.image.name"].as_str().unwrap();
            let config = manifest["config"]["digest"].as_str().unwrap().replace(':', "/");
            (
                descriptor["digest"].clone(),
                format!("blobs/{config}"),
                wanted,
                vec![name.to_owned()],
            )
        } else {
            let image = json("manifest.json")[0].clone();
            assert_eq!(image["RepoTags"], Value::Null);
            let paths = image["Layers"].as_array().unwrap().iter();
            let digest = |path: &Value| Digest::from_hex(&path.as_str().unwrap()["blobs/sha256/".len()..]).unwrap();
            let wanted: Vec<Digest> = paths.map(digest).collect();
            let config = image["Config"].as_str().unwrap().to_owned();
            let id = Value::String(Digest::of(&files[&config]).to_string());
            (id, config, wanted, Vec::new())
        };
        let id: Digest = id.as_str().unwrap().parse().unwrap();
        let configuration = json(&config);
        state.images.insert(
            id,
            ImageFacts {
                id,
                references: names,
                diff_ids: serde_json::from_value(configuration["rootfs"]["diff_ids"].clone()).unwrap(),
                architecture: self
                    .architecture
                    .unwrap_or(configuration["architecture"].as_str().unwrap())
                    .to_owned(),
            },
        );
        // As real ones do: the image is there all the same.
        let missing = |layer: &&Digest| {
            let path = format!("blobs/sha256/{}", layer.hex());
            !files.contains_key(&path) && (!state.blobs.contains(layer) || self.lost.contains(layer))
        };
        match wanted.iter().find(missing) {
            Some(layer) => {
                let files = &mut state.images.get_mut(&id).unwrap().diff_ids;
                files.clear();
                Err(Error::engine("load", format!("content {layer}: not found")))
            }
            None => Ok(()),
        }
    }
}

impl ContainerEngine for Engine {
    fn facts(&self) -> Result<EngineFacts> {
        Ok(facts(ImageStore::Containerd, "26.1.5"))
    }

    fn image(&self, name: &str) -> Result<Option<ImageFacts>> {
        let state = self.state.borrow();
        let mut images = state.images.values();
        Ok(images
            .find(|image| image.id.to_string() == name || image.references.iter().any(|reference| reference == name))
            .cloned())
    }

    fn images(&self) -> Result<Vec<ImageFacts>> {
        Ok(self.state.borrow().images.values().cloned().collect())
    }

    fn load(&self, write: &mut WriteArchive<'_>) -> Result<()> {
        let mut bytes = Vec::new();
        write(&mut bytes).map_err(|error| Error::engine("read", error))?;
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            assert!(files.insert(name, content).is_none());
        }
        self.state.borrow_mut().archives.push(files.clone());
        if *self.dies.borrow() > 0 {
            *self.dies.borrow_mut() -= 1;
            return Err(Error::engine("load", "the connection broke"));
        }
        self.take(&files)
    }

    fn try_create(&self, image: &Digest) -> Result<()> {
        match self.state.borrow().images.get(image) {
            Some(image) if !image.diff_ids.is_empty() => Ok(()),
            _ => Err(Error::engine("create", "not whole")),
        }
    }

    fn tag(&self, image: &Digest, reference: &str) -> Result<()> {
        for (id, facts) in &mut self.state.borrow_mut().images {
            facts.references.retain(|name| name != reference);
            if id == image {
                facts.references.push(reference.to_owned());
            }
        }
        Ok(())
    }

    fn remove_image(&self, name: &str) -> Result<()> {
        let mut state = self.state.borrow_mut();
        for facts in state.images.values_mut() {
            facts.references.retain(|reference| reference != name);
        }
        state
            .images
            .retain(|id, facts| id.to_string() != name && !facts.references.is_empty());
        Ok(())
    }

    fn sync(&self) {
        self.state.borrow_mut().syncs += 1;
    }

    fn compose(&self) -> Result<Option<String>> {
        unreachable!()
    }

    fn project(&self, _: &Stack) -> Result<Project> {
        unreachable!()
    }

    fn containers(&self, _: &Stack) -> Result<Vec<ContainerFacts>> {
        unreachable!()
    }

    fn changed(&self, _: &Stack) -> Result<Vec<String>> {
        unreachable!()
    }

    fn up(&self, _: &Stack, _: Services<'_>) -> Result<()> {
        unreachable!()
    }

    fn stop_containers(&self, _: &[ContainerFacts]) -> Result<()> {
        unreachable!()
    }

    fn stop(&self, _: &Stack) -> Result<()> {
        unreachable!()
    }

    fn down(&self, _: &Stack) -> Result<()> {
        unreachable!()
    }

    fn down_with_volumes(&self, _: &Stack) -> Result<()> {
        unreachable!()
    }

    fn exec(&self, _: &Stack, _: &str, _: &[&str], _: Input<'_>, _: &mut (dyn Write + Send)) -> Result<()> {
        unreachable!()
    }

    fn ask_health(&self, _: &Stack, _: &bundle::manifest::Health) -> Result<(), String> {
        unreachable!()
    }

    fn logs(&self, _: &Stack, _: u32) -> Result<String> {
        unreachable!()
    }
}

fn facts(store: ImageStore, version: &str) -> EngineFacts {
    EngineFacts {
        version: version.to_owned(),
        store,
        platform: "linux/amd64".parse().unwrap(),
        root: "/".into(),
    }
}

fn containerd() -> EngineFacts {
    facts(ImageStore::Containerd, "26.1.5")
}

struct World {
    engine: Engine,
    store: Store,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("state/updates.sqlite")).unwrap();
        Self {
            engine: Engine::default(),
            store,
            directory,
        }
    }

    fn bundle(&self, version: &str, layers: Vec<Layer>) -> VerifiedBundle<File> {
        let image = Image {
            name: "sample",
            platform: "linux/amd64",
            layers,
            config: serde_json::json!({}),
        };
        sample::open(&sample::bundle(self.directory.path(), version, &[image]))
    }

    fn load(&mut self, bundle: &mut VerifiedBundle<File>, facts: &EngineFacts) -> Result<Loaded> {
        let image = bundle.manifest().image_details[0].clone();
        let platform = facts.platform.clone();
        load_image(&self.engine, facts, &mut self.store, bundle, &image, &platform, &|_| {})
    }
}

fn lower() -> Layer {
    layer(&[("lower", &noise(1, 50_000))], Packed::Zstd)
}

fn upper(seed: u64) -> Layer {
    layer(&[("upper", &noise(seed, 3_000))], Packed::Gzip)
}

fn image_of(bundle: &VerifiedBundle<File>) -> PlatformImage {
    bundle.manifest().image_details[0].platforms[0].clone()
}

fn layers_in(archive: &BTreeMap<String, Vec<u8>>, image: &PlatformImage) -> Vec<bool> {
    let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let layers = image.layers.iter();
    layers.map(|layer| archive.contains_key(&path(&layer.digest))).collect()
}

#[test]
fn both_stores_get_only_what_is_missing() {
    for facts in [containerd(), facts(ImageStore::Classic, "26.1.5")] {
        let mut world = World::new();
        let mut first = world.bundle("1.0.0", vec![lower(), upper(2), upper(2)]);
        let loaded = world.load(&mut first, &facts).unwrap();
        assert_eq!(layers_in(&world.engine.last(), &image_of(&first)), [true; 3]);
        let keeping = keeping(&"sample".parse().unwrap(), &loaded.id);
        assert_eq!(world.engine.image(&keeping).unwrap().unwrap().references, [keeping]);

        assert!(world.load(&mut first, &facts).unwrap().already_there);
        let mut second = world.bundle("1.1.0", vec![lower(), upper(3)]);
        let new = image_of(&second);
        let expected = missing_bytes(&world.engine, &world.store, &facts, second.manifest()).unwrap();
        let loaded = world.load(&mut second, &facts).unwrap();
        assert_eq!(layers_in(&world.engine.last(), &new), [false, true]);
        // Headers, padding and the few documents that are made.
        assert!((expected..expected + 8192).contains(&loaded.sent_bytes));
        assert_eq!(
            missing_bytes(&world.engine, &world.store, &facts, second.manifest()).unwrap(),
            0
        );
        assert_eq!((world.engine.loads(), world.engine.state.borrow().syncs), (2, 2));
    }
}

#[test]
fn an_archive_has_the_size_that_was_planned_and_always_the_same_bytes() {
    for facts in [
        containerd(),
        facts(ImageStore::Classic, "26.1.5"),
        facts(ImageStore::Classic, "20.10.24"),
    ] {
        let world = World::new();
        let mut bundle = world.bundle("1.0.0", vec![lower(), upper(2)]);
        let image = image_of(&bundle);
        let mut write = || {
            let archive = Archive::plan(&mut bundle, &image, &facts, &layers(&image), "a/b:c").unwrap();
            let mut bytes = Vec::new();
            let counted = Cell::new(0);
            archive
                .write(&mut bundle, &mut bytes, &|count| counted.set(counted.get() + count))
                .unwrap();
            assert_eq!((bytes.len() as u64, counted.get()), (archive.size(), archive.size()));
            bytes
        };
        assert_eq!(write(), write());
    }
}

#[test]
fn engine_20_gets_zstd_layers_uncompressed() {
    let mut world = World::new();
    let mut bundle = world.bundle("1.0.0", vec![lower(), upper(2)]);
    let image = image_of(&bundle);
    world
        .load(&mut bundle, &facts(ImageStore::Classic, "20.10.24"))
        .unwrap();
    let archive = world.engine.last();
    let sent = |at: usize| Digest::of(&archive[&format!("blobs/sha256/{}", image.layers[at].digest.hex())]);
    assert_eq!(sent(0), image.layers[0].diff_id);
    assert_eq!(sent(1), image.layers[1].digest);
}

#[test]
fn a_refused_load_is_done_again_in_full() {
    let mut world = World::new();
    let mut first = world.bundle("1.0.0", vec![lower(), upper(2)]);
    world.load(&mut first, &containerd()).unwrap();
    world.engine.lost = [image_of(&first).layers[0].digest].into();
    let mut second = world.bundle("1.1.0", vec![lower(), upper(3)]);
    let loaded = world.load(&mut second, &containerd()).unwrap();
    assert_eq!(world.engine.loads(), 3);
    assert_eq!(layers_in(&world.engine.last(), &image_of(&second)), [true, true]);
    // The wrong record is removed.
    assert_eq!(
        world.store.loaded().unwrap().into_keys().collect::<Vec<_>>(),
        [loaded.id]
    );
}

#[test]
fn a_full_load_that_is_refused_is_an_error_and_leaves_nothing() {
    let mut world = World::new();
    world.engine.dies = RefCell::new(9);
    let mut bundle = world.bundle("1.0.0", vec![lower()]);
    let error = world.load(&mut bundle, &containerd()).unwrap_err().to_string();
    assert!(error.contains("the connection broke"), "{error}");
    assert_eq!(world.engine.loads(), 1);
    assert_eq!(world.engine.images().unwrap(), []);
    assert!(world.store.loaded().unwrap().is_empty());
}

#[test]
fn an_image_of_another_architecture_is_noticed() {
    let mut world = World::new();
    world.engine.architecture = Some("arm64");
    let mut bundle = world.bundle("1.0.0", vec![lower()]);
    let error = world.load(&mut bundle, &containerd()).unwrap_err().to_string();
    assert!(error.contains("it is for arm64, not for amd64"), "{error}");
    assert_eq!(world.engine.images().unwrap(), []);
    let mut other = containerd();
    other.platform = "linux/arm64".parse().unwrap();
    let error = world.load(&mut bundle, &other).unwrap_err().to_string();
    assert!(
        error.contains("sample:1.0.0 for linux/amd64, not for linux/arm64"),
        "{error}"
    );
}

#[test]
fn a_bundle_that_changed_since_it_was_verified_is_not_loaded() {
    let mut world = World::new();
    let mut bundle = world.bundle("1.0.0", vec![lower(), upper(2)]);
    let path = world.directory.path().join("sample-update-1.0.0.tar.gz");
    flip_a_bit(&path, std::fs::metadata(&path).unwrap().len() / 2);
    let error = world.load(&mut bundle, &containerd()).unwrap_err().to_string();
    assert!(error.contains("read sample:1.0.0 from the bundle"), "{error}");
    assert_eq!(world.engine.images().unwrap(), []);
}

fn flip_a_bit(path: &Path, at: u64) {
    let mut file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}

#[test]
fn after_a_crash_at_any_point_loading_again_ends_the_same() {
    for facts in [containerd(), facts(ImageStore::Classic, "26.1.5")] {
        for place in ["loading image", "image loaded", "image synced", "image remembered"] {
            let mut world = World::new();
            let mut bundle = world.bundle("1.0.0", vec![lower(), upper(2)]);
            let crashed = catch_unwind(AssertUnwindSafe(|| {
                crash::with_hook(
                    move |name| assert_ne!(name, place),
                    || world.load(&mut bundle, &facts).unwrap(),
                )
            }));
            assert!(crashed.is_err(), "{place} is not passed");
            let loaded = world.load(&mut bundle, &facts).unwrap();
            let keeping = keeping(&"sample".parse().unwrap(), &loaded.id);
            assert_eq!(
                world.engine.images().unwrap()[0].references,
                [keeping.as_str()],
                "{place}, {:?}",
                facts.store
            );
            assert!(world.load(&mut bundle, &facts).unwrap().already_there);
        }
    }
}

#[test]
fn an_image_from_before_a_power_cut_is_not_believed() {
    let mut world = World::new();
    let mut bundle = world.bundle("1.0.0", vec![lower()]);
    let loaded = world.load(&mut bundle, &containerd()).unwrap();
    // Recorded as whole: believed, even if another boot loads it.
    world
        .store
        .set_setting(&format!("loading {}", loaded.id), Some("another boot"))
        .unwrap();
    assert!(world.load(&mut bundle, &containerd()).unwrap().already_there);
    world.store.forget_loaded(&loaded.id).unwrap();
    assert!(!world.load(&mut bundle, &containerd()).unwrap().already_there);
    assert!(world.load(&mut bundle, &containerd()).unwrap().already_there);
}

#[test]
fn an_image_goes_with_our_names_but_not_with_a_persons() {
    let mut world = World::new();
    let mut bundle = world.bundle("1.0.0", vec![lower()]);
    let id = world.load(&mut bundle, &containerd()).unwrap().id;
    let product = "sample".parse().unwrap();
    world.engine.tag(&id, "sample:1.0.0").unwrap();
    world.engine.tag(&id, "mine:1").unwrap();
    release_image(&world.engine, &mut world.store, &product, &id, "sample:1.0.0").unwrap();
    assert_eq!(world.engine.images().unwrap()[0].references, ["mine:1"]);
    assert!(world.store.loaded().unwrap().is_empty());
    world.engine.remove_image("mine:1").unwrap();
    release_image(&world.engine, &mut world.store, &product, &id, "sample:1.0.0").unwrap();
}
