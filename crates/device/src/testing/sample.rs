//! Small bundles with real images, made in a moment: layers are tars of given files in a given compression.
//!
//! Also used by the tests of real engines (`xtask/tests/devices`).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use bundle::{
    Digest, DirStore, Platform,
    image::images_tar::{ImageInput, ImagesTar, Scope},
    manifest::{DataRule, FileRecord, FileRole, FormatVersion, ImageRecord, LayerRecord, Manifest, PlatformImage},
    measure_layer,
    pack::{Content, Contents, PackFile, write_tar_gz},
    read::{Trust, VerifiedBundle, verify},
};

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    Plain,
    Gzip,
    Zstd,
}

/// A layer: its bytes as stored, and how they are compressed.
#[derive(Clone, Debug)]
pub struct Layer {
    bytes: Vec<u8>,
    packed: Packed,
}

/// An image for one platform.
#[derive(Clone, Debug)]
pub struct Image {
    pub name: &'static str,
    pub platform: &'static str,
    pub layers: Vec<Layer>,
    /// The `config` of its configuration.
    pub config: serde_json::Value,
}

/// A layer with `files`: paths and contents. All can be executed.
pub fn layer(files: &[(&str, &[u8])], packed: Packed) -> Layer {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(1);
        tar.append_data(&mut header, path, *content).unwrap();
    }
    let plain = tar.into_inner().unwrap();
    let bytes = match packed {
        Packed::Plain => plain,
        Packed::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&plain).unwrap();
            encoder.finish().unwrap()
        }
        Packed::Zstd => zstd::encode_all(&plain[..], 1).unwrap(),
    };
    Layer { bytes, packed }
}

/// Bytes that look random and are always the same.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length.div_ceil(8))
        .flat_map(|_| next().to_le_bytes())
        .take(length)
        .collect()
}

/// Makes a bundle of the product `sample` in `directory`. The images' tag is the version.
pub fn bundle(directory: &Path, version: &str, images: &[Image]) -> PathBuf {
    let blobs = directory.join(format!("blobs-{version}"));
    fs::create_dir_all(blobs.join("blobs/sha256")).unwrap();
    let inputs: Vec<ImageInput> = images.iter().map(|image| input(&blobs, version, image)).collect();
    let store = DirStore::new([blobs]);
    let platform: Platform = images[0].platform.parse().unwrap();
    let tar = ImagesTar::plan(&inputs, &store, &Scope::OnePlatform(platform.clone())).unwrap();
    let compose = Content::Bytes(b"services: {}\n".to_vec());
    let (digest, size) = compose.measure().unwrap();
    let name = "docker-compose.prod.yml";
    let manifest = Manifest {
        version: version.parse().unwrap(),
        images_sha256: tar.sha256(&store, &|_| {}).unwrap().into(),
        created_at: "2026-01-31T12:00:00Z".to_owned(),
        changelog: String::new(),
        images: inputs.iter().map(|input| format!("{}:{version}", input.name)).collect(),
        format_version: FormatVersion::CURRENT,
        requires: Vec::new(),
        product: "sample".parse().unwrap(),
        commit: None,
        dirty: false,
        unpinned: Vec::new(),
        platforms: vec![platform.clone()],
        images_size: tar.size(),
        files: vec![FileRecord {
            name: name.parse().unwrap(),
            role: FileRole::Compose,
            sha256: digest.into(),
            size,
            executable: false,
        }],
        image_details: inputs.iter().map(|input| record(input, &platform)).collect(),
        health: None,
        backup: None,
        data: DataRule::default(),
        environment: Vec::new(),
        minimum_updater_version: "0.1.0".parse().unwrap(),
        minimum_upgradable_version: None,
        security_epoch: 0,
        github: None,
    };
    let files = [PackFile {
        name: name.parse().unwrap(),
        executable: false,
        content: compose,
    }];
    let manifest = manifest.to_json().unwrap();
    let contents = Contents {
        manifest: &manifest,
        signature: None,
        files: &files,
        images: &tar,
        store: &store,
        mtime: 1,
    };
    let path = directory.join(format!("sample-update-{version}.tar.gz"));
    write_tar_gz(&mut File::create(&path).unwrap(), &contents, &|_| {}).unwrap();
    path
}

/// Verifies a bundle's integrity.
pub fn open(path: &Path) -> VerifiedBundle<File> {
    verify(File::open(path).unwrap(), &Trust::Unsigned, &|_| {}).unwrap()
}

fn record(input: &ImageInput, platform: &Platform) -> ImageRecord {
    ImageRecord {
        name: input.name.clone(),
        reference: format!("{}:{}", input.name, input.tag),
        source: None,
        substitute: false,
        platforms: vec![input.platforms[platform].clone()],
    }
}

fn input(store: &Path, version: &str, image: &Image) -> ImageInput {
    let save = |content: &[u8]| {
        let digest = Digest::of(content);
        fs::write(store.join("blobs/sha256").join(digest.hex()), content).unwrap();
        (digest, content.len() as u64)
    };
    let platform: Platform = image.platform.parse().unwrap();
    let layers: Vec<LayerRecord> = image
        .layers
        .iter()
        .map(|layer| {
            let (digest, size) = save(&layer.bytes);
            let suffix = match layer.packed {
                Packed::Plain => "",
                Packed::Gzip => "+gzip",
                Packed::Zstd => "+zstd",
            };
            let media_type = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
            let facts = measure_layer(&layer.bytes[..], &media_type).unwrap();
            LayerRecord {
                digest,
                size,
                media_type,
                diff_id: facts.diff_id,
                uncompressed_size: facts.uncompressed_size,
            }
        })
        .collect();
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id).collect();
    let configuration = serde_json::json!({
        "architecture": platform.architecture(), "os": "linux", "config": image.config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let (config, config_size) = save(configuration.to_string().as_bytes());
    let descriptors: Vec<_> = layers
        .iter()
        .map(|layer| serde_json::json!({"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}))
        .collect();
    let document = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size,
        },
        "layers": descriptors,
    });
    let (manifest, manifest_size) = save(document.to_string().as_bytes());
    let on = PlatformImage {
        platform: platform.clone(),
        manifest,
        manifest_size,
        config,
        config_size,
        layers,
    };
    ImageInput {
        name: image.name.to_owned(),
        tag: version.to_owned(),
        platforms: BTreeMap::from([(platform, on)]),
    }
}
