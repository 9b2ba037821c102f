//! The crates that the workspace's programs are made from, as `cargo metadata` tells them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use serde::Deserialize;

use crate::{Error, Result};

/// A program of this name builds and releases; it does not ship.
const CHORES: &str = "xtask";

/// A crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Crate {
    pub(super) name: String,
    pub(super) version: String,
    /// As its manifest says.
    pub(super) license: Option<String>,
    /// SHA-256 of what the registry has, in hex.
    pub(super) checksum: Option<String>,
}

/// What Cargo.lock says of a crate, as far as it is needed.
#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

#[derive(Deserialize)]
struct LockFile {
    #[serde(default)]
    package: Vec<Locked>,
}

/// All crates that programs of the workspace are linked from, sorted. A workspace that is locked nowhere has none that
/// could be known.
pub(super) fn of_programs(root: &Path) -> Result<Vec<Crate>> {
    let lock = root.join("Cargo.lock");
    let Ok(text) = std::fs::read_to_string(&lock) else {
        return Ok(Vec::new());
    };
    let wrong = |message: String| Error::Content {
        path: lock.clone(),
        message,
    };
    let locked: LockFile = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .other_options(["--locked".to_owned()])
        .exec()
        .map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
    let checksums: BTreeMap<_, _> = locked
        .package
        .iter()
        .map(|package| ((package.name.as_str(), package.version.as_str()), &package.checksum))
        .collect();
    let linked = linked(&metadata);
    let packages = metadata.packages.iter().filter(|package| linked.contains(&package.id));
    let mut crates: Vec<_> = packages
        .map(|package| {
            let version = package.version.to_string();
            let checksum = checksums.get(&(package.name.as_str(), version.as_str()));
            Crate {
                name: package.name.to_string(),
                license: package.license.clone(),
                checksum: checksum.and_then(|checksum| (*checksum).clone()),
                version,
            }
        })
        .collect();
    crates.sort();
    Ok(crates)
}

/// The packages that are linked into programs: all but what tests and build scripts alone need.
fn linked(metadata: &Metadata) -> BTreeSet<PackageId> {
    let nodes: BTreeMap<_, _> = metadata
        .resolve
        .iter()
        .flat_map(|resolve| resolve.nodes.iter().map(|node| (&node.id, node)))
        .collect();
    let programs = metadata.workspace_packages().into_iter().filter(|package| {
        package.name.as_str() != CHORES && package.targets.iter().any(cargo_metadata::Target::is_bin)
    });
    let mut next: Vec<_> = programs.map(|package| package.id.clone()).collect();
    let mut linked = BTreeSet::new();
    while let Some(id) = next.pop() {
        if let Some(node) = nodes.get(&id).filter(|_| linked.insert(id.clone())) {
            let normal = node.deps.iter().filter(|dependency| {
                let kinds = &dependency.dep_kinds;
                kinds.is_empty() || kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
            });
            next.extend(normal.map(|dependency| dependency.pkg.clone()));
        }
    }
    linked
}
