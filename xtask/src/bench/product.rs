//! The product that is measured: one image of half a gigabyte, such as a monitoring product has.
//!
//! Its content is Debian's: a database with its libraries in one layer, Python with scientific packages in the next, and
//! a small layer on top that changes between releases. The large layers are made once and kept.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

use crate::setup::{
    apt::{Packages, Suite},
    cache::Cache,
};

/// The layer of the database.
const DATABASE: Packages = Packages {
    name: "bench-database",
    suite: Suite::Trixie,
    packages: &[
        "postgresql-17",
        "libllvm19",
        "libicu76",
        "libc6",
        "coreutils",
        "perl-base",
        "libssl3t64",
        "bash",
    ],
};

/// The layer of the program.
const PROGRAM: Packages = Packages {
    name: "bench-program",
    suite: Suite::Trixie,
    packages: &[
        "python3.13-minimal",
        "libpython3.13-minimal",
        "libpython3.13-stdlib",
        "python3-numpy",
        "python3-scipy",
        "python3-pandas",
        "python3-pandas-lib",
        "python3-sklearn",
        "python3-sklearn-lib",
        "python3-matplotlib",
        "python3-sympy",
        "python3-sqlalchemy",
        "python3-cryptography",
        "libopenblas0-pthread",
    ],
};

const DOCKERFILE: &str = "\
FROM scratch
COPY nonce /
ADD database.tar /
ADD program.tar /
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
    /// Its directory.
    pub root: PathBuf,
}

impl Product {
    /// Makes the workspace in `root`, anew but for the large archive.
    ///
    /// # Errors
    /// The toolchain cannot be read, or the directory cannot be written.
    pub(super) fn make(root: PathBuf) -> Result<Self> {
        let product = Self { root };
        for directory in [".git", "dist", "target"] {
            let path = product.root.join(directory);
            if path.exists() {
                fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        fs::create_dir_all(product.root.join("member/src"))?;
        product.write("Cargo.toml", MANIFEST)?;
        product.write(
            "member/Cargo.toml",
            "[package]\nname = \"member\"\nedition = \"2024\"\n",
        )?;
        product.write("member/src/lib.rs", "")?;
        product.write("Dockerfile", DOCKERFILE)?;
        product.write(".dockerignore", "*\n!nonce\n!small\n!*.tar\n")?;
        product.write(".gitignore", "/dist\n/target\n/*.tar\n/nonce\n/small\nCargo.lock\n")?;
        product.write("docker-compose.prod.yml", COMPOSE)?;
        product.large_layer(&DATABASE, "database.tar")?;
        product.large_layer(&PROGRAM, "program.tar")?;
        let sh = product.shell()?;
        cmd!(sh, "git init --quiet").run()?;
        cmd!(sh, "git add .").run()?;
        cmd!(
            sh,
            "git -c user.name=bench -c user.email=bench@localhost commit --quiet -m bench"
        )
        .run()?;
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
        let line = format!(
            "a line of the small layer, of turn {turn} and process {}\n",
            std::process::id()
        );
        self.write("small", &line.repeat((1 << 20) / line.len()))
    }

    /// A shell in the workspace.
    ///
    /// # Errors
    /// There is no current directory.
    pub(super) fn shell(&self) -> Result<Shell> {
        let sh = Shell::new()?;
        sh.change_dir(&self.root);
        Ok(sh)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.root.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// An archive of the packages' files.
    fn large_layer(&self, packages: &Packages, name: &str) -> Result<()> {
        let path = self.root.join(name);
        if path.exists() {
            return Ok(());
        }
        let directory = packages.unpack(&self.shell()?, &Cache::of_user()?)?;
        let mut files = Vec::new();
        list(&directory, &mut files)?;
        let partial = path.with_extension("partial");
        let mut archive = tar::Builder::new(io::BufWriter::new(File::create(&partial)?));
        for file in files {
            let mut header = tar::Header::new_gnu();
            let content = File::open(&file)?;
            header.set_size(content.metadata()?.len());
            // Programs among them are run by `bench apply`.
            header.set_mode(0o755);
            header.set_mtime(1);
            archive.append_data(&mut header, file.strip_prefix(&directory)?, content)?;
        }
        archive.into_inner()?.flush()?;
        Ok(fs::rename(partial, path)?)
    }
}

/// All plain files below `directory`, in an order that does not depend on the file system.
fn list(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
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
