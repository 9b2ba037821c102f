//! Substitutes for base images, on machines that reach no container registry.
//!
//! Flow: mmdebstrap makes a root file system of Debian packages per platform → each becomes the one layer of an OCI
//! layout in the cache → the layout is registered in the checkout's `dist/vendor/vendor.json`, marked as a
//! substitute, so that builds take it and publishing refuses it. They hold to the contract of the image that they
//! replace as far as this repository's product needs it, and no further.

mod postgres;
mod recipe;
mod rust;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result};
use bundle::{Digest, Platform};
use pipeline::{
    facts::vendored::{Vendor, VendoredImage},
    system::process,
};
use serde::{Deserialize, Serialize};
use xshell::{Shell, cmd};

use self::recipe::Recipe;
use super::{
    apt::{self, Archive},
    cache::{Cache, Item},
    oci,
};

/// What no image needs.
const EXCLUDED: [&str; 5] = [
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/i18n/*",
    "/usr/share/doc/*",
];

/// Licences stay.
const INCLUDED: &str = "/usr/share/doc/*/copyright";

/// The file beside a layout that says what it is.
const CARD: &str = "image.json";

/// What `made_by` of our entries starts with.
const MADE_BY: &str = "cargo xtask setup: ";

/// An image that setup can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Substitute {
    /// PostgreSQL for both platforms.
    Postgres,
    /// The Rust toolchain, for the platform that builds.
    Rust,
}

/// What a layout is, kept beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Card {
    digest: Digest,
    made_by: String,
    platforms: Vec<Platform>,
}

impl Substitute {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::Postgres, Self::Rust];

    fn recipe(self) -> Recipe {
        match self {
            Self::Postgres => postgres::recipe(),
            Self::Rust => rust::recipe(),
        }
    }

    /// The image that it replaces.
    pub(super) fn reference(self) -> &'static str {
        self.recipe().reference
    }

    /// Where it is, or will be.
    pub(super) fn item(self, cache: &Cache) -> Item {
        self.recipe().item(cache)
    }

    /// Makes it, if it was not made before.
    pub(super) fn make(self, sh: &Shell, cache: &Cache) -> Result<()> {
        let recipe = self.recipe();
        recipe.item(cache).make(|directory| {
            recipe
                .make(sh, cache, directory)
                .with_context(|| format!("cannot make a substitute for {}", recipe.reference))
        })
    }

    /// What the vendor list of a checkout says about it, if it is made.
    fn entry(self, cache: &Cache) -> Result<VendoredImage> {
        let recipe = self.recipe();
        let directory = recipe.item(cache).path;
        let path = directory.join(CARD);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let card: Card = serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
        Ok(VendoredImage {
            reference: recipe.reference.to_owned(),
            digest: card.digest,
            source_digest: None,
            substitute: true,
            made_by: Some(card.made_by),
            layout: directory.join("layout"),
            platforms: card.platforms,
        })
    }

    /// Whether `vendor`, a checkout's directory of vendored images, has exactly this one.
    pub(super) fn is_registered(self, cache: &Cache, vendor: &Path) -> Result<bool> {
        Ok(Vendor::read(vendor)?.get(self.reference()) == Some(&self.entry(cache)?))
    }

    /// Puts it into the vendor list, in the place of what had its name.
    pub(super) fn register(self, cache: &Cache, vendor: &Path) -> Result<()> {
        let mut list = Vendor::read(vendor)?;
        list.insert(self.entry(cache)?);
        Ok(list.write(vendor)?)
    }

    /// Takes it off the vendor list. What a person vendored stays.
    pub(super) fn unregister(self, vendor: &Path) -> Result<()> {
        let mut list = Vendor::read(vendor)?;
        list.images
            .retain(|image| image.reference != self.reference() || !is_ours(image));
        Ok(list.write(vendor)?)
    }

    /// Whether the vendor list has a substitute of setup's for it.
    pub(super) fn is_substituted(self, vendor: &Path) -> Result<bool> {
        Ok(Vendor::read(vendor)?.get(self.reference()).is_some_and(is_ours))
    }
}

fn is_ours(image: &VendoredImage) -> bool {
    image.substitute && image.made_by.as_deref().is_some_and(|by| by.starts_with(MADE_BY))
}

impl Recipe {
    /// The cache item: another recipe is another image.
    fn item(&self, cache: &Cache) -> Item {
        let Self {
            reference,
            platforms,
            suite,
            variant,
            foreign,
            packages,
            excluded,
            hook,
            script,
            files,
            ..
        } = self;
        let config = (self.config)("");
        let recipe = format!(
            "{reference} {platforms:?} {suite:?} {variant} {foreign:?} {packages:?} {excluded:?} {hook} {script} \
             {files:?} {:?} {config} {EXCLUDED:?}",
            self.compression,
        );
        cache.item(&format!("images/{}", reference.replace(':', "-")), &recipe)
    }

    fn make(&self, sh: &Shell, cache: &Cache, directory: &Path) -> Result<()> {
        let archive = Archive::open(sh, cache, self.suite)?;
        let version = archive.version(sh, self.main_package)?;
        // Root file systems are large, and /tmp may be memory; dropping this removes them.
        let making = tempfile::tempdir_in(directory)?;
        let hook = self.write_hook(making.path())?;
        let platforms: Vec<Platform> = self
            .platforms
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()?;
        let tars: Vec<PathBuf> = platforms
            .iter()
            .map(|platform| making.path().join(format!("{}.tar", platform.suffix())))
            .collect();
        // Unpacking keeps one core busy, so platforms are made side by side.
        thread::scope(|scope| {
            let roots: Vec<_> = platforms
                .iter()
                .zip(&tars)
                .map(|(platform, tar)| {
                    let (hook, archive) = (&hook, &archive);
                    scope.spawn(move || self.root(archive, platform, hook, tar))
                })
                .collect();
            // Every thread is waited for, and the first failure is returned.
            let results: Vec<_> = roots.into_iter().map(|root| root.join()).collect();
            results.into_iter().try_for_each(|result| match result {
                Ok(result) => result,
                Err(_) => anyhow::bail!("a thread panicked"),
            })
        })?;
        let made_by = format!(
            "{MADE_BY}Debian {} with {} {version}",
            self.suite.name(),
            self.main_package
        );
        let roots: Vec<_> = platforms
            .iter()
            .zip(&tars)
            .map(|(platform, tar)| oci::Root { platform, tar })
            .collect();
        let image = oci::Image {
            reference: self.reference,
            config: &(self.config)(&version),
            made_by: &made_by,
            compression: self.compression,
            roots: &roots,
        };
        let digest = oci::write(&directory.join("layout"), &image)?;
        let card = Card {
            digest,
            made_by,
            platforms,
        };
        fs::write(directory.join(CARD), serde_json::to_vec_pretty(&card)?)?;
        Ok(())
    }

    /// Writes the finishing script with its files; mmdebstrap gives it the root directory.
    fn write_hook(&self, directory: &Path) -> Result<PathBuf> {
        for (name, text) in self.files {
            fs::write(directory.join(name), text)?;
        }
        let path = directory.join("finish.sh");
        fs::write(&path, self.script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    fn root(&self, archive: &Archive, platform: &Platform, hook: &Path, tar: &Path) -> Result<()> {
        let sh = Shell::new()?;
        let Self { variant, suite, .. } = self;
        let mut architectures = vec![platform.architecture()];
        architectures.extend(self.foreign);
        let (architectures, packages) = (architectures.join(","), self.packages.join(","));
        let excluded = EXCLUDED
            .iter()
            .chain(self.excluded)
            .map(|path| format!("--dpkgopt=path-exclude={path}"));
        let hook = format!("--{}-hook={}", self.hook, hook.display());
        let (suite, sources) = (suite.name(), archive.sources());
        let temporary = tar.parent().context("a tar has a directory")?;
        let run = cmd!(
            sh,
            "mmdebstrap --mode=root --variant={variant} --architectures={architectures}"
        )
        // Extracting runs nothing of a foreign platform, so no emulation is asked for.
        .args(["--skip=check/qemu", "--dpkgopt=force-unsafe-io"])
        .args(excluded)
        .arg(format!("--dpkgopt=path-include={INCLUDED}"))
        .arg(format!("--aptopt={}", apt::config_line(apt::CHECK_VALID_UNTIL)))
        .arg(format!("--include={packages}"))
        .arg(hook)
        .args([suite])
        .args([tar, &sources])
        .env("TMPDIR", temporary)
        // Times of files do not depend on when this ran.
        .env("SOURCE_DATE_EPOCH", "1");
        Ok(process::run_live(run, process::Live::Hide)?)
    }
}
