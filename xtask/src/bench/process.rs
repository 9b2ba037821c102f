//! What is known of a process that is measured, and the key that all bundles of a bench are signed with.

use std::{fs, sync::OnceLock};

use anyhow::Result;

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
