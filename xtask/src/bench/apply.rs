//! `cargo xtask bench apply`: an update against `tar -xzf`, `sha256sum`, `docker load` and `docker compose up -d`.
//!
//! Flow of a turn: an engine without the product → the replaced procedure's first installation, timed → everything
//! removed → ours, timed → everything removed but the first version's images → the replaced procedure's update of one
//! small layer → ours. Both sides load the same images into the same engine in the same turn.
//!
//! The replaced procedure's bundles are what its scripts made: `docker save`, then `tar -czf`. Ours are released by this
//! program. The updater is the release build; its phases' times are what it records itself, the whole is timed from
//! outside.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::{
    figures::Figures,
    output::{hand_out, remove},
    process::{memory_of, peak_memory, signing_key},
    product::Product,
};
use crate::{
    cargo::by_hand,
    ci,
    engines::{Engine, Kind, Running},
    setup::Mode,
};

const MEBIBYTE: f64 = (1 << 20) as f64;

/// Where the product's health is asked for: the bench answers itself, so that nothing waits for a program to start.
const HEALTH: &str = "127.0.0.1:18497";

/// How long an idle daemon is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(15);

/// The product of `bench pack`, made to run: the large image, and a service that no update changes.
const DOCKERFILE: &str = "\
FROM scratch AS bench
COPY nonce /
ADD database.tar /
ADD program.tar /
COPY small /small

FROM scratch AS steady
ADD database.tar /
";

const COMPOSE: &str = r#"name: bench
x-sleep: &sleep
  entrypoint: [/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2, --library-path, /usr/lib/x86_64-linux-gnu, /usr/bin/sleep, infinity]
  network_mode: none
  init: false
  stop_grace_period: 0s
services:
  bench:
    <<: *sleep
    image: bench-image:${BENCH_VERSION}
  steady:
    <<: *sleep
    image: bench-steady:${BENCH_VERSION}
"#;

const MANIFEST: &str = r#"[workspace]
resolver = "3"
members = ["member"]

[workspace.metadata.release]
product = "bench"
platforms = ["linux/amd64"]
images = [{ name = "bench-image", target = "bench" }, { name = "bench-steady", target = "steady" }]
health = { service = "bench", url = "http://127.0.0.1:18497/health", attempts = 10, interval-seconds = 1, soak-seconds = 0 }
"#;

/// Everything that is measured, a figure for each turn.
#[derive(Default)]
struct Measured {
    old_first: Figures,
    first: Figures,
    old_small: Figures,
    small: Figures,
    overhead: Figures,
    disk: Figures,
    memory: Figures,
    idle: Figures,
    steady_restarts: Figures,
    binary: f64,
}

/// Measures and prints the table.
///
/// # Errors
/// A command of the measurement failed.
pub(super) fn run(root: &Path, runs: u32, write: Option<&Path>) -> Result<()> {
    ci::setup(root, Mode::Plan)?;
    let updater = build_updater(root)?;
    let product = Product::make(root.join("target/bench/apply"))?;
    make_runnable(&product)?;
    Engine::wipe(Kind::Docker26Classic)?;
    let engine = Engine::start(Kind::Docker26Classic)?;
    answer_health()?;
    let bench = Turns {
        updater: &updater,
        product: &product,
        engine: &engine,
    };
    product.change_everything(0)?;
    let first = bench.release("1.0.0")?;
    let old_first = bench.old_bundle("1.0.0")?;
    product.change_small_layer(1)?;
    let second = bench.release("1.0.1")?;
    let old_second = bench.old_bundle("1.0.1")?;
    let mut measured = Measured {
        binary: fs::metadata(&updater)?.len() as f64,
        ..Measured::default()
    };
    // One turn warms both sides up.
    bench.turn([&old_first, &old_second], [&first, &second], &mut Measured::default())?;
    for turn in 1..=runs {
        eprintln!("turn {turn} of {runs}");
        bench.turn([&old_first, &old_second], [&first, &second], &mut measured)?;
    }
    engine.stop()?;
    Engine::wipe(Kind::Docker26Classic)?;
    hand_out(&measured.table(runs), write)
}

struct Turns<'a> {
    updater: &'a Path,
    product: &'a Product,
    engine: &'a Running,
}

/// A device of ours: its directories.
struct Device {
    directory: PathBuf,
}

/// One run of the updater.
struct Applied {
    seconds: f64,
    phases: Value,
    verify_seconds: f64,
    compose_seconds: f64,
    peak_bytes: f64,
    disk_bytes: f64,
}

impl Turns<'_> {
    fn turn(&self, old: [&Path; 2], new: [&Path; 2], measured: &mut Measured) -> Result<()> {
        self.remove_everything()?;
        measured.old_first.push(self.old_procedure(old[0])?);
        measured.old_small.push(self.old_procedure(old[1])?);
        self.remove_everything()?;
        let device = self.device()?;
        let first = self.apply(&device, new[0])?;
        measured.first.push(first.verify_seconds + first.sum(&["loading"]));
        let before = self.started_at("bench-steady-1")?;
        let small = self.apply(&device, new[1])?;
        measured.small.push(small.verify_seconds + small.sum(&["loading"]));
        let restarted = self.started_at("bench-steady-1")? != before;
        measured.steady_restarts.push(f64::from(u8::from(restarted)));
        for applied in [&first, &small] {
            let known = applied.sum(&["backing_up", "loading", "checking", "soaking"]);
            measured
                .overhead
                .push(applied.seconds - known - applied.verify_seconds - applied.compose_seconds);
            measured.disk.push(applied.disk_bytes);
            measured.memory.push(applied.peak_bytes);
        }
        measured.idle.push(self.idle_memory(&device)?);
        Ok(())
    }

    fn docker<'sh>(&self, sh: &'sh Shell) -> xshell::Cmd<'sh> {
        self.engine.docker(sh).quiet().ignore_stdout().ignore_stderr()
    }

    fn release(&self, version: &str) -> Result<PathBuf> {
        let program = std::env::current_exe()?;
        let sh = self.product.shell()?;
        cmd!(sh, "{program} release {version} --allow-dirty")
            .env("BENCH_SIGNING_KEY", signing_key()?)
            .quiet()
            .ignore_stderr()
            .ignore_stdout()
            .run()?;
        Ok(self.product.root.join(format!("dist/bench-update-{version}.tar.gz")))
    }

    /// What the old scripts would have made of the same images.
    fn old_bundle(&self, version: &str) -> Result<PathBuf> {
        let sh = self.product.shell()?;
        let bundle = self.product.root.join(format!("dist/bench-update-{version}.tar.gz"));
        let directory = self.product.root.join("target/old");
        fs::create_dir_all(&directory)?;
        cmd!(sh, "tar -xzf {bundle} -C {directory} images.tar").quiet().run()?;
        let images = directory.join("images.tar");
        self.docker(&sh).args(["load", "--input"]).arg(&images).run()?;
        let names = [format!("bench-image:{version}"), format!("bench-steady:{version}")];
        self.docker(&sh)
            .args(["save", "--output"])
            .arg(&images)
            .args(&names)
            .run()?;
        let old = self.product.root.join(format!("dist/old-{version}.tar.gz"));
        let _dir = sh.push_dir(&directory);
        cmd!(sh, "tar -czf {old} images.tar").quiet().run()?;
        Ok(old)
    }

    /// Extract, hash, load, sync: what it takes until a version could be started.
    fn old_procedure(&self, bundle: &Path) -> Result<f64> {
        let sh = self.product.shell()?;
        let directory = self.product.root.join("target/old");
        remove(&directory)?;
        fs::create_dir_all(&directory)?;
        let _dir = sh.push_dir(&directory);
        let started = Instant::now();
        cmd!(sh, "tar -xzf {bundle}").quiet().run()?;
        cmd!(sh, "sha256sum images.tar").quiet().ignore_stdout().run()?;
        self.docker(&sh).args(["load", "--input", "images.tar"]).run()?;
        cmd!(sh, "sync").quiet().run()?;
        let seconds = started.elapsed().as_secs_f64();
        drop(_dir);
        remove(&directory)?;
        Ok(seconds)
    }

    fn remove_everything(&self) -> Result<()> {
        let sh = self.product.shell()?;
        let containers = self
            .engine
            .docker(&sh)
            .quiet()
            .args(["ps", "--all", "--quiet"])
            .read()?;
        if !containers.is_empty() {
            self.docker(&sh)
                .args(["rm", "--force"])
                .args(containers.lines())
                .run()?;
        }
        self.docker(&sh).args(["system", "prune", "--all", "--force"]).run()?;
        cmd!(sh, "sync").quiet().run()?;
        Ok(())
    }

    fn device(&self) -> Result<Device> {
        let directory = self.product.root.join("target/device");
        remove(&directory)?;
        for name in ["etc", "opt"] {
            fs::create_dir_all(directory.join(name))?;
        }
        let text = format!(
            "product = \"bench\"\nfolder = \"{0}/opt\"\nstate = \"{0}/state\"\ndocker-host = \"{1}\"\n",
            directory.display(),
            self.engine.host()
        );
        fs::write(directory.join("etc/updater.toml"), text)?;
        for name in ["applied", "failed", "backups"] {
            fs::create_dir_all(directory.join("opt/updates").join(name))?;
        }
        Ok(Device { directory })
    }

    fn updater(&self, device: &Device) -> Command {
        let mut command = Command::new(self.updater);
        command
            .arg("--config")
            .arg(device.directory.join("etc/updater.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn apply(&self, device: &Device, bundle: &Path) -> Result<Applied> {
        // Dropped, as most are: one that is elsewhere is also copied, for a later rollback.
        let place = device
            .directory
            .join("opt/updates")
            .join(bundle.file_name().unwrap_or_default());
        fs::copy(bundle, &place)?;
        let sh = self.product.shell()?;
        cmd!(sh, "sync").quiet().run()?;
        let started = Instant::now();
        let mut child = self.updater(device).arg("apply").arg(&place).spawn()?;
        let (mut memory, mut disk) = (0.0_f64, 0.0_f64);
        let end = loop {
            if let Some(end) = child.try_wait()? {
                break end;
            }
            memory = peak_memory(child.id()).unwrap_or(memory);
            disk = disk.max(self.own_disk(device));
            thread::sleep(Duration::from_millis(10));
        };
        let seconds = started.elapsed().as_secs_f64();
        ensure!(end.success(), "the updater failed on {}: {end}", bundle.display());
        let output = self
            .updater(device)
            .args(["history", "--json"])
            .stdout(Stdio::piped())
            .output()?;
        let history: Value = serde_json::from_slice(&output.stdout)?;
        let facts = &history[0]["facts"];
        Ok(Applied {
            seconds,
            phases: facts["durations_ms"].clone(),
            verify_seconds: facts["verify_ms"].as_f64().unwrap_or_default() / 1000.0,
            compose_seconds: facts["compose_ms"].as_f64().unwrap_or_default() / 1000.0,
            peak_bytes: memory,
            disk_bytes: disk,
        })
    }

    /// What the updater itself keeps on the disk, beside bundles and backups.
    fn own_disk(&self, device: &Device) -> f64 {
        let state = size_of(&device.directory.join("state"));
        let opt: u64 = fs::read_dir(device.directory.join("opt"))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name() != "updates")
            .map(|entry| size_of(&entry.path()))
            .sum();
        (state + opt) as f64
    }

    fn started_at(&self, container: &str) -> Result<String> {
        let sh = self.product.shell()?;
        let format = "{{.State.StartedAt}} {{.RestartCount}}";
        Ok(self
            .engine
            .docker(&sh)
            .quiet()
            .args(["inspect", "--format", format, container])
            .read()?)
    }

    fn idle_memory(&self, device: &Device) -> Result<f64> {
        let mut daemon = Ended(self.updater(device).arg("daemon").spawn()?);
        thread::sleep(IDLE);
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.0.id()))?;
        ensure!(daemon.0.try_wait()?.is_none(), "the daemon ended");
        memory_of(&status, "VmRSS:").context("the daemon's memory is not known")
    }
}

/// A process that ends with its owner.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Applied {
    fn sum(&self, phases: &[&str]) -> f64 {
        let milliseconds: f64 = phases.iter().filter_map(|phase| self.phases[phase].as_f64()).sum();
        milliseconds / 1000.0
    }
}

impl Measured {
    fn table(&self, runs: u32) -> String {
        let mut out = String::new();
        let mut row = |figure: &str, target: &str, found: String, ours: String, old: String| {
            // Writing to a String cannot fail.
            writeln!(out, "| {figure} | {target} | {found} | {ours} | {old} |").ok();
        };
        let seconds = |figures: &Figures| format!("{figures:.2} s");
        let text = |text: &str| text.to_owned();
        let mebibytes = |bytes: f64| format!("{:.1} MiB", bytes / MEBIBYTE);
        row(
            "figure",
            "target",
            text("measured"),
            text("ours"),
            text("replaced procedure"),
        );
        row("---", "---", text("---"), text("---"), text("---"));
        row(
            "one small layer changed: verify and load ÷ replaced",
            "≤ 0.03",
            format!("{:.3}", self.small.ratios_to(&self.old_small)),
            seconds(&self.small),
            seconds(&self.old_small),
        );
        row(
            "first installation: verify, load and sync ÷ replaced",
            "≤ 0.7",
            format!("{:.3}", self.first.ratios_to(&self.old_first)),
            seconds(&self.first),
            seconds(&self.old_first),
        );
        let mut alone = |figure: &str, target: &str, found: String| {
            row(figure, target, found, String::new(), String::new());
        };
        alone("decision overhead", "≤ 0.3 s", seconds(&self.overhead));
        alone("extra disk at the peak", "≤ 4 MiB", mebibytes(self.disk.max()));
        alone("peak resident memory", "≤ 48 MiB", mebibytes(self.memory.max()));
        alone("resident memory when idle", "≤ 16 MiB", mebibytes(self.idle.max()));
        alone("binary, stripped", "≤ 16 MiB", mebibytes(self.binary));
        alone(
            "restarts of a service that did not change",
            "0",
            format!("{:.0}", self.steady_restarts.max()),
        );
        writeln!(out, "\nMedians of {runs} turns, with the least and the most.").ok();
        out
    }
}

pub(super) fn build_updater(root: &Path) -> Result<PathBuf> {
    let sh = Shell::new()?;
    sh.change_dir(root);
    by_hand(cmd!(sh, "cargo build --quiet --release --package updater"))
        .quiet()
        .run()?;
    Ok(root.join("target/release/updater"))
}

fn make_runnable(product: &Product) -> Result<()> {
    for (name, text) in [
        ("Dockerfile", DOCKERFILE),
        ("docker-compose.prod.yml", COMPOSE),
        ("Cargo.toml", MANIFEST),
    ] {
        fs::write(product.root.join(name), text)?;
    }
    Ok(())
}

/// Answers every request with "healthy", for as long as this process lives.
fn answer_health() -> Result<()> {
    let listener = TcpListener::bind(HEALTH).with_context(|| format!("cannot listen on {HEALTH}"))?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 1024];
            // A client that disconnects does not matter here.
            let asked = stream.read(&mut request);
            if asked.is_ok() {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .ok();
            }
        }
    });
    Ok(())
}

/// The bytes of all files in a directory, or of a file.
fn size_of(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| size_of(&entry.path())).sum(),
        // It may be gone again.
        Err(_) => fs::metadata(path).map_or(0, |file| file.len()),
    }
}
