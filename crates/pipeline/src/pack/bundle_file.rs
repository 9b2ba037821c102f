//! Packs one bundle: manifest, signature and archive.

use std::{
    collections::BTreeMap,
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};

use bundle::{
    Archive, Digest, DirStore, Platform,
    image::images_tar::{ImagesTar, Scope},
    pack::{Contents, write_tar_gz, write_zip},
};
use semver::Version;
use serde::{Deserialize, Serialize};

use super::{
    collected::Collected,
    keys::{Signer, public_keys},
    manifest::{self, BundleFile, files_for, images_for},
};
use crate::{
    Error, Result,
    facts::{Facts, Workspace},
    system::{
        files::{self, file_name, hash_file},
        interrupt,
        report::{Progress, bytes},
    },
};

/// Writes manifest, signature and one bundle.
#[derive(Clone, Debug, Serialize)]
pub struct PackBundle {
    /// The bundle's file.
    pub path: PathBuf,
    /// The archive's format.
    pub archive: Archive,
    /// The platforms in it.
    pub platforms: Vec<Platform>,
    /// Whether it holds all platforms of the release in one image index.
    pub multi_platform: bool,
}

/// What all bundles of a release are packed from.
#[derive(Debug, Default)]
pub(crate) struct PackInput {
    /// The images.
    pub collected: Collected,
    /// The files.
    pub files: Vec<BundleFile>,
    /// What was there when the release began.
    pub present: Present,
}

/// What is released, and who signs it.
pub(crate) struct Packer<'a> {
    /// The workspace.
    pub workspace: &'a Workspace,
    /// What is so.
    pub facts: &'a Facts,
    /// The version.
    pub version: &'a Version,
    /// Who signs.
    pub signer: &'a Signer,
}

/// Digests of files that were read while something else was waited for.
#[derive(Debug, Default)]
pub(crate) struct Present {
    program: Option<Digest>,
    bundles: BTreeMap<PathBuf, (Digest, u64)>,
}

impl Present {
    /// Reads this program and those of `bundles` that are there.
    pub(crate) fn read(bundles: &[PathBuf]) -> Self {
        let program = this_program().and_then(|program| hash_file(&program));
        Self {
            program: program.ok().map(|(digest, _)| digest),
            bundles: bundles
                .iter()
                .filter_map(|path| Some((path.clone(), hash_file(path).ok()?)))
                .collect(),
        }
    }
}

/// A bundle in `dist/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Packed {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// The platforms in it.
    pub platforms: Vec<Platform>,
    /// Whether it was there already, made from the same inputs.
    pub unchanged: bool,
}

/// What a bundle was made from, and what came out.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    inputs: Digest,
    sha256: Digest,
    size: u64,
}

impl Packer<'_> {
    /// Reads the files that bundles for any of the release's platforms carry.
    pub(crate) fn files(&self, collected: &Collected) -> Result<Vec<BundleFile>> {
        let keys = public_keys(&self.workspace.declaration, self.signer);
        manifest::files(self.workspace, collected, self.version, &keys)
    }

    /// Writes the bundle of `step`, unless it is there already.
    pub(crate) fn pack(&self, step: &PackBundle, input: &PackInput, progress: &Progress) -> Result<Packed> {
        let packed = self.try_pack(step, input, progress)?;
        let name = packed
            .path
            .strip_prefix(&self.workspace.root)
            .unwrap_or(&packed.path)
            .display();
        if packed.unchanged {
            progress.step(format_args!("{name} is up to date"));
        } else {
            progress.step(format_args!("{name} written, {}", bytes(packed.size)));
        }
        Ok(packed)
    }

    fn try_pack(&self, step: &PackBundle, input: &PackInput, progress: &Progress) -> Result<Packed> {
        let PackBundle {
            path,
            archive,
            platforms,
            multi_platform,
        } = step;
        let PackInput {
            collected,
            files,
            present,
        } = input;
        let store = DirStore::new(collected.stores.clone());
        let scope = match platforms.as_slice() {
            [platform] if !multi_platform => Scope::OnePlatform(platform.clone()),
            _ => Scope::AllPlatforms,
        };
        let images = ImagesTar::plan(&images_for(collected, platforms), &store, &scope)?;
        let files = files_for(files, platforms);
        let draft = |sha256| {
            manifest::manifest(
                self.workspace,
                self.facts,
                self.version,
                platforms,
                collected,
                &files,
                (&images, sha256),
            )
        };
        let inputs = self.inputs(&draft(Digest::of(b""))?, *archive, present)?;
        if let Some(packed) = self.unchanged(path, platforms, &inputs, present) {
            return Ok(packed);
        }
        let name = file_name(path);
        let bar = progress.bytes(&format!("hashing {name}"), images.size());
        let sha256 = images.sha256(&store, &|bytes| bar.inc(bytes))?;
        bar.finish();
        interrupt::check()?;
        let bytes = draft(sha256)?.to_json().map_err(bundle::PackError::from)?;
        let signature = self
            .signer
            .sign(&bytes, &self.workspace.declaration.product, self.version);
        let pack_files: Vec<_> = files.iter().map(|file| file.file.clone()).collect();
        let contents = Contents {
            manifest: &bytes,
            signature: Some(&signature),
            files: &pack_files,
            images: &images,
            store: &store,
            mtime: u64::try_from(self.facts.git.as_ref().map_or(0, |git| git.time)).unwrap_or_default(),
        };
        let bar = progress.bytes(&format!("packing {name}"), images.size());
        let temporary = files::temporary_beside(path)?;
        let written = write(*archive, temporary.as_file(), &contents, &|bytes| bar.inc(bytes));
        bar.finish();
        interrupt::check()?;
        let sha256 = match written? {
            Some(sha256) => sha256,
            None => hash_file(temporary.path())?.0,
        };
        let size = temporary.as_file().metadata().map_err(Error::io("read", path))?.len();
        files::persist(temporary, path)?;
        let stamp = Stamp { inputs, sha256, size };
        let text = serde_json::to_vec(&stamp).map_err(|error| Error::Content {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        files::write_atomically(&self.stamp_path(path), &text)?;
        Ok(Packed {
            path: path.to_owned(),
            size,
            sha256: sha256.hex(),
            platforms: platforms.to_vec(),
            unchanged: false,
        })
    }

    /// Everything that decides a bundle's bytes, as one digest.
    fn inputs(&self, draft: &bundle::manifest::Manifest, archive: Archive, present: &Present) -> Result<Digest> {
        let program = match present.program {
            Some(program) => program,
            None => hash_file(&this_program()?)?.0,
        };
        let mut bytes = draft.to_json().map_err(bundle::PackError::from)?;
        bytes.extend_from_slice(format!("{archive:?} {} {program}", self.signer.public_key()).as_bytes());
        Ok(Digest::of(&bytes))
    }

    /// The bundle that is there, if it is the one that would be written.
    fn unchanged(&self, path: &Path, platforms: &[Platform], inputs: &Digest, present: &Present) -> Option<Packed> {
        let stamp: Stamp = files::read_cache(&self.stamp_path(path))?;
        let (sha256, size) = *present.bundles.get(path)?;
        let same = stamp.inputs == *inputs && stamp.sha256 == sha256 && stamp.size == size;
        same.then(|| Packed {
            path: path.to_owned(),
            size,
            sha256: sha256.hex(),
            platforms: platforms.to_vec(),
            unchanged: true,
        })
    }

    fn stamp_path(&self, path: &Path) -> PathBuf {
        self.workspace
            .state
            .join("stamps")
            .join(format!("{}.json", file_name(path)))
    }
}

/// Writes the archive; gives its digest where writing it tells.
fn write(archive: Archive, file: &File, contents: &Contents<'_>, progress: &dyn Fn(u64)) -> Result<Option<Digest>> {
    let out = BufWriter::with_capacity(1 << 20, file);
    match archive {
        Archive::TarGz => Ok(Some(write_tar_gz(out, contents, progress)?)),
        Archive::Zip => write_zip(out, contents, progress).map(|()| None).map_err(Error::from),
    }
}

/// This program's file; on Linux even when it has been replaced since it was started.
fn this_program() -> Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() {
        Ok(running)
    } else {
        std::env::current_exe().map_err(Error::io("find", "this program"))
    }
}
