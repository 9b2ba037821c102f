//! Several versions of this repository's product, good and bad ones, each released for real.
//!
//! All come from one clone: before each release its declaration is changed to what the version says ([`Version`]), with
//! health checks that are asked faster, so that a test of an update takes seconds. A bundle is kept in the cache outside of
//! the checkout, under a name that holds the digest of what it is made of, so that only the first run compiles.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use bundle::signature::{SecretKey, generate};
use serde_json::Value;
use xshell::{Shell, cmd};
use xtask::setup::cache::{Cache, Item};

use crate::clone::Clone;

/// What a version consists of: trees and files of this repository's commit. The updater in the bundles and how they are
/// packed is not what the tests that use them look at, so neither is among them.
const INGREDIENTS: [&str; 6] = [
    "Cargo.lock",
    "Cargo.toml",
    "crates/bundle/src",
    "crates/demo/Dockerfile",
    "crates/demo/docker-compose.prod.yml",
    "crates/demo/src",
];

/// To be raised when this file makes something else of the same versions.
const RECIPE: u32 = 2;

/// A version of the product, as a test needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// What the release is called.
    pub(crate) number: &'static str,
    /// The newest schema revision that its backend knows, which is also the data's revision.
    schema: u8,
    /// The oldest version that can work on its data.
    readable_by: &'static str,
    /// What is wrong with it, in the demo product's words.
    fault: &'static str,
    /// For how many seconds it must stay up.
    soak: u8,
}

/// The first one.
pub(crate) const V2_0_0: Version = Version {
    number: "2.0.0",
    schema: 1,
    readable_by: "2.0.0",
    fault: "none",
    soak: 1,
};

/// Migrates the data in a way that the first one can live with.
pub(crate) const V2_1_0: Version = Version {
    number: "2.1.0",
    schema: 2,
    ..V2_0_0
};

/// Migrates the data in a way that 2.1.0 can live with, and 2.0.0 cannot.
pub(crate) const V2_2_0: Version = Version {
    number: "2.2.0",
    schema: 3,
    readable_by: "2.1.0",
    ..V2_0_0
};

/// Some versions later.
pub(crate) const V2_5_0: Version = Version {
    number: "2.5.0",
    ..V2_1_0
};

/// Is never healthy.
pub(crate) const UNHEALTHY: Version = Version {
    number: "2.9.1",
    fault: "unhealthy",
    ..V2_1_0
};

/// Is healthy for five seconds, then ends, again and again.
pub(crate) const CRASH_LOOP: Version = Version {
    number: "2.9.2",
    fault: "crash-loop",
    soak: 12,
    ..V2_1_0
};

/// Its migration fails halfway.
pub(crate) const BAD_MIGRATION: Version = Version {
    number: "2.9.3",
    fault: "bad-migration",
    ..V2_1_0
};

/// Migrates the data so that 2.0.0 cannot read it any more, and then does not stay up.
pub(crate) const GATED_CRASH_LOOP: Version = Version {
    number: "2.9.4",
    fault: "crash-loop",
    soak: 12,
    ..V2_2_0
};

/// 2.1.0 again, with the same tags for other images: is never healthy.
pub(crate) const TAGS_REUSED: Version = Version {
    fault: "unhealthy",
    ..V2_1_0
};

/// Bundles whose layers are compressed in one way.
pub(crate) struct Bundles {
    compression: &'static str,
    cache: Cache,
    /// What all of them are made of.
    ingredients: String,
}

impl Bundles {
    /// Those that engines from 23 on can read.
    pub(crate) fn zstd() -> &'static Self {
        static BUNDLES: OnceLock<Bundles> = OnceLock::new();
        BUNDLES.get_or_init(|| Self::new("zstd"))
    }

    /// Those that engine 20.10 can read.
    pub(crate) fn gzip() -> &'static Self {
        static BUNDLES: OnceLock<Bundles> = OnceLock::new();
        BUNDLES.get_or_init(|| Self::new("gzip"))
    }

    /// The bundle of a version, for linux/amd64. Made if it is not in the cache.
    pub(crate) fn bundle(&self, version: &Version) -> PathBuf {
        let item = self.item(version);
        let name = format!("webmacs-update-{}-amd64.tar.gz", version.number);
        item.make(|directory| {
            let made = self.release(version).join(&name);
            fs::copy(&made, directory.join(&name))?;
            remove_old(self.cache.root());
            Ok(())
        })
        .unwrap();
        item.path.join(name)
    }

    /// The manifest of a version's bundle, read by a stock `tar`.
    pub(crate) fn manifest(&self, version: &Version) -> Value {
        let bundle = self.bundle(version);
        let sh = Shell::new().unwrap();
        serde_json::from_str(&cmd!(sh, "tar xzOf {bundle} manifest.json").quiet().read().unwrap()).unwrap()
    }

    /// The key that they are signed with.
    pub(crate) fn public_key(&self) -> String {
        let key = SecretKey::load(&self.secret_key(), None).unwrap();
        key.public().unwrap().to_string()
    }

    fn new(compression: &'static str) -> Self {
        let sh = Shell::new().unwrap();
        sh.change_dir(root());
        let ingredients = INGREDIENTS.map(|name| format!("HEAD:{name}"));
        let ingredients = cmd!(sh, "git rev-parse {ingredients...}").quiet().read().unwrap();
        Self {
            compression,
            cache: Cache::of_user().unwrap(),
            ingredients,
        }
    }

    fn item(&self, version: &Version) -> Item {
        let recipe = format!("{} {version:?} {} {RECIPE}", self.ingredients, self.compression);
        self.cache.item(&format!("bundle-{}", version.number), &recipe)
    }

    /// Releases a version, and gives the directory of the bundle.
    fn release(&self, version: &Version) -> PathBuf {
        static CLONE: OnceLock<Clone> = OnceLock::new();
        let clone = CLONE.get_or_init(Clone::new);
        clone.change("Cargo.toml", &|text| version.declare(text, self.compression));
        clone.change("crates/demo/Dockerfile", &|text| version.choose_build(text));
        clone.change("crates/demo/docker-compose.prod.yml", &ask_sooner);
        clone.commit();
        clone.release_as(version.number, &["--platform", "linux/amd64"], &self.secret_key());
        clone.take_back();
        clone.dist()
    }

    /// A key of these tests, kept with the bundles that it signed.
    pub(crate) fn secret_key(&self) -> String {
        let item = self.cache.item("bundle-key", "1");
        item.make(|directory| {
            let key = generate(None)?;
            fs::write(directory.join("key"), key.secret_file())?;
            Ok(())
        })
        .unwrap();
        fs::read_to_string(item.path.join("key")).unwrap()
    }
}

impl Version {
    /// The declaration of this repository, changed to this version's.
    fn declare(&self, text: &str, compression: &str) -> String {
        let Self {
            schema,
            readable_by,
            soak,
            ..
        } = self;
        let text = replaced(
            text,
            "attempts = 10, interval-seconds = 5, soak-seconds = 30",
            &format!("attempts = 10, interval-seconds = 1, soak-seconds = {soak}"),
        );
        let text = replaced(
            &text,
            "revision = 2\nreadable-by = \"2.0.0\"",
            &format!("revision = {schema}\nreadable-by = \"{readable_by}\""),
        );
        replaced(
            &text,
            "[workspace.metadata.release]\n",
            &format!("[workspace.metadata.release]\nlayers = {{ compression = \"{compression}\" }}\n"),
        )
    }

    /// The Dockerfile with other defaults. As arguments of the images they would not reach the updater's target, and all
    /// programs would be compiled once more for it.
    fn choose_build(&self, text: &str) -> String {
        let Self { schema, fault, .. } = self;
        let text = replaced(text, "ARG DEMO_SCHEMA=\n", &format!("ARG DEMO_SCHEMA={schema}\n"));
        replaced(&text, "ARG DEMO_FAULT=none\n", &format!("ARG DEMO_FAULT={fault}\n"))
    }
}

/// Removes bundles of past days: each commit that changes the product leaves half a gigabyte of them.
fn remove_old(cache: &Path) {
    let is_old = |path: &Path| -> Option<bool> {
        let is_bundle = path.file_name()?.to_str()?.starts_with("bundle-2");
        let age = fs::metadata(path).ok()?.modified().ok()?.elapsed().ok()?;
        Some(is_bundle && age > Duration::from_secs(24 * 60 * 60))
    };
    for entry in fs::read_dir(cache).unwrap() {
        let path = entry.unwrap().path();
        if is_old(&path) == Some(true) {
            // Another process may have removed it meanwhile.
            fs::remove_dir_all(path).ok();
        }
    }
}

/// A compose file whose containers are asked every second, and whose backend is given up sooner.
fn ask_sooner(text: &str) -> String {
    let text = replaced(text, "interval: 5s", "interval: 1s");
    let test = "      test: [CMD, /backend, healthcheck]\n";
    replaced(&text, test, &format!("{test}      start_period: 8s\n"))
}

fn replaced(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "nothing to change: {old}");
    text.replacen(old, new, 1)
}

fn root() -> PathBuf {
    xtask::checkout::root().unwrap()
}

#[test]
#[ignore = "needs a builder; `cargo xtask ci` runs it"]
fn every_version_is_released() {
    let all = [
        V2_0_0,
        V2_1_0,
        V2_2_0,
        V2_5_0,
        UNHEALTHY,
        CRASH_LOOP,
        BAD_MIGRATION,
        GATED_CRASH_LOOP,
        TAGS_REUSED,
    ];
    let bundles = Bundles::zstd();
    for version in all {
        let started = Instant::now();
        let manifest = bundles.manifest(&version);
        eprintln!("  {}: {:.1} s", version.number, started.elapsed().as_secs_f64());
        assert_eq!(manifest["version"], version.number);
        assert_eq!(manifest["data"]["revision"], version.schema);
        assert_eq!(manifest["data"]["readable_by"], version.readable_by);
    }
}
