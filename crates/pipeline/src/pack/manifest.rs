//! The manifest of a bundle: everything that the device decides by, put together.

use std::path::PathBuf;

use bundle::{
    Digest, HexDigest, Platform,
    image::images_tar::{ImageInput, ImagesTar},
    manifest::{
        Backup, BackupKind, DataRule, EnvironmentKey, EnvironmentValue, FileRecord, FileRole, FormatVersion, GitHub,
        Health, ImageRecord, Manifest,
    },
    names::EntryName,
    pack::{Content, PackFile},
    signature::PublicKey,
};
use jiff::Timestamp;
use semver::Version;

use super::{collected::Collected, installer};
use crate::{
    Error, Result,
    declaration::{self, Declaration},
    facts::{Facts, Workspace},
    system::files::{expect_digest, file_name},
};

/// A file of a bundle with what the manifest says of it.
#[derive(Clone, Debug)]
pub(crate) struct BundleFile {
    /// What is packed.
    pub file: PackFile,
    /// What the manifest says.
    pub record: FileRecord,
}

/// The files of a release, for all of its platforms, in the order in which bundles carry them.
pub(crate) fn files(
    workspace: &Workspace,
    collected: &Collected,
    version: &Version,
    public_keys: &[PublicKey],
) -> Result<Vec<BundleFile>> {
    let declaration = &workspace.declaration;
    let mut files = Vec::new();
    let compose = workspace.root.join(&declaration.compose_file);
    files.push(bundle_file(
        &file_name(&declaration.compose_file),
        FileRole::Compose,
        false,
        Content::Path(compose),
    )?);
    let mut digests = std::collections::BTreeMap::new();
    let mut binaries = Vec::new();
    for (platform, path) in &collected.updaters {
        let role = FileRole::Updater {
            platform: platform.clone(),
        };
        let binary = bundle_file(
            &installer::binary_name(platform),
            role,
            true,
            Content::Path(path.clone()),
        )?;
        digests.insert(platform.clone(), binary.record.sha256.0);
        binaries.push(binary);
    }
    if !digests.is_empty() {
        let script = installer::script(&declaration.product, version, &digests, public_keys);
        files.push(bundle_file(
            "install.sh",
            FileRole::Installer,
            true,
            Content::Bytes(script.into_bytes()),
        )?);
    }
    files.extend(binaries);
    for extra in &declaration.files {
        let path = workspace.root.join(&extra.path);
        if let Some(sha256) = &extra.sha256 {
            expect_digest(&path, sha256)?;
        }
        let role = match &extra.compose_plugin {
            Some(platform) => FileRole::ComposePlugin {
                platform: platform.clone(),
            },
            None => FileRole::Extra,
        };
        files.push(bundle_file(
            extra.name.as_str(),
            role,
            extra.executable,
            Content::Path(path),
        )?);
    }
    Ok(files)
}

/// The files that belong into a bundle for `platforms`.
pub(crate) fn files_for(files: &[BundleFile], platforms: &[Platform]) -> Vec<BundleFile> {
    let wanted = |record: &FileRecord| match &record.role {
        FileRole::Updater { platform } | FileRole::ComposePlugin { platform } => platforms.contains(platform),
        FileRole::Compose | FileRole::Installer | FileRole::Extra => true,
    };
    files.iter().filter(|file| wanted(&file.record)).cloned().collect()
}

/// The images that belong into a bundle for `platforms`.
pub(crate) fn images_for(collected: &Collected, platforms: &[Platform]) -> Vec<ImageInput> {
    collected
        .images
        .iter()
        .map(|image| {
            let mut input = image.input.clone();
            input.platforms.retain(|platform, _| platforms.contains(platform));
            input
        })
        .collect()
}

/// The manifest; `images_sha256` is `images`' digest.
pub(crate) fn manifest(
    workspace: &Workspace,
    facts: &Facts,
    version: &Version,
    platforms: &[Platform],
    collected: &Collected,
    files: &[BundleFile],
    images: (&ImagesTar, Digest),
) -> Result<Manifest> {
    let declaration = &workspace.declaration;
    let unknown = |message: String| Error::Content {
        path: workspace.root.clone(),
        message,
    };
    let git = facts.git.as_ref().map_err(|message| unknown(message.clone()))?;
    let created_at = Timestamp::from_second(git.time).map_err(|error| unknown(error.to_string()))?;
    let image_details: Vec<_> = collected
        .images
        .iter()
        .map(|image| ImageRecord {
            name: image.input.name.clone(),
            reference: image.reference(),
            source: image.source.clone(),
            substitute: image.substitute,
            platforms: image
                .input
                .platforms
                .values()
                .filter(|image| platforms.contains(&image.platform))
                .cloned()
                .collect(),
        })
        .collect();
    Ok(Manifest {
        version: version.clone(),
        images_sha256: HexDigest(images.1),
        created_at: created_at.to_string(),
        changelog: facts.changelog.clone().map_err(unknown)?,
        images: image_details.iter().map(|image| image.reference.clone()).collect(),
        format_version: FormatVersion::CURRENT,
        requires: Vec::new(),
        product: declaration.product.clone(),
        commit: Some(git.commit.clone()),
        dirty: collected.dirty,
        unpinned: collected.unpinned.iter().cloned().collect(),
        platforms: platforms.to_vec(),
        images_size: images.0.size(),
        files: files.iter().map(|file| file.record.clone()).collect(),
        image_details,
        health: declaration.health.as_ref().map(|health| Health {
            service: health.service.clone(),
            url: health.url.clone(),
            attempts: health.attempts,
            interval_seconds: health.interval_seconds,
            soak_seconds: health.soak_seconds,
        }),
        backup: declaration.backup.as_ref().map(|backup| Backup {
            kind: match backup.kind {
                declaration::BackupKind::Postgres => BackupKind::Postgres,
            },
            service: backup.service.clone(),
            user: backup.user.clone(),
            database: backup.database.clone(),
        }),
        data: DataRule {
            revision: declaration.data.revision,
            readable_by: declaration.data.readable_by.clone(),
            migrated_by: declaration.data.migrated_by.clone(),
        },
        environment: environment(declaration),
        minimum_updater_version: declaration.minimum_updater_version.clone(),
        minimum_upgradable_version: declaration.minimum_upgradable_version.clone(),
        security_epoch: declaration.security_epoch,
        github: declaration
            .repository
            .clone()
            .map(|repository| GitHub { repository, api: None }),
    })
}

fn environment(declaration: &Declaration) -> Vec<EnvironmentKey> {
    let version = EnvironmentKey {
        name: declaration.version_variable.clone(),
        value: EnvironmentValue::Version,
    };
    let declared = declaration.environment.iter().map(|(name, value)| EnvironmentKey {
        name: name.clone(),
        value: match value {
            declaration::EnvironmentValue::Default(value) => EnvironmentValue::Default(value.clone()),
            declaration::EnvironmentValue::Generated(length) => EnvironmentValue::Generated { length: *length },
        },
    });
    std::iter::once(version).chain(declared).collect()
}

fn bundle_file(name: &str, role: FileRole, executable: bool, content: Content) -> Result<BundleFile> {
    let path = match &content {
        Content::Path(path) => path.clone(),
        Content::Bytes(_) => PathBuf::from(name),
    };
    let name = name.parse::<EntryName>().map_err(|error| Error::Content {
        path: path.clone(),
        message: error.to_string(),
    })?;
    let (sha256, size) = content.measure().map_err(Error::io("read", path))?;
    let record = FileRecord {
        name: name.clone(),
        role,
        sha256: HexDigest(sha256),
        size,
        executable,
    };
    Ok(BundleFile {
        file: PackFile {
            name,
            executable,
            content,
        },
        record,
    })
}
