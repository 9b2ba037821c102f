//! What an engine leaves that was killed: its containers' processes, and what it has mounted.
//!
//! `dockerd` that ends by itself takes both along. After `kill -9` the shims and what they run live on, and the engine's
//! data cannot be deleted.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use pipeline::process;
use xshell::{Shell, cmd};

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_millis(500);

/// Ends the shims of containerd's `namespace` with the containers under them, and the containerd that keeps its files in
/// `runtime`; then unmounts everything below `data`.
pub(super) fn remove(sh: &Shell, namespace: &str, runtime: &Path, data: &Path) -> Result<()> {
    let mut killed = false;
    for (pid, arguments) in processes()? {
        let is_shim = arguments
            .windows(2)
            .any(|pair| pair[0] == "-namespace" && pair[1] == namespace);
        let is_containerd = arguments
            .iter()
            .any(|argument| Path::new(argument).starts_with(runtime));
        if is_shim || is_containerd {
            // One that has gone meanwhile is gone.
            process::read(cmd!(sh, "pkill -KILL --parent {pid}")).ok();
            process::read(cmd!(sh, "kill -KILL {pid}")).ok();
            killed = true;
        }
    }
    if killed {
        thread::sleep(PATIENCE);
    }
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    for place in mounted_below(&mounts, data) {
        process::read(cmd!(sh, "umount --lazy {place}"))
            .with_context(|| format!("cannot unmount {}", place.display()))?;
    }
    Ok(())
}

/// Every process with its arguments.
fn processes() -> Result<Vec<(String, Vec<String>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let path = entry.context("cannot read /proc")?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        // Other entries have no command line, and a process may be gone again.
        if let Ok(command) = fs::read_to_string(path.join("cmdline")) {
            let arguments = command.split('\0').map(str::to_owned).collect();
            found.push((pid.to_owned(), arguments));
        }
    }
    Ok(found)
}

/// What is mounted in a folder and below, by the text of `/proc/self/mounts`; the innermost first.
fn mounted_below(mounts: &str, folder: &Path) -> Vec<PathBuf> {
    let places = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from);
    let mut places: Vec<_> = places.filter(|place| place.starts_with(folder)).collect();
    places.reverse();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_is_unmounted_from_the_inside() {
        let mounts = "\
/dev/vda / ext4 rw 0 0
/dev/vda /cache/engines/a/data ext4 rw 0 0
overlay /cache/engines/a/data/overlay2/1/merged overlay rw 0 0
overlay /cache/engines/ab/data/overlay2/1/merged overlay rw 0 0
";
        assert_eq!(
            mounted_below(mounts, Path::new("/cache/engines/a")),
            ["/cache/engines/a/data/overlay2/1/merged", "/cache/engines/a/data"].map(PathBuf::from)
        );
    }
}
