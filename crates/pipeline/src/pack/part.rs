//! Writes a part: what one machine built, for another to merge.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use bundle::{BlobStore, Digest, DirStore, Platform};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    annotations::{BINARY, COMMIT, DIRTY, MANIFEST, ROLE, UNPINNED},
    collected::{Collected, annotations},
};
use crate::{
    Error, Result,
    system::{files, interrupt, report::Progress},
};

/// Writes a part for another machine to merge.
#[derive(Clone, Debug, Serialize)]
pub struct WritePart {
    /// The directory.
    pub path: PathBuf,
    /// The commit that it is built from.
    #[serde(skip)]
    pub(crate) commit: String,
}

impl WritePart {
    /// Writes the part; gives its directory.
    pub(crate) fn run(&self, collected: &Collected, progress: &Progress) -> Result<PathBuf> {
        progress.step(format_args!("writing {}", self.path.display()));
        write(&self.path, collected, &self.commit)?;
        Ok(self.path.clone())
    }
}

/// Writes `collected`, built from `commit`, as a part into `directory`, which must be empty or not there.
pub(crate) fn write(directory: &Path, collected: &Collected, commit: &str) -> Result<()> {
    expect_empty(directory)?;
    fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(Error::io("create", &blobs))?;
    let store = DirStore::new(collected.stores.clone());
    let mut entries = Vec::new();
    for image in &collected.images {
        let annotations = annotations(image);
        for (platform, parts) in &image.input.platforms {
            for (blob, _) in parts.blobs() {
                copy_blob(&store, &blobs, &blob)?;
            }
            entries.push(entry(&parts.manifest, parts.manifest_size, platform, &annotations));
        }
    }
    for (platform, binary) in &collected.updaters {
        let bytes = fs::read(binary).map_err(Error::io("read", binary))?;
        let config = b"{}";
        let manifest = artifact(&bytes, config);
        for blob in [bytes.as_slice(), config, &manifest] {
            files::write_atomically(&blobs.join(Digest::of(blob).hex()), blob)?;
        }
        let annotations = BTreeMap::from([(ROLE.to_owned(), "updater".to_owned())]);
        entries.push(entry(
            &Digest::of(&manifest),
            manifest.len() as u64,
            platform,
            &annotations,
        ));
    }
    let mut annotations = BTreeMap::from([(COMMIT, commit.to_owned())]);
    if collected.dirty {
        annotations.insert(DIRTY, "true".to_owned());
    }
    if !collected.unpinned.is_empty() {
        let unpinned: Vec<_> = collected.unpinned.iter().map(String::as_str).collect();
        annotations.insert(UNPINNED, unpinned.join(" "));
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
        "annotations": annotations,
    });
    files::write_atomically(&directory.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    files::write_atomically(&directory.join("index.json"), index.to_string().as_bytes())
}

/// Checks that a part can be written into `directory`: it is empty, or not there.
pub(crate) fn expect_empty(directory: &Path) -> Result<()> {
    let occupied = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
    if !occupied {
        return Ok(());
    }
    Err(Error::Usage {
        message: format!("{} is not empty", directory.display()),
        hint: "name a directory that does not exist yet".to_owned(),
    })
}

fn copy_blob(store: &DirStore, blobs: &Path, blob: &Digest) -> Result<()> {
    let path = blobs.join(blob.hex());
    if path.exists() {
        return Ok(());
    }
    let mut from = store.open(blob).map_err(Error::io("read", &path))?;
    let mut to = files::temporary_beside(&path)?;
    io::copy(&mut interrupt::Watch(&mut from), &mut to).map_err(interrupt::or_io("write", &path))?;
    files::persist(to, &path)
}

pub(crate) fn entry(digest: &Digest, size: u64, platform: &Platform, annotations: &BTreeMap<String, String>) -> Value {
    let mut value = json!({ "os": platform.os(), "architecture": platform.architecture() });
    if let Some(variant) = platform.variant() {
        value["variant"] = json!(variant);
    }
    json!({ "mediaType": MANIFEST, "digest": digest, "size": size, "platform": value, "annotations": annotations })
}

/// The manifest of an artifact with one file (OCI image specification 1.1, "Guidelines for Artifact Usage").
pub(crate) fn artifact(binary: &[u8], config: &[u8]) -> Vec<u8> {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": BINARY,
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(config), "size": config.len() },
        "layers": [{ "mediaType": BINARY, "digest": Digest::of(binary), "size": binary.len() }],
    })
    .to_string()
    .into_bytes()
}
