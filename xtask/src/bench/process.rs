//! What is known of a process that is measured, and the key that all bundles of a bench are signed with.

use std::{
    fs,
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

/// A run of a program that was watched.
pub(super) struct Run {
    /// How long it took.
    pub(super) seconds: f64,
    /// The most memory that it had, in bytes.
    pub(super) memory_bytes: f64,
}

/// Runs a program without input and output, and watches it.
///
/// # Errors
/// It fails.
pub(super) fn measure(command: &mut Command) -> Result<Run> {
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut memory_bytes = 0.0;
    let end = loop {
        if let Some(end) = child.try_wait()? {
            break end;
        }
        memory_bytes = peak_memory(child.id()).unwrap_or(memory_bytes);
        thread::sleep(Duration::from_millis(5));
    };
    let seconds = started.elapsed().as_secs_f64();
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    ensure!(end.success(), "`{}` failed: {end}", words.join(" "));
    Ok(Run { seconds, memory_bytes })
}

/// A key for the bench alone, the same for all of its runs.
pub(super) fn signing_key() -> Result<String> {
    static KEY: OnceLock<String> = OnceLock::new();
    if let Some(key) = KEY.get() {
        return Ok(key.clone());
    }
    let key = bundle::signature::generate(None)?.secret_file().to_owned();
    Ok(KEY.get_or_init(|| key).clone())
}

/// The most memory that a process has had so far, in bytes; none if it is gone.
pub(super) fn peak_memory(process: u32) -> Option<f64> {
    memory_of(&fs::read_to_string(format!("/proc/{process}/status")).ok()?, "VmHWM:")
}

/// A size in `/proc/PID/status` (`proc(5)`), in bytes.
pub(super) fn memory_of(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}
