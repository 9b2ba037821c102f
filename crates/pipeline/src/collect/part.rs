//! Parts: what one machine built, for another to merge.
//!
//! A part is an OCI image layout with the images of some platforms, and the updater's binaries as artifacts
//! beside them. It can lie in a directory, a tar file, or a zip file as GitHub hands artifacts over. Its bytes
//! are checked against their digests like any layout's.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use bundle::{Digest, Platform};
use oci_spec::image::ImageManifest;
use serde::Serialize;

use super::layout::{Layout, LayoutImage, digest};
use crate::{
    Error, Problem, Result,
    pack::annotations::{COMMIT, DIRTY, ROLE, UNPINNED},
    system::{interrupt, report::Progress},
};

/// What a part was built from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PartOrigin {
    /// The commit; none in a part that something else than `build` made.
    pub commit: Option<String>,
    /// Whether files were not committed.
    pub dirty: bool,
    /// The images that no registry's digest pinned.
    pub unpinned: Vec<String>,
}

/// What the part in `layout` was built from.
pub(crate) fn origin(layout: &Layout) -> Result<PartOrigin> {
    let annotations = layout.annotations()?;
    let unpinned = annotations.get(UNPINNED).map(String::as_str).unwrap_or_default();
    Ok(PartOrigin {
        commit: annotations.get(COMMIT).cloned(),
        dirty: annotations.contains_key(DIRTY),
        unpinned: unpinned.split_whitespace().map(str::to_owned).collect(),
    })
}

/// Unpacks a part that was built elsewhere.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Import {
    /// The directory, tar or zip file.
    pub part: PathBuf,
    /// Where an archive is unpacked.
    #[serde(skip)]
    pub(crate) scratch: PathBuf,
    /// The commit that it must be built from.
    #[serde(skip)]
    pub(crate) commit: String,
}

impl Import {
    /// Gives the part's layout.
    pub(crate) fn run(&self, progress: &Progress) -> Result<Layout> {
        progress.step(format_args!("importing {}", self.part.display()));
        let layout = import(&self.part, &self.scratch)?;
        expect_commit(&self.part, &layout, &self.commit)?;
        Ok(layout)
    }
}

/// Checks that `part`, which is in `layout`, was built from `commit`.
fn expect_commit(part: &Path, layout: &Layout, commit: &str) -> Result<()> {
    let message = match origin(layout)?.commit {
        Some(found) if found == commit => return Ok(()),
        Some(found) => format!("was built from commit {found}, but {commit} is checked out"),
        None => "does not say from which commit it was built".to_owned(),
    };
    let problem = Problem::error(part.display().to_string(), message);
    Err(Error::Problems(vec![problem.hint(
        "check out the commit of the parts, or build them again with `cargo xtask build`",
    )]))
}

/// The updater's binary that `image` is, if it is one.
pub(crate) fn updater(layout: &Layout, image: &LayoutImage) -> Result<Option<(Platform, PathBuf)>> {
    if image.annotations.get(ROLE).map(String::as_str) != Some("updater") {
        return Ok(None);
    }
    let refused = |message: String| Error::Image {
        subject: layout.directory().display().to_string(),
        message,
    };
    let Some((platform, descriptor)) = image.manifests.first_key_value() else {
        return Err(refused("holds an updater for no platform".to_owned()));
    };
    let manifest: ImageManifest = layout.json(descriptor)?;
    let [binary] = manifest.layers().as_slice() else {
        return Err(refused("holds an updater that is not one file".to_owned()));
    };
    let expected = digest(binary).map_err(refused)?;
    let path = layout.blob_path(&expected);
    let file = File::open(&path).map_err(Error::io("read", &path))?;
    let (found, _) = bundle::hash_all(file).map_err(Error::io("read", &path))?;
    if found != expected {
        return Err(Error::Content {
            path,
            message: "does not have the digest that is its name".to_owned(),
        });
    }
    Ok(Some((platform.clone(), path)))
}

/// Makes the layout of `part` available as a directory; archives are unpacked into `scratch`.
fn import(part: &Path, scratch: &Path) -> Result<Layout> {
    if part.is_dir() {
        return Layout::open(part);
    }
    let mut file = File::open(part).map_err(Error::io("read", part))?;
    let mut magic = [0; 4];
    match file.read_exact(&mut magic) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(refused(
                part,
                "is neither a directory, nor a tar or zip file".to_owned(),
            ));
        }
        read => read.map_err(Error::io("read", part))?,
    }
    if scratch.exists() {
        fs::remove_dir_all(scratch).map_err(Error::io("remove", scratch))?;
    }
    fs::create_dir_all(scratch).map_err(Error::io("create", scratch))?;
    let file = File::open(part).map_err(Error::io("read", part))?;
    if magic == *b"PK\x03\x04" {
        unpack_zip(part, file, scratch)?;
    } else {
        match magic {
            [0x1f, 0x8b, ..] => unpack_tar(
                part,
                flate2::read::MultiGzDecoder::new(io::BufReader::new(file)),
                scratch,
            )?,
            _ => unpack_tar(part, io::BufReader::new(file), scratch)?,
        }
    }
    Layout::open(scratch)
}

fn unpack_tar(part: &Path, file: impl Read, scratch: &Path) -> Result<()> {
    let read = |error: io::Error| match error.raw_os_error() {
        Some(_) => Error::io("read", part)(error),
        None => refused(part, format!("is neither a directory, nor a tar or zip file: {error}")),
    };
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries().map_err(read)? {
        let mut entry = entry.map_err(read)?;
        if entry.header().entry_type().is_dir() {
            continue;
        }
        let name = entry.path().map_err(read)?.into_owned();
        if !entry.header().entry_type().is_file() {
            return Err(refused(part, format!("{} is not a plain file", name.display())));
        }
        unpack_file(part, scratch, &name, &mut entry)?;
    }
    Ok(())
}

fn unpack_zip(part: &Path, file: File, scratch: &Path) -> Result<()> {
    let unreadable = |error: zip::result::ZipError| refused(part, error.to_string());
    let mut archive = zip::ZipArchive::new(file).map_err(unreadable)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(unreadable)?;
        if entry.is_dir() {
            continue;
        }
        let name = PathBuf::from(entry.name().map_err(unreadable)?.as_ref());
        unpack_file(part, scratch, &name, &mut entry)?;
    }
    Ok(())
}

/// Unpacks one file, if its name is one that a layout has.
fn unpack_file(part: &Path, scratch: &Path, name: &Path, content: &mut impl Read) -> Result<()> {
    let name: PathBuf = name.components().filter(|part| *part != Component::CurDir).collect();
    let text = name.to_string_lossy();
    let is_blob = text
        .strip_prefix("blobs/sha256/")
        .is_some_and(|hex| Digest::from_hex(hex).is_ok());
    if !is_blob && text != "index.json" && text != "oci-layout" {
        return Err(refused(
            part,
            format!("{text} does not belong into an OCI image layout"),
        ));
    }
    let path = scratch.join(&name);
    let directory = path.parent().unwrap_or(scratch);
    fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    if path.exists() {
        return Err(refused(part, format!("{text} is in it twice")));
    }
    let mut file = File::create_new(&path).map_err(Error::io("create", &path))?;
    io::copy(&mut interrupt::Watch(content), &mut file).map_err(interrupt::or_io("unpack", part))?;
    Ok(())
}

fn refused(part: &Path, message: String) -> Error {
    Error::Image {
        subject: part.display().to_string(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::pack::{
        collected::Collected,
        part::{artifact, entry, write},
    };

    fn tar_with(name: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut builder = tar::Builder::new(file.as_file());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, &b"x"[..]).unwrap();
        builder.finish().unwrap();
        drop(builder);
        file
    }

    #[test]
    fn names_that_no_layout_has_are_refused() {
        let hex = "a".repeat(64);
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "../index.json",
            "/index.json",
            "blobs/sha256/x",
            "a",
            &format!("blobs/sha256/../{hex}"),
        ] {
            let part = tar_with(name);
            let error = import(part.path(), &dir.path().join("scratch"))
                .unwrap_err()
                .to_string();
            assert!(error.contains("does not belong"), "{name}: {error}");
        }
        let part = tar_with(&format!("./blobs/sha256/{hex}"));
        let error = import(part.path(), &dir.path().join("scratch"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("`oci-layout` is missing"), "{error}");
    }

    #[test]
    fn a_part_says_what_it_was_built_from() {
        let directory = tempfile::tempdir().unwrap();
        let part = directory.path().join("part");
        let mut collected = Collected::default();
        write(&part, &collected, "c0ffee").unwrap();
        let layout = Layout::open(&part).unwrap();
        let clean = PartOrigin {
            commit: Some("c0ffee".to_owned()),
            dirty: false,
            unpinned: Vec::new(),
        };
        assert_eq!(origin(&layout).unwrap(), clean);
        fs::remove_dir_all(&part).unwrap();
        collected.dirty = true;
        collected.unpinned = ["postgres:17".to_owned(), "rust:1".to_owned()].into();
        write(&part, &collected, "c0ffee").unwrap();
        let origin = origin(&layout).unwrap();
        assert!(origin.dirty);
        assert_eq!(origin.unpinned, ["postgres:17", "rust:1"]);
    }

    #[test]
    fn a_part_of_another_commit_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let part = directory.path().join("part");
        write(&part, &Collected::default(), "c0ffee").unwrap();
        let layout = Layout::open(&part).unwrap();
        let refused_for = |commit: &str| {
            expect_commit(Path::new("part"), &layout, commit)
                .unwrap_err()
                .to_string()
        };
        expect_commit(&part, &layout, "c0ffee").unwrap();
        assert!(
            refused_for("decaf").starts_with("error: part: was built from commit c0ffee, but decaf is checked out"),
            "{}",
            refused_for("decaf")
        );
        let index = json!({ "schemaVersion": 2, "manifests": [] });
        fs::write(part.join("index.json"), index.to_string()).unwrap();
        assert!(
            refused_for("c0ffee").starts_with("error: part: does not say from which commit"),
            "{}",
            refused_for("c0ffee")
        );
    }

    #[test]
    fn files_that_are_no_part() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("part");
        let noise = [b'x'; 2000];
        for bytes in [&b""[..], b"abc", &noise, b"PK\x03\x04", b"\x1f\x8b"] {
            fs::write(&part, bytes).unwrap();
            let error = import(&part, &dir.path().join("scratch")).unwrap_err();
            assert_eq!(error.exit_code(), 4, "{bytes:?}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_there_twice() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("part");
        let mut builder = tar::Builder::new(File::create(&part).unwrap());
        for _ in 0..2 {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            builder.append_data(&mut header, "index.json", io::empty()).unwrap();
        }
        builder.into_inner().unwrap();
        let error = import(&part, &dir.path().join("scratch")).unwrap_err().to_string();
        assert!(error.ends_with("index.json is in it twice"), "{error}");
    }

    /// The updater's binary is found through its manifest, so that is checked like any blob.
    #[test]
    fn an_updater_whose_manifest_was_changed() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = dir.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(dir.path().join("oci-layout"), "{}").unwrap();
        let save = |digest: &Digest, bytes: &[u8]| fs::write(blobs.join(digest.hex()), bytes).unwrap();
        let (good, evil) = (artifact(b"good", b"{}"), artifact(b"evil", b"{}"));
        save(&Digest::of(b"good"), b"good");
        save(&Digest::of(b"evil"), b"evil");
        let annotations = BTreeMap::from([(ROLE.to_owned(), "updater".to_owned())]);
        let digest = Digest::of(&good);
        let entry = entry(
            &digest,
            good.len() as u64,
            &"linux/amd64".parse().unwrap(),
            &annotations,
        );
        let index = json!({ "schemaVersion": 2, "manifests": [entry] });
        fs::write(dir.path().join("index.json"), index.to_string()).unwrap();
        let found = || {
            let layout = Layout::open(dir.path())?;
            updater(&layout, &layout.images()?[0])
        };
        save(&digest, &good);
        assert!(found().unwrap().unwrap().1.ends_with(Digest::of(b"good").hex()));
        save(&digest, &evil);
        let error = found().unwrap_err().to_string();
        assert!(error.ends_with("does not have the digest that is its name"), "{error}");
    }
}
