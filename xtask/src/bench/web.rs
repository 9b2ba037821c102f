//! `cargo xtask bench web`: the page's weight, and what an upload of 2 GB costs, beside a plain copy over loopback.
//!
//! Flow: a daemon on a device without an engine, which serves all the same → each file of the page, as a browser gets it →
//! in turn, a file of 2 GB from a socket to the disk by nothing but a copy, and the same file uploaded by `curl`, while
//! a client tries passwords: each takes 19 MiB for a moment.
//!
//! Both write to the same disk and sync before they say that they are done. The updater is the release build.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::{
    apply::build_updater,
    figures::Figures,
    output::{hand_out, remove},
    process::{memory_of, peak_memory},
};

const ADDRESS: &str = "127.0.0.1:18496";
const SIZE: u64 = 2_000_000_000;
const MEBIBYTE: f64 = (1 << 20) as f64;

/// How long an idle daemon is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(10);

/// Measures and prints the table.
///
/// # Errors
/// A command of the measurement failed.
pub(super) fn run(root: &Path, runs: u32, write: Option<&Path>) -> Result<()> {
    let directory = root.join("target/bench/web");
    remove(&directory)?;
    fs::create_dir_all(&directory)?;
    let bundle = directory.join("bundle.tar.gz");
    make_bundle(&bundle)?;
    let device = Device::make(build_updater(root)?, directory)?;
    let (mut weight, mut idle, mut peak) = (0.0, 0.0, 0.0_f64);
    let (mut copies, mut uploads) = (Figures::default(), Figures::default());
    for turn in 1..=runs {
        eprintln!("turn {turn} of {runs}");
        // One daemon for each turn: the peak of memory is of one upload.
        let daemon = device.start()?;
        weight = page_weight()?;
        thread::sleep(IDLE);
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.0.id()))?;
        idle = memory_of(&status, "VmRSS:").context("no daemon")?;
        copies.push(copy(&bundle, &device.directory.join("opt/updates/copy"))?);
        uploads.push(device.upload(&bundle)?);
        peak = peak.max(peak_memory(daemon.0.id()).context("no daemon")?);
    }
    let mut table = String::from("| figure | target | measured |\n|---|---|---|\n");
    let mut row = |figure: &str, target: &str, found: String| {
        writeln!(table, "| {figure} | {target} | {found} |").ok();
    };
    row(
        "the page with all that it needs, compressed",
        "≤ 60 KB",
        format!("{:.1} KB", weight / 1000.0),
    );
    row(
        "resident memory when idle, serving",
        "≤ 16 MiB",
        format!("{:.1} MiB", idle / MEBIBYTE),
    );
    row(
        "peak resident memory, upload of 2 GB and logins",
        "≤ 48 MiB",
        format!("{:.1} MiB", peak / MEBIBYTE),
    );
    row(
        "speed of the upload ÷ of a copy",
        "≥ 0.8",
        format!("{:.2}", copies.ratios_to(&uploads)),
    );
    row("the copy, seconds", "", format!("{copies:.2}"));
    row("the upload, seconds", "", format!("{uploads:.2}"));
    writeln!(table, "\nMedians of {runs} turns, with the least and the most.").ok();
    remove(&device.directory)?;
    hand_out(&table, write)
}

/// A device that has no engine.
struct Device {
    updater: PathBuf,
    directory: PathBuf,
}

/// A daemon, until it is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Device {
    fn make(updater: PathBuf, directory: PathBuf) -> Result<Self> {
        for name in ["etc", "opt"] {
            fs::create_dir_all(directory.join(name))?;
        }
        let text = format!(
            "product = \"bench\"\nfolder = \"{0}/opt\"\nstate = \"{0}/state\"\ndocker-host = \"unix://{0}/none.sock\"\n\n\
             [web]\nlisten = \"{ADDRESS}\"\n",
            directory.display()
        );
        fs::write(directory.join("etc/updater.toml"), text)?;
        let device = Self { updater, directory };
        device.run(&["reset-password"])?;
        Ok(device)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.updater);
        command
            .arg("--config")
            .arg(self.directory.join("etc/updater.toml"))
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command().args(arguments).output()?;
        ensure!(output.status.success(), "updater {} failed", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn start(&self) -> Result<Daemon> {
        remove(&self.directory.join("state"))?;
        remove(&self.directory.join("opt/updates"))?;
        let mut command = self.command();
        // As the unit for systemd sets them.
        command
            .env("MALLOC_MMAP_THRESHOLD_", "4194304")
            .env("MALLOC_ARENA_MAX", "2");
        let daemon = Daemon(command.arg("daemon").stdout(Stdio::null()).spawn()?);
        let started = Instant::now();
        while TcpStream::connect(ADDRESS).is_err() {
            ensure!(
                started.elapsed() < Duration::from_secs(20),
                "the daemon does not listen on {ADDRESS}"
            );
            thread::sleep(Duration::from_millis(50));
        }
        Ok(daemon)
    }

    /// How long `curl` takes to upload a file, in seconds.
    fn upload(&self, bundle: &Path) -> Result<f64> {
        let token = self.run(&["token", "add", "bench"])?;
        let guess = Command::new("sh")
            .arg("-c")
            .arg(format!(
                "for n in 1 2 3 4; do curl -s -o /dev/null -H 'content-type: application/json' -d '{{\"password\":\"x\"}}' \
                 http://{ADDRESS}/api/v1/ota/session; done"
            ))
            .spawn()?;
        let started = Instant::now();
        let sh = Shell::new()?;
        let form = format!("file=@{}", bundle.display());
        let authorization = format!("Authorization: Bearer {token}");
        let answer = cmd!(
            sh,
            "curl --silent --show-error --form {form} --header {authorization} http://{ADDRESS}/api/v1/ota/upload"
        );
        let answer = answer.quiet().read()?;
        let seconds = started.elapsed().as_secs_f64();
        let mut guess = guess;
        guess.wait()?;
        let json: Value = serde_json::from_str(&answer)?;
        ensure!(json["status"] == "success", "the upload was refused: {answer}");
        Ok(seconds)
    }
}

/// A bundle in the form of the replaced procedure, which says of itself what the API looks at: mostly noise.
fn make_bundle(path: &Path) -> Result<()> {
    let out = io::BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut tar = tar::Builder::new(GzEncoder::new(out, Compression::none()));
    let manifest = serde_json::json!({
        "version": "9.9.9",
        "images_sha256": "0".repeat(64),
        "created_at": "2026-01-31T12:00:00",
        "changelog": "",
        "images": ["bench:9.9.9"],
    });
    let manifest = manifest.to_string();
    let mut append = |name: &str, size: u64, content: &mut dyn Read| {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content)
    };
    append("manifest.json", manifest.len() as u64, &mut manifest.as_bytes())?;
    append("images.tar", SIZE, &mut Noise(1).take(SIZE))?;
    tar.into_inner()?.finish()?.flush()?;
    Ok(())
}

/// Bytes that look random and are always the same.
struct Noise(u64);

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for bytes in buffer.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.copy_from_slice(&self.0.to_le_bytes()[..bytes.len()]);
        }
        Ok(buffer.len())
    }
}

/// How long a file takes from a socket to the disk, in seconds.
fn copy(from: &Path, to: &Path) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    fs::create_dir_all(to.parent().context("a file is in a directory")?)?;
    let mut file = File::create(to)?;
    let started = Instant::now();
    let sender = thread::spawn({
        let from = from.to_owned();
        move || -> io::Result<u64> { io::copy(&mut File::open(from)?, &mut TcpStream::connect(address)?) }
    });
    let (mut stream, _) = listener.accept()?;
    // As `cat` does it.
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        file.write_all(&buffer[..count])?;
    }
    file.sync_all()?;
    let seconds = started.elapsed().as_secs_f64();
    sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
    fs::remove_file(to)?;
    Ok(seconds)
}

/// The bytes of the page's files, as a browser gets them.
fn page_weight() -> Result<f64> {
    let sh = Shell::new()?;
    let get = |file: &str| -> Result<(String, f64)> {
        let size = cmd!(
            sh,
            "curl --silent --fail --output /dev/null --header Accept-Encoding:gzip"
        )
        .args(["--write-out", "%{size_download}"])
        .arg(format!("http://{ADDRESS}/ota/{file}"));
        let text = cmd!(sh, "curl --silent --fail --compressed http://{ADDRESS}/ota/{file}")
            .quiet()
            .read()?;
        Ok((text, size.quiet().read()?.parse()?))
    };
    let (page, mut sum) = get("")?;
    let mut files: Vec<_> = page
        .split('"')
        .filter(|text| [".js", ".css", ".svg"].iter().any(|ending| text.ends_with(ending)))
        .collect();
    files.sort_unstable();
    files.dedup();
    for file in files {
        sum += get(file)?.1;
    }
    Ok(sum)
}
