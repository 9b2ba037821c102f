//! A small product: two images on two platforms, with shared, compressed and uncompressed layers.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::sync::LazyLock;

use bundle::image::images_tar::{ImageInput, ImagesTar, Scope};
use bundle::manifest::{
    Backup, BackupKind, DataRule, EnvironmentKey, EnvironmentValue, FileRecord, FileRole, FormatVersion, Health,
    ImageRecord, LayerRecord, Manifest, PlatformImage,
};
use bundle::pack::{Content, Contents, PackFile, write_tar_gz, write_zip};
use bundle::{Digest, DirStore, Platform};
use tempfile::TempDir;

/// 2026-01-31T12:00:00Z
pub(crate) const MTIME: u64 = 1_769_860_800;

pub(crate) struct Sample {
    directory: TempDir,
    pub(crate) store: DirStore,
    pub(crate) inputs: Vec<ImageInput>,
    pub(crate) images: ImagesTar,
    pub(crate) files: Vec<PackFile>,
    pub(crate) manifest: Manifest,
}

impl Sample {
    pub(crate) fn new() -> Self {
        Self::with(
            Scope::AllPlatforms,
            &[(200_000, "+zstd"), (1_100_000, ""), (5_000, "+gzip")],
        )
    }

    /// `layers` are size and suffix of the media type; the first is shared by both images.
    pub(crate) fn with(scope: Scope, layers: &[(usize, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let blobs = directory.path().join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let inputs: Vec<ImageInput> = ["app-backend", "app-web"]
            .into_iter()
            .enumerate()
            .map(|(at, name)| {
                let own = if at == 0 { layers } else { &layers[..1] };
                image(&blobs, name, own)
            })
            .collect();
        let store = DirStore::new([directory.path().to_path_buf()]);
        let images = ImagesTar::plan(&inputs, &store, &scope).unwrap();
        let files = vec![
            file("docker-compose.prod.yml", false, b"services: {}\n".to_vec()),
            file("install.sh", true, b"#!/bin/sh\nexit 0\n".to_vec()),
            file("bin/updater-linux-arm64", true, noise(7, 200_000)),
        ];
        let platforms = match scope {
            Scope::AllPlatforms => vec![platform("linux/amd64"), platform("linux/arm64")],
            Scope::OnePlatform(platform) => vec![platform],
        };
        let manifest = manifest(&inputs, &images, &store, &files, platforms);
        Self {
            directory,
            store,
            inputs,
            images,
            files,
            manifest,
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn contents<'a>(&'a self, manifest: &'a [u8], signature: Option<&'a str>) -> Contents<'a> {
        Contents {
            manifest,
            signature,
            files: &self.files,
            images: &self.images,
            store: &self.store,
            mtime: MTIME,
        }
    }

    pub(crate) fn tar_gz(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let manifest = self.manifest.to_json().unwrap();
        write_tar_gz(&mut out, &self.contents(&manifest, None), &|_| {}).unwrap();
        out
    }

    pub(crate) fn zip(&self) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        let manifest = self.manifest.to_json().unwrap();
        write_zip(&mut out, &self.contents(&manifest, None), &|_| {}).unwrap();
        out.into_inner()
    }

    /// A layer of the first image on arm64.
    pub(crate) fn layer(&self, index: usize) -> &LayerRecord {
        &self.manifest.image_details[0]
            .on(&platform("linux/arm64"))
            .unwrap()
            .layers[index]
    }
}

/// [`Sample::new`] as `.tar.gz`, packed once.
pub(crate) fn tar_gz() -> Vec<u8> {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| Sample::new().tar_gz());
    BYTES.clone()
}

/// [`Sample::new`] as `.zip`, packed once.
pub(crate) fn zip() -> Vec<u8> {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| Sample::new().zip());
    BYTES.clone()
}

pub(crate) fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

fn file(name: &str, executable: bool, content: Vec<u8>) -> PackFile {
    PackFile {
        name: name.parse().unwrap(),
        executable,
        content: Content::Bytes(content),
    }
}

/// Bytes that look random and are always the same.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 56) as u8
        })
        .collect()
}

fn image(blobs: &Path, name: &str, layers: &[(usize, &str)]) -> ImageInput {
    let save = |content: &[u8]| {
        let digest = Digest::of(content);
        std::fs::write(blobs.join(digest.hex()), content).unwrap();
        (digest, content.len() as u64)
    };
    let mut platforms = BTreeMap::new();
    for (seed, architecture) in ["amd64", "arm64"].into_iter().enumerate() {
        let layers: Vec<LayerRecord> = layers
            .iter()
            .enumerate()
            .map(|(index, (length, suffix))| {
                let content = noise((seed * 10 + index) as u64, *length);
                let (digest, size) = save(&content);
                LayerRecord {
                    digest,
                    size,
                    media_type: format!("application/vnd.oci.image.layer.v1.tar{suffix}"),
                    diff_id: Digest::of(&[&content[..], suffix.as_bytes()].concat()),
                    uncompressed_size: size * 3,
                }
            })
            .collect();
        let diff_ids: Vec<String> = layers.iter().map(|l| l.diff_id.to_string()).collect();
        let (config, config_size) = save(
            serde_json::json!({
                "architecture": architecture, "os": "linux", "config": {"Cmd": [name]},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            })
            .to_string()
            .as_bytes(),
        );
        let descriptors: Vec<serde_json::Value> = layers
            .iter()
            .map(|l| serde_json::json!({"mediaType": l.media_type, "digest": l.digest, "size": l.size}))
            .collect();
        let (manifest, manifest_size) = save(
            serde_json::json!({
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": config, "size": config_size,
                },
                "layers": descriptors,
            })
            .to_string()
            .as_bytes(),
        );
        let platform = platform(&format!("linux/{architecture}"));
        let image = PlatformImage {
            platform: platform.clone(),
            manifest,
            manifest_size,
            config,
            config_size,
            layers,
        };
        platforms.insert(platform, image);
    }
    ImageInput {
        name: name.to_owned(),
        tag: "2.1.0".to_owned(),
        platforms,
    }
}

fn manifest(
    inputs: &[ImageInput],
    images: &ImagesTar,
    store: &DirStore,
    files: &[PackFile],
    platforms: Vec<Platform>,
) -> Manifest {
    let role = |name: &str| match name {
        "docker-compose.prod.yml" => FileRole::Compose,
        "install.sh" => FileRole::Installer,
        _ if platforms.contains(&platform("linux/arm64")) => FileRole::Updater {
            platform: platform("linux/arm64"),
        },
        _ => FileRole::Extra,
    };
    let record = |file: &PackFile| {
        let (digest, size) = file.content.measure().unwrap();
        FileRecord {
            name: file.name.clone(),
            role: role(file.name.as_str()),
            sha256: digest.into(),
            size,
            executable: file.executable,
        }
    };
    let image_record = |input: &ImageInput| ImageRecord {
        name: input.name.clone(),
        reference: format!("{}:{}", input.name, input.tag),
        source: None,
        substitute: false,
        platforms: platforms
            .iter()
            .map(|platform| input.platforms[platform].clone())
            .collect(),
    };
    Manifest {
        version: "2.1.0".parse().unwrap(),
        images_sha256: images.sha256(store, &|_| {}).unwrap().into(),
        created_at: "2026-01-31T12:00:00Z".to_owned(),
        changelog: "- everything is better\n".to_owned(),
        images: inputs
            .iter()
            .map(|input| format!("{}:{}", input.name, input.tag))
            .collect(),
        format_version: FormatVersion::CURRENT,
        requires: Vec::new(),
        product: "app".parse().unwrap(),
        commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
        dirty: false,
        unpinned: Vec::new(),
        images_size: images.size(),
        files: files.iter().map(record).collect(),
        image_details: inputs.iter().map(image_record).collect(),
        platforms: platforms.clone(),
        health: Some(Health {
            service: "backend".to_owned(),
            url: "/health".to_owned(),
            attempts: 10,
            interval_seconds: 5,
            soak_seconds: 30,
        }),
        backup: Some(Backup {
            kind: BackupKind::Postgres,
            service: "db".to_owned(),
            user: "app".to_owned(),
            database: "app".to_owned(),
        }),
        data: DataRule {
            revision: 2,
            readable_by: Some("2.0.0".parse().unwrap()),
            migrated_by: Some("backend".to_owned()),
        },
        environment: vec![
            EnvironmentKey {
                name: "APP_VERSION".to_owned(),
                value: EnvironmentValue::Version,
            },
            EnvironmentKey {
                name: "DB_PASSWORD".to_owned(),
                value: EnvironmentValue::Generated { length: 32 },
            },
            EnvironmentKey {
                name: "PORT".to_owned(),
                value: EnvironmentValue::Default("80".to_owned()),
            },
        ],
        minimum_updater_version: "0.1.0".parse().unwrap(),
        minimum_upgradable_version: None,
        security_epoch: 0,
        github: None,
    }
}
