//! Whether the parts of a manifest agree with each other.
//!
//! Counts come first, so that the later checks are bounded.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::document::Manifest;
use super::image::PlatformImage;
use super::rules::{EnvironmentValue, FileRole};
use crate::digest::Digest;
use crate::text::shorten;

const MAX_PLATFORMS: usize = 16;
const MAX_IMAGES: usize = 256;
const MAX_LAYERS: usize = 512;
const MAX_FILES: usize = 1024;
const MAX_ENVIRONMENT: usize = 1024;
/// No blob, file or archive is larger than this: 1 TiB. Sums of the sizes then fit in 64 bits.
pub(crate) const MAX_SIZE: u64 = 1 << 40;

/// A contradiction inside a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistency {
    /// A list is longer than any real product needs.
    #[error("{count} {what}, more than the {limit} allowed")]
    TooMany {
        /// What the list holds.
        what: &'static str,
        /// How many it holds.
        count: usize,
        /// How many it may hold.
        limit: usize,
    },
    /// A list that must hold something is empty.
    #[error("it names no {0}")]
    None(&'static str),
    /// Two entries of one list have the same name, or names that differ only in case.
    #[error("{what} `{name}` is there twice")]
    Twice {
        /// What the list holds.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A file is called like the manifest, its signature or the image archive.
    #[error("file `{0}` has a name that the format itself uses")]
    Reserved(String),
    /// A file is also the directory of another one.
    #[error("`{0}` is a file and a directory")]
    FileIsDirectory(String),
    /// `images` and `image_details` differ.
    #[error("`images` and `image_details` do not name the same images in the same order")]
    ImageLists,
    /// A reference is not the image's name with a tag.
    #[error("`{reference}` is not a reference `{name}:<tag>`")]
    Reference {
        /// The image's name.
        name: String,
        /// Its reference.
        reference: String,
    },
    /// An image's platforms are not the bundle's.
    #[error("image `{image}` is not there for exactly the bundle's platforms, in the same order")]
    Platforms {
        /// The image's name.
        image: String,
    },
    /// A list is not sorted.
    #[error("`{0}` is not sorted")]
    Unsorted(&'static str),
    /// One digest is recorded with two different sizes or uses.
    #[error("blob {0} is recorded in two ways")]
    Blob(Digest),
    /// A program is there for a platform that the bundle does not have.
    #[error("file `{file}` is for {platform}, which the bundle does not have")]
    FilePlatform {
        /// The file.
        file: String,
        /// Its platform.
        platform: String,
    },
    /// Two files have one role that only one can have.
    #[error("more than one file is the {0}")]
    Role(String),
    /// A size beyond all measure.
    #[error("{0} is larger than 1 TiB")]
    Size(String),
    /// A value has not the form that its key demands.
    #[error("`{key}` is `{value}`; expected {expected}")]
    Form {
        /// The key.
        key: &'static str,
        /// The value, shortened.
        value: String,
        /// What is expected.
        expected: &'static str,
    },
}

/// The images that a manifest of the old form names, each once.
pub(super) fn legacy_references(images: &[String]) -> Result<Vec<String>, Inconsistency> {
    let (what, count, limit) = ("images", images.len(), MAX_IMAGES);
    if count > limit {
        return Err(Inconsistency::TooMany { what, count, limit });
    }
    let mut references = Vec::new();
    for image in images {
        let name = image.rsplit_once(':').map_or(image.as_str(), |(name, _)| name);
        reference(name, image)?;
        // Services that share an image were listed one by one.
        if !references.contains(image) {
            references.push(image.clone());
        }
    }
    match references.is_empty() {
        true => Err(Inconsistency::None(what)),
        false => Ok(references),
    }
}

/// Checks `manifest` against itself.
pub(super) fn check(manifest: &Manifest) -> Result<(), Inconsistency> {
    counts(manifest)?;
    scalars(manifest)?;
    platforms(manifest)?;
    files(manifest)?;
    images(manifest)?;
    environment(manifest)
}

fn counts(manifest: &Manifest) -> Result<(), Inconsistency> {
    let limit = |what, count, limit| match count {
        0 => Err(Inconsistency::None(what)),
        count if count > limit => Err(Inconsistency::TooMany { what, count, limit }),
        _ => Ok(()),
    };
    limit("platforms", manifest.platforms.len(), MAX_PLATFORMS)?;
    limit("images", manifest.image_details.len(), MAX_IMAGES)?;
    limit("files", manifest.files.len(), MAX_FILES)?;
    limit("environment keys", manifest.environment.len().max(1), MAX_ENVIRONMENT)?;
    manifest
        .image_details
        .iter()
        .flat_map(|image| &image.platforms)
        .try_for_each(|image| limit("layers", image.layers.len(), MAX_LAYERS))
}

fn scalars(manifest: &Manifest) -> Result<(), Inconsistency> {
    if !is_utc_second(&manifest.created_at) {
        return Err(form("created_at", &manifest.created_at, "`YYYY-MM-DDThh:mm:ssZ`"));
    }
    if let Some(commit) = &manifest.commit
        && (!(7..=64).contains(&commit.len()) || !commit.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return Err(form("commit", commit, "7 to 64 hexadecimal digits"));
    }
    size("images.tar", manifest.images_size)
}

fn platforms(manifest: &Manifest) -> Result<(), Inconsistency> {
    if manifest.platforms.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(Inconsistency::Unsorted("platforms"));
    }
    Ok(())
}

fn files(manifest: &Manifest) -> Result<(), Inconsistency> {
    let mut names = HashSet::new();
    let mut roles = HashSet::new();
    for file in &manifest.files {
        if file.name.is_reserved() {
            return Err(Inconsistency::Reserved(file.name.to_string()));
        }
        if !names.insert(file.name.folded()) {
            return Err(Inconsistency::Twice {
                what: "file",
                name: file.name.to_string(),
            });
        }
        size(file.name.as_str(), file.size)?;
        let role = match &file.role {
            FileRole::Compose => "compose file".to_owned(),
            FileRole::Installer => "installer".to_owned(),
            FileRole::Updater { platform } => format!("updater for {platform}"),
            FileRole::ComposePlugin { platform } => format!("compose plugin for {platform}"),
            FileRole::Extra => continue,
        };
        if let FileRole::Updater { platform } | FileRole::ComposePlugin { platform } = &file.role
            && !manifest.platforms.contains(platform)
        {
            let (file, platform) = (file.name.to_string(), platform.to_string());
            return Err(Inconsistency::FilePlatform { file, platform });
        }
        if !roles.insert(role.clone()) {
            return Err(Inconsistency::Role(role));
        }
    }
    for name in &names {
        let directories = name.match_indices('/').map(|(end, _)| &name[..end]);
        // `images.tar/x` would make a directory of the archive as well.
        let reserved = [crate::names::MANIFEST, crate::names::SIGNATURE, crate::names::IMAGES];
        for directory in directories {
            if names.contains(directory) || reserved.contains(&directory) {
                return Err(Inconsistency::FileIsDirectory(directory.to_owned()));
            }
        }
    }
    if !roles.contains("compose file") {
        return Err(Inconsistency::None("compose file"));
    }
    Ok(())
}

fn images(manifest: &Manifest) -> Result<(), Inconsistency> {
    let references = manifest.image_details.iter().map(|image| &image.reference);
    if !references.eq(&manifest.images) {
        return Err(Inconsistency::ImageLists);
    }
    let mut names = HashSet::new();
    let mut blobs = BTreeMap::new();
    let mut diff_ids = HashMap::new();
    for image in &manifest.image_details {
        if !names.insert(&image.name) {
            return Err(Inconsistency::Twice {
                what: "image",
                name: shorten(&image.name),
            });
        }
        reference(&image.name, &image.reference)?;
        if !image
            .platforms
            .iter()
            .map(|image| &image.platform)
            .eq(&manifest.platforms)
        {
            return Err(Inconsistency::Platforms {
                image: image.name.clone(),
            });
        }
        for image in &image.platforms {
            each_blob(image, &mut blobs)?;
            for layer in &image.layers {
                size("an uncompressed layer", layer.uncompressed_size)?;
                let facts = (layer.diff_id, layer.uncompressed_size);
                if *diff_ids.entry(layer.digest).or_insert(facts) != facts {
                    return Err(Inconsistency::Blob(layer.digest));
                }
            }
        }
    }
    Ok(())
}

/// What a blob is, so that one digest cannot stand for two things.
#[derive(PartialEq)]
enum Kind {
    Manifest,
    Config,
    Layer,
}

fn each_blob(image: &PlatformImage, seen: &mut BTreeMap<Digest, (u64, Kind)>) -> Result<(), Inconsistency> {
    for (index, (digest, length)) in image.blobs().enumerate() {
        let kind = match index {
            0 => Kind::Manifest,
            1 => Kind::Config,
            _ => Kind::Layer,
        };
        size("a blob", length)?;
        let facts = (length, kind);
        match seen.get(&digest) {
            Some(before) if *before != facts => return Err(Inconsistency::Blob(digest)),
            Some(_) => {}
            None => {
                seen.insert(digest, facts);
            }
        }
    }
    Ok(())
}

fn reference(name: &str, reference: &str) -> Result<(), Inconsistency> {
    if crate::image::reference::is_name(name)
        && reference
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(':'))
            .is_some_and(crate::image::reference::is_tag)
    {
        Ok(())
    } else {
        Err(Inconsistency::Reference {
            name: shorten(name),
            reference: shorten(reference),
        })
    }
}

fn environment(manifest: &Manifest) -> Result<(), Inconsistency> {
    let mut names = HashSet::new();
    for key in &manifest.environment {
        let name = &key.name;
        let word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !word || name.is_empty() || name.len() > 128 || name.as_bytes()[0].is_ascii_digit() {
            return Err(form("environment.name", name, "letters, digits and `_`"));
        }
        if !names.insert(name) {
            return Err(Inconsistency::Twice {
                what: "environment key",
                name: name.clone(),
            });
        }
        match &key.value {
            EnvironmentValue::Default(text) if text.contains(['\n', '\r', '\0']) => {
                return Err(form("environment.value.default", text, "one line of text"));
            }
            EnvironmentValue::Generated { length } if !(16..=256).contains(length) => {
                let length = length.to_string();
                return Err(form("environment.value.generated.length", &length, "16 to 256"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn size(what: &str, size: u64) -> Result<(), Inconsistency> {
    if size > MAX_SIZE {
        Err(Inconsistency::Size(what.to_owned()))
    } else {
        Ok(())
    }
}

fn form(key: &'static str, value: &str, expected: &'static str) -> Inconsistency {
    Inconsistency::Form {
        key,
        value: shorten(value),
        expected,
    }
}

/// Whether `text` is `YYYY-MM-DDThh:mm:ssZ` with numbers in their ranges.
fn is_utc_second(text: &str) -> bool {
    let shape = b"dddd-dd-ddTdd:dd:ddZ";
    let bytes = text.as_bytes();
    let fits = bytes.len() == shape.len()
        && bytes.iter().zip(shape).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            _ => byte == shape,
        });
    let pair = |at: usize| (bytes[at] - b'0') * 10 + bytes[at + 1] - b'0';
    fits && (1..=12).contains(&pair(5))
        && (1..=31).contains(&pair(8))
        && pair(11) < 24
        && pair(14) < 60
        && pair(17) <= 60
}

#[cfg(test)]
mod tests {
    use super::is_utc_second;

    #[test]
    fn times() {
        assert!(is_utc_second("2026-01-31T23:59:59Z"));
        for text in [
            "",
            "2026-01-31",
            "2026-13-01T00:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T00:00:00+00:00",
        ] {
            assert!(!is_utc_second(text), "{text}");
        }
    }
}
