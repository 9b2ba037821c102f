//! Names of bundle files.
//!
//! ```text
//! <product>-update-<version>[-<platform>…].tar.gz | .zip     a bundle; platforms as `Platform::suffix` writes them
//! <bundle>.part-001, <bundle>.part-002, …                     its parts
//! <bundle>.parts.json                                         the list of its parts
//! ```
//!
//! A version can hold hyphens (`1.0.0-rc.1`), so a name is compared with a product and a version, and never parsed into
//! them. What is in a file, its name does not prove: that is [`crate::read`]'s.

use std::fmt;

use semver::Version;
use serde::{Serialize, Serializer};

use crate::names::{EntryName, ProductName};
use crate::platform::Platform;

/// The two forms of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Archive {
    /// One tar in gzip members.
    TarGz,
    /// A zip.
    Zip,
}

impl Archive {
    /// Both, the usual one first.
    pub const ALL: [Self; 2] = [Self::TarGz, Self::Zip];

    /// What names end with, without the dot before it.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::TarGz => "tar.gz",
            Self::Zip => "zip",
        }
    }

    /// The form that the name of a file announces.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|archive| split_extension(name, *archive).is_some())
    }

    /// The form of a file that begins with `bytes`, of which four are enough.
    #[must_use]
    pub fn of_content(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Self::TarGz),
            [b'P', b'K', 0x03, 0x04, ..] => Some(Self::Zip),
            _ => None,
        }
    }
}

impl Serialize for Archive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.extension())
    }
}

/// The name of a bundle's file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleName(String);

impl BundleName {
    /// The name of the bundle with all platforms of a release.
    #[must_use]
    pub fn of_all(product: &ProductName, version: &Version, archive: Archive) -> Self {
        Self::of_some(product, version, &[], archive)
    }

    /// The name of a bundle with only `platforms`, which it names.
    #[must_use]
    pub fn of_some(product: &ProductName, version: &Version, platforms: &[Platform], archive: Archive) -> Self {
        let mut name = stem(product, version);
        for platform in platforms {
            name.push('-');
            name.push_str(&platform.suffix());
        }
        name.push('.');
        name.push_str(archive.extension());
        Self(name)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a file called `name` can be a bundle, or the list of one in parts. Hidden files are not: they are still
    /// being written.
    #[must_use]
    pub fn is_one(name: &str) -> bool {
        let bundle = name.strip_suffix(LIST_ENDING);
        !name.starts_with('.') && (bundle.is_some() || Archive::of_name(name).is_some())
    }

    /// Whether `name` is that of a bundle of `product`, of any version.
    #[must_use]
    pub fn is_of_product(name: &str, product: &str) -> bool {
        let rest = name.strip_prefix(product).and_then(|rest| rest.strip_prefix(MARK));
        rest.is_some_and(|rest| Archive::of_name(rest).is_some())
    }

    /// Whether `name` is that of a bundle of this very version, for any of the `declared` platforms. A bundle of
    /// `1.0.0-rc.1` is not one of `1.0.0`.
    #[must_use]
    pub fn is_of_version(name: &str, product: &ProductName, version: &Version, declared: &[Platform]) -> bool {
        let rest = name.strip_prefix(&stem(product, version));
        let platforms = rest.and_then(|rest| {
            Archive::ALL
                .into_iter()
                .find_map(|archive| split_extension(rest, archive))
        });
        let Some(mut platforms) = platforms else {
            return false;
        };
        while !platforms.is_empty() {
            // `amd64` begins `amd64-v2`, so the shortest rest is right.
            let rests = declared
                .iter()
                .filter_map(|platform| platforms.strip_prefix('-')?.strip_prefix(&platform.suffix()));
            match rests.min_by_key(|rest| rest.len()) {
                Some(rest) => platforms = rest,
                None => return false,
            }
        }
        true
    }
}

impl fmt::Display for BundleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands between the product and the version.
const MARK: &str = "-update-";

fn stem(product: &ProductName, version: &Version) -> String {
    format!("{product}{MARK}{version}")
}

fn split_extension(name: &str, archive: Archive) -> Option<&str> {
    name.strip_suffix(archive.extension())?.strip_suffix('.')
}

/// What the name of a list ends with, after the bundle's name.
pub const LIST_ENDING: &str = ".parts.json";

/// What stands between the bundle's name and a part's number.
const PART_MARK: &str = ".part-";

/// The longest name of a bundle, so that its parts' names are no longer than other names.
const MAX_NAME: usize = 80;

/// The name of the list of a bundle's parts.
#[must_use]
pub fn list_name(bundle: &str) -> String {
    format!("{bundle}{LIST_ENDING}")
}

/// The name of a bundle's part; the first has the index 0 and the number 001.
#[must_use]
pub fn part_name(bundle: &str, index: usize) -> String {
    format!("{bundle}{PART_MARK}{:03}", index + 1)
}

/// The bundle whose list is called `name`; none if no list is called so.
#[must_use]
pub fn bundle_of_list(name: &str) -> Option<&str> {
    name.strip_suffix(LIST_ENDING).filter(|bundle| is_bundle_name(bundle))
}

/// The bundle whose part is called `name`; none if no part is called so.
#[must_use]
pub fn bundle_of_part(name: &str) -> Option<&str> {
    let (bundle, number) = name.rsplit_once(PART_MARK)?;
    let is_number = number.len() == 3 && number.bytes().all(|b| b.is_ascii_digit());
    (is_number && is_bundle_name(bundle)).then_some(bundle)
}

/// A plain name that is not hidden.
pub(crate) fn is_bundle_name(name: &str) -> bool {
    name.len() <= MAX_NAME && !name.contains('/') && !name.starts_with('.') && name.parse::<EntryName>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platforms<const N: usize>(names: [&str; N]) -> [Platform; N] {
        names.map(|platform| platform.parse().unwrap())
    }

    #[test]
    fn names_are_put_together() {
        let product = "hello".parse().unwrap();
        let version = Version::parse("1.0.0-rc.1").unwrap();
        let all = BundleName::of_all(&product, &version, Archive::TarGz);
        assert_eq!(all.as_str(), "hello-update-1.0.0-rc.1.tar.gz");
        let some = BundleName::of_some(
            &product,
            &version,
            &platforms(["linux/amd64", "linux/arm/v7"]),
            Archive::Zip,
        );
        assert_eq!(some.to_string(), "hello-update-1.0.0-rc.1-amd64-arm-v7.zip");
        assert!(BundleName::is_of_product(some.as_str(), "hello"));
        assert!(!BundleName::is_of_product(some.as_str(), "hell"));
        assert!(!BundleName::is_of_product("hello-update-1.0.0.tar", "hello"));
    }

    #[test]
    fn files_that_can_be_bundles() {
        for (name, expected) in [
            ("hello-update-1.0.0.tar.gz", true),
            ("a.zip", true),
            ("hello-update-1.0.0.tar.gz.parts.json", true),
            ("hello-update-1.0.0.tar.gz.part-001", false),
            (".hello-update-1.0.0.tar.gz", false),
            ("hello-update-1.0.0.tar", false),
            ("targz", false),
        ] {
            assert_eq!(BundleName::is_one(name), expected, "{name}");
        }
    }

    #[test]
    fn bundles_of_a_version_and_of_others() {
        let declared = platforms(["linux/amd64", "linux/arm64", "linux/arm/v7"]);
        let product = "hello".parse().unwrap();
        let is_one = |name: &str| BundleName::is_of_version(name, &product, &Version::new(1, 0, 0), &declared);
        for name in [
            "hello-update-1.0.0.tar.gz",
            "hello-update-1.0.0.zip",
            "hello-update-1.0.0-arm-v7.tar.gz",
            "hello-update-1.0.0-amd64-arm64.zip",
        ] {
            assert!(is_one(name), "{name}");
        }
        for name in [
            "hello-update-1.0.0-rc.1.tar.gz",
            "hello-update-1.0.0-rc.1-amd64.tar.gz",
            "hello-update-1.0.01.tar.gz",
            "hello-update-1.0.0-amd64/../../secret.zip",
            "hello-update-1.0.0-riscv64.tar.gz",
            "hello-update-1.0.0",
            "install.sh",
        ] {
            assert!(!is_one(name), "{name}");
        }
    }
}
