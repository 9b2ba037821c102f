//! `cargo xtask bench pack`: the release against `docker save`, `sha256sum` and `tar -czf`.
//!
//! Flow of a turn: change the image from its bottom → build it on both engines → time the release from an empty
//! state → time the replaced procedure → change the small layer → build → time the release again → time a
//! release of which nothing changed → time `--plan`. Both sides see the same image in the same turn, so that ratios
//! hold when the machine's speed drifts.
//!
//! The replaced procedure runs on a classic store, as it did: `docker save` is then uncompressed.

use std::{fmt::Write as _, fs, path::Path, process::Command, time::Instant};

use anyhow::Result;
use xshell::{Shell, cmd};

use super::{
    figures::Figures,
    output::{hand_out, remove},
    process::{Run, measure, signing_key},
    product::Product,
};
use crate::{
    ci,
    engines::{Engine, Kind, Running},
    setup::Mode,
};

const MEBIBYTE: f64 = (1 << 20) as f64;

/// Everything that is measured, a figure for each turn.
#[derive(Default)]
struct Measured {
    old_seconds: Figures,
    old_bytes: Figures,
    full_seconds: Figures,
    full_bytes: Figures,
    memory_bytes: Figures,
    small_seconds: Figures,
    unchanged_seconds: Figures,
    plan_seconds: Figures,
}

/// Measures and prints the table.
///
/// # Errors
/// A command of the measurement failed.
pub(super) fn run(root: &Path, runs: u32, write: Option<&Path>) -> Result<()> {
    ci::setup(root, Mode::Plan)?;
    let classic = Engine::start(Kind::Docker26Classic)?;
    let product = Product::make(root.join("target/bench/pack"))?;
    let bench = Turns {
        product: &product,
        classic: &classic,
    };
    // One turn warms both sides up.
    bench.turn(0, &mut Measured::default())?;
    let mut measured = Measured::default();
    for turn in 1..=runs {
        eprintln!("turn {turn} of {runs}");
        bench.turn(turn, &mut measured)?;
    }
    classic.stop()?;
    hand_out(&measured.table(runs), write)
}

struct Turns<'a> {
    product: &'a Product,
    classic: &'a Running,
}

impl Turns<'_> {
    fn turn(&self, turn: u32, measured: &mut Measured) -> Result<()> {
        let sh = self.product.shell()?;
        let root = &self.product.root;
        self.product.change_everything(turn)?;
        self.warm_up(&sh)?;
        for directory in ["target", "dist"] {
            remove(&root.join(directory))?;
        }
        let full = self.release(&["release", "1.0.0"])?;
        let bundle = root.join("dist/bench-update-1.0.0.tar.gz");
        measured.full_seconds.push(full.seconds);
        measured.memory_bytes.push(full.memory_bytes);
        measured.full_bytes.push(fs::metadata(&bundle)?.len() as f64);
        self.old_procedure(&sh, measured)?;
        self.product.change_small_layer(turn + 1000)?;
        self.warm_up(&sh)?;
        measured
            .small_seconds
            .push(self.release(&["release", "1.0.1"])?.seconds);
        measured
            .unchanged_seconds
            .push(self.release(&["release", "1.0.1"])?.seconds);
        measured
            .plan_seconds
            .push(self.release(&["release", "1.0.1", "--plan"])?.seconds);
        Ok(())
    }

    /// Builds the image on both engines, so that both sides start from a warm build cache.
    fn warm_up(&self, sh: &Shell) -> Result<()> {
        let epoch = "SOURCE_DATE_EPOCH=1";
        cmd!(
            sh,
            "docker buildx build --quiet --build-arg {epoch} --platform linux/amd64 --output type=cacheonly ."
        )
        .quiet()
        .ignore_stdout()
        .run()?;
        let sh_classic = self.product.shell()?;
        sh_classic.set_var("DOCKER_HOST", self.classic.host());
        cmd!(
            sh_classic,
            "docker buildx build --quiet --load --tag bench-image:1.0.0 ."
        )
        .quiet()
        .ignore_stdout()
        .run()?;
        Ok(())
    }

    /// What this replaces, as its scripts had it.
    fn old_procedure(&self, sh: &Shell, measured: &mut Measured) -> Result<()> {
        let directory = self.product.root.join("target/old");
        fs::create_dir_all(&directory)?;
        let _dir = sh.push_dir(&directory);
        let _host = sh.push_env("DOCKER_HOST", self.classic.host());
        let started = Instant::now();
        cmd!(sh, "docker save --output images.tar bench-image:1.0.0")
            .quiet()
            .run()?;
        cmd!(sh, "sha256sum images.tar").quiet().ignore_stdout().run()?;
        cmd!(sh, "tar -czf bundle.tar.gz images.tar").quiet().run()?;
        measured.old_seconds.push(started.elapsed().as_secs_f64());
        measured
            .old_bytes
            .push(fs::metadata(directory.join("bundle.tar.gz"))?.len() as f64);
        drop(_dir);
        remove(&directory)
    }

    fn release(&self, arguments: &[&str]) -> Result<Run> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(arguments)
            .current_dir(&self.product.root)
            .env("BENCH_SIGNING_KEY", signing_key()?);
        measure(&mut command)
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
        let old = seconds(&self.old_seconds);
        let full = self.full_seconds.ratios_to(&self.old_seconds);
        let small = self.small_seconds.ratios_to(&self.old_seconds);
        let size = self.full_bytes.ratios_to(&self.old_bytes);
        let mebibytes = |figures: &Figures| format!("{:.1} MiB", figures.median() / MEBIBYTE);
        row(
            "figure",
            "target",
            "measured".to_owned(),
            "ours".to_owned(),
            "replaced procedure".to_owned(),
        );
        row("---", "---", "---".to_owned(), "---".to_owned(), "---".to_owned());
        row(
            "warm build cache to bundle ÷ replaced",
            "≤ 0.15",
            format!("{full:.3}"),
            seconds(&self.full_seconds),
            old.clone(),
        );
        row(
            "one small layer changed ÷ replaced",
            "≤ 0.06",
            format!("{small:.3}"),
            seconds(&self.small_seconds),
            old,
        );
        row(
            "bundle size ÷ replaced",
            "≤ 0.85",
            format!("{size:.3}"),
            mebibytes(&self.full_bytes),
            mebibytes(&self.old_bytes),
        );
        let memory = format!("{:.0} MiB", self.memory_bytes.max() / MEBIBYTE);
        row(
            "peak memory of a release",
            "≤ 128 MiB",
            memory,
            String::new(),
            String::new(),
        );
        row(
            "release with nothing changed",
            "≤ 1.5 s",
            seconds(&self.unchanged_seconds),
            String::new(),
            String::new(),
        );
        row(
            "`--plan`",
            "≤ 0.3 s",
            seconds(&self.plan_seconds),
            String::new(),
            String::new(),
        );
        writeln!(out, "\nMedians of {runs} turns, with the least and the most.").ok();
        out
    }
}
