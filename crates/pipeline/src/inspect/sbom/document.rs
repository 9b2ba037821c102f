//! The document, and what is put into it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Seek},
};

use bundle::{Digest, read::VerifiedBundle};
use cyclonedx_bom::{
    external_models::uri::Purl,
    models::{
        bom::{Bom, SpecVersion, UrnUuid},
        component::{Classification, Component, Components},
        hash::{Hash, HashAlgorithm, HashValue, Hashes},
        license::{LicenseChoice, Licenses},
        metadata::Metadata,
    },
};

use super::{crates, packages};
use crate::{
    Error, Result,
    facts::Workspace,
    inspect::bundle_file::open_verified,
    system::{files, interrupt},
};

/// Everything that was found in the bundles of a release.
#[derive(Debug, Default)]
pub(crate) struct Sbom {
    images: BTreeMap<(String, String), Image>,
    manifests: BTreeSet<Digest>,
    version: String,
}

/// An image on one platform.
#[derive(Debug)]
struct Image {
    digest: Digest,
    packages: Vec<packages::Package>,
}

impl Sbom {
    /// Adds the images of a bundle; those that another bundle had already are not read again.
    pub(crate) fn add<S: Read + Seek>(&mut self, bundle: &mut VerifiedBundle<S>) -> Result<()> {
        let manifest = (**bundle.manifest()).clone();
        self.version = manifest.version.to_string();
        self.manifests.insert(bundle.manifest_digest());
        for image in &manifest.image_details {
            for platform in &image.platforms {
                interrupt::check()?;
                let key = (image.reference.clone(), platform.platform.to_string());
                if self.images.contains_key(&key) {
                    continue;
                }
                let packages = packages::of_image(bundle, platform).map_err(|message| Error::Image {
                    subject: image.reference.clone(),
                    message,
                })?;
                let digest = platform.manifest;
                self.images.insert(key, Image { digest, packages });
            }
        }
        Ok(())
    }

    /// The document.
    pub(crate) fn write(self, workspace: &Workspace) -> Result<Vec<u8>> {
        let product = workspace.declaration.product.as_str();
        let mut components = Vec::new();
        for ((reference, platform), image) in &self.images {
            components.push(container(reference, platform, image));
        }
        components.extend(crates::of_programs(&workspace.root)?.iter().map(library));
        let bom = Bom {
            version: 1,
            serial_number: serial_number(&self.manifests),
            // No time: the same release gives the same document.
            metadata: Some(Metadata {
                component: Some(Component::new(
                    Classification::Application,
                    product,
                    &self.version,
                    Some(format!("{product}@{}", self.version)),
                )),
                ..Metadata::default()
            }),
            components: Some(Components(components)),
            spec_version: SpecVersion::V1_5,
            ..Bom::default()
        };
        let mut json = Vec::new();
        bom.output_as_json_v1_5(&mut json).map_err(|error| Error::Content {
            path: workspace.dist.join(file_name(product)),
            message: error.to_string(),
        })?;
        json.push(b'\n');
        Ok(json)
    }
}

/// The document's file.
pub(crate) fn file_name(product: &str) -> String {
    format!("{product}-sbom.cdx.json")
}

fn container(reference: &str, platform: &str, image: &Image) -> Component {
    let (name, tag) = crate::declaration::split_tag(reference).unwrap_or((reference, ""));
    let mut component = Component::new(
        Classification::Container,
        name,
        tag,
        Some(format!("{reference}@{platform}")),
    );
    component.hashes = Some(Hashes(vec![sha256(&image.digest.hex())]));
    let packages = image.packages.iter().map(|package| {
        let purl = package.purl();
        let mut component = Component::new(
            Classification::Library,
            &package.name,
            &package.version,
            Some(format!("{reference}@{platform}#{purl}")),
        );
        component.purl = purl.parse().ok();
        component
    });
    component.components = Some(Components(packages.collect()));
    component
}

fn library(found: &crates::Crate) -> Component {
    let purl = Purl::new("cargo", &found.name, &found.version).ok();
    let mut component = Component::new(
        Classification::Library,
        &found.name,
        &found.version,
        Some(format!("cargo#{}@{}", found.name, found.version)),
    );
    component.purl = purl;
    component.hashes = found.checksum.as_deref().map(|checksum| Hashes(vec![sha256(checksum)]));
    component.licenses = found
        .license
        .as_deref()
        // The old way to say "or".
        .map(|license| Licenses(vec![LicenseChoice::expression(&license.replace('/', " OR "))]));
    component
}

fn sha256(hex: &str) -> Hash {
    Hash {
        alg: HashAlgorithm::SHA_256,
        content: HashValue(hex.to_owned()),
    }
}

/// A UUID that is the same for the same bundles: version 8 of RFC 9562, made of a digest.
fn serial_number(manifests: &BTreeSet<Digest>) -> Option<UrnUuid> {
    let text: String = manifests.iter().map(Digest::hex).collect();
    let hex = Digest::of(text.as_bytes()).hex();
    let uuid = format!(
        "urn:uuid:{}-{}-8{}-a{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    );
    UrnUuid::new(uuid).ok()
}

/// Writes the document of `bundles` beside the first of them, and says where.
pub(crate) fn write_beside(workspace: &Workspace, bundles: &[std::path::PathBuf]) -> Result<std::path::PathBuf> {
    let mut sbom = Sbom::default();
    for bundle in bundles {
        sbom.add(&mut open_verified(bundle, &workspace.declaration.signing.public_keys)?)?;
    }
    let name = file_name(workspace.declaration.product.as_str());
    let path = bundles
        .first()
        .map_or_else(|| workspace.dist.join(&name), |bundle| bundle.with_file_name(&name));
    files::write_atomically(&path, &sbom.write(workspace)?)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use cyclonedx_bom::validation::Validate as _;

    use super::*;

    #[test]
    fn the_document_is_valid_and_always_the_same() {
        let workspace = Workspace::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let write = || {
            let mut sbom = Sbom {
                version: "2.1.0".to_owned(),
                ..Sbom::default()
            };
            let package = packages::Package {
                kind: packages::Kind::Deb,
                distribution: "debian".to_owned(),
                name: "libc6".to_owned(),
                version: "2.36-9+deb12u10".to_owned(),
                architecture: "arm64".to_owned(),
            };
            let image = Image {
                digest: Digest::of(b"image"),
                packages: vec![package],
            };
            let key = ("postgres:17-trixie".to_owned(), "linux/arm64".to_owned());
            sbom.images.insert(key, image);
            sbom.write(&workspace).unwrap()
        };
        let json = write();
        assert_eq!(json, write());
        let bom = Bom::parse_from_json(json.as_slice()).unwrap();
        let validated = bom.validate_version(SpecVersion::V1_5);
        assert!(validated.passed(), "{validated:#?}");
        let text = String::from_utf8(json).unwrap();
        assert!(
            text.contains("pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=arm64"),
            "{text}"
        );
        // What is in the updater, and not what tests and builds alone use.
        assert!(text.contains("pkg:cargo/bollard@"));
        assert!(!text.contains("pkg:cargo/insta@"));
    }
}
