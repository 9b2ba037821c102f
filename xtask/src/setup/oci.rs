//! An OCI image layout with one layer per platform, written straight from root file systems.
//!
//! Flow: compress each root's tar into a blob while hashing both sides → its config → its manifest → one index of
//! all platforms → `index.json`. The same tars give the same bytes: no times are written.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::Path,
};

use anyhow::{Context as _, Result};
use bundle::{Digest, HashingReader, HashingWriter, Platform};
use flate2::{Compression as GzipLevel, GzBuilder};
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The fixed time that configs name.
const CREATED: &str = "1970-01-01T00:00:01Z";

/// How layers are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    /// As in most registries; every engine reads it.
    Gzip,
    /// Fast; for images that only builders use.
    Zstd,
}

/// A root file system for one platform.
#[derive(Clone, Debug)]
pub(super) struct Root<'a> {
    /// The platform.
    pub(super) platform: &'a Platform,
    /// Its tar.
    pub(super) tar: &'a Path,
}

/// An image to write.
#[derive(Clone, Debug)]
pub(super) struct Image<'a> {
    /// `name:tag`, in a registry's short form.
    pub(super) reference: &'a str,
    /// The OCI runtime configuration (`Env`, `Cmd`, …), as the image spec writes it.
    pub(super) config: &'a Value,
    /// What made it, for the image's history.
    pub(super) made_by: &'a str,
    /// Its layers' compression.
    pub(super) compression: Compression,
    /// Its platforms.
    pub(super) roots: &'a [Root<'a>],
}

/// Writes `image` as a layout into `directory`; gives the digest of its index.
///
/// # Errors
/// A tar cannot be read, or the layout cannot be written.
pub(super) fn write(directory: &Path, image: &Image<'_>) -> Result<Digest> {
    let layout = Layout {
        blobs: directory.join("blobs/sha256"),
    };
    fs::create_dir_all(&layout.blobs).with_context(|| format!("cannot make {}", layout.blobs.display()))?;
    let mut manifests = Vec::new();
    for root in image.roots {
        let layer = layout
            .layer(root.tar, image.compression)
            .with_context(|| format!("cannot make a layer of {}", root.tar.display()))?;
        let config = layout.json(
            CONFIG,
            &json!({
                "architecture": root.platform.architecture(),
                "os": root.platform.os(),
                "created": CREATED,
                "config": image.config,
                "rootfs": { "type": "layers", "diff_ids": [layer.diff_id.to_string()] },
                "history": [{ "created": CREATED, "created_by": image.made_by }],
            }),
        )?;
        let mut manifest = layout.json(
            MANIFEST,
            &json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config,
                "layers": [layer.descriptor],
            }),
        )?;
        manifest["platform"] = json!({ "architecture": root.platform.architecture(), "os": root.platform.os() });
        manifests.push(manifest);
    }
    let mut index = layout.json(
        INDEX,
        &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }),
    )?;
    let digest: Digest = index["digest"].as_str().unwrap_or_default().parse()?;
    let tag = image.reference.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    index["annotations"] = json!({
        "org.opencontainers.image.ref.name": tag,
        "io.containerd.image.name": format!("docker.io/library/{}", image.reference),
    });
    let entry = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [index] });
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    fs::write(directory.join("index.json"), serde_json::to_vec(&entry)?)?;
    Ok(digest)
}

struct Layout {
    blobs: std::path::PathBuf,
}

struct Layer {
    descriptor: Value,
    diff_id: Digest,
}

impl Layout {
    /// Stores a JSON document; gives its descriptor.
    fn json(&self, media_type: &str, value: &Value) -> Result<Value> {
        let bytes = serde_json::to_vec(value)?;
        let digest = Digest::of(&bytes);
        fs::write(self.blobs.join(digest.hex()), &bytes)?;
        Ok(json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() }))
    }

    fn layer(&self, tar: &Path, compression: Compression) -> Result<Layer> {
        let mut reader = HashingReader::new(BufReader::with_capacity(1 << 20, File::open(tar)?));
        let making = self.blobs.join("layer");
        let writer = HashingWriter::new(BufWriter::new(File::create(&making)?));
        let (writer, kind) = match compression {
            Compression::Gzip => (gzip(&mut reader, writer)?, "gzip"),
            Compression::Zstd => (zstd(&mut reader, writer)?, "zstd"),
        };
        let (diff_id, _) = reader.finish();
        let (digest, size) = writer.finish()?;
        fs::rename(&making, self.blobs.join(digest.hex()))?;
        let descriptor = json!({
            "mediaType": format!("application/vnd.oci.image.layer.v1.tar+{kind}"),
            "digest": digest.to_string(),
            "size": size,
        });
        Ok(Layer { descriptor, diff_id })
    }
}

fn gzip<W: Write>(reader: &mut impl Read, writer: W) -> io::Result<W> {
    let mut encoder = GzBuilder::new().mtime(0).write(writer, GzipLevel::default());
    io::copy(reader, &mut encoder)?;
    encoder.finish()
}

fn zstd<W: Write>(reader: &mut impl Read, writer: W) -> io::Result<W> {
    let mut encoder = zstd::Encoder::new(writer, 1)?;
    io::copy(reader, &mut encoder)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(compression: Compression) -> (tempfile::TempDir, Digest) {
        let directory = tempfile::tempdir().unwrap();
        let tar = directory.path().join("root.tar");
        fs::write(&tar, vec![7; 100_000]).unwrap();
        let platforms = ["linux/amd64", "linux/arm64"].map(|text| text.parse::<Platform>().unwrap());
        let roots: Vec<_> = platforms.iter().map(|platform| Root { platform, tar: &tar }).collect();
        let image = Image {
            reference: "base:1",
            config: &json!({ "Cmd": ["sh"] }),
            made_by: "a test",
            compression,
            roots: &roots,
        };
        let digest = write(directory.path(), &image).unwrap();
        (directory, digest)
    }

    #[test]
    fn every_blob_is_what_its_name_says_and_nothing_else_is_there() {
        let (directory, digest) = layout(Compression::Gzip);
        let mut names = Vec::new();
        for blob in fs::read_dir(directory.path().join("blobs/sha256")).unwrap() {
            let blob = blob.unwrap();
            let name = blob.file_name().into_string().unwrap();
            assert_eq!(Digest::of(&fs::read(blob.path()).unwrap()).hex(), name);
            names.push(name);
        }
        // One layer for both, a config and a manifest each, the index.
        assert_eq!(names.len(), 6, "{names:?}");
        assert!(names.contains(&digest.hex()));
    }

    #[test]
    fn both_compressions_hold_the_same_layer() {
        let diff_ids = [Compression::Gzip, Compression::Zstd].map(|compression| {
            let (directory, digest) = layout(compression);
            let read = |digest: &str| -> Value {
                let name = digest.trim_start_matches("sha256:");
                serde_json::from_slice(&fs::read(directory.path().join("blobs/sha256").join(name)).unwrap()).unwrap()
            };
            let index = read(&digest.to_string());
            let manifest = read(index["manifests"][1]["digest"].as_str().unwrap());
            let config = read(manifest["config"]["digest"].as_str().unwrap());
            assert_eq!(config["architecture"], "arm64");
            config["rootfs"]["diff_ids"][0].as_str().unwrap().to_owned()
        });
        assert_eq!(diff_ids[0], diff_ids[1]);
        assert_eq!(diff_ids[0], Digest::of(&vec![7; 100_000]).to_string());
    }
}
