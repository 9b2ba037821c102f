//! The packages in an image, from the lists that package managers keep in its layers.

use std::io::{Read, Seek};

use bundle::{manifest::PlatformImage, read::VerifiedBundle, uncompressed};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The largest list that is read, in bytes; Debian's own is below 10 MiB on a full desktop.
const LARGEST_LIST: u64 = 64 << 20;

/// What stands for itself in a package URL.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');

/// A package in an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Package {
    /// Whose package it is.
    pub(super) kind: Kind,
    /// The distribution, as os-release has it.
    pub(super) distribution: String,
    /// Its name.
    pub(super) name: String,
    /// Its version.
    pub(super) version: String,
    /// Its architecture.
    pub(super) architecture: String,
}

/// A package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// dpkg
    Deb,
    /// apk
    Apk,
}

/// The lists of an image, as its layers one over the other have them.
#[derive(Debug, Default)]
struct Lists {
    dpkg: String,
    /// Of images that have no dpkg, but a file for each package.
    dpkg_each: Vec<String>,
    apk: String,
    os_release: String,
}

impl Package {
    /// The package URL.
    pub(super) fn purl(&self) -> String {
        let kind = match self.kind {
            Kind::Deb => "deb",
            Kind::Apk => "apk",
        };
        let encode = |text| utf8_percent_encode(text, PLAIN);
        format!(
            "pkg:{kind}/{}/{}@{}?arch={}",
            encode(&self.distribution),
            encode(&self.name),
            encode(&self.version),
            encode(&self.architecture)
        )
    }
}

/// All packages, sorted; the message if a layer cannot be read.
pub(super) fn of_image<S: Read + Seek>(
    bundle: &mut VerifiedBundle<S>,
    image: &PlatformImage,
) -> Result<Vec<Package>, String> {
    let mut lists = Lists::default();
    for layer in &image.layers {
        let read = |error: &dyn std::fmt::Display| format!("layer {}: {error}", layer.digest);
        let blob = bundle.open_blob(&layer.digest).map_err(|error| read(&error))?;
        let content = uncompressed(blob, &layer.media_type).map_err(|error| read(&error))?;
        lists.read_layer(content).map_err(|error| read(&error))?;
    }
    Ok(lists.packages())
}

impl Lists {
    /// Takes the lists that a layer has, in place of those of the layers below.
    fn read_layer(&mut self, layer: impl Read) -> std::io::Result<()> {
        let mut archive = tar::Archive::new(layer);
        for entry in archive.entries()? {
            let entry = entry?;
            let path = entry.path_bytes();
            let path = String::from_utf8_lossy(&path).trim_start_matches("./").to_owned();
            let list = match path.as_str() {
                "var/lib/dpkg/status" => &mut self.dpkg,
                "lib/apk/db/installed" | "usr/lib/apk/db/installed" => &mut self.apk,
                "etc/os-release" | "usr/lib/os-release" if entry.header().entry_type().is_file() => {
                    &mut self.os_release
                }
                path if path.starts_with("var/lib/dpkg/status.d/") && !path.ends_with(".md5sums") => {
                    self.dpkg_each.push(String::new());
                    match self.dpkg_each.last_mut() {
                        Some(list) => list,
                        None => continue,
                    }
                }
                _ => continue,
            };
            list.clear();
            let mut bytes = Vec::new();
            entry.take(LARGEST_LIST).read_to_end(&mut bytes)?;
            list.push_str(&String::from_utf8_lossy(&bytes));
        }
        Ok(())
    }

    fn packages(&self) -> Vec<Package> {
        let id = self.os_release.lines().find_map(|line| line.strip_prefix("ID="));
        let id = id.map(|id| id.trim_matches('"'));
        let mut packages = Vec::new();
        for list in self.dpkg_each.iter().chain([&self.dpkg]) {
            packages.extend(
                list.split("\n\n")
                    .filter_map(|paragraph| dpkg(paragraph, id.unwrap_or("debian"))),
            );
        }
        packages.extend(
            self.apk
                .split("\n\n")
                .filter_map(|paragraph| apk(paragraph, id.unwrap_or("alpine"))),
        );
        packages.sort();
        packages.dedup();
        packages
    }
}

/// A paragraph of dpkg's list, `deb-control(5)`; what was removed stays there with another status.
fn dpkg(paragraph: &str, distribution: &str) -> Option<Package> {
    let field = |name: &str| {
        paragraph
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    if field("Status:").is_some_and(|status| !status.ends_with(" installed")) {
        return None;
    }
    Some(Package {
        kind: Kind::Deb,
        distribution: distribution.to_owned(),
        name: field("Package:")?.to_owned(),
        version: field("Version:")?.to_owned(),
        architecture: field("Architecture:")?.to_owned(),
    })
}

/// A paragraph of apk's list: `P` is the name, `V` the version, `A` the architecture.
fn apk(paragraph: &str, distribution: &str) -> Option<Package> {
    let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name));
    Some(Package {
        kind: Kind::Apk,
        distribution: distribution.to_owned(),
        name: field("P:")?.to_owned(),
        version: field("V:")?.to_owned(),
        architecture: field("A:")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(files: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn purls(layers: &[Vec<u8>]) -> Vec<String> {
        let mut lists = Lists::default();
        for layer in layers {
            lists.read_layer(layer.as_slice()).unwrap();
        }
        lists.packages().iter().map(Package::purl).collect()
    }

    #[test]
    fn the_uppermost_list_counts() {
        let old = "Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n";
        let new = "Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: 1:2+b\n\n\
                   Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 3\n";
        let layers = [
            layer(&[
                ("var/lib/dpkg/status", old),
                ("usr/lib/os-release", "NAME=x\nID=raspbian\n"),
            ]),
            layer(&[("etc/passwd", "x")]),
            layer(&[("./var/lib/dpkg/status", new)]),
        ];
        assert_eq!(purls(&layers), ["pkg:deb/raspbian/a@1:2%2Bb?arch=all"]);
    }

    #[test]
    fn images_without_a_package_manager_and_with_another() {
        let layers = [
            layer(&[(
                "var/lib/dpkg/status.d/a",
                "Package: a\nVersion: 1\nArchitecture: arm64\n",
            )]),
            layer(&[(
                "var/lib/dpkg/status.d/b",
                "Package: b\nVersion: 2\nArchitecture: arm64\n",
            )]),
            layer(&[(
                "lib/apk/db/installed",
                "P:musl\nV:1.2.5-r9\nA:aarch64\nL:MIT\n\nP:zlib\nV:1\nA:x\n",
            )]),
        ];
        let expected = [
            "pkg:deb/debian/a@1?arch=arm64",
            "pkg:deb/debian/b@2?arch=arm64",
            "pkg:apk/alpine/musl@1.2.5-r9?arch=aarch64",
            "pkg:apk/alpine/zlib@1?arch=x",
        ];
        assert_eq!(purls(&layers), expected);
        assert!(purls(&[layer(&[("web", "x")])]).is_empty());
    }
}
