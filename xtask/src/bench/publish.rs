//! `cargo xtask bench publish`: the memory that publishing a large bundle needs.
//!
//! Flow: a part with one layer of noise, 1.9 GiB, made here → released as a bundle → a GitHub of our own on this machine →
//! `publish` in a process of its own, watched → the same again, which must find nothing to do.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufWriter, Read},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use bundle::{Digest, HashingWriter};
use github_double::{Access, GitHub};
use serde_json::{Value, json};
use xshell::{Shell, cmd};

use super::{
    figures::Figures,
    output::{hand_out, remove},
    process::{Run, measure, signing_key},
};

const MEBIBYTE: f64 = (1 << 20) as f64;

/// The layer's size in bytes: just below the size from which a bundle is split.
const LAYER: u64 = 1900 << 20;

const REPOSITORY: &str = "bench/bench";

const MANIFEST: &str = r#"[workspace]
resolver = "3"
members = ["member"]

[workspace.metadata.release]
product = "bench"
repository = "bench/bench"
platforms = ["linux/amd64"]
images = [{ name = "bench-image" }]
"#;

const FILES: [(&str, &str); 6] = [
    ("Cargo.toml", MANIFEST),
    (
        "member/Cargo.toml",
        "[package]\nname = \"member\"\nedition = \"2024\"\n",
    ),
    ("member/src/lib.rs", ""),
    ("Dockerfile", "FROM scratch\nCOPY member /\n"),
    (".gitignore", "/dist\n/target\nCargo.lock\n"),
    (
        "docker-compose.prod.yml",
        "services:\n  bench:\n    image: bench-image:${BENCH_VERSION}\n",
    ),
];

/// Measures and prints the table.
///
/// # Errors
/// A command of the measurement failed.
pub(super) fn run(root: &Path, runs: u32, write: Option<&Path>) -> Result<()> {
    let directory = root.join("target/bench/publish");
    remove(&directory)?;
    let bundle = release(&directory)?;
    let mut measured = Measured::default();
    for turn in 1..=runs {
        eprintln!("turn {turn} of {runs}");
        measured.turn(&directory, &bundle)?;
    }
    let size = fs::metadata(&bundle)?.len() as f64;
    remove(&directory)?;
    hand_out(&measured.table(size, runs), write)
}

/// Everything that is measured, a figure for each turn.
#[derive(Default)]
struct Measured {
    seconds: Figures,
    memory: Figures,
    again_seconds: Figures,
    again_requests: Figures,
}

impl Measured {
    fn turn(&mut self, directory: &Path, bundle: &Path) -> Result<()> {
        let sh = Shell::new()?;
        sh.change_dir(directory);
        let commit = cmd!(sh, "git rev-parse HEAD").quiet().read()?;
        let github = GitHub::start()?;
        {
            let mut world = github.world();
            world.add_token("bench", Access::Write);
            let repository = world.add_repository(REPOSITORY);
            repository.push("main", &commit, "bench", "2026-01-01T00:00:00Z".parse()?);
            repository.tag("v1.0.0", &commit);
        }
        let publish = |github: &GitHub| -> Result<Run> {
            let mut command = Command::new(std::env::current_exe()?);
            command
                .args(["publish".as_ref(), bundle.as_os_str()])
                .current_dir(directory)
                .env("GITHUB_API_URL", github.api_url())
                .env("GITHUB_TOKEN", "bench")
                .env_remove("GITHUB_REPOSITORY");
            measure(&mut command)
        };
        let first = publish(&github)?;
        self.seconds.push(first.seconds);
        self.memory.push(first.memory_bytes);
        ensure!(
            github.world().repository(REPOSITORY).latest().is_some(),
            "nothing was published"
        );
        github.forget_requests();
        self.again_seconds.push(publish(&github)?.seconds);
        let requests = github.requests();
        ensure!(
            requests.iter().all(|request| request.method == "GET"),
            "the second run sent something: {requests:#?}"
        );
        self.again_requests.push(requests.len() as f64);
        Ok(())
    }

    fn table(&self, size: f64, runs: u32) -> String {
        let mut out = String::new();
        let mut row = |figure: &str, target: &str, found: String| {
            // Writing to a String cannot fail.
            writeln!(out, "| {figure} | {target} | {found} |").ok();
        };
        row("figure", "target", "measured".to_owned());
        row("---", "---", "---".to_owned());
        let memory = format!("{:.0} MiB", self.memory.max() / MEBIBYTE);
        row("peak memory of publishing", "≤ 48 MiB", memory);
        row("publishing", "", format!("{:.1} s", self.seconds));
        row(
            "requests of a rerun",
            "≤ 3, no upload",
            format!("{:.0}, no upload", self.again_requests.max()),
        );
        row("a rerun", "", format!("{:.1} s", self.again_seconds));
        let size = size / MEBIBYTE;
        writeln!(
            out,
            "\nA bundle of {size:.0} MiB; medians of {runs} turns, with the least and the most."
        )
        .ok();
        out
    }
}

/// Makes the workspace, and its bundle from a part; the part is removed again.
fn release(directory: &Path) -> Result<PathBuf> {
    for (name, text) in FILES {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let sh = Shell::new()?;
    sh.change_dir(directory);
    cmd!(sh, "git init --quiet").run()?;
    cmd!(sh, "git add .").run()?;
    let name = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"];
    cmd!(sh, "git {name...} commit --quiet -m bench").run()?;
    let part = directory.join("target/part");
    write_part(&part, &cmd!(sh, "git rev-parse HEAD").quiet().read()?)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["release", "1.0.0", "--part", "target/part"])
        .current_dir(directory)
        .env("BENCH_SIGNING_KEY", signing_key()?);
    measure(&mut command)?;
    remove(&part)?;
    Ok(directory.join("dist/bench-update-1.0.0.tar.gz"))
}

/// A part of `commit` with one image of one layer.
fn write_part(directory: &Path, commit: &str) -> Result<()> {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let layer = write_layer(&blobs)?;
    let put = |media_type: &str, value: &Value| -> Result<Value> {
        let bytes = value.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        fs::write(blobs.join(digest.hex()), &bytes)?;
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
    };
    let config = json!({
        "created": "2026-01-01T00:00:00Z",
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [layer.diff_id] },
        "history": [{ "created": "2026-01-01T00:00:00Z", "created_by": "bench" }],
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put("application/vnd.oci.image.config.v1+json", &config)?,
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", "digest": layer.digest, "size": layer.size,
        }],
    });
    let mut entry = put("application/vnd.oci.image.manifest.v1+json", &manifest)?;
    entry["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    entry["annotations"] = json!({ "io.containerd.image.name": "docker.io/library/bench-image:1.0.0" });
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry],
        "annotations": { "org.update-bundle.commit": commit },
    });
    fs::write(directory.join("index.json"), index.to_string())?;
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(())
}

struct Layer {
    digest: Digest,
    diff_id: Digest,
    size: u64,
}

/// A layer with one file that does not compress.
fn write_layer(blobs: &Path) -> Result<Layer> {
    let path = blobs.join("layer");
    let mut file = HashingWriter::new(BufWriter::new(File::create(&path)?));
    let mut encoder = zstd::Encoder::new(&mut file, 1)?;
    let mut archive = tar::Builder::new(HashingWriter::new(&mut encoder));
    let mut header = tar::Header::new_gnu();
    header.set_size(LAYER);
    header.set_mode(0o644);
    archive.append_data(&mut header, "noise", Noise(1).take(LAYER))?;
    let (diff_id, _) = archive.into_inner()?.finish()?;
    encoder.finish()?;
    let (digest, size) = file.finish()?;
    fs::rename(path, blobs.join(digest.hex()))?;
    Ok(Layer { digest, diff_id, size })
}

/// Bytes that do not compress (xorshift64*).
struct Noise(u64);

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for piece in buffer.chunks_mut(8) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let bytes = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes();
            piece.copy_from_slice(&bytes[..piece.len()]);
        }
        Ok(buffer.len())
    }
}
