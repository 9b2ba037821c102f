//! The product that is measured: one image of half a gigabyte, made of the Rust toolchain that measures it.
//!
//! Its content is what every machine that can run this has: libraries and programs of the toolchain, and
//! a small layer on top that changes between releases. It is taken apart once and kept.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

/// The size that the image's large layer is cut to, in bytes.
const LARGE_LAYER: u64 = 560 << 20;

const DOCKERFILE: &str = "\
FROM scratch
COPY nonce /
ADD toolchain.tar /
COPY small /small
";

const COMPOSE: &str = "\
services:
  bench:
    image: bench-image:${BENCH_VERSION}
";

const MANIFEST: &str = r#"[workspace]
resolver = "3"
members = ["member"]

[workspace.metadata.release]
product = "bench"
platforms = ["linux/amd64"]
images = [{ name = "bench-image" }]
"#;

/// A workspace with the product.
pub(super) struct Product {
    /// Its folder.
    pub root: PathBuf,
}

impl Product {
    /// Makes the workspace in `root`, anew but for the large archive.
    ///
    /// # Errors
    /// The toolchain cannot be read, or the folder cannot be written.
    pub(super) fn make(root: PathBuf) -> Result<Self> {
        let product = Self { root };
        for folder in [".git", "dist", "target"] {
            let path = product.root.join(folder);
            if path.exists() {
                fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        fs::create_dir_all(product.root.join("member/src"))?;
        product.write("Cargo.toml", MANIFEST)?;
        product.write("member/Cargo.toml", "[package]\nname = \"member\"\nedition = \"2024\"\n")?;
        product.write("member/src/lib.rs", "")?;
        product.write("Dockerfile", DOCKERFILE)?;
        product.write(".dockerignore", "*\n!nonce\n!small\n!toolchain.tar\n")?;
        product.write(".gitignore", "/dist\n/target\n/toolchain.tar\n/nonce\n/small\nCargo.lock\n")?;
        product.write("docker-compose.prod.yml", COMPOSE)?;
        product.large_layer()?;
        let sh = product.shell()?;
        cmd!(sh, "git init --quiet").run()?;
        cmd!(sh, "git add .").run()?;
        cmd!(sh, "git -c user.name=bench -c user.email=bench@localhost commit --quiet -m bench").run()?;
        Ok(product)
    }

    /// Changes the bottom of the image, so that every layer above it is built anew.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn change_everything(&self, turn: u32) -> Result<()> {
        self.write("nonce", &format!("{turn} {}\n", std::process::id()))?;
        self.change_small_layer(turn)
    }

    /// Changes the small layer on top: one mebibyte.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn change_small_layer(&self, turn: u32) -> Result<()> {
        let line = format!("a line of the small layer, of turn {turn} and process {}\n", std::process::id());
        self.write("small", &line.repeat((1 << 20) / line.len()))
    }

    /// A shell in the workspace.
    ///
    /// # Errors
    /// There is no current folder.
    pub(super) fn shell(&self) -> Result<Shell> {
        let sh = Shell::new()?;
        sh.change_dir(&self.root);
        Ok(sh)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.root.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// An archive of the toolchain's files, cut at [`LARGE_LAYER`].
    fn large_layer(&self) -> Result<()> {
        let path = self.root.join("toolchain.tar");
        if fs::metadata(&path).is_ok_and(|file| file.len() >= LARGE_LAYER) {
            return Ok(());
        }
        let sh = self.shell()?;
        let sysroot = PathBuf::from(cmd!(sh, "rustc --print sysroot").read()?);
        let mut files = Vec::new();
        list(&sysroot, &mut files)?;
        let registry = std::env::home_dir().map(|home| home.join(".cargo/registry/src"));
        if let Some(registry) = registry.filter(|registry| registry.is_dir()) {
            list(&registry, &mut files)?;
        }
        let mut archive = tar::Builder::new(io::BufWriter::new(File::create(&path)?));
        let mut written = 0;
        for (index, file) in files.iter().enumerate() {
            written += append(&mut archive, index, file)?;
            if written >= LARGE_LAYER {
                break;
            }
        }
        Ok(archive.into_inner()?.flush()?)
    }
}

/// Appends a file under a numbered name; gives the bytes written.
fn append(archive: &mut tar::Builder<impl Write>, index: usize, path: &Path) -> Result<u64> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(1);
    archive.append_data(&mut header, format!("toolchain/{index:06}"), file)?;
    Ok(512 + size.next_multiple_of(512))
}

/// All plain files below `folder`, in an order that does not depend on the file system.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}
