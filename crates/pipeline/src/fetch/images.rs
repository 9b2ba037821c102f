//! Registry images and crates: locked, compared, saved.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bundle::{Digest, Platform};
use oci_spec::image::ImageIndex;
use semver::Version;
use serde::Serialize;
use xshell::{Shell, cmd};

use super::stage;
use crate::{
    Error, Problem, Result,
    build::{
        BakeFile, Target,
        buildx::{self, Cache},
    },
    collect::layout::{self, Layout},
    facts::{
        Facts, Workspace, empty_directory,
        lock_file::{Lock, LockSource, LockedImage},
        target_name,
        vendored::{CRATES, Vendor, VendoredImage},
    },
    plan::{Timestamps, oci_output, pins::Pin},
    preflight::check_stages,
    system::{
        files,
        process::{ProcessError, read},
        report::note,
    },
};

/// What [`lock`] found for an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Locked {
    /// The reference.
    pub reference: String,
    /// The digest before.
    pub before: Option<Digest>,
    /// The digest now.
    pub now: Option<Digest>,
}

/// Asks registries for every image's digest, and writes the lock file.
///
/// An image that no registry can be asked for keeps its digest; without one it is recorded as a substitute's,
/// if there is a substitute.
pub(crate) fn lock(workspace: &Workspace, builder: Option<&str>) -> Result<Vec<Locked>> {
    let facts = Facts::read(workspace, &any_version())?;
    let mut lock = Lock::default();
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for reference in facts.references(&workspace.declaration) {
        let before = facts.lock.get(&reference).and_then(|image| image.digest);
        let substitute = facts.vendor.get(&reference).is_some_and(|image| image.substitute);
        let (source, digest) = match buildx::registry_digest(&reference, builder) {
            Ok(digest) => {
                let digest = digest.parse::<Digest>().map_err(|error| Error::Image {
                    subject: reference.clone(),
                    message: format!("the registry's digest is not one: {error}"),
                })?;
                (LockSource::Registry, Some(digest))
            }
            Err(_) if before.is_some() => (LockSource::Registry, before),
            Err(_) if substitute => (LockSource::Substitute, None),
            Err(error) => {
                problems.push(unreachable(&reference, &error));
                continue;
            }
        };
        found.push(Locked {
            reference: reference.clone(),
            before,
            now: digest,
        });
        lock.images.push(LockedImage {
            reference,
            source,
            digest,
        });
    }
    if !problems.is_empty() {
        return Err(Error::Problems(problems));
    }
    lock.write(&workspace.root.join(&workspace.declaration.lock_file))?;
    Ok(found)
}

/// Compares the lock file with what the release needs, without asking anybody.
///
/// # Errors
/// [`Error::Problems`]: an image is not in it, or is in it and not needed.
pub fn check_lock(workspace: &Workspace) -> Result<()> {
    let facts = Facts::read(workspace, &any_version())?;
    let needed = facts.references(&workspace.declaration);
    let missing = needed
        .iter()
        .filter(|reference| facts.lock.get(reference).is_none())
        .map(|reference| Problem::error(reference, "is not in the lock file").hint("cargo xtask lock"));
    let stale = facts
        .lock
        .images
        .iter()
        .filter(|image| !needed.contains(&image.reference))
        .map(|image| Problem::error(&image.reference, "is in the lock file and not needed").hint("cargo xtask lock"));
    let problems: Vec<_> = missing.chain(stale).collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::Problems(problems))
    }
}

/// Saves every locked image and every declared stage as an OCI layout, and the crates, into the vendor directory.
/// `network` is that of `RUN` in stages, if it is not the builder's default.
pub(crate) fn vendor(workspace: &Workspace, builder: Option<&str>, network: Option<&str>) -> Result<Vendor> {
    let facts = Facts::read(workspace, &any_version())?;
    let directory = workspace.vendor_directory();
    let mut vendor = facts.vendor.clone();
    let mut wanted = BTreeMap::new();
    let mut problems = check_stages(&workspace.declaration, &facts);
    for reference in facts.references(&workspace.declaration) {
        match facts.lock.get(&reference).and_then(|image| image.digest) {
            Some(digest) if is_there(&facts.vendor, &reference, &digest) => note(format_args!("{reference} is there")),
            Some(digest) => {
                wanted.insert(reference, digest);
            }
            None if facts.vendor.get(&reference).is_some_and(|image| image.substitute) => {
                note(format_args!("{reference}: the substitute stays"));
            }
            None => problems.push(Problem::error(reference, "has no digest in the lock file").hint("cargo xtask lock")),
        }
    }
    if !problems.is_empty() {
        return Err(Error::Problems(problems));
    }
    if !wanted.is_empty() {
        fetch(workspace, builder, &wanted, &mut vendor)?;
    }
    // What was fetched is kept, should a stage fail.
    vendor.write(&directory)?;
    let pins = pins(workspace, &facts, &vendor)?;
    stage::build(workspace, &facts, &pins, builder, network, &mut vendor)?;
    vendor.write(&directory)?;
    if facts.cargo_lock.is_some() {
        vendor_crates(&workspace.root, &directory.join(CRATES))?;
        vendor.cargo_lock = facts.cargo_lock;
        vendor.write(&directory)?;
    }
    Ok(vendor)
}

/// The locked images as they lie in `vendor`.
fn pins(workspace: &Workspace, facts: &Facts, vendor: &Vendor) -> Result<Vec<Pin>> {
    let references = facts.references(&workspace.declaration);
    let pins = references
        .iter()
        .map(|reference| Pin::resolve(reference, &facts.lock, vendor, true));
    pins.collect::<Result<_, _>>()
        .map_err(|problem| Error::Problems(vec![problem]))
}

fn is_there(vendor: &Vendor, reference: &str, digest: &Digest) -> bool {
    vendor
        .get(reference)
        .is_some_and(|image| image.source_digest == Some(*digest) && image.layout.join("index.json").is_file())
}

fn fetch(
    workspace: &Workspace,
    builder: Option<&str>,
    wanted: &BTreeMap<String, Digest>,
    vendor: &mut Vendor,
) -> Result<()> {
    let empty = empty_directory(workspace);
    fs::create_dir_all(&empty).map_err(Error::io("create", &empty))?;
    let mut bake = BakeFile {
        target: BTreeMap::new(),
    };
    for (reference, digest) in wanted {
        let platforms = platforms(workspace, reference, digest, builder)?;
        let layout = layout_directory(workspace, reference);
        if layout.exists() {
            fs::remove_dir_all(&layout).map_err(Error::io("remove", &layout))?;
        }
        let target = Target {
            context: empty.clone(),
            dockerfile: None,
            dockerfile_inline: Some(format!("FROM {reference}\n")),
            target: None,
            platforms,
            args: BTreeMap::new(),
            contexts: BTreeMap::from([(reference.clone(), format!("docker-image://{reference}@{digest}"))]),
            tags: vec![reference.clone()],
            // As a release exports it, so that a build from it gives the same bundle.
            output: vec![oci_output(&layout, Timestamps::Kept)],
            attest: vec!["type=provenance,disabled=true".to_owned()],
            network: None,
        };
        bake.target.insert(target_name(reference), target);
    }
    buildx::bake(&workspace.root, &workspace.state, &bake, builder, Cache::Used)?;
    for (reference, digest) in wanted {
        let layout = Layout::open(layout_directory(workspace, reference))?;
        let images = layout.images()?;
        let [image] = images.as_slice() else {
            let message = "the builder did not save exactly one image".to_owned();
            return Err(Error::Image {
                subject: reference.clone(),
                message,
            });
        };
        let subject = || reference.clone();
        vendor.insert(VendoredImage {
            reference: reference.clone(),
            digest: layout::digest(&image.entry).map_err(|message| Error::Image {
                subject: subject(),
                message,
            })?,
            source_digest: Some(*digest),
            substitute: false,
            made_by: None,
            layout: layout.directory().to_owned(),
            platforms: image.manifests.keys().cloned().collect(),
        });
    }
    Ok(())
}

/// The platforms of an image that matter here: those that are declared, and the one that builds.
fn platforms(workspace: &Workspace, reference: &str, digest: &Digest, builder: Option<&str>) -> Result<Vec<Platform>> {
    let text = buildx::registry_manifest(&format!("{reference}@{digest}"), builder)?;
    let host = Platform::host();
    let wanted = |platform: &Platform| workspace.declaration.platforms.contains(platform) || *platform == host;
    let has: Vec<Platform> = match serde_json::from_str::<ImageIndex>(&text) {
        Ok(index) => index
            .manifests()
            .iter()
            .filter_map(|entry| entry.platform().as_ref())
            .filter_map(|platform| layout::platform_of(platform).parse().ok())
            .filter(wanted)
            .collect(),
        // A single manifest is taken for what it is.
        Err(_) => vec![host],
    };
    if has.is_empty() {
        let message = "the registry has it for none of the declared platforms".to_owned();
        return Err(Error::Image {
            subject: reference.to_owned(),
            message,
        });
    }
    Ok(has)
}

/// Saves the crates of Cargo.lock, with cargo's answer (how to use them) in `config.toml` beside them.
fn vendor_crates(root: &Path, directory: &Path) -> Result<()> {
    let sh = Shell::new().map_err(|error| Error::Content {
        path: root.to_owned(),
        message: error.to_string(),
    })?;
    let _dir = sh.push_dir(root);
    note("vendoring crates");
    let config = read(cmd!(sh, "cargo vendor --locked --versioned-dirs {directory}"))?;
    // Cargo takes paths of a configuration as relative to the directory above the file's, so the directory can be moved.
    let config = config.replace(&directory.display().to_string(), CRATES);
    files::write_atomically(&directory.join("config.toml"), (config + "\n").as_bytes())
}

fn layout_directory(workspace: &Workspace, reference: &str) -> PathBuf {
    workspace.vendor_directory().join("images").join(target_name(reference))
}

/// Facts are read for a version; which images are needed does not depend on it.
fn any_version() -> Version {
    Version::new(0, 0, 0)
}

fn unreachable(reference: &str, error: &ProcessError) -> Problem {
    let last = error.stderr().lines().last().unwrap_or("no answer").trim().to_owned();
    Problem::error(reference, format!("no registry can be asked for it: {last}"))
        .hint("check the reference and the network")
}
