//! Small real bundles of a product with a database, a backend that migrates it, and a front end, in every form.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bundle::{
    Digest, DirStore, Platform,
    image::images_tar::{ImageInput, ImagesTar, Scope},
    manifest::{
        Backup, BackupKind, DataRule, EnvironmentKey, EnvironmentValue, FileRecord, FileRole, FormatVersion, Health,
        ImageRecord, LayerRecord, Manifest, PlatformImage,
    },
    pack::{Content, Contents, PackFile, write_tar_gz},
    parts::{list_name, split},
    signature::{NewKey, SecretKey},
};

/// The form that a bundle has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is released.
    Released,
    /// As it is released, in parts.
    Split,
    /// As the legacy release procedure made it.
    Legacy,
}

/// What is special about a version.
#[derive(Clone, Debug)]
pub struct Version {
    pub version: &'static str,
    /// The revision of its data, and the oldest version that can read that.
    pub revision: u64,
    pub readable_by: Option<&'static str>,
    /// What its backend does wrong.
    pub fault: &'static str,
    pub postgres: u32,
    pub epoch: u64,
    pub form: Form,
    /// For whose processor its images are.
    pub architecture: &'static str,
}

impl Version {
    /// A version that works, on data of revision 1.
    pub fn good(version: &'static str) -> Self {
        Self {
            version,
            revision: 1,
            readable_by: None,
            fault: "none",
            postgres: 17,
            epoch: 0,
            form: Form::Released,
            architecture: "amd64",
        }
    }

    /// A version that works, whose bundle is in parts.
    pub fn split(version: &'static str) -> Self {
        Self {
            form: Form::Split,
            ..Self::good(version)
        }
    }

    /// A version that works, made by the legacy release procedure.
    pub fn legacy(version: &'static str) -> Self {
        Self {
            form: Form::Legacy,
            ..Self::good(version)
        }
    }

    /// A version that works, on data that every older one can read, as far as that is known.
    pub fn readable(version: &'static str) -> Self {
        Self {
            readable_by: Some("1.0.0"),
            ..Self::good(version)
        }
    }

    /// A version whose data the previous ones cannot read.
    pub fn migrating(version: &'static str) -> Self {
        Self {
            revision: 2,
            readable_by: Some(version),
            ..Self::good(version)
        }
    }
}

pub const PLATFORM: &str = "linux/amd64";
/// The size of a part in bytes: a bundle has a few.
const PART: u64 = 800;
const MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// What the fake engine reads: service, image, and what it depends on.
const COMPOSE: &str =
    "db app-db:17\nbackend app-backend:${APP_VERSION} db\nfrontend app-frontend:${APP_VERSION} backend\n";

/// A file that a bundle brings besides its compose file.
#[derive(Clone, Debug)]
pub struct More {
    pub name: &'static str,
    pub role: FileRole,
    pub content: String,
}

/// Writes the bundle of `version` into `directory` and gives its path.
pub fn write(directory: &Path, version: &Version, key: Option<&NewKey>) -> PathBuf {
    match version.form {
        Form::Released => write_with(directory, version, key, &[]),
        Form::Split => {
            let whole = tempfile::tempdir().unwrap();
            let path = write_with(whole.path(), version, key, &[]);
            let name = path.file_name().unwrap().to_str().unwrap();
            split(std::fs::File::open(&path).unwrap(), name, PART, directory).unwrap();
            directory.join(list_name(name))
        }
        Form::Legacy => write_legacy(directory, version),
    }
}

/// The images of a version: name, tag, and what the fake engine reads.
fn images(version: &Version) -> [(&'static str, &'static str, String); 3] {
    let number = version.version;
    [
        ("app-db", "17", format!("PG_MAJOR={}", version.postgres)),
        (
            "app-backend",
            number,
            format!("BACKEND={number} {} {}", version.revision, version.fault),
        ),
        ("app-frontend", number, format!("FRONTEND={number}")),
    ]
}

/// As `docker save` and `tar -czf` make it.
fn write_legacy(directory: &Path, version: &Version) -> PathBuf {
    let number = version.version;
    let mut saved = tar::Builder::new(Vec::new());
    let mut list = Vec::new();
    let mut references = Vec::new();
    for (name, tag, env) in images(version) {
        let layers = ["the base".to_owned(), format!("{name} {env}")];
        let paths = layers.each_ref().map(|layer| {
            let path = format!("{}/layer.tar", Digest::of(layer.as_bytes()).hex());
            append(&mut saved, &path, layer.as_bytes());
            path
        });
        let config = serde_json::json!({
            "os": "linux",
            "architecture": version.architecture,
            "config": { "Env": [env] },
            "rootfs": { "type": "layers", "diff_ids": layers.each_ref().map(|layer| Digest::of(layer.as_bytes())) },
        })
        .to_string();
        let config_path = format!("{}.json", Digest::of(config.as_bytes()).hex());
        append(&mut saved, &config_path, config.as_bytes());
        let reference = format!("{name}:{tag}");
        list.push(serde_json::json!({ "Config": config_path, "RepoTags": [&reference], "Layers": paths }));
        references.push(reference);
    }
    append(
        &mut saved,
        "manifest.json",
        serde_json::Value::from(list).to_string().as_bytes(),
    );
    let saved = saved.into_inner().unwrap();
    let manifest = serde_json::json!({
        "version": number,
        "images_sha256": Digest::of(&saved).hex(),
        "created_at": "2025-11-02T10:00:00",
        "changelog": format!("- {number}"),
        "images": references,
    });
    let path = directory.join(format!("app-update-{number}.tar.gz"));
    let out = std::fs::File::create(&path).unwrap();
    let mut bundle = tar::Builder::new(flate2::write::GzEncoder::new(out, flate2::Compression::fast()));
    append(&mut bundle, "images.tar", &saved);
    append(&mut bundle, "docker-compose.prod.yml", COMPOSE.as_bytes());
    append(&mut bundle, "install.sh", b"#!/bin/sh\n");
    append(&mut bundle, "manifest.json", manifest.to_string().as_bytes());
    bundle.into_inner().unwrap().finish().unwrap();
    path
}

fn append(tar: &mut tar::Builder<impl std::io::Write>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o664);
    tar.append_data(&mut header, name, content).unwrap();
}

/// As `cargo xtask release` makes it, with more files.
pub fn write_with(directory: &Path, version: &Version, key: Option<&NewKey>, more: &[More]) -> PathBuf {
    let compose = More {
        name: "docker-compose.prod.yml",
        role: FileRole::Compose,
        content: COMPOSE.to_owned(),
    };
    let mut all = vec![compose];
    all.extend(more.iter().cloned());
    let blobs = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(blobs.path().join("blobs/sha256")).unwrap();
    let number = version.version;
    let mut inputs = Vec::new();
    let mut records = Vec::new();
    for (name, tag, env) in images(version) {
        let image = image(blobs.path(), name, &env);
        inputs.push(ImageInput {
            name: name.to_owned(),
            tag: tag.to_owned(),
            platforms: BTreeMap::from([(image.platform.clone(), image.clone())]),
        });
        records.push(ImageRecord {
            name: name.to_owned(),
            reference: format!("{name}:{tag}"),
            source: None,
            substitute: false,
            platforms: vec![image],
        });
    }
    let store = DirStore::new([blobs.path().to_path_buf()]);
    let platform: Platform = PLATFORM.parse().unwrap();
    let tar = ImagesTar::plan(&inputs, &store, &Scope::OnePlatform(platform.clone())).unwrap();
    let manifest = Manifest {
        version: number.parse().unwrap(),
        images_sha256: tar.sha256(&store, &|_| {}).unwrap().into(),
        created_at: "2026-01-31T12:00:00Z".to_owned(),
        changelog: format!("- {number}"),
        images: records.iter().map(|record| record.reference.clone()).collect(),
        format_version: FormatVersion::CURRENT,
        requires: Vec::new(),
        product: "app".parse().unwrap(),
        commit: None,
        dirty: false,
        unpinned: Vec::new(),
        platforms: vec![platform],
        images_size: tar.size(),
        files: all
            .iter()
            .map(|file| FileRecord {
                name: file.name.parse().unwrap(),
                role: file.role.clone(),
                sha256: Digest::of(file.content.as_bytes()).into(),
                size: file.content.len() as u64,
                executable: false,
            })
            .collect(),
        image_details: records,
        health: Some(Health {
            service: "frontend".to_owned(),
            url: "/health".to_owned(),
            attempts: 3,
            interval_seconds: 5,
            soak_seconds: 10,
        }),
        backup: Some(Backup {
            kind: BackupKind::Postgres,
            service: "db".to_owned(),
            user: "app".to_owned(),
            database: "app".to_owned(),
        }),
        data: DataRule {
            revision: version.revision,
            readable_by: version.readable_by.map(|version| version.parse().unwrap()),
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
        ],
        minimum_updater_version: "0.1.0".parse().unwrap(),
        minimum_upgradable_version: None,
        security_epoch: version.epoch,
        github: None,
    };
    let json = manifest.to_json().unwrap();
    let signature = key.map(|key| {
        SecretKey::load(key.secret_file(), None)
            .unwrap()
            .sign(&json, &manifest.product, &manifest.version)
    });
    let files: Vec<_> = all
        .iter()
        .map(|file| PackFile {
            name: file.name.parse().unwrap(),
            executable: false,
            content: Content::Bytes(file.content.clone().into_bytes()),
        })
        .collect();
    let contents = Contents {
        manifest: &json,
        signature: signature.as_deref(),
        files: &files,
        images: &tar,
        store: &store,
        mtime: 1,
    };
    let path = directory.join(format!("app-update-{number}.tar.gz"));
    let mut out = std::fs::File::create(&path).unwrap();
    write_tar_gz(&mut out, &contents, &|_| {}).unwrap();
    path
}

/// An image with a layer that all have, and one of its own.
fn image(directory: &Path, name: &str, env: &str) -> PlatformImage {
    let save = |content: &str| {
        let digest = Digest::of(content.as_bytes());
        std::fs::write(directory.join("blobs/sha256").join(digest.hex()), content).unwrap();
        (digest, content.len() as u64)
    };
    let layers: Vec<_> = ["the base".to_owned(), format!("{name} {env}")]
        .iter()
        .map(|content| save(content))
        .map(|(digest, size)| LayerRecord {
            digest,
            size,
            media_type: MEDIA_TYPE.to_owned(),
            diff_id: digest,
            uncompressed_size: size,
        })
        .collect();
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id).collect();
    let (config, config_size) = save(
        &serde_json::json!({
            "os": "linux",
            "architecture": "amd64",
            "config": { "Env": [env] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        })
        .to_string(),
    );
    let descriptors: Vec<_> = layers
        .iter()
        .map(|layer| serde_json::json!({ "mediaType": MEDIA_TYPE, "digest": layer.digest, "size": layer.size }))
        .collect();
    let (manifest, manifest_size) = save(
        &serde_json::json!({
            "schemaVersion": 2,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config,
                "size": config_size,
            },
            "layers": descriptors,
        })
        .to_string(),
    );
    PlatformImage {
        platform: PLATFORM.parse().unwrap(),
        manifest,
        manifest_size,
        config,
        config_size,
        layers,
    }
}
