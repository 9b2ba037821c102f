//! What an engine leaves behind that was killed: processes of its containers, mounts, and files that name its process.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use pipeline::system::process;
use xshell::{Shell, cmd};

/// The files in an engine's runtime directory that name a process. The number may be a killed one's, whose parent has
/// not taken note, and then the engine would not start.
const PID_FILES: [&str; 2] = ["dockerd.pid", "exec/containerd/containerd.pid"];

/// Forgets the processes of an engine that does not run.
pub(super) fn forget_processes(runtime: &Path) {
    for file in PID_FILES {
        // Mostly not there.
        fs::remove_file(runtime.join(file)).ok();
    }
}

/// Ends what still runs of an engine that does not, and takes its mounts away. Its processes are known by `namespace` or
/// the runtime directory among their arguments.
///
/// # Errors
/// A mount cannot be taken away.
pub(super) fn remove(sh: &Shell, namespace: &str, runtime: &Path, state: &Path) -> Result<()> {
    let runtime_text = runtime.display().to_string();
    for pid in processes(&[namespace, &runtime_text]) {
        let children = children(&pid);
        for pid in std::iter::once(pid).chain(children) {
            // It may have ended by itself.
            process::read(cmd!(sh, "kill -KILL {pid}")).ok();
        }
    }
    let mounts = fs::read_to_string("/proc/mounts").context("cannot read /proc/mounts")?;
    let mut ours: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(state) || mount.starts_with(runtime))
        .collect();
    // The innermost first.
    ours.sort_by_key(|mount| std::cmp::Reverse(mount.components().count()));
    for mount in ours {
        process::read(cmd!(sh, "umount --lazy {mount}"))
            .with_context(|| format!("cannot unmount {}", mount.display()))?;
    }
    forget_processes(runtime);
    Ok(())
}

/// The processes that have one of `words` in an argument, ourselves excepted.
fn processes(words: &[&str]) -> Vec<String> {
    let ours = std::process::id().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && *name != ours)
        .filter(|pid| {
            let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let program = arguments.split('\0').next().unwrap_or_default();
            let is_engines = ["dockerd", "containerd", "containerd-shim-runc-v2", "docker-proxy"]
                .iter()
                .any(|name| program.rsplit('/').next() == Some(name));
            is_engines && words.iter().any(|word| arguments.contains(word))
        })
        .collect()
}

/// The children of a process: of a container's shim, the container's first process.
fn children(pid: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}
